"""A picture of an explanation, for notebooks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.results import Relevance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 12  # inputs in a figure


def plot(result: Relevance, images: Any = None, *, names: Sequence[str] | None = None) -> "Figure":
    """Draw relevance beside the inputs that it explains; a notebook shows the figure, `savefig` writes it.

    Parameters
    ----------
    result : Relevance
        Of images (N, C, H, W), signals (N, C, L), tables (N, F) or volumes (N, C, D, H, W); the first twelve are drawn.
    images : tensor or array, optional
        What to show beside the maps, in the shape of the input: pixels as uint8, or the inputs as the network takes
        them, each stretched to its own range. Default: maps alone.
    names : sequence of str, optional
        What to write at each row. Default: "input" and its number.

    Returns
    -------
    Figure
        A row for each input: the input, and its relevance summed over channels, red for what is explained and blue
        against it, on a symmetric scale of its own. Above it, which output is explained, where the relevance put in is
        the value of just one, and the sum of the map.

    Raises
    ------
    UserError
        If images or names do not fit the result.

    Examples
    --------
    >>> import torch
    >>> from lrp_dynamics import lrp
    >>> model, inputs = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)), torch.rand(2, 3, 2, 2)
    >>> figure = lrp.plot(lrp.relevance(model, inputs, "predicted"), inputs, names=["cat", "dog"])
    >>> len(figure.axes)  # two inputs, two maps, and their two scales
    6
    """
    from lrp_dynamics.base.style import in_house_style

    relevance = result.input.detach().double().cpu().numpy()
    shown = None if images is None else _array(images)
    if shown is not None and shown.shape != relevance.shape:
        raise UserError(
            f"lrp.plot: found images of shape {shown.shape}, expected {relevance.shape} as the result's input"
        )
    if names is not None and (isinstance(names, str) or len(names) != len(relevance)):
        raise UserError(f"lrp.plot: found names {names!r}, expected a list of {len(relevance)}")
    if not len(relevance):
        raise UserError("lrp.plot: found a result of no input, expected one or more")
    initial = result.initial.detach().double().cpu().numpy()
    output = result.output.detach().double().cpu().numpy()
    return in_house_style(_draw)(relevance, shown, initial, output, names)


def _array(images: Any) -> np.ndarray:
    return np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)


def _explained(initial: float, output: np.ndarray) -> int | None:
    """Return the class whose score was put in as relevance, None where that is not one class for sure."""
    found = np.flatnonzero(output == initial) if output.ndim == 1 else []
    return int(found[0]) if len(found) == 1 else None


def _draw(
    relevance: np.ndarray,
    images: np.ndarray | None,
    initial: np.ndarray,
    output: np.ndarray,
    names: Sequence[str] | None,
) -> "Figure":
    from lrp_dynamics.base.names import literal
    from lrp_dynamics.base.style import limit_of, new_figure, short, show_sample, show_signed

    count, left = min(len(relevance), MOST), len(relevance) - MOST
    columns = 1 + (images is not None)
    title = "Relevance" + (f" of the first {MOST} of {len(relevance)} inputs" if left > 0 else "")
    column = 2.1 if relevance.ndim < 4 else 1.5  # a picture is no wider than its row is high
    height = 0.7 + 1.8 * count
    figure = new_figure(title, "red for what is explained, blue against it", max(2.6, 0.8 + column * columns), height)
    grid = figure.subplots(count, columns, squeeze=False)
    for number, row in enumerate(grid):
        if images is not None:
            show_sample(row[0], _shown(images[number]))
        values = relevance[number].sum(axis=0) if relevance[number].ndim > 1 else relevance[number]
        limit = limit_of(values)
        bar = figure.colorbar(show_signed(row[-1], values, limit), ax=row[-1], fraction=0.046, pad=0.03)
        bar.set_ticks([-limit, 0, limit], labels=[f"−{short(limit)}", "0", short(limit)])
        bar.ax.tick_params(labelsize=6, length=2)
        bar.outline.set_visible(False)
        total, put = (short(float(value), 3) for value in (values.sum(), initial[number]))
        which = _explained(initial[number], output[number])
        told = f"Σ R = {total} of {put}" if which is None else f"output {which} is {put}\nΣ R = {total}"
        row[-1].set_title(told, fontsize=8)
        row[0].set_ylabel(literal(str(names[number]), 30) if names is not None else f"input {number}", fontsize=8)
    return figure


def _shown(image: np.ndarray) -> np.ndarray:
    """Return an input as `show_sample` takes it: an image as bytes, (H, W, 3) or grey."""
    if image.ndim != 3:
        return image.astype(np.float64)
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = ((image - low) / max(high - low, 1e-12) * 255).round().astype(np.uint8)
    return np.moveaxis(image, 0, -1) if len(image) == 3 else image.mean(axis=0).astype(np.uint8)
