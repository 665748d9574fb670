"""Automatic settings: each rule's values, and what fitted estimators and the shell say of them."""

from types import SimpleNamespace

import numpy as np
import pytest
from tables import case_by_case

from deepbelief import (
    DBN,
    RBM,
    DBNClassifier,
    DBNRegressor,
    DeepAutoencoder,
    RBMClassifier,
    RecurrentRBM,
    load,
    save,
    suggest_layer_sizes,
)
from deepbelief.cli._plans import make_dbn
from deepbelief.cli._sequences import make_model
from deepbelief.cli.finetune import make_estimator
from deepbelief.errors import FileFormatError
from deepbelief.estimators.density_settings import of_groups
from deepbelief.estimators.tuning import autoencoder_settings
from deepbelief.finetuning import FineTuneSettings
from deepbelief.hyperparameters import FINE_TUNING, MACHINE, PRETRAINING, RECURRENT
from deepbelief.recipes.density_rules import density_epochs, density_rate
from deepbelief.recipes.presets import Extent, suggested_layers
from deepbelief.recipes.pretraining_rules import (
    autoencoder_pretraining,
    denoising_rate,
    epochs_of_layer,
    machine_rate,
    rows_in_minibatch,
)
from deepbelief.recipes.resolved import Choices, Resolved, choices_of_file, plain_choices, resolution_lines
from deepbelief.recipes.sequence_rules import (
    frame_epochs,
    sequence_decay,
    sequence_epochs,
    sequences_in_minibatch,
    stopped_epochs,
    stopping_of_sequences,
)
from deepbelief.recipes.tuning_rules import (
    AUTOENCODING,
    Supervision,
    hidden_dropout,
    layer_activation,
    supervised_pretraining,
    tuning_decay,
    tuning_epochs,
    tuning_extent,
    tuning_input_dropout,
    tuning_rate,
)
from deepbelief.sources import as_source
from deepbelief.training import Reporter

RNG = np.random.default_rng(0)
BITS = (RNG.random((60, 12)) < 0.4).astype(np.float32)
REAL = RNG.normal(size=(60, 12)).astype(np.float32)
CLASSES = (BITS[:, 0] + BITS[:, 1]).astype(int)
LENGTHS = [20, 20, 20]
REPEATED = np.tile(BITS, (50, 1))
QUICK = RBM(n_iter=1)
FEW_OF_MANY = suggest_layer_sizes(784, 60_000, 10, n_labeled=1_000)


BITS_ONLY = {"unit_interval": True, "modelled": False, "templates": False}
IMAGES = Supervision(60_000, True, 784, 250, classes=True, logistic=True, unit_interval=True)
DRAWN = IMAGES._replace(n_labelled=100, pretrained=False)


def test_few_labels_among_many_rows_take_three_layers_by_default():
    X = np.random.default_rng(0).random((10_100, 160), np.float32)
    y = np.where(np.arange(len(X)) < 60, np.arange(len(X)) % 3, -1)
    clf = DBNClassifier(rbm=QUICK, max_iter=1).fit(X, y)
    assert clf.stack_.sizes == (160, 100, 100, 100)
    found = clf.resolved_["hidden_layer_sizes"]
    assert found.value == (100, 100, 100)
    assert "60 of 10,100 rows have a label" in found.reason


class Notes(Reporter):
    """Keeps the lines about data and settings."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


@case_by_case(
    ("found", "value"),
    [
        (rows_in_minibatch(60_000), 100),
        (rows_in_minibatch(1_000), 20),
        (rows_in_minibatch(120), 10),
        (epochs_of_layer(60_000, 100), 10),
        (epochs_of_layer(1_000, 20), 100),
        (epochs_of_layer(10_000_000, 100), 5),
        (machine_rate(0.1, 784, 500, 250, None), 0.1),
        (machine_rate(0.1, 784, 2000, 1000, None), 0.025),  # four times the usual number of active units
        (machine_rate(0.1, 4, 256, 1, None), 0.025),  # 64 hidden units for each visible one
        (tuning_epochs(60_000, 100), 20),
        (tuning_epochs(500, 10), 100),
        (tuning_rate(0.3, None, 0.9), 0.3),
        (tuning_rate(0.3, 0.003, 0.99), 0.003),
        (tuning_rate(0.3, None, 0.95), 0.15),
        (sequences_in_minibatch(13_800, 229, 60), 5),
        (sequences_in_minibatch(100, 3, 60), 1),
        (sequence_epochs(46), 130),
        (stopped_epochs(46), 100),
        (stopped_epochs(1_000), 20),
        (frame_epochs(13_800, 100), 58),
        (frame_epochs(100, 10), 0),
        (sequence_decay(13_800), 1e-3),
        (sequence_decay(50_000), 3e-4),
        (sequence_decay(176_000), 1e-4),
        (sequence_decay(100), 0.0),
        (stopping_of_sequences(229, 13_800, likelihood=True, epochs_given=False), True),
        (stopping_of_sequences(229, 13_800, likelihood=True, epochs_given=True), False),
        (stopping_of_sequences(229, 13_800, likelihood=False, epochs_given=False), False),
        (stopping_of_sequences(9, 13_800, likelihood=True, epochs_given=False), False),
        (stopping_of_sequences(20, 400, likelihood=True, epochs_given=False), False),
        (supervised_pretraining(999, 999, **BITS_ONLY), "none"),
        (supervised_pretraining(999, 400, **BITS_ONLY), "denoising"),
        (supervised_pretraining(60_000, 60_000, **BITS_ONLY), "denoising"),
        (supervised_pretraining(5_000, 5_000, **BITS_ONLY | {"unit_interval": False}), "rbm"),
        (supervised_pretraining(5_000, 500, **BITS_ONLY | {"unit_interval": False}), "denoising"),
        (supervised_pretraining(60_000, 60_000, **BITS_ONLY | {"templates": True}), "rbm"),
        (supervised_pretraining(100, 100, **BITS_ONLY | {"modelled": True}), "rbm"),
        (layer_activation("sigmoid", pretrained=False), "tanh"),
        (layer_activation("sigmoid", pretrained=False, classes=True), "relu"),
        (layer_activation("sigmoid", pretrained=True, classes=True), "sigmoid"),
        (layer_activation("relu", pretrained=False), "relu"),
        (tuning_decay(500, pretrained=False), 0.01),
        (tuning_decay(500, pretrained=True), 3e-5),
        (tuning_decay(500, pretrained=True, dropout=0.5), 0.0),
        (tuning_decay(60_000, pretrained=True, dropout=0.2), 5e-6),
        (hidden_dropout(IMAGES), 0.2),
        (hidden_dropout(IMAGES._replace(n_labelled=1_000)), 0.5),
        (hidden_dropout(IMAGES._replace(n_narrowest=64)), 0.0),
        (hidden_dropout(IMAGES._replace(classes=False)), 0.0),
        (hidden_dropout(IMAGES._replace(pretrained=False)), 0.0),
        (tuning_input_dropout(IMAGES), 0.1),
        (tuning_input_dropout(IMAGES._replace(n_labelled=1_000)), 0.2),
        (tuning_input_dropout(IMAGES._replace(n_inputs=64)), 0.0),
        (tuning_input_dropout(IMAGES._replace(unit_interval=False)), 0.0),
        (tuning_epochs(60_000, 100, tuning_extent(IMAGES, 0.2)), 30),
        (tuning_epochs(1_000, 20, tuning_extent(IMAGES._replace(n_labelled=1_000), 0.5)), 100),
        (tuning_epochs(100, 10, tuning_extent(IMAGES._replace(n_labelled=100), 0.5)), 500),
        (tuning_epochs(60_000, 100, tuning_extent(IMAGES, 0.0)), 20),
        (tuning_epochs(100, 10, tuning_extent(DRAWN, 0.0)), 80),  # 800 updates
        (tuning_epochs(500, 10, tuning_extent(DRAWN, 0.0)), 20),
        (tuning_epochs(100, 10, tuning_extent(DRAWN._replace(classes=False), 0.0)), 100),
        (tuning_epochs(2_000, 40, tuning_extent(DRAWN._replace(n_labelled=2_000), 0.0)), 100),
        (tuning_epochs(100, 10, tuning_extent(DRAWN._replace(pretrained=True), 0.0)), 100),
        (tuning_epochs(60_000, 100, AUTOENCODING), 60),
        (tuning_epochs(60_000, 100, AUTOENCODING, "fast"), 20),
        (tuning_epochs(1_000_000, 100, AUTOENCODING), 20),
        (density_epochs(2_000, 128), 375),  # 6,000 updates, 16 in an epoch
        (density_epochs(10**9, 128), 1),
        (density_epochs(10, 10), 500),
        (denoising_rate(), 0.15),
        (epochs_of_layer(60_000, 100, 18_000, "fast"), 5),  # a sixth of the updates, 600 in an epoch
        (epochs_of_layer(1_000, 20, 6_000, "fast"), 20),
        (epochs_of_layer(10_000_000, 100, 6_000, "fast"), 1),  # a sixth of 5 epochs
        (epochs_of_layer(60_000, 100, 18_000, "best"), 30),
        (tuning_epochs(60_000, 100, Extent(18_000, 20, 100), "fast"), 10),
        (tuning_epochs(60_000, 100, Extent(18_000, 20, 100), "best"), 60),
        (tuning_epochs(500, 10, Extent(18_000, 20, 100), "best"), 200),
        (sequence_epochs(46, "fast"), 26),  # 1,200 updates
        (stopped_epochs(46, "fast"), 87),  # 4,000 updates
        (stopped_epochs(46, "best"), 200),
        (suggested_layers(FEW_OF_MANY, 60_000), (500, 500, 500)),
        (suggested_layers(FEW_OF_MANY, 60_000, "fast"), (500, 500, 500)),
        (suggested_layers(FEW_OF_MANY, 60_000, "best"), (1000, 1000, 1000)),
        (suggested_layers(suggest_layer_sizes(784, 60_000, 10), 60_000, "best"), (1000, 1000)),
        (suggested_layers(suggest_layer_sizes(784, 500, 10), 500, "best"), (500, 250)),
        (suggested_layers(suggest_layer_sizes(64, 60_000, 10), 60_000, "best"), (100, 100)),
        (suggested_layers(suggest_layer_sizes(784, 60_000), 60_000, "best"), (500, 250)),  # no classes
        (autoencoder_pretraining(missing=True, real=True, templates=False), "rbm"),
        (autoencoder_pretraining(missing=False, real=True, templates=True), "rbm"),
        (autoencoder_pretraining(missing=False, real=True, templates=False), "denoising"),
        (autoencoder_pretraining(missing=False, real=False, templates=False), "rbm"),
    ],
)
def test_each_rule_has_a_value_and_a_reason(found, value):
    assert found.value == pytest.approx(value) if isinstance(value, float) else found.value == value
    assert found.reason
    assert "\n" not in found.reason


def test_many_hidden_units_lower_the_rate_of_a_density():
    assert [density_rate(n) for n in (1, 128, 256, 512)] == [0.005, 0.005, 0.005, 0.0025]


def test_a_shorter_extent_has_an_epoch_at_least():
    assert Extent(6_000, 1, 100).times(0.3) == (1_800, 1, 100)


@pytest.mark.slow
@case_by_case(
    ("model", "data", "expected"),
    [
        (DBN((4,)), (BITS,), {"rbm__n_iter": 100}),
        (DBN((4,), preset="fast"), (BITS,), {"rbm__n_iter": 100}),  # the most
        (DBN((4,), preset="best"), (REPEATED,), {"rbm__n_iter": 100}),
        (DBN((4,), preset="fast"), (REPEATED,), {"rbm__n_iter": 20}),  # 1,000 updates of 60 rows
        (
            DBNClassifier((4,), rbm=QUICK, preset="fast"),
            (REPEATED, np.tile(CLASSES, 50)),
            {"max_iter": 40},  # 2,000 updates of 60 rows
        ),
        (DBNRegressor((4,), pretraining="none", preset="best"), (REAL, REAL[:, 0]), {"max_iter": 200}),
    ],
)
@pytest.mark.filterwarnings("ignore::deepbelief.errors.DeepBeliefWarning")
def test_a_preset_changes_automatic_settings(model, data, expected):
    model.set_params(random_state=0).fit(*data)
    for name, value in expected.items():
        assert model.resolved_[name].value == value
        assert ("preset" in model.resolved_[name].reason) == (model.preset != "standard")


@pytest.mark.slow
def test_a_preset_reaches_a_model_of_sequences():
    model = RecurrentRBM(4, 3, preset="best", random_state=0)
    assert model._settings().resolve(np.array([60])).resolved["n_iter"].value == 400  # twice the most
    fast = model.set_params(preset="fast", n_iter=1).fit(REPEATED)
    assert fast.resolved_["pretrain_frames"].value == 100  # as by default: 8,000 updates of 60 frames


@pytest.mark.filterwarnings("ignore::deepbelief.errors.DeepBeliefWarning")
def test_settings_that_are_given_win_over_a_preset_which_says_so():
    notes = Notes()
    clf = DBNClassifier((4,), rbm=QUICK, max_iter=2, preset="best", random_state=0, verbose=notes).fit(BITS, CLASSES)
    assert (clf.stack_.sizes[1:], clf.n_iter_) == ((4,), 2)
    assert not {"max_iter", "rbm__n_iter", "hidden_layer_sizes"} & set(clf.resolved_)
    told = [line for line in notes.lines if "preset" in line]
    assert told == [
        "preset='best' does not change hidden_layer_sizes=(4,), which is given",
        "preset='best' does not change rbm__n_iter=1, which is given",
        "preset='best' does not change max_iter=2, which is given",
    ]
    recurrent = Notes()
    RecurrentRBM(4, 3, n_iter=1, preset="fast", random_state=0, verbose=recurrent).fit(BITS)
    assert "preset='fast' does not change n_iter=1, which is given" in recurrent.lines


LAYERS = DBN((4,), rbm=QUICK, random_state=0).fit(BITS).stack_
BY_RBM, BY_NONE = (f"has no effect: pretraining={kind!r}" for kind in ("rbm", "none"))
BY_LAYERS = "has no effect: the layers are given"


@case_by_case(
    ("model", "told"),
    [
        (
            DBNClassifier((4,), rbm=QUICK, corruption_level=0.4),
            ["corruption_level=0.4 has no effect: pretraining='rbm'"],
        ),
        (DBNClassifier((4,), n_passes=3), [f"n_passes=3 {BY_NONE}"]),
        (
            DBNClassifier((4,), pretraining="none", rbm=RBM(gradient="pcd", n_iter=7, hidden="relu")),
            [f"gradient='pcd' {BY_NONE}", f"n_iter=7 {BY_NONE}"],
        ),
        (
            DBNClassifier(
                (4, 3), pretraining="denoising", rbm=[RBM(n_iter=1, centered=True), QUICK], corruption_level=0.4
            ),
            ["centered=True has no effect: pretraining='denoising'"],
        ),
        (
            DBNClassifier(pretrained=LAYERS, pretraining="denoising", n_passes=2),
            [
                "n_passes=2 has no effect: the layers are given",
                "pretraining='denoising' has no effect: the layers are given",
            ],
        ),
        (DBNClassifier((4,), rbm=QUICK, n_passes=2), []),
        (DBNClassifier(pretrained=LAYERS), []),
        (DBNClassifier((4,)), []),
    ],
)
@pytest.mark.filterwarnings("ignore::deepbelief.errors.DeepBeliefWarning")
def test_settings_without_effect_are_told(model, told):
    notes = Notes()
    model.set_params(max_iter=1, random_state=0, verbose=notes).fit(BITS, CLASSES)
    found = sorted(line.removeprefix("rbm__") for line in notes.lines if "no effect" in line)
    assert found == told


def as_given(model):
    """Return an unfitted copy in which every setting that was chosen for this model is given."""
    found = {name: choice.value for name, choice in model.resolved_.items()}
    outer = {name: value for name, value in found.items() if not name.startswith("rbm__")}
    again = type(model)(**{**model.get_params(deep=False), **outer})
    inner = {name.removeprefix("rbm__"): value for name, value in found.items() if name not in outer}
    if not inner:
        return again
    if isinstance(model, RBMClassifier):
        return again.set_params(rbm=RBM(**{**model._template.get_params(), **inner}))
    templates = []
    for i in range(len(model.stack_)):
        own = {n: v[i] if isinstance(v, tuple) else v for n, v in inner.items() if i == 0 or n != "visible"}
        base = model.rbm[i] if isinstance(model.rbm, list) else model.rbm or RBM()
        templates.append(RBM(**{**base.get_params(), **{n: v for n, v in own.items() if v is not None}}))
    return again.set_params(rbm=templates)


SOME, SOME_REAL, SOME_CLASSES = BITS[:20], REAL[:20], CLASSES[:20] % 2
HOLES = np.where(np.arange(240).reshape(20, 12) % 37 == 5, np.nan, SOME_REAL)
ONE_HOT = np.hstack([np.eye(3)[np.arange(20) % 3], np.eye(3)[np.arange(20) % 2]])
PARTLY = np.where(np.arange(20) < 6, SOME_CLASSES, -1)


@pytest.mark.slow
@case_by_case(
    ("model", "data"),
    [
        (RBM(4), (SOME,)),
        (RBM(4), (SOME_REAL,)),
        (RBM(4), (HOLES,)),
        (RBM(300), (SOME,)),
        (RBM(4, gradient="pcd"), (SOME,)),
        (RBM(4, solver="adam"), (SOME,)),
        (RBM(4, hidden="rectified"), (SOME_REAL,)),
        (RBM(3, visible="groups", n_iter=5), (ONE_HOT,)),
        (DBN((8, 4)), (SOME_REAL,)),
        (DBN((8, 4), pretraining="denoising", preset="fast"), (SOME,)),
        (DBN((8, 4), rbm=[RBM(n_iter=3), RBM(batch_size=7)]), (SOME,)),
        (RBMClassifier(4), (SOME, SOME_CLASSES)),
        (RBMClassifier(4), (SOME_REAL, SOME_CLASSES)),
        (DBNClassifier(), (SOME, SOME_CLASSES)),
        (DBNClassifier((8, 4), preset="fast"), (SOME_REAL, SOME_CLASSES)),
        (DBNClassifier((110,), max_iter=3), (SOME, PARTLY)),
        (DBNClassifier((8,), max_iter=3), (HOLES, SOME_CLASSES)),
        (DBNClassifier((8, 4), activation="identity", rbm=RBM(), max_iter=3), (SOME, SOME_CLASSES)),
        (DBNClassifier((110,), dropout=0.1, pretraining="denoising", max_iter=3), (SOME, SOME_CLASSES)),
        (DBNClassifier(pretrained=LAYERS, max_iter=5), (SOME, SOME_CLASSES)),
        (DBNRegressor((8,)), (SOME_REAL, SOME_REAL[:, 0])),
        (DBNRegressor((8,), pretraining="rbm"), (SOME, SOME_REAL[:, 0])),
        (DeepAutoencoder((4,)), (SOME_REAL,)),
        (DeepAutoencoder((8, 4), max_iter=5), (SOME,)),
        (DeepAutoencoder((8, 4), code="sigmoid", solver="sgd", max_iter=5), (SOME,)),
    ],
)
@pytest.mark.filterwarnings("ignore::deepbelief.errors.DeepBeliefWarning")
def test_settings_that_were_chosen_train_the_same_model_when_they_are_given(model, data):
    """A value in `resolved_` that is not the one in effect gives another model."""
    model.set_params(random_state=0).fit(*data)
    again = as_given(model).fit(*data)
    assert {name for name, choice in again.resolved_.items() if choice.value != "auto"} <= {"pretraining"}
    for name in ("coefs_", "intercepts_"):
        for before, after in zip(getattr(model, name, []), getattr(again, name, []), strict=True):
            np.testing.assert_array_equal(after, before)
    layers = [each.stack_ if hasattr(each, "stack_") else [each.weights_] for each in (model, again)]
    for before, after in zip(*layers, strict=True):
        assert (after.visible, after.hidden) == (before.visible, before.hidden)
        np.testing.assert_array_equal(after.W, before.W)
        np.testing.assert_array_equal(after.vbias, before.vbias)
        np.testing.assert_array_equal(after.hbias, before.hbias)


def test_a_given_setting_wins_over_the_rule_and_is_not_reported():
    choices = Choices()
    assert choices.take("n_iter", 7, Resolved(100, "few rows")) == 7
    assert choices.take("momentum", 0.5, Resolved("auto", "usual")) == 0.5
    assert choices == {}


FITS = {
    "RBM": (lambda: RBM(4, n_iter=1), (BITS,), {}, {"visible": "bernoulli", "batch_size": 10, "n_chains": 10}),
    "RBM real": (lambda: RBM(4, n_iter=1, learning_rate=0.01), (REAL,), {}, {"visible": "gaussian"}),
    "DBN": (lambda: DBN(rbm=QUICK), (BITS,), {}, {"hidden_layer_sizes": (100,), "rbm__batch_size": 10}),
    "RBMClassifier": (lambda: RBMClassifier(4, rbm=QUICK), (BITS, CLASSES), {}, {"rbm__batch_size": 10}),
    "DBNClassifier": (
        lambda: DBNClassifier((4,), rbm=QUICK, max_iter=2),
        (BITS, CLASSES),
        {},
        {"batch_size": 10, "learning_rate_init": 0.3, "pretraining": "rbm", "alpha": 3e-5, "dropout": 0.0},
    ),
    "few rows": (
        lambda: DBNClassifier((4,), max_iter=2),
        (BITS, CLASSES),
        {},
        {"pretraining": "none", "activation": "relu", "alpha": 5 / 60, "rbm__visible": "gaussian"},
    ),
    "most rows unlabelled": (
        lambda: DBNClassifier((110,), n_passes=1, max_iter=2),
        (BITS, np.where(np.arange(60) < 20, CLASSES, -1)),
        {},
        {
            "pretraining": "denoising",
            "rbm__learning_rate": 0.15,
            "dropout": 0.5,
            "learning_rate_init": 0.1,
            "batch_size": 20,
        },
    ),
    "dropout that is given": (
        lambda: DBNClassifier((110,), rbm=QUICK, dropout=0.1, alpha=1e-3, max_iter=2),
        (BITS, CLASSES),
        {},
        {"pretraining": "rbm", "learning_rate_init": 0.3},
    ),
    "DBNRegressor": (
        lambda: DBNRegressor((4,), rbm=QUICK, max_iter=2),
        (REAL, REAL[:, 0]),
        {},
        {"learning_rate_init": 0.003},
    ),
    "few rows of numbers": (
        lambda: DBNRegressor((4,), max_iter=2),
        (BITS, REAL[:, 0]),
        {},
        {"pretraining": "none", "activation": "tanh", "alpha": 5 / 60, "rbm__visible": "gaussian"},
    ),
    "DeepAutoencoder": (
        lambda: DeepAutoencoder((4,), max_iter=2),
        (REAL,),
        {},
        {"pretraining": "denoising", "rbm__n_iter": 100},
    ),
    "RecurrentRBM": (lambda: RecurrentRBM(4, 3, n_iter=1), (BITS,), {"lengths": LENGTHS}, {"learning_rate": 0.001}),
}


@pytest.mark.filterwarnings("ignore::deepbelief.errors.DeepBeliefWarning")
@case_by_case("name", FITS)
def test_fitted_estimators_say_what_automatic_settings_became(name, tmp_path):
    make, data, more, expected = FITS[name]
    notes = Notes()
    model = make().set_params(random_state=0, verbose=notes).fit(*data, **more)
    assert type(model.resolved_) is dict
    for setting, value in expected.items():
        assert model.resolved_[setting].value == value
    given = {setting for setting, value in model.get_params().items() if value != "auto"}
    assert not given & set(model.resolved_), "what was given is no choice"
    told = {line.partition("=")[0] for line in notes.lines}
    assert {setting.removeprefix("rbm__") for setting in expected} - {"visible", "hidden_layer_sizes"} <= told
    save(model, tmp_path / "model.h5")
    assert load(tmp_path / "model.h5").resolved_ == model.resolved_


def test_python_and_the_shell_start_from_the_same_defaults():
    nothing = dict.fromkeys([*MACHINE, *PRETRAINING, *RECURRENT, "autoencoder", "code"]) | {"backend": "numpy"}
    stack = make_dbn(nothing, 0, (60, 12))
    assert stack.set_params(rbm=None).get_params() == DBN(random_state=0).get_params()
    assert make_dbn(nothing, 0, (60, 12)).rbm.get_params() == RBM().get_params()
    assert make_model(nothing, 0).get_params() == RecurrentRBM(random_state=0).get_params()
    assert (
        make_dbn(nothing | {"preset": "fast"}, 0, (60, 12)).preset
        == make_model({**nothing, "preset": "fast"}, 0).preset
        == "fast"
    )
    given = dict.fromkeys([*FINE_TUNING, "memory_limit", "autoencoder", "regression", "seed"]) | {"backend": "numpy"}
    layers = DBN((4,), rbm=QUICK, random_state=0).fit(BITS).stack_
    kinds = {"": DBNClassifier, "regression": DBNRegressor, "autoencoder": DeepAutoencoder}
    for asked, kind in kinds.items():
        model = SimpleNamespace(path="m.h5", kind="DBN", task=None, tuned=False, for_autoencoder=False, estimator=None)
        model.stack = layers
        made = make_estimator(model, given | ({asked: True} if asked else {}))
        assert type(made) is kind
        assert make_estimator(model, given | {"preset": "best"} | ({asked: True} if asked else {})).preset == "best"
        assert made.set_params(pretrained=None).get_params() == kind().get_params()


def test_a_classifier_of_images_denoises_the_sizes_that_are_suggested():
    X = np.repeat(RNG.random((1_000, 32)), 5, axis=1).astype(np.float32)
    y = np.where(np.arange(1_000) < 30, np.arange(1_000) % 3, -1)
    clf = DBNClassifier(rbm=None, max_iter=1, random_state=0)
    clf.n_unlabeled_ = 970
    assert clf._pretraining_rule(as_source(X), RBM()).value == "denoising"
    clf.fit(X[:60], y[:60])
    assert (
        clf.stack_.sizes[1:]
        == clf.resolved_["hidden_layer_sizes"].value
        == suggest_layer_sizes(160, 60, 3).hidden_layer_sizes
    )


def test_autoencoders_with_short_codes_have_weight_decay():
    X = np.random.default_rng(0).random((30, 40))
    template = RBM(n_iter=1)
    for sizes, alpha in (((8, 4), 1e-4), ((8, 5), 0.0), ((4, 8), 0.0)):
        net = DeepAutoencoder(sizes, rbm=template, max_iter=1, random_state=0).fit(X)
        assert net.resolved_["alpha"].value == alpha
    given = DeepAutoencoder((8, 4), rbm=template, alpha=0.0, max_iter=1, random_state=0).fit(X)
    assert "alpha" not in given.resolved_


def test_an_autoencoder_of_many_rows_is_tuned_for_as_many_updates_as_its_recipe():
    settings = autoencoder_settings(FineTuneSettings(), Choices(), (784, 500, 250))
    assert settings.resolve(60_000, 0.1).max_iter == 60


def test_layers_that_differ_are_told_one_by_one():
    dbn = DBN((6, 4), rbm=[RBM(n_iter=1), RBM(n_iter=1, batch_size=7)], random_state=0).fit(BITS)
    assert dbn.resolved_["rbm__batch_size"].value == (10, None)


def test_choices_go_into_a_file_and_come_back():
    choices = Choices({"a": Resolved((1, 2), "two"), "b": Resolved("auto", "text")})
    assert choices_of_file(plain_choices(choices)) == choices
    assert list(resolution_lines(choices)) == ["a=(1, 2): two", "b='auto': text"]
    for hostile in ([1], {"a": 3}, {"a": [1, 2]}, {"a": ["x"]}):
        with pytest.raises(FileFormatError):
            choices_of_file(hostile)


@pytest.mark.slow
def test_one_hot_groups_are_trained_as_a_density():
    states = np.random.default_rng(0).integers(3, size=300)
    X = np.hstack([np.eye(3)[states], np.eye(3)[2 - states]])  # the second group is that of the first, turned round
    rbm = RBM(3, visible="softmax:3,3", random_state=0).fit(X)
    found = {name: choice.value for name, choice in rbm.resolved_.items()}
    expected = {
        "gradient": "pcd",
        "n_chains": 500,
        "centered": True,
        "solver": "adam",
        "averaging": 0.25,
        "n_iter": 500,
    }
    assert {name: found[name] for name in expected} == expected
    assert (found["gibbs_steps"], found["batch_size"], found["schedule"]) == (1, 128, "constant")
    assert rbm.resolved_["n_iter"].reason == "about 6,000 updates of 128 rows, at most 500 epochs"
    counts = np.bincount(states) / len(states)  # independent groups have -2.19 nats
    assert rbm.log_likelihood(X).mean == pytest.approx((counts * np.log(counts)).sum(), abs=0.08)
    one, same = (RBM(3, visible=visible, n_iter=2, random_state=0).fit(X) for visible in ("softmax:3,3", "groups"))
    np.testing.assert_array_equal(same.components_, one.components_)
    kept = RBM(3, visible="softmax:3,3", centered=False, n_iter=2, random_state=0).fit(X)
    assert not {"centered", "n_iter"} & set(kept.resolved_)
    assert len(kept.history_) == 2
    assert kept.resolved_["solver"].value == "adam"
    stopped = RBM(3, visible="softmax:3,3", early_stopping=True, n_iter=1, random_state=0).fit(X)
    assert stopped.resolved_["averaging"].value == 0  # rows held out judge the weights that are kept
    assert not of_groups("parts:softmax:3;gaussian*2")  # real values have no such recipe
    for given in ({"learning_rate": 0.1}, {"gradient": "cd"}, {"solver": "sgd"}, {"visible": "bernoulli"}):
        rbm = RBM(3, **{"visible": "softmax:3,3", "n_iter": 1, "random_state": 0, **given}).fit(X)
        assert "adam" not in {choice.value for choice in rbm.resolved_.values()}
        assert rbm.resolved_["centered"].value is False
