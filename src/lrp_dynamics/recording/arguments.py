"""What callers give a recorder: checked and converted at once, before any file is touched."""

import json
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.recording.store import ACCUMULATORS, ATTRIBUTES, NAMES, TEXT, TRUTH, UNKNOWN, WHOLE

_STATE = {"accum", "last", "identity", "iteration"}
_INT64 = np.iinfo(np.int64)
_BYTE = (0, 255)
_IS = {
    TEXT: lambda value: _is_text(value),
    WHOLE: lambda value: type(value) is int and -(2**63) <= value < 2**64,
    TRUTH: lambda value: type(value) is bool,
    NAMES: lambda value: _is_text(value),  # as JSON by then
}
_RANGES = {"split": _BYTE, "image": _BYTE, "mask": _BYTE}
_SHAPES = "(N, F), (N, C, L), (N, C, H, W) or (N, C, D, H, W)"


def whole(name: str, value: Any, lowest: int = _INT64.min) -> int:
    """Return a whole number as an int.

    Raises
    ------
    UserError
        If it is none, or below `lowest`, or needs more than 64 bits.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except (TypeError, RuntimeError):
        number = None
    if number is None:
        raise UserError(f"Recorder: {name} is {value!r}, expected a whole number")
    if not lowest <= number <= _INT64.max:
        most = f" and at most {_INT64.max}" if number > _INT64.max else ""
        raise UserError(f"Recorder: {name} is {number}, expected at least {lowest}{most}")
    return number


def number(name: str, value: Any) -> float:
    """Return a number, of Python, NumPy or PyTorch, as a float that holds on to nothing.

    Raises
    ------
    UserError
        If it is none.
    """
    plain = value.detach() if isinstance(value, Tensor) else value
    try:
        if np.ndim(plain) or isinstance(plain, str | bytes):
            raise TypeError
        return float(plain)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        found = f"a {type(value).__name__} of shape {tuple(np.shape(plain))}" if np.ndim(plain) else repr(value)
        raise UserError(f"Recorder: {name} is {found}, expected one number") from None


def check_samples(samples: Any, targets: Any, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return samples and targets as tensors; refuse what cannot be explained, as far as it shows.

    Parameters
    ----------
    samples : Tensor, or what NumPy makes an array of; then a tensor on `device`
    targets : the same, or "predicted"
        Classes (N,), or what is explained of outputs of another form: bool or floats (N, ...), in their shape.
    device : torch.device

    Returns
    -------
    samples : Tensor
    targets : Tensor or None
        On the device of the samples, class indices as int64; None if they are still to be predicted.
    """
    samples = _tensor("samples", samples, device)
    if samples.ndim < 2 or not samples.numel():
        raise UserError(
            f"Recorder: found samples of shape {tuple(samples.shape)}, expected {_SHAPES} with N at least 1"
        )
    if not samples.is_floating_point():
        raise UserError(f"Recorder: samples are {samples.dtype}, expected floats, scaled as in training")
    finite = samples.isfinite().flatten(1).all(1)
    if not finite.all():
        raise UserError(f"Recorder: sample {int((~finite).nonzero()[0])} has values that are not finite")
    if isinstance(targets, str):
        if targets != "predicted":
            raise UserError(f'Recorder: targets is {targets!r}, expected class indices (N,), or "predicted"')
        return samples, None
    targets = _tensor("targets", targets, samples.device).to(samples.device)
    if targets.shape[:1] != samples.shape[:1]:
        raise UserError(
            f"Recorder: found samples of shape {tuple(samples.shape)} and targets of shape {tuple(targets.shape)}, "
            "expected one target a sample"
        )
    if targets.ndim == 1:
        return samples, _classes_of(targets)
    if not (targets.is_floating_point() or targets.dtype == torch.bool) or not targets.isfinite().all():
        raise UserError(
            f"Recorder: found targets of shape {tuple(targets.shape)} and {targets.dtype}, expected class indices of "
            "shape (N,), or truth values or finite floats in the shape of the network's output"
        )
    return samples, targets


def _tensor(name: str, value: Any, device: torch.device) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    try:
        array = np.array(value)
        tensor = torch.as_tensor(array.astype(array.dtype.newbyteorder("=")), device=device)
        own = hasattr(value, "dtype") or not tensor.is_floating_point()  # numbers of Python have no precision
        return tensor if own else tensor.to(torch.get_default_dtype())
    except (TypeError, ValueError, RuntimeError):  # no numbers, or lists of unequal length
        raise UserError(
            f"Recorder: found a {type(value).__name__} for {name} that does not hold numbers of one shape, expected a "
            "tensor, an array, or a list of numbers"
        ) from None


def _classes_of(targets: Tensor) -> Tensor:
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise UserError(
            f"Recorder: targets are {targets.dtype}, expected class indices of an integer type: targets.long()"
        )
    targets = targets.to(torch.int64)
    if (targets < 0).any():
        raise UserError(f"Recorder: found target {int(targets.min())}, expected class indices, from 0")
    return targets


def check_attributes(attributes: Mapping[str, Any], outputs: int = 1) -> dict[str, Any]:
    """Return attributes as HDF5 holds them: text and numbers, and the names of the outputs' classes as JSON."""
    checked = {}
    for name, value in attributes.items():
        if name not in ATTRIBUTES:
            raise UserError(f"Recorder: attributes has the key {name!r}, expected one of {', '.join(ATTRIBUTES)}")
        if value is None:
            raise UserError(f"Recorder: attributes[{name!r}] is None, expected {ATTRIBUTES[name][0]}; or leave it out")
        kind, _ = ATTRIBUTES[name]
        if kind == NAMES:
            value = _classes(value)
            count = len(json.loads(value))
            if count and count != outputs > 1:  # one output is a score, of one or two classes
                raise UserError(
                    f"Recorder: attributes['classes'] has {count} names, but the network has {outputs} outputs"
                )
        elif isinstance(value, Tensor | np.ndarray | np.generic) and np.ndim(value) == 0:
            value = value.item()
        if value != UNKNOWN and not _IS[kind](value):
            raise UserError(f"Recorder: attributes[{name!r}] is {value!r}, expected {kind}")
        checked[name] = value
    return checked


def _is_text(value: Any) -> bool:
    """Whether HDF5 holds a value as text, and gives it back."""
    return isinstance(value, str) and "\0" not in value and value == value.encode(errors="replace").decode()


def _classes(value: Any) -> str:
    """The names of the classes as JSON, from a list or from JSON."""
    try:
        names = json.loads(value) if isinstance(value, str) else [*value]
    except (TypeError, ValueError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"Recorder: attributes['classes'] is {value!r}, expected a list of names, or one as JSON")
    return value if isinstance(value, str) else json.dumps([str(name) for name in names])


def check_details(samples: Tensor, targets: Tensor | None, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known about the samples as arrays, filled in where the caller does not know it.

    "target" is among it where it is not the label: the classes that are explained, -1 as long as they are not known.
    """
    count, unknown = len(samples), np.full(len(samples), -1)
    target = unknown if targets is None else targets.cpu().numpy()
    label = target if target.ndim == 1 else unknown
    known = {"index": np.arange(count), "split": np.zeros(count), "label": label, "label_clean": label}
    shapes = dict.fromkeys(known, (count,)) | {"image": tuple(samples.shape), "mask": (count, *map_shape(samples))}
    details = {name: value for name, value in details.items() if value is not None}
    factors = details.pop("factors", {})
    if not isinstance(factors, Mapping):
        raise UserError(f"Recorder: details['factors'] is a {type(factors).__name__}, expected names and their numbers")
    checked = {}
    for name, value in details.items():
        if name not in shapes:
            known_names = ", ".join([*shapes, "factors"])
            raise UserError(f"Recorder: details has the key {name!r}, expected one of {known_names}")
        array = _array(value)
        if array.shape != shapes[name]:
            raise UserError(f"Recorder: details[{name!r}] has shape {array.shape}, expected shape {shapes[name]}")
        checked[name] = _finite(name, array) if name == "image" and array.ndim != 4 else _whole_numbers(name, array)
    checked["factors"] = {name: _array(value) for name, value in factors.items()}
    for name, array in checked["factors"].items():
        if array.shape != (count,) or array.dtype.kind not in "biuf":
            raise UserError(f"Recorder: details['factors'][{name!r}] must be {count} numbers, one a sample")
        if not isinstance(name, str) or name in ("", ".") or set(name) & set("/\0"):
            raise UserError(f"Recorder: details['factors'] has the name {name!r}, expected text without a slash")
    known["label_clean"] = checked.get("label", label)
    result = known | {"image": _image(samples)} | checked
    own = targets is not None and np.array_equal(target, result["label"])
    return result | {"target": None if own else target}


def map_shape(samples: Tensor) -> tuple[int, ...]:
    """Return the shape of a map of samples (N, C, ...), which is summed over channels; a table (N, F) has none.

    Examples
    --------
    >>> map_shape(torch.zeros(2, 3, 8, 9)), map_shape(torch.zeros(2, 3, 8)), map_shape(torch.zeros(2, 5))
    ((8, 9), (8,), (5,))
    """
    return tuple(samples.shape[2:] if samples.ndim > 2 else samples.shape[1:])


def _image(samples: Tensor) -> np.ndarray:
    """Samples as they are shown: images stretched to 0..255, others as they are."""
    if samples.ndim != 4:
        return samples.float().cpu().numpy()
    low, high = samples.min().item(), samples.max().item()
    return ((samples - low) / max(high - low, 1e-12) * 255).round().to(torch.uint8).cpu().numpy()


def _array(value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    try:
        return np.asarray(value)
    except ValueError:  # lists of unequal length
        return np.empty((), object)


def _finite(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise UserError(f"Recorder: details[{name!r}] has values that are not finite numbers ({array.dtype})")
    return array


def _whole_numbers(name: str, array: np.ndarray) -> np.ndarray:
    """Refuse what would be rounded or cut where the file has whole numbers."""
    low, high = _RANGES.get(name, (_INT64.min, _INT64.max))
    if array.dtype.kind not in "biuf" or not (np.isfinite(array) & (array == np.floor(array))).all():
        raise UserError(f"Recorder: details[{name!r}] has values that are not whole numbers ({array.dtype})")
    if array.min() < low or array.max() > high:
        raise UserError(
            f"Recorder: details[{name!r}] has values from {array.min()} to {array.max()}, expected {low} to {high}"
        )
    return array


def check_state(state: Any) -> None:
    """Refuse what `Recorder.state` has not returned."""
    if not (
        isinstance(state, Mapping)
        and state.keys() >= _STATE
        and isinstance(state["accum"], Mapping)
        and state["accum"].keys() == {*ACCUMULATORS, "n"}
    ):
        raise UserError("Recorder: resume is not what `state()` returned; give that, as it was saved")
