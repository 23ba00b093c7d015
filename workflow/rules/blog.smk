# Experiments of kind "dynamics": train and record, dynamics, outliers; the report as posts.
from lrp_dynamics.studies.blog.posts import POSTS

KINDS["dynamics"] = Kind(
    study="blog",
    steps=["train_shard", "train", "dynamics", "outliers", "posts"],
    shown_by=("figures", "report"),
    drawn_from={
        "relevance": of_first_seed(f"{RUN}/relevance.h5"),
        "dynamics": of_first_seed(f"{RUN}/dynamics.h5"),
        "samples": of_first_seed(f"{RUN}/samples.csv"),
        "training": of_first_seed(f"{RUN}/training.csv"),
        "outliers": "results/{experiment}/outliers.csv",
    },
    told_from={
        "metrics": "results/{experiment}/metrics.json",
        "outliers": "results/{experiment}/outliers.csv",
        "dynamics": of_first_seed(f"{RUN}/dynamics.h5"),
        "samples": of_first_seed(f"{RUN}/samples.csv"),
        "relevance": of_first_seed(f"{RUN}/relevance.h5"),
    },
    explored_from={"recordings": of_experiment(f"{RUN}/relevance.h5")},
    explored_with={"flags": "results/{experiment}/outliers.csv"},
)


rule dynamics:
    input:
        relevance=f"{RUN}/relevance.h5",
        code=code_of("dynamics"),
    output:
        dynamics=f"{RUN}/dynamics.h5",
        samples=f"{RUN}/samples.csv",
    wildcard_constraints:
        experiment=experiments_of("dynamics"),
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
        table=table("results/{experiment}/outliers.csv", "table of outliers"),
        metrics="results/{experiment}/metrics.json",
    wildcard_constraints:
        experiment=experiments_of("dynamics"),
    params:
        json=value_of("experiments.{experiment}.outliers"),
    message:
        "Outliers of {wildcards.experiment}"
    shell:
        "lrp-dynamics blog-outliers --dynamics {input.dynamics} --samples {input.samples}"
        " --training {input.training} --params {params.json:q}"
        " --out {output.table} --metrics {output.metrics} 2>&1 | tee {log}"


# The report as Markdown for a Jekyll site.
rule posts:
    input:
        notebook=f"{REPORT}/report.ipynb",
        figures=[f"{REPORT}/figures/{name}.png" for name in KINDS["dynamics"].figures],
        code=code_of("blog-posts"),
    output:
        posts=[f"{REPORT}/posts/_drafts/{{experiment}}-{post}.md" for post in POSTS],
        figures=[f"{REPORT}/posts/assets/lrp-dynamics/{{experiment}}/{name}.png" for name in KINDS["dynamics"].figures],
    wildcard_constraints:
        experiment=experiments_of("dynamics"),
    message:
        "Writing the report of {wildcards.experiment} as posts"
    shell:
        "lrp-dynamics blog-posts --notebook {input.notebook} --figures reports/{wildcards.experiment}/figures"
        " --name {wildcards.experiment} --out reports/{wildcards.experiment}/posts 2>&1 | tee {log}"
