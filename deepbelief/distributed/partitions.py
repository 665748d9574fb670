"""Rows on the workers of a cluster, or in a file that each worker opens for itself."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepbelief import datasets
from deepbelief.distributed.clusters import (
    Client,
    Future,
    check_client,
    check_workers,
    current_client,
    library,
    translated,
)
from deepbelief.distributed.coordinator import Coordinator, Recipe
from deepbelief.distributed.part import Job
from deepbelief.distributed.waiting import gathered, wait_for
from deepbelief.distributed.worker_averaging import Averaging
from deepbelief.errors import DataError
from deepbelief.extensions import load_extensions
from deepbelief.layer import LayerState, RBMSettings
from deepbelief.pretraining import Pretrained
from deepbelief.sources import ArraySource, RowSource, Scaling, SubsetSource, underlying
from deepbelief.stack import Stack
from deepbelief.training import Run
from deepbelief.typing import Array, Dtype, RowsLike, StrDict

TIMEOUT = Averaging.timeout  # seconds to wait for a silent worker when rows are fetched


class Partitioned:
    """Rows on a cluster for `fit`, with the settings by which the workers train together.

    Pretraining runs where the rows are. Anything else that reads them, such as fine-tuning, fetches them to this
    process.

    Parameters
    ----------
    X : dask.array.Array of shape (n_rows, n_features), or FileRows
    averaging : Averaging, optional
        Intervals and rules of averaging.
    client : distributed.Client, optional
        None: the current one.

    Raises
    ------
    DataError
        If X is not two-dimensional, or its number of rows is unknown.

    Examples
    --------
    >>> from deepbelief import RBM
    >>> from deepbelief.distributed import Averaging, Partitioned
    >>> def train(X):  # X: a dask array; a distributed.Client exists
    ...     return RBM(16).fit(Partitioned(X, Averaging(updates=50)))
    """

    def __init__(self, X: RowsLike, averaging: Averaging | None = None, client: Client = None) -> None:
        self.placed = X if isinstance(X, FileRows) else ChunkRows(X, client)
        self.averaging = averaging or Averaging()
        self.client = client
        self.shape, self.dtype = self.placed.shape, self.placed.dtype

    def __repr__(self) -> str:
        """Show the shape rather than the values."""
        return f"Partitioned({self.shape[0]} x {self.shape[1]}, {self.dtype})"

    def take(self, rows: slice | Array, out: Array | None = None) -> Array:
        """Fetch these rows to this process (see `RowSource.take`)."""
        return self.placed.take(rows, out)

    def pretrain(
        self, sizes: Sequence[int], settings: Sequence[RBMSettings], run: Run, *, n_passes: int = 1,
        validation_fraction: float = 0.0, start: Stack | None = None, states: Sequence[LayerState] | None = None,
    ) -> Pretrained:  # fmt: skip
        """Pretrain a stack on the workers, as `deepbelief.pretraining.pretrain` does in this process.

        Raises
        ------
        ClusterError, DataError, SettingError, DivergenceError
        """
        client = current_client() if self.client is None else self.client
        check_client(client)
        sources = self.placed.place(client, check_workers(client), self.averaging.timeout)
        job = Job(
            secrets.token_hex(8), len(sources), self.averaging, tuple(sizes), tuple(settings), run.seed, n_passes,
            validation_fraction, start, states, run.memory_limit,
        )  # fmt: skip
        return Coordinator(client, job, run.reporter, run.checkpointer).run(sources)


class ChunkRows:
    """Rows of a dask array; each chunk stays on the worker that holds it."""

    def __init__(self, X: RowsLike, client: Client = None) -> None:
        if X.ndim != 2 or any(np.isnan(n) for n in X.shape):
            raise DataError(
                f"a dask array of rows has two dimensions of known length, got shape {X.shape}; "
                "X.compute_chunk_sizes() counts the rows"
            )
        if X.dtype.kind not in "biuf":
            raise DataError(f"rows must be real numbers, got dtype {X.dtype}")
        if (
            X.dtype.kind in "iu" and X.dtype.itemsize > 2
        ):  # all workers need one dtype, also those whose values are below 2**24
            X = X.astype(np.float64)
        self._X, self._client = X.rechunk({1: -1}), client
        self.shape = (int(X.shape[0]), int(X.shape[1]))
        self.dtype = np.dtype(np.float64 if X.dtype == np.float64 else np.float32)

    def take(self, rows: slice | Array, out: Array | None = None) -> Array:
        """Fetch these rows to this process."""
        client = current_client() if self._client is None else self._client
        check_client(client)
        # Chunk by chunk, so that no worker receives the chunks of others.
        with translated(client):
            chunks = client.compute(self._X[rows].to_delayed().ravel().tolist())
        blocks = gathered(client, chunks, TIMEOUT)
        found = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        if out is None:
            return np.ascontiguousarray(found, dtype=self.dtype)
        np.copyto(out, found, casting="unsafe")
        return out

    def place(self, client: Client, workers: list[str], timeout: float) -> dict[str, Recipe]:
        """Return a recipe for each worker's rows; Dask decides where pending chunks are computed."""
        with translated(client):
            held = client.persist(self._X)
        chunks = {future.key: future for future in library().futures_of(held)}
        wait_for(client, list(chunks.values()), timeout)
        gathered(client, client.map(lambda chunk: None, list(chunks.values())), timeout)  # what failed is raised here
        keys = [row[0] for row in held.__dask_keys__()]
        with translated(client):
            places = client.who_has(list(chunks.values()))
        by_worker: dict[str, list[Future]] = {}
        for key in keys:
            by_worker.setdefault(places[key][0], []).append(chunks[key])  # its first owner; others have copies
        first = sorted(by_worker.items(), key=lambda item: keys.index(item[1][0].key))
        return {address: (_joined, *parts) for address, parts in first}


def _joined(*chunks: RowsLike) -> RowSource:
    whole = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    return ArraySource(np.ascontiguousarray(whole))  # unaligned rows are not copied: there would be two of each


@dataclass(frozen=True, eq=False)
class FileRows:
    """Rows of a named data set or file; each worker opens its own part.

    Parameters
    ----------
    spec : str
        Name or path for `deepbelief.datasets.open`; workers must find the file under the same path.
    rows : RowSource
        The same rows, as read in this process.
    scale : Scaling
        Scaling of the columns, determined from all rows.
    labels, data_dir : str, optional
        Column, key or file of the labels, which are left out; folder of named data sets.
    limit : int, optional
        Use only this number of rows, from the first on.
    """

    spec: str
    rows: RowSource
    scale: Scaling
    labels: str | None = None
    limit: int | None = None
    data_dir: str | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and number of features."""
        return self.rows.shape

    @property
    def dtype(self) -> Dtype:
        """The dtype that `take` returns."""
        return self.rows.dtype

    def take(self, rows: slice | Array, out: Array | None = None) -> Array:
        """Return these rows, as read in this process."""
        return self.rows.take(rows, out)

    def place(self, client: Client, workers: list[str], timeout: float) -> dict[str, Recipe]:
        """Return a recipe for each worker's rows, in parts of equal size."""
        n, k = self.shape[0], min(len(workers), max(1, self.shape[0] // 2))
        folder = None if self.data_dir is None else str(Path(self.data_dir).expanduser().resolve())
        where = {"labels": self.labels, "limit": self.limit, "data_dir": folder}
        return {
            address: (_opened, self.spec, self.scale, where, self.shape, i * n // k, (i + 1) * n // k)
            for i, address in enumerate(workers[:k])
        }


def _opened(spec: str, scale: Scaling, where: StrDict, shape: tuple[int, int], start: int, stop: int) -> RowSource:
    """Open a worker's part of the rows."""
    load_extensions()
    worker = library().get_worker().address
    try:
        rows = datasets.open(spec, scale=scale, **where).rows
    except DataError as error:
        raise DataError(f"worker {worker} cannot read {spec}: {error}") from error
    if rows.shape != shape:
        raise DataError(f"worker {worker} finds {rows.shape} in {spec}, where {shape} was expected: another file?")
    below = underlying(rows)
    if isinstance(below, ArraySource) and below.is_in_memory:
        return ArraySource(np.array(rows.take(slice(start, stop))))  # a copy, so that the rest of the file is released
    return SubsetSource(rows, np.arange(start, stop))


def is_dask(X: RowsLike) -> bool:
    """Return whether X is a dask array."""
    return type(X).__module__.startswith("dask.array")
