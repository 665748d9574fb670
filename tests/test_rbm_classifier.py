"""The classification RBM: p(y | v) and rows of a class beside sums over every state; what is refused; files."""

import numpy as np
import pytest
from exact import energies, gradient, log_z, states, tiny, visible_states
from scipy import sparse
from sklearn.datasets import load_digits, load_iris
from tables import case_by_case

from deepbelief import RBM, RBMClassifier, Weights, load, save
from deepbelief.errors import DataError, FileFormatError, SettingError
from deepbelief.estimators.labels import repeated
from deepbelief.estimators.persistence import from_model_file, to_model_file
from deepbelief.gradients import CD, PhaseBuffers
from deepbelief.likelihood import ais_log_z, exact_log_z, log_likelihood, pseudo_log_likelihood, reverse_ais_log_z
from deepbelief.machine import Machine
from deepbelief.seeds import stream
from deepbelief.sources import JoinedSource, as_source

SPEC = "labelled:bernoulli,3"


def classifier(weights, labels=("a", "b", "c")):
    """Return a fitted classifier of 2 bits and 3 classes with these weights."""
    X = np.array([[0, 1], [1, 0], [1, 1]] * 4, float)
    clf = RBMClassifier(weights.n_hidden, rbm=RBM(n_iter=1), random_state=0).fit(X, list(labels) * 4)
    clf.weights_ = weights
    return clf


def joint_log_p(weights, V):
    """Return log of the unnormalised p(v, y) for every row and label, by the sum over hidden states."""
    H = states(weights.n_hidden)
    rows = [np.hstack([V, np.tile(np.eye(3)[k], (len(V), 1))]) for k in range(3)]
    return np.stack([np.logaddexp.reduce(-energies(weights, both, H), axis=1) for both in rows], axis=1)


@pytest.mark.parametrize("method", ["exact", "ais"])
def test_log_likelihoods_sum_over_labels_and_hidden_states(weights, method):
    V = states(2)
    joint = joint_log_p(weights, V)
    found = classifier(weights).log_likelihood(
        V, method=method, **({"random_state": 0, "betas": 1000} if method == "ais" else {})
    )
    expected = np.logaddexp.reduce(joint, axis=1) - np.logaddexp.reduce(joint.ravel())  # the four rows are all rows
    np.testing.assert_allclose(found.rows, expected, atol=1e-10 if method == "exact" else 0.2)
    assert found.low - 1e-9 <= expected.mean() <= found.high + 1e-9


def test_missing_values_are_summed_out(weights, bk):
    joint = joint_log_p(weights, states(2))
    rows = np.array([[0, 0], [np.nan, 1], [1, np.nan], [np.nan, np.nan]])
    alike = [((states(2) == row) | np.isnan(row)).all(axis=1) for row in rows]
    expected = np.array([np.logaddexp.reduce(joint[same], axis=0) for same in alike])  # rows, classes
    log_p = np.logaddexp.reduce(expected, axis=1)
    clf = classifier(weights).set_params(backend=bk)
    for X in (rows, as_source(rows)):
        np.testing.assert_allclose(clf.predict_log_proba(X), expected - log_p[:, None], atol=1e-10)
        np.testing.assert_allclose(clf.free_energy(X), -log_p, atol=1e-10)
        found = clf.log_likelihood(X)
        np.testing.assert_allclose(found.rows, log_p - np.logaddexp.reduce(joint.ravel()), atol=1e-10)


def test_the_default_averages_the_weights_of_the_second_half():
    X, y = load_iris(return_X_y=True)
    X = (X - X.min(axis=0)) / np.ptp(X, axis=0)
    own, same, last = (
        RBMClassifier(8, rbm=rbm, random_state=0).fit(X[::5], y[::5]).weights_.W
        for rbm in (None, RBM(averaging=0.5), RBM())
    )
    np.testing.assert_array_equal(own, same)
    assert not np.array_equal(own, last)


@pytest.mark.parametrize("standardised", [False, True])
def test_rates_follow_the_data_whether_there_are_labels_beside_them_or_not(standardised):
    X, y = load_iris(return_X_y=True)
    X = X if standardised else (X - X.min(axis=0)) / np.ptp(X, axis=0)
    with_labels, without = (
        model.set_params(random_state=0).fit(X, y).history_[0]["learning_rate"]
        for model in (RBMClassifier(rbm=RBM(n_iter=1)), RBM(n_iter=1))
    )
    assert without <= with_labels < 1.4 * without


@pytest.fixture(scope="module")
def weights():
    return tiny(5, 4, spread=1.2, visible=SPEC)


def test_probabilities_of_classes_by_enumeration(weights):
    clf, V = classifier(weights), states(2)
    joint = joint_log_p(weights, V)
    expected = joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)
    np.testing.assert_allclose(clf.predict_log_proba(V), expected, rtol=1e-10)
    np.testing.assert_allclose(clf.predict_proba(V), np.exp(expected), rtol=1e-10)
    assert clf.predict(V).tolist() == np.array(["a", "b", "c"])[expected.argmax(axis=1)].tolist()
    np.testing.assert_allclose(clf.free_energy(V), -np.logaddexp.reduce(joint, axis=1), rtol=1e-10)
    assert np.ptp(np.exp(expected), axis=0).max() > 0.05  # rows differ in what they are told to be


def test_rows_of_a_class_have_their_distribution(weights):
    """3,000 rows of each class after 60 steps: means within five of their own standard errors."""
    clf, V = classifier(weights), states(2)
    for number, label in enumerate("abc"):
        rows = clf.sample([label] * 3000, n_steps=60, random_state=1)
        log_p = joint_log_p(weights, V)[:, number]
        expected = np.exp(log_p - np.logaddexp.reduce(log_p)) @ V
        error = rows.std(axis=0, ddof=1) / np.sqrt(3000)
        assert (np.abs(rows.mean(axis=0) - expected) < 5 * error).all()


@case_by_case("spec", [SPEC, "labelled:gaussian,3"])
def test_log_z_of_rows_and_labels(bk, spec):
    weights = tiny(5, 3, spread=0.8, visible=spec)
    if spec == SPEC:
        truth = log_z(weights)
    else:  # two columns integrated out for each label and hidden state
        H = states(3)
        field = H @ weights.W.T
        data = (field[:, :2] @ weights.vbias[:2]) + (field[:, :2] ** 2 / 2).sum(axis=1) + np.log(2 * np.pi)
        labels = np.logaddexp.reduce(field[:, 2:] + weights.vbias[2:], axis=1)
        truth = np.logaddexp.reduce(H @ weights.hbias + data + labels)
    assert exact_log_z(weights, backend=bk) == pytest.approx(truth, rel=1e-12)
    for estimate in (ais_log_z, reverse_ais_log_z):
        found = estimate(weights, n_runs=1000, betas=40, backend=bk)
        assert abs(found.log_z - truth) < 0.1
        assert found.low < truth < found.high
    if spec == SPEC:
        rows = visible_states(weights)
        assert np.exp(log_likelihood(weights, rows).rows).sum() == pytest.approx(1)
        with pytest.raises(SettingError, match="Bernoulli or softmax"):
            pseudo_log_likelihood(weights, rows)


def test_long_chains_approach_the_exact_gradient(bk):
    weights = tiny(5, 3, spread=0.6, visible=SPEC)
    rows = visible_states(weights)[[0, 3, 4, 7]]
    machine = Machine(weights, bk)
    buffers, total = PhaseBuffers(bk, machine), [0.0] * 3
    v = np.repeat(rows, 500, axis=0)
    for draw in range(4):
        buffers.visible(2 * len(v))[: len(v)] = bk.asarray(v)
        grads = CD(40, sample_visible=True)(machine, buffers, len(v), len(v), {}, bk.rng(stream(draw)))
        arrays = [grads[0].array(bk), *grads[1:]]
        total = [t + bk.to_numpy(g) / 4 for t, g in zip(total, arrays, strict=True)]
    for found, expected in zip(total, gradient(weights, rows), strict=True):
        np.testing.assert_allclose(found, expected, atol=0.03)


def test_digits_are_told_apart_and_drawn(tmp_path):
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    clf = RBMClassifier(60, rbm=RBM(n_iter=20), random_state=0).fit(X[500:], y[500:])
    assert clf.score(X[:500], y[:500]) > 0.85
    drawn = clf.sample(np.arange(10), n_steps=200, random_state=0)
    means = np.stack([X[y == k].mean(axis=0) for k in range(10)])
    nearest = np.square(drawn[:, None] - means[None]).sum(axis=2).argmin(axis=1)
    assert (nearest == np.arange(10)).sum() >= 7
    np.testing.assert_array_equal(
        clf.sample([3], n_steps=9, random_state=5), clf.sample([3], n_steps=9, random_state=5)
    )
    save(clf, tmp_path / "digits.h5")
    again = load(tmp_path / "digits.h5")
    np.testing.assert_array_equal(again.predict_log_proba(X), clf.predict_log_proba(X))
    np.testing.assert_array_equal(again.classes_, clf.classes_)
    np.testing.assert_array_equal(again.sample([3, 4], n_steps=5), clf.sample([3, 4], n_steps=5))
    np.testing.assert_allclose(clf.predict_proba(sparse.csr_matrix(X[:50])), clf.predict_proba(X[:50]), rtol=1e-4)


def test_columns_of_any_size_are_standardised(fake_device):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    X = 50 + 20 * (np.eye(3)[y] @ rng.normal(size=(3, 4)) * 2 + rng.normal(size=(300, 4)))
    clf = RBMClassifier(10, rbm=RBM(n_iter=40), random_state=0).fit(X, y)
    assert clf.weights_.visible == "labelled:gaussian,3"
    assert clf.score(X, y) > 0.8
    assert abs(clf.sample([0] * 50, n_steps=50).mean(axis=0) - X[y == 0].mean(axis=0)).max() < 25
    on_device = RBMClassifier(10, rbm=RBM(n_iter=2), backend=fake_device, random_state=0).fit(X, y)
    assert type(on_device.weights_.W) is np.ndarray
    assert type(on_device.predict_proba(X)) is np.ndarray
    assert type(on_device.sample([1], n_steps=2)) is np.ndarray


@pytest.mark.parametrize("weighted", [False, True])
def test_gaussian_columns_are_scaled_by_their_deviation_within_classes(weighted):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = np.column_stack([1e4 + 5 * y + rng.normal(size=90), rng.normal(size=90), y, np.full(90, 3.0)])
    X[4, 1] = np.nan
    counts = rng.integers(1, 4, 90) if weighted else np.ones(90, int)
    clf = RBMClassifier(4, rbm=RBM(n_iter=1), random_state=0).fit(X, y, counts if weighted else None)
    rows, numbers = np.repeat(X, counts, axis=0), np.repeat(y, counts)
    total = np.nanstd(rows, axis=0)
    away = rows - np.stack([np.nanmean(rows[numbers == c], axis=0) for c in range(3)])[numbers]
    n = (~np.isnan(rows)).sum(axis=0)
    within = np.sqrt(np.nansum(away**2, axis=0) / (n - 3) * (n - 1) / n)
    expected = [within[0], min(within[1], total[1]), 0.1 * total[2], 1]
    np.testing.assert_allclose(clf.weights_.scale[:4], expected, rtol=1e-6)
    np.testing.assert_array_equal(clf.weights_.scale[4:], 1)


def test_iris_is_told_apart_as_well_as_by_a_linear_model():
    """Units of the noise within classes; by the deviation over all rows accuracy is 0.86, that of nearest centroids."""
    X, y = load_iris(return_X_y=True)
    clf = RBMClassifier(32, random_state=0).fit(X[::2], y[::2])
    assert clf.score(X[1::2], y[1::2]) > 0.93


def test_joined_rows():
    joined = JoinedSource(as_source(np.eye(3)), as_source(np.arange(3)[:, None]))
    out = np.empty((2, 4))
    assert joined.take(np.array([2, 0]), out) is out
    assert out.tolist() == [[0, 0, 1, 2], [1, 0, 0, 0]]
    assert joined.take(slice(1, 2)).tolist() == [[0, 1, 0, 1]]
    with pytest.raises(DataError, match="3 rows cannot be joined with 2"):
        JoinedSource(as_source(np.eye(3)), as_source(np.eye(2)))


@case_by_case(
    ("settings", "y", "error", "match"),
    [
        ({}, [1, 1, 1, 1], DataError, "y has 1 class"),
        ({}, [0.5, 1.5, 2.5, 0.1], ValueError, "Unknown label type"),
        ({}, np.eye(4, 2, dtype=int), DataError, "one column of classes"),
        ({"rbm": RBM(hidden="rectified")}, [0, 1, 0, 1], SettingError, "no free energy to classify by"),
        ({"rbm": RBM(visible="rectified")}, [0, 1, 0, 1], SettingError, "rectified units are hidden units"),
        ({"rbm": "cd"}, [0, 1, 0, 1], SettingError, "rbm must be an RBM or None"),
        ({"n_components": 0}, [0, 1, 0, 1], SettingError, "n_components"),
    ],
)
def test_what_cannot_be_fitted(settings, y, error, match):
    X = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]], float)
    with pytest.raises(error, match=match):
        RBMClassifier(**{"n_components": 3, **settings}).fit(X, y)


def test_what_cannot_be_drawn_or_read(weights):
    clf = classifier(weights)
    with pytest.raises(DataError, match="unknown class 'd': choose one of a, b, c"):
        clf.sample(["a", "d"])
    for settings in ({"n_steps": 0}, {"temperature": -1}):
        with pytest.raises(SettingError, match=next(iter(settings))):
            clf.sample(["a"], **settings)
    clf.weights_ = Weights(weights.W, weights.vbias, weights.hbias, "labelled:bernoulli,2")
    with pytest.raises(FileFormatError, match="3 classes, but labelled:bernoulli,2 visible units"):
        from_model_file(to_model_file(clf, {}))
    clf.classes_ = np.array(["b", "a", "c"])
    with pytest.raises(FileFormatError, match="sorted"):
        from_model_file(to_model_file(clf, {}))


def test_class_weight_is_the_row_given_again_and_finds_rare_classes():
    weights, numbers = np.array([1.0, 1, 1, 1, 2.5, 2.5]), np.array([0, 0, 0, 0, 1, 1])
    assert np.bincount(repeated(weights, numbers, 0)).tolist() in ([1, 1, 1, 1, 3, 2], [1, 1, 1, 1, 2, 3])
    assert len(repeated(np.array([1e-6, 1, 1, 1]), np.array([0, 1, 1, 1]), 0)) in (40, 41)
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [600, 12])
    X = (rng.random((612, 16)) < np.where(y[:, None] == np.arange(16) % 2, 0.7, 0.3)).astype(float)
    test_y = np.repeat([0, 1], 200)
    test_X = (rng.random((400, 16)) < np.where(test_y[:, None] == np.arange(16) % 2, 0.7, 0.3)).astype(float)
    fits = [RBMClassifier(16, rbm=RBM(n_iter=10), class_weight=w, random_state=0).fit(X, y) for w in (None, "balanced")]
    plain, balanced = ((fit.predict(test_X)[200:] == 1).mean() for fit in fits)
    assert plain < 0.5 < 0.7 < balanced
    twice = RBMClassifier(4, rbm=RBM(n_iter=1), class_weight={0: 1, 1: 2}, random_state=0).fit(X, y)
    assert twice.weights_.visible_mean[-1] == pytest.approx((24 + 1) / (624 + 2))
