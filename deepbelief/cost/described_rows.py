"""Description of the rows of a run."""

from dataclasses import dataclass

import numpy as np

from deepbelief.communicator import SINGLE_PROCESS
from deepbelief.layer import choose_visible
from deepbelief.sources import ArraySource, RowSource, SubsetSource, as_source, csr_of, is_source, underlying
from deepbelief.typing import RowsLike

N_SAMPLED = 1000  # rows by which the type of the visible units is chosen


@dataclass(frozen=True)
class DataSize:
    """Description of the rows of a run, which need not exist.

    Parameters
    ----------
    n_rows, n_features : int
        Number of rows and columns.
    density : float or None
        Share of the values that are stored, of sparse rows; None: rows are dense.
    on_disk : bool
        Whether rows are read from a file that the system can read in part.
    itemsize : int
        Bytes of a value where the rows lie.
    visible : str
        Unit type of the visible units where a model leaves it to the rows.

    Examples
    --------
    >>> DataSize(60_000, 784).n_bytes
    188160000
    """

    n_rows: int
    n_features: int
    density: float | None = None
    on_disk: bool = False
    itemsize: int = 4
    visible: str = "bernoulli"

    @property
    def n_bytes(self) -> int:
        """Bytes of the rows where they lie."""
        if self.density is None:
            return self.n_rows * self.n_features * self.itemsize
        return int(self.density * self.n_rows * self.n_features) * (self.itemsize + 4) + 4 * self.n_rows

    @classmethod
    def of(cls, rows: RowsLike, scale: str = "none") -> "DataSize":
        """Return the description of rows; the type of the visible units is that of the first 1,000."""
        source: RowSource = rows if is_source(rows) else as_source(rows)
        n, v = source.shape
        matrix, below = csr_of(source), underlying(source)
        if matrix is not None:
            density = matrix.nnz / (n * v)
            return cls(n, v, density, itemsize=matrix.dtype.itemsize)
        in_memory = isinstance(below, ArraySource) and below.is_in_memory
        itemsize = below.array.dtype.itemsize if isinstance(below, ArraySource) else source.dtype.itemsize
        few = SubsetSource(source, np.arange(min(n, N_SAMPLED)))
        unit = choose_visible("auto", few, SINGLE_PROCESS, scale, missing=True)[0]
        return cls(n, v, on_disk=not in_memory, itemsize=itemsize, visible=unit.spec)
