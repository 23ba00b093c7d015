"""Figures of several recordings beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from scipy.stats import rankdata

from lrp_dynamics.base.names import literal
from lrp_dynamics.base.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SIGNED,
    SKY,
    VERMILION,
    limit_of,
    new_figure,
    short,
    show_amount,
    show_signed,
)
from lrp_dynamics.recording.figures.run import Run, show_tile
from lrp_dynamics.recording.store import UNKNOWN

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, SKY, GREY, "black")
LINES = ("-", "--", ":")
MOST = 5  # recordings whose maps are shown beside each other
MOST_PAIRS = 15  # in a legend
_ROWS = 6
_TILE = 0.95  # inches


@dataclass(frozen=True)
class Several:
    """Recordings, open, and what is known of them together.

    Attributes
    ----------
    names : list of str
    runs : list of Run
    positions : ndarray i8 (recordings, n)
        Of the n samples that all have, where they are in each.
    correlations : dict
        Spearman's correlation of divergence, of each pair.
    similarity : dict
        See `lrp_dynamics.reports.study.comparing.along`.
    """

    names: Sequence[str]
    runs: Sequence[Run]
    positions: np.ndarray
    correlations: Mapping[tuple[int, int], float]
    similarity: Mapping[tuple[int, int], Mapping[str, np.ndarray]]

    @property
    def origin(self) -> str:
        """What all recordings have in common, in one line."""
        attrs = [run.recording.attrs for run in self.runs]
        forms = {"model": "{}", "composite": "rules: {}", "seed": "seed {}"}
        shared = {name: attrs[0][name] for name in forms if len({str(a[name]) for a in attrs}) == 1}
        parts = [forms[name].format(literal(str(value))) for name, value in shared.items() if value != UNKNOWN]
        titles = {run.title for run in self.runs}
        names = ", ".join(self.label(number) for number in range(min(MOST, len(self.runs))))
        count = f"{len(self.runs)} recordings: {names}{', …' if len(self.runs) > MOST else ''}"
        return " · ".join([*(titles if len(titles) == 1 else ()), *parts, count])

    def label(self, number: int) -> str:
        """Return the name of a recording as matplotlib shows it."""
        return literal(self.names[number], 30)


def curves_compared(several: Several) -> Figure:
    """Draw output, relevance and step divergence of every recording along its training: medians over its samples."""
    figure = new_figure("Along training: medians over samples", several.origin, 8.6, 3.5)
    names = {"logit": "explained output", "r_abs_sum": "Σ |relevance| of the map", "step_divergence": "step divergence"}
    if not any(run.recording.tells_output for run in several.runs):
        del names["logit"]
    axes = figure.subplots(1, len(names))
    for panel, (key, name) in zip(axes, names.items(), strict=True):
        highest, drawn = [], []
        for number, run in enumerate(several.runs):
            if key == "logit" and not run.recording.tells_output:
                continue
            first = int(key == "step_divergence" and run.recording.steps > 1)
            values = np.median(run.scalar(key)[first:], axis=1)
            highest.append(values.max())
            drawn.append((run.iteration[first:], values))
            above = len(several.runs) - 1 - number
            panel.plot(*drawn[-1], label=several.label(number), **_line(number, len(values), above))
        if len(drawn) > 1 and all(np.array_equal(drawn[0], other) for other in drawn[1:]):
            name += "\n(the same in all)"
        if key != "logit" and max(highest) > 10 * min(highest) > 0:
            panel.set_yscale("log")
        panel.set(xlabel="training step", title=name)
    axes[0].set_ylabel(" / ".join(sorted({run.amount for run in several.runs})))
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower right", ncols=min(4, len(several.runs)))
    return figure


def _line(number: int, points: int, above: int = 0) -> dict:
    """Return how the n-th line is drawn; one with lines above it is wider than they are, or shows between dashes."""
    style = {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number % len(LINES)]}
    style |= {"linewidth": 1.2 + 0.6 * min(above, 4)}
    return style | ({"marker": "o"} if points < 3 else {})


def maps_compared(several: Several) -> Figure:
    """Show the same samples in every recording: the map of the last record, and the Dynamics."""
    count = min(len(several.runs), MOST)
    rows = shown_samples(several, count)
    figure = new_figure(
        "The same samples beside each other", several.origin, 1.2 + _TILE * (1 + 2 * count), 1.1 + 1.1 * len(rows)
    )
    grid = figure.subplots(len(rows), 1 + 2 * count, squeeze=False)
    for at, row in zip(rows, grid, strict=True):
        first = several.runs[0]
        show_tile(row[0], first, int(several.positions[0, at]))
        row[0].set_ylabel(first.class_name(int(several.positions[0, at])), fontsize=8)
        for number, run in enumerate(several.runs[:count]):
            sample = int(several.positions[number, at])
            final = run.recording.maps(-1, sample)
            show_signed(row[1 + number], final, limit_of(final))
            show_amount(row[1 + count + number], run.dynamics[sample], limit_of(run.dynamics[sample]))
    grid[0, 0].set_title("sample")
    for number in range(count):
        for column, what in ((1 + number, "relevance at the end"), (1 + count + number, "Dynamics")):
            grid[0, column].set_title(
                f"{what if not number else ''}\n{literal(several.names[number], 14)}", fontsize=8, loc="left"
            )
    return figure


def shown_samples(several: Several, count: int) -> list[int]:
    """Return shared samples with maps in the recordings shown, at evenly spaced ranks of the first one's divergence."""
    stored = [at < run.recording.map_samples for at, run in zip(several.positions[:count], several.runs, strict=False)]
    known = np.flatnonzero(np.all(stored, axis=0))
    order = known[np.argsort(-several.runs[0].samples["divergence"][several.positions[0, known]], kind="stable")]
    ranks = np.linspace(0, len(order) - 1, min(_ROWS, len(order))).round().astype(int)
    return [int(order[rank]) for rank in ranks]


def divergence_compared(several: Several) -> Figure:
    """Draw divergence of the shared samples: of two recordings against each other, of more their rank correlations."""
    title = f"Divergence of {several.positions.shape[1]} shared samples"
    if len(several.runs) > 2:
        return _matrix(several, title)
    figure = new_figure(title, several.origin, 8.6, 4.2)
    left, right = figure.subplots(1, 2)
    pair = [run.samples["divergence"][at] for run, at in zip(several.runs, several.positions, strict=True)]
    ranks = [rankdata(-values) for values in pair]
    for axes, (x, y) in ((left, pair), (right, ranks)):
        axes.plot(x, y, "o", color=BLUE, markersize=4, alpha=0.6)
    if all((values > 0).all() for values in pair):
        left.set(xscale="log", yscale="log")
        for axis, values in zip((left.xaxis, left.yaxis), pair, strict=True):
            _log_ticks(axis, values)
        left.set_title("divergence, logarithmic axes")
    else:
        left.set_title("divergence")
    right.set_title(f"rank, 1 the largest: correlation {several.correlations[0, 1]:.2f}".replace("-", "−"))
    for axes, unit in ((left, several.runs), (right, None)):
        names = [f"{several.label(n)}{f' ({unit[n].amount})' if unit else ''}" for n in (0, 1)]
        axes.set(xlabel=names[0], ylabel=names[1])
    return figure


def _log_ticks(axis: Axis, values: np.ndarray) -> None:
    """Set a few ticks of a logarithmic axis: parts of decades or, where values are close together, even steps."""
    close = values.max() < 5 * values.min()
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]) if close else LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}" if close else short(value)))
    axis.set_minor_formatter(NullFormatter())


def _matrix(several: Several, title: str) -> Figure:
    count = len(several.runs)
    values = np.eye(count)
    for (a, b), value in several.correlations.items():
        values[a, b] = values[b, a] = value
    figure = new_figure(title, several.origin, 8.6, max(3.6, 1.8 + 0.42 * count))
    axes = figure.subplots()
    artist = axes.imshow(values, cmap=SIGNED, vmin=-1, vmax=1, aspect="auto")
    axes.grid(False)
    for (row, column), value in np.ndenumerate(values):
        colour, word = "white" if abs(value) > 0.6 else "black", "–" if np.isnan(value) else f"{value:.2f}"
        axes.text(column, row, word, ha="center", va="center", color=colour, fontsize=7)
    labels = [several.label(number) for number in range(count)]
    axes.set_xticks(range(count), labels, rotation=45, ha="right")
    axes.set_yticks(range(count), labels)
    bar = figure.colorbar(artist, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("rank correlation of divergence")
    bar.outline.set_visible(False)
    return figure


def similarity_compared(several: Several) -> Figure:
    """Draw how alike the maps of each pair of recordings are along the training."""
    figure = new_figure("How alike the maps of the same samples are", several.origin, 8.6, 3.4)
    axes = figure.subplots()
    pairs = list(several.similarity.items())
    for number, ((a, b), found) in enumerate(pairs):
        middle, label = np.median(found["similarity"], axis=1), f"{several.label(a)} and {several.label(b)}"
        axes.plot(found["iteration"], middle, label=label, **_line(number, len(middle)))
        if len(pairs) == 1:
            low, high = np.percentile(found["similarity"], [10, 90], axis=1)
            shade = {"color": COLOURS[0], "alpha": 0.2, "linewidth": 0, "label": "80 % of the samples"}
            axes.fill_between(found["iteration"], low, high, **shade)
    low, high = axes.get_ylim()
    if high - low < 0.01:  # maps all but the same: rounding would fill the figure
        axes.set_ylim((low + high) / 2 - 0.005, (low + high) / 2 + 0.005)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set(xlabel="training step", ylabel="cosine similarity (median)")
    if len(pairs) <= MOST_PAIRS:
        figure.legend(loc="outside right upper")
    return figure
