from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from synthetic import maps_of_a_walk, plain_accumulators, quantize, write_recording

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.commands import dynamics as stage
from lrp_dynamics.measures import dynamics as dyn


def run(recording, folder):
    import argparse

    parser = argparse.ArgumentParser()
    stage.add_arguments(parser)
    out = [str(folder / "dynamics.h5"), str(folder / "samples.csv")]
    stage.run(parser.parse_args(["--relevance", str(recording), "--out", out[0], "--samples", out[1]]))
    return out


walks = arrays(
    np.float32,
    st.tuples(st.integers(2, 40), st.integers(1, 12), st.just(2), st.just(3)),
    elements=st.floats(-50, 50, width=32),
)


@settings(deadline=None)
@given(walks, st.sampled_from([(2, 3), (6,), (1, 2, 3)]))
def test_block_reading_agrees_with_the_definition_within_the_stated_rounding_bound(maps, shape):
    maps = maps.reshape(*maps.shape[:2], *shape)
    truth = plain_accumulators(maps)
    again = dyn.recompute(*quantize(maps, len(shape)))
    assert (abs(again.dynamics - truth["dynamics"]) <= again.bound + 1e-9 * truth["dynamics"]).all()
    assert (abs(again.dynamics_normalized - truth["dynamics_normalized"]) <= again.bound_normalized + 1e-9).all()


def test_without_rounding_block_reading_is_exact():
    # Multiples of 1/64 with largest value 1 survive float16, so nothing but the block logic can differ.
    maps = np.random.default_rng(0).integers(-64, 65, (37, 23, 4, 5)) / np.float32(64)
    maps[:, :, 0, 0] = 1
    again = dyn.recompute(*quantize(maps))
    np.testing.assert_allclose(again.dynamics, dyn.dynamics(maps), rtol=1e-13)
    np.testing.assert_allclose(again.net_change, abs(maps[-1] - maps[0]).sum(axis=(1, 2)), rtol=1e-13)
    flat = maps.reshape(37, 23, -1)
    oracle = [np.median([np.corrcoef(flat[t, n], flat[t + 1, n])[0, 1] for t in range(36)]) for n in range(23)]
    np.testing.assert_allclose(again.correlation, oracle, rtol=1e-9)


@settings(deadline=None)
@given(walks)
def test_divergence_is_the_sum_of_step_divergences_and_at_least_the_net_change(maps):
    divergence = dyn.dynamics(maps).sum(axis=(1, 2))
    steps = dyn.step_divergence(maps)
    assert (steps[0] == 0).all()
    np.testing.assert_allclose(divergence, steps.sum(axis=0), rtol=1e-12, atol=1e-9)
    assert (divergence >= abs(maps[-1].astype(float) - maps[0]).sum(axis=(1, 2)) * (1 - 1e-12)).all()


@settings(deadline=None)
@given(walks, st.floats(0.01, 100))
def test_normalised_dynamics_do_not_depend_on_the_amount_of_relevance(maps, gain):
    gains = gain ** np.arange(len(maps))[:, None, None, None] if len(maps) < 10 else gain
    before, after = (dyn.dynamics(dyn.normalize(m)) for m in (maps, maps.astype(float) * gains))
    np.testing.assert_allclose(before, after, rtol=1e-9, atol=1e-9)


def test_maps_of_zeros_have_no_shape_and_change_nothing():
    assert dyn.dynamics(dyn.normalize(np.zeros((3, 2, 2)))).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("shape", [(8, 8), (64,), (3, 4, 5)], ids=["images", "signals", "volumes"])
def test_the_stage_writes_what_the_definition_says(tmp_path, shape):
    maps = maps_of_a_walk(50, 23, shape=shape)
    own = tuple(range(1, maps.ndim - 1))
    out, samples = run(write_recording(tmp_path / "relevance.h5", maps, stored=17), tmp_path)
    truth = plain_accumulators(maps)
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["dynamics"], truth["dynamics"])
        np.testing.assert_allclose(file["std_relevance"], maps.astype(float).std(axis=0), rtol=1e-9)
        assert file.attrs["checked_samples"] == 17
        assert 0 < file.attrs["recomputation_difference"] < 0.004
        assert file.attrs["dataset_title"] == "random walks (synthetic)"
    table = read_csv(samples)
    np.testing.assert_allclose(table["divergence"], truth["dynamics"].sum(axis=own), rtol=1e-8)
    np.testing.assert_allclose(table["mean_abs_relevance"], abs(maps).mean(axis=0).sum(axis=own), rtol=1e-6)
    assert np.isnan(table["successive_correlation"]).tolist() == [False] * 17 + [True] * 6
    assert (table["conservation_error"] < 1e-6).all()


def test_the_worst_step_is_the_one_that_jumps(tmp_path):
    maps = maps_of_a_walk(50, 5, jump=(31, 2, 100.0))
    _, samples = run(write_recording(tmp_path / "relevance.h5", maps), tmp_path)
    table = read_csv(samples)
    assert table["worst_step_share"].argmax() == 2
    assert 0.4 < table["worst_step_share"][2] <= 0.5  # up in one step, down in the next
    assert table["worst_step_iteration"][2] in (31, 32)


def test_running_twice_gives_the_same_bytes(tmp_path):
    recording = write_recording(tmp_path / "relevance.h5", maps_of_a_walk(20, 6))
    (tmp_path / "again").mkdir()
    first, second = run(recording, tmp_path), run(recording, tmp_path / "again")
    assert [Path(a).read_bytes() for a in first] == [Path(b).read_bytes() for b in second]


def test_swapped_accumulators_are_refused_by_name_of_sample(tmp_path):
    maps = maps_of_a_walk(40, 8)
    wrong = plain_accumulators(maps)["dynamics"]
    wrong[5] = wrong[5].T  # the right divergence in the wrong places
    recording = write_recording(tmp_path / "relevance.h5", maps, accumulators={"dynamics": wrong})
    with pytest.raises(UserError, match=r"relevance.h5: the Dynamics of sample 5 at position \(\d, \d\) is"):
        run(recording, tmp_path)
    assert not (tmp_path / "dynamics.h5").exists()


@pytest.mark.parametrize(("shape", "place"), [((7,), "5"), ((2, 3, 4), "1, 2, 1")])
def test_a_wrong_accumulator_of_another_shape_is_refused_with_its_place(tmp_path, shape, place):
    maps = maps_of_a_walk(40, 8, shape=shape)
    wrong = plain_accumulators(maps)["dynamics"]
    largest, other = (2, *(int(i) for i in place.split(","))), (2, *(0 for _ in shape))
    gained = 0.9 * wrong[other]
    wrong[largest] += gained
    wrong[other] -= gained
    recording = write_recording(tmp_path / "relevance.h5", maps, accumulators={"dynamics": wrong})
    with pytest.raises(UserError, match=rf"Dynamics of sample 2 at position \(({place}|0(, 0)*)\)"):
        run(recording, tmp_path)


def test_a_lost_step_is_refused(tmp_path):
    maps = maps_of_a_walk(400, 8)
    lost = plain_accumulators(maps)["dynamics"]
    lost[3] -= abs(maps[200, 3].astype(float) - maps[199, 3])
    recording = write_recording(tmp_path / "relevance.h5", maps, accumulators={"dynamics": lost})
    with pytest.raises(UserError, match=r"sample 3 .* steps were lost or counted twice"):
        run(recording, tmp_path)


def test_a_wrong_normalised_accumulator_is_refused(tmp_path):
    maps = maps_of_a_walk(40, 8)
    wrong = plain_accumulators(maps)["dynamics_normalized"] * 1.5
    recording = write_recording(tmp_path / "relevance.h5", maps, accumulators={"dynamics_normalized": wrong})
    with pytest.raises(UserError, match="float16 rounding explains at most"):
        run(recording, tmp_path)


def test_unfinished_and_too_short_recordings_are_refused(tmp_path):
    short = write_recording(tmp_path / "short.h5", maps_of_a_walk(1, 3))
    with pytest.raises(UserError, match="at least two recorded steps, found 1"):
        run(short, tmp_path)
    unfinished = write_recording(tmp_path / "unfinished.h5", maps_of_a_walk(20, 3))
    with h5py.File(unfinished, "r+") as file:
        file.attrs["complete"] = False
    with pytest.raises(UserError, match=r"not complete \(20 steps\)"):
        run(unfinished, tmp_path)


def test_a_recording_without_maps_still_has_dynamics(tmp_path):
    maps = maps_of_a_walk(20, 4)
    out, samples = run(write_recording(tmp_path / "relevance.h5", maps, stored=0), tmp_path)
    with h5py.File(out) as file:
        assert file.attrs["checked_samples"] == 0
        np.testing.assert_array_equal(file["dynamics"], plain_accumulators(maps)["dynamics"])
    assert np.isnan(read_csv(samples)["successive_correlation"]).all()
