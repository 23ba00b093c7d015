"""What is written lies where its name says: no link is followed, no folder replaced, nothing left half done."""

import errno
import os
from pathlib import Path

import h5py
import pytest
import torch
from synthetic import maps_of_a_walk, write_recording
from torch import nn

from lrp_dynamics import Recorder
from lrp_dynamics.base import disk
from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.base.files import atomic, atomic_folder, check_output, make_folder, temporary_of, write_json
from lrp_dynamics.base.locks import Lock, holder
from lrp_dynamics.commands import cli


def test_a_link_is_not_written_through(tmp_path):
    kept = tmp_path / "kept.json"
    kept.write_text("{}")
    for name, target in {
        "link.json": kept,
        "to_nothing.json": tmp_path / "nothing",
        "to_itself.json": "to_itself.json",
    }.items():
        (tmp_path / name).symlink_to(target)
        with pytest.raises(UserError, match=rf"{name}: found a symbolic link to .*, expected the name of a file"):
            write_json(tmp_path / name, {"a": 1})
        assert (tmp_path / name).is_symlink()
    assert kept.read_text() == "{}"
    assert not (tmp_path / "nothing").exists()


def test_a_folder_that_is_a_link_is_written_into(tmp_path):
    """As where results lie on another disk."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    write_json(tmp_path / "link" / "a.json", {})
    assert (tmp_path / "folder" / "a.json").read_text() == "{}\n"


def test_folders_and_pipes_are_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, found in {"folder": "a folder", "pipe": "a device or pipe"}.items():
        with pytest.raises(UserError, match=f"{name}: found {found}"):
            write_json(tmp_path / name, {})


def test_a_link_under_the_temporary_name_is_refused(tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("kept")
    temporary = temporary_of(tmp_path / "a.json")
    temporary.symlink_to(kept)
    with pytest.raises(UserError, match=r"\.a\.\d+\.part\.json: found a symbolic link"):
        write_json(tmp_path / "a.json", {})
    assert kept.read_text() == "kept"
    assert not (tmp_path / "a.json").exists()


def arguments():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    return model, torch.rand(2, 1, 8, 8), torch.tensor([0, 1])


def test_recordings_are_not_written_through_links(tmp_path, capsys):
    path = write_recording(tmp_path / "r.h5", maps_of_a_walk(20, 4))
    link = tmp_path / "link.h5"
    link.symlink_to(path)
    with h5py.File(path, "r+") as file:
        file.attrs["complete"] = False
    content = path.read_bytes()
    with pytest.raises(UserError, match="found a symbolic link"):
        Recorder(link, *arguments(), overwrite=True)
    assert cli.main(["recover", str(link)]) == 2
    assert "found a symbolic link" in capsys.readouterr().err
    assert path.read_bytes() == content
    assert sorted(found.name for found in tmp_path.iterdir()) == ["link.h5", "r.h5"]
    assert cli.main(["info", str(link)]) == 0  # reading is harmless


def test_a_full_disk_is_told_with_the_path(tmp_path):
    def write(number):
        with atomic(tmp_path / "new" / "a.txt") as temporary:
            temporary.write_text("half of it")
            raise OSError(number, os.strerror(number))

    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
        with pytest.raises(StorageError, match=r"new/a\.txt: cannot be written, since the disk of .*new does not take"):
            write(number)
    assert list(tmp_path.rglob("*.*")) == []


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(PermissionError), atomic(tmp_path / "a.txt"):
        raise PermissionError(errno.EACCES, "no")


def test_a_lock_is_released_although_its_text_could_not_be_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    with Lock(tmp_path / "r.h5"):
        with pytest.raises(StorageError):
            Lock(tmp_path / "r.h5")
        assert holder(tmp_path / "r.h5") == "another process"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_hdf5_under_a_limit_on_files_ends_no_process(tmp_path):
    """Room is taken before HDF5 needs it; where even its head has none, nothing stays."""
    import resource

    for limit in (1, 100, 210, 1000, 2**20):
        child = os.fork()
        if child == 0:
            status = 9
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                status = _refused(tmp_path)
            finally:
                os._exit(status)  # and never go on with the tests
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, limit
        assert not (tmp_path / "made.h5").exists()


def _refused(folder):
    try:
        with disk.new_file(folder / "new.h5", 2**21) as file:
            file["a"] = 0
        return 1
    except OSError as error:
        if error.errno != errno.EFBIG:
            return 2
    try:
        disk.create(folder / "made.h5", 2**21).close()
        return 3
    except StorageError:
        return 0


def test_a_folder_that_nothing_can_be_written_into_is_told_first(tmp_path):
    (tmp_path / "file").touch()
    for write in (atomic, atomic_folder):
        with pytest.raises(UserError, match=r"deep: cannot be a folder, since .*file is none; name another"):
            write(tmp_path / "file" / "deep" / "x.csv").__enter__()
    if Path("/proc/self").is_dir():
        with pytest.raises(UserError, match=r"/proc/nothing: cannot be (made|written into)"):
            make_folder(Path("/proc/nothing"))
    (tmp_path / "closed").mkdir(mode=0o555)
    if os.access(tmp_path / "closed", os.W_OK):
        pytest.skip("root may write everywhere")
    with pytest.raises(UserError, match=r"since you have no permission to write in .*closed; name another folder"):
        check_output(tmp_path / "closed" / "deep" / "x.csv")
