"""Record the relevance maps of fixed samples while a network trains, in any PyTorch loop.

recorder = Recorder("relevance.h5", model, samples, targets)
with recorder:
    recorder.record(0)                                   # the untrained network
    for iteration, (x, y) in enumerate(batches, start=1):
        ...one training step...
        recorder.record(iteration, loss=loss.item())
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lrp_dynamics import lrp
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import canonical_json
from lrp_dynamics.recording.arguments import (
    check_attributes,
    check_details,
    check_samples,
    check_state,
    map_shape,
    number,
    whole,
)
from lrp_dynamics.recording.explainers import Explainer, make_explainer
from lrp_dynamics.recording.shards import BATCH
from lrp_dynamics.recording.store import ACCUMULATORS, BLOCK, SCALARS, STEPS, class_type, normalize, sum_of_maps
from lrp_dynamics.recording.writer import RelevanceWriter


class Recorder:
    """Writes the relevance maps of fixed samples to HDF5 after training steps.

    The model is only read: its parameters, gradients, buffers, mode, hooks and the random state are the same after
    `record` as before, and a training with a recorder gives bit for bit the weights of a training without.

    Parameters
    ----------
    path : str or Path
        The file to be written (schema 1, see `lrp_dynamics.recording.store`). Finished blocks of 16 steps survive a
        crash.
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
        and returns an `lrp.Relevance` (see `lrp_dynamics.recording.explainers.make_explainer`).
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
        Values for `lrp_dynamics.recording.store.ATTRIBUTES`.
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
        predicted = self._try(samples[:1].clone(), targets)
        self._pending: list[tuple[dict, dict, np.ndarray]] = []
        count, shape = len(samples), map_shape(samples)
        rules = canonical_json(self._explainer.describe() if isinstance(self._explainer, lrp.Explainer) else {})
        self._identity = [rules, every, batch, count, *shape, *(["predicted"] if targets is None else [])]
        if resume is None:
            reduction = "sum" if samples.ndim > 2 else "none"
            own = {"composite": name, "composite_json": rules, "channel_reduction": reduction, "every": every}
            own |= {"target": "predicted"} if targets is None else {}
            attributes = check_attributes(own | dict(attributes or {}))
            self._accum: dict[str, Any] = {name: np.zeros((count, *shape)) for name in ACCUMULATORS} | {"n": 0}
            self._last: np.ndarray | None = None
            self._iteration: float = -np.inf
            options = {"predicted": predicted, "live": live, "overwrite": overwrite}
            self._writer = RelevanceWriter(path, attributes, details, shape, min(maps, count), **options)
        else:
            check_state(resume)
            if list(resume["identity"]) != self._identity:
                raise UserError(
                    f"Recorder: {path} was begun with other rules, samples, targets or `every`; go on with the same, "
                    "or anew"
                )
            self._accum = {name: _array(resume["accum"][name]) for name in ACCUMULATORS} | {
                "n": int(resume["accum"]["n"])
            }
            self._last = None if resume["last"] is None else _array(resume["last"])
            self._iteration = resume["iteration"]
            self._writer = RelevanceWriter.reopen(path, self._accum, self._iteration, live=live)
            if targets is None and self._accum["n"]:
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
            Whether this iteration was recorded (see `every`). The disk has room for what was.

        Raises
        ------
        UserError
            If the iteration is no whole number or does not increase, another value is no number, or a map is not
            finite, as after a training has diverged.
        StorageError
            If the disk is full or fails. The recording has ended then, with the blocks that were whole before.
        """
        self._check_open()
        iteration = whole("iteration", iteration)
        if iteration % self.every:
            return False
        if iteration <= self._iteration:
            raise UserError(f"Recorder: iteration {iteration} after {self._iteration}; iterations must increase")
        numbers = number("epoch", epoch), number("lr", lr), number("loss", loss)
        steps = dict(zip(STEPS, (iteration, *numbers), strict=True))
        if not self._pending:
            self._writer.make_room()
        targets = self._targets or self._predicted()
        parts = [self._explain(*batch) for batch in zip(self._samples, targets, strict=True)]
        scalars = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        maps = scalars.pop("map")
        if not np.isfinite(maps).all():
            bad = int(np.flatnonzero(~np.isfinite(maps).reshape(len(maps), -1).all(1))[0])
            raise UserError(
                f"Recorder: at iteration {iteration} the relevance of sample {bad} is not finite; the training has "
                "probably diverged: lower the learning rate, or choose a composite with a larger stabilizer"
            )
        if self._targets is None:
            self._writer.put_target(torch.cat(targets).cpu().numpy())
            self._targets = targets
        try:
            scalars["step_divergence"] = self._accumulate(maps)
            self._pending.append((steps, scalars, maps[: self._writer.maps]))
        except BaseException:  # the sums may hold half of this step, and must not be written
            self._pending.clear()
            self.close(complete=False)
            raise
        self._iteration = iteration
        if len(self._pending) == BLOCK:
            self.flush()
        return True

    def _try(self, sample: Tensor, targets: Tensor | None) -> str:
        """Explain one sample, so that what cannot be explained says so at once; return the type for its classes."""
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
        return class_type(0, outputs - 1)

    def _predicted(self) -> list[Tensor]:
        """The classes that the network predicts now, (n,) of each batch."""
        zeros = (torch.zeros(len(x), dtype=torch.int64, device=x.device) for x in self._samples)
        outputs = (self._explainer(x, zero).output for x, zero in zip(self._samples, zeros, strict=True))
        return [output.reshape(len(output), -1).argmax(1) for output in outputs]

    def _explain(self, samples: Tensor, targets: Tensor) -> dict[str, np.ndarray]:
        """The maps of one batch, (n, *shape), and everything of `SCALARS` but the step divergence, each (n,)."""
        relevance = self._explainer(samples, targets)
        maps = relevance.input.sum(1) if samples.ndim > 2 else relevance.input
        maps = maps.cpu().numpy().astype(np.float32, copy=False)
        scalars = _of_output(relevance, targets) | {
            "initial": relevance.initial,
            "absorbed": sum(relevance.absorbed.values(), torch.zeros_like(relevance.initial)),
            "min_abs_z": relevance.min_abs_z,
        }
        scalars = {name: value.cpu().numpy() for name, value in scalars.items()}
        flat = np.abs(maps).reshape(len(maps), -1)
        total = flat.sum(1, dtype=np.float64)
        share = flat / np.where(total > 0, total, 1)[:, None]
        scalars["entropy"] = -(share * np.log(np.where(share > 0, share, 1))).sum(1)
        scalars["r_sum"] = sum_of_maps(maps)
        scalars["r_abs_sum"] = total
        scalars["r_max"] = flat.max(1)
        return scalars | {"map": maps}

    def _accumulate(self, maps: np.ndarray) -> np.ndarray:
        """Add one step to the accumulators; return the divergence of the step, (N,)."""
        accum, now = self._accum, maps.astype(np.float64)
        accum["n"] += 1
        accum["abs_sum"] += np.abs(now)
        delta = now - accum["mean"]
        accum["mean"] += delta / accum["n"]
        accum["m2"] += delta * (now - accum["mean"])
        if self._last is None:
            step = np.zeros(len(now))
        else:
            last = self._last.astype(np.float64)
            change = np.abs(now - last)
            accum["dynamics"] += change
            axes = maps.ndim - 1
            accum["dynamics_normalized"] += np.abs(normalize(now, axes) - normalize(last, axes))
            step = sum_of_maps(change)
        self._last = maps
        return step

    def flush(self) -> None:
        """Write what is pending to the file; raise `StorageError` as `record` does."""
        if not self._pending:
            return
        # Taken off first, so that nothing is written twice, whatever happens.
        (steps, scalars, maps), self._pending = zip(*self._pending, strict=True), []
        try:
            self._writer.append(
                {name: np.array([step[name] for step in steps]) for name in STEPS},
                {name: np.stack([scalar[name] for scalar in scalars]) for name in (*SCALARS, "predicted")},
                np.stack(maps),
                self._accum,
            )
        except BaseException:
            self._writer.close(complete=False)
            raise

    def state(self) -> dict[str, Any]:
        """Write what is pending and return what `resume` needs to go on from here after a crash.

        Returns
        -------
        dict
            Tensors, numbers, text and None only, so that `torch.load(..., weights_only=True)` reads what `torch.save`
            made of it, beside the weights of the same moment.
        """
        self._check_open()
        self.flush()
        return {
            "accum": {name: torch.tensor(self._accum[name]) for name in ACCUMULATORS} | {"n": self._accum["n"]},
            "last": None if self._last is None else torch.tensor(self._last),
            "identity": self._identity,
            "iteration": self._iteration,
        }

    def close(self, *, complete: bool = True) -> None:
        """Write what is pending and close the file, marked complete unless told otherwise, or nothing was recorded.

        Raises
        ------
        StorageError
            If the disk has no room for what is pending, or for the copy that is marked complete. What was written is
            kept, not marked.
        """
        if self._writer.file.id.valid:
            self.flush()
            self._writer.close(complete=complete)

    def _check_open(self) -> None:
        if not self._writer.file.id.valid:
            raise UserError(f"Recorder: {self.path} is closed")


def _of_output(relevance: lrp.Relevance, targets: Tensor) -> dict[str, Tensor]:
    """What the output tells, (n,) each: the explained logit and its margin and probability, and the predicted class."""
    output = relevance.output.float()
    logits = output[:, None] if output.ndim == 1 else output
    if targets.ndim > 1:  # what is explained is no class
        unknown = torch.full_like(relevance.initial, torch.nan)
        predicted = logits.argmax(1) if logits.ndim == 2 else torch.full_like(unknown, -1)
        return {"logit": relevance.initial, "margin": unknown, "probability": unknown, "predicted": predicted}
    target = targets[:, None]
    logit = logits.gather(1, target)
    # The only logit has no margin to others.
    others = logits.scatter(1, target, -torch.inf if logits.shape[1] > 1 else torch.nan)
    return {
        "logit": logit[:, 0],
        "margin": logit[:, 0] - others.amax(1),
        "probability": logits.softmax(1).gather(1, target)[:, 0],
        "predicted": logits.argmax(1),
    }


def _array(value: Tensor | np.ndarray) -> np.ndarray:
    """A copy in the main memory, whatever device a checkpoint was loaded to."""
    return torch.as_tensor(value).detach().cpu().numpy().copy()
