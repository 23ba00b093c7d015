"""After a failed run: one message at the end that says what is missing and why."""

import sys
from pathlib import Path

PREFIX = "lrp-dynamics: error: "


def tell_failures(logs: Path, since: float) -> None:
    """Print why stages failed that the user can mend, as the logs written after the time `since` give it."""
    reasons = {}
    for log in sorted(path for path in logs.rglob("*.log") if path.stat().st_mtime >= since):
        lines = log.read_text(errors="replace", encoding="utf-8").splitlines()
        starts = [i for i, line in enumerate(lines) if line.startswith(PREFIX)]
        if starts:
            reasons["\n    ".join([lines[starts[-1]].removeprefix(PREFIX), *lines[starts[-1] + 1 :]])] = log
    if reasons:
        print("\nSome results could not be made; everything that does not need them has been.", file=sys.stderr)
    for reason, log in reasons.items():
        print(f"  {log.parent.name} {log.stem}: {reason}", file=sys.stderr)
