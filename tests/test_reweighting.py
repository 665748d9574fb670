"""Samples with the pairwise moments of given rows, against enumeration of a tiny machine of a table."""

import exact
import numpy as np
import pandas as pd
import pytest

from deepbelief import DBN, RBM
from deepbelief.errors import DataError, SettingError
from deepbelief.reweighting import PairMoments, Tilt, matched_rows
from deepbelief.seeds import stream
from deepbelief.sources import as_source
from deepbelief.sources.schema import Schema


def table(n, seed=0):
    """Return a category, a number, and a number that is missing more often for one category."""
    rng = np.random.default_rng(seed)
    kind, noise = rng.integers(0, 3, n), rng.integers(0, 2, n)
    count = (kind + noise).clip(0, 2).astype(float)
    count[rng.random(n) < np.array([0.1, 0.2, 0.6])[kind]] = np.nan
    return pd.DataFrame({"kind": np.array(["a", "b", "c"])[kind], "size": kind + noise, "count": count})


@pytest.fixture(scope="module")
def schema():
    found = Schema.fit(table(300))
    assert found.groups == (3, 4, 3, 2)  # the last for "present" and "missing"
    return found


def columns_of(states):
    """Return the number of the value of each column, and whether the last value is missing."""
    return (*(states[:, a:b].argmax(axis=1) for a, b in ((0, 3), (3, 7), (7, 10))), states[:, 11] == 1)


def features_of(states, schema):
    """Return the features of rows and the columns that they belong to, by definition."""
    kind, size, count, missing = columns_of(states)
    s, c = np.array(schema.used[1].scores)[size], np.array(schema.used[2].scores)[count]
    known = ~missing
    return (
        np.column_stack([kind == 1, kind == 2, s, s**2 - 1, c * known, (c**2 - 1) * known, missing]).astype(float),
        [0, 0, 1, 1, 2, 2, 2],
    )


def values_of(states, given, schema):
    """Return f(v): features standardised on given rows, and products for pairs of columns."""
    (z, column), (own, _) = features_of(states, schema), features_of(given, schema)
    z = (z - own.mean(axis=0)) / own.std(axis=0)
    pairs = [(i, j) for i in range(7) for j in range(i + 1, 7) if column[i] != column[j]]
    return np.column_stack([z, *(z[:, i] * z[:, j] for i, j in pairs)])


def exact_tilt(log_p, f, target, n):
    """Return the distribution at the maximum of the posterior of lambda, which Newton's method finds."""

    def loss(strength):
        return np.logaddexp.reduce(log_p + f @ strength) - strength @ target + strength @ strength / (2 * n)

    strength = np.zeros(f.shape[1])
    for _ in range(50):
        exponents = log_p + f @ strength
        p = np.exp(exponents - np.logaddexp.reduce(exponents))
        slope = p @ f - target + strength / n
        curvature = (f * p[:, None]).T @ f - np.outer(p @ f, p @ f) + np.eye(len(strength)) / n
        step = np.linalg.solve(curvature, slope)
        while loss(strength - step) > loss(strength) + 1e-12:
            step /= 2
        strength -= step
    assert np.abs(slope).max() < 1e-9
    return p


def given_rows(schema, n, seed=1):
    """Return encoded rows, and the same with a value where it is missing."""
    rows = schema.encode(table(n, seed), dtype=np.float64)
    whole = np.where(np.isnan(rows), 0.0, rows)
    assert (np.isnan(rows).any(axis=1) == (rows[:, 11] == 1)).all()
    return rows, whole


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_samples_follow_the_tilted_distribution(bk, schema, temperature):
    """The frequencies of all 72 states; 5 standard errors are exceeded with a probability below 1e-4."""
    weights = exact.tiny(12, 3, visible=schema.visible, seed=2, spread=0.4)
    given, whole = given_rows(schema, 300)
    states = exact.visible_states(weights)
    cold = exact.tiny(12, 3, visible=schema.visible, seed=2, spread=0.4 / temperature)
    log_p = -exact.free_energy(cold, states)
    f, target = values_of(states, whole, schema), values_of(whole, whole, schema).mean(axis=0)
    p = exact_tilt(log_p, f, target, len(given))
    n = 20_000
    rows = matched_rows(
        weights, np.zeros((7, 3)), given, schema, n, 100, bk, bk.rng(stream(3)), temperature=temperature,
        random=np.random.default_rng(4),
    )  # fmt: skip
    assert rows.shape == (n, 12)
    found = (rows @ states.T == 4).mean(axis=0)
    assert found.sum() == pytest.approx(1)
    before = np.exp(log_p - np.logaddexp.reduce(log_p))
    # Of each pool row's factor, and of the choice among pool rows, of which there are four for each row.
    error = np.sqrt(p * (1 - p) / n * (1 + 0.25 * np.maximum(1, p / before)))
    assert (np.abs(found - p) <= 5 * error + 1e-4).all()
    assert (np.abs(found - before) > 20 * error).any()


def test_factors_are_those_of_the_maximum_of_the_posterior(schema):
    """Few rows and many; the drawn rows are the distribution."""
    rng = np.random.default_rng(5)
    states = exact.visible_states(exact.tiny(12, 3, visible=schema.visible))
    drawn = states[rng.integers(0, len(states), 3000)]
    norms = []
    for n in (30, 3000):
        _, whole = given_rows(schema, n)
        f, target = values_of(drawn, whole, schema), values_of(whole, whole, schema).mean(axis=0)
        p = exact_tilt(np.zeros(len(drawn)), f, target, n)
        found = Tilt(PairMoments.of(schema), drawn, whole).probabilities(drawn)
        np.testing.assert_allclose(found, p, rtol=0.02, atol=1e-5)  # 1/3000 on average
        norms.append(np.linalg.norm(p @ f - target))
    assert norms[1] < 0.1 * norms[0]  # more rows are matched more closely


def test_features_that_are_constant_in_the_given_rows_are_left_out(schema):
    rng = np.random.default_rng(6)
    states = exact.visible_states(exact.tiny(12, 3, visible=schema.visible))
    drawn, (_, whole) = states[rng.integers(0, len(states), 3000)], given_rows(schema, 300)
    one = whole[whole[:, 0] == 1]
    tilt = Tilt(PairMoments.of(schema), drawn, one)
    assert len(tilt.strength) == 5 + 2 * 3  # of size, count and missing alone, and of pairs with size
    p = tilt.probabilities(drawn)
    np.testing.assert_allclose(p @ drawn[:, 3:7], one[:, 3:7].mean(axis=0), atol=0.03)
    assert p @ drawn[:, 1] > 0.2


def test_models_of_tables_match_given_rows():
    data, other = table(200), table(400, 8).query("kind != 'a' or size == 0")
    for model in (RBM(4, n_iter=30, random_state=0), DBN((4,), rbm=RBM(n_iter=30), random_state=0)):
        model.fit(data)
        how = {"n_steps": 100, "missing": True, "random_state": 1}
        drawn, plain = model.sample(3000, match=other, **how), model.sample(3000, **how)
        pd.testing.assert_series_equal(drawn.dtypes, data.dtypes)
        assert drawn.equals(model.sample(3000, match=other, **how))
        wanted, *found = (np.corrcoef(rows["kind"] == "c", rows["size"])[0, 1] for rows in (other, drawn, plain))
        assert abs(found[0] - wanted) < 0.06 < abs(found[1] - wanted)
        assert drawn["count"].isna().mean() == pytest.approx(other["count"].isna().mean(), abs=0.04)


def test_a_table_to_match_has_at_least_two_rows():
    data = table(60)
    for model in (RBM(3, n_iter=2, random_state=0), DBN((3,), rbm=RBM(n_iter=2), random_state=0)):
        model.fit(data)
        one = {name: data[name][:1] for name in data}
        for given in (data[:1], one, as_source(model.schema_.encode(one))):
            with pytest.raises(DataError, match=r"^match must have at least 2 rows, got 1\. Match the training rows"):
                model.sample(2, match=given)
        assert len(model.sample(2, n_steps=2, match=data[:2])) == 2


def test_what_cannot_be_matched_is_refused():
    data = table(60)
    rbm = RBM(3, n_iter=2, random_state=0).fit(data)
    with pytest.raises(SettingError, match="either clamp or match"):
        rbm.sample(2, match=data, clamp={"kind": "a"})
    with pytest.raises(SettingError, match="plain Gibbs sampling, got method='pt'"):
        rbm.sample(2, match=data, method="pt")
    with pytest.raises(ValueError, match="count"):
        rbm.sample(2, match=data[["kind"]])
    with pytest.raises(SettingError, match="match is for models of tables of mixed columns"):
        RBM(2, n_iter=1).fit(np.eye(4)).sample(2, match=np.eye(4))
    with pytest.raises(SettingError, match="match is for models with one hidden layer, got 2"):
        DBN((3, 2), rbm=RBM(n_iter=1), random_state=0).fit(data).sample(2, match=data)
