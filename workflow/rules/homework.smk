# Experiments of kind "homework": train a ConvNet, explain it at every checkpoint, figures, report.
from lrp_dynamics.studies.homework.study import HOMEWORK_FIGURES

KINDS["homework"] = ["prepare", "homework_train", "homework_explain", "homework_figures", "homework_report"]


rule homework_train:
    input:
        data=of_experiment("data/{dataset}.h5"),
        code=code_of("homework-train"),
    output:
        checkpoints=f"{RUN}/checkpoints.safetensors",
        accuracy=f"{RUN}/accuracy.csv",
        model=f"{RUN}/model.safetensors",
        table=f"{RUN}/training.csv",
        summary=f"{RUN}/training.json",
        provenance=f"{RUN}/provenance.json",
    log:
        "logs/homework_train/{experiment}-{seed}.log",
    benchmark:
        "logs/benchmarks/homework_train/{experiment}-{seed}.tsv"
    wildcard_constraints:
        experiment=experiments_of("homework"),
    threads: lambda wildcards: config["experiments"][wildcards.experiment]["training"]["threads"]
    resources:
        mem_mb=memory_of,
        runtime=60,
        gpu=gpus_of,
    params:
        json=params_of(
            model="experiments.{experiment}.model",
            inputs="experiments.{experiment}.inputs",
            training="experiments.{experiment}.training",
            checkpoints="experiments.{experiment}.checkpoints",
        ),
        folder=subpath(output.accuracy, parent=True),
    message:
        "Training the network of {wildcards.experiment} with seed {wildcards.seed}"
    shell:
        "lrp-dynamics homework-train --data {input.data} --params {params.json:q} --seed {wildcards.seed}"
        " --out {params.folder} 2>&1 | tee {log}"


rule homework_explain:
    input:
        data=of_experiment("data/{dataset}.h5"),
        checkpoints=f"{RUN}/checkpoints.safetensors",
        accuracy=f"{RUN}/accuracy.csv",
        code=code_of("homework-explain"),
    output:
        evidence=f"{RUN}/evidence.csv",
        metrics=f"{RUN}/metrics.json",
        deep_taylor=f"{RUN}/deep_taylor/relevance.h5",
        sensitivity=f"{RUN}/sensitivity/relevance.h5",
    log:
        "logs/homework_explain/{experiment}-{seed}.log",
    benchmark:
        "logs/benchmarks/homework_explain/{experiment}-{seed}.tsv"
    wildcard_constraints:
        experiment=experiments_of("homework"),
    threads: lambda wildcards: config["experiments"][wildcards.experiment]["training"]["threads"]
    resources:
        mem_mb=1500,
        runtime=20,
    params:
        json=params_of(
            model="experiments.{experiment}.model",
            inputs="experiments.{experiment}.inputs",
            training="experiments.{experiment}.training",
            checkpoints="experiments.{experiment}.checkpoints",
            explained="experiments.{experiment}.explained",
        ),
        folder=subpath(output.evidence, parent=True),
    message:
        "Explaining test images by the networks of {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        "lrp-dynamics homework-explain --data {input.data} --checkpoints {input.checkpoints}"
        " --accuracy {input.accuracy} --params {params.json:q} --seed {wildcards.seed} --out {params.folder}"
        " 2>&1 | tee {log}"


rule homework_figures:
    input:
        accuracy=of_first_seed(f"{RUN}/accuracy.csv"),
        training=of_first_seed(f"{RUN}/training.csv"),
        evidence=of_first_seed(f"{RUN}/evidence.csv"),
        deep_taylor=of_first_seed(f"{RUN}/deep_taylor/relevance.h5"),
        sensitivity=of_first_seed(f"{RUN}/sensitivity/relevance.h5"),
        published="workflow/literature/homework.json",
        code=code_of("homework-draw"),
    output:
        png=[
            report(
                f"{REPORT}/figures/{name}.png",
                caption=f"../report/{name}.rst",
                category="{experiment}",
                subcategory=part,
                labels={"figure": title},
            )
            for name, (title, part) in HOMEWORK_FIGURES.items()
        ],
        svg=[f"{REPORT}/figures/{name}.svg" for name in HOMEWORK_FIGURES],
    log:
        "logs/homework_figures/{experiment}.log",
    benchmark:
        "logs/benchmarks/homework_figures/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("homework"),
    resources:
        mem_mb=500,
        runtime=10,
    params:
        json=params_of("experiments.{experiment}.figures"),
    message:
        "Drawing the figures of {wildcards.experiment}"
    shell:
        "lrp-dynamics homework-draw --results $(dirname {input.accuracy}) --published {input.published}"
        " --params {params.json:q} --out-dir reports/{wildcards.experiment}/figures 2>&1 | tee {log}"


rule homework_report:
    input:
        metrics=of_first_seed(f"{RUN}/metrics.json"),
        accuracy=of_first_seed(f"{RUN}/accuracy.csv"),
        evidence=of_first_seed(f"{RUN}/evidence.csv"),
        recording=of_first_seed(f"{RUN}/deep_taylor/relevance.h5"),
        published="workflow/literature/homework.json",
        figures=[f"{REPORT}/figures/{name}.png" for name in HOMEWORK_FIGURES],
        captions=[f"workflow/report/{name}.rst" for name in HOMEWORK_FIGURES],
        notebook="workflow/notebooks/homework.py",
        code=code_of("report", "workflow/notebooks/homework.py"),
    output:
        ipynb=f"{REPORT}/report.ipynb",
        html=report(
            f"{REPORT}/report.html",
            caption="../report/homework_report.rst",
            category="{experiment}",
            labels={"figure": "Report"},
        ),
    log:
        "logs/homework_report/{experiment}.log",
    benchmark:
        "logs/benchmarks/homework_report/{experiment}.tsv"
    wildcard_constraints:
        experiment=experiments_of("homework"),
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        json=params_of("experiments.{experiment}.figures"),
    message:
        "Writing the report of {wildcards.experiment}"
    shell:
        "lrp-dynamics report --notebook {input.notebook} --inputs metrics={input.metrics} accuracy={input.accuracy}"
        " evidence={input.evidence} recording={input.recording} published={input.published}"
        " figures=reports/{wildcards.experiment}/figures captions=workflow/report --params {params.json:q}"
        " --ipynb {output.ipynb} --html {output.html} 2>&1 | tee {log}"
