"""Pictures of explained images: heatmap, heatmap over its image, several side by side, and a sheet of all."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lrp_dynamics.base.files import atomic
from lrp_dynamics.base.names import literal
from lrp_dynamics.base.style import RC, SIGNED, bare, limit_of, short, show_image, show_signed
from lrp_dynamics.data.pictures import as_picture

UNIT = "relevance for the class (logit units)"
UNITS = {  # of a composite that starts with something else than the logit
    "softmax": "relevance for all classes (in all, their probabilities: 1)",
    "one": "relevance for the class (in all, 1)",
}
OWN_SCALE = "red: for the class, blue: against it; each map has a scale of its own"
TILE, GAP, TEXT, SHEET = 112, 8, 26, 60  # sizes in pixels of a sheet, and how many images it has at most
COLUMNS = 6  # of panels of layers


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


def save_heatmap(path: Path, relevance: np.ndarray, title: str, origin: str, unit: str = UNIT) -> None:
    """Write a map (H, W) on a signed scale centred at zero."""
    limit = limit_of(relevance)
    _save_one(path, lambda axes: show_signed(axes, relevance, limit), limit, title, origin, unit)


def save_overlay(
    path: Path, pixels: np.ndarray, relevance: np.ndarray, title: str, origin: str, unit: str = UNIT
) -> None:
    """Write a map (H, W) over its image (C, H, W) uint8."""
    limit = limit_of(relevance)

    def draw(axes):
        axes.imshow(blend(pixels, relevance, limit))
        bare(axes)
        return matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(-limit, limit), SIGNED)

    _save_one(path, draw, limit, title, origin, unit)


def save_side_by_side(
    path: Path, pixels: np.ndarray, maps: Mapping[str, np.ndarray], title: str, origin: str, unit: str = UNIT
) -> None:
    """Write an image (C, H, W) uint8 beside its maps (H, W) by several composites, above themselves on the image."""

    def fill(figure: Figure) -> None:
        panels = figure.subplots(2, 1 + len(maps), squeeze=False)
        show_image(panels[0, 0], as_picture(pixels))
        panels[0, 0].set_title("image")
        panels[1, 0].set_axis_off()
        for above, below, (name, relevance) in zip(panels[0, 1:], panels[1, 1:], maps.items(), strict=True):
            limit = limit_of(relevance)
            show_signed(above, relevance, limit)
            above.set_title(f"{literal(name, 30)}\n±{short(limit)}")
            below.imshow(blend(pixels, relevance, limit))
            bare(below)

    _save(path, fill, (2.2 * (1 + len(maps)), 5.4), title, f"{origin}\n{unit}\n{OWN_SCALE}")


def save_layers(path: Path, maps: Mapping[str, np.ndarray], title: str, origin: str, unit: str = UNIT) -> None:
    """Write the relevance (H, W), summed over channels, that arrived at each of several layers."""
    columns = min(COLUMNS, len(maps))
    rows = -(-len(maps) // columns)

    def fill(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(maps) :]:
            axes.set_axis_off()
        for axes, (name, relevance) in zip(panels, maps.items(), strict=False):
            limit = limit_of(relevance)
            show_signed(axes, relevance, limit)
            height, width = relevance.shape
            axes.set_title(f"{literal(name, 26)}\n{height}×{width}, ±{short(limit)}", fontsize=7)

    _save(path, fill, (max(5.2, 1.8 * columns), 1.1 + 2.05 * rows), title, f"{origin}\n{unit}\n{OWN_SCALE}")


@dataclass(frozen=True)
class Entry:
    """What a sheet shows of an image: two lines, and its tiles, RGB of 0 to 255, (TILE, TILE, 3) uint8."""

    name: str
    label: str
    tiles: Sequence[np.ndarray]


def tiles(pixels: np.ndarray, maps: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Return an image (C, H, W) uint8, and its maps (H, W) over it, as tiles of a sheet."""
    colour = np.repeat(pixels, 3, 0) if len(pixels) == 1 else pixels
    pictures = [colour.transpose(1, 2, 0)]
    pictures += [(255 * blend(pixels, relevance, limit_of(relevance))).astype(np.uint8) for relevance in maps]
    return [_tile(picture) for picture in pictures]


def _tile(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(picture)
    scale = TILE / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    image = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (TILE, TILE), "white")
    canvas.paste(image, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return np.asarray(canvas)


def save_sheets(folder: Path, entries: Sequence[Entry], title: str, origin: str) -> list[Path]:
    """Write one picture of all images, contact.png, or several of `SHEET` images each; return their paths."""
    parts = [entries[start : start + SHEET] for start in range(0, len(entries), SHEET)]
    paths = [folder / ("contact.png" if len(parts) == 1 else f"contact-{n}.png") for n in range(1, len(parts) + 1)]
    for number, (path, part) in enumerate(zip(paths, parts, strict=True), start=1):
        count = f", sheet {number} of {len(parts)}" if len(parts) > 1 else ""
        _save_sheet(path, part, f"{title}{count}", origin)
    return paths


def _save_sheet(path: Path, entries: Sequence[Entry], title: str, origin: str) -> None:
    width = (TILE + 2) * len(entries[0].tiles) + GAP
    columns = min(len(entries), max(1, 1000 // width))
    rows, height, top = -(-len(entries) // columns), TILE + TEXT + GAP, 34
    # Titles need some room, however few images there are.
    foot = 15 * (origin.count("\n") + 2)
    canvas = np.full((top + rows * height + foot, max(columns * width + GAP, 620), 3), 255, np.uint8)
    places = [(top + n // columns * height, GAP + n % columns * width) for n in range(len(entries))]
    for entry, (y, x) in zip(entries, places, strict=True):
        for n, tile in enumerate(entry.tiles):
            left = x + n * (TILE + 2)
            canvas[y + TEXT : y + TEXT + TILE, left : left + TILE] = tile

    def fill(figure: Figure) -> None:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(canvas)
        axes.set_axis_off()
        letters = (width - GAP) // 6
        for entry, (y, x) in zip(entries, places, strict=True):
            axes.text(x, y + 10, literal(entry.name, letters), fontsize=6.5, va="bottom", color="#555555")
            axes.text(x, y + TEXT - 3, literal(entry.label, letters), fontsize=7, va="bottom")
        axes.text(GAP, 8, title, fontsize=9, fontweight="bold", va="top")
        axes.text(GAP, len(canvas) - 4, f"{origin}\n{OWN_SCALE}", fontsize=6, va="bottom", color="#555555")

    _save(path, fill, (canvas.shape[1] / 100, canvas.shape[0] / 100))


def _save_one(path: Path, draw: Callable[[Any], Any], limit: float, title: str, origin: str, unit: str) -> None:
    def fill(figure: Figure) -> None:
        axes = figure.subplots()
        bar = figure.colorbar(draw(axes), ax=axes, fraction=0.04, pad=0.02)
        bar.set_ticks([-limit, 0, limit], labels=[f"−{short(limit)}", "0", f"+{short(limit)}"])
        bar.set_label(unit, fontsize=8)
        bar.outline.set_visible(False)

    _save(path, fill, (5.2, 5.0), title, origin)


def _save(
    path: Path, fill: Callable[[Figure], None], size: tuple[float, float], title: str = "", origin: str = ""
) -> None:
    """Write a figure of a size in inches; settings of the user's own matplotlibrc do not change it."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "Agg"}):
        matplotlib.rcParams.update(RC)
        figure = Figure(figsize=size, layout="constrained")
        if title:
            figure.suptitle(title, x=0.02, ha="left", fontsize=11, fontweight="bold")
            figure.supxlabel(origin, x=0.02, ha="left", fontsize=7, color="#555555")
        fill(figure)
        with atomic(path) as temporary:
            figure.savefig(temporary, metadata={"Software": None})
