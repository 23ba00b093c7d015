"""What the report's notebook needs: the results at hand, and functions that show text, figures and tables."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import h5py
import numpy as np
from docutils.core import publish_parts
from IPython.display import HTML, Image, Markdown, display

from lrp_dynamics.figures.names import FIGURES
from lrp_dynamics.reports import sentences
from lrp_dynamics.reports.sentences import correlation, number, percent
from lrp_dynamics.tables import read_csv

__all__ = ["Story", "number", "percent"]

_SCORES = {
    "mean_abs_relevance": "mean |relevance|",
    "divergence_normalized": "normalised divergence (change of shape only)",
    "confidence": "confidence: mean probability of the label",
    "aum": "area under the margin: mean logit of the label minus the largest other",
    "forgetting_events": "forgetting events: steps from right to wrong",
}


class Story:
    """The results of an experiment, told.

    Parameters
    ----------
    metrics, outliers : path
        metrics.json and outliers.csv of the experiment.
    dynamics, samples : path
        dynamics.h5 (attributes only) and samples.csv of the seed that the figures show.
    figures : path
        Folder of the figures.
    captions : path
        Folder of their captions, <figure>.rst.
    """

    def __init__(self, metrics: str, outliers: str, dynamics: str, samples: str, figures: str, captions: str):
        self.metrics = json.loads(Path(metrics).read_text())
        self.samples = read_csv(samples)
        with h5py.File(dynamics, "r") as file:
            self.run = dict(file.attrs) | {"classes": json.loads(file.attrs["classes"])}
        table = read_csv(outliers)
        self.outliers = {name: column[table["seed"] == self.run["seed"]] for name, column in table.items()}
        self._figures, self._captions, self._count = Path(figures), Path(captions), 0

    def tell(self, text: str | Sequence[str]) -> None:
        """Show Markdown; of several sentences, one paragraph."""
        display(Markdown(text if isinstance(text, str) else " ".join(text)))

    def points(self, *arguments: Sequence[str]) -> None:
        """Show the first sentence of each argument as a list."""
        display(Markdown("\n".join(f"- {sentence[0]}" for sentence in arguments)))

    def figure(self, name: str) -> None:
        """Show a figure with its number and caption."""
        self._count += 1
        caption = (self._captions / f"{name}.rst").read_text()
        html = publish_parts(caption, writer="html5", settings_overrides={"report_level": 5})["body"]
        display(Image(self._figures / f"{name}.png", alt=f"Figure {self._count}: {FIGURES[name][0]}"))
        display(HTML(f'<div class="caption">{html.replace("<p>", f"<p>Figure {self._count}. ", 1)}</div>'))

    def largest(self, count: int) -> None:
        """Show the samples of largest divergence."""
        rows = [
            {name: self.outliers[name][i].item() for name in ("index", "label", "divergence", "z", "worst_step_share")}
            | {"verdict": str(self.outliers["kind"][i])}
            for i in range(min(count, len(self.outliers["z"])))
        ]
        names = ("sample (index in dataset)", "class", "divergence", "z", "largest step's share", "kind of outlier")
        self._table(
            names,
            [
                (
                    str(row["index"]),
                    self.run["classes"][row["label"]],
                    number(row["divergence"]),
                    number(row["z"]),
                    percent(row["worst_step_share"]),
                    row["verdict"],
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
        self._table(("divergence with", "Spearman"), rows, numeric=(1,))

    def all_numbers(self) -> None:
        """Show every metric."""
        rows = [(f"<code>{name}</code>", f"{value:.6g}") for name, value in sorted(self.metrics.items())]
        self._table(("metrics.json", "value"), rows, numeric=(1,))

    def _table(self, header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = ()) -> None:
        def line(tag: str, cells: Sequence[str]) -> str:
            style = [' class="number"' if i in numeric else "" for i in range(len(cells))]
            return "<tr>" + "".join(f"<{tag}{s}>{c}</{tag}>" for s, c in zip(style, cells, strict=True)) + "</tr>"

        body = "\n".join(line("td", row) for row in rows)
        head = line("th", [escape(name) for name in header])
        display(HTML(f'<div class="table"><table><thead>{head}</thead>\n<tbody>{body}</tbody></table></div>'))

    def on(self, topic: str) -> list[str]:
        """Return the sentences of a topic, a function of `lrp_dynamics.reports.sentences`."""
        return getattr(sentences, topic)(self.metrics)

    def limits(self) -> list[str]:
        """Return what this run leaves open."""
        return sentences.limits(self.metrics, self.run["dataset_title"])
