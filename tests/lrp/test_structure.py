"""Networks written in unusual ways: the engine computes what the network computes, or refuses.

Two oracles: the network's own output, and the gradient, which times the input is LRP-0 for nets of ReLUs.
"""

import copy
from threading import Thread

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from lrp_dynamics import lrp
from lrp_dynamics.base.errors import UserError

from .nets import randomize


class Net(nn.Module):
    """Layers a (6 to 5), g (6 to 5), b (5 to 5), c (5 to 3), a BatchNorm, and a forward that uses them."""

    def __init__(self, forward):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.g, self.b, self.c = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.norm, self.same, self.drop = nn.BatchNorm1d(5), nn.Identity(), nn.Dropout()
        self.relu = nn.ReLU(inplace=True)
        self.register_buffer("negative", -torch.rand(1, 5))
        self.register_buffer("order", torch.tensor([3, 1, 0, 2, 4]))
        self.head = nn.Linear(10, 3)
        self.register_buffer("scale_of", torch.rand(5, 1))
        self.written = forward
        randomize(self.double())

    def forward(self, x):
        return self.written(self, x)


def inputs(n=3):
    return torch.randn(n, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def residual(shortcut):
    """A pre-activation block whose in-place ReLU also changes what the shortcut carries, if that is an alias."""

    def forward(s, x):
        h = s.a(x)
        short = shortcut(s, h)
        return s.c(s.b(s.relu(h)) + short)

    return forward


def norm_of_an_alias(s, x):
    h = s.a(x)
    return s.c(s.norm(s.same(h)).relu() + h)


def plus_equals(s, x):
    h = s.a(x)
    short = h
    h += s.g(x)
    return s.c(s.b(h.relu()) + short)


def minus_equals_of_a_size(s, x):
    size = x.shape[1]
    before = size
    size -= 1
    return s.c(s.a(x).relu().view(-1, size)[:, : before - 1])


def view_by_sizes(s, x):
    h = s.a(x)
    view = h.view(h.size(0), -1)
    s.relu(h)
    return s.c(s.b(view) + h)


def contiguous_copy(s, x):
    crossed = s.a(x)[:, :4].view(-1, 2, 2).transpose(1, 2)
    copied = crossed.contiguous()
    s.relu(copied)
    return s.c(torch.cat([copied.flatten(1), crossed[:, 0, :1]], 1))


def part_in_place(h):
    h[:, 1:3] = h[:, :2] * 2
    h[:, 0].neg_()
    return h


RIGHT = {
    "less a mask": lambda s, x: s.c(s.a(x) - (s.g(x) > 0).double()),
    "a mask less it": lambda s, x: s.c((s.g(x) > 0).double() - s.a(x)),
    "a product with a mask": lambda s, x: s.c(
        ((s.g(x) > 0).double()[:, :, None] * torch.ones(5) @ s.a(x)[:, :, None])[..., 0]
    ),
    "addmm of two activations and weights": lambda s, x: s.c(torch.addmm(s.g(x), s.a(x).relu(), s.b.weight)),
    "addmm with factors": lambda s, x: s.c(torch.addmm(s.g(x), s.a(x).relu(), s.b.weight, beta=0.5, alpha=2)),
    "addmm of a bias with factors": lambda s, x: s.c(torch.addmm(s.b.bias, s.a(x), s.b.weight, beta=0.5, alpha=2)),
    "in place into a view read later": residual(lambda s, h: h[:, :]),
    "in place into a view by sizes": view_by_sizes,
    "in place into a copy": contiguous_copy,
    "in place into a reshaped view": residual(lambda s, h: h.view(-1, 5)),
    "a slice of chunks": lambda s, x: s.c(torch.cat(s.a(x).chunk(5, 1)[:5], 1)),
    "parts of a chunk at once": lambda s, x: s.c(torch.cat(s.a(x).chunk(5, 1), 1)),
    "a layer of parameters alone": lambda s, x: s.c(s.a(x) * s.b(s.a.bias)),
    "samples in another dimension": lambda s, x: s.c(torch.stack([s.a(x), s.g(x)]).mean(0)),
    "in place on a part": lambda s, x: s.c(part_in_place(s.a(x))),
    "samples last": lambda s, x: s.c((s.a(x).T * s.scale_of).T.relu()),
    "+= behind an alias": plus_equals,
    "-= of a size": minus_equals_of_a_size,
    "a shift that is a view of a parameter": lambda s, x: s.c((s.a(x) + s.b.bias.view(1, -1)).relu()),
    "a shift that is a sum of parameters": lambda s, x: s.c((s.a(x) + (s.b.bias + s.a.bias)).relu()),
    "a shift made of sizes": lambda s, x: s.c((s.a(x) + torch.arange(x.shape[1] - 1)).relu()),
    "a parameter beside a ReLU": lambda s, x: s.head(
        torch.cat([s.a(x).relu(), s.b.bias.unsqueeze(0).expand(x.shape[0], -1)], 1)
    ),
    "add(input, other=...)": lambda s, x: s.c(torch.add(s.a(x), other=s.g(x)).relu()),
    "sub(input, other=...)": lambda s, x: s.c(torch.sub(s.a(x), other=s.g(x)).relu()),
    "in place behind Identity": residual(lambda s, h: s.same(h)),
    "in place behind Dropout": residual(lambda s, h: s.drop(h)),
    "in place behind functional dropout": residual(lambda s, h: F.dropout(h, 0.5, s.training)),
    "in place behind contiguous": residual(lambda s, h: h.contiguous()),
    "in place behind clone": residual(lambda s, h: h.clone()),
    "in place behind torch.clone": residual(lambda s, h: torch.clone(h)),
    "in place on a view alone": lambda s, x: s.c(s.relu(s.a(x).view(-1, 5))),
    "BatchNorm of an alias": norm_of_an_alias,
    "a buffer below 0 beside a ReLU": lambda s, x: s.head(torch.cat([s.a(x).relu(), s.negative.expand(len(x), 5)], 1)),
    "a constant below 0 beside a ReLU": lambda s, x: s.head(
        torch.cat([s.a(x).relu(), torch.full((x.shape[0], 5), -1.0, dtype=torch.float64)], 1)
    ),
    "a tensor made in forward": lambda s, x: s.c((s.a(x) * torch.tensor([1.0, 2.0, -1.0, 0.5, 3.0])).relu()),
    "an index in a buffer": lambda s, x: s.c(s.a(x)[:, s.order].relu()),
    "a shape in expand": lambda s, x: s.c(s.a(x).relu().expand(x.shape[0], 5)),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_output_and_map_are_those_of_the_network(name, n):
    net, x = Net(RIGHT[name]), inputs(n)
    found = lrp.relevance(net, x, "predicted", "lrp0")
    torch.testing.assert_close(found.output, net(x))
    assert found.input.shape == x.shape
    torch.testing.assert_close(found.initial, found.input.sum(1) + sum(found.absorbed.values()))
    torch.testing.assert_close(found.input, lrp.gradient_x_input(net, x, "predicted"))


@pytest.mark.parametrize("name", ["a buffer below 0 beside a ReLU", "a constant below 0 beside a ReLU"])
def test_constants_below_zero_are_not_taken_for_activations_above(name):
    """With rules that split inputs by their sign; by hand, as one dense layer on all its inputs."""
    net, x = Net(RIGHT[name]), inputs()
    constants = net.negative.expand(3, 5) if "buffer" in name else torch.full((3, 5), -1.0, dtype=torch.float64)
    r = torch.eye(3, dtype=torch.float64)
    h = torch.cat([net.a(x).relu(), constants], 1).detach()
    products = (h[:, None] * net.head.weight).clamp(min=0).detach()
    shares = products / (products.sum(2, keepdim=True) + 1e-9)
    expected = (r[:, :, None] * shares).sum(1)
    found = lrp.relevance(net, x, r, "z_plus", layers=["a"])
    torch.testing.assert_close(found.layers["a"], expected[:, :5], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.initial, found.input.sum(1) + sum(found.absorbed.values()))


REFUSED = {
    "samples cut into patches": (lambda s, x: s.c(s.a(x).view(-1, 1).expand(-1, 5)), "first dimension"),
    "samples in another order": (lambda s, x: s.c(s.a(x).flip(0)), "mixes its samples by 'flip' at .*test_structure"),
    "a mean over samples": (lambda s, x: s.c(s.a(x) - s.a(x).mean(0)), "mixes its samples"),
    "samples behind each other": (
        lambda s, x: s.c(s.a(x).repeat(2, 1)).view(2, -1, 3).mean(0), "mixes its samples by 'view'"
    ),
    "as many as samples": (lambda s, x: s.c(s.a(x) * float(len(x))), "computes with the number of samples"),
    "a list of scores": (lambda s, x: [s.c(s.a(x))], "no single tensor"),
    "values that decide": (lambda s, x: s.c(s.a(x) if x.sum() > 0 else s.g(x)), "on the values .*test_structure"),
    "values that choose": (lambda s, x: s.c(s.a(x)[x.sum(1) > 0]), "branches on the values"),
    "an item": (lambda s, x: s.c(s.a(x) * x.max().item()), "branches on the values"),
    "random numbers": (lambda s, x: s.c(s.a(x) + torch.randn(5)), "draws random numbers .*test_structure"),
    "a sum of exponentials": (lambda s, x: s.c(s.a(x).logsumexp(1, True).expand(-1, 5)), "'logsumexp' .* no prop"),
    "nothing of the input": (lambda s, x: torch.zeros(len(x), 3), "does not depend on its input"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_wrong_is_refused(name):
    forward, told = REFUSED[name]
    with pytest.raises(UserError, match=told):
        lrp.relevance(Net(forward), inputs(), "predicted", "z_plus")


@pytest.mark.parametrize("kind", ["buffer", "attribute", "parameter"])
def test_what_is_computed_from_tensors_of_the_model_is_computed_anew(kind):
    """As a FrozenBatchNorm does, whose statistics are loaded later."""
    net, x = Net(lambda s, x: s.c(s.a(x) * (1 / s.scale).view(1, -1))), inputs()
    scale = torch.rand(5, dtype=torch.float64) + 0.5
    if kind == "buffer":
        net.register_buffer("scale", scale)
    else:
        net.scale = nn.Parameter(scale) if kind == "parameter" else scale
    explain = lrp.Explainer(net, "epsilon")
    explain(x, "predicted")
    with torch.no_grad():
        net.scale.mul_(torch.tensor([0.1, 5.0, 1.0, -1.0, 3.0]))
    torch.testing.assert_close(explain(x, "predicted").output, net(x))


def test_threads_take_turns():
    """Inputs of another sign need another plan."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 50), nn.ReLU(), nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 3)).double()
    explain = lrp.Explainer(net, {"*": {"rule": "z_plus"}})
    xs = [torch.rand(3, 6).double(), -torch.rand(3, 6).double()]
    expected = [explain(x, "predicted").input for x in xs]
    wrong = []

    def work(k):
        for _ in range(100):
            wrong.extend([k] * (not torch.equal(explain(xs[k], "predicted").input, expected[k])))

    threads = [Thread(target=work, args=(k,)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("name", ["", "a", "norm"])
def test_a_forward_put_on_an_instance_is_what_runs(name):
    net = Net(lambda s, x: s.c(s.norm(s.a(x))))
    module = net.get_submodule(name)
    run = type(module).forward
    module.forward = lambda x: run(module, x) * 2
    found = lrp.relevance(net, inputs(), "predicted", "lrp0")
    torch.testing.assert_close(found.output, net(inputs()))
    torch.testing.assert_close(found.input, lrp.gradient_x_input(net, inputs(), "predicted"))


def test_further_arguments_of_a_forward_keep_their_defaults():
    class Optional(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 3).double()

        def forward(self, x, features=False, *, scale=2.0):
            return x if features else self.a(x) * scale

    net = Optional()
    torch.testing.assert_close(lrp.relevance(net, inputs(), "predicted", "epsilon").output, net(inputs()))


def test_a_layer_that_no_relevance_reaches_has_none():
    net = Net(lambda s, x: s.c(s.a(x) + 0 * s.b(s.g(x)).shape[0]))
    found = lrp.relevance(net, inputs(), "predicted", "epsilon", layers=["a", "b"])
    assert found.layers["a"].any()
    assert torch.equal(found.layers["b"], torch.zeros(3, 5, dtype=torch.float64))


@pytest.mark.parametrize("explain", [lrp.relevance, lrp.gradient_x_input])
def test_buffers_that_a_forward_changes_stay_as_they_are(explain):
    def forward(s, x):
        s.order.add_(1)
        h = s.a(x)
        s.relu(h)
        return s.c(h)

    net = Net(forward)
    before = net.order.clone()
    explain(net, inputs(), "predicted")
    assert torch.equal(net.order, before)


def test_a_constant_that_spreads_a_channel_gathers_its_relevance():
    torch.manual_seed(0)

    class Grey(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.rand(3, 1, 1))
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.conv(x - self.mean).relu().mean((2, 3)))

    net, x = Grey().double(), torch.rand(2, 1, 6, 6).double()
    found = lrp.relevance(net, x, "predicted", "epsilon")
    assert found.input.shape == x.shape
    torch.testing.assert_close(found.initial, found.input.sum((1, 2, 3)) + sum(found.absorbed.values()))


def test_a_batch_norm_over_another_dimension_stands_alone():
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Flatten(), nn.Linear(25, 2)).double()
    net, x = randomize(net), torch.rand(3, 5, 4).double()
    assert lrp.Explainer(net, "epsilon", shape=(5, 4)).describe()["1"]["layer"] == "BatchNorm1d"
    found = lrp.relevance(net, x, "predicted", "lrp0").input
    torch.testing.assert_close(found, lrp.gradient_x_input(net, x, "predicted"))


def test_spectral_norm_in_training_takes_no_step():
    torch.manual_seed(0)
    net = nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(1, 4, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    state = copy.deepcopy(net.train().state_dict())
    lrp.relevance(net, torch.rand(2, 1, 6, 6), "predicted", "epsilon")
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert all(module.training for module in net.modules())


@pytest.mark.parametrize("measure", [lrp.relevance, lrp.sensitivity, lrp.gradient_x_input])
def test_hooks_of_any_layer_do_not_act(measure):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Unflatten(1, (4, 4)), nn.Flatten(),
        nn.Linear(16, 3),
    ).double()  # fmt: skip
    x = torch.rand(2, 1, 6, 6).double()
    plain = measure(net, x, "predicted")
    for module in net.modules():
        module.register_forward_hook(lambda *_: pytest.fail("a hook ran"))
        module.register_forward_pre_hook(lambda *_: pytest.fail("a hook ran"))
    hooked = measure(net, x, "predicted")
    plain, hooked = (v.input if isinstance(v, lrp.Relevance) else v for v in (plain, hooked))
    assert torch.equal(plain, hooked)


def test_an_input_changed_behind_the_back_of_torch_is_looked_at_anew():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    x = torch.rand(3, 6).double()
    explain = lrp.Explainer(net)
    explain(x, "predicted")
    x.data.sub_(0.5)
    torch.testing.assert_close(explain(x, "predicted").input, lrp.relevance(net, x, "predicted").input)
    x.data[0, 0] = torch.nan
    with pytest.raises(UserError, match="NaN"):
        explain(x, "predicted")


def test_a_model_that_changed_its_structure_is_refused():
    net, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), torch.rand(2, 6)
    explain = lrp.Explainer(net)
    old, net[2] = net[2], nn.Linear(5, 3)
    with pytest.raises(UserError, match="make a new one"):
        explain(x, "predicted")
    net[2] = old
    explain(x, "predicted")
    prune.l1_unstructured(net[0], "bias", 0.5)
    torch.testing.assert_close(explain(x, "predicted").output, net(x))


def test_a_subclass_keeps_its_own_forward():
    class Standardized(nn.Conv2d):
        def forward(self, x):
            return self._conv_forward(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)

    net = nn.Sequential(parametrizations.weight_norm(Standardized(1, 3, 3)), nn.Flatten(), nn.Linear(48, 2))
    net, x = net.double(), torch.rand(2, 1, 6, 6).double()
    torch.testing.assert_close(lrp.relevance(net, x, "predicted").output, net(x))


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"padding": 1}, {"stride": 2}, {"dilation": 2}, {"groups": 3}])
def test_functional_convolutions_are_those_of_modules(kernel, options):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, kernel, **options)

        def forward(self, x):
            return F.conv2d(x, self.conv.weight, self.conv.bias, **options).flatten(1)

    torch.manual_seed(0)
    net, x = Net().double(), torch.rand(2, 3, 8, 8).double()
    found = lrp.relevance(net, x, "predicted", "gamma")
    torch.testing.assert_close(found.output, net(x))
    same = nn.Sequential(net.conv, nn.Flatten())
    torch.testing.assert_close(found.input, lrp.relevance(same, x, "predicted", "gamma").input)


def test_values_of_one_number_per_sample():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Linear(4, 3)

        def forward(self, x):
            x = torch.relu(self.hidden(x)).mean(1)
            return (x + x).unsqueeze(1)

    torch.manual_seed(0)
    net, x = Net().double(), torch.rand(5, 4).double()
    found = lrp.relevance(net, x, "predicted", "lrp0")
    torch.testing.assert_close(found.input, lrp.gradient_x_input(net, x, "predicted"))
    torch.testing.assert_close(found.residual, sum(found.absorbed.values()))
    rule = {"Add": {"rule": "norm", "relative": 0.25}, "*": "epsilon"}
    together = lrp.relevance(net, x, "predicted", rule).input
    torch.testing.assert_close(together[:1], lrp.relevance(net, x[:1], "predicted", rule).input)
