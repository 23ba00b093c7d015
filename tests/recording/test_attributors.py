"""Attributions of other packages are recorded beside a training, and leave it as it is."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, UserError, lrp, open_relevance
from lrp_dynamics.commands import cli
from lrp_dynamics.recording import attributors
from lrp_dynamics.recording.recovery import validate

X = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 1])


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip


def train(path=None, attribution=None, steps=4):
    """Return the state of a network after some steps, during which an attribution is recorded or none."""
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    recorder = Recorder(path, model, X, Y, composite=attribution(model)) if path else None
    model.train()  # which the constructor of pytorch-grad-cam ends
    for step in range(steps):
        optimizer.zero_grad(set_to_none=False)
        nn.functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
        if recorder:
            recorder.record(step)
    if recorder:
        recorder.close()
    return [*model.state_dict().values(), *(p.grad for p in model.parameters())]


def captum(model):
    return attributors.captum(pytest.importorskip("captum.attr").InputXGradient(model))


def zennit(model):
    return attributors.zennit(model, pytest.importorskip("zennit.composites").EpsilonPlus())


def grad_cam(model):
    return attributors.grad_cam(pytest.importorskip("pytorch_grad_cam").GradCAM(model, [model[0]]))


def gradient_times_input(model):
    return attributors.gradient_times_input(model)


def of_a_user(model):
    def occlusion(inputs, target):
        """Accumulates gradients, draws numbers, and leaves the network in training mode: as users do."""
        model(inputs).gather(1, target[:, None]).sum().backward()
        model.train()
        return torch.rand(len(inputs), *inputs.shape[2:])

    return occlusion


WAYS = [captum, zennit, grad_cam, gradient_times_input, of_a_user]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_an_attribution_is_recorded_and_leaves_the_training_as_it_is(way, tmp_path):
    path = tmp_path / "relevance.h5"
    for ours, theirs in zip(train(path, way), train(), strict=True):
        assert torch.equal(ours, theirs)
    assert validate(path) == []
    with open_relevance(path) as recording:
        assert recording.maps().shape == (4, 4, 8, 8)
        assert np.isfinite(recording.scalar("logit")).all()
        assert np.abs(recording.maps()).max() > 0
    made = [str(tmp_path / name) for name in ("dynamics.h5", "samples.csv")]
    cli.main(["dynamics", "--relevance", str(path), "--out", made[0], "--samples", made[1]])
    assert (tmp_path / "samples.csv").exists()


@pytest.mark.parametrize("way", [captum, gradient_times_input], ids=lambda way: way.__name__)
def test_what_is_recorded_is_what_the_attribution_gives(way, tmp_path):
    model = net().eval()
    with Recorder(tmp_path / "ours.h5", model, X, Y, composite="gradient_x_input") as ours:
        ours.record(0)
    with Recorder(tmp_path / "theirs.h5", model, X, Y, composite=way(model)) as theirs:
        theirs.record(0)
    with open_relevance(tmp_path / "ours.h5") as ours, open_relevance(tmp_path / "theirs.h5") as theirs:
        np.testing.assert_allclose(ours.maps(), theirs.maps(), atol=2e-3 * np.abs(ours.maps()).max())
        np.testing.assert_allclose(ours.scalar("logit"), theirs.scalar("logit"), rtol=1e-5)
        assert theirs.attrs["composite"] == way(model).name
        assert (ours.amount, theirs.amount) == ("logit units", "units of the attribution")


def test_a_map_that_is_none_is_refused(tmp_path):
    for wrong in (torch.zeros(4, 3, 4, 4), torch.zeros(4, 8), torch.zeros(4, 2, 8, 8), torch.zeros(4, 8, 8).long()):
        with pytest.raises(UserError, match="expected real numbers, one for each value or each pixel"):
            Recorder(tmp_path / "r.h5", net(), X, Y, composite=lambda x, y, wrong=wrong: wrong[: len(x)])
        assert not (tmp_path / "r.h5").exists()


@pytest.mark.parametrize(
    ("adapted", "told"),
    [
        (lambda: attributors.captum(net()), "captum: found an object of type Sequential, expected an attribution"),
        (lambda: attributors.zennit(net(), "EpsilonPlus"), "zennit: found 'EpsilonPlus', expected a composite such as"),
        (lambda: attributors.grad_cam(net()), "grad_cam: found an object of type Sequential, expected a method"),
        (lambda: attributors.gradient_times_input("net"), "gradient_times_input: found 'net', expected a torch"),
    ],
)
def test_an_adapter_refuses_what_it_cannot_adapt(adapted, told):
    with pytest.raises(UserError, match=told):
        adapted()


def test_options_that_an_attribution_of_captum_needs_are_asked_for_and_passed_on(tmp_path):
    occlusion = pytest.importorskip("captum.attr").Occlusion(net())
    with pytest.raises(UserError, match=r"Occlusion needs sliding_window_shapes; .*, sliding_window_shapes=\.\.\.\)"):
        attributors.captum(occlusion)
    composite = attributors.captum(occlusion, sliding_window_shapes=(3, 8, 8))
    with Recorder(tmp_path / "r.h5", net(), X, Y, composite=composite) as recorder:
        recorder.record(0)
    with pytest.raises(UserError, match=r"found an object of type Occlusion; .* as attributors\.captum"):
        Recorder(tmp_path / "s.h5", net(), X, Y, composite=occlusion)


@pytest.mark.parametrize("spec", [lambda inputs: inputs, nn.Linear(2, 2)])
def test_a_function_of_inputs_alone_is_refused(spec, tmp_path):
    with pytest.raises(UserError, match=r"expected a function of two arguments, inputs and targets"):
        Recorder(tmp_path / "r.h5", net(), X, Y, composite=spec)


def test_of_a_map_that_is_not_finite_the_attribution_is_named(tmp_path):
    broken = attributors.named("mine", lambda inputs, target: inputs * torch.nan)
    with (
        Recorder(tmp_path / "r.h5", net(), X, Y, composite=broken) as recorder,
        pytest.raises(UserError, match="sample 0 is not finite; the attribution 'mine' returned it so"),
    ):
        recorder.record(0)


def test_an_attribution_that_changes_weights_is_refused(tmp_path):
    model = net()

    def attribution(inputs, target):
        with torch.no_grad():
            model[0].weight.mul_(2)
        return inputs

    with pytest.raises(UserError, match=r"the attribution changed '0\.weight' of the network"):
        Recorder(tmp_path / "r.h5", model, X, Y, composite=attribution)


def test_an_explainer_may_be_given(tmp_path):
    model = net().eval()
    with Recorder(tmp_path / "a.h5", model, X, Y, composite=lrp.Explainer(model, "epsilon")) as recorder:
        recorder.record(0)
    with Recorder(tmp_path / "b.h5", copy.deepcopy(model), X, Y, composite="epsilon") as recorder:
        recorder.record(0)
    with open_relevance(tmp_path / "a.h5") as a, open_relevance(tmp_path / "b.h5") as b:
        np.testing.assert_array_equal(a.maps(), b.maps())
        assert a.attrs["composite"] == b.attrs["composite"] == "epsilon"


@pytest.mark.parametrize("found", [object(), "map", [[1.0], [1.0, 2.0]], None])
def test_what_is_no_tensor_is_told_in_a_sentence(found):
    with pytest.raises(
        UserError, match=f"'mine' returned an object of type {type(found).__name__}, expected a tensor or an array"
    ):
        attributors.as_map(found, torch.rand(2, 1, 3, 3), "mine")
