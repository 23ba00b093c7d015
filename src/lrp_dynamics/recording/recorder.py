"""Record the relevance maps of fixed samples while a network trains, in any PyTorch loop.

recorder = Recorder("relevance.h5", model, samples, targets)
with recorder:
    recorder.record(0)                                   # the untrained network
    for iteration, (x, y) in enumerate(batches, start=1):
        ...one training step...
        recorder.record(iteration, loss=loss.item())
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lrp_dynamics import lrp
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import canonical_json
from lrp_dynamics.recording import checksums
from lrp_dynamics.recording.arguments import (
    check_attributes,
    check_details,
    check_samples,
    check_state,
    map_shape,
    number,
    whole,
)
from lrp_dynamics.recording.attributors import Attributor
from lrp_dynamics.recording.explainers import Explainer, fixed, make_explainer
from lrp_dynamics.recording.shards import BATCH
from lrp_dynamics.recording.store import ACCUMULATORS, BLOCK, SCALARS, STEPS, class_type
from lrp_dynamics.recording.sums import Parcel, Sums, describe, quantize
from lrp_dynamics.recording.writer import RelevanceWriter

_OF_A_MAP = tuple(name for name in SCALARS if name != "step_divergence")  # which is of two


class Recorder:
    """Writes the relevance maps of fixed samples to HDF5 after training steps.

    Explaining and summing up happen in `record`, compressing and writing in a thread beside the training. `record` may
    be called from any thread; calls are taken one after another. A forked process has a copy that refuses to record.

    The model is only read: its parameters, gradients, buffers, mode, hooks and the random state are the same after
    `record` as before, and a training with a recorder gives bit for bit the weights of a training without.

    Parameters
    ----------
    path : str or Path
        The file to be written (schema 2, see `lrp_dynamics.recording.store`). Finished blocks of 16 steps survive a
        crash. A relative path is one of the folder that the process works in now.
    model : nn.Module
        The network in training, of a kind that `lrp.relevance` takes.
    samples : Tensor, array or list of floats, shape (N, C, H, W), (N, C, L), (N, C, D, H, W) or (N, F)
        Inputs of the network, as it takes them (normalised): images, signals, volumes, or tables.
    targets : Tensor, array or list of whole numbers, shape (N,), or "predicted"
        The class whose logit is explained, usually the label; 0 of a network of a single output, (N,) or (N, 1).
        "predicted" is the class that the network predicts at the first recorded step, and stays it: the maps of a
        sample are compared over time, and would jump with every change of the prediction. (Of an untrained network it
        is chance.) Of outputs (N, ...) of any form, truth values or floats in their shape, as `lrp.relevance` takes
        them.
    composite : str, mapping, lrp.Composite or callable
        The rules, or "gradient_x_input" or "sensitivity" for comparison, or any callable that takes samples and targets
        and returns maps (see `lrp_dynamics.recording.attributors`, which adapts those of other packages).
    bounds : (low, high), optional
        Bounds of the input, for composites that need them.
    every : int
        Record the iterations that this number divides; `record` returns at once for others.
    maps : int
        Of how many samples (the first ones) the maps are stored. Scalars and accumulators cover all samples.
    batch : int
        How many samples are explained at a time. The last bits of the maps may depend on it, but those of one sample
        not on the samples outside of its batch.
    details : mapping, optional
        "index", "split", "label", "label_clean" (N,), "image" u1 (N,C,H,W), "mask" u1 (N,H,W), "factors": what is known
        about the samples. The default image is `samples` stretched to 0..255; of other samples it is what they hold,
        and the mask has the shape of their maps. The default label is the target, -1 (unknown) where that is no class.
    attributes : mapping, optional
        Values for `lrp_dynamics.recording.store.ATTRIBUTES`, each of its kind: what is known about the run.
    live : bool
        Let other processes read while the recording goes on (SWMR).
    overwrite : bool
        Replace an existing file. One that is being written or read is never replaced.
    resume : mapping, optional
        What `state()` returned: go on with the file at `path` from there. What was recorded after it is cut off.

    Raises
    ------
    UserError
        If an argument cannot be what is described here, the network or composite cannot be explained, or there is a
        file already. No file has been touched then.
    StorageError
        If the file is in use, which the message tells by whom; or the disk is full.

    Notes
    -----
    A map is the relevance summed over channels (of a table, which has none, as it is), in float32. Accumulated in
    float64 from these maps: Dynamics(p) = Σ_i |R_i(p) − R_{i+1}(p)|; its normalised variant, where each map is first
    divided by its own Σ_p |R(p)| (a map of zeros stays zero); Σ_i |R_i(p)|; and mean and second central moment (Welford
    1962).
    """

    def __init__(
        self,
        path: str | Path,
        model: nn.Module,
        samples: "Tensor | np.ndarray | Sequence",
        targets: "Tensor | np.ndarray | Sequence | str",
        *,
        composite: "str | Mapping[str, Any] | lrp.Composite | Explainer" = "z_plus",
        bounds: tuple | None = None,
        every: int = 1,
        maps: int = 100,
        batch: int = BATCH,
        details: Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
        live: bool = False,
        overwrite: bool = False,
        resume: Mapping[str, Any] | None = None,
    ):
        parameters = model.parameters() if isinstance(model, nn.Module) else ()
        device = next((parameter.device for parameter in parameters), torch.device("cpu"))
        samples, targets = check_samples(samples, targets, device)
        every, maps, batch = whole("every", every, 1), whole("maps", maps, 0), whole("batch", batch, 1)
        details = check_details(samples, targets, details or {})
        self.path, self.every = Path(path), every
        # Copies: a loop may fill the same tensors anew, and kernels may depend on how the memory of a batch is aligned.
        self._samples = [x.clone() for x in samples.split(batch)]
        self._targets = None if targets is None else [t.clone() for t in targets.split(batch)]
        name, self._explainer = make_explainer(model, composite, bounds)
        self._explain: list[Callable[[], lrp.Relevance]] = []
        outputs = self._try(samples[:1].clone(), targets)
        self._pending: list[tuple[dict, dict[str, Tensor]]] = []
        # Calls from several threads are taken one after another; a forked child has no thread to write with.
        self._turn, self._process = threading.RLock(), os.getpid()
        count, shape = len(samples), map_shape(samples)
        self._sums = Sums([len(x) for x in self._samples], shape, samples.device)
        rules = canonical_json(self._explainer.describe() if isinstance(self._explainer, lrp.Explainer) else {})
        of_bytes = (x.flatten().view(torch.uint8).cpu() for x in (samples, targets) if x is not None)
        self._values = [checksums.of(x) for x in of_bytes]
        self._identity = [rules, every, batch, count, *shape, *(["predicted"] if targets is None else [])]
        if resume is None:
            reduction = "sum" if samples.ndim > 2 else "none"
            own = {"composite": name, "composite_json": rules, "channel_reduction": reduction, "every": every}
            own |= {"model": type(model).__name__} if isinstance(model, nn.Module) else {}
            own |= {"target": "predicted"} if targets is None else {}
            attributes = check_attributes(own | dict(attributes or {}), outputs)
            self._iteration: float = -np.inf
            options = {"predicted": class_type(0, outputs - 1), "live": live, "overwrite": overwrite}
            self._writer = RelevanceWriter(path, attributes, details, shape, min(maps, count), **options)
        else:
            check_state(resume)
            if list(resume["identity"]) != self._identity:
                raise UserError(
                    f"Recorder: {path} was begun with other rules, samples, targets or `every`; go on with the same, "
                    "or anew"
                )
            if list(resume.get("values", self._values)) != self._values:  # states of earlier versions do not tell
                raise UserError(
                    f"Recorder: {path} was begun with samples or targets of other values; go on with the same, or anew"
                )
            self._sums.load(resume)
            self._iteration = resume["iteration"]
            accum = {name: value.cpu().numpy() for name, value in self._sums.held.items()} | {"n": self._sums.n}
            known = {"checksum": resume.get("checksum"), "live": live}
            self._writer = RelevanceWriter.reopen(path, accum, self._iteration, **known)
            if targets is None and self._sums.n:
                self._targets = list(torch.as_tensor(self._writer.target(), device=samples.device).long().split(batch))

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        self.close(complete=kind is None)

    def record(
        self,
        iteration: int,
        *,
        loss: float | Tensor = float("nan"),
        lr: float | Tensor = float("nan"),
        epoch: float | Tensor = float("nan"),
    ) -> bool:
        """Record the network as it is now.

        Parameters
        ----------
        iteration : int
            Number of training steps so far; 0 is the untrained network. Must increase from call to call.
        loss, lr, epoch : float, or a number of NumPy or PyTorch
            Training loss of the step, learning rate and (fractional) epoch, stored beside the maps. Of a tensor, only
            the value is kept.

        Returns
        -------
        bool
            Whether this iteration was recorded (see `every`). The disk has room for what was; it is there when its
            block of 16 steps and the next one are whole, or after `flush`.

        Raises
        ------
        UserError
            If the iteration is no whole number of 64 bits or does not increase, another value is no number, or a map is
            not finite, as after a training has diverged. Nothing of this step is kept then, and the recording can go
            on; but on a GPU maps are looked at when their block is written: the recording ends with the block before.
        StorageError
            If the disk is full or fails, of this step or of those that were being written. The recording has ended
            then, with the blocks that were whole before.
        """
        with self._turn:
            self._check_open()
            iteration = whole("iteration", iteration)
            if iteration % self.every:
                return False
            if iteration <= self._iteration:
                raise UserError(
                    f"Recorder: found iteration {iteration} after {self._iteration}, expected a greater number: "
                    "record a step once, and count on from epoch to epoch"
                )
            numbers = number("epoch", epoch), number("lr", lr), number("loss", loss)
            if not self._pending:
                self._writer.make_room()
            self._take(dict(zip(STEPS, (iteration, *numbers), strict=True)))
            self._iteration = iteration
            if len(self._pending) == BLOCK:
                self._begin_to_write()
            return True

    @property
    def step_bytes(self) -> int:
        """How many bytes a step takes before compression: maps as two bytes a value, and scalars as four."""
        count, *shape = self._sums.held["mean"].shape
        return 2 * self._writer.maps * prod(shape) + 4 * count * (len(SCALARS) + 1)

    def _take(self, step: dict[str, Any]) -> None:
        """Explain the network as it is, and keep what there is to be written."""
        targets, left = self._targets or self._predicted(), self._writer.maps
        batches, taken = [], {name: [] for name in ("plain", "predicted", "finite", "map", "scale")}
        pairs = zip(self._samples, targets, strict=not self._explain)
        explain = self._explain or [fixed(self._explainer, samples, target) for samples, target in pairs]
        for explained, target in zip(explain, targets, strict=True):
            maps, scalars = describe(explained(), target)
            batches.append(maps)
            rows = torch.stack([scalars[name].float() for name in _OF_A_MAP], -1)
            values, scale = quantize(maps, min(left, len(target)))
            for name, part in zip(taken, (rows, scalars["predicted"], scalars["finite"], values, scale), strict=True):
                taken[name].append(part)
            left -= len(scale)
        step_of = {name: torch.cat(parts) for name, parts in taken.items()}
        if step_of["finite"].device.type == "cpu":  # another device would be waited for: `_write` looks there
            self._check_finite(step_of["finite"].numpy(), step["iteration"])
        if self._targets is None:
            self._writer.put_target(torch.cat(targets).cpu().numpy())
            self._targets = targets
        self._explain, self._samples = explain, []  # explainers have copies of their own
        try:
            self._pending.append((step, step_of | {"step_divergence": self._sums.add(batches).float()}))
        except BaseException:  # the sums may hold half of this step, and must not be written
            self._pending.clear()
            self.close(complete=False)
            raise

    def _try(self, sample: Tensor, targets: Tensor | None) -> int:
        """Explain one sample, so that what cannot be explained says so at once; return the number of its outputs."""
        if targets is None:
            targets = torch.zeros(1, dtype=torch.int64, device=sample.device)
        relevance = self._explainer(sample, targets[:1].clone())
        found, output = tuple(relevance.input.shape), tuple(relevance.output.shape)
        if found != tuple(sample.shape) or (targets.ndim == 1 and len(output) > 2):
            raise UserError(
                f"Recorder: the explanation of samples of shape {tuple(sample.shape)} has maps of shape {found} and "
                f"outputs of shape {output}, expected maps of the samples' shape and, for classes, outputs (N, K) or "
                "(N,)"
            )
        outputs = output[1] if len(output) == 2 else 1
        if targets.ndim == 1 and targets.max() >= outputs:
            known = f"the network has {outputs} outputs"
            if outputs == 1:
                known = "the network has one output, target 0; give the classes as details['label']"
            raise UserError(f"Recorder: found target {int(targets.max())}, but {known}")
        return outputs

    def _predicted(self) -> list[Tensor]:
        """The classes that the network predicts now, (n,) of each batch."""
        zeros = (torch.zeros(len(x), dtype=torch.int64, device=x.device) for x in self._samples)
        outputs = (self._explainer(x, zero).output for x, zero in zip(self._samples, zeros, strict=True))
        return [output.reshape(len(output), -1).argmax(1) for output in outputs]

    def _begin_to_write(self) -> None:
        """Hand over what is pending to the writer's thread, once that has written what it had before."""
        if not self._pending:
            return
        # Taken off first, so that nothing is written twice, whatever happens.
        (steps, taken), self._pending = zip(*self._pending, strict=True), []
        try:
            tensors = {name: [step[name] for step in taken] for name in taken[0]}
            parcel = Parcel({name: [value] for name, value in self._sums.held.items()} | tensors)
            self._writer.begin(len(steps), self._write, steps, parcel, self._sums.n)
        except BaseException:
            self._writer.close(complete=False)
            raise

    def _write(self, steps: Sequence[dict[str, Any]], parcel: Parcel, n: int) -> None:
        """Write a block; in the writer's thread."""
        try:
            arrays = parcel.open()
            for step, finite in zip(steps, arrays["finite"], strict=True):
                self._check_finite(finite, step["iteration"])
            plain = {name: arrays["plain"][..., k] for k, name in enumerate(_OF_A_MAP)}
            self._writer.append(
                {name: np.array([step[name] for step in steps]) for name in STEPS},
                plain | {name: arrays[name] for name in ("predicted", "step_divergence")},
                arrays["map"].reshape(len(steps), self._writer.maps, *self._sums.held["mean"].shape[1:]),
                arrays["scale"],
                {name: arrays[name][0] for name in ACCUMULATORS} | {"n": n},
            )
        except BaseException:
            self._writer.abandon()
            raise

    def flush(self) -> None:
        """Write what is pending to the file, and return when it is on the disk; raise as `record` does."""
        with self._turn:
            self._check_process()
            self._begin_to_write()
            self._writer.background.wait()

    def state(self) -> dict[str, Any]:
        """Write what is pending and return what `resume` needs to go on from here after a crash.

        Returns
        -------
        dict
            Tensors, numbers, text and None only, so that `torch.load(..., weights_only=True)` reads what `torch.save`
            made of it, beside the weights of the same moment.
        """
        with self._turn:
            self._check_open()
            self.flush()
            known = {"identity": self._identity, "values": self._values, "iteration": self._iteration}
            return self._sums.state() | known | {"checksum": self._writer.checksum()}

    def close(self, *, complete: bool = True) -> None:
        """Write what is pending and close the file, marked complete unless told otherwise, or nothing was recorded.

        Raises
        ------
        StorageError
            If the disk has no room for what is pending, or for the copy that is marked complete. What was written is
            kept, not marked.
        """
        with self._turn:
            self._check_process()
            self._writer.background.wait()
            if self._writer.open:
                self.flush()
                self._writer.close(complete=complete)

    def _check_finite(self, finite: np.ndarray, iteration: int) -> None:
        if finite.all():
            return
        cause = "the training has probably diverged: lower the learning rate"
        if isinstance(self._explainer, lrp.Explainer):
            cause += ", or choose a composite with a larger stabilizer"
        elif isinstance(self._explainer, Attributor):
            cause = f"the attribution {self._explainer.name!r} returned it so: look there, or the training diverged"
        raise UserError(
            f"Recorder: at iteration {iteration} the relevance of sample {int((~finite).argmax())} is not finite; "
            f"{cause}"
        )

    def _check_open(self) -> None:
        self._check_process()
        self._writer.background.check()
        if not self._writer.open:
            self._writer.background.wait()  # the thread may be about to tell why
            raise UserError(f"Recorder: {self.path} is closed")

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise UserError(
                f"Recorder: {self.path} is recorded by process {self._process}, of which this one, {os.getpid()}, is a "
                "copy; record there, or with a recorder of its own here"
            )
