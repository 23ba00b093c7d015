"""Figures of the homework's images and heatmaps."""

import numpy as np
from matplotlib.figure import Figure

from lrp_dynamics.base.style import VERMILION, bare, limit_of, new_figure, short, show_amount, show_image
from lrp_dynamics.studies.homework.results import METHODS, Homework

_COLUMNS, _TILE = 10, 0.8
_LABELS = {"sensitivity": "(∂y/∂x)², summed over channels", "deep_taylor": "relevance, summed over channels"}


def evidence(run: Homework) -> Figure:
    """Show the explained images with their class and evidence; red names are misclassified."""
    figure, grid = _grid(f"The {run.count} test images with most evidence for their class – {run.title}", run)
    for sample, axes in enumerate(grid):
        show_image(axes, run.picture(sample))
        right = run.evidence["predicted"][sample] == run.evidence["label"][sample]
        axes.set_xlabel(
            f"{run.class_name(sample, 12)}\n{run.evidence['evidence'][sample]:.1f}",
            fontsize=7.5,
            labelpad=1.5,
            color="black" if right else VERMILION,
        )
    return figure


def sensitivity(run: Homework) -> Figure:
    """Show the sensitivity of every explained image at the end of the training."""
    return _heatmaps(run, "sensitivity", f"Sensitivity: where a change would matter – {run.title}")


def deep_taylor(run: Homework) -> Figure:
    """Show the deep Taylor relevance of every explained image at the end of the training."""
    return _heatmaps(run, "deep_taylor", f"Deep Taylor: where the evidence is – {run.title}")


def masked(run: Homework) -> Figure:
    """Show images, and what is left of them where their heatmaps are strong."""
    chosen = list(range(min(run.count, 2 * _COLUMNS)))
    rows = -(-len(chosen) // _COLUMNS)
    title = f"Images masked by their heatmaps – {run.title}"
    figure = new_figure(title, run.origin, 0.7 + _TILE * _COLUMNS, 0.75 + 3 * rows * (_TILE + 0.06))
    parts = figure.subfigures(rows, 1, squeeze=False)[:, 0]
    final = {method: run.maps(method)[-1] for method in METHODS}
    for row, part in enumerate(parts):
        grid = part.subplots(3, _COLUMNS, squeeze=False)
        for axes in grid.flat:
            bare(axes)
        for column, sample in enumerate(chosen[row * _COLUMNS : (row + 1) * _COLUMNS]):
            picture = run.picture(sample)
            show_image(grid[0, column], picture)
            for axes, method in zip(grid[1:, column], METHODS, strict=True):
                show_image(axes, darkened(picture, final[method][sample]))
        for axes, name in zip(grid[:, 0], ["image", *METHODS.values()], strict=True):
            axes.set_ylabel(name, fontsize=8)
    return figure


def along_training(run: Homework) -> Figure:
    """Show both heatmaps of a few images at every checkpoint, each on its own scale with its sum below."""
    chosen, steps = run.different_classes(), run.iterations
    title = f"Explanations at every checkpoint – {run.title}"
    figure = new_figure(title, run.origin, max(8.2, 0.9 + 0.7 * (len(steps) + 1)), 0.9 + 1.66 * len(chosen))
    grid = figure.subplots(2 * len(chosen), len(steps) + 1, squeeze=False)
    maps = {method: run.maps(method) for method in METHODS}
    for number, sample in enumerate(chosen):
        for axes_row, (method, name) in zip(grid[2 * number : 2 * number + 2], METHODS.items(), strict=True):
            show_image(axes_row[0], run.picture(sample))
            axes_row[0].set_ylabel(f"{run.class_name(sample)}\n{name}", fontsize=7)
            for axes, values in zip(axes_row[1:], maps[method][:, sample], strict=True):
                show_amount(axes, values, limit_of(values))
                axes.set_xlabel(f"Σ = {short(float(values.sum(dtype=np.float64)))}", fontsize=6, labelpad=1.5)
    grid[0, 0].set_title("image", fontsize=8)
    for step, axes in zip(steps, grid[0, 1:], strict=True):
        axes.set_title(f"{step:,}", fontsize=8)
    return figure


def darkened(picture: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Return the picture, dark where the heatmap is weak: 0 at no relevance, unchanged from its 95th percentile on.

    The heatmap is first averaged over 3×3 pixels, as single pixels show nothing.
    """
    padded = np.pad(np.maximum(heatmap, 0), 1, mode="edge")
    height, width = heatmap.shape
    smooth = sum(padded[i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9
    weight = np.clip(smooth / (float(np.percentile(smooth, 95)) or 1.0), 0, 1)
    return (picture * (weight[..., None] if picture.ndim == 3 else weight)).astype(np.uint8)


def _heatmaps(run: Homework, method: str, title: str) -> Figure:
    figure, grid = _grid(title, run)
    for sample, (axes, values) in enumerate(zip(grid, run.maps(method)[-1], strict=True)):
        artist = show_amount(axes, values, limit_of(values))
        axes.set_xlabel(
            f"{run.class_name(sample, 12)}\nΣ = {short(float(values.sum(dtype=np.float64)))}",
            fontsize=7.5,
            labelpad=1.5,
        )
    bar = figure.colorbar(artist, ax=figure.axes, location="bottom", fraction=0.025, aspect=45, pad=0.015, shrink=0.6)
    bar.set_ticks(artist.get_clim(), labels=["0", "largest"])
    bar.set_label(f"{_LABELS[method]} (each image on its own scale)", fontsize=8)
    bar.outline.set_visible(False)
    return figure


def _grid(title: str, run: Homework) -> tuple[Figure, list]:
    rows = -(-run.count // _COLUMNS)
    figure = new_figure(title, run.origin, 0.4 + _TILE * _COLUMNS, 1.0 + rows * (_TILE + 0.31))
    grid = list(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
    for axes in grid:
        bare(axes)
    return figure, grid[: run.count]
