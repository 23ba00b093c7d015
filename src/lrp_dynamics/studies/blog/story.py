"""What the report's notebook needs: the results at hand, and functions that show text, figures and tables."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.names import shown
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.measures.outliers import tail
from lrp_dynamics.recording.dynamics_file import open_dynamics
from lrp_dynamics.reports import sentences
from lrp_dynamics.reports.material import material
from lrp_dynamics.reports.telling import Telling, code, plain
from lrp_dynamics.reports.words import correlation, number, percent, plural
from lrp_dynamics.studies.blog.study import FIGURES

__all__ = ["Story", "code", "number", "percent", "plain", "plural"]

_SCORES = {
    "mean_abs_relevance": "mean |relevance|",
    "divergence_normalized": "normalised divergence (change of shape only)",
    "confidence": "confidence: mean probability of the label",
    "aum": "area under the margin: mean logit of the label minus the largest other",
    "forgetting_events": "forgetting events: steps from right to wrong",
}


class Story(Telling):
    """The results of an experiment, told.

    Parameters
    ----------
    metrics, outliers : path
        metrics.json and outliers.csv of the experiment.
    dynamics, samples : path
        dynamics.h5 (attributes only) and samples.csv of the seed that the figures show.
    figures : path
        Folder of the figures.
    """

    def __init__(self, metrics: str, outliers: str, dynamics: str, samples: str, figures: str):
        self.metrics = _metrics(metrics)
        self.samples = read_csv(samples, require=("split", "correct"))
        with open_dynamics(dynamics) as file:
            self.run = dict(file.attrs) | {"classes": json.loads(file.attrs["classes"])}
        columns = ("seed", "index", "label", "divergence", "z", "worst_step_share")
        table = read_csv(outliers, require=columns, texts=("kind",))
        self._told = self.metrics | tail_numbers(table)
        self.outliers = {name: column[table["seed"] == self.run["seed"]] for name, column in table.items()}
        super().__init__(FIGURES, figures, material("blog", "captions"))

    def largest(self, count: int) -> None:
        """Show the samples of largest divergence."""
        rows = [
            {name: self.outliers[name][i].item() for name in ("index", "label", "divergence", "z", "worst_step_share")}
            | {"verdict": str(self.outliers["kind"][i])}
            for i in range(min(count, len(self.outliers["z"])))
        ]
        names = ("sample (index in dataset)", "class", "divergence", "z", "largest step's share", "kind of outlier")
        self.table(
            names,
            [
                (
                    str(row["index"]),
                    escape(shown(self.run["classes"][row["label"]])),
                    number(row["divergence"]),
                    number(row["z"]),
                    percent(row["worst_step_share"]),
                    escape(row["verdict"]),
                )
                for row in rows
            ],
            numeric=(2, 3, 4),
        )

    def most_divergent(self, count: int) -> str:
        """Say which samples the table of those of largest divergence shows, and whether one class prevails."""
        several = f" in seed {self.run['seed']}" if self.metrics["seeds"] > 1 else ""
        return most_divergent(self.outliers["label"], self.run["classes"], count, several)

    def followed(self) -> list[str]:
        """Say which samples were followed, and how well the network classifies them in the end."""
        return followed(self.samples["split"], self.samples["correct"])

    def colours(self) -> list[str]:
        """Say what the colours of a map mean."""
        return colours(self.run["composite"])

    def correlations(self) -> None:
        """Show the rank correlations of divergence with other scores."""
        rows = [
            (text, correlation(self.metrics[f"divergence_spearman_{name}"]))
            for name, text in _SCORES.items()
            if f"divergence_spearman_{name}" in self.metrics
        ]
        self.table(("divergence with", "Spearman"), rows, numeric=(1,))

    def on(self, topic: str) -> list[str]:
        """Return the sentences of a topic, a function of `lrp_dynamics.reports.sentences`."""
        return getattr(sentences, topic)(self._told)

    def limits(self) -> list[str]:
        """Return what this run leaves open."""
        return sentences.limits(self.metrics, self.run["dataset_title"])


# Composites whose rules pass on positive contributions alone, so that all relevance keeps the sign of the output.
ONE_SIGN = ("z_plus", "deep_taylor", "w_square_plus", "innvestigate_z_plus")


def colours(composite: str) -> list[str]:
    """Say what the colours of a map by a composite mean."""
    if composite in ONE_SIGN:
        return [
            "Red stands for positive relevance, blue for negative. The rules used here follow positive contributions "
            "only, so every pixel has the sign of the output: where the logit of the class is negative, the whole map "
            "is blue. How strong a colour is says how much a pixel contributed; its sign says nothing about the pixel."
        ]
    return ["Red marks pixels that spoke for the class, blue those that spoke against it."]


def followed(split: np.ndarray, correct: np.ndarray) -> list[str]:
    """Say of which split (N,) the samples are, and how many are classified as labelled: `correct` (N,), NaN unknown."""
    where = " and the ".join({0: "training set", 1: "test set"}[number] for number in np.unique(split).tolist())
    images = f"{len(split)} {plural(len(split), 'image')} of the {where} {'is' if len(split) == 1 else 'are'}"
    result = [f"{images} followed, the same at every step."]
    if not np.isnan(correct).any():
        result.append(f"At the end, the network classifies {percent(correct.mean())} of them as labelled.")
    return result


def most_divergent(labels: np.ndarray, classes: Sequence[str], count: int, where: str = "") -> str:
    """Introduce the `count` samples of largest divergence; `labels` (N,) in falling order, `where` in words."""
    top = min(count, len(labels))
    found, numbers = np.unique(labels[:top], return_counts=True)
    label, same = found[numbers.argmax()], int(numbers.max())
    prevails = ""
    if 2 * same > top > 1:
        prevails = f"; {same} of them are of class {plain(classes[label])}, as are {int((labels == label).sum())} of "
        prevails += f"all {len(labels)}"
    return f"The {top} {plural(top, 'sample')} of largest divergence{where}{prevails}:"


def tail_numbers(outliers: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return what is said of the upper tail of divergence, of the table of all seeds."""
    seeds = np.unique(outliers["seed"])
    found = tail([outliers["z"][outliers["seed"] == seed] for seed in seeds])
    return {f"tail_{name}": value for name, value in vars(found).items()}


def _metrics(path: str) -> dict:
    """Return what a metrics.json holds."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file ({error}); expected a metrics.json") from None
    needed = ("samples", "seeds", "recorded_steps", "largest_step_gap", "numerical_share")
    if not isinstance(found, dict) or any(name not in found for name in needed):
        raise UserError(
            f"{path}: expected a metrics.json, which `lrp-dynamics outliers` writes, with {', '.join(needed)}"
        )
    return found
