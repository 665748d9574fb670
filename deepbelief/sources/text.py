"""Tables in text files: comma, semicolon or tab between the cells, plain or compressed with gzip."""

import csv
import gzip
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from deepbelief.errors import DataError
from deepbelief.sources.content import MEMORY_LIMIT, Content, parse_labels, size_text
from deepbelief.sources.idx import is_gzip
from deepbelief.sources.rows import ArraySource

CHUNK = 8 * 2**20
"""Characters that are parsed at once."""

LINE_LIMIT = 2**27
"""Characters that one line may have."""

LARGEST = float(np.finfo(np.float32).max)

DELIMITERS = ",;\t"


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    """Open as text, through gzip where the content is compressed."""
    with gzip.open(path, "rt", encoding="utf-8-sig") if is_gzip(path) else path.open(encoding="utf-8-sig") as file:
        try:
            yield file
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error.reason}); is it really a CSV file?") from error


def _lines(path: Path, file: TextIO) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank with their numbers."""
    for number in itertools.count(1):
        line = file.readline(LINE_LIMIT)
        if len(line) == LINE_LIMIT:
            raise DataError(f"{path}: line {number} is longer than {size_text(LINE_LIMIT)}; is it really a CSV file?")
        if not line:
            return
        if line.strip():
            yield number, line


def _split(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line."""
    return next(csv.reader([line], delimiter=delimiter), [])


def _sniff(lines: list[str]) -> str:
    """Return the delimiter that gives all of these lines the same number of cells, more than one."""
    counts = {d: {len(_split(line, d)) for line in lines} for d in DELIMITERS}
    even = [d for d in DELIMITERS if len(counts[d]) == 1 and max(counts[d]) > 1]
    return max(even or DELIMITERS, key=lambda d: len(_split(lines[0], d)))


def _number(cell: str) -> float | None:
    """Return the number in a cell, None where there is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


@dataclass
class _Layout:
    """How the lines of a file are laid out."""

    path: Path
    delimiter: str
    n_columns: int
    header: list[str] | None
    label: int | None
    features: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.features = [i for i in range(self.n_columns) if i != self.label]
        if not self.features:
            raise DataError(f"{self.path}: there is no column beside the labels")

    def error(self, number: int, column: int, what: str) -> DataError:
        """Return the error for one cell."""
        name = f" ({self.header[column]!r})" if self.header else ""
        return DataError(f"{self.path}: line {number}, column {column + 1}{name}: {what}")


def _label_index(path: Path, first: list[str], labels: str | None) -> tuple[int | None, bool]:
    """Return the column of the labels, and whether it was found by name (so that there is a header)."""
    if labels is None:
        return None, False
    index = int(labels) if re.fullmatch(r"-?\d{1,9}", labels) else None
    if index is not None and -len(first) <= index < len(first):
        return index % len(first), False
    if labels in first and any(_number(cell) is None for cell in first):
        return first.index(labels), True
    if index is not None:
        raise DataError(f"{path}: no column {index}: there are {len(first)}, counted from 0 (-1 is the last)")
    names = ", ".join(first[:8]) + (" ..." if len(first) > 8 else "")
    raise DataError(f"{path}: no column and no file is called {labels!r}; the first line has: {names}")


def _is_header(cells: list[str]) -> bool:
    """Tell a header from a row with unreadable cells: mostly words, or words beside column numbers."""
    words = [cell for cell in cells if _number(cell) is None]
    numbers = [number for cell in cells if (number := _number(cell)) is not None]
    counted = len(numbers) > 1 and all(b - a == 1 for a, b in itertools.pairwise(numbers))
    return any(words) and (len(words) > len(numbers) or counted)


def _layout(path: Path, head: list[str], labels: str | None) -> _Layout:
    """Find delimiter, header and label column from the first lines."""
    delimiter = _sniff(head)
    first = [cell.strip() for cell in _split(head[0], delimiter)]
    label, named = _label_index(path, first, labels)
    is_header = named or _is_header([cell for i, cell in enumerate(first) if i != label])
    if not is_header and label is not None and _number(first[label]) is None and len(head) > 1:
        # Only the label cell is a word: a header over numbered columns if the labels below are numbers.
        second = _split(head[1], delimiter)
        is_header = len(second) > label and _number(second[label]) is not None
    return _Layout(path, delimiter, len(first), first if is_header else None, label)


def _check_cells(layout: _Layout, number: int, cells: list[str]) -> None:
    """Raise DataError naming what is wrong in a line, if anything is."""
    if len(cells) != layout.n_columns:
        raise DataError(
            f"{layout.path}: line {number} has {len(cells)} cells where the first line has {layout.n_columns}"
        )
    for column in layout.features:
        cell = cells[column].strip()
        if not cell:
            raise layout.error(number, column, "the cell is empty; fill in or drop missing values first")
        value = _number(cell)
        if value is None:
            hint = "" if layout.label is not None else "; if these are the labels, name the column as labels"
            raise layout.error(number, column, f"{cell[:40]!r} is not a number{hint}")
        if not np.isfinite(value):
            raise layout.error(number, column, f"the value is {cell}; fill in or drop missing values first")
        if abs(value) > LARGEST:
            raise layout.error(number, column, f"{cell} is too large for single precision; rescale the column")
    if layout.label is not None and not cells[layout.label].strip():
        raise layout.error(number, layout.label, "the label is empty; write -1 for an unlabelled row")


def _label_cell(layout: _Layout, line: str) -> str:
    """Return the label of a line without quotes, splitting no more of it than needed."""
    before, after = layout.label or 0, layout.n_columns - 1 - (layout.label or 0)
    if before <= after:
        return line.split(layout.delimiter, before + 1)[before]
    return line.rsplit(layout.delimiter, after + 1)[-1 - after]


def _parse(layout: _Layout, numbers: list[int], lines: list[str]) -> tuple[NDArray[Any], list[str]]:
    """Parse a chunk of lines into values (uint8 where they fit, else float32) and labels."""
    cells: list[list[str]] | None = None
    if any('"' in line for line in lines):
        cells = [_split(line, layout.delimiter) for line in lines]
        counts = [len(row) for row in cells]
    else:
        counts = [line.count(layout.delimiter) + 1 for line in lines]
    values, labels = None, []
    if all(count == layout.n_columns for count in counts):
        if layout.label is not None:
            labels = [row[layout.label] for row in cells] if cells else [_label_cell(layout, line) for line in lines]
        rows = lines if cells is None else ["\t".join(row) for row in cells]
        delimiter = layout.delimiter if cells is None else "\t"
        usecols = None if layout.label is None else layout.features
        try:
            values = np.loadtxt(rows, np.float64, comments=None, delimiter=delimiter, usecols=usecols, ndmin=2)
        except ValueError:
            values = None
    # The comparison is false for NaN too.
    fine = values is not None and values.min() >= -LARGEST and values.max() <= LARGEST
    if values is None or not fine or not all(map(str.strip, labels)):
        for number, line in zip(numbers, lines, strict=True):
            _check_cells(layout, number, _split(line, layout.delimiter))
        raise DataError(f"{layout.path}: lines {numbers[0]} to {numbers[-1]} cannot be read as numbers")
    return _compact(values), labels


def _compact(values: NDArray[np.float64]) -> NDArray[Any]:
    """Return whole numbers in 0..255 as bytes, others as float32."""
    if values.min() >= 0 and values.max() <= 255:
        small = values.astype(np.uint8)
        if np.array_equal(small, values):
            return small
    return values.astype(np.float32)


def _join(chunks: list[NDArray[Any]]) -> NDArray[Any]:
    """Stack the chunks, letting go of each as it is copied."""
    dtype = np.result_type(*{chunk.dtype for chunk in chunks})
    joined = np.empty((sum(map(len, chunks)), chunks[0].shape[1]), dtype)
    end = len(joined)
    while chunks:
        chunk = chunks.pop()
        joined[end - len(chunk) : end] = chunk
        end -= len(chunk)
    return joined


def read_text(path: Path, labels: str | None = None, limit: int | None = None) -> Content:
    """Read a CSV file: comma, semicolon or tab sniffed, a header where the first row is not numeric.

    Parameters
    ----------
    path : Path
    labels : str, optional
        The column that holds the labels: an index (from 0; -1 is the last), else a name in the header.
    limit : int, optional
        Read no more than this many rows.

    Returns
    -------
    Content
        Bytes where all values are whole numbers in 0..255, else float32.

    Raises
    ------
    DataError
        Naming line (from 1) and column (from 1) of what cannot be read.
    """
    with _open(path) as file:
        numbered = _lines(path, file)
        head = list(itertools.islice(numbered, 20))
        if not head:
            raise DataError(f"{path}: the file has no rows")
        layout = _layout(path, [line for _, line in head], labels)
        body = itertools.chain(head[1:] if layout.header else head, numbered)
        chunks, words, whole = _read_chunks(layout, itertools.islice(body, limit))
    if not chunks:
        raise DataError(f"{path}: there are no rows below the header")
    names = [layout.header[i] for i in layout.features] if layout.header else None
    found = parse_labels(words, str(path)) if layout.label is not None else None
    return Content(ArraySource(_join(chunks)), found, whole, names)


def _read_chunks(layout: _Layout, body: Iterator[tuple[int, str]]) -> tuple[list[NDArray[Any]], list[str], bool]:
    """Parse all lines, a few megabytes at a time."""
    chunks: list[NDArray[Any]] = []
    labels: list[str] = []
    whole, n_bytes = True, 0
    while True:
        numbers, lines, size = [], [], 0
        for number, line in body:
            numbers.append(number)
            lines.append(line)
            size += len(line)
            if size > CHUNK:
                break
        if not lines:
            return chunks, labels, whole
        values, words = _parse(layout, numbers, lines)
        whole = whole and (values.dtype == np.uint8 or bool((values == np.rint(values)).all()))
        chunks.append(values)
        labels += words
        n_bytes += values.nbytes
        if n_bytes > MEMORY_LIMIT:
            raise DataError(f"{layout.path}: the data need more than {size_text(MEMORY_LIMIT)} of memory; split them")


def read_label_text(path: Path, n_rows: int) -> NDArray[Any]:
    """Read labels from a text file with one column, with or without a header."""
    with _open(path) as file:
        cells = [line.strip().strip('"') for _, line in _lines(path, file)]
    if any(d in cell for d in DELIMITERS for cell in cells[:20]):
        raise DataError(f"{path}: a file of labels must have one column")
    if len(cells) == n_rows + 1:  # the number of rows tells a header from a label
        del cells[0]
    return parse_labels(cells, str(path))
