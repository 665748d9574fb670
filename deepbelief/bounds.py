"""Bounds and choices of settings: one table for estimators and the command line."""

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepbelief.errors import invalid


@dataclass(frozen=True)
class Bounds:
    """Range of a number.

    Parameters
    ----------
    low, high : float
    integer : bool
    auto : bool
        Whether ``"auto"`` is allowed too.
    open_low, open_high : bool
        Whether the ends themselves are excluded.
    none : bool
        Whether None is allowed too.
    words : tuple of str
        Further words that are allowed.
    """

    low: float
    high: float = math.inf
    integer: bool = False
    auto: bool = False
    open_low: bool = False
    open_high: bool = False
    none: bool = False
    words: tuple[str, ...] = ()

    @property
    def all_words(self) -> tuple[str, ...]:
        """Words that may be given instead of a number."""
        return ("auto", *self.words) if self.auto else self.words

    def checked(self, name: str, value: object) -> Any:
        """Return the value of a setting as a Python number, or refuse it.

        Raises
        ------
        SettingError

        Examples
        --------
        >>> Bounds(0, 1, open_high=True, words=("ramp",)).checked("momentum", 1)
        Traceback (most recent call last):
        deepbelief.errors.SettingError: momentum must be a number >= 0 and < 1 or ramp, got 1
        """
        words = self.all_words
        if (value is None and self.none) or (isinstance(value, str) and value in words):
            return value
        kind = numbers.Integral if self.integer else numbers.Real
        number: Any = value if isinstance(value, kind) and not isinstance(value, bool) else math.nan
        above = number > self.low if self.open_low else number >= self.low
        below = number < self.high if self.open_high or self.high == math.inf else number <= self.high
        if not (above and below):
            others = "".join(f" or {word}" for word in (*words, *(("None",) if self.none else ())))
            raise invalid(name, f"{self}{others}", value)
        return int(number) if self.integer else float(number)

    def __str__(self) -> str:
        text = f"{'an integer' if self.integer else 'a number'} {'>' if self.open_low else '>='} {self.low:g}"
        return f"{text} and {'<' if self.open_high else '<='} {self.high:g}" if math.isfinite(self.high) else text

    def described(self) -> str:
        """Return the type as a docstring gives it."""
        others = [*(f'"{word}"' for word in self.all_words), *(("None",) if self.none else ())]
        return " or ".join(["int" if self.integer else "float", *others])


COUNT = Bounds(1, integer=True)
AUTOMATIC_COUNT = Bounds(1, integer=True, auto=True)
RATE = Bounds(0, auto=True, open_low=True)
BOUNDS: Mapping[str, Bounds] = {
    "betas": COUNT,
    "burn_in": Bounds(0, integer=True),
    "holdout": Bounds(0, 1, open_low=True, open_high=True),
    "limit": COUNT,
    "n_elements": COUNT,
    "n_runs": COUNT,
    "n_samples": COUNT,
    "n_steps": COUNT,
    "n_draws": COUNT,
    "random_state": Bounds(0, integer=True),
    "refine": Bounds(0, integer=True),
    "temperature": Bounds(0, open_low=True),
}
"""Numerical arguments of methods and commands; settings of estimators are in `deepbelief.hyperparameters`."""


PRETRAININGS = ("rbm", "denoising", "none")
"""Ways of pretraining layers: as RBMs, as denoising autoencoders, or not at all."""


def check_number(name: str, value: object, *, low: float, **more: Any) -> None:
    """Refuse a setting that is not a number within bounds, as `Bounds` takes them.

    Raises
    ------
    SettingError
    """
    Bounds(low, **more).checked(name, value)


def check_fields(strategy: object, bounds: Mapping[str, Bounds]) -> None:
    """Refuse a strategy with a field out of its bounds; fields that it lacks are skipped.

    Raises
    ------
    SettingError
    """
    for name, allowed in bounds.items():
        if hasattr(strategy, name):
            allowed.checked(name, getattr(strategy, name))


def check_sizes(sizes: Any) -> tuple[int, ...]:
    """Return hidden layer sizes as a tuple of positive integers."""
    values = (sizes,) if isinstance(sizes, numbers.Integral) else sizes
    good = (
        (isinstance(values, Sequence) or hasattr(values, "tolist")) and not isinstance(values, str) and len(values) > 0
    )
    if not good or not all(isinstance(s, numbers.Integral) and not isinstance(s, bool) and int(s) > 0 for s in values):
        raise invalid("hidden_layer_sizes", "positive integers, for instance (500, 250), or 'auto'", sizes)
    return tuple(int(s) for s in values)


def check_steps(steps: Any) -> int | tuple[int, int] | str:
    """Return a number of Gibbs steps, that of the first and of the last epoch, or "auto"; refuse anything else."""
    if isinstance(steps, str) and steps == "auto":
        return steps
    if isinstance(steps, (tuple, list)) and len(steps) == 2:
        for each in steps:
            check_number("gibbs_steps", each, low=1, integer=True)
        return int(steps[0]), int(steps[1])
    if isinstance(steps, (tuple, list)):
        raise invalid("gibbs_steps", "a number, or that of the first and the last epoch", steps)
    check_number("gibbs_steps", steps, low=1, integer=True)
    return int(steps)
