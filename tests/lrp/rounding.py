"""How far a map in float32 may lie from the map in float64, on whatever processor.

The yardstick is the net's own: how far its float64 map moves when every weight and every pixel changes by one rounding
of float32. Another float32 run is none, since two of them may differ by as much as each differs from the truth.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

UNIT = 2.0**-24  # of its size a float32 is rounded by at most
ROUNDINGS = 100  # a map in float32 lies within so many roundings, each amplified as the net amplifies them


def norms(maps):
    return maps.double().flatten(1).norm(dim=1)


def rounded(net, x, seed):
    """Return a net and an input in which each number is larger or smaller by one rounding of float32."""
    net, generator = copy.deepcopy(net), torch.Generator().manual_seed(seed)

    def change(t):
        return t * (1 + UNIT * (2 * torch.randint(0, 2, t.shape, generator=generator) - 1))

    with torch.no_grad():
        for t in [*net.parameters(), *net.buffers()]:
            if t.is_floating_point():
                t.copy_(change(t))
    return net, change(x).clamp(x.min(), x.max())


def bound(explain, net, x):
    """Return the map in float64, and the distance (N,) from it that float32 may have; for a net and x in float32."""
    exact, wide = copy.deepcopy(net).double(), x.double()
    expected = explain(exact, wide)
    moved = [norms(explain(*rounded(exact, wide, seed)) - expected) for seed in range(3)]
    return expected, ROUNDINGS * torch.stack([*moved, UNIT * norms(expected)]).amax(0)


def clear(net, shape, count):
    """Return images (count, *shape) that leave no doubt which unit of a ReLU is on and which value wins a max-pool.

    Either is all or nothing for what lies behind: where rounding decides it, no bound holds, here or elsewhere.
    """
    net, distances = copy.deepcopy(net).double(), []

    def note(x, gap):
        distances.append((gap / x.abs().max()).min())

    def relu(_, inputs):
        note(inputs[0], inputs[0].abs())

    def pool(module, inputs):
        padded = F.pad(inputs[0], [module.padding] * 4, value=-torch.inf).flatten(0, 1).unsqueeze(1)
        first, second = F.unfold(padded, module.kernel_size, stride=module.stride).topk(2, dim=1).values.unbind(1)
        note(inputs[0], torch.where(first == 0, 1, first - second))  # zeros behind a ReLU may tie

    for module in net.modules():
        if isinstance(module, nn.ReLU | nn.MaxPool2d):
            module.register_forward_pre_hook(relu if isinstance(module, nn.ReLU) else pool)
    found = []
    for seed in range(100 * count):
        distances.clear()
        image = torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            net(image.double())
        if min(distances) > 16 * UNIT:
            found.append(image)
        if len(found) == count:
            return torch.cat(found)
    raise AssertionError("too few images without doubt")
