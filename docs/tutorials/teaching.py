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
# # What does an explanation do while a network learns?
#
# A network says "ring". Which pixels made it say so? Layer-wise relevance propagation (LRP) answers with a map: it
# takes the network's score for the class and distributes it over the pixels. But the network was not born with this
# answer. It changed its weights in hundreds of small steps, and each step changed the map.
#
# In this notebook you
#
# 1. open the recording of a training, with the map of every sample after every step;
# 2. explain the trained network yourself, with two rules, z⁺ and ε;
# 3. train it for 50 more steps, and record the maps of both rules;
# 4. compare how much the two maps move.
#
# It needs the results of the demo. Run `make demo` in the project's folder first.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from lrp_dynamics import Recorder, UserError, lrp, open_relevance
from lrp_dynamics.base.style import limit_of, show_image, show_signed
from lrp_dynamics.data import prepared
from lrp_dynamics.data.pictures import as_picture
from lrp_dynamics.models.trained import load

here = Path.cwd()
project = next((folder for folder in (here, *here.parents) if (folder / "params.yaml").is_file()), here)
run = project / "results" / "demo" / "seed-0"
for file in (run / "relevance.h5", run / "model.safetensors"):
    if not file.is_file():
        raise UserError(f"{file} is missing: run `make demo` in the project's folder first, and then this cell again")

# %% [markdown]
# ## 1 A recorded training
#
# The recording holds, for each step of the training and each of its samples, a map of relevance: one number for each
# pixel. Red pixels speak for the class of the sample, blue pixels speak against it, and white is zero.

# %%
recording = open_relevance(run / "relevance.h5")
print(recording)

chosen = list(range(min(4, recording.map_samples)))  # change: any samples, such as [7, 12]
moments = np.linspace(0, recording.steps - 1, 6).round().astype(int)  # change: any steps
iteration = recording.step("iteration")

figure, grid = plt.subplots(len(chosen), len(moments) + 1, figsize=(10, 1.6 * len(chosen)), squeeze=False)
for sample, row in zip(chosen, grid, strict=True):
    show_image(row[0], as_picture(recording.image(sample)))
    row[0].set_title(recording.class_name(sample), fontsize=8)
    maps = [recording.maps(int(moment), sample) for moment in moments]
    limit = limit_of(np.stack(maps))  # one scale for the row
    for moment, relevance, axes in zip(moments, maps, row[1:], strict=True):
        show_signed(axes, relevance, limit)
        axes.set_title(f"step {iteration[moment]}", fontsize=8)
plt.show()

# %% [markdown]
# ## 2 Two rules
#
# LRP goes back through the network, layer by layer. A neuron $j$ with relevance $R_j$ passes it on to the neurons $i$
# below it. A *rule* says how much each of them gets. With activations $a_i$ and weights $w_{ij}$, rule ε shares by
# contribution:
#
# $$R_i = \sum_j \frac{a_i w_{ij}}{\epsilon\,\mathrm{sign}(z_j) + z_j} R_j, \qquad z_j = \sum_i a_i w_{ij} + b_j$$
#
# Rule z⁺ counts positive contributions only:
#
# $$R_i = \sum_j \frac{a_i w_{ij}^+}{\sum_{i'} a_{i'} w_{i'j}^+} R_j$$
#
# The denominator of rule z⁺ is a sum of terms of one sign. The denominator of rule ε can be close to zero even when its
# terms are large, because they cancel. Keep this in mind for part 4.

# %%
network = load(run / "model.safetensors")
images = network.inputs(recording.sample("image"))  # as the network takes them
targets = torch.as_tensor(recording.explained)  # the class of each sample
rules = {"z_plus": "z⁺", "epsilon": "ε"}  # change: any of lrp.COMPOSITES

explained = {
    rule: lrp.relevance(network.model, images[chosen], targets[chosen], rule, bounds=network.bounds) for rule in rules
}
figure, grid = plt.subplots(len(chosen), 1 + len(rules), figsize=(6, 1.9 * len(chosen)), squeeze=False)
for position, (sample, row) in enumerate(zip(chosen, grid, strict=True)):
    show_image(row[0], as_picture(recording.image(sample)))
    for (rule, name), axes in zip(rules.items(), row[1:], strict=True):
        relevance = explained[rule].input[position].sum(0).numpy()  # the sum over the colours
        show_signed(axes, relevance, limit_of(relevance))
        axes.set_title(name, fontsize=9)
plt.show()

# %% [markdown]
# Does the map add up to the score that it explains? A rule *conserves* relevance if it does. What is missing was taken
# by biases, and by the stabilizer ε.

# %%
for rule, name in rules.items():
    result = explained[rule]
    share = (result.residual.abs() / result.initial.abs()).median().item()
    print(f"{name}: a median of {share:.2%} of the score is not in the map")

# %% [markdown]
# The recording was made with the rule below, after every step of the training. Your own map of the trained network
# must be its last one. (The file stores maps in half precision.)

# %%
print("recorded with", recording.attrs["composite"])
own = explained["z_plus"].input.sum(1).numpy()
stored = np.stack([recording.maps(-1, sample) for sample in chosen])
print(f"largest difference: {np.abs(own - stored).max():.2g}; largest relevance: {np.abs(stored).max():.2g}")

# %% [markdown]
# ## 3 Fifty more steps
#
# A `Recorder` watches fixed samples while a network trains. It only reads the network, so two of them can watch the
# same training. The loop is an ordinary loop of PyTorch.

# %%
steps, batch, learning_rate = 50, 50, 0.001  # change: a larger learning rate moves the maps more
watched = slice(0, 20)  # change: which samples
folder = Path(tempfile.mkdtemp())  # for the two recordings

data = prepared.read(project / "data" / f"{recording.attrs['dataset']}.h5")
training = np.flatnonzero(data.split == prepared.TRAIN)
generator = np.random.default_rng(0)
model = load(run / "model.safetensors").model.train()  # afresh, so that this cell can be run again
optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
recorders = [
    Recorder(folder / f"{rule}.h5", model, images[watched], targets[watched], composite=rule, bounds=network.bounds)
    for rule in rules
]
for recorder in recorders:
    recorder.record(0)  # before the first step
for step in range(1, steps + 1):
    index = generator.choice(training, batch)
    output, labels = model(network.inputs(data.images[index])), torch.as_tensor(data.labels[index]).long()
    loss = torch.nn.functional.cross_entropy(output, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    for recorder in recorders:
        recorder.record(step, loss=loss)
for recorder in recorders:
    recorder.close()
print(f"loss of the last batch: {loss.item():.3f}")

# %% [markdown]
# ## 4 Which map moves more?
#
# The *step divergence* of a sample is the sum over pixels of the change of its map in one step, $\sum_p |R_i(p) -
# R_{i+1}(p)|$. Maps of different rules have different amounts of relevance, so it is divided here by the amount of
# relevance in the map, $\sum_p |R_{i+1}(p)|$. The cosine says how much two successive maps are alike: 1 means that they
# differ in amount only. All values are medians.

# %%
figure, axes = plt.subplots(figsize=(7, 3))
for rule, name in rules.items():
    with open_relevance(folder / f"{rule}.h5") as file:
        moved = file.scalar("step_divergence")[1:] / file.scalar("r_abs_sum")[1:]  # (steps, samples)
        maps = file.maps().astype(float)  # (steps + 1, samples, height, width)
    before, after = maps[:-1], maps[1:]
    cosine = (before * after).sum((2, 3)) / np.sqrt((before**2).sum((2, 3)) * (after**2).sum((2, 3)))
    print(
        f"{name}: a step moves {np.median(moved):.1%} of the relevance, and leaves a cosine of {np.median(cosine):.4f}"
    )
    axes.plot(np.arange(1, len(moved) + 1), np.median(moved, axis=1), label=name)
axes.set(xlabel="training step", ylabel="share of the relevance\nthat a step moves", ylim=(0, None))
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Questions
#
# 1. Which rule's maps move more? Look at the denominators of part 2 for a reason, and at `file.scalar("min_abs_z")`,
#    the smallest denominator that each map met, for evidence.
# 2. Set `learning_rate` to 0.0001 and to 0.01. Do both rules react alike?
# 3. Add `"gamma": "γ"` to `rules`. Rule γ lies between the two; do its maps, too?
# 4. Choose a sample that the network misclassifies (`recording.scalar("predicted")[-1]` against
#    `recording.sample("label")`). What do its pixels speak for?
# 5. The recorder only reads the network. How could you test that?
