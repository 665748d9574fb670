"""Detection of columns that may not be meant as features: labels and row numbers."""

import re
import warnings
from pathlib import Path

import numpy as np

from deepbelief.errors import DataWarning
from deepbelief.sources.content import Content
from deepbelief.typing import FloatArray

LABEL_NAME = re.compile(
    r"(.*[ _.-])?(labels?|class(es)?|targets?|y|species|categor(y|ies)|outcome|diagnosis|survived)(_?(id|code))?",
    re.IGNORECASE,
)
"""Frequent names of label columns."""

INDEX_NAME = re.compile(r"id|index|row|row_?(id|number|nr)|unnamed: \d+", re.IGNORECASE)
"""Frequent names of columns with row numbers."""

LOOKED_AT = 1000
"""Number of rows to check."""

MAX_VALUES = 2**22
"""Number of values to check."""

MAX_CLASSES = 50


def warn_of_suspects(path: str, content: Content) -> None:
    """Warn about features that may be labels (by name, or as the only whole numbers) or row numbers."""
    if Path(path).is_dir() and content.feature_names is None:
        return
    width = content.rows.shape[1]
    n = min(content.rows.shape[0], LOOKED_AT, MAX_VALUES // width)
    if n < 3 or width < 2:
        return
    values, names = content.rows.take(slice(0, n)), content.feature_names
    for j in range(width) if names else (width - 1,):
        column = values[:, j]
        alone = j == width - 1 and _only_whole(values)
        if names and not (alone or LABEL_NAME.fullmatch(names[j]) or INDEX_NAME.fullmatch(names[j])):
            continue
        if not (column == np.rint(column)).all():
            continue
        n_values = len(np.unique(column))
        name = f"column {names[j][:40]!r}" if names else f"the last column ({width})"
        few = 1 < n_values <= min(MAX_CLASSES, n // 2)
        if few and (alone or (names and LABEL_NAME.fullmatch(names[j]))):
            option = names[j] if names else "-1"
            _warn(f"{path}: {name} looks like labels and is treated as a feature: name it with --labels {option}")
        elif names and INDEX_NAME.fullmatch(names[j]) and (np.abs(np.diff(column)) == 1).all():
            _warn(f"{path}: {name} numbers the rows and is treated as a feature: leave it out of the file")


def _only_whole(values: FloatArray) -> bool:
    """Return whether only the last column has whole numbers."""
    others = values[:, :-1]
    return bool((others != np.rint(others)).any(axis=0).all())


def _warn(message: str) -> None:
    warnings.warn(DataWarning(message, symptom="columns-in-doubt"), stacklevel=4)
