"""Random changes of training images by the transforms of torchvision, drawn anew for each image and training step."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.training.device import seed_of


class Augmentation:
    """Transforms of `torchvision.transforms.v2`, applied to each image of a batch on its own, one after the other.

    Parameters
    ----------
    transforms : mapping
        Name of each transform to its options, such as {"RandomAffine": {"degrees": 10, "translate": [0.1, 0.1]}}.

    Raises
    ------
    UserError
        If torchvision has no such transform, or it does not take these options.
    """

    def __init__(self, transforms: Mapping[str, Mapping[str, Any]]):
        from torchvision.transforms import v2  # takes a second

        self._transforms: list[Callable[[Tensor], Tensor]] = []
        for name, options in transforms.items():
            if not (isinstance(kind := getattr(v2, name, None), type) and issubclass(kind, v2.Transform)):
                raise UserError(
                    f"training.augmentation: found {name!r}, expected transforms of torchvision.transforms.v2, such as "
                    "RandomAffine"
                )
            try:
                self._transforms.append(kind(**options))
            except (TypeError, ValueError) as error:
                raise UserError(
                    f"training.augmentation.{name}: torchvision does not take {options} ({error})"
                ) from None

    def __call__(self, pixels: Tensor, *, seed: int, step: int) -> Tensor:
        """Return images (N, C, H, W) uint8 changed at random, by numbers that depend on seed and step alone.

        Raises
        ------
        UserError
            If the images come out in another shape or type.
        """
        devices = [pixels.device] if pixels.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            seed_of(pixels.device)(seed * 1_000_003 + step)
            changed = torch.stack([self._change(image) for image in pixels])
        if changed.shape != pixels.shape or changed.dtype != pixels.dtype:
            raise UserError(
                f"training.augmentation: images of {tuple(pixels.shape[1:])} {pixels.dtype} became "
                f"{tuple(changed.shape[1:])} {changed.dtype}; choose transforms that keep both"
            )
        return changed

    def _change(self, image: Tensor) -> Tensor:
        for transform in self._transforms:
            try:
                image = transform(image)
            except Exception as error:  # of a wrong option torchvision tells in its own ways, and only now
                name = type(transform).__name__
                what = f"torchvision cannot change an image by it ({' '.join(str(error).split())})"
                raise UserError(f"training.augmentation.{name}: {what}") from None
        return image
