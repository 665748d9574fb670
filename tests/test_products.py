"""Compiled products of minibatches and weights, compared with products in float64."""

import numpy as np
import pytest
from pairwise import pairs
from threadpoolctl import threadpool_limits

from deepbelief.backends import Product, get_backend, loops, products

found = loops.load()
pytestmark = pytest.mark.skipif(found is None or not found.has_products, reason="the compiler left the products out")

SIZES = (1, 6, 7, 17, 32, 100, 257, 519)
# Sums of 2,100 products of normal numbers: as many roundings by 2**-24 each of values of at most some 200.
CLOSE = {"rtol": 1e-5, "atol": 5e-4}


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def exact(left, right):
    return left.astype(np.float64) @ right.astype(np.float64)


def shapes():
    """Return shapes with all pairs of sizes, and two whose inner dimension is taken in parts."""
    return [*(tuple(SIZES[i] for i in row) for row in pairs(SIZES, SIZES, SIZES)), (37, 1100, 45), (9, 2100, 70)]


def test_products_are_those_of_float64():
    for m, k, n in shapes():
        left, right, out = numbers(m, k), numbers(k, n, seed=1), np.full((m, n), np.nan, np.float32)
        found.multiply(left, right, out)
        np.testing.assert_allclose(out, exact(left, right), **CLOSE, err_msg=str((m, k, n)))
        turned = np.ascontiguousarray(right.T)
        out.fill(np.nan)
        found.multiply_by_transposed(left, turned, out)
        np.testing.assert_allclose(out, exact(left, right), **CLOSE, err_msg=str((m, k, n)))


def test_tiles_of_both_heights_hold_all_rows():
    """They divide each number of rows in another way, for vectors of either width, and write no further row."""
    right = numbers(40, 70)
    for m in range(1, 62):
        left, room = numbers(m, 40, seed=1), np.full((m + 10, 70), 3, np.float32)
        for multiply, weights in ((found.multiply, right), (found.multiply_by_transposed, right.T.copy())):
            room[:m] = np.nan
            multiply(left, weights, room[:m])
            np.testing.assert_allclose(room[:m], exact(left, right), **CLOSE, err_msg=str(m))
            np.testing.assert_array_equal(room[m:], 3)


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_step_along_a_product_is_that_along_its_values(nesterov):
    for m, k, n in shapes():
        left, right, w, velocity = numbers(k, m), numbers(k, n, seed=1), numbers(m, n, seed=2), numbers(m, n, seed=3)
        change = -0.1 * exact(left.T, right) - 0.01 * w.astype(np.float64)
        moved = 0.9 * velocity.astype(np.float64) + change
        new = w + (0.9 * moved + change if nesterov else moved)
        found.step_along(left, right, w, velocity, 0.1, 0.9, 0.01, nesterov)
        np.testing.assert_allclose(velocity, moved, **CLOSE, err_msg=str((m, k, n)))
        np.testing.assert_allclose(w, new, **CLOSE, err_msg=str((m, k, n)))


def test_a_row_of_a_product_does_not_depend_on_the_other_rows():
    left, right = numbers(100, 300), numbers(300, 70, seed=1)
    whole, part = np.empty((100, 70), np.float32), np.empty((41, 70), np.float32)
    found.multiply(left, right, whole)
    found.multiply(left[13:54], right, part)
    np.testing.assert_array_equal(whole[13:54], part)


def test_values_beyond_a_matrix_are_not_written():
    left, right, room = numbers(7, 9), numbers(9, 5, seed=1), np.full(7 * 5 + 64, 3, np.float32)
    found.multiply(left, right, room[: 7 * 5].reshape(7, 5))
    np.testing.assert_array_equal(room[7 * 5 :], 3)


@pytest.mark.parametrize("width", [0, *products.LIMITS])
def test_the_backend_multiplies_and_steps_alike_with_either(monkeypatch, width):
    monkeypatch.setattr(found, "multiplies", width)
    bk = get_backend("numpy")
    for n_rows in (1, 10, 64, 100, 300):
        v, W, h = numbers(n_rows, 210), numbers(210, 190, seed=1), numbers(n_rows, 190, seed=2)
        up, down = np.empty_like(h), np.empty_like(v)
        assert bk.matmul(v, W, up) is up
        bk.matmul(h, W.T, down)
        np.testing.assert_allclose(up, exact(v, W), **CLOSE)
        np.testing.assert_allclose(down, exact(h, W.T), **CLOSE)
        w, velocity = W.copy(), np.zeros_like(W)
        bk.momentum_step(w, velocity, Product(v, h, np.empty_like(W)), 0.1, 0.9, 0.0, False)
        np.testing.assert_allclose(w, W - 0.1 * exact(v.T, h), **CLOSE)


@pytest.mark.parametrize("width", products.LIMITS)
def test_which_products_are_taken(monkeypatch, width):
    monkeypatch.setattr(found, "multiplies", width)
    W, v = numbers(210, 190), numbers(100, 210)
    out = np.zeros((100, 190), np.float32)
    vector = np.ones(210)
    for factors in (
        (v[:3], W, out[:3]), (v[:, ::2], W[::2], out), (v.astype(float), W.astype(float), out.astype(float)),
        (v, W, out[:50]), (v, W[:100], out), (v[0], W, out[0]), (v, W),
        (v, vector.astype(np.float32)), (v.astype(float), vector), (v[:, :5], vector[:5]), (v, vector[:5]),
        (v, vector, np.ones(100)), (v[0], vector),
    ):  # fmt: skip
        assert products.multiply(*factors) is None
    assert products.multiply(v, W, out) is out
    assert products.multiply(v, np.ascontiguousarray(W.T).T, out) is out
    monkeypatch.setattr(found, "multiplies", 0)
    assert products.multiply(v, W, out) is None
    assert products.multiply(v, vector).dtype == np.float64


def test_products_have_the_same_bits_for_any_number_of_threads_of_the_blas():
    bk, v, W = get_backend("numpy"), numbers(100, 784), numbers(784, 500, seed=1)
    results = []
    for n in (1, 2):
        with threadpool_limits(n, "blas"):
            out, w, velocity = np.empty((100, 500), np.float32), W.copy(), np.zeros_like(W)
            found.multiply(v, W, out)
            bk.momentum_step(w, velocity, Product(v[:50], out[:50], np.empty_like(W)), 0.1, 0.9, 0.0, False)
            results.append((out, w) if found.multiplies else (out,))
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
