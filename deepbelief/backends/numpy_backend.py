"""The CPU backend, and the definition of every backend operation."""

import os
import platform
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Elements handled at a time: bounded scratch space, and what one step touches stays in cache.
BLOCK = 65536

WORD_BLOCK = 2**20  # words drawn at a time

# 2**-32 less two units in the last place: the largest word then stays below 1, so that probability 1 is certain.
WORD_SCALE = np.float32(2.0**-32 * (1 - 2.0**-23))


def _compare(words: Array, p: Array, out: Array) -> None:
    """Write 1 where a word, as a draw from (0, 1), is below ``p``; rounding words to float32 is unbiased."""
    np.multiply(words, WORD_SCALE, out=out, casting="unsafe", dtype=np.float32)
    np.add(out, np.float32(0.5), out=out)
    np.less(out, p, out=out)


class NumpyRng:
    """Random draws from raw generator words: a quarter of the cost of `Generator.random`.

    float32 draws compare 32-bit words with the probability, float64 draws use 53-bit uniforms.
    """

    def __init__(self, seed: np.random.SeedSequence) -> None:
        self._bits = np.random.SFC64(seed)
        self._generator = np.random.Generator(self._bits)

    def bernoulli(self, p: Array, out: Array) -> Array:
        """Write 1 with probability ``p``, else 0."""
        if p.dtype == np.float32:
            return self._bernoulli32(p, out)
        self._generator.random(out=out)
        return np.less(out, p, out=out)

    def _bernoulli32(self, p: Array, out: Array) -> Array:
        flat_p, flat_out = p.reshape(-1), out.reshape(-1)
        for i in range(0, flat_p.size, WORD_BLOCK):
            threshold = flat_p[i : i + WORD_BLOCK]
            words = self._bits.random_raw((threshold.size + 1) // 2).view(np.int32)[: threshold.size]
            _compare(words, threshold, flat_out[i : i + WORD_BLOCK])
        return out

    def uniform(self, out: Array) -> Array:
        """Write draws from U[0, 1)."""
        return self._generator.random(out=out, dtype=out.dtype)

    def normal(self, out: Array) -> Array:
        """Write draws from N(0, 1)."""
        return self._generator.standard_normal(out=out, dtype=out.dtype)


class NumpyBackend:
    """NumPy on the processor."""

    name = "numpy"
    xp: Any = np

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """Return ``x`` as a C-contiguous NumPy array."""
        return np.ascontiguousarray(x, dtype=dtype)

    def to_numpy(self, x: Array) -> Array:
        """Return ``x`` itself."""
        return np.asarray(x)

    def owns(self, x: Any) -> bool:
        """Tell whether ``x`` is a NumPy array."""
        return isinstance(x, np.ndarray)

    def rng(self, seed: np.random.SeedSequence) -> NumpyRng:
        """Return the random stream of this seed."""
        return NumpyRng(seed)

    def take(self, rows: Array, index: Array, out: Array) -> Array:
        """Gather rows into ``out``; mode="clip" spares NumPy a buffer."""
        return np.take(rows, index, axis=0, out=out, mode="clip")

    def sigmoid(self, x: Array, bias: Array | None = None) -> Array:
        """Replace ``x`` by the logistic function of ``x + bias``.

        NumPy's vectorised exp beats `scipy.special.expit` by more than two; where it overflows, 1 / inf = 0 is right.
        """
        if bias is None:
            np.negative(x, out=x)
        else:
            np.subtract(-bias, x, out=x)
        with np.errstate(over="ignore"):
            np.exp(x, out=x)
            np.add(x, 1, out=x)
            return np.reciprocal(x, out=x)

    def momentum_step(
        self, w: Array, velocity: Array, grad: Array, rate: float, momentum: float, decay: float, nesterov: bool
    ) -> None:
        """Take one step downhill, block by block."""
        w, velocity, grad = w.reshape(-1), velocity.reshape(-1), grad.reshape(-1)
        scratch = np.empty(min(BLOCK, w.size), w.dtype) if decay or nesterov else None
        for i in range(0, w.size, BLOCK):
            part, v, g = w[i : i + BLOCK], velocity[i : i + BLOCK], grad[i : i + BLOCK]
            g *= rate
            if decay:
                g += np.multiply(part, rate * decay, out=scratch[: part.size])  # type: ignore[index]
            v *= momentum
            v -= g
            if nesterov:
                part += np.multiply(v, momentum, out=scratch[: part.size])  # type: ignore[index]
                part -= g
            else:
                part += v

    def free_memory(self) -> int:
        """Return the physical memory that is free, 1 GiB where the system does not say."""
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):
            return 2**30

    def synchronize(self) -> None:
        """Do nothing: NumPy has finished when it returns."""

    def describe(self) -> str:
        """Return the processor's name."""
        return platform.processor() or platform.machine()
