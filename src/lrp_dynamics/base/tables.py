"""Small CSV tables as dictionaries of NumPy columns."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import atomic

# Columns of names, which are text even where all of them look like numbers.
NAMES = ("a", "b", "class", "explanation", "image", "method")


def _text(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else format(float(value), ".9g")
    return str(value)


def write_csv(path: str | Path, columns: Mapping[str, Sequence | np.ndarray]) -> None:
    """Write equally long columns as CSV, atomically.

    Floats keep nine significant digits (enough for float32), truth values become 0 or 1, NaN an empty cell.
    """
    rows = zip(*columns.values(), strict=True)
    with (
        atomic(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(value) for value in row] for row in rows)


def read_csv(path: str | Path, require: Sequence[str] = (), texts: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Read a CSV file: columns of whole numbers as int64, of numbers as float64 (empty cell = NaN), others as text.

    Columns of `NAMES` are text in any case.

    Parameters
    ----------
    path : str or Path
    require : sequence of str
        Columns that must be there, of numbers.
    texts : sequence of str
        Columns that must be there, of whatever.

    Raises
    ------
    UserError
        If the file is not CSV, has rows of another length than its header, or columns are not as they must be.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            cells = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file ({error})") from None
    missing = [name for name in (*require, *texts) if name not in header]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; found: {', '.join(header) or 'an empty file'}.")
    for line, row in enumerate(cells, 2):
        if len(row) != len(header):
            raise UserError(f"{path}: line {line} has {len(row)} cells, expected {len(header)} as the header has")
    columns = {name: _column(name, [row[i] for row in cells]) for i, name in enumerate(header)}
    for name in require:
        if columns[name].dtype.kind not in "if":
            wrong = next(cell for cell in columns[name] if _column("", [str(cell)]).dtype.kind not in "if")
            raise UserError(f"{path}: column {name} has {str(wrong)[:80]!r}, expected numbers")
    return columns


def _column(name: str, cells: list[str]) -> np.ndarray:
    for convert in () if name in NAMES else (int, lambda cell: float(cell) if cell else np.nan):
        try:
            return np.array([convert(cell) for cell in cells])
        except (ValueError, OverflowError):
            continue
    return np.array(cells, dtype=str)
