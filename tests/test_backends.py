"""Every backend operation against its definition, on every backend."""

import copy
import importlib.util
import math
import pickle
import sys
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from compiled import names_of_loops
from conftest import BACKENDS as ANYWHERE
from conftest import opened
from fake_device import CROSSINGS, FakeDevice
from host_cuda import cupy_on_host
from pairwise import pairwise, pairwise_cases
from scipy import sparse
from tables import case_by_case

from deepbelief import RBM, AnomalyDetector, DBNClassifier
from deepbelief.backends import BACKENDS, Product, Rescaling, blas, device, get_backend, loops, numpy_backend
from deepbelief.backends.device import device_name
from deepbelief.backends.gaps import fill
from deepbelief.errors import BackendError
from deepbelief.hdf5.plain import dumps, loads
from deepbelief.seeds import stream

LOAD = loops.load
BLOCK = numpy_backend.BLOCK
DTYPES = [np.float32, np.float64]
ROUNDING = {np.float32: 1e-5, np.float64: 1e-13}  # of a few steps
SIZES = [1, 3, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5]
SIGMAS = 6.0  # a right generator fails a comparison with probability 2e-9, and there are fewer than 1000


@contextmanager
def numpy_alone():
    """Yield NumPy's backend without the compiled loops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, "load", lambda: None)
        yield get_backend("numpy")


NUMPY_ALONE = pytest.param(numpy_alone, id="numpy-alone")
EVERY = [*ANYWHERE, NUMPY_ALONE, pytest.param(cupy_on_host, id="cupy-on-host")]
ON_NUMPY = pytest.mark.parametrize("bk", [ANYWHERE[0], NUMPY_ALONE], indirect=True)


@pytest.fixture(params=EVERY)
def bk(request):
    """Every backend: NumPy's with and without the compiled loops, and CuPy's with its kernels on the processor."""
    made = opened(request.param)
    with made if hasattr(made, "__enter__") else nullcontext(made) as backend:
        yield backend


def filled(bk, shape, dtype, value=np.nan):
    return bk.asarray(np.full(shape, value, dtype))


# --- arrays in and out ---


@case_by_case("dtype", DTYPES)
def test_arrays_survive_the_way_to_the_device_and_back(bk, dtype):
    x = np.arange(12, dtype=dtype).reshape(3, 4).T
    on_device = bk.asarray(x)
    assert bk.owns(on_device)
    back = bk.to_numpy(on_device)
    assert type(back) is np.ndarray
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, x)
    assert bk.to_numpy(bk.asarray(x, dtype=np.float32)).dtype == np.float32


def read_only(array):
    array.flags.writeable = False
    return array


@case_by_case("name", ["matmul", "fill", "sigmoid", "momentum_step", "take"])
@ON_NUMPY
def test_results_are_not_written_into_read_only_arrays(bk, name):
    x, W, bias = np.ones((30, 40), np.float32), np.ones((40, 50), np.float32), np.ones(40, np.float32)
    gaps = np.where(np.eye(30, 40) > 0, np.float32(np.nan), x)
    calls = {
        "matmul": lambda: bk.matmul(x, W, read_only(np.zeros((30, 50), np.float32))),
        "fill": lambda: fill(np, read_only(gaps), x),
        "sigmoid": lambda: bk.sigmoid(read_only(x), bias),
        "momentum_step": lambda: bk.momentum_step(read_only(x), x.copy(), x.copy(), 0.1, 0.5, 0.0, False),
        "take": lambda: bk.take(x, np.arange(3), read_only(np.zeros((3, 40), np.float32))),
    }
    with pytest.raises(ValueError, match=r"read-only|not writeable"):
        calls[name]()


def test_numpy_arrays_are_not_copied():
    x = np.zeros((3, 4))
    assert get_backend("numpy").asarray(x) is x


@case_by_case("dtype", DTYPES)
def test_take_gathers_rows_into_out(bk, dtype):
    rows = np.random.default_rng(0).random((50, 7)).astype(dtype)
    index = np.array([49, 0, 3, 3, 17])
    out = filled(bk, (5, 7), dtype)
    result = bk.take(bk.asarray(rows), bk.asarray(index), out)
    np.testing.assert_array_equal(bk.to_numpy(out), rows[index])
    np.testing.assert_array_equal(bk.to_numpy(result), rows[index])


def test_memory_is_all_that_the_device_has(monkeypatch):
    """Not what happens to be free; 1 GiB where the system does not say."""
    with cupy_on_host() as bk:
        assert bk.memory() == bk.xp.cuda.runtime.memGetInfo()[1]
    sizes = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(numpy_backend.os, "sysconf", sizes.__getitem__, raising=False)
    assert get_backend("numpy").memory() == FakeDevice().memory() == 4_096_000
    monkeypatch.delattr(numpy_backend.os, "sysconf")
    assert get_backend("numpy").memory() == 2**30


def test_a_backend_is_described_by_the_name_of_its_device(monkeypatch, tmp_path):
    with cupy_on_host() as bk:
        assert device_name(bk) == "the host"
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A Processor 3000\nmodel name\t: Another\n")
    monkeypatch.setattr(device, "Path", lambda path: info)
    assert device_name(get_backend("numpy")) == "A Processor 3000"
    info.unlink()
    monkeypatch.setattr(device.platform, "processor", lambda: "arm")
    assert device_name(get_backend("numpy")) == "arm"


# --- sigmoid ---


@pairwise_cases(bk=EVERY, dtype=DTYPES, with_bias=[False, True])
def test_sigmoid_is_the_logistic_function_everywhere(bk, dtype, with_bias):
    x = np.concatenate([np.linspace(-40, 40, 997), [-1e4, -800, -100, 0, 100, 800, 1e4, -np.inf, np.inf]]).astype(dtype)
    x = np.stack([x, -x])
    bias = np.linspace(-2, 2, x.shape[1]).astype(dtype) if with_bias else None
    total = x.astype(np.float64) + (0 if bias is None else bias)
    with np.errstate(over="ignore"):
        truth = 1 / (1 + np.exp(-total))
    on_device = bk.asarray(x.copy())
    result = bk.sigmoid(on_device, None if bias is None else bk.asarray(bias))
    # A relative error: small probabilities count too. x + bias is rounded before it is used.
    rtol = 60 * np.finfo(dtype).eps
    np.testing.assert_allclose(bk.to_numpy(on_device), truth, rtol=rtol, atol=np.finfo(dtype).tiny)
    np.testing.assert_array_equal(bk.to_numpy(result), bk.to_numpy(on_device))
    assert (bk.to_numpy(result)[total < -800] == 0).all()


def test_sigmoid_of_nan_is_nan(bk):
    assert np.isnan(bk.to_numpy(bk.sigmoid(filled(bk, (2, 2), np.float32)))).all()


@case_by_case("width", [1, 7, 8, 17, 64, 100])
@ON_NUMPY
def test_a_value_has_the_same_logistic_function_wherever_it_stands(bk, width):
    values = np.random.default_rng(5).normal(0, 5, 97).astype(np.float32)
    x = np.resize(values, (101, width))
    zero = bk.asarray(np.zeros(width, np.float32))
    got = bk.to_numpy(bk.sigmoid(bk.asarray(x.copy()), zero))
    truth = bk.to_numpy(bk.sigmoid(bk.asarray(values.reshape(-1, 1).copy()), bk.asarray(np.zeros(1, np.float32))))
    np.testing.assert_array_equal(got, np.resize(truth, x.shape))


# Among the shapes are rows that end within a block.
@pytest.mark.slow
@pairwise_cases(
    bk=EVERY, shape=[(1, 1), (3, 7), (200, 784), (5, 2 * BLOCK + 3)], dtype=DTYPES, bias_of_rows=[False, True]
)
def test_sigmoid_sample_draws_what_bernoulli_draws(bk, shape, dtype, bias_of_rows):
    rng = np.random.default_rng(6)
    x = rng.normal(0, 3, shape).astype(dtype)
    bias = rng.normal(size=shape if bias_of_rows else shape[1]).astype(dtype)
    mean, out = bk.asarray(x.copy()), filled(bk, shape, dtype)
    result = bk.sigmoid_sample(mean, bk.asarray(bias), bk.rng(stream(3)), out)
    truth = bk.to_numpy(bk.sigmoid(bk.asarray(x.copy()), bk.asarray(bias)))
    np.testing.assert_array_equal(bk.to_numpy(mean), truth)
    drawn = bk.rng(stream(3)).bernoulli(mean, filled(bk, shape, dtype))
    np.testing.assert_array_equal(bk.to_numpy(out), bk.to_numpy(drawn))
    np.testing.assert_array_equal(bk.to_numpy(result), bk.to_numpy(out))


@pytest.mark.skipif(
    importlib.util.find_spec("deepbelief.backends._loops") is None, reason="the loops were not compiled"
)
def test_loops_that_were_compiled_are_used():
    """They are not where they compute wrong results, and then most of their tests are skipped."""
    assert LOAD() is not None


@pytest.mark.skipif(loops.load() is None, reason="the loops were not compiled")
def test_compiled_loops_and_numpy_differ_by_rounding_only(monkeypatch):
    x = np.concatenate([np.linspace(-87, 87, 20_000), np.linspace(-2, 2, 20_000)]).astype(np.float32).reshape(100, 400)
    results = []
    for found in (LOAD(), None):
        monkeypatch.setattr(loops, "load", lambda found=found: found)
        results.append(get_backend().sigmoid(x.copy(), np.zeros(400, np.float32)))
    np.testing.assert_allclose(*results, rtol=4e-7)


def not_compiled():
    raise ImportError


def from_before_it_was_a_module():
    raise SystemError("initialization of _loops failed without raising an exception")


@pytest.mark.parametrize("module", [not_compiled, from_before_it_was_a_module, lambda: np])
def test_without_a_module_numpy_does_the_work(monkeypatch, module):
    monkeypatch.setattr(loops.importlib, "import_module", lambda *name: module())
    assert LOAD.__wrapped__() is None
    monkeypatch.setattr(loops, "load", lambda: None)
    assert loops.describe() == "NumPy"


@case_by_case(
    "call",
    [
        lambda bk, a: bk.sigmoid(a(4, 3), a(2)),
        lambda bk, a: bk.sigmoid_sample(a(4, 3), a(2), bk.rng(stream(0)), a(4, 3)),
        lambda bk, a: bk.sigmoid_sample(a(4, 3), a(3), bk.rng(stream(0)), a(2, 3)),
        lambda bk, a: bk.rng(stream(0)).bernoulli(a(4, 3), a(4, 2)),
        lambda bk, a: bk.sigmoid_backward(a(4, 3), a(4, 2), a(4, 3)),
        lambda bk, a: bk.weigh(a(4, 3), a(2, 1), a(3)),
        lambda bk, a: bk.weigh(a(4, 3), a(4, 1), a(2)),
        lambda bk, a: bk.momentum_step(a(4, 3), a(4, 3), a(2, 3), 0.1, 0.5, 0.0, False),
        lambda bk, a: bk.adam_step(a(4, 3), a(4, 3), a(2, 3), a(4, 3), 0.1, (0.9, 0.9), 1e-8, 0.0),
    ],
)
def test_arrays_that_do_not_fit_are_refused(bk, call):
    with pytest.raises(ValueError, match=r"shape|size|broadcast|dimension"):
        call(bk, lambda *shape: bk.asarray(np.zeros(shape, np.float32)))


@pytest.mark.skipif(loops.load() is None, reason="the loops were not compiled")
@case_by_case("name", names_of_loops())
def test_loops_that_do_not_work_on_a_machine_are_not_used(monkeypatch, name):
    found = LOAD()
    assert loops.is_right(found)
    monkeypatch.setattr(found._c, name, lambda *arguments: None)
    assert not loops.is_right(found)


@pairwise_cases(bk=EVERY, shape=[(1, 1), (3, 7), (100, 501)], dtype=DTYPES)
def test_sigmoid_backward_is_the_slope_times_the_gradient(bk, shape, dtype):
    rng = np.random.default_rng(9)
    grad, y = rng.normal(size=shape).astype(dtype), rng.random(shape).astype(dtype)
    out = filled(bk, shape, dtype)
    result = bk.sigmoid_backward(bk.asarray(grad.copy()), bk.asarray(y.copy()), out)
    truth = grad.astype(np.float64) * y * (1 - y.astype(np.float64))
    np.testing.assert_allclose(bk.to_numpy(out), truth, rtol=8 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(bk.to_numpy(result), bk.to_numpy(out))


@pairwise_cases(bk=EVERY, shape=[(1, 1), (9, 7), (300, 501)], n=[1, 4, 200], dtype=DTYPES)
def test_rows_are_gathered_by_number(bk, shape, n, dtype):
    rng = np.random.default_rng(13)
    rows, index = rng.normal(size=shape).astype(dtype), rng.integers(0, shape[0], n)
    out = filled(bk, (n, shape[1]), dtype)
    result = bk.take(bk.asarray(rows), bk.asarray(index), out)
    np.testing.assert_array_equal(bk.to_numpy(result), rows[index])
    np.testing.assert_array_equal(bk.to_numpy(out), rows[index])


# --- sums of weighted rows ---


@pairwise_cases(
    bk=EVERY, shape=[(1, 1, 1), (7, 3, 15), (3, 5, 16), (4, 6, 301)], size=[0.0, 0.01, 3.0, 60.0, 339.0, 5000.0],
    kind=["bits", "grey"])  # fmt: skip
def test_log_odds_are_differences_of_softplus(bk, shape, size, kind):
    n_rows, n_units, width = shape
    rng = np.random.default_rng(width)
    v = rng.random((n_rows, n_units))
    v = np.where(rng.random(v.shape) < 0.5, v.round(), v) if kind == "grey" else v.round()
    W, x = size * rng.uniform(-1, 1, (n_units, width)), (size + 3) * rng.uniform(-1, 1, (n_rows, width))
    off = (x[:, None] - v[:, :, None] * W).astype(np.longdouble)
    truth = (np.logaddexp(0, off + W) - np.logaddexp(0, off)).sum(axis=2)
    out = filled(bk, v.shape, np.float64)
    assert bk.log_odds(*map(bk.asarray, (x, v, W)), out) is out
    np.testing.assert_allclose(bk.to_numpy(out), truth.astype(float), rtol=1e-12, atol=1e-13 * width * max(1, size))


@pytest.mark.parametrize("extra", [0, 5])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1.0, 60.0, 339.0, 400.0, 5000.0])
def test_log_odds_are_those_of_weights_of_any_size_in_either_precision(bk, extra, size, dtype):
    rng = np.random.default_rng(0)
    n = 496 + extra  # units that are taken 16 at a time, and the rest
    W, x, v = (size * rng.uniform(-1, 1, (9, n))).astype(dtype), rng.normal(size=(4, n)), rng.random((4, 9)).round()
    if extra:
        W[:, :496] *= dtype(1e-4)
    off = (x[:, None] - v[:, :, None] * W).astype(np.longdouble)
    truth = (np.logaddexp(0, off + W) - np.logaddexp(0, off)).sum(axis=2)
    found = bk.to_numpy(bk.log_odds(*map(bk.asarray, (x, v, W)), filled(bk, v.shape, np.float64)))
    np.testing.assert_allclose(found, truth.astype(float), rtol=1e-12, atol=1e-10 * max(1, size))


@pairwise_cases(
    bk=EVERY, size=[0.0, 0.1, 3.0, 39.0, 41.0, 400.0], width=[1, 15, 33, 500, 1100], kind=["bits", "grey", "beyond"]
)  # fmt: skip
def test_log_odds_of_one_row_have_the_rounding_errors_of_weights_in_float32(bk, size, width, kind):
    rng = np.random.default_rng(width)
    v = rng.random((1, 40))
    v = v.round() if kind == "bits" else v + (kind == "beyond") * (v > 0.9)
    W, x = (size * rng.uniform(-1, 1, (40, width))).astype(np.float32), (size + 3) * rng.normal(size=(1, width))
    x[0, 10:15] = (-1000, 1000, -720, 720, 20)[: len(x[0, 10:15])]  # beyond what exponentials hold
    off = (x[:, None] - v[:, :, None] * W).astype(np.longdouble)
    truth = (np.logaddexp(0, off + W) - np.logaddexp(0, off)).sum(axis=2)
    found = bk.to_numpy(bk.log_odds(*map(bk.asarray, (x, v, W)), filled(bk, v.shape, np.float64)))
    limit = 8 * 2.0**-24 * np.sqrt(width) * (1 + size)  # of a sum of independent errors
    np.testing.assert_allclose(found, truth.astype(float), rtol=1e-12, atol=limit)


@pairwise_cases(
    bk=EVERY, shape=[(1, 1), (5, 3), (200, 37), (3, 1009)], size=[0.0, 1.0, 50.0, 5000.0], dtype=DTYPES)  # fmt: skip
def test_the_log_partition_of_bits_is_a_sum_of_softplus(bk, shape, size, dtype):
    x = (size * np.random.default_rng(shape[1]).normal(size=shape)).astype(dtype)
    truth = np.logaddexp(0, x.astype(np.longdouble)).sum(axis=1)
    found = bk.to_numpy(bk.log_partition(bk.asarray(x)))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, truth.astype(float), rtol=1e-13 if dtype == np.float64 else 2e-6)


def test_the_log_partition_of_bits_keeps_what_is_not_finite():
    x = np.array([[np.nan, 1], [np.inf, -np.inf], [-np.inf, -np.inf], [-1e30, 1e30]])
    for dtype in (np.float64, np.float32):
        many = get_backend("numpy").log_partition(np.zeros((1, 20_033), dtype))  # 2 ** 1252 in each of 16 products
        np.testing.assert_allclose(many, 20_033 * np.log(2), rtol=1e-6)
        np.testing.assert_array_equal(
            get_backend("numpy").log_partition(x.astype(dtype)), np.array([np.nan, np.inf, 0, 1e30]).astype(dtype)
        )


@pairwise_cases(
    bk=EVERY, shape=[(1, 1), (5, 3), (200, 37), (3, 17_009)], size=[0.0, 1.0, 50.0, 1e4], dtype=DTYPES,
    scales=[(0.0, 1.0), (0.5, 0.5001), (1.0, 0.25), (0.9, 0.9)], biases=["for all rows", "one row", "own"])  # fmt: skip
def test_the_log_partition_of_bits_changes_as_inputs_are_rescaled(bk, shape, size, dtype, scales, biases):
    """Differences to 1e-12, and to the rounding of the numbers that are subtracted."""
    rng = np.random.default_rng(shape[1])
    of_bias = {"for all rows": shape[1:], "one row": (1, shape[1]), "own": shape}[biases]
    x, bias = ((size * rng.normal(size=s)).astype(dtype) for s in (shape, of_bias))
    total = (x + bias).astype(np.longdouble)
    before, after = (np.logaddexp(0, scale * total).sum(axis=1).astype(float) for scale in scales)
    truth = (np.logaddexp(0, scales[1] * total) - np.logaddexp(0, scales[0] * total)).sum(axis=1)
    rescaled = bk.asarray(x.copy())
    found = bk.to_numpy(bk.log_partition(rescaled, rescaling=Rescaling(bk.asarray(bias), *scales)))
    assert found.dtype == np.float64
    assert (np.abs(found - truth) <= 1e-12 * np.abs(truth) + 1e-15 * (shape[1] + np.maximum(before, after))).all()
    np.testing.assert_array_equal(bk.to_numpy(rescaled), (x + bias) * dtype(scales[1]))


@case_by_case("dtype", DTYPES)
def test_the_change_of_a_log_partition_keeps_what_is_not_finite(bk, dtype):
    x = np.array([[np.nan, 1], [np.inf, 1], [-np.inf, 0], [-1e4, 1e4], [0, 0]], dtype)
    rescaling = Rescaling(bk.asarray(np.zeros(2, dtype)), 0.5, 1.0)
    with np.errstate(invalid="ignore"):
        found = bk.to_numpy(bk.log_partition(bk.asarray(x), rescaling=rescaling))
    assert np.isfinite(found).tolist() == [False, False, True, True, True]
    np.testing.assert_allclose(found[2:], [0, 5000, 0], rtol=1e-12)


@case_by_case("dtype", DTYPES)
def test_the_log_partition_of_groups_changes_as_inputs_are_rescaled(bk, dtype):
    x, bias = np.random.default_rng(0).normal(size=(7, 9)).astype(dtype), np.linspace(-1, 1, 9, dtype=dtype)
    wide = (x + bias).astype(np.float64)
    groups = wide[:, :4], wide[:, 4:]
    before, after = (sum(np.log(np.exp(scale * g).sum(axis=1)) for g in groups) for scale in (0.25, 0.75))
    rescaled, rescaling = bk.asarray(x.copy()), Rescaling(bk.asarray(bias), 0.25, 0.75)
    found = bk.to_numpy(bk.log_partition(rescaled, (4, 5), rescaling))
    np.testing.assert_allclose(found, after - before, rtol=1e-12)
    np.testing.assert_array_equal(bk.to_numpy(rescaled), (x + bias) * dtype(0.75))


@pairwise_cases(bk=EVERY, shape=[(1, 1), (5, 15), (200, 37), (100, 784)], kinds=[DTYPES, [np.float64] * 2])
def test_rows_times_a_float64_vector_are_summed_in_float64(bk, shape, kinds):
    rng = np.random.default_rng(shape[1])
    rows, vector = rng.normal(size=shape).astype(kinds[0]), rng.normal(size=shape[1]).astype(kinds[1])
    found = bk.to_numpy(bk.matmul(bk.asarray(rows), bk.asarray(vector)))
    assert found.dtype == np.float64
    terms = rows.astype(np.longdouble) * vector
    assert (np.abs(found - terms.sum(axis=1)) <= 1e-15 * np.abs(terms).sum(axis=1)).all()


@pairwise_cases(bk=EVERY, shape=[(1, 1), (5, 3), (200, 37), (9, 1000)], dtype=DTYPES)
def test_weigh_multiplies_rows_and_sums_columns(bk, shape, dtype):
    n_rows, width = shape
    rng = np.random.default_rng(7)
    x, weight = rng.integers(-8, 9, (n_rows, width)).astype(dtype), rng.integers(-4, 5, (n_rows, 1)).astype(dtype)
    on_device, out = bk.asarray(x.copy()), filled(bk, width, dtype)
    result = bk.weigh(on_device, bk.asarray(weight), out)
    np.testing.assert_array_equal(bk.to_numpy(on_device), x * weight)
    np.testing.assert_array_equal(bk.to_numpy(out), (x * weight).sum(axis=0))
    np.testing.assert_array_equal(bk.to_numpy(result), bk.to_numpy(out))


# --- the optimizer's step ---


@pairwise_cases(bk=EVERY, nesterov=[False, True], decay=[0.0, 0.3], dtype=DTYPES)
def test_momentum_step_follows_the_formulas(bk, nesterov, decay, dtype):
    rtol = ROUNDING[dtype]
    rate, momentum = 0.05, 0.7
    rng = np.random.default_rng(3)
    w, velocity, grad = (rng.normal(size=(11, 7)).astype(dtype) for _ in range(3))
    truth_w, truth_v = w.astype(np.float64), velocity.astype(np.float64)
    params = bk.asarray(w.copy()), bk.asarray(velocity.copy())
    for _ in range(3):
        step = rate * (grad.astype(np.float64) + decay * truth_w)
        truth_v = momentum * truth_v - step
        truth_w = truth_w + (momentum * truth_v - step if nesterov else truth_v)
        bk.momentum_step(*params, bk.asarray(grad.copy()), rate, momentum, decay, nesterov)
    np.testing.assert_allclose(bk.to_numpy(params[0]), truth_w, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(bk.to_numpy(params[1]), truth_v, rtol=rtol, atol=rtol)


@pairwise_cases(bk=EVERY, decay=[0.0, 0.3], dtype=DTYPES, size=[1, 77, BLOCK + 5])
def test_adam_step_follows_the_formulas(bk, decay, dtype, size):
    rtol = ROUNDING[dtype]
    rate, beta1, beta2, epsilon = 0.05, 0.7, 0.8, 1e-3
    rng = np.random.default_rng(8)
    w, mean, grad = (rng.normal(size=size).astype(dtype) for _ in range(3))
    square = np.square(rng.normal(size=size)).astype(dtype)
    truth_w, truth_m, truth_s = (a.astype(np.float64) for a in (w, mean, square))
    state = [bk.asarray(a.copy()) for a in (w, mean, square)]
    for _ in range(3):
        g = grad.astype(np.float64) + decay * truth_w
        truth_m = beta1 * truth_m + (1 - beta1) * g
        truth_s = beta2 * truth_s + (1 - beta2) * g**2
        truth_w = truth_w - rate * truth_m / (np.sqrt(truth_s) + epsilon)
        bk.adam_step(*state, bk.asarray(grad.copy()), rate, (beta1, beta2), epsilon, decay)
    for got, truth in zip(state, (truth_w, truth_m, truth_s), strict=True):
        np.testing.assert_allclose(bk.to_numpy(got), truth, rtol=rtol, atol=rtol)


@pairwise_cases(bk=EVERY, scale=[1e-12, 1.0, 1e9], decay=[0.0, 1e-3])
def test_many_adam_steps_agree_with_the_definition_to_rounding(bk, scale, decay):
    """2,000 float32 steps with the betas of the literature; 1 - 0.999 in float32 would be off by 1.3e-5."""
    rng = np.random.default_rng(3)
    w, grads = rng.normal(size=40).astype(np.float32), scale * rng.normal(size=(2000, 40)).astype(np.float32)
    with numpy_alone() as definition:
        states = []
        for backend in (bk, definition):
            state = [backend.asarray(a) for a in (w.copy(), np.zeros_like(w), np.zeros_like(w))]
            for grad in grads:
                backend.adam_step(*state, backend.asarray(grad.copy()), 1e-3, (0.9, 0.999), 1e-8, decay)
            states.append([backend.to_numpy(a) for a in state])
    for got, truth in zip(*states, strict=True):
        np.testing.assert_allclose(got, truth, rtol=2e-6, atol=2e-6 * np.abs(truth).max())


@pairwise_cases(bk=EVERY, without_blas=[False, True], nesterov=[False, True], decay=[0.0, 0.3], dtype=DTYPES)
def test_a_step_by_a_product_is_the_step_by_its_array(bk, monkeypatch, nesterov, decay, dtype, without_blas):
    rtol = ROUNDING[dtype]
    if without_blas:
        monkeypatch.setattr(blas, "load", lambda char: None)
    rng = np.random.default_rng(4)
    w, velocity = (rng.normal(size=(11, 7)).astype(dtype) for _ in range(2))
    one, other = ([bk.asarray(a.copy()) for a in (w, velocity)] for _ in range(2))
    for n in (5, 1, 8):
        left, right = rng.normal(size=(n, 11)).astype(dtype), rng.normal(size=(n, 7)).astype(dtype)
        grad = Product(bk.asarray(left), bk.asarray(right), bk.asarray(np.empty_like(w)))
        bk.momentum_step(*one, grad, 0.05, 0.7, decay, nesterov)
        bk.momentum_step(*other, bk.asarray(left.T @ right), 0.05, 0.7, decay, nesterov)
        np.testing.assert_array_equal(bk.to_numpy(grad.left), left)
        np.testing.assert_array_equal(bk.to_numpy(grad.right), right)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(bk.to_numpy(a), bk.to_numpy(b), rtol=rtol, atol=rtol)


@case_by_case(
    ("left", "right"),
    [
        (np.ones((3, 4)), np.ones((3, 2), np.float32)),
        (np.ones((3, 4), np.float32), np.ones((3, 2))),
        (np.ones((4, 3), np.float32).T, np.ones((3, 2), np.float32)),
        (np.ones((3, 4), np.float32), np.ones((3, 5), np.float32)[:, 1:3]),
    ],
)
def test_arrays_that_blas_would_misread_are_multiplied_by_numpy(left, right):
    w, velocity = np.zeros((4, 2), np.float32), np.zeros((4, 2), np.float32)
    get_backend("numpy").momentum_step(w, velocity, Product(left, right, np.empty((4, 2))), 1.0, 0.0, 0.0, False)
    np.testing.assert_array_equal(w, -3)


def test_the_blas_that_numpy_brings_is_found():
    wheel = "openblas" in np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    if not wheel or sys.platform == "win32":
        pytest.skip("this NumPy is not built on OpenBLAS, or its library does not hand on what it depends on")
    assert blas.load("f") is not None
    assert blas.load("d") is not None
    assert blas.load("e") is None


@case_by_case("size", SIZES)
def test_momentum_step_reaches_every_element(bk, size):
    w, velocity, grad = (filled(bk, (size,), np.float32, value) for value in (1.0, 2.0, 4.0))
    bk.momentum_step(w, velocity, grad, 0.25, 0.5, 1.0, True)
    # step = 0.25 (4 + 1) = 1.25, velocity = 1 - 1.25 = -0.25, w = 1 + 0.5 (-0.25) - 1.25
    np.testing.assert_array_equal(bk.to_numpy(velocity), np.float32(-0.25))
    np.testing.assert_array_equal(bk.to_numpy(w), np.float32(-0.375))


# --- nothing, and rows that are mostly zeros ---


@case_by_case("dtype", DTYPES)
def test_nothing_is_done_to_empty_arrays(bk, dtype):
    empty, bias, out = (filled(bk, shape, dtype) for shape in ((0, 3), (3,), (3,)))
    rng = bk.rng(stream(14))
    bk.sigmoid(empty, bias)
    bk.sigmoid_sample(empty, bias, rng, filled(bk, (0, 3), dtype))
    for draw_from in (rng.uniform, rng.normal):
        assert draw_from(empty).shape == (0, 3)
    assert rng.bernoulli(empty, filled(bk, (0, 3), dtype)).shape == (0, 3)
    np.testing.assert_array_equal(bk.to_numpy(bk.weigh(empty, filled(bk, (0, 1), dtype), out)), 0)


@pytest.mark.slow
@pairwise(
    bk=EVERY,
    shape=[(20, 9, 4), (12, 1, 1), (300, 7, 130), (15, 30, 129)],
    shuffled=[0, 1, 2],
    dtype=DTYPES,
    indirect=["bk"],
)
def test_sparse_rows_are_written_and_multiplied(bk, shape, shuffled, dtype):
    n_rows, n_columns, width = shape
    rng = np.random.default_rng(15)
    size = n_rows * n_columns // 4  # some values are stored twice, some are zeros, and none are in order
    places = rng.integers(n_rows * n_columns, size=size)
    places = places[np.argsort(places // n_columns, kind="stable")]
    ends = np.searchsorted(places // n_columns, np.arange(n_rows + 1))
    values = rng.integers(-2, 3, size).astype(dtype)
    matrix = sparse.csr_array((values, places % n_columns, ends), shape=(n_rows, n_columns))
    table, truth = bk.sparse(matrix), matrix.toarray()
    for order in (rng.permutation(n_rows) for _ in range(shuffled)):
        table, truth = table.shuffled(bk.asarray(order)), truth[order]
    rows, truth = table.part(3, n_rows - 2), truth[3:-2]
    np.testing.assert_array_equal(bk.to_numpy(rows.dense(filled(bk, truth.shape, dtype))), truth)
    W, h = (rng.integers(-9, 10, shape).astype(dtype) for shape in ((n_columns, width), (len(truth), width)))
    there = bk.asarray(np.ones((n_columns, width), dtype))
    rows.add_transposed(bk.asarray(h), there, -0.5)
    for found, right in (
        (bk.matmul(rows, bk.asarray(W)), truth @ W),
        (bk.matmul(rows, bk.asarray(W), filled(bk, (len(truth), width), dtype)), truth @ W),
        (there, 1 - 0.5 * (truth.T @ h)),
    ):
        np.testing.assert_array_equal(bk.to_numpy(found), right)
    assert matrix.nnz == size


# --- random numbers ---


def draw(bk, method, shape, dtype, *key, p=None):
    rng = bk.rng(stream(11, method, *key))
    out = filled(bk, shape, dtype)
    result = rng.bernoulli(p, out) if method == "bernoulli" else getattr(rng, method)(out)
    np.testing.assert_array_equal(bk.to_numpy(result), bk.to_numpy(out))
    return bk.to_numpy(out)


@case_by_case("dtype", DTYPES)
def test_bernoulli_draws_have_their_probabilities(bk, dtype):
    p = np.array([0.0, 1e-4, 0.02, 0.3, 0.5, 0.5000001, 0.77, 0.999, 1.0], dtype)
    n = 150_000
    x = draw(bk, "bernoulli", (n, len(p)), dtype, np.dtype(dtype).name, p=bk.asarray(np.tile(p, (n, 1))))
    assert set(np.unique(x)) == {0, 1}
    assert (np.abs(x.mean(axis=0, dtype=np.float64) - p) <= SIGMAS * np.sqrt(p * (1 - p) / n)).all()
    # Neighbours in memory share a word of the generator: they must not share their fate.
    both = (x[:, 3] * x[:, 4]).mean(dtype=np.float64)
    assert abs(both - p[3] * p[4]) <= SIGMAS * 0.5 / math.sqrt(n)


@pairwise_cases(bk=EVERY, size=SIZES, dtype=DTYPES)
def test_probabilities_zero_and_one_are_certain(bk, size, dtype):
    for certain in (0.0, 1.0):
        x = draw(bk, "bernoulli", (size,), dtype, p=filled(bk, (size,), dtype, certain))
        np.testing.assert_array_equal(x, certain)


def test_float32_draws_have_their_probability_exactly(monkeypatch):
    """Over every 16-bit word and every 8 low bits, the ones are p's share of 2**24."""
    monkeypatch.setattr(loops, "load", lambda: None)  # which draws the same: see below
    rng = get_backend("numpy").rng(stream(0))
    table = np.zeros((1 + 2**16 // numpy_backend.STEP, numpy_backend.LANES), np.uint64)
    table[1:].view(np.uint16)[...] = np.arange(2**16, dtype=np.uint16).reshape(-1, numpy_backend.STEP)
    lanes = [SimpleNamespace(random_raw=lambda n, lane=lane: table[:n, lane]) for lane in range(numpy_backend.LANES)]
    monkeypatch.setattr(rng, "_lanes", lanes)
    for p in np.array([0.0, 2.0**-24, 1e-6, 0.3, 0.5, 1 - 2.0**-24, 1.0], np.float32):
        ones, out = 0, np.empty(2**16, np.float32)
        for low in range(2**8):
            table[0, 0] = np.uint64(low) << np.uint64(56)
            ones += int(rng.bernoulli(np.full(2**16, p), out).sum(dtype=np.float64))
        assert ones == math.ceil(float(p) * 2**24)


@pytest.mark.skipif(loops.load() is None, reason="the loops were not compiled")
@case_by_case("size", [1, 15, 16, 17, 4095, 4096, 4097, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 77])
def test_compiled_loops_draw_what_numpy_draws(monkeypatch, size):
    p = np.random.default_rng(10).random(size).astype(np.float32)
    results = []
    for found in (LOAD(), None):
        monkeypatch.setattr(loops, "load", lambda found=found: found)
        rng = get_backend("numpy").rng(stream(0, "a"))
        first, second = (rng.bernoulli(p, np.empty_like(p)).copy() for _ in range(2))
        results.append((first, second, rng.uniform(np.empty(3))))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@case_by_case("method", ["uniform", "normal", "bernoulli"])
@case_by_case("size", [1, 6, BLOCK + 3])
def test_both_precisions_draw_the_same_numbers(bk, method, size):
    p = np.random.default_rng(12).random(size, np.float32)
    drawn = []
    for dtype in DTYPES:
        rng, out = bk.rng(stream(0)), filled(bk, (size,), dtype)
        for _ in range(2):  # the second draw goes on where the first one ended
            getattr(rng, method)(*([bk.asarray(p.astype(dtype))] if method == "bernoulli" else []), out)
        drawn.append(bk.to_numpy(out))
    if method == "bernoulli":
        np.testing.assert_array_equal(*drawn)
    else:
        np.testing.assert_allclose(*drawn, rtol=1e-6, atol=1e-3 if method == "normal" and bk.name == "cupy" else 1e-7)
    assert len(np.unique(drawn[1])) == min(size, 2 if method == "bernoulli" else size)


@case_by_case("dtype", DTYPES)
def test_uniform_draws_fill_the_interval(bk, dtype):
    n = 200_000
    x = draw(bk, "uniform", (n,), dtype)
    assert x.min() >= 0
    assert x.max() < 1
    counts = np.histogram(x, bins=20, range=(0, 1))[0]
    assert (np.abs(counts / n - 0.05) <= SIGMAS * math.sqrt(0.05 * 0.95 / n)).all()


@case_by_case("dtype", DTYPES)
def test_normal_draws_have_the_moments_of_the_normal(bk, dtype):
    n = 200_000
    x = draw(bk, "normal", (n,), dtype).astype(np.float64)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - moment) <= SIGMAS * math.sqrt(variance / n)
    assert abs((x > 1.959964).mean() - 0.025) <= SIGMAS * math.sqrt(0.025 * 0.975 / n)


@pairwise_cases(bk=EVERY, method=["bernoulli", "uniform", "normal"], dtype=DTYPES)
def test_streams_are_their_names(bk, method, dtype):
    def numbers(*key):
        return draw(bk, method, (40, 5), dtype, *key, p=filled(bk, (40, 5), dtype, 0.5))

    np.testing.assert_array_equal(numbers("a"), numbers("a"))
    assert (numbers("a") != numbers("b")).any()


def test_a_stream_goes_on(bk):
    rng = bk.rng(stream(5))
    first, second = (bk.to_numpy(rng.uniform(filled(bk, (50,), np.float32))) for _ in range(2))
    assert (first != second).any()


@case_by_case("dtype", DTYPES)
def test_a_stream_goes_on_from_where_another_stood(bk, dtype):
    """Its state survives a file, and is no part of the stream that goes on."""

    def numbers(rng):
        p, found = filled(bk, (7,), dtype, 0.5), []
        for draw_from in (rng.uniform, rng.normal, lambda out: rng.bernoulli(p, out)):
            found.append(bk.to_numpy(draw_from(filled(bk, (7,), dtype))))
        return np.concatenate(found)

    rng, other = bk.rng(stream(5)), bk.rng(stream(6))
    numbers(rng)
    state = dumps(rng.state(), "stream")
    first = numbers(rng)
    other.set_state(loads(state, "stream"))
    np.testing.assert_array_equal(numbers(other), first)
    assert (numbers(other) != first).any()
    assert dumps(rng.state(), "stream") != state


def test_long_draws_do_not_repeat_themselves(bk):
    size = 16 * BLOCK + 3
    x = draw(bk, "bernoulli", (size,), np.float32, p=filled(bk, (size,), np.float32, 0.5))
    for lag in (BLOCK, 4, BLOCK // 2):
        agree = (x[:-lag] == x[lag:]).mean(dtype=np.float64)
        assert abs(agree - 0.5) <= SIGMAS * 0.5 / math.sqrt(size - lag)


# --- choosing ---


def test_a_backend_is_found_by_name_or_given():
    assert get_backend().name == "numpy"
    given = FakeDevice()
    assert get_backend(given) is given


@case_by_case(("given", "says"), [("nunpy", "'numpy'"), (3, "3"), (None, "None")])
def test_unknown_backends_are_refused_by_name(given, says):
    with pytest.raises(BackendError, match=says) as caught:
        get_backend(given)
    assert all(name in str(caught.value) for name in BACKENDS)


def test_an_instance_must_define_the_whole_protocol():
    class Half:
        xp, name, least_batch, concurrent = np, "half", 1, True

        def asarray(self, x, dtype=None):
            return np.asarray(x, dtype)

    for estimator in (RBM(2), DBNClassifier((2,)), AnomalyDetector()):
        with pytest.raises(BackendError, match=r"backend=Half must define to_numpy, owns, .* as well"):
            estimator.set_params(backend=Half()).fit(np.eye(4), [0, 1, 0, 1])
    with pytest.raises(BackendError, match="got the class Half"):
        get_backend(Half)


class Broken:
    """A CuPy without a device: either none is found or the driver fails."""

    class cuda:
        class runtime:
            @staticmethod
            def getDeviceCount():
                raise RuntimeError("driver too old")


class Empty(Broken):
    class cuda:
        class runtime:
            @staticmethod
            def getDeviceCount():
                return 0


class WithoutCompiler:
    """A CuPy with a device, and without what compiles for it."""

    class cuda:
        class runtime:
            @staticmethod
            def getDeviceCount():
                return 1

    def RawModule(**settings):
        raise RuntimeError("no libnvrtc\n  was found")


@pytest.mark.parametrize(
    ("cupy", "says"),
    [
        (ImportError("no cupy"), r"pip install 'deepbelief\[cuda12\]'"),
        (Broken, "driver too old"),
        (Empty, "no CUDA device"),
        (WithoutCompiler, r"kernels \(no libnvrtc was found\); install a CUDA toolkit"),
    ],
)
def test_cupy_says_what_is_missing(monkeypatch, cupy, says):
    def import_module(name):
        assert name == "cupy"
        if isinstance(cupy, Exception):
            raise cupy
        return cupy

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(BackendError, match=says):
        get_backend("cupy")


# --- the fake device itself must refuse ---


@case_by_case(
    "mix",
    [
        lambda d, h, xp: d + h,
        lambda d, h, xp: h + d,
        lambda d, h, xp: d @ h,
        lambda d, h, xp: h @ d,
        lambda d, h, xp: xp.matmul(d, h),
        lambda d, h, xp: xp.exp(h),
        lambda d, h, xp: np.exp(d),
        lambda d, h, xp: np.exp(h, out=d),
        lambda d, h, xp: np.sum(d),
        lambda d, h, xp: np.asarray(d),
        lambda d, h, xp: d[h.astype(int)],
        lambda d, h, xp: h.__setitem__(slice(None), d),
        lambda d, h, xp: d.__setitem__(slice(None), h),
        lambda d, h, xp: d.__iadd__(h),
        lambda d, h, xp: xp.take(d, np.arange(2), axis=0),
        lambda d, h, xp: xp.take(d, d, axis=0, mode="clip"),
        lambda d, h, xp: xp.stack([h, h]),
        lambda d, h, xp: xp.sum(h),
        lambda d, h, xp: xp.where(d > 0, h, 0),
    ],
)
def test_the_fake_device_refuses_to_mix(mix):
    bk = FakeDevice()
    host = np.ones((2, 2))
    with pytest.raises(TypeError):
        mix(bk.asarray(host), host, bk.xp)


def test_the_fake_device_counts_what_makes_the_host_wait():
    x = FakeDevice().asarray(np.ones((2, 2)))
    for wait in (
        lambda: float(x.sum()),
        lambda: bool(x.sum() > 0),
        lambda: x.sum().item(),
        lambda: FakeDevice().to_numpy(x),
    ):
        before = len(CROSSINGS)
        wait()
        assert len(CROSSINGS) == before + 1


def test_the_fake_device_knows_only_the_listed_names():
    with pytest.raises(AttributeError, match=r"xp\.einsum is not on the list"):
        FakeDevice().xp.einsum  # noqa: B018


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda rng: pickle.loads(pickle.dumps(rng))], ids=["copy", "pickle"])
def test_a_copied_stream_draws_the_same_from_states_of_its_own(copied):
    rng = get_backend("numpy").rng(np.random.SeedSequence(3))
    p = np.full((50, 40), 0.3, np.float32)
    rng.bernoulli(p, np.empty_like(p))
    other = copied(rng)
    first, second = (r.bernoulli(p, np.empty_like(p)) for r in (rng, other))
    assert np.array_equal(first, second)
    third = rng.bernoulli(p, np.empty_like(p))  # moves its own states, not the copy's
    assert not np.array_equal(third, first)
    assert np.array_equal(other.bernoulli(p, np.empty_like(p)), third)
