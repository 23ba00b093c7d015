"""What the homework's figures are drawn from: the result files of one seed, read once."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import read_json
from lrp_dynamics.base.names import literal
from lrp_dynamics.base.parameters import parse
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.data.pictures import as_picture
from lrp_dynamics.recording.store import RelevanceFile, open_relevance
from lrp_dynamics.studies.homework.parameters import Figures

METHODS = {"sensitivity": "sensitivity", "deep_taylor": "deep Taylor"}


@dataclass(frozen=True)
class Homework:
    """One seed of a homework experiment.

    Attributes
    ----------
    recordings : mapping of str to RelevanceFile
        By key of `METHODS`: the same images explained at the same checkpoints, those with most evidence first.
    accuracy, training, evidence : dict of str to ndarray
        The tables of checkpoints, of training steps and of test images.
    published : dict of int to float
        Accuracy by iteration as published; empty where that was for another dataset.
    show : int
        How many images the figures along the training show.
    """

    recordings: Mapping[str, RelevanceFile]
    accuracy: Mapping[str, np.ndarray]
    training: Mapping[str, np.ndarray]
    evidence: Mapping[str, np.ndarray]
    published: Mapping[int, float]
    show: int = 4

    @property
    def title(self) -> str:
        """Title of the dataset, to be written on every figure."""
        return literal(self._first.attrs["dataset_title"])

    @property
    def origin(self) -> str:
        """What was trained and explained, in one line."""
        attrs, count = self._first.attrs, self._first.samples
        test = self.accuracy["test_images"][-1]
        return (
            f"{self.title} · {literal(attrs['model'])} · seed {attrs['seed']} · {self.iterations[-1]:,} training "
            f"steps · the {count} of {test} test images with most evidence for their class"
        )

    @property
    def _first(self) -> RelevanceFile:
        return self.recordings["deep_taylor"]

    @property
    def iterations(self) -> np.ndarray:
        """Training step of each checkpoint (T,)."""
        return self._first.step("iteration")

    @property
    def count(self) -> int:
        """Number of explained images."""
        return self._first.samples

    def maps(self, method: str) -> np.ndarray:
        """Return the heatmaps of a method at all checkpoints, (T, N, H, W)."""
        return self.recordings[method].maps()

    def picture(self, sample: int) -> np.ndarray:
        """Return an explained image as matplotlib shows it, values 0 to 255."""
        return as_picture(self._first.image(sample))

    def class_name(self, sample: int, width: int = 40) -> str:
        """Return the class of an explained image, cut to `width` letters."""
        return literal(self._first.attrs["classes"][self._first.sample("label")[sample]], width)

    def different_classes(self) -> list[int]:
        """Return up to `show` explained images, those with most evidence, of as many classes as possible."""
        labels = self._first.sample("label")
        _, first = np.unique(labels, return_index=True)
        order = [*sorted(first.tolist()), *(i for i in range(len(labels)) if i not in set(first.tolist()))]
        return sorted(order[: self.show])


@contextmanager
def open_results(inputs: Mapping[str, Path], params: Mapping[str, Any]) -> Iterator[Homework]:
    """Open the results of one seed, and the published accuracies to compare with.

    Parameters
    ----------
    inputs : mapping of str to Path
        "accuracy", "training", "evidence" (tables), a recording of each of `METHODS`, "published" (JSON).
    params : mapping
        "samples": how many images the figures along the training show; "published": whether to compare.
    """
    chosen = parse(Figures, params, "figures")
    with ExitStack() as stack:
        yield Homework(
            {name: stack.enter_context(open_relevance(inputs[name], images=True)) for name in METHODS},
            accuracy=read_csv(inputs["accuracy"], require=("iteration", "accuracy", "test_images")),
            training=read_csv(inputs["training"], require=("iteration", "loss")),
            evidence=read_csv(inputs["evidence"], require=("index", "label", "evidence", "predicted")),
            published=read_published(inputs["published"]) if chosen.published else {},
            show=chosen.samples,
        )


def read_published(path: Path) -> dict[int, float]:
    """Return published accuracies by iteration."""
    accuracy = read_json(path, "published accuracies").get("accuracy")
    try:
        return {int(step): float(value) for step, value in accuracy.items()}
    except (AttributeError, TypeError, ValueError):
        raise UserError(f"{path}: found no numbers by iteration as accuracy, expected published accuracies") from None
