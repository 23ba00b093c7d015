"""Numbers and lists as they stand in sentences."""

from collections.abc import Iterable
from math import floor, inf, isfinite, log10

_UNUSUAL = {inf: "∞", -inf: "−∞"}


def number(value: float) -> str:
    """Return a number with three significant digits, with a true minus sign.

    Examples
    --------
    >>> [number(v) for v in (0.0, 1234.5, 0.04086, 2.381e-07, -0.2379, 3, 88.16, float("-inf"))]
    ['0', '1,234', '0.0409', '2.4 · 10<sup>−7</sup>', '−0.238', '3', '88.2', '−∞']
    """
    if not isfinite(value):
        return _UNUSUAL.get(value, "unknown")
    if value == 0 or isinstance(value, int) or float(value).is_integer():
        text = f"{int(value):,}"
    elif abs(value) >= 1000:
        text = f"{value:,.0f}"
    elif abs(value) >= 1e-3:
        text = f"{value:#.3g}".rstrip(".")
    else:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa} · 10<sup>{int(exponent)}</sup>"
    return text.replace("-", "−")


def percent(share: float) -> str:
    """Return a share as per cent, with enough digits to not round to nothing.

    Examples
    --------
    >>> [percent(v) for v in (0.553, 0.0408, 0.000233, 0.000644, 1.0, 0.0, 2e-7)]
    ['55.3 %', '4.1 %', '0.023 %', '0.064 %', '100 %', '0 %', '0.00002 %']
    """
    value = 100 * share
    if not isfinite(value):
        return number(value)
    if value == 0 or value == 100:
        return f"{value:.0f} %"
    if abs(value) >= 1:
        return f"{value:.1f} %".replace("-", "−")
    return f"{value:.{1 - floor(log10(abs(value)))}f}".rstrip("0").replace("-", "−") + " %"


def correlation(value: float) -> str:
    """Return a correlation with three digits, or with as many nines as it has.

    Examples
    --------
    >>> [correlation(v) for v in (0.99979, 0.65, -0.04, 0.999999, 1.0)]
    ['0.9998', '0.65', '−0.04', 'over 0.9999', '1']
    """
    if not isfinite(value):
        return number(value)
    if 0.9999 < value < 1:
        return "over 0.9999"
    return f"{value:.{4 if value > 0.99 else 2}f}".rstrip("0").rstrip(".").replace("-", "−") if value else "0"


def times(value: float) -> str:
    """Return a ratio in words: "2.2 times", "1,200 times"."""
    if not isfinite(value):
        return f"{number(value)} times"
    return f"{float(f'{value:.2g}'):,g} times"


def points(difference: float) -> str:
    """Return a difference of two shares in percentage points.

    Examples
    --------
    >>> points(0.1475), points(0.01)
    ('14.8 percentage points', '1 percentage point')
    """
    value = f"{100 * difference:.1f}".removesuffix(".0").replace("-", "−")
    return f"{value} percentage {'point' if value == '1' else 'points'}"


def listed(names: Iterable[str], last: str = "and") -> str:
    """Return one or more names as a list in words.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b"], "or")
    ('a', 'a, b and c', 'a or b')
    """
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end


def plural(count: int, word: str) -> str:
    """Return the word, with an s unless there is just one."""
    return word if count == 1 else word + "s"
