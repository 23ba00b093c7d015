"""Where the samples lie in each value, and which operations would mix them."""

from __future__ import annotations

from math import prod

from lrp_dynamics.lrp.operations import ALONG, BATCH_NORMS, RESHAPES
from lrp_dynamics.lrp.program import Call, Count, Program, arguments


def axis_of(shape: tuple[int | Count, ...]) -> int | None:
    """Return the dimension of the samples, None if there is not one alone."""
    found = [k for k, size in enumerate(shape) if isinstance(size, Count)]
    return found[0] if len(found) == 1 and shape[found[0]].base == 0 else None


def outer_of(call: Call, program: Program, axes: list[int | None], outer: list[int]) -> int | None:
    """Return how often the samples repeat within their dimension of a call's output; None if the call mixes them.

    It is 1 where each sample's rows lie together, as in windows of images, and the length of a sequence where (L, N) is
    viewed as one dimension. Mixing is found as far as shapes and dimensions show it.
    """
    axis, inputs = axes[call.output], [i for i in call.inputs if i in program.active and axes[i] is not None]
    if axis is None or not inputs:
        return None
    shapes, first = program.shapes, inputs[0]
    if call.name in RESHAPES:  # samples may be split off or joined with other dimensions, in their order
        before = prod(shapes[first][: axes[first]]) * outer[first]
        around, rest = divmod(before, prod(shapes[call.output][:axis]))
        fits = not rest and shapes[call.output][axis].step % around == 0
        return around if fits else None
    if call.name in BATCH_NORMS and (call.args[3] is None or call.args[5] is True):  # statistics of the batch
        return 1 if axis == 1 and outer[first] == 1 else None
    if call.name in ALONG:
        given = arguments(call)
        along = given.get("dim", given.get("dims", ()))
        along = along if isinstance(along, (tuple, list)) else [along]
        if axes[first] in [k % len(shapes[first]) for k in along if isinstance(k, int)]:
            return None
    around = {outer[i] for i in inputs}
    same = all(shapes[i][axes[i]] == shapes[call.output][axis] for i in inputs)
    return 1 if around == {1} else around.pop() if len(around) == 1 and same else None
