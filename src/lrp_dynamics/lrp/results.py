"""What an explanation returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass
class Relevance:
    """Relevance and its balance, for N samples and K classes: initial = sum of input + sum of absorbed, per sample.

    Attributes
    ----------
    input
        Relevance of every input value, shaped as the input.
    output
        The model's output (N, K); of a model with an output activation, the scores before it.
    initial
        Sum of the relevance put in at the output (N,).
    residual
        ``initial`` minus the sum of ``input`` (N,).
    absorbed
        Per layer, the relevance (N,) that its bias, its stabilizer and its dead units took; negative where they gave.
    min_abs_z
        Smallest absolute denominator, before stabilizing, that relevance other than 0 was divided by (N,); inf where
        there was none. By rules that count contributions of one sign, as z_plus, 0 is harmless: of a unit without any.
    layers
        Relevance that arrived at the output of each layer asked for, shaped as that output.
    output_activation
        Name of the activation at the model's end that was left out, such as a sigmoid or a softmax, None if there is
        none. Those turn the sign of a score below 0, and with it of each contribution: what is explained is the score.
    """

    input: Tensor
    output: Tensor
    initial: Tensor
    residual: Tensor
    absorbed: dict[str, Tensor]
    min_abs_z: Tensor
    layers: dict[str, Tensor] = field(default_factory=dict)
    output_activation: str | None = None

    def __repr__(self) -> str:
        kept, put = self.residual.abs().sum().item(), self.initial.abs().sum().item()
        lines = [
            f"Relevance of {len(self.input)} inputs, {tuple(self.input.shape)}, {self.input.dtype}:",
            f"  output {tuple(self.output.shape)}, initial {shown(self.initial)}",
            f"  absorbed by {len(self.absorbed)} layers, {kept / put if put else 0:.1%} in all",
            f"  smallest denominator {shown(self.min_abs_z)}",
        ]
        lines += [f"  layers {', '.join(self.layers)}"] if self.layers else []
        lines += [f"  LRP starts before {self.output_activation!r}"] if self.output_activation else []
        return "\n".join(lines)


def shown(values: Tensor, most: int = 4) -> str:
    """Return the first values (N,) as text."""
    return ", ".join(f"{v:.3g}" for v in values[:most].tolist()) + (", ..." if len(values) > most else "")


def one_for_none(inputs: Tensor, target: Any, bounds: tuple | None) -> tuple[Tensor, Any]:
    """Return one sample and its target, in place of no samples."""
    one = inputs.new_zeros((1, *inputs.shape[1:]))
    if bounds is not None:
        one = one + torch.as_tensor(bounds[0], dtype=one.dtype, device=one.device)
    if isinstance(target, Tensor) and target.is_floating_point():
        return one, target.new_zeros((1, *target.shape[1:]))
    return one, "predicted" if isinstance(target, str) else torch.zeros(1).long()


def none_of(found: Relevance) -> Relevance:
    """Return the relevance of none of the samples."""
    tensors = {k: v[:0] for k, v in vars(found).items() if isinstance(v, Tensor)}
    absorbed, layers = ({k: v[:0] for k, v in part.items()} for part in (found.absorbed, found.layers))
    return replace(found, **tensors, absorbed=absorbed, layers=layers)
