"""One training of an experiment: dataset in, recording, weights and training log out."""

import datetime
import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

import lrp_dynamics
from lrp_dynamics import models
from lrp_dynamics.base import files
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.parameters import normal, parse
from lrp_dynamics.base.tables import write_csv
from lrp_dynamics.data import prepared
from lrp_dynamics.models.description import Description
from lrp_dynamics.recording.recorder import Recorder
from lrp_dynamics.recording.shards import BATCH, rows_of
from lrp_dynamics.recording.store import ACCUMULATORS, SCALARS
from lrp_dynamics.training import handover
from lrp_dynamics.training.checkpoints import Checkpoints
from lrp_dynamics.training.event_log import EventLog
from lrp_dynamics.training.loop import LOG_FIELDS, Diverged, Images, Settings, accuracy, train
from lrp_dynamics.training.losses import LOSSES
from lrp_dynamics.training.parameters import Run
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
) -> None:
    """Train with recording as `params` say, and write the results to the folder `out`.

    Parameters
    ----------
    data : Path
        A prepared dataset.
    params : dict
        "model" (a name of `lrp_dynamics.models`), "inputs" {"low", "high"}: what pixel values 0 and 255 become,
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

    Raises
    ------
    UserError
        If parameters and data do not go together, the training diverges, or a folder or disk does not take the files:
        `out` is tried before the training.
    """
    params = normal(Run, params, fill=False)
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    device = prepare_device(params["training"])
    settings = parse(Settings, params["training"], "training")
    dataset = prepared.read(data)
    seed, data_sha256 = params["seed"], files.sha256(data)
    train_index = np.flatnonzero(dataset.split == prepared.TRAIN)
    if wanted := params.get("validation"):
        train_index, held_out = divide(train_index, wanted)
    train_images = as_images(dataset, train_index, params["inputs"], device)
    test_images = as_images(dataset, prepared.TEST, params["inputs"], device)
    model = models.build(
        params["model"], n_classes=len(dataset.classes), in_channels=dataset.images.shape[1], seed=seed
    ).to(device)

    _check_fit(model, params["model"], train_images, dataset.name)
    rows = {}
    for file, recording in recordings(params["recording"]).items() if record else ():
        choose_samples(dataset, recording)
        rows[file] = rows_of(recording, *shard)
    # With the folder's name in it, two experiments that train alike side by side do not share their unfinished files.
    work = cache / _key(params, data_sha256, record, shard, str(out))
    validation: Validation | None = None

    def open_recorders(states: Sequence[dict | None]) -> list[Recorder | Checkpoints | Validation | EventLog]:
        nonlocal validation
        waiting = iter(states)
        opened: list[Recorder | Checkpoints | Validation | EventLog] = []
        with ExitStack() as closing:  # those that are open, if one cannot be opened
            closing.callback(lambda: [recorder.close(complete=False) for recorder in opened])
            # Sorted: the order of the parameters may be another one when the training is gone on with.
            for file, recording in sorted(recordings(params["recording"]).items()) if record else ():
                chosen = params | {"recording": recording}
                state = next(waiting, None)
                opened.append(
                    open_recorder(work / file, model, dataset, chosen, data_sha256, device, state, shard=shard)
                )
            if wanted := params.get("checkpoints"):
                test = test_images.first(wanted["test_images"])
                opened.append(Checkpoints(work, model, wanted["iterations"], test, next(waiting, None)))
            if wanted := params.get("validation"):
                images = as_images(dataset, held_out, params["inputs"], device)
                when = {"every": wanted["every"], "patience": wanted["patience"], "state": next(waiting, None)}
                validation = Validation(work, model, images, LOSSES[settings.loss], **when)
                opened.append(validation)
            if events:
                opened.append(EventLog(events, validation))
            closing.pop_all()
        return opened

    with handover.held(work):
        if handover.finished(work):
            print(f"{work}: this training has ended before; its results are handed over", file=sys.stderr)
            handover.hand_over(work, out)
            return
        folders = {out, *((out / file).parent for file in rows)}
        try:
            size = _least_size(model, rows, params.get("recording", {}), dataset, settings.steps(len(train_images)))
            handover.check_target(out, work, folders, size)
            log = train(
                model,
                train_images,
                settings,
                seed=seed,
                open_recorders=open_recorders,
                checkpoint=work / handover.CHECKPOINT,
                stop=lambda: validation is not None and validation.stopped,
            )
        except UserError as error:
            handover.discard(work, folders, useless=isinstance(error, Diverged))
            raise
        weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
        inputs = params["inputs"]
        metadata = Description(
            params["model"], dataset.classes, dataset.images.shape[1:], inputs["low"], inputs["high"], dataset.title
        )
        (work / "model.safetensors").write_bytes(save(weights, metadata.as_metadata()))
        write_csv(work / "training.csv", {name: _column(log.column(name), name) for name in LOG_FIELDS})
        summary = {
            "steps": len(log.rows),
            "final_loss": float(np.mean(log.column("loss")[-50:])),
            "train_images": len(train_images),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "weights_sha256": files.sha256(work / "model.safetensors"),
        }
        if validation is not None:
            # The test images are left alone until the settings are chosen.
            summary |= validation.summary()
        else:
            summary |= {
                "train_accuracy": accuracy(model, train_images),
                "test_accuracy": accuracy(model, test_images) if len(test_images) else None,
                "test_images": len(test_images),
            }
        files.write_json(work / "training.json", summary)
        files.write_json(work / "provenance.json", _provenance(started, time.monotonic() - clock, device))
        handover.finish(work)
        handover.hand_over(work, out)


def _least_size(
    model: torch.nn.Module,
    rows: Mapping[str, slice],
    recording: Mapping[str, Any],
    dataset: prepared.Prepared,
    steps: int,
) -> int:
    """Return how many bytes the results take even if all maps are zero: weights, accumulators, scalars."""
    moments = 1 + steps // recording.get("every", 1)
    a_sample = 2 * len(ACCUMULATORS) * 8 * int(np.prod(dataset.images.shape[2:])) + 4 * len(SCALARS) * moments
    samples = sum(len(range(recording["samples"])[part]) for part in rows.values())
    return sum(value.nbytes for value in model.state_dict().values()) + samples * a_sample


def _check_fit(model: torch.nn.Module, name: str, images: Images, dataset: str) -> None:
    """Refuse images that the network cannot take, before anything is trained."""
    try:
        with torch.no_grad():
            model(images.inputs(slice(1)))
    except RuntimeError as error:
        size = "×".join(map(str, images.pixels.shape[1:]))
        raise UserError(
            f"model {name!r} cannot take the images of dataset {dataset!r}, {size}; prepare the dataset in another "
            f"size, or choose another model ({str(error).splitlines()[0]})"
        ) from None


def prepare_device(training: dict[str, Any]) -> torch.device:
    """Set threads and determinism of this process, and return the device asked for.

    The number of threads is a parameter and not what the scheduler grants, since sums depend on it in the last bit.
    """
    torch.set_num_threads(training.get("threads", 2))
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    name = training.get("device", "cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("training.device: found 'cuda', but torch sees no CUDA device here; use 'cpu' or 'auto'")
    return torch.device(name)


def as_images(
    dataset: prepared.Prepared, chosen: int | np.ndarray, inputs: Mapping[str, float], device: torch.device
) -> Images:
    """Return one split of a dataset, or the images of given indices, as tensors on the device."""
    if isinstance(chosen, int):
        chosen = np.flatnonzero(dataset.split == chosen)
    return Images(
        torch.from_numpy(dataset.images[chosen]).to(device),
        torch.from_numpy(dataset.labels[chosen].astype(np.int64)).to(device),
        inputs["low"],
        inputs["high"],
    )


def choose_samples(dataset: prepared.Prepared, recording: dict[str, Any]) -> np.ndarray:
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


def recordings(recording: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what to record into which file of a training's folder: a recording's parameters by file name."""
    # The number of shards is how a recording is made, and not in the file: the result is the same.
    common = {key: value for key, value in recording.items() if key not in ("composites", "shards")}
    if "composites" not in recording:
        return {"relevance.h5": common}
    return {
        f"{name}/relevance.h5": common | {"composite": composite, "name": name}
        for name, composite in recording["composites"].items()
    }


def open_recorder(
    path: Path,
    model: torch.nn.Module,
    dataset: prepared.Prepared,
    params: dict[str, Any],
    data_sha256: str,
    device: torch.device,
    state: dict | None = None,
    index: np.ndarray | None = None,
    shard: tuple[int, int] = (1, 1),
) -> Recorder:
    """Return a recorder of the fixed samples that `params` choose, of one shard of them, or of those in `index`."""
    recording, inputs = params["recording"], params["inputs"]
    maps = recording.get("maps", 100)
    if index is None:
        rows = rows_of(recording, *shard)
        index, maps = choose_samples(dataset, recording)[rows], len(range(maps)[rows])
    images = as_images(dataset, index, inputs, device)
    params_json = files.canonical_json(params)
    return Recorder(
        path,
        model,
        images.inputs(slice(None)),
        images.labels,
        composite=recording["composite"],
        bounds=(inputs["low"], inputs["high"]),
        every=recording.get("every", 1),
        maps=maps,
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
            "seed": params["seed"],
            "deterministic": True,
            "dataset": dataset.name,
            "dataset_title": dataset.title,
            "dataset_sha256": data_sha256,
            "classes": json.dumps(list(dataset.classes)),
            "model": params["model"],
            "target": recording.get("target", "label"),
        }
        | ({"composite": recording["name"]} if "name" in recording else {}),
        resume=state,
        overwrite=True,  # what an interrupted run has left
    )


def _column(values: np.ndarray, name: str) -> np.ndarray:
    return values.astype(np.int64) if name == "iteration" else values


def _key(params: dict[str, Any], data_sha256: str, record: bool, shard: tuple[int, int], out: str) -> str:
    """Hash of all that an unfinished training must share with the one that goes on with it."""
    digest = hashlib.sha256(files.canonical_json([params, data_sha256, record, shard, out, torch.__version__]).encode())
    for path in sorted(Path(lrp_dynamics.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def name_of(device: torch.device) -> str:
    """Return a device and what it is on this machine."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{device}: {name}"


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
