# Datasets: download where needed, verify, and write the one layout of all datasets.


rule prepare:
    input:
        code=code_of("prepare"),
    output:
        "data/{dataset}.h5",
    log:
        "logs/prepare/{dataset}.log",
    benchmark:
        "logs/benchmarks/prepare/{dataset}.tsv"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        json=params_of("datasets.{dataset}"),
    message:
        "Preparing dataset {wildcards.dataset}"
    shell:
        "lrp-dynamics prepare --name {wildcards.dataset} --params {params.json:q} --raw data/raw --out {output}"
        " 2>&1 | tee {log}"
