"""Machines of each unit type against enumeration and finite differences: gradients, likelihood, training, files."""

from dataclasses import replace

import numpy as np
import pytest
from cli_runs import good
from layer_runs import train, trainer_for
from tables import case_by_case

from deepbelief import RBM, DBNClassifier, Weights, load, save
from deepbelief.backends import get_backend
from deepbelief.errors import DataError, SettingError
from deepbelief.estimators.feedforward import feedforward
from deepbelief.likelihood import ais_log_z, exact_log_z, log_likelihood
from deepbelief.likelihood.exact import double_machine
from deepbelief.likelihood.row_likelihood import GreyLevelError

MACHINES = [
    ("spin", "spin"), ("spin", "bernoulli"), ("bernoulli", "spin"), ("bernoulli", "relu"), ("spin", "relu"),
    ("softmax:2,3", "relu"), ("parts:spin*3;softmax:2", "bernoulli"), ("labelled:spin,2", "spin"),
    ("bernoulli", "drelu"), ("spin", "drelu"),
]  # fmt: skip
N_VISIBLE, N_HIDDEN = 5, 3
BITS = (np.arange(2**N_VISIBLE)[:, None] >> np.arange(N_VISIBLE) & 1).astype(float)
PATTERNS = np.repeat([[0, 0, 1, 1, 0], [1, 1, 0, 0, 1], [1, 0, 0, 1, 1]], [5, 3, 2], axis=0).astype(float)


def states_of(visible):
    """Return all visible states."""
    if visible == "spin":
        return 2 * BITS - 1
    if visible == "bernoulli":
        return BITS
    if "spin" in visible:  # three spins and a group of two
        return np.hstack([2 * BITS[:, :3] - 1, BITS[:, 3:]])[BITS[:, 3:].sum(axis=1) == 1]
    groups = (BITS[:, :2].sum(axis=1) == 1) & (BITS[:, 2:].sum(axis=1) == 1)
    return BITS[groups]


def random_weights(visible, hidden, seed=0, size=0.8):
    rng = np.random.default_rng(seed)
    arrays = rng.normal(0, size, (N_VISIBLE, N_HIDDEN)), rng.normal(0, 0.5, N_VISIBLE), rng.normal(0, 0.5, N_HIDDEN)
    own = rng.normal(0, 0.4, (3, N_HIDDEN)) if hidden == "drelu" else None
    return Weights(*arrays, visible, hidden, hidden_parameters=own)


def enumerated(weights):
    """Return all visible states and their log probabilities."""
    states, machine = states_of(weights.visible), double_machine(weights)
    log_p = -machine.free_energy(states)
    return states, log_p - np.logaddexp.reduce(log_p)


@pytest.mark.parametrize(("visible", "hidden"), MACHINES)
def test_log_z_and_likelihood_are_sums_over_the_states(visible, hidden):
    weights = random_weights(visible, hidden)
    states, log_p = enumerated(weights)
    assert exact_log_z(weights) == pytest.approx(np.logaddexp.reduce(-double_machine(weights).free_energy(states)))
    np.testing.assert_allclose(log_likelihood(weights, states, method="exact").rows, log_p, atol=1e-10)
    found = ais_log_z(weights, n_runs=400, betas=200)
    assert found.low - 0.02 <= exact_log_z(weights) <= found.high + 0.02


@pytest.mark.parametrize(("visible", "hidden"), MACHINES)
def test_statistics_are_the_gradient_of_the_likelihood(visible, hidden):
    weights = random_weights(visible, hidden)
    states, log_p = enumerated(weights)
    data, machine = states[[0, -1, 1]], double_machine(weights)

    def moments(rows, p):
        h = machine.mean_hidden(rows)
        return (rows * p[:, None]).T @ h, p @ rows, p @ h

    positive, negative = moments(data, np.full(3, 1 / 3)), moments(states, np.exp(log_p))
    for i, name in enumerate(("W", "vbias", "hbias")):
        gradient = positive[i] - negative[i]
        for place in np.ndindex(gradient.shape):
            ends = []
            for step in (1e-5, -1e-5):
                array = getattr(weights, name).copy()
                array[place] += step
                parts = {n: getattr(weights, n) for n in ("W", "vbias", "hbias")} | {name: array}
                moved = replace(weights, **parts)
                all_states, log_q = enumerated(moved)
                machine_of = {tuple(row): value for row, value in zip(all_states, log_q, strict=True)}
                ends.append(np.mean([machine_of[tuple(row)] for row in data]))
            assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("visible", "hidden", "gradient"),
    [
        ("bernoulli", "drelu", "pcd"), ("spin", "drelu", "cd"),
        ("spin", "spin", "ptt"), ("spin", "bernoulli", "pcd"), ("bernoulli", "spin", "cd"),
        ("bernoulli", "relu", "pcd"), ("spin", "relu", "ptt"),
    ],
)  # fmt: skip
def test_training_approaches_the_entropy_of_the_patterns(visible, hidden, gradient, tmp_path):
    rows = np.tile(2 * PATTERNS - 1 if visible == "spin" else PATTERNS, (10, 1))
    shares = np.array([0.5, 0.3, 0.2])
    entropy = -(shares * np.log(shares)).sum()
    rbm = RBM(
        4, visible=visible, hidden=hidden, gradient=gradient, gibbs_steps=5, n_iter=80, learning_rate=0.05,
        batch_size=20, n_chains=100, random_state=0, momentum=0.5,
    ).fit(rows)  # fmt: skip
    found = log_likelihood(rbm, rows, method="exact").mean
    p = np.clip(PATTERNS[:10].mean(axis=0), 1e-9, 1)
    independent = (p * np.log(p) + (1 - p) * np.log1p(-p)).sum()
    assert found > (independent - entropy) / 2
    assert found <= -entropy + 1e-6
    save(rbm, tmp_path / "model.h5")
    np.testing.assert_array_equal(load(tmp_path / "model.h5").score_samples(rows), rbm.score_samples(rows))


@case_by_case(("rows", "message"), [([[1.5, 0]], "column 0"), ([[0, -1.1]], "column 1")])
def test_spins_refuse_values_beyond_one(rows, message):
    with pytest.raises(DataError, match=message):
        RBM(2, visible="spin", n_iter=1).fit(np.vstack([rows, -np.eye(2)]))


def test_a_likelihood_of_spins_needs_rows_of_minus_one_and_one():
    rbm = RBM(2, visible="spin", n_iter=1, random_state=0).fit(2 * BITS - 1)
    with pytest.raises(GreyLevelError, match="needs rows of -1 and 1"):
        rbm.log_likelihood(BITS)
    assert set(np.unique(rbm.gibbs(2 * BITS - 1))) == {-1, 1}
    assert np.abs(rbm.sample(5, n_steps=3, random_state=0)).max() <= 1


def test_the_way_down_to_spins_ends_in_tanh():
    rbm = RBM(2, visible="spin", n_iter=1, random_state=0).fit(2 * BITS - 1)
    assert feedforward(rbm, "decoder").layers[-1].activation.name == "tanh"
    assert feedforward(rbm, "encoder").layers[-1].activation.name == "sigmoid"


def test_hidden_spins_pass_spins_on_and_fine_tune_as_tanh():
    rows = np.tile(BITS, (4, 1))
    model = DBNClassifier((6, 4), rbm=RBM(hidden="spin", n_iter=3), max_iter=3, random_state=0)
    model.fit(rows, rows[:, 0].astype(int))
    assert [weights.visible for weights in model.pretrained_stack_] == ["bernoulli", "spin"]
    assert model.transform(rows).min() < 0


def test_units_that_are_only_hidden_are_refused_as_visible():
    with pytest.raises(SettingError, match="relu units are hidden units"):
        RBM(2, visible="relu").fit(BITS)


def test_the_command_line_takes_the_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("spins.npy", 2 * BITS - 1)
    settings = ("--layers", "4", "--epochs", "2", "--seed", "0", "-q")
    good("pretrain", "spins.npy", "--visible", "spin", "--hidden", "relu", *settings, "--out", "model.h5")
    assert "squared error per row" in good("evaluate", "model.h5").stdout
    assert load("model.h5").stack_.layers[0].hidden == "relu"


def test_states_stay_on_the_backend():
    """Hidden states of relu units are real numbers of at least 0."""
    weights, bk = random_weights("bernoulli", "relu"), get_backend("numpy")
    machine = double_machine(weights, bk)
    h = machine.sample_hidden(BITS, bk.rng(np.random.SeedSequence(0)), np.empty((len(BITS), N_HIDDEN)))
    assert h.min() >= 0
    assert len(np.unique(h)) > 50


@pytest.mark.parametrize("hidden", ["rectified", "relu", "spin", "gaussian"])
def test_a_file_with_such_hidden_units_is_read(hidden, tmp_path):
    rbm = RBM(3, hidden=hidden, n_iter=1, random_state=0).fit(BITS)
    save(rbm, tmp_path / "model.h5")
    np.testing.assert_array_equal(load(tmp_path / "model.h5").transform(BITS), rbm.transform(BITS))


# --- parameters of hidden units ---


@pytest.mark.parametrize("centered", [False, True])
def test_the_exact_gradient_moves_parameters_by_the_slope_of_the_likelihood(bk, centered):
    """The negative phase is enumerated, and slopes are finite differences."""
    weights, rate = replace(random_weights("bernoulli", "drelu"), visible_mean=PATTERNS.mean(axis=0)), 1e-5
    trainer = trainer_for(
        bk, PATTERNS, weights=weights, visible="bernoulli", hidden="drelu", gradient="exact", batch_size=10, n_iter=1,
        learning_rate=rate, schedule="constant", momentum=0.0, weight_decay=0.0, centered=centered,
    )  # fmt: skip
    train(trainer, PATTERNS, (0, 1))
    moved = (trainer.machine.weights().hidden_parameters - weights.hidden_parameters) / rate
    for place in np.ndindex(moved.shape):
        ends = []
        for step in (1e-5, -1e-5):
            values = weights.hidden_parameters.copy()
            values[place] += step
            ends.append(log_likelihood(replace(weights, hidden_parameters=values), PATTERNS, method="exact").mean)
        assert moved[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-7)


def test_parameters_of_hidden_units_are_learned_kept_and_continued(tmp_path):
    rows = np.tile(PATTERNS, (4, 1))
    settings = {"hidden": "drelu", "gradient": "pcd", "learning_rate": 0.1, "n_iter": 10, "random_state": 0}
    rbm = RBM(4, warm_start=True, **settings).fit(rows)
    own = rbm.weights_.hidden_parameters.copy()
    assert own.shape == (3, 4)
    assert np.abs(own).max() > 1e-4
    save(rbm, tmp_path / "model.h5")
    loaded = load(tmp_path / "model.h5")
    np.testing.assert_array_equal(loaded.weights_.hidden_parameters, own)
    np.testing.assert_array_equal(loaded.fit(rows).weights_.hidden_parameters, rbm.fit(rows).weights_.hidden_parameters)
    assert (rbm.weights_.hidden_parameters != own).any()


def test_what_needs_more_than_weights_and_biases_refuses_drelu_units():
    with pytest.raises(SettingError, match="'ptt' keeps W and biases"):
        RBM(3, hidden="drelu", gradient="ptt", n_iter=1).fit(PATTERNS)
    for hidden in ("relu", "drelu"):
        with pytest.raises(SettingError, match="no equivalent in a feed-forward network"):
            feedforward(RBM(3, hidden=hidden, n_iter=1, random_state=0).fit(PATTERNS))
    with pytest.raises(DataError, match=r"hidden_parameters must have shape \(3, 3\)"):
        replace(random_weights("bernoulli", "drelu"), hidden_parameters=np.zeros((2, 3)))
