"""Trained networks, by name or from a file, with what is needed to show them an image."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from shlex import quote

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lrp_dynamics import models
from lrp_dynamics.base import own_code
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data.pictures import crop_image
from lrp_dynamics.models import published
from lrp_dynamics.models.description import Description
from lrp_dynamics.models.published import TIMM, TORCHVISION
from lrp_dynamics.models.weights import aligned, compare, fill, read_state


@dataclass(frozen=True)
class Network:
    """A trained network in eval mode.

    Attributes
    ----------
    model : nn.Module
        Maps (N, C, H, W) to (N, K) logits.
    about : Description
        Its name, classes and inputs.
    assumed : dict of str to str
        What of `about` is not known of these weights, "size" or "range", and what is taken for it, as words.
    """

    model: nn.Module
    about: Description
    assumed: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """What black and white become: two tensors (C, 1, 1)."""
        channels = self.about.shape[0]
        return tuple(torch.tensor(v).float().expand(channels).view(-1, 1, 1) for v in (self.about.low, self.about.high))

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Return the part of an RGB image that the network sees, (C, H, W) uint8."""
        channels, height, width = self.about.shape
        image = crop_image(image, self.about.resize or max(height, width), max(height, width), self.about.interpolation)
        if channels == 1:
            return np.asarray(image.convert("L"))[None]
        return np.asarray(image).transpose(2, 0, 1)

    def inputs(self, pixels: np.ndarray) -> Tensor:
        """Return images (N, C, H, W) uint8 as the network's float32 input."""
        low, high = self.bounds
        share = torch.from_numpy(np.array(pixels)).float() / 255
        return torch.maximum(torch.minimum(low + share * (high - low), high), low)  # rounding must not leave the bounds


def known() -> tuple[str, ...]:
    """Return the names of all networks that have one, of this package and of torchvision."""
    return (*models.MODELS, *TORCHVISION)


def is_named(model: str) -> bool:
    """Tell whether there may be a network of that name: known, of timm, or code of the user's own."""
    return model in known() or model.startswith(TIMM) or own_code.is_own(model)


def load(model: str | Path, weights: Path | None = None, trained_on: str | None = None) -> Network:
    """Return a trained network.

    Parameters
    ----------
    model : str
        A name of torchvision or of `models.MODELS`; "timm:" and a name of timm; code of one's own, as `models.build`
        takes it; or a .safetensors file made by this package.
    weights : Path, optional
        A state_dict for a name, .safetensors or written by torch.save, alone or within a checkpoint; without it, the
        weights that torchvision recommends, or timm's, from their cache or downloaded into it.
    trained_on : str, optional
        Title of the data that the weights were trained on, for a state_dict that does not say so; default: "ImageNet"
        if torchvision publishes that very file, "unknown data" otherwise. Only with ImageNet are classes named.

    Raises
    ------
    UserError
        If there is no such network, no such file, or the weights are of another network or other data.
    """
    model = str(model)
    if not is_named(model) or (model not in known() and Path(model).is_file()):
        return _from_file(model, weights)
    if weights is None:
        return _published(model)
    state, about = read_state(weights)
    if about is None:
        return _undescribed(model, state, weights, trained_on)
    if about.model != model and not (own_code.is_own(model) and own_code.is_own(about.model)):  # paths of it may differ
        raise UserError(f"{weights} holds the weights of {about.model!r}, not of {model!r}")
    if trained_on not in (None, about.trained_on):
        raise UserError(f"{weights} was trained on {about.trained_on!r}, as it says itself, not on {trained_on!r}")
    return build(replace(about, model=model), state, weights)


def _from_file(model: str, weights: Path | None) -> Network:
    """Return the network of a file that says what it is."""
    path = Path(model)
    if not path.is_file():
        if path.suffix == ".safetensors":
            raise UserError(f"model: there is no file {model!r}; expected a .safetensors file of the pipeline")
        close = get_close_matches(model, known(), 3)
        hint = f"perhaps {' or '.join(close)}" if close else "such as vgg16, resnet18 or blog_cnn"
        raise UserError(
            f"model: found {model!r}, expected the name of a network, {hint}; timm:NAME; your own as {own_code.FORMS}; "
            "or a .safetensors file of the pipeline"
        )
    state, about = read_state(path)
    if weights is not None:
        raise UserError(f"{path} holds weights already; give --weights only with the name of a network")
    if about is None:
        raise UserError(
            f"{path} does not say which network it belongs to; give the network's name as model, and this file as "
            "weights"
        )
    if own_code.is_own(about.model):
        raise UserError(
            f"{path} holds the weights of code of someone's own, {about.model!r}, which is not imported because a file "
            f"says so; if you trust that code, name it: --model {quote(about.model)} --weights {quote(str(path))}"
        )
    return build(about, state, path)


def _undescribed(model: str, state: Mapping[str, Tensor], weights: Path, trained_on: str | None) -> Network:
    """Return a network with weights that do not say what they are of."""
    entry = published.entry_of(model, weights) if model in TORCHVISION else None
    if entry is not None and not _of_imagenet(trained_on or "ImageNet"):
        entry = None
    if entry is None and trained_on and model in TORCHVISION and _of_imagenet(trained_on):
        print(
            f"{weights} is no file that torchvision publishes for {model!r}: that it was trained on {trained_on!r} is "
            "taken from the parameter trained_on",
            file=sys.stderr,
        )
    title = trained_on or ("ImageNet" if entry is not None else "unknown data")
    about, state = describe(model, state, title, weights, entry)
    network = build(about, state, weights)
    if entry is not None:
        return network
    _, height, width = about.shape
    of = "torchvision's own weights" if model in TORCHVISION else "timm's own weights" if model.startswith(TIMM) else ""
    scale = f"scaled as for {of}" if of else "scaled from 0 to 1"
    return replace(network, assumed={"size": f"images of {height}×{width} pixels", "range": scale})


def _of_imagenet(title: str) -> bool:
    return title.lower().startswith("imagenet")


def describe(
    model: str, state: Mapping[str, Tensor], trained_on: str, source: Path, entry: object | None = None
) -> tuple[Description, dict[str, Tensor]]:
    """Return how a network is used when its file does not say so, and its weights under the network's own names.

    As torchvision's or timm's weights of it, or with inputs of 0 to 1.
    """
    own = _shapes(model)
    state = aligned(state, own.keys())
    matrices = [name for name, shape in own.items() if len(shape) > 1]
    if not matrices:
        raise UserError(f"model: {model!r} has no layer of weights")
    if matrices[-1] not in state or state[matrices[-1]].dim() < 2:
        raise UserError(f"{source}: the weights are not those of {model!r} (it lacks {matrices[-1]!r})")
    names = [f"class {k}" for k in range(len(state[matrices[-1]]))]
    if model in TORCHVISION or model.startswith(TIMM):
        if model.startswith(TIMM):
            view, categories = published.view_of_timm(model), []
        else:
            entry = entry or published.torchvision.models.get_model_weights(model).DEFAULT
            view, categories = published.view_of(entry), entry.meta["categories"]
        names = categories if _of_imagenet(trained_on) and len(categories) == len(names) else names
        ends = (view.low, view.high)
        return Description(model, names, (3, *view.size), *ends, trained_on, view.resize, view.interpolation), state
    first = state.get(matrices[0])
    channels = 3 if first is None or first.dim() < 4 else first.shape[1]
    return Description(model, names, (channels, 32, 32), 0.0, 1.0, trained_on), state


def _shapes(model: str) -> dict[str, tuple[int, ...]]:
    """Return name and shape of a network's weights, in the order of its layers, as if it had ten classes."""
    state = _outline(Description(model, ["?"] * 10, (3, 32, 32), 0.0, 1.0, "")).state_dict()
    return {name: tuple(value.shape) for name, value in state.items()}


def build(about: Description, state: Mapping[str, Tensor], source: Path) -> Network:
    """Return the network that a description names, with these weights; `source` is for the error message."""
    if not is_named(about.model):
        raise UserError(f"{source}: found weights of {about.model!r}, expected one of {', '.join(known())}")
    compare(_outline(about, state), state, source, about.model)
    model = _untrained(about, state)
    fill(model, state, source, about.model)
    return Network(model.eval(), replace(about, classes=tuple(about.classes)))


def _outline(about: Description, state: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return a network to be compared, without memory for its weights where it can be: a description may be wrong."""
    if not own_code.is_own(about.model):
        with suppress(NotImplementedError), torch.device("meta"):  # as those say that read values while they are built
            return _untrained(about, state)
    return _untrained(about, state)


def _untrained(about: Description, state: Mapping[str, Tensor] | None = None) -> nn.Module:
    if about.model in TORCHVISION or about.model.startswith(TIMM):
        imagenet = _of_imagenet(about.trained_on)
        return published.untrained(about.model, len(about.classes), list(state or ()), imagenet=imagenet)
    return models.build(about.model, n_classes=len(about.classes), in_channels=about.shape[0])


def _published(model: str) -> Network:
    """Return a network with the weights that torchvision or timm publishes for it."""
    if model in TORCHVISION:
        entry, state = published.state_of_torchvision(model)
        return build(*describe(model, state, "ImageNet", Path(model), entry), Path(model))
    if model.startswith(TIMM):
        state = published.state_of_timm(model)
        title, names = published.classes_of_timm(model)
        about, state = describe(model, state, title, Path(model))
        return build(replace(about, classes=names or about.classes), state, Path(model))
    raise UserError(f"there are no published weights of {model!r}; give a file with --weights")
