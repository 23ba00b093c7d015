"""Explain image files by a trained network: pictures and a table of predictions."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.names import file_stem, literal, shown
from lrp_dynamics.base.tables import write_csv
from lrp_dynamics.data.parameters import MAX_PIXELS
from lrp_dynamics.data.pictures import open_image
from lrp_dynamics.lrp import Explainer, Relevance
from lrp_dynamics.models.trained import Network
from lrp_dynamics.reports import photos
from lrp_dynamics.reports.words import plural

TOP = 5
FEW = 10  # images whose predictions a terminal shows; of more, a bar shows how many are done
MOST_LAYERS = 48  # in a picture
BELOW = "a logit below 0 is shared out as negative relevance:\nby rules such as z_plus all of the map is blue then"


@dataclass(frozen=True)
class Task:
    """How images are explained.

    Attributes
    ----------
    composites : sequence of str
        Names of the relevance rules.
    target : str
        What to explain: "predicted", "runner-up", or the name or number of a class. Composites that begin with the
        softmax explain all classes at once; there it must be "predicted".
    layers : sequence of str
        Of which layers the relevance is shown as well; "all" for every one.
    max_pixels : int
        Files of more are left out, before they are decoded.
    """

    composites: Sequence[str] = ("epsilon_gamma_box",)
    target: str = "predicted"
    layers: Sequence[str] = ()
    max_pixels: int = MAX_PIXELS


@dataclass
class Results:
    """What is gathered of all images: rows of the tables, and what the sheet shows."""

    predictions: dict[str, list] = field(default_factory=dict)
    layers: dict[str, list] = field(default_factory=dict)
    sheet: list[photos.Entry] = field(default_factory=list)
    below: bool = False  # whether a logit below 0 was explained

    def write(self, out: Path, origin: str) -> list[str]:
        """Write them into a folder; return the names of the files."""
        write_csv(out / "predictions.csv", self.predictions)
        names = ["predictions.csv"]
        if self.layers:
            write_csv(out / "layers.csv", self.layers)
            names.append("layers.csv")
        if len(self.sheet) > 1:
            title = f"{len(self.sheet)} images explained"
            origin += f"\n{BELOW}".replace("relevance:\n", "relevance: ") if self.below else ""
            names += [path.name for path in photos.save_sheets(out, self.sheet, title, origin)]
        return names


def explain_files(images: Sequence[Path], network: Network, task: Task, out: Path) -> None:
    """Write pictures and predictions of every image that can be read; the others are named on stderr.

    Parameters
    ----------
    images
        Image files, and folders of such, however deep.
    network
        Where it is to compute.
    task
        What to explain, and how.
    out
        Folder for NAME-heatmap.png and NAME-overlay.png, of several composites NAME-COMPOSITE-heatmap.png and so on and
        NAME-grid.png; NAME-layers.png; predictions.csv, layers.csv; and contact.png of all images.

    Raises
    ------
    UserError
        If composites, target or layers are unknown or do not go together, or no image can be read.
    """
    explainers = {name: Explainer(network.model, name, bounds=_bounds(network)) for name in task.composites}
    for name, explainer in explainers.items():
        if explainer.composite.initial == "softmax" and task.target != "predicted":
            raise UserError(
                f"target: found {task.target!r}, but the composite {name!r} explains all classes at once, by their "
                "softmax; leave the target out or choose another composite"
            )
    fixed = None if task.target in ("predicted", "runner-up") else class_index(task.target, network.about.classes)
    files, results = find_images(images, out), Results()
    about = network.about
    shown_as = f"from left to right: the image, {', '.join(explainers)}"
    origin = " · ".join(literal(text) for text in (f"{about.model} ({about.trained_on})", shown_as))
    bar = tqdm(total=len(files), unit="image", disable=len(files) <= FEW or not sys.stderr.isatty(), dynamic_ncols=True)
    try:
        for (path, label), name in zip(files.items(), unique_names(files.values()), strict=True):
            try:
                pixels = network.pixels(open_image(path, task.max_pixels))
            except UserError as error:
                bar.write(f"lrp-dynamics: left out: {error}", file=sys.stderr)
            else:
                told = explain_image(pixels, shown(label), name, network, explainers, task, fixed, out, results)
                if bar.disable:
                    show(shown(label), told)
            bar.update()
    finally:  # also of what was done before an interruption
        bar.close()
        written = results.write(out, origin) if results.predictions else []
    if not written:
        raise UserError("none of the images could be read, so nothing was explained")
    print(f"{out}: pictures of {len(results.sheet)} {plural(len(results.sheet), 'image')}, {', '.join(written)}")


def explain_image(
    pixels: np.ndarray,
    label: str,
    name: str,
    network: Network,
    explainers: Mapping[str, Explainer],
    task: Task,
    fixed: int | None,
    out: Path,
    results: Results,
) -> dict[str, list]:
    """Write the pictures of an image (C, H, W) uint8, add it to the results, and return its table of predictions."""
    about = network.about
    device = next(network.model.parameters()).device
    inputs = network.inputs(pixels[None]).to(device)
    logits = forward(network, inputs)
    order = logits.argsort(descending=True)
    explained = int(fixed if fixed is not None else order[int(task.target == "runner-up")])
    why = "chosen" if fixed is not None else task.target
    likely = heading(about.classes[explained], why, logits.softmax(0)[explained].item())
    below = logits[explained].item() < 0 and any(e.composite.initial == "logit" for e in explainers.values())
    maps, units, table, title = {}, {}, {}, likely
    for composite, explainer in explainers.items():
        result = explainer(inputs, torch.tensor([explained], device=device), layers=_wanted(task.layers))
        together = explainer.composite.initial == "softmax"
        unit = units[composite] = photos.UNITS.get(explainer.composite.initial, photos.UNIT)
        title = "all classes, by their softmax" if together else likely
        origin = " · ".join(literal(text) for text in (label, f"{about.model} ({about.trained_on})", composite))
        origin += f"\n{balance(explainer.composite.initial, result)}"
        table = predictions(label, composite, logits, None if together else explained, about.classes, result)
        _extend(results.predictions, table)
        maps[composite] = result.input[0].cpu().double().sum(0).numpy()
        stem = name if len(explainers) == 1 else f"{name}-{composite}"
        photos.save_heatmap(out / f"{stem}-heatmap.png", maps[composite], title, origin, unit)
        photos.save_overlay(out / f"{stem}-overlay.png", pixels, maps[composite], title, origin, unit)
        if task.layers:
            _extend(results.layers, layer_table(label, composite, result))
            if shaped := layer_maps(result):
                photos.save_layers(out / f"{stem}-layers.png", shaped, title, origin, unit)
    if len(explainers) > 1:
        origin = " · ".join(literal(text) for text in (label, f"{about.model} ({about.trained_on})"))
        origin += f"\n{BELOW}" if below else ""
        photos.save_side_by_side(
            out / f"{name}-grid.png", pixels, maps, likely, origin, "; ".join(dict.fromkeys(units.values()))
        )
    results.below |= below
    told = likely.replace("\\$", "$") + (", logit < 0" if below else "")
    results.sheet.append(photos.Entry(label, told, photos.tiles(pixels, maps.values())))
    return table


def heading(name: str, why: str, probability: float) -> str:
    """Return which class a picture explains, why this one, and how likely the network takes it to be.

    Examples
    --------
    >>> heading("cross", "runner-up", 0.023)
    'cross, runner-up (2.3 %)'
    """
    return f"{literal(name)}, {why} ({100 * probability:.1f} %)"


def balance(initial: str, result: Relevance) -> str:
    """Return what a map sums up to, beside what was put in at the output."""
    put = result.initial.item()
    name = "logit" if initial == "logit" else f"relevance put in ({initial})"
    text = f"sum of the map {result.input.sum().item():.3g}, {name} {put:.3g}".replace("-", "−")
    return f"{text}\n{BELOW}" if initial == "logit" and put < 0 else text


def find_images(paths: Sequence[Path], out: Path) -> dict[Path, str]:
    """Return image files and what they are called in the results: their names, or of a folder's, the way to them.

    Of a folder, the files whose names end as those of images do, without hidden ones and what lies in `out`.
    """
    endings, found = Image.registered_extensions(), {}
    for path in paths:
        if not path.is_dir():
            found[path] = path.name
            continue
        inside = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in endings
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
            and out.resolve() not in file.resolve().parents
            and not file.is_dir()
        ]
        if not inside:
            print(f"lrp-dynamics: left out: {shown(path)} holds no image files", file=sys.stderr)
        found |= {file: file.relative_to(path).as_posix() for file in inside}
    return found


def _bounds(network: Network) -> tuple[torch.Tensor, torch.Tensor]:
    device = next(network.model.parameters()).device
    low, high = network.bounds
    return low.to(device), high.to(device)


def _wanted(layers: Sequence[str]):
    return "all" if "all" in layers else list(layers) or None


def _extend(rows: dict[str, list], table: Mapping[str, list]) -> None:
    for key, values in table.items():
        rows.setdefault(key, []).extend(values)


def layer_maps(result: Relevance) -> dict[str, np.ndarray]:
    """Return the relevance of the layers that have height and width, summed over channels; of too many, a choice."""
    maps = {
        name: value[0].cpu().double().sum(0).numpy()
        for name, value in result.layers.items()
        if value.dim() == 4 and min(value.shape[2:]) > 1
    }
    chosen = np.unique(np.linspace(0, len(maps) - 1, min(len(maps), MOST_LAYERS)).round().astype(int))
    names = list(maps)
    return {names[k]: maps[names[k]] for k in chosen}


def layer_table(image: str, composite: str, result: Relevance) -> dict[str, list]:
    """Return a row for each layer: the shape of its output, and the relevance that arrived there."""
    values = [value[0].cpu().double() for value in result.layers.values()]
    return {
        "image": [image] * len(values),
        "composite": [composite] * len(values),
        "layer": list(result.layers),
        "shape": ["×".join(map(str, value.shape)) for value in values],
        "relevance": [value.sum().item() for value in values],
        "abs_relevance": [value.abs().sum().item() for value in values],
    }


@torch.no_grad()
def forward(network: Network, inputs: torch.Tensor) -> torch.Tensor:
    """Return the logits (K,) of one image, in float64 so that ranks do not hang on rounding in the softmax."""
    return network.model(inputs)[0].cpu().double()


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
    image: str, composite: str, logits: torch.Tensor, explained: int | None, classes: Sequence[str], result: Relevance
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
        "composite": [composite] * len(shown),
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


def unique_names(labels: Iterable[str]) -> list[str]:
    """Return a name for the results of each file: its stem, with its suffix or a number where several share it."""
    paths = [Path(label.replace("/", "-")) for label in labels]
    names: list[str] = []
    taken: set[str] = {"contact"}
    stems = Counter(path.stem for path in paths)
    for path in paths:
        base = path.stem if stems[path.stem] == 1 else f"{path.stem}-{path.suffix.lstrip('.')}"
        base = file_stem(base)
        name, number = base, 2
        while name.lower() in taken:  # on macOS both would be the same file
            name, number = f"{base}-{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names
