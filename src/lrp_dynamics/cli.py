"""The command line: `lrp-dynamics STAGE ...`, one subcommand a module of `lrp_dynamics.stages`."""

import argparse
import io
import sys
from importlib import import_module
from pkgutil import iter_modules

from lrp_dynamics import __version__, stages
from lrp_dynamics.errors import UserError
from lrp_dynamics.memory import keep_freed_memory


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; with `only`, knowing the arguments of that subcommand alone (imports less)."""
    top = argparse.ArgumentParser(
        prog="lrp-dynamics", description="What does a network's explanation do while the network learns?"
    )
    top.add_argument("--version", action="version", version=f"lrp-dynamics {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    names = [module.name for module in iter_modules(stages.__path__)]
    for name in [only] if only in names else names:
        module = import_module(f"lrp_dynamics.stages.{name}")
        summary, _, text = (module.__doc__ or "").partition("\n")
        command = commands.add_parser(
            name.replace("_", "-"),
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
    first = arguments[0].replace("-", "_") if arguments else None
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
        print(f"lrp-dynamics: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
