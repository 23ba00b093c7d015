"""What the figures of the VGG-16 study draw from: explanations.h5 and measures.csv."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lrp_dynamics.base.parameters import parse
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.reports.parameters import Shown

# One colour a method, in this order; Okabe and Ito's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")


class PhotoRun:
    """The results of a study, opened for drawing.

    Parameters
    ----------
    maps : path
        explanations.h5.
    measures : path
        measures.csv.
    show : int
        How many images are drawn.
    """

    def __init__(self, maps: str | Path, measures: str | Path, show: int):
        self.file = h5py.File(maps, "r")
        attrs = self.file.attrs
        self.classes, self.names, self.composites, self.methods, self.blocks = (
            json.loads(attrs[key]) for key in ("classes", "names", "composites", "methods", "blocks")
        )
        self.title = attrs["dataset_title"]
        self.origin = f"{attrs['model']}, trained on {attrs['trained_on']}"
        self.show = min(show, len(self.names))
        self.measures = read_csv(measures)
        logits = self.file["logits"][()]
        exponential = np.exp(logits - logits.max(1, keepdims=True))
        self.probability = exponential / exponential.sum(1, keepdims=True)
        self.order = self.file["order"][()]

    def __enter__(self) -> "PhotoRun":
        return self

    def __exit__(self, *_) -> None:
        self.file.close()

    def image(self, i: int) -> np.ndarray:
        """Return an image as (H, W, 3) or grey (H, W), uint8."""
        pixels = self.file["images"][i].transpose(1, 2, 0)
        return pixels[..., 0] if pixels.shape[-1] == 1 else pixels

    def map(self, method: str, target: str, i: int) -> np.ndarray:
        """Return the relevance (H, W) of one image."""
        return self.file[f"maps/{method}/{target}"][i]

    def label(self, i: int, rank: int = 0, width: int = 18) -> str:
        """Return the name of a predicted class, cut to `width` letters, and its probability."""
        k = self.order[i, rank]
        name = self.classes[k]
        name = name if len(name) <= width else name[: width - 1] + "…"
        return f"{name}, {100 * self.probability[i, k]:.1f} %"

    def colour(self, method: str) -> str:
        """Return the colour of a method, the same in all figures."""
        return COLOURS[self.methods.index(method) % len(COLOURS)]

    def values(self, method: str, name: str) -> np.ndarray:
        """Return a measure of all images."""
        return self.measures[name][self.measures["method"] == method]


@contextmanager
def open_results(inputs: Mapping[str, Path], params: Mapping[str, Any]) -> Iterator[PhotoRun]:
    """Open the results of an experiment.

    Parameters
    ----------
    inputs : mapping of str to Path
        "maps" (explanations.h5), "measures" (measures.csv).
    params : mapping
        "images": how many images are drawn.
    """
    chosen = parse(Shown, params, "figures")
    with PhotoRun(inputs["maps"], inputs["measures"], chosen.images) as results:
        yield results
