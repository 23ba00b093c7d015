"""The command line: `lrp-dynamics COMMAND ...`, one subcommand a module of this package or a step of a study."""

import argparse
import io
import shutil
import sys
import textwrap
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules

from lrp_dynamics import __version__, commands, studies
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.imports import missing
from lrp_dynamics.base.memory import keep_freed_memory
from lrp_dynamics.base.threads import sleep_soon

# What the help shows first, in this order; all other subcommands are steps of the pipeline.
FOR_RECORDINGS = (
    "info",
    "watch",
    "animate",
    "validate",
    "recover",
    "export",
    "import",
)
FOR_EXPLAINING = ("explain",)
EXAMPLES = """\
examples:
  lrp-dynamics info relevance.h5
  lrp-dynamics watch relevance.h5
  lrp-dynamics animate relevance.h5 --samples 0 3 --output maps.gif
  lrp-dynamics explain photos/ --model resnet50 --out explained
  snakemake --cores all demo

`lrp-dynamics COMMAND --help` tells of one command.
"""


def modules() -> dict[str, str]:
    """Return the module of every subcommand: those beside this one, and the steps of each study, `<study>-<step>`."""
    found = {module.name: f"{commands.__name__}.{module.name}" for module in iter_modules(commands.__path__)}
    del found["cli"]
    for study in iter_modules(studies.__path__):
        package = f"{studies.__name__}.{study.name}"
        steps = import_module(f"{package}.study").STEPS
        found |= {f"{study.name}-{step}": f"{package}.{step}" for step in steps}
    return found


def groups(known: Iterable[str]) -> dict[str, list[str]]:
    """Return the subcommands in the order of the help, by heading."""
    listed = {*FOR_RECORDINGS, *FOR_EXPLAINING}
    return {
        "for your own recordings": [name for name in FOR_RECORDINGS if name in known],
        "for explaining images": [name for name in FOR_EXPLAINING if name in known],
        "the pipeline's steps, which Snakemake calls": [name for name in known if name not in listed],
    }


def parts_of(module: str) -> tuple[str, str, str]:
    """Return what a subcommand's module says of it: a summary, the text below it, and examples."""
    text = import_module(module).__doc__ or ""
    summary, _, rest = text.partition("\n")
    rest, mark, examples = rest.partition("\nExamples:\n")
    return summary, rest.strip(), f"examples:\n{examples}" if mark else ""


def overview() -> str:
    """Return every subcommand with its summary, in groups, and examples."""
    known = modules()
    indent, lines = " " * (max(map(len, known)) + 4), []
    for heading, names in groups(known).items():
        lines.append(f"{heading}:")
        for name in names:
            text = f"  {name:<{len(indent) - 2}}{parts_of(known[name])[0].rstrip('.')}"
            lines += textwrap.wrap(text, max(60, shutil.get_terminal_size().columns), subsequent_indent=indent)
        lines.append("")
    return "\n".join([*lines, EXAMPLES])


class _Parser(argparse.ArgumentParser):
    """A parser whose help lists the subcommands in groups, which argparse cannot; made when it is asked for."""

    def format_help(self) -> str:
        return f"{self.format_usage()}\n{self.description}\n\n{overview()}"


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; with `only`, knowing the arguments of that subcommand alone (imports less)."""
    top = _Parser(prog="lrp-dynamics", description="What does a network's explanation do while the network learns?")
    top.add_argument("--version", action="version", version=f"lrp-dynamics {__version__}")
    subcommands = top.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=argparse.ArgumentParser
    )
    known = modules()
    for name in [only] if only in known else known:
        module = import_module(known[name])
        summary, text, examples = parts_of(known[name])
        command = subcommands.add_parser(
            name,
            description=f"{summary}\n\n{text}".strip(),
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def refuse_unknown(name: str | None) -> None:
    """Tell of a subcommand that there is none of, in place of argparse's list of all.

    Raises
    ------
    UserError
        With those that are called alike.
    """
    known = modules()
    if name is None or name.startswith("-") or name in known:
        return
    close = get_close_matches(name, known, 3)
    hint = f"did you mean {' or '.join(close)}?" if close else "lrp-dynamics --help lists all"
    raise UserError(f"there is no command {name!r}; {hint}")


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; return 0, or 2 after a mistake that the user can mend, told in one sentence."""
    arguments = sys.argv[1:] if arguments is None else arguments
    first = arguments[0] if arguments else None
    keep_freed_memory()
    sleep_soon()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may lack letters; that is no reason to end a training
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        refuse_unknown(first)
        parsed = parser(first).parse_args(arguments)
        parsed.run(parsed)
    except KeyboardInterrupt:
        print("lrp-dynamics: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except ModuleNotFoundError as error:
        if not (text := missing(error)):
            raise
        print(f"lrp-dynamics: error: {text}", file=sys.stderr)
        return 2
    except (UserError, OSError) as error:
        # Of HDF5's pages the first line says what was wrong.
        text = str(error) if isinstance(error, UserError) else str(error).partition("\n")[0]
        print(f"lrp-dynamics: error: {text}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if not (text := of_the_device(error)):
            raise
        print(f"lrp-dynamics: error: {text}", file=sys.stderr)
        return 2
    return 0


def of_the_device(error: RuntimeError) -> str:
    """Return in a sentence what torch met that another device would not; nothing of other errors."""
    said = str(error).partition("\n")[0]
    if type(error).__name__ == "OutOfMemoryError":  # of torch, which not every command imports
        return f"the memory of the device does not suffice: lower batch_size, or take another device ({said})"
    operation, found, _ = said.partition(" does not have a deterministic implementation")
    if found:
        return (
            f"the network computes {operation}, which on this device comes to something else each time: replace it in "
            "the network, or compute on the CPU (device: cpu)"
        )
    return ""


if __name__ == "__main__":
    sys.exit(main())
