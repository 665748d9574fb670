"""Sparse rows: what is computed with them is what dense rows give, and only minibatches become dense."""

import itertools
import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from conftest import BACKENDS
from layer_runs import trainer_for
from pairwise import pairwise
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, DBNRegressor, DeepAutoencoder, RBMClassifier
from deepbelief.backends import Product, get_backend
from deepbelief.backends import sparse as sparse_backend
from deepbelief.backends.loops import loops_for
from deepbelief.backends.sparse import HostRows
from deepbelief.errors import DataError
from deepbelief.gradients import GRADIENTS
from deepbelief.pretraining import transform
from deepbelief.sources import ScaledSource, SparseSource, SubsetSource, as_source, column_statistics, csr_of
from deepbelief.stack import Stack
from deepbelief.training import Rows

DTYPES = [np.float32, np.float64]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """With more BLAS threads dense products are faster, and sparse ones pay later."""
    monkeypatch.setattr(sparse_backend, "threadpool_info", lambda: [{"user_api": "blas", "num_threads": 1}])


def whole(shape, seed=0, dtype=np.float32):
    """Whole numbers, whose sums are exact in any order."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


def table(n=60, width=40, density=0.06, dtype=np.float32, seed=1):
    """A sparse table of whole numbers and its dense twin; some rows and columns are empty."""
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((n, width)) < density, rng.integers(1, 5, (n, width)), 0).astype(dtype)
    dense[:2], dense[:, -2:] = 0, 0
    return scipy.sparse.csr_array(dense), dense


def sparse_bits(n=60, width=40, density=0.06, dtype=np.float64):
    matrix, dense = table(n, width, density, dtype)
    matrix.data[:] = 1
    return matrix, np.sign(dense)


# --- the backends ---


@pytest.mark.usefixtures("loops")
@pairwise(
    bk=BACKENDS,
    dtype=DTYPES,
    width=[7, 40],  # fewer and more columns than rows
    cached=[1, 24, 10**6],  # the other factor in many blocks, in some and in one
    indirect=["bk"],
)
def test_products_of_sparse_rows_are_those_of_dense_ones(bk, monkeypatch, dtype, width, cached):
    monkeypatch.setattr(sparse_backend, "CACHED", cached)
    matrix, dense = table(width=width, dtype=dtype)
    order = np.random.default_rng(2).permutation(60)
    rows, truth = bk.sparse(matrix).shuffled(bk.asarray(order)).part(11, 31), dense[order[11:31]]
    W, h = whole((width, 3), 3, dtype), whole((20, 3), 4, dtype)
    assert (len(rows), rows.shape) == (20, (20, width))
    out = bk.asarray(np.full((20, 3), np.nan, dtype))
    bk.matmul(rows, bk.asarray(W), out)
    np.testing.assert_array_equal(bk.to_numpy(out), truth @ W)
    np.testing.assert_array_equal(bk.to_numpy(bk.matmul(rows, bk.asarray(W))), truth @ W)
    there = bk.asarray(whole((width, 3), 5, dtype))
    rows.add_transposed(bk.asarray(h), there)
    np.testing.assert_array_equal(bk.to_numpy(there), whole((width, 3), 5, dtype) + truth.T @ h)
    room = bk.asarray(np.full((20, width), np.nan, dtype))
    np.testing.assert_array_equal(bk.to_numpy(rows.dense(room)), truth)
    np.testing.assert_array_equal(bk.to_numpy(bk.matmul(bk.asarray(truth), bk.asarray(W))), truth @ W)


def test_without_kernels_of_scipy_minibatches_are_dense(monkeypatch):
    matrix, dense = table(density=0.01)
    assert get_backend().sparse(matrix).pays
    monkeypatch.setattr(sparse_backend, "csr_todense", None)
    rows = get_backend().sparse(matrix)
    assert not rows.pays
    np.testing.assert_array_equal(rows.part(11, 31).dense(np.full((20, 40), np.nan, np.float32)), dense[11:31])
    bits = sparse_bits(density=0.02)
    thin, thick = (RBM(3, n_iter=2, visible="bernoulli", random_state=0).fit(X) for X in bits)
    np.testing.assert_allclose(thin.components_, thick.components_, rtol=1e-6)


@pytest.mark.usefixtures("loops")
@pairwise(bk=BACKENDS, nesterov=[False, True], decay=[0.0, 0.25], indirect=["bk"])
def test_a_step_takes_the_sparse_part_of_a_gradient(bk, nesterov, decay):
    matrix, dense = table(n=10)
    left, right, h = whole((6, 40), 1), whole((6, 3), 2), whole((10, 3), 3)
    results = []
    for plus in (True, False):
        w, velocity = (bk.asarray(whole((40, 3), seed)) for seed in (4, 5))
        if plus:
            sparse = bk.sparse(matrix).part(0, 10), bk.asarray(h.copy())
            grad = Product(bk.asarray(left), bk.asarray(right), bk.xp.empty_like(w), sparse)
        else:
            grad = bk.asarray(left.T @ right + dense.T @ h)
        bk.momentum_step(w, velocity, grad, 0.5, 0.5, decay, nesterov)
        results.append([bk.to_numpy(a) for a in (w, velocity)])
    np.testing.assert_array_equal(results[0], results[1])


def test_the_share_of_zeros_decides_whether_products_pay(bk):
    assert bk.sparse(table(density=0.01)[0]).pays
    assert not bk.sparse(table(density=0.5)[0]).pays
    rows = Rows(SparseSource(table(density=0.5)[0]), bk, np.float32)
    rows.begin(np.arange(60))
    assert rows.sparse(0, 10) is None


# --- sources ---


def test_sources_of_sparse_rows_give_their_matrix():
    matrix, dense = table()
    source, index = SparseSource(matrix), np.array([5, 2, 2, 59])
    np.testing.assert_array_equal(csr_of(source).toarray(), dense)
    np.testing.assert_array_equal(csr_of(SubsetSource(source, index)).toarray(), dense[index])
    scale = np.linspace(1, 3, 40).astype(np.float32)
    np.testing.assert_array_equal(csr_of(ScaledSource(source, 0.0, scale)).toarray(), dense / scale)
    np.testing.assert_array_equal(source.take(slice(None)), dense)  # the caller's values stay
    for other in (as_source(dense), ScaledSource(source, 1.0, 2.0), SubsetSource(as_source(dense), index)):
        assert csr_of(other) is None


def test_statistics_of_sparse_columns_are_those_of_dense_ones():
    matrix, dense = table(dtype=np.float64)
    dense[:, 3], dense[:, 4] = 7.5, -dense[:, 4]
    dense[:, 5] = np.random.default_rng(3).normal(1e6, 1, 60)
    matrix = scipy.sparse.csr_array(dense)
    sparse, truth = column_statistics(as_source(matrix)), column_statistics(as_source(dense))
    for name in ("mean", "var", "min", "max"):
        np.testing.assert_allclose(getattr(sparse, name), getattr(truth, name), rtol=1e-9, atol=1e-15, err_msg=name)
    assert sparse.var[3] == 0
    assert sparse.n == 60


def test_values_stored_twice_count_once_together():
    rows, columns, values = np.array([0, 0, 1]), np.array([1, 1, 0]), np.array([2.0, 3.0, 4.0])
    matrix = scipy.sparse.csr_array((values, columns, np.array([0, 2, 3])), shape=(2, 2))
    statistics = column_statistics(as_source(matrix))
    np.testing.assert_array_equal(statistics.max, [4, 5])
    np.testing.assert_array_equal(statistics.var, [4, 6.25])
    assert matrix.nnz == len(rows) == 3  # the caller's matrix stays as it was


# --- training and use ---


class Watched:
    """Counts what becomes dense, and the products made with sparse rows."""

    def __init__(self, monkeypatch):
        self.dense, self.products = [], 0
        dense, times, add = HostRows.dense, HostRows.times, HostRows.add_transposed

        def densified(rows, out):
            self.dense.append(len(rows))
            return dense(rows, out)

        def counted(method):
            def call(rows, *arguments):
                self.products += 1
                return method(rows, *arguments)

            return call

        monkeypatch.setattr(HostRows, "dense", densified)
        monkeypatch.setattr(HostRows, "times", counted(times))
        monkeypatch.setattr(HostRows, "add_transposed", counted(add))


@pairwise(
    bk=BACKENDS,
    loops=["compiled", "numpy"],
    gradient=[name for name in GRADIENTS if name != "exact"],
    more=[{}, {"nesterov": True, "sparsity_target": 0.2}, {"gibbs_steps": 2}],
    indirect=["bk", "loops"],
)
def test_a_layer_learns_the_same_from_sparse_rows(bk, loops, gradient, more, monkeypatch):
    matrix, dense = sparse_bits()
    watched, results = Watched(monkeypatch), []
    for source in (SparseSource(matrix), as_source(dense)):
        trainer = trainer_for(bk, dense, gradient=gradient, **more)
        history = trainer.train(Rows(source, bk, np.float64), None, range(3))
        control = trainer.learner.arrays["gradient"].get("numbers", 0)  # the length of a step, of those that measure it
        results.append((trainer.machine.weights().W, history[-1]["reconstruction_error"], control))
        if len(results) == 1 and bk.name != "cupy":  # which has rows of its own kind
            # Per minibatch one product upwards and one for the gradient; only minibatches became dense.
            # The gradient of one moves two sets of parameters, the other one measures the length of its step.
            uses = 3 if gradient in ("fpcd", "ptt") else 2
            assert watched.products == 3 * 6 * uses
            assert max(watched.dense) <= 10
    assert bk.name == "cupy" or watched.products == 3 * 6 * uses
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-9)
    np.testing.assert_allclose(results[0][2], results[1][2], rtol=1e-6)


def test_centred_machines_learn_the_same_from_sparse_rows(bk):
    matrix, dense = sparse_bits()
    found = []
    for source in (SparseSource(matrix), as_source(dense)):
        trainer = trainer_for(bk, dense, centered=True)
        trainer.train(Rows(source, bk, np.float64), None, range(3))
        found.append(trainer.machine.weights().W)
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-12)


def test_estimators_learn_the_same_from_csr(monkeypatch):
    matrix, dense = sparse_bits(120)
    y = np.arange(120) % 3
    watched = Watched(monkeypatch)
    settings = {"rbm": RBM(n_iter=3), "max_iter": 3, "random_state": 0}
    for early_stopping in (False, True):
        sparse = DBNClassifier((6, 4), early_stopping=early_stopping, **settings).fit(matrix, y)
        assert watched.products
        plain = DBNClassifier((6, 4), early_stopping=early_stopping, **settings).fit(dense, y)
        np.testing.assert_allclose(sparse.coefs_[0], plain.coefs_[0], rtol=1e-8, atol=1e-11)
        np.testing.assert_allclose(sparse.predict_proba(matrix), plain.predict_proba(dense), rtol=1e-8)
    assert max(watched.dense) <= 108


def test_codes_of_csr_rows_never_become_dense(monkeypatch):
    matrix, dense = sparse_bits(dtype=np.float32)
    rbm = RBM(4, n_iter=2, random_state=0).fit(matrix)
    W = whole((40, 4)) / 8
    stack = Stack((rbm.weights_,))
    object.__setattr__(stack.layers[0], "W", W)  # exact sums
    watched, bk = Watched(monkeypatch), get_backend()
    codes = transform(stack, SparseSource(matrix), bk)
    assert watched.dense == []
    assert watched.products
    np.testing.assert_array_equal(codes, transform(stack, as_source(dense), bk))


def test_rows_that_a_mean_makes_dense_still_train():
    matrix, dense = table(dtype=np.float64)
    models = [RBM(4, visible="gaussian", n_iter=2, random_state=0).fit(X) for X in (matrix, dense)]
    np.testing.assert_allclose(models[0].components_, models[1].components_, rtol=1e-7, atol=1e-9)


# --- damaged matrices, and arrays that compiled code must not be given ---


def _beyond(matrix):
    matrix.indices[3] = 10**8


def _negative(matrix):
    matrix.indices[3] = -7


def _falling(matrix):
    matrix.indptr[5] = matrix.indptr[-1] + 10**6


def _too_long(matrix):
    matrix.indptr[-1] += 1000


def _too_few_indices(matrix):
    matrix.indices = matrix.indices[:-9]


def _too_few_ends(matrix):
    matrix.indptr = matrix.indptr[:-9]


DAMAGES = (_beyond, _negative, _falling, _too_long, _too_few_indices, _too_few_ends)
Y = np.arange(60) % 2
DOORS = {
    "RBM": lambda good, bad: RBM(3, n_iter=1).fit(bad),
    "score": lambda good, bad: RBM(3, n_iter=1).fit(good).score_samples(bad),
    "DBN": lambda good, bad: DBN((3,), rbm=RBM(n_iter=1)).fit(good).transform(bad),
    "DBNClassifier": lambda good, bad: DBNClassifier((3,), rbm=RBM(n_iter=1), max_iter=1).fit(bad, Y),
    "DBNRegressor": lambda good, bad: DBNRegressor((3,), rbm=RBM(n_iter=1), max_iter=1).fit(good, Y).predict(bad),
    "RBMClassifier": lambda good, bad: RBMClassifier(rbm=RBM(3, n_iter=1)).fit(bad, Y),
    "DeepAutoencoder": lambda good, bad: DeepAutoencoder((3,), rbm=RBM(n_iter=1), max_iter=1).fit(bad),
    "source": lambda good, bad: as_source(bad),
}


@case_by_case("door", DOORS)
def test_damaged_matrices_are_refused_at_every_door(door):
    for kind, damage in itertools.product(("csr", "csc") if door == "source" else ("csr",), DAMAGES):
        good, bad = (sparse_bits(n=60, width=12, dtype=np.float32)[0].asformat(kind) for _ in range(2))
        damage(bad)
        with pytest.raises(DataError, match="sparse matrix is damaged"):
            DOORS[door](good, bad)


def test_other_damaged_matrices_are_refused():
    coo = scipy.sparse.coo_array(np.eye(4))
    coo.coords[1][2] = 4
    lil = scipy.sparse.lil_array(np.eye(4))
    lil.rows[2] = [10**6]
    dia = scipy.sparse.dia_array(np.eye(4) + np.eye(4, k=1))
    dia.offsets = dia.offsets[:1]
    for bad in (coo, lil, dia):
        with pytest.raises(DataError, match="sparse matrix is damaged"):
            as_source(bad)


def test_arrays_that_are_unaligned_or_swapped_learn_the_same():
    plain = np.random.default_rng(0).random((60, 20)).astype(np.float32)
    unaligned = np.frombuffer(b"\0" + plain.tobytes(), np.float32, offset=1).reshape(plain.shape)
    assert not unaligned.flags.aligned
    assert loops_for(unaligned) is None
    assert as_source(unaligned).take(slice(0, 9)).flags.aligned
    right = RBM(4, n_iter=2, random_state=0).fit(plain)
    for X in (unaligned, plain.astype(">f4"), np.asfortranarray(plain), plain[::-1][::-1]):
        found = RBM(4, n_iter=2, random_state=0).fit(X)
        np.testing.assert_array_equal(found.components_, right.components_)
    matrix = scipy.sparse.csr_array(plain)
    matrix.data = np.frombuffer(b"\0" + matrix.data.tobytes(), np.float32, offset=1)
    assert as_source(matrix).csr().data.flags.aligned


def test_unaligned_rows_are_not_copied_whole():
    """Rows that a cluster has received are unaligned: a copy would double the memory of a worker."""
    plain = np.random.default_rng(0).random((20_000, 50)).astype(np.float32)
    X = np.frombuffer(b"\0" + plain.tobytes(), np.float32, offset=1).reshape(plain.shape)
    order, out = np.arange(len(X))[::-1], np.empty((100, 50), np.float32)
    tracemalloc.start()
    rows = Rows(as_source(X), get_backend("numpy"), np.float32)
    rows.begin(order)
    for start in range(0, len(X), 5000):
        rows.batch(start, start + 100, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(out, plain[::-1][15_000:15_100])
    assert peak < X.nbytes / 10


def test_rows_that_end_before_they_begin_are_refused():
    """SciPy's own check passes where the last row ends at 0."""
    matrix = scipy.sparse.csr_array(np.eye(4))
    matrix.indptr[:] = [0, 2, 0, 0, 0]
    with pytest.raises(DataError, match="indptr must not decrease"):
        RBM(2).fit(matrix)
