"""What a parameter may be: numbers, texts, lists ..., each with a normal form, words and a JSON schema."""

import math
import re
import reprlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import Any

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.names import shown


class Mistake(UserError):
    """A wrong parameter: its dotted key, "" for the section itself, and what is wrong with it."""

    def __init__(self, key: str, sentence: str):
        super().__init__(f"{shown(key) or 'parameters'}: {sentence}")
        self.key, self.sentence = key, sentence

    def within(self, name: str) -> "Mistake":
        """Return the same mistake, told of the section or mapping of that name."""
        return Mistake(".".join(filter(None, [name, self.key])), self.sentence)


@dataclass(frozen=True)
class Kind:
    """What a parameter may be.

    Attributes
    ----------
    expected : str
        In words, for messages and the reference.
    schema : mapping
        As JSON schema.
    read : callable
        Returns a value in its normal form, so that equal values are written alike; raises ValueError for others.
    section : type, optional
        The dataclass, where the parameter is a section of its own.
    """

    expected: str
    schema: Mapping[str, Any]
    read: Callable[[Any], Any]
    section: type | None = None

    def parse(self, value: Any, name: str) -> Any:
        """Return the value of the parameter of that name in its normal form.

        Raises
        ------
        Mistake
            If it is not of this kind.
        """
        try:
            return self.read(value)
        except Mistake as mistake:  # of something within the value
            raise mistake.within(name) from None
        except (ValueError, OverflowError):
            raise Mistake(name, f"found {brief(value)}, expected {self.expected}") from None


def brief(value: Any) -> str:
    """Return a value as Python writes it, on one line; of what is long or deep, the beginning.

    Examples
    --------
    >>> brief("zplus"), brief(list(range(100)))
    ("'zplus'", '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]')
    """
    return _BRIEF.repr(value)


class _Brief(reprlib.Repr):
    def repr_int(self, value: int, level: int) -> str:
        return repr(value) if abs(value) < 10**40 else "a whole number of more than 40 digits"


_BRIEF = _Brief()
_BRIEF.maxstring = _BRIEF.maxother = 100
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = 10
_BRIEF.maxlevel = 4
GREATEST_COUNT = 2**31 - 1
GREATEST = 1e38  # little less than float32 holds, in which networks compute


LONGEST_TEXT = 1000  # characters
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of a character, ends of lines
LONGEST = 1000  # entries of a list or mapping


def whole(low: int, high: int | None = None) -> Kind:
    """Return the kind of whole numbers from `low` to `high`; 1000.0, as which 1e3 is read, is one."""
    limits = f"of at least {low}" if high is None else f"from {low} to {high}"
    schema = {"type": "integer", "minimum": low, "maximum": GREATEST_COUNT if high is None else high}

    def read(value: Any) -> int:
        if not _is_number(value) or value != int(value) or value < low or (high is not None and value > high):
            raise ValueError
        if high is None and value > GREATEST_COUNT:
            raise Mistake("", f"found {brief(value)}, expected a whole number from {low} to {GREATEST_COUNT}")
        return int(value)

    return Kind(f"a whole number {limits}", schema, read)


_LIMITS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "above": ("exclusiveMinimum", lambda value, limit: value > limit),
    "least": ("minimum", lambda value, limit: value >= limit),
    "below": ("exclusiveMaximum", lambda value, limit: value < limit),
    "most": ("maximum", lambda value, limit: value <= limit),
}


def number(expected: str = "a number", **limits: float) -> Kind:
    """Return the kind of finite numbers within limits: `above`, `least`, `below`, `most`; normal is a float."""

    def read(value: Any) -> float:
        if not _is_number(value) or not math.isfinite(value):
            raise ValueError
        if not all(_LIMITS[name][1](value, limit) for name, limit in limits.items()):
            raise ValueError
        if abs(value) > GREATEST:
            raise Mistake("", f"found {brief(value)}, expected {expected}, and at most {GREATEST:g} in size")
        return float(value) + 0.0  # 0.0 for -0.0, too

    schema = {_LIMITS[name][0]: limit for name, limit in limits.items()}
    if not {"above", "least"} & limits.keys():
        schema |= {"minimum": -GREATEST}
    if not {"below", "most"} & limits.keys():
        schema |= {"maximum": GREATEST}
    return Kind(expected, {"type": "number"} | schema, read)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def one_of(*values: str | int) -> Kind:
    """Return the kind of these values."""

    def read(value: Any) -> Any:
        if isinstance(value, bool) or value not in values:
            raise ValueError
        return values[values.index(value)]

    *first, last = map(str, values)
    return Kind(f"{', '.join(first)} or {last}" if first else last, {"enum": list(values)}, read)


def _read_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


BOOLEAN = Kind("true or false", {"type": "boolean"}, _read_boolean)


def text(expected: str = "a text that is not empty", pattern: str = "", longest: int = LONGEST_TEXT) -> Kind:
    """Return the kind of texts on one line that are not empty, or fit a pattern from begin to end."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or not (re.fullmatch(pattern, value) if pattern else value):
            raise ValueError
        if len(value) > longest:
            raise Mistake("", f"found {brief(value)} of {len(value)} characters, expected {longest} at most")
        if not is_plain(value):
            raise Mistake("", f"found {brief(value)}, expected {expected}, on one line and without control characters")
        return value

    schema = {"type": "string", "maxLength": longest} | (
        {"pattern": anchored(pattern)} if pattern else {"minLength": 1}
    )
    return Kind(expected, schema, read)


def is_plain(value: str) -> bool:
    """Tell whether a text can be shown on one line: not too long, no control characters, no halves of a character."""
    return len(value) <= LONGEST_TEXT and not any(unicodedata.category(letter) in _UNPRINTABLE for letter in value)


def anchored(pattern: str) -> str:
    """Return as JSON schema that a pattern fits from begin to end, where $ may stand before a last new line, too."""
    return f"^({pattern})$(?!\\n)"


def list_of(kind: Kind, expected: str, least: int = 0, *, unique: bool = False) -> Kind:
    """Return the kind of lists of at most `LONGEST` items that are of a kind."""

    def read(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise ValueError
        _check_length(value)
        items = [kind.read(item) for item in value]
        if unique and any(item in items[:place] for place, item in enumerate(items)):
            raise ValueError
        return items

    schema = {"type": "array", "items": kind.schema, "maxItems": LONGEST} | ({"minItems": least} if least else {})
    return Kind(expected, schema | ({"uniqueItems": True} if unique else {}), read)


def _check_length(value: Sized) -> None:
    if len(value) > LONGEST:
        raise Mistake("", f"found {len(value)} entries, expected {LONGEST} at most")


def mapping_of(kind: Kind, expected: str, least: int = 0, names: str = ".+") -> Kind:
    """Return the kind of mappings from names that fit a pattern to values of a kind."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or len(value) < least:
            raise ValueError
        _check_length(value)
        if not all(isinstance(name, str) and re.fullmatch(names, name) and is_plain(name) for name in value):
            raise ValueError
        return {name: kind.parse(item, name) for name, item in value.items()}

    schema = {"type": "object", "additionalProperties": kind.schema, "maxProperties": LONGEST}
    schema |= {"minProperties": least} if least else {}
    return Kind(expected, schema | {"propertyNames": {"maxLength": LONGEST_TEXT, "pattern": anchored(names)}}, read)


def alike(names: Iterable[str]) -> list[str]:
    """Return two names that differ in the case of letters alone, which macOS takes for the same, or none.

    Examples
    --------
    >>> alike(["gamma", "epsilon", "Gamma"])
    ['gamma', 'Gamma']
    """
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            return [seen[name.lower()], name]
        seen[name.lower()] = name
    return []


def either(first: Kind, *others: Kind) -> Kind:
    """Return the kind of values that are of one of several kinds: of the first that takes them."""
    kinds = (first, *others)

    def read(value: Any) -> Any:
        for kind in kinds:
            try:
                return kind.read(value)
            except Mistake:  # within a value of the right shape
                raise
            except ValueError:
                continue
        raise ValueError

    schema = {"anyOf": [kind.schema for kind in kinds]}
    return Kind(", or ".join(kind.expected for kind in kinds), schema, read)


def optional(kind: Kind) -> Kind:
    """Return the kind that may be null as well."""
    schema = {"anyOf": [{"type": "null"}, kind.schema]}
    return Kind(
        f"{kind.expected}, or null", schema, lambda value: None if value is None else kind.read(value), kind.section
    )


def _read_plain(value: Any, depth: int = 0) -> Any:
    """Plain data such as JSON can hold, of no more than some depth: YAML can have a list hold itself."""
    if depth > _DEEPEST:
        raise ValueError
    if isinstance(value, Mapping):
        return {TEXT.read(name): _read_plain(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        _check_length(value)
        return [_read_plain(item, depth + 1) for item in value]
    if _is_number(value):
        number().read(value)
        return value
    return value if value is None or value == "" or isinstance(value, bool) else TEXT.read(value)


_DEEPEST = 10
TEXT = text()
PLAIN = Kind("a number, a text, true, false, null, or a list or mapping of such", {}, _read_plain)
SEED = whole(0, 2**31 - 1)  # augmentation makes larger ones of it, and torch takes no more than 64 bits
COUNT = whole(1)
SHARE = number("a number from 0 to 1", least=0, most=1)
PART = number("a number between 0 and 1, neither of them", above=0, below=1)
POSITIVE = number("a number greater than 0", above=0)
NOT_NEGATIVE = number("a number of at least 0", least=0)
NAMES = "[A-Za-z0-9_]{1,64}"  # of experiments, datasets and explanations: they become names of folders
URLS = list_of(TEXT, "a list of addresses or local files", least=1)
SHA256 = text("64 hexadecimal digits, in small letters", "[0-9a-f]{64}")
