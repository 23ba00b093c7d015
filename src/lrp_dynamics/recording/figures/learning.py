"""Figures of the learning itself: samples, loss, predictions, and the sum of relevance beside them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrp_dynamics.base.style import BLUE, GREEN, SKY, VERMILION, bare, legend_above, new_figure
from lrp_dynamics.recording.figures.run import Run, show_tile

_STEP = "training step"
_LINES = 500  # in a panel
_FAR = 20  # between amounts that one axis does not show together


def samples(run: Run) -> Figure:
    """Show the fixed samples with their classes; the names of those misclassified after the training are coloured."""
    count = min(len(run.samples["index"]), 100)
    columns = min(count, 12)  # more would leave no room for names of a size that can be read
    rows = -(-count // columns)
    width = 8.6
    height = 0.7 + width / max(columns, 10) * 1.16 * rows
    figure = new_figure(f"The {count} fixed samples – {run.title}", run.origin, width, height)
    figure.set_layout_engine("none")  # a hundred axes would keep it busy for seconds
    sides = {"left": 0.012, "right": 0.985, "top": 1 - 0.36 / height, "bottom": 0.45 / height}
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw=sides | {"wspace": 0.12, "hspace": 0.26})
    for sample, axes in enumerate(grid.flat):
        bare(axes)
        if sample < count:
            show_tile(axes, run, sample)
            axes.set_xticks([])
            wrong = not run.samples["correct"][sample]
            axes.set_xlabel(
                run.class_name(sample, 11),
                fontsize=7.5,
                labelpad=2,
                color=VERMILION if wrong else "black",
                fontweight="bold" if wrong else "normal",
            )
    return figure


def training_loss(run: Run) -> Figure:
    """Draw loss and, where it is known, accuracy of each training batch, and their running means."""
    figure = new_figure(f"Training loss – {run.title}", run.origin, 8.6, 3.2)
    step = run.training["iteration"]
    shown = (("loss", run.loss, BLUE), ("accuracy", "accuracy (share of the batch)", GREEN))
    shown = [(column, *rest) for column, *rest in shown if column in run.training]
    each, many = ("each training batch", "batches") if run.batches else ("as recorded", "values")
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for panel, (column, name, color) in zip(axes, shown, strict=True):
        values, window = run.training[column], max(1, min(50, len(step) // 10)) | 1
        panel.plot(step, values, color=color, alpha=0.35, linewidth=0.7, label=each)
        mean = np.convolve(values, np.ones(window) / window, mode="valid")
        middle = step[window // 2 : len(step) - window // 2]
        if window > 1:
            panel.plot(middle, mean, color="black", linewidth=1.3, label=f"mean of {window} {many}")
        panel.set(xlabel=_STEP, ylabel=name)
        legend_above(panel)
    if run.training["loss"].min() >= 0:
        axes[0].set_ylim(bottom=0)
    if len(axes) > 1:
        axes[1].set_ylim(0, 1.02)
    return figure


def lines(axes: Axes, x: np.ndarray, values: np.ndarray, color: str) -> None:
    """Draw one thin line per sample, of very many only each so-manieth, and the median over samples."""
    drawn = values[:, :: -(-values.shape[1] // _LINES)]
    axes.plot(x, drawn, color=color, alpha=0.2, linewidth=0.5, rasterized=True)
    axes.plot(x, np.median(values, axis=1), color="black", linewidth=1.4, label="median of the samples")


def prediction_and_relevance(run: Run) -> Figure:
    """Draw P_i - P_0 beside R_i - R_0 for all samples."""
    prediction, relevance = run.scalar("logit"), run.scalar("r_sum")
    count, first = prediction.shape[1], run.iteration[0]
    index = first if first < 10 else f"{{{first}}}"
    figure = new_figure(f"Prediction and relevance of {count} samples – {run.title}", run.origin, 8.6, 3.6)
    moved = prediction - prediction[0], relevance - relevance[0]
    left, right = figure.subplots(1, 2, sharey=_alike(*moved))
    lines(left, run.iteration, moved[0], BLUE)
    lines(right, run.iteration, moved[1], VERMILION)
    if not _alike(*moved):
        right.set_ylabel("change of the sum of the map")
    left.set(
        xlabel=_STEP,
        ylabel=f"change since step {first} ({run.amount})",
        title=rf"prediction  $P_i - P_{index}$  ({run.output})",
    )
    right.set(xlabel=_STEP, title=rf"relevance  $R_i - R_{index}$  (sum over the map)")
    for axes in (left, right):
        legend_above(axes)
    return figure


def _alike(*amounts: np.ndarray) -> bool:
    """Whether amounts can be compared on one axis."""
    low, high = sorted(np.abs(values).max(initial=0) for values in amounts)
    return bool(high <= _FAR * low) or low == 0 == high


def step_changes(run: Run) -> Figure:
    """Draw |P_i - P_{i+1}|, where outputs are known, beside |R_i - R_{i+1}| for all samples."""
    shown = [("r_sum", VERMILION, r"relevance  $|R_i - R_{i+1}|$  (of the sums over the maps)")]
    if run.recording.tells_output:
        shown.insert(0, ("logit", BLUE, r"prediction  $|P_i - P_{i+1}|$"))
    changes = [np.abs(np.diff(run.scalar(name), axis=0)) for name, *_ in shown]
    figure = new_figure(f"Changes from step to step – {run.title}", run.origin, 8.6, 3.6)
    panels = figure.subplots(1, len(shown), sharey=_alike(*changes[:1], *changes[-1:]), squeeze=False)[0]
    for axes, values, (_, colour, title) in zip(panels, changes, shown, strict=True):
        lines(axes, run.iteration[1:], values, colour)
        axes.set(xlabel=_STEP, title=title)
    for axes in panels:
        axes.set_ylim(bottom=0)
        legend_above(axes)
    panels[0].set_ylabel(f"change in one step ({run.amount})")
    return figure


def conservation(run: Run) -> Figure:
    """Draw sum R against the relevance put in, and how far they are apart along the training."""
    initial, total, absorbed, mass = (run.scalar(name) for name in ("initial", "r_sum", "absorbed", "r_abs_sum"))
    size = np.maximum(np.maximum(np.abs(initial), mass), np.finfo(np.float32).tiny)
    figure = new_figure(f"Conservation of relevance – {run.title}", run.origin, 8.6, 3.9)
    left, right = figure.subplots(1, 2)
    ends = np.array([initial.min(), initial.max()])
    if _alike(initial, total):  # else the line would leave no width to the dots
        ends = np.array([min(ends[0], total.min()), max(ends[1], total.max())])
    left.plot(ends, ends, color="black", linewidth=0.8, label="conserved exactly", zorder=3)  # over the dots
    left.plot(initial.ravel(), total.ravel(), ".", color=BLUE, markersize=2, alpha=0.3, rasterized=True)
    left.plot([], [], ".", color=BLUE, label="a sample at a training step")
    left.set(xlabel=f"relevance put in at the output ({run.amount})", ylabel=f"sum of the relevance map ({run.amount})")
    legend_above(left, 1)
    floor = 1e-9  # a logarithmic axis has no zero
    rest = np.abs(initial - total - absorbed)
    rounding = (rest / size).max() < 1e-3  # attributions of others do not tell what they absorb
    curves = (
        (np.abs(initial - total), "put in − sum of the map", VERMILION, "-"),
        (np.abs(absorbed), "absorbed (bias, stabilizer, dead units)", "black", ":"),
        (rest, "unaccounted (rounding)" if rounding else "unaccounted", SKY, "-"),
    )
    for difference, name, color, line in curves:
        worst = np.maximum((difference / size).max(axis=1), floor)
        right.semilogy(run.iteration, worst, color=color, linestyle=line, label=name)
    right.set(xlabel=_STEP, ylabel="largest share of |relevance|", ylim=(floor, None))
    right.set_ylim(floor / 1.5, max(right.get_ylim()[1], 1e-4))
    legend_above(right, 1)
    return figure
