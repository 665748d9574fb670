"""`evaluate --likelihood`: what Python computes, told with its interval; grey rows are refused with the way out."""

import json

import numpy as np
import pytest
from cli_runs import bad, good, put_model
from exact import log_likelihood as true_log_likelihood
from exact import tiny

from deepbelief import DBN, RBM, RBMClassifier, Stack, load, save
from deepbelief.likelihood import log_likelihood
from deepbelief.sources import as_source, binarized


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bits():
    rows = (np.random.default_rng(0).random((40, 5)) < 0.4).astype(np.float32)
    np.save("bits.npy", rows)
    return rows


def scores(*args):
    return json.loads(good("evaluate", *args, "--likelihood", "--json").stdout)


def test_one_machine_exactly(bits):
    weights = tiny(5, 3)
    save(Stack((weights,)), "machine.h5")
    found = scores("machine.h5", "bits.npy")
    assert found["log_likelihood"] == pytest.approx(true_log_likelihood(weights, bits))
    assert found["log_likelihood_interval"] == [pytest.approx(found["log_likelihood"])] * 2
    assert (found["method"], found["lower_bound"], found["binarize"], found["runs"]) == ("exact", False, None, None)
    text = good("evaluate", "machine.h5", "bits.npy", "--likelihood").stdout
    assert f"{found['log_likelihood']:.3f} nats per row\n" in text
    assert "by enumeration" in text
    assert "binarised       no: values are 0 and 1" in text


def test_a_network_by_annealing(bits):
    dbn = DBN((4, 3), rbm=RBM(n_iter=2), random_state=0).fit(bits)
    save(dbn, "dbn.h5")
    options = ("--method", "ais", "--runs", "50", "--betas", "60", "--seed", "3")
    found = scores("dbn.h5", "bits.npy", *options)
    expected = log_likelihood(dbn.stack_, bits, method="ais", n_runs=50, betas=60, random_state=3)
    assert found["log_likelihood"] == expected.mean
    assert found["log_likelihood_interval"] == [expected.low, expected.high]
    assert found["effective_sample_size"] == expected.log_z.effective_sample_size
    assert (found["lower_bound"], found["runs"], found["method"]) == (True, 50, "ais")
    text = good("evaluate", "dbn.h5", "bits.npy", "--likelihood", *options).stdout
    assert f"at least {expected.mean:.3f} nats per row, {expected.low:.3f} to {expected.high:.3f} at 3 s.d." in text
    assert f"{expected.log_z.effective_sample_size:.1f} of 50 runs" in text


@pytest.mark.parametrize("how", ["threshold", "sample"])
def test_grey_rows_are_made_bits_as_asked_for(tmp_path, how):
    path = put_model(tmp_path, "dbn")
    line = bad("evaluate", path, "--likelihood")
    assert line.startswith("digits: row 0, column 2 is 0.3125, a grey level, which has no likelihood: add --binarize")
    found = scores(path, "--binarize", how, "--limit", "50", "--seed", "4")
    from sklearn.datasets import load_digits

    rows = binarized(as_source((load_digits().data[:50] / 16).astype(np.float32)), how, 4, "evaluate")
    assert found["log_likelihood"] == pytest.approx(log_likelihood(load(path).stack_, rows).mean)
    assert found["binarize"] == how
    text = good("evaluate", path, "--likelihood", "--binarize", how, "--limit", "50", "--seed", "4").stdout
    assert {"threshold": "1 from a half on", "sample": "drawn once, seed 4"}[how] in text


def test_long_annealing_tells_how_far_it_is(bits, monkeypatch):
    save(Stack((tiny(5, 3),)), "machine.h5")
    monkeypatch.setattr("deepbelief.cli._likelihood.QUIET", 0)
    told = good("evaluate", "machine.h5", "bits.npy", "--likelihood", "--method", "ais", "--betas", "40").stderr
    lines = [line for line in told.splitlines() if line.startswith("log Z: ")]
    assert [line.split()[2] for line in lines] == [str(n) for n in range(10, 100, 10)]


def test_what_has_no_likelihood(tmp_path, bits):
    save(Stack((tiny(5, 3, hidden="rectified"),)), "rectified.h5")
    save(Stack((tiny(5, 3),)), "machine.h5")
    save(DBN((4, 3), rbm=RBM(n_iter=1), pretraining="denoising", random_state=0).fit(bits), "denoising.h5")
    tuned = put_model(tmp_path, "classifier")
    for args, line in (
        (("rectified.h5", "bits.npy", "--likelihood"), "units without a likelihood, bernoulli -> rectified"),
        (("denoising.h5", "bits.npy", "--likelihood"), "other than restricted Boltzmann machines"),
        ((tuned, "--likelihood"), "fine-tuned and no longer a model of the data"),
        (("machine.h5", "bits.npy", "--likelihood", "--method", "aiss"), "did you mean 'ais'"),
        (("machine.h5", "bits.npy", "--likelihood", "--binarize", "resample"), "choose one of threshold, sample"),
        (("machine.h5", "bits.npy", "--likelihood", "--runs", 0, "--method", "ais"), "--runs must be"),
        (("machine.h5", "bits.npy", "--likelihood", "--betas", 0, "--method", "ais"), "betas"),
        (("machine.h5", "bits.npy", "--binarize", "sample"), "--binarize requires --likelihood"),
    ):
        assert line in bad("evaluate", *args)


def test_a_classification_machine_on_the_command_line():
    """It comes from Python; its classes are told, its rows drawn class by class, and it has no codes."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = (X[:300] / 16).astype(np.float32)
    np.savez("rows.npz", X=X, y=y[:300])
    clf = RBMClassifier(20, rbm=RBM(n_iter=5), random_state=0).fit(X, y[:300])
    save(clf, "clf.h5")
    found = json.loads(good("evaluate", "clf.h5", "rows.npz:X", "--labels", "y", "--json").stdout)
    assert found["error"] == pytest.approx(1 - clf.score(X, y[:300]))
    predicted = good("predict", "clf.h5", "rows.npz:X").stdout.split()
    assert predicted[-300:] == [str(k) for k in clf.predict(X)]
    good("sample", "clf.h5", "--n", 10, "--steps", 20, "--seed", 3, "--temperature", 0.7, "--out", "drawn.npy")
    expected = clf.sample(np.arange(10), n_steps=20, temperature=0.7, random_state=3)
    np.testing.assert_array_equal(np.load("drawn.npy"), expected)
    assert "RBMClassifier, which has no codes" in bad("encode", "clf.h5", "rows.npz:X")
    assert "--temperature must be a number > 0" in bad("sample", "clf.h5", "--temperature", 0)
    assert "models rows with their labels" in bad("evaluate", "clf.h5", "rows.npz:X", "--likelihood")
