"""Describe finished experiments as a Workflow Run RO-Crate: ro-crate-metadata.json in the root of the project.

With --zip FILE also pack it with all files that it names. Where results have another licence, give its address.

Examples:
  python workflow/scripts/crate.py demo
  python workflow/scripts/crate.py demo blog --zip crate.zip --license https://spdx.org/licenses/CC-BY-4.0
"""

import argparse
import datetime
import json
import mimetypes
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "src"))
from dag import planned, real_jobs
from snakemake_internals import config_of

from lrp_dynamics import __version__
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import atomic, sha256

METADATA = Path("ro-crate-metadata.json")
WORKFLOW = "workflow/Snakefile"
DIAGRAM = "docs/images/rulegraph.svg"
AUTHORS = "#authors"
LANGUAGE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
LICENSE = "https://spdx.org/licenses/BSD-3-Clause"
CRATE = "https://w3id.org/ro/crate/1.1"
CONTEXT = [f"{CRATE}/context", "https://w3id.org/ro/terms/workflow-run/context"]
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
FORMATS = {
    "": "text/plain",
    ".md": "text/markdown",
    ".h5": "application/x-hdf5",
    ".ipynb": "application/x-ipynb+json",
    ".yaml": "application/yaml",
}


def crate(names: list[str], license: str = LICENSE) -> tuple[dict[str, Any], list[str]]:
    """Return the metadata of experiments, and the files that they name.

    Raises
    ------
    UserError
        If there is no such experiment, or it is not finished.
    """
    with planned(forceall=True) as dag:
        known, jobs = config_of(dag), real_jobs(dag)
    made = {name: [] for name in known["experiments"]}
    for job in jobs:
        if name := getattr(job.wildcards, "experiment", None):
            made[name] += map(str, job.output)
    for name in names:
        if name not in made:
            raise UserError(f"experiment: found {name!r}, expected one of params.yaml: {', '.join(made)}")
        if missing := [path for path in made[name] if not Path(path).exists()]:
            raise UserError(f"experiment {name} is not finished, {missing[0]} is not there; run: snakemake")
    things, actions, software, commits = [], [], {}, set()
    datasets = {name: f"data/{known['experiments'][name]['dataset']}.h5" for name in names}
    for name in names:
        runs = [run for path in made[name] if path.endswith("provenance.json") for run in _runs(Path(path))]
        values = [
            {"@id": f"#{quote(key)}", "@type": "PropertyValue", "name": key, "value": value}
            for key, value in _leaves(known["experiments"][name], f"experiments.{name}")
        ]
        things += values
        given = ["params.yaml", datasets[name]]
        actions.append(_action(name, runs, [*map(quote, given), *(value["@id"] for value in values)], made[name]))
        commits |= {run["commit"] for run in runs if run.get("commit")}
        software |= {f"{key} {number}": (key, number) for run in runs for key, number in run["versions"].items()}
    files = list(dict.fromkeys([*datasets.values(), *(path for name in names for path in made[name])]))
    for key, number in software.values():
        things.append({"@id": _software(key, number), "@type": "SoftwareApplication", "name": key, "version": number})
    main = {
        **_file(WORKFLOW),
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "LRP Dynamics",
        "description": "What does a network's explanation do while the network learns?",
        "programmingLanguage": {"@id": LANGUAGE},
        "version": ", ".join(sorted(commits)) or __version__,
        "license": {"@id": LICENSE},
        "author": {"@id": AUTHORS},
        "image": {"@id": DIAGRAM},
        "softwareRequirements": [{"@id": _software(*one)} for one in software.values()],
    }
    parts = [
        main,
        _file("README.md") | {"about": {"@id": "./"}},
        _file("params.yaml") | {"description": "All parameters; those of the runs are listed one by one, too"},
        _file(DIAGRAM) | {"@type": ["File", "ImageObject"], "about": {"@id": WORKFLOW}},
        *map(_file, files),
    ]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"LRP Dynamics: {', '.join(names)}",
        "description": f"Data, results and reports of {', '.join(names)}, and the workflow that made them",
        "datePublished": max(action["endTime"] for action in actions),
        "license": {"@id": license},
        "author": {"@id": AUTHORS},
        "conformsTo": _references(PROFILES),
        "mainEntity": {"@id": WORKFLOW},
        "hasPart": _references(part["@id"] for part in parts),
        "mentions": _references(action["@id"] for action in actions),
    }
    descriptor = {
        "@id": str(METADATA),
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": _references([CRATE, "https://w3id.org/workflowhub/workflow-ro-crate/1.0"]),
    }
    address = {"@id": "https://snakemake.github.io"}
    context = [
        *({"@id": key, "@type": "CreativeWork", "name": name, "version": v} for key, (name, v) in PROFILES.items()),
        {"@id": LANGUAGE, "@type": "ComputerLanguage", "name": "Snakemake", "identifier": address, "url": address},
        {"@id": AUTHORS, "@type": "Organization", "name": "The LRP Dynamics authors"},
        *({"@id": one, "@type": "CreativeWork", "name": one.rpartition("/")[2]} for one in {LICENSE: 0, license: 0}),
    ]
    content = {"@context": CONTEXT, "@graph": [descriptor, root, *parts, *actions, *things, *context]}
    return content, [WORKFLOW, "README.md", "params.yaml", DIAGRAM, *files]


def _runs(path: Path) -> list[dict[str, Any]]:
    """Return what a provenance.json says of each training; those of shards are of one."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return found.get("shards", [found])


def _action(name: str, runs: list[dict[str, Any]], given: list[str], made: list[str]) -> dict[str, Any]:
    """Return what was done: it began with the first training that is noted, and ended with the last file."""
    ended = max(Path(path).stat().st_mtime for path in made)
    told = [
        f"{run['seconds']} s on {run['device']}, {run['threads']} threads, from commit {run.get('commit') or 'unknown'}"
        for run in runs
    ]
    action = {
        "@id": f"#run-{name}",
        "@type": "CreateAction",
        "name": f"Run of the experiment {name}",
        "description": f"Trainings: {'; '.join(told) or 'none'}",
        "instrument": {"@id": WORKFLOW},
        "endTime": datetime.datetime.fromtimestamp(int(ended), datetime.UTC).isoformat(),
        "object": _references(given),
        "result": _references(map(quote, made)),
    }
    return action | ({"startTime": min(run["started"] for run in runs)} if runs else {})


def _file(path: str) -> dict[str, Any]:
    """Return the description of a file."""
    kind = FORMATS.get(Path(path).suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    size = str(Path(path).stat().st_size)
    about = {"name": Path(path).name, "contentSize": size, "encodingFormat": kind, "sha256": sha256(Path(path))}
    return {"@id": quote(path), "@type": "File", **about}


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield every value of nested parameters with its dotted key; those that JSON-LD has no value for as text."""
    if isinstance(value, Mapping) and value:
        for name, one in value.items():
            yield from _leaves(one, f"{key}.{name}")
    else:
        yield key, value if isinstance(value, str | int | float) else json.dumps(value)


def _software(name: str, version: str) -> str:
    return f"#{quote(name)}-{quote(version)}"


def _references(ids: Iterable[str]) -> dict[str, str] | list[dict[str, str]]:
    found = [{"@id": one} for one in ids]
    return found[0] if len(found) == 1 else found


def main(arguments: list[str] | None = None) -> int:
    """Write the metadata; return 2 after a mistake that is told in one sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="+", metavar="EXPERIMENT", help="a finished one of params.yaml")
    parser.add_argument("--zip", type=Path, metavar="FILE", help="a new file")
    parser.add_argument("--license", default=LICENSE, metavar="URL", help="of the results (default: as the code)")
    args = parser.parse_args(arguments)
    pack = args.zip and args.zip.absolute()
    os.chdir(ROOT)
    try:
        content, files = crate(list(dict.fromkeys(args.experiments)), args.license)
        with atomic(METADATA) as temporary:
            temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if pack:
            with atomic(pack) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as packed:
                for path in [str(METADATA), *files]:
                    packed.write(path)
    except (UserError, OSError) as error:
        print(f"crate.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
