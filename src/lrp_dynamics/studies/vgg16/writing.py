"""Files of the VGG-16 study: maps and curves in HDF5, tables, and the numbers on one page."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrp_dynamics.base.disk import SLACK, new_file
from lrp_dynamics.base.files import atomic
from lrp_dynamics.data.prepared import Prepared
from lrp_dynamics.measures import evaluation
from lrp_dynamics.models.description import Description
from lrp_dynamics.studies.vgg16.explaining import TARGETS, Study

TOP = 5


def write_h5(path: Path, study: Study, about: Description, data: Prepared, params: dict[str, Any]) -> None:
    """Write images, logits, maps of pixels and layers, balances, curves; equal studies give equal bytes."""
    arrays = dict(_arrays(study))
    size = sum(values.nbytes + 4096 for values in arrays.values()) + SLACK
    with atomic(path) as temporary, new_file(temporary, size) as file:
        file.attrs["schema"], file.attrs["schema_version"] = "lrp-dynamics/photos", 1
        for name, value in (
            ("model", about.model),
            ("trained_on", about.trained_on),
            ("dataset_title", data.title),
            ("classes", json.dumps(list(about.classes))),
            ("names", json.dumps(study.images.names)),
            ("composites", json.dumps(list(params["composites"]))),
            ("methods", json.dumps(list(study.flipping))),
            ("blocks", json.dumps(study.blocks)),
            ("params_json", json.dumps(params, sort_keys=True)),
        ):
            file.attrs[name] = value

        for name, values in arrays.items():
            file.create_dataset(name, data=values, track_times=False)
            if name.startswith("absorbed/"):
                absorbed = study.explained[name.removeprefix("absorbed/"), TARGETS[0]].absorbed
                file[name].attrs["layers"] = json.dumps(list(absorbed))
            if name.startswith("mprt/"):
                file[name].attrs["layers"] = json.dumps(list(study.mprt[name.removeprefix("mprt/")]))


def _arrays(study: Study) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every dataset with its name, in the order in which they are written."""
    images = study.images
    yield "images", images.pixels
    yield "logits", images.logits
    yield "order", images.order[:, :TOP]
    if images.labels is not None:
        yield "labels", images.labels
    if images.masks is not None:
        yield "masks", images.masks.astype(np.uint8)
    for (method, target), result in study.explained.items():
        yield f"maps/{method}/{target}", result.maps.astype(np.float32)
        yield f"books/{method}/{target}/initial", result.initial
        yield f"books/{method}/{target}/residual", result.residual
        if target == TARGETS[0]:
            if result.absorbed:
                yield f"absorbed/{method}", np.stack(list(result.absorbed.values()), 1)
            for name, values in result.layers.items():
                yield f"layers/{name}", values.astype(np.float32)
    for name, values in study.activations.items():
        yield f"activations/{name}", values.astype(np.float32)
    for method, curves in study.flipping.items():
        yield f"flipping/{method}/morf", curves.morf.numpy()
        yield f"flipping/{method}/lerf", curves.lerf.numpy()
    yield "flipping_fraction", curves.fraction.numpy()
    for method, layers in study.mprt.items():
        yield f"mprt/{method}", np.stack(list(layers.values()))


def predictions(study: Study, about: Description) -> dict[str, list]:
    """Return a row for each of the best classes of every image."""
    images = study.images
    logits = torch.from_numpy(images.logits)
    probability = logits.softmax(1).numpy()
    rows = [(i, rank, k) for i, order in enumerate(images.order[:, :TOP]) for rank, k in enumerate(order.tolist(), 1)]
    table = {
        "image": [images.names[i] for i, _, _ in rows],
        "rank": [rank for _, rank, _ in rows],
        "class_index": [k for _, _, k in rows],
        "class": [about.classes[k] for _, _, k in rows],
        "logit": [images.logits[i, k] for i, _, k in rows],
        "probability": [probability[i, k] for i, _, k in rows],
    }
    if images.labels is not None:
        table["label"] = [about.classes[images.labels[i]] for i, _, _ in rows]
    return table


def measures(study: Study) -> dict[str, np.ndarray]:
    """Return a row for every method and image: how good its map of the predicted class is, by each measure."""
    images = study.images
    columns: dict[str, list] = {}
    for method, curves in study.flipping.items():
        result = study.explained[method, TARGETS[0]]
        maps = torch.from_numpy(result.maps)
        values = {
            "image": images.names,
            "method": [method] * len(maps),
            "logit": result.initial,
            "arrives": 1 - result.residual / result.initial,
            "abpc": curves.abpc.numpy(),
            "aopc": curves.aopc.numpy(),
            "gini": evaluation.gini(maps).numpy(),
            "entropy": evaluation.entropy(maps).numpy(),
        }
        if images.masks is not None:
            masks = torch.from_numpy(images.masks)
            values["mass_accuracy"] = evaluation.mass_accuracy(maps, masks).numpy()
            values["rank_accuracy"] = evaluation.rank_accuracy(maps, masks).numpy()
            values["object_area"] = images.masks.mean((1, 2))
        for name, column in values.items():
            columns.setdefault(name, []).extend(column)
    return {name: np.array(column) for name, column in columns.items()}


def metrics(study: Study, table: dict[str, np.ndarray], training: dict[str, Any] | None) -> dict[str, float]:
    """Return the numbers of the study on one page: medians over images; what is unknown is left out."""
    result: dict[str, Any] = {"images": len(study.images.names)}
    for key in ("test_accuracy", "train_accuracy", "final_loss", "parameters"):
        if training and training.get(key) is not None:
            result[key] = training[key]
    if study.images.labels is not None:
        result["accuracy_on_explained_images"] = float(np.mean(study.images.order[:, 0] == study.images.labels))
    for method, layers in study.mprt.items():
        chosen = table["method"] == method
        for name in ("arrives", "abpc", "aopc", "gini", "entropy", "mass_accuracy", "rank_accuracy"):
            if name in table and np.isfinite(table[name][chosen]).any():
                result[f"{method}_{name}"] = float(np.nanmedian(table[name][chosen]))
        curve = [np.nanmedian(values) for values in layers.values() if np.isfinite(values).any()]
        if curve:
            result[f"{method}_mprt_last_layer"] = float(curve[0])
            result[f"{method}_mprt_all_layers"] = float(curve[-1])
    if "object_area" in table:
        result["object_area"] = float(np.median(table["object_area"]))
    return result
