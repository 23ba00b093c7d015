"""The figure: the loss of both halves."""

from matplotlib.figure import Figure

from lrp_dynamics.base.style import BLUE, VERMILION, new_figure
from lrp_dynamics.studies.halves.results import Results


def loss(run: Results) -> Figure:
    """Draw a histogram of the loss in each half."""
    figure = new_figure("Loss of both halves", f"{len(run.loss)} training steps", 6.0, 3.0)
    axes, middle = figure.subplots(), len(run.loss) // 2
    halves = [run.loss[:middle], run.loss[middle:]]
    axes.hist(halves, bins=run.bars, color=[BLUE, VERMILION], label=["first half", "second half"])
    axes.set(xlabel="training loss (nats)", ylabel="training steps")
    axes.legend()
    return figure
