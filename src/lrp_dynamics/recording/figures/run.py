"""What the figures of a recorded training are drawn from."""

from dataclasses import dataclass

import numpy as np

from lrp_dynamics.base.names import literal
from lrp_dynamics.data.pictures import as_picture
from lrp_dynamics.recording.store import RelevanceFile


@dataclass(frozen=True)
class Run:
    """One seed of an experiment.

    Attributes
    ----------
    recording : RelevanceFile
    dynamics, dynamics_normalized, mean_abs_relevance : ndarray f8 (N, H, W)
    samples : dict of str to ndarray (N,)
        The sample table.
    outliers : dict of str to ndarray
        The outlier table, rows of this seed only, largest z first.
    training : dict of str to ndarray
        The training table, a row per training step.
    show : int
        How many samples the figures of single samples show.
    snapshots : int
        How many moments of the training the heatmap figures show.
    """

    recording: RelevanceFile
    dynamics: np.ndarray
    dynamics_normalized: np.ndarray
    mean_abs_relevance: np.ndarray
    samples: dict[str, np.ndarray]
    outliers: dict[str, np.ndarray]
    training: dict[str, np.ndarray]
    show: int = 4
    snapshots: int = 8

    @property
    def title(self) -> str:
        """Title of the dataset, to be written on every figure."""
        return literal(self.recording.attrs["dataset_title"])

    @property
    def origin(self) -> str:
        """What was trained and explained, in one line."""
        attrs = self.recording.attrs
        count = self.recording.steps - 1
        steps = f"{count} recorded training {'step' if count == 1 else 'steps'}"
        model, rules = literal(attrs["model"]), literal(attrs["composite"])
        text = f"{self.title} · {model} · rules: {rules} · seed {attrs['seed']} · {steps}"
        return text + self.recording.drawn

    @property
    def iteration(self) -> np.ndarray:
        """Training step of each record (T,); 0 is the untrained network."""
        return self.recording.step("iteration")

    def scalar(self, name: str) -> np.ndarray:
        """Return a scalar of /scalars as float64 (T, N)."""
        return self.recording.scalar(name).astype(np.float64)

    @property
    def scored(self) -> bool:
        """Whether classes have scores to choose from, so that their probabilities tell something."""
        return not np.isnan(self.recording.scalar("margin")).all()

    @property
    def output(self) -> str:
        """What is explained, in words."""
        return "explained output" if self.recording.has_sample("target") else "label's logit"

    def class_name(self, sample: int) -> str:
        """Return the name of the class that is explained of a sample, usually the labelled one."""
        return literal(self.recording.class_name(sample), 40)

    def image(self, sample: int) -> np.ndarray:
        """Return a sample: an image as u1 (H, W, 3) or, of one channel, (H, W); the values of others as recorded."""
        values = self.recording.image(sample)
        return as_picture(values) if values.ndim == 3 else values

    def one_per_class(self, count: int) -> list[int]:
        """Return the first recorded sample of each of the first `count` classes, among those with stored maps."""
        labels = self.recording.explained[: self.recording.map_samples]
        if (labels < 0).all():
            return list(range(min(count, len(labels))))
        classes, first = np.unique(labels, return_index=True)
        return [int(i) for i in first[np.argsort(classes)][:count]]

    def by_divergence(self, count: int) -> list[int]:
        """Return samples at evenly spaced ranks of divergence, largest first, among those with stored maps."""
        divergence = self.samples["divergence"][: self.recording.map_samples]
        order = np.argsort(-divergence, kind="stable")
        ranks = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
        return [int(order[rank]) for rank in ranks]

    def rank(self, sample: int) -> int:
        """Return the rank of a sample's divergence among all samples; 1 is the largest."""
        divergence = self.samples["divergence"]
        return int((divergence > divergence[sample]).sum()) + 1

    def moments(self) -> np.ndarray:
        """Return records from the untrained network to the last step, in steadily growing gaps."""
        share = np.linspace(0, 1, self.snapshots) ** 1.5
        return np.unique((share * (self.recording.steps - 1)).round().astype(int))
