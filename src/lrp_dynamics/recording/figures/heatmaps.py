"""Figures of heatmaps along the training, and of their changes from step to step."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from lrp_dynamics.base.style import limit_of, new_figure, short, show_amount, show_signed
from lrp_dynamics.recording.figures.run import Run, show_tile

_ROWS = 6  # one sample each of so many classes
_TILE = 0.86  # inches
_NARROWEST = 6.5  # inches: room for the title


def heatmaps(run: Run, samples: Sequence[int] | None = None) -> Figure:
    """Show the relevance maps of a few samples along the training, each sample on its own symmetric scale."""
    moments, chosen = run.moments(), run.one_per_class(_ROWS) if samples is None else samples
    figure, grid = _grid("Heatmaps along training", run, moments, chosen)
    name, score = _score(run)
    for sample, row in zip(chosen, grid, strict=True):
        maps = np.stack([run.recording.maps(int(moment), sample) for moment in moments])
        limit = limit_of(maps)
        for moment, relevance, axes in zip(moments, maps, row[1:], strict=True):
            artist = show_signed(axes, relevance, limit)
            axes.set_xlabel(f"{name} = {score(moment, sample)}", fontsize=6.5, labelpad=1.5)
        _scale_note(row[-1], f"±{short(limit)}")
    for moment, axes in zip(moments, grid[0, 1:], strict=True):
        axes.set_title(_step_name(run, moment))
    _bar(figure, artist, grid, ["−", "0", "+"], f"relevance (row's scale at the right, {run.amount})")
    return figure


def heatmap_changes(run: Run, samples: Sequence[int] | None = None) -> Figure:
    """Show |R_i - R_{i+1}| of a few samples along the training, each map on its own scale with its sum below."""
    moments = np.unique(np.minimum(run.moments(), run.recording.steps - 2))
    chosen = run.one_per_class(_ROWS) if samples is None else samples
    figure, grid = _grid("Changes of the heatmaps along training", run, moments, chosen)
    for sample, row in zip(chosen, grid, strict=True):
        pairs = [run.recording.maps(slice(moment, moment + 2), sample).astype(np.float64) for moment in moments]
        for (before, after), axes in zip(pairs, row[1:], strict=True):
            change = np.abs(after - before)
            artist = show_amount(axes, change, limit_of(change))
            axes.set_xlabel(f"Σ = {short(change.sum())}", fontsize=6.5, labelpad=1.5)
    for moment, axes in zip(moments, grid[0, 1:], strict=True):
        axes.set_title(f"{run.iteration[moment]} → {run.iteration[moment + 1]}")
    _bar(
        figure,
        artist,
        grid,
        ["0", "largest"],
        rf"$|R_i - R_{{i+1}}|$ (each map on its own scale; Σ: sum over the map, {run.amount})",
    )
    return figure


def _score(run: Run) -> tuple[str, Callable[[int, int], str]]:
    """Return what is written below each map: probability, output, or, where neither is known, the map's sum."""
    if not (run.scored or run.recording.tells_output):
        total = run.scalar("r_sum")
        return "Σ", lambda moment, sample: short(total[moment, sample], 3)
    name, values = ("p", run.scalar("probability")) if run.scored else ("output", run.scalar("logit"))
    return name, lambda moment, sample: f"{values[moment, sample]:.2f}"


def _grid(title: str, run: Run, moments: np.ndarray, chosen: Sequence[int]) -> tuple[Figure, np.ndarray]:
    columns = len(moments) + 1
    width = max(_NARROWEST, 1.1 + _TILE * columns)
    height = 1.2 + (_TILE + 0.17) * len(chosen)
    figure = new_figure(f"{title} – {run.title}", run.origin, width, height)
    if columns < 6:  # side by side, and not spread over the width of the title
        figure.get_layout_engine().set(rect=(0, 0, max(3.0, 0.9 + _TILE * columns) / width, 1))
    grid = figure.subplots(len(chosen), columns, squeeze=False)
    for sample, row in zip(chosen, grid, strict=True):
        show_tile(row[0], run, sample)
        row[0].set_ylabel(run.class_name(sample), fontsize=8)
    grid[0, 0].set_title("sample")
    return figure, grid


def _step_name(run: Run, moment: int) -> str:
    return run.start if run.iteration[moment] == 0 else f"step {run.iteration[moment]}"


def _scale_note(axes, text: str) -> None:
    axes.annotate(text, (1.06, 0.5), xycoords="axes fraction", rotation=90, va="center", ha="left", fontsize=7)


def _bar(figure: Figure, artist, grid: np.ndarray, labels: list[str], name: str) -> None:
    pad = max(0.015, 0.11 / figure.get_figheight())  # not less than what stands below the maps
    few = grid.shape[1] < 6
    size = {"fraction": 0.025, "aspect": 20 if few else 45, "pad": pad, "shrink": 0.9 if few else 0.6}
    bar = figure.colorbar(artist, ax=grid, location="bottom", **size)
    low, high = artist.get_clim()
    bar.set_ticks(np.linspace(low, high, len(labels)), labels=labels)
    bar.set_label(name.replace(" (", "\n(", 1).replace("; ", ";\n") if few else name, fontsize=8)
    bar.outline.set_visible(False)
