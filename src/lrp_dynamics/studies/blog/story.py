"""What the report's notebook needs: the results at hand, and functions that show text, figures and tables."""

import json
from html import escape
from pathlib import Path

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.names import shown
from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.recording.dynamics_file import open_dynamics
from lrp_dynamics.reports import words as sentences
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

    def commonest_class(self, count: int) -> tuple[str, int]:
        """Return the commonest class among the samples of largest divergence, and how many of them have it."""
        labels, numbers = np.unique(self.outliers["label"][:count], return_counts=True)
        return self.run["classes"][labels[numbers.argmax()]], int(numbers.max())

    def correlations(self) -> None:
        """Show the rank correlations of divergence with other scores."""
        rows = [
            (text, correlation(self.metrics[f"divergence_spearman_{name}"]))
            for name, text in _SCORES.items()
            if f"divergence_spearman_{name}" in self.metrics
        ]
        self.table(("divergence with", "Spearman"), rows, numeric=(1,))

    def all_numbers(self) -> None:
        """Show every metric."""
        rows = [(f"<code>{escape(name)}</code>", f"{value:.6g}") for name, value in sorted(self.metrics.items())]
        self.table(("metrics.json", "value"), rows, numeric=(1,))

    def on(self, topic: str) -> list[str]:
        """Return the sentences of a topic, a function of `lrp_dynamics.reports.words`."""
        return getattr(sentences, topic)(self.metrics)

    def limits(self) -> list[str]:
        """Return what this run leaves open."""
        return sentences.limits(self.metrics, self.run["dataset_title"])


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
