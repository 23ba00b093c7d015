"""Parameters: check params.yaml against its schema, and hand a rule the values that it names."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from snakemake.exceptions import WorkflowError

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.imports import without
from lrp_dynamics.recording.shards import rows_of

# Jupyter brings it along; jsonschema would spend a second on building its grammars, for formats that we do not use.
with without("rfc3987_syntax"):
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

SCHEMA = Path(__file__).parents[1] / "schemas" / "params.schema.yaml"


# What YAML 1.2 takes for a number, and YAML 1.1, as Snakemake reads it, for text; `dvc exp run -S` writes such numbers.
NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


def read_numbers(node: Any) -> Any:
    """Turn text such as "1e-05" into numbers, in place: both tools must read the same from params.yaml."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        node[key] = float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else read_numbers(value)
    return node


def problem(params: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the parameters in one sentence, or None."""
    for section in ("datasets", "experiments"):
        for name in params.get(section) or ():
            if not isinstance(name, str):
                return f"params.yaml: {section}: found the name {name!r}, expected text: put it in quotes"
    error = best_match(_validator().iter_errors(params))
    if error is not None:
        key = ".".join(str(part) for part in error.absolute_path) or "the top level"
        if error.validator == "additionalProperties":
            known = ", ".join(error.schema.get("properties", {}))
            found = ", ".join(sorted(set(error.instance) - set(error.schema.get("properties", {}))))
            return f"params.yaml: {key}: unknown key {found}; the known keys are: {known}"
        return f"params.yaml: {key}: {error.message}{_hint(error)}"
    for name, experiment in params["experiments"].items():
        inputs = experiment.get("inputs")
        if inputs and not inputs["low"] < inputs["high"]:
            return (
                f"params.yaml: experiments.{name}.inputs: found low {inputs['low']} and high {inputs['high']}, "
                "expected low < high"
            )
        if experiment["dataset"] not in params["datasets"]:
            return (
                f"params.yaml: experiments.{name}.dataset: found {experiment['dataset']!r}, "
                f"expected one of the datasets: {', '.join(params['datasets'])}"
            )
        recording = experiment.get("recording", {})
        try:
            if "shards" in recording:
                rows_of(recording, 1, recording["shards"])
        except UserError as wrong:
            return f"params.yaml: experiments.{name}.{wrong}"
    return None


@cache
def _validator() -> Draft202012Validator:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return Draft202012Validator(yaml.load(SCHEMA.read_text(encoding="utf-8"), loader))


def _hint(error: Any) -> str:
    description = error.schema.get("description")
    return f" ({description})" if description else ""


def repeated_key(text: str) -> str | None:
    """Return a key that stands twice in one mapping: YAML would keep the last one and say nothing."""
    waiting = [yaml.compose(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    return key
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return None


def check(params: Mapping[str, Any], file: Path) -> None:
    """Raise one clear sentence if the parameters, read from the file, are not as the schema says."""
    read_numbers(params)
    twice = repeated_key(file.read_text(encoding="utf-8")) if file.exists() else None
    found = f"{file}: the key {twice!r} stands twice in one place; keep one of them" if twice else problem(params)
    if found:
        raise WorkflowError(found)


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
    return json.dumps(values, sort_keys=True)
