"""The page of one recording: its figures and numbers in words."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from lrp_dynamics.base.names import shown
from lrp_dynamics.base.typeset import rule_name
from lrp_dynamics.recording.store import UNKNOWN
from lrp_dynamics.reports import sentences
from lrp_dynamics.reports.page import figure, folded, framed, table
from lrp_dynamics.reports.study.figures import FIGURES
from lrp_dynamics.reports.study.measuring import FEWEST, Studied
from lrp_dynamics.reports.words import correlation, number, percent, plural

TOP = 10  # samples in the table of the largest divergence
_NO_OUTPUT = (
    "These maps were imported without the outputs that they explain, so nothing is said here about predictions, or "
    "about whether relevance is conserved."
)
_SCORES = {
    "mean_abs_relevance": "mean |relevance|",
    "divergence_normalized": "normalised divergence (change of shape only)",
    "confidence": "confidence: mean probability of the explained class",
    "aum": "area under the margin: mean of the explained logit minus the largest other",
    "forgetting_events": "forgetting events: records from right to wrong",
}
FILES = {
    "samples.csv": "a row per sample",
    "outliers.csv": "the samples by falling divergence, with z and flags",
    "dynamics.h5": "Dynamics maps",
    "metrics.json": "the numbers below",
    "figures": "each figure as PNG and SVG",
}


def page_of(found: Studied, links: Mapping[str, str], footer: str = "") -> str:
    """Return the page of a recording.

    Parameters
    ----------
    found : Studied
    links : mapping of str to str
        Addresses and texts of related pages, such as the explorer.
    footer : str
        HTML.
    """
    title = title_of(found)
    body = "\n".join([f"<h1>{text(title)}</h1>", *_story(_Teller(found))])
    return framed(title, body, links=links, footer=footer)


def title_of(found: Studied) -> str:
    """Return what a page on a recording is called."""
    told = found.about["data_title"]
    return f"Relevance along training: {shown(told if told != UNKNOWN else found.path.name)}"


def text(value: object) -> str:
    """Return what others chose as HTML, on one line."""
    return escape(shown(str(value)))


def html(said: str | Iterable[str], unit: str = "pixel") -> str:
    """Return sentences of `lrp_dynamics.reports.sentences` as HTML, about what the maps have values of."""
    joined = said if isinstance(said, str) else " ".join(said)
    joined = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", joined, flags=re.DOTALL)
    return re.sub(r"\bpixel(s?)\b", rf"{unit}\1", joined)


def picture(path: Path, count: int, title: str, caption: str) -> str:
    """Return a figure as a part of the page itself."""
    source = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
    return figure(source, f"Figure {count}: {title}", f"<p>Figure {count}. <strong>{title}.</strong> {caption}</p>")


def paragraph(said: str | Iterable[str], unit: str = "pixel") -> str:
    """Return a paragraph."""
    return f"<p>{html(said, unit)}</p>"


class _Teller:
    """Numbers the figures of a page."""

    def __init__(self, found: Studied):
        self.found, self.unit, self.count = found, found.about["unit"], 0

    def figure(self, name: str) -> list[str]:
        """Return a figure, or nothing where it was not drawn."""
        if name not in self.found.figures:
            return []
        self.count += 1
        about = FIGURES[name]
        return [picture(self.found.figures[name], self.count, about.title, html(about.caption, self.unit))]

    def tell(self, said: str | Sequence[str]) -> list[str]:
        """Return a paragraph about the maps."""
        return [paragraph(said, self.unit)]


def _story(teller: _Teller) -> list[str]:
    found, m = teller.found, teller.found.metrics
    parts = [*summary(found), *_sections(teller)]
    if m:
        parts += [
            "<h2>What this cannot tell</h2>",
            *teller.tell(sentences.limits(m, str(found.about["dataset_title"]), teller.unit)),
        ]
    parts += ["<h2>Files</h2>", files(found)]
    if m:
        rows = [(f"<code>{escape(name)}</code>", f"{value:.6g}") for name, value in sorted(m.items())]
        parts.append(folded("All numbers", table(("metrics.json", "value"), rows, numeric=(1,))))
    return parts


def _sections(teller: _Teller) -> list[str]:
    found, m, figure, tell = teller.found, teller.found.metrics, teller.figure, teller.tell
    parts = ["<h2>Samples and training</h2>", *figure("samples"), *figure("training_loss")]
    if "training_loss" not in found.figures and not found.about["loss"]:
        how = "record(iteration, loss=...)" if found.about["tells_output"] else "import_maps(..., loss=...)"
        parts += tell(f"No loss was recorded; give it to <code>{how}</code>, or a training log.")
    if found.about["tells_output"]:
        output = figure("prediction_and_relevance")
        output += tell(sentences.conservation(m, found.about["accounted"])) if m else []
        output += [*figure("conservation"), *figure("step_changes")]
        parts += ["<h2>Relevance and output</h2>", *output] if output else []
    else:
        parts += ["<h2>Relevance</h2>", *tell(_NO_OUTPUT), *figure("step_changes")]
    if not found.about["maps"]:
        parts += tell("No maps were stored, so none can be shown; record with <code>maps</code> of 1 or more.")
    else:
        parts += ["<h2>Heatmaps</h2>", *figure("heatmaps"), *figure("heatmap_changes")]
    if not m:
        return [*parts, *tell("Dynamics need two recorded steps at least, and there is one.")]
    parts += [
        *tell([*sentences.smoothness(m), *sentences.spacing(m)]),
        "<h2>Dynamics</h2>",
        *tell(_definition()),
        *figure("schematic"),
    ]
    parts += [*tell(sentences.accuracy_of_measurement(m)), *figure("dynamics_maps"), *tell(sentences.placement(m))]
    parts += [
        *figure("differences"),
        *tell(sentences.timing(m)),
        "<h2>Samples that change most</h2>",
        *figure("divergence"),
    ]
    parts += [*tell(outlying(found)), _largest(found)]
    return parts + _meaning(teller)


def summary(found: Studied) -> list[str]:
    """Return what was recorded, and the findings in a sentence each."""
    about, m = found.about, found.metrics
    parts = [f"<p><em>{line(found)}</em></p>"]
    if not about["complete"]:
        how = "is being written" if about["writer"] else "was not finished"
        parts.append(
            f"<p><strong>This recording {how}</strong>: this page shows what it holds, {number(about['steps'])} "
            f"{plural(about['steps'], 'record')} up to step {number(about['last'])}.</p>"
        )
    if about["target"] == "predicted":
        parts.append(
            f"<p>Explained is the class that the network predicted at its first record, step {number(about['first'])}, "
            "whatever it predicts later. Of an untrained network, that is a class by chance.</p>"
        )
    if m:
        topics = [sentences.conservation(m, about["accounted"])] if about["tells_output"] else []
        topics += [sentences.smoothness(m), sentences.placement(m), outlying(found)]
        parts.append("<ul>" + "".join(f"<li>{html(topic[0], about['unit'])}</li>" for topic in topics) + "</ul>")
    return parts


def line(found: Studied) -> str:
    """Return in one line, as HTML, what was recorded, as far as it is known."""
    about, known = found.about, found.about["known"]
    parts = [f"network {text(known['model'])}"] if "model" in known else []
    parts += [f"rules {text(rule_name(str(known['composite'])))}"] if "composite" in known else []
    parts += [f"seed {text(known['seed'])}"] if "seed" in known else []
    size = "×".join(map(str, about["shape"]))
    unit = plural(2 if size != "1" else 1, about["unit"])
    samples, steps = about["samples"], about["steps"]
    parts.append(f"{number(samples)} {plural(samples, 'sample')} of {size} {unit}")
    where = f"steps {number(about['first'])} to {number(about['last'])}" if steps > 1 else f"step {about['first']}"
    parts.append(f"{number(steps)} {plural(steps, 'record')}, {where}")
    return " · ".join(parts)


def outlying(found: Studied) -> list[str]:
    """Return what is said of outliers."""
    if found.outliers is None:
        count = found.about["samples"]
        return [
            f"**Outliers are not told** from {number(count)} {plural(count, 'sample')}: that takes at least {FEWEST}."
        ]
    return sentences.outliers(found.metrics)


def _definition() -> str:
    return (
        "Dynamics add up how much the relevance of each pixel changes from record to record: Dynamics(p) = "
        "Σ<sub>i</sub> |R<sub>i</sub>(p) − R<sub>i+1</sub>(p)|, with R<sub>i</sub> the map of a sample at record i. "
        "Its sum over all pixels is the divergence of the sample."
    )


def _largest(found: Studied) -> str:
    """Return the samples of largest divergence."""
    rows, values, names = [], found.table, found.about["classes"]
    order = (-values["divergence"]).argsort(kind="stable")[:TOP]
    indexed = values["index"].tolist() != list(range(len(values["index"])))  # else the sample is the index
    z = {} if found.outliers is None else _by_sample(found.outliers)
    for i in order.tolist():
        known = found.about["explained"] if found.about["scored"] else values["label"]
        label = int(known[i])
        name = names[label] if 0 <= label < len(names) else f"class {label}" if label >= 0 else "–"
        key = (int(values["split"][i]), int(values["index"][i]))
        score, kind = z.get(key, (float("nan"), "–"))
        rows.append(
            (
                str(i),
                *([str(key[1])] if indexed else []),
                text(name),
                number(float(values["divergence"][i])),
                number(float(score)) if z else "–",
                percent(float(values["worst_step_share"][i])),
                "–" if kind == "none" else text(kind),
            )
        )
    header = ["sample", *(["index"] if indexed else []), "class", f"divergence ({found.about['amount']})", "z"]
    header += ["largest step's share", "flag"]
    numeric = (0, 1, 3, 4, 5) if indexed else (0, 2, 3, 4)
    which = f"<p>The first {TOP} of {len(values['index'])}, by divergence:</p>" if len(values["index"]) > TOP else ""
    return which + table(header, rows, numeric=numeric)


def _by_sample(outliers: Mapping) -> dict[tuple[int, int], tuple[float, str]]:
    keys = zip(outliers["split"].tolist(), outliers["index"].tolist(), strict=True)
    return dict(zip(keys, zip(outliers["z"].tolist(), outliers["kind"].tolist(), strict=True), strict=True))


def _meaning(teller: _Teller) -> list[str]:
    m = teller.found.metrics
    rows = [
        (escape(name), correlation(m[f"divergence_spearman_{key}"]))
        for key, name in _SCORES.items()
        if f"divergence_spearman_{key}" in m
    ]
    told = teller.tell(sentences.meaning(m))
    return [*told, table(("divergence with", "Spearman"), rows, numeric=(1,))] if rows else told


def files(found: Studied) -> str:
    """Return a list of the files beside the page."""
    there = {name: what for name, what in FILES.items() if (found.folder / name).exists()}
    items = "".join(f'<li><a href="{name}"><code>{name}</code></a>: {what}</li>' for name, what in there.items())
    return f"<p>Of <code>{text(found.path.name)}</code>, beside this page:</p><ul>{items}</ul>"
