"""Composites: keys, presets, tables, plain data, and messages."""

import json

import pytest
import torch
from torch import nn

from lrp_dynamics import lrp
from lrp_dynamics.base.errors import UserError

from .nets import small_cnn


def rules_of(composite, model=None):
    explainer = lrp.Explainer(model or small_cnn(), composite, bounds=(0, 1), shape=(3, 12, 12))
    return {name: rule["rule"] for name, rule in explainer.describe().items()}


def test_the_first_key_that_fits_decides():
    rules = {"first": "flat", "[8]": "alpha_beta", "2": "w_square", "Conv2d": "gamma", "3-": "epsilon", "*": "z_plus"}
    found = rules_of(rules)
    assert [found[k] for k in ("0", "3", "8", "11")] == ["flat", "w_square", "alpha_beta", "epsilon"]
    assert [found[k] for k in ("2", "6", "7")] == ["winner", "norm", "pass"]


def test_keys_by_type_name_and_depth():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3))
            self.head = nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.features(x).mean((2, 3)))

    found = rules_of({"features.0": "flat", "MaxPool2d": "average", "features.*": "gamma", "last": "epsilon"}, Net())
    assert [found[k] for k in ("features.0", "features.2", "features.3", "head")] == [
        "flat",
        "average",
        "gamma",
        "epsilon",
    ]
    found = rules_of({"MaxPool2d 2-": "average", "Conv2d 2": "gamma", "*": "z_plus"}, Net())
    assert [found[k] for k in ("features.0", "features.2", "features.3")] == ["z_plus", "winner", "gamma"]


@pytest.mark.parametrize("name", lrp.COMPOSITES)
def test_a_composite_survives_json(name):
    composite = lrp.COMPOSITES[name]
    data = json.loads(json.dumps(composite.describe()))
    again = lrp.Composite(**data)
    assert again == composite
    if name != "tutorial_vgg16":
        x = torch.rand(2, 3, 12, 12).double()
        maps = [lrp.relevance(small_cnn(), x, "predicted", c, bounds=(0, 1)).input for c in (name, data)]
        assert torch.equal(*maps)


def test_the_table_shows_every_layer_its_rule_and_what_differs_from_the_default():
    table = str(
        lrp.Explainer(small_cnn(), {"first": {"rule": "epsilon", "epsilon": 0.25}, "*": "z_plus"}, shape=(3, 12, 12))
    )
    assert table.splitlines()[:6] == [
        "layer  type       rule",
        "0      Conv2d     epsilon(epsilon=0.25)",
        "1      ReLU       pass",
        "2      MaxPool2d  winner",
        "3 + 4  Conv2d     z_plus",
        "5      ReLU       pass",
    ]


def test_the_tutorial_is_for_vgg16():
    with torch.device("meta"):
        vgg16 = pytest.importorskip("torchvision").models.vgg16()
    found = lrp.Explainer(vgg16.eval(), "tutorial_vgg16", bounds=(0, 1), shape=(3, 224, 224)).describe()
    assert found["features.0"]["rule"] == "z_box"
    assert [found[f"features.{k}"]["rule"] for k in (2, 14)] == ["gamma"] * 2
    assert [found[f"features.{k}"]["relative"] for k in (17, 28, 23, 30)] == [0.25] * 4
    assert [found[f"features.{k}"]["relative"] for k in (4, 9, 16)] == [0.0] * 3
    assert [found[f"classifier.{k}"]["relative"] for k in (0, 3, 6)] == [0.0] * 3


@pytest.mark.parametrize(
    ("composite", "message"),
    [
        ({"Conv2d": "gamma"}, "no rule for layer '8' .Linear.*'Linear: epsilon'"),
        ({"*": "gama"}, "rule 'gama' is unknown; choose one of epsilon"),
        ({"*": {"rule": "gamma", "alpha": 1}}, "rule 'gamma' has no option 'alpha'; it has "),
        ({"*": {"rule": "epsilon", "epsilon": -1.0}}, "must be >= 0"),
        ({"*": {"rule": "alpha_beta", "alpha": 2.0, "beta": 0.5}}, "expected alpha - beta = 1"),
        ({"*": {"rule": "epsilon", "bias": "none"}}, "bias is 'none'; expected drop, positive, full"),
        ({"convs.*": "gamma", "*": "epsilon"}, "no layer fits the key 'convs"),
        ({"Conv2d 9-": "gamma", "*": "epsilon"}, "no layer has the depth '9-'; the network has . layers with weights"),
        ({"5": "gamma", "*": "epsilon"}, "no layer has the depth '5'.*; for the layer of that name write '.5.'"),
        ({"MaxPool2d": "gamma", "*": "epsilon"}, "'2' .MaxPool2d. the rule 'gamma', which is for weighted layers"),
        ({"Linear": "winner", "*": "epsilon"}, "'8' .Linear. the rule 'winner', which is for maxpool layers"),
        ({"rules": {"*": "epsilon"}, "initial": "max"}, "initial is 'max'; expected one of logit"),
        ({"rules": {"*": "epsilon"}, "top_k": 0}, "top_k is 0"),
        ({"rules": {"*": "epsilon"}, "topk": 0.1}, "key 'topk' is unknown"),
    ],
)
def test_mistakes_in_a_composite_are_told(composite, message):
    with pytest.raises(UserError, match=message):
        lrp.Explainer(small_cnn(), composite, shape=(3, 12, 12))


def test_a_result_shows_what_it_is_and_no_tensors():
    shown = repr(lrp.relevance(small_cnn(), torch.rand(5, 3, 12, 12).double(), "predicted", "epsilon", layers=["3"]))
    assert shown.startswith("Relevance of 5 inputs, (5, 3, 12, 12), torch.float64:\n")
    assert "layers 3" in shown
    assert "tensor" not in shown
    assert len(shown.splitlines()) == 5
