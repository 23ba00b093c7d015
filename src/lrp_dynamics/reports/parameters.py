"""Parameters of figures that several studies draw."""

from dataclasses import dataclass

from lrp_dynamics.base.kinds import whole
from lrp_dynamics.base.parameters import Section, parameter


@dataclass(frozen=True)
class AlongTraining(Section):
    """Figures of single samples along a training."""

    samples: int = parameter(whole(1, 10), "samples in the figures of single samples", 4)
    snapshots: int = parameter(whole(2, 16), "moments of the training in the heatmap figures", 8)


@dataclass(frozen=True)
class Shown(Section):
    """Figures of single images."""

    images: int = parameter(whole(1, 12), "shown and told of one by one", 6)
