"""Every command that writes, on disks that are too small: one sentence, no half file, and on it goes.

Each command runs in a process of its own, so that one that dies of a signal is seen.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from lrp_dynamics.base import files
from lrp_dynamics.base.errors import StorageError
from lrp_dynamics.commands import cli
from lrp_dynamics.models import trained
from lrp_dynamics.studies.vgg16.weights import get_weights

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
PLUS = {"samples": 6, "composites": {"plus": "z_plus", "gradient": "gradient_x_input"}, "maps": 3, "batch_size": 3}
TRAIN = {
    "model": "homework_cnn",
    "inputs": {"low": -1.0, "high": 1.0},
    "training": {"epochs": 2, "batch_size": 10, "learning_rate": 0.01, "threads": 1, "device": "cpu"},
    "seed": 3,
}
BLOG = TRAIN | {"recording": {"samples": 6, "composite": "z_plus", "maps": 3, "batch_size": 3}}
HOMEWORK = {"model": "homework_cnn", "inputs": TRAIN["inputs"]}
HOMEWORK |= {"training": {"iterations": 12, "batch_size": 10, "learning_rate": 0.01, "threads": 1}}
HOMEWORK |= {"checkpoints": {"iterations": [2, 12], "test_images": 10}}
PHOTOS = {
    "images": 4,
    "composites": ["tutorial_vgg16"],
    "flipping": {"region": 8, "steps": 4, "fill": "blur"},
    "mprt_images": 2,
    "seed": 0,
    "threads": 1,
}
VGG11 = {"model": "vgg11_bn_narrow", "inputs": TRAIN["inputs"], "seed": 3}
VGG11 |= {"training": {"epochs": 1, "batch_size": 20, "learning_rate": 0.001, "threads": 1}}
VGG11_EXPLAIN = {
    "explanations": {"images": 3, "top_k": 0.02, "speed_images": 3, "batch_size": 3},
    "threads": 1,
    "device": "cpu",
    "seed": 0,
}
SPACE = {"training.learning_rate": [0.001, 0.01]}
TRIAL = VGG11 | {"validation": {"share": 0.2, "seed": 0, "every": 0.5, "patience": None}}
TRIAL |= {"sampler": "grid", "space": SPACE}
NOTEBOOK = """# %% tags=["parameters"]
inputs = {"image": ""}
params = {}
# %% [markdown]
# # An image
# %%
from IPython.display import Image, display
display(Image(inputs["image"]))
"""
DATASET = {"kind": "shapes10", "n_train": 60, "n_test": 30, "title": "shapes10 (synthetic)", "preset": "easy"}


def words(*arguments):
    return [json.dumps(a) if isinstance(a, dict) else str(a) for a in arguments]


def command(*arguments):
    assert cli.main(words(*arguments)) == 0


def train(made, out, params, *more):
    return (
        "train",
        "--data",
        made / "data.h5",
        "--params",
        params,
        "--out",
        out,
        "--cache",
        out.parent / "cache",
        *more,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the commands read, made by themselves on a disk with room."""
    made = tmp_path_factory.mktemp("made")
    Image.fromarray(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3)).save(made / "image.png")
    command("prepare", "--name", "shapes10", "--params", DATASET, "--raw", made, "--out", made / "data.h5")
    command(*train(made, made / "blog", BLOG))
    for shard in ("1/2", "2/2"):
        command(*train(made, made / shard[0], BLOG, "--shard", shard))
    command(*train(made, made / "rules", TRAIN | {"recording": PLUS}))
    command(*train(made, made / "vgg11", VGG11, "--no-record"))
    command(*train(made, made / "vgg16", VGG11 | {"model": "vgg16_narrow"}, "--no-record"))
    cache = ("--cache", made / "cache")
    command("homework-train", "--data", made / "data.h5", "--params", HOMEWORK, "--out", made / "homework", *cache)
    (made / "notebook.py").write_text(NOTEBOOK, encoding="utf-8")
    for k in range(2):
        command(*trial(made, made / f"trial-{k}", k))
    for name in ("dynamics", "blog-outliers"):
        command(*COMMANDS[name](made, made / "blog"))
    command("rules-compare", "--recordings", *recordings(made), *compared(made), "--out", made / "rules")
    return made


def trial(made, out, number):
    return (
        *("vgg11-trial", "--data", made / "data.h5", "--params", TRIAL, "--trial", number),
        *("--out", out, "--cache", out.parent / "cache"),
    )


def recordings(made):
    return [made / "rules" / name / "relevance.h5" for name in ("plus", "gradient")]


def compared(made):
    return ("--training", made / "rules" / "training.json", "--params", {})


def of_blog(made):
    names = {"relevance": "relevance.h5", "dynamics": "dynamics.h5", "samples": "samples.csv"}
    names |= {"outliers": "outliers.csv", "training": "training.csv"}
    return [f"{name}={made / 'blog' / file}" for name, file in names.items()]


# Each command, given what was made and the folder to write to.
COMMANDS = {
    "prepare": lambda made, out: (
        *("prepare", "--name", "shapes10", "--params", DATASET, "--raw", made, "--out", out / "data.h5"),
    ),
    "train": lambda made, out: train(made, out, TRAIN | {"recording": PLUS}),
    "gather": lambda made, out: ("gather", "--shards", made / "1", made / "2", "--out", out),
    "dynamics": lambda made, out: (
        *("dynamics", "--relevance", made / "blog" / "relevance.h5"),
        *("--out", out / "dynamics.h5", "--samples", out / "samples.csv"),
    ),
    "blog-outliers": lambda made, out: (
        *("blog-outliers", "--dynamics", made / "blog" / "dynamics.h5", "--samples", made / "blog" / "samples.csv"),
        *("--out", out / "outliers.csv", "--metrics", out / "metrics.json"),
    ),
    "export": lambda made, out: ("export", made / "blog" / "relevance.h5", "--npz", out / "maps.npz"),
    "explain": lambda made, out: (
        *("explain", made / "image.png", "--model", made / "blog" / "model.safetensors"),
        *("--composite", "z_plus", "--out", out),
    ),
    "figures": lambda made, out: (
        *("figures", "blog", "--figures", "dynamics_maps", "--inputs", *of_blog(made), "--out-dir", out),
    ),
    "rules-compare": lambda made, out: (
        "rules-compare",
        "--recordings",
        *recordings(made),
        *compared(made),
        "--out",
        out,
    ),
    "homework-train": lambda made, out: (
        *("homework-train", "--data", made / "data.h5", "--params", HOMEWORK),
        *("--out", out, "--cache", out.parent / "cache"),
    ),
    "homework-explain": lambda made, out: (
        *("homework-explain", "--data", made / "data.h5", "--params", HOMEWORK | {"explained": 5}, "--out", out),
        *("--checkpoints", made / "homework" / "checkpoints.safetensors"),
        *("--accuracy", made / "homework" / "accuracy.csv"),
    ),
    "vgg11-classify": lambda made, out: (
        *("vgg11-classify", "--model", made / "vgg11" / "model.safetensors", "--data", made / "data.h5"),
        *("--params", {}, "--out", out),
    ),
    "vgg11-explain": lambda made, out: (
        *("vgg11-explain", "--model", made / "vgg11" / "model.safetensors", "--data", made / "data.h5"),
        *("--params", VGG11_EXPLAIN, "--out", out),
    ),
    "vgg11-trial": lambda made, out: trial(made, out, 1),
    "vgg11-search": lambda made, out: (
        *("vgg11-search", "--name", "search", "--trials", *(made / f"trial-{k}" / "training.json" for k in range(2))),
        *("--params", {"search": {"sampler": "grid", "space": SPACE}, "dataset": "shapes10"}),
        *("--table", out / "search.csv", "--out-dir", out),
    ),
    "report": lambda made, out: (
        *("report", made / "notebook.py", "--inputs", f"image={made / 'image.png'}"),
        *("--ipynb", out / "report.ipynb", "--html", out / "report.html"),
    ),
    "vgg16-explain": lambda made, out: (
        *("vgg16-explain", "--model", made / "vgg16" / "model.safetensors", "--data", made / "data.h5"),
        *("--params", PHOTOS, "--maps", out / "explanations.h5", "--predictions", out / "predictions.csv"),
        *("--measures", out / "measures.csv", "--metrics", out / "metrics.json"),
    ),
}
# The kernel of a report needs files of its own, in the system's folder for temporary files.
LIMITED = [name for name in COMMANDS if name != "report"]
CHANGING = ("provenance.json", "speed.json", "report.ipynb")  # times, and where inputs lie from the notebook


def run(arguments, limit=None):
    """Run a command in a forked process; return its exit status (less than 0: a signal) and what it said.

    It says so into a pipe, which no limit on files concerns.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            sys.stdout, sys.stderr = (open(k, "w", encoding="utf-8", closefd=False) for k in (1, 2))  # noqa: SIM115
            if limit is not None:
                import resource

                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            status = cli.main(words(*arguments))
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(writing)
    with open(reading, encoding="utf-8", errors="replace") as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def contents(folder):
    """The digest of every file, hidden ones too."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def check_refusal(status, said, out, whole):
    """One sentence that names a file or folder of the disk, and under final names only what is whole."""
    told = [line for line in said.splitlines() if line.startswith("lrp-dynamics: error: ")]
    assert status == 2, (status, said[-3000:])
    assert len(told) == 1, said[-3000:]
    assert said.rstrip().endswith(told[0])
    assert "Traceback" not in said
    assert str(out.parent) in told[0], told
    found = contents(out) if out.exists() else {}
    for name, digest in found.items():
        assert name in whole, (name, said)
        assert digest == whole[name] or name.endswith(CHANGING), (name, said)


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """What each command writes where there is room, and the bytes that takes."""
    known = {}

    def of(name):
        if name not in known:
            out = tmp_path_factory.mktemp("whole") / "out"
            status, said = run(COMMANDS[name](made, out))
            assert status == 0, said[-3000:]
            known[name] = contents(out), sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        return known[name]

    return of


def agree(found, whole):
    assert found.keys() == whole.keys()
    assert [n for n in found if found[n] != whole[n] and not n.endswith(CHANGING)] == []


def probe_limit(name, made, whole, folder, share):
    """Under a limit on the size of files, a share of 1 MiB."""
    complete, _ = whole
    out = folder / "out"
    limit = max(1, int(share * 2**20))
    status, said = run(COMMANDS[name](made, out), limit)
    if status == 0:
        agree(contents(out), complete)
        return
    check_refusal(status, said, out, complete)
    status, said = run(COMMANDS[name](made, out))
    assert status == 0, said[-3000:]
    agree(contents(out), complete)


@pytest.mark.parametrize("name", ["prepare", "train", "dynamics", "explain", "homework-explain", "vgg16-explain"])
def test_a_limit_on_the_size_of_files(name, made, whole, tmp_path):
    """Of one byte: nothing can be written."""
    probe_limit(name, made, whole(name), tmp_path, 0)


@pytest.mark.long
@pytest.mark.parametrize("share", [0.05, 1.5])
@pytest.mark.parametrize("name", LIMITED)
def test_many_limits_on_the_size_of_files(name, share, made, whole, tmp_path):
    probe_limit(name, made, whole(name), tmp_path, share)


@pytest.fixture
def disk(tmp_path):
    """Returns a function that makes a disk of so many bytes, or gives the one that it made another size."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size):
        again = ["remount,"] if os.path.ismount(folder) else [""]
        options = f"{again[0]}size={size}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False, capture_output=True
        )
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.decode().strip()}")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", folder], check=True)


def probe_disk(name, made, whole, disk, share):
    complete, size = whole
    folder = disk(max(4096, int(share * size)) // 4096 * 4096)
    out = folder / "out"
    status, said = run(COMMANDS[name](made, out))
    if status == 0:
        agree(contents(out), complete)
        return
    check_refusal(status, said, out, complete)
    disk(2**28)
    status, said = run(COMMANDS[name](made, out))
    assert status == 0, said[-3000:]
    agree(contents(out), complete)


@pytest.mark.parametrize("name", ["prepare", "train", "dynamics", "export", "gather"])
def test_a_disk_of_half_the_size(name, made, whole, disk):
    probe_disk(name, made, whole(name), disk, 0.5)


@pytest.mark.long
@pytest.mark.parametrize("share", [0.25, 1, 1.6])
@pytest.mark.parametrize("name", COMMANDS)
def test_disks_of_many_sizes(name, share, made, whole, disk):
    probe_disk(name, made, whole(name), disk, share)


def test_published_weights_on_a_disk_of_half_the_size(made, disk, tmp_path):
    """Of a small network: those that the command knows have half a gigabyte."""
    source = tmp_path / "weights.pt"
    torch.save(trained.load(str(made / "vgg11" / "model.safetensors")).model.state_dict(), source)
    out = disk(source.stat().st_size // 8192 * 4096) / "out" / "model.safetensors"
    words = ("vgg11_bn_narrow", "shapes10", [str(source)], files.sha256(source))
    with pytest.raises(StorageError, match="cannot be written, since the disk of") as told:
        get_weights(*words, raw=tmp_path, out=out)
    assert str(out) in str(told.value)
    assert list(out.parent.iterdir()) == []
    disk(2**28)
    get_weights(*words, raw=tmp_path, out=out)
    assert list(out.parent.iterdir()) == [out]
