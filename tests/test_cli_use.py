"""`evaluate`, `predict` and `encode`: what they print is what Python computes, on data scaled as in training."""

import csv
import io
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_runs import TINY, bad, good, put_model, snapshot
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix

from deepbelief import (
    DBN,
    RBM,
    DBNClassifier,
    DBNRegressor,
    DeepAutoencoder,
    RBMClassifier,
    RecurrentRBM,
    load,
    save,
)
from deepbelief.likelihood import pseudo_log_likelihood


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(n=200):
    return (load_digits().data[:n] / 16).astype(np.float32)


def labels(n=200):
    return load_digits().target[:n]


def read_h5(path):
    with h5py.File(path) as file:
        return file["codes"][()]


def write_idx(path, array):
    """Write bytes as an IDX file."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def test_evaluate_agrees_with_scikit_learn(tmp_path):
    path = put_model(tmp_path, "classifier")
    np.savez("rest.npz", X=rows(500)[200:], y=labels(500)[200:])
    scores = json.loads(good("evaluate", path, "rest.npz", "--labels", "y", "--json").stdout)
    X, y = rows(500)[200:], labels(500)[200:]
    model = load(path)
    assert scores["rows"] == 300
    assert scores["error"] == pytest.approx(1 - model.score(X, y))
    assert scores["nll"] == pytest.approx(-np.log(model.predict_proba(X)[np.arange(300), y]).mean(), rel=1e-5)
    assert scores["confusion"] == confusion_matrix(y, model.predict(X)).tolist()
    text = good("evaluate", path, "rest.npz", "--labels", "y").stdout
    assert f"{100 * scores['error']:.2f} % ({scores['wrong']} of 300), 95 % interval" in text
    matrix = [line.split()[1:] for line in text.splitlines()[-10:]]
    assert [[int(c.replace(".", "0")) for c in row] for row in matrix] == scores["confusion"]


def test_evaluate_leaves_unlabelled_rows_out(tmp_path):
    path = put_model(tmp_path, "classifier")
    y = labels()
    np.savez("full.npz", X=rows()[50:], y=y[50:])
    np.savez("half.npz", X=rows(), y=np.where(np.arange(200) < 50, -1, y))
    full = json.loads(good("evaluate", path, "full.npz", "--labels", "y", "--json").stdout)
    half = json.loads(good("evaluate", path, "half.npz", "--labels", "y", "--json").stdout)
    assert half["unlabeled"] == 50
    # 150 and 200 rows in float32: products of another shape may be summed in another order.
    assert half.pop("nll") == pytest.approx(full.pop("nll"), rel=1e-6)
    assert {**half, "data": 0, "unlabeled": 0} == {**full, "data": 0}


def test_many_classes_are_told_by_their_largest_confusions(tmp_path):
    dbn = put_model(tmp_path, "dbn")
    np.savez("many.npz", X=rows(), y=np.arange(200) % 30)
    good("finetune", dbn, "many.npz", "--labels", "y", "--epochs", 1)
    out = good("evaluate", "dbn-tuned.h5").stdout
    assert "Most frequent confusions" in out
    assert len(out.splitlines()) < 20


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_labels_may_be_words(tmp_path):
    words = np.array(["näll", "one", "two, or so"])[labels() % 3]
    with Path("words.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [[*(f"p{i}" for i in range(64)), "word"], *([*r, w] for r, w in zip(rows(), words, strict=True))]
        )
    good("pretrain", "words.csv", "--labels", "word", *TINY[3:])
    good("finetune", "words.h5", "--epochs", 2)
    scores = json.loads(good("evaluate", "words-tuned.h5", "--json").stdout)
    assert scores["classes"] == ["näll", "one", "two, or so"]
    out = good("predict", "words-tuned.h5").stdout
    predicted = [row[0] for row in csv.reader(io.StringIO(out))]
    assert predicted[0] == "label"
    assert predicted[1:] == load("words-tuned.h5").predict(np.array(rows())).tolist()


def test_evaluate_a_stack_by_its_reconstructions(tmp_path):
    path = put_model(tmp_path, "dbn")
    scores = json.loads(good("evaluate", path, "--json").stdout)
    dbn = load(path)
    X = rows().astype(np.float64)
    expected = np.square(dbn.inverse_transform(dbn.transform(rows())) - X).sum(axis=1).mean()
    assert scores["reconstruction_errors"][-1] == pytest.approx(expected, rel=1e-4)
    first = dbn.stack_.layers[0]
    h = 1 / (1 + np.exp(-(X @ first.W + first.hbias)))
    v = 1 / (1 + np.exp(-(h @ first.W.T + first.vbias)))
    assert scores["reconstruction_errors"][0] == pytest.approx(np.square(v - X).sum(axis=1).mean(), rel=1e-4)
    assert scores["pseudo_log_likelihood"] == pytest.approx(pseudo_log_likelihood(first, rows()).mean(), rel=1e-6)
    assert "64 -> 12 -> 8" in good("evaluate", path).stdout


def test_gaussian_stacks_are_judged_in_their_own_units():
    X = load_digits().data[:200] * 7 - 20.5
    np.save("rows.npy", X)
    good("pretrain", "rows.npy", "--layers", "12,8", "--epochs", 30, "--seed", 1, "--hidden", "rectified")
    scores = json.loads(good("evaluate", "rows.h5", "--json").stdout)
    dbn = load("rows.h5")
    scale = dbn.stack_.layers[0].scale
    expected = np.square((dbn.inverse_transform(dbn.transform(X)) - X) / scale).sum(axis=1).mean()
    assert scores["reconstruction_errors"][-1] == pytest.approx(expected, rel=1e-4)
    assert scores["pseudo_log_likelihood"] is None


def test_models_saved_from_python_need_data_and_scale_nothing(tmp_path):
    X = (load_digits().data[:100] > 8).astype(np.float32)
    save(RBM(5, n_iter=1, random_state=0).fit(X), "rbm.h5")
    save(load(put_model(tmp_path, "dbn")).stack_, "stack.h5")
    assert "pass DATA explicitly" in bad("evaluate", "rbm.h5")
    np.save("rows.npy", X)
    good("evaluate", "rbm.h5", "rows.npy")
    for name in ("rbm", "stack"):
        good("encode", f"{name}.h5", "rows.npy")
        expected = load(f"{name}.h5").transform(X) if name == "rbm" else load("dbn.h5").transform(X)
        assert np.array_equal(np.load(f"{name}-codes.npy"), expected)


def test_scaling_is_applied_again():
    table = load_digits().data[:200].astype(np.uint8) * 15
    np.savez("bytes.npz", X=table, y=labels())
    good("pretrain", "bytes.npz", "--labels", "y", *TINY[3:])
    dark = table // 100  # alone it would be taken for 0/1 data and left as it is
    np.save("dark.npy", dark)
    good("encode", "bytes.h5", "dark.npy")
    assert np.array_equal(np.load("bytes-codes.npy"), load("bytes.h5").transform(dark))
    first = load("bytes.h5").stack_.layers[0]
    assert (first.mean == 0).all()
    assert (first.scale == 255).all()


@pytest.mark.parametrize("scale", ["auto", "none", "255", "minmax"])
@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_python_and_the_shell_agree_on_raw_rows(scale, kind):
    table = (load_digits().data[:200] * 15).astype(kind)
    table[0, 0] = 255
    np.savez("bytes.npz", X=table, y=labels())
    good("pretrain", "bytes.npz", "--labels", "y", "--scale", scale, *TINY[3:])
    good("finetune", "bytes.h5", "--epochs", 3, "--seed", 1)
    found = json.loads(good("evaluate", "bytes-tuned.h5", "bytes.npz", "--labels", "y", "--json").stdout)
    model = load("bytes-tuned.h5")
    assert 1 - model.score(table, labels()) == pytest.approx(found["error"])
    assert model.pretrained_stack_.layers[0].visible == ("gaussian" if scale == "none" else "bernoulli")


@pytest.mark.parametrize("scale", [[], ["--scale", "none"]])
def test_whole_numbers_are_no_grey_levels(scale):
    data = load_digits().data[:200]
    np.savetxt("table.csv", np.column_stack([data, labels()]), fmt="%d", delimiter=",")
    told = good("pretrain", "table.csv", "--labels", "-1", *scale, *TINY[3:])
    assert "not scaled to [0, 1] (values from 0 to 16)" in told.stdout
    assert load("table.h5").stack_.layers[0].visible == "gaussian"
    np.savetxt("grey.csv", 15 * data + (data == 16) * 15, fmt="%d", delimiter=",")
    assert (
        "divided by 255 (they have the shape of images of 8 x 8 pixels"
        in good("pretrain", "grey.csv", *TINY[3:]).stdout
    )
    assert load("grey.h5").stack_.layers[0].visible == "bernoulli"


def test_the_scaling_of_an_old_file_is_that_of_its_model():
    rows_ = load_digits().data[:50] / 16
    model = DBN((6,), random_state=0).fit(rows_)
    save(model, "old.h5", metadata={"scaling": {"kind": "255"}})
    np.save("raw.npy", 255 * rows_)
    good("encode", "old.h5", "raw.npy")
    np.testing.assert_allclose(np.load("old-codes.npy"), model.transform(rows_), rtol=1e-5)


def test_data_on_another_scale_are_told(tmp_path):
    path = put_model(tmp_path, "dbn")
    np.save("bytes.npy", load_digits().data[:20])
    assert "row 0, column 2 (both counted from 0) is 5; Bernoulli units take values in [0, 1]" in bad(
        "encode", path, "bytes.npy"
    )


def test_data_scaled_twice_are_told():
    np.save("bytes.npy", load_digits().data[:100].astype(np.uint8) * 15)
    good("pretrain", "bytes.npy", *TINY[3:])
    assert good("encode", "bytes.h5").stderr.startswith("Using ")
    result = good("encode", "bytes.h5", "digits", "--out", "twice.npy")
    assert result.stderr.startswith("Warning: no value is above 1, but bytes.h5 divides by 255")


def test_a_limit_is_not_taken_for_the_recorded_one(tmp_path):
    path = put_model(tmp_path, "dbn")
    assert "limit" in bad("encode", path, "--limit", 0)
    good("encode", path, "--limit", 7)
    assert np.load("dbn-codes.npy").shape == (7, 8)


def test_the_test_split_is_the_default(tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    images, y = load_digits().images.astype(np.uint8) * 15, labels(1797)
    for split, part in (("train", slice(0, 200)), ("t10k", slice(200, 260))):
        write_idx(folder / f"{split}-images-idx3-ubyte", images[part])
        write_idx(folder / f"{split}-labels-idx1-ubyte", y[part])
    for name, args in (("mnist", ("mnist", "--data-dir", "mnist")), ("folder", ("mnist/",))):
        out = tmp_path / f"{name}.h5"
        good("pretrain", *args, *TINY[3:], "--limit", 150, "--out", out)
        good("finetune", out, "--epochs", 1, "--out", "tuned.h5", "--force")
        result = good("evaluate", "tuned.h5", "--json")
        scores = json.loads(result.stdout)
        assert scores["rows"] == 60
        assert scores["data"].endswith(":test")
        assert ":test" in result.stderr
        X = (images[200:260].reshape(60, 64) / np.float32(255)).astype(np.float32)
        assert scores["error"] == pytest.approx(1 - load("tuned.h5").score(X, y[200:260]))
        assert len(good("predict", "tuned.h5").stdout.splitlines()) == 61
        good("encode", "tuned.h5", "--out", "codes.npy", "--force")
        assert np.load("codes.npy").shape == (150, 8)


def test_predict_in_every_format(tmp_path):
    path = put_model(tmp_path, "classifier")
    model = load(path)
    expected, p = model.predict(rows()), model.predict_proba(rows())
    printed = good("predict", path).stdout
    assert good("predict", path, "--out", "y.csv").stdout == "y.csv: 200 rows, 1 column of classes\n"
    assert good("predict", path, "--out", "y.npy").stdout == "y.npy: 200 rows, 1 column of classes\n"
    assert [int(line) for line in printed.splitlines()[1:]] == expected.tolist()
    assert Path("y.csv").read_text() == printed
    assert np.array_equal(np.load("y.npy"), expected)
    assert good("predict", path, "--out", "-").stdout == printed
    told = good("predict", path, "--probabilities", "--out", "p.csv").stdout
    assert told == "p.csv: 200 rows, 10 columns of probabilities\n"
    good("predict", path, "--probabilities", "--out", "p.npy")
    assert Path("p.csv").read_text().splitlines()[0] == "0,1,2,3,4,5,6,7,8,9"
    assert np.array_equal(np.loadtxt("p.csv", np.float32, delimiter=",", skiprows=1), p)
    assert np.array_equal(np.load("p.npy"), p)


def test_encode_in_every_format_and_in_blocks(tmp_path, monkeypatch):
    path = put_model(tmp_path, "dbn")
    expected = load(path).transform(rows())
    from deepbelief import training

    monkeypatch.setattr(training, "BLOCK_ROWS", 37)
    for ending in ("npy", "csv", "h5"):
        out = good("encode", path, "--out", f"codes.{ending}").stdout
        assert out == f"codes.{ending}: 200 rows, 64 -> 8\n"
    codes = [
        np.load("codes.npy"),
        np.loadtxt("codes.csv", np.float32, delimiter=",", skiprows=1),
        read_h5("codes.h5"),
    ]
    for found in codes:
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert found.shape == expected.shape
    header, *lines = good("encode", path, "--out", "-").stdout.splitlines()
    assert header.split(",")[:2] == ["unit0", "unit1"]
    assert len(lines) == 200
    good("evaluate", path, "--limit", 5)


def test_codes_can_be_read_as_data(tmp_path):
    path = put_model(tmp_path, "dbn")
    for ending in ("npy", "csv", "h5"):
        good("encode", path, "--out", f"codes.{ending}")
        good("pretrain", f"codes.{ending}", "--layers", 3, "--epochs", 1, "--out", f"model-{ending}.h5")


def test_labels_in_a_table_are_left_out_without_being_asked(tmp_path):
    table = np.column_stack([rows(), labels()])
    names = [*(f"p{i}" for i in range(64)), "digit"]
    np.savetxt("with.csv", table, "%.4f", ",", header=",".join(names), comments="")
    np.savetxt("without.csv", table[:, :-1], "%.4f", ",", header=",".join(names[:-1]), comments="")
    good("pretrain", "with.csv", "--labels", "digit", *TINY[3:])
    good("encode", "with.h5", "with.csv", "--out", "a.npy")
    good("encode", "with.h5", "without.csv", "--out", "b.npy")
    assert np.array_equal(np.load("a.npy"), np.load("b.npy"))
    good("finetune", "with.h5", "with.csv", "--epochs", 1)
    assert json.loads(good("evaluate", "with-tuned.h5", "with.csv", "--json").stdout)["rows"] == 200
    good("pretrain", "with.csv", "--labels", "-1", *TINY[3:], "--out", "last.h5")
    good("encode", "last.h5", "without.csv", "--out", "c.npy")
    good("encode", "last.h5", "with.csv", "--out", "d.npy")
    assert np.array_equal(np.load("c.npy"), np.load("d.npy"))


@pytest.mark.parametrize("command", ["predict", "encode"])
def test_outputs_keep_mode_and_leave_nothing_behind(tmp_path, command):
    path = put_model(tmp_path, "classifier")
    good(command, path, "--out", "out.npy")
    assert set(snapshot(tmp_path)) == {"classifier.h5", "out.npy"}
    umask = os.umask(0)
    os.umask(umask)
    assert Path("out.npy").stat().st_mode & 0o777 == 0o666 & ~umask
    Path("out.npy").chmod(0o640)
    assert "--force" in bad(command, path, "--out", "out.npy")
    good(command, path, "--out", "out.npy", "--force")
    assert Path("out.npy").stat().st_mode & 0o777 == 0o640
    Path("link.npy").symlink_to("out.npy")
    good(command, path, "--out", "link.npy", "--force")
    assert Path("link.npy").is_symlink()


KINDS = ["RBM", "DBN", "DBNClassifier", "DBNRegressor", "DeepAutoencoder", "RBMClassifier", "RecurrentRBM", "Stack",
         "fine-tuned stack", "tasks", "labels"]  # fmt: skip
COMMANDS = {
    "finetune": ("t.npz", "--labels", "labels", "--epochs", 1, "--quiet", "--out", "o.h5"),
    "finetune --autoencoder": ("t.npz", "--epochs", 1, "--quiet", "--out", "o.h5"),
    "evaluate": ("t.npz", "--labels", "labels"),
    "evaluate --likelihood": ("t.npz",),
    "predict": ("t.npz", "--out", "o.csv"),
    "encode": ("t.npz", "--out", "o.npy"),
    "decode": ("codes.npy", "--out", "o.npy"),
    "sample": ("--steps", 2, "--out", "o.npy"),
    "report": ("t.npz", "--labels", "labels", "--out", "o.html"),
    "export": ("--to", "npz", "--out", "o.npz"),
    "info": (),
}
DONE = {  # every other pair is refused in one line
    "finetune": {"RBM", "DBN", "DBNClassifier", "DBNRegressor", "DeepAutoencoder", "Stack", "fine-tuned stack"},
    "finetune --autoencoder": {"RBM", "DBN", "DeepAutoencoder", "Stack"},
    "evaluate": {*KINDS} - {"fine-tuned stack", "tasks", "labels"},
    "evaluate --likelihood": {"RBM", "DBN", "Stack"},
    "predict": {"DBNClassifier", "DBNRegressor", "RBMClassifier", "tasks", "labels"},
    "encode": {*KINDS} - {"RBMClassifier", "RecurrentRBM"},
    "decode": {"RBM", "DBN", "DeepAutoencoder", "Stack", "RBMClassifier"},
    "sample": {*KINDS} - {"fine-tuned stack"},
    "report": {*KINDS},
    "export": {*KINDS} - {"RBMClassifier", "RecurrentRBM"},
    "info": {*KINDS},
}


@pytest.fixture(scope="module")
def files_of_every_kind(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    rng = np.random.default_rng(0)
    X = (rng.random((60, 8)) < 0.4).astype(np.uint8)
    y = X[:, 0].astype(int) + X[:, 1]
    np.savez(folder / "t.npz", X=X, labels=y)
    np.save(folder / "codes.npy", np.ones((4, 3)))
    seeded, tuned = {"random_state": 0}, {"rbm": RBM(n_iter=1), "max_iter": 1, "random_state": 0}
    models = {
        "RBM": RBM(3, n_iter=1, **seeded).fit(X),
        "DBN": DBN((4, 3), rbm=RBM(n_iter=1), **seeded).fit(X),
        "DBNClassifier": DBNClassifier((3,), **tuned).fit(X, y),
        "DBNRegressor": DBNRegressor((3,), **tuned).fit(X, y * 1.5),
        "DeepAutoencoder": DeepAutoencoder((4, 3), **tuned).fit(X),
        "RBMClassifier": RBMClassifier(3, rbm=RBM(n_iter=1), **seeded).fit(X, y),
        "RecurrentRBM": RecurrentRBM(3, n_iter=1, **seeded).fit(X),
        "tasks": DBNClassifier((3,), **tuned).fit(X, np.column_stack([y, X[:, 2]])),
        "labels": DBNClassifier((3,), loss="cross_entropy", **tuned).fit(X, X[:, :3].astype(int)),
    }
    models |= {"Stack": models["DBN"].stack_, "fine-tuned stack": models["DBNClassifier"].stack_}
    for name, model in models.items():
        save(model, folder / f"{name}.h5")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_every_kind_of_model_or_refuses_it_in_a_line(files_of_every_kind, monkeypatch, command):
    kinds = KINDS
    if command == "report":
        pytest.importorskip("matplotlib")
        kinds = [kind for kind in KINDS if kind not in DONE["report"]]  # a page takes seconds and has tests of its own
    monkeypatch.chdir(files_of_every_kind)
    name, *options = command.split()
    for kind in kinds:
        words = [name, f"{kind}.h5", *COMMANDS[command], *options]
        words += ["--force"] if "--out" in words else []
        if kind in DONE[command]:
            good(*words)
        else:
            assert len(bad(*words)) > 30
