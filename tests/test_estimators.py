"""What all estimators have in common: scikit-learn's own checks, settings, rows of every kind, and host arrays only."""

import contextlib
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from unittest import SkipTest

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, check_cv, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_classifiers_train, check_regressors_train, parametrize_with_checks
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, DBNRegressor, DeepAutoencoder, RBMClassifier, RecurrentRBM
from deepbelief.activations import Activation
from deepbelief.errors import BackendError, DataError, SettingError, SizingWarning
from deepbelief.estimators import base
from deepbelief.estimators.base import next_stream
from deepbelief.losses import SquaredError
from deepbelief.sources import as_source

SHORT = RBM(n_iter=2, batch_size=10)
UNIT_TYPES = {"gaussian": RBM(hidden="gaussian", n_iter=2), "rectified": RBM(hidden="rectified", n_iter=2)}
# Each estimator once or twice, with as many options as go together; that each estimator learns as it comes is below.
CHECKED = [
    RBM(4, n_iter=2, visible="gaussian", hidden="rectified", nesterovs_momentum=True),
    RBM(
        4, n_iter=2, gradient="fpcd", gibbs_steps=(1, 2), n_chains=5, centered=True, averaging=0.5,
        sparsity_target=0.1, validation_fraction=0.2,
    ),
    DBN((5, 4), rbm=RBM(n_iter=2, batch_size=10, gradient="pcd", gibbs_steps=2), n_passes=2),
    DBNClassifier(
        (16, 8), rbm=RBM(n_iter=2), activation="tanh", unlabeled=None, class_weight="balanced", max_iter=12,
        learning_rate_init=0.3,
    ),
    RBMClassifier(16, rbm=RBM(n_iter=10)),
    DBNRegressor((16, 8), rbm=UNIT_TYPES["rectified"], max_iter=10, early_stopping=True, validation_fraction=0.2),
    DeepAutoencoder(
        (5, 3), rbm=UNIT_TYPES["gaussian"], max_iter=3, code="sigmoid", loss="squared_error", tied=True, alpha=1e-4
    ),
    RecurrentRBM(4, 3, n_iter=2, cell="gru", visible="gaussian", pretrain_frames=1, truncation=4),
]  # fmt: skip
STOCHASTIC = "minibatches are drawn by row, so that a weight of 2 is not a repetition (nor is it in SGDClassifier)"

IN_ORDER = "the rows are the frames of a sequence: what is said of one depends on those before it"


def expected_failures(estimator):
    if isinstance(estimator, RecurrentRBM):
        return {f"check_methods_{kind}_invariance": IN_ORDER for kind in ("sample_order", "subset")}
    return {f"check_sample_weight_equivalence_on_{kind}_data": STOCHASTIC for kind in ("dense", "sparse")}


@pytest.mark.slow
@parametrize_with_checks(CHECKED, expected_failed_checks=expected_failures)
@pytest.mark.filterwarnings("ignore::deepbelief.errors.SizingWarning")
@pytest.mark.filterwarnings("ignore:.*fit:sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore::deepbelief.errors.TrainingWarning")  # some checks fit noise
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    with contextlib.suppress(SkipTest):  # a check that is for other estimators, or for another setting of SciPy
        check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::deepbelief.errors.SizingWarning")
def test_a_classifier_as_it_comes_learns_what_scikit_learn_asks_of_it():
    check_classifiers_train("DBNClassifier", DBNClassifier())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::deepbelief.errors.SizingWarning")
def test_a_regressor_as_it_comes_learns_what_scikit_learn_asks_of_it():
    check_regressors_train("DBNRegressor", DBNRegressor())


@pytest.fixture(scope="module")
def bits():
    """90 rows of 12 bits; the first six, and the last six, mostly agree."""
    rng = np.random.default_rng(0)
    causes = rng.random((90, 2)) < 0.5
    rows = np.repeat(causes, 6, axis=1) ^ (rng.random((90, 12)) < 0.1)
    return rows.astype(np.float64), causes[:, 0] * 2 + causes[:, 1]


FITTED = [
    RBM(6, n_iter=3, random_state=3, gradient="pcd", validation_fraction=0.2),
    RBM(6, n_iter=3, random_state=3, visible="gaussian", hidden="rectified"),
    DBN((6, 5), rbm=SHORT, n_passes=2, random_state=3),
    DBN((6, 5), rbm=SHORT, pretraining="denoising", corruption="salt_and_pepper", random_state=3),
    DBNClassifier((6, 5), rbm=UNIT_TYPES["rectified"], max_iter=3, early_stopping=True, random_state=3),
    DBNRegressor((6, 5), rbm=SHORT, max_iter=3, solver="sgd", random_state=3),
    DeepAutoencoder((6, 5), rbm=SHORT, max_iter=3, early_stopping=True, random_state=3),
    DeepAutoencoder((6, 5), rbm=SHORT, max_iter=3, code="sigmoid", tied=True, random_state=3),
    RecurrentRBM(6, 5, n_iter=2, pretrain_frames=1, pretrain_recurrent=1, truncation=20, random_state=3),
    RecurrentRBM(6, 5, n_iter=2, cell="gru", solver="sgd", visible="gaussian", pretrain_frames=1, random_state=3),
]
EACH = pytest.mark.parametrize("estimator", FITTED, ids=lambda e: f"{type(e).__name__}-{FITTED.index(e)}")


def host_values(value, seen=None):
    """Yield every value that can be reached from an estimator."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    yield value
    if isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    else:
        parts = vars(value).values() if hasattr(value, "__dict__") else ()
    for part in parts:
        yield from host_values(part, seen)


def arrays_of(estimator):
    fitted = {k: v for k, v in vars(estimator).items() if k not in estimator.get_params(deep=False)}
    return [v for v in host_values(fitted) if hasattr(v, "dtype") and hasattr(v, "shape") and v.shape != ()]


def assert_same_bits(one, other):
    """Every array reached from two fitted estimators, private ones too, and every number of their histories."""
    left, right = arrays_of(one), arrays_of(other)
    assert len(left) == len(right) > 2
    for a, b in zip(left, right, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    without_times = [[{k: v for k, v in r.items() if k != "seconds"} for r in e.history_] for e in (one, other)]
    assert without_times[0] == without_times[1]


@pytest.mark.slow
@EACH
def test_one_seed_gives_the_same_bits_and_another_gives_others(estimator, bits):
    first = clone(estimator).fit(*bits)
    again = clone(estimator).fit(*bits)
    assert_same_bits(first, again)
    assert_same_bits(first, again.fit(*bits))
    other = clone(estimator).set_params(random_state=4).fit(*bits)
    assert (other.transform(bits[0]) != first.transform(bits[0])).any()


@case_by_case("estimator", {type(e): e for e in [*FITTED, RBMClassifier(6, rbm=SHORT)]}.values())
def test_without_a_seed_numpys_global_stream_decides(estimator, bits):
    def fitted(*seed):
        for s in seed:
            np.random.seed(s)  # noqa: NPY002
        return clone(estimator).set_params(random_state=None).fit(*bits)

    first, second, again = fitted(1), fitted(), fitted(1)
    assert_same_bits(again, first)
    assert any((a != b).any() for a, b in zip(arrays_of(first), arrays_of(second), strict=True))


@case_by_case(
    "settings",
    [
        {}, {"gradient": "pcd"}, {"visible": "gaussian"}, {"visible": "gaussian", "hidden": "rectified"},
        {"hidden": "gaussian"}, {"visible": "softmax:2,2,2,2"}, {"binarize": "resample"}, {"gradient": "pt"},
    ])  # fmt: skip
def test_both_precisions_learn_the_same_from_one_seed(settings):
    one = np.random.default_rng(0).random((120, 4))
    rows = np.stack([one, 1 - one], axis=2).reshape(120, 8)
    rows = rows.round() if "softmax:2,2,2,2" in settings.values() or not settings else rows
    single, double = (
        RBM(6, n_iter=2, random_state=3, **settings).fit(rows.astype(dtype)) for dtype in (np.float32, np.float64)
    )
    assert single.components_.dtype == np.float32
    np.testing.assert_allclose(single.components_, double.components_, atol=1e-6)
    np.testing.assert_allclose(single.gibbs(rows, random_state=5), double.gibbs(rows, random_state=5), atol=1e-5)


def test_threads_that_share_a_model_draw_from_different_streams():
    class Slow:
        """A model whose counter takes its time, so that threads meet there."""

        _seed, number = 3, 0

        @property
        def _draws(self):
            found = self.number
            time.sleep(0.002)
            return found

        @_draws.setter
        def _draws(self, value):
            self.number = value

    model = Slow()
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: next_stream(model, "sample", None).spawn_key, range(16)))
    assert len(set(keys)) == 16
    assert next_stream(model, "sample", 5).spawn_key == next_stream(model, "sample", 5).spawn_key


@EACH
def test_only_numpy_arrays_are_left_behind_and_backends_agree(estimator, bits, bk):
    on_device = clone(estimator).set_params(backend=bk).fit(*bits)
    found = arrays_of(on_device)
    assert len(found) > 2
    assert {type(a) for a in found} == {np.ndarray}
    on_host = clone(estimator).fit(*bits)
    assert type(on_device.transform(bits[0])) is np.ndarray
    if bk.name != "cupy":  # which draws from a generator of its own
        np.testing.assert_array_equal(on_device.transform(bits[0]), on_host.transform(bits[0]))
        assert_same_bits(on_device, on_host)


@EACH
def test_rows_on_the_device_give_results_on_the_device(estimator, bits, bk):
    X, y = bits
    estimator = clone(estimator).set_params(backend=bk).fit(X, y)
    methods = ["transform"] + [m for m in ("gibbs", "predict_proba", "predict") if hasattr(estimator, m)]
    for method in methods:
        extra = {"random_state": 0} if method == "gibbs" else {}
        there = getattr(estimator, method)(bk.asarray(X), **extra)
        assert bk.owns(there)
        np.testing.assert_array_equal(bk.to_numpy(there), getattr(estimator, method)(X, **extra))
    fitted = clone(estimator).fit(bk.asarray(X), y)
    assert_same_bits(fitted, estimator)


def test_rows_of_another_device_are_refused_with_both_remedies(bits, fake_device):
    rows = fake_device.asarray(bits[0])
    with pytest.raises(BackendError, match=r"backend='cupy'.*X\.get\(\)"):
        RBM(2).fit(rows)
    with pytest.raises(BackendError, match=r"backend='cupy'.*X\.get\(\)"):
        RBM(2, n_iter=1).fit(bits[0]).transform(rows)


@pytest.mark.slow
@EACH
def test_sparse_rows_train_to_the_same_bits_and_never_become_dense_as_a_whole(estimator, bits, monkeypatch):
    X, y = np.tile(bits[0], (23, 1)), np.tile(bits[1], 23)
    dense = clone(estimator).fit(X, y)
    kind = (sparse.csr_array, sparse.csr_matrix)[FITTED.index(estimator) % 2]
    largest, whole = [], kind.toarray

    def toarray(self, *args, **kwargs):
        largest.append(self.shape[0])
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(kind, "toarray", toarray)
    rows = kind(X)
    thin = clone(estimator).fit(rows, y)
    assert_same_bits(thin, dense)
    methods = [m for m in ("transform", "predict", "predict_proba", "score_samples") if hasattr(thin, m)]
    for method in methods:
        np.testing.assert_array_equal(getattr(thin, method)(rows), getattr(dense, method)(X))
    assert 0 < max(largest) <= 2048 < len(X)


@pytest.mark.slow
@EACH
def test_other_dtypes_count_as_float32(estimator, bits):
    X, y = bits
    single = clone(estimator).fit(X.astype(np.float32), y)
    at = FITTED.index(estimator)  # two of the dtypes for each estimator
    for dtype in ((np.uint8, np.float16), (np.int64, bool))[at % 2]:
        assert_same_bits(clone(estimator).fit(X.astype(dtype), y), single)
        assert single.transform(X.astype(dtype)).dtype == np.float32


@EACH
def test_floats_keep_their_dtype_throughout(estimator, bits):
    X, y = bits
    dtype = (np.float32, np.float64)[FITTED.index(estimator) % 2]
    estimator = clone(estimator).fit(X.astype(dtype), y)
    # What is in the units of y is as exact as y, whatever the rows are.
    of_y = [getattr(estimator, name, None) for name in ("target_mean_", "target_scale_")]
    arrays = [a for a in arrays_of(estimator) if not any(a is b for b in of_y)]
    floats = {a.dtype for a in arrays if a.dtype.kind == "f"}
    assert floats == {np.dtype(dtype)}
    assert estimator.transform(X.astype(dtype)).dtype == dtype


@EACH
def test_row_sources_are_rows_too(estimator, bits):
    X, y = bits
    frame = pd.DataFrame(X, columns=[f"bit {i}" for i in range(12)])
    estimator = clone(estimator).fit(frame, y)
    assert estimator.feature_names_in_[3] == "bit 3"
    estimator.fit(as_source(X), y)
    assert not hasattr(estimator, "feature_names_in_")
    assert_same_bits(estimator, clone(estimator).fit(X, y))
    np.testing.assert_array_equal(estimator.transform(as_source(X)), estimator.transform(X))
    with pytest.raises(ValueError, match=r"4 features, but \w+ is expecting 12"):
        estimator.transform(as_source(X[:, :4]))
    with pytest.raises(DataError, match="1 sample"):
        clone(estimator).fit(as_source(X[:1]), y[:1])


@EACH
def test_frames_in_and_out(estimator, bits):
    frame = pd.DataFrame(bits[0], columns=[f"bit {i}" for i in range(12)])
    estimator = clone(estimator).set_output(transform="pandas").fit(frame, bits[1])
    out = estimator.transform(frame)
    assert isinstance(out, pd.DataFrame)
    name = type(estimator).__name__.lower()
    assert list(out.columns) == list(estimator.get_feature_names_out()) == [f"{name}{i}" for i in range(out.shape[1])]
    with pytest.raises(ValueError, match="feature names"):
        estimator.transform(frame[frame.columns[::-1]])


@EACH
def test_clones_are_unfitted_and_pickles_are_not(estimator, bits):
    estimator = clone(estimator).fit(*bits)
    assert not [k for k in vars(clone(estimator)) if k.endswith("_")]
    back = pickle.loads(pickle.dumps(estimator))
    assert_same_bits(back, estimator)
    np.testing.assert_array_equal(back.transform(bits[0]), estimator.transform(bits[0]))


@EACH
@pytest.mark.filterwarnings("ignore:the narrowest layer:deepbelief.errors.SizingWarning")
def test_one_column_is_enough(estimator, bits):
    estimator = clone(estimator).fit(bits[0][:, :1], bits[1] > 1)
    assert np.isfinite(estimator.transform(bits[0][:, :1])).all()


def test_plain_rows_need_no_check_of_scikit_learns(bits, monkeypatch):
    X, y = bits
    model = DBNClassifier((6,), rbm=RBM(n_iter=1), max_iter=1, random_state=0).fit(X, y)
    expected, checked = model.predict_proba(X), []
    check = base.validate_data
    monkeypatch.setattr(base, "validate_data", lambda *args, **kwargs: checked.append(1) or check(*args, **kwargs))
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    assert not checked
    others = [X.tolist(), X.astype(int), X.astype(np.float16), X.astype(X.dtype.newbyteorder()), sparse.csr_matrix(X)]
    for i, rows in enumerate(others, start=1):
        np.testing.assert_allclose(model.predict_proba(rows), expected, rtol=1e-5)
        assert len(checked) == i
    for rows in [X[:0], X[0], X[:, :-1], np.full_like(X, np.inf)]:
        with pytest.raises(ValueError, match=r"sample|2D|features|infinity"):
            model.predict_proba(rows)


@EACH
def test_rows_that_cannot_be_used(estimator, bits):
    X, y = bits
    fitted = clone(estimator).fit(X, y)
    broken = X.copy()
    broken[7, 3] = np.nan
    if get_tags(estimator).input_tags.allow_nan:
        np.testing.assert_array_equal(fitted.transform(as_source(broken)), fitted.transform(broken))
        broken[7, 3] = np.inf
    for rows, match in [(broken, "NaN|infinity"), (X[:0], "0 sample"), (X[:1], "1 sample|[Oo]ne"),
                        (X + 1j, "[Cc]omplex"), (np.full((90, 12), "a"), "could not convert|numeric"),
                        (X[0], "2D")]:  # fmt: skip
        with pytest.raises(ValueError, match=match):
            clone(estimator).fit(rows, y[: len(rows)])
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        fitted.transform(broken)
    with pytest.raises(ValueError, match=r"row 7, column 3|NaN"):
        clone(estimator).fit(as_source(broken), y)
    with pytest.raises(DataError, match=r"(row|frame) 7, column 3"):
        fitted.transform(as_source(broken))
    np.testing.assert_array_equal(fitted.transform(as_source(X)), fitted.transform(X))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*hardly vary")
def test_a_search_over_the_learning_rate_of_pretraining(bits):
    X, y = bits
    nested = GridSearchCV(DBNClassifier((6,), rbm=RBM(n_iter=2), max_iter=3), {"rbm__learning_rate": [1e-9, 0.1]}, cv=2)
    nested.fit(X, y)
    assert nested.best_estimator_.rbm.learning_rate == nested.best_params_["rbm__learning_rate"]
    rates = {r["learning_rate"] for r in nested.best_estimator_.history_ if r["phase"] == "pretrain"}
    assert rates == {nested.best_params_["rbm__learning_rate"]}
    pipeline = make_pipeline(RBM(8, random_state=0, n_iter=20), LogisticRegression())
    search = GridSearchCV(pipeline, {"rbm__learning_rate": [1e-9, 0.1], "rbm__n_components": [8]}, cv=2).fit(X, y)
    assert search.best_params_["rbm__learning_rate"] == 0.1
    assert search.best_score_ > 0.9
    lone = GridSearchCV(RBM(8, random_state=0, n_iter=20), {"learning_rate": [1e-9, 0.1]}, cv=2).fit(X)
    assert lone.best_params_["learning_rate"] == 0.1


@case_by_case("cls", [DBN, DBNClassifier, DBNRegressor, DeepAutoencoder, RBMClassifier])
@case_by_case(("rbm", "fix"), [(None, r"got None\. Pass rbm=RBM\(\)"), ([RBM(), RBM()], "got a list. Give one")])
def test_settings_of_a_template_that_is_not_there_are_one_clear_line(cls, rbm, fix, bits):
    model = cls(rbm=rbm)
    with pytest.raises(SettingError, match=rf"`rbm__learning_rate` needs one RBM as `rbm`, {fix}"):
        model.set_params(rbm__learning_rate=0.1)
    assert model.set_params(rbm=RBM(), rbm__learning_rate=0.1).rbm.learning_rate == 0.1


def test_sizes_are_warned_of_once_and_only_where_the_user_gave_them(recwarn):
    X, y = np.random.default_rng(0).random((40, 200)), np.arange(40) % 2
    short = {"rbm": RBM(n_iter=1), "random_state": 0}
    for estimator in (DBN(**short), DBNClassifier(max_iter=1, **short)):
        estimator.fit(X, y)
    assert not recwarn.list
    assert estimator.stack_.sizes == (200, *(w.n_hidden for w in estimator.stack_))
    for estimator in (DBN((10,), n_passes=2, **short), DBNClassifier((10,), max_iter=1, **short)):
        estimator.fit(X, y)
        assert [w.category for w in recwarn.list] == [SizingWarning]
        assert recwarn.list[0].filename == __file__
        recwarn.clear()


NUMBER = "must be"
FLAGS = ("nesterovs_momentum", "warm_start", "centered", "learn_variance")
BAD_RBM = [
    ("visible", "bernouli", "did you mean 'bernoulli'"),
    ("visible", 3, "bernoulli, gaussian"),
    ("visible", "rectified", "hidden units"),
    ("visible", "softmax:3,x", "softmax:3,3,2"),
    ("visible", "softmax:3,3", "12 columns"),
    ("hidden", "gausian", "did you mean 'gaussian'"),
    ("hidden", "softmax", "visible units"),
    ("hidden", None, "bernoulli, gaussian"),
    ("gradient", "cdd", "did you mean 'cd'"),
    ("gradient", 1, "cd, pcd"),
    ("schedule", "linaer", "did you mean 'linear'"),
    ("schedule", None, "constant, linear, cosine"),
    *[("gibbs_steps", v, NUMBER) for v in (0, 1.5, "x", True, (0, 3), (1, 2.5), (1, 2, 3), [1])],
    *[("n_chains", v, NUMBER) for v in (0, 1.5, "all", None, True)],
    *[("l1", v, NUMBER) for v in (-1e-9, np.inf, None)],
    *[("averaging", v, NUMBER) for v in (-0.1, 1.1, "x", None)],
    *[("binarize", v, "threshold, sample, resample") for v in ("smaple", True, 1)],
    *[("learning_rate", v, NUMBER) for v in (0, -1, np.nan, np.inf, "fast", None, True)],
    *[("momentum", v, NUMBER) for v in (-0.1, 1, "high")],
    *[("weight_decay", v, NUMBER) for v in (-1e-9, np.inf, None)],
    *[("batch_size", v, NUMBER) for v in (0, 2.5, "all", None)],
    *[("n_iter", v, NUMBER) for v in (0, 1.0, "many")],
    *[("validation_fraction", v, NUMBER) for v in (-0.1, 1, None)],
    *[("sparsity_target", v, NUMBER) for v in (0, 1, "low")],
    ("sparsity_cost", -1, NUMBER),
    *[
        (name, v, "True or False")
        for name in ("nesterovs_momentum", "warm_start", "centered", "learn_variance")
        for v in ("no", 2, None)
    ],
]
BAD_OUTER = [
    *[("hidden_layer_sizes", v, "hidden_layer_sizes") for v in ("atuo", (), 0, (5, 0), (5.0,), (True,), None)],
    *[("rbm", v, "rbm must be an RBM") for v in ("RBM", RBM, 3, DBN())],
    ("rbm", [RBM()], "1 templates for 2 layers"),
    *[("n_passes", v, NUMBER) for v in (0, 1.5, "x")],
]
BAD_TUNED = [
    ("solver", "adamm", "did you mean 'adam'"),
    ("solver", None, "sgd"),
    ("schedule", "auto", "constant, linear, cosine"),
    *[("learning_rate_init", v, NUMBER) for v in (0, np.inf, "x")],
    *[("momentum", v, NUMBER) for v in (1, -1, "auto")],
    *[("alpha", v, NUMBER) for v in (-1, np.nan)],
    *[("batch_size", v, NUMBER) for v in (0, "x", 1.5)],
    *[("max_iter", v, NUMBER) for v in (0, "x")],
    *[("validation_fraction", v, NUMBER) for v in (0, 1)],
    *[("n_iter_no_change", v, NUMBER) for v in (0, 1.5)],
    ("tol", -1, NUMBER),
    ("l1", -1, NUMBER),
    *[("max_norm", v, NUMBER) for v in (0, -1, "x")],
    *[(name, v, NUMBER) for name in ("dropout", "input_dropout") for v in (1, 1.0, -0.1, "x", None)],
    ("dropout", [0.5, 1], NUMBER),
    ("dropout", [0.1, 0.2, 0.3], "dropout must be a number or a list of 2 rates, got 3"),
    ("schedule", "halving", "early_stopping=True"),
    ("schedule", "halvin", "did you mean 'halving'"),
    ("pretraining", "rmb", "did you mean 'rbm'"),
    *[("pretrained", v, "pretrained") for v in (3, DBN(), LogisticRegression())],
    *[(name, "no", "True or False") for name in ("early_stopping", "nesterovs_momentum", "warm_start")],
]
BAD_CLASSIFIER = [
    ("activation", "tahn", "did you mean 'tanh'"),
    ("activation", None, "sigmoid, tanh"),
    *[(name, v, NUMBER) for name in ("head_epochs", "n_frozen") for v in (-1, 1.5, "x")],
    *[("pretrained_lr_factor", v, NUMBER) for v in (-1, "x")],
    ("n_frozen", 3, "n_frozen=3 exceeds.*2"),
    *[("class_weight", v, "class_weight") for v in ("even", 3, {7: 1}, {0: -1}, {0: np.inf})],
]
BAD_LOSSES = [
    (DBNClassifier, "loss", "squared_error", r"DBNRegressor.*softmax_nll.*cross_entropy"),
    (DBNClassifier, "loss", "softmax", "did you mean 'softmax_nll'"),
    (DBNClassifier, "loss", None, "softmax_nll"),
    (DBNClassifier, "loss", SquaredError(), "DBNRegressor"),
    *[(DBNClassifier, "task_weights", v, "task_weights must") for v in ("x", 3, [1, -1], [0, 0], [1, None], [np.nan])],
    (DBNClassifier, "task_weights", [1.0], "several columns"),
    *[(DBNRegressor, "loss", v, "DBNClassifier.*squared_error") for v in ("softmax_nll", "cross_entropy")],
    (DBNRegressor, "loss", "squared_eror", "did you mean 'squared_error'"),
    *[(DBNRegressor, *bad) for bad in (("activation", "tahn", "'tanh'"), ("n_frozen", 3, "n_frozen=3"))],
]
BAD_AUTOENCODER = [
    *[("code", v, "linear, sigmoid") for v in ("logistic", None, 3)],
    ("loss", "squared_eror", "did you mean 'squared_error'"),
    ("loss", None, "cross_entropy, squared_error"),
    ("loss", "softmax_nll", "auto, cross_entropy or squared_error"),
    *[("tied", v, "True or False") for v in ("no", None)],
]
CLASSES = (RBM, DBN, DBNClassifier, DBNRegressor, DeepAutoencoder)


def in_turn(classes, settings):
    """Each setting for one of the classes, which all check it in the same place."""
    return [(classes[i % len(classes)], *bad) for i, bad in enumerate(settings)]


BAD = (
    [(RBM, *bad) for bad in [*BAD_RBM, ("n_components", 0, NUMBER), ("n_components", "x", NUMBER)]]
    + in_turn(CLASSES[1:], BAD_OUTER)
    + in_turn(CLASSES[2:], BAD_TUNED)
    + [(DBNClassifier, *bad) for bad in BAD_CLASSIFIER]
    + BAD_LOSSES
    + [(DeepAutoencoder, *bad) for bad in BAD_AUTOENCODER]
    + in_turn(CLASSES, [("random_state", v, "random_state") for v in ("x", -1, 1.5, "y", [])])
)


@case_by_case(("cls", "name", "value", "match"), BAD)
def test_a_bad_setting_is_one_clear_line_before_any_training(cls, name, value, match, bits, monkeypatch):
    monkeypatch.setattr("deepbelief.layer.run_epochs", lambda *a, **k: pytest.fail("training began"))
    settings = {"n_components": 3} if cls is RBM else {"hidden_layer_sizes": (6, 5)}
    with pytest.raises(SettingError, match=match) as caught:
        cls(**settings | {name: value}).fit(*bits)
    assert "\n" not in str(caught.value)


@case_by_case(
    ("settings", "match"),
    [
        ({"momentum": "ramp", "solver": "adam"}, "momentum='ramp' is for solver='sgd'"),
        ({"head_epochs": 5, "max_iter": 4}, "head_epochs=5 exceeds max_iter=4.*n_frozen"),
        ({"pretraining": "denoising", "rbm": RBM(gradient="pcd")}, "gradient='pcd'.*use only one of them"),
        ({"rbm": RBM(schedule="halving")}, "an RBM does not have: use linear"),
        ({"rbm": RBM(hidden="gaussian", sparsity_target=0.1)}, "sparsity_target needs hidden='bernoulli'"),
    ],
)
def test_settings_that_contradict_each_other(settings, match, bits, monkeypatch):
    monkeypatch.setattr("deepbelief.layer.run_epochs", lambda *a, **k: pytest.fail("training began"))
    for cls in (DBNClassifier, DBNRegressor):
        with pytest.raises(SettingError, match=match):
            cls((6, 5), **settings).fit(*bits)


@case_by_case(("name", "value", "match"), {bad[0]: bad for bad in BAD_RBM}.values())
def test_bad_settings_of_a_template_are_found_too(name, value, match, bits, monkeypatch):
    monkeypatch.setattr("deepbelief.layer.run_epochs", lambda *a, **k: pytest.fail("training began"))
    with pytest.raises(SettingError, match=match):
        DBN((6,), rbm=RBM(**{name: value})).fit(bits[0])


@case_by_case(("cls", "value", "match"), in_turn(CLASSES, [("numpi", "did you mean 'numpy'"), (3, "numpy, cupy")] * 3))
def test_unknown_backends(cls, value, match, bits):
    with pytest.raises(BackendError, match=match):
        cls(backend=value).fit(*bits)


@dataclass(frozen=True)
class OnlyForward:
    name: str = "half"
    rate: float = 0.1

    def forward(self, bk, x, bias):
        return x


class Inherits(Activation):
    def forward(self, bk, x, bias):
        return x


class OnlySteps:
    def step(self, *args):
        pass


class OnlyGibbsSteps:
    gibbs_steps = 1


class OnlyValues:
    targets = "classes"

    def values(self, *args):
        pass


@case_by_case(
    ("settings", "missing"),
    [
        ({"activation": OnlyForward()}, "activation=OnlyForward must define initial_limit, backward"),
        ({"activation": Inherits()}, "activation=Inherits must define name, rate, initial_limit, backward"),
        ({"solver": OnlySteps()}, "solver=OnlySteps must define rate, start"),
        ({"loss": OnlyValues()}, "loss=OnlyValues must define predict, score, gradient, measures"),
        ({"rbm": RBM(gradient=OnlyGibbsSteps())}, "gradient=OnlyGibbsSteps must define schedule, momentum"),
        ({"activation": 3}, "activation must be one of sigmoid, .* or an instance, got 3"),
        ({"solver": 3}, "solver must be one of sgd, .* or an instance, got 3"),
    ],
)
def test_an_incomplete_strategy_is_refused_with_what_is_missing(settings, missing):
    with pytest.raises(SettingError, match=missing):
        DBNClassifier((4,), **settings).fit(np.eye(6), [0, 1] * 3)


@EACH
def test_the_html_view_links_to_the_page_of_the_estimator(estimator, bits, monkeypatch):
    monkeypatch.setattr("deepbelief.documentation.site", lambda: "")
    assert clone(estimator)._get_doc_link() == ""  # the metadata of the package name no site
    monkeypatch.setattr("deepbelief.documentation.site", lambda: "https://docs.test")
    address = f"https://docs.test/api/generated/deepbelief.{type(estimator).__name__}.html"
    assert clone(estimator)._get_doc_link() == address
    assert address in clone(estimator)._repr_html_()


@pytest.mark.slow
@case_by_case("cls", [DBNClassifier, DBNRegressor])
def test_sample_weights_are_routed_through_pipelines_and_cross_validation(cls, bits):
    X, y = bits[0][:60], bits[0][:60, 0].astype(int)
    weight = np.where(y == 1, 5.0, 0.1)
    model = cls((4,), rbm=RBM(n_iter=1), max_iter=3, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = clone(model).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        features = RBM(5, n_iter=1, random_state=0).set_fit_request(sample_weight=False)
        pipeline = make_pipeline(features, asking).fit(X, y, sample_weight=weight)
        scores = cross_validate(asking, X, y, cv=2, params={"sample_weight": weight}, return_estimator=True)
        unweighted = make_pipeline(features, clone(model)).fit(X, y)
    direct = clone(model).fit(clone(features).fit_transform(X), y, sample_weight=weight)
    np.testing.assert_array_equal(pipeline[-1].predict(features.transform(X)), direct.predict(features.transform(X)))
    assert (unweighted[-1].coefs_[-1] != direct.coefs_[-1]).any()
    first = next(iter(check_cv(2, y, classifier=cls is DBNClassifier).split(X, y)))[0]
    again = clone(model).fit(X[first], y[first], sample_weight=weight[first])
    np.testing.assert_array_equal(scores["estimator"][0].coefs_[-1], again.coefs_[-1])


def wrapped(library, X):
    """Return rows as another library holds them; skip where it is not installed."""
    module = pytest.importorskip({"polars": "polars", "xarray": "xarray", "torch": "torch"}[library])
    if library == "polars":
        return module.DataFrame(X, schema=[f"c{i}" for i in range(X.shape[1])])
    return module.DataArray(X, dims=("row", "column")) if library == "xarray" else module.from_numpy(X)


@pytest.mark.parametrize("library", ["polars", "xarray", "torch"])
def test_rows_of_other_libraries_are_rows(library, bits):
    X, y = bits[0].astype(np.float32), bits[0][:, 0].astype(int)
    rows = wrapped(library, X)
    if library != "polars":  # a frame keeps its columns apart
        assert np.shares_memory(np.asarray(rows), X)
    for model in (RBM(4, n_iter=2, random_state=0), DBNClassifier((4,), max_iter=2, random_state=0)):
        theirs, ours = clone(model).fit(rows, y), clone(model).fit(X, y)
        found = theirs.transform(rows)
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, ours.transform(X))


def test_rows_that_numpy_cannot_read_are_refused_with_the_remedy(bits):
    lazy = pytest.importorskip("polars").DataFrame(bits[0]).lazy()
    with pytest.raises(DataError, match=r"`X` must be in memory, got a LazyFrame\. Call its collect\(\) first"):
        RBM(2).fit(lazy)
    rows = pytest.importorskip("torch").from_numpy(bits[0]).requires_grad_()
    with pytest.raises(DataError, match=r"`X` must be readable by NumPy, got a Tensor: .*detach"):
        RBM(2).fit(rows)
