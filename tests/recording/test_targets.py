"""What a recorder explains: classes however they are given, predicted ones, a single output, parts of an output."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, lrp, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import sha256
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.commands import cli
from lrp_dynamics.recording.recovery import validate
from lrp_dynamics.recording.store import SCALARS

X = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
Y = [0, 1, 2, 0, 1, 2]


def net(outputs: int = 3) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, outputs))


def favour(model: nn.Sequential, number: int) -> None:
    """Make a network predict one class for every sample."""
    with torch.no_grad():
        model[3].bias[:] = 0
        model[3].bias[number] = 100


def record(path, model, *given, first=0, last=4, **options):
    with Recorder(path, model, *given, **options) as recorder:
        for iteration in range(first, last):
            recorder.record(iteration, loss=0.5)
            with torch.no_grad():
                model[0].weight.mul_(1.1)
    return path


def dynamics(path, folder):
    """Run the stage, and return the table of the samples."""
    files = ["--out", str(folder / "d.h5"), "--samples", str(folder / "s.csv")]
    assert cli.main(["dynamics", "--relevance", str(path), *files]) == 0
    return read_csv(folder / "s.csv")


@pytest.mark.parametrize(
    ("samples", "targets"),
    [
        (X, Y),
        (X.numpy(), np.array(Y)),
        (X.numpy().astype(">f4"), np.array(Y, np.uint16)),
        (X.tolist(), tuple(Y)),
        (X, torch.tensor(Y, dtype=torch.int8)),
        (X, [torch.tensor(y) for y in Y]),
    ],
    ids=["list", "arrays", "arrays of another order of bytes", "lists", "another type", "list of tensors"],
)
def test_arrays_and_lists_are_what_they_hold(tmp_path, samples, targets):
    record(tmp_path / "tensor.h5", net(), X, torch.tensor(Y))
    record(tmp_path / "r.h5", net(), samples, targets)
    assert sha256(tmp_path / "r.h5") == sha256(tmp_path / "tensor.h5")


def test_an_array_that_must_not_be_written_gives_no_warning(tmp_path, recwarn):
    array = X.numpy().copy()
    array.flags.writeable = False
    record(tmp_path / "r.h5", net(), array, Y)
    assert not [warning for warning in recwarn if "writable" in str(warning.message)]


# "predicted" ----------------------------------------------------------------------------------------------------------


def test_predicted_is_the_prediction_of_the_first_recorded_step_and_stays_it(tmp_path):
    """Whatever the network predicted when the recorder was made, and predicts later."""
    model, path = net(), tmp_path / "r.h5"
    favour(model, 0)
    with Recorder(path, model, X, "predicted", every=5) as recorder:
        favour(model, 2)
        recorder.record(4)  # not one of each fifth
        favour(model, 1)
        recorder.record(5)
        favour(model, 0)
        recorder.record(10)
        expected = lrp.relevance(model.eval(), X, torch.ones(6, dtype=torch.long)).output[:, 1]
    assert validate(path) == []
    with open_relevance(path) as recording:
        assert recording.attrs["target"] == "predicted"
        assert recording.sample("target").tolist() == recording.explained.tolist() == [1] * 6
        assert recording.sample("label").tolist() == [-1] * 6
        assert recording.scalar("predicted").tolist() == [[1] * 6, [0] * 6]
        np.testing.assert_allclose(recording.scalar("logit")[1], expected.numpy(), rtol=1e-5, atol=1e-5)
        assert (recording.scalar("margin")[1] < 0).all()
    table = dynamics(path, tmp_path)
    assert np.isnan(table["correct"]).all()
    assert np.isnan(table["forgetting_events"]).all()
    assert np.isfinite(table["aum"]).all()
    with h5py.File(path, "r+") as file:
        file["samples/target"][3] = -1
    assert validate(path)[-1] == "/samples/target does not tell which classes are explained"


def test_predicted_records_what_these_classes_would_as_targets(tmp_path):
    model = net()
    with torch.no_grad():
        model[3].weight.mul_(50)  # so that not all samples are of one class
    classes = model.eval()(X).argmax(1)
    assert len(set(classes.tolist())) > 1
    record(tmp_path / "p.h5", model, X, "predicted", details={"label": classes}, attributes={"target": "unknown"})
    model = net()
    with torch.no_grad():
        model[3].weight.mul_(50)
    record(tmp_path / "c.h5", model, X, classes)
    with h5py.File(tmp_path / "p.h5") as predicted, h5py.File(tmp_path / "c.h5") as given:
        for name in ("relevance/map", "relevance/scale", "scalars/logit", "scalars/margin", "accum/A/dynamics"):
            np.testing.assert_array_equal(predicted[name], given[name])
        np.testing.assert_array_equal(predicted["samples/target"], classes)


@pytest.mark.parametrize("recorded", [0, 3, 20])
def test_going_on_keeps_the_classes_that_were_predicted(tmp_path, recorded):
    path, model = tmp_path / "r.h5", net()
    favour(model, 2)
    with Recorder(path, model, X, "predicted") as recorder:
        for iteration in range(recorded):
            recorder.record(iteration)
        torch.save(recorder.state(), tmp_path / "state.pt")
        recorder.record(recorded)
        recorder.close(complete=False)
    favour(model, 0)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    record(path, model, X, "predicted", resume=state, first=recorded, last=recorded + 2)
    with open_relevance(path) as recording:
        assert recording.sample("target").tolist() == [2 if recorded else 0] * 6
        assert recording.scalar("predicted")[-1].tolist() == [0] * 6
    with pytest.raises(UserError, match="begun with other rules, samples, targets"):
        Recorder(path, net(), X, Y, resume=state)


def test_predicted_while_others_read(tmp_path):
    """The classes are there with the first steps."""
    model = net()
    favour(model, 1)
    with Recorder(tmp_path / "r.h5", model, X, "predicted", live=True) as recorder:
        with open_relevance(tmp_path / "r.h5") as recording:
            assert recording.explained.tolist() == [-1] * 6
        for iteration in range(16):
            recorder.record(iteration)
        recorder.flush()
        with open_relevance(tmp_path / "r.h5") as recording:
            assert recording.steps == 16
            assert recording.explained.tolist() == [1] * 6


def test_a_network_that_diverged_at_once_predicts_nothing(tmp_path):
    model = net()
    with Recorder(tmp_path / "r.h5", model, X, "predicted") as recorder:
        with torch.no_grad():
            model[0].weight.fill_(float("inf"))
        with pytest.raises(UserError):
            recorder.record(0)
        model.load_state_dict(net().state_dict())
        favour(model, 2)
        recorder.record(1)
    with open_relevance(tmp_path / "r.h5") as recording:
        assert recording.sample("target").tolist() == [2] * 6


def test_the_file_tells_what_is_explained_where_it_is_not_the_label(tmp_path):
    path = record(tmp_path / "r.h5", net(), X, [1] * 6, details={"label": Y}, attributes={"classes": ["a", "b", "c"]})
    with open_relevance(path) as recording:
        assert (recording.explained.tolist(), recording.sample("label").tolist()) == ([1] * 6, Y)
        assert recording.class_name(0) == "b"
    assert set(dynamics(path, tmp_path)["correct"]) <= {0, 1}


# A single output ------------------------------------------------------------------------------------------------------


class Flat(nn.Module):
    """Outputs (N,) in place of (N, 1)."""

    def __init__(self):
        super().__init__()
        self.inner = net(1)

    def __getitem__(self, index):
        return self.inner[index]

    def forward(self, x):
        return self.inner(x).squeeze(1)


@pytest.mark.parametrize("composite", ["z_plus", "gradient_x_input"])
@pytest.mark.parametrize("make", [lambda: net(1), Flat], ids=["(N, 1)", "(N,)"])
@pytest.mark.parametrize("targets", [[0] * 6, "predicted"], ids=["zeros", "predicted"])
def test_one_output_has_neither_a_margin_nor_a_right_class(tmp_path, make, targets, composite):
    labels = [0, 1, 0, 1, 0, 1]
    path = record(tmp_path / "r.h5", make(), X, targets, composite=composite, details={"label": labels})
    assert validate(path) == []
    assert cli.main(["validate", str(path)]) == 0
    model = make().eval()
    with open_relevance(path) as recording:
        assert np.isnan(recording.scalar("margin")).all()
        logits = model(X).detach().reshape(6).numpy()
        np.testing.assert_allclose(recording.scalar("logit")[0], logits, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(recording.scalar("initial")[0], logits, rtol=1e-5, atol=1e-6)
    table = dynamics(path, tmp_path)
    for name in ("aum", "correct", "forgetting_events"):
        assert np.isnan(table[name]).all()
    assert (table["divergence"] > 0).all()


def test_a_callable_may_tell_one_output_without_an_axis_of_classes(tmp_path):
    explainer = lrp.Explainer(net(1), as_eval=True)

    def explain(samples, targets):
        explained = explainer(samples, targets)
        return replace(explained, output=explained.output[:, 0])

    record(tmp_path / "two.h5", explainer.model, X, [0] * 6, composite=explainer)
    explainer.model.load_state_dict(net(1).state_dict())
    record(tmp_path / "one.h5", explainer.model, X, [0] * 6, composite=explain)
    assert validate(tmp_path / "one.h5") == []
    with open_relevance(tmp_path / "one.h5") as one, open_relevance(tmp_path / "two.h5") as two:
        for name in SCALARS:
            np.testing.assert_array_equal(one.scalar(name), two.scalar(name))


def test_the_labels_of_two_classes_are_no_targets_of_one_output(tmp_path):
    with pytest.raises(UserError, match="found target 1, but the network has one output, target 0; give"):
        Recorder(tmp_path / "r.h5", net(1), X, [0, 1, 0, 1, 0, 1])


# Parts of an output ---------------------------------------------------------------------------------------------------


class Masked:
    """Gradient times input of the sum of what a mask marks, of outputs (N, K, H, W)."""

    def __init__(self, model):
        self.model = model

    def __call__(self, x, mask):
        x = x.clone().requires_grad_()
        output = self.model(x)
        explained = (output * mask).flatten(1).sum(1)
        values = torch.autograd.grad(explained.sum(), x)[0] * x.detach()
        rest = explained.detach() - values.flatten(1).sum(1)
        books = {"absorbed": {"bias": rest}, "residual": rest}
        return lrp.Relevance(
            values, output.detach(), explained.detach(), min_abs_z=torch.full((len(x),), torch.inf), **books
        )


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_a_part_of_the_output_can_be_explained(tmp_path, dtype):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1))
    mask = torch.zeros(6, 3, 6, 6, dtype=dtype)
    mask[:, 1, 2:4, 2:4] = 1
    path = record(tmp_path / "r.h5", model, X, mask, composite=Masked(model), batch=4)
    assert validate(path) == []
    with open_relevance(path) as recording:
        np.testing.assert_array_equal(recording.sample("target"), mask.float().numpy())
        assert recording.explained.tolist() == [-1] * 6
        assert np.isnan(recording.scalar("probability")).all()
        np.testing.assert_array_equal(recording.scalar("logit"), recording.scalar("initial"))
    table = dynamics(path, tmp_path)
    assert np.isnan(table["correct"]).all()
    assert np.isnan(table["confidence"]).all()
    assert (table["divergence"] > 0).all()
    with h5py.File(path, "r+") as file:
        file["scalars/probability"][0, 0] = np.inf
    assert validate(path)[-1] == "/scalars/probability has values that are not finite"


@pytest.mark.parametrize("composite", ["epsilon", "gradient_x_input"])
@pytest.mark.parametrize(
    "head", [[nn.Conv2d(4, 3, 1)], [nn.Flatten(), nn.Linear(144, 3)]], ids=["(N, K, H, W)", "(N, K)"]
)
def test_a_mask_explains_what_it_marks_now(tmp_path, head, composite):
    """The sum of the marked outputs, anew at every step."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), *head)
    mask = torch.rand(6, *model(X).shape[1:]) > 0.5
    expected = []
    with Recorder(tmp_path / "r.h5", model, X, mask, composite=composite) as recorder:
        for iteration in range(3):
            recorder.record(iteration)
            with torch.no_grad():
                expected.append((model(X) * mask).flatten(1).sum(1).numpy())
                model[0].weight.mul_(1.5)
    assert validate(tmp_path / "r.h5") == []
    with open_relevance(tmp_path / "r.h5") as recording:
        np.testing.assert_allclose(recording.scalar("logit"), expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(recording.sample("target"), mask.numpy())
        size = np.abs(recording.scalar("initial")) + recording.scalar("r_abs_sum")
        if composite == "epsilon":
            books = recording.scalar("initial") - recording.scalar("r_sum") - recording.scalar("absorbed")
            assert (np.abs(books) <= 1e-4 * size).all()


def test_classes_of_an_output_of_another_form_are_refused(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 3, 3))
    with pytest.raises(UserError, match=r"outputs of shape \(1, 3, 6, 6\), expected .* for classes"):
        Recorder(tmp_path / "r.h5", model, X, Y, composite=lambda x, t: Masked(model)(x, torch.ones(len(x), 3, 6, 6)))
    assert not any(tmp_path.iterdir())
    with pytest.raises(UserError, match="classes are explained of"):
        Recorder(tmp_path / "r.h5", model, X, Y)
    assert not any(tmp_path.iterdir())
