"""Loss functions of class scores y (N, K), by the names that `training.loss` takes."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F


def class_probabilities(logits: Tensor) -> Tensor:
    """Return p_i = exp(y_i) / (1 + sum_j exp(y_j)), shape (N, K).

    It is the softmax over the K classes and one more, the default class, whose score is always 0. A positive score thus
    is evidence for a class, a negative one against it, and the K probabilities add up to less than 1.
    """
    return F.pad(logits, (0, 1)).softmax(1)[:, :-1]


def default_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of -log p_label with the probabilities of `class_probabilities`; nats."""
    return F.cross_entropy(F.pad(logits, (0, 1)), labels)


def default_class_gradient(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of `default_class` with respect to the scores: (p_i - [i = label]) / N, shape (N, K)."""
    return (class_probabilities(logits) - F.one_hot(labels, logits.shape[1])) / len(logits)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "default_class": default_class,
}
