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
# # Which explanation shows the dynamics best?

# %% [markdown] tags=["notebook-only"]
# This notebook made the report, and runs again where it lies. The last section, *Try it yourself*, has cells to change.

# %% tags=["parameters"]
inputs = {
    "metrics": "../../results/demo_rules/metrics.json",
    "comparison": "../../results/demo_rules/comparison.csv",
    "agreement": "../../results/demo_rules/agreement.csv",
    "recording": "../../results/demo_rules/seed-0/z_plus/relevance.h5",
    "figures": "figures",
}
params = {}

# %%
import json
from pathlib import Path

import numpy as np

from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.base.typeset import rule_name
from lrp_dynamics.measures.advice import reasons
from lrp_dynamics.recording.store import open_relevance
from lrp_dynamics.reports.material import material
from lrp_dynamics.reports.telling import Telling, code, plain, rule
from lrp_dynamics.reports.words import number, percent
from lrp_dynamics.studies.rules import story
from lrp_dynamics.studies.rules.numbers import NUMBERS
from lrp_dynamics.studies.rules.study import FIGURES

page = Telling(FIGURES, inputs["figures"], material("rules", "captions"))
m, tell = json.loads(Path(inputs["metrics"]).read_text(encoding="utf-8")), page.tell
table, agreement = read_csv(inputs["comparison"]), read_csv(inputs["agreement"])
with open_relevance(inputs["recording"]) as recording:
    run, every = recording.attrs, int(recording.attrs["every"])
    last_step = int(recording.step("iteration")[-1])
spoken = {name: rule(name) for name in table["explanation"]}
names = list(spoken.values())
count, seeds = len(names), m["seeds"]
order = np.argsort(table["mean_rank"], kind="stable")

# %%
tell(
    f"*{plain(run['dataset_title'])} · network {code(run['model'])} · "
    f"{story.recorded(last_step, every, seeds)} · {m['samples']} samples · {count} explanations*"
)
tell(
    f"{count} explanations were recorded during the same training, at the same steps, on the same samples. Whatever "
    "differs on this page is due to the explanations. Every number was computed from this run's result files."
)
page.points([story.choice(table, names)], [story.conserving(table, names)], [story.flags(table)])

# %% [markdown]
# ## Which to use, and why
# %%
rows = []
for row in order:
    speaks, against = reasons(table, row)
    rows.append(
        (
            f"<b>{names[row]}</b>",
            number(float(table["mean_rank"][row])),
            "; ".join(speaks) or "–",
            "; ".join(against) or "–",
        )
    )
page.table(("explanation", "mean rank", "first in", "among the last in"), rows, numeric=(1,))
tell(story.ranking(table, seeds))
page.figure("ranks")

# %% [markdown]
# ## 1 The maps
# %%
page.figure("maps")
page.figure("dynamics_maps")

# %% [markdown]
# ## 2 Measurements
# %%
header = ["explanation", "error of the sum", "worst", "correlation with the map before", "path / net change"]
columns = [
    "conservation_error_median",
    "conservation_error_max",
    "successive_correlation_median",
    "path_to_net_change_median",
]
shown = {
    "conservation_error_median": percent,
    "conservation_error_max": percent,
    "worst_step_share_max": percent,
    "mass_on_object": percent,
    "dynamics_on_object": percent,
}
header += ["largest step's share", "largest / median divergence", "flagged", "numerical"]
columns += ["worst_step_share_max", "divergence_max_over_median", "outliers_flagged", "outliers_numerical"]
if "rank_mass_on_object" in table:
    header += ["relevance on object", "change on object"]
    columns += ["mass_on_object", "dynamics_on_object"]
if "rank_divergence_spearman_between_seeds" in table:
    header.append("divergence between seeds (Spearman)")
    columns.append("divergence_spearman_between_seeds")
rows = [
    [name, *(shown.get(column, number)(float(table[column][row])) for column in columns)]
    for row, name in enumerate(names)
]
page.table(header, rows, numeric=range(1, len(header)))

# %% [markdown]
# ### Conservation
# %%
tell(story.books(table, names))
page.figure("conservation")

# %% [markdown]
# ### Smoothness
# %%
tell(story.smoothness(table, names, every))
page.figure("smoothness")

# %% [markdown]
# ### Denominators, jumps and outliers
# %%
tell(story.denominators(table, names))
page.figure("denominators")
page.figure("divergence")

# %% [markdown]
# ### Where relevance is
# %%
page.figure("placement")

# %% [markdown]
# ## 3 Do they agree?
# %%
tell(story.agreement(agreement, spoken))
page.figure("agreement")

# %% [markdown]
# ## What this comparison cannot tell
# %%
tell(story.limits(seeds, run["dataset_title"]))

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
# ### How a number is made: the conservation error

# %% tags=["notebook-only"]
recording = open_relevance(inputs["recording"])
chosen = list(range(min(3, recording.map_samples)))  # change: any samples with stored maps, such as [4, 7]
print(recording)

for sample in chosen:
    map_sum = recording.maps(slice(None), sample).astype(float).sum(axis=(1, 2))  # one sum for each record
    initial = recording.scalar("initial")[:, sample]  # what was explained
    error = np.abs(initial - map_sum) / np.maximum(np.abs(initial), recording.scalar("r_abs_sum")[:, sample])
    print(f"sample {sample}, {recording.class_name(sample)}: median {np.median(error):.2g}, worst {error.max():.2g}")

# %% [markdown] tags=["notebook-only"]
# ### How a figure is made: the last map of every explanation

# %% tags=["notebook-only"]
import matplotlib.pyplot as plt

from lrp_dynamics.base.style import limit_of, show_image, show_signed
from lrp_dynamics.data.pictures import as_picture

# The other recordings lie beside this one, each in a folder of its name.
folder = Path(inputs["recording"]).parents[1]
files = {name: folder / name / "relevance.h5" for name in table["explanation"]}
shown = [name for name, file in files.items() if file.is_file()][:4]  # change: which explanations
moment = -1  # change: which record, from 0; -1 is the last
figure, grid = plt.subplots(len(chosen), len(shown) + 1, figsize=(9, 1.8 * len(chosen)), squeeze=False)
for sample, row in zip(chosen, grid, strict=True):
    show_image(row[0], as_picture(recording.image(sample)))
for name, column in zip(shown, grid[:, 1:].T, strict=True):
    with open_relevance(files[name]) as other:
        for sample, axes in zip(chosen, column, strict=True):
            relevance = other.maps(moment, sample)
            show_signed(axes, relevance, limit_of(relevance))
    column[0].set_title(rule_name(name), fontsize=8, parse_math=False)
plt.show()

# %% [markdown] tags=["notebook-only"]
# ### Other weights of the criteria

# %% tags=["notebook-only"]
from lrp_dynamics.measures.advice import CRITERIA

weights = {criterion.key: 1.0 for criterion in CRITERIA if f"rank_{criterion.key}" in table}
weights["conservation_error_median"] = 3.0  # change: how much each criterion counts
total = sum(weight * table[f"rank_{key}"] for key, weight in weights.items()) / sum(weights.values())
for row in np.argsort(total, kind="stable"):
    print(f"{total[row]:.2f}  {rule_name(table['explanation'][row])}")

# %% [markdown] tags=["notebook-only"]
# ### Another rule
#
# This cell loads the trained network and explains the chosen samples again. It is not run when the report is made, so
# it shows nothing until you run it.

# %% tags=["notebook-only", "skip-execution"]
import torch

from lrp_dynamics import lrp
from lrp_dynamics.models.trained import load

composite = "epsilon_plus"  # change: any of lrp.COMPOSITES
network = load(folder / "model.safetensors")
images, targets = recording.sample("image")[chosen], recording.explained[chosen]
result = lrp.relevance(
    network.model, network.inputs(images), torch.as_tensor(targets), composite, bounds=network.bounds
)
print(result)

figure, grid = plt.subplots(len(chosen), 2, figsize=(4, 1.9 * len(chosen)), squeeze=False)
for sample, other, row in zip(chosen, result.input.sum(1).numpy(), grid, strict=True):
    before = recording.maps(-1, sample)
    for axes, name, relevance in ((row[0], run["composite"], before), (row[1], composite, other)):
        show_signed(axes, relevance, limit_of(relevance))
        axes.set_title(rule_name(name), fontsize=8, parse_math=False)
plt.show()
