"""What the page shows of recordings: of each sample its image, and in each recording its frames, curves and scores."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.names import shown
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.base.typeset import rule_name
from lrp_dynamics.measures.outliers import flag
from lrp_dynamics.measures.parameters import Outliers
from lrp_dynamics.measures.samples import forgetting_events
from lrp_dynamics.recording.store import RelevanceFile
from lrp_dynamics.reports.explorer.shrinking import averaged, reduced

Key = tuple[int, int, int]  # split, index, and how many samples before have the same
CURVES = ("logit", "r_sum", "r_abs_sum", "step_divergence")
ROWS = 256  # steps of scalars read at a time: a chunk
READ = 2**21  # values of maps read at a time
SPLITS = ("train", "test")
RANGE = 99  # per cent of the steps whose largest |relevance| is within the scale of a whole run


@dataclass(frozen=True)
class Source:
    """A recording, and what is known of all its samples.

    Attributes
    ----------
    name : str
    recording : RelevanceFile
    keys : dict
        Each sample that has maps to its number.
    scores : dict of str to ndarray (N,)
        "divergence", and of `flag` "z", "flagged", "kind".
    """

    name: str
    recording: RelevanceFile
    keys: dict[Key, int]
    scores: dict[str, np.ndarray]


def source(name: str, recording: RelevanceFile, flags: Path | None) -> Source:
    """Look through a recording.

    Parameters
    ----------
    name : str
    recording : RelevanceFile
    flags : Path or None
        Table of flagged samples, such as outliers.csv: "index" and "flagged" of samples, and, where it has them,
        "split", "seed", "kind". By default samples are flagged as the pipeline does it.

    Raises
    ------
    UserError
    """
    if not recording.steps:
        raise UserError(
            f"{recording.path}: found a recording of no step yet; wait until a block of steps has been written"
        )
    count: dict[tuple[int, int], int] = defaultdict(int)
    keys = {}
    with_maps = recording.map_samples or recording.samples
    for number, place in enumerate(
        zip(recording.sample("split").tolist(), recording.sample("index").tolist(), strict=True)
    ):
        if number < with_maps:
            keys[(*place, count[place])] = number
        count[place] += 1
    total, largest = np.zeros(recording.samples), np.zeros(recording.samples)
    for rows in _rows(recording, "step_divergence"):
        total += rows.sum(axis=0, dtype=np.float64)
        np.maximum(largest, rows.max(axis=0), out=largest)
    table = {
        "divergence": total,
        "worst_step_share": np.divide(largest, total, out=np.zeros_like(total), where=(total > 0) & np.isfinite(total)),
        "min_abs_z": np.min([rows.min(axis=0) for rows in _rows(recording, "min_abs_z")], axis=0),
    }
    scores = table | flag(table, asdict(Outliers()))
    if flags is not None:
        scores |= _given(flags, recording)
    return Source(name, recording, keys, scores)


def _given(path: Path, recording: RelevanceFile) -> dict[str, np.ndarray]:
    """Return "flagged" and "kind" of each sample by a table."""
    table = read_csv(path, require=("index", "flagged"))
    used = np.ones(len(table["index"]), bool)
    if "seed" in table and len(set(table["seed"].tolist())) > 1:
        used = table["seed"].astype(str) == str(recording.attrs["seed"])
    splits = table.get("split", np.full(len(used), -1))
    kinds = table.get("kind", np.full(len(used), ""))
    rows = zip(splits[used].tolist(), table["index"][used].tolist(), table["flagged"][used].tolist(), strict=True)
    flagged = {(split, index): (value, kind) for (split, index, value), kind in zip(rows, kinds[used], strict=True)}
    places = zip(recording.sample("split").tolist(), recording.sample("index").tolist(), strict=True)
    found = [flagged.get(place, flagged.get((-1, place[1]), (0, ""))) for place in places]
    return {
        "flagged": np.array([int(value > 0) for value, _ in found]),
        "kind": np.array([str(kind) if value > 0 else "none" for value, kind in found]),
    }


def shared(sources: Sequence[Source]) -> list[Key]:
    """Return the samples that every recording has.

    Raises
    ------
    UserError
        If the recordings have no sample in common, or samples of other shapes.
    """
    first = sources[0]
    for other in sources[1:]:
        found = [item.recording.image(0).shape for item in (first, other)]
        if found[0] != found[1] or first.recording.shape != other.recording.shape:
            raise UserError(
                f"{other.recording.path}: found samples of shape {found[1]}, expected {found[0]} as in "
                f"{first.recording.path}: recordings side by side must be of the same samples"
            )
    keys = [key for key in first.keys if all(key in other.keys for other in sources)]
    if not keys:
        raise UserError(
            f"{sources[1].recording.path}: found no sample that {first.recording.path} has, by split and index; "
            "recordings side by side must be of the same samples"
        )
    return keys


def preferred(item: Source, keys: Sequence[Key], wanted: int) -> list[Key]:
    """Return as many keys, at most, flagged samples first."""
    return sorted(keys, key=lambda key: not item.scores["flagged"][item.keys[key]])[:wanted]


def picture_shape(recording: RelevanceFile) -> tuple[int, ...]:
    """Return (channels, H, W) of the pictures that `images` makes without averaging."""
    return images(recording, [0], 1).shape[1:]


def images(recording: RelevanceFile, numbers: Sequence[int], factor: int) -> np.ndarray:
    """Return samples as pictures, u1 (n, channels, H, W): one channel or three; what is no image is drawn in grey."""
    made = []
    for number in numbers:
        image = recording.image(number)
        whole = image.dtype.kind == "u"
        image = image.astype(np.float32)
        if len(recording.shape) == 2:
            image = image if len(image) == 3 else image.mean(axis=0, keepdims=True)
        else:
            image = _plane(image.mean(axis=0) if image.ndim > 3 else image)[None]
        image = averaged(image, factor)
        if not whole:
            image = np.nan_to_num(image, posinf=0, neginf=0)
            low, high = image.min(), image.max()
            image = (image - low) * (255 / (high - low) if high > low else 0)
        made.append(np.rint(image).astype(np.uint8))
    return np.stack(made)


def plane_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (H, W) of what is drawn of a map, or a sample without channels, of a shape."""
    return (1, *shape)[-2:] if len(shape) < 3 else shape[-2:]


def _plane(maps: np.ndarray, axes: int | None = None) -> np.ndarray:
    """Return maps of the last `axes` axes as images: a signal as one row, of a volume the central slice."""
    axes = maps.ndim if axes is None else axes
    if axes == 1:
        return maps[..., None, :]
    while axes > 2:
        maps = np.take(maps, maps.shape[-axes] // 2, axis=maps.ndim - axes)
        axes -= 1
    return maps


def frames(recording: RelevanceFile, numbers: Sequence[int], factor: int, memory: int) -> Iterator[np.ndarray]:
    """Yield the maps of each sample as float32 (T, pixels), averaged down; `memory` values at a time, at most.

    What is not finite becomes 0.
    """
    pixels = prod(reduced(plane_of(recording.shape), factor))
    together = max(1, min(10, memory // (recording.steps * pixels)))
    rows = 16 * max(1, READ // (160 * prod(recording.shape)))
    groups: list[list[int]] = []
    for number in numbers:  # of one chunk of samples
        if not (groups and len(groups[-1]) < together and groups[-1][0] // 10 == number // 10):
            groups.append([])
        groups[-1].append(number)
    for group in groups:
        own = slice(min(group), max(group) + 1)
        found = np.empty((len(group), recording.steps, pixels), np.float32)
        for start in range(0, recording.steps, rows):
            block = _plane(recording.maps(slice(start, start + rows), own), len(recording.shape))
            block = averaged(block, factor).reshape(*block.shape[:2], -1)
            found[:, start : start + len(block)] = block[:, [n - own.start for n in group]].swapaxes(0, 1)
        np.nan_to_num(found, copy=False, nan=0, posinf=0, neginf=0)
        yield from found


def dynamics(recording: RelevanceFile, numbers: Sequence[int], factor: int) -> np.ndarray:
    """Return accumulated dynamics (n, pixels) as float32, averaged down."""
    chosen = _plane(recording.accumulated("dynamics")[list(numbers)], len(recording.shape))
    return averaged(chosen, factor).reshape(len(numbers), -1).astype(np.float32)


def about(item: Source) -> dict[str, Any]:
    """Return what a recording says of itself, and its steps."""
    recording, attrs = item.recording, item.recording.attrs
    logs = np.log(item.scores["divergence"][item.scores["divergence"] > 0])
    logs = logs[np.isfinite(logs)]
    median = float(np.median(logs)) if len(logs) else 0.0
    return {
        "name": shown(item.name),
        "composite": shown(rule_name(str(attrs["composite"]))),
        **{name: shown(attrs[name]) for name in ("model", "dataset_title", "target")},
        "seed": shown(attrs["seed"]),
        "complete": recording.complete,
        "tells_output": recording.tells_output,
        "amount": recording.amount,
        "steps": recording.steps,
        "all_samples": recording.samples,
        "iteration": recording.step("iteration").tolist(),
        "threshold": float(np.exp(min(700.0, median + item.scores["threshold"][0] * _spread(logs)))),
        "median": median,
        "spread": _spread(logs),
    }


def _spread(logs: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(logs - np.median(logs)))) if len(logs) else 0.0


def steps(recording: RelevanceFile) -> dict[str, np.ndarray]:
    """Return epoch and loss of the steps, f4 (T,)."""
    return {name: recording.step(name).astype(np.float32) for name in ("epoch", "train_loss")}


def samples(item: Source, numbers: Sequence[int]) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Return scores and curves of samples."""
    recording = item.recording
    names = (*CURVES, "r_max", "margin", "probability", "predicted")
    columns = {name: np.concatenate([rows[:, list(numbers)] for rows in _rows(recording, name)]) for name in names}
    labels, explained = recording.sample("label"), recording.explained
    correct = columns["predicted"] == labels[list(numbers)]
    forgotten = forgetting_events(correct)
    table = recording.sample("label_clean")
    found = []
    if not recording.tells_output:
        columns["logit"].fill(np.nan)  # the sum of the map stands in its place
    for place, number in enumerate(numbers):
        curves = {}
        scales = {}
        for name in CURVES:
            values = columns[name][:, place].astype(np.float64)
            known = np.abs(values[np.isfinite(values)])
            scales[name] = float(known.max(initial=0)) or 1.0
            curves[name] = (values / scales[name]).astype(np.float16)
        predicted = columns["predicted"][:, place]
        if recording.scored and predicted.max() < 2**15:
            curves["predicted"] = predicted.astype(np.int16)
        largest = columns["r_max"][:, place].astype(np.float64)
        largest = largest[np.isfinite(largest)]
        margin, probability = (columns[name][:, place].astype(np.float64) for name in ("margin", "probability"))
        label = int(labels[number])
        known = label >= 0 and recording.scored
        scores = {
            "divergence": item.scores["divergence"][number],
            "z": item.scores["z"][number],
            "aum": margin.mean() if known else None,
            "forgetting": int(forgotten[place]) if known else None,
            "correct": bool(correct[-1, place]) if known else None,
            "probability": probability[-1] if recording.scored else None,
            "range": float(np.percentile(largest, RANGE)) if len(largest) else 0.0,
            **{f"scale_{name}": scale for name, scale in scales.items()},
        }
        found.append(
            (
                {name: finite(value) for name, value in scores.items()}
                | {
                    "flagged": bool(item.scores["flagged"][number]),
                    "kind": str(item.scores["kind"][number]),
                    "label": label,
                    "explained": int((explained if recording.scored else labels)[number]),
                    "noisy": bool(table[number] != label),
                    "name": shown(recording.class_name(number)),
                },
                curves,
            )
        )
    return found


def finite(value: Any) -> Any:
    """Return a number for JSON, None where it is not finite."""
    return value if value is None or isinstance(value, bool | int) else float(value) if np.isfinite(value) else None


def _rows(recording: RelevanceFile, name: str) -> Iterator[np.ndarray]:
    """Yield a dataset of /scalars, some steps at a time."""
    for start in range(0, recording.steps, ROWS):
        yield recording.scalar(name, slice(start, start + ROWS))


def classes(files: Sequence[RelevanceFile]) -> list[str]:
    """Return the names of the classes."""
    return [shown(name) for name in files[0].attrs["classes"]]


def place_of(key: Key) -> Mapping[str, Any]:
    """Return what identifies a sample."""
    split, index, _ = key
    return {"split": SPLITS[split] if split < 2 else str(split), "index": index}
