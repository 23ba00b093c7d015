"""Weights as people save them, names of classes, and networks of torchvision, timm and the user's own."""

import argparse
import json

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from lrp_dynamics import models
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.commands.cli import main
from lrp_dynamics.models.class_names import read_classes
from lrp_dynamics.models.published import TORCHVISION, untrained, view_of
from lrp_dynamics.models.trained import describe, load


@pytest.fixture(scope="module")
def small():
    return models.build("blog_cnn", n_classes=4, seed=1)


@pytest.fixture
def folder(tmp_path, small):
    """A folder of images, two sub-folders deep, and weights."""
    (tmp_path / "photos" / "a" / "b").mkdir(parents=True)
    for name, colour in {"one.png": "red", "a/one.jpg": "blue", "a/b/two.webp": "green"}.items():
        Image.new("RGB", (50, 40), colour).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "photos" / "bad.png").write_bytes(b"no image")
    torch.save(small.state_dict(), tmp_path / "w.pt")
    return tmp_path


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "kept",
    [
        lambda state: state,
        lambda state: {"model": state, "epoch": 3},
        lambda state: {"model": "blog_cnn", "net": state},
        lambda state: {"state_dict": prefixed("model.", state), "hyper_parameters": {"lr": 0.1}},
        lambda state: {"model_state_dict": prefixed("module.", state), "optimizer": {"state": {}}},
        lambda state: prefixed("module._orig_mod.", state),
        lambda state: {"state_dict": prefixed("net.", state) | {"loss.weight": torch.ones(4)}},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"net": state, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}},
    ],
)
def test_checkpoints_as_people_save_them(tmp_path, small, kept):
    torch.save(kept(small.state_dict()), tmp_path / "checkpoint.pt")
    network = load("blog_cnn", tmp_path / "checkpoint.pt")
    assert all(torch.equal(value, small.state_dict()[name]) for name, value in network.model.state_dict().items())
    assert network.about.trained_on == "unknown data"
    assert network.assumed == {"size": "images of 32×32 pixels", "range": "scaled from 0 to 1"}


def test_names_of_safetensors_come_in_another_order_than_layers(tmp_path):
    torch.manual_seed(0)
    save_file(torchvision.models.resnet18(num_classes=7).state_dict(), tmp_path / "w.safetensors")
    network = load("resnet18", tmp_path / "w.safetensors")
    assert network.about.classes == tuple(f"class {k}" for k in range(7))
    assert list(network.assumed.values()) == ["images of 224×224 pixels", "scaled as for torchvision's own weights"]


def test_what_is_pickled_beside_weights_is_named_and_not_run(tmp_path, small):
    torch.save(small, tmp_path / "whole.pt")
    with pytest.raises(UserError, match=r"pickled object of 'torch\.nn\.modules\.container\.Sequential' .* run code"):
        load("blog_cnn", tmp_path / "whole.pt")
    torch.save({"model": small.state_dict(), "args": argparse.Namespace(lr=1)}, tmp_path / "args.pt")
    with pytest.raises(UserError, match=r"a pickled object of 'argparse\.Namespace' beside or instead of weights"):
        load("blog_cnn", tmp_path / "args.pt")
    torch.jit.script(small).save(tmp_path / "script.pt")
    with pytest.raises(UserError, match=r"is a TorchScript program; expected weights alone"):
        load("blog_cnn", tmp_path / "script.pt")
    torch.save({"net": small.state_dict(), "ema": small.state_dict()}, tmp_path / "other.pt")
    told = r"no state_dict but a mapping with the keys 'net', 'ema'; .* save one alone: torch\.save\(checkpoint\['n"
    with pytest.raises(UserError, match=told):
        load("blog_cnn", tmp_path / "other.pt")
    (tmp_path / "names.txt").write_text("circle\nsquare\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"names\.txt is neither a \.safetensors file nor a state_dict of torch\.save$"):
        load("blog_cnn", tmp_path / "names.txt")


def test_weights_that_were_halved_one_by_one(tmp_path):
    state = torchvision.models.resnet18(num_classes=7).state_dict()
    state["bn1.num_batches_tracked"].fill_(100_000)  # of which half precision makes infinity
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / "w.pt")
    network = load("resnet18", tmp_path / "w.pt")
    torch.testing.assert_close(network.model.fc.weight.detach(), state["fc.weight"], rtol=1e-3, atol=1e-4)


def test_what_is_said_is_not_called_assumed(folder, capsys):
    command = [
        "explain",
        folder / "photos" / "one.png",
        "--model",
        "blog_cnn",
        "--weights",
        folder / "w.pt",
        "--size",
        32,
    ]
    assert main(list(map(str, [*command, "--out", folder / "out"]))) == 0
    told = capsys.readouterr()
    assert "assumed: scaled from 0 to 1; give --range if it was otherwise" in told.err
    assert "pictures of 1 image," in told.out


def test_a_folder_by_several_composites_with_layers(folder, capsys):
    names = folder / "names.json"
    names.write_text(json.dumps({"0": ["n01", "cat"], "1": "dog", "2": "owl", "3": "bee"}), encoding="utf-8")
    out = folder / "photos" / "explained"
    command = ["explain", folder / "photos", "--model", "blog_cnn", "--weights", folder / "w.pt", "--out", out]
    command += ["--composite", "z_plus", "epsilon", "--layers", "conv1", "fc1", "--classes", names]
    assert main(list(map(str, command))) == 0
    told = capsys.readouterr()
    assert "bad.png is not an image that can be read" in told.err
    assert "notes.txt" not in told.err
    assert "w.pt does not say what its network was shown; assumed: images of 32×32 pixels, scaled from 0" in told.err
    assert "give --size and --range if it was otherwise" in told.err
    stems = ("one", "a-one", "a-b-two")
    kinds = ("heatmap", "overlay", "layers")
    files = {f"{stem}-{rules}-{kind}.png" for stem in stems for rules in ("z_plus", "epsilon") for kind in kinds}
    files |= {f"{stem}-grid.png" for stem in stems} | {"contact.png", "predictions.csv", "layers.csv"}
    assert {path.name for path in out.iterdir()} == files
    table, layers = read_csv(out / "predictions.csv"), read_csv(out / "layers.csv")
    assert set(table["image"]) == {"one.png", "a/one.jpg", "a/b/two.webp"}
    assert set(table["class"]) == {"cat", "dog", "owl", "bee"}
    assert sorted(set(zip(layers["layer"], layers["shape"], strict=True))) == [("conv1", "16×30×30"), ("fc1", "512")]
    # By z+ nothing is lost on the way from the logit to the first layer.
    first = [value for value, rules, name in zip(layers["relevance"], layers["composite"], layers["layer"], strict=True)
             if (rules, name) == ("z_plus", "conv1")]  # fmt: skip
    logits = [value for value, rules, it in zip(table["logit"], table["composite"], table["explained"], strict=True)
              if rules == "z_plus" and it]  # fmt: skip
    assert first == pytest.approx(logits, rel=1e-4)
    # What lies in the folder of the results is no image to be explained.
    assert main(list(map(str, command))) == 0
    assert set(read_csv(out / "predictions.csv")["image"]) == {"one.png", "a/one.jpg", "a/b/two.webp"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat\ndog\n\n", ["cat", "dog"]),
        ("\ufeffcat\r\ndog", ["cat", "dog"]),
        ('["cat", "dog"]', ["cat", "dog"]),
        ('{"1": "dog", "0": "cat"}', ["cat", "dog"]),
        ('{"dog": 1, "cat": 0}', ["cat", "dog"]),
    ],
)
def test_names_of_classes(tmp_path, text, names):
    (tmp_path / "names").write_text(text, encoding="utf-8", newline="")
    assert read_classes(tmp_path / "names", 2) == names
    with pytest.raises(UserError, match="has 2 names, but the network has 3 classes"):
        read_classes(tmp_path / "names", 3)


@pytest.mark.parametrize("text", ['{"0": 1.5, "2": "a"}', "[1, 2]", '["a", ', "\xff"])
def test_what_holds_no_names_of_classes(tmp_path, text):
    (tmp_path / "names").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="holds no names of classes; expected UTF-8 text with a name a line, or JSON"):
        read_classes(tmp_path / "names", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "tpu"], "--device: found 'tpu', which torch has not here; use cpu, cuda"),
        (["--device", "cuda:99"], "--device: found 'cuda:99', which torch has not here"),
        (["--layers", "conv7"], "the model has no layer 'conv7'; it has conv1, relu1"),
        (["--size", "0"], "--size: found 0, expected 1 to 16384 pixels"),
        (["--range", "1", "0"], "--range: found 1 0, expected LOW to be less than HIGH"),
        (["--classes", "none.txt"], "--classes: there is no file none.txt"),
        (["--composite", "z_plus", "from_scratch", "--target", "1"], "'from_scratch' explains all classes at once"),
    ],
)
def test_mistakes_are_told_in_one_sentence(folder, capsys, arguments, message):
    command = ["explain", str(folder / "photos"), "--model", "blog_cnn", "--weights", str(folder / "w.pt")]
    assert main([*command, "--out", str(folder / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_size_and_range_are_those_given(folder, capsys):
    net = "from torch import nn\n\ndef net(k, c):\n    return nn.Sequential("
    net += "nn.Conv2d(c, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, k))\n"
    (folder / "net.py").write_text(net, encoding="utf-8")
    model = models.build(f"{folder}/net.py:net", n_classes=3)
    torch.save(model.state_dict(), folder / "own.pt")
    command = [
        "explain",
        folder / "photos" / "one.png",
        "--model",
        f"{folder}/net.py:net",
        "--weights",
        folder / "own.pt",
    ]
    command += ["--size", "48", "--range", "-1", "1", "--layers", "0", "--out", folder / "out"]
    assert main(list(map(str, command))) == 0
    assert "assumed" not in capsys.readouterr().err
    assert read_csv(folder / "out" / "layers.csv")["shape"].tolist() == ["4×46×46"]
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 48, 48)
    expected = model.eval()(red)[0].max().item()
    assert read_csv(folder / "out" / "predictions.csv")["logit"][0] == pytest.approx(expected, abs=1e-5)


def test_a_network_of_timm(tmp_path):
    timm = pytest.importorskip("timm")
    torch.save({"state_dict": timm.create_model("resnet10t", num_classes=5).state_dict()}, tmp_path / "w.pt")
    network = load("timm:resnet10t", tmp_path / "w.pt")
    assert (len(network.about.classes), network.about.trained_on) == (5, "unknown data")
    assert list(network.assumed.values()) == ["images of 176×176 pixels", "scaled as for timm's own weights"]
    with pytest.raises(
        UserError, match=r"found 'timm:resnet10x', which no network of timm is called; did you mean resnet"
    ):
        load("timm:resnet10x", tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "regnet_y_400mf", "squeezenet1_1", "efficientnet_b2"])
def test_a_network_of_torchvision_gets_weights_of_any_number_of_classes(tmp_path, name):
    """Heads for the training alone among them; and it is shown images as the published weights are."""
    state = untrained(name, 6).state_dict()
    about, aligned = describe(name, prefixed("module.", state), "unknown data", tmp_path)
    assert aligned.keys() == state.keys()
    assert len(about.classes) == 6
    view = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    assert (about.shape[1], about.resize) == (view.crop_size[0], view.resize_size[0])
    assert about.interpolation == view.interpolation.value


@pytest.mark.long
def test_every_family_of_torchvision_can_be_given_weights(tmp_path):
    assert len(TORCHVISION) >= 80
    ends = ("_tiny", "_t", "b0", "18", "121", "11", "b_16", "small", "0_5", "1_1", "400mf", "net", "v2")
    for name in filter(lambda name: name.endswith(ends), TORCHVISION):  # the smallest of each family
        about, _ = describe(name, untrained(name, 6).state_dict(), "unknown data", tmp_path)
        assert len(about.classes) == 6, name
        assert view_of(torchvision.models.get_model_weights(name).DEFAULT).interpolation in ("bilinear", "bicubic")


def test_a_description_keeps_its_form():
    """Files of networks that the pipeline trains keep their bytes."""
    from lrp_dynamics.models.description import KEY, Description

    about = Description("blog_cnn", list("abcd"), [3, 32, 32], 0.0, 1.0, "toys")
    assert "interpolation" not in about.as_metadata()[KEY]
    cubic = Description("blog_cnn", list("abcd"), [3, 32, 32], 0.0, 1.0, "toys", 40, "bicubic")
    assert Description.from_metadata(cubic.as_metadata()) == cubic
