"""Likelihood of rows under a restricted Boltzmann machine: exact, by annealed importance sampling, or by proxy."""

from deepbelief.likelihood.ais import AISEstimate, ais_log_z, reverse_ais_log_z
from deepbelief.likelihood.bound import has_bound
from deepbelief.likelihood.exact import exact_log_z, exact_samples
from deepbelief.likelihood.pseudo import pseudo_log_likelihood
from deepbelief.likelihood.rows import LogLikelihood, log_likelihood, unnormalised

__all__ = [
    "AISEstimate",
    "LogLikelihood",
    "ais_log_z",
    "exact_log_z",
    "exact_samples",
    "has_bound",
    "log_likelihood",
    "pseudo_log_likelihood",
    "reverse_ais_log_z",
    "unnormalised",
]
