"""Explain a trained VGG on a set of images by several composites, layer by layer, and measure the explanations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lrp_dynamics.data.prepared import Prepared, test_images
from lrp_dynamics.lrp import Composite, Explainer, gradient_x_input
from lrp_dynamics.lrp.composites import make_composite
from lrp_dynamics.measures import evaluation
from lrp_dynamics.models.trained import Network
from lrp_dynamics.models.vgg16 import fully_convolutional

BASELINE = "gradient_x_input"
TARGETS = ("predicted", "runner_up")


@dataclass
class Explained:
    """Maps of a batch, and the balance of each image.

    Attributes
    ----------
    maps
        (N, H, W) relevance of the pixels.
    initial, residual
        (N,) the explained logit, and what of it does not arrive at the pixels.
    absorbed
        Layer name to (N,): what each layer took of it.
    layers
        Layer name to (N, h, w): relevance that arrived there, summed over channels.
    """

    maps: np.ndarray
    initial: np.ndarray
    residual: np.ndarray
    absorbed: dict[str, np.ndarray]
    layers: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Images:
    """What is explained: N images and the network's output for them.

    Attributes
    ----------
    names
        (N,) what to call each image.
    index
        (N,) positions in the dataset.
    pixels, inputs
        (N, C, H, W) uint8 and float32.
    logits
        (N, K) float64.
    labels, masks
        (N,) labels, where the dataset has any; (N, H, W) truth values of the object, where it has masks.
    """

    names: list[str]
    index: np.ndarray
    pixels: np.ndarray
    inputs: Tensor
    logits: np.ndarray
    labels: np.ndarray | None
    masks: np.ndarray | None

    @property
    def order(self) -> np.ndarray:
        """Return the classes (N, K) from the highest logit to the lowest."""
        return np.argsort(-self.logits, axis=1, kind="stable")

    def targets(self, which: str) -> Tensor:
        """Return the class (N,) that "predicted" or "runner_up" means."""
        return torch.from_numpy(self.order[:, TARGETS.index(which)].copy())

    @property
    def step(self) -> int:
        """Return how many images go through the network at once: large ones singly, to keep within memory."""
        return 50 if self.pixels.shape[-1] <= 64 else 1


@torch.no_grad()
def show_network(network: Network, model: nn.Module, data: Prepared, index: np.ndarray) -> Images:
    """Return the chosen images and the model's output for them."""
    pixels = data.images[index]
    inputs = network.inputs(pixels)
    files = data.source.get("files")
    labelled = len(data.classes) > 1
    images = Images(
        names=[files[i] if files else f"image {i}" for i in index],
        index=index,
        pixels=pixels,
        inputs=inputs,
        logits=np.empty(0),
        labels=data.labels[index].astype(np.int64) if labelled else None,
        masks=data.mask[index] == 1 if data.mask is not None else None,
    )
    images.logits = torch.cat([model(x) for x in inputs.split(images.step)]).double().numpy()
    return images


def for_convolutions(spec: str | Mapping[str, Any]) -> Composite:
    """Return a composite whose rules for dense layers hold for those that have become convolutions."""
    composite = make_composite(spec)
    rules = {("classifier.*" if key == "Linear" else key): rule for key, rule in composite.rules.items()}
    return replace(composite, rules=rules)


def ends_of_blocks(model: nn.Module) -> list[str]:
    """Return the names of the last layer before each max-pool."""
    names = list(dict(model.features.named_children()))
    kinds = list(model.features)
    return [f"features.{names[i - 1]}" for i, layer in enumerate(kinds) if isinstance(layer, nn.MaxPool2d)]


def explain(explainer: Explainer, images: Images, targets: Tensor, layers: Sequence[str] = ()) -> Explained:
    """Return maps and balances of all images."""
    parts = [
        explainer(x, t, layers=list(layers))
        for x, t in zip(images.inputs.split(images.step), targets.split(images.step), strict=True)
    ]

    def joined(pick) -> np.ndarray:
        return torch.cat([pick(part) for part in parts]).double().numpy()

    return Explained(
        maps=joined(lambda p: evaluation.pixel_map(p.input)),
        initial=joined(lambda p: p.initial),
        residual=joined(lambda p: p.residual),
        absorbed={name: joined(lambda p, name=name: p.absorbed[name]) for name in parts[0].absorbed},
        layers={name: joined(lambda p, name=name: p.layers[name].sum(1)) for name in layers},
    )


@torch.no_grad()
def activations(model: nn.Module, images: Images, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the mean over channels of each layer's output, (N, h, w)."""
    kept: dict[str, list[Tensor]] = {name: [] for name in layers}
    for x in images.inputs.split(images.step):
        for number, layer in model.features.named_children():
            x = layer(x)
            if f"features.{number}" in kept:
                kept[f"features.{number}"].append(x.mean(1))
    return {name: torch.cat(parts).double().numpy() for name, parts in kept.items()}


def flip(model: nn.Module, images: Images, maps: np.ndarray, options: dict[str, Any]) -> evaluation.Flipping:
    """Return the flipping curves of the predicted class's logit."""
    parts = []
    for start in range(0, len(maps), images.step):
        part = slice(start, start + images.step)
        target = images.targets("predicted")[part].unsqueeze(1)

        def score(x: Tensor, target: Tensor = target) -> Tensor:
            return model(x).gather(1, target).squeeze(1)

        parts.append(evaluation.pixel_flipping(score, images.inputs[part], torch.from_numpy(maps[part]), **options))
    return evaluation.Flipping(
        parts[0].fraction, torch.cat([p.morf for p in parts]), torch.cat([p.lerf for p in parts])
    )


def randomise(
    model: nn.Module, network: Network, images: Images, composite: Composite | None, count: int, seed: int
) -> dict[str, np.ndarray]:
    """Return the MPRT of the first `count` images: layer to (count,); of gradient times input if no composite.

    Absolute values are compared: with random weights the logit may be negative, and its sign would turn the whole map.
    """
    inputs, targets = images.inputs[:count], images.targets("predicted")[:count]

    def maps(model: nn.Module, x: Tensor) -> Tensor:
        if composite is None:
            return gradient_x_input(model, x, targets)
        return Explainer(model, composite, bounds=network.bounds)(x, targets).input

    found = evaluation.mprt(model, maps, inputs, seed=seed, absolute=True)
    convolutions = {name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    return {name: values.numpy() for name, values in found.items() if name in convolutions}


@dataclass
class Study:
    """All that was found; see the functions of this module for shapes."""

    images: Images
    blocks: list[str]
    explained: dict[tuple[str, str], Explained]  # by method and target
    activations: dict[str, np.ndarray]
    flipping: dict[str, evaluation.Flipping]
    mprt: dict[str, dict[str, np.ndarray]]


def study(network: Network, data: Prepared, params: dict[str, Any]) -> Study:
    """Run the whole study.

    Parameters
    ----------
    network : Network
        A VGG with `features` and `classifier`.
    data : Prepared
        Its test images are explained.
    params : dict
        "images" (how many, or None for all), "composites" (names, or names of your own to composites; of the first one
        the layers are shown), "flipping"
        ("region", "steps", "fill"), "mprt_images", "seed".
    """
    model = fully_convolutional(network.model)
    images = show_network(network, model, data, test_images(data, params["images"]))
    blocks = ends_of_blocks(model)
    explained = {}
    names = list(params["composites"])
    written = (
        params["composites"] if isinstance(params["composites"], Mapping) else dict(zip(names, names, strict=True))
    )
    composites = {name: for_convolutions(spec) for name, spec in written.items()}
    for number, name in enumerate(names):
        explainer = Explainer(model, composites[name], bounds=network.bounds)
        for target in TARGETS:
            layers = blocks if number == 0 and target == TARGETS[0] else ()
            explained[name, target] = explain(explainer, images, images.targets(target), layers)
    baseline = [
        gradient_x_input(model, x, t).detach()
        for x, t in zip(images.inputs.split(images.step), images.targets(TARGETS[0]).split(images.step), strict=True)
    ]
    maps = evaluation.pixel_map(torch.cat(baseline)).numpy()
    logit = images.logits.max(1)
    explained[BASELINE, TARGETS[0]] = Explained(maps, logit, logit - maps.sum((1, 2)), {})
    methods = [*composites, BASELINE]
    seed = params["seed"]
    return Study(
        images=images,
        blocks=blocks,
        explained=explained,
        activations=activations(model, images, blocks),
        flipping={
            name: flip(model, images, explained[name, TARGETS[0]].maps, {**params["flipping"], "seed": seed})
            for name in methods
        },
        mprt={
            name: randomise(
                model,
                network,
                images,
                composites.get(name),
                params["mprt_images"],
                seed,
            )
            for name in methods
        },
    )
