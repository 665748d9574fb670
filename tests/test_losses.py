"""Losses against their formulas and finite differences."""

import numpy as np
import pytest
from tables import case_by_case

from deepbelief.errors import SettingError
from deepbelief.losses import LOSSES, SoftmaxNLL, SquaredError, TaskSoftmaxNLL, get_loss

N, WIDTH = 6, 4
CLASSES = np.array([0, 3, 1, 1, 2, 0])
TASKS = np.array([[0, 1], [1, -1], [-1, 0], [-1, -1], [1, 1], [0, 0]])  # of two classes each; -1: no label
SHARES = np.random.default_rng(1).random((N, WIDTH))
REAL = np.random.default_rng(2).normal(size=(N, WIDTH))
CASES = {  # each loss with what its rows are compared with, and the loss of a row by its definition
    "softmax_nll": (get_loss("softmax_nll"), CLASSES),
    "two tasks": (TaskSoftmaxNLL((2, 2)), TASKS),
    "two weighted tasks": (TaskSoftmaxNLL((1, 3), (0.5, 2.0)), TASKS.clip(-1, [0, 2])),
    "cross_entropy": (get_loss("cross_entropy"), SHARES),
    "squared_error": (get_loss("squared_error"), REAL),
    "squared_error of sigmoid": (SquaredError("sigmoid"), SHARES),
    "squared_error of tanh": (SquaredError("tanh"), REAL),
}


def inputs(dtype=np.float64):
    rng = np.random.default_rng(0)
    return rng.normal(0, 2, (N, WIDTH)).astype(dtype), rng.normal(0, 1, WIDTH).astype(dtype)


def values(bk, loss, x, bias, target):
    output = loss.predict(bk, bk.asarray(x.copy()), bk.asarray(bias))
    return bk.to_numpy(loss.values(bk, output, bk.asarray(target)))


def test_every_loss_is_tried():
    assert set(LOSSES) <= set(CASES)


@case_by_case("name", CASES)
def test_the_gradient_is_the_slope_of_the_values(bk, name):
    loss, target = CASES[name]
    x, bias = inputs()
    output = loss.predict(bk, bk.asarray(x.copy()), bk.asarray(bias))
    target_on_device = bk.asarray(target)
    got = bk.to_numpy(loss.gradient(bk, output, target_on_device, bk.xp.empty_like(output)))
    np.testing.assert_array_equal(bk.to_numpy(target_on_device), target)
    slope = np.empty_like(x)
    for j in range(WIDTH):
        step = 1e-6 * np.eye(WIDTH)[j]
        slope[:, j] = (values(bk, loss, x + step, bias, target) - values(bk, loss, x - step, bias, target)) / 2e-6
    np.testing.assert_allclose(got, slope, atol=1e-8)
    assert np.abs(slope).max() > 0.1


@case_by_case("name", CASES)
def test_there_is_one_value_per_row(bk, name):
    x, bias = inputs(np.float32)
    loss, target = CASES[name]
    got = values(bk, loss, x, bias, target if target.dtype.kind == "i" else target.astype(np.float32))
    assert got.shape == (N,)
    assert got.dtype == np.float32
    assert (got >= 0).all()


@case_by_case("dtype", [np.float32, np.float64])
def test_softmax_and_its_negative_log_likelihood(bk, dtype):
    x, bias = inputs(dtype)
    total = x.astype(np.float64) + bias
    p = np.exp(total) / np.exp(total).sum(axis=1, keepdims=True)
    output = SoftmaxNLL().predict(bk, bk.asarray(x.copy()), bk.asarray(bias))
    rtol = 30 * np.finfo(dtype).eps
    np.testing.assert_allclose(bk.to_numpy(output), p, rtol=rtol)
    target = CLASSES
    truth = -np.log(p[np.arange(N), target])
    np.testing.assert_allclose(values(bk, SoftmaxNLL(), x, bias, target), truth, rtol=rtol, atol=rtol)


@case_by_case("weights", [None, (0.25, 3.0)])
def test_tasks_are_softmaxes_beside_each_other_and_their_losses_add_up(bk, weights):
    """Against the loss of one task, on the rows that have a label for it."""
    x, bias = inputs()
    tasks = TaskSoftmaxNLL((2, 2), weights)
    output = tasks.predict(bk, bk.asarray(x.copy()), bk.asarray(bias))
    found = bk.to_numpy(tasks.values(bk, output, bk.asarray(TASKS)))
    gradient = bk.to_numpy(tasks.gradient(bk, output, bk.asarray(TASKS), bk.xp.empty_like(output)))
    value, slope = np.zeros(N), np.zeros((N, WIDTH))
    for k, weight in enumerate(weights or (1, 1)):
        columns, known = slice(2 * k, 2 * k + 2), TASKS[:, k] >= 0
        one, target = get_loss("softmax_nll"), bk.asarray(TASKS[known, k])
        p = one.predict(bk, bk.asarray(x[known][:, columns]), bk.asarray(bias[columns]))
        value[known] += weight * bk.to_numpy(one.values(bk, p, target))
        slope[known, columns] = weight * bk.to_numpy(one.gradient(bk, p, target, bk.xp.empty_like(p)))
    np.testing.assert_array_equal(found, value)
    np.testing.assert_array_equal(gradient, slope)
    assert not found[3]
    assert not gradient[3].any()


def test_the_score_of_tasks_is_the_share_of_a_rows_labels_that_are_right(bk):
    output = np.array([[0.9, 0.1, 0.2, 0.8]] * N)
    target = np.array([[0, 1], [0, -1], [-1, 1], [-1, -1], [1, 1], [1, -1]])
    found = TaskSoftmaxNLL((2, 2)).score(bk, bk.asarray(output), bk.asarray(target))
    np.testing.assert_array_equal(bk.to_numpy(found), [1, 1, 1, 0, 0.5, 0])


def test_the_root_of_the_mean_squared_error_is_told_in_its_unit(bk):
    x, bias = inputs()
    mean = float(values(bk, SquaredError(), x, bias, REAL).mean())
    rmse = 5 * np.sqrt(np.square(x + bias - REAL).mean())
    assert SquaredError(rmse_unit=5 / np.sqrt(WIDTH)).measures(mean)["rmse"] == pytest.approx(rmse)
    for loss, _ in CASES.values():
        assert loss.measures(mean) == {}


def test_a_certain_mistake_costs_a_finite_amount(bk):
    x = np.array([[1e4, -1e4], [800.0, -800.0]], np.float32)
    got = values(bk, SoftmaxNLL(), x, np.zeros(2, np.float32), np.array([1, 1]))
    assert np.isfinite(got).all()
    assert (got > 80).all()


@case_by_case("dtype", [np.float32, np.float64])
def test_cross_entropy_and_squared_error_by_their_definitions(bk, dtype):
    x, bias = inputs(dtype)
    total = x.astype(np.float64) + bias
    y = 1 / (1 + np.exp(-total))
    tolerance = {"rtol": 100 * np.finfo(dtype).eps, "atol": 100 * np.finfo(dtype).eps}
    shares, real = SHARES.astype(dtype), REAL.astype(dtype)
    truth = -(shares * np.log(y) + (1 - shares) * np.log(1 - y)).sum(axis=1)
    np.testing.assert_allclose(values(bk, get_loss("cross_entropy"), x, bias, shares), truth, **tolerance)
    for loss, target, truth in (
        (get_loss("squared_error"), real, ((total - real) ** 2).sum(axis=1)),
        (SquaredError("sigmoid"), shares, ((y - shares) ** 2).sum(axis=1)),
    ):
        np.testing.assert_allclose(values(bk, loss, x, bias, target), truth, **tolerance)


def test_cross_entropy_of_certain_outputs(bk):
    x = np.array([[1e4, -1e4], [1e4, -1e4]], np.float32)
    target = np.array([[1, 0], [0, 1]], np.float32)
    right, wrong = values(bk, get_loss("cross_entropy"), x, np.zeros(2, np.float32), target)
    assert right == 0
    assert np.isfinite(wrong)
    assert wrong > 100


def test_the_score_of_classes_is_accuracy_and_other_losses_are_their_own(bk):
    output = bk.asarray(np.eye(WIDTH)[CLASSES] * 0.5 + 0.1)
    wrong = bk.asarray((CLASSES + 1) % WIDTH)
    np.testing.assert_array_equal(bk.to_numpy(SoftmaxNLL().score(bk, output, bk.asarray(CLASSES))), 1)
    np.testing.assert_array_equal(bk.to_numpy(SoftmaxNLL().score(bk, output, wrong)), 0)
    for loss in (get_loss("cross_entropy"), get_loss("squared_error")):
        assert loss.score(bk, output, output) is None


def test_each_loss_says_what_it_is_compared_with():
    assert {name: loss.targets for name, loss in LOSSES.items()} == {
        "softmax_nll": "classes", "cross_entropy": "labels", "squared_error": "values",
    }  # fmt: skip


def test_losses_are_found_by_name_or_given():
    for name in LOSSES:
        assert isinstance(get_loss(name), LOSSES[name])
    mine = SquaredError("sigmoid")
    assert get_loss(mine) is mine
    with pytest.raises(SettingError, match="cross_entropy"):
        get_loss("crossentropy")
    with pytest.raises(SettingError, match="or an instance"):
        get_loss(3)
