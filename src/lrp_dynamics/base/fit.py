"""Whether an experiment's parameters fit its dataset, as far as that is known before the dataset is made."""

from dataclasses import dataclass
from typing import Any

from lrp_dynamics.base.kinds import Mistake


@dataclass(frozen=True)
class Dataset:
    """Name of a dataset, its numbers of images, and their height and width, pixels; None where only files tell.

    `masks`: whether it is known where the objects are.
    """

    name: str
    train: int | None = None
    test: int | None = None
    size: int | None = None
    masks: bool = False

    def images(self, split: str) -> int | None:
        """Return the number of images in a split, "train" or "test"."""
        return self.train if split == "train" else self.test


def at_most(key: str, found: int, limit: int | None, what: str) -> None:
    """Refuse a number above a limit, if that is known.

    Raises
    ------
    Mistake
        That names key, number, limit, and what the limit is.
    """
    if limit is not None and found > limit:
        raise Mistake(key, f"found {found}, expected at most {limit}, {what}")


def needs_test_images(dataset: Dataset) -> None:
    """Refuse a dataset without test images."""
    if dataset.test == 0:
        raise Mistake("dataset", f"found {dataset.name!r}, which has no test images; choose another or prepare some")


def check_training(training: Any, dataset: Dataset, held_out: float = 0.0) -> int | None:
    """Check a section `training`, with the share of images held out; return its number of steps, if that is known."""
    if dataset.train is None:
        return None
    images = dataset.train - round(held_out * dataset.train)
    if held_out and not 0 < images < dataset.train:
        raise Mistake("validation.share", f"found {held_out}, which leaves none of {dataset.train} images to one side")
    at_most("training.batch_size", training.batch_size, images, f"the training images of dataset {dataset.name!r}")
    if not hasattr(training, "epochs"):
        return training.iterations
    steps = training.epochs * (images // training.batch_size)
    return steps if training.max_steps is None else min(steps, training.max_steps)


def check_recording(recording: Any, dataset: Dataset, steps: int | None) -> None:
    """Check a section `recording` of a training of so many steps."""
    images = dataset.images(recording.split)
    at_most("recording.samples", recording.samples, images, f"the {recording.split} images of dataset {dataset.name!r}")
    at_most("recording.every", recording.every, steps, "the steps of the training, so that a change can be seen")


def check_checkpoints(checkpoints: Any, dataset: Dataset, steps: int | None) -> None:
    """Check a section `checkpoints` of a training of so many steps."""
    at_most("checkpoints.iterations", max(checkpoints.iterations), steps, "the steps of the training")
    what = f"the test images of dataset {dataset.name!r}"
    at_most("checkpoints.test_images", checkpoints.test_images, dataset.test, what)
