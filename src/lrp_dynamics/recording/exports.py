"""A recording in the formats of other software: NumPy's, Zarr's, TensorBoard's."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import atomic, atomic_folder
from lrp_dynamics.base.imports import needed
from lrp_dynamics.recording.store import ACCUMULATORS, SAMPLE_FIELDS, SCALARS, STEPS, RelevanceFile


def arrays(recording: RelevanceFile, every: int = 1) -> Iterator[tuple[str, np.ndarray]]:
    """Yield all that a recording holds under its names in the file, maps as float32 under "relevance" and last.

    Before them come the iterations that they are of, "relevance_iteration".

    Parameters
    ----------
    recording : RelevanceFile
    every : int
        Take each n-th recorded step of the maps, from the first on; all else is of every step.
    """
    for name in STEPS:
        yield f"steps/{name}", recording.step(name)
    for name in (*SCALARS, "predicted"):
        yield f"scalars/{name}", recording.scalar(name)
    for name in ACCUMULATORS:
        yield f"accum/{name}", recording.accumulated(name)
    fixed = [*SAMPLE_FIELDS, "image", *(name for name in ("mask", "target") if recording.has_sample(name))]
    for name in fixed + [name for name in recording.sample_names() if name.startswith("factors/")]:
        yield f"samples/{name}", recording.sample(name)
    yield "relevance_iteration", recording.step("iteration")[::every]
    yield "relevance", recording.maps(slice(None, None, every))


def to_npz(recording: RelevanceFile, path: Path, every: int = 1) -> None:
    """Write all as one NumPy .npz file."""
    # To a path without the suffix .npz, NumPy would add it.
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **dict(arrays(recording, every)))


def to_zarr(recording: RelevanceFile, path: Path, every: int = 1) -> None:
    """Write all as one Zarr group, with the recording's attributes; maps in chunks of 16 steps × 10 samples.

    Raises
    ------
    UserError
        If zarr is not installed, or there is something at the path.
    """
    zarr = needed("zarr", "to write Zarr groups")
    with atomic_folder(path) as temporary:
        group = zarr.open_group(temporary, mode="w")
        group.attrs.update({name: plain(value) for name, value in recording.attrs.items()})
        for name, values in arrays(recording, every):
            chunks = tuple(map(min, (16, 10, *values.shape[2:]), values.shape)) if name == "relevance" else "auto"
            group.create_array(name, data=values, chunks=chunks)


def plain(value: object) -> object:
    """Return an attribute as JSON has it."""
    return value.item() if isinstance(value, np.generic) else value


def to_tensorboard(recording: RelevanceFile, folder: Path, every: int = 1) -> None:
    """Write images of the maps and curves of the scalars for TensorBoard, one tag a sample.

    A map is drawn red where it supports what is explained and blue where it speaks against it, with white at zero, on
    one scale for all steps of its sample: the largest value that is stored of it.

    Raises
    ------
    UserError
        If tensorboard is not installed, or the maps are no pictures.
    """
    needed("tensorboard", "to write its logs")
    import matplotlib
    from torch.utils.tensorboard import SummaryWriter

    from lrp_dynamics.base.style import SIGNED

    colours = matplotlib.colormaps[SIGNED]
    if len(recording.shape) != 2:
        raise UserError(f"{recording.path}: maps of shape {recording.shape} are no pictures, as TensorBoard shows them")
    iterations = recording.step("iteration")
    steps = range(0, recording.steps, every)
    with atomic_folder(folder) as temporary, SummaryWriter(str(temporary)) as writer:
        for name in ("train_loss", "learning_rate"):
            for iteration, value in zip(iterations, recording.step(name), strict=True):
                if np.isfinite(value):
                    writer.add_scalar(f"steps/{name}", value, int(iteration))
        for sample in range(recording.map_samples):
            maps = recording.maps(slice(None, None, every), sample)
            limit = np.abs(maps).max() or 1.0
            tag = f"sample {sample}: {recording.class_name(sample)}"
            for step, image in zip(steps, maps, strict=True):
                picture = colours(0.5 + 0.5 * image / limit, bytes=True)[..., :3]
                writer.add_image(f"{tag}/relevance", picture, int(iterations[step]), dataformats="HWC")
                for name in ("logit" if recording.tells_output else "r_sum", "step_divergence"):
                    value = recording.file["scalars"][name][step, sample]
                    if np.isfinite(value):
                        writer.add_scalar(f"{tag}/{name}", value, int(iterations[step]))
