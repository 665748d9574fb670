"""The deep autoencoder: codes that carry the data, errors in the data's units, and what each setting means."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from deepbelief import DBN, RBM, DBNClassifier, DeepAutoencoder, save
from deepbelief.backends import get_backend
from deepbelief.errors import DataError, SettingError, SizingWarning, TrainingWarning
from deepbelief.estimators.reconstruction import _of_sum_one
from deepbelief.estimators.views import sample_rows
from deepbelief.finetuning import TrainingSet, hold_out
from deepbelief.losses import CrossEntropy, SquaredError
from deepbelief.network import unroll
from deepbelief.sources import as_source
from deepbelief.training import Reporter

SHORT = {"rbm": RBM(n_iter=2, batch_size=10), "max_iter": 3, "random_state": 0}


@pytest.fixture(scope="module")
def bits():
    """120 rows of 12 bits; the first six, and the last six, mostly agree."""
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.random((120, 2)) < 0.5, 6, axis=1) ^ (rng.random((120, 12)) < 0.1)
    return rows.astype(np.float64)


@pytest.fixture(scope="module")
def curve():
    """300 rows on a bent line in 8 dimensions, each column with an offset and a scale of its own."""
    rng = np.random.default_rng(1)
    t = rng.uniform(-2, 2, (300, 1))
    rows = np.tanh(t @ rng.normal(size=(1, 8)) * 2 + rng.normal(size=8)) + rng.normal(0, 0.02, (300, 8))
    return rows * [1, 10, 100, 1, 1, 5, 2, 3] + np.arange(8)


def pca_error(X, n):
    pca = PCA(n, random_state=0).fit(X)
    return np.square(pca.inverse_transform(pca.transform(X)) - X).sum(axis=1).mean()


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"code": "sigmoid"}, {"tied": True, "loss": "squared_error"}], ids=str)
def test_codes_of_digits_carry_more_than_pca_of_the_same_size(settings):
    X = load_digits().data[::3] / 16
    autoencoder = DeepAutoencoder((40, 10), max_iter=40, random_state=0, **settings).fit(X)
    assert autoencoder.reconstruction_error(X).mean() < 0.8 * pca_error(X, 10)


@pytest.mark.slow
def test_real_valued_rows_come_back_in_their_own_units(curve):
    deviations = curve.std(axis=0)
    autoencoder = DeepAutoencoder((16, 1), max_iter=100, random_state=0).fit(curve)
    back = autoencoder.inverse_transform(autoencoder.transform(curve))
    error = np.square((back - curve) / deviations).sum(axis=1).mean()
    assert error < 0.5 * pca_error(curve / deviations, 1)
    moved = curve * 1000.0 + 5
    again = DeepAutoencoder((16, 1), max_iter=100, random_state=0).fit(moved)
    np.testing.assert_allclose(again.reconstruction_error(moved), 1e6 * autoencoder.reconstruction_error(curve), 1e-3)


@pytest.mark.parametrize("kind", ["bits", "curve"])
def test_the_error_is_that_of_decoded_codes(kind, request):
    X = request.getfixturevalue(kind)
    autoencoder = DeepAutoencoder((9, 2), **SHORT).fit(X)
    codes = autoencoder.transform(X)
    assert codes.shape == (len(X), 2)
    errors = np.square(autoencoder.inverse_transform(codes) - X).sum(axis=1)
    np.testing.assert_allclose(autoencoder.reconstruction_error(X), errors, rtol=1e-9)
    assert autoencoder.score(X) == pytest.approx(-errors.mean(), rel=1e-12)


def test_before_fine_tuning_it_is_the_stack_up_and_down(bits):
    dbn = DBN((9, 4), rbm=[RBM(n_iter=2), RBM(n_iter=2, hidden="gaussian")], random_state=0).fit(bits)
    still = {**SHORT, "max_iter": 1, "learning_rate_init": 1e-12}
    autoencoder = DeepAutoencoder(pretrained=dbn, **still).fit(bits)
    np.testing.assert_allclose(autoencoder.transform(bits), dbn.transform(bits), atol=1e-9)
    np.testing.assert_allclose(
        autoencoder.inverse_transform(dbn.transform(bits)), dbn.inverse_transform(dbn.transform(bits)), atol=1e-9
    )
    assert autoencoder.stack_.tuned
    assert not autoencoder.pretrained_stack_.tuned


@pytest.mark.filterwarnings("ignore:the squared error of reconstructions")
def test_fine_tuning_lowers_the_loss_from_where_pretraining_left_it(bits):
    autoencoder = DeepAutoencoder((9, 4), **{**SHORT, "max_iter": 30}).fit(bits)
    assert autoencoder.loss_curve_[-1] < autoencoder.loss_curve_[0]
    assert len(autoencoder.loss_curve_) == autoencoder.n_iter_ == 30
    phases = [record["phase"] for record in autoencoder.history_]
    assert phases == ["pretrain"] * 4 + ["finetune"] * 30


def test_tied_weights_stay_tied_and_free_ones_part(bits):
    for tied in (True, False):
        coefs = DeepAutoencoder((9, 4), tied=tied, **SHORT).fit(bits).coefs_
        assert [W.shape for W in coefs] == [(12, 9), (9, 4), (4, 9), (9, 12)]
        assert np.array_equal(coefs[0], coefs[3].T) == tied
        assert np.array_equal(coefs[1], coefs[2].T) == tied


def test_the_code_decides_the_top_units_whatever_the_template_says(bits):
    template = RBM(n_iter=2, hidden="rectified")
    for code, units in (("linear", "gaussian"), ("sigmoid", "bernoulli")):
        settings = {**SHORT, "rbm": [RBM(n_iter=2), template]}
        stack = DeepAutoencoder((9, 4), code=code, **settings).fit(bits).pretrained_stack_
        assert [weights.hidden for weights in stack] == ["bernoulli", units]
    assert template.hidden == "rectified"


def test_the_loss_follows_the_data(bits, curve):
    for X, loss, expected in (
        (bits, "auto", CrossEntropy()),
        (bits, "squared_error", SquaredError("sigmoid")),
        (curve, "auto", SquaredError()),
    ):
        assert DeepAutoencoder((9, 2), loss=loss, **SHORT).fit(X)._head.loss == expected
    with pytest.raises(SettingError, match="use loss='squared_error'"):
        DeepAutoencoder((9, 2), loss="cross_entropy", **SHORT).fit(curve)
    grouped = {**SHORT, "rbm": [RBM(n_iter=1, visible="softmax:4"), RBM(n_iter=1)]}
    assert DeepAutoencoder((3, 2), **grouped).fit(np.eye(4))._head.loss == CrossEntropy()
    rectified = [RBM(n_iter=1, visible="rectified"), RBM(n_iter=1)]
    with pytest.raises(SettingError, match="rectified units are hidden units"):
        DeepAutoencoder((3, 2), **{**SHORT, "rbm": rectified}).fit(np.eye(4))


def test_what_cannot_be_fine_tuned_is_refused_before_pretraining(bits, curve, monkeypatch):
    monkeypatch.setattr("deepbelief.layer.run_epochs", lambda *a, **k: pytest.fail("training began"))
    rectified = {**SHORT, "rbm": RBM(n_iter=1, hidden="rectified")}
    real = {**SHORT, "rbm": [RBM(n_iter=1, visible="rectified"), RBM(n_iter=1)]}
    for estimator, X in (
        (DeepAutoencoder((9, 2), loss="cross_entropy", **SHORT), curve),
        (DeepAutoencoder((9, 4), tied=True, **rectified), bits),
        (DeepAutoencoder((3, 2), **real), np.eye(4)),
    ):
        with pytest.raises(SettingError):
            estimator.fit(X)


def test_a_loss_of_ones_own(bits):
    mine = SquaredError("sigmoid")
    one, other = (DeepAutoencoder((9, 4), loss=loss, **SHORT).fit(bits) for loss in (mine, "squared_error"))
    np.testing.assert_array_equal(one.transform(bits), other.transform(bits))


def test_tied_weights_cannot_go_through_scaled_layers(bits):
    settings = {**SHORT, "rbm": RBM(n_iter=1, hidden="rectified")}
    assert np.isfinite(DeepAutoencoder((9, 4), **settings).fit(bits).transform(bits)).all()
    with pytest.raises(SettingError, match="tied=False or Bernoulli"):
        DeepAutoencoder((9, 4), tied=True, **settings).fit(bits)


def test_early_stopping_keeps_the_best_weights_for_rows_held_out(bits):
    settings = {**SHORT, "max_iter": 30, "learning_rate_init": 0.5, "n_iter_no_change": 3}
    autoencoder = DeepAutoencoder((9, 4), early_stopping=True, validation_fraction=0.3, **settings).fit(bits)
    losses = [record["validation_loss"] for record in autoencoder.history_ if record["phase"] == "finetune"]
    assert len(losses) == autoencoder.n_iter_ <= 30
    _, held = hold_out(TrainingSet(as_source(bits)), 0.3, autoencoder._seed, by_class=False)
    network, rows = autoencoder._as_network(get_backend()), held.rows.take(slice(None))
    kept = network.loss.values(network.bk, network.forward(rows), rows).mean()
    assert kept == pytest.approx(min(losses), rel=1e-9)
    assert np.argmin(losses) + 4 >= len(losses)


def test_warm_start_goes_on_from_the_fine_tuned_weights(bits):
    autoencoder = DeepAutoencoder((9, 4), warm_start=True, **SHORT).fit(bits)
    before = autoencoder.pretrained_stack_, autoencoder.loss_curve_[-1]
    autoencoder.fit(bits)
    assert autoencoder.pretrained_stack_ is before[0]
    assert autoencoder.n_iter_ == 6
    assert autoencoder.loss_curve_[3] < autoencoder.loss_curve_[0]


def test_an_autoencoder_file_gives_its_encoder_to_a_classifier(bits, tmp_path):
    autoencoder = DeepAutoencoder((9, 4), **SHORT).fit(bits)
    save(autoencoder, tmp_path / "a.h5")
    clf = DBNClassifier(pretrained=tmp_path / "a.h5", max_iter=1, learning_rate_init=1e-12).fit(bits, bits[:, 0])
    np.testing.assert_allclose(clf.transform(bits), autoencoder.transform(bits), atol=1e-9)


def test_codes_and_rows_that_do_not_fit_are_refused(bits):
    autoencoder = DeepAutoencoder((9, 4), **SHORT).fit(bits)
    with pytest.raises(DataError, match="codes have 3 columns, the code layer has 4 units"):
        autoencoder.inverse_transform(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="NaN"):
        autoencoder.inverse_transform(np.full((2, 4), np.nan))
    with pytest.raises(DataError, match="expects 12"):
        DeepAutoencoder(pretrained=autoencoder.pretrained_stack_, **SHORT).fit(bits[:, :5])


@pytest.mark.slow
def test_an_outlier_has_the_largest_error(bits):
    autoencoder = DeepAutoencoder((9, 2), random_state=0).fit(bits)
    odd = np.tile([1.0, 0.0], 6)
    assert autoencoder.reconstruction_error(odd[None])[0] > np.quantile(autoencoder.reconstruction_error(bits), 0.95)


@pytest.mark.parametrize("kind", ["bits", "curve"])
def test_missing_values_are_filled_in_by_their_reconstruction(kind, request):
    X = request.getfixturevalue(kind)
    gaps = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    gaps[np.isnan(gaps).all(axis=1)] = X[0]
    missing = np.isnan(gaps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        model = DeepAutoencoder((8, 2), rbm=RBM(n_iter=2), max_iter=5, random_state=0).fit(gaps)
    once = model.impute(gaps)
    back = model.inverse_transform(model.transform(gaps))
    np.testing.assert_array_equal(once[~missing], X[~missing])
    np.testing.assert_allclose(once[missing], back[missing], rtol=1e-5, atol=1e-6)
    again = model.inverse_transform(model.transform(once))
    np.testing.assert_allclose(model.impute(gaps, n_steps=2)[missing], again[missing], rtol=1e-4, atol=1e-5)
    empty = np.vstack([gaps[:1], np.full((1, X.shape[1]), np.nan)])
    with pytest.raises(DataError, match="row 1 has no observed value"):
        model.impute(empty)


def test_probabilities_of_a_group_that_are_filled_in_sum_to_1():
    states = np.random.default_rng(0).integers(3, size=(60, 2))
    X = np.hstack([np.eye(3)[states[:, 0]], states[:, 1:] > 0, np.eye(3)[states[:, 1]]])
    gaps = X.copy()
    gaps[::2, :4] = gaps[::3, 4:] = np.nan
    gaps[::6] = X[::6]
    rbm = RBM(n_iter=2, visible="parts:softmax:3;bernoulli*1;softmax:3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = DeepAutoencoder((5,), rbm=rbm, max_iter=2, random_state=0).fit(gaps)
    filled = model.impute(gaps)
    for columns in (slice(3), slice(4, 7)):
        np.testing.assert_allclose(filled[:, columns].sum(axis=1), 1, rtol=1e-5)
    bit = filled[2, 3]  # in no group: the network's output as it is
    row = np.where(np.isnan(gaps[2:3]), model.inverse_transform(model.transform(gaps[2:3])), gaps[2:3])
    assert 0 < bit < 1
    assert bit == pytest.approx(row[0, 3], rel=1e-5)
    found = _of_sum_one(np.array([[0.2, 0.3, 0.4, 0.1, 0.3]]), (2, 1, 2))
    np.testing.assert_allclose(found, [[0.4, 0.6, 0.4, 0.25, 0.75]])


def test_sizes_are_suggested_for_a_code_and_copies_of_the_input_are_told():
    rng = np.random.default_rng(0)
    X = rng.random((200, 13))
    settings = {**SHORT, "rbm": RBM(n_iter=1), "max_iter": 1}
    assert DeepAutoencoder(**settings).fit(X).stack_.sizes == (13, 100, 5)
    with pytest.warns(SizingWarning, match="can learn to copy"):
        DeepAutoencoder((30, 12), **settings).fit(X)


def test_unroll_mirrors_the_stack(bits):
    stack = DBN((9, 4), rbm=RBM(n_iter=1), random_state=0).fit(bits).stack_
    hidden, (W, bias) = unroll(stack)
    assert [layer.W.shape for layer in hidden] == [(12, 9), (9, 4), (4, 9)]
    np.testing.assert_array_equal(hidden[2].W, stack.layers[1].W.T)
    np.testing.assert_array_equal(hidden[2].bias, stack.layers[1].vbias)
    np.testing.assert_array_equal(W, stack.layers[0].W.T)
    np.testing.assert_array_equal(bias, stack.layers[0].vbias)


def test_reconstructions_worse_than_those_of_pca_are_told():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 16)) + 0.1 * rng.normal(size=(400, 16))
    with pytest.warns(TrainingWarning, match=r"times that of PCA with 4 components. Try pretraining='denoising'"):
        deep = DeepAutoencoder((12, 8, 4), rbm=RBM(n_iter=5), max_iter=10, random_state=0).fit(X)
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T, bias=True))
    assert deep.reconstruction_error(X).mean() > 1.5 * eigenvalues[:-4].sum()
    with pytest.warns(TrainingWarning, match=r"DeepAutoencoder has learned nothing .* Try .*more epochs"):
        DeepAutoencoder((4, 2), learning_rate_init=1e-9, rbm=RBM(n_iter=1), max_iter=10, random_state=0).fit(X)


def factors(n):
    """Return rows of 24 real columns that 5 factors explain."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 5)) @ rng.normal(size=(5, 24)) * np.linspace(20, 1, 24) + rng.normal(size=(n, 24))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("X", "settings", "noise", "model"),
    [
        (factors(60), {}, True, "denoising"),
        (factors(60).astype(np.float32), {"pretraining": "rbm"}, False, "rbm"),
        (factors(60), {"rbm": RBM(n_iter=1)}, False, "rbm"),
        (np.random.default_rng(0).random((60, 8)), {}, False, "rbm"),
    ],
    ids=["real values", "asked for", "with settings of RBMs", "grey levels"],
)
def test_real_values_are_pretrained_by_denoising_unless_rbms_are_asked_for(X, settings, noise, model):
    notes = []
    reporter = type("Notes", (Reporter,), {"note": lambda self, text: notes.append(text)})()
    deep = DeepAutoencoder((4, 2), max_iter=1, verbose=reporter, random_state=0, **settings).fit(X)
    assert any("pretraining='denoising'" in note for note in notes) == noise
    same = DeepAutoencoder((4, 2), max_iter=1, random_state=0, **settings | {"pretraining": model}).fit(X)
    np.testing.assert_array_equal(deep.pretrained_stack_.layers[0].W, same.pretrained_stack_.layers[0].W)
    if noise:
        with pytest.raises(SettingError, match="gives no model to sample from"):
            sample_rows(deep, 1)


def test_denoising_takes_two_gaussian_layers_of_any_weights():
    X = factors(60)
    settings = {"rbm": RBM(hidden="rectified", n_iter=2), "pretraining": "denoising"}
    deep = DeepAutoencoder((12, 3), max_iter=1, random_state=0, **settings).fit(X)
    assert np.linalg.norm(deep.pretrained_stack_.layers[1].W, 2) > 1  # no energy to be kept finite
