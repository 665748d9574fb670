"""Normal distributions on the half-line above 0: log partition, mean and draws, accurate in both tails.

The density is proportional to exp(x h - h**2 / 2) for h >= 0: a normal density with mean x, truncated at 0.
"""

import math

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.typing import DeviceArray

LOG_ROOT_HALF_PI = 0.5 * math.log(math.pi / 2)
LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)
SERIES = (1.0, -2.0, 10.0, -74.0, 706.0, -8162.0)  # of the mean in odd powers of -1 / x, for inputs far below 0
FAR = {4: 12.0, 8: 50.0}  # distance below 0, by bytes of a number, from which that series is more accurate
TAIL = 5.0  # distance below 0 from which draws use Newton's method, not the inverse distribution function
N_NEWTON = 3  # number of steps, enough to converge to double precision


def _scaled(bk: Backend, t: DeviceArray) -> DeviceArray:
    """Return exp(t**2 / 2) erfc(t / sqrt(2)) for t >= 0: twice the tail beyond t, over exp(-t**2 / 2)."""
    return bk.special.erfcx(t * math.sqrt(0.5))


def log_half(bk: Backend, x: DeviceArray) -> DeviceArray:
    """Return the log of the integral of exp(x h - h**2 / 2) over h >= 0, for each element."""
    xp = bk.xp
    t = xp.abs(x)
    tail = _scaled(bk, t)
    square = 0.5 * t * t
    above = square + xp.log1p(-0.5 * tail * xp.exp(-square)) + LOG_ROOT_2_PI
    return xp.where(x > 0, above, xp.log(tail) + LOG_ROOT_HALF_PI)


def mean_half(bk: Backend, x: DeviceArray) -> DeviceArray:
    """Return the mean, for each element: the derivative of `log_half`."""
    xp = bk.xp
    t = xp.abs(x)
    tail = _scaled(bk, t)
    factor = math.sqrt(2 / math.pi)
    density = xp.exp(-0.5 * t * t)
    hazard = xp.where(x > 0, 0.5 * factor * density / (1 - 0.5 * tail * density), factor / tail)
    far = FAR[np.dtype(x.dtype).itemsize]
    inverse = 1 / xp.maximum(t, far)
    square = inverse * inverse
    series = 0 * inverse
    for coefficient in reversed(SERIES):
        series = series * square + coefficient
    return xp.where(x < -far, series * inverse, xp.maximum(x + hazard, 0))


def sample_half(bk: Backend, x: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
    """Draw a state for each element into ``out``.

    With u from (0, 1], the state is x + s where a standard normal number exceeds s with probability u Phi(x).
    """
    xp, special = bk.xp, bk.special
    rng.uniform(out)
    u = 1 - out.astype(np.float64)
    wide = x.astype(np.float64)
    near = xp.maximum(wide, -TAIL)
    inside = near - special.ndtri(u * special.ndtr(near))
    # Far below 0: t h + h**2 / 2 - log(tail(t + h) / tail(t)) = -log u, which is convex in h; the start is above h.
    t = xp.maximum(-wide, TAIL)
    exponent = -xp.log(u)
    log_tail = xp.log(_scaled(bk, t))
    h = 2 * exponent / (t + xp.sqrt(t * t + 2 * exponent))
    for _ in range(N_NEWTON):
        tail = _scaled(bk, t + h)
        error = (t + 0.5 * h) * h - xp.log(tail) + log_tail - exponent
        h = h - error * tail * math.sqrt(math.pi / 2)
    out[...] = xp.maximum(xp.where(wide < -TAIL, h, inside), 0)
    return out
