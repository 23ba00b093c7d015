"""What a recorder computes of relevance, on the device where it is: nothing is read back until a block is whole."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lrp_dynamics import lrp
from lrp_dynamics.recording.store import ACCUMULATORS

_TINY = torch.finfo(torch.float64).tiny


class Maps(NamedTuple):
    """Maps of a batch, and what follows from them alone; n samples, P values a map.

    Attributes
    ----------
    values : Tensor f8 (n, P)
        float32 numbers, in float64.
    share : Tensor f8 (n, P)
        The values divided by the sum of their absolute values; 0 for a map of zeros.
    total, largest : Tensor f8 (n,)
        Sum and maximum of absolute values.
    """

    values: Tensor
    share: Tensor
    total: Tensor
    largest: Tensor

    @classmethod
    def of(cls, maps: Tensor) -> "Maps":
        """Work on maps (n, *shape)."""
        values = maps.float().flatten(1).double()
        size = values.abs()
        total = size.sum(1)
        share = values / torch.where(total > 0, total, 1)[:, None]
        return cls(values, share, total, size.amax(1))


def home_of(device: torch.device) -> torch.device:
    """Return where sums are kept for a device: there, or in main memory if it does not compute in float64."""
    return torch.device("cpu") if device.type == "mps" else device


@torch.no_grad()
def describe(relevance: lrp.Relevance, targets: Tensor) -> tuple[Maps, dict[str, Tensor]]:
    """Return the maps of a batch, and what `store.SCALARS` names of each sample but the change since the last step.

    Parameters
    ----------
    relevance : lrp.Relevance
    targets : Tensor
        Classes (n,), or what else is explained.

    Returns
    -------
    maps : Maps
    scalars : dict of Tensor, shape (n,)
        Also "predicted", and "finite": whether a map is.
    """
    home = home_of(relevance.input.device)
    maps = Maps.of((relevance.input.sum(1) if relevance.input.ndim > 2 else relevance.input).to(home))
    scalars = _of_output(relevance, targets) | {
        "initial": relevance.initial,
        "absorbed": sum(relevance.absorbed.values(), torch.zeros_like(relevance.initial)),
        "min_abs_z": relevance.min_abs_z,
    }
    size = maps.share.abs()
    own = {
        "finite": maps.total.isfinite(),
        "r_sum": maps.values.sum(1),
        "r_abs_sum": maps.total,
        "r_max": maps.largest,
        "entropy": -(size.clamp_min(_TINY).log_().mul_(size).sum(1)),  # 0 log 0 = 0
    }
    return maps, {name: value.to(home) for name, value in scalars.items()} | own


def _of_output(relevance: lrp.Relevance, targets: Tensor) -> dict[str, Tensor]:
    """What the output tells, (n,) each: the explained logit and its margin and probability, and the predicted class."""
    output = relevance.output.float()
    logits = output[:, None] if output.ndim == 1 else output
    if targets.ndim > 1:  # what is explained is no class
        unknown = torch.full_like(relevance.initial, torch.nan)
        predicted = logits.argmax(1) if logits.ndim == 2 else torch.full_like(unknown, -1)
        return {"logit": relevance.initial, "margin": unknown, "probability": unknown, "predicted": predicted.long()}
    target = targets[:, None]
    logit = logits.gather(1, target)
    # The only logit has no margin to others.
    others = logits.scatter(1, target, -torch.inf if logits.shape[1] > 1 else torch.nan)
    return {
        "logit": logit[:, 0],
        "margin": logit[:, 0] - others.amax(1),
        "probability": logits.softmax(1).gather(1, target)[:, 0],
        "predicted": logits.argmax(1),
    }


@torch.no_grad()
def quantize(maps: Maps, count: int) -> tuple[Tensor, Tensor]:
    """Return the first maps as they are stored: values f2 (count, P) in [-1, 1], and a scale f4 (count,) for each.

    float16 alone overflows at 65,504 and flushes below 6e-8, and unstable rules reach both; relative to the largest
    absolute value of its map an entry keeps 11 bits. The scale of a map of zeros is 1.
    """
    largest = maps.largest[:count].float()
    scale = torch.where(largest > 0, largest, 1)
    return (maps.values[:count].float() / scale[:, None]).half(), scale


class Sums:
    """The accumulators of all samples, `store.ACCUMULATORS` f8 (N, *shape), and the maps of the last step.

    Parameters
    ----------
    sizes : sequence of int
        Of the batches that samples come in.
    shape : tuple of int
        Of a map.
    device : torch.device
    """

    def __init__(self, sizes: Sequence[int], shape: tuple[int, ...], device: torch.device):
        self._sizes, self.n = list(sizes), 0
        kept = {"dtype": torch.float64, "device": home_of(device)}
        self.held = {name: torch.zeros(sum(sizes), *shape, **kept) for name in ACCUMULATORS}
        self._last: list[Maps] | None = None

    @torch.no_grad()
    def add(self, batches: Sequence[Maps]) -> Tensor:
        """Add a step; return how much each sample's map has changed since the last one, f8 (N,).

        With every batch by itself, temporary values are few, and stay in a processor's cache.
        """
        self.n += 1
        last = self._last or [None] * len(batches)
        parts = [tensor.flatten(1).split(self._sizes) for tensor in (self.held[name] for name in ACCUMULATORS)]
        changes = [self._add(*step) for step in zip(batches, last, *parts, strict=True)]
        self._last = list(batches)
        return torch.cat(changes)

    def _add(
        self,
        now: Maps,
        last: Maps | None,
        dynamics: Tensor,
        dynamics_normalized: Tensor,
        abs_sum: Tensor,
        mean: Tensor,
        m2: Tensor,
    ) -> Tensor:
        abs_sum.add_(now.values.abs())
        delta = now.values - mean
        mean.add_(delta, alpha=1 / self.n)
        m2.addcmul_(delta, delta, value=1 - 1 / self.n)
        if last is None:
            return torch.zeros_like(now.total)
        change = (now.values - last.values).abs_()
        dynamics.add_(change)
        dynamics_normalized.add_((now.share - last.share).abs_())
        return change.sum(1)

    def state(self) -> dict[str, Any]:
        """Return what `load` takes: tensors in main memory, a number, and None before the first step."""
        last = None
        if self._last is not None:
            last = torch.cat([maps.values for maps in self._last]).float().reshape(self.held["mean"].shape).cpu()
        return {"accum": {name: value.cpu().clone() for name, value in self.held.items()} | {"n": self.n}, "last": last}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned, on whatever device it has come to."""
        for name, value in self.held.items():
            value.copy_(torch.as_tensor(state["accum"][name]))
        self.n = int(state["accum"]["n"])
        if state["last"] is not None:
            last = torch.as_tensor(state["last"]).to(self.held["mean"].device)
            self._last = [Maps.of(maps) for maps in last.split(self._sizes)]


class Parcel:
    """Tensors on their way to main memory, in one copy; what they become afterwards does not matter.

    Parameters
    ----------
    tensors : mapping of str to sequence of Tensor
        Of each name, tensors of one shape and type, which are stacked.
    """

    def __init__(self, tensors: Mapping[str, Sequence[Tensor]]):
        # The widest first, so that all lie where their type may begin.
        tensors = dict(sorted(tensors.items(), key=lambda item: -item[1][0].dtype.itemsize))
        self._kinds = {name: (values[0].dtype, (len(values), *values[0].shape)) for name, values in tensors.items()}
        packed = torch.cat([value.reshape(-1).view(torch.uint8) for values in tensors.values() for value in values])
        self._arrived = None
        if packed.is_cuda:
            self._bytes = torch.empty(packed.shape, dtype=torch.uint8, pin_memory=True)
            self._bytes.copy_(packed, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(packed.device))
        else:
            self._bytes = packed.cpu()

    def open(self) -> dict[str, np.ndarray]:
        """Return the stacked tensors, once they are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        arrays, start = {}, 0
        for name, (kind, shape) in self._kinds.items():
            stop = start + prod(shape) * kind.itemsize
            arrays[name] = self._bytes[start:stop].view(kind).reshape(shape).numpy()
            start = stop
        return arrays
