"""The parameters of experiments of kinds `vgg16`, with published weights, and `vgg16_fitted`, trained here."""

from dataclasses import dataclass
from typing import Any

from lrp_dynamics.base.fit import Dataset, check_training, needs_test_images
from lrp_dynamics.base.kinds import (
    COUNT,
    NAMES,
    SEED,
    SHA256,
    TEXT,
    URLS,
    Mistake,
    either,
    list_of,
    mapping_of,
    one_of,
    optional,
)
from lrp_dynamics.base.parameters import Section, nested, parameter, same
from lrp_dynamics.base.training_sections import SignedInputs, Training, composite, composite_name
from lrp_dynamics.reports.parameters import Shown

_NETWORKS = tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn"))


@dataclass(frozen=True)
class Weights(Section):
    """Published weights."""

    network: str = parameter(one_of(*_NETWORKS), "a VGG of torchvision", "vgg16")
    trained_on: str = parameter(TEXT, "title of the data", "ImageNet")
    urls: list[str] = parameter(URLS, "of any state_dict of this network, tried in turn: addresses or local files")
    sha256: str = parameter(SHA256, "checksum of the file")
    bytes: int | None = parameter(optional(COUNT), "its size; null: not known", None)


@dataclass(frozen=True)
class Flipping(Section):
    """The test that replaces the most relevant squares first."""

    region: int = parameter(COUNT, "side of the replaced squares, pixels", 16)
    steps: int = parameter(COUNT, "how many are replaced one after the other", 14)
    fill: str = parameter(one_of("blur", "mean"), "what they become: blur, mean", "blur")


@dataclass(frozen=True)
class Explanations(Section):
    """How a network is explained, and how its explanations are measured."""

    images: int | None = parameter(optional(COUNT), "test images, the classes in turn; null: all", None)
    composites: Any = parameter(
        either(
            list_of(composite_name(), "a list of names of composites, each once", least=1, unique=True),
            mapping_of(composite(), "a mapping from names of your own to composites", least=1, names=NAMES),
        ),
        "layers and texts are of the first one",
        ["tutorial_vgg16", "epsilon_gamma_box", "epsilon_plus_flat"],
    )
    flipping: Flipping = nested(Flipping)
    mprt_images: int = parameter(COUNT, "for the test with random weights", 1)
    seed: int = parameter(SEED, "of ties, and of random weights", 0)
    threads: int = same(Training, "threads")


def _check_images(explanations: Explanations, dataset: Dataset) -> None:
    needs_test_images(dataset)
    region = explanations.flipping.region
    if dataset.size is not None and dataset.size % region:
        what = f"a divisor of {dataset.size}, height and width of the images of dataset {dataset.name!r}"
        raise Mistake("explanations.flipping.region", f"found {region}, expected {what}")


@dataclass(frozen=True)
class Published(Section):
    """A VGG with published weights."""

    dataset: str = parameter(TEXT, "one of the datasets")
    weights: Weights = nested(Weights, required=True)
    explanations: Explanations = nested(Explanations)
    figures: Shown = nested(Shown)

    def check_fit(self, dataset: Dataset) -> None:
        """Refuse a dataset without images to explain, or whose images the squares of the flipping do not fill."""
        _check_images(self.explanations, dataset)


@dataclass(frozen=True)
class Fitted(Section):
    """A narrow VGG-16 that is trained first."""

    dataset: str = parameter(TEXT, "one of the datasets")
    model: str = parameter(one_of("vgg16_narrow"), "vgg16_narrow", "vgg16_narrow")
    seed: int = parameter(SEED, "of initial weights and order of the images", 0)
    inputs: SignedInputs = nested(SignedInputs)
    training: Training = nested(Training)
    explanations: Explanations = nested(Explanations)
    figures: Shown = nested(Shown)

    def check_fit(self, dataset: Dataset) -> None:
        """Refuse batches larger than the images, and a dataset without images to explain, or masks."""
        if not dataset.masks:
            raise Mistake(
                "dataset", f"found {dataset.name!r}, expected one of kind shapes10, which has masks of objects"
            )
        _check_images(self.explanations, dataset)
        check_training(self.training, dataset)


EXPERIMENTS: dict[str, type[Section]] = {"vgg16": Published, "vgg16_fitted": Fitted}
