"""Painting the scenes of shapes10: background, clutter, object, occluder, mark, noise, from back to front.

Everything is computed in float64, so that rounding to 8 bits hides what differs between processors and versions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lrp_dynamics.data.outlines import EXTENT, OUTLINES

SIZE = 32  # pixels, height and width
TEXTURES = 5
BACKGROUND, OBJECT, DISTRACTOR, PATCH = 0, 1, 2, 3  # values of a mask
NO_OBJECT = -1
MARK = (slice(1, 4), slice(1, 4))  # rows and columns of the 3×3 patch cue
# One mark per class; each has four light and five dark pixels, so that none is brighter than the others.
_MARKS = np.array([[int(c) for c in f"{bits:09b}"] for bits in range(512) if bits.bit_count() == 4][::13])
_CHROMA = np.array([[1, -1, 0], [0.5, 0.5, -1]]) / np.sqrt([[2], [1.5]])  # orthonormal, no luminance
_GRID = np.arange(SIZE) + 0.5
_PHASES = SIZE * (SIZE // 2 + 1)  # random numbers in a texture
_SHAPES = tuple(OUTLINES.values())

Draw = Callable[[str, int], np.ndarray]  # (stream, count) -> uniforms (n, count)


@dataclass(frozen=True)
class Preset:
    """How hard the images are: range of contrast, most clutter blobs, probability of an occluder."""

    contrast: tuple[float, float]
    clutter: int
    occluder: float


PRESETS = {
    "easy": Preset((0.30, 0.60), 0, 0.0),
    "standard": Preset((0.15, 0.50), 2, 0.2),
    "hard": Preset((0.10, 0.45), 3, 0.2),
}


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be painted, for n samples: shape (NO_OBJECT for none), texture, class of the mark (-1 for none)."""

    shape: np.ndarray
    texture: np.ndarray
    mark: np.ndarray
    new_background: bool = False


def paint(preset: Preset, plan: Plan, draw: Draw) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Paint n scenes.

    Parameters
    ----------
    preset : Preset
    plan : Plan
    draw : callable
        `draw(stream, count)` gives each sample's uniform numbers of a stream, (n, count).

    Returns
    -------
    images : (n, 3, 32, 32) uint8
    mask : (n, 32, 32) uint8
    factors : dict of (n,) arrays
    """
    luminance = 0.3 + 0.4 * draw("scene", 1)[:, 0]
    image = _background(plan, draw, luminance)
    mask = np.zeros(image[:, 0].shape, dtype=np.uint8)
    count = np.floor(draw("clutter_count", 1)[:, 0] * (preset.clutter + 1))
    for number in range(preset.clutter):
        alpha, colour = _blob(draw(f"clutter_{number}", 10), preset, luminance)
        _cover(image, mask, alpha * (count > number)[:, None, None], colour, DISTRACTOR)

    pose = draw("pose", 4)
    radius = (0.16 + 0.10 * pose[:, 0]) * SIZE
    margin = EXTENT * radius[:, None]
    centre = margin + pose[:, 1:3] * (SIZE - 2 * margin)
    angle = np.radians(70 * pose[:, 3] - 35)
    look = draw("object", 4)
    step, contrast = _step(look[:, 0], look[:, 1], preset, luminance)
    colour = _colour(luminance + step, look[:, 2:])
    surface = 0.03 * _fractal(draw("object_texture", _PHASES), np.ones(len(radius)))
    _cover(image, mask, _object_alpha(plan.shape, *_local(centre, angle), radius), colour, OBJECT, surface)

    occluder = draw("occluder", 7)
    occluded = occluder[:, 0] < preset.occluder
    alpha, colour = _disc_at_the_rim(occluder[:, 1:], preset, luminance, centre, radius)
    _cover(image, mask, alpha * occluded[:, None, None], colour, DISTRACTOR)

    image += 0.06 * draw("noise", 3 * SIZE * SIZE).reshape(image.shape) - 0.03
    marked = plan.mark >= 0
    image[marked, :, *MARK] = _MARKS[plan.mark[marked]].reshape(-1, 1, 3, 3)
    mask[marked, *MARK] = PATCH
    factors = {
        "contrast": contrast.astype(np.float32),
        "scale": (radius / SIZE).astype(np.float32),
        "x": centre[:, 0].astype(np.float32),
        "y": centre[:, 1].astype(np.float32),
        "rotation": np.degrees(angle).astype(np.float32),
        "luminance": luminance.astype(np.float32),
        "clutter": count.astype(np.int16),
        "occluded": occluded.astype(np.uint8),
    }
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8), mask, factors


def _background(plan: Plan, draw: Draw, luminance: np.ndarray) -> np.ndarray:
    """Return (n, 3, 32, 32): 1/f^beta noise mixed with a wave; texture k sets beta and the wave's frequency."""
    stream = "new_background" if plan.new_background else "background"
    u = draw(stream, 4)
    fractal = _fractal(draw(stream + "_texture", _PHASES), 0.5 + 0.25 * plan.texture)
    x, _ = _local(np.zeros((len(u), 2)), np.pi * u[:, 0])
    frequency = (0.12 + 0.05 * plan.texture)[:, None, None]  # cycles per pixel
    wave = np.sin(2 * np.pi * (frequency * x + u[:, 1, None, None]))
    texture = 0.045 * (fractal / np.sqrt(2) + wave)  # both have variance 1/2
    return texture[:, None] + _colour(luminance, u[:, 2:])


def _fractal(u: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Return (n, 32, 32) noise of mean 0 and variance 1 whose amplitude falls with frequency as f^-beta."""
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None])
    frequency[0, 0] = np.inf
    amplitude = np.exp(-beta[:, None, None] * np.log(frequency))
    field = np.fft.irfft2(amplitude * np.exp(2j * np.pi * u.reshape(amplitude.shape)), s=(SIZE, SIZE))
    return field / field.std(axis=(1, 2), keepdims=True)


def _local(centre: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pixel coordinates x, y, each (n, 32, 32), in a frame moved to `centre` and turned by `angle`."""
    dx = (_GRID[None] - centre[:, :1])[:, None, :]
    dy = (_GRID[None] - centre[:, 1:])[:, :, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    return cos * dx + sin * dy, cos * dy - sin * dx


def _object_alpha(shape: np.ndarray, x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    alpha = np.zeros_like(x)
    for number in np.unique(shape[shape != NO_OBJECT]):
        rows = shape == number
        scale = radius[rows, None, None]
        distance = _SHAPES[number](x[rows] / scale, y[rows] / scale) * scale
        alpha[rows] = np.clip(0.5 - distance, 0, 1)
    return alpha


def _blob(u: np.ndarray, preset: Preset, luminance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return alpha and colour of a small box or ellipse."""
    long = 1.6 + 1.6 * u[:, 0, None, None]
    short = long * (0.6 + 0.4 * u[:, 1, None, None])
    x, y = _local(2 + (SIZE - 4) * u[:, 2:4], np.pi * u[:, 4])
    box = np.maximum(np.abs(x) - long, np.abs(y) - short)
    ellipse = (np.hypot(x / long, y / short) - 1) * short
    step, _ = _step(u[:, 5], u[:, 6], preset, luminance)
    alpha = np.clip(0.5 - np.where(u[:, 9, None, None] < 0.5, box, ellipse), 0, 1)
    return alpha, _colour(luminance + step, u[:, 7:9])


def _disc_at_the_rim(
    u: np.ndarray, preset: Preset, luminance: np.ndarray, centre: np.ndarray, radius: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return alpha and colour of a disc that hides a part of the object."""
    away, direction = radius * (0.5 + 0.5 * u[:, 0]), 2 * np.pi * u[:, 1]
    centre = centre + away[:, None] * np.stack([np.cos(direction), np.sin(direction)], axis=1)
    x, y = _local(centre, np.zeros(len(u)))
    step, _ = _step(u[:, 2], u[:, 3], preset, luminance)
    return np.clip(0.5 - (np.hypot(x, y) - 0.45 * radius[:, None, None]), 0, 1), _colour(luminance + step, u[:, 4:])


def _step(u: np.ndarray, sign: np.ndarray, preset: Preset, luminance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return luminance step and contrast; a step that would leave [0, 1] goes the other way."""
    low, high = preset.contrast
    contrast = np.minimum(low + (high - low) * u, np.maximum(luminance, 1 - luminance))
    up = np.where(sign < 0.5, luminance + contrast <= 1, luminance - contrast < 0)
    return np.where(up, contrast, -contrast), contrast


def _colour(luminance: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return colours (n, 3, 1, 1) of the given luminance, in any hue, 0.02 to 0.10 away from grey."""
    hue, length = 2 * np.pi * u[:, :1], 0.02 + 0.08 * u[:, 1:2]
    chroma = length * (np.cos(hue) * _CHROMA[0] + np.sin(hue) * _CHROMA[1])
    return (luminance[:, None] + chroma)[:, :, None, None]


def _cover(
    image: np.ndarray,
    mask: np.ndarray,
    alpha: np.ndarray,
    colour: np.ndarray,
    value: int,
    surface: np.ndarray | None = None,
) -> None:
    """Paint `colour`, textured by `surface`, over the image; note in the mask the pixels that are mostly covered."""
    if surface is not None:
        colour = colour + surface[:, None]
    image += alpha[:, None] * (colour - image)
    mask[alpha > 0.5] = value
