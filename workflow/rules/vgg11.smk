# Experiments of kind "vgg11": train with validation, test, explain test images; a search beside it.
from lrp_dynamics.studies.vgg11.study import SEARCH_FIGURES

VGG11 = "results/{experiment}"
TRIAL = f"{VGG11}/search/trial-{{trial}}"

KINDS["vgg11"] = Kind(
    study="vgg11",
    steps=["vgg11_train", "classify", "vgg11_explain"],
    shown_by=("vgg11_figures", "vgg11_report"),
    drawn_from={
        "data": of_experiment("data/{dataset}.h5"),
        **{name: f"{VGG11}/{name}.csv" for name in ("training", "validation", "classes", "confusion", "mistakes")},
        "all": f"{VGG11}/all/relevance.h5",
        "top_k": f"{VGG11}/top_k/relevance.h5",
    },
    told_from={
        "training": f"{VGG11}/training.json",
        "metrics": f"{VGG11}/metrics.json",
        "classes": f"{VGG11}/classes.csv",
        "all": f"{VGG11}/all/relevance.h5",
        "top_k": f"{VGG11}/top_k/relevance.h5",
        "speed": f"{VGG11}/speed.json",
    },
    told_with=params_of("training", "validation", "explanations"),
    if_given={"search": ["vgg11_trial", "vgg11_search"]},
)


use rule train as vgg11_train with:
    output:
        **in_folder(VGG11, WEIGHTS),
        validation=f"{VGG11}/validation.csv",
    wildcard_constraints:
        experiment=experiments_of("vgg11"),
    params:
        json=params_of("model", "inputs", "training", "validation", "seed"),
        options="--no-record --tensorboard logs/tensorboard/{experiment}",
    message:
        "Training the network of {wildcards.experiment}, with validation"


rule classify:
    input:
        model=f"{VGG11}/model.safetensors",
        data=of_experiment("data/{dataset}.h5"),
        code=code_of("vgg11-classify"),
    output:
        classes=table(f"{VGG11}/classes.csv", "table of the classes"),
        confusion=f"{VGG11}/confusion.csv",
        mistakes=f"{VGG11}/mistakes.csv",
        metrics=f"{VGG11}/metrics.json",
    wildcard_constraints:
        experiment=experiments_of("vgg11"),
    threads: threads_of
    resources:
        mem_mb=memory_of,
        gpu=gpus_of,
    params:
        json=params_of(threads="training.threads", device="training.device"),
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
    wildcard_constraints:
        experiment=experiments_of("vgg11"),
    threads: threads_of
    resources:
        mem_mb=memory_of,
        gpu=gpus_of,
    params:
        json=params_of("explanations", "seed", threads="training.threads", device="training.device"),
        folder=subpath(output.speed, parent=True),
    message:
        "Explaining test images of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg11-explain --model {input.model} --data {input.data} --params {params.json:q}"
        " --out {params.folder} 2>&1 | tee {log}"


# The trials of a search, side by side on as many cores, GPUs or machines as there are, and what came of them.
use rule train as vgg11_trial with:
    input:
        data=of_experiment("data/{dataset}.h5"),
        code=code_of("vgg11-trial"),
    output:
        table=f"{TRIAL}/training.csv",
        validation=f"{TRIAL}/validation.csv",
        summary=f"{TRIAL}/training.json",
        provenance=f"{TRIAL}/provenance.json",
    wildcard_constraints:
        experiment=experiments_of("vgg11"),
        trial="[0-9]+",
    params:
        command="vgg11-trial",
        # Not how many trials there are: more of them leave those that have been made as they are.
        json=params_of(
            *("model", "inputs", "training", "validation", "seed"),
            sampler="search.sampler",
            sampler_seed="search.seed",
            space="search.space",
        ),
        options="--trial {trial} --tensorboard logs/tensorboard/{experiment}-search/trial-{trial}",
    message:
        "Trial {wildcards.trial} of the search of {wildcards.experiment}"


rule vgg11_search:
    input:
        trials=trials_of(f"{TRIAL}/training.json"),
        code=code_of("vgg11-search"),
    output:
        table=table(f"{VGG11}/search/search.csv", "table of the trials"),
        png=pictures_of("vgg11", SEARCH_FIGURES),
        svg=drawings_of(SEARCH_FIGURES),
    wildcard_constraints:
        experiment=experiments_of("vgg11"),
    params:
        json=params_of("search", "dataset"),
    message:
        "Gathering the search of {wildcards.experiment}"
    shell:
        "lrp-dynamics vgg11-search --name {wildcards.experiment} --trials {input.trials} --params {params.json:q}"
        " --table {output.table} --out-dir reports/{wildcards.experiment}/figures 2>&1 | tee {log}"
