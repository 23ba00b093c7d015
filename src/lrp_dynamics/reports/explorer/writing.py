"""Joining the page's own files with what it shows of recordings, into one file."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics import __version__
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import atomic, check_output
from lrp_dynamics.base.names import shown
from lrp_dynamics.base.style import AMOUNT, SIGNED
from lrp_dynamics.recording.store import UNKNOWN, open_relevance
from lrp_dynamics.reports.explorer import content
from lrp_dynamics.reports.explorer.encoding import BOUND, encode
from lrp_dynamics.reports.explorer.packing import pack
from lrp_dynamics.reports.explorer.shrinking import VALUES, limit, plan, reduced

STYLES = ("uPlot.min.css", "explorer.css")
TAG, FURTHER = 700, 60_000  # bytes of the page: of a sample beside its blob, and of what belongs to none
SCRIPTS = (
    "uPlot.iife.min.js",
    *(f"{name}.js" for name in ("data", "paint", "state", "sums", "grid", "focus", "charts", "main")),
)


def write_explorer(
    output: Path,
    recordings: Mapping[str, Path],
    *,
    title: str | None = None,
    samples: int = 100,
    flags: Path | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Write a page to scrub through recordings: one file that needs nothing else, and no network.

    Parameters
    ----------
    output : Path
        The page, .html.
    recordings : mapping of str to Path
        Name to relevance.h5: of one training, or of seeds, rules or runs to be compared, all of the same samples.
        Those that are not finished are shown as far as they are.
    title : str, optional
        Default: data and network of the first recording; where the data have no name, that of its file.
    samples : int
        How many samples to show, at most; flagged ones first.
    flags : Path, optional
        Table of flagged samples, such as outliers.csv; default: log-MAD z of the divergence above 3.5.
    classes : sequence of str, optional
        Names of the classes, in the order of their indices; default: what the recordings say.

    Returns
    -------
    dict
        "bytes" of the page; "samples" in it; "averaged": pixels of the recordings, each way, that became one; and
        "recordings": of each by its name "rank_median", "stored_whole" (samples without patterns), "error_95" (largest
        over samples of what 95 % of a sample's frames keep within), "error_median" (its median), "error_worst" (largest
        of all frames), "change_error" (median over samples of the median error of the change between steps); errors
        are relative, in the L2 norm.

    Raises
    ------
    UserError
        If there is no recording, one has no steps, or they are not of the same samples.
    """
    if not recordings:
        raise UserError("explorer: found no recording, expected at least one relevance.h5")
    if samples < 1:
        raise UserError(f"explorer: found samples {samples}, expected 1 or more")
    check_output(Path(output))
    with ExitStack() as stack:
        sources = [
            content.source(name, stack.enter_context(open_relevance(path)), flags) for name, path in recordings.items()
        ]
        for item in sources if classes is not None else ():
            item.recording.attrs["classes"] = [*classes]
        page, figures = _page(sources, title, samples)
    with atomic(output) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return {"bytes": Path(output).stat().st_size, **figures}


def _page(sources: Sequence[content.Source], title: str | None, wanted: int) -> tuple[str, dict[str, Any]]:
    first = sources[0].recording
    keys = content.shared(sources)
    shape, image, pictured = content.plane_of(first.shape), content.picture_shape(first), first.has_images()
    runs = [(content.about(item), pack(content.steps(item.recording))) for item in sources]
    room = (
        limit(len(sources)) - len(_frame("", "")) - FURTHER - sum(len(_json(told)) + len(text) for told, text in runs)
    )
    planned = plan(min(wanted, len(keys)), [item.recording.steps for item in sources], shape, image[1:], image[0], room)
    ranked = content.preferred(sources[0], keys, planned.samples)
    pictures = content.images(first, [sources[0].keys[key] for key in ranked], planned.image)
    encoded = list(_encoded(sources, ranked, planned.frame, room - len(pack({"images": pictures}))))
    # In the order of the recording again.
    order = sorted(range(len(encoded)), key=lambda i: sources[0].keys[ranked[i]])
    chosen, shown_samples = [ranked[i] for i in order], [encoded[i] for i in order]
    meta = {
        "version": __version__,
        "title": shown(title) if title is not None else _title(sources),
        "frame": reduced(shape, planned.frame),
        "averaged": planned.frame,
        "recorded": shape,
        "unit": first.unit,
        "slice": first.drawn,
        "image": [pictures.shape[1], *pictures.shape[2:]],
        "pictured": pictured,
        "under": pictured and len(first.shape) > 1,  # strips of a signal's channels are not those of its map
        "bound": BOUND,
        "range": content.RANGE,
        "classes": content.classes([item.recording for item in sources]),
        "samples": [content.place_of(key) for key in chosen],
        "all_samples": len(keys),
        "colors": {name: _colors(name) for name in (SIGNED, AMOUNT)},
        "signed": SIGNED,
        "amount": AMOUNT,
        "recordings": [told | {"scores": [found[r][1] for found in shown_samples]} for r, (told, _) in enumerate(runs)],
    }
    packed = {"images": pack({"images": pictures[order]})}
    packed |= {f"run-{r}": text for r, (_, text) in enumerate(runs)}
    packed |= {f"s-{r}-{i}": found[r][0] for i, found in enumerate(shown_samples) for r in range(len(sources))}
    data = "\n".join(f'<script type="text/plain" id="{name}">{text}</script>' for name, text in packed.items())
    figures = {
        "samples": len(chosen),
        "averaged": planned.frame,
        "recordings": {item.name: _summary(meta["recordings"][r]["scores"]) for r, item in enumerate(sources)},
    }
    return _frame(meta["title"], f'{data}\n<script type="application/json" id="meta">{_json(meta)}</script>'), figures


def _encoded(
    sources: Sequence[content.Source], keys: Sequence[content.Key], factor: int, room: int
) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Yield of each sample, as far as there is room, its blob and scores in each recording."""
    found = [_of_recording(item, [item.keys[key] for key in keys], factor, VALUES // len(sources)) for item in sources]
    for number, sample in enumerate(zip(*found, strict=True)):
        room -= sum(len(blob) + TAG for blob, _ in sample)
        if room < 0 and number:
            return
        yield list(sample)


def _of_recording(
    item: content.Source, numbers: Sequence[int], factor: int, memory: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    stored = [number for number in numbers if number < item.recording.map_samples]
    read = content.frames(item.recording, stored, factor, memory)
    sums = content.dynamics(item.recording, numbers, factor)
    for number, (found, curves), summed in zip(numbers, content.samples(item, numbers), sums, strict=True):
        arrays: dict[str, np.ndarray] = {}
        if number < item.recording.map_samples:
            made = encode(next(read))
            arrays = made.arrays
            found |= {"rank": made.rank, "error_95": made.error_95, "error_worst": made.error_worst}
            found |= {"change_error": made.change_error}
        yield pack(arrays | {"dynamics": summed} | curves), found


def _summary(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    encoded = [found for found in scores if "rank" in found]
    if not encoded:
        return {}
    ranks = [found["rank"] for found in encoded if found["rank"]]
    return {
        "rank_median": float(np.median(ranks)) if ranks else None,
        "stored_whole": len(encoded) - len(ranks),
        "error_median": float(np.median([found["error_95"] for found in encoded])),
        "error_95": max(found["error_95"] for found in encoded),
        "error_worst": max(found["error_worst"] for found in encoded),
        "change_error": float(np.median([found["change_error"] for found in encoded])),
    }


def _title(sources: Sequence[content.Source]) -> str:
    """Return data and network, as far as they are told and all recordings have the same."""
    data = {item.recording.data_title for item in sources}
    networks = {str(item.recording.attrs["model"]) for item in sources}
    if len(data) == 1 and UNKNOWN not in data:
        return " · ".join(shown(*names) for names in (data, networks - {UNKNOWN}) if len(names) == 1)
    if len(sources) > 1:
        return f"{len(sources)} recordings"
    name, path = sources[0].name, sources[0].recording.path
    return shown(path.name if name == path.stem else name)  # the file's name, as pages of studies have it


@cache
def _colors(name: str) -> str:
    """Return a colour map as 256 times three bytes, in hexadecimal digits."""
    import matplotlib

    values = matplotlib.colormaps[name](np.arange(256))[:, :3]
    return np.rint(values * 255).astype(np.uint8).tobytes().hex()


def _json(value: Any) -> str:
    """Return JSON that ends no script, whatever text is in it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _frame(title: str, data: str) -> str:
    folder = files(__package__) / "page"
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in ("explorer.html", *STYLES, *SCRIPTS)}
    scripts = "\n".join(texts[name] for name in SCRIPTS[1:])
    parts = {
        "title": escape(title),
        "style": "\n".join(texts[name] for name in STYLES),
        "data": data,
        "library": texts[SCRIPTS[0]],
        "script": f'(() => {{\n"use strict";\n{scripts}}})();',
    }
    # In one pass: what is put in may look like a place.
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: parts[found[1]], texts["explorer.html"])
