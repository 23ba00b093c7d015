"""Names of rules as people write them, for figures, notebooks and pages alike."""

import re

_SIGNS = (
    (r"gradient_x_input", "gradient × input"),
    (r"alpha(\d+)_beta(\d+)", r"α\1β\2"),
    (r"alpha_beta", "αβ"),
    (r"deep_taylor", "deep Taylor"),
    (r"attnlrp", "AttnLRP"),
    (r"cp_lrp", "CP-LRP"),
    (r"lrp0", "LRP-0"),
    (r"w_square", "w²"),
    (r"z_plus|(?<=_)plus", "z⁺"),
    (r"z_box|zB|(?<=_)box", "zᴮ"),
    (r"epsilon", "ε"),
    (r"gamma", "γ"),
)


def rule_name(name: str) -> str:
    """Return the name of a rule, composite or explanation as plain Unicode text: z⁺ for "z_plus".

    Whatever else is in the name stays, with spaces for underscores. The text is not escaped.

    Examples
    --------
    >>> [rule_name(name) for name in ("z_plus", "zB_z_plus", "alpha2_beta1", "epsilon_rms", "gradient_x_input")]
    ['z⁺', 'zᴮ z⁺', 'α2β1', 'ε rms', 'gradient × input']
    >>> [rule_name(name) for name in ("epsilon_plus_flat", "epsilon_gamma_box", "lrp0", "sensitivity", "plus")]
    ['ε z⁺ flat', 'ε γ zᴮ', 'LRP-0', 'sensitivity', 'plus']
    """
    for pattern, sign in _SIGNS:
        name = re.sub(rf"(?<![^\W_])(?:{pattern})(?![^\W_])", sign, name)
    return name.replace("_", " ")
