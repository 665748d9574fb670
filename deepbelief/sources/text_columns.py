"""Columns of mixed types in text files: numbers, booleans, texts and missing values.

The type of a column is found in a first pass over the file, unless a schema knows it. A column of numbers in which a
few cells are not numbers is refused by line and column: these are errors more often than categories.
"""

import csv
import io
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepbelief.errors import FileError, Mention
from deepbelief.sources.content import MEMORY_LIMIT, FileTable, size_text
from deepbelief.sources.frames import as_objects
from deepbelief.sources.label_values import MISSING, parse_labels
from deepbelief.sources.layout import DELIMITERS, Layout, find_layout, number_in
from deepbelief.sources.text import CHUNK, LINE_LIMIT, first_lines, open_text, text_lines
from deepbelief.typing import Array

Cells = tuple[str, ...]

GAPS = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)
"""Cells that are missing values in a column of any type, as pandas reads them."""

BOOLEANS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
MIN_TEXTS = 10  # number of texts in a column with numbers from which they count as categories, not as errors
MAX_JOINED = 10_000  # lines of one quoted cell
KINDS = ("number", "boolean", "text")


@dataclass
class _Seen:
    """Counts of a column's cells by type, and the first cell of each type with its line."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*KINDS, "mark"), 0))
    first: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, lines: list[int], cells: Cells) -> None:
        """Count cells."""
        if "number" in self.first and self._numbers(cells):
            return
        for line, cell in zip(lines, cells, strict=True):
            kind = _kind_of(cell)
            if kind is not None:
                self.counts[kind] += 1
                self.first.setdefault(kind, (line, cell))

    def _numbers(self, cells: Cells) -> bool:
        """Count cells at once where all are numbers."""
        known = [cell for cell in cells if cell not in GAPS]
        try:
            for cell in known:
                float(cell)
        except ValueError:
            return False
        if any("_" in cell for cell in known):
            return False
        self.counts["number"] += len(known)
        return True

    @property
    def words(self) -> int:
        """Number of cells that are not numbers."""
        return sum(self.counts.values()) - self.counts["number"]

    @property
    def kind(self) -> str:
        """Type of the column: that of all its cells, else text."""
        numbers, booleans, texts = (self.counts[kind] for kind in ("number", "boolean", "text"))
        if not texts and not booleans and (numbers or not self.counts["mark"]):
            return "number"
        return "boolean" if booleans == self.words and not numbers else "text"


def _kind_of(cell: str) -> str | None:
    """Return the type of a cell; None where it is a missing value."""
    if cell in GAPS:
        return None
    if number_in(cell) is not None:
        return "number"
    if cell in BOOLEANS:
        return "boolean"
    return "mark" if cell.lower() in MISSING else "text"


def logical_lines(path: Path, numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield lines with the number of the first; one whose quoted cell has line breaks is joined from several."""
    for number, line in numbered:
        joined = 1
        while line.count('"') % 2 and _leaves_open(line):
            following = next(numbered, None)
            joined += 1
            if following is None or joined > MAX_JOINED or len(line) > LINE_LIMIT:
                raise FileError(f"{path}: line {number} leaves a quote open; close it, or double a quote within a cell")
            line += following[1]
        yield number, line


def _leaves_open(line: str) -> bool:
    """Return whether a line ends within a quoted cell, for any of the delimiters."""
    # A further quote closes the cell; it does not mend a line that is wrong before its end.
    return any(_parses(line + '"', delimiter) and not _parses(line, delimiter) for delimiter in DELIMITERS)


def _parses(text: str, delimiter: str) -> bool:
    """Return whether a text is one or more lines of cells."""
    try:
        for _ in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            pass
    except csv.Error:
        return False
    return True


def read_columns(
    path: Path, labels: str | None = None, limit: int | None = None, known: Mapping[str, str] | None = None,
    wanted: Mapping[str, str] | None = None,
) -> FileTable:  # fmt: skip
    """Read a CSV file with columns of any type.

    Parameters
    ----------
    path : Path
    labels : str, optional
        As in `deepbelief.sources.text.read_text`.
    limit : int, optional
        Read no more than this many rows.
    known : mapping of str to {"number", "boolean", "text"}, optional
        Types of columns.
    wanted : mapping of str to {"number", "category", "dropped"}, optional
        Kinds of columns that a user has asked for.

    Returns
    -------
    FileTable

    Raises
    ------
    DataError
        Naming line and column of the invalid cell.
    """
    layout = layout_of(path, labels)
    names = layout.header or [f"x{i}" for i in range(layout.n_columns)]
    seen = {j: _Seen() for j in layout.features if names[j] not in (known or {})}
    if seen:
        for lines, columns in _chunks(layout, limit):
            for j, column in seen.items():
                column.add(lines, columns[j])
    kinds = {j: _kind(layout, names[j], j, column, (wanted or {}).get(names[j])) for j, column in seen.items()}
    kinds |= {j: known[names[j]] for j in layout.features if known is not None and names[j] in known}
    parts: dict[int, list[Array]] = {j: [] for j in layout.features}
    words: dict[str, str] = {}
    found: list[str] | None = None if layout.label is None else []
    where: list[int] = []
    for lines, columns in _chunks(layout, limit):
        for j in layout.features:
            parts[j].append(READERS[kinds[j]](layout, j, lines, columns[j], words))
        if found is not None and layout.label is not None:
            found += columns[layout.label]
        where += lines
        if len(where) * len(parts) * 8 > MEMORY_LIMIT:
            raise FileError(f"{path}: the data need more than {size_text(MEMORY_LIMIT)} of memory; split them")
    if not where:
        raise FileError(f"{path}: there are no rows below the header")
    label_name = layout.header[layout.label] if layout.header and layout.label is not None else None
    table = {names[j]: np.concatenate(parts[j]) for j in layout.features}
    parsed = None if found is None else parse_labels(found, str(path))
    return FileTable(table, parsed, label_name, np.array(where, np.int64))


def layout_of(path: Path, labels: str | None) -> Layout:
    """Return the layout of a file."""
    with open_text(path) as file:
        head = first_lines(logical_lines(path, text_lines(path, file)))
    if not head:
        raise FileError(f"{path}: the file has no rows")
    return find_layout(path, head, labels)


def text_names(path: Path) -> list[str]:
    """Return the names in the header; none where there is no header."""
    return layout_of(path, None).header or []


def records(layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row with the number of its first line, without the blanks around them."""
    with open_text(layout.path) as file:
        numbered = logical_lines(layout.path, text_lines(layout.path, file))
        for number, line in itertools.islice(numbered, 1 if layout.header else 0, None):
            cells = [cell.strip() for cell in _split(layout, number, line)]
            if len(cells) != layout.n_columns:
                raise FileError(
                    f"{layout.path}: line {number} has {len(cells)} cells where the first line has {layout.n_columns}"
                )
            yield number, cells


def _split(layout: Layout, number: int, line: str) -> list[str]:
    if '"' not in line:
        return line.rstrip("\r\n").split(layout.delimiter)
    try:
        return next(csv.reader(io.StringIO(line, newline=""), delimiter=layout.delimiter), [])
    except csv.Error as error:
        raise FileError(f"{layout.path}: line {number} cannot be split into cells: {error}") from error


def _chunks(layout: Layout, limit: int | None) -> Iterator[tuple[list[int], list[Cells]]]:
    """Yield line numbers and columns of consecutive rows, a few megabytes at a time."""
    lines: list[int] = []
    rows: list[list[str]] = []
    size = 0
    for number, cells in itertools.islice(records(layout), limit):
        lines.append(number)
        rows.append(cells)
        size += sum(map(len, cells)) + len(cells)
        if size > CHUNK:
            yield lines, list(zip(*rows, strict=True))
            lines, rows, size = [], [], 0
    if rows:
        yield lines, list(zip(*rows, strict=True))


def _kind(layout: Layout, name: str, j: int, seen: _Seen, wanted: str | None) -> str:
    """Return the type of a column; refuse one of numbers in which a few cells are not numbers."""
    if seen.kind == "number" or wanted in ("category", "dropped"):
        return seen.kind
    line, word = min(seen.first[kind] for kind in seen.first if kind != "number")
    if wanted == "number":
        raise layout.error(line, j, f"{word[:40]!r} is not a number")
    if seen.counts["number"] and seen.words < MIN_TEXTS:
        number_line, number = seen.first["number"]
        error = layout.error(line, j, f"{word[:40]!r} is not a number, and line {number_line} has {number[:40]!r}")
        raise FileError(
            f"{error}; correct the cell, leave it empty, or make the column a category with ", Mention("columns")
        )
    return seen.kind


def _numbers(layout: Layout, j: int, lines: list[int], cells: Cells, words: dict[str, str]) -> Array:
    found = np.empty(len(cells))
    for i, cell in enumerate(cells):
        number = None if cell in GAPS or cell.lower() in MISSING else number_in(cell)
        if number is None and cell not in GAPS and cell.lower() not in MISSING:
            raise layout.error(lines[i], j, f"{cell[:40]!r} is not a number")
        if number is not None and np.isinf(number):
            raise layout.error(
                lines[i], j, f"the value is {cell[:40]}; it must be finite, or empty where it is missing"
            )
        found[i] = np.nan if number is None else number
    return found


def _booleans(layout: Layout, j: int, lines: list[int], cells: Cells, words: dict[str, str]) -> Array:
    return as_objects([None if cell in GAPS else BOOLEANS.get(cell, cell) for cell in cells])


def _texts(layout: Layout, j: int, lines: list[int], cells: Cells, words: dict[str, str]) -> Array:
    """Return texts, with equal texts as the same object."""
    return as_objects([None if cell in GAPS else words.setdefault(cell, cell) for cell in cells])


READERS: Mapping[str, Callable[..., Array]] = {"number": _numbers, "boolean": _booleans, "text": _texts}
"""Functions by the type of a column."""
