"""Draw all figures of an experiment."""

from pathlib import Path

from lrp_dynamics.reports.style import draw_each
from lrp_dynamics.studies.blog import heatmaps, learning, measuring, spread
from lrp_dynamics.studies.blog.results import Run
from lrp_dynamics.studies.blog.study import NAMES

_MODULES = (learning, heatmaps, measuring, spread)
FUNCTIONS = {name: getattr(module, name) for name in NAMES for module in _MODULES if hasattr(module, name)}


def draw_all(run: Run, folder: Path) -> list[Path]:
    """Draw every figure as PNG and SVG into `folder`; return the files written."""
    return draw_each({name: FUNCTIONS[name] for name in NAMES}, run, folder)
