"""Sentences that stay true whatever the numbers: each takes measured values and says what they mean."""

from collections.abc import Mapping
from math import inf

from lrp_dynamics.reports.words import correlation, number, percent, plural, points, times

Metrics = Mapping[str, float]


def conserves(m: Metrics) -> bool:
    """Whether the sum of every map is the output that it explains, or nearly so."""
    return m.get("conservation_error_max", inf) < 0.1


def conservation(m: Metrics, accounted: bool = True) -> list[str]:
    """Is the sum of a map the output that it explains?

    Parameters
    ----------
    m : Metrics
    accounted : bool
        Whether the maps are of rules that tell what they absorb, and not of an attribution of which nothing is known.
    """
    lost, unaccounted = m["conservation_error_max"], m["unaccounted_relevance_max"]
    where = "over all samples and recorded steps"
    if lost < 1e-4:
        result = [
            f"**Relevance is conserved**: {where}, the sum of a map differs from the relevance put in at the output by "
            f"at most {percent(lost)}. The two are the same quantity."
        ]
    elif conserves(m):
        result = [
            f"**Relevance is conserved up to {percent(lost)}**, the largest loss {where}. Up to this loss, the sum of "
            "a map and the relevance put in at the output are the same quantity.",
        ]
        if unaccounted < 1e-3:
            result.append("The loss is what biases, stabilizers and units without any input absorb on the way back.")
    else:
        result = [
            f"**{'Relevance is not conserved' if accounted else 'The maps do not add up to the output'}**: the sum of "
            f"a map differs from the relevance put in at the output by up to {percent(lost)} ({where}; of the larger "
            "of that relevance and the map's Σ|R|). It is not the output that the map explains.",
        ]
    if unaccounted < 1e-3 and lost < 1e-4:
        pass  # there is nothing to subtract
    elif unaccounted < 1e-3:
        result.append(
            f"Once what the backward pass counts as absorbed is subtracted, {percent(unaccounted)} remains: rounding."
        )
    elif not accounted:
        result.append("What became of the rest is not known: this attribution does not tell what it absorbs.")
    else:
        result.append(
            f"Yet {percent(unaccounted)} remains once what the backward pass counts as absorbed is subtracted. That is "
            "more than rounding explains, so the maps of the samples concerned are not to be trusted."
        )
    return result


def likeness(m: Metrics) -> list[str]:
    """What does it mean that sums of relevance move like predictions?"""
    if conserves(m):
        return [
            "That would be no discovery. These rules *conserve*: each layer hands on the relevance that it receives, "
            "so the sum of the map is the output that was explained. The figure is therefore a check, and this is its "
            "result:"
        ]
    return [
        "With these rules, it is not a matter of course that they do: on the way from the output to the pixels, layers "
        "keep part of the relevance. This is how much:"
    ]


def whereabouts(m: Metrics) -> list[str]:
    """Why look at the maps, and not at their sums alone?"""
    begins = (
        "Conservation fixes how much relevance there is. It leaves open *where* the relevance goes."
        if conserves(m)
        else "The sum of a map does not say *where* the relevance goes."
    )
    return [f"{begins} Here are the maps of a few samples, from the untrained network to the last step:"]


def accuracy(m: Metrics) -> list[str]:
    """How well does the network classify, and how much of that is particular to the training images?"""
    known = [
        f"{percent(m[f'{name}_accuracy'])} on {word} images"
        for name, word in (("train", "training"), ("test", "test"))
        if f"{name}_accuracy" in m
    ]
    if not known:
        return []
    loss = f", and a training loss of {number(m['final_loss'])}" if "final_loss" in m else ""
    seeds = f" (means of {m['seeds']} seeds)" if m["seeds"] > 1 else ""
    result = [f"The network ends with an accuracy of {' and '.join(known)}{loss}{seeds}."]
    if len(known) == 2:
        gap = m["train_accuracy"] - m["test_accuracy"]
        if gap > 0.1:
            result.append(
                f"The gap of {points(gap)} means that part of what is learned is specific to the training images. So "
                "may be part of what the heatmaps show late in the training."
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
    if "path_to_net_change_median" in m and m["recorded_steps"] > 2:
        ratio = m["path_to_net_change_median"]
        far = f"summed over the steps, a map moves {times(ratio)} as far as from its first to its last state (median). "
        text = f"Smooth is not straight, however: {far}" if r > 0.9 and ratio > 1.2 else far[0].upper() + far[1:]
        text += (
            "So most of the change is undone again by later steps. How much of it is the noise of single batches, runs "
            "with another learning rate or batch size would have to show."
            if ratio > 2
            else "So part of the change is undone again by later steps."
            if ratio > 1.2
            else "It takes a fairly direct path."
        )
        result.append(text)
    return result


def accuracy_of_measurement(m: Metrics) -> list[str]:
    """How far can the Dynamics be trusted as numbers?"""
    result = [
        "The sums were formed in double precision while the maps were recorded. The divergences agree with the sum "
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
        "Scale alone would do that. If a map merely grew stronger and weaker as a whole, each pixel would change in "
        "proportion to its relevance, and log Dynamics would rise with log |relevance| at a slope of 1. "
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
            f"There are {int(m['recorded_steps']):,} such moments, at most {gap:,} training steps apart. Below, a "
            "step leads from one of them to the next."
        )
    return result


def timing(m: Metrics) -> list[str]:
    """Is the change spread over the training or does it come in one step?"""
    share, even = m["worst_step_share_max"], 1 / max(m["recorded_steps"] - 1, 1)
    if share == 0:
        return ["No map of any sample differs from one record to the next. Was the network trained between them?"]
    if m["recorded_steps"] < 3:
        return ["There are two records, so that all change is one step."]
    towers = share > max(m["numerical_share"], 3 * even)
    return [
        f"Of any sample's divergence, a single step holds at most {percent(share)}; spread evenly, each step would "
        f"hold {percent(even)}.",
        "So there are samples in which one step towers over the others. Either relevance met a denominator near zero "
        "there, or the network as a whole moved far; then other samples have their largest step at the same time."
        if towers
        else "No single step makes a sample's divergence.",
    ]


def spacing(m: Metrics) -> list[str]:
    """How far apart are the records, and what does that mean for what is measured?"""
    gap = int(m["largest_step_gap"])
    if gap == 1:
        return []
    return [
        f"Maps were recorded up to {gap:,} training steps apart. On this page, a step leads from one record to the "
        "next: what moved to and fro in between is not counted, so divergence and paths are longer in a recording of "
        "more steps of the same training. Compare recordings of the same spacing only."
    ]


def outliers(m: Metrics) -> list[str]:
    """Are there extreme samples, and are they more than chance and numerics?"""
    flagged, persistent = int(m["outliers_flagged"]), int(m["outliers_persistent"])
    seeds, threshold, expected = int(m["seeds"]), f"{m['outlier_threshold']:.3g}", m["false_flags_expected"]
    total = f"{number(int(m['samples']))} samples" + (f" in each of {seeds} seeds" if seeds > 1 else "")
    if m["worst_step_share_max"] == 0:
        return ["**Nothing changed**: all maps of each sample are alike, so that no sample differs from the others."]
    ratio = m.get("divergence_max_over_median", inf)
    ratio = "many times" if ratio == inf else times(ratio) if ratio >= 1.05 else "hardly more than"
    rule = (
        f"A sample is flagged if the logarithm of its divergence lies more than {threshold} standard deviations above "
        "the median; the standard deviation is estimated from the median absolute deviation (MAD). If divergence were "
        f"log-normal, {percent(m['false_positive_rate'])} of ordinary samples would be flagged: on average, "
        f"{number(expected)} of the {number(int(m['samples']))} here."
    )
    if flagged == 0:
        heavy, tail = _tail(m)
        result = [
            f"**No outlier, but more large divergences than chance explains** among {total}: the largest is {ratio} "
            f"the median, below the threshold. Yet {tail}."
            if heavy
            else f"**No outlier** among {total}: the largest divergence is {ratio} the median"
            + (f", and {tail}." if tail else "."),
            rule,
        ]
        if heavy:
            result.append("So divergence is not log-normal here: large values are many rather than extreme.")
    else:
        result = [
            f"**{flagged} {plural(flagged, 'flag')}** among {total}: {int(m['outliers_numerical'])} numerical, "
            f"{persistent} persistent. The largest divergence is {ratio} the median.",
            rule,
            '"Numerical" means that one step holds an outsized share of the divergence, or that relevance met a '
            "denominator near zero. Such a jump says something about the rule, not about the sample. "
            '"Persistent" flags are the rest.',
        ]
        if persistent and persistent <= 3 * expected:
            result.append("So few persistent flags may well be false ones.")
    if seeds > 1:
        agreed = int(m["outliers_in_majority_of_seeds"])
        result.append(
            f"In a majority of the seeds, {agreed} {plural(agreed, 'sample')} {'is' if agreed == 1 else 'are'} "
            "flagged. Only of those can it be said that they are extreme because of what they show."
        )
    elif flagged:
        result.append("One seed cannot tell whether another training would flag the same samples.")
    return result


def _tail(m: Metrics) -> tuple[bool, str]:
    """Tell whether more samples lie far above the median than chance explains, and say how many do."""
    if "tail_found" not in m:
        return False, ""
    found, z = m["tail_found"], f"{m['tail_z']:.3g}"
    lie = f"{number(found)} {'lies' if found == 1 else 'lie'}" + (" on average" if m["seeds"] > 1 else "")
    heavy = m["tail_chance"] < 0.01
    return heavy, (
        f"{lie} more than {z} standard deviations above the median, where a log-normal distribution has "
        f"{number(m['tail_expected'])}" + ("" if heavy else ", no more than chance explains")
    )


def meaning(m: Metrics) -> list[str]:
    """What is divergence associated with?"""
    rho = m.get("divergence_spearman_mean_abs_relevance")
    if rho is None:
        return ["There are too few samples, or they differ too little, to correlate divergence with anything."]
    claim = (
        "Divergence mostly follows how much relevance a sample has"
        if rho > 0.7
        else "Divergence partly follows how much relevance a sample has"
        if rho > 0.3
        else "Divergence hardly follows how much relevance a sample has"
        if rho > -0.3
        else "Divergence is smaller where a sample has much relevance"
    )
    sums = ", and conserved relevance adds up to the output explained" if conserves(m) else ""
    return [
        f"**{claim}**: its rank correlation with mean |relevance| is {correlation(rho)}{sums}. Before reading "
        "divergence as a property of a sample, compare it with scores that need the network's outputs only. Rank "
        f"correlations over samples{' (median over seeds)' if m['seeds'] > 1 else ''}:"
    ]


def limits(m: Metrics, title: str, unit: str = "pixel") -> list[str]:
    """What this run leaves open; `unit` is what a map has values of."""
    seeds, samples = int(m["seeds"]), int(m["samples"])
    result = []
    if "synthetic" in title.lower():
        data, real = ("images", "photographs") if unit == "pixel" else ("samples", "real ones")
        result.append(f"The {data} are synthetic: what holds for them need not hold for {real}.")
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
        show = "sample shows" if samples == 1 else "samples show"
        result.append(f"{samples} {show} the tail of the distribution to about one in {samples}, and no further.")
    result.append("One set of rules was used. Others weigh pixels differently, and meet other small denominators.")
    return result
