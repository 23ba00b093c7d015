"""Sentences that stay true whatever the numbers: each takes measured values and says what they mean."""

from collections.abc import Mapping
from math import floor, inf, isfinite, log10

Metrics = Mapping[str, float]
_UNUSUAL = {inf: "∞", -inf: "−∞"}


def number(value: float) -> str:
    """Return a number with three significant digits, with a true minus sign.

    Examples
    --------
    >>> [number(v) for v in (0.0, 1234.5, 0.04086, 2.381e-07, -0.2379, 3, 88.16, float("-inf"))]
    ['0', '1,234', '0.0409', '2.4 · 10<sup>−7</sup>', '−0.238', '3', '88.2', '−∞']
    """
    if not isfinite(value):
        return _UNUSUAL.get(value, "unknown")
    if value == 0 or isinstance(value, int) or float(value).is_integer():
        text = f"{int(value):,}"
    elif abs(value) >= 1000:
        text = f"{value:,.0f}"
    elif abs(value) >= 1e-3:
        text = f"{value:#.3g}".rstrip(".")
    else:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa} · 10<sup>{int(exponent)}</sup>"
    return text.replace("-", "−")


def percent(share: float) -> str:
    """Return a share as per cent, with enough digits to not round to nothing.

    Examples
    --------
    >>> [percent(v) for v in (0.553, 0.0408, 0.000233, 0.000644, 1.0, 0.0, 2e-7)]
    ['55.3 %', '4.1 %', '0.023 %', '0.064 %', '100 %', '0 %', '0.00002 %']
    """
    value = 100 * share
    if not isfinite(value):
        return number(value)
    if value == 0 or value == 100:
        return f"{value:.0f} %"
    if abs(value) >= 1:
        return f"{value:.1f} %".replace("-", "−")
    return f"{value:.{1 - floor(log10(abs(value)))}f}".rstrip("0").replace("-", "−") + " %"


def correlation(value: float) -> str:
    """Return a correlation with three digits, or with as many nines as it has.

    Examples
    --------
    >>> [correlation(v) for v in (0.99979, 0.65, -0.04, 0.999999, 1.0)]
    ['0.9998', '0.65', '−0.04', 'over 0.9999', '1']
    """
    if not isfinite(value):
        return number(value)
    if 0.9999 < value < 1:
        return "over 0.9999"
    return f"{value:.{4 if value > 0.99 else 2}f}".rstrip("0").rstrip(".").replace("-", "−") if value else "0"


def times(value: float) -> str:
    """Return a ratio in words: "2.2 times", "1,200 times"."""
    if not isfinite(value):
        return f"{number(value)} times"
    return f"{float(f'{value:.2g}'):,g} times"


def conservation(m: Metrics) -> list[str]:
    """Is the sum of a map the output that it explains?"""
    lost, unaccounted = m["conservation_error_max"], m["unaccounted_relevance_max"]
    where = "over all samples and recorded steps"
    if lost < 1e-4:
        result = [
            f"**Relevance is conserved**: {where}, the sum of a map differs from the relevance put in by at most "
            f"{percent(lost)} of it, which is rounding. Relevance and prediction are one quantity drawn twice."
        ]
    elif lost < 0.1:
        result = [
            f"**Relevance is conserved up to {percent(lost)}**, the largest loss {where}. Up to this loss relevance "
            "and prediction are one quantity drawn twice.",
            "The loss is no mystery: it is what biases, stabilizers and units to which nothing contributes absorb on "
            "the way back.",
        ]
    else:
        result = [
            f"**Relevance is not conserved**: {where}, up to {percent(lost)} of it does not arrive at the pixels. "
            "With these rules the sum of a map is not the prediction, and the two figures may differ.",
        ]
    if unaccounted < 1e-3:
        result.append(
            f"After subtracting what the backward pass counts as absorbed, {percent(unaccounted)} remain: rounding."
        )
    else:
        result.append(
            f"Yet {percent(unaccounted)} remain after subtracting what the backward pass counts as absorbed: more than "
            "rounding explains, so maps of the samples concerned are not to be trusted."
        )
    return result


def smoothness(m: Metrics) -> list[str]:
    """Do maps change smoothly from step to step?"""
    if "successive_correlation_median" not in m:
        return ["No maps were stored, so nothing is said here about how smoothly they change."]
    r = m["successive_correlation_median"]
    verdict = (
        "**Step by step, the maps change smoothly**"
        if r > 0.99
        else "**Step by step, the maps change visibly, though not abruptly**"
        if r > 0.9
        else "**From step to step the maps jump**"
    )
    result = [
        f"{verdict}: the correlation of a map with its successor is {correlation(r)} (median over steps and samples)."
    ]
    if "path_to_net_change_median" in m:
        ratio = m["path_to_net_change_median"]
        text = (
            f"Smooth is not straight, however: summed over the steps, a map moves {times(ratio)} as far as the "
            "distance between its first and its last state. "
            if r > 0.9
            else f"Summed over the steps, a map moves {times(ratio)} as far as the distance between first and last "
            "state. "
        )
        text += (
            "Most of what the steps add up to is thus undone again; how much of it is the noise of single batches, a "
            "run with another learning rate or batch size would have to show."
            if ratio > 2
            else "It takes a rather direct way."
        )
        result.append(text)
    return result


def accuracy_of_measurement(m: Metrics) -> list[str]:
    """How far can the Dynamics be trusted as numbers?"""
    result = [
        "The sums were formed in double precision while the network was training. The divergences agree with the sum "
        f"of the separately stored step divergences to within {percent(m['step_sum_difference_max'])}."
    ]
    if "recomputation_difference_max" in m:
        result.append(
            "Recomputed from the maps in the file, which are kept in half precision, they differ by at most "
            f"{percent(m['recomputation_difference_max'])}, and every pixel lies within what that rounding can explain."
        )
    return result


def placement(m: Metrics) -> list[str]:
    """Is there more change where there is more relevance, and more than scale predicts?"""
    if "dynamics_relevance_spearman_median" not in m:
        return ["Too few pixels changed to compare Dynamics with relevance."]
    rho, slope = m["dynamics_relevance_spearman_median"], m["dynamics_relevance_slope_median"]
    detail = (
        f"over the pixels of a sample, the rank correlation of Dynamics with mean |relevance| is {correlation(rho)} "
        "(median)"
    )
    if rho < 0.3:
        return [f"**Change is not concentrated where relevance is high**: {detail}."]
    claim = "**Change sits where relevance is**" if rho > 0.8 else "**Change tends to sit where relevance is**"
    result = [f"{claim}: {detail}."]
    result.append(
        "Scale alone would do that: if a map merely grew louder and softer as a whole, each pixel would change in "
        "proportion to its relevance, and the logarithm of Dynamics would rise with that of relevance with slope 1. "
        f"The measured slope is {number(slope)} (median): "
        + (
            "no steeper, so high relevance brings no more change than its scale predicts."
            if slope <= 1.05
            else "steeper, so pixels of high relevance change by more than their scale predicts."
        )
    )
    return result


def pace(m: Metrics) -> list[str]:
    """How often was relevance recorded?"""
    gap = int(m["largest_step_gap"])
    when = "after every single training step" if gap == 1 else "again and again during the training"
    result = [f"Here they are made **{when}**, for the same fixed samples, to see how an explanation comes about."]
    if gap > 1:
        result.append(
            f"There are {int(m['recorded_steps']):,} such moments, at most {gap:,} training steps apart; what is "
            "called a step below leads from one of them to the next."
        )
    return result


def timing(m: Metrics) -> list[str]:
    """Is the change spread over the training or does it come in one step?"""
    share, even = m["worst_step_share_max"], 1 / max(m["recorded_steps"] - 1, 1)
    result = [
        f"The largest part of any sample's divergence that one single step holds is {percent(share)}; spread evenly, "
        f"each step would hold {percent(even)}."
    ]
    result.append(
        "In that sample one step dominates the sum, which points to the rule's denominators rather than to learning."
        if share > m["numerical_share"]
        else "No single step makes a sample's divergence."
    )
    return result


def outliers(m: Metrics) -> list[str]:
    """Are there extreme samples, and are they more than chance and numerics?"""
    flagged, persistent = int(m["outliers_flagged"]), int(m["outliers_persistent"])
    seeds, threshold, expected = int(m["seeds"]), f"{m['outlier_threshold']:.3g}", m["false_flags_expected"]
    total = f"{number(int(m['samples']))} samples" + (f" in each of {seeds} seeds" if seeds > 1 else "")
    ratio = times(m["divergence_max_over_median"]) if "divergence_max_over_median" in m else "many times"
    rule = (
        f"A sample is flagged if the logarithm of its divergence exceeds the median by more than {threshold} standard "
        "deviations (from the median absolute deviation). If divergence were log-normal, "
        f"{percent(m['false_positive_rate'])} of ordinary samples would be flagged: {number(expected)} of the samples "
        "here, in expectation."
    )
    if flagged == 0:
        result = [
            f"**No outlier** among {total}: the largest divergence is {ratio} the median, within what its distribution "
            "leads one to expect.",
            rule,
        ]
    else:
        result = [
            f"**{flagged} {plural(flagged, 'flag')}** among {total}: {int(m['outliers_numerical'])} numerical, "
            f"{persistent} persistent; the largest divergence is {ratio} the median.",
            rule,
            '"Numerical" means that one step holds an outsized share of the divergence, or that relevance met a '
            'denominator near zero: such a jump tells about the rule, not about the sample. "Persistent" is the rest.',
        ]
        if persistent and persistent <= 3 * expected:
            result.append("So few persistent flags may well be false ones.")
    if seeds > 1:
        agreed = int(m["outliers_in_majority_of_seeds"])
        result.append(
            f"In a majority of the seeds {agreed} {plural(agreed, 'sample')} {'is' if agreed == 1 else 'are'} "
            "flagged: only those can be said to be extreme because of what they show."
        )
    elif flagged:
        result.append("Whether the same samples would be flagged in another training, one seed cannot tell.")
    return result


def meaning(m: Metrics) -> list[str]:
    """What is divergence associated with?"""
    rho = m.get("divergence_spearman_mean_abs_relevance")
    if rho is None:
        return ["There are too few samples to correlate divergence with anything."]
    strength = "mostly reads out" if rho > 0.7 else "partly reads out" if rho > 0.3 else "is not explained by"
    return [
        f"**Divergence {strength} how much relevance a sample has**: the rank correlation with mean |relevance| is "
        f"{correlation(rho)}, and conserved relevance adds up to the logit. Before reading divergence as a property of "
        "a sample, compare it with scores that need the network's outputs only. Rank correlations over samples "
        "(median over seeds):"
    ]


def limits(m: Metrics, title: str) -> list[str]:
    """What this run leaves open."""
    seeds, samples = int(m["seeds"]), int(m["samples"])
    result = []
    if "synthetic" in title.lower():
        result.append("The images are synthetic: what holds for them need not hold for photographs.")
    if seeds == 1:
        result.append(
            "One training was run: nothing here separates what is due to the samples from what is due to chance."
        )
    elif "divergence_spearman_between_seeds" in m:
        result.append(
            "Between seeds, divergences have a rank correlation of "
            f"{correlation(m['divergence_spearman_between_seeds'])}; more seeds would make this figure more certain."
        )
    if samples < 1000:
        result.append(
            f"With {samples} samples, the tail of the distribution is known to about one sample in {samples}, no "
            "further."
        )
    result.append("One set of rules was used; other rules weigh pixels, and meet small denominators, in other ways.")
    return result


def plural(count: int, word: str) -> str:
    """Return the word, with an s unless there is just one."""
    return word if count == 1 else word + "s"
