"""Rows on their way to the device: resident, or read in windows from where they lie."""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from deepbelief.backends import Backend, Sparse, SparseRows
from deepbelief.row_windows import MEMORY_PARTS, Index, WindowedOrder, WindowReader, Windows, windows_for
from deepbelief.seeds import stream
from deepbelief.sources import (
    ArraySource,
    ComputedSource,
    RowSource,
    ScaledSource,
    SparseSource,
    SpilledSource,
    binarized,
    chunk_rows,
    csr_of,
    fits_on_disk,
    mean_one,
    underlying,
    weights_of,
    with_weights,
)
from deepbelief.typing import Array, DeviceArray, DtypeLike

BLOCK_ROWS = 2048  # rows handled at a time outside training
MAX_PERMUTED = 2**22  # of more rows than this, some are drawn without a permutation of all


def entering_blocks(
    source: RowSource, bk: Backend, dtype: DtypeLike
) -> Iterator[tuple[int, int, DeviceArray | SparseRows]]:
    """Iterate over (start, stop, rows on the device), each read once; sparse rows where products with them pay."""
    matrix = csr_of(source)
    sparse = None if matrix is None else bk.sparse(matrix.astype(dtype, copy=False))
    for start in range(0, source.shape[0], BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, source.shape[0])
        if sparse is not None and sparse.pays:
            yield start, stop, sparse.part(start, stop)
        else:
            yield start, stop, bk.asarray(source.take(slice(start, stop)), dtype=dtype)


def _is_sparse(source: RowSource) -> bool:
    while hasattr(source, "source"):
        source = source.source
    return isinstance(source, SparseSource)


class Rows:
    """Rows on their way to the device, by minibatch.

    They are resident on the device where they already are, or where they fit into the limit; else they are read in
    windows. Rows in memory that only have to be scaled or converted are not copied for a backend that works in the
    same memory. Sparse rows are never made dense as a whole: only minibatches are, and where it pays products are made
    with the sparse rows.

    Parameters
    ----------
    rows : RowSource or device array of shape (n_rows, n_features)
    bk : Backend
    dtype : numpy dtype
    limit : int, optional
        Bytes that rows may take in memory; None: a quarter of the machine's memory.
    own : bool
        The device array has no other user: it may be written to.
    weights : ndarray of shape (n_rows,), optional
        Weights of the rows; None: those of the source, if it has any.
    """

    def __init__(
        self,
        rows: RowSource | DeviceArray,
        bk: Backend,
        dtype: DtypeLike,
        limit: int | None = None,
        *,
        own: bool = False,
        weights: Array | None = None,
    ) -> None:
        self.bk = bk
        self.row_weights = weights_of(rows) if weights is None else weights
        self._row_weights: DeviceArray = None
        self.dtype = np.dtype(dtype)
        self.limit = bk.memory() // MEMORY_PARTS if limit is None else limit
        self.shape = (int(rows.shape[0]), int(rows.shape[1]))
        self.windows: Windows | None = None
        self._source: RowSource | None = None
        self._resident: DeviceArray = None
        self._order: DeviceArray = None
        self._own = own
        self._sparse: Sparse | None = None
        self._shuffled: Sparse | None = None
        if bk.owns(rows):
            self._resident = rows.astype(self.dtype, copy=False)  # type: ignore[union-attr]
        else:
            self._take_in(rows)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def _take_in(self, source: RowSource) -> None:
        """Decide where the rows of a source are kept."""
        bk, below, matrix = self.bk, underlying(source), csr_of(source)
        here = isinstance(below, ArraySource) and below.is_in_memory and bk.owns(below.array)
        row_bytes = self.shape[1] * self.dtype.itemsize
        # Unaligned rows, as a cluster receives them, are read by minibatches: there would be two copies of them.
        array = source.array if here and isinstance(source, ArraySource) else None
        if array is not None and array.flags.aligned and array.dtype == self.dtype:
            self._resident = bk.asarray(array)
        elif matrix is not None:
            self._source, self._sparse = source, bk.sparse(matrix.astype(self.dtype, copy=False))
        elif _is_sparse(source):
            self._source = source
        elif len(self) * row_bytes > self.limit:
            self._source = source
            self.windows = windows_for(len(self), row_bytes, self.limit, chunk_rows(source))
            self._reader = WindowReader(source, self.windows, bk, self.dtype)
        elif here:
            self._source = source  # in this memory already, to be scaled minibatch by minibatch
        else:
            self._resident = bk.asarray(source.take(slice(0, len(self))), dtype=self.dtype)

    def begin(self, order: Index | WindowedOrder) -> None:
        """Set the order in which `batch` counts rows."""
        self._windowed = isinstance(order, WindowedOrder)
        if isinstance(order, WindowedOrder):
            self._order = order
            self._reader.begin(order)
        else:
            self._order = order if self._resident is None else self.bk.asarray(order)
            self._shuffled = None if self._sparse is None else self._sparse.shuffled(self.bk.asarray(order))

    def batch(self, start: int, stop: int, out: DeviceArray) -> DeviceArray:
        """Write the rows at these places of the order into ``out``."""
        if self._resident is not None:
            return self.bk.take(self._resident, self._order[start:stop], out)
        if self._windowed:
            self._reader.batch(start, stop, out)
        elif self._shuffled is not None:
            self._shuffled.part(start, stop).dense(out)
        elif isinstance(out, np.ndarray):
            self._source.take(self._order[start:stop], out)  # type: ignore[union-attr]
        else:
            out[...] = self._taken(self._order[start:stop])
        return out

    def numbers(self, start: int, stop: int) -> DeviceArray:
        """Return the numbers of the rows at these places of the order."""
        return self.bk.asarray(self._order[start:stop]) if self._resident is None else self._order[start:stop]

    def weights(self, start: int, stop: int) -> DeviceArray | None:
        """Return the weights of the rows at these places of the order, 1 on average over all; None: all are 1."""
        if self.row_weights is None:
            return None
        if self._row_weights is None:
            self._row_weights = self.bk.asarray(mean_one(self.row_weights), dtype=self.dtype)
        return self._row_weights[self.bk.asarray(self._order[start:stop])]

    def sparse(self, start: int, stop: int) -> SparseRows | None:
        """Return the rows at these places of the order in sparse form; None where dense ones are as fast."""
        rows = self._shuffled
        return rows.part(start, stop) if rows is not None and rows.pays else None

    def block(self, start: int, stop: int) -> DeviceArray:
        """Return consecutive rows, not to be written to."""
        if self._source is None:
            return self._resident[start:stop]
        if self._sparse is not None:
            return self._sparse.part(start, stop).dense(self.bk.xp.empty((stop - start, self.shape[1]), self.dtype))
        return self._taken(slice(start, stop))

    def _taken(self, rows: slice | Index) -> DeviceArray:
        return self.bk.asarray(self._source.take(rows), dtype=self.dtype)  # type: ignore[union-attr]

    def blocks(self, size: int = BLOCK_ROWS, *, sparse: bool = False) -> Iterator[tuple[int, int, DeviceArray]]:
        """Iterate over (start, stop, rows) from the first to the last; with ``sparse`` as sparse rows where it pays."""
        kept = self._sparse if sparse and self._sparse is not None and self._sparse.pays else None
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield start, stop, self.block(start, stop) if kept is None else kept.part(start, stop)

    def some(self, index: Index) -> DeviceArray:
        """Return a copy of the rows with these numbers."""
        if self._source is None:
            return self._resident[self.bk.asarray(index)]
        return self._taken(index)

    def drawn(self, size: int, rng: np.random.Generator) -> DeviceArray:
        """Return a copy of a number of rows, drawn at random without repeats, in the order of their numbers."""
        n = len(self)
        index = rng.permutation(n)[:size] if n <= MAX_PERMUTED else rng.choice(n, size, replace=False, shuffle=False)
        return self.some(np.sort(index))

    def standardised(self, mean: Array, scale: Array) -> "Rows":
        """Return the rows as ``(rows - mean) / scale``; in place where they are the device's own."""
        if self._source is not None:
            return self._of(ScaledSource(self._source, mean, scale))
        self._resident -= self.bk.asarray(mean)
        self._resident /= self.bk.asarray(scale)
        return self

    def binarized(self, how: str, seed: int, *key: int | str) -> "Rows":
        """Return values in [0, 1] as bits, by a half or by a draw; in place where they are the device's own."""
        if self._source is not None:
            return self._of(binarized(self._source, how, seed, *key))
        rng = self.bk.rng(stream(seed, *key))
        for _, _, block in self.blocks():
            if how == "threshold":
                block[...] = (block >= 0.5).astype(self.dtype)
            else:
                block[...] = rng.bernoulli(block, self.bk.xp.empty_like(block))
        return self

    def mapped(self, compute: Callable[[DeviceArray], DeviceArray], width: int, *, sparse: bool = False) -> "Rows":
        """Return what a function makes of blocks of rows: on the device, or spilled, or computed when it is read.

        Where it fits it is written into the memory of rows that are nobody else's. With ``sparse`` the function takes
        sparse rows too.
        """
        bk, shape = self.bk, (len(self), width)
        n_bytes = shape[0] * width * self.dtype.itemsize
        if n_bytes <= self.limit:
            own = self._own and self._resident is not None and width <= self.shape[1]
            out = (
                self._resident.reshape(-1)[: shape[0] * width].reshape(shape) if own else bk.xp.empty(shape, self.dtype)
            )
            for start, stop, block in self.blocks(sparse=sparse):
                out[start:stop] = compute(block)  # rows before this block are not read any more
            return self._of(out, own=True)
        if fits_on_disk(n_bytes):
            with contextlib.suppress(OSError):  # others may have filled the disk since
                return self._of(self._spilled(compute, shape))
        computed = ComputedSource(
            self.source(), lambda v: bk.to_numpy(compute(bk.asarray(v, dtype=self.dtype))), width, self.dtype
        )
        return self._of(computed)

    def _of(self, rows: RowSource | DeviceArray, *, own: bool = False) -> "Rows":
        """Return what has been made of these rows, which keeps their weights."""
        return Rows(rows, self.bk, self.dtype, self.limit, own=own, weights=self.row_weights)

    def _spilled(self, compute: Callable[[DeviceArray], DeviceArray], shape: tuple[int, int]) -> SpilledSource:
        spilled = SpilledSource(shape, self.dtype)
        for _, _, block in self.blocks():
            spilled.append(self.bk.to_numpy(compute(block)))
        return spilled

    def source(self) -> RowSource:
        """Return these rows as a source on the host."""
        source = self._source if self._source is not None else ArraySource(self.bk.to_numpy(self._resident))
        return source if self.row_weights is None else with_weights(source, self.row_weights)
