"""Likelihoods of rows with missing values, against sums over every state, for every pattern of holes."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from exact import free_energy, log_z, states, tiny, visible_states
from tables import case_by_case

from deepbelief import RBM
from deepbelief.errors import DataError
from deepbelief.likelihood import log_likelihood
from deepbelief.likelihood.exact import double_machine
from deepbelief.likelihood.marginal import marginal_log_p

KINDS = ("bernoulli", "softmax:3,2", "gaussian", "labelled:bernoulli,3", "labelled:softmax:2,3")


def patterns(visible, n=5):
    """Return every pattern of missing units, by column."""
    sizes = {"softmax:3,2": (3, 2), "labelled:bernoulli,3": (1, 1, 3), "labelled:softmax:2,3": (2, 3)}
    sizes = sizes.get(visible, (1,) * n)
    for gone in itertools.product([False, True], repeat=len(sizes)):
        yield np.repeat(gone, sizes)


def truth(weights, row, free):
    """Return log p(what is there) of one row by the sum over every state."""
    if weights.visible == "gaussian":
        H = states(weights.n_hidden)
        field = H @ weights.W.T
        terms = H @ weights.hbias + (field * row - (row - weights.vbias) ** 2 / 2)[:, ~free].sum(axis=1)
        terms += (field * weights.vbias + field**2 / 2 + np.log(2 * np.pi) / 2)[:, free].sum(axis=1)
        return np.logaddexp.reduce(terms) - log_z(weights)
    V = visible_states(weights)
    V = V[(V[:, ~free] == row[~free]).all(axis=1)]
    return np.logaddexp.reduce(-free_energy(weights, V)) - log_z(weights)


def some_row(visible, rng):
    return {
        "bernoulli": lambda: (rng.random(5) < 0.5).astype(float),
        "gaussian": lambda: rng.normal(size=5),
        "softmax:3,2": lambda: np.concatenate([np.eye(3)[rng.integers(3)], np.eye(2)[rng.integers(2)]]),
        "labelled:softmax:2,3": lambda: np.concatenate([np.eye(2)[rng.integers(2)], np.eye(3)[rng.integers(3)]]),
        "labelled:bernoulli,3": lambda: np.concatenate([(rng.random(2) < 0.5), np.eye(3)[rng.integers(3)]]),
    }[visible]()


@case_by_case("visible", KINDS)
def test_every_pattern_of_holes(visible, bk):
    """Exact to 1e-10; the bound of the mean field lies below, and not far."""
    weights, rng = tiny(5, 3, visible=visible, spread=0.8, seed=2), np.random.default_rng(0)
    machine, below = double_machine(weights, bk), []
    for free in patterns(visible):
        row = some_row(visible, rng)
        holes = np.where(free, np.nan, row)[None]
        found = log_likelihood(weights, holes, backend=bk)
        right = truth(weights, row, free)
        assert abs(found.rows[0] - right) < 1e-10
        assert not found.is_bound
        bound = bk.to_numpy(marginal_log_p(machine, bk.asarray(holes), exact=False))[0] - log_z(weights)
        below.append(right - bound)
    assert min(below) > -1e-10
    assert max(below) < 1.5
    assert below[0] == pytest.approx(0, abs=1e-10)  # nothing is missing


@case_by_case("visible", ["bernoulli", "softmax:3,2", "labelled:bernoulli,3"])
def test_completed_rows_give_the_gradient_of_the_marginal_likelihood(visible, bk):
    """The engine's statistics of completed rows less those of the model, against central differences, below 1e-6."""
    weights, rng, step = tiny(5, 3, visible=visible, spread=0.8, seed=4), np.random.default_rng(1), 1e-5
    machine, V = double_machine(weights, bk), visible_states(weights)
    out = tuple(bk.xp.empty_like(p) for p in machine.params)

    def statistics(rows):
        v = bk.asarray(rows)
        p = np.exp(-bk.to_numpy(machine.free_energy(v)))
        product, *biases = machine.statistics(v, machine.mean_hidden(v), bk.asarray((p / p.sum())[:, None]), out)
        return [bk.to_numpy(each).copy() for each in (product.array(bk), *biases)]

    model = statistics(V)
    for free in patterns(visible):
        row = some_row(visible, rng)
        found = [a - b for a, b in zip(statistics(V[(V[:, ~free] == row[~free]).all(axis=1)]), model, strict=True)]
        for name, gradient in zip(("W", "vbias", "hbias"), found, strict=True):
            array = getattr(weights, name)
            for place in np.ndindex(array.shape):
                moved = [array.copy(), array.copy()]
                for one, sign in zip(moved, (1, -1), strict=True):
                    one[place] += sign * step
                ends = [truth(replace(weights, **{name: one}), row, free) for one in moved]
                assert abs((ends[1] - ends[0]) / (2 * step) - gradient[place]) < 1e-6


def test_scores_of_an_rbm_with_holes():
    rng = np.random.default_rng(0)
    X = (rng.random((60, 5)) < 0.4).astype(float)
    X[:, 1] = X[:, 0]
    holes = np.where(rng.random(X.shape) < 0.3, np.nan, X)
    few, many = (RBM(n, random_state=0, n_iter=5).fit(X) for n in (4, 20))
    np.testing.assert_allclose(-few.free_energy(holes), few.log_likelihood(holes).rows + few.log_likelihood(X).log_z,
                               rtol=1e-4)  # fmt: skip
    assert many.log_likelihood(holes).is_bound
    assert not many.log_likelihood(X).is_bound
    nothing = np.full((1, 5), np.nan)
    assert few.log_likelihood(nothing).mean == pytest.approx(0, abs=1e-9)
    assert few.score_samples(nothing).tolist() == [0]
    np.testing.assert_allclose(few.score_samples(np.vstack([X[:3], holes]))[:3], few.score_samples(X[:3]))
    with pytest.raises(DataError, match="missing in part"):
        log_likelihood(tiny(5, 3, visible="softmax:3,2"), np.array([[1, np.nan, 0, 1, 0]]))
