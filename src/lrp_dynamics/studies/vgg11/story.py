"""Sentences of the VGG-11 report: each takes measured values and says what they mean."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lrp_dynamics.reports.words import percent, plural


def exactly(share: float) -> str:
    """Return a share as per cent with two decimals, of which the accuracy of good networks needs both.

    Examples
    --------
    >>> exactly(0.99123), exactly(float("nan"))
    ('99.12 %', '–')
    """
    return "–" if np.isnan(share) else f"{share:.2%}".replace("%", " %")


def strongest(values: np.ndarray, share: float = 0.05) -> float:
    """Return the median share of a map's relevance that the strongest share of its pixels holds, of maps (N, H, W)."""
    flat = -np.sort(-np.abs(values.reshape(len(values), -1).astype(float)), axis=1)
    total = flat.sum(1)
    held = flat[:, : max(1, round(share * flat.shape[1]))].sum(1)
    return float(np.median(held[total > 0] / total[total > 0])) if (total > 0).any() else 0.0


def tested(m: Mapping[str, Any]) -> str:
    """Say how many test images are classified as labelled."""
    errors = m["test_errors"]
    return (
        f"**{exactly(m['test_accuracy'])} of the test images are classified as labelled**; "
        f"{errors:,} of {m['test_images']:,} {'is' if errors == 1 else 'are'} not."
        if errors
        else f"**All of the {m['test_images']:,} test images are classified as labelled.**"
    )


def trained(t: Mapping[str, Any]) -> str:
    """Say when the training was best, and why it ended."""
    epochs = f"{t['best_epoch']:.3g}"
    return (
        f"**The training was best after {epochs} {'epoch' if epochs == '1' else 'epochs'}**, with "
        f"{exactly(t['validation_accuracy'])} of {t['validation_images']:,} held-out images classified as labelled"
        + (
            f". It was stopped after {t['steps']:,} {plural(t['steps'], 'step')}, as nothing better had come since."
            if t["stopped_early"]
            else ". It ran to its last epoch."
        )
    )


def filtered(arrived: float, held: Mapping[str, float]) -> str:
    """Say how much relevance the filter leaves, and how concentrated the rest is; shares, by "all" and "top_k"."""
    return (
        f"**The filter leaves {percent(arrived)} of the relevance** (median). Of what is left, the strongest 5 % of "
        f"the pixels hold {percent(held['top_k'])}; without the filter, they hold {percent(held['all'])}."
    )


def speed(frames: Mapping[str, float]) -> str:
    """Say how many images are explained in a second."""
    return (
        f"**{frames['all']:,.0f} images are explained in a second** without the filter, {frames['top_k']:,.0f} with it."
    )


def kept(arrived: Mapping[str, float], held: Mapping[str, float], images: int) -> list[str]:
    """Say how much relevance arrives with the filter and without, and what that makes of the map."""
    result = [
        f"Of the relevance put in, {percent(arrived['all'])} arrives at the pixels without the filter and "
        f"{percent(arrived['top_k'])} with it (medians of {images} {plural(images, 'image')})."
    ]
    fewer = held["top_k"] > held["all"]
    if arrived["top_k"] < 0.99:
        result.append(
            "What the filter leaves is no longer an account of the whole output"
            + (", but it points to fewer places." if fewer else ", nor does it point to fewer places.")
        )
    return result
