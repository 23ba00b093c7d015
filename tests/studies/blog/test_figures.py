import argparse
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
import torch
from geometry import watched
from PIL import Image
from synthetic import maps_of_a_walk, write_recording
from torch import nn

from lrp_dynamics import Recorder
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.tables import write_csv
from lrp_dynamics.commands import dynamics
from lrp_dynamics.commands import figures as drawing
from lrp_dynamics.reports.material import material
from lrp_dynamics.studies.blog import figures, outliers
from lrp_dynamics.studies.blog.results import open_results
from lrp_dynamics.studies.blog.study import FIGURES


def stage(module, **options):
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    words = [str(word) for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    module.run(parser.parse_args(words))


def draw(files: dict[str, Path], folder: Path, params: str = "{}") -> None:
    parser = argparse.ArgumentParser()
    drawing.add_arguments(parser)
    inputs = [f"{name}={path}" for name, path in files.items()]
    drawing.run(parser.parse_args(["blog", "--inputs", *inputs, "--params", params, "--out-dir", str(folder)]))


def results(
    folder: Path, maps: np.ndarray, stored: int | None = None, every: int = 1, seed: int = 0, table: bool = False
) -> dict[str, Path]:
    """Run the stages before the figures on a made-up recording."""
    folder.mkdir(exist_ok=True)
    recording = write_recording(folder / "relevance.h5", maps, stored, seed, every=every, table=table)
    return stages(folder, recording, len(maps), every)


def stages(folder: Path, recording: Path, steps: int, every: int = 1) -> dict[str, Path]:
    files = {
        "relevance": recording,
        "dynamics": folder / "dynamics.h5",
        "samples": folder / "samples.csv",
        "outliers": folder / "outliers.csv",
        "training": folder / "training.csv",
    }
    stage(dynamics, relevance=files["relevance"], out=files["dynamics"], samples=files["samples"])
    (folder / "training.json").write_text("{}", encoding="utf-8")
    stage(
        outliers,
        dynamics=files["dynamics"],
        samples=files["samples"],
        out=files["outliers"],
        metrics=folder / "metrics.json",
    )
    step = np.arange(1, steps) * every
    write_csv(files["training"], {"iteration": step, "loss": 2.0 / step, "accuracy": 1 - 1 / step})
    return files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    maps = maps_of_a_walk(40, 25)
    maps[20, 5] *= 1000  # one flag of each kind
    maps[:, 6] *= 1000
    return results(tmp_path_factory.mktemp("run"), maps)


@pytest.fixture(scope="module")
def drawn(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    with watched() as faults:
        draw(files, folder)
    assert faults == {}
    return folder


def test_every_figure_is_listed_drawn_and_captioned(drawn):
    assert sorted(path.name for path in drawn.iterdir()) == sorted(f"{n}.{s}" for n in FIGURES for s in ("png", "svg"))
    assert all(material("blog", f"captions/{name}.rst").is_file() for name in FIGURES)


def test_listing_the_figures_imports_nothing_heavy():
    code = "import sys, lrp_dynamics.studies.blog.study; print({'matplotlib', 'numpy'} & set(sys.modules) or '[]')"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def pixels_of(path: Path) -> np.ndarray:
    """Return a figure's grey values (height, width), checked to have no ink on the border, as if cut off there."""
    pixels = np.asarray(Image.open(path).convert("L"))
    assert (np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]) == 255).all(), path.name
    return pixels


@pytest.mark.parametrize("name", FIGURES)
def test_figures_fill_their_frame_without_anything_cut_off(drawn, name):
    pixels = pixels_of(drawn / f"{name}.png")
    assert 700 < pixels.shape[1] < 1800
    assert (pixels[:, : pixels.shape[1] // 2] < 200).sum() > 500
    assert (pixels[:, pixels.shape[1] // 2 :] < 200).sum() > 500


@pytest.mark.parametrize("name", FIGURES)
def test_figures_say_what_data_they_show(files, name):
    with open_results(files, {}) as run:
        figure = getattr(figures, name)(run)
        texts = [figure.get_suptitle(), figure.get_supxlabel()]
    assert all("random walks (synthetic)" in text for text in texts)
    assert "z⁺" in texts[1]


def test_svg_is_well_formed_and_draws_its_text_as_shapes(drawn):
    for name in FIGURES:
        text = (drawn / f"{name}.svg").read_text(encoding="utf-8")
        ElementTree.fromstring(text)
        assert "<text" not in text  # no font of the reader's machine is needed
        assert "<dc:date>" not in text


def test_the_same_results_give_the_same_bytes_whatever_the_users_settings(files, drawn, tmp_path):
    with matplotlib.rc_context({"font.size": 22, "axes.facecolor": "pink", "savefig.bbox": "tight"}):
        draw(files, tmp_path)
    assert {p.name for p in drawn.iterdir() if p.read_bytes() != (tmp_path / p.name).read_bytes()} == set()


def line_data(axes):
    return [line.get_ydata() for line in axes.lines]


def test_prediction_and_relevance_show_the_recorded_numbers(files):
    with open_results(files, {}) as run:
        left, right = figures.prediction_and_relevance(run).axes
        logit, total = run.scalar("logit"), run.scalar("r_sum")
    np.testing.assert_array_equal(np.stack(line_data(left)[:-1], 1), logit - logit[0])
    np.testing.assert_array_equal(np.stack(line_data(right)[:-1], 1), total - total[0])


def test_signed_maps_have_symmetric_scales_centred_at_zero(files):
    with open_results(files, {}) as run:
        images = [image for axes in figures.heatmaps(run).axes for image in axes.images]
    limits = [image.get_clim() for image in images if image.get_cmap().name == "RdBu_r"]
    assert limits
    assert all(low == -high for low, high in limits)


def test_divergence_counts_every_sample_and_marks_the_flagged(files):
    with open_results(files, {}) as run:
        for axes in figures.divergence(run).axes:
            assert sum(bar.get_height() for bar in axes.patches if hasattr(bar, "get_height")) == 25
            markers = [line for line in axes.lines if line.get_marker() in ("^", "X")]
            assert [line.get_xdata().tolist() for line in markers] == [
                run.outliers["divergence"][run.outliers["kind"] == kind].tolist()
                for kind in ("persistent", "numerical")
            ]
            assert {text.get_text() for text in axes.texts} == {"105", "106"}


@pytest.mark.parametrize("factor", [1.5, 2, 3, 7])
def test_the_largest_divergence_of_a_few_is_counted_too(tmp_path, factor):
    maps = maps_of_a_walk(30, 12)[:, :3]
    maps[:, 2] *= factor  # beyond the threshold
    with open_results(results(tmp_path / "run", maps), {}) as run:
        for axes in figures.divergence(run).axes:
            assert sum(bar.get_height() for bar in axes.patches if hasattr(bar, "get_height")) == 3


def test_samples_are_picked_at_evenly_spaced_ranks(files):
    with open_results(files, {}) as run:
        assert [run.rank(sample) for sample in run.by_divergence(4)] == [1, 9, 17, 25]
        assert run.moments()[[0, -1]].tolist() == [0, 39]


@pytest.mark.parametrize(("steps", "samples", "stored", "every"), [(2, 1, 1, 1), (9, 130, 3, 11111)])
def test_very_small_runs_and_many_samples_and_steps_can_be_drawn(tmp_path, steps, samples, stored, every):
    files = results(tmp_path / "run", maps_of_a_walk(steps, samples), stored, every)
    draw(files, tmp_path / "figures", params=json.dumps({"samples": 3, "snapshots": 3}))
    for name in FIGURES:
        pixels_of(tmp_path / f"figures/{name}.png")


OTHERS = {"signals": (60,), "long signals": (5000,), "tables": (5,), "volumes": (5, 8, 6)}


@pytest.mark.parametrize("kind", OTHERS)
def test_every_figure_of_other_samples_than_images_can_be_drawn(tmp_path, kind):
    """And shows every map whole: as a strip with its positions, or the central slice of a volume, and says so."""
    maps = maps_of_a_walk(12, 9, shape=OTHERS[kind])
    maps[:, :, ..., 3] *= 5  # what must not be left out
    files = results(tmp_path / "run", maps, table=kind == "tables")
    draw(files, tmp_path / "figures")
    for name in FIGURES:
        pixels_of(tmp_path / f"figures/{name}.png")
    with open_results(files, {}) as run:
        row = figures.heatmaps(run).axes[1 : 1 + len(run.moments())]
        shown = [np.asarray(axes.images[0].get_array()) for axes in row]
        sample, origin = run.one_per_class(1)[0], run.origin
        moments = [run.recording.maps(int(moment), sample) for moment in run.moments()]
    for axes, picture, relevance in zip(row, shown, moments, strict=True):
        if kind == "volumes":
            np.testing.assert_array_equal(picture, relevance[2])
            continue
        assert picture.max() == relevance.max()
        assert axes.images[0].get_extent() == [-0.5, len(relevance) - 0.5, 0, 1]
        assert axes.get_xticks().tolist() == [0, len(relevance) - 1]
        if kind != "long signals":
            np.testing.assert_array_equal(picture, relevance[None])
    assert origin.endswith("5×8×6 voxels, drawn by the central slice") == (kind == "volumes")


def test_figures_of_a_recording_that_knows_neither_classes_nor_labels(tmp_path):
    """As a recorder makes it that is told no more than it needs."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 1))
    for targets, kind in (("predicted", "one"), ([0, 0, 0], "label")):
        folder = tmp_path / kind
        folder.mkdir()
        options = {"attributes": {"seed": 0}}
        with Recorder(folder / "r.h5", model, torch.rand(3, 1, 8, 8), targets, **options) as recorder:
            for iteration in range(5):
                recorder.record(iteration)
                with torch.no_grad():
                    model[0].weight.mul_(1.1)
        draw(stages(folder, folder / "r.h5", 5), folder / "figures")
        for name in FIGURES:
            pixels_of(folder / f"figures/{name}.png")


def test_maps_that_never_change_can_be_drawn(tmp_path):
    """All of them, or those of one sample."""
    for count in (3, 1):
        maps = maps_of_a_walk(6, 3)
        maps[:, :count] = maps[:1, :count]
        draw(results(tmp_path / f"run{count}", maps), tmp_path / f"figures{count}")
        for name in FIGURES:
            pixels_of(tmp_path / f"figures{count}/{name}.png")


def test_unknown_parameters_are_refused(files, tmp_path):
    with pytest.raises(UserError, match="figures: unknown key colour; the known keys are: samples, snapshots"):
        draw(files, tmp_path, params='{"colour": 1}')


def test_figures_of_a_recording_without_maps_are_refused(tmp_path):
    files = results(tmp_path / "run", maps_of_a_walk(4, 3), stored=0)
    with pytest.raises(UserError, match=r"relevance.h5: no maps are stored"):
        draw(files, tmp_path / "figures")


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"samples": "4"}, "samples: found '4', expected a whole number from 1 to 10"),
        ({"samples": 0}, "samples: found 0"),
        ({"snapshots": 1}, "snapshots: found 1, expected a whole number from 2 to 16"),
        ({"snapshots": None}, "snapshots: found None"),
    ],
)
def test_wrong_values_of_parameters_are_refused(files, tmp_path, params, says):
    with pytest.raises(UserError, match=says):
        draw(files, tmp_path, params=json.dumps(params))


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Results of other runs: of another seed, of fewer samples, of fewer steps."""
    folder = tmp_path_factory.mktemp("others")
    return {
        "other maps": results(folder / "maps", maps_of_a_walk(40, 25, seed=1)),
        "fewer samples": results(folder / "samples", maps_of_a_walk(40, 20)),
        "fewer steps": results(folder / "steps", maps_of_a_walk(30, 25)),
        "another seed": results(folder / "seed", maps_of_a_walk(40, 25), seed=1),
    }


@pytest.mark.parametrize(
    ("swapped", "run", "names"),
    [
        ("dynamics", "fewer samples", ("relevance.h5", "dynamics.h5")),
        ("dynamics", "fewer steps", ("relevance.h5", "dynamics.h5")),
        ("dynamics", "another seed", ("relevance.h5", "dynamics.h5")),
        ("relevance", "fewer samples", ("relevance.h5", "dynamics.h5")),
        ("relevance", "other maps", ("relevance.h5", "dynamics.h5")),
        ("relevance", "another seed", ("relevance.h5", "dynamics.h5")),
        ("samples", "other maps", ("samples.csv", "dynamics.h5")),
        ("samples", "fewer samples", ("samples.csv", "dynamics.h5")),
        ("outliers", "other maps", ("outliers.csv", "samples.csv")),
        ("outliers", "fewer samples", ("outliers.csv", "samples.csv")),
        ("outliers", "another seed", ("outliers.csv", "samples.csv")),
        ("training", "fewer steps", ("training.csv", "relevance.h5")),
    ],
)
def test_files_of_another_run_are_refused(files, others, tmp_path, swapped, run, names):
    with pytest.raises(UserError, match="are not of the same run") as caught:
        draw(files | {swapped: others[run][swapped]}, tmp_path)
    assert all(name in str(caught.value) for name in names)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["samples", "outliers", "training"])
def test_a_wrong_table_is_named(files, tmp_path, name):
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"wrong.csv: no column .*; found: a, b"):
        draw(files | {name: wrong}, tmp_path / "figures")


def test_the_origin_counts_one_step_as_one(tmp_path):
    with open_results(results(tmp_path / "run", maps_of_a_walk(2, 3)), {}) as run:
        assert run.origin.endswith("· 1 recorded training step")
