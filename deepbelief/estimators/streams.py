"""Random streams of fitted estimators: one for each call that draws from a model."""

import threading

import numpy as np

from deepbelief.seeds import run_seed, stream
from deepbelief.typing import Estimator, RandomState

_NUMBERING = threading.Lock()  # a lock of the module, because pickles and clones of an estimator cannot contain one


def next_stream(estimator: Estimator, purpose: str, random_state: RandomState) -> np.random.SeedSequence:
    """Return the seed of the next draw from a fitted model.

    Parameters
    ----------
    estimator : fitted estimator
        It has the seed of its run in ``_seed`` and the number of draws so far in ``_draws``.
    purpose : str
        Name of the stream.
    random_state : int, Generator, RandomState or None
        None: the next stream of the model; threads that share the model receive different streams.

    Returns
    -------
    numpy.random.SeedSequence
    """
    if random_state is not None:
        return stream(run_seed(random_state), purpose)
    with _NUMBERING:
        number = estimator._draws
        estimator._draws = number + 1
    return stream(estimator._seed, purpose, number)
