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
# # Your own network: from your loop to the page
#
# A ResNet-18 learns to tell discs, squares and triangles apart, in a plain PyTorch loop. Two lines in that loop record,
# after every step, which pixels of twelve fixed images speak for their class. One call turns the recording into
# figures, tables, a page and an explorer.
#
# Run this as a notebook or as a script, `python your_own_network.py`. It takes a few minutes on two processor cores,
# and writes into a folder `tutorial` where it runs.

# %% [markdown]
# ## Images in folders
# One folder a class, as `torchvision.datasets.ImageFolder` reads them. Here they are drawn; put yours in their place.

# %%
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image, ImageDraw
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from lrp_dynamics import Recorder, lrp, open_relevance, study

folder, size, each = Path("tutorial"), 48, 60
drawing = np.random.default_rng(0)
for shape, corners in {"disc": 40, "square": 4, "triangle": 3}.items():
    (folder / "images" / shape).mkdir(parents=True, exist_ok=True)
    for number in range(each):
        picture = Image.fromarray(drawing.integers(60, 140, (size, size, 3), dtype=np.uint8))
        x, y, radius = *drawing.integers(16, size - 16, 2).tolist(), int(drawing.integers(8, 15))
        colour = tuple(drawing.integers(150, 255, 3).tolist())
        turn = int(drawing.integers(0, 360))
        ImageDraw.Draw(picture).regular_polygon((x, y, radius), corners, rotation=turn, fill=colour)
        picture.save(folder / "images" / shape / f"{number:03}.png")

# %% [markdown]
# ## A network and its loop

# %%
torch.manual_seed(0)
steps = [
    v2.Resize((size, size)),
    v2.ToImage(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize([0.5] * 3, [0.5] * 3),
]
data = torchvision.datasets.ImageFolder(folder / "images", v2.Compose(steps))
batches = DataLoader(data, batch_size=30, shuffle=True)
model = torchvision.models.resnet18(num_classes=len(data.classes))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)

# Four images of each class, followed through the training.
followed = [position for first in range(0, len(data), each) for position in range(first, first + 4)]
samples = torch.stack([data[position][0] for position in followed])
targets = torch.tensor([data[position][1] for position in followed])

# %% [markdown]
# The recorder only reads the network: the weights in the end are those of the same loop without it. `attributes` are
# optional, and make the page say more. Here two recorders explain the same training by two sets of rules.

# %%
about = {"dataset_title": "three shapes", "classes": data.classes, "seed": 0}
options = {"attributes": about, "details": {"index": followed}, "overwrite": True}
with (
    Recorder(folder / "z_plus.h5", model, samples, targets, composite="z_plus", **options) as one,
    Recorder(folder / "gamma.h5", model, samples, targets, composite="gamma", **options) as other,
):
    one.record(0)  # the untrained network
    other.record(0)
    iteration = 0
    for _epoch in range(8):
        for images, labels in batches:
            model.train()
            loss = cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            iteration += 1
            one.record(iteration, loss=loss)
            other.record(iteration, loss=loss)
print(f"{iteration} steps, loss {loss.item():.2f}")

# %% [markdown]
# ## The page
# One recording is enough: `study(folder / "z_plus.h5", out=folder / "page")`. Of several, the page compares them. From
# a shell: `lrp-dynamics study tutorial/z_plus.h5 tutorial/gamma.h5 --out tutorial/page`.

# %%
page = study([folder / "z_plus.h5", folder / "gamma.h5"], out=folder / "page")
print(f"Open {page} and, to scrub through the training, {page.with_name('explorer.html')} in a browser.")

# %% [markdown]
# ## In a notebook
# Each of these lines shows a figure. They take positions of samples: try others.

# %%
recording = open_relevance(folder / "z_plus.h5")
recording.plot.heatmaps([0, 4, 8])

# %%
recording.plot.curves([0, 4, 8])

# %%
recording.plot.dynamics()

# %%
recording.plot.divergence()

# %% [markdown]
# The numbers behind them are NumPy arrays: maps along the training, and curves.

# %%
maps = recording.maps(samples=0)  # (steps, height, width), in units of the explained logit
change = np.abs(np.diff(maps, axis=0)).sum(axis=(1, 2))
print(f"The first sample changed most at step {change.argmax() + 1}, by {change.max():.2f}.")

# %% [markdown]
# And the network as it is now, explained by other rules:

# %%
model.eval()
lrp.plot(lrp.relevance(model, samples[::4], "predicted", composite="epsilon"), samples[::4])
