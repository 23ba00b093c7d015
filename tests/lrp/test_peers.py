"""Maps equal those of autolrp and LXT where their conventions can be said here: attention and norms foremost.

What remains different, and by how much, is in docs/lrp/composites.md.
"""

import copy

import pytest
import torch

from lrp_dynamics import lrp

from .attention import transformer, vision_transformer
from .nets import build
from .peers import autolrp_map, lxt_map, lxt_vision_map
from .test_oracles import LARGE, error

AUTOLRP, LXT = "autolrp-0.2.0", "lxt-2.1"
TARGET = torch.tensor([3, 7])
EXACT = {"rule": "norm", "epsilon": 0.0}
HALF, GATE = {"rule": "half", "epsilon": 0.0}, {"rule": "gate", "epsilon": 0.0}
LRP_0 = {"rule": "epsilon", "epsilon": 0.0}  # both are for all layers, each for those it can be for


def without_biases(net):
    """Return a copy in which nothing is added but activations."""
    net = copy.deepcopy(net)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            parameter.data.zero_()
    for module in net.modules():
        if getattr(module, "running_mean", None) is not None:
            module.running_mean.zero_()
    return net


@pytest.mark.parametrize("net", ["blog_cnn", "residual", LARGE[0], LARGE[3]])
@pytest.mark.parametrize("rule", ["epsilon", "z_plus", "alpha_beta", "gamma"])
def test_autolrp(net, rule, peer):
    """It shares relevance between a bias and the rest by magnitude, here there is none."""
    model, x = build(net)
    model, x = without_biases(model).double(), x.double()
    kind, ours = {
        "epsilon": ("epsilon", LRP_0),
        "z_plus": ("zplus", {"rule": "z_plus", "epsilon": 0.0}),
        "alpha_beta": (("alpha_beta", {"alpha": 2.0, "beta": 1.0}), {"rule": "alpha_beta", "epsilon": 0.0}),
        "gamma": (("gamma", {"gamma": 0.25}), {"rule": "gamma", "epsilon": 0.0}),
    }[rule]
    rules = dict.fromkeys(("ConvolutionBackward", "AddmmBackward", "MmBackward"), kind)
    expected = peer(AUTOLRP, autolrp_map, model, x, TARGET, rules, True)
    assert error(lrp.relevance(model, x, TARGET, {"*": ours, "**": EXACT}).input, expected) < 1e-10


def attention(norm, product, softmax):
    """Return LRP-0 with a rule for each thing on which conventions of attention differ."""
    return {"LayerNorm": norm, "MatMul": product, "Softmax": softmax, "*": LRP_0, "**": EXACT}


@pytest.mark.parametrize("way", ["attnlrp", "cp_lrp"])
def test_autolrp_attention(way, peer):
    net, x = transformer(bias=False)
    attn = {"SoftmaxBackward": "jacobian"}
    cp = {"bilinear": ("detach", {"by": "attention_weights"})}
    rules = {"NativeLayerNormBackward": "passthrough", **(attn if way == "attnlrp" else cp)}
    expected = peer(AUTOLRP, autolrp_map, net, x, TARGET, rules, True)
    ours = attention("pass", HALF, "taylor") if way == "attnlrp" else attention("pass", GATE, "constant")
    assert error(lrp.relevance(net, x, TARGET, ours).input, expected) < 1e-10


def test_lxt(peer):
    """AttnLRP with biases, positions and the norm's statistics, by LXT's functions written out for the net."""
    net, x = transformer()
    exact = lrp.relevance(net, x, TARGET, attention(EXACT, HALF, "taylor")).input
    assert error(exact, peer(LXT, lxt_map, net, x, TARGET, 0.0)) < 1e-10
    named = lrp.relevance(net, x, TARGET, "attnlrp").input  # with stabilizers of another kind
    assert error(named, peer(LXT, lxt_map, net, x, TARGET)) < 1e-3


def test_lxt_vision_transformer(peer):
    """CP-LRP as LXT does it for torchvision's nets, whose attention is a MultiheadAttention."""
    net, x = vision_transformer()
    expected = peer(LXT, lxt_vision_map, net, x, TARGET)
    exact = lrp.relevance(net, x, TARGET, attention(EXACT, GATE, "constant")).input
    assert error(exact, expected) < 1e-6  # it adds 1e-10 to what a GELU divides by
    assert error(lrp.relevance(net, x, TARGET, "cp_lrp").input, expected) < 1e-3
