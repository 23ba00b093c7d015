"""From any recording to its page in one call: of any network and kind of samples, finished or not, alone or several."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from synthetic import maps_of_a_walk, write_recording
from torch import nn

from lrp_dynamics import Recorder, UserError, study
from lrp_dynamics.base.tables import read_csv, write_csv
from lrp_dynamics.commands import cli
from lrp_dynamics.recording.importing import import_maps
from lrp_dynamics.recording.store import MAPS_ALONE
from lrp_dynamics.reports.naming import named, of_words
from lrp_dynamics.reports.study import comparing

HOSTILE = "<b onload=alert(1)>$x^{$ & _"


def convolutional(channels: int, outputs: int) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, outputs)
    return nn.Sequential(*layers)


def record(path: Path, model: nn.Module, samples: torch.Tensor, targets, steps: int = 4, **options) -> Path:
    """Record a few steps of a training in a loop of one's own."""
    complete, loss = options.pop("complete", True), options.pop("loss", True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    recorder = Recorder(path, model, samples, targets, **options)
    for step in range(steps):
        recorder.record(step, **({"loss": 1 / (step + 1)} if loss else {}))
        optimizer.zero_grad()
        model(samples).pow(2).mean().backward()
        optimizer.step()
    recorder.close(complete=complete)
    return path


class Read(HTMLParser):
    """What a page loads, links to, shows and says."""

    def __init__(self, page: Path):
        super().__init__()
        self.loads, self.links, self.images, self.tags, self.words = [], [], [], set(), ""
        self._quiet = 0
        self.feed(page.read_text(encoding="utf-8"))
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.add(tag)
        self._quiet += tag in ("style", "script")
        if tag == "a":
            self.links.append(values.get("href", ""))
        if tag == "img":
            self.images.append(values["alt"])
        self.loads += [values["src"]] if "src" in values else []

    def handle_endtag(self, tag):
        self._quiet -= tag in ("style", "script")

    def handle_data(self, data):
        self.words += "" if self._quiet else data


def titles(page: Read) -> list[str]:
    return [re.sub(r"Figure \d+: ", "", alt) for alt in page.images]


def assert_stands_alone(page: Path) -> Read:
    """All that it shows is in it, and what it links to is beside it."""
    read = Read(page)
    assert all(source.startswith("data:image/png;base64,") for source in read.loads)
    files = [link for link in read.links if not link.startswith("#")]
    assert files
    for link in files:
        assert (page.parent / link).exists(), link
    return read


ALL = [
    "The samples",
    "Training loss",
    "Prediction and relevance",
    "Conservation of relevance",
    "Changes from record to record",
    "Heatmaps along training",
    "Changes of the heatmaps",
    "How dynamics are measured",
    "Dynamics of single samples",
    "Individual differences",
    "Distribution of divergence",
]


def test_a_recording_with_nothing_told_becomes_a_page(tmp_path, capsys, monkeypatch):
    """By the command, in a folder with blanks; a network of one output whose samples are signals."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    layers = nn.Conv1d(2, 4, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 1)
    path = record(Path("my run.h5"), nn.Sequential(*layers), torch.rand(11, 2, 40), torch.zeros(11, dtype=int))
    assert cli.main(["study", str(path), "--out", "the page", "--samples", "1", "--moments", "2"]) == 0
    assert capsys.readouterr().out == "the page/index.html: open it in a browser\n"
    page = assert_stands_alone(tmp_path / "the page/index.html")
    assert titles(page) == ALL
    assert "11 samples of 40 positions · 4 records, steps 0 to 3" in page.words
    assert "pixel" not in page.words
    assert "unknown" not in page.words
    assert {"explorer.html", "samples.csv", "outliers.csv", "dynamics.h5", "metrics.json"} <= set(page.links)
    assert "lrp-dynamics study 'my run.h5' --out 'the page' --samples 1 --moments 2" in page.words
    # What the files say is what was recorded.
    table = read_csv("the page/samples.csv", require=("divergence", "index"))
    with h5py.File(path) as file:
        slot = "AB"[file["accum/valid_slot"][()]]
        expected = file[f"accum/{slot}/dynamics"][()].sum(axis=1)
    np.testing.assert_allclose(table["divergence"], expected, rtol=1e-6)
    assert len(read_csv("the page/outliers.csv", require=("z", "flagged"))["z"]) == 11
    metrics = json.loads(Path("the page/metrics.json").read_text(encoding="utf-8"))
    assert metrics["divergence_median"] == pytest.approx(np.median(expected))
    assert metrics["numerical_share"] == 1  # of three steps, none can hold an outsized share


def test_without_maps_and_loss_the_page_says_so(tmp_path):
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    path = record(tmp_path / "r.h5", model, torch.rand(4, 6), [0, 1, 2, 0], maps=0, loss=False, complete=False)
    page = assert_stands_alone(study(path, tmp_path / "out"))
    assert "This recording was not finished" in page.words
    assert "No loss was recorded" in page.words
    assert "No maps were stored" in page.words
    assert "Outliers are not told from 4 samples" in page.words
    assert not {"Training loss", "Heatmaps along training"} & set(titles(page))
    assert (read_csv(tmp_path / "out/outliers.csv", require=("flagged",))["flagged"] == 0).all()


@pytest.mark.long
def test_title_classes_and_a_log_are_told_and_shown_letter_by_letter(tmp_path):
    path = record(tmp_path / "r.h5", convolutional(2, 2), torch.rand(3, 2, 9, 7), [0, 1, 1], steps=2, loss=False)
    log = tmp_path / "log.csv"
    write_csv(log, {"iteration": np.arange(1, 4), "loss": [-1.0, 2.0, 3.0]})
    page = study(path, tmp_path / "out", title=HOSTILE, classes=["a$b", HOSTILE], training=log)
    read = assert_stands_alone(page)
    assert f"Relevance along training: {HOSTILE}" in read.words
    assert {"a$b", HOSTILE} <= set(re.findall(r"a\$b|" + re.escape(HOSTILE), read.words))
    assert "b" not in read.tags
    assert "Training loss" in titles(read)
    assert "alert(1)>" not in (tmp_path / "out/explorer.html").read_text(encoding="utf-8").split('id="meta"')[0]
    assert "a$b" in (tmp_path / "out/explorer.html").read_text(encoding="utf-8")


def test_the_page_names_the_classes_that_are_explained(tmp_path):
    model, samples = convolutional(1, 3), torch.rand(12, 1, 8, 8)
    path = record(tmp_path / "r.h5", model, samples, "predicted")
    with pytest.raises(UserError, match=r"classes: found 1 name, but .*r.h5 has class \d; name all"):
        study(path, tmp_path / "out", classes=["cat"])
    page = Read(study(path, tmp_path / "out", classes=["cat", "dog", "owl"]))
    assert "Explained is the class that the network predicted at its first record, step 0" in page.words
    with h5py.File(path) as file:
        explained = {["cat", "dog", "owl"][k] for k in file["samples/target"][()].tolist()}
    assert all(name in page.words for name in explained)
    assert "class -1" not in page.words


def test_of_maps_without_outputs_nothing_is_said_about_outputs(tmp_path):
    import_maps(tmp_path / "r.h5", maps_of_a_walk(6, 12), attributes={"target": MAPS_ALONE})
    page = Read(study(tmp_path / "r.h5", tmp_path / "out"))
    assert "imported without the outputs that they explain" in page.words
    assert "Relevance is" not in page.words
    assert "prediction" not in page.words.lower().replace("nothing is said here about predictions", "")
    assert not {name for name in json.loads((tmp_path / "out/metrics.json").read_text()) if "conserv" in name}
    table = read_csv(tmp_path / "out/samples.csv")
    assert np.isnan([table[name] for name in ("logit", "conservation_error", "unaccounted_relevance")]).all()
    assert (table["divergence"] > 0).all()


def test_one_step_is_shown_as_far_as_it_goes(tmp_path):
    path = record(tmp_path / "r.h5", convolutional(3, 2), torch.rand(1, 3, 8, 8), [1], steps=1)
    page = assert_stands_alone(study(path, tmp_path / "out"))
    assert titles(page) == ["The samples", "Heatmaps along training"]
    assert "Dynamics need two recorded steps at least, and there is one" in page.words
    assert not (tmp_path / "out/dynamics.h5").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recordings": []}, "found no recording"),
        ({"recordings": "missing.h5"}, "missing.h5"),
        ({"recordings": {"a": "r.h5", "b": "./r.h5"}}, "found the recording twice"),
        ({"recordings": "log.csv"}, r"log.csv: .* expected a recording"),
        ({"out": "log.csv"}, "log.csv: found a file, expected the name of a folder"),
        ({"title": 3}, "title: found 3, expected text"),
        ({"classes": "ab"}, "classes: found 'ab', expected a list of names"),
        ({"samples": 0}, "samples: found 0, expected a whole number, 1 to 10"),
        ({"training": ["log.csv", "log.csv"]}, "training: found 2 logs of 1 recordings"),
        ({"training": "log.csv"}, "log.csv: no column iteration"),
    ],
)
def test_mistakes_are_told_in_a_sentence_and_leave_nothing_behind(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    write_recording(Path("r.h5"), maps_of_a_walk(3, 2))
    Path("log.csv").write_text("step,loss\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match=message):
        study(**({"recordings": "r.h5", "out": "out"} | change))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "r.h5"]


def test_recordings_are_called_by_what_tells_them_apart():
    assert list(named(["a/seed-0/relevance.h5", "a/seed-1/relevance.h5"])) == ["seed-0", "seed-1"]
    assert list(of_words(["x=a=b.h5", "c/relevance.h5"])) == ["x", "c"]
    with pytest.raises(UserError, match="two recordings called 'x'"):
        of_words(["x=a.h5", "x=b.h5"])
    folders = comparing.paths_of(Path("out"), ["A/b", "a_b", "figures", ""])
    assert [path.name for path in folders.values()] == ["A_b", "a_b-2", "figures-2", "recording"]


def test_samples_are_paired_by_what_they_show(tmp_path):
    """Indices are anybody's numbering: the same index may be another sample, and the same sample have another index."""
    model, images = convolutional(1, 2), torch.rand(5, 1, 6, 6)
    images[0, 0, 0, 0], images[0, 0, 0, 1] = 0, 1  # both recordings stretch alike
    images[3], images[4] = images[0], images[0]
    here, there = [0, 1, 2, 3], [4, 2, 0]
    a = record(tmp_path / "a.h5", model, images[here], [0, 1, 0, 1])
    b = record(tmp_path / "b.h5", model, images[there], [0, 0, 0])
    from lrp_dynamics import open_relevance

    with open_relevance(a) as one, open_relevance(b) as other:
        shared = comparing.shared_samples([one, other])
    assert {tuple(pair) for pair in shared.positions.T.tolist()} == {(0, 0), (2, 1), (3, 2)}
    assert (shared.keyed, shared.all, shared.targets) == (False, False, False)


@pytest.mark.long
def test_two_recordings_of_the_same_samples_are_set_side_by_side(tmp_path):
    images, labels = torch.rand(10, 3, 8, 8), torch.arange(10) % 2
    paths = [
        record(tmp_path / rule / "relevance.h5", convolutional(3, 2), images, labels, composite=rule)
        for rule in ("z_plus", "epsilon")
    ]
    page = assert_stands_alone(study(paths, tmp_path / "out"))
    assert "The recordings are of different rules" in page.words
    assert "All recordings are of the same 10 samples" in page.words
    assert titles(page) == ["Along training", "The same samples", "How alike the maps are", "Divergence"]
    assert {"explorer.html", "z_plus/index.html", "epsilon/index.html"} <= set(page.links)
    for rule in ("z_plus", "epsilon"):
        own = assert_stands_alone(tmp_path / "out" / rule / "index.html")
        assert titles(own) == ALL
        assert {"../index.html", "../explorer.html"} <= set(own.links)


@pytest.mark.long
def test_recordings_of_other_samples_are_compared_as_a_whole(tmp_path):
    paths = {
        "small": record(tmp_path / "a.h5", convolutional(3, 2), torch.rand(3, 3, 8, 8), [0, 1, 0]),
        HOSTILE: record(tmp_path / "b.h5", convolutional(1, 4), torch.rand(4, 1, 9, 5), [0, 1, 2, 3], every=2),
        "third": record(tmp_path / "c.h5", convolutional(1, 4), torch.rand(4, 1, 9, 5), [0, 1, 2, 3], steps=1),
    }
    page = assert_stands_alone(study(paths, tmp_path / "out"))
    assert "The recordings have no sample in common" in page.words
    assert HOSTILE in page.words
    assert titles(page) == ["Along training"]
    assert len(list((tmp_path / "out").glob("*/explorer.html"))) == 3


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "samples", "targets"),
    [
        (convolutional(5, 3), torch.rand(4, 5, 9, 16), [0, 1, 2, 0]),
        (nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(240, 3)), (3, 1, 6, 7, 8), [0, 1, 2]),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)), (2, 3, 8, 8), torch.ones(2, 2, 8, 8) > 0),
        (nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1)), (2, 1), [0, 0]),
    ],
    ids=["channels", "volumes", "parts of the output", "one value"],
)
def test_other_samples_and_outputs(tmp_path, model, samples, targets):
    samples = torch.rand(samples) if isinstance(samples, tuple) else samples
    page = assert_stands_alone(study(record(tmp_path / "r.h5", model, samples, targets), tmp_path / "out"))
    assert titles(page) == ALL
