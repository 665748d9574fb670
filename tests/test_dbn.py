"""DBN: pretrained layer by layer, and what can be done with the stack."""

import numpy as np
import pytest
from exact import joint, tiny
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, DeepAutoencoder
from deepbelief.errors import DataError, DivergenceError, DivergenceWarning, SettingError
from deepbelief.pretraining import pretrain
from deepbelief.sizing import suggest_layer_sizes
from deepbelief.sources import ArraySource
from deepbelief.stack import Stack
from deepbelief.training import Reporter


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    causes = rng.random((100, 2)) < 0.5
    return (np.repeat(causes, 5, axis=1) ^ (rng.random((100, 10)) < 0.1)).astype(np.float64)


SHORT = RBM(n_iter=2, batch_size=20)


def test_one_layer_is_an_rbm(X):
    dbn = DBN((6,), rbm=SHORT, random_state=3).fit(X)
    rbm = RBM(6, n_iter=2, batch_size=20, random_state=3).fit(X)
    np.testing.assert_array_equal(dbn.stack_.layers[0].W, rbm.weights_.W)
    np.testing.assert_array_equal(dbn.transform(X), rbm.transform(X))


def test_each_layer_trains_on_the_means_of_the_one_below(X):
    dbn = DBN((6, 5), rbm=SHORT, random_state=3).fit(X)
    lower, upper = dbn.stack_
    means = RBM(6, n_iter=2, batch_size=20, random_state=3).fit(X).transform(X)
    smoothed = (means.sum(axis=0) + 1) / (len(X) + 2)
    np.testing.assert_allclose(upper.visible_mean, smoothed, rtol=1e-12)
    hidden = 1 / (1 + np.exp(-X @ lower.W - lower.hbias))
    np.testing.assert_allclose(dbn.transform(X), 1 / (1 + np.exp(-hidden @ upper.W - upper.hbias)), rtol=1e-12)


def test_rectified_layers_hand_on_standardised_rows(X):
    dbn = DBN((6, 5), rbm=RBM(hidden="rectified", n_iter=2), random_state=3).fit(X)
    lower, upper = dbn.stack_
    assert (lower.visible, upper.visible) == ("bernoulli", "gaussian")
    means = np.maximum(X @ lower.W + lower.hbias, 0)
    np.testing.assert_allclose(upper.mean, means.mean(axis=0), rtol=1e-9)
    standard = (means - upper.mean) / upper.scale
    np.testing.assert_allclose(standard.std(axis=0), 1, rtol=1e-9)
    np.testing.assert_allclose(dbn.transform(X), np.maximum(standard @ upper.W + upper.hbias, 0), rtol=1e-9)


def test_templates_one_for_all_or_one_per_layer(X):
    each = [RBM(n_iter=1, learning_rate=0.01), RBM(n_iter=3, learning_rate=0.02, visible="gaussian")]
    dbn = DBN((6, 5), rbm=each, random_state=0).fit(X)
    assert [(r["layer"], r["learning_rate"]) for r in dbn.history_] == [(1, 0.01), (2, 0.02), (2, 0.02), (2, 0.02)]
    assert dbn.stack_.layers[1].visible == "bernoulli"  # a template's visible type holds for the first layer
    assert DBN((6,), rbm=RBM(n_iter=1, visible="gaussian")).fit(X).stack_.layers[0].visible == "gaussian"
    # What belongs to the outer estimator is ignored in a template.
    odd = RBM(n_components=3, n_iter=1, learning_rate=0.01, random_state=99, verbose=1, backend="numpy")
    same = DBN((6,), rbm=odd, random_state=0).fit(X)
    np.testing.assert_array_equal(
        same.stack_.layers[0].W, DBN((6,), rbm=each[:1], random_state=0).fit(X).stack_.layers[0].W
    )


def test_templates_are_left_as_they_are(X):
    template = RBM(n_iter=1)
    before = template.get_params()
    DBN((6, 5), rbm=template).fit(X)
    assert template.get_params() == before
    assert not hasattr(template, "weights_")


def test_passes_for_one_layer_are_one_longer_run(X):
    settings = {"batch_size": 20, "momentum": 0.5}
    two = DBN((6,), rbm=RBM(n_iter=3, **settings), n_passes=2, random_state=0).fit(X)
    one = DBN((6,), rbm=RBM(n_iter=6, **settings), random_state=0).fit(X)
    np.testing.assert_array_equal(two.stack_.layers[0].W, one.stack_.layers[0].W)
    assert [(r["pass"], r["epoch"]) for r in two.history_] == [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (2, 6)]


def test_history_goes_pass_by_pass_and_layer_by_layer(X):
    records = []

    class Remember(Reporter):
        def record(self, record):
            records.append(record)

    dbn = DBN((6, 5), rbm=RBM(n_iter=1, validation_fraction=0.2), n_passes=2, verbose=Remember()).fit(X)
    assert dbn.history_ == records
    assert [(r["pass"], r["layer"]) for r in records] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert all(isinstance(r["free_energy_gap"], float) for r in records)


def test_held_out_rows_are_named_by_their_numbers_in_the_whole(X):
    rows = X.copy()
    rows[70, 4] = 2
    with pytest.raises(DataError, match="row 70, column 4"):
        DBN((6,), rbm=RBM(validation_fraction=0.5, visible="bernoulli"), random_state=0).fit(rows)


def test_auto_sizes_are_those_suggested():
    X = np.random.default_rng(0).random((60, 200))
    expected = suggest_layer_sizes(200, 60).hidden_layer_sizes
    assert DBN(rbm=RBM(n_iter=1)).fit(X).stack_.sizes == (200, *expected)


def test_sizes_may_be_an_array_or_one_number(X):
    for sizes in ([6, 5], np.array([6, 5])):
        assert DBN(sizes, rbm=RBM(n_iter=1)).fit(X).stack_.sizes == (10, 6, 5)
    assert DBN(7, rbm=RBM(n_iter=1)).fit(X).stack_.sizes == (10, 7)


def test_inverse_transform_goes_down_through_the_means(X):
    dbn = DBN((6, 5), rbm=SHORT, random_state=0).fit(X)
    lower, upper = dbn.stack_
    codes = dbn.transform(X)
    middle = 1 / (1 + np.exp(-codes @ upper.W.T - upper.vbias))
    expected = 1 / (1 + np.exp(-middle @ lower.W.T - lower.vbias))
    np.testing.assert_allclose(dbn.inverse_transform(codes), expected, rtol=1e-12)
    np.testing.assert_allclose(dbn.inverse_transform(codes.tolist()), expected, rtol=1e-12)


def test_inverse_transform_is_in_the_units_of_the_data():
    rng = np.random.default_rng(0)
    rows = rng.normal([1000, -3], [50, 0.01], (300, 2))
    dbn = DBN((4, 3), rbm=RBM(hidden="rectified", n_iter=3), random_state=0).fit(rows)
    back = dbn.inverse_transform(dbn.transform(rows))
    assert (abs(back.mean(axis=0) - [1000, -3]) < [25, 0.005]).all()


@case_by_case(
    ("codes", "match"), [(np.ones((2, 4)), "4 columns.*5 units"), (np.ones(5), "2D"), (np.full((1, 5), np.nan), "NaN")]
)
def test_codes_that_cannot_be_inverted(X, codes, match):
    dbn = DBN((6, 5), rbm=RBM(n_iter=1)).fit(X)
    with pytest.raises(ValueError, match=match):
        dbn.inverse_transform(codes)


def test_samples_are_the_models(bk):
    """The top machine's own distribution, by enumeration, handed down through one lower layer."""
    dbn = DBN((4, 3), rbm=RBM(n_iter=1), random_state=0, backend=bk).fit(np.random.default_rng(0).random((40, 5)))
    lower, top = tiny(5, 4, seed=2), tiny(4, 3, seed=3)
    dbn.stack_ = Stack((lower, top))
    v, h, p = joint(top)
    # Down through the means given h: E[sigmoid(vbias + W h)] of the top, then of the lower layer.
    middle = 1 / (1 + np.exp(-h @ top.W.T - top.vbias))
    expected = p @ (1 / (1 + np.exp(-middle @ lower.W.T - lower.vbias)))
    drawn = dbn.sample(20_000, n_steps=30)
    assert type(drawn) is np.ndarray
    np.testing.assert_allclose(drawn.mean(axis=0), expected, atol=0.01)
    assert v.shape[1] == 4


def test_samples_go_on_unless_given_a_seed(X):
    one, two = (DBN((6, 5), rbm=SHORT, random_state=0).fit(X) for _ in range(2))
    first = one.sample(4, n_steps=3)
    assert first.shape == (4, 10)
    assert (one.sample(4, n_steps=3) != first).any()
    np.testing.assert_array_equal(two.sample(4, n_steps=3), first)
    seeded = [dbn.sample(4, n_steps=3, random_state=7) for dbn in (one, two)]
    np.testing.assert_array_equal(*seeded)


@case_by_case("settings", [{"n_samples": 0}, {"n_samples": 1.5}, {"n_steps": 0}])
def test_numbers_of_samples_that_cannot_be(X, settings):
    with pytest.raises(SettingError, match=r"n_s.* must be an integer >= 1"):
        DBN((6,), rbm=RBM(n_iter=1)).fit(X).sample(**settings)


def test_a_tuned_stack_is_not_sampled_from(X):
    dbn = DBN((6,), rbm=RBM(n_iter=1)).fit(X)
    dbn.stack_ = Stack(dbn.stack_.layers, tuned=True)
    with pytest.raises(SettingError, match="pretrained one"):
        dbn.sample()


def test_divergence_names_layer_epoch_and_rate(X):
    with pytest.raises(DivergenceError, match=r"layer 2 diverged in epoch 1.*learning_rate=1e\+05"):
        DBN((6, 5), rbm=[RBM(n_iter=1), RBM(n_iter=1, learning_rate=1e6)], random_state=0).fit(X)


def test_divergence_in_a_later_pass_keeps_the_stack(X):
    def explode(position):
        return 1.0 if position < 0.5 else 1e7

    dbn = DBN((6, 5), rbm=[RBM(n_iter=2), RBM(n_iter=2, schedule=explode)], n_passes=2, random_state=0)
    with pytest.warns(DivergenceWarning, match="layer 2 diverged in epoch 3") as caught:
        dbn.fit(X)
    assert caught[0].filename == __file__
    assert all(np.isfinite(w.W).all() for w in dbn.stack_)


def test_the_engine_is_given_all_rows(X, monkeypatch):
    given = []

    def spy(source, *args, **kwargs):
        given.append(source.shape)
        return pretrain(source, *args, **kwargs)

    monkeypatch.setattr("deepbelief.estimators.base.pretrain", spy)
    DBN((6,), rbm=RBM(n_iter=1)).fit(X)
    DBN((6,), rbm=RBM(n_iter=1, validation_fraction=0.2)).fit(X)
    assert given == [(100, 10), (80, 10)]


# --- kinds of pretraining ---


def test_denoising_learns_to_undo_corruption(patterns):
    settings = {"rbm": RBM(n_iter=60, learning_rate=0.3, batch_size=10), "random_state": 0}
    dbn = DBN((8,), pretraining="denoising", corruption_level=0.25, **settings).fit(patterns)
    untrained = DBN((8,), pretraining="none", **settings).fit(patterns)
    one_off = patterns.copy()
    one_off[np.arange(len(one_off)), one_off.argmax(axis=1)] = 0  # one bit masked, which the others tell
    backs = (model.inverse_transform(model.transform(one_off)) for model in (dbn, untrained))
    errors = [np.square(back - patterns).sum(axis=1).mean() for back in backs]
    # Two of the three patterns look alike then: at best those rows cost 0.5 each, 1 / 3 on average.
    assert 1 / 3 < errors[0] < 0.45 < errors[1]
    losses = [record["reconstruction_error"] for record in dbn.history_]
    assert losses[-1] < losses[0]


def test_none_draws_weights_by_glorots_rule_and_trains_nothing(patterns):
    dbn = DBN((50, 20), pretraining="none", random_state=0).fit(patterns)
    assert dbn.history_ == []
    for weights in dbn.stack_:
        limit = 4 * np.sqrt(6 / (weights.n_visible + weights.n_hidden))
        assert 0.9 * limit < np.abs(weights.W).max() <= limit
        assert not weights.hbias.any()
    rectified = DBN((50,), rbm=RBM(hidden="rectified"), pretraining="none", random_state=0).fit(patterns).stack_
    assert np.abs(rectified.layers[0].W).max() <= np.sqrt(6 / 4)
    assert np.abs(rectified.layers[0].W).max() > 0.9 * np.sqrt(6 / 4)


@pytest.mark.parametrize("kind", ["denoising", "none"])
def test_what_is_no_model_is_not_sampled_from(patterns, kind):
    dbn = DBN((4, 3), pretraining=kind, rbm=RBM(n_iter=1), random_state=0).fit(patterns)
    assert np.isfinite(dbn.transform(patterns)).all()
    with pytest.raises(SettingError, match="no model to sample from"):
        dbn.sample(2)


def test_passes_of_denoising_go_on_where_they_stopped(patterns):
    twice = DBN((4,), pretraining="denoising", rbm=RBM(n_iter=3), n_passes=2, random_state=0).fit(patterns)
    once = DBN((4,), pretraining="denoising", rbm=RBM(n_iter=6), random_state=0).fit(patterns)
    np.testing.assert_array_equal(twice.stack_.layers[0].W, once.stack_.layers[0].W)


@case_by_case(
    ("settings", "match"),
    [
        ({"pretraining": "denoisng"}, "did you mean 'denoising'"),
        ({"pretraining": None}, "rbm, denoising, none"),
        ({"corruption": "mask"}, "masking"),
        ({"corruption_level": 1.0}, "< 1 for corruption='masking', got 1"),
        ({"corruption_level": "x"}, "corruption_level"),
    ],
)
@case_by_case("cls", [DBN, DBNClassifier, DeepAutoencoder])
def test_bad_kinds_of_pretraining_are_told_before_any_training(patterns, cls, settings, match):
    with pytest.raises(SettingError, match=match):
        cls((2,), **settings).fit(patterns, np.arange(60) % 2)


def test_rows_of_a_source_that_are_not_finite_are_refused_in_scores():
    X = np.eye(6)[np.arange(60) % 6]
    dbn = DBN((4, 3), rbm=RBM(n_iter=1), random_state=0).fit(X)
    X[7, 2] = np.inf
    for score in (dbn.score_samples, dbn.log_likelihood):
        with pytest.raises(DataError, match="row 7"):
            score(ArraySource(X))


def test_the_held_out_share_of_the_first_template_is_that_of_all_layers(X):
    for first, second in ((0.2, 0.0), (0.0, 0.2)):
        templates = [RBM(n_iter=1, validation_fraction=share) for share in (first, second)]
        history = DBN((6, 4), rbm=templates, random_state=0).fit(X).history_
        watched = [record["layer"] for record in history if record["free_energy_gap"] is not None]
        assert watched == ([1, 2] if first else [])
