"""Training a ConvNet and explaining its predictions: the homework's training, and what its networks see.

Published as an exercise of a course on machine learning at TU Berlin; docs/studies/homework.md tells what is done here.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrp_dynamics import models
from lrp_dynamics.base import files
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.tables import read_csv, write_csv
from lrp_dynamics.data import prepared
from lrp_dynamics.measures.evaluation import mass_accuracy
from lrp_dynamics.measures.samples import conservation
from lrp_dynamics.measures.similarity import cosine
from lrp_dynamics.models.weights import fill
from lrp_dynamics.recording.store import open_relevance
from lrp_dynamics.training import checkpoints
from lrp_dynamics.training.data import Data
from lrp_dynamics.training.device import prepare_device
from lrp_dynamics.training.losses import class_probabilities
from lrp_dynamics.training.plans import Plan, open_recorder

# Deep Taylor decomposition (Montavon et al. 2017): the evidence for a class, if there is any, is traced to its pixels.
METHODS: dict[str, Any] = {
    "deep_taylor": {"rules": {"first": "z_box", "*": "z_plus"}, "initial": "relu"},
    "sensitivity": "sensitivity",
}


def training_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the parameters of a homework experiment into those of `lrp_dynamics.training.run.run_training`."""
    training = dict(params["training"])
    iterations = training.pop("iterations")
    return {
        "model": params["model"],
        "inputs": params["inputs"],
        "seed": params["seed"],
        "checkpoints": params["checkpoints"],
        # A step needs at least one image, so there cannot be more epochs than steps.
        "training": training
        | {"optimizer": "sgd", "loss": "default_class", "epochs": iterations, "max_steps": iterations},
    }


def run_explanations(data: Path, weights: Path, accuracy: Path, params: Mapping[str, Any], out: Path) -> None:
    """Explain, at every checkpoint, the test images with most evidence for their class in the end.

    Parameters
    ----------
    data : Path
        The prepared dataset.
    weights, accuracy : Path
        checkpoints.safetensors and accuracy.csv of the training.
    params : mapping
        As for the training, and "explained", the number of images.
    out : Path
        Gets <method>/relevance.h5 of each of `METHODS` (recordings with one step per checkpoint), evidence.csv with the
        evidence for each test image's class, largest first, and metrics.json.
    """
    source = Data.read(data, params["inputs"], prepare_device(params["training"]))
    dataset = source.dataset
    moments, shown = checkpoints.iterations_of(weights), read_csv(accuracy, ("iteration", "accuracy", "test_images"))
    if not len(shown["accuracy"]):
        raise UserError(f"{accuracy}: found no row, expected the accuracy at each checkpoint")
    model = models.build(
        params["model"], n_classes=len(dataset.classes), in_channels=dataset.images.shape[1], seed=params["seed"]
    )
    model = model.to(source.device).eval()
    fill(model, checkpoints.load(weights, moments[-1]), weights, params["model"])
    index = np.flatnonzero(dataset.split == prepared.TEST)[: params["checkpoints"]["test_images"]]
    table = evidence_table(model, source, index)
    chosen = table["index"][: params["explained"]]
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as temporary:
        recorders = {
            name: open_recorder(Path(temporary) / f"{name}.h5", model, source, plan)
            for name, plan in plans(chosen, params).items()
        }
        for moment in moments:
            fill(model, checkpoints.load(weights, moment), weights, params["model"])
            for recorder in recorders.values():
                recorder.record(moment, lr=params["training"]["learning_rate"])
        for name, recorder in recorders.items():
            recorder.close()
            (out / name).mkdir(exist_ok=True)
            files.check_output(out / name / "relevance.h5")
            os.replace(recorder.path, out / name / "relevance.h5")
    write_csv(out / "evidence.csv", table)
    files.write_json(out / "metrics.json", metrics(out, shown, table))


def plans(chosen: np.ndarray, params: Mapping[str, Any]) -> dict[str, Plan]:
    """Return what is recorded by each of `METHODS`: all maps of the images chosen."""
    told = {name: params[name] for name in ("model", "inputs", "seed")}
    recordings = {
        name: {"composite": composite, "name": name, "maps": len(chosen)} for name, composite in METHODS.items()
    }
    return {name: Plan(chosen, recording, told | {"recording": recording}) for name, recording in recordings.items()}


@torch.no_grad()
def evidence_table(model: torch.nn.Module, source: Data, index: np.ndarray) -> dict[str, np.ndarray]:
    """Return the score of each image's own class, a row an image, largest first.

    Returns
    -------
    dict
        "index" in the dataset, "label", "evidence" (the score, logit units), "probability" of the class, "predicted".
    """
    images = source.images(index)
    logits = torch.cat([model(images.inputs(slice(i, i + 500))) for i in range(0, len(images), 500)])
    own = images.labels[:, None]
    table = {
        "index": index,
        "label": source.dataset.labels[index],
        "evidence": logits.gather(1, own)[:, 0].cpu().numpy(),
        "probability": class_probabilities(logits).gather(1, own)[:, 0].cpu().numpy(),
        "predicted": logits.argmax(1).cpu().numpy(),
    }
    order = np.argsort(-table["evidence"], kind="stable")
    return {name: values[order] for name, values in table.items()}


def metrics(folder: Path, accuracy: Mapping[str, np.ndarray], evidence: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the numbers of one training: accuracies, evidence, and what the explanations conserve."""
    result: dict[str, float] = {
        "final_accuracy": float(accuracy["accuracy"][-1]),
        "test_images": int(accuracy["test_images"][-1]),
        "iterations": int(accuracy["iteration"][-1]),
        "images_with_evidence_share": float((evidence["evidence"] > 0).mean()),
    }
    result |= {
        f"accuracy_at_{step}": float(value)
        for step, value in zip(accuracy["iteration"], accuracy["accuracy"], strict=True)
    }
    for name in METHODS:
        with open_relevance(folder / name / "relevance.h5") as recording:
            result[f"{name}_explained_images"] = recording.samples
            for key, errors in conservation(recording).items():
                result[f"{name}_{key}_max"] = float(errors.max())
            maps = recording.maps()
            # From the first checkpoint at which an image has a map at all: without evidence there is none.
            first = (np.abs(maps).max(axis=(2, 3)) > 0).argmax(axis=0)
            result[f"{name}_similarity_first_to_last_median"] = float(
                np.median(cosine(maps[first, np.arange(len(first))], maps[-1]))
            )
            result[f"{name}_similarity_of_two_images_median"] = float(
                np.median(cosine(maps[-1], np.roll(maps[-1], 1, axis=0)))
            )
            if recording.has_sample("mask"):
                inside = recording.sample("mask") == 1
                mass = mass_accuracy(torch.from_numpy(maps[-1]), torch.from_numpy(inside))
                result[f"{name}_mass_on_object_median"] = float(mass.nanmedian())
                result["object_area_median"] = float(np.median(inside.mean(axis=(1, 2))))
    return result
