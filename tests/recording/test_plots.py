"""Figures for notebooks, and labelled arrays, of a recording that is open."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from geometry import faults_of
from torch import nn

from lrp_dynamics import Recorder, UserError, lrp, open_relevance, study

NAMES = ["cat", "dog $x^{$ & <b>", "ant"]
KINDS = {"images": (1, 6, 7), "signals": (2, 9), "tables": (5,), "volumes": (1, 3, 4, 5)}


def recorder_model(shape):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 6), nn.ReLU(), nn.Linear(6, 3))


def recorder(path, shape, **options):
    model = recorder_model(shape)
    known = {"classes": NAMES, "dataset_title": "toys"}
    return Recorder(path, model, torch.rand(4, *shape), [0, 1, 2, 0], maps=3, attributes=known, **options), model


def record(writer, model, steps):
    for step in steps:
        writer.record(step, loss=1 / (step + 1))
        with torch.no_grad():
            model[1].weight += 0.1


@pytest.fixture(scope="module", params=KINDS)
def recording(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "relevance.h5"
    writer, model = recorder(path, KINDS[request.param])
    record(writer, model, range(5))
    writer.close()
    with open_relevance(path) as opened:
        yield opened


def words(figure):
    figure.canvas.draw()
    texts = [text.get_text() for text in figure.findobj(lambda found: hasattr(found, "get_text"))]
    return " ".join(texts).replace(r"\$", "$")


def test_every_plot_shows_the_samples_asked_for(recording, tmp_path):
    told = words(recording.plot.heatmaps([1, 2]))
    assert NAMES[1] in told
    assert "ant" in told
    assert "cat" not in told
    assert "step 4" in told
    assert NAMES[1] in words(recording.plot.dynamics(1))
    assert "Dynamics" in words(recording.plot.dynamics())
    assert "4 samples along training" in words(recording.plot.curves())
    assert "training loss" in words(recording.plot.curves(3))
    figure = recording.plot.divergence()
    assert "Divergence of 4 samples" in words(figure)
    figure.savefig(tmp_path / "divergence.pdf")
    assert (tmp_path / "divergence.pdf").stat().st_size > 1000


def test_nothing_is_in_the_way_of_what_a_plot_shows(recording):
    figures = {
        "heatmaps": recording.plot.heatmaps([0, 1]),
        "dynamics": recording.plot.dynamics(),
        "curves": recording.plot.curves([0, 1, 2]),
    }
    assert {name: found for name, figure in figures.items() if (found := faults_of(figure))} == {}
    *tiles, bar = figures["heatmaps"].axes
    lowest = min(axes.xaxis.get_tightbbox().y0 for axes in tiles if axes.get_xlabel())
    assert lowest - bar.bbox.y1 > 4  # pixels


def test_an_explanation_says_which_output_it_is_of():
    model, inputs = recorder_model((1, 4, 4)), torch.rand(2, 1, 4, 4)
    told = words(lrp.plot(lrp.relevance(model, inputs, torch.tensor([2, 1])), inputs))
    assert "output 2 is" in told
    assert "output 1 is" in told
    assert "input 0" in told
    part = torch.tensor([[True, True, False]] * 2)
    assert "output" not in words(lrp.plot(lrp.relevance(model, inputs, part), inputs))


@pytest.mark.parametrize("samples", [[3], -1, [], "x", [0.5], [True]])
def test_what_is_no_sample_with_maps_is_told_in_a_sentence(recording, samples):
    with pytest.raises(UserError, match="found sample"):
        recording.plot.heatmaps(samples)


def test_labelled_arrays_are_what_the_recording_holds(recording):
    found = recording.to_xarray()
    assert found["relevance"].dims[:2] == ("iteration", "sample")
    np.testing.assert_array_equal(found["relevance"], recording.maps())
    np.testing.assert_array_equal(found["logit"], recording.scalar("logit")[:, :3])
    np.testing.assert_array_equal(found["dynamics"], recording.accumulated("dynamics")[:3])
    assert found["name"].values.tolist() == NAMES
    part = recording.to_xarray(steps=slice(1, 5, 2), samples=slice(1, 2))
    assert part.sizes["iteration"] == 2
    np.testing.assert_array_equal(part["relevance"], recording.maps(slice(1, 5, 2), slice(1, 2)))
    np.testing.assert_array_equal(part["image"], recording.sample("image")[1:2])
    with pytest.raises(UserError, match="expected a slice"):
        recording.to_xarray(samples=0)


def test_a_recording_that_is_being_written_is_studied_as_far_as_it_goes(tmp_path):
    writer, model = recorder(tmp_path / "relevance.h5", KINDS["images"], live=True)
    record(writer, model, range(16))
    writer.flush()
    code = "import sys, lrp_dynamics; lrp_dynamics.study(sys.argv[1], out=sys.argv[2])"
    command = [sys.executable, "-c", code, "relevance.h5", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert "steps 0 to 15" in page
    assert "being written" in page
    record(writer, model, range(16, 20))  # the writer was not disturbed
    writer.close()
    assert "steps 0 to 19" in study(tmp_path / "relevance.h5", tmp_path / "later").read_text(encoding="utf-8")
