"""Record what a network computes, as calls of functional ATen operations.

A copy of its structure is run, in eval mode, on a batch of two and on a batch of three zeros: real Python runs, so that
any code style works, and torch's functionalization leaves no in-place writes. What differs between the two runs is
what depends on the number of samples.
"""

from __future__ import annotations

import gc
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.lrp.arguments import refuse_output
from lrp_dynamics.lrp.program import Count, Program, arguments, dependencies
from lrp_dynamics.lrp.recording import Recording, is_users, record
from lrp_dynamics.lrp.samples import axis_of, outer_of
from lrp_dynamics.lrp.structure import hooked, refuse_lazy, takes_more

FEW, MORE = 2, 3  # samples of the two runs


def capture(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> Program:
    """Return the program of a model.

    Parameters
    ----------
    model
        Any module; it is not run and not changed.
    shape
        Of one sample.
    dtype
        In which the model's floating tensors are taken.

    Raises
    ------
    UserError
        If the model fails for such inputs, branches on values, draws random numbers or returns no single tensor; with
        the line of its code.
    """
    refuse_lazy(model)
    if names := hooked(model):
        warnings.warn(
            f"hooks of {', '.join(map(repr, names[:3]))} do not run here: if they change values, the network is "
            "explained as it would be without them",
            stacklevel=2,
        )
    few, outputs = None, []
    for n in (FEW, MORE):
        recording = Recording(dtype)
        try:
            with random_states_kept(), no_collection():
                output = record(model, (n, *shape), dtype, recording)
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise failure(error, recording, shape, model) from error
        refuse_output(output)
        outputs.append(recording.index.get(id(output)))
        few, more = (recording, None) if few is None else (few, recording)
    if [call.op for call in few.calls] != [call.op for call in more.calls] or outputs[0] != outputs[1]:
        raise UserError(
            "the model computes differently for two and for three samples; explain what they have in common"
        )
    calls = []
    for a, b in zip(few.calls, more.calls, strict=True):
        args, kwargs = both((a.args, a.kwargs), (b.args, b.kwargs), a.line)
        calls.append(replace(a, args=args, kwargs=kwargs))
    shapes = [both(tuple(a.shape), tuple(b.shape), "") for a, b in zip(few.kept, more.kept, strict=True)]
    for value, source in few.values.items():
        if isinstance(source, Tensor) and not torch.equal(source, more.values[value]):
            raise UserError("the model makes constants that depend on the number of samples, which cannot be followed")
    program = Program(
        calls, shapes, [t.is_floating_point() or t.is_complex() for t in few.kept], few.values, few.active, outputs[0],
        few.reads, {path: value for path, value in few.outputs.items() if value is not None},
    )  # fmt: skip
    return needed(program)


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Leave the generators of random numbers as they were, which a forward may draw from."""
    own, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002 (what a forward may use)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(own)
        np.random.set_state(numpys)  # noqa: NPY002


@contextmanager
def no_collection() -> Iterator[None]:
    """Let Python not look for garbage meanwhile: none arises, and each look at all objects of torch takes .2 s."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def both(few: Any, more: Any, where: str) -> Any:
    """Return what both runs have in common; integers that differ as `Count`."""
    if isinstance(few, (tuple, list)) and isinstance(more, (tuple, list)) and len(few) == len(more):
        return type(few)(both(a, b, where) for a, b in zip(few, more, strict=True))
    if isinstance(few, dict) and few.keys() == more.keys():
        return {key: both(few[key], more[key], where) for key in few}
    if type(few) is int and type(more) is int and few != more:
        step = more - few
        return Count(few - FEW * step, step)
    if few == more or (few != few and more != more):  # NaN differs from itself
        return few
    raise UserError(f"the model computes with the number of samples in its batch ({few} and {more}), at {where}")


def needed(program: Program) -> Program:
    """Leave out the calls that the output does not need; refuse random ones among the others."""
    wanted, calls = {program.output, *program.reads}, []
    for call in reversed(program.calls):
        if call.output in wanted:
            wanted.update(dependencies(call.name, call.args, call.kwargs))
            calls.append(call)
            if torch.Tag.nondeterministic_seeded in call.op.tags and arguments(call).get("training") is not False:
                raise UserError(f"the model draws random numbers in eval mode, at {call.line}; make them constants")
    if program.shapes[program.output][:1] != (Count(0, 1),):
        raise UserError("the first dimension of the model's output is not that of the samples")
    if 0 not in wanted:
        raise UserError("the model's output does not depend on its input")
    sources = {value: source for value, source in program.sources.items() if value in wanted | program.reads.keys()}
    axes, outer = [axis_of(shape) for shape in program.shapes], [1] * len(program.shapes)
    for call in reversed(calls):
        if call.output in program.active:
            around = outer_of(call, program, axes, outer)
            if around is None:
                raise UserError(
                    f"the model mixes its samples by {call.name!r} at {call.line}: a map would depend on its batch "
                    "mates; each value must keep one dimension for the samples"
                )
            outer[call.output] = around
    return replace(program, calls=calls[::-1], sources=sources, axes=axes, outer=outer)


def failure(error: Exception, recording: Recording, shape: tuple[int, ...], model: nn.Module) -> UserError:
    """Return the error for a forward that fails, with the layer and the line where it does."""
    layer, line, trace = "", "", error.__traceback__
    while trace is not None:
        own = id(trace.tb_frame.f_locals.get("self"))
        if recording.modules.get(own):
            layer = f"layer {recording.modules[own]!r} ({type(trace.tb_frame.f_locals['self']).__name__}) of "
        if is_users(trace.tb_frame):
            line = f", at {trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
        trace = trace.tb_next
    told = (str(error).strip() or type(error).__name__).splitlines()[0]
    sizes = ", ".join(map(str, (FEW, *shape)))
    return UserError(f"{layer}the model fails for an input of shape ({sizes}){line}: {told}{takes_more(model, error)}")
