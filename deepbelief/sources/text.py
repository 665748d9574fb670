"""Tables in text files: comma, semicolon or tab between the cells, plain or compressed with gzip."""

import io
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from deepbelief.errors import FileError, NotNumericError
from deepbelief.sources.content import IN_MEMORY, MEMORY_LIMIT, Content, size_text
from deepbelief.sources.gzipped import open_bytes
from deepbelief.sources.label_values import parse_labels
from deepbelief.sources.layout import DELIMITERS, Layout, find_layout, number_in, split
from deepbelief.sources.rows import LARGEST_EXACT, ArraySource
from deepbelief.typing import Array

CHUNK = 8 * 2**20
"""Characters that are parsed at once."""

LINE_LIMIT = 2**24
"""Characters that one line may have."""

MAX_BLANK = 10**6
"""Blank lines one after the other."""

HEAD = 20
"""Lines from which the layout is found."""

MAX_FLOAT32 = float(np.finfo(np.float32).max)
MIN_SPREAD = 1e-3  # range of a column over its largest value, below which float32 resolves fewer than 10,000 steps


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open as text, through gzip where the content is compressed."""
    with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig") as file:
        try:
            yield file
        except UnicodeDecodeError as error:
            raise FileError(f"{path}: not UTF-8 text ({error.reason}); is it really a CSV file?") from error


def text_lines(path: Path, file: TextIO) -> Iterator[tuple[int, str]]:
    """Yield the non-blank lines with their numbers."""
    blank = 0
    for number in itertools.count(1):
        line = file.readline(LINE_LIMIT)
        if len(line) == LINE_LIMIT:
            raise FileError(f"{path}: line {number} is longer than {size_text(LINE_LIMIT)}; is it really a CSV file?")
        if not line:
            return
        if line.isspace():
            blank += 1
            if blank > MAX_BLANK:
                raise FileError(f"{path}: line {number} ends {MAX_BLANK:,} blank lines; is it really a CSV file?")
            continue
        blank = 0
        yield number, line


def _check_cells(layout: Layout, number: int, cells: list[str]) -> None:
    """Raise DataError if a line is invalid, naming the problem."""
    if len(cells) != layout.n_columns:
        raise FileError(
            f"{layout.path}: line {number} has {len(cells)} cells where the first line has {layout.n_columns}"
        )
    for column in layout.features:
        cell = cells[column].strip()
        if not cell:
            raise _not_numeric(layout, number, column, "the cell is empty; fill in or drop missing values first")
        value = number_in(cell)
        if value is None:
            hint = "" if layout.label is not None else "; if these are the labels, name the column as labels"
            if number == 1:
                hint += "; a header has no numbers, so this line is read as a row"
            raise _not_numeric(layout, number, column, f"{cell[:40]!r} is not a number{hint}")
        if np.isnan(value):
            raise _not_numeric(
                layout, number, column, f"the value is {cell[:40]}; fill in or drop missing values first"
            )
        if np.isinf(value):
            raise layout.error(number, column, f"the value is {cell[:40]}; fill in or drop missing values first")
        if abs(value) > MAX_FLOAT32:
            raise layout.error(number, column, f"{cell[:40]} is too large for single precision; rescale the column")


def _not_numeric(layout: Layout, number: int, column: int, what: str) -> NotNumericError:
    return NotNumericError(str(layout.error(number, column, what)))


def _label_cell(layout: Layout, line: str) -> str:
    """Return the label of a line without quotes, splitting no more of it than needed."""
    before, after = layout.label or 0, layout.n_columns - 1 - (layout.label or 0)
    if before <= after:
        return line.split(layout.delimiter, before + 1)[before]
    return line.rsplit(layout.delimiter, after + 1)[-1 - after]


def _parse(layout: Layout, numbers: list[int], lines: list[str]) -> tuple[Array, list[str]]:
    """Parse a chunk of lines into values (uint8 where they fit, else float32) and labels."""
    cells: list[list[str]] | None = None
    if any('"' in line for line in lines):
        cells = [split(line, layout.delimiter, layout.path, n) for n, line in zip(numbers, lines, strict=True)]
        counts = [len(row) for row in cells]
    else:
        counts = [line.count(layout.delimiter) + 1 for line in lines]
    values, labels = None, []
    if all(count == layout.n_columns for count in counts):
        if layout.label is not None:
            labels = [row[layout.label] for row in cells] if cells else [_label_cell(layout, line) for line in lines]
        rows = lines if cells is None else ["\t".join(row) for row in cells]
        delimiter = layout.delimiter if cells is None else "\t"
        usecols = None if len(layout.features) == layout.n_columns else layout.features
        try:
            values = np.loadtxt(rows, np.float64, comments=None, delimiter=delimiter, usecols=usecols, ndmin=2)
        except ValueError:
            values = None
    # The comparison is false for NaN too.
    fine = values is not None and values.min() >= -MAX_FLOAT32 and values.max() <= MAX_FLOAT32
    if values is None or not fine:
        for number, line in zip(numbers, lines, strict=True):
            _check_cells(layout, number, split(line, layout.delimiter, layout.path, number))
        raise FileError(f"{layout.path}: lines {numbers[0]} to {numbers[-1]} cannot be read as numbers")
    return _compact(values), labels


def _compact(values: NDArray[np.float64]) -> Array:
    """Return whole numbers in 0..255 as bytes, columns that float32 would make too coarse as float64, else float32."""
    if values.min() >= 0 and values.max() <= 255:
        small = values.astype(np.uint8)
        if np.array_equal(small, values):
            return small
    largest, spread, single = np.abs(values).max(axis=0), np.ptp(values, axis=0), values.astype(np.float32)
    # Columns of large values that hardly differ, such as times in seconds since 1970.
    coarse = (spread < MIN_SPREAD * largest) & ((spread > 0) | (largest > LARGEST_EXACT))
    changed = single != values
    whole = largest.max() > LARGEST_EXACT and bool((changed & (values == np.rint(values))).any())
    return values if whole or (coarse & changed.any(axis=0)).any() else single


def _join(chunks: list[Array]) -> Array:
    """Stack the chunks, releasing each after it has been copied."""
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
        Naming line and column (both from 1) of the invalid cell.
    """
    with open_text(path) as file:
        numbered = text_lines(path, file)
        head = first_lines(numbered)
        if not head:
            raise FileError(f"{path}: the file has no rows")
        layout = find_layout(path, head, labels)
        body = itertools.chain(head[1:] if layout.header else head, numbered)
        chunks, words, whole = _read_chunks(layout, itertools.islice(body, limit))
    if not chunks:
        raise FileError(f"{path}: there are no rows below the header")
    names = [layout.header[i] for i in layout.features] if layout.header else None
    rows = ArraySource(_join(chunks), names, compact=True)
    if layout.label is None:
        return Content(rows, None, whole, names)
    label_name = layout.header[layout.label] if layout.header else None
    return Content(rows, parse_labels(words, str(path)), whole, names, label_name)


def first_lines(numbered: Iterator[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the first lines, fewer where they are long."""
    head: list[tuple[int, str]] = []
    for number, line in numbered:
        head.append((number, line))
        if len(head) == HEAD or (len(head) > 1 and sum(len(text) for _, text in head) > CHUNK):
            break
    return head


def _read_chunks(layout: Layout, body: Iterator[tuple[int, str]]) -> tuple[list[Array], list[str], bool]:
    """Parse all lines, a few megabytes at a time."""
    chunks: list[Array] = []
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
            raise FileError(f"{layout.path}: the data need more than {size_text(MEMORY_LIMIT)} of memory; split them")


def read_label_text(path: Path, n_rows: int) -> Array:
    """Read labels from a text file with one column, with or without a header."""
    with open_text(path) as file:
        cells = _label_cells(path, file)
    if any(d in cell for d in DELIMITERS for cell in cells[:HEAD]):
        raise FileError(f"{path}: a file of labels must have one column")
    if len(cells) == n_rows + 1:  # the number of rows distinguishes a header from a label
        del cells[0]
    return parse_labels(cells, str(path))


def _label_cells(path: Path, file: TextIO) -> list[str]:
    """Return the lines of a file of labels; a blank one stands for a row without a label, but for those at the end."""
    cells, size, end = [], 0, 0
    while line := file.readline(LINE_LIMIT):
        cells.append(line.strip().strip('"'))
        end = len(cells) if cells[-1] else end
        size += len(line)
        if size > IN_MEMORY or len(cells) - end > MAX_BLANK:
            raise FileError(f"{path}: line {len(cells)} is too far for a file of labels: it is too large, or blank")
    return cells[:end]
