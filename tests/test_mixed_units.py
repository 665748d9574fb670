"""Visible layers of several unit types, against sums over every state in float64."""

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest
from exact import states
from scipy import sparse

from deepbelief import DBN, RBM, DBNClassifier, RBMClassifier, load, save
from deepbelief.errors import DataError, DataWarning, SettingError
from deepbelief.likelihood import exact_log_z, log_likelihood, pseudo_log_likelihood
from deepbelief.likelihood.exact import double_machine
from deepbelief.sources import as_source, exclusive_groups
from deepbelief.sources.one_hot import one_hot_groups
from deepbelief.stack import Weights
from deepbelief.units import Bernoulli, Gaussian, Parts, Softmax, get_unit, joined

MIXED = "parts:softmax:3,3;bernoulli*2;gaussian*2"
UNITS = [slice(0, 3), slice(3, 6), *(slice(i, i + 1) for i in range(6, 10))]
PATTERNS = np.array(list(itertools.product([False, True], repeat=len(UNITS))))


def tiny(seed=0):
    rng = np.random.default_rng(seed)
    return Weights(*(rng.normal(0, 0.8, shape) for shape in ((10, 3), 10, 3)), MIXED)


def some_row(seed=0):
    rng = np.random.default_rng(seed)
    groups = [np.eye(3)[rng.integers(3)], np.eye(3)[rng.integers(3)]]
    return np.concatenate([*groups, (rng.random(2) < 0.5).astype(float), rng.normal(size=2)])


def unit_terms(weights, row):
    """Return the log-weights of each unit's value and of the sum over its values, for every hidden state."""
    field = states(3) @ weights.W.T
    value, total = [], []
    for i, columns in enumerate(UNITS):
        x, b, v = field[:, columns], weights.vbias[columns], row[columns]
        if i < 4:  # energy -b v
            value.append((x + b) @ v)
            options = np.eye(3) if i < 2 else np.array([[0.0], [1.0]])
            total.append(np.logaddexp.reduce((x + b) @ options.T, axis=1))
        else:  # energy (v - b)^2 / 2
            value.append((x * v - (v - b) ** 2 / 2)[:, 0])
            total.append((x * b + x**2 / 2 + np.log(2 * np.pi) / 2)[:, 0])
    return np.array(value), np.array(total)


def marginals(weights, row):
    """Return log p(what is there) of a row, for every pattern of holes."""
    value, total = unit_terms(weights, row)
    own = states(3) @ weights.hbias
    log_z = np.logaddexp.reduce(own + total.sum(axis=0))
    return np.logaddexp.reduce(own + ~PATTERNS @ value + PATTERNS @ total, axis=1) - log_z


def holes(row):
    gone = np.repeat(PATTERNS, [s.stop - s.start for s in UNITS], axis=1)
    return np.where(gone, np.nan, row)


def test_free_energy_conditionals_and_log_z(bk):
    weights, row = tiny(), some_row()
    machine, (value, total) = double_machine(weights, bk), unit_terms(weights, row)
    H, v = states(3), bk.asarray(row[None])
    log_p = H @ weights.hbias + value.sum(axis=0)
    assert bk.to_numpy(machine.free_energy(v))[0] == pytest.approx(-np.logaddexp.reduce(log_p), abs=1e-10)
    p = np.exp(log_p - np.logaddexp.reduce(log_p))
    np.testing.assert_allclose(bk.to_numpy(machine.mean_hidden(v))[0], p @ H, atol=1e-10)
    assert exact_log_z(weights) == pytest.approx(np.logaddexp.reduce(H @ weights.hbias + total.sum(axis=0)), abs=1e-10)
    mean = bk.to_numpy(machine.mean_visible(bk.asarray(H)))
    x = H @ weights.W.T + weights.vbias
    e = np.exp(x)
    right = [e[:, :3] / e[:, :3].sum(axis=1, keepdims=True), e[:, 3:6] / e[:, 3:6].sum(axis=1, keepdims=True)]
    np.testing.assert_allclose(mean, np.hstack([*right, 1 / (1 + 1 / e[:, 6:8]), x[:, 8:]]), atol=1e-10)


def test_likelihood_of_every_pattern_of_holes(bk):
    weights, row = tiny(1), some_row(1)
    found = log_likelihood(weights, holes(row), backend=bk)
    np.testing.assert_allclose(found.rows, marginals(weights, row), atol=1e-10)
    assert not found.is_bound


def test_gradient_of_every_pattern_of_holes(bk):
    """The engine's statistics of rows completed given each hidden state, less the model's, below 1e-6."""
    weights, row, step = tiny(2), some_row(2), 1e-5
    machine, H = double_machine(weights, bk), states(3)
    value, total = unit_terms(weights, row)
    mean = bk.to_numpy(machine.mean_visible(bk.asarray(H)))

    def statistics(log_p, v):
        out = tuple(bk.xp.empty_like(p) for p in machine.params)
        p = np.exp(log_p - np.logaddexp.reduce(log_p))
        product, *biases = machine.statistics(bk.asarray(v), bk.asarray(H.copy()), bk.asarray(p[:, None]), out)
        return np.concatenate([bk.to_numpy(each).ravel().copy() for each in (product.array(bk), *biases)])

    own = H @ weights.hbias
    model = statistics(own + total.sum(axis=0), mean)
    found = []
    for gone, known in zip(PATTERNS, holes(row), strict=True):
        log_p = own + ~gone @ value + gone @ total
        found.append(statistics(log_p, np.where(np.isnan(known), mean, known)) - model)
    right = []
    for name in ("W", "vbias", "hbias"):
        array = getattr(weights, name)
        for place in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = array.copy()
                moved[place] += sign * step
                ends.append(marginals(replace(weights, **{name: moved}), row))
            right.append((ends[1] - ends[0]) / (2 * step))
    np.testing.assert_allclose(found, np.array(right).T, atol=1e-6)


def test_pseudo_likelihood_of_bits_beside_groups():
    weights = replace(tiny(3), visible="parts:softmax:3,3;bernoulli*4")
    row = np.concatenate([np.eye(3)[1], np.eye(3)[2], [0.0, 1, 1, 0]])

    def log_p(v):
        x = v @ weights.W + weights.hbias
        return v @ weights.vbias + np.logaddexp(0, x).sum()

    right = 0.0
    for columns in UNITS:
        others = []
        for option in np.eye(3) if columns.stop - columns.start == 3 else ([0.0], [1.0]):
            v = row.copy()
            v[columns] = option
            others.append(log_p(v))
        right += log_p(row) - np.logaddexp.reduce(others)
    assert pseudo_log_likelihood(weights, row[None])[0] == pytest.approx(right, abs=1e-9)


def mixed_rows(n=300, seed=0):
    """Return two numbers, two bits and a category, of which all but one number depend on the category."""
    rng = np.random.default_rng(seed)
    c = rng.integers(3, size=n)
    bits = (rng.random((2, n)) < np.array([0.1, 0.5, 0.9])[c]).astype(float)
    return np.column_stack([rng.normal(10 * c, 3) + 100, rng.normal(0, 1e3, n), *bits, np.eye(3)[c]])


SPEC = "parts:gaussian*2;bernoulli*2;softmax:3"


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [{}, {"learn_variance": True}, {"gradient": "pcd", "solver": "adam", "learning_rate": 0.01}]
)
def test_a_mixed_machine_learns_and_fills_in(more, tmp_path):
    X = mixed_rows(200)
    rbm = RBM(6, visible=SPEC, n_iter=60, random_state=0, **more).fit(X)
    scale = rbm.weights_.scale
    assert (scale[2:] == 1).all()  # of bits and categories
    assert scale[1] == pytest.approx(X[:, 1].std(), rel=1 if more.get("learn_variance") else 1e-5)
    independent = RBM(1, visible=SPEC, n_iter=1, learning_rate=1e-9, random_state=0).fit(X)
    assert rbm.log_likelihood(X).mean > independent.log_likelihood(X).mean + 0.5
    gone = X.copy()
    gone[:, 4:] = np.nan
    filled = rbm.impute(gone, random_state=0)
    assert (filled[:, 4:].argmax(axis=1) == X[:, 4:].argmax(axis=1)).mean() > 0.7
    np.testing.assert_array_equal(filled[:, :4], X[:, :4])
    save(rbm, tmp_path / "mixed.h5")
    np.testing.assert_array_equal(load(tmp_path / "mixed.h5").transform(X), rbm.transform(X))
    assert rbm.sample(20, n_steps=20, random_state=0)[:, 0].mean() == pytest.approx(110, abs=10)


def test_mixed_rows_with_holes_and_classes():
    X, rng = mixed_rows(), np.random.default_rng(1)
    X[rng.random(len(X)) < 0.3, 0] = np.nan
    X[rng.random(len(X)) < 0.3, 4:] = np.nan
    labels = X[:, 2].astype(int)
    template = RBM(visible=SPEC, n_iter=5)
    assert DBNClassifier((8,), rbm=template, max_iter=20, random_state=0).fit(X, labels).score(X, labels) > 0.9
    joint = RBMClassifier(8, rbm=RBM(visible=SPEC, n_iter=20), random_state=0).fit(mixed_rows(), labels)
    assert joint.score(mixed_rows(), labels) > 0.9


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("parts:", "unknown unit type"),
        ("parts:gaussian", "numbers of columns"),
        ("parts:gaussian*2;bernoulli*0", "numbers of columns"),
        ("parts:gaussian*2;bernoulli*-1", "numbers of columns"),
        ("parts:softmax:3*2", "sum to 3, not to 2"),
        ("parts:softmax:3", "have 3 columns, the rows have 7"),
    ],
)
def test_wrong_parts_are_refused(spec, message):
    with pytest.raises(SettingError, match=message):
        RBM(2, visible=spec, n_iter=1).fit(mixed_rows(20))


@pytest.mark.parametrize(("row", "column", "value"), [(5, 3, 7.0), (4, 4, 0.5)])
def test_a_foreign_value_is_named(row, column, value):
    X = mixed_rows(20)
    X[row, column] = value
    with pytest.raises(DataError, match=f"row {row}, column {column} "):
        RBM(2, visible=SPEC, n_iter=1).fit(X)


def test_names_lead_back_to_parts():
    unit = Parts(((Gaussian(), 2), (Softmax((3, 2)), 5), (Softmax(), 4)))
    assert unit.spec == "parts:gaussian*2;softmax:3,2;softmax*4"
    assert get_unit(unit.spec) == unit
    assert unit.group_sizes(11) == (1, 1, 3, 2, 4)
    assert joined(iter([(Bernoulli(), 1), (Bernoulli(), 2)])) == Bernoulli()
    assert get_unit(f"labelled:{unit.spec},3").data == unit
    with pytest.raises(SettingError, match="single type"):
        Parts(((unit, 11),))


def test_one_hot_groups_are_found_and_told(tmp_path):
    X, rng = mixed_rows(), np.random.default_rng(2)
    wanted = "parts:gaussian*2;bernoulli*2;softmax:3"
    rbm = RBM(4, visible="groups", n_iter=2, random_state=0).fit(X)
    assert rbm.weights_.visible == wanted
    assert rbm.resolved_["visible"].value == wanted
    assert RBM(4, visible="groups", n_iter=2, random_state=0).partial_fit(X).weights_.visible == wanted
    assert RBM(4, visible="groups", n_iter=2, random_state=0).fit(sparse.csr_array(X)).weights_.visible == wanted
    gone = X.copy()
    gone[rng.random(len(X)) < 0.3, 4:] = np.nan  # as a whole
    assert RBM(4, visible="groups", n_iter=2, random_state=0).fit(gone).weights_.visible == wanted
    save(rbm, tmp_path / "groups.h5")
    assert load(tmp_path / "groups.h5").visible == "groups"
    template = RBM(visible="groups", n_iter=2)
    classes = X[:, 2].astype(int)
    assert DBN((4, 2), rbm=template, random_state=0).fit(X).stack_.layers[0].visible == wanted
    joint = RBMClassifier(4, rbm=template, random_state=0).fit(X, classes)
    assert joint.weights_.visible == f"labelled:{wanted},2"


@pytest.mark.parametrize(
    ("sizes", "broken"), [((3, 2, 4), None), ((5,), None), ((3, 2, 4), (7, 1)), ((2, 2), (0, 3)), ((1, 3), None)]
)
def test_groups_are_those_that_no_row_breaks(sizes, broken):
    rng = np.random.default_rng(0)
    X = np.hstack([np.eye(size)[rng.integers(size, size=60)] for size in sizes])
    ends = np.cumsum(sizes)
    right = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True) if size > 1]
    if broken is not None:
        X[broken] = 1 - X[broken]
        right = [s for s in right if not s.start <= broken[1] < s.stop]
    assert one_hot_groups(as_source(X)) == right
    X[:, 0] = X[:, 0] * 0.5  # no bits any more
    assert one_hot_groups(as_source(X)) == [s for s in right if s.start > 0]


def test_rows_that_break_a_group_are_told():
    rng = np.random.default_rng(0)
    X = np.hstack([np.eye(4)[rng.integers(4, size=300)], np.eye(3)[rng.integers(3, size=300)]])
    X[5, :2], X[9, :4], X[7, 4:] = 1, 0, 0
    with pytest.warns(
        DataWarning, match="columns 0 to 3 in all rows but 2, such as row 5; columns 4 to 6 in all .*row 7"
    ):
        assert one_hot_groups(as_source(X), tell=True) == []
    X[20:, 0] = 1 - X[20:, 0]
    with pytest.warns(DataWarning, match="not taken as groups: columns 4 to 6 in all rows but 1, such as row 7"):
        one_hot_groups(as_source(X), tell=True)
    X[7, 5] = 1
    nearly_constant = np.column_stack([np.arange(300) > 1, np.arange(300) == 0, np.arange(300) == 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert one_hot_groups(as_source(X), tell=True) == [slice(4, 7)]
        one_hot_groups(as_source(nearly_constant.astype(float)), tell=True)
        one_hot_groups(as_source((rng.random((300, 8)) < 0.3).astype(float)), tell=True)
    many = np.eye(3)[rng.integers(0, 3, (300, 9))].reshape(300, -1)
    many[7] = 0
    with pytest.warns(DataWarning, match=r"columns 12 to 14 in all rows but 1, such as row 7; and 4 more groups"):
        one_hot_groups(as_source(many), tell=True)


def test_columns_of_other_values_make_no_group():
    X = np.zeros((8, 2))
    X[0, 0] = X[1, 1] = 2  # the sum of squares is the number of rows, as for one 1 in each
    assert one_hot_groups(as_source(X)) == []


def test_groups_that_are_not_there_are_told():
    X = (np.random.default_rng(0).random((40, 4)) < 0.5).astype(float)
    with pytest.warns(DataWarning, match="no group of columns"):
        assert RBM(2, visible="groups", n_iter=1, random_state=0).fit(X).weights_.visible == "bernoulli"
    for more in ({"scale": "minmax"}, {"binarize": "sample"}):
        with pytest.raises(SettingError):
            RBM(2, visible="groups", n_iter=1, **more).fit(X)


def interleaved(n=240, seed=0):
    """Return rows of two groups whose columns alternate, the last of one left out, and two independent bits."""
    rng = np.random.default_rng(seed)
    colour, size = rng.integers(3, size=n), rng.integers(4, size=n)
    rows = np.hstack([np.eye(3)[colour], np.eye(4)[size], rng.random((n, 2)) < 0.5])
    return rows[:, [0, 3, 7, 1, 4, 2, 5, 8]].astype(np.float32)


def test_columns_that_exclude_each_other_form_groups():
    X = interleaved()
    found = exclusive_groups(X)
    assert found.groups == ((1, 4, 6), (0, 3, 5))
    assert found.optional == (True, False)
    assert (found.single, found.sizes, found.visible) == ((2, 7), (4, 3), "parts:softmax:4,3;bernoulli*2")
    encoded = found.encode(X)
    np.testing.assert_array_equal(encoded[:, :4].sum(axis=1), 1)
    np.testing.assert_array_equal(encoded[:, 4:7].sum(axis=1), 1)
    np.testing.assert_array_equal(encoded[:, 7:], X[:, [2, 7]])
    np.testing.assert_array_equal(found.decode(encoded), X)
    assert exclusive_groups(sparse.csr_array(X)) == found
    rbm = RBM(4, visible=found.visible, n_iter=2, random_state=0).fit(encoded)
    assert rbm.weights_.n_visible == 9


def test_columns_exclude_each_other_by_chance_too():
    rng = np.random.default_rng(0)
    X = (rng.random((400, 100)) < 0.03).astype(float)
    together = X.T @ X
    assert (together[np.triu_indices(100, 1)] == 0).sum() > 1000
    assert exclusive_groups(X).groups == ()


def test_groups_hold_in_further_rows():
    found, X = exclusive_groups(interleaved()), interleaved(seed=1)
    assert found.holding(X) == found
    none, two = X.copy(), X.copy()
    none[3, [0, 3, 5]] = 0
    assert found.holding(none).optional == (True, True)
    two[5, [1, 4, 6]] = [1, 1, 0]
    assert found.holding(two).groups == ((0, 3, 5),)
    assert found.holding(two).visible == "parts:softmax:3;bernoulli*5"
    np.testing.assert_array_equal(found.holding(two).decode(found.holding(two).encode(two)), two)
    for rows, message in ((none, "row 3 has 0 ones"), (two, "row 5 has 2 ones")):
        with pytest.raises(DataError, match=message):
            found.encode(rows)
    with pytest.raises(DataError, match="X has 3 columns"):
        found.encode(X[:, :3])
    with pytest.raises(DataError, match=r"row 0, column 1 is 0\.5"):
        exclusive_groups(np.array([[1.0, 0.5]]))


def with_ones(n, *ones):
    """Return n rows whose columns are 1 in these rows."""
    X = np.zeros((n, len(ones)))
    for column, rows in enumerate(ones):
        X[list(rows), column] = 1
    return X


NONE = range(0)


@pytest.mark.parametrize(
    ("n", "ones", "groups"),
    [
        (200, [range(40), range(40, 80)], ((0, 1),)),  # 8 rows are expected together; log(1,000) = 6.9
        (6, [range(3), range(3, 6)], ((0, 1),)),  # neighbours of which one is 1 in every row, however few
        (200, [range(40), range(40, 80), NONE, NONE, NONE], ()),  # of 10 pairs: log(10,000) = 9.2
        # The third is expected to be 1 with each of the others in 6 rows, with both in 12; log(3,000) = 8.0.
        (300, [range(90), range(90, 180), range(180, 200)], ((0, 1, 2),)),
        (300, [range(90), range(90, 180), range(180, 192)], ((0, 1),)),  # 7.2
        (300, [range(90), range(90, 180), range(179, 269)], ((0, 1),)),  # the third is 1 with the second once
        (400, [range(100), range(100, 200), [199, *range(200, 259)], [198, *range(260, 319)]], ((0, 1), (2, 3))),
        (400, [range(100), range(100, 200), [0, *range(200, 249)], [1, *range(250, 299)]], ((0, 1),)),  # 6.25 < 8.7
    ],
)
def test_columns_are_joined_that_would_coincide_by_chance(n, ones, groups):
    assert exclusive_groups(with_ones(n, *ones)).groups == groups


def test_rows_that_always_have_a_state_keep_the_one_for_none():
    found, X = exclusive_groups(interleaved()), interleaved(seed=1)
    always = X[X[:, [1, 4, 6]].sum(axis=1) == 1]
    assert found.holding(always) == found


def test_a_row_that_breaks_a_group_is_named_in_any_block():
    found, X = exclusive_groups(interleaved()), interleaved(1500, seed=2)
    X[1400, [1, 4, 6]] = 1
    with pytest.raises(DataError, match="row 1400 has 3 ones") as caught:
        found.encode(X)
    assert (caught.value.row, caught.value.column, caught.value.value) == (1400, 1, 3.0)
    assert exclusive_groups(interleaved(1500)).groups == found.groups  # more rows than a block has
    X[1400, 1] = 2
    with pytest.raises(DataError, match="row 1400, column 1 is 2") as caught:
        exclusive_groups(X)
    assert (caught.value.row, caught.value.column, caught.value.value) == (1400, 1, 2.0)
    with pytest.raises(DataError, match="at most 8192 columns, got 8193"):
        exclusive_groups(np.zeros((1, 8193)))
