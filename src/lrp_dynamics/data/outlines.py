"""Ten outlines as signed-distance functions, all of the same area, so that area does not tell the class.

Each function takes coordinates x (right) and y (down) in units of the radius and returns the distance to the edge:
negative inside, positive outside. Each has its centre of gravity at (0, 0).
"""

import numpy as np

AREA = 0.6 * np.pi  # of every outline, in units of the squared radius
EXTENT = 1.26  # no outline reaches farther from the origin


def _disc(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    return np.hypot(x, y) - radius


def _box(x: np.ndarray, y: np.ndarray, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    dx = np.abs(x - (left + right) / 2) - (right - left) / 2
    dy = np.abs(y - (top + bottom) / 2) - (bottom - top) / 2
    return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0)


def _sector(x: np.ndarray, y: np.ndarray, corners: int) -> tuple[np.ndarray, np.ndarray]:
    """Fold the plane into half a sector of a figure with `corners` tips, one of them at the top: (along, across)."""
    step = 2 * np.pi / corners
    angle = np.abs(np.mod(np.arctan2(x, -y) + step / 2, step) - step / 2)
    distance = np.hypot(x, y)
    return distance * np.cos(angle), distance * np.sin(angle)


def _star(x: np.ndarray, y: np.ndarray, corners: int, outer: float, inner: float) -> np.ndarray:
    """Return the distance to the edges between tips (at `outer`) and notches (at `inner`)."""
    along, across = _sector(x, y, corners)
    half = np.pi / corners
    dx, dy = inner * np.cos(half) - outer, inner * np.sin(half)
    px, py = along - outer, across
    nearest = np.clip((px * dx + py * dy) / (dx**2 + dy**2), 0, 1)
    return np.copysign(np.hypot(px - nearest * dx, py - nearest * dy), px * dy - py * dx)


def _polygon(x: np.ndarray, y: np.ndarray, corners: int, radius: float) -> np.ndarray:
    return _star(x, y, corners, radius, radius * np.cos(np.pi / corners))


def _bitten_disc(x: np.ndarray, y: np.ndarray, offset: float, bite: float) -> np.ndarray:
    """Return the distance to the unit disc less a disc of radius `bite` around (offset, 0)."""
    r, q = np.maximum(np.hypot(x, y), 1e-12), np.maximum(np.hypot(x - offset, y), 1e-12)
    horn_x = (1 - bite**2 + offset**2) / (2 * offset)
    nearest = np.hypot(x - horn_x, np.abs(y) - np.sqrt(1 - horn_x**2))
    # The nearest point of a circle counts only where that circle is the edge.
    on_outer = np.hypot(x / r - offset, y / r) >= bite
    on_inner = np.hypot(offset + (x - offset) * bite / q, y * bite / q) <= 1
    nearest = np.minimum(nearest, np.where(on_outer, np.abs(r - 1), np.inf))
    nearest = np.minimum(nearest, np.where(on_inner, np.abs(q - bite), np.inf))
    return np.where((r < 1) & (q > bite), -nearest, nearest)


def disc(x, y):
    """Return the distance to a filled circle."""
    return _disc(x, y, 0.7746)


def ring(x, y):
    """Return the distance to a circle with a hole."""
    return np.abs(_disc(x, y, 0.6804)) - 0.2205


def square(x, y):
    """Return the distance to a square."""
    return _box(x, y, -0.6865, -0.6865, 0.6865, 0.6865)


def triangle(x, y):
    """Return the distance to an equilateral triangle."""
    return _polygon(x, y, 3, 1.2046)


def pentagon(x, y):
    """Return the distance to a regular pentagon."""
    return _polygon(x, y, 5, 0.8904)


def star(x, y):
    """Return the distance to a star with five tips."""
    return _star(x, y, 5, 1.1941, 0.5373)


def plus(x, y):
    """Return the distance to a plus sign."""
    return np.minimum(_box(x, y, -0.935, -0.3, 0.935, 0.3), _box(x, y, -0.3, -0.935, 0.3, 0.935))


def crescent(x, y):
    """Return the distance to a disc out of which a smaller disc is bitten."""
    return _bitten_disc(x - 0.29, y, 0.5, 0.67)


def ell(x, y):
    """Return the distance to a capital L."""
    return np.minimum(_box(x, y, -0.593, -1.107, 0.104, 0.743), _box(x, y, -0.593, 0.046, 0.957, 0.743))


def tee(x, y):
    """Return the distance to a capital T."""
    return np.minimum(_box(x, y, -0.921, -0.675, 0.921, -0.061), _box(x, y, -0.307, -0.675, 0.307, 1.167))


OUTLINES = {
    function.__name__: function for function in (disc, ring, square, triangle, pentagon, star, plus, crescent, ell, tee)
}
