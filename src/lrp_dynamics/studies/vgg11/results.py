"""What the figures of a VGG-11 experiment are drawn from: its result files, read once."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.names import literal
from lrp_dynamics.base.parameters import parse
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.data import prepared
from lrp_dynamics.data.pictures import as_picture
from lrp_dynamics.recording.store import RelevanceFile, open_relevance
from lrp_dynamics.reports.parameters import Shown

METHODS = {"all": "all relevance", "top_k": "largest only"}


@dataclass(frozen=True)
class Results:
    """One experiment of kind "vgg11".

    Attributes
    ----------
    recordings : mapping of str to RelevanceFile
        By key of `METHODS`: the same test images, explained by the trained network.
    training, validation, classes, confusion, mistakes : dict of str to ndarray
        The tables of training steps, of measurements along them, and of the test.
    pictures : ndarray u1 (M, C, H, W)
        The misclassified test images that are shown, in the order of `mistakes`.
    show : int
        How many explained images are shown.
    """

    recordings: Mapping[str, RelevanceFile]
    training: Mapping[str, np.ndarray]
    validation: Mapping[str, np.ndarray]
    classes: Mapping[str, np.ndarray]
    confusion: Mapping[str, np.ndarray]
    mistakes: Mapping[str, np.ndarray]
    pictures: np.ndarray
    show: int

    @property
    def first(self) -> RelevanceFile:
        """The recording of all relevance."""
        return self.recordings["all"]

    @property
    def title(self) -> str:
        """Title of the dataset, to be written on every figure."""
        return literal(self.first.attrs["dataset_title"])

    @property
    def origin(self) -> str:
        """What was trained and tested, in one line."""
        attrs, test = self.first.attrs, int(self.classes["images"].sum())
        return f"{self.title} · {literal(attrs['model'])} · seed {attrs['seed']} · {test:,} test images"

    def class_name(self, number: int, width: int = 40) -> str:
        """Return the name of a class, cut to `width` letters."""
        return literal(self.first.attrs["classes"][number], width)

    def picture(self, sample: int) -> np.ndarray:
        """Return an explained image as matplotlib shows it, values 0 to 255."""
        return as_picture(self.first.image(sample))

    def maps(self, method: str) -> np.ndarray:
        """Return the relevance maps of a method, (N, H, W)."""
        return self.recordings[method].maps(0)


MISTAKES = 20  # how many the figure shows


@contextmanager
def open_results(inputs: Mapping[str, Path], params: Mapping[str, Any]) -> Iterator[Results]:
    """Open the results of an experiment.

    Parameters
    ----------
    inputs : mapping of str to Path
        "training", "validation", "classes", "confusion", "mistakes" (tables), a recording of each of `METHODS`, "data"
        (the prepared dataset that they are of).
    params : mapping
        "images": how many explained images are shown.
    """
    chosen = parse(Shown, params, "figures")
    tables = {
        "training": ("iteration", "epoch", "loss", "accuracy"),
        "validation": ("iteration", "epoch", "loss", "accuracy", "best"),
        "classes": ("images", "recall"),
        "confusion": (),
        "mistakes": ("index", "label", "predicted", "probability"),
    }
    with ExitStack() as stack:
        texts = {"classes": ("class",), "confusion": ("class",)}
        read = {name: read_csv(inputs[name], columns, texts.get(name, ())) for name, columns in tables.items()}
        shown = read["mistakes"]["index"][:MISTAKES].astype(np.int64)
        pictures = prepared.read_images(inputs["data"], shown)
        yield Results(
            {name: stack.enter_context(open_relevance(inputs[name], images=True)) for name in METHODS},
            **read,
            pictures=pictures,
            show=chosen.images,
        )
