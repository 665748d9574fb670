"""Exports compute what the models compute, without this package, and what has no equivalent is refused."""

import subprocess
import sys
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor
from tables import case_by_case

from deepbelief import (
    DBN,
    RBM,
    AnomalyDetector,
    DBNClassifier,
    DBNRegressor,
    DeepAutoencoder,
    RBMClassifier,
    RecurrentRBM,
    load,
    save,
)
from deepbelief.activations import ACTIVATIONS
from deepbelief.errors import DataError, SettingError
from deepbelief.export import (
    feedforward,
    from_bernoulli_rbm,
    from_mlp,
    to_bernoulli_rbm,
    to_mlp,
    to_npz,
    to_onnx,
    to_torch,
)

DIGITS, Y = load_digits(return_X_y=True)
X = (DIGITS / 16).astype(np.float32)[:1000]
Y = Y[:1000]
REAL = (10 + 3 * np.random.default_rng(0).normal(size=(1000, 7)) * np.arange(1, 8)).astype(np.float32)
BYTES = np.rint(255 * X).astype(np.uint8).astype(np.float32)
GROUPS = np.eye(6, dtype=np.float32)[np.c_[Y % 3, 3 + Y % 2]].sum(axis=1)
SPINS = np.where(X > 0.4, 1, -1).astype(np.float32)
TABLE = pd.DataFrame(
    {"size": REAL[:, 0], "n": np.arange(1000) % 7, "good": Y > 4, "hue": np.where(REAL[:, 1] > 10, "red", "blue")}
)
SIDE = np.concatenate([REAL, X[:, :9]], axis=1)
MIXED = "parts:gaussian*7;bernoulli*9"
QUICK = {"rbm": RBM(n_iter=5), "max_iter": 8, "random_state": 0}


def scaled(scale):
    return {**QUICK, "rbm": RBM(scale=scale, n_iter=10)}


def dbn(*hidden):
    return DBN((6, 5)[: len(hidden)], rbm=[RBM(hidden=h, n_iter=40) for h in hidden], random_state=0)


MAKERS = {
    **{
        f"classifier {name}": lambda name=name: (DBNClassifier((16, 9), activation=name, **QUICK).fit(X, Y), X)
        for name in ACTIVATIONS
    },
    **{
        f"regressor {name}": lambda name=name: (
            DBNRegressor((9, 5), activation=name, **QUICK).fit(REAL, 5 * REAL[:, 0]), REAL,
        )
        for name in ACTIVATIONS
    },
    "classifier of standardised rows": lambda: (DBNClassifier((8,), **QUICK).fit(REAL, Y % 3), REAL),
    "binary classifier": lambda: (DBNClassifier((8,), **QUICK).fit(X, np.where(Y % 2, "odd", "even")), X),
    "tasks": lambda: (DBNClassifier((8,), **QUICK).fit(X, np.c_[Y, Y % 2]), X),
    "labels": lambda: (DBNClassifier((8,), loss="cross_entropy", **QUICK).fit(X, np.c_[Y > 4, Y % 2].astype(int)), X),
    "regressor": lambda: (DBNRegressor((8,), **QUICK).fit(REAL, 100 + 5 * REAL[:, 0]), REAL),
    "regressor of two": lambda: (DBNRegressor((8,), **QUICK).fit(X, np.c_[Y, -Y] * 2.5), X),
    "autoencoder": lambda: (DeepAutoencoder((16, 4), **QUICK).fit(X), X),
    "tied autoencoder": lambda: (DeepAutoencoder((16, 4), tied=True, **QUICK).fit(X), X),
    "autoencoder of real values": lambda: (DeepAutoencoder((6, 3), **QUICK).fit(REAL), REAL),
    "rbm": lambda: (RBM(5, n_iter=10, random_state=0).fit(X), X),
    "rbm of real values": lambda: (RBM(5, n_iter=10, random_state=0).fit(REAL), REAL),
    "dbn": lambda: (dbn("bernoulli", "bernoulli").fit(X), X),
    "rectified dbn": lambda: (dbn("rectified", "bernoulli").fit(X), X),
    "linear dbn of real values": lambda: (dbn("bernoulli", "gaussian").fit(REAL), REAL),
    "classifier of bytes": lambda: (DBNClassifier((8,), **scaled("255")).fit(BYTES, Y), BYTES),
    "regressor of ranges": lambda: (
        DBNRegressor((8,), **scaled("minmax"), learning_rate_init=0.1).fit(REAL, REAL[:, 0]), REAL,
    ),
    "denoising and dropout": lambda: (DBNClassifier((9,), pretraining="denoising", dropout=0.5, **QUICK).fit(X, Y), X),
    "no pretraining": lambda: (DBNClassifier((9,), pretraining="none", max_iter=1).fit(REAL, Y % 3), REAL),
    "autoencoder of bytes": lambda: (DeepAutoencoder((9, 4), **scaled("255")).fit(BYTES), BYTES),
    "rbm of categories": lambda: (RBM(5, visible="softmax:3,3", n_iter=10, random_state=0).fit(GROUPS), GROUPS),
    "rbm of learned variances": lambda: (
        RBM(5, visible="gaussian", learn_variance=True, n_iter=10, random_state=0).fit(REAL), REAL,
    ),
    "rbm of spins": lambda: (RBM(5, visible="spin", hidden="spin", n_iter=10, random_state=0).fit(SPINS), SPINS),
    "rbm of mixed columns": lambda: (RBM(5, visible=MIXED, n_iter=10, random_state=0).fit(SIDE), SIDE),
    "classifier of a table": lambda: (DBNClassifier((5,), **QUICK).fit(TABLE, Y % 3), TABLE),
    "regressor of a table": lambda: (DBNRegressor((5,), **QUICK).fit(TABLE, 1.5 * Y), TABLE),
    "rbm of a table": lambda: (RBM(5, n_iter=10, random_state=0).fit(TABLE), TABLE),
    "dbn of a table": lambda: (DBN((16, 8), rbm=RBM(n_iter=30), random_state=0).fit(TABLE), TABLE),
    "sigmoid codes": lambda: (DeepAutoencoder((16, 4), code="sigmoid", **QUICK).fit(X), X),
    "centred rbm": lambda: (RBM(5, gradient="pcd", centered=True, n_iter=10, random_state=0).fit(X), X),
}  # fmt: skip


@cache
def fitted(name):
    """Return a fitted model and its rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MAKERS[name]()


def outputs_of(model, rows):
    """Return what a model computes for rows: a list of arrays."""
    if hasattr(model, "predict_proba"):
        found = model.predict_proba(rows)
        return found if isinstance(found, list) else [found]
    if hasattr(model, "predict"):
        return [model.predict(rows).reshape(len(rows), -1)]
    if isinstance(model, DeepAutoencoder):
        return [model.inverse_transform(model.transform(rows))]
    return [model.transform(rows)]


def units_of(model, rows):
    """Return what an exported network takes for rows: the units of a table's rows."""
    return model.schema_.encode(rows) if isinstance(rows, pd.DataFrame) else rows


def close(ours, theirs, rows):
    scale = max(1.0, float(np.abs(ours).max()))
    assert ours.std(axis=0).max() > 500 * 1e-5 * scale  # a model of constant outputs would show nothing
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5 * scale)


@pytest.mark.slow
@case_by_case("name", MAKERS)
def test_onnx_computes_the_same(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, rows = fitted(name)
    to_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    expected = outputs_of(model, rows)
    units = units_of(model, rows)
    found = session.run(None, {"X": units})
    assert len(found) == len(expected)
    for ours, theirs in zip(expected, found, strict=True):
        close(ours, theirs, rows)
    assert len(session.run(None, {"X": units[:3]})[0]) == 3  # any number of rows


@case_by_case("name", [name for name in MAKERS if name != "tasks"])
def test_torch_computes_the_same(name):
    torch = pytest.importorskip("torch")
    model, rows = fitted(name)
    with torch.no_grad():
        theirs = to_torch(model)(torch.from_numpy(units_of(model, rows))).numpy()
    close(outputs_of(model, rows)[0], theirs, rows)


@case_by_case(
    "name",
    [
        "autoencoder",
        "autoencoder of real values",
        "classifier tanh",
        "rbm",
        "dbn",
        "rectified dbn",
        "linear dbn of real values",
        "rbm of spins",
    ],
)
def test_torch_encoders_and_decoders(name):
    torch = pytest.importorskip("torch")
    model, rows = fitted(name)
    codes = model.transform(rows)
    with torch.no_grad():
        close(codes, to_torch(model, part="encoder")(torch.from_numpy(rows)).numpy(), rows)
        if hasattr(model, "inverse_transform"):
            again = to_torch(model, part="decoder")(torch.from_numpy(codes)).numpy()
            close(model.inverse_transform(codes), again, rows)


def test_the_parameters_of_a_torch_module_have_the_documented_names():
    pytest.importorskip("torch")
    names = list(to_torch(fitted("classifier relu")[0]).state_dict())
    assert names == [f"linear{i}.{part}" for i in range(3) for part in ("weight", "bias")]


def test_torch_refuses_several_softmaxes_but_not_their_logits():
    torch = pytest.importorskip("torch")
    model, rows = fitted("tasks")
    with pytest.raises(SettingError, match="output='logits'"):
        to_torch(model)
    with torch.no_grad():
        logits = to_torch(model, output="logits")(torch.from_numpy(rows))
        each = [part.softmax(dim=1).numpy() for part in logits.split([10, 2], dim=1)]
    for ours, theirs in zip(model.predict_proba(rows), each, strict=True):
        close(ours, theirs, rows)


def test_an_onnx_model_runs_without_this_package(tmp_path):
    pytest.importorskip("onnxruntime")
    model, rows = fitted("binary classifier")
    to_onnx(model, tmp_path / "model.onnx")
    np.save(tmp_path / "rows.npy", rows)
    code = (
        "import json, sys\n"
        "sys.modules['deepbelief'] = None  # an import of it fails\n"
        "import numpy as np, onnxruntime\n"
        "session = onnxruntime.InferenceSession('model.onnx', providers=['CPUExecutionProvider'])\n"
        "classes = json.loads(session.get_modelmeta().custom_metadata_map['classes'])[0]\n"
        "p = session.run(None, {'X': np.load('rows.npy')})[0]\n"
        "print(*[classes[i] for i in p.argmax(axis=1)])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == model.predict(rows).tolist()


@case_by_case("name", MAKERS)
def test_arrays_follow_their_description(name, tmp_path):
    model, rows = fitted(name)
    to_npz(model, tmp_path / "model.npz")
    functions = {
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "tanh": np.tanh,
        "hard_tanh": lambda x: np.clip(x, -1, 1),
        "softsign": lambda x: x / (1 + np.abs(x)),
        "relu": lambda x: np.maximum(x, 0),
        "identity": lambda x: x,
    }
    with np.load(tmp_path / "model.npz") as found:
        x = units_of(model, rows).astype(np.float64)
        for i, activation in enumerate(found["activations"]):
            x = functions[str(activation)](x @ found[f"W{i}"] + found[f"b{i}"])
        if found["output"] == "sigmoid":
            x = functions["sigmoid"](x)
        if found["output"] == "softmax":
            parts = np.split(x, np.cumsum(found["groups"])[:-1], axis=1)
            parts = [np.exp(p) / np.exp(p).sum(axis=1, keepdims=True) for p in parts]
        else:
            parts = [x]
        if "output_mean" in found:
            parts = [parts[0] * found["output_scale"] + found["output_mean"]]
    for ours, theirs in zip(outputs_of(model, rows), parts, strict=True):
        close(ours, theirs, rows)


@case_by_case(
    "name",
    ["classifier sigmoid", "classifier relu", "classifier tanh", "binary classifier", "labels", "regressor",
     "regressor of two", "classifier of standardised rows"],
)  # fmt: skip
def test_scikit_learn_networks_predict_the_same(name):
    model, rows = fitted(name)
    mlp = to_mlp(model)
    if isinstance(mlp, MLPClassifier):
        close(model.predict_proba(rows), mlp.predict_proba(rows), rows)
        assert (mlp.predict(rows) == model.predict(rows)).mean() > 0.995  # ties may fall the other way
    else:
        close(model.predict(rows), mlp.predict(rows), rows)


@case_by_case(
    ("name", "reason"),
    [("tasks", "one task"), ("classifier softsign", "softsign"), ("autoencoder", "one activation")],
)
def test_scikit_learn_networks_refuse_what_they_lack(name, reason):
    with pytest.raises(SettingError, match=reason):
        to_mlp(fitted(name)[0])


@pytest.mark.slow
@case_by_case("activation", ["logistic", "relu", "tanh", "identity"])
@case_by_case("kind", ["classes", "binary", "labels", "values", "columns"])
def test_scikit_learn_networks_come_in(kind, activation, tmp_path):
    targets = {
        "classes": Y,
        "binary": np.where(Y % 2, "odd", "even"),
        "labels": np.c_[Y > 4, Y % 2, Y % 3 == 0].astype(int),
        "values": 5 * X[:, 10],
        "columns": 5 * X[:, 10:12],
    }[kind]
    estimator = MLPRegressor if kind in ("values", "columns") else MLPClassifier
    mlp = estimator(hidden_layer_sizes=(9, 5), activation=activation, solver="lbfgs", max_iter=20, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlp.fit(X, targets)
    ours = from_mlp(mlp)
    if kind in ("values", "columns"):
        close(mlp.predict(X), ours.predict(X), X)
    else:
        close(mlp.predict_proba(X), ours.predict_proba(X), X)
        assert (ours.predict(X) == mlp.predict(X)).mean() > 0.995
    save(ours, tmp_path / "model.h5")
    assert np.array_equal(load(tmp_path / "model.h5").predict(X), ours.predict(X))


def test_bernoulli_machines_go_both_ways():
    bits = (X > 0.5).astype(np.float32)
    rbm = RBM(6, n_iter=2, random_state=0).fit(bits)
    theirs = to_bernoulli_rbm(rbm)
    close(rbm.transform(bits), theirs.transform(bits), bits)
    theirs.partial_fit(bits)
    assert theirs.gibbs(bits[:5]).shape == (5, 64)
    fitted = BernoulliRBM(6, n_iter=2, random_state=0).fit(bits)
    stack = from_bernoulli_rbm(fitted)
    clf = DBNClassifier(pretrained=stack, max_iter=1, random_state=0).fit(bits, Y)
    close(fitted.transform(bits), 1 / (1 + np.exp(-(bits @ stack.layers[0].W + stack.layers[0].hbias))), bits)
    assert clf.pretrained_stack_ is stack


@pytest.mark.parametrize("write", [to_npz, to_onnx])
def test_an_export_that_fails_leaves_the_old_file(write, tmp_path, monkeypatch):
    if write is to_onnx:
        pytest.importorskip("onnx")

    def full(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "model").write_bytes(b"old")
    monkeypatch.setattr("deepbelief.hdf5.replacement.os.fsync", full)
    with pytest.raises(DataError, match="No space left on device; the old file is unchanged"):
        write(RBM(2, n_iter=1).fit(np.eye(4)), tmp_path / "model")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("model", b"old")]


def test_units_whose_mean_is_no_activation_are_refused():
    bits = (X[:100] > 0.5).astype(np.float32)
    with pytest.raises(SettingError, match="hidden units of type 'relu' have no equivalent"):
        feedforward(RBM(4, hidden="relu", n_iter=10, random_state=0).fit(bits))
    with pytest.raises(SettingError, match=r"visible units of type 'parts:.*' have no equivalent"):
        feedforward(fitted("rbm of mixed columns")[0], "decoder")
    spins, rows = fitted("rbm of spins")
    (layer,) = feedforward(spins, "decoder").layers
    codes = spins.transform(rows)
    close(spins.inverse_transform(codes), np.tanh(codes @ layer.W + layer.bias), rows)


def test_networks_of_tables_take_the_units_of_the_schema():
    table = pd.DataFrame({"size": REAL[:, 0], "colour": np.where(REAL[:, 1] > 10, "red", "blue")})
    clf = DBNClassifier((5,), **QUICK).fit(table, (REAL[:, 0] > 10).astype(int))
    network = feedforward(clf)
    x = clf.schema_.encode(table).astype(np.float64)
    for layer in network.layers[:-1]:
        x = 1 / (1 + np.exp(-(x @ layer.W + layer.bias)))
    x = x @ network.layers[-1].W + network.layers[-1].bias
    close(clf.predict_proba(table), np.exp(x) / np.exp(x).sum(axis=1, keepdims=True), table)
    with pytest.raises(SettingError, match=r"schema_\.encode"):
        to_mlp(clf)
    rbm = RBM(5, n_iter=2, random_state=0).fit(table)
    (layer,) = feedforward(rbm).layers
    units = rbm.schema_.encode(table).astype(np.float64)
    close(rbm.transform(table), 1 / (1 + np.exp(-(units @ layer.W + layer.bias))), table)


def test_what_is_no_network_is_refused():
    with pytest.raises(SettingError, match="free energies"):
        feedforward(RBMClassifier(4, rbm=RBM(n_iter=10), random_state=0).fit(X, Y))
    with pytest.raises(SettingError, match="depends on the frames before"):
        feedforward(RecurrentRBM(2, 2))
    with pytest.raises(SettingError, match="sum of free energies and errors"):
        feedforward(AnomalyDetector())
    with pytest.raises(SettingError, match=r"got int: it has no dense layers"):
        feedforward(3)
    with pytest.raises(SettingError, match=r"are not predictions\. Use to_torch"):
        to_mlp(fitted("rbm")[0])
    with pytest.raises(SettingError, match="not fitted"):
        feedforward(DBNClassifier())
    with pytest.raises(SettingError, match="no decoder"):
        feedforward(fitted("classifier relu")[0], "decoder")
    with pytest.raises(SettingError, match="Bernoulli units"):
        to_bernoulli_rbm(fitted("rbm of real values")[0])


def test_the_bias_of_an_output_is_in_the_units_of_the_rows():
    model = DeepAutoencoder((3,), **QUICK).fit(REAL)
    model.intercepts_[-1][:] = 3.0
    np.testing.assert_allclose(to_mlp(model).predict(REAL), outputs_of(model, REAL)[0], rtol=1e-4, atol=1e-4)
