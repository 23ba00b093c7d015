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

# %% tags=["parameters"]
inputs = {
    "metrics": "results/demo/metrics.json",
    "outliers": "results/demo/outliers.csv",
    "dynamics": "results/demo/seed-0/dynamics.h5",
    "samples": "results/demo/seed-0/samples.csv",
    "figures": "reports/demo/figures",
}
params = {}

# %%
import numpy as np

from lrp_dynamics.studies.blog.story import Story, code, number, percent, plain, plural

story = Story(**inputs)
m, run, samples, tell = story.metrics, story.run, story.samples, story.tell
count, steps = m["samples"], m["recorded_steps"] - 1
seed, seeds = run["seed"], m["seeds"]
several = seeds > 1

# %%
tell(
    f"*{plain(run['dataset_title'])} · network {code(run['model'])} · relevance rules "
    f"{code(run['composite'])} · {count} samples followed over {steps:,} recorded training "
    f"{plural(steps, 'step')} · {'figures of' if several else ''} seed {run['seed']}"
    f"{f', numbers of {seeds} seeds' if several else ''}*"
)
tell(
    "Layer-wise relevance propagation (LRP) takes one output of a network and distributes it over the input pixels: "
    "red where a pixel spoke for the class, blue where it spoke against it. Such heatmaps are usually made once, after "
    f"the training. {' '.join(story.on('pace'))} Every number on this page was computed from this run's result files."
)
story.points(*(story.on(topic) for topic in ("conservation", "smoothness", "placement", "outliers")))

# %% [markdown]
# ## Part 1: training and relevance
#
# ### The samples
# %%
splits = {0: "training", 1: "test"}
where = " and ".join(splits[split] for split in np.unique(samples["split"]).tolist())
tell(
    f"{count} images of the {where} set were drawn before the training, and stay the same at every step. After the "
    f"training the network classifies {percent(samples['correct'].mean())} of them as labelled."
)
story.figure("samples")

# %% [markdown]
# ### The training
# %%
accuracies = [
    f"{percent(m[f'{name}_accuracy'])} on {word} images"
    for name, word in (("train", "training"), ("test", "test"))
    if f"{name}_accuracy" in m
]
if accuracies:
    tell(
        f"The network ends with an accuracy of {' and '.join(accuracies)}"
        + (f", and a training loss of {number(m['final_loss'])}" if "final_loss" in m else "")
        + (f" (means of {m['seeds']} seeds)." if several else ".")
    )
    gap = m.get("train_accuracy", 0) - m.get("test_accuracy", np.inf)
    if gap > 0.1:
        tell(
            f"The gap of {percent(gap)} between training and test images means that part of what is learned, and hence "
            "part of what the heatmaps show late in the training, is specific to the training images."
        )
story.figure("training_loss")

# %% [markdown]
# ### Does relevance follow the prediction?
# %%
tell(
    "Let P<sub>i</sub> be a sample's prediction score after step i, here the logit of its labelled class, and "
    "R<sub>i</sub> the sum of its relevance map. Here are both, as changes since the untrained network. Where the two "
    "families of curves look alike, they invite the conclusion that relevance is proportional to the prediction."
)
story.figure("prediction_and_relevance")
tell(
    "That would be no discovery. LRP rules are built to *conserve*: each layer hands on the relevance that it "
    "receives, so that the sum of the map is the output that was explained. The figure is therefore a check, and this "
    "is its result:"
)
tell(story.on("conservation"))
story.figure("conservation")
tell("The changes from one step to the next, drawn in the same way:")
story.figure("step_changes")

# %% [markdown]
# ### The heatmaps
# %%
tell(
    "What conservation leaves open is *where* the relevance goes. The maps of a few samples, from the untrained "
    "network to the last step:"
)
story.figure("heatmaps")
story.figure("heatmap_changes")
tell(story.on("smoothness"))

# %% [markdown]
# ## Part 2: dynamics
#
# ### How they are measured
# %%
tell(
    "Adding up how much each pixel's relevance changes from step to step gives one map per sample, its **Dynamics**, "
    "and adding up its pixels one number, its **divergence**:"
)
tell(
    "> Dynamics(p) = Σ<sub>i</sub> |R<sub>i</sub>(p) − R<sub>i+1</sub>(p)|, &emsp; divergence = Σ<sub>p</sub> "
    "Dynamics(p)"
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
top = min(10, count)
name, same = story.commonest_class(top)
most = f"; {same} of them are of class {plain(name)}" if 2 * same > top > 1 else ""
tell(f"The {top} samples of largest divergence{f' in seed {seed}' if several else ''}{most}:")
story.largest(top)

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
story.all_numbers()
