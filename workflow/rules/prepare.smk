# Datasets: download where needed, verify, and write the one layout of all datasets.


rule prepare:
    input:
        images=images_of("path"),
        tests=images_of("test_path"),
        # The module of the dataset's kind is imported by its name.
        code=lambda wildcards: code_of(
            "prepare", f"src/lrp_dynamics/data/{config['datasets'][wildcards.dataset]['kind']}.py"
        ),
    output:
        "data/{dataset}.h5",
    params:
        json=value_of("datasets.{dataset}"),
    message:
        "Preparing dataset {wildcards.dataset}"
    shell:
        "lrp-dynamics prepare --name {wildcards.dataset} --params {params.json:q} --raw data/raw --out {output}"
        " 2>&1 | tee {log}"
