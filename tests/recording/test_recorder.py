"""The recorder in a user's own training loop."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrp_dynamics import Recorder, lrp, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.recording.sums import Maps, quantize


def small_net(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(36, 3),
        )


def small_data(count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, 8, 8, generator=generator), torch.arange(count) % 3


def loop(model: nn.Module, steps: int, after=lambda iteration, loss: None) -> None:
    """A plain training loop with momentum and dropout, so that any touch of state or random numbers shows."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = small_data(12)
    torch.manual_seed(5)
    after(0, float("nan"))
    for iteration in range(1, steps + 1):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        after(iteration, loss.item())


def test_training_is_bit_equal_with_and_without(tmp_path):
    alone, recorded = small_net(), small_net()
    loop(alone, 20)
    with Recorder(tmp_path / "r.h5", recorded, *small_data()) as recorder:
        loop(recorded, 20, lambda i, loss: recorder.record(i, loss=loss))
    assert recorded.training
    for a, b in zip(alone.state_dict().values(), recorded.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(alone.parameters(), recorded.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_file_holds_what_lrp_says_at_each_step(tmp_path):
    """Every dataset, against maps explained one by one beside the recorder and worked on in float64."""
    model, (x, y), maps, logits = small_net(), small_data(), [], []

    def explain(iteration: int, loss: float) -> None:
        recorder.record(iteration, loss=loss, lr=0.05, epoch=iteration / 4)
        model.eval()
        explained = lrp.relevance(model, x, y)
        maps.append(explained.input.sum(1).numpy())
        logits.append(explained.output.numpy())
        model.train()

    with Recorder(tmp_path / "r.h5", model, x, y, maps=3) as recorder:
        loop(model, 20, explain)
    exact, logits = np.stack(maps).astype(np.float64), np.stack(logits)
    change = np.abs(np.diff(exact, axis=0))
    with open_relevance(tmp_path / "r.h5") as recording:
        assert recording.complete
        assert (recording.steps, recording.samples, recording.map_samples) == (21, 5, 3)
        np.testing.assert_array_equal(recording.step("iteration"), np.arange(21))
        np.testing.assert_allclose(recording.step("epoch"), np.arange(21) / 4)
        assert np.isnan(recording.step("train_loss")[0])
        assert np.isfinite(recording.step("train_loss")[1:]).all()
        largest = np.abs(exact).max((2, 3), keepdims=True)[:, :3]
        assert (np.abs(recording.maps() - exact[:, :3]) <= largest * 2.0**-11).all()
        np.testing.assert_allclose(recording.accumulated("dynamics"), change.sum(0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(recording.accumulated("abs_sum"), np.abs(exact).sum(0), rtol=1e-12)
        np.testing.assert_allclose(recording.accumulated("mean"), exact.mean(0), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(recording.accumulated("m2"), exact.var(0) * 21, rtol=1e-9, atol=1e-12)
        share = exact / np.abs(exact).sum((2, 3), keepdims=True)
        normalized = np.abs(np.diff(share, axis=0)).sum(0)
        np.testing.assert_allclose(recording.accumulated("dynamics_normalized"), normalized, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(recording.scalar("step_divergence")[1:], change.sum((2, 3)), rtol=1e-6)
        assert (recording.scalar("step_divergence")[0] == 0).all()
        own = np.take_along_axis(logits, y.numpy()[None, :, None], 2)[..., 0]
        np.testing.assert_allclose(recording.scalar("logit"), own, rtol=1e-6)
        others = np.where(np.eye(3, dtype=bool)[y], -np.inf, logits).max(2)
        np.testing.assert_allclose(recording.scalar("margin"), own - others, rtol=1e-5, atol=1e-6)
        softmax = np.exp(own) / np.exp(logits).sum(2)
        np.testing.assert_allclose(recording.scalar("probability"), softmax, rtol=1e-5)
        np.testing.assert_array_equal(recording.scalar("predicted"), logits.argmax(2))
        np.testing.assert_allclose(recording.scalar("r_sum"), exact.sum((2, 3)), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(recording.scalar("r_abs_sum"), np.abs(exact).sum((2, 3)), rtol=1e-6)
        np.testing.assert_allclose(recording.scalar("r_max"), np.abs(exact).max((2, 3)), rtol=1e-6)
        entropy = -(np.abs(share) * np.log(np.maximum(np.abs(share), 1e-300))).sum((2, 3))
        np.testing.assert_allclose(recording.scalar("entropy"), entropy, rtol=1e-5)
        books = recording.scalar("initial") - recording.scalar("r_sum") - recording.scalar("absorbed")
        assert np.abs(books).max() < 1e-5 * np.abs(own).max()


def test_going_on_from_a_state_cuts_what_was_recorded_after_it(tmp_path):
    """As after a crash: the file holds more steps than the state that the training goes on from."""
    model, states = small_net(), []
    with Recorder(tmp_path / "r.h5", model, *small_data()) as recorder:
        loop(model, 19, lambda i, loss: recorder.record(i, loss=loss))
        states.append(recorder.state())
        for iteration in range(20, 60):
            recorder.record(iteration, loss=9.0)
    with Recorder(tmp_path / "r.h5", model, *small_data(), resume=states[0]) as recorder:
        recorder.record(20)
        recorder.record(21)
    with open_relevance(tmp_path / "r.h5") as recording:
        assert recording.step("iteration").tolist() == list(range(22))
        maps = recording.maps().astype(np.float64)
        change = np.abs(np.diff(maps, axis=0)).sum(0)
        np.testing.assert_allclose(recording.accumulated("dynamics"), change, atol=0.02 * change.max())
        assert len(recording.file["relevance/map"]) == len(recording.file["scalars/logit"]) == 22


def test_state_goes_through_a_file_of_weights_only(tmp_path):
    """A user's checkpoint need not be unpickled to go on, whatever device it is loaded to."""
    with Recorder(tmp_path / "r.h5", small_net(), *small_data(), every=np.int64(1)) as recorder:
        torch.save(recorder.state(), tmp_path / "untrained.pt")
        recorder.record(0)
        recorder.record(1)
        torch.save(recorder.state(), tmp_path / "state.pt")
        expected = recorder._sums.held["mean"].clone()
    torch.load(tmp_path / "untrained.pt", weights_only=True)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    with Recorder(tmp_path / "r.h5", small_net(), *small_data(), resume=state) as recorder:
        assert torch.equal(recorder._sums.held["mean"], expected)
        recorder.record(2)
    with open_relevance(tmp_path / "r.h5") as recording:
        assert recording.step("iteration").tolist() == [0, 1, 2]


def test_names_that_a_file_does_not_have_and_files_that_are_closed_are_told(tmp_path):
    with Recorder(tmp_path / "r.h5", small_net(), *small_data()) as recorder:
        recorder.record(0)
    with open_relevance(tmp_path / "r.h5") as recording:
        for ask, name, among in (
            (recording.scalar, "logits", "logit, margin"),
            (recording.step, "loss", "train_loss"),
            (recording.accumulated, "dynamic", "dynamics, dynamics_normalized"),
            (recording.sample, "labels", "label_clean"),
        ):
            with pytest.raises(UserError, match=rf"r.h5: found no '{name}' in .*, expected one of .*{among}"):
                ask(name)
    for ask in (lambda: recording.scalar("logit"), recording.maps, lambda: recording.accumulated("dynamics")):
        with pytest.raises(UserError, match="is closed"):
            ask()


def test_going_on_with_other_rules_is_refused(tmp_path):
    with Recorder(tmp_path / "r.h5", small_net(), *small_data()) as recorder:
        recorder.record(0)
        state = recorder.state()
    with pytest.raises(UserError, match="begun with other rules"):
        Recorder(tmp_path / "r.h5", small_net(), *small_data(), composite="epsilon", resume=state)
    x, y = small_data()
    for others in ((x.flip(0), y), (x, y.flip(0)), (x + 1e-6, y)):
        with pytest.raises(UserError, match="begun with samples or targets of other values"):
            Recorder(tmp_path / "r.h5", small_net(), *others, resume=state)
    recorder = Recorder(tmp_path / "r.h5", small_net(), *small_data(), resume=state)
    recorder.close(complete=False)
    with open_relevance(tmp_path / "r.h5") as recording:
        assert not recording.complete
        assert recording.steps == 1
    with pytest.raises(UserError, match="closed"):
        recorder.record(1)


def test_recovered_right_after_going_on(tmp_path):
    """Killed between going on from an earlier state and the next block: no step is invented."""
    from lrp_dynamics.recording.recovery import recover

    with Recorder(tmp_path / "r.h5", small_net(), *small_data()) as recorder:
        recorder.record(1)
        state = recorder.state()
        for iteration in range(2, 40):
            recorder.record(iteration)
    Recorder(tmp_path / "r.h5", small_net(), *small_data(), resume=state)._writer.file.close()
    assert recover(tmp_path / "r.h5") == 1


def test_samples_are_copied(tmp_path):
    samples, targets = small_data()
    with Recorder(tmp_path / "r.h5", small_net(), samples, targets) as recorder:
        recorder.record(0)
        samples.zero_()
        recorder.record(1)
    with open_relevance(tmp_path / "r.h5") as recording:
        assert recording.scalar("step_divergence").max() == 0


def test_every_skips_steps(tmp_path):
    with Recorder(tmp_path / "r.h5", (model := small_net()), *small_data(), every=4) as recorder:
        loop(model, 10, lambda i, loss: recorder.record(i))
    with open_relevance(tmp_path / "r.h5") as recording:
        assert recording.step("iteration").tolist() == [0, 4, 8]


def test_error_in_the_loop_leaves_an_incomplete_file(tmp_path):
    def interrupted() -> None:
        with Recorder(tmp_path / "r.h5", small_net(), *small_data()) as recorder:
            recorder.record(0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    with open_relevance(tmp_path / "r.h5") as recording:
        assert not recording.complete
        assert recording.steps == 1


def test_diverged_network_is_named(tmp_path):
    model = small_net()
    with Recorder(tmp_path / "r.h5", model, *small_data()) as recorder:
        recorder.record(0)
        with torch.no_grad():
            model[0].weight.fill_(float("inf"))
        with pytest.raises(UserError, match=r"iteration 7.*learning rate"):
            recorder.record(7)


def test_iterations_must_increase(tmp_path):
    with Recorder(tmp_path / "r.h5", small_net(), *small_data()) as recorder:
        recorder.record(3)
        with pytest.raises(UserError, match="iteration 3 after 3"):
            recorder.record(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": torch.rand(5)}, r"shape \(5,\)"),
        ({"targets": torch.zeros(4, dtype=torch.long)}, r"targets of shape \(4,\)"),
        ({"every": 0}, "every is 0"),
        ({"composite": "no_such"}, "no_such"),
        ({"details": {"label": np.zeros(3)}}, r"'label'\] has shape \(3,\), expected shape \(5,\)"),
        ({"details": {"lable": np.zeros(5)}}, "details has the key 'lable', expected one of index, split, label"),
        ({"details": {"mask": np.zeros((5, 4, 4))}}, r"'mask'\] has shape \(5, 4, 4\), expected shape \(5, 8, 8\)"),
        ({"details": {"factors": {"name": ["a"] * 5}}}, r"'name'\] must be 5 numbers"),
        ({"attributes": {"sead": 1}}, "attributes has the key 'sead'"),
        ({"samples": torch.rand(0, 3, 8, 8), "targets": torch.zeros(0)}, "N at least 1"),
        ({"targets": torch.zeros(5)}, "integer type"),
        ({"maps": -1}, "maps is -1"),
    ],
)
def test_bad_arguments(tmp_path, change, message):
    samples, targets = small_data()
    arguments = {"samples": samples, "targets": targets} | change
    with pytest.raises(UserError, match=message):
        Recorder(tmp_path / "r.h5", small_net(), **arguments)


@given(
    st.floats(-30, 30).map(lambda power: 10.0**power),
    st.lists(st.floats(-1, 1), min_size=4, max_size=4),
)
def test_quantization_keeps_eleven_bits_at_any_magnitude(factor, values):
    maps = (np.array(values).reshape(1, 2, 2) * factor).astype(np.float32)
    stored, scale = (found.numpy() for found in quantize(Maps.of(torch.from_numpy(maps)), 1))
    largest = np.abs(maps).max()
    again = stored.astype(np.float64) * scale[:, None]
    assert np.abs(again.reshape(maps.shape) - maps).max() <= largest * 2.0**-11 + 1e-44


WRITER = """
import sys, torch, time
from lrp_dynamics import Recorder
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
recorder = Recorder(sys.argv[1], model, torch.rand(4, 3, 8, 8), torch.arange(4) % 3, live=sys.argv[2] == "live")
for i in range(10_000):
    recorder.record(i)
    if i % 16 == 15:
        recorder.flush()
        print(i + 1, flush=True)  # so many steps are acknowledged
    with torch.no_grad():
        model[0].weight.mul_(1.001)
    time.sleep(0.001)
"""


@pytest.mark.parametrize("mode", ["plain", "live"])
def test_kill_loses_nothing_acknowledged(tmp_path, mode):
    """kill -9 while recording: the file opens, holds every acknowledged step, and can be recovered."""
    path = tmp_path / "r.h5"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), mode], stdout=subprocess.PIPE, text=True)
    acknowledged = 0
    while acknowledged < 64:
        acknowledged = int(process.stdout.readline())
    if mode == "live":
        with open_relevance(path) as recording:
            assert recording.steps >= 48
            assert np.isfinite(recording.maps(slice(-16, None))).all()
    time.sleep(0.01)
    process.kill()
    rest = process.stdout.read().split()
    acknowledged = int(rest[-1]) if rest else acknowledged
    process.wait()
    with open_relevance(path) as recording:
        assert not recording.complete
        assert recording.steps >= acknowledged
        kept = recording.steps
        dynamics = recording.accumulated("dynamics")
        divergence = recording.scalar("step_divergence").sum(0)
    np.testing.assert_allclose(dynamics.sum((1, 2)), divergence, rtol=1e-5)
    from lrp_dynamics.recording.recovery import recover

    assert recover(path) == kept
    with open_relevance(path) as recording:
        assert recording.file["scalars/logit"].shape[0] == kept
        np.testing.assert_array_equal(recording.accumulated("dynamics"), dynamics)
