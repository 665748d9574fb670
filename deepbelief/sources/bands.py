"""Rows that a file keeps in bands, each of which is read and decoded as a whole."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from deepbelief.errors import DataError, FileError
from deepbelief.sources.content import reason_text
from deepbelief.sources.rows import HostRows, RowIndex, _indices
from deepbelief.typing import FloatArray

AnyArray = NDArray[np.generic]


class Bands:
    """Reads rows by band and caches the last band, which the next call often needs again.

    Parameters
    ----------
    bounds : sequence of int
        First row of each band, and the number of rows.
    read : callable
        Returns the rows of a band, by its number.
    name : str
        Name of the file in messages.

    Examples
    --------
    >>> bands = Bands([0, 2, 3], lambda band: np.array([[[1.0], [2.0]], [[3.0]]][band]), "a file")
    >>> bands.fill(np.array([2, 0, 2]), np.empty((3, 1))).tolist()
    [[3.0], [1.0], [3.0]]
    """

    def __init__(self, bounds: Sequence[int], read: Callable[[int], AnyArray], name: str) -> None:
        self.bounds: NDArray[np.intp] = np.asarray(bounds, np.intp)
        self._read, self._name = read, name
        self._lock = threading.Lock()  # one thread reads ahead while another takes the monitored rows
        self._last: tuple[int, AnyArray] | None = None

    def fill(self, rows: RowIndex, out: FloatArray) -> FloatArray:
        """Write these rows into ``out``, each band read once, and return it."""
        n = int(self.bounds[-1])
        index = np.arange(*rows.indices(n), dtype=np.intp) if isinstance(rows, slice) else _indices(rows, n)
        bands = np.searchsorted(self.bounds, index, side="right") - 1
        for band in np.unique(bands).tolist():
            values, first = self._band(band), int(self.bounds[band])
            if isinstance(rows, slice) and rows.step in (None, 1):
                start, stop = np.searchsorted(bands, [band, band + 1]).tolist()
                out[start:stop] = values[index[start] - first : index[stop - 1] + 1 - first]
            else:
                places = np.flatnonzero(bands == band)
                out[places] = values[index[places] - first]
        return out

    def between(self, rows: slice) -> AnyArray:
        """Return the rows between two neighbouring bounds as the file holds them."""
        return self._band(int(np.searchsorted(self.bounds, rows.start)))

    def _band(self, band: int) -> AnyArray:
        with self._lock:
            if self._last is None or self._last[0] != band:
                self._last = None  # not two at a time
                self._last = band, self._checked(band)
            return self._last[1]

    def _checked(self, band: int) -> AnyArray:
        first, end = self.bounds[band : band + 2].tolist()
        try:
            values = self._read(band)
        except DataError:
            raise
        except Exception as error:  # on damaged files, the underlying libraries raise errors of any kind
            raise FileError(f"{self._name}: rows {first} to {end - 1} cannot be read: {reason_text(error)}") from error
        if len(values) != end - first:
            raise FileError(f"{self._name}: rows {first} to {end - 1} are declared, but only {len(values)} are present")
        return values


class BandedSource(HostRows):
    """A row source over `Bands`."""

    _bands: Bands

    def take(self, rows: RowIndex, out: FloatArray | None = None) -> FloatArray:
        """Return these rows (see `RowSource.take`)."""
        out = self._room(rows) if out is None else out
        return self._bands.fill(rows, out)
