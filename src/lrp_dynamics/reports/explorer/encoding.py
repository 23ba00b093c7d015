"""The frames of one sample in few bytes, with a measured error.

Frames change slowly, so that a few patterns make all of them: with u(t) the frame of step t divided by its norm,

    u(t) ≈ sum_k s_k c_k(t) v_k,    c_k(t) and v_k whole numbers from -127 to 127

from the singular value decomposition of the matrix time × pixels. The number of patterns is the smallest that keeps
the error within a bound. Where that takes more bytes than the frames themselves, or the bound cannot be kept, the
frames are stored one by one, with 8 bits a pixel, or 16.
"""

import zlib
from dataclasses import dataclass

import numpy as np

BOUND = 0.05  # error that 95 % of the frames of a sample keep within
FIRST = 32  # patterns to begin with


@dataclass(frozen=True)
class Encoded:
    """The frames of a sample.

    Attributes
    ----------
    rank : int
        Number of patterns; 0 where the frames are stored one by one.
    arrays : dict
        "gain" f4 (T,): norm of each frame, exact; of frames stored one by one, what a whole number stands for.
        Of patterns: "weights" f4 (rank,), "courses" i1 (rank, T), "patterns" i1 (rank, P). Others: "frames" i1 or
        i2 (T, P).
    error_95, error_worst : float
        |frame - encoded| / |frame|, the L2 norm over pixels: what 95 % of the frames keep within, and the largest.
    change_error : float
        The same of the change from frame to frame, median over steps; 0 where nothing changes.
    """

    rank: int
    arrays: dict[str, np.ndarray]
    error_95: float
    error_worst: float
    change_error: float


def encode(frames: np.ndarray, bound: float = BOUND) -> Encoded:
    """Encode frames so that 95 % of them are within a relative error.

    Parameters
    ----------
    frames : ndarray of float32, shape (T, P)
        Finite.
    bound : float

    Returns
    -------
    Encoded
    """
    frames = np.asarray(frames, dtype=np.float32)
    norms = np.sqrt(np.einsum("tp,tp->t", frames, frames, dtype=np.float64)).astype(np.float32)
    unit = frames / np.where(norms > 0, norms, 1)[:, None]
    best = _by_patterns(unit, norms, bound)
    # Frames with much that is zero, or few of them, take less room as they are.
    if best is None or unit.size < 8 * _size(best):
        whole = _by_frames(frames, np.int8)
        if _p95(_errors(whole, frames)) > bound:
            whole = _by_frames(frames, np.int16)
        if best is None or _deflated(whole) < _deflated(best):
            best = whole
    shown = decode(best)
    errors = _relative(np.linalg.norm(shown - frames, axis=1), norms)
    np.subtract(shown, frames, out=shown)  # from here on what is missing
    changes = np.linalg.norm(np.diff(frames, axis=0), axis=1)
    wrong = _relative(np.linalg.norm(np.diff(shown, axis=0), axis=1), changes)[changes > 0]
    return Encoded(
        len(best.get("weights", ())),
        best,
        _p95(errors),
        float(errors.max(initial=0)),
        float(np.median(wrong)) if len(wrong) else 0.0,
    )


def decode(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return the frames (T, P) that the page makes of encoded ones, as float32."""
    gain = arrays["gain"][:, None]
    if "frames" in arrays:
        return arrays["frames"] * gain
    courses = arrays["courses"].T * arrays["weights"]
    return (courses @ arrays["patterns"].astype(np.float32)) * gain


def _by_patterns(unit: np.ndarray, norms: np.ndarray, bound: float) -> dict[str, np.ndarray] | None:
    """Return the encoding with the fewest patterns that keeps within the bound; None if frames are smaller."""
    steps, pixels = unit.shape
    most = steps * pixels // (steps + pixels)
    alive = norms > 0
    tried = FIRST
    while most:
        tried = min(tried, most)
        courses, patterns = _decomposed(unit, tried)
        energy = np.cumsum(np.square(courses, dtype=np.float64), axis=1)
        left = np.sqrt(np.maximum(1 - energy[alive], 0))
        enough = np.flatnonzero(np.percentile(left, 95, axis=0) <= bound) if alive.any() else np.array([0])
        for rank in range(enough[0] + 1, tried + 1) if len(enough) else ():
            found = _rounded(courses[:, :rank], patterns[:rank], norms)
            if _p95(_errors(found | {"gain": alive.astype(np.float32)}, unit)) <= bound:
                return found
        if tried == most:
            return None
        tried *= 2
    return None


def _decomposed(unit: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first singular vectors, (T, rank) times their values and (rank, P).

    By subspace iteration from random vectors that are always the same (Halko, Martinsson and Tropp, SIAM Review 2011):
    as good as the exact decomposition here, and in a fraction of its time.
    """
    long = unit if unit.shape[0] >= unit.shape[1] else unit.T
    width = min(rank + 8, long.shape[1])
    space = np.random.default_rng(0).standard_normal((long.shape[1], width), dtype=np.float32)
    space = np.linalg.qr(long @ space)[0]
    for _ in range(2):
        space = np.linalg.qr(long @ (long.T @ space))[0]
    left, values, right = np.linalg.svd(space.T @ long, full_matrices=False)
    left = space @ left
    courses, patterns = (left, right) if long is unit else (right.T, left.T)
    return courses[:, :rank] * values[:rank], patterns[:rank]


def _rounded(courses: np.ndarray, patterns: np.ndarray, norms: np.ndarray) -> dict[str, np.ndarray]:
    by_course, by_pattern = (np.abs(a).max(axis=axis) / 127 for a, axis in ((courses, 0), (patterns, 1)))
    return {
        "gain": norms,
        "weights": (by_course * by_pattern).astype(np.float32),
        "courses": np.ascontiguousarray(_whole(courses, by_course).T),
        "patterns": np.ascontiguousarray(_whole(patterns, by_pattern[:, None])),
    }


def _by_frames(frames: np.ndarray, kind: type) -> dict[str, np.ndarray]:
    gain = (np.abs(frames).max(axis=1) / np.iinfo(kind).max).astype(np.float32)
    return {"gain": gain, "frames": _whole(frames, gain[:, None], kind)}


def _whole(values: np.ndarray, unit: np.ndarray, kind: type = np.int8) -> np.ndarray:
    return np.rint(np.divide(values, unit, out=np.zeros_like(values), where=unit > 0)).astype(kind)


def _errors(arrays: dict[str, np.ndarray], frames: np.ndarray) -> np.ndarray:
    return _relative(np.linalg.norm(decode(arrays) - frames, axis=1), np.linalg.norm(frames, axis=1))


def _relative(error: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.divide(error, size, out=np.zeros(error.shape, np.float64), where=size > 0)


def _p95(errors: np.ndarray) -> float:
    return float(np.percentile(errors, 95)) if len(errors) else 0.0


def _size(arrays: dict[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in arrays.values())


def _deflated(arrays: dict[str, np.ndarray]) -> int:
    return sum(len(zlib.compress(array, 6)) for array in arrays.values())
