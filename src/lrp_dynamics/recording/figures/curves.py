"""Curves along the training of a few samples, or of all."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from lrp_dynamics.base.style import BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, legend_above, new_figure
from lrp_dynamics.recording.figures.learning import lines
from lrp_dynamics.recording.figures.run import Run

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, SKY, GREY, "black")


def curves(run: Run, samples: Sequence[int] | None = None) -> Figure:
    """Draw explained output, where it is known, sum of the map, step divergence and, if recorded, the loss."""
    count = run.recording.samples if samples is None else len(samples)
    which = f"{count} sample{'' if count == 1 else 's'}"
    known = run.recording.tells_output
    height = 5.6 if known else 3.2
    figure = new_figure(f"{which[0].upper()}{which[1:]} along training – {run.title}", run.origin, 8.6, height)
    grid = figure.subplots(*((2, 2) if known else (1, 3)), sharex=True, squeeze=False)
    names = {"logit": run.output} if known else {}
    names |= {"r_sum": "sum of the map", "step_divergence": "step divergence"}
    *places, last = grid.flat
    for axes, (key, name) in zip(places, names.items(), strict=True):
        values = run.scalar(key)
        first = int(key == "step_divergence")  # the first record has no step before it
        if samples is None:
            lines(axes, run.iteration[first:], values[first:], BLUE)
        else:
            for number, sample in enumerate(samples):
                colour = _COLOURS[number % len(_COLOURS)]
                axes.plot(run.iteration[first:], values[first:, sample], color=colour, label=_label(run, sample))
        axes.set_ylabel(f"{name} ({run.amount})")
    if run.training is not None:
        last.plot(run.training["iteration"], run.training["loss"], color="black", linewidth=0.8)
        last.set_ylabel(run.loss)
    else:
        last.set_axis_off()
        last.text(0.5, 0.5, "no loss was recorded", ha="center", va="center", color=GREY, transform=last.transAxes)
    for axes in grid[-1]:
        axes.set_xlabel("training step")
    handles, labels = places[0].get_legend_handles_labels()
    if samples is None:
        legend_above(places[0], 1)
    else:
        figure.legend(handles[:20], labels[:20], loc="outside right upper")
    return figure


def _label(run: Run, sample: int) -> str:
    name = run.class_name(sample)
    return name if name == f"sample {sample}" else f"{name} (sample {sample})"
