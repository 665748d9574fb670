"""Estimators in model files: what comes back is what was saved, and no file can plant what fit would not make."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, DBNRegressor, DeepAutoencoder, RecurrentRBM, hdf5, load, save
from deepbelief.activations import Tanh
from deepbelief.errors import DataError, FileFormatError, SettingError
from deepbelief.estimators import rbm_state
from deepbelief.estimators.persistence import ESTIMATORS, from_model_file, to_model_file
from deepbelief.estimators.views import sample_rows
from deepbelief.gradients import CD, PT, Denoising
from deepbelief.optimizers import SGD
from deepbelief.schedules import Inverse
from deepbelief.stack import Stack
from deepbelief.units import Gaussian

TEMPLATE = RBM(n_iter=2, batch_size=20)
MODELS = {
    "rbm": RBM(5, n_iter=2, random_state=0),
    "rbm-pcd-sparse": RBM(5, n_iter=2, gradient="pcd", sparsity_target=0.1, momentum=0.5, random_state=0),
    "rbm-gaussian-rectified": RBM(5, n_iter=2, visible="gaussian", hidden="rectified", random_state=0),
    "rbm-softmax": RBM(5, n_iter=2, visible="softmax:4,6", random_state=0),
    "dbn": DBN((6, 5), rbm=TEMPLATE, n_passes=2, random_state=0),
    "dbn-list": DBN([6, 5], rbm=[RBM(n_iter=1), RBM(n_iter=1, hidden="rectified")], random_state=0),
    "dbn-defaults": DBN((6,), random_state=0),
    "dbn-denoising": DBN((6, 5), rbm=TEMPLATE, pretraining="denoising", corruption_level=0.4, random_state=0),
    "classifier-none": DBNClassifier((6,), pretraining="none", max_iter=3, random_state=0),
    "classifier": DBNClassifier(
        (6, 5), rbm=TEMPLATE, max_iter=3, class_weight={0: 1, 1: 2, 2: 1, 3: 1}, random_state=0
    ),
    "rbm-fpcd": RBM(
        5,
        n_iter=3,
        gradient="fpcd",
        gibbs_steps=(1, 2),
        n_chains=7,
        centered=True,
        averaging=0.5,
        l1=1e-3,
        binarize="sample",
        warm_start=True,
        random_state=0,
    ),
    "classifier-tanh": DBNClassifier((6, 5), rbm=[TEMPLATE, TEMPLATE], max_iter=3, activation="tanh", random_state=0),
    "classifier-early": DBNClassifier((6,), rbm=TEMPLATE, max_iter=3, early_stopping=True, unlabeled=2, random_state=0),
    "tasks": DBNClassifier((6, 5), rbm=TEMPLATE, max_iter=3, task_weights=(1, 0.5), unlabeled=-1, random_state=0),
    "labels": DBNClassifier((6,), rbm=TEMPLATE, max_iter=3, loss="cross_entropy", random_state=0),
    "regressor": DBNRegressor((6, 5), rbm=TEMPLATE, max_iter=3, early_stopping=True, random_state=0),
    "regressor-several": DBNRegressor((6,), rbm=TEMPLATE, max_iter=3, activation="tanh", random_state=0),
    "autoencoder": DeepAutoencoder((6, 5), rbm=TEMPLATE, max_iter=3, early_stopping=True, random_state=0),
    "autoencoder-tied": DeepAutoencoder(
        (6, 5), code="sigmoid", rbm=TEMPLATE, max_iter=3, tied=True, loss="squared_error", random_state=0
    ),
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = np.zeros((80, 10))
    X[np.arange(80), rng.integers(0, 4, 80)] = 1
    X[np.arange(80), rng.integers(4, 10, 80)] = 1
    return X, X[:, :4].argmax(axis=1)


TARGETS = {  # what a kind of model learns, where it is not the classes
    "tasks": lambda y: np.column_stack([y, np.where(np.arange(len(y)) % 3, y % 2, -1)]),
    "labels": lambda y: np.column_stack([y == 1, y > 1, y % 2]).astype(int),
    "regressor": lambda y: 1e3 + 7.5 * y,
    "regressor-several": lambda y: np.column_stack([y - 1e-3, 1e5 * y**2]),
}


def fit(kind, data):
    return clone(MODELS[kind]).fit(data[0], TARGETS.get(kind, np.asarray)(data[1]))


@pytest.fixture(scope="module", params=MODELS, ids=list(MODELS))
def fitted(request, data):
    if request.param == "dbn-defaults":
        return DBN((6,), random_state=0, rbm=None).fit(data[0][:30])
    return fit(request.param, data)


@pytest.fixture
def back(fitted, tmp_path):
    save(fitted, tmp_path / "model.h5")
    return load(tmp_path / "model.h5")


def assert_same_state(one, other, where=""):
    """Compare everything that is reachable, private state too, to the bit."""
    assert type(one) is type(other), where
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, where
        np.testing.assert_array_equal(one, other, err_msg=where)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same_state(a, b, f"{where}[{i}]")
    elif isinstance(one, dict) or hasattr(one, "__dict__"):
        left, right = (v if isinstance(v, dict) else vars(v) for v in (one, other))
        assert left.keys() == right.keys(), where
        for name in left:
            assert_same_state(left[name], right[name], f"{where}.{name}")
    else:
        assert one == other, where


@pytest.mark.slow
def test_everything_comes_back(fitted, back):
    one, other = vars(fitted), vars(back)
    listed = {"hidden_layer_sizes"}  # a list comes back as a tuple
    assert_same_state(
        {k: v for k, v in one.items() if k not in listed}, {k: v for k, v in other.items() if k not in listed}
    )
    for name in listed & one.keys():
        assert tuple(one[name]) == other[name]


@pytest.mark.slow
def test_predictions_are_the_same_to_the_bit(fitted, back, data):
    methods = [
        "transform",
        "predict",
        "predict_proba",
        "predict_log_proba",
        "score_samples",
        "free_energy",
        "gibbs",
        "sample",
    ]
    for method in methods:
        if not hasattr(fitted, method) or (method == "sample" and getattr(fitted, "pretraining", "rbm") != "rbm"):
            continue
        arguments = (3,) if method == "sample" else (data[0],)
        extra = {"n_steps": 3} if method == "sample" else {}
        for _ in range(2):  # the stream of gibbs and sample goes on alike
            assert_same_state(*(getattr(e, method)(*arguments, **extra) for e in (fitted, back)))


@pytest.mark.slow
def test_a_loaded_model_trains_on_as_the_saved_one_would(fitted, back, data, request):
    import copy

    kept = copy.deepcopy(fitted)
    data = data[0], TARGETS.get(request.node.callspec.params["fitted"], np.asarray)(data[1])
    if isinstance(fitted, DBN):
        pairs = [(kept.fit(data[0]), back.fit(data[0]))]
    else:
        pairs = [(kept.set_params(warm_start=True).fit(*data), back.set_params(warm_start=True).fit(*data))]
    if isinstance(fitted, RBM):
        pairs.append((kept.partial_fit(data[0]), back.partial_fit(data[0])))
    for one, other in pairs:
        np.testing.assert_array_equal(one.transform(data[0]), other.transform(data[0]))
        losses = [[r.get("loss", r.get("reconstruction_error")) for r in e.history_] for e in (one, other)]
        assert losses[0] == losses[1]


@pytest.mark.slow
def test_saving_again_gives_the_same_bytes(back, tmp_path):
    save(back, tmp_path / "one.h5")
    save(load(tmp_path / "one.h5"), tmp_path / "two.h5")
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_are_kept(data, tmp_path, dtype):
    clf = clone(MODELS["classifier"]).fit(data[0].astype(dtype), data[1])
    save(clf, tmp_path / "model.h5")
    assert load(tmp_path / "model.h5").predict_proba(data[0]).dtype == dtype


@case_by_case(
    "labels",
    [
        np.array([3, 5, 70000, -2]),
        np.array([0, 1, 2, 3], np.uint8),
        np.array([False, True]),
        np.array([0.0, 1.0, 2.0, -4.0]),
        np.array(["a", "ü", "", "long name"]),
        np.array(["a", "ü", "", "long name"], dtype=object),
    ],
)
def test_class_labels_of_every_type(data, tmp_path, labels):
    X, y = data
    y = labels[y % len(labels)]
    clf = DBNClassifier((4,), rbm=TEMPLATE, max_iter=2, unlabeled=None).fit(X, y)
    save(clf, tmp_path / "model.h5")
    back = load(tmp_path / "model.h5")
    assert back.classes_.dtype == clf.classes_.dtype
    np.testing.assert_array_equal(back.predict(X), clf.predict(X))


def test_names_of_features_come_back(data, tmp_path):
    frame = pd.DataFrame(data[0], columns=[f"Spalte ü {i}" for i in range(10)])
    rbm = RBM(3, n_iter=1).fit(frame)
    save(rbm, tmp_path / "model.h5")
    back = load(tmp_path / "model.h5")
    assert back.feature_names_in_.tolist() == list(frame.columns)
    assert back.feature_names_in_.dtype == object
    back.transform(frame)
    with pytest.raises(ValueError, match="feature names"):
        back.transform(frame[frame.columns[::-1]])


def test_a_bare_stack_and_metadata(data, tmp_path):
    stack = replace(clone(MODELS["dbn"]).fit(data[0]).stack_, metadata={"scaling": "255"})
    save(stack, tmp_path / "stack.h5", metadata={"who": "me"})
    back = load(tmp_path / "stack.h5")
    assert isinstance(back, Stack)
    assert_same_state(back, stack)
    assert hdf5.read(tmp_path / "stack.h5").metadata == {"who": "me"}


def test_a_model_for_likelihood_goes_on_from_its_file(data, tmp_path):
    rbm = fit("rbm-fpcd", data)
    save(rbm, tmp_path / "model.h5")
    names = {"gradient.chains", "gradient.fast_W", "centring.offset", "averaging.n"}
    assert {f"state.{name}" for name in names} <= set(hdf5.read(tmp_path / "model.h5").arrays)
    back = load(tmp_path / "model.h5")
    for each in (rbm, back):
        each.fit(data[0])
    np.testing.assert_array_equal(rbm.components_, back.components_)
    model = to_model_file(rbm, {})
    for name, size in (("centring.offset", 5), ("gradient.fast_vbias", 10)):
        refuse(changed(model, "arrays", **{f"state.{name}": np.zeros(3)}), f"where float64 .{size},. belongs", tmp_path)
    refuse(without(model, "arrays", "state.gradient.fast_W"), "lacks 'state.gradient.fast_W'", tmp_path)
    refuse(changed(model, "arrays", **{"state.averaging.n": np.array([-1])}), "negative number in n", tmp_path)
    for names in (3, {"gradient": 3}, ["gradient"]):
        refuse(changed(model, "attributes", state=names), "must list the names", tmp_path)


@pytest.mark.parametrize(
    "settings", [{"gradient": "fpcd", "centered": True, "averaging": 0.9, "sparsity_target": 0.2}, {}]
)
def test_the_state_in_a_file_of_the_first_releases_is_read(data, settings):
    """They had another name for each array, and none for what was not in use."""
    rbm = RBM(4, n_iter=3, batch_size=10, warm_start=True, random_state=0, **settings).fit(data[0])
    rbm._state.arrays["averaging"] = rbm._state.arrays.get("averaging", {}) and {
        **rbm._state.arrays["averaging"], "n": np.array([5])
    }  # fmt: skip
    model = to_model_file(rbm, {})
    arrays = dict(model.arrays)
    for former, (owner, name) in rbm_state.FORMER.items():
        if (key := f"state.{owner}.{name}") in arrays:
            arrays[former] = arrays.pop(key)
    arrays = {name: array for name, array in arrays.items() if not name.startswith("state.")}
    averaged = {"averaged": 5 if settings else 0}
    attributes = {name: value for name, value in model.attributes.items() if name != "state"} | averaged
    params = {name: value for name, value in model.params.items() if name not in ("components", "solver")}
    back = from_model_file(replace(model, params=params, arrays=arrays, attributes=attributes))
    assert {"fast_1", "offset", "average_2", "activity"} <= arrays.keys() or not settings
    np.testing.assert_array_equal(back.fit(data[0]).weights_.W, rbm.fit(data[0]).weights_.W)


def test_settings_that_are_not_plain_become_what_they_amount_to(data, tmp_path):
    dbn = clone(MODELS["dbn"]).fit(data[0])
    clf = DBNClassifier(pretrained=dbn, max_iter=1, random_state=np.random.default_rng(0)).fit(*data)
    save(clf, tmp_path / "model.h5")
    back = load(tmp_path / "model.h5")
    assert back.pretrained is None
    assert back.random_state is None
    assert back._seed == clf._seed
    rbm = RBM(np.int64(3), n_iter=1, visible=Gaussian(), learning_rate=np.float32(0.01)).fit(data[0])
    save(rbm, tmp_path / "model.h5")
    assert load(tmp_path / "model.h5").visible == "gaussian"


@pytest.mark.parametrize(
    "settings",
    [
        {"gradient": CD(gibbs_steps=(1, 3), sample_visible=True)},
        {"gradient": Denoising("masking", 0.25), "schedule": Inverse(0.25)},
        {"gradient": PT(n_temperatures=3), "backend": "numpy:float32"},
    ],
)
def test_strategies_of_the_package_come_back(data, tmp_path, settings):
    rbm = RBM(3, n_iter=1, visible="bernoulli", **settings)
    save(rbm.fit(data[0]), tmp_path / "rbm.h5")
    back = load(tmp_path / "rbm.h5")
    assert {name: getattr(back, name) for name in settings} == settings
    assert (back.transform(data[0]) == rbm.transform(data[0])).all()
    settings.pop("backend", None)
    clf = DBNClassifier((3,), rbm=RBM(n_iter=1, **settings), solver=SGD(nesterov=True), activation=Tanh(), max_iter=1)
    save(clf.fit(*data), tmp_path / "clf.h5")
    back = load(tmp_path / "clf.h5")
    assert (back.solver, back.activation) == (clf.solver, clf.activation)
    assert {name: getattr(back.rbm, name) for name in settings} == settings
    assert (back.predict_proba(data[0]) == clf.predict_proba(data[0])).all()


@case_by_case(
    ("gradient", "says"),
    [
        ({"strategy": "Popen", "settings": {"args": "ls"}}, "'Popen'"),
        ({"strategy": ["CD"], "settings": {}}, "strategy"),
        ({"strategy": "CD", "settings": {"x": 1}}, "CD has settings"),
        ({"strategy": "CD", "settings": 3}, "CD has settings"),
        ({"strategy": "Inverse", "settings": {"tau": 7}}, "tau"),
        ({"strategy": "schedule:inverse", "settings": {"tau": 7}}, "tau"),
        ({"strategy": "schedule:linear", "settings": {}}, "'schedule:linear'"),
        ({"strategy": "SGD", "settings": {}}, "gradient"),
        ({"strategy": "CD", "settings": {}, "more": 1}, "gradient"),
    ],
)
def test_strategies_in_a_file_come_from_a_fixed_list(files, gradient, says, tmp_path):
    refuse(changed(files["rbm-pcd-sparse"], "params", gradient=gradient), says, tmp_path)


def test_what_a_file_cannot_hold_is_told_before_it_is_written(data, tmp_path, fake_device):
    path = tmp_path / "model.h5"
    mine = type("CD", (CD,), {})()  # the name alone does not make it the package's
    cases = [
        (RBM(3, n_iter=1, gradient=mine), r"RBM\(gradient="),
        (RBM(3, n_iter=1, schedule=lambda position: 1.0), r"RBM\(schedule="),
        (RBM(3, n_iter=1, backend=fake_device), r"RBM\(backend="),
        (DBN((3,), rbm=RBM(n_iter=1, gradient=mine)), r"RBM\(gradient="),
    ]
    for estimator, match in cases:
        with pytest.raises(SettingError, match=match):
            save(estimator.fit(data[0]), path)
    for unfitted in (RBM(), DBN(), DBNClassifier(), DBNRegressor(), DeepAutoencoder()):
        with pytest.raises(SettingError, match="not fitted"):
            save(unfitted, path)
    for other in (np.zeros(3), "model", type("RBM", (RBM,), {})().fit(data[0])):
        with pytest.raises(SettingError, match=f"save takes a Stack, {', '.join(ESTIMATORS)}, got"):
            save(other, path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="nowhere"):
        load(tmp_path / "nowhere.h5")


def model_of(kind, data):
    return to_model_file(fit(kind, data), {})


@pytest.fixture(scope="module")
def files(data):
    return {
        kind: model_of(kind, data) for kind in ("rbm-pcd-sparse", "dbn-list", "classifier", "autoencoder", *TARGETS)
    }


def changed(model, part, **values):
    return replace(model, **{part: {**getattr(model, part), **values}})


def without(model, part, name):
    return replace(model, **{part: {k: v for k, v in getattr(model, part).items() if k != name}})


COUNTS = {
    "rbm-pcd-sparse": ["n_features_in", "seed", "draws", "epochs", "updates"],
    "dbn-list": ["n_features_in", "seed", "draws"],
    "classifier": ["n_features_in", "seed", "epochs", "n_unlabeled"],
    "regressor": ["n_features_in", "seed", "epochs"],
}


def refuse_values(model, match):
    with pytest.raises(FileFormatError, match=match) as caught:
        from_model_file(model)
    assert "\n" not in str(caught.value)


def refuse(model, match, tmp_path):
    """By value, and as a file with a seal that is right."""
    refuse_values(model, match)
    hdf5.write(tmp_path / "hostile.h5", model)
    with pytest.raises(FileFormatError, match=match) as caught:
        load(tmp_path / "hostile.h5")
    assert str(caught.value).startswith(str(tmp_path / "hostile.h5"))


@pytest.mark.slow
@case_by_case(("kind", "name"), [(k, n) for k, names in COUNTS.items() for n in names])
def test_counters_that_do_not_count(files, kind, name, tmp_path):
    for value in (-1, 1.5, float("nan"), float("inf"), None, True, [1], {}):
        refuse_values(changed(files[kind], "attributes", **{name: value}), f"{name}|features")
    refuse(changed(files[kind], "attributes", **{name: "x"}), f"{name}|features", tmp_path)
    refuse(without(files[kind], "attributes", name), f"lacks '{name}'", tmp_path)


@pytest.mark.slow
def test_arrays_that_do_not_belong(files, tmp_path):
    for model in files.values():
        for name, array in model.arrays.items():
            refuse(without(model, "arrays", name), f"lacks '{name}'", tmp_path)
            wrong = [array[:0], array.reshape(1, *array.shape), np.zeros(3, dtype="U2")]
            if not name.startswith("classes"):
                wrong += [array.astype(np.float32), array[..., :-1], np.zeros(array.shape, int)]
            match = "classes|belongs" if name.startswith("classes") else "belongs"
            for value in wrong:
                refuse_values(changed(model, "arrays", **{name: value}), match)
            refuse(changed(model, "arrays", **{name: wrong[-1]}), match, tmp_path)


def test_classes_that_cannot_be(files, tmp_path):
    for classes in ([0, 0, 1, 2], [3, 2, 1, 0], [1], ["b", "a", "c", "d"]):
        refuse(changed(files["classifier"], "arrays", classes=np.array(classes)), "classes must be", tmp_path)
        refuse(changed(files["tasks"], "arrays", classes_1=np.array(classes)), "classes must be", tmp_path)
    refuse(changed(files["classifier"], "arrays", classes=np.arange(5)), "belongs", tmp_path)
    refuse(changed(files["tasks"], "arrays", classes_2=np.arange(2)), "task_weights has 2 numbers", tmp_path)
    refuse(changed(files["labels"], "arrays", classes=np.arange(3) + 1), "numbers of its labels", tmp_path)
    refuse(changed(files["labels"], "arrays", classes=np.arange(4)), "belongs", tmp_path)


@case_by_case("targets", ["classes", "tasks", "labels", "values", None, 3, []])
def test_targets_that_do_not_go_with_the_loss(files, targets, tmp_path):
    for kind in ("classifier", "tasks", "labels"):
        if targets != files[kind].attributes["targets"]:
            refuse(
                changed(files[kind], "attributes", targets=targets),
                "targets .* do not fit|lacks 'classes",
                tmp_path,
            )


def test_scales_of_targets_that_cannot_be(files, tmp_path):
    for scale in (0.0, -1.0):
        refuse(changed(files["regressor"], "arrays", target_scale=np.array([scale])), "scale of the targets", tmp_path)


def test_names_of_features_that_cannot_be(files, tmp_path):
    for names in (np.array(["a"] * 9), np.arange(10), np.array([["a"] * 10])):
        refuse(changed(files["dbn-list"], "arrays", feature_names_in=names), "one text for each feature", tmp_path)


def test_stacks_that_do_not_belong(files, tmp_path):
    small = files["rbm-pcd-sparse"].stack
    for kind, model in files.items():
        refuse(replace(model, stack=None), "no layers", tmp_path)
        if kind == "classifier":
            refuse(replace(model, stack=small), "agree", tmp_path)
    refuse(replace(files["rbm-pcd-sparse"], stack=files["dbn-list"].stack), "one layer, the file holds 2", tmp_path)
    for pretrained in (None, small):
        refuse(replace(files["classifier"], pretrained=pretrained), "do not agree", tmp_path)


def test_classes_of_estimators_come_from_a_fixed_list(files, tmp_path):
    for kind in ("MLPClassifier", "os.system", "Rbm"):
        refuse(replace(files["rbm-pcd-sparse"], kind=kind), f"'{kind}'", tmp_path)
    for nested in (
        {"kind": "Popen", "params": {}},
        {"kind": "DBN", "params": {}},
        {"kind": "RBM", "params": {"x": 1}},
        {"kind": "RBM"},
        {"kind": ["RBM"], "params": {}},
        {"kind": "RBM", "params": 3},
        "RBM",
        3,
    ):
        refuse(changed(files["dbn-list"], "params", rbm=nested), "DBN|RBM|Popen", tmp_path)
    tuned = {"DBNClassifier", "DBNRegressor", "DeepAutoencoder"}
    assert set(ESTIMATORS) == {"RBM", "RBMClassifier", "RecurrentRBM", "DBN", "AnomalyDetector"} | tuned


BAD = [
    *[("rbm-pcd-sparse", name, value) for name, value in [
        ("n_components", "x"), ("visible", "bernouli"), ("hidden", 3), ("gradient", "x"), ("gibbs_steps", 0),
        ("learning_rate", -1), ("schedule", "x"), ("schedule", []), ("momentum", 2), ("weight_decay", float("nan")),
        ("batch_size", 0.5), ("n_iter", "x"), ("gibbs_steps", [1, 0]), ("n_chains", 0),
        ("binarize", "x"), ("l1", -1), ("averaging", 2), ("validation_fraction", 1), ("warm_start", "x"),
        ("sparsity_cost", None),
    ]],
    *[(kind, name, value) for kind in ("rbm-pcd-sparse", "dbn-list", "classifier") for name, value in [
        ("backend", "x"), ("backend", []), ("random_state", "x"), ("unknown", 1),
    ]],
    *[(kind, name, value) for kind in ("dbn-list", "classifier") for name, value in [
        ("pretraining", "x"), ("corruption", "x"),
        ("n_passes", "x"), ("hidden_layer_sizes", "x"), ("hidden_layer_sizes", [1, -1]), ("hidden_layer_sizes", {}),
    ]],
    *[("autoencoder", name, value) for name, value in [
        ("code", "x"), ("loss", "x"), ("loss", "softmax_nll"), ("tied", 1), ("n_passes", 0), ("solver", "x"),
    ]],
    *[("classifier", name, value) for name, value in [
        ("activation", "x"), ("solver", "x"), ("alpha", -1), ("learning_rate_init", "x"), ("tol", "x"), ("momentum", 1),
        ("max_iter", 0), ("early_stopping", 1), ("validation_fraction", 0), ("n_iter_no_change", 0),
        ("loss", "x"), ("loss", "squared_error"), ("loss", "cross_entropy"), ("task_weights", "x"),
    ]],
    ("tasks", "task_weights", [1, 2, 3]),
    *[("regressor", "loss", value) for value in ("x", "softmax_nll", None)],
]  # fmt: skip


@pytest.mark.slow
@case_by_case(("kind", "name", "value"), BAD)
def test_settings_in_a_file_are_checked(files, kind, name, value, tmp_path):
    refuse(
        changed(files[kind], "params", **{name: value}),
        "unit type" if name in ("visible", "hidden") else name,
        tmp_path,
    )


def test_a_state_without_units_is_refused(tmp_path):
    rnn = RecurrentRBM(2, n_recurrent=3, n_iter=1).fit(np.eye(6), lengths=[6])
    model = to_model_file(rnn, {})
    refuse(changed(model, "arrays", u0=np.zeros((), rnn.machine_.u0.dtype)), "u0 must have 1 dimension", tmp_path)


@case_by_case("kind", ["rbm-pcd-sparse", "dbn-list", "classifier", "autoencoder", "regressor"])
@case_by_case("value", ["a path", 7, {"strategy": "CD", "settings": {}}])
def test_settings_of_a_run_are_not_taken_from_a_file(files, kind, value):
    """A file cannot make the next fit write to a path, read one, print or use more memory."""
    plain = type(from_model_file(files[kind]))().get_params()
    names = {"checkpoint", "verbose", "pretrained", "memory_limit"} & plain.keys()
    assert names >= {"checkpoint", "verbose"}
    found = from_model_file(changed(files[kind], "params", **dict.fromkeys(names, value))).get_params()
    assert {name: found[name] for name in names} == {name: plain[name] for name in names}
    template = files[kind].params.get("rbm")
    if isinstance(template, dict):
        inner = {**template, "params": {**template["params"], "checkpoint": value, "verbose": value}}
        loaded = from_model_file(changed(files[kind], "params", rbm=inner))
        assert (loaded.rbm.checkpoint, loaded.rbm.verbose) == (None, 0)


def test_a_template_in_a_file_is_checked(files, tmp_path):
    bad = {"kind": "RBM", "params": {"learning_rate": "x"}}
    refuse(changed(files["dbn-list"], "params", rbm=bad), "learning_rate", tmp_path)
    refuse(changed(files["classifier"], "params", rbm=[bad, bad]), "learning_rate", tmp_path)


def test_a_file_made_on_a_gpu_is_read_anywhere(files):
    estimator = from_model_file(changed(files["dbn-list"], "params", backend="cupy"))
    assert estimator.backend == "cupy"
    assert estimator.set_params(backend="numpy").transform(np.eye(10)).shape == (10, 5)


def test_settings_of_an_older_release_take_their_defaults(files):
    """A setting or a value that came later is not in the file."""
    assert from_model_file(without(files["classifier"], "attributes", "targets")).classes_.tolist() == [0, 1, 2, 3]
    assert from_model_file(without(files["classifier"], "params", "pretrained_lr_factor")).pretrained_lr_factor == 1.0


def test_odd_histories_hurt_nothing(files):
    clf = from_model_file(replace(files["classifier"], history=[{}, {"phase": "finetune"}, {"loss": 1.0}]))
    assert clf.loss_curve_ == [1.0]


@pytest.mark.parametrize("given", ["stack", "model", "file"])
def test_an_autoencoder_of_given_layers_samples_after_loading_too(given, tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 6))
    dbn = DBN((4, 3), rbm=RBM(n_iter=1), random_state=0).fit(X)
    save(dbn, tmp_path / "dbn.h5")
    pretrained = {"stack": dbn.stack_, "model": dbn, "file": tmp_path / "dbn.h5"}[given]
    model = DeepAutoencoder(pretrained=pretrained, max_iter=1, warm_start=True, random_state=0).fit(X)
    for _ in range(2):
        save(model, tmp_path / "model.h5")
        back = load(tmp_path / "model.h5")
        drawn = [sample_rows(each, 3, n_steps=2, random_state=0) for each in (model, back)]
        np.testing.assert_array_equal(*drawn)
        model.fit(X)  # continues
