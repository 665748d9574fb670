"""The health checks: numbers by their definitions, and advice where a run is ill and only there."""

import warnings

import numpy as np
import pytest
from layer_runs import bits, train, trainer_for
from sklearn.datasets import load_iris
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, health, rbm_health
from deepbelief.errors import DataError, Message, SettingError, TrainingWarning
from deepbelief.health import Finding, Health, findings, idle_shares, layer_findings


def records(n=20, **columns):
    """Return the history of a healthy run of n epochs, with some columns replaced."""
    well = {
        "layer": [1] * n, "epoch": list(range(1, n + 1)), "reconstruction_error": list(np.linspace(9, 3, n)),
        "update_ratio": [1e-3] * n, "never_on": [0.0] * n, "always_on": [0.0] * n, "free_energy_gap": [0.5] * n,
        "deviation": [0.2] * n,
    }  # fmt: skip
    return [dict(zip(well, row, strict=True)) for row in zip(*(well | columns).values(), strict=True)]


def ill(history):
    return [f.check for f in findings(history) if not f.ok]


@case_by_case("part", [1, 30, health.PART])
def test_the_last_update_is_compared_with_the_weights(bk, part, monkeypatch):
    monkeypatch.setattr(health, "PART", part)  # sizes are summed by parts of the weights
    rows = bits(60, dtype=np.float64)
    trainer = trainer_for(bk, rows, momentum=0.0, batch_size=60)  # one update an epoch
    first = train(trainer, rows, (0, 1))[-1]
    W = trainer.machine.weights().W
    record = train(trainer, rows, (1, 2))[-1]
    moved = np.abs(trainer.machine.weights().W - W).sum()
    assert record["update_ratio"] == pytest.approx(moved / np.abs(trainer.machine.weights().W).sum(), rel=1e-9)
    assert record["update_ratio"] != pytest.approx(first["update_ratio"], rel=1e-3)


def test_units_that_are_alike_for_all_rows(bk):
    h = np.array([[0.01, 0.99, 0.5, 0.01], [0.04, 0.96, 0.02, 0.99]])
    assert [float(bk.to_numpy(share)) for share in idle_shares(bk, bk.asarray(h))] == [0.25, 0.25]


@case_by_case(("bias", "never", "always"), [(-30.0, 1.0, 0.0), (30.0, 0.0, 1.0), (0.0, 0.0, 0.0)])
def test_an_epoch_tells_the_shares_of_its_monitored_rows(bk, bias, never, always):
    rows = bits(60)
    trainer = trainer_for(bk, rows, learning_rate=1e-9)
    trainer.machine.hbias[...] = bias
    record = train(trainer, rows, (0, 1))[-1]
    assert (record["never_on"], record["always_on"]) == (never, always)


@case_by_case("hidden", ["gaussian", "rectified"])
def test_units_without_limits_are_not_judged(bk, hidden):
    rows = bits(60)
    record = train(trainer_for(bk, rows, hidden=hidden, learning_rate=0.001), rows, (0, 1))[-1]
    assert record["never_on"] is record["always_on"] is None
    assert record["update_ratio"] > 0


def test_a_healthy_run_gets_no_advice():
    assert ill(records()) == []
    assert Health(findings(records())).ok
    assert len(findings(records())) == 5


@case_by_case(
    ("columns", "check", "advice"),
    [
        (
            {"update_ratio": [0.05] * 20, "reconstruction_error": [3.0] * 20},
            "update-to-weight ratio",
            "no longer falls",
        ),
        ({"update_ratio": [5e-5] * 20}, "update-to-weight ratio", "raise the learning rate"),
        ({"never_on": [0.0] * 19 + [0.3]}, "units always off, on", "dead"),
        ({"always_on": [0.0] * 19 + [0.3]}, "units always off, on", "saturated"),
        ({"reconstruction_error": [3.0] * 12 + [5.0] * 8}, "reconstruction error", "lower the learning rate"),
        ({"deviation": [0.2] * 19 + [0.01]}, "deviation of units", "units hardly vary"),
        ({"free_energy_gap": list(np.linspace(0, 8, 20) ** 2)}, "free-energy gap", "overfits"),
    ],
)
def test_each_illness_is_found_by_its_own_check(columns, check, advice):
    history = records(**columns)
    assert ill(history) == [check]
    assert advice in next(f.advice for f in findings(history) if f.check == check)


@case_by_case(
    "columns",
    [
        {"update_ratio": [1.0] * 2 + [1e-3] * 12 + [1e-9] * 6},  # weights start tiny, rates end at 0
        {"free_energy_gap": [9.0] * 20},  # does not grow
        {"free_energy_gap": [0.1] * 19 + [1.9]},  # grows, but is nothing
        {"never_on": [0.5] * 19 + [0.0]},  # they have come to life
        {"reconstruction_error": [3.0, 4.4] * 10},
        {"reconstruction_error": [3.0] * 12 + [9.0] + [3.0] * 7},  # it has recovered
        {"reconstruction_error": [9.0, *[1e-4, 1e-2] * 9, 0.05]},  # a perfect fit
        {"update_ratio": [0.05] * 20},  # of a run that still learns
        {"deviation": [0.001] * 19 + [0.1]},
    ],
)
def test_what_is_usual_is_no_illness(columns):
    assert ill(records(**columns)) == []


def test_the_epoch_of_a_rise_is_named():
    found = [f.found for f in findings(records(reconstruction_error=[5.0] * 4 + [3.0] * 8 + [9.0] * 8))]
    assert "5 to 9, after 3 in epoch 6" in found  # over two epochs each


IRIS = load_iris().data
SHARES = (IRIS - IRIS.min(axis=0)) / np.ptp(IRIS, axis=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*hardly vary")
@pytest.mark.parametrize(
    ("X", "n", "rate", "lower"),
    [(IRIS, 16, 0.1, True), pytest.param(SHARES, 256, 0.01, False, marks=pytest.mark.slow), (IRIS, 16, 0.01, False)],
)
def test_a_lower_rate_is_advised_where_it_helps_and_only_there(X, n, rate, lower):
    """Judged by the training error at a third of the rate."""
    at, below = (RBM(n, learning_rate=r, random_state=0).fit(X) for r in (rate, rate / 3))
    ends = [np.mean([r["reconstruction_error"] for r in rbm.history_[-10:]]) for rbm in (at, below)]
    assert (ends[1] < ends[0]) == lower
    assert any("lower the learning rate" in line for line in rbm_health(at, X).advice) == lower


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*hardly vary")
def test_features_that_hardly_vary_are_told():
    rbm = RBM(random_state=0).fit(IRIS)
    h = rbm.transform(IRIS)
    found = next(f for f in rbm_health(rbm, IRIS).findings if f.check == "deviation of units")
    assert found.found == f"{h.std(axis=0).mean():.2g}"
    assert "learn_variance=True" in found.advice
    better = RBM(visible="gaussian", learn_variance=True, random_state=0).fit(IRIS)
    assert next(f for f in rbm_health(better, IRIS).findings if f.check == "deviation of units").ok


def test_each_layer_is_judged_by_its_own_records():
    history = records() + [r | {"layer": 2} for r in records(never_on=[1.0] * 20)]
    assert [(f.layer, f.check) for f in layer_findings(history) if not f.ok] == [(2, "units always off, on")]
    assert layer_findings([{"phase": "finetune", "epoch": 1, "loss": 1.0}]) == ()
    assert findings([]) == ()


def test_health_of_an_rbm_looks_at_the_rows_given():
    """The same model is well on the rows it was made for, and all its units are off on others."""
    X = bits(300).astype(np.float64)
    rbm = RBM(5, n_iter=15, validation_fraction=0.2, random_state=0).fit(X)
    assert {f.check for f in rbm_health(rbm, X).findings} == {
        "update-to-weight ratio", "units always off, on", "deviation of units", "reconstruction error",
        "free-energy gap",
    }  # fmt: skip
    assert "dead" not in str(rbm_health(rbm, X))
    rbm.weights_.hbias[...] = -40.0
    health = rbm_health(rbm, X)
    assert not health.ok
    assert health.advice[-1] == (
        "layer 1: units always off, on: 100 %, 0 %; dead units: lower the learning rate, set a sparsity_target, "
        "or use fewer hidden units"
    )
    assert "-> dead units" in str(health)


def test_health_of_a_dbn_goes_up_layer_by_layer():
    X = np.random.default_rng(0).normal(3, 2, (200, 6))
    dbn = DBN((5, 4), rbm=RBM(n_iter=3), random_state=0).fit(X)
    dbn.stack_.layers[1].hbias[...] = 40.0
    found = {f.layer: f for f in rbm_health(dbn, X).findings if f.check == "units always off, on"}
    assert found[1].ok
    assert found[2].found == "0 %, 100 %"


def test_what_has_no_health_is_refused():
    X = bits(50).astype(np.float64)
    y = (X[:, 0] > 0).astype(int)
    with pytest.raises(SettingError, match="fitted RBM or DBN, got RBM"):
        rbm_health(RBM(), X)
    tuned = DBNClassifier((4,), rbm=RBM(n_iter=1), max_iter=1).fit(X, y)
    with pytest.raises(SettingError, match="got DBNClassifier"):
        rbm_health(tuned, X)
    with pytest.raises(DataError, match="X has 3 features, the model has 6"):
        rbm_health(RBM(3, n_iter=1).fit(X), X[:, :3])


def test_findings_print_what_to_do():
    health = Health((Finding(1, "a", "b"), Finding(2, "c", "d", Message("e"))))
    assert str(health).splitlines()[1].split() == ["layer", "2", "c", "d", "->", "e"]
    assert health.advice == ("layer 2: c: d; e",)
    assert not health.ok


def test_features_that_hardly_vary_are_told_at_the_end_of_a_fit():
    with pytest.warns(TrainingWarning, match=r"features have a standard deviation of 0\.0\d+ .* hardly vary"):
        RBM(n_iter=10, random_state=0).fit(IRIS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RBM(n_iter=9, random_state=0).fit(IRIS)  # a trial
        RBM(learn_variance=True, random_state=0).fit(IRIS)
