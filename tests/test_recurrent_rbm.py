"""RecurrentRBM: sequences in, what is said of bad ones, files, prediction, samples, likelihood."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from tables import case_by_case
from test_recurrent import frame_log_likelihoods, random_rows, random_weights

from deepbelief import DBN, RBM, RecurrentRBM, load, save
from deepbelief.backends import get_backend
from deepbelief.errors import BackendError, DataError, DivergenceError, DivergenceWarning, SettingError
from deepbelief.gradients import CD, PCD
from deepbelief.likelihood.driven import ais_driven_log_z, ais_driven_means, exact_driven_log_z
from deepbelief.machine import Workspace
from deepbelief.optimizers import SGD
from deepbelief.recurrent.generation import expected_frames
from deepbelief.recurrent.model import RecurrentMachine
from deepbelief.sources import as_source
from deepbelief.training import Reporter, Run

LENGTHS = [20, 9, 2, 14]
CYCLE = np.tile(np.eye(4), (12, 1))[:45]


def short(**settings):
    return RecurrentRBM(5, 4, **{"n_iter": 2, "random_state": 0} | settings)


def same(one, other):
    for name, a in (one.machine_.arrays() | one.machine_.frame.arrays()).items():
        np.testing.assert_array_equal(a, (other.machine_.arrays() | other.machine_.frame.arrays())[name])


def test_lists_lengths_and_positional_lengths_are_the_same():
    parts = np.split(CYCLE, np.cumsum(LENGTHS)[:-1])
    one = short().fit(CYCLE, lengths=LENGTHS)
    same(one, short().fit(CYCLE, LENGTHS))
    same(one, short().fit(parts))
    np.testing.assert_array_equal(one.transform(parts), one.transform(CYCLE, LENGTHS))
    np.testing.assert_array_equal(short().fit_transform(CYCLE, lengths=LENGTHS), one.transform(CYCLE, LENGTHS))
    assert (one.transform(CYCLE) != one.transform(CYCLE, LENGTHS)).any()
    # Targets, one for each row, are no lengths.
    same(short().fit(CYCLE), short().fit(CYCLE, np.arange(45)))


def test_a_sequence_is_known_by_its_past_only():
    rnn = short(n_iter=20).fit(CYCLE, LENGTHS)
    changed = CYCLE.copy()
    changed[10:20] = changed[10:20, ::-1]
    before, after = rnn.score_samples(CYCLE, LENGTHS), rnn.score_samples(changed, LENGTHS)
    np.testing.assert_array_equal(before[:10], after[:10])
    np.testing.assert_array_equal(before[20:], after[20:])
    assert (before[10:20] != after[10:20]).any()


@pytest.mark.slow
def test_it_learns_what_follows_what():
    rnn = short(n_iter=150, learning_rate=0.01).fit(CYCLE, LENGTHS)
    for lengths in (None, LENGTHS):
        predicted = rnn.predict_next(CYCLE[:20], None if lengths is None else [20])
        np.testing.assert_array_equal(predicted.argmax(axis=1), np.arange(1, 21) % 4)
    assert rnn.log_likelihood(CYCLE, LENGTHS).mean > -0.5  # log 4 is 1.39, of which the first frames keep 4 / 45
    made_up = rnn.sample(8, prefix=CYCLE[:3], random_state=1)
    np.testing.assert_array_equal(made_up.argmax(axis=1), np.arange(3, 11) % 4)
    assert (rnn.sample(30) != rnn.sample(30)).any()
    np.testing.assert_array_equal(rnn.sample(9, random_state=2), rnn.sample(9, random_state=2))


@pytest.mark.parametrize("cell", ["tanh", "gru"])
def test_pretraining_of_the_recurrent_net_alone_lowers_its_cross_entropy_and_leaves_frames_alone(cell):
    rnn = short(n_iter=1, pretrain_recurrent=60, cell=cell, learning_rate=0.01).fit(CYCLE, LENGTHS)
    told = [r for r in rnn.history_ if r["phase"] == "pretrain recurrent"]
    assert len(told) == 60
    assert told[-1]["reconstruction_error"] < 0.5 * told[0]["reconstruction_error"]
    phases = []

    class Phases(Reporter):
        def begin(self, what):
            phases.append(what["phase"])

    def only_alone(position):
        return 1.0 if phases[-1] == "pretrain recurrent" else 1e-12

    settings = {"n_iter": 1, "cell": cell, "learning_rate": 0.01, "schedule": only_alone, "verbose": Phases()}
    plain, pretrained = (short(pretrain_recurrent=n, **settings).fit(CYCLE, LENGTHS) for n in (0, 5))
    assert np.abs(pretrained.machine_.Wuv - plain.machine_.Wuv).max() > 1e-3
    for name, array in pretrained.machine_.frame.arrays().items():
        np.testing.assert_allclose(array, plain.machine_.frame.arrays()[name], atol=1e-9)


def test_pretraining_of_frames_is_this_packages_rbm():
    rnn = short(n_iter=1, pretrain_frames=3, learning_rate=1e-15, gibbs_steps=2).fit(CYCLE, LENGTHS)
    rbm = RBM(5, n_iter=3, random_state=0, gradient=CD(2, sample_visible=True)).fit(CYCLE)
    np.testing.assert_allclose(rnn.machine_.frame.W, rbm.weights_.W, atol=1e-12)


def test_held_out_sequences_stop_training_and_the_best_weights_come_back(monkeypatch, tmp_path):
    from deepbelief.recurrent.frame_likelihood import Judge

    scores, judged = iter([-3.0, -1.0, -2.0, -2.5, -0.5]), []

    def judge(self, weights):
        assert len(self.held_out.lengths) == 2
        judged.append(weights)
        return next(scores)

    monkeypatch.setattr(Judge, "__call__", judge)
    lengths = [9] * 5
    settings = {"early_stopping": True, "validation_fraction": 0.4, "n_iter": 50, "n_iter_no_change": 4}
    rnn = short(**settings).fit(CYCLE, lengths)
    assert rnn.n_iter_ == 8  # judged after 2, 4, 6 and 8 epochs, and no better for 4
    np.testing.assert_array_equal(rnn.machine_.frame.W, judged[1].frame.W)
    assert [r["validation_log_likelihood"] for r in rnn.history_[1::2]] == [-3, -1, -2, -2.5]
    assert (rnn.machine_.frame.W != judged[-1].frame.W).any()
    with pytest.raises(SettingError, match="at least 2, got 1"):
        short(early_stopping=True).fit(CYCLE)


def test_the_likelihood_of_held_out_sequences_is_that_of_the_estimator():
    from deepbelief.recurrent.frame_likelihood import Judge, Sequences

    rnn = short().fit(CYCLE, LENGTHS)
    held_out = Sequences(as_source(CYCLE), np.array(LENGTHS)).part(np.array([1, 3]))
    rows = np.concatenate([CYCLE[20:29], CYCLE[31:45]])
    expected = rnn.log_likelihood(rows, [9, 14]).mean  # by enumeration
    assert Judge(held_out, Run(get_backend("numpy"), 0))(rnn.machine_) == pytest.approx(expected, abs=1e-6)


def test_going_on_is_the_same_as_not_stopping():
    whole, parts = (short(n_iter=n, random_state=np.random.default_rng(0)) for n in (5, 2))  # one seed, drawn once
    whole.fit(CYCLE, LENGTHS)
    parts.set_params(warm_start=True).fit(CYCLE, LENGTHS).set_params(n_iter=3).fit(CYCLE, LENGTHS)
    same(whole, parts)
    assert parts.n_iter_ == 5 == len(parts.history_)
    other = clone(parts).fit(CYCLE, LENGTHS).set_params(solver="sgd").fit(CYCLE, LENGTHS)  # starts afresh
    assert other.n_iter_ == 6
    with pytest.raises(SettingError, match="n_recurrent=4"):
        parts.set_params(n_recurrent=7).fit(CYCLE, LENGTHS)


@case_by_case("settings", [{}, {"cell": "gru", "solver": "sgd"}, {"visible": "gaussian"}, {"solver": SGD()}])
def test_files_give_back_the_same_model_which_goes_on_alike(settings, tmp_path):
    rnn = short(**settings).fit(CYCLE.astype(np.float32), LENGTHS)
    save(rnn, tmp_path / "rnn.h5")
    back = load(tmp_path / "rnn.h5")
    same(rnn, back)
    np.testing.assert_array_equal(back.predict_next(CYCLE[:7]), rnn.predict_next(CYCLE[:7]))
    np.testing.assert_array_equal(back.sample(6), rnn.sample(6))
    assert back.get_params() == rnn.get_params()
    for model in (rnn, back):
        model.partial_fit(CYCLE.astype(np.float32), lengths=LENGTHS)
    same(rnn, back)
    assert back.history_[:2] == rnn.history_[:2]


@case_by_case("rows", [CYCLE, as_source(CYCLE)])
@case_by_case(
    ("lengths", "match"), [(None, "sequence 0, frame 23, column 1"), (LENGTHS, "sequence 1, frame 3, column 1")]
)
def test_a_missing_value_is_named_by_sequence_and_frame(rows, lengths, match):
    broken = CYCLE.copy()
    broken[23, 1] = np.nan
    broken = broken if isinstance(rows, np.ndarray) else as_source(broken)
    with pytest.raises(DataError, match=f"{match}.*NaN"):
        short().fit(broken, lengths=lengths)
    with pytest.raises(DataError, match=match):
        short().fit(CYCLE).transform(broken, lengths)


@case_by_case(("X", "lengths", "match"), [
    (CYCLE, [20, 20], "sum to 40 over 2 sequence.*45 rows"),
    (CYCLE, [45, 0], r"sequence 1 \(from 0\) is empty"),
    (CYCLE, [44, 1], r"sequence 1 \(from 0\) has 1 frame.*at least 2"),
    (CYCLE, [22.5, 22.5], "must be integers"),
    ([CYCLE[:5], CYCLE[:1]], None, r"sequence 1 \(from 0\) has 1 frame"),
    ([CYCLE[:5], CYCLE[:0]], None, r"sequence 1 \(from 0\) is empty"),
    ([CYCLE[:5], CYCLE[:5, :3]], None, "from 3 to 4 features"),
    ([CYCLE[:5], CYCLE[:5]], [5, 5], "leave lengths out"),
])  # fmt: skip
def test_sequences_that_cannot_be_used_are_refused_before_training(X, lengths, match, monkeypatch):
    monkeypatch.setattr("deepbelief.recurrent.trainer.run_epochs", lambda *a, **k: pytest.fail("training began"))
    with pytest.raises(DataError, match=match) as caught:
        short().fit(X, lengths=lengths)
    assert "\n" not in str(caught.value)


NUMBER = "must be"
BAD = [
    *[
        (name, v, NUMBER)
        for name in ("n_components", "n_recurrent", "truncation", "gibbs_steps")
        for v in (0, 1.5, "x")
    ],
    *[(name, v, NUMBER) for name in ("pretrain_frames", "pretrain_recurrent") for v in (-1, 0.5, None)],
    *[(name, v, NUMBER) for name in ("batch_size", "n_iter") for v in (0, "many", None)],
    *[("learning_rate", v, NUMBER) for v in (0, -1, "fast", np.inf)],
    *[("max_grad_norm", v, NUMBER) for v in (0, -1, "x")],
    *[("momentum", v, NUMBER) for v in (1, "auto")],
    ("weight_decay", -1, NUMBER),
    ("warm_start", "no", "True or False"),
    ("visible", "bernouli", "did you mean 'bernoulli'"),
    ("cell", "gur", "did you mean 'gru'"),
    ("cell", 3, "tanh, gru"),
    ("solver", "adamm", "did you mean"),
    ("schedule", "halving", "validation loss"),
    ("gradient", "pcd", "use 'cd'"),
    ("gradient", PCD(), "use 'cd'"),
    ("random_state", "x", "random_state"),
]


@case_by_case(("name", "value", "match"), BAD)
def test_a_bad_setting_is_one_clear_line_before_any_training(name, value, match, monkeypatch):
    monkeypatch.setattr("deepbelief.recurrent.trainer.run_epochs", lambda *a, **k: pytest.fail("training began"))
    with pytest.raises(SettingError, match=match) as caught:
        RecurrentRBM(**{"n_components": 3, "n_recurrent": 3, name: value}).fit(CYCLE, LENGTHS)
    assert "\n" not in str(caught.value)


def test_rows_of_another_device_are_refused(fake_device):
    with pytest.raises(BackendError, match=r"backend='cupy'.*X\.get\(\)"):
        short().fit(fake_device.asarray(CYCLE))


def test_exploding_gradients_are_told_with_the_clipping_to_try():
    X = CYCLE.astype(np.float32)
    wild = {"solver": SGD(), "learning_rate": 1e6, "visible": "gaussian"}
    with pytest.raises(DivergenceError, match=r"epoch 1.*gradients.*max_grad_norm=1\b"):
        short(max_grad_norm=None, **wild).fit(X, LENGTHS)
    good = short(warm_start=True, visible="gaussian", solver=SGD(), max_grad_norm=5.0).fit(X, LENGTHS)
    before = clone(good).fit(X, LENGTHS)
    with pytest.warns(DivergenceWarning, match=r"epoch 3.*max_grad_norm=0\.5 \(it was 5\)"):
        good.set_params(learning_rate=1e9).fit(X, LENGTHS)
    same(good, before)


def driven(bk, n_hidden=6, *, visible="bernoulli", n=40):
    """Return machines of frames that differ as much as those of a trained model do."""
    w = random_weights(n_hidden=n_hidden, visible=visible, seed=4)
    states = np.random.default_rng(0).uniform(-1, 1, (n, 4)) * 2
    return w, states, RecurrentMachine(w, bk).driven_by(bk.asarray(states), Workspace(bk, np.float64))


@pytest.mark.slow
@case_by_case("visible", ["bernoulli", "gaussian", "softmax:3,2"])
def test_log_z_of_each_frame_by_enumeration_and_by_annealing(visible, bk):
    import exact
    from test_recurrent import machine_at

    w, states, machine = driven(bk, visible=visible)
    true = np.array([exact.log_z(machine_at(w, u)) for u in states])
    np.testing.assert_allclose(exact_driven_log_z(machine).log_z, true, rtol=1e-10)
    found = ais_driven_log_z(machine, bk.rng(np.random.SeedSequence(0)), n_runs=40, betas=200)
    # 40 estimates: the largest of as many normal deviates is beyond 4.5 once in 3,000 runs.
    assert (np.abs(found.log_z - true) < 4.5 * np.sqrt(found.variance) + 1e-6).all()
    assert found.variance.max() < 0.01
    assert abs((found.log_z - true).mean()) < 4.5 * np.sqrt(found.variance.sum()) / 40 + 1e-6


@pytest.mark.slow
@case_by_case(("visible", "strength"), [("bernoulli", 1), ("bernoulli", 6), ("gaussian", 0.5), ("softmax:3,2", 1)])
def test_expected_frames_by_enumeration_and_by_annealing(visible, strength, bk):
    import exact
    from test_recurrent import machine_at

    w, states, _ = driven(bk, visible=visible, n=6)
    w = replace(w, frame=replace(w.frame, W=w.frame.W * strength))
    machine = RecurrentMachine(w, bk).driven_by(bk.asarray(states), Workspace(bk, np.float64))
    true = []
    for u in states:
        v, _, p = exact.joint(machine_at(w, u))
        true.append(p @ v)
    rng = bk.rng(np.random.SeedSequence(0))
    np.testing.assert_allclose(expected_frames(w, states, bk, rng), true, rtol=1e-8)
    # Of few temperatures and strong weights: unweighted runs are off by 0.4.
    means = bk.to_numpy(ais_driven_means(machine, rng, n_runs=2000, betas=10, gibbs_steps=1))
    np.testing.assert_allclose(means, true, atol=0.15 if visible == "gaussian" else 0.06)


def test_the_likelihood_of_frames_is_the_exact_one_and_sums_to_one():
    rnn = short(n_iter=1, visible="bernoulli").fit(random_rows(30), lengths=[30])
    rnn.machine_ = w = random_weights(n_hidden=5)
    X = random_rows()
    found = rnn.log_likelihood(X, [4, 1, 7, 5])
    np.testing.assert_allclose(found.frames, frame_log_likelihoods(w, X, [4, 1, 7, 5]), rtol=1e-10)
    assert found.low == found.high == found.mean
    assert "exact" in str(found)
    estimate = rnn.log_likelihood(X, [4, 1, 7, 5], method="ais", n_runs=50, betas=100)
    assert estimate.low <= found.mean <= estimate.high
    assert "AIS, 50 runs of 100 steps" in str(estimate)
    everything = np.array(np.meshgrid(*[[0.0, 1.0]] * 5)).reshape(5, -1).T
    last = [rnn.score_samples(np.vstack([X[:3], v]))[-1] for v in everything]
    assert np.exp(last).sum() == pytest.approx(1)


def test_the_likelihood_of_grey_frames_is_refused():
    with pytest.raises(DataError, match=r"row 0, column 0 is 0\.5"):
        short().fit(CYCLE, LENGTHS).log_likelihood(CYCLE / 2)
    with pytest.raises(SettingError, match="did you mean 'exact'"):
        short().fit(CYCLE, LENGTHS).log_likelihood(CYCLE, method="exct")
    with pytest.raises(SettingError, match="at most 12"):
        RecurrentRBM(13, 3, n_iter=1).fit(CYCLE).log_likelihood(CYCLE, method="exact")


def test_the_likelihood_of_gaussian_frames_is_a_density_in_their_own_units():
    X = np.random.default_rng(0).normal(3, 2, (40, 3))
    rnn = RecurrentRBM(3, 2, n_iter=1, learning_rate=1e-12, random_state=0).fit(X)
    expected = -0.5 * np.square((X - X.mean(axis=0)) / X.std(axis=0)) - np.log(X.std(axis=0)) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(rnn.score_samples(X), expected.sum(axis=1), atol=0.05)


def test_other_models_say_what_they_are_not(tmp_path):
    rnn = short().fit(CYCLE)
    from deepbelief.likelihood import log_likelihood

    with pytest.raises(SettingError, match="got RecurrentRBM"):
        log_likelihood(rnn, CYCLE)
    assert get_backend("numpy").name == "numpy"
    assert not hasattr(DBN(), "machine_")


def test_sequences_in_a_list_keep_their_names_and_must_have_them():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame((np.random.default_rng(0).random((20, 3)) > 0.5).astype(float), columns=list("abc"))
    model = RecurrentRBM(3, n_recurrent=2, n_iter=1).fit([frame[:10], frame[10:]])
    assert model.feature_names_in_.tolist() == list("abc")
    np.testing.assert_array_equal(model.transform([frame]), model.transform(frame))
    turned = frame[list("cab")]
    for call in (model.transform, model.partial_fit, RecurrentRBM(3, n_iter=1).fit):
        with pytest.raises(DataError, match="must be in the order"):
            call([frame, turned])
