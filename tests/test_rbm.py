"""RBM: a drop-in for BernoulliRBM, and what it does beyond that."""

import itertools
import time
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from exact import tiny
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import BernoulliRBM
from tables import case_by_case

from deepbelief import DBN, RBM
from deepbelief.backends import loops
from deepbelief.backends.numpy_backend import NumpyBackend
from deepbelief.errors import DataError, DataWarning, DivergenceError, DivergenceWarning, SettingError
from deepbelief.gradients import CD
from deepbelief.sources import as_source
from deepbelief.training import Reporter
from deepbelief.units import UNITS, Bernoulli, Gaussian


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    causes = rng.random((80, 2)) < 0.5
    return (np.repeat(causes, 4, axis=1) ^ (rng.random((80, 8)) < 0.1)).astype(np.float64)


def as_bernoulli_rbm(rbm):
    """scikit-learn's machine with the same weights."""
    other = BernoulliRBM(rbm.n_components)
    other.components_ = rbm.components_
    other.intercept_hidden_ = rbm.intercept_hidden_
    other.intercept_visible_ = rbm.intercept_visible_
    return other


@pytest.mark.parametrize("cls", [BernoulliRBM, RBM])
def test_code_written_for_bernoulli_rbm_runs_unchanged(cls, X):
    rbm = cls(n_components=5, learning_rate=0.05, batch_size=7, n_iter=3, verbose=0, random_state=0)
    assert rbm.fit(X) is rbm
    assert rbm.components_.shape == (5, 8)
    assert rbm.intercept_hidden_.shape == (5,)
    assert rbm.intercept_visible_.shape == (8,)
    assert rbm.h_samples_.shape == (7, 5)
    assert np.isin(rbm.h_samples_, [0, 1]).all()
    hidden = rbm.transform(X)
    np.testing.assert_allclose(hidden, 1 / (1 + np.exp(-X @ rbm.components_.T - rbm.intercept_hidden_)), rtol=1e-12)
    states = rbm.gibbs(X)
    assert states.dtype == bool
    assert states.shape == X.shape
    assert rbm.score_samples(X).shape == (80,)
    assert (rbm.score_samples(X) < 0).all()
    np.testing.assert_array_equal(clone(rbm).fit_transform(X), hidden)
    assert list(rbm.get_feature_names_out()) == [f"{cls.__name__.lower()}{i}" for i in range(5)]
    stream = cls(n_components=5, batch_size=10, random_state=0)
    for _, start in itertools.product(range(2), range(0, 80, 20)):
        stream.partial_fit(X[start : start + 20])
    assert stream.components_.shape == (5, 8)


def test_settings_of_bernoulli_rbm_are_all_there():
    assert set(BernoulliRBM().get_params()) <= set(RBM().get_params())
    assert RBM(**BernoulliRBM(17, batch_size=3).get_params()).n_components == 17


def test_score_samples_is_the_expectation_of_scikit_learns_random_number(X):
    rbm = RBM(4, n_iter=5, random_state=0).fit(X)
    other = as_bernoulli_rbm(rbm)
    # scikit-learn flips one bit drawn for each row; here it flips every bit of every row in turn.
    by_bit = []
    for bit in range(8):
        other.random_state = FlipsOnly(bit)
        by_bit.append(other.score_samples(X))
    np.testing.assert_allclose(rbm.score_samples(X), np.mean(by_bit, axis=0), rtol=1e-9)
    # A row's sums may be taken in another order at another place: the rounding of float64.
    np.testing.assert_allclose(rbm.score_samples(X[::-1])[::-1], rbm.score_samples(X), rtol=1e-12)
    assert rbm.score(X) == rbm.score_samples(X).mean()


class FlipsOnly(np.random.RandomState):
    """A generator that always draws the same column."""

    def __init__(self, bit):
        super().__init__(0)
        self.bit = bit

    def randint(self, low, high, size):
        assert (low, high) == (0, 8)
        return np.full(size, self.bit)


def test_weights_may_be_set_as_in_scikit_learn(X):
    rbm, other = (RBM(4, n_iter=n, random_state=n).fit(X) for n in (1, 3))
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        setattr(rbm, name, getattr(other, name) * 1.0)
        np.testing.assert_array_equal(getattr(rbm, name), getattr(other, name))
    np.testing.assert_array_equal(rbm.transform(X), other.transform(X))
    np.testing.assert_array_equal(rbm.score_samples(X), other.score_samples(X))
    with pytest.raises(DataError, match="vbias must have shape"):
        rbm.components_ = np.zeros((4, 3))
    with pytest.raises(AttributeError, match="after fit"):
        RBM().components_ = np.zeros((4, 3))


def test_gibbs_draws_from_the_conditionals():
    rbm = RBM(3, n_iter=1, random_state=0).fit(np.eye(5))
    weights = rbm.weights_ = tiny(5, 3)
    v = np.tile([1.0, 0, 1, 1, 0], (40_000, 1))
    h = np.array(list(itertools.product([0, 1], repeat=3)))
    p_h = 1 / (1 + np.exp(-v[0] @ weights.W - weights.hbias))
    joint = np.prod(np.where(h, p_h, 1 - p_h), axis=1)
    expected = joint @ (1 / (1 + np.exp(-h @ weights.W.T - weights.vbias)))
    np.testing.assert_allclose(rbm.gibbs(v).mean(axis=0), expected, atol=0.012)  # 5 s.d.


def test_gibbs_goes_on_unless_it_is_given_a_seed(X):
    one, two = (RBM(4, n_iter=2, random_state=0).fit(X) for _ in range(2))
    first = one.gibbs(X)
    assert (one.gibbs(X) != first).any()
    np.testing.assert_array_equal(two.gibbs(X), first)
    np.testing.assert_array_equal(one.gibbs(X, random_state=5), two.gibbs(X, random_state=5))
    assert (one.gibbs(X, random_state=6) != two.gibbs(X, random_state=5)).any()


def test_gibbs_of_gaussian_units_is_in_the_units_of_the_data():
    rows = np.random.default_rng(0).normal([100, -5], [10, 0.1], (500, 2))
    rbm = RBM(3, n_iter=2, random_state=0).fit(rows)
    drawn = rbm.gibbs(rows)
    assert drawn.dtype == np.float64
    np.testing.assert_allclose((drawn.mean(axis=0) - [100, -5]) / [10, 0.1], 0, atol=0.5)
    np.testing.assert_allclose(drawn.std(axis=0), [10, 0.1], rtol=0.2)


@case_by_case("settings", [{}, {"gradient": "pcd"}, {"sparsity_target": 0.2}, {"validation_fraction": 0.2}])
def test_warm_start_for_k_fits_of_n_epochs_is_one_fit_of_kn(X, settings):
    """Bit for bit where neither learning rate nor momentum depend on the length of the run."""
    settings = {"schedule": "constant", "momentum": 0.7, "random_state": 0, "batch_size": 16, **settings}
    whole = RBM(4, n_iter=6, **settings).fit(X)
    parts = RBM(4, n_iter=2, warm_start=True, **settings)
    for epochs in (2, 4, 6):
        parts.fit(X)
        assert parts.n_iter_ == len(parts.history_) == epochs
    for name in ("components_", "intercept_visible_", "intercept_hidden_", "h_samples_"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    errors = [[r["reconstruction_error"] for r in rbm.history_] for rbm in (parts, whole)]
    assert errors[0] == errors[1]


def test_without_warm_start_fit_begins_anew(X):
    rbm = RBM(4, n_iter=2, random_state=0).fit(X)
    before = rbm.components_.copy()
    np.testing.assert_array_equal(rbm.fit(X).components_, before)
    assert rbm.n_iter_ == len(rbm.history_) == 2


def test_warm_start_keeps_the_shape(X):
    rbm = RBM(4, n_iter=2, warm_start=True).fit(X)
    with pytest.raises(SettingError, match="4 hidden units, got n_components=5"):
        rbm.set_params(n_components=5).fit(X)
    with pytest.raises(ValueError, match="expecting 8 features"):
        rbm.set_params(n_components=4).fit(X[:, :4])


def test_partial_fit_is_one_ordered_pass_in_minibatches(X, monkeypatch):
    seen = []
    from deepbelief.learner import Learner

    step = Learner.update

    def spy(self, n, position, rng):
        seen.append(np.array(self.phases.visible(n)[:n]))
        return step(self, n, position, rng)

    monkeypatch.setattr(Learner, "update", spy)
    rbm = RBM(4, batch_size=30, random_state=0)
    assert rbm.partial_fit(X) is rbm
    assert [len(batch) for batch in seen] == [30, 30, 20]
    np.testing.assert_array_equal(np.concatenate(seen), X)
    assert rbm.n_iter_ == 1


def test_the_first_partial_fit_starts_the_weights_and_later_ones_go_on(X):
    rbm = RBM(4, learning_rate=1e-9, random_state=0).partial_fit(X)
    smoothed = (X.sum(axis=0) + 1) / (len(X) + 2)
    np.testing.assert_allclose(rbm.intercept_visible_, np.log(smoothed / (1 - smoothed)), atol=1e-6)
    start = rbm.components_.copy()
    assert abs(start.std() - 0.01) < 0.004
    rbm.partial_fit(1 - X)
    np.testing.assert_allclose(rbm.components_, start, atol=1e-6)
    np.testing.assert_allclose(rbm.intercept_visible_, np.log(smoothed / (1 - smoothed)), atol=1e-6)
    with pytest.raises(ValueError, match="expecting 8 features"):
        rbm.partial_fit(X[:, :4])


def test_partial_fit_learns(X):
    rbm = RBM(8, batch_size=10, random_state=0).partial_fit(X)
    before = rbm.score(X)
    for _ in range(30):
        rbm.partial_fit(X)
    assert rbm.score(X) > before + 1


def test_bits_may_be_zeros_and_ones_of_any_type():
    for first in ([[0], [1]], [[False], [True]], np.array([[0], [1]], np.uint8)):
        assert RBM(2, random_state=0).partial_fit(first).weights_.visible == "bernoulli"


@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_a_stream_of_a_few_rows_at_a_time_is_not_taken_for_divergence(X, n_rows):
    rbm = RBM(4, random_state=0)
    for start in range(0, 78, n_rows):
        rbm.partial_fit(X[start : start + n_rows])
    assert rbm.n_iter_ == -(-78 // n_rows)


@case_by_case(
    ("n_rows", "value"),
    [(30, 0.0), (30, 1.0), (30, 0.5), (2, 0.5), (2, 0.0), (2, 1.0)],
)
def test_rows_that_are_all_alike_are_not_taken_for_divergence(n_rows, value):
    with pytest.warns(DataWarning, match="all columns are constant"):
        rbm = RBM(4, n_iter=9, random_state=0).fit(np.full((n_rows, 6), value))
    assert np.isfinite(rbm.components_).all()


class Littered(NumpyBackend):
    """A backend whose new memory holds what lay there before."""

    def __init__(self, litter):
        self.xp = SimpleNamespace(**vars(np))
        self.xp.empty = lambda shape, dtype=float: np.full(shape, litter, dtype)


@case_by_case("batch_size", [7, 30, 100])
@case_by_case("gradient", ["cd", "pcd"])
def test_nothing_depends_on_what_lay_in_memory_before(X, batch_size, gradient):
    settings = {"n_iter": 2, "batch_size": batch_size, "gradient": gradient, "random_state": 0}
    one, other = (RBM(4, backend=Littered(litter), **settings).fit(X[:30]) for litter in (0.0, 9.0))
    np.testing.assert_array_equal(one.components_, other.components_)
    np.testing.assert_array_equal(one.h_samples_, other.h_samples_)


def test_visible_auto_follows_the_values():
    rng = np.random.default_rng(0)
    assert RBM(2, n_iter=1).fit(rng.random((30, 4))).weights_.visible == "bernoulli"
    assert RBM(2, n_iter=1).fit(rng.random((30, 4)) * 1.2).weights_.visible == "gaussian"
    assert RBM(2, n_iter=1).fit(rng.random((30, 4)) - 0.1).weights_.visible == "gaussian"
    assert RBM(2, n_iter=1).fit(rng.integers(0, 255, (30, 4), np.uint8)).weights_.visible == "gaussian"
    assert RBM(2, n_iter=1, visible=Gaussian()).fit(rng.random((30, 4))).weights_.visible == "gaussian"


def test_an_explicit_bernoulli_names_row_column_and_remedy(X):
    rows = X.copy()
    rows[17, 5] = 1.25
    for settings in ({}, {"validation_fraction": 0.3}):
        with pytest.raises(DataError, match=r"row 17, column 5.*1\.25.*minmax.*gaussian"):
            RBM(2, visible="bernoulli", random_state=0, **settings).fit(rows)
    rbm = RBM(2, visible="bernoulli", n_iter=1, random_state=0).fit(X)
    rows[17, 5] = 1.05
    for method in ("transform", "score_samples", "gibbs", "free_energy"):
        with pytest.warns(DataWarning, match="row 17, column 5"):
            assert np.isfinite(getattr(rbm, method)(rows)).all()


def test_a_value_that_is_not_finite_is_named_by_its_row_in_the_whole():
    rows = np.random.default_rng(0).random((50, 3))
    rows[31, 2] = np.inf
    for settings in ({}, {"validation_fraction": 0.5}):
        with pytest.raises(DataError, match="row 31, column 2"):
            RBM(2, random_state=0, **settings).fit(as_source(rows))


def test_tabular_columns_are_standardised_and_constant_ones_kept():
    rng = np.random.default_rng(0)
    rows = rng.normal([5, -300, 0], [1e-3, 1e4, 1], (200, 3))
    rows = np.column_stack([rows, np.full(200, 7.5), np.zeros(200)])
    rbm = RBM(4, n_iter=3, random_state=0).fit(rows)
    np.testing.assert_allclose(rbm.weights_.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(rbm.weights_.scale, [*rows[:, :3].std(axis=0), 1, 1], rtol=1e-12)
    standard = (rows - rbm.weights_.mean) / rbm.weights_.scale
    np.testing.assert_allclose(
        rbm.transform(rows), 1 / (1 + np.exp(-standard @ rbm.components_.T - rbm.intercept_hidden_)), rtol=1e-9
    )
    # The scale is that of fit, whatever the rows are like later.
    np.testing.assert_allclose(rbm.transform(rows[:1]), rbm.transform(rows)[:1], rtol=1e-12)  # float64 rounding


PAIRS = [
    {"visible": visible, "hidden": hidden}
    for visible in ("bernoulli", "gaussian", "softmax:4,4", "auto")
    for hidden in ("bernoulli", "gaussian", "rectified")
]


@case_by_case("units", PAIRS)
def test_every_machine_has_the_same_scores_before_and_after_fit(units):
    rows = np.tile(np.eye(4), (10, 2))
    rbm = RBM(3, n_iter=1, random_state=0, **units)
    methods = [name for name in ("score", "score_samples", "free_energy") if hasattr(rbm, name)]
    assert methods == (["score"] if units["hidden"] == "rectified" else ["score", "score_samples", "free_energy"])
    rbm.fit(rows)
    assert [name for name in ("score", "score_samples", "free_energy") if hasattr(rbm, name)] == methods
    assert np.isfinite(rbm.score(rows))
    if "score_samples" in methods and units["hidden"] == "gaussian":
        np.testing.assert_array_equal(rbm.score_samples(rows), -rbm.free_energy(rows))


@pytest.mark.parametrize("visible", ["gaussian", "bernoulli"])
def test_machines_without_a_pseudo_likelihood_are_scored_by_the_variance_explained(visible):
    rng = np.random.default_rng(0)
    rows = rng.random((60, 3)) @ rng.normal(size=(3, 5)) * [1, 10, 100, 1e-3, 0] + 7  # the last column is constant
    rows = (rows - rows.min()) / np.ptp(rows) if visible == "bernoulli" else rows
    rbm = RBM(4, visible=visible, hidden="rectified" if visible == "bernoulli" else "bernoulli", n_iter=5)
    w = rbm.set_params(random_state=0).fit(rows[:40]).weights_
    mean, scale = (0, 1) if w.mean is None else (w.mean, w.scale)
    x = (rows[40:] - mean) / scale @ w.W + w.hbias
    h = np.maximum(x, 0) if visible == "bernoulli" else 1 / (1 + np.exp(-x))
    v = h @ w.W.T + w.vbias
    back = 1 / (1 + np.exp(-v)) if visible == "bernoulli" else v * scale + mean
    missed, variance = ((back - rows[40:]) ** 2).mean(axis=0), rows[40:].var(axis=0)
    share = (missed[:4] / variance[:4]).mean() if visible == "gaussian" else missed[:4].sum() / variance.sum()
    assert rbm.score(rows[40:]) == pytest.approx(1 - share, rel=1e-9)
    with pytest.raises(DataError, match="all alike"):
        rbm.score(rows[:1])


@pytest.mark.filterwarnings("ignore:.*hardly vary")
def test_a_search_over_real_values_finds_the_rate_that_learns():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(150, 2)) @ rng.normal(size=(2, 6)) * 50 + rng.normal(size=(150, 6))
    search = GridSearchCV(RBM(8, n_iter=10, random_state=0), {"learning_rate": [1e-6, 0.02]}, cv=3).fit(rows)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_ == {"learning_rate": 0.02}


@case_by_case("hidden", ["bernoulli", "rectified"])
def test_rows_are_reconstructed_in_the_units_of_the_data(hidden, bk):
    rows = np.random.default_rng(0).normal([100, -5, 0], [10, 0.1, 1], (30, 3))
    rbm = RBM(4, hidden=hidden, n_iter=3, random_state=0, backend=bk).fit(rows)
    h, w = rbm.transform(rows), rbm.weights_
    back = (h @ w.W.T + w.vbias) * w.scale + w.mean
    np.testing.assert_allclose(rbm.inverse_transform(h), back, rtol=1e-9)
    np.testing.assert_allclose(rbm.reconstruction_error(rows), ((back - rows) ** 2).sum(axis=1), rtol=1e-7)
    dbn = DBN((4,), rbm=RBM(hidden=hidden, n_iter=3), random_state=0).fit(rows)
    np.testing.assert_array_equal(dbn.inverse_transform(h), rbm.set_params(backend="numpy").inverse_transform(h))
    np.testing.assert_array_equal(dbn.reconstruction_error(rows), rbm.reconstruction_error(rows))
    with pytest.raises(DataError, match="3 columns"):
        rbm.inverse_transform(rows)


def test_free_energy_is_minus_the_log_of_the_sum_over_hidden_states(X):
    rbm = RBM(3, n_iter=3, random_state=0).fit(X)
    w = rbm.weights_
    h = np.array(list(itertools.product([0, 1], repeat=3)))
    minus_energy = (X @ w.vbias)[:, None] + h @ w.hbias + X @ w.W @ h.T
    np.testing.assert_allclose(rbm.free_energy(X), -np.logaddexp.reduce(minus_energy, axis=1), rtol=1e-10)


def test_n_bits_takes_the_same_columns_for_every_row(X):
    rbm = RBM(3, n_iter=3, random_state=0).fit(X)
    np.testing.assert_allclose(rbm.score_samples(X, n_bits=3)[40:], rbm.score_samples(X[40:], n_bits=3), rtol=1e-12)
    np.testing.assert_allclose(rbm.score_samples(X, n_bits=8), rbm.score_samples(X))


@case_by_case("value", [0, 9, 2.5, "all"])
def test_n_bits_out_of_range(X, value):
    with pytest.raises(SettingError, match="between 1 and 8"):
        RBM(3, n_iter=1).fit(X).score_samples(X, n_bits=value)


def test_history_says_what_happened_in_every_epoch(X, capsys):
    records = []

    class Remember(Reporter):
        def record(self, record):
            records.append(record)

    rbm = RBM(4, n_iter=5, validation_fraction=0.25, random_state=0, verbose=Remember()).fit(X)
    assert rbm.history_ == records
    assert [r["epoch"] for r in records] == [1, 2, 3, 4, 5]
    assert [r["momentum"] for r in records] == [0.5, 0.9, 0.9, 0.9, 0.9]
    for record in records:
        assert {"phase": "pretrain", "pass": 1, "layer": 1, "n_epochs": 5}.items() <= record.items()
        assert record["reconstruction_error"] > 0
        assert isinstance(record["free_energy_gap"], float)
        assert record["learning_rate"] == 0.1
    assert capsys.readouterr().out == ""
    RBM(4, n_iter=2, verbose=1).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith("epoch ") for line in lines[-2:]] == [True, True]
    assert "batch_size=" in lines[0]  # automatic settings come first
    assert all("=" in line for line in lines[:-2])


def test_free_energy_gap_is_that_of_rows_which_are_held_out(X):
    with_gap = RBM(4, n_iter=2, validation_fraction=0.25, random_state=0).fit(X)
    without = RBM(4, n_iter=2, random_state=0).fit(X)
    assert [r["free_energy_gap"] for r in without.history_] == [None, None]
    assert (with_gap.components_ != without.components_).any()


def test_strategies_may_be_instances(X):
    by_name = RBM(4, n_iter=2, random_state=0, gibbs_steps=3).fit(X)
    by_instance = RBM(4, n_iter=2, random_state=0, gradient=CD(gibbs_steps=3), schedule=lambda position: 1.0).fit(X)
    np.testing.assert_array_equal(by_name.components_, by_instance.components_)


def test_attributes_come_with_fit():
    for name in ("components_", "intercept_hidden_", "intercept_visible_", "n_iter_", "h_samples_"):
        with pytest.raises(AttributeError, match=name):
            getattr(RBM(), name)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_run_that_diverges_at_once_is_an_error_with_a_rate_to_try(X):
    with pytest.raises(DivergenceError, match=r"layer 1 diverged in epoch 1.*learning_rate=1e\+04"):
        RBM(4, learning_rate=1e5, n_iter=3, random_state=0).fit(X)


def test_a_run_that_diverges_later_keeps_its_last_good_epoch(X):
    def explode(position):
        return 1.0 if position < 0.5 else 1e7

    settings = {"learning_rate": 0.1, "momentum": 0.5, "n_iter": 4, "random_state": 0}
    rbm = RBM(4, schedule=explode, **settings)
    with pytest.warns(DivergenceWarning, match=r"epoch 3.*learning_rate=0\.01.*last good epoch") as caught:
        rbm.fit(X)
    assert caught[0].filename == __file__
    assert "diverged" in rbm.history_[-1]
    good = RBM(4, schedule="constant", **settings | {"n_iter": 2}).fit(X)
    np.testing.assert_array_equal(rbm.components_, good.components_)


def test_sparsity_moves_activities_to_the_target(X):
    plain = RBM(10, n_iter=60, random_state=0).fit(X)
    sparse = RBM(10, n_iter=60, random_state=0, sparsity_target=0.1).fit(X)
    distance = [abs(rbm.transform(X).mean(axis=0) - 0.1).mean() for rbm in (sparse, plain)]
    assert distance[0] < distance[1] / 2
    with pytest.raises(SettingError, match="bernoulli"):
        RBM(10, hidden="gaussian", sparsity_target=0.1).fit(X)


# --- unit types of one's own ---


@dataclass(frozen=True)
class Doubled(Bernoulli):
    """A unit type of a user's, that is twice as sure."""

    spec: str = "bernoulli"

    def mean(self, bk, x, bias):
        x *= 2
        return bk.sigmoid(x, bias)


@case_by_case("side", ["visible", "hidden"])
@case_by_case("method", ["fit", "partial_fit"])
def test_a_unit_type_must_be_found_by_its_name(X, side, method, monkeypatch):
    """Without an entry it would be trained as another type, or could not be read back; with one it is used."""
    for own in (Doubled(), Doubled(spec="doubled")):
        with pytest.raises(SettingError, match=r"enter it in deepbelief\.units\.UNITS"):
            getattr(RBM(3, n_iter=1, **{side: own}), method)(X)
    monkeypatch.setitem(UNITS, "doubled", lambda: Doubled(spec="doubled"))
    own = getattr(RBM(3, n_iter=1, random_state=0, **{side: Doubled(spec="doubled")}), method)(X)
    assert getattr(own.weights_, side) == "doubled"
    plain = getattr(RBM(3, n_iter=1, random_state=0), method)(X)
    assert not np.array_equal(own.components_, plain.components_)


@pytest.mark.skipif(loops.load() is None, reason="needs the compiled loops")
def test_a_score_costs_a_few_epochs():
    """Searches call it for every candidate: n_rows x n_features x n_hidden exponentials, in a fused loop."""
    rows = (np.random.default_rng(0).random((400, 784)) < 0.02).astype(np.float32)
    rbm = RBM(128, n_iter=5, random_state=0).fit(rows)

    def seconds(call):
        start = time.process_time()
        call()
        return time.process_time() - start

    epoch = min(seconds(lambda: rbm.fit(rows)) for _ in range(3)) / 5
    assert min(seconds(lambda: rbm.score(rows)) for _ in range(3)) < 8 * epoch
