r"""Measures of explanations: where they put relevance, whether the model agrees, how robust and how sparse they are.

Every function takes tensors and returns one float64 number a sample. Maps are (N, C, H, W), or (N, H, W) as their sum
over the channels. An undefined measure, such as the mass of a map without relevance, is NaN.

No single measure ranks explanations. Pixel flipping with both orders (ABPC) and, where masks exist, relevance mass
accuracy are for ranking; MPRT is a check that a map depends on what the model has learned, not a score
(Binder et al. 2022, arXiv:2211.12486).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional as F

from lrp_dynamics.base.errors import UserError


def pixel_map(relevance: Tensor) -> Tensor:
    """Return (N, H, W) float64 relevance of each pixel: the sum over its channels."""
    relevance = torch.as_tensor(relevance)
    if relevance.dim() not in (3, 4):
        raise UserError(f"relevance has shape {tuple(relevance.shape)}; expected (N, C, H, W) or (N, H, W)")
    relevance = relevance.detach().cpu().double()
    return relevance.sum(1) if relevance.dim() == 4 else relevance


def _with_mask(relevance: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    pixels, mask = pixel_map(relevance), torch.as_tensor(mask).cpu().bool()
    if mask.shape != pixels.shape:
        raise UserError(f"the mask has shape {tuple(mask.shape)}; expected {tuple(pixels.shape)}, as the maps have")
    return pixels.flatten(1), mask.flatten(1)


def mass_accuracy(relevance: Tensor, mask: Tensor, *, part: str = "positive") -> Tensor:
    """Relevance mass accuracy: the share of relevance that lies in the mask (Arras et al. 2022, arXiv:2003.07258).

    Parameters
    ----------
    relevance
        Maps (N, C, H, W) or (N, H, W).
    mask
        Truth values (N, H, W): the object.
    part
        "positive" counts relevance > 0, "absolute" counts its absolute value.

    Returns
    -------
    Tensor
        (N,), 0 to 1. A map without structure has the share of the mask's area.

    Examples
    --------
    >>> mass_accuracy(torch.tensor([[[3.0, 1.0, -4.0]]]), torch.tensor([[[1, 0, 0]]])).tolist()
    [0.75]
    >>> mass_accuracy(torch.tensor([[[3.0, 1.0, -4.0]]]), torch.tensor([[[1, 0, 0]]]), part="absolute").tolist()
    [0.375]
    """
    pixels, mask = _with_mask(relevance, mask)
    if part not in ("positive", "absolute"):
        raise UserError(f"part is {part!r}; expected 'positive' or 'absolute'")
    mass = pixels.clamp(min=0) if part == "positive" else pixels.abs()
    return (mass * mask).sum(1) / mass.sum(1)


def rank_accuracy(relevance: Tensor, mask: Tensor) -> Tensor:
    """Relevance rank accuracy: of the K pixels with most relevance, the share in the mask of K pixels.

    Arras et al. 2022. Pixels that tie with the K-th count by their share, so that the order of pixels does not matter.

    Examples
    --------
    >>> rank_accuracy(torch.tensor([[[3.0, 2.0, 1.0, 0.0]]]), torch.tensor([[[1, 0, 1, 0]]])).tolist()
    [0.5]
    """
    pixels, mask = _with_mask(relevance, mask)
    result = []
    for values, inside in zip(pixels, mask, strict=True):
        k = int(inside.sum())
        if k == 0:
            result.append(float("nan"))
            continue
        threshold = values.sort(descending=True).values[k - 1]
        above, tied = values > threshold, values == threshold
        share = (k - above.sum()).double() / tied.sum()
        result.append((((above & inside).sum() + share * (tied & inside).sum()) / k).item())
    return torch.tensor(result, dtype=torch.float64)


def localisation_auc(relevance: Tensor, mask: Tensor) -> Tensor:
    """Area under the ROC curve of relevance as a detector of the mask: 0.5 for chance, ties counting half.

    Examples
    --------
    >>> localisation_auc(torch.tensor([[[3.0, 2.0, 1.0, 0.0]]]), torch.tensor([[[1, 0, 1, 0]]])).tolist()
    [0.75]
    """
    pixels, mask = _with_mask(relevance, mask)
    ranks = torch.from_numpy(rankdata(pixels.numpy(), axis=1))
    inside = mask.sum(1).double()
    outside = mask.shape[1] - inside
    return ((ranks * mask).sum(1) - inside * (inside + 1) / 2) / (inside * outside)


@dataclass(frozen=True)
class Flipping:
    """Curves of the score while regions are replaced, from the original (first) to the wholly replaced image (last).

    Attributes
    ----------
    fraction
        Share of the regions that is replaced (K + 1,), 0 to 1.
    morf, lerf
        Scores (N, K + 1) with the most, or the least, relevant regions replaced first.
    """

    fraction: Tensor
    morf: Tensor
    lerf: Tensor

    @property
    def aopc(self) -> Tensor:
        """Area over the MoRF curve (N,): mean over the steps of the loss of score (Samek et al. 2017)."""
        return (self.morf[:, :1] - self.morf).mean(1)

    @property
    def abpc(self) -> Tensor:
        """Area between both curves (N,), LeRF minus MoRF: > 0 if the order is better than its reverse.

        The symmetric relevance gain of Blücher et al. 2024 (arXiv:2401.06654): unlike each curve for itself, hardly
        dependent on what regions are replaced by.
        """
        return torch.trapezoid(self.lerf - self.morf, self.fraction, dim=1)


def replacement(inputs: Tensor, fill: str | Tensor) -> Tensor:
    """Return what flipped pixels become, shaped as the inputs (N, C, H, W).

    "mean" is each channel's mean over its own image, "blur" the image blurred with a Gaussian whose standard deviation
    is an eighth of its height; a tensor is used as it is.
    """
    if isinstance(fill, Tensor):
        try:
            return fill.to(inputs).expand_as(inputs)
        except RuntimeError as error:
            raise UserError(f"fill has shape {tuple(fill.shape)}; expected one for {tuple(inputs.shape)}") from error
    if fill == "mean":
        return inputs.mean((2, 3), keepdim=True).expand_as(inputs)
    if fill == "blur":
        height, width = inputs.shape[2:]
        sigma = height / 8
        reach = min(int(3 * sigma), height - 1, width - 1)
        from torchvision.transforms.functional import gaussian_blur  # takes as long to import as torch

        return gaussian_blur(inputs, [2 * reach + 1, 2 * reach + 1], [sigma, sigma])
    raise UserError(f"fill is {fill!r}; expected 'mean', 'blur' or a tensor")


@torch.no_grad()
def pixel_flipping(
    score: Callable[[Tensor], Tensor],
    inputs: Tensor,
    relevance: Tensor,
    *,
    fill: str | Tensor = "mean",
    region: int = 1,
    steps: int = 32,
    seed: int = 0,
) -> Flipping:
    """Replace regions in the order of their relevance and watch the score.

    Bach et al. 2015 (doi:10.1371/journal.pone.0130140); Samek et al. 2017 (arXiv:1509.06321).

    Parameters
    ----------
    score
        Maps a batch (n, C, H, W) to the n scores of the explained class: logit or probability.
    inputs
        Images (N, C, H, W).
    relevance
        Maps (N, C, H, W) or (N, H, W); a region's relevance is that of its pixels together.
    fill
        See :func:`replacement`.
    region
        Side of the square regions in pixels; must divide height and width. 1 for small images, 8 or 16 for 224².
    steps
        Number K of steps, in equal parts up to the wholly replaced image; at most one a region.
    seed
        Regions that tie are taken in an order drawn from this seed, not from top left to bottom right.

    Returns
    -------
    Flipping
        NaN for samples whose map holds NaN, since it orders nothing.
    """
    if inputs.dim() != 4 or steps < 1:
        raise UserError(
            f"inputs of shape {tuple(inputs.shape)}, {steps} steps; expected (N, C, H, W), at least one step"
        )
    height, width = inputs.shape[2:]
    if not isinstance(region, int) or region < 1 or height % region or width % region:
        raise UserError(f"region is {region}; expected a divisor of the image's height and width, {height}×{width}")
    pixels = pixel_map(relevance)
    if pixels.shape != (len(inputs), height, width):
        raise UserError(f"relevance has shape {tuple(relevance.shape)}; expected that of {tuple(inputs.shape)}")
    means = F.avg_pool2d(pixels.unsqueeze(1), region).flatten(1)
    count = means.shape[1]
    lottery = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    order = lottery[
        means[:, lottery].argsort(dim=1, descending=True, stable=True)
    ]  # region indices, most relevant first
    rank = order.argsort(1)
    steps = min(steps, count)
    flipped = torch.linspace(0, count, steps + 1, dtype=torch.float64).round().long()
    other = replacement(inputs, fill)

    def curve(ranks: Tensor) -> Tensor:
        scores = []
        for number in flipped:
            chosen = (ranks < number).view(-1, 1, height // region, width // region)
            chosen = chosen.repeat_interleave(region, 2).repeat_interleave(region, 3).to(inputs.device)
            scores.append(score(torch.where(chosen, other, inputs)).detach().cpu().double())
            if scores[-1].shape != inputs.shape[:1]:
                raise UserError(f"score gives shape {tuple(scores[-1].shape)}; expected one number a sample, (N,)")
        return torch.stack(scores, 1).masked_fill(pixels.isnan().flatten(1).any(1, keepdim=True), torch.nan)

    return Flipping(flipped.double() / count, curve(rank), curve(count - 1 - rank))


def max_sensitivity(
    explain: Callable[[Tensor], Tensor],
    inputs: Tensor,
    *,
    radius: float = 0.02,
    draws: int = 10,
    seed: int = 0,
    bounds: tuple[float | Tensor, float | Tensor] | None = None,
) -> Tensor:
    """Largest relative change of a map under small noise: max ‖a(x + d) − a(x)‖ / ‖a(x)‖ over draws of d.

    Yeh et al. 2019 (arXiv:1901.09392).

    Parameters
    ----------
    explain
        Maps a batch to relevance of any shape (N, ...), explaining the same classes each time.
    inputs
        Images (N, C, H, W).
    radius
        Noise is uniform in [-radius, radius] for every value, in the units of the inputs.
    draws, seed
        How often it is drawn, and from which seed.
    bounds
        (low, high) that noisy inputs are clipped to, where the explanation demands it.
    """
    if draws < 1:
        raise UserError(f"draws is {draws}; expected at least 1")
    generator = torch.Generator().manual_seed(seed)
    base = explain(inputs).detach().flatten(1).double()
    worst = base.new_zeros(len(base))
    for _ in range(draws):
        noise = torch.rand(inputs.shape, generator=generator, dtype=torch.float64).mul_(2 * radius).sub_(radius)
        noisy = inputs + noise.to(inputs)
        if bounds is not None:
            low, high = (torch.as_tensor(bound).to(inputs) for bound in bounds)
            noisy = noisy.clamp(low, high)
        change = explain(noisy).detach().flatten(1).double() - base
        worst = torch.maximum(worst, change.norm(dim=1))
    return (worst / base.norm(dim=1)).cpu()


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Rank correlation of each sample's pixels in two sets of maps (N,), -1 to 1; NaN if a map is constant.

    Examples
    --------
    >>> spearman(torch.tensor([[[1.0, 2.0, 9.0]]]), torch.tensor([[[2.0, 4.0, 3.0]]])).tolist()
    [0.5]
    """
    a, b = pixel_map(a), pixel_map(b)
    if a.shape != b.shape:
        raise UserError(f"the maps have shapes {tuple(a.shape)} and {tuple(b.shape)}; expected the same")
    ranks = [torch.from_numpy(rankdata(maps.flatten(1).numpy(), axis=1)) for maps in (a, b)]
    x, y = (rank - rank.mean(1, keepdim=True) for rank in ranks)
    return (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()


def randomized(model: nn.Module, *, seed: int = 0):
    """Yield (name, model) with the weights of the last layer drawn anew, then of the last two, and so on to the first.

    The model is a copy in eval mode; it is the same object each time, so use it before taking the next. Layers are in
    the order in which the model lists them. The global random state is left as it was.
    """
    twin = copy.deepcopy(model).eval()
    owners = [(n, m) for n, m in twin.named_modules() if next(m.parameters(recurse=False), None) is not None]
    for number, (name, module) in enumerate(reversed(owners)):
        if not hasattr(module, "reset_parameters"):
            raise UserError(f"layer {name!r} ({type(module).__name__}) has no reset_parameters() to draw weights anew")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 1_000_003 + number)
            module.reset_parameters()
        yield name, twin


def mprt(
    model: nn.Module,
    explain: Callable[[nn.Module, Tensor], Tensor],
    inputs: Tensor,
    *,
    seed: int = 0,
    absolute: bool = False,
) -> dict[str, Tensor]:
    """Model parameter randomisation test, cascading from the output to the input (Adebayo et al. 2018).

    Parameters
    ----------
    model
        The trained model; it is copied, not changed.
    explain
        Maps a model and a batch to maps (N, C, H, W) or (N, H, W), explaining the same classes each time.
    inputs
        Images (N, C, H, W).
    seed
        Of the new weights.
    absolute
        Compare the absolute values of pixels instead of the signed ones.

    Returns
    -------
    dict
        Layer name, from the last to the first, to the Spearman correlations (N,) of the maps with those of the trained
        model, after this layer and all behind it were randomised. Near 1 means: the map does not need what these
        layers have learned.
    """
    form = torch.abs if absolute else lambda maps: maps
    base = form(pixel_map(explain(model, inputs)))
    return {name: spearman(base, form(pixel_map(explain(twin, inputs)))) for name, twin in randomized(model, seed=seed)}


def gini(relevance: Tensor) -> Tensor:
    """Sparseness: Gini index of |relevance| over the pixels (N,), 0 if even, towards 1 if in one pixel.

    Chalasani et al. 2020 (arXiv:1810.06583).

    Examples
    --------
    >>> gini(torch.tensor([[[0.0, 0.0, 0.0, -5.0]], [[1.0, 1.0, -1.0, 1.0]]])).tolist()
    [0.75, 0.0]
    """
    values = pixel_map(relevance).abs().flatten(1).sort(1).values
    n = values.shape[1]
    weights = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    return (values * weights).sum(1) / (n * values.sum(1))


def entropy(relevance: Tensor) -> Tensor:
    """Complexity: entropy in nats of |relevance| / sum over the P pixels (N,), 0 if in one pixel, log P if even.

    Bhatt et al. 2020 (arXiv:2005.00631).

    Examples
    --------
    >>> entropy(torch.tensor([[[1.0, -1.0, 0.0, 0.0]]])).tolist()
    [0.6931471805599453]
    """
    values = pixel_map(relevance).abs().flatten(1)
    share = values / values.sum(1, keepdim=True)
    return -torch.special.xlogy(share, share).sum(1)


def histogram_entropy(relevance: Tensor, bins: int = 100) -> Tensor:
    """Entropy in nats of the histogram of a map's pixel values (N,): how many kinds of values there are."""
    result = []
    for values in pixel_map(relevance).flatten(1).numpy():
        if not np.isfinite(values).all():
            result.append(np.nan)
            continue
        share = np.histogram(values, bins=bins)[0] / values.size
        result.append(-(share[share > 0] * np.log(share[share > 0])).sum())
    return torch.tensor(result, dtype=torch.float64)


def efficient_mprt(
    model: nn.Module, explain: Callable[[nn.Module, Tensor], Tensor], inputs: Tensor, *, seed: int = 0
) -> Tensor:
    """Efficient MPRT: relative rise of :func:`histogram_entropy` once all weights are random (N,).

    Hedström et al. 2024 (arXiv:2401.06465): no comparison of maps, hence none of their noise; > 0 is expected.
    """
    base = histogram_entropy(explain(model, inputs))
    for _, twin in randomized(model, seed=seed):
        last = twin
    return (histogram_entropy(explain(last, inputs)) - base) / base
