"""The parameters of one training, as `lrp_dynamics.training.run.run_training` and its commands take them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lrp_dynamics.base.kinds import SEED, TEXT, Kind, optional
from lrp_dynamics.base.parameters import Section, kind_of_section, nested, parameter, parse, same
from lrp_dynamics.base.training_sections import (
    GRADIENTS,
    Checkpoints,
    Inputs,
    Recording,
    Recordings,
    Validation,
    composite,
)
from lrp_dynamics.training.loop import Settings


@dataclass(frozen=True)
class OneRecording(Recording):
    """What is recorded by one composite, or by a gradient alone."""

    composite: Any = same(Recording, "composite", kind=composite(*GRADIENTS))


def _read_recording(value: Any) -> Section:
    several = isinstance(value, Mapping) and "composites" in value
    return parse(Recordings if several else OneRecording, value)


@dataclass(frozen=True)
class Run(Section):
    """One training; what is left out of `recording`, `checkpoints` and `validation` is not made."""

    model: str = parameter(TEXT, "a name of lrp_dynamics.models, or code of your own")
    seed: int = parameter(SEED, "of initial weights and order of the images", 0)
    inputs: Inputs = nested(Inputs, required=True)
    training: Settings = nested(Settings, required=True)
    recording: Recording | Recordings | None = parameter(
        optional(Kind("the parameters of a recording", {}, _read_recording)), "what is recorded", None
    )
    checkpoints: Checkpoints | None = parameter(optional(kind_of_section(Checkpoints)), "weights that are kept", None)
    validation: Validation | None = parameter(optional(kind_of_section(Validation)), "images that are held out", None)
