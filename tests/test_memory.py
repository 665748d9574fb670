"""Peak memory of training, told by tracemalloc: the data once, and a workspace that does not grow with the rows."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from tables import case_by_case

from deepbelief import DBN, RBM
from deepbelief.sources import ArraySource, ScaledSource

pytestmark = pytest.mark.slow

N, WIDTH = 20_000, 128
DATA = N * WIDTH * 4  # bytes of the rows as float32


def peak(fit):
    """Return the most bytes that a call needed beyond what was there before it."""
    tracemalloc.start()
    try:
        fit()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module", autouse=True)
def warm():
    """Imports and caches are no part of training."""
    RBM(2, n_iter=1).fit(np.eye(20, dtype=np.float32))


@pytest.fixture(scope="module")
def grey():
    return np.random.default_rng(0).integers(0, 256, (N, WIDTH), dtype=np.uint8)


SETTINGS = {"n_iter": 1, "batch_size": 200, "random_state": 0, "learning_rate": 0.001}


@case_by_case("more", [{}, {"visible": "gaussian"}, {"validation_fraction": 0.1}, {"gradient": "pcd"}])
@case_by_case("dtype", [np.float32, np.float64])
def test_a_machine_needs_half_of_the_data_beside_them(grey, more, dtype):
    X = grey.astype(dtype) / 255
    assert peak(lambda: RBM(50, **SETTINGS, **more).fit(X)) <= 0.5 * X.nbytes


def test_bytes_stay_bytes(grey):
    rows = ScaledSource(ArraySource(grey), 0.0, 255.0)
    assert peak(lambda: RBM(50, **SETTINGS).fit(rows)) + grey.nbytes <= DATA


def test_a_stack_keeps_one_hidden_representation():
    X = np.random.default_rng(0).random((20_000, 128), dtype=np.float32)
    sizes = (120, 120, 60, 10)
    fit = DBN(sizes, rbm=RBM(**SETTINGS), random_state=0).fit
    # Half of the data is no room for a second representation of 120 columns beside what else is needed.
    assert peak(lambda: fit(X)) <= 0.5 * X.nbytes + 20_000 * 120 * 4


def test_sparse_rows_take_what_is_not_zero():
    X = scipy.sparse.random_array((N, WIDTH), density=0.02, format="csr", dtype=np.float32, rng=0)
    assert peak(lambda: RBM(50, **SETTINGS).fit(X)) <= 0.5 * DATA
