"""Sentences of the homework's report: each takes measured values and says what they mean."""

from collections.abc import Mapping

import numpy as np

from lrp_dynamics.reports.words import correlation, number, percent, points

ALIKE = 0.8  # cosine from which on two heatmaps have much the same shape


def classified(metrics: Mapping[str, float], published: Mapping[str, float] | None) -> str:
    """Say how well the trained network classifies, beside the published value where there is one for as many steps."""
    steps = metrics["iterations"]
    text = (
        f"**The network classifies {percent(metrics['final_accuracy'])}** of {metrics['test_images']} test images as "
    )
    text += f"labelled after {steps:,} steps"
    if published and str(steps) in published:
        text += f"; published: {percent(published[str(steps)])}"
    return text + "."


def conserved(error: float) -> str:
    """Say whether the sum of a deep Taylor map is the evidence; `error` is the largest deviation as a share of it."""
    return (
        f"**Deep Taylor {'conserves' if error < 1e-4 else 'does not conserve'}**: the sum of a heatmap differs from "
        f"the evidence that it explains by at most {percent(error)}. The sum of a sensitivity map is another quantity."
    )


def shapes(deep_taylor: float, sensitivity: float) -> str:
    """Say which heatmaps keep their shape; values are cosines of the first checkpoint's maps with the last one's."""
    keeps, other = deep_taylor > ALIKE, sensitivity > ALIKE
    verb = {True: "keep their shape", False: "change their shape"}
    return (
        f"**Deep Taylor maps {verb[keeps]}** from the first checkpoint to the last (cosine {number(deep_taylor)}); "
        f"sensitivity maps {'also ' if keeps == other else ''}{verb[other]} ({number(sensitivity)})."
    )


def compared(accuracy: Mapping[str, np.ndarray], published: Mapping[str, float], source: str, images: int) -> str:
    """Compare accuracies with published ones: at how many checkpoints the two differ by no more than chance."""
    pairs = [
        (value, published[str(step)])
        for step, value in zip(accuracy["iteration"], accuracy["accuracy"], strict=True)
        if str(step) in published
    ]
    if not pairs:
        return f"The published values ({source}) are of other checkpoints."
    own, theirs = np.array(pairs).T
    apart, noise = np.abs(own - theirs), 1.96 * np.sqrt(2 * theirs * (1 - theirs) / images)
    return (
        f"The published values are copied from the literature ({source}). At {int((apart <= noise).sum())} of "
        f"{len(pairs)} checkpoints the two differ by no more than two independent samples of {images} images would "
        f"(95 %); the largest difference is {points(float(apart.max()))}."
    )


def conservation(error: float) -> list[str]:
    """Say what the sum of a deep Taylor map should be, and how far it is from that."""
    return [
        "Each rule hands on what it receives: the denominators add up the numerators. So the sum of a deep Taylor map "
        "should be the evidence, in every image and at every checkpoint.",
        f"The largest deviation is {percent(error)} of it, "
        + ("which is rounding." if error < 1e-4 else "more than rounding explains."),
        "Nothing of the kind holds for sensitivity.",
    ]


def settling(m: Mapping[str, float], first: int) -> list[str]:
    """Say how alike heatmaps are from the first checkpoint, after `first` steps, to the last."""
    deep, other = (m[f"{method}_similarity_first_to_last_median"] for method in ("deep_taylor", "sensitivity"))
    null, other_null = (m[f"{method}_similarity_of_two_images_median"] for method in ("deep_taylor", "sensitivity"))
    result = [
        f"From the first checkpoint to the last, the median cosine similarity is {correlation(deep)} for deep Taylor "
        f"and {correlation(other)} for sensitivity. Between the final maps of two different images it is "
        f"{correlation(null)} and {correlation(other_null)}."
    ]
    if deep > ALIKE:
        return [
            *result,
            f"So deep Taylor maps look much the same after {first:,} steps as at the end. With positive contributions "
            "only, most of their shape comes from the image and the architecture; what training changes is above "
            "all their *amount*, the evidence. So a plausible map is no sign that the network has learned.",
        ]
    return [*result, "So the shape of deep Taylor maps is learned, and not their amount alone."]
