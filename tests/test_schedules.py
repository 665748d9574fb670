import math

import numpy as np
import pytest
from tables import case_by_case

from deepbelief import RBM, DBNClassifier, RecurrentRBM
from deepbelief.errors import SettingError
from deepbelief.schedules import (
    SCHEDULES,
    Exponential,
    Halving,
    Inverse,
    factor_at,
    get_schedule,
    momentum_at,
    momentum_ramp,
    needs_validation,
)

POSITIONS = [i / 20 for i in range(21)]


FORMULAS = {
    "constant": lambda p: 1,
    "linear": lambda p: 1 - p,
    "cosine": lambda p: math.cos(math.pi * p / 2) ** 2,
    "exponential": lambda p: math.exp(math.log(0.01) * p),
    "inverse": lambda p: 1 if p < 0.1 else 0.1 / p,
    "halving": lambda p: 1,
}


@case_by_case("name", SCHEDULES)
def test_schedules_follow_their_formulas(name):
    for p in POSITIONS:
        assert 0 <= get_schedule(name)(p) == pytest.approx(FORMULAS[name](p), abs=1e-15)


def test_a_schedule_may_be_a_function():
    assert get_schedule(math.exp) is math.exp
    with pytest.raises(SettingError, match="did you mean 'linear'"):
        get_schedule("linaer")


@case_by_case("given", [3, object(), ["linear"], None, Exponential, lambda: 1.0])
def test_what_is_no_schedule_is_told_what_one_must_be(given):
    with pytest.raises(SettingError, match=r"linear.* or a function of the position in the run, from 0 to 1"):
        get_schedule(given)


def test_functions_and_classes_can_be_registered(monkeypatch):
    monkeypatch.setitem(SCHEDULES, "wave", math.cos)
    assert get_schedule("wave")(0.5) == math.cos(0.5)
    assert RBM(2, n_iter=1, schedule="wave").fit(np.eye(4)).n_iter_ == 1
    for wrong in (lambda: math.cos, 3):
        monkeypatch.setitem(SCHEDULES, "wave", wrong)
        with pytest.raises(SettingError, match=r"SCHEDULES\['wave'\] must be .* a function of the position"):
            get_schedule("wave")


@case_by_case("factor", [-1.0, math.nan, math.inf, None, "1", [0.5]])
def test_a_schedule_must_return_a_factor(factor):
    rows = np.eye(4)
    for estimator in (RBM(2, n_iter=1), DBNClassifier((2,), max_iter=1), RecurrentRBM(2, n_iter=1)):
        estimator.set_params(schedule=lambda position: factor)
        with pytest.raises(SettingError, match="schedule must return a finite number of at least 0"):
            estimator.fit([rows, rows] if isinstance(estimator, RecurrentRBM) else rows, [0, 1, 0, 1])
    assert factor_at(lambda position: np.float32(0.5), 0.0) == 0.5


@case_by_case(("n_epochs", "switch"), [(5, 1), (10, 2), (25, 5), (100, 5), (1, 1)])
def test_momentum_rises_once_progress_has_settled(n_epochs, switch):
    values = [momentum_at("auto", epoch, n_epochs) for epoch in range(n_epochs)]
    assert values == [0.5] * switch + [0.9] * (n_epochs - switch)


def test_a_given_momentum_stays():
    assert [momentum_at(0.7, epoch, 10) for epoch in (0, 9)] == [0.7, 0.7]


def test_schedules_take_settings():
    assert Exponential(0.25)(0.5) == pytest.approx(0.5)
    assert Inverse(0.5)(1.0) == pytest.approx(0.5)
    for make, wrong in ((Exponential, 0.0), (Exponential, 2.0), (Inverse, 0), (Inverse, 1.5), (Halving, 0)):
        with pytest.raises(SettingError, match=f"got {wrong}"):
            make(wrong)


@case_by_case(
    ("losses", "factor"),
    [
        ([], 1),
        ([3, 2, 1], 1),
        ([3, 2, 2], 1),  # once is not enough
        ([3, 2, 2, 2.5], 0.5),
        ([3, 2, 2, 2.5, 1, 1], 0.5),  # counted anew after each fall of the rate, and of the loss
        ([3, 2, 2, 2.5, 2, 2], 0.25),
        ([1, math.nan, math.nan], 0.5),
    ],
)
def test_halving_follows_the_validation_loss(losses, factor):
    assert Halving(patience=2).after(losses) == factor


def test_only_halving_needs_validation():
    assert [name for name in SCHEDULES if needs_validation(get_schedule(name))] == ["halving"]


def test_momentum_ramps_up_by_updates():
    """Sutskever et al. 2013, equation 5, with 2 ** -(1 + log2 n) = 1 / (2 n)."""
    for t in (0, 249, 250, 999, 5000, 10**6):
        assert momentum_ramp(t) == pytest.approx(min(1 - 2 ** (-1 - math.log2(t // 250 + 1)), 0.99))
