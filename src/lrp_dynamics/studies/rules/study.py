"""The figures of a rule comparison, in the order of the report; imports nothing, as a Snakefile lists them."""

from lrp_dynamics.studies.rules.parameters import EXPERIMENTS as EXPERIMENTS

STEPS = ("compare", "draw")  # each a module of this package, and a subcommand `rules-<step>`

# name: (title, part of the report). A figure is drawn by the function of that name in figures.py or maps.py; its
# caption is workflow/report/<name>.rst.
RULES_FIGURES = {
    "rules_maps": ("Maps along training", "1 maps"),
    "rules_dynamics_maps": ("Dynamics by explanation", "1 maps"),
    "rules_conservation": ("Conservation along training", "2 measurements"),
    "rules_smoothness": ("Smoothness", "2 measurements"),
    "rules_denominators": ("Denominators and jumps", "2 measurements"),
    "rules_divergence": ("Distribution of divergence", "2 measurements"),
    "rules_placement": ("Where relevance is, and how concentrated", "2 measurements"),
    "rules_agreement": ("Agreement between explanations", "3 choice"),
    "rules_ranks": ("Ranks by criterion", "3 choice"),
}
