"""The figures of a page on one recording, each with what is said below it."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from lrp_dynamics.recording.figures import heatmaps, learning, measuring, spread
from lrp_dynamics.recording.figures.run import Run


@dataclass(frozen=True)
class Drawn:
    """A figure.

    Attributes
    ----------
    draw : callable
        Takes a `Run`.
    title : str
    caption : str
        HTML; "pixel" stands for what a map has values of.
    maps : bool
        Whether it needs stored maps.
    steps : int
        How many recorded steps it needs.
    output : bool
        Whether it needs to be known which output is explained.
    """

    draw: Callable[[Run], Figure]
    title: str
    caption: str
    maps: bool = False
    steps: int = 2
    output: bool = False


_R, _NEXT, _LAST = "R<sub>i</sub>", "R<sub>i+1</sub>", "R<sub>i−1</sub>"
FIGURES = {
    "samples": Drawn(
        learning.samples,
        "The samples",
        "The followed samples, a hundred at most. Where classes are known, a bold, coloured name marks a sample that "
        "is classified wrongly at the last record.",
        steps=1,
    ),
    "training_loss": Drawn(
        learning.training_loss, "Training loss", "As it was recorded and, black, its running mean.", steps=1
    ),
    "prediction_and_relevance": Drawn(
        learning.prediction_and_relevance,
        "Prediction and relevance",
        "Left: how far the explained output of each sample has moved since the first record. Right: the same for the "
        "sum of its relevance map. One thin line a sample.",
        output=True,
    ),
    "conservation": Drawn(
        learning.conservation,
        "Conservation of relevance",
        "Left: the sum of each map against the relevance put in at the output; on the line, nothing is lost. Right: "
        "the largest deviation of any sample, as a share of its relevance, and what of it biases, stabilizers and dead "
        "units absorbed. Values below 10<sup>−9</sup> are drawn there.",
        output=True,
    ),
    "step_changes": Drawn(
        learning.step_changes,
        "Changes from record to record",
        "Of the explained output, where it is known, and of the sum of the map. Peaks that many samples share are "
        "steps in which the network as a whole moved far.",
    ),
    "heatmaps": Drawn(
        heatmaps.heatmaps,
        "Heatmaps along training",
        "Six samples at most, of different classes as far as there are such. Red pixels speak for what is explained, "
        "blue ones against it, white is zero. Each row has one symmetric scale for all its moments, stated at its "
        "right. Below each map, p is the probability of the class that is explained; where there is none, the output "
        "or, where that is not known, the sum of the map.",
        maps=True,
        steps=1,
    ),
    "heatmap_changes": Drawn(
        heatmaps.heatmap_changes,
        "Changes of the heatmaps",
        f"|{_R} − {_NEXT}| of single records. Each map has its own scale and shows <em>where</em> the change is; the "
        "sum below it says <em>how much</em> changes.",
        maps=True,
    ),
    "schematic": Drawn(
        measuring.schematic,
        "How dynamics are measured",
        "On the sample of median divergence: the absolute differences of successive maps are summed over all records, "
        "pixel by pixel. That is the Dynamics map; its sum over all pixels is the divergence of the sample. Each map "
        "and each difference has a colour scale of its own.",
        maps=True,
    ),
    "dynamics_maps": Drawn(
        spread.dynamics_maps,
        "Dynamics of single samples",
        "Samples at evenly spaced ranks of divergence, the largest first. Of each: the sample, its relevance at the "
        f"last record, the mean of |{_R}|, its Dynamics, and its normalised Dynamics, for which every map is first "
        "divided by its sum of absolute values, so that a change of mere amount does not count.",
        maps=True,
    ),
    "differences": Drawn(
        spread.differences,
        "Individual differences",
        f"Of the same samples. Left: the step divergence Σ|{_LAST} − {_R}| at every record; the circle marks the "
        "largest. Right: the difference map of that record and of three others, each on its own scale. One record "
        "that towers over all others would point to a numerical cause; steady change points to the training.",
        maps=True,
    ),
    "divergence": Drawn(
        spread.divergence,
        "Distribution of divergence",
        "On a linear and on a logarithmic axis, with the log-normal distribution of the same median and median "
        "absolute deviation (MAD). A tail that seems extreme on the linear axis is what any log-normal distribution "
        "shows.",
    ),
}


def figures_of(run: Run) -> dict[str, Drawn]:
    """Return the figures that a recording has the data for, by name, in the order of the story."""
    recording = run.recording
    return {
        name: figure
        for name, figure in FIGURES.items()
        if recording.steps >= figure.steps
        and (recording.map_samples or not figure.maps)
        and (recording.tells_output or not figure.output)
        and (name != "samples" or run.has_images)
        and (name != "training_loss" or (run.training is not None and len(run.training["iteration"]) > 1))
    }
