"""How a learning rate or a momentum moves during a run.

A schedule maps the position in the run, from 0 (start) to 1 (end), to a factor of the learning rate.
"""

import math
from collections.abc import Callable, Mapping

from deepbelief.errors import SettingError, unknown

Schedule = Callable[[float], float]


def constant(position: float) -> float:
    """Return 1 throughout."""
    return 1.0


def linear(position: float) -> float:
    """Return a factor falling from 1 to 0."""
    return 1.0 - position


def cosine(position: float) -> float:
    """Return a factor falling from 1 to 0 along half a cosine."""
    return 0.5 * (1.0 + math.cos(math.pi * position))


SCHEDULES: Mapping[str, Schedule] = {"constant": constant, "linear": linear, "cosine": cosine}
"""Learning-rate schedules by name: a new one is one function and one entry."""


def get_schedule(schedule: str | Schedule) -> Schedule:
    """Return the schedule of this name; a function is returned as it is.

    Examples
    --------
    >>> get_schedule("linear")(0.25)
    0.75
    """
    if callable(schedule):
        return schedule
    if not isinstance(schedule, str) or schedule not in SCHEDULES:
        raise SettingError(unknown("schedule", schedule, SCHEDULES))
    return SCHEDULES[schedule]


def momentum_at(momentum: float | str, epoch: int, n_epochs: int) -> float:
    """Return the momentum of an epoch.

    ``"auto"`` is 0.5 at first and 0.9 once progress has settled (Hinton 2010, section 9): after five
    epochs, or a fifth of a run shorter than 25 epochs.

    Parameters
    ----------
    momentum : float or "auto"
    epoch : int
        Epochs done before this one.
    n_epochs : int
        Length of the whole run.

    Examples
    --------
    >>> [momentum_at("auto", epoch, 10) for epoch in range(4)]
    [0.5, 0.5, 0.9, 0.9]
    """
    if isinstance(momentum, str):
        return 0.5 if epoch < min(5, 0.2 * n_epochs) else 0.9
    return momentum
