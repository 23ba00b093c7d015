"""shapes10: the embedded data set of ten outlines on textured backgrounds, where the ground truth is known.

Every sample has a mask, latent factors and counterfactual twins. It is modelled on dSprites (stored factors),
CLEVR-XAI (target mask beside distractors), BAM and BG-challenge (background as a cue of known strength), xai-tris
(signal-to-noise knob) and FunnyBirds (remove the object and measure the effect).
"""

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data import parameters
from lrp_dynamics.data.outlines import OUTLINES
from lrp_dynamics.data.prepared import TEST, TRAIN, Prepared
from lrp_dynamics.data.scenes import NO_OBJECT, OBJECT, PRESETS, TEXTURES, Plan, paint
from lrp_dynamics.data.uniforms import uniforms

SHAPES = tuple(OUTLINES)
INTERVENTIONS = ("object_removed", "object_swapped", "background_swapped", "patch_removed")
# Where asymmetric noise sends a class; the first or the second target with equal probability.
_PAIRS = {"disc": "pentagon", "pentagon": "disc square", "square": "pentagon", "ell": "tee", "tee": "ell"}
# Random streams of a sample, numbered in this order; a new one goes to the end, or every image changes.
_STREAMS = (
    "pose",
    "scene",
    "texture",
    "background",
    "background_texture",
    "object",
    "object_texture",
    "clutter_count",
    "clutter_0",
    "clutter_1",
    "clutter_2",
    "occluder",
    "noise",
    "label",
    "mark",
    "swap",
    "new_background",
    "new_background_texture",
)
_BATCH = 128  # samples painted at a time: small enough for the processor's cache


@dataclass(frozen=True)
class Shapes10(parameters.Samples):
    """What decides the samples. Two data sets that differ in one option share everything else, pixel by pixel.

    Parameters
    ----------
    preset : {"easy", "standard", "hard"}
    seed : int
        From 0 to 2^31 - 1.
    label_noise : float
        Probability, for a training sample, that its label is replaced; test labels stay true.
    noise : {"symmetric", "asymmetric"}
        Symmetric: any other class. Asymmetric: only disc ↔ pentagon, square → pentagon, pentagon → square,
        ell ↔ tee, each with this probability; the other classes keep their labels.
    bg_corr : float
        Probability that the background's texture is the one tied to the class (class mod 5) instead of a random one.
    patch : float
        Probability that a sample carries its class's 3×3 mark near the upper left corner.
    labels : {"shape", "xor"}
        "shape": ten classes. "xor": two, (shape + texture) mod 2, which neither shape nor texture tells alone.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return SHAPES if self.labels == "shape" else ("even", "odd")


@dataclass(frozen=True, eq=False)
class Samples:
    """Rendered samples: images (n,3,32,32) u1, mask (n,32,32) u1, labels and labels_clean (n,) i2, factors."""

    images: np.ndarray
    mask: np.ndarray
    labels: np.ndarray
    labels_clean: np.ndarray
    factors: dict[str, np.ndarray]


def generate(config: Shapes10, split: int, index: np.ndarray, intervention: str | None = None) -> Samples:
    """Render samples; sample `i` is the same whatever other samples are asked for.

    Parameters
    ----------
    config : Shapes10
    split : int
        0 train, 1 test: independent samples of the same distribution.
    index : (n,) int
        Sample numbers, any and in any order. The shape is `index mod 10`.
    intervention : str, optional
        The counterfactual twin, from the same random numbers, with only one thing changed; labels stay those of the
        original. "object_removed": no object. "object_swapped": another shape, with the same pose and look.
        "background_swapped": another texture and chroma behind the same object. "patch_removed": no mark.

    Returns
    -------
    Samples
    """
    if intervention is not None and intervention not in INTERVENTIONS:
        raise UserError(f"shapes10: intervention {intervention!r}; expected one of {', '.join(INTERVENTIONS)}")
    index = np.asarray(index, dtype=np.int64)
    starts = range(0, max(len(index), 1), _BATCH)
    return _join([_generate(config, split, index[start : start + _BATCH], intervention) for start in starts])


def _join(parts: list[Samples]) -> Samples:
    return Samples(
        *(
            np.concatenate([getattr(part, key) for part in parts])
            for key in ("images", "mask", "labels", "labels_clean")
        ),
        factors={key: np.concatenate([part.factors[key] for part in parts]) for key in parts[0].factors},
    )


def _generate(config: Shapes10, split: int, index: np.ndarray, intervention: str | None) -> Samples:
    draw = partial(_draw, config.seed, split, index)
    shape = index % len(SHAPES)
    u = draw("texture", 2)
    if config.labels == "xor":
        # Only the roughest and the smoothest texture: two factors of one bit each.
        bit = (u[:, 0] < 0.5).astype(np.int64)
        texture = bit * (TEXTURES - 1)
        clean = (shape + bit) % 2
    else:
        texture = np.where(u[:, 0] < config.bg_corr, shape % TEXTURES, np.floor(u[:, 1] * TEXTURES).astype(np.int64))
        clean = shape
    labels = _noisy(config, clean, draw("label", 2)) if split == TRAIN else clean
    mark = np.where(draw("mark", 1)[:, 0] < config.patch, clean, -1)

    seen, swap = shape, draw("swap", 2)
    if intervention == "object_removed":
        seen = np.full_like(shape, NO_OBJECT)
    elif intervention == "object_swapped":
        seen = _other(shape, len(SHAPES), swap[:, 0])
        if config.labels == "xor":
            # Always to the other parity, so that the label would change.
            seen = (shape + 1 + 2 * np.floor(swap[:, 0] * (len(SHAPES) // 2)).astype(np.int64)) % len(SHAPES)
    elif intervention == "background_swapped":
        texture = TEXTURES - 1 - texture if config.labels == "xor" else _other(texture, TEXTURES, swap[:, 1])
    elif intervention == "patch_removed":
        mark = np.full_like(mark, -1)
    plan = Plan(seen, texture, mark, new_background=intervention == "background_swapped")
    images, mask, factors = paint(PRESETS[config.preset], plan, draw)
    factors |= {
        "index": index,
        "shape": seen.astype(np.int16),
        "texture": texture.astype(np.int16),
        "marked": (mark >= 0).astype(np.uint8),
        "mislabelled": (labels != clean).astype(np.uint8),
        "visible": (mask == OBJECT).mean(axis=(1, 2)).astype(np.float32),
    }
    return Samples(images, mask, labels.astype(np.int16), clean.astype(np.int16), factors)


def _draw(seed: int, split: int, index: np.ndarray, stream: str, count: int) -> np.ndarray:
    return uniforms(seed, split, index, _STREAMS.index(stream), count)


def _other(value: np.ndarray, count: int, u: np.ndarray) -> np.ndarray:
    """Return one of the `count - 1` other values, each with equal probability."""
    return (value + 1 + np.floor(u * (count - 1)).astype(np.int64)) % count


def _noisy(config: Shapes10, clean: np.ndarray, u: np.ndarray) -> np.ndarray:
    if config.noise == "symmetric":
        target = _other(clean, len(config.classes), u[:, 1])
    else:
        pairs = [_PAIRS.get(name, name).split() for name in SHAPES]
        table = np.array([[SHAPES.index(pair[0]), SHAPES.index(pair[-1])] for pair in pairs])
        target = table[clean, (u[:, 1] < 0.5).astype(np.int64)]
    return np.where(u[:, 0] < config.label_noise, target, clean)


def twins(dataset: Prepared, rows: np.ndarray, intervention: str) -> Samples:
    """Return the counterfactual twins of samples of a prepared data set.

    Parameters
    ----------
    dataset : Prepared
        Made by this module: it knows its own parameters.
    rows : (n,) int
        Positions in the data set, over both splits.
    intervention : str
        See `generate`.

    Returns
    -------
    Samples
        In the order of `rows`.
    """
    params = dataset.source.get("params", {})
    if params.get("kind") != "shapes10":
        raise UserError(f"dataset {dataset.name!r} has no twins: its kind is {params.get('kind')!r}, not shapes10")
    rows = np.asarray(rows, dtype=np.int64)
    config, split = _config(parameters.given("shapes10", dataset.name, params)), dataset.split[rows]
    parts = [
        generate(config, number, dataset.factors["index"][rows[split == number]], intervention)
        for number in (TRAIN, TEST)
    ]
    joined = _join(parts)
    order = np.argsort(np.argsort(split, kind="stable"), kind="stable")  # where each row went
    return Samples(
        joined.images[order],
        joined.mask[order],
        joined.labels[order],
        joined.labels_clean[order],
        {key: values[order] for key, values in joined.factors.items()},
    )


def _config(chosen: parameters.Shapes10) -> Shapes10:
    return Shapes10(**{each.name: getattr(chosen, each.name) for each in fields(Shapes10)})


def prepare(name: str, params: dict[str, Any], raw: Path | None = None) -> Prepared:
    """Generate the whole data set: `n_train` and `n_test` samples, and the options of `Shapes10`; `raw` is unused."""
    chosen = parameters.given("shapes10", name, params)
    config, counts = _config(chosen), {TRAIN: chosen.n_train, TEST: chosen.n_test}
    samples = _join([generate(config, split, np.arange(count)) for split, count in counts.items()])
    return Prepared(
        name=name,
        title=chosen.title,
        classes=config.classes,
        images=samples.images,
        labels=samples.labels,
        labels_clean=samples.labels_clean,
        split=np.repeat(np.array(list(counts), dtype=np.uint8), list(counts.values())),
        mask=samples.mask,
        factors=samples.factors,
        source={"params": params},
    )
