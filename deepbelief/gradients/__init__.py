"""Estimates of the gradient of -log p(v), and the gradient of a denoising autoencoder.

For a restricted Boltzmann machine the gradient is the mean of dE/dparams over the data (positive phase) minus its mean
over the model (negative phase). The positive phase is exact; the estimators differ in how they sample the negative
phase. A denoising autoencoder has the same parameters, and its gradient is exact for the noise that was drawn.
"""

import inspect
from dataclasses import is_dataclass

from deepbelief.bounds import check_number
from deepbelief.errors import SettingError, check_members, unknown
from deepbelief.gradients.contrastive import CD, MFCD
from deepbelief.gradients.denoising import CORRUPTIONS, Denoising
from deepbelief.gradients.enumeration import Exact
from deepbelief.gradients.gradient_estimator import (
    Arrays,
    Controlled,
    Gradient,
    GradientEstimator,
    Persistent,
    PhaseBuffers,
)
from deepbelief.gradients.persistent import FPCD, PCD
from deepbelief.gradients.tempering import PT
from deepbelief.gradients.trajectory import PTT

__all__ = [
    "CD",
    "CORRUPTIONS",
    "FPCD",
    "GRADIENTS",
    "MFCD",
    "PCD",
    "PT",
    "PTT",
    "Arrays",
    "Controlled",
    "Denoising",
    "Exact",
    "Gradient",
    "GradientEstimator",
    "Persistent",
    "PhaseBuffers",
    "get_gradient",
]  # fmt: skip

GRADIENTS: dict[str, type[GradientEstimator]] = {
    "cd": CD,
    "mfcd": MFCD,
    "pcd": PCD,
    "fpcd": FPCD,
    "pt": PT,
    "ptt": PTT,
    "exact": Exact,
}
"""Gradient estimators by name; to add one, write a class and add an entry."""


def get_gradient(gradient: str | GradientEstimator, gibbs_steps: int | tuple[int, int] = 1) -> GradientEstimator:
    """Return the estimator of this name; an instance is returned as it is.

    Parameters
    ----------
    gradient : str or GradientEstimator
        Name in the registry, or an instance, which is returned as it is.
    gibbs_steps : int
        Number of steps, for an estimator given by name.

    Returns
    -------
    GradientEstimator

    Raises
    ------
    SettingError
        If there is no such name.

    Examples
    --------
    >>> get_gradient("pcd", 5).gibbs_steps
    5
    """
    found = _named(gradient, gibbs_steps) if isinstance(gradient, str) else gradient
    check_members("gradient", found, GradientEstimator, GRADIENTS)
    if isinstance(found.gibbs_steps, tuple) and not is_dataclass(found):
        raise SettingError(f"gradient={type(found).__name__} must be a dataclass, or have one number of `gibbs_steps`")
    for steps in found.gibbs_steps if isinstance(found.gibbs_steps, tuple) else (found.gibbs_steps,):
        check_number("gibbs_steps", steps, low=0, integer=True)
    return found


def _named(gradient: str, gibbs_steps: int | tuple[int, int]) -> GradientEstimator:
    if gradient not in GRADIENTS:
        raise SettingError(unknown("gradient", gradient, GRADIENTS))
    kind = GRADIENTS[gradient]
    try:
        inspect.signature(kind).bind(gibbs_steps=gibbs_steps)
    except TypeError as error:
        raise SettingError(
            f"gradient={gradient!r}: {kind.__name__} must take `gibbs_steps`, as a field `gibbs_steps: int = 1`, and "
            f"have a default for each other setting ({error})"
        ) from error
    return kind(gibbs_steps=gibbs_steps)  # type: ignore[call-arg]
