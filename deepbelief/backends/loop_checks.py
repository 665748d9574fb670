"""Checks of the compiled loops, when they are loaded: each function on a few numbers."""

from typing import Any

import numpy as np


def is_right(loops: Any) -> bool:
    """Check the result of each function on a few numbers."""
    return states_are_right(loops) and steps_are_right(loops) and products_are_right(loops)


def states_are_right(loops: Any) -> bool:
    """Check the functions that compute and draw the states of units."""
    f32 = np.float32
    x, bias = np.linspace(-3, 3, 38, dtype=f32).reshape(2, 19), np.linspace(-1, 1, 19, dtype=f32)
    one, other, out = x.copy(), x.copy(), np.empty(38, f32)
    mean = 1 / (1 + np.exp(-(one + bias)))
    loops.sigmoid(one, bias)
    lanes, twins = ([np.random.SFC64(i) for i in range(4)] for _ in range(2))
    addresses = np.array([lane.ctypes.state_address for lane in lanes], np.uintp)
    loops.sample(other, bias, addresses, out, 38)
    words = np.stack([twin.random_raw(4) for twin in twins], axis=1).reshape(-1)
    draws = (words[4:].view(np.int16)[:38] + f32(2**15 + (int(words[0]) >> 56) / 2**8)) * f32(2.0**-16)
    right = [np.allclose(one, mean), np.array_equal(one, other), np.array_equal(out, draws < one.reshape(-1))]
    right += [lane.random_raw() == twin.random_raw() for lane, twin in zip(lanes, twins, strict=True)]
    loops.sample(np.repeat(np.array([0, 1], f32), 19), None, addresses, out, 38)
    right.append(np.array_equal(out, np.repeat([0, 1], 19)))
    sizes, one, odds = np.array([10, 9]), x.copy(), np.exp(x + bias)
    loops.softmax(one, bias, sizes)
    right += [np.allclose(one[:, s], odds[:, s] / odds[:, s].sum(axis=1)[:, None]) for s in (slice(10), slice(10, 19))]
    drawn = np.empty_like(x)
    loops.one_hot(one, np.full((2, 2), 0.5, f32), sizes, drawn)
    places = [[(np.cumsum(row[s]) < 0.5).sum() + s.start for s in (slice(0, 10), slice(10, 19))] for row in one]
    right.append(
        all(np.array_equal(np.flatnonzero(row), places_of) for row, places_of in zip(drawn, places, strict=True))
    )
    return all(right)


def steps_are_right(loops: Any) -> bool:
    """Check the functions that compute gradients and statistics, and that update weights."""
    f32, x = np.float32, np.linspace(-3, 3, 38, dtype=np.float32).reshape(2, 19)
    mean = 1 / (1 + np.exp(-x))
    slope, right = np.empty_like(x), []
    loops.sigmoid_backward(x, mean, slope)
    right.append(np.allclose(slope, (1 - mean) * mean * x))
    loops.gather(x, np.array([1, 0]), slope)
    right.append(np.array_equal(slope, x[::-1]))
    w, velocity = x.copy(), x.copy()
    loops.settle(w, velocity, 0.25)
    right += [np.allclose(w, 1.75 * x), np.allclose(velocity, 0.75 * x)]
    w, velocity, sums = x.copy(), x.copy(), np.empty(19, f32)
    loops.momentum_step(w, velocity, x, 0.5, 0.25, 0, False)
    loops.weigh(x.copy(), np.full(2, 2, f32), sums)
    right += [np.allclose(w, 0.75 * x), np.allclose(sums, 2 * x.sum(axis=0), atol=1e-5)]
    loops.adam_step(w, np.zeros(38, f32), np.zeros(38, f32), x, 1, 0, 1, 0, 1, 0, 0)
    right.append(np.allclose(w, 0.75 * x - np.sign(x)))
    double, v, odds = x.astype(np.float64), np.array([[0, 0.25], [1, 0]]), np.empty((2, 2))
    off = double[:, None] - v[:, :, None] * double
    truth = (np.logaddexp(0, off + double) - np.logaddexp(0, off)).sum(axis=2)
    loops.log_odds_of_rows(double, v, double, odds)
    right.append(np.allclose(odds, truth))
    one = np.empty((1, 2))
    loops.log_odds_of_row(double[:1], v[:1], x, one)
    right.append(np.allclose(one, truth[:1], atol=1e-5))
    right.append(np.allclose(loops.softplus_sums(double), np.logaddexp(0, double).sum(axis=1)))
    scaled, change = x.copy(), np.logaddexp(0, double) - np.logaddexp(0, double / 2)
    right.append(np.allclose(loops.softplus_changes(scaled, np.zeros(19, f32), 0.5, 1.0), change.sum(axis=1)))
    right += [np.array_equal(scaled, x), np.allclose(loops.weighted_sums(x, double[0]), x @ double[0])]
    gappy = np.where(x < -2, np.float32(np.nan), x)  # some values of the first row
    gappy[:, 18] = np.nan
    counts, mean, squares, low, high = loops.column_statistics(gappy)
    known = gappy[:, :18]
    right += [np.array_equal(counts, (~np.isnan(gappy)).sum(axis=0)), low[18] == np.inf, high[18] == -np.inf]
    right += [np.allclose(mean[:18], np.nanmean(known, axis=0)), mean[18] == 0, squares[18] == 0]
    right += [np.allclose(squares[:18], counts[:18] * np.nanvar(known, axis=0), atol=1e-5)]
    right += [np.array_equal(low[:18], np.nanmin(known, axis=0)), np.array_equal(high[:18], np.nanmax(known, axis=0))]
    filled = gappy.copy()
    loops.fill(filled, x + 1)
    right.append(np.array_equal(filled, np.where(np.isnan(gappy), x + 1, gappy)))
    for kind in (np.int32, np.int64):
        product, columns = np.zeros((1, 19), f32), np.arange(2, dtype=kind)
        loops.add_product(np.array([0, 2], kind), columns, np.ones(2, f32), 1, x, product, 1)
        right.append(np.allclose(product, x.sum(axis=0), atol=1e-5))
    return all(right)


def products_are_right(loops: Any) -> bool:
    """Check the products, where there are any, on numbers that are exact."""
    if not loops.has_products:
        return True
    left, right = (np.arange(2 * n, dtype=np.float32).reshape(2, n) for n in (7, 19))
    out, turned, w, velocity = (np.ones(shape, np.float32) for shape in ((2, 19), (2, 7), (7, 19), (7, 19)))
    loops.multiply(left, left.T @ right, out)
    loops.multiply_by_transposed(right, left.T @ right, turned)
    loops.step_along(left, right, w, velocity, 2, 0, 0, False)
    right_products = left @ (left.T @ right), right @ (left.T @ right).T, 1 - 2 * left.T @ right
    return all(np.array_equal(a, b) for a, b in zip((out, turned, w), right_products, strict=True))
