"""`info`, `watch` and `animate` of recordings: complete, unfinished, being written, of images and of other samples."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lrp_dynamics import Recorder
from lrp_dynamics.commands import cli
from lrp_dynamics.recording.recovery import recover
from lrp_dynamics.reports import watching
from lrp_dynamics.reports.terminal import BLOCKS, PLAIN, sparkline


def loop(path, steps=40, shape=(1, 8, 8), wait=0.0, **options):
    """Train a little while recording."""
    torch.manual_seed(0)
    size = int(np.prod(shape))
    model = nn.Sequential(nn.Flatten(), nn.Linear(size, 6), nn.ReLU(), nn.Linear(6, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    x, y = torch.rand(6, *shape), torch.tensor([0, 1, 2, 0, 1, 2])
    with Recorder(path, model, x, y, **options) as recorder:
        for step in range(steps):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.record(step, loss=loss.item())
            time.sleep(wait)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recorded") / "relevance.h5"
    loop(path, attributes={"dataset_title": "toys $x$", "classes": '["a", "b_c", "d"]'})
    return path


def test_info_fits_a_screen_and_shows_the_curves(recording, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.main(["info", str(recording)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 24
    assert max(map(len, lines[1:])) <= 100
    curves = [line for line in lines if set(BLOCKS) & set(line)]
    assert [line.split("  ")[1].strip() for line in curves] == [
        "loss of the batch",
        "accuracy, samples",
        "relevance sum, mean",
        "step divergence, mean",
    ]
    assert curves[0].rstrip(" .0123456789").endswith("▁")  # the loss falls
    assert cli.main(["info", str(recording), "--all"]) == 0
    assert "params_sha256" in capsys.readouterr().out


def test_a_terminal_without_blocks_gets_plain_letters(recording):
    command = [sys.executable, "-m", "lrp_dynamics.commands.cli", "info", str(recording)]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, check=True)
    out = done.stdout.decode("ascii")
    assert "\\u" not in out
    assert "8x8 pixels" in out
    assert any(set(line.split()[-2]) <= set(PLAIN) for line in out.splitlines() if "relevance sum" in line)


def test_sparklines_leave_out_what_is_not_finite():
    assert sparkline(np.array([np.nan, np.inf])) == "  "
    assert sparkline(np.array([0.0, np.inf, 1.0])) == "▁ █"
    assert len(sparkline(np.arange(1000.0), 60)) == 60
    assert sparkline(np.array([])) == " "


def test_info_of_a_recording_that_was_interrupted(tmp_path, capsys):
    path = tmp_path / "relevance.h5"
    recorder = Recorder(path, nn.Linear(2, 2), torch.rand(2, 2), torch.tensor([0, 1]))
    recorder.record(0)
    recorder.close(complete=False)
    assert cli.main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "NOT complete, and nobody is writing it" in out
    assert "2 features" in out
    assert cli.main(["watch", str(path)]) == 2
    assert "is not complete, and nobody is writing it; go on with its training, or" in capsys.readouterr().err


def test_watch_follows_a_recording_to_its_end(tmp_path):
    path = tmp_path / "relevance.h5"
    writer = threading.Thread(target=loop, args=(path, 150), kwargs={"wait": 0.05, "live": True})
    writer.start()
    while not path.exists() or path.stat().st_size < 5000:
        time.sleep(0.05)
    command = [sys.executable, "-m", "lrp_dynamics.commands.cli", "watch", str(path), "--every", "0.2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    writer.join()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    seen = [int(line.rpartition(": ")[2].split()[0]) for line in lines if " steps, loss" in line]
    assert seen == sorted(set(seen))
    assert seen[-1] == 150
    assert any(line.endswith("complete") for line in lines)


def test_watch_tells_of_steps_once_when_a_recording_is_closed_between_two_looks(tmp_path, capsys, monkeypatch):
    path = tmp_path / "relevance.h5"
    recorder = Recorder(path, nn.Linear(2, 2), torch.rand(2, 2), torch.tensor([0, 1]))
    recorder.record(0)
    recorder.close(complete=False)
    monkeypatch.setattr(watching, "_wait", lambda asked, seconds: recover(path, mark_complete=True))
    watching.watch(path, 0.1)
    lines = capsys.readouterr().out.splitlines()
    assert sum(" steps, loss" in line for line in lines) == 1
    assert any(line.endswith("complete") for line in lines)


def test_ctrl_c_ends_watch_in_one_line(tmp_path):
    path = tmp_path / "relevance.h5"
    model = nn.Linear(2, 2)
    with Recorder(path, model, torch.rand(2, 2), torch.tensor([0, 1]), live=True) as recorder:
        recorder.record(0)
        recorder.flush()
        command = [sys.executable, "-m", "lrp_dynamics.commands.cli", "watch", str(path)]
        watching = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # the tests' own may be ignored
        )  # fmt: skip
        assert "1 steps" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert errors == "lrp-dynamics: interrupted\n"


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_an_animation_has_the_frames_asked_for(recording, tmp_path, capsys, suffix):
    output = tmp_path / f"maps.{suffix}"
    arguments = ["animate", str(recording), "--samples", "0", "4", "--frames", "5", "--output", str(output)]
    assert cli.main(arguments) == 0
    assert "5 of 40 steps" in capsys.readouterr().out
    with Image.open(output) as picture:
        assert (picture.n_frames, picture.size) == (5, (640, 424))
        frames = []
        for frame in range(5):
            picture.seek(frame)
            frames.append(np.asarray(picture.convert("RGB")).astype(int))
    # What is behind does not flicker: the name of the data, and the image of the first sample.
    for part in (np.s_[400:, :], np.s_[52:176, 30:156]):
        assert max(np.abs(frame[part] - frames[0][part]).max() for frame in frames) <= (0 if suffix == "gif" else 40)
    assert np.abs(frames[-1][52:176, 215:341] - frames[0][52:176, 215:341]).max() > 40  # the map


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg here")
def test_an_mp4_is_made_by_ffmpeg(recording, tmp_path):
    output = tmp_path / "a: b.mp4"
    assert cli.main(["animate", str(recording), "--samples", "0", "--frames", "5", "--output", str(output)]) == 0
    assert output.read_bytes()[4:8] == b"ftyp"
    told = subprocess.run(["ffmpeg", "-i", f"file:{output}"], capture_output=True, text=True).stderr
    assert "640x250" in told
    assert "00:00:02.00" in told  # five tenths of a second, and the last frame held


@pytest.mark.parametrize("shape", [(2, 30), (12,), (1, 4, 6, 5)])
def test_signals_tables_and_volumes_are_animated_too(tmp_path, shape):
    loop(tmp_path / "relevance.h5", 3, shape)
    command = ["animate", str(tmp_path / "relevance.h5"), "--samples", "1", "--output", str(tmp_path / "a.gif")]
    assert cli.main(command) == 0
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--samples", "6"], "--samples: found 6, expected rows from 0 to 5"),
        (["--samples", "-1"], "--samples: found -1, expected rows from 0 to 5"),
        (["--samples", *"012345012"], "--samples: found 9 of them, expected 8 at most"),
        (["--frames", "0"], "--frames: found 0, expected 1 to 500"),
        (["--fps", "nan"], "--fps: found nan, expected 0.1 to 50"),
        (["--output", "maps.avi"], "expected a name that ends in .gif, .webp, .mp4"),
        (["--output", "maps.mp4"], ".mp4 needs the program ffmpeg, which is not here; write .webp or .gif"),
    ],
)
def test_mistakes_are_told_before_anything_is_drawn(recording, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["animate", str(recording), "--output", "maps.gif", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_lists_every_command_in_its_group(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    out = capsys.readouterr().out
    names = list(cli.modules())
    assert all(f"\n  {name} " in out for name in names)
    headings = [out.index(f"{heading}:") for heading in cli.groups(names)]
    assert headings == sorted(headings)
    assert out.index("\n  watch ") < headings[1] < out.index("\n  explain ") < headings[2] < out.index("\n  train ")
    assert cli.main(["explian"]) == 2
    assert "there is no command 'explian'; did you mean explain" in capsys.readouterr().err


def test_a_command_shows_its_examples_below_its_arguments(capsys):
    with pytest.raises(SystemExit):
        cli.main(["explain", "--help"])
    out = capsys.readouterr().out
    assert out.index("--composite NAME") < out.index("examples:\n  lrp-dynamics explain cat.jpg --model vgg16")
