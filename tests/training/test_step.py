"""A step that is recorded once and taken again leaves the bits of one that runs as it is."""

import copy

import pytest
import torch
from torch import nn

from lrp_dynamics.training.step import EAGER, REPLAYED, Step, Steps

STEPS = 8


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 3)
    )


def batches():
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.rand(6, 1, 8, 8, generator=generator), torch.randint(3, (6,), generator=generator)) for _ in range(STEPS)
    ]


def on_the_cpu(step, inputs, labels):
    """What a CUDA graph does, on the CPU: the same step again, on what these tensors hold then."""
    return lambda: step(inputs, labels)


def trained(record, device="cpu", optimizer=torch.optim.Adam, precision="float32"):
    """Return weights and rows of a training, and how its steps ran."""
    net = network()
    step = Step(net, optimizer(net.parameters(), lr=0.05), nn.functional.cross_entropy, precision, torch.device("cpu"))
    take, rows, ran = Steps(step, record, device), [], []
    torch.manual_seed(5)
    for inputs, labels in batches():
        rows.append(take(inputs, labels))
        ran.append(take.ran)
    return {name: value.clone() for name, value in net.state_dict().items()}, rows, ran, torch.rand(1)


def same(a, b):
    return all(torch.equal(a[0][name], b[0][name]) for name in a[0]) and a[1] == b[1] and torch.equal(a[3], b[3])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_a_training_by_recorded_steps_is_that_by_plain_ones(optimizer, precision):
    plain = trained(on_the_cpu, "cuda", optimizer, precision)
    again = trained(on_the_cpu, "cpu", optimizer, precision)
    assert plain[2] == [EAGER] * STEPS
    assert again[2] == [EAGER] * 3 + [REPLAYED] * (STEPS - 3)
    assert same(plain, again)


def refused(step, inputs, labels):
    raise RuntimeError("operation not permitted when stream is capturing\nmore")


def another(step, inputs, labels):
    """A graph that comes to other weights."""

    def replay():
        found = step(inputs, labels)
        with torch.no_grad():
            step.model[0].bias[0] += 1e-6
        return found

    return replay


def stale(step, inputs, labels):
    """A graph that tells of another batch."""
    return lambda: step(inputs, labels) + 1


@pytest.mark.parametrize(
    ("record", "why"), [(refused, "not permitted"), (another, "other weights"), (stale, "other weights")]
)
def test_what_is_not_the_same_to_the_last_bit_is_not_used(record, why):
    plain, again = trained(record, "cuda"), trained(record)
    assert same(plain, again)
    assert set(again[2][:3]) == {EAGER}
    assert all(why in ran for ran in again[2][3:])


def test_a_scaled_loss_is_not_recorded():
    net = network()
    step = Step(net, torch.optim.SGD(net.parameters()), nn.functional.cross_entropy, "float16", torch.device("cpu"))
    take = Steps(step, refused, "cpu")
    for inputs, labels in batches():
        take(inputs, labels)
    assert take.ran == EAGER


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_on_a_gpu(optimizer):
    found = []
    for replay in (False, True):
        net = network().cuda()
        options = {"capturable": True} if optimizer is torch.optim.Adam else {}
        step = Step(
            net, optimizer(net.parameters(), lr=0.05, **options), nn.functional.cross_entropy, "float32",
            torch.device("cuda"),
        )  # fmt: skip
        take = Steps(step, device="cuda" if replay else "none")
        torch.manual_seed(5)
        rows = [take(inputs.cuda(), labels.cuda()) for inputs, labels in batches()]
        found.append((copy.deepcopy(net.state_dict()), rows, None, torch.rand(1)))
    assert take.ran == REPLAYED
    assert same(*found)
