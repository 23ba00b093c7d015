"""The device of a training, and what makes its results the same every time."""

import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.base.locks import Lock

CAPTURABLE = "This instance was constructed with capturable=True"  # torch warns so, of Adam's steps on a GPU

_taken: list[Lock] = []  # until the process ends


def prepare_device(training: Mapping[str, Any]) -> torch.device:
    """Set threads and determinism of this process, before it computes anything; return the device asked for.

    The number of threads is a parameter and not what the scheduler grants, since sums depend on it in the last bit.

    Parameters
    ----------
    training : mapping
        "threads", 2 by default; "device", "cpu" by default, "cuda:N", or "cuda" or "auto", which take a GPU that no
        other training has.

    Raises
    ------
    UserError
        If the device is not there.
    """
    # cuBLAS reads it when it is first used: without it, its products of matrices are not deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(training.get("threads", 2))
    torch.use_deterministic_algorithms(True)
    # Or torch fills all new memory with NaN, which takes time: nothing reads it before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    # Of the steps before a graph of them is made.
    warnings.filterwarnings("ignore", CAPTURABLE, UserWarning)
    name = training.get("device", "cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("training.device: found 'cuda', but torch sees no CUDA device here; use 'cpu' or 'auto'")
    return torch.device("cuda", free_gpu()) if name == "cuda" and torch.cuda.device_count() > 1 else torch.device(name)


def free_gpu() -> int:
    """Take the first GPU that no other training on this machine has, until this process ends; return its number.

    Where all are taken, or that cannot be written down, it is the first one, which is shared then.
    """
    folder = Path(tempfile.gettempdir(), f"lrp-dynamics-{os.getuid() if hasattr(os, 'getuid') else 'user'}")
    with suppress(OSError):  # of a folder that cannot be written nobody knows who has taken what
        folder.mkdir(mode=0o700, exist_ok=True)
        for number in range(torch.cuda.device_count()):
            with suppress(StorageError):  # numbers are those of this process alone, where CUDA_VISIBLE_DEVICES is set
                _taken.append(Lock(folder / f"gpu-{torch.cuda.get_device_properties(number).uuid}"))
                return number
    return 0


def seed_of(device: torch.device) -> Callable[[int], Any]:
    """Return what seeds random numbers on a device.

    `torch.manual_seed` also notes, for a GPU that may be used later, where it was called, which takes longer.
    """
    return torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed


def name_of(device: torch.device) -> str:
    """Return a device and what it is on this machine."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{device}: {name}"
