"""How dynamics are measured, on real maps of the run."""

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from lrp_dynamics.base.style import GREY, limit_of, new_figure, short, show_amount, show_signed
from lrp_dynamics.recording.figures.run import Run, show_tile

_WIDTH, _HEIGHT, _TILE = 8.6, 4.75, 0.95  # inches
_CENTRE = 2.2 + 2.35


def schematic(run: Run) -> Figure:
    """Show, for the sample of median divergence: maps, their successive differences, and the sum of all of these."""
    sample = run.by_divergence(3)[1 if run.recording.map_samples > 2 else 0]
    last = run.recording.steps - 1
    figure = new_figure(f"How dynamics are measured – {run.title}", run.origin, _WIDTH, _HEIGHT)
    figure.set_layout_engine("none")  # everything below has its place in inches
    top, middle, bottom = 3.1, 1.72, 0.35
    picture = _axes(figure, 0.08, top)
    show_tile(picture, run, sample)
    name = run.class_name(sample)
    picture.set_title(name if name.startswith("sample ") else f"sample: {name}")

    starts = sorted({0, last // 2, last - 1})
    first = 2.2 + 2.35 * (3 - len(starts)) / 2
    centres = [first + 2.35 * k for k in range(len(starts))]
    for start, centre in zip(starts, centres, strict=True):
        maps = run.recording.maps(slice(start, start + 2), sample).astype(np.float64)
        first, second = run.iteration[start : start + 2]
        for x, values, step in ((centre - _TILE - 0.04, maps[0], first), (centre + 0.04, maps[1], second)):
            axes = _axes(figure, x, top)
            show_signed(axes, values, limit_of(values))  # maps of an untrained network would be white on another's
            axes.set_title(f"$R_{{{step}}}$  ±{short(limit_of(values))}", fontsize=7.5)
            _arrow(
                figure, (x + _TILE / 2, top - 0.04), (centre + 0.6 * (x + _TILE / 2 - centre), middle + _TILE + 0.04)
            )
        change = np.abs(maps[1] - maps[0])
        axes = _axes(figure, centre - _TILE / 2, middle)
        show_amount(axes, change, limit_of(change))
        axes.annotate(
            f"$|R_{{{first}}} - R_{{{second}}}|$\nsum {short(change.sum())}",
            (1.07, 0.5),
            xycoords="axes fraction",
            va="center",
            fontsize=7.5,
        )
        _arrow(figure, (centre, middle - 0.04), (0.5 * centre + 0.5 * _CENTRE, bottom + _TILE + 0.04))
    for before, after in pairwise(centres):
        _write(figure, (before + after) / 2, top + _TILE / 2, "…", 15)
    _write(figure, 0.7, middle + _TILE / 2, f"how much\neach {run.recording.unit} changes\nin each step", 8.5)
    _write(figure, 0.7, bottom + _TILE / 2, "summed over\nall steps", 8.5)

    centre = _CENTRE
    total = _axes(figure, centre - _TILE / 2, bottom)
    show_amount(total, run.dynamics[sample], limit_of(run.dynamics[sample]))
    _write(figure, centre - _TILE / 2 - 0.85, bottom + _TILE / 2, "Dynamics\n$= \\Sigma_i\\,|R_i - R_{i+1}|$", 9)
    _arrow(figure, (centre + _TILE / 2 + 0.06, bottom + _TILE / 2), (centre + _TILE / 2 + 1.06, bottom + _TILE / 2))
    _write(figure, centre + _TILE / 2 + 0.56, bottom + _TILE / 2 + 0.1, f"sum over {run.recording.unit}s", 7.5)
    value = short(float(run.samples["divergence"][sample]), 3)
    text = f"divergence = {value}\n({run.amount};\nrank {run.rank(sample)} of {len(run.dynamics)})"
    _write(figure, centre + _TILE / 2 + 1.75, bottom + _TILE / 2, text, 9)
    return figure


def _axes(figure: Figure, x: float, y: float) -> Axes:
    """Add square axes whose lower left corner is x, y inches from the figure's."""
    return figure.add_axes((x / _WIDTH, y / _HEIGHT, _TILE / _WIDTH, _TILE / _HEIGHT))


def _write(figure: Figure, x: float, y: float, text: str, size: float) -> None:
    figure.text(x / _WIDTH, y / _HEIGHT, text, ha="center", va="center", fontsize=size)


def _arrow(figure: Figure, start: tuple[float, float], end: tuple[float, float]) -> None:
    points = [(x / _WIDTH, y / _HEIGHT) for x, y in (start, end)]
    figure.add_artist(
        FancyArrowPatch(
            *points, transform=figure.transFigure, arrowstyle="-|>", mutation_scale=8, color=GREY, linewidth=0.8
        )
    )
