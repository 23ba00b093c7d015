"""What a recorder computes of an explanation, as on a GPU that need not be there: no value is read back."""

import numpy as np
import pytest
import synthetic
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from lrp_dynamics import lrp
from lrp_dynamics.recording import store
from lrp_dynamics.recording.sums import Parcel, Sums, describe, quantize

N, SIZE, CLASSES, LAYERS = 8, 6, 10, 9
MOST = 70  # kernels of a step of one batch, of whatever size; ten of them add up what the layers absorbed


class Counting(TorchDispatchMode):
    """Counts what is computed, views left out; refuses what would wait for the device."""

    def __init__(self):
        super().__init__()
        self.called = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function._schema.name.removeprefix("aten::")
        assert name not in ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero"), name
        result = function(*arguments, **(options or {}))
        if isinstance(result, torch.Tensor) and not function.is_view:
            self.called.append(name)
        return result


def explanation(device: str) -> lrp.Relevance:
    one = torch.rand(N, device=device)
    return lrp.Relevance(
        input=torch.randn(N, 3, SIZE, SIZE, device=device),
        output=torch.randn(N, CLASSES, device=device),
        initial=one,
        residual=one,
        absorbed={str(k): one for k in range(LAYERS)},
        min_abs_z=one,
    )


def step(relevance: lrp.Relevance, targets: torch.Tensor, sums: Sums) -> dict[str, torch.Tensor]:
    maps, scalars = describe(relevance, targets)
    values, scale = quantize(maps, N - 2)
    return scalars | {"map": values, "scale": scale, "step_divergence": sums.add([maps])}


@pytest.mark.parametrize("kind", ["classes", "a part of the output"])
def test_nothing_is_read_back_on_a_gpu(kind):
    with FakeTensorMode(), Counting() as counting:
        device = torch.device("cuda")
        targets = torch.zeros(N, dtype=torch.int64, device=device)
        if kind != "classes":
            targets = torch.rand(N, CLASSES, device=device)
        sums = Sums([N], (SIZE, SIZE), device)
        relevance = explanation("cuda")
        step(relevance, targets, sums)
        counting.called.clear()
        taken = step(relevance, targets, sums)
        assert {value.device.type for value in taken.values()} == {"cuda"}
        assert {value.device.type for value in sums.held.values()} == {"cuda"}
    assert 20 < len(counting.called) <= MOST, counting.called


def test_what_waits_for_the_device_is_refused():
    with FakeTensorMode(), Counting(), pytest.raises(AssertionError, match="_local_scalar_dense"):
        bool(torch.rand(3, device="cuda").isfinite().all())


def test_the_maps_are_those_of_the_plain_formulas():
    """Bit for bit where no sum is involved."""
    torch.manual_seed(0)
    sums, steps = Sums([5, 3], (SIZE, SIZE), torch.device("cpu")), []
    for k in range(3):
        relevance = explanation("cpu")
        maps = relevance.input.sum(1)
        if k == 1:
            maps[4] = 0
        both = [
            describe(_part(relevance, maps, rows), torch.zeros(len(maps[rows]), dtype=torch.int64))[0] for rows in ROWS
        ]
        sums.add(both)
        values, scale = quantize(both[0], 5)
        expected = synthetic.quantize(maps[:5].numpy())
        np.testing.assert_array_equal(values.reshape(5, SIZE, SIZE).numpy(), expected[0])
        np.testing.assert_array_equal(scale.numpy(), expected[1])
        steps.append(maps.double().numpy())
    change = np.abs(np.diff(steps, axis=0))
    np.testing.assert_array_equal(sums.held["dynamics"].numpy(), change[0] + change[1])
    shares = [store.normalize(step) for step in steps]
    normalized = np.abs(np.diff(shares, axis=0)).sum(0)
    np.testing.assert_allclose(sums.held["dynamics_normalized"].numpy(), normalized, rtol=1e-12, atol=1e-15)


ROWS = (slice(0, 5), slice(5, 8))


def _part(relevance: lrp.Relevance, maps: torch.Tensor, rows: slice) -> lrp.Relevance:
    one = relevance.initial[rows]
    return lrp.Relevance(
        input=maps[rows, None], output=relevance.output[rows], initial=one, residual=one, absorbed={}, min_abs_z=one
    )


def test_a_parcel_keeps_what_it_was_given():
    first, second = torch.tensor([True, False, True]), torch.tensor([1.5, -2.0], dtype=torch.float64)
    halves = [torch.ones(3, dtype=torch.float16), torch.zeros(3, dtype=torch.float16)]
    parcel = Parcel({"a": [first], "b": [second], "c": halves})
    second.zero_()
    halves[0].zero_()
    found = parcel.open()
    assert found["a"].tolist() == [[True, False, True]]
    assert found["b"].tolist() == [[1.5, -2.0]]
    assert found["c"].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert [value.dtype.str for value in found.values()] == ["<f8", "<f2", "|b1"]
