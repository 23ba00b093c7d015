"""Pictures of single explanations: the heatmap, and the heatmap over its image."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from lrp_dynamics.base.files import atomic
from lrp_dynamics.base.style import RC, SIGNED, bare, limit_of, short, show_signed


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Return an image (C, H, W) uint8 as grey (H, W) of 0 to 1."""
    grey = pixels[0] if len(pixels) == 1 else np.tensordot([0.299, 0.587, 0.114], pixels, 1)
    return grey / 255


def blend(pixels: np.ndarray, relevance: np.ndarray, limit: float) -> np.ndarray:
    """Return the image in pale grey with relevance laid over it, the stronger the more opaque; RGB of 0 to 1."""
    share = np.clip(relevance / limit, -1, 1)
    # The two ends of the scale alone: its pale middle would lie on the image like fog.
    colour = matplotlib.colormaps[SIGNED](np.where(share > 0, 0.93, 0.07))[..., :3]
    paper = 0.35 + 0.65 * luminance(pixels)[..., None]
    opacity = 0.9 * np.abs(share)[..., None]
    return (1 - opacity) * paper + opacity * colour


def save_heatmap(path: Path, relevance: np.ndarray, title: str, origin: str) -> None:
    """Write a map (H, W) on a signed scale centred at zero."""
    limit = limit_of(relevance)

    def draw(axes):
        return show_signed(axes, relevance, limit)

    _save(path, draw, limit, title, origin)


def save_overlay(path: Path, pixels: np.ndarray, relevance: np.ndarray, title: str, origin: str) -> None:
    """Write a map (H, W) over its image (C, H, W) uint8."""
    limit = limit_of(relevance)

    def draw(axes):
        axes.imshow(blend(pixels, relevance, limit))
        bare(axes)
        return matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(-limit, limit), SIGNED)

    _save(path, draw, limit, title, origin)


def _save(path: Path, draw, limit: float, title: str, origin: str) -> None:
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "Agg"}):
        matplotlib.rcParams.update(RC)
        figure = Figure(figsize=(5.2, 5.0), layout="constrained")
        figure.suptitle(title, x=0.02, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel(origin, x=0.02, ha="left", fontsize=7, color="#555555")
        axes = figure.subplots()
        bar = figure.colorbar(draw(axes), ax=axes, fraction=0.04, pad=0.02)
        bar.set_ticks([-limit, 0, limit], labels=[f"−{short(limit)}", "0", f"+{short(limit)}"])
        bar.set_label("relevance for the class (logit units)", fontsize=8)
        bar.outline.set_visible(False)
        with atomic(path) as temporary:
            figure.savefig(temporary, metadata={"Software": None})
