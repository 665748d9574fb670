"""Fine-tuning: weights of rows, early stopping, divergence, and what a run depends on."""

from dataclasses import replace

import numpy as np
import pytest
from layer_runs import host
from tables import case_by_case

from deepbelief.activations import get_activation
from deepbelief.errors import DivergenceError, SettingError
from deepbelief.finetuning import FineTuner, FineTuneSettings, TrainingSet, finetune, outputs
from deepbelief.losses import SoftmaxNLL
from deepbelief.network import Layer, Network
from deepbelief.schedules import Halving
from deepbelief.sources import as_source
from deepbelief.training import Reporter, Run

N = 24
PLAIN = FineTuneSettings(batch_size=8, max_iter=5, learning_rate_init=0.2)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4))
    return X, (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)


@pytest.fixture(scope="module")
def start():
    rng = np.random.default_rng(1)
    layer = Layer(rng.normal(0, 0.5, (4, 5)), np.zeros(5), get_activation("tanh"))
    return [layer], (rng.normal(0, 0.5, (5, 3)), np.zeros(3))


def labelled(X, y, weights=None):
    return TrainingSet(as_source(X), y, None if weights is None else np.asarray(weights, float))


def run(start, train, bk, settings=PLAIN, **kwargs):
    context = Run(bk, 5, kwargs.pop("reporter", Reporter()))
    return finetune(*start, SoftmaxNLL(), train, settings, context, **kwargs)


def full_batch(start, train, bk):
    """Return the loss and the gradients with all rows in one minibatch."""
    n = len(train.targets)
    network = Network(*start[:1], *start[1], SoftmaxNLL(), bk)
    tuner = FineTuner(network, train, None, replace(PLAIN, batch_size=n).resolve(n, 0.1))
    tuner.begin_epoch(0, np.arange(n))
    tuner._rate = 0.0
    grads = network.backward(tuner.gradient_at_output(0, n))
    return [np.float64(tuner.end_epoch(0)["loss"]), *host(bk, grads)]


def assert_close(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_weight_0_is_removal(problem, start, bk):
    X, y = problem
    weights = (np.arange(N) % 3 > 0).astype(float)
    kept = weights > 0
    assert_close(full_batch(start, labelled(X, y, weights), bk), full_batch(start, labelled(X[kept], y[kept]), bk))


def test_weight_2_is_repetition(problem, start, bk):
    X, y = problem
    weights = 1.0 + (np.arange(N) % 3 == 0)
    index = np.repeat(np.arange(N), weights.astype(int))
    assert_close(full_batch(start, labelled(X, y, weights), bk), full_batch(start, labelled(X[index], y[index]), bk))
    assert_close(full_batch(start, labelled(X, y, 7 * weights), bk), full_batch(start, labelled(X, y, weights), bk))


def test_loss_is_the_mean_over_the_epochs_rows(problem, start, bk):
    X, y = problem
    still = replace(PLAIN, learning_rate_init=1e-12, max_iter=1, batch_size=7)
    (layer,), (W, b) = start
    logits = np.tanh(X @ layer.W + layer.bias) @ W + b
    nll = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(N), y]
    assert run(start, labelled(X, y), bk, still).history[0]["loss"] == pytest.approx(nll.mean())
    weights = np.random.default_rng(2).uniform(0, 2, N)
    weighted = run(start, labelled(X, y, weights), bk, still)
    assert weighted.history[0]["loss"] == pytest.approx((weights * nll).sum() / weights.sum())


def test_training_lowers_the_loss_and_leaves_the_start_alone(problem, start, bk):
    (layer,), (W, _) = start
    before = layer.W.copy(), W.copy()
    tuned = run(start, labelled(*problem), bk, replace(PLAIN, max_iter=100))
    losses = [r["loss"] for r in tuned.history]
    assert losses[-1] < losses[0] / 4
    assert {type(p) for p in tuned.params} == {np.ndarray}
    np.testing.assert_array_equal(layer.W, before[0])
    np.testing.assert_array_equal(W, before[1])


def test_backends_agree_to_the_bit(problem, start, bk):
    from deepbelief.backends import get_backend

    if bk.name == "cupy":
        pytest.skip("CUDA sums in another order")
    one, other = (run(start, labelled(*problem), b).params for b in (bk, get_backend("numpy")))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_history_and_reporter_tell_the_same(problem, start, bk):
    told = []

    class Remember(Reporter):
        def begin(self, what):
            told.append(what)

        def record(self, record):
            told.append(record)

    tuned = run(start, labelled(*problem), bk, reporter=Remember())
    assert told[0] == {"phase": "finetune", "n_epochs": 5, "sizes": (4, 5, 3), "first_epoch": 0}
    assert told[1:] == tuned.history
    assert [r["epoch"] for r in tuned.history] == [1, 2, 3, 4, 5]
    rates = [r["learning_rate"] for r in tuned.history]  # of the last update in each epoch, falling to 0
    np.testing.assert_allclose(rates, [0.2 * (1 - (e + 2 / 3) / 5) for e in range(5)])


def test_two_calls_go_on_where_one_would_be(problem, start, bk):
    """The rows come in the order of one run; only velocities begin anew, so without momentum all is as in one run."""
    plain = replace(PLAIN, momentum=0.0, schedule="constant", max_iter=3)
    first = run(start, labelled(*problem), bk, plain)
    layer = Layer(first.params[0], first.params[1], start[0][0].activation)
    second = run(([layer], tuple(first.params[2:])), labelled(*problem), bk, plain, first_epoch=first.epochs)
    whole = run(start, labelled(*problem), bk, replace(plain, max_iter=6))
    assert second.epochs == whole.epochs == 6
    for a, b in zip(second.params, whole.params, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_may_stop_within_its_schedule(problem, start, bk):
    part = run(start, labelled(*problem), bk, n_epochs=2)
    whole = run(start, labelled(*problem), bk)
    assert [r["loss"] for r in part.history] == [r["loss"] for r in whole.history[:2]]


@case_by_case("factor", [0.0, 0.5])
def test_layers_below_the_head_may_learn_at_a_fraction_of_the_rate(problem, start, bk, factor):
    one = replace(PLAIN, batch_size=N, max_iter=1, momentum=0.0, alpha=0.0)
    moved = run(start, labelled(*problem), bk, replace(one, pretrained_lr_factor=factor)).params
    full = run(start, labelled(*problem), bk, one).params
    before = [start[0][0].W, start[0][0].bias, *start[1]]
    for i, share in enumerate((factor, factor, 1, 1)):
        np.testing.assert_allclose(moved[i] - before[i], share * (full[i] - before[i]), rtol=1e-9, atol=1e-15)


@case_by_case(("setting", "still"), [({"n_frozen": 1}, 6), ({"head_epochs": 3}, 3)])
def test_the_lower_layers_may_stand_still(problem, bk, setting, still):
    """Frozen layers stay as they were; with head-only epochs the layers below follow after them."""
    rng = np.random.default_rng(1)
    layers = [
        Layer(rng.normal(0, 0.5, shape), np.zeros(shape[1]), get_activation("tanh")) for shape in ((4, 5), (5, 5))
    ]
    start = layers, (rng.normal(0, 0.5, (5, 3)), np.zeros(3))
    settings = replace(PLAIN, max_iter=6, alpha=0.1, l1=0.01, max_norm=0.5, **setting)
    for n_epochs in (still, 6):
        params = run(start, labelled(*problem), bk, settings, n_epochs=n_epochs).params
        stood = [
            np.array_equal(a, b) for a, b in zip(params[:4], [a for x in layers for a in (x.W, x.bias)], strict=True)
        ]
        all_below = "head_epochs" in setting
        assert stood[:2] == [n_epochs == still] * 2
        assert stood[2:] == [all_below and n_epochs == still] * 2
        assert not np.array_equal(params[4], start[1][0])


def test_l1_adds_its_slope(problem, start, bk):
    one = replace(PLAIN, batch_size=N, max_iter=1, momentum=0.0, alpha=0.0)
    plain = run(start, labelled(*problem), bk, one).params
    found = run(start, labelled(*problem), bk, replace(one, l1=0.25)).params
    for i, before in ((0, start[0][0].W), (2, start[1][0])):
        np.testing.assert_allclose(plain[i] - found[i], 0.2 * 0.25 * np.sign(before), rtol=1e-9)
    for i in (1, 3):
        np.testing.assert_array_equal(plain[i], found[i])


def test_max_norm_keeps_the_weights_into_each_unit_short(problem, start, bk):
    free = run(start, labelled(*problem), bk).params
    limit = float(np.median(np.linalg.norm(free[0], axis=0)))
    kept = run(start, labelled(*problem), bk, replace(PLAIN, max_norm=limit)).params
    for W in kept[::2]:
        assert np.linalg.norm(W, axis=0).max() <= limit * (1 + 1e-9)
    # One update: those within the limit are as without it, the others are shorter by a factor.
    one = replace(PLAIN, batch_size=N, max_iter=1)
    limit = float(np.median(np.linalg.norm(run(start, labelled(*problem), bk, one).params[0], axis=0)))
    W, V = (run(start, labelled(*problem), bk, s).params[0] for s in (one, replace(one, max_norm=limit)))
    norms = np.linalg.norm(W, axis=0)
    assert (norms < limit).any()
    assert (norms > limit).any()
    np.testing.assert_allclose(V, W * np.minimum(1, limit / norms), rtol=1e-12)


def test_dropout_is_for_training_only(problem, start, bk):
    """Units are dropped in updates, not when validation rows are judged; the same seed drops the same ones."""
    settings = replace(PLAIN, dropout=0.5, input_dropout=0.25)
    one, other = (run(start, labelled(*problem), bk, settings).params for _ in range(2))
    plain = run(start, labelled(*problem), bk).params
    for a, b, c in zip(one, other, plain, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    still = replace(settings, learning_rate_init=1e-12, max_iter=1)
    record = run(start, labelled(*problem), bk, still, validation=labelled(*problem)).history[0]
    whole = run(start, labelled(*problem), bk, replace(still, dropout=0.0, input_dropout=0.0)).history[0]
    assert record["validation_loss"] == pytest.approx(whole["loss"])
    assert record["loss"] != pytest.approx(whole["loss"], rel=1e-3)


def test_shares_are_one_for_each_hidden_layer(problem, start, bk):
    one = run(start, labelled(*problem), bk, replace(PLAIN, dropout=0.5)).params
    listed = run(start, labelled(*problem), bk, replace(PLAIN, dropout=[0.5])).params
    np.testing.assert_array_equal(one[0], listed[0])
    with pytest.raises(SettingError, match="2 rates for 1 hidden"):
        run(start, labelled(*problem), bk, replace(PLAIN, dropout=[0.5, 0.5]))


def test_halving_follows_the_validation_rows(problem, start, bk):
    X, y = problem
    settings = replace(PLAIN, schedule=Halving(1), learning_rate_init=2.0, momentum=0.0, max_iter=20)
    history = run(start, labelled(X, y), bk, settings, validation=labelled(X, (y + 1) % 3)).history
    losses = [r["validation_loss"] for r in history]
    assert [r["learning_rate"] for r in history] == [2.0 * Halving(1).after(losses[:i]) for i in range(len(losses))]
    assert history[-1]["learning_rate"] < 1


def test_a_momentum_ramp_counts_updates(problem, start, bk, monkeypatch):
    seen = []

    def spy(updates):
        seen.append(updates)
        return 0.0

    monkeypatch.setattr("deepbelief.finetuning.momentum_ramp", spy)
    settings = replace(PLAIN, momentum="ramp", schedule="constant", max_iter=3)
    run(start, labelled(*problem), bk, replace(settings, batch_size=7), first_epoch=2)
    assert seen == list(range(8, 20))  # 4 updates an epoch, the short one too
    monkeypatch.undo()
    ramped = run(start, labelled(*problem), bk, settings).params
    half = run(start, labelled(*problem), bk, replace(settings, momentum=0.5)).params
    for a, b in zip(ramped, half, strict=True):
        np.testing.assert_array_equal(a, b)


@case_by_case(
    ("setting", "rate"),
    [
        ({}, 0.2), ({"momentum": 0.5}, 0.2), ({"momentum": 0.99}, 0.02), ({"momentum": "ramp"}, 0.02),
        ({"solver": "adam", "momentum": 0.99}, 0.003), ({"momentum": 0.99, "learning_rate_init": 0.4}, 0.4),
    ],
)  # fmt: skip
def test_a_large_momentum_lowers_the_automatic_rate(setting, rate):
    assert FineTuneSettings(**setting).resolve(100, 0.2).learning_rate_init == pytest.approx(rate)


class Scripted(FineTuner):
    """Validation scores as given, to see what early stopping makes of them."""

    scores = ()

    def _judge(self, held_out):
        self.kept = getattr(self, "kept", [])
        self.kept.append(self.network.host_params())
        return 0.0, self.scores[len(self.kept) - 1]


@case_by_case(
    ("scores", "best", "epochs"),
    [
        ([0.1, 0.5, 0.4, 0.4, 0.4, 0.9], 1, 5),  # three epochs without a better one
        ([0.1, 0.5, 0.51, 0.52, 0.53, 0.9], 1, 5),  # better by less than tol does not count
        ([0.1, 0.5, 0.4, 0.4, 0.9, 0.8], 4, 6),  # just in time
    ],
)
def test_early_stopping_keeps_the_best_epochs_weights(problem, start, bk, monkeypatch, scores, best, epochs):
    made = []

    def make(*args):
        made.append(Scripted(*args))
        made[-1].scores = scores
        return made[-1]

    monkeypatch.setattr("deepbelief.finetuning.FineTuner", make)
    settings = replace(PLAIN, max_iter=6, n_iter_no_change=3, tol=0.1)
    tuned = run(start, labelled(*problem), bk, settings, validation=labelled(*problem))
    assert len(tuned.history) == tuned.epochs == epochs
    for a, b in zip(tuned.params, made[0].kept[best], strict=True):
        np.testing.assert_array_equal(a, b)


def test_validation_loss_and_score_are_weighted_means(problem, start, bk):
    X, y = problem
    weights = np.random.default_rng(3).uniform(0, 2, N)
    still = replace(PLAIN, learning_rate_init=1e-12, max_iter=1)
    record = run(start, labelled(X, y), bk, still, validation=labelled(X, y, weights)).history[0]
    (layer,), (W, b) = start
    logits = np.tanh(X @ layer.W + layer.bias) @ W + b
    nll = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(N), y]
    right = logits.argmax(axis=1) == y
    assert record["validation_loss"] == pytest.approx((weights * nll).sum() / weights.sum())
    assert record["validation_score"] == pytest.approx((weights * right).sum() / weights.sum())


def test_a_rate_that_is_far_too_large_is_an_error_with_one_to_try(problem, start, bk):
    with pytest.raises(DivergenceError, match=r"epoch 1.*learning_rate_init=1e\+29"):
        run(start, labelled(*problem), bk, replace(PLAIN, learning_rate_init=1e30))


@case_by_case("batch_size", [8, N])  # with N the loss of the bad epoch is that before its only update
@case_by_case("burst", [1e9, 1e300])
def test_divergence_later_keeps_the_last_good_epoch(problem, start, bk, batch_size, burst):
    def explode(position):
        return 1.0 if position < 0.5 else burst

    settings = replace(PLAIN, batch_size=batch_size, max_iter=4)
    tuned = run(start, labelled(*problem), bk, replace(settings, schedule=explode))
    assert "epoch 3" in str(tuned.diverged)
    assert "learning_rate_init=0.02" in str(tuned.diverged)
    assert tuned.history[-1]["diverged"] == str(tuned.diverged)
    assert len(tuned.history) == 3
    good = run(start, labelled(*problem), bk, replace(settings, schedule="constant", max_iter=2))
    for a, b in zip(tuned.params, good.params, strict=True):
        np.testing.assert_array_equal(a, b)


@case_by_case(("n_rows", "batch_size", "max_iter"), [(5, 5, 100), (200, 10, 100), (2000, 40, 100), (60_000, 100, 20)])
def test_auto_means_about_6000_updates(n_rows, batch_size, max_iter):
    settings = FineTuneSettings().resolve(n_rows, 0.1)
    assert (settings.batch_size, settings.max_iter) == (batch_size, max_iter)


def test_outputs_come_in_blocks_without_a_seam(problem, start, bk, monkeypatch):
    X, _ = problem
    network = Network(start[0], *start[1], SoftmaxNLL(), bk)
    for top in (False, True):
        whole = [bk.to_numpy(o).copy() for *_, o in outputs(network, as_source(X), top=top)]
        monkeypatch.setattr("deepbelief.finetuning.BLOCK_ROWS", 7)
        parts = [(a, b, bk.to_numpy(o).copy()) for a, b, _, o in outputs(network, as_source(X), top=top)]
        monkeypatch.undo()
        assert [(a, b) for a, b, _ in parts] == [(0, 7), (7, 14), (14, 21), (21, 24)]
        np.testing.assert_allclose(np.concatenate([p for *_, p in parts]), whole[0], rtol=1e-12)
