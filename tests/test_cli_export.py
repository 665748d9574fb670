"""``deepbelief export``: files that other programs read."""

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits

from deepbelief import RBM, DBNClassifier, RBMClassifier, save
from tests.cli_runs import bad, good, run

X, Y = load_digits(return_X_y=True)
X, Y = (X[:300] / 16).astype(np.float32), Y[:300]


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clf = DBNClassifier((12,), rbm=RBM(n_iter=1), max_iter=2, random_state=0).fit(X, Y)
    save(clf, "model.h5")
    return clf


def test_each_kind_of_file(model, tmp_path):
    expected = model.predict_proba(X)
    onnxruntime = pytest.importorskip("onnxruntime")
    assert "model.onnx" in good("export", "model.h5", "--to", "onnx").stdout
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"X": X})[0], expected, atol=1e-5)
    good("export", "model.h5", "--to", "sklearn")
    np.testing.assert_allclose(joblib.load("model.joblib").predict_proba(X), expected, atol=1e-5)
    good("export", "model.h5", "--to", "npz", "--part", "encoder", "--out", "e.npz")
    with np.load("e.npz") as arrays:
        assert arrays["W0"].shape == (64, 12)
        assert "W1" not in arrays
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"model.h5", "model.onnx", "model.joblib", "e.npz"}


def test_a_torch_module(model):
    torch = pytest.importorskip("torch")
    good("export", "model.h5", "--to", "torch")
    module = torch.load("model.pt", weights_only=False)
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(X)).numpy(), model.predict_proba(X), atol=1e-5)


def test_what_cannot_be_exported_ends_in_one_line(model, tmp_path):
    before = {path.name for path in tmp_path.iterdir()}
    assert "no decoder" in bad("export", "model.h5", "--to", "npz", "--part", "decoder")
    assert "is an input file" in bad("export", "model.h5", "--to", "npz", "--out", "model.h5", "--force")
    assert run("export", "model.h5", "--to", "pickle").exit_code == 2
    save(RBMClassifier(4, rbm=RBM(n_iter=1), random_state=0).fit(X, Y), "energies.h5")
    assert "free energies" in bad("export", "energies.h5", "--to", "onnx")
    assert {path.name for path in tmp_path.iterdir()} == before | {"energies.h5"}
