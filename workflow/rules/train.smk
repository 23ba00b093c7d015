# Training with recording, in one job or in shards that are gathered; other trainings are made of this rule.

# What a training leaves.
WEIGHTS = {
    "model": "model.safetensors",
    "table": "training.csv",
    "summary": "training.json",
    "provenance": "provenance.json",
}
RESULTS = {"relevance": "relevance.h5"} | WEIGHTS
SHARD = f"{RUN}/shards/{{shard}}"


rule train:
    input:
        data=of_experiment("data/{dataset}.h5"),
        network=own_network,
        code=code_of("train"),
    output:
        **in_folder(RUN, RESULTS),
    wildcard_constraints:
        experiment=experiments_of("dynamics", sharded=False),
    threads: threads_of
    resources:
        mem_mb=memory_of,
        runtime=120,
        gpu=gpus_of,
    params:
        command="train",
        json=params_of("model", "inputs", "training", "recording"),
        options="--seed {seed} --shard 1/1",
        folder=subpath(output.provenance, parent=True),
    message:
        "Training {wildcards.experiment} with seed {wildcards.seed}, recording relevance"
    shell:
        "lrp-dynamics {params.command} --data {input.data} --params {params.json:q} {params.options}"
        " --out {params.folder} 2>&1 | tee {log}"


# The same training in several jobs, here or on other machines, each recording its part of the samples.
use rule train as train_shard with:
    output:
        **in_folder(SHARD, RESULTS),
    wildcard_constraints:
        experiment=experiments_of("dynamics", sharded=True),
    params:
        options=lambda wildcards: (
            f"--seed {wildcards.seed}"
            f" --shard {wildcards.shard}/{config['experiments'][wildcards.experiment]['recording']['shards']}"
        ),
    message:
        "Training {wildcards.experiment} with seed {wildcards.seed}, recording shard {wildcards.shard}"


rule gather:
    input:
        **{name: of_shards(f"{SHARD}/{file}") for name, file in RESULTS.items()},
        code=code_of("gather"),
    output:
        **in_folder(RUN, RESULTS),
    wildcard_constraints:
        experiment=experiments_of("dynamics", sharded=True),
    params:
        folder=subpath(output.relevance, parent=True),
    message:
        "Gathering the shards of {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        "lrp-dynamics gather --shards $(dirname {input.relevance}) --out {params.folder} 2>&1 | tee {log}"
