"""Multiplications per rule, in forwards F and input-backwards B of the layer, the forward pass included."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lrp_dynamics import lrp

from .nets import build

# What each rule may cost for inputs >= 0 below a ReLU. F and B of a layer are the same number of multiplications.
COST = {
    "epsilon": 1 + 1,
    "z_plus": 2 + 1,
    "z_box": 1 + 2,
    "alpha_beta": 3 + 2,
    "gamma": 2 + 1,
    "w_square": 1 + 1,
    "flat": 1 + 1,
}
SAMPLES = 32


def flops(function):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


@pytest.mark.parametrize("rule", COST)
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Conv2d(4, 6, 3, padding=1), (4, 9, 9)),
        (lambda: nn.Conv2d(4, 6, 3, stride=2, groups=2), (4, 9, 9)),
        (lambda: nn.Linear(40, 31), (40,)),
    ],
)
def test_flops(rule, layer, shape):
    torch.manual_seed(0)
    x, layer = torch.rand(SAMPLES, *shape), layer()
    outputs = layer(x).flatten(1).shape[1]
    head = nn.Linear(outputs, 2)
    composite = {"last": "epsilon", "*": rule}
    explain = lrp.Explainer(nn.Sequential(layer, nn.ReLU(), nn.Flatten(), head), composite, bounds=(0.0, 1.0))
    one = flops(lambda: layer(x))
    rest = 2 * flops(lambda: head(layer(x).relu().flatten(1))) - 2 * one
    constant = 2 * one / SAMPLES  # what does not depend on the image (bounds, squares, ones) is computed once or twice
    assert flops(lambda: explain(x, "predicted")) - rest <= COST[rule] * one + constant


def test_a_rule_that_needs_no_second_look_has_none():
    """Where relevance may arrive at negative outputs, gamma needs its mirror image: the counter sees the difference."""
    x = torch.rand(SAMPLES, 8)
    layer = nn.Linear(8, 5)
    one = flops(lambda: layer(x))
    assert flops(lambda: lrp.relevance(layer, x, "predicted", "gamma")) == 5 * one
    assert flops(lambda: lrp.relevance(layer, -x, "predicted", "z_plus")) == 5 * one


@pytest.mark.parametrize("net", ["resnet18", "vgg11_bn"])
def test_what_torchvision_overwrites_is_in_no_doubt(net):
    """A copy of the net that is run as well would cost one F more."""
    net, x = build(net)
    explain = lrp.Explainer(net, {"AdaptiveAvgPool2d": "norm", "*": "z_plus"})
    assert flops(lambda: explain(x, "predicted")) < 3.5 * flops(lambda: net(x))
