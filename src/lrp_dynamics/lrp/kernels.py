"""Products as the library computes them fastest, and with the same bits for a sample whatever its batch.

On the CPU torch and the libraries below it choose another kernel, which adds up in another order, for a small single
image, for convolutions by 1×1 of few images, and for what is left of a matrix product beyond a multiple of four rows or
columns. Rules that divide by sums near 0 amplify such last bits without a bound, so none is left to chance, but
for the way back through a net whose rules sum terms of one sign: there nothing amplifies (``steady`` is false).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMALL = 20480  # values of a single image up to which torch does not take oneDNN (use_mkldnn in its Convolution.cpp)
FEW = 4  # channels of a convolution's input, as of images
WIDE = 64  # channels of a convolution's input from which on it matters how they are added up


def narrow(channels: list[int]) -> bool:
    """Tell whether images had better have their channels last, for convolutions that read so many channels each.

    That is faster for few of them; for many it is little faster, and the library then adds up all products in one long
    row, which rounds more.
    """
    return all(count < WIDE for count in channels)


def channels_last(images: Tensor) -> bool:
    """Tell how images or kernels lie in memory, as torch takes it where sizes of 1 leave it open."""
    return images.dim() == 4 and images.stride(1) == 1 and images.stride(3) == images.shape[1]


def in_layout(tensor: Tensor, last: bool) -> Tensor:
    """Return images or kernels with their channels last, or first."""
    if tensor.dim() != 4:
        return tensor
    if last:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor.contiguous().flatten(1).view(tensor.shape)  # contiguous() alone leaves open what sizes of 1 do


def laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """Return images or kernels in the layout of others."""
    return in_layout(tensor, channels_last(like))


def blank(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor without values yet, in the layout of others."""
    order = torch.channels_last if channels_last(like) else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=order)


def full_rows(x: Tensor) -> Tensor:
    """Return rows with other rows after them, up to a multiple of four."""
    if len(x) == 1:
        return x.expand(4, -1)
    return F.pad(x, (0, 0, 0, -len(x) % 4)) if len(x) % 4 else x


def full_columns(x: Tensor) -> Tensor:
    """Return a matrix with columns of zeros after it, up to a multiple of four: then all rows are aligned alike."""
    return F.pad(x, (0, -x.shape[1] % 4)) if x.shape[1] % 4 else x


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None, steady: bool) -> Tensor:
    """Return x W^T + b for rows x; ``steady``: with the same bits for a row wherever it is."""
    if not steady or x.device.type != "cpu":
        return F.linear(x, weight, bias)
    return F.linear(full_rows(full_columns(x)), full_columns(weight), bias)[: len(x)]


def multiply_back(s: Tensor, weight: Tensor, steady: bool) -> Tensor:
    """Return s W for rows s; ``steady``: with the same bits for a row wherever it is."""
    if not steady or s.device.type != "cpu":
        return s @ weight
    return (full_rows(s) @ full_columns(weight))[: len(s), : weight.shape[1]]


def geometry_of(module: torch.nn.Module, padding: tuple[int, ...]) -> tuple:
    """Return the arguments of torch.convolution after the bias; a dilation, of no effect, for kernels of one pixel."""
    single = {*module.kernel_size, *module.stride} == {1}
    dilation = (2,) * len(padding) if single else module.dilation
    return (module.stride, padding, dilation, False, (0,) * len(padding), module.groups)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: tuple, steady: bool) -> Tensor:
    """Return the convolution of images; ``steady``: as of images of a batch."""
    if not (steady and alone(x)):
        return torch.convolution(x, weight, bias, *geometry)
    if x.dim() == 4 and x.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        stride, padding, dilation, _, _, groups = geometry
        return torch.mkldnn_convolution(x, weight, bias, padding, stride, dilation, groups)
    return torch.convolution(laid_out(x.expand(2, *x.shape[1:]), x), weight, bias, *geometry)[:1]


def convolve_back(s: Tensor, x: Tensor, weight: Tensor, geometry: tuple, steady: bool) -> Tensor:
    """Return the adjoint of a convolution of x, applied to s; ``steady``: as for images of a batch."""
    if not alone(x):
        few = x.dim() == 4 and x.shape[1] <= FEW and x.device.type == "cpu" and geometry[-1] == 1
        return few_channels_back(s, x, weight, geometry) if few else library_back(s, x, weight, geometry)
    if not steady:
        return library_back(s, x, weight, geometry)
    pair = blank(x, (2, *x.shape[1:]))  # only its shape is read
    return convolve_back(laid_out(s.expand(2, *s.shape[1:]), x), pair, weight, geometry, steady)[:1]


def library_back(s: Tensor, x: Tensor, weight: Tensor, geometry: tuple) -> Tensor:
    """Return the adjoint of a convolution of x as the library computes it; of x only the shape is read."""
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


def alone(x: Tensor) -> bool:
    """Tell whether torch has another kernel for this image than for images of a batch."""
    return len(x) == 1 and x.device.type == "cpu" and x.numel() <= SMALL
