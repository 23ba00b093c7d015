"""The end of a page: which run it shows, what made it, and how to make it again.

All of it is of the run, so that a page that is made twice from the same results has the same bytes.
"""

import datetime
import json
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from lrp_dynamics import __version__
from lrp_dynamics.base.names import shown

NAME = "provenance.json"


def find_provenance(paths: Iterable[str | Path]) -> dict[str, Any]:
    """Return what the provenance.json of a training says; {} where there is none that can be read.

    It lies beside the recordings of a training, or one folder above them. No stage has it as an input, for it differs
    each time, where results do not.

    Parameters
    ----------
    paths : iterable of path
        Result files.
    """
    for folder in dict.fromkeys(parent for path in paths for parent in list(Path(path).parents)[:2]):
        try:
            found = json.loads((folder / NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            # Of a recording in shards, each has its own; they are of one code.
            shards = found.get("shards")
            return shards[0] if isinstance(shards, list) and shards and isinstance(shards[0], dict) else found
    return {}


def made_by(command: str | None = None, provenance: Mapping[str, Any] | None = None) -> str:
    """Return HTML for `framed(..., footer=...)`.

    Parameters
    ----------
    command : str, optional
        The command that makes the page again.
    provenance : mapping, optional
        What provenance.json holds: "started" (ISO 8601), "seconds", "commit", "device", "threads", "versions". What is
        missing is not told.

    Examples
    --------
    >>> print(made_by("make demo", {"commit": "a596cfd", "versions": {"torch": "2.11.0"}}))
    <p>Trained from commit <code>a596cfd</code>, with torch 2.11.0.</p>
    <p>To make this page again: <code>make demo</code></p>
    """
    told = _training(provenance or {}) or f"<p>Made by lrp-dynamics {__version__}.</p>"
    return told + (f"\n<p>To make this page again: <code>{escape(shown(command))}</code></p>" if command else "")


def _training(provenance: Mapping[str, Any]) -> str:
    parts = []
    if when := _date(provenance.get("started")):
        parts.append(f" on {when}")
    if commit := provenance.get("commit"):
        parts.append(f" from commit <code>{escape(shown(str(commit)))}</code>")
    if seconds := provenance.get("seconds"):
        parts.append(f" in {seconds:,.0f} s")
    if device := provenance.get("device"):
        threads = provenance.get("threads")
        number = f", {threads} {'thread' if threads == 1 else 'threads'}" if threads else ""
        parts.append(f" ({escape(shown(str(device)))}{number})")
    versions = provenance.get("versions") or {}
    if versions:
        parts.append(
            ", with " + ", ".join(f"{escape(shown(f'{name} {version}'))}" for name, version in versions.items())
        )
    return f"<p>Trained{''.join(parts)}.</p>" if parts else ""


def _date(text: Any) -> str:
    try:
        when = datetime.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return ""
    return f"{when:%Y-%m-%d, %H:%M} {when.tzname() or ''}".strip()
