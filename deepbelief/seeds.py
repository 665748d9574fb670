"""Named random streams: every draw in training belongs to a stream derived from the seed."""

import zlib
from collections.abc import Sequence

import numpy as np

from deepbelief.errors import invalid
from deepbelief.typing import RandomState

Key = int | str


def stream(seed: int | Sequence[int], *key: Key) -> np.random.SeedSequence:
    """Return the seed of the random stream with this name.

    Parameters
    ----------
    seed : int or sequence of int
        The seed of the whole run.
    *key : int or str
        The name of the stream, for instance ``(layer, epoch, "sampling")``.

    Returns
    -------
    numpy.random.SeedSequence
        Equal for equal arguments, statistically independent for different ones.

    Examples
    --------
    >>> a, b = (np.random.default_rng(stream(7, 0, "order")).random() for _ in range(2))
    >>> a == b
    True
    """
    words = tuple(k if isinstance(k, int) else zlib.crc32(k.encode()) for k in key)
    return np.random.SeedSequence(seed, spawn_key=words)


def host_rng(seed: int | Sequence[int], *key: Key) -> np.random.Generator:
    """Return a NumPy generator on the named stream (initial weights, permutations)."""
    return np.random.default_rng(stream(seed, *key))


def run_seed(random_state: RandomState) -> int:
    """Turn scikit-learn's ``random_state`` into the seed of one run.

    An integer is used as it is; a generator gives its next number. None stands for NumPy's global generator, as in
    scikit-learn: it starts from fresh entropy, or where ``np.random.seed`` put it.
    """
    if random_state is None:
        random_state = np.random.mtrand._rand
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    wanted = "an int, a generator or None"
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        if random_state >= 0:
            return int(random_state)
        wanted = ">= 0"
    raise invalid("random_state", f"{wanted}", random_state)
