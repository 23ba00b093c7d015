"""What is wrong with params.yaml as a file, before Snakemake reads it: found without running or unfolding anything."""

from collections import Counter
from pathlib import Path

import yaml
from parameters import check_top_level
from snakemake.exceptions import WorkflowError

from lrp_dynamics.base.kinds import Mistake, brief

MOST_BYTES, MOST_VALUES = 1_000_000, 100_000


def problem_of_file(content: bytes) -> str | None:
    """Return what is wrong with a file of parameters before its values are looked at, in one sentence, or None.

    It may hold no more than three keys at the top: of a fourth, `__use_yte__`, Snakemake would run what the file says.
    """
    if len(content) > MOST_BYTES:
        return f"found {len(content)} bytes, expected {MOST_BYTES} at most"
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"line {line} is not UTF-8 text; save the file as UTF-8"
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        _weigh(node, {}, "the top level")
        check_top_level(yaml.safe_load(text))
    except Mistake as mistake:
        return str(mistake)
    except RecursionError:
        return "lists or mappings are nested too deeply"
    except yaml.YAMLError as error:
        mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        return f"{f'line {mark.line + 1}' if mark else 'the file'} is not YAML ({what or str(error).splitlines()[0]})"
    except (
        Exception
    ) as error:  # numbers of thousands of digits, dates in month 13: YAML's readers raise almost anything
        return (
            f"a value is not what its form says ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        )
    return None


def first_line(error: Exception) -> str:
    """Return what an error says, on one line."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _weigh(node: yaml.Node | None, weights: dict[int, int], where: str) -> int:
    """Return how many values a part of a file stands for, aliases followed.

    Raises
    ------
    Mistake
        If a mapping has a key twice, of which YAML would keep the last and say nothing; if something holds itself, or
        aliases of aliases stand for more values than anyone has.
    """
    if id(node) in weights:
        if not weights[id(node)]:
            raise Mistake(where, "holds itself by an alias; write out what is meant")
        return weights[id(node)]
    weights[id(node)] = 0
    weight = 1
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((key for key, count in Counter(keys).items() if count > 1), None):
            raise Mistake(where, f"the key {brief(twice)} stands twice in one place; keep one of them")
    if isinstance(node, yaml.CollectionNode):
        for item in node.value:
            name, item = ("", item) if isinstance(item, yaml.Node) else (brief(item[0].value).strip("'"), item[1])
            inner = ".".join(filter(None, [where.removeprefix("the top level"), name])) or where
            weight += _weigh(item, weights, inner)
    if weight > MOST_VALUES:
        raise Mistake(where, f"holds more than {MOST_VALUES} values")
    weights[id(node)] = weight
    return weight


def check_file(file: Path) -> None:
    """Refuse a file that Snakemake must not read, or cannot; one that is not there Snakemake tells of."""
    if file.exists() and (found := problem_of_file(file.read_bytes())):
        raise WorkflowError(f"{file}: {found}")
