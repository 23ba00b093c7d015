"""The face of the study: its steps and its figures. Imports nothing heavy, as a Snakefile reads it."""

# By kind of experiment.
from lrp_dynamics.studies.homework.parameters import EXPERIMENTS as EXPERIMENTS

# Each a module of this package, and a subcommand `homework-<step>`.
STEPS = ("train", "explain")
# name: (title, part of the report). A figure is drawn by the function of that name in figures.py; its caption is
# captions/<figure>.rst.
FIGURES = {
    "accuracy": ("Accuracy along training", "1 training"),
    "evidence": ("Images with most evidence for their class", "2 explanations"),
    "sensitivity": ("Sensitivity", "2 explanations"),
    "deep_taylor": ("Deep Taylor", "2 explanations"),
    "masked": ("Images masked by their heatmaps", "2 explanations"),
    "conservation": ("Conservation", "2 explanations"),
    "along_training": ("Explanations at every checkpoint", "3 along the training"),
    "settling": ("When explanations settle", "3 along the training"),
}
