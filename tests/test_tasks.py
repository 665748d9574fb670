"""DBNClassifier with several columns in y: tasks on shared layers, and labels of 0 and 1."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier
from deepbelief.activations import get_activation
from deepbelief.errors import DataError, DataWarning, SettingError
from deepbelief.estimators import tuning
from deepbelief.estimators.heads import Labels
from deepbelief.estimators.labels import row_weights
from deepbelief.estimators.targets import class_head
from deepbelief.finetuning import FineTuner, FineTuneSettings, TrainingSet
from deepbelief.losses import SoftmaxNLL, TaskSoftmaxNLL, get_loss
from deepbelief.network import Layer, Network
from deepbelief.sources import as_source

SHORT = {"rbm": RBM(n_iter=2, batch_size=20), "max_iter": 4, "random_state": 0}
N = 120


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    causes = rng.random((N, 2)) < 0.5
    X = (np.repeat(causes, 5, axis=1) ^ (rng.random((N, 10)) < 0.1)).astype(np.float64)
    return X, np.column_stack([causes[:, 0] * 2 + causes[:, 1], causes[:, 1]]).astype(int)


@pytest.fixture(scope="module")
def stack(data):
    return DBN((6, 5), rbm=SHORT["rbm"], random_state=1).fit(data[0]).stack_


def missing(y, share=0.6, seed=3):
    return np.where(np.random.default_rng(seed).random(y.shape) < share, -1, y)


def full_batch(bk, loss, targets, n=N, weights=None):
    """Return the loss and the gradients of a network with all rows in one minibatch."""
    rng = np.random.default_rng(1)
    X = np.random.default_rng(2).normal(size=(N, 4))[:n]
    hidden = [Layer(rng.normal(0, 0.7, (4, 5)), rng.normal(size=5), get_activation("tanh"))]
    head = rng.normal(size=(5, 6)), rng.normal(size=6)
    settings = FineTuneSettings(batch_size=n).resolve(n, 0.1)
    tuner = FineTuner(Network(hidden, *head, loss, bk), TrainingSet(as_source(X), targets, weights), None, settings)
    tuner.begin_epoch(0, np.arange(n))
    tuner._rate = 0.0
    grads = tuner.network.backward(tuner.gradient_at_output(0, n))
    arrays = [bk.to_numpy(g.array(bk) if hasattr(g, "array") else g).copy() for g in grads]
    return tuner.end_epoch(0)["loss"], arrays, tuner.network.host_params(), X


@case_by_case("kind", ["tasks", "labels"])
@case_by_case("weighted", [False, True])
def test_gradient_of_the_full_batch_loss_is_that_of_finite_differences(kind, weighted, bk):
    rng = np.random.default_rng(4)
    weights = rng.uniform(0, 2, N) if weighted else None
    tasks = [(slice(0, 4), 0.7), (slice(4, 6), 2.0)]
    if kind == "tasks":
        loss, targets = TaskSoftmaxNLL((4, 2), (0.7, 2.0)), missing(rng.integers(0, [4, 2], (N, 2)), 0.3)
    else:
        loss, targets = get_loss("cross_entropy"), rng.integers(0, 2, (N, 6)).astype(float)
    mean, found, params, X = full_batch(bk, loss, targets, weights=weights)
    w = np.ones(N) if weights is None else weights

    def mean_loss():
        z = np.tanh(X @ params[0] + params[1]) @ params[2] + params[3]
        if kind == "labels":
            each = (np.logaddexp(0, z) - targets * z).sum(axis=1)
            return (w * each).sum() / w.sum()
        each = np.zeros(N)
        for k, (columns, weight) in enumerate(tasks):
            known = np.flatnonzero(targets[:, k] >= 0)
            part = z[known, columns]
            nll = np.logaddexp.reduce(part, axis=1) - part[np.arange(len(known)), targets[known, k]]
            each[known] += weight * nll
        return (w * each).sum() / w.sum()

    assert mean == pytest.approx(mean_loss())
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


def test_a_missing_label_counts_exactly_nothing(bk):
    """The same rows as two sets, each with the labels of one task only: the sums of loss and gradient are the same."""
    y = np.random.default_rng(5).integers(0, [4, 2], (N, 2))
    y[: N // 2, 1] = -1
    both, found, _, _ = full_batch(bk, TaskSoftmaxNLL((4, 2)), y)
    first, of_first, _, _ = full_batch(bk, TaskSoftmaxNLL((4, 2), (1.0, 0.0)), np.where(y < 0, 1, y))
    second, of_second, _, _ = full_batch(
        bk, TaskSoftmaxNLL((4, 2), (0.0, 1.0)), np.where(y < 0, 0, y), weights=(np.arange(N) >= N // 2).astype(float)
    )
    assert both == pytest.approx(first + second / 2, rel=1e-12)
    for g, a, b in zip(found, of_first, of_second, strict=True):
        np.testing.assert_allclose(g, a + b / 2, rtol=1e-9, atol=1e-14)
    # What stands for a missing label in the memory of the loss makes no difference to a single bit.
    none, nothing, _, _ = full_batch(bk, TaskSoftmaxNLL((4, 2)), np.full((N, 2), -1))
    assert none == 0
    assert not any(g.any() for g in nothing)


def test_task_weights_scale_exactly(bk):
    y = np.random.default_rng(5).integers(0, [4, 2], (N, 2))
    one, grads, _, _ = full_batch(bk, TaskSoftmaxNLL((4, 2)), y)
    four, larger, _, _ = full_batch(bk, TaskSoftmaxNLL((4, 2), (4.0, 4.0)), y)
    assert four == 4 * one
    for a, b in zip(grads, larger, strict=True):
        np.testing.assert_array_equal(4 * a, b)
    parts = [full_batch(bk, TaskSoftmaxNLL((4, 2), w), y) for w in ((2.0, 0.0), (0.0, 0.5))]
    mixed, both, _, _ = full_batch(bk, TaskSoftmaxNLL((4, 2), (2.0, 0.5)), y)
    assert mixed == pytest.approx(parts[0][0] + parts[1][0], rel=1e-12)
    for g, a, b in zip(both, parts[0][1], parts[1][1], strict=True):
        np.testing.assert_allclose(g, a + b, rtol=1e-9, atol=1e-14)


def test_one_task_is_a_single_softmax(bk):
    y = np.random.default_rng(5).integers(0, 6, N)
    one, grads, _, _ = full_batch(bk, SoftmaxNLL(), y)
    same, again, _, _ = full_batch(bk, TaskSoftmaxNLL((6,)), y[:, None])
    assert one == same
    for a, b in zip(grads, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_task_alone_on_its_weight_is_the_classifier_of_that_task(data, stack, early_stopping):
    """With weight 0 for the other task the shared net is the net of the one task.

    Its products have two columns more, which a BLAS may sum in another order: the float64 rounding of some 100 updates.
    """
    X, y = data
    common = SHORT | {"pretrained": stack}
    alone = DBNClassifier(**common).fit(X, y[:, 0])
    shared = DBNClassifier(task_weights=[1, 0], **common).fit(X, y)
    np.testing.assert_allclose(shared.predict_proba(X)[0], alone.predict_proba(X), rtol=1e-9)
    np.testing.assert_allclose(shared.coefs_[-1][:, :4], alone.coefs_[-1], rtol=1e-9, atol=1e-12)
    assert not shared.coefs_[-1][:, 4:].any()
    np.testing.assert_allclose(shared.loss_curve_, alone.loss_curve_, rtol=1e-9)


def test_tasks_learn_predict_and_score(data):
    X, y = data
    clf = DBNClassifier((12,), **SHORT | {"max_iter": 40}).fit(X, y)
    assert [c.tolist() for c in clf.classes_] == [[0, 1, 2, 3], [0, 1]]
    assert [c.shape for c in clf.coefs_] == [(10, 12), (12, 6)]
    probabilities, predicted = clf.predict_proba(X), clf.predict(X)
    assert [p.shape for p in probabilities] == [(N, 4), (N, 2)]
    for k, p in enumerate(probabilities):
        np.testing.assert_allclose(p.sum(axis=1), 1)
        np.testing.assert_array_equal(predicted[:, k], clf.classes_[k][p.argmax(axis=1)])
        np.testing.assert_allclose(clf.predict_log_proba(X)[k], np.log(p))
    assert clf.score(X, y) == np.mean([accuracy_score(y[:, k], predicted[:, k]) for k in range(2)]) > 0.9
    weights = np.arange(N)
    expected = np.mean([accuracy_score(y[:, k], predicted[:, k], sample_weight=weights) for k in range(2)])
    assert clf.score(X, y, sample_weight=weights) == pytest.approx(expected)
    assert clf.n_unlabeled_ == 0
    some = missing(y)
    known = some >= 0
    expected = np.mean([(predicted[known[:, k], k] == y[known[:, k], k]).mean() for k in range(2)])
    assert clf.score(X, some) == pytest.approx(expected)
    for wrong in (y[:, 0], y[:, [0, 1, 1]]):
        with pytest.raises(DataError, match=r"the predictions have \(120, 2\)"):
            clf.score(X, wrong)
    with pytest.raises(DataError, match=r"task 1 .* no label"):
        clf.score(X, np.column_stack([y[:, 0], np.full(N, -1)]))


def test_missing_labels_of_tasks_and_of_a_0_1_matrix_count_for_nothing(data, stack):
    X, y = data
    gone = np.random.default_rng(3).random(y.shape) < 0.5
    none = gone.all(axis=1)
    for marked in (
        np.where(gone, np.nan, y),
        np.where(gone, None, y.astype(object)),
        np.where(gone, "", y.astype(str)),
    ):
        clf = DBNClassifier(pretrained=stack, **SHORT).fit(X, marked)
        assert clf.n_unlabeled_ == none.sum() > 0
        assert [len(c) for c in clf.classes_] == [4, 2]
        right = clf.predict(X).astype(int) == y
        assert clf.score(X, marked) == pytest.approx(np.mean([right[~gone[:, k], k].mean() for k in range(2)]))
    bits = (y > 0).astype(float)
    for mark, unlabeled in ((np.nan, "auto"), (-1, "auto"), (7, 7)):
        marked = np.where(gone, mark, bits)
        clf = DBNClassifier(pretrained=stack, loss="cross_entropy", unlabeled=unlabeled, **SHORT).fit(X, marked)
        assert clf.n_unlabeled_ == none.sum()
        agree = ((clf.predict(X) == bits) | gone).all(axis=1)
        assert clf.score(X, marked) == pytest.approx(agree[~none].mean())
    with pytest.raises(DataError, match=r"needs a y of 0 and 1, and -1 for missing labels, got -1"):
        DBNClassifier(pretrained=stack, loss="cross_entropy", unlabeled=None).fit(X, np.where(gone, -1, bits))


def test_tasks_of_numbers_and_of_words_keep_their_types(data):
    X, y = data
    mixed = np.empty(y.shape, object)
    mixed[:, 0], mixed[:, 1] = y[:, 0], np.array(["no", "yes"])[y[:, 1]]
    clf = DBNClassifier((12,), **SHORT).fit(X, mixed)
    assert clf.score(X, mixed) == np.mean([(clf.predict(X)[:, k] == mixed[:, k]).mean() for k in range(2)]) > 0.7


@pytest.mark.parametrize("classes", [3, 4])
def test_one_hot_classes_are_not_taken_for_tasks_without_a_word(data, stack, classes):
    X, y = data
    one_hot = np.eye(4)[y[:, 0]][:, :classes]
    one_hot[5] = 0
    if classes == 3:  # a quarter of the rows has none: independent columns look like that
        DBNClassifier(pretrained=stack, **SHORT).fit(X, one_hot)
        return
    with pytest.warns(DataWarning, match=r"119 of 120 rows have a single 1; 1 rows, .* row 5 .* y.argmax\(axis=1\)"):
        DBNClassifier(pretrained=stack, **SHORT).fit(X, one_hot)
    DBNClassifier(pretrained=stack, loss="cross_entropy", **SHORT).fit(X, one_hot)


def test_words_are_classes_of_tasks_too(data):
    X, y = data
    words = np.array(list("wxyz"))[y]
    clf = DBNClassifier((12,), **SHORT).fit(X, words)
    assert [c.tolist() for c in clf.classes_] == [["w", "x", "y", "z"], ["w", "x"]]
    assert clf.predict(X).dtype == words.dtype
    assert set(clf.predict(X)[:, 1]) <= {"w", "x"}


def test_rows_with_any_label_train_and_the_others_only_pretrain(data, stack, monkeypatch):
    X, y = data
    y = missing(y)
    without = (y < 0).all(axis=1)
    assert 20 < without.sum() < 60
    seen, finetune = [], tuning.finetune
    monkeypatch.setattr(tuning, "finetune", lambda *a, **k: seen.append(a) or finetune(*a, **k))
    clf = DBNClassifier(pretrained=stack, unlabeled=-1, **SHORT).fit(X, y)
    assert clf.n_unlabeled_ == without.sum()
    train = seen[0][3]
    np.testing.assert_array_equal(train.rows.take(slice(None)), X[~without])
    np.testing.assert_array_equal(train.targets, y[~without])
    kept = DBNClassifier(pretrained=stack, unlabeled=-1, **SHORT).fit(X[~without], y[~without])
    for a, b in zip(kept.coefs_, clf.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


@case_by_case(
    ("columns", "unlabeled", "targets"),
    [
        ([[0, 1, -1, 2], [-1, 1, 1, -1]], "auto", [[0, 1, -1, 2], [0, 1, 1, 0]]),  # {-1, 1} is a binary task
        ([[0, 1, -1, 2], [-1, 1, 0, -1]], "auto", [[0, 1, -1, 2], [-1, 1, 0, -1]]),
        ([[0, 1, -1, 2], [-1, 1, 0, -1]], None, [[1, 2, 0, 3], [0, 2, 1, 0]]),
        ([[9, 1, 0, 9], [9, 9, 3, 5]], 9, [[-1, 1, 0, -1], [-1, -1, 0, 1]]),
        ([["a", "?", "b", "a"], ["?", "c", "d", "?"]], "?", [[0, -1, 1, 0], [-1, 0, 1, -1]]),
    ],
)
def test_what_marks_a_missing_label_is_asked_of_each_task(columns, unlabeled, targets):
    head, found, known = class_head(np.array(columns).T, "auto", unlabeled, None)
    expected = np.array(targets).T
    np.testing.assert_array_equal(known, (expected >= 0).any(axis=1))
    np.testing.assert_array_equal(found, expected[known])
    assert head.loss.sizes == tuple(len(c) for c in head.classes) == tuple(expected.max(axis=0) + 1)


def test_early_stopping_maximises_the_mean_accuracy_of_the_tasks(data, monkeypatch):
    X, y = data
    seen, finetune = [], tuning.finetune
    monkeypatch.setattr(tuning, "finetune", lambda *a, **k: seen.append(k["validation"]) or finetune(*a, **k))
    settings = SHORT | {"max_iter": 60, "n_iter_no_change": 4}
    clf = DBNClassifier((6,), early_stopping=True, validation_fraction=0.25, **settings).fit(X, y)
    held = seen[0]
    assert held.targets.shape == (30, 2)
    best = max(r["validation_score"] for r in clf.history_ if r["phase"] == "finetune")
    assert clf.score(held.rows.take(slice(None)), held.targets) == pytest.approx(best, abs=1e-4)
    assert clf.n_iter_ < 60


def test_warm_start_asks_for_the_same_tasks(data):
    X, y = data
    clf = DBNClassifier((6,), warm_start=True, **SHORT).fit(X, y)
    assert clf.fit(X, y).n_iter_ == 8
    for other in (y[:, ::-1], y[:, :1].ravel(), np.column_stack([y, y[:, 0]])):
        with pytest.raises(DataError, match=r"continues with classes \[\[0, 1, 2, 3\], \[0, 1\]\], y has"):
            clf.fit(X, other)
    assert [len(c) for c in clf.classes_] == [4, 2]


def test_weights_of_classes_multiply_over_columns_as_in_scikit_learn(data):
    from sklearn.utils.class_weight import compute_sample_weight

    _, y = data
    every = np.ones(N, bool)
    for weight in ("balanced", [{0: 1, 1: 2, 2: 3, 3: 4}, {0: 0.5, 1: 1}], ["balanced", {0: 3, 1: 1}]):
        expected = compute_sample_weight(weight, y)
        np.testing.assert_allclose(row_weights(y, every, None, weight, y >= 0), expected)
    y = np.array([[0, 1], [1, -1], [1, 0]])
    second = row_weights(y, np.ones(3, bool), None, [None, {0: 5, 1: 7}], y >= 0)
    assert second.tolist() == [7, 1, 5]
    known = row_weights(y, np.ones(3, bool), [1, 1, 2], [{0: 3, 1: 1}, {0: 5, 1: 7}], y >= 0)
    assert known.tolist() == [21, 1, 10]
    for bad in ({0: 1}, [None], "even", [None, {8: 1}]):
        with pytest.raises(SettingError, match="class_weight"):
            DBNClassifier((6,), class_weight=bad, **SHORT).fit(data[0], data[1])


# --- labels of 0 and 1 ---


def labels_of(y):
    return np.column_stack([y[:, 0] > 1, y[:, 1], y[:, 0] == 3]).astype(int)


def test_labels_are_logistic_outputs(data):
    X, y = data[0], labels_of(data[1])
    clf = DBNClassifier((12,), loss="cross_entropy", **SHORT | {"max_iter": 40}).fit(X, y)
    h = X
    for W, b in zip(clf.coefs_, clf.intercepts_, strict=True):
        h = 1 / (1 + np.exp(-h @ W - b))
    np.testing.assert_allclose(clf.predict_proba(X), h, rtol=1e-9)
    np.testing.assert_allclose(clf.predict_log_proba(X), np.log(h), rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(clf.predict(X), (h > 0.5).astype(int))
    assert clf.classes_.tolist() == [0, 1, 2]
    assert clf.score(X, y) == (clf.predict(X) == y).all(axis=1).mean() > 0.8
    for same in (y.astype(bool), y.astype(float), y.astype(np.uint8)):
        again = DBNClassifier((12,), loss="cross_entropy", **SHORT | {"max_iter": 40}).fit(X, same)
        np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))


def test_a_label_is_predicted_where_it_is_more_probable_than_not():
    assert Labels(3, get_loss("cross_entropy")).predict(np.array([[0.49, 0.5, 0.51]])).tolist() == [[0, 0, 1]]


def test_labels_stop_early_by_their_loss(data):
    settings = SHORT | {"max_iter": 30, "early_stopping": True}
    clf = DBNClassifier((6,), loss="cross_entropy", **settings).fit(data[0], labels_of(data[1]))
    record = clf.history_[-1]
    assert record["validation_score"] is None
    assert record["validation_loss"] > 0


def test_losses_and_targets_that_do_not_go_together_are_refused_before_training(data, monkeypatch):
    monkeypatch.setattr("deepbelief.layer.run_epochs", lambda *a, **k: pytest.fail("training began"))
    X, y = data
    labels = labels_of(y)
    cases = [
        ({}, y + 0.5, "Unknown label type: continuous.*DBNRegressor"),
        ({}, y[:, 0] + 0.5, "Unknown label type: continuous.*DBNRegressor"),
        ({"loss": "softmax_nll"}, y[:, 0] / 7, "classes in y must be whole numbers or strings, got 0.*DBNRegressor"),
        ({"loss": "squared_error"}, y[:, 0], "softmax_nll.*cross_entropy"),
        ({"loss": "cross_entropy"}, y[:, 0], r"0/1 matrix.*got shape \(120,\).*softmax_nll"),
        ({"loss": "cross_entropy"}, labels[:, 0], "0/1 matrix.*softmax_nll"),
        ({"loss": "cross_entropy"}, y, "0 and 1, .* got [23].*softmax_nll.*DBNRegressor"),
        ({"loss": "cross_entropy"}, labels.astype(str), "0 and 1, .* got '[01]'"),
        ({"loss": "cross_entropy"}, labels * 0.5, "0 and 1, .* got 0.5"),
        ({"loss": "cross_entropy", "unlabeled": None}, missing(labels), "0 and 1, .* got -1.*softmax_nll"),
        ({"loss": "cross_entropy", "task_weights": [1, 1, 1]}, labels, "task_weights"),
        ({"task_weights": [1, 2]}, y[:, 0], "task_weights.*several columns"),
        ({"task_weights": [1, 2, 3]}, y, "task_weights has 3 numbers, y has 2 tasks"),
        ({"task_weights": [1]}, y, "task_weights has 1 numbers, y has 2 tasks"),
        ({"loss": SoftmaxNLL()}, y, "supports a single task.*softmax_nll.*2 columns"),
        ({}, np.column_stack([y[:, 0], np.zeros(N, int)]), "task 1 .*1 class: .*0"),
        ({"unlabeled": -1}, np.column_stack([y[:, 0], np.full(N, -1)]), "task 1 .*no label"),
        ({"unlabeled": -1}, np.full((N, 2), -1), "task 0 .*no label"),
        ({}, y[:-1], "inconsistent|119"),
        ({}, np.where(y, y, np.inf), "infinity"),
    ]
    for rows in (X, as_source(X)):
        for settings, targets, match in cases:
            with pytest.raises(ValueError, match=match) as caught:
                DBNClassifier((6,), **SHORT | settings).fit(rows, targets)
            if "inconsistent" not in match and "infinity" not in match:
                assert isinstance(caught.value, (DataError, SettingError))
                assert "\n" not in str(caught.value)


def test_sparse_targets_are_refused_and_one_column_is_a_vector(data):
    from scipy import sparse

    X, y = data
    with pytest.raises(DataError, match=r"sparse.*toarray"):
        DBNClassifier((6,), loss="cross_entropy", **SHORT).fit(X, sparse.csr_array(labels_of(y)))
    for rows in (X, as_source(X)):
        with pytest.warns(UserWarning, match="column-vector y"):
            clf = DBNClassifier((6,), **SHORT).fit(rows, y[:, :1])
        assert clf.predict(X).shape == (N,)
    np.testing.assert_array_equal(clf.predict(X), DBNClassifier((6,), **SHORT).fit(X, y[:, 0]).predict(X))


@case_by_case("settings", [{}, {"loss": "cross_entropy"}])
def test_backends_agree_and_leave_numpy_behind(data, settings, bk):
    X, y = data[0], labels_of(data[1])
    on_host = DBNClassifier((6,), early_stopping=True, **SHORT | settings).fit(X, y)
    there = DBNClassifier((6,), early_stopping=True, backend=bk, **SHORT | settings).fit(X, y)
    results = [c.predict_proba(X) for c in (there, on_host)]
    for one, other in zip(*[r if isinstance(r, list) else [r] for r in results], strict=True):
        assert type(one) is np.ndarray
        if bk.name != "cupy":  # which draws from a generator of its own
            np.testing.assert_array_equal(one, other)
    device = there.predict_proba(bk.asarray(X))
    assert all(bk.owns(p) for p in (device if isinstance(device, list) else [device]))
    assert bk.owns(there.predict(bk.asarray(X)))
    assert there.score(bk.asarray(X), y) == there.score(X, y)


def test_no_copies_between_host_and_device_within_a_minibatch(fake_device):
    from fake_device import no_crossings

    y = np.random.default_rng(5).integers(0, [4, 2], (N, 2))
    output, target = fake_device.asarray(np.full((N, 6), 0.25)), fake_device.asarray(missing(y))
    loss = TaskSoftmaxNLL((4, 2), (1.0, 2.0))
    with no_crossings():
        loss.values(fake_device, output, target)
        loss.score(fake_device, output, target)
        loss.gradient(fake_device, output, target, output)
