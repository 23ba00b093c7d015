"""What to call recordings that are shown beside each other."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lrp_dynamics.base.errors import UserError

Recordings = str | Path | Sequence[str | Path] | Mapping[str, str | Path]
_GENERAL = ("relevance", "/", ".", "..")  # parts of a path that tell nothing


def named(recordings: Recordings) -> dict[str, Path]:
    """Return name to path of one or several recordings.

    Parameters
    ----------
    recordings : path, sequence of paths, or mapping of name to path
        Without a name, a recording is called by the last part of its path that the others do not have.

    Raises
    ------
    UserError
        If there is none, or one twice.

    Examples
    --------
    >>> list(named(["a/seed-0/relevance.h5", "a/seed-1/relevance.h5"])), list(named("runs/z_plus.h5"))
    (['seed-0', 'seed-1'], ['z_plus'])
    >>> named({"first": "x.h5"})["first"].name
    'x.h5'
    """
    if isinstance(recordings, Mapping):
        pairs = [(str(name), Path(path)) for name, path in recordings.items()]
    else:
        paths = [Path(path) for path in ([recordings] if isinstance(recordings, str | Path) else recordings)]
        pairs = [(_short(path, paths), path) for path in paths]
    if not pairs:
        raise UserError("found no recording, expected the path of one or more")
    found: dict[str, Path] = {}
    for name, path in pairs:
        if not name:
            raise UserError(f"{path}: found an empty name, expected NAME=PATH")
        if same := [other for other in found.values() if other.resolve() == path.resolve()]:
            raise UserError(f"{path}: found the recording twice, also as {same[0]}; give each once")
        if name in found:
            raise UserError(
                f"found two recordings called {name!r}, {found[name]} and {path}; give each a name, NAME=PATH"
            )
        found[name] = path
    return found


def of_words(words: Sequence[str]) -> dict[str, Path]:
    """Return name to path of words such as "runs/a.h5" or "first=runs/a.h5", as a command line has them.

    Examples
    --------
    >>> list(of_words(["first=x.h5", "runs/y.h5"]))
    ['first', 'y']
    """
    # A path may have an equals sign, too.
    pairs = [("", word) if Path(word).exists() or "=" not in word else word.split("=", 1) for word in words]
    own = [Path(path) for name, path in pairs if not name]
    unnamed = iter(named(own) if own else {})
    given = [(name or next(unnamed), path) for name, path in pairs]
    if twice := [name for number, (name, _) in enumerate(given) if name in [other for other, _ in given[:number]]]:
        raise UserError(f"found two recordings called {twice[0]!r}; give each a name of its own, NAME=PATH")
    return named(dict(given))


def _short(path: Path, others: Sequence[Path]) -> str:
    parts = [part for part in (*path.parent.parts, path.stem) if part not in _GENERAL]
    rest = [{*other.parent.parts, other.stem} for other in others if other != path]
    alone = [part for part in parts if all(part not in other for other in rest)]
    return (alone or parts or [path.stem])[-1]
