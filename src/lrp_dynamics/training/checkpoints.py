"""Weights of a network at chosen moments of its training, in one safetensors file, and what they are good for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save
from torch import Tensor, nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import atomic
from lrp_dynamics.base.tables import write_csv
from lrp_dynamics.models.weights import read_state
from lrp_dynamics.training.loop import Images, accuracy


class Checkpoints:
    """Keeps weights and test accuracy at chosen iterations; attached to a training like a recorder.

    Parameters
    ----------
    folder : Path
        Gets checkpoints.safetensors, whose tensors are named <iteration>/<parameter>, and accuracy.csv, when closed as
        complete.
    model : nn.Module
        The network in training.
    iterations : sequence of int
        When to keep it.
    test : Images
        What the accuracy is measured on.
    state : mapping, optional
        What `state()` returned before an interruption.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        iterations: Sequence[int],
        test: Images,
        state: Mapping[str, Any] | None = None,
    ):
        self._folder, self._model, self._test, self._iterations = folder, model, test, set(iterations)
        state = state or {"weights": {}, "accuracy": {}}
        self._weights: dict[str, Tensor] = dict(state["weights"])
        self._accuracy: dict[int, float] = dict(state["accuracy"])

    def record(self, iteration: int, **_: float) -> bool:
        """Keep the network as it is now, if this iteration was asked for; return whether."""
        if iteration not in self._iterations:
            return False
        for name, value in self._model.state_dict().items():
            self._weights[f"{iteration}/{name}"] = value.detach().cpu().clone().contiguous()
        self._accuracy[iteration] = accuracy(self._model, self._test)
        return True

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after an interruption."""
        return {"weights": dict(self._weights), "accuracy": dict(self._accuracy)}

    def close(self, *, complete: bool = True) -> None:
        """Write both files, if the training was carried to its end."""
        if not complete:
            return
        missing = self._iterations - self._accuracy.keys()
        if missing:
            raise UserError(f"checkpoints: the training ended before iteration {min(missing)}; train for more steps")
        with atomic(self._folder / "checkpoints.safetensors") as temporary:
            temporary.write_bytes(save(self._weights))
        table = {"iteration": np.array(list(self._accuracy)), "accuracy": np.array(list(self._accuracy.values()))}
        write_csv(self._folder / "accuracy.csv", table | {"test_images": np.full(len(self._accuracy), len(self._test))})


def iterations_of(path: Path) -> list[int]:
    """Return the iterations that a file of checkpoints holds, in order.

    Raises
    ------
    UserError
        If it is damaged, or no file of checkpoints.
    """
    state, _ = read_state(path)
    found = [name.partition("/") for name in state]
    if not all(iteration.isdecimal() and name for iteration, _, name in found):
        raise UserError(f"{path}: found {min(state)!r}, expected <iteration>/<parameter>, as checkpoints are named")
    return sorted({int(iteration) for iteration, _, _ in found})


def load(path: Path, iteration: int) -> dict[str, Tensor]:
    """Return the state_dict of one iteration.

    Raises
    ------
    UserError
        If the file is damaged, or does not hold that iteration.
    """
    state, _ = read_state(path)
    found = {name.partition("/")[2]: value for name, value in state.items() if name.startswith(f"{iteration}/")}
    if not found:
        raise UserError(f"{path}: found no checkpoint of iteration {iteration}")
    return found
