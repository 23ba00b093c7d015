"""The figures of one recorded training, in the order of the story."""

from lrp_dynamics.recording.figures.heatmaps import heatmap_changes, heatmaps
from lrp_dynamics.recording.figures.learning import (
    conservation,
    prediction_and_relevance,
    samples,
    step_changes,
    training_loss,
)
from lrp_dynamics.recording.figures.measuring import schematic
from lrp_dynamics.recording.figures.spread import differences, divergence, dynamics_maps

__all__ = [
    "conservation",
    "differences",
    "divergence",
    "dynamics_maps",
    "heatmap_changes",
    "heatmaps",
    "prediction_and_relevance",
    "samples",
    "schematic",
    "step_changes",
    "training_loss",
]
