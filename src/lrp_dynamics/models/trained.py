"""Trained networks, by name or from a file, with what is needed to show them an image."""

import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

from lrp_dynamics import models
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import sha256
from lrp_dynamics.data.pictures import crop_image
from lrp_dynamics.models.description import Description
from lrp_dynamics.models.weights import compare, fill, read_state

IMAGENET = (
    *(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    *("resnet18", "resnet50"),
)


@dataclass(frozen=True)
class Network:
    """A trained network in eval mode.

    Attributes
    ----------
    model : nn.Module
        Maps (N, C, H, W) to (N, K) logits.
    about : Description
        Its name, classes and inputs.
    """

    model: nn.Module
    about: Description

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """What black and white become: two tensors (C, 1, 1)."""
        channels = self.about.shape[0]
        return tuple(torch.tensor(v).float().expand(channels).view(-1, 1, 1) for v in (self.about.low, self.about.high))

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Return the part of an RGB image that the network sees, (C, H, W) uint8."""
        channels, height, width = self.about.shape
        image = crop_image(image, self.about.resize or max(height, width), max(height, width))
        if channels == 1:
            return np.asarray(image.convert("L"))[None]
        return np.asarray(image).transpose(2, 0, 1)

    def inputs(self, pixels: np.ndarray) -> Tensor:
        """Return images (N, C, H, W) uint8 as the network's float32 input."""
        low, high = self.bounds
        share = torch.from_numpy(np.array(pixels)).float() / 255
        return torch.maximum(torch.minimum(low + share * (high - low), high), low)  # rounding must not leave the bounds


def known() -> tuple[str, ...]:
    """Return the names of all networks."""
    return (*IMAGENET, *models.MODELS)


def load(model: str, weights: Path | None = None, trained_on: str | None = None) -> Network:
    """Return a trained network.

    Parameters
    ----------
    model : str
        A name of `IMAGENET` or `models.MODELS`, or a .safetensors file made by this package.
    weights : Path, optional
        A state_dict for a name, .safetensors or written by torch.save; without it, the weights that torchvision
        recommends, from its cache or downloaded into it.
    trained_on : str, optional
        Title of the data that the weights were trained on, for a state_dict that does not say so; default: "ImageNet"
        if torchvision publishes that very file, "unknown data" otherwise. Only with ImageNet are classes named.

    Raises
    ------
    UserError
        If there is no such network, no such file, or the weights are of another network or other data.
    """
    if model not in known():
        path = Path(model)
        if not path.is_file():
            names = ", ".join(known())
            raise UserError(f"model: found {model!r}, expected a .safetensors file or one of {names}")
        state, about = read_state(path)
        if weights is not None:
            raise UserError(f"{path} holds weights already; give --weights only with the name of a network")
        if about is None:
            raise UserError(
                f"{path} does not say which network it belongs to; give the network's name as model, and this file as "
                "weights"
            )
        return build(about, state, path)
    if weights is not None:
        state, about = read_state(weights)
        if about is not None and about.model != model:
            raise UserError(f"{weights} holds the weights of {about.model!r}, not of {model!r}")
        if about is None:
            about = describe(model, state, _title(model, weights, trained_on), weights)
        elif trained_on not in (None, about.trained_on):
            raise UserError(f"{weights} was trained on {about.trained_on!r}, as it says itself, not on {trained_on!r}")
        return build(about, state, weights)
    if model not in IMAGENET:
        raise UserError(f"there are no published weights of {model!r}; give a file with --weights")
    state = _published(model)
    return build(describe(model, state, "ImageNet", Path(model)), state, Path(model))


def _title(model: str, weights: Path, trained_on: str | None) -> str:
    """Return what a state_dict was trained on: as its user says, or as is known of the files that torchvision has."""
    published = []
    if model in IMAGENET and _of_imagenet(trained_on or "ImageNet"):
        # Their names end in the first digits of their SHA-256.
        published = [Path(entry.url).stem.rpartition("-")[2] for entry in torchvision.models.get_model_weights(model)]
    if published and sha256(weights).startswith(tuple(published)):
        return trained_on or "ImageNet"
    if published and trained_on:
        print(
            f"{weights} is no file that torchvision publishes for {model!r}: that it was trained on {trained_on!r} is "
            "taken from the parameter trained_on",
            file=sys.stderr,
        )
    return trained_on or "unknown data"


def _of_imagenet(title: str) -> bool:
    return title.lower().startswith("imagenet")


def describe(model: str, state: dict[str, Tensor], trained_on: str, source: Path) -> Description:
    """Return how a network is used when its file does not say so: as torchvision's own, or with inputs of 0 to 1."""
    matrices = [value for value in state.values() if value.dim() > 1]
    if not matrices:
        raise UserError(f"{source}: the weights hold no matrix, so they are not those of {model!r}")
    names = [f"class {k}" for k in range(len(matrices[-1]))]
    if model in IMAGENET:
        published = torchvision.models.get_model_weights(model).DEFAULT
        view = published.transforms()
        classes = published.meta["categories"]
        names = classes if _of_imagenet(trained_on) and len(classes) == len(names) else names
        low = [-m / s for m, s in zip(view.mean, view.std, strict=True)]
        high = [(1 - m) / s for m, s in zip(view.mean, view.std, strict=True)]
        size = view.crop_size[0]
        return Description(model, names, (3, size, size), low, high, trained_on, view.resize_size[0])
    return Description(model, names, (matrices[0].shape[1], 32, 32), 0.0, 1.0, trained_on)


def build(about: Description, state: dict[str, Tensor], source: Path) -> Network:
    """Return the network that a description names, with these weights; `source` is for the error message."""
    if about.model not in known():
        raise UserError(f"{source}: found weights of {about.model!r}, expected one of {', '.join(known())}")
    with torch.device("meta"):  # so that a wrong description takes no memory
        compare(_untrained(about), state, source, about.model)
    model = _untrained(about)
    fill(model, state, source, about.model)
    return Network(model.eval(), replace(about, classes=tuple(about.classes)))


def _untrained(about: Description) -> nn.Module:
    if about.model in IMAGENET:
        return torchvision.models.get_model(about.model, weights=None, num_classes=len(about.classes))
    return models.build(about.model, n_classes=len(about.classes), in_channels=about.shape[0])


def _published(model: str) -> dict[str, Tensor]:
    """Return torchvision's recommended weights, checked by their hash, from its cache or downloaded into it."""
    weights = torchvision.models.get_model_weights(model).DEFAULT
    try:
        return weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:  # of the network or disk, or of many kinds, for what is no such file
        place = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        if place.is_file():
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{place} is damaged, or no file of weights ({reason}); delete it, or give another"
            ) from error
        raise UserError(
            f"the weights of {model!r} could not be had from {weights.url} ({error}); put the file at {place}, or give "
            "a file with --weights"
        ) from error
