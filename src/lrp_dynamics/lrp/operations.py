"""What ATen calls its operations, by what becomes of relevance in them."""

# Tensors of a shape alone: constants, whatever they read. Where nothing is written into it, memory holds zeros.
FILLED = {"zeros_like": 0, "new_zeros": 0, "empty_like": 0, "new_empty": 0, "new_empty_strided": 0, "zero": 0}
FILLED |= {"ones_like": 1, "new_ones": 1}
FILLED_WITH = {"full_like": 1, "new_full": 2, "fill": 1}  # the argument that says with what
# The value itself, in other memory or of another float type.
IDENTITIES = {"alias", "detach", "clone", "contiguous", "lift_fresh", "_to_copy"}
# The same values in the same order; of `expand` only where it does nothing.
RESHAPES = {"view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze", "unsqueeze", "flatten", "unflatten"}
# The same values in another order: none is lost and none is new.
PERMUTES = {"permute", "transpose", "t", "roll", "flip", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"}
PERMUTES |= {"native_channel_shuffle", "numpy_T", "mT", "movedim", "rot90"}
# Each value of the output is a copy of one of the input, or of a constant.
MOVES = PERMUTES | {
    "expand", "repeat", "slice", "select", "split", "split_with_sizes", "unbind", "chunk", "narrow", "diagonal", "cat",
    "stack", "index", "index_select", "gather", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d",
    "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d", "copy", "slice_scatter",
    "select_scatter", "index_put", "scatter", "where", "masked_fill", "unfold", "im2col", "tril", "triu", "as_strided",
    "repeat_interleave", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
}  # fmt: skip
FILLS = {"constant_pad_nd", "masked_fill", "tril", "triu"}  # with constants that are no tensors
# Each value of the output is a copy of the largest, or smallest, of some of the input.
WINNERS = {"amax", "amin", "max", "min", "maximum", "minimum", "topk", "sort", "kthvalue", "median", "cummax"}
MAX_POOLS = {"max_pool2d_with_indices": 2, "max_pool3d_with_indices": 3}
ADAPTIVE_MAX_POOLS = {"adaptive_max_pool2d": 2, "adaptive_max_pool3d": 3}
# Linear with weights >= 0 that nothing has learnt.
AVERAGES = {
    "mean", "sum", "avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d",
    "upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "_upsample_bilinear2d_aa", "cumsum", "col2im",
}  # fmt: skip
NORMALIZATIONS = {"native_layer_norm": "LayerNorm", "native_group_norm": "GroupNorm", "rms_norm": "RMSNorm"}
BATCH_NORMS = {"native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm", "_native_batch_norm_legit"}
BATCH_NORMS |= {"_native_batch_norm_legit_no_training", "batch_norm", "_batch_norm_no_update"}
SOFTMAX = {"_softmax", "_safe_softmax"}
# What says how much of another value goes on, and what a value is divided by: constants under the rule `gate`.
GATES = SOFTMAX | {"sigmoid", "hardsigmoid", "hardtanh", "clamp", "erf", "tanh"}
STATISTICS = {"rsqrt", "sqrt", "reciprocal", "linalg_vector_norm", "norm", "var", "std", "logsumexp"}
# Of single values, beside those that torch says are: not all, and in each version others.
POINTWISE = {
    "_prelu_kernel", "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "log_sigmoid_forward", "mish", "relu", "rrelu_with_noise", "rrelu_with_noise_functional", "selu", "sigmoid", "silu",
    "softplus", "softshrink", "special_erf", "tanh", "threshold",
}  # fmt: skip
# Of single values: their output is >= 0.
POSITIVE = {"relu", "sigmoid", "hardsigmoid", "softplus", "exp", "abs", "sqrt", "rsqrt", "square", "cosh"}
# At the very end: they give a score below 0 another sign, and so each contribution to it; those of classes mix them.
OVER_CLASSES = SOFTMAX | {"_log_softmax"}
OUTPUT_ACTIVATIONS = OVER_CLASSES | {"sigmoid", "hardsigmoid", "softplus", "log_sigmoid_forward"}
# They work along dimensions that they are told; along that of the samples they would mix samples.
ALONG = OVER_CLASSES | WINNERS | {
    "cat", "roll", "flip", "cumsum", "gather", "index_select", "slice", "select", "split", "split_with_sizes",
    "unbind", "chunk", "narrow", "repeat_interleave", "scatter", "slice_scatter", "select_scatter", "unfold", "cumprod",
}  # fmt: skip
# How single values' functions are called in tables; others by their own name.
KINDS = {
    "relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "elu": "ELU", "celu": "CELU", "leaky_relu": "LeakyReLU",
    "hardtanh": "Hardtanh", "_prelu_kernel": "PReLU", "log_sigmoid_forward": "LogSigmoid", "_log_softmax": "LogSoftmax",
    "_softmax": "Softmax", "_safe_softmax": "Softmax", "_adaptive_avg_pool2d": "AdaptiveAvgPool2d",
    "_adaptive_avg_pool3d": "AdaptiveAvgPool3d", "_upsample_bilinear2d_aa": "UpsampleBilinear2d",
}  # fmt: skip
# How layers that no module names are called.
NAMES = {
    "addmm": "linear", "mm": "linear", "bmm": "matmul", "native_batch_norm": "batch_norm",
    "max_pool2d_with_indices": "max_pool2d", "max_pool3d_with_indices": "max_pool3d", "rsub": "sub",
    "log_sigmoid_forward": "logsigmoid",
}  # fmt: skip


def kind_of(name: str) -> str:
    """Return the kind of an operation, as in tables.

    >>> kind_of("upsample_bilinear2d"), kind_of("relu")
    ('UpsampleBilinear2d', 'ReLU')
    """
    return KINDS.get(name) or "".join(word.capitalize() for word in name.strip("_").split("_"))


def name_of(name: str) -> str:
    """Return how a layer is called that no module names.

    >>> name_of("native_layer_norm"), name_of("_softmax"), name_of("addmm")
    ('layer_norm', 'softmax', 'linear')
    """
    return NAMES.get(name) or name.strip("_").removeprefix("native_").removeprefix("safe_")
