"""Bounds and choices of settings: one table for estimators and the command line."""

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deepbelief.errors import SettingError


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
    """

    low: float
    high: float = math.inf
    integer: bool = False
    auto: bool = False
    open_low: bool = False
    open_high: bool = False


COUNT = Bounds(1, integer=True)
BOUNDS: Mapping[str, Bounds] = {
    "alpha": Bounds(0),
    "averaging": Bounds(0, 1),
    "batch_size": Bounds(1, integer=True, auto=True),
    "betas": COUNT,
    "corruption_level": Bounds(0),
    "dropout": Bounds(0, 1, open_high=True),
    "head_epochs": Bounds(0, integer=True),
    "holdout": Bounds(0, 1, open_low=True, open_high=True),
    "input_dropout": Bounds(0, 1, open_high=True),
    "l1": Bounds(0),
    "learning_rate": Bounds(0, auto=True, open_low=True),
    "learning_rate_init": Bounds(0, auto=True, open_low=True),
    "limit": COUNT,
    "max_grad_norm": Bounds(0, open_low=True),
    "max_iter": Bounds(1, integer=True, auto=True),
    "max_norm": Bounds(0, open_low=True),
    "momentum": Bounds(0, 1, auto=True, open_high=True),
    "n_chains": Bounds(1, integer=True, auto=True),
    "n_components": COUNT,
    "n_frozen": Bounds(0, integer=True),
    "n_iter": Bounds(1, integer=True, auto=True),
    "n_passes": COUNT,
    "n_recurrent": COUNT,
    "n_runs": COUNT,
    "n_samples": COUNT,
    "n_steps": COUNT,
    "pretrain_frames": Bounds(0, integer=True),
    "pretrain_recurrent": Bounds(0, integer=True),
    "pretrained_lr_factor": Bounds(0),
    "random_state": Bounds(0, integer=True),
    "refine": Bounds(0, integer=True),
    "sparsity_cost": Bounds(0),
    "sparsity_target": Bounds(0, 1, open_low=True, open_high=True),
    "temperature": Bounds(0, open_low=True),
    "truncation": COUNT,
    "validation_fraction": Bounds(0, 1, open_high=True),
    "weight_decay": Bounds(0),
}


PRETRAININGS = ("rbm", "denoising", "none")
"""How layers are trained before the whole is: as RBMs, as denoising autoencoders, or not at all."""


def check_setting(name: str, value: Any) -> None:
    """Refuse a value outside the bounds of its setting.

    Raises
    ------
    SettingError

    Examples
    --------
    >>> check_setting("momentum", 1)
    Traceback (most recent call last):
    deepbelief.errors.SettingError: momentum must be a number >= 0 and < 1 or auto, got 1
    """
    check_number(name, value, **asdict(BOUNDS[name]))


def check_number(
    name: str, value: Any, *, low: float, high: float = math.inf, integer: bool = False, auto: bool = False,
    open_low: bool = False, open_high: bool = False,
) -> None:  # fmt: skip
    """Refuse a setting that is not a number within bounds (or ``"auto"`` where allowed).

    Raises
    ------
    SettingError
    """
    if auto and isinstance(value, str) and value == "auto":
        return
    kind = numbers.Integral if integer else numbers.Real
    number: Any = value if isinstance(value, kind) and not isinstance(value, bool) else math.nan
    above = number > low if open_low else number >= low
    below = number < high if open_high or high == math.inf else number <= high
    if not (above and below):
        word = "an integer" if integer else "a number"
        bounds = f"{'>' if open_low else '>='} {low:g}"
        if math.isfinite(high):
            bounds += f" and {'<' if open_high else '<='} {high:g}"
        message = f"{{setting}} must be {word} {bounds}{' or auto' if auto else ''}, got {value!r}"
        raise SettingError(message, setting=name, value=value)


def check_sizes(sizes: Any) -> tuple[int, ...]:
    """Return hidden layer sizes as a tuple of positive integers."""
    values = (sizes,) if isinstance(sizes, numbers.Integral) else sizes
    good = (
        (isinstance(values, Sequence) or hasattr(values, "tolist")) and not isinstance(values, str) and len(values) > 0
    )
    if not good or not all(isinstance(s, numbers.Integral) and not isinstance(s, bool) and int(s) > 0 for s in values):
        raise SettingError(
            f"{{setting}} must be positive integers, for instance (500, 250), or 'auto', got {sizes!r}",
            setting="hidden_layer_sizes",
            value=sizes,
        )
    return tuple(int(s) for s in values)


def check_steps(steps: Any) -> int | tuple[int, int]:
    """Return a number of Gibbs steps, or that of the first and of the last epoch, after refusing what is neither."""
    if isinstance(steps, (tuple, list)) and len(steps) == 2:
        for each in steps:
            check_number("gibbs_steps", each, low=1, integer=True)
        return int(steps[0]), int(steps[1])
    if isinstance(steps, (tuple, list)):
        raise SettingError(
            f"{{setting}} must be a number, or that of the first and the last epoch, got {steps!r}",
            setting="gibbs_steps", value=steps,
        )  # fmt: skip
    check_number("gibbs_steps", steps, low=1, integer=True)
    return int(steps)
