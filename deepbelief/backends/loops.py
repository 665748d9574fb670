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

from deepbelief.backends.blas import at, is_plain, thread_functions
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
    "multiply": [P, P, P, N, N, N],
    "multiply_by_transposed": [P, P, P, N, N, N],
    "step_by_tiles": [P, P, P, P, P, P, F, F, F, F, N, N, N],
}
"""Functions that compilers other than GCC leave out."""

REDUCED: dict[str, list[object]] = {"multiply_reduced": [P, P, N, P, N, P, P, N, P, N, N, N, F, F]}
"""Functions that need another library, with which bfloat16.py checks them."""

BROAD, TALL = 32, 10  # of the largest tiles of these; as in products.h


class Extension:
    """The compiled extension, and the threads on which its loops run."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.has_products = hasattr(library, "multiply")
        for name, types in (ARGUMENTS | REDUCED | (PRODUCTS if self.has_products else {})).items():
            function = getattr(library, name)
            function.argtypes, function.restype = types, None
        library.follow.argtypes, library.slots.argtypes, library.loop_threads.restype = [P, P], [P, N], N
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

    def multiply_reduced(
        self, library: ctypes.Structure, left: Array, right: Array, factor: float, out: Array, keep: float
    ) -> None:
        """Replace ``out`` by ``keep * out + factor * left @ right``, of factors that a library takes as bfloat16.

        The factors are stored by rows or by columns.
        """
        (m, k), n, threads = left.shape, right.shape[1], self._c.loop_threads()
        own, common = k * max(m, n), k * min(m, n) * threads
        room = _room(self._rooms, "words", own + common, np.dtype(np.uint16))
        (a, a_turned), (b, b_turned) = ((x, 0) if x.flags.c_contiguous else (x.T, 1) for x in (left, right))
        self._c.multiply_reduced(
            ctypes.byref(library), at(a), a_turned, at(b), b_turned, at(room), at(room[own:]), threads, at(out),
            m, k, n, factor, keep,
        )  # fmt: skip

    def add_product(
        self, ends: Array, indices: Array, data: Array, factor: float, W: Array, out: Array, block: int
    ) -> None:
        """Add ``factor`` times compressed rows times ``W`` to ``out``, for some rows of ``W`` at a time."""
        n_rows, (depth, width) = len(ends) - 1, W.shape
        ends = ends.astype(indices.dtype, copy=False)
        places = np.empty(n_rows, indices.dtype)
        add = self._c.add_product_32 if indices.itemsize == 4 else self._c.add_product_64
        add(
            at(ends), at(indices), at(data), factor, at(W), at(out), at(places), n_rows, depth, width, block,
        )  # fmt: skip

    def multiply(self, left: Array, right: Array, out: Array) -> None:
        """Write ``left @ right`` into ``out``."""
        self._c.multiply(at(left), at(right), at(out), *left.shape, right.shape[1])

    def multiply_by_transposed(self, left: Array, right: Array, out: Array) -> None:
        """Write ``left @ right.T`` into ``out``."""
        self._c.multiply_by_transposed(at(left), at(right), at(out), *left.shape, len(right))

    def step_along(
        self, left: Array, right: Array, w: Array, velocity: Array, rate: float, momentum: float, decay: float,
        nesterov: bool,
    ) -> None:  # fmt: skip
        """Do what `momentum_step` does with the gradient ``left.T @ right``."""
        k, n = right.shape
        room = _room(self._rooms, "left", (len(w) + TALL) * k, FLOAT32)
        self._c.step_by_tiles(
            at(left), at(right), at(w), at(velocity), _panels(self._rooms, n, k), at(room), rate, momentum, decay,
            nesterov, len(w), k, n,
        )  # fmt: skip

    def weighted_sums(self, x: Array, weights: Array) -> Array:
        """Return the sum of each row's values times float64 weights, in float64."""
        out = np.empty(len(x))
        self._c.weighted_sums(at(x), at(weights), at(out), *x.shape)
        return out


class Loops(ProductLoops):
    """All compiled functions; loops.c documents each of them."""

    def sigmoid(self, x: Array, bias: Array) -> None:
        """Replace each row of ``x`` by the logistic function of ``x + bias``."""
        self._c.sigmoid(at(x), at(bias), x.size // bias.size, bias.size)

    def sample(
        self, p: Array, bias: Array | None, lanes: "ctypes.Array[ctypes.c_void_p]", out: Array, block: int
    ) -> None:
        """Write 1 where a draw is below ``p``, else 0; with a bias, apply `sigmoid` first.

        ``lanes`` is a ctypes array of the addresses of the states of NumPy's SFC64 generators; `numpy_backend` defines
        their draws for each ``block`` of values.
        """
        address, width = (None, 1) if bias is None else (at(bias), bias.size)
        self._c.sample(at(p), address, lanes, at(out), p.size, width, block)

    def sigmoid_backward(self, grad: Array, y: Array, out: Array) -> None:
        """Write ``(1 - y) * y * grad`` into ``out``, which must be neither ``y`` nor ``grad``."""
        self._c.sigmoid_backward(at(grad), at(y), at(out), y.size)

    def gather(self, rows: Array, index: Array, out: Array) -> None:
        """Write the rows with these int64 numbers into ``out``; numbers out of range are clipped."""
        self._c.gather(at(rows), at(index), at(out), len(index), *rows.shape)

    def weigh(self, x: Array, weight: Array, out: Array) -> None:
        """Multiply each row of ``x`` by its weight, and write the column sums of the result into ``out``."""
        self._c.weigh(at(x), at(weight), at(out), *x.shape)

    def softmax(self, x: Array, bias: Array, sizes: Array) -> None:
        """Replace each row of ``x`` by the softmax of ``x + bias`` within groups of these int64 sizes."""
        room = np.empty(MAX_THREADS * bias.size, bias.dtype)
        self._c.softmax(at(x), at(bias), at(sizes), at(room), len(x), len(sizes), x.shape[1])

    def one_hot(self, p: Array, u: Array, sizes: Array, out: Array) -> None:
        """Write 1 for the first column of each group whose cumulative ``p`` reaches (1 - u) times its sum, else 0."""
        self._c.one_hot(at(p), at(u), at(sizes), at(out), len(p), len(sizes), p.shape[1])

    def momentum_step(
        self, w: Array, velocity: Array, grad: Array, rate: float, momentum: float, decay: float, nesterov: bool
    ) -> None:
        """Take one optimizer step."""
        self._c.momentum_step(at(w), at(velocity), at(grad), rate, momentum, decay, nesterov, w.size)

    def settle(self, w: Array, velocity: Array, decay: float) -> None:
        """Subtract ``decay * w`` from ``velocity``, and add the velocity to ``w``."""
        self._c.settle(at(w), at(velocity), decay, w.size)

    def adam_step(self, w: Array, mean: Array, square: Array, grad: Array, *numbers: float) -> None:
        """Take one optimizer step; the numbers are rate, each beta followed by 1 - beta, epsilon and decay."""
        self._c.adam_step(at(w), at(mean), at(square), at(grad), *numbers, w.size)

    def log_odds_of_rows(self, x: Array, v: Array, W: Array, out: Array) -> bool:
        """Write the contribution of hidden units to the log-odds of each visible unit; all arrays are float64.

        Returns False if an absolute value in ``x`` or ``W`` exceeds `LARGEST_EXPONENT`, or a value of ``v`` is outside
        [0, 1]; the result is then undefined.
        """
        if not (_largest(x) <= LARGEST_EXPONENT and ((v >= 0) & (v <= 1)).all()):
            return False
        room, large = np.empty(MAX_THREADS * (2 * BLOCK_ROWS + 1) * x.shape[1]), np.zeros(len(W), np.int64)
        self._c.log_odds_of_rows(at(x), at(v), at(W), at(room), at(out), at(large), *v.shape, x.shape[1])
        return not large.any()

    def log_odds_of_row(self, x: Array, v: Array, W: Array, out: Array) -> bool:
        """Do the same for one row and weights in float32.

        Returns False if an absolute value in ``W`` exceeds 40, or a value of ``v`` is outside [0, 1].
        """
        room = _room(self._rooms, "probabilities", 2 * (x.size + BLOCK_ROWS), FLOAT32)
        self._c.log_odds_of_row(at(x), at(v), at(W), at(room), at(out), v.size, x.size)
        return not np.isnan(out).any()

    def softplus_sums(self, x: Array) -> Array:
        """Return the sum of the softplus function over each row of float32 or float64 numbers."""
        out = np.empty(len(x), x.dtype)
        self._c.softplus_sums(at(x), at(out), *x.shape, x.itemsize == 8)
        return out

    def fill(self, v: Array, values: Array) -> None:
        """Replace each NaN in ``v`` by the value at its place."""
        self._c.fill(at(v), at(values), v.size)

    def softplus_changes(self, x: Array, bias: Array, before: float, after: float) -> Array:
        """Add the bias, of all rows or of each, to ``x``, and multiply ``x`` by ``after``, which is at least 0.

        Returns by how much the softplus function's sum over each row exceeds the one with ``before``, in float64.
        """
        out, stride = np.empty(len(x)), (bias.ndim - 1) * x.shape[1]
        self._c.softplus_changes(at(x), at(bias), stride, before, after, at(out), *x.shape)
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


def is_right(loops: Loops) -> bool:
    """Check the result of each function on a few numbers."""
    return states_are_right(loops) and steps_are_right(loops) and products_are_right(loops)


def states_are_right(loops: Loops) -> bool:
    """Check the functions that compute and draw the states of units."""
    f32 = np.float32
    x, bias = np.linspace(-3, 3, 38, dtype=f32).reshape(2, 19), np.linspace(-1, 1, 19, dtype=f32)
    one, other, out = x.copy(), x.copy(), np.empty(38, f32)
    mean = 1 / (1 + np.exp(-(one + bias)))
    loops.sigmoid(one, bias)
    lanes, twins = ([np.random.SFC64(i) for i in range(4)] for _ in range(2))
    loops.sample(other, bias, (P * 4)(*(lane.ctypes.state_address for lane in lanes)), out, 38)
    words = np.stack([twin.random_raw(4) for twin in twins], axis=1).reshape(-1)
    draws = (words[4:].view(np.int16)[:38] + f32(2**15 + (int(words[0]) >> 56) / 2**8)) * f32(2.0**-16)
    right = [np.allclose(one, mean), np.array_equal(one, other), np.array_equal(out, draws < one.reshape(-1))]
    right += [lane.random_raw() == twin.random_raw() for lane, twin in zip(lanes, twins, strict=True)]
    sizes, one, odds = np.array([10, 9]), x.copy(), np.exp(x + bias)
    loops.softmax(one, bias, sizes)
    right += [np.allclose(one[:, s], odds[:, s] / odds[:, s].sum(axis=1)[:, None]) for s in (slice(10), slice(10, 19))]
    drawn = np.empty_like(x)
    loops.one_hot(one, np.full((2, 2), 0.5, f32), sizes, drawn)
    places = [[(np.cumsum(row[s]) < 0.5).sum() + s.start for s in (slice(0, 10), slice(10, 19))] for row in one]
    right.append(
        all(np.array_equal(np.flatnonzero(row), places_of) for row, places_of in zip(drawn, places, strict=True))
    )
    return all(right)


def steps_are_right(loops: Loops) -> bool:
    """Check the functions that compute gradients and statistics, and that update weights."""
    f32, x = np.float32, np.linspace(-3, 3, 38, dtype=np.float32).reshape(2, 19)
    mean = 1 / (1 + np.exp(-x))
    slope, right = np.empty_like(x), []
    loops.sigmoid_backward(x, mean, slope)
    right.append(np.allclose(slope, (1 - mean) * mean * x))
    loops.gather(x, np.array([1, 0]), slope)
    right.append(np.array_equal(slope, x[::-1]))
    w, velocity = x.copy(), x.copy()
    loops.settle(w, velocity, 0.25)
    right += [np.allclose(w, 1.75 * x), np.allclose(velocity, 0.75 * x)]
    w, velocity, sums = x.copy(), x.copy(), np.empty(19, f32)
    loops.momentum_step(w, velocity, x, 0.5, 0.25, 0, False)
    loops.weigh(x.copy(), np.full(2, 2, f32), sums)
    right += [np.allclose(w, 0.75 * x), np.allclose(sums, 2 * x.sum(axis=0), atol=1e-5)]
    loops.adam_step(w, np.zeros(38, f32), np.zeros(38, f32), x, 1, 0, 1, 0, 1, 0, 0)
    right.append(np.allclose(w, 0.75 * x - np.sign(x)))
    double, v, odds = x.astype(np.float64), np.array([[0, 0.25], [1, 0]]), np.empty((2, 2))
    off = double[:, None] - v[:, :, None] * double
    truth = (np.logaddexp(0, off + double) - np.logaddexp(0, off)).sum(axis=2)
    loops.log_odds_of_rows(double, v, double, odds)
    right.append(np.allclose(odds, truth))
    one = np.empty((1, 2))
    loops.log_odds_of_row(double[:1], v[:1], x, one)
    right.append(np.allclose(one, truth[:1], atol=1e-5))
    right.append(np.allclose(loops.softplus_sums(double), np.logaddexp(0, double).sum(axis=1)))
    scaled, change = x.copy(), np.logaddexp(0, double) - np.logaddexp(0, double / 2)
    right.append(np.allclose(loops.softplus_changes(scaled, np.zeros(19, f32), 0.5, 1.0), change.sum(axis=1)))
    right += [np.array_equal(scaled, x), np.allclose(loops.weighted_sums(x, double[0]), x @ double[0])]
    gappy = np.where(x < -2, np.float32(np.nan), x)  # some values of the first row
    gappy[:, 18] = np.nan
    counts, mean, squares, low, high = loops.column_statistics(gappy)
    known = gappy[:, :18]
    right += [np.array_equal(counts, (~np.isnan(gappy)).sum(axis=0)), low[18] == np.inf, high[18] == -np.inf]
    right += [np.allclose(mean[:18], np.nanmean(known, axis=0)), mean[18] == 0, squares[18] == 0]
    right += [np.allclose(squares[:18], counts[:18] * np.nanvar(known, axis=0), atol=1e-5)]
    right += [np.array_equal(low[:18], np.nanmin(known, axis=0)), np.array_equal(high[:18], np.nanmax(known, axis=0))]
    filled = gappy.copy()
    loops.fill(filled, x + 1)
    right.append(np.array_equal(filled, np.where(np.isnan(gappy), x + 1, gappy)))
    for kind in (np.int32, np.int64):
        product, columns = np.zeros((1, 19), f32), np.arange(2, dtype=kind)
        loops.add_product(np.array([0, 2], kind), columns, np.ones(2, f32), 1, x, product, 1)
        right.append(np.allclose(product, x.sum(axis=0), atol=1e-5))
    return all(right)


def products_are_right(loops: Loops) -> bool:
    """Check the products, where there are any, on numbers that are exact."""
    if not loops.has_products:
        return True
    left, right = (np.arange(2 * n, dtype=np.float32).reshape(2, n) for n in (7, 19))
    out, turned, w, velocity = (np.ones(shape, np.float32) for shape in ((2, 19), (2, 7), (7, 19), (7, 19)))
    loops.multiply(left, left.T @ right, out)
    loops.multiply_by_transposed(right, left.T @ right, turned)
    loops.step_along(left, right, w, velocity, 2, 0, 0, False)
    right_products = left @ (left.T @ right), right @ (left.T @ right).T, 1 - 2 * left.T @ right
    return all(np.array_equal(a, b) for a, b in zip((out, turned, w), right_products, strict=True))


def loops_for(*arrays: Array, dtype: Dtype = FLOAT32) -> Loops | None:
    """Return the loops if they accept these arrays and this dtype, else None."""
    for a in arrays:
        if (a.dtype is not dtype and a.dtype != dtype) or not is_plain(a):
            return None
    return load()


def describe() -> str:
    """Describe the implementation of the element-wise operations."""
    return "NumPy" if load() is None else "compiled"
