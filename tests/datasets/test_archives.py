"""Archives made to do harm, with a checksum that says they are right: refused in a sentence, with nothing written."""

import gzip
import hashlib
import json
import random
import struct
import subprocess
import sys
import tarfile
import warnings
import zipfile

import pytest
import torch
from waiting import LIMIT

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.commands import cli
from lrp_dynamics.data.archives import check_zip, gunzip
from lrp_dynamics.data.cifar10 import prepare, read_members
from lrp_dynamics.data.mnist import read_idx
from lrp_dynamics.studies.vgg16.weights import get_weights

BATCH = 10_000 * 3073
FOLDER = "cifar-10-batches-bin/"
NAMES = [FOLDER + name for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")]
CLASSES = (f"{FOLDER}batches.meta.txt", b"a\nb\n")


def member(name, kind=tarfile.REGTYPE, data=b"", link="", size=None, pax=None):
    """One member as it stands in a tar file; what it says of its size may be untrue."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data) if size is None else size
    info.pax_headers = pax or {}
    return info.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def pack(path, *members, end=bytes(1024)):
    path.write_bytes(gzip.compress(b"".join(members) + end, 1))
    return path


@pytest.fixture(scope="module")
def good():
    zeros = bytes(BATCH)
    return [*(member(name, data=zeros) for name in NAMES), member(CLASSES[0], data=CLASSES[1])]


def test_a_good_archive_with_small_files_beside_the_seven_is_read(good, tmp_path):
    folder = member(FOLDER, tarfile.DIRTYPE)
    archive = pack(tmp_path / "good.tar.gz", folder, *good, member(f"{FOLDER}readme.html", data=b"read me"))
    assert {len(data) for name, data in read_members(archive).items() if name.endswith(".bin")} == {BATCH}


HOSTILE = {
    "up": (member("../../escaped.txt", data=b"evil"), "leads out of the archive"),
    "up within": (member(f"{FOLDER}../data_batch_1.bin", data=b"evil"), "leads out of the archive"),
    "up in a long name": (member("x/" * 100 + "../" * 102 + "escaped", data=b"evil"), "leads out of the archive"),
    "absolute": (member("/tmp/escaped.txt", data=b"evil"), "leads out of the archive"),
    "absolute in an extended header": (
        member("harmless", data=b"evil", pax={"path": "/tmp/escaped.txt"}),
        "leads out of the archive",
    ),
    "folder above": (member("..", tarfile.DIRTYPE), "leads out of the archive"),
    "link": (member(NAMES[0], tarfile.SYMTYPE, link="/etc/passwd"), "is neither a file nor a folder"),
    "link of another name": (member("readme", tarfile.SYMTYPE, link="/etc/passwd"), "is neither a file nor a folder"),
    "link for the folder": (member(FOLDER[:-1], tarfile.SYMTYPE, link="/etc"), "is neither a file nor a folder"),
    "hard link": (member(NAMES[0], tarfile.LNKTYPE, link="/etc/passwd"), "is neither a file nor a folder"),
    "pipe": (member(NAMES[5], tarfile.FIFOTYPE), "is neither a file nor a folder"),
    "disk": (member("sda", tarfile.BLKTYPE), "is neither a file nor a folder"),
    "terminal": (member("tty", tarfile.CHRTYPE), "is neither a file nor a folder"),
    "sparse": (
        member(NAMES[0], pax={"GNU.sparse.size": str(BATCH), "GNU.sparse.map": "0,0"}),
        "is neither a file nor a folder",
    ),
    "short": (member(NAMES[2], data=bytes(3073)), "has 3,073 bytes, expected 30,730,000"),
    "long": (member(NAMES[2], data=bytes(BATCH + 1)), "has 30,730,001 bytes, expected 30,730,000"),
    "long classes": (member(CLASSES[0], data=b"a\n" * 600), "has 1,200 bytes, expected at most 1,000"),
    "negative size": (member(NAMES[2], size=-512), "has -512 bytes"),
    "negative size in an extended header": (member(NAMES[2], pax={"size": "-512"}), "has -512 bytes"),
    "larger than the archive": (member("huge", size=2**60), "unexpected end of data"),
    "size that is no number": (member("x", pax={"size": "many"}), "is not|lacks"),
    "name of escape codes": (member("\x1b[31mred", tarfile.SYMTYPE), r"'\\x1b\[31mred' is neither"),
    "extended header without end": (
        member("x", tarfile.XHDTYPE, data=b"999999999 path=x\n"),
        "is not a readable .tar.gz|lacks",
    ),
    "headers in headers": (member("x", tarfile.GNUTYPE_LONGNAME, data=b"y") * 3000, "is not a readable .tar.gz|lacks"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_members_are_refused(kind, tmp_path, monkeypatch):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    hostile, said = HOSTILE[kind]
    archive = pack(folder / "evil.tar.gz", hostile)
    with pytest.raises(UserError, match=said) as caught:
        read_members(archive)
    assert str(archive) in str(caught.value)
    assert str(caught.value).isprintable()
    assert [path.name for path in tmp_path.rglob("*") if not path.is_dir()] == ["evil.tar.gz"]


@pytest.mark.parametrize("name", [NAMES[3], f"./{NAMES[3]}", "data_batch_4.bin", f"{FOLDER}/./data_batch_4.bin"])
def test_a_member_is_there_once(name, tmp_path):
    batch = bytes(BATCH)
    archive = pack(tmp_path / "twice.tar.gz", member(NAMES[3], data=batch), member(name, data=batch))
    with pytest.raises(UserError, match="is there twice"):
        read_members(archive)


def test_class_names_are_plain_text(good, tmp_path):
    for text in (b"\xff\xfe\n", b"a\x1b[31m\n", "é".encode()):
        archive = pack(tmp_path / "names.tar.gz", *good[:6], member(CLASSES[0], data=text))
        params = {"urls": [str(archive)], "sha256": hashlib.sha256(archive.read_bytes()).hexdigest()}
        with pytest.raises(UserError, match="expected names of classes in plain text"):
            prepare("cifar10", params, tmp_path)


MEASURED = """
import resource, sys
from pathlib import Path
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data.cifar10 import read_members
from lrp_dynamics.data.mnist import read_idx
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    {"tar": read_members, "idx": read_idx}[sys.argv[1]](Path(sys.argv[2]))
except UserError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // (1 if sys.platform == "linux" else 1024))
"""


def bomb(path, begin=b""):
    """Write a gzip file of 2 GiB of zeros behind `begin`, a thousandth of that large."""
    path.write_bytes(gzip.compress(begin) + 32 * gzip.compress(bytes(2**26)))
    return path


@pytest.mark.parametrize("kind", ["member", "behind the end", "extended header", "one file", "digits", "huge header"])
def test_a_bomb_does_not_go_off(kind, tmp_path):
    begin = {
        "member": member("zeros", size=2**31),
        "behind the end": member("x") + bytes(1024),
        "extended header": member("x", tarfile.XHDTYPE, size=2**31),
        "one file": b"",
        "digits": struct.pack(">HBBIII", 0, 8, 3, 10, 28, 28),
        "huge header": struct.pack(">HBBIII", 0, 8, 3, 2**31 // 784, 28, 28),
    }[kind]
    path = bomb(tmp_path / "bomb.gz", begin)
    arguments = [sys.executable, "-c", MEASURED, "idx" if kind in ("digits", "huge header") else "tar", path]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT, check=True)
    said, grown = result.stdout.splitlines()
    assert "unpacks to more than" in said or "its header declares 2,147," in said
    assert int(grown) < 500_000  # kB, of the 2 GB that are in it


@pytest.mark.skipif(sys.platform != "linux", reason="this system does not limit the memory of a process")
def test_a_header_cannot_ask_for_more_memory_than_the_file_can_fill(tmp_path):
    (tmp_path / "small.gz").write_bytes(gzip.compress(struct.pack(">HBBIII", 0, 8, 3, 2**30 // 784, 28, 28)))
    little = """
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
try:"""
    program = MEASURED.replace("\ntry:", little)
    arguments = [sys.executable, "-c", program, "idx", tmp_path / "small.gz"]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert "found 16 bytes, its header declares 1,073,741,328" in result.stdout


@pytest.mark.parametrize("fault", ["wrong checksum", "cut", "followed by text"])
def test_a_gzip_file_is_read_to_its_end(fault, tmp_path):
    whole = gzip.compress(bytes(1000))
    content = {"wrong checksum": whole[:-8] + bytes(8), "cut": whole[:-4], "followed by text": whole + b"text"}[fault]
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.gz is not a gzip file that can be read"):
        gunzip(tmp_path / "x.gz", 1000)


@pytest.mark.parametrize("shape", [(), (0, 28, 28), (5,) * 4, (2**31, 2**31, 2**31), (2**32 - 1,)])
def test_idx_headers_of_impossible_shapes(shape, tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)))
    with pytest.raises(UserError, match=r"x\.gz is not"):
        read_idx(tmp_path / "x.gz")


def test_damaged_archives_never_end_in_a_traceback(tmp_path):
    chance = random.Random(0)
    parts = [hostile for hostile, _ in HOSTILE.values() if len(hostile) < 10_000]
    path = tmp_path / "x.tar.gz"
    for _ in range(300):
        content = bytearray(b"".join(chance.sample(parts, 3)))
        for _ in range(chance.randint(1, 20)):
            content[chance.randrange(min(len(content), 2048))] = chance.choice((0, 32, 48, 55, 128, 255))
        pack(path, bytes(content))
        with pytest.raises(UserError):
            read_members(path)


@pytest.fixture
def weights(tmp_path):
    torch.save({"layer.weight": torch.zeros(1000, 1000)}, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_weights_as_torch_writes_them_pass(weights, tmp_path):
    check_zip(weights)
    torch.save({"x": torch.ones(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    check_zip(tmp_path / "old.pth")


@pytest.mark.parametrize("fault", ["compressed", "twice", "no directory"])
def test_weights_that_unpack_to_more_are_refused_before_they_are_read(weights, tmp_path, fault):
    bad = tmp_path / "bad.pth"
    if fault == "no directory":
        bad.write_bytes(weights.read_bytes()[:-100])
    else:
        with zipfile.ZipFile(weights) as source, zipfile.ZipFile(bad, "w") as target:
            for entry in source.infolist():
                packed = zipfile.ZIP_DEFLATED if fault == "compressed" else zipfile.ZIP_STORED
                for _ in range(2 if fault == "twice" else 1):
                    with warnings.catch_warnings(action="ignore"):  # of the second name
                        target.writestr(entry.filename, source.read(entry), packed)
    checksum = hashlib.sha256(bad.read_bytes()).hexdigest()
    with pytest.raises(UserError, match=r"bad\.pth (has .* and unpacks to|holds two parts|is not a zip file)"):
        get_weights("vgg11", "x", [str(bad)], checksum, raw=tmp_path, out=tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_the_command_says_so_in_one_sentence_and_writes_nothing(tmp_path, capsys):
    archive = pack(tmp_path / "evil.tar.gz", HOSTILE["up"][0])
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    given = {"kind": "cifar10", "urls": [str(archive)], "sha256": checksum, "bytes": archive.stat().st_size}
    out = tmp_path / "cifar10.h5"
    arguments = ["--params", json.dumps(given), "--raw", str(tmp_path / "raw"), "--name", "cifar10", "--out", str(out)]
    assert cli.main(["prepare", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar.gz"]
