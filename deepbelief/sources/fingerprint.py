"""Fingerprints of rows and arrays: their shape and a digest."""

import hashlib
from collections.abc import Sequence

import numpy as np

from deepbelief.sources.rows import RowSource
from deepbelief.typing import Array, StrDict

WHOLE = 2**28  # bytes; smaller sets are digested whole
PARTS, PART_ROWS = 64, 256  # of larger sets: number of blocks, and rows of each


def fingerprint(source: RowSource) -> StrDict:
    """Return plain values that identify the rows; above 256 MiB they depend on evenly spaced blocks only.

    Examples
    --------
    >>> from deepbelief.sources import as_source
    >>> one, other = (fingerprint(as_source([[0.0, value]])) for value in (1.0, 2.0))
    >>> one["rows"], one["columns"], one["sha256"] == other["sha256"]
    (1, 2, False)
    """
    n, n_features = source.shape
    starts: Sequence[int] = range(0, n, PART_ROWS)
    if n * n_features * source.dtype.itemsize > WHOLE and n > PARTS * PART_ROWS:
        starts = np.linspace(0, n - PART_ROWS, PARTS).astype(int).tolist()
    found = hashlib.sha256()
    for start in starts:
        found.update(source.take(slice(start, start + PART_ROWS)).data)
    return {"rows": n, "columns": n_features, "dtype": source.dtype.name, "sha256": found.hexdigest()}


def digest(array: Array) -> str:
    """Return the SHA-256 of an array's dtype, shape and values, in hexadecimal digits."""
    found = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    found.update(repr(array.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
