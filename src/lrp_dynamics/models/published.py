"""Networks that torchvision and timm publish: built by name, their weights, and what these are known to be given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import sha256

TORCHVISION = tuple(torchvision.models.list_models(module=torchvision.models))
TIMM = "timm:"  # before the name of a network of timm
# Heads that only the training uses: whether a state_dict has them.
_AUXILIARY = {"googlenet": "aux1.", "inception_v3": "AuxLogits."}


@dataclass(frozen=True)
class View:
    """How weights that are published were shown their images.

    Attributes
    ----------
    size : (int, int)
        Height and width, pixels.
    resize : int
        Pixels that the shorter side is scaled to before.
    low, high : list of float
        What the pixel values 0 and 255 become, for each channel.
    interpolation : str
        "bilinear" or "bicubic".
    """

    size: tuple[int, int]
    resize: int
    low: list[float]
    high: list[float]
    interpolation: str


def untrained(model: str, n_classes: int, names: Sequence[str] = (), *, imagenet: bool = False) -> nn.Module:
    """Return a network of torchvision or timm with any weights.

    Parameters
    ----------
    model : str
        A name of `TORCHVISION`, or "timm:" and a name of timm.
    n_classes : int
    names : sequence of str
        Of the weights that it is to get: with or without auxiliary heads.
    imagenet : bool
        Whether the weights are those that torchvision publishes, of which some expect inputs scaled otherwise.
    """
    if model.startswith(TIMM):
        with torch.device("cpu"):
            return _timm().create_model(_name_of_timm(model), pretrained=False, num_classes=n_classes)
    options: dict[str, Any] = {}
    if head := _AUXILIARY.get(model):
        options = {"aux_logits": any(name.startswith(head) for name in names), "init_weights": False}
        options["transform_input"] = imagenet
    return torchvision.models.get_model(model, weights=None, num_classes=n_classes, **options)


def entry_of(model: str, weights: Path) -> Any | None:
    """Return torchvision's entry of a file of weights that it publishes for a network, or None."""
    # Their names end in the first digits of their SHA-256.
    entries = {Path(entry.url).stem.rpartition("-")[2]: entry for entry in torchvision.models.get_model_weights(model)}
    digest = sha256(weights)
    return next((entry for start, entry in entries.items() if digest.startswith(start)), None)


def view_of(entry: Any) -> View:
    """Return how the images of an entry of torchvision's weights are shown."""
    view = entry.transforms()
    low, high = _range(view.mean, view.std)
    size = (view.crop_size[0], view.crop_size[-1])
    return View(size, view.resize_size[0], low, high, view.interpolation.value)


def view_of_timm(model: str) -> View:
    """Return how the images of timm's weights of a network are shown."""
    from timm.data import resolve_data_config

    found = resolve_data_config(pretrained_cfg=_timm().get_pretrained_cfg(_name_of_timm(model)).to_dict())
    low, high = _range(found["mean"], found["std"])
    _, height, width = found["input_size"]
    interpolation = found["interpolation"] if found["interpolation"] in ("bilinear", "bicubic") else "bicubic"
    return View((height, width), int(max(height, width) / found["crop_pct"]), low, high, interpolation)


def classes_of_timm(model: str) -> tuple[str, list[str]]:
    """Return what timm's weights of a network were trained on, and the names of its classes, as far as timm tells."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    config = _timm().get_pretrained_cfg(_name_of_timm(model))
    subset = infer_imagenet_subset(config.to_dict())
    names = [] if subset is None else [ImageNetInfo(subset).index_to_description(k) for k in range(config.num_classes)]
    return f"weights {config.tag} of timm" if config.tag else "weights of timm", names


def state_of_torchvision(model: str) -> tuple[Any, dict[str, Tensor]]:
    """Return torchvision's recommended weights and their entry, from its cache or downloaded into it, hash checked."""
    weights = torchvision.models.get_model_weights(model).DEFAULT
    try:
        return weights, weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
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


def state_of_timm(model: str) -> Mapping[str, Tensor]:
    """Return timm's weights of a network, from its cache or downloaded into it."""
    name = _name_of_timm(model)
    try:
        return _timm().create_model(name, pretrained=True).state_dict()
    except Exception as error:  # of the network or disk, or of many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"the weights of {model!r} could not be had by timm ({reason}); give a file with --weights"
        ) from error


def _range(mean: Sequence[float], std: Sequence[float]) -> tuple[list[float], list[float]]:
    pairs = list(zip(mean, std, strict=True))
    return [-m / s for m, s in pairs], [(1 - m) / s for m, s in pairs]


def _timm() -> Any:
    try:
        import timm
    except ImportError:
        raise UserError("networks of timm need the package timm, which is not installed: pip install timm") from None
    return timm


def _name_of_timm(model: str) -> str:
    """Return the name of a network of timm without its prefix; refuse one that it does not know."""
    name, timm = model.removeprefix(TIMM), _timm()
    if not timm.is_model(name):
        close = get_close_matches(name.partition(".")[0], timm.list_models(), 3)
        hint = f"did you mean {', '.join(close)}?" if close else "timm.list_models() names all"
        raise UserError(f"model: found {model!r}, which no network of timm is called; {hint}")
    return name
