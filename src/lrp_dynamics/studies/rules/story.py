"""Sentences of the rule comparison: each takes measured values and says what they mean."""

from collections.abc import Mapping, Sequence

import numpy as np

from lrp_dynamics.measures.advice import ranks, reasons
from lrp_dynamics.reports.words import correlation, listed, number, percent, plural

Table = Mapping[str, np.ndarray]


def recorded(steps: int, every: int, seeds: int) -> str:
    """Say how many trainings there were, of how many steps, and how often they were recorded."""
    pace = "every step" if every == 1 else f"every {every} steps"
    return f"{seeds} {plural(seeds, 'training')} of {steps:,} {plural(steps, 'step')}, recorded {pace}"


def choice(table: Table, names: Sequence[str]) -> str:
    """Say which explanation has the best mean rank, what speaks for and against it, and which comes close."""
    order = np.argsort(table["mean_rank"], kind="stable")
    best, rank = int(order[0]), table["mean_rank"]
    speaks, against = reasons(table, best)
    close = [names[row] for row in order[1:] if rank[row] - rank[best] < 0.5]
    return (
        f"**By the mean of its ranks, {names[best]} is the first choice here**"
        + (f": {listed(speaks)}." if speaks else ".")
        + (f" It is among the last in this: {listed(against)}." if against else "")
        + (f" Close behind {'is' if len(close) == 1 else 'are'} {listed(close)}." if close else "")
    )


def conserving(table: Table, names: Sequence[str]) -> str:
    """Say which explanations conserve, and how far the sums of the others are from the output."""
    error = table["conservation_error_median"]
    kept = error < 1e-3
    good, bad = ([name for name, k in zip(names, kept, strict=True) if k == which] for which in (True, False))
    if good:
        worst = percent(table["conservation_error_max"][kept].max())
        text = f"**{len(good)} of {len(names)} explanations {'conserves' if len(good) == 1 else 'conserve'}**: "
        text += f"{listed(good)}. In the worst sample and step, {worst} of the relevance is lost."
    else:
        text = f"**None of the {len(names)} explanations conserves.**"
    if bad:
        low, high = error[~kept].min(), error[~kept].max()
        span = percent(high) if len(bad) == 1 else f"{percent(low)} to {percent(high)}"
        text += (
            f" {'With' if not good else 'Of the others,' if len(bad) > 1 else 'Of the other,'} "
            + ("them, " if not good else "")
            + f"the sum of a map differs from the output by {span} (the largest error along the training, median over "
            "samples)."
        )
    return text


def flags(table: Table) -> str:
    """Say how many samples all explanations flag together."""
    flagged, numerical = (int(table[f"outliers_{kind}"].sum()) for kind in ("flagged", "numerical"))
    if not flagged:
        return "**No sample is flagged as an outlier** by any explanation."
    return (
        f"**{flagged} {plural(flagged, 'outlier')} {'is' if flagged == 1 else 'are'} flagged**, counted over all "
        f"explanations, {numerical or 'none'} of them for numerical reasons."
    )


def ranking(table: Table, seeds: int) -> list[str]:
    """Say what the ranks are of, and what they leave out."""
    found = ranks(table)
    ties = sum(int((values == values[0]).all()) for values in found.values())
    result = [
        f'The ranks are those of {len(found)} criteria, which count alike; "among the last" means the last quarter.'
    ]
    if ties:
        result.append(
            "One criterion finds all explanations alike, and so ranks none of them."
            if ties == 1
            else f"{ties} criteria find all explanations alike, and so rank none of them."
        )
    if seeds == 1:
        result.append("Whether another training would find the same samples was not measured: that needs two seeds.")
    if "mass_on_object" not in found:
        result.append("There are no masks, so nothing is said about localisation.")
    return [*result, "Where differences are small, so is the meaning of a rank: look at the numbers below."]


def books(table: Table, names: Sequence[str]) -> list[str]:
    """Say of the explanations that do not conserve where the difference goes."""
    lost, open_ = table["conservation_error_median"] >= 1e-3, table["unaccounted_relevance_max"] >= 1e-3
    absorbed = [name for name, a, b in zip(names, lost, open_, strict=True) if a and not b]
    unknown = [name for name, a, b in zip(names, lost, open_, strict=True) if a and b]
    result = []
    if absorbed:
        result.append(
            f"What {listed(absorbed)} {'loses' if len(absorbed) == 1 else 'lose'} on the way is accounted for: biases "
            "and stabilizers absorb it."
        )
    if unknown:
        result.append(
            f"{listed(unknown)} {'keeps' if len(unknown) == 1 else 'keep'} no balance: nothing says where the "
            "difference between sum and output goes."
        )
    return result or ["All of them conserve."]


def smoothness(table: Table, names: Sequence[str], every: int) -> list[str]:
    """Say whose maps change most smoothly, and whether the explanations differ in it."""
    values = table["successive_correlation_median"]
    if np.isnan(values).all():
        return ["How alike successive maps are was not measured."]
    high, low = int(np.nanargmax(values)), int(np.nanargmin(values))
    interval = "From one step to the next" if every == 1 else "From one record to the next"
    return [
        f"{interval}, maps of {names[high]} are most alike (correlation {correlation(float(values[high]))}), those of "
        f"{names[low]} least ({correlation(float(values[low]))}).",
        "So how smoothly maps change during a training depends on the explanation as well as on the training."
        if values[high] - values[low] > 0.05
        else "In this, the explanations hardly differ.",
    ]


def denominators(table: Table, names: Sequence[str]) -> list[str]:
    """Say how small denominators were, how large single steps, and whether the one made the other."""
    smallest, jumps = table["min_abs_z"], table["worst_step_share_max"]
    result = []
    if np.isfinite(smallest).any():
        closest = int(np.argmin(np.where(np.isfinite(smallest), smallest, np.inf)))
        result.append(
            f"The smallest denominator that relevance met is {number(float(smallest[closest]))} ({names[closest]})."
        )
    result.append(
        f"The largest share of a sample's divergence that one step holds is {percent(jumps.max())} "
        f"({names[int(jumps.argmax())]})."
    )
    numerical = table["outliers_numerical"]
    if numerical.sum():
        result.append(
            "Flagged for numerical reasons are samples of "
            f"{listed(name for name, count in zip(names, numerical, strict=True) if count)}."
        )
    elif np.nanmin(smallest) < 1e-6:
        result.append(
            "Small denominators alone do not make jumps: no sample of any explanation is flagged for numerical reasons."
        )
    else:
        result.append("No sample of any explanation is flagged for numerical reasons.")
    return result


def agreement(table: Table, spoken: Mapping[str, str]) -> list[str]:
    """Say which explanations agree most and least on which samples change most, and how far on maps."""
    pairs = [f"{spoken[a]} and {spoken[b]}" for a, b in zip(table["a"], table["b"], strict=True)]
    values = table["divergence"]
    result = []
    if np.isfinite(values).any():
        most, least = int(np.nanargmax(values)), int(np.nanargmin(values))
        text = f"On which samples change most, {pairs[most]} agree most (Spearman {correlation(float(values[most]))})"
        if np.isfinite(values).sum() > 1:
            text += (
                f" and {pairs[least]} least ({correlation(float(values[least]))}); the median over all pairs is "
                f"{correlation(float(np.nanmedian(values)))}"
            )
        result.append(text + ".")
    maps = [(what, table[column]) for what, column in (("Dynamics maps", "dynamics_map"), ("last maps", "last_map"))]
    told = [f"{correlation(float(np.nanmedian(v)))} on {what}" for what, v in maps if np.isfinite(v).any()]
    if told:
        result.append(f"On *where* change and relevance are, the median over all pairs is {' and '.join(told)}.")
    return result or ["There are too few samples to compare explanations."]


def limits(seeds: int, title: str) -> list[str]:
    """Say what the comparison leaves open."""
    result = [f"One network was trained on one dataset, {'once' if seeds == 1 else f'{seeds} times'}."]
    if "synthetic" in title.lower():
        result.append("The images are synthetic: what holds for them need not hold for photographs.")
    return [
        *result,
        "A map that is smooth, conserves and lies on the object may still not show what the network computes. These "
        "are properties wanted of a measuring instrument, not proof that it measures the right thing.",
    ]
