"""Curves along the training of a few samples, or of all."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from lrp_dynamics.base.style import BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, new_figure
from lrp_dynamics.recording.figures.learning import lines
from lrp_dynamics.recording.figures.run import Run

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, SKY, GREY, "black")


def curves(run: Run, samples: Sequence[int] | None = None) -> Figure:
    """Draw explained output, sum of the map, step divergence and, where it is known, the loss along the training."""
    count = run.recording.samples if samples is None else len(samples)
    which = f"{count} sample{'' if count == 1 else 's'}"
    figure = new_figure(f"{which[0].upper()}{which[1:]} along training – {run.title}", run.origin, 8.6, 5.6)
    grid = figure.subplots(2, 2, sharex=True)
    panels = (
        (grid[0, 0], run.scalar("logit"), f"{run.output} ({run.amount})"),
        (grid[0, 1], run.scalar("r_sum"), f"sum of the map ({run.amount})"),
        (grid[1, 0], run.scalar("step_divergence"), f"step divergence ({run.amount})"),
    )
    for axes, values, name in panels:
        first = int(axes is grid[1, 0])  # the first record has no step before it
        if samples is None:
            lines(axes, run.iteration[first:], values[first:], BLUE)
        else:
            for number, sample in enumerate(samples):
                colour = _COLOURS[number % len(_COLOURS)]
                axes.plot(run.iteration[first:], values[first:, sample], color=colour, label=_label(run, sample))
        axes.set_ylabel(name)
    last = grid[1, 1]
    if run.training is not None:
        last.plot(run.training["iteration"], run.training["loss"], color="black", linewidth=0.8)
        last.set_ylabel(run.loss)
    else:
        last.set_axis_off()
        last.text(0.5, 0.5, "no loss was recorded", ha="center", va="center", color=GREY, transform=last.transAxes)
    for axes in grid[1]:
        axes.set_xlabel("training step")
    handles, names = grid[0, 0].get_legend_handles_labels()
    if samples is None:
        grid[0, 0].legend(loc="upper left")
    else:
        figure.legend(handles[:20], names[:20], loc="outside right upper")
    return figure


def _label(run: Run, sample: int) -> str:
    name = run.class_name(sample)
    return name if name == f"sample {sample}" else f"{name} (sample {sample})"
