"""Sections of params.yaml that describe a training and what is recorded of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from lrp_dynamics.base import own_code
from lrp_dynamics.base.kinds import (
    COUNT,
    NAMES,
    NOT_NEGATIVE,
    PART,
    PLAIN,
    POSITIVE,
    SEED,
    TEXT,
    Kind,
    Mistake,
    alike,
    brief,
    either,
    list_of,
    mapping_of,
    number,
    one_of,
    optional,
    text,
    whole,
)
from lrp_dynamics.base.parameters import Section, parameter, same, unknown_keys

# By name, so that a Snakefile need not import the rules; a test compares them with `lrp.COMPOSITES`.
COMPOSITES = (
    *("z_plus", "deep_taylor", "lrp0", "epsilon", "epsilon_rms", "gamma", "alpha2_beta1", "alpha2_beta1_conserving"),
    *("w_square_plus", "epsilon_plus", "epsilon_plus_flat", "epsilon_gamma_box", "epsilon_alpha2_beta1"),
    *("epsilon_alpha2_beta1_flat", "attnlrp", "cp_lrp"),
    *("homework", "tutorial_vgg16", "from_scratch", "from_scratch_top_k"),
    *("zennit_z_plus", "zennit_epsilon_plus", "zennit_epsilon_plus_flat", "zennit_epsilon_gamma_box"),
    *("zennit_epsilon_alpha2_beta1", "zennit_epsilon_alpha2_beta1_flat", "captum_epsilon", "captum_alpha1_beta0"),
    *("captum_gamma", "innvestigate_z_plus", "innvestigate_alpha1_beta0", "innvestigate_epsilon"),
)
# Explanations that propagate nothing, recorded like composites.
GRADIENTS = ("gradient_x_input", "sensitivity")


_STABILIZED = ("epsilon", "relative", "over", "signed")
# Rules and their options, which a test compares with those of `lrp.rules`.
RULES = {
    "epsilon": (*_STABILIZED, "bias"),
    "z_plus": (*_STABILIZED, "bias", "negative"),
    "alpha_beta": (*_STABILIZED, "alpha", "beta", "bias", "conserving"),
    "gamma": (*_STABILIZED, "gamma", "bias", "generalized"),
    **dict.fromkeys(("z_box", "w_square", "flat", "norm", "average", "gate", "half"), _STABILIZED),
    **dict.fromkeys(("winner", "constant", "taylor", "pass"), ()),
}


def _read_option(value: Any) -> Any:
    """Every number among the options of a rule is a real one."""
    if isinstance(value, bool | str):
        return value
    return number().read(value)


_OPTIONS = mapping_of(
    Kind("a number, a text, true or false", {}, _read_option), "a mapping of `rule` and its options", 1
)


def _read_rule(value: Any) -> Any:
    """A name, or a mapping of `rule`, a name, and options that the rule has."""
    options = _OPTIONS.read(value) if isinstance(value, Mapping) else {"rule": TEXT.read(value)}
    name = options.get("rule")
    if name not in RULES:
        raise Mistake("", f"found {brief(name)}, which no rule is called; choose one of {', '.join(RULES)}")
    if unknown := unknown_keys(options, ("rule", *RULES[name])):
        has = f"the known keys are: {', '.join(RULES[name])}" if RULES[name] else "it has none"
        raise Mistake("", f"unknown key {unknown} of rule {name}; {has}")
    return options if isinstance(value, Mapping) else name


_RULE = Kind(
    "the name of a rule, or a mapping of `rule` and its options",
    {"anyOf": [{"enum": list(RULES)}, _OPTIONS.schema]},
    _read_rule,
)
_RULES_OF_TEXT = mapping_of(_RULE, "a mapping from layers to rules", 1)
# YAML takes the key of the third layer for a number.
_RULES = replace(
    _RULES_OF_TEXT,
    read=lambda value: _RULES_OF_TEXT.read(
        {str(key): rule for key, rule in value.items()} if isinstance(value, Mapping) else value
    ),
)
_FIELDS = {"name": text(), "rules": _RULES, "initial": one_of("logit", "relu", "softmax", "one", "contrast")}
_FIELDS |= {"top_k": number("a number greater than 0, at most 1", above=0, most=1)}


def _read_composite(value: Any) -> dict[str, Any]:
    """Rules alone, or `rules` beside other fields, as in Python."""
    if not isinstance(value, Mapping) or "rules" not in value:
        return _RULES.read(value)
    if unknown := unknown_keys(value, _FIELDS):
        raise Mistake("", f"unknown key {unknown}; the known keys are: {', '.join(_FIELDS)}")
    return {key: _FIELDS[key].parse(item, key) for key, item in value.items()}


_WRITTEN_OUT = Kind(
    "a mapping from layers to rules, or of rules, initial and top_k", {"type": "object", "minProperties": 1},
    _read_composite,
)  # fmt: skip


def composite_name(*more: str) -> Kind:
    """Return the kind of names of composites, and of `more`."""
    names = (*COMPOSITES, *more)

    def read(value: Any) -> str:
        if isinstance(value, str) and value not in names:
            close = get_close_matches(value, names, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(names)}"
            raise Mistake("", f"found {brief(value)}, which no composite is called; {hint}")
        return TEXT.read(value)

    return Kind("the name of a composite", {"enum": list(names)}, read)


def composite(*more: str) -> Kind:
    """Return the kind of composites: a name, also one of `more`, or rules written out."""
    return either(composite_name(*more), _WRITTEN_OUT)


def model_name(*names: str) -> Kind:
    """Return the kind of names of networks, and of code of one's own (see `lrp_dynamics.base.own_code`)."""
    own = text(f"your own network as {own_code.FORMS}", own_code.PATTERN)

    def read(value: Any) -> str:
        if value in names:
            return value
        if isinstance(value, str) and not own_code.is_own(value):
            close = get_close_matches(value, names, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(names)}, or {own.expected}"
            raise Mistake("", f"found {brief(value)}, which no network is called; {hint}")
        return own.read(value)

    schema = {"anyOf": [{"enum": list(names)}, own.schema]}
    return Kind(f"{', '.join(names)}, or {own.expected}", schema, read)


SEEDS = list_of(SEED, "a list of whole numbers from 0 to 2147483647, each once", least=1, unique=True)


@dataclass(frozen=True)
class Inputs(Section):
    """What pixel values become."""

    low: float = parameter(number(), "what the pixel value 0 becomes", 0.0)
    high: float = parameter(number(), "what the pixel value 255 becomes", 1.0)

    def mistake(self) -> Mistake | None:
        """Refuse an empty range."""
        if self.low < self.high:
            return None
        return Mistake("low", f"found {self.low}, expected a number less than high, which is {self.high}")


@dataclass(frozen=True)
class SignedInputs(Inputs):
    """What pixel values become, around 0."""

    low: float = same(Inputs, "low", default=-1.0)


@dataclass(frozen=True)
class Training(Section):
    """How a network is trained."""

    epochs: int = parameter(COUNT, "passes over the training images", 5)
    batch_size: int = parameter(COUNT, "images a step; a last, smaller batch of an epoch is left out", 100)
    optimizer: str = parameter(one_of("adam", "sgd"), "adam or sgd", "adam")
    learning_rate: float = parameter(POSITIVE, "step size of the optimizer", 0.001)
    momentum: float = parameter(number("a number of at least 0, less than 1", least=0, below=1), "of sgd", 0.0)
    weight_decay: float = parameter(NOT_NEGATIVE, "L2 penalty", 0.0)
    max_steps: int | None = parameter(optional(COUNT), "stop earlier than after the epochs", None)
    threads: int = parameter(whole(1, 1024), "part of the result: sums depend on it in the last bit", 2)
    device: str = parameter(
        text("cpu, cuda, cuda:N or auto", r"cpu|auto|cuda(:[0-9]{1,3})?"), "cpu, cuda, cuda:N or auto", "cpu"
    )


@dataclass(frozen=True)
class AugmentedTraining(Training):
    """How a network is trained in mixed precision and on images that are changed at random."""

    precision: str = parameter(
        one_of("float32", "bfloat16", "float16"),
        "float32, bfloat16, float16: of the products of a training step",
        "float32",
    )
    augmentation: Mapping[str, Any] | None = parameter(
        optional(
            mapping_of(
                mapping_of(PLAIN, "a mapping of the transform's options"),
                "a mapping from transforms of torchvision.transforms.v2 to their options",
                names="[A-Z][A-Za-z0-9]+",
            )
        ),
        "transforms of torchvision.transforms.v2 and their options, see docs/studies/vgg11.md",
        None,
    )


@dataclass(frozen=True)
class Validation(Section):
    """Training images that are held out."""

    share: float = parameter(PART, "of the training images, held out", 0.1)
    seed: int = parameter(SEED, "of the draw", 0)
    every: float = parameter(
        number("a number of at least 0.000001", least=1e-6), "epochs from one measurement to the next", 0.5
    )
    patience: int | None = parameter(
        optional(COUNT), "stop after so many measurements without a better one; null: never", None
    )


@dataclass(frozen=True)
class Checkpoints(Section):
    """Weights that are kept."""

    iterations: list[int] = parameter(
        list_of(COUNT, "a list of two or more whole numbers, each once", least=2, unique=True),
        "training steps after which weights and accuracy are kept",
    )
    test_images: int = parameter(COUNT, "the first ones of the test split; accuracy is measured on them", 500)


@dataclass(frozen=True)
class Samples(Section):
    """The samples that are explained while a network is trained."""

    samples: int = parameter(whole(3), "drawn before training", 100)
    split: str = parameter(one_of("train", "test"), "train or test", "train")
    seed: int = parameter(SEED, "of the draw; the same samples for all seeds of training", 0)
    target: str = parameter(one_of("label"), "the class whose score is explained", "label")
    every: int = parameter(COUNT, "record each n-th step", 1)
    maps: int = parameter(COUNT, "of how many samples the maps are stored", 100)
    batch_size: int = parameter(COUNT, "samples explained at a time; part of the result, in its last bits", 50)


@dataclass(frozen=True)
class Recording(Samples):
    """What is recorded of a training by one composite."""

    composite: Any = parameter(composite(), "a name, or rules as in docs/lrp/composites.md", "z_plus")
    shards: int = parameter(
        COUNT, "divide the samples among so many jobs, each with a training of its own: same result", 1
    )


@dataclass(frozen=True)
class Recordings(Samples):
    """What is recorded of a training by several composites side by side."""

    composites: Mapping[str, Any] = parameter(
        mapping_of(
            composite(*GRADIENTS),
            "a mapping from two or more names (letters, digits and _) to composites",
            least=2,
            names=NAMES,
        ),
        "results/<experiment>/seed-<k>/<name>/relevance.h5 each",
    )

    def mistake(self) -> Mistake | None:
        """Refuse names that some disks take for the same."""
        if twice := alike(self.composites):
            return Mistake("composites", f"found {' and '.join(twice)}, which some disks take for the same name")
        return None
