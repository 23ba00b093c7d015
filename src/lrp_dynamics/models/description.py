"""What a weights file says about its network, so that it can be used without the files that it was made from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from lrp_dynamics.base.kinds import Mistake

LONGEST = 2**14  # pixels of a side; what is longer is no image of a network
KEY = "lrp_dynamics"  # in the metadata of a .safetensors file


@dataclass(frozen=True)
class Description:
    """A trained network besides its weights.

    Attributes
    ----------
    model : str
        Name of the architecture.
    classes : sequence of str
        Names of the classes, in the order of the logits.
    shape : sequence of int
        (C, H, W) of the input.
    low, high : float or sequence of C floats
        What the pixel values 0 and 255 become, for each channel.
    trained_on : str
        Title of the data.
    resize : int, optional
        Pixels that an image's shorter side is scaled to before H×W are cut from its centre; default: the larger
        of both.
    interpolation : str
        How it is scaled: "bilinear" or "bicubic".
    """

    model: str
    classes: Sequence[str]
    shape: Sequence[int]
    low: float | Sequence[float]
    high: float | Sequence[float]
    trained_on: str
    resize: int | None = None
    interpolation: str = "bilinear"

    def as_metadata(self) -> dict[str, str]:
        """Return the metadata of a .safetensors file."""
        values = asdict(self)
        if self.interpolation == "bilinear":  # files of networks that this package trains keep their bytes
            del values["interpolation"]
        return {KEY: json.dumps(values, sort_keys=True)}

    @staticmethod
    def from_metadata(metadata: Mapping[str, str] | None) -> "Description | None":
        """Return what the metadata of a .safetensors file say, or None if they are not ours.

        Raises
        ------
        Mistake
            If they are not as `as_metadata` writes them; it names the attribute.
        """
        if not metadata or KEY not in metadata:
            return None
        try:
            values = json.loads(metadata[KEY])
        except (ValueError, RecursionError) as error:
            raise Mistake(KEY, f"found {metadata[KEY][:80]!r}, expected JSON ({error})") from None
        names = {each.name for each in fields(Description)}
        required = names - {"resize", "interpolation"}
        if not isinstance(values, dict) or not required <= values.keys() <= names:
            found = ", ".join(map(str, values)) if isinstance(values, dict) else type(values).__name__
            expected = f"{', '.join(sorted(required))}, and perhaps resize or interpolation"
            raise Mistake(KEY, f"found {found[:200]}, expected {expected}")
        about = Description(**values)
        about._check()
        return about

    def _check(self) -> None:
        """Raise a `Mistake` of the first attribute that says nothing about a network."""
        wanted = {
            "model": (isinstance(self.model, str), "a name"),
            "trained_on": (isinstance(self.trained_on, str), "a title"),
            "classes": (
                isinstance(self.classes, list) and self.classes and all(isinstance(name, str) for name in self.classes),
                "a list of names",
            ),
            "shape": (
                isinstance(self.shape, list) and len(self.shape) == 3 and all(map(_is_length, self.shape)),
                f"channels, height and width, each from 1 to {LONGEST}",
            ),
            "low": (_are_numbers(self.low, self.shape), "a number, or one a channel"),
            "high": (_are_numbers(self.high, self.shape), "a number, or one a channel"),
            "resize": (self.resize is None or _is_length(self.resize), f"a whole number from 1 to {LONGEST}"),
            "interpolation": (self.interpolation in ("bilinear", "bicubic"), "bilinear or bicubic"),
        }
        for name, (right, expected) in wanted.items():
            if not right:
                raise Mistake(name, f"found {str(getattr(self, name))[:80]!r}, expected {expected}")
        if not np.all(np.asarray(self.low) < np.asarray(self.high)):
            raise Mistake("low", f"found {self.low}, expected less than high, {self.high}")


def _is_length(value: Any) -> bool:
    return type(value) is int and 1 <= value <= LONGEST


def _are_numbers(value: Any, shape: Any) -> bool:
    """Whether a value is one finite number, or one for each channel of a shape."""
    numbers = value if isinstance(value, list) and isinstance(shape, list) and len(value) in shape[:1] else [value]
    return all(type(number) in (int, float) and abs(number) < 1e30 for number in numbers)
