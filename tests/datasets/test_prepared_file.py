"""The one layout of datasets: what is written is read, wrong content is refused, equal data give equal bytes."""

import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data import prepared
from lrp_dynamics.data.prepared import Prepared


@pytest.fixture
def dataset():
    images = np.arange(4 * 3 * 5 * 6, dtype=np.uint32).astype(np.uint8).reshape(4, 3, 5, 6)
    return Prepared(
        name="tiny",
        title="Tiny (made up)",
        classes=("ä", "b"),
        images=images,
        labels=np.array([0, 1, 1, 0], dtype=np.int16),
        labels_clean=np.array([0, 1, 0, 0], dtype=np.int16),
        split=np.array([0, 0, 0, 1], dtype=np.uint8),
        mask=images[:, 0] % 3,
        factors={"contrast": np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32), "index": np.arange(4)},
        source={"params": {"kind": "tiny", "seed": 1}},
    )


def test_what_is_written_is_read(dataset, tmp_path):
    prepared.write(tmp_path / "data" / "tiny.h5", dataset)
    back = prepared.read(tmp_path / "data" / "tiny.h5")
    assert (back.name, back.title, back.classes, back.source) == ("tiny", "Tiny (made up)", ("ä", "b"), dataset.source)
    for key in ("images", "labels", "labels_clean", "split", "mask"):
        np.testing.assert_array_equal(getattr(back, key), getattr(dataset, key), strict=True)
    assert back.factors.keys() == dataset.factors.keys()
    for key, values in dataset.factors.items():
        np.testing.assert_array_equal(back.factors[key], values, strict=True)


def test_mask_and_factors_may_be_missing(dataset, tmp_path):
    prepared.write(tmp_path / "tiny.h5", replace(dataset, mask=None, factors={}))
    back = prepared.read(tmp_path / "tiny.h5")
    assert back.mask is None
    assert back.factors == {}


def test_the_file_follows_the_schema(dataset, tmp_path):
    prepared.write(tmp_path / "tiny.h5", dataset)
    with h5py.File(tmp_path / "tiny.h5") as file:
        assert dict(file.attrs) == {
            "schema": "lrp-dynamics/dataset",
            "schema_version": 1,
            "name": "tiny",
            "title": "Tiny (made up)",
            "classes": '["\\u00e4", "b"]',
            "source_json": '{"params":{"kind":"tiny","seed":1}}',
        }
        found = {key: (file[key].dtype.str, file[key].shape) for key in ("images", "labels", "split", "mask")}
        assert found == {
            "images": ("|u1", (4, 3, 5, 6)),
            "labels": ("<i2", (4,)),
            "split": ("|u1", (4,)),
            "mask": ("|u1", (4, 5, 6)),
        }
        assert set(file["factors"]) == {"contrast", "index"}


def test_equal_datasets_give_equal_bytes(dataset, tmp_path):
    prepared.write(tmp_path / "one.h5", dataset)
    time.sleep(1.1)  # HDF5 can store creation times, in seconds
    prepared.write(tmp_path / "two.h5", dataset)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": np.zeros((4, 3, 5, 6))}, "images is float64"),
        ({"images": np.zeros((4, 5, 6), np.uint8)}, "images is uint8 with 3 dimensions"),
        ({"labels": np.zeros(3, np.int16)}, r"labels has shape \(3,\)"),
        ({"labels": np.array([0, 1, 2, 0], np.int16)}, "labels range from 0 to 2, but there are 2 classes"),
        ({"labels_clean": np.array([0, -1, 1, 0], np.int16)}, "labels_clean range from -1 to 1"),
        ({"split": np.array([0, 1, 2, 0], np.uint8)}, "split holds 2"),
        ({"mask": np.zeros((4, 6, 5), np.uint8)}, r"mask has shape \(4, 6, 5\)"),
        ({"factors": {"depth": np.zeros(5)}}, r"factors/depth has shape \(5,\)"),
    ],
)
def test_wrong_content_is_refused(dataset, change, said):
    with pytest.raises(UserError, match=said):
        replace(dataset, **change)


def test_files_that_are_no_dataset_are_refused(dataset, tmp_path):
    with pytest.raises(UserError, match=r"absent.h5: found no such file, expected a prepared dataset"):
        prepared.read(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("not HDF5", encoding="utf-8")
    with pytest.raises(UserError, match="HDF5 cannot open it"):
        prepared.read(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(UserError, match="found schema None"):
        prepared.read(tmp_path / "other.h5")
    prepared.write(tmp_path / "later.h5", dataset)
    with h5py.File(tmp_path / "later.h5", "r+") as file:
        file.attrs["schema_version"] = 2
    with pytest.raises(UserError, match="version 2, expected"):
        prepared.read(tmp_path / "later.h5")
