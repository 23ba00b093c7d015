"""Ways to explain a network, ours and those of peers, each as a function that returns the map of an input."""

from __future__ import annotations

import copy

import torch
from torch import nn

from lrp_dynamics import lrp
from lrp_dynamics.models import blog_cnn

LOW, HIGH = -2.0, 2.0


def full_float32() -> None:
    """Let nothing be computed in TF32 or less, which torch does by default for convolutions on a GPU."""
    backends = torch.backends
    for part in (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv):
        part.fp32_precision = "ieee"


def build(name: str, samples: int, device: str):
    """Return a network with random weights of the usual scale, an input and a target."""
    torch.manual_seed(0)
    if name == "blog_cnn":
        net, size = blog_cnn(), 32
    else:
        import torchvision

        net, size = getattr(torchvision.models, name)(weights=None), 224
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.Linear) and not module.weight.any():  # the head of a ViT
                nn.init.normal_(module.weight, std=0.02)
    if name == "blog_cnn":  # pixels, as its experiment has them; the larger nets have inputs of both signs
        x = torch.rand(samples, 3, size, size)
    else:
        x = (torch.randn(samples, 3, size, size) / 2).clamp(LOW, HIGH)
    target = torch.arange(samples) % 10
    return net.eval().to(device), x.to(device), target.to(device)


def plain_way(net, x):
    @torch.no_grad()
    def run():
        return net(x)

    return run


def our_way(composite: str, net, x, target, *, replay: bool = True):
    if composite == "zennit_epsilon":
        rules = {"AdaptiveAvgPool2d": lrp.COMPOSITES["zennit_z_plus"].rules["AdaptiveAvgPool2d"], "*": "epsilon"}
        composite = lrp.Composite(composite, rules)
    explain = lrp.Explainer(net, composite, bounds=(LOW, HIGH), replay=replay)
    again = explain.fixed(x, target)
    return (lambda: explain(x, target).input) if x.device.type == "cpu" else (lambda: again().input)


def zennit_way(composite: str, net, x, target):
    from zennit import composites, rules, types
    from zennit.attribution import Gradient
    from zennit.torchvision import ResNetCanonizer

    options = {"canonizers": [ResNetCanonizer()] if "ResNet" in type(net).__name__ else []}
    if composite in ("z_plus", "epsilon"):
        rule = rules.ZPlus() if composite == "z_plus" else rules.Epsilon()
        made = composites.LayerMapComposite([*composites.layer_map_base(), (types.Linear, rule)], **options)
    else:
        if composite == "epsilon_gamma_box":
            shape = (1, 3, 1, 1)
            options |= {
                "low": torch.full(shape, LOW, device=x.device),
                "high": torch.full(shape, HIGH, device=x.device),
            }
        made = composites.COMPOSITES[composite](**options)
    attributor = Gradient(copy.deepcopy(net), made)
    attributor.__enter__()  # registered once, as our explainer is traced once
    hot = None

    def run():
        nonlocal hot
        if hot is None:
            hot = nn.functional.one_hot(target, net(x[:1]).shape[1]).to(x)
        return attributor(x, lambda out: out * hot)[1]

    return run


def captum_way(rule: str, net, x, target):
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule

    net = copy.deepcopy(net)
    if isinstance(net, nn.Sequential):
        net = _Flattening(net)  # Captum has no rule for the module Flatten
    kinds = {"epsilon": EpsilonRule, "gamma": GammaRule, "alpha1_beta0": Alpha1_Beta0_Rule}
    x = x.clone().requires_grad_()

    def run():
        for module in net.modules():  # Captum deletes the rules after each call
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.rule = kinds[rule]()
        return LRP(net).attribute(x, target=target).detach()

    return run


def autolrp_way(composite: str, net, x, target):
    import autolrp

    dense = dict.fromkeys(("AddmmBackward", "MmBackward"), "zplus")
    rules = {
        "epsilon": {},
        "z_plus": {"ConvolutionBackward": "zplus", **dense},
        "epsilon_plus": {"ConvolutionBackward": "zplus"},
        "epsilon_gamma_box": {
            "input_conv": ("zbox", {"low": LOW, "high": HIGH}),
            "ConvolutionBackward": ("gamma", {"gamma": 0.25}),
        },
        "attnlrp": {"SoftmaxBackward": "jacobian", "NativeLayerNormBackward": "detach_std"},
    }[composite]
    config = autolrp.LRPConfig(rule={**autolrp.BASE, **rules}, eps=1e-9)

    def run():
        wrapped = autolrp.tensor(x)
        scores = net(wrapped).gather(1, target[:, None])[:, 0]
        scores.sum().lrp(config=config)
        # Its sum gave each score its share of 1.
        plain = scores.detach().as_subclass(torch.Tensor)
        factor = plain.abs().sum() * plain.sign()
        return wrapped.relevance.as_subclass(torch.Tensor) * factor.view(-1, 1, 1, 1)

    return run


class _Flattening(nn.Module):
    def __init__(self, net: nn.Sequential):
        super().__init__()
        at = next(k for k, module in enumerate(net) if isinstance(module, nn.Flatten))
        self.features, self.classifier = net[:at], net[at + 1 :]

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


WAYS = {"zennit": zennit_way, "zennit 1.0": zennit_way, "captum": captum_way, "autolrp": autolrp_way}
