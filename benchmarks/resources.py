"""What jobs took, by Snakemake's own measurement, beside what their rules ask for: the table in docs/cluster.md.

    python benchmarks/resources.py FOLDER...            # folders in which the workflow has run; prints the table
    python benchmarks/resources.py --write FOLDER...    # and puts it into docs/cluster.md

Of each rule the job with the largest memory is shown, also if it is one of the page's that did not run in the folders.
Run it in the root of the repository.
"""

import argparse
import csv
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cluster.md"
TABLE = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end -->)", re.S)


def measured(folders: Iterable[Path]) -> dict[str, tuple[float, str, float]]:
    """Return, by rule, the peak in MB, the job that had it, and the longest time in minutes."""
    result: dict[str, tuple[float, str, float]] = {}
    for folder in folders:
        for file in sorted(folder.glob("logs/benchmarks/*/*.tsv")):
            with file.open(encoding="utf-8") as lines:
                rows = list(csv.DictReader(lines, delimiter="\t"))
            peak, minutes = max(float(row["max_rss"]) for row in rows), max(float(row["s"]) for row in rows) / 60
            before = result.get(file.parent.name, (0.0, "", 0.0))
            result[file.parent.name] = (*max(before[:2], (peak, file.stem)), max(before[2], minutes))
    return result


def defaults() -> dict[str, int]:
    """Return what a rule asks for that states nothing, by the default profile."""
    profile = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text(encoding="utf-8"))
    return profile["default-resources"]


def asked() -> dict[str, tuple[int, int]]:
    """Return, by rule, the least MB and minutes that one of its jobs asks for, in the order of the rules."""
    sys.path.insert(0, str(ROOT / "workflow" / "scripts"))
    from dag import planned, real_jobs

    with planned(forceall=True) as dag:
        result: dict[str, tuple[int, int]] = {}
        for job in real_jobs(dag):
            needs = tuple((defaults() | dict(job.resources.items()))[name] for name in ("mem_mb", "runtime"))
            result[job.rule.name] = min(result.get(job.rule.name, needs), needs)
        return result


def written() -> dict[str, tuple[float, str, float]]:
    """Return what the page says was measured, like `measured`."""
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\d+) \| \d+ \| ([\d.]+) \|", TABLE.search(page)[0], re.M)
    return {rule: (float(peak), job, float(minutes)) for rule, job, peak, minutes in rows}


def table(folders: Iterable[Path]) -> str:
    """Return the table as Markdown."""
    found = measured(folders)
    for rule, row in written().items():
        if rule not in found or row[1] != found[rule][1]:
            found[rule] = max(row, found.get(rule, row))
    lines = ["| rule | measured on | peak MB | asks for MB | took minutes | asks for minutes |"]
    lines.append("|---|---|--:|--:|--:|--:|")
    for rule, (memory, runtime) in asked().items():
        if rule in found:
            peak, job, minutes = found[rule]
            lines.append(f"| `{rule}` | {job} | {peak:.0f} | {memory} | {minutes:.1f} | {runtime} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    text = table(args.folders)
    print(text, end="")
    if args.write:
        PAGE.write_text(TABLE.sub(lambda _: text, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
