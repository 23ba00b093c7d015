"""How alike two heatmaps are, whatever their amount.

Maps are of images, (..., H, W), unless told how many of the last `axes` are those of a map.
"""

import numpy as np
from scipy.stats import rankdata


def cosine(a: np.ndarray, b: np.ndarray, axes: int = 2) -> np.ndarray:
    """Return the cosine similarity of maps (..., H, W), shape (...); 0 where one of them is zero everywhere.

    Examples
    --------
    >>> cosine(np.array([[3.0, 4.0]]), np.array([[6.0, 8.0]])).round(3).item()
    1.0
    """
    a, b = _flat(a, axes), _flat(b, axes)
    size = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    product = (a * b).sum(axis=-1)
    return np.divide(product, size, out=np.zeros(np.broadcast(product, size).shape), where=size > 0)


def similarity_to_last(maps: np.ndarray, axes: int = 2) -> np.ndarray:
    """Return the cosine similarity of each map (T, N, H, W) to the last one of its sample, (T, N).

    Examples
    --------
    >>> similarity_to_last(np.array([[[[0.0, 2.0]]], [[[0.0, 0.0]]], [[[1.0, 1.0]]]])).round(3).tolist()
    [[0.707], [0.0], [1.0]]
    """
    return cosine(maps, maps[-1:], axes)


def correlation(a: np.ndarray, b: np.ndarray, axes: int = 2) -> np.ndarray:
    """Return Pearson's correlation over the pixels of maps (..., H, W), shape (...); NaN where one is constant.

    Examples
    --------
    >>> correlation(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 0.0, -1.0]])).round(3).item()
    -1.0
    """
    return _pearson(_flat(a, axes), _flat(b, axes))


def rank_correlation(a: np.ndarray, b: np.ndarray, axes: int = 2) -> np.ndarray:
    """Return Spearman's rank correlation over the pixels of maps (..., H, W), shape (...); NaN where one is constant.

    Examples
    --------
    >>> rank_correlation(np.array([[1.0, 2.0, 9.0]]), np.array([[0.1, 0.2, 0.3]])).round(3).item()
    1.0
    """
    return _pearson(*(rankdata(_flat(m, axes), axis=-1) for m in (a, b)))


def _flat(maps: np.ndarray, axes: int) -> np.ndarray:
    return np.asarray(maps, np.float64).reshape(*maps.shape[:-axes], -1)


def _pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (v - v.mean(axis=-1, keepdims=True) for v in (a, b))
    size = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    return np.divide((a * b).sum(axis=-1), size, out=np.full(size.shape, np.nan), where=size > 0)
