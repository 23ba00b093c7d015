"""Maps equal those of zennit and Captum in their own conventions, on nets of every kind."""

import copy
import functools
import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lrp_dynamics import lrp

from .nets import build
from .peers import zennit_map
from .rounding import bound, clear, norms
from .test_batch_norm import as_convolutions

LOW, HIGH = 0.0, 1.0


def fused(net):
    """Return a copy of a net with its BatchNorms merged by torch, for peers that merge them inexactly or not at all."""
    net = copy.deepcopy(net)
    for parent in list(net.modules()):
        children = list(parent.named_children())
        for (name, conv), (norm_name, norm) in itertools.pairwise(children):
            if isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    return net


def error(found, expected):
    """Return the norm of the difference relative to the norm of the relevance, for the worst sample."""
    norm = lambda t: t.double().flatten(1).norm(dim=1)  # noqa: E731
    assert (norm(expected) > 0).all()
    return (norm(found - expected) / norm(expected)).max().item()


def agree(ours, theirs, net, x):
    """Compare two ways to get a map: to 1e-10 in float64; ours in float32 is within its bound of theirs in float64."""
    net = net.float()
    x = clear(net, x.shape[1:], len(x))
    expected, limit = bound(ours, net, x)
    exact = theirs(copy.deepcopy(net).double(), x.double())
    assert error(expected, exact) < 1e-10
    assert (norms(ours(net, x) - exact) <= limit).all()


ZENNIT = {
    "epsilon_plus": {}, "epsilon_plus_flat": {}, "epsilon_gamma_box": {"low": LOW, "high": HIGH},
    "epsilon_alpha2_beta1": {}, "epsilon_alpha2_beta1_flat": {},
}  # fmt: skip


LARGE = [pytest.param(net, marks=pytest.mark.long) for net in ("vgg11", "vgg11_bn", "vgg16", "resnet18")]
VERSIONS = ["0.5.1", "1.0.0"]


def ask_zennit(version, peer):
    """Return a function that gives a version's maps: here where it is installed, elsewhere in its own process."""
    if version != "0.5.1":
        return functools.partial(peer, f"zennit-{version}", zennit_map)
    pytest.importorskip("zennit")
    return zennit_map


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("net", ["blog_cnn", "small_cnn", "dense", *LARGE])
@pytest.mark.parametrize("composite", ZENNIT)
def test_zennit(net, composite, version, peer):
    ask = ask_zennit(version, peer)
    if net == "vgg11_bn" and composite != "epsilon_gamma_box":
        pytest.skip("vgg11 covers it")
    model, x = build(net)
    target = torch.tensor([3, 7])

    def theirs(model, x):
        options = {key: torch.full((1, 3, 1, 1), value, dtype=x.dtype) for key, value in ZENNIT[composite].items()}
        # It has no rule for a BatchNorm that nothing can take in, but for the convolution that it is.
        model = as_convolutions(model) if net == "dense" else fused(model)
        return ask(model, x, target, composite, options)

    def ours(model, x):
        return lrp.relevance(model, x, target, f"zennit_{composite}", bounds=(LOW, HIGH)).input

    agree(ours, theirs, model, x)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("z_plus", {}),
        ("w_square", {"zero_params": "bias"}),
        ("norm", {"stabilizer": 0.1}),
        ("epsilon", {"epsilon": 0.3}),
    ],
)
def test_zennit_rules(rule, options, version, peer):
    """Rules that no composite of zennit holds alone."""
    ask = ask_zennit(version, peer)
    model, x = build("small_cnn")
    target = torch.tensor([1, 2])
    soft = {"epsilon": 1e-6, "signed": True}
    kind = {"z_plus": "ZPlus", "w_square": "WSquare", "norm": "Epsilon", "epsilon": "Epsilon"}[rule]
    pool = options if rule == "norm" else {}
    composite = {"rule": kind, "options": {} if rule == "norm" else options, "pool": pool}
    ours = {
        "z_plus": {"rule": "z_plus", "bias": "positive", **soft},
        "w_square": {"rule": "w_square", **soft},
        "norm": {"rule": "epsilon", **soft},
        "epsilon": {"rule": "epsilon", **soft, **options},
    }[rule]
    norm = {"rule": "norm", **soft, **({"epsilon": 0.1} if rule == "norm" else {})}
    agree(
        lambda net, x: lrp.relevance(net, x, target, {"AvgPool2d": norm, "*": ours}).input,
        lambda net, x: ask(fused(net), x, target, composite),
        model,
        x,
    )


@pytest.mark.parametrize("net", ["blog_cnn", LARGE[0], LARGE[2]])
@pytest.mark.parametrize("rule", ["epsilon", "alpha1_beta0", "gamma"])
def test_captum(net, rule):
    attr, rules = pytest.importorskip("captum.attr"), pytest.importorskip("captum.attr._utils.lrp_rules")
    model, x = build(net)
    if net == "blog_cnn":  # Captum has no rule for the module Flatten
        model = _Flat(model[:5], model[6:])
    target = torch.tensor([3, 7])
    kinds = {"epsilon": rules.EpsilonRule, "alpha1_beta0": rules.Alpha1_Beta0_Rule, "gamma": rules.GammaRule}

    def theirs(model, x):
        model = copy.deepcopy(model)
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.rule = kinds[rule]()
            if isinstance(module, nn.MaxPool2d):  # Captum stabilizes here too, where nothing has to be divided
                module.rule = rules.EpsilonRule(epsilon=1e-30)
        return attr.LRP(model).attribute(x.clone().requires_grad_(), target=target).detach()

    composite = lrp.COMPOSITES[f"captum_{rule}"].describe()
    composite["rules"] = {"AdaptiveAvgPool2d": {"rule": "norm", "epsilon": 1e-9}, **composite["rules"]}
    agree(lambda net, x: lrp.relevance(net, x, target, composite).input, theirs, model, x)


class _Flat(nn.Module):
    def __init__(self, features, classifier):
        super().__init__()
        self.features, self.classifier = features, classifier

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def test_the_tutorial_and_the_repository_written_out():
    """The two conventions that no installed package offers, as plain loops over a sequential net."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10),
    ).double()  # fmt: skip
    x = torch.rand(1, 3, 12, 12).double() * 2 - 1
    activations = [x]
    for layer in net:
        activations.append(layer(activations[-1]).detach())

    def back(layer, change, a, r, stabilize):
        a, layer = a.clone().requires_grad_(), copy.deepcopy(layer)
        for parameter in layer.parameters():
            parameter.data = change(parameter.data)
        z = stabilize(layer(a))
        (z * (r / z).detach()).sum().backward()
        return (a * a.grad).detach()

    same, tight = lambda p: p, lambda z: z + 1e-9
    rms = lambda z: z + 1e-9 + 0.25 * z.square().mean().sqrt().detach()  # noqa: E731
    plan = [
        (5, same, rms), (4, same, tight), (2, lambda p: p + 0.25 * p.clamp(min=0), tight),
    ]  # fmt: skip
    r = torch.zeros(1, 10).double()
    r[0, 4] = activations[-1][0, 4]
    r = back(net[8], same, activations[8], r, tight).view(activations[7].shape)
    r = r.view(activations[6].shape)
    for k, change, stabilize in plan:
        layer = nn.AvgPool2d(2) if k == 4 else net[k]
        r = back(layer, change, activations[k], r, stabilize)
    low, high, first = torch.full_like(x, -1.0), torch.full_like(x, 1.0), net[0]
    conv = lambda v, w: nn.functional.conv2d(v, w, padding=1)  # noqa: E731
    leaves = [t.clone().requires_grad_() for t in (x, low, high)]
    w = first.weight.detach()
    z = conv(leaves[0], w) - conv(leaves[1], w.clamp(min=0)) - conv(leaves[2], w.clamp(max=0)) + 1e-9
    (z * (r / z).detach()).sum().backward()
    expected = sum(t.detach() * t.grad for t in leaves)

    tutorial = lrp.COMPOSITES["tutorial_vgg16"].rules
    rules = {
        "MaxPool2d": tutorial["MaxPool2d 1-7"], "first": tutorial["first"], "2": tutorial["2-7"],
        "3": tutorial["8-13"], "last": tutorial["14-"],
    }  # fmt: skip
    found = lrp.relevance(net, x, torch.tensor([4]), rules, bounds=(-1.0, 1.0)).input
    assert error(found, expected) < 1e-10

    def keep(r, share):
        flat = r.flatten(1)
        top = flat.topk(max(1, int(share * flat.shape[1])), 1)
        return torch.zeros_like(flat).scatter(1, top.indices, top.values).view(r.shape)

    for share, name in ((1.0, "from_scratch"), (0.02, "from_scratch_top_k")):
        r = activations[-1].softmax(1)
        for k in range(8, -1, -1):
            a = torch.ones_like(x) if k == 0 else activations[k]
            layer = nn.AvgPool2d(2) if k == 4 else net[k]
            if isinstance(layer, nn.ReLU):
                continue
            if isinstance(layer, nn.Flatten):
                r = r.view(a.shape)
                continue
            layer = copy.deepcopy(layer)
            if hasattr(layer, "bias"):
                layer.bias.data.zero_()
            r = back(layer, lambda p: p.clamp(min=0), a, keep(r, share), lambda z: z + 1e-5)
        assert error(lrp.relevance(net, x, "predicted", name).input, r) < 1e-10
