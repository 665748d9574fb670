"""Rows held out of training: by class, found again by every command, and told where they are not there."""

import json

import numpy as np
import pytest
from cli_runs import bad, good, run
from sklearn.datasets import load_digits

from deepbelief import DBNClassifier, load

X, Y = load_digits().data[:200].astype(np.float32) / 16, load_digits().target[:200]
TINY = ("--layers", "8", "--epochs", "2", "--quiet")


@pytest.fixture(autouse=True)
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("rows.npz", X=X, y=Y, words=np.array(["a", "b"])[Y % 2])


def scores(*args):
    return json.loads(good("evaluate", *args, "--json").stdout)


def test_pretraining_and_fine_tuning_see_no_row_that_evaluate_judges(monkeypatch):
    seen = []
    fit = DBNClassifier.fit
    monkeypatch.setattr(DBNClassifier, "fit", lambda self, X, y: (seen.append(X.take(slice(None))), fit(self, X, y))[1])
    told = good("pretrain", "rows.npz:X", "--labels", "y", "--holdout", "0.2", "--seed", "1", *TINY, "--out", "m.h5")
    assert "160 rows, 40 more held out" in told.stdout
    good("finetune", "m.h5", "--epochs", "3", "--quiet", "--out", "t.h5")
    good("finetune", "m.h5", "rows.npz:X", "--labels", "y", "--epochs", "3", "--quiet", "--out", "named.h5")
    assert [rows.shape for rows in seen] == [(160, 64)] * 2
    np.testing.assert_array_equal(seen[0], seen[1])
    trained = {row.tobytes() for row in seen[0]}
    held = np.array([row.tobytes() not in trained for row in X])
    found = scores("t.h5")
    assert (found["rows"], found["part"]) == (40, "held-out")
    assert found["error"] == pytest.approx(1 - load("t.h5").score(X[held], Y[held]))
    assert np.array_equal(np.bincount(Y[held], minlength=10), np.array(found["confusion"]).sum(axis=1))
    assert np.abs(np.bincount(Y[held], minlength=10) - np.bincount(Y, minlength=10) / 5).max() < 1  # by class
    assert "40 rows held out of training\n" in good("evaluate", "t.h5").stdout
    assert scores("t.h5", "--limit", 7)["rows"] == 7
    assert len(good("predict", "t.h5").stdout.splitlines()) == 41
    named = scores("t.h5", "rows.npz:X", "--labels", "y")
    assert (named["rows"], named["part"]) == (200, "training")
    assert "all but 40 of them training rows" in good("evaluate", "t.h5", "rows.npz:X", "--labels", "y").stdout
    assert scores("m.h5")["rows"] == 40


def test_fine_tuning_alone_holds_out(monkeypatch):
    good("pretrain", "rows.npz:X", *TINY, "--out", "m.h5")
    for out, seed in (("a.h5", "5"), ("b.h5", "5"), ("c.h5", "6")):
        words = ("--labels", "words", "--holdout", "0.25", "--seed", seed, "--epochs", "1", "--quiet", "--out", out)
        good("finetune", "m.h5", "rows.npz:X", *words)
    a, b, c = scores("a.h5"), scores("b.h5"), scores("c.h5")
    assert a["rows"] == c["rows"] == 50
    assert (a["wrong"], a["nll"]) == (b["wrong"], b["nll"])
    assert a["nll"] != c["nll"]
    good("finetune", "a.h5", "--epochs", "1", "--quiet", "--out", "more.h5")
    assert scores("more.h5")["rows"] == 50


def test_numbers_are_held_out_of_a_regression_too():
    np.savez("prices.npz", X=X, y=Y + 0.5)
    good("pretrain", "prices.npz:X", "--labels", "y", "--holdout", "0.1", *TINY, "--out", "m.h5")
    good("finetune", "m.h5", "--regression", "--epochs", "1", "--quiet", "--out", "t.h5")
    assert scores("t.h5")["rows"] == 20


def test_without_any_held_out_the_training_rows_are_called_so():
    good("pretrain", "rows.npz:X", "--labels", "y", *TINY, "--out", "m.h5")
    good("finetune", "m.h5", "--epochs", "1", "--quiet", "--out", "t.h5")
    for words in (("t.h5",), ("t.h5", "rows.npz:X", "--labels", "y")):
        (line,) = [line for line in good("evaluate", *words).stdout.splitlines() if line.startswith("data")]
        assert line.endswith("200 rows, the training rows: new rows will do worse (train with --holdout 0.2 to see)")
    np.savez("new.npz", X=X[:50], y=Y[:50])
    assert "training" not in good("evaluate", "t.h5", "new.npz:X", "--labels", "y").stdout


def test_a_resumed_run_holds_out_the_same_rows(monkeypatch):
    words = ("pretrain", "rows.npz:X", "--labels", "y", "--holdout", "0.2", "--seed", "3", *TINY)
    good(*words, "--out", "whole.h5")

    def stop(self, record):
        raise KeyboardInterrupt

    kept = ("--log", "l.jsonl", "--checkpoint", "c.h5", "--checkpoint-every", "1updates", "--out", "r.h5")
    with monkeypatch.context() as patch:
        patch.setattr("deepbelief.cli._progress.LogReporter.record", stop)
        assert run(*words, *kept).exit_code == 130
    good("pretrain", "--resume", "c.h5", "--log", "again.jsonl")
    whole, resumed = load("whole.h5").stack_, load("r.h5").stack_
    np.testing.assert_array_equal(whole.layers[0].W, resumed.layers[0].W)
    assert scores("r.h5")["rows"] == 40


def test_what_does_not_go_together_is_told():
    good("pretrain", "rows.npz:X", "--labels", "y", "--holdout", "0.2", *TINY, "--out", "m.h5")
    assert "a share of 0.2" in bad("finetune", "m.h5", "--holdout", "0.5")
    assert "cannot be found" in bad("finetune", "m.h5", "rows.npz:X", "--labels", "words", "--out", "x.h5")
    assert "cannot be found" in bad("finetune", "m.h5", "--limit", "100", "--out", "x.h5")
    assert "--holdout must be a number > 0 and < 1" in bad("pretrain", "rows.npz:X", "--holdout", "1")
    assert "--holdout cannot be combined with --workers" in bad(
        "pretrain", "rows.npz:X", "--holdout", "0.1", "--workers", "2"
    )
    assert "--holdout is not for models of sequences" in bad(
        "pretrain", "rows.npz:X", "--recurrent", "--holdout", "0.1"
    )
