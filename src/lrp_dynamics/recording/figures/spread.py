"""Figures of the dynamics themselves: of single samples, and how divergence is distributed over all."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from scipy.stats import median_abs_deviation, norm

from lrp_dynamics.base.style import (
    BLUE,
    GREY,
    VERMILION,
    legend_above,
    limit_of,
    new_figure,
    short,
    show_amount,
    show_signed,
)
from lrp_dynamics.recording.figures.run import Run, show_tile


def dynamics_maps(run: Run, samples: Sequence[int] | None = None) -> Figure:
    """Show samples with their relevance and dynamics maps; at evenly spaced ranks of divergence, unless told which."""
    chosen = run.by_divergence(run.show) if samples is None else samples
    figure = new_figure(f"Dynamics of single samples – {run.title}", run.origin, 8.6, 0.65 + 1.36 * len(chosen))
    grid = figure.subplots(len(chosen), 5, squeeze=False)
    titles = ["sample", "relevance at the end", "mean |relevance|", "Dynamics", "normalised Dynamics"]
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title)
    for sample, row in zip(chosen, grid, strict=True):
        show_tile(row[0], run, sample)
        row[0].set_ylabel(_name(run, sample), fontsize=8)
        final = run.recording.maps(-1, sample)
        limit = limit_of(final)
        _bar(figure, row[1], show_signed(row[1], final, limit), [-limit, 0, limit])
        for axes, values in zip(row[2:], (run.mean_abs_relevance, run.dynamics, run.dynamics_normalized), strict=True):
            limit = limit_of(values[sample])
            _bar(figure, axes, show_amount(axes, values[sample], limit), [0, limit])
    return figure


def differences(run: Run) -> Figure:
    """Draw the step divergence of single samples along the training, and maps of single steps."""
    chosen = run.by_divergence(run.show)
    steps = run.scalar("step_divergence")
    last = run.recording.steps - 1
    figure = new_figure(
        f"Individual differences $|R_i - R_{{i+1}}|$ – {run.title}", run.origin, 8.6, 0.9 + 1.3 * len(chosen)
    )
    grid = figure.subplots(len(chosen), 5, squeeze=False, width_ratios=[3.2, 1, 1, 1, 1])
    for sample, row in zip(chosen, grid, strict=True):
        worst = 1 + int(steps[1:, sample].argmax())
        shown = sorted({max(1, last // 10), max(1, last // 2), last})[:3]
        row[0].plot(run.iteration[1:], steps[1:, sample], color=BLUE, linewidth=0.6, rasterized=True)
        if (steps[1:, sample] > 0).any():
            row[0].set_yscale("log")
            _few_ticks(row[0].yaxis, steps[1:, sample])
        row[0].plot(run.iteration[worst], steps[worst, sample], "o", color=VERMILION, markersize=5, fillstyle="none")
        row[0].set_ylabel(_name(run, sample), fontsize=8)
        pairs = {record: run.recording.maps(slice(record - 1, record + 1), sample) for record in {*shown, worst}}
        changes = {record: np.abs(np.diff(maps.astype(np.float64), axis=0)[0]) for record, maps in pairs.items()}
        for axes, record in zip(row[1:], [worst, *shown, *[None] * (3 - len(shown))], strict=True):
            if record is None:
                axes.set_axis_off()
                continue
            limit = limit_of(changes[record])
            _bar(figure, axes, show_amount(axes, changes[record], limit), [0, limit])
            axes.set_title(
                f"{'○ ' if axes is row[1] else ''}{run.iteration[record - 1]} → {run.iteration[record]}",
                fontsize=8,
                color=VERMILION if axes is row[1] else "black",
            )
    grid[0, 0].set_title(f"step divergence ({run.amount}), ○ largest")
    grid[-1, 0].set_xlabel("training step")
    return figure


def _few_ticks(axis: Axis, values: np.ndarray) -> None:
    """Set ticks of a logarithmic axis: decades, parts of them, or, where values are close together, steady ones."""
    positive = values[values > 0]
    decades = np.log10(positive.max() / positive.min()) if len(positive) else 0
    axis.set_major_locator(
        LogLocator(numticks=5)
        if decades > 2
        else LogLocator(subs=(1, 2, 5), numticks=5)
        if decades > 0.7
        else MaxNLocator(3)
    )
    digits = 1 if decades > 0.7 else 2
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value, digits)))
    axis.set_minor_formatter(NullFormatter())


def divergence(run: Run) -> Figure:
    """Draw the distribution of divergence with flagged outliers, on a linear and on a logarithmic axis."""
    values = run.samples["divergence"]
    positive = values[values > 0]
    if not len(positive):
        figure = new_figure(f"Divergence of {len(values)} samples – {run.title}", run.origin, 8.6, 1.5)
        figure.text(0.5, 0.5, "No map of any sample changed: every divergence is 0.", ha="center", va="center")
        return figure
    logs = np.log(positive)
    centre, spread = np.median(logs), median_abs_deviation(logs, scale="normal")
    cut = None if run.outliers is None else float(run.outliers["threshold"][0])
    figure = new_figure(f"Divergence of {len(values)} samples – {run.title}", run.origin, 8.6, 4.1)
    left, right = figure.subplots(1, 2)
    bins = max(10, int(2 * np.sqrt(len(positive))))
    low, high = logs.min(), max(logs.max(), centre + (cut or 0) * spread)
    right.set_xscale("log")
    for axes, edges in (
        (left, np.linspace(0, np.exp(high), bins + 1)),
        (right, np.exp(np.linspace(low - 0.02 * (high - low), high, bins + 1))),
    ):
        edges[-1] = max(edges[-1], positive.max())  # exp(log(x)) can be a little less than x
        axes.hist(positive, edges, color=BLUE, alpha=0.55, edgecolor="white", linewidth=0.4, label="samples")
        expected = len(positive) * np.diff(norm.cdf(np.log(np.maximum(edges, 1e-300)), centre, max(spread, 1e-9)))
        axes.stairs(expected, edges, color="black", linestyle="--", label="log-normal of same median and MAD")
        if cut is not None:
            at, name = np.exp(centre + cut * spread), f"threshold: z = {cut:.3g}"
            axes.axvline(at, color=VERMILION, linestyle=":", label=name)
        axes.set(xlim=(edges[0], edges[-1] * 1.03))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        if cut is not None:
            _mark_flagged(axes, run)
    ticks = range(1, 10) if high - low < 1.5 else (1, 2, 5) if high - low < 5 else (1,)
    right.xaxis.set_major_locator(LogLocator(subs=ticks))
    right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value, 1 if high - low > 0.5 else 3)))
    right.xaxis.set_minor_formatter(NullFormatter())
    left.set(xlabel=f"divergence ({run.amount}), linear axis", ylabel="number of samples")
    right.set_xlabel(f"divergence ({run.amount}), logarithmic axis")
    if cut is not None and not run.outliers["flagged"].any():
        left.plot([], [], " ", label="no sample is flagged")
    legend_above(left, 2)
    return figure


def _mark_flagged(axes: Axes, run: Run) -> None:
    """Mark flagged samples on the axis; the five largest with their index in the dataset."""
    for kind, marker, color in (("persistent", "^", VERMILION), ("numerical", "X", GREY)):
        at = run.outliers["divergence"][run.outliers["kind"] == kind]
        if len(at):
            label = f"flagged, {kind}: {len(at)}"
            axes.plot(at, np.zeros(len(at)), marker, color=color, clip_on=False, label=label, zorder=5)
    flagged = run.outliers["flagged"] == 1
    for index, value in zip(*(run.outliers[name][flagged][:5] for name in ("index", "divergence")), strict=True):
        axes.annotate(
            str(index),
            (value, 0),
            (0, 8),
            textcoords="offset points",
            ha="center",
            va="bottom",
            rotation=90,
            fontsize=7,
        )


def _name(run: Run, sample: int) -> str:
    value = short(float(run.samples["divergence"][sample]), 3)
    return f"{run.class_name(sample)}\nrank {run.rank(sample)}, div. {value}"


def _bar(figure: Figure, axes: Axes, artist, ticks: list[float]) -> None:
    bar = figure.colorbar(artist, ax=axes, fraction=0.046, pad=0.03)
    bar.set_ticks(ticks, labels=[short(tick) for tick in ticks])
    bar.ax.tick_params(labelsize=6, length=2)
    bar.outline.set_visible(False)
