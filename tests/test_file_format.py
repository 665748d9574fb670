"""A reader written from the text of deepbelief.hdf5 alone, with h5py and NumPy, predicts as the package does."""

import json
import re

import h5py
import numpy as np
import pytest
from fuzzing import CLASSES, GREY, LENGTHS, ROWS, TUNED, models
from tables import case_by_case

import deepbelief.hdf5
from deepbelief import DBN, RBM, AnomalyDetector, DBNClassifier, save
from deepbelief.estimators import anomaly

TEXT = deepbelief.hdf5.__doc__


# The reader


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


HIDDEN = {"bernoulli": sigmoid, "rectified": lambda z: np.maximum(z, 0), "gaussian": lambda z: z}
VISIBLE = {"bernoulli": sigmoid, "gaussian": lambda z: z}
ACTIVATIONS = {
    "sigmoid": sigmoid, "tanh": np.tanh, "hard_tanh": lambda z: np.clip(z, -1, 1),
    "softsign": lambda z: z / (1 + abs(z)), "relu": HIDDEN["rectified"], "identity": HIDDEN["gaussian"],
}  # fmt: skip


class Reader:
    """A model file, or a part of one."""

    def __init__(self, path, part="/"):
        with h5py.File(path) as root:
            file, inner = root[part], [] if part != "/" else list(root.get("parts", ()))
            self.parts = {name: Reader(path, f"parts/{name}") for name in inner}
            self.kind = file.attrs["kind"].decode() if isinstance(file.attrs["kind"], bytes) else file.attrs["kind"]
            self.params, self.attributes = (json.loads(file[name][()]) for name in ("params", "attributes"))
            self.arrays = {name: item[()] for name, item in file.get("arrays", {}).items()}
            self.layers = [
                {**{k: v.decode() if isinstance(v, bytes) else v for k, v in file[f"stack/layer_{i}"].attrs.items()},
                 **{name: item[()].astype(float) for name, item in file[f"stack/layer_{i}"].items()}}
                for i in range(1, len(file.get("stack", ())))
            ]  # fmt: skip

    def enter(self, x, i=0):
        layer = self.layers[i]
        return (x - layer["mean"]) / layer["scale"] if "mean" in layer else x

    def up(self, x):
        for i, layer in enumerate(self.layers):
            x = HIDDEN[layer["hidden"]](self.enter(x, i) @ layer["W"] + layer["hbias"])
        return x

    def down(self, h):
        for layer in reversed(self.layers):
            h = VISIBLE[layer["visible"]](h @ layer["W"].T + layer["vbias"])
            h = h * layer["scale"] + layer["mean"] if "mean" in layer else h
        return h

    def pairs(self):
        n = sum(name.startswith("coef_") for name in self.arrays)
        return [(self.arrays[f"coef_{i}"].astype(float), self.arrays[f"intercept_{i}"]) for i in range(n)]

    def network(self, x, functions):
        *below, (W, b) = self.pairs()
        h = [self.enter(x)]
        for (V, c), f in zip(below, functions, strict=True):
            h.append(f(h[-1] @ V + c))
        return h, h[-1] @ W + b

    def hidden_functions(self):
        given = self.params.get("activation", "auto")
        if given != "auto":
            return [ACTIVATIONS[given]] * len(self.layers)
        return [HIDDEN[layer["hidden"]] for layer in self.layers]

    def probabilities(self, x):
        _, z = self.network(x, self.hidden_functions())
        if self.attributes["targets"] == "labels":
            return sigmoid(z)
        if self.attributes["targets"] == "classes":
            return softmax(z)
        sizes = [len(self.arrays[f"classes_{k}"]) for k in range(sum(n.startswith("classes_") for n in self.arrays))]
        return [softmax(part) for part in np.split(z, np.cumsum(sizes)[:-1], axis=1)]

    def values(self, x):
        _, z = self.network(x, self.hidden_functions())
        return z * self.arrays["target_scale"] + self.arrays["target_mean"]

    def reconstruction(self, x):
        decoder = [VISIBLE[layer["visible"]] for layer in self.layers[:0:-1]]
        h, z = self.network(x, [*(HIDDEN[layer["hidden"]] for layer in self.layers), *decoder])
        first = self.layers[0]
        v = VISIBLE[first["visible"]](z)
        return h[len(self.layers)], v * first["scale"] + first["mean"] if "mean" in first else v

    def joint(self, x):
        (layer,), n = self.layers, self.attributes["n_features_in"]
        v, W = self.enter(np.hstack([x, np.zeros((len(x), len(layer["vbias"]) - n))]))[:, :n], layer["W"]
        each = layer["hbias"] + (v @ W[:n])[:, None] + W[n:]
        return softmax(layer["vbias"][n:] + np.log1p(np.exp(each)).sum(axis=2))

    def states(self, x):
        a, u, found = self.arrays, self.arrays["u0"], []
        for v in self.enter(x):
            x_, a_ = v @ a["Wvu"] + a["ubias"], u @ a["Wuu"]
            if self.attributes["cell"] == "tanh":
                u = np.tanh(x_ + a_)
            else:
                (xr, xz, xc), (ar, az, ac) = np.split(x_, 3), np.split(a_, 3)
                z = sigmoid(xz + az)
                u = (1 - z) * np.tanh(xc + sigmoid(xr + ar) * ac) + z * u
            found.append(u)
        return np.array(found)

    def free_energy(self, x):
        (layer,), v = self.layers, self.enter(x)
        own = 0.5 * ((v - layer["vbias"]) ** 2).sum(axis=1) if layer["visible"] == "gaussian" else -v @ layer["vbias"]
        return own - np.log1p(np.exp(v @ layer["W"] + layer["hbias"])).sum(axis=1)

    def scores(self, columns):
        states, values, start = [], [], 0
        for column in self.attributes["columns"]["columns"]:
            if column["kind"] not in ("number", "category"):
                continue
            x = columns[column["name"]]
            gone = np.array([value is None or value != value for value in x])
            if column["kind"] == "number":
                place, n = (np.array(column["edges"])[:, None] < x).sum(axis=0), len(column["cells"])
                own = np.array(x, float)[:, None]
            else:
                place = [0 if g else column["values"].index(v) for v, g in zip(x, gone, strict=True)]
                n = len(column["values"])
                own = np.eye(n)[place]
            part = slice(start, start := start + own.shape[1])
            own = (own - self.arrays["column_centres"][part]) / self.arrays["column_scales"][part]
            own = np.clip(own, -5, 5) if column["kind"] == "number" else own
            values.append(np.where(gone[:, None], 0, own))
            place = np.where(gone, column["missing_unit"], place)
            states.append(np.eye(n + (column["missing_unit"] == n))[place])
        states, values = np.hstack(states), np.hstack(values)
        networks = [self.parts[f"network_{n}"] for n in range(len(self.arrays["errors"]))]
        off = [
            (net.down(net.up(values)) - values) ** 2 / e for net, e in zip(networks, self.arrays["errors"], strict=True)
        ]
        s = [self.parts["binned"].free_energy(states), self.parts["gaussian"].free_energy(values)]
        s.append(np.mean([np.sqrt(each.sum(axis=1)) for each in off], axis=0))
        return -((np.array(s).T - self.arrays["centres"]) / self.arrays["spreads"]).sum(axis=1)


def read(model, tmp_path):
    save(model, tmp_path / "model.h5")
    return Reader(tmp_path / "model.h5")


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@case_by_case("name", ["classifier", "tasks", "labels", "relu", "tanh", "rectified"])
def test_a_classifier(name, tmp_path):
    made = {
        "relu": lambda: DBNClassifier((5, 4), activation="relu", learning_rate_init=0.01, **TUNED).fit(ROWS, CLASSES),
        "tanh": lambda: DBNClassifier((5, 4), activation="tanh", **TUNED).fit(GREY, CLASSES),
        "rectified": lambda: DBNClassifier(
            (5, 4), **TUNED | {"rbm": [RBM(hidden="rectified", n_iter=1), RBM(n_iter=1)], "learning_rate_init": 0.01}
        ).fit(GREY, CLASSES),
    }  # fmt: skip
    model = made[name]() if name in made else models()[name]
    rows = GREY if name in ("classifier", "tanh", "rectified") else ROWS
    found, expected = read(model, tmp_path).probabilities(rows), model.predict_proba(rows)
    for one, other in zip(found, expected, strict=True) if name == "tasks" else [(found, expected)]:
        close(one, other)


def test_a_regressor(tmp_path):
    model = models()["regressor"]
    close(read(model, tmp_path).values(GREY)[:, 0], model.predict(GREY))


@pytest.mark.parametrize(("name", "rows"), [("autoencoder", ROWS), ("tied", GREY)])
def test_an_autoencoder(name, rows, tmp_path):
    model = models()[name]
    code, reconstruction = read(model, tmp_path).reconstruction(rows)
    close(code, model.transform(rows))
    close(reconstruction, model.inverse_transform(model.transform(rows)))


@case_by_case(("name", "rows"), [("rbm", ROWS), ("gaussian", GREY), ("dbn", ROWS), ("rectified", GREY)])
def test_a_stack(name, rows, tmp_path):
    model = models().get(name) or DBN((5, 4), rbm=[RBM(hidden="rectified", n_iter=1), RBM(n_iter=1)]).fit(rows)
    reader = read(model, tmp_path)
    close(reader.up(rows), model.transform(rows))
    if hasattr(model, "inverse_transform"):
        close(reader.down(model.transform(rows)), model.inverse_transform(model.transform(rows)))


def test_an_rbm_with_labels(tmp_path):
    model = models()["rbm classifier"]
    close(read(model, tmp_path).joint(ROWS), model.predict_proba(ROWS))


@pytest.mark.parametrize("name", ["recurrent", "gru"])
def test_a_model_of_sequences(name, tmp_path):
    model = models()[name]
    reader = read(model, tmp_path)
    found = np.concatenate([reader.states(part) for part in np.split(ROWS, np.cumsum(LENGTHS)[:-1])])
    close(found, model.transform(ROWS, lengths=LENGTHS))


def test_an_outlier_detector(tmp_path, monkeypatch):
    for name in ("DENSITY_UPDATES", "GAUSSIAN_UPDATES", "RECONSTRUCTION_UPDATES"):
        monkeypatch.setattr(anomaly, name, 50)
    number = np.where(CLASSES == 1, np.nan, GREY[:, 0].astype(float))
    colour = np.where(GREY[:, 1] > 1, None, np.where(GREY[:, 2] > 0, "red", "blue")).astype(object)
    columns = {"few": CLASSES.astype(float), "number": number, "same": np.ones(40), "colour": colour}
    model = AnomalyDetector(random_state=0).fit(columns)
    rows = columns | {"number": number * 2, "few": CLASSES + 0.4}
    found = read(model, tmp_path).scores(rows)
    np.testing.assert_allclose(found, model.score_samples(rows), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found < model.offset_, model.predict(rows) == -1)


@case_by_case("name", sorted(models()))
def test_all_that_a_file_contains_is_in_the_text(name, tmp_path):
    reader = read(models()[name], tmp_path)
    names = set(reader.attributes) | {name for layer in reader.layers for name in layer}
    for array in reader.arrays:
        names.add("state.OWNER.NAME" if array.startswith("state.") else re.sub(r"_\d+$", "_0", array))
    assert {name for name in names if not re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.]\w)", TEXT)} == set()
    assert f'``"{reader.kind}"``' in TEXT
    assert "head_W" not in TEXT
