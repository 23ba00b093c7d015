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
# # VGG-11: training, test, and what its decisions rest on

# %% [markdown] tags=["notebook-only"]
# This notebook made the report, and runs again where it lies. The last section, *Try it yourself*, has cells to change.

# %% tags=["parameters"]
inputs = {
    "training": "../../results/demo_vgg11/training.json",
    "metrics": "../../results/demo_vgg11/metrics.json",
    "classes": "../../results/demo_vgg11/classes.csv",
    "all": "../../results/demo_vgg11/all/relevance.h5",
    "top_k": "../../results/demo_vgg11/top_k/relevance.h5",
    "speed": "../../results/demo_vgg11/speed.json",
    "figures": "figures",
}
params = {"training": {}, "validation": {}, "explanations": {}}

# %%
import json
from html import escape
from pathlib import Path

import numpy as np

from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.recording.store import open_relevance
from lrp_dynamics.reports.material import material
from lrp_dynamics.reports.telling import Telling, code, plain
from lrp_dynamics.reports.words import percent
from lrp_dynamics.studies.vgg11 import story
from lrp_dynamics.studies.vgg11.numbers import NUMBERS
from lrp_dynamics.studies.vgg11.study import FIGURES

page = Telling(FIGURES, inputs["figures"], material("vgg11", "captions"))
tell = page.tell
t, m, speed = (json.loads(Path(inputs[name]).read_text(encoding="utf-8")) for name in ("training", "metrics", "speed"))
classes, setting, shown = read_csv(inputs["classes"]), params["training"], params["explanations"]
maps, arrived = {}, {}
for method in ("all", "top_k"):
    with open_relevance(inputs[method]) as recording:
        run, maps[method] = recording.attrs, recording.maps(0)
        arrived[method] = recording.scalar("r_sum")[0] / recording.scalar("initial")[0]
        masks = recording.sample("mask") == 1 if recording.has_sample("mask") else None
frames = speed["frames_per_second"]
share = {name: float(np.median(values)) for name, values in arrived.items()}
held = {name: story.strongest(values) for name, values in maps.items()}


# %%
tell(
    f"*{plain(run['dataset_title'])} · network {code(run['model'])} · seed {run['seed']} · {t['steps']:,} training "
    f"steps · {m['test_images']:,} test images*"
)
page.points([story.tested(m)], [story.trained(t)], [story.filtered(share["top_k"], held)], [story.speed(frames)])
tell("Every number on this page was computed from this run's result files.")

# %% [markdown]
# ## 1 Training
# %%
augmented = ", ".join(setting["augmentation"] or ()) or "none"
checked, patience = params["validation"], params["validation"]["patience"]
page.table(
    ("setting", "value"),
    [
        ("network", f"<code>{escape(run['model'])}</code>, {t['parameters']:,} parameters"),
        ("training images", f"{t['train_images']:,}"),
        ("held out for validation", f"{t['validation_images']:,}, measured every {checked['every']:g} epochs"),
        ("stop early", "never" if patience is None else f"after {patience} measurements without a better one"),
        ("optimizer", f"{escape(setting['optimizer'])}, learning rate {setting['learning_rate']:g}"),
        ("batch", f"{setting['batch_size']} images, at most {setting['epochs']} epochs"),
        ("precision of a step", escape(setting["precision"])),
        ("augmentation", escape(augmented)),
    ],
)
page.figure("training")

# %% [markdown]
# ## 2 Test
# %%
worst = int(np.nanargmin(classes["f1"]))
tell(
    f"Precision is the share of images taken for a class that belong to it. Recall is the share of a class's images "
    "that are taken for it. F1 is their harmonic mean. Over the classes, precision is "
    f"{story.exactly(m['macro_precision'])}, recall "
    f"{story.exactly(m['macro_recall'])} and F1 {story.exactly(m['macro_f1'])} on average; class "
    f"{plain(classes['class'][worst])} has the lowest F1, {story.exactly(classes['f1'][worst])}."
)
page.table(
    ("class", "test images", "taken for it", "precision", "recall", "F1"),
    [
        (escape(name), f"{images:,}", f"{predicted:,}", *map(story.exactly, shares))
        for name, images, predicted, *shares in zip(*classes.values(), strict=True)
    ],
    numeric=range(1, 6),
)
page.figure("confusion")
page.figure("mistakes")

# %% [markdown]
# ## 3 Explanations
# %%
tell(
    "What do the decisions rest on? The explanation starts from the probabilities of all classes and goes back layer "
    "by layer. Each input of a layer receives relevance in proportion to its contribution through positive weights "
    "(rule z⁺):"
)
page.formula(
    r"R_i = \sum_j \frac{x_i w_{ij}^+}{\sum_{i'} x_{i'} w_{i'j}^+ + \varepsilon} R_j",
    "R<sub>i</sub> = Σ<sub>j</sub> x<sub>i</sub> w<sub>ij</sub><sup>+</sup> / (Σ<sub>i'</sub> x<sub>i'</sub> "
    "w<sub>i'j</sub><sup>+</sup> + ε) · R<sub>j</sub>",
)
tell(
    "Batch normalisation is merged into the convolution before it, and a max-pool counts as the average of its window. "
    "In the first layer each pixel counts as one, so that dark and bright pixels receive relevance alike. With the "
    f"filter, a layer passes on only the largest {percent(shown['top_k'])} of its relevance values."
)
page.figure("relevance")
page.figure("concentration")
tell(story.kept(share, held, len(arrived["all"])))
if masks is not None:
    inside = {
        name: np.array([v[mask].sum() / v.sum() if v.sum() else np.nan for v, mask in zip(values, masks, strict=True)])
        for name, values in maps.items()
    }
    tell(
        f"These images come with masks. The object covers {percent(np.median(masks.mean(axis=(1, 2))))} of an image "
        f"(median); it receives {percent(np.nanmedian(inside['all']))} of the relevance without the filter and "
        f"{percent(np.nanmedian(inside['top_k']))} with it."
    )

# %% [markdown]
# ### Speed
# %%
page.table(
    ("explanation", "images a second"),
    [("all relevance", f"{frames['all']:,.1f}"), ("largest relevance only", f"{frames['top_k']:,.1f}")],
    numeric=(1,),
)
tell(
    f"Measured once on {speed['images']:,} test images in batches of {speed['batch_size']}, on {speed['device']} with "
    f"{speed['threads']} threads, prediction included. Unlike all other numbers here, these differ from run to run."
)

# %% [markdown]
# ## All numbers
# %%
training = {name: value for name, value in t.items() if name != "weights_sha256"}
page.numbers(NUMBERS, metrics=m, training=training)

# %% [markdown] tags=["notebook-only"]
# ## Try it yourself
#
# The cells below work with the files of this run. Change them, and run them again: `inputs`, at the top, names every
# file. To run this notebook, run its first two code cells, and then any cell below.
#
# ### How a number is made: on how few pixels the relevance lies

# %% tags=["notebook-only"]
part = 0.05  # change: how many of the strongest pixels
for method, values in maps.items():
    print(f"{method}: the strongest {part:.0%} of the pixels hold {story.strongest(values, part):.1%} (median)")

# %% [markdown] tags=["notebook-only"]
# ### How a figure is made: maps with and without the filter

# %% tags=["notebook-only"]
import matplotlib.pyplot as plt

from lrp_dynamics.base.style import AMOUNT, limit_of, show_image
from lrp_dynamics.data.pictures import as_picture

recording = open_relevance(inputs["all"])
chosen = list(range(min(4, recording.map_samples)))  # change: any explained images, such as [4, 7]
figure, grid = plt.subplots(len(chosen), 3, figsize=(5, 1.7 * len(chosen)), squeeze=False)
for sample, row in zip(chosen, grid, strict=True):
    show_image(row[0], as_picture(recording.image(sample)))
    for (method, values), axes in zip(maps.items(), row[1:], strict=True):
        axes.imshow(values[sample], cmap=AMOUNT, vmin=0, vmax=limit_of(values[sample]))
        axes.set_title(method, fontsize=8)
        axes.axis("off")
plt.show()

# %% [markdown] tags=["notebook-only"]
# ### Another rule
#
# This cell loads the trained network and explains the chosen samples again. It is not run when the report is made, so
# it shows nothing until you run it.

# %% tags=["notebook-only", "skip-execution"]
import torch

from lrp_dynamics import lrp
from lrp_dynamics.base.style import show_signed
from lrp_dynamics.base.typeset import rule_name
from lrp_dynamics.models.trained import load

composite = "epsilon_plus"  # change: any of lrp.COMPOSITES
network = load(Path(inputs["training"]).with_name("model.safetensors"))
values = network.inputs(recording.sample("image")[chosen])
with torch.no_grad():
    predicted = network.model(values).argmax(1)
result = lrp.relevance(network.model, values, predicted, composite, bounds=network.bounds)
print(result)

figure, grid = plt.subplots(1, len(chosen), figsize=(1.9 * len(chosen), 2.2), squeeze=False)
for k, relevance, axes in zip(predicted.tolist(), result.input.sum(1).numpy(), grid[0], strict=True):
    show_signed(axes, relevance, limit_of(relevance))
    axes.set_title(f"{network.about.classes[k]}, {rule_name(composite)}", fontsize=8, parse_math=False)
plt.show()
