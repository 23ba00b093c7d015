# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Training a ConvNet and explaining its predictions

# %% [markdown] tags=["notebook-only"]
# This notebook made the report, and runs again where it lies. The last section, *Try it yourself*, has cells to change.

# %% tags=["parameters"]
inputs = {
    "metrics": "../../results/demo_homework/seed-0/metrics.json",
    "accuracy": "../../results/demo_homework/seed-0/accuracy.csv",
    "evidence": "../../results/demo_homework/seed-0/evidence.csv",
    "recording": "../../results/demo_homework/seed-0/deep_taylor/relevance.h5",
    "published": "../../src/lrp_dynamics/studies/homework/published.json",
    "figures": "figures",
}
params = {"published": False, "batch_size": 25}

# %%
import json
from pathlib import Path

import torch

from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.base.typeset import rule_name
from lrp_dynamics.recording.store import open_relevance
from lrp_dynamics.reports.material import material
from lrp_dynamics.reports.telling import Telling, code, plain
from lrp_dynamics.reports.words import number, percent
from lrp_dynamics.studies.homework import story
from lrp_dynamics.studies.homework.numbers import NUMBERS
from lrp_dynamics.studies.homework.study import FIGURES
from lrp_dynamics.training.losses import class_probabilities, default_class, default_class_gradient

page = Telling(FIGURES, inputs["figures"], material("homework", "captions"))
m, tell = json.loads(Path(inputs["metrics"]).read_text(encoding="utf-8")), page.tell
accuracy, evidence = read_csv(inputs["accuracy"]), read_csv(inputs["evidence"])
published = json.loads(Path(inputs["published"]).read_text(encoding="utf-8")) if params["published"] else None
with open_relevance(inputs["recording"]) as recording:
    run = recording.attrs
explained, classes = m["deep_taylor_explained_images"], len(run["classes"])

# %%
tell(
    f"*{plain(run['dataset_title'])} · network {code(run['model'])} · seed {run['seed']} · {m['iterations']:,} "
    f"training steps · {explained} explained images*"
)
kept, grown = m["deep_taylor_conservation_error_max"], m["deep_taylor_similarity_first_to_last_median"]
page.points(
    [story.classified(m, published and published["accuracy"])],
    [story.conserved(kept)],
    [story.shapes(grown, m["sensitivity_similarity_first_to_last_median"])],
)
tell("Every number on this page was computed from this run's result files; published values are marked as such.")

# %% [markdown]
# ## 1 Training
#
# ### The network
# %%
page.table(
    ("layer", "does", "output"),
    [
        ("input", "pixels scaled to the range from −1 to 1", "3 × 32 × 32"),
        ("convolution 5×5, ReLU, sum-pooling 2×2", "3 → 10 channels", "10 × 14 × 14"),
        ("convolution 5×5, ReLU, sum-pooling 2×2", "10 → 50 channels", "50 × 5 × 5"),
        ("convolution 4×4, ReLU, sum-pooling 2×2", "50 → 250 channels", "250 × 1 × 1"),
        ("convolution 1×1, starts at zero", f"250 → {classes} scores y", str(classes)),
    ],
)

# %% [markdown]
# ### Evidence and probabilities
# %%
tell(
    "The score y<sub>i</sub> is the *evidence* for class i. Probabilities come from the scores of the "
    f"{classes} classes and of one default class, whose score is always zero:"
)
page.formula(
    r"p_i = \frac{\exp(y_i)}{1 + \sum_j \exp(y_j)}",
    "p<sub>i</sub> = exp(y<sub>i</sub>) / (1 + Σ<sub>j</sub> exp(y<sub>j</sub>))",
)
tell(
    "The default class fixes what zero means. With a plain softmax, only differences of scores matter, and a constant "
    "could be added to all of them. With the default class, a positive score speaks for a class and a negative score "
    "against it. Only then is the score worth decomposing. The training makes the labelled class t likely, which means "
    "that it minimises"
)
page.formula(
    r"L = -\log p_t = \log\left(1 + \sum_j \exp(y_j)\right) - y_t",
    "L = −log p<sub>t</sub> = log(1 + Σ<sub>j</sub> exp(y<sub>j</sub>)) − y<sub>t</sub>",
)
tell(
    "The derivative of the logarithm with respect to y<sub>i</sub> is p<sub>i</sub>. The derivative of the second "
    "term is −1 for the labelled class and 0 for all others. Hence"
)
page.formula(r"\frac{\partial L}{\partial y_i} = p_i - [i = t]", "∂L/∂y<sub>i</sub> = p<sub>i</sub> − [i = t]")
generator = torch.Generator().manual_seed(0)
scores = 3 * torch.randn(100, 10, generator=generator, dtype=torch.float64)
labels = torch.randint(0, 10, (100,), generator=generator)
leaf = scores.clone().requires_grad_()
default_class(leaf, labels).backward()
difference = (leaf.grad - default_class_gradient(scores, labels)).abs().max().item()
rest = 1 - class_probabilities(scores).sum(1)
tell(
    "On 100 random vectors of scores in double precision, this formula and automatic differentiation differ by at most "
    f"{number(difference)}, and the probability left to the default class lies between {number(rest.min().item())} and "
    f"{number(rest.max().item())}."
)

# %% [markdown]
# ### The training
# %%
tell(
    "The network is trained by stochastic gradient descent with a fixed learning rate, on minibatches of "
    f"{params['batch_size']} images. Each pass takes the training images in a new random order. Weights are kept at "
    "chosen steps:"
)
header = ["training steps", "accuracy"]
rows = [[f"{step:,}", percent(value)] for step, value in zip(accuracy["iteration"], accuracy["accuracy"], strict=True)]
if published:
    header.append("published (literature)")
    for row, step in zip(rows, accuracy["iteration"], strict=True):
        value = published["accuracy"].get(str(step))
        row.append("–" if value is None else percent(value))
page.table(header, rows, numeric=range(len(header)))
if published:
    tell(story.compared(accuracy, published["accuracy"], published["source"], m["test_images"]))
page.figure("accuracy")

# %% [markdown]
# ## 2 Explanations
#
# ### The images
# %%
right = (evidence["predicted"] == evidence["label"])[:explained]
tell(
    f"Of the test images, {percent(m['images_with_evidence_share'])} have positive evidence for their own class "
    f"at the end. The {explained} with most evidence are explained; {int(right.sum())} of them are classified as "
    "labelled."
)
page.figure("evidence")

# %% [markdown]
# ### Sensitivity
# %%
tell("Sensitivity shows where a small change of the image changes the evidence y for its class most:")
page.formula(
    r"S(p) = \sum_{\text{colours}} \left(\frac{\partial y}{\partial x_p}\right)^2",
    "S(p) = Σ<sub>colours</sub> (∂y/∂x<sub>p</sub>)<sup>2</sup>",
)
page.figure("sensitivity")

# %% [markdown]
# ### Deep Taylor decomposition
# %%
tell(
    "Deep Taylor decomposition shows what the evidence is made of. It starts from max(0, y) and goes back layer by "
    "layer. Each input of a layer receives relevance in proportion to its contribution. In all layers but the first, "
    "the inputs are not negative, and only contributions through positive weights count (rule z⁺):"
)
page.formula(
    r"R_i = \sum_j \frac{x_i w_{ij}^+}{\sum_{i'} x_{i'} w_{i'j}^+} R_j",
    "R<sub>i</sub> = Σ<sub>j</sub> x<sub>i</sub> w<sub>ij</sub><sup>+</sup> / (Σ<sub>i'</sub> x<sub>i'</sub> "
    "w<sub>i'j</sub><sup>+</sup>) · R<sub>j</sub>",
)
tell(
    "In the first layer, the inputs lie between l = −1 and h = 1, and contributions are measured from the ends of this "
    "range (rule zᴮ). A dark pixel can therefore contribute as much as a bright one:"
)
page.formula(
    r"R_i = \sum_j \frac{x_i w_{ij} - l w_{ij}^+ - h w_{ij}^-}"
    r"{\sum_{i'} \left(x_{i'} w_{i'j} - l w_{i'j}^+ - h w_{i'j}^-\right)} R_j",
    "R<sub>i</sub> = Σ<sub>j</sub> (x<sub>i</sub> w<sub>ij</sub> − l w<sub>ij</sub><sup>+</sup> − h "
    "w<sub>ij</sub><sup>−</sup>) / (Σ<sub>i'</sub> …) · R<sub>j</sub>",
)
tell("A sum-pooling unit passes its relevance on to its four inputs, in proportion to their values.")
page.figure("deep_taylor")

# %% [markdown]
# ### What remains of the images
# %%
page.figure("masked")
if "object_area_median" in m:
    tell(
        f"These images come with masks. The object covers {percent(m['object_area_median'])} of an image (median); it "
        f"receives {percent(m['sensitivity_mass_on_object_median'])} of the sensitivity and "
        f"{percent(m['deep_taylor_mass_on_object_median'])} of the relevance."
    )

# %% [markdown]
# ### Conservation
# %%
tell(story.conservation(kept))
page.figure("conservation")

# %% [markdown]
# ## 3 Along the training
# %%
tell("The same images, explained by the network at every checkpoint:")
page.figure("along_training")
page.figure("settling")
tell(story.settling(m, accuracy["iteration"][0]))
tell(
    "These checkpoints are a recording like any other of this project (`deep_taylor/relevance.h5` and "
    "`sensitivity/relevance.h5` among the results): `lrp-dynamics info`, `lrp-dynamics dynamics` and `open_relevance` "
    "read them. How relevance changes with every single step is the subject of the experiments of kind `dynamics`."
)

# %% [markdown]
# ## All numbers
# %%
page.numbers(NUMBERS, metrics=m)

# %% [markdown] tags=["notebook-only"]
# ## Try it yourself
#
# The cells below work with the files of this run. Change them, and run them again: `inputs`, at the top, names every
# file. To run this notebook, run its first two code cells, and then any cell below.
#
# ### How a number is made: evidence and the sum of a map

# %% tags=["notebook-only"]
recording = open_relevance(inputs["recording"])
chosen = list(range(min(3, recording.map_samples)))  # change: any explained images, such as [4, 7]
print(recording)

checkpoint = -1  # change: which checkpoint, from 0; -1 is the last
for sample in chosen:
    map_sum, initial = recording.maps(checkpoint, sample).sum(), recording.scalar("initial")[checkpoint, sample]
    print(f"image {sample}, {recording.class_name(sample)}: evidence {initial:.4g}, sum of its map {map_sum:.4g}")

# %% [markdown] tags=["notebook-only"]
# ### How a figure is made: maps along the training

# %% tags=["notebook-only"]
import matplotlib.pyplot as plt

from lrp_dynamics.base.style import AMOUNT, limit_of, show_image
from lrp_dynamics.data.pictures import as_picture

iteration = recording.step("iteration")
moments = range(recording.steps)[-5:]  # change: which checkpoints
figure, grid = plt.subplots(len(chosen), len(moments) + 1, figsize=(9, 1.6 * len(chosen)), squeeze=False)
for sample, row in zip(chosen, grid, strict=True):
    show_image(row[0], as_picture(recording.image(sample)))
    for moment, axes in zip(moments, row[1:], strict=True):
        relevance = recording.maps(moment, sample)
        axes.imshow(relevance, cmap=AMOUNT, vmin=0, vmax=limit_of(relevance))
        axes.set_title(f"step {iteration[moment]}", fontsize=8)
        axes.axis("off")
plt.show()

# %% [markdown] tags=["notebook-only"]
# ### Another rule
#
# This cell loads the trained network and explains the chosen samples again. It is not run when the report is made, so
# it shows nothing until you run it.

# %% tags=["notebook-only", "skip-execution"]
from lrp_dynamics import lrp
from lrp_dynamics.base.style import show_signed
from lrp_dynamics.models.trained import load

composite = "epsilon"  # change: any of lrp.COMPOSITES
network = load(Path(inputs["recording"]).parents[1] / "model.safetensors")
images, targets = recording.sample("image")[chosen], recording.explained[chosen]
result = lrp.relevance(
    network.model, network.inputs(images), torch.as_tensor(targets), composite, bounds=network.bounds
)
print(result)

figure, grid = plt.subplots(len(chosen), 2, figsize=(4, 1.9 * len(chosen)), squeeze=False)
for sample, other, row in zip(chosen, result.input.sum(1).numpy(), grid, strict=True):
    before = recording.maps(-1, sample)
    for axes, name, relevance in ((row[0], "deep_taylor", before), (row[1], composite, other)):
        show_signed(axes, relevance, limit_of(relevance))
        axes.set_title(rule_name(name), fontsize=8)
plt.show()
