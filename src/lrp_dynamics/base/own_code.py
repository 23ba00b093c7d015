"""Networks of the user's own, `path/net.py:my_net` or `my_package.my_net`: which files they are, and importing them.

Nothing is imported to find the files, and nothing heavy by this module: a Snakefile asks it.
"""

import ast
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.names import shown

# Snakemake and DVC would put something else in the place of braces.
PATTERN = r"[^{}<>]+\.py:[A-Za-z_]\w*|[A-Za-z_]\w*(\.[A-Za-z_]\w*)+"
FORMS = "path/net.py:my_net or my_package.my_net"
_INSTALLED = {"site-packages", "dist-packages"}


def is_own(model: str) -> bool:
    """Tell whether a model is named by a place of code.

    Examples
    --------
    >>> [is_own(name) for name in ("blog_cnn", "nets/small.py:net", "my_package.nets.Small", "model.safetensors")]
    [False, True, True, False]
    """
    return re.fullmatch(PATTERN, model) is not None and not model.endswith((".safetensors", ".pth", ".pt"))


def files_of(model: str) -> list[str]:
    """Return the files that a network's code is made of: its own, and those that it imports from the same folder.

    Installed packages are left out, as their versions are what tells of them.

    Parameters
    ----------
    model : str
        Code as `is_own` knows it.

    Returns
    -------
    list of str
        Sorted; relative to the working folder where they lie in it.

    Raises
    ------
    UserError
        If there is no such file or module.
    """
    root, file = _place(model)
    if not _is_own_file(file):
        return []
    found: set[Path] = set()
    waiting = [file, *_inits(file, root)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path, root)
    here = Path.cwd()
    return sorted(str(path.relative_to(here) if path.is_relative_to(here) else path) for path in found)


def load(model: str) -> Any:
    """Import a network's code and return what it is called there.

    Raises
    ------
    UserError
        If there is no such code, or it cannot be imported; it names file and line.
    """
    root, file = _place(model)
    where, name = _split(model)
    sys.path.insert(0, str(root))
    try:
        module = _from_file(file) if ":" in model else import_module(where)
    except (Exception, SystemExit) as error:
        raise UserError(f"model: {shown(where)} cannot be imported ({told(error)})") from error
    finally:
        sys.path.remove(str(root))
        if str(root) not in sys.path:
            sys.path.append(str(root))  # for what it imports later; behind all else, so that it hides nothing
    if not hasattr(module, name):
        names = ", ".join(key for key, value in vars(module).items() if callable(value) and key[0] != "_")
        raise UserError(
            f"model: found {model!r}, but {shown(where)} has no {name}; it has {names or 'nothing to call'}"
        )
    return getattr(module, name)


def told(error: BaseException) -> str:
    """Return an error of someone's code on one line: what, and in which line of which file."""
    text = next(iter(str(error).splitlines()), "")
    if isinstance(error, SyntaxError):  # tells of the line by itself
        return shown(f"{type(error).__name__}: {text}")
    package = Path(__file__).parents[1]
    frames = traceback.extract_tb(error.__traceback__)
    places = [(Path(frame.filename), frame.lineno) for frame in frames]
    own = [place for place in places if _is_own_file(place[0]) and package not in place[0].parents]
    place = f", at {own[-1][0]}, line {own[-1][1]}" if own else ""
    return shown(f"{type(error).__name__}: {text}{place}")


def _is_own_file(file: Path) -> bool:
    return file.is_file() and not _INSTALLED & set(file.parts) and Path(ast.__file__).parent not in file.parents


def _split(model: str) -> tuple[str, str]:
    """Return file or module, and the name in it."""
    where, _, name = model.rpartition(":" if ":" in model else ".")
    return where, name


def _place(model: str) -> tuple[Path, Path]:
    """Return the folder that a network's code is imported from, and its file."""
    where, _ = _split(model)
    if ":" in model:
        file = Path(where).expanduser().absolute()
        if not file.is_file():
            raise UserError(f"model: found {model!r}, but there is no file {shown(where)}")
        return file.parent, file
    parts = where.split(".")
    if parts[0] in sys.stdlib_module_names:
        raise UserError(f"model: found {model!r}, but {parts[0]} is a module of Python itself, which has no networks")
    for root in _roots(parts[0]):
        base = root.joinpath(*parts)
        for file in (base / "__init__.py", base.with_suffix(".py")):
            if file.is_file():
                return root, file
    raise UserError(
        f"model: found {model!r}, but there is no module {where} here or among the installed packages; expected the "
        f"name of a network of this package, or your own as {FORMS}"
    )


def _roots(package: str) -> Iterator[Path]:
    """Yield the folders in which a package may lie: the working folder, and where it is installed."""
    yield Path.cwd()
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return
    for folder in (spec and spec.submodule_search_locations) or ():
        yield Path(folder).parent
    if spec and spec.origin and spec.submodule_search_locations is None:
        yield Path(spec.origin).parent


def _from_file(file: Path) -> ModuleType:
    name = f"own_network_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def _imported(path: Path, root: Path) -> Iterator[Path]:
    """Yield the files below a folder that a file imports, wherever in it the import stands."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # told where it is imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [(root, alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[node.level - 1] if node.level else root
            parts = node.module.split(".") if node.module else []
            modules = [(base, [*parts, *rest]) for rest in ([], *([alias.name] for alias in node.names))]
        else:
            continue
        for base, parts in modules:
            place = base.joinpath(*parts)
            for file in (place.with_suffix(".py"), place / "__init__.py"):
                if parts and file.is_file() and file.is_relative_to(root):
                    yield from (file, *_inits(file, root))


def _inits(file: Path, root: Path) -> Iterator[Path]:
    """Yield the `__init__.py` of the packages that a file lies in."""
    for folder in file.parents:
        if folder == root or not folder.is_relative_to(root):
            return
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"
