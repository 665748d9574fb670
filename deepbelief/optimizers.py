"""Optimizers: how a gradient moves parameters. They subtract: every gradient is of something to minimise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from deepbelief.backends import Backend, Product
from deepbelief.errors import SettingError, check_members, unknown
from deepbelief.typing import DeviceArray


class Optimizer(Protocol):
    """Interface of an optimizer; a new one is one class and one entry in `OPTIMIZERS`."""

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

    def start(self, bk: Backend, params: Sequence[DeviceArray]) -> list[DeviceArray]:
        """Return one zero velocity for each parameter."""
        return [bk.xp.zeros_like(p) for p in params]

    def step(
        self, bk: Backend, params: Sequence[DeviceArray], grads: Sequence[DeviceArray | Product],
        state: Sequence[DeviceArray], rates: Sequence[float], momentum: float, decays: Sequence[float],
    ) -> None:  # fmt: skip
        """Move each parameter by its velocity."""
        for p, g, velocity, rate, decay in zip(params, grads, state, rates, decays, strict=True):
            bk.momentum_step(p, velocity, g, rate, momentum, decay, self.nesterov)

    def velocity(self, state: Sequence[DeviceArray]) -> DeviceArray:
        """Return the last change of the first parameter."""
        return state[0]


def _moments(bk: Backend, params: Sequence[DeviceArray]) -> list[DeviceArray]:
    """Return a zero mean and a zero mean square for each parameter, and the number of steps, on the host."""
    return [*(bk.xp.zeros_like(p) for p in (*params, *params)), np.zeros(1, np.int64)]


def _adaptive_step(
    bk: Backend, params: Sequence[DeviceArray], grads: Sequence[DeviceArray | Product], state: Sequence[DeviceArray],
    rates: Sequence[float], betas: tuple[float, float], epsilon: float, decays: Sequence[float],
) -> None:  # fmt: skip
    """Move each parameter by its gradient's running mean over its running root mean square."""
    means, squares = state[: len(params)], state[len(params) : -1]
    for p, g, mean, square, rate, decay in zip(params, grads, means, squares, rates, decays, strict=True):
        bk.adam_step(p, mean, square, g, rate, betas, epsilon, decay)


@dataclass(frozen=True)
class AdaGrad:
    """AdaGrad (Duchi, Hazan and Singer 2011): steps by the gradient over the root of the sum of its squares so far.

    Columns that are rarely on keep large steps. There is no momentum. L2 factors count as a part of the gradient.

    Parameters
    ----------
    epsilon : float
        Added to the root.
    """

    epsilon: float = 1e-8
    rate: float | None = 0.01

    def start(self, bk: Backend, params: Sequence[DeviceArray]) -> list[DeviceArray]:
        """Return the arrays of the running mean square."""
        return _moments(bk, params)

    def step(
        self, bk: Backend, params: Sequence[DeviceArray], grads: Sequence[DeviceArray | Product],
        state: Sequence[DeviceArray], rates: Sequence[float], momentum: float, decays: Sequence[float],
    ) -> None:  # fmt: skip
        """Move each parameter; the sum of n squares is n times their mean."""
        state[-1][0] += 1
        n = int(state[-1][0])
        root = math.sqrt(n)
        rates = [rate / root for rate in rates]
        _adaptive_step(bk, params, grads, state, rates, (0.0, (n - 1) / n), self.epsilon / root, decays)


@dataclass(frozen=True)
class RMSProp:
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

    def start(self, bk: Backend, params: Sequence[DeviceArray]) -> list[DeviceArray]:
        """Return the arrays of the running mean square."""
        return _moments(bk, params)

    def step(
        self, bk: Backend, params: Sequence[DeviceArray], grads: Sequence[DeviceArray | Product],
        state: Sequence[DeviceArray], rates: Sequence[float], momentum: float, decays: Sequence[float],
    ) -> None:  # fmt: skip
        """Move each parameter; nothing is corrected for the start at 0, as in the lecture."""
        _adaptive_step(bk, params, grads, state, rates, (0.0, self.beta2), self.epsilon, decays)


@dataclass(frozen=True)
class Adam:
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

    def start(self, bk: Backend, params: Sequence[DeviceArray]) -> list[DeviceArray]:
        """Return the arrays of both running means."""
        return _moments(bk, params)

    def step(
        self, bk: Backend, params: Sequence[DeviceArray], grads: Sequence[DeviceArray | Product],
        state: Sequence[DeviceArray], rates: Sequence[float], momentum: float, decays: Sequence[float],
    ) -> None:  # fmt: skip
        """Move each parameter; both running means are corrected for their start at 0."""
        state[-1][0] += 1
        n = int(state[-1][0])
        root = math.sqrt(1 - self.beta2**n)
        rates = [rate * root / (1 - momentum**n) for rate in rates]
        _adaptive_step(bk, params, grads, state, rates, (momentum, self.beta2), self.epsilon * root, decays)


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adagrad": AdaGrad, "rmsprop": RMSProp, "adam": Adam}
"""Optimizers by name: a new one is one class and one entry."""


def has_velocity(solver: Optimizer) -> bool:
    """Return whether momentum is that of a velocity, which may rise during the run.

    Examples
    --------
    >>> has_velocity(SGD()), has_velocity(Adam())
    (True, False)
    """
    return isinstance(solver, SGD)


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
    takes_nesterov = "nesterov" in (f.name for f in fields(kind))  # type: ignore[arg-type]
    return kind(nesterov=nesterov) if takes_nesterov else kind()  # type: ignore[call-arg]
