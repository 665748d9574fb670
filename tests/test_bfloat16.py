"""Products of bfloat16 factors: rounding by its definition, MKL's routine or a stand-in for it, and the way back."""

import ctypes
import warnings

import numpy as np
import pytest
from cli_runs import good
from tables import case_by_case

from deepbelief import RBM
from deepbelief.backends import Product, bfloat16, get_backend
from deepbelief.backends.numpy_backend import NumpyBackend
from deepbelief.errors import BackendError, PrecisionWarning

pytestmark = pytest.mark.usefixtures("loops")


def widened(words):
    """Return bfloat16 numbers as float32."""
    return (words.astype(np.uint32) << 16).view(np.float32)


class StandIn:
    """What is called of MKL, by the meaning of its arguments."""

    @staticmethod
    def _matrix(pointer, shape, kind):
        size, address = int(np.prod(shape)), ctypes.cast(pointer, ctypes.c_void_p).value
        return np.frombuffer((kind * size).from_address(address), kind).reshape(shape)

    def __init__(self):
        def gemm(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
            assert (order, lda, ldb, ldc) == (101, k if ta == 111 else m, n if tb == 111 else k, n)
            left = widened(self._matrix(a, (m, k) if ta == 111 else (k, m), ctypes.c_uint16))
            right = widened(self._matrix(b, (k, n) if tb == 111 else (n, k), ctypes.c_uint16))
            out = self._matrix(c, (m, n), ctypes.c_float)
            product = (left if ta == 111 else left.T) @ (right if tb == 111 else right.T)
            out[...] = alpha * product + (beta * out if beta else 0)

        def axpy(n, alpha, x, _, y, __):
            out = self._matrix(y, n, ctypes.c_float)
            out += np.float32(alpha) * self._matrix(x, n, ctypes.c_float)

        self.cblas_gemm_bf16bf16f32, self.cblas_saxpy = gemm, axpy


@pytest.fixture(params=["stand-in", "mkl"])
def products(request):
    found = bfloat16.Bfloat16Products(StandIn()) if request.param == "stand-in" else bfloat16.load()
    if isinstance(found, str):
        pytest.skip(found)
    return found


def test_rounding_is_to_the_nearest_ties_to_even():
    rng = np.random.default_rng(0)
    words = np.concatenate([rng.integers(0, 2**32, 100_000), np.arange(2**16) << 15, [1, 0x8000, 0x18000, 0x7F7F8000]])
    x = words.astype(np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    got = bfloat16.rounded(x.reshape(1, -1))[0]
    below = x.view(np.uint32) >> 16  # towards 0
    low, high = (widened(n).astype(np.float64) for n in (below, below + 1))
    high[np.isinf(high)] = np.copysign(2.0**128, high[np.isinf(high)])  # where the next number would be
    to_low, to_high = np.abs(x - low), np.abs(high - x)
    nearest = np.where((to_low < to_high) | ((to_low == to_high) & (below % 2 == 0)), below, below + 1)
    np.testing.assert_array_equal(got, nearest)


def test_infinities_and_nan_stay():
    x = np.array([[np.inf, -np.inf, np.nan, -np.nan, 0.0, -0.0]], np.float32)
    np.testing.assert_array_equal(widened(bfloat16.rounded(x)), x)


@case_by_case("left_by_columns", [False, True])
@case_by_case("right_by_columns", [False, True])
def test_products_of_whole_numbers_are_exact(products, left_by_columns, right_by_columns):
    rng = np.random.default_rng(1)
    left, right = (rng.integers(-8, 9, shape).astype(np.float32) for shape in ((20, 30), (30, 7)))
    given = [np.asfortranarray(a) if by else a for a, by in ((left, left_by_columns), (right, right_by_columns))]
    bk, out = NumpyBackend(products), np.full((20, 7), np.nan, np.float32)
    assert bk.matmul(*given, out) is out
    np.testing.assert_array_equal(out, left @ right)
    np.testing.assert_array_equal(bk.matmul(*given), left @ right)


def test_factors_are_rounded_and_sums_are_not(products):
    left = np.array([[1.001, 256.0, 1.0]], np.float32)  # 1 as bfloat16
    right = np.array([[1.0], [1.0], [1.0]], np.float32)
    # 258 takes more than 8 bits, as a sum it may have them.
    assert NumpyBackend(products).matmul(left, right)[0, 0] == 258


@case_by_case("given", ["float64", "row", "strided"])
def test_other_arrays_are_multiplied_as_they_are(products, given):
    rng = np.random.default_rng(2)
    left, right = rng.normal(size=(6, 8)), rng.normal(size=(8, 5))
    if given == "row":
        left, right = left[0].astype(np.float32), right.astype(np.float32)
    if given == "strided":
        left, right = left.astype(np.float32)[:, ::2], right.astype(np.float32)[::2]
    np.testing.assert_array_equal(NumpyBackend(products).matmul(left, right), left @ right)


@case_by_case("nesterov", [False, True])
@case_by_case("decay", [0.0, 0.25])
def test_a_step_by_a_product_is_the_step_by_its_array(products, nesterov, decay):
    rng = np.random.default_rng(3)
    left, right, w, velocity = (
        rng.integers(-8, 9, shape).astype(np.float32) for shape in ((6, 40), (6, 3), (40, 3), (40, 3))
    )
    results = []
    for grad in (Product(left, right, np.empty_like(w)), left.T @ right):
        one, other = w.copy(), velocity.copy()
        NumpyBackend(products).momentum_step(one, other, grad, 0.5, 0.5, decay, nesterov)
        results.append((one, other))
    np.testing.assert_array_equal(results[0], results[1])


def test_an_update_differs_by_the_rounding_of_its_factors(products):
    """Mean-field CD draws nothing, so that one update can be compared: factors have errors of up to 2**-9.

    The gradient is the small difference of two phases, each of them at most a column's mean.
    """
    X = (np.random.default_rng(4).random((50, 30)) < 0.3).astype(np.float32)
    settings = {"gradient": "mfcd", "batch_size": 50, "n_iter": 1, "learning_rate": 1.0, "random_state": 0}
    moved = []
    for bk in (NumpyBackend(), NumpyBackend(products)):
        rbm = RBM(20, **settings, backend=bk).fit(X)
        moved.append(rbm.components_ - RBM(20, **settings | {"learning_rate": 1e-12}).fit(X).components_)
    assert not np.array_equal(*moved)
    assert np.abs(moved[0] - moved[1]).max() < 2**-7 * X.mean(axis=0).max()


def test_without_the_instructions_or_the_library_a_warning_says_so(monkeypatch):
    monkeypatch.setattr(bfloat16, "INSTRUCTIONS", "no-such-instructions")
    with pytest.warns(PrecisionWarning, match=r"float32, not in bfloat16: this processor .*no-such-instructions"):
        assert get_backend("numpy:bfloat16").name == "numpy"
    monkeypatch.setattr(bfloat16, "fast", lambda: "no library: install it")
    with pytest.warns(PrecisionWarning, match="no library: install it") as caught:
        assert RBM(2, n_iter=1, backend="numpy:bfloat16").fit(np.eye(4, dtype=np.float32)).n_features_in_ == 4
    assert len(caught) == 1


def test_a_missing_package_is_told(monkeypatch):
    def missing(name):
        raise bfloat16.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(bfloat16.importlib.metadata, "files", missing)
    assert "pip install 'deepbelief[mkl]'" in bfloat16.load.__wrapped__()


def test_a_library_without_the_routine_is_told(monkeypatch):
    monkeypatch.setattr(bfloat16, "_library", lambda: np._core._multiarray_umath.__file__)
    assert "cannot be used" in bfloat16.load.__wrapped__()


def test_the_name_says_the_precision(products, monkeypatch):
    monkeypatch.setattr(bfloat16, "fast", lambda: products)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for bk in (get_backend("numpy:bfloat16"), get_backend("numpy", "bfloat16"), get_backend(precision="bfloat16")):
            assert bk.name == "numpy:bfloat16"
        assert get_backend("numpy:float32").name == get_backend("numpy").name == "numpy"


@case_by_case("given", ["numpy:bfloat61", "numpy:"])
def test_unknown_precisions_are_refused(given):
    with pytest.raises(BackendError, match="precision"):
        get_backend(given)


def test_the_shell_is_warned_once(tmp_path, monkeypatch):
    monkeypatch.setattr(bfloat16, "fast", lambda: "there are none")
    np.save(tmp_path / "rows.npy", np.eye(8, dtype=np.float32))
    settings = ("--layers", 4, "--epochs", 1, "--backend", "numpy:bfloat16", "--out", tmp_path / "m.h5")
    result = good("pretrain", tmp_path / "rows.npy", *settings)
    assert result.stderr.count("not in bfloat16: there are none") == 1
