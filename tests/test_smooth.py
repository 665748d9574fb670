"""Smoothly tied weights: rows of W of a number's cells stay in the span of eight functions."""

import numpy as np
import pytest
from scipy.special import ndtri
from tables import case_by_case

from deepbelief import RBM, load, save
from deepbelief.components import Smooth
from deepbelief.components.smooth import projection
from deepbelief.errors import SettingError

SIZES = (12, 3, 20, 20)
STARTS = np.cumsum((0, *SIZES[:-1]))
SCORES = [tuple(ndtri((np.arange(n) + 0.5) / n)) for n in SIZES]
GROUPS = tuple((int(start), t) for start, t in zip(STARTS, SCORES, strict=True))
SPEC = "softmax:" + ",".join(map(str, SIZES))


def rows(n=400):
    rng = np.random.default_rng(0)
    u = rng.random(n)
    cells = [(np.clip(u + rng.normal(0, 0.1, n), 0, 0.999) * size).astype(int) for size in SIZES]
    return np.hstack([np.eye(size)[cell] for size, cell in zip(SIZES, cells, strict=True)])


def smooth_part(t, W):
    """Return the best fit of W's columns by functions of t, by least squares."""
    knots = np.linspace(t[0], t[-1], 6)
    hats = [np.interp(t, knots, np.eye(6)[i]) for i in range(6)]
    B = np.column_stack([t, (np.square(t) - 1) / 2, *hats])
    return B @ np.linalg.lstsq(B, W, rcond=None)[0]


def test_the_projection_keeps_smooth_functions_and_takes_away_others():
    t = np.array(SCORES[2])
    P, zigzag = projection(t), (-1.0) ** np.arange(20)
    np.testing.assert_allclose(P @ P, P, atol=1e-12)
    np.testing.assert_allclose(P @ np.column_stack([t, t**2, np.ones(20)]), np.column_stack([t, t**2, np.ones(20)]))
    assert np.square(P @ zigzag).sum() < 0.3 * np.square(zigzag).sum()


@case_by_case("settings", [{}, {"gradient": "pcd", "solver": "adam", "averaging": 0.5, "centered": True}])
def test_weights_of_a_number_stay_smooth(settings, tmp_path, bk):
    rbm = RBM(6, visible=SPEC, components=[Smooth(GROUPS)], n_iter=3, backend=bk, random_state=0, **settings)
    rbm.fit(rows())
    W = rbm.weights_.W.astype(float)
    for start, t in GROUPS:
        some = W[start : start + len(t)]
        np.testing.assert_allclose(smooth_part(np.array(t), some), some, atol=1e-5 * np.abs(W).max())
    assert np.linalg.matrix_rank(W[12:15], tol=1e-5) == 3
    rbm.backend = "numpy"
    save(rbm, tmp_path / "model.h5")
    assert list(load(tmp_path / "model.h5").components) == [Smooth(GROUPS)]


def test_numbers_of_equal_size_with_a_category_between_them_are_tied_each():
    t = SCORES[0]
    X = np.hstack([np.eye(n)[np.random.default_rng(i).integers(n, size=200)] for i, n in enumerate((12, 12, 12))])
    rbm = RBM(12, visible="softmax:12,12,12", components=[Smooth(((24, t), (0, t)))], n_iter=2, random_state=0).fit(X)
    ranks = [int(np.linalg.matrix_rank(rbm.weights_.W[i : i + 12], tol=1e-5)) for i in (0, 12, 24)]
    assert ranks[0] <= 8 >= ranks[2]
    assert ranks[1] > 8


@case_by_case(
    ("groups", "settings", "message"),
    [
        (((0, (0, 0, 1)),), {}, "ascending"),
        (((-1, (0, 1, 2)),), {}, "from -1"),
        (((50, tuple(range(20))),), {}, "exceeds the 55 visible units"),
        ("no", {}, "groups must be pairs"),
        (GROUPS, {"visible": "bernoulli"}, "softmax groups"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups, settings, message):
    with pytest.raises(SettingError, match=message):
        RBM(6, **{"visible": SPEC} | settings, components=[Smooth(groups)]).fit(rows(50))
