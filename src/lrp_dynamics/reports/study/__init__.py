"""From any recording to its page: Dynamics, outliers, figures, page and explorer in one call."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import atomic
from lrp_dynamics.reports.explorer import write_explorer
from lrp_dynamics.reports.footer import find_provenance, made_by
from lrp_dynamics.reports.naming import Recordings, named
from lrp_dynamics.reports.study.comparing import paths_of
from lrp_dynamics.reports.study.measuring import Options, Studied, checked, study_one
from lrp_dynamics.reports.study.telling import page_of
from lrp_dynamics.reports.study.together import compare, side_by_side

PAGE, EXPLORER = "index.html", "explorer.html"
_LINK = {EXPLORER: "Explorer: every step, to scrub and play"}


def study(
    recordings: Recordings,
    out: str | Path,
    *,
    title: str | None = None,
    classes: Sequence[str] | None = None,
    training: str | Path | Sequence[str | Path] | None = None,
    samples: int = 4,
    moments: int = 8,
) -> Path:
    """Measure and draw one or several recordings, and tell what is found on a page that opens in any browser.

    Parameters
    ----------
    recordings : path, sequence of paths, or mapping of name to path
        Recordings of a `Recorder`, of any network and kind of samples, finished or not. Several, of other seeds, rules
        or runs, are compared; without names they are called by what tells their paths apart.
    out : path
        A folder for the results: index.html, explorer.html, samples.csv, outliers.csv, dynamics.h5, metrics.json and
        figures/*.png and *.svg. Of several recordings, index.html compares them, and each has a folder of its own.
    title : str, optional
        What the data are. Default: what the recording says, or the name of its file.
    classes : sequence of str, optional
        Names of the classes, in the order of their indices. Default: what the recording says.
    training : path or sequence of paths, optional
        Training logs, one a recording: CSV files with columns "iteration" and "loss" and, if known, "accuracy".
        Default: the loss that was recorded.
    samples : int
        How many samples the figures of single samples show, 1 to 10.
    moments : int
        How many moments of the training the heatmap figures show, 2 to 16.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    UserError
        If a file is not what it should be, or an argument is out of its range.
    """
    known, out = named(recordings), Path(out)
    options = checked(title, classes, samples, moments)
    logs = _logs(training, len(known))
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: found a file, expected the name of a folder for the results")
    again = _command(known, out, options, logs)
    if len(known) == 1:
        (name, path), (log,) = *known.items(), logs
        found = study_one(name, path, out, options, log)
        _explore([found], out, options)
        return _write(out / PAGE, page_of(found, _LINK, made_by(again, find_provenance([path]))))
    folders = paths_of(out, list(known))
    found = [study_one(name, known[name], folders[name], options, log) for name, log in zip(known, logs, strict=True)]
    together = side_by_side(found, options)
    if together:
        _explore(found, out, options)
    for one in found:
        links = {f"../{PAGE}": "All recordings", **({f"../{EXPLORER}": _LINK[EXPLORER]} if together else _LINK)}
        if not together:
            _explore([one], one.folder, options)
        _write(one.folder / PAGE, page_of(one, links, made_by(again, find_provenance([one.path]))))
    return _write(out / PAGE, compare(found, out, options, _LINK if together else {}, made_by(again)))


def _explore(found: Sequence[Studied], folder: Path, options: Options) -> None:
    """Write the explorer of recordings of the same samples."""
    judged = [one.folder / "outliers.csv" for one in found if one.table is not None]
    alone = judged and (len(found) == 1 or all(one.outliers is None for one in found))  # else each has flags of its own
    flags = judged[0] if alone else None
    recordings = {one.name: one.path for one in found}
    write_explorer(folder / EXPLORER, recordings, title=options.title, flags=flags, classes=options.classes)


def _command(known: Mapping[str, Path], out: Path, options: Options, logs: Sequence[Path | None]) -> str:
    """Return the command that makes the same."""
    words = ["lrp-dynamics", "study"]
    words += [str(path) if len(known) == 1 else f"{name}={path}" for name, path in known.items()]
    words += ["--out", str(out)]
    words += ["--title", options.title] if options.title is not None else []
    words += ["--classes", ",".join(options.classes)] if options.classes is not None else []
    words += ["--training", *map(str, logs)] if logs[0] is not None else []
    words += ["--samples", str(options.samples)] if options.samples != Options.samples else []
    words += ["--moments", str(options.moments)] if options.moments != Options.moments else []
    return shlex.join(words)


def _logs(training: str | Path | Sequence[str | Path] | None, count: int) -> list[Path | None]:
    if training is None:
        return [None] * count
    logs = [training] if isinstance(training, str | Path) else [*training]
    if len(logs) != count:
        raise UserError(f"training: found {len(logs)} logs of {count} recordings, expected one of each, in their order")
    return [Path(log) for log in logs]


def _write(path: Path, content: str) -> Path:
    with atomic(path) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return path
