# Experiments of kind "rules": several explanations recorded during the same trainings, compared, figures, report.
from snakemake.exceptions import WorkflowError

from lrp_dynamics.studies.rules.study import RULES_FIGURES

KINDS["rules"] = ["prepare", "rules_train", "rules_compare", "rules_figures", "rules_report"]

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
COMPARED = next(iter(_COMPARED.values()), ())


rule rules_train:
    input:
        data=of_experiment("data/{dataset}.h5"),
        code=code_of("train"),
    output:
        model=f"{RUN}/model.safetensors",
        table=f"{RUN}/training.csv",
        summary=f"{RUN}/training.json",
        provenance=f"{RUN}/provenance.json",
        recordings=[f"{RUN}/{name}/relevance.h5" for name in COMPARED],
    log:
        "logs/rules_train/{experiment}-{seed}.log",
    benchmark:
        "logs/benchmarks/rules_train/{experiment}-{seed}.tsv"
    wildcard_constraints:
        experiment=experiments_of("rules"),
    threads: lambda wildcards: config["experiments"][wildcards.experiment]["training"]["threads"]
    resources:
        mem_mb=memory_of,
        runtime=120,
        gpu=gpus_of,
    params:
        json=params_of(
            model="experiments.{experiment}.model",
            inputs="experiments.{experiment}.inputs",
            training="experiments.{experiment}.training",
            recording="experiments.{experiment}.recording",
        ),
        folder=subpath(output.model, parent=True),
    message:
        "Training {wildcards.experiment} with seed {wildcards.seed}, recording every explanation"
    shell:
        "lrp-dynamics train --data {input.data} --params {params.json:q} --seed {wildcards.seed} --out {params.folder}"
        " 2>&1 | tee {log}"


rule rules_compare:
    input:
        recordings=of_experiment(f"{RUN}/{{explanation}}/relevance.h5"),
        training=of_experiment(f"{RUN}/training.json"),
        code=code_of("rules-compare"),
    output:
        comparison=report(
            "results/{experiment}/comparison.csv", category="{experiment}", labels={"what": "table of the comparison"}
        ),
        agreement="results/{experiment}/agreement.csv",
        samples="results/{experiment}/samples.csv",
        curves="results/{experiment}/curves.csv",
        metrics="results/{experiment}/metrics.json",
    log:
        "logs/rules_compare/{experiment}.log",
    benchmark:
        "logs/benchmarks/rules_compare/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("rules"),
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        json=params_of("experiments.{experiment}.outliers"),
        folder=subpath(output.metrics, parent=True),
    message:
        "Comparing the explanations of {wildcards.experiment}"
    shell:
        "lrp-dynamics rules-compare --recordings {input.recordings} --training {input.training} --params {params.json:q}"
        " --out {params.folder} 2>&1 | tee {log}"


rule rules_figures:
    input:
        comparison="results/{experiment}/comparison.csv",
        agreement="results/{experiment}/agreement.csv",
        samples="results/{experiment}/samples.csv",
        curves="results/{experiment}/curves.csv",
        recordings=of_first_seed(f"{RUN}/{{explanation}}/relevance.h5"),
        code=code_of("rules-draw"),
    output:
        png=[
            report(
                f"{REPORT}/figures/{name}.png",
                caption=f"../report/{name}.rst",
                category="{experiment}",
                subcategory=part,
                labels={"figure": title},
            )
            for name, (title, part) in RULES_FIGURES.items()
        ],
        svg=[f"{REPORT}/figures/{name}.svg" for name in RULES_FIGURES],
    log:
        "logs/rules_figures/{experiment}.log",
    benchmark:
        "logs/benchmarks/rules_figures/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("rules"),
    resources:
        mem_mb=500,
        runtime=10,
    params:
        json=params_of("experiments.{experiment}.figures"),
    message:
        "Drawing the figures of {wildcards.experiment}"
    shell:
        "lrp-dynamics rules-draw --results results/{wildcards.experiment} --recordings {input.recordings}"
        " --params {params.json:q} --out-dir reports/{wildcards.experiment}/figures 2>&1 | tee {log}"


rule rules_report:
    input:
        metrics="results/{experiment}/metrics.json",
        comparison="results/{experiment}/comparison.csv",
        agreement="results/{experiment}/agreement.csv",
        recordings=of_first_seed(f"{RUN}/{{explanation}}/relevance.h5"),
        figures=[f"{REPORT}/figures/{name}.png" for name in RULES_FIGURES],
        captions=[f"workflow/report/{name}.rst" for name in RULES_FIGURES],
        notebook="workflow/notebooks/rules.py",
        code=code_of("report", "workflow/notebooks/rules.py"),
    output:
        ipynb=f"{REPORT}/report.ipynb",
        html=report(
            f"{REPORT}/report.html",
            caption="../report/rules_report.rst",
            category="{experiment}",
            labels={"figure": "Report"},
        ),
    log:
        "logs/rules_report/{experiment}.log",
    benchmark:
        "logs/benchmarks/rules_report/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("rules"),
    resources:
        mem_mb=500,
        runtime=10,
    message:
        "Writing the report of {wildcards.experiment}"
    shell:
        "lrp-dynamics report --notebook {input.notebook} --inputs metrics={input.metrics}"
        " comparison={input.comparison} agreement={input.agreement} recording={input.recordings[0]}"
        " figures=reports/{wildcards.experiment}/figures captions=workflow/report"
        " --ipynb {output.ipynb} --html {output.html} 2>&1 | tee {log}"
