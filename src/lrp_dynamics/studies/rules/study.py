"""The face of the study: its steps and its figures. Imports nothing heavy, as a Snakefile reads it."""

# By kind of experiment.
from lrp_dynamics.studies.rules.parameters import EXPERIMENTS as EXPERIMENTS

# Each a module of this package, and a subcommand `rules-<step>`.
STEPS = ("compare",)
# Pages beside the report, which links to them: address and title.
BESIDE = {"explorer.html": "Explorer: scrub through the training"}
# name: (title, part of the report). A figure is drawn by the function of that name in figures.py; its caption is
# captions/<figure>.rst.
FIGURES = {
    "maps": ("Maps along training", "1 maps"),
    "dynamics_maps": ("Dynamics by explanation", "1 maps"),
    "conservation": ("Conservation along training", "2 measurements"),
    "smoothness": ("Smoothness", "2 measurements"),
    "denominators": ("Denominators and jumps", "2 measurements"),
    "divergence": ("Distribution of divergence", "2 measurements"),
    "placement": ("Where relevance is, and how concentrated", "2 measurements"),
    "agreement": ("Agreement between explanations", "3 choice"),
    "ranks": ("Ranks by criterion", "3 choice"),
}
