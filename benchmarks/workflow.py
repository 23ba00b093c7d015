"""What the workflow costs beyond the stages' own work, and what each rule needs, measured on one run of the demo.

    python benchmarks/workflow.py [FOLDER]      # a clone of this project; default: a new one in a temporary folder

Overhead is the wall time of `snakemake --cores all demo` minus the stages' own work. Own work excludes the start of
Python and the imports: each stage is run once more on its own, with its imports timed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from resources import defaults

ROOT = Path(__file__).parents[1]

# Runs one subcommand as the console script would; writes the seconds of imports and of everything else.
TIMED = """
import builtins, json, sys, time
start, plain, depth, spent = time.perf_counter(), builtins.__import__, 0, 0.0
def timed(*args, **kwargs):
    global depth, spent
    began = time.perf_counter() if depth == 0 else None
    depth += 1
    try:
        return plain(*args, **kwargs)
    finally:
        depth -= 1
        if began is not None:
            spent += time.perf_counter() - began
builtins.__import__ = timed
from lrp_dynamics.commands.cli import main
status = main(sys.argv[2:])
json.dump({"imports": spent, "own": time.perf_counter() - start - spent}, open(sys.argv[1], "w"))
sys.exit(status)
"""


def run(folder: Path, *command: str) -> float:
    """Run a command in the folder; return its wall time."""
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - start


def commands_of(folder: Path) -> list[tuple[str, list[str], dict]]:
    """Return name, arguments and resources of each job of the demo."""
    code = (
        "import json, sys; sys.path.insert(0, 'workflow/scripts'); from dag import planned, real_jobs, stage_name\n"
        "with planned(['demo'], forceall=True) as dag:\n"
        "    print(json.dumps([(stage_name(j), j.shellcmd, dict(j.resources.items())) for j in real_jobs(dag)]))"
    )
    text = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.splitlines()[-1]
    jobs = []
    for name, command, resources in json.loads(text):
        arguments = command.partition("lrp-dynamics ")[2].partition("2>&1")[0]
        shown = ["bash", "-c", f"printf '%s\\0' {arguments}"]  # as the shell expands them
        words = subprocess.run(shown, cwd=folder, check=True, capture_output=True, text=True).stdout.split("\0")[:-1]
        jobs.append((name, words, defaults() | resources))
    return jobs


def peak_mb(folder: Path, name: str) -> float:
    """Return the largest resident memory that Snakemake saw of a job."""
    rule, _, rest = name.partition("-")
    line = (folder / "logs" / "benchmarks" / rule / f"{rest}.tsv").read_text(encoding="utf-8").splitlines()
    return float(dict(zip(line[0].split("\t"), line[1].split("\t"), strict=True))["max_rss"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="a clone of this project")
    folder = parser.parse_args().folder
    if folder:
        folder = folder.resolve()
    else:
        folder = Path(tempfile.mkdtemp()) / "project"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    wall = run(folder, "snakemake", "--cores", "all", "--forceall", "demo")
    print(f"{'stage':34} {'imports s':>9} {'own s':>8} {'peak MB':>8} {'asked MB':>8} {'asked min':>9}")
    own = 0.0
    for name, arguments, resources in commands_of(folder):
        report = folder / ".cache" / "timed.json"
        report.parent.mkdir(exist_ok=True)
        run(folder, sys.executable, "-c", TIMED, str(report), *arguments)
        times = json.loads(report.read_text(encoding="utf-8"))
        own += times["own"]
        print(
            f"{name:34} {times['imports']:9.1f} {times['own']:8.1f} {peak_mb(folder, name):8.0f} "
            f"{resources['mem_mb']:8} {resources['runtime']:9}"
        )
    print(f"\nwall {wall:.1f} s, own work {own:.1f} s, overhead {(wall - own) / wall:.0%} of the wall time")
    run(folder, "dvc", "status")
    for command in (["snakemake", "-n", "demo"], ["dvc", "status"]):
        print(f"{' '.join(command)}: {run(folder, *command):.1f} s with everything current")


if __name__ == "__main__":
    main()
