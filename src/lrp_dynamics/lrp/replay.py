"""A pass on a GPU as one CUDA graph, instead of a launch for each of its hundreds of operations."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

MOST = 2  # graphs are kept: each holds the memory of a pass
EAGER, REPLAYED = "operation by operation", "as one CUDA graph"

Run = Callable[[Tensor, "Tensor | None"], tuple[list[Tensor], Any]]


class Graph:
    """One call of a function, recorded: replayed, it computes with what is in its tensors' memory then.

    Parameters
    ----------
    run
        Takes tensors on a GPU, reads nothing back, and returns tensors and something else that stays the same.
    arguments
        Tensors in the shapes to come, or None.

    Raises
    ------
    RuntimeError
        If that cannot be recorded, or its replay finds something else.
    """

    def __init__(self, run: Run, *arguments: Tensor | None):
        self.run = run  # it holds what its operations read, so that no memory is used again
        self.arguments = [None if t is None else t.clone() for t in arguments]
        expected = self.record()
        self.replay()
        if not all(alike(a, b) for a, b in zip(self.found, expected, strict=True)):
            raise RuntimeError("its replay finds something else")

    def record(self) -> list[Tensor]:
        """Record a run, and return what another one found."""
        now, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(now)
        with torch.cuda.stream(aside):  # libraries set themselves up at their first calls, which a graph must not hold
            expected, _ = self.run(*self.arguments)
        now.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may load data meanwhile
            self.found, self.rest = self.run(*self.arguments)
        self.replay = graph.replay
        return expected

    def __call__(self, *arguments: Tensor | None) -> tuple[list[Tensor], Any]:
        """Return what the function makes of other tensors of the same shapes."""
        for mine, given in zip(self.arguments, arguments, strict=True):
            if mine is not None:
                mine.copy_(given)
        self.replay()
        return [tensor.clone() for tensor in self.found], self.rest


class Graphs:
    """The graphs of the kinds of calls that were made last: from the second call of a kind on, it is replayed.

    Attributes
    ----------
    ran : str
        How the last call ran.
    device : str
        For which type of device graphs are made.
    """

    def __init__(self, record: Callable[..., Callable] = Graph, device: str = "cuda"):
        self.ran, self.device = EAGER, device
        self._record, self._kept, self._refused = record, {}, ""

    def __call__(self, kind: Hashable | None, run: Run, x: Tensor, target: Tensor | None) -> tuple[list[Tensor], Any]:
        """Run a function, or replay it; ``kind`` is what it depends on beside its arguments, None says to run it."""
        self.ran = self._refused or EAGER
        if kind is None or self._refused:
            return run(x, target)
        kind = (kind, torch.cuda.current_stream() if x.is_cuda else None, form_of(x), form_of(target))
        if kind not in self._kept:
            self._kept = {**dict(list(self._kept.items())[1 - MOST :]), kind: None}
            return run(x, target)
        if self._kept[kind] is None:
            try:
                self._kept[kind] = self._record(run, x, target)
            except RuntimeError as error:  # also if memory does not suffice for a second pass
                self._kept, self._refused = {}, f"{EAGER}, since a graph was refused: {str(error).splitlines()[0]}"
                self.ran = self._refused
                return run(x, target)
        self.ran = REPLAYED
        return self._kept[kind](x, target)


def form_of(tensor: Tensor | None) -> Hashable:
    """Return what a graph depends on of an argument."""
    return None if tensor is None else (tensor.shape, tensor.stride(), tensor.dtype, tensor.device)


def alike(a: Tensor, b: Tensor) -> bool:
    """Tell whether two results are the same but for rounding."""
    size = b[b.isfinite()].abs().max() if b.isfinite().any() else 0
    return a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-3, atol=float(1e-4 * size), equal_nan=True)
