"""The face of the study: its steps and its figures. Imports nothing heavy, as a Snakefile reads it."""

# By kind of experiment.
from lrp_dynamics.studies.vgg16.parameters import EXPERIMENTS as EXPERIMENTS

# Each a module of this package, and a subcommand `vgg16-<step>`.
STEPS = ("weights", "explain")
# name: (title, part of the report). A figure is drawn by the function of that name in figures.py; its caption is
# captions/<figure>.rst.
FIGURES = {
    "predictions": ("Predictions", "1 what the network sees"),
    "composites": ("Explanations by different rules", "2 explanations"),
    "contrast": ("Predicted class against runner-up", "2 explanations"),
    "activations": ("Activations layer by layer", "3 layers"),
    "layers": ("Relevance layer by layer", "3 layers"),
    "absorption": ("What the layers absorb", "3 layers"),
    "flipping": ("Pixel flipping", "4 evaluation"),
    "mprt": ("Randomised weights", "4 evaluation"),
    "localisation": ("Relevance in the object", "4 evaluation"),
}
# Of these, what is drawn only where the dataset has masks.
MASK_FIGURES = ("localisation",)
