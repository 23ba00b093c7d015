"""The face of the study: its steps and its figures. Imports nothing heavy, as a Snakefile reads it."""

# By kind of experiment.
from lrp_dynamics.studies.vgg11.parameters import EXPERIMENTS as EXPERIMENTS

# Each a module of this package, and a subcommand `vgg11-<step>`.
STEPS = ("trial", "search", "classify", "explain")
# name: (title, part of the report). A figure is drawn by the function of that name in figures.py; its caption is
# captions/<figure>.rst.
FIGURES = {
    "training": ("Training and validation", "1 training"),
    "confusion": ("Confusion matrix", "2 test"),
    "mistakes": ("Most certain mistakes", "2 test"),
    "relevance": ("Relevance with and without the filter", "3 explanations"),
    "concentration": ("How concentrated the relevance is", "3 explanations"),
}
# Drawn by the step `search`, of its own table.
SEARCH_FIGURES = {"search": ("Search for hyper-parameters", "4 search")}
