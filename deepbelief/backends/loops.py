"""Element-wise work of the NumPy backend in one pass each, compiled by Numba where that is installed.

NumPy goes over an array once for each operation; here a value stays in a register from the product's result to the
drawn state. Each function has its definition in `numpy_backend`, which does without them where Numba is not
installed: results then differ by rounding. All arrays are C-contiguous and float32, matrices as vectors; what is
compiled is kept on the disk. `NUMBA_DISABLE_JIT=1` turns them off.
"""

import numba
import numpy as np

if getattr(numba.config, "DISABLE_JIT"):  # noqa: B009, Numba sets its settings when it runs
    raise ImportError("Numba compiles nothing: NUMBA_DISABLE_JIT is set")

f32, i32 = np.float32, np.int32

LOG2_E = f32(1.44269504)
LN2_HIGH, LN2_LOW = f32(0.693359375), f32(-2.12194440e-4)  # the first has so few bits that n * LN2_HIGH is exact
# Minimax polynomial of exp on [-ln(2) / 2, ln(2) / 2], relative error 2e-9.
C2, C3, C4, C5, C6 = f32(0.49999991), f32(0.16666420), f32(0.041668229), f32(0.0083748568), f32(0.0013836795)
TOP = f32(88.02969)  # exp of it is 2**127

try:
    _compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
    _compiled(lambda: None)
except RuntimeError:  # no folder to keep it in can be written to
    _compiled = numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})


@_compiled
def _logistic(z):
    """Return 1 / (1 + exp(-z)): 0 where exp(-z) is beyond 2**127."""
    x = -TOP if z > TOP else -z  # NaN stays what it is
    n = np.rint(x * LOG2_E)
    r = x - n * LN2_HIGH
    r = r - n * LN2_LOW
    p = C6
    p = p * r + C5
    p = p * r + C4
    p = p * r + C3
    p = p * r + C2
    p = p * r + f32(1)
    p = p * r + f32(1)
    power = i32((i32(n) + i32(127)) << i32(23)).view(f32)  # 2**n
    y = f32(1) / (f32(1) + p * power)
    return f32(0) if z < -TOP else y


@_compiled
def sigmoid(x, bias):
    """Replace each row of ``x`` by the logistic function of ``x + bias``."""
    width = bias.size
    for start in range(0, x.size, width):
        row = x[start : start + width]
        for j in range(width):
            row[j] = _logistic(row[j] + bias[j])


@_compiled
def sample(x, bias, words, low, out, start, stop):
    """Do what `sigmoid` does from ``start`` to ``stop``, and write 1 where a word's draw is below the result.

    ``words`` are 16 random bits for each of them, ``low`` is the lowest part of every draw, from 2**15 on.
    """
    width = bias.size
    i = start
    while i < stop:
        column = i % width
        n = min(width - column, stop - i)
        some, shift = x[i : i + n], bias[column : column + n]
        word, state = words[i - start : i - start + n], out[i : i + n]
        for j in range(n):
            p = _logistic(some[j] + shift[j])
            some[j] = p
            state[j] = f32(1) if (f32(word[j]) + low) * f32(2.0**-16) < p else f32(0)
        i += n


@_compiled
def round_words(words, out):
    """Write the upper halves of float32 numbers, given as 32 bits each, rounded to the nearest, ties to even."""
    for i in range(words.size):
        word = words[i]
        out[i] = np.uint16((word + np.uint32(0x7FFF) + ((word >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@_compiled
def weigh(x, weight, out):
    """Multiply each row of ``x`` by its weight, and write the sums of the columns of that into ``out``."""
    width = out.size
    out[:] = f32(0)
    for r in range(weight.size):
        factor, row = weight[r], x[r * width : (r + 1) * width]
        for j in range(width):
            y = factor * row[j]
            row[j] = y
            out[j] += y


@_compiled
def momentum_step(w, velocity, grad, rate, momentum, decay, ahead):
    """Take one step downhill; ``ahead`` is 1 for Nesterov's momentum, else 0."""
    for i in range(w.size):
        step = rate * grad[i] + decay * w[i]
        v = momentum * velocity[i] - step
        velocity[i] = v
        w[i] += ahead * (momentum * v - step) + (f32(1) - ahead) * v


@_compiled
def adam_step(w, mean, square, grad, rate, beta1, beta2, epsilon, decay):
    """Take one step downhill by the gradient's running mean over its running root mean square."""
    for i in range(w.size):
        g = grad[i] + decay * w[i]
        m = beta1 * mean[i] + (f32(1) - beta1) * g
        s = beta2 * square[i] + (f32(1) - beta2) * (g * g)
        mean[i] = m
        square[i] = s
        w[i] -= rate * m / (np.sqrt(s) + epsilon)


@_compiled
def add_product(ends, indices, data, factor, W, out, block):
    """Add ``factor`` times compressed rows times ``W`` to ``out``; both are matrices.

    Goes through so many rows of ``W`` at a time as stay in cache while all of ``out`` meets them, and adds four of
    them at once, so that ``out`` is read and written a quarter as often.
    """
    places = ends[:-1].copy()
    for top in range(block, W.shape[0] + block, block):
        for r in range(places.size):
            k = last = places[r]
            while last < ends[r + 1] and indices[last] < top:
                last += 1
            places[r] = last
            while k + 4 <= last:
                a, b, c, d = factor * data[k], factor * data[k + 1], factor * data[k + 2], factor * data[k + 3]
                at, bt, ct, dt = indices[k], indices[k + 1], indices[k + 2], indices[k + 3]
                for j in range(W.shape[1]):
                    out[r, j] += (a * W[at, j] + b * W[bt, j]) + (c * W[ct, j] + d * W[dt, j])
                k += 4
            while k < last:
                a, at = factor * data[k], indices[k]
                for j in range(W.shape[1]):
                    out[r, j] += a * W[at, j]
                k += 1
