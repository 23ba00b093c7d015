"""How well a network classifies: accuracy, confusion matrix, and precision, recall and F1 of each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrp_dynamics.base import files
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.tables import write_csv
from lrp_dynamics.data.prepared import TEST, Prepared
from lrp_dynamics.models.trained import Network


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return how many images of each class (row) were taken for each class (column), i8 (K, K).

    Examples
    --------
    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    return np.bincount(labels.astype(np.int64) * n_classes + predicted, minlength=n_classes**2).reshape(
        n_classes, n_classes
    )


def class_table(confusion: np.ndarray, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Return a row for each class, from its confusion matrix (K, K).

    Returns
    -------
    dict
        "class"; "images" that are of it; "predicted", images taken for it; "precision", the share of these that are of
        it (NaN if there are none); "recall", the share of its images taken for it (NaN if there are none); "f1", their
        harmonic mean (0 if no image was classified rightly).
    """
    images, predicted, right = confusion.sum(1), confusion.sum(0), np.diag(confusion)
    both = images + predicted
    return {
        "class": np.array(classes),
        "images": images,
        "predicted": predicted,
        "precision": _share(right, predicted),
        "recall": _share(right, images),
        "f1": _share(2 * right, both),  # = 2 precision recall / (precision + recall), and defined if one is not
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def summary(confusion: np.ndarray, table: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return accuracy, and the means over the classes of what is defined for them."""
    total, right = int(confusion.sum()), int(np.trace(confusion))
    means = {f"macro_{name}": float(np.nanmean(table[name])) for name in ("precision", "recall", "f1")}
    return {"test_accuracy": right / total, "test_errors": total - right, "test_images": total} | means


@torch.no_grad()
def predict(network: Network, pixels: np.ndarray, device: torch.device, batch_size: int = 500) -> np.ndarray:
    """Return the probability of each class, f4 (N, K), of images (N, C, H, W) uint8."""
    model = network.model.to(device)
    starts = range(0, len(pixels), batch_size)
    batches = (network.inputs(pixels[start : start + batch_size]).to(device) for start in starts)
    return torch.cat([model(batch).softmax(1).cpu() for batch in batches]).numpy()


def classify(network: Network, data: Prepared, device: torch.device, out: Path) -> None:
    """Classify the test images, and write what came of it.

    Parameters
    ----------
    network : Network
    data : Prepared
        Its test split is used.
    device : torch.device
    out : Path
        Gets metrics.json, classes.csv (a row a class), confusion.csv (a row a class, a column a class it was taken for)
        and mistakes.csv (a row a misclassified image, the most certain mistake first).
    """
    index = np.flatnonzero(data.split == TEST)
    if not len(index):
        raise UserError(f"dataset {data.name!r} has no test images to classify")
    check_same(network, data)
    probability = predict(network, data.images[index], device)
    labels, predicted = data.labels[index].astype(np.int64), probability.argmax(1)
    confusion = confusion_matrix(labels, predicted, len(data.classes))
    table = class_table(confusion, data.classes)
    write_csv(out / "classes.csv", table)
    columns = {"class": data.classes} | {f"as_{name}": confusion[:, k] for k, name in enumerate(data.classes)}
    write_csv(out / "confusion.csv", columns)
    wrong = np.flatnonzero(predicted != labels)
    certain = wrong[np.argsort(-probability[wrong, predicted[wrong]], kind="stable")]
    mistakes = {
        "index": index[certain],
        "label": labels[certain],
        "predicted": predicted[certain],
        "probability": probability[certain, predicted[certain]],
        "probability_of_label": probability[certain, labels[certain]],
    }
    write_csv(out / "mistakes.csv", mistakes)
    files.write_json(out / "metrics.json", summary(confusion, table))
    print(f"test accuracy {1 - len(wrong) / len(index):.2%}: {len(wrong)} of {len(index)} images misclassified")


def check_same(network: Network, data: Prepared) -> None:
    """Refuse a network that was trained for other classes or other images."""
    about = network.about
    if list(about.classes) != list(data.classes) or tuple(about.shape) != data.images.shape[1:]:
        raise UserError(
            f"the network was trained on {about.trained_on!r} for {len(about.classes)} classes and images of "
            f"{tuple(about.shape)}, but dataset {data.name!r} has {len(data.classes)} classes and images of "
            f"{data.images.shape[1:]}; give the files of one experiment"
        )
