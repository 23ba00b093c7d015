"""Files of weights, read as plain data, and networks filled with them; whatever else they hold is refused."""

import re
import zipfile
from collections.abc import Collection, Mapping
from itertools import product
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.kinds import Mistake
from lrp_dynamics.base.names import shown
from lrp_dynamics.models.description import Description

CONTAINERS = ("state_dict", "model_state_dict", "model")  # keys under which checkpoints keep the weights
COUNTER = "num_batches_tracked"
PREFIXES = (
    "module.",
    "model.",
    "_orig_mod.",
    "net.",
    "network.",
    "backbone.",
    "encoder.",
)  # of DataParallel and others


def read_state(path: Path) -> tuple[dict[str, Tensor], Description | None]:
    """Return the state_dict in a file, and what the file says about it.

    Raises
    ------
    UserError
        If there is no such file, it is damaged, or holds something else than tensors with their names.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such file of weights")
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
            about = Description.from_metadata(file.metadata())
            _check_plain(state, path)
            return state, about
    except SafetensorError as error:
        if path.suffix == ".safetensors":
            raise UserError(f"{path} is damaged, or no .safetensors file ({error})") from None
    except Mistake as error:
        raise UserError(f"{path} does not describe a network of this package ({error})") from None
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as parts:
                if any(part.endswith("/constants.pkl") for part in parts.namelist()):
                    alone = "torch.save(model.state_dict(), FILE)"
                    raise UserError(f"{path} is a TorchScript program; expected weights alone, of {alone}")
                unpacked, size = sum(part.file_size for part in parts.infolist()), path.stat().st_size
            if unpacked > size:  # packed, or several parts in one place: it may be more than there is memory
                raise UserError(f"{path} has {size:,} bytes and unpacks to {unpacked:,}; expected a file of torch.save")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, UserError):
        raise
    except Exception as error:  # of many kinds, for files of other formats
        raise UserError(_unread(path, error)) from error
    while isinstance(state, Mapping):
        # Under such a key there may also be a weight of that name, or the name of a network.
        inner = next((key for key in CONTAINERS if isinstance(state.get(key), Mapping)), None)
        if inner is None:
            break
        state = state[inner]
    if isinstance(state, Mapping) and not _is_state(state):
        inside = [key for key, value in state.items() if _is_state(value)]
        if len(inside) != 1:  # one alone is meant, whatever it is called, such as "net"
            named = state and all(isinstance(name, str) for name in state)
            keys = ", ".join(map(repr, list(state)[:5]))
            found = f"a mapping with the keys {keys}" if named else type(state).__name__
            alone = f"; save one alone: torch.save(checkpoint[{inside[0]!r}], FILE)" if inside else ""
            raise UserError(
                f"{path} holds no state_dict but {shown(found)}; expected a mapping from parameter names to tensors, "
                f"alone or as {', '.join(CONTAINERS)}, or the only one in a checkpoint{shown(alone)}"
            )
        state = state[inside[0]]
    elif not isinstance(state, Mapping):
        raise UserError(f"{path} holds no state_dict but {type(state).__name__}; expected that of a network")
    _check_plain(state, path)
    return dict(state), None


def _is_state(value: object) -> bool:
    """Tell whether it is a mapping from names to tensors."""
    pairs = value.items() if isinstance(value, Mapping) else ()
    return bool(pairs) and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in pairs)


def _unread(path: Path, error: Exception) -> str:
    """Return why torch does not read a file as plain data, and what to do, in one sentence."""
    text = str(error)
    with open(path, "rb") as file:
        start = file.read(2)
    if start != b"PK" and start[:1] != b"\x80":  # neither of the forms of torch.save: what torch says of it misleads
        return f"{path} is neither a .safetensors file nor a state_dict of torch.save"
    if named := re.search(r"GLOBAL (\S+) was not an allowed|(?:class|global:)(?: GLOBAL)? (\S+)", text):
        what = next(filter(None, named.groups())).rstrip(".")
        return (
            f"{path} holds a pickled object of {shown(what)!r} beside or instead of weights, and reading it would run "
            "code of the file, so it is not read; where it comes from, save the weights alone: "
            "torch.save(model.state_dict(), FILE)"
        )
    reason = text.splitlines()[0] if text else type(error).__name__
    return f"{path} is neither a .safetensors file nor a state_dict of torch.save ({reason})"


def aligned(state: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Return weights under the names of a network, without what a wrapper has put before them.

    Parameters
    ----------
    state : mapping
        As it was saved, such as by DataParallel ("module.") or Lightning ("model.").
    names : collection of str
        Of the network's weights.

    Returns
    -------
    dict
        As it was, if one of its names is the network's, or no prefix makes it so.

    Examples
    --------
    >>> weight = torch.zeros(1)
    >>> list(aligned({"module.model.fc.weight": weight, "module.loss.weight": weight}, ["fc.weight"]))
    ['fc.weight']
    """
    for prefix in ("", *("".join(pair) for pair in product(("", *PREFIXES), PREFIXES))):
        stripped = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if not stripped.keys().isdisjoint(names):
            return stripped
    return dict(state)


def _check_plain(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that have no values of their own, or more than the file has bytes."""
    size = path.stat().st_size
    for name, value in state.items():
        plain = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
        if not plain or not 0 < value.numel() * value.element_size() <= size:
            kind = str(value.layout) if value.layout is not torch.strided else str(value.dtype)
            raise UserError(
                f"{path}: the weights {name!r} are of type {kind} and shape {tuple(value.shape)} on "
                f"{value.device}, in a file of {size} bytes; expected plain values that lie in the file"
            )


def fill(model: nn.Module, state: Mapping[str, Tensor], source: Path, name: str) -> None:
    """Give a network its weights; `source` and the network's `name` are for the error message.

    Raises
    ------
    UserError
        If they are of another network, of a type that is not the network's, or not finite.
    """
    compare(model, state, source, name)
    model.load_state_dict(state)
    for key, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            raise UserError(f"{source}: the weights {key!r} hold NaN or infinite values")


def compare(model: nn.Module, state: Mapping[str, Tensor], source: Path, name: str) -> None:
    """Refuse weights that are not those of a network."""
    expected, problem = model.state_dict(), None
    if missing := expected.keys() - state.keys():
        problem = f"lacks {min(missing)!r}"
    elif extra := state.keys() - expected.keys():
        problem = f"has {min(extra)!r}, which this network has not"
    else:
        for key, value in expected.items():
            found = state[key]
            if found.shape != value.shape:
                problem = f"has {key!r} of shape {tuple(found.shape)}, expected {tuple(value.shape)}"
            # Any float can be taken for a float; of whole numbers in its place nobody knows what they stand for.
            # BatchNorm's counter, which `half()` on each tensor rounds, plays no part in eval mode.
            elif found.dtype != value.dtype and not (
                found.is_floating_point() and (value.is_floating_point() or key.endswith(COUNTER))
            ):
                problem = f"has {key!r} of type {found.dtype}, expected {value.dtype}"
    if problem:
        raise UserError(f"{source}: the weights are not those of {name!r} (it {problem})")
