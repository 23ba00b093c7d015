"""Other packages, asked for maps. Those that are no dependencies run in processes of their own.

`make peers` puts each of them, without its dependencies, into a folder of its own under .peers (or where
LRP_DYNAMICS_PEERS says), which a process puts before what is installed.
"""

import io
import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from .attention import Transformer

FOLDER = Path(os.environ.get("LRP_DYNAMICS_PEERS") or Path(__file__).parents[2] / ".peers")


@contextmanager
def processes():
    """Give a function ``ask(peer, function, *arguments)``, which lets a function run where a peer is installed."""
    pools = {}

    def ask(peer, function, *arguments):
        if not (FOLDER / peer).is_dir():
            pytest.skip(f"{peer} is not installed in {FOLDER}; `make peers` does it")
        if peer not in pools:
            context = get_context("spawn")
            pools[peer] = ProcessPoolExecutor(1, context, initializer=prefer, initargs=(str(FOLDER / peer),))
        written = io.BytesIO()
        torch.save(arguments, written)
        return torch.from_numpy(pools[peer].submit(call, function, written.getvalue()).result())

    try:
        yield ask
    finally:
        for pool in pools.values():
            pool.shutdown()


def prefer(folder):
    sys.path.insert(0, folder)
    warnings.simplefilter("ignore")


def call(function, arguments):
    return function(*torch.load(io.BytesIO(arguments), weights_only=False)).detach().numpy()


def seed(out, target):
    """Return the relevance that every package starts from: the logits of the target."""
    return out.detach() * F.one_hot(target, out.shape[1])


def zennit_map(net, x, target, composite, options=None):
    """Return zennit's map under one of its composites, or under one rule for all layers (a mapping)."""
    from zennit import composites, rules, types
    from zennit.attribution import Gradient
    from zennit.torchvision import ResNetCanonizer

    if isinstance(composite, str):
        canonizers = [ResNetCanonizer()] if type(net).__name__ == "ResNet" else []
        made = composites.COMPOSITES[composite](canonizers=canonizers, **(options or {}))
    else:
        rule, pool = getattr(rules, composite["rule"])(**composite["options"]), rules.Norm(**composite["pool"])
        layers = [(types.Activation, rules.Pass()), (types.AvgPool, pool), (types.Linear, rule)]
        made = composites.LayerMapComposite(layers)
    with Gradient(net, made) as attributor:
        return attributor(x.clone().requires_grad_(), lambda out: out * F.one_hot(target, out.shape[1]))[1]


def autolrp_map(net, x, target, rules, like_ours=False):
    """Return autolrp's map; with additions shared as here, in proportion to signed values, if `like_ours`."""
    import autolrp

    def shares(a, b, relevance, eps, *_, attribute="both"):
        s = relevance / (a + b)
        return a * s, b * s

    wrapped = autolrp.tensor(x)
    out = net(wrapped).gather(1, target[:, None])[:, 0]
    rules = {**autolrp.BASE, **rules, **({"AddBackward": shares} if like_ours else {})}
    out.sum().lrp(config=autolrp.LRPConfig(rule=rules, eps=1e-30))
    logits = out.detach().as_subclass(torch.Tensor)
    # Its sum over the batch gave each logit its share of 1.
    return wrapped.relevance.as_subclass(torch.Tensor) * (logits.abs().sum() * logits.sign()).view(-1, 1, 1, 1)


def lxt_map(net, x, target, epsilon=None):
    """Return the map of LXT's functions in place of the net's, with an epsilon for all of them or their own."""
    import lxt.explicit.functional as lf
    from lxt.explicit import rules

    options = {} if epsilon is None else {"epsilon": epsilon}

    class Explained(Transformer):
        def convolve(self, layer, x):
            return rules.epsilon_lrp(layer, options.get("epsilon", 1e-6), x)

        def linear(self, layer, x):
            return lf.linear_epsilon(x, layer.weight, layer.bias, **options)

        def norm(self, layer, x):
            return lf.layer_norm_grad_fn.apply(x, layer.weight, layer.bias, layer.eps, *options.values())

        def add(self, a, b):
            return lf.add2(a, b, **options)

        def matmul(self, a, b):
            return lf.matmul(a, b, **options)

        def scale(self, a, factor):
            return lf.mul2(a, factor)

        def softmax(self, a):
            return lf.softmax(a, -1)

        def gelu(self, a):
            return rules.identity(F.gelu, a)

    net.__class__ = Explained
    x = x.clone().requires_grad_()
    out = net(x)
    out.backward(seed(out, target))
    return x.grad


def lxt_vision_map(net, x, target):
    """Return the map of LXT's patches for torchvision's vision transformers: CP-LRP as gradient times input."""
    import types

    import lxt

    for name in ("lxt.efficient", "lxt.efficient.models"):  # what they import besides is for language models
        package = sys.modules[name] = types.ModuleType(name)
        package.__path__ = [str(Path(lxt.__path__[0]).joinpath(*name.split(".")[1:]))]
    from lxt.efficient.models.vit_torch import cp_LRP

    for layer, patch in cp_LRP.items():
        patch(layer)
    x = x.clone().requires_grad_()
    net(x).gather(1, target[:, None]).sum().backward()
    return x * x.grad
