"""Extensions from outside: each is defined here alone, registered, and taken through all that the package does."""

import contextlib
import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import clone
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, gradient_check, load, save
from deepbelief.checkpoints import CheckpointFile
from deepbelief.components import COMPONENTS, Component
from deepbelief.errors import FileFormatError, SettingError
from deepbelief.gradients import CD, GRADIENTS
from deepbelief.optimizers import OPTIMIZERS
from deepbelief.schedules import SCHEDULES
from deepbelief.training import Reporter, Run

ROWS = (np.random.default_rng(0).random((40, 6)) < np.linspace(0.1, 0.9, 6)).astype(np.float32)
CLASSES = ROWS[:, 1].astype(int)


@dataclass(frozen=True)
class SlowMean(Component):
    """A component: shrink the weights towards their running mean, which is its state."""

    pull: float = 0.1
    name: ClassVar[str] = "slow_mean"

    def start(self, step):
        return {"mean": step.machine.W.copy(), "n": np.zeros(1, np.int64)}

    def after_step(self, step, state):
        W, mean = step.machine.W, state["mean"]
        mean += 0.05 * (W - mean)
        W += self.pull * (mean - W)
        state["n"][0] += 1

    def reset(self, step, state):
        state["mean"][...] = step.machine.W

    def shared(self, state):
        return ("mean",)


class Nameless(Component):
    """A component without a name."""


@dataclass(frozen=True)
class Smoothed:
    """A gradient estimator: contrastive divergence whose bias gradients are smoothed over updates."""

    gibbs_steps: int = 1
    decay: float = 0.5
    schedule: str = "constant"
    momentum: float = 0.0
    is_model: bool = True

    def start(self, machine, n_chains, rng):
        zeros = machine.bk.xp.zeros_like
        return {"vbias": zeros(machine.vbias), "hbias": zeros(machine.hbias)}

    def __call__(self, machine, buffers, n_rows, batch_size, state, rng):
        W, *biases = CD(self.gibbs_steps)(machine, buffers, n_rows, batch_size, {}, rng)
        for smooth, bias in zip((state["vbias"], state["hbias"]), biases, strict=True):
            smooth *= self.decay
            smooth += (1 - self.decay) * bias
            bias[...] = smooth
        return W, *biases


@dataclass(frozen=True)
class Signs:
    """An optimizer: steps by the sign of the gradient's running mean."""

    decay: float = 0.8
    rate: float = 0.003

    def start(self, bk, params):
        return [bk.xp.zeros_like(p) for p in params]

    def step(self, bk, params, grads, state, rates, momentum, decays):
        for p, g, mean, rate, decay in zip(params, grads, state, rates, decays, strict=True):
            array = g.array(bk) if hasattr(g, "array") else g
            mean *= self.decay
            mean += (1 - self.decay) * (array + decay * p)
            p -= rate * bk.xp.sign(mean)


@dataclass(frozen=True)
class Sawtooth:
    """A schedule."""

    teeth: int = 3

    def __call__(self, position):
        return 1 - (self.teeth * position) % 1


REGISTRIES = {
    "component": (COMPONENTS, "slow_mean", SlowMean),
    "gradient": (GRADIENTS, "smoothed", Smoothed),
    "optimizer": (OPTIMIZERS, "signs", Signs),
    "schedule": (SCHEDULES, "sawtooth", Sawtooth),
}
# Settings that use it by its name, with its defaults; and as an instance with others.
NAMED = {
    "component": {"components": ["slow_mean"]}, "gradient": {"gradient": "smoothed"}, "optimizer": {"solver": "signs"},
    "schedule": {"schedule": "sawtooth"},
}  # fmt: skip
INSTANCES = {
    "component": {"components": [SlowMean(0.3)]}, "gradient": {"gradient": Smoothed(decay=0.9)},
    "optimizer": {"solver": Signs(0.5)}, "schedule": {"schedule": Sawtooth(5)},
}  # fmt: skip
ALL = sorted(REGISTRIES)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for registry, name, kind in REGISTRIES.values():
        monkeypatch.setitem(registry, name, kind)


def rbm(settings, **more):
    return RBM(4, n_iter=2, batch_size=10, random_state=0, **settings, **more)


def models(settings):
    """Return estimators that are trained with an extension, and what they are fitted to."""
    template = RBM(n_iter=1, batch_size=10, **settings)
    tuned = {name: value for name, value in settings.items() if name in ("solver", "schedule")}
    return [
        (rbm(settings), (ROWS,)),
        (DBN((4, 3), rbm=template, n_passes=2, random_state=0), (ROWS,)),
        (DBNClassifier((4, 3), rbm=template, max_iter=2, batch_size=10, random_state=0, **tuned), (ROWS, CLASSES)),
    ]  # fmt: skip


def learned(model):
    layers = [model.weights_] if isinstance(model, RBM) else model.stack_
    found = [array for weights in layers for array in weights.arrays().values()]
    if isinstance(model, RBM):
        found += [array for own in model._state.arrays.values() for array in own.values()]
    return [*found, *getattr(model, "coefs_", ()), model.transform(ROWS)]


def assert_same(one, other):
    for a, b in zip(learned(one), learned(other), strict=True):
        np.testing.assert_array_equal(a, b)


class Stop(Reporter):
    def __init__(self, at):
        self.left = at

    def update(self, epoch, done, total):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("settings", [NAMED, INSTANCES], ids=["name", "instance"])
def test_it_trains_is_saved_cloned_and_pickled(kind, settings, tmp_path):
    for model, data in models(settings[kind]):
        model.fit(*data)
        assert all(np.isfinite(array).all() for array in learned(model))
        assert_same(clone(model).fit(*data), model)
        assert_same(pickle.loads(pickle.dumps(model)), model)
        save(model, tmp_path / "model.h5")
        back = load(tmp_path / "model.h5")
        assert_same(back, model)
        assert_same(back.fit(*data), clone(model).fit(*data))


@pytest.mark.parametrize("kind", ALL)
def test_it_changes_what_is_learned(kind):
    plain, named, other = (rbm(settings).fit(ROWS).weights_.W for settings in ({}, NAMED[kind], INSTANCES[kind]))
    assert np.abs(plain - named).max() > 1e-4
    assert np.abs(named - other).max() > 1e-5


@pytest.mark.parametrize("kind", ALL)
def test_a_run_resumes_bit_for_bit_at_every_update(kind, tmp_path):
    whole = rbm(INSTANCES[kind]).fit(ROWS)
    for at in range(1, 8):
        file = CheckpointFile(tmp_path / f"{at}.h5", every="1 update")
        with contextlib.suppress(KeyboardInterrupt):
            rbm(INSTANCES[kind], checkpoint=file, verbose=Stop(at)).fit(ROWS)
        assert_same(rbm(INSTANCES[kind], checkpoint=file).fit(ROWS), whole)


@pytest.mark.parametrize("kind", ALL)
def test_a_warm_start_goes_on_from_the_state_in_a_file(kind, tmp_path):
    model = rbm(INSTANCES[kind], warm_start=True).fit(ROWS)
    save(model, tmp_path / "model.h5")
    back, without = load(tmp_path / "model.h5"), load(tmp_path / "model.h5")
    owner = {"component": "slow_mean", "gradient": "gradient"}.get(kind, "optimizer")
    del without._state.arrays[owner]
    assert_same(back.fit(ROWS), model.fit(ROWS))
    assert (without.fit(ROWS).weights_.hbias != model.weights_.hbias).any()


@pytest.mark.parametrize("kind", ALL)
def test_gradients_stay_exact(kind):
    for model, data in models(INSTANCES[kind]):
        assert gradient_check(model, *data).ok


def test_a_cluster_averages_the_shared_state_of_a_component():
    from layer_runs import train, trainer_for

    from deepbelief.backends import get_backend
    from deepbelief.communicator import Communicator

    class Spy(Communicator):
        seen: ClassVar[list] = []

        def rounds(self, start, stop, n, batch_size):
            return int(stop == n)

        def mean(self, own):
            self.seen.append([array.copy() for array in own])
            return [2 * array for array in own]

    trainer = trainer_for(get_backend(), ROWS, components=(SlowMean(),))
    trainer.run = trainer.learner.run = Run(trainer.bk, 0, communicator=Spy())
    train(trainer, ROWS, (0, 1))
    (shared,) = Spy.seen
    assert len(shared) == 7  # parameters, velocities and the running mean
    np.testing.assert_array_equal(trainer.learner.arrays["slow_mean"]["mean"], 2 * shared[6])


def test_a_component_follows_a_divergence():
    from layer_runs import train, trainer_for

    from deepbelief.backends import get_backend

    trainer = trainer_for(get_backend(), ROWS, components=(SlowMean(),), schedule=lambda p: 1.0 if p < 0.1 else 1e30)
    assert "diverged" in train(trainer, ROWS, (0, 4))[-1]
    np.testing.assert_array_equal(trainer.learner.arrays["slow_mean"]["mean"], trainer.machine.W)


def test_a_file_with_an_unregistered_class_is_refused(tmp_path, monkeypatch):
    save(rbm(INSTANCES["component"]).fit(ROWS), tmp_path / "model.h5")
    monkeypatch.delitem(COMPONENTS, "slow_mean")
    with pytest.raises(FileFormatError, match=r"'SlowMean'.*register the class before loading"):
        load(tmp_path / "model.h5")
    with pytest.raises(SettingError, match="cannot be kept in a file"):
        save(rbm(INSTANCES["component"]).fit(ROWS), tmp_path / "other.h5")


@case_by_case(
    ("components", "line"),
    [
        (["slow-mean"], "unknown component 'slow-mean': .* did you mean 'slow_mean'"),
        ("slow_mean", "components must be a list"),
        ([Nameless()], "need a name each"),
        ([SlowMean(), SlowMean()], "need a name each"),
        ([3], "unknown component"),
        (["l1"], "give an instance"),
    ],
)
def test_bad_components_are_refused(components, line):
    with pytest.raises(SettingError, match=line):
        rbm({"components": components}).fit(ROWS)
