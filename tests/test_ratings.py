"""Ratings: users x items with most entries absent, learned and predicted without the ratings that judge."""

import numpy as np
import pytest
from scipy import sparse

from deepbelief import DBN, RBM, Ratings, load, save
from deepbelief.errors import DataError, DataWarning, SettingError


def simulated(n_users=160, n_items=30, rank=3, n_levels=5, absent=0.6, seed=0):
    """Return ratings of low rank in five levels, and which of them are known."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=(n_users, rank)) @ rng.normal(size=(rank, n_items)) + 0.5 * rng.normal(size=n_items)
    stars = 1.0 + np.searchsorted(np.quantile(taste, np.arange(1, n_levels) / n_levels), taste)
    return stars, rng.random(stars.shape) >= absent


def by_biases(known, rounds=20):
    """Return mean + bias of the user + bias of the item for every rating, by alternating means."""
    there, mean = ~np.isnan(known), np.nanmean(known)
    rest = np.where(there, known - mean, 0.0)
    user, item = np.zeros(len(known)), np.zeros(known.shape[1])
    for _ in range(rounds):
        item = ((rest - user[:, None]) * there).sum(axis=0) / (there.sum(axis=0) + 1)
        user = ((rest - item) * there).sum(axis=1) / (there.sum(axis=1) + 1)
    return mean + user[:, None] + item, item + mean


def test_an_array_is_imputed_like_the_same_ratings():
    stars, seen = simulated(60, 20)
    known = np.where(seen, stars, np.nan)
    rbm = RBM(4, n_iter=2, random_state=0).fit(Ratings(known))
    filled = rbm.impute(known[:3], random_state=0)
    np.testing.assert_array_equal(filled, rbm.impute(Ratings(known[:3]), random_state=0))
    np.testing.assert_array_equal(filled[seen[:3]], stars[:3][seen[:3]])
    assert not np.isnan(filled).any()


def test_imputed_ratings_differ_from_call_to_call_unless_they_are_seeded():
    stars, seen = simulated(60, 20)
    ratings = Ratings(np.where(seen, stars, np.nan))
    for model in (RBM(4, n_iter=2, random_state=0), DBN((4,), rbm=RBM(n_iter=2), random_state=0)):
        model.fit(ratings)
        for how, seed, same in (({}, None, False), ({}, 0, True), ({"method": "mean_field"}, None, True),
                                ({"n_draws": 2}, None, False), ({"n_draws": 2}, 0, True)):  # fmt: skip
            first, second = (model.impute(ratings, **how, random_state=seed) for _ in range(2))
            assert np.array_equal(first, second) == same, (model, how, seed)


@pytest.mark.slow
def test_predicted_ratings_beat_means_and_biases_of_known_and_new_users(tmp_path):
    stars, seen = simulated()
    known = np.where(seen, stars, np.nan)
    held_out = Ratings(np.where(seen, np.nan, stars))
    users, items = np.nonzero(seen[:120])
    train = Ratings(sparse.coo_array((stars[users, items], (users, items)), shape=(120, 30)))
    rbm = RBM(30, n_iter=200, random_state=0).fit(train)
    biases, means = by_biases(known[:120])
    predicted = rbm.impute(train, random_state=0)
    old = held_out.users(slice(0, 120))
    assert old.error(predicted) < 0.9 * old.error(biases) < old.error(np.broadcast_to(means, old.shape))
    np.testing.assert_array_equal(predicted[seen[:120]], stars[:120][seen[:120]])
    assert (predicted != np.rint(predicted)).any()  # expectations
    # Users who were not there in training, without another fit.
    later, new = Ratings(known[120:]), held_out.users(slice(120, None))
    found = rbm.impute(later, random_state=0)
    shrunk = np.nansum(known[120:] - means, axis=1) / (seen[120:].sum(axis=1) + 1)
    assert new.error(found) < 0.9 * new.error(means + shrunk[:, None])
    save(rbm, tmp_path / "ratings.h5")
    np.testing.assert_array_equal(load(tmp_path / "ratings.h5").impute(later, random_state=0), found)


def test_an_absent_rating_is_not_a_zero():
    matrix = sparse.coo_array(([0.0, 2.0, 1.0, 2.0], ([0, 0, 1, 2], [0, 1, 1, 0])), shape=(3, 2))
    ratings = Ratings(matrix)
    np.testing.assert_array_equal(ratings.array(), [[0, 2], [np.nan, 1], [2, np.nan]])
    assert ratings.n_ratings == 4  # the stored 0 is a rating
    rbm = RBM(2, n_iter=2, random_state=0).fit(ratings)
    assert rbm.weights_.visible == "softmax:3,3"  # levels 0, 1 and 2 of each item, no units for "absent"
    for X in (matrix, matrix.tocsr()):
        with pytest.raises(DataError, match="fitted on Ratings"):
            rbm.impute(X)
    with pytest.raises(DataError, match="user 1, item 0: -1 is not a rating from 0 to 2"):
        rbm.impute(np.array([[0.0, 1.0], [-1.0, np.nan]]))


def test_ratings_are_clamped():
    stars, known = simulated(40, 6)
    rbm = RBM(2, n_iter=1, random_state=0).fit(Ratings(np.where(known, stars, np.nan)))
    first, second = rbm.schema_.names[:2]
    drawn = rbm.sample(3, n_steps=2, clamp={second: 5, first: [1, None, 2]}, random_state=0)
    assert drawn[:, 1].tolist() == [5] * 3
    assert drawn[[0, 2], 0].tolist() == [1, 2]
    with pytest.raises(DataError, match=r"user 1, .*: 9 is not a rating from 1 to 5"):
        rbm.sample(2, clamp={first: [None, 9]})


def test_known_ratings_are_not_judged_by():
    """A prediction from the very ratings that judge it is told."""
    stars, seen = simulated(40, 8)
    ratings = Ratings(np.where(seen, stars, np.nan))
    known, held_out = ratings.split(0.25, random_state=0)
    assert known.n_ratings + held_out.n_ratings == ratings.n_ratings
    assert held_out.n_ratings == round(0.25 * ratings.n_ratings)
    assert not (~np.isnan(known.array()) & ~np.isnan(held_out.array())).any()
    np.testing.assert_array_equal(np.fmax(known.array(), held_out.array()), ratings.array())
    rbm = RBM(4, n_iter=5, random_state=0).fit(known)
    assert held_out.error(rbm.impute(known, random_state=0)) > 0.1
    with pytest.raises(DataError, match="were passed to `impute`"):
        held_out.error(rbm.impute(ratings, random_state=0))


def test_items_without_ratings_get_the_mean_and_weights_count():
    stars, seen = simulated(60, 6)
    seen[:, 2] = False
    X = Ratings(np.where(seen, stars, np.nan), items=list("abcdef"))
    with pytest.warns(DataWarning, match="'c' \\(no rating\\)"):
        rbm = RBM(4, n_iter=2, random_state=0).fit(X)
    np.testing.assert_allclose(rbm.impute(X, random_state=0)[:, 2], stars[seen].mean())
    weights = np.r_[np.zeros(20), np.ones(40)]
    with pytest.warns(DataWarning):
        some = RBM(4, n_iter=2, random_state=0).fit(X, sample_weight=weights)
    with pytest.warns(DataWarning):
        alone = RBM(4, n_iter=2, random_state=0).fit(X.users(slice(20, None)))
    np.testing.assert_allclose(some.weights_.W, alone.weights_.W, atol=1e-6)
    draws = rbm.impute(X, n_draws=2, random_state=0)
    assert all(set(np.unique(draw[:, [0, 1, 3, 4, 5]])) <= {1, 2, 3, 4, 5} for draw in draws)


def test_a_deep_network_takes_ratings():
    stars, seen = simulated(60, 6)
    dbn = DBN((4, 2), rbm=RBM(n_iter=2), random_state=0).fit(Ratings(np.where(seen, stars, np.nan)))
    assert dbn.sample(5, n_steps=2, random_state=0).shape == (5, 6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ratings(np.zeros(3)), "two dimensions"),
        (lambda: Ratings([["good", "bad"]]), "must be numbers"),
        (lambda: Ratings(np.array([[1.0, np.inf]])), "finite"),
        (lambda: Ratings(np.zeros((0, 3))), "at least one user"),
        (lambda: Ratings(sparse.coo_array(([1.0, 2.0], ([0, 0], [1, 1])), shape=(1, 2))), "rated item 1 2 times"),
        (lambda: Ratings(np.ones((2, 2)), items=["a"]), "2 names, got 1"),
        (lambda: RBM(2).fit(Ratings(np.full((3, 2), np.nan))), "must differ, got 0 equal"),
        (lambda: RBM(2).fit(Ratings(np.ones((3, 2)))), "must differ, got 6 equal"),
        (lambda: Ratings(np.ones((2, 2))).error(np.ones((3, 2))), "shape"),
    ],
)  # fmt: skip
def test_bad_ratings_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()
    with pytest.raises(SettingError, match="share"):
        Ratings(np.eye(2)).split(1.0)
