"""The jobs of the workflow, as Snakemake plans them: loaded through its API, nothing run and nothing printed."""

import contextlib
import io
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.settings.types import DAGSettings, OutputSettings, ResourceSettings
from snakemake_internals import dag_of, rules_of

# Set while this project's own scripts load the Snakefile, so that it does not start them again.
INNER = "LRP_DYNAMICS_INNER"
# As in profiles/default: content decides, whatever the size.
CHECKSUM_LIMIT = 1 << 40


@contextlib.contextmanager
def planned(targets: Iterable[str] = ("all", "gpu"), *, forceall: bool = False) -> Iterator[Any]:
    """Yield Snakemake's DAG for the targets, of the Snakefile in the current folder.

    Parameters
    ----------
    targets : iterable of str
        Rules or files.
    forceall : bool
        Plan every job, whatever exists, without reading a file; otherwise `must_run` says which must run.
    """
    before = os.environ.get(INNER)
    os.environ[INNER] = "1"
    # Snakemake takes this signal for its jobs, of which there are none here, and would leave it without effect.
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        with contextlib.ExitStack() as stack:
            # Snakemake's log goes to the standard error of the moment when the API starts.
            with contextlib.redirect_stderr(io.StringIO()):
                api = stack.enter_context(SnakemakeApi(OutputSettings(dryrun=True)))
                workflow = api.workflow(ResourceSettings(cores=1), snakefile=Path("Snakefile"))
                settings = DAGSettings(
                    targets=frozenset(targets),
                    forceall=forceall,
                    force_incomplete=True,  # as in profiles/default: what a killed job has left must be made again
                    max_checksum_file_size=CHECKSUM_LIMIT,
                )
                try:
                    workflow.dag(settings).execute_workflow(executor="dryrun")
                finally:
                    signal.signal(signal.SIGTERM, terminate)
            yield dag_of(workflow)
    finally:
        if before is None:
            del os.environ[INNER]
        else:
            os.environ[INNER] = before


def real_jobs(dag: Any) -> list[Any]:
    """Return the jobs that make files, in an order that depends on nothing but the workflow."""
    jobs = [job for job in dag.jobs if job.output]
    order = rules_of(dag)
    return sorted(jobs, key=lambda job: (order.index(job.rule.name), stage_name(job)))


def stage_name(job: Any) -> str:
    """Return the name of a job's DVC stage: its rule and its wildcards, such as train-demo-0."""
    return "-".join([job.rule.name, *map(str, job.wildcards)])
