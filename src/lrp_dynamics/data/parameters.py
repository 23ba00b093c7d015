"""Parameters of datasets, by kind: the module of `lrp_dynamics.data` that prepares them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lrp_dynamics.base.fit import Dataset
from lrp_dynamics.base.kinds import (
    COUNT,
    SEED,
    SHA256,
    SHARE,
    TEXT,
    URLS,
    Mistake,
    list_of,
    mapping_of,
    number,
    one_of,
    optional,
    text,
    whole,
)
from lrp_dynamics.base.parameters import Section, parameter, parse, same

MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class Samples(Section):
    """What decides the samples of shapes10."""

    preset: str = parameter(one_of("easy", "standard", "hard"), "easy, standard, hard", "standard")
    seed: int = parameter(SEED, "of every sample", 0)
    label_noise: float = parameter(SHARE, "share of training labels replaced", 0.0)
    noise: str = parameter(one_of("symmetric", "asymmetric"), "symmetric, asymmetric", "symmetric")
    bg_corr: float = parameter(SHARE, "correlation of the background's texture with the class, 0 to 1", 0.0)
    patch: float = parameter(SHARE, "probability of a corner mark that gives the class away", 0.0)
    labels: str = parameter(one_of("shape", "xor"), "shape, or xor (of shape and background texture)", "shape")

    def mistake(self) -> Mistake | None:
        """Refuse labels that go with other options only."""
        if self.labels == "xor" and (self.bg_corr or self.noise == "asymmetric"):
            return Mistake(
                "labels",
                "found 'xor', which needs textures that do not depend on the shape and has no class pairs; "
                "set bg_corr to 0 and noise to 'symmetric'",
            )
        return None


def _title(default: str) -> str:
    return parameter(TEXT, "written on every figure", default)


@dataclass(frozen=True)
class Shapes10(Samples):
    """Embedded synthetic shapes with masks and known factors."""

    title: str = _title("shapes10 (synthetic)")
    n_train: int = parameter(whole(1, 1_000_000), "training images")
    n_test: int = parameter(whole(0, 1_000_000), "test images")


@dataclass(frozen=True)
class Cifar10(Section):
    """CIFAR-10 from its archive."""

    title: str = _title("CIFAR-10")
    urls: list[str] = parameter(URLS, "tried in turn: addresses or local files")
    sha256: str = parameter(SHA256, "checksum of the archive")
    bytes: int | None = parameter(optional(COUNT), "its size; null: not known", None)


@dataclass(frozen=True)
class Mnist(Section):
    """MNIST from its four files."""

    title: str = _title("MNIST")
    urls: list[str] = parameter(URLS, "folders that hold the four files")
    sha256: dict[str, str] = parameter(mapping_of(SHA256, "a mapping from files to their checksums"), "of each file")
    bytes: dict[str, int] = parameter(mapping_of(COUNT, "a mapping from files to their sizes"), "of each file", {})
    size: int = parameter(whole(1, 4096), "pixels; 28 as published", 28)
    channels: int = parameter(one_of(1, 3), "1, or 3 equal ones", 1)


@dataclass(frozen=True)
class Folder(Section):
    """Any folder of class sub-folders of images."""

    title: str | None = parameter(optional(TEXT), "written on every figure; null: the name of the folder", None)
    path: str = parameter(TEXT, "the folder, with a sub-folder of images for each class")
    size: int = parameter(whole(1, 4096), "height and width of the result, pixels", 32)
    test_fraction: float = parameter(
        number("a number of at least 0, less than 1", least=0, below=1),
        "share of each class that goes to the test split",
        0.2,
    )
    test_path: str | None = parameter(
        optional(TEXT),
        "a folder of the same sub-folders that is the test split, and test_fraction does not count; null: none",
        None,
    )
    channels: int = parameter(one_of(1, 3), "3, or 1: grey", 3)
    seed: int = parameter(SEED, "chooses which", 0)
    max_pixels: int = parameter(COUNT, "leave out files of more, before they are decoded", MAX_PIXELS)


@dataclass(frozen=True)
class Photos(Section):
    """Photos without labels."""

    title: str = _title("photos")
    path: str = parameter(TEXT, "put your own here: any format, no labels needed")
    packaged: list[str] = parameter(
        list_of(
            text("a photo of an installed package", "[A-Za-z0-9_]+:.+"),
            "a list of photos of installed packages, each as package:path inside it",
        ),
        "and these of installed packages",
        [],
    )
    resize: int = parameter(whole(1, 4096), "pixels that the shorter side is scaled to", 256)
    size: int = same(Folder, "size", comment="pixels cut from the centre", default=224)
    max_pixels: int = same(Folder, "max_pixels")


KINDS: dict[str, type[Section]] = {
    "shapes10": Shapes10,
    "cifar10": Cifar10,
    "mnist": Mnist,
    "folder": Folder,
    "photos": Photos,
}


def known(kind: str, name: str, params: Mapping[str, Any]) -> Dataset:
    """Return what the parameters of a dataset, in their normal form, tell of its images.

    Examples
    --------
    >>> known("photos", "mine", {"path": "data/photos"})
    Dataset(name='mine', train=0, test=None, size=None, masks=False)
    """
    sizes = {"shapes10": (params.get("n_train"), params.get("n_test")), "cifar10": (50_000, 10_000)}
    sizes |= {"mnist": (60_000, 10_000), "photos": (0, None)}
    pixels = 32 if kind in ("shapes10", "cifar10") else params.get("size")
    return Dataset(name, *sizes.get(kind, (None, None)), pixels, masks=kind == "shapes10")


def given(kind: str, name: str, params: Mapping[str, Any]) -> Any:
    """Return the parameters of the dataset of that name, with which "kind" may stand, as the dataclass of its kind."""
    return parse(KINDS[kind], {key: value for key, value in params.items() if key != "kind"}, f"datasets.{name}")
