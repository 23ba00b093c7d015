"""Options at their limits are exact; mistakes are told in one sentence."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, lrp
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.rules import make_rule


def layer(*weights):
    net = nn.Linear(len(weights[0]), len(weights), bias=False).double()
    net.weight.data = torch.tensor(weights, dtype=torch.float64)
    return net


def test_gamma_of_zero_is_epsilon():
    torch.manual_seed(0)
    net, x, r = nn.Linear(6, 5).double(), torch.randn(4, 6).double(), torch.randn(4, 5).double()
    for epsilon in (1e-6, 0.1):
        zero = lrp.relevance(net, x, r, {"*": {"rule": "gamma", "gamma": 0, "epsilon": epsilon}})
        expected = lrp.relevance(net, x, r, {"*": {"rule": "epsilon", "epsilon": epsilon}})
        torch.testing.assert_close(zero.input, expected.input)
        torch.testing.assert_close(zero.min_abs_z, expected.min_abs_z)


def test_epsilon_without_bias_takes_the_sign_of_its_own_denominator():
    """The output may be positive where the sum of the contributions is negative."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    for parameter, value in zip(net.parameters(), (-1.0, 3.0, 1.0, 0.0), strict=True):
        parameter.data.fill_(value)
    rules = {"first": {"rule": "epsilon", "epsilon": 0.5, "bias": "drop"}, "*": {"rule": "epsilon", "epsilon": 0.0}}
    found = lrp.relevance(net, torch.ones(1, 1).double(), torch.tensor([0]), rules)
    assert found.input.item() == pytest.approx(2 * -1 / (-1 - 0.5))


def test_the_negative_part_of_alpha_beta_is_stabilized_away_from_zero():
    found = lrp.relevance(layer([1.0, -9e-10]), torch.ones(1, 2).double(), torch.ones(1, 1).double(), "alpha2_beta1")
    assert found.input[0].tolist() == pytest.approx([2 / (1 + 1e-9), -9e-10 / (9e-10 + 1e-9)])


def test_small_denominators_are_told_from_a_large_absolute_stabilizer():
    net = layer([-3e-8], [5.0]).float()
    found = lrp.relevance(net, torch.ones(1, 1), torch.ones(1, 2), {"*": {"rule": "epsilon", "epsilon": 10.0}})
    assert found.min_abs_z.item() == pytest.approx(3e-8, rel=1e-5)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"rule": "epsilon", "epsilon": "1e-6"}, r"in YAML 1\.0e-6"),
        ({"rule": "epsilon", "epsilon": float("nan")}, "expected a number"),
        ({"rule": "gamma", "gamma": -0.5}, "at least 0"),
        (None, "expected a name, or a mapping"),
        ({"rule": ["epsilon"]}, "is unknown; choose one of"),
        ({"rule": "alpha_beta", "conserving": "false"}, "conserving is 'false'; expected true or false"),
    ],
)
def test_options_of_rules(spec, told):
    with pytest.raises(UserError, match=told):
        make_rule(spec)


@pytest.mark.parametrize(
    ("composite", "told"),
    [
        ({"0": "flat", "*": "epsilon"}, "count from 1"),
        ({"5-2": "flat", "*": "epsilon"}, "count from 1"),
        ({"rules": "epsilon"}, "a mapping from layers to rules"),
        ({"rules": {"*": "epsilon"}, "top_k": "0.5"}, "top_k"),
        (["epsilon"], "a name or a mapping"),
    ],
)
def test_composites(composite, told):
    with pytest.raises(UserError, match=told):
        lrp.relevance(layer([1.0, 2.0]), torch.ones(1, 2).double(), "predicted", composite)


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ((0, torch.inf), "finite"),
        ((torch.nan, 1), "finite"),
        ((1, 0), "low below high"),
        (0.5, "expected"),
        ((torch.zeros(3), 1), r"broadcast to \(3, 1, 1\)"),
        ((0.0, 0.5), "leaves its bounds"),
    ],
)
def test_bounds(bounds, told):
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(18, 2))
    with pytest.raises(UserError, match=told):
        lrp.relevance(net, torch.rand(2, 3, 5, 5), "predicted", "deep_taylor", bounds=bounds)


def test_an_input_may_miss_its_bounds_by_a_rounding():
    """As pixels do that were normalised in float32 and are explained in float64."""
    net, mean = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(18, 2)).double(), 0.1307
    x = ((torch.ones(1, 1, 5, 5) - mean) / 0.3081).double()
    bounds = (-mean / 0.3081, (1 - mean) / 0.3081)
    assert x.max() != bounds[1]
    assert torch.isfinite(lrp.relevance(net, x, "predicted", "deep_taylor", bounds=bounds).input).all()


@pytest.mark.parametrize(
    ("inputs", "target", "options", "told"),
    [
        (np.ones((1, 2)), "predicted", {}, r"type ndarray; expected a torch\.Tensor, such as torch\.as_tensor"),
        ((torch.ones(1, 2), torch.ones(1, 2)), "predicted", {}, "type tuple; .* several inputs are not explained"),
        (torch.ones(1, 2).double().to_sparse(), "predicted", {}, r"torch\.sparse_coo; make it dense"),
        (torch.ones(1, 2).double(), None, {}, "target is a NoneType"),
        (torch.ones(1, 2).double(), ["cat"], {}, "target is a list"),
        (torch.ones(3, 2).double(), 0, {}, r"expected one class per sample, \(3,\); of one class for all: \[0\] \* 3"),
        (torch.ones(1, 2).double(), torch.ones(1, 1).long(), {}, "of one-hot labels: target.argmax"),
        (torch.ones(1, 2).double(), torch.ones(1).bool(), {}, r"the mask of what to explain has shape \(1,\)"),
        (torch.ones(1, 2).double(), torch.tensor([[torch.nan]]), {}, "initial relevance holds NaN"),
        (torch.ones(1, 2).double(), "predicted", {"layers": "foo"}, "no layer 'foo'"),
    ],
)
def test_arguments(inputs, target, options, told):
    with pytest.raises(UserError, match=told):
        lrp.relevance(layer([1.0, 2.0]), inputs, target, **options)


def test_of_a_map_of_classes_a_mask_is_of_truth_values():
    net = nn.Conv2d(1, 2, 1)
    with pytest.raises(UserError, match=r"truth values \(torch\.bool\), .*, not torch\.uint8 of shape \(2, 4, 4\)"):
        lrp.relevance(net, torch.rand(2, 1, 4, 4), torch.ones(2, 4, 4, dtype=torch.uint8))


class Two(nn.Module):
    def forward(self, x, other):
        return x + other


class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize("explain", [lrp.relevance, lrp.sensitivity])
def test_a_network_of_two_inputs_is_to_be_wrapped(explain):
    with pytest.raises(UserError, match=r"missing 1 required .*; networks of several inputs are not explained; wrap"):
        explain(Two(), torch.ones(1, 2), "predicted")


class Dict(nn.Module):
    def forward(self, x):
        return {"scores": x}


@pytest.mark.parametrize("explain", [lrp.relevance, lrp.sensitivity])
def test_an_output_that_is_no_tensor_is_to_be_wrapped(explain):
    with pytest.raises(UserError, match="the model returns a dict, no single tensor; wrap it"):
        explain(Dict(), torch.ones(1, 2), "predicted")


def test_a_branch_is_to_be_chosen_by_where():
    with pytest.raises(UserError, match=r"line \d+; compute both branches and choose by torch\.where"):
        lrp.relevance(Branch(), torch.ones(1, 2), "predicted")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("explain", [lrp.relevance, lrp.sensitivity])
def test_quantized_weights(explain):
    try:
        net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2)), {nn.Linear})
    except (AttributeError, RuntimeError) as error:
        pytest.skip(f"torch quantizes nothing here: {error}")
    with pytest.raises(UserError, match=r"layer '0.*' \(LinearPackedParams\) holds quantized weights"):
        explain(net, torch.ones(1, 2), "predicted")


def test_of_many_layers_those_are_told_that_are_called_alike():
    net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(30)])
    with pytest.raises(UserError, match=r"the model has no layer '29\.a'; it has 30, such as 29(, \d+){4}$"):
        lrp.relevance(net, torch.ones(1, 2), "predicted", "epsilon", layers="29.a")


def test_a_layer_without_weights_yet():
    with pytest.raises(UserError, match="'0' has no weight yet; run the model once"):
        lrp.relevance(nn.Sequential(nn.LazyLinear(2)), torch.ones(1, 2), "predicted")


def test_a_single_layer_may_be_asked_for_by_its_name():
    net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(11)])
    assert list(lrp.relevance(net, torch.ones(1, 2), "predicted", "epsilon", layers="10").layers) == ["10"]


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (np.ones((1, 2)), "type ndarray"),
        (torch.ones(1, 2, dtype=torch.uint8), "torch.uint8; expected floats"),
        (torch.full((1, 2), torch.nan), "NaN"),
        (torch.ones(1, 5), r"the model fails for an input of shape \(1, 5\)"),
    ],
)
def test_arguments_of_gradients(inputs, told):
    with pytest.raises(UserError, match=told):
        lrp.sensitivity(layer([1.0, 2.0]).float(), inputs, "predicted")


@pytest.mark.parametrize("measure", [lrp.sensitivity, lrp.gradient_x_input])
def test_gradients_in_inference_mode_of_a_net_that_overwrites_its_input(measure):
    torch.manual_seed(0)
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(2, 2))
    x = torch.randn(3, 2)
    expected, before = measure(net, x, "predicted"), x.clone()
    with torch.inference_mode():
        torch.testing.assert_close(measure(net, x.clone(), "predicted"), expected)
    assert torch.equal(x, before)


def test_gradients_of_a_model_in_half_precision_can_be_recorded(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2)).bfloat16()
    with Recorder(tmp_path / "r.h5", net, torch.rand(2, 1, 5, 5), torch.tensor([0, 1]), composite="sensitivity") as r:
        assert r.record(0)
    with pytest.raises(UserError, match="expected classes from 0 to"):
        Recorder(
            tmp_path / "s.h5", net, torch.rand(1, 1, 5, 5), torch.tensor([7]), composite="sensitivity"
        ).record(0)  # fmt: skip


PRECISION = """
import torch
from lrp_dynamics import lrp
{setting}
shown = lambda: (torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision)
before = shown()
net = torch.nn.Linear(64, 3)
lrp.relevance(net, torch.rand(2, 64), "predicted")
assert shown() == before, shown()
print("explained")
"""


@pytest.mark.parametrize(
    "setting",
    [
        'torch.backends.fp32_precision = "tf32"',
        'torch.backends.mkldnn.matmul.fp32_precision = "bf16"',
    ],
)
def test_either_way_to_set_a_lower_precision_is_left_as_it_was(setting):
    done = subprocess.run([sys.executable, "-c", PRECISION.format(setting=setting)], capture_output=True, text=True)
    assert done.stdout.strip() == "explained", done.stderr[-500:]


def test_a_scripted_network_that_fails_says_for_what_input():
    model = torch.jit.script(nn.Sequential(nn.Linear(4, 3)))
    with pytest.raises(UserError, match="the model fails for an input of shape"):
        lrp.relevance(model, torch.zeros(1, 5), torch.tensor([0]))
