# Helpers of all rules: kinds of experiments, parameters, artefacts, and the message after a failure.
import os
import re
import sys
import time
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

ROOT = Path(workflow.current_basedir).parents[1]
# Otherwise a module of another project, or run from another folder: sources are found here, all else lies there.
AT_HOME = Path.cwd() == ROOT.resolve()
STARTED = time.time()
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "src")]
# Jobs find the tools of the environment that Snakemake runs in, activated or not.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))

from bridge import adopt_if_needed, check_stage, hold_run, record_results, refuse_links
import closure
from dag import INNER
from failures import tell_failures
from kinds import Kind
from parameter_file import check_file
from parameters import check, json_of
from reading import Reader
from snakemake.exceptions import WorkflowError
from snakemake_internals import in_image, keep_logs, make_default, moves_files, reads_configfile

from lrp_dynamics import studies
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.names import shown
from lrp_dynamics.base.own_code import files_of, is_own
from lrp_dynamics.training.search import count as number_of_trials

if moves_files(workflow):
    raise WorkflowError(
        "module of lrp-dynamics: found prefix or replace_prefix, expected none, as commands name folders; leave it out"
    )

# Before Snakemake reads it: it would run code that a file may hold. A module may be given its parameters.
if reads_configfile(workflow):
    check_file(Path("params.yaml"))


configfile: "params.yaml"


check(config)


wildcard_constraints:
    dataset="[A-Za-z0-9_]+",
    experiment="[A-Za-z0-9_]+",
    seed="[0-9]+",
    shard="[0-9]+",


STUDIES = sorted(module.name for module in iter_modules(studies.__path__))
RUN = "results/{experiment}/seed-{seed}"
REPORT = "reports/{experiment}"
# What experiments of each kind are made of; each study's rules file adds its own.
KINDS = {}


NO_NAME = "(?!)"  # fits none
PATTERN = re.compile("[{}]|<[a-z][a-z0-9_]*>")  # Snakemake would put another text in their place


def source(path):
    """A file of this project, by its path in it; as it is where the workflow runs at home."""
    return path if AT_HOME else str(ROOT / path)


def code_of(command, *scripts):
    """The source files of a subcommand and of scripts that it runs."""
    return [source(path) for path in closure.code_of(command, *scripts)]


def experiments_of(kind, sharded=None):
    """Wildcard constraint: the experiments of one kind; only those (True) or none (False) recorded in several shards."""

    def chosen(experiment):
        return experiment["kind"] == kind and sharded in (None, len(shards_of(experiment)) > 1)

    return "|".join(name for name, experiment in config["experiments"].items() if chosen(experiment)) or NO_NAME


def shards_of(experiment):
    """The numbers of an experiment's shards; none where one job records all samples."""
    shards = experiment.get("recording", {}).get("shards", 1)
    return range(1, shards + 1) if shards > 1 else []


def artefacts(experiments):
    """Every file that the experiments produce, so that a stale one can never hide behind a finished target."""
    files = {}
    for name in experiments:
        experiment = config["experiments"][name]
        values = {"experiment": name, "dataset": experiment["dataset"], "seed": experiment.get("seeds", [])}
        values["shard"] = shards_of(experiment)
        values["trial"] = range(number_of_trials(experiment.get("search")))
        for step in KINDS[experiment["kind"]].steps_of(experiment):
            for pattern in getattr(rules, step).output:
                files.update(dict.fromkeys(expand(pattern, **values)))
    return list(files)


def value_of(key):
    """A parameter of a rule, as JSON: the value of a dotted key.

    All parameters of a rule go through this function or the next, which is how dvc.yaml knows them.
    """
    return Reader(lambda wildcards: json_of(config, key, wildcards), keys=[key])


def params_of(*names, **keys):
    """Parameters of a rule, as JSON: {name: value} of these sections of the experiment, and of dotted keys in it."""
    keys = {name: f"experiments.{{experiment}}.{key}" for name, key in (dict(zip(names, names)) | keys).items()}
    return Reader(lambda wildcards: json_of(config, keys, wildcards), keys=list(keys.values()))


def of_experiment(pattern, seeds=slice(None)):
    """Input function: the pattern with seeds (default: all), explanations and dataset of the wildcard's experiment."""
    fields = {"dataset": "dataset", "seed": "seeds"}

    def files(wildcards):
        experiment = config["experiments"][wildcards.experiment]
        values = {field: experiment.get(key, []) for field, key in fields.items()}
        values["seed"] = values["seed"][seeds]
        values["explanation"] = experiment.get("recording", {}).get("composites", ())
        return expand(pattern, experiment=wildcards.experiment, **values)

    read = fields | ({"seed": "seeds.0"} if seeds == slice(1) else {})
    keys = [f"experiments.{{experiment}}.{key}" for field, key in read.items() if f"{{{field}}}" in pattern]
    return Reader(files, keys=keys)


def of_first_seed(pattern):
    """Input function: the pattern with the first seed of the wildcard's experiment filled in."""
    return of_experiment(pattern, seeds=slice(1))


def of_shards(pattern):
    """Input function: the pattern with every shard of the wildcards' experiment, in order."""

    def files(wildcards):
        return expand(pattern, shard=shards_of(config["experiments"][wildcards.experiment]), **wildcards)

    return Reader(files, keys=["experiments.{experiment}.recording.shards"])


def image_folder(key):
    """The folder that a dataset of images reads, by the key that names it; none for other datasets, or if it is not there."""

    def folder_of(wildcards):
        path = config["datasets"][wildcards.dataset].get(key)
        folder = Path(path).expanduser() if path else None
        return str(folder) if folder and folder.is_dir() else None

    return folder_of


def images_of(key):
    """Input function: the files in a folder of images, so that a new one is noticed.

    But for names that Snakemake takes for patterns, or cannot write into its own files: those are read, too, but a change of them alone is not noticed.
    """
    folder_of = image_folder(key)

    def files(wildcards):
        folder, kind = folder_of(wildcards), config["datasets"][wildcards.dataset]["kind"]
        if folder is None:
            return []
        files_in = import_module(f"lrp_dynamics.data.{kind}").files_in
        return [path for path in map(str, files_in(Path(folder))) if shown(path) == path and not PATTERN.search(path)]

    return Reader(files, folder=folder_of)


def network_of(wildcards):
    """The files of an experiment's network, where it is the user's own."""
    model = config["experiments"][wildcards.experiment]["model"]
    return files_of(model) if is_own(model) else []


# Input function.
own_network = Reader(network_of, keys=["experiments.{experiment}.model"])

for _name, _experiment in config["experiments"].items():
    if is_own(_experiment.get("model", "")):
        try:
            files_of(_experiment["model"])
        except UserError as wrong:
            raise WorkflowError(f"params.yaml: experiments.{_name}.{wrong}")


def pictures_of(study, figures):
    """The pictures of some figures, with what the workflow's report says about them."""
    pictures = []
    for name, (title, story) in figures.items():
        caption = f"../../src/lrp_dynamics/studies/{study}/captions/{name}.rst"
        options = {"category": "{experiment}", "subcategory": story, "labels": {"figure": title}}
        pictures += [report(f"{REPORT}/figures/{name}.png", caption=caption, **options)]
    return pictures


def drawings_of(figures):
    """The same figures as SVG."""
    return [f"{REPORT}/figures/{name}.svg" for name in figures]


def table(path, what):
    """A table that the workflow's report shows."""
    return report(path, category="{experiment}", labels={"what": what})


def in_folder(folder, files):
    """The files, a name of each, in a folder."""
    return {name: f"{folder}/{file}" for name, file in files.items()}


def given(names):
    """Parameter of a rule: NAME=PATH of the inputs of these names, as the command line takes them."""

    def words(wildcards, input):
        files = {name: getattr(input, name) for name in names}
        return [
            f"{name}={path}" for name, found in files.items() for path in ([found] if isinstance(found, str) else found)
        ]

    return words


def paths(names):
    """Parameter of a rule: the inputs of these names, as the command line takes them."""
    return lambda wildcards, input: [word.partition("=")[2] for word in given(names)(wildcards, input)]


def options(names):
    """Parameter of a rule: --NAME PATH of the inputs of these names."""
    return lambda wildcards, input: [word for name in names for word in (f"--{name}", getattr(input, name))]


def if_kind(kind, pattern):
    """Input function: the pattern for an experiment of a kind, nothing for others."""

    def files(wildcards):
        found = config["experiments"][wildcards.experiment]["kind"]
        return expand(pattern, experiment=wildcards.experiment) if found == kind else []

    return files


def trials_of(pattern):
    """Input function: the pattern for each trial of the experiment's search."""

    def files(wildcards):
        search = config["experiments"][wildcards.experiment]["search"]
        return expand(pattern, experiment=wildcards.experiment, trial=range(number_of_trials(search)))

    return files


def threads_of(wildcards):
    """Number of threads of a training, and of what the trained network does."""
    return config["experiments"][wildcards.experiment]["training"]["threads"]


def gpus_of(wildcards):
    """Number of GPUs that a training asks for."""
    return int(config["experiments"][wildcards.experiment]["training"]["device"] != "cpu")


def memory_of(wildcards):
    """MB that a training asks for: as measured on the CPU, and room for the libraries of CUDA."""
    return 2000 + 3000 * gpus_of(wildcards)


# The image that holds the pinned packages; of this project's own code the jobs run what lies here.
# Elsewhere its path may have a space, which Snakemake refuses, whether the image is used or not.
IMAGE = source("containers/lrp-dynamics.sif") if AT_HOME or in_image(workflow) else None
if in_image(workflow):
    if not Path(IMAGE).exists():
        raise WorkflowError(
            f"{IMAGE} is not there, expected the image that jobs run in; make it once, in {ROOT}: "
            "apptainer build containers/lrp-dynamics.sif containers/lrp-dynamics.def"
        )
    os.environ.update(PYTHONPATH=str(ROOT / "src"))


# Each tool learns what the other one has done: see workflow/scripts/bridge.py. DVC knows of this folder alone.
if AT_HOME:
    refuse_links()
    if workflow.is_main_process and INNER not in os.environ:
        adopt_if_needed()


onstart:
    hold_run()
    if "DVC_STAGE" in os.environ:
        check_stage(workflow.dag)


onsuccess:
    if AT_HOME:
        record_results()


onerror:
    if AT_HOME:
        record_results()
    tell_failures(Path("logs"), since=STARTED)
