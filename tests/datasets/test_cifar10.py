"""CIFAR-10: from a real HTTP server to the prepared file, and archives that are not what they should be."""

import gzip
import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.commands import cli
from lrp_dynamics.data import cifar10, prepared
from lrp_dynamics.data.cifar10 import read_members

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCH = 10_000 * 3073
NAMES = [f"cifar-10-batches-bin/{name}" for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")]


def pack(path, members):
    with gzip.open(path, "wb", compresslevel=1) as gz, tarfile.open(fileobj=gz, mode="w") as tar:
        for item, data in members:
            info = item if isinstance(item, tarfile.TarInfo) else tarfile.TarInfo(item)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture(scope="module")
def good():
    zeros = bytes(BATCH)
    return [*((name, zeros) for name in NAMES), ("cifar-10-batches-bin/batches.meta.txt", b"a\nb\n\n")]


def params(archive, url):
    return {
        "kind": "cifar10",
        "title": "CIFAR-10 (re-encoded)",
        "urls": [url],
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }


def test_real_images_from_a_server_to_the_prepared_file(cifar10_archive, shared_data, server, tmp_path, capsys):
    server.files["cifar.tar.gz"] = cifar10_archive.read_bytes()
    given = params(cifar10_archive, f"{server.url}/cifar.tar.gz")
    out, raw = tmp_path / "data" / "cifar10.h5", tmp_path / "raw"
    arguments = ["prepare", "--params", json.dumps(given), "--raw", str(raw), "--name", "cifar10", "--out", str(out)]
    assert cli.main(arguments) == 0
    assert "50000 training and 10000 test images of 3×32×32" in capsys.readouterr().out

    dataset = prepared.read(out)
    assert (dataset.name, dataset.title, list(dataset.classes)) == ("cifar10", "CIFAR-10 (re-encoded)", CLASSES)
    assert dataset.source == {"params": {key: value for key, value in given.items() if key != "urls"}}
    for split, each in ((prepared.TRAIN, 5000), (prepared.TEST, 1000)):
        assert np.bincount(dataset.labels[dataset.split == split]).tolist() == [each] * 10
    # Against the photographs themselves: upright, colours in order, and under the right label.
    tests = np.flatnonzero(dataset.split == prepared.TEST)
    label_of = {dataset.images[index].tobytes(): int(dataset.labels[index]) for index in tests}
    checked = 0
    with tarfile.open(shared_data / "cifar10" / "cifar10-jpeg.tar.xz") as tar:
        for member in tar:
            split, class_name, *_ = member.name.removeprefix("./").split("/") + ["", ""]
            if split == "test" and member.isfile():
                picture = np.asarray(Image.open(tar.extractfile(member)).convert("RGB"))
                assert label_of[picture.transpose(2, 0, 1).tobytes()] == CLASSES.index(class_name)
                checked += 1
            if checked == 200:
                break
    assert checked == 200


@pytest.mark.parametrize("fault", ["missing", "python version"])
def test_archives_that_lack_a_batch_are_refused(good, tmp_path, fault):
    rest = [member for member in good if "data_batch_3" not in member[0]]
    extra = {
        "missing": [],
        "python version": [("cifar-10-batches-py/data_batch_3", b"a pickle")],
    }
    archive = pack(tmp_path / "bad.tar.gz", rest[-2:] + extra[fault])
    with pytest.raises(UserError, match=r"bad\.tar\.gz lacks .*data_batch_3\.bin.* not the binary version"):
        read_members(archive)


@pytest.mark.parametrize("fault", ["text", "cut"])
def test_archives_that_cannot_be_read_are_refused(good, tmp_path, fault):
    whole = pack(tmp_path / "whole.tar.gz", good[-2:]).read_bytes()
    content = {"text": b"<html>log in first</html>", "cut": whole[: len(whole) // 2]}[fault]
    (tmp_path / "bad.tar.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.tar\.gz is not a gzip file that can be read"):
        read_members(tmp_path / "bad.tar.gz")


def test_wrong_labels_are_refused(good, tmp_path):
    wrong = [(name, b"\x63" + data[1:] if name == NAMES[0] else data) for name, data in good]
    archive = pack(tmp_path / "wrong.tar.gz", wrong)
    with pytest.raises(UserError, match="labels range from 0 to 99, but there are 2 classes"):
        cifar10.prepare("cifar10", params(archive, str(archive)), tmp_path)


def test_offline_the_command_prints_one_message_and_leaves_no_file(tmp_path, capsys):
    given = {"kind": "cifar10", "urls": ["http://127.0.0.1:9/cifar-10-binary.tar.gz"], "sha256": "0" * 64}
    out, raw = tmp_path / "cifar10.h5", tmp_path / "raw"
    arguments = ["prepare", "--params", json.dumps(given), "--raw", str(raw), "--name", "cifar10", "--out", str(out)]
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("lrp-dynamics: error: cifar-10-binary.tar.gz could not be had")
    assert "http://127.0.0.1:9/cifar-10-binary.tar.gz: connection refused" in said
    assert f"at {raw / 'cifar-10-binary.tar.gz'}" in said
    assert "`make demo` needs no download" in said
    assert not out.exists()
