"""Mixing of Gibbs chains: autocorrelation, mode changes, and samples compared with data over sampling time."""

from dataclasses import dataclass

import numpy as np

from deepbelief.backends import Backend, Rng, get_backend
from deepbelief.bounds import check_number
from deepbelief.errors import DataError
from deepbelief.evaluation.families import pearson
from deepbelief.likelihood.exact import weights_of
from deepbelief.machine import Machine
from deepbelief.sampling import first_states
from deepbelief.seeds import run_seed, stream
from deepbelief.sources import as_source
from deepbelief.stack import Weights
from deepbelief.typing import Array, Estimator, RandomState, RowsLike

MAX_ROWS = 2000  # of the data
MAX_COLUMNS = 200  # columns of the largest variance, all pairs of which are compared
MAX_NEIGHBOURS = 1000  # maximum number of rows and samples for nearest neighbours
N_COMPONENTS = 3  # principal components of the rows to which chains are projected
FALL = 0.05  # drop of the correlation from its maximum above which a model counts as trained out of equilibrium
AVERAGED = 3  # neighbouring sampling times, whose correlations are averaged before they are compared
MIN_ROWS = 10
SHORT_SHARE = 0.1  # share of the recorded sweeps above which an autocorrelation time is unreliable


@dataclass(frozen=True, eq=False)
class MixingReport:
    """Result of `mixing_report`.

    Attributes
    ----------
    sweeps : ndarray of int
        Numbers of Gibbs steps from independent columns after which samples are compared with the data.
    pair_correlation : ndarray
        Correlation, over all pairs of columns, of the covariances of the samples with those of the data.
    ceiling : float
        The same correlation between two halves of the rows.
    autocorrelation_time : ndarray
        Integrated, in sweeps: of the free energy, and of projections to the first principal components of the rows.
    mode_changes : float
        Changes of side along the first principal component, for each chain and 1,000 sweeps.
    aats : tuple of float
        Share of rows whose nearest neighbour is another row, and of samples whose nearest neighbour is another sample.
        Both are 0.5 for perfect samples. A low share of rows indicates copied rows; a high share of samples indicates
        modes with few rows (Yale et al. 2020).
    n_chains, n_sweeps : int
        Number of chains that were followed, and Gibbs steps of each.
    """

    sweeps: Array
    pair_correlation: Array
    ceiling: float
    autocorrelation_time: Array
    mode_changes: float
    aats: tuple[float, float]
    n_chains: int
    n_sweeps: int

    @property
    def out_of_equilibrium(self) -> bool:
        """Whether samples are closest to the data after some sampling time and move away later.

        The fall counts if it exceeds the disagreement between two halves of the rows.
        """
        smooth = np.convolve(self.pair_correlation, np.full(AVERAGED, 1 / AVERAGED), mode="valid")
        return bool(smooth.size and smooth.max() - smooth[-1] > max(FALL, 1 - self.ceiling))

    @property
    def mixes(self) -> bool:
        """Whether all autocorrelation times are short compared with the recorded sweeps."""
        return bool(self.autocorrelation_time.max() < SHORT_SHARE * self.n_sweeps)

    def __str__(self) -> str:
        """Return the findings, one a line."""
        n = len(self.sweeps)
        some = sorted({0, n // 4, n // 2, 3 * n // 4, n - 1})
        curve = ", ".join(f"{self.pair_correlation[i]:.3f} after {self.sweeps[i]}" for i in some)
        times = ", ".join(f"{time:.3g}" for time in self.autocorrelation_time[1:])
        slow = "" if self.mixes else "; the chains mix too slowly for these numbers: sample with method='pt'"
        lines = [
            f"pair covariances of {self.n_chains} samples with those of the rows: {curve} sweeps "
            f"(two halves of the rows: {self.ceiling:.3f})",
            f"autocorrelation time in sweeps: {self.autocorrelation_time[0]:.3g} of the free energy, {times} of the "
            f"principal components{slow}",
            f"mode changes: {self.mode_changes:.3g} per chain and 1,000 sweeps",
            f"nearest neighbours of the same kind: rows {self.aats[0]:.2f}, samples {self.aats[1]:.2f} (best: 0.50)",
        ]
        if self.out_of_equilibrium:
            best = self.sweeps[int(self.pair_correlation.argmax())]
            lines.append(
                f"trained out of equilibrium: samples are best after {best} sweeps. Train with gradient='ptt', or "
                "'pcd' at a lower learning rate."
            )
        return "\n".join(lines)


def mixing_report(
    model: Estimator, X: RowsLike, *, n_chains: int = 500, n_sweeps: int = 1000, backend: str | Backend = "numpy",
    random_state: RandomState = 0,
) -> MixingReport:  # fmt: skip
    """Report how the Gibbs chains of a model mix, and how close its samples come to the data over sampling time.

    Chains start from independent columns with the means of the training rows. Their samples are compared with the rows
    during ``n_sweeps`` sweeps, and their autocorrelation is recorded during another ``n_sweeps``.

    Parameters
    ----------
    model : fitted RBM or Weights
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_visible)
        Training rows, or held-out rows, in the units of the data; the first 2,000 are used.
    n_chains, n_sweeps : int
        Number of chains to follow, and Gibbs steps of each.
    backend : {"numpy", "cupy"} or Backend
    random_state : int, Generator, RandomState or None

    Returns
    -------
    MixingReport

    Raises
    ------
    DataError
        If there are fewer than 10 rows.
    SettingError

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Weights
    >>> X = np.random.default_rng(0).integers(0, 2, (100, 4))
    >>> model = Weights(np.zeros((4, 2)), np.zeros(4), np.zeros(2))
    >>> report = mixing_report(model, X, n_chains=50, n_sweeps=50)
    >>> report.sweeps.tolist()
    [1, 2, 3, 4, 7, 12, 19, 31, 50]
    """
    check_number("n_chains", n_chains, low=2, integer=True)
    check_number("n_sweeps", n_sweeps, low=2, integer=True)
    weights, bk = weights_of(model), get_backend(backend)
    source = as_source(X)
    if source.shape[0] < MIN_ROWS:
        raise DataError(f"`X` must have at least {MIN_ROWS} rows, got {source.shape[0]}")
    rows = np.asarray(weights.enter(source.take(slice(0, min(source.shape[0], MAX_ROWS)))), np.float64)
    rng = np.random.default_rng(0)
    rows = rows[rng.permutation(len(rows))]
    columns = np.argsort(-rows.var(axis=0), kind="stable")[:MAX_COLUMNS]
    half = len(rows) // 2
    seed = run_seed(random_state)
    chains = _Chains(weights, n_chains, bk, bk.rng(stream(seed, "mixing")))
    times = np.unique(np.geomspace(1, n_sweeps, 4 * int(np.ceil(np.log10(n_sweeps))) + 1).round().astype(int))
    found = [pair_correlation(chains.after(t)[:, columns], rows[:, columns]) for t in times]
    axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][:N_COMPONENTS].T
    series = chains.record(n_sweeps, rows.mean(axis=0), axes)
    sides = series[:, :, 1] > 0
    return MixingReport(
        times, np.array(found), pair_correlation(rows[:half, columns], rows[half:, columns]),
        np.array([autocorrelation_time(series[:, :, i]) for i in range(series.shape[2])]),
        float((sides[1:] != sides[:-1]).mean() * 1000),
        nearest_of_own_kind(rows[:MAX_NEIGHBOURS], chains.visible()[:MAX_NEIGHBOURS]), n_chains, n_sweeps,
    )  # fmt: skip


class _Chains:
    """Gibbs chains from independent columns."""

    def __init__(self, weights: Weights, n: int, bk: Backend, rng: Rng) -> None:
        self._machine, self._bk, self._rng, self._n = Machine(weights, bk), bk, rng, 0
        self._h = bk.asarray(first_states(weights, n, bk, rng))
        self._v = bk.xp.empty((n, weights.n_visible), self._machine.dtype)

    def _step(self) -> None:
        self._machine.sample_visible(self._h, self._rng, self._v)
        self._machine.sample_hidden(self._v, self._rng, self._h)
        self._n += 1

    def visible(self) -> Array:
        """Return the visible states."""
        return np.array(self._bk.to_numpy(self._v), np.float64)

    def after(self, n: int) -> Array:
        """Return the visible states after this total number of steps."""
        while self._n < n:
            self._step()
        return self.visible()

    def record(self, n: int, mean: Array, axes: Array) -> Array:
        """Return the free energy and the projections of the next states, shape (n, n_chains, 1 + n_axes)."""
        found = np.empty((n, len(self._v), 1 + axes.shape[1]))
        for i in range(n):
            self._step()
            found[i, :, 0] = self._bk.to_numpy(self._machine.free_energy(self._v))
            found[i, :, 1:] = (self.visible() - mean) @ axes
        return found


def pair_correlation(a: Array, b: Array) -> float:
    """Return the correlation, over all pairs of columns, of the covariances of two sets of rows.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(20, 5))
    >>> round(pair_correlation(rows, 2 * rows), 6)
    1.0
    """
    upper = np.triu_indices(a.shape[1], 1)
    x, y = (np.cov(each, rowvar=False).reshape(each.shape[1], -1)[upper] for each in (a, b))
    return pearson(x, y)


def autocorrelation_time(series: Array) -> float:
    """Return the integrated autocorrelation time of chains, 1 for independent states.

    The sum ends where that of two neighbouring lags is no longer positive (Geyer 1992). Deviations are from the mean
    over all chains, so that chains which stay in different modes count as correlated.

    Parameters
    ----------
    series : ndarray of shape (n_steps, n_chains)

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(2000, 50))
    >>> 0.9 < autocorrelation_time(noise) < 1.1
    True
    """
    n, deviations = len(series), series - series.mean()
    spectrum = np.fft.rfft(deviations, 2 * n, axis=0)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[:n].mean(axis=1) / np.arange(n, 0, -1)
    if not covariance[0] > 0:
        return 1.0
    rho = covariance / covariance[0]
    pairs = rho[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    return float(max(1.0, 2 * pairs[: ends[0] if len(ends) else len(pairs)].sum() - 1))


def nearest_of_own_kind(rows: Array, samples: Array) -> tuple[float, float]:
    """Return the shares of rows, and of samples, whose nearest neighbour is of the same kind; ties count half."""
    n = min(len(rows), len(samples))
    rows, samples = rows[:n], samples[:n]
    across = _distances(rows, samples)
    shares = []
    for own, other in ((_distances(rows, rows), across), (_distances(samples, samples), across.T)):
        np.fill_diagonal(own, np.inf)
        near, far = own.min(axis=1), other.min(axis=1)
        equal = np.isclose(near, far, rtol=1e-9, atol=1e-9)
        shares.append(float(np.where(equal, 0.5, near < far).mean()))
    return shares[0], shares[1]


def _distances(a: Array, b: Array) -> Array:
    """Return the squared distances of all pairs of rows."""
    found: Array = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.maximum(found, 0)
