"""What a weights file says about its network, so that it can be used without the files that it was made from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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
    """

    model: str
    classes: Sequence[str]
    shape: Sequence[int]
    low: float | Sequence[float]
    high: float | Sequence[float]
    trained_on: str
    resize: int | None = None

    def as_metadata(self) -> dict[str, str]:
        """Return the metadata of a .safetensors file."""
        return {KEY: json.dumps(asdict(self), sort_keys=True)}

    @staticmethod
    def from_metadata(metadata: Mapping[str, str] | None) -> "Description | None":
        """Return what the metadata of a .safetensors file say, or None if they are not ours."""
        if not metadata or KEY not in metadata:
            return None
        values: dict[str, Any] = json.loads(metadata[KEY])
        return Description(**values)
