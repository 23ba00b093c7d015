"""Hyper-parameter search: which values each trial of an experiment takes, by grid or at random, and what came of it."""

import itertools
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import read_json
from lrp_dynamics.base.tables import write_csv

NUMBERS = ("validation_accuracy", "validation_loss", "best_epoch", "steps", "stopped_early")


def count(search: Mapping[str, Any] | None) -> int:
    """Return the number of trials; for a grid without `trials`, that of its points."""
    if not search:
        return 0
    if search["sampler"] == "random":
        if search["trials"] is None:
            raise UserError("search.trials: found null, expected the number of random trials")
        return search["trials"]
    points = math.prod(len(_choices(key, values)) for key, values in search["space"].items())
    return points if search["trials"] is None else min(points, search["trials"])


def values_of(search: Mapping[str, Any], trial: int) -> dict[str, Any]:
    """Return the value of each key of the space in one trial.

    Parameters
    ----------
    search : mapping
        "sampler" "grid" or "random", "seed" (of the random one), "space": dotted key to a list of choices or, for the
        random sampler, {"low", "high", "log"}: evenly distributed, or its logarithm is.
    trial : int
        From 0. What it takes does not depend on how many there are.

    Examples
    --------
    >>> space = {"training.batch_size": [32, 64], "training.learning_rate": [0.1, 0.01]}
    >>> values_of({"sampler": "grid", "seed": 0, "space": space}, 2)
    {'training.batch_size': 64, 'training.learning_rate': 0.1}
    """
    space = search["space"]
    if search["sampler"] == "grid":
        points = itertools.product(*(_choices(key, values) for key, values in space.items()))
        point = next(itertools.islice(points, trial, None), None)
        if point is None:
            raise UserError(f"search: the grid has {count({**search, 'trials': None})} points, hence no trial {trial}")
        return dict(zip(space, point, strict=True))
    generator = np.random.default_rng([search["seed"], trial])
    return {key: _draw(values, generator) for key, values in space.items()}


def _choices(key: str, values: Any) -> Sequence[Any]:
    if isinstance(values, Mapping):
        raise UserError(f"search.space: {key} is a range, of which a grid cannot take all values; list some")
    return values


def _draw(values: Sequence[Any] | Mapping[str, Any], generator: np.random.Generator) -> Any:
    """Draw one of the choices, or a number of a range to four digits (a whole one if both ends are)."""
    if not isinstance(values, Mapping):
        return values[int(generator.integers(len(values)))]
    low, high = values["low"], values["high"]
    if isinstance(low, int) and isinstance(high, int) and not values["log"]:
        return int(generator.integers(low, high + 1))
    share = generator.random()
    value = low * (high / low) ** share if values["log"] else low + (high - low) * share
    return float(f"{value:.4g}")


def with_values(params: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with the values of dotted keys in the place of their own.

    Raises
    ------
    UserError
        If there is no such key.
    """
    result = deepcopy(dict(params))
    for key, value in values.items():
        *parents, last = key.split(".")
        node: Any = result
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            raise UserError(
                f"search.space: found the key {key!r}, expected one of the experiment's, such as training.learning_rate"
            )
        node[last] = value
    return result


def gather(search: Mapping[str, Any], trials: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write what each trial took and reached, best first, as a table; return its first row.

    Parameters
    ----------
    search : mapping
    trials : sequence of Path
        training.json of each trial, from trial 0 on.
    out : Path
        The table: "trial", the keys of the space, and `NUMBERS`.
    """
    rows = []
    for trial, path in enumerate(trials):
        result = read_json(path, "a training.json", NUMBERS)
        rows.append({"trial": trial} | values_of(search, trial) | {name: result[name] for name in NUMBERS})
    rows.sort(key=lambda row: (-row["validation_accuracy"], row["validation_loss"]))
    write_csv(out, {name: [row[name] for row in rows] for name in rows[0]})
    return rows[0]
