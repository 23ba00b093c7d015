"""Figures of the maps that different explanations give."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from lrp_dynamics.base.style import (
    AMOUNT,
    bare,
    ink_on,
    limit_of,
    new_figure,
    short,
    show_amount,
    show_sample,
    show_signed,
)
from lrp_dynamics.studies.rules.results import Rules

_TILE = 0.78


def maps(run: Rules) -> Figure:
    """Show the maps of two samples along the training, a row an explanation, each map on its own scale."""
    moments, chosen = run.moments(), run.chosen(2)
    # One grid for all samples, a narrow empty column between two of them, so that all panels are of one size.
    columns = len(moments) + 1
    ratios = ([1] * len(moments) + [0.2]) * len(chosen)
    width, height = 1.5 + _TILE * sum(ratios), 1.0 + (_TILE + 0.17) * (len(run.names) + 1)
    figure = new_figure(f"The same training, explained differently – {run.title}", run.origin, width, height)
    all_axes = figure.subplots(len(run.names) + 1, len(ratios), squeeze=False, width_ratios=ratios)
    for number, sample in enumerate(chosen):
        grid = all_axes[:, number * columns : (number + 1) * columns - 1]
        for axes in (*grid[0, 1:], *all_axes[:, (number + 1) * columns - 1]):
            axes.set_axis_off()
        show_sample(grid[0, 0], run.image(sample))
        grid[0, 0].set_title(run.class_name(sample), fontsize=8)
        for row, name in zip(grid[1:], run.names, strict=True):
            recording, amount = run.recordings[name], run.never_negative(name)
            for axes, moment in zip(row, moments, strict=True):
                values = recording.maps(int(moment), sample)
                (show_amount if amount else show_signed)(axes, values, limit_of(values))
                size = float(np.abs(values).sum(dtype=np.float64))
                axes.set_xlabel(f"Σ {short(size)}", fontsize=7, labelpad=1.5)
            if sample == chosen[0]:
                row[0].set_ylabel(run.label(name), fontsize=8, rotation=0, ha="right", va="center")
        for axes, moment in zip(grid[1], moments, strict=True):
            axes.set_title("untrained" if run.iteration[moment] == 0 else f"step {run.iteration[moment]}", fontsize=8)
    return figure


def dynamics_maps(run: Rules) -> Figure:
    """Show the Dynamics of a few samples, a column an explanation, each map on its own scale with its sum below."""
    chosen = run.chosen(run.show)
    width, height = 0.6 + (_TILE + 0.18) * (len(run.names) + 1), 1.15 + (_TILE + 0.3) * len(chosen)
    figure = new_figure(f"Dynamics by explanation – {run.title}", run.origin, width, height)
    grid = figure.subplots(len(chosen), len(run.names) + 1, squeeze=False)
    for sample, row in zip(chosen, grid, strict=True):
        show_sample(row[0], run.image(sample))
        row[0].set_ylabel(run.class_name(sample), fontsize=8)
        for name, axes in zip(run.names, row[1:], strict=True):
            values = run.recordings[name].accumulated("dynamics")[sample]
            artist = show_amount(axes, values, limit_of(values))
            axes.set_xlabel(f"Σ = {short(float(values.sum()))}", fontsize=6.5, labelpad=1.5)
    for axes, name in zip(grid[0], ["sample", *run.names], strict=True):
        axes.set_title("\n".join(run.label(part) for part in name.split("_", 1)), fontsize=7)
    bar = figure.colorbar(artist, ax=grid, location="bottom", fraction=0.03, aspect=45, pad=0.02, shrink=0.5)
    bar.set_ticks(artist.get_clim(), labels=["0", "largest"])
    bar.set_label("Dynamics (each map on its own scale)", fontsize=8)
    bar.outline.set_visible(False)
    return figure


def agreement(run: Rules) -> Figure:
    """Show the rank correlation of every pair of explanations: in divergence, in the last map, in the Dynamics map."""
    kinds = {
        "divergence": "divergence\n(over samples)",
        "last_map": "last map\n(over pixels; median of samples)",
        "dynamics_map": "Dynamics map\n(over pixels; median of samples)",
    }
    names, count = run.names, len(run.names)
    figure = new_figure(f"Agreement between explanations – {run.title}", run.origin, 8.6, 9.6)
    *panels, rest = figure.subplots(2, 2, sharey="row").flat
    for axes, (kind, title) in zip(panels, kinds.items(), strict=True):
        matrix = np.eye(count)
        for a, b, value in zip(run.agreement["a"], run.agreement["b"], run.agreement[kind], strict=True):
            i, j = names.index(str(a)), names.index(str(b))
            matrix[i, j] = matrix[j, i] = value
        artist = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
        bare(axes)
        for (i, j), value in np.ndenumerate(matrix):
            if i != j and not np.isnan(value):
                ink = ink_on(artist.to_rgba(value))
                axes.text(j, i, f"{value:.2f}".replace("-", "−"), ha="center", va="center", fontsize=8, color=ink)
        labels = [run.label(name) for name in names]
        axes.set_xticks(range(count), labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(range(count), labels, fontsize=8)
        axes.set_title(title)
        axes.tick_params(length=0)
    rest.set_axis_off()
    bar = figure.colorbar(artist, cax=rest.inset_axes((0.05, 0.6, 0.9, 0.06)), orientation="horizontal")
    bar.set_ticks([-1, -0.5, 0, 0.5, 1])
    bar.set_label("Spearman's rank correlation", fontsize=8)
    bar.outline.set_visible(False)
    return figure


def ranks(run: Rules) -> Figure:
    """Show the rank of every explanation by every criterion that was measured."""
    from lrp_dynamics.measures.advice import CRITERIA

    used = [criterion for criterion in CRITERIA if f"rank_{criterion.key}" in run.comparison]
    table = [str(name) for name in run.comparison["explanation"]]
    order = np.argsort(run.comparison["mean_rank"], kind="stable")
    matrix = np.array([run.comparison[f"rank_{criterion.key}"] for criterion in used])[:, order]
    figure = new_figure(f"Ranks by criterion – {run.title}", run.origin, 8.6, 1.9 + 0.34 * len(used))
    axes = figure.subplots()
    ranking = (matrix != matrix[:, :1]).any(axis=1)  # where all are alike, nothing is ranked
    shown = np.ma.masked_where(np.broadcast_to(~ranking[:, None], matrix.shape), matrix)
    colours = colormaps[f"{AMOUNT}_r"].with_extremes(bad="#eeeeee")
    artist = axes.imshow(shown, cmap=colours, vmin=1, vmax=1.6 * len(table), aspect="auto")
    bare(axes)
    for (i, j), value in np.ndenumerate(matrix):
        text, weight = (int(value), "bold" if value == 1 else None) if ranking[i] else ("=", None)
        ink = ink_on(artist.to_rgba(shown[i : i + 1, j : j + 1])[0, 0, :3])
        axes.text(j, i, text, ha="center", va="center", fontsize=9, fontweight=weight, color=ink)
    names = [f"{run.label(table[row])}\nmean {run.comparison['mean_rank'][row]:.1f}" for row in order]
    axes.set_xticks(range(len(names)), names, fontsize=7, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(used)), [criterion.wanted for criterion in used], fontsize=8)
    return figure
