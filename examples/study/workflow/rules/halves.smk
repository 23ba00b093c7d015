# Experiments of kind "halves": train, compare the loss of both halves.
KINDS["halves"] = Kind(
    study="halves",
    steps=["halves_train", "halves_measure"],
    shown_by=("halves_figures", "halves_report"),
    drawn_from={"training": of_first_seed(f"{RUN}/training.csv")},
    told_from={"metrics": of_first_seed(f"{RUN}/metrics.json")},
)


use rule train as halves_train with:
    output:
        **in_folder(RUN, WEIGHTS),
    wildcard_constraints:
        experiment=experiments_of("halves"),
    params:
        json=params_of("model", "inputs", "training"),
        options="--no-record --seed {seed}",
    message:
        "Training {wildcards.experiment} with seed {wildcards.seed}, to compare its halves"


rule halves_measure:
    input:
        training=f"{RUN}/training.csv",
        code=code_of("halves-measure"),
    output:
        metrics=f"{RUN}/metrics.json",
    wildcard_constraints:
        experiment=experiments_of("halves"),
    message:
        "Comparing the halves of {wildcards.experiment}, seed {wildcards.seed}"
    shell:
        "lrp-dynamics halves-measure --training {input.training} --out {output.metrics} 2>&1 | tee {log}"
