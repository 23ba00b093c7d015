"""The VGG-16 study from weights to report, on small networks and real photos."""

import functools
import hashlib
import http.server
import json
import threading
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
import torchvision
from geometry import watched
from PIL import Image

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.commands.cli import main
from lrp_dynamics.data import photos, prepared
from lrp_dynamics.models.trained import load
from lrp_dynamics.studies.vgg16.story import PhotoStory, place_of
from lrp_dynamics.studies.vgg16.study import FIGURES
from lrp_dynamics.studies.vgg16.weights import get_weights

GRACE = "matplotlib:mpl-data/sample_data/grace_hopper.jpg"
PARAMS = {
    "images": 12,
    "composites": ["tutorial_vgg16", "epsilon_plus_flat"],
    "flipping": {"region": 8, "steps": 4, "fill": "blur"},
    "mprt_images": 2,
    "seed": 0,
    "threads": 1,
}


def command(*arguments):
    assert main([a if isinstance(a, str) else json.dumps(a) if isinstance(a, dict) else str(a) for a in arguments]) == 0


def run_study(folder, model, data, params, training=()):
    command(
        *("vgg16-explain", "--model", model, "--data", data, "--training", *training, "--params", params),
        *("--maps", folder / "explanations.h5", "--predictions", folder / "predictions.csv"),
        *("--measures", folder / "measures.csv", "--metrics", folder / "metrics.json"),
    )


def fit(folder, model, *outs):
    """Train a network for a few steps on shapes10, once for each folder named."""
    dataset = {"kind": "shapes10", "n_train": 60, "n_test": 30, "title": "shapes10 (synthetic)", "preset": "easy"}
    command("prepare", "--name", "shapes10", "--params", dataset, "--raw", folder, "--out", folder / "shapes10.h5")
    training = {"epochs": 2, "batch_size": 20, "learning_rate": 0.001, "threads": 1}
    params = {"model": model, "inputs": {"low": -1.0, "high": 1.0}, "training": training, "seed": 3}
    for out in outs:
        data = ("--data", folder / "shapes10.h5", "--params", params)
        command("train", "--no-record", *data, "--out", folder / out, "--cache", folder / "cache")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A narrow VGG-16 after a few steps on shapes10, and the study of it."""
    folder = tmp_path_factory.mktemp("fitted")
    fit(folder, "vgg16_narrow", "run", "again")
    run_study(folder, folder / "run/model.safetensors", folder / "shapes10.h5", PARAMS, [folder / "run/training.json"])
    return folder


def test_fitting_gives_the_same_bytes_each_time(fitted):
    first, second = ((fitted / out / "model.safetensors").read_bytes() for out in ("run", "again"))
    assert first == second


def test_study_holds_what_it_says(fitted):
    network = load(str(fitted / "run/model.safetensors"))
    with h5py.File(fitted / "explanations.h5") as file:
        data = prepared.read(fitted / "shapes10.h5")
        index = prepared.test_images(data, 12)
        assert np.array_equal(file["images"], data.images[index])
        with torch.no_grad():
            logits = network.model(network.inputs(data.images[index]))
        np.testing.assert_allclose(file["logits"], logits, rtol=1e-4, atol=1e-5)
        best = logits.max(1).values
        for method in PARAMS["composites"]:
            books = file[f"books/{method}/predicted"]
            np.testing.assert_allclose(books["initial"], best, rtol=1e-4, atol=1e-5)
            maps, absorbed = file[f"maps/{method}/predicted"][()], file[f"absorbed/{method}"][()]
            terms = np.abs(maps).sum((1, 2)) + np.abs(absorbed).sum(1)  # whose rounding the sums have
            arrived, initial, residual = maps.sum((1, 2)), books["initial"][()], books["residual"][()]
            assert (np.abs(arrived + residual - initial) <= 1e-4 * terms).all()
            assert (np.abs(absorbed.sum(1) - residual) <= 1e-4 * terms).all()
        sides = [file[f"layers/{name}"].shape[1:] for name in json.loads(file.attrs["blocks"])]
        assert sides == [(side, side) for side in (32, 16, 8, 4, 2)]
        assert file["flipping/gradient_x_input/morf"].shape == (12, 5)
        assert file["mprt/tutorial_vgg16"].shape == (16, 2)


def test_tables_and_numbers_agree(fitted):
    metrics = json.loads((fitted / "metrics.json").read_text(encoding="utf-8"))
    table = read_csv(fitted / "measures.csv")
    assert metrics["images"] == 12
    training = json.loads((fitted / "run/training.json").read_text(encoding="utf-8"))
    assert metrics["test_accuracy"] == training["test_accuracy"]
    chosen = table["method"] == "epsilon_plus_flat"
    assert metrics["epsilon_plus_flat_abpc"] == pytest.approx(np.median(table["abpc"][chosen]), rel=1e-6)
    assert ((table["mass_accuracy"] >= 0) & (table["mass_accuracy"] <= 1)).sum() >= 24
    predictions = read_csv(fitted / "predictions.csv")
    assert len(predictions["rank"]) == 12 * 5
    assert set(predictions["label"]) == {*load(str(fitted / "run/model.safetensors")).about.classes}


def test_figures_and_report_are_made_and_the_same_each_time(fitted):
    for out in ("figures", "figures-again"):
        inputs = (f"maps={fitted / 'explanations.h5'}", f"measures={fitted / 'measures.csv'}")
        with watched() as faults:
            command("figures", "vgg16", "--inputs", *inputs, "--params", {"images": 3}, "--out-dir", fitted / out)
        assert faults == {}
    for name in FIGURES:
        first = (fitted / "figures" / f"{name}.png").read_bytes()
        assert first == (fitted / "figures-again" / f"{name}.png").read_bytes()
    command(
        *("report", "vgg16", "--params", {"images": 3}, "--inputs"),
        *(f"{name}={fitted / file}" for name, file in (("maps", "explanations.h5"), ("measures", "measures.csv"))),
        *(f"metrics={fitted / 'metrics.json'}", f"figures={fitted / 'figures'}"),
        *("--ipynb", fitted / "report.ipynb", "--html", fitted / "report.html"),
    )
    page = (fitted / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") == len(FIGURES)
    assert "The network sees" in page
    assert "vgg16_narrow, trained on shapes10 (synthetic)" in page
    assert "ImageNet" not in page
    assert "VGG-16 is 13 convolutions in 5 blocks, each ended by a max-pool, and 3 dense layers." in page
    assert "nan" not in page.split("<body>")[1].lower().replace("finance", "")[:3000]


def test_the_report_tells_the_depth_of_the_network_that_was_explained(tmp_path):
    fit(tmp_path, "vgg11_bn_narrow", "run")
    params = PARAMS | {"images": 2, "composites": ["epsilon_plus_flat"], "mprt_images": 1}
    run_study(tmp_path, tmp_path / "run/model.safetensors", tmp_path / "shapes10.h5", params)
    files = (tmp_path / name for name in ("explanations.h5", "measures.csv", "metrics.json"))
    story = PhotoStory(*files, figures=tmp_path, images=1)
    assert story.network() == "VGG-11 is 8 convolutions in 5 blocks, each ended by a max-pool, and 3 dense layers."


def test_images_are_chosen_class_by_class(fitted):
    data = prepared.read(fitted / "shapes10.h5")
    labels = data.labels[prepared.test_images(data, 10)]
    assert labels.tolist() == sorted(set(data.labels[data.split == prepared.TEST].tolist()))
    assert len(prepared.test_images(data, None)) == 30


# --- photos


def photo_params(folder, packaged=(GRACE,), size=32):
    return {"path": str(folder), "packaged": list(packaged), "resize": size + 4, "size": size, "title": "photos"}


def test_photos_of_the_folder_and_of_packages_are_read_and_broken_ones_named(tmp_path):
    Image.new("L", (50, 40), 200).save(tmp_path / "grey.png")
    Image.new("RGBA", (40, 50), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("not a photo", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"broken\.jpg is not an image that can be read"):
        data = photos.prepare("photos", photo_params(tmp_path))
    assert data.source["files"] == ["grace_hopper.jpg", "clear.png", "grey.png"]
    assert data.source["left_out"] == ["broken.jpg"]
    assert data.images.shape == (3, 3, 32, 32)
    assert (data.images[1] == 255).all()
    assert (data.images[2] == 200).all()


def test_no_photo_and_no_such_package_are_told(tmp_path):
    with pytest.raises(UserError, match="no photo that can be read; put some into"):
        photos.prepare("photos", photo_params(tmp_path / "none", packaged=()))
    with pytest.raises(UserError, match="expected the name of an installed package"):
        photos.prepare("photos", photo_params(tmp_path, packaged=("nowhere:a.jpg",)))


# --- weights


@pytest.fixture
def server(tmp_path):
    """A web server of a folder."""
    (tmp_path / "www").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "www")
    handler.log_message = lambda *_: None
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def published(path, classes=1000):
    """Write random weights of a small network, as torchvision publishes them, and return their checksum."""
    torch.save(torchvision.models.resnet18(num_classes=classes).state_dict(), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights_params(url, checksum, network="resnet18", trained_on="flowers"):
    return {"network": network, "trained_on": trained_on, "urls": [url], "sha256": checksum}


def test_published_weights_are_downloaded_checked_and_described(tmp_path, server):
    checksum = published(tmp_path / "www/resnet18.pth", classes=7)
    params = weights_params(f"{server}/resnet18.pth", checksum)
    out = tmp_path / "model.safetensors"
    get_weights(**params, raw=tmp_path / "raw", out=out)
    network = load(str(out))
    assert network.about.trained_on == "flowers"
    assert list(network.about.classes) == [f"class {k}" for k in range(7)]
    assert network.about.resize == 256
    assert tuple(network.about.shape) == (3, 224, 224)
    expected = torch.load(tmp_path / "www/resnet18.pth", weights_only=True)
    assert all(torch.equal(value, expected[name]) for name, value in network.model.state_dict().items())
    (tmp_path / "www/resnet18.pth").unlink()
    out.unlink()
    get_weights(**params, raw=tmp_path / "raw", out=out)  # lies in raw already


def test_data_and_classes_are_those_of_the_weights_given(tmp_path, capsys):
    """A network of 1,000 outputs need not tell the classes of ImageNet apart."""
    checksum = published(tmp_path / "own.pth")
    for title, known, told in (("Places", False, False), ("ImageNet", True, True)):
        out = tmp_path / f"{title}.safetensors"
        params = weights_params(str(tmp_path / "own.pth"), checksum, trained_on=title)
        get_weights(**params, raw=tmp_path / "raw", out=out)
        about = load(str(out)).about
        assert about.trained_on == title
        assert ("goldfish" in about.classes) == known
        assert ("taken from the parameter trained_on" in capsys.readouterr().err) == told
    about = load("resnet18", tmp_path / "own.pth").about
    assert about.trained_on == "unknown data"
    assert about.classes[:2] == ("class 0", "class 1")
    params = weights_params(str(out), hashlib.sha256(out.read_bytes()).hexdigest(), trained_on="Places")
    with pytest.raises(UserError, match="was trained on 'ImageNet', as it says itself, not on 'Places'"):
        get_weights(**params, raw=tmp_path, out=out)


def test_the_file_that_torchvision_publishes_is_known(tmp_path, monkeypatch):
    """By its checksum, whatever it is called; that of a stand-in takes the place of the real one's, a download."""
    checksum = published(tmp_path / "renamed.pth")
    entry = torchvision.models.ResNet18_Weights.DEFAULT
    monkeypatch.setattr(entry, "_value_", replace(entry.value, url=f"https://host/resnet18-{checksum[:8]}.pth"))
    about = load("resnet18", tmp_path / "renamed.pth").about
    assert about.trained_on == "ImageNet"
    assert "goldfish" in about.classes


def test_weights_that_cannot_be_had_or_are_others_leave_nothing(tmp_path, server, capsys):
    checksum = published(tmp_path / "www/resnet18.pth", classes=7)
    out = tmp_path / "model.safetensors"
    cases = (
        (weights_params(f"{server}/none.pth", checksum), "Put the file (SHA-256"),
        (weights_params(f"{server}/resnet18.pth", "0" * 64), "sent a file with SHA-256"),
        (weights_params(f"{server}/resnet18.pth", checksum, "vgg16"), "are not those of 'vgg16'"),
    )
    for params, message in cases:
        with pytest.raises(UserError) as told:
            get_weights(**params, raw=tmp_path / "raw", out=out)
        assert message in str(told.value)
        assert not out.exists()
    params = json.dumps(weights_params(f"{server}/resnet18.pth", checksum))
    assert main(["vgg16-weights", "--params", params, "--raw", str(tmp_path / "raw"), "--out", str(out)]) == 2
    assert "weights.network: found 'resnet18', expected vgg11, vgg11_bn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "column", "name"), [(0, 0, "upper left"), (4, 4, "centre"), (8, 4, "lower centre"), (4, 8, "middle right")]
)
def test_places_are_named(row, column, name):
    amount = np.zeros((9, 9))
    amount[row, column] = 1
    assert place_of(amount) == name
