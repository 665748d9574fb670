"""Learning Bars-and-Stripes: how near the exact likelihood comes to that of the patterns themselves."""

import itertools

import exact
import numpy as np
import pytest

from deepbelief import RBM

pytestmark = pytest.mark.slow


def bars_and_stripes(n):
    """The distinct patterns of n x n pixels whose rows, or whose columns, are all alike."""
    lines = np.array(list(itertools.product([0.0, 1.0], repeat=n)))
    bars = np.repeat(lines[:, None, :], n, axis=1).reshape(len(lines), -1)
    stripes = np.repeat(lines[:, :, None], n, axis=2).reshape(len(lines), -1)
    return np.unique(np.concatenate([bars, stripes]), axis=0)


CASES = {
    "exact": (4, 8, 0.5, {"gradient": "exact", "learning_rate": 1.0, "momentum": 0.95, "n_iter": 1200}),
    "pt": (
        3, 8, 1.5, {"gradient": "pt", "learning_rate": 1.0, "n_chains": 50, "n_iter": 1000, "schedule": "constant",
                    "averaging": 0.3},
    ),
    "pcd10 with 500 chains": (
        3, 8, 3.0, {"gradient": "pcd", "gibbs_steps": 10, "learning_rate": 1.0, "n_chains": 500, "n_iter": 1200}
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_patterns_are_learned_to_within_some_nats_of_the_bound(case):
    """Of 4 x 4 pixels by the exact gradient, of 3 x 3 by the others; benchmarks/likelihood.py has the whole of it."""
    side, n_hidden, nats, settings = CASES[case]
    X = bars_and_stripes(side)
    assert len(X) == {3: 14, 4: 30}[side]
    bound = -len(X) * np.log(len(X))
    rbm = RBM(n_hidden, batch_size=len(X), centered=True, weight_decay=0.0, random_state=0, **settings).fit(X)
    assert bound - nats < len(X) * exact.log_likelihood(rbm.weights_, X) < bound
