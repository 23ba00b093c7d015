"""After a power cut, which loses any part of what was not yet on the disk, the same command ends in the same bytes.

A command runs in a process that keeps account of what is on the disk for certain: what lay there when it began, and
each file and folder when it was synced. Just before it syncs or renames a file, it writes down what a cut at that
moment may leave, and kills itself.
"""

import json
import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lrp_dynamics.base.files import canonical_json, sha256
from lrp_dynamics.commands import cli
from lrp_dynamics.data import prepared, shapes10
from lrp_dynamics.data.download import Remote, fetch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the names in a folder that is open")
PAGE = 4096  # of which a disk writes all or nothing
PARAMS = {
    "model": "blog_cnn",
    "inputs": {"low": 0.0, "high": 1.0},
    "training": {"epochs": 2, "batch_size": 10, "optimizer": "adam", "learning_rate": 0.001, "threads": 1},
    "recording": {
        "samples": 6,
        "composites": {"plus": "z_plus", "box": "epsilon_gamma_box"},
        "maps": 4,
        "batch_size": 6,
    },
    "validation": {"share": 0.1, "seed": 0, "every": 0.5, "patience": None},
}
RESULTS = (
    *("plus/relevance.h5", "box/relevance.h5", "model.safetensors", "training.csv", "training.json", "validation.csv"),
)


class Disk:
    """What is on the disk for certain of a folder, and what may be there besides."""

    def __init__(self, root: Path, at: int | None, left: Path):
        self.root, self.at, self.left = root, at, left
        self.files: dict[int, bytes] = {}  # contents, by number of the file
        self.names: dict[int, dict[str, int]] = {}  # numbers of what is in a folder, by number of the folder
        self.open: dict[int, int] = {}
        self.early: list[str] = []  # renamed before their content was synced
        self.moments, self.process = 0, os.getpid()
        for path in [root, *root.rglob("*")]:
            self._keep(os.open(path, os.O_RDONLY))

    def _keep(self, opened: int) -> None:
        """Everything that is known by number stays open, so that its number is not given to another file."""
        number = os.fstat(opened).st_ino
        if os.path.isdir(opened):
            with os.scandir(opened) as entries:
                self.names[number] = {entry.name: entry.inode() for entry in entries}
            for name, known in self.names[number].items():
                if known not in self.open:
                    self.open[known] = os.open(f"/proc/self/fd/{opened}/{name}", os.O_PATH)
        else:
            self.files[number] = Path(f"/proc/self/fd/{opened}").read_bytes()

    def synced(self, opened: int) -> None:
        self._keep(os.open(f"/proc/self/fd/{opened}", os.O_RDONLY))  # locks stay with the first

    def before(self) -> None:
        """The power may be cut now."""
        if self.moments == self.at:
            now = {path.stat().st_ino: path for path in self.root.rglob("*") if path.is_file()}
            for name, (old, content) in WAYS.items():
                self._leave(self.root, self.left / name, old, content, now, {})
            os.kill(self.process, signal.SIGKILL)
        self.moments += 1

    def before_rename(self, source: str, target: str) -> None:
        if Path(target).is_relative_to(self.root) and not target.endswith(".damaged"):
            self.before()
            source = Path(source)
            if self.files.get(source.stat().st_ino) != source.read_bytes():
                self.early.append(f"{source} to {target}")

    def _leave(
        self,
        there: Path,
        here: Path,
        old: bool,
        content: Callable[[bytes, bytes], bytes],
        now: dict[int, Path],
        made: dict[int, Path],
    ) -> None:
        """Write what may be left of a folder; `made` are the files so far, some of which have two names."""
        here.mkdir(parents=True)
        entries = {entry.name: entry for entry in os.scandir(there)}
        folders = [name for name, entry in entries.items() if entry.is_dir()]
        for name in folders:
            self._leave(there / name, here / name, old, content, now, made)
        names = {name: entry.inode() for name, entry in entries.items()}
        if old:
            names = self.names.get(there.stat().st_ino, {})
        for name, number in names.items():
            if number in self.names or name in folders:
                continue
            if number in made:
                os.link(made[number], here / name)
                continue
            kept = self.files.get(number, b"")
            (here / name).write_bytes(content(kept, now[number].read_bytes() if number in now else kept))
            made[number] = here / name


def pages(kept: bytes, now: bytes, is_new: Callable[[], bool]) -> bytes:
    """The length is the new one; each page that has changed is the new one, or what was there before."""
    kept = kept[: len(now)].ljust(len(now), b"\0")
    parts = []
    for k in range(0, len(now), PAGE):
        old, new = kept[k : k + PAGE], now[k : k + PAGE]
        parts.append(new if old == new or is_new() else old)
    return b"".join(parts)


def cut(kept: bytes, now: bytes) -> bytes:
    return now[: (len(kept) + len(now)) // 2] if len(now) > len(kept) else now


# Whether names are those that were synced, and what of a file's content is there.
WAYS = {
    "nothing": (True, lambda kept, now: kept),
    "names": (False, lambda kept, now: kept),
    "contents": (True, lambda kept, now: now),
    "lengths": (False, partial(pages, is_new=lambda: False)),
    "some pages": (False, partial(pages, is_new=partial(random.Random(0).choice, [False, True]))),
    "a part": (False, cut),
}
# Of these, each file is one that was on the disk, or one that was complete.
SOUND = ("nothing", "names", "contents")


def run(call: Callable[[], int | None], root: Path, said: Path, at: int | None = None) -> tuple[int, int, list[str]]:
    """Run something in a process of its own; return its status, its syncs and renames, and what it renamed early.

    Parameters
    ----------
    call : callable
    root : Path
        Whose disk it is.
    said : Path
        Gets what it says.
    at : int, optional
        Before which of these the power is cut; what that may leave is written beside `said`.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            sys.stdout = sys.stderr = open(said, "w", encoding="utf-8")  # noqa: SIM115
            disk, fsync, lock = Disk(root, at, said.with_name("left")), os.fsync, threading.RLock()
            os.getpid = lambda: 7  # as in a container, where one process after the other has the same number

            def sync(opened: object) -> None:
                number = opened if isinstance(opened, int) else opened.fileno()
                with lock:
                    if Path(f"/proc/self/fd/{number}").resolve().is_relative_to(root):
                        disk.before()
                        fsync(number)
                        disk.synced(number)

            def audit(event: str, values: tuple) -> None:
                if event == "os.rename":
                    with lock:
                        disk.before_rename(*map(str, values[:2]))

            os.fsync = sync
            sys.addaudithook(audit)
            status = call() or 0
            os.write(writing, canonical_json([disk.moments, disk.early]).encode())
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        told = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    moments, early = json.loads(told or "[0, []]")
    return status, moments, early


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "shapes10.h5"
    options = {"title": "shapes10 (synthetic)", "n_train": 60, "n_test": 20, "preset": "easy", "label_noise": 0.1}
    prepared.write(path, shapes10.prepare("shapes10", options, path.parent))
    return path


def stage(name: str, data: Path, root: Path) -> Callable[[], int]:
    """One of the commands, from the training to the outliers."""
    out, maps = root / "run", root / "run" / "plus"
    arguments = {
        "train": [
            *("--data", data, "--params", canonical_json(PARAMS), "--seed", 7),
            *("--out", out, "--cache", root / "cache"),
        ],
        "dynamics": [
            *("--relevance", maps / "relevance.h5", "--out", maps / "dynamics.h5", "--samples", maps / "samples.csv")
        ],
        "blog-outliers": [
            *("--dynamics", maps / "dynamics.h5", "--samples", maps / "samples.csv"),
            *("--out", maps / "outliers.csv", "--metrics", maps / "metrics.json"),
        ],
    }
    return partial(cli.main, [name, *map(str, arguments[name])])


STAGES = {
    "train": RESULTS,
    "dynamics": ("plus/dynamics.h5", "plus/samples.csv"),
    "blog-outliers": ("plus/outliers.csv", "plus/metrics.json"),
}


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int, dict[str, str]]]:
    """Of each stage: the folder before it, how often it syncs or renames, and the SHA-256 of its results.

    Each file was on the disk before it got its name.
    """
    folder, known = tmp_path_factory.mktemp("undisturbed"), {}
    root = folder / "root"
    root.mkdir()
    for name, files in STAGES.items():
        assert stage(name, data, folder / "here")() == 0  # imports once what each process needs
        shutil.copytree(root, folder / f"before-{name}")
        status, moments, early = run(stage(name, data, root), root, folder / "said")
        assert status == 0, (folder / "said").read_text(encoding="utf-8")
        assert moments > 0
        assert early == []
        known[name] = folder / f"before-{name}", moments, {file: sha256(root / "run" / file) for file in files}
    return known


def cut_power(name: str, at: int, ways: list[str], undisturbed: dict, data: Path, folder: Path) -> str:
    """Cut it at a moment of a stage; whatever that leaves, the same command ends in the same bytes.

    Returns what it says then, of the last of the ways.
    """
    before, _, whole = undisturbed[name]
    root, said = folder / "root", folder / "said"
    shutil.copytree(before, root)
    status, _, _ = run(stage(name, data, root), root, said, at)
    assert status == -signal.SIGKILL, said.read_text(encoding="utf-8")
    for way in ways:
        shutil.rmtree(root)
        (folder / "left" / way).rename(root)
        saved = bool(list(root.glob("cache/*/checkpoint.pt")))
        status, _, _ = run(stage(name, data, root), root, said)
        told = said.read_text(encoding="utf-8")
        assert status == 0, (at, way, told)
        assert "Traceback" not in told
        assert {file: sha256(root / "run" / file) for file in whole} == whole, (at, way, told)
        assert not list(root.glob("cache/*"))
        if way in SOUND:  # nothing that was trained before a checkpoint is lost
            assert not saved or "set aside" not in told, (at, way, told)
    shutil.rmtree(folder)
    return told


@pytest.mark.parametrize("name", STAGES)
def test_a_cut_in_the_middle(name, undisturbed, data, tmp_path):
    cut_power(name, undisturbed[name][1] // 2, ["some pages"], undisturbed, data, tmp_path)


def test_a_cut_while_results_are_handed_over(undisturbed, data, tmp_path):
    """Before the last rename, which three folders are synced after; a file has a second name, for a process as ours."""
    told = cut_power("train", undisturbed["train"][1] - 4, ["names"], undisturbed, data, tmp_path)
    assert "this training has ended before; its results are handed over" in told


@pytest.mark.long
@pytest.mark.parametrize(("name", "first"), [("train", 0), ("dynamics", 0), ("blog-outliers", 0)])
def test_cuts_at_many_moments(name, first, undisturbed, data, tmp_path):
    """Before each sync and each rename; of a training, whose moments are many, before each eighth."""
    moments = range(first, undisturbed[name][1], 8 if name == "train" else 1)
    assert len(moments) >= 4
    for at in moments:
        cut_power(name, at, list(WAYS), undisturbed, data, tmp_path / str(at))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def test_a_cut_in_a_download(tmp_path: Path) -> None:
    """What came before may be zeros; the file gets its name when it is on the disk, and is right."""
    served, root, said = tmp_path / "served", tmp_path / "root", tmp_path / "said"
    served.mkdir()
    content = random.Random(0).randbytes(300_000)
    (served / "file").write_bytes(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    remote = Remote("file", [f"http://127.0.0.1:{server.server_port}/file"], sha256(served / "file"), len(content))

    def call() -> None:
        fetch(remote, root)

    try:
        root.mkdir()
        status, moments, early = run(call, root, said)
        assert (status, moments, early) == (0, 3, []), said.read_text(encoding="utf-8")
        for at in range(moments):
            shutil.rmtree(root)
            root.mkdir()
            assert run(call, root, said, at)[0] == -signal.SIGKILL
            for way in WAYS:
                shutil.rmtree(root)
                (tmp_path / "left" / way).rename(root)
                status, _, _ = run(call, root, said)
                assert status == 0, (at, way, said.read_text(encoding="utf-8"))
                assert (root / "file").read_bytes() == content, (at, way)
                assert not (root / "file.part").exists()
            shutil.rmtree(tmp_path / "left")
    finally:
        server.shutdown()
        server.server_close()
