"""One training of an experiment: dataset in, recording, weights and training log out."""

import copy
import datetime
import hashlib
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

import lrp_dynamics
from lrp_dynamics import models
from lrp_dynamics.base import files, own_code
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.fit import Dataset, check_checkpoints
from lrp_dynamics.base.parameters import normal, parse
from lrp_dynamics.base.tables import write_csv
from lrp_dynamics.base.training_sections import Checkpoints as Kept
from lrp_dynamics.data import prepared
from lrp_dynamics.models.description import Description
from lrp_dynamics.recording.store import ACCUMULATORS, SCALARS
from lrp_dynamics.training import handover
from lrp_dynamics.training.checkpoints import Checkpoints
from lrp_dynamics.training.data import Data
from lrp_dynamics.training.device import name_of, prepare_device
from lrp_dynamics.training.event_log import EventLog
from lrp_dynamics.training.interruption import noticed
from lrp_dynamics.training.loop import LOG_FIELDS, Diverged, Images, Log, Settings, accuracy, train
from lrp_dynamics.training.losses import LOSSES
from lrp_dynamics.training.parameters import Run
from lrp_dynamics.training.plans import Plan, open_recorder, plans
from lrp_dynamics.training.resume import Opener
from lrp_dynamics.training.validation import Validation, divide


def run_training(
    data: Path,
    params: dict[str, Any],
    out: Path,
    *,
    cache: Path = Path(".cache/train"),
    record: bool = True,
    shard: tuple[int, int] = (1, 1),
    events: Path | None = None,
    minutes: float = 10.0,
) -> None:
    """Train with recording as `params` say, and write the results to the folder `out`.

    Parameters
    ----------
    data : Path
        A prepared dataset.
    params : dict
        "model" (as `lrp_dynamics.models.build` takes it), "inputs" {"low", "high"}: what pixel values 0 and 255 become,
        "training" (`Settings`), "recording" {"samples", "split", "seed", "composite",
        "target", "every", "maps", "batch_size"}, "seed". Instead of "composite", "composites" {name: composite} records
        several side by side. Optional: "checkpoints" {"iterations", "test_images"} keeps the weights of these
        iterations and their accuracy on the first images of the test split (see `lrp_dynamics.training.checkpoints`);
        "validation" {"share", "seed", "every", "patience"} holds training images out, to stop early and end with the
        best weights (see `lrp_dynamics.training.validation`).
    out : Path
        Gets model.safetensors, training.csv, training.json, provenance.json and relevance.h5 (of several composites,
        <name>/relevance.h5), checkpoints.safetensors and accuracy.csv, or validation.csv, where asked for; all of them
        or none.
    cache : Path
        Where unfinished trainings are kept, under a name that depends on parameters, code and data, and finished ones
        whose results could not be put into `out`: the same call again does that, and trains nothing anew.
    record : bool
        Whether to record; the weights do not depend on it.
    shard : (int, int)
        Which part of the fixed samples to record, counted from 1, of how many (see `lrp_dynamics.recording.shards`).
    events : Path, optional
        Folder for a log that TensorBoard shows.
    minutes : float
        Time between checkpoints within an epoch; it has no part in the results.

    Raises
    ------
    UserError
        If parameters and data do not go together, the training diverges, or a folder or disk does not take the files:
        `out` is tried before the training.
    """
    params = filled(params)
    if record and "recording" not in params:
        raise UserError("recording: is missing, expected what is recorded, such as {}; or train with --no-record")
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    training = load(data, params)
    check_fit(training, params)
    recorded = plans(params, training.data.dataset, shard) if record else {}
    # With the folder's name in it, two experiments that train alike side by side do not share their unfinished files.
    work = cache / _key(params, training.data.sha256, record, shard, str(out))
    validation = validation_of(training, params, work)
    observers = observers_of(training, recorded, params, work, validation, events)
    folders = {out, *((out / file).parent for file in recorded)}
    with handover.held(work):
        if handover.finished(work):
            print(f"{work}: this training has ended before; its results are handed over", file=sys.stderr)
            handover.hand_over(work, out)
            return
        try:
            handover.check_target(out, work, folders, _least_size(training, recorded.values()))
            with noticed() as asked:
                log = train(
                    training.model,
                    training.train_images,
                    training.settings,
                    seed=params["seed"],
                    observers=observers,
                    checkpoint=work / handover.CHECKPOINT,
                    minutes=minutes,
                    stop=lambda: validation is not None and validation.stopped,
                    asked=asked,
                )
            check_weights(training)
        except UserError as error:
            handover.discard(work, folders, useless=isinstance(error, Diverged))
            raise
        write(work, training, params, log, validation)
        provenance = _provenance(started, time.monotonic() - clock, training.data.device)
        files.write_json(work / "provenance.json", provenance)
        handover.finish(work)
        handover.hand_over(work, out)


# What is left out of a section is its default; the results tell of the others as they were given.
_NEEDED = {
    "inputs": ("low", "high"),
    "recording": ("samples", "composite"),
    "checkpoints": ("test_images",),
    "validation": ("every", "patience"),
}


def filled(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters in their normal form, with the defaults without which nothing can begin."""
    given = {name: value for name, value in normal(Run, params, fill=False).items() if value is not None}
    full = normal(Run, params)
    for section in given.keys() & _NEEDED.keys():
        defaults = {name: full[section][name] for name in _NEEDED[section] if name in full[section]}
        given[section] = defaults | given[section]
    return given


@dataclass(frozen=True)
class Training:
    """What a training is made of.

    Attributes
    ----------
    data : Data
    settings : Settings
    model : nn.Module
        With its initial weights, on the device.
    train_images, test_images : Images
    held_out : Images or None
        Left out of the training images, for validation.
    """

    data: Data
    settings: Settings
    model: nn.Module
    train_images: Images
    test_images: Images
    held_out: Images | None


def load(path: Path, params: Mapping[str, Any]) -> Training:
    """Return the images and the network that parameters describe.

    Raises
    ------
    UserError
        If parameters and data do not go together.
    """
    device, settings = prepare_device(params["training"]), parse(Settings, params["training"], "training")
    data = Data.read(path, params["inputs"], device)
    dataset, held_out = data.dataset, None
    if len(dataset.classes) < 2:
        raise UserError(f"dataset {dataset.name!r} has one class, so that nothing can be learned; expected two or more")
    index = np.flatnonzero(dataset.split == prepared.TRAIN)
    if wanted := params.get("validation"):
        index, held_out = divide(index, wanted)
    model = models.build(
        params["model"], n_classes=len(dataset.classes), in_channels=dataset.images.shape[1], seed=params["seed"]
    ).to(device)
    images = data.images(index)
    _check_fit(model, params["model"], images, len(dataset.classes), dataset.name)
    validated = None if held_out is None else data.images(held_out)
    return Training(data, settings, model, images, data.images(prepared.TEST), validated)


def check_fit(training: Training, params: Mapping[str, Any]) -> None:
    """Refuse checkpoints that the training will not reach, or cannot test, before it begins."""
    if wanted := params.get("checkpoints"):
        name, train, test = training.data.dataset.name, len(training.train_images), len(training.test_images)
        check_checkpoints(parse(Kept, wanted), Dataset(name, train, test), training.settings.steps(train))


def check_weights(training: Training) -> None:
    """Refuse a network that its last step has ruined: no later loss tells of that one."""
    if not all(value.isfinite().all() for value in training.model.state_dict().values()):
        raise Diverged(
            "training: the weights are not finite at the end; the training has diverged: lower "
            f"training.learning_rate (now {training.settings.learning_rate})"
        )


def validation_of(training: Training, params: Mapping[str, Any], work: Path) -> Validation | None:
    """Return what measures the network on the images held out, if there are any."""
    if training.held_out is None:
        return None
    when = {name: params["validation"][name] for name in ("every", "patience")}
    return Validation(work, training.model, training.held_out, LOSSES[training.settings.loss], **when)


def observers_of(
    training: Training,
    recorded: Mapping[str, Plan],
    params: Mapping[str, Any],
    work: Path,
    validation: Validation | None,
    events: Path | None,
) -> list[Opener]:
    """Return what opens each observer of a training, in the order in which they are asked."""
    model = training.model
    observers: list[Opener] = [
        partial(open_recorder, work / file, model, training.data, plan) for file, plan in recorded.items()
    ]
    if wanted := params.get("checkpoints"):
        test_images = training.test_images.first(wanted["test_images"])
        observers.append(partial(Checkpoints, work, model, wanted["iterations"], test_images))
    if validation is not None:
        observers.append(validation.begin)
    if events is not None:
        observers.append(lambda _: EventLog(events, validation))
    return observers


def write(work: Path, training: Training, params: Mapping[str, Any], log: Log, validation: Validation | None) -> None:
    """Write weights, table and numbers of a training that has ended into its folder."""
    model, dataset, inputs = training.model, training.data.dataset, params["inputs"]
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    about = Description(
        params["model"], dataset.classes, dataset.images.shape[1:], inputs["low"], inputs["high"], dataset.title
    )
    with files.atomic(work / "model.safetensors") as temporary:
        temporary.write_bytes(save(weights, about.as_metadata()))
    write_csv(work / "training.csv", {name: _column(log.column(name), name) for name in LOG_FIELDS})
    summary = {
        "steps": len(log.rows),
        "final_loss": float(np.mean(log.column("loss")[-50:])),
        "train_images": len(training.train_images),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "weights_sha256": files.sha256(work / "model.safetensors"),
    }
    if validation is not None:
        # The test images are left alone until the settings are chosen.
        summary |= validation.summary()
    else:
        test_images = training.test_images
        summary |= {
            "train_accuracy": accuracy(model, training.train_images),
            "test_accuracy": accuracy(model, test_images) if len(test_images) else None,
            "test_images": len(test_images),
        }
    files.write_json(work / "training.json", summary)


def _least_size(training: Training, recorded: Iterable[Plan]) -> int:
    """Return how many bytes the results take even if all maps are zero: weights, accumulators, scalars."""
    steps = training.settings.steps(len(training.train_images))
    size = sum(value.nbytes for value in training.model.state_dict().values())
    for plan in recorded:
        moments = 1 + steps // plan.recording.get("every", 1)
        sums = 2 * len(ACCUMULATORS) * 8 * int(np.prod(training.data.dataset.images.shape[2:]))
        size += len(plan.index) * (sums + 4 * len(SCALARS) * moments)
    return size


def _check_fit(model: torch.nn.Module, name: str, images: Images, classes: int, dataset: str) -> None:
    """Refuse images that the network cannot take, and a network of other logits, before anything is trained."""
    size = "×".join(map(str, images.pixels.shape[1:]))
    # A network of the user's own may need more than one image to train.
    tried = copy.deepcopy(model).eval() if own_code.is_own(name) else model
    try:
        with torch.no_grad():
            logits = tried(images.inputs(slice(1)))
    except Exception as error:
        raise UserError(
            f"model {name!r} cannot take the images of dataset {dataset!r}, {size}; prepare the dataset in another "
            f"size, or choose another model ({own_code.told(error)})"
        ) from None
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if found != (1, classes):
        raise UserError(
            f"model {name!r} returned {found} for one image of dataset {dataset!r}, {size}; expected (1, {classes}): a "
            "logit for each class"
        )


def _column(values: np.ndarray, name: str) -> np.ndarray:
    return values.astype(np.int64) if name == "iteration" else values


def _key(params: dict[str, Any], data_sha256: str, record: bool, shard: tuple[int, int], out: str) -> str:
    """Hash of all that an unfinished training must share with the one that goes on with it."""
    digest = hashlib.sha256(files.canonical_json([params, data_sha256, record, shard, out, torch.__version__]).encode())
    for path in sorted(Path(lrp_dynamics.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    if own_code.is_own(params["model"]):
        for file in own_code.files_of(params["model"]):
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:16]


def _provenance(started: datetime.datetime, seconds: float, device: torch.device) -> dict[str, Any]:
    """What was different this time: kept beside the results, read by no stage."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None
    return {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "commit": commit,
        "device": name_of(device),
        "threads": torch.get_num_threads(),
        "versions": {
            "lrp-dynamics": lrp_dynamics.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
