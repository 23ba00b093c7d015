"""What the declarations of parameters say: as JSON schema for editors, and as commented YAML for readers."""

import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any

from lrp_dynamics.base.kinds import BOOLEAN, COUNT, SEED, TEXT, number
from lrp_dynamics.base.parameters import Section, as_mapping, comment_of, is_required, kind_of, label

COLUMN = 34  # where the comments of commented YAML begin
REQUIRED = "<required>"
# What the value itself shows.
_EVIDENT = {TEXT.expected, COUNT.expected, SEED.expected, BOOLEAN.expected, number().expected}


def definitions(section: type[Section]) -> dict[str, Any]:
    """Return the JSON schema of a section and of all sections in it, by the name that `$ref` gives them."""
    own = {
        "type": "object",
        "description": section.__doc__,
        "additionalProperties": False,
        "required": [each.name for each in fields(section) if is_required(each)],
        "properties": {each.name: _property(each) for each in fields(section)},
    }
    found = {label(section): own}
    for each in fields(section):
        if inner := kind_of(each).section:
            found |= definitions(inner)
    return found


def _property(each: Field) -> dict[str, Any]:
    schema = dict(kind_of(each).schema)
    if comment_of(each):
        schema["description"] = comment_of(each)
    if not is_required(each):
        schema["default"] = default_of(each)
    return schema


def default_of(each: Field) -> Any:
    """Return the default of a parameter as plain data."""
    default = each.default if each.default_factory is MISSING else each.default_factory()
    return as_mapping(default) if isinstance(default, Section) else default


def skeleton(section: type[Section], indent: str = "") -> Iterator[str]:
    """Yield the lines of a section as YAML with its defaults, and comments that say what may stand there.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from lrp_dynamics.base.kinds import SHARE
    >>> from lrp_dynamics.base.parameters import parameter
    >>> @dataclass(frozen=True)
    ... class Validation(Section):
    ...     share: float = parameter(SHARE, "held out", 0.1)
    >>> print(*skeleton(Validation))
    share: 0.1                        # held out; a number from 0 to 1
    """
    for each in fields(section):
        kind = kind_of(each)
        if kind.section and (is_required(each) or default_of(each) is not None):
            yield f"{indent}{each.name}:"
            yield from skeleton(kind.section, f"{indent}  ")
            continue
        value = REQUIRED if is_required(each) else json.dumps(default_of(each), ensure_ascii=False).replace('"', "")
        yield f"{f'{indent}{each.name}: {value}':<{COLUMN - 1}} # {_told(each)}"


def _told(each: Field) -> str:
    """Return the comment of a parameter, and what it may be where neither comment nor default say so."""
    comment, kind = comment_of(each), kind_of(each)
    evident = kind.expected.removesuffix(", or null") in _EVIDENT
    if evident or all(str(value) in comment for value in kind.schema.get("enum", [kind.expected])):
        return comment
    return f"{comment}; {kind.expected}"
