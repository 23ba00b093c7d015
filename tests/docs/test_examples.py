"""What pages show as Python runs as it stands there, where nothing needs to be made before."""

import doctest
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, lrp
from lrp_dynamics.commands import cli
from lrp_dynamics.recording.store import open_relevance

from .pages import PAGES, ROOT, blocks, commands, name_of, programs

# Which test runs the code of a page; a page that is not here, and has code, fails.
HERE = {
    "docs/evaluation.md",
    "docs/exchange.md",
    "docs/explorer.md",
    "docs/how-to/rule.md",
    "docs/lrp.md",
    "docs/recorder.md",
    "docs/your-own-network.md",
}
SESSIONS = [path for path in PAGES if any(block.text.startswith(">>>") for block in blocks(path))]
AFTER_DEMO = "tests/workflow/test_readme.py"
ELSEWHERE = {
    "docs/deployment.md": "tests/workflow/test_deployment.py",
    "README.md": AFTER_DEMO,
    "docs/cluster.md": AFTER_DEMO,
    "docs/data.md": AFTER_DEMO,
    "docs/explaining.md": "tests/explain/test_explain.py",  # with networks that need no download
    "docs/file-format.md": AFTER_DEMO,
    "docs/gallery.md": AFTER_DEMO,
    "docs/how-to/figures.md": AFTER_DEMO,
    "docs/how-to/study.md": AFTER_DEMO,
    "docs/index.md": AFTER_DEMO,
    "docs/loops.md": "tests/recording/test_loops.py",
    "docs/notebooks.md": "tests/test_studies.py",
    "docs/parameters.md": "tests/base/test_parameters.py",
    "docs/reading-the-results.md": AFTER_DEMO,
    "docs/start.md": AFTER_DEMO,
    "docs/studies/vgg11.md": "tests/studies/vgg11/test_vgg11_pipeline.py",
    "docs/studies/vgg16.md": AFTER_DEMO,
    "docs/workflow.md": AFTER_DEMO,
}


def test_a_test_runs_the_code_of_every_page():
    with_code = {name_of(path) for path in PAGES if blocks(path)}
    known = HERE | set(ELSEWHERE) | {name_of(path) for path in SESSIONS} | {"docs/lrp/composites.md"}
    assert with_code - known == set()
    assert [test for test in set(ELSEWHERE.values()) if not (ROOT / test).exists()] == []


LONG = [pytest.param(path, marks=pytest.mark.long) for path in SESSIONS if path.name == "study.md"]


@pytest.mark.parametrize("path", [path for path in SESSIONS if path.name != "study.md"] + LONG, ids=name_of)
def test_sessions(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "\n\n".join(block.text for block in blocks(path) if block.text.startswith(">>>"))
    session = doctest.DocTestParser().get_doctest(text, {}, name_of(path), str(path), 0)
    assert doctest.DocTestRunner().run(session).failed == 0


def test_commands_are_those_that_there_are():
    """Every `lrp-dynamics` command of every page has arguments that the command takes."""
    found = 0
    for path in PAGES:
        for line in commands(path):
            words = shlex.split(line, comments=True)
            if words[:1] == ["lrp-dynamics"] and "--help" not in words:
                assert cli.parser(words[1]).parse_args(words[1:]).command == words[1]
                found += 1
    assert found > 10


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))


def test_lrp(monkeypatch):
    pytest.importorskip("torchvision")
    names: dict = {}
    for program in programs("docs/lrp.md"):
        # Two of the four images in a quarter of the size; all else is the page's.
        exec(program.replace("torch.rand(4, 3, 224, 224)", "torch.rand(2, 3, 64, 64)"), names)
    assert names["result"].input.shape == (2, 3, 64, 64)


def test_rules_of_ones_own(capsys):
    names: dict = {}
    for program in programs("docs/how-to/rule.md"):
        exec(program, names)
    printed = capsys.readouterr().out
    assert "w_square" in printed
    assert names["result"].input.shape == (2, 3, 32, 32)
    # x w+ of [2, 1, 1] and [1, -1, 2] are 2, 0 and 2.
    assert printed.splitlines()[-1] == "[0.5, 0.0, 0.5]"
    (written,) = (block.text for block in blocks("docs/how-to/rule.md") if block.language == "yaml")
    assert_is_a_composite(written, "recording")


def assert_is_a_composite(text: str, section: str | None = None) -> None:
    import yaml

    found = yaml.safe_load(text)
    composite = (found[section] if section else found)["composite"]
    assert lrp.Composite(composite["name"], composite["rules"]).describe()["name"] == "mine"


def test_composites_as_yaml():
    (written,) = (block.text for block in blocks("docs/lrp/composites.md") if block.language == "yaml")
    assert_is_a_composite(written)


def test_evaluation(capsys):
    names = {"model": network(), "x": torch.rand(2, 3, 16, 16), "mask": torch.ones(2, 16, 16, dtype=torch.bool)}
    for program in programs("docs/evaluation.md"):
        exec(program, names)
    assert capsys.readouterr().out.startswith("tensor")


def a_loop(batches):
    """Return what the programs of the pages have in their training loop."""
    model, samples, targets = network(), torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train_step(model, x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    names = {"model": model, "samples": samples, "targets": targets, "train_step": train_step, "torch": torch}
    return names | {"batches": [(samples, targets)] * batches}


def test_the_recorder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = a_loop(3) | {"last": 5}
    training, saving, going_on = programs("docs/recorder.md")
    exec(training, names)
    names["recorder"] = Recorder("relevance.h5", names["model"], names["samples"], names["targets"], overwrite=True)
    for names["iteration"] in (1, 2):
        names["recorder"].record(names["iteration"])
    exec(saving, names)
    names["recorder"].close(complete=False)
    loop = going_on.replace("...  # as before", "recorder.record(iteration)")
    assert loop != going_on
    exec(loop, names)
    with open_relevance("relevance.h5") as recording:
        assert recording.step("iteration").tolist() == [1, 2, 3, 4, 5]


def test_other_packages(tmp_path, monkeypatch):
    """The adapters themselves are compared with their packages in tests/recording/test_attributors.py."""
    for package in ("captum.attr", "zennit.composites", "pytorch_grad_cam"):
        pytest.importorskip(package)
    import captum
    import pytorch_grad_cam
    import torchvision
    import zennit

    monkeypatch.chdir(tmp_path)
    names = {"model": torchvision.models.resnet18(), "samples": torch.rand(2, 3, 32, 32), "targets": torch.arange(2)}
    names |= {"captum": captum, "zennit": zennit, "pytorch_grad_cam": pytorch_grad_cam}
    names |= {"my_map": lambda model, inputs, targets: inputs * 1, "numpy": np}
    names |= {"maps": np.ones((3, 2, 4, 4)), "labels": np.arange(2), "logits": np.ones((3, 2, 2))}
    recording, importing = programs("docs/exchange.md")
    exec(recording, names)
    exec(importing, names | {"images": np.zeros((2, 3, 4, 4), np.uint8)})
    assert (tmp_path / "relevance.h5").exists()
    (command,) = (block.text for block in blocks("docs/exchange.md") if block.language == "bash")
    assert cli.main([*command.replace("relevance.h5", "imported.h5").split()[1:]]) == 0
    assert "my-rule" in open_attributes(tmp_path / "imported.h5")["composite"]


def open_attributes(path: Path) -> dict:
    with open_relevance(path) as recording:
        return recording.attrs


@pytest.mark.long
def test_from_a_loop_to_the_page_and_the_explorer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = a_loop(5)
    record, study, compare, notebook = programs("docs/your-own-network.md")
    exec(record, names)
    for folder in ("a", "b"):
        Path(folder).mkdir()
        shutil.copy("relevance.h5", folder)
    exec(study, names)
    assert Path("study/index.html").exists()
    shutil.rmtree("study")
    for program in (compare, notebook, *programs("docs/explorer.md")):
        exec(program, names)
    assert Path("study/index.html").exists()
    (lines,) = (block.text for block in blocks("docs/explorer.md") if block.text.startswith("lrp-dynamics"))
    for line in lines.splitlines():
        assert cli.main(shlex.split(line)[1:]) == 0
    assert Path("rules.html").exists()
