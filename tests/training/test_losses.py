"""Class probabilities with a default class, and the gradient of their loss."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from lrp_dynamics.training.losses import class_probabilities, default_class, default_class_gradient


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=12))
def test_probabilities_are_as_defined(scores):
    y = torch.tensor([scores], dtype=torch.float64)
    torch.testing.assert_close(class_probabilities(y), y.exp() / (1 + y.exp().sum()))


def test_large_scores_do_not_overflow():
    y = torch.tensor([[1000.0, -1000.0], [-1000.0, -1000.0]])
    assert class_probabilities(y).tolist() == [[1, 0], [0, 0]]
    assert default_class(y, torch.tensor([0, 1])).item() == 500  # of 0 and 1000


@given(st.integers(1, 6), st.integers(2, 11), st.integers(0, 10**6))
def test_gradient_against_autograd(count, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    y = (5 * torch.randn(count, classes, generator=generator, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(0, classes, (count,), generator=generator)
    loss = default_class(y, labels)
    torch.testing.assert_close(loss, -class_probabilities(y)[range(count), labels].log().mean())
    loss.backward()
    torch.testing.assert_close(default_class_gradient(y.detach(), labels), y.grad, rtol=0, atol=1e-12)
