"""A recording that is not as it was written is found out, and one that could not be a recording, too."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from lrp_dynamics import Recorder, open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.commands import cli
from lrp_dynamics.recording import checksums
from lrp_dynamics.recording.recovery import recover, validate

QUICK, LONG = 50, 1000


def record(path: Path, *, complete: bool = True, steps: int = 37) -> Path:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    details = {"factors": {"size": [1.0, 2.0, 3.0]}, "mask": np.ones((3, 8, 8))}
    attributes = {"classes": ["a", "b", "c"], "seed": 3}
    options = {"maps": 2, "details": details, "attributes": attributes}
    recorder = Recorder(path, model, torch.rand(3, 1, 8, 8), torch.tensor([0, 1, 2]), **options)
    for iteration in range(steps):
        recorder.record(iteration, loss=0.5)
        with torch.no_grad():
            model[0].weight.mul_(1.01)
    recorder.close(complete=complete)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return record(tmp_path_factory.mktemp("whole") / "r.h5")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    return record(tmp_path_factory.mktemp("interrupted") / "r.h5", complete=False)


@pytest.fixture
def path(whole, tmp_path):
    return Path(shutil.copy(whole, tmp_path / "r.h5"))


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def found(path: Path) -> list[str]:
    try:
        return validate(path)
    except UserError as error:
        return [str(error)]


FLIPS = [QUICK, pytest.param(LONG, marks=pytest.mark.long)]


@pytest.mark.parametrize("count", FLIPS)
def test_every_flipped_bit_of_a_complete_recording_is_found(path, count, capsys):
    content = path.read_bytes()
    # The last bytes are those of the seal itself.
    bits = np.random.default_rng(count).integers(0, 8 * len(content), count).tolist() + [8 * len(content) - 1]
    bits += [8 * (len(content) - back) for back in (3, 60, 70, 100, 110)]
    for bit in bits:
        path.write_bytes(flipped(content, bit))
        assert found(path), f"bit {bit} of {8 * len(content)}"
        with pytest.raises(UserError):
            open_relevance(path, verify=True)
    assert cli.main(["validate", str(path)]) == 2
    path.write_bytes(content)
    assert cli.main(["validate", str(path)]) == 0
    assert "37 steps of 3 samples; read all of its" in capsys.readouterr().out


def content_of(path: Path) -> dict[str, bytes] | None:
    """Whatever a reader can be told; None if there is something that cannot be read."""
    try:
        with open_relevance(path) as recording:
            held = {name: str(value).encode() for name, value in recording.attrs.items()}
            held |= {f"sample {name}": recording.sample(name).tobytes() for name in recording.sample_names()}
            held |= {f"step {name}": recording.step(name).tobytes() for name in sorted(recording.file["steps"])}
            held |= {f"scalar {name}": recording.scalar(name).tobytes() for name in sorted(recording.file["scalars"])}
            held |= {f"sum {name}": recording.accumulated(name).tobytes() for name in checksums.SUMS}
            return held | {"maps": recording.maps().tobytes()}
    except (UserError, OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, AttributeError):
        return None


@pytest.mark.parametrize("count", FLIPS)
def test_every_flipped_bit_that_changes_an_interrupted_recording_is_found(interrupted, tmp_path, count):
    """It is not sealed; but whatever a reader is told has a checksum."""
    path, content = tmp_path / "r.h5", interrupted.read_bytes()
    path.write_bytes(content)
    expected, changed = content_of(path), 0
    only = ["the recording is not complete: it was interrupted"]
    assert validate(path) == only
    for bit in np.random.default_rng(count).integers(0, 8 * len(content), count).tolist():
        path.write_bytes(flipped(content, bit))
        if (now := content_of(path)) != expected:
            changed += 1
            # Another number of whole steps, or the mark of completeness, is what the reader is told as well.
            assert now is None or found(path) != only, f"bit {bit}"
    assert changed > count // 20


def rewritten(path: Path, change) -> list[str]:
    """What is found in a file that was written so, checksums and seal included."""
    checksums.unseal(path)
    with h5py.File(path, "r+") as file:
        change(file)
        if "checksums" in file and set(checksums.columns(file)) >= {"relevance/map", "steps/iteration"}:
            del file["checksums"]
            checksums.add(file)
            for slot in "AB":
                if set(checksums.SUMS) <= set(file[f"accum/{slot}"]):
                    sums = {name: file[f"accum/{slot}/{name}"][()] for name in checksums.SUMS}
                    file[f"accum/{slot}/crc32"][...] = checksums.of_sums(sums)
    checksums.seal(path)
    return found(path)


def put(name, place, value):
    def change(file):
        file[name][place] = value

    return change


def replace(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("relevance/map", (5, 1, 3, 3), np.nan), "/relevance/map has values that are not from -1 to 1"),
        (put("relevance/map", (5, 1, 3, 3), 3), "/relevance/map has values that are not from -1 to 1"),
        (put("relevance/map", 5, 0), "/relevance/map does not sum to /scalars/r_abs_sum, from step 0"),
        (put("relevance/scale", (36, 0), 0), "/relevance/scale has values that are not finite, or not above 0"),
        (put("relevance/scale", 36, 1e9), "does not sum to /scalars/r_abs_sum, from step 32"),
        (put("accum/A/m2", (0, 0, 0), np.inf), "/accum/m2 has values that are not finite"),
        (put("samples/label", 1, 99), "/samples/label has classes from 0 to 99, but there are 3"),
        (put("samples/label", 1, -5), "/samples/label has classes from -5 to 2, but there are 3"),
        (put("steps/iteration", 3, 2), "/steps/iteration does not increase"),
        (replace("samples/label", np.zeros(3, "f4")), "found /samples/label of type float32, expected whole numbers"),
        (replace("samples/index", np.zeros(4, "i8")), r"found /samples/split of shape \(3,\), expected axes N = 4"),
        (replace("accum/A/mean", np.zeros((3, 8, 9))), r"found /accum/A/mean of shape \(3, 8, 9\), expected"),
        (replace("scalars/entropy", np.zeros((37, 2), "f4")), r"found /scalars/entropy of shape \(37, 2\), expected"),
        (lambda file: file.__delitem__("scalars/margin"), "found no dataset /scalars/margin"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_recording_is_said(path, change, message):
    problems = "; ".join(rewritten(path, change))
    assert re.search(message, problems), problems


def test_what_was_changed_after_it_was_written_is_said(path):
    """By whoever opens it for writing: the seal is gone, and the checksums tell where."""
    with h5py.File(path, "r+") as file:
        file["scalars/logit"][20, 1] += 1
    sealed, where, *_ = validate(path)
    assert "complete, but not sealed" in sealed
    assert where == "/scalars/logit is not what was written, from step 20 of the file on"


def old(path: Path) -> Path:
    """As it was before there were checksums."""
    checksums.unseal(path)
    with h5py.File(path, "r+") as file:
        del file["checksums"], file["accum/A/crc32"], file["accum/B/crc32"]
        file.attrs["schema_version"] = 1
    return path


def test_recordings_without_checksums_are_read(path, whole, capsys):
    maps = open_relevance(whole).maps()
    old(path)
    with open_relevance(path, verify=True) as recording:
        np.testing.assert_array_equal(recording.maps(), maps)
    assert cli.main(["validate", str(path)]) == 0
    assert "no checksums" in capsys.readouterr().out


def test_an_interrupted_recording_without_checksums_gets_them(interrupted, tmp_path):
    """When it is recovered. What it holds by then is what it is compared with."""
    path = old(Path(shutil.copy(interrupted, tmp_path / "r.h5")))
    assert recover(path, mark_complete=True) == 37
    assert validate(path) == []
    with open_relevance(path, verify=True) as recording:
        assert recording.attrs["schema_version"] == 2


def test_recovering_does_not_bless_what_is_damaged(interrupted, tmp_path):
    path = Path(shutil.copy(interrupted, tmp_path / "r.h5"))
    with h5py.File(path, "r+") as file:
        file["scalars/logit"][20, 1] += 1
    recover(path, mark_complete=True)
    assert validate(path) == ["/scalars/logit is not what was written, from step 20 of the file on"]
