"""What the figures of a rule comparison are drawn from: tables of all seeds, recordings of the first."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.names import literal
from lrp_dynamics.base.parameters import parse
from lrp_dynamics.base.style import BLUE, GREEN, GREY, ORANGE, SKY, VERMILION
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.base.typeset import rule_name
from lrp_dynamics.data.pictures import as_picture
from lrp_dynamics.recording.store import RelevanceFile, open_relevance
from lrp_dynamics.reports.parameters import AlongTraining

_STYLES = [
    (color, line) for line in ("-", "--") for color in (BLUE, VERMILION, GREEN, ORANGE, SKY, GREY, "black", "#CC79A7")
]


@dataclass(frozen=True)
class Rules:
    """Explanations of the same trainings, recorded side by side.

    Attributes
    ----------
    recordings : mapping of str to RelevanceFile
        Of the first seed, by the name of the explanation.
    comparison, agreement, samples, curves : mapping of str to ndarray
        The tables of the stage `compare`.
    show, snapshots : int
        How many samples, and moments of the training, the figures of maps show.
    """

    recordings: Mapping[str, RelevanceFile]
    comparison: Mapping[str, np.ndarray]
    agreement: Mapping[str, np.ndarray]
    samples: Mapping[str, np.ndarray]
    curves: Mapping[str, np.ndarray]
    show: int = 3
    snapshots: int = 5

    @property
    def names(self) -> list[str]:
        """The explanations, in the order of the parameters."""
        return list(self.recordings)

    @property
    def first(self) -> RelevanceFile:
        """Any recording: what it says about samples and steps holds for all."""
        return next(iter(self.recordings.values()))

    @property
    def title(self) -> str:
        """Title of the dataset, to be written on every figure."""
        return literal(self.first.attrs["dataset_title"])

    @property
    def origin(self) -> str:
        """What was trained and explained, in one line."""
        attrs, seeds = self.first.attrs, np.unique(self.samples["seed"])
        trained = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
        return (
            f"{self.title} · {literal(attrs['model'])} · {trained} · "
            f"{self.first.samples} samples, {self.first.steps} records to training step {self.iteration[-1]:,}"
            f"{self.first.drawn}"
        )

    @property
    def iteration(self) -> np.ndarray:
        """Training step of each record."""
        return self.first.step("iteration")

    def style(self, name: str) -> dict[str, str]:
        """Return colour and line style of an explanation, the same in all figures."""
        color, line = _STYLES[self.names.index(name) % len(_STYLES)]
        return {"color": color, "linestyle": line}

    def label(self, name: str) -> str:
        """Return what an explanation is called in a figure."""
        return literal(rule_name(name), 40)

    def never_negative(self, name: str) -> bool:
        """Whether the maps of an explanation have no negative values."""
        recording = self.recordings[name]
        return bool((recording.scalar("r_sum") >= recording.scalar("r_abs_sum") * (1 - 1e-6)).all())

    def of(self, table: Mapping[str, np.ndarray], name: str, column: str) -> np.ndarray:
        """Return a column of a table, the rows of one explanation."""
        return table[column][table["explanation"] == name]

    def curve(self, name: str, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Return training steps and a column of the curves, averaged over seeds."""
        steps, values = self.of(self.curves, name, "iteration"), self.of(self.curves, name, column)
        unique = np.unique(steps)
        return unique, np.array([values[steps == step].mean() for step in unique])

    def moments(self) -> np.ndarray:
        """Return records from the first to the last step, in steadily growing gaps."""
        return np.unique((np.linspace(0, 1, self.snapshots) ** 2 * (self.first.steps - 1)).round().astype(int))

    def chosen(self, count: int) -> list[int]:
        """Return one sample each of the first classes, among those with stored maps."""
        classes = self.first.explained[: self.first.map_samples]
        if (classes < 0).all():
            return list(range(min(count, len(classes))))
        _, first = np.unique(classes, return_index=True)
        return [int(i) for i in first[:count]]

    def image(self, sample: int) -> np.ndarray:
        """Return a sample: an image as u1 (H, W, 3) or, of one channel, (H, W); the values of others as recorded."""
        values = self.first.image(sample)
        return as_picture(values) if values.ndim == 3 else values

    def class_name(self, sample: int) -> str:
        """Return the class that is explained of a sample."""
        return literal(self.first.class_name(sample), 40)


@contextmanager
def open_results(inputs: Mapping[str, Path | Sequence[Path]], params: Mapping[str, Any]) -> Iterator[Rules]:
    """Open the tables of all seeds, and the recordings of one.

    Parameters
    ----------
    inputs : mapping of str to Path
        "comparison", "agreement", "samples", "curves" (tables), "recordings" (relevance.h5 of each explanation).
    params : mapping
        "samples" and "snapshots": how many samples and moments the figures of maps show.
    """
    chosen = parse(AlongTraining, params, "figures")
    recordings = inputs["recordings"]
    with ExitStack() as stack:
        paths = [recordings] if isinstance(recordings, str | Path) else recordings
        files = [stack.enter_context(open_relevance(path)) for path in paths]
        tables = {name: read_csv(inputs[name]) for name in ("comparison", "agreement", "samples", "curves")}
        yield Rules(
            {str(file.attrs["composite"]): file for file in files},
            **tables,
            show=chosen.samples,
            snapshots=chosen.snapshots,
        )
