"""Extensions from outside: each is defined here alone, registered, and taken through all that the package does."""

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

import click
import numpy as np
import pytest
from cli_runs import COMMAND, ENVIRONMENT, bad, good
from sklearn.base import clone
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, DBNRegressor, DeepAutoencoder, datasets, gradient_check, load, save
from deepbelief.activations import ACTIVATIONS
from deepbelief.backends import BACKENDS, get_backend
from deepbelief.checkpoints import CheckpointFile
from deepbelief.components import COMPONENTS, Component
from deepbelief.distributed import Averaging, Partitioned, clusters
from deepbelief.errors import DataError, FileFormatError, Mention, SettingError
from deepbelief.estimators.persistence import from_model_file, to_model_file
from deepbelief.gradients import CD, GRADIENTS
from deepbelief.losses import LOSSES
from deepbelief.optimizers import OPTIMIZERS
from deepbelief.schedules import SCHEDULES, Inverse
from deepbelief.sources import FORMATS, ArraySource, Content, Format
from deepbelief.training import Reporter, Run
from deepbelief.units import UNITS, UnitType
from deepbelief.units.unit import Foreign

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


@dataclass(frozen=True)
class Decorrelated(Component):
    """A regulariser: a quarter of the squared products of different hidden units' weights."""

    factor: float = 1.0
    name: ClassVar[str] = "decorrelated"
    weight_gradient: ClassVar[bool] = True

    def adjust(self, step, state, grads):
        W, xp = step.machine.W, step.machine.bk.xp
        gram = (W.T @ W) * (1 - xp.eye(W.shape[1], dtype=W.dtype))
        grads[0] += self.factor * (W @ gram)


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


@dataclass(frozen=True)
class Pairs(UnitType):
    """A unit type: two Bernoulli units with the same weights, as one with the states 0, 1 and 2."""

    rate: float = 0.05
    activation = "twice_sigmoid"
    next_visible = "pairs"
    discrete = True
    domain = "pairs take values from 0 to 2"

    @classmethod
    def parsed(cls, text, get_unit):
        return cls(float(text)) if text else cls()

    @property
    def spec(self):
        return "pairs" if self.rate == 0.05 else f"pairs:{self.rate!r}"

    def admits(self, low, high):
        return bool(low.min() >= 0 and high.max() <= 2)

    def foreign(self, block, beyond=0.0):
        wrong = np.argwhere((block < -beyond) | (block > 2 + beyond))
        return Foreign(*map(int, wrong[0])) if len(wrong) else None

    def mean(self, bk, x, bias):
        bk.sigmoid(x, bias)
        x *= 2
        return x

    def sample(self, bk, x, bias, rng, out):
        half = bk.sigmoid(x, bias).copy()
        other = rng.bernoulli(half, bk.xp.empty_like(out))
        rng.bernoulli(half, out)
        out += other
        x *= 2
        return out

    def energy(self, bk, v, bias):  # states 0 and 2 have one arrangement, 1 has two
        return -(v * bias).sum(axis=1) - np.log(2) * (v * (2 - v)).sum(axis=1)

    def log_partition(self, bk, x):
        return 2 * bk.xp.logaddexp(0, x).sum(axis=1)

    def log_integral(self, bk, field, bias):
        return self.log_partition(bk, field + bias)

    def initial_bias(self, mean):
        return np.log(mean) - np.log(2 - mean)


@dataclass(frozen=True)
class TwiceSigmoid:
    """An activation: the mean of a pair."""

    factor: float = 2.0
    name: str = "twice_sigmoid"
    rate: float = 0.1

    def initial_limit(self, n_in, n_out):
        return 1 / n_in

    def forward(self, bk, x, bias):
        bk.sigmoid(x, bias)
        x *= self.factor
        return x

    def backward(self, bk, grad, y, out):
        bk.xp.subtract(self.factor, y, out=out)
        out *= y
        out *= grad
        out /= self.factor
        return out


@dataclass(frozen=True)
class Quartic:
    """A loss: of values, the sum of fourth powers and squares."""

    weight: float = 1.0
    targets: ClassVar[str] = "values"

    def predict(self, bk, x, bias):
        x += bias
        return x

    def values(self, bk, output, target):
        square = (output - target) ** 2
        return (square + self.weight * square**2).sum(axis=1)

    def score(self, bk, output, target):
        return None

    def gradient(self, bk, output, target, out):
        away = output - target
        return bk.xp.add(2 * away, 4 * self.weight * away**3, out=out)

    def measures(self, loss):
        return {"quartic": loss}


class Counted:
    """A backend: NumPy, wrapped, which counts its matrix products."""

    name = "counted"
    products: ClassVar[Counter] = Counter()

    def __init__(self, precision="float32"):
        self._inner = get_backend("numpy", precision)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    def matmul(self, rows, W, out=None):
        self.products[W.shape] += 1
        return self._inner.matmul(rows, W, out)


def read_json_rows(path, part, labels, limit):
    """A data format: a list of rows for each line, the label in a field of its own."""
    records = [json.loads(line) for line in path.read_text().splitlines()][:limit]
    found = None if labels is None else np.array([record[labels] for record in records])
    return Content(ArraySource(np.array([record["row"] for record in records], np.float32)), found)


JSON_ROWS = Format(read_json_rows, (".jsonl",), matches=lambda path: path.read_bytes()[:6] == b'{"row"', labelled=True)


@click.command("count", short_help="Count the rows of a file.")
@click.argument("data")
def count(data):
    """A command."""
    n_rows = datasets.open(data).rows.shape[0]
    if n_rows > 30:
        raise SettingError(Mention("data"), f" must be at most 30, got {n_rows}", setting="data", value=n_rows)
    click.echo(f"{n_rows} rows")


REGISTRIES = {
    "unit": (UNITS, "pairs", Pairs),
    "component": (COMPONENTS, "slow_mean", SlowMean),
    "gradient": (GRADIENTS, "smoothed", Smoothed),
    "optimizer": (OPTIMIZERS, "signs", Signs),
    "schedule": (SCHEDULES, "sawtooth", Sawtooth),
    "activation": (ACTIVATIONS, "twice_sigmoid", TwiceSigmoid),
    "loss": (LOSSES, "quartic", Quartic),
    "backend": (BACKENDS, "counted", Counted),
    "format": (FORMATS, "json_rows", JSON_ROWS),
}
# Settings that use it by its name, with its defaults; and as an instance with others. Of machines ...
NAMED = {
    "unit": {"hidden": "pairs"}, "component": {"components": ["slow_mean"]}, "gradient": {"gradient": "smoothed"},
    "optimizer": {"solver": "signs"}, "schedule": {"schedule": "sawtooth"},
}  # fmt: skip
INSTANCES = {
    "unit": {"hidden": Pairs(0.2), "visible": Pairs(0.01)}, "component": {"components": [SlowMean(0.3)]},
    "gradient": {"gradient": Smoothed(decay=0.9)}, "optimizer": {"solver": Signs(0.5)},
    "schedule": {"schedule": Sawtooth(5)},
}  # fmt: skip
OF_MACHINES = sorted(NAMED)
# ... and of fine-tuning.
TUNED_BY_NAME = {
    "optimizer": NAMED["optimizer"], "schedule": NAMED["schedule"], "activation": {"activation": "twice_sigmoid"},
    "loss": {"loss": "quartic"}, "backend": {"backend": "counted"},
}  # fmt: skip
TUNED_BY_INSTANCE = {
    "optimizer": INSTANCES["optimizer"], "schedule": INSTANCES["schedule"],
    "activation": {"activation": TwiceSigmoid(1.5)}, "loss": {"loss": Quartic(0.5)}, "backend": {"backend": Counted()},
}  # fmt: skip
ALL = sorted({*NAMED, *TUNED_BY_NAME})
BY_NAME = {kind: (NAMED.get(kind, {}), TUNED_BY_NAME.get(kind, {})) for kind in ALL}
BY_INSTANCE = {kind: (INSTANCES.get(kind, {}), TUNED_BY_INSTANCE.get(kind, {})) for kind in ALL}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    from deepbelief.cli import COMMANDS

    monkeypatch.setitem(COMMANDS, "count", count)
    for registry, name, kind in REGISTRIES.values():
        monkeypatch.setitem(registry, name, kind)


def test_a_unit_type_stands_beside_others_in_one_layer(tmp_path):
    beside = RBM(4, visible="parts:pairs*2;bernoulli*3;pairs:0.2*1", n_iter=2, random_state=0).fit(ROWS)
    assert beside.weights_.visible == "parts:pairs*2;bernoulli*3;pairs:0.2*1"
    assert gradient_check(beside, ROWS[:8]).ok
    save(beside, tmp_path / "beside.h5")
    np.testing.assert_array_equal(load(tmp_path / "beside.h5").transform(ROWS), beside.transform(ROWS))
    with pytest.raises(DataError, match=r"row 3, column 1 .* pairs take values from 0 to 2"):
        beside.transform(np.where(np.arange(240).reshape(40, 6) == 19, 9, ROWS))


def rbm(settings, **more):
    return RBM(4, **{"n_iter": 2, "batch_size": 10, "random_state": 0, **settings, **more})


def models(settings, **more):
    """Return estimators that are trained with an extension, and what they are fitted to."""
    machine, tuned = settings
    backend = {name: value for name, value in tuned.items() if name == "backend"}
    template, found = RBM(n_iter=1, batch_size=10, **machine), []
    if machine or backend:
        found.append((rbm({**machine, **backend}, **more), (ROWS,)))
        found.append((DBN((4, 3), rbm=template, n_passes=2, random_state=0, **backend, **more), (ROWS,)))
    common = {"rbm": template, "max_iter": 2, "batch_size": 10, "random_state": 0, **more}
    if "loss" not in tuned:
        found.append((DBNClassifier((4, 3), **common, **tuned), (ROWS, CLASSES)))
    else:
        found.append((DBNRegressor((4, 3), **common, **tuned), (ROWS, ROWS[:, :2])))
    if "activation" not in tuned and "hidden" not in machine:
        found.append((DeepAutoencoder((4, 3), **common, **tuned), (ROWS,)))
    return found


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
@pytest.mark.parametrize("settings", [BY_NAME, BY_INSTANCE], ids=["name", "instance"])
def test_it_trains_is_saved_cloned_and_pickled(kind, settings, tmp_path):
    for model, data in models(settings[kind]):
        model.fit(*data)
        assert all(np.isfinite(array).all() for array in learned(model))
        assert all(type(array) is np.ndarray for array in learned(model))
        assert_same(clone(model).fit(*data), model)
        assert_same(pickle.loads(pickle.dumps(model)), model)
        save(model, tmp_path / "model.h5")
        back = load(tmp_path / "model.h5")
        assert_same(back, model)
        assert_same(back.fit(*data), clone(model).fit(*data))


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "backend"])
def test_it_changes_what_is_learned(kind):
    plain = {type(model): model.fit(*data) for model, data in models((dict.fromkeys(["scale"], "none"), {}))}
    if kind == "loss":
        model, data = models(({}, {"loss": "auto"}))[0]
        plain[type(model)] = model.fit(*data)
    for (named, data), (other, _) in zip(models(BY_NAME[kind]), models(BY_INSTANCE[kind]), strict=True):
        start, one, two = (learned(model)[-1] for model in (plain[type(named)], named.fit(*data), other.fit(*data)))
        assert min(np.abs(start - one).max(), np.abs(one - two).max()) > 1e-6


def test_a_backend_makes_the_products_and_changes_nothing():
    for (model, data), (plain, _) in zip(models(BY_NAME["backend"]), models(({}, {"backend": "numpy"})), strict=True):
        Counted.products.clear()
        assert_same(model.fit(*data), plain.fit(*data))
        assert Counted.products[6, 4] > 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", ALL)
def test_a_run_resumes_bit_for_bit_at_every_update(kind, tmp_path):
    def make(**more):
        if kind in INSTANCES:
            return rbm(INSTANCES[kind], **more), (ROWS,)
        rows = ROWS, ROWS[:, :2] if kind == "loss" else CLASSES
        model = DBNRegressor if kind == "loss" else DBNClassifier
        settings = {"rbm": RBM(n_iter=1, batch_size=10), "max_iter": 1, "batch_size": 10, **TUNED_BY_INSTANCE[kind]}
        return model((4,), random_state=0, **settings, **more), rows

    whole, data = make()
    whole.fit(*data)
    for at in range(1, 8):
        file = CheckpointFile(tmp_path / f"{at}.h5", every="1 update")
        with contextlib.suppress(KeyboardInterrupt):
            make(checkpoint=file, verbose=Stop(at))[0].fit(*data)
        assert_same(make(checkpoint=file)[0].fit(*data), whole)


@pytest.mark.parametrize("kind", OF_MACHINES)
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
    for model, data in models(BY_INSTANCE[kind]):
        assert gradient_check(model, *data).ok


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*OF_MACHINES, "backend"])
def test_workers_of_a_cluster_train_with_it(kind, cluster):
    machine = NAMED.get(kind, {})
    averaging = Averaging(backend="counted" if kind == "backend" else "numpy", rate="same")
    rows = pytest.importorskip("dask.array").from_array(ROWS, chunks=ROWS.shape)
    assert_same(rbm(machine).fit(Partitioned(rows, averaging, cluster)), rbm(machine).fit(ROWS))


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None,
            scheduler_kwargs=clusters.NO_DASHBOARD, silence_logs="CRITICAL",
        ) as local,
        distributed.Client(local) as client,
    ):  # fmt: skip
        yield client


@pytest.fixture
def json_rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    each = zip(ROWS.tolist(), CLASSES.tolist(), strict=True)
    path.write_text("\n".join(json.dumps({"row": row, "kind": kind}) for row, kind in each))
    return path


PRETRAIN = {
    "unit": ("--hidden", "pairs"), "component": ("--components", "slow_mean"), "gradient": ("--gradient", "smoothed"),
    "schedule": ("--schedule", "sawtooth"), "backend": ("--backend", "counted"),
}  # fmt: skip
FINETUNE = {
    "optimizer": ("--solver", "signs"), "schedule": ("--schedule", "sawtooth"), "backend": ("--backend", "counted"),
    "activation": ("--activation", "twice_sigmoid"), "loss": ("--loss", "quartic", "--autoencoder"),
}  # fmt: skip


def shown(*words):
    """Return a help text without its line breaks."""
    return "".join(good(*words, "--help").stdout.split())


@pytest.mark.parametrize("kind", ALL)
def test_the_command_line_offers_it(kind, json_rows, tmp_path):
    sizes, few = ("--layers", "4,3", "--quiet"), ("--epochs", "1", "--seed", "1")
    stack, tuned, start = tmp_path / "stack.h5", tmp_path / "tuned.h5", PRETRAIN.get(kind, ())
    good("pretrain", json_rows, *sizes, *few, *start, "--labels", "kind", "--out", stack)
    good("finetune", stack, *few, "--quiet", *FINETUNE.get(kind, ()), "--out", tuned)
    assert "rows" in good("evaluate", tuned).stdout
    for command, table, model in (("pretrain", PRETRAIN, json_rows), ("finetune", FINETUNE, stack)):
        if kind in table:
            flag, name = table[kind][:2]
            assert name in shown(command)
            if kind != "unit":
                assert f"did you mean {name!r}" in bad(command, model, flag, f"{name}x", "--out", tmp_path / "no.h5")


def test_a_format_is_read_by_name_and_by_content(json_rows, tmp_path):
    for name in ("rows.of_mine", "ROWS.JSONL"):
        path = json_rows = json_rows.rename(tmp_path / name)
        found = datasets.open(str(path), labels="kind", limit=9)
        np.testing.assert_array_equal(found.rows.take(slice(0, 9)), ROWS[:9])
        np.testing.assert_array_equal(found.labels, CLASSES[:9])
    assert ".jsonl," in shown("pretrain")
    (tmp_path / "broken.jsonl").write_text("{")
    with pytest.raises(DataError, match=r"broken\.jsonl: cannot be read: Expecting"):
        datasets.open(str(tmp_path / "broken.jsonl"))
    (tmp_path / "rows.xyz").write_text("?")
    with pytest.raises(DataError, match=r"Give one of .*\.jsonl"):
        datasets.open(str(tmp_path / "rows.xyz"))


def test_a_command_is_listed_run_and_reported(json_rows):
    assert "countCounttherowsofafile." in shown()
    assert bad("count", json_rows) == "DATA must be at most 30, got 40"
    json_rows.write_text("\n".join(json_rows.read_text().splitlines()[:7]))
    assert good("count", json_rows).stdout == "7 rows\n"


EXTENSION = """
import click
from deepbelief.gradients import CD, GRADIENTS

class Mine(CD):
    pass

@click.command("mine")
def command():
    click.echo("run")

def register():
    from deepbelief.cli import COMMANDS
    COMMANDS["mine"] = command
    GRADIENTS["mine"] = Mine
"""


@pytest.mark.slow
def test_an_installed_package_extends_the_command_line(tmp_path):
    (tmp_path / "mine.py").write_text(EXTENSION)
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    entries = "[deepbelief.extensions]\ngone = not_there\nmine = mine:register\n"
    (info / "entry_points.txt").write_text(entries)
    path = os.pathsep.join([ENVIRONMENT["PYTHONPATH"], str(tmp_path)])

    def run(*words):
        return subprocess.run(
            [*COMMAND, *words], capture_output=True, text=True, check=True, env={**ENVIRONMENT, "PYTHONPATH": path}
        )  # fmt: skip

    found = run("mine")
    assert found.stdout == "run\n"
    assert "Warning: the extension 'gone' (not_there) cannot be imported (ModuleNotFoundError" in found.stderr
    assert "|mine]" in "".join(run("pretrain", "--help").stdout.split())
    assert sys.modules.get("mine") is None


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


@pytest.mark.parametrize("gradient", ["cd", "pcd", "exact"])
def test_a_regulariser_adds_to_the_gradient_of_the_weights(gradient, bk):
    def weights(rate, components=()):
        rbm = RBM(
            4, gradient=gradient, learning_rate=rate, schedule="constant", momentum=0.0, weight_decay=0.0,
            components=list(components), batch_size=40, n_iter=1, random_state=0, backend=bk,
        )  # fmt: skip
        return rbm.fit(ROWS.astype(np.float64)).weights_.W

    start = weights(1e-14)
    gram = start.T @ start
    np.fill_diagonal(gram, 0)
    change = weights(0.5, [Decorrelated(30.0)]) - weights(0.5)
    np.testing.assert_allclose(change, -0.5 * 30 * start @ gram, rtol=1e-6, atol=1e-12)


def test_a_component_follows_a_divergence():
    from layer_runs import train, trainer_for

    from deepbelief.backends import get_backend

    trainer = trainer_for(get_backend(), ROWS, components=(SlowMean(),), schedule=lambda p: 1.0 if p < 0.1 else 1e30)
    assert "diverged" in train(trainer, ROWS, (0, 4))[-1]
    np.testing.assert_array_equal(trainer.learner.arrays["slow_mean"]["mean"], trainer.machine.W)


def test_a_file_with_an_unregistered_class_is_refused(tmp_path, monkeypatch):
    save(rbm(INSTANCES["component"]).fit(ROWS), tmp_path / "model.h5")
    monkeypatch.delitem(COMPONENTS, "slow_mean")
    with pytest.raises(FileFormatError, match=r"'components:slow_mean'.*register the class before loading"):
        load(tmp_path / "model.h5")
    with pytest.raises(SettingError, match="cannot be kept in a file"):
        save(rbm(INSTANCES["component"]).fit(ROWS), tmp_path / "other.h5")


def test_a_component_may_be_named_with_a_number(json_rows, tmp_path):
    assert_same(rbm({"components": ["slow_mean:0.3"]}).fit(ROWS), rbm({"components": [SlowMean(0.3)]}).fit(ROWS))
    run = ("pretrain", json_rows, "--layers", "4", "--epochs", "1", "--quiet", "--labels", "kind")
    good(*run, "--components", "slow_mean,l1:0.001", "--out", tmp_path / "stack.h5")
    assert "'l1:0.1'" in bad(*run, "--components", "l1", "--out", tmp_path / "other.h5")


class Unknown(Pairs):
    """A unit type whose activation is not registered."""

    activation = "none_such"
    reconstruction_loss = "squared_error"
    spec = "unknown"


@case_by_case(
    ("model", "settings"), [(DeepAutoencoder, {"visible": Unknown()}), (DBNClassifier, {"hidden": Unknown()})]
)
def test_a_network_of_units_without_an_activation_is_refused_before_pretraining(monkeypatch, model, settings):
    monkeypatch.setitem(UNITS, "unknown", Unknown)
    unfit = model((3,), rbm=RBM(n_iter=1, **settings), verbose=Stop(1))
    with pytest.raises(SettingError, match=r"unknown units have the activation 'none_such'.*ACTIVATIONS, or train"):
        unfit.fit(ROWS, CLASSES)
    stack = DBN((3,), rbm=RBM(n_iter=1, **settings)).fit(ROWS).stack_
    with pytest.raises(SettingError, match="unknown units have the activation 'none_such'"):
        model(pretrained=stack, max_iter=1).fit(ROWS, CLASSES)


def test_remedies_come_from_the_units():
    with pytest.raises(DataError, match=r"to 2.*: use visible='gaussian'$"):
        RBM(3, visible="pairs").fit(9 * ROWS)
    with pytest.raises(SettingError, match=r"choose hidden='bernoulli', .*'pairs'"):
        RBM(3, hidden="softmax:3").fit(ROWS)


class Plain:
    """An optimizer that is not a dataclass."""

    rate = 0.01

    def start(self, bk, params):
        return []

    def step(self, bk, params, grads, state, rates, momentum, decays):
        pass


def counting(**members):
    """Return a gradient estimator whose state is not an array, or with these members instead of its own."""
    own = {
        "__call__": lambda self, *given: CD(1)(*given[:4], {}, given[5]), "is_model": True, "schedule": "linear",
        "momentum": 0.0, "gibbs_steps": 1, "start": lambda self, machine, n_chains, rng: {"n": 0},
        "__init__": lambda self, gibbs_steps=1: None,
    }  # fmt: skip
    return type("Counting", (), own | members)


@case_by_case(
    ("registry", "kind", "settings", "line"),
    [
        (GRADIENTS, counting(), {"gradient": "mine"}, "state 'n' of 'gradient' must be an array"),
        (GRADIENTS, counting(__init__=lambda self: None), {"gradient": "mine"}, "Counting must take `gibbs_steps`"),
        (GRADIENTS, counting(__init__=lambda self, gibbs_steps, n: None), {"gradient": "mine"}, "a default for each"),
        (GRADIENTS, counting(gibbs_steps=(1, 2)), {"gradient": "mine"}, "Counting must be a dataclass"),
        (UNITS, type("Mine", (UnitType,), {"spec": "mine"}), {"visible": "mine"}, "Mine must define .*log_partition"),
        (UNITS, type("Mine", (UnitType,), {}), {"hidden": "mine"}, "Mine must define spec, "),
        (UNITS, Pairs, {"hidden": Pairs}, "must be one of bernoulli, .* or an instance, got <class"),
    ],
)
def test_incomplete_strategies_are_refused(monkeypatch, registry, kind, settings, line):
    monkeypatch.setitem(registry, "mine", kind)
    with pytest.raises(SettingError, match=line):
        rbm(settings).fit(ROWS)


def test_a_strategy_that_is_not_a_dataclass_trains_but_only_its_name_is_saved(tmp_path, monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, "plain", Plain)
    save(rbm({"solver": "plain"}).fit(ROWS), tmp_path / "named.h5")
    assert load(tmp_path / "named.h5").solver == "plain"
    with pytest.raises(SettingError, match="Plain must be a dataclass"):
        save(rbm({"solver": Plain()}).fit(ROWS), tmp_path / "instance.h5")


def test_a_misspelled_hook_is_refused():
    with pytest.raises(SettingError, match=r"Typo\.adjsut is not a hook .* did you mean 'adjust'\?"):
        type("Typo", (Component,), {"adjsut": lambda self, step, state, grads: None})
    type("Other", (Component,), {"tie": lambda self: None, "_adjsut": lambda self: None, "starts": 3})


@pytest.mark.parametrize(("registry", "key"), [(COMPONENTS, "mine"), (GRADIENTS, "mine"), (SCHEDULES, "mine")])
def test_a_class_may_have_the_name_of_another_strategy(registry, key, tmp_path, monkeypatch):
    """In the same registry too, and where an early file knows the package's own by the name of its class."""
    save(rbm({"schedule": Inverse(0.2)}).fit(ROWS), tmp_path / "before.h5")
    monkeypatch.setitem(registry, key, type("Inverse", (Component,), {}))
    save(rbm({"schedule": Inverse(0.3)}).fit(ROWS), tmp_path / "after.h5")
    assert [load(tmp_path / name).schedule.tau for name in ("before.h5", "after.h5")] == [0.2, 0.3]
    early = {"strategy": "Inverse", "settings": {"tau": 0.4}}
    model = to_model_file(rbm({"schedule": "inverse"}).fit(ROWS), {})
    assert from_model_file(replace(model, params={**model.params, "schedule": early})).schedule == Inverse(0.4)


@case_by_case(
    ("components", "line"),
    [
        (["slow-mean"], "unknown component 'slow-mean': .* did you mean 'slow_mean'"),
        ("slow_mean", "components must be a list"),
        ([Nameless()], "needs a unique name"),
        ([SlowMean(), SlowMean()], "needs a unique name"),
        ([3], "unknown component"),
        (["l1"], "component 'l1' needs a number, its factor: write it as in 'l1:0.1', or give an instance"),
        (["smooth"], "'smooth' needs groups, which a name cannot give: in Python, give an instance of Smooth"),
        (["l1:x"], "got 'x' for the number"),
        (["l1:nan"], "got 'nan' for the number"),
        (["resampling:2"], "has no setting that a number could give: write 'resampling'"),
    ],
)
def test_bad_components_are_refused(components, line):
    with pytest.raises(SettingError, match=line):
        rbm({"components": components}).fit(ROWS)
