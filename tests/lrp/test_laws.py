"""Laws that hold for every net: the balance closes, and a map is its sample's alone."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lrp_dynamics import lrp
from lrp_dynamics.lrp import engine
from lrp_dynamics.lrp.kernels import few_channels_back, library_back
from lrp_dynamics.lrp.layers import Step
from lrp_dynamics.models import blog_cnn

from .nets import Block, build, randomize, small_cnn

CONSERVING = {"z_plus", "deep_taylor", "w_square_plus", "innvestigate_z_plus", "alpha2_beta1_conserving"}


@st.composite
def nets(draw):
    """Return a random convolutional net for 3×12×12 inputs with up to five stages."""
    torch.manual_seed(draw(st.integers(0, 10**6)))
    width, layers = 3, []
    kinds = st.sampled_from(["conv", "block", "pool", "cat"])
    for kind in ["conv", *draw(st.lists(kinds, max_size=3))]:
        if kind == "conv":
            groups = draw(st.sampled_from([g for g in (1, 2, 3) if width % g == 0]))
            out = draw(st.sampled_from([6, 12]))
            options = {"padding": draw(st.integers(1, 2)), "stride": draw(st.integers(1, 2)), "groups": groups}
            layers.append(nn.Conv2d(width, out, 3, bias=draw(st.booleans()), **options))
            if draw(st.booleans()):
                layers.append(nn.BatchNorm2d(out))
            layers.append(nn.ReLU(inplace=draw(st.booleans())))
            width = out
        elif kind == "block":
            out = draw(st.sampled_from([width, 6]))
            layers.append(Block(width, out))
            width = out
        elif kind == "cat":
            layers.append(Branches(width))
            width = 2 * width
        else:
            layers.append(draw(st.sampled_from([nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, ceil_mode=True)])))
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, 6), nn.ReLU(), nn.Linear(6, 4)]
    return randomize(nn.Sequential(*layers).double(), draw(st.integers(0, 100)))


class Branches(nn.Module):
    """Two convolutions of one input, one of them run twice, side by side."""

    def __init__(self, width):
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        b = torch.relu(self.b(x))
        return torch.cat([torch.relu(self.a(x)), torch.relu(self.b(b))], 1)


@settings(max_examples=60, deadline=None)
@given(net=nets(), composite=st.sampled_from(sorted(lrp.COMPOSITES)), seed=st.integers(0, 100))
def test_the_balance_closes(net, composite, seed):
    if composite == "tutorial_vgg16":
        composite = "from_scratch_top_k"  # the tutorial's is for VGG-16 alone
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(3, 3, 12, 12, generator=generator, dtype=torch.float64)
    found = lrp.relevance(net, x, "predicted", composite, bounds=(0.0, 1.0))
    given, taken = found.initial, found.input.flatten(1).sum(1)
    absorbed = sum(found.absorbed.values())
    scale = given.abs() + found.input.abs().flatten(1).sum(1) + sum(a.abs() for a in found.absorbed.values())
    assert ((given - taken - absorbed).abs() <= 1e-11 * scale).all()
    torch.testing.assert_close(found.residual, given - taken)
    torch.testing.assert_close(found.output, net(x))
    assert torch.isfinite(found.input).all()


@settings(max_examples=40, deadline=None)
@given(net=nets())
def test_lrp_0_is_gradient_times_input_on_any_net(net):
    x = torch.rand(3, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    norm = {"rule": "norm", "epsilon": 0.0}
    zero = {"Add": norm, "AvgPool2d": norm, "AdaptiveAvgPool2d": norm, "*": {"rule": "epsilon", "epsilon": 0.0}}
    zero = {key: rule for key, rule in zero.items() if key != "Add" or any(isinstance(m, Block) for m in net)}
    found, expected = lrp.relevance(net, x, "predicted", zero), lrp.gradient_x_input(net, x, "predicted")
    torch.testing.assert_close(found.input, expected, rtol=1e-7, atol=1e-9 * expected.abs().max().item())


def unassuming(plan, rules, input_nonnegative):
    """Annotate a plan with nothing: any value may have any sign, any output may get relevance."""
    return [Step(layer, rule) for layer, rule in zip(plan.layers, rules, strict=True)]


@settings(max_examples=60, deadline=None)
@given(net=nets(), composite=st.sampled_from(sorted(lrp.COMPOSITES)))
def test_what_the_graph_tells_changes_no_map(net, composite):
    if composite == "tutorial_vgg16":
        composite = {"first": "gamma", "2": "flat", "*": "epsilon"}
    x = torch.rand(3, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fast = lrp.relevance(net, x, "predicted", composite, bounds=(0.0, 1.0), layers="all")
    everything = lambda plan, steps: [[] for _ in steps]  # noqa: E731
    with patch.object(engine, "annotate", unassuming), patch.object(engine, "releases", everything):
        slow = lrp.relevance(net, x, "predicted", composite, bounds=(0.0, 1.0), layers="all")
    for name in slow.layers:
        expected = slow.layers[name]
        scale = expected.abs().max().item()
        torch.testing.assert_close(fast.layers[name], expected, rtol=1e-6, atol=1e-8 * scale)
    torch.testing.assert_close(fast.input, slow.input, rtol=1e-6, atol=1e-8 * slow.input.abs().max().item())


@settings(max_examples=30, deadline=None)
@given(
    composite=st.sampled_from(sorted(CONSERVING)),
    seed=st.integers(0, 10**6),
    depth=st.integers(1, 3),
    groups=st.sampled_from([1, 3]),
)
def test_rules_without_bias_conserve(composite, seed, depth, groups):
    """What conserving rules absorb is what dead units cannot pass on, and the stabilizer."""
    torch.manual_seed(seed)
    layers, width = [], 3
    for _ in range(depth):
        layers += [nn.Conv2d(width, 9, 3, padding=1, groups=groups), nn.ReLU(), nn.MaxPool2d(3, 2)]
        width = 9
    net = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(4))
    x = torch.rand(2, 3, 24, 24, dtype=torch.float64)
    net = net.double()
    net(x)
    found = lrp.relevance(net, x, "predicted", composite, bounds=(0.0, 1.0))
    if found.min_abs_z.min() < 1e-4:  # a unit that passes nothing on
        return
    assert (found.residual.abs() <= 1e-4 * found.initial.abs()).all()


@pytest.mark.parametrize(
    "net", ["blog_cnn", "bottleneck", "preactivation", pytest.param("vgg11", marks=pytest.mark.long)]
)
def test_a_map_does_not_depend_on_its_batch_mates(net):
    """Single samples, pairs and all at once, in float64; what float32 adds to it is in test_float32.py."""
    net = build(net)[0].double()
    x = torch.rand(7, 3, 32, 32).double()
    x[3] *= 1e-3  # a mate of another scale
    target = torch.arange(7) % 4
    for composite in ("z_plus", "from_scratch", "epsilon", "epsilon_rms", "epsilon_gamma_box", "alpha2_beta1", "gamma"):
        together = lrp.relevance(net, x, target, composite, bounds=(0.0, 1.0))
        for first, last in [(0, 1), (3, 4), (1, 3), (6, 7), (0, 6)]:
            part = lrp.relevance(net, x[first:last], target[first:last], composite, bounds=(0.0, 1.0))
            difference = (together.input[first:last] - part.input).flatten(1).norm(dim=1)
            assert (difference <= 1e-12 * part.input.flatten(1).norm(dim=1)).all(), (composite, first, last)
            torch.testing.assert_close(together.min_abs_z[first:last], part.min_abs_z, rtol=1e-6, atol=0)


@given(
    channels=st.integers(1, 4),
    size=st.tuples(st.integers(7, 10), st.integers(7, 10)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
)
def test_the_adjoint_for_images_is_the_librarys(channels, size, kernel, stride, padding, dilation):
    torch.manual_seed(0)
    x, weight = torch.rand(2, channels, *size).double(), torch.randn(5, channels, *kernel).double()
    geometry = (stride, padding, dilation, False, (0, 0), 1)
    s = torch.randn_like(torch.convolution(x, weight, None, *geometry))
    expected = library_back(s, x, weight, geometry)
    torch.testing.assert_close(few_channels_back(s, x, weight, geometry), expected, rtol=0, atol=1e-12)


def test_the_batch_rms_of_the_tutorial_is_the_exception():
    torch.manual_seed(0)
    net, x = nn.Linear(5, 3).double(), torch.rand(2, 5).double() * torch.tensor([[1.0], [100.0]])
    rule = {"rule": "epsilon", "relative": 0.25}
    alone = lrp.relevance(net, x[:1], "predicted", {"*": rule}).input
    torch.testing.assert_close(lrp.relevance(net, x, "predicted", {"*": rule}).input[:1], alone)
    assert not torch.allclose(lrp.relevance(net, x, "predicted", {"*": {**rule, "over": "batch"}}).input[:1], alone)


def test_the_same_call_gives_the_same_bytes():
    torch.manual_seed(0)
    net, x = blog_cnn(), torch.rand(5, 3, 32, 32)
    first, second = (lrp.relevance(net, x, "predicted").input.numpy().tobytes() for _ in range(2))
    assert first == second


def test_lrp_0_is_gradient_times_input():
    """Ancona et al. 2018: for ReLU nets, with the bias in the denominators."""
    net, x = small_cnn(), torch.rand(3, 3, 12, 12).double()
    for target in ("predicted", torch.tensor([0, 1, 2])):
        zero = lrp.relevance(net, x, target, "lrp0").input
        torch.testing.assert_close(zero, lrp.gradient_x_input(net, x, target))


def test_sensitivity_is_the_squared_slope():
    net, x = small_cnn(), torch.rand(1, 3, 12, 12).double()
    found = lrp.sensitivity(net, x, torch.tensor([1]))[0, 2, 5, 6]
    step = torch.zeros_like(x)
    step[0, 2, 5, 6] = 1e-6
    slope = (net(x + step) - net(x - step))[0, 1] / 2e-6
    torch.testing.assert_close(found, slope**2, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("initial", "expected"),
    [
        ("logit", lambda z: z[:, 1]),
        ("relu", lambda z: z[:, 1].clamp(min=0)),
        ("one", lambda z: torch.ones_like(z[:, 1])),
        ("softmax", lambda z: torch.ones_like(z[:, 1])),
    ],
)
def test_forms_of_the_initial_relevance(initial, expected):
    net, x = small_cnn(), torch.rand(3, 3, 12, 12).double()
    composite = {"rules": {"*": "epsilon"}, "initial": initial}
    found = lrp.relevance(net, x, torch.ones(3, dtype=torch.long), composite)
    torch.testing.assert_close(found.initial, expected(net(x)))


def test_relevance_at_any_layer_is_the_sum_of_what_follows():
    torch.manual_seed(0)
    net = randomize(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), Block(6, 6), nn.Flatten(), nn.Linear(600, 4)))
    x = torch.rand(2, 3, 12, 12)
    found = lrp.relevance(net, x, "predicted", layers="all")
    assert {"0", "1", "2.conv1", "2.relu", "3", "4"} <= set(found.layers)
    torch.testing.assert_close(found.layers["4"].sum(1), found.initial)
    assert found.layers["2.conv1"].shape == (2, 6, 10, 10)
    above = {name: v for name, v in found.absorbed.items() if name != "0"}
    torch.testing.assert_close(found.layers["0"].flatten(1).sum(1), found.initial - sum(above.values()))
    # A container is its last layer, a merged BatchNorm the layer that computes it.
    some = lrp.relevance(net, x, "predicted", layers=["2", "2.bn1"])
    torch.testing.assert_close(some.layers["2"], found.layers["2.relu#2"])
    torch.testing.assert_close(some.layers["2.bn1"], found.layers["2.conv1"])
