"""Tables of a result file, printed or put into a page."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let a benchmark be asked for the table of results that it has already."""
    parser.add_argument("--table", type=Path, help="print the tables of a result file, and run nothing")
    parser.add_argument("--into", type=Path, help="put the tables between the markers of this page instead")


def shown(arguments: argparse.Namespace, table: Callable[[dict], str]) -> bool:
    """Print the table of a result file, or put it into a page, if that was asked for; tell whether it was."""
    if not arguments.table:
        if arguments.into or getattr(arguments, "summary", False):
            sys.exit("--into and --summary are about the table of results that are there: name their file by --table")
        return False
    text = table(json.loads(arguments.table.read_text()))
    if arguments.into:
        page = arguments.into.read_text(encoding="utf-8")
        marker = page.index(f"<!-- table: python benchmarks/{Path(sys.argv[0]).name}")
        start = page.index("-->\n", marker) + 4
        end = page.index("<!-- end -->", start)
        arguments.into.write_text(f"{page[:start]}\n{text}\n\n{page[end:]}", encoding="utf-8")
    else:
        print(text)
    return True
