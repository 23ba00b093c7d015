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
# # Does the loss still fall in the second half?

# %% tags=["parameters"]
inputs = {
    "metrics": "../../results/demo_halves/seed-0/metrics.json",
    "figures": "figures",
}
params = {}

# %%
import json
from pathlib import Path

from lrp_dynamics.reports.material import material
from lrp_dynamics.reports.telling import Telling
from lrp_dynamics.reports.words import number
from lrp_dynamics.studies.halves.study import FIGURES

page = Telling(FIGURES, inputs["figures"], material("halves", "captions"))
m = json.loads(Path(inputs["metrics"]).read_text(encoding="utf-8"))

# %%
page.tell(f"The mean loss is {number(m['first_half'])} in the first half and {number(m['second_half'])} in the second.")
page.figure("loss")
