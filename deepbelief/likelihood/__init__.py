"""Likelihood of rows under a restricted Boltzmann machine: exact, by annealed importance sampling, or by proxy."""

from deepbelief.likelihood.ais import AISEstimate, ais_log_z, reverse_ais_log_z
from deepbelief.likelihood.bound import has_bound
from deepbelief.likelihood.exact import exact_log_z, exact_samples
from deepbelief.likelihood.pseudo import conditional_log_likelihoods, pseudo_log_likelihood
from deepbelief.likelihood.row_likelihood import LogLikelihood, log_likelihood, unnormalised
from deepbelief.likelihood.tempered import LadderEstimate, check_agreement, ladder_log_z

__all__ = [
    "AISEstimate",
    "LadderEstimate",
    "LogLikelihood",
    "ais_log_z",
    "check_agreement",
    "conditional_log_likelihoods",
    "exact_log_z",
    "exact_samples",
    "has_bound",
    "ladder_log_z",
    "log_likelihood",
    "pseudo_log_likelihood",
    "reverse_ais_log_z",
    "unnormalised",
]
