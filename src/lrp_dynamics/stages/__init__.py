"""The command line's subcommands: a module each, with `add_arguments(parser)` and `run(arguments)`.

They stay thin, and import what is heavy inside `run`, so that `--help` and stages without torch start at once.
"""

import argparse
import json
from typing import Any


def json_object(text: str) -> dict[str, Any]:
    """Type of an argument that holds parameters: a JSON object."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a JSON object ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a JSON object such as {{}}")
    return value
