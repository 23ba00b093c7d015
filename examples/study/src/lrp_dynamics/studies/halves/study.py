"""The face of the study: its steps and its figures. Imports nothing heavy, as a Snakefile reads it."""

# By kind of experiment.
from lrp_dynamics.studies.halves.parameters import EXPERIMENTS as EXPERIMENTS

# Each a module of this package, and a subcommand `halves-<step>`.
STEPS = ("measure",)
# name: (title, part of the report). A figure is drawn by the function of that name in figures.py; its caption is
# captions/<figure>.rst.
FIGURES = {"loss": ("Loss of both halves", "1 training")}
