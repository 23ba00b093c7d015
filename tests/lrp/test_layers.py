"""Which layer each operation becomes, and how it is called."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrp_dynamics import lrp
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp import kinds

from .test_structure import Net, inputs


def test_a_container_keeps_its_name_beside_a_function_of_that_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.add, self.last = nn.Sequential(nn.Linear(6, 6), nn.ReLU()), nn.Linear(6, 2)

        def forward(self, x):
            return self.last(self.add(x) + x)

    torch.manual_seed(0)
    found = lrp.relevance(Named(), torch.rand(2, 6), "predicted", "epsilon", layers=["add", "add#2", "add.1"])
    assert torch.equal(found.layers["add"], found.layers["add.1"])
    assert not torch.equal(found.layers["add"], found.layers["add#2"])


@pytest.mark.parametrize("name", ["trunc", "special_i0", "channel_reversal", "cumsum", "frac", "logcumsumexp"])
def test_what_no_table_knows_is_tried(name, monkeypatch):
    """As for an operation of a torch to come: by random values it is linear, a move, of single values, or refused."""
    functions = {
        "trunc": (lambda h: torch.trunc(h), "Trunc", "pass"),
        "special_i0": (lambda h: torch.special.i0(h), "I0", "pass"),
        "channel_reversal": (lambda h: h.flip(1), "Flip", "pass"),
        "cumsum": (lambda h: h.cumsum(1), "Cumsum", "norm"),
        "frac": (lambda h: h.frac(), "Frac", "pass"),
        "logcumsumexp": (lambda h: h.logcumsumexp(1), None, None),
    }
    function, kind, rule = functions[name]
    monkeypatch.setattr(kinds, "MOVES", set())
    monkeypatch.setattr(kinds, "AVERAGES", set())
    monkeypatch.setattr(kinds, "POINTWISE", set())
    monkeypatch.setattr(torch.Tag, "pointwise", None, raising=False)
    net = Net(lambda s, x: s.c(function(s.a(x))))
    if kind is None:
        with pytest.raises(UserError, match="no propagation rule"):
            lrp.relevance(net, inputs(), "predicted", "epsilon")
        return
    table = {row["layer"]: row["rule"] for row in lrp.Explainer(net, "epsilon", shape=(6,)).describe().values()}
    assert table[kind] == rule


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.attend = nn.Linear(4, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = self.embed(x)
        return self.head((h + self.attend(h, h, h, need_weights=False)[0]).mean(1))


def test_the_parts_of_attention_are_named_after_it():
    explain = lrp.Explainer(Attending(), {"attend*": "gamma", "*": "epsilon"}, shape=(5, 4))
    rules = {name: row["rule"] for name, row in explain.describe().items()}
    assert [rules[f"attend.{part}"] for part in ("in_proj", "softmax", "out_proj")] == ["gamma", "constant", "gamma"]
    assert "attend.softmax" in str(explain)
    assert "view" not in str(explain)


def test_a_forward_that_changes_the_precision():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm, self.b = nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 3).half()

        def forward(self, x):
            return self.b(self.norm(self.a(x).double().float()).half())

    torch.manual_seed(0)
    net, x = Mixed(), torch.randn(2, 6)
    found = lrp.relevance(net, x, "predicted", "epsilon")
    assert found.output.dtype == torch.float32
    torch.testing.assert_close(found.output, net(x).float(), rtol=1e-2, atol=1e-2)


def test_a_graph_module_is_a_module():
    net, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double(), inputs()
    found = lrp.relevance(torch.fx.symbolic_trace(net), x, "predicted", "z_plus").input
    assert torch.equal(found, lrp.relevance(net, x, "predicted", "z_plus").input)


def test_relevance_that_comes_to_a_comparison_stays_there():
    net = Net(lambda s, x: s.c(torch.cat([s.a(x)[:, :3], (s.a(x)[:, 3:] > 0).double()], 1)))
    found = lrp.relevance(net, inputs(), "predicted", "lrp0")
    torch.testing.assert_close(found.input, lrp.gradient_x_input(net, inputs(), "predicted"))
    torch.testing.assert_close(found.initial, found.input.sum(1) + sum(found.absorbed.values()))


@pytest.mark.parametrize("branch", ["circular", "padded by a function", "circular first"])
def test_a_relu_does_not_overwrite_what_a_padding_convolution_reads(branch):
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.plain, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)
            self.circular = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")

        def forward(self, x):
            h = self.stem(x)
            if branch == "circular first":
                h = self.circular(h) + h.relu()
            else:
                h = h.relu() + (self.circular(h) if branch == "circular" else self.plain(F.pad(h, (1, 1, 1, 1))))
            return self.head(h.mean((2, 3)))

    torch.manual_seed(0)
    net, x = Branches().double(), torch.randn(3, 1, 8, 8).double()
    found = lrp.relevance(net, x, "predicted", "lrp0")
    torch.testing.assert_close(found.output, net(x))
    torch.testing.assert_close(found.input, lrp.gradient_x_input(net, x, "predicted"))
