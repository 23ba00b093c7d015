"""Pictures of a recording for notebooks: `recording.plot.heatmaps()` and its like."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.style import in_house_style
from lrp_dynamics.recording.figures import curves, heatmaps, spread
from lrp_dynamics.recording.figures.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lrp_dynamics.recording.store import RelevanceFile


class Plots:
    """Figures of a recording, in the style of the reports; a notebook shows them, `savefig` writes them.

    Parameters
    ----------
    recording : RelevanceFile
        Open. What is not complete is drawn as far as it goes.
    """

    def __init__(self, recording: "RelevanceFile"):
        self._recording = recording

    def heatmaps(self, samples: int | Sequence[int] | None = None, *, moments: int = 8) -> "Figure":
        """Draw relevance maps along the training, each sample on its own symmetric scale.

        Parameters
        ----------
        samples : int or sequence of int, optional
            Positions in the recording, of samples whose maps are stored; by default six, of different classes as far as
            there are such.
        moments : int
            How many moments of the training, from its first record to its last, at most.

        Raises
        ------
        UserError
            If there is no such sample, or its maps are not stored.
        """
        chosen = self._chosen(samples)
        return in_house_style(heatmaps.heatmaps)(Run.of(self._recording, snapshots=max(2, moments)), chosen)

    def dynamics(self, samples: int | Sequence[int] | None = None) -> "Figure":
        """Draw, of each sample, its last map, mean |relevance|, Dynamics and normalised Dynamics.

        Parameters
        ----------
        samples : int or sequence of int, optional
            As of `heatmaps`; by default four, at evenly spaced ranks of divergence.

        Raises
        ------
        UserError
            As `heatmaps`.
        """
        return in_house_style(spread.dynamics_maps)(Run.of(self._recording), self._chosen(samples))

    def curves(self, samples: int | Sequence[int] | None = None) -> "Figure":
        """Draw explained output, where it is known, sum of the map, step divergence and, if recorded, the loss.

        Parameters
        ----------
        samples : int or sequence of int, optional
            Positions in the recording, each drawn in a colour of its own; by default all samples and their median.

        Raises
        ------
        UserError
            If there is no such sample, or nothing recorded.
        """
        return in_house_style(curves.curves)(Run.of(self._recording), self._chosen(samples, maps=False))

    def divergence(self) -> "Figure":
        """Draw the distribution of divergence over samples, beside a log-normal one of the same median and spread.

        Raises
        ------
        UserError
            If nothing was recorded.
        """
        self._chosen(None, maps=False)
        return in_house_style(spread.divergence)(Run.of(self._recording))

    def _chosen(self, samples: int | Sequence[int] | None, *, maps: bool = True) -> list[int] | None:
        """Return positions of samples that can be drawn; None for those that a figure chooses by itself."""
        recording = self._recording
        known = recording.map_samples if maps else recording.samples
        if not recording.steps:
            raise UserError(f"{recording.path}: found no whole step yet; record more, or wait until one is written")
        if not known:
            raise UserError(f"{recording.path}: found no stored maps; record with `maps=` of 1 or more")
        if samples is None:
            return None
        positions = np.atleast_1d(samples)
        whole = positions.dtype.kind in "iu"
        chosen = positions.tolist() if whole else []
        if positions.size and not whole:
            raise UserError(f"{recording.path}: found samples {samples!r}, expected a position, or a list of positions")
        if wrong := [position for position in chosen if not 0 <= position < known] or ([] if chosen else ["none"]):
            what = "samples whose maps are stored" if maps else "samples"
            raise UserError(f"{recording.path}: found sample {wrong[0]}, expected positions 0 to {known - 1} of {what}")
        return chosen
