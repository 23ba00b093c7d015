"""Folders of images: every format, orientation, transparency; broken files named and left out; stable splits."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data import folder
from lrp_dynamics.data.folder import read_image

ORIENTATION = 0x0112


@pytest.fixture
def corner():
    """White, with a red upper left quarter."""
    image = Image.new("RGB", (64, 64), "white")
    image.paste("red", (0, 0, 32, 32))
    return image


def is_red(image, row, column):
    return image[0, row, column] > 200 and image[1, row, column] < 60


def fill(root, classes, count=10):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (40, 30), (number * 100, index * 20, 0)).save(root / name / f"{index:02}.png")


def test_sub_folders_become_classes(tmp_path):
    fill(tmp_path / "pets", ["dog", "cat"])
    dataset = folder.prepare("pets", {"path": str(tmp_path / "pets"), "size": 8, "test_fraction": 0.3, "seed": 1})
    assert (dataset.name, dataset.title, dataset.classes) == ("pets", "pets", ("cat", "dog"))
    assert dataset.images.shape == (20, 3, 8, 8)
    assert dataset.labels.tolist() == [0] * 10 + [1] * 10
    np.testing.assert_array_equal(dataset.images[:, 0, 4, 4], [100] * 10 + [0] * 10)
    np.testing.assert_array_equal(dataset.images[:, 1, 4, 4], [index * 20 for index in range(10)] * 2)
    assert [int(dataset.split[dataset.labels == label].sum()) for label in (0, 1)] == [3, 3]
    assert sorted(dataset.source["sha256"])[0] == "cat/00.png"


def test_the_split_depends_on_the_seed_and_a_new_file_moves_few(tmp_path):
    fill(tmp_path, ["a"], 40)
    chosen = {}
    for seed in (0, 0, 1):
        chosen.setdefault(seed, []).append(folder.prepare("x", {"path": str(tmp_path), "seed": seed}).split)
    np.testing.assert_array_equal(*chosen[0])
    assert (chosen[0][0] != chosen[1][0]).any()
    Image.new("RGB", (9, 9)).save(tmp_path / "a" / "zz.png")
    after = folder.prepare("x", {"path": str(tmp_path), "seed": 0}).split
    assert (after[:40] != chosen[0][0]).sum() <= 1


def test_a_second_folder_is_the_test_split_and_grey_has_one_channel(tmp_path):
    fill(tmp_path / "pets" / "train", ["dog", "cat"], 5)
    fill(tmp_path / "pets" / "test", ["cat", "dog"], 3)
    (tmp_path / "pets" / "test" / "cat" / "bad.png").write_bytes(b"")
    params = {"path": f"{tmp_path}/pets/train", "test_path": f"{tmp_path}/pets/test", "size": 8, "channels": 1}
    with pytest.warns(UserWarning, match=r"left out: .*bad\.png"):
        dataset = folder.prepare("pets", params)
    assert dataset.images.shape == (16, 1, 8, 8)
    assert dataset.labels.tolist() == [0] * 8 + [1] * 8
    assert dataset.split.tolist() == ([0] * 5 + [1] * 3) * 2
    assert dataset.source["left_out"] == ["test/cat/bad.png"]
    (tmp_path / "pets" / "test" / "owl").mkdir()
    with pytest.raises(UserError, match=r"must have the same sub-folders; only one of them has 'owl'"):
        folder.prepare("pets", params)
    with pytest.raises(UserError, match=r"sub-folders of .*pets are test, train, expected one per class; set `path`"):
        folder.prepare("pets", {"path": f"{tmp_path}/pets"})


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tiff", "webp", "gif", "ppm"])
def test_formats(corner, tmp_path, suffix):
    corner.save(tmp_path / f"image.{suffix}")
    image = read_image(tmp_path / f"image.{suffix}", 16)
    assert image.shape == (3, 16, 16)
    assert image.dtype == np.uint8
    assert is_red(image, 3, 3)
    assert image[:, 12, 12].min() > 240


@pytest.mark.parametrize(
    ("orientation", "row", "column"), [(1, 0, 0), (2, 0, 1), (3, 1, 1), (4, 1, 0), (6, 0, 1), (8, 1, 0)]
)
def test_the_cameras_orientation_is_applied(corner, tmp_path, orientation, row, column):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    corner.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    assert is_red(read_image(tmp_path / "photo.jpg", 16), 3 + 9 * row, 3 + 9 * column)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "RGBA", "LA", "I;16", "YCbCr"])
def test_colour_modes(tmp_path, mode):
    grey = np.full((20, 20), 255, np.uint8)
    grey[:, :10] = 0
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    path = tmp_path / ("image.tiff" if mode in ("CMYK", "I;16", "YCbCr") else "image.png")
    image.save(path)
    seen = read_image(path, 20)
    assert seen[:, 10, 2].max() < 5
    assert seen[:, 10, 17].min() > 250


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_deep_grey_is_scaled_not_clipped(tmp_path, dtype):
    Image.fromarray(np.full((8, 8), 100 * 257, dtype)).save(tmp_path / "deep.tiff")
    assert (read_image(tmp_path / "deep.tiff", 8) == 100).all()


def test_transparent_parts_become_white(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "glass.png")
    assert read_image(tmp_path / "glass.png", 8).min() == 255


def test_the_longer_side_is_cut_not_squeezed(tmp_path):
    image = Image.new("RGB", (96, 32), "blue")
    image.paste("red", (32, 0, 64, 32))
    image.save(tmp_path / "wide.png")
    seen = read_image(tmp_path / "wide.png", 32)
    assert (seen[0] == 255).all()
    assert (seen[2] == 0).all()


def test_broken_files_are_named_and_left_out(corner, tmp_path):
    fill(tmp_path, ["a", "b"], 3)
    corner.save(tmp_path / "a" / "cut.jpg", quality=95)
    whole = (tmp_path / "a" / "cut.jpg").read_bytes()
    (tmp_path / "a" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a" / "notes.txt").write_text("not an image", encoding="utf-8")
    (tmp_path / "b" / "empty.png").write_bytes(b"")
    (tmp_path / "b" / ".hidden").write_bytes(b"")
    with pytest.warns(UserWarning, match="left out: .*not an image that can be read") as caught:
        dataset = folder.prepare("x", {"path": str(tmp_path), "size": 8})
    assert len(caught) == 3
    assert dataset.source["left_out"] == ["a/cut.jpg", "a/notes.txt", "b/empty.png"]
    assert dataset.labels.tolist() == [0] * 3 + [1] * 3


def test_good_folders_warn_of_nothing(tmp_path):
    fill(tmp_path, ["a"], 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder.prepare("x", {"path": str(tmp_path)})


def test_wrong_folders_are_named(tmp_path):
    with pytest.raises(UserError, match="absent is not a folder"):
        folder.prepare("x", {"path": str(tmp_path / "absent")})
    with pytest.raises(UserError, match="has no sub-folders"):
        folder.prepare("x", {"path": str(tmp_path)})
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match="holds no image that can be read"):
        folder.prepare("x", {"path": str(tmp_path)})
    with pytest.raises(
        UserError, match=r"datasets\.x\.test_fraction: found 1, expected a number of at least 0, less than 1"
    ):
        folder.prepare("x", {"path": str(tmp_path), "test_fraction": 1})


def test_every_class_keeps_an_image_for_training(tmp_path):
    fill(tmp_path, ["a", "b"], 2)
    Image.new("RGB", (9, 9)).save(tmp_path / "a" / "third.png")
    with pytest.raises(
        UserError, match=r"test_fraction is 0.75, which leaves none of the 2 images in .*b for training"
    ):
        folder.prepare("x", {"path": str(tmp_path), "test_fraction": 0.75})


def test_pictures_of_more_pixels_than_asked_for_are_left_out_before_they_are_decoded(tmp_path):
    """20 kB on the disk, half a gigabyte and more in memory."""
    fill(tmp_path / "set", ["a", "b"], 2)
    Image.new("1", (13_000, 13_000)).save(tmp_path / "set" / "a" / "bomb.png")
    code = (
        "import resource, sys; from pathlib import Path; from lrp_dynamics.data import folder\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "made = folder.prepare('x', {'path': sys.argv[1]})\n"
        "assert made.source['left_out'] == ['a/bomb.png'], made.source\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "assert grown < 100 * 2 ** (20 if sys.platform == 'darwin' else 10), grown\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "set"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "it has over 100,000,000 pixels; make it smaller, or allow more by max_pixels" in done.stderr
    made = folder.prepare("x", {"path": str(tmp_path / "set"), "max_pixels": 13_000**2})
    assert made.source["left_out"] == []
    made = folder.prepare("x", {"path": str(tmp_path / "set"), "max_pixels": 10_000})
    assert made.source["left_out"] == ["a/bomb.png"]


@pytest.mark.parametrize("size", [(1, 101), (60_000, 1)])
def test_a_picture_that_scaled_would_fill_the_memory_is_refused(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "line.png")
    with pytest.raises(UserError, match=r"one side is over 100 times the other"):
        read_image(tmp_path / "line.png", 8)


def test_a_picture_within_an_icon_counts_too(tmp_path):
    """The head of an icon may tell of another size than the picture in it has."""
    Image.new("RGB", (256, 256)).save(tmp_path / "small.ico", sizes=[(16, 16)])
    content = bytearray((tmp_path / "small.ico").read_bytes())
    Image.new("RGB", (2000, 2000)).save(tmp_path / "large.png")
    large = (tmp_path / "large.png").read_bytes()
    offset = int.from_bytes(content[18:22], "little")
    content[14:18] = len(large).to_bytes(4, "little")
    (tmp_path / "bomb.ico").write_bytes(bytes(content[:offset]) + large)
    with pytest.raises(UserError, match=r"bomb\.ico is not an image that can be read"):
        read_image(tmp_path / "bomb.ico", 8, max_pixels=1_000_000)
    assert read_image(tmp_path / "bomb.ico", 8).shape == (3, 8, 8)
