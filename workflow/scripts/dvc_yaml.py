"""Write dvc.yaml, one stage for each job of the experiments that are asked for; or say whether it is up to date.

Asked for are the demos, experiments of which something has been made, those that dvc.yaml has, and those named.
DVC takes every stage of dvc.yaml for something to be made, and would speak of little else.
"""

import argparse
import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2] / "src"))
import yaml
from bridge import locked_stages
from dag import planned, real_jobs, stage_name
from dvc_stages import CHECK, CHECKED, digest_of, dvc_yaml
from snakemake.exceptions import WorkflowError
from snakemake_internals import config_of, jobs_before

from lrp_dynamics.base.files import atomic

HEADER = """\
# Written by workflow/scripts/dvc_yaml.py from the Snakefile and params.yaml: do not edit, run `make dvc` instead.
# It has the demos and what has been made; `make dvc EXPERIMENTS=blog` adds an experiment of which nothing has been yet.
# `dvc repro STAGE` runs what has changed up to a stage; docs/workflow.md shows how both tools work together.
"""
FILE = Path("dvc.yaml")
CHECK_STAGE = {
    "desc": "Whether dvc.yaml has the stages that params.yaml and the Snakefile ask for",
    "cmd": "workflow/stage dvc-yaml",
    "deps": ["Snakefile", "workflow/Snakefile", "workflow/rules", "workflow/scripts"],
    "params": ["datasets", "experiments", "storage"],
    "outs": [CHECKED],
}


class _Dumper(yaml.SafeDumper):
    """Indents the items of a list, as DVC's own documentation does."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def read_stages() -> dict[str, Any]:
    """Return the stages of dvc.yaml as it stands."""
    return _stages(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def _stages(text: str) -> dict[str, Any]:
    return (yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}).get("stages", {})


def asked_for(dag: Any, made: Iterable[str] = (), named: Iterable[str] = ()) -> list[Any]:
    """Return the jobs of the experiments that are asked for, and the jobs that make what these read.

    Parameters
    ----------
    dag : snakemake.dag.DAG
        Every job of every experiment.
    made : iterable of str
        Stages that are made, besides those of dvc.lock.
    named : iterable of str
        Experiments.
    """
    known = {*_old_stages(FILE.read_text(encoding="utf-8") if FILE.exists() else ""), *locked_stages(), *made}
    jobs = real_jobs(dag)
    experiment_of = {job: getattr(job.wildcards, "experiment", None) for job in jobs}
    asked = {*named, *filter(is_demo, config_of(dag)["experiments"])}
    asked.update(experiment_of[job] for job in jobs if stage_name(job) in known)
    kept = {
        job for job in jobs if (stage_name(job) in known if experiment_of[job] is None else experiment_of[job] in asked)
    }
    while more := {before for job in kept for before in jobs_before(dag, job)} - kept:
        kept |= more
    return [job for job in jobs if job in kept]


def is_demo(experiment: str) -> bool:
    """Whether an experiment belongs to the target `demo`."""
    return experiment.startswith("demo")


def text_of_dag(dag: Any, made: Iterable[str] = (), named: Iterable[str] = ()) -> str:
    """Return what dvc.yaml must be, by Snakemake's DAG of all jobs; see `asked_for`."""
    content = dvc_yaml(asked_for(dag, made, named), config_of(dag))
    # The stage changes with the others: an edit of params.yaml may be taken back after dvc.yaml has followed it.
    command = f"{CHECK_STAGE['cmd']}@{digest_of(content['stages'])}"
    content["stages"] = {CHECK: CHECK_STAGE | {"cmd": command}} | content["stages"]
    body = io.StringIO()
    yaml.dump(content, body, _Dumper, sort_keys=False, width=120, allow_unicode=True)
    return HEADER + body.getvalue()


def update(text: str) -> list[str]:
    """Write dvc.yaml if it is not so already; return, and tell, the names of the stages that changed."""
    old = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    write_checked()
    if old == text:
        return []
    names = changed_stages(old, text)
    with atomic(FILE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"dvc.yaml has been brought up to date ({', '.join(names)}); commit it with params.yaml", file=sys.stderr)
    if files := left_over(old, text):
        print(
            f"Left from before, and used by nothing now: {' '.join(files)}; delete what you do not need",
            file=sys.stderr,
        )
    return names


def write_checked() -> None:
    """Write the output of the stage `dvc-yaml`."""
    with atomic(CHECKED) as temporary:
        temporary.write_text("dvc.yaml has the stages that params.yaml and the Snakefile ask for\n", encoding="utf-8")


def changed_stages(old: str, new: str) -> list[str]:
    """Return the names of stages that one text has and the other has not, or has otherwise."""
    before, after = _old_stages(old), _stages(new)
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return sorted(names - {CHECK}) or ["only what is shown of the results"]


def left_over(old: str, new: str) -> list[str]:
    """Return what exists of the outputs that one text has and the other has not; folders that hold nothing else."""
    files = {path for path in _outputs(_old_stages(old)) - _outputs(_stages(new)) if path.exists()}
    names = set()
    for path in files:
        parents = [folder for folder in path.parents if folder != Path()]
        alone = [folder for folder in parents if files.issuperset(filter(Path.is_file, folder.rglob("*")))]
        names.add(str([path, *alone][-1]))
    return sorted(names)


def _outputs(stages: dict[str, Any]) -> set[Path]:
    outputs = [out for stage in stages.values() for kind in ("outs", "metrics") for out in stage.get(kind, ())]
    return {Path(next(iter(out)) if isinstance(out, dict) else out) for out in outputs}


def _old_stages(text: str) -> dict[str, Any]:
    try:
        return _stages(text)
    except yaml.YAMLError:  # as in the middle of a merge
        return {}


def main(arguments: list[str] | None = None) -> int:
    """Write or check; return 1 if the file was out of date, and that matters to the caller."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", help="experiments to add, of which nothing has been made yet")
    parser.add_argument("--all", action="store_true", help="add every experiment of params.yaml")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with status 1 if it is out of date")
    parser.add_argument(
        "--stage", action="store_true", help="as DVC's own first stage: update, and stop DVC if changed"
    )
    args = parser.parse_args(arguments)
    try:
        with planned(forceall=True) as dag:
            experiments = config_of(dag)["experiments"]
            if unknown := [name for name in args.experiments if name not in experiments]:
                print(f"params.yaml: found no experiment {unknown[0]}, only {', '.join(experiments)}", file=sys.stderr)
                return 1
            text = text_of_dag(dag, named=experiments if args.all else args.experiments)
    except WorkflowError as error:
        print(error, file=sys.stderr)
        return 1
    if args.check:
        old = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
        if old != text:
            names = ", ".join(changed_stages(old, text))
            print(f"dvc.yaml is out of date ({names}); run `make dvc` and commit it", file=sys.stderr)
        return int(old != text)
    changed = update(text)
    if args.stage and changed:
        print("DVC has read the old dvc.yaml: start the same `dvc` command again", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
