"""BatchNorm that nothing can take in, and constants that are added: affine layers with rules of their own.

Oracles: the same function with each BatchNorm written as the depthwise convolution by 1×1 that it is, and the gradient,
which times the input is LRP-0.
"""

import copy

import pytest
import torch
from torch import nn

from lrp_dynamics import lrp

from .nets import PreActivation, build, preactivation, randomize
from .rounding import bound, clear, norms

EXACT = {"rule": "norm", "epsilon": 0.0}
LRP_0 = dict.fromkeys(("Add", "AvgPool2d", "AdaptiveAvgPool2d", "Shift"), EXACT)
LRP_0 |= {"*": {"rule": "epsilon", "epsilon": 0.0}}


def as_convolutions(net):
    """Return a copy in which each BatchNorm is a depthwise convolution."""
    net = copy.deepcopy(net)
    for parent in list(net.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                kind = {nn.BatchNorm2d: nn.Conv2d, nn.BatchNorm3d: nn.Conv3d}.get(type(norm), nn.Conv1d)
                conv = kind(norm.num_features, norm.num_features, 1, groups=norm.num_features).double()
                scale = norm.weight / (norm.running_var + norm.eps).sqrt()
                conv.weight.data = scale.detach().view(conv.weight.shape)
                conv.bias.data = (norm.bias - norm.running_mean * scale).detach()
                setattr(parent, name, conv)
    return net


def on_the_input():
    return nn.Sequential(
        nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3), nn.ReLU(), PreActivation(6), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(96, 4),
    )  # fmt: skip


def series():
    return nn.Sequential(
        nn.Conv1d(3, 5, 3), nn.ReLU(), nn.BatchNorm1d(5), nn.Conv1d(5, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4)
    )


def volume():
    return nn.Sequential(nn.BatchNorm3d(2), nn.ReLU(), nn.Conv3d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(81, 4))


NETS = {
    "pre-activation": (preactivation, (3, 16, 16)),
    "on the input": (on_the_input, (3, 10, 10)),
    "series": (series, (3, 12)),
    "volume": (volume, (2, 4, 4, 4)),
}


def made(name):
    torch.manual_seed(0)
    make, shape = NETS[name]
    return randomize(make().double()), torch.rand(3, *shape, dtype=torch.float64)


@pytest.mark.parametrize("name", NETS)
def test_every_composite_treats_it_as_the_convolution_that_it_is(name):
    net, x = made(name)
    same = as_convolutions(net)
    torch.testing.assert_close(net(x), same(x))
    for composite in lrp.COMPOSITES:
        if composite == "tutorial_vgg16":
            composite = {"first": "z_box", "2": "gamma", "3": "w_square", "*": "epsilon"}
        ours, theirs = (lrp.relevance(n, x, "predicted", composite, bounds=(0.0, 1.0)) for n in (net, same))
        torch.testing.assert_close(ours.input, theirs.input, rtol=1e-8, atol=1e-10 * theirs.input.abs().max().item())
        torch.testing.assert_close(ours.min_abs_z, theirs.min_abs_z)
        assert ours.absorbed.keys() == theirs.absorbed.keys()
        for layer, taken in theirs.absorbed.items():
            torch.testing.assert_close(ours.absorbed[layer], taken, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NETS)
def test_lrp_0_is_gradient_times_input(name):
    net, x = made(name)
    expected = lrp.gradient_x_input(net, x, "predicted")
    found = lrp.relevance(net, x, "predicted", LRP_0).input
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10 * expected.abs().max().item())


def test_a_rule_for_its_type_and_a_default_where_no_key_fits():
    net = made("pre-activation")[0]
    rules = {"Conv2d": "z_plus", "Linear": "epsilon"}
    table = lrp.Explainer(net, rules).describe()
    assert table["1.norm"] == {"layer": "BatchNorm2d", **lrp.RULES["epsilon"]().describe()}
    assert lrp.Explainer(net, {"BatchNorm2d": "gamma", **rules}).describe()["1.norm"]["rule"] == "gamma"
    dense = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.BatchNorm1d(3), nn.Linear(3, 2)).eval()
    assert lrp.Explainer(dense, {"Linear": "z_plus"}).describe()["2"]["rule"] == "epsilon"


def test_it_counts_as_a_layer_with_weights():
    assert lrp.Explainer(made("on the input")[0], {"first": "flat", "*": "z_plus"}).describe()["0"]["rule"] == "flat"


class Written(nn.Module):
    """Scale and shift written out, as in a FrozenBatchNorm, and constants on either side."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)
        self.register_buffer("scale", torch.rand(5) + 0.5)
        self.register_buffer("shift", torch.randn(5))

    def forward(self, x):
        h = torch.relu(self.a(1.5 - x)) * self.scale + self.shift
        h = torch.add(self.shift, torch.relu(h), alpha=0.5) - 0.25
        return self.b(torch.sub(2.0, h))


def test_constants_that_are_added_take_their_share():
    torch.manual_seed(0)
    net, x = Written().double(), torch.rand(4, 6).double()
    found = lrp.relevance(net, x, "predicted", LRP_0)
    torch.testing.assert_close(found.input, lrp.gradient_x_input(net, x, "predicted"))
    taken = sum(found.absorbed.values())
    torch.testing.assert_close(found.initial, found.input.sum(1) + taken)
    assert found.absorbed["add_1"].abs().min() > 0


@pytest.mark.long
def test_densenet_in_float32_is_within_its_bound():
    """It was NaN, since relevance passed by each BatchNorm undivided."""
    net = build("densenet121")[0].float()
    x = clear(net, (3, 32, 32), 2)
    for composite in ("lrp0", "epsilon_plus", "z_plus"):
        expected, limit = bound(lambda n, x, c=composite: lrp.relevance(n, x, torch.tensor([3, 7]), c).input, net, x)
        found = lrp.relevance(net, x, torch.tensor([3, 7]), composite)
        assert (norms(found.input - expected) <= limit).all()
