"""Layout of a table in a text file: delimiter, header, label column, and the index that pandas writes.

The first line is a header where none of its cells is a number. There are two exceptions: names that count 0, 1, 2 ...,
as pandas names columns that have none, and a line that holds the name of the label column. A line with a mark of a
missing value (``n/a``, ``?`` ...) is never a header, so that a row with one unreadable cell is refused by line and
column and not dropped.
"""

import csv
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepbelief.errors import DataWarning, FileError, NotNumericError
from deepbelief.sources.label_values import MISSING

DELIMITERS = ",;\t"

MIN_COUNTED = 5
"""Number of columns from which a first line 0, 1, 2 ... without any word is treated as a header."""

UNNAMED = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""Names that pandas gives to the column of an index without a name."""

_COUNT = re.compile(r"0|[1-9][0-9]*")


@dataclass
class Layout:
    """Layout of the lines of a file.

    Parameters
    ----------
    path : Path
    delimiter : str
    n_columns : int
        In each line of the file.
    header : list of str or None
    label : int or None
        Column of the labels.
    index : int or None
        Column of the index that pandas, or R, has written.
    """

    path: Path
    delimiter: str
    n_columns: int
    header: list[str] | None
    label: int | None
    index: int | None = None
    features: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.features = [i for i in range(self.n_columns) if i not in (self.label, self.index)]
        if not self.features:
            raise FileError(f"{self.path}: there is no column beside the labels")

    def error(self, number: int, column: int, what: str) -> FileError:
        """Return the error for one cell."""
        name = f" ({self.header[column]!r})" if self.header else ""
        return FileError(f"{self.path}: line {number}, column {column + 1}{name}: {what}")


def split(line: str, delimiter: str, path: Path, number: int) -> list[str]:
    """Return the cells of a line, without the quotes around them."""
    if '"' not in line:
        return line.rstrip("\r\n").split(delimiter)
    if line.count('"') % 2:
        raise NotNumericError(f"{path}: line {number} leaves a quote open; close it, or double a quote within a cell")
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error as error:
        raise FileError(f"{path}: line {number} cannot be split into cells: {error}") from error


def number_in(cell: str) -> float | None:
    """Return the number in a cell, None where there is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def find_layout(path: Path, head: Sequence[tuple[int, str]], labels: str | None) -> Layout:
    """Detect delimiter, header and label column from the first lines.

    Parameters
    ----------
    path : Path
    head : sequence of (int, str)
        The first lines that are not blank, with their numbers; at least one.
    labels : str or None
        Name or index of the label column.

    Returns
    -------
    Layout

    Raises
    ------
    DataError
        If there is no such column, two columns have one name, or a column has none.
    """
    delimiter = _sniff([line for _, line in head])
    rows = [[cell.strip() for cell in split(line, delimiter, path, number)] for number, line in head[:2]]
    first, second = rows[0], rows[-1] if len(rows) > 1 else None
    label, named = _label_index(path, first, labels)
    header = first if named or _is_header(path, first, second, label) else None
    if header is None:
        return Layout(path, delimiter, len(first), None, label)
    index = _index_column(path, header, second, label)
    _check_names(path, header, index, second)
    return Layout(path, delimiter, len(first), header, label, index)


def _sniff(lines: list[str]) -> str:
    """Return the delimiter that gives all of these lines the same number of cells, more than one."""
    counts = {d: [_count(line, d) for line in lines] for d in DELIMITERS}
    even = [d for d in DELIMITERS if len(set(counts[d])) == 1 and counts[d][0] > 1]
    return max(even or DELIMITERS, key=lambda d: counts[d][0])


def _count(line: str, delimiter: str) -> int:
    """Return the number of cells of a line."""
    if '"' not in line:
        return line.count(delimiter) + 1
    try:
        return len(next(csv.reader([line], delimiter=delimiter), []))
    except csv.Error:
        return 1


def _label_index(path: Path, first: list[str], labels: str | None) -> tuple[int | None, bool]:
    """Return the column of the labels, and whether it was found by name (so that there is a header)."""
    if labels is None:
        return None, False
    index = int(labels) if re.fullmatch(r"-?\d{1,9}", labels) else None
    if index is not None and -len(first) <= index < len(first):
        return index % len(first), False
    if labels in first and any(number_in(cell) is None for cell in first):
        return first.index(labels), True
    if index is not None:
        raise FileError(f"{path}: no column {index}: there are {len(first)}, counted from 0 (-1 is the last)")
    names = ", ".join(name[:40] for name in first[:8]) + (" ..." if len(first) > 8 else "")
    raise FileError(f"{path}: no column and no file is called {labels!r}; the first line has: {names}")


def _is_header(path: Path, first: list[str], second: list[str] | None, label: int | None) -> bool:
    """Tell a header from a row (see the head of this module)."""
    features = [cell for i, cell in enumerate(first) if i != label]
    numbers = [cell for cell in features if number_in(cell) is not None]
    words = {cell.lower() for cell in features if number_in(cell) is None}
    if words & MISSING - {""} and (numbers or words <= MISSING):
        return False
    if not numbers:
        return any(first)
    if not _counted(first):
        return False
    others = [cell for cell in first if number_in(cell) is None]
    if others:
        return second is not None and len(second) == len(first) and _over_numbers(first, second, label)
    if len(first) < MIN_COUNTED:
        return False
    message = (
        f"{path}: the first line counts from 0 to {len(first) - 1} and is treated as a header of column numbers; "
        "put another header above it if it is a row"
    )
    warnings.warn(DataWarning(message, symptom="columns-in-doubt"), stacklevel=2)
    return True


def _counted(first: list[str]) -> bool:
    """Return whether the numbers are consecutive and count 0, 1, 2 ... as pandas numbers columns."""
    places = [i for i, cell in enumerate(first) if number_in(cell) is not None]
    side_by_side = places == list(range(places[0], places[0] + len(places)))
    spelled = all(_COUNT.fullmatch(first[i]) and int(first[i]) == n for n, i in enumerate(places))
    return len(places) > 1 and side_by_side and spelled


def _over_numbers(first: list[str], second: list[str], label: int | None) -> bool:
    """Tell a header such as ``label,0,1`` from a row of bits with a bad cell, or with a label that is a word."""
    bits = len(first) <= 3 and all(cell in ("0", "1") for cell in second)
    if label is not None and number_in(first[label]) is None:
        return number_in(second[label]) is not None
    return not bits


def _index_column(path: Path, header: list[str], second: list[str] | None, label: int | None) -> int | None:
    """Return the column of an index without a name, which is left out with a warning."""
    if label == 0 or len(header) < 2 or not UNNAMED.fullmatch(header[0]):
        return None
    below = second[0] if second else "0"
    if not below or (number_in(below) is not None and not _COUNT.fullmatch(below)):
        return None
    name = f"column 1 ({header[0]!r})" if header[0] else "column 1 has no name: it"
    message = (
        f"{path}: {name} is treated as the index that pandas writes, and left out; "
        "give the column a name to use it, or write the file with index=False"
    )
    warnings.warn(DataWarning(message, symptom="columns-in-doubt"), stacklevel=2)
    return 0


def _check_names(path: Path, header: list[str], index: int | None, second: list[str] | None) -> None:
    """Refuse columns without a name, and two with the same."""
    names = [name for i, name in enumerate(header) if i != index]
    twice = [name for name, n in Counter(names).items() if n > 1 and name]
    if twice:
        raise FileError(f"{path}: two columns are called {twice[0][:40]!r}; rename one")
    if "" not in names:
        return
    column = len(header) - header[::-1].index("")
    if column == len(header) and second is not None and len(second) == len(header) and not second[-1]:
        raise FileError(f"{path}: the lines end in a delimiter: column {column} is empty; remove it from each line")
    raise FileError(f"{path}: column {column} has no name in the header; give it one")
