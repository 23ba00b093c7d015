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

# %% tags=["parameters"]
inputs = {
    "maps": "results/demo_vgg16/explanations.h5",
    "measures": "results/demo_vgg16/measures.csv",
    "metrics": "results/demo_vgg16/metrics.json",
    "figures": "reports/demo_vgg16/figures",
}
params = {"images": 6}

# %%
from lrp_dynamics.studies.vgg16.story import PhotoStory, code, percent, plain

story = PhotoStory(**inputs, images=params["images"])
m, run, tell = story.metrics, story.run, story.tell
count = m["images"]

# %%
tell(
    f"*{plain(run.title)} · network {plain(run.origin)} · {count} {'image' if count == 1 else 'images'} "
    f"explained · relevance rules {', '.join(map(code, run.composites))}*"
)
tell(
    f"{story.network()} The dense layers are turned into convolutions here, which changes no output but makes every "
    "layer's relevance a map. Layer-wise relevance propagation then hands the logit of a class back, layer by layer, "
    "to the pixels: positive relevance is red, negative is blue. Every number on this page was computed from this "
    "run's result files."
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
    f"Rules differ in what they do with contributions against the class and with small denominators. "
    f"{code(story.first)} comes first; `gradient_x_input`, which needs no rules, is there for comparison."
)
story.figure("composites")

# %% [markdown]
# ### Why this class, and not the next best?
# %%
story.figure("contrast")

# %% [markdown]
# ### Image by image
# %%
tell(f"By {code(story.first)}:")
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
    "**Pixel flipping** replaces regions in the order of their relevance and watches the logit. If the map tells what "
    "the network uses, the logit falls fast when the most relevant regions go first, and slowly when they go last; the "
    "area between both curves (ABPC) hardly depends on what the regions are replaced by."
)
tell(story.evaluation())
story.figure("flipping")
if story.masked:
    tell("**Localisation**: the images come with masks of the object, so where the relevance lies can be measured.")
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
