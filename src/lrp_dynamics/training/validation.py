"""Measuring a network during its training on images held out of it, stopping early, and keeping the best weights."""

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.parameters import parse
from lrp_dynamics.base.tables import write_csv
from lrp_dynamics.base.training_sections import Validation as Parameters
from lrp_dynamics.training.loop import Images

FIELDS = ("iteration", "epoch", "loss", "accuracy")


def divide(index: np.ndarray, wanted: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Divide training images at random into those that are trained on and those held out; both in order.

    Parameters
    ----------
    index : ndarray (N,)
        Of the training images in the dataset.
    wanted : mapping
        "share" of the images to hold out, and "seed" of the draw, which is not that of the training: trainings with
        different seeds are measured on the same images.
    """
    chosen = parse(Parameters, wanted, "validation")
    count = round(chosen.share * len(index))
    if not 0 < count < len(index):
        raise UserError(f"validation.share: found {chosen.share}, which leaves none of {len(index)} images to one side")
    held_out = np.random.default_rng(chosen.seed).choice(len(index), count, replace=False)
    out = np.zeros(len(index), bool)
    out[held_out] = True
    return index[~out], index[out]


class Validation:
    """Measures a network at intervals; attached to a training like a recorder.

    Parameters
    ----------
    folder : Path
        Gets validation.csv, when closed as complete.
    model : nn.Module
        The network in training. Closed as complete, it has the weights with the highest accuracy (of equal ones the
        one with the lowest loss, then the first).
    images : Images
        Held out of the training.
    loss : callable
        Of logits (N, K) and labels (N,).
    every : float
        Epochs from one measurement to the next; the network before and after the training is measured in any case.
    patience : int, optional
        Stop after so many measurements in a row that were no better than the best before.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        images: Images,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        every: float,
        patience: int | None = None,
    ):
        self._folder, self._model, self._images, self._loss = folder, model, images, loss
        self._every, self._patience = every, patience
        self.begin(None)

    def begin(self, state: Mapping[str, Any] | None) -> "Validation":
        """Begin anew, or go on from what `state()` returned before an interruption; return itself."""
        state = state or {"rows": [], "best": 0, "weights": {}, "seen": (0, 0.0)}
        self.rows: list[tuple[float, ...]] = list(state["rows"])
        self.best: int = state["best"]
        self._weights: dict[str, Tensor] = dict(state["weights"])
        self._seen: tuple[int, float] = state["seen"]
        return self

    @property
    def stopped(self) -> bool:
        """Whether the patience has come to its end."""
        return self._patience is not None and len(self.rows) - 1 - self.best >= self._patience

    def record(self, iteration: int, *, epoch: float, **_: float) -> bool:
        """Measure the network as it is now, if it is time to; return whether."""
        # A little more, so that rounding does not miss the end of an epoch.
        done, now = (int(value / self._every + 1e-9) for value in (self._seen[1], epoch))
        due = not self.rows or now > done
        self._seen = (iteration, epoch)
        if due:
            self._measure()
        return due

    def _measure(self) -> None:
        iteration, epoch = self._seen
        self.rows.append((iteration, epoch, *measure(self._model, self._images, self._loss)))
        latest = self.rows[-1]
        said = f"validation after {iteration} steps: loss {latest[2]:.4f}, accuracy {latest[3]:.2%}"
        with suppress(BrokenPipeError):  # that nobody hears it is no reason to end
            tqdm.write(said, file=sys.stderr)
        if len(self.rows) == 1 or (latest[3], -latest[2]) > (self.rows[self.best][3], -self.rows[self.best][2]):
            self.best = len(self.rows) - 1
            self._weights = {name: value.detach().clone() for name, value in self._model.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after an interruption."""
        return {"rows": list(self.rows), "best": self.best, "weights": dict(self._weights), "seen": self._seen}

    def close(self, *, complete: bool = True) -> None:
        """Give the network its best weights and write the table, if the training was carried to its end."""
        if not complete:
            return
        if not self.rows or self.rows[-1][0] != self._seen[0]:
            self._measure()
        self._model.load_state_dict(self._weights)
        columns = {name: np.array([row[i] for row in self.rows]) for i, name in enumerate(FIELDS)}
        write_csv(
            self._folder / "validation.csv",
            columns
            | {"iteration": columns["iteration"].astype(np.int64), "best": np.arange(len(self.rows)) == self.best},
        )

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the training: when it was best, and how good."""
        iteration, epoch, loss, accuracy = self.rows[self.best]
        return {
            "validation_images": len(self._images),
            "validation_accuracy": accuracy,
            "validation_loss": loss,
            "best_step": int(iteration),
            "best_epoch": epoch,
            "stopped_early": self.stopped,
        }


@torch.no_grad()
def measure(
    model: nn.Module, images: Images, loss_of: Callable[[Tensor, Tensor], Tensor], batch_size: int = 500
) -> tuple[float, float]:
    """Return mean loss and accuracy on all images, in eval mode and full precision."""
    was_training = model.training
    model.eval()
    loss, correct = 0.0, 0
    for start in range(0, len(images), batch_size):
        index = slice(start, start + batch_size)
        logits, labels = model(images.inputs(index)), images.labels[index]
        loss += loss_of(logits, labels).item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
    model.train(was_training)
    return loss / len(images), correct / len(images)
