"""The figures of an experiment: one function each, drawn from result files alone."""

from lrp_dynamics.figures.names import FIGURES, NAMES

__all__ = ["FIGURES", "NAMES"]
