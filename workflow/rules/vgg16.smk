# Experiments of kinds "vgg16" (published weights, photos) and "vgg16_fitted" (a narrow VGG-16 fitted on a dataset with
# masks): weights or fit, explanations.
from dataclasses import replace

from lrp_dynamics.studies.vgg16.study import MASK_FIGURES

VGG16 = "results/{experiment}"

KINDS["vgg16_fitted"] = Kind(
    study="vgg16",
    steps=["fit", "vgg16"],
    shown_by=("vgg16_fitted_figures", "vgg16_fitted_report"),
    drawn_from={"maps": f"{VGG16}/explanations.h5", "measures": f"{VGG16}/measures.csv"},
    told_from={
        "maps": f"{VGG16}/explanations.h5",
        "measures": f"{VGG16}/measures.csv",
        "metrics": f"{VGG16}/metrics.json",
    },
    told_with=value_of("experiments.{experiment}.figures"),
)
KINDS["vgg16"] = replace(
    KINDS["vgg16_fitted"],
    steps=["weights", "vgg16"],
    shown_by=("vgg16_figures", "vgg16_report"),
    without=MASK_FIGURES,
)


rule weights:
    input:
        code=code_of("vgg16-weights"),
    output:
        f"{VGG16}/model.safetensors",
    wildcard_constraints:
        experiment=experiments_of("vgg16"),
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        json=value_of("experiments.{experiment}.weights"),
    message:
        "Getting the weights of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg16-weights --params {params.json:q} --raw data/raw --out {output} 2>&1 | tee {log}"


use rule train as fit with:
    output:
        **in_folder(VGG16, WEIGHTS),
    wildcard_constraints:
        experiment=experiments_of("vgg16_fitted"),
    params:
        json=params_of("model", "inputs", "training", "seed"),
        options="--no-record",
    message:
        "Fitting the network of {wildcards.experiment}"


rule vgg16:
    input:
        model=f"{VGG16}/model.safetensors",
        data=of_experiment("data/{dataset}.h5"),
        training=if_kind("vgg16_fitted", f"{VGG16}/training.json"),
        code=code_of("vgg16-explain"),
    output:
        maps=f"{VGG16}/explanations.h5",
        predictions=table(f"{VGG16}/predictions.csv", "table of the predictions"),
        measures=f"{VGG16}/measures.csv",
        metrics=f"{VGG16}/metrics.json",
    wildcard_constraints:
        experiment=f"{experiments_of('vgg16')}|{experiments_of('vgg16_fitted')}",
    threads: lambda wildcards: config["experiments"][wildcards.experiment]["explanations"]["threads"]
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        json=value_of("experiments.{experiment}.explanations"),
    message:
        "Explaining the network of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg16-explain --model {input.model} --data {input.data} --training {input.training}"
        " --params {params.json:q} --maps {output.maps} --predictions {output.predictions}"
        " --measures {output.measures} --metrics {output.metrics} 2>&1 | tee {log}"
