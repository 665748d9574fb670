"""Optimizers: how a gradient moves parameters. They subtract: every gradient is of something to minimise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from deepbelief.backends import Backend, Product
from deepbelief.errors import SettingError, unknown

DeviceArray = Any


class Optimizer(Protocol):
    """What an optimizer provides; a new one is one class and one entry in `OPTIMIZERS`."""

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


OPTIMIZERS: Mapping[str, type[Optimizer]] = {"sgd": SGD}
"""Optimizers by name: a new one is one class and one entry."""


def get_optimizer(solver: str | Optimizer, *, nesterov: bool) -> Optimizer:
    """Return the optimizer of this name; an instance is returned as it is.

    Examples
    --------
    >>> get_optimizer("sgd", nesterov=True)
    SGD(nesterov=True)
    """
    if not isinstance(solver, str):
        if not hasattr(solver, "step"):
            raise SettingError(f"solver must be one of {', '.join(OPTIMIZERS)} or an instance, got {solver!r}")
        return solver
    if solver not in OPTIMIZERS:
        raise SettingError(unknown("solver", solver, OPTIMIZERS))
    return OPTIMIZERS[solver](nesterov=nesterov)  # type: ignore[call-arg]
