"""Names and titles that others chose, such as of files: how to show them, and how to make file names of them."""

import hashlib
import unicodedata
from pathlib import Path


def shown(name: str | Path) -> str:
    """Return a name on one line, as it is but for what cannot be printed: that becomes an escape, as in Python.

    Control characters, marks that turn the direction of text, and bytes that are no UTF-8 are such.

    Examples
    --------
    >>> shown("cat.jpg"), shown("two\\nlines"), shown(b"\\xff.jpg".decode("utf-8", "surrogateescape"))
    ('cat.jpg', 'two\\\\nlines', '\\\\xff.jpg')
    """
    return "".join(map(_shown, str(name)))


def _shown(letter: str) -> str:
    if letter.isprintable() or unicodedata.category(letter) == "Zs":
        return letter
    if "\udc80" <= letter <= "\udcff":  # how Python holds a byte of a file name that is no UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")


def file_stem(name: str, longest: int = 150) -> str:
    """Return a name as the beginning of a file name: shown, and cut to so many bytes, a checksum in the cut's place.

    Examples
    --------
    >>> file_stem("cat"), len(file_stem("ä" * 125))
    ('cat', 79)
    """
    text = shown(name)
    encoded = text.encode()
    if len(encoded) <= longest:
        return text
    digest = hashlib.sha256(encoded).hexdigest()[:8]
    return f"{encoded[: longest - 10].decode(errors='ignore')}-{digest}"


def literal(text: str, width: int = 80) -> str:
    """Return what others chose, such as a title or the name of a class, so that matplotlib shows it letter by letter.

    Examples
    --------
    >>> print(literal("cat"), literal("$x^2$"), literal("a long name", 6))
    cat \\$x^2\\$ a lon…
    """
    text = shown(text)
    return (text if len(text) <= width else text[: width - 1] + "…").replace("$", r"\$")
