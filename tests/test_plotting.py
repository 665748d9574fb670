"""Figures: what is drawn is what the model holds, computed here by its definition."""

import io
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import imread
from scipy import sparse
from sklearn.datasets import load_digits
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, RBMClassifier, learning_rate_sweep
from deepbelief.errors import DataError, MissingExtraError, SettingError
from deepbelief.estimators.views import reconstruct
from deepbelief.plotting import (
    QUANTITIES,
    RateSweepDisplay,
    ReconstructionDisplay,
    TrainingDisplay,
    WeightsDisplay,
    plot_hidden_probabilities,
    plot_learning_curves,
    plot_receptive_fields,
    plot_reconstructions,
    plot_rows,
    plot_samples,
    plot_weight_histogram,
    to_png,
)
from deepbelief.pretraining import transform
from deepbelief.sources import as_source
from deepbelief.stack import Stack, Weights

SHORT = RBM(n_iter=2, batch_size=20)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def X():
    return (load_digits().data[:120] / 16).astype(np.float64)


@pytest.fixture(scope="module")
def y():
    return load_digits().target[:120]


@pytest.fixture(scope="module")
def dbn(X):
    return DBN((12, 8), rbm=SHORT, random_state=0).fit(X)


@pytest.fixture(scope="module")
def clf(X, y):
    return DBNClassifier((12, 8), rbm=SHORT, max_iter=3, early_stopping=True, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def table(X):
    """A model of rows that are not images: ten columns, standardised."""
    rows = X[:, 20:30] * 7 - 3
    return DBN((6, 5), rbm=RBM(n_iter=2, visible="gaussian"), random_state=0).fit(rows), rows


class Autoencoder:
    """A model that goes both ways by its own methods, and has fine-tuned layers that would not."""

    def __init__(self, dbn):
        self.pretrained_stack_ = dbn.stack_
        self.stack_ = Stack(tuple(dbn.stack_.layers), tuned=True)
        self.history_ = [{"phase": "finetune", "epoch": 1, "loss": 2.0, "validation_loss": 3.0}]

    def transform(self, X):
        return np.asarray(X)[:, :3] * 2

    def inverse_transform(self, codes):
        return np.repeat(codes, 22, axis=1)[:, :64] / 2


def image(ax):
    """Return the values of the only image on the axes, masked ones as NaN."""
    (drawn,) = ax.images
    return np.ma.filled(drawn.get_array().astype(float), np.nan)


def tiles(values, shape, n):
    """Cut a mosaic into its first n images, and check that nothing but masked pixels lies between."""
    height, width = shape
    n_columns = (values.shape[1] + 1) // (width + 1)
    values = values.copy()
    out = []
    for i in range(n):
        top, left = i // n_columns * (height + 1), i % n_columns * (width + 1)
        part = values[top : top + height, left : left + width]
        out.append(part.copy())
        part[...] = np.nan
    assert np.isnan(values).all()
    return np.array(out)


# Receptive fields


def test_each_tile_is_the_column_of_its_unit(dbn):
    ax = plot_receptive_fields(dbn)
    W = dbn.stack_.layers[0].W
    np.testing.assert_array_equal(tiles(image(ax), (8, 8), 12), W.T.reshape(12, 8, 8))
    assert "12 of 12 units" in ax.get_title()
    low, high = ax.images[0].get_clim()
    assert low == -high  # so that the middle of the colours is 0
    assert np.mean(np.abs(W) <= high) > 0.99


def test_the_first_units_are_drawn(dbn):
    W = dbn.stack_.layers[0].W
    np.testing.assert_array_equal(tiles(image(plot_receptive_fields(dbn, n=5)), (8, 8), 5), W.T[:5].reshape(5, 8, 8))


def test_layers_above_are_projected_down(dbn):
    lower, upper = dbn.stack_
    expected = np.einsum("ij,jk->ki", lower.W, upper.W).reshape(8, 8, 8)
    np.testing.assert_allclose(tiles(image(plot_receptive_fields(dbn, layer=1)), (8, 8), 8), expected, rtol=1e-10)


def test_the_projection_is_the_derivative_of_linear_units():
    rng = np.random.default_rng(0)
    lower = Weights(rng.normal(size=(5, 4)), np.zeros(5), rng.normal(size=4), "gaussian", "gaussian")
    upper = Weights(
        rng.normal(size=(4, 3)), np.zeros(4), rng.normal(size=3), "gaussian", "gaussian",
        mean=rng.normal(size=4), scale=rng.random(4) + 0.5,
    )  # fmt: skip
    stack = Stack((lower, upper))
    from deepbelief.backends import get_backend

    values = transform(stack, as_source(np.vstack([np.zeros(5), np.eye(5)])), get_backend("numpy"))
    np.testing.assert_allclose(image(plot_receptive_fields(stack, layer=1)), values[1:] - values[0], rtol=1e-10)


def test_every_kind_of_model_shows_its_own_weights(X, dbn, clf):
    rbm = RBM(9, n_iter=1, random_state=0).fit(X)
    before = clf.pretrained_stack_
    for model, W in [(rbm, rbm.weights_.W), (clf, clf.coefs_[0]), (before, before.layers[0].W)]:
        found = tiles(image(plot_receptive_fields(model)), (8, 8), W.shape[1])
        np.testing.assert_array_equal(found, W.T.reshape(-1, 8, 8))


def test_rows_that_are_no_image_give_a_heat_map(table):
    dbn, _ = table
    ax = plot_receptive_fields(dbn, n=4)
    np.testing.assert_array_equal(image(ax), dbn.stack_.layers[0].W[:, :4])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("hidden unit", "input")


def test_shapes(dbn):
    W = dbn.stack_.layers[0].W
    wide = tiles(image(plot_receptive_fields(dbn, shape=(4, 16))), (4, 16), 12)
    np.testing.assert_array_equal(wide, W.T.reshape(12, 4, 16))
    np.testing.assert_array_equal(image(plot_receptive_fields(dbn, shape=None)), W)


@case_by_case("n_features", [49, 63, 65, 80])
def test_small_squares_and_other_numbers_are_no_images(n_features):
    rows = np.random.default_rng(0).random((3, n_features))
    np.testing.assert_array_equal(image(plot_rows(rows)), rows)


# Rows


def test_originals_above_reconstructions(dbn, X):
    ax = plot_reconstructions(dbn, X, n=7)
    upper_and_lower = tiles(image(ax), (8, 8), 14).reshape(14, 64)
    np.testing.assert_array_equal(upper_and_lower[:7], X[:7])
    np.testing.assert_allclose(upper_and_lower[7:], dbn.inverse_transform(dbn.transform(X[:7])), rtol=1e-12)
    assert image(ax).shape == (17, 7 * 9 - 1)  # two rows of seven


def test_an_rbm_reconstructs_through_its_conditionals(X):
    rbm = RBM(9, n_iter=1, random_state=0).fit(X)
    h = sigmoid(X[:4] @ rbm.weights_.W + rbm.intercept_hidden_)
    expected = sigmoid(h @ rbm.weights_.W.T + rbm.intercept_visible_)
    np.testing.assert_allclose(tiles(image(plot_reconstructions(rbm, X, n=4)), (8, 8), 8)[4:].reshape(4, 64), expected)


def test_a_classifier_reconstructs_through_its_pretrained_layers(clf, X):
    expected = image(plot_reconstructions(clf.pretrained_stack_, X))
    np.testing.assert_array_equal(image(plot_reconstructions(clf, X)), expected)
    assert not clf.pretrained_stack_.tuned


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_units_of_the_label_take_its_probability_and_are_not_drawn(visible, X, y):
    template = RBM(n_iter=2, visible=visible, batch_size=20)
    clf = RBMClassifier(9, rbm=template, random_state=0).fit(X[:, 20:36], y)
    rows, n, weights = X[:5, 20:36], 16, clf.weights_
    v = rows if weights.mean is None else (rows - weights.mean[:n]) / weights.scale[:n]
    h = sigmoid(np.hstack([v, clf.predict_proba(rows)]) @ weights.W + weights.hbias)
    made = h @ weights.W[:n].T + weights.vbias[:n]
    made = sigmoid(made) if weights.mean is None else made * weights.scale[:n] + weights.mean[:n]
    np.testing.assert_allclose(reconstruct(clf, rows), made, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(image(plot_hidden_probabilities(clf, rows)), h, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(image(plot_receptive_fields(clf, shape=None)), weights.W[:n])
    assert image(plot_reconstructions(clf, rows, shape=None)).shape == (11, n)
    assert image(plot_samples(clf, n=10, n_steps=2, shape=None)).shape == (10, n)


def test_a_model_with_both_ways_is_asked_itself(dbn, X):
    model = Autoencoder(dbn)
    made = tiles(image(plot_reconstructions(model, X, n=3)), (8, 8), 6)[3:].reshape(3, 64)
    np.testing.assert_array_equal(made, np.repeat(X[:3, :3], 22, axis=1)[:, :64])
    np.testing.assert_array_equal(image(plot_hidden_probabilities(model, X, layer=1, n=3)), X[:3, :3] * 2)
    expected = image(plot_samples(dbn.stack_, n=2, n_steps=3, random_state=0))
    np.testing.assert_array_equal(image(plot_samples(model, n=2, n_steps=3, random_state=0)), expected)


def test_tables_are_drawn_as_they_enter_the_model(table):
    dbn, rows = table
    first = dbn.stack_.layers[0]
    values = image(plot_reconstructions(dbn, rows, n=6))
    made = dbn.inverse_transform(dbn.transform(rows[:6]))
    np.testing.assert_allclose(values[:6], (rows[:6] - first.mean) / first.scale, rtol=1e-9)
    np.testing.assert_allclose(values[7:], (made - first.mean) / first.scale, rtol=1e-6, atol=1e-9)
    assert np.isnan(values[6]).all()


@case_by_case("kind", [np.asarray, sparse.csr_matrix, lambda a: a.tolist(), as_source, pd.DataFrame])
def test_rows_of_every_kind(dbn, X, kind):
    expected = image(plot_reconstructions(dbn, X))
    if kind is pd.DataFrame:
        frame = pd.DataFrame(X, columns=[f"p{i}" for i in range(64)])
        model = DBN((12, 8), rbm=SHORT, random_state=0).fit(frame)  # names of features that do not fit are warned of
        np.testing.assert_allclose(image(plot_reconstructions(model, frame)), expected, atol=1e-12)
        return
    np.testing.assert_allclose(image(plot_reconstructions(dbn, kind(X))), expected, atol=1e-6)
    assert image(plot_hidden_probabilities(dbn, kind(X))).shape == (100, 12)


def test_grey_levels(X):
    rows = np.full((2, 64), 0.5)
    assert plot_rows(rows).images[0].get_clim() == (0, 1)
    assert plot_rows(rows * 5 - 4).images[0].get_clim() == (-1.5, -0.5)
    assert plot_rows(X[:2] * 3).images[0].get_clim() == (0, X[:2].max() * 3)


def test_samples_are_the_models(dbn, X):
    expected = dbn.sample(5, n_steps=4, random_state=9).reshape(5, 8, 8)
    ax = plot_samples(dbn, n=5, n_steps=4, random_state=9)
    np.testing.assert_array_equal(tiles(image(ax), (8, 8), 5), expected)
    assert ax.get_title() == "5 samples after 4 Gibbs steps"


def test_an_rbm_samples_as_a_network_of_one_layer_would(X):
    rbm = RBM(9, n_iter=2, batch_size=20, random_state=0).fit(X)
    dbn = DBN((9,), rbm=SHORT, random_state=0).fit(X)
    drawn = [image(plot_samples(model, n=3, n_steps=5, random_state=1)) for model in (rbm, dbn)]
    np.testing.assert_array_equal(*drawn)


def test_chains_reach_what_the_machine_is_about():
    W = np.zeros((64, 1))
    stack = Stack((Weights(W, np.where(np.arange(64) < 32, 4.0, -4.0), np.zeros(1)),))
    drawn = tiles(image(plot_samples(stack, n=4, n_steps=2)), (8, 8), 4)
    np.testing.assert_allclose(drawn, np.broadcast_to(sigmoid(stack.layers[0].vbias).reshape(8, 8), (4, 8, 8)))


def test_a_classifier_samples_from_its_pretrained_layers(clf):
    drawn = [image(plot_samples(m, n=3, n_steps=5, random_state=1)) for m in (clf, clf.pretrained_stack_)]
    np.testing.assert_array_equal(*drawn)


# Hidden units


def test_hidden_probabilities_are_those_of_each_layer(dbn, X):
    first = sigmoid(X[:30] @ dbn.stack_.layers[0].W + dbn.stack_.layers[0].hbias)
    np.testing.assert_allclose(image(plot_hidden_probabilities(dbn, X, n=30)), first, rtol=1e-10)
    ax = plot_hidden_probabilities(dbn, X, n=30, layer=1)
    np.testing.assert_allclose(image(ax), dbn.transform(X[:30]), rtol=1e-10)
    assert ax.images[0].get_clim() == (0, 1)
    assert ax.images[0].get_cmap()(0.0)[:3] == (0, 0, 0)
    assert ax.images[0].get_cmap()(1.0)[:3] == (1, 1, 1)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("hidden unit", "case")


@pytest.mark.parametrize(("name", "function"), [("tanh", np.tanh), ("relu", lambda x: np.maximum(x, 0))])
def test_hidden_values_of_a_network_are_its_own(X, y, name, function):
    clf = DBNClassifier((12, 8), rbm=SHORT, max_iter=2, activation=name, learning_rate_init=0.01, random_state=0)
    clf.fit(X, y)
    expected = function(X[:9] @ clf.coefs_[0] + clf.intercepts_[0])
    np.testing.assert_allclose(image(plot_hidden_probabilities(clf, X, n=9)), expected, atol=1e-10)
    top = function(expected @ clf.coefs_[1] + clf.intercepts_[1])
    np.testing.assert_allclose(image(plot_hidden_probabilities(clf, X, n=9, layer=1)), top, atol=1e-10)


def test_hidden_values_of_standardised_rows(table):
    dbn, rows = table
    first = dbn.stack_.layers[0]
    expected = sigmoid((rows[:9] - first.mean) / first.scale @ first.W + first.hbias)
    np.testing.assert_allclose(image(plot_hidden_probabilities(dbn, rows, n=9)), expected, rtol=1e-9)
    np.testing.assert_allclose(image(plot_hidden_probabilities(dbn.stack_, rows, n=9)), expected, rtol=1e-9)


# Weights and updates


def bars(ax):
    """Return heights and left ends of the bars."""
    return np.array([bar.get_height() for bar in ax.patches]), np.array([bar.get_x() for bar in ax.patches])


def test_the_histogram_counts_weights(dbn):
    for layer, weights in enumerate(dbn.stack_):
        ax = plot_weight_histogram(dbn, layer=layer)
        heights, left = bars(ax)
        width = ax.patches[0].get_width()
        for height, low in zip(heights, left, strict=True):
            distance = weights.W - low
            assert abs(height - ((distance >= 0) & (distance < width)).sum()) <= 1  # rounding at an edge
        assert heights.sum() == weights.W.size
        assert f"{np.sqrt(np.mean(weights.W**2)):.2g}" in ax.get_xlabel()


def test_updates_of_an_rbm_are_its_last(X):
    rbm = RBM(9, n_iter=1, batch_size=len(X), random_state=0)
    before = RBM(9, n_iter=1, batch_size=len(X), random_state=0, learning_rate=1e-30).fit(X).weights_.W
    moved = rbm.fit(X).weights_.W - before  # a single update
    ax = plot_weight_histogram(rbm, of="updates")
    counts, edges = np.histogram(moved, len(ax.patches))
    heights, left = bars(ax)
    np.testing.assert_allclose(left, edges[:-1], atol=1e-9)
    assert np.abs(heights - counts).sum() <= 4
    assert "last update" in ax.get_title()
    ratio = np.sqrt(np.mean(moved**2) / np.mean(rbm.weights_.W**2))
    assert f"{ratio:.2g} of their size" in ax.get_title()


@pytest.mark.parametrize("settings", [{}, {"activation": "tanh"}, {"rbm": RBM(n_iter=2, hidden="rectified")}])
def test_updates_of_a_fine_tuned_model_are_its_way_from_pretraining(X, y, settings):
    settings = {"rbm": SHORT, **settings}
    still = DBNClassifier((12, 8), max_iter=1, random_state=0, pretrained_lr_factor=0, **settings).fit(X, y)
    moved = DBNClassifier((12, 8), max_iter=1, random_state=0, learning_rate_init=0.01, **settings).fit(X, y)
    factor = 2 if settings.get("activation") == "tanh" else 1  # as weights of Bernoulli units, h = (1 + t) / 2
    for layer, scale in ((0, factor), (1, factor**2)):
        heights, _ = bars(plot_weight_histogram(still, layer=layer, of="updates"))
        assert heights.max() == heights.sum()  # all of them near 0
        ax = plot_weight_histogram(moved, layer=layer, of="updates")
        expected = scale * (moved.coefs_[layer] - still.coefs_[layer])
        _, left = bars(ax)
        np.testing.assert_allclose(left[0], expected.min(), rtol=1e-6)
        np.testing.assert_allclose(left[-1] + ax.patches[-1].get_width(), expected.max(), rtol=1e-6)
        assert "fine-tuning" in ax.get_title()


# Learning curves


def drawn(ax):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}


def test_curves_have_the_values_of_the_history(X):
    rbm = RBM(n_iter=3, batch_size=20, validation_fraction=0.2)
    dbn = DBN((12, 8), rbm=rbm, n_passes=2, random_state=0).fit(X)
    for name, suffix in (("reconstruction_error", ""), ("free_energy_gap", ", held-out rows")):
        values = [[r[name] for r in dbn.history_ if r["layer"] == k] for k in (1, 2)]
        expected = {f"layer {k}{suffix}": ([1, 2, 3, 4, 5, 6], values[k - 1]) for k in (1, 2)}
        assert drawn(plot_learning_curves(dbn, quantities=name)) == expected
        assert drawn(plot_learning_curves(dbn.history_, quantities=[name])) == expected
    assert drawn(plot_learning_curves(dbn)) == drawn(plot_learning_curves(dbn, quantities="reconstruction_error"))


def test_a_dot_marks_where_a_pass_begins(X):
    dbn = DBN((12,), rbm=RBM(n_iter=2), n_passes=3, random_state=0).fit(X)
    (line,) = plot_learning_curves(dbn).lines
    assert line.get_markevery() == [2, 4]
    (line,) = plot_learning_curves(DBN((12,), rbm=RBM(n_iter=4), random_state=0).fit(X)).lines
    assert line.get_marker() in ("", "None")
    (line,) = plot_learning_curves(RBM(4, n_iter=1).fit(X)).lines
    assert (line.get_marker(), line.get_markevery()) == ("o", [0])  # a single point makes no line


def test_fine_tuning_has_a_line_for_held_out_rows(clf):
    found = drawn(plot_learning_curves(clf))
    tuned = [r for r in clf.history_ if r["phase"] == "finetune"]
    epochs = [r["epoch"] for r in tuned]
    assert found["fine-tuning"] == (epochs, clf.loss_curve_)
    assert found["fine-tuning, held-out rows"] == (epochs, [r["validation_loss"] for r in tuned])
    assert set(found) == {"layer 1", "layer 2", "fine-tuning", "fine-tuning, held-out rows"}
    styles = {line.get_label(): line.get_linestyle() for line in plot_learning_curves(clf).lines}
    assert styles["fine-tuning"] == "-"
    assert styles["fine-tuning, held-out rows"] == "--"
    score = drawn(plot_learning_curves(clf, quantities="validation_score"))
    assert score == {"fine-tuning, held-out rows": (epochs, [r["validation_score"] for r in tuned])}


def test_axes_fit_the_values():
    def scale(values):
        return plot_learning_curves([{"loss": v} for v in values]).get_yscale()

    assert scale([100.0, 1.0]) == "log"
    assert scale([2.0, 1.0]) == "linear"
    assert scale([100.0, 0.0]) == "linear"
    gap = [{"free_energy_gap": v, "layer": 1} for v in (-50.0, 100.0)]
    assert plot_learning_curves(gap, quantities="free_energy_gap").get_yscale() == "linear"


def test_a_history_from_a_file_may_say_anything():
    odd = [None, True, "5", [1], {}, float("nan"), float("inf"), 10**400, 1e300]
    history = [{"epoch": i, "loss": v, "phase": "finetune"} for i, v in enumerate([*odd, 3.0, 2.5])]
    history += [{"loss": 1.0, "phase": "$\\frac{$", "epoch": "x"}, {"loss": 1.5, "layer": [1, {}], "phase": "pretrain"}]
    history += [{"loss": 1.5, "phase": {"a": "\x1b[2J"}}]
    ax = plot_learning_curves(history, quantities="loss")
    assert drawn(ax)["fine-tuning"] == ([9, 10], [3.0, 2.5])
    assert all(label.isprintable() for label in drawn(ax))
    assert to_png(ax)


# Axes and files


FUNCTIONS = [
    lambda m, X, **k: plot_receptive_fields(m, **k),
    lambda m, X, **k: plot_reconstructions(m, X, **k),
    lambda m, X, **k: plot_samples(m, n_steps=1, **k),
    lambda m, X, **k: plot_learning_curves(m, **k),
    lambda m, X, **k: plot_weight_histogram(m, **k),
    lambda m, X, **k: plot_hidden_probabilities(m, X, **k),
    lambda m, X, **k: plot_rows(X[:3], **k),
]


@case_by_case("function", FUNCTIONS)
def test_axes_are_taken_and_given_back(function, dbn, X):
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert function(dbn, X, ax=right) is right
    assert right.has_data()
    assert not left.has_data()
    new = function(dbn, X)
    assert new.has_data()
    assert new.figure.axes == [new]


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_figures_become_pngs_for_light_and_dark_pages(function, dbn, X):
    ax = function(dbn, X)
    for ink, level in (("black", 0.0), ("white", 1.0)):
        pixels = imread(io.BytesIO(to_png(ax, ink=ink, dpi=160)))
        assert pixels.shape[2] == 4
        assert pixels[0, 0, 3] == pixels[-1, -1, 3] == 0  # the ground shows through
        assert (pixels[..., 3] == 1).sum() > 1000
        letters = pixels[:, :25] if ax.axison else pixels[:25]  # the label on the left, or the title
        seen = letters[letters[..., 3] > 0.3][:, :3]
        assert len(seen) > 100 or not (ax.axison or ax.get_title())
        assert (np.abs(seen - level) < 0.02).all() or not (ax.axison or ax.get_title())
        for axes in ax.figure.axes:
            assert {to_rgba(spine.get_edgecolor()) for spine in axes.spines.values()} == {to_rgba(ink)}
    assert b"http" not in to_png(ax)


def test_the_ground_of_a_chart_shows_through():
    pixels = imread(io.BytesIO(to_png(plot_learning_curves([{"loss": 2.0}, {"loss": 1.0}]))))
    height, width = pixels.shape[:2]
    inner = pixels[height // 3 : height // 2, width // 3 : width // 2, 3]
    assert (inner == 0).mean() > 0.8


@pytest.mark.slow
def test_no_global_state_and_no_display():
    code = (
        "import sys, warnings, numpy as np\n"
        "from deepbelief import RBM\n"
        "from deepbelief.plotting import plot_receptive_fields, to_png\n"
        "assert 'matplotlib' not in sys.modules\n"
        "to_png(plot_receptive_fields(RBM(4, n_iter=1).fit(np.eye(9)), shape=(3, 3)))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@case_by_case("function", FUNCTIONS)
def test_without_matplotlib_the_extra_is_named(function, dbn, X, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'deepbelief\[plot\]'") as caught:
        function(dbn, X)
    assert isinstance(caught.value, ImportError)


@pytest.mark.slow
def test_names_of_features_are_written_as_they_are(table):
    dbn, rows = table
    names = ["$\\frac{$", "$x$", "a\nb\x07", "名前", "x" * 99, "<b>", "%s", "{0}", "\\alpha", "plain"]
    for ax, axis in [
        (plot_receptive_fields(dbn, feature_names=names), "y"),
        (plot_reconstructions(dbn, rows, feature_names=names), "x"),
        (plot_samples(dbn, n_steps=1, feature_names=names), "x"),
    ]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert to_png(ax)
        labels = [text.get_text() for text in getattr(ax, f"get_{axis}ticklabels")()]
        assert labels[:4] == ["$\\frac{$", "$x$", "a b ", "名前"]
        assert len(labels[4]) <= 20


def test_names_that_fit_saw_are_used(table):
    _, rows = table
    frame = pd.DataFrame(rows, columns=[f"c{i}" for i in range(10)])
    rbm = RBM(3, n_iter=1, random_state=0).fit(frame)
    labels = [text.get_text() for text in plot_receptive_fields(rbm).get_yticklabels()]
    assert labels == list(frame.columns)
    wide = SimpleNamespace(weights_=Weights(np.zeros((41, 2)), np.zeros(41), np.zeros(2)))
    wide.feature_names_in_ = [f"c{i}" for i in range(41)]
    assert len(plot_receptive_fields(wide).get_yticklabels()) < 20


# What cannot be drawn


def test_what_cannot_be_drawn_is_said(dbn, clf, X):
    tuned, line = Stack(tuple(dbn.stack_), tuned=True), [{"epoch": 1, "loss": 1.0}]
    cases = [
        (lambda: plot_receptive_fields(DBN()), SettingError, "not fitted"),
        (lambda: plot_receptive_fields(RBM()), SettingError, "not fitted"),
        (lambda: plot_receptive_fields(np.eye(3)), SettingError, "got ndarray"),
        (lambda: plot_receptive_fields(dbn, layer=2), SettingError, "from 0 to 1, got 2"),
        (lambda: plot_receptive_fields(dbn, layer=-1), SettingError, "from 0 to 1"),
        (lambda: plot_receptive_fields(dbn, layer=True), SettingError, "from 0 to 1"),
        (lambda: plot_receptive_fields(dbn, n=0), SettingError, "n must be"),
        (lambda: plot_receptive_fields(dbn, n=2.5), SettingError, "n must be"),
        (lambda: plot_receptive_fields(dbn, shape=(8, 9)), SettingError, "72 pixels, but a row has 64"),
        (lambda: plot_receptive_fields(dbn, shape=(-8, -8)), SettingError, "64 features"),
        (lambda: plot_receptive_fields(dbn, shape="square"), SettingError, "'auto' or None"),
        (lambda: plot_receptive_fields(dbn, shape=(64,)), SettingError, "'auto' or None"),
        (lambda: plot_receptive_fields(dbn, shape=(6.4, 10)), SettingError, "'auto' or None"),
        (lambda: plot_reconstructions(tuned, X), SettingError, "fine-tuned"),
        (lambda: plot_samples(tuned), SettingError, "fine-tuned"),
        (lambda: plot_samples(dbn, n=0), SettingError, "n must be"),
        (lambda: plot_samples(dbn, n_steps=0), SettingError, "n_steps must be"),
        (lambda: plot_samples(dbn.stack_, n_steps=0), SettingError, "n_steps must be"),
        (lambda: plot_reconstructions(dbn.stack_, X[:, :60]), DataError, "60 features"),
        (lambda: plot_reconstructions(dbn, X * np.nan), DataError, "not finite"),
        (lambda: plot_hidden_probabilities(clf, X[:, :60]), DataError, "60 features"),
        (lambda: plot_hidden_probabilities(dbn, X, layer=5), SettingError, "from 0 to 1"),
        (lambda: plot_weight_histogram(dbn, of="update"), SettingError, "did you mean 'updates'"),
        (lambda: plot_weight_histogram(dbn, of="updates"), SettingError, "a DBN keeps no updates"),
        (lambda: plot_weight_histogram(dbn.stack_, of="updates"), SettingError, "a Stack keeps no updates"),
        (lambda: plot_learning_curves(dbn.stack_), SettingError, "got Stack"),
        (lambda: plot_learning_curves([1, 2]), SettingError, "got list"),
        (lambda: plot_learning_curves([]), SettingError, "history_ lacks"),
        (lambda: plot_learning_curves(line, quantities="los"), SettingError, "did you mean 'loss'"),
        (lambda: plot_learning_curves(line, quantities="validation_loss"), SettingError, "history_ lacks"),
        (lambda: plot_rows(np.zeros(3)), DataError, "table"),
        (lambda: plot_rows(np.eye(3), n_columns=0, shape=(1, 3)), SettingError, "n_columns must be"),
    ]
    for call, kind, match in cases:
        with pytest.raises(kind, match=match):
            call()


@pytest.mark.slow
def test_weights_of_any_size_can_be_drawn():
    for size, dtype in [(0.0, np.float32), (1e-30, np.float32), (1e38, np.float32), (1e99, np.float64)]:
        W = np.full((9, 2), size, dtype)
        stack = Stack((Weights(W, np.zeros(9, dtype), np.zeros(2, dtype)),))
        assert to_png(plot_receptive_fields(stack))
        ax = plot_weight_histogram(stack)
        assert to_png(ax)
        heights, left = bars(ax)
        assert heights.max() == 18
        assert left[heights.argmax()] <= float(W[0, 0]) <= left[heights.argmax()] + ax.patches[0].get_width()


@pytest.mark.slow
def test_weights_that_no_training_makes_are_drawn_somehow():
    W = np.array([[1e308, -1e308, 1e-308], [1e308, 1e308, 0]])
    stack = Stack((Weights(W, np.zeros(2), np.zeros(3)), Weights(W.T.copy(), np.zeros(3), np.zeros(2))))
    with np.errstate(all="ignore"):
        for layer in (0, 1):
            assert to_png(plot_receptive_fields(stack, layer=layer))
            assert to_png(plot_weight_histogram(stack, layer=layer))


def test_every_quantity_has_a_label():
    assert all(quantity.label for quantity in QUANTITIES.values())


def test_displays_keep_what_they_draw_and_draw_it_again(X):
    rbm = RBM(9, n_iter=3, random_state=0).fit(X)
    sweep = learning_rate_sweep(RBM(4, n_iter=2, random_state=0), X, rates=[0.1, 0.001])
    drawn = {
        TrainingDisplay: TrainingDisplay.from_estimator(rbm),
        WeightsDisplay: WeightsDisplay.from_estimator(rbm, n=4),
        ReconstructionDisplay: ReconstructionDisplay.from_estimator(rbm, X, n=3),
        RateSweepDisplay: RateSweepDisplay(sweep).plot(),
    }
    for kind, display in drawn.items():
        assert type(display) is kind
        first = display.ax_
        ax = Figure().subplots()
        assert display.plot(ax=ax) is display
        assert (display.ax_, display.figure_) == (ax, ax.figure)
        assert first is not ax
        assert len(ax.lines) + len(ax.images) + len(ax.collections) > 0
    np.testing.assert_allclose(
        drawn[TrainingDisplay].ax_.lines[0].get_ydata(), [r["reconstruction_error"] for r in rbm.history_]
    )
    places = np.concatenate([dots.get_offsets() for dots in drawn[RateSweepDisplay].ax_.collections])
    np.testing.assert_allclose(sorted(places[:, 1]), sorted(row.score for row in sweep.rows))


def test_a_display_needs_a_fitted_estimator():
    with pytest.raises(SettingError, match="`estimator` must be fitted, got RBM without history_"):
        TrainingDisplay.from_estimator(RBM())
