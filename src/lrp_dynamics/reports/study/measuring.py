"""What is measured on one recording, and written as files that other programs read."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import write_json
from lrp_dynamics.base.kinds import Mistake
from lrp_dynamics.base.style import draw_each
from lrp_dynamics.base.tables import read_csv, write_csv
from lrp_dynamics.measures.outliers import outlier_table
from lrp_dynamics.measures.parameters import Outliers
from lrp_dynamics.measures.recorded import Measured, measure
from lrp_dynamics.measures.summary import metrics
from lrp_dynamics.recording.dynamics_file import write_dynamics
from lrp_dynamics.recording.figures.run import Run
from lrp_dynamics.recording.store import ACCUMULATORS, UNKNOWN, RelevanceFile, open_relevance
from lrp_dynamics.reports.parameters import AlongTraining
from lrp_dynamics.reports.study.figures import figures_of
from lrp_dynamics.reports.words import plural

FEWEST = 10  # samples of which outliers can be told
_TRIES = 5
_OF_OUTPUTS = ("conservation_error_max", "unaccounted_relevance_max")


@dataclass(frozen=True)
class Options:
    """What is told beside the recordings, all of it optional.

    Attributes
    ----------
    title : str or None
        What the data are; by default what the recording says.
    classes : list of str or None
        Names of the classes, in the order of their indices; by default what the recording says.
    samples, moments : int
        How many samples the figures of single samples show, and how many moments of the training.
    outliers : Outliers
    """

    title: str | None = None
    classes: list[str] | None = None
    samples: int = 4
    moments: int = 8
    outliers: Outliers = Outliers()  # noqa: RUF009  # it is frozen


def checked(title: str | None, classes: Sequence[str] | None, samples: int, moments: int) -> Options:
    """Return options as they were given.

    Raises
    ------
    UserError
        If one is not what it should be.
    """
    if title is not None and not isinstance(title, str):
        raise UserError(f"title: found {title!r}, expected text")
    if classes is not None and (isinstance(classes, str) or not all(isinstance(name, str) for name in classes)):
        raise UserError(f"classes: found {classes!r}, expected a list of names")
    for name, known, most in (
        ("samples", {"samples": samples}, "1 to 10"),
        ("moments", {"snapshots": moments}, "2 to 16"),
    ):
        try:
            AlongTraining(**known)
        except Mistake:
            found = samples if name == "samples" else moments
            raise UserError(f"{name}: found {found!r}, expected a whole number, {most}") from None
    return Options(title, None if classes is None else [*classes], samples, moments)


@dataclass(frozen=True)
class Studied:
    """One recording, measured; its file may be closed.

    Attributes
    ----------
    name : str
        What tells it from the others.
    path, folder : Path
        The recording, and where its results are.
    about : dict
        Attributes of the recording, and what else the page says of it (see `_about`).
    metrics : dict of str to float
        Empty of a recording of one step.
    table : dict of str to ndarray (N,), or None
        The sample table.
    outliers : dict of str to ndarray, or None
        None where there are too few samples.
    figures : dict of str to Path
        PNG files.
    """

    name: str
    path: Path
    folder: Path
    about: dict[str, Any]
    metrics: dict[str, float]
    table: dict[str, np.ndarray] | None
    outliers: dict[str, np.ndarray] | None
    figures: dict[str, Path]


@contextmanager
def opened(path: Path, options: Options) -> Iterator[RelevanceFile]:
    """Open a recording, with title and classes as they are told; one that is being written, as it is now."""
    with open_relevance(path) as recording:
        live = recording.writer is not None
    with open_relevance(path, verify=not live) as recording:
        if live:  # its accumulators are written anew while it is read
            held = {name: recording.accumulated(name) for name in ACCUMULATORS}
            recording.accumulated = held.__getitem__
        if not recording.steps:
            what_to_do = "wait until a block of steps is written" if live else "record again"
            raise UserError(f"{path}: found a recording of no step; {what_to_do}")
        if options.title is not None:
            recording.attrs["dataset_title"] = options.title
        if options.classes is not None:
            _check_classes(recording, options.classes)
            recording.attrs["classes"] = options.classes
        yield recording


def _explained(recording: RelevanceFile) -> np.ndarray:
    """Return the classes (N,) that are explained, or the labels where no class is."""
    return recording.explained if recording.explains_classes else recording.sample("label")


def _check_classes(recording: RelevanceFile, names: Sequence[str]) -> None:
    """Refuse names that are not those of all classes."""
    used = [
        _explained(recording),
        recording.sample("label"),
        *([recording.scalar("predicted")] if recording.scored else []),
    ]
    most = max(int(numbers.max(initial=-1)) for numbers in used)
    if most >= len(names):
        raise UserError(
            f"classes: found {len(names)} {plural(len(names), 'name')}, but {recording.path} has class {most}; name "
            "all of them, in the order of their indices, from 0"
        )


def study_one(name: str, path: Path, folder: Path, options: Options, training: Path | None) -> Studied:
    """Measure a recording, draw it, and write the results.

    Parameters
    ----------
    name : str
    path : Path
        The recording.
    folder : Path
        For figures/*.png and *.svg, dynamics.h5, samples.csv, outliers.csv and metrics.json.
    options : Options
    training : Path or None
        A table with columns "iteration", "loss" and, if known, "accuracy", with a row per training step; without it,
        the loss is that of the recording.

    Raises
    ------
    UserError
        If a file is not what it should be.
    """
    log = None if training is None else _log(training)
    for left in reversed(range(_TRIES)):
        try:
            with opened(path, options) as recording:
                return _study_open(name, recording, folder, options, log)
        except UserError:
            with open_relevance(path) as recording:
                live = recording.writer is not None
            if not live or not left:  # else the block that was read may have been written anew
                raise
    raise AssertionError("the last try returns or raises")


def _study_open(name: str, recording: RelevanceFile, folder: Path, options: Options, log: dict | None) -> Studied:
    found = measure(recording, str(recording.path)) if recording.steps > 1 else None
    known: dict[str, Any] = {"show": options.samples, "snapshots": options.moments}
    numbers: dict[str, float] = {}
    table = outliers = None
    if found is not None:
        table, rules = found.samples, _rules(options.outliers, recording.steps)
        judged = _judged(recording, table, rules)
        outliers = judged if len(table["index"]) >= FEWEST else None
        numbers = _numbers(recording, found, judged, rules)
        known |= {"samples": table, "outliers": outliers}
        write_dynamics(folder / "dynamics.h5", recording, found.dynamics, found.dynamics_normalized, found.checks)
        write_csv(folder / "samples.csv", table)
        write_csv(folder / "outliers.csv", judged)
        write_json(folder / "metrics.json", numbers)
    run = Run.of(recording, **known, **({} if log is None else {"training": log}))
    figures = figures_of(run)
    draw_each({key: figure.draw for key, figure in figures.items()}, run, folder / "figures")
    paths = {key: folder / "figures" / f"{key}.png" for key in figures}
    return Studied(name, recording.path, folder, _about(run), numbers, table, outliers, paths)


def _rules(outliers: Outliers, steps: int) -> Outliers:
    """Return the rules for so many steps: of a few, each has a large share, without a jump of any denominator."""
    return replace(outliers, numerical_share=max(outliers.numerical_share, min(1.0, 3 / (steps - 1))))


def _log(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of a training log that figures show."""
    table = read_csv(path, require=("iteration", "loss"))
    return {name: table[name].astype(np.float64) for name in ("iteration", "loss", "accuracy") if name in table}


def _judged(recording: RelevanceFile, table: Mapping[str, np.ndarray], rules: Outliers) -> dict[str, np.ndarray]:
    """Return the outlier table; of a few samples, with nothing flagged, since they are too few to tell."""
    seed = recording.attrs["seed"]
    judged = outlier_table([table], [seed if isinstance(seed, int | np.integer) else 0], asdict(rules))
    if len(table["index"]) >= FEWEST:
        return judged
    nothing = {"flagged": 0, "kind": "none", "threshold": np.nan, "false_positive_rate": np.nan, "seeds_flagged": 0}
    return judged | {name: np.full(len(judged["z"]), value) for name, value in nothing.items()}


def _numbers(recording: RelevanceFile, found: Measured, judged: Mapping[str, np.ndarray], rules: Outliers) -> dict:
    """Return the numbers of a recording, those about outliers only where they can be told."""
    gap = int(np.diff(recording.step("iteration")).max())
    checks = found.checks | {"steps": recording.steps, "largest_step_gap": gap}
    numbers = metrics([found.samples], dict(judged), [checks], [], rules.numerical_share)
    if not recording.tells_output:
        numbers = {name: value for name, value in numbers.items() if name not in _OF_OUTPUTS}
    if len(judged["z"]) < FEWEST:
        numbers = {name: value for name, value in numbers.items() if not name.startswith(("outlier", "false_"))}
    return numbers


def _about(run: Run) -> dict[str, Any]:
    recording = run.recording
    iteration = recording.step("iteration")
    loss = recording.step("train_loss")
    return recording.attrs | {
        "complete": recording.complete,
        "writer": recording.writer,
        "data_title": recording.data_title,
        "steps": recording.steps,
        "samples": recording.samples,
        "maps": recording.map_samples,
        "shape": recording.shape,
        "unit": recording.unit,
        "amount": run.amount,
        "accounted": bool(np.isfinite(recording.scalar("min_abs_z", slice(256))).any()),
        "scored": run.scored,
        "explained": _explained(recording),
        "tells_output": recording.tells_output,
        "output": run.output,
        "first": int(iteration[0]),
        "last": int(iteration[-1]),
        "loss": bool(np.isfinite(loss).any()),
        "known": {name: recording.attrs[name] for name in ("model", "composite", "seed") if _is_known(recording, name)},
    }


def _is_known(recording: RelevanceFile, name: str) -> bool:
    return recording.attrs[name] != UNKNOWN
