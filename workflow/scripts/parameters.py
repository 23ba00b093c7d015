"""Parameters: check params.yaml, bring it into its normal form, and hand a rule the values that it names."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from snakemake.exceptions import WorkflowError

from lrp_dynamics import studies
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.kinds import BOOLEAN, NAMES, Mistake, alike, brief
from lrp_dynamics.base.parameters import Section, normal, parameter, parse, unknown_keys
from lrp_dynamics.data.parameters import KINDS, known
from lrp_dynamics.recording.shards import rows_of


@dataclass(frozen=True)
class Storage(Section):
    """What DVC keeps."""

    cache_recordings: bool = parameter(
        BOOLEAN, "false: DVC keeps no copy of relevance.h5, the one large file of a training", True
    )


PARTS = ("storage", "datasets", "experiments")
MOST_ENTRIES = 200  # datasets, and experiments
# What YAML 1.2 takes for a number, and YAML 1.1, as Snakemake reads it, for text; `dvc exp run -S` writes such numbers.
NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


def read_numbers(node: Any) -> Any:
    """Turn text such as "1e-05" into numbers, in place: both tools must read the same from params.yaml."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        node[key] = float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else read_numbers(value)
    return node


# The parameters that were checked last, as they stand in params.yaml: without defaults.
WRITTEN: dict[str, Any] = {}


@cache
def experiments() -> dict[str, type[Section]]:
    """Return the dataclass of each kind of experiment; each study brings its own."""
    found: dict[str, type[Section]] = {}
    for study in iter_modules(studies.__path__):
        found |= import_module(f"{studies.__name__}.{study.name}.study").EXPERIMENTS
    return found


def normalised(params: Any) -> dict[str, Any]:
    """Return the parameters with all defaults, written alike where they are equal.

    Raises
    ------
    Mistake
        The first one that is found.
    """
    check_top_level(params)
    result: dict[str, Any] = {"storage": normal(Storage, params.get("storage"), "storage")}
    for part, kinds in (("datasets", KINDS), ("experiments", experiments())):
        entries = params.get(part)
        if not isinstance(entries, Mapping) or not entries:
            raise Mistake(part, f"found {brief(entries)}, expected a mapping from names to {part}")
        if len(entries) > MOST_ENTRIES:
            raise Mistake(part, f"found {len(entries)} of them, expected {MOST_ENTRIES} at most")
        if twice := alike(name for name in entries if isinstance(name, str)):
            raise Mistake(part, f"found the names {' and '.join(twice)}, which some disks take for the same")
        result[part] = {name: _entry(f"{part}.{name}", name, entry, kinds, part) for name, entry in entries.items()}
    for name, experiment in result["experiments"].items():
        if experiment["dataset"] not in result["datasets"]:
            raise Mistake(
                f"experiments.{name}.dataset",
                f"found {brief(experiment['dataset'])}, expected one of the datasets: {', '.join(result['datasets'])}",
            )
        if "shards" in (recording := experiment.get("recording", {})):
            try:
                rows_of(recording, 1, recording["shards"])
            except UserError as wrong:  # begins with its key
                raise Mistake(f"experiments.{name}.recording.shards", str(wrong).partition(": ")[2]) from None
        _check_fit(name, experiment, result["datasets"][experiment["dataset"]])
    return result


def check_top_level(params: Any) -> None:
    """Refuse other keys than the three at the top."""
    if not isinstance(params, Mapping):
        raise Mistake("the top level", f"found {brief(params)}, expected a mapping with the keys {', '.join(PARTS)}")
    if unknown := unknown_keys(params, PARTS):
        raise Mistake("the top level", f"unknown key {unknown}; the known keys are: {', '.join(PARTS)}")


def _check_fit(name: str, experiment: Mapping[str, Any], dataset: Mapping[str, Any]) -> None:
    """Refuse an experiment that asks for more than its dataset has."""
    rest = {key: value for key, value in experiment.items() if key != "kind"}
    try:
        section = parse(experiments()[experiment["kind"]], rest)
        section.check_fit(known(dataset["kind"], experiment["dataset"], dataset))
    except Mistake as mistake:
        raise mistake.within(f"experiments.{name}") from None


def _entry(where: str, name: Any, entry: Any, kinds: Mapping[str, type[Section]], part: str) -> dict[str, Any]:
    """Return one dataset or experiment in its normal form."""
    if not isinstance(name, str):
        raise Mistake(part, f"found the name {brief(name)}, expected text: put it in quotes")
    if not re.fullmatch(NAMES, name):
        raise Mistake(part, f"found the name {brief(name)}, expected letters, digits and _ only, 64 at most")
    if not isinstance(entry, Mapping):
        raise Mistake(where, f"found {brief(entry)}, expected a mapping with the key kind and others")
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise Mistake(f"{where}.kind", f"found {brief(kind)}, expected one of {', '.join(kinds)}")
    rest = {key: value for key, value in entry.items() if key != "kind"}
    return {"kind": kind, **normal(kinds[kind], rest, where)}


def problem(params: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the parameters in one sentence, or None."""
    try:
        normalised(params)
    except Mistake as mistake:
        return f"params.yaml: {mistake}"
    return None


def check(params: dict[str, Any]) -> None:
    """Bring parameters that were read from params.yaml into their normal form, in place; tell the first mistake."""
    read_numbers(params)
    if found := problem(params):
        raise WorkflowError(found)
    WRITTEN.clear()
    WRITTEN.update(params)
    params.update(normalised(params))


def is_written(key: str) -> bool:
    """Whether a dotted key stands in params.yaml; if not, its default holds, of which DVC need not know."""
    node: Any = WRITTEN
    for part in key.split("."):
        if isinstance(node, Mapping) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        else:
            return False
    return True


def value_of(params: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key."""
    value: Any = params
    for part in key.split("."):
        value = value[part]
    return value


def json_of(params: Mapping[str, Any], keys: str | Mapping[str, str], wildcards: Mapping[str, str]) -> str:
    """Return as JSON the value of one key, or {name: value of its key} of several, the wildcards in them filled in."""

    def value(key: str) -> Any:
        return value_of(params, key.format(**wildcards))

    values = value(keys) if isinstance(keys, str) else {name: value(key) for name, key in keys.items()}
    # Not sorted: the first rule of a composite that fits a layer is taken. Sections have their order from `check`.
    return json.dumps(values)
