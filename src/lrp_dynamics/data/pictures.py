"""Image files of any kind, as they are meant to be seen."""

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.names import shown
from lrp_dynamics.data.parameters import MAX_PIXELS

_LONGEST = 100  # times the shorter side
_PROGRAMS = ("EPS", "WMF")


def open_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an image file as RGB.

    The camera's orientation (EXIF) is applied; transparent parts become white; of an animation the first frame counts;
    16-bit grey is scaled to 8 bits.

    Parameters
    ----------
    path : str or Path
        Any format Pillow reads by itself.
    max_pixels : int
        Files of more are refused before they are decoded: a small file may hold a picture that fills the memory.

    Raises
    ------
    UserError
        If the file is missing, no image, too large, or broken.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("it is no file but a folder, pipe or device")
        with _limited(max_pixels), Image.open(path) as file:
            if file.width * file.height > max_pixels:
                raise Image.DecompressionBombError
            if max(file.size) > _LONGEST * min(file.size):  # scaled to the size of a photo, it would fill the memory
                raise ValueError(f"of {file.width}×{file.height} pixels, one side is over {_LONGEST} times the other")
            if file.format in _PROGRAMS:
                raise ValueError(f"Pillow reads the format {file.format} by another program")
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):
                image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB")
    except Exception as error:  # Pillow's readers raise almost anything on a broken file
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, Image.DecompressionBombError):
            reason = f"it has over {max_pixels:,} pixels; make it smaller, or allow more by max_pixels"
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else shown(str(reason))
        raise UserError(f"{shown(path)} is not an image that can be read ({reason})") from error


@contextmanager
def _limited(max_pixels: int) -> Iterator[None]:
    """Have Pillow refuse pictures inside pictures that are too large, too: it does so above twice its limit."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max(1, max_pixels // 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def crop_image(image: Image.Image, resize: int, size: int, interpolation: str = "bilinear") -> Image.Image:
    """Scale the shorter side to `resize` pixels and cut the central square of `size`, as torchvision's models expect.

    Bilinear or bicubic, and antialiased, like `torchvision.transforms.v2.Resize` and `CenterCrop` on PIL images.
    """
    scale = resize / min(image.size)
    width, height = (resize if side == min(image.size) else int(side * scale) for side in image.size)
    image = image.resize((width, height), Image.Resampling[interpolation.upper()])
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def as_picture(image: np.ndarray) -> np.ndarray:
    """Turn an image (C, H, W) into what matplotlib shows: (H, W, 3) for three channels, (H, W) for one.

    Examples
    --------
    >>> as_picture(np.zeros((3, 4, 5), np.uint8)).shape, as_picture(np.zeros((1, 4, 5), np.uint8)).shape
    ((4, 5, 3), (4, 5))
    """
    return np.moveaxis(image, 0, -1) if len(image) == 3 else image[0]
