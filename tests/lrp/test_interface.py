"""The public interface: one call, books that add up, an untouched model, and errors that say what to do."""

import pytest
import torch
from torch import nn

from lrp_dynamics import lrp
from lrp_dynamics.errors import UserError


def blog_cnn(dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return (
        nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(1568, 512), nn.ReLU(), nn.Linear(512, 10),
        ).to(dtype).eval()
    )  # fmt: skip


@pytest.mark.parametrize("composite", lrp.COMPOSITES)
def test_books_add_up(composite):
    result = lrp.relevance(blog_cnn(), torch.rand(4, 3, 32, 32).double(), torch.arange(4), composite, bounds=(0.0, 1.0))
    absorbed = sum(result.absorbed.values())
    torch.testing.assert_close(result.initial - result.input.flatten(1).sum(1), absorbed, rtol=0, atol=1e-12)
    torch.testing.assert_close(result.residual, absorbed, rtol=0, atol=1e-12)


def test_z_plus_conserves():
    result = lrp.relevance(blog_cnn(), torch.rand(4, 3, 32, 32).double(), "predicted")
    assert (result.residual.abs() < 1e-7 * result.initial.abs()).all()
    assert (result.min_abs_z > 0).all()


def test_an_explainer_follows_the_weights():
    model, x = blog_cnn(), torch.rand(4, 3, 32, 32).double()
    explain = lrp.Explainer(model)
    before = explain(x, "predicted").input
    with torch.no_grad():
        model[0].weight.mul_(-1)
    after = explain(x, "predicted").input
    assert not torch.equal(before, after)
    assert torch.equal(after, lrp.relevance(model, x, "predicted").input)


def test_gradient_x_input_is_lrp_0():
    model, x = blog_cnn(), torch.rand(4, 3, 32, 32).double()
    torch.testing.assert_close(
        lrp.relevance(model, x, "predicted", "lrp0").input, lrp.gradient_x_input(model, x, "predicted")
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(target=torch.tensor([0, 10])), "class outside 0 to 9"),
        (dict(target=torch.tensor([0])), "one class per sample"),
        (dict(target="best"), "predicted"),
        (dict(composite="zplus"), "did you mean 'z_plus'"),
        (dict(composite="deep_taylor"), "bounds"),
        (dict(inputs=torch.full((2, 3, 32, 32), torch.nan)), "NaN"),
        (dict(composite="deep_taylor", bounds=(0.0, 0.5)), "leaves its bounds"),
    ],
)
def test_mistakes_are_told(change, message):
    arguments = dict(model=blog_cnn(), inputs=torch.rand(2, 3, 32, 32), target="predicted") | change
    with pytest.raises(UserError, match=message):
        lrp.relevance(**arguments)
