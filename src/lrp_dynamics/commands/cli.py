"""The command line: `lrp-dynamics COMMAND ...`, one subcommand a module of this package or a step of a study."""

import argparse
import io
import sys
from importlib import import_module
from pkgutil import iter_modules

from lrp_dynamics import __version__, commands, studies
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.memory import keep_freed_memory


def modules() -> dict[str, str]:
    """Return the module of every subcommand: those beside this one, and the steps of each study, `<study>-<step>`."""
    found = {module.name: f"{commands.__name__}.{module.name}" for module in iter_modules(commands.__path__)}
    del found["cli"]
    for study in iter_modules(studies.__path__):
        package = f"{studies.__name__}.{study.name}"
        steps = import_module(f"{package}.study").STEPS
        found |= {f"{study.name}-{step}": f"{package}.{step}" for step in steps}
    return found


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; with `only`, knowing the arguments of that subcommand alone (imports less)."""
    top = argparse.ArgumentParser(
        prog="lrp-dynamics", description="What does a network's explanation do while the network learns?"
    )
    top.add_argument("--version", action="version", version=f"lrp-dynamics {__version__}")
    subcommands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    known = modules()
    for name in [only] if only in known else known:
        module = import_module(known[name])
        summary, _, text = (module.__doc__ or "").partition("\n")
        command = subcommands.add_parser(
            name,
            help=summary.rstrip("."),
            description=f"{summary}\n{text}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; return 0, or 2 after a mistake that the user can mend, told in one sentence."""
    arguments = sys.argv[1:] if arguments is None else arguments
    first = arguments[0] if arguments else None
    keep_freed_memory()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may lack letters; that is no reason to end a training
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        parsed = parser(first).parse_args(arguments)
        parsed.run(parsed)
    except KeyboardInterrupt:
        print("lrp-dynamics: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except (UserError, OSError) as error:
        # Of HDF5's pages the first line says what was wrong.
        text = str(error) if isinstance(error, UserError) else str(error).partition("\n")[0]
        print(f"lrp-dynamics: error: {text}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
