"""The file of one recording: `relevance.h5`, schema version 2: what is in it, and how it is read.

Layout (T recorded steps, N samples, N' ≤ N samples whose maps are stored, images of C×H×W pixels)::

    /            attributes: what was recorded and how (see `ATTRIBUTES`)
    /samples     index i8, split u1, label i2, label_clean i2, image u1 (N,C,H,W), optional mask u1 (N,H,W), factors/*,
                 target where what is explained is not the output of the label
    /steps       iteration i8, epoch f4, learning_rate f4, train_loss f4                                        (T,)
    /scalars     one f4 dataset a name of `SCALARS`, and predicted i2                                           (T,N)
    /relevance   map f2 (T,N',H,W), channel-summed relevance divided by scale f4 (T,N')
    /accum       A and B, each: dynamics, dynamics_normalized, abs_sum, mean, m2 f8 (N,H,W), n i8;  valid_slot
    /checksums   of all of these, see `lrp_dynamics.recording.checksums`; schema version 1 had none, and is read, too

Other samples than images have maps of other shapes in place of (H,W): (L,) of signals (N,C,L), (D,H,W) of volumes
(N,C,D,H,W), (F,) of tables (N,F), which have no channels to sum over; their `image` is f4, the samples themselves.
Class indices beyond 32,767 make `predicted`, `label`, `label_clean` or `target` i4 or i8. A block of steps is appended
and flushed at once, and the accumulators alternate between two slots, so that a process killed at any moment leaves a
file that opens, in which `/accum/<valid_slot>/n` steps are whole (`lrp_dynamics.recording.writer`).
"""

import json
import time
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.hdf5 import Layout, dataset_of, open_hdf5, tell_damage
from lrp_dynamics.base.locks import holder
from lrp_dynamics.recording import checksums

SCHEMA = "lrp-dynamics/relevance"
VERSION, OLDER = 2, (1,)
BLOCK = 16  # steps in a chunk, and steps written at a time
STEPS = {"iteration": "i8", "epoch": "f4", "learning_rate": "f4", "train_loss": "f4"}
SCALARS = (
    "logit",  # the explained output
    "margin",  # logit minus the largest other logit; NaN where there is no other, or no class is explained
    "probability",  # softmax probability of the explained class; NaN where no class is explained
    "initial",  # relevance put in at the output
    "absorbed",  # relevance that biases, stabilizers and dead units kept: initial = r_sum + absorbed
    "r_sum",
    "r_abs_sum",
    "r_max",  # largest |relevance| of a pixel
    "entropy",  # of |R| / sum|R| over pixels, nats
    "min_abs_z",  # smallest denominator that relevance met; inf where it met none
    "step_divergence",  # sum over pixels of |R_i - R_{i-1}|; 0 at the first step
)
ACCUMULATORS = ("dynamics", "dynamics_normalized", "abs_sum", "mean", "m2")
SAMPLE_FIELDS = {"index": "i8", "split": "u1", "label": "i2", "label_clean": "i2"}
CLASS_TYPES = ("i2", "i4", "i8")
UNKNOWN = "unknown"  # what a file says of an attribute that nobody told
MAPS_ALONE = "maps alone"  # the "target" of maps that were imported without outputs: their sums stand in their place
TEXT, WHOLE, TRUTH, NAMES = "text", "a whole number", "True or False", "a list of names"
# Name: what a recorder takes for it, and what it means; what nobody tells is "unknown", and no class has a name.
ATTRIBUTES = {
    "params_json": (TEXT, "parameters of the run, as JSON"),
    "params_sha256": (TEXT, "their SHA-256"),
    "seed": (WHOLE, "of initial weights and order of the batches"),
    "deterministic": (TRUTH, "whether the run was asked to be the same each time"),
    "dataset": (TEXT, "short name of the data"),
    "dataset_title": (TEXT, "what the data are, as figures and pages call them"),
    "dataset_sha256": (TEXT, "SHA-256 of the data's file"),
    "classes": (NAMES, "of the classes, in the order of their indices"),
    "model": (TEXT, "the network; by default the name of its class"),
    "composite": (TEXT, "name of the rules; told by the recorder"),
    "composite_json": (TEXT, "every rule with stabilizer and bias handling, as JSON; told by the recorder"),
    "target": (TEXT, 'what is explained, such as "label"; "predicted" is told by the recorder'),
    "channel_reduction": (TEXT, '"sum", or "none" of tables; told by the recorder'),
    "every": (WHOLE, "the option; told by the recorder"),
}
LAYOUT = Layout(
    SCHEMA,
    (VERSION, *OLDER),
    "a recording (relevance.h5)",
    dict.fromkeys(ATTRIBUTES, "text, a number, true or false")
    | {"complete": "true or false", "classes": "names in a JSON list"},
    {
        "relevance/map": "f _ m *shape",
        "relevance/scale": "f _ m",
        **{f"samples/{name}": "iu N" for name in SAMPLE_FIELDS},
        "samples/image": "uf N *",
        "samples/mask?": "u N *shape",
        "samples/target?": "iuf N *",
        "samples/factors/*": "biuf N",
        **{f"steps/{name}": "f" + "iu" * (name == "iteration") + " _" for name in STEPS},
        **{f"scalars/{name}": "f _ N" for name in SCALARS},
        "scalars/predicted": "iu _ N",
        **{f"accum/{slot}/{name}": "f N *shape" for slot in "AB" for name in ACCUMULATORS},
        **{f"accum/{slot}/n": "iu" for slot in "AB"},
        "accum/valid_slot": "iu",
    },
)


LOOKS = 5  # again, at a recording that is being written
_REMEDY = "restore it from a copy, or record again"


def class_type(lowest: int, highest: int) -> str:
    """Return the first of `CLASS_TYPES` that holds all class indices from lowest to highest.

    Examples
    --------
    >>> class_type(0, 32_767), class_type(-1, 32_768)
    ('i2', 'i4')
    """
    ranges = ((name, np.iinfo(name)) for name in CLASS_TYPES)
    return next(name for name, held in ranges if held.min <= lowest and highest <= held.max)


def normalize(maps: np.ndarray, axes: int = 2) -> np.ndarray:
    """Divide each map by its sum of absolute values; a map of zeros stays a map of zeros.

    Parameters
    ----------
    maps : ndarray (..., H, W)
    axes : int
        How many of the last axes are those of a map.

    Returns
    -------
    ndarray (..., H, W)
        Absolute values sum to 1 over H and W (or to 0).

    Examples
    --------
    >>> normalize(np.array([[[3.0, -1.0]], [[0.0, 0.0]]])).tolist()
    [[[0.75, -0.25]], [[0.0, 0.0]]]
    """
    maps = np.asarray(maps, dtype=np.float64)
    total = np.abs(maps).sum(axis=tuple(range(-axes, 0)), keepdims=True)
    return np.divide(maps, total, out=np.zeros_like(maps), where=total > 0)


def sum_of_maps(maps: np.ndarray) -> np.ndarray:
    """Return the sum of each of maps (N, *shape) in float64, (N,)."""
    return maps.sum(axis=tuple(range(1, maps.ndim)), dtype=np.float64)


def time_series(file: h5py.File) -> list[h5py.Dataset]:
    """Return every dataset whose first axis is the recorded steps, their checksums included."""
    own = ["checksums/steps"] if "checksums" in file else []
    return [file[name] for name in checksums.columns(file) + own]


class RelevanceFile:
    """Typed, lazy reader of a recording; use as a context manager.

    Attributes
    ----------
    attrs : dict
        The file's attributes (see `ATTRIBUTES`), "classes" as a list.
    complete : bool
        Whether the recording was carried to its end.
    steps : int
        T, the number of whole steps: those that the valid accumulator slot holds.
    writer : str or None
        Who is writing it, if that is known.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        # While it is written, what is known of its parts may be of two moments.
        for rest in range(LOOKS, -1, -1):
            problem = self._open()
            if not problem:
                return
            self.close()
            if not (rest and self.writer):
                raise UserError(f"{self.path}: {problem}: it is damaged, or was made by something else")
            time.sleep(0.1)

    def _open(self) -> str | None:
        """Open the file and read what all else needs; return what cannot be in a recording."""
        self.file = open_hdf5(self.path, LAYOUT)
        self.attrs = dict(self.file.attrs)
        self.attrs["classes"] = json.loads(self.attrs["classes"])
        self.complete = bool(self.attrs["complete"])
        self.writer = None if self.complete else holder(self.path)
        slot = int(self.file["accum/valid_slot"][()])
        self._slot = "AB"[slot % 2]
        self.steps = int(self.file[f"accum/{self._slot}/n"][()])
        return self._contradiction(slot)

    def _contradiction(self, slot: int) -> str | None:
        """Return what cannot be in a recording, whenever its writer was stopped."""
        if slot not in (0, 1):
            return f"found /accum/valid_slot {slot}, expected 0 or 1"
        for dataset in time_series(self.file):
            if not (isinstance(dataset, h5py.Dataset) and dataset.chunks and 0 <= self.steps <= len(dataset)):
                found = getattr(dataset, "shape", None) or "a group"
                return f"found {found} as {dataset.name}, expected {self.steps} steps or more that can grow"
        image, maps = self.file["samples/image"].shape, self.map_samples
        if image[-len(self.shape) :] != self.shape or maps > self.samples:
            return f"found maps of {maps} samples of shape {self.shape}, expected them as of samples {image}"
        return None

    def __enter__(self) -> "RelevanceFile":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        tell_damage(self.path, error)

    def __repr__(self) -> str:
        return f"<RelevanceFile {self.path}: {self.steps} steps, {self.samples} samples, {self.map_samples} with maps>"

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def damage(self, steps: int | None = None) -> list[str]:
        """Return what is not as it was written, a sentence each, of all or the first steps."""
        if "checksums" not in self.file:
            return [] if self.attrs["schema_version"] in OLDER else ["it has no /checksums"]
        found = []
        if self.complete and not (intact := checksums.is_intact(self.path)):
            missing = "it is complete, but not sealed: its end is damaged, or it was changed afterwards"
            found = [missing if intact is None else "it is not what it was when it was complete"]
        return found + list(checksums.damage(self.file, self.steps if steps is None else steps, self._slot))

    @property
    def plot(self) -> Any:
        """Figures for notebooks, `lrp_dynamics.recording.plots.Plots`: `plot.heatmaps(samples)`, `plot.curves()`..."""
        # Found by name, so that a change of the drawing does not make every recording out of date.
        return import_module("lrp_dynamics.recording.plots").Plots(self)

    @property
    def samples(self) -> int:
        """N, the number of samples."""
        return self.file["samples/index"].shape[0]

    @property
    def map_samples(self) -> int:
        """N', the number of samples whose maps are stored."""
        return self.file["relevance/map"].shape[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a map: (H, W) of images, (L,) of signals, (F,) of tables, (D, H, W) of volumes."""
        return self.file["relevance/map"].shape[2:]

    @property
    def unit(self) -> str:
        """What a map has values of: pixels, positions of a signal, features of a table, or voxels."""
        return {1: "feature", 2: "position", 3: "pixel"}.get(self.file["samples/image"].ndim - 1, "voxel")

    @property
    def data_title(self) -> str:
        """What the data are called: the title of the dataset or, where nobody told it, its name, or "unknown"."""
        told = [self.attrs[name] for name in ("dataset_title", "dataset") if self.attrs[name] not in ("", UNKNOWN)]
        return str(told[0]) if told else UNKNOWN

    @property
    def amount(self) -> str:
        """The unit of relevance, as far as it is known."""
        if not self.tells_output:
            return "units of the maps"
        # Of no rules, as of GradCAM or a gradient's size, the values need not be shares of the output.
        if self.attrs["composite_json"] == "{}" and self.attrs["composite"] != "gradient_x_input":
            return "units of the attribution"
        return "logit units" if self.scored else "output units"

    @property
    def drawn(self) -> str:
        """What figures of the maps are to say of how they show them: of a volume, the slice in its middle."""
        return f" · {'×'.join(map(str, self.shape))} voxels, drawn by the central slice" if len(self.shape) > 2 else ""

    @property
    def explained(self) -> np.ndarray:
        """The class whose output is explained, (N,); -1 where it is not known, or not the output of a class."""
        if not self.explains_classes:
            return np.full(self.samples, -1)
        return self.sample("target" if self.has_sample("target") else "label")

    @property
    def explains_classes(self) -> bool:
        """Whether outputs of classes are explained, and not another part of the output."""
        return not self.has_sample("target") or self.file["samples/target"].ndim == 1

    @property
    def tells_output(self) -> bool:
        """Whether the output that is explained is known; of imported maps it need not be."""
        return self.attrs["target"] != MAPS_ALONE

    @cached_property
    def scored(self) -> bool:
        """Whether classes have scores to choose from; a network of one output has none, a part of an output neither."""
        return not np.isnan(self.scalar("margin", slice(256))).all()

    def class_name(self, sample: int) -> str:
        """Return the name of the class whose output is explained, for one sample.

        Where no class has a score, that of its label, if both are known.
        """
        names = self.attrs["classes"]
        number = int((self.explained if self.scored else self.sample("label"))[sample])
        if 0 <= number < len(names):
            return str(names[number])
        return f"class {number}" if number >= 0 and self.scored else f"sample {sample}"

    def sample(self, name: str) -> np.ndarray:
        """Return one dataset of /samples, such as "label", "image" or "factors/contrast"."""
        return self._dataset("samples", name)[()]

    def _dataset(self, group: str, name: str) -> h5py.Dataset:
        return dataset_of(self.path, self.file, group, name)

    def has_sample(self, name: str) -> bool:
        """Whether /samples holds such a dataset."""
        return name in self.file["samples"]

    def sample_names(self) -> list[str]:
        """Return the names of all datasets of /samples, in order: those that `sample` takes."""
        return checksums.sample_names(self.file)

    def has_images(self) -> bool:
        """Whether any sample shows something: of maps that were imported alone, the samples are all zeros."""
        return any(self.image(sample).any() for sample in range(self.samples))

    def image(self, sample: int) -> np.ndarray:
        """Return the image of one sample, u1 (C, H, W); of another kind of sample, its values, f4."""
        return self.file["samples/image"][sample]

    def step(self, name: str) -> np.ndarray:
        """Return one dataset of /steps, shape (T,)."""
        return self._dataset("steps", name)[: self.steps]

    def scalar(self, name: str, steps: slice = slice(None)) -> np.ndarray:
        """Return one dataset of /scalars, shape (T, N), or of some steps."""
        return self._dataset("scalars", name)[slice(*steps.indices(self.steps))]

    def accumulated(self, name: str) -> np.ndarray:
        """Return one of `ACCUMULATORS`, float64, shape (N, H, W), or of other samples (N, *shape)."""
        return self._dataset(f"accum/{self._slot}", name)[()]

    def maps(self, steps: slice | int = slice(None), samples: slice | int = slice(None)) -> np.ndarray:
        """Return stored maps as float32: relevance per pixel, summed over channels, in units of the explained output.

        Parameters
        ----------
        steps, samples : slice or int
            Which recorded steps and which of the N' samples. Fastest are whole chunks of 16 steps × 10 samples.

        Returns
        -------
        ndarray of float32, shape (steps, samples, H, W), or of other samples (steps, samples, *shape), an axis less for
        each int
        """
        if isinstance(steps, slice):
            steps = slice(*steps.indices(self.steps))
        elif not -self.steps <= steps < self.steps:
            raise IndexError(f"step {steps} of {self.path}: the file holds {self.steps} steps")
        else:
            steps %= self.steps
        group = self._dataset("relevance", "map").parent
        scale = np.expand_dims(group["scale"][steps, samples], tuple(range(-len(self.shape), 0)))
        return group["map"][steps, samples].astype(np.float32) * scale

    def to_xarray(self, steps: slice = slice(None), samples: slice = slice(None)) -> Any:
        """Return an `xarray.Dataset` of the samples whose maps are stored; of all samples where there are none.

        Along "iteration" and "sample" it has `SCALARS` and "predicted", and with the axes of a map "relevance", the
        maps in float32; per sample "image" and sums over all steps, `ACCUMULATORS` but "m2"; per iteration loss,
        learning rate and epoch. All of it is in memory.

        Parameters
        ----------
        steps, samples : slice
            Which recorded steps and which of the samples.

        Raises
        ------
        UserError
            If xarray is not installed.
        """
        return import_module("lrp_dynamics.recording.labelled").to_xarray(self, steps, samples)

    def quantized(self) -> tuple[h5py.Dataset, np.ndarray]:
        """Return the maps as they are stored: what `sums.quantize` made of them.

        Returns
        -------
        values : array-like of float16, shape (at least T, N', H, W), or of other samples (at least T, N', *shape)
            Read from the file where it is indexed, fastest by whole chunks, while the file is open.
        scale : ndarray of float32, shape (T, N')
        """
        group = self.file["relevance"]
        return group["map"], group["scale"][: self.steps]


def open_relevance(path: str | Path, *, images: bool = False, verify: bool = False) -> RelevanceFile:
    """Open a recording for reading; one that is being written only if it is recorded with `live=True`.

    Parameters
    ----------
    path : str or Path
    images : bool
        Refuse recordings of samples that are no images.
    verify : bool
        Read all of it, and refuse one that is not what was written: of a complete recording the file itself, of another
        its whole steps. Those of schema version 1 have nothing to tell by.

    Raises
    ------
    StorageError
        If it is being written, and not live.
    UserError
        If there is no such file, it is not a recording, or it is damaged.
    """
    intact = checksums.is_intact(Path(path)) if verify and Path(path).is_file() else None
    if intact is False:  # told before HDF5 looks at it
        raise UserError(f"{path}: is not what it was when the recording was complete; {_REMEDY}")
    recording = RelevanceFile(path)
    if verify and not intact and (found := recording.damage()):
        recording.close()
        raise UserError(f"{path}: {found[0]}; {_REMEDY}")
    if images and len(recording.shape) != 2:
        found = f"maps of {'×'.join(map(str, recording.shape))} {recording.unit}s"
        recording.close()
        raise UserError(f"{path}: found {found}, expected a recording of images (`figures blog` draws others)")
    return recording
