"""Compiled loops of loops.c, if they were built when the package was installed: element-wise work in one pass.

All arrays are C-contiguous, and float32 unless stated otherwise. Results differ from NumPy's by rounding. The
functions are called through ctypes, which lets other threads run meanwhile. If the BLAS is OpenBLAS, a loop over many
values uses as many of its threads as OpenBLAS itself may use when the loop begins; the result does not depend on their
number.
"""

import ctypes
import importlib.util
import threading
from functools import cache

import numpy as np

from deepbelief.backends.blas import at, is_plain, thread_functions, writable
from deepbelief.backends.loop_checks import is_right
from deepbelief.typing import Array, Dtype

LARGEST_EXPONENT = 340.0  # largest exponent of a factor in `log_odds`; as in loops.c
MAX_THREADS = 64  # of a loop; as in crew.h
BLOCK_ROWS = 16  # rows of a block of `log_odds`, as in loops.c
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
P, N, F, D = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_double
ARGUMENTS: dict[str, list[object]] = {
    "sigmoid": [P, P, N, N],
    "sample": [P, P, P, P, N, N, N],
    "sigmoid_backward": [P, P, P, N],
    "gather": [P, P, P, N, N, N],
    "weigh": [P, P, P, N, N],
    "softmax": [P, P, P, P, N, N, N],
    "one_hot": [P, P, P, P, N, N, N],
    "momentum_step": [P, P, P, F, F, F, F, N],
    "settle": [P, P, F, N],
    "adam_step": [P, P, P, P, F, F, F, F, F, F, F, N],
    "log_odds_of_rows": [P, P, P, P, P, P, N, N, N],
    "log_odds_of_row": [P, P, P, P, P, N, N],
    "softplus_sums": [P, P, N, N, N],
    "weighted_sums": [P, P, P, N, N],
    "softplus_changes": [P, P, N, D, D, P, N, N],
    "fill": [P, P, N],
    "column_statistics": [P, P, P, P, P, P, P, N, N],
    "add_product_32": [P, P, P, F, P, P, P, N, N, N, N],
    "add_product_64": [P, P, P, F, P, P, P, N, N, N, N],
}
PRODUCTS: dict[str, list[object]] = {
    "multiply": [P, P, P, P, N, N, N],
    "multiply_by_transposed": [P, P, P, N, N, N],
    "step_by_tiles": [P, P, P, P, P, P, F, F, F, F, N, N, N],
}
"""Functions that compilers other than GCC leave out."""

ROUNDED: dict[str, list[object]] = {
    "multiply_rounded": [N, P, N, P, N, P, N, P, P, N, N, N, F, F],
    "step_rounded": [N, P, P, P, P, P, N, F, F, F, F, N, N, N],
}
"""The same, for processors with bfloat16 products; bfloat16.py checks them."""

BROAD, TALL = 32, 10  # of the largest tiles of these; as in products.h
LINE = 16  # rows of a block of bfloat16 products, and words of a row; as in bfloat16.h
MAX_STRIPS = 2**28  # bytes of the scratch memory of bfloat16 products


class Extension:
    """The compiled extension, and the threads on which its loops run."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.has_products, self.has_rounded = hasattr(library, "multiply"), hasattr(library, "multiply_rounded")
        optional = (PRODUCTS if self.has_products else {}) | (ROUNDED if self.has_rounded else {})
        for name, types in (ARGUMENTS | optional).items():
            function = getattr(library, name)
            function.argtypes, function.restype = types, None
        library.follow.argtypes, library.slots.argtypes, library.loop_threads.restype = [P, P], [P, N], N
        if self.has_rounded:
            library.allow_rounded.argtypes, library.allow_rounded.restype = [N], N
        self._c = library
        self._rooms = threading.local()
        self.on_threads = False  # whether loops run on the threads of the BLAS, if it has several
        self.multiplies = 0  # bytes of the vectors of products, where these run on these threads; 0: there are none
        self.follow(*(thread_functions() or (None, None)))

    def follow(self, count: ctypes.c_void_p | None, run: ctypes.c_void_p | None) -> None:
        """Use the threads of a BLAS, given its functions that count threads and run tasks; None: use one thread."""
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
        self._c.slots(at(out), total)
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
            amx, at(a), a_turned, at(b), b_turned, strips, threads, writable(out), at(lower), m, k, n, factor, keep,
        )  # fmt: skip

    def step_rounded(
        self, amx: bool, left: Array, right: Array, w: Array, velocity: Array, rate: float, momentum: float,
        decay: float, nesterov: bool,
    ) -> None:  # fmt: skip
        """Do what `step_along` does, with factors rounded to bfloat16."""
        k, n = right.shape
        strips, threads = self._strips(k, n)
        self._c.step_rounded(
            amx, at(left), at(right), writable(w), writable(velocity), strips, threads, rate, momentum, decay,
            nesterov, len(w), k, n,
        )  # fmt: skip

    def allow_rounded(self, amx: bool) -> bool:
        """Ask the system for the use of AMX, or of AVX512-BF16, and return whether it is allowed."""
        return bool(self.has_rounded and self._c.allow_rounded(amx))

    def _strips(self, depth: int, size: int) -> tuple[object, int]:
        """Return the address of scratch memory for rounded factors (see bfloat16.h), and the threads it is for.

        Each thread has a copy of the smaller factor: with a large one there are fewer threads.
        """
        values = -(-depth // (2 * LINE)) * LINE * LINE * (-(-size // LINE) + 2)  # words of 32 bits
        threads = max(1, min(self._c.loop_threads(), MAX_STRIPS // (4 * values)))
        return at(_room(self._rooms, "strips", values * threads, FLOAT32)), threads

    def add_product(
        self, ends: Array, indices: Array, data: Array, factor: float, W: Array, out: Array, block: int
    ) -> None:
        """Add ``factor`` times compressed rows times ``W`` to ``out``, for some rows of ``W`` at a time."""
        n_rows, (depth, width) = len(ends) - 1, W.shape
        ends = ends.astype(indices.dtype, copy=False)
        places = np.empty(n_rows, indices.dtype)
        add = self._c.add_product_32 if indices.itemsize == 4 else self._c.add_product_64
        add(
            at(ends), at(indices), at(data), factor, at(W), writable(out), at(places), n_rows, depth, width, block,
        )  # fmt: skip

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        """Write ``left @ right`` into ``out``."""
        room = _room(self._rooms, "sums", out.size, FLOAT32)
        self._c.multiply(at(left), at(right), writable(out), at(room), *left.shape, right.shape[1])

    def multiply_by_transposed(self, left: Array, right: Array, out: Array) -> None:
        """Write ``left @ right.T`` into ``out``."""
        self._c.multiply_by_transposed(at(left), at(right), writable(out), *left.shape, len(right))

    def step_along(
        self, left: Array, right: Array, w: Array, velocity: Array, rate: float, momentum: float, decay: float,
        nesterov: bool,
    ) -> None:  # fmt: skip
        """Do what `momentum_step` does with the gradient ``left.T @ right``."""
        k, n = right.shape
        room = _room(self._rooms, "left", (len(w) + TALL) * k, FLOAT32)
        self._c.step_by_tiles(
            at(left), at(right), writable(w), writable(velocity), _panels(self._rooms, n, k), at(room), rate, momentum,
            decay, nesterov, len(w), k, n,
        )  # fmt: skip

    def weighted_sums(self, x: Array, weights: Array) -> Array:
        """Return the sum of each row's values times float64 weights, in float64."""
        out = np.empty(len(x))
        self._c.weighted_sums(at(x), at(weights), writable(out), *x.shape)
        return out


class Loops(ProductLoops):
    """All compiled functions; loops.c documents each of them."""

    def sigmoid(self, x: Array, bias: Array) -> None:
        """Replace each row of ``x`` by the logistic function of ``x + bias``."""
        self._c.sigmoid(writable(x), at(bias), x.size // bias.size, bias.size)

    def sample(
        self, p: Array, bias: Array | None, lanes: "ctypes.Array[ctypes.c_void_p]", out: Array, block: int
    ) -> None:
        """Write 1 where a draw is below ``p``, else 0; with a bias, apply `sigmoid` first.

        ``lanes`` is a ctypes array of the addresses of the states of NumPy's SFC64 generators; `numpy_backend` defines
        their draws for each ``block`` of values.
        """
        address, width = (None, 1) if bias is None else (at(bias), bias.size)
        self._c.sample(at(p) if bias is None else writable(p), address, lanes, writable(out), p.size, width, block)

    def sigmoid_backward(self, grad: Array, y: Array, out: Array) -> None:
        """Write ``(1 - y) * y * grad`` into ``out``, which must be neither ``y`` nor ``grad``."""
        self._c.sigmoid_backward(at(grad), at(y), writable(out), y.size)

    def gather(self, rows: Array, index: Array, out: Array) -> None:
        """Write the rows with these int64 numbers into ``out``; numbers out of range are clipped."""
        self._c.gather(at(rows), at(index), writable(out), len(index), *rows.shape)

    def weigh(self, x: Array, weight: Array, out: Array) -> None:
        """Multiply each row of ``x`` by its weight, and write the column sums of the result into ``out``."""
        self._c.weigh(writable(x), at(weight), writable(out), *x.shape)

    def softmax(self, x: Array, bias: Array, sizes: Array) -> None:
        """Replace each row of ``x`` by the softmax of ``x + bias`` within groups of these int64 sizes."""
        room = np.empty(MAX_THREADS * bias.size, bias.dtype)
        self._c.softmax(writable(x), at(bias), at(sizes), at(room), len(x), len(sizes), x.shape[1])

    def one_hot(self, p: Array, u: Array, sizes: Array, out: Array) -> None:
        """Write 1 for the first column of each group whose cumulative ``p`` reaches (1 - u) times its sum, else 0."""
        self._c.one_hot(at(p), at(u), at(sizes), writable(out), len(p), len(sizes), p.shape[1])

    def momentum_step(
        self, w: Array, velocity: Array, grad: Array, rate: float, momentum: float, decay: float, nesterov: bool
    ) -> None:
        """Take one optimizer step."""
        self._c.momentum_step(writable(w), writable(velocity), at(grad), rate, momentum, decay, nesterov, w.size)

    def settle(self, w: Array, velocity: Array, decay: float) -> None:
        """Subtract ``decay * w`` from ``velocity``, and add the velocity to ``w``."""
        self._c.settle(writable(w), writable(velocity), decay, w.size)

    def adam_step(self, w: Array, mean: Array, square: Array, grad: Array, *numbers: float) -> None:
        """Take one optimizer step; the numbers are rate, each beta followed by 1 - beta, epsilon and decay."""
        self._c.adam_step(writable(w), writable(mean), writable(square), at(grad), *numbers, w.size)

    def log_odds_of_rows(self, x: Array, v: Array, W: Array, out: Array) -> bool:
        """Write the contribution of hidden units to the log-odds of each visible unit; all arrays are float64.

        Returns False if an absolute value in ``x`` or ``W`` exceeds `LARGEST_EXPONENT`, or a value of ``v`` is outside
        [0, 1]; the result is then undefined.
        """
        if not (_largest(x) <= LARGEST_EXPONENT and ((v >= 0) & (v <= 1)).all()):
            return False
        room, large = np.empty(MAX_THREADS * (2 * BLOCK_ROWS + 1) * x.shape[1]), np.zeros(len(W), np.int64)
        self._c.log_odds_of_rows(at(x), at(v), at(W), at(room), writable(out), at(large), *v.shape, x.shape[1])
        return not large.any()

    def log_odds_of_row(self, x: Array, v: Array, W: Array, out: Array) -> bool:
        """Do the same for one row and weights in float32.

        Returns False if an absolute value in ``W`` exceeds 40, or a value of ``v`` is outside [0, 1].
        """
        room = _room(self._rooms, "probabilities", 2 * (x.size + BLOCK_ROWS), FLOAT32)
        self._c.log_odds_of_row(at(x), at(v), at(W), at(room), writable(out), v.size, x.size)
        return not np.isnan(out).any()

    def softplus_sums(self, x: Array) -> Array:
        """Return the sum of the softplus function over each row of float32 or float64 numbers."""
        out = np.empty(len(x), x.dtype)
        self._c.softplus_sums(at(x), writable(out), *x.shape, x.itemsize == 8)
        return out

    def fill(self, v: Array, values: Array) -> None:
        """Replace each NaN in ``v`` by the value at its place."""
        self._c.fill(writable(v), at(values), v.size)

    def softplus_changes(self, x: Array, bias: Array, before: float, after: float) -> Array:
        """Add the bias, of all rows or of each, to ``x``, and multiply ``x`` by ``after``, which is at least 0.

        Returns by how much the softplus function's sum over each row exceeds the one with ``before``, in float64.
        """
        out, stride = np.empty(len(x)), (bias.ndim - 1) * x.shape[1]
        self._c.softplus_changes(writable(x), at(bias), stride, before, after, writable(out), *x.shape)
        return out

    def column_statistics(self, x: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Return for each column the number of values that are not NaN, their mean, squares, minimum and maximum.

        The squares are the sum of squared deviations from the mean. These two are float64. An infinity shows in the
        mean, but not always in the others.
        """
        width = x.shape[1]
        counts, mean, squares = np.empty(width, np.int32), np.empty(width), np.empty(width)
        first, low, high = (np.empty(width, x.dtype) for _ in range(3))
        self._c.column_statistics(at(x), *(at(a) for a in (counts, first, mean, squares, low, high)), *x.shape)
        return counts, mean, squares, low, high


def _panels(rooms: threading.local, width: int, depth: int) -> object:
    """Return the address of this thread's scratch memory for this number of columns in panels."""
    return at(_room(rooms, "panels", -(-width // BROAD) * BROAD * depth, FLOAT32))


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
    spec = importlib.util.find_spec("deepbelief.backends._loops")
    if spec is None or spec.origin is None:
        return None
    try:
        loops = Loops(ctypes.CDLL(spec.origin))
    except (OSError, AttributeError):
        return None
    return loops if is_right(loops) else None


def loops_for(*arrays: Array, dtype: Dtype = FLOAT32) -> Loops | None:
    """Return the loops if they accept these arrays and this dtype, else None."""
    for a in arrays:
        if (a.dtype is not dtype and a.dtype != dtype) or not is_plain(a):
            return None
    return load()


def describe() -> str:
    """Describe the implementation of the element-wise operations."""
    return "NumPy" if load() is None else "compiled"
