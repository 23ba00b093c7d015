"""The figures of a homework experiment, in the order of the report; imports nothing, as a Snakefile lists them."""

from lrp_dynamics.studies.homework.parameters import EXPERIMENTS as EXPERIMENTS

STEPS = ("train", "explain", "draw")  # each a module of this package, and a subcommand `homework-<step>`

# name: (title, part of the report). A figure is drawn by the function of that name in figures.py or maps.py; its
# caption is workflow/report/<name>.rst.
HOMEWORK_FIGURES = {
    "homework_accuracy": ("Accuracy along training", "1 training"),
    "homework_evidence": ("Images with most evidence for their class", "2 explanations"),
    "homework_sensitivity": ("Sensitivity", "2 explanations"),
    "homework_deep_taylor": ("Deep Taylor", "2 explanations"),
    "homework_masked": ("Images masked by their heatmaps", "2 explanations"),
    "homework_conservation": ("Conservation", "2 explanations"),
    "homework_along_training": ("Explanations at every checkpoint", "3 along the training"),
    "homework_settling": ("When explanations settle", "3 along the training"),
}
