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
# # What does a VGG see, and by which pixels?

# %% [markdown] tags=["notebook-only"]
# This notebook made the report, and runs again where it lies. The last section, *Try it yourself*, has cells to change.

# %% tags=["parameters"]
inputs = {
    "maps": "../../results/demo_vgg16/explanations.h5",
    "measures": "../../results/demo_vgg16/measures.csv",
    "metrics": "../../results/demo_vgg16/metrics.json",
    "figures": "figures",
}
params = {"images": 6}

# %%
from lrp_dynamics.reports.telling import rule
from lrp_dynamics.studies.vgg16.numbers import NUMBERS
from lrp_dynamics.studies.vgg16.story import PhotoStory, percent, plain

story = PhotoStory(**inputs, images=params["images"])
m, run, tell = story.metrics, story.run, story.tell
count = m["images"]

# %%
tell(
    f"*{plain(run.title)} · network {plain(run.origin)} · {count} {'image' if count == 1 else 'images'} "
    f"explained · rules {', '.join(map(rule, run.composites))}*"
)
tell(
    f"{story.network()} The dense layers are written as convolutions here. This changes no output, and makes the "
    "relevance of every layer a map. Layer-wise relevance propagation (LRP) distributes the logit of a class over the "
    "pixels, layer by layer: positive relevance is red, negative is blue. Every number on this page was computed from "
    "this run's result files."
)
if "test_accuracy" in m:
    tell(
        f"The network is a narrow VGG-16 of {m['parameters']:,} parameters, fitted here; it classifies "
        f"{percent(m['test_accuracy'])} of the test images as labelled, and "
        f"{percent(m['accuracy_on_explained_images'])} of those explained."
    )

# %% [markdown]
# ## What the network sees
# %%
story.figure("predictions")

# %% [markdown]
# ## Explanations
# %%
tell(
    f"Rules differ in how they treat contributions against the class and small denominators. {rule(story.first)} comes "
    "first. Gradient × input, which needs no rules, is shown for comparison."
)
story.figure("composites")

# %% [markdown]
# ### Why this class, and not the next best?
# %%
story.figure("contrast")

# %% [markdown]
# ### Image by image
# %%
tell(f"Explained with {rule(story.first)}:")
for i in range(run.show):
    story.photo(i)

# %% [markdown]
# ## Layer by layer
# %%
tell("On the way forward, each block sees larger parts of the image, in fewer and fewer cells:")
story.figure("activations")
tell("On the way back, relevance takes the same path from coarse to fine:")
story.figure("layers")
tell("Not all of the logit needs to arrive: biases and stabilizers in the denominators absorb their part.")
tell(story.balance())
story.figure("absorption")

# %% [markdown]
# ## How good are these explanations?
# %%
tell(
    "**Pixel flipping** replaces regions in the order of their relevance and follows the logit. If the map shows what "
    "the network uses, the logit falls fast when the most relevant regions go first, and slowly when they go last. The "
    "area between the two curves (ABPC) measures this."
)
tell(story.evaluation())
story.figure("flipping")
if story.masked:
    tell("**Localisation** measures how much of the relevance lies on the object, of which these images have masks.")
    tell(story.localisation())
    story.figure("localisation")
tell(
    "**Random weights** are a check, not a score. From the output down, layer after layer gets new random weights. A "
    "map that stays the same does not depend on what these layers have learned."
)
tell(story.checks())
story.figure("mprt")
tell("All measures, as medians over the images:")
story.measures()

# %% [markdown]
# ## What this cannot tell
# %%
tell(story.limits())

# %% [markdown]
# ## All numbers
# %%
story.numbers(NUMBERS, metrics=m)

# %% [markdown] tags=["notebook-only"]
# ## Try it yourself
#
# The cells below work with the files of this run. Change them, and run them again: `inputs`, at the top, names every
# file. To run this notebook, run its first two code cells, and then any cell below.
#
# ### How a number is made: how much of the logit arrives

# %% tags=["notebook-only"]
from lrp_dynamics.base.hdf5 import open_hdf5
from lrp_dynamics.studies.vgg16.results import LAYOUT

file = open_hdf5(inputs["maps"], LAYOUT)
chosen = list(range(min(3, count)))  # change: any images, such as [4, 7]
method = run.composites[0]  # change: any of run.composites
for i in chosen:
    relevance = file[f"maps/{method}/predicted"][i].astype(float)  # one value for each pixel
    logit = file["logits"][i].max()  # of the predicted class
    print(f"{run.names[i]}: a logit of {logit:.4g}, of which {relevance.sum() / logit:.1%} arrives at the pixels")

# %% [markdown] tags=["notebook-only"]
# ### How a figure is made: image, map, and the map of the runner-up

# %% tags=["notebook-only"]
import matplotlib.pyplot as plt

from lrp_dynamics.base.style import limit_of, show_image, show_signed

figure, grid = plt.subplots(len(chosen), 3, figsize=(6, 2.1 * len(chosen)), squeeze=False)
for i, row in zip(chosen, grid, strict=True):
    show_image(row[0], run.image(i))
    for axes, target in zip(row[1:], ("predicted", "runner_up"), strict=True):
        relevance = run.map(method, target, i)
        show_signed(axes, relevance, limit_of(relevance))
        axes.set_title(target.replace("_", "-"), fontsize=8)
plt.show()

# %% [markdown] tags=["notebook-only"]
# ### Another rule
#
# This cell loads the trained network and explains the chosen samples again. It is not run when the report is made, so
# it shows nothing until you run it.

# %% tags=["notebook-only", "skip-execution"]
from pathlib import Path

import torch

from lrp_dynamics import lrp
from lrp_dynamics.base.typeset import rule_name
from lrp_dynamics.models.trained import load

composite = "alpha2_beta1"  # change: any of lrp.COMPOSITES
network = load(Path(inputs["maps"]).with_name("model.safetensors"))
values = network.inputs(file["images"][chosen])
with torch.no_grad():
    predicted = network.model(values).argmax(1)
result = lrp.relevance(network.model, values, predicted, composite, bounds=network.bounds)
print(result)

figure, grid = plt.subplots(1, len(chosen), figsize=(2.2 * len(chosen), 2.4), squeeze=False)
for k, relevance, axes in zip(predicted.tolist(), result.input.sum(1).numpy(), grid[0], strict=True):
    show_signed(axes, relevance, limit_of(relevance))
    axes.set_title(f"{network.about.classes[k]}, {rule_name(composite)}", fontsize=8, parse_math=False)
plt.show()
