# Experiments of kind "vgg11": train with validation, test, explain test images, figures, report; a search beside it.
from lrp_dynamics.studies.vgg11.study import VGG11_FIGURES, VGG11_SEARCH

KINDS["vgg11"] = ["prepare", "vgg11_train", "classify", "vgg11_explain", "vgg11_figures", "vgg11_report"]
# Besides, where `search` is given.
SEARCH_STEPS = ["vgg11_trial", "vgg11_search"]

VGG11 = "results/{experiment}"
TRIAL = f"{VGG11}/search/trial-{{trial}}"


rule vgg11_train:
    input:
        data=of_experiment("data/{dataset}.h5"),
        code=code_of("train"),
    output:
        model=f"{VGG11}/model.safetensors",
        table=f"{VGG11}/training.csv",
        validation=f"{VGG11}/validation.csv",
        summary=f"{VGG11}/training.json",
        provenance=f"{VGG11}/provenance.json",
    log:
        "logs/vgg11_train/{experiment}.log",
    benchmark:
        "logs/benchmarks/vgg11_train/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("vgg11"),
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
            validation="experiments.{experiment}.validation",
            seed="experiments.{experiment}.seed",
        ),
        folder=subpath(output.model, parent=True),
    message:
        "Training the network of {wildcards.experiment}, with validation"
    shell:
        "lrp-dynamics train --no-record --tensorboard logs/tensorboard/{wildcards.experiment} --data {input.data}"
        " --params {params.json:q} --out {params.folder} 2>&1 | tee {log}"


rule classify:
    input:
        model=f"{VGG11}/model.safetensors",
        data=of_experiment("data/{dataset}.h5"),
        code=code_of("vgg11-classify"),
    output:
        classes=report(f"{VGG11}/classes.csv", category="{experiment}", labels={"what": "table of the classes"}),
        confusion=f"{VGG11}/confusion.csv",
        mistakes=f"{VGG11}/mistakes.csv",
        metrics=f"{VGG11}/metrics.json",
    log:
        "logs/classify/{experiment}.log",
    benchmark:
        "logs/benchmarks/classify/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("vgg11"),
    threads: lambda wildcards: config["experiments"][wildcards.experiment]["training"]["threads"]
    resources:
        mem_mb=memory_of,
        runtime=20,
        gpu=gpus_of,
    params:
        json=params_of(
            threads="experiments.{experiment}.training.threads",
            device="experiments.{experiment}.training.device",
        ),
        folder=subpath(output.metrics, parent=True),
    message:
        "Testing the network of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg11-classify --model {input.model} --data {input.data} --params {params.json:q}"
        " --out {params.folder} 2>&1 | tee {log}"


rule vgg11_explain:
    input:
        model=f"{VGG11}/model.safetensors",
        data=of_experiment("data/{dataset}.h5"),
        code=code_of("vgg11-explain"),
    output:
        all=f"{VGG11}/all/relevance.h5",
        top_k=f"{VGG11}/top_k/relevance.h5",
        speed=f"{VGG11}/speed.json",
    log:
        "logs/vgg11_explain/{experiment}.log",
    benchmark:
        "logs/benchmarks/vgg11_explain/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("vgg11"),
    threads: lambda wildcards: config["experiments"][wildcards.experiment]["training"]["threads"]
    resources:
        mem_mb=memory_of,
        runtime=20,
        gpu=gpus_of,
    params:
        json=params_of(
            explanations="experiments.{experiment}.explanations",
            threads="experiments.{experiment}.training.threads",
            device="experiments.{experiment}.training.device",
            seed="experiments.{experiment}.seed",
        ),
        folder=subpath(output.speed, parent=True),
    message:
        "Explaining test images of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg11-explain --model {input.model} --data {input.data} --params {params.json:q}"
        " --out {params.folder} 2>&1 | tee {log}"


rule vgg11_figures:
    input:
        data=of_experiment("data/{dataset}.h5"),
        training=f"{VGG11}/training.csv",
        validation=f"{VGG11}/validation.csv",
        classes=f"{VGG11}/classes.csv",
        confusion=f"{VGG11}/confusion.csv",
        mistakes=f"{VGG11}/mistakes.csv",
        all=f"{VGG11}/all/relevance.h5",
        top_k=f"{VGG11}/top_k/relevance.h5",
        code=code_of("vgg11-draw"),
    output:
        png=pictures_of(VGG11_FIGURES),
        svg=[f"{REPORT}/figures/{name}.svg" for name in VGG11_FIGURES],
    log:
        "logs/vgg11_figures/{experiment}.log",
    benchmark:
        "logs/benchmarks/vgg11_figures/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("vgg11"),
    resources:
        mem_mb=500,
        runtime=10,
    params:
        json=params_of("experiments.{experiment}.figures"),
    message:
        "Drawing training, test and relevance of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg11-draw --results $(dirname {input.training}) --data {input.data} --params {params.json:q}"
        " --out-dir reports/{wildcards.experiment}/figures 2>&1 | tee {log}"


rule vgg11_report:
    input:
        training=f"{VGG11}/training.json",
        metrics=f"{VGG11}/metrics.json",
        classes=f"{VGG11}/classes.csv",
        all=f"{VGG11}/all/relevance.h5",
        top_k=f"{VGG11}/top_k/relevance.h5",
        speed=f"{VGG11}/speed.json",
        figures=[f"{REPORT}/figures/{name}.png" for name in VGG11_FIGURES],
        captions=[f"workflow/report/{name}.rst" for name in VGG11_FIGURES],
        notebook="workflow/notebooks/vgg11.py",
        code=code_of("report", "workflow/notebooks/vgg11.py"),
    output:
        ipynb=f"{REPORT}/report.ipynb",
        html=report(
            f"{REPORT}/report.html",
            caption="../report/vgg11_report.rst",
            category="{experiment}",
            labels={"figure": "Report"},
        ),
    log:
        "logs/vgg11_report/{experiment}.log",
    benchmark:
        "logs/benchmarks/vgg11_report/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("vgg11"),
    resources:
        mem_mb=500,
        runtime=10,
    params:
        json=params_of(
            training="experiments.{experiment}.training",
            validation="experiments.{experiment}.validation",
            explanations="experiments.{experiment}.explanations",
        ),
    message:
        "Writing the report of {wildcards.experiment}"
    shell:
        "lrp-dynamics report --notebook {input.notebook} --params {params.json:q} --inputs training={input.training}"
        " metrics={input.metrics} classes={input.classes} all={input.all} top_k={input.top_k} speed={input.speed}"
        " figures=reports/{wildcards.experiment}/figures captions=workflow/report"
        " --ipynb {output.ipynb} --html {output.html} 2>&1 | tee {log}"


# The trials of a search, side by side on as many cores, GPUs or machines as there are, and what came of them.
rule vgg11_trial:
    input:
        data=of_experiment("data/{dataset}.h5"),
        code=code_of("vgg11-trial"),
    output:
        table=f"{TRIAL}/training.csv",
        validation=f"{TRIAL}/validation.csv",
        summary=f"{TRIAL}/training.json",
        provenance=f"{TRIAL}/provenance.json",
    log:
        "logs/vgg11_trial/{experiment}-{trial}.log",
    benchmark:
        "logs/benchmarks/vgg11_trial/{experiment}-{trial}.tsv"
    wildcard_constraints:
        experiment=experiments_of("vgg11"),
        trial="[0-9]+",
    threads: lambda wildcards: config["experiments"][wildcards.experiment]["training"]["threads"]
    resources:
        mem_mb=memory_of,
        runtime=120,
        gpu=gpus_of,
    params:
        # Not how many trials there are: more of them leave those that have been made as they are.
        json=params_of(
            model="experiments.{experiment}.model",
            inputs="experiments.{experiment}.inputs",
            training="experiments.{experiment}.training",
            validation="experiments.{experiment}.validation",
            seed="experiments.{experiment}.seed",
            sampler="experiments.{experiment}.search.sampler",
            sampler_seed="experiments.{experiment}.search.seed",
            space="experiments.{experiment}.search.space",
        ),
        folder=subpath(output.summary, parent=True),
    message:
        "Trial {wildcards.trial} of the search of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg11-trial --trial {wildcards.trial} --data {input.data} --params {params.json:q}"
        " --tensorboard logs/tensorboard/{wildcards.experiment}-search/trial-{wildcards.trial}"
        " --out {params.folder} 2>&1 | tee {log}"


rule vgg11_search:
    input:
        trials=trials_of(f"{TRIAL}/training.json"),
        code=code_of("vgg11-search"),
    output:
        table=report(f"{VGG11}/search/search.csv", category="{experiment}", labels={"what": "table of the trials"}),
        png=pictures_of(VGG11_SEARCH),
        svg=[f"{REPORT}/figures/{name}.svg" for name in VGG11_SEARCH],
    log:
        "logs/vgg11_search/{experiment}.log",
    benchmark:
        "logs/benchmarks/vgg11_search/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("vgg11"),
    resources:
        mem_mb=500,
        runtime=10,
    params:
        json=params_of(search="experiments.{experiment}.search", dataset="experiments.{experiment}.dataset"),
    message:
        "Gathering the search of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg11-search --name {wildcards.experiment} --trials {input.trials} --params {params.json:q}"
        " --table {output.table} --out-dir reports/{wildcards.experiment}/figures 2>&1 | tee {log}"
