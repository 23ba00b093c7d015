"""Join what shards of one training recorded into the results that a single training would have given, byte for byte."""

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from lrp_dynamics.base.disk import SLACK, reserve
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import atomic, read_json, sha256, write_json
from lrp_dynamics.recording import checksums, chunks
from lrp_dynamics.recording.store import ACCUMULATORS, ATTRIBUTES, STEPS, RelevanceFile, open_relevance, time_series
from lrp_dynamics.recording.writer import MAP, RelevanceWriter, slot_of

SHARED = ("model.safetensors", "training.csv", "training.json")
ROWS = 256  # steps joined at a time


def gather(shards: Sequence[Path], out: Path) -> None:
    """Join the folders of all shards of a training, in order, into one.

    Parameters
    ----------
    shards : sequence of Path
        What `lrp-dynamics train --shard` wrote.
    out : Path
        Gets relevance.h5 of all samples; `SHARED`, which all shards have alike; and provenance.json of every shard.

    Raises
    ------
    UserError
        If the shards are not of one training: other parameters, weights or steps; or not all of them, in order.
    """
    with ExitStack() as stack:
        parts = [stack.enter_context(open_relevance(shard / "relevance.h5", verify=True)) for shard in shards]
        _check_same(parts)
        for name in SHARED:
            _check_equal_files([shard / name for shard in shards])
        with atomic(out / "relevance.h5") as temporary:
            _join(parts, temporary)
    for name in SHARED:
        with atomic(out / name) as temporary:
            shutil.copyfile(shards[0] / name, temporary)
    write_json(
        out / "provenance.json",
        {"shards": [read_json(shard / "provenance.json", "a provenance.json") for shard in shards]},
    )


def _check_same(parts: Sequence[RelevanceFile]) -> None:
    """Refuse recordings that are not all parts, in order, of one."""
    first = parts[0]
    for part in parts:
        if not part.complete:
            raise UserError(f"{part.path}: the recording is not complete; run its training again")
        for name in ATTRIBUTES:
            if part.attrs[name] != first.attrs[name]:
                raise UserError(
                    f"{part.path}: {name} is not that of {first.path}; record all shards with the same parameters"
                )
        if not all(np.array_equal(part.step(name), first.step(name), equal_nan=True) for name in STEPS):
            raise UserError(
                f"{part.path}: its steps or losses are not those of {first.path}: the trainings were not the same; "
                "run all shards on machines of one type"
            )
    index = np.concatenate([part.sample("index") for part in parts])
    try:
        wanted = json.loads(first.attrs["params_json"])["recording"]["samples"]
    except (ValueError, TypeError, LookupError):
        raise UserError(f"{first.path}: found no parameters of a training in it, expected a shard of one") from None
    if len(index) != wanted or (np.diff(index) <= 0).any():
        raise UserError(
            f"{first.path}: found {len(index)} samples in {len(parts)} shards, expected {wanted} different ones; "
            "give every shard once, in order"
        )


def _check_equal_files(paths: Sequence[Path]) -> None:
    """Refuse results of trainings that were not alike to the last bit."""
    for path in paths:
        if sha256(path) != sha256(paths[0]):
            raise UserError(
                f"{path} differs from {paths[0]}: the trainings were not the same; "
                "run all shards on machines of one type"
            )


def _join(parts: Sequence[RelevanceFile], path: Path) -> None:
    """Write one recording of the samples of all parts."""
    first = parts[0]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([part.sample(name) for part in parts])

    samples: dict = {name: joined(name) for name in first.sample_names() if name != "target"}
    if any(part.has_sample("target") for part in parts):  # a shard whose labels are explained does not tell it again
        own = [part.sample("target" if part.has_sample("target") else "label") for part in parts]
        samples["target"] = np.concatenate(own)
    samples["factors"] = {name.removeprefix("factors/"): samples.pop(name) for name in list(samples) if "/" in name}
    attributes = {name: first.file.attrs[name] for name in ATTRIBUTES}
    maps, predicted = sum(part.map_samples for part in parts), first.file["scalars/predicted"].dtype.str[1:]
    writer = RelevanceWriter(path, attributes, samples, first.shape, maps, predicted=predicted, overwrite=True)
    file = writer.file
    with writer.writing():
        reserve(file, sum(part.path.stat().st_size for part in parts) + SLACK)
        names = checksums.columns(file)
        for dataset in time_series(file):
            dataset.resize(first.steps, axis=0)
        for start in range(0, first.steps, ROWS):
            rows, joint = slice(start, min(start + ROWS, first.steps)), []
            for name in names:
                values = [part.file[name][rows] for part in parts]
                joint.append(values[0] if name.startswith("steps/") else np.concatenate(values, axis=1))
                if name == MAP:
                    chunks.write(file[name], chunks.compressed(file[name], start, joint[-1]))
                else:
                    file[name][rows] = joint[-1]
            file["checksums/steps"][rows] = checksums.of_steps(joint)
        sums = {name: np.concatenate([part.accumulated(name) for part in parts]) for name in ACCUMULATORS}
        for name, values in slot_of("A", sums | {"n": first.steps}).items():
            file[name][...] = values
    writer.close(complete=True)
