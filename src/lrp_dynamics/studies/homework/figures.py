"""The figures: the training, images and heatmaps, what its explanations conserve and when they settle."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from lrp_dynamics.base.style import BLUE, GREY, VERMILION, legend_above, new_figure
from lrp_dynamics.measures.similarity import cosine, similarity_to_last
from lrp_dynamics.studies.homework.maps import along_training, deep_taylor, evidence, masked, sensitivity
from lrp_dynamics.studies.homework.results import METHODS, Homework

__all__ = [
    "accuracy",
    "along_training",
    "conservation",
    "deep_taylor",
    "evidence",
    "masked",
    "sensitivity",
    "settling",
]

COLORS = {"sensitivity": VERMILION, "deep_taylor": BLUE}
_WINDOW = 50  # steps of the running mean


def accuracy(run: Homework) -> Figure:
    """Draw accuracy at the checkpoints, published values beside it where they are of the same data, and the loss."""
    figure = new_figure(f"Accuracy along training – {run.title}", run.origin, 8.6, 3.6)
    left, right = figure.subplots(1, 2)
    steps, values = run.accuracy["iteration"], run.accuracy["accuracy"]
    spread = 1.96 * np.sqrt(values * (1 - values) / run.accuracy["test_images"])
    ends = [np.minimum(spread, values), np.minimum(spread, 1 - values)]  # a share lies between 0 and 1
    left.errorbar(steps, values, ends, fmt="o-", color=BLUE, markersize=4, capsize=2, label="this run")
    if run.published:
        published = np.array(sorted(run.published.items()))
        left.plot(*published.T, "s--", color=VERMILION, markersize=4, fillstyle="none", label="published (literature)")
    classes = len(run.recordings["deep_taylor"].attrs["classes"])
    left.axhline(1 / classes, color=GREY, linestyle=":", label="chance")
    left.set(ylabel=f"accuracy on {run.accuracy['test_images'][-1]} test images", ylim=(-0.02, None))
    left.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    loss, iteration = run.training["loss"], run.training["iteration"]
    right.plot(iteration, loss, color=BLUE, alpha=0.25, linewidth=0.5, rasterized=True, label="each batch")
    if len(loss) >= 2 * _WINDOW:
        mean = np.convolve(loss, np.full(_WINDOW, 1 / _WINDOW), mode="valid")
        right.plot(iteration[_WINDOW - 1 :], mean, color=BLUE, label=f"mean of {_WINDOW} steps")
    untrained = np.log(1 + classes)  # all classes and the default class are equally likely
    right.axhline(untrained, color=GREY, linestyle=":", label=f"untrained: log {1 + classes}")
    right.set(ylabel="training loss (nats)", ylim=(0, 1.15 * max(untrained, np.quantile(loss, 0.99))))
    for axes in (left, right):
        axes.set_xlabel("training step")
        _log_steps(axes)
        legend_above(axes)
    return figure


def conservation(run: Homework) -> Figure:
    """Compare the sum of each heatmap with the evidence that it explains, at all checkpoints."""
    figure = new_figure(f"What the sum of a heatmap is – {run.title}", run.origin, 8.6, 3.7)
    for axes, (method, name) in zip(figure.subplots(1, 2), METHODS.items(), strict=True):
        recording = run.recordings[method]
        evidence = np.maximum(recording.scalar("logit").astype(np.float64), 0).ravel()
        total = recording.scalar("r_sum").astype(np.float64).ravel()
        axes.plot(evidence, total, ".", color=COLORS[method], markersize=3, alpha=0.5, rasterized=True)
        top = max(evidence.max(), 1e-9) * 1.05
        axes.plot([0, top], [0, top], color=GREY, linewidth=0.8, label="Σ = evidence")
        axes.set(title=name, xlabel="evidence for the class, max(0, y) (logit units)", xlim=(-0.02 * top, top))
        legend_above(axes)
    figure.axes[0].set_ylabel("Σ (∂y/∂x)²")
    figure.axes[1].set_ylabel("Σ R (logit units)")
    return figure


def settling(run: Homework) -> Figure:
    """Draw how similar the heatmaps of each checkpoint are to the last ones, and how far they move in between."""
    figure = new_figure(f"When explanations settle – {run.title}", run.origin, 10.2, 3.6)
    left, right = figure.subplots(1, 2)
    for method, name in METHODS.items():
        maps = run.maps(method)
        total = np.abs(maps).sum(axis=(2, 3), dtype=np.float64)
        empty = total == 0  # no evidence yet, hence no shape to compare
        _band(left, run.iterations, np.where(empty, np.nan, similarity_to_last(maps)), COLORS[method], name)
        others = np.median(cosine(maps[-1], np.roll(maps[-1], 1, axis=0)))
        left.axhline(others, color=COLORS[method], linestyle=":", label=f"{name}: heatmaps of two images")
        share = maps / np.where(empty, 1, total)[:, :, None, None]
        moved = np.abs(np.diff(share, axis=0)).sum(axis=(2, 3)) / 2
        moved[empty[1:] | empty[:-1]] = np.nan
        _band(right, run.iterations[1:], moved, COLORS[method], name)
    left.set(title="similarity to the last heatmap", ylabel="cosine", ylim=(None, 1.03))
    right.set(title="change since the checkpoint before", ylabel="share of the heatmap that moved", ylim=(0, None))
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axes in (left, right):
        axes.set_xlabel("training step")
        _log_steps(axes)
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _band(axes, steps: np.ndarray, values: np.ndarray, color: str, name: str) -> None:
    known = ~np.isnan(values).all(axis=1)
    low, middle, high = np.full((3, len(steps)), np.nan)
    low[known], middle[known], high[known] = np.nanquantile(values[known], [0.25, 0.5, 0.75], axis=1)
    axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    axes.plot(steps, middle, "o-", color=color, markersize=3.5, label=f"{name}: median, quartiles")


def _log_steps(axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
