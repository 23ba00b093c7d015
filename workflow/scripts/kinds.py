"""What a rules file says of the experiments of one kind: their rules, and what figures and report are made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Kind:
    """How experiments of a kind are made.

    Attributes
    ----------
    study : str
        Whose package, captions and notebook it is.
    steps : list of str
        Rules, without those of figures and report, which are made alike for all kinds in show.smk.
    drawn_from, told_from : dict
        Inputs of the figures, as the study's `open_results` names them, and of the report, as its notebook does.
    told_with : callable, optional
        Parameters of the report.
    without : tuple of str
        Figures of the study that this kind does not have.
    if_given : dict
        Further rules of experiments that have a certain section of parameters.
    shown_by : tuple of str
        Names of the rules of figures and report.
    explored_from : dict
        Recordings that the explorer's page is made of, where the kind has some along a training; by any name.
    explored_with : dict
        Further inputs of that page, by the name of their option.
    """

    study: str
    steps: list[str]
    drawn_from: dict[str, Any]
    told_from: dict[str, Any]
    shown_by: tuple[str, str]
    told_with: Any = None
    without: tuple[str, ...] = ()
    if_given: dict[str, list[str]] = field(default_factory=dict)
    explored_from: dict[str, Any] = field(default_factory=dict)
    explored_with: dict[str, str] = field(default_factory=dict)

    @property
    def explored_by(self) -> str:
        """Name of the rule of the explorer's page."""
        return self.shown_by[1].replace("report", "explorer")

    @property
    def figures(self) -> dict[str, tuple[str, str]]:
        """Name: (title, part of the report)."""
        known = import_module(f"lrp_dynamics.studies.{self.study}.study").FIGURES
        return {name: about for name, about in known.items() if name not in self.without}

    def steps_of(self, experiment: Mapping[str, Any]) -> list[str]:
        """Return the rules that make an experiment."""
        further = [step for section, steps in self.if_given.items() if experiment.get(section) for step in steps]
        explored = [self.explored_by] if self.explored_from else []
        return ["prepare", *self.steps, *further, *self.shown_by, *explored]
