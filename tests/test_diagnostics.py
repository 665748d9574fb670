"""Gradient checks that find what is wrong, rows learned by heart or not, and sweeps that recommend rightly."""

import copy
import itertools
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from conftest import BACKENDS
from joblib import parallel_config
from pairwise import pairwise, pairwise_cases
from sklearn.utils.parallel import Parallel
from tables import case_by_case

from deepbelief import (
    DBN,
    RBM,
    DBNClassifier,
    DBNRegressor,
    DeepAutoencoder,
    gradient_check,
    learning_rate_sweep,
    overfit_check,
)
from deepbelief.activations import ACTIVATIONS, HardTanh, ReLU, Tanh
from deepbelief.backends import Product, get_backend
from deepbelief.backends.numpy_backend import NumpyBackend
from deepbelief.diagnostics import differences, objectives, rate_sweep
from deepbelief.diagnostics.differences import compare
from deepbelief.diagnostics.rate_sweep import between
from deepbelief.errors import DataError, SettingError
from deepbelief.losses import CrossEntropy, SoftmaxNLL, SquaredError
from deepbelief.network import Layer
from deepbelief.sources import as_source
from deepbelief.stack import Stack, Weights
from deepbelief.units import Bernoulli, Gaussian

REGULARISERS = {
    "none": {},
    "alpha": {"alpha": 0.3},
    "l1": {"l1": 0.05},
    "dropout": {"dropout": 0.4, "input_dropout": 0.2},
    "all": {"alpha": 0.1, "l1": 0.02, "dropout": 0.3},
}
pytestmark = pytest.mark.filterwarnings("ignore::deepbelief.errors.SizingWarning")


def stack(sizes=(5, 4, 3), hidden="bernoulli", seed=1):
    """Layers with weights of both signs, as pretraining might leave them."""
    rng = np.random.default_rng(seed)
    layers = [
        Weights(rng.normal(0, 0.8, (n, m)), rng.normal(0, 0.5, n), rng.normal(0, 0.5, m), "bernoulli", hidden)
        for n, m in itertools.pairwise(sizes)
    ]
    return Stack(tuple(layers))


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).random((12, 5))


@pytest.fixture(scope="module")
def y():
    return np.arange(12) % 3


def classifier(**settings):
    return DBNClassifier(**{"pretrained": stack(), "random_state": 0} | settings)


def arrays_of(value, seen=None):
    """Yield every array that hangs on an object, with copies of plain values between them."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from arrays_of(each, seen)
    elif isinstance(value, dict):
        for each in value.values():
            yield from arrays_of(each, seen)
    elif hasattr(value, "__dict__"):
        yield from arrays_of(vars(value), seen)


class Untouched:
    """Fails if an object is not, at the end of the block, what it was at its start."""

    def __init__(self, model):
        self.model = model

    def __enter__(self):
        self.names, self.values = list(vars(self.model)), list(vars(self.model).values())
        self.arrays = list(arrays_of(self.model))
        self.copies = [a.copy() for a in self.arrays]

    def __exit__(self, *exception):
        assert list(vars(self.model)) == self.names
        assert all(a is b for a, b in zip(vars(self.model).values(), self.values, strict=True))
        for a, b in zip(self.arrays, self.copies, strict=True):
            np.testing.assert_array_equal(a, b)


# --- gradient_check: what is right ---


@pairwise(bk=BACKENDS, regulariser=REGULARISERS, activation=ACTIVATIONS, indirect=["bk"])
def test_classifiers_pass(activation, regulariser, X, y, bk):
    model = classifier(activation=activation, backend=bk, **REGULARISERS[regulariser])
    result = gradient_check(model, X, y)
    assert result.ok, result
    assert result.max_relative_error < 1e-6
    assert [row.name for row in result.rows] == ["W1", "bias1", "W2", "bias2", "W_head", "bias_head"]
    assert [row.shape for row in result.rows] == [(5, 4), (4,), (4, 3), (3,), (3, 3), (3,)]
    assert all(row.n_checked + row.n_skipped == np.prod(row.shape) for row in result.rows)


@pairwise(
    bk=BACKENDS,
    regulariser=["none", "all"],
    tied=[False, True],
    loss=[CrossEntropy(), SquaredError("sigmoid"), SquaredError()],
    indirect=["bk"],
)
def test_autoencoders_pass(loss, tied, regulariser, X, bk):
    model = DeepAutoencoder(
        pretrained=stack(), loss=loss, tied=tied, backend=bk, random_state=0, **REGULARISERS[regulariser]
    )
    result = gradient_check(model, X)
    assert result.ok, result
    assert result.max_relative_error < 1e-6
    Ws = ["W1", "W2"] if tied else ["W1", "W2", "W3", "W_head"]
    assert sorted(row.name for row in result.rows) == sorted([*Ws, "bias1", "bias2", "bias3", "bias_head"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "targets"),
    [
        (DBNRegressor, lambda y: np.sin(y)),
        (DBNRegressor, lambda y: np.column_stack([y, np.cos(y)])),
        (DBNClassifier, lambda y: np.column_stack([y, np.arange(12) % 2])),
        (partial(DBNClassifier, loss="cross_entropy"), lambda y: np.eye(3)[y].astype(int)),
    ],
    ids=["regression", "several columns", "tasks", "labels"],
)
def test_every_kind_of_target_goes_through_the_diagnostics(model, targets, X, y, bk):
    estimator, wanted = model(pretrained=stack(), alpha=0.1, dropout=0.2, backend=bk, random_state=0), targets(y)
    with Untouched(estimator):
        assert gradient_check(estimator, X, wanted).ok
    estimator = model((20,), pretraining="none", activation="tanh", solver="adam", learning_rate_init=0.02, backend=bk)
    assert overfit_check(estimator, X, wanted, n_rows=10, max_iter=600).ok
    often = np.tile(X, (8, 1)), np.concatenate([wanted] * 8)  # rows held out are rows learned
    sweep = learning_rate_sweep(estimator.set_params(max_iter=40), *often, rates=(0.02, 1e-9), n_jobs=1)
    assert [row.verdict for row in sweep.rows] == ["good", "too slow"]
    assert sweep.best_rate == 0.02


def test_a_fitted_model_is_checked_at_its_weights(X, y):
    model = classifier(max_iter=2, alpha=0.1).fit(X.astype(np.float32), y)
    with Untouched(model):
        assert gradient_check(model, X, y).ok
    model.coefs_[0][0, 0] = 1e9  # the loss overflows nowhere, the penalty is all there is
    at = gradient_check(model, X, y)
    assert at.rows[0].relative_error < 1e-6
    model.coefs_[0][0, 0] = np.inf
    with pytest.raises(DataError, match="not finite"):
        gradient_check(model, X, y)


def test_an_unfitted_model_stays_so_and_its_generator_where_it_is(X, y):
    generator = np.random.default_rng(3)
    before = copy.deepcopy(generator.bit_generator.state)
    model = DBNClassifier((4,), rbm=RBM(n_iter=1), random_state=generator)
    with Untouched(model):
        assert gradient_check(model, X, y).ok
    assert generator.bit_generator.state == before
    assert not hasattr(model, "coefs_")


def test_rows_of_weight_0_and_unlabelled_rows_do_not_count(X, y):
    labels = np.where(np.arange(12) < 3, -1, y)
    assert gradient_check(classifier(), X, labels).ok
    weighted = classifier(class_weight={0: 0.0, 1: 1.0, 2: 3.0})
    assert gradient_check(weighted, X, y).ok


def test_large_arrays_are_sampled_by_the_seed(X, y, monkeypatch):
    compared = []

    def recorded(objective, param, index, bk, run=differences._differences):
        compared.append(np.transpose(index).tolist())
        return run(objective, param, index, bk)

    def check(**seed):
        compared.clear()
        return gradient_check(classifier(), X, y, n_elements=6, **seed).rows, list(compared)

    monkeypatch.setattr(differences, "_differences", recorded)
    rows, elements = check()
    assert [row.n_checked for row in rows] == [len(places) for places in elements] == [6, 4, 6, 3, 6, 3]
    assert check(random_state=0) == (rows, elements)
    assert check(random_state=1)[1] != elements


@pairwise_cases(
    bk=BACKENDS,
    fitted=[False, True],
    units=[("bernoulli",) * 2, ("gaussian", "bernoulli"), ("softmax:2,3", "bernoulli"), ("bernoulli", "gaussian")],
)
def test_machines_pass(units, fitted, X, bk):
    visible, hidden = units
    rows = X - 0.5 if visible == "gaussian" else X
    if visible.startswith("softmax"):
        rows = np.eye(5)[:2].repeat(6, axis=0) + np.eye(5)[2:4].repeat(6, axis=0)
    model = RBM(3, visible=visible, hidden=hidden, n_iter=2, backend=bk, random_state=0)
    if fitted:
        model.fit(rows)
    with Untouched(model):
        result = gradient_check(model, rows)
    assert result.ok, result
    assert [row.name for row in result.rows] == ["W1", "vbias1", "hbias1"]
    assert all(row.n_checked == np.prod(row.shape) for row in result.rows)


@case_by_case("fitted", [False, True])
def test_every_layer_of_a_dbn_is_checked(fitted, X, bk):
    model = DBN((4, 3), rbm=[RBM(n_iter=2), RBM(n_iter=2, hidden="gaussian")], backend=bk, random_state=0)
    if fitted:
        model.fit(X)
    with Untouched(model):
        result = gradient_check(model, X)
    assert result.ok, result
    assert [row.name for row in result.rows] == [f"{name}{i}" for i in (1, 2) for name in ("W", "vbias", "hbias")]


# --- gradient_check: what is wrong ---


@dataclass(frozen=True)
class WrongTanh(Tanh):
    """Its slope is 1 % too large."""

    name: str = "wrong_tanh"

    def backward(self, bk, grad, y, out):
        out = super().backward(bk, grad, y, out)
        out *= 1.01
        return out


@dataclass(frozen=True)
class WrongLoss(SoftmaxNLL):
    """So is its gradient."""

    def gradient(self, bk, output, target, out):
        delta = super().gradient(bk, output, target, out)
        delta *= 1.01
        return delta


@dataclass(frozen=True)
class WrongSquares(SquaredError):
    def gradient(self, bk, output, target, out):
        delta = super().gradient(bk, output, target, out)
        delta *= 1.01
        return delta


@dataclass(frozen=True)
class WrongMean(Bernoulli):
    """The mean is 1 % too large."""

    spec: str = "wrong"

    def mean(self, bk, x, bias):
        x = super().mean(bk, x, bias)
        x *= 1.01
        return x


@dataclass(frozen=True)
class WrongEnergy(Bernoulli):
    """The bias counts 1 % too much."""

    spec: str = "wrong"

    def energy(self, bk, v, bias):
        return super().energy(bk, v, bias) * 1.01


def test_a_wrong_activation_is_found_below_it_and_nowhere_else(X, y, bk):
    model = classifier(activation=WrongTanh(), backend=bk)
    with Untouched(model):
        result = gradient_check(model, X, y)
    assert not result.ok
    assert result.wrong == ("W1", "bias1", "W2", "bias2")
    assert result.max_relative_error == pytest.approx(0.01, rel=0.02)  # two layers: 2 % of a, of a + n the half
    assert "W1" in repr(result)
    assert "wrong" in repr(result)
    assert result.rows[-1].relative_error < 1e-8
    assert gradient_check(classifier(activation=Tanh(), backend=bk), X, y).ok


@pytest.mark.slow
def test_a_wrong_loss_is_found_everywhere(X, bk):
    for wrong, right in ((WrongSquares(), SquaredError()), (WrongSquares("tanh"), SquaredError("tanh"))):
        result = gradient_check(DeepAutoencoder(pretrained=stack(), loss=wrong, backend=bk), X)
        assert set(result.wrong) == {row.name for row in result.rows}
        assert gradient_check(DeepAutoencoder(pretrained=stack(), loss=right, backend=bk), X).ok


def test_a_wrong_loss_of_a_classifier_is_found(X, y):
    result = gradient_check(classifier(loss=WrongLoss()), X, y)
    assert set(result.wrong) == {row.name for row in result.rows}
    assert all(row.relative_error == pytest.approx(0.005, rel=0.01) for row in result.rows)


@pytest.mark.slow
@case_by_case(
    ("units", "wrong"),
    [
        ({"hidden": WrongMean()}, {"W1", "hbias1"}),
        ({"visible": WrongMean()}, {"W1", "vbias1"}),
        ({"visible": WrongEnergy()}, {"vbias1"}),
        ({"hidden": WrongEnergy()}, {"hbias1"}),
        ({"hidden": Bernoulli(), "visible": Bernoulli()}, set()),
        ({"hidden": Gaussian()}, set()),
    ],
)
def test_a_wrong_unit_is_found(units, wrong, X, bk):
    model = RBM(3, backend=bk, random_state=0, **units)
    with Untouched(model):
        result = gradient_check(model, X)
    assert set(result.wrong) == wrong, result
    template = replace_units(units)
    deep = gradient_check(DBN((4, 3), rbm=template, backend=bk, random_state=0), X)
    assert {name for name in deep.wrong if name.endswith("1")} == wrong


def replace_units(units):
    return [RBM(**units), RBM()]


@pytest.mark.parametrize("penalty", ["alpha", "l1"])
def test_a_forgotten_penalty_is_found(penalty, X, y, monkeypatch):
    """Judged by a second look at the objective, not by what the engine adds up."""
    model = classifier(**{penalty: 0.3})
    assert gradient_check(model, X, y).ok
    if penalty == "l1":
        monkeypatch.setattr("deepbelief.finetuning.FineTuner._add_l1", lambda self, grads: None)
    else:
        init = "deepbelief.finetuning.FineTuner.__init__"
        from deepbelief.finetuning import FineTuner

        before = FineTuner.__init__

        def forgetful(self, *args):
            before(self, *args)
            self._decays = [0.0] * len(self._decays)

        monkeypatch.setattr(init, forgetful)
    assert set(gradient_check(model, X, y).wrong) == {"W1", "W2", "W_head"}


def test_a_head_that_starts_at_0_hides_nothing(X, y):
    """With it the gradients of all that is below would be 0, and agree."""
    assert "W1" in gradient_check(DBNClassifier((4,), activation=WrongTanh(), pretraining="none"), X, y).wrong


# --- gradient_check: kinks ---


@dataclass(frozen=True)
class Steps(HardTanh):
    """An activation with a jump at 0."""

    name: str = "steps"

    def forward(self, bk, x, bias):
        x += bias
        return bk.xp.sign(x)


@case_by_case(("activation", "kink"), [(ReLU(), 0.0), (HardTanh(), 1.0), (HardTanh(), -1.0)])
def test_elements_at_a_kink_are_skipped_and_counted(activation, kink, X, y, bk):
    """A unit whose input is exactly at a kink for one row: its bias, and its weights from inputs that are on."""
    (below, above), rows = stack().layers, X.copy()
    rows[0] = [0.5, 0, 0.25, 0, 0]
    hbias = below.hbias.copy()
    hbias[1] = kink - rows[0] @ below.W[:, 1]
    start = Stack((replace(below, hbias=hbias), above))
    result = gradient_check(classifier(pretrained=start, activation=activation, backend=bk), rows, y)
    assert result.ok, result
    skipped = {row.name: row.n_skipped for row in result.rows}
    alive = above.W[1].any()
    assert alive
    assert skipped == {"W1": 2, "bias1": 1, "W2": 0, "bias2": 0, "W_head": 0, "bias_head": 0}


def test_weights_of_0_are_skipped_where_l1_counts(X, y):
    below, above = stack().layers
    W = below.W.copy()
    W[0, :3] = 0
    start = Stack((replace(below, W=W), above))
    result = gradient_check(classifier(pretrained=start, l1=0.1), X, y)
    assert result.ok, result
    assert result.rows[0].n_skipped == 3
    assert gradient_check(classifier(pretrained=start), X, y).rows[0].n_skipped == 0


@case_by_case("offset", [0.1, 1 / 3, 0.5, 0.9])
def test_kinks_within_a_step_are_seen_wherever_they_lie(offset, X, y):
    """Both steps are tried from 1e-4 on: a kink at a share of the smaller one spoils both."""
    below, above = stack().layers
    below = replace(below, W=0.1 * below.W)  # steps grow with parameters beyond 1
    rows, hbias = np.tile(X[:1], (12, 1)), below.hbias.copy()
    hbias[1] = offset * 1e-5 - rows[0] @ below.W[:, 1]
    assert abs(hbias[1]) < 1
    start = Stack((replace(below, hbias=hbias), above))
    result = gradient_check(classifier(pretrained=start, activation="relu"), rows, y)
    assert result.ok, result
    assert result.rows[1].n_skipped == 1


class Hinge:
    """max(0, p - c) + 3 q: linear on either side of its kink."""

    names = ("p and q",)

    def __init__(self, place):
        self.place, self.params = place, [np.zeros(2)]

    def terms(self):
        p, q = self.params[0]
        return np.array([max(0.0, p - self.place), 3 * q])

    def gradient(self):
        return [np.array([float(self.place < 0), 3.0])]


@case_by_case("share", [0, 0.1, 1 / 3, 0.5, 2 / 3, 0.9, -1 / 3, -0.7])
def test_a_kink_has_no_blind_spot(share):
    """Second differences alone miss the one at a third of the step, first differences alone the one at 0."""
    row = compare(Hinge(share * 1e-5), get_backend(), 2, np.random.default_rng(0)).rows[0]
    assert (row.n_checked, row.n_skipped) == (1, 1)
    assert row.relative_error < 1e-9
    row = compare(Hinge(1.1e-5), get_backend(), 2, np.random.default_rng(0)).rows[0]  # beyond the smaller step
    assert (row.n_checked, row.n_skipped) == (2, 0)


def test_what_cannot_be_compared_is_not_ok(X, y):
    """Where every element lies at a kink nothing was shown."""
    below, above = stack().layers
    zero = Stack((replace(below, hbias=np.zeros(4)), above))
    result = gradient_check(classifier(pretrained=zero, activation="relu"), np.zeros((12, 5)), y)
    assert result.rows[1].n_checked == 0
    assert "bias1" in result.wrong
    assert "all at kinks" in repr(result)


def test_a_wrong_slope_is_never_taken_for_a_kink(X, y):
    result = gradient_check(classifier(activation=WrongTanh()), X, y)
    assert all(row.n_skipped == 0 for row in result.rows)


def test_the_objective_is_that_of_definitions(X, y):
    """Finite differences of a loss that is written down here give what the check says of the engine."""
    from deepbelief.diagnostics.objectives import NetworkObjective
    from deepbelief.estimators.tuning import Problem
    from deepbelief.finetuning import FineTuneSettings, TrainingSet

    rng = np.random.default_rng(0)
    hidden = [Layer(w.W, w.hbias, Tanh()) for w in stack()]
    head, weights = (rng.normal(size=(3, 3)), rng.normal(size=3)), rng.uniform(0.5, 2, 12)
    problem = Problem(
        hidden,
        head,
        SoftmaxNLL(),
        TrainingSet(as_source(X), y, weights),
        None,
        FineTuneSettings(alpha=0.2, l1=0.1),
        [],
        0,
    )
    value = NetworkObjective(problem, get_backend(), 0, rng).terms().sum()
    z = np.tanh(np.tanh(X @ hidden[0].W + hidden[0].bias) @ hidden[1].W + hidden[1].bias) @ head[0] + head[1]
    nll = np.logaddexp.reduce(z, axis=1) - z[np.arange(12), y]
    Ws = [hidden[0].W, hidden[1].W, head[0]]
    penalty = sum(0.1 * (W**2).sum() + 0.1 * np.abs(W).sum() for W in Ws)
    assert value == pytest.approx((weights * nll).sum() / weights.sum() + penalty, rel=1e-12)


# --- gradient_check: bad input ---


def test_what_cannot_be_checked_is_refused(X, y):
    for model, error, words in [
        (RBM(3, hidden="rectified"), SettingError, "rectified hidden units.*no free energy"),
        (DBN((4, 3), rbm=[RBM(), RBM(hidden="rectified")]), SettingError, "layer 2 has rectified"),
        (DBN((4, 3), pretraining="denoising"), SettingError, "not trained as restricted Boltzmann machines"),
        (DBNClassifier, SettingError, "got the class DBNClassifier"),
        ("rbm", SettingError, "got str"),
        (classifier(), DataError, "DBNClassifier needs y"),
    ]:
        with pytest.raises(error, match=words):
            gradient_check(model, X)
    with pytest.raises(SettingError, match="n_elements must be an integer >= 1"):
        gradient_check(classifier(), X, y, n_elements=0)
    fitted = classifier(max_iter=1).fit(X, y)
    with pytest.raises(DataError, match=r"fitted to classes \[0, 1, 2\].*give rows of every class"):
        gradient_check(fitted, X, y % 2)
    fitted.stack_ = replace(fitted.stack_)
    tuned = DBN((4, 3), random_state=0)
    tuned.stack_ = fitted.stack_
    with pytest.raises(SettingError, match="fine-tuned"):
        gradient_check(tuned, X)


# --- overfit_check ---


@pytest.fixture(scope="module")
def noise():
    """60 rows of 12 columns with 4 classes that have nothing to do with them."""
    rng = np.random.default_rng(5)
    return rng.random((60, 12)), np.repeat([3, 5, 7, 9], 15)


ABLE = {"pretraining": "none", "activation": "tanh", "solver": "adam", "learning_rate_init": 0.01}


@case_by_case(
    "regulariser", [{}, {"alpha": 10.0, "l1": 1.0}, {"dropout": 0.9, "input_dropout": 0.9}, {"max_norm": 1e-3},
                    {"early_stopping": True, "n_iter_no_change": 1}, {"early_stopping": True, "schedule": "halving"}],
)  # fmt: skip
def test_an_able_net_learns_rows_by_heart_with_whatever_regulariser(regulariser, noise):
    model = DBNClassifier((30,), **ABLE, **regulariser)
    with Untouched(model):
        result = overfit_check(model, *noise)
    assert result.ok, result
    assert result.loss == result.loss_curve[-1] <= result.threshold == 0.05
    assert all(loss > result.threshold for loss in result.loss_curve[:-1])
    assert result.n_rows == 20
    assert "regularise" in result.advice
    assert repr(result).startswith("ok")


@case_by_case(
    ("settings", "words"),
    [
        ({"learning_rate_init": 1e-9}, "higher learning_rate_init"),
        ({"n_frozen": 1, "hidden_layer_sizes": (1,)}, "larger net"),
        ({"learning_rate_init": 1e30}, "diverged.*lower learning_rate_init"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_net_that_cannot_is_told_so_and_what_to_do(settings, words, noise):
    model = DBNClassifier(**{"hidden_layer_sizes": (30,)} | ABLE | settings)
    result = overfit_check(model, *noise, max_iter=100)
    assert not result.ok
    assert not result.loss <= result.threshold
    assert words.split(".*")[-1] in result.advice
    assert words.split(".*")[0] in result.advice
    assert repr(result).startswith("not ok")


def test_labels_that_contradict_each_other_are_named(noise):
    X, _ = noise
    result = overfit_check(DBNClassifier((30,), **ABLE), np.repeat(X[:10], 2, axis=0), np.arange(20) % 2, max_iter=50)
    assert not result.ok
    assert result.loss == pytest.approx(np.log(2), abs=0.05)
    assert "Rows 0 and 1" in result.advice


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_a_wide_autoencoder_learns_rows_by_heart_and_a_narrow_one_does_not(loss, noise):
    X, _ = noise
    wide, narrow = (
        overfit_check(DeepAutoencoder(sizes, loss=loss, pretraining="none"), X, n_rows=8, max_iter=1500)
        for sizes in ((20, 10), (20, 1))
    )
    assert wide.ok, wide
    assert not narrow.ok, narrow
    assert wide.threshold == narrow.threshold


def test_almost_zero_is_beyond_the_entropy_of_grey_values(noise):
    """A tenth of the way from outputs that equal the rows to the column means, by definitions."""
    X, _ = noise
    chosen = X[:6]
    mean = np.tile(chosen.mean(axis=0), (6, 1))

    def loss_of(output, name):
        if name == "squared_error":
            return np.square(output - chosen).sum(axis=1).mean()
        return -(chosen * np.log(output) + (1 - chosen) * np.log(1 - output)).sum(axis=1).mean()

    for name in ("squared_error", "cross_entropy"):
        least, baseline = loss_of(chosen, name), loss_of(mean, name)
        model = DeepAutoencoder((5,), loss=name, pretraining="none")
        result = overfit_check(model, chosen, n_rows=6, max_iter=1)
        assert result.threshold == pytest.approx(least + 0.1 * (baseline - least), rel=1e-6)
    assert least > 1  # nats that no net gets rid of


def test_rows_are_of_each_class_as_many(noise, monkeypatch):
    seen = []
    prepare = DBNClassifier._prepare

    def spy(self, X, y, *args):
        seen.append((X, y))
        return prepare(self, X, y, *args)

    monkeypatch.setattr(DBNClassifier, "_prepare", spy)
    X, _ = noise
    y = np.array([0] * 50 + [1] * 7 + [-1] * 1 + [2] * 2)
    result = overfit_check(DBNClassifier((30,), **ABLE), X, y, n_rows=12, max_iter=1)
    assert result.n_rows == 12
    assert np.bincount(seen[0][1]).tolist() == [5, 5, 2]
    for row, label in zip(*seen[0], strict=True):
        assert y[(row == X).all(axis=1)] == [label]


def test_sizes_are_those_of_all_rows(noise, monkeypatch):
    seen = []
    prepare = DBNClassifier._prepare
    monkeypatch.setattr(DBNClassifier, "_prepare", lambda self, *a: seen.append(self) or prepare(self, *a))
    X, y = np.random.default_rng(0).random((400, 12)), np.arange(400) % 2
    model = DBNClassifier(**ABLE)
    overfit_check(model, X, y, max_iter=1)
    whole = DBNClassifier(**ABLE, max_iter=1).fit(X, y)
    assert seen[0].pretrained_stack_.sizes == whole.stack_.sizes
    X = np.random.default_rng(0).random((10_100, 160), np.float32)  # few labels among many rows: three layers
    overfit_check(model, X, np.where(np.arange(10_100) < 40, np.arange(10_100) % 3, -1), max_iter=1)
    assert seen[-1].pretrained_stack_.sizes == (160, 100, 100, 100)


def test_overfit_check_refuses_what_it_cannot_do(noise):
    X, y = noise
    for call, words in [
        (lambda: overfit_check(RBM(3), X), "RBM has no loss that could fall to 0"),
        (lambda: overfit_check(DBN((3,)), X), "DBN has no loss"),
        (lambda: overfit_check(DBNClassifier(), X), "needs y"),
        (lambda: overfit_check(DBNClassifier(), X, y[:5]), "X has 60 rows but y has 5"),
        (lambda: overfit_check(DBNClassifier(), X, y, n_rows=61), r"n_rows=61 exceeds the number of rows \(60\)"),
        (lambda: overfit_check(DBNClassifier(), X, y, n_rows=3), "n_rows=3 is too few for 4 classes: use n_rows=4"),
        (lambda: overfit_check(DBNClassifier(), X, y, n_rows=1), "n_rows must be an integer >= 2"),
        (lambda: overfit_check(DBNClassifier(), X, y, max_iter=0), "max_iter must be an integer >= 1"),
    ]:
        with pytest.raises((SettingError, DataError), match=words):
            call()


# --- learning_rate_sweep ---


@pytest.fixture(scope="module")
def causes():
    """300 rows of 12 columns in 3 groups, each group with a cause of its own, and a class from the causes."""
    rng = np.random.default_rng(0)
    hidden = rng.random((300, 3)) < 0.5
    X = (np.repeat(hidden, 4, axis=1) ^ (rng.random((300, 12)) < 0.05)).astype(np.float32)
    return X, hidden[:, 0].astype(int) + hidden[:, 1]


RATES = (1e4, 1e-1, 1e-3, 1e-9)
SMALL_RBM = RBM(8, n_iter=40, batch_size=10)


def verdicts(result):
    return {row.rate: row.verdict for row in result.rows}


@pytest.mark.slow
@case_by_case("n_jobs", [1, 2])
def test_pretraining_diverges_is_right_or_is_too_slow(n_jobs, causes, bk):
    model = RBM(8, n_iter=40, batch_size=10, backend=bk)
    with Untouched(model):
        result = learning_rate_sweep(model, causes[0], rates=RATES, n_jobs=n_jobs)
    assert verdicts(result) == {1e4: "diverged", 1e-1: "good", 1e-3: "too slow", 1e-9: "too slow"}
    assert result.best_rate == 0.1
    assert [row.rate for row in result.rows] == sorted(RATES, reverse=True)
    assert "learning_rate=0.1" in result.advice
    by_rate = {row.rate: row for row in result.rows}
    assert (by_rate[1e-9].epochs, by_rate[1e-9].stopped) == (4, True)
    assert (by_rate[0.1].epochs, by_rate[0.1].stopped) == (40, False)
    assert by_rate[1e4].epochs < 40
    for words in ("stopped early", "<- best", "diverged", "pseudo-log-likelihood"):
        assert words in repr(result)


@pytest.mark.slow
def test_a_sweep_of_pretraining_is_judged_by_the_pseudo_likelihood_of_rows_not_trained_on(causes):
    """The scores are those of a machine trained by itself on the other rows."""
    from deepbelief.training import split_rows

    X = causes[0]
    result = learning_rate_sweep(SMALL_RBM, X, rates=(0.1, 0.05), random_state=3)
    train, held, _, _ = split_rows(as_source(X), 0.1, 3)
    for row in result.rows:
        alone = RBM(8, n_iter=40, batch_size=10, learning_rate=row.rate, random_state=3).fit(train.take(slice(None)))
        assert row.score == pytest.approx(alone.score(held.take(slice(None))), rel=1e-5)


def test_the_best_score_is_recommended_or_the_largest_rate_that_rows_cannot_tell_from_it():
    """By scores made up: the mean difference is judged beside its standard error over the held-out rows."""
    from deepbelief.diagnostics.trials import PretrainRun

    def made_up(shift, n=100):
        run = PretrainRun.__new__(PretrainRun)
        run.held_scores = -(np.arange(n) ** 2.0) + shift  # rows differ by far more than runs do
        return run

    noise = np.random.default_rng(0).normal(size=100)
    noise = (noise - noise.mean()) / noise.std(ddof=1)  # standard error: exactly 0.1
    best = made_up(0.0)
    assert best.is_no_worse(best)
    assert made_up(noise - 0.099).is_no_worse(best)
    assert not made_up(noise - 0.101).is_no_worse(best)
    assert not made_up(-1e-3).is_no_worse(best)  # every row by a little
    assert not made_up(-1.0, n=1).is_no_worse(made_up(0.0, n=1))


@pytest.mark.parametrize(("behind", "recommended"), [(0.05, 0.1), (2.0, 0.01)])
def test_of_two_good_rates_the_larger_one_must_not_be_clearly_behind(behind, recommended, causes, monkeypatch):
    """Both gain about 60 nats; rows differ by a nat in what they gain more or less."""
    from deepbelief.diagnostics.trials import PretrainRun

    def judge(self):
        gain = 60 - (behind + np.tile([1.0, -1.0], 15)) * (self.rate == 0.1) if self.epochs else 0
        return np.full(30, -100.0) + gain

    monkeypatch.setattr(PretrainRun, "_judge", judge)
    result = learning_rate_sweep(RBM(8, n_iter=2), causes[0], rates=(0.1, 0.01))
    assert [row.verdict for row in result.rows] == ["good", "good"]
    assert result.best_rate == recommended


def test_other_units_are_judged_by_reconstruction(causes):
    X = causes[0] - causes[0].mean(axis=0)
    result = learning_rate_sweep(RBM(8, n_iter=60), X, rates=(1e-2, 1e-8, 1e5))
    assert "reconstruction" in result.metric
    assert verdicts(result) == {1e5: "diverged", 1e-2: "good", 1e-8: "too slow"}
    assert all(row.score < 0 for row in result.rows if row.verdict != "diverged")
    for model in (RBM(8, hidden="rectified", n_iter=2), DBN((8,), pretraining="denoising", rbm=RBM(n_iter=2))):
        assert "reconstruction" in learning_rate_sweep(model, causes[0], rates=(1e-2,)).metric


def test_of_a_dbn_the_first_layer_is_swept(causes):
    X = causes[0]
    of_rbm = learning_rate_sweep(SMALL_RBM, X, rates=(0.1, 1e-3))
    template = RBM(n_iter=40, batch_size=10)
    model = DBN((8, 4), rbm=[template, RBM(hidden="gaussian", learning_rate=1e9)])
    of_dbn = learning_rate_sweep(model, X, rates=(0.1, 1e-3))
    assert [row.score for row in of_dbn.rows] == [row.score for row in of_rbm.rows]
    assert "layer 1" in of_dbn.advice


def test_half_the_rate_is_not_given_up_for_starting_slowly(causes):
    """Gains grow from next to nothing: after the trial half the rate is far behind, at the end it is not."""
    result = learning_rate_sweep(SMALL_RBM, causes[0], rates=(0.1, 0.05))
    assert verdicts(result) == {0.1: "good", 0.05: "good"}


@pytest.mark.slow
def test_what_is_neither_stopped_nor_diverged_is_judged_at_its_end(causes):
    for rates, other in (((2, 0.1), "too high"), ((0.1, 0.002), "too slow")):
        result = learning_rate_sweep(SMALL_RBM, causes[0], rates=rates)
        assert verdicts(result) == {rate: "good" if rate == 0.1 else other for rate in rates}
        assert all(row.epochs == 40 for row in result.rows)
        assert result.best_rate == 0.1


@pytest.mark.slow
@case_by_case("early_stopping", [False, True])
def test_fine_tuning_diverges_is_right_or_is_too_slow(early_stopping, causes, bk):
    model = DBNClassifier((8,), rbm=RBM(n_iter=2), max_iter=30, early_stopping=early_stopping, backend=bk)
    with Untouched(model):
        result = learning_rate_sweep(model, *causes, rates=(1e9, 0.3, 1e-3, 1e-9), n_jobs=2)
    assert result.metric == "accuracy of held-out rows"
    assert verdicts(result) == {1e9: "diverged", 0.3: "good", 1e-3: "too slow", 1e-9: "too slow"}
    assert result.best_rate == 0.3
    assert "learning_rate_init=0.3" in result.advice
    assert np.isnan(result.rows[0].score)
    assert 0.7 < result.rows[1].score <= 1


def test_autoencoders_are_judged_by_their_loss(causes):
    model = DeepAutoencoder((8, 4), rbm=RBM(n_iter=2), max_iter=20)
    result = learning_rate_sweep(model, causes[0], rates=(0.01, 1e-9))
    assert "loss" in result.metric
    assert result.best_rate == 0.01
    assert verdicts(result)[1e-9] == "too slow"


def test_a_sweep_of_fine_tuning_pretrains_once(causes, monkeypatch):
    calls = []
    from deepbelief.estimators import tuning

    pretrain = tuning.stack_pretraining
    monkeypatch.setattr(tuning, "stack_pretraining", lambda *a, **k: calls.append(a) or pretrain(*a, **k))
    learning_rate_sweep(DBNClassifier((8,), rbm=RBM(n_iter=1), max_iter=4), *causes, rates=(0.3, 0.1), refine=2)
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["layer", "finetuning"])
def test_runs_start_equal_and_see_the_same_minibatches(kind, causes, monkeypatch):
    """Their weights before the first update and the order of their rows in every epoch are the same."""
    starts, orders = [], []
    if kind == "layer":
        from deepbelief.layer import LayerTrainer as Task

        model = RBM(8, n_iter=5)
        params = lambda task: task.machine.params  # noqa: E731
    else:
        from deepbelief.finetuning import FineTuner as Task

        model = DBNClassifier((8,), pretraining="none", max_iter=5)
        params = lambda task: task.network.params  # noqa: E731
    begin = Task.begin_epoch

    def spy(self, epoch, order):
        if epoch == 0:
            starts.append([p.copy() for p in params(self)])
        orders.append((epoch, order.tolist()))
        begin(self, epoch, order)

    monkeypatch.setattr(Task, "begin_epoch", spy)
    learning_rate_sweep(model, *causes, rates=(0.1, 0.05, 0.02), n_jobs=1)
    assert len(starts) == 3
    for other in starts[1:]:
        for a, b in zip(starts[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    for epoch in range(5):
        of_epoch = [order for number, order in orders if number == epoch]
        assert len(of_epoch) == 3
        assert of_epoch.count(of_epoch[0]) == 3


@pytest.mark.slow
def test_results_do_not_depend_on_how_many_run_at_a_time_nor_where(causes):
    one, two = (learning_rate_sweep(SMALL_RBM, causes[0], n_jobs=n) for n in (1, 2))
    with parallel_config(backend="loky", n_jobs=2):
        other = learning_rate_sweep(SMALL_RBM, causes[0])
    scores = [row.score for row in one.rows]
    assert [row.score for row in two.rows] == scores
    assert [row.score for row in other.rows] == pytest.approx(scores, rel=1e-5)
    assert one.best_rate == two.best_rate == other.best_rate


def test_gradients_are_multiplied_out_by_the_backend():
    class Other(NumpyBackend):
        def matmul(self, rows, W, out=None):
            made.append(np.matmul(rows, W, out=out))
            return made[-1]

    made, left, right = [], np.arange(6.0).reshape(3, 2), np.ones((3, 4))
    found = objectives.on_host(Other(), Product(left, right, np.empty((2, 4))))
    np.testing.assert_allclose(found, np.tile([[6.0], [9.0]], 4))
    assert len(made) == 1
    assert found is not made[0]


@case_by_case("concurrent", [True, False])
def test_the_backend_says_whether_runs_are_concurrent(causes, monkeypatch, concurrent):
    class Other(NumpyBackend):
        name = "other"

    Other.concurrent = concurrent
    asked = []
    monkeypatch.setattr(rate_sweep, "Parallel", lambda n_jobs, prefer: asked.append(n_jobs) or Parallel(1))
    learning_rate_sweep(RBM(8, n_iter=1, batch_size=10, backend=Other()), causes[0], rates=(0.1, 0.01), n_jobs=2)
    assert set(asked) == {2 if concurrent else 1}


@pytest.mark.slow
def test_refine_looks_between_the_best_rate_and_its_neighbours(causes):
    result = learning_rate_sweep(SMALL_RBM, causes[0], rates=(1e4, 1e-1, 1e-5), refine=3)
    new = sorted(row.rate for row in result.rows if row.rate not in (1e4, 1e-1, 1e-5))
    assert new == pytest.approx([1e-3, 10 ** (-1 + 5 / 3), 10 ** (-1 + 10 / 3)])
    assert result.best_rate in {row.rate for row in result.rows if row.verdict == "good"}
    assert len(between([0.1], 0.1, 3)) == 0


def test_where_no_rate_is_good_none_is_recommended(causes):
    for rates, words in [((1e5, 1e6), "try smaller ones"), ((1e-9, 1e-8), "try larger ones"), ((1e6, 1e-9), "between")]:
        result = learning_rate_sweep(SMALL_RBM, causes[0], rates=rates, refine=2)
        assert result.best_rate is None
        assert words in result.advice
        assert len(result.rows) == 2


def test_the_callback_hears_of_every_epoch(causes):
    told = []
    learning_rate_sweep(SMALL_RBM, causes[0], rates=(0.1, 1e-9), n_jobs=2, callback=told.append)
    assert [row.verdict for row in told[0]] == ["waiting", "waiting"]
    assert [row.verdict for row in told[-1]] == ["good", "too slow"]
    assert {row.epochs for rows in told for row in rows if row.rate == 0.1} == set(range(41))


def test_what_a_callback_raises_ends_the_sweep(causes):
    def fail(rows):
        if any(row.epochs > 2 for row in rows):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learning_rate_sweep(SMALL_RBM, causes[0], n_jobs=2, callback=fail)


def test_bad_sweeps_are_refused_before_anything_is_trained(causes, monkeypatch):
    X, _ = causes
    monkeypatch.setattr("deepbelief.training.Rows.begin", None)
    for settings, words in [
        ({"rates": ()}, "got none"), ({"rates": (0.1, 0)}, "got 0"), ({"rates": (0.1, -1.0)}, "got -1$"),
        ({"rates": (0.1, 0.1)}, "got 0.1 2 times"), ({"rates": (0.1, float("nan"))}, "got nan"),
        ({"rates": (float("inf"),)}, "got inf"), ({"rates": "0.1"}, "got '0.1'"), ({"rates": 0.1}, "got 0.1"),
        ({"rates": ("auto",)}, "got 'auto'"), ({"rates": (True,)}, "got True"),
        ({"refine": -1}, "refine must be an integer >= 0"), ({"n_jobs": 0}, "n_jobs must be"),
        ({"n_jobs": 1.5}, "n_jobs must be"),
    ]:  # fmt: skip
        with pytest.raises(SettingError, match=words):
            learning_rate_sweep(RBM(3), X, **settings)
    for model, rows, targets, words in [
        (RBM(3), X[:9], None, "at least 10 rows.*got 9"),
        (DBNClassifier(), X, None, "needs y"),
        (DBN((3,), pretraining="none"), X, None, "has no learning rate"),
        (Tanh(), X, None, "got Tanh"),
        (RBM, X, None, "got the class RBM"),
    ]:
        with pytest.raises((SettingError, DataError), match=words):
            learning_rate_sweep(model, rows, targets)
