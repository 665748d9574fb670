"""Windows of rows: order of an epoch that reads rows from where they lie, and its reader.

Rows that do not fit are read in blocks. An epoch goes through the blocks in random order, some dozens of them at a
time; the rows of such a window are shuffled while they are in memory, and a thread reads the next window meanwhile. No
more than two windows are in memory, however many rows there are, and the order depends only on the seed.
"""

import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepbelief.backends import Backend
from deepbelief.errors import invalid
from deepbelief.sources import RowSource
from deepbelief.typing import Array, DeviceArray, DtypeLike

Index = NDArray[np.intp]

LARGEST_WINDOW = 2**27  # bytes
BLOCKS = 64  # number of places in the file that the rows of a window come from
MEMORY_PARTS = 4  # rows are resident where they fit into this part of the memory
BYTES = {"": 1} | {f"{p}{b}": base**i for i, p in enumerate("kmgt", 1) for b, base in (("b", 1000), ("ib", 1024))}
LEAST_MEMORY = 2**20


def memory_bytes(limit: int | str | None) -> int | None:
    """Return the bytes that ``memory_limit`` means.

    Examples
    --------
    >>> memory_bytes("512 MiB"), memory_bytes(10**9), memory_bytes(None)
    (536870912, 1000000000, None)
    """
    if limit is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([A-Za-z]*)\s*", str(limit))
    unit = BYTES.get(found[2].lower()) if found else None
    n_bytes = int(float(found[1]) * unit) if found and unit else 0
    if isinstance(limit, bool) or n_bytes < LEAST_MEMORY:
        raise invalid("memory_limit", "bytes, or '512 MiB', '2 GB' ..., at least 1 MiB", limit)
    return n_bytes


@dataclass(frozen=True)
class Windows:
    """Division of rows into blocks, and of blocks into windows.

    Parameters
    ----------
    n_rows : int
    block : int
        Consecutive rows that are read at once.
    blocks : int
        Blocks in a window.
    """

    n_rows: int
    block: int
    blocks: int = BLOCKS

    def order(self, rng: np.random.Generator | None) -> "WindowedOrder":
        """Return the order of an epoch; without a generator that of the file."""
        return WindowedOrder(self, rng)


def windows_for(n_rows: int, row_bytes: int, limit: int, chunk: int = 1) -> Windows:
    """Return windows of which two, and what is read into them, take less than a number of bytes.

    Blocks are whole chunks of the file, since a chunk is read, and decompressed, as a whole.

    Examples
    --------
    >>> windows_for(25_000_000, 4 * 784, 2**29)
    Windows(n_rows=25000000, block=668, blocks=64)
    """
    rows = max(1, min(limit // MEMORY_PARTS, LARGEST_WINDOW) // row_bytes)
    block = max(1, rows // BLOCKS)
    block = min(-(-block // chunk) * chunk, max(1, rows))
    return Windows(n_rows, block, max(1, rows // block))


class WindowedOrder:
    """The order of an epoch's rows: blocks at random, and the rows of each window at random.

    Slices of it are row numbers; nothing of the length of the rows is kept.
    """

    def __init__(self, windows: Windows, rng: np.random.Generator | None) -> None:
        self.windows = windows
        n_blocks = -(-windows.n_rows // windows.block)
        n_windows = -(-n_blocks // windows.blocks)
        self._blocks = np.arange(n_blocks) if rng is None or n_windows == 1 else rng.permutation(n_blocks)
        self._whole = rng.permutation(windows.n_rows) if rng is not None and n_windows == 1 else None
        self._seeds = None if rng is None else rng.integers(2**63, size=n_windows)
        lengths = [sum(stop - start for start, stop in self.spans(i)) for i in range(n_windows)]
        self.bounds: Index = np.concatenate([[0], np.cumsum(lengths, dtype=np.intp)])
        self._last: tuple[int, Index] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.windows.n_rows

    def window_of(self, place: int) -> int:
        """Return the number of the window that a place lies in."""
        return int(np.searchsorted(self.bounds, place, side="right")) - 1

    def spans(self, window: int) -> list[tuple[int, int]]:
        """Return (first row, row after the last) of each block of a window."""
        size, per, n = self.windows.block, self.windows.blocks, self.windows.n_rows
        return [(b * size, min((b + 1) * size, n)) for b in self._blocks[window * per : (window + 1) * per].tolist()]

    def within(self, window: int) -> Index:
        """Return the order of the rows within a window."""
        if self._whole is not None:  # in one window rows have the order that they have where all are in memory
            return self._whole
        n = int(self.bounds[window + 1] - self.bounds[window])
        return np.arange(n) if self._seeds is None else np.random.default_rng(self._seeds[window]).permutation(n)

    def __getitem__(self, places: slice) -> Index:
        """Return the row numbers at consecutive places."""
        start, stop, _ = places.indices(len(self))
        parts: list[Index] = [np.empty(0, np.intp)]
        while start < stop:
            window = self.window_of(start)
            if self._last is None or self._last[0] != window:
                rows = np.concatenate([np.arange(*span) for span in self.spans(window)])
                self._last = window, rows[self.within(window)]
            first, end = self.bounds[window : window + 2].tolist()
            parts.append(self._last[1][start - first : min(stop, end) - first])
            start = min(stop, end)
        return np.concatenate(parts)


class WindowReader:
    """Gives the rows of an order by minibatch, and reads ahead.

    Parameters
    ----------
    source : RowSource
    windows : Windows
    bk : Backend
    dtype : numpy dtype
    """

    def __init__(self, source: RowSource, windows: Windows, bk: Backend, dtype: DtypeLike) -> None:
        self._source, self._bk = source, bk
        size = windows.block * windows.blocks, source.shape[1]
        self._room: list[Array] = [np.empty(size, dtype) for _ in range(2)]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rows")
        self._ahead: tuple[int, Future[Array]] | None = None

    def begin(self, order: WindowedOrder) -> None:
        """Begin an epoch."""
        if self._ahead is not None:
            self._ahead[1].result()  # the thread may still write
        self._order, self._ahead, self._number = order, None, -1

    def batch(self, start: int, stop: int, out: DeviceArray) -> None:
        """Write the rows at these places into ``out``; they may lie in two windows."""
        done = start
        while done < stop:
            number = self._order.window_of(done)
            if number != self._number:
                self._go_to(number)
            first, end = self._order.bounds[number : number + 2].tolist()
            end = min(stop, end)
            index = self._within[done - first : end - first]
            self._bk.take(self._rows, index, out[done - start : end - start])
            done = end

    def _go_to(self, number: int) -> None:
        """Make a window the current one, and let the next one be read into the free buffer."""
        if self._ahead is None or self._ahead[0] != number:
            self._ahead = number, self._thread.submit(self._read, number, self._room[0])
        rows = self._ahead[1].result()
        self._number, self._ahead = number, None
        self._room.reverse()
        self._rows = self._bk.asarray(rows)
        self._within = self._bk.asarray(self._order.within(number))
        if number + 2 < len(self._order.bounds):
            self._ahead = number + 1, self._thread.submit(self._read, number + 1, self._room[0])

    def _read(self, number: int, room: Array) -> Array:
        filled = 0
        for start, stop in self._order.spans(number):
            self._source.take(slice(start, stop), room[filled : filled + stop - start])
            filled += stop - start
        return room[:filled]
