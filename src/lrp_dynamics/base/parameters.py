"""Parameters: each declared once, as a field of a frozen dataclass, with its kind, its default and a comment.

A section of params.yaml is a subclass of `Section`; `parse` and `normal` make it of a mapping and tell a mistake in one
sentence. `lrp_dynamics.base.reference` makes the JSON schema and the commented YAML of it.
"""

import argparse
import copy
import json
from collections.abc import Container, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, make_dataclass
from typing import Any, TypeVar

from lrp_dynamics.base.fit import Dataset
from lrp_dynamics.base.kinds import Kind, Mistake, brief


@dataclass(frozen=True)
class Section:
    """Base of the frozen dataclasses whose fields come from `parameter`; making one checks and normalises them all."""

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, kind_of(each).parse(getattr(self, each.name), each.name))
        if wrong := self.mistake():
            raise wrong

    def mistake(self) -> Mistake | None:
        """Return what is wrong with parameters that do not go together."""
        return None

    def check_fit(self, dataset: Dataset) -> None:
        """Raise `Mistake` if an experiment's parameters do not fit its dataset."""


S = TypeVar("S", bound=Section)


def parameter(kind: Kind, comment: str, default: Any = MISSING) -> Any:
    """Return the field of a parameter; without a default it is required."""
    metadata = {"kind": kind, "comment": comment}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata, kw_only=True)
    return field(default=default, metadata=metadata, kw_only=True)


def nested(kind: type[Section], comment: str = "", *, required: bool = False) -> Any:
    """Return the field of a section within a section; it may be left out unless it holds what is required."""
    return parameter(kind_of_section(kind), comment, MISSING if required else kind())


def kind_of_section(section: type[Section]) -> Kind:
    """Return the kind of a section within a section."""

    def read(value: Any) -> Section:
        return value if isinstance(value, section) else parse(section, value)

    names = ", ".join(each.name for each in fields(section))
    return Kind(f"a mapping with keys among {names}", {"$ref": f"#/$defs/{label(section)}"}, read, section)


def label(section: type[Section]) -> str:
    """Return a name that no other section has: its package and its own."""
    return ".".join([*section.__module__.split(".")[-2:-1], section.__name__])


def same(section: type[Section], name: str, **changes: Any) -> Any:
    """Return a field as in another section, but for `changes` of kind, comment or default."""
    known = field_at(section, name)
    default = known.default if known.default_factory is MISSING else known.default_factory()
    return parameter(**{"kind": kind_of(known), "comment": comment_of(known), "default": default} | changes)


def kind_of(each: Field) -> Kind:
    """Return what the parameter of a field may be."""
    return each.metadata["kind"]


def comment_of(each: Field) -> str:
    """Return what the parameter of a field means."""
    return each.metadata["comment"]


def is_required(each: Field) -> bool:
    """Tell whether a parameter has no default."""
    return each.default is MISSING and each.default_factory is MISSING


def field_at(section: type[Section], key: str) -> Field:
    """Return the field at a dotted key.

    Raises
    ------
    KeyError
        If there is none.
    """
    name, _, rest = key.partition(".")
    found = {each.name: each for each in fields(section)}[name]
    return field_at(section_at(section, name), rest) if rest else found


def section_at(section: type[Section], key: str) -> type[Section]:
    """Return the dataclass of the section at a dotted key; raise KeyError if there is none."""
    inner = kind_of(field_at(section, key)).section
    if inner is None:
        raise KeyError(key)
    return inner


def parse(section: type[S], values: Any, where: str = "") -> S:
    """Make a section of a mapping, such as one read from YAML or JSON.

    Parameters
    ----------
    section : type
        A subclass of `Section`.
    values : mapping
        Name of each parameter to its value; those with a default may be left out.
    where : str
        Dotted key of the section, with which a message begins.

    Raises
    ------
    Mistake
        The first one, a `UserError` that names its dotted key.

    Examples
    --------
    >>> from lrp_dynamics.base.kinds import whole
    >>> @dataclass(frozen=True)
    ... class Figures(Section):
    ...     samples: int = parameter(whole(1, 10), "samples that are shown", 4)
    >>> parse(Figures, {}, "figures").samples
    4
    >>> parse(Figures, {"samples": "4"}, "figures")
    Traceback (most recent call last):
    lrp_dynamics.base.kinds.Mistake: figures.samples: found '4', expected a whole number from 1 to 10
    """
    known = {each.name: each for each in fields(section)}
    if not isinstance(values, Mapping):
        raise Mistake(where, f"found {brief(values)}, expected a mapping with keys among {', '.join(known)}")
    if unknown := unknown_keys(values, known):
        raise Mistake(where, f"unknown key {unknown}; the known keys are: {', '.join(known)}")
    try:
        for name, each in known.items():
            if name not in values and is_required(each):
                raise Mistake(name, f"is missing, expected {kind_of(each).expected}")
        return section(**values)
    except Mistake as mistake:
        raise mistake.within(where) from None


def unknown_keys(values: Mapping[Any, Any], known: Container[str]) -> str:
    """Return the keys of a mapping that are not known, for a message: the first few, on one line."""
    unknown = [name for name in values if not (isinstance(name, str) and name in known)][:5]
    return ", ".join(name if isinstance(name, str) and name.isidentifier() else brief(name) for name in unknown)


def normal(section: type[Section], values: Any, where: str = "", *, fill: bool = True) -> dict[str, Any]:
    """Check a mapping as `parse` does, and return it as plain data in which equal parameters are written alike.

    Parameters
    ----------
    fill : bool
        Whether to add the defaults of parameters that were left out.
    """
    return as_mapping(parse(section, values, where), None if fill else values)


def as_mapping(section: Section, only: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a section as plain data; with `only`, the keys that this mapping has."""
    result = {}
    for each in fields(section):
        value = getattr(section, each.name)
        if only is None or each.name in only:
            inner = only[each.name] if only is not None else None
            inner = as_mapping(inner) if isinstance(inner, Section) else inner
            result[each.name] = as_mapping(value, inner) if isinstance(value, Section) else value
    return result


def pick(section: type[Section], *same_names: str, **keys: str) -> type[Section]:
    """Return a section of parameters that stand at dotted keys of another: what a step is given of an experiment.

    Examples
    --------
    >>> from lrp_dynamics.base.kinds import whole
    >>> @dataclass(frozen=True)
    ... class Training(Section):
    ...     threads: int = parameter(whole(1), "processor threads", 2)
    >>> @dataclass(frozen=True)
    ... class Experiment(Section):
    ...     seed: int = parameter(whole(0), "of everything", 0)
    ...     training: Training = nested(Training)
    >>> normal(pick(Experiment, "seed", threads="training.threads"), {"seed": 3})
    {'seed': 3, 'threads': 2}
    """
    chosen = [(name, Any, same(section, key)) for name, key in ({name: name for name in same_names} | keys).items()]
    return make_dataclass(section.__name__, chosen, bases=(Section,), frozen=True, namespace={"__module__": __name__})


def json_object(text: str) -> dict[str, Any]:
    """Type of an argument that holds parameters: a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are a ValueError
        raise argparse.ArgumentTypeError(f"found {brief(text)}, expected a JSON object ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"found {brief(text)}, expected a JSON object such as {{}}")
    return value
