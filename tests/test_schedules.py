import itertools
import math

import pytest

from deepbelief.errors import SettingError
from deepbelief.schedules import SCHEDULES, get_schedule, momentum_at

POSITIONS = [i / 20 for i in range(21)]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_start_at_one_and_never_rise(name):
    factors = [get_schedule(name)(p) for p in POSITIONS]
    assert factors[0] == 1
    assert all(0 <= b <= a for a, b in itertools.pairwise(factors))


@pytest.mark.parametrize(
    ("name", "truth"),
    [("constant", lambda p: 1), ("linear", lambda p: 1 - p), ("cosine", lambda p: math.cos(math.pi * p / 2) ** 2)],
)
def test_schedules_follow_their_formulas(name, truth):
    for p in POSITIONS:
        assert get_schedule(name)(p) == pytest.approx(truth(p), abs=1e-15)


def test_a_schedule_may_be_a_function():
    assert get_schedule(math.exp) is math.exp
    with pytest.raises(SettingError, match="did you mean 'linear'"):
        get_schedule("linaer")
    with pytest.raises(SettingError, match="unknown schedule"):
        get_schedule(["linear"])


@pytest.mark.parametrize(("n_epochs", "switch"), [(5, 1), (10, 2), (25, 5), (100, 5), (1, 1)])
def test_momentum_rises_once_progress_has_settled(n_epochs, switch):
    values = [momentum_at("auto", epoch, n_epochs) for epoch in range(n_epochs)]
    assert values == [0.5] * switch + [0.9] * (n_epochs - switch)


def test_a_given_momentum_stays():
    assert [momentum_at(0.7, epoch, 10) for epoch in (0, 9)] == [0.7, 0.7]
