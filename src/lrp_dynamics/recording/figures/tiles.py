"""The tile of a sample beside its maps."""

from matplotlib.axes import Axes

from lrp_dynamics.base.style import GREY, bare, show_sample
from lrp_dynamics.recording.figures.run import Run


def show_tile(axes: Axes, run: Run, sample: int) -> None:
    """Show a sample as `show_sample` does, or that the recording has no images."""
    if run.has_images:
        show_sample(axes, run.image(sample))
        return
    bare(axes)
    axes.set_aspect("equal")
    axes.text(0.5, 0.5, "no image", ha="center", va="center", color=GREY, fontsize=7, transform=axes.transAxes)
