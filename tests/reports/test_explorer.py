"""The explorer's page as a file: what is in it, how exact, of which recordings, and that names do nothing in it."""

import hashlib
import json
import re
import zlib
from base64 import b64decode
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import h5py
import numpy as np
import pytest
from synthetic import maps_of_a_walk, write_recording

from lrp_dynamics import open_relevance
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.tables import write_csv
from lrp_dynamics.commands.cli import main
from lrp_dynamics.reports.explorer import shrinking, write_explorer
from lrp_dynamics.reports.explorer.encoding import BOUND, decode, encode
from lrp_dynamics.reports.explorer.packing import pack

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{ data }}\u2028"
CURVES = ("logit", "r_sum", "r_abs_sum", "step_divergence")


def smooth(steps: int, pixels: int, seed: int = 0) -> np.ndarray:
    """Frames that change slowly, of few patterns and a little noise, in units that change, too."""
    rng = np.random.default_rng(seed)
    courses = np.cumsum(rng.normal(0, 1, (steps, 5)), axis=0) / 9 + 1
    frames = courses @ rng.normal(0, 1, (5, pixels)) + rng.normal(0, 0.05, (steps, pixels))
    return (frames * np.geomspace(1e-12, 1e9, steps)[:, None]).astype(np.float32)


def rough(steps: int, pixels: int) -> np.ndarray:
    """Frames that have nothing to do with each other."""
    return np.random.default_rng(1).normal(0, 1, (steps, pixels)).astype(np.float32)


def errors(shown: np.ndarray, frames: np.ndarray) -> np.ndarray:
    truth = frames.astype(np.float64)
    size = np.linalg.norm(truth, axis=1)
    return np.divide(np.linalg.norm(shown - truth, axis=1), size, out=np.zeros_like(size), where=size > 0)


def spiky(frames: np.ndarray) -> np.ndarray:
    """One pixel that dwarfs the rest: more than 8 bits can hold."""
    frames = frames / np.abs(frames).max()
    frames[:, 3] = 30
    return frames + rough(*frames.shape) / 9


FRAMES = {
    "smooth": smooth(200, 300),
    "more pixels than steps": smooth(20, 500),
    "rough": rough(30, 100),
    "one step": rough(1, 50),
    "one pixel": rough(50, 1),
    "zero": np.zeros((10, 20), np.float32),
    "zero in between": smooth(100, 64) * (np.arange(100) % 3 > 0)[:, None],
    "spiky": spiky(smooth(40, 4000)),
    "a jump": np.concatenate([smooth(50, 64), 1e6 * rough(1, 64), smooth(50, 64, 2)]),
}


@pytest.mark.parametrize("name", FRAMES)
def test_95_per_cent_of_the_frames_are_within_the_bound(name):
    """Against the frames themselves in float64, and what is said of the error is so."""
    frames = FRAMES[name]
    made = encode(frames)
    found = errors(decode(made.arrays), frames)
    assert np.percentile(found, 95) <= BOUND
    assert made.error_95 == pytest.approx(np.percentile(found, 95), rel=0.01, abs=1e-5)
    assert made.error_worst == pytest.approx(found.max(), rel=0.01, abs=1e-5)
    changes = np.diff(frames.astype(np.float64), axis=0)
    wrong = errors(np.diff(decode(made.arrays).astype(np.float64), axis=0), changes)[np.abs(changes).sum(axis=1) > 0]
    assert made.change_error == pytest.approx(np.median(wrong) if len(wrong) else 0, rel=0.01, abs=1e-5)


def test_slow_frames_are_few_patterns_with_exact_norms_and_others_are_stored_whole():
    frames = FRAMES["smooth"]
    made = encode(frames)
    assert 5 <= made.rank <= 12
    assert sum(array.nbytes for array in made.arrays.values()) < frames.nbytes / 20
    norms = np.linalg.norm(frames.astype(np.float64), axis=1)
    np.testing.assert_allclose(made.arrays["gain"], norms, rtol=1e-6)
    assert encode(FRAMES["rough"]).rank == 0
    assert encode(FRAMES["rough"]).arrays["frames"].dtype == np.int8
    assert encode(FRAMES["spiky"]).error_95 <= BOUND
    assert encode(frames, bound=0.02).rank > made.rank


# The page -------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a browser makes of the page: its elements, and the text of each script with an id."""

    def __init__(self, path: Path):
        super().__init__()
        self.elements, self.scripts, self.own, self.title = [], {}, None, ""
        self.feed(path.read_text(encoding="utf-8"))
        self.meta = json.loads(self.scripts["meta"])

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.own = dict(attrs).get("id", "") if tag == "script" else tag

    def handle_endtag(self, tag):
        self.own = None

    def handle_data(self, data):
        if self.own == "title":
            self.title += data
        elif self.own is not None:
            self.scripts[self.own] = self.scripts.get(self.own, "") + data

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        return unpacked(self.scripts[name])

    def frames(self, run: int, sample: int) -> np.ndarray:
        """The maps of a sample as the page shows them, (T, pixels)."""
        found = self.arrays(f"s-{run}-{sample}")
        steps = len(found["gain"])
        return decode(
            {name: array.reshape(-1, steps) if name == "courses" else array for name, array in found.items()}
            | ({"patterns": found["patterns"].reshape(len(found["weights"]), -1)} if "patterns" in found else {})
            | ({"frames": found["frames"].reshape(steps, -1)} if "frames" in found else {})
        )


def unpacked(text: str) -> dict[str, np.ndarray]:
    """Read what `pack` wrote, as its documentation says."""
    data = zlib.decompress(b64decode(text))
    length = int.from_bytes(data[:4], "little")
    at, arrays = 4 + length + -length % 4, {}
    for name, kind, count, row in json.loads(data[4 : 4 + length]):
        width = int(kind[1])
        planes = np.frombuffer(data, np.uint8, count * width, at).reshape(width, count)
        bits = np.ascontiguousarray(planes.T).view(f"<u{width}").ravel()
        if row:
            bits = np.cumsum(bits.reshape(-1, row), axis=1, dtype=bits.dtype).ravel()
        arrays[name] = bits.view(f"<{kind}" if width > 1 else kind)
        at += count * width + -(count * width) % 4
    return arrays


def test_packed_arrays_are_read_again():
    rng = np.random.default_rng(0)
    arrays = {
        "gain": np.array([1.5, -np.inf, np.nan, 1e-40], np.float32),
        "courses": rng.integers(-127, 128, (3, 7)).astype(np.int8),
        "patterns": rng.integers(-127, 128, (3, 5)).astype(np.int8),
        "frames": rng.integers(-32767, 32768, 11).astype(np.int16),
        "logit": rng.normal(size=9).astype(np.float16),
        "images": rng.integers(0, 256, (2, 3, 3)).astype(np.uint8),
        "nothing": np.zeros(0, np.float32),
    }
    found = unpacked(pack(arrays))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array.ravel())


@pytest.fixture(scope="module")
def walk(tmp_path_factory) -> Path:
    """A recording of 12 samples, maps of 10."""
    path = tmp_path_factory.mktemp("walk") / "relevance.h5"
    return write_recording(path, maps_of_a_walk(40, 12), stored=10)


def test_the_page_holds_every_step_within_the_bound_and_the_rest_exactly(walk, tmp_path):
    made = write_explorer(tmp_path / "e.html", {"walk": walk})
    page = Page(tmp_path / "e.html")
    assert made["bytes"] == (tmp_path / "e.html").stat().st_size
    assert made["samples"] == len(page.meta["samples"]) == 10
    with open_relevance(walk) as file:
        maps = file.maps().reshape(40, 10, -1)
        assert page.meta["recordings"][0]["iteration"] == file.step("iteration").tolist()
        found = np.stack([errors(page.frames(0, n), maps[:, n]) for n in range(10)])
        assert np.percentile(found, 95, axis=1).max() <= BOUND
        assert made["recordings"]["walk"]["error_worst"] == pytest.approx(found.max(), rel=0.01)
        np.testing.assert_array_equal(page.arrays("images")["images"], file.sample("image")[:10].ravel())
        np.testing.assert_array_equal(page.arrays("run-0")["train_loss"], file.step("train_loss"))
        for n, score in enumerate(page.meta["recordings"][0]["scores"]):
            arrays = page.arrays(f"s-0-{n}")
            truth = file.accumulated("dynamics")[n]
            np.testing.assert_array_equal(arrays["dynamics"], truth.astype(np.float32).ravel())
            assert score["divergence"] == pytest.approx(truth.sum(), rel=1e-6)
            for name in CURVES:
                curve = arrays[name].astype(np.float64) * score[f"scale_{name}"]
                np.testing.assert_allclose(curve, file.scalar(name)[:, n], rtol=1e-3, atol=1e-6 * abs(curve).max())


def test_the_same_recording_gives_the_same_bytes(walk, tmp_path):
    for name in "ab":
        write_explorer(tmp_path / f"{name}.html", {"walk": walk})
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_nothing_is_loaded_from_elsewhere(walk, tmp_path):
    write_explorer(tmp_path / "e.html", {"walk": walk})
    page = Page(tmp_path / "e.html")
    assert not [attrs for tag, attrs in page.elements if attrs.get("src")]
    assert [attrs["href"] for tag, attrs in page.elements if tag == "link"] == ["data:,"]
    policy = next(attrs for tag, attrs in page.elements if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none';")


def test_names_of_all_kinds_are_text(walk, tmp_path):
    path = tmp_path / "hostile.h5"
    path.write_bytes(walk.read_bytes())
    with h5py.File(path, "a") as file:
        file.attrs["classes"] = json.dumps([HOSTILE] * 10)
        for name in ("dataset_title", "model", "composite"):
            file.attrs[name] = HOSTILE
    write_explorer(tmp_path / "plain.html", {"walk": walk})
    write_explorer(tmp_path / "e.html", {HOSTILE: path}, title=HOSTILE)
    plain, page = Page(tmp_path / "plain.html"), Page(tmp_path / "e.html")
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert page.title == page.meta["title"] == HOSTILE.replace("\u2028", "\\u2028")
    assert page.meta["recordings"][0]["scores"][0]["name"] == page.title
    assert page.scripts.keys() == plain.scripts.keys()


def test_uplot_is_the_published_one_with_its_licence():
    """Version 1.6.32 of the package uplot of npm."""
    known = {
        "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
        "uPlot.LICENSE.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    }
    folder = files("lrp_dynamics.reports.explorer") / "page"
    assert {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in known} == known


# Recordings of all kinds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 17])
@pytest.mark.parametrize("shape", [(8, 8), (5, 9), (1, 1), (30,), (4, 5, 6)])
def test_recordings_of_any_shape_and_length(tmp_path, shape, steps):
    path = write_recording(tmp_path / "r.h5", maps_of_a_walk(steps, 1, shape=shape))
    made = write_explorer(tmp_path / "e.html", {"r": path})
    page = Page(tmp_path / "e.html")
    assert made["samples"] == 1
    assert len(page.frames(0, 0)) == steps
    height, width = (1, *shape)[-2:] if len(shape) < 3 else shape[1:]
    assert page.meta["frame"] == [height, width]
    with open_relevance(path) as file:
        maps = file.maps()[:, 0]
        maps = maps[:, shape[0] // 2] if len(shape) == 3 else maps
    assert np.percentile(errors(page.frames(0, 0), maps.reshape(steps, -1)), 95) <= BOUND


def edited(source: Path, target: Path, edit) -> Path:
    """A copy of a recording, changed and no longer sealed."""
    target.write_bytes(source.read_bytes())
    with h5py.File(target, "a") as file:
        edit(file)
    return target


def replaced(file: h5py.File, name: str, values: np.ndarray) -> None:
    del file[name]
    file[name] = values


def test_what_is_not_known_or_not_finite_is_left_out(walk, tmp_path):
    def edit(file):
        file.attrs["classes"] = "[]"
        for name in ("dataset", "dataset_title", "model", "composite", "seed"):
            file.attrs[name] = "unknown"
        file["samples/label"][:] = -1
        for name in ("margin", "probability", "logit", "r_sum"):
            file[f"scalars/{name}"][:, :6] = np.nan
        file["scalars/step_divergence"][3, 2] = np.inf
        file["steps/train_loss"][:] = np.nan
        file["relevance/scale"][5, 1] = np.inf
        file.attrs["complete"] = False

    path = edited(walk, tmp_path / "r.h5", edit)
    write_explorer(tmp_path / "e.html", {"some name": path})
    page = Page(tmp_path / "e.html")
    assert page.meta["title"] == "some name"
    assert page.meta["recordings"][0]["complete"] is False
    assert page.meta["recordings"][0]["scores"][1]["aum"] is None
    assert np.isfinite(page.frames(0, 1)).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_images_of_any_channels(walk, tmp_path, channels):
    images = np.random.default_rng(0).integers(0, 256, (12, channels, 8, 8)).astype(np.uint8)
    path = edited(walk, tmp_path / "r.h5", lambda file: replaced(file, "samples/image", images))
    write_explorer(tmp_path / "e.html", {"r": path})
    page = Page(tmp_path / "e.html")
    expected = images if channels == 3 else np.rint(images.mean(axis=1, keepdims=True)).astype(np.uint8)
    assert page.meta["image"] == [*expected.shape[1:]]
    np.testing.assert_array_equal(page.arrays("images")["images"], expected[:10].ravel())


def test_several_recordings_are_of_the_same_samples(walk, tmp_path):
    other = write_recording(tmp_path / "other.h5", maps_of_a_walk(7, 12, seed=3), seed=3, every=10)
    moved = edited(other, tmp_path / "moved.h5", lambda file: replaced(file, "samples/index", np.arange(107, 119)))
    write_explorer(tmp_path / "e.html", {"a": walk, "b": moved})
    page = Page(tmp_path / "e.html")
    assert [sample["index"] for sample in page.meta["samples"]] == [107, 108, 109]
    assert page.title == "random walks (synthetic) · none"
    with open_relevance(moved) as file:
        truth = file.maps()[:, 0].reshape(7, -1)
    assert np.percentile(errors(page.frames(1, 0), truth), 95) <= BOUND
    away = edited(other, tmp_path / "away.h5", lambda file: replaced(file, "samples/index", np.arange(12)))
    with pytest.raises(UserError, match=r"away\.h5: found no sample that .*relevance\.h5 has"):
        write_explorer(tmp_path / "e2.html", {"a": walk, "b": away})
    larger = write_recording(tmp_path / "larger.h5", maps_of_a_walk(7, 12, shape=(4, 4)))
    with pytest.raises(UserError, match=r"larger\.h5: found samples of shape \(3, 4, 4\), expected \(3, 8, 8\)"):
        write_explorer(tmp_path / "e2.html", {"a": walk, "b": larger})
    assert not (tmp_path / "e2.html").exists()


def test_flagged_samples_come_first_where_not_all_are_asked_for(walk, tmp_path):
    flagged = (np.arange(12) == 8).astype(int)
    kinds = ["numerical" if value else "none" for value in flagged]
    write_csv(tmp_path / "flags.csv", {"index": np.arange(100, 112), "flagged": flagged, "kind": kinds})
    write_explorer(tmp_path / "e.html", {"a": walk}, samples=3, flags=tmp_path / "flags.csv")
    page = Page(tmp_path / "e.html")
    assert [sample["index"] for sample in page.meta["samples"]] == [100, 101, 108]
    assert [score["flagged"] for score in page.meta["recordings"][0]["scores"]] == [False, False, True]
    assert page.meta["recordings"][0]["scores"][2]["kind"] == "numerical"
    assert page.meta["all_samples"] == 10


def test_large_images_and_many_samples_fit_into_the_page(tmp_path, monkeypatch):
    path = write_recording(tmp_path / "r.h5", maps_of_a_walk(6, 8, shape=(96, 100)))
    with_all = write_explorer(tmp_path / "all.html", {"r": path})
    assert (with_all["averaged"], with_all["samples"]) == (1, 8)
    fixed = 130_000
    monkeypatch.setattr(shrinking, "LIMIT", fixed + 120_000)
    made = write_explorer(tmp_path / "e.html", {"r": path})
    page = Page(tmp_path / "e.html")
    assert made["bytes"] <= shrinking.LIMIT
    assert made["averaged"] > 1
    with open_relevance(path) as file:
        whole = file.maps(samples=0)
        shown = page.frames(0, 0).reshape(6, *page.meta["frame"])
    factor = made["averaged"]
    assert shown.shape[1:] == (-(-96 // factor), -(-100 // factor))
    assert (
        errors(shown[:, :1, :1].reshape(6, -1), whole[:, :factor, :factor].mean(axis=(1, 2)).reshape(6, 1)).max() < 0.2
    )
    # Maps that no few patterns make need more room than one would think.
    rng = np.random.default_rng(0)
    path = write_recording(tmp_path / "r2.h5", rng.normal(size=(30, 24, 32, 32)).astype(np.float32))
    monkeypatch.setattr(shrinking, "LIMIT", fixed + 400_000)
    fewer = write_explorer(tmp_path / "f.html", {"r": path})
    assert 1 <= fewer["samples"] < 24
    assert fewer["bytes"] <= shrinking.LIMIT


def test_frames_at_the_edge_are_averages_of_fewer_pixels():
    images = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)
    found = shrinking.averaged(images, 3)
    expected = [[[part[y : y + 3, x : x + 3].mean() for x in (0, 3, 6)] for y in (0, 3)] for part in images]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_tells_size_and_errors(walk, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a folder ä" / "z = 1"
    folder.mkdir(parents=True)
    (folder / "relevance.h5").write_bytes(walk.read_bytes())
    assert main(["explorer", str(folder / "relevance.h5"), f"again={walk}", "--output", "out/e.html"]) == 0
    said = capsys.readouterr().out
    assert re.match(r"out/e\.html: \d\.\d MB, 10 samples\n  z = 1: 95 % of the frames", said)
    assert [run["name"] for run in Page(Path("out/e.html")).meta["recordings"]] == ["z = 1", "again"]


def test_mistakes_are_told_and_nothing_is_left(walk, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, told in {
        ("nothing.h5",): "nothing.h5: found no such file",
        (str(walk), "--samples", "0"): "found samples 0, expected 1 or more",
        (f"a={walk}", f"a={walk}"): "found two recordings called 'a'",
        (str(walk), "--flags", "none.csv"): "none.csv",
    }.items():
        assert main(["explorer", *words, "--output", "e.html"]) == 2
        assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
