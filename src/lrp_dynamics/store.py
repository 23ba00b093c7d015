"""The file of one recording: `relevance.h5`, schema version 1. Write it, read it, validate it, recover it.

Layout (T recorded steps, N samples, N' ≤ N samples whose maps are stored, images of C×H×W pixels)::

    /            attributes: what was recorded and how (see `ATTRIBUTES`)
    /samples     index i8, split u1, label i2, label_clean i2, image u1 (N,C,H,W), optional mask u1 (N,H,W), factors/*
    /steps       iteration i8, epoch f4, learning_rate f4, train_loss f4                                        (T,)
    /scalars     one f4 dataset a name of `SCALARS`, and predicted i2                                           (T,N)
    /relevance   map f2 (T,N',H,W), channel-summed relevance divided by scale f4 (T,N')
    /accum       A and B, each: dynamics, dynamics_normalized, abs_sum, mean, m2 f8 (N,H,W), n i8;  valid_slot

A block of steps is appended and flushed at once, and the accumulators alternate between two slots, so that a process
killed at any moment leaves a file that opens, in which `/accum/<valid_slot>/n` steps are whole.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lrp_dynamics.errors import UserError
from lrp_dynamics.files import atomic

SCHEMA = "lrp-dynamics/relevance"
VERSION = 1
BLOCK = 16  # steps in a chunk, and steps written at a time
STEPS = {"iteration": "i8", "epoch": "f4", "learning_rate": "f4", "train_loss": "f4"}
SCALARS = (
    "logit",  # the explained output
    "margin",  # logit minus the largest other logit
    "probability",  # softmax probability of the explained class
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
ATTRIBUTES = (
    "params_json",
    "params_sha256",
    "seed",
    "deterministic",
    "dataset",
    "dataset_title",
    "dataset_sha256",
    "classes",
    "model",
    "composite",
    "composite_json",
    "target",
    "channel_reduction",
    "every",
)


def quantize(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split maps into float16 values in [-1, 1] and one float32 scale each.

    float16 alone overflows at 65,504 and flushes below 6e-8, and unstable rules reach both; relative to the largest
    absolute value of its map an entry keeps 11 bits.

    Parameters
    ----------
    maps : ndarray of float32, shape (..., H, W)

    Returns
    -------
    values : ndarray of float16, shape (..., H, W)
    scale : ndarray of float32, shape (...)
        The largest absolute value of each map; 1 for a map of zeros.
    """
    largest = np.abs(maps).max(axis=(-2, -1))
    scale = np.where(largest > 0, largest, 1).astype(np.float32)
    return (maps / scale[..., None, None]).astype(np.float16), scale


class RelevanceWriter:
    """Creates a schema-1 file and appends blocks of steps to it.

    Parameters
    ----------
    path : Path
        The file to be made; an existing one is replaced.
    attributes : mapping
        Values for `ATTRIBUTES`; missing ones are stored as "unknown".
    samples : mapping of str to ndarray
        `SAMPLE_FIELDS` (N,), image u1 (N,C,H,W), optionally mask u1 (N,H,W) and "factors", a mapping of (N,) arrays.
    shape : (int, int)
        Height and width of a map.
    maps : int
        N', of how many samples the maps are stored: the first N'.
    live : bool
        Switch to HDF5's single-writer-multiple-reader mode, for readers while the recording goes on. After a crash such
        a file opens with `swmr=True` only.
    """

    def __init__(
        self,
        path: str | Path,
        attributes: Mapping[str, Any],
        samples: Mapping[str, Any],
        shape: tuple[int, int],
        maps: int,
        *,
        live: bool = False,
    ):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # SWMR needs the newest file format; without SWMR a killed writer's file in that format does not open again.
        self.file = h5py.File(self.path, "w", libver="latest" if live else None)
        self.count = len(samples["image"])
        self.maps = maps
        self._create(attributes, samples, shape)
        if live:
            self.file.swmr_mode = True
        self.file.flush()

    @classmethod
    def reopen(cls, path: str | Path, accum: Mapping[str, Any]) -> "RelevanceWriter":
        """Open a file to go on after the steps that these accumulators hold; later ones are cut off."""
        writer = cls.__new__(cls)
        writer.path = Path(path)
        writer.file = file = h5py.File(path, "r+")
        writer.count, writer.maps = file["samples/image"].shape[0], file["relevance/map"].shape[1]
        file.attrs["complete"] = False
        for slot in "AB":
            for name in (*ACCUMULATORS, "n"):
                file[f"accum/{slot}/{name}"][...] = accum[name]
        # In this order: a file with more steps than its accumulators hold is read rightly, one with fewer is not.
        file.flush()
        for dataset in time_series(file):
            dataset.resize(int(accum["n"]), axis=0)
        file.flush()
        return writer

    def _create(self, attributes: Mapping[str, Any], samples: Mapping[str, Any], shape: tuple[int, int]) -> None:
        file, count = self.file, self.count
        file.attrs["schema"], file.attrs["schema_version"], file.attrs["complete"] = SCHEMA, VERSION, False
        for name in ATTRIBUTES:
            file.attrs[name] = attributes.get(name, "[]" if name == "classes" else "unknown")
        group = file.create_group("samples")
        for name, dtype in SAMPLE_FIELDS.items():
            group.create_dataset(name, data=np.asarray(samples[name], dtype))
        for name in ("image", "mask"):
            if samples.get(name) is not None:
                group.create_dataset(name, data=np.asarray(samples[name], np.uint8), compression="gzip", shuffle=True)
        for name, values in (samples.get("factors") or {}).items():
            group.create_dataset(f"factors/{name}", data=np.asarray(values))
        for name, dtype in STEPS.items():
            file.create_dataset(f"steps/{name}", (0,), dtype, maxshape=(None,), chunks=(1024,))
        for name, dtype in [*((name, "f4") for name in SCALARS), ("predicted", "i2")]:
            file.create_dataset(f"scalars/{name}", (0, count), dtype, maxshape=(None, count), chunks=(256, count))
        size = (0, self.maps, *shape)
        file.create_dataset(
            "relevance/map",
            size,
            "f2",
            maxshape=(None, self.maps or None, *shape),  # a fixed axis of length 0 cannot be chunked
            chunks=(BLOCK, max(1, min(10, self.maps)), *shape),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        file.create_dataset(
            "relevance/scale", size[:2], "f4", maxshape=(None, self.maps or None), chunks=(256, max(1, self.maps))
        )
        accum = file.create_group("accum")
        for slot in "AB":
            for name in ACCUMULATORS:
                accum.create_dataset(f"{slot}/{name}", (count, *shape), "f8")
            accum.create_dataset(f"{slot}/n", data=np.int64(0))
        # A dataset, not an attribute: in SWMR mode attributes of a file cannot change.
        accum.create_dataset("valid_slot", data=np.uint8(0))

    @property
    def steps(self) -> int:
        """Number of steps in the file."""
        return self.file["steps/iteration"].shape[0]

    def append(
        self, steps: Mapping[str, np.ndarray], scalars: Mapping[str, np.ndarray], maps: np.ndarray, accum: Mapping
    ) -> None:
        """Append a block of steps and the accumulators after it, and flush.

        Parameters
        ----------
        steps : mapping of str to ndarray, shape (B,)
        scalars : mapping of str to ndarray, shape (B, N)
        maps : ndarray of float32, shape (B, N', H, W)
        accum : mapping
            `ACCUMULATORS`, (N, H, W) float64 each, and "n", the number of steps that they hold.
        """
        file, start = self.file, self.steps
        stop = start + len(maps)
        values, scale = quantize(maps) if self.maps else (maps, np.zeros((len(maps), 0), np.float32))
        blocks = {f"steps/{k}": v for k, v in steps.items()} | {f"scalars/{k}": v for k, v in scalars.items()}
        for name, block in (blocks | {"relevance/map": values, "relevance/scale": scale}).items():
            file[name].resize(stop, axis=0)
            file[name][start:stop] = block
        slot = 1 - int(file["accum/valid_slot"][()])
        for name in (*ACCUMULATORS, "n"):
            file[f"accum/{'AB'[slot]}/{name}"][...] = accum[name]
        file.flush()
        file["accum/valid_slot"][...] = slot
        file.flush()

    def close(self, *, complete: bool) -> None:
        """Close the file; if the recording was carried to its end, write it anew in order and mark it complete."""
        if self.file.id.valid:
            self.file.close()
            if complete:
                rewrite(self.path, complete=True)


def time_series(file: h5py.File) -> list[h5py.Dataset]:
    """Return every dataset whose first axis is the recorded steps."""
    return [file[f"{group}/{name}"] for group in ("steps", "scalars", "relevance") for name in file[group]]


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
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.file = _open(self.path)
        self.attrs = dict(self.file.attrs)
        self.attrs["classes"] = json.loads(self.attrs.get("classes", "[]"))
        self.complete = bool(self.attrs["complete"])
        self._slot = "AB"[int(self.file["accum/valid_slot"][()])]
        self.steps = int(self.file[f"accum/{self._slot}/n"][()])

    def __enter__(self) -> "RelevanceFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RelevanceFile {self.path}: {self.steps} steps, {self.samples} samples, {self.map_samples} with maps>"

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    @property
    def samples(self) -> int:
        """N, the number of samples."""
        return self.file["samples/index"].shape[0]

    @property
    def map_samples(self) -> int:
        """N', the number of samples whose maps are stored."""
        return self.file["relevance/map"].shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a map."""
        return self.file["relevance/map"].shape[2:]

    def sample(self, name: str) -> np.ndarray:
        """Return one dataset of /samples, such as "label", "image" or "factors/contrast"."""
        return self.file["samples"][name][()]

    def has_sample(self, name: str) -> bool:
        """Whether /samples holds such a dataset."""
        return name in self.file["samples"]

    def step(self, name: str) -> np.ndarray:
        """Return one dataset of /steps, shape (T,)."""
        return self.file["steps"][name][: self.steps]

    def scalar(self, name: str) -> np.ndarray:
        """Return one dataset of /scalars, shape (T, N)."""
        return self.file["scalars"][name][: self.steps]

    def accumulated(self, name: str) -> np.ndarray:
        """Return one of `ACCUMULATORS`, float64, shape (N, H, W)."""
        return self.file[f"accum/{self._slot}/{name}"][()]

    def maps(self, steps: slice | int = slice(None), samples: slice | int = slice(None)) -> np.ndarray:
        """Return stored maps as float32: relevance per pixel, summed over channels, in units of the explained output.

        Parameters
        ----------
        steps, samples : slice or int
            Which recorded steps and which of the N' samples. Fastest are whole chunks of 16 steps × 10 samples.

        Returns
        -------
        ndarray of float32, shape (steps, samples, H, W), an axis less for each int
        """
        if isinstance(steps, slice):
            steps = slice(*steps.indices(self.steps))
        elif not -self.steps <= steps < self.steps:
            raise IndexError(f"step {steps} of {self.path}: the file holds {self.steps} steps")
        else:
            steps %= self.steps
        group = self.file["relevance"]
        scale = group["scale"][steps, samples]
        return group["map"][steps, samples].astype(np.float32) * np.asarray(scale)[..., None, None]


def open_relevance(path: str | Path) -> RelevanceFile:
    """Open a recording for reading, also one that is still being written.

    Raises
    ------
    UserError
        If there is no such file, or it is not a recording of schema version 1.
    """
    return RelevanceFile(path)


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise UserError(f"{path}: found {found}, expected a recording (relevance.h5)")
    try:
        file = h5py.File(path, "r")
    except OSError as plain:
        try:
            file = h5py.File(path, "r", libver="latest", swmr=True)
        except OSError:
            raise UserError(f"{path}: HDF5 cannot open it: it is no HDF5 file, or damaged ({plain})") from None
    found = (file.attrs.get("schema"), file.attrs.get("schema_version"))
    if found != (SCHEMA, VERSION):
        file.close()
        raise UserError(f"{path}: found schema {found[0]!r} version {found[1]}, expected {SCHEMA!r} version {VERSION}")
    return file


def rewrite(path: str | Path, *, complete: bool) -> int:
    """Write a recording anew: whole steps only, everything in one order, so that equal recordings are equal bytes.

    Returns
    -------
    int
        The number of steps.
    """
    path = Path(path)
    with open_relevance(path) as recording, atomic(path) as temporary, h5py.File(temporary, "w") as file:
        for name in sorted(recording.file.attrs):
            file.attrs[name] = recording.file.attrs[name]
        file.attrs["complete"] = complete
        names: list[str] = []
        recording.file.visit(names.append)
        # One by one, and slots anew: a copied group would tell in what order its members were created and written.
        for name in sorted(names):
            if isinstance(recording.file[name], h5py.Dataset) and not name.startswith("accum/"):
                recording.file.copy(name, file, name)
        for dataset in time_series(file):
            dataset.resize(recording.steps, axis=0)
        for name in (*ACCUMULATORS, "n"):
            for slot in "AB":
                file[f"accum/{slot}/{name}"] = recording.accumulated(name)
        file["accum/valid_slot"] = np.uint8(0)
        return recording.steps
