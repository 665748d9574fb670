"""The GPU backend: CuPy for arrays and products, fused CUDA kernels for the rest."""

import importlib
from functools import partial
from types import ModuleType

import numpy as np

from deepbelief.backends import kernels
from deepbelief.backends.groups import Groups
from deepbelief.backends.interface import LazyModule, Product, Rescaling
from deepbelief.errors import BackendError
from deepbelief.typing import Array, DeviceArray, DtypeLike, StrMapping

NULL = np.intp(0)  # address that means "no array" to a kernel
CTYPES = {"f": "float", "d": "double"}
DENSEST = 0.02  # largest share of nonzero values for which sparse products are assumed to be faster; not measured


def _import_cupy() -> DeviceArray:
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise BackendError(
            "backend 'cupy' needs CuPy, which is not installed: pip install 'deepbelief[cuda12]' (CUDA 12) or "
            "'deepbelief[cuda13]' (CUDA 13), or choose backend 'numpy'"
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise BackendError(f"backend 'cupy' found no usable CUDA device ({error}); choose backend 'numpy'") from error
    if count < 1:
        raise BackendError("backend 'cupy' found no CUDA device on this machine; choose backend 'numpy'")
    return cupy


class Kernels:
    """Compiled kernels and their launches.

    Parameters
    ----------
    cupy : module
    """

    def __init__(self, cupy: ModuleType) -> None:
        self._compiled = _compile(cupy)

    def launch(self, kernel: str, like: DeviceArray, *arguments: object) -> None:
        """Run an element-wise kernel over ``like``."""
        per_block = kernels.THREADS * kernels.NEIGHBOURS
        self.run(kernel, like, (like.size + per_block - 1) // per_block, (kernels.THREADS,), arguments)

    def run(
        self, kernel: str, like: DeviceArray, blocks: int, threads: tuple[int, ...], arguments: tuple[object, ...]
    ) -> None:
        """Run the kernel for the dtype of ``like``; the kernel does not check the memory of its arguments."""
        if blocks:
            self._compiled[f"{kernel}<{CTYPES[like.dtype.char]}>"]((blocks,), threads, arguments)


def _compile(cupy: ModuleType) -> StrMapping:
    """Return the kernels by name."""
    try:
        module = cupy.RawModule(code=kernels.SOURCE, options=("-std=c++14",), name_expressions=kernels.NAMES)
        return {name: module.get_function(name) for name in kernels.NAMES}
    except Exception as error:
        raise BackendError(
            f"backend 'cupy' could not compile its kernels ({' '.join(str(error).split())}); install a CUDA toolkit, "
            "with the compiler NVRTC (from CuPy 14 on: pip install 'cupy-cuda13x[ctk]'), or choose backend 'numpy'"
        ) from error


def _must(fit: bool, *arrays: DeviceArray) -> None:
    """Refuse arrays that would make a kernel read or write beyond their memory."""
    if not fit:
        raise ValueError(f"arrays of shapes {', '.join(str(a.shape) for a in arrays)} do not fit together")


class CupyRng:
    """Philox stream: its key and the counter of its next draw; the kernels do the rest.

    Bernoulli draws compare 24 independent bits with the probability (53 in float64, the highest of which are the same
    24), so that each draw has its probability to within 2**-24.
    """

    def __init__(self, backend: "CupyBackend", seed: np.random.SeedSequence) -> None:
        self._backend = backend
        self._key = int(seed.generate_state(1, np.uint64)[0])
        self._counter = 0

    def draws(self, like: DeviceArray) -> tuple[np.uint64, np.uint64]:
        """Return the key and the first counter of the draws for all elements of ``like``."""
        first = self._counter
        self._counter += (like.size + 3) // 4 * 2  # two counters for four elements; float32 uses one of them
        return np.uint64(self._key), np.uint64(first)

    def bernoulli(self, p: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Write 1 with probability ``p``, else 0."""
        _must(p.size == out.size, p, out)
        self._backend.kernels.launch("bernoulli", out, p, out, np.int64(out.size), *self.draws(out))
        return out

    def uniform(self, out: DeviceArray) -> DeviceArray:
        """Write draws from U[0, 1)."""
        self._backend.kernels.launch("uniform", out, out, np.int64(out.size), *self.draws(out))
        return out

    def normal(self, out: DeviceArray) -> DeviceArray:
        """Write draws from N(0, 1)."""
        self._backend.kernels.launch("normal", out, out, np.int64(out.size), *self.draws(out))
        return out

    def state(self) -> StrMapping:
        """Return the position of the stream."""
        return {"key": self._key, "counter": self._counter}

    def set_state(self, state: StrMapping) -> None:
        """Continue from the position of a stream."""
        self._key, self._counter = state["key"], state["counter"]


class CupySparse:
    """Table in compressed form on the device; its rows are never moved, and kernels find them by their order."""

    def __init__(
        self,
        backend: "CupyBackend",
        table: tuple[DeviceArray, ...],
        shape: tuple[int, int],
        pays: bool,
        order: DeviceArray = NULL,
    ) -> None:
        self._backend = backend
        self._table = table  # row ends, columns and values
        self.shape = shape
        self.pays = pays
        self._order = order

    def shuffled(self, order: DeviceArray) -> "CupySparse":
        """Return the rows in this order."""
        order = self._backend.asarray(order if self._order is NULL else self._order[order], np.int64)
        return CupySparse(self._backend, self._table, (len(order), self.shape[1]), self.pays, order)

    def part(self, start: int, stop: int) -> "CupyRows":
        """Return consecutive rows."""
        return CupyRows(self._backend, (*self._table, self._order), start, (stop - start, self.shape[1]))


class CupyRows:
    """Some rows in compressed form, multiplied in the order in which their values are stored."""

    pays_transposed = True

    def __init__(
        self, backend: "CupyBackend", table: tuple[DeviceArray, ...], start: int, shape: tuple[int, int]
    ) -> None:
        self._backend = backend
        self._table = table
        self._start = np.int64(start)
        self.shape = shape

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def dense(self, out: DeviceArray) -> DeviceArray:
        """Write the rows into ``out``."""
        _must(out.shape == self.shape, self, out)
        arguments = *self._table, out, self._start, np.int64(self.shape[1])
        self._backend.kernels.run("rows_dense", out, len(self), (kernels.THREADS,), arguments)
        return out

    def times(self, W: DeviceArray, out: DeviceArray = None) -> DeviceArray:
        """Return the rows times ``W``."""
        n, width = len(self), W.shape[1]
        out = self._backend.xp.empty((n, width), W.dtype) if out is None else out
        _must(len(W) == self.shape[1] and out.shape == (n, width), self, W, out)
        blocks = n * ((width + kernels.THREADS - 1) // kernels.THREADS)
        arguments = *self._table, W, out, self._start, np.int64(width)
        self._backend.kernels.run("rows_times", W, blocks, (kernels.THREADS,), arguments)
        return out

    def add_transposed(self, h: DeviceArray, out: DeviceArray, factor: float = 1) -> None:
        """Add ``factor`` times the transposed rows times ``h`` to ``out``."""
        _must(len(h) == len(self) and out.shape == (self.shape[1], h.shape[1]), self, h, out)
        numbers = self._start, np.int64(len(self)), np.int64(h.shape[1]), h.dtype.type(factor)
        arguments = *self._table, h, out, *numbers
        self._backend.kernels.run("rows_transposed_times", h, self.shape[1], (kernels.THREADS,), arguments)


class CupyBackend:
    """CuPy on the current CUDA device."""

    name = "cupy"
    least_batch = 16  # a smaller minibatch leaves most of a GPU idle
    concurrent = False  # runs would share one device
    special: ModuleType | LazyModule = LazyModule("cupyx.scipy.special")

    def __init__(self) -> None:
        self.xp: ModuleType = _import_cupy()
        self.kernels = Kernels(self.xp)
        self._groups = Groups(self.xp, self.asarray)

    def asarray(self, x: DeviceArray, dtype: DtypeLike | None = None) -> DeviceArray:
        """Return ``x`` as a C-contiguous device array."""
        return self.xp.ascontiguousarray(self.xp.asarray(x, dtype=dtype))

    def to_numpy(self, x: DeviceArray) -> Array:
        """Copy ``x`` to the host."""
        return np.asarray(self.xp.asnumpy(x))

    def owns(self, x: object) -> bool:
        """Return whether ``x`` is a CuPy array."""
        return isinstance(x, self.xp.ndarray)

    def sparse(self, matrix: DeviceArray) -> CupySparse:
        """Copy a CSR matrix to the device; values stored twice are added up."""
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
        arrays = (matrix.indptr, np.int64), (matrix.indices, np.int32), (matrix.data, None)
        table = tuple(self.asarray(array, dtype) for array, dtype in arrays)
        return CupySparse(self, table, matrix.shape, matrix.nnz <= DENSEST * matrix.shape[0] * matrix.shape[1])

    def matmul(self, rows: DeviceArray, W: DeviceArray, out: DeviceArray = None) -> DeviceArray:
        """Return ``rows @ W``."""
        if isinstance(rows, CupyRows):
            return rows.times(W, out)
        return self.xp.matmul(rows, W, out=out)

    def rng(self, seed: np.random.SeedSequence) -> CupyRng:
        """Return the random stream of this seed."""
        return CupyRng(self, seed)

    def take(self, rows: DeviceArray, index: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Gather rows into ``out``."""
        return self.xp.take(rows, index, axis=0, out=out)

    def sigmoid(self, x: DeviceArray, bias: DeviceArray = None) -> DeviceArray:
        """Replace ``x`` by the logistic function of ``x + bias``."""
        if bias is None:
            bias, period = NULL, 1
        else:
            period = bias.size  # one bias for all rows, or one for each row
            _must(period in (x.shape[-1], x.size), x, bias)
        self.kernels.launch("sigmoid", x, x, bias, np.int64(x.size), np.int64(period))
        return x

    def sigmoid_sample(self, x: DeviceArray, bias: DeviceArray, rng: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the logistic function of ``x + bias``, and write 1 with that probability, else 0."""
        _must(bias.size in (x.shape[-1], x.size) and out.size == x.size, x, bias, out)
        n, period = np.int64(x.size), np.int64(bias.size)
        self.kernels.launch("sigmoid_sample", x, x, bias, out, n, period, *rng.draws(x))
        return out

    def softmax(self, x: DeviceArray, bias: DeviceArray, sizes: tuple[int, ...]) -> DeviceArray:
        """Replace ``x`` by the softmax of ``x + bias`` within groups of these sizes."""
        return self._groups.softmax(x, bias, sizes)

    def log_partition(
        self, x: DeviceArray, sizes: tuple[int, ...] | None = None, rescaling: Rescaling | None = None
    ) -> DeviceArray:
        """Return the log of the sum of exponentials of each group of columns, summed over groups, or its change."""
        if rescaling is not None:
            return rescaling.apply(x, partial(self._groups.log_partition, sizes=sizes))
        return self._groups.log_partition(x, sizes)

    def one_hot_sample(self, p: DeviceArray, rng: DeviceArray, sizes: tuple[int, ...], out: DeviceArray) -> DeviceArray:
        """Write 1 for one column of each group, drawn with the probabilities ``p``, and 0 for the others."""
        u = rng.uniform(self.xp.empty((len(p), len(sizes)), p.dtype))
        return self._groups.one_hot(p, u, sizes, out)

    def sigmoid_backward(self, grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Write ``(1 - y) * y * grad`` into ``out``."""
        _must(grad.size == y.size == out.size, grad, y, out)
        self.kernels.launch("sigmoid_backward", y, grad, y, out, np.int64(y.size))
        return out

    def weigh(self, x: DeviceArray, weight: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Multiply each row of ``x`` by its weight, and write the columns' sums into ``out``."""
        n_rows, n_columns = x.shape
        _must(weight.size == n_rows and out.size == n_columns, x, weight, out)
        blocks = (n_columns + kernels.COLUMNS - 1) // kernels.COLUMNS
        arguments = x, weight, out, np.int64(n_rows), np.int64(n_columns)
        self.kernels.run("weigh", x, blocks, (kernels.COLUMNS, kernels.ROWS), arguments)
        return out

    def log_odds(self, x: DeviceArray, v: DeviceArray, W: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Write the contribution of Bernoulli hidden units to the log-odds of each visible unit given all others."""
        W = W.astype(x.dtype, copy=False)
        (n_rows, width), n_units = x.shape, len(W)
        _must(v.shape == out.shape == (n_rows, n_units) and W.shape[1] == width, x, v, W, out)
        columns, values = (self.xp.ascontiguousarray(a.T) for a in (x, v))  # transposed: adjacent in memory are rows
        found = self.xp.empty_like(values)
        blocks = (found.size + kernels.THREADS - 1) // kernels.THREADS
        numbers = np.int64(n_rows), np.int64(n_units), np.int64(width)
        self.kernels.run("log_odds", x, blocks, (kernels.THREADS,), (columns, values, W, found, *numbers))
        out[...] = found.T
        return out

    def momentum_step(
        self,
        w: DeviceArray,
        velocity: DeviceArray,
        grad: DeviceArray,
        rate: float,
        momentum: float,
        decay: float,
        nesterov: bool,
    ) -> None:
        """Take one optimizer step in one kernel."""
        if isinstance(grad, Product):
            grad = grad.array(self)
        _must(w.size == velocity.size == grad.size, w, velocity, grad)
        scalar = w.dtype.type
        self.kernels.launch(
            "momentum_step", w, w, velocity, grad, scalar(rate), scalar(momentum), scalar(decay), np.int32(nesterov),
            np.int64(w.size),
        )  # fmt: skip

    def adam_step(
        self, w: DeviceArray, mean: DeviceArray, square: DeviceArray, grad: DeviceArray, rate: float,
        betas: tuple[float, float], epsilon: float, decay: float,
    ) -> None:  # fmt: skip
        """Take one optimizer step in one kernel."""
        if isinstance(grad, Product):
            grad = grad.array(self)
        _must(w.size == mean.size == square.size == grad.size, w, mean, square, grad)
        gains = (n for beta in betas for n in (beta, 1 - beta))
        numbers = (w.dtype.type(value) for value in (rate, *gains, epsilon, decay))
        self.kernels.launch("adam_step", w, w, mean, square, grad, *numbers, np.int64(w.size))

    def memory(self) -> int:
        """Return the device's memory."""
        return int(self.xp.cuda.runtime.memGetInfo()[1])

    def synchronize(self) -> None:
        """Wait until the device has finished all its work."""
        self.xp.cuda.get_current_stream().synchronize()
