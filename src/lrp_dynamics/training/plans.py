"""What a training records, of which samples, into which files."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import canonical_json
from lrp_dynamics.data import prepared
from lrp_dynamics.recording.recorder import Recorder
from lrp_dynamics.recording.shards import BATCH, rows_of
from lrp_dynamics.training.data import Data


@dataclass(frozen=True)
class Plan:
    """What goes into one recording.

    Attributes
    ----------
    index : ndarray (N,)
        Of the samples in the dataset.
    recording : mapping
        "composite"; optional: "name" (what the file calls it, where it has no name of its own), "target" (of which
        class the output is explained: "label"), "every", "maps", "batch_size" as `Recorder` takes them.
    params : mapping
        The parameters that the file is to tell, among them "model" and "seed".
    """

    index: np.ndarray
    recording: Mapping[str, Any]
    params: Mapping[str, Any]


def plans(params: Mapping[str, Any], dataset: prepared.Prepared, shard: tuple[int, int] = (1, 1)) -> dict[str, Plan]:
    """Return what a training records into which file of its folder, the files in order.

    Parameters
    ----------
    params : mapping
        Of a training; "recording" as `lrp_dynamics.training.run.run_training` takes it.
    dataset : Prepared
    shard : (int, int)
        Which part of the fixed samples, counted from 1, of how many.

    Raises
    ------
    UserError
        If there are too few images, or there is no such part.
    """
    result = {}
    for file, recording in sorted(_by_file(params["recording"]).items()):
        chosen = choose_samples(dataset, recording)
        rows = rows_of(recording, *shard)
        maps = len(range(recording.get("maps", 100))[rows])
        result[file] = Plan(chosen[rows], recording | {"maps": maps}, {**params, "recording": recording})
    return result


def _by_file(recording: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parameters of one recording by the name of its file."""
    # The number of shards is how a recording is made, and not in the file: the result is the same.
    common = {key: value for key, value in recording.items() if key not in ("composites", "shards")}
    if "composites" not in recording:
        return {"relevance.h5": common}
    return {
        f"{name}/relevance.h5": common | {"composite": composite, "name": name}
        for name, composite in recording["composites"].items()
    }


def choose_samples(dataset: prepared.Prepared, recording: Mapping[str, Any]) -> np.ndarray:
    """Return the indices of the fixed samples, drawn without replacement from one split by `recording.seed`.

    The draw does not depend on the seed of the training, so that runs with different seeds share their samples.
    """
    split = {"train": prepared.TRAIN, "test": prepared.TEST}[recording.get("split", "train")]
    pool = np.flatnonzero(dataset.split == split)
    if recording["samples"] > len(pool):
        raise UserError(
            f"recording.samples: found {recording['samples']}, but dataset {dataset.name!r} has {len(pool)} images in "
            f"its {recording.get('split', 'train')} split"
        )
    return np.sort(np.random.default_rng(recording.get("seed", 0)).choice(pool, recording["samples"], replace=False))


def open_recorder(
    path: Path, model: nn.Module, data: Data, plan: Plan, state: Mapping[str, Any] | None = None
) -> Recorder:
    """Return a recorder of what is planned; `state` is what its `state()` returned before an interruption."""
    dataset, index, recording = data.dataset, plan.index, plan.recording
    images, params_json = data.images(index), canonical_json(plan.params)
    return Recorder(
        path,
        model,
        images.inputs(slice(None)),
        images.labels,
        composite=recording["composite"],
        bounds=(data.inputs["low"], data.inputs["high"]),
        every=recording.get("every", 1),
        maps=recording.get("maps", 100),
        batch=recording.get("batch_size", BATCH),
        details={
            "index": index,
            "split": dataset.split[index],
            "label": dataset.labels[index],
            "label_clean": dataset.labels_clean[index],
            "image": dataset.images[index],
            "mask": None if dataset.mask is None else dataset.mask[index],
            "factors": {name: values[index] for name, values in dataset.factors.items()},
        },
        attributes={
            "params_json": params_json,
            "params_sha256": hashlib.sha256(params_json.encode()).hexdigest(),
            "seed": plan.params["seed"],
            "deterministic": True,
            "dataset": dataset.name,
            "dataset_title": dataset.title,
            "dataset_sha256": data.sha256,
            "classes": json.dumps(list(dataset.classes)),
            "model": plan.params["model"],
            "target": recording.get("target", "label"),
        }
        | ({"composite": recording["name"]} if "name" in recording else {}),
        resume=state,
        overwrite=True,  # what an interrupted run has left
    )
