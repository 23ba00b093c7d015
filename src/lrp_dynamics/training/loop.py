"""Train a classifier on a prepared dataset, with observers such as recorders; resumable, deterministic."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import canonical_json
from lrp_dynamics.base.kinds import one_of
from lrp_dynamics.base.parameters import parameter
from lrp_dynamics.base.training_sections import AugmentedTraining
from lrp_dynamics.recording.recorder import Recorder
from lrp_dynamics.training import resume
from lrp_dynamics.training.augmentation import Augmentation
from lrp_dynamics.training.costs import told_cost
from lrp_dynamics.training.device import seed_of
from lrp_dynamics.training.interruption import Interruption, say
from lrp_dynamics.training.losses import LOSSES
from lrp_dynamics.training.step import Step, Steps

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
LOG_FIELDS = ("iteration", "epoch", "loss", "accuracy", "learning_rate")


class Diverged(UserError):
    """The loss is not finite, and will not be if the same training is run again."""


@dataclass(frozen=True)
class Settings(AugmentedTraining):
    """How to train, checked when made: the parameters of a section `training`, and the loss.

    Attributes
    ----------
    epochs : int
        Passes over the training images.
    batch_size : int
        Images a step; a last, smaller batch of an epoch is left out.
    optimizer : str
        A key of `OPTIMIZERS`.
    learning_rate : float
        Greater than 0.
    momentum : float
        For SGD only.
    weight_decay : float
    max_steps : int or None
        Stop after so many steps, if the epochs have not ended before.
    threads, device
        For `lrp_dynamics.training.run`; the loop itself trains where the model is.
    precision : str
        A key of `lrp_dynamics.training.step.PRECISIONS`. With "float16" the loss is scaled, so that small gradients do
        not become zero.
    augmentation : mapping or None
        Random changes of the images of each step, see `Augmentation`.
    loss : str
        A key of `lrp_dynamics.training.losses.LOSSES`.
    """

    loss: str = parameter(one_of(*LOSSES), "what is minimised", "cross_entropy")

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of all the model's parameters."""
        options: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimizer == "sgd":
            options["momentum"] = self.momentum
        elif next(model.parameters()).is_cuda:
            options["capturable"] = True
        return OPTIMIZERS[self.optimizer](model.parameters(), **options)

    def steps(self, images: int) -> int:
        """Return the number of training steps for so many training images."""
        if images < self.batch_size:
            raise UserError(f"training.batch_size: found {self.batch_size}, expected at most {images} training images")
        steps = self.epochs * (images // self.batch_size)
        return steps if self.max_steps is None else min(steps, self.max_steps)


@dataclass
class Images:
    """Images kept as bytes on the training device, scaled to the network's input a batch at a time.

    Attributes
    ----------
    pixels : Tensor of uint8, shape (N, C, H, W)
    labels : Tensor of int64, shape (N,)
    low, high : float
        What the pixel values 0 and 255 become.
    """

    pixels: Tensor
    labels: Tensor
    low: float = 0.0
    high: float = 1.0

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "Images":
        """Return the first images.

        Raises
        ------
        UserError
            If there are fewer.
        """
        if count > len(self):
            raise UserError(f"found {len(self)} images, expected at least {count}")
        return Images(self.pixels[:count], self.labels[:count], self.low, self.high)

    def inputs(self, index: Tensor | slice, change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return float32 network inputs of the given images, (n, C, H, W), changed before they are scaled."""
        pixels = self.pixels[index]
        if change is not None:
            pixels = change(pixels)
        return pixels.float().mul_((self.high - self.low) / 255).add_(self.low)


@dataclass
class Log:
    """What happened at each step: one list a field of `LOG_FIELDS`."""

    rows: list[tuple[float, ...]] = field(default_factory=list)

    def column(self, name: str) -> np.ndarray:
        """Return one field over the steps."""
        return np.array([row[LOG_FIELDS.index(name)] for row in self.rows])


def batch_order(images: int, seed: int, epoch: int) -> Tensor:
    """Return the order of the images in an epoch: a permutation that depends on seed and epoch alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(images, generator=generator)


@torch.no_grad()
def accuracy(model: nn.Module, images: Images, batch_size: int = 1000) -> float:
    """Return the share of images classified as labelled; 0 to 1."""
    was_training = model.training
    model.eval()
    correct = 0
    for start in range(0, len(images), batch_size):
        index = slice(start, start + batch_size)
        correct += (model(images.inputs(index)).argmax(1) == images.labels[index]).sum().item()
    model.train(was_training)
    return correct / max(len(images), 1)


def train(
    model: nn.Module,
    images: Images,
    settings: Settings,
    *,
    seed: int,
    observers: Sequence[resume.Opener] = (),
    checkpoint: Path | None = None,
    minutes: float = 10.0,
    progress: bool = True,
    stop: Callable[[], bool] = lambda: False,
    asked: Interruption | None = None,
) -> Log:
    """Train a model in place, observed after every step.

    Parameters
    ----------
    model : nn.Module
    images : Images
        The training images.
    settings : Settings
    seed : int
        Of the order of the images.
    observers : sequence of callable
        Each opens an observer, such as a recorder: given the state that it had at the checkpoint, or None to begin
        anew. They are asked in this order, and opened again where a checkpoint turns out to be damaged.
    checkpoint : Path, optional
        Where to keep what is needed to go on after a crash: at the end of each epoch, after some minutes, and when
        asked to end. If the file exists, the training goes on from it, and ends with the weights that it would have had
        without the interruption. If it is damaged or of another training, or a recording beside it is, they are set
        aside as *.damaged and the training starts anew.
    minutes : float
        Time between checkpoints within an epoch. It has no part in the result.
    progress : bool
        Show a progress bar with loss, accuracy, steps per second and the time left.
    stop : callable
        Asked after every step whether to end the training early.
    asked : Interruption, optional
        Notes that the process is asked to end.

    Returns
    -------
    Log
        Loss and accuracy of the batch at each step.

    Raises
    ------
    Diverged
        If the loss is not finite.
    StorageError
        If a checkpoint or a recording cannot be written.
    KeyboardInterrupt, SystemExit
        If the process was asked to end: after the step, and with a checkpoint.
    """
    optimizer, device = settings.make_optimizer(model), images.pixels.device
    step = Step(model, optimizer, LOSSES[settings.loss], settings.precision, device)
    take_step = Steps(step)
    augmentation = Augmentation(settings.augmentation) if settings.augmentation else None
    log, done = Log(), 0
    total, per_epoch = settings.steps(len(images)), len(images) // settings.batch_size
    identity = canonical_json(
        [asdict(settings), seed, len(images), {name: list(value.shape) for name, value in model.state_dict().items()}]
    )
    saved, opened = resume.go_on(checkpoint, identity, observers)
    digests: resume.Digests = {}
    if saved is not None:
        model.load_state_dict(saved["model"])
        step.optimizer.load_state_dict(saved["optimizer"])
        step.scaler.load_state_dict(saved["scaler"])
        log.rows, done, digests = saved["rows"], saved["done"], saved["digests"]
    kept = time.monotonic()

    def keep() -> None:
        nonlocal digests, kept
        if checkpoint is None:
            return
        state = {
            "identity": identity,
            "model": model.state_dict(),
            "optimizer": step.optimizer.state_dict(),
            "scaler": step.scaler.state_dict(),
            "rows": log.rows,
            "done": done,
            "observers": [observer.state() for observer in opened],
        }
        recordings = [observer.path for observer in opened if isinstance(observer, Recorder)]
        digests = resume.save(checkpoint, state, recordings, digests)
        kept = time.monotonic()

    complete = False
    bar = tqdm(total=total, initial=done, unit="step", disable=not progress, mininterval=1, dynamic_ncols=True)
    try:
        model.train()
        if done == 0:
            begun = time.perf_counter()
            for observer in opened:
                observer.record(0, lr=settings.learning_rate, epoch=0)
            recorders = [observer for observer in opened if isinstance(observer, Recorder)]
            if progress and recorders:
                say(f"lrp-dynamics: {told_cost(recorders, time.perf_counter() - begun, total)}")
        while done < total:
            epoch = done // per_epoch
            order = batch_order(len(images), seed, epoch).to(images.pixels.device)
            for batch in order.split(settings.batch_size)[done % per_epoch : per_epoch][: total - done]:
                change = augmentation and partial(augmentation, seed=seed, step=done)
                seed_of(device)(seed * 1_000_003 + done)  # of dropout, for one, also after an interruption
                row = take_step(images.inputs(batch, change), images.labels[batch])
                done += 1
                if not np.isfinite(row[0]):
                    raise Diverged(
                        f"training: the loss is {row[0]} at iteration {done}; the training has diverged: lower "
                        f"training.learning_rate (now {settings.learning_rate})"
                    )
                log.rows.append((done, done / per_epoch, *row, settings.learning_rate))
                for observer in opened:
                    observer.record(done, loss=row[0], lr=settings.learning_rate, epoch=done / per_epoch)
                if stop():
                    total = done
                elif done < total and asked is not None and asked.signal is not None:
                    keep()
                    say(f"\nlrp-dynamics: asked to end; the same command goes on behind iteration {done}")
                    asked.end()
                elif done < total and time.monotonic() - kept >= 60 * minutes:
                    keep()
                with suppress(BrokenPipeError):  # Ctrl-C ends all of a pipe, and what shows the bar may be quicker
                    bar.set_postfix(loss=f"{row[0]:.3f}", accuracy=f"{row[1]:.2f}", refresh=False)
                    bar.update()
                if done == total:
                    break
            if done < total:
                keep()
        complete = True
    finally:
        with suppress(BrokenPipeError):
            bar.close()
        with ExitStack() as closing:  # all of them, even if closing one fails
            for observer in reversed(opened):
                closing.callback(observer.close, complete=complete)
    return log
