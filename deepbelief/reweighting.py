"""Sampling of tables with the pairwise moments of given rows: weighted samples of a machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.machine import Machine
from deepbelief.sampling import at_temperature, fill_in, run_chains
from deepbelief.sources.schema import Schema
from deepbelief.stack import Weights
from deepbelief.typing import Array

N_CHAINS = 1_000  # chains whose states are the pool, at several times
N_POOL = 10_000  # rows of the machine that receive weights at a time
POOL_SHARE = 4  # pool rows for each row that is returned
PAUSE = 20  # states of a chain enter the pool this share of the initial steps apart
MAX_ITERATIONS = 500  # of L-BFGS; tables of 7 to 14 columns need 20 to 200
TOLERANCE = 1e-4  # of a moment, in standard deviations
LEAST_VARIANCE = 1e-12  # of a feature; others are constant in the given rows


@dataclass(frozen=True)
class PairMoments:
    """Features of the columns of a table, whose means and products of pairs are compared.

    A number has two features, the normal score t of its bin and t**2 - 1; one with two values has only the first. A
    category has an indicator of each value but the first. A column with units for "present" and "missing" has an
    indicator of "missing", and its other features are 0 where its value is missing.

    Parameters
    ----------
    scores : ndarray of shape (n_units, n_features)
        Feature of a row: the sum of these over its units.
    column : ndarray of int of shape (n_features,)
        Number of the feature's column; products of features of one column are not used.
    present : ndarray of int of shape (n_features,)
        Unit that is 1 where the feature counts; -1: it always does.
    """

    scores: Array
    column: Array
    present: Array

    @classmethod
    def of(cls, schema: Schema) -> "PairMoments":
        """Return the features of a schema's columns."""
        features: list[tuple[int, Array, int, int]] = []
        for i, (start, column) in enumerate(zip(schema.starts, schema.used, strict=True)):
            gap = schema.gaps.get(column.name, -1)
            values = np.eye(column.width)[1:]
            if column.kind == "number":
                t = np.array(column.scores)
                values = np.array([t] if len(t) == 2 else [t, t**2 - 1])
            features += [(start, each, i, gap) for each in values]
            features += [] if gap < 0 else [(gap, np.array([0.0, 1.0]), i, -1)]
        scores = np.zeros((schema.n_units, len(features)))
        for k, (start, each, _, _) in enumerate(features):
            scores[start : start + len(each), k] = each
        return cls(scores, np.array([each[2] for each in features]), np.array([each[3] for each in features]))

    def features(self, units: Array) -> Array:
        """Return the features of rows of visible units, of shape (n_rows, n_features)."""
        found: Array = units.astype(np.float64) @ self.scores
        counts: Array = np.where(self.present < 0, 1.0, units[:, self.present])
        return found * counts


class Tilt:
    """Factors of rows by which a sample gets the pairwise moments of given rows.

    The distribution p of the drawn rows becomes p(v) exp(lambda . f(v)) / Z. Here f(v) contains the features of
    `PairMoments`, standardised on the given rows, and their products for each pair of columns. lambda maximises the
    likelihood of the given rows under a standard normal prior, where sums over the drawn rows stand for p. The smaller
    the number of given rows, the closer lambda is to 0.

    Parameters
    ----------
    moments : PairMoments
    drawn : ndarray of shape (n_drawn, n_units)
        Rows of the distribution, each unit 0 or 1.
    given : ndarray of shape (n_given, n_units)
        Rows whose moments are wanted. A feature that is constant in them is left out.
    """

    def __init__(self, moments: PairMoments, drawn: Array, given: Array) -> None:
        from scipy.optimize import minimize

        features = moments.features(given)
        used = np.flatnonzero(features.var(axis=0) > LEAST_VARIANCE)
        self._moments = PairMoments(moments.scores[:, used], moments.column[used], moments.present[used])
        self._mean, self._deviation = features.mean(axis=0)[used], features.std(axis=0)[used]
        first, second = np.triu_indices(len(used), 1)
        apart = self._moments.column[first] != self._moments.column[second]
        self._pairs = first[apart], second[apart]
        z, n = self._standardised(drawn), len(given)
        target = self._means(self._standardised(given), np.full(n, 1 / n))

        def loss(strength: Array) -> tuple[float, Array]:
            """Return the negative log posterior per given row, and its gradient."""
            log_z, p = _normalised(self._exponents(z, strength))
            prior = strength / n
            return log_z - float(strength @ (target - prior / 2)), self._means(z, p) - target + prior

        how = {"maxiter": MAX_ITERATIONS, "gtol": TOLERANCE}
        self.strength: Array = minimize(loss, np.zeros(len(target)), jac=True, method="L-BFGS-B", options=how).x

    def probabilities(self, units: Array) -> Array:
        """Return the factors of drawn rows, divided by their sum."""
        return _normalised(self._exponents(self._standardised(units), self.strength))[1]

    def _standardised(self, units: Array) -> Array:
        """Return the features in use, standardised."""
        return np.asarray((self._moments.features(units) - self._mean) / self._deviation)

    def _means(self, z: Array, p: Array) -> Array:
        """Return the weighted means of f(v)."""
        return np.concatenate([p @ z, (z.T @ (p[:, None] * z))[self._pairs]])

    def _exponents(self, z: Array, strength: Array) -> Array:
        """Return lambda . f(v) of each row."""
        k = z.shape[1]
        couplings = np.zeros((k, k))
        couplings[self._pairs] = strength[k:]
        return np.asarray(z @ strength[:k] + ((z @ couplings) * z).sum(axis=1))


def _normalised(exponents: Array) -> tuple[float, Array]:
    """Return the log of the mean of exponentials, and the exponentials divided by their sum."""
    largest = exponents.max()
    p = np.exp(exponents - largest)
    return float(np.log(p.mean()) + largest), p / p.sum()


def matched_rows(
    weights: Weights, states: Array, given: Array, schema: Schema, n_samples: int, n_steps: int, bk: Backend, rng: Rng,
    *, temperature: float, random: np.random.Generator,
) -> Array:  # fmt: skip
    """Return rows of visible units that are drawn from a machine's samples by the factors of a `Tilt`.

    Parameters
    ----------
    weights : Weights
    states : ndarray of shape (n_states, n_hidden)
        Hidden states to start from, used in turn.
    given : ndarray of shape (n_given, n_units)
        Rows whose moments are wanted. NaN is missing, and drawn from the machine given the rest of the row.
    schema : Schema
    n_samples : int
    n_steps : int
        Gibbs steps before the first rows of the pool.
    bk : Backend
    rng : Rng
    temperature : float
        Divisor of the machine's energy.
    random : Generator

    Returns
    -------
    ndarray of shape (n_samples, n_units)
        Each unit 0 or 1.
    """
    weights = at_temperature(weights, temperature)
    if np.isnan(given).any():
        given = fill_in(weights, given, bk, rng, draw=True)
    pools = _pools(Machine(weights, bk), np.resize(states, (N_CHAINS, weights.n_hidden)), n_steps, rng)
    moments, found = PairMoments.of(schema), []
    for start in range(0, n_samples, N_POOL // POOL_SHARE):
        n, pool = min(n_samples - start, N_POOL // POOL_SHARE), next(pools)
        # Each pool has its own lambda: rare pairs of values that one pool lacks have arbitrary factors in another.
        tilt = Tilt(moments, pool, given)
        # Systematic resampling: each row occurs as often as expected, rounded up or down.
        places = np.searchsorted(np.cumsum(tilt.probabilities(pool)), (np.arange(n) + random.random()) / n)
        found.append(pool[random.permutation(np.minimum(places, len(pool) - 1))])
    return np.concatenate(found)


def _pools(machine: Machine, states: Array, n_steps: int, rng: Rng) -> Iterator[Array]:
    """Yield drawn rows of visible units without end, N_POOL at a time."""
    bk = machine.bk
    h = bk.asarray(states, dtype=machine.dtype).copy()
    for i in count():
        rows = []
        for j in range(N_POOL // N_CHAINS):
            h = run_chains(machine, h, n_steps if i == j == 0 else max(1, n_steps // PAUSE), rng)
            v = bk.xp.empty((N_CHAINS, machine.W.shape[0]), machine.dtype)
            rows.append(bk.to_numpy(machine.sample_visible(h, rng, v)))
        yield np.concatenate(rows)
