"""Autoencoders from the shell: pretrain, fine-tune, evaluate, encode, decode."""

import json

import numpy as np
import pytest
from cli_runs import bad, good, put_model, run, snapshot
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from deepbelief import DBN, load
from deepbelief.sources import ScaledSource, as_source

LAYERS = ("--layers", "20,6", "--epochs", "2", "--seed", "1", "--quiet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with grey levels from 0 to 255, an encoder pretrained on them and the autoencoder that it became."""
    folder = tmp_path_factory.mktemp("codes")
    rng = np.random.default_rng(0)
    bytes_ = (load_digits().data[:300] / 16 * 255 * rng.uniform(0.9, 1, (300, 64))).astype(np.uint8)
    np.save(folder / "train.npy", bytes_[:200])
    np.save(folder / "new.npy", bytes_[200:])
    good("pretrain", folder / "train.npy", "--autoencoder", *LAYERS, "--out", folder / "encoder.h5")
    good("finetune", folder / "encoder.h5", "--epochs", "5", "--seed", "2", "--quiet", "--out", folder / "codes.h5")
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def scaled(folder, name="new"):
    return np.load(folder / f"{name}.npy").astype(np.float32)


def scores(*args):
    return json.loads(good("evaluate", *args, "--json").stdout)


def test_pretraining_makes_the_encoder_of_an_autoencoder(folder):
    dbn = load(folder / "encoder.h5")
    assert isinstance(dbn, DBN)
    assert [weights.hidden for weights in dbn.stack_] == ["bernoulli", "gaussian"]
    good("pretrain", folder / "train.npy", "--autoencoder", "--code", "sigmoid", *LAYERS, "--out", "sigmoid.h5")
    assert [weights.hidden for weights in load("sigmoid.h5").stack_] == ["bernoulli", "bernoulli"]
    good("pretrain", folder / "train.npy", "--autoencoder", "--epochs", "1", "--quiet", "--out", "auto.h5")
    assert load("auto.h5").stack_.sizes == (64, 100, 22)
    assert "--autoencoder" in bad("pretrain", folder / "train.npy", "--code", "linear", *LAYERS)
    assert "linear, sigmoid" in bad("pretrain", folder / "train.npy", "--autoencoder", "--code", "x", *LAYERS)


def test_only_a_copy_of_the_input_is_warned_of(folder):
    wide = ("pretrain", folder / "train.npy", "--autoencoder", "--epochs", "1", "--quiet", "--layers")
    assert "can learn to copy" in good(*wide, "60,60", "--out", "wide.h5").stderr
    np.save("broad.npy", np.random.default_rng(0).integers(0, 255, (120, 400)))
    narrow = ("pretrain", "broad.npy", "--autoencoder", "--epochs", "1", "--quiet", "--layers", "200,8")
    assert "Warning" not in good(*narrow, "--out", "narrow.h5").stderr


def test_evaluate_states_the_error_and_that_of_pca(folder):
    found = scores(folder / "codes.h5", folder / "new.npy")
    X, autoencoder = scaled(folder), load(folder / "codes.h5")
    back = autoencoder.inverse_transform(autoencoder.transform(X)).astype(np.float64)
    assert found["squared_error"] == pytest.approx(autoencoder.reconstruction_error(X).mean(), rel=1e-5)
    p, target = back / 255, X / 255
    cross = -(target * np.log(p) + (1 - target) * np.log(1 - p)).sum(axis=1).mean()
    assert found["cross_entropy"] == pytest.approx(cross, rel=1e-5)
    pca = PCA(6, svd_solver="full").fit(X.astype(np.float64))
    error = np.square(pca.inverse_transform(pca.transform(X)) - X).sum(axis=1).mean()
    assert found["pca_squared_error"] == pytest.approx(error, rel=1e-5)
    assert (found["row_bytes"], found["code_bytes"], found["compression"]) == (64, 24, 64 / 24)
    text = good("evaluate", folder / "codes.h5", folder / "new.npy").stdout
    assert f"{found['squared_error']:.5g} per row\n" in text
    assert "scaling        255\n" in text
    assert "64 -> 20 -> 6 -> 20 -> 64" in text


def test_rounded_codes_cost_what_is_told(folder):
    X, autoencoder = scaled(folder), load(folder / "codes.h5")
    codes = autoencoder.transform(X)
    low, high = codes.min(axis=0), codes.max(axis=0)
    for bits in (2, 8):
        levels = np.rint((codes - low) / (high - low) * (2**bits - 1)) / (2**bits - 1) * (high - low) + low
        error = np.square(autoencoder.inverse_transform(levels) - X).sum(axis=1).mean()
        found = scores(folder / "codes.h5", folder / "new.npy", "--bits", bits)
        assert found["rounded_error"] == pytest.approx(error, rel=1e-3)
        assert found["code_bytes"] == -(-6 * bits // 8)
    assert found["rounded_error"] == pytest.approx(found["squared_error"], rel=0.01)
    assert "leave it out" in bad("evaluate", folder / "encoder.h5", folder / "new.npy", "--bits", "8")


@pytest.mark.parametrize("ending", ["npy", "csv", "h5"])
def test_the_way_through_files_has_exactly_the_error_that_evaluate_states(folder, ending):
    good("encode", folder / "codes.h5", folder / "new.npy", "--out", f"c.{ending}")
    good("decode", folder / "codes.h5", f"c.{ending}", "--out", "back.npy")
    good("decode", folder / "codes.h5", f"c.{ending}", "--scaled", "--out", "scaled.npy")
    X, back, inside = scaled(folder), np.load("back.npy"), np.load("scaled.npy")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(
        back, load(folder / "codes.h5").inverse_transform(load(folder / "codes.h5").transform(X))
    )
    np.testing.assert_allclose(back, inside * 255, rtol=1e-6)
    stated = scores(folder / "codes.h5", folder / "new.npy")["squared_error"]
    assert np.square(back - X).sum(dtype=np.float64) / len(X) == pytest.approx(stated, rel=1e-12)


def test_files_larger_than_a_block_are_decoded_in_blocks(folder, monkeypatch):
    monkeypatch.setattr("deepbelief.training.BLOCK_ROWS", 16)
    good("encode", folder / "codes.h5", folder / "new.npy", "--out", "c.npy")
    most = []
    before = type(load(folder / "codes.h5")).inverse_transform
    monkeypatch.setattr(
        "deepbelief.DeepAutoencoder.inverse_transform", lambda self, X: (most.append(len(X)), before(self, X))[1]
    )
    good("decode", folder / "codes.h5", "c.npy", "--out", "back.npy")
    assert max(most) == 16
    assert sum(most) == len(np.load("back.npy")) == 100


@pytest.mark.slow
def test_minmax_scaled_rows_come_back_in_the_units_of_the_data(folder):
    rng = np.random.default_rng(3)
    table = np.column_stack([rng.uniform(-5, 5, 150), rng.uniform(100, 200, 150), rng.uniform(0, 1e-3, 150)])
    np.save("table.npy", table)
    shape = ("--scale", "minmax", "--autoencoder", "--layers", "16,3", "--epochs", "5", "--quiet", "--seed", "1")
    good("pretrain", "table.npy", *shape, "--out", "t.h5")
    good("finetune", "t.h5", "--solver", "adam", "--learning-rate", "0.03", "--quiet", "--seed", "1", "--epochs", "300")
    good("encode", "t-tuned.h5", "table.npy", "--out", "c.npy")
    good("decode", "t-tuned.h5", "c.npy", "--out", "back.npy")
    off = np.abs(np.load("back.npy") - table).mean(axis=0) / np.ptp(table, axis=0)
    # Column means are off by 0.25; values that stayed in [0, 1] by 0.23, 1.5 and 500.
    assert (off < 0.1).all()


def test_a_pretrained_model_decodes_by_its_means_and_a_classifier_does_not(folder, tmp_path):
    good("encode", folder / "encoder.h5", folder / "new.npy", "--out", "c.npy")
    good("decode", folder / "encoder.h5", "c.npy", "--out", "back.npy")
    expected = load(folder / "encoder.h5").inverse_transform(np.load("c.npy"))
    np.testing.assert_array_equal(np.load("back.npy"), expected)
    classifier = put_model(tmp_path, "classifier")
    np.save("eight.npy", np.zeros((2, 8), np.float32))
    assert "autoencoder or the pretrained file" in bad("decode", classifier, "eight.npy")


def test_codes_that_do_not_fit_leave_nothing_behind(folder, tmp_path):
    np.save("wide.npy", np.zeros((4, 7), np.float32))
    np.save("nan.npy", np.full((4, 6), np.nan, np.float32))
    before = snapshot(tmp_path)
    assert "7 columns" in bad("decode", folder / "codes.h5", "wide.npy")
    assert "finite" in bad("decode", folder / "codes.h5", "nan.npy")
    assert "nowhere" in bad("decode", folder / "codes.h5", "nowhere.npy")
    assert "--force" in bad("decode", folder / "codes.h5", "nan.npy", "--out", "wide.npy")
    assert snapshot(tmp_path) == before


def test_settings_of_the_other_kind_are_refused(folder):
    assert "--activation is not a setting of an autoencoder" in bad(
        "finetune", folder / "encoder.h5", "--activation", "tanh"
    )
    assert "cannot change when" in bad("finetune", folder / "codes.h5", "--tied", "--out", "x.h5")
    good("pretrain", "digits", "--limit", "100", "--layers", "8", "--epochs", "1", "--quiet", "--out", "plain.h5")
    assert "--loss is not a setting of a classifier" in bad("finetune", "plain.h5", "--loss", "auto")
    good("finetune", "plain.h5", "--autoencoder", "--epochs", "1", "--quiet", "--out", "a.h5")
    assert type(load("a.h5")).__name__ == "DeepAutoencoder"
    good("finetune", "plain.h5", "--epochs", "1", "--quiet", "--out", "c.h5")
    assert "already fine-tuned" in bad("finetune", "c.h5", "--autoencoder", "--out", "d.h5")


def test_an_autoencoder_goes_on_where_it_stopped(folder):
    good("finetune", folder / "codes.h5", "--epochs", "2", "--quiet", "--out", "more.h5")
    before, after = load(folder / "codes.h5"), load("more.h5")
    assert (before.n_iter_, after.n_iter_) == (5, 7)
    assert after.loss_curve_[-1] < before.loss_curve_[-1]


def test_progress_speaks_of_losses_not_of_errors_in_percent(folder):
    result = run("finetune", folder / "encoder.h5", "--epochs", "2", "--early-stopping", "--out", "e.h5")
    assert result.exit_code == 0
    assert "held-out loss" in result.stderr
    assert "%" not in result.stderr + result.stdout


def test_scaling_undoes_what_it_does():
    from deepbelief.sources import Scaling

    rows = np.random.default_rng(0).uniform(-3, 9, (5, 3))
    for scaling in (Scaling(), Scaling("255"), Scaling.fit(as_source(rows), "minmax")):
        there = scaling.apply(as_source(rows))
        inside = there.take(slice(None))
        scale, mean = {"255": (255, 0), "minmax": (scaling.scale, scaling.mean)}.get(scaling.kind, (1, 0))
        np.testing.assert_allclose(np.asarray(inside, np.float64) * scale + mean, rows, rtol=1e-5, atol=1e-5)
        assert isinstance(there, ScaledSource) == (scaling.kind != "none")
