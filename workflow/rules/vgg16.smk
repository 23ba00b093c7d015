# Experiments of kinds "vgg16" (published weights, photos) and "vgg16_fitted" (a narrow VGG-16 fitted on a dataset with
# masks): weights or fit, explanations, figures, report.
from lrp_dynamics.studies.vgg16.study import FIGURES as VGG16_FIGURES
from lrp_dynamics.studies.vgg16.study import MASK_FIGURES

KINDS["vgg16"] = ["prepare", "weights", "vgg16", "vgg16_figures", "vgg16_report"]
KINDS["vgg16_fitted"] = ["prepare", "fit", "vgg16", "vgg16_figures", "vgg16_mask_figures", "vgg16_report"]

VGG16 = "results/{experiment}"
VGG16_KINDS = f"{experiments_of('vgg16')}|{experiments_of('vgg16_fitted')}"


rule weights:
    input:
        code=code_of("vgg16-weights"),
    output:
        f"{VGG16}/model.safetensors",
    log:
        "logs/weights/{experiment}.log",
    benchmark:
        "logs/benchmarks/weights/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("vgg16"),
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        json=params_of("experiments.{experiment}.weights"),
    message:
        "Getting the weights of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg16-weights --params {params.json:q} --raw data/raw --out {output} 2>&1 | tee {log}"


rule fit:
    input:
        data=of_experiment("data/{dataset}.h5"),
        code=code_of("train"),
    output:
        model=f"{VGG16}/model.safetensors",
        table=f"{VGG16}/training.csv",
        summary=f"{VGG16}/training.json",
        provenance=f"{VGG16}/provenance.json",
    log:
        "logs/fit/{experiment}.log",
    benchmark:
        "logs/benchmarks/fit/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("vgg16_fitted"),
    threads: lambda wildcards: config["experiments"][wildcards.experiment]["training"]["threads"]
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        json=params_of(
            model="experiments.{experiment}.model",
            inputs="experiments.{experiment}.inputs",
            training="experiments.{experiment}.training",
            seed="experiments.{experiment}.seed",
        ),
        folder=subpath(output.model, parent=True),
    message:
        "Fitting the network of {wildcards.experiment}"
    shell:
        "lrp-dynamics train --no-record --data {input.data} --params {params.json:q} --out {params.folder}"
        " 2>&1 | tee {log}"


rule vgg16:
    input:
        model=f"{VGG16}/model.safetensors",
        data=of_experiment("data/{dataset}.h5"),
        training=if_fitted(f"{VGG16}/training.json"),
        code=code_of("vgg16-explain"),
    output:
        maps=f"{VGG16}/explanations.h5",
        predictions=report(
            f"{VGG16}/predictions.csv", category="{experiment}", labels={"figure": "Predictions (table)"}
        ),
        measures=f"{VGG16}/measures.csv",
        metrics=f"{VGG16}/metrics.json",
    log:
        "logs/vgg16/{experiment}.log",
    benchmark:
        "logs/benchmarks/vgg16/{experiment}.tsv"
    wildcard_constraints:
        experiment=VGG16_KINDS,
    threads: lambda wildcards: config["experiments"][wildcards.experiment]["explanations"]["threads"]
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        json=params_of("experiments.{experiment}.explanations"),
    message:
        "Explaining the network of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg16-explain --model {input.model} --data {input.data} --training {input.training}"
        " --params {params.json:q} --maps {output.maps} --predictions {output.predictions}"
        " --measures {output.measures} --metrics {output.metrics} 2>&1 | tee {log}"


rule vgg16_figures:
    input:
        maps=f"{VGG16}/explanations.h5",
        measures=f"{VGG16}/measures.csv",
        code=code_of("vgg16-draw"),
    output:
        png=pictures_of(VGG16_FIGURES),
        svg=[f"{REPORT}/figures/{name}.svg" for name in VGG16_FIGURES],
    log:
        "logs/vgg16_figures/{experiment}.log",
    benchmark:
        "logs/benchmarks/vgg16_figures/{experiment}.tsv"
    wildcard_constraints:
        experiment=VGG16_KINDS,
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        json=params_of("experiments.{experiment}.figures"),
        names=list(VGG16_FIGURES),
    message:
        "Drawing explanations of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg16-draw --maps {input.maps} --measures {input.measures} --params {params.json:q}"
        " --figures {params.names} --out-dir reports/{wildcards.experiment}/figures 2>&1 | tee {log}"


rule vgg16_mask_figures:
    input:
        maps=f"{VGG16}/explanations.h5",
        measures=f"{VGG16}/measures.csv",
        code=code_of("vgg16-draw"),
    output:
        png=pictures_of(MASK_FIGURES),
        svg=[f"{REPORT}/figures/{name}.svg" for name in MASK_FIGURES],
    log:
        "logs/vgg16_mask_figures/{experiment}.log",
    benchmark:
        "logs/benchmarks/vgg16_mask_figures/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("vgg16_fitted"),
    resources:
        mem_mb=500,
        runtime=10,
    params:
        json=params_of("experiments.{experiment}.figures"),
        names=list(MASK_FIGURES),
    message:
        "Drawing relevance in the objects of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg16-draw --maps {input.maps} --measures {input.measures} --params {params.json:q}"
        " --figures {params.names} --out-dir reports/{wildcards.experiment}/figures 2>&1 | tee {log}"


rule vgg16_report:
    input:
        maps=f"{VGG16}/explanations.h5",
        measures=f"{VGG16}/measures.csv",
        metrics=f"{VGG16}/metrics.json",
        figures=[f"{REPORT}/figures/{name}.png" for name in VGG16_FIGURES],
        mask_figures=if_fitted(*(f"{REPORT}/figures/{name}.png" for name in MASK_FIGURES)),
        captions=[f"workflow/report/{name}.rst" for name in [*VGG16_FIGURES, *MASK_FIGURES]],
        notebook="workflow/notebooks/vgg16.py",
        code=code_of("report", "workflow/notebooks/vgg16.py"),
    output:
        ipynb=f"{REPORT}/report.ipynb",
        html=report(
            f"{REPORT}/report.html",
            caption="../report/report.rst",
            category="{experiment}",
            labels={"figure": "Report"},
        ),
    log:
        "logs/vgg16_report/{experiment}.log",
    benchmark:
        "logs/benchmarks/vgg16_report/{experiment}.tsv"
    wildcard_constraints:
        experiment=VGG16_KINDS,
    resources:
        mem_mb=500,
        runtime=10,
    params:
        json=params_of("experiments.{experiment}.figures"),
    message:
        "Writing the report on {wildcards.experiment}"
    shell:
        "lrp-dynamics report --notebook {input.notebook} --params {params.json:q} --inputs maps={input.maps}"
        " measures={input.measures} metrics={input.metrics} figures=reports/{wildcards.experiment}/figures"
        " captions=workflow/report --ipynb {output.ipynb} --html {output.html} 2>&1 | tee {log}"
