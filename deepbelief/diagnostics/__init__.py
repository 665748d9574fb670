"""Checks of a model before training: gradients, capacity to learn, learning rate and mixing."""

from deepbelief.diagnostics.differences import GradientCheck, ParameterCheck
from deepbelief.diagnostics.gradient_checking import gradient_check
from deepbelief.diagnostics.mixing import MixingReport, mixing_report
from deepbelief.diagnostics.overfit import OverfitCheck, overfit_check
from deepbelief.diagnostics.rate_sweep import learning_rate_sweep
from deepbelief.diagnostics.sweep_result import LearningRateSweep, SweepRow

__all__ = [
    "GradientCheck",
    "LearningRateSweep",
    "MixingReport",
    "OverfitCheck",
    "ParameterCheck",
    "SweepRow",
    "gradient_check",
    "learning_rate_sweep",
    "mixing_report",
    "overfit_check",
]
