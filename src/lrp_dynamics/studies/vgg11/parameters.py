"""The parameters of an experiment of kind `vgg11`: a training with validation, a test, explanations and a search."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lrp_dynamics.base.fit import Dataset, check_training, needs_test_images
from lrp_dynamics.base.kinds import (
    BOOLEAN,
    COUNT,
    PART,
    PLAIN,
    SEED,
    TEXT,
    Kind,
    Mistake,
    list_of,
    mapping_of,
    number,
    one_of,
    optional,
    whole,
)
from lrp_dynamics.base.parameters import (
    Section,
    as_mapping,
    field_at,
    kind_of,
    kind_of_section,
    label,
    nested,
    parameter,
    parse,
    same,
)
from lrp_dynamics.base.reference import definitions
from lrp_dynamics.base.training_sections import AugmentedTraining, SignedInputs, Training, Validation
from lrp_dynamics.reports.parameters import Shown


@dataclass(frozen=True)
class Normalised(AugmentedTraining):
    """How the network is trained."""

    batch_size: int = same(Training, "batch_size", kind=whole(2))  # batch normalisation needs two images


@dataclass(frozen=True)
class Explanations(Section):
    """How the network is explained."""

    images: int = parameter(COUNT, "test images, the classes in turn", 100)
    top_k: float = parameter(PART, "share of each layer's relevance values that the filter lets through", 0.02)
    speed_images: int = parameter(COUNT, "explained against the clock", 500)
    batch_size: int = parameter(COUNT, "images explained at once", 50)


def _read_end(value: Any) -> float | int:
    """Both ends of a range of whole numbers are whole: written as such they stay it."""
    number().read(value)
    return value


_END = Kind("a number", {"type": "number"}, _read_end)


@dataclass(frozen=True)
class Range(Section):
    """Numbers of which a random trial takes one."""

    low: float = parameter(_END, "the least; whole numbers are drawn where both ends are")
    high: float = parameter(_END, "the greatest")
    log: bool = parameter(BOOLEAN, "whether the logarithm is evenly distributed")

    def mistake(self) -> Mistake | None:
        """Refuse a range that has nothing to draw from."""
        if self.log and self.low <= 0:
            return Mistake("low", f"found {self.low}, expected a number greater than 0, as its logarithm is taken")
        if self.low > self.high:
            return Mistake("low", f"found {self.low}, expected at most high, which is {self.high}")
        return None


def _read_values(value: Any) -> Any:
    return as_mapping(parse(Range, value)) if isinstance(value, Mapping) else _CHOICES.read(value)


_CHOICES = list_of(PLAIN, "a list of values", least=1)
_VALUES = Kind(
    "a list of values, or a mapping of low, high and log",
    {"anyOf": [_CHOICES.schema, definitions(Range)[label(Range)]]},
    _read_values,
)


@dataclass(frozen=True)
class Search(Section):
    """Trainings with other parameters, to see which are best."""

    sampler: str = parameter(one_of("grid", "random"), "grid, random")
    trials: int | None = parameter(optional(COUNT), "how many, or null for a whole grid", None)
    seed: int = parameter(SEED, "of the random sampler", 0)
    space: Mapping[str, Any] = parameter(
        mapping_of(
            _VALUES,
            "a mapping from keys of the experiment (model, seed, or in inputs, training, validation) to their values",
            least=1,
            names=r"model|seed|(inputs|training|validation)[.][a-z_]+",
        ),
        "keys of the experiment, such as training.learning_rate, to lists of values or {low, high, log}",
    )

    def mistake(self) -> Mistake | None:
        """Refuse what a sampler cannot do."""
        if self.sampler == "random" and self.trials is None:
            return Mistake("trials", "found null, expected the number of random trials")
        for key, values in self.space.items():
            if self.sampler == "grid" and isinstance(values, Mapping):
                return Mistake(f"space.{key}", "is a range, of which a grid cannot take all values; list some")
        return None


MOST_TRIALS = 1000


def count_trials(search: Search) -> int:
    """Return how many trainings a search asks for."""
    points = math.prod(len(values) for values in search.space.values())
    if search.sampler == "random":
        return search.trials or 0
    return points if search.trials is None else min(points, search.trials)


@dataclass(frozen=True)
class Vgg11(Section):
    """VGG-11 trained with validation, tested, and explained."""

    dataset: str = parameter(TEXT, "one of the datasets")
    model: str = parameter(
        one_of("vgg11_32", "vgg11_bn_32", "vgg11_bn_half", "vgg11_bn_quarter", "vgg11_bn_narrow"),
        "vgg11_32: as published; vgg11_bn_32, _half, _quarter, _narrow (an eighth of the width)",
        "vgg11_bn_32",
    )
    seed: int = parameter(SEED, "of initial weights, order and augmentation of the images", 0)
    inputs: SignedInputs = nested(SignedInputs)
    training: Normalised = nested(Normalised)
    validation: Validation = nested(Validation)
    explanations: Explanations = nested(Explanations)
    search: Search | None = parameter(
        optional(kind_of_section(Search)),
        "or {sampler: random, trials: 8, seed: 0, space: …}, see docs/studies/vgg11.md",
        None,
    )
    figures: Shown = nested(Shown)

    def mistake(self) -> Mistake | None:
        """Refuse a search among values that the parameters cannot have."""
        if self.search and count_trials(self.search) > MOST_TRIALS:
            return Mistake("search.trials", f"found {count_trials(self.search)} trials, expected {MOST_TRIALS} at most")
        for key, value in self._tried():
            try:
                kind_of(field_at(type(self), key)).parse(value, f"search.space.{key}")
            except KeyError:
                return Mistake(f"search.space.{key}", "is no parameter of the experiment")
            except Mistake as mistake:
                return mistake
        return None

    def check_fit(self, dataset: Dataset) -> None:
        """Refuse batches larger than the images, a validation without images, and a dataset without a test."""
        needs_test_images(dataset)
        check_training(self.training, dataset, self.validation.share)

    def _tried(self) -> Iterator[tuple[str, Any]]:
        """Yield key and value of every choice of the search, and of both ends of its ranges."""
        for key, values in (self.search.space if self.search else {}).items():
            tried = (values["low"], values["high"]) if isinstance(values, Mapping) else values
            yield from ((key, value) for value in tried)


EXPERIMENTS: dict[str, type[Section]] = {"vgg11": Vgg11}
