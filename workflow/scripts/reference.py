"""Write what the declarations of parameters say; with --check, compare.

These are the schema of params.yaml, docs/parameters.md, and config/README.md, which the catalog of workflows shows.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "src"))
import yaml
from parameters import KINDS, NAMES, Storage, experiments

from lrp_dynamics.base.kinds import anchored
from lrp_dynamics.base.parameters import label
from lrp_dynamics.base.reference import definitions, skeleton

SCHEMA = ROOT / "workflow" / "schemas" / "params.schema.yaml"
PAGE = ROOT / "docs" / "parameters.md"
README = ROOT / "config" / "README.md"
EDIT = (
    "Written by workflow/scripts/reference.py from the declarations in the package: do not edit, run `make reference`"
)
# What config/README.md begins with; a test runs it.
SHORTEST = {
    "storage": {},
    "datasets": {"shapes": {"kind": "shapes10", "n_train": 2000, "n_test": 200}},
    "experiments": {"mine": {"kind": "dynamics", "dataset": "shapes", "training": {"max_steps": 100}}},
}


class _Dumper(yaml.SafeDumper):
    """Writes what is alike out each time."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def schema_text() -> str:
    """Return the JSON schema of params.yaml, as YAML."""
    defs = definitions(Storage)
    properties = {"storage": {"$ref": f"#/$defs/{label(Storage)}"}}
    for part, kinds in (("datasets", KINDS), ("experiments", experiments())):
        variants = []
        for name, section in kinds.items():
            own = definitions(section)
            body = own[label(section)]
            body["required"] = ["kind", *body["required"]]
            body["properties"] = {"kind": {"const": name}, **body["properties"]}
            defs |= own
            variants.append(
                {"if": {"properties": {"kind": {"const": name}}}, "then": {"$ref": f"#/$defs/{label(section)}"}}
            )
        properties[part] = {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": anchored(NAMES)},
            "additionalProperties": {
                "type": "object",
                "required": ["kind"],
                "properties": {"kind": {"enum": list(kinds)}},
                "allOf": variants,
            },
        }
    content = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["storage", "datasets", "experiments"],
        "properties": properties,
        "$defs": dict(sorted(defs.items())),
    }
    return f"# {EDIT}.\n" + yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True, default_flow_style=None
    )


def page_text() -> str:
    """Return the page that lists all parameters."""
    lines = [
        f"<!-- {EDIT} -->",
        "# Parameters",
        "",
        "All keys of `params.yaml` with their defaults; what has one may be left out. Equal values mean the same,",
        "however they are written: `low: 0` is `low: 0.0`, and `1e-3` is `0.001`. Seeds are whole numbers from 0 to",
        "2147483647, counts are of at least 1.",
        "",
        *_block(["storage:", *skeleton(Storage, "  ")]),
    ]
    for part, kinds in (("datasets", KINDS), ("experiments", experiments())):
        lines += [f"## {part.capitalize()}", ""]
        for kind, section in kinds.items():
            lines += [f"### {kind}", "", str(section.__doc__).partition("\n")[0], ""]
            lines += _block([f"{part}:", "  NAME:", f"    kind: {kind}", *skeleton(section, "    ")])
    return "\n".join(lines).rstrip() + "\n"


def _block(lines: list[str]) -> list[str]:
    return ["```yaml", *lines, "```", ""]


def readme_text() -> str:
    """Return what the catalog of workflows shows: where parameters stand, which kinds there are, what they ask for."""
    lines = [
        f"<!-- {EDIT} -->",
        "# Configuration",
        "",
        "All parameters stand in `params.yaml`, in the root of a clone. It is checked before anything runs, and a",
        "mistake is told in one sentence. Most keys have a default, and may be left out;",
        "[Parameters](../docs/parameters.md) lists all, with their ranges. As a module of another project the workflow",
        "takes the same keys from its `config`: [Deployment](../docs/deployment.md).",
        "",
        "The shortest one, which needs no download:",
        "",
        "```yaml",
        yaml.safe_dump(SHORTEST, sort_keys=False).rstrip(),
        "```",
    ]
    for part, kinds in (("datasets", KINDS), ("experiments", experiments())):
        lines += ["", f"## {part.capitalize()}", "", "| `kind` | what it is | must be given | may be given |"]
        lines += ["|---|---|---|---|"]
        for kind, section in kinds.items():
            known = definitions(section)[label(section)]
            needed = known["required"]
            summary = str(section.__doc__).partition("\n")[0].rstrip(".")
            keys = [
                ", ".join(f"`{key}`" for key in some)
                for some in (needed, [key for key in known["properties"] if key not in needed])
            ]
            lines.append(f"| `{kind}` | {summary} | {' | '.join(keys)} |")
    return "\n".join(lines) + "\n"


FILES = {SCHEMA: schema_text, PAGE: page_text, README: readme_text}


def main(arguments: list[str] | None = None) -> int:
    """Write or check; return 1 if a file is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with status 1 if a file is out of date"
    )
    args = parser.parse_args(arguments)
    stale = [file for file, text in FILES.items() if not file.exists() or file.read_text(encoding="utf-8") != text()]
    for file in stale:
        if args.check:
            print(f"{file.relative_to(ROOT)} is out of date; run `make reference` and commit it", file=sys.stderr)
        else:
            file.write_text(FILES[file](), encoding="utf-8")
    return int(args.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
