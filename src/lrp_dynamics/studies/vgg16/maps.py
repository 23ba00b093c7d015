"""Figures of the VGG-16 study that show images and maps, one row an image."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrp_dynamics.base.names import literal
from lrp_dynamics.base.style import BLUE, limit_of, new_figure, short, show_amount, show_image, show_signed
from lrp_dynamics.studies.vgg16.results import PhotoRun

_TILE = 1.3  # inches


def predictions(run: PhotoRun) -> Figure:
    """Show the images and the probabilities of the five best classes."""
    rows = -(-run.show // 2)
    figure = new_figure(f"Predictions – {literal(run.title)}", literal(run.origin), 9.2, 0.6 + 1.45 * rows)
    grid = figure.subplots(rows, 4, squeeze=False, width_ratios=[1, 2.2, 1, 2.2])
    for axes in grid.flat[2 * run.show :]:
        axes.set_visible(False)
    for i in range(run.show):
        picture, bars = grid.flat[2 * i], grid.flat[2 * i + 1]
        show_image(picture, run.image(i))
        picture.set_title(literal(run.names[i], 22), fontsize=7)
        order = run.order[i]
        bars.barh(np.arange(len(order)), run.probability[i, order], color=BLUE, height=0.62)
        bars.set_yticks(np.arange(len(order)), [literal(run.classes[k], 24) for k in order], fontsize=7)
        bars.invert_yaxis()
        bars.set_xlim(0, 1)
        bars.tick_params(axis="x", labelsize=6.5)
        bars.grid(False, axis="y")
        bars.set_xlabel("probability", fontsize=7, labelpad=1)
    return figure


def composites(run: PhotoRun) -> Figure:
    """Show the predicted class's relevance by every method, each map on its own symmetric scale."""
    figure, grid = _grid("Explanations by different rules", run, len(run.methods))
    for i, row in enumerate(grid):
        for method, axes in zip(run.methods, row[1:], strict=True):
            relevance = run.map(method, "predicted", i)
            artist = _signed(axes, relevance, limit_of(relevance))
    for method, axes in zip(run.methods, grid[0, 1:], strict=True):
        axes.set_title(run.spoken(method), fontsize=8.5)
    _bar(figure, artist, grid, "relevance for the predicted class (scale below each map, logit units)")
    return figure


def contrast(run: PhotoRun) -> Figure:
    """Show the relevance of predicted class and runner-up, and their difference, on one scale each row."""
    figure, grid = _grid("Predicted class against runner-up", run, 3, lines=2)
    method = run.composites[0]
    for i, row in enumerate(grid):
        best, second = (run.map(method, target, i) for target in ("predicted", "runner_up"))
        limit = max(limit_of(best), limit_of(second))
        names = (run.label(i, 0, 17), run.label(i, 1, 17), "first − second")
        for relevance, axes, name in zip((best, second, best - second), row[1:], names, strict=True):
            artist = _signed(axes, relevance, limit, above=f"{name}\n")
    for axes, name in zip(grid[0, 1:], ("predicted class", "runner-up", "difference"), strict=True):
        axes.set_title(name, fontsize=8.5)
    _bar(figure, artist, grid, f"relevance, {run.spoken(method)} (one scale for each row, logit units)")
    return figure


def layers(run: PhotoRun) -> Figure:
    """Show the predicted class's relevance where it arrives at the end of each block, and at the pixels."""
    figure, grid = _grid("Relevance layer by layer", run, len(run.blocks) + 1)
    method = run.composites[0]
    for i, row in enumerate(grid):
        maps = [run.layer(name, i) for name in reversed(run.blocks)]
        for relevance, axes in zip([*maps, run.map(method, "predicted", i)], row[1:], strict=True):
            artist = _signed(axes, relevance, limit_of(relevance))
    _name_blocks(run, grid, backwards=True)
    _bar(
        figure,
        artist,
        grid,
        f"relevance summed over channels, {run.spoken(method)} (scale below each map, logit units)",
    )
    return figure


def activations(run: PhotoRun) -> Figure:
    """Show the mean activation over the channels at the end of each block."""
    figure, grid = _grid("Activations layer by layer", run, len(run.blocks))
    for i, row in enumerate(grid):
        for name, axes in zip(run.blocks, row[1:], strict=True):
            values = run.activation(name, i)
            limit = float(values.max()) or 1.0
            artist = show_amount(axes, values, limit)
            axes.set_xlabel(f"max {short(limit)}", fontsize=7.5, labelpad=2)
    _name_blocks(run, grid, backwards=False)
    bar = figure.colorbar(artist, ax=grid, location="bottom", fraction=0.025, aspect=45, pad=0.015, shrink=0.6)
    bar.set_ticks(artist.get_clim(), labels=["0", "largest"])
    bar.set_label("activation, mean over channels (largest value below each map)", fontsize=8)
    bar.outline.set_visible(False)
    return figure


def _grid(title: str, run: PhotoRun, columns: int, lines: int = 1) -> tuple[Figure, np.ndarray]:
    """Return a figure of one row an image, the image first, with room for so many lines of text below each map."""
    figure = new_figure(
        f"{title} – {literal(run.title)}",
        literal(run.origin),
        0.5 + _TILE * (columns + 1),
        1.45 + (_TILE + 0.1 + 0.13 * lines) * run.show,
    )
    grid = figure.subplots(run.show, columns + 1, squeeze=False)
    for i, row in enumerate(grid):
        show_image(row[0], run.image(i))
        row[0].set_xlabel(run.label(i), fontsize=7.5, labelpad=2)
    return figure, grid


def _name_blocks(run: PhotoRun, grid: np.ndarray, backwards: bool) -> None:
    names = [f"end of block {k}" for k in range(1, len(run.blocks) + 1)]
    names = [*reversed(names), "pixels"] if backwards else names
    for name, axes in zip(names, grid[0, 1:], strict=True):
        height, width = axes.get_images()[0].get_array().shape[:2]
        axes.set_title(f"{name}\n{height}×{width}", fontsize=8.5)


def _signed(axes: Axes, relevance: np.ndarray, limit: float, above: str = ""):
    artist = show_signed(axes, relevance, limit)
    axes.set_xlabel(f"{above}±{short(limit)}", fontsize=7.5, labelpad=2)
    for spine in axes.spines.values():
        spine.set(visible=True, color="#cccccc", linewidth=0.5)
    return artist


def _bar(figure: Figure, artist, grid: np.ndarray, name: str) -> None:
    bar = figure.colorbar(artist, ax=grid, location="bottom", fraction=0.025, aspect=45, pad=0.015, shrink=0.6)
    low, high = artist.get_clim()
    bar.set_ticks([low, 0, high], labels=["−", "0", "+"])
    bar.set_label(name, fontsize=8)
    bar.outline.set_visible(False)
