"""Unit types against enumeration, quadrature and their own statistics."""

import math
from functools import cache

import numpy as np
import pytest
from conftest import BACKENDS
from pairwise import pairwise_cases
from scipy.special import log_ndtr
from tables import case_by_case

from deepbelief.backends import Rescaling
from deepbelief.errors import SettingError
from deepbelief.seeds import stream
from deepbelief.units import UNITS, Bernoulli, DReLU, Gaussian, Rectified, ReLU, Softmax, Spin, get_unit

SIGMAS = 6.0  # a right sampler fails a comparison with probability 2e-9, and there are a few hundred
LABELLED = ["labelled:bernoulli,3", "labelled:gaussian,2"]
PARTS = "parts:gaussian*2;bernoulli*1;softmax:3"
SPECS = ["bernoulli", "gaussian", "spin", "rectified", "relu", "drelu", "softmax:2,3,1", *LABELLED, PARTS]
TRACTABLE = [s for s in SPECS if get_unit(s).tractable]
VISIBLE = [s for s in TRACTABLE if s not in ("relu", "drelu")]
WIDTH = 6
DTYPES = [np.float32, np.float64]


def inputs(dtype=np.float64, n=40):
    rng = np.random.default_rng(2)
    return rng.normal(0, 2, (n, WIDTH)).astype(dtype), rng.normal(0, 1, WIDTH).astype(dtype)


def mean(bk, unit, x, bias):
    return bk.to_numpy(unit.mean(bk, bk.asarray(x.copy()), bk.asarray(bias)))


def log_partition(bk, unit, x):
    return bk.to_numpy(unit.log_partition(bk, bk.asarray(x)))


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def parts(spec):
    """Return the type of the data and the number of labels."""
    data, _, n = spec.removeprefix("labelled:").partition(",")
    return data, int(n)


def true_mean(spec, x):
    if spec.startswith("labelled"):
        data, n = parts(spec)
        return np.hstack([true_mean(data, x[:, :-n]), softmax(x[:, -n:])])
    if spec.startswith("parts"):
        return np.hstack([x[:, :2], true_mean("bernoulli", x[:, 2:3]), softmax(x[:, 3:])])
    if spec == "bernoulli":
        return 1 / (1 + np.exp(-x))
    if spec in ("gaussian", "drelu"):  # units without parameters of their own are Gaussian
        return x
    if spec == "spin":
        return np.tanh(x)
    if spec == "relu":
        return np.vectorize(lambda value: quadrature(value)[1])(x)
    if spec == "rectified":
        return np.maximum(x, 0)
    return np.hstack([softmax(x[:, 0:2]), softmax(x[:, 2:5]), softmax(x[:, 5:6])])


def test_every_unit_type_is_tested():
    assert {get_unit(s).spec.partition(":")[0] for s in SPECS} == set(UNITS)


@pairwise_cases(bk=BACKENDS, spec=SPECS, dtype=DTYPES)
def test_means(bk, spec, dtype):
    x, bias = inputs(dtype)
    got = mean(bk, get_unit(spec), x, bias)
    assert got.dtype == dtype
    truth = true_mean(spec, x.astype(np.float64) + bias)
    rtol = 40 * np.finfo(dtype).eps + (4e-12 if "relu" in spec else 0)  # that of the quadrature
    np.testing.assert_allclose(got, truth, rtol=rtol, atol=4 * np.finfo(dtype).eps)


@case_by_case("spec", SPECS)
def test_means_of_extreme_inputs_are_finite(bk, spec):
    x = np.array([[1e4, -1e4, 1e4, 1e4, -1e4, -1e4]] * 2, np.float32)
    got = mean(bk, get_unit(spec), x, np.zeros(WIDTH, np.float32))
    assert np.isfinite(got).all()
    if spec == "bernoulli":
        np.testing.assert_array_equal(got, x > 0)
    if spec.startswith("softmax"):
        np.testing.assert_allclose(got[0], [1, 0, 0.5, 0.5, 0, 1])


@case_by_case("dtype", DTYPES)
def test_log_partition_sums_over_the_states(bk, dtype):
    x, _ = inputs(dtype)
    wide = x.astype(np.float64)
    rtol = max(20 * np.finfo(dtype).eps, 1e-12)
    np.testing.assert_allclose(log_partition(bk, Bernoulli(), x), np.log(1 + np.exp(wide)).sum(axis=1), rtol=rtol)
    groups = (wide[:, 0:2], wide[:, 2:5], wide[:, 5:6])
    truth = sum(np.log(np.exp(g).sum(axis=1)) for g in groups)
    np.testing.assert_allclose(log_partition(bk, Softmax((2, 3, 1)), x), truth, rtol=rtol, atol=rtol)
    # The state is integrated with the energy h**2 / 2 of a unit without input.
    h = np.linspace(-20, 20, 20001)
    integral = np.exp(-(h**2) / 2 + wide[:, :, None] * h).sum(axis=2) * (h[1] - h[0])
    np.testing.assert_allclose(log_partition(bk, Gaussian(), x), np.log(integral).sum(axis=1), rtol=rtol)


@case_by_case("spec", TRACTABLE)
def test_the_mean_is_the_derivative_of_the_log_partition(bk, spec):
    unit = get_unit(spec)
    x, bias = inputs(n=4)
    total = x + bias
    numeric = np.empty_like(total)
    for j in range(WIDTH):
        shift = np.eye(WIDTH)[j] * 1e-5
        numeric[:, j] = (log_partition(bk, unit, total + shift) - log_partition(bk, unit, total - shift)) / 2e-5
    np.testing.assert_allclose(mean(bk, unit, x, bias), numeric, atol=1e-9)


@case_by_case("spec", TRACTABLE)
@case_by_case("dtype", DTYPES)
def test_rescaled_inputs_change_the_log_partition(bk, spec, dtype):
    unit, (x, bias) = get_unit(spec), inputs(dtype)
    before, after = (log_partition(bk, unit, (x + bias).astype(np.float64) * scale) for scale in (0.25, 0.75))
    rescaled = bk.asarray(x.copy())
    found = bk.to_numpy(unit.rescale(bk, rescaled, Rescaling(bk.asarray(bias), 0.25, 0.75)))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, after - before, rtol=1e-11)
    np.testing.assert_array_equal(bk.to_numpy(rescaled), (x + bias) * dtype(0.75))


@case_by_case("spec", TRACTABLE)
def test_log_partition_of_extreme_inputs_is_finite(bk, spec):
    x = np.array([[1e3, -1e3, 1e3, 1e3, -1e3, -1e3]])
    got = log_partition(bk, get_unit(spec), x)
    if spec == "bernoulli":
        np.testing.assert_allclose(got, 3000)
    if spec.startswith("softmax"):
        np.testing.assert_allclose(got, 1000 + 1000 + math.log(2) - 1000)
    assert np.isfinite(got).all()


@case_by_case("spec", TRACTABLE)
def test_energy_of_a_state(bk, spec):
    v, b = inputs()
    got = bk.to_numpy(get_unit(spec).energy(bk, bk.asarray(v), bk.asarray(b)))
    n = {"gaussian": WIDTH, "labelled:gaussian,2": WIDTH - 2, SPECS[-1]: 2}.get(spec, 0)  # columns of Gaussian units
    truth = ((v - b)[:, :n] ** 2).sum(axis=1) / 2 - (v * b)[:, n:].sum(axis=1)
    truth += (v**2).sum(axis=1) / 2 if "relu" in spec else 0
    np.testing.assert_allclose(got, truth, rtol=1e-12)


def drawn(bk, spec, dtype, n):
    """Return (means left in the input, states, true total input) of n rows with the same input."""
    row = np.array([-3.0, -0.4, 0.0, 0.3, 1.2, 4.0], dtype)
    bias = np.array([0.2, -0.1, 0.0, 0.5, -0.3, 0.1], dtype)
    x = bk.asarray(np.tile(row, (n, 1)))
    out = bk.asarray(np.full((n, WIDTH), np.nan, dtype))
    rng = bk.rng(stream(4, spec, np.dtype(dtype).name))
    result = get_unit(spec).sample(bk, x, bk.asarray(bias), rng, out)
    np.testing.assert_array_equal(bk.to_numpy(result), bk.to_numpy(out))
    return bk.to_numpy(x), bk.to_numpy(out), row.astype(np.float64) + bias


@pairwise_cases(bk=BACKENDS, spec=SPECS, dtype=DTYPES)
def test_samples_have_the_distribution_of_the_unit(bk, spec, dtype):
    n = 60_000
    left, states, total = drawn(bk, spec, dtype, n)
    mu = true_mean(spec, total[None])[0]
    np.testing.assert_allclose(left, np.tile(mu, (n, 1)), rtol=1e-5, atol=1e-6)
    moment, variance = mu, mu * (1 - mu)
    if spec == "drelu":  # without parameters: Gaussian
        variance = np.ones(WIDTH)
    if "gaussian" in spec:
        n_gaussian = {"gaussian": WIDTH, SPECS[-1]: 2}.get(spec, WIDTH - 2)
        variance[:n_gaussian] = 1
        spread = states[:, :n_gaussian].astype(np.float64).var(axis=0)
        assert (np.abs(spread - 1) <= SIGMAS * math.sqrt(2 / n)).all()
    if spec == "rectified":
        moment, variance = rectified_moments(total)
    if spec in ("spin", "relu"):
        variance = 1 - mu**2 + (total * mu if spec == "relu" else 0)
    error = np.abs(states.mean(axis=0, dtype=np.float64) - moment)
    assert (error <= SIGMAS * np.sqrt(variance / n) + 1e-6).all()


def rectified_moments(x):
    """Return mean and variance of max(0, x + N(0, variance sigmoid(x)))."""
    s = np.sqrt(1 / (1 + np.exp(-x)))
    density = np.exp(-((x / s) ** 2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in x / s])
    first = x * below + s * density
    second = (x**2 + s**2) * below + x * s * density
    return first, np.maximum(second - first**2, 0)  # far below 0 both cancel


def test_rectified_samples_have_the_second_moment_of_their_noise(bk):
    n = 60_000
    _, states, total = drawn(bk, "rectified", np.float64, n)
    assert states.min() == 0
    _, variance = rectified_moments(total)
    fourth = ((states - states.mean(axis=0)) ** 4).mean(axis=0)
    assert (np.abs(states.var(axis=0) - variance) <= SIGMAS * np.sqrt(fourth / n) + 1e-9).all()


GROUPS = {"softmax:2,3,1": (slice(0, 2), slice(2, 5), slice(5, 6)), "labelled:bernoulli,3": (slice(3, 6),)}


@case_by_case("spec", ["bernoulli", *GROUPS])
def test_states_are_bits_with_one_on_in_each_group(bk, spec):
    _, states, _ = drawn(bk, spec, np.float32, 500)
    assert set(np.unique(states)) == {0, 1}
    for group in GROUPS.get(spec, ()):
        np.testing.assert_array_equal(states[:, group].sum(axis=1), 1)


def test_a_draw_of_exactly_zero_still_chooses_one(bk):
    class Zeros:
        def uniform(self, out):
            out[...] = 0
            return out

    x, out = bk.asarray(np.array([[1.0, 2.0, 0.0, 3.0, -2000.0, 0.0]])), bk.asarray(np.zeros((1, WIDTH)))
    Softmax((2, 3, 1)).sample(bk, x, bk.asarray(np.zeros(WIDTH)), Zeros(), out)
    np.testing.assert_array_equal(bk.to_numpy(out), [[0, 1, 0, 1, 0, 1]])  # none of probability 0


def test_units_draw_independently(bk):
    n = 40_000
    for spec in ("bernoulli", "gaussian"):
        _, states, _ = drawn(bk, spec, np.float32, n)
        correlation = np.corrcoef(states.T.astype(np.float64)) - np.eye(WIDTH)
        assert np.abs(correlation).max() <= SIGMAS / math.sqrt(n)


@case_by_case("spec", VISIBLE)
def test_initial_biases_give_the_column_means(bk, spec):
    last = {"softmax:2,3,1": [0.2, 0.1, 0.7, 1.0], "labelled:gaussian,2": [0.2, 0.1, 0.4, 0.6]}
    means = np.array([0.3, 0.7, *last.get(spec, [0.9, 0.1, 0.7, 0.2])])
    bias = get_unit(spec).initial_bias(means)
    np.testing.assert_allclose(mean(bk, get_unit(spec), np.zeros((1, WIDTH)), bias)[0], means, rtol=1e-12)


# --- what is refused ---


@case_by_case(
    ("spec", "rows", "place"),
    [
        ("bernoulli", [[0, 1], [0.5, 0.5]], None),
        ("bernoulli", [[0, 1 + 1e-7], [-1e-7, np.nan]], None),
        ("bernoulli", [[0, 1], [0, 1.01]], (1, 1)),
        ("bernoulli", [[np.nan, -0.1], [7, 1]], (0, 1)),
        ("gaussian", [[-3, 1e9]], None),
        ("softmax:2", [[0, 1], [0.4, 0.6], [np.nan, np.nan]], None),
        ("softmax:2", [[0.5, 0.5], [2, -1]], (1, 0)),
        ("softmax:1,2", [[1, 0, 1], [1, 1, 1]], (1, 1)),
        ("labelled:gaussian,2", [[9, 0, 1], [9, 1, 0]], None),
        ("labelled:bernoulli,2", [[1, 0, 1], [9, 1, 1]], (1, 0)),
        ("labelled:bernoulli,2", [[1, 1, 1], [9, 0, 1]], (0, 1)),
    ],
)
def test_a_value_that_does_not_belong_is_found(spec, rows, place):
    unit, rows = get_unit(spec), np.array(rows, float)
    found = unit.foreign(rows)
    assert (None if found is None else found[:2]) == place
    assert place is None or not unit.admits(np.nanmin(rows, axis=0), np.nanmax(rows, axis=0))


def test_groups_must_fit_the_columns():
    assert "sums to 2" in Softmax((2, 3)).foreign(np.array([[1.0, 0, 1, 1, 0]])).detail
    with pytest.raises(SettingError, match="2,3 sum to 5, not to 6 columns"):
        Softmax((2, 3)).check_visible(6)


def test_rectified_units_have_no_energy(bk):
    x = bk.asarray(np.zeros((1, 2)))
    for refused in (
        lambda: Rectified().log_partition(bk, x),
        lambda: Rectified().energy(bk, x, x[0]),
        lambda: Rectified().check_visible(2),
        lambda: Rectified().initial_bias(np.zeros(2)),
    ):
        with pytest.raises(SettingError, match="rectified"):
            refused()
    assert not Rectified().tractable


# --- names ---


@case_by_case("spec", [*SPECS, "softmax"])
def test_a_spec_reads_back_as_the_same_unit(spec):
    unit = get_unit(spec)
    assert unit.spec == spec
    assert get_unit(unit) is unit
    assert get_unit(unit.spec) == unit


NO_SPECS = ["bernouli", "softmax:2,x", "softmax:0,2", "gaussian:3", ""]
NO_LABELS = ["labelled", "labelled:bernoulli", "labelled:bernoulli,1", "labelled:b,3"]


@case_by_case("spec", NO_SPECS + NO_LABELS)
def test_unknown_specs_are_refused(spec):
    with pytest.raises(SettingError):
        get_unit(spec)


def test_softmax_without_sizes_is_one_group_of_all_columns():
    for spec in ("softmax", "softmax:"):
        assert get_unit(spec).spec == "softmax"
        assert get_unit(spec).groups == ()


def test_a_near_miss_is_named():
    with pytest.raises(SettingError, match="did you mean 'bernoulli'"):
        get_unit("bernouli")
    with pytest.raises(SettingError, match="3"):
        get_unit(3)


@case_by_case("spec", SPECS)
def test_the_next_layer_can_take_this_layers_means(bk, spec):
    unit = get_unit(spec)
    assert unit.visible_rate(1000) <= unit.visible_rate(10)
    following = get_unit(unit.next_visible)
    x, bias = inputs()
    means = mean(bk, unit, x, bias)
    assert following.foreign(means) is None


@case_by_case("spec", TRACTABLE)
def test_the_integral_is_the_partition_of_the_input_without_the_energy_of_the_state_0(bk, spec):
    unit, (field, bias) = get_unit(spec), (bk.asarray(a) for a in inputs())
    expected = unit.log_partition(bk, field + bias) - unit.energy(bk, 0 * field, bias)
    found = unit.log_integral(bk, field, bias)
    np.testing.assert_allclose(bk.to_numpy(found), bk.to_numpy(expected), rtol=1e-12)


def test_a_unit_type_that_lacks_something_is_refused_by_its_name():
    class Half:
        spec, log_partition = "half", None

    with pytest.raises(SettingError, match=r"Half must define activation, .*next_visible, .*enumerable"):
        get_unit(Half())


@case_by_case("sizes", [(4, 4, 4), (3, 20, 1, 9, 7)])
@case_by_case("dtype", [np.float32, np.float64])
def test_groups_are_softmax_and_drawn_by_their_probabilities(sizes, dtype, bk, loops):
    """Means by definition; 20,000 draws within five standard errors, one of each group."""
    rng, n = np.random.default_rng(0), sum(sizes)
    x, bias = rng.normal(0, 3, (3, n)).astype(dtype), rng.normal(0, 1, n).astype(dtype)
    x[0, 0] += 500  # beyond what an exponential holds
    ends = np.cumsum(sizes)
    odds = (x + bias).astype(np.float64)
    groups = [odds[:, end - size : end] for end, size in zip(ends, sizes, strict=True)]
    p = np.hstack([np.exp(g - np.logaddexp.reduce(g, axis=1)[:, None]) for g in groups])
    unit = Softmax(sizes)
    found = unit.mean(bk, bk.asarray(x.copy()), bk.asarray(bias))
    np.testing.assert_allclose(bk.to_numpy(found), p, rtol=2e-5, atol=1e-30)
    log_z = sum(np.logaddexp.reduce(g, axis=1) for g in groups)
    np.testing.assert_allclose(bk.to_numpy(unit.log_partition(bk, bk.asarray(x + bias))), log_z, rtol=1e-5)
    tiled = bk.asarray(np.repeat(x[1:2], 20_000, axis=0))
    drawn = bk.to_numpy(unit.sample(bk, tiled, bk.asarray(bias), bk.rng(stream(0)), bk.xp.empty_like(tiled)))
    np.testing.assert_allclose(bk.to_numpy(tiled)[-1], p[1], rtol=2e-5)
    assert (np.add.reduceat(drawn, ends - sizes, axis=1) == 1).all()
    assert (np.abs(drawn.mean(axis=0) - p[1]) < 5 * np.sqrt(p[1] * (1 - p[1]) / 20_000) + 1e-9).all()


# --- half-lines ---


@cache
def nodes(n):
    """Return the points and weights of Gauss-Legendre quadrature, from an eigenvalue problem of this size."""
    return np.polynomial.legendre.leggauss(n)


def quadrature(x, gamma=1.0, n=400):
    """Return the log of the integral of exp(x h - gamma h**2 / 2) over h >= 0, and the mean, by Gauss-Legendre."""
    peak = max(x / gamma, 0.0)
    least = max(0.0, peak - 12 / math.sqrt(gamma))
    most = peak + (40 / -x if x < -1 else 12 / math.sqrt(gamma))
    points, weights = nodes(n)
    h = (most - least) / 2 * (points + 1) + least
    top = x * peak - gamma * peak**2 / 2
    density = np.exp(x * h - gamma * h**2 / 2 - top) * weights * (most - least) / 2
    return math.log(density.sum()) + top, (density * h).sum() / density.sum()


CURVED = np.array([[0.0, 0.4, -0.5], [0.0, -0.6, 1.0], [0.0, 0.8, -0.7]])  # the parameters of three drelu units
INPUTS = [-300.0, -50.1, -49.9, -12.0, -5.0, -1.0, 0.0, 0.7, 6.0, 40.0]


@pytest.mark.parametrize("x", INPUTS)
def test_relu_units_are_integrated_over_the_half_line(bk, x):
    log_z, mean_state = quadrature(x)
    total = np.full((1, 2), x)
    np.testing.assert_allclose(log_partition(bk, ReLU(), total), [2 * log_z], rtol=1e-11, atol=1e-10)
    np.testing.assert_allclose(mean(bk, ReLU(), total, np.zeros(2)), mean_state, rtol=1e-10)
    narrow = mean(bk, ReLU(), total.astype(np.float32), np.zeros(2, np.float32))
    np.testing.assert_allclose(narrow, mean_state, rtol=2e-5)


@pytest.mark.parametrize("x", [-30.0, -2.0, 0.0, 0.5, 30.0])
def test_drelu_units_are_integrated_over_both_half_lines(bk, x):
    for values in CURVED.T:
        g_above, g_below, offset = *np.exp(values[:2]), values[2]
        above, below = quadrature(x - offset, g_above), quadrature(-x - offset, g_below)
        log_z = np.logaddexp(above[0], below[0])
        p = np.exp(above[0] - log_z)
        unit = DReLU().bound(bk.asarray(values[:, None]))
        np.testing.assert_allclose(log_partition(bk, unit, np.array([[x]])), [log_z], rtol=1e-11, atol=1e-10)
        truth = p * above[1] - (1 - p) * below[1]
        np.testing.assert_allclose(mean(bk, unit, np.array([[x]]), np.zeros(1)), [[truth]], rtol=1e-9, atol=1e-10)


def test_the_gradient_of_drelu_parameters_is_that_of_the_log_partition(bk):
    rng = np.random.default_rng(0)
    x, weight = rng.normal(0, 3, (7, 3)), rng.normal(0, 1, 7)
    found = bk.to_numpy(DReLU().bound(bk.asarray(CURVED)).parameter_gradient(bk, bk.asarray(x), bk.asarray(weight)))
    for place in np.ndindex(3, 3):
        ends = []
        for step in (1e-5, -1e-5):
            values = CURVED.copy()
            values[place] += step
            ends.append(weight @ log_partition(bk, DReLU().bound(bk.asarray(values)), x))
        np.testing.assert_allclose(found[place], -(ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-8)


def test_draws_from_half_lines_have_the_right_distribution(bk):
    """Kolmogorov-Smirnov: a right sampler fails one of the 14 comparisons with probability 14 * 1e-7."""
    n, failing = 20_000, math.sqrt(-math.log(1e-7 / 2) / 2)
    for dtype in DTYPES:
        for x in (-300.0, -5.1, -4.9, -1.0, 0.0, 2.0, 30.0):
            total, no_bias = bk.asarray(np.full((n, 1), x, dtype)), bk.asarray(np.zeros(1, dtype))
            drawn = ReLU().sample(bk, total, no_bias, bk.rng(stream(5, str(x))), bk.xp.empty_like(total))
            states = np.sort(bk.to_numpy(drawn)[:, 0])
            assert states[0] >= 0
            tail = 1 - np.exp(log_ndtr(x - states.astype(float)) - log_ndtr(x))
            assert np.abs(tail - (np.arange(n) + 0.5) / n).max() * math.sqrt(n) < failing + 0.01


def test_spins_sum_over_minus_one_and_one(bk):
    x = np.array([[-800.0, -0.5, 0.0, 0.3, 2.0, 800.0]])
    truth = np.logaddexp(x, -x).sum(axis=1)
    np.testing.assert_allclose(log_partition(bk, Spin(), x), truth, rtol=1e-14)


def test_drelu_states_have_their_means(bk):
    """One of 6 comparisons fails with probability 6 * 2e-9."""
    n = 20_000
    for dtype in DTYPES:
        unit, total = DReLU().bound(bk.asarray(CURVED.astype(dtype))), bk.asarray(np.full((n, 3), 0.3, dtype))
        drawn = unit.sample(bk, total, bk.asarray(np.zeros(3, dtype)), bk.rng(stream(6)), bk.xp.empty_like(total))
        states, means = bk.to_numpy(drawn).astype(float), bk.to_numpy(total)[0]
        assert (np.abs(states.mean(axis=0) - means) < SIGMAS * states.std(axis=0) / math.sqrt(n)).all()
        assert (states.min(axis=0) < 0).all()
