"""Following a training in TensorBoard: `tensorboard --logdir logs/tensorboard`."""

import datetime
import sys
from pathlib import Path
from typing import Any

from lrp_dynamics.training.validation import Validation


class EventLog:
    """Writes loss and accuracies as TensorBoard shows them; attached to a training like a recorder.

    Parameters
    ----------
    folder : Path
        Gets a folder named after the time of the start, so that trainings are shown side by side.
    validation : Validation, optional
        Recorded before this one; its measurements are logged too.
    """

    def __init__(self, folder: Path, validation: Validation | None = None):
        self._validation = validation
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("tensorboard is not installed: the training goes on without a log of events", file=sys.stderr)
            self._writer = None
        else:
            self._writer = SummaryWriter(folder / f"{datetime.datetime.now():%Y-%m-%d-%H%M%S}")

    def record(self, iteration: int, **values: float) -> bool:
        """Log one training step; return whether."""
        if self._writer is None:
            return False
        for name, value in values.items():
            self._writer.add_scalar(f"training/{name}", value, iteration)
        if self._validation and self._validation.rows[-1][0] == iteration:
            for name, value in zip(("loss", "accuracy"), self._validation.rows[-1][2:], strict=True):
                self._writer.add_scalar(f"validation/{name}", value, iteration)
        return True

    def state(self) -> dict[str, Any]:
        """Return nothing: after an interruption the log goes on in a folder of its own."""
        return {}

    def close(self, *, complete: bool = True) -> None:
        """Write what is pending, and close the file."""
        if self._writer is not None:
            self._writer.close()
