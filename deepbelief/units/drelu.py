"""Double rectified linear hidden units with a learned potential."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.typing import DeviceArray
from deepbelief.units.half_normal import log_half, mean_half, sample_half
from deepbelief.units.hidden_unit import HiddenUnit


@dataclass(frozen=True)
class DReLU(HiddenUnit):
    """Hidden units of any real state h with the energy g(h) h**2 / 2 + d abs(h) - x h (Tubiana et al. 2019).

    g is g+ above 0 and g- below. With the bias b, the four parameters of a unit are learned: in the notation of the
    literature gamma+ = g+, gamma- = g-, theta+ = d - b and theta- = -d - b. Units start as Gaussian ones; d > 0 makes
    them sparse, d < 0 bimodal, and g+ far from g- one-sided.

    Parameters
    ----------
    values : device array of shape (3, n_units), optional
        log g+, log g- and d of each unit, as `parameters` names them. None: all 0.
    """

    values: DeviceArray = field(default=None, compare=False, repr=False)
    spec = "drelu"
    activation = "identity"
    next_visible = "gaussian"
    scaled_above = True
    quadratic = True
    rate = 0.01
    domain = "drelu units cannot represent data"
    parameters = ("log_gamma_positive", "log_gamma_negative", "offset")

    def bound(self, values: DeviceArray) -> Self:
        """Return units with these parameters."""
        return replace(self, values=values)

    def _halves(self, bk: Backend, x: DeviceArray) -> tuple["Half", "Half"]:
        """Return the half-lines above and below 0."""
        if self.values is None:
            zero = 0 * x[:1]
            return Half(bk, x, zero + 1), Half(bk, -x, zero + 1)
        log_positive, log_negative, offset = self.values
        return (
            Half(bk, x - offset, bk.xp.exp(0.5 * log_positive)),
            Half(bk, -x - offset, bk.xp.exp(0.5 * log_negative)),
        )

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the mean of the state."""
        x += bias
        above, below = self._halves(bk, x)
        p = _share(bk, above, below)
        x[...] = p * above.mean() - (1 - p) * below.mean()
        return x

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the mean, and draw states into ``out``."""
        xp = bk.xp
        x += bias
        above, below = self._halves(bk, x)
        p = _share(bk, above, below)
        rng.uniform(out)
        is_above = out < p
        sample_half(bk, xp.where(is_above, above.y, below.y), rng, out)
        out *= xp.where(is_above, 1 / above.root, -1 / below.root)
        x[...] = p * above.mean() - (1 - p) * below.mean()
        return out

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return the energy of states, summed over the units."""
        xp = bk.xp
        if self.values is None:
            return (v * (0.5 * v - bias)).sum(axis=1)
        log_positive, log_negative, offset = self.values
        gamma = xp.where(v > 0, xp.exp(log_positive), xp.exp(log_negative))
        return (0.5 * gamma * v * v + offset * xp.abs(v) - v * bias).sum(axis=1)

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the log of the sum of the integrals over both half-lines, summed over the units."""
        above, below = self._halves(bk, x)
        return bk.xp.logaddexp(above.log_integral(), below.log_integral()).sum(axis=1)

    def parameter_gradient(self, bk: Backend, x: DeviceArray, weight: DeviceArray) -> DeviceArray:
        """Return the weighted sum over rows of the mean dE / d(values), given the total input.

        Parameters
        ----------
        x : device array of shape (n_rows, n_units)
        weight : device array of shape (n_rows,)
        """
        xp = bk.xp
        above, below = self._halves(bk, x)
        p = _share(bk, above, below)
        means, halves = (above.mean(), below.mean()), ((p, above), (1 - p, below))
        scales = [0.5 * share * (1 + half.y * m * half.root) for (share, half), m in zip(halves, means, strict=True)]
        size = p * means[0] + (1 - p) * means[1]
        return xp.stack([weight @ each for each in (*scales, size)])

    def initial_parameters(self, n_units: int) -> Any:
        """Return the parameters of Gaussian units."""
        return np.zeros((len(self.parameters), n_units))


class Half:
    """States on one half-line, as distances from 0, with the density exp(-(root k)**2 / 2 + input k).

    Parameters
    ----------
    bk : Backend
    total : device array of shape (n_rows, n_units)
        Input in the direction of the half-line.
    root : device array of shape (n_units,)
        Square root of the curvature.
    """

    def __init__(self, bk: Backend, total: DeviceArray, root: DeviceArray) -> None:
        self._bk, self.root, self.y = bk, root, total / root

    def log_integral(self) -> DeviceArray:
        """Return the log of the integral of the density, for each element."""
        return log_half(self._bk, self.y) - self._bk.xp.log(self.root)

    def mean(self) -> DeviceArray:
        """Return the mean distance from 0."""
        return mean_half(self._bk, self.y) / self.root


def _share(bk: Backend, above: Half, below: Half) -> DeviceArray:
    """Return the probability of a state above 0."""
    return bk.sigmoid(above.log_integral() - below.log_integral())
