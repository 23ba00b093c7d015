"""Writing a recording, block by block, so that what is acknowledged is on the disk."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil, prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lrp_dynamics.base import disk
from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.base.files import check_output
from lrp_dynamics.base.locks import Lock, is_open
from lrp_dynamics.recording.store import (
    ACCUMULATORS,
    ATTRIBUTES,
    BLOCK,
    SAMPLE_FIELDS,
    SCALARS,
    SCHEMA,
    STEPS,
    VERSION,
    class_type,
    open_relevance,
    quantize,
    rewrite,
    time_series,
)

CHUNK = 2**22


class RelevanceWriter:
    """Creates a schema-1 file and appends blocks of steps to it.

    Parameters
    ----------
    path : Path
        The file to be made.
    attributes : mapping
        Values for `ATTRIBUTES`; missing ones are stored as "unknown".
    samples : mapping of str to ndarray
        `SAMPLE_FIELDS` (N,), image u1 (N,C,H,W), optionally mask u1 (N,H,W), "factors", a mapping of (N,) arrays, and
        "target", where it is not the label: classes (N,), or what else is explained, (N, ...).
    shape : tuple of int
        Of a map: height and width, or what other samples have.
    maps : int
        N', of how many samples the maps are stored: the first N'.
    predicted : str
        Type of the predicted class, of `class_type`.
    live : bool
        Switch to HDF5's single-writer-multiple-reader mode, for readers while the recording goes on. After a crash such
        a file opens with `swmr=True` only.
    overwrite : bool
        Replace an existing file, unless it is in use.

    Raises
    ------
    UserError
        If the file exists and is not to be replaced.
    StorageError
        If it is in use, or the disk is full; then nothing is left behind.
    """

    def __init__(
        self,
        path: str | Path,
        attributes: Mapping[str, Any],
        samples: Mapping[str, Any],
        shape: tuple[int, ...],
        maps: int,
        *,
        predicted: str = "i2",
        live: bool = False,
        overwrite: bool = False,
    ):
        self.path, self.whole = Path(path), 0
        self.count, self.maps = len(samples["image"]), maps
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(self.path)
        real = self.path.resolve()
        try:
            check_output(self.path)
            _give_way(real, overwrite)
            # SWMR needs the newest file format; without SWMR a killed writer's file in that format does not open again.
            self.file = disk.create(real, libver="latest" if live else None)
        except BaseException:
            self._lock.release()
            raise
        try:
            with self.writing():
                disk.reserve(self.file, _size(samples) + sum(len(str(value)) for value in attributes.values()))
                self._create(attributes, samples, shape, predicted)
                if live:
                    self.file.swmr_mode = True
                self.file.flush()
        except BaseException:
            real.unlink(missing_ok=True)
            raise

    @classmethod
    def reopen(
        cls, path: str | Path, accum: Mapping[str, Any], iteration: float, *, live: bool = False
    ) -> "RelevanceWriter":
        """Open a file to go on after the steps that these accumulators hold; later ones are cut off.

        Parameters
        ----------
        path : Path
        accum : mapping
            As of `append`.
        iteration : float
            The last of these steps, to tell that the file is the one that they were recorded in.
        live : bool
            As of the class.

        Raises
        ------
        UserError
            If the file is another one, or holds fewer steps.
        StorageError
            If it is in use, or the disk is full.
        """
        writer = cls.__new__(cls)
        writer.path, writer.whole = Path(path), int(accum["n"])
        if not writer.path.is_file():
            raise UserError(f"{path}: no such file; go on with the recording that the state belongs to, or begin anew")
        _check_same(writer.path, accum, iteration)
        writer._lock = Lock(writer.path)
        try:
            check_output(writer.path)
            if is_open(writer.path):
                raise StorageError(f"{path}: is open in this or another process; close it there first")
            if live or not _can_go_on(writer.path):
                rewrite(path, complete=False, live=live)
            file = h5py.File(path, "r+", libver="latest" if live else None)
        except BaseException:
            writer._lock.release()
            raise
        writer.file = file
        writer.count, writer.maps = file["samples/image"].shape[0], file["relevance/map"].shape[1]
        with writer.writing():
            disk.reserve(file, 2 * _size(accum))
            file.attrs["complete"] = False
        for slot in "AB":
            writer._put({f"accum/{slot}/{name}": accum[name] for name in (*ACCUMULATORS, "n")})
        # After them: a file with more steps than its accumulators hold is read rightly, one with fewer is not.
        with writer.writing():
            for dataset in time_series(file):
                dataset.resize(writer.whole, axis=0)
            file.flush()
            if live:
                file.swmr_mode = True
        return writer

    def _create(
        self, attributes: Mapping[str, Any], samples: Mapping[str, Any], shape: tuple[int, ...], predicted: str
    ) -> None:
        file, count = self.file, self.count
        file.attrs["schema"], file.attrs["schema_version"], file.attrs["complete"] = SCHEMA, VERSION, False
        for name in ATTRIBUTES:
            file.attrs[name] = attributes.get(name, "[]" if name == "classes" else "unknown")
        group = file.create_group("samples")
        for name, dtype in SAMPLE_FIELDS.items():
            values = np.asarray(samples[name])
            if name in ("label", "label_clean"):
                dtype = class_type(values.min(), values.max())
            group.create_dataset(name, data=values.astype(dtype))
        image = "u1" if np.ndim(samples["image"]) == 4 else "f4"  # bytes of pixels, or the values of other samples
        for name, dtype in (("image", image), ("mask", "u1")):
            if samples.get(name) is not None:
                group.create_dataset(name, data=np.asarray(samples[name], dtype), compression="gzip", shuffle=True)
        if samples.get("target") is not None:
            values = np.asarray(samples["target"])
            dtype = predicted if values.ndim == 1 else "u1" if values.dtype.kind in "bu" else "f4"
            group.create_dataset("target", data=values.astype(dtype))
        for name, values in (samples.get("factors") or {}).items():
            group.create_dataset(f"factors/{name}", data=np.asarray(values))
        for name, dtype in STEPS.items():
            file.create_dataset(f"steps/{name}", (0,), dtype, maxshape=(None,), chunks=(1024,))
        for name, dtype in [*((name, "f4") for name in SCALARS), ("predicted", predicted)]:
            file.create_dataset(f"scalars/{name}", (0, count), dtype, maxshape=(None, count), chunks=(256, count))
        size = (0, self.maps, *shape)
        file.create_dataset(
            "relevance/map",
            size,
            "f2",
            maxshape=(None, self.maps or None, *shape),  # a fixed axis of length 0 cannot be chunked
            chunks=_chunk(self.maps, shape),
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

    def target(self) -> np.ndarray:
        """Return the classes (N,) that are explained, as `put_target` wrote them."""
        return self.file["samples/target"][()]

    def put_target(self, target: np.ndarray) -> None:
        """Write the classes (N,) that are explained, where they were not known when the file was made.

        Raises
        ------
        StorageError
            As of `append`.
        """
        self._put({"samples/target": target})

    def make_room(self) -> None:
        """Have the disk keep room for a block, so that its steps can be promised before they are written.

        Raises
        ------
        StorageError
            If it has none. The file is closed, not marked as complete.
        """
        size, start, stop = 0, self.whole, self.whole + BLOCK
        for dataset in time_series(self.file):
            rows, *rest = dataset.chunks
            columns = prod(ceil(n / chunk) for n, chunk in zip(dataset.shape[1:], rest, strict=True))
            # A compressed chunk that was written half full may grow, and move to the end.
            first = start // rows if dataset.compression else ceil(start / rows)
            chunk = prod(dataset.chunks) * dataset.dtype.itemsize + 256  # its entry in the index, generously
            size += (ceil(stop / rows) - first) * columns * chunk
        sums = (self.file[f"accum/{slot}/{name}"] for slot in "AB" for name in ACCUMULATORS)
        size += sum(dataset.nbytes for dataset in sums if dataset.id.get_offset() is None)
        try:
            disk.reserve(self.file, size + disk.SLACK)
        except OSError as error:
            raise self._failed(error) from error

    def append(
        self, steps: Mapping[str, np.ndarray], scalars: Mapping[str, np.ndarray], maps: np.ndarray, accum: Mapping
    ) -> None:
        """Append a block of steps and the accumulators after it; return when they are on the disk.

        Parameters
        ----------
        steps : mapping of str to ndarray, shape (B,)
        scalars : mapping of str to ndarray, shape (B, N)
        maps : ndarray of float32, shape (B, N', *shape)
        accum : mapping
            `ACCUMULATORS`, (N, *shape) float64 each, and "n", the number of steps that they hold.

        Raises
        ------
        StorageError
            If it cannot be written, or does not read back as it was written. The file is closed, and holds what earlier
            calls have written.
        """
        values, scale = quantize(maps, maps.ndim - 2) if self.maps else (maps, np.zeros((len(maps), 0), np.float32))
        blocks = {f"steps/{k}": v for k, v in steps.items()} | {f"scalars/{k}": v for k, v in scalars.items()}
        slot = 1 - int(self.file["accum/valid_slot"][()])
        sums = {f"accum/{'AB'[slot]}/{name}": accum[name] for name in (*ACCUMULATORS, "n")}
        self._put(blocks | {"relevance/map": values, "relevance/scale": scale} | sums)
        self._put({"accum/valid_slot": slot})
        self.whole += len(maps)

    def _put(self, blocks: Mapping[str, Any]) -> None:
        """Write what has one value, and steps after the whole ones; return when it is on the disk and read back."""
        with self.writing():
            # Held until they are flushed: a dataset that cannot write says so then, but not from its destructor.
            held = {name: self.file[name] for name in blocks}
            with np.errstate(over="ignore"):
                written = {
                    name: np.asarray(block).astype(held[name].dtype, copy=False) for name, block in blocks.items()
                }
            once = ("accum/", "samples/")
            rows = {name: ... if name.startswith(once) else slice(self.whole, None) for name in blocks}
            for name, dataset in held.items():
                if rows[name] is not ...:
                    dataset.resize(self.whole + len(written[name]), axis=0)
                dataset[rows[name]] = written[name]
                dataset.flush()
            self.file.flush()
            os.fsync(self.file.id.get_vfd_handle())
            held.clear()  # and with them what HDF5 has in memory: what follows is read from the file
            for name, block in written.items():
                if not np.array_equal(_bytes(self.file[name][rows[name]]), _bytes(block)):
                    raise OSError(f"/{name} does not read back as it was written")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Whatever fails in here ends the recording, with the blocks that were whole before."""
        try:
            yield
        except disk.FAILURES as error:
            disk.detach(self.file)
            raise self._failed(error) from error
        except BaseException:
            self._end()
            raise

    def _failed(self, error: Exception) -> StorageError:
        self._end()
        kept = f"its {self.whole} whole steps are kept" if self.whole else "no whole step was written"
        return StorageError(
            f"{self.path}: the recording has ended, since the disk of {self.path.absolute().parent} does not take more "
            f"({disk.reason(error)}); {kept}: make room there, and go on from a checkpoint or begin anew"
        )

    def _end(self) -> None:
        self.file.close()
        self._lock.release()

    def close(self, *, complete: bool) -> None:
        """Close the file; if the recording was carried to its end, write it anew in order and mark it complete.

        A recording of no steps is not complete.

        Raises
        ------
        StorageError
            If there is no room to write it anew; it stays as it is, not marked as complete.
        """
        if not self.file.id.valid:
            return
        with self._lock:
            steps = self.file["steps/iteration"].shape[0]
            self.file.flush()
            disk.trim(self.file)
            self.file.close()
            if complete and steps:
                rewrite(self.path, complete=True)


def _chunk(maps: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a chunk of maps: of images `BLOCK` steps of ten, of others no more values than `CHUNK`.

    A volume is thus divided into slices, which are read by themselves, and no chunk is larger than HDF5 takes.
    """
    chunk = [BLOCK, max(1, min(10, maps)), *shape]
    if len(shape) != 2:
        for axis in range(1, len(chunk)):
            chunk[axis] = min(chunk[axis], max(1, CHUNK * chunk[axis] // prod(chunk)))
    return tuple(chunk)


def _size(arrays: Mapping[str, Any]) -> int:
    """Bytes that arrays take, and more than HDF5 takes beside them."""
    nested = [value for value in arrays.values() if isinstance(value, Mapping)]
    plain = [value for value in arrays.values() if value is not None and not isinstance(value, Mapping)]
    return sum(np.asarray(value).nbytes for value in plain) + sum(map(_size, nested)) + disk.SLACK


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.ravel().view(np.uint8)


def _give_way(path: Path, overwrite: bool) -> None:
    """Delete the file that is to be replaced; refuse where that was not asked for, or where it is in use."""
    if path.is_dir():
        raise UserError(f"{path}: found a folder, expected the name of a file to be written")
    if not path.exists():
        return
    if not overwrite:
        raise UserError(f"{path}: exists already; choose another path, or replace it with overwrite=True")
    if is_open(path):
        raise StorageError(f"{path}: is open in this or another process; close it there first, or choose another path")
    path.unlink()  # and not truncated, for those who read it live


def _can_go_on(path: Path) -> bool:
    """Whether HDF5 opens a file for writing; one that was recorded live and not closed opens for reading only."""
    try:
        h5py.File(path, "r+").close()
    except OSError:
        return False
    return True


def _check_same(path: Path, accum: Mapping[str, Any], iteration: float) -> None:
    """Refuse a recording that does not begin with the steps of these accumulators."""
    steps = int(accum["n"])
    with open_relevance(path) as recording:
        shape = (recording.samples, *recording.shape)
        if recording.steps < steps or shape != accum["mean"].shape:
            raise UserError(
                f"{path}: found {recording.steps} whole steps of samples of shape {shape}, but the state to go on "
                f"from has {steps} of shape {accum['mean'].shape}; go on with the recording that it belongs to, or "
                "begin anew"
            )
        if steps and recording.step("iteration")[steps - 1] != iteration:
            raise UserError(
                f"{path}: step {steps} is iteration {recording.step('iteration')[steps - 1]}, but the state to go on "
                f"from was taken at {iteration}; go on with the recording that it belongs to, or begin anew"
            )
