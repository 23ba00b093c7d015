"""The figures of the VGG-16 study, in order; imports nothing, so that a Snakefile can list them."""

from lrp_dynamics.studies.vgg16.parameters import EXPERIMENTS as EXPERIMENTS

STEPS = ("weights", "explain", "draw")  # each a module of this package, and a subcommand `vgg16-<step>`

# name: (title, part of the report); drawn by the function of that name without "vgg16_" in figures.vgg16_maps or
# figures.vgg16_measures; the caption is workflow/report/<name>.rst.
FIGURES = {
    "vgg16_predictions": ("Predictions", "1 what the network sees"),
    "vgg16_composites": ("Explanations by different rules", "2 explanations"),
    "vgg16_contrast": ("Predicted class against runner-up", "2 explanations"),
    "vgg16_activations": ("Activations layer by layer", "3 layers"),
    "vgg16_layers": ("Relevance layer by layer", "3 layers"),
    "vgg16_absorption": ("What the layers absorb", "3 layers"),
    "vgg16_flipping": ("Pixel flipping", "4 evaluation"),
    "vgg16_mprt": ("Randomised weights", "4 evaluation"),
}
# Only where the dataset has masks.
MASK_FIGURES = {"vgg16_localisation": ("Relevance in the object", "4 evaluation")}
