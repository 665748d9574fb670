"""Rows in the units of the data: every estimator takes and gives them, whatever map they enter by."""

import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, DBNRegressor, DeepAutoencoder, RBMClassifier, load, save
from deepbelief.errors import DataError, DataWarning, SettingError
from deepbelief.estimators.recurrent_rbm import RecurrentRBM
from deepbelief.likelihood import pseudo_log_likelihood
from deepbelief.sources import Scaling, as_source, column_statistics, grey_levels

RNG = np.random.default_rng(0)
BITS = (RNG.random((90, 16)) < np.where(RNG.random((90, 1)) < 0.5, 0.8, 0.2)).astype(np.float64)
GREY = np.rint(255 * BITS * RNG.uniform(0.6, 1, BITS.shape))
GREY[0], GREY[1] = 0, 255
Y = (BITS[:, :8].sum(axis=1) > 4).astype(int)
MAPS = {"255": (0.0, 255.0), "minmax": (np.full(16, -3.0), np.linspace(1, 50, 16))}
MAKERS = {
    "rbm": lambda rbm: clone(rbm).set_params(n_components=6),
    "dbn": lambda rbm: DBN((6, 4), rbm=rbm, random_state=0),
    "denoising": lambda rbm: DBN((6, 4), rbm=rbm, pretraining="denoising", random_state=0),
    "classifier": lambda rbm: DBNClassifier((6, 4), rbm=rbm, max_iter=2, random_state=0),
    "from scratch": lambda rbm: DBNClassifier((6,), rbm=rbm, pretraining="none", max_iter=2, random_state=0),
    "regressor": lambda rbm: DBNRegressor((6, 4), rbm=rbm, max_iter=2, random_state=0),
    "autoencoder": lambda rbm: DeepAutoencoder((6, 4), rbm=rbm, max_iter=2, random_state=0),
    "rbm classifier": lambda rbm: RBMClassifier(6, rbm=rbm, random_state=0),
    "sequences": lambda rbm: RecurrentRBM(4, 3, scale=rbm.scale, n_iter=1, random_state=0),
}
TAKEN = ("transform", "predict", "predict_proba", "score_samples", "free_energy", "predict_next")


def fitted(make, scale, rows):
    rbm = RBM(scale=scale, n_iter=2, random_state=0)
    model = MAKERS[make](rbm)
    return model.fit(rows) if make in ("rbm", "dbn", "denoising", "autoencoder", "sequences") else model.fit(rows, Y)


@pytest.mark.slow
@case_by_case("scale", MAPS)
@case_by_case("make", MAKERS)
def test_a_scaled_model_of_raw_rows_is_the_model_of_scaled_rows(make, scale, tmp_path):
    mean, factor = MAPS[scale]
    within = GREY / 255
    raw = within * factor + mean
    own, other = fitted(make, scale, raw), fitted(make, "none", within)
    save(own, tmp_path / "model.h5")
    for model in (own, load(tmp_path / "model.h5")):
        names = [name for name in TAKEN if hasattr(other, name) and (make, name) != ("sequences", "score_samples")]
        for name in names:
            expected = getattr(other, name)(within)
            if name == "predict_next":
                expected = expected * factor + mean
            np.testing.assert_allclose(getattr(model, name)(raw), expected, rtol=1e-6, atol=1e-6, err_msg=name)
        if hasattr(other, "inverse_transform"):
            expected = other.inverse_transform(other.transform(within)) * factor + mean
            np.testing.assert_allclose(model.inverse_transform(model.transform(raw)), expected, rtol=1e-6, atol=1e-6)


@case_by_case("binarize", ["threshold", "sample", "resample"])
def test_bits_are_drawn_of_scaled_rows(binarize):
    own = RBM(4, scale="255", binarize=binarize, n_iter=2, random_state=0).fit(GREY)
    other = RBM(4, binarize=binarize, n_iter=2, random_state=0).fit(GREY / 255)
    np.testing.assert_array_equal(own.components_, other.components_)
    np.testing.assert_array_equal(own.weights_.scale, 255)
    again = clone(own).set_params(n_iter=1).fit(GREY).set_params(warm_start=True).fit(GREY)
    np.testing.assert_array_equal(again.weights_.scale, 255)


def test_chains_and_likelihoods_are_in_the_units_of_the_data():
    rows, known = 255 * BITS, np.where(np.arange(16) < 4, np.nan, 255 * BITS[:5])
    own, other = (RBM(5, scale=s, n_iter=3, random_state=0).fit(X) for s, X in (("255", rows), ("none", BITS)))
    assert own.log_likelihood(rows).mean == pytest.approx(other.log_likelihood(BITS).mean, rel=1e-9)
    assert own.score(rows) == pytest.approx(other.score(BITS), rel=1e-9)
    np.testing.assert_allclose(pseudo_log_likelihood(own, rows), other.score_samples(BITS), rtol=1e-9)
    assert set(np.unique(own.gibbs(rows, random_state=0))) == {0, 255}
    held = own.sample(3, clamp=np.where(np.arange(16) < 2, 255, np.nan), n_steps=5, random_state=0)
    assert (held[:, :2] == 255).all()
    assert 1 < held[:, 2:].max() <= 255
    np.testing.assert_allclose(own.impute(known, random_state=0), 255 * other.impute(known / 255, random_state=0))


# --- what auto is ---


@case_by_case(
    ("rows", "names", "found"),
    [
        (np.array([[0, 255], [130, 7]], np.uint8), None, "bytes"),
        (np.array([[0, 16], [9, 7]], np.uint8), None, ""),
        (np.array([[0, 1], [1, 1]], np.uint8), None, ""),
        (RNG.integers(0, 17, (20, 64)).astype(float), None, ""),  # scikit-learn's digits
        (np.array([[30, 255.0], [41, 80]]), None, ""),  # ages and hours
        (np.array([[30, 255.0], [41, 80]]), ["pixel0", "pixel1"], "named"),
        (np.where(RNG.random((20, 64)) < 0.5, 255.0, 3), None, "8 x 8"),
        (np.where(RNG.random((20, 192)) < 0.5, 255.0, 3), None, "in colour"),
        (np.where(RNG.random((20, 64)) < 0.5, 256.0, RNG.random((20, 64))), None, ""),
        (np.where(RNG.random((20, 64)) < 0.5, 255.0, -RNG.random((20, 64))), None, ""),
        (np.tile([[200.0], [3], [90]], (7, 64)), None, ""),  # as bright as images, but without white
    ],
)
def test_grey_levels_are_bytes_or_images_and_nothing_else(rows, names, found):
    source = as_source(rows)
    reason = grey_levels(source, column_statistics(source), names)
    assert (found in reason) if found else not reason
    if names is None:
        scale = RBM(2, scale="auto", n_iter=1, random_state=0).fit(np.tile(rows, (2, 1))).weights_.scale
        assert bool(found) == (scale is not None and (scale == 255).all())


def test_sparse_images_may_lack_their_last_empty_pixels():
    grey = np.rint(255 * (RNG.random((40, 780)) < 0.3) * RNG.uniform(0.5, 1, (40, 780)))
    grey[0] = 255
    counts = np.where(np.arange(780) < 20, grey, np.minimum(grey, 3))  # few columns are bright
    for rows, found in ((grey, "28 x 28 pixels without the last 4"), (counts, ""), (grey[:, :750], "")):
        source = as_source(scipy.sparse.csr_array(rows))
        reason = grey_levels(source, column_statistics(source))
        assert (found in reason) if found else not reason
        assert not grey_levels(as_source(rows), column_statistics(as_source(rows)))


def test_an_unknown_scale_is_refused():
    for model in (RBM(scale="byte"), DBN((2,), rbm=RBM(scale="byte")), RecurrentRBM(scale="byte")):
        with pytest.raises(SettingError, match="unknown scale 'byte'"):
            model.fit(BITS)


@case_by_case("factor", [1e-7, 1e-4, 1, 1e6])
def test_the_size_of_a_unit_does_not_matter(factor):
    rows = RNG.normal(5, 1, (50, 4))
    found = RBM(3, n_iter=2, random_state=0).fit(rows * factor)
    expected = RBM(3, n_iter=2, random_state=0).fit(rows)
    assert found.weights_.visible == "gaussian"
    np.testing.assert_allclose(found.transform(rows * factor), expected.transform(rows), rtol=1e-9)


def test_a_small_column_among_probabilities_and_a_small_spread_around_a_large_mean_are_learned():
    small = np.column_stack([BITS[:, 0], 1e-7 * RNG.random(90)])
    assert RBM(2, n_iter=1, random_state=0).fit(small).weights_.visible == "gaussian"
    near_one = np.column_stack([1 + 1e-7 * RNG.random(90), 0.5 + 1e-6 * RNG.random(90)])
    assert RBM(2, n_iter=1, random_state=0).fit(near_one).weights_.visible == "gaussian"
    offset = np.column_stack([1e5 + 1e-3 * RNG.normal(size=90), np.full(90, 0.1)])
    np.testing.assert_allclose(RBM(2, n_iter=1, random_state=0).fit(offset).weights_.scale, [1e-3, 1], rtol=0.3)


@case_by_case("convert", [np.asarray, scipy.sparse.csr_array, lambda X: np.where(X > 2e200, np.nan, X)])
def test_values_whose_squares_overflow_are_refused(convert):
    rows = np.column_stack([BITS[:, 0], 1e200 * RNG.random(90) + 1e200, 3e200 * BITS[:, 1]])
    for model in (RBM(2), DBN((2,)), DBNRegressor((2,)), DeepAutoencoder((2,))):
        with pytest.raises(DataError, match=r"column 1 .* whose squares exceed the largest number: divide it"):
            model.fit(convert(rows), Y)


@case_by_case("rows", [np.full((30, 3), 7.0), np.zeros((30, 3)), 2**63 + np.arange(90, dtype=np.uint64).reshape(30, 3)])
def test_columns_without_any_variation_are_told(rows):
    told = "integers beyond 2\\*\\*53" if rows.dtype == np.uint64 else "all columns are constant"
    for model in (RBM(2, n_iter=1), DBN((2,), rbm=RBM(n_iter=1)), DeepAutoencoder((2,), rbm=RBM(n_iter=1), max_iter=1)):
        with pytest.warns(DataWarning, match=told):
            model.fit(rows)


@pytest.mark.parametrize("values", [(-1, 1), (1, 2)])
def test_columns_of_two_values_are_told_with_the_remedy(values):
    rows = np.where(BITS > 0, *reversed(values)).astype(float)
    with pytest.warns(DataWarning, match=f"two values {values[0]} and {values[1]}.*scale='minmax'"):
        RBM(2, n_iter=1, random_state=0).fit(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spins = RBM(5, scale="minmax", n_iter=3, random_state=0).fit(rows)
        bits = RBM(5, n_iter=3, random_state=0).fit(BITS)
        RBM(2, n_iter=1).fit(np.column_stack([rows, RNG.normal(size=90)]))
    assert spins.log_likelihood(rows).mean == pytest.approx(bits.log_likelihood(BITS).mean)


# --- the domain, at every door ---

FAR = BITS.copy()
FAR[5, 3] = 7
DOORS = {
    "score_samples": lambda m: m.score_samples(FAR),
    "score": lambda m: m.score(FAR),
    "free_energy": lambda m: m.free_energy(FAR),
    "pseudo": lambda m: pseudo_log_likelihood(m, FAR),
    "transform": lambda m: m.transform(FAR),
    "sparse": lambda m: m.transform(scipy.sparse.csr_array(FAR)),
    "source": lambda m: m.transform(as_source(FAR)),
    "gibbs": lambda m: m.gibbs(FAR),
    "impute": lambda m: m.impute(np.where(np.arange(16) == 9, np.nan, FAR)),
    "clamp": lambda m: m.sample(90, clamp=FAR),
    "partial_fit": lambda m: clone(m).partial_fit(BITS).partial_fit(FAR),
    "warm_start": lambda m: clone(m).set_params(warm_start=True).fit(BITS).fit(FAR),
    "validation": lambda m: clone(m).set_params(warm_start=True, validation_fraction=0.5).fit(BITS).fit(FAR),
    "explicit": lambda m: clone(m).set_params(visible="bernoulli").fit(FAR),
    "pretrained": lambda m: DBNClassifier(pretrained=m, max_iter=1).fit(FAR, Y),
    "predict": lambda m: DBNClassifier(pretrained=m, max_iter=1, random_state=0).fit(BITS, Y).predict(FAR),
    "classifier": lambda m: RBMClassifier(3, rbm=RBM(n_iter=1)).fit(BITS, Y).predict_proba(FAR),
    "sequences": lambda m: RecurrentRBM(3, 2, n_iter=1).fit(BITS).predict_next(FAR),
    "bound": lambda m: DBN((4, 3), rbm=RBM(n_iter=1)).fit(BITS).score_samples(FAR),
    "autoencoder": lambda m: DeepAutoencoder((4,), rbm=RBM(n_iter=1), max_iter=1).fit(BITS).reconstruction_error(FAR),
}


@pytest.fixture(scope="module")
def machine():
    return RBM(4, n_iter=2, random_state=0).fit(BITS)


@case_by_case("door", DOORS)
def test_a_value_outside_the_domain_is_named_at_every_door(machine, door):
    with pytest.raises(DataError, match=r"row 5, column 3 \(both counted from 0\) is 7; Bernoulli units") as found:
        DOORS[door](machine)
    assert (found.value.row, found.value.column, found.value.value) == (5, 3, 7)


def test_the_value_is_named_in_the_units_of_the_data():
    with pytest.raises(DataError, match=r"row 5, column 3 .* is 1785;"):
        RBM(4, scale="255", n_iter=1, random_state=0).fit(255 * BITS).score_samples(255 * FAR)


def test_groups_must_sum_to_one_after_fit_too():
    rows = np.tile(np.eye(4), (10, 1))
    machine = RBM(3, visible="softmax:2,2", n_iter=1, random_state=0).fit(np.hstack([rows[:, :1], 1 - rows[:, :1]] * 2))
    for door in (machine.score_samples, machine.log_likelihood):
        with pytest.raises(DataError, match=r"row 0, column 0 .* softmax group of 2 sums to 0"):
            door(np.zeros((1, 4)))


def test_states_of_hidden_units_have_a_domain_too():
    for model in (RBM(4, n_iter=1).fit(BITS), DBN((6, 4), rbm=RBM(n_iter=1)).fit(BITS)):
        states = np.full((3, 4), 0.5)
        model.inverse_transform(states)
        states[2, 1] = 5
        with pytest.raises(
            DataError, match=r"row 2, column 1 .* is 5; Bernoulli units .* give states of the top layer"
        ):
            model.inverse_transform(states)
    RBM(4, hidden="rectified", n_iter=1).fit(BITS).inverse_transform(states)


@pytest.mark.parametrize("scale", ["255", "minmax"])
def test_later_rows_far_outside_the_scaled_range_are_not_told_to_be_scaled(scale):
    rbm = RBM(3, scale=scale, n_iter=1, random_state=0).partial_fit(GREY)
    for door in (rbm.partial_fit, rbm.transform, lambda X: rbm.impute(np.where(np.eye(90, 16) > 0, np.nan, X))):
        with pytest.raises(
            DataError, match=r"row 5, column 3 .*start the training with rows of the whole range"
        ) as told:
            door(np.where(FAR > 1, 900, GREY))
        assert "minmax" not in str(told.value)


@case_by_case("convert", [np.asarray, scipy.sparse.csr_array, as_source])
def test_values_slightly_outside_are_clipped_with_a_warning(machine, convert):
    slightly = BITS.copy()
    slightly[5, 3], slightly[2, 1] = 1.05, -0.02
    clipped, before = np.clip(slightly, 0, 1), slightly.copy()
    with pytest.warns(DataWarning, match=r"row 2, column 1 .* is -0.02, slightly outside"):
        np.testing.assert_array_equal(machine.transform(convert(slightly)), machine.transform(clipped))
    with pytest.warns(DataWarning, match="clipped"):
        np.testing.assert_array_equal(machine.score_samples(convert(slightly)), machine.score_samples(clipped))
    holed = np.where(np.arange(16) == 9, np.nan, slightly)
    with pytest.warns(DataWarning, match="clipped"):
        found = machine.impute(holed, method="mean_field")
    expected = machine.impute(np.where(np.arange(16) == 9, np.nan, clipped), method="mean_field")
    np.testing.assert_array_equal(found[:, 9], expected[:, 9])
    np.testing.assert_array_equal(slightly, before)
    assert machine.score_samples(clipped).max() <= 0


# --- files of early versions ---


@case_by_case("kind", ["255", "minmax"])
@case_by_case("make", ["dbn", "classifier", "autoencoder"])
def test_the_scaling_in_the_metadata_of_an_old_file_becomes_part_of_the_model(make, kind, tmp_path):
    within, (mean, factor) = GREY / 255, MAPS[kind]
    for rows in (within, 9 * within - 4):  # Bernoulli and Gaussian units
        model, path = fitted(make, "none", rows), tmp_path / "old.h5"
        scaling = Scaling(kind, *((tuple(mean), tuple(factor)) if kind == "minmax" else ()))
        save(model, path, metadata={"scaling": scaling.to_dict()})
        found, raw = load(path), rows * factor + mean
        np.testing.assert_allclose(found.transform(raw), model.transform(rows), rtol=1e-5, atol=1e-6)
        if make == "autoencoder":
            back = model.inverse_transform(model.transform(rows)) * factor + mean
            np.testing.assert_allclose(found.inverse_transform(found.transform(raw)), back, rtol=1e-5, atol=1e-5)


# --- what is shown, and what comes later ---


@case_by_case("scale", ["none", "255"])
@case_by_case("make", ["classifier", "from scratch", "regressor", "autoencoder"])
def test_a_network_rebuilt_from_its_attributes_gives_the_same_outputs(make, scale):
    rows = GREY * np.linspace(1, 9, 16) + 5 if scale == "none" else GREY
    model = fitted(make, scale, rows)
    x = (rows - model.input_mean_) / model.input_scale_
    for W, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        z = x @ W + bias
        code = make == "autoencoder" and W.shape[1] == 4
        x = np.maximum(z, 0) if make == "from scratch" else z if code else 1 / (1 + np.exp(-z))
    output = x @ model.coefs_[-1] + model.intercepts_[-1]
    if make == "regressor":
        np.testing.assert_allclose(output[:, 0] * model.target_scale_ + model.target_mean_, model.predict(rows))
    elif make == "autoencoder":
        output = 1 / (1 + np.exp(-output)) if scale == "255" else output
        back = output * model.input_scale_ + model.input_mean_
        np.testing.assert_allclose(back, model.inverse_transform(model.transform(rows)), rtol=1e-9)
    else:
        p = np.exp(output - output.max(axis=1, keepdims=True))
        np.testing.assert_allclose(p / p.sum(axis=1, keepdims=True), model.predict_proba(rows), rtol=1e-9)


@pytest.mark.filterwarnings("ignore:.*slightly outside")
@pytest.mark.parametrize("scale", ["none", "minmax"])
def test_a_column_constant_in_the_first_batch_is_learned_later(scale):
    rng = np.random.default_rng(1)
    cause = rng.random(600) < 0.5
    rows = np.column_stack([cause * 9.0, 40 + 300.0 * cause, 7.0 * ~cause]) + rng.random((600, 3))
    rows[:50, 1] = 40
    rbm = RBM(4, scale=scale, learning_rate=0.05, random_state=0)
    for _ in range(10):
        for start in range(0, 600, 50):
            rbm.partial_fit(rows[start : start + 50])
    settled = rbm.weights_.scale.copy()
    rbm.partial_fit(rows[:50])
    np.testing.assert_array_equal(rbm.weights_.scale, settled)
    assert settled[1] > 100
    missing = np.where(np.arange(3) == 1, np.nan, rows[50:150])
    filled = rbm.impute(missing, method="mean_field")[:, 1]
    assert np.corrcoef(filled, rows[50:150, 1])[0, 1] > 0.9


def test_a_stack_of_scaled_bits_knows_rows_in_other_units():
    stack = DBN((5,), rbm=RBM(scale="255", n_iter=1), random_state=0).fit(GREY).stack_
    with pytest.warns(DataWarning, match="other units"):
        DBNClassifier(pretrained=stack, max_iter=1, random_state=0).fit(BITS, Y)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*other units")
        DBNClassifier(pretrained=stack, max_iter=1, random_state=0).fit(GREY, Y)
