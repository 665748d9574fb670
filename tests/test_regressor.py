"""DBNRegressor: real values in the user's units, whatever these are."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import r2_score, root_mean_squared_error

from deepbelief import DBN, RBM, DBNRegressor
from deepbelief.errors import DataError, DivergenceError
from deepbelief.estimators import tuning
from deepbelief.estimators.targets import value_head
from deepbelief.finetuning import FineTuner, FineTuneSettings
from deepbelief.losses import SquaredError
from deepbelief.network import Network
from deepbelief.sources import as_source

SHORT = {"rbm": RBM(n_iter=2, batch_size=20), "max_iter": 5, "random_state": 0}
SEVERAL = np.array([3.0, -0.5])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 5)) * [1, 10, 0.1, 1, 1] + [0, 3, 0, -5, 0]
    y = np.sin(X[:, 0]) + 0.1 * X[:, 1] + 0.1 * rng.normal(size=160)
    return X, y


@pytest.fixture(scope="module")
def stack(data):
    return DBN((8, 6), rbm=SHORT["rbm"], random_state=1).fit(data[0]).stack_


def both(y):
    return np.column_stack([100 * y + 7, np.roll(y, 1)])


def spy_on_finetune(monkeypatch):
    seen, finetune = [], tuning.finetune

    def spy(*args, **kwargs):
        seen.append((args, kwargs))
        return finetune(*args, **kwargs)

    monkeypatch.setattr(tuning, "finetune", spy)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"solver": "sgd"}, {"activation": "tanh"}, {"rbm": RBM(hidden="rectified")}])
def test_it_learns_as_it_comes(data, settings):
    X, y = data
    regressor = DBNRegressor(random_state=0, **settings).fit(X[:120], y[:120])
    assert regressor.score(X[120:], y[120:]) > 0.7


@pytest.mark.parametrize("many", [False, True])
def test_prediction_is_the_network_written_out(data, many):
    X, y = data
    y = both(y) if many else 40 * y - 3
    regressor = DBNRegressor((8, 6), **SHORT).fit(X, y)
    first = regressor.stack_.layers[0]
    h = (X - first.mean) / first.scale
    for W, b in zip(regressor.coefs_[:-1], regressor.intercepts_[:-1], strict=True):
        h = 1 / (1 + np.exp(-h @ W - b))
    np.testing.assert_allclose(regressor.transform(X), h, rtol=1e-9)
    out = h @ regressor.coefs_[-1] + regressor.intercepts_[-1]
    expected = out * y.std(axis=0) + y.mean(axis=0)
    np.testing.assert_allclose(regressor.predict(X), expected if many else expected.ravel(), rtol=1e-9)
    assert regressor.predict(X).shape == y.shape
    assert regressor.score(X, y) == r2_score(y, regressor.predict(X))
    assert [c.shape for c in regressor.coefs_] == [(5, 8), (8, 6), (6, 2 if many else 1)]


@pytest.mark.slow
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(("scale", "shift"), [(1024.0, 0.0), (-3.7, 1e4), (1e-200, 0.0), (1e150, -1e150)])
def test_predictions_follow_an_affine_change_of_y(data, scale, shift, early_stopping):
    """Neither the unit nor the origin of y matters: bit for bit where the change is exact, else to rounding."""
    X, y = data
    regressor = DBNRegressor((6,), early_stopping=early_stopping, **SHORT)
    before = clone(regressor).fit(X, y).predict(X)
    after = clone(regressor).fit(X, scale * y + shift).predict(X)
    if (scale, shift) == (1024.0, 0.0):
        np.testing.assert_array_equal(after, scale * before)
    np.testing.assert_allclose((after - shift) / scale, before, rtol=1e-6, atol=1e-9)


def test_columns_are_standardised_each_by_itself_and_constant_ones_only_moved(data):
    X, y = data
    targets = np.column_stack([y, np.full(160, 0.1), 1e6 * y])
    regressor = DBNRegressor((6,), **SHORT).fit(X, targets)
    np.testing.assert_allclose(regressor.target_mean_, targets.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(regressor.target_scale_, [y.std(), 1, 1e6 * y.std()], rtol=1e-12)
    assert (regressor.predict(X)[:, 1] == 0.1).all()
    only = DBNRegressor((6,), **SHORT).fit(X, np.full(160, 7))
    assert (only.predict(X) == 7).all()


def test_weights_enter_the_standardisation_as_repetition_and_removal(data):
    _, y = data
    weights = np.arange(160) % 4
    head, long = (
        value_head(both(y), "auto", weights.astype(float)),
        value_head(np.repeat(both(y), weights, 0), "auto", None),
    )
    np.testing.assert_allclose(head.mean, long.mean, rtol=1e-12)
    np.testing.assert_allclose(head.scale, long.scale, rtol=1e-12)
    one = np.zeros(160)
    one[3] = 1
    head = value_head(y, "auto", one)
    assert (head.mean, head.scale) == (y[3], 1)


def test_gradient_of_the_mean_squared_error_is_that_of_finite_differences(data, stack, monkeypatch, bk):
    X, y = data
    seen = spy_on_finetune(monkeypatch)
    weights = np.random.default_rng(0).uniform(0, 2, 160)
    regressor = DBNRegressor(pretrained=stack, backend=bk, **SHORT | {"max_iter": 1})
    regressor.fit(X, both(y), sample_weight=weights)
    (hidden, _, loss, train, *_), _ = seen[0]
    rng = np.random.default_rng(1)
    head = rng.normal(size=(6, 2)), rng.normal(size=2)
    tuner = FineTuner(Network(hidden, *head, loss, bk), train, None, FineTuneSettings(batch_size=160).resolve(160, 0.1))
    tuner.begin_epoch(0, rng.permutation(160))
    products = tuner.network.backward(tuner.gradient_at_output(0, 160))
    found = [bk.to_numpy(g.array(bk) if hasattr(g, "array") else g) for g in products]
    params = tuner.network.host_params()
    rows = train.rows.take(slice(None))
    targets = (both(y) - np.average(both(y), axis=0, weights=weights)) / regressor.target_scale_

    def mean_loss():
        h = rows
        for W, b in zip(params[:-2:2], params[1:-2:2], strict=True):
            h = 1 / (1 + np.exp(-h @ W - b))
        squared = np.square(h @ params[-2] + params[-1] - targets).sum(axis=1)
        return (weights * squared).sum() / weights.sum()

    for p, g in zip(params, found, strict=True):
        expected = np.empty_like(p)
        for index in np.ndindex(p.shape):
            kept, values = p[index], []
            for step in (1e-5, -1e-5):
                p[index] = kept + step
                values.append(mean_loss())
            p[index] = kept
            expected[index] = (values[0] - values[1]) / 2e-5
        assert np.linalg.norm(g - expected) / (np.linalg.norm(g) + np.linalg.norm(expected)) < 1e-7


@pytest.mark.slow
def test_the_history_tells_the_rmse_in_the_unit_of_y(data, monkeypatch):
    X, y = data
    seen = spy_on_finetune(monkeypatch)
    settings = SHORT | {"max_iter": 60, "early_stopping": True, "n_iter_no_change": 60}
    regressor = DBNRegressor((6,), **settings).fit(X, 1000 * y)
    records = [r for r in regressor.history_ if r["phase"] == "finetune"]
    held = seen[0][1]["validation"]
    # Held-out rows by their own standardised targets: what the best epoch told is what the kept weights do.
    truth = held.targets.ravel() * regressor.target_scale_ + regressor.target_mean_
    predicted = regressor.predict(
        held.rows.take(slice(None)) * regressor.stack_.layers[0].scale + regressor.stack_.layers[0].mean
    )
    best = min(r["validation_rmse"] for r in records)
    assert root_mean_squared_error(truth, predicted) == pytest.approx(best, rel=0.01)
    for r in records:
        assert r["rmse"] == pytest.approx(regressor.target_scale_[0] * np.sqrt(r["loss"]))
        assert r["validation_score"] is None
    several = DBNRegressor((6,), **SHORT).fit(X, both(y)).history_[-1]
    assert several["rmse"] == pytest.approx(np.sqrt(several["loss"] / 2))


def test_early_stopping_keeps_the_weights_with_the_smallest_error(data):
    X, y = data
    settings = SHORT | {"max_iter": 200, "early_stopping": True, "n_iter_no_change": 3, "schedule": "constant"}
    regressor = DBNRegressor((12,), **settings).fit(X, y)
    records = [r for r in regressor.history_ if r["phase"] == "finetune"]
    assert regressor.n_iter_ == len(regressor.loss_curve_) == len(records) < 200
    losses = [r["validation_loss"] for r in records]
    assert min(losses[-3:]) > min(losses) - 1e-4


def test_warm_start_goes_on_in_the_units_of_the_first_fit(data):
    X, y = data
    plain = SHORT | {"max_iter": 3, "solver": "sgd", "schedule": "constant", "momentum": 0.0, "warm_start": True}
    parts = DBNRegressor((6,), **plain).fit(X, 5 * y).fit(X, 5 * y)
    whole = DBNRegressor((6,), **plain | {"max_iter": 6}).fit(X, 5 * y)
    np.testing.assert_array_equal(parts.predict(X), whole.predict(X))
    before = parts.target_mean_, parts.target_scale_, parts.predict(X)
    parts.fit(X, 5 * y + 1)
    assert parts.target_mean_ is before[0]
    assert parts.target_scale_ is before[1]
    kept = parts.predict(X)
    with pytest.raises(DataError, match=r"1 target\(s\), y has 2"):
        parts.fit(X, both(y))
    np.testing.assert_array_equal(parts.predict(X), kept)


def test_pretrained_takes_a_stack(data, stack):
    regressor = DBNRegressor(pretrained=stack, n_frozen=2, **SHORT).fit(*data)
    for tuned, given in zip(regressor.stack_, stack, strict=True):
        np.testing.assert_array_equal(tuned.W, given.W)
    assert {r["phase"] for r in regressor.history_} == {"finetune"}


@pytest.mark.slow
def test_sgd_takes_smaller_steps_on_wider_layers(data):
    rates = []
    for width in (20, 100, 1000):
        regressor = DBNRegressor((width,), solver="sgd", **SHORT | {"schedule": "constant", "max_iter": 20}).fit(*data)
        rates.append(regressor.history_[-1]["learning_rate"])
        assert max(regressor.loss_curve_) < 1.2  # 1: the variance
    np.testing.assert_allclose(rates, [0.03, 0.01, 0.001])
    with pytest.raises(DivergenceError, match="learning_rate_init"):
        DBNRegressor((100,), solver="sgd", learning_rate_init=3e3, **SHORT).fit(*data)


def test_a_loss_of_ones_own(data):
    X, y = data
    own = DBNRegressor((6,), loss=SquaredError(), **SHORT).fit(X, y)
    plain = DBNRegressor((6,), loss="squared_error", **SHORT).fit(X, y)
    np.testing.assert_array_equal(own.predict(X), plain.predict(X))
    assert "rmse" not in own.history_[-1]


@pytest.mark.slow
def test_targets_of_every_kind(data):
    X, y = data
    whole = np.round(10 * y)
    expected = DBNRegressor((6,), **SHORT).fit(X, whole).predict(X)
    for targets in (whole.astype(int), whole.astype(object), whole.astype(np.float32), whole.tolist(), whole[:, None]):
        regressor = DBNRegressor((6,), **SHORT)
        if np.ndim(targets) == 2:
            with pytest.warns(UserWarning, match="column-vector y"):
                regressor.fit(X, targets)
        else:
            regressor.fit(X, targets)
        np.testing.assert_array_equal(regressor.predict(X), expected)
    far = 1_700_000_000 + np.round(1000 * y)  # seconds since 1970: float32 knows them to 128
    single = DBNRegressor((6,), max_iter=60, random_state=0).fit(X.astype(np.float32), far)
    assert single.coefs_[0].dtype == np.float32
    assert single.score(X.astype(np.float32), far) > 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_engine_gets_targets_of_the_networks_dtype(data, dtype, monkeypatch):
    seen = spy_on_finetune(monkeypatch)
    DBNRegressor((6,), early_stopping=True, **SHORT).fit(data[0].astype(dtype), data[1])
    (_, head, _, train, *_), keywords = seen[0]
    assert train.targets.dtype == keywords["validation"].targets.dtype == head[0].dtype == dtype


def test_targets_that_cannot_be_used(data, monkeypatch):
    X, y = data
    monkeypatch.setattr("deepbelief.layer.run_epochs", lambda *a, **k: pytest.fail("training began"))
    cases = [
        (np.where(y > 0, "a", "b"), "must be numbers.*DBNClassifier|could not convert"),
        (np.where(y > 0, "a", "b").astype(object), "must be numbers.*DBNClassifier|could not convert"),
        (np.full(160, np.nan), "no row has a target"),
        (np.where(y > 0, y, np.inf), "infinity|inf"),
        (np.where(y > 0, 1.7e308, 1.0), "divide them|infinity"),
        (y[:-1], "inconsistent|159"),
        (both(y)[None], "dim 3"),
        (y + 1j, "[Cc]omplex|must be numbers"),
        (None, "None|NoneType"),
    ]
    for rows in (X, as_source(X)):
        for targets, match in cases:
            with pytest.raises(ValueError, match=match) as caught:
                DBNRegressor((6,), **SHORT).fit(rows, targets)
            assert "KeyError" not in str(caught.value)
    with pytest.raises(ValueError, match=r"above 0|non-zero"):
        DBNRegressor((6,), **SHORT).fit(X, y, sample_weight=np.zeros(160))


@pytest.mark.parametrize("missing", [np.nan, None])
def test_missing_targets_count_for_nothing(data, stack, missing):
    X, y = data
    gone = np.random.default_rng(1).random(160) < 0.4
    marked = (
        np.where(gone, missing, y) if missing is not None else [None if g else v for g, v in zip(gone, y, strict=True)]
    )
    model = DBNRegressor(pretrained=stack, **SHORT).fit(X, marked)
    alone = DBNRegressor(pretrained=stack, **SHORT).fit(X[~gone], y[~gone])
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))
    assert model.n_unlabeled_ == gone.sum()
    assert model.score(X, marked) == pytest.approx(r2_score(y[~gone], model.predict(X[~gone])))
    with pytest.raises(DataError, match=r"no row has a target.*DBN"):
        DBNRegressor(pretrained=stack, **SHORT).fit(X, [None] * 160)


def test_a_missing_target_beside_present_ones_adds_no_gradient(data, bk):
    X, y = data
    Y = both(y)
    gone = np.random.default_rng(1).random(Y.shape) < 0.3
    head = value_head(np.where(gone, np.nan, Y), "auto", None)
    np.testing.assert_allclose(head.mean, [Y[~gone[:, k], k].mean() for k in range(2)])
    np.testing.assert_allclose(head.scale, [Y[~gone[:, k], k].std() for k in range(2)])
    target, output = bk.asarray(head.encode(np.where(gone, np.nan, Y))), bk.asarray(np.ones(Y.shape))
    away = np.where(gone, 0, 1 - head.encode(Y))
    np.testing.assert_allclose(bk.to_numpy(head.loss.values(bk, output, target)), (away**2).sum(axis=1))
    grad = head.loss.gradient(bk, output, target, bk.asarray(np.zeros(Y.shape)))
    np.testing.assert_allclose(bk.to_numpy(grad), 2 * away)
    rmse = head.loss.measures(float((away**2).sum(axis=1).mean()))["rmse"]
    assert rmse == pytest.approx(np.sqrt((away[~gone] ** 2).mean()))
    model = DBNRegressor((12,), max_iter=30, random_state=0).fit(X, np.where(gone, np.nan, Y))
    truth = [r2_score(Y[~gone[:, k], k], model.predict(X)[~gone[:, k], k]) for k in range(2)]
    assert model.score(X, np.where(gone, np.nan, Y)) == pytest.approx(np.mean(truth))
    assert truth[0] > 0.3
