"""Writing a recording, block by block, so that what is acknowledged is on the disk."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import ceil, prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lrp_dynamics.base import disk
from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.base.files import check_output, make_folder
from lrp_dynamics.base.locks import Lock, is_open
from lrp_dynamics.recording import checksums, chunks
from lrp_dynamics.recording.background import Background
from lrp_dynamics.recording.existing import can_go_on, check_same, give_way, is_old
from lrp_dynamics.recording.layout import create
from lrp_dynamics.recording.rewriting import rewrite
from lrp_dynamics.recording.store import (
    ACCUMULATORS,
    BLOCK,
    time_series,
)

MAP = "relevance/map"


class RelevanceWriter:
    """Creates a file of schema version 2 and appends blocks of steps to it.

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
        self.path, self.background, self.whole = Path(path), Background(), 0
        self._growth: list[tuple[int, int, bool]] = []
        self._types: dict[str, np.dtype] = {}
        self.open = True  # told without HDF5, which one thread at a time may use
        self._begun = self._room = 0  # steps that are written or being written, and those that have a place on the disk
        self.count, self.maps = len(samples["image"]), maps
        make_folder(self.path.parent)
        self._lock = Lock(self.path)
        self._real = real = self.path.resolve()  # wherever the process works when the file is closed
        try:
            check_output(self.path)
            give_way(real, overwrite)
            # SWMR needs the newest file format; without SWMR a killed writer's file in that format does not open again.
            size = _size(samples) + sum(len(str(value)) for value in attributes.values())
            self.file = disk.create(real, size, libver="latest" if live else None)
        except BaseException:
            self._lock.release()
            raise
        try:
            with self.writing():
                disk.reserve(self.file, size)
                create(self.file, attributes, samples, shape, maps, predicted)
                if live:
                    self.file.swmr_mode = True
                self.file.flush()
        except BaseException:
            real.unlink(missing_ok=True)
            raise

    @classmethod
    def reopen(
        cls,
        path: str | Path,
        accum: Mapping[str, Any],
        iteration: float,
        *,
        checksum: int | None = None,
        live: bool = False,
    ) -> "RelevanceWriter":
        """Open a file to go on after the steps that these accumulators hold; later ones are cut off.

        Parameters
        ----------
        path : Path
        accum : mapping
            As of `append`.
        iteration : float
            The last of these steps, to tell that the file is the one that they were recorded in.
        checksum : int, optional
            What `checksum` told of them.
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
        writer.path, writer.background, writer.whole = Path(path), Background(), int(accum["n"])
        writer._growth, writer._types = [], {}
        writer._begun, writer._room, writer.open, writer._real = writer.whole, 0, True, writer.path.resolve()
        if not writer.path.is_file():
            raise UserError(f"{path}: no such file; go on with the recording that the state belongs to, or begin anew")
        check_same(writer.path, accum, iteration, checksum)
        writer._lock = Lock(writer.path)
        try:
            check_output(writer.path)
            if is_open(writer.path):
                raise StorageError(f"{path}: is open in this or another process; close it there first")
            if live or not can_go_on(writer.path) or is_old(writer.path):
                rewrite(path, complete=False, live=live)
            checksums.unseal(writer._real)
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
            writer._put(slot_of(slot, accum))
        # After them: a file with more steps than its accumulators hold is read rightly, one with fewer is not.
        with writer.writing():
            for dataset in time_series(file):
                chunks.cut(dataset, writer.whole)
            file.flush()
            if live:
                file.swmr_mode = True
        return writer

    def checksum(self) -> int:
        """Return one number that tells the steps so far from any others."""
        return checksums.of_first(self.file, self.whole)

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
        known = self.file["checksums/samples"][()]
        target = np.asarray(target).astype(self.file["samples/target"].dtype)
        known[checksums.sample_names(self.file).index("target")] = checksums.of(target)
        self._put({"samples/target": target, "checksums/samples": known})

    def make_room(self) -> None:
        """Have the disk keep room for the next block, so that its steps can be promised before they are written.

        Raises
        ------
        StorageError
            If it has none. The file is closed, not marked as complete.
        """
        if self._room < self._begun + BLOCK:
            self.background.wait()
            try:
                self._reserve(self._begun + BLOCK)
            except OSError as error:
                raise self._failed(error) from error

    def begin(self, steps: int, write: Callable, *arguments: Any) -> None:
        """Let the thread call what appends a block of so many steps, which have room, when it has nothing else to do.

        Room for the block after them is taken now, while nobody writes.
        """
        self.background.wait()
        with suppress(OSError):  # `make_room` will say so
            self._reserve(self._begun + steps + BLOCK)
        self._begun += steps
        self.background.start(write, *arguments)

    def _reserve(self, stop: int) -> None:
        self._growth = self._growth or [_growth(dataset) for dataset in time_series(self.file)]
        size = sum(
            # A compressed chunk that was written half full may grow, and move to the end.
            (ceil(stop / rows) - (self.whole // rows if moves else ceil(self.whole / rows))) * chunk
            for rows, chunk, moves in self._growth
        )
        if self.whole < 2 * BLOCK:  # HDF5 takes the room of a slot when it is first written
            sums = (self.file[f"accum/{slot}/{name}"] for slot in "AB" for name in ACCUMULATORS)
            size += sum(dataset.nbytes for dataset in sums if dataset.id.get_offset() is None)
        disk.reserve(self.file, size + disk.SLACK)
        self._room = stop

    def append(
        self,
        steps: Mapping[str, np.ndarray],
        scalars: Mapping[str, np.ndarray],
        values: np.ndarray,
        scale: np.ndarray,
        accum: Mapping[str, Any],
    ) -> None:
        """Append a block of steps and the accumulators after it; return when they are on the disk.

        Parameters
        ----------
        steps : mapping of str to ndarray, shape (B,)
        scalars : mapping of str to ndarray, shape (B, N)
        values : ndarray of float16, shape (B, N', *shape)
        scale : ndarray of float32, shape (B, N')
            What `quantize` made of the maps.
        accum : mapping
            `ACCUMULATORS`, (N, *shape) float64 each, and "n", the number of steps that they hold.

        Raises
        ------
        StorageError
            If it cannot be written, or does not read back as it was written. The file is closed, and holds what earlier
            calls have written.
        """
        self._types = self._types or {dataset.name[1:]: dataset.dtype for dataset in time_series(self.file)}
        blocks = {f"steps/{k}": v for k, v in steps.items()} | {f"scalars/{k}": v for k, v in scalars.items()}
        slot = 1 - int(self.file["accum/valid_slot"][()])
        with np.errstate(over="ignore"):
            series = {
                name: np.asarray(rows).astype(self._types[name], copy=False)
                for name, rows in (blocks | {"relevance/scale": scale, MAP: values}).items()
            }
        known = {"checksums/steps": checksums.of_steps([series[name] for name in checksums.columns(self.file)])}
        values = series.pop(MAP)
        self._put(series | known | slot_of("AB"[slot], accum), values)
        self._put({"accum/valid_slot": slot})
        self.whole += len(values)

    def _put(self, blocks: Mapping[str, Any], maps: np.ndarray | None = None) -> None:
        """Write what has one value, and steps after the whole ones; return when it is on the disk and read back."""
        with self.writing():
            packed = {} if maps is None else chunks.compressed(self.file[MAP], self.whole, maps)
            # Held until they are flushed: a dataset that cannot write says so then, but not from its destructor.
            held = {name: self.file[name] for name in blocks}
            written = {name: np.asarray(block).astype(held[name].dtype, copy=False) for name, block in blocks.items()}
            once = ("accum/", "samples/", "checksums/samples")
            rows = {name: ... if name.startswith(once) else slice(self.whole, None) for name in blocks}
            for name, dataset in held.items():
                if rows[name] is not ...:
                    dataset.resize(self.whole + len(written[name]), axis=0)
                dataset[rows[name]] = written[name]
                dataset.flush()
            if maps is not None:
                held[MAP] = self.file[MAP]
                held[MAP].resize(self.whole + len(maps), axis=0)
                chunks.write(held[MAP], packed)
                held[MAP].flush()
            self.file.flush()
            os.fsync(self.file.id.get_vfd_handle())
            held.clear()  # and with them what HDF5 has in memory: what follows is read from the file
            for name, block in written.items():
                if not np.array_equal(_bits(self.file[name][rows[name]]), _bits(block)):
                    raise OSError(f"/{name} does not read back as it was written")
            if not chunks.is_written(self.file[MAP], packed):
                raise OSError(f"/{MAP} does not read back as it was written")

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

    def abandon(self) -> None:
        """End the recording with the blocks that are whole, as they are; in whatever thread."""
        if self.open:
            self._end()

    def _end(self) -> None:
        self.open = False
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
        if not self.open:
            return
        self.background.end()
        self.open = False
        with self._lock:
            steps = self.file["steps/iteration"].shape[0]
            self.file.flush()
            disk.trim(self.file)
            self.file.close()
            if complete and steps:
                rewrite(self._real, complete=True)


def _growth(dataset: h5py.Dataset) -> tuple[int, int, bool]:
    """Of each row of chunks: the steps, the bytes, and whether a chunk that is written again may need another place."""
    rows, *rest = dataset.chunks
    columns = prod(ceil(n / chunk) for n, chunk in zip(dataset.shape[1:], rest, strict=True))
    size = prod(dataset.chunks) * dataset.dtype.itemsize + 256  # its entry in the index, generously
    return rows, columns * size, bool(dataset.compression)


def slot_of(slot: str, accum: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands in one of the two places for accumulators."""
    sums = {name: accum[name] for name in (*ACCUMULATORS, "n")}
    return {f"accum/{slot}/{name}": values for name, values in (sums | {"crc32": checksums.of_sums(sums)}).items()}


def _size(arrays: Mapping[str, Any]) -> int:
    """Bytes that arrays take, and more than HDF5 takes beside them."""
    nested = [value for value in arrays.values() if isinstance(value, Mapping)]
    plain = [value for value in arrays.values() if value is not None and not isinstance(value, Mapping)]
    return sum(np.asarray(value).nbytes for value in plain) + sum(map(_size, nested)) + disk.SLACK


def _bits(array: np.ndarray) -> np.ndarray:
    """Values as numbers that are equal where their bits are, unlike NaN."""
    return array.ravel().view(f"u{array.dtype.itemsize}")
