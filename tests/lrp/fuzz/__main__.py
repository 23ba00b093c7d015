"""Explain random networks for some time; print each failing seed with its network, as small as it still fails.

``python -m tests.lrp.fuzz --seconds 60 --seed 0``
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections import Counter
from collections.abc import Iterable

import torch

from .cases import check
from .nets import build
from .pieces import Skip


def smallest(seed: int, wrong: list[str]) -> tuple[frozenset[int], list[str]]:
    """Return which pieces of a failing network can be left out, and what is wrong then."""
    without, kind = frozenset(), wrong[0].split(":")[0].split(" off")[0]
    for _ in range(2):
        for k in range(10):
            if k not in without:
                try:
                    now = check(seed, without | {k})
                except Skip:
                    continue
                if now and now[0].split(":")[0].split(" off")[0] == kind:
                    without, wrong = without | {k}, now
    return without, wrong


def run(seeds: Iterable[int], seconds: float = math.inf, stop_at: int = 20) -> tuple[Counter, dict[int, list[str]]]:
    """Check the networks of some seeds, for some time at most; return counts and what is wrong with which seed."""
    end, tally, failures = time.monotonic() + seconds, Counter(), {}
    for seed in seeds:
        try:
            if wrong := check(seed, tally=tally):
                failures[seed] = wrong
        except Skip:
            pass
        if time.monotonic() > end or len(failures) == stop_at:
            break
    return tally, failures


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stop-at", type=int, default=20, help="number of failing networks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tally, failures = run(itertools.count(options.seed), options.seconds, options.stop_at)
    for seed, wrong in failures.items():
        without, now = smallest(seed, wrong)
        print(f"seed {seed} without {sorted(without)}: {'; '.join(now)}")
        print(build(seed, without).description())
    print(f"{len(failures)} failing of {dict(tally)}")
    return bool(failures)


if __name__ == "__main__":
    raise SystemExit(main())
