"""What a unit's state is, given its total input.

A unit type is a stateless strategy. ``x`` is always the total input with the bias added, an array of
shape (n_rows, n_units) on the device, and is overwritten where a method says so.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.errors import DataError, SettingError

DeviceArray = Any


class Unit(Protocol):
    """What a unit type provides; a new one is one class and one entry in `UNITS`."""

    @property
    def spec(self) -> str:
        """How it is written in settings and files; `get_unit` reads it back."""

    @property
    def activation(self) -> str:
        """The activation that computes its mean in a feed-forward network."""

    @property
    def next_visible(self) -> str:
        """The visible type of a layer trained on its means."""

    @property
    def standardise(self) -> bool:
        """Whether that next layer scales its inputs to zero mean and unit variance."""

    @property
    def tractable(self) -> bool:
        """Whether the machine has a free energy."""

    @property
    def rate(self) -> float:
        """Learning rate to start from, as hidden units."""

    def visible_rate(self, n_units: int) -> float:
        """Return the learning rate to start from, as visible units."""

    def check_rows(self, low: Any, high: Any) -> None:
        """Raise where column minima and maxima cannot belong to this type."""

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` (without bias) by the mean of the unit's state."""

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the mean and write a draw of the state into ``out``."""

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return the energy of a state without connections, shape (n_rows,)."""

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the log of the sum (or integral) over the unit's states, shape (n_rows,)."""

    def initial_bias(self, mean: Any) -> Any:
        """Return visible biases that give these (smoothed) column means when W = 0."""


def dot(v: DeviceArray, bias: DeviceArray) -> DeviceArray:
    """Return v b for each row; ``bias`` is one for all rows, or one for each."""
    return v @ bias if bias.ndim == 1 else (v * bias).sum(axis=1)


@dataclass(frozen=True)
class Bernoulli:
    """States 0 and 1."""

    spec: str = "bernoulli"
    activation: str = "sigmoid"
    next_visible: str = "bernoulli"
    standardise: bool = False
    tractable: bool = True
    rate: float = 0.1

    def visible_rate(self, n_units: int) -> float:
        """Return 0.1."""
        return self.rate

    def check_rows(self, low: Any, high: Any) -> None:
        """Refuse columns outside [0, 1]."""
        if low.min() < 0 or high.max() > 1:
            raise DataError(
                f"Bernoulli visible units need values in [0, 1], got {low.min():g} to {high.max():g}: "
                "scale the rows, or use visible='gaussian' or 'auto'"
            )

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the probability of state 1."""
        return bk.sigmoid(x, bias)

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the probability of state 1 and draw states into ``out``."""
        return bk.sigmoid_sample(x, bias, rng, out)

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return -v b."""
        return -dot(v, bias)

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the sum of softplus(x); NumPy's logaddexp takes ten times as long."""
        xp = bk.xp
        small = xp.abs(x)
        xp.negative(small, out=small)
        xp.exp(small, out=small)
        xp.log1p(small, out=small)
        small += xp.maximum(x, 0)
        return small.sum(axis=1)

    def initial_bias(self, mean: Any) -> Any:
        """Return the logit of the means."""
        return np.log(mean) - np.log1p(-mean)


@dataclass(frozen=True)
class Gaussian:
    """Real states with unit variance around the input."""

    spec: str = "gaussian"
    activation: str = "identity"
    next_visible: str = "gaussian"
    standardise: bool = False
    tractable: bool = True
    rate: float = 0.001

    def visible_rate(self, n_units: int) -> float:
        """Return 0.01, less for wide rows: every column adds its noise to a hidden unit's input."""
        return 0.01 * min(1.0, 100 / n_units)

    def check_rows(self, low: Any, high: Any) -> None:
        """Accept any finite value."""

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Add the bias."""
        x += bias
        return x

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Add the bias, and draw x + N(0, 1) into ``out``."""
        x += bias
        rng.normal(out)
        out += x
        return out

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return half the squared distance from the bias."""
        return 0.5 * bk.xp.square(v - bias).sum(axis=1)

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the sum of x**2 / 2 + log(2 pi) / 2."""
        return 0.5 * bk.xp.square(x).sum(axis=1) + 0.5 * math.log(2 * math.pi) * x.shape[1]

    def initial_bias(self, mean: Any) -> Any:
        """Return the means."""
        return mean


@dataclass(frozen=True)
class Rectified:
    """Noisy rectified linear hidden units (Nair & Hinton 2010): max(0, x + N(0, sigmoid(x))).

    They are the conditional of no tractable energy: no free energy, no likelihood.
    """

    spec: str = "rectified"
    activation: str = "relu"
    next_visible: str = "gaussian"
    standardise: bool = True
    tractable: bool = False
    rate: float = 0.001

    def visible_rate(self, n_units: int) -> float:
        """Return the rate of the hidden units."""
        return self.rate

    def check_rows(self, low: Any, high: Any) -> None:
        """Refuse: rectified units are hidden units."""
        raise SettingError("rectified units are hidden units: choose visible='bernoulli', 'gaussian' or 'softmax:...'")

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by max(0, x + bias), what the unit passes on."""
        x += bias
        return bk.xp.maximum(x, 0, out=x)

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Draw max(0, x + noise) into ``out`` and replace ``x`` by max(0, x)."""
        x += bias
        rng.normal(out)
        # sigmoid(x) = (1 + tanh(x / 2)) / 2, through xp: two temporaries, only for this unit type.
        out *= bk.xp.sqrt(0.5 + 0.5 * bk.xp.tanh(0.5 * x))
        out += x
        bk.xp.maximum(out, 0, out=out)
        bk.xp.maximum(x, 0, out=x)
        return out

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Refuse: there is no energy."""
        raise SettingError("rectified hidden units have no free energy or likelihood: watch reconstruction instead")

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Refuse: there is no energy."""
        raise SettingError("rectified hidden units have no free energy or likelihood: watch reconstruction instead")

    def initial_bias(self, mean: Any) -> Any:
        """Refuse: rectified units are hidden units."""
        raise SettingError("rectified units are hidden units: choose visible='bernoulli', 'gaussian' or 'softmax:...'")


@dataclass(frozen=True)
class Softmax:
    """Visible units in groups, in each of which exactly one is on.

    Parameters
    ----------
    groups : tuple of int
        Sizes of the groups, left to right; together all visible units. Empty: one group of all.
    """

    groups: tuple[int, ...] = ()
    activation: str = "softmax"
    next_visible: str = "bernoulli"
    standardise: bool = False
    tractable: bool = True
    rate: float = 0.1

    def visible_rate(self, n_units: int) -> float:
        """Return 0.1."""
        return self.rate

    @property
    def spec(self) -> str:
        """How it is written, for instance ``"softmax:3,3,2"``."""
        return "softmax:" + ",".join(map(str, self.groups)) if self.groups else "softmax"

    def _slices(self, n_units: int) -> list[slice]:
        sizes = self.groups or (n_units,)
        if sum(sizes) != n_units:
            raise SettingError(
                f"softmax groups {','.join(map(str, sizes))} sum to {sum(sizes)}, not to {n_units} columns"
            )
        ends = np.cumsum(sizes)
        return [slice(int(end) - size, int(end)) for end, size in zip(ends, sizes, strict=True)]

    def check_rows(self, low: Any, high: Any) -> None:
        """Refuse columns outside [0, 1], and groups that do not fit."""
        self._slices(len(low))
        if low.min() < 0 or high.max() > 1:
            raise DataError(f"softmax visible units need values in [0, 1], got {low.min():g} to {high.max():g}")

    def check_block(self, block: Any, first_row: int) -> None:
        """Refuse rows of which a group does not sum to 1."""
        for g, s in enumerate(self._slices(block.shape[1])):
            wrong = np.flatnonzero(np.abs(block[:, s].sum(axis=1) - 1) > 1e-3)
            if wrong.size:
                total = block[wrong[0], s].sum()
                raise DataError(f"row {first_row + wrong[0]}, softmax group {g} sums to {total:g}, must sum to 1")

    def mean(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the probabilities within each group."""
        x += bias
        for s in self._slices(x.shape[1]):
            part = x[:, s]
            part -= part.max(axis=1, keepdims=True)
            bk.xp.exp(part, out=part)
            part /= part.sum(axis=1, keepdims=True)
        return x

    def sample(self, bk: Backend, x: DeviceArray, bias: DeviceArray, rng: Rng, out: DeviceArray) -> DeviceArray:
        """Replace ``x`` by probabilities and draw one unit of each group into ``out`` (Gumbel-max)."""
        xp = bk.xp
        rng.uniform(out)
        tiny = xp.finfo(x.dtype).tiny
        noise = -xp.log(-xp.log(xp.maximum(out, tiny)))
        noise += x
        noise += bias
        self.mean(bk, x, bias)
        out[...] = 0
        rows = xp.arange(len(x))
        for s in self._slices(x.shape[1]):
            out[rows, s.start + noise[:, s].argmax(axis=1)] = 1
        return out

    def energy(self, bk: Backend, v: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Return -v b."""
        return -dot(v, bias)

    def log_partition(self, bk: Backend, x: DeviceArray) -> DeviceArray:
        """Return the log-sum-exp of each group, summed over groups."""
        xp = bk.xp
        parts = [x[:, s] for s in self._slices(x.shape[1])]
        tops = [part.max(axis=1, keepdims=True) for part in parts]
        return sum(
            (xp.log(xp.exp(part - top).sum(axis=1)) + top[:, 0] for part, top in zip(parts, tops, strict=True)),
            start=xp.zeros(len(x), x.dtype),
        )

    def initial_bias(self, mean: Any) -> Any:
        """Return the log of the means."""
        return np.log(mean)
