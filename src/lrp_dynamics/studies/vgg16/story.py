"""What the VGG-16 report's notebook needs: its results at hand, and sentences made of measured values."""

from collections.abc import Mapping, Sequence

import numpy as np

from lrp_dynamics.base.files import read_json
from lrp_dynamics.measures.summary import median_interval
from lrp_dynamics.reports.material import material
from lrp_dynamics.reports.telling import Telling, code, plain, rule
from lrp_dynamics.reports.words import correlation, listed, number, percent, times
from lrp_dynamics.studies.vgg16.results import PhotoRun
from lrp_dynamics.studies.vgg16.study import FIGURES

_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")


class PhotoStory(Telling):
    """The results of the study, told.

    Parameters
    ----------
    maps, measures, metrics : path
        explanations.h5, measures.csv and metrics.json.
    figures : path
        Folder of the figures.
    images : int
        How many images are told of one by one: those that the figures show.
    """

    def __init__(self, maps: str, measures: str, metrics: str, figures: str, images: int):
        super().__init__(FIGURES, figures, material("vgg16", "captions"))
        self.metrics = read_json(metrics, "a metrics.json of vgg16-explain")
        self.run = PhotoRun(maps, measures, images)
        self.first = self.run.composites[0]
        self.masked = self.run.masked

    def network(self) -> str:
        """Say of how many layers the network is; those with weights give a VGG its name."""
        layers, _ = self.run.mprt(self.first)
        dense = sum(name.startswith("classifier.") for name in layers)
        return (
            f"VGG-{len(layers)} is {len(layers) - dense} convolutions in {len(self.run.blocks)} blocks, "
            f"each ended by a max-pool, and {dense} dense layers."
        )

    def photo(self, i: int) -> None:
        """Tell of one image: prediction, place of the relevance, runner-up, balance."""
        self.tell(f"**{plain(self.run.names[i])}.** " + " ".join([*self._seen(i), *self._place(i), *self._rival(i)]))

    def _class(self, i: int, rank: int) -> str:
        k = self.run.order[i, rank]
        return f"{plain(self.run.classes[k])} ({percent(self.run.probability[i, k])})"

    def _seen(self, i: int) -> list[str]:
        result = [f"The network sees {self._class(i, 0)} before {self._class(i, 1)}."]
        label = self.run.true_class(i)
        if label is not None:
            right = label == self.run.order[i, 0]
            result.append("That is right." if right else f"The image is of class {plain(self.run.classes[label])}.")
        return result

    def _place(self, i: int) -> list[str]:
        relevance = self.run.map(self.first, "predicted", i).astype(float)
        positive = np.clip(relevance, 0, None)
        if positive.sum() == 0:
            return ["No pixel speaks for this class."]
        ranked = np.sort(positive.ravel())[::-1].cumsum()
        half = (np.searchsorted(ranked, ranked[-1] / 2) + 1) / ranked.size
        against = np.clip(-relevance, 0, None).sum() / positive.sum()
        result = [
            f"Half of the relevance for the predicted class lies on {percent(half)} of the pixels, the "
            f"largest part of it in the {place_of(positive)} of the image."
        ]
        result += opposition(against)
        if self.masked:
            share = self.run.values(self.first, "mass_accuracy")[i]
            result.append(inside(share, self.run.measures["object_area"][i]))
        return result

    def _rival(self, i: int) -> list[str]:
        best, second = (self.run.map(self.first, target, i).ravel() for target in ("predicted", "runner_up"))
        if best.std() == 0 or second.std() == 0:
            return []
        r = float(np.corrcoef(best, second)[0, 1])
        difference = np.abs(best - second)
        where = place_of(difference.reshape(self.run.map(self.first, "predicted", i).shape))
        return [f"{likeness(r)} (correlation {correlation(r)}); the two maps differ most in the {where}."]

    def balance(self) -> list[str]:
        """Say how much of the logit arrives at the pixels, and which layer takes most of the rest."""
        result = []
        for method in self.run.composites:
            layers, shares = self.run.absorbed(method)
            shares = np.median(shares, 0)
            top = int(np.argmax(np.abs(shares)))
            arrives = self.metrics[f"{method}_arrives"]
            text = f"By {rule(method)}, {percent(arrives)} of the explained logit arrives at the pixels (median)"
            if np.abs(shares[top]) > 0.001:
                verb = "takes" if shares[top] > 0 else "gives"
                text += f"; {code(layers[top])} {verb} most, {percent(abs(shares[top]))}"
            text += "."
            if arrives < 0.5:
                text += (
                    " So these maps share out the smaller part of the logit; biases and stabilizers take the larger."
                )
            result.append(text)
        return result

    def evaluation(self) -> list[str]:
        """Say which method's order of pixels the network agrees with most, if any."""
        return evaluation({name: self.run.values(name, "abpc") for name in self.run.methods})

    def checks(self) -> list[str]:
        """Say what is left of the maps once the weights are random."""
        return checks(self.metrics, self.run.methods)

    def limits(self) -> list[str]:
        """Say what the study leaves open."""
        return limits(len(self.run.names), self.run.title)

    def localisation(self) -> list[str]:
        """Say how much of the relevance lies in the object."""
        area = self.metrics["object_area"]
        known = [n for n in self.run.methods if f"{n}_mass_accuracy" in self.metrics]
        parts = [f"{rule(n)} {percent(self.metrics[f'{n}_mass_accuracy'])}" for n in known]
        return [
            f"The object fills {percent(area)} of the image and holds, of the positive relevance, {', '.join(parts)}."
        ]

    def measures(self) -> None:
        """Show the medians of all measures."""
        columns = {
            "arrives": "arrives at pixels",
            "abpc": "ABPC",
            "aopc": "AOPC",
            "mass_accuracy": "mass accuracy",
            "rank_accuracy": "rank accuracy",
            "gini": "Gini",
            "entropy": "entropy (nats)",
        }
        shown = {key: text for key, text in columns.items() if f"{self.first}_{key}" in self.metrics}
        rows = [(rule(name), *(self._cell(f"{name}_{key}", key) for key in shown)) for name in self.run.methods]
        self.table(("method", *shown.values()), rows, numeric=range(1, len(shown) + 1))

    def _cell(self, name: str, key: str) -> str:
        value = self.metrics.get(name)
        if value is None:
            return "–"
        return percent(value) if key == "arrives" else number(value)


def evaluation(scores: Mapping[str, np.ndarray]) -> list[str]:
    """Say which method has the largest ABPC, and whether the images (N,) suffice to tell it from the others."""
    known = {name: values[np.isfinite(values)] for name, values in scores.items()}
    medians = {name: float(np.median(values)) for name, values in known.items() if len(values)}
    if not medians:
        return ["No image has an ABPC that could be compared."]
    best = max(medians, key=medians.__getitem__)
    shown = ", ".join(f"{rule(name)} {number(value)}" for name, value in medians.items())
    result = [f"The area between the curves, in logit units (median over images): {shown}."]
    low = {name: median_interval(scores[best] - scores[name])[0] for name in medians if name != best}
    alike = [rule(name) for name, value in low.items() if not value > 0]
    if not low:
        pass
    elif not alike:
        result.append(
            f"The network agrees most with {rule(best)}: image by image, its area is larger than that of every other "
            "method (95 % intervals of the median difference lie above zero)."
        )
    else:
        result.append(
            f"{rule(best)} has the largest median, but these images do not tell it from {listed(alike, 'or')}: the "
            "95 % interval of the median difference, image by image, includes zero."
        )
    if medians[best] <= 0:
        result.append("No method's order beats its own reverse, so none of these maps says what the logit needs.")
    return result


def checks(metrics: Mapping[str, float], methods: Sequence[str]) -> list[str]:
    """Say how alike maps are to those of random weights, and which hardly change with the last layer."""
    told = []
    for name in methods:
        last, everything = (metrics.get(f"{name}_mprt_{layers}") for layers in ("last_layer", "all_layers"))
        if last is not None and everything is not None:
            told.append(f"{rule(name)}: {correlation(last)} after the last layer, {correlation(everything)} after all")
    if not told:
        return ["No map varies enough to be compared with those of random weights."]
    result = [
        f"Rank correlations of |relevance| with that of the trained network (median): {'; '.join(told)}.",
        "They do not rank the methods: how far a correlation falls also depends on how much noise the maps have.",
    ]
    stubborn = [rule(name) for name in methods if metrics.get(f"{name}_mprt_last_layer", 0) > 0.9]
    if stubborn:
        result.append(
            f"With random weights in the last layer, {listed(stubborn)} still "
            f"{'give' if len(stubborn) > 1 else 'gives'} nearly the same maps: what this layer has learned hardly "
            "shows in them."
        )
    return result


def limits(images: int, title: str) -> list[str]:
    """Say what a study of so many images of a dataset of this title leaves open."""
    result = [
        "A heatmap shows what this network uses, not what is in the image; a wrong prediction has a heatmap too.",
        "Images with replaced regions are of a kind that the network was not trained on.",
    ]
    if "synthetic" in title.lower():
        result.append("The images are synthetic: what holds for them need not hold for photographs.")
    if images < 20:
        result.append(f"{images} {'image is' if images == 1 else 'images are'} too few to rank methods.")
    return result


def likeness(r: float) -> str:
    """Say how the maps of two classes compare, whose correlation over pixels is r."""
    if r > 0.7:
        return "The runner-up's map looks much the same"
    if r > 0.3:
        return "The runner-up rests partly on the same pixels"
    if r < -0.3:
        return "Pixels that speak for the predicted class tend to speak against the runner-up"
    return "The runner-up rests on other pixels"


def opposition(against: float) -> list[str]:
    """Say how much relevance speaks against the class, as a multiple of that for it."""
    if against > 1:
        return [
            f"More relevance speaks against the class than for it, {times(against)} as much; what is missing from the "
            "logit was absorbed on the way."
        ]
    if against > 0.05:
        return [f"Relevance against the class is {percent(against)} of that for it."]
    return []


def inside(share: float, area: float) -> str:
    """Say whether the object holds more of the positive relevance than its share of the area."""
    if np.isnan(share):
        return "How much of it the object holds is not known."
    ratio = "more" if share > area else "no more"
    return f"The object, {percent(area)} of the area, holds {percent(share)} of it: {ratio} than its share of the area."


def place_of(amount: np.ndarray) -> str:
    """Name the ninth of an image (H, W) that holds most of an amount >= 0.

    Examples
    --------
    >>> place_of(np.array([[0, 0, 9], [0, 5, 0], [0, 0, 0]]))
    'upper right'
    >>> place_of(np.ones((3, 3)) * [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    'centre'
    """
    sums = [[part.sum() for part in np.array_split(rows, 3, 1)] for rows in np.array_split(amount, 3, 0)]
    row, column = divmod(int(np.argmax(sums)), 3)
    return "centre" if row == column == 1 else f"{_ROWS[row]} {_COLUMNS[column]}"
