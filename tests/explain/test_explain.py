"""`lrp-dynamics explain`: real image files of every kind through real networks."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import v2

from lrp_dynamics import models
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.commands.cli import main
from lrp_dynamics.data.pictures import crop_image, open_image
from lrp_dynamics.lrp import relevance
from lrp_dynamics.models.description import Description
from lrp_dynamics.models.trained import load
from lrp_dynamics.reports.explaining import BELOW, balance, class_index, unique_names
from lrp_dynamics.reports.photos import blend

CLASSES = ("disc", "ring", "square", "Star")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A blog_cnn of four classes, as the pipeline writes it."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    model = models.build("blog_cnn", n_classes=4, seed=1)
    about = Description("blog_cnn", CLASSES, (3, 32, 32), 0.0, 1.0, "toys (synthetic)")
    save_file(model.state_dict(), path, about.as_metadata())
    return path


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 255, (6, 9, 3), np.uint8)).resize((90, 60), Image.Resampling.BILINEAR)


def explain(capsys, *arguments):
    status = main(["explain", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_every_kind_of_image_and_a_broken_one(capsys, tmp_path, weights, picture):
    picture.save(tmp_path / "colour.jpg")
    picture.convert("L").save(tmp_path / "grey.png")
    picture.convert("RGBA").save(tmp_path / "clear.webp", lossless=True)
    picture.convert("P").save(tmp_path / "palette.gif")
    Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(tmp_path / "deep.tiff")
    (tmp_path / "broken.png").write_bytes((tmp_path / "grey.png").read_bytes()[:200])
    files = [tmp_path / n for n in ("colour.jpg", "grey.png", "clear.webp", "palette.gif", "deep.tiff", "broken.png")]
    out = tmp_path / "out"
    status, text, errors = explain(capsys, *files, tmp_path / "none.png", "--model", weights, "--out", out)
    assert status == 0
    assert errors.count("left out") == 2
    assert "broken.png is not an image that can be read" in errors
    assert "none.png is not an image that can be read (there is no such file)" in errors
    table = read_csv(out / "predictions.csv")
    assert sorted(set(table["image"])) == sorted(f.name for f in files[:-1])
    assert len(table["image"]) == 4 * 5
    for file in files[:-1]:
        assert file.name in text
        assert Image.open(out / f"{file.stem}-heatmap.png").size == Image.open(out / f"{file.stem}-overlay.png").size
    assert len(list(out.iterdir())) == 2 * 5 + 2  # and predictions.csv, contact.png


def test_a_picture_says_that_a_negative_logit_was_shared_out():
    model, inputs = models.build("blog_cnn", n_classes=4, seed=1).eval(), torch.rand(1, 3, 32, 32)
    for sign in (1, -1):
        with torch.no_grad():
            model.fc2.weight.copy_(sign * model.fc2.weight.abs())
            model.fc2.bias.zero_()
        result = relevance(model, inputs, torch.tensor([0]), "z_plus")
        told = balance("logit", result)
        assert told.startswith(f"sum of the map {result.input.sum():.3g}, logit ".replace("-", "−"))
        assert (BELOW in told) == (sign < 0)
        assert BELOW not in balance("one", result)


def test_table_adds_up_and_agrees_with_the_library(capsys, tmp_path, weights, picture):
    picture.save(tmp_path / "a.png")
    explain(capsys, tmp_path / "a.png", "--model", weights, "--target", "runner-up", "--out", tmp_path)
    table = read_csv(tmp_path / "predictions.csv")
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table["explained"].tolist() == [0, 1, 0, 0]
    assert table["probability"].sum() == pytest.approx(1, abs=1e-6)
    network = load(str(weights))
    pixels = network.pixels(open_image(tmp_path / "a.png"))
    inputs = torch.from_numpy(np.array(pixels))[None] / 255
    target = torch.tensor([int(table["class_index"][1])])
    expected = relevance(network.model, inputs, target, "epsilon_gamma_box", bounds=(0.0, 1.0))
    # What rounding may do to a sum is a matter of its terms.
    terms = expected.input.abs().sum().item()
    np.testing.assert_allclose(table["relevance"][1], expected.input.sum(), atol=1e-5 * terms)
    np.testing.assert_allclose(table["relevance"][1] + table["absorbed"][1], table["logit"][1], atol=1e-5 * terms)
    np.testing.assert_allclose(table["logit"], expected.output[0][table["class_index"].tolist()], rtol=1e-5, atol=1e-6)


def test_orientation_of_the_camera_is_applied(capsys, tmp_path, weights, picture):
    picture.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise by 90° when shown
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    explain(capsys, tmp_path / "upright.png", tmp_path / "turned.png", "--model", weights, "--out", tmp_path)
    table = read_csv(tmp_path / "predictions.csv")
    assert table["logit"][:4].tolist() == table["logit"][4:].tolist()
    assert np.array_equal(np.asarray(open_image(tmp_path / "turned.png")), np.asarray(picture))


def test_class_by_name_and_number_and_images_of_one_name(capsys, tmp_path, weights, picture):
    for name in ("a.png", "a.jpg"):
        picture.save(tmp_path / name)
    for target in ("star", "3"):
        out = tmp_path / target
        files = (tmp_path / "a.png", tmp_path / "a.jpg")
        status, *_ = explain(capsys, *files, "--model", weights, "--target", target, "--out", out)
        assert status == 0
        table = read_csv(out / "predictions.csv")
        assert set(table["class"][table["explained"] == 1]) == {"Star"}
        assert {p.name for p in out.glob("*-heatmap.png")} == {"a-png-heatmap.png", "a-jpg-heatmap.png"}


def test_same_image_same_bytes(capsys, tmp_path, weights, picture):
    picture.save(tmp_path / "a.png")
    for out in ("one", "two"):
        explain(capsys, tmp_path / "a.png", "--model", weights, "--out", tmp_path / out)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_resnet_by_name_with_a_state_dict(capsys, tmp_path, picture):
    picture.save(tmp_path / "a.png")
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(num_classes=7).state_dict(), tmp_path / "w.pth")
    arguments = ("--model", "resnet18", "--weights", tmp_path / "w.pth", "--composite", "epsilon_plus")
    status, text, _ = explain(capsys, tmp_path / "a.png", *arguments, "--target", "class 6", "--out", tmp_path)
    assert status == 0
    assert "class 6" in text
    assert len(read_csv(tmp_path / "predictions.csv")["rank"]) in (5, 6)


def test_network_of_the_pipeline_can_be_explained(capsys, tmp_path, picture):
    from lrp_dynamics.data import prepared, shapes10
    from lrp_dynamics.training.run import run_training

    data = shapes10.prepare("shapes10", {"n_train": 40, "n_test": 10, "title": "shapes10 (synthetic)"}, tmp_path)
    prepared.write(tmp_path / "shapes10.h5", data)
    training = {"epochs": 1, "batch_size": 20, "threads": 1}
    params = {"model": "blog_cnn", "inputs": {"low": -1.0, "high": 1.0}, "training": training, "seed": 0}
    run_training(tmp_path / "shapes10.h5", params, tmp_path / "run", cache=tmp_path / "cache", record=False)
    network = load(str(tmp_path / "run" / "model.safetensors"))
    assert network.about.classes == data.classes
    assert network.inputs(np.array([[[[0, 255]]] * 3], np.uint8)).flatten().tolist() == [-1, 1] * 3
    picture.save(tmp_path / "a.png")
    run = tmp_path / "run" / "model.safetensors"
    status, text, _ = explain(capsys, tmp_path / "a.png", "--model", run, "--target", "ring", "--out", tmp_path)
    assert status == 0
    assert "ring" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "vgg99"],
            "model: found 'vgg99', expected the name of a network, perhaps vgg19 or vgg19_bn or vgg16; timm:NAME",
        ),
        (["--model", "WEIGHTS", "--composite", "epsilom"], "composite 'epsilom' is unknown; did you mean 'epsilon'?"),
        (["--model", "WEIGHTS", "--target", "4"], "target: found 4, expected a class from 0 to 3"),
        (
            ["--model", "WEIGHTS", "--target", "squid"],
            "target: found 'squid', expected predicted, runner-up, or a class",
        ),
        (["--model", "blog_cnn"], "there are no published weights of 'blog_cnn'; give a file with --weights"),
        (["--model", "resnet18", "--weights", "WEIGHTS"], "holds the weights of 'blog_cnn', not of 'resnet18'"),
        (["--model", "blog_cnn", "--weights", "IMAGE"], "neither a .safetensors file nor a state_dict"),
        (["--model", "IMAGE"], "neither a .safetensors file nor a state_dict"),
        (["--model", "blog_cnn", "--weights", "nowhere.pth"], "nowhere.pth: there is no such file of weights"),
    ],
)
def test_mistakes_are_told_in_one_sentence(capsys, tmp_path, weights, picture, arguments, message):
    picture.save(tmp_path / "a.png")
    places = {"WEIGHTS": weights, "IMAGE": tmp_path / "a.png"}
    arguments = [places.get(a, a) for a in arguments]
    status, _, errors = explain(capsys, tmp_path / "a.png", *arguments, "--out", tmp_path / "out")
    assert status == 2
    assert message in errors
    assert errors.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_weights_of_another_network_are_refused(tmp_path):
    state = models.build("blog_cnn", n_classes=4).state_dict()
    torch.save({**state, "fc2.bias": torch.full((4,), torch.nan)}, tmp_path / "nan.pth")
    with pytest.raises(UserError, match=r"'fc2\.bias' hold NaN"):
        load("blog_cnn", tmp_path / "nan.pth")
    torch.save({**state, "conv1.bias": torch.zeros(3)}, tmp_path / "shape.pth")
    with pytest.raises(UserError, match=r"'conv1.bias' of shape \(3,\), expected \(16,\)"):
        load("blog_cnn", tmp_path / "shape.pth")
    with pytest.raises(UserError, match=r"are not those of 'resnet18'"):
        load("resnet18", tmp_path / "shape.pth")


def test_a_pickle_that_would_run_code_is_not_loaded(tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harmed"), "w"))

    torch.save({"weight": Harm()}, tmp_path / "harm.pth")
    with pytest.raises(UserError, match=r"holds a pickled object of '.*open' beside or instead of weights"):
        load("blog_cnn", tmp_path / "harm.pth")
    assert not (tmp_path / "harmed").exists()


def test_without_network_or_cache_the_message_says_where_to_put_the_file(capsys, monkeypatch, tmp_path, picture):
    picture.save(tmp_path / "a.png")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing answers there
    status, _, errors = explain(capsys, tmp_path / "a.png", "--model", "resnet18", "--out", tmp_path / "out")
    assert status == 2
    assert f"put the file at {tmp_path}/hub/checkpoints/resnet18-f37072fd.pth" in errors


def test_images_are_cut_as_torchvision_cuts_them(picture):
    view = v2.Compose([v2.Resize(48), v2.CenterCrop(33)])
    for image in (picture, picture.rotate(90, expand=True)):
        assert np.array_equal(np.asarray(crop_image(image, 48, 33)), np.asarray(view(image)))


def test_no_relevance_is_grey_and_signs_are_red_and_blue():
    pixels = np.full((3, 1, 3), 128, np.uint8)
    nothing, support, against = blend(pixels, np.array([[0.0, 1.0, -1.0]]), 1.0)[0]
    assert np.ptp(nothing) < 1e-9
    assert support[0] > support[2]
    assert against[2] > against[0]


def test_names_that_two_classes_share_need_a_number():
    with pytest.raises(UserError, match="classes 0 and 2 are both called 'crane'; give the number"):
        class_index("crane", ("crane", "dog", "Crane"))
    assert class_index("2", ("a", "b", "c")) == 2
    assert class_index("2", ("2", "b", "c")) == 0
    with pytest.raises(UserError, match="found '²'"):
        class_index("²", ("a", "b", "c"))


def test_a_composite_for_all_classes_has_no_target(capsys, tmp_path, weights, picture):
    picture.save(tmp_path / "a.png")
    command = (tmp_path / "a.png", "--model", weights, "--composite", "from_scratch", "--out", tmp_path)
    status, _, errors = explain(capsys, *command, "--target", "3")
    assert status != 0
    assert "explains all classes at once" in errors
    assert explain(capsys, *command)[0] == 0
    assert not any(read_csv(tmp_path / "predictions.csv")["explained"])


def test_results_get_different_names():

    assert unique_names(["a.png", "a.png", "b.png", "x/c.png"]) == ["a-png", "a-png-2", "b", "x-c"]
