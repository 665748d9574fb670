"""The outlier detector: scikit-learn's checks, raw tables, exact conditional surprise, and what it finds."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from deepbelief import DBN, RBM, AnomalyDetector, DeepAutoencoder
from deepbelief.errors import DataError, SettingError
from deepbelief.estimators import anomaly


def table(n=300, seed=0):
    """Return a table whose columns agree with each other, but for its last ten rows."""
    rng = np.random.default_rng(seed)
    size = rng.normal(1e4, 2e3, n)
    colour = np.where(size > 1e4, "red", "blue").astype(object)
    colour[-10:] = np.where(size[-10:] > 1e4, "blue", "red")
    share = size / 1e9 + rng.normal(0, 1e-8, n)
    share[-10:] = rng.normal(2e-5, 1e-6, 10)
    frame = pd.DataFrame({"size": size, "share": share, "colour": colour, "constant": 1.0})
    frame.loc[::9, "size"] = np.nan
    frame.loc[4::17, "colour"] = None
    return frame, np.r_[np.zeros(n - 10, bool), np.ones(10, bool)]


@pytest.fixture
def quick(monkeypatch):
    """Make fits short where their quality does not matter."""
    for name in ("DENSITY_UPDATES", "GAUSSIAN_UPDATES", "RECONSTRUCTION_UPDATES"):
        monkeypatch.setattr(anomaly, name, 50)


@pytest.mark.slow
@parametrize_with_checks([AnomalyDetector(random_state=0)])
def test_scikit_learns_checks(estimator, check, quick):
    check(estimator)


@pytest.mark.slow
def test_a_table_as_it_is():
    frame, odd = table()
    detector = AnomalyDetector(contamination=10 / 300, random_state=0).fit(frame)
    scores = detector.score_samples(frame)
    assert roc_auc_score(odd, -scores) > 0.95
    assert (detector.predict(frame) == -1).sum() == 10
    np.testing.assert_allclose(detector.decision_function(frame), scores - detector.offset_)
    # The order of columns is scikit-learn's business, the units of columns are nobody's.
    with pytest.raises(ValueError, match="feature names"):
        detector.score_samples(frame[["colour", "size", "share", "constant"]])
    other = frame.assign(size=frame["size"] * 1e-6 - 3, share=frame["share"] * 1e9)
    again = AnomalyDetector(contamination=10 / 300, random_state=0).fit(other)
    np.testing.assert_allclose(again.score_samples(other), scores, atol=0.1)


def test_the_surprise_of_a_value_is_its_conditional_probability(quick):
    rng = np.random.default_rng(0)
    X = np.c_[rng.integers(0, 3, 60), rng.integers(0, 2, 60), rng.integers(0, 4, 60)].astype(float)
    detector = AnomalyDetector(random_state=0).fit(X)
    found = detector.explain(X[:5])
    columns, rbm = detector._columns, detector._binned
    for row, j in itertools.product(range(5), range(3)):
        changed = np.repeat(X[row : row + 1], len(np.unique(X[:, j])), axis=0)
        changed[:, j] = np.unique(X[:, j])
        log_p = -rbm.free_energy(columns.states(changed)).astype(float)
        log_p -= np.logaddexp.reduce(log_p)
        np.testing.assert_allclose(found[row, j], -log_p[np.unique(X[:, j]) == X[row, j]][0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_most_surprising_column_is_the_odd_one():
    frame, _ = table()
    detector = AnomalyDetector(random_state=0).fit(frame)
    surprise = detector.explain(frame)
    assert surprise.shape == (300, 4)
    assert np.all(surprise[:, 3] == 0)
    assert (surprise[-10:].argmax(axis=1) == 1).all()


@pytest.mark.parametrize(
    "model",
    [RBM(8, n_iter=5), DBN((8,), rbm=RBM(n_iter=5)), DeepAutoencoder((3,), rbm=RBM(n_iter=5), max_iter=5)],
    ids=lambda m: type(m).__name__,
)
def test_a_model_of_ones_own(model):
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(0, 1, (200, 4)), rng.normal(0, 8, (10, 4))])
    detector = AnomalyDetector(model, contamination=0.05, random_state=0).fit(X)
    assert roc_auc_score(np.r_[np.zeros(200), np.ones(10)], -detector.score_samples(X)) > 0.9
    with pytest.raises(SettingError, match="default detector"):
        detector.explain(X)


def test_same_seed_same_scores_through_clone_and_pickle(quick):
    frame, _ = table(120)
    detector = AnomalyDetector(random_state=3).fit(frame)
    scores = detector.score_samples(frame)
    assert np.array_equal(clone(detector).fit(frame).score_samples(frame), scores)
    assert np.array_equal(pickle.loads(pickle.dumps(detector)).score_samples(frame), scores)


def test_a_mapping_of_columns_is_a_table(quick):
    columns = {"size": [1.0, 2.0, 3.0, 4.0, 50.0], "kind": list("xxyyx")}
    detector = AnomalyDetector(random_state=0).fit(columns)
    assert detector.feature_names_in_.tolist() == ["size", "kind"]
    frame = AnomalyDetector(random_state=0).fit(pd.DataFrame(columns))
    np.testing.assert_array_equal(detector.score_samples(columns), frame.score_samples(pd.DataFrame(columns)))


@pytest.mark.parametrize("contamination", [0, 0.6, -1, "some", True])
def test_contamination_has_bounds(contamination):
    with pytest.raises(SettingError, match="contamination"):
        AnomalyDetector(contamination=contamination).fit(np.eye(5))


def test_what_does_not_fit_is_refused(quick):
    frame, _ = table(120)
    detector = AnomalyDetector(random_state=0).fit(frame)
    with pytest.raises(DataError, match=r"row 0, column 'colour': 'green'.*'blue'"):
        detector.predict(frame.assign(colour="green"))
    with pytest.raises(DataError, match="row 0, column 'size': 'tall' is not a number"):
        detector.predict(frame.assign(size="tall"))
    with pytest.raises(SettingError, match="free_energy or reconstruction_error"):
        AnomalyDetector(AnomalyDetector()).fit(np.eye(5))
