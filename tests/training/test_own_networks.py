"""Networks of the user's own: found, imported, built from a seed and trained; mistakes in one sentence."""

import json
import sys

import numpy as np
import pytest
import torch

from lrp_dynamics import models
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.own_code import files_of
from lrp_dynamics.commands.cli import main
from lrp_dynamics.data import shapes10
from lrp_dynamics.data.prepared import write
from lrp_dynamics.training.loop import Images, Settings, train
from lrp_dynamics.training.run import run_training

NET = """
from torch import nn
from blocks import width

def small(n_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, width(), 5, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, n_classes))

class Small(nn.Module):
    def __init__(self, n_classes, in_channels):
        super().__init__()
        self.layers = small(n_classes, in_channels)
    def forward(self, x):
        return self.layers(x)

def wrong_logits(n_classes, in_channels):
    return small(n_classes + 1, in_channels)

def no_network(n_classes, in_channels):
    return 3

def lazy(n_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(n_classes))

def fails(n_classes, in_channels):
    return nn.Linear("3", 4) + undefined

def one_argument(n_classes):
    return small(n_classes, 3)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a file of networks, one beside it, and a package."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("blocks", "mine", "mine.nets"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "my nets").mkdir()
    (tmp_path / "my nets" / "nét.py").write_text(NET, encoding="utf-8")
    (tmp_path / "my nets" / "blocks.py").write_text("def width():\n    return 4\n", encoding="utf-8")
    (tmp_path / "my nets" / "syntax.py").write_text("def net(:\n", encoding="utf-8")
    (tmp_path / "my nets" / "raises.py").write_text("import torch\n\nundefined()\n", encoding="utf-8")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "mine" / "nets.py").write_text(NET.replace("from blocks", "from .parts"), encoding="utf-8")
    (tmp_path / "mine" / "parts.py").write_text(
        "from torch import nn\n\ndef width():\n    return 4\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["my nets/nét.py:small", "my nets/nét.py:Small", "mine.nets.small", "mine.nets.Small"])
def test_a_file_and_a_package_give_the_same_network_for_a_seed(folder, name):
    state = torch.random.get_rng_state()
    one, two, other = (models.build(name, n_classes=3, in_channels=1, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 3)
    pairs = list(zip(one.state_dict().values(), two.state_dict().values(), other.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


def test_the_files_of_a_network_are_its_own_and_those_it_imports_beside_it(folder):
    assert files_of("my nets/nét.py:small") == ["my nets/blocks.py", "my nets/nét.py"]
    assert files_of("mine.nets.Small") == ["mine/__init__.py", "mine/nets.py", "mine/parts.py"]
    assert files_of(f"{folder}/my nets/blocks.py:width") == ["my nets/blocks.py"]
    assert files_of("torchvision.models.resnet18") == []
    assert "blocks" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blog_cn", r"found 'blog_cn', expected one of blog_cnn, .*, or your own as path/net\.py:my_net or"),
        ("none.py:net", r"found 'none\.py:net', but there is no file none\.py"),
        ("mine.none.net", r"found 'mine\.none\.net', but there is no module mine\.none here"),
        ("os.kill", r"found 'os\.kill', but os is a module of Python itself, which has no networks"),
        ("no_such_package.net", r"there is no module no_such_package here or among the installed packages"),
        ("my nets/nét.py:larger", r"nét\.py has no larger; it has width, small, Small, wrong_logits, no_network"),
        ("my nets/syntax.py:net", r"syntax\.py cannot be imported \(SyntaxError: .*syntax\.py, line 1\)"),
        (
            "my nets/raises.py:net",
            r"cannot be imported \(NameError: .*'undefined' is not defined, at .*s\.py, line 3\)",
        ),
        ("my nets/nét.py:no_network", r"returned an object of type int, expected a torch\.nn\.Module"),
        ("my nets/nét.py:lazy", r"has lazy layers, whose weights have no size yet"),
        (
            "my nets/nét.py:fails",
            r"fails\(3, 1\) of .* failed \(.*, line 27\); it is called with the numbers of classes",
        ),
        ("my nets/nét.py:one_argument", r"one_argument\(3, 1\) of .* failed \(TypeError: .*takes 1 positional"),
    ],
)
def test_mistakes_are_told_in_one_sentence(folder, name, message):
    with pytest.raises(UserError, match=message) as told:
        models.build(name, n_classes=3, in_channels=1)
    assert "\n" not in str(told.value)


OF_A_DEVICE = """
import torch
from torch import nn

class Unsteady(nn.Flatten):
    def forward(self, x):
        return x.flatten(1).put_(torch.zeros(2, dtype=torch.long), torch.ones(2)) if self.training else x.flatten(1)

class Large(nn.Flatten):
    def forward(self, x):
        if self.training:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return x.flatten(1)

class Broken(nn.Flatten):
    def forward(self, x):
        if self.training:
            raise RuntimeError("of the network's own")
        return x.flatten(1)

def unsteady(n_classes, in_channels):
    return nn.Sequential(Unsteady(), nn.Linear(32 * 32 * in_channels, n_classes))

def large(n_classes, in_channels):
    return nn.Sequential(Large(), nn.Linear(32 * 32 * in_channels, n_classes))

def broken(n_classes, in_channels):
    return nn.Sequential(Broken(), nn.Linear(32 * 32 * in_channels, n_classes))
"""


def test_what_a_device_cannot_do_is_told_in_one_sentence(folder, capsys):
    (folder / "net.py").write_text(OF_A_DEVICE, encoding="utf-8")
    write(folder / "tiny.h5", shapes10.prepare("tiny", {"n_train": 24, "n_test": 6}, folder))
    params = {"inputs": {}, "training": {"batch_size": 8, "threads": 1}, "recording": {"samples": 3}}

    def run(name):
        params["model"] = f"net.py:{name}"
        return main(["train", "--data", "tiny.h5", "--params", json.dumps(params), "--out", name])

    assert run("unsteady") == 2
    said = capsys.readouterr().err
    assert "error: the network computes put_, which on this device comes to something else each time: replace" in said
    assert run("large") == 2
    said = capsys.readouterr().err
    assert "error: the memory of the device does not suffice: lower batch_size, or take another device (CUDA" in said
    assert not list((folder / "large").glob("*"))
    with pytest.raises(RuntimeError, match="of the network's own"):
        run("broken")


def test_a_network_is_trained_recorded_and_kept_under_its_name(folder):
    from lrp_dynamics import open_relevance
    from lrp_dynamics.models.trained import load

    write(folder / "tiny.h5", shapes10.prepare("tiny", {"n_train": 24, "n_test": 6}, folder))
    name = "my nets/nét.py:small"
    params = {"seed": 0, "model": name, "inputs": {"low": 0.0, "high": 1.0}, "training": {"epochs": 1, "batch_size": 8}}
    params["recording"] = {"samples": 3, "composite": "epsilon"}
    run_training(folder / "tiny.h5", params, folder / "run", cache=folder / "cache")
    with open_relevance(folder / "run" / "relevance.h5", verify=True) as recording:
        assert (recording.steps, recording.attrs["model"]) == (4, name)
    with pytest.raises(UserError, match=r"code of someone's own.*not imported because a file says so.*--weights"):
        load(str(folder / "run" / "model.safetensors"))
    network = load(name, folder / "run" / "model.safetensors")
    assert network.about.shape == [3, 32, 32]
    params["model"] = "my nets/nét.py:wrong_logits"
    with pytest.raises(
        UserError, match=r"returned \(1, 11\) for one image of dataset 'tiny', 3×32×32; expected \(1, 10\)"
    ):
        run_training(folder / "tiny.h5", params, folder / "other", cache=folder / "cache")


class Stop(Exception):
    """Raised by an observer."""


def test_dropout_depends_on_seed_and_step_alone(folder):
    """Also where a training goes on after an interruption."""
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (12, 1, 32, 32), np.uint8))
    images = Images(pixels, torch.arange(12) % 3)

    def trained(seed, stop=None):
        class Observer:
            def record(self, step, **_):
                torch.rand(7)
                if step == stop:
                    raise Stop

            def state(self):
                return {}

            def close(self, complete):
                pass

        model = models.build("my nets/nét.py:small", n_classes=3, in_channels=1, seed=0)
        options = {"observers": [lambda _: Observer()], "progress": False, "checkpoint": folder / "checkpoint"}
        train(model, images, Settings(epochs=2, batch_size=4), seed=seed, **options)
        (folder / "checkpoint").unlink(missing_ok=True)
        return model.state_dict()

    whole, other = trained(0), trained(1)
    with pytest.raises(Stop):
        trained(0, stop=5)
    assert (folder / "checkpoint").exists()
    gone_on = trained(0)
    assert all(torch.equal(value, gone_on[name]) for name, value in whole.items())
    assert not all(torch.equal(value, other[name]) for name, value in whole.items())
