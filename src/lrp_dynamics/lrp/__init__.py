"""Layer-wise relevance propagation for networks whose forward does not branch on values."""

from lrp_dynamics.lrp.composites import COMPOSITES, Composite
from lrp_dynamics.lrp.engine import Explainer, Relevance, relevance, try_rule
from lrp_dynamics.lrp.gradients import gradient_x_input, sensitivity
from lrp_dynamics.lrp.plots import plot
from lrp_dynamics.lrp.rules import RULES, Rule

__all__ = [
    "COMPOSITES",
    "RULES",
    "Composite",
    "Explainer",
    "Relevance",
    "Rule",
    "gradient_x_input",
    "plot",
    "relevance",
    "sensitivity",
    "try_rule",
]
