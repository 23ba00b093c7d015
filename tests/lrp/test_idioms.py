"""However a network is written, it is explained right, or refused in a sentence."""

import pytest
import torch

from lrp_dynamics import lrp
from lrp_dynamics.base.errors import UserError

from .idioms import IDIOMS, live_state, unlike
from .verdict import COMPOSITES, faults, relative, target_for, verdict


def those(choose):
    """Return the idioms of a choice as parameters."""
    long = [pytest.mark.long]
    return [pytest.param(i, id=name, marks=long if i.long else ()) for name, i in IDIOMS.items() if choose(i)]


def with_parameters_of(net, twin):
    """Return a network written in another way with the same parameters, by their names, or else in their order."""
    for wrapper in ("_orig_mod", "module"):
        net = getattr(net, wrapper, net)
    twin = twin.eval().to(next(net.parameters()).dtype)
    if hasattr(twin, "take"):  # weights that the network computes
        twin.take(net)
        return twin
    have, wanted = net.state_dict(), twin.state_dict()
    by_name = {name: have.get(name.replace("conv2.", "conv2._orig_mod.", 1), have.get(name)) for name in wanted}
    in_order = dict(zip(wanted, have.values(), strict=False))
    twin.load_state_dict(by_name if None not in by_name.values() else in_order)
    return twin


@pytest.mark.parametrize("idiom", those(lambda i: not i.refused))
def test_right_or_refused(idiom):
    """Output, books, and the gradient where the network is piecewise linear."""
    net, x = idiom.build()
    found = verdict(net, x, idiom.linear)
    refused = {c: s for c, s in found["refused"].items() if s}
    if idiom.refused is None:
        assert not refused
    assert not faults(found, idiom.output)


@pytest.mark.parametrize("idiom", those(lambda i: i.same))
def test_the_same_function_has_the_same_map(idiom):
    """Whatever the rule: it sees the layers, not how they are written."""
    net, x = idiom.build()
    with torch.no_grad():
        net.double()(x)
    twin = with_parameters_of(net, idiom.same())
    for composite in COMPOSITES:
        target = target_for(twin(x).detach())
        expected = lrp.relevance(twin, x, target, composite)
        found = lrp.relevance(net, x, target, composite)
        assert relative(found.input, expected.input) < idiom.near, composite
        assert relative(found.initial, expected.initial) < 1e-10, composite


@pytest.mark.parametrize("idiom", those(lambda i: i.refused))
def test_refused_in_a_sentence(idiom):
    """That says what stands in the way; where the forward looks at values, the line that does."""
    net, x = idiom.build()
    with pytest.raises(UserError, match=idiom.refused) as refused:
        lrp.relevance(net.double(), x, "predicted", "epsilon")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("idiom", those(lambda i: i.refused is None))
def test_the_network_stays_as_it_is(idiom):
    """Attributes, counters, lists, buffers, hooks and modes."""
    net, x = idiom.build()
    with torch.no_grad():
        output = net(x.float())
    before, mode = live_state(net), [m.training for m in net.modules()]
    lrp.relevance(net, x.float(), target_for(output), "epsilon")
    assert unlike(before, live_state(net)) == []
    assert mode == [m.training for m in net.modules()]
