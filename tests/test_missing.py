"""Training rows with missing values: what is learned is the likelihood of the values that are there."""

import itertools

import numpy as np
import pytest
from exact import energies, hidden_given, states, tiny, visible_states
from scipy.special import expit
from sklearn.base import clone
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, DBNRegressor, load, save
from deepbelief.backends.gaps import fill
from deepbelief.completion import SETTLED, mean_field
from deepbelief.components import Missing, Parts, TrainingStep
from deepbelief.errors import DataError
from deepbelief.gradients import PhaseBuffers
from deepbelief.machine import Machine
from deepbelief.seeds import stream
from deepbelief.sources import as_source, check_domain, check_groups, column_statistics, with_weights
from deepbelief.units import get_unit

GROUPS = (3, 2, 4)
SPEC = "softmax:3,2,4"


def one_hot(n=300, share=0.3, seed=0):
    """Return rows of three categories that go together, whole and with groups missing."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, n)
    cells = [np.where(rng.random(n) < 0.85, kind * (size - 1), rng.integers(0, size, n)) for size in GROUPS]
    whole = np.hstack([np.eye(size)[cell] for size, cell in zip(GROUPS, cells, strict=True)])
    holes = whole.copy()
    for start, size in zip(np.cumsum((0, *GROUPS[:-1])), GROUPS, strict=True):
        holes[rng.random(n) < share, start : start + size] = np.nan
    return whole, holes


def chains(machine, bk, known, n, n_updates, after=lambda parts, v: None):
    """Return the component after updates with the same rows, which it has completed, and these rows."""
    step = TrainingStep(machine, PhaseBuffers(bk, machine), n)
    step.total = step.n_rows = n
    step.rows, step.rng = bk.asarray(np.arange(n)), bk.rng(stream(0))
    parts = Parts([Missing()], step)
    parts.call("begin")
    rows = bk.asarray(np.tile(known, (n, 1)))
    for _ in range(n_updates):
        v = step.phases.visible(n)
        v[...] = rows
        parts.call("before_gradient")
        after(parts, v)
    return parts, v


def observed_moments(weights, known):
    """Return E[v] and E[v h] given the values that are there, by the sum over every state."""
    free, H = np.isnan(known), states(weights.n_hidden)
    if weights.visible == "gaussian":
        held = np.where(free, 0, known)
        log_p = H @ weights.hbias + (H @ weights.W.T) @ held
        field = (H @ weights.W.T)[:, free]
        log_p += field @ weights.vbias[free] + (field**2).sum(axis=1) / 2
        p = np.exp(log_p - np.logaddexp.reduce(log_p))
        means = np.where(free, H @ weights.W.T + weights.vbias, known)
        return p @ means, (means * p[:, None]).T @ H
    V = visible_states(weights)
    V = V[(V[:, ~free] == known[~free]).all(axis=1)]
    log_p = -np.logaddexp.reduce(-energies(weights, V, H), axis=1)
    p = np.exp(-log_p - np.logaddexp.reduce(-log_p))
    return p @ V, (V * p[:, None]).T @ hidden_given(weights, V)


@case_by_case(
    ("visible", "known"),
    [
        ("bernoulli", [1, np.nan, np.nan, 0, np.nan]),
        ("softmax:3,2", [np.nan, np.nan, np.nan, 0, 1]),
        ("softmax:3,2", [np.nan] * 5),
        ("gaussian", [1.5, np.nan, np.nan, -0.7, np.nan]),
    ],
)
def test_completed_rows_have_the_moments_given_what_is_there(visible, known, bk):
    """4,000 chains after 30 updates: within five of their own standard errors of the sums over every state."""
    n, known = 4000, np.array(known, float)
    weights = tiny(5, 3, visible=visible, spread=1.0, seed=3)
    machine = Machine(weights, bk)
    # The component sees the hidden means as the gradient shows them.
    parts, v = chains(machine, bk, known, n, 30, lambda parts, v: parts.call("observe", machine.mean_hidden(v)))
    found = bk.to_numpy(v)
    pairs = found[:, :, None] * bk.to_numpy(machine.mean_hidden(v))[:, None, :]
    mean, products = observed_moments(weights, known)
    assert (found[:, ~np.isnan(known)] == known[~np.isnan(known)]).all()
    for values, truth in ((found, mean), (pairs, products)):
        error = 5 * values.std(axis=0) / np.sqrt(n) + 1e-12
        assert (np.abs(values.mean(axis=0) - truth) < error).all()
    parts.call("end")
    assert parts.state["missing"] == {}


def test_completed_rows_are_the_state_beside_real_hidden_units(bk):
    """4,000 chains after 60 updates, with hidden units whose states are not kept."""
    n, known = 4000, np.array([1, np.nan, np.nan, 0, np.nan])
    weights = tiny(5, 3, hidden="gaussian", spread=0.5, seed=3)
    machine = Machine(weights, bk)
    _, v = chains(machine, bk, known, n, 60)
    found, V = bk.to_numpy(v), visible_states(weights)
    V = V[(known == V)[:, ~np.isnan(known)].all(axis=1)]
    log_p = V @ weights.vbias + np.square(V @ weights.W + weights.hbias).sum(axis=1) / 2
    p = np.exp(log_p - np.logaddexp.reduce(log_p))
    pairs = (found[:, :, None] * found[:, None]).mean(axis=0)
    np.testing.assert_allclose(pairs, (V * p[:, None]).T @ V, atol=5 * 0.5 / np.sqrt(n))


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["pcd", pytest.param("exact", marks=pytest.mark.slow)])
def test_learning_gets_near_what_whole_rows_teach(gradient):
    """Half of the gap between independent groups and whole rows is closed by rows with 30 % holes."""
    whole, holes = one_hot()
    settings = {"visible": SPEC, "learning_rate": 0.3, "batch_size": 50, "n_iter": 100, "random_state": 0}
    found, best = (RBM(6, gradient=gradient, **settings).fit(X).log_likelihood(whole).mean for X in (holes, whole))
    starts = np.cumsum((0, *GROUPS[:-1]))
    p = whole.mean(axis=0)
    independent = sum(p[s : s + n] @ np.log(p[s : s + n]) for s, n in zip(starts, GROUPS, strict=True))
    assert best > independent + 0.5
    assert found > (independent + best) / 2


def test_rows_without_any_value_change_nothing_but_the_average():
    """With rows of which nothing is known half of them, an update moves the weights by half, in the mean."""
    moved = []
    for extra in (0, 40):
        rng = np.random.default_rng(0)
        rows = np.vstack([(rng.random((40, 4)) < 0.8).astype(float), np.full((extra, 4), np.nan)])
        step = []
        for seed in range(60):
            rbm = RBM(
                3, visible="bernoulli", gradient="exact", n_iter=1, batch_size=40 + extra, learning_rate=0.5,
                momentum=0.0, weight_decay=0.0, random_state=seed,
            ).fit(rows)  # fmt: skip
            step.append(rbm.weights_.vbias - rbm.weights_.visible_unit.initial_bias(rbm.weights_.visible_mean))
        moved.append(np.mean(step, axis=0))
    assert np.abs(moved[1] - moved[0] / 2).max() < 0.01


def test_whole_rows_train_as_if_nothing_could_be_missing():
    whole, _ = one_hot()
    rbm = RBM(4, visible=SPEC, n_iter=2, random_state=0).fit(whole)
    assert "missing" not in rbm._state.arrays


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_columns_are_judged_by_what_is_there(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(5, [1, 3], (500, 2)) if kind == "gaussian" else (rng.random((500, 2)) < 0.3).astype(float)
    holes = np.where(rng.random(X.shape) < 0.3, np.nan, X)
    found = column_statistics(as_source(holes), missing=True)
    np.testing.assert_allclose(found.mean, np.nanmean(holes, axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.var, np.nanvar(holes, axis=0), rtol=1e-10)
    assert found.min.tolist() == np.nanmin(holes, axis=0).tolist()
    assert found.max.tolist() == np.nanmax(holes, axis=0).tolist()
    assert found.present.tolist() == (~np.isnan(holes)).sum(axis=0).tolist()
    rbm = RBM(3, n_iter=1, random_state=0).fit(holes)
    assert rbm.weights_.visible == kind
    if kind == "gaussian":
        np.testing.assert_allclose(rbm.weights_.mean, np.nanmean(holes, axis=0))
        np.testing.assert_allclose(rbm.weights_.scale, np.nanstd(holes, axis=0))


@case_by_case("shape", [(1, 1), (3, 7), (100, 501)])
@case_by_case("dtype", [np.float32, np.float64])
def test_gaps_are_filled_and_nothing_else_changes(shape, dtype, bk, loops):
    rng = np.random.default_rng(0)
    v, values = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    for odd in (np.nan, np.inf, -np.inf, -0.0):
        v[rng.random(shape) < 0.3] = odd
        values[rng.random(shape) < 0.1] = odd
    v[-1, -1] = np.nan
    truth, on_device = np.where(np.isnan(v), values, v), bk.asarray(v.copy())
    fill(bk.xp, on_device, bk.asarray(values))
    assert bk.to_numpy(on_device).tobytes() == truth.tobytes()
    own = v.copy()
    fill(np, own[:, ::2], values[:, ::2])
    np.testing.assert_array_equal(own[:, ::2], truth[:, ::2])
    np.testing.assert_array_equal(own[:, 1::2], v[:, 1::2])


@case_by_case("n_steps", [1, 2, 3, 9, 10, 100])
def test_a_mean_field_takes_the_means_of_both_sides_in_turn(n_steps, bk):
    weights = tiny(4, 3, spread=1.5)
    known = np.array([[1, np.nan, np.nan, 0], [np.nan] * 4, [1, 0, 1, 1]])
    free = np.isnan(known)
    v = np.where(free, expit(weights.vbias), known)
    for _ in range(n_steps):
        v = np.where(free, expit(expit(v @ weights.W + weights.hbias) @ weights.W.T + weights.vbias), known)
    found = bk.to_numpy(mean_field(Machine(weights, bk), bk.asarray(known), n_steps))
    np.testing.assert_allclose(found, v, atol=1e-12 if n_steps < 10 else SETTLED)


def gappy_columns(dtype, n=700):
    """Return columns with gaps of several kinds, in three of the blocks that statistics take together."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 70)).astype(dtype)
    X[:, 1] = 1e6 + rng.integers(0, 3, n)  # exact in float32
    X[:, 2] = dtype(0.1)
    X[:, 68] = rng.choice([0, 1], n)
    X[rng.random(X.shape) < 0.3] = np.nan
    X[:, 3] = np.where(np.arange(n) == n - 5, dtype(7.5), np.nan)  # a single value, in the last block
    X[:300, 4] = np.nan  # none in the first block
    X[:, 5] = rng.normal(size=n)  # no gap
    X[:200, 69] = np.nan
    return X


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_statistics_are_those_of_the_values_that_are_there(dtype, loops):
    X = gappy_columns(dtype)
    exact = X.astype(np.float64)
    found = column_statistics(as_source(X), missing=True)
    assert found.n == len(X)
    assert found.present.tolist() == (~np.isnan(X)).sum(axis=0).tolist()
    np.testing.assert_allclose(found.mean, np.nanmean(exact, axis=0), rtol=1e-12, atol=1e-15)
    shifted = exact - np.nanmin(exact, axis=0)  # NumPy's own sums would lose digits to the offset
    np.testing.assert_allclose(found.var, np.nanvar(shifted, axis=0), rtol=1e-9, atol=1e-30)
    assert found.var[[2, 3]].tolist() == [0, 0]
    assert found.constant(dtype)[2:6].tolist() == [True, True, False, False]
    assert found.min.tolist() == np.nanmin(exact, axis=0).tolist()
    assert found.max.tolist() == np.nanmax(exact, axis=0).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_statistics_of_weighted_rows_with_gaps_are_those_of_repeated_rows(dtype, loops):
    X, weights = gappy_columns(dtype), np.random.default_rng(1).integers(1, 4, 700)
    found = column_statistics(with_weights(as_source(X), weights), missing=True)
    repeated = np.repeat(X, weights, axis=0).astype(np.float64)
    assert found.present.tolist() == (~np.isnan(repeated)).sum(axis=0).tolist()
    np.testing.assert_allclose(found.mean, np.nanmean(repeated, axis=0), rtol=1e-12, atol=1e-12)
    shifted = repeated - np.nanmin(repeated, axis=0)
    np.testing.assert_allclose(found.var, np.nanvar(shifted, axis=0), rtol=1e-6, atol=1e-12)
    assert found.max.tolist() == np.nanmax(repeated, axis=0).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_rows_have_the_same_statistics_where_values_may_be_missing(dtype, loops):
    X = np.random.default_rng(0).normal(3, 2, (700, 70)).astype(dtype)
    found, whole = (column_statistics(as_source(X), missing=missing) for missing in (True, False))
    assert found.present is None
    for name in ("mean", "var", "min", "max"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinities_among_gaps_are_named(dtype, value, loops):
    for column in (0, 3, 69):  # beside values, as the first value, and behind gaps
        X = gappy_columns(dtype)
        X[600, column] = value
        with pytest.raises(DataError, match=f"row 600, column {column} .* is {value}; all values must be finite"):
            column_statistics(as_source(X), missing=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaps_are_named_where_values_must_not_be_missing(dtype, loops):
    X = np.ones((700, 70), dtype)
    X[512:, 66] = X[600, 2] = np.nan
    with pytest.raises(DataError, match=r"row 512, column 66 .* is nan; all values must be finite"):
        column_statistics(as_source(X))


def test_columns_without_values_are_named(loops):
    X = gappy_columns(np.float32)
    X[:, 66] = np.nan
    with pytest.raises(DataError, match=r"column 66 .* has no value at all"):
        column_statistics(as_source(X), missing=True)


def test_groups_are_missing_as_a_whole_or_not_at_all():
    sizes, unit = (1, 3, 2), get_unit("softmax:1,3,2")
    for pattern in itertools.product([0.5, np.nan], repeat=6):
        rows = np.zeros((3, 6))
        rows[1], rows[2] = np.nan, pattern
        gaps = [np.isnan(group) for group in np.split(rows[2], np.cumsum(sizes)[:-1])]
        parted = [i for i, group in enumerate(gaps) if group.any() and not group.all()]
        if not parted:
            check_groups(rows, unit)
            continue
        with pytest.raises(DataError, match=f"X: row 12, softmax group {parted[0]} is missing in part"):
            check_groups(rows, unit, start=10)


@case_by_case("visible", ["bernoulli", "softmax:3,3"])
@case_by_case("value", [-0.5, 1.5])
def test_values_outside_the_unit_interval_are_named_among_gaps(visible, value):
    rows = np.tile([0.0, 1, 0, 1, 0, 0], (9, 1))
    rows[[1, 8], :3] = rows[[2, 6], 3:] = np.nan
    check_domain(as_source(rows), get_unit(visible), block_size=4, missing=True)
    check_domain(as_source(np.full((2, 6), np.nan)), get_unit(visible), missing=True)
    rows[6, 1], rows[8, 4] = value, 300
    with pytest.raises(DataError, match=f"row 6, column 1 .* is {value:g}; "):
        check_domain(as_source(rows), get_unit(visible), block_size=4, missing=True)
    rows[5, 2] = np.inf
    with pytest.raises(DataError, match=r"row 5, column 2 .* is inf; all values must be finite"):
        check_domain(as_source(rows), get_unit(visible), block_size=4, missing=True)


def test_sums_of_groups_are_named_among_gaps():
    rows = np.tile([0.0, 1, 0, 1, 0, 0], (9, 1))
    rows[[1, 7], :3] = np.nan
    rows[7, 4] = 1
    with pytest.raises(DataError, match=r"row 7, column 3 .* is 1, its softmax group of 3 sums to 2"):
        check_domain(as_source(rows), get_unit("softmax:3,3"), block_size=4, missing=True)


def test_components_and_other_ways_to_train_take_rows_with_holes(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(5, 3, (120, 5))
    X[:, 1] = X[:, 0]
    X[rng.random(X.shape) < 0.3] = np.nan
    rbm = RBM(
        4, visible="gaussian", learn_variance=True, centered=True, averaging=0.5, validation_fraction=0.2, n_iter=3,
        memory_limit="1 MiB", random_state=0,
    ).fit(X)  # fmt: skip
    assert np.isfinite(rbm.history_[-1]["free_energy_gap"])
    save(rbm, tmp_path / "model.h5")
    np.testing.assert_array_equal(load(tmp_path / "model.h5").transform(X), rbm.transform(X))
    assert rbm.set_params(warm_start=True).fit(X).n_iter_ == 6
    parted = RBM(4, random_state=0).partial_fit(X[:60]).partial_fit(X[60:])
    assert np.isfinite(parted.weights_.W).all()


def test_transform_of_rows_with_holes_is_that_of_their_mean_field():
    whole, holes = one_hot()
    rbm = RBM(6, visible=SPEC, n_iter=20, random_state=0).fit(whole)
    some = holes[~np.isnan(holes).all(axis=1)]
    np.testing.assert_allclose(rbm.transform(some), rbm.transform(rbm.impute(some, method="mean_field")), atol=1e-3)
    np.testing.assert_array_equal(rbm.transform(holes), rbm.transform(holes))


def test_what_cannot_be_learned_from_is_named():
    _, holes = one_hot(40)
    empty, part, infinite = holes.copy(), holes.copy(), np.full((40, 2), np.nan)
    empty[:, 3:5] = np.nan
    part[7, :3] = [1, np.nan, np.nan]
    infinite[5] = [0, np.inf]
    for X, message in (
        (empty, "column 3 .* no value at all"), (part, "row 7, softmax group 0 is missing in part"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            RBM(3, visible=SPEC).fit(X)
    with pytest.raises(ValueError, match="infinity"):
        RBM(3).fit(infinite)
    with pytest.raises(DataError, match="finite"):
        RBM(3, visible="bernoulli", binarize="sample").fit(np.array([[0.1, np.nan], [0.5, 0.2]]))


@pytest.mark.parametrize(
    ("make", "y"),
    [
        (lambda: DBN((6, 4), rbm=RBM(visible=SPEC, n_iter=10), random_state=0), None),
        (lambda: DBNClassifier((6, 4), rbm=RBM(visible=SPEC, n_iter=10), max_iter=20, random_state=0), "class"),
        (lambda: DBNRegressor((6,), rbm=RBM(visible=SPEC, n_iter=10), max_iter=20, random_state=0), "number"),
    ],
)
def test_the_first_layer_of_a_stack_takes_rows_with_holes(make, y, tmp_path):
    whole, holes = one_hot(400)
    kind = whole[:, 8].astype(int) if y == "class" else whole[:, 8] + 0.5
    model = make().fit(holes) if y is None else make().fit(holes, kind)
    if y is None:
        assert model.transform(holes).std(axis=0).max() > 0
        assert (model.log_likelihood(holes).rows < 1e-6).all()
        empty = model.log_likelihood(holes[np.isnan(holes).all(axis=1)]).rows  # lower bounds of 0
        assert ((empty > -5) & (empty < 0.5)).all()
    else:
        assert model.score(holes, kind) > (0.8 if y == "class" else 0.4)  # 0.75 and 0 without any value
    save(model, tmp_path / "model.h5")
    np.testing.assert_array_equal(load(tmp_path / "model.h5").transform(holes), model.transform(holes))


def test_missing_values_need_a_model_of_the_rows():
    _, holes = one_hot(60)
    y = np.arange(60) % 2
    with pytest.raises(ValueError, match="NaN"):
        DBNClassifier((4,), pretraining="denoising", rbm=RBM(visible=SPEC)).fit(holes, y)


@case_by_case("dtype", [np.float32, np.uint8, bool])
def test_masked_values_are_missing(dtype):
    whole, holes = one_hot(60)
    X = np.ma.masked_array(whole.astype(dtype), mask=np.isnan(holes))
    rbm = RBM(3, visible=SPEC, n_iter=2, random_state=0)
    own, same = clone(rbm).fit(X), clone(rbm).fit(holes.astype(np.float32))
    np.testing.assert_array_equal(own.components_, same.components_)
    np.testing.assert_array_equal(own.transform(X), same.transform(holes.astype(np.float32)))
    full = np.ma.masked_array(whole, mask=False)
    np.testing.assert_array_equal(clone(rbm).fit(full).components_, clone(rbm).fit(whole).components_)
    with pytest.raises(ValueError, match="NaN"):
        DBNClassifier((4,), pretraining="denoising").fit(X, np.arange(60) % 2)
