"""Draw the rules that make the demos, docs/images/rulegraph.svg; with --check, compare."""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "src"))
from dag import planned, real_jobs
from snakemake_internals import config_of, jobs_before

PICTURE = ROOT / "docs" / "images" / "rulegraph.svg"
WIDTH, HEIGHT = 138, 24  # of a rule
ACROSS, DOWN, MARGIN = 166, 32, 10  # from one rule to the next, pixels
SHOWN = ("figures", "report", "explorer", "posts")


def graph(jobs: Iterable[Any], dag: Any) -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Return the kind of experiment that each rule is of, and which rule comes directly before which."""
    kinds, edges = {}, set()
    for job in jobs:
        name = getattr(job.wildcards, "experiment", None)
        kinds[job.rule.name] = config_of(dag)["experiments"][name]["kind"] if name else ""
        edges |= {(before.rule.name, job.rule.name) for before in jobs_before(dag, job)}
    after = {name: {last for first, last in edges if first == name} for name in kinds}

    def behind(name: str) -> set[str]:
        return after[name].union(*map(behind, after[name]))

    direct = {edge for edge in edges if not any(edge[1] in behind(other) for other in after[edge[0]])}
    return kinds, direct


def places(kinds: dict[str, str], edges: set[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Return column and row of each rule: behind all that it needs, the rules of a kind side by side."""

    def column(name: str) -> int:
        return max((column(first) + 1 for first, last in edges if last == name), default=0)

    found, top = {}, 0
    for kind in dict.fromkeys(sorted(kinds.values())):
        used: dict[int, int] = {}
        for name in sorted(name for name in kinds if kinds[name] == kind):
            row = used.get(column(name), 0)
            used[column(name)] = row + 1
            found[name] = (column(name), top + row)
        top += max(used.values()) if kind else 0
    return found


def svg(kinds: dict[str, str], edges: set[tuple[str, str]]) -> str:
    """Return the picture."""
    at = {name: (MARGIN + x * ACROSS, MARGIN + y * DOWN) for name, (x, y) in places(kinds, edges).items()}
    width = max(x for x, _ in at.values()) + WIDTH + MARGIN
    height = max(y for _, y in at.values()) + HEIGHT + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        "<title>The rules that make the demos, each behind those whose outputs it reads</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for first, last in sorted(edges):
        (x, y), (to, down) = at[first], at[last]
        x, y, down = x + WIDTH, y + HEIGHT // 2, down + HEIGHT // 2
        bend = (ACROSS - WIDTH) // 2
        lines.append(
            f'<path d="M{x} {y}C{x + bend} {y} {to - ACROSS + WIDTH} {down} {to - bend} {down}H{to}"'
            ' fill="none" stroke="#888"/>'
        )
    for name, (x, y) in sorted(at.items()):
        colour = "#fdebd0" if name.endswith(SHOWN) else "#d6eaf8"
        lines.append(
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4" fill="{colour}" stroke="#555"/>'
            f'<text x="{x + WIDTH // 2}" y="{y + 16}" text-anchor="middle">{name}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def picture() -> str:
    """Return the picture of the workflow as it is."""
    os.chdir(ROOT)
    with planned(["demo"], forceall=True) as dag:
        return svg(*graph(real_jobs(dag), dag))


def main(arguments: list[str] | None = None) -> int:
    """Write or check; return 1 if the picture is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with status 1 if it is out of date")
    args = parser.parse_args(arguments)
    text = picture()
    stale = not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != text
    if stale and args.check:
        print(f"{PICTURE.relative_to(ROOT)} is out of date; run `make reference` and commit it", file=sys.stderr)
    elif stale:
        PICTURE.write_text(text, encoding="utf-8")
    return int(args.check and stale)


if __name__ == "__main__":
    sys.exit(main())
