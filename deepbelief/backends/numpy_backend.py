"""NumPy backend, which defines every backend operation."""

import itertools
import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np

from deepbelief.backends import blas, loops, products
from deepbelief.backends.bfloat16 import Bfloat16Products, takes
from deepbelief.backends.groups import Groups
from deepbelief.backends.interface import LazyModule, Product, Rescaling
from deepbelief.backends.sparse import HostRows, HostSparse
from deepbelief.typing import Array, DeviceArray, DtypeLike, SparseMatrix, StrMapping

# Elements handled at a time. This bounds the scratch space and keeps the data of one step in cache.
BLOCK = 65536

GROUPS = Groups(np, np.asarray)

LANES = 4  # parallel generators, which the processor advances together
STEP = 4 * LANES  # values that receive 16 bits each from one step of all generators
LOW_BITS = {"f": 8, "d": 37}  # lowest bits of a draw, by dtype, that all draws of a block share


def _compare(words: Array, p: Array, low: float, out: Array) -> None:
    """Write 1 where the draw of a word from [0, 1) is below ``p``; ``low`` holds the lowest bits of the draws."""
    number = out.dtype.type
    np.copyto(out, words)
    np.add(out, number(low), out=out)
    np.multiply(out, number(2.0**-16), out=out)
    np.less(out, p, out=out)


class NumpyRng:
    """Random draws from raw generator words, at a fifth of the cost of `Generator.random`.

    float32 Bernoulli draws compare 24 bits with the probability, and the draws of a block share the lowest 8 of them.
    Each draw has its probability to within 2**-24; two draws of a block are dependent only if both have the same high
    bits, which happens once in 2**32. float64 draws share 29 further bits. All other draws are made in float64, so that
    a seed gives the same numbers in both precisions, up to rounding.
    """

    def __init__(self, seed: np.random.SeedSequence) -> None:
        keys = (seed.spawn_key, *((*seed.spawn_key, lane) for lane in range(1, LANES)))
        self.__setstate__([np.random.SFC64(np.random.SeedSequence(seed.entropy, spawn_key=key)) for key in keys])

    def __getstate__(self) -> list[np.random.SFC64]:
        """Return the generators; their addresses differ in a copy or another process."""
        return self._lanes

    def __setstate__(self, lanes: list[np.random.SFC64]) -> None:
        """Restore the generators and the addresses of their states."""
        self._lanes = lanes
        self._addresses = np.array([lane.ctypes.state_address for lane in lanes], np.uintp)
        self._generator = np.random.Generator(lanes[0])

    def bernoulli(self, p: Array, out: Array) -> Array:
        """Write 1 with probability ``p``, else 0."""
        found = loops.loops_for(p, out)
        if found is not None and p.shape == out.shape:
            found.sample(p, None, self._addresses, out, BLOCK)
            return out
        flat_p, flat_out = p.reshape(-1), out.reshape(-1)
        shared = LOW_BITS[out.dtype.char]
        for start, stop, words, low in self._words(p.size):
            _compare(words, flat_p[start:stop], 2**15 + (low >> (64 - shared)) / 2**shared, flat_out[start:stop])
        return out

    def bernoulli_of_sigmoid(self, found: loops.Loops, x: Array, bias: Array, out: Array) -> None:
        """Apply `NumpyBackend.sigmoid` and `bernoulli` in one compiled loop, with the same draws."""
        found.sample(x, bias, self._addresses, out, BLOCK)

    def _words(self, size: int) -> Iterator[tuple[int, int, Array, int]]:
        """Yield for each block its bounds, 16 random bits for each element, and 64 bits shared by all elements."""
        for start in range(0, size, BLOCK):
            n = min(BLOCK, size - start)
            draws = np.stack([lane.random_raw(1 + -(-n // STEP)) for lane in self._lanes], axis=1).reshape(-1)
            yield start, start + n, draws[LANES:].view(np.int16)[:n], int(draws[0])

    def uniform(self, out: Array) -> Array:
        """Write draws from U[0, 1)."""
        for part, numbers in self._doubles(self._generator.random, out):
            if part.dtype != numbers.dtype:  # 24 bits, since rounding to float32 could give 1
                numbers *= 2.0**24
                np.floor(numbers, out=numbers)
                numbers *= 2.0**-24
            part[...] = numbers
        return out

    def normal(self, out: Array) -> Array:
        """Write draws from N(0, 1)."""
        for part, numbers in self._doubles(self._generator.standard_normal, out):
            part[...] = numbers
        return out

    def _doubles(self, draw: Callable[..., Array], out: Array) -> Iterator[tuple[Array, Array]]:
        """Yield parts of ``out``, each with the same number of float64 draws."""
        flat, scratch = out.reshape(-1), np.empty(min(BLOCK, out.size))
        for start in range(0, out.size, BLOCK):
            part = flat[start : start + BLOCK]
            yield part, draw(out=scratch[: part.size])

    def state(self) -> StrMapping:
        """Return the position of the stream."""
        return {f"lane_{i}": lane.state for i, lane in enumerate(self._lanes)}

    def set_state(self, state: StrMapping) -> None:
        """Continue from the position of a stream."""
        for i, lane in enumerate(self._lanes):
            lane.state = state[f"lane_{i}"]


def _step_by_product(
    routines: blas.Blas | Bfloat16Products, w: Array, velocity: Array, grad: Product, rate: float, momentum: float,
    decay: float, nesterov: bool,
) -> None:  # fmt: skip
    """Take one optimizer step without evaluating the product that is the gradient."""
    keep = momentum
    if nesterov:  # w += momentum * new - g is w += (1 + momentum) * new - momentum * old
        routines.add(velocity, -momentum, w)
        keep *= 1 - decay  # corrects for the decay that has just been applied to w
    routines.add_product(grad.left, grad.right, -rate, velocity, keep)
    if grad.plus is not None:
        rows, right = grad.plus
        rows.add_transposed(right, velocity, -rate)
    found = None if nesterov else loops.loops_for(w, velocity)
    if found is not None and found.on_threads:
        found.settle(w, velocity, decay)
        return
    if decay:
        routines.add(w, -decay, velocity)
    routines.add(velocity, 1 + momentum if nesterov else 1, w)


def _step_by_blocks(
    w: Array, velocity: Array, grad: Array, rate: float, momentum: float, decay: float, nesterov: bool
) -> None:
    """Take one optimizer step, in one pass or block by block."""
    found = loops.loops_for(w, velocity, grad)
    if found is not None and w.shape == velocity.shape == grad.shape:
        found.momentum_step(w, velocity, grad, rate, momentum, decay, nesterov)
        return
    w, velocity, grad = w.reshape(-1), velocity.reshape(-1), grad.reshape(-1)
    scratch = np.empty(min(BLOCK, w.size), w.dtype) if decay or nesterov else None
    for i in range(0, w.size, BLOCK):
        part, v, g = w[i : i + BLOCK], velocity[i : i + BLOCK], grad[i : i + BLOCK]
        g *= rate
        if decay:
            g += np.multiply(part, decay, out=scratch[: part.size])  # type: ignore[index]
        v *= momentum
        v -= g
        if nesterov:
            part += np.multiply(v, momentum, out=scratch[: part.size])  # type: ignore[index]
            part -= g
        else:
            part += v


@cache
def _as_array(sizes: tuple[int, ...]) -> Array:
    return np.array(sizes, np.int64)


class NumpyBackend:
    """NumPy on the processor.

    Parameters
    ----------
    products : Bfloat16Products, optional
        Multiplies float32 matrices; None: NumPy does.
    """

    name = "numpy"
    least_batch = 2  # a single row is a matrix-vector product, which reads all weights for little arithmetic
    concurrent = True
    xp: ModuleType = np
    special: ModuleType | LazyModule = LazyModule("scipy.special")

    _products: Bfloat16Products | None = None

    def __init__(self, products: Bfloat16Products | None = None) -> None:
        if products is not None:
            self.name, self._products = "numpy:bfloat16", products

    def asarray(self, x: DeviceArray, dtype: DtypeLike | None = None) -> Array:
        """Return ``x`` as a C-contiguous NumPy array."""
        return np.ascontiguousarray(x, dtype=dtype)

    def to_numpy(self, x: Array) -> Array:
        """Return ``x`` itself."""
        return np.asarray(x)

    def owns(self, x: object) -> bool:
        """Return whether ``x`` is a NumPy array."""
        return isinstance(x, np.ndarray)

    def sparse(self, matrix: SparseMatrix) -> HostSparse:
        """Return a CSR matrix as a table, without a copy."""
        return HostSparse(matrix)

    def matmul(self, rows: DeviceArray, W: Array, out: Array | None = None) -> Array:
        """Return ``rows @ W``."""
        if isinstance(rows, HostRows):
            return rows.times(W, out)
        if self._products is not None and takes(rows, W, out):
            return self._products.matmul(rows, W, out)
        found = products.multiply(rows, W, out)
        return np.matmul(rows, W, out=out) if found is None else found

    def rng(self, seed: np.random.SeedSequence) -> NumpyRng:
        """Return the random stream of this seed."""
        return NumpyRng(seed)

    def take(self, rows: Array, index: Array, out: Array) -> Array:
        """Gather rows into ``out``; with mode="clip" NumPy needs no buffer."""
        found = loops.loops_for(rows, out) if rows.ndim == 2 and len(rows) else None
        if found is not None and out.shape == (*index.shape, rows.shape[1]) and blas.holds_row_numbers(index):
            found.gather(rows, index, out)
            return out
        return np.take(rows, index, axis=0, out=out, mode="clip")

    def sigmoid(self, x: Array, bias: Array | None = None) -> Array:
        """Replace ``x`` by the logistic function of ``x + bias``; the bias may differ between rows.

        NumPy's vectorised exp is more than twice as fast as `scipy.special.expit`; if it overflows, 1 / inf = 0 is
        correct.
        """
        if bias is not None and bias.shape == x.shape[-1:]:
            found = loops.loops_for(x, bias)
            if found is not None:
                found.sigmoid(x, bias)
                return x
        if bias is not None and bias.ndim == 1:
            np.subtract(-bias, x, out=x)
        else:
            if bias is not None:
                x += bias
            np.negative(x, out=x)
        with np.errstate(over="ignore"):
            np.exp(x, out=x)
            np.add(x, 1, out=x)
            return np.divide(1, x, out=x)  # uses wider vectors than np.reciprocal

    def sigmoid_sample(self, x: Array, bias: Array, rng: Any, out: Array) -> Array:
        """Replace ``x`` by the logistic function of ``x + bias``, and write 1 with that probability, else 0."""
        found = loops.loops_for(x, bias, out) if bias.shape == x.shape[-1:] and out.shape == x.shape else None
        if found is None:
            rng.bernoulli(self.sigmoid(x, bias), out)
        else:
            rng.bernoulli_of_sigmoid(found, x, bias, out)
        return out

    def softmax(self, x: Array, bias: Array, sizes: tuple[int, ...]) -> Array:
        """Replace ``x`` by the softmax of ``x + bias`` within groups of these sizes."""
        found = loops.loops_for(x, bias) if bias.shape == x.shape[-1:] else None
        if found is None:
            return GROUPS.softmax(x, bias, sizes)  # type: ignore[no-any-return]
        found.softmax(x, bias, _as_array(sizes))
        return x

    def log_partition(
        self, x: Array, sizes: tuple[int, ...] | None = None, rescaling: Rescaling | None = None
    ) -> Array:
        """Return the log of the sum of exponentials of each group of columns, summed over groups, or its change."""
        if rescaling is not None:
            known = loops.loops_for(x, rescaling.bias) if sizes is None else None
            if known is None or rescaling.bias.shape not in (x.shape, x.shape[1:]):
                return rescaling.apply(x, partial(self.log_partition, sizes=sizes))  # type: ignore[no-any-return]
            return known.softplus_changes(x, *rescaling)
        if sizes is None:
            known = loops.loops_for(x, dtype=x.dtype) if x.size and x.dtype.char in "fd" else None
            return GROUPS.log_partition(x) if known is None else known.softplus_sums(x)
        columns, total, start = np.array(x.T, order="C"), np.zeros(len(x), x.dtype), 0  # groups of one size at a time
        for size, run in itertools.groupby(sizes):
            n = len(list(run))
            some = columns[start : start + n * size].reshape(n, size, len(x))
            top = some.max(axis=1)
            some -= top[:, None]
            np.exp(some, out=some)
            total += (np.log(some.sum(axis=1)) + top).sum(axis=0)
            start += n * size
        return total

    def one_hot_sample(self, p: Array, rng: Any, sizes: tuple[int, ...], out: Array) -> Array:
        """Write 1 for one column of each group, drawn with the probabilities ``p``, and 0 for the others."""
        u = rng.uniform(np.empty((len(p), len(sizes)), p.dtype))
        found = loops.loops_for(p, out)
        if found is None:
            return GROUPS.one_hot(p, u, sizes, out)  # type: ignore[no-any-return]
        found.one_hot(p, u, _as_array(sizes), out)
        return out

    def sigmoid_backward(self, grad: Array, y: Array, out: Array) -> Array:
        """Return ``grad`` times the slope of the logistic function at its output ``y``."""
        found = loops.loops_for(grad, y, out)
        if found is not None and grad.shape == y.shape == out.shape:
            found.sigmoid_backward(grad, y, out)
            return out
        np.subtract(1, y, out=out)
        out *= y
        out *= grad
        return out

    def weigh(self, x: Array, weight: Array, out: Array) -> Array:
        """Multiply each row of ``x`` by its weight, and return the sums of the columns of that."""
        found = loops.loops_for(x, weight, out)
        if found is not None and weight.shape == (len(x), 1) and out.shape == x.shape[1:]:
            found.weigh(x, weight, out)
            return out
        np.matmul(weight[:, 0], x, out=out)
        np.multiply(x, weight, out=x)
        return out

    def log_odds(self, x: Array, v: Array, W: Array, out: Array) -> Array:
        """Write the contribution of Bernoulli hidden units to the log-odds of each visible unit given all others."""
        found = loops.loops_for(x, v, out, dtype=loops.FLOAT64)
        if found is not None and len(x) == 1 and loops.loops_for(W) and found.log_odds_of_row(x, v, W, out):
            return out
        W = W.astype(np.float64, copy=False)
        if found is not None and blas.is_plain(W) and found.log_odds_of_rows(x, v, W, out):
            return out
        for i, weights in enumerate(W):
            off = x - v[:, i : i + 1] * weights
            on = off + weights
            # softplus(z) is max(z, 0) + log(1 + exp(-|z|)): nothing overflows, and both terms share one logarithm.
            rise = np.maximum(on, 0)
            rise -= np.maximum(off, 0)
            for z in (on, off):
                np.negative(np.abs(z, out=z), out=z)
                np.exp(z, out=z)
                z += 1
            on /= off
            rise += np.log(on, out=on)
            rise.sum(axis=1, out=out[:, i])
        return out

    def momentum_step(
        self, w: Array, velocity: Array, grad: Array | Product, rate: float, momentum: float, decay: float,
        nesterov: bool,
    ) -> None:  # fmt: skip
        """Take one optimizer step, fused with the product if the gradient is one and BLAS is available."""
        numbers = rate, momentum, rate * decay, nesterov
        if not isinstance(grad, Product):
            _step_by_blocks(w, velocity, grad, *numbers)
            return
        ways = [products.step_along] if self._products is None else [self._products.step_along, products.step_along]
        if grad.plus is None and any(step_along(grad.left, grad.right, w, velocity, *numbers) for step_along in ways):
            return
        found = loops.loops_for(w, velocity) if nesterov else None
        if found is None or not found.on_threads:
            reduced = self._products is not None and takes(grad.left.T, grad.right, velocity)
            routines = self._products if reduced else blas.load(w.dtype.char)
            arrays = w, velocity, grad.left, grad.right
            if routines is not None and all(a.dtype == w.dtype and blas.is_plain(a) for a in arrays):
                _step_by_product(routines, w, velocity, grad, *numbers)
                return
        _step_by_blocks(w, velocity, grad.array(self), *numbers)

    def adam_step(
        self, w: Array, mean: Array, square: Array, grad: Array | Product, rate: float, betas: tuple[float, float],
        epsilon: float, decay: float,
    ) -> None:  # fmt: skip
        """Take one optimizer step, in one pass or block by block."""
        grad = grad.array(self) if isinstance(grad, Product) else grad
        found = loops.loops_for(w, mean, square, grad)
        if found is not None and w.shape == mean.shape == square.shape == grad.shape:
            found.adam_step(w, mean, square, grad, rate, *(n for b in betas for n in (b, 1 - b)), epsilon, decay)
            return
        flat = [a.reshape(-1) for a in (w, mean, square, grad)]
        scratch = np.empty(min(BLOCK, w.size), w.dtype)
        for i in range(0, w.size, BLOCK):
            part, m, s, g = (a[i : i + BLOCK] for a in flat)
            t = scratch[: part.size]
            if decay:
                g += np.multiply(part, decay, out=t)
            m *= betas[0]
            m += np.multiply(g, 1 - betas[0], out=t)
            g *= g
            s *= betas[1]
            s += np.multiply(g, 1 - betas[1], out=t)
            np.sqrt(s, out=t)
            t += epsilon
            np.divide(m, t, out=t)
            t *= rate
            part -= t

    def memory(self) -> int:
        """Return the size of the physical memory; 1 GiB if it is unknown."""
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):
            return 2**30

    def synchronize(self) -> None:
        """Do nothing: NumPy has finished when it returns."""
