"""Copies of this project in temporary folders, with git and DVC repositories of their own and a pipeline made small."""

import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

CHECK = "dvc-yaml"
TINY_DATA = {"n_train": 60, "n_test": 20}
TINY_EXPERIMENT = {
    "training": {"epochs": 1, "batch_size": 10, "max_steps": 6, "threads": 1},
    "recording": {"samples": 8, "maps": 5, "batch_size": 2},
    "figures": {"samples": 1, "snapshots": 2},
}


PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def changed(key: str, value: object, params: dict = PARAMS) -> dict:
    """Return a copy of parameters in which a dotted key has another value."""
    params = copy.deepcopy(params)
    *parents, last = key.split(".")
    node = params
    for parent in parents:
        node = node[parent]
    node[last] = value
    return params


class Project:
    """One copy of the project: run its tools, and ask what they think."""

    def __init__(self, root: Path):
        self.root = root
        home = root.parent / f"{root.name}-home"
        home.mkdir(exist_ok=True)
        # Nothing of what the user has set for these tools, for colours or for the width of the terminal.
        foreign = ("DVC_", "GIT_", "SNAKEMAKE_", "SLURM_", "XDG_", "JUPYTER_", "IPYTHON", "FORCE_COLOR", "CLICOLOR")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        self.env |= {
            "PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]),
            "PYTHONPATH": str(root / "src"),
            "HOME": str(home),
            "DVC_SITE_CACHE_DIR": str(home / "dvc"),
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
            "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        (home / ".gitconfig").write_text(
            "[user]\n name = Test\n email = test@example.org\n[init]\n defaultBranch = main\n", encoding="utf-8"
        )

    def run(self, *command: str, ok: bool | None = True, **env: str) -> str:
        """Run a command; return all it prints. Its exit status must be as told: 0, not 0, or (None) either."""
        done = subprocess.run(
            command, cwd=self.root, env=self.env | env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert ok is None or (done.returncode == 0) == ok, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def snakemake(self, *arguments: str, ok: bool | None = True, **env: str) -> str:
        return self.run("snakemake", *arguments, ok=ok, **env)

    def dvc(self, *arguments: str, ok: bool | None = True, **env: str) -> str:
        return self.run("dvc", *arguments, ok=ok, **env)

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def commit(self, message: str = "test") -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    # What the tools think -------------------------------------------------------------------------------------------

    def planned(self, *targets: str) -> set[str]:
        """Return the stages that `snakemake -n` lists."""
        return set(self.jobs(self.snakemake("-n", *targets)))

    def jobs(self, log: str) -> list[str]:
        """Return the stages that a log of Snakemake announces, in order; by message where dvc.yaml has none such."""
        names = {stage["desc"]: name for name, stage in self.stages.items()}
        assert len(names) == len(self.stages), "two stages have the same description"
        return [names.get(message, message) for message in re.findall(r"^Job \d+: (.*)$", log, re.M)]

    @property
    def stages(self) -> dict:
        return yaml.safe_load((self.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

    @property
    def everything(self) -> set[str]:
        """The stages that make results."""
        return self.stages.keys() - {CHECK}

    def after(self, *names: str) -> set[str]:
        """Return these stages and all that depend on them."""
        return closure(self.stages, names)

    def dirty(self) -> set[str]:
        """Return the stages that `dvc status` lists."""
        return set(re.findall(r"^([\w-]+):", self.dvc("status"), re.M))

    def assert_clean(self) -> None:
        """Both tools find nothing to do."""
        assert self.planned() == set()
        assert self.dirty() == set()

    def assert_made(self, name: str) -> None:
        """Both tools find nothing to do but what comes after this stage."""
        behind = self.after(name) - {name}
        assert self.planned() == behind
        assert self.after(*self.dirty()) <= behind

    # Editing --------------------------------------------------------------------------------------------------------

    @property
    def params(self) -> dict:
        return yaml.safe_load((self.root / "params.yaml").read_text(encoding="utf-8"))

    def edit(self, key: str, value: object) -> None:
        """Set a dotted key of params.yaml."""
        self.write_params(changed(key, value, self.params))

    def write_params(self, params: dict) -> None:
        (self.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")

    def path(self, name: str) -> Path:
        return self.root / name

    def copy(self, target: Path) -> "Project":
        """Return a copy, times of files included."""
        shutil.copytree(self.root, target, symlinks=True)
        return Project(target)


def closure(stages: dict, names: Iterable[str]) -> set[str]:
    """Return the stages named and all that depend on them, by the content of a dvc.yaml."""
    made = {
        name: {next(iter(out)) if isinstance(out, dict) else out for out in outs_of(stage)}
        for name, stage in stages.items()
    }
    found = set(names)
    while more := {
        name
        for name, stage in stages.items()
        if name not in found and any(made[other].intersection(stage.get("deps", ())) for other in found)
    }:
        found |= more
    return found


def outs_of(stage: dict) -> list:
    return [*stage.get("outs", ()), *stage.get("metrics", ())]


def copy_of_project(target: Path) -> Project:
    """Copy every file that git tracks or would track, as it stands now."""
    listed = subprocess.run(
        # Also where the clone belongs to another user.
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        source = ROOT / name
        if source.is_file() and not source.is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    project = Project(target)
    project.git("init", "-q")
    return project


def make_tiny(project: Project) -> None:
    """Keep one dataset and one experiment, with few images and few steps."""
    params = project.params
    data, experiment = params["datasets"]["shapes10"] | TINY_DATA, params["experiments"]["demo"]
    for section, values in TINY_EXPERIMENT.items():
        experiment[section] |= values
    project.write_params(params | {"datasets": {"shapes10": data}, "experiments": {"demo": experiment}})


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny project in which `snakemake` has run; do not change it, take a `copy`."""
    project = copy_of_project(tmp_path_factory.mktemp("built") / "a naïve project")
    make_tiny(project)
    project.run(sys.executable, "workflow/scripts/dvc_yaml.py")
    project.commit("tiny")
    project.log = project.snakemake("--cores", "2")
    project.commit("built")
    return project


@pytest.fixture
def project(built: Project, tmp_path: Path) -> Project:
    """A copy of the built project to do anything with."""
    shutil.copytree(built.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")
