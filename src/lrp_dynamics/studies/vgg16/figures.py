"""The figures: images and maps, and measures of the explanations."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrp_dynamics.base.names import literal
from lrp_dynamics.base.style import GREY, legend_above, new_figure
from lrp_dynamics.studies.vgg16.maps import activations, composites, contrast, layers, predictions
from lrp_dynamics.studies.vgg16.results import PhotoRun

__all__ = [
    "absorption",
    "activations",
    "composites",
    "contrast",
    "flipping",
    "layers",
    "localisation",
    "mprt",
    "predictions",
]


def absorption(run: PhotoRun) -> Figure:
    """Show how much of the explained logit is left after each layer on the way from the output to the pixels."""
    figure = new_figure(f"What the layers absorb – {literal(run.title)}", literal(run.origin), 8.2, 3.6)
    axes = figure.subplots()
    names: list[str] = []
    for method in run.composites:
        layers, shares = run.absorbed(method)
        left = 1 - np.cumsum(shares, 1)
        names = layers if len(layers) > len(names) else names
        x = [names.index(name) + 1 if name in names else np.nan for name in layers]
        _band(axes, np.array([0, *x]), np.column_stack([np.ones(len(left)), left]), run, method)
    axes.set_xticks(range(len(names) + 1), ["logit", *names], rotation=60, ha="right", fontsize=6.5)
    axes.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_ylabel("relevance left / explained logit")
    axes.set_xlabel("layers, from the output to the pixels")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def flipping(run: PhotoRun) -> Figure:
    """Show the mean loss of the logit while regions are replaced, and the area between both orders."""
    figure = new_figure(f"Pixel flipping – {literal(run.title)}", literal(run.origin), 8.6, 4.2)
    curves, areas = figure.subplots(1, 2, width_ratios=[1.5, 1])
    fraction = 100 * run.flipped()
    for method in run.methods:
        for order, style in (("morf", "-"), ("lerf", "--")):
            scores = run.flipping(method, order)
            curves.plot(fraction, (scores - scores[:, :1]).mean(0), style, color=run.colour(method))
        curves.plot([], [], color=run.colour(method), label=run.spoken(method))
    curves.plot([], [], "-", color="k", label="most relevant first")
    curves.plot([], [], "--", color="k", label="least relevant first")
    curves.set_xlabel("regions replaced (%)")
    curves.set_ylabel("change of the logit\n(mean over images)")
    curves.yaxis.set_major_formatter(_plain)
    legend_above(curves, 2, fontsize=7)
    _strip(areas, run, "abpc", "ABPC (logit units)")
    return figure


def mprt(run: PhotoRun) -> Figure:
    """Show how similar maps stay while more and more layers get random weights."""
    figure = new_figure(f"Randomised weights – {literal(run.title)}", literal(run.origin), 8.2, 3.6)
    axes = figure.subplots()
    names: list[str] = []
    for method in run.methods:
        names, correlations = run.mprt(method)
        values = np.vstack([np.ones(correlations.shape[1]), correlations])
        _band(axes, np.arange(len(values)), values.T, run, method)
    axes.set_xticks(range(len(names) + 1), ["none", *names], rotation=60, ha="right", fontsize=6.5)
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_ylim(min(-0.1, axes.get_ylim()[0]), 1.03)
    axes.set_ylabel("rank correlation of |relevance|\nwith that of the trained network")
    axes.set_xlabel("weights random from the output down to this layer")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def localisation(run: PhotoRun) -> Figure:
    """Show what share of the positive relevance lies in the object."""
    figure = new_figure(f"Relevance in the object – {literal(run.title)}", literal(run.origin), 7.4, 3.0)
    axes = figure.subplots()
    _strip(axes, run, "mass_accuracy", "positive relevance in the object (share)")
    area = float(np.median(run.measures["object_area"]))
    axes.axvline(area, color="k", linewidth=1, linestyle=":")
    axes.annotate("object's area", (area, 1.02), xycoords=("data", "axes fraction"), fontsize=7, ha="center")
    # Dots at the ends are whole: a map may lie in the object altogether, or not at all.
    axes.set_xlim(-0.015, 1.015)
    return figure


def _band(axes: Axes, x: np.ndarray, values: np.ndarray, run: PhotoRun, method: str) -> None:
    """Draw the median over the images (rows), and the middle half of them."""
    columns = [column[np.isfinite(column)] for column in values.T]  # where maps have no variation there is no rank
    low, middle, high = np.array([np.percentile(c, [25, 50, 75]) if len(c) else [np.nan] * 3 for c in columns]).T
    axes.plot(x, middle, "o-", markersize=3, color=run.colour(method), label=run.spoken(method))
    axes.fill_between(x, low, high, color=run.colour(method), alpha=0.15, linewidth=0)


def _plain(value: float, _: int) -> str:
    """Return a tick's label that needs no power of ten at the end of the axis."""
    return f"{value:g}".replace("-", "−")


def _strip(axes: Axes, run: PhotoRun, name: str, label: str) -> None:
    """Draw one dot an image and the median, one row a method."""
    for row, method in enumerate(run.methods):
        values = run.values(method, name)
        jitter = 0.24 * np.sin(np.arange(len(values)) * 2.4)  # the same each time
        axes.plot(values, row + jitter, ".", markersize=3, color=run.colour(method), alpha=0.5)
        if np.isfinite(values).any():
            axes.plot([np.nanmedian(values)] * 2, [row - 0.36, row + 0.36], color="k", linewidth=1.6)
    axes.set_yticks(range(len(run.methods)), [run.spoken(method) for method in run.methods], fontsize=7.5)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlabel(label)
    axes.xaxis.set_major_formatter(_plain)
    if name == "abpc":
        axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
