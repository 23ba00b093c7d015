"""Explain image files by a trained network: pictures and a table of predictions."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.names import file_stem, literal, shown
from lrp_dynamics.base.tables import write_csv
from lrp_dynamics.data.parameters import MAX_PIXELS
from lrp_dynamics.data.pictures import open_image
from lrp_dynamics.lrp import Explainer, Relevance
from lrp_dynamics.models.trained import Network, load
from lrp_dynamics.reports.photos import save_heatmap, save_overlay

TOP = 5


def explain_files(
    images: Sequence[Path],
    model: str,
    weights: Path | None,
    composite: str,
    target: str,
    out: Path,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Write heatmap, overlay and predictions of every image that can be read; the others are named on stderr.

    Parameters
    ----------
    images
        Image files.
    model, weights
        As in `lrp_dynamics.models.trained.load`.
    composite
        Name of the relevance rules.
    target
        What to explain: "predicted", "runner-up", or the name or number of a class. Composites that begin with the
        softmax explain all classes at once; there it must be "predicted".
    out
        Folder for NAME-heatmap.png, NAME-overlay.png and predictions.csv.
    max_pixels
        Files of more are left out, before they are decoded.

    Raises
    ------
    UserError
        If model, composite or target are unknown or do not go together, or no image can be read.
    """
    network = load(model, weights)
    explainer = Explainer(network.model, composite, bounds=network.bounds)
    together = explainer.composite.initial == "softmax"
    if together and target != "predicted":
        raise UserError(
            f"target: found {target!r}, but the composite {composite!r} explains all classes at once, by their "
            "softmax; leave the target out or choose another composite"
        )
    fixed = None if target in ("predicted", "runner-up") else class_index(target, network.about.classes)
    rows: dict[str, list] = {}
    for path, name in zip(images, unique_names(images), strict=True):
        try:
            pixels = network.pixels(open_image(path, max_pixels))
        except UserError as error:
            print(f"lrp-dynamics: left out: {error}", file=sys.stderr)
            continue
        inputs = network.inputs(pixels[None])
        logits = forward(network, inputs)
        order = logits.argsort(descending=True)
        explained = int(fixed if fixed is not None else order[int(target == "runner-up")])
        result = explainer(inputs, torch.tensor([explained]))
        table = predictions(shown(path.name), logits, None if together else explained, network.about.classes, result)
        for key, values in table.items():
            rows.setdefault(key, []).extend(values)
        trained = f"{network.about.model} ({network.about.trained_on})"
        probability = logits.softmax(0)[explained].item()
        title = f"{literal(network.about.classes[explained])} ({100 * probability:.1f} %)"
        title = "all classes, by their softmax" if together else title
        origin = " · ".join([literal(path.name), literal(trained), literal(composite)])
        relevance = result.input[0].double().sum(0).cpu().numpy()
        save_heatmap(out / f"{name}-heatmap.png", relevance, title, origin)
        save_overlay(out / f"{name}-overlay.png", pixels, relevance, title, origin)
        show(shown(path.name), table)
    if not rows:
        raise UserError("none of the images could be read, so nothing was explained")
    write_csv(out / "predictions.csv", rows)
    print(f"{out}: heatmaps, overlays and predictions.csv")


@torch.no_grad()
def forward(network: Network, inputs: torch.Tensor) -> torch.Tensor:
    """Return the logits (K,) of one image, in float64 so that ranks do not hang on rounding in the softmax."""
    return network.model(inputs)[0].double()


def class_index(target: str, classes: Sequence[str]) -> int:
    """Return the number of a class given by number or name; the case of letters does not matter."""
    if target.isdecimal() and target not in classes:
        if int(target) < len(classes):
            return int(target)
        raise UserError(f"target: found {target}, expected a class from 0 to {len(classes) - 1}")
    found = [k for k, name in enumerate(classes) if name.lower() == target.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        numbers = " and ".join(map(str, found))
        raise UserError(f"target: the classes {numbers} are both called {target!r}; give the number")
    parts = [name for name in classes if target.lower() in name.lower()]
    hint = f"perhaps {', '.join(map(repr, parts[:3]))}" if parts else f"such as {classes[0]!r}"
    raise UserError(f"target: found {target!r}, expected predicted, runner-up, or a class, {hint}")


def predictions(
    image: str, logits: torch.Tensor, explained: int | None, classes: Sequence[str], result: Relevance
) -> dict[str, list]:
    """Return the rows of an image: the best classes, and the explained one wherever it ranks; None for all at once.

    `relevance` is the sum of the map and `absorbed` what biases, stabilizers and dead units took. They are known for
    the explained class only, whose initial relevance, by default its logit, they add up to.
    """
    order = logits.argsort(descending=True).tolist()
    shown = order[:TOP] + ([] if explained is None or explained in order[:TOP] else [explained])
    probability = logits.softmax(0)
    arrived, lost = result.input.sum().item(), result.residual.item()
    return {
        "image": [image] * len(shown),
        "rank": [order.index(k) + 1 for k in shown],
        "class_index": shown,
        "class": [classes[k] for k in shown],
        "logit": [logits[k].item() for k in shown],
        "probability": [probability[k].item() for k in shown],
        "explained": [k == explained for k in shown],
        "relevance": [arrived if k == explained else np.nan for k in shown],
        "absorbed": [lost if k == explained else np.nan for k in shown],
    }


def show(image: str, table: dict[str, list]) -> None:
    """Print the predictions of an image."""
    print(image)
    columns = (table[key] for key in ("rank", "class", "probability", "logit", "explained"))
    for rank, name, probability, logit, explained in zip(*columns, strict=True):
        mark = "explained" if explained else ""
        print(f"  {rank:>4}. {shown(name):<32} {100 * probability:6.2f} %  logit {logit:8.3f}  {mark}".rstrip())


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for the results of each file: its stem, with its suffix or a number where several share it."""
    names: list[str] = []
    stems = [other.stem for other in paths]
    for path in paths:
        base = path.stem if stems.count(path.stem) == 1 else f"{path.stem}-{path.suffix.lstrip('.')}"
        base = file_stem(base)
        name, number = base, 2
        while name.lower() in map(str.lower, names):  # on macOS both would be the same file
            name, number = f"{base}-{number}", number + 1
        names.append(name)
    return names
