"""Labels as read from files: integers, floats or strings, with a mark for rows without a label.

A row without a label has NaN among numbers and None among strings (an object array). Labels in a text file are numbers
only if each of them is the canonical spelling of a number, so that ``007`` and ``7``, or two integers beyond 64 bits,
remain different classes.
"""

import re
from collections.abc import Sequence

import numpy as np

from deepbelief.errors import FileError
from deepbelief.typing import Array

MAX_LABEL = 256
"""Maximum number of characters of a label, because an array of strings allocates the longest length for each row."""

MISSING = frozenset({"", "-", "--", "?", "na", "n/a", "#n/a", "nan", "null", "none", "missing", "nil", "."})
"""Words, in lower case, that stand for a missing value."""

MAX_LABELS = 2**28
"""Bytes of all labels of a file."""

MAX_EXACT = 2**53
"""Integers up to this size are exact as float64."""

_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INT64 = np.iinfo(np.int64)


def label_vector(values: Array, origin: str) -> Array:
    """Return labels as a vector of int64, float64 or str, or raise DataError.

    Unsigned integers beyond int64 become strings. NaN marks a row without a label.

    Parameters
    ----------
    values : array-like of shape (n,), (n, 1) or (1, n)
    origin : str
        Name of the file in messages.

    Examples
    --------
    >>> label_vector(np.array([3, 2**64 - 1], np.uint64), "y.npy").tolist()
    ['3', '18446744073709551615']
    """
    labels = np.asarray(values)
    if labels.ndim == 2 and 1 in labels.shape:
        labels = labels.ravel()
    if labels.ndim != 1:
        raise FileError(f"{origin}: labels must be one per row, got shape {labels.shape}")
    kind = labels.dtype.kind
    if kind == "u" and labels.size and int(labels.max()) > _INT64.max:
        return labels.astype(np.str_)
    if kind in "biu":
        return labels.astype(np.int64)
    if kind == "f":
        if np.isinf(labels).any():
            bad = int(np.argmax(np.isinf(labels)))
            raise FileError(f"{origin}: label {bad} (counted from 0) is {labels[bad]}; leave it empty if it is unknown")
        return labels.astype(np.float64)
    if kind in "SU" and labels.dtype.itemsize > (4 if kind == "U" else 1) * MAX_LABEL:
        raise FileError(f"{origin}: the longest label has more than {MAX_LABEL} characters; is it the right part?")
    if kind == "S":
        return np.char.decode(labels, "utf-8")
    if kind == "U":
        return labels
    raise FileError(f"{origin}: labels must be integers, floats or strings, got dtype {labels.dtype}")


def parse_labels(cells: Sequence[str], origin: str) -> Array:
    """Return written labels: integers if all are canonical integers, else floats if all are numbers, else strings.

    Empty cells are rows without a label, and so are the words of `MISSING` among numbers or alone.

    Examples
    --------
    >>> parse_labels(["1", "02"], "y.csv").tolist()
    ['1', '02']
    >>> parse_labels(["1", ""], "y.csv").tolist()
    [1.0, nan]
    >>> parse_labels(["a", ""], "y.csv").tolist()
    ['a', None]
    >>> parse_labels(["", "NA"], "y.csv").tolist()
    [nan, nan]
    """
    words = [cell.strip() for cell in cells]
    numbers = {word for word in words if word.lower() not in MISSING}
    if not numbers:
        return np.full(len(words), np.nan)
    if all(map(_is_int64, numbers)):
        return _integers(words, numbers, origin)
    if all(map(is_number, numbers)):
        return label_vector(np.array([float(word) if word in numbers else np.nan for word in words]), origin)
    return text_labels([word or None for word in words], origin)


def _integers(words: list[str], numbers: set[str], origin: str) -> Array:
    """Return canonical integers as int64; as floats with NaN where some rows have none."""
    if all(word in numbers for word in words):
        return np.array([int(word) for word in words], np.int64)
    if any(abs(int(word)) > MAX_EXACT for word in numbers):  # as floats some would be the same
        return text_labels([word if word in numbers else None for word in words], origin)
    return np.array([int(word) if word in numbers else np.nan for word in words])


def _is_int64(word: str) -> bool:
    """Return whether a word is the canonical spelling of an integer of 64 bits."""
    return bool(_INTEGER.fullmatch(word)) and len(word) <= 20 and _INT64.min <= int(word) <= _INT64.max


def is_number(word: str) -> bool:
    """Return whether a word is a number that float64 distinguishes from its neighbours."""
    if not _FLOAT.fullmatch(word):
        return False
    return not _INTEGER.fullmatch(word) or (_is_int64(word) and abs(int(word)) <= MAX_EXACT)


def check_text(longest: int, n: int, origin: str) -> None:
    """Raise DataError if this number of labels of this number of characters would be too large."""
    if longest > MAX_LABEL:
        raise FileError(f"{origin}: labels may have {MAX_LABEL} characters, one has {longest}; is it the right column?")
    if 4 * longest * n > MAX_LABELS:
        raise FileError(f"{origin}: {n} labels of up to {longest} characters are too many; shorten them")


def text_labels(values: Sequence[str | None], origin: str) -> Array:
    """Return strings as an array: of str, or of objects where None stands for rows without a label."""
    check_text(max((len(value) for value in values if value), default=0), len(values), origin)
    missing = any(value is None for value in values)
    return np.array(values, dtype=object if missing else np.str_)
