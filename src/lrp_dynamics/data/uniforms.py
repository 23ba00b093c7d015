"""Random numbers that depend on nothing but (seed, split, sample, stream): counter-based SplitMix64.

A sample's numbers are the same whatever the number of samples, their order, the batch, or the NumPy version.

Source: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def splitmix64(state: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` outputs of the SplitMix64 generator started at each state.

    Parameters
    ----------
    state : (...) uint64
    count : int

    Returns
    -------
    (..., count) uint64
    """
    steps = np.arange(1, count + 1, dtype=np.uint64)
    z = state[..., None] + steps * _GAMMA  # arrays wrap modulo 2^64 without a warning
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def uniforms(seed: int, split: int, index: np.ndarray, stream: int, count: int) -> np.ndarray:
    """Return uniform numbers in [0, 1) for each sample.

    Parameters
    ----------
    seed, split, stream : int
        Non-negative. Every combination is a generator of its own.
    index : (n,) int
        Sample indices.
    count : int
        How many numbers each sample gets from the stream.

    Returns
    -------
    (n, count) float64
    """
    state = np.zeros(1, dtype=np.uint64)
    for value in (np.array([seed]), np.array([split]), np.asarray(index), np.array([stream])):
        state = splitmix64(state ^ value.astype(np.uint64), 1)[..., 0]
    return (splitmix64(state, count) >> np.uint64(11)) * 2.0**-53
