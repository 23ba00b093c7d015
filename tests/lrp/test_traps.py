"""Mistakes that other packages have made: each would give a wrong map, or spoil the model, without a word."""

import copy
import random
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lrp_dynamics import lrp
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.weighted import Conv
from lrp_dynamics.models import blog_cnn

from .nets import Block, randomize, small_cnn
from .rounding import bound, norms


def images(n=2, size=12, dtype=torch.float64):
    return torch.rand(n, 3, size, size, dtype=dtype, generator=torch.Generator().manual_seed(5))


def snapshot(model):
    return {
        "parameters": [(n, id(p), p.data_ptr(), p._version) for n, p in model.named_parameters()],
        "buffers": [(n, id(b), b._version) for n, b in model.named_buffers()],
        "gradients": [id(p.grad) for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "attributes": [sorted(vars(m)) for m in model.modules()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()],
        "rng": (torch.get_rng_state().tolist(), random.getstate()),
    }


@pytest.mark.parametrize("composite", ["z_plus", "epsilon_gamma_box", "alpha2_beta1", "tutorial_vgg16", "from_scratch"])
def test_the_model_is_untouched(composite):
    model = small_cnn()
    model(images()).sum().backward()
    model.eval()[-2].train()  # a mode that must stay
    for module in (model, model[0]):
        module.register_forward_hook(lambda *_: pytest.fail("the model was run"))
    composite = lrp.COMPOSITES[composite] if composite != "tutorial_vgg16" else {"Linear": "epsilon", "*": "gamma"}
    x = images().requires_grad_()
    before, state = snapshot(model), copy.deepcopy(model.state_dict())
    found = lrp.relevance(model, x, "predicted", composite, bounds=(0, 1), layers="all")
    lrp.Explainer(model, composite, bounds=(0, 1), as_eval=True)(x, "predicted")
    assert snapshot(model) == before
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert x.grad is None
    assert not found.input.requires_grad
    assert torch.equal(x, images())


@pytest.mark.parametrize("measure", [lrp.sensitivity, lrp.gradient_x_input])
def test_gradients_leave_the_model_untouched(measure):
    model = small_cnn().train()
    before, state = snapshot(model), copy.deepcopy(model.state_dict())
    measure(model, images(), "predicted")
    assert snapshot(model) == before
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_training_with_explanations_is_bit_equal_to_training_without():
    def train(explained):
        torch.manual_seed(0)
        model, x = blog_cnn().train(), torch.rand(20, 3, 32, 32)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        explain = lrp.Explainer(model)
        maps = []
        for _ in range(5):
            optimizer.zero_grad()
            F.cross_entropy(model(x), torch.arange(20) % 10).backward()
            optimizer.step()
            if explained:
                maps.append(explain(x, "predicted").input)
                fresh = lrp.relevance(copy.deepcopy(model).eval(), x, "predicted").input
                assert torch.equal(maps[-1], fresh)  # and the explainer follows the weights
        assert not explained or not torch.equal(maps[0], maps[-1])
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(train(False), train(True))


class Functional(nn.Module):
    """The net of `small`, written with functions, views, in-place calls and constants."""

    def __init__(self, small):
        super().__init__()
        self.conv1, self.conv2, self.bn = small[0], small[3], small[4]
        self.weight, self.bias = small[8].weight, small[8].bias
        self.last = small[11]
        self.register_buffer("scale", torch.full((3, 1, 1), 2.0))

    def forward(self, x):
        x = (x * self.scale) / 2.0
        x = F.max_pool2d(F.relu(self.conv1(x), inplace=True), 2)
        x = self.bn(self.conv2(x))
        x.relu_()
        x = F.adaptive_avg_pool2d(x, (x.shape[2] // 2, x.size(3) // 2))
        x = x.view(x.size(0), x.shape[1] * x.shape[2] * x.shape[3])
        x = F.dropout(F.linear(x, self.weight, self.bias).relu(), training=self.training)
        return self.last(x)


@pytest.mark.parametrize("composite", ["z_plus", "epsilon_plus", "gamma", "alpha2_beta1", "flat"])
def test_functions_views_and_in_place_calls_are_what_modules_are(composite):
    small = randomize(small_cnn())
    composite = {"first": "flat", "*": "epsilon"} if composite == "flat" else composite
    expected = lrp.relevance(small, images(), "predicted", composite).input
    found = lrp.relevance(Functional(small).eval(), images(), "predicted", composite).input
    torch.testing.assert_close(found, expected)
    in_place = copy.deepcopy(small)
    in_place[1].inplace = in_place[5].inplace = in_place[9].inplace = True
    torch.testing.assert_close(lrp.relevance(in_place, images(), "predicted", composite).input, expected)


@pytest.mark.parametrize("composite", ["z_plus", "deep_taylor", "alpha2_beta1", "from_scratch_top_k"])
def test_no_samples_have_no_relevance(composite):
    found = lrp.relevance(small_cnn(), images(0), "predicted", composite, bounds=(0.0, 1.0), layers="all")
    assert found.input.shape == (0, 3, 12, 12)
    assert found.min_abs_z.shape == found.residual.shape == (0,)


def test_an_in_place_relu_changes_what_later_layers_read():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            x = self.a(x)
            torch.relu_(x)  # its result is not used, its effect is
            return self.b(x)

    torch.manual_seed(0)
    net, x = Net().double(), torch.randn(6, 4).double()
    same = nn.Sequential(net.a, nn.ReLU(), net.b)
    found = lrp.relevance(net, x, "predicted", "epsilon")
    torch.testing.assert_close(found.output, net(x))
    torch.testing.assert_close(found.input, lrp.relevance(same, x, "predicted", "epsilon").input)


def test_shared_modules():
    torch.manual_seed(0)
    layer, relu = nn.Linear(4, 4).double(), nn.ReLU()
    net = nn.Sequential(layer, relu, layer, relu, nn.Linear(4, 2).double())
    apart = nn.Sequential(layer, nn.ReLU(), copy.deepcopy(layer), nn.ReLU(), net[4])
    x = torch.randn(5, 4).double()
    found = lrp.relevance(net, x, "predicted", "epsilon")
    torch.testing.assert_close(found.input, lrp.relevance(apart, x, "predicted", "epsilon").input)
    assert {"0", "0#2"} <= set(found.absorbed)


def test_chunks_concatenations_and_channels_moved():
    class Shuffle(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

        def forward(self, x):
            a, b = torch.relu(self.conv(x)).chunk(2, 1)
            x = torch.cat([b, a], dim=1).transpose(1, 2)
            x = F.pad(x.permute(0, 2, 1, 3), (1, 1, 0, 0))
            return self.head(x[:, :, 1:].mean(dim=[2, 3]))

    torch.manual_seed(0)
    net = Shuffle().double()
    found = lrp.relevance(net, images(), "predicted", "lrp0")
    torch.testing.assert_close(found.output, net(images()))
    torch.testing.assert_close(found.input, lrp.gradient_x_input(net, images(), "predicted"))
    torch.testing.assert_close(found.residual, sum(found.absorbed.values()))


def test_parametrized_weights_are_what_they_compute():
    torch.manual_seed(0)
    net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 2)).double()
    x = torch.rand(3, 4).double()
    found = lrp.relevance(net, x, "predicted", {"Linear": "gamma"}).input
    nn.utils.parametrize.remove_parametrizations(net[0], "weight")
    torch.testing.assert_close(found, lrp.relevance(net, x, "predicted", {"Linear": "gamma"}).input)


def test_a_compiled_model_is_explained_as_the_model_it_wraps():
    model = small_cnn()
    expected = lrp.relevance(model, images(), "predicted").input
    assert torch.equal(lrp.relevance(torch.compile(model), images(), "predicted").input, expected)


def test_explanations_of_two_models_do_not_mix():
    first, second = small_cnn(seed=0), small_cnn(seed=1)
    explain = lrp.Explainer(first, "epsilon_plus")
    before = explain(images(), "predicted").input
    lrp.relevance(second, images(), "predicted", "gamma")
    assert torch.equal(explain(images(), "predicted").input, before)


def test_half_precision_is_explained_in_float32():
    model = small_cnn(torch.float32)
    expected = lrp.relevance(model, images(dtype=torch.float32), "predicted").input
    with torch.autocast("cpu", torch.bfloat16):
        found = lrp.relevance(model, images(dtype=torch.float32), "predicted").input
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    half = copy.deepcopy(model).bfloat16()
    found = lrp.relevance(half, images(dtype=torch.float32).bfloat16(), "predicted")
    assert found.input.dtype == found.min_abs_z.dtype == torch.float32
    same = lrp.relevance(half.float(), images(dtype=torch.float32).bfloat16().float(), "predicted").input
    assert torch.equal(found.input, same)


def test_half_precision_with_a_learnt_activation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(4, 0.3), nn.Flatten(), nn.Linear(400, 3)).bfloat16()
    x = images(dtype=torch.float32).bfloat16()
    found = lrp.relevance(model, x, "predicted", "epsilon").input
    assert torch.equal(found, lrp.relevance(model.float(), x.float(), "predicted", "epsilon").input)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4, 12, 12), r"layer '0' .Conv2d. of the model fails for an input of shape \(2, 4, 12, 12\)"),
        ((2, 3, 16, 16), r"layer '8' .Linear. of the model fails for an input of shape \(2, 3, 16, 16\): .*2x54"),
        ((3, 12, 12), r"layer '0' .Conv2d. of the model fails for an input of shape \(2, 12, 12\)"),
        ((12,), r"input has shape \(12,\); expected \(N, ...\)"),
        ((), r"input has shape \(\); expected \(N, ...\)"),
    ],
)
def test_an_input_of_another_size_names_the_layer(shape, message):
    with pytest.raises(UserError, match=message):
        lrp.relevance(small_cnn(torch.float32), torch.rand(shape), "predicted")


def test_a_lack_of_memory_is_told_as_torch_tells_it():
    """Callers catch it, and try smaller batches."""
    explain = lrp.Explainer(small_cnn())
    lack = patch.object(Conv, "forward", side_effect=torch.OutOfMemoryError("CUDA out of memory"))
    with lack, pytest.raises(torch.OutOfMemoryError):
        explain(images(), "predicted")


def test_inside_inference_mode():
    expected = lrp.relevance(small_cnn(), images(), "predicted", "epsilon_plus").input
    with torch.inference_mode():
        found = lrp.relevance(small_cnn(), images() * 1.0, "predicted", "epsilon_plus").input
    assert torch.equal(found, expected)


def test_outside_settings_come_back():
    torch.set_float32_matmul_precision("medium")
    try:
        lrp.relevance(small_cnn(), images(), "predicted")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_batch_norm_in_training_mode():
    model = small_cnn()
    expected = lrp.relevance(model, images(), "predicted").input
    model.train()
    with pytest.raises(UserError, match=r"'4' is a BatchNorm in training mode; call model\.eval\(\)"):
        lrp.relevance(model, images(), "predicted")
    assert torch.equal(lrp.Explainer(model, as_eval=True)(images(), "predicted").input, expected)
    model = blog_cnn().train()  # without BatchNorm, nothing depends on the mode
    lrp.relevance(model, images(size=32, dtype=torch.float32), "predicted")


def test_a_merged_batch_norm_is_the_layer_torch_fuses():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
    net = randomize(nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), nn.Linear(400, 2)).double())
    fused = nn.Sequential(torch.nn.utils.fusion.fuse_conv_bn_eval(conv, norm), *net[2:])
    expected = lrp.relevance(fused, images(), "predicted", "gamma").input
    torch.testing.assert_close(lrp.relevance(net, images(), "predicted", "gamma").input, expected)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: nn.Sequential(nn.Flatten(2), nn.Linear(4, 3)), r"'0' .Flatten. of the model fails .* shape \(2, 4\)"),
        (
            lambda: nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)),
            "mixes its samples by 'native_batch_norm'",
        ),
        (lambda: nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.MaxPool2d(2, return_indices=True)), "no single tensor"),
        (
            lambda: nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.MaxPool2d(2, 1, 1, 2), nn.Flatten()),
            "not for dilated max-pools",
        ),
        (lambda: nn.Unflatten(1, (2, 2)), r"classes are explained of .N, K. scores alone"),
    ],
)
def test_what_cannot_be_right_is_refused(model, message):
    with pytest.raises(UserError, match=message):
        lrp.relevance(model().eval(), torch.rand(2, 4), "predicted", {"MaxPool2d": "average", "*": "epsilon"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": torch.tensor([0, 10])}, "target 1 is class 10; expected classes from 0 to 9"),
        ({"target": torch.tensor([0])}, "one class per sample"),
        ({"target": torch.zeros(2, 3)}, r"initial relevance has shape \(2, 3\); expected \(2, 10\)"),
        ({"target": "best"}, "predicted"),
        ({"composite": "zplus"}, "did you mean 'z_plus'"),
        ({"composite": "deep_taylor"}, "needs bounds"),
        ({"composite": "deep_taylor", "bounds": (0.0, 0.5)}, "leaves its bounds"),
        ({"composite": {"Conv2d": "z_box", "*": "epsilon"}, "bounds": (0, 1)}, "'3' does not read the input itself"),
        ({"inputs": torch.full((2, 3, 12, 12), torch.nan)}, "NaN"),
        ({"inputs": torch.zeros(2, 3, 12, 12, dtype=torch.uint8)}, "torch.uint8; expected floats"),
        ({"inputs": torch.zeros(2, 3, 12, 12, device="meta")}, "on meta, the model on cpu"),
        ({"layers": ["conv9"]}, "no layer 'conv9'"),
    ],
)
def test_mistakes_are_told(change, message):
    arguments = {"model": small_cnn(), "inputs": images(), "target": "predicted", **change}
    with pytest.raises(UserError, match=message):
        lrp.relevance(**arguments)


def test_an_input_that_changed_in_place_is_looked_at_again():
    explain, x = lrp.Explainer(small_cnn(), "deep_taylor", bounds=(0.0, 1.0)), images()
    explain(x, "predicted")
    x[0, 0, 0, 0] = 3.0
    with pytest.raises(UserError, match="leaves its bounds"):
        explain(x, "predicted")
    explain, x = lrp.Explainer(small_cnn()), images()
    explain(x, "predicted")
    x.neg_()
    assert torch.equal(explain(x, "predicted").input, lrp.relevance(explain.model, x, "predicted").input)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("composite", ["z_plus", "epsilon_gamma_box", "alpha2_beta1", "tutorial"])
def test_cuda_gives_the_map_of_the_cpu_and_is_deterministic(composite):
    model = randomize(nn.Sequential(*small_cnn(torch.float32), *[]))
    overlapping = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(3, 1), nn.Flatten(), nn.Linear(512, 4))
    composite = {"MaxPool2d": "average", "*": "epsilon"} if composite == "tutorial" else composite
    x = images(4, dtype=torch.float32)
    torch.use_deterministic_algorithms(True)
    try:
        for net in (model, overlapping, nn.Sequential(Block(3, 6), nn.AdaptiveAvgPool2d(5), nn.Flatten()).eval()):
            target = net(x).argmax(1)
            explain = lambda net, x, to=target: lrp.relevance(net, x, to, composite, bounds=(0, 1)).input  # noqa: E731
            expected, limit = bound(explain, net, x)
            net = copy.deepcopy(net).cuda()
            maps = [lrp.relevance(net, x.cuda(), "predicted", composite, bounds=(0, 1)).input for _ in range(3)]
            assert torch.equal(maps[0], maps[1])
            assert torch.equal(maps[0], maps[2])
            assert (norms(maps[0].cpu() - expected) <= limit).all()
    finally:
        torch.use_deterministic_algorithms(False)
