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

# %% tags=["parameters"]
inputs = {
    "metrics": "results/demo_rules/metrics.json",
    "comparison": "results/demo_rules/comparison.csv",
    "agreement": "results/demo_rules/agreement.csv",
    "recording": "results/demo_rules/seed-0/z_plus/relevance.h5",
    "figures": "reports/demo_rules/figures",
}
params = {}

# %%
import json
from html import escape
from pathlib import Path

import numpy as np

from lrp_dynamics.base.tables import read_csv
from lrp_dynamics.measures.advice import reasons
from lrp_dynamics.recording.store import open_relevance
from lrp_dynamics.reports.material import material
from lrp_dynamics.reports.telling import Telling, code, plain
from lrp_dynamics.reports.words import number, percent
from lrp_dynamics.studies.rules import story
from lrp_dynamics.studies.rules.study import FIGURES

page = Telling(FIGURES, inputs["figures"], material("rules", "captions"))
m, tell = json.loads(Path(inputs["metrics"]).read_text(encoding="utf-8")), page.tell
table, agreement = read_csv(inputs["comparison"]), read_csv(inputs["agreement"])
with open_relevance(inputs["recording"]) as recording:
    run, every = recording.attrs, int(recording.attrs["every"])
    last_step = int(recording.step("iteration")[-1])
spoken = {name: plain(name.replace("_", " ")) for name in table["explanation"]}
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
rows = [(f"<code>{escape(name)}</code>", f"{value:.6g}") for name, value in sorted(m.items())]
page.table(("metrics.json", "value"), rows, numeric=(1,))
