"""Weights of rows in density models: weight 2 is the row twice, weight 0 its absence."""

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from tables import case_by_case

from deepbelief import DBN, RBM, AnomalyDetector, DBNClassifier, DeepAutoencoder, RBMClassifier
from deepbelief.errors import DataError
from deepbelief.estimators import anomaly
from deepbelief.estimators.anomaly_columns import DetectorColumns
from deepbelief.gradients import PhaseBuffers
from deepbelief.machine import Machine
from deepbelief.sources import SubsetSource, as_source, column_statistics, quantile, with_weights
from deepbelief.sources.schema import Schema
from deepbelief.stack import Weights
from deepbelief.streaming import Rows

EXACT = {
    "gradient": "exact", "momentum": 0.0, "learning_rate": 0.1, "n_iter": 4, "batch_size": 1000, "random_state": 0,
}  # fmt: skip


@pytest.fixture
def bits():
    """Rows of bits, weights of 0 to 3, and the rows as often as their weights say."""
    rng = np.random.default_rng(0)
    X, weights = rng.random((40, 6)).round(), rng.integers(0, 4, 40)
    return X, weights, np.repeat(X, weights, axis=0)


def full(estimator, n_rows):
    """Return the estimator with all rows in one minibatch."""
    names = [name for name in ("batch_size", "rbm__batch_size") if name in estimator.get_params()]
    return estimator.set_params(**dict.fromkeys(names, n_rows))


@case_by_case(
    "estimator",
    [
        RBM(3, **EXACT, weight_decay=1e-3),
        RBM(3, **EXACT, centered=True),
        RBM(3, **EXACT, sparsity_target=0.1),
        RBM(3, **EXACT | {"learning_rate": 0.01}, visible="gaussian", learn_variance=True),
        RBM(3, **EXACT, visible="gaussian", scale="minmax"),
        DBN((3, 2), rbm=RBM(**EXACT), random_state=0),
    ],
)
def test_weights_are_repetitions_in_the_exact_gradient(estimator, bits):
    X, weights, repeated = bits
    found = full(estimator, (weights > 0).sum()).fit(X, sample_weight=weights)
    found = [found.weights_] if hasattr(found, "weights_") else found.stack_.layers
    expected = full(estimator, len(repeated)).fit(repeated)
    expected = [expected.weights_] if hasattr(expected, "weights_") else expected.stack_.layers
    for ours, theirs in zip(found, expected, strict=True):
        for name, array in theirs.arrays().items():
            np.testing.assert_allclose(ours.arrays()[name], array, rtol=1e-12, atol=1e-12)


def test_labels_count_by_the_weights_of_their_rows(bits):
    X, weights, repeated = bits
    y = X[:, 0] + 2 * X[:, 1]
    settings = {name: value for name, value in EXACT.items() if name != "random_state"}
    fitted = [
        RBMClassifier(3, rbm=RBM(**settings | {"batch_size": size}), random_state=0).fit(*rows, **more)
        for size, rows, more in (
            ((weights > 0).sum(), (X, y), {"sample_weight": weights}),
            (len(repeated), (repeated, np.repeat(y, weights)), {}),
        )
    ]
    for name, array in fitted[1].weights_.arrays().items():
        np.testing.assert_allclose(fitted[0].weights_.arrays()[name], array, rtol=1e-12, atol=1e-12)


@case_by_case("paired", [True, False])
def test_the_gradient_of_a_minibatch_is_that_of_rows_which_are_repeated(paired, bk):
    rng = np.random.default_rng(1)
    host = Weights(rng.normal(size=(5, 3)), rng.normal(size=5), rng.normal(size=3), "bernoulli", "bernoulli")
    counts, n = np.array([1, 3, 2]), 3
    v, h = rng.random((6, 5)), rng.random((6, 3))
    repeats = np.concatenate([counts, counts if paired else np.ones(3, int)])

    def gradient(rows, states, n_positive, weights):
        buffers = PhaseBuffers(bk, Machine(host, bk))
        buffers.visible(len(rows))[...] = bk.asarray(rows)
        buffers.hidden(len(rows))[...] = bk.asarray(states)
        buffers.weights = None if weights is None else bk.asarray(weights)
        product, *biases = buffers.gradient(n_positive, len(rows) - n_positive, 6, paired=paired)
        return [bk.to_numpy(each) for each in (bk.matmul(product.left.T, product.right), *biases)]

    expected = gradient(np.repeat(v, repeats, axis=0), np.repeat(h, repeats, axis=0), 6, None)
    for ours, theirs in zip(gradient(v, h, n, counts.astype(float)), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


ABSENT = [
    RBM(4, n_iter=3, random_state=0),
    RBM(4, n_iter=3, gradient="pcd", validation_fraction=0.2, random_state=0),
    DBN((4, 3), rbm=RBM(n_iter=2), pretraining="denoising", random_state=0),
    DeepAutoencoder((4, 3), rbm=RBM(n_iter=2), max_iter=3, early_stopping=True, random_state=0),
    RBMClassifier(4, rbm=RBM(n_iter=3), random_state=0),
    AnomalyDetector(random_state=0),
]


@pytest.mark.filterwarnings("ignore::deepbelief.errors.SizingWarning")
@pytest.mark.filterwarnings("ignore::deepbelief.errors.TrainingWarning")
@case_by_case("estimator", ABSENT)
def test_rows_of_weight_0_are_as_if_they_were_not_there(estimator, bits, monkeypatch):
    for name in ("DENSITY_UPDATES", "GAUSSIAN_UPDATES", "RECONSTRUCTION_UPDATES"):
        monkeypatch.setattr(anomaly, name, 20)
    X, weights, _ = bits
    kept = weights > 0
    bad = X.copy()
    bad[~kept] = np.inf
    y = np.where(kept, X[:, 0], 7)
    found = outputs(estimator.fit(bad, y, sample_weight=weights), X)
    np.testing.assert_array_equal(found, outputs(estimator.fit(X[kept], y[kept], sample_weight=weights[kept]), X))


def outputs(model, X):
    """Return what a model says of rows."""
    for name in ("predict_log_proba", "transform", "score_samples"):
        if hasattr(model, name):
            return getattr(model, name)(X)
    return None


def test_weights_change_what_is_learned(bits):
    X, _, _ = bits
    few = np.where(X[:, 0] == 1, 1.0, 1e-3)
    for estimator in ABSENT[1:2] + ABSENT[3:4]:
        rows = estimator.fit(X, sample_weight=few)
        made = (
            rows.sample(200, random_state=0) if hasattr(rows, "sample") else rows.inverse_transform(rows.transform(X))
        )
        assert made[:, 0].mean() > 0.8


def test_statistics_of_columns_are_those_of_repeated_rows(bits):
    X, weights, _ = bits
    X = X + np.random.default_rng(2).normal(size=X.shape)
    X[::7, 1] = np.nan
    found = column_statistics(with_weights(as_source(X), weights), 16, missing=True)
    expected = column_statistics(as_source(np.repeat(X, weights, axis=0)), missing=True)
    for name in ("mean", "var", "min", "max", "present"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12)


def test_schemas_and_scales_of_columns_are_those_of_repeated_rows():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"size": rng.gamma(1, size=90), "kind": rng.choice(list("abc"), 90), "n": rng.poisson(2, 90)})
    frame.loc[::5, "size"] = np.nan
    weights = rng.integers(1, 4, 90)
    repeated = frame.loc[np.repeat(np.arange(90), weights)].reset_index(drop=True)
    for ours, theirs in zip(Schema.fit(frame, weights=weights).columns, Schema.fit(repeated).columns, strict=True):
        assert ours.edges == theirs.edges
        np.testing.assert_allclose(ours.cells, theirs.cells)
        np.testing.assert_allclose(ours.scores, theirs.scores)
    found, expected = DetectorColumns.fit(frame, weights), DetectorColumns.fit(repeated)
    np.testing.assert_array_equal(found.states(frame), expected.states(frame))
    np.testing.assert_allclose(found.values(frame), expected.values(frame), rtol=1e-12)
    assert quantile(frame["n"].to_numpy(), 0.3, weights) == np.quantile(repeated["n"], 0.3)


@pytest.mark.parametrize("visible", ["auto", "gaussian"])
def test_scores_are_those_of_repeated_rows(visible, bits):
    X, weights, repeated = bits
    rbm = RBM(3, visible=visible, n_iter=2, random_state=0).fit(X)
    assert rbm.score(X, sample_weight=weights) == pytest.approx(rbm.score(repeated), rel=1e-6)
    autoencoder = DeepAutoencoder((4, 2), rbm=RBM(n_iter=1), max_iter=1, random_state=0).fit(X)
    assert autoencoder.score(X, sample_weight=weights) == pytest.approx(autoencoder.score(repeated), rel=1e-6)


@case_by_case(
    ("weights", "message"),
    [
        ([1, -1] * 20, "at least 0, got -1 in row 1"),
        ([1, np.nan] * 20, "finite"),
        ([1] * 39, "one number for each of the 40 rows"),
        ([0] * 40, "only zero"),
        (["a"] * 40, "be numbers"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message, bits):
    with pytest.raises(DataError, match=f"`sample_weight` must.*{message}"):
        RBM(3).fit(bits[0], sample_weight=weights)
    with pytest.raises(DataError, match=f"`sample_weight` must.*{message}"):
        DBNClassifier((3,)).fit(bits[0], bits[0][:, 0], sample_weight=weights)


def test_sources_and_windows_keep_the_weights_of_their_rows(bk):
    X = np.arange(80.0).reshape(40, 2)
    weights = np.arange(40.0) + 1
    source = SubsetSource(with_weights(as_source(X), weights), np.arange(40)[::-1])
    for limit in (None, 256):
        rows = Rows(source, bk, np.float64, limit)
        order = np.random.default_rng(0).permutation(40) if rows.windows is None else rows.windows.order(
            np.random.default_rng(0)
        )  # fmt: skip
        rows.begin(order)
        v = bk.to_numpy(rows.batch(3, 9, bk.xp.empty((6, 2))))
        np.testing.assert_allclose(bk.to_numpy(rows.weights(3, 9)), (v[:, 0] / 2 + 1) / weights.mean())


def test_pipelines_and_searches_route_weights(bits):
    X, weights, _ = bits
    y = X[:, 0]
    with config_context(enable_metadata_routing=True):
        rbm = RBM(3, n_iter=1, random_state=0).set_fit_request(sample_weight=True)
        rest = LogisticRegression().set_fit_request(sample_weight=False)
        found = make_pipeline(rbm, rest).fit(X, y, sample_weight=weights)[0]
        np.testing.assert_array_equal(
            found.weights_.W, RBM(3, n_iter=1, random_state=0).fit(X, sample_weight=weights).weights_.W
        )
        rbm.set_score_request(sample_weight=True)
        search = GridSearchCV(rbm, {"n_components": [2, 3]}, cv=2).fit(X, sample_weight=weights)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.filterwarnings("ignore:.*hardly vary")
def test_tables_and_matrices_take_weights():
    from scipy.sparse import csr_array

    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"size": rng.normal(size=60), "kind": rng.choice(["a", "b"], 60)})
    weights = np.where(frame["kind"] == "a", 1.0, 1e-3)
    weights[0] = 0
    rbm = RBM(4, n_iter=20, random_state=0).fit(frame, sample_weight=weights)
    assert (rbm.sample(50, random_state=0)["kind"] == "a").mean() > 0.8
    bits = (rng.random((60, 5)) < 0.3).astype(float)
    dense, sparse = (RBM(3, n_iter=2, random_state=0).fit(X, sample_weight=weights) for X in (bits, csr_array(bits)))
    np.testing.assert_allclose(dense.weights_.W, sparse.weights_.W, atol=1e-6)
