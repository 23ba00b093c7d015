"""Every rule against its formula in dense matrix algebra, in float64, over layers and inputs."""

import itertools

import pytest
import torch
from torch import nn

from lrp_dynamics import lrp

LOW, HIGH = -1.5, 2.0
LAYERS = {
    "linear": lambda bias: (nn.Linear(7, 5, bias=bias), (7,)),
    "conv": lambda bias: (nn.Conv2d(2, 3, 3, bias=bias), (2, 5, 5)),
    "conv padded": lambda bias: (nn.Conv2d(2, 3, 3, padding=1, bias=bias), (2, 4, 4)),
    "conv strided, border unused": lambda bias: (nn.Conv2d(2, 3, 3, stride=2, bias=bias), (2, 6, 6)),
    "conv dilated": lambda bias: (nn.Conv2d(2, 3, 2, dilation=2, padding=1, bias=bias), (2, 4, 4)),
    "conv grouped": lambda bias: (nn.Conv2d(4, 4, 3, groups=2, padding=1, bias=bias), (4, 4, 4)),
    "conv depthwise, oblong": lambda bias: (nn.Conv2d(3, 3, (3, 1), (2, 1), groups=3, bias=bias), (3, 5, 4)),
    "conv same, even kernel": lambda bias: (nn.Conv2d(2, 3, 2, padding="same", bias=bias), (2, 4, 4)),
    "conv circular": lambda bias: (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular", bias=bias), (2, 4, 4)),
    "conv 1d": lambda bias: (nn.Conv1d(2, 3, 3, padding=1, bias=bias), (2, 6)),
    "conv 3d": lambda bias: (nn.Conv3d(1, 2, 2, bias=bias), (1, 3, 3, 3)),
}


def stab(z, epsilon, signed):
    return z + epsilon * torch.where(z < 0, -torch.ones_like(z), 1.0) if signed else z + epsilon


def share(contributions, bias, relevance, epsilon, signed):
    """Return sum_j n_ij R_j / stab(sum_i n_ij + b_j) for contributions (N, I, J)."""
    return (contributions * (relevance / stab(contributions.sum(1) + bias, epsilon, signed)).unsqueeze(1)).sum(2)


def dense(name, x, w, b, r):
    """Return the relevance of x (N, I) by dense algebra, for weights w (I, J), bias b (J,) and relevance r (N, J)."""
    n, p, m = x.unsqueeze(2) * w, w.clamp(min=0), w.clamp(max=0)
    zero = torch.zeros_like(b)
    xp, xm = x.clamp(min=0).unsqueeze(2), x.clamp(max=0).unsqueeze(2)
    if name == "epsilon":
        return share(n, b, r, 0.1, True)
    if name == "epsilon of the rms":
        z = n.sum(1) + b
        return share(n, b, r, 0.25 * z.square().mean(1, keepdim=True).sqrt(), True)
    if name == "z_plus":
        return share(xp * p + xm * m, zero, r, 1e-9, False)
    if name == "z_plus positive bias":
        return share(xp * p + xm * m, b.clamp(min=0), r, 1e-3, True)
    if name == "z_plus unsplit full bias":
        return share(x.unsqueeze(2) * p, b, r, 1e-3, True)
    if name == "z_plus of ones":
        return share(torch.ones_like(n) * p, zero, r, 1e-5, False)
    if name == "alpha_beta":
        up, down = xp * p + xm * m, xp * m + xm * p
        return 2 * share(up, zero, r, 1e-9, True) - share(down, zero, r, 1e-9, True)
    if name == "alpha_beta full bias":
        up, down = xp * p + xm * m, xp * m + xm * p
        return 3 * share(up, b.clamp(min=0), r, 1e-3, True) - 2 * share(down, b.clamp(max=0), r, 1e-3, True)
    if name == "alpha_beta conserving":
        up, down = xp * p + xm * m, xp * m + xm * p
        alpha = torch.where(down.sum(1) == 0, 1.0, 2.0)
        beta = torch.where(up.sum(1) == 0, -1.0, 1.0)
        return share(up, zero, alpha * r, 1e-9, True) - share(down, zero, beta * r, 1e-9, True)
    if name == "gamma":
        z, g = n.sum(1) + b, 0.5
        up = share(xp * (w + g * p) + xm * (w + g * m), b + g * b.clamp(min=0), r * (z > 0), 1e-6, True)
        return up + share(xp * (w + g * m) + xm * (w + g * p), b + g * b.clamp(max=0), r * (z < 0), 1e-6, True)
    if name == "gamma of the tutorial":
        return share(x.unsqueeze(2) * (w + 0.5 * p), b + 0.5 * b.clamp(min=0), r, 1e-3, True)
    if name == "z_box":
        return share(n - LOW * p - HIGH * m, zero, r, 1e-9, False)
    if name == "w_square":
        return share((w**2).expand_as(n), zero, r, 1e-9, False)
    if name == "flat":
        return share((w != 0).to(w).expand_as(n), zero, r, 1e-9, False)
    raise KeyError(name)


RULES = {
    "epsilon": {"rule": "epsilon", "epsilon": 0.1},
    "epsilon of the rms": {"rule": "epsilon", "epsilon": 0.0, "relative": 0.25},
    "z_plus": "z_plus",
    "z_plus positive bias": {"rule": "z_plus", "bias": "positive", "epsilon": 1e-3, "signed": True},
    "z_plus unsplit full bias": {
        "rule": "z_plus", "negative": "unsplit", "bias": "full", "epsilon": 1e-3, "signed": True,
    },
    "z_plus of ones": {"rule": "z_plus", "negative": "ones", "epsilon": 1e-5},
    "alpha_beta": {"rule": "alpha_beta", "signed": True},
    "alpha_beta full bias": {
        "rule": "alpha_beta", "alpha": 3, "beta": 2, "bias": "full", "epsilon": 1e-3, "signed": True,
    },
    "alpha_beta conserving": {"rule": "alpha_beta", "conserving": True, "signed": True},
    "gamma": {"rule": "gamma", "gamma": 0.5},
    "gamma of the tutorial": {"rule": "gamma", "gamma": 0.5, "generalized": False, "epsilon": 1e-3},
    "z_box": "z_box",
    "w_square": "w_square",
    "flat": "flat",
}  # fmt: skip


def matrix(layer, shape):
    """Return a layer as a matrix (I, J) and a bias (J,)."""
    zero = layer(torch.zeros(1, *shape, dtype=torch.float64)).flatten()
    unit = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).view(-1, *shape)
    return layer(unit).flatten(1) - zero, zero


@torch.no_grad()
@pytest.mark.parametrize("rule", RULES)
def test_rule_is_its_formula(rule):
    for layer, bias, sign in itertools.product(LAYERS, (True, False), ("x >= 0", "x of both signs")):
        try:
            check_rule(rule, layer, bias, sign)
        except AssertionError as error:
            raise AssertionError(f"{layer}, bias {bias}, {sign}: {error}") from error


def check_rule(rule, layer, bias, sign):
    torch.manual_seed(1)
    layer, shape = LAYERS[layer](bias)
    layer = layer.double()
    x = torch.rand(3, *shape, dtype=torch.float64)
    if sign == "x of both signs":
        x = 2 * x - 1
    w, b = matrix(layer, shape)
    bounds = (LOW, HIGH)

    # Alone: relevance of any sign arrives at any output.
    r = torch.randn(3, len(b), dtype=torch.float64)
    composite = {"rules": {"first": RULES[rule], "*": "epsilon"}}
    found = lrp.relevance(nn.Sequential(layer, nn.Flatten()), x, r, composite, bounds=bounds)
    expected = dense(rule, x.flatten(1), w, b, r)
    torch.testing.assert_close(found.input.flatten(1), expected, rtol=1e-10, atol=1e-10)

    # Below a ReLU: relevance arrives only where the output is positive, which the engine makes use of.
    head = nn.Linear(len(b), 4).double()
    model = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), head)
    found = lrp.relevance(model, x, "predicted", composite, bounds=bounds, layers=["0"])
    expected = dense(rule, x.flatten(1), w, b, found.layers["0"].flatten(1))
    torch.testing.assert_close(found.input.flatten(1), expected, rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("rule", ["epsilon", "gamma", "z_plus", "alpha_beta full bias", "z_box"])
def test_relevance_that_reaches_outputs_of_zero(rule):
    """The rule flat above sends relevance to neurons that the ReLU has silenced."""
    torch.manual_seed(0)
    layer, above = nn.Linear(7, 6).double(), nn.Linear(6, 3).double()
    x = torch.rand(4, 7).double()
    assert (layer(x) < 0).any()
    model = nn.Sequential(layer, nn.ReLU(), above)
    found = lrp.relevance(model, x, "predicted", {"1": RULES[rule], "2": "flat"}, bounds=(LOW, HIGH), layers=["0"])
    expected = dense(rule, x, layer.weight.T, layer.bias, found.layers["0"])
    torch.testing.assert_close(found.input, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("bias", [True, False])
def test_what_a_layer_absorbs_is_its_bias_its_stabilizer_and_its_dead_units(bias):
    torch.manual_seed(0)
    layer, x, r = nn.Linear(6, 4, bias=bias).double(), torch.randn(3, 6).double(), torch.randn(3, 4).double()
    found = lrp.relevance(layer, x, r, {"rules": {"*": {"rule": "epsilon", "epsilon": 0.1}}})
    z = layer(x)
    b = layer.bias if bias else torch.zeros(4)
    sg = torch.where(z < 0, -torch.ones_like(z), 1.0)
    torch.testing.assert_close(sum(found.absorbed.values()), (r * (b + 0.1 * sg) / (z + 0.1 * sg)).sum(1))
    torch.testing.assert_close(found.min_abs_z, z.abs().amin(1))

    dead = nn.Linear(2, 1, bias=False).double()
    nn.init.constant_(dead.weight, -1.0)
    found = lrp.relevance(dead, torch.ones(1, 2).double(), torch.tensor([[5.0]]))
    assert found.input.tolist() == [[0.0, 0.0]]
    assert sum(found.absorbed.values()).tolist() == [5.0]
    assert found.min_abs_z.tolist() == [0.0]


def test_min_abs_z_disregards_denominators_that_no_relevance_meets():
    layer = nn.Linear(1, 3, bias=False).double()
    layer.weight.data = torch.tensor([[1e-6], [0.5], [-2.0]], dtype=torch.float64)
    found = lrp.relevance(layer, torch.ones(2, 1).double(), torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), "epsilon")
    assert found.min_abs_z.tolist() == pytest.approx([0.5, torch.inf])
    assert found.initial.tolist() == [2.0, 0.0]


@pytest.mark.parametrize("options", [{"relative": 0.25}, {"relative": 0.25, "signed": False}, {"epsilon": 1e-9}])
def test_min_abs_z_is_exact_in_float32_beside_a_stabilizer_that_is_much_larger(options):
    layer = nn.Linear(1, 3, bias=False)
    layer.weight.data = torch.tensor([[-3e-8], [5.0], [-20.0]])
    found = lrp.relevance(layer, torch.ones(1, 1), torch.ones(1, 3), {"*": {"rule": "epsilon", **options}})
    assert found.min_abs_z.item() == pytest.approx(3e-8, rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"ceil_mode": True}, {"padding": 1}, {"stride": 1}])
def test_overlapping_max_pools_lose_nothing_and_give_ties_to_the_first(options):
    torch.manual_seed(0)
    x = torch.randn(2, 2, 7, 7).double()
    model = nn.Sequential(nn.MaxPool2d(3, **{"stride": 2, **options}), nn.Flatten())
    r = torch.randn_like(model(x))
    found = lrp.relevance(model, x, r)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(leaf), leaf, r)
    torch.testing.assert_close(found.input, expected)
    torch.testing.assert_close(found.residual, torch.zeros(2).double(), atol=1e-12, rtol=0)

    tied = lrp.relevance(nn.Sequential(nn.MaxPool2d(2), nn.Flatten()), torch.ones(1, 1, 2, 2), torch.ones(1, 1))
    assert tied.input.flatten().tolist() == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2), nn.AvgPool2d(3, 2, 1), nn.AdaptiveAvgPool2d((2, 3)), nn.AdaptiveAvgPool2d(1),
        nn.AvgPool2d(2, divisor_override=1), nn.Upsample(scale_factor=2, mode="bilinear"),
    ],
)  # fmt: skip
def test_average_pools_share_by_contribution(pool):
    torch.manual_seed(0)
    x = torch.rand(2, 2, 5, 5).double()
    w, b = matrix(pool, (2, 5, 5))
    r = torch.randn(2, len(b)).double()
    found = lrp.relevance(nn.Sequential(pool, nn.Flatten()), x, r)
    expected = share(x.flatten(1).unsqueeze(2) * w, b, r, 1e-9, True)
    torch.testing.assert_close(found.input.flatten(1), expected)


def test_max_pool_as_average():
    torch.manual_seed(0)
    x, r = torch.rand(2, 2, 4, 4).double(), torch.randn(2, 8).double()
    model = nn.Sequential(nn.MaxPool2d(2), nn.Flatten())
    found = lrp.relevance(model, x, r, {"MaxPool2d": {"rule": "average", "epsilon": 0.1}, "*": "z_plus"})
    w, b = matrix(nn.AvgPool2d(2), (2, 4, 4))
    torch.testing.assert_close(found.input.flatten(1), share(x.flatten(1).unsqueeze(2) * w, b, r, 0.1, True))


@pytest.mark.parametrize("conserving", [False, True])
@pytest.mark.parametrize("least", [0.0, 1e-3, 1.0, 300.0])
def test_alpha_beta_keeps_few_negative_products_apart_from_rounding(least, conserving):
    """In float32 the sum of all products, near 2300, says little about negative ones of -0.001, nothing about none."""
    neuron = nn.Linear(3, 1, bias=False)
    neuron.weight.data = torch.tensor([[1234.567, 1111.1113, -1.0]])
    x = torch.tensor([[1.0, 1.0, least]])
    rule = {"rule": "alpha_beta", "conserving": conserving}
    found = lrp.relevance(neuron, x, torch.ones(1, 1), {"*": rule}).input[0]
    alpha, beta = (2.0, 1.0) if least or not conserving else (1.0, 0.0)
    share = alpha / (1234.567 + 1111.1113)
    expected = torch.tensor([1234.567 * share, 1111.1113 * share, -beta if least else 0.0])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("size", [0.0, 10.0, 1e5, -1e5])
def test_alpha_beta_finds_the_products_beside_a_large_bias_that_it_drops(size):
    torch.manual_seed(0)
    layer, x, r = nn.Linear(7, 5), torch.randn(3, 7), torch.randn(3, 5)
    layer.bias.fill_(size)
    found = lrp.relevance(layer, x, r, "alpha2_beta1").input
    weight, bias = layer.weight.T.double(), layer.bias.double()
    expected = dense("alpha_beta", x.double(), weight, bias, r.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", ["epsilon", "z_plus", "alpha_beta", "gamma"])
@pytest.mark.parametrize("relative", [0.0, 0.25])
def test_without_an_epsilon_a_sample_of_zeros_has_no_relevance(rule, relative):
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 2, bias=False), torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 3.0]])
    found = lrp.relevance(layer, x, torch.ones(2, 2), {"*": {"rule": rule, "epsilon": 0.0, "relative": relative}})
    assert found.input[0].tolist() == [0.0, 0.0, 0.0]
    assert torch.isfinite(found.input).all()
    assert found.input[1].abs().max() > 0
    assert sum(found.absorbed.values())[0] == 2
