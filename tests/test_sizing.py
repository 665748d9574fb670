"""The sizing guidance: what it suggests, what it warns of, and that the two agree."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier
from deepbelief.errors import SettingError, SizingWarning
from deepbelief.sizing import batch_size_advice, check_layer_sizes, suggest_layer_sizes

features = st.integers(1, 20_000)
rows = st.none() | st.integers(1, 10_000_000)
classes = st.none() | st.integers(2, 1_000)


def silent(*args, **kwargs):
    """Check sizes that the guidance must have nothing to say about."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_layer_sizes(*args, **kwargs) == []


def only_advice(*args, **kwargs):
    """Return the one line of advice, which must also be the one warning."""
    with pytest.warns(SizingWarning) as record:
        advice = check_layer_sizes(*args, **kwargs)
    assert len(advice) == len(record) == 1
    assert str(record[0].message) == f"{advice[0]} [Diagnose a run: sizes]"
    assert record[0].filename == __file__
    return advice[0]


def test_the_shape_of_mnist():
    advice = suggest_layer_sizes(784, 60_000, 10)
    assert advice.hidden_layer_sizes == (500, 250)
    assert advice.sizes == (784, 500, 250, 10)
    assert len(advice.reasons) == 4
    lines = str(advice).splitlines()
    assert lines[0] == "784 -> 500 -> 250 -> 10"
    assert [line.split()[0] for line in lines[1:5]] == ["784", "500", "250", "10"]


def test_without_classes_there_is_no_head():
    advice = suggest_layer_sizes(784)
    assert advice.sizes == (784, 500, 250)
    assert tuple(advice) == (500, 250)
    assert len(advice) == 2
    assert "784 -> 500 -> 250" in repr(advice)


@case_by_case(("n_features", "hidden"), [(1, (100, 100)), (30, (100, 100)), (159, (100, 100))])
def test_few_features_keep_a_fixed_width(n_features, hidden):
    assert suggest_layer_sizes(n_features, 500, 3).hidden_layer_sizes == hidden


def test_classes_need_64_units():
    assert suggest_layer_sizes(160).hidden_layer_sizes == (100, 50)
    assert suggest_layer_sizes(160, n_classes=2).hidden_layer_sizes == (100, 64)


def test_few_rows_carry_one_layer():
    assert len(suggest_layer_sizes(784, 99)) == 1
    assert len(suggest_layer_sizes(784, 100)) == 2
    assert "99 rows" in str(suggest_layer_sizes(784, 99))


@pytest.mark.parametrize(
    ("shape", "n_labeled", "hidden"),
    [
        ((784, 60_000, 10), 1_000, (500, 500, 500)),
        ((784, 60_000, 10), None, (500, 250)),
        ((784, 60_000, 10), 5_000, (500, 250)),  # not few
        ((784, 10_999, 10), 1_000, (500, 250)),  # not many without a label
        ((784, 60_000, None), 1_000, (500, 250)),  # no classes
        ((159, 60_000, 10), 1_000, (100, 100)),  # narrow rows
    ],
)
def test_few_labels_among_many_rows_take_three_layers_of_equal_width(shape, n_labeled, hidden):
    advice = suggest_layer_sizes(*shape, n_labeled=n_labeled)
    assert advice.hidden_layer_sizes == hidden
    assert len(advice.reasons) == len(advice.sizes)
    silent(shape[0], hidden, n_samples=shape[1])
    if len(hidden) == 3:
        assert "1,000 of 60,000 rows have a label" in str(advice)


@given(features, rows, classes)
def test_a_suggestion_passes_its_own_check(n_features, n_samples, n_classes):
    advice = suggest_layer_sizes(n_features, n_samples, n_classes)
    silent(n_features, advice.hidden_layer_sizes, n_samples=n_samples)
    if n_features >= 160:
        silent(n_features, advice.hidden_layer_sizes, n_samples=n_samples, autoencoder=True)


@given(features, rows, classes)
def test_a_suggestion_keeps_the_rules(n_features, n_samples, n_classes):
    advice = suggest_layer_sizes(n_features, n_samples, n_classes)
    assert len(advice.reasons) == len(advice.sizes) == len(str(advice).splitlines()) - 2
    if n_classes:
        assert min(advice.hidden_layer_sizes) >= 64
    if n_features < 160:
        assert set(advice.hidden_layer_sizes) == {100}
    else:
        least = 64 if n_classes else 0
        for size, share in zip(advice, (0.64, 0.32), strict=False):
            assert size == least or abs(size / (share * n_features) - 1) <= 0.06


@case_by_case(
    ("n_features", "hidden", "n_samples"),
    [
        (784, (500, 250), 60_000),
        (784, (500, 500, 2000), 60_000),
        (784, (1000, 500, 250, 30), 60_000),
        (784, (400, 200, 100, 50, 25, 6), 20_000),
        (625, (2000, 1000, 500, 30), 103_500),
        (2000, (500, 250, 125, 10), 400_000),
        (64, (100, 100), 1_797),
        (64, (20,), 1_797),
        (30, (100, 100), 569),
        (13, (100, 100), 178),
    ],
)
@case_by_case("known", [True, False])
def test_published_shapes_and_defaults_are_silent(n_features, hidden, n_samples, known):
    silent(n_features, hidden, n_samples=n_samples if known else None)
    if hidden[-1] <= 30:
        silent(n_features, hidden, n_samples=n_samples if known else None, autoencoder=True)


def test_under_a_quarter():
    advice = only_advice(784, (100, 100))
    assert "layer 1 with 100 units" in advice
    assert "layer 2" not in advice
    assert "at least 196 units" in advice
    assert "784 -> 500 -> 250" in advice
    silent(784, (196,))
    assert "195 units" in only_advice(784, (195,))
    assert "at least 197" in only_advice(785, (196,))


def test_every_narrow_layer_is_named():
    advice = only_advice(784, (150, 500, 60), code=False)
    assert "layer 1 with 150 units" in advice
    assert "layer 3 with 60 units" in advice


def test_a_narrow_top_is_a_code_only_where_meant():
    assert "layer 2 with 30 units" in only_advice(784, (500, 30))
    silent(784, (500, 30), code=True)
    silent(784, (500, 30), autoencoder=True)
    assert "layer 4 with 30 units" in only_advice(784, (1000, 500, 250, 30), code=False)
    assert "layer 3 with 10 units" in only_advice(784, (500, 600, 10))
    assert "layer 2 with 100 units" in only_advice(784, (500, 100, 20), autoencoder=True)


def test_narrow_layers_over_few_features_are_silent():
    silent(159, (10, 10))
    assert "at least 40" in only_advice(160, (10, 10))


def test_an_identity():
    advice = only_advice(784, (1000, 700), autoencoder=True)
    assert "narrowest layer has 700" in advice
    assert "at most 627" in advice
    assert "250" in advice
    assert only_advice(784, (628,), autoencoder=True)
    silent(784, (627,), autoencoder=True)
    silent(784, (784,))
    silent(784, (784,), autoencoder=True, noise=True)
    silent(784, (784,), autoencoder=True, sparsity=True)


def test_an_identity_over_one_feature_leaves_only_noise_or_sparsity():
    advice = only_advice(1, (5,), autoencoder=True)
    assert "noise or sparsity" in advice
    assert "at most" not in advice


@given(features, st.booleans())
def test_the_numbers_in_the_advice_are_right(n_features, autoencoder):
    """The limit that an advice names passes the check, and the next size beyond it does not."""
    if autoencoder:
        most = max((n for n in range(n_features) if n < 0.8 * n_features), default=0)
        if most:
            silent(n_features, (most,), autoencoder=True)
        beyond = most + 1
    else:
        least = next(n for n in range(1, n_features + 1) if n >= n_features / 4)
        silent(n_features, (least,))
        beyond = least - 1
        if n_features < 160:
            return
    advice = only_advice(n_features, (beyond,), autoencoder=autoencoder)
    if autoencoder and most:
        assert f"at most {most} units" in advice
    elif not autoencoder:
        assert f"at least {least} units" in advice


@case_by_case(("n_samples", "most"), [(99, 2), (100, 3), (999, 3), (1_000, 4), (9_999, 4), (10_000, 6), (99_999, 6)])
def test_more_depth_than_the_rows_carry(n_samples, most):
    silent(64, (100,) * most, n_samples=n_samples)
    advice = only_advice(64, (100,) * (most + 1), n_samples=n_samples)
    assert f"{most + 1} hidden layers" in advice
    assert f"{n_samples} rows" in advice
    assert f"at most {most}" in advice


def test_large_sets_carry_any_depth():
    silent(64, (100,) * 20, n_samples=100_000)


def test_several_findings_are_one_warning():
    with pytest.warns(SizingWarning) as record:
        advice = check_layer_sizes(784, (700, 800, 900), autoencoder=True, n_samples=50)
    assert len(advice) == 2
    assert len(record) == 1
    assert all(line in str(record[0].message) for line in advice)


def test_the_warning_points_at_the_line_that_calls_the_package():
    X = np.random.default_rng(0).random((20, 160))
    calls = (lambda: check_layer_sizes(160, (10,)), lambda: DBN((10,), rbm=RBM(n_iter=1)).fit(X))
    for call in calls:
        with pytest.warns(SizingWarning, match="under a quarter") as record:
            call()
        assert (record[0].filename, record[0].lineno) == (__file__, call.__code__.co_firstlineno)


@case_by_case("sizes", [300, np.int64(300), [300], np.array([300, 200]), (np.int32(300),)])
def test_sizes_may_be_an_integer_or_any_sequence(sizes):
    silent(784, sizes)


@case_by_case("sizes", [0, -5, 2.5, True, None, (), "auto", (500, 0), (500, -1), (500, 250.0), ("500",)])
def test_bad_sizes_are_refused(sizes):
    with pytest.raises(SettingError, match="hidden_layer_sizes"):
        check_layer_sizes(784, sizes)


@case_by_case("bad", [0, -1, 2.0, "784", True])
def test_bad_numbers_are_refused(bad):
    with pytest.raises(SettingError, match="n_features must be an integer"):
        suggest_layer_sizes(bad)
    with pytest.raises(SettingError, match="n_features must be an integer"):
        check_layer_sizes(bad, (500,))
    with pytest.raises(SettingError, match="n_samples must be an integer"):
        suggest_layer_sizes(784, bad)
    with pytest.raises(SettingError, match="n_samples must be an integer"):
        check_layer_sizes(784, (500,), n_samples=bad)
    with pytest.raises(SettingError, match="n_classes must be an integer"):
        suggest_layer_sizes(784, 100, bad)


@case_by_case(
    ("batch_size", "n_rows", "least", "word"),
    [
        (1, 1000, 2, "matrix products inefficient"),
        (2, 1000, 2, ""),
        (1, 999, 2, ""),
        (10, 60_000, 32, "take 32 to 320"),
        (32, 60_000, 32, ""),
        (1000, 60_000, 32, ""),
        (5000, 5000, 2, "one update in an epoch of 5000 rows"),
        (6000, 5000, 2, "one update"),
        (4999, 5000, 2, ""),
        (1999, 1999, 2, ""),
    ],
)
def test_advice_on_minibatches(batch_size, n_rows, least, word):
    advice = batch_size_advice(batch_size, n_rows, least)
    assert word in str(advice)
    assert bool(word) == bool(advice)


@pytest.mark.slow
def test_estimators_warn_once_of_wasteful_minibatches():
    X = np.random.default_rng(0).random((1000, 4))
    rbm = RBM(3, n_iter=1, batch_size=1)
    for fit in (rbm.fit, DBN((3, 3), rbm=rbm).fit):
        with pytest.warns(SizingWarning, match="batch_size=1 makes") as caught:
            fit(X)
        assert len(caught) == 1
        assert caught[0].filename == __file__
    clf = DBNClassifier((3,), rbm=RBM(n_iter=1), batch_size=1, max_iter=1)
    with pytest.warns(SizingWarning, match="batch_size=1 makes") as caught:
        clf.fit(X, X[:, 0] > 0.5)
    assert [w.filename for w in caught] == [__file__]
