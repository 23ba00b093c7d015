"""Figures of a VGG-11 experiment: how it trained, what it confuses, and what its decisions rest on."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lrp_dynamics.base.names import literal
from lrp_dynamics.base.style import (
    BLUE,
    GREEN,
    VERMILION,
    bare,
    ink_on,
    legend_above,
    limit_of,
    new_figure,
    short,
    show_amount,
    show_image,
)
from lrp_dynamics.data.pictures import as_picture
from lrp_dynamics.studies.vgg11.results import METHODS, MISTAKES, Results

COLORS = {"all": BLUE, "top_k": VERMILION}


def training(run: Results) -> Figure:
    """Draw loss and accuracy of training batches and of the images held out, and where the network was best."""
    figure = new_figure(f"Training and validation – {run.title}", run.origin, 8.6, 3.4)
    epochs, log, validation = run.training["epoch"], run.training, run.validation
    best = int(validation["best"].argmax())
    window = max(1, min(50, len(epochs) // 10)) | 1
    middle = slice(window // 2, len(epochs) - window // 2)
    for axes, column, name, color in zip(
        figure.subplots(1, 2),
        ("loss", "accuracy"),
        ("cross-entropy (nats)", "accuracy"),
        (BLUE, GREEN),
        strict=True,
    ):
        values, measured = log[column], validation[column]
        axes.plot(epochs, values, color=color, alpha=0.25, linewidth=0.5, rasterized=True, label="each training batch")
        mean = np.convolve(values, np.full(window, 1 / window), mode="valid")
        axes.plot(epochs[middle], mean, color=color, label=f"mean of {window} batches")
        axes.plot(validation["epoch"], measured, "o-", color="black", markersize=3.5, linewidth=1, label="validation")
        axes.plot(
            validation["epoch"][best],
            measured[best],
            "o",
            color=VERMILION,
            markersize=8,
            fillstyle="none",
            markeredgewidth=1.6,
            label="best: these weights are kept",
        )
        axes.set(xlabel="epochs", ylabel=name)
        legend_above(axes, 2)
    left, right = figure.axes
    left.set_ylim(0, 1.1 * max(np.quantile(log["loss"], 0.99), validation["loss"][best]))
    right.set_ylim(max(0, np.quantile(log["accuracy"], 0.02) - 0.05), 1.01)  # as on the left, not its first steps
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def confusion(run: Results) -> Figure:
    """Draw how many images of each class were taken for each class; the colour is the share of the class's images."""
    names, counts = [literal(name, 40) for name in run.classes["class"]], _counts(run)
    size = len(names)
    figure = new_figure(f"Confusion matrix – {run.title}", run.origin, 2.4 + 0.52 * size, 1.6 + 0.44 * size)
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # The square root, so that a confusion of one in a hundred shows beside a diagonal of nearly all.
    artist = axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    for row in range(size):
        for column in range(size):
            if counts[row, column]:
                ink = ink_on(artist.to_rgba(np.sqrt(share[row, column])))
                axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", fontsize=7.5, color=ink)
    axes.set_xticks(range(size), names, rotation=45 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(range(size), names)
    axes.set(xlabel="taken for", ylabel="class")
    axes.grid(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(artist, ax=axes, label="share of the class's images")
    ticks = np.array([0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.set_ticks(np.sqrt(ticks), labels=[f"{tick:.0%}" for tick in ticks])
    return figure


def _counts(run: Results) -> np.ndarray:
    return np.stack([run.confusion[f"as_{name}"] for name in run.classes["class"]], axis=1)


def mistakes(run: Results) -> Figure:
    """Show the misclassified test images that the network was most certain about."""
    count, columns = len(run.pictures), 10
    rows = max(1, -(-count // columns))
    total = len(run.mistakes["index"])
    title = f"The most certain of {total:,} mistakes – {run.title}" if total else f"No mistakes – {run.title}"
    figure = new_figure(title, run.origin, 8.6, 0.75 + 1.24 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for number, axes in enumerate(grid.flat):
        bare(axes)
        if number < min(count, MISTAKES):
            show_image(axes, as_picture(run.pictures[number]))
            label, predicted = (run.class_name(int(run.mistakes[name][number]), 12) for name in ("label", "predicted"))
            share = f"{run.mistakes['probability'][number]:.1%}".replace("%", " %")
            axes.set_xlabel(f"{label}\nas {predicted}\n{share}", fontsize=7)
    return figure


def relevance(run: Results) -> Figure:
    """Show test images beside their relevance maps, with all relevance and with the largest alone."""
    count = min(run.show, run.first.map_samples)
    width = max(6.5, 0.7 + 1.02 * count)  # room for the title
    figure = new_figure(f"Relevance with and without the filter – {run.title}", run.origin, width, 4.1)
    grid = figure.subplots(3, count, squeeze=False)
    labels, predicted = run.first.sample("label"), run.first.scalar("predicted")[0]
    for sample, axes in enumerate(grid[0]):
        show_image(axes, run.picture(sample))
        right = predicted[sample] == labels[sample]
        name, label = (run.class_name(int(values[sample]), 14) for values in (predicted, labels))
        axes.set_title(name if right else f"{name}\n(is {label})", fontsize=8, color="black" if right else VERMILION)
    for row, method in zip(grid[1:], METHODS, strict=True):
        for axes, values in zip(row, run.maps(method)[:count], strict=True):
            artist = show_amount(axes, values, limit_of(values))
            axes.set_xlabel(f"Σ = {short(float(values.sum(dtype=np.float64)))}", fontsize=7, labelpad=2)
    for axes, name in zip(grid[:, 0], ["image", *METHODS.values()], strict=True):
        axes.set_ylabel(name, fontsize=8)
    bar = figure.colorbar(artist, ax=grid[:, -1], fraction=0.08, aspect=30)
    bar.set_ticks(artist.get_clim(), labels=["0", "largest"])
    bar.outline.set_visible(False)
    return figure


def concentration(run: Results) -> Figure:
    """Draw how much of the relevance the strongest pixels hold, and how much arrives at the pixels at all."""
    figure = new_figure(f"How concentrated the relevance is – {run.title}", run.origin, 8.6, 3.4)
    left, right = figure.subplots(1, 2)
    for row, (method, name) in enumerate(METHODS.items()):
        flat = run.maps(method).reshape(run.first.map_samples, -1).astype(np.float64)
        order = -np.sort(-np.abs(flat), axis=1)
        held = np.cumsum(order, axis=1) / np.maximum(order.sum(1, keepdims=True), 1e-300)
        share = np.arange(1, held.shape[1] + 1) / held.shape[1]
        low, middle, high = np.quantile(held, [0.25, 0.5, 0.75], axis=0)
        left.fill_between(share, low, high, color=COLORS[method], alpha=0.25, linewidth=0)
        left.plot(share, middle, color=COLORS[method], label=f"{name}: median, quartiles")
        arrived = run.recordings[method].scalar("r_sum")[0] / run.recordings[method].scalar("initial")[0]
        arrived = np.maximum(arrived, 1e-12)  # the axis is logarithmic
        # Beside each other instead of on top of each other, without random numbers.
        spread = 0.5 * (np.argsort(np.argsort(arrived)) * 0.618034 % 1) - 0.25
        right.plot(arrived, row + spread, ".", color=COLORS[method], markersize=4, alpha=0.7)
    left.set(
        xlabel="share of the pixels, strongest first", ylabel="share of the relevance", xlim=(0, 1), ylim=(0, 1.02)
    )
    legend_above(left, 1)
    right.set(xlabel="share of the relevance that arrives", xscale="log", ylim=(1.6, -0.6))
    right.set_xlim(None, 2)
    right.set_yticks(range(len(METHODS)), METHODS.values())
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure
