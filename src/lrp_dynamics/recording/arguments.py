"""What callers give a recorder: checked and converted at once, before any file is touched."""

import json
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.recording.store import ACCUMULATORS, ATTRIBUTES

_STATE = {"accum", "last", "identity", "iteration"}
_INT64 = np.iinfo(np.int64)
_BYTE = (0, 255)
_RANGES = {"split": _BYTE, "image": _BYTE, "mask": _BYTE}


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
        raise UserError(f"Recorder: {name} is {number}, expected at least {lowest} and at most {_INT64.max}")
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


def check_samples(samples: Any, targets: Any) -> None:
    """Refuse samples and targets that cannot be explained, as far as they show it."""
    for name, value in (("samples", samples), ("targets", targets)):
        if not isinstance(value, Tensor):
            raise UserError(f"Recorder: {name} is a {type(value).__name__}, expected a torch.Tensor")
    if samples.ndim != 4 or not len(samples) or targets.shape != samples.shape[:1]:
        raise UserError(
            f"Recorder: found samples of shape {tuple(samples.shape)} and targets of shape {tuple(targets.shape)}, "
            "expected (N, C, H, W) and (N,) with N at least 1"
        )
    if not samples.is_floating_point():
        raise UserError(f"Recorder: samples are {samples.dtype}, expected floats, scaled as in training")
    finite = samples.detach().isfinite().flatten(1).all(1)
    if not finite.all():
        raise UserError(f"Recorder: sample {int((~finite).nonzero()[0])} has values that are not finite")
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise UserError(f"Recorder: targets are {targets.dtype}, expected class indices of an integer type")
    if (targets < 0).any():
        raise UserError(f"Recorder: found target {int(targets.min())}, expected class indices, from 0")


def check_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes as HDF5 holds them: text and numbers, and the classes as JSON."""
    checked = {}
    for name, value in attributes.items():
        if name not in ATTRIBUTES or value is None:
            raise UserError(f"Recorder: attributes[{name!r}] is {value!r}, expected a value of {', '.join(ATTRIBUTES)}")
        if name == "classes":
            value = _classes(value)
        elif isinstance(value, Tensor | np.ndarray | np.generic) and np.ndim(value) == 0:
            value = value.item()
        is_text = isinstance(value, str) and "\0" not in value and value == value.encode(errors="replace").decode()
        is_number = isinstance(value, bool | float) or (isinstance(value, int) and -(2**63) <= value < 2**64)
        if not (is_text or is_number):
            raise UserError(f"Recorder: attributes[{name!r}] is {value!r}, expected text or a number")
        checked[name] = value
    return checked


def _classes(value: Any) -> str:
    """The names of the classes as JSON, from a list or from JSON."""
    try:
        names = json.loads(value) if isinstance(value, str) else [*value]
    except (TypeError, ValueError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"Recorder: attributes['classes'] is {value!r}, expected a list of names, or one as JSON")
    return value if isinstance(value, str) else json.dumps([str(name) for name in names])


def check_details(samples: Tensor, targets: Tensor, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known about the samples as arrays, filled in where the caller does not know it."""
    count, label = len(samples), targets.cpu().numpy()
    low, high = samples.min().item(), samples.max().item()
    stretched = ((samples - low) / max(high - low, 1e-12) * 255).round().to(torch.uint8).cpu().numpy()
    known = {"index": np.arange(count), "split": np.zeros(count), "label": label, "label_clean": label}
    shapes = dict.fromkeys(known, (count,)) | {
        "image": (count, *samples.shape[1:]),
        "mask": (count, *samples.shape[2:]),
    }
    details = {name: value for name, value in details.items() if value is not None}
    factors = details.pop("factors", {})
    if not isinstance(factors, Mapping):
        raise UserError(f"Recorder: details['factors'] is a {type(factors).__name__}, expected names and their numbers")
    checked = {}
    for name, value in details.items():
        array = _array(value)
        if name not in shapes or array.shape != shapes[name]:
            expected = f"shape {shapes[name]}" if name in shapes else f"one of {', '.join([*shapes, 'factors'])}"
            raise UserError(f"Recorder: details[{name!r}] has shape {array.shape}, expected {expected}")
        checked[name] = _whole_numbers(name, array)
    checked["factors"] = {name: _array(value) for name, value in factors.items()}
    for name, array in checked["factors"].items():
        if array.shape != (count,) or array.dtype.kind not in "biuf":
            raise UserError(f"Recorder: details['factors'][{name!r}] must be {count} numbers, one a sample")
        if not isinstance(name, str) or name in ("", ".") or set(name) & set("/\0"):
            raise UserError(f"Recorder: details['factors'] has the name {name!r}, expected text without a slash")
    return known | {"image": stretched} | checked


def _array(value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    try:
        return np.asarray(value)
    except ValueError:  # lists of unequal length
        return np.empty((), object)


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
