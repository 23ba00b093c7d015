"""What the figures are drawn from: the table of the training steps."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.parameters import parse
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.studies.halves.parameters import Figures


@dataclass(frozen=True)
class Results:
    """The loss of each training step, and how many bars the histogram has."""

    loss: np.ndarray
    bars: int


@contextmanager
def open_results(inputs: Mapping[str, Path], params: Mapping[str, Any]) -> Iterator[Results]:
    """Open "training" (training.csv); `params` are the experiment's `figures`."""
    shown = parse(Figures, params, "figures")
    yield Results(read_csv(inputs["training"], require=("loss",))["loss"], shown.bars)
