"""Results that cannot be put where they belong, and trainings that fail: what was made is kept, or nothing is left."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from trainings import PARAMS, RESULTS, command, results, run, started

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import sha256
from lrp_dynamics.training import run as experiment

pytestmark = pytest.mark.long


def may_write_everywhere(folder):
    """As root may."""
    (folder / "probe").mkdir(mode=0o555)
    return os.access(folder / "probe", os.W_OK)


def a_file_in_its_place(out):
    """Put a file where the folder of the results was; return what takes it away."""
    shutil.rmtree(out)
    out.write_text("notes")
    return out.unlink


def no_permission(out):
    out.chmod(0o555)
    return lambda: out.chmod(0o755)


def no_room(out):
    """Fill the disk of the results."""
    filler = out / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    return filler.unlink


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 MB, or None where it cannot be had."""
    place = tmp_path / "disk"
    place.mkdir()
    made = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], capture_output=True
        ).returncode
    )
    yield place if made else None
    if made:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("spoil", [a_file_in_its_place, no_permission, no_room])
def test_results_that_cannot_be_handed_over_are_kept_and_the_next_run_does_it(
    spoil, data, undisturbed, tmp_path, small_disk
):
    if spoil is no_room and small_disk is None:
        pytest.skip("a small disk can only be made by root")
    if spoil is no_permission and may_write_everywhere(tmp_path):
        pytest.skip("root may write everywhere")
    out = (small_disk if spoil is no_room else tmp_path) / "run"
    arguments = command(data, out, tmp_path / "cache")
    with started(arguments, lambda: list(tmp_path.glob("cache/*/checkpoint.pt"))) as process:
        mend = spoil(out)
        _, said = process.communicate()
        assert process.returncode == 2
    last = said.splitlines()[-1]
    [work] = (tmp_path / "cache").iterdir()
    assert f"error: {out}: the results could not be put there" in last
    assert f"complete in {work}" in last
    assert results(work) == undisturbed
    if out.is_dir():
        assert not [path for path in out.rglob("*") if path.is_file() and path.name != "filler"]
    mend()
    again = run(arguments)
    assert again.returncode == 0, again.stderr
    assert "step" not in again.stderr  # nothing was trained
    assert results(out) == undisturbed
    assert not list((tmp_path / "cache").iterdir())
    assert sorted(path.name for path in out.iterdir()) == sorted(
        {Path(name).parts[0] for name in (*RESULTS, "provenance.json")}
    )


def test_results_handed_over_in_part_are_handed_over_whole(data, undisturbed, tmp_path, monkeypatch):
    """As after a power cut while they were put there; what lies there may be deleted before the next run."""
    cache, out = tmp_path / "cache", tmp_path / "run"
    real, count = os.replace, iter(range(100))

    def cut(source, target):
        if Path(target).is_relative_to(out) and next(count) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        experiment.run_training(data, PARAMS, out, cache=cache)
    monkeypatch.undo()
    assert any(path.is_file() for path in out.rglob("*"))
    shutil.rmtree(out)
    experiment.run_training(data, PARAMS, out, cache=cache)
    assert results(out) == undisturbed


def test_a_folder_that_cannot_take_the_results_is_refused_before_the_training(data, tmp_path, small_disk):
    (tmp_path / "file").write_text("notes")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/plus").write_text("notes")
    cases = [(tmp_path / "file", "is a file or lies below one"), (tmp_path / "file/run", "is a file or lies below one")]
    cases += [(tmp_path / "run", "is a file or lies below one")]
    if not may_write_everywhere(tmp_path):
        (tmp_path / "closed").mkdir(mode=0o555)
        cases += [(tmp_path / "closed/run", "cannot be written"), (tmp_path / "closed", "cannot be written")]
    if small_disk:
        with open(small_disk / "filler", "wb") as file:
            file.truncate(0)
            file.write(bytes(62 << 20))
        cases += [(small_disk / "run", "MB are free on this disk, but the results take at least")]
    for out, message in cases:
        with pytest.raises(UserError, match=message):
            experiment.run_training(data, PARAMS, out, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    assert (tmp_path / "file").read_text() == "notes"


@pytest.mark.parametrize("options", [[], ["--no-record"]], ids=["recorded", "unrecorded"])
def test_a_full_disk_leaves_what_was_trained_and_the_training_goes_on_from_it(
    options, data, undisturbed, tmp_path, small_disk
):
    if small_disk is None:
        pytest.skip("a small disk can only be made by root")
    cache, out = small_disk / "cache", tmp_path / "run"
    arguments = [*command(data, out, cache), *options]
    with started(arguments, lambda: list(cache.glob("*/checkpoint.pt"))) as process:
        mend = no_room(small_disk)
        _, said = process.communicate()
        assert process.returncode == 2
    [work] = cache.iterdir()
    [told] = [line for line in said.splitlines() if "error: " in line]
    assert "No space left on device" in told
    assert f"error: {work}" in told
    assert "Traceback" not in said
    mend()
    again = run(arguments)
    assert again.returncode == 0, again.stderr
    assert "starts anew" not in again.stderr
    assert "/36" in again.stderr
    assert " 0/36" not in again.stderr
    if options == []:
        assert results(out) == undisturbed
    else:
        experiment.run_training(data, PARAMS, tmp_path / "other", cache=tmp_path / "cache", record=False)
        assert sha256(out / "model.safetensors") == sha256(tmp_path / "other/model.safetensors")


def test_a_training_that_diverges_leaves_nothing_and_one_that_fails_otherwise_its_checkpoint(
    data, tmp_path, monkeypatch
):
    cache = tmp_path / "cache"
    diverging = PARAMS["training"] | {"optimizer": "sgd", "learning_rate": 1e20}
    with pytest.raises(UserError, match="diverged"):
        experiment.run_training(data, PARAMS | {"training": diverging}, tmp_path / "run", cache=cache, record=False)
    assert not list(cache.iterdir())
    assert not (tmp_path / "run").exists()

    def fail(training):
        raise UserError("a mistake that shows late")

    monkeypatch.setattr(experiment, "check_weights", fail)
    with pytest.raises(UserError, match="shows late"):
        experiment.run_training(data, PARAMS, tmp_path / "run", cache=cache, record=False)
    assert list(cache.glob("*/checkpoint.pt"))
    assert not (tmp_path / "run").exists()
