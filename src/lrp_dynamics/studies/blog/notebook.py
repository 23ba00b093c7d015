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
from lrp_dynamics.studies.blog.story import Story, code, plain, plural

story = Story(**inputs)
m, run, tell = story.metrics, story.run, story.tell
count, steps = m["samples"], m["recorded_steps"] - 1
seeds = m["seeds"]
several = seeds > 1

# %%
tell(
    f"*{plain(run['dataset_title'])} · network {code(run['model'])} · relevance rules "
    f"{code(run['composite'])} · {count} samples followed over {steps:,} recorded training "
    f"{plural(steps, 'step')} · {'figures of' if several else ''} seed {run['seed']}"
    f"{f', numbers of {seeds} seeds' if several else ''}*"
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
story.all_numbers()
