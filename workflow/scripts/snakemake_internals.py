"""All that is taken from Snakemake beside its documented interface; a test holds it for the version that is installed.

Snakemake has an API to run a workflow, but none to ask about its jobs, nor to say of an output that it is current.
"""

import asyncio
import base64
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def keep_logs(workflow: Any, root: Path) -> None:
    """Give every rule that makes files a log and a benchmark, as its directives would; called after the last rule.

    Of the rules in files below `root`: where these are a module, other rules are none of theirs.
    """
    for rule in workflow.rules:
        if rule.output and Path(rule.snakefile).is_relative_to(root):
            wildcards = dict.fromkeys(re.findall(r"{(\w+)", rule.output[0]))
            name = f"{rule.name}/{'-'.join(f'{{{wildcard}}}' for wildcard in wildcards)}"
            rule.log_modifier = rule.benchmark_modifier = rule.output_modifier
            rule.set_log(f"logs/{name}.log")
            rule.benchmark = f"logs/benchmarks/{name}.tsv"


def make_default(workflow: Any, rule: str) -> None:
    """Let a rule of an included file be what `snakemake` alone makes."""
    workflow.default_target = rule


def reads_configfile(workflow: Any) -> bool:
    """Whether `configfile` has an effect: not in a module that is given its parameters."""
    return not workflow.modifier.skip_configfile


def moves_files(workflow: Any) -> bool:
    """Whether the rules are those of a module with `prefix` or `replace_prefix`."""
    modifier = getattr(workflow.modifier, "path_modifier", None)
    return modifier is not None and bool(modifier.prefix or modifier.modifies_prefixes)


def in_image(workflow: Any) -> bool:
    """Whether jobs run in a container, by `--software-deployment-method apptainer`."""
    return any(method.name == "APPTAINER" for method in workflow.deployment_settings.deployment_method)


def dag_of(workflow: Any) -> Any:
    """Return the DAG of a workflow of the API, after `execute_workflow`."""
    return workflow._workflow.dag


def rules_of(dag: Any) -> list[str]:
    """Return the names of all rules, in the order of the Snakefile."""
    return [rule.name for rule in dag.workflow.rules]


def config_of(dag: Any) -> dict[str, Any]:
    """Return the content of params.yaml, as the Snakefile has read it."""
    return dag.workflow.config


def names_of(dag: Any) -> dict[str, Any]:
    """Return what the Snakefile and the files that it includes have defined, by name."""
    return dag.workflow.globals


def must_run(dag: Any, job: Any) -> bool:
    """Whether Snakemake would run a job, as it has planned."""
    return dag.needrun(job)


def jobs_before(dag: Any, job: Any) -> Iterable[Any]:
    """Return the jobs whose outputs a job reads."""
    return dag.dependencies[job]


def sources_of(job: Any) -> list[Any]:
    """Return what a job's rule takes inputs and parameters from, as written: values, and functions of wildcards."""
    return [*job.rule.input, *job.rule.params]


def constants_of(job: Any) -> dict[str, Any]:
    """Return, by name, the parameters of a job that depend on no input, output or resource."""
    return {name: value for name, value in job.params.items() if value in job.non_derived_params}


def command_of(job: Any) -> str:
    """Return the shell command of a job's rule, its fields not filled in."""
    return job.rule.shellcmd


def is_foreign(path: str) -> bool:
    """Whether an output was not written by Snakemake, or not last, by the note that Snakemake keeps of each.

    The note is a file named after the output's path, long names cut into folders; it has the time of the output.
    """
    name = base64.urlsafe_b64encode(path.encode()).decode()
    parts = [name[i : i + 254] for i in range(0, len(name), 254)]
    note = Path(".snakemake", "metadata", *("@" + part for part in parts[:-1]), parts[-1])
    try:
        return json.loads(note.read_text(encoding="utf-8")).get("endtime") != os.stat(path).st_mtime
    except (OSError, ValueError):
        return True


def is_locked() -> bool:
    """Whether a run is under way in this folder, or one was killed and its lock has not been taken away."""
    return any(Path(".snakemake/locks").glob("*.lock"))


def note_current(dag: Any, job: Any) -> None:
    """Write the notes of a job's outputs as if Snakemake had just made them."""
    asyncio.run(dag.workflow.persistence.finished(job))


def note_unknown(dag: Any, job: Any, reason: str) -> None:
    """Write notes of a job's outputs with which it must run, for a reason that Snakemake shows as parameters.

    Their time is not that of the files: these stay foreign, as the parameters may come back.
    """
    from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord

    note = MetadataRecord(
        record_format_version=RECORD_FORMAT_VERSION, rule=job.rule.name, params=[repr(reason)], endtime=-1.0
    )
    for path in job.output:
        dag.workflow.persistence._write_record(str(path), note)
