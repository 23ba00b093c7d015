"""What of the recordings fits into a page: how many samples, and by how much frames and images are averaged down."""

from dataclasses import dataclass
from math import prod

import numpy as np

LIMIT = 12_000_000  # bytes of the page, for each recording in it
MOST = 4 * LIMIT  # a browser still opens it at once
SMALLEST = 32  # pixels, of the longer side of a frame
VALUES = 2**24  # of the frames of a sample, at most, while they are encoded
TEXT = 4 / 3  # characters of base64 a byte
RANK, FEWEST = 20, 4  # patterns that frames usually need, and at the very least
PACKED = 0.75  # what deflate leaves of a byte


@dataclass(frozen=True)
class Plan:
    """How much is shown.

    Attributes
    ----------
    samples : int
        More do not fit, whatever their frames are like.
    frame, image : int
        So many pixels × as many of the recording become one.
    """

    samples: int
    frame: int
    image: int


def limit(recordings: int) -> int:
    """Return the largest size of a page of so many recordings, bytes."""
    return min(recordings * LIMIT, MOST)


def plan(
    samples: int, steps: list[int], frame: tuple[int, int], image: tuple[int, int], channels: int, room: float
) -> Plan:
    """Choose so that the page will have about the size that it may have.

    Frames are averaged down before samples are left out, but not to less than `SMALLEST` pixels.

    Parameters
    ----------
    samples : int
        So many are wanted.
    steps : list of int
        Number of steps of each recording.
    frame, image : tuple of int
        (H, W) as recorded.
    channels : int
        Of an image on the page.
    room : float
        Bytes for all frames and images as text.
    """
    factor = 1
    while factor < max(frame) and (
        _pixels(frame, factor) * max(steps) > VALUES
        or (
            samples * _bytes(steps, _pixels(frame, factor), RANK) > 0.8 * room
            and max(frame) // (factor + 1) >= SMALLEST
        )
    ):
        factor += 1
    fitting = max(1, min(samples, int(room / _bytes(steps, _pixels(frame, factor), FEWEST))))
    of_image = 1
    while fitting * TEXT * channels * _pixels(image, of_image) > 0.2 * room and max(image) // of_image > 1:
        of_image += 1
    return Plan(fitting, factor, of_image)


def averaged(images: np.ndarray, factor: int) -> np.ndarray:
    """Return images (..., H, W) with factor × factor pixels averaged into one; those at the edge are of fewer.

    Examples
    --------
    >>> averaged(np.array([[1.0, 3.0, 5.0], [1.0, 3.0, 7.0]]), 2).tolist()
    [[2.0, 6.0]]
    """
    if factor == 1:
        return images
    for axis in (-2, -1):
        starts = np.arange(0, images.shape[axis], factor)
        counts = np.diff(np.append(starts, images.shape[axis])).astype(images.dtype)
        images = np.add.reduceat(images, starts, axis=axis) / (counts[:, None] if axis == -2 else counts)
    return images


def reduced(shape: tuple[int, int], factor: int) -> tuple[int, int]:
    """Return the shape that `averaged` makes of a shape."""
    return -(-shape[0] // factor), -(-shape[1] // factor)


def _pixels(shape: tuple[int, int], factor: int) -> int:
    return prod(reduced(shape, factor))


def _bytes(steps: list[int], pixels: int, rank: int) -> float:
    """Return about how many bytes of text one sample takes: frames, gain, four curves, accumulated dynamics."""
    frames = sum(min(rank * (count + pixels), count * pixels) * PACKED for count in steps)
    return TEXT * (frames + sum(9 * count + 3.5 * pixels for count in steps))
