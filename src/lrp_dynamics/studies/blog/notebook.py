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
# # What does a network's explanation do while the network learns?

# %% [markdown] tags=["notebook-only"]
# This notebook made the report, and runs again where it lies. The last section, *Try it yourself*, has cells to change.

# %% tags=["parameters"]
inputs = {
    "metrics": "../../results/demo/metrics.json",
    "outliers": "../../results/demo/outliers.csv",
    "dynamics": "../../results/demo/seed-0/dynamics.h5",
    "samples": "../../results/demo/seed-0/samples.csv",
    "relevance": "../../results/demo/seed-0/relevance.h5",
    "figures": "figures",
}
params = {}

# %%
from lrp_dynamics.reports.telling import rule
from lrp_dynamics.studies.blog.numbers import NUMBERS
from lrp_dynamics.studies.blog.story import Story, code, plain, plural

story = Story(**{name: path for name, path in inputs.items() if name != "relevance"})
m, run, tell = story.metrics, story.run, story.tell
count, steps = m["samples"], m["recorded_steps"] - 1
seeds = m["seeds"]
several = seeds > 1

# %%
tell(
    f"*{plain(run['dataset_title'])} · network {code(run['model'])} · rule {rule(run['composite'])} · {count} samples "
    f"followed over {steps:,} recorded training {plural(steps, 'step')} · {'figures of' if several else ''} seed "
    f"{run['seed']}{f', numbers of {seeds} seeds' if several else ''}*"
)
tell(
    "Layer-wise relevance propagation (LRP) takes one output of a network and distributes it over the input pixels. "
    f"{' '.join(story.colours())} Such heatmaps are usually made once, after the training. "
    f"{' '.join(story.on('pace'))} Every number on this page was computed from this run's result files."
)
story.points(*(story.on(topic) for topic in ("conservation", "smoothness", "placement", "outliers")))

# %% [markdown]
# ## Part 1: training and relevance
#
# ### The samples
# %%
tell(story.followed())
story.figure("samples")

# %% [markdown]
# ### The training
# %%
if story.on("accuracy"):
    tell(story.on("accuracy"))
story.figure("training_loss")

# %% [markdown]
# ### Does relevance follow the prediction?
# %%
tell(
    "Let P<sub>i</sub> be a sample's prediction score after step i, here the logit of its labelled class, and "
    "R<sub>i</sub> the sum of its relevance map. Both are drawn as changes since the untrained network. Where the two "
    "panels look alike, they invite the conclusion that relevance is proportional to the prediction."
)
story.figure("prediction_and_relevance")
tell(story.on("likeness"))
tell(story.on("conservation"))
story.figure("conservation")
tell("The changes from one step to the next, drawn in the same way:")
story.figure("step_changes")

# %% [markdown]
# ### The heatmaps
# %%
tell(story.on("whereabouts"))
story.figure("heatmaps")
story.figure("heatmap_changes")
tell(story.on("smoothness"))

# %% [markdown]
# ## Part 2: dynamics
#
# ### How they are measured
# %%
tell(
    "Summing how much each pixel's relevance changes from step to step gives one map per sample, its **Dynamics**. "
    "Summing that map over its pixels gives one number, the sample's **divergence**:"
)
story.formula(
    r"\text{Dynamics}(p) = \sum_i \lvert R_i(p) - R_{i+1}(p) \rvert, \qquad "
    r"\text{divergence} = \sum_p \text{Dynamics}(p)",
    "Dynamics(p) = Σ<sub>i</sub> |R<sub>i</sub>(p) − R<sub>i+1</sub>(p)|, &emsp; divergence = Σ<sub>p</sub> "
    "Dynamics(p)",
)
story.figure("schematic")
tell(story.on("accuracy_of_measurement"))

# %% [markdown]
# ### Where is the change?
# %%
story.figure("dynamics_maps")
tell(story.on("placement"))

# %% [markdown]
# ### When is the change?
# %%
story.figure("differences")
tell(story.on("timing"))

# %% [markdown]
# ### Which samples change most?
# %%
story.figure("divergence")
tell(story.on("outliers"))
tell(story.most_divergent(10))
story.largest(10)

# %% [markdown]
# ### What does divergence tell about a sample?
# %%
tell(story.on("meaning"))
story.correlations()

# %% [markdown]
# ## What this run cannot tell
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
# ### How a number is made: the divergence of a sample

# %% tags=["notebook-only"]
import numpy as np

from lrp_dynamics import open_relevance

recording = open_relevance(inputs["relevance"])
chosen = list(range(min(3, recording.map_samples)))  # change: any samples with stored maps, such as [4, 7]
print(recording)

for sample in chosen:
    maps = recording.maps(slice(None), sample).astype(float)  # one map for each recorded step
    changes = np.abs(np.diff(maps, axis=0))  # |R_i(p) - R_{i+1}(p)|
    dynamics = changes.sum(axis=0)  # over the steps: one map
    table = story.samples["divergence"][sample]
    print(f"sample {sample}, {recording.class_name(sample)}: {dynamics.sum():.3g} here, {table:.3g} in samples.csv")

# %% [markdown] tags=["notebook-only"]
# ### How a figure is made: maps along the training

# %% tags=["notebook-only"]
import matplotlib.pyplot as plt

from lrp_dynamics.base.style import limit_of, show_sample, show_signed

iteration = recording.step("iteration")
moments = np.linspace(0, recording.steps - 1, 6).round().astype(int)  # change: which records to show
figure, grid = plt.subplots(len(chosen), len(moments) + 1, figsize=(9, 1.5 * len(chosen)), squeeze=False)
for sample, row in zip(chosen, grid, strict=True):
    image = recording.image(sample)
    show_sample(row[0], image.transpose(1, 2, 0).squeeze() if image.ndim == 3 else image)
    maps = [recording.maps(int(moment), sample) for moment in moments]
    limit = limit_of(np.stack(maps))  # red and blue are as strong as this in the whole row
    for moment, relevance, axes in zip(moments, maps, row[1:], strict=True):
        show_signed(axes, relevance, limit)
        axes.set_title(f"step {iteration[moment]}", fontsize=8)
plt.show()

# %% [markdown] tags=["notebook-only"]
# ### Another threshold for outliers

# %% tags=["notebook-only"]
threshold = 2.0  # change: how many robust standard deviations of log divergence count as extreme
table = story.outliers
flagged = table["z"] > threshold
print(f"{flagged.sum()} of {len(flagged)} samples lie above {threshold}: {table['index'][flagged].tolist()}")

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

composite = "epsilon"  # change: any of lrp.COMPOSITES
network = load(Path(inputs["relevance"]).with_name("model.safetensors"))
images, targets = recording.sample("image")[chosen], recording.explained[chosen]
result = lrp.relevance(
    network.model, network.inputs(images), torch.as_tensor(targets), composite, bounds=network.bounds
)
print(result)

figure, grid = plt.subplots(len(chosen), 2, figsize=(4, 1.9 * len(chosen)), squeeze=False)
for sample, other, row in zip(chosen, result.input.sum(1).numpy(), grid, strict=True):
    before = recording.maps(-1, sample)
    for axes, name, relevance in ((row[0], story.run["composite"], before), (row[1], composite, other)):
        show_signed(axes, relevance, limit_of(relevance))
        axes.set_title(rule_name(name), fontsize=8, parse_math=False)
plt.show()
