"""A recording of a network of one output: named by its labels, and nothing said of right and wrong."""

import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, open_relevance, study
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.commands import cli
from lrp_dynamics.recording import attributors
from lrp_dynamics.reports.explorer import content

LABELS = [1, 0, 1, 1]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1))
    path, samples = tmp_path_factory.mktemp("one") / "relevance.h5", torch.rand(4, 5)
    known = {"details": {"label": LABELS}, "attributes": {"dataset": "readings", "classes": ["noise", "signal"]}}
    composite = attributors.gradient_times_input(model, "gradient")
    with Recorder(path, model, samples, [0] * 4, composite=composite, **known) as recorder:
        for step in range(3):
            recorder.record(step)
            with torch.no_grad():
                model[2].bias += 1  # which no map tells of
    return path


def test_samples_are_named_by_their_labels_alone(path):
    with open_relevance(path) as recording:
        assert [recording.class_name(n) for n in range(4)] == ["signal", "noise", "signal", "signal"]
        assert recording.to_xarray()["name"].values.tolist() == ["signal", "noise", "signal", "signal"]
        np.testing.assert_array_equal(recording.sample("label_clean"), LABELS)
        found = content.samples(content.source("it", recording, None), range(4))
    for (scores, curves), label in zip(found, LABELS, strict=True):
        assert scores["name"] == ("noise", "signal")[label]
        assert scores["explained"] == label
        assert not scores["noisy"]
        assert scores["correct"] is scores["probability"] is None
        assert "predicted" not in curves


def test_info_and_the_page_claim_nothing_of_right_and_wrong(path, tmp_path, capsys):
    assert cli.main(["info", str(path)]) == 0
    told = capsys.readouterr().out
    assert "data       readings" in told
    assert "accuracy" not in told
    page = study(path, tmp_path / "out", classes=["calm", "storm"]).read_text(encoding="utf-8")
    assert "this attribution does not tell what it absorbs" in page
    assert "not to be trusted" not in page
    table = read_csv(tmp_path / "out/samples.csv")
    assert all(
        np.isnan(table[name]).all()
        for name in ("correct", "probability", "confidence", "variability", "aum", "predicted")
    )
    explorer = (tmp_path / "out/explorer.html").read_text(encoding="utf-8")
    assert '"classes":["calm","storm"]' in explorer
    assert '"name":"storm"' in explorer
    assert '"unit":"feature"' in explorer
    assert "sum over pixels" not in explorer
    assert "readings" in explorer
