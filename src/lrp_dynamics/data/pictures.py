"""Image files of any kind, as they are meant to be seen."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lrp_dynamics.base.errors import UserError


def open_image(path: str | Path) -> Image.Image:
    """Read an image file as RGB.

    The camera's orientation (EXIF) is applied; transparent parts become white; of an animation the first frame counts;
    16-bit grey is scaled to 8 bits.

    Parameters
    ----------
    path : str or Path
        Any format Pillow reads.

    Raises
    ------
    UserError
        If the file is missing, no image, or broken.
    """
    try:
        with warnings.catch_warnings():
            # Above twice the size at which Pillow warns it raises an error, which is enough.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            file = Image.open(path)
        with file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):
                image = Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB")
    except Exception as error:  # Pillow's readers raise almost anything on a broken file
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error
        raise UserError(f"{path} is not an image that can be read ({reason})") from error


def crop_image(image: Image.Image, resize: int, size: int) -> Image.Image:
    """Scale the shorter side to `resize` pixels and cut the central square of `size`, as torchvision's models expect.

    Bilinear and antialiased, like `torchvision.transforms.v2.Resize` and `CenterCrop` on PIL images.
    """
    scale = resize / min(image.size)
    width, height = (resize if side == min(image.size) else int(side * scale) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
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
