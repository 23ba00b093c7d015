"""The figures: what different explanations of one training conserve, how they move, and how they scatter."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lrp_dynamics.base.style import GREY, VERMILION, new_figure
from lrp_dynamics.studies.rules.maps import agreement, dynamics_maps, maps, ranks
from lrp_dynamics.studies.rules.results import Rules

__all__ = [
    "agreement",
    "conservation",
    "denominators",
    "divergence",
    "dynamics_maps",
    "maps",
    "placement",
    "ranks",
    "smoothness",
]

_FLOOR = 1e-8  # smaller shares are drawn here


def conservation(run: Rules) -> Figure:
    """Draw how far the sum of a map is from the output that it explains, along the training."""
    figure = new_figure(f"Conservation along training – {run.title}", run.origin, 8.6, 3.9)
    axes = figure.subplots()
    axes.set_yscale("log")
    _curves(run, axes, "conservation_error", floor=_FLOOR)
    axes.axhline(1, color=GREY, linewidth=0.6)
    axes.set(xlabel="training step", ylabel="|logit − Σ R| / max(|logit|, Σ|R|)", ylim=(_FLOOR / 2, None))
    figure.legend(loc="outside right upper")
    return figure


def smoothness(run: Rules) -> Figure:
    """Draw how much a map is like the one before, and how far it goes round about."""
    figure = new_figure(f"Smoothness – {run.title}", run.origin, 8.6, 3.9)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    _curves(run, left, "successive_correlation")
    left.set(xlabel="training step", ylabel="correlation with the map before", ylim=(None, 1.01))
    left.set_title("median over samples", fontsize=8)
    _bars(run, right, run.comparison["path_to_net_change_median"], "path / net change (median)")
    right.axvline(1, color=GREY, linewidth=0.8, linestyle=":")
    return figure


def denominators(run: Rules) -> Figure:
    """Draw each sample's smallest denominator against the share of its divergence that one step holds."""
    figure = new_figure(f"Denominators and jumps – {run.title}", run.origin, 8.6, 3.9)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    tiny = 1e-12
    for name in run.names:
        share = run.of(run.samples, name, "worst_step_share")
        smallest = run.of(run.samples, name, "min_abs_z").astype(np.float64)
        color = run.style(name)["color"]
        if np.isfinite(smallest).any():
            filled = run.style(name)["linestyle"] == "-"
            left.plot(
                np.maximum(smallest, tiny),
                share,
                "o",
                markersize=3.5,
                color=color,
                alpha=0.7,
                fillstyle="full" if filled else "none",
                linestyle="none",
                label=run.label(name),
                rasterized=True,
            )
        low, middle, high = np.quantile(share, [0.05, 0.5, 0.95])
        row = run.names.index(name)
        right.plot([row, row], [low, high], color=color, linewidth=3, alpha=0.5, solid_capstyle="butt")
        right.plot(row, middle, "_", color=color, markersize=9)
        right.plot(row, share.max(), "^", color=color, markersize=4)
    left.set_xscale("log")
    left.set(xlabel="smallest |denominator| met", ylabel="largest step's share of divergence", ylim=(0, None))
    left.yaxis.set_major_formatter(PercentFormatter(1))
    labels = [run.label(name) for name in run.names]
    right.set_xticks(range(len(labels)), labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
    right.set_title("median, 5 to 95 %, largest (▲)", fontsize=8)
    return figure


def divergence(run: Rules) -> Figure:
    """Draw every sample's divergence in units of its explanation's median; flagged samples are marked."""
    figure = new_figure(f"Distribution of divergence – {run.title}", run.origin, 8.6, 3.9)
    axes = figure.subplots()
    for row, name in enumerate(run.names):
        values = run.of(run.samples, name, "divergence")
        flagged = run.of(run.samples, name, "flagged") == 1
        values = values / np.median(values)
        ranks = np.argsort(np.argsort(values)) / max(len(values) - 1, 1)
        across = row + 0.6 * (ranks - 0.5)
        color = run.style(name)["color"]
        axes.plot(across[~flagged], values[~flagged], ".", color=color, markersize=4, alpha=0.7, rasterized=True)
        axes.plot(across[flagged], values[flagged], "X", color=VERMILION, markeredgecolor="black", markersize=6)
        spread = run.of(run.comparison, name, "divergence_log_spread")[0]
        axes.text(row, 1.02, f"×/÷ {np.exp(spread):.2f}", transform=axes.get_xaxis_transform(), ha="center", fontsize=7)
    axes.set_yscale("log")
    axes.axhline(1, color=GREY, linewidth=0.8)
    labels = [run.label(name) for name in run.names]
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_ylabel("divergence / median of the explanation")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else "")
    return figure


def placement(run: Rules) -> Figure:
    """Draw, along the training, the relevance on the object where masks are known, and how spread out maps are."""
    known = not np.isnan(run.curves["mass_on_object"]).all()
    figure = new_figure(f"Where relevance is, and how concentrated – {run.title}", run.origin, 8.6, 3.9)
    *left_if_known, right = figure.subplots(1, 1 + known, squeeze=False)[0]
    _curves(run, right, "entropy")
    for left in left_if_known:
        _curves(run, left, "mass_on_object")
        area = float(np.median((run.first.sample("mask") == 1).reshape(run.first.samples, -1).mean(axis=1)))
        left.axhline(area, color="black", linewidth=0.8, linestyle=":")
        right.plot([], [], color="black", linewidth=0.8, linestyle=":", label="object's share of the area")
        left.set(xlabel="training step", ylabel="R⁺ on the object (median)", ylim=(0, None))
        left.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.set(xlabel="training step", ylabel="entropy of |R| (1: uniform, median)")
    figure.legend(*right.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _curves(run: Rules, axes: Axes, column: str, floor: float = -np.inf) -> None:
    """Draw a curve of each explanation; one that lies on another is dashed, so that both of them show."""
    curves = {name: run.curve(name, column) for name in run.names}
    heights = np.maximum([values for _, values in curves.values()], floor)
    seen = np.log(heights) if axes.get_yscale() == "log" else heights
    finite = seen[np.isfinite(seen)]
    near = 0.01 * np.ptp(finite) if len(finite) else 0.0  # a line's width
    for row, (name, (steps, _)) in enumerate(curves.items()):
        style = run.style(name)
        if any(_coincide(seen[row], other, near) for other in seen[:row]):
            style["linestyle"] = (0, (2.5, 2.5))
        axes.plot(steps, heights[row], **style, label=run.label(name))


def _coincide(one: np.ndarray, other: np.ndarray, near: float) -> bool:
    """Whether two curves (T,) lie on each other nearly everywhere."""
    known = np.isfinite(one) & np.isfinite(other)
    return known.any() and (np.abs(one - other)[known] <= near).mean() >= 0.9


def _bars(run: Rules, axes, values: np.ndarray, label: str) -> None:
    names = [str(name) for name in run.comparison["explanation"]]
    for row, name in enumerate(run.names):
        axes.barh(row, values[names.index(name)], color=run.style(name)["color"], height=0.6)
    axes.set_yticks(range(len(run.names)), [run.label(name) for name in run.names], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.grid(False, axis="y")
