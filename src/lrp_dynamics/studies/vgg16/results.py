"""What the figures of the VGG-16 study draw from: explanations.h5 and measures.csv."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.hdf5 import KINDS, Layout, open_hdf5, tell_damage
from lrp_dynamics.base.names import literal
from lrp_dynamics.base.parameters import parse
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.base.typeset import rule_name
from lrp_dynamics.reports.parameters import Shown

SCHEMA, SCHEMA_VERSION = "lrp-dynamics/photos", 1
# One colour a method, in this order; Okabe and Ito's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")


def _datasets(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return what explanations.h5 holds; its attributes say of which methods and blocks."""
    composites, methods, blocks = (json.loads(attributes[name]) for name in ("composites", "methods", "blocks"))
    return {
        "images": "u N C H W",
        "logits": "f N K",
        "order": "iu N TOP",
        "labels?": "iu N",
        "masks?": "u N H W",
        **{f"maps/{method}/predicted": "f N H W" for method in methods},
        **{f"maps/{method}/runner_up": "f N H W" for method in composites},
        **{f"books/{method}/predicted/initial": "f N" for method in composites},
        **{f"absorbed/{method}": "f N _" for method in composites},
        **{f"{kind}/{name}": "f N _ _" for kind in ("layers", "activations") for name in blocks},
        "flipping_fraction": "f STEPS",
        **{f"flipping/{method}/{order}": "f N STEPS" for method in methods for order in ("morf", "lerf")},
        **{f"mprt/{method}": "f _ _" for method in methods},
    }


LAYOUT = Layout(
    SCHEMA,
    (SCHEMA_VERSION,),
    "explanations of photos, which `lrp-dynamics vgg16-explain` writes",
    dict.fromkeys(("model", "trained_on", "dataset_title"), "text")
    | dict.fromkeys(("classes", "names", "composites", "methods", "blocks"), "names in a JSON list"),
    _datasets,
)


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
        self._path, self._file = maps, open_hdf5(maps, LAYOUT)
        attrs = self._file.attrs
        self.classes, self.names, self.composites, self.methods, self.blocks = (
            json.loads(attrs[key]) for key in ("classes", "names", "composites", "methods", "blocks")
        )
        self.title = attrs["dataset_title"]
        self.origin = f"{attrs['model']}, trained on {attrs['trained_on']}"
        self.show = min(show, len(self.names))
        logits = self._file["logits"][()]
        exponential = np.exp(logits - logits.max(1, keepdims=True))
        self.probability = exponential / exponential.sum(1, keepdims=True)
        self.order = self._file["order"][()]
        if problem := self._contradiction():
            self._file.close()
            raise UserError(f"{maps}: {problem}: it is damaged, or was made by something else")
        self.measures = read_csv(measures, require=("abpc",), texts=("image", "method"))

    def _contradiction(self) -> str | None:
        """Return what of the file does not go together."""
        (count, classes), top = self._file["logits"].shape, self.order.shape[1]
        if not self.composites or len(self.names) != count or len(self.classes) != classes or top < 2:
            return (
                f"found {len(self.composites)} composites, names of {len(self.names)} of {count} images and of "
                f"{len(self.classes)} of {classes} classes, the best {top} of them; expected all names, and the best 2"
            )
        labels = self._file["labels"][()] if "labels" in self._file else self.order
        if not all(((index >= 0) & (index < classes)).all() for index in (self.order, labels)):
            return f"found classes that are not among the {classes}"
        return None

    def __enter__(self) -> "PhotoRun":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._file.close()
        tell_damage(self._path, error)

    def image(self, i: int) -> np.ndarray:
        """Return an image as (H, W, 3) or grey (H, W), uint8."""
        pixels = self._file["images"][i].transpose(1, 2, 0)
        return pixels[..., 0] if pixels.shape[-1] == 1 else pixels

    def map(self, method: str, target: str, i: int) -> np.ndarray:
        """Return the relevance (H, W) of one image."""
        return self._file[f"maps/{method}/{target}"][i]

    def layer(self, name: str, i: int) -> np.ndarray:
        """Return the relevance (H, W) that arrives at the end of a block, of one image."""
        return self._file[f"layers/{name}"][i]

    def activation(self, name: str, i: int) -> np.ndarray:
        """Return the mean activation (H, W) at the end of a block, of one image."""
        return self._file[f"activations/{name}"][i]

    @property
    def masked(self) -> bool:
        """Whether it is known where the objects are."""
        return "masks" in self._file

    def true_class(self, i: int) -> int | None:
        """Return the index of an image's labelled class, where it is known."""
        return int(self._file["labels"][i]) if "labels" in self._file else None

    def absorbed(self, method: str) -> tuple[list[str], np.ndarray]:
        """Return the layers, from the output on, and the share (N, layers) of the explained logit that each absorbs."""
        data = self._file[f"absorbed/{method}"]
        initial = self._file[f"books/{method}/predicted/initial"][()]
        return self._layers(data, 1), data[()] / initial[:, None]

    def flipping(self, method: str, order: str) -> np.ndarray:
        """Return the logits (N, steps) while regions are replaced, in the order "morf" or "lerf"."""
        return self._file[f"flipping/{method}/{order}"][()]

    def flipped(self) -> np.ndarray:
        """Return the share of regions replaced at each step (steps,)."""
        return self._file["flipping_fraction"][()]

    def mprt(self, method: str) -> tuple[list[str], np.ndarray]:
        """Return the layers, from the output on, and the correlations (layers, N) with random weights down to each."""
        data = self._file[f"mprt/{method}"]
        return self._layers(data, 0), data[()]

    def _layers(self, data: Any, axis: int) -> list[str]:
        """Return the names of the layers along an axis of a dataset."""
        told = data.attrs.get("layers")
        if not KINDS["names in a JSON list"](told) or len(json.loads(told)) != data.shape[axis]:
            raise UserError(f"{self._path}: found layers {told!r} of {data.name}, expected {data.shape[axis]} names")
        return json.loads(told)

    def label(self, i: int, rank: int = 0, width: int = 18) -> str:
        """Return for a figure the name of a predicted class, cut to `width` letters, and its probability."""
        k = self.order[i, rank]
        name = self.classes[k]
        return f"{literal(name, width)}, {100 * self.probability[i, k]:.1f} %"

    def spoken(self, method: str) -> str:
        """Return what a method is called in a figure."""
        return literal(rule_name(method), 40)

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
