"""Faults of a drawn figure that can be measured: legends on data, texts on each other or cut off, clipped dots."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from lrp_dynamics.base import style


@contextmanager
def watched() -> Iterator[dict[str, list[str]]]:
    """Measure every figure that is saved meanwhile; gives the faults found, by the figure's name."""
    save, found = style.save, {}

    def measured(figure, folder, name):
        paths = save(figure, folder, name)
        if faults := faults_of(figure):
            found[name] = faults
        return paths

    style.save = measured
    try:
        yield found
    finally:
        style.save = save


def faults_of(figure: Figure) -> list[str]:
    """Return in words what is wrong with a figure that is laid out already."""
    FigureCanvasAgg(figure).draw()
    return [*_legends_on_data(figure), *_texts_in_the_way(figure), *_clipped_dots(figure)]


def _data(figure: Figure) -> np.ndarray:
    """Return all points of lines and the corners of bars that lie within their axes, in pixels (N, 2)."""
    points = [np.empty((0, 2))]
    for axes in figure.axes:
        own = [line.get_transform().transform(line.get_xydata()) for line in axes.lines if len(line.get_xydata())]
        own += [patch.get_window_extent().corners() for patch in axes.patches]
        if own:
            every = np.concatenate(own)
            points.append(every[_within(axes.bbox, every)])
    return np.concatenate(points)


def _within(box: Bbox, points: np.ndarray) -> np.ndarray:
    return ((points >= box.min) & (points <= box.max)).all(axis=1)


def _legends_on_data(figure: Figure) -> Iterator[str]:
    data = _data(figure)
    for legend in figure.findobj(Legend):
        box = legend.get_window_extent()
        if covered := int(_within(box, data).sum()):
            yield f"a legend covers {covered} points"
        yield from ("a legend lies in axes" for axes in figure.axes if _shared(box, axes.bbox) > 2)


def _texts_in_the_way(figure: Figure) -> Iterator[str]:
    outside = {label for axes in figure.axes for label in _not_shown(axes)}
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in outside]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_rotation() in (0, 90)]
    for text, box in boxes:
        if not (box.min >= -1).all() or not (box.max <= figure.bbox.max + 1).all():
            yield f"{text!r} is cut off"
    for (one, first), (other, second) in combinations(boxes, 2):
        if _shared(first, second) > 1:
            yield f"{one!r} and {other!r} lie on each other"


def _not_shown(axes: Axes) -> Iterator[Text]:
    """Give the labels that axes have but do not draw: of ticks beyond the axes, and all of those that are off."""
    if not axes.get_visible() or not axes.axison:
        yield from (text for axis in (axes.xaxis, axes.yaxis) for text in axis.findobj(Text))
        return
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.majorTicks, *axis.minorTicks):
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


def _shared(one: Bbox, other: Bbox) -> float:
    """Return the smaller side, in pixels, of what two boxes have in common; 0 for nothing."""
    both = Bbox.intersection(one, other)
    return 0 if both is None else min(both.width, both.height)


def _clipped_dots(figure: Figure) -> Iterator[str]:
    for axes in figure.axes:
        for line in axes.lines:
            if line.get_linestyle() != "None" or not line.get_clip_on() or line.get_marker() in ("None", " ", ""):
                continue
            points = line.get_transform().transform(line.get_xydata())
            points = points[np.isfinite(points).all(axis=1)]
            radius = line.get_markersize() / 2 * figure.dpi / 72
            inner = Bbox([axes.bbox.min + radius - 1, axes.bbox.max - radius + 1])
            if cut := int((~_within(inner, points)).sum()):
                yield f"{cut} dots are cut off at the border of the axes"
