"""Minibatches, and the one epoch loop that trains machines and networks alike."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from deepbelief.backends import Backend, Rng, Sparse, SparseRows
from deepbelief.errors import SettingError
from deepbelief.seeds import host_rng, stream
from deepbelief.sources import ArraySource, RowSource, SparseSource, SubsetSource, csr_of, underlying

DeviceArray = Any
Record = dict[str, Any]

BLOCK_ROWS = 2048  # rows handled at a time outside training


class Reporter:
    """Told of a run's progress, and may ask it to stop; this one does neither.

    Estimators take an instance, or a list of them, as ``verbose``.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> class Enough(Reporter):
    ...     def record(self, record):
    ...         return record["reconstruction_error"] < 2
    >>> rbm = RBM(4, verbose=Enough(), random_state=0).fit(np.eye(8))
    >>> len(rbm.history_) < 100
    True
    """

    def begin(self, what: Record) -> None:
        """Begin a layer's share of a pass, or fine-tuning; ``what`` says which."""

    def update(self, epoch: int, done: int, total: int) -> None:
        """Count an update of an epoch."""

    def record(self, record: Record) -> bool | None:
        """Take the record of an epoch that has ended; return True to end the phase here: a layer's, or fine-tuning."""
        return None

    def end(self) -> None:
        """End the phase, finished or interrupted."""


class Reporters(Reporter):
    """Several reporters as one; each may ask the run to stop."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = tuple(reporters)

    def begin(self, what: Record) -> None:
        """Tell all of them."""
        for reporter in self._reporters:
            reporter.begin(what)

    def update(self, epoch: int, done: int, total: int) -> None:
        """Tell all of them."""
        for reporter in self._reporters:
            reporter.update(epoch, done, total)

    def record(self, record: Record) -> bool:
        """Tell all of them, also where the first has had enough."""
        asked = [reporter.record(record) for reporter in self._reporters]
        return any(asked)

    def end(self) -> None:
        """Tell all of them."""
        for reporter in self._reporters:
            reporter.end()


class PrintReporter(Reporter):
    """Prints one line per epoch."""

    def record(self, record: Record) -> None:
        """Print the record."""
        shown = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in record.items() if v is not None)
        print("  ".join(shown))  # noqa: T201


def get_reporter(verbose: int | bool | Reporter | Sequence[Reporter]) -> Reporter:
    """Return the reporter that ``verbose`` asks for."""
    if isinstance(verbose, Reporter):
        return verbose
    if isinstance(verbose, (list, tuple)) and all(isinstance(each, Reporter) for each in verbose):
        return Reporters(verbose)
    if not isinstance(verbose, (bool, int, np.integer)):
        raise SettingError(f"verbose must be a number, a bool, a Reporter or a list of them, got {verbose!r}")
    return PrintReporter() if verbose else Reporter()


class Rows:
    """Rows on their way to the device, by minibatch.

    They are resident on the device where they already are, or where they fit into a quarter of the free memory; else
    each minibatch is read from the source. Rows in memory that only have to be scaled or converted are not copied for
    a backend that works in the same memory. Sparse rows are never made dense as a whole: only minibatches are, and
    where it pays products are made with the sparse rows.

    Parameters
    ----------
    rows : RowSource or device array of shape (n_rows, n_features)
    bk : Backend
    dtype : numpy dtype
    resident : bool
        False: rows that are not there already are read when they are used, for a single pass.
    own : bool
        Nobody else needs the device array: it may be written to.
    """

    def __init__(
        self, rows: RowSource | DeviceArray, bk: Backend, dtype: Any, *, resident: bool = True, own: bool = False
    ) -> None:
        self.bk = bk
        self.dtype = np.dtype(dtype)
        self.shape = (int(rows.shape[0]), int(rows.shape[1]))
        self._own = own
        self._source: RowSource | None = None
        self._resident: DeviceArray = None
        self._sparse: Sparse | None = None
        self._shuffled: Sparse | None = None
        if bk.owns(rows):
            self._resident = rows.astype(self.dtype, copy=False)  # type: ignore[union-attr]
        else:
            self._take_in(rows, resident=resident)
        self._order: Any = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def _take_in(self, source: RowSource, *, resident: bool) -> None:
        """Decide where the rows of a source are kept."""
        bk, kind, matrix = self.bk, type(underlying(source)), csr_of(source)
        here = kind is ArraySource and bk.owns(source.take(slice(0, 1)))  # the device works in the memory they lie in
        size = len(self) * self.shape[1] * self.dtype.itemsize
        if here and isinstance(source, ArraySource) and source.dtype == self.dtype:
            self._resident = bk.asarray(source.take(slice(0, len(self))))
        elif matrix is not None:
            self._source, self._sparse = source, bk.sparse(matrix.astype(self.dtype, copy=False))
        elif resident and not here and kind is not SparseSource and size <= bk.free_memory() // 4:
            self._resident = bk.asarray(source.take(slice(0, len(self))), dtype=self.dtype)
        else:
            self._source = source

    def begin(self, order: np.ndarray[Any, np.dtype[np.intp]]) -> None:
        """Set the order in which `batch` counts rows."""
        if self._sparse is not None:
            self._shuffled = self._sparse.shuffled(self.bk.asarray(order))
        self._order = order if self._resident is None else self.bk.asarray(order)

    def batch(self, start: int, stop: int, out: DeviceArray) -> DeviceArray:
        """Write the rows at these places of the order into ``out``."""
        if self._source is None:
            return self.bk.take(self._resident, self._order[start:stop], out)
        if self._shuffled is not None:
            return self._shuffled.part(start, stop).dense(out)
        if isinstance(out, np.ndarray):
            return self._source.take(self._order[start:stop], out)
        out[...] = self.bk.asarray(self._source.take(self._order[start:stop]), dtype=self.dtype)
        return out

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
        return self.bk.asarray(self._source.take(slice(start, stop)), dtype=self.dtype)

    def blocks(self, size: int = BLOCK_ROWS, *, sparse: bool = False) -> Iterator[tuple[int, int, DeviceArray]]:
        """Iterate over (start, stop, rows) from the first to the last; with ``sparse`` as sparse rows where it pays."""
        pays = sparse and self._sparse is not None and self._sparse.pays
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield start, stop, self._sparse.part(start, stop) if pays else self.block(start, stop)  # type: ignore[union-attr]

    def some(self, index: np.ndarray[Any, np.dtype[np.intp]]) -> DeviceArray:
        """Return a copy of the rows with these numbers."""
        if self._source is None:
            return self._resident[self.bk.asarray(index)]
        return self.bk.asarray(self._source.take(index), dtype=self.dtype)

    def room(self, n_columns: int) -> DeviceArray:
        """Return room for what follows from these rows block by block: their own memory where they allow it."""
        shape = len(self), n_columns
        if self._own and n_columns <= self.shape[1]:
            return self._resident.reshape(-1)[: len(self) * n_columns].reshape(shape)
        return self.bk.xp.empty(shape, self.dtype)

    def standardise(self, mean: Any, scale: Any) -> None:
        """Subtract and divide by a number for each column, in place: of rows that are the device's own."""
        self._resident -= self.bk.asarray(mean)
        self._resident /= self.bk.asarray(scale)

    def binarize(self, how: str, rng: Rng) -> None:
        """Turn values in [0, 1] into bits in place, by a half or by a draw: of rows that are the device's own."""
        for _, _, block in self.blocks():
            if how == "threshold":
                block[...] = (block >= 0.5).astype(self.dtype)
            else:
                block[...] = rng.bernoulli(block, self.bk.xp.empty_like(block))

    def source(self) -> RowSource:
        """Return these rows as a source on the host."""
        return self._source if self._source is not None else ArraySource(self.bk.to_numpy(self._resident))


class Task(Protocol):
    """What the epoch loop trains."""

    finished: bool  # set by `end_epoch` to stop before the last epoch

    def begin_epoch(self, epoch: int, order: np.ndarray[Any, np.dtype[np.intp]]) -> None:
        """Prepare for an epoch over the rows in this order."""

    def update(self, start: int, stop: int, position: float, rng: Rng) -> None:
        """Make one update with the rows at these places of the order."""

    def end_epoch(self, epoch: int) -> Record:
        """Return what the history shall say of the epoch."""


def run_epochs(
    task: Task, n_rows: int, *, bk: Backend, epochs: range, horizon: int, batch_size: int, seed: int,
    key: tuple[Any, ...], reporter: Reporter, shuffle: bool = True,
) -> list[Record]:  # fmt: skip
    """Train for some epochs; the only training loop there is.

    Parameters
    ----------
    task : Task
    n_rows : int
    bk : Backend
    epochs : range
        Cumulative epoch numbers, from 0: streams and schedules count from the run's first epoch.
    horizon : int
        Epochs of the whole run, the length of learning-rate schedules.
    batch_size : int
        Rows in a minibatch; the last one may be shorter.
    seed : int
    key : tuple
        Name of the task's random streams; epoch and purpose are added.
    reporter : Reporter
    shuffle : bool
        False keeps the rows' order (`partial_fit`).

    Returns
    -------
    list of dict
        One record per epoch.
    """
    history: list[Record] = []
    try:
        for epoch in epochs:
            record = _run_epoch(task, n_rows, bk, epoch, horizon, batch_size, seed, key, reporter, shuffle=shuffle)
            history.append({"epoch": epoch + 1, "n_epochs": epochs.stop} | record)
            enough = reporter.record(history[-1])
            if task.finished or enough:
                break
    finally:
        reporter.end()
    return history


def _run_epoch(
    task: Task, n_rows: int, bk: Backend, epoch: int, horizon: int, batch_size: int, seed: int, key: tuple[Any, ...],
    reporter: Reporter, *, shuffle: bool,
) -> Record:  # fmt: skip
    """Train for one epoch and return what is to be told of it."""
    began = time.perf_counter()
    rng = bk.rng(stream(seed, *key, epoch, "sampling"))
    order = host_rng(seed, *key, epoch, "order").permutation(n_rows) if shuffle else np.arange(n_rows)
    starts = range(0, n_rows, batch_size)
    # A run that diverges is told of once, by the task at the end of its epoch.
    with np.errstate(over="ignore", invalid="ignore"):
        task.begin_epoch(epoch, order)
        for i, start in enumerate(starts):
            task.update(start, min(start + batch_size, n_rows), (epoch + i / len(starts)) / horizon, rng)
            reporter.update(epoch + 1, i + 1, len(starts))
        told = task.end_epoch(epoch)
    return told | {"seconds": time.perf_counter() - began}


def split_rows(
    source: RowSource, fraction: float, seed: int, strata: np.ndarray[Any, Any] | None = None
) -> tuple[RowSource, RowSource, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return (training rows, held-out rows, their two index arrays), drawn at random, by class where given."""
    n = source.shape[0]
    shuffled = host_rng(seed, "held-out").permutation(n)
    n_held = min(max(1, round(fraction * n)), n - 1)
    if strata is not None:
        # Rows ordered by class, then every so many-th of them: each class in its proportion.
        by_class = shuffled[np.argsort(strata[shuffled], kind="stable")]
        places = ((np.arange(n_held) + 0.5) * n / n_held).astype(np.intp)
        held = np.sort(by_class[places])
    else:
        held = np.sort(shuffled[:n_held])
    kept = np.setdiff1d(np.arange(n), held)
    return SubsetSource(source, kept), SubsetSource(source, held), kept, held
