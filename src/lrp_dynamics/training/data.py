"""A prepared dataset as a network gets it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lrp_dynamics.base import files
from lrp_dynamics.data import prepared
from lrp_dynamics.training.loop import Images


@dataclass(frozen=True)
class Data:
    """A prepared dataset, and how its images are shown to a network.

    Attributes
    ----------
    dataset : Prepared
    sha256 : str
        Of its file.
    inputs : mapping
        "low", "high": what pixel values 0 and 255 become.
    device : torch.device
    """

    dataset: prepared.Prepared
    sha256: str
    inputs: Mapping[str, float]
    device: torch.device

    @classmethod
    def read(cls, path: Path, inputs: Mapping[str, float], device: torch.device) -> "Data":
        """Read a file that `lrp-dynamics prepare` wrote."""
        return cls(prepared.read(path), files.sha256(path), inputs, device)

    def images(self, chosen: int | np.ndarray) -> Images:
        """Return one split of the dataset, or the images of given indices, as tensors on the device."""
        if isinstance(chosen, int):
            chosen = np.flatnonzero(self.dataset.split == chosen)
        return Images(
            torch.from_numpy(self.dataset.images[chosen]).to(self.device),
            torch.from_numpy(self.dataset.labels[chosen].astype(np.int64)).to(self.device),
            self.inputs["low"],
            self.inputs["high"],
        )
