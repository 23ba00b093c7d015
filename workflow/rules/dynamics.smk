# Experiments of kind "dynamics": train and record (in one job, or in shards that are gathered), dynamics, outliers,
# figures, report.
from lrp_dynamics.studies.blog.study import FIGURES

KINDS["dynamics"] = ["prepare", "train_shard", "train", "dynamics", "outliers", "figures", "report"]

RUN = "results/{experiment}/seed-{seed}"
SHARD = f"{RUN}/shards/{{shard}}"
# What a training leaves, and a gathering of its shards.
RESULTS = {
    "relevance": "relevance.h5",
    "model": "model.safetensors",
    "table": "training.csv",
    "summary": "training.json",
    "provenance": "provenance.json",
}
REPORT = "reports/{experiment}"


rule train:
    input:
        data=of_experiment("data/{dataset}.h5"),
        code=code_of("train"),
    output:
        **{name: f"{RUN}/{file}" for name, file in RESULTS.items()},
    log:
        "logs/train/{experiment}-{seed}.log",
    benchmark:
        "logs/benchmarks/train/{experiment}-{seed}.tsv"
    wildcard_constraints:
        experiment=experiments_of("dynamics", sharded=False),
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
        folder=subpath(output.relevance, parent=True),
        shard="1/1",
    message:
        "Training {wildcards.experiment} with seed {wildcards.seed}, recording relevance"
    shell:
        "lrp-dynamics train --data {input.data} --params {params.json:q} --seed {wildcards.seed} --shard {params.shard}"
        " --out {params.folder} 2>&1 | tee {log}"


# The same training in several jobs, here or on other machines, each recording its part of the samples.
use rule train as train_shard with:
    output:
        **{name: f"{SHARD}/{file}" for name, file in RESULTS.items()},
    log:
        "logs/train_shard/{experiment}-{seed}-{shard}.log",
    benchmark:
        "logs/benchmarks/train_shard/{experiment}-{seed}-{shard}.tsv"
    wildcard_constraints:
        experiment=experiments_of("dynamics", sharded=True),
    params:
        shard=lambda wildcards: f"{wildcards.shard}/{config['experiments'][wildcards.experiment]['recording']['shards']}",
    message:
        "Training {wildcards.experiment} with seed {wildcards.seed}, recording shard {wildcards.shard}"


rule gather:
    input:
        **{name: of_shards(f"{SHARD}/{file}") for name, file in RESULTS.items()},
        code=code_of("gather"),
    output:
        **{name: f"{RUN}/{file}" for name, file in RESULTS.items()},
    log:
        "logs/gather/{experiment}-{seed}.log",
    benchmark:
        "logs/benchmarks/gather/{experiment}-{seed}.tsv"
    wildcard_constraints:
        experiment=experiments_of("dynamics", sharded=True),
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        folder=subpath(output.relevance, parent=True),
    message:
        "Gathering the shards of {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        "lrp-dynamics gather --shards $(dirname {input.relevance}) --out {params.folder} 2>&1 | tee {log}"


rule dynamics:
    input:
        relevance=f"{RUN}/relevance.h5",
        code=code_of("dynamics"),
    output:
        dynamics=f"{RUN}/dynamics.h5",
        samples=f"{RUN}/samples.csv",
    log:
        "logs/dynamics/{experiment}-{seed}.log",
    benchmark:
        "logs/benchmarks/dynamics/{experiment}-{seed}.tsv"
    wildcard_constraints:
        experiment=experiments_of("dynamics"),
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Dynamics of {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        "lrp-dynamics dynamics --relevance {input.relevance} --out {output.dynamics} --samples {output.samples}"
        " 2>&1 | tee {log}"


rule outliers:
    input:
        dynamics=of_experiment(f"{RUN}/dynamics.h5"),
        samples=of_experiment(f"{RUN}/samples.csv"),
        training=of_experiment(f"{RUN}/training.json"),
        code=code_of("blog-outliers"),
    output:
        table=report("results/{experiment}/outliers.csv", category="{experiment}", labels={"what": "table of outliers"}),
        metrics="results/{experiment}/metrics.json",
    log:
        "logs/outliers/{experiment}.log",
    benchmark:
        "logs/benchmarks/outliers/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("dynamics"),
    resources:
        mem_mb=500,
        runtime=10,
    params:
        json=params_of("experiments.{experiment}.outliers"),
    message:
        "Outliers of {wildcards.experiment}"
    shell:
        "lrp-dynamics blog-outliers --dynamics {input.dynamics} --samples {input.samples}"
        " --training {input.training} --params {params.json:q}"
        " --out {output.table} --metrics {output.metrics} 2>&1 | tee {log}"


rule figures:
    input:
        relevance=of_first_seed(f"{RUN}/relevance.h5"),
        dynamics=of_first_seed(f"{RUN}/dynamics.h5"),
        samples=of_first_seed(f"{RUN}/samples.csv"),
        training=of_first_seed(f"{RUN}/training.csv"),
        outliers="results/{experiment}/outliers.csv",
        code=code_of("blog-draw"),
    output:
        png=[
            report(
                f"{REPORT}/figures/{name}.png",
                caption=f"../report/{name}.rst",
                category="{experiment}",
                subcategory=story,
                labels={"figure": title},
            )
            for name, (title, story) in FIGURES.items()
        ],
        svg=[f"{REPORT}/figures/{name}.svg" for name in FIGURES],
    log:
        "logs/figures/{experiment}.log",
    benchmark:
        "logs/benchmarks/figures/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("dynamics"),
    resources:
        mem_mb=500,
        runtime=10,
    params:
        json=params_of("experiments.{experiment}.figures"),
    message:
        "Drawing the figures of {wildcards.experiment}"
    shell:
        "lrp-dynamics blog-draw --relevance {input.relevance} --dynamics {input.dynamics} --samples {input.samples}"
        " --outliers {input.outliers} --training {input.training} --params {params.json:q}"
        " --out-dir reports/{wildcards.experiment}/figures 2>&1 | tee {log}"


rule report:
    input:
        metrics="results/{experiment}/metrics.json",
        outliers="results/{experiment}/outliers.csv",
        dynamics=of_first_seed(f"{RUN}/dynamics.h5"),
        samples=of_first_seed(f"{RUN}/samples.csv"),
        figures=[f"{REPORT}/figures/{name}.png" for name in FIGURES],
        captions=[f"workflow/report/{name}.rst" for name in FIGURES],
        notebook="workflow/notebooks/blog.py",
        code=code_of("report", "workflow/notebooks/blog.py"),
    output:
        ipynb=f"{REPORT}/report.ipynb",
        html=report(
            f"{REPORT}/report.html",
            caption="../report/report.rst",
            category="{experiment}",
            labels={"figure": "Report"},
        ),
    log:
        "logs/report/{experiment}.log",
    benchmark:
        "logs/benchmarks/report/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("dynamics"),
    resources:
        mem_mb=500,
        runtime=10,
    message:
        "Writing the report of {wildcards.experiment}"
    shell:
        "lrp-dynamics report --notebook {input.notebook} --inputs metrics={input.metrics} outliers={input.outliers}"
        " dynamics={input.dynamics} samples={input.samples} figures=reports/{wildcards.experiment}/figures"
        " captions=workflow/report --ipynb {output.ipynb} --html {output.html} 2>&1 | tee {log}"
