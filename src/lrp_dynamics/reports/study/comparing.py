"""Several recordings beside each other: which samples they share, and what their maps have in common."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from lrp_dynamics.measures.similarity import cosine
from lrp_dynamics.recording.store import RelevanceFile
from lrp_dynamics.reports.study.measuring import Studied

MOMENTS = 60  # at most, at which maps of two recordings are compared
SAMPLES = 100  # at most, whose maps are compared


@dataclass(frozen=True)
class Shared:
    """Samples that recordings have in common.

    Attributes
    ----------
    positions : ndarray i8 (recordings, n)
        Of each of the n samples, where it is in each recording.
    keyed : bool
        Whether each of them has the same split and index in all recordings.
    all : bool
        Whether the recordings have no other samples.
    targets : bool
        Whether the same output is explained of each.
    """

    positions: np.ndarray
    keyed: bool
    all: bool
    targets: bool


def shared_samples(recordings: Sequence[RelevanceFile]) -> Shared:
    """Find the samples that all recordings have, by what they show: indices may be anybody's numbering."""
    places = [_places(recording) for recording in recordings]
    common = [key for key in places[0] if all(key in other for other in places[1:])]
    positions = np.array([[place[key] for key in common] for place in places], dtype=int).reshape(len(places), -1)
    pairs = list(zip(recordings, positions, strict=True))
    keys = [np.stack([file.sample("split"), file.sample("index")])[:, at] for file, at in pairs]
    explained = [file.explained[at] for file, at in pairs]
    return Shared(
        positions,
        keyed=all(np.array_equal(keys[0], other) for other in keys[1:]),
        all=all(len(common) == file.samples for file in recordings),
        targets=all(np.array_equal(explained[0], other) for other in explained[1:]),
    )


def _places(recording: RelevanceFile) -> dict[tuple[str, int], int]:
    """Return the position of each sample by what it shows, and how many such there were before it."""
    seen: Counter[str] = Counter()
    places = {}
    for position in range(recording.samples):
        image = recording.image(position)
        digest = hashlib.sha256(f"{image.shape}{image.dtype}".encode() + image.tobytes()).hexdigest()
        places[digest, seen[digest]] = position
        seen[digest] += 1
    return places


def rank_correlations(found: Sequence[Studied], positions: np.ndarray) -> dict[tuple[int, int], float]:
    """Return Spearman's correlation of divergence over the shared samples, of each pair; NaN where it has none."""
    result = {}
    for a, b in combinations(range(len(found)), 2):
        values = [found[i].table["divergence"][positions[i]] for i in (a, b) if found[i].table is not None]
        known = len(values) == 2 and len(values[0]) > 2 and all(np.ptp(column) > 0 for column in values)
        result[a, b] = float(spearmanr(*values).statistic) if known else float("nan")
    return result


def along(
    recordings: Sequence[RelevanceFile], positions: np.ndarray
) -> dict[tuple[int, int], Mapping[str, np.ndarray]]:
    """Return how alike the maps of each pair are along the training: cosine similarity at iterations that both have.

    Returns
    -------
    dict
        Of each pair "iteration" (M,) and "similarity" (M, n) of at most `SAMPLES` samples that have maps in both; pairs
        without such samples, or of maps of different shapes, are left out.
    """
    result = {}
    for a, b in combinations(range(len(recordings)), 2):
        one, other = recordings[a], recordings[b]
        stored = (positions[a] < one.map_samples) & (positions[b] < other.map_samples)
        at = positions[:, stored][:, :SAMPLES]
        moments, first, second = np.intersect1d(one.step("iteration"), other.step("iteration"), return_indices=True)
        if one.shape != other.shape or not at.shape[1] or not len(moments):
            continue
        chosen = np.unique(np.linspace(0, len(moments) - 1, min(MOMENTS, len(moments))).round().astype(int))
        pairs = ((one.maps(int(first[k]))[at[a]], other.maps(int(second[k]))[at[b]]) for k in chosen)
        similarity = [cosine(*pair, axes=len(one.shape)) for pair in pairs]
        result[a, b] = {"iteration": moments[chosen], "similarity": np.array(similarity)}
    return result


def folder_of(name: str) -> str:
    """Return the name of a recording as that of a folder, of letters that every system takes.

    Examples
    --------
    >>> folder_of("seed-0"), folder_of("a/b: ü")
    ('seed-0', 'a_b__ü')
    """
    kept = "".join(letter if letter.isalnum() or letter in "-_.+" else "_" for letter in name)
    return kept.strip(".") or "recording"


def paths_of(out: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the folder of each recording's results below `out`, no two of them the same on any system."""
    folders: dict[str, Path] = {}
    for name in names:
        base = stem = folder_of(name)[:80]
        number = 2
        while stem.lower() in [path.name.lower() for path in folders.values()] + ["figures"]:
            stem, number = f"{base}-{number}", number + 1
        folders[name] = out / stem
    return folders
