"""The figures of a VGG-11 experiment, in the order of the report; imports nothing, as a Snakefile lists them."""

from lrp_dynamics.studies.vgg11.parameters import EXPERIMENTS as EXPERIMENTS

STEPS = (
    "trial",
    "search",
    "classify",
    "explain",
    "draw",
)  # each a module of this package, and a subcommand `vgg11-<step>`

# name: (title, part of the report). A figure is drawn by the function of that name in figures.py; its caption
# is workflow/report/<name>.rst.
VGG11_FIGURES = {
    "vgg11_training": ("Training and validation", "1 training"),
    "vgg11_confusion": ("Confusion matrix", "2 test"),
    "vgg11_mistakes": ("Most certain mistakes", "2 test"),
    "vgg11_relevance": ("Relevance with and without the filter", "3 explanations"),
    "vgg11_concentration": ("How concentrated the relevance is", "3 explanations"),
}
VGG11_SEARCH = {"vgg11_search": ("Search for hyper-parameters", "4 search")}
