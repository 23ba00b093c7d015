"""The face of the study: its steps and its figures. Imports nothing heavy, as a Snakefile reads it."""

# By kind of experiment.
from lrp_dynamics.studies.blog.parameters import EXPERIMENTS as EXPERIMENTS

# Each a module of this package, and a subcommand `blog-<step>`.
STEPS = ("outliers", "posts")
# Pages beside the report, which links to them: address and title.
BESIDE = {"explorer.html": "Explorer: scrub through the training"}
# name: (title, which post it retells). A figure is drawn by the function of that name in figures.py; its caption is
# captions/<figure>.rst.
FIGURES = {
    "samples": ("Fixed samples", "1 training and relevance"),
    "training_loss": ("Training loss", "1 training and relevance"),
    "prediction_and_relevance": ("Prediction and relevance", "1 training and relevance"),
    "step_changes": ("Changes from step to step", "1 training and relevance"),
    "conservation": ("Conservation of relevance", "1 training and relevance"),
    "heatmaps": ("Heatmaps along training", "1 training and relevance"),
    "heatmap_changes": ("Changes of the heatmaps along training", "1 training and relevance"),
    "schematic": ("How dynamics are measured", "2 dynamics"),
    "dynamics_maps": ("Dynamics of single samples", "2 dynamics"),
    "differences": ("Individual differences", "2 dynamics"),
    "divergence": ("Distribution of divergence", "2 dynamics"),
}
