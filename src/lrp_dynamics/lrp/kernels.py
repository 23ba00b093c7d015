"""Adjoints of convolutions, and the layout of images in memory for which convolutions are fastest on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

FEW = 4  # channels of a convolution's input, as of images


def channels_last(images: Tensor) -> bool:
    """Tell how images or kernels lie in memory, as torch takes it where sizes of 1 leave it open."""
    return images.dim() == 4 and images.stride(1) == 1 and images.stride(3) == images.shape[1]


def in_layout(tensor: Tensor, last: bool) -> Tensor:
    """Return images or kernels with their channels last, or first."""
    last = last and tensor.dim() == 4
    return tensor.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """Return images or kernels in the layout of others."""
    return in_layout(tensor, channels_last(like))


def blank(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor without values yet, in the layout of others."""
    order = torch.channels_last if channels_last(like) else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=order)


def convolve_back(s: Tensor, x: Tensor, weight: Tensor, geometry: tuple) -> Tensor:
    """Return the adjoint of a convolution of x, applied to s; of x only the shape is read."""
    few = x.dim() == 4 and x.shape[1] <= FEW and x.device.type == "cpu" and geometry[-1] == 1 and not geometry[3]
    return (few_channels_back if few else library_back)(s, x, weight, geometry)


def library_back(s: Tensor, x: Tensor, weight: Tensor, geometry: tuple) -> Tensor:
    """Return the adjoint of a convolution of x as the library computes it."""
    return torch.ops.aten.convolution_backward(s, x, weight, None, *geometry, (True, False, False))[0]


def few_channels_back(s: Tensor, x: Tensor, weight: Tensor, geometry: tuple) -> Tensor:
    """Return the adjoint of a convolution that reads few channels, faster than the library.

    The library computes 16 channels at a time and would leave most of them empty. Here the columns of the kernel are
    channels as well, and each is then added where it belongs: as many multiplications, and few of them wasted.
    """
    stride, padding, dilation, *_ = geometry
    n, channels, height, width = x.shape
    columns, positions = weight.shape[3], s.shape[3]
    tall = laid_out(weight.permute(0, 3, 1, 2).flatten(1, 2).unsqueeze(3), weight)
    down = ((stride[0], 1), (padding[0], 0), (dilation[0], 1), False, (0, 0), 1)
    shares = library_back(s, blank(s, (n, columns * channels, height, positions)), tall, down)
    result = blank(s, (n, channels, height, width + 2 * padding[1])).zero_()
    for k in range(columns):
        first = k * dilation[1]
        reached = result[..., first : first + (positions - 1) * stride[1] + 1 : stride[1]]
        reached.add_(shares[:, k * channels : (k + 1) * channels])
    return result[..., padding[1] : padding[1] + width]


def adaptive_average(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the adaptive average pool of images as matrix products, whose way back is deterministic on a GPU."""
    for dim, count in zip((-2, -1), size, strict=True):
        length = x.shape[dim]
        cell, position = torch.arange(count, device=x.device).unsqueeze(1), torch.arange(length, device=x.device)
        inside = (position >= cell * length // count) & (position < -(-(cell + 1) * length // count))
        weights = inside.to(x.dtype) / inside.sum(1, keepdim=True)
        x = (x.movedim(dim, -1) @ weights.T).movedim(-1, dim)
    return x


@contextmanager
def deterministic(tensor: Tensor, wanted: bool = True) -> Iterator[None]:
    """Let operations on a GPU that have a deterministic form take it, the others run as they are; or do not ask."""
    if not tensor.is_cuda:
        yield
        return
    before = torch.get_deterministic_debug_mode()  # use_deterministic_algorithms would import a compiler
    torch.set_deterministic_debug_mode("warn" if wanted else "default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
