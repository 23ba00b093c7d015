"""The figure of a hyper-parameter search."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lrp_dynamics.figures.style import BLUE, VERMILION, new_figure


def vgg11_search(table: Mapping[str, np.ndarray], keys: Sequence[str], experiment: str) -> Figure:
    """Draw the validation accuracy of each trial against the value of each key that it took."""
    trials = len(table["trial"])
    title = f"Search for hyper-parameters – {experiment}"
    figure = new_figure(title, f"{experiment} · {trials} trials · one dot a trial", 0.8 + 2.6 * max(2, len(keys)), 3.2)
    row = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    accuracy = table["validation_accuracy"]
    for axes, key in zip(row, keys, strict=True):
        values = table[key]
        if values.dtype.kind in "iuf":
            positions = values
            if values.min() > 0 and values.max() >= 20 * values.min():
                axes.set_xscale("log")
        else:
            names, positions = np.unique(values, return_inverse=True)
            axes.set_xticks(range(len(names)), names)
            axes.margins(x=0.25)
        axes.plot(positions, accuracy, "o", color=BLUE, markersize=5)
        axes.plot(positions[:1], accuracy[:1], "o", color=VERMILION, markersize=9, fillstyle="none", label="best")
        axes.set_xlabel(key)
    row[0].set_ylabel("validation accuracy")
    row[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    row[0].legend(loc="best")
    return figure
