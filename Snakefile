# What does a network's explanation do while the network learns?  `snakemake --cores all`, or `... demo`.
from snakemake.utils import min_version

min_version("9.0")


# Used only with `--software-deployment-method apptainer`; without it the active environment runs everything.
container: "docker://python:3.12"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


rule all:
    default_target: True
    input:
        lambda wildcards: artefacts(name for name in config["experiments"] if not name.endswith("_gpu")),


# What takes a GPU, so that `all` can be made without one: `snakemake --profile profiles/gpu gpu`.
rule gpu:
    input:
        lambda wildcards: artefacts(name for name in config["experiments"] if name.endswith("_gpu")),


rule demo:
    input:
        lambda wildcards: artefacts(name for name in config["experiments"] if name.startswith("demo")),


include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"


# A study is found by its name: a package of that name has a rules file of that name.
for _study in STUDIES:

    include: f"workflow/rules/{_study}.smk"


include: "workflow/rules/show.smk"


# Every rule has a log and a benchmark, named after the rule and its wildcards: logs/train/demo-0.log.
keep_logs(workflow)
