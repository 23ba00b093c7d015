"""Opening HDF5 files for reading, and knowing that they hold what is expected before anything in them is used."""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np

from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.base.locks import holder

DENSEST = 1100  # so many bytes of values, at most, HDF5's compression makes one byte of
HARMLESS = 2**26  # bytes of values that any machine has room for; the sums of a recording that has only begun take none


@dataclass(frozen=True)
class Layout:
    """What the files of a schema hold, as far as their readers rely on it; they may hold more.

    Attributes
    ----------
    schema : str
        What their attribute "schema" is.
    versions : tuple of int
        What their attribute "schema_version" may be.
    what : str
        What such a file is and where it comes from, for messages.
    attributes : mapping of str to str
        Each attribute that must be there, to one of `KINDS`.
    datasets : mapping of str to str, or a function of the attributes that returns one
        Name, to the kinds of NumPy that its values may have and its axes, as in "iu N *shape". An axis of upper case is
        not empty, one of lower case may be; axes of one name agree, but "_" is any; a name with a star stands for the
        axes that are left, "*" for any. A name that ends in "?" may be missing, one in "/*" is all that a group holds.
    """

    schema: str
    versions: tuple[int, ...]
    what: str
    attributes: Mapping[str, str]
    datasets: Mapping[str, str] | Callable[[Mapping[str, Any]], Mapping[str, str]]


def open_hdf5(path: str | Path, layout: Layout) -> h5py.File:
    """Open a file of a schema for reading, after a look at all that it holds.

    Raises
    ------
    StorageError
        If it is being written, and not live.
    UserError
        If the file is missing, is not HDF5, or holds something else: other attributes, datasets of other types or
        shapes, more values than its size allows, or what lies in other files.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no plain file" if path.exists() else "no such file"
        raise UserError(f"{path}: found {found}, expected {layout.what}")
    try:
        file = _File(path, "r")
    except Exception as plain:  # OSError, or RuntimeError of a head that HDF5 cannot read
        try:
            file = _File(path, "r", libver="latest", swmr=True)  # one that is being written live
        except Exception:
            if (who := holder(path)) or isinstance(plain, BlockingIOError):
                raise StorageError(
                    f"{path}: is being written by {who or 'another process'}; wait until that has ended, or record "
                    "with live=True to read meanwhile"
                ) from None
            if getattr(plain, "errno", None):
                raise UserError(f"{path}: cannot be opened ({os.strerror(plain.errno)})") from None
            raise UserError(
                f"{path}: HDF5 cannot open it: it is no HDF5 file, or damaged ({_line(plain)}); expected {layout.what}"
            ) from None
    try:
        _check_schema(path, file, layout)
        _check_own(path, file)
        _check_attributes(path, file, layout)
        _check_datasets(path, file, layout)
    except BaseException as error:
        file.close()
        # HDF5 raises errors of many kinds about files that it cannot make sense of.
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        raise UserError(f"{path}: HDF5 cannot make sense of it ({_line(error)}): it is damaged") from None
    return file


def dataset_of(path: str | Path, file: h5py.File, group: str, name: str) -> h5py.Dataset:
    """Return a dataset of a group of an open file.

    Raises
    ------
    UserError
        If the file is closed, or the group has no dataset of that name.
    """
    if not file:
        raise UserError(f"{path}: is closed; read from it while it is open, inside its `with` block")
    if not isinstance(name, str) or not isinstance(file[group].get(name), h5py.Dataset):
        names = ", ".join(name for name, item in file[group].items() if isinstance(item, h5py.Dataset))
        raise UserError(f"{path}: found no {name!r} in {group}, expected one of {names}")
    return file[group][name]


def tell_damage(path: str | Path, error: BaseException | None) -> None:
    """Say which file was read when HDF5 or the memory failed; to be called where a `with` on the file ends.

    Raises
    ------
    UserError
        If `error` is of such a failure.
    """
    if isinstance(error, MemoryError):
        raise UserError(
            f"{path}: what it holds does not fit into the memory of this machine ({_line(error)})"
        ) from error
    if isinstance(error, OSError) and error.errno is None and re.search(r"\bread\b", _line(error)):
        raise UserError(
            f"{path}: HDF5 cannot read it ({_line(error)}): it is damaged; make it anew, or take it from a copy"
        ) from error


class _File(h5py.File):
    """A file opened for reading, which tells its name when reading fails."""

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        tell_damage(self._path, error[1])

    def __init__(self, path: Path, *arguments: Any, **options: Any):
        self._path = path
        super().__init__(path, *arguments, **options)


def _wrong(path: Path, found: str, expected: str) -> NoReturn:
    raise UserError(f"{path}: found {found}, expected {expected}: it is damaged, or was made by something else")


def _check_schema(path: Path, file: h5py.File, layout: Layout) -> None:
    schema, version = (file.attrs.get(name) for name in ("schema", "schema_version"))
    if not (_is_text(schema) and schema == layout.schema and _is_whole(version) and version in layout.versions):
        versions = " or ".join(map(str, layout.versions))
        raise UserError(
            f"{path}: found schema {schema!r} version {version}, expected {layout.schema!r} version {versions}: "
            f"{layout.what}"
        )


def _check_own(path: Path, file: h5py.File) -> None:
    """Refuse links, values that lie in other files, and more values than the file has room for."""
    links: list[tuple[bytes, int]] = []
    file.id.links.visit(lambda name, info: links.append((name, info.type)), info=True)
    room = DENSEST * os.stat(path).st_size + HARMLESS
    for name, kind in sorted(links):
        shown = "/" + name.decode(errors="backslashreplace")
        if kind != h5py.h5l.TYPE_HARD:
            _wrong(path, f"a link to something else as {shown}", "all data in the file itself")
    for name, _ in sorted(links):
        item, shown = file[name], "/" + name.decode(errors="backslashreplace")
        if not isinstance(item, h5py.Dataset):
            continue
        plist = item.id.get_create_plist()
        if plist.get_layout() == h5py.h5d.VIRTUAL or plist.get_external_count():
            _wrong(path, f"data of other files as {shown}", "all data in the file itself")
        if item.shape is None:
            _wrong(path, f"nothing as {shown}", "values")
        if int(np.prod(item.shape, dtype=object)) * item.dtype.itemsize > room:
            _wrong(
                path,
                f"{shown} of shape {item.shape} in a file of {os.stat(path).st_size} bytes",
                "no more values than can lie in it",
            )


def _check_attributes(path: Path, file: h5py.File, layout: Layout) -> None:
    for name, kind in layout.attributes.items():
        if name not in file.attrs:
            _wrong(path, f"no attribute {name!r}", kind)
        value = file.attrs[name]
        if not KINDS[kind](value):
            _wrong(path, f"attribute {name!r} {str(value)[:80]!r}", kind)


def _check_datasets(path: Path, file: h5py.File, layout: Layout) -> None:
    known: dict[str, Any] = {}
    wanted = layout.datasets(file.attrs) if callable(layout.datasets) else layout.datasets
    for pattern, form in wanted.items():
        kinds, *axes = form.split()
        name = pattern.removesuffix("?")
        if name != pattern and name not in file:
            continue
        group = name.removesuffix("/*")
        members = [name]
        if group != name:
            members = [f"{group}/{member}" for member in sorted(file[group])] if group in file else []
        for member in members:
            item = file.get(member, None)
            if not isinstance(item, h5py.Dataset):
                _wrong(path, f"no dataset /{member}", "one of axes " + " × ".join(axes))
            if item.dtype.kind not in kinds:
                _wrong(path, f"/{member} of type {item.dtype}", " or ".join(_TYPES[kind] for kind in kinds))
            if not _fits(item.shape, axes, known):
                # Of the axes that stand fast, how long they have to be.
                sizes = [f"{axis} = {known[axis]}" if axis in known else axis for axis in axes]
                _wrong(
                    path, f"/{member} of shape {item.shape}", f"axes {' × '.join(sizes) or 'none'}, of one length each"
                )


def _fits(shape: tuple[int, ...], axes: list[str], known: dict[str, Any]) -> bool:
    """Whether a shape has these axes; those that are not known yet are from now on."""
    rest = [axis for axis in axes if axis.startswith("*")]
    count = len(axes) - len(rest)
    if len(shape) < count or (len(shape) > count and not rest):
        return False
    parts = dict(zip(axes[:count], shape[:count], strict=True)) | dict.fromkeys(rest, shape[count:])
    found = [(axis, size) for axis, size in parts.items() if axis not in ("_", "*")]
    for axis, size in found:
        known.setdefault(axis, size)
    full = all(np.prod(size) > 0 for axis, size in found if not axis.islower() or axis.startswith("*"))
    return full and all(known[axis] == size for axis, size in found)


_TYPES = {"f": "floats", "i": "whole numbers", "u": "whole numbers from 0", "b": "truth values", "S": "text"}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value == value.encode(errors="replace").decode()  # as UTF-8 can write it


def _is_whole(value: Any) -> bool:
    return isinstance(value, np.integer)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, np.floating)


def _is_json(value: Any, kind: type = object) -> bool:
    try:
        return _is_text(value) and isinstance(json.loads(value), kind)
    except (ValueError, RecursionError):
        return False


KINDS: dict[str, Callable[[Any], bool]] = {
    "text": _is_text,
    "a whole number": _is_whole,
    "a number": _is_number,
    "true or false": lambda value: isinstance(value, np.bool_),
    "text, a number, true or false": lambda value: _is_text(value) or _is_number(value) or isinstance(value, np.bool_),
    "names in a JSON list": lambda value: _is_json(value, list) and all(map(_is_text, json.loads(value))),
    "a JSON object": lambda value: _is_json(value, dict),
}


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
