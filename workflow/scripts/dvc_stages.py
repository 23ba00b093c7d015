"""What DVC must know of each Snakemake job: command, dependencies, parameters, outputs, metrics, plots, artifacts."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from closure import folded
from dag import stage_name
from parameters import is_written
from reading import Reader
from snakemake_internals import command_of, constants_of, sources_of

# Folders of what jobs make; a job that reads nothing from there is the first of its chain.
PRODUCED = ("data/", "results/", "reports/")
# DVC's own first stage: DVC cannot see by itself that an edit asks for stages which dvc.yaml does not have yet.
CHECK = "dvc-yaml"
# The output of that stage, always the same: what the first jobs depend on, to have that stage before them.
CHECKED = "logs/dvc-yaml.txt"
METRICS = {"metrics.json", "training.json"}


def version_of(job: Any) -> str:
    """Return a short digest of the rule's own command and constants, which no file and no parameter holds."""
    constants = [repr(value) for name, value in constants_of(job).items() if name != "json"]
    return digest_of([command_of(job), sorted(constants)])


def digest_of(value: Any) -> str:
    """Return a short digest of plain data."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:8]


def param_keys(job: Any) -> list[str]:
    """Return the dotted keys of params.yaml that a job depends on, through its parameters or its list of inputs."""
    wildcards = dict(job.wildcards.items())
    return sorted(filter(is_written, {key.format(**wildcards) for reader in _readers(job) for key in reader.keys}))


def _readers(job: Any) -> list[Reader]:
    return [source for source in sources_of(job) if isinstance(source, Reader)]


def stage_of(job: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the DVC stage of a job, as it stands in dvc.yaml."""
    outs: dict[str, list] = {"outs": [], "metrics": []}
    for path in map(str, job.output):
        kind = "metrics" if PurePath(path).name in METRICS and not _is_part(job) else "outs"
        recording = PurePath(path).name == "relevance.h5" and not config["storage"]["cache_recordings"]
        outs[kind].append({path: {"cache": False}} if recording else path)
    stage = {
        "desc": job.message or job.rule.docstring,
        "cmd": f"workflow/stage {job.rule.name}@{version_of(job)} {job.output[0]}",
        "deps": _dependencies(job),
        "params": param_keys(job),
        **outs,
    }
    return {key: value for key, value in stage.items() if value}


def _dependencies(job: Any) -> list[str]:
    """Return the inputs of a job, and before a first one CHECKED; a folder for its files where all of them count."""
    paths, folders = list(map(str, job.input)), []
    for reader in _readers(job):
        if folder := reader.folder and reader.folder(job.wildcards):
            folders.append(folder)
            paths = [path for path in paths if PurePath(folder) not in PurePath(path).parents]
    first = [] if any(path.startswith(PRODUCED) for path in paths) else [CHECKED]
    return sorted({*folded(paths), *folders, *first})


def dvc_yaml(jobs: Iterable[Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of dvc.yaml: one stage a job, and what to show of their outputs."""
    jobs = list(jobs)
    files = [(job, str(path)) for job in jobs if not _is_part(job) for path in job.output]
    content = {
        "stages": {stage_name(job): stage_of(job, config) for job in jobs},
        "plots": _plots(files),
        "artifacts": _artifacts(files),
    }
    return {key: value for key, value in content.items() if value}


def _is_part(job: Any) -> bool:
    """Whether a job's results are shown only after they have been gathered with others."""
    return hasattr(job.wildcards, "shard")


def _plots(files: list[tuple[Any, str]]) -> list[dict[str, Any]]:
    """Training curves of all seeds of an experiment in one plot each, and every figure as it is."""
    curves = defaultdict(list)
    for job, path in files:
        if PurePath(path).name == "training.csv":
            curves[job.wildcards.experiment].append(path)
    plots: list[dict[str, Any]] = []
    for experiment, paths in curves.items():
        for column, label in {"loss": "training loss (nats)", "accuracy": "accuracy of the batch"}.items():
            plots.append(
                {
                    f"{experiment}: {label}": {
                        "x": "iteration",
                        "y": dict.fromkeys(paths, column),
                        "x_label": "training step",
                        "y_label": label,
                    }
                }
            )
    # Not the copies of figures that posts come with.
    pictures = [path for _, path in files if PurePath(path).match("figures/*.png")]
    return plots + [{path: {}} for path in pictures]


def _artifacts(files: list[tuple[Any, str]]) -> dict[str, Any]:
    """Trained networks, so that `dvc artifacts get` finds them by name; names take letters, digits and hyphens only."""
    return {
        "-".join([*job.wildcards, "model"]).replace("_", "-").lower(): {
            "path": path,
            "type": "model",
            "desc": f"Trained weights ({', '.join(f'{name} {value}' for name, value in job.wildcards.items())})",
        }
        for job, path in files
        if PurePath(path).name == "model.safetensors"
    }
