# Experiments of kind "rules": several explanations recorded during the same trainings, compared.
from snakemake.exceptions import WorkflowError

# A rule's files are named before its experiment is known, so all experiments of this kind compare the same names.
_COMPARED = {
    name: tuple(experiment["recording"]["composites"])
    for name, experiment in config["experiments"].items()
    if experiment["kind"] == "rules"
}
if len({frozenset(names) for names in _COMPARED.values()}) > 1:
    raise WorkflowError(
        f"params.yaml: the experiments {', '.join(_COMPARED)} must list the same names under recording.composites "
        "(what stands behind a name may differ)"
    )
COMPARED = next(iter(_COMPARED.values()), ("none",))

KINDS["rules"] = Kind(
    study="rules",
    steps=["rules_train", "rules_compare"],
    shown_by=("rules_figures", "rules_report"),
    drawn_from={
        **{name: f"results/{{experiment}}/{name}.csv" for name in ("comparison", "agreement", "samples", "curves")},
        "recordings": of_first_seed(f"{RUN}/{{explanation}}/relevance.h5"),
    },
    told_from={
        "metrics": "results/{experiment}/metrics.json",
        "comparison": "results/{experiment}/comparison.csv",
        "agreement": "results/{experiment}/agreement.csv",
        # Of what all recordings say alike.
        "recording": of_first_seed(f"{RUN}/{COMPARED[0]}/relevance.h5"),
    },
    explored_from={"recordings": of_first_seed(f"{RUN}/{{explanation}}/relevance.h5")},
)


use rule train as rules_train with:
    output:
        **in_folder(RUN, WEIGHTS),
        recordings=[f"{RUN}/{name}/relevance.h5" for name in COMPARED],
    wildcard_constraints:
        experiment=experiments_of("rules"),
    message:
        "Training {wildcards.experiment} with seed {wildcards.seed}, recording every explanation"


rule rules_compare:
    input:
        recordings=of_experiment(f"{RUN}/{{explanation}}/relevance.h5"),
        training=of_experiment(f"{RUN}/training.json"),
        code=code_of("rules-compare"),
    output:
        comparison=table("results/{experiment}/comparison.csv", "table of the comparison"),
        agreement="results/{experiment}/agreement.csv",
        samples="results/{experiment}/samples.csv",
        curves="results/{experiment}/curves.csv",
        metrics="results/{experiment}/metrics.json",
    wildcard_constraints:
        experiment=experiments_of("rules"),
    params:
        json=value_of("experiments.{experiment}.outliers"),
        folder=subpath(output.metrics, parent=True),
    message:
        "Comparing the explanations of {wildcards.experiment}"
    shell:
        "lrp-dynamics rules-compare --recordings {input.recordings} --training {input.training} --params {params.json:q}"
        " --out {params.folder} 2>&1 | tee {log}"
