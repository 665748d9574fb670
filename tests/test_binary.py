"""Bits from grey levels: what is drawn, from which stream, and where training uses it."""

import numpy as np
import pytest
from fake_device import FakeDevice
from layer_runs import train, trainer_for
from scipy import sparse
from tables import case_by_case

from deepbelief import DBN, RBM, load, save
from deepbelief.backends import get_backend
from deepbelief.errors import DataError, DataWarning, SettingError
from deepbelief.learner import Learner
from deepbelief.pretraining import transform
from deepbelief.seeds import stream
from deepbelief.sources import ArraySource, as_source, binarize_rows
from deepbelief.sources.binary import BinarySource, _uniforms
from deepbelief.stack import Stack


def greys(n=60, width=8, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).random((n, width)).astype(dtype)


# --- the draw ---


def test_uniforms_are_uniform_and_independent_of_their_neighbours():
    n = 1 << 20
    u = _uniforms(np.uint64(12345), np.arange(n, dtype=np.uint64)).astype(np.float64)
    assert 0 <= u.min() < u.max() < 1
    counts = np.bincount((u * 1000).astype(int), minlength=1000)
    # Chi-square with 999 degrees of freedom: a normal number of standard deviation sqrt(2 x 999), here at 6 of them.
    assert abs((np.square(counts - n / 1000) / (n / 1000)).sum() - 999) < 6 * np.sqrt(2 * 999)
    for lag in (1, 2, 784, 1024):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 6 / np.sqrt(n)
    other = _uniforms(np.uint64(12346), np.arange(n, dtype=np.uint64)).astype(np.float64)
    assert abs(np.corrcoef(u, other)[0, 1]) < 6 / np.sqrt(n)


def test_values_are_probabilities():
    n = 40_000
    p = np.array([0.0, 0.1, 0.5, 0.93, 1.0])
    drawn = binarize_rows(np.tile(p, (n, 1)))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(axis=0), p, atol=6 * 0.5 / np.sqrt(n))
    assert drawn[:, 0].max() == 0
    assert drawn[:, 4].min() == 1
    np.testing.assert_array_equal(binarize_rows([[0.0, 0.49, 0.5, 1.0]], "threshold"), [[0, 0, 1, 1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_is_the_same_however_it_is_read(dtype):
    grey = greys(3000, dtype=dtype)
    source = BinarySource(ArraySource(grey), "sample", 3, "rows")
    whole = source.take(slice(None))
    assert whole.dtype == dtype
    np.testing.assert_array_equal(source.take(slice(5, 2999, 7)), whole[5:2999:7])
    some = np.array([2999, 0, 1500, 0])
    np.testing.assert_array_equal(source.take(some), whole[some])
    out = np.empty((4, 8), dtype)
    assert source.take(some, out) is out
    np.testing.assert_array_equal(out, whole[some])
    np.testing.assert_array_equal(binarize_rows(sparse.csr_matrix(grey), "sample", 3), binarize_rows(grey, "sample", 3))
    for other in (BinarySource(as_source(grey), "sample", 4, "rows"), BinarySource(as_source(grey), "sample", 3, "x")):
        assert 0.2 < (other.take(slice(None)) != whole).mean() < 0.5


def test_what_cannot_be_binarised_is_refused():
    with pytest.raises(SettingError, match="threshold"):
        binarize_rows(greys(), "resample")
    with pytest.raises(DataError, match=r"row 3.*column 2"):
        binarize_rows(np.where(np.arange(80).reshape(10, 8) == 26, 7.0, greys(10)))
    rbm = RBM(3, binarize="sample", visible="gaussian")
    with pytest.raises(SettingError, match="binarize='sample' needs Bernoulli visible units"):
        rbm.fit(greys())
    with pytest.raises(DataError, match="row 0"):
        RBM(3, binarize="threshold").fit(5 * greys())
    with pytest.raises(SettingError, match="layer below"):
        DBN((4, 3), rbm=[RBM(hidden="gaussian", learning_rate=1e-4), RBM(binarize="sample")]).fit(greys())


# --- training ---


def trained(X, **settings):
    return RBM(4, n_iter=3, batch_size=10, random_state=7, learning_rate=0.2, **settings).fit(X)


def same(a, b):
    return all(np.array_equal(u, v) for u, v in zip(a.weights_.arrays().values(), b.weights_.arrays().values()))  # noqa: B905


def test_bits_that_stay_are_those_of_a_named_stream():
    X = greys()
    drawn = BinarySource(as_source(X), "sample", 7, "rows").take(slice(None))
    assert same(trained(X, binarize="sample"), trained(drawn))
    assert same(trained(X, binarize="threshold"), trained((X >= 0.5).astype(np.float32)))
    assert not same(trained(X, binarize="sample"), trained(X))


def test_sparse_rows_are_binarised_alike():
    X = np.where(greys(seed=5) < 0.5, 0, greys()).astype(np.float32)
    for how in ("sample", "threshold", "resample"):
        dense, few = trained(X, binarize=how), trained(sparse.csr_matrix(X), binarize=how)
        for name in ("W", "vbias", "hbias"):
            np.testing.assert_allclose(getattr(few.weights_, name), getattr(dense.weights_, name), rtol=1e-4, atol=1e-6)


def test_each_epoch_has_its_own_bits(bk, monkeypatch):
    X = greys(30)
    seen = []
    step = Learner.update

    def watched(self, n, *arguments):
        seen.append(self.run.bk.to_numpy(self.phases.visible(n)[:n]).copy())
        step(self, n, *arguments)

    monkeypatch.setattr(Learner, "update", watched)
    trainer = trainer_for(bk, X, binarize="resample")
    monitored = bk.to_numpy(train(trainer, X, (0, 2)) and trainer.monitor.rows)
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    for bits in (first, second, monitored):
        assert set(np.unique(bits)) == {0, 1}
    assert 0.2 < (first != second).mean() < 0.6
    # The means of many epochs are the grey levels.
    seen.clear()
    constant = np.tile(np.linspace(0, 1, 8, dtype=np.float32), (200, 1))
    with pytest.warns(DataWarning, match="constant"):
        trainer = trainer_for(bk, constant, binarize="resample", learning_rate=1e-6)
    train(trainer, constant, (0, 10))
    np.testing.assert_allclose(np.concatenate(seen).mean(axis=0), constant[0], atol=6 * 0.5 / np.sqrt(2000))


def test_history_and_file_say_how(tmp_path):
    X = greys()
    for how in ("sample", "resample", "threshold"):
        rbm = trained(X, binarize=how, validation_fraction=0.2)
        assert {record["binarize"] for record in rbm.history_} == {how}
        save(rbm, tmp_path / "rbm.h5")
        again = load(tmp_path / "rbm.h5")
        assert again.binarize == how
        assert again.history_ == rbm.history_
    assert "binarize" not in trained(X).history_[0]


def test_one_template_binarises_what_enters_the_first_layer():
    X = greys(200)
    dbn = DBN((5, 4), rbm=RBM(n_iter=2, binarize="sample"), random_state=3).fit(X)
    assert [record.get("binarize") for record in dbn.history_] == ["sample"] * 2 + [None] * 2
    several = DBN(
        (5, 4, 3), rbm=[RBM(n_iter=2, binarize=how) for how in ("resample", "resample", "sample")], random_state=3,
        n_passes=2,
    ).fit(X)  # fmt: skip
    assert [record["binarize"] for record in several.history_] == 2 * (["resample"] * 4 + ["sample"] * 2)


def test_what_is_passed_upwards_is_drawn_once():
    X = greys(200)
    templates = [RBM(n_iter=2, binarize="resample", learning_rate=0.5) for _ in range(3)]
    first, second, third = DBN((5, 4, 3), rbm=templates, random_state=3).fit(X).stack_
    bk = get_backend()
    bits = BinarySource(as_source(X), "sample", 3, "rows")
    for below, above, layer in ((first, second, 1), (second, third, 2)):
        means = transform(Stack((below,)), bits, bk)
        np.testing.assert_allclose(above.visible_mean, (means.sum(axis=0) + 1) / 202, rtol=1e-5)
        drawn = bk.rng(stream(3, layer, "rows", "drawn")).bernoulli(means, np.empty_like(means))
        bits = as_source(drawn)


@case_by_case("how", ["sample", "resample", "threshold"])
def test_upper_layers_get_bits_on_every_device(how):
    X = greys(80, dtype=np.float32)
    stacks = [
        DBN((5, 4), rbm=[RBM(n_iter=1, binarize=how)] * 2, random_state=3, backend=backend).fit(X).stack_
        for backend in ("numpy", FakeDevice())
    ]
    for a, b in zip(*stacks, strict=True):
        np.testing.assert_allclose(a.W, b.W, rtol=1e-4, atol=1e-6)


def test_partial_fit_draws_anew_in_each_call():
    X = np.full((50, 8), 0.5, np.float32)
    a = RBM(3, binarize="sample", random_state=0, learning_rate=0.5).partial_fit(X)
    bits = BinarySource(as_source(X), "sample", 0, "rows", 0).take(slice(None))
    assert same(a, RBM(3, random_state=0, learning_rate=0.5).partial_fit(bits))
    a.partial_fit(X)
    again = RBM(3, random_state=0, learning_rate=0.5).partial_fit(bits).partial_fit(bits)
    assert not same(a, again)
    assert [record["binarize"] for record in a.history_] == ["sample", "sample"]
