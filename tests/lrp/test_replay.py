"""What a GPU needs of a pass: no value read back, few operations, and the same again as one graph."""

import copy
from collections import Counter

import pytest
import torch
import torchvision
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from lrp_dynamics import lrp
from lrp_dynamics.lrp.passes import explained
from lrp_dynamics.lrp.plans import plan_for
from lrp_dynamics.lrp.replay import EAGER, REPLAYED, Graph, Graphs
from lrp_dynamics.lrp.signs import annotate, releases
from lrp_dynamics.lrp.structure import paths
from lrp_dynamics.models import blog_cnn

from .nets import small_cnn

NO_KERNEL = {  # views, and what only asks for memory
    "view", "t", "transpose", "detach", "expand", "slice", "select", "unsqueeze", "permute", "_unsafe_view", "alias",
    "_to_copy", "empty", "empty_like", "device",
}  # fmt: skip


class Kernels(TorchDispatchMode):
    """Counts operations that compute."""

    def __init__(self):
        super().__init__()
        self.names = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))

    @property
    def count(self):
        return sum(count for name, count in self.names.items() if name not in NO_KERNEL)


# Of a layer with weights: two maps forward and one back, their forms, the division, the balance and the smallest
# denominator; a BatchNorm beside it is its scale and shift.
@pytest.mark.parametrize(
    ("make", "shape", "most"),
    [(blog_cnn, (100, 3, 32, 32), 9), (torchvision.models.resnet18, (8, 3, 64, 64), 13)],
)
@pytest.mark.parametrize("composite", ["z_plus", "epsilon_plus", "epsilon"])
def test_the_pass_runs_on_a_gpu_without_a_look_at_values(make, shape, most, composite):
    """On fake tensors of a GPU, which none is needed for: they have no values."""
    net = make().eval()
    plan = plan_for(net, paths(net), shape[1:], torch.float32)
    composite = lrp.composites.make_composite(composite)
    steps = annotate(plan, composite.assign(plan.layers), True)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), Kernels() as kernels:
        x, target = torch.zeros(shape, device="cuda"), torch.zeros(shape[0], dtype=torch.int64, device="cuda")
        found, names = explained(plan, steps, releases(plan, steps), paths(net), x, target, None, [], composite)
    assert {t.device.type for t in found} == {"cuda"}
    assert found[0].shape == shape
    assert len(found[2]) == 3 + len(names)
    assert kernels.names["_local_scalar_dense"] == 0
    assert kernels.count / len(plan.layers) < most


class OnTheCpu(Graph):
    """What a CUDA graph does, on the CPU: the same run again, on the arguments' own memory, into the same results."""

    def record(self):
        self.found, self.rest = self.run(*self.arguments)
        return [tensor.clone() for tensor in self.found]

    def replay(self):
        for mine, new in zip(self.found, self.run(*self.arguments)[0], strict=True):
            mine.copy_(new)


class Wrong(OnTheCpu):
    """A graph whose replay finds something else."""

    def replay(self):
        self.found[0].mul_(2)


def explainer_with(record):
    """Return a small network, and an Explainer of it that makes graphs on the CPU."""
    net = small_cnn()
    explain = lrp.Explainer(net, "z_plus")
    explain._graphs = Graphs(record, "cpu")
    return net, explain


def images(n, seed):
    return torch.rand(n, 3, 12, 12, generator=torch.Generator().manual_seed(seed)).double()


def test_calls_of_one_kind_are_replayed_and_see_new_weights_and_inputs():
    net, explain = explainer_with(OnTheCpu)
    plain = lrp.Explainer(net, "z_plus")
    ran = []
    for step in range(5):
        x, target = images(3, step), torch.tensor([step % 3, 0, 1])
        expected, found = plain(x, target), explain(x, target)
        ran.append(explain.ran)
        assert torch.equal(found.input, expected.input)
        assert found.absorbed.keys() == expected.absorbed.keys()
        assert all(torch.equal(found.absorbed[name], expected.absorbed[name]) for name in expected.absorbed)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(1.1)
    assert ran == [EAGER, *[REPLAYED] * 4]


def test_results_are_the_callers_own():
    _, explain = explainer_with(OnTheCpu)
    first = [explain(images(3, step), "predicted").input for step in range(3)]
    kept = [r.clone() for r in first]
    explain(images(3, 9), "predicted")
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))


def test_weights_in_other_memory_and_other_shapes_are_recorded_anew():
    net, explain = explainer_with(OnTheCpu)
    for _ in range(2):
        explain(images(3, 0), "predicted")
    assert explain.ran == REPLAYED
    for parameter in net.parameters():
        parameter.data = parameter.data * 2
    expected = lrp.relevance(net, images(3, 0), "predicted").input
    assert torch.equal(explain(images(3, 0), "predicted").input, expected)
    assert explain.ran == EAGER
    for n in (4, 5, 6):
        explain(images(n, 0), "predicted")
        assert explain.ran == EAGER
    assert len(explain._graphs._kept) == 2


def test_what_cannot_be_recorded_runs_as_before_and_says_why():
    def refuse(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    net, explain = explainer_with(refuse)
    expected = lrp.relevance(net, images(3, 0), "predicted").input
    for _ in range(3):
        assert torch.equal(explain(images(3, 0), "predicted").input, expected)
    assert explain.ran == f"{EAGER}, since a graph was refused: operation not permitted when stream is capturing"


def test_a_graph_that_finds_something_else_is_not_used():
    net, explain = explainer_with(Wrong)
    expected = lrp.relevance(net, images(3, 0), "predicted").input
    for _ in range(3):
        assert torch.equal(explain(images(3, 0), "predicted").input, expected)
    assert explain.ran.endswith("its replay finds something else")


def test_fixed_inputs_are_looked_at_once_and_cannot_change():
    net = small_cnn()
    explain, x, target = lrp.Explainer(net, "epsilon"), images(3, 0), torch.tensor([0, 1, 2])
    again, expected = explain.fixed(x, target), explain(x, target).input
    x.fill_(torch.nan), target.fill_(0)
    assert torch.equal(again().input, expected)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.1)
    assert torch.equal(again().input, explain(images(3, 0), torch.tensor([0, 1, 2])).input)
    net.float()  # another precision is another plan
    assert again().input.dtype == torch.float64
    assert torch.equal(again().input, explain(images(3, 0), torch.tensor([0, 1, 2])).input)


def test_fixed_inputs_are_refused_as_others_are():
    explain = lrp.Explainer(small_cnn(), "epsilon")
    with pytest.raises(lrp.engine.UserError, match="expected classes from 0 to"):
        explain.fixed(images(3, 0), torch.tensor([0, 1, 99]))()
    with pytest.raises(lrp.engine.UserError, match="NaN"):
        explain.fixed(images(3, 0) * torch.nan, torch.tensor([0, 1, 2]))()
    assert explain.fixed(images(0, 0), torch.zeros(0).long())().input.shape == (0, 3, 12, 12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("composite", ["z_plus", "epsilon_plus", "epsilon_gamma_box"])
def test_on_a_gpu_replayed_maps_are_those_of_the_cpu(composite):
    torch.manual_seed(0)
    net, x = blog_cnn(), torch.rand(10, 3, 32, 32)
    bounds = (0.0, 1.0)
    exact = lrp.relevance(copy.deepcopy(net).double(), x.double(), "predicted", composite, bounds=bounds).input
    explain = lrp.Explainer(net.cuda(), composite, bounds=bounds)
    maps = [explain(x.cuda(), "predicted").input for _ in range(4)]
    assert explain.ran == REPLAYED
    assert torch.equal(maps[2], maps[3])
    for found in maps:
        gap = (found.cpu() - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
        assert gap.max() < 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_graph_of_what_reads_values_is_refused():
    with pytest.raises(RuntimeError):
        Graph(lambda x, _: ([x * x.sum().item()], None), torch.ones(3, device="cuda"), None)
    assert nn.Linear(2, 2).cuda()(torch.ones(1, 2, device="cuda")).isfinite().all()  # the device goes on
