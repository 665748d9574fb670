"""Names of columns, kept with the rows and matched with those of the training data.

A source may have an attribute ``feature_names``: a list of str, or None. Sources over another source have its names.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from deepbelief.errors import DataError
from deepbelief.sources.content import names_text
from deepbelief.sources.rows import HostRows, RowIndex, RowSource
from deepbelief.typing import FloatArray


def names_of(source: object) -> list[str] | None:
    """Return the names of the columns of a source; None if there are none.

    Examples
    --------
    >>> from deepbelief.sources import as_source
    >>> names_of(named(as_source([[1, 2]]), ["a", "b"]))
    ['a', 'b']
    """
    while source is not None:
        if hasattr(source, "feature_names"):
            return None if source.feature_names is None else [str(name) for name in source.feature_names]
        source = getattr(source, "source", None)
    return None


def named(source: RowSource, names: Iterable[str] | None) -> RowSource:
    """Give the columns of a source these names, or none, and return it."""
    vars(source)["feature_names"] = None if names is None else list(names)
    return source


class ColumnsSource(HostRows):
    """Some columns of another source, in a given order.

    Parameters
    ----------
    source : RowSource
    columns : sequence of int
        Indices of the columns to keep.
    names : sequence of str or None
        Names of these columns.
    """

    def __init__(self, source: RowSource, columns: Sequence[int], names: Sequence[str] | None = None) -> None:
        self.whole = source
        self.columns = np.asarray(columns, np.intp)
        self.feature_names = None if names is None else list(names)
        self.shape = (source.shape[0], len(self.columns))
        self.dtype = source.dtype

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows (see `RowSource.take`)."""
        out = self._room(rows) if out is None else out
        out[...] = self.whole.take(rows)[:, self.columns]
        return out


def match_columns(
    source: RowSource, have: Sequence[str], wanted: Sequence[str], leave_out: str | None = None
) -> RowSource:
    """Return a source with the requested columns, in the requested order; the source itself if it already has these.

    Parameters
    ----------
    source : RowSource
    have : sequence of str
        Names of the source's columns.
    wanted : sequence of str
        Names of the columns to return, in their order.
    leave_out : str, optional
        A further column that may be present, such as the labels.

    Returns
    -------
    RowSource

    Raises
    ------
    DataError
        Naming the missing and the unexpected columns.

    Examples
    --------
    >>> from deepbelief.sources import as_source
    >>> match_columns(as_source([[1, 2]]), ["a", "b"], ["b", "a"]).take(slice(None)).tolist()
    [[2.0, 1.0]]
    """
    if list(have) == list(wanted):
        return named(source, wanted)
    missing = [name for name in wanted if name not in set(have)]
    further = [name for name in have if name not in set(wanted) and name != leave_out]
    if missing or further:
        told = [f"{word}: {names_text(names)}" for word, names in (("missing", missing), ("new", further)) if names]
        raise DataError(f"its columns are not those of the training data ({'; '.join(told)})")
    place = {name: i for i, name in enumerate(have)}
    return ColumnsSource(source, [place[name] for name in wanted], wanted)
