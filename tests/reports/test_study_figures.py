"""The figures of studies, of few records, several recordings, maps alone and maps in other units: what they show."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from geometry import faults_of
from matplotlib.text import Text
from synthetic import maps_of_a_walk, write_recording

from lrp_dynamics import open_relevance
from lrp_dynamics.base.style import in_house_style
from lrp_dynamics.recording.figures.run import Run
from lrp_dynamics.recording.store import MAPS_ALONE
from lrp_dynamics.reports.study import drawing
from lrp_dynamics.reports.study.figures import figures_of


def edited(path: Path, steps: int = 9, **changes) -> Path:
    """A recording of a walk, changed and no longer sealed: datasets by their name, and attributes."""
    write_recording(path, maps_of_a_walk(steps, 12))
    with h5py.File(path, "a") as file:
        for name, change in changes.items():
            if name in file.attrs:
                file.attrs[name] = change
            else:
                place = next(group for group in ("samples", "scalars") if name in file[group])
                file[f"{place}/{name}"][...] = change(file[f"{place}/{name}"][...])
    return path


def drawn(path: Path, *names: str) -> dict:
    with open_relevance(path) as recording:
        run = Run.of(recording)
        chosen = {name: figure for name, figure in figures_of(run).items() if not names or name in names}
        return {name: in_house_style(figure.draw)(run) for name, figure in chosen.items()}


def words(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_figures_of_few_records_have_nothing_in_the_way_and_no_gaps(tmp_path, steps):
    figures = drawn(write_recording(tmp_path / "r.h5", maps_of_a_walk(steps, 12)))
    assert {name: found for name, figure in figures.items() if (found := faults_of(figure))} == {}
    rows = np.array([axes.get_position().extents for axes in figures["heatmaps"].axes[: steps + 1]])
    width = figures["heatmaps"].get_figwidth()
    assert ((rows[1:, 0] - rows[:-1, 2]) * width < 0.75).all()  # inches between a tile and the next


def test_sums_of_maps_alone_are_called_no_output_and_missing_images_are_no_black_tiles(tmp_path):
    figures = drawn(edited(tmp_path / "r.h5", target=MAPS_ALONE, image=np.zeros_like, margin=lambda old: old * np.nan))
    assert not {"samples", "prediction_and_relevance", "conservation"} & figures.keys()
    told = {name: words(figure) for name, figure in figures.items()}
    assert not [name for name, text in told.items() if "logit" in text or "output" in text or "prediction" in text]
    assert "no image" in told["heatmaps"]
    assert "Σ = " in told["heatmaps"]
    with open_relevance(tmp_path / "r.h5") as recording:
        figure = recording.plot.curves([0])
        assert [axes.get_ylabel() for axes in figure.axes[:2]] == [
            "sum of the map (units of the maps)",
            "step divergence (units of the maps)",
        ]
        assert faults_of(figure) == []


def test_maps_in_units_of_their_own_leave_the_outputs_to_be_seen(tmp_path):
    path = edited(tmp_path / "r.h5", r_sum=lambda old: old * 1000)
    figures = drawn(path, "prediction_and_relevance", "step_changes", "conservation")
    for name in ("prediction_and_relevance", "step_changes"):
        left, right = figures[name].axes
        assert np.ptp(right.get_ylim()) > 100 * np.ptp(left.get_ylim())
    alike = drawn(edited(tmp_path / "alike.h5", r_sum=lambda old: old * 3), "step_changes")["step_changes"].axes
    assert alike[0].get_ylim() == alike[1].get_ylim()
    assert max(line.get_ydata().max() for line in alike[1].lines) < alike[1].get_ylim()[1]
    dots = figures["conservation"].axes[0]
    values = dots.lines[1].get_xdata()
    assert np.ptp(dots.get_xlim()) < 1.5 * np.ptp(values)


def test_figures_of_several_recordings_name_all_of_them_and_mark_what_lies_below(tmp_path):
    paths = [edited(tmp_path / f"{name}.h5", dataset="unknown", dataset_title="unknown") for name in "abc"]
    files = [open_relevance(path) for path in paths]
    runs = [Run.of(file) for file in files]
    pairs = {(0, 1): 1.0, (0, 2): 0.5, (1, 2): 0.5}
    several = drawing.Several(["one", "two", "three"], runs, np.array([range(12)] * 3), pairs, {})
    curves = in_house_style(drawing.curves_compared)(several)
    assert "3 recordings: one, two, three" in words(curves)
    assert "a.h5" not in words(curves)
    assert "(the same in all)" in words(curves)
    widths = [line.get_linewidth() for line in curves.axes[0].lines]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 3
    matrix = in_house_style(drawing.divergence_compared)(several)
    assert faults_of(matrix) == []
    assert matrix.axes[0].get_position().width > 0.6
    two = drawing.Several(["one", "two"], runs[:2], np.array([range(12)] * 2), pairs, {})
    scatter = in_house_style(drawing.divergence_compared)(two)
    assert faults_of(scatter) == []
    left = scatter.axes[0]
    assert "logarithmic" in left.get_title()
    for low, high, ticks in ((*left.get_xlim(), left.get_xticks()), (*left.get_ylim(), left.get_yticks())):
        assert sum(low <= tick <= high for tick in ticks) > 2
    for file in files:
        file.close()
