"""Maps in float32 lie within the stated bound of those in float64, in any batch and layout, on any processor."""

import pytest
import torch

from lrp_dynamics import lrp

from .nets import build
from .rounding import bound, clear, norms

COMPOSITES = ("z_plus", "from_scratch", "epsilon", "epsilon_rms", "epsilon_gamma_box", "alpha2_beta1", "gamma", "lrp0")


@pytest.mark.parametrize(
    ("net", "samples"),
    [
        ("blog_cnn", 13),
        ("residual", 5),
        ("bottleneck", 5),
        ("preactivation", 5),
        pytest.param("resnet18", 3, marks=pytest.mark.long),
        pytest.param("vgg11", 3, marks=pytest.mark.long),
    ],
)
def test_float32_is_within_its_bound(net, samples):
    net = build(net)[0].float()
    x, target = clear(net, (3, 32, 32), samples), torch.arange(samples) % 10
    last = torch.channels_last
    for composite in COMPOSITES:

        def explain(net, x, composite=composite):
            return lrp.relevance(net, x, target[: len(x)], composite, bounds=(0.0, 1.0)).input

        expected, limit = bound(explain, net, x)
        ways = {
            "together": explain(net, x),
            "alone": explain(net, x[:1]),
            "two": explain(net, x[:2]),
            "channels last": explain(net, x.contiguous(memory_format=last)),
        }
        with torch.backends.mkldnn.flags(enabled=False):
            ways["without oneDNN"] = explain(net, x)
        for way, found in ways.items():
            assert (norms(found - expected[: len(found)]) <= limit[: len(found)]).all(), (composite, way)


def test_the_bound_is_not_loose():
    """Weights of 16 bits give a map beyond it."""
    net = build("blog_cnn")[0].float()
    x = clear(net, (3, 32, 32), 3)
    explain = lambda net, x: lrp.relevance(net, x, torch.arange(3), "z_plus").input  # noqa: E731
    expected, limit = bound(explain, net, x)
    assert (norms(explain(net.bfloat16().float(), x) - expected) > limit).all()
