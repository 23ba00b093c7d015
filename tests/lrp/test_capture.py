"""A network is recorded once for each structure and shape, from a copy, and what is kept never goes stale."""

import copy
import gc
import pickle
import random
import subprocess
import sys
import warnings
from types import SimpleNamespace
from unittest.mock import patch
from weakref import ref

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from lrp_dynamics import lrp
from lrp_dynamics.lrp import plans
from lrp_dynamics.lrp.passes import explained
from lrp_dynamics.lrp.plans import plan_for
from lrp_dynamics.lrp.signs import annotate, releases
from lrp_dynamics.lrp.structure import paths

from .nets import build, randomize, small_cnn


class Busy(nn.Module):
    """A forward that counts, remembers, and writes into what it holds."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.calls, self.seen, self.record, self.act = 0, [], {"last": None}, nn.ReLU(inplace=True)
        self.register_buffer("count", torch.zeros(()))
        self.total = torch.zeros(4)

    def forward(self, x):
        self.calls += 1
        self.count += 1
        h = self.act(self.norm(self.conv(x)))
        self.seen.append(h)
        self.record["last"] = h
        self.total += h.mean((0, 2, 3)).detach()
        return self.head(h.mean((2, 3)))


def images(n=2, side=8):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0)).double()


def test_the_model_is_not_run_changed_or_left_with_anything():
    net = randomize(Busy()).double()
    net.total = net.total.double()
    before = {name: dict(vars(module)) for name, module in net.named_modules()}
    state = copy.deepcopy(net.state_dict())
    lrp.relevance(net, images(), "predicted", "epsilon")
    assert net.calls == 0
    assert net.seen == []
    assert net.record == {"last": None}
    assert not net.total.any()
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    for name, module in net.named_modules():
        assert vars(module).keys() == before[name].keys()
        assert all(not hooks for key, hooks in vars(module).items() if key.endswith("_hooks"))


def test_a_second_explanation_records_nothing():
    net = randomize(Busy()).double()
    net.total = net.total.double()
    lrp.relevance(net, images(), "predicted", "epsilon")
    with patch.object(plans, "capture", side_effect=AssertionError("it was recorded again")):
        lrp.relevance(net, images(5), "predicted", "z_plus")  # of another batch, by another composite
        with torch.no_grad():
            net.conv.weight.mul_(2)
            net.norm.running_mean.add_(1)
        net.head.weight = nn.Parameter(torch.randn(3, 4).double())
        found = lrp.Explainer(net.train(), "epsilon", as_eval=True)(images(), "predicted")
        torch.testing.assert_close(found.output, net.eval()(images()))


def changed_module(net):
    net[3] = nn.Conv2d(8, 6, 3).double()


def changed_container(net):
    net[1] = nn.Sequential(nn.ReLU(), nn.Tanh())


def changed_setting(net):
    net[6].kernel_size = 1
    net[6].stride = 2


def changed_type(net):
    nn.utils.parametrizations.weight_norm(net[3])
    with torch.no_grad():
        net[3].parametrizations.weight.original0.mul_(3)


def changed_mask(net):
    nn.utils.prune.l1_unstructured(net[0], "weight", 0.5)


def changed_bias(net):
    net[3].bias = None


@pytest.mark.parametrize(
    "change", [changed_module, changed_container, changed_setting, changed_type, changed_mask, changed_bias]
)
def test_what_is_kept_is_never_stale(change):
    net, x = randomize(small_cnn()), images(2, 12)
    before = lrp.relevance(net, x, "predicted", "epsilon").output
    change(net)
    found = lrp.relevance(net, x, "predicted", "epsilon").output
    torch.testing.assert_close(found, net(x))
    assert not torch.equal(found, before)


def test_a_value_of_the_model_that_its_forward_looks_at_is_looked_at_anew():
    class Switch(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)
            self.register_buffer("second", torch.tensor(False))

        def forward(self, x):
            return self.b(x) if self.second else self.a(x)

    net, x = Switch().double(), torch.randn(2, 4).double()
    explain = lrp.Explainer(net, "epsilon")
    torch.testing.assert_close(explain(x, "predicted").output, net(x))
    net.second.fill_(True)
    torch.testing.assert_close(explain(x, "predicted").output, net(x))


def test_a_model_is_let_go():
    net = small_cnn()
    lrp.relevance(net, images(2, 12), "predicted")
    kept = ref(net)
    del net
    gc.collect()
    assert kept() is None


def test_neither_a_compiler_nor_algebra_is_imported():
    code = (
        "import sys, torch; from lrp_dynamics import lrp; from lrp_dynamics.models import blog_cnn;"
        "lrp.relevance(blog_cnn(), torch.rand(2, 3, 32, 32), 'predicted');"
        "print([m for m in ('sympy', 'torch._dynamo', 'torch.fx.experimental.symbolic_shapes') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class Reads(TorchDispatchMode):
    """Counts how often a value is read back."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def whole_pass(net, x, composite):
    """Run the pass alone, as after the arguments were looked at."""
    plan = plan_for(net, paths(net), tuple(x.shape[1:]), x.dtype)
    composite = lrp.composites.make_composite(composite)
    steps = annotate(plan, composite.assign(plan.layers), True)
    bounds = torch.zeros((), dtype=x.dtype, device=x.device), torch.ones((), dtype=x.dtype, device=x.device)
    return explained(plan, steps, releases(plan, steps), paths(net), x, None, bounds, [], composite)[0]


@pytest.mark.parametrize("composite", sorted(set(lrp.COMPOSITES) - {"tutorial_vgg16"}))
@pytest.mark.parametrize("net", ["small_cnn", "residual", "preactivation"])
def test_the_pass_reads_no_value_back(net, composite):
    """A GPU would wait for each; and a pass that knows no values, on fake tensors, can read none."""
    net, x = build(net)
    x = x.to(next(net.parameters()).dtype)
    with torch.no_grad(), Reads() as reads:
        real = whole_pass(net, x, composite)
    assert reads.count == 0
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True) as fake:
        found = whole_pass(net, fake.from_tensor(x), composite)
    assert [t.shape for t in found] == [t.shape for t in real]


def test_what_a_model_keeps_of_its_weights_in_eval_mode_is_not_stale():
    """As LeViT keeps what its position bias gives, until it trains again."""

    class Cached(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.bias, self.cache = nn.Linear(4, 3), nn.Parameter(torch.ones(3)), {}

        def train(self, mode=True):
            self.cache = {}
            return super().train(mode)

        def forward(self, x):
            if not self.cache:
                self.cache["bias"] = self.bias.detach().exp()
            return self.fc(x) + self.cache["bias"]

    net, x = Cached().double().eval(), torch.rand(2, 4).double()
    net(x)
    explain = lrp.Explainer(net, "epsilon")
    torch.testing.assert_close(explain(x, "predicted").output, net(x))
    with torch.no_grad():
        net.train().bias.add_(1)
    net.eval()(x)
    torch.testing.assert_close(explain(x, "predicted").output, net(x))
    torch.testing.assert_close(lrp.relevance(net, x, "predicted", "epsilon").output, net(x))


class Settings(nn.Module):
    """A forward that reads settings of every kind."""

    def __init__(self):
        super().__init__()
        self.layer, self.words, self.sizes = nn.Linear(4, 3), {"scale": 1.0}, [2.0]
        self.options, self.array = SimpleNamespace(shift=1.0), np.ones(3)

    def forward(self, x):
        y = self.layer(x) * self.words["scale"] * self.sizes[0] + self.options.shift
        return y * torch.as_tensor(self.array)


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.words.update(scale=3.0),
        lambda net: net.sizes.append(0) or net.sizes.__setitem__(0, 5.0),
        lambda net: setattr(net.options, "shift", 7.0),
        lambda net: net.array.__setitem__(1, 4.0),
    ],
)
def test_settings_in_containers_are_looked_at_too(change):
    net, x = Settings().double(), torch.rand(2, 4).double()
    explain = lrp.Explainer(net, "epsilon")
    explain(x, "predicted")
    change(net)
    for found in (explain(x, "predicted"), lrp.relevance(net, x, "predicted", "epsilon")):
        torch.testing.assert_close(found.output, net(x))


def test_random_numbers_are_those_that_would_have_come():
    class Drawing(nn.Linear):
        def forward(self, x):
            torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002
            return super().forward(x)

    drawn = []
    for explains in (False, True):
        torch.manual_seed(0), random.seed(0), np.random.seed(0)  # noqa: NPY002
        net = Drawing(4, 3)
        if explains:
            lrp.relevance(net, torch.ones(2, 4), "predicted")
        drawn.append((torch.rand(1).item(), random.random(), np.random.rand()))  # noqa: NPY002
    assert drawn[0] == drawn[1]


def test_an_explainer_can_be_copied_and_pickled():
    net, x = small_cnn(), images(2, 12)
    explain = lrp.Explainer(net, "deep_taylor", bounds=(0.0, 1.0))
    expected = explain(x, "predicted").input
    for other in (copy.deepcopy(explain), pickle.loads(pickle.dumps(explain))):
        assert torch.equal(other(x, "predicted").input, expected)


def test_hooks_are_told_of_since_they_may_change_values():
    net = small_cnn()
    nn.utils.parametrizations.weight_norm(net[0])
    nn.utils.prune.l1_unstructured(net[3], "weight", 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lrp.relevance(net, images(2, 12), "predicted")
    net = small_cnn()
    net[3].register_forward_hook(lambda module, inputs, output: output * 0)
    with pytest.warns(UserWarning, match="hooks of '3' do not run here"):
        lrp.relevance(net, images(2, 12), "predicted")
