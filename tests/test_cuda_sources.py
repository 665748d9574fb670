"""The CUDA kernels: they compile as CUDA, and compiled as C++ they do what NumPy does."""

import ctypes
import mmap
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from fake_device import device, raw
from host_cuda import KERNEL, NUMBERS, RawModule, as_c, cupy_on_host, library, signatures
from pairwise import pairwise
from tables import case_by_case

from deepbelief.backends import get_backend, kernels
from deepbelief.seeds import stream

CTYPES = {np.float32: "float", np.float64: "double"}
DTYPES = list(CTYPES)
KEY = 0x299F31D0_A4093822
FIRST = 2**32 - 3  # the counter's higher word changes in every test
SIZES = [1, 3, 4, 9, 1027]  # no whole number of fours, and one


@pytest.fixture(scope="module")
def bk():
    with cupy_on_host() as backend:
        yield backend


# --- as CUDA ---


def test_every_kernel_has_its_names():
    assert sorted(name for name, _, _ in KERNEL.findall(kernels.SOURCE)) == sorted(kernels.KERNELS)
    assert kernels.SOURCE.count("__global__") == len(kernels.KERNELS)
    assert set(kernels.NAMES) == {f"{kernel}<{t}>" for kernel in kernels.KERNELS for t in ("float", "double")}


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on the path")
@pytest.mark.parametrize("arch", [(), pytest.param(("-arch=sm_90",), marks=pytest.mark.slow)], ids=["default", "sm_90"])
def test_kernels_compile(tmp_path, arch):
    # CuPy compiles with NVRTC, which knows CUDA's built-ins without a header; nvcc does too.
    instances = [
        f"template __global__ void {kernel}<{t}>({', '.join(types)});"
        for t in ("float", "double")
        for kernel, types in signatures(kernels.SOURCE, t, const=True).items()
    ]
    source, out = tmp_path / "kernels.cu", tmp_path / "kernels.ptx"
    source.write_text(kernels.SOURCE + "\n".join(instances))
    command = ["nvcc", "-ptx", "-std=c++14", "-Werror", "all-warnings", *arch, "-o", str(out), str(source)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if arch and "unsupported" in run.stderr.lower():
        pytest.skip(run.stderr.strip())
    assert run.returncode == 0, run.stderr
    assert len(re.findall(r"\.visible \.entry", out.read_text())) == len(kernels.NAMES)


# --- the generator ---


def philox(counters, key):
    """Return the four words of each counter, by the paper's formulas: counters of shape (n, 4), two words of key."""
    c = np.array(counters, np.uint64).T.copy()
    k = np.array(key, np.uint64)
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = np.array([(b >> 32) ^ c[1] ^ k[0], b & low, (a >> 32) ^ c[3] ^ k[1], a & low])
        k = (k + np.array([0x9E3779B9, 0xBB67AE85], np.uint64)) & low
    return c.T


def words(first, n, key=KEY):
    """Return the random words of n counters from the first on."""
    counters = np.uint64(first) + np.arange(n, dtype=np.uint64)
    zero = np.zeros(n, np.uint64)
    table = np.stack([counters & np.uint64(2**32 - 1), counters >> np.uint64(32), zero, zero], axis=1)
    return philox(table, (key & (2**32 - 1), key >> 32)).reshape(-1)


def pairs_of_words(size, first=FIRST):
    """Return each element's word, of every other counter, and the word beside it for its lower bits."""
    w = words(first, 2 * -(-size // 4)).reshape(-1, 2, 4)
    return w[:, 0].reshape(-1)[:size], w[:, 1].reshape(-1)[:size]


def uniforms(size, dtype, first=FIRST):
    """Return a word's highest 24 bits, or two words' highest 53, as fractions."""
    high, low = pairs_of_words(size, first)
    if dtype == np.float32:
        return ((high >> np.uint64(8)) / 2**24).astype(dtype)
    return ((high << np.uint64(32) | low) >> np.uint64(11)) / 2**53


# The known answers of Random123's kat_vectors for philox4x32 with 10 rounds: counter, key, words.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_known_answers(counter, key, answer):
    at = (ctypes.c_uint * 4)(*counter)
    library(kernels.SOURCE).philox_block(at, *map(ctypes.c_uint, key))
    assert list(at) == answer
    assert philox([counter], key).tolist() == [answer]


def rng_at(bk, first=FIRST):
    rng = bk.rng(stream(0))
    rng.set_state({"key": KEY, "counter": first})
    return rng


def empty(shape, dtype):
    return device(np.full(shape, np.nan, dtype))


@case_by_case("size", SIZES)
@case_by_case("dtype", DTYPES)
def test_uniform_draws_are_the_words_of_their_counters(bk, size, dtype):
    np.testing.assert_array_equal(raw(rng_at(bk).uniform(empty(size, dtype))), uniforms(size, dtype))


@case_by_case("size", SIZES)
@case_by_case("dtype", DTYPES)
def test_bernoulli_draws_are_ones_where_a_uniform_one_is_less_than_their_probability(bk, size, dtype):
    u = uniforms(size, dtype)
    certain = ((np.full_like(u, p), ones) for p, ones in ((0, 0), (1, 1), (np.nan, 0)))
    for p, ones in ((u, 0), (np.nextafter(u, dtype(2)), 1), *certain):
        np.testing.assert_array_equal(raw(rng_at(bk).bernoulli(device(p), empty(size, dtype))), ones)


@case_by_case("size", SIZES)
@case_by_case("dtype", DTYPES)
def test_normal_draws_follow_box_and_muller(bk, size, dtype):
    even = size + size % 2
    u = uniforms(even, dtype).astype(np.float64)
    if dtype == np.float32:
        radius = np.sqrt(-2 * np.log((pairs_of_words(even)[0][::2] + 0.5) / 2**32))
    else:
        radius = np.sqrt(-2 * np.log(u[::2] + 2.0**-54))
    angle = 2 * np.pi * u[1::2]
    truth = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:size]
    tolerance = 8 * np.finfo(dtype).eps
    # A float radius near 0 has the error of 1 - 2**-25, which is 1: 2**-12 in the square root.
    np.testing.assert_allclose(
        raw(rng_at(bk).normal(empty(size, dtype))), truth, rtol=tolerance, atol=max(tolerance, 2e-6)
    )


@pytest.mark.slow
def test_the_tails_of_normal_draws_end_where_the_words_do():
    """The greatest and the least radius, of a generator that gives nothing but its key."""
    constant = re.sub(r"philox\(four,[^;]*;", "four[0] = four[1] = four[2] = four[3] = (unsigned)key;", kernels.SOURCE)
    assert constant != kernels.SOURCE
    module = RawModule(code=constant, name_expressions=kernels.NAMES)
    ends = {("float", 0): 33, ("float", 2**32 - 1): 0, ("double", 0): 54, ("double", 2**32 - 1): 0}
    for (ctype, word), bits in ends.items():
        out = empty(4, NUMBERS[ctype])
        module.get_function(f"normal<{ctype}>")((1,), (1,), (out, np.int64(4), np.uint64(word), np.uint64(0)))
        radii = np.hypot(raw(out)[::2], raw(out)[1::2])
        np.testing.assert_allclose(radii, np.sqrt(2 * bits * np.log(2)), rtol=1e-6)


@case_by_case("dtype", DTYPES)
@case_by_case("method", ["uniform", "normal", "bernoulli"])
def test_a_draw_takes_its_counters_and_no_others(bk, method, dtype):
    """Draws of 8, 5 and 3 elements are those of 8, 8 and 8, cut: nothing is used twice, nothing is left out."""

    def draw(rng, size):
        p = (device(np.full(size, 0.5, dtype)),) if method == "bernoulli" else ()
        return raw(getattr(rng, method)(*p, empty(size, dtype)))

    rng = rng_at(bk)
    parts = [draw(rng, size) for size in (8, 5, 3)]
    whole = draw(rng_at(bk), 24)
    for part, start in zip(parts, (0, 8, 16), strict=True):
        np.testing.assert_array_equal(part, whole[start : start + part.size])
    assert len(np.unique(whole)) == (2 if method == "bernoulli" else 24)
    assert rng.state() == {"key": KEY, "counter": FIRST + 10}


# --- the fused operations, against their definition ---


@pairwise(shape=[(1, 1), (3, 5), (4, 4), (1, 130), (130, 1), (33, 37)], bias_of=["all rows", "each row"], dtype=DTYPES)
def test_sigmoid_sample_is_a_sigmoid_and_a_draw(bk, shape, bias_of, dtype):
    host = np.random.default_rng(5)
    x = host.normal(0, 3, shape).astype(dtype)
    bias = host.normal(0, 3, shape if bias_of == "each row" else shape[1]).astype(dtype)
    truth = get_backend("numpy").sigmoid(x.copy(), bias)
    rng, other, on_device = rng_at(bk), rng_at(bk), device(x.copy())
    drawn = bk.sigmoid_sample(on_device, device(bias), rng, empty(shape, dtype))
    np.testing.assert_allclose(raw(on_device), truth, rtol=20 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(raw(on_device), raw(bk.sigmoid(device(x.copy()), device(bias))))
    np.testing.assert_array_equal(raw(drawn), raw(other.bernoulli(on_device, empty(shape, dtype))))
    assert rng.state() == other.state()


@pairwise(n_rows=[0, 1, 8, 33, 100], n_columns=[0, 1, 32, 33], dtype=DTYPES)
def test_weigh_weighs_rows_and_sums_columns(bk, n_rows, n_columns, dtype):
    host = np.random.default_rng(6)
    x, weight = host.normal(size=(n_rows, n_columns)).astype(dtype), host.normal(size=(n_rows, 1)).astype(dtype)
    on_device, out = device(x.copy()), empty(n_columns, dtype)
    assert bk.weigh(on_device, device(weight), out) is out
    np.testing.assert_array_equal(raw(on_device), x * weight)
    np.testing.assert_allclose(raw(out), (x.T.astype(float) @ weight)[:, 0], atol=100 * np.finfo(dtype).eps)


# --- memory ---


def arguments(kernel, ctype, arrays, size, first=FIRST):
    """Return arguments for an element-wise kernel over arrays of this size."""
    numbers = {"Index": [size, 2], "Word64": [KEY, first], "int": [1], ctype: [0.5, 0.25, 0.75, 0.125, 0.875, 0.1, 0.2]}
    left = {t: iter(values) for t, values in numbers.items()}
    arrays = iter(arrays)
    types = signatures(kernels.SOURCE, ctype)[kernel]
    return tuple(next(arrays) if t.endswith("*") else NUMBERS[t](next(left[t])) for t in types)


def launcher(kernel, ctype):
    return RawModule(code=kernels.SOURCE, name_expressions=kernels.NAMES).get_function(f"{kernel}<{ctype}>")


@case_by_case("kernel", kernels.ELEMENTWISE)
@case_by_case("ctype", ["float", "double"])
def test_kernels_touch_their_arrays_and_nothing_beside_them(kernel, ctype):
    """Wherever arrays begin, results are those of arrays that begin where memory is read in one piece."""
    values = np.random.default_rng(8).random((4, 40)).astype(NUMBERS[ctype])

    def results(size, begin):
        rows, inside = values.copy(), np.s_[begin : begin + size]
        rows[:, inside] = values[:, :size]
        beside = np.delete(rows, inside, axis=1)
        launcher(kernel, ctype)((3,), (2,), arguments(kernel, ctype, [device(row[inside]) for row in rows], size))
        np.testing.assert_array_equal(np.delete(rows, inside, axis=1), beside)
        return rows[:, inside]

    for size in (1, 2, 3, 4, 5, 8, 11, 20):
        first = results(size, 8)
        assert (first != values[:, :size]).any(axis=0).all()
        for begin in (9, 10, 11, 13):
            np.testing.assert_array_equal(results(size, begin), first)


def at_the_end_of_memory(size, dtype):
    """Return an array after which comes what cannot be read."""
    room = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    after = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(room)) + mmap.PAGESIZE)
    assert ctypes.CDLL(None).mprotect(after, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    return np.frombuffer(room, dtype, size, mmap.PAGESIZE - size * dtype().itemsize)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no mprotect")
@case_by_case("kernel", kernels.ELEMENTWISE)
@case_by_case("ctype", ["float", "double"])
def test_kernels_read_nothing_beyond_their_arrays(kernel, ctype):
    """A read ends the whole run of the tests."""
    for size in (2, 3, 5, 8, 11):
        arrays = [device(at_the_end_of_memory(size, NUMBERS[ctype])) for _ in range(4)]
        launcher(kernel, ctype)((2,), (2,), arguments(kernel, ctype, arrays, size))


@pytest.mark.parametrize("ctype", ["float", "double"])
def test_memory_is_read_in_one_piece_only_where_that_is_allowed(ctype):
    whole = getattr(library(kernels.SOURCE), f"in_one_piece_{ctype}")
    width = 4 * NUMBERS[ctype]().itemsize
    for start in range(0, 2 * width, width // 4):
        for i, n in ((0, 3), (0, 4), (4, 7), (4, 8), (4, 9)):
            address = ctypes.c_void_p(4096 + start)
            allowed = bool(whole(address, ctypes.c_longlong(i), ctypes.c_longlong(n)))
            assert allowed == (start % width == 0 and i + 4 <= n)


@case_by_case("kernel", kernels.ELEMENTWISE)
@case_by_case("ctype", ["float", "double"])
def test_arrays_may_be_longer_than_32_bits_count(kernel, ctype):
    """Of arrays of 2**33 + 3 elements only the end is there, and only its block runs: as if there were no more."""
    threads, size = 128, 2**33 + 3
    block = size // (4 * threads)
    begin = 4 * threads * block
    values = np.random.default_rng(9).random((4, size - begin)).astype(NUMBERS[ctype])
    long, short = values.copy(), values.copy()
    addresses = [ctypes.c_void_p(row.ctypes.data - begin * row.itemsize) for row in long]
    if kernel in ("sigmoid", "sigmoid_sample"):
        addresses[1] = ctypes.c_void_p(long[1].ctypes.data)  # the bias, which repeats after two elements
    given = arguments(kernel, ctype, addresses, size)
    library(kernels.SOURCE)[f"{kernel}_{ctype}"](block, block + 1, threads, 1, *(as_c(value) for value in given))
    first = FIRST + begin // 4 * 2
    launcher(kernel, ctype)((1,), (threads,), arguments(kernel, ctype, map(device, short), size - begin, first))
    np.testing.assert_array_equal(long, short)
    assert (long != values).any()
