"""Let Snakemake and DVC know of each other's work, so that either can be used first.

`record`  after Snakemake ran: write what is up to date into dvc.lock, as `dvc commit -f` does, but these stages only.
`adopt`   before Snakemake plans: outputs that Snakemake did not write itself (but `dvc pull`, `checkout`, `exp apply`
          or DVC's run cache) count as current exactly where `dvc status` finds their stage clean.

Snakemake notes for each output the time at which it was last written; an output with another time is somebody else's.
"""

import argparse
import configparser
import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dvc_stages import CHECK, stage_of
from snakemake_internals import config_of, is_foreign, is_locked, must_run, note_current, note_unknown

LOCK = Path("dvc.lock")
# Beside Snakemake's notes, which what it says is about.
JUDGED = Path(".snakemake/judged")
# What a run holds while it is at work.
RUN = Path(".snakemake/run")
_held: list[Any] = []
NOT_MADE_HERE = "an output of unknown origin, or made with other parameters, inputs or code"


def locked_stages() -> dict[str, Any]:
    """Return the stages of dvc.lock that make results."""
    import yaml

    if not LOCK.exists():
        return {}
    # Paths are all that is looked at: what the numbers are need not be worked out.
    lock = yaml.load(LOCK.read_text(encoding="utf-8"), getattr(yaml, "CBaseLoader", yaml.BaseLoader)) or {}
    return {name: stage for name, stage in lock.get("stages", {}).items() if name != CHECK}


def doubtful_outputs(stages: Mapping[str, Any]) -> list[str]:
    """Return the outputs in dvc.lock that exist, but that Snakemake did not write, or not last.

    And those whose inputs are gone: what is left of before a run that failed or was killed.
    """
    outputs = {name: [out["path"] for out in stage.get("outs", [])] for name, stage in stages.items()}
    made = set().union(*outputs.values())
    doubtful = []
    for name, stage in stages.items():
        inputs = [dep["path"] for dep in stage.get("deps", []) if dep["path"] in made]
        orphan = not all(map(os.path.exists, inputs))
        doubtful += [path for path in outputs[name] if os.path.exists(path) and (orphan or is_foreign(path))]
    return doubtful


def refuse_links() -> None:
    """Called by the Snakefile: outputs that are hard or symbolic links into DVC's cache cannot be written safely.

    Snakemake refuses read-only outputs, and where it may write to them all the same it would change the cache itself.
    """
    from snakemake.exceptions import WorkflowError

    for path in (".dvc/config.local", ".dvc/config"):
        config = configparser.ConfigParser(interpolation=None, strict=False)
        config.read(path)
        kinds = config.get("cache", "type", fallback="").strip(" \"'")
        if links := {"hardlink", "symlink"}.intersection(kinds.replace(" ", "").split(",")):
            raise WorkflowError(
                f"{path}: cache.type is {kinds!r}, but the workflow cannot work with a {' or '.join(sorted(links))}: "
                "a job that writes to one would change DVC's cache. Run: "
                f"dvc config {'--local ' if path.endswith('local') else ''}cache.type reflink,copy; "
                "dvc checkout --relink"
            )
        if kinds:
            return


def adopt_if_needed() -> None:
    """Called by the Snakefile of each `snakemake` command: start `adopt`, which takes seconds, only where needed.

    Not while another run is at work, whose outputs come and go: what would be noted of them is true no more when it
    ends. This command can only look then, or wait for it.
    """
    if is_locked():
        tell_who_runs()
        return
    if "DVC_STAGE" in os.environ:  # DVC has looked itself
        return
    stages = locked_stages()
    doubtful = doubtful_outputs(stages)
    if doubtful and _judged() != _digest(doubtful, _files(stages)):
        subprocess.run([sys.executable, __file__, "adopt"], check=False)


def hold_run() -> None:
    """Called by the Snakefile when a run starts: let others know of it for as long as this process lives."""
    from lrp_dynamics.base.errors import StorageError
    from lrp_dynamics.base.locks import Lock

    with contextlib.suppress(OSError, StorageError):  # a disk without locks; another run at the same time
        _held.append(Lock(RUN))


def tell_who_runs() -> None:
    """Say which run is at work here; of one that was killed Snakemake itself tells what to do."""
    from lrp_dynamics.base.locks import holder

    if who := holder(RUN):
        print(f"Another snakemake is at work here: {who}", file=sys.stderr)


def _files(stages: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return what tells changes of all that a judgement rests on: inode, time and size, as DVC itself goes by."""
    paths = {entry["path"] for stage in stages.values() for kind in ("deps", "outs") for entry in stage.get(kind, ())}
    # What has come and gone: what lies beside, or in a folder that is an input as a whole.
    folders = {os.path.dirname(path) for path in paths} | paths
    paths.update(os.path.join(folder, name) for folder in filter(os.path.isdir, folders) for name in os.listdir(folder))
    paths.update(["dvc.yaml", "params.yaml", "Snakefile", "workflow/Snakefile"])
    paths.update(map(str, [LOCK, *Path("workflow").glob("*/*.*")]))
    states = {}
    for path in paths:
        with contextlib.suppress(OSError):
            state = os.stat(path)
            states[path] = [state.st_ino, state.st_mtime_ns, state.st_size]
    return states


def _digest(doubtful: list[str], files: Mapping[str, list[int]]) -> str:
    return hashlib.sha256(json.dumps([doubtful, files], sort_keys=True).encode()).hexdigest()


def _judged() -> str | None:
    """Return the digest of what `adopt` last left as doubtful."""
    return JUDGED.read_text(encoding="utf-8") if JUDGED.exists() else None


def adopt() -> None:
    """Write Snakemake's notes for the outputs that it did not make itself."""
    import dvc_yaml
    from dag import planned, real_jobs, stage_name

    stages = locked_stages()
    with planned(forceall=True) as dag:
        if dvc_yaml.text_of_dag(dag) == dvc_yaml.FILE.read_text(encoding="utf-8"):
            dvc_yaml.write_checked()
        files, known, doubtful = _files(stages), dvc_yaml.read_stages(), set(doubtful_outputs(stages))
        jobs = {stage_name(job): job for job in real_jobs(dag) if not doubtful.isdisjoint(map(str, job.output))}
        changed = _status([name for name in jobs if name in known])
        if changed is None:
            return
        for name, job in jobs.items():
            if name not in changed and known.get(name) == stage_of(job, config_of(dag)):
                note_current(dag, job)
            else:
                note_unknown(dag, job, NOT_MADE_HERE)
    # Not to be judged again before something changes; what changed in between has not been judged.
    if _files(stages) == files:
        JUDGED.write_text(_digest(doubtful_outputs(stages), files), encoding="utf-8")


def check_stage(dag: Any) -> None:
    """Called by the Snakefile when DVC runs it: the job must be the one that dvc.yaml describes."""
    from dag import real_jobs, stage_name
    from dvc_yaml import read_stages
    from snakemake.exceptions import WorkflowError

    known = read_stages()
    for job in real_jobs(dag):
        if must_run(dag, job) and known.get(stage_name(job)) != stage_of(job, config_of(dag)):
            raise WorkflowError(
                f"dvc.yaml is out of date: stage {stage_name(job)} is not what the Snakefile says; "
                "run `make dvc`, then the same command again"
            )


def _status(names: list[str]) -> Mapping[str, Any] | None:
    """Return what `dvc status` says of the stages; None where DVC cannot say."""
    try:
        from dvc.repo import Repo

        with Repo() as repo:
            return repo.status(names) if names else {}
    except Exception as error:  # whatever is wrong with DVC must not stop a build
        _tell(error)
        return None


def record_results() -> None:
    """Called by the Snakefile when a run has ended: start `record`, unless DVC itself started the run."""
    if "DVC_STAGE" not in os.environ:
        subprocess.run([sys.executable, __file__, "record"], check=False)


def record() -> None:
    """Bring dvc.yaml up to date, and write the stages that are so, by Snakemake's own judgement, into dvc.lock."""
    import dvc_yaml
    from dag import planned, real_jobs, stage_name

    try:
        from dvc.repo import Repo, lock_repo
    except ImportError:
        return
    with planned() as dag:
        current = {
            stage_name(job)
            for job in real_jobs(dag)
            if not must_run(dag, job) and all(map(os.path.exists, map(str, job.output)))
        }
        dvc_yaml.update(dvc_yaml.text_of_dag(dag, made=current))
        current.add(CHECK)
    try:
        with Repo() as repo, lock_repo(repo):
            stages = [
                stage for stage in repo.index.stages if getattr(stage, "name", None) in current and stage.status()
            ]
            for stage in stages:
                stage.save()
                # Outputs stay as they are: linking them anew would change their times, by which Snakemake knows them.
                stage.commit(relink=False)
            if stages:
                stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
    except Exception as error:  # no git, no DVC repository, a lock: the build itself is done
        _tell(error)


def _tell(error: Exception) -> None:
    print(f"DVC was not told of these results: {error}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "adopt"])
    {"record": record, "adopt": adopt}[parser.parse_args().what]()
