"""Parameters of what is measured."""

from dataclasses import dataclass

from lrp_dynamics.base.kinds import NOT_NEGATIVE, PART, POSITIVE, SHARE, optional
from lrp_dynamics.base.parameters import Section, parameter


@dataclass(frozen=True)
class Outliers(Section):
    """Which samples are flagged, and how a flag is called."""

    threshold: float = parameter(POSITIVE, "log-MAD z above which a divergence is flagged", 3.5)
    fwer: float | None = parameter(
        optional(PART), "or choose the threshold by a family-wise error rate, such as 0.05", None
    )
    numerical_share: float = parameter(SHARE, 'one step with more of the divergence than this: label "numerical"', 0.25)
    min_abs_z: float = parameter(NOT_NEGATIVE, "or a denominator smaller than this", 1e-7)
