"""Rows held out of training: split off by class, recorded in the model, and found again by later commands."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deepbelief.datasets import DataSet
from deepbelief.errors import SettingError
from deepbelief.sources import SubsetSource, digest
from deepbelief.training import split_rows
from deepbelief.typing import StrDict

Record = StrDict


def hold_out(data: DataSet, fraction: float, seed: int) -> tuple[DataSet, Record]:
    """Return the data without the rows held out, and the plain values by which these are found again.

    Rows are drawn by class where labels are classes, else all alike.
    """
    classes = _classes(data)
    *_, kept, held = split_rows(data.rows, fraction, seed, classes)
    record = {
        "fraction": fraction,
        "seed": seed,
        "of": data.rows.shape[0],
        "rows": len(held),
        "by_class": classes is not None,
        "sha256": digest(held.astype(np.int64)),
    }
    return _rows(data, kept), record


def part(data: DataSet, record: Record, *, held_out: bool) -> DataSet:
    """Return the rows that a record holds out, which must be those of that run, or all others."""
    if data.rows.shape[0] == record["of"]:
        classes = _classes(data) if record["by_class"] else None
        if (classes is not None) == record["by_class"]:
            *_, kept, held = split_rows(data.rows, record["fraction"], record["seed"], classes)
            if digest(held.astype(np.int64)) == record["sha256"]:
                return _rows(data, held if held_out else kept)
    raise SettingError(
        f"the rows that were held out of training cannot be found in {data.name} again: they were drawn from its "
        f"{record['of']} rows and the labels of that run; give the same --labels and --limit, or train again"
    )


def _classes(data: DataSet) -> NDArray[np.intp] | None:
    """Return the number of each row's class in order of appearance; None where labels are not classes."""
    labels = data.labels
    if labels is None or (labels.dtype.kind == "f" and (labels != np.rint(labels))[~np.isnan(labels)].any()):
        return None
    _, first, numbers = np.unique(labels.astype(str), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers]


def _rows(data: DataSet, index: NDArray[np.intp]) -> DataSet:
    labels = None if data.labels is None else data.labels[index]
    return replace(data, rows=SubsetSource(data.rows, index), labels=labels)
