"""`sample`: what is written is what the model draws, in the units of the data."""

import io
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from cli_runs import TINY, bad, good, model_bytes, put_model, run, snapshot
from matplotlib.image import imread
from sklearn.datasets import load_digits
from tables import case_by_case

from deepbelief import RBM, load, save
from deepbelief.estimators.views import sample_rows
from deepbelief.stack import Stack

DRAW = ("--n", 5, "--steps", 7, "--seed", 3)


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows(n=60):
    return (load_digits().data[:n] / 16).astype(np.float32)


def hide(monkeypatch, library):
    """Make a library look as if it were not installed."""
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)


def test_every_format_holds_what_the_model_draws(tmp_path):
    path = put_model(tmp_path, "dbn")
    expected = load(path).sample(5, n_steps=7, random_state=3)
    for ending in ("npy", "csv", "h5"):
        out = good("sample", path, *DRAW, "--out", f"s.{ending}").stdout
        assert out == f"s.{ending}: 5 rows, 64 features, 7 Gibbs steps, seed 3\n"
    np.testing.assert_array_equal(np.load("s.npy"), expected)
    with h5py.File("s.h5") as file:
        np.testing.assert_array_equal(file["samples"][()], expected)
    printed = good("sample", path, *DRAW, "--out", "-")
    assert printed.stdout == Path("s.csv").read_text()
    assert printed.stderr == "samples: 5 rows, 64 features, 7 Gibbs steps, seed 3\n"
    table = np.loadtxt(io.StringIO(printed.stdout), np.float32, delimiter=",", skiprows=1)
    np.testing.assert_array_equal(table, expected)
    assert printed.stdout.startswith("feature0,feature1,")


def test_defaults_and_a_seed_that_repeats(tmp_path):
    path = put_model(tmp_path, "dbn")
    out = good("sample", path).stdout
    assert out.startswith("dbn-samples.npy: 16 rows, 64 features, 1000 Gibbs steps, seed ")
    seed = int(out.split()[-1])
    np.testing.assert_array_equal(np.load("dbn-samples.npy"), load(path).sample(16, n_steps=1000, random_state=seed))
    assert good("sample", path, "--out", "other.npy").stdout.split()[-1] != str(seed)


@case_by_case("method", ["gibbs", "pt", "ptt"])
def test_samples_are_drawn_by_the_method_that_is_named(tmp_path, method):
    X = np.repeat([[0.0] * 6, [1.0] * 6], 20, axis=0)
    save(RBM(3, gradient="ptt", n_iter=2, random_state=0).fit(X), "m.h5")
    out = good(
        "sample", "m.h5", "--n", 5, "--steps", 25, "--seed", 3, "--method", method, "--out", "s.npy", "--force"
    ).stdout
    drawn = load("m.h5").sample(5, n_steps=25, method=method, random_state=3)
    np.testing.assert_array_equal(np.load("s.npy"), drawn)
    assert not np.array_equal(drawn, load("m.h5").sample(5, n_steps=25, method="auto", random_state=4))
    assert out.startswith(f"s.npy: 5 rows, 6 features, 25 {'Gibbs steps' if method == 'gibbs' else 'sweeps at most'}")


def test_samples_are_drawn_at_the_temperature_that_is_named():
    X = np.repeat([[0.0] * 6, [1.0] * 6], 20, axis=0)
    save(RBM(3, n_iter=100, learning_rate=0.5, random_state=0).fit(X), "m.h5")
    good("sample", "m.h5", *DRAW, "--temperature", 4, "--out", "warm.npy")
    warm, cold = (load("m.h5").sample(5, n_steps=7, random_state=3, temperature=t) for t in (4.0, 1.0))
    np.testing.assert_array_equal(np.load("warm.npy"), warm)
    assert not np.array_equal(warm, cold)


def test_a_fine_tuned_file_draws_from_the_layers_that_it_keeps(tmp_path):
    path = put_model(tmp_path, "classifier")
    result = good("sample", path, *DRAW)
    assert result.stderr == f"{path} is fine-tuned: sampling from its pretrained layers\n"
    kept = load(path).pretrained_stack_
    expected = sample_rows(kept, 5, n_steps=7, random_state=3)
    np.testing.assert_array_equal(np.load("classifier-samples.npy"), expected)
    assert np.abs(kept.layers[-1].W - load(path).stack_.layers[-1].W).max() > 0


def test_fine_tuned_layers_alone_are_refused(tmp_path):
    save(load(put_model(tmp_path, "classifier")).stack_, "bare.h5")
    before = snapshot(tmp_path)
    line = bad("sample", "bare.h5")
    assert line.startswith("bare.h5 holds fine-tuned layers only")
    assert "sample from the pretrained file" in line
    assert snapshot(tmp_path) == before


def test_other_models(tmp_path):
    rbm = RBM(5, n_iter=1, random_state=0).fit(rows())
    save(rbm, "rbm.h5")
    save(Stack((rbm.weights_,)), "stack.h5")
    for name in ("rbm", "stack"):
        good("sample", f"{name}.h5", *DRAW)
        expected = sample_rows(load(f"{name}.h5"), 5, n_steps=7, random_state=3)
        np.testing.assert_array_equal(np.load(f"{name}-samples.npy"), expected)


@pytest.mark.parametrize("scale", ["255", "minmax"])
def test_rows_come_in_the_units_of_the_data(scale):
    table = load_digits().data[:100, 20:30].astype(np.uint8) * 15
    np.save("bytes.npy", table)
    good("pretrain", "bytes.npy", "--scale", scale, *TINY[3:])
    good("sample", "bytes.h5", *DRAW)
    found, model = np.load("bytes-samples.npy"), load("bytes.h5").sample(5, n_steps=7, random_state=3)
    np.testing.assert_array_equal(found, model)
    assert 1 < found.max() <= 255
    good("encode", "bytes.h5", "bytes-samples.npy")  # as the other commands take them
    np.testing.assert_allclose(np.load("bytes-codes.npy"), load("bytes.h5").transform(model), atol=1e-5)


def test_columns_have_the_names_that_fit_saw():
    frame = pd.DataFrame(rows()[:, 20:23], columns=["a", "b,c", "d"])
    save(RBM(2, n_iter=1, random_state=0).fit(frame), "m.h5")
    assert good("sample", "m.h5", *DRAW, "--out", "-").stdout.splitlines()[0] == 'a,"b,c",d'


def test_pictures_show_the_rows(tmp_path):
    path = put_model(tmp_path, "dbn")
    good("sample", path, "--n", 4, "--steps", 7, "--seed", 3, "--out", "s.png")
    expected = load(path).sample(4, n_steps=7, random_state=3).reshape(4, 8, 8)
    pixels = imread("s.png")
    seen = np.argwhere(pixels[..., 3] > 0)
    (top, left), (bottom, right) = seen.min(axis=0), seen.max(axis=0) + 1
    step = (bottom - top) / 17  # two images and a gap
    assert abs(step - (right - left) / 17) < 0.1
    for i, digit in enumerate(expected):
        for row in range(8):
            for column in range(8):
                y = top + step * (i // 2 * 9 + row + 0.5)
                x = left + step * (i % 2 * 9 + column + 0.5)
                np.testing.assert_allclose(pixels[int(y), int(x), :3], digit[row, column], atol=0.01)


def test_pictures_of_other_shapes():
    X = rows()[:, :60]
    save(RBM(3, n_iter=1, random_state=0).fit(X), "m.h5")
    assert "not square images: give --shape" in bad("sample", "m.h5", "--out", "s.png")
    assert "9 x 9" in bad("sample", "m.h5", "--out", "s.png", "--shape", "9,9")
    good("sample", "m.h5", *DRAW, "--out", "s.png", "--shape", "6,10")
    height, width = imread("s.png").shape[:2]
    assert height / width == pytest.approx((2 * 7 - 1) / (3 * 11 - 1), rel=0.05)


def test_without_matplotlib_only_pictures_are_missing(tmp_path, monkeypatch):
    path = put_model(tmp_path, "dbn")
    hide(monkeypatch, "matplotlib")
    assert bad("sample", path, *DRAW, "--out", "s.png") == "figures need matplotlib: pip install 'deepbelief[plot]'"
    good("sample", path, *DRAW)
    assert set(snapshot(tmp_path)) == {"dbn.h5", "dbn-samples.npy"}


def test_bad_input_is_one_line_and_changes_nothing(tmp_path, monkeypatch):
    path = put_model(tmp_path, "dbn")
    (tmp_path / "cut.h5").write_bytes(model_bytes("dbn")[:-1])
    (tmp_path / "old.npy").write_bytes(b"old")
    before = snapshot(tmp_path)
    hide(monkeypatch, "cupy")
    cases = [
        ((path, "--n", 0), "--n must be"),
        ((path, "--steps", 0), "--steps must be"),
        ((path, "--seed", -1), "--seed must be"),
        ((path, "--method", "gibs"), "did you mean 'gibbs'"),
        ((path, "--out", "old.npy"), "--force"),
        ((path, "--out", "s.npz"), "did you mean '.npy'"),
        ((path, "--out", path, "--force"), "is an input file"),
        ((path, "--out", "nowhere/s.npy"), "does not exist"),
        ((path, "--backend", "cupy"), "CuPy"),
        (("cut.h5",), "damaged"),
        (("nosuch.h5",), "no such file"),
    ]
    for words, message in cases:
        assert message in bad("sample", *words)
    assert snapshot(tmp_path) == before
    good("sample", path, *DRAW, "--out", "old.npy", "--force")
    assert np.load("old.npy").shape == (5, 64)


@case_by_case("words", [(), ("m.h5", "--shape", "8x8"), ("m.h5", "--n", "x"), ("m.h5", "digits")])
def test_wrong_usage(words):
    assert run("sample", *words).exit_code == 2
