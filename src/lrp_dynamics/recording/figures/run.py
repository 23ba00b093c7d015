"""What the figures of a recorded training are drawn from."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.axes import Axes

from lrp_dynamics.base.names import literal
from lrp_dynamics.base.style import GREY, bare, show_sample
from lrp_dynamics.base.typeset import rule_name
from lrp_dynamics.data.pictures import as_picture
from lrp_dynamics.recording.store import UNKNOWN, RelevanceFile, sum_of_maps


@dataclass(frozen=True)
class Run:
    """One recorded training.

    Attributes
    ----------
    recording : RelevanceFile
    dynamics, dynamics_normalized, mean_abs_relevance : ndarray f8 (N, H, W), or of other samples (N, *shape)
    samples : dict of str to ndarray (N,)
        The sample table, with "index", "divergence" and "correct" (NaN where it is not known) at least.
    outliers : dict of str to ndarray, optional
        The outlier table, rows of this recording only, largest z first; None where no sample has been judged.
    training : dict of str to ndarray, optional
        The training table, a row per training step: "iteration", "loss" and, where it is known, "accuracy".
    show : int
        How many samples the figures of single samples show.
    snapshots : int
        How many moments of the training the heatmap figures show.
    start : str
        What to call the network at iteration 0.
    loss : str
        What the loss is, with its unit.
    batches : bool
        Whether the training table has each training batch.
    """

    recording: RelevanceFile
    dynamics: np.ndarray
    dynamics_normalized: np.ndarray
    mean_abs_relevance: np.ndarray
    samples: dict[str, np.ndarray]
    outliers: dict[str, np.ndarray] | None = None
    training: dict[str, np.ndarray] | None = None
    show: int = 4
    snapshots: int = 8
    start: str = "untrained"
    loss: str = "cross-entropy (nats)"
    batches: bool = True

    @classmethod
    def of(cls, recording: RelevanceFile, **known) -> "Run":
        """Return what a recording tells by itself; `known` are attributes of the run that are known besides."""
        changes, normalized = (recording.accumulated(name) for name in ("dynamics", "dynamics_normalized"))
        loss = {"iteration": recording.step("iteration"), "loss": recording.step("train_loss").astype(np.float64)}
        told = np.isfinite(loss["loss"])
        label = recording.sample("label")
        # Right or wrong needs a label, and classes to choose from.
        known_label = (label >= 0) & recording.scored
        correct = np.where(known_label, recording.scalar("predicted")[-1] == label, np.nan)
        own = {
            "dynamics": changes,
            "dynamics_normalized": normalized,
            "mean_abs_relevance": recording.accumulated("abs_sum") / max(recording.steps, 1),
            "samples": {"index": recording.sample("index"), "divergence": sum_of_maps(changes), "correct": correct},
            "training": {name: column[told] for name, column in loss.items()} if told.any() else None,
            "start": "step 0",  # a recording does not tell whether its network had been trained before
            "loss": "training loss",
            "batches": False,
        }
        return cls(recording, **(own | known))

    @property
    def title(self) -> str:
        """Title of the dataset, to be written on every figure; the file's name where nobody told it."""
        told = self.recording.data_title
        return literal(told if told != UNKNOWN else self.recording.path.name)

    @property
    def origin(self) -> str:
        """What was trained and explained, in one line, as far as it is known."""
        attrs = self.recording.attrs
        count = self.recording.steps - 1
        steps = f"{count:,} recorded training {'step' if count == 1 else 'steps'}"
        if (step := int(self.iteration[0])) and self.start != "untrained":
            steps = f"{count} recorded {'change' if count == 1 else 'changes'} since step {step}"
        model, rules = literal(str(attrs["model"])), literal(rule_name(str(attrs["composite"])))
        known = ((model, model), (rules, f"rules: {rules}"), (attrs["seed"], f"seed {attrs['seed']}"))
        parts = [self.title, *(text for value, text in known if value != UNKNOWN), steps]
        return " · ".join(parts) + self.recording.drawn

    @cached_property
    def has_images(self) -> bool:
        """Whether there is something to show of the samples."""
        return self.recording.has_images()

    @property
    def iteration(self) -> np.ndarray:
        """Training step of each record (T,); 0 is the network before the training."""
        return self.recording.step("iteration")

    def scalar(self, name: str) -> np.ndarray:
        """Return a scalar of /scalars as float64 (T, N)."""
        return self.recording.scalar(name).astype(np.float64)

    @property
    def scored(self) -> bool:
        """Whether classes have scores to choose from, so that their probabilities tell something."""
        return self.recording.scored

    @property
    def output(self) -> str:
        """What is explained, in words."""
        return "label's logit" if self.scored and not self.recording.has_sample("target") else "explained output"

    @property
    def amount(self) -> str:
        """The unit of relevance."""
        return self.recording.amount

    def class_name(self, sample: int, width: int = 40) -> str:
        """Return the name of the class that is explained of a sample, usually the labelled one, cut to `width`.

        Where there is one output, or no class is explained, that of the label, if both are known.
        """
        return literal(self.recording.class_name(sample), width)

    def image(self, sample: int) -> np.ndarray:
        """Return a sample: an image as u1 (H, W, 3) or, grey, (H, W); the values of others as recorded.

        Images of two channels, or of more than three, are shown by the mean of their channels.
        """
        values = self.recording.image(sample)
        if values.ndim != 3:
            return values
        return as_picture(values if len(values) in (1, 3) else values.mean(axis=0, keepdims=True).astype(np.uint8))

    def one_per_class(self, count: int) -> list[int]:
        """Return `count` samples with stored maps: the first of each class, then the second of each, and so on."""
        labels = self.recording.explained[: self.recording.map_samples]
        if (labels < 0).all():
            return list(range(min(count, len(labels))))
        order = np.argsort(labels, kind="stable")
        _, first, of_class = np.unique(labels[order], return_index=True, return_inverse=True)
        turn = np.arange(len(order)) - first[of_class]  # 0 of the first of its class
        return [int(i) for i in order[np.argsort(turn, kind="stable")][:count]]

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


def show_tile(axes: Axes, run: Run, sample: int) -> None:
    """Show a sample as `show_sample` does, or that the recording has no images."""
    if run.has_images:
        show_sample(axes, run.image(sample))
        return
    bare(axes)
    axes.set_aspect("equal")
    axes.text(0.5, 0.5, "no image", ha="center", va="center", color=GREY, fontsize=7, transform=axes.transAxes)
