"""Optimizers: how a gradient moves parameters. They subtract: every gradient is of something to minimise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from deepbelief.backends import Backend, Product
from deepbelief.bounds import Bounds, check_fields
from deepbelief.errors import SettingError, check_members, unknown
from deepbelief.typing import DeviceArray

FIELDS = {
    "rate": Bounds(0, open_low=True, none=True), "beta2": Bounds(0, 1, open_high=True),
    "epsilon": Bounds(0, open_low=True),
}  # fmt: skip
"""Bounds of the fields of optimizers."""


class Optimizer(Protocol):
    """Interface of an optimizer; to add one, write a class and add an entry to `OPTIMIZERS`."""

    @property
    def rate(self) -> float | None:
        """Learning rate to start from; None: that of the activations."""

    def start(self, bk: Backend, params: Sequence[DeviceArray]) -> list[DeviceArray]:
        """Return the optimizer's own arrays for these parameters."""

    def step(
        self, bk: Backend, params: Sequence[DeviceArray], grads: Sequence[DeviceArray | Product],
        state: Sequence[DeviceArray], rates: Sequence[float], momentum: float, decays: Sequence[float],
    ) -> None:  # fmt: skip
        """Move each parameter one step; ``grads`` may be used up, ``decays`` are L2 factors."""


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with classical or Nesterov momentum (Sutskever et al. 2013).

    Parameters
    ----------
    nesterov : bool
        Nesterov's momentum in the form that needs the gradient at the current point only.
    """

    nesterov: bool = False
    rate: float | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        check_fields(self, FIELDS)

    def start(self, bk: Backend, params: Sequence[DeviceArray]) -> list[DeviceArray]:
        """Return one zero velocity for each parameter."""
        return [bk.xp.zeros_like(p) for p in params]

    def step(
        self, bk: Backend, params: Sequence[DeviceArray], grads: Sequence[DeviceArray | Product],
        state: Sequence[DeviceArray], rates: Sequence[float], momentum: float, decays: Sequence[float],
    ) -> None:  # fmt: skip
        """Move each parameter by its velocity.

        Weights come first among the parameters and move last: their step displaces all others from the caches.
        """
        steps = zip(params, grads, state, rates, decays, strict=True)
        for p, g, velocity, rate, decay in reversed(tuple(steps)):
            bk.momentum_step(p, velocity, g, rate, momentum, decay, self.nesterov)

    def velocity(self, state: Sequence[DeviceArray]) -> DeviceArray:
        """Return the last change of the first parameter."""
        return state[0]


class _Adaptive:
    """Steps by the gradient's running mean over its running root mean square."""

    def __post_init__(self) -> None:
        """Check the settings."""
        check_fields(self, FIELDS)

    def start(self, bk: Backend, params: Sequence[DeviceArray]) -> list[DeviceArray]:
        """Return a zero mean and a zero mean square for each parameter, and the number of steps, on the host."""
        return [*(bk.xp.zeros_like(p) for p in (*params, *params)), np.zeros(1, np.int64)]

    def step(
        self, bk: Backend, params: Sequence[DeviceArray], grads: Sequence[DeviceArray | Product],
        state: Sequence[DeviceArray], rates: Sequence[float], momentum: float, decays: Sequence[float],
    ) -> None:  # fmt: skip
        """Move each parameter."""
        state[-1][0] += 1
        (up, down), betas, epsilon = self._scales(int(state[-1][0]), momentum)
        means, squares = state[: len(params)], state[len(params) : -1]
        for p, g, mean, square, rate, decay in zip(params, grads, means, squares, rates, decays, strict=True):
            bk.adam_step(p, mean, square, g, rate * up / down, betas, epsilon, decay)

    def _scales(self, n: int, momentum: float) -> tuple[tuple[float, float], tuple[float, float], float]:
        """Return factor and divisor of rates, the decays of both means, and what is added to the root, at step n."""
        raise NotImplementedError


@dataclass(frozen=True)
class AdaGrad(_Adaptive):
    """AdaGrad (Duchi, Hazan and Singer 2011): steps by the gradient over the root of the sum of its squares so far.

    Columns that are rarely on keep large steps. There is no momentum. L2 factors count as a part of the gradient.

    Parameters
    ----------
    epsilon : float
        Added to the root.
    """

    epsilon: float = 1e-8
    rate: float | None = 0.01

    def _scales(self, n: int, momentum: float) -> tuple[tuple[float, float], tuple[float, float], float]:
        """Scale the mean to a sum: that of n squares is n times their mean."""
        root = math.sqrt(n)
        return (1.0, root), (0.0, (n - 1) / n), self.epsilon / root


@dataclass(frozen=True)
class RMSProp(_Adaptive):
    """RMSProp (Tieleman and Hinton 2012): steps by the gradient over its running root mean square.

    There is no momentum. L2 factors count as a part of the gradient.

    Parameters
    ----------
    beta2 : float
        Decay of the running mean square.
    epsilon : float
        Added to the root mean square.
    """

    beta2: float = 0.9
    epsilon: float = 1e-8
    rate: float | None = 0.001

    def _scales(self, n: int, momentum: float) -> tuple[tuple[float, float], tuple[float, float], float]:
        """Correct nothing for the start at 0, as in the lecture."""
        return (1.0, 1.0), (0.0, self.beta2), self.epsilon


@dataclass(frozen=True)
class Adam(_Adaptive):
    """Adam (Kingma and Ba 2015): steps by the gradient's running mean over its running root mean square.

    The momentum of the step is the decay of the mean. L2 factors count as a part of the gradient.

    Parameters
    ----------
    beta2 : float
        Decay of the running mean square.
    epsilon : float
        Added to the root mean square.
    """

    beta2: float = 0.999
    epsilon: float = 1e-8
    rate: float | None = 0.003

    def _scales(self, n: int, momentum: float) -> tuple[tuple[float, float], tuple[float, float], float]:
        """Correct both running means for their start at 0."""
        root = math.sqrt(1 - self.beta2**n)
        return (root, 1 - momentum**n), (momentum, self.beta2), self.epsilon * root


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adagrad": AdaGrad, "rmsprop": RMSProp, "adam": Adam}
"""Optimizers by name; to add one, write a class and add an entry."""


def get_optimizer(solver: str | Optimizer, *, nesterov: bool = False) -> Optimizer:
    """Return the optimizer of this name, with Nesterov's momentum if it has one; an instance as it is.

    Parameters
    ----------
    solver : str or Optimizer
        Name in the registry, or an instance, which is returned as it is.
    nesterov : bool
        Whether an SGD that is given by its name uses Nesterov's momentum.

    Returns
    -------
    Optimizer

    Raises
    ------
    SettingError
        If there is no such name.

    Examples
    --------
    >>> get_optimizer("sgd", nesterov=True)
    SGD(nesterov=True, rate=None)
    """
    if not isinstance(solver, str):
        check_members("solver", solver, Optimizer, OPTIMIZERS)
        return solver
    if solver not in OPTIMIZERS:
        raise SettingError(unknown("solver", solver, OPTIMIZERS))
    kind = OPTIMIZERS[solver]
    return kind(nesterov=nesterov) if hasattr(kind, "nesterov") else kind()  # type: ignore[call-arg]
