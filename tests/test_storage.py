"""HDF5 files are opened in one way, and what lies in them is known to their own readers alone."""

import ast
from pathlib import Path

import h5py
import pytest

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data import prepared
from lrp_dynamics.recording.dynamics_file import open_dynamics
from lrp_dynamics.recording.store import open_relevance
from lrp_dynamics.studies.vgg16.results import PhotoRun

PACKAGE = Path(__file__).parents[1] / "src" / "lrp_dynamics"
# Who writes or reads files of a schema of its own. Everybody else asks one of these.
OWNERS = (
    *("base/hdf5.py", "base/disk.py", "recording/", "data/prepared.py", "studies/vgg16/writing.py"),
    "training/resume.py",  # digests of recordings that may be damaged
)
READERS = {
    "recording": (open_relevance, "lrp-dynamics/relevance"),
    "dynamics": (open_dynamics, "lrp-dynamics/dynamics"),
    "dataset": (prepared.read, "lrp-dynamics/dataset"),
    "images of a dataset": (lambda path: prepared.read_images(path, [0]), "lrp-dynamics/dataset"),
    "explanations": (lambda path: PhotoRun(path, "measures.csv", 4), "lrp-dynamics/photos"),
}


def reaches_through(package: Path) -> list[str]:
    """Return every line outside of the owners that imports h5py, or takes the HDF5 file out of a reader."""
    found = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package).as_posix()
        if place.startswith(OWNERS):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import) and any(alias.name == "h5py" for alias in node.names):
                found.append(f"{place}:{node.lineno}: import h5py")
            # The arguments of a command are a place for the name of a file.
            of_a_command = isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("args", "arguments")
            if isinstance(node, ast.Attribute) and node.attr == "file" and not of_a_command:
                found.append(f"{place}:{node.lineno}: {ast.unparse(node)}")
    return found


def test_only_its_own_reader_knows_what_lies_in_a_file():
    assert reaches_through(PACKAGE) == []


def test_a_module_that_reaches_through_a_reader_is_named(tmp_path):
    (tmp_path / "measures").mkdir()
    (tmp_path / "measures" / "mine.py").write_text(
        "def f(recording, arguments):\n"
        "    import h5py\n"
        "    print(arguments.file)\n"
        "    return recording.file['scalars/logit'][:]\n"
    )
    assert reaches_through(tmp_path) == ["measures/mine.py:2: import h5py", "measures/mine.py:4: recording.file"]


@pytest.mark.parametrize("name", READERS)
def test_every_reader_refuses_what_is_not_its_file_in_one_sentence(name, tmp_path):
    read, schema = READERS[name]
    with pytest.raises(UserError, match=r"none\.h5: found no such file, expected .+"):
        read(tmp_path / "none.h5")
    with pytest.raises(UserError, match=r"found a folder, expected .+"):
        read(tmp_path)
    (tmp_path / "text.h5").write_text("notes")
    with pytest.raises(UserError, match=r"text\.h5: HDF5 cannot open it: .+; expected .+"):
        read(tmp_path / "text.h5")
    for found, version in ((None, None), ("another", 1), (schema, 7)):
        with h5py.File(tmp_path / "other.h5", "w") as file:
            if found is not None:
                file.attrs.update({"schema": found, "schema_version": version})
        with pytest.raises(
            UserError, match=f"found schema {found!r} version {version}, expected '{schema}' version (1|2 or 1):"
        ):
            read(tmp_path / "other.h5")
