"""Products of bfloat16 factors: rounding by its definition, the processor's units or a stand-in, the way back."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from cli_runs import good
from reduced_products import rounded, stand_in
from tables import case_by_case

from deepbelief import RBM, save
from deepbelief.backends import Product, bfloat16, get_backend, loops
from deepbelief.backends.numpy_backend import NumpyBackend
from deepbelief.diagnostics import speed
from deepbelief.errors import BackendError, PrecisionWarning

pytestmark = pytest.mark.skipif(loops.load() is None, reason="the loops were not compiled")


UNITS = list(bfloat16.UNITS)


def unit(name):
    """Return the products by a unit of the processor, and skip a test where it has none."""
    found = bfloat16.load(name)
    if isinstance(found, str):
        assert "wrong results" not in found
        pytest.skip(found)
    return found


@pytest.fixture(params=["stand-in", *UNITS])
def products(request, monkeypatch):
    """Products by each unit, also small ones."""
    for limit in ("MIN_MULTIPLICATIONS", "MIN_ROWS", "MIN_COLUMNS"):
        monkeypatch.setattr(bfloat16, limit, 1)
    return stand_in() if request.param == "stand-in" else unit(request.param)


def through(products, x):
    """Return numbers after a product with 1."""
    out = np.empty((x.size, 1), np.float32)
    products.multiply(x.reshape(-1, 1), np.ones((1, 1), np.float32), 1, out, 0)
    return out[:, 0]


@pytest.mark.parametrize("name", UNITS)
def test_rounding_is_to_the_nearest_ties_to_even(name):
    rng = np.random.default_rng(0)
    words = np.concatenate([rng.integers(0, 2**32, 100_000), np.arange(2**16) << 15, [1, 0x8000, 0x18000, 0x7F7F8000]])
    x = words.astype(np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    got = through(unit(name), x)
    below = x.view(np.uint32) & 0xFFFF0000  # towards 0
    low, high = (word.astype(np.uint32).view(np.float32).astype(np.float64) for word in (below, below + 2**16))
    high[np.isinf(high)] = np.copysign(2.0**128, high[np.isinf(high)])  # where the next number would be
    to_low, to_high = np.abs(x - low), np.abs(high - x)
    nearest = np.where((to_low < to_high) | ((to_low == to_high) & (below >> 16 & 1 == 0)), low, high)
    nearest[np.abs(x) < 2.0**-126] = 0  # these instructions take subnormal numbers for 0
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got, nearest.astype(np.float32))


@pytest.mark.parametrize("name", UNITS)
def test_infinities_and_nan_stay(name):
    x = np.array([np.inf, -np.inf, np.nan, -np.nan, 0.0, -0.0], np.float32)
    np.testing.assert_array_equal(through(unit(name), x), x)


@case_by_case(
    "shape", [(20, 30, 7), (7, 30, 20), (65, 3, 65), (200, 33, 40), (40, 33, 200), (12, 784, 70), (16, 64, 48)]
)
@case_by_case("left_by_columns", [False, True])
@case_by_case("right_by_columns", [False, True])
def test_products_of_whole_numbers_are_exact(products, shape, left_by_columns, right_by_columns):
    (m, k, n), rng = shape, np.random.default_rng(1)
    left, right = (rng.integers(-8, 9, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    given = [np.asfortranarray(a) if by else a for a, by in ((left, left_by_columns), (right, right_by_columns))]
    bk, out = NumpyBackend(products), np.full((m, n), np.nan, np.float32)
    assert bk.matmul(*given, out) is out
    np.testing.assert_array_equal(out, left @ right)
    np.testing.assert_array_equal(bk.matmul(*given), left @ right)


def test_factors_are_rounded_and_sums_are_not(products):
    left = np.array([[1.001, 256.0, 1.0]], np.float32)  # 1 as bfloat16
    right = np.array([[1.0], [1.0], [1.0]], np.float32)
    # 258 takes more than 8 bits, as a sum it may have them.
    assert NumpyBackend(products).matmul(left, right)[0, 0] == 258


def test_products_differ_from_those_of_rounded_numbers_by_the_rounding_of_sums(products):
    rng = np.random.default_rng(5)
    left, right = (rng.normal(size=shape).astype(np.float32) for shape in ((100, 300), (300, 70)))
    exact = [rounded(x).astype(np.float64) for x in (left, right)]
    np.testing.assert_allclose(NumpyBackend(products).matmul(left, right), exact[0] @ exact[1], rtol=1e-5, atol=1e-4)


@case_by_case("given", ["float64", "row", "strided", "room"])
def test_other_arrays_are_multiplied_as_they_are(products, given):
    rng = np.random.default_rng(2)
    left, right, out = rng.normal(size=(6, 8)), rng.normal(size=(8, 5)), None
    if given != "float64":
        left, right = left.astype(np.float32), right.astype(np.float32)
    if given == "row":
        left = left[0]
    if given == "strided":
        left, right = left[:, ::2], right[::2]
    if given == "room":
        out = np.empty((6, 9), np.float32)[:, :5]
    np.testing.assert_array_equal(NumpyBackend(products).matmul(left, right, out), left @ right)


@case_by_case("shape", [(3, 784, 500), (100, 784, 15), (50, 100, 200)])
def test_small_products_are_those_of_float32(shape):
    (m, k, n), rng = shape, np.random.default_rng(7)
    left, right = rng.random((m, k), np.float32), rng.random((k, n), np.float32)
    assert bfloat16.takes(np.ones((64, 512), np.float32), np.ones((512, 64), np.float32))
    np.testing.assert_array_equal(NumpyBackend(stand_in()).matmul(left, right), left @ right)


@case_by_case("batch_size", [11, 12])
def test_updates_with_few_rows_are_those_of_float32(batch_size):
    X = (np.random.default_rng(8).random((24, 784)) < 0.3).astype(np.float32)[: 2 * batch_size]
    settings = {"batch_size": batch_size, "n_iter": 1, "random_state": 0}
    one, other = (
        RBM(500, **settings, backend=bk).fit(X).components_ for bk in (NumpyBackend(), NumpyBackend(stand_in()))
    )
    assert np.array_equal(one, other) == (batch_size < 12)
    n = 2 * batch_size
    left, right, w = (np.ones(shape, np.float32) for shape in ((n, 784), (n, 500), (784, 500)))
    assert stand_in().step_along(left, right, w, np.zeros_like(w), 0.1, 0.5, 0.0, False) == (batch_size == 12)


@case_by_case("nesterov", [False, True])
@case_by_case("decay", [0.0, 0.25])
@case_by_case("on_threads", [False, True])
@case_by_case("shape", [(6, 40, 3), (70, 100, 75), (33, 17, 64)])
def test_a_step_by_a_product_is_the_step_by_its_array(products, nesterov, decay, on_threads, shape):
    (n, n_in, n_out), rng = shape, np.random.default_rng(3)
    shapes = (n, n_in), (n, n_out), (n_in, n_out), (n_in, n_out)
    left, right, w, velocity = (rng.integers(-8, 9, each).astype(np.float32) for each in shapes)
    results = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops.load(), "on_threads", on_threads)
        for grad in (Product(left, right, np.empty_like(w)), left.T @ right):
            one, other = w.copy(), velocity.copy()
            NumpyBackend(products).momentum_step(one, other, grad, 0.5, 0.5, decay, nesterov)
            results.append((one, other))
    np.testing.assert_array_equal(results[0], results[1])


def test_which_steps_are_taken_at_once(products):
    left, right, w = (np.ones(shape, np.float32) for shape in ((64, 100), (64, 50), (100, 50)))
    numbers = 0.1, 0.5, 0.0, False
    for arrays in (
        (left.astype(float), right, w, w), (left, right, w.astype(float), w), (left, right, w, w[:60]),
        (left, right, w[:60], w), (left[:40], right, w, w), (np.asfortranarray(left), right, w, w),
    ):  # fmt: skip
        assert not products.step_along(*arrays, *numbers)
    np.testing.assert_array_equal(w, 1)
    assert products.step_along(left, right, w, np.zeros_like(w), *numbers)
    assert not np.array_equal(w, np.ones_like(w))


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


def processor(monkeypatch, tmp_path, flags):
    """Let the processor have these instructions."""
    (tmp_path / "cpuinfo").write_text(f"flags : fpu {flags} sse2\n")
    monkeypatch.setattr(bfloat16, "PROCESSOR", tmp_path / "cpuinfo")


@case_by_case(
    ("shares", "chosen"),
    [
        ({"AMX": 0.5, "AVX512-BF16": 0.4}, "AMX"), ({"AMX": 1.1, "AVX512-BF16": 0.9}, "AVX512-BF16"),
        ({"AVX512-BF16": 0.9}, "AVX512-BF16"), ({}, "no AVX512-BF16"),
        ({"AVX512-BF16": 1.1}, "products by AVX512-BF16 are slower on this machine"),
    ],
)  # fmt: skip
def test_the_first_unit_that_is_faster_than_float32_is_used(shares, chosen):
    found = {name: stand_in(name) for name in shares}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bfloat16, "load", lambda name: found.get(name, f"no {name}"))
        patch.setattr(bfloat16, "share_of_float32", lambda products: shares[products.name])
        assert bfloat16.fast.__wrapped__() == found.get(chosen, chosen)


def test_a_unit_is_used_only_where_processor_and_system_allow_it(monkeypatch, tmp_path):
    monkeypatch.setattr(loops.load(), "has_rounded", True)
    asked = []
    monkeypatch.setattr(loops.load(), "allow_rounded", lambda amx: bool(asked.append(amx)))
    processor(monkeypatch, tmp_path, "amx_tile amx_bf16 avx512_bf16")  # AVX512BW is missing
    for name in UNITS:
        assert bfloat16.load(name) == f"this processor has no {name}"
    assert asked == []
    processor(monkeypatch, tmp_path, "amx_tile amx_bf16 avx512_bf16 avx512bw")
    for name in UNITS:
        assert bfloat16.load(name) == f"the system does not allow the use of {name}"
    assert asked == [True, False]
    monkeypatch.setattr(loops.load(), "has_rounded", False)
    assert bfloat16.load("AMX") == "the compiled loops for them are not installed"
    monkeypatch.setattr(loops, "load", lambda: None)
    assert bfloat16.load("AMX") == "the compiled loops for them are not installed"


def test_wrong_results_are_told(monkeypatch, tmp_path):
    processor(monkeypatch, tmp_path, "avx512_bf16 avx512bw")
    monkeypatch.setattr(loops.load(), "has_rounded", True)
    monkeypatch.setattr(loops.load(), "allow_rounded", lambda amx: True)
    monkeypatch.setattr(loops.load(), "multiply_rounded", lambda amx, left, right, factor, out, keep: None)
    assert bfloat16.load("AVX512-BF16") == "AVX512-BF16 computes wrong results"


FRESH = """
import pickle, sys, warnings
import numpy as np
from deepbelief.errors import PrecisionWarning
warnings.simplefilter("ignore", PrecisionWarning)
bk, left, right = pickle.load(sys.stdin.buffer)
np.testing.assert_allclose(bk.matmul(left, right), left @ right, rtol=0.02)
"""


def test_a_backend_that_was_made_in_another_process_multiplies(products):
    """The system allows AMX to each process separately, and another machine may have none."""
    rng = np.random.default_rng(8)
    given = NumpyBackend(products), rng.random((100, 784), np.float32), rng.random((784, 500), np.float32)
    subprocess.run([sys.executable, "-c", FRESH], input=pickle.dumps(given), check=True)


def test_a_backend_from_a_machine_with_bfloat16_tells_of_float32(monkeypatch):
    monkeypatch.setattr(bfloat16, "fast", lambda: "there are none")
    with pytest.warns(PrecisionWarning, match="in float32, not in bfloat16: there are none"):
        bk = pickle.loads(pickle.dumps(NumpyBackend(stand_in("AMX"))))
    left = np.full((64, 64), 1.001, np.float32)
    np.testing.assert_array_equal(bk.matmul(left, left), left @ left)


@case_by_case(("shape", "given"), [((31, 40), True), ((31, 40), False), ((30, 41), True)])
def test_factors_and_results_that_do_not_fit_are_refused(products, shape, given):
    left, right, out = np.ones((20, 30), np.float32), np.ones(shape, np.float32), np.zeros((20, 40), np.float32)
    with pytest.raises(ValueError, match=r"mismatch|broadcast|dimension"):
        NumpyBackend(products).matmul(left, right, out if given else None)


@pytest.mark.parametrize("name", UNITS)
def test_large_factors_take_no_more_scratch_memory_than_allowed(name, monkeypatch):
    """Each thread copies the smaller factor: a product with a limit for one thread is that of all threads."""
    products, rng = unit(name), np.random.default_rng(9)
    left, right = rng.random((200, 300), np.float32), rng.random((300, 400), np.float32)
    wanted = products.matmul(left, right)
    monkeypatch.setattr(loops, "MAX_STRIPS", 2**16)
    threads = loops.load()._strips(300, 200)[1]
    assert threads == 1
    np.testing.assert_array_equal(products.matmul(left, right), wanted)


def test_a_product_is_timed_beside_that_of_float32(products):
    assert bfloat16.share_of_float32(products) > 0


def test_a_warning_gives_the_reason_once(monkeypatch):
    monkeypatch.setattr(bfloat16, "fast", lambda: "there are none")
    with pytest.warns(PrecisionWarning, match=r"float32, not in bfloat16: there are none") as caught:
        assert RBM(2, n_iter=1, backend="numpy:bfloat16").fit(np.eye(4, dtype=np.float32)).n_features_in_ == 4
    assert len(caught) == 1
    with pytest.warns(PrecisionWarning):
        assert get_backend("numpy:bfloat16").name == "numpy"


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


@case_by_case("found", ["none: there are none", "AMX"])
def test_the_shell_names_the_unit(found, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bfloat16, "fast", lambda: stand_in(found) if found == "AMX" else found.removeprefix("none: "))
        patch.setattr(speed, "STANDARD", {})
        assert f"bfloat16 {found}" in " ".join(good("bench", "--quick", "--backend", "numpy").stdout.split())
        save(RBM(2, n_iter=1).fit(np.eye(4)).set_params(backend="numpy:bfloat16"), tmp_path / "m.h5")
        assert f"{found} (this machine)" in good("info", tmp_path / "m.h5").stdout
