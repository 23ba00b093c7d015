"""The page that compares several recordings."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np

from lrp_dynamics.base.style import draw_each
from lrp_dynamics.base.typeset import rule_name
from lrp_dynamics.recording.figures.run import Run
from lrp_dynamics.reports.page import framed, table
from lrp_dynamics.reports.study import drawing
from lrp_dynamics.reports.study.comparing import Shared, along, rank_correlations, shared_samples
from lrp_dynamics.reports.study.drawing import Several
from lrp_dynamics.reports.study.measuring import Options, Studied, opened
from lrp_dynamics.reports.study.telling import paragraph, picture, text, title_of
from lrp_dynamics.reports.words import correlation, listed, number, percent, plural

_COLUMNS = {
    "divergence_median": ("median divergence", number),
    "divergence_max_over_median": ("largest / median", number),
    "successive_correlation_median": ("correlation of successive maps", correlation),
    "path_to_net_change_median": ("path / net change", number),
    "worst_step_share_max": ("largest step's share", percent),
    "conservation_error_max": ("not conserved, at most", percent),
    "outliers_flagged": ("flagged", number),
}
_CAPTIONS = {
    "curves_compared": (
        "Along training",
        "Medians over the samples of each recording: of the explained output, of the amount of relevance in the map, "
        "and of the step divergence. Of curves that lie on each other, the lower ones are drawn wider.",
    ),
    "maps_compared": (
        "The same samples",
        "Samples that all recordings have, at evenly spaced ranks of divergence in the first. Left, the maps of the "
        "last record, red for what is explained and blue against it; right, the Dynamics. Each map has a scale of its "
        "own: compare places, not amounts.",
    ),
    "similarity_compared": (
        "How alike the maps are",
        "Cosine similarity of the maps of the same sample at the same training step, medians over samples: 1 for maps "
        "that differ by an amount only, 0 for maps that have nothing in common, −1 for maps that differ in sign.",
    ),
    "divergence_compared": (
        "Divergence",
        "Whether the same samples change most: divergence of the samples that all recordings have, by its ranks.",
    ),
}


def side_by_side(found: Sequence[Studied], options: Options) -> bool:
    """Whether recordings share samples under the same split and index, so that one explorer shows them in step."""
    with ExitStack() as stack:
        files = [stack.enter_context(opened(one.path, options)) for one in found]
        shared = shared_samples(files)
        return bool(shared.positions.size) and shared.keyed and len({file.shape for file in files}) == 1


def compare(found: Sequence[Studied], out: Path, options: Options, links: Mapping[str, str], footer: str) -> str:
    """Draw recordings beside each other, and return their page.

    Parameters
    ----------
    found : sequence of Studied
    out : Path
        For figures/*_compared.png and *.svg.
    options : Options
    links : mapping of str to str
        Addresses and texts of related pages.
    footer : str
        HTML.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(opened(one.path, options)) for one in found]
        shared = shared_samples(files)
        runs = [
            Run.of(file, **({} if one.table is None else {"samples": one.table}))
            for file, one in zip(files, found, strict=True)
        ]
        correlations = rank_correlations(found, shared.positions)
        similar = along(files, shared.positions)
        several = Several([one.name for one in found], runs, shared.positions, correlations, similar)
        figures = _drawable(several)
        draw_each(figures, several, out / "figures")
    title = title_of(found[0]) if len({title_of(one) for one in found}) == 1 else "Relevance along training"
    parts = [f"<h1>{text(title)}: {len(found)} recordings</h1>", *_what_differs(found), _table(found, out)]
    parts.append(paragraph(_on_samples(shared, found)))
    for count, name in enumerate(figures, 1):
        heading, caption = _CAPTIONS[name]
        if name == "maps_compared" and len(found) > drawing.MOST:
            caption += f" Of the {len(found)} recordings, the first {drawing.MOST} are shown."
        parts += [f"<h2>{heading}</h2>", picture(out / "figures" / f"{name}.png", count, heading, caption)]
        if name == "divergence_compared":
            parts += _on_ranks(several)
        if name == "similarity_compared":
            parts += _on_similarity(several)
    return framed(title, "\n".join(parts), links=links, footer=footer)


def _drawable(several: Several) -> dict:
    names = ["curves_compared"]
    if len(several.positions[0]):
        shapes = {run.recording.shape for run in several.runs}
        if drawing.shown_samples(several, min(len(several.runs), drawing.MOST)) and len(shapes) == 1:
            names.append("maps_compared")
        names += ["similarity_compared"] if several.similarity else []
        names += ["divergence_compared"] if any(np.isfinite(value) for value in several.correlations.values()) else []
    return {name: getattr(drawing, name) for name in names}


def _what_differs(found: Sequence[Studied]) -> list[str]:
    known = [one.about["known"] for one in found]
    words = {"model": "networks", "composite": "rules", "seed": "seeds"}
    differing = [word for key, word in words.items() if len({str(one[key]) for one in known if key in one}) > 1]
    parts = [f"The recordings are of different {listed(differing)}." if differing else ""]
    gaps = {int(one.metrics["largest_step_gap"]) for one in found if one.metrics}
    if len(gaps) > 1:
        parts.append(
            f"Their records are {listed([number(gap) for gap in sorted(gaps)])} training steps apart: what moves to and "
            "fro between records is not counted, so amounts of change are not to be compared."
        )
    parts += [f"<strong>{text(one.name)}</strong> was not finished." for one in found if not one.about["complete"]]
    return [paragraph(parts)] if any(parts) else []


def _table(found: Sequence[Studied], out: Path) -> str:
    columns = {key: about for key, about in _COLUMNS.items() if any(key in one.metrics for one in found)}
    rows = []
    for one in found:
        about, known = one.about, one.about["known"]
        link = quote(f"{one.folder.relative_to(out).as_posix()}/index.html")
        rules = text(rule_name(str(known["composite"]))) if "composite" in known else "–"
        cells = [f'<a href="{link}">{text(one.name)}</a>', rules, text(known.get("seed", "–"))]
        cells += [number(about["samples"]), number(about["steps"])]
        cells += [form(one.metrics[key]) if key in one.metrics else "–" for key, (_, form) in columns.items()]
        rows.append(cells)
    header = ("recording", "rules", "seed", "samples", "records", *(name for name, _ in columns.values()))
    return table(header, rows, numeric=range(2, len(header)))


def _on_samples(shared: Shared, found: Sequence[Studied]) -> str:
    count = shared.positions.shape[1]
    if not count:
        return (
            "<strong>The recordings have no sample in common</strong>, by what the samples show: what is compared is "
            "each recording as a whole, not sample by sample."
        )
    text = (
        f"All recordings are of the same {number(count)} {plural(count, 'sample')}."
        if shared.all
        else f"The recordings have {number(count)} {plural(count, 'sample')} in common, and others that not all "
        "have; samples are compared by what they show."
    )
    if not shared.targets:
        text += " <strong>Not the same output is explained of each</strong>: their maps answer different questions."
    if len({one.about["amount"] for one in found}) > 1 or len({str(one.about["composite"]) for one in found}) > 1:
        text += " Amounts of relevance under different rules or of different outputs are not on one scale."
    return text


def _on_ranks(several: Several) -> list[str]:
    values = [value for value in several.correlations.values() if np.isfinite(value)]
    if len(values) == 1:
        return [paragraph(f"The rank correlation of divergence between the two is {correlation(values[0])}.")]
    return [
        paragraph(
            f"Over {len(values)} pairs, the rank correlation of divergence is {correlation(min(values))} to "
            f"{correlation(max(values))}, {correlation(float(np.median(values)))} in the median."
        )
    ]


def _on_similarity(several: Several) -> list[str]:
    ends = {
        pair: [float(np.median(row)) for row in found["similarity"][[0, -1]]]
        for pair, found in several.similarity.items()
    }
    rows = [
        (escape(f"{several.names[a]} and {several.names[b]}"), correlation(first), correlation(last))
        for (a, b), (first, last) in ends.items()
    ]
    return [table(("recordings", "first shared record", "last shared record"), rows, numeric=(1, 2))]
