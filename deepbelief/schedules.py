"""Schedules of the learning rate and the momentum.

A schedule maps the position in the run, from 0 (start) to 1 (end), to a factor of the learning rate.
"""

import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deepbelief.bounds import COUNT, check_number
from deepbelief.errors import SettingError, unknown

Schedule = Callable[[float], float]

LARGEST_MOMENTUM = 0.99  # of the ramp


def constant(position: float) -> float:
    """Return 1 throughout."""
    return 1.0


def linear(position: float) -> float:
    """Return a factor falling from 1 to 0."""
    return 1.0 - position


def cosine(position: float) -> float:
    """Return a factor falling from 1 to 0 along half a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * position))


def warm_up_decay(position: float) -> float:
    """Return a factor rising to 1 in the first 5 % of the run, and falling from 1 in its middle to 0.05 at its end."""
    return min(1.0, (position + 0.005) / 0.05, 1.0 - 1.9 * max(0.0, position - 0.5))


@dataclass(frozen=True)
class Exponential:
    """A factor that falls by the same ratio in equal times, to ``final`` at the end of the run.

    Parameters
    ----------
    final : float
        Factor at the end of the run.
    """

    final: float = 0.01

    def __post_init__(self) -> None:
        """Check the setting."""
        check_number("final", self.final, low=0, high=1, open_low=True)

    def __call__(self, position: float) -> float:
        """Return final ** position."""
        return float(self.final**position)


@dataclass(frozen=True)
class Inverse:
    """1 until ``tau``, then tau / position: lr0 tau / max(t, tau) (Bengio 2012).

    Parameters
    ----------
    tau : float
        Share of the run in which the factor is 1.
    """

    tau: float = 0.1

    def __post_init__(self) -> None:
        """Check the setting."""
        check_number("tau", self.tau, low=0, high=1, open_low=True)

    def __call__(self, position: float) -> float:
        """Return tau / max(position, tau)."""
        return self.tau / max(position, self.tau)


@dataclass(frozen=True)
class Halving:
    """Half the rate each time that the validation loss has not fallen for ``patience`` epochs.

    Parameters
    ----------
    patience : int
        Epochs without a better loss before the rate is halved.
    """

    patience: int = 2

    def __post_init__(self) -> None:
        """Check the setting."""
        COUNT.checked("patience", self.patience)

    def __call__(self, position: float) -> float:
        """Return 1: the position does not matter."""
        return 1.0

    def after(self, losses: Sequence[float]) -> float:
        """Return the factor after epochs with these validation losses."""
        factor, best, stalled = 1.0, math.inf, 0
        for loss in losses:
            best, stalled = (loss, 0) if loss < best else (best, stalled + 1)
            if stalled == self.patience:
                factor, stalled = factor / 2, 0
        return factor


SCHEDULES: dict[str, Schedule | type[Schedule]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "exponential": Exponential,
    "inverse": Inverse,
    "halving": Halving,
}
"""Learning-rate schedules by name; to add one, add a function of the position, or a class of such functions."""


def needs_validation(schedule: Schedule) -> bool:
    """Return whether a schedule follows validation losses."""
    return hasattr(schedule, "after")


def _takes_a_position(schedule: Callable[..., object]) -> bool:
    """Return whether a function can be called with one argument; True where its signature is not known."""
    try:
        inspect.signature(schedule).bind(0.0)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def factor_at(schedule: Schedule, position: float) -> float:
    """Return the factor of the learning rate at a position, after checking what a schedule returns.

    Raises
    ------
    SettingError
        If it is not a finite number of at least 0.

    Examples
    --------
    >>> factor_at(linear, 0.25)
    0.75
    """
    factor = schedule(position)
    if type(factor) is float and 0 <= factor < math.inf:
        return factor
    if not isinstance(factor, numbers.Real) or not 0 <= factor < math.inf:
        raise SettingError(
            f"schedule must return a finite number of at least 0, a factor of the learning rate, got {factor!r} at "
            f"position {position:g}"
        )
    return float(factor)


def get_schedule(schedule: str | Schedule) -> Schedule:
    """Return the schedule of this name; a function is returned as it is.

    Parameters
    ----------
    schedule : str or callable
        Name in the registry, or an instance, which is returned as it is.

    Returns
    -------
    callable

    Raises
    ------
    SettingError
        If there is no such name.

    Examples
    --------
    >>> get_schedule("linear")(0.25)
    0.75
    """
    found, what = schedule, "schedule"
    if isinstance(schedule, str):
        if schedule not in SCHEDULES:
            raise SettingError(unknown("schedule", schedule, SCHEDULES))
        entry, what = SCHEDULES[schedule], f"SCHEDULES[{schedule!r}]"
        found = entry() if isinstance(entry, type) else entry
    if not callable(found) or isinstance(found, type) or not _takes_a_position(found):
        raise SettingError(
            f"{what} must be one of {', '.join(SCHEDULES)}, or a function of the position in the run, from 0 to 1, "
            f"that returns a factor of the learning rate, got {found!r}"
        )
    return found


def momentum_ramp(updates: int) -> float:
    """Return the momentum after a number of updates: 1 - 1 / (2 (t // 250 + 1)), up to 0.99.

    Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep learning", 2013.

    Examples
    --------
    >>> [momentum_ramp(t) for t in (0, 250, 1000, 100_000)]
    [0.5, 0.75, 0.9, 0.99]
    """
    return min(1 - 1 / (2 * (updates // 250 + 1)), LARGEST_MOMENTUM)


def steps_at(steps: int | tuple[int, int], epoch: int = 0, n_epochs: int = 1) -> int:
    """Return the Gibbs steps of an epoch: a number, or one that moves evenly from the first epoch to the last.

    Salakhutdinov and Murray (2008) raise the k of CD-k from 1 to 25 like this.

    Examples
    --------
    >>> [steps_at((1, 3), epoch, 6) for epoch in range(6)]
    [1, 1, 2, 2, 3, 3]
    """
    if not isinstance(steps, (tuple, list)):
        return steps
    first, last = steps
    sign = 1 if last >= first else -1
    return first + sign * (epoch * (abs(last - first) + 1) // n_epochs)


def momentum_at(momentum: float | str, epoch: int, n_epochs: int) -> float:
    """Return the momentum of an epoch.

    ``"auto"`` is 0.5 at first and 0.9 once progress has settled (Hinton 2010, section 9): after five
    epochs, or a fifth of a run shorter than 25 epochs.

    Parameters
    ----------
    momentum : float or "auto"
        As the estimators take it.
    epoch : int
        Epochs done before this one.
    n_epochs : int
        Length of the whole run.

    Returns
    -------
    float

    Examples
    --------
    >>> [momentum_at("auto", epoch, 10) for epoch in range(4)]
    [0.5, 0.5, 0.9, 0.9]
    """
    if isinstance(momentum, str):
        return 0.5 if epoch < min(5, 0.2 * n_epochs) else 0.9
    return momentum
