# Experiments of kind "homework": train a ConvNet, explain it at every checkpoint.
KINDS["homework"] = Kind(
    study="homework",
    steps=["homework_train", "homework_explain"],
    shown_by=("homework_figures", "homework_report"),
    drawn_from={
        "accuracy": of_first_seed(f"{RUN}/accuracy.csv"),
        "training": of_first_seed(f"{RUN}/training.csv"),
        "evidence": of_first_seed(f"{RUN}/evidence.csv"),
        "deep_taylor": of_first_seed(f"{RUN}/deep_taylor/relevance.h5"),
        "sensitivity": of_first_seed(f"{RUN}/sensitivity/relevance.h5"),
        "published": source("src/lrp_dynamics/studies/homework/published.json"),
    },
    told_from={
        "metrics": of_first_seed(f"{RUN}/metrics.json"),
        "accuracy": of_first_seed(f"{RUN}/accuracy.csv"),
        "evidence": of_first_seed(f"{RUN}/evidence.csv"),
        "recording": of_first_seed(f"{RUN}/deep_taylor/relevance.h5"),
        "published": source("src/lrp_dynamics/studies/homework/published.json"),
    },
    told_with=params_of(published="figures.published", batch_size="training.batch_size"),
    explored_from={name: of_first_seed(f"{RUN}/{name}/relevance.h5") for name in ("deep_taylor", "sensitivity")},
)


use rule train as homework_train with:
    input:
        data=of_experiment("data/{dataset}.h5"),
        network=own_network,
        code=code_of("homework-train"),
    output:
        **in_folder(RUN, WEIGHTS),
        checkpoints=f"{RUN}/checkpoints.safetensors",
        accuracy=f"{RUN}/accuracy.csv",
    wildcard_constraints:
        experiment=experiments_of("homework"),
    params:
        command="homework-train",
        json=params_of("model", "inputs", "training", "checkpoints"),
        options="--seed {seed}",
    message:
        "Training the network of {wildcards.experiment} with seed {wildcards.seed}"


rule homework_explain:
    input:
        data=of_experiment("data/{dataset}.h5"),
        checkpoints=f"{RUN}/checkpoints.safetensors",
        accuracy=f"{RUN}/accuracy.csv",
        network=own_network,
        code=code_of("homework-explain"),
    output:
        evidence=f"{RUN}/evidence.csv",
        metrics=f"{RUN}/metrics.json",
        deep_taylor=f"{RUN}/deep_taylor/relevance.h5",
        sensitivity=f"{RUN}/sensitivity/relevance.h5",
    wildcard_constraints:
        experiment=experiments_of("homework"),
    threads: threads_of
    params:
        json=params_of("model", "inputs", "training", "checkpoints", "explained"),
        folder=subpath(output.evidence, parent=True),
    message:
        "Explaining test images by the networks of {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        "lrp-dynamics homework-explain --data {input.data} --checkpoints {input.checkpoints}"
        " --accuracy {input.accuracy} --params {params.json:q} --seed {wildcards.seed} --out {params.folder}"
        " 2>&1 | tee {log}"
