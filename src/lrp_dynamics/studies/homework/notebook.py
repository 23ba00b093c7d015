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

# %% tags=["parameters"]
inputs = {
    "metrics": "results/demo_homework/seed-0/metrics.json",
    "accuracy": "results/demo_homework/seed-0/accuracy.csv",
    "evidence": "results/demo_homework/seed-0/evidence.csv",
    "recording": "results/demo_homework/seed-0/deep_taylor/relevance.h5",
    "published": "src/lrp_dynamics/studies/homework/published.json",
    "figures": "reports/demo_homework/figures",
}
params = {"published": False, "batch_size": 25}

# %%
import json
from html import escape
from pathlib import Path

import torch

from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.recording.store import open_relevance
from lrp_dynamics.reports.material import material
from lrp_dynamics.reports.telling import Telling, code, plain
from lrp_dynamics.reports.words import number, percent
from lrp_dynamics.studies.homework import story
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
tell("> p<sub>i</sub> = exp(y<sub>i</sub>) / (1 + Σ<sub>j</sub> exp(y<sub>j</sub>))")
tell(
    "The default class fixes what zero means. With a plain softmax, only differences of scores matter, and any "
    "constant could be added to all of them. Here, a positive score speaks for a class and a negative one against it, "
    "which makes a score worth decomposing. The network is trained to make the labelled class t likely, that is, to "
    "minimise"
)
tell("> L = −log p<sub>t</sub> = log(1 + Σ<sub>j</sub> exp(y<sub>j</sub>)) − y<sub>t</sub>")
tell(
    "The derivative of the logarithm is exp(y<sub>i</sub>) / (1 + Σ<sub>j</sub> exp(y<sub>j</sub>)), which is "
    "p<sub>i</sub>, and that of the second term is −1 for the labelled class and 0 for the others. Hence"
)
tell("> ∂L/∂y<sub>i</sub> = p<sub>i</sub> − [i = t]")
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
tell("The first kind of heatmap asks where a small change of the image would change the evidence y for its class most:")
tell("> S(p) = Σ<sub>colours</sub> (∂y/∂x<sub>p</sub>)<sup>2</sup>")
page.figure("sensitivity")

# %% [markdown]
# ### Deep Taylor decomposition
# %%
tell(
    "The second kind asks what the evidence was made of. It starts from max(0, y) and hands it back layer by layer, to "
    "each input in proportion to what it contributed. The inputs of all layers but the first are not negative. There, "
    "the contributions are those through positive weights (rule z<sup>+</sup>):"
)
tell(
    "> R<sub>i</sub> = Σ<sub>j</sub> x<sub>i</sub> w<sub>ij</sub><sup>+</sup> / (Σ<sub>i'</sub> x<sub>i'</sub> "
    "w<sub>i'j</sub><sup>+</sup>) · R<sub>j</sub>"
)
tell(
    "In the first layer, whose inputs lie between l = −1 and h = 1, they are measured from the ends of this range "
    "(rule z<sup>B</sup>), so that a dark pixel can contribute as well as a bright one:"
)
tell(
    "> R<sub>i</sub> = Σ<sub>j</sub> (x<sub>i</sub> w<sub>ij</sub> − l w<sub>ij</sub><sup>+</sup> − h "
    "w<sub>ij</sub><sup>−</sup>) "
    "/ (Σ<sub>i'</sub> …) · R<sub>j</sub>"
)
tell("A sum-pooling unit hands back to each of its four inputs in proportion to its value.")
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
rows = [(f"<code>{escape(name)}</code>", f"{value:.6g}") for name, value in sorted(m.items())]
page.table(("metrics.json", "value"), rows, numeric=(1,))
