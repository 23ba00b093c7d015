"""VGG-16 with dense layers as convolutions, and what the study relies on in it."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from lrp_dynamics import models
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp import Explainer
from lrp_dynamics.models.vgg16 import fully_convolutional, vgg16_narrow
from lrp_dynamics.studies.vgg16.explaining import ends_of_blocks, for_convolutions


@pytest.fixture(scope="module")
def narrow():
    """A narrow VGG-16 whose BatchNorms have seen data, so that merging them matters."""
    model = models.build("vgg16_narrow", n_classes=10, seed=0)
    torch.manual_seed(0)
    model.train()
    for _ in range(3):
        model(torch.randn(16, 3, 32, 32))
    return model.eval()


def test_it_has_the_thirteen_convolutions_and_three_dense_layers_of_vgg16():
    ours, original = vgg16_narrow(), torchvision.models.vgg16()
    for kind in (nn.Conv2d, nn.MaxPool2d, nn.Linear):
        assert sum(isinstance(m, kind) for m in ours.modules()) == sum(isinstance(m, kind) for m in original.modules())
    widths = [[m.out_channels for m in net.features if isinstance(m, nn.Conv2d)] for net in (ours, original)]
    assert widths[0] == [width // 8 for width in widths[1]]


def test_dense_layers_as_convolutions_give_the_same_logits(narrow):
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    model = copy.deepcopy(narrow).double()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.testing.assert_close(fully_convolutional(model)(x), model(x), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_the_first_dense_layer_becomes_a_convolution_of_what_the_last_pool_leaves():
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    classifier = nn.Sequential(nn.Linear(4 * 7 * 7, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 5))
    twin = nn.Module()
    twin.features, twin.classifier = features, classifier
    x = torch.randn(2, 3, 14, 14)
    model = fully_convolutional(twin)
    assert model.classifier[0].kernel_size == (7, 7)
    expected = classifier.eval()(features(x).flatten(1))
    torch.testing.assert_close(model(x), expected)


def test_a_dense_layer_that_reads_no_square_is_refused():
    twin = nn.Module()
    twin.features = nn.Sequential(nn.Conv2d(3, 4, 3))
    twin.classifier = nn.Sequential(nn.Linear(4 * 6, 5))
    with pytest.raises(UserError, match="reads 24 values; expected a square map of 4 channels"):
        fully_convolutional(twin)


@pytest.mark.parametrize("name", ["epsilon_gamma_box", "epsilon_plus_flat", "tutorial_vgg16"])
def test_relevance_is_that_of_the_network_with_dense_layers(narrow, name):
    x, low, high = torch.rand(3, 3, 32, 32, dtype=torch.float64) * 2 - 1, -1.0, 1.0
    model = copy.deepcopy(narrow).double()
    dense = Explainer(model, name, bounds=(low, high))(x, "predicted")
    convolved = Explainer(fully_convolutional(model), for_convolutions(name), bounds=(low, high))(x, "predicted")
    scale = dense.input.abs().max()
    torch.testing.assert_close(convolved.input / scale, dense.input / scale, rtol=0, atol=1e-9)


def test_tutorial_rules_reach_all_five_blocks_and_pools_count_as_averages(narrow):
    rules = Explainer(fully_convolutional(narrow), for_convolutions("tutorial_vgg16"), bounds=(-1, 1)).describe()
    weighted = [r for r in rules.values() if r["layer"] == "Conv2d"]
    assert weighted[0]["rule"] == "z_box"
    assert [r["rule"] for r in weighted[1:7]] == ["gamma"] * 6
    assert all(r["rule"] == "epsilon" for r in weighted[7:])
    assert {r["rule"] for r in rules.values() if r["layer"] == "MaxPool2d"} == {"average"}


def test_blocks_end_before_their_pools(narrow):
    model = fully_convolutional(narrow)
    names = ends_of_blocks(model)
    assert len(names) == 5
    layers = dict(model.named_modules())
    assert all(isinstance(layers[name], nn.ReLU) for name in names)
    assert ends_of_blocks(torchvision.models.vgg16()) == [f"features.{k}" for k in (3, 8, 15, 22, 29)]
