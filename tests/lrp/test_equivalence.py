"""The same function written with other layers gets the same map, under every composite that has a rule for it.

Each strategy below draws two nets of one function, with weights of their own each time, and an input.
"""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lrp_dynamics import lrp

from .nets import randomize

BY_DEPTH = {"first": "z_box", "2": "gamma", "*": {"rule": "epsilon", "relative": 0.25}}
EXACT = {"rule": "norm", "epsilon": 0.0}


def composites(left_out=(), types=True, exact_sums=False):
    """Return composites as mappings: without some rules, without those for a type of weights, or with ε = 0 in sums.

    A sum of sums is stabilized once more than one sum.
    """
    found = {name: c.describe() for name, c in lrp.COMPOSITES.items()}
    found["tutorial_vgg16"] |= {"rules": BY_DEPTH}  # the tutorial's is for VGG-16 alone
    chosen = []
    for composite in found.values():
        rules = {key: {"rule": r} if isinstance(r, str) else r for key, r in composite["rules"].items()}
        if any(r["rule"] in left_out for r in rules.values()):
            continue
        if not types and {"Linear", "Conv2d"} & {word for key in rules for word in key.split()}:
            continue
        if exact_sums:
            if composite["top_k"] < 1:  # counts layers
                continue
            rules = {key: r | {"epsilon": 0.0} if r["rule"] in ("half", "gate") else r for key, r in rules.items()}
            rules = {key: r for key, r in rules.items() if r["rule"] != "norm"} | {"**": EXACT}
        chosen.append(composite | {"rules": rules})
    return chosen


def assert_same(a, b, x, composite, other=None, shape=None):
    """Compare the maps of two nets, of which the second may have a composite and a shape of the input of its own.

    What rounding does to them is in proportion to the inverse of the smallest denominator.
    """
    ours = lrp.relevance(a, x, "predicted", composite, bounds=(-1.0, 1.0))
    x = x.view(shape or x.shape)
    theirs = lrp.relevance(b, x, "predicted", other or composite, bounds=(-1.0, 1.0))
    torch.testing.assert_close(ours.output, theirs.output)
    torch.testing.assert_close(ours.initial, theirs.initial)
    size = theirs.input.flatten(1).abs().amax(1)
    limit = 1e-12 * size * (100 + 1 / torch.minimum(ours.min_abs_z, theirs.min_abs_z).clamp(min=1e-6))
    assert torch.isfinite(ours.input).all()
    assert ((ours.input.flatten(1) - theirs.input.flatten(1)).abs().amax(1) <= limit).all()


def images(draw, *shape):
    seed = draw(st.integers(0, 10**6))
    torch.manual_seed(seed)
    return torch.rand(2, *shape, dtype=torch.float64) * 2 - 1


class Around(nn.Module):
    """Something between two layers, of which the first may leave values of both signs."""

    def __init__(self, first, middle, last, rectified):
        super().__init__()
        self.first, self.middle, self.last, self.rectified = first, middle, last, rectified

    def forward(self, x):
        x = self.first(x)
        x = self.middle(torch.relu(x) if self.rectified else x)
        return self.last(torch.relu(x).flatten(1))


class Function(nn.Module):
    """A layer made of a function of its parameters."""

    def __init__(self, function, **parameters):
        super().__init__()
        self.function = function
        self.values = nn.ParameterDict(parameters)

    def forward(self, x):
        return self.function(x, **self.values)


def around(draw, first, ways, outputs, rectified=None):
    """Return the same net around two ways to write what lies in its middle."""
    last, rectified = nn.Linear(outputs, 4).double(), draw(st.booleans()) if rectified is None else rectified
    return [Around(first.double(), way.double(), last, rectified).eval() for way in ways]


# One dimension more


def stage(kind, dims, extra, width, options):
    """Return a layer over `dims` dimensions, after as many of size 1 as `extra` says."""
    total = dims + extra
    pick = lambda name: getattr(nn, f"{name}{total}d")  # noqa: E731
    wide = lambda value, one=1: (one,) * extra + (value,) * dims  # noqa: E731
    kernel, stride, padding, dilation, groups = options
    if kind == "conv":
        return pick("Conv")(width, 6, wide(kernel), wide(stride), wide(padding, 0), wide(dilation), groups)
    if kind == "transposed":
        return pick("ConvTranspose")(width, 6, wide(kernel), wide(stride), wide(min(padding, kernel - 1), 0))
    if kind == "norm":
        return pick("BatchNorm")(width)
    if kind == "max":
        return pick("MaxPool")(wide(2), wide(stride), wide(padding // 2, 0), ceil_mode=dilation == 2)
    if kind == "average":
        return pick("AvgPool")(wide(2), wide(stride), wide(padding // 2, 0), count_include_pad=dilation == 2)
    if kind == "adaptive":
        return pick("AdaptiveAvgPool")(wide(3))
    if kind == "upsample":
        return nn.Upsample(scale_factor=wide(2), mode="nearest")
    return nn.ReLU()


@st.composite
def dimensions(draw, dims=1):
    kinds = ["conv", "relu", "transposed", "norm", "max", "average", "adaptive", "upsample"]
    chosen = ["conv", *draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5))]
    x, width, size = images(draw, 4, *(10,) * dims), 4, 10
    layers, copies = [], []
    for kind in chosen:
        small = st.integers(1, 2)
        options = (draw(st.integers(2, 3)), draw(small), draw(st.integers(0, 2)), draw(small), draw(small))
        made = [stage(kind, dims, extra, width, options) for extra in (0, 1)]
        if kind != "relu" and size < (2 if kind in ("transposed", "upsample") else 5):
            continue
        layers.append(made[0])
        copies.append(made[1])
        shape = nn.Sequential(*layers).double().eval()(x).shape
        width, size = shape[1], shape[2]
        if size > 12:
            break
    outputs = nn.Sequential(*layers)(x).flatten(1).shape[1]
    nets = [randomize(nn.Sequential(*made, nn.Flatten(), nn.Linear(outputs, 4)).double()) for made in (layers, copies)]
    for own, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        other.data = own.data.view(other.shape)
    return *nets, x


def for_dimensions(composite, dims):
    """Return a composite with its rules for layers of images given to those of series or volumes."""
    rules = {key.replace("2d", f"{dims}d"): rule for key, rule in composite["rules"].items()}
    return composite | {"rules": rules}


@pytest.mark.parametrize("dims", [1, 2])
@settings(max_examples=40)
@given(data=st.data())
def test_a_dimension_more(dims, data):
    """1-D as 2-D of height 1, 2-D as 3-D of depth 1."""
    composite = data.draw(st.sampled_from(composites()))
    a, b, x = data.draw(dimensions(dims))
    shape = x.unsqueeze(2).shape
    assert_same(a, b, x, for_dimensions(composite, dims), for_dimensions(composite, dims + 1), shape)


# Modules and functions


class Modules(nn.Module):
    def __init__(self, width, stride, padding):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, width, 3, stride, padding), nn.BatchNorm2d(width)
        self.pool, self.average, self.out = nn.MaxPool2d(2), nn.AvgPool2d(2, 1), nn.AdaptiveAvgPool2d(2)
        self.up, self.pad = nn.Upsample(scale_factor=2, mode="bilinear"), nn.ZeroPad2d(1)
        self.before, self.fc, self.last = nn.BatchNorm2d(width), nn.Linear(4 * width, 8), nn.Linear(8, 4)
        self.relu, self.drop, self.flat, self.act = nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.SiLU()

    def forward(self, x):
        x = self.pad(self.up(self.pool(self.relu(self.norm(self.conv(x))))))
        x = self.flat(self.out(self.act(self.before(self.average(x)))))
        return self.last(self.relu(self.fc(self.drop(x))))


class Functions(Modules):
    def forward(self, x):
        def batch_norm(x, n):
            return F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias, False, 0.1, n.eps)

        x = F.conv2d(x, self.conv.weight, self.conv.bias, self.conv.stride, self.conv.padding)
        x = F.pad(F.interpolate(F.max_pool2d(batch_norm(x, self.norm).relu_(), 2), None, 2, "bilinear"), (1, 1, 1, 1))
        x = F.silu(batch_norm(F.avg_pool2d(x, 2, 1), self.before))
        x = F.dropout(F.adaptive_avg_pool2d(x, 2).view(x.size(0), -1), training=self.training)
        x = torch.clamp(F.linear(x, self.fc.weight, self.fc.bias), min=0)
        return torch.addmm(self.last.bias, x, self.last.weight.t())


@settings(max_examples=40)
@given(data=st.data())
def test_functions_as_modules(data):
    composite, x = data.draw(st.sampled_from(composites())), images(data.draw, 3, 9, 9)
    options = data.draw(st.tuples(st.integers(2, 5), st.integers(1, 2), st.integers(0, 1)))
    modules = randomize(Modules(*options).double())
    functions = Functions(*options).double().eval()
    functions.load_state_dict(modules.state_dict())
    assert_same(modules, functions, x, composite)


# Layers with weights


@st.composite
def linear_as_convolution(draw):
    x, outputs = images(draw, 6), draw(st.integers(1, 5))
    dense, conv = nn.Linear(5, outputs), nn.Conv2d(5, outputs, 1)
    conv.weight, conv.bias = nn.Parameter(dense.weight[..., None, None].detach()), dense.bias
    as_image = nn.Sequential(nn.Unflatten(1, (5, 1, 1)), conv)
    return *around(draw, nn.Linear(6, 5), (dense, as_image), outputs), x


@st.composite
def linear_of_tokens(draw):
    """Return a dense layer over the last of three dimensions, and one of many ways to write it."""
    ways = {
        "matmul": lambda x, w, b=None: plus(x @ w.t(), b),
        "tensordot": lambda x, w, b=None: plus(torch.tensordot(x, w, dims=([2], [1])), b),
        "convolution": lambda x, w, b=None: F.conv1d(x.transpose(1, 2), w[..., None], b).transpose(1, 2),
        "einsum": lambda x, w, b=None: plus(torch.einsum("nti,oi->nto", x, w), b),
        "left": lambda x, w, b=None: plus((w @ x.transpose(1, 2)).transpose(1, 2), b),
        "bmm": lambda x, w, b=None: plus(torch.bmm(x, w.t().expand(len(x), -1, -1)), b),
        "baddbmm": lambda x, w, b: torch.baddbmm(b, x, w.t().expand(len(x), -1, -1)),
    }
    x, outputs, way = images(draw, 4, 6), draw(st.integers(1, 5)), draw(st.sampled_from(list(ways)))
    bias = way == "baddbmm" or draw(st.booleans())
    dense = nn.Linear(6, outputs, bias=bias).double()
    values = {"w": dense.weight.data, **({"b": dense.bias.data} if bias else {})}
    return *around(draw, nn.Linear(6, 6), (dense, Function(ways[way], **values)), 4 * outputs), x


def plus(x, bias):
    return x if bias is None else x + bias


@st.composite
def transposed_as_matrix(draw):
    x, (kernel, stride) = images(draw, 3, 4, 4), draw(st.tuples(st.integers(1, 3), st.integers(1, 2)))
    groups, padding = draw(st.sampled_from([1, 2])), draw(st.integers(0, kernel - 1))
    layer = nn.ConvTranspose2d(2, 4, kernel, stride, padding, stride - 1, groups).double()
    zero = torch.zeros(1, 2, 4, 4, dtype=torch.float64)
    offset = layer(zero).detach()
    matrix = torch.func.jacrev(layer)(zero).detach().reshape(offset.numel(), zero.numel())
    dense = nn.Linear(*matrix.shape[::-1]).double()
    dense.weight.data, dense.bias.data = matrix, offset.flatten()
    as_dense = nn.Sequential(nn.Flatten(), dense, nn.Unflatten(1, offset.shape[1:]))
    return *around(draw, nn.Conv2d(3, 2, 1), (layer, as_dense), offset.numel()), x


@st.composite
def convolution_as_unfold(draw):
    x, (kernel, stride, padding) = images(draw, 3, 6, 6), draw(st.tuples(*[st.integers(1, 3)] * 2, st.integers(0, 1)))
    layer = nn.Conv2d(3, 4, kernel, stride, padding, bias=draw(st.booleans())).double()
    shape = layer(x).shape

    def unfolded(x, w, b=None):
        columns = F.unfold(x, kernel, stride=stride, padding=padding)
        return plus(w.flatten(1) @ columns, None if b is None else b[:, None]).view(-1, *shape[1:])

    bias = {} if layer.bias is None else {"b": layer.bias.data}
    as_matrix = Function(unfolded, w=layer.weight.data, **bias)
    return *around(draw, nn.Conv2d(3, 3, 1), (layer, as_matrix), shape[1:].numel()), x


# Rules are by type, and `flat` counts a matrix's zeros: inputs that a convolution has not.
WEIGHTED = {
    "linear as convolution": (linear_as_convolution(), composites(types=False)),
    "linear of tokens": (linear_of_tokens(), composites(types=False)),
    "transposed as matrix": (transposed_as_matrix(), composites(types=False, left_out=["flat"])),
    "convolution as unfold": (convolution_as_unfold(), composites(types=False, left_out=["flat"])),
}


@pytest.mark.parametrize("pair", WEIGHTED)
@settings(max_examples=40)
@given(data=st.data())
def test_layers_with_weights(pair, data):
    nets, rules = WEIGHTED[pair]
    composite = data.draw(st.sampled_from(rules))
    assert_same(*data.draw(nets), composite)
