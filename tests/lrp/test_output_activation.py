"""Activations at the very end that would turn signs: LRP starts before them, and says so."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrp_dynamics import lrp
from lrp_dynamics.base.errors import UserError


class Ending(nn.Module):
    """A small net, and what a function makes of its scores."""

    def __init__(self, end):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()
        self.end = end

    def forward(self, x):
        return self.end(self.net(x))


ENDS = {
    "Sigmoid": nn.Sigmoid(),
    "torch.sigmoid": torch.sigmoid,
    "F.sigmoid": F.sigmoid,
    "x.sigmoid()": lambda x: x.sigmoid(),
    "x.sigmoid_()": lambda x: x.sigmoid_(),
    "Softmax": nn.Softmax(1),
    "F.softmax(-1)": lambda x: F.softmax(x, dim=-1),
    "x.softmax(1)": lambda x: x.softmax(1),
    "LogSoftmax": nn.LogSoftmax(dim=1),
    "F.log_softmax": lambda x: F.log_softmax(x, 1),
    "Softplus": nn.Softplus(),
    "Hardsigmoid": nn.Hardsigmoid(),
    "LogSigmoid": nn.LogSigmoid(),
    "reshaped after it": lambda x: torch.sigmoid(x).flatten(1),
    "dropped after it": lambda x: F.dropout(x.softmax(1), training=False),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_scores_before_it_are_explained(name):
    x = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    net = Ending(ENDS[name])
    scores = net.net(x)
    assert (scores.gather(1, scores.argmin(1, keepdim=True)) < 0).any()
    for target in (scores.argmin(1), "predicted", torch.randn(8, 3).double()):
        found = lrp.relevance(net, x, target, "lrp0", layers=["net.0"])
        expected = lrp.relevance(net.net, x, target, "lrp0", layers=["0"])
        torch.testing.assert_close(found.output, scores)
        torch.testing.assert_close(found.input, expected.input)
        torch.testing.assert_close(found.layers["net.0"], expected.layers["0"])
        assert found.output_activation
        assert expected.output_activation is None


def test_it_is_named():
    net = nn.Sequential(nn.Linear(4, 2), nn.Sigmoid())
    assert lrp.relevance(net, torch.rand(2, 4), "predicted").output_activation == "1"
    assert str(lrp.Explainer(net)).splitlines()[-1].split() == ["1", "Sigmoid", "left", "out"]


@pytest.mark.parametrize("end", [nn.Softmax(0), lambda x: F.softmax(x, 0)])
def test_a_softmax_over_samples_is_refused(end):
    with pytest.raises(UserError, match="mixes its samples by '_softmax'"):
        lrp.relevance(Ending(end), torch.randn(3, 6).double(), "predicted", "epsilon")


def test_a_softmax_that_weighs_the_scores_is_a_gate():
    found = lrp.relevance(Ending(lambda x: x * x.softmax(1)), torch.randn(3, 6).double(), "predicted", "epsilon")
    assert found.output_activation is None
    assert "softmax" not in found.absorbed


@pytest.mark.parametrize("end", [nn.ReLU(), nn.Tanh(), nn.LeakyReLU()])
def test_what_keeps_signs_is_passed_through(end):
    x = torch.randn(8, 6).double()
    found = lrp.relevance(Ending(end), x, "predicted", "epsilon")
    torch.testing.assert_close(found.output, Ending(end)(x))
    assert found.output_activation is None


def test_an_activation_within_the_net_stays():
    net = nn.Sequential(nn.Linear(6, 4), nn.Sigmoid(), nn.Linear(4, 3)).double()
    x = torch.randn(2, 6).double()
    found = lrp.relevance(net, x, "predicted", "epsilon")
    torch.testing.assert_close(found.output, net(x))


def test_scores_that_something_overwrites_are_still_compared_with_the_models_own():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x):
            h = self.a(x).view(-1, 2, 2)
            copied = h.contiguous()
            torch.relu_(copied)
            return torch.sigmoid(self.b(copied.flatten(1)))

    torch.manual_seed(0)
    net, x = Net().double(), torch.randn(5, 6).double()
    found = lrp.relevance(net, x, "predicted", "epsilon")
    torch.testing.assert_close(found.output.sigmoid(), net(x))
