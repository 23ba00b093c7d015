"""The figure of a hyper-parameter search."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lrp_dynamics.base.names import literal
from lrp_dynamics.base.style import BLUE, VERMILION, legend_above, new_figure


def draw_search(table: Mapping[str, np.ndarray], keys: Sequence[str], experiment: str, dataset: str) -> Figure:
    """Draw the validation accuracy of each trial against the values that it took, of keys with several values."""
    keys = [key for key in keys if len(np.unique(table[key])) > 1] or list(keys)
    accuracy, trials = table["validation_accuracy"], len(table["trial"])
    width = 0.8 + 2.6 * max(2, len(keys))
    origin = f"{experiment} · dataset {dataset} · {trials} trials, one dot each"
    figure = new_figure(f"Search for hyper-parameters – {experiment}", origin, width, 3.2)
    row = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
    for axes, key in zip(row, keys, strict=True):
        positions, values = table[key], np.unique(table[key])
        if len(values) <= 5 or values.dtype.kind not in "iuf":
            axes.set_xticks(
                range(len(values)), [literal(str(value), 40) for value in values], fontsize=8 if len(values) < 4 else 7
            )
            axes.margins(x=0.3)
            positions = np.searchsorted(values, positions)
        elif values[0] > 0 and values[-1] >= 20 * values[0]:
            axes.set_xscale("log")
        axes.plot(positions, accuracy, "o", color=BLUE, markersize=5)
        axes.plot(positions[:1], accuracy[:1], "o", color=VERMILION, markersize=9, fillstyle="none", label="best")
        axes.set_xlabel(key)
    row[0].set_ylabel("validation accuracy")
    row[0].yaxis.set_major_formatter(PercentFormatter(1))
    legend_above(row[0])
    return figure
