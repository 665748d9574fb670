"""Compiled loops of loops.c, if they were built when the package was installed: element-wise work in one pass.

All arrays are C-contiguous, and float32 unless stated otherwise. Results differ from NumPy's by rounding. Other threads
run during a call. If the BLAS is OpenBLAS, a loop over many values uses as many of its threads as OpenBLAS itself may
use when the loop begins; the result does not depend on their number.
"""

import importlib
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from deepbelief.backends.blas import thread_functions
from deepbelief.backends.loop_checks import is_right
from deepbelief.typing import Array, Dtype

LARGEST_EXPONENT = 340.0  # largest exponent of a factor in `log_odds`; as in loops.c
MAX_THREADS = 64  # of a loop; as in crew.h
BLOCK_ROWS = 16  # rows of a block of `log_odds`, as in loops.c
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
BROAD, TALL = 32, 10  # of the largest tiles of these; as in products.h
LINE = 16  # rows of a block of bfloat16 products, and words of a row; as in bfloat16.h
MAX_STRIPS = 2**28  # bytes of the scratch memory of bfloat16 products


class Extension:
    """The compiled module, and the threads on which its loops run."""

    def __init__(self, module: Any) -> None:
        self._c = module
        self.are_plain: Callable[..., bool] = module.are_plain
        self.has_products, self.has_rounded = hasattr(module, "multiply"), hasattr(module, "multiply_rounded")
        self._rooms = threading.local()
        self.on_threads = False  # whether loops run on the threads of the BLAS, if it has several
        self.multiplies = 0  # bytes of the vectors of products, where these run on these threads; 0: there are none
        self.follow(*(thread_functions() or (None, None)))

    def follow(self, count: int | None, run: int | None) -> None:
        """Use the threads of a BLAS, given the addresses of its functions that count threads and run tasks on them.

        None: use one thread.
        """
        self._c.follow(count, run)
        taken = self.slots(MAX_THREADS)
        if taken[0] or not set(np.diff(taken)) <= {0, 1}:
            count = run = None
            self._c.follow(count, run)
        self.on_threads = run is not None
        self.multiplies = self._c.multiplies() if self.on_threads and self.has_products else 0

    def slots(self, total: int) -> Array:
        """Return which thread, from 0, took each unit of work of a loop."""
        out = np.full(total, -1, np.int64)
        self._c.slots(out, total)
        return out


class ProductLoops(Extension):
    """The compiled products, taking arrays; the files in C document each of them."""

    def multiply_rounded(
        self, amx: bool, left: Array, right: Array, factor: float, out: Array, keep: float
    ) -> None:  # fmt: skip
        """Replace ``out`` by ``keep * out + factor * left @ right``, of factors rounded to bfloat16.

        The factors are stored by rows or by columns. The processor must have AMX, or else AVX512-BF16, and
        `allow_rounded` must have returned True.
        """
        (m, k), n = left.shape, right.shape[1]
        strips, threads = self._strips(k, min(m, n))
        (a, a_turned), (b, b_turned) = ((x, 0) if x.flags.c_contiguous else (x.T, 1) for x in (left, right))
        lower = _room(self._rooms, "sums", out.size, FLOAT32)
        self._c.multiply_rounded(
            amx, a, a_turned, b, b_turned, strips, threads, out, lower, m, k, n, factor, keep,
        )  # fmt: skip

    def step_rounded(
        self, amx: bool, left: Array, right: Array, w: Array, velocity: Array, rate: float, momentum: float,
        decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        """Do what `step_along` does, with factors rounded to bfloat16."""
        k, n = right.shape
        strips, threads = self._strips(k, n)
        self._c.step_rounded(
            amx, left, right, w, velocity, strips, threads, rate, momentum, decay,
            nesterov, len(w), k, n,
        )  # fmt: skip

    def allow_rounded(self, amx: bool) -> bool:
        """Ask the system for the use of AMX, or of AVX512-BF16, and return whether it is allowed."""
        return bool(self.has_rounded and self._c.allow_rounded(amx))

    def _strips(self, depth: int, size: int) -> tuple[Array, int]:
        """Return scratch memory for rounded factors (see bfloat16.h), and the threads it is for.

        Each thread has a copy of the smaller factor: with a large one there are fewer threads.
        """
        values = -(-depth // (2 * LINE)) * LINE * LINE * (-(-size // LINE) + 2)  # words of 32 bits
        threads = max(1, min(self._c.loop_threads(), MAX_STRIPS // (4 * values)))
        return _room(self._rooms, "strips", values * threads, FLOAT32), threads

    def add_product(
        self, ends: Array, indices: Array, data: Array, factor: float, W: Array, out: Array, block: int
    ) -> None:
        """Add ``factor`` times compressed rows times ``W`` to ``out``, for some rows of ``W`` at a time."""
        n_rows, (depth, width) = len(ends) - 1, W.shape
        ends = ends.astype(indices.dtype, copy=False)
        places = np.empty(n_rows, indices.dtype)
        add = self._c.add_product_32 if indices.itemsize == 4 else self._c.add_product_64
        add(
            ends, indices, data, factor, W, out, places, n_rows, depth, width, block,
        )  # fmt: skip

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        """Write ``left @ right`` into ``out``."""
        room = _room(self._rooms, "sums", out.size, FLOAT32)
        self._c.multiply(left, right, out, room, *left.shape, right.shape[1])

    def multiply_by_transposed(self, left: Array, right: Array, out: Array) -> None:
        """Write ``left @ right.T`` into ``out``."""
        self._c.multiply_by_transposed(left, right, out, *left.shape, len(right))

    def step_along(
        self, left: Array, right: Array, w: Array, velocity: Array, rate: float, momentum: float, decay: float,
        nesterov: bool,
    ) -> None:  # fmt: skip
        """Do what `momentum_step` does with the gradient ``left.T @ right``."""
        k, n = right.shape
        room = _room(self._rooms, "left", (len(w) + TALL) * k, FLOAT32)
        self._c.step_by_tiles(
            left, right, w, velocity, _panels(self._rooms, n, k), room, rate, momentum,
            decay, nesterov, len(w), k, n,
        )  # fmt: skip

    def weighted_sums(self, x: Array, weights: Array) -> Array:
        """Return the sum of each row's values times float64 weights, in float64."""
        out = np.empty(len(x))
        self._c.weighted_sums(x, weights, out, *x.shape)
        return out


class Loops(ProductLoops):
    """All compiled functions; loops.c documents each of them."""

    def sigmoid(self, x: Array, bias: Array) -> None:
        """Replace each row of ``x`` by the logistic function of ``x + bias``."""
        self._c.sigmoid(x, bias, x.size // bias.size, bias.size)

    def sample(self, p: Array, bias: Array | None, lanes: Array, out: Array, block: int) -> None:
        """Write 1 where a draw is below ``p``, else 0; with a bias, apply `sigmoid` first.

        ``lanes`` holds the addresses of the states of NumPy's SFC64 generators; `numpy_backend` defines their draws for
        each ``block`` of values.
        """
        if bias is None:
            self._c.sample(p, lanes, out, p.size, block)
        else:
            self._c.sample_of_sigmoid(p, bias, lanes, out, p.size, bias.size, block)

    def sigmoid_backward(self, grad: Array, y: Array, out: Array) -> None:
        """Write ``(1 - y) * y * grad`` into ``out``, which must be neither ``y`` nor ``grad``."""
        self._c.sigmoid_backward(grad, y, out, y.size)

    def gather(self, rows: Array, index: Array, out: Array) -> None:
        """Write the rows with these int64 numbers into ``out``; numbers out of range are clipped."""
        self._c.gather(rows, index, out, len(index), *rows.shape)

    def weigh(self, x: Array, weight: Array, out: Array) -> None:
        """Multiply each row of ``x`` by its weight, and write the column sums of the result into ``out``."""
        self._c.weigh(x, weight, out, *x.shape)

    def softmax(self, x: Array, bias: Array, sizes: Array) -> None:
        """Replace each row of ``x`` by the softmax of ``x + bias`` within groups of these int64 sizes."""
        room = np.empty(MAX_THREADS * bias.size, bias.dtype)
        self._c.softmax(x, bias, sizes, room, len(x), len(sizes), x.shape[1])

    def one_hot(self, p: Array, u: Array, sizes: Array, out: Array) -> None:
        """Write 1 for the first column of each group whose cumulative ``p`` reaches (1 - u) times its sum, else 0."""
        self._c.one_hot(p, u, sizes, out, len(p), len(sizes), p.shape[1])

    def momentum_step(
        self, w: Array, velocity: Array, grad: Array, rate: float, momentum: float, decay: float, nesterov: bool
    ) -> None:
        """Take one optimizer step."""
        self._c.momentum_step(w, velocity, grad, rate, momentum, decay, nesterov, w.size)

    def settle(self, w: Array, velocity: Array, decay: float) -> None:
        """Subtract ``decay * w`` from ``velocity``, and add the velocity to ``w``."""
        self._c.settle(w, velocity, decay, w.size)

    def adam_step(self, w: Array, mean: Array, square: Array, grad: Array, *numbers: float) -> None:
        """Take one optimizer step; the numbers are rate, each beta followed by 1 - beta, epsilon and decay."""
        self._c.adam_step(w, mean, square, grad, *numbers, w.size)

    def log_odds_of_rows(self, x: Array, v: Array, W: Array, out: Array) -> bool:
        """Write the contribution of hidden units to the log-odds of each visible unit; all arrays are float64.

        Returns False if an absolute value in ``x`` or ``W`` exceeds `LARGEST_EXPONENT`, or a value of ``v`` is outside
        [0, 1]; the result is then undefined.
        """
        if not (_largest(x) <= LARGEST_EXPONENT and ((v >= 0) & (v <= 1)).all()):
            return False
        room, large = np.empty(MAX_THREADS * (2 * BLOCK_ROWS + 1) * x.shape[1]), np.zeros(len(W), np.int64)
        self._c.log_odds_of_rows(x, v, W, room, out, large, *v.shape, x.shape[1])
        return not large.any()

    def log_odds_of_row(self, x: Array, v: Array, W: Array, out: Array) -> bool:
        """Do the same for one row and weights in float32.

        Returns False if an absolute value in ``W`` exceeds 40, or a value of ``v`` is outside [0, 1].
        """
        room = _room(self._rooms, "probabilities", 2 * (x.size + BLOCK_ROWS), FLOAT32)
        self._c.log_odds_of_row(x, v, W, room, out, v.size, x.size)
        return not np.isnan(out).any()

    def softplus_sums(self, x: Array) -> Array:
        """Return the sum of the softplus function over each row of float32 or float64 numbers."""
        out = np.empty(len(x), x.dtype)
        self._c.softplus_sums(x, out, *x.shape, x.itemsize == 8)
        return out

    def fill(self, v: Array, values: Array) -> None:
        """Replace each NaN in ``v`` by the value at its place."""
        self._c.fill(v, values, v.size)

    def softplus_changes(self, x: Array, bias: Array, before: float, after: float) -> Array:
        """Add the bias, of all rows or of each, to ``x``, and multiply ``x`` by ``after``, which is at least 0.

        Returns by how much the softplus function's sum over each row exceeds the one with ``before``, in float64.
        """
        out, stride = np.empty(len(x)), (bias.ndim - 1) * x.shape[1]
        self._c.softplus_changes(x, bias, stride, before, after, out, *x.shape)
        return out

    def column_statistics(self, x: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Return for each column the number of values that are not NaN, their mean, squares, minimum and maximum.

        The squares are the sum of squared deviations from the mean. These two are float64. An infinity shows in the
        mean, but not always in the others.
        """
        width = x.shape[1]
        counts, mean, squares = np.empty(width, np.int32), np.empty(width), np.empty(width)
        first, low, high = (np.empty(width, x.dtype) for _ in range(3))
        self._c.column_statistics(x, counts, first, mean, squares, low, high, *x.shape)
        return counts, mean, squares, low, high


def _panels(rooms: threading.local, width: int, depth: int) -> Array:
    """Return this thread's scratch memory for this number of columns in panels."""
    return _room(rooms, "panels", -(-width // BROAD) * BROAD * depth, FLOAT32)


def _room(rooms: threading.local, name: str, size: int, dtype: Dtype) -> Array:
    """Return this thread's scratch memory of a name, for at least this number of values, aligned to 64 bytes."""
    room: Array | None = getattr(rooms, name, None)
    if room is None or room.size < size:
        room = np.empty(size + 64 // dtype.itemsize, dtype)
        room = room[-room.ctypes.data % 64 // dtype.itemsize :]
        setattr(rooms, name, room)
    return room


def _largest(x: Array) -> float:
    """Return the largest absolute value, without a temporary array; NaN if there is one."""
    return max(float(x.max(initial=0.0)), -float(x.min(initial=0.0)), key=lambda size: (size != size, size))


@cache
def load() -> Loops | None:
    """Return the loops; None if they were not compiled, or compute wrong results on this machine."""
    try:
        loops = Loops(importlib.import_module("._loops", __package__))
    except (ImportError, SystemError, AttributeError):  # or built from another version of the sources
        return None
    return loops if is_right(loops) else None


def loops_for(*arrays: Array, dtype: Dtype = FLOAT32) -> Loops | None:
    """Return the loops if they accept these arrays and this dtype, else None."""
    found = load()
    return found if found is not None and found.are_plain(dtype.char, *arrays) else None


def describe() -> str:
    """Describe the implementation of the element-wise operations."""
    return "NumPy" if load() is None else "compiled"
