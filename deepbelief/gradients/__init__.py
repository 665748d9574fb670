"""Estimates of the gradient of -log p(v), and the gradient of a denoising autoencoder.

For a restricted Boltzmann machine the gradient is the mean of dE/dparams over the data (positive phase) minus its mean
over the model (negative phase). The positive phase is exact; the estimators differ in how they sample the negative
phase. A denoising autoencoder has the same parameters, and its gradient is exact for the noise that was drawn.
"""

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
"""Gradient estimators by name: a new one is one class and one entry."""


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
    if not isinstance(gradient, str):
        check_members("gradient", gradient, GradientEstimator, GRADIENTS)
        return gradient
    if gradient not in GRADIENTS:
        raise SettingError(unknown("gradient", gradient, GRADIENTS))
    return GRADIENTS[gradient](gibbs_steps=gibbs_steps)  # type: ignore[call-arg]
