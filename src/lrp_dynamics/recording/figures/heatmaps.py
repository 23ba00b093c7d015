"""Figures of heatmaps along the training, and of their changes from step to step."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lrp_dynamics.base.style import limit_of, new_figure, short, show_amount, show_sample, show_signed
from lrp_dynamics.recording.figures.run import Run

_ROWS = 6  # one sample each of so many classes
_TILE = 0.86  # inches


def heatmaps(run: Run, samples: Sequence[int] | None = None) -> Figure:
    """Show the relevance maps of a few samples along the training, each sample on its own symmetric scale."""
    moments, chosen = run.moments(), run.one_per_class(_ROWS) if samples is None else samples
    figure, grid = _grid("Heatmaps along training", run, moments, chosen)
    name, score = ("p", run.scalar("probability")) if run.scored else ("output", run.scalar("logit"))
    for sample, row in zip(chosen, grid, strict=True):
        maps = np.stack([run.recording.maps(int(moment), sample) for moment in moments])
        limit = limit_of(maps)
        for moment, relevance, axes in zip(moments, maps, row[1:], strict=True):
            artist = show_signed(axes, relevance, limit)
            axes.set_xlabel(f"{name} = {score[moment, sample]:.2f}", fontsize=6.5, labelpad=1.5)
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


def _grid(title: str, run: Run, moments: np.ndarray, chosen: Sequence[int]) -> tuple[Figure, np.ndarray]:
    columns = len(moments) + 1
    width = max(6.5, 1.1 + _TILE * columns)  # room for the title of a run with few moments
    height = 1.2 + (_TILE + 0.17) * len(chosen)
    figure = new_figure(f"{title} – {run.title}", run.origin, width, height)
    grid = figure.subplots(len(chosen), columns, squeeze=False)
    for sample, row in zip(chosen, grid, strict=True):
        show_sample(row[0], run.image(sample))
        row[0].set_ylabel(run.class_name(sample), fontsize=8)
    grid[0, 0].set_title("sample")
    return figure, grid


def _step_name(run: Run, moment: int) -> str:
    return run.start if run.iteration[moment] == 0 else f"step {run.iteration[moment]}"


def _scale_note(axes, text: str) -> None:
    axes.annotate(text, (1.06, 0.5), xycoords="axes fraction", rotation=90, va="center", ha="left", fontsize=7)


def _bar(figure: Figure, artist, grid: np.ndarray, labels: list[str], name: str) -> None:
    bar = figure.colorbar(artist, ax=grid, location="bottom", fraction=0.025, aspect=45, pad=0.015, shrink=0.6)
    low, high = artist.get_clim()
    bar.set_ticks(np.linspace(low, high, len(labels)), labels=labels)
    bar.set_label(name, fontsize=8)
    bar.outline.set_visible(False)
