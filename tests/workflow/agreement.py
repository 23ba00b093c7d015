"""For each leaf of params.yaml: change it, and ask both tools what must run. Prints JSON; run in a project's folder.

Outputs are dummies, so that the whole workflow can be asked about without running it.
"""

import copy
import ctypes
import functools
import gc
import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

sys.path[:0] = ["workflow/scripts", "src"]
import bridge
import dvc_yaml
import parameters
import reference
import snakemake_internals
from dag import planned, real_jobs, stage_name
from dvc.output import Output
from dvc.repo import Repo
from dvc.utils.serialize import _yaml

PARAMS = Path("params.yaml")

# DVC parses params.yaml anew for each stage; here some hundred times for each leaf.
_parse = functools.cache(_yaml.parse_yaml)
_yaml.parse_yaml = lambda *args, **kwargs: copy.deepcopy(_parse(*args, **kwargs))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that is; on Linux, the only one that can."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:  # too late
            os._exit(1)


def start_child(function: Callable[[], Any]) -> Any:
    """Call a function in a forked process, so that neither tool keeps a state; return where its answer arrives."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    parent = os.getpid()

    def answer() -> None:
        die_with_parent(parent)
        sender.send(function())

    context.Process(target=answer).start()
    sender.close()
    return receiver


def in_child(function: Callable[[], Any]) -> Any:
    """Call a function in a forked process and return its answer."""
    return start_child(function).recv()


def make_dummies() -> None:
    """Give each job outputs, and let both tools believe that they are the right ones."""
    with planned(forceall=True) as dag:
        jobs = real_jobs(dag)
        for job in jobs:
            for path in map(Path, job.output):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{path}\n", encoding="utf-8")
        dag.workflow.iocache.deactivate()  # which knows that nothing has been there
        for job in jobs:
            snakemake_internals.note_current(dag, job)


def leaves(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of each value that is no mapping."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    else:
        yield path


def vocabulary(schema: Any) -> Iterator[Any]:
    """Yield each value that the schema names."""
    if isinstance(schema, dict):
        yield from schema.get("enum", [])
        yield from ([schema["const"]] if "const" in schema else [])
        for value in schema.values():
            yield from vocabulary(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from vocabulary(value)


def other_values(value: Any, words: list[Any]) -> Iterator[Any]:
    """Yield values to try in place of one."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value * 2, value / 2, value - 1, value + 0.05, 1 - value, *words)
    elif isinstance(value, list):
        yield value[:-1]
        yield from (value + [other] for other in other_values(value[-1] if value else 1, words))
    elif isinstance(value, str):
        yield from (value + "x", value[::-1], "auto", *words)
    else:
        yield from (1, 100, 0.05, "x", {}, *words)


def nudged(params: dict, path: tuple, words: list[Any]) -> dict | None:
    """Return the parameters with one leaf changed to a value that the schema allows, or None if there is none."""
    value = params
    for key in path:
        value = value[key]
    for other in other_values(value, words):
        if other == value:
            continue
        result = copy.deepcopy(params)
        node = result
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = other
        if parameters.problem(result) is None:
            return result
    return None


def what_snakemake_says() -> tuple[list[str], str]:
    with planned() as dag:
        return [
            stage_name(job) for job in real_jobs(dag) if snakemake_internals.must_run(dag, job)
        ], dvc_yaml.text_of_dag(dag)


def what_dvc_says() -> list[str]:
    with Repo() as repo:
        return list(repo.status())


def prepared_dvc() -> Callable[[], list[str]]:
    """Return what asks DVC as `what_dvc_says` does, as long as no file changes but params.yaml: it reads only that."""
    repo, get_hash, known = Repo(), Output.get_hash, {}

    def hash_once(output: Output) -> Any:
        if output.fs_path not in known:
            known[output.fs_path] = get_hash(output)
        return known[output.fs_path]

    def ask_again() -> list[str]:
        Output.get_hash = hash_once
        return list(repo.status())

    repo.status()
    repo._reset = lambda: None  # keeps the stages of dvc.yaml
    ask_again()
    Output.get_hash = get_hash
    return ask_again


def ask(params: dict, paths: list[tuple | None]) -> dict[str, dict | None]:
    """Change one leaf after the other, ask both tools, and return their answers by dotted key; None means no change."""
    dvc_again = prepared_dvc()
    text, stages = PARAMS.read_text(encoding="utf-8"), dvc_yaml.FILE.read_text(encoding="utf-8")
    words = list(
        dict.fromkeys([*vocabulary(yaml.safe_load(reference.SCHEMA.read_text(encoding="utf-8"))), *params["datasets"]])
    )
    answers: dict[str, dict | None] = {}
    for path in paths:
        key = "" if path is None else ".".join(path)
        other = params if path is None else nudged(params, path, words)
        if other is None:
            answers[key] = None
            continue
        PARAMS.write_text(yaml.safe_dump(other, sort_keys=False), encoding="utf-8")
        dirty = in_child(dvc_again)
        told = bridge.CHECK in dirty
        names, dvc_yaml_text = in_child(what_snakemake_says)
        if dvc_yaml_text != stages:
            dvc_yaml.FILE.write_text(dvc_yaml_text, encoding="utf-8")
            dirty = in_child(what_dvc_says)
        answers[key] = {
            "snakemake": names,
            "dvc": dirty,
            "told": told,
            # What dvc.yaml must be from now on, where that has changed.
            "stages": yaml.safe_load(dvc_yaml_text)["stages"] if dvc_yaml_text != stages else None,
        }
        PARAMS.write_text(text, encoding="utf-8")
        dvc_yaml.FILE.write_text(stages, encoding="utf-8")
    return answers


def ask_in(folder: Path, params: dict, paths: list[tuple | None]) -> dict[str, dict | None]:
    os.chdir(folder)
    return ask(params, paths)


def main() -> None:
    die_with_parent(os.getppid())
    gc.disable()  # it would copy, in each forked process, the memory that all of them share
    # Once in this process, so that the children need not import again what both tools import late.
    what_snakemake_says()
    what_dvc_says()
    in_child(make_dummies)
    in_child(bridge.record)
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    paths = [None, *leaves(params)]
    other = Path.cwd().with_name("other-half")
    shutil.copytree(Path.cwd(), other, symlinks=True)
    receivers = [start_child(lambda: ask(params, paths[::2])), start_child(lambda: ask_in(other, params, paths[1::2]))]
    print(json.dumps({key: value for receiver in receivers for key, value in receiver.recv().items()}))


if __name__ == "__main__":
    main()
