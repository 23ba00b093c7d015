"""Random networks of the whole set of operations against dense float64 algebra; see the package fuzz."""

import itertools
import random
from functools import partial

import pytest
import torch

from .fuzz.__main__ import run
from .fuzz.cases import distance, start
from .fuzz.nets import build
from .fuzz.oracle import jacobian, oracle
from .fuzz.pieces import Skip


def described(failures):
    return "\n".join(f"seed {seed}: {'; '.join(wrong)}" for seed, wrong in failures.items())


def test_random_networks():
    tally, failures = run(range(40))
    assert not failures, described(failures)
    assert tally["nets"] > 30
    assert tally["gradients"] > 5


@pytest.mark.long
def test_many_random_networks():
    failures = run(itertools.count(1_000_000), seconds=30)[1]
    assert not failures, described(failures)


def networks(count, samples=2):
    for seed in range(count):
        try:
            yield build(seed, samples=samples)
        except Skip:
            continue


def test_jacobians_are_those_of_torch():
    for g in networks(15, samples=1):
        for out, step in g.steps.items():
            xs = [g.values[i] for i in step.reads]
            if g.values[out].isinf().any() or any(x.isinf().any() for x in xs):
                continue
            for k in range(len(xs)):
                of = partial(alone, step.function, g.net, xs, k)
                theirs = torch.autograd.functional.jacobian(of, xs[k]).reshape(g.values[out].numel(), -1)
                torch.testing.assert_close(jacobian(step.function, g.net, xs, k)[0], theirs.T, rtol=0, atol=1e-12)


def alone(function, net, xs, k, x):
    return function(net, *xs[:k], x, *xs[k + 1 :])


def test_the_steps_are_what_the_network_computes():
    for g in networks(40):
        with torch.no_grad():
            assert distance(g.net(g.values[0].clone()), g.values[max(g.values)]) < 1e-10, g.description()


def test_the_oracle_s_flat_rule_conserves():
    for g in networks(40):
        scores = max(g.values)
        if g.steps[scores].kind != "weighted":
            continue
        r = start(g.values[scores], random.Random(g.seed))[2]
        composite = {"*": {"rule": "flat", "epsilon": 0.0, "relative": 0.0, "signed": False}}
        found = oracle(g, composite, r, None, g.values)[g.steps[scores].reads[0]]
        torch.testing.assert_close(found.reshape(len(r), -1).sum(1), r.reshape(len(r), -1).sum(1))
