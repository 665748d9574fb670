"""Files in svmlight's (libsvm's) format as data: sparse rows and their labels."""

import io
import itertools
from pathlib import Path

import numpy as np

from deepbelief.errors import DataError, FileError
from deepbelief.sources.content import Content, reason_text
from deepbelief.sources.gzipped import open_bytes
from deepbelief.sources.label_values import MAX_EXACT, label_vector
from deepbelief.sources.rows import LARGEST_EXACT
from deepbelief.sources.sparse_rows import SparseSource, check_columns
from deepbelief.typing import Array

LINES = 1000
"""Number of lines that are searched at once for an invalid one."""


def read_svmlight(path: Path) -> Content:
    """Read rows and labels; the index of the first column is 0 if any row has it, otherwise 1 as in the format."""
    from sklearn.datasets import load_svmlight_file

    try:
        with open_bytes(path) as file:
            matrix, labels = load_svmlight_file(file, dtype=np.float64, zero_based=True)
    except DataError:
        raise
    except ValueError as error:
        raise _error(path, error) from error
    start = 0 if (matrix.indices == 0).any() else 1
    check_columns(matrix.shape[1] - start, str(path))
    matrix = matrix[:, start:]
    whole = bool((matrix.data == np.rint(matrix.data)).all())
    if not (whole and np.abs(matrix.data).max(initial=0) > LARGEST_EXACT):
        matrix = matrix.astype(np.float32)
    known = label_vector(_integers(labels), str(path))
    return Content(SparseSource(matrix), known, whole, first_index=start)


def _integers(labels: Array) -> Array:
    """Return labels as integers where all of them are whole."""
    whole = bool((labels == np.rint(labels)).all()) and bool((np.abs(labels) <= MAX_EXACT).all())
    return labels.astype(np.int64) if whole else labels


def _error(path: Path, error: ValueError) -> DataError:
    """Return the error that names the first line that cannot be read on its own."""
    with open_bytes(path) as file:
        lines = enumerate(file, 1)
        while some := list(itertools.islice(lines, LINES)):
            if _reason(b"".join(line for _, line in some)) is None:
                continue
            for number, line in some:
                if (reason := _reason(line)) is not None:
                    return FileError(f"{path}: line {number} is not svmlight (LABEL INDEX:VALUE ...): {reason}")
    return FileError(f"{path}: not an svmlight file: {reason_text(error)}")


def _reason(text: bytes) -> str | None:
    """Return the reason why lines cannot be read; None if they can."""
    from sklearn.datasets import load_svmlight_file

    if not any(line.strip() and not line.lstrip().startswith(b"#") for line in text.splitlines()):
        return None
    try:
        load_svmlight_file(io.BytesIO(text), dtype=np.float32)
    except (ValueError, OverflowError) as error:
        return reason_text(error)
    return None
