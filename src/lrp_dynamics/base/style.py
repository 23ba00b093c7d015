"""One look for all figures, and saving them so that the same data give the same bytes."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lrp_dynamics.base.files import atomic

# Okabe and Ito's colours, distinguishable with every kind of colour vision.
BLUE, VERMILION, GREEN, ORANGE, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#888888"
SIGNED = "RdBu_r"  # red supports the class, blue speaks against it, white is zero
AMOUNT = "magma"  # from nothing (dark) to much (bright)
STRIPES = 400  # at most, in a strip
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.2,
    "image.interpolation": "nearest",
    "savefig.dpi": 150,
    "svg.hashsalt": "lrp-dynamics",
    "svg.fonttype": "path",
}


class HouseFigure(Figure):
    """A figure that a notebook shows where it is the last value of a cell, whether pyplot is in use or not."""

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        with house_style():
            self.savefig(written, format="png")
        return written.getvalue()


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the project's style, whatever the user's own settings; the backend stays the user's."""
    own = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    with matplotlib.rc_context(own | RC):
        yield


def in_house_style(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Return a function that draws the same in the project's style."""

    @wraps(draw)
    def drawn(*arguments: Any, **options: Any) -> Figure:
        with house_style():
            return draw(*arguments, **options)

    return drawn


def new_figure(title: str, origin: str, width: float, height: float) -> Figure:
    """Return an empty figure with its title above and, small below, what the data are; sizes in inches."""
    figure = HouseFigure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.008, ha="left", fontsize=11, fontweight="bold")
    figure.supxlabel(origin, x=0.008, ha="left", fontsize=7, color="#555555")
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write <name>.png and <name>.svg without dates or versions; return their paths."""
    paths = []
    with house_style():
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            path = Path(folder) / f"{name}.{suffix}"
            with atomic(path) as temporary:
                figure.savefig(temporary, metadata=metadata)
            figure.set_layout_engine("none")  # laid out once is enough
            paths.append(path)
    return paths


def draw_each(functions: Mapping[str, Callable[[Any], Figure]], results: Any, folder: Path) -> list[Path]:
    """Draw results by every function, and save each figure under the function's name; return the files written."""
    paths = []
    for name, draw in functions.items():
        paths += save(in_house_style(draw)(results), folder, name)
    return paths


def legend_above(axes: Axes, columns: int = 3, **options) -> None:
    """Put the legend above the axes, where no data can lie, and below their title if they have one."""
    legend = axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        ncols=columns,
        handlelength=1.5,
        columnspacing=1,
        **options,
    )
    rows = -(-len(legend.get_texts()) // columns)
    if axes.get_title():
        axes.set_title(axes.get_title(), pad=6 + 13 * rows)


def ink_on(color: Any) -> str:
    """Return the colour, black or white, in which text is read best on a background.

    Examples
    --------
    >>> ink_on("navy"), ink_on("khaki")
    ('white', 'black')
    """
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # as contrast is defined for web pages
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


def bare(axes: Axes) -> None:
    """Remove ticks, frame and grid from axes that show a picture."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_image(axes: Axes, picture: np.ndarray) -> None:
    """Show an image, (H, W, 3) or grey (H, W)."""
    axes.imshow(picture, cmap=None if picture.ndim == 3 else "gray", vmin=0, vmax=255)
    bare(axes)


def show_sample(axes: Axes, sample: np.ndarray) -> None:
    """Show a sample: an image as `show_image` takes it, uint8; lines of a signal, bars of a table, a volume's slice."""
    if sample.dtype == np.uint8:
        show_image(axes, sample)
        return
    if sample.ndim > 3:
        axes.imshow(central_slice(sample.mean(axis=0)), cmap="gray")
    elif sample.ndim == 2:
        axes.plot(sample.T, linewidth=0.6)
    else:
        axes.stairs(sample, np.arange(len(sample) + 1) - 0.5, fill=True, color=GREY)
    bare(axes)
    if sample.ndim < 3:
        _positions(axes, sample.shape[-1])


def show_signed(axes: Axes, relevance: np.ndarray, limit: float):
    """Show a relevance map on a scale from -limit to limit; return the image artist.

    Parameters
    ----------
    axes : Axes
    relevance : ndarray
        (H, W); (L,) of a signal or (F,) of a table is drawn as a strip above its positions, (D, H, W) of a volume as
        its central slice.
    limit : float
    """
    return _show_map(axes, relevance, SIGNED, -limit, limit)


def show_amount(axes: Axes, amount: np.ndarray, limit: float):
    """Show a map of non-negative values on a scale from 0 to limit, shaped as `show_signed` takes it."""
    return _show_map(axes, amount, AMOUNT, 0, limit)


def _show_map(axes: Axes, values: np.ndarray, colours: str, low: float, high: float):
    if values.ndim > 1:
        artist = axes.imshow(central_slice(values), cmap=colours, vmin=low, vmax=high)
        bare(axes)
        return artist
    # Of more values than fit, each stripe shows the largest of its part: a picture would leave out some of them.
    parts = np.array_split(values, min(len(values), STRIPES))
    stripes = np.array([[part[np.abs(part).argmax()] for part in parts]])
    ends = (-0.5, len(values) - 0.5, 0, 1)
    artist = axes.imshow(stripes, cmap=colours, vmin=low, vmax=high, aspect="auto", extent=ends)
    bare(axes)
    _positions(axes, len(values))
    return artist


def central_slice(values: np.ndarray) -> np.ndarray:
    """Return the slice (H, W) in the middle of a volume (D, H, W); a map of an image is its own.

    Examples
    --------
    >>> central_slice(np.arange(3)[:, None, None] * np.ones((3, 1, 2))).tolist()
    [[1.0, 1.0]]
    """
    while values.ndim > 2:
        values = values[len(values) // 2]
    return values


def _positions(axes: Axes, count: int) -> None:
    """Name the first and the last position of a signal or table below what is shown of it."""
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_xticks(sorted({0, count - 1}))
    axes.tick_params(axis="x", labelsize=5, length=1.5, pad=1)
    for label, side in zip(axes.get_xticklabels(), ("left", "right"), strict=False):
        label.set_horizontalalignment(side)


def limit_of(maps: np.ndarray, percentile: float = 99.5) -> float:
    """Return a colour limit: a percentile of |maps|, so that a few pixels do not darken all others; 1 for zeros."""
    return float(np.percentile(np.abs(maps), percentile)) or float(np.abs(maps).max()) or 1.0


def short(value: float, digits: int = 2) -> str:
    """Return a number with a few significant digits, readable in a label.

    Examples
    --------
    >>> [short(v) for v in (0.0, 0.01234, -3.21, 1234.5, 2.5e-7)]
    ['0', '0.012', '−3.2', '1,200', '2.5·10⁻⁷']
    >>> short(357.6, 3)
    '358'
    """
    if value == 0 or not np.isfinite(value):
        return f"{value:.0f}"
    if not 1e-4 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        text = f"{mantissa}·10{str(int(exponent)).translate(_RAISED)}"
    else:
        places = digits - 1 - int(np.floor(np.log10(abs(value))))
        text = f"{round(value, places):,.{max(0, places)}f}"
    return text.replace("-", "−")
