"""The parameters of an experiment of kind `halves`."""

from dataclasses import dataclass

from lrp_dynamics.base.kinds import TEXT, one_of, whole
from lrp_dynamics.base.parameters import Section, nested, parameter
from lrp_dynamics.base.training_sections import SEEDS, Inputs, Training


@dataclass(frozen=True)
class Figures(Section):
    """What the figures show."""

    bars: int = parameter(whole(2, 100), "bars of the histogram", 20)


@dataclass(frozen=True)
class Halves(Section):
    """A training, and the loss of its halves."""

    dataset: str = parameter(TEXT, "one of the datasets")
    model: str = parameter(one_of("blog_cnn"), "blog_cnn", "blog_cnn")
    seeds: list[int] = parameter(SEEDS, "one training each: of initial weights and order of the images", [0])
    inputs: Inputs = nested(Inputs)
    training: Training = nested(Training)
    figures: Figures = nested(Figures)


EXPERIMENTS: dict[str, type[Section]] = {"halves": Halves}
