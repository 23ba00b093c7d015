"""Draw all figures of an experiment."""

from pathlib import Path

from lrp_dynamics.figures import heatmaps, learning, measuring, spread
from lrp_dynamics.figures.names import NAMES
from lrp_dynamics.figures.run import Run
from lrp_dynamics.figures.style import draw_each

_MODULES = (learning, heatmaps, measuring, spread)
FUNCTIONS = {name: getattr(module, name) for name in NAMES for module in _MODULES if hasattr(module, name)}


def draw_all(run: Run, folder: Path) -> list[Path]:
    """Draw every figure as PNG and SVG into `folder`; return the files written."""
    return draw_each({name: FUNCTIONS[name] for name in NAMES}, run, folder)
