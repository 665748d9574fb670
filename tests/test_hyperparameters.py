"""Settings stand once, in tables: constructors, docstrings, options, the engine's dataclasses and checks agree."""

import inspect
from dataclasses import fields

import numpy as np
import pytest
from tables import case_by_case

from deepbelief import DBN, RBM, DBNClassifier, DBNRegressor, DeepAutoencoder, RBMClassifier, RecurrentRBM
from deepbelief.bounds import Bounds
from deepbelief.errors import MAX_MESSAGE, SettingError
from deepbelief.estimators.documented import documented
from deepbelief.finetuning import FineTuneSettings
from deepbelief.hyperparameters import (
    AUTOENCODER_PRETRAINING,
    EXECUTION,
    FINE_TUNING,
    MACHINE,
    PRETRAINING,
    RECURRENT,
    SUPERVISED_PRETRAINING,
    Choice,
    Flag,
    Shares,
    checked_settings,
)
from deepbelief.layer import RBMSettings
from deepbelief.recipes.pretraining_rules import USUAL
from deepbelief.recurrent.trainer import RecurrentSettings

TABLES = {
    RBM: (MACHINE, EXECUTION),
    RBMClassifier: (EXECUTION,),
    DBN: (PRETRAINING, EXECUTION),
    DBNClassifier: (FINE_TUNING, SUPERVISED_PRETRAINING, EXECUTION),
    DBNRegressor: (FINE_TUNING, SUPERVISED_PRETRAINING, EXECUTION),
    DeepAutoencoder: (FINE_TUNING, AUTOENCODER_PRETRAINING, EXECUTION),
    RecurrentRBM: (RECURRENT, EXECUTION),
}
OTHER_DEFAULTS = {DBNRegressor: {"solver": "adam"}, DeepAutoencoder: {"solver": "adam"}}
OWN = {"n_components", "rbm", "loss", "task_weights", "class_weight", "unlabeled"}  # of one or two estimators
ROWS = [(name, row) for table in (MACHINE, PRETRAINING, FINE_TUNING, RECURRENT) for name, row in table.items()]


def parameters(cls):
    """Return the parameters in a class's docstring: name to (type and default, text)."""
    lines = inspect.cleandoc(cls.__doc__).partition("Parameters\n----------\n")[2].partition("\n\n")[0].splitlines()
    found = {}
    for line in lines:
        if not line.startswith(" "):
            name, _, kind = line.partition(" : ")
            assert name not in found, f"{name} twice"
            found[name] = [kind, ""]
        else:
            found[name][1] += line
    return found


@case_by_case("cls", TABLES)
def test_constructors_and_docstrings_agree_with_the_tables(cls):
    signature, written = inspect.signature(cls).parameters, parameters(cls)
    assert list(written) == list(signature)
    for name, parameter in signature.items():
        row = next((table[name] for table in TABLES[cls] if name in table), None)
        assert row is not None or name in OWN, f"{name} is in no table"
        kind, text = written[name]
        assert text, f"{name} has no text"
        default = f'"{parameter.default}"' if isinstance(parameter.default, str) else repr(parameter.default)
        assert kind.endswith(f", default={default}")
        if row is not None and name not in OWN:
            assert parameter.default == OTHER_DEFAULTS.get(cls, {}).get(name, row.default)
            assert type(parameter.default) is type(row.default)
            assert kind == f"{row.kind.described()}, default={default}"


@case_by_case(
    ("engine", "table"), [(RBMSettings, MACHINE), (FineTuneSettings, FINE_TUNING), (RecurrentSettings, RECURRENT)]
)
def test_the_engine_has_the_defaults_of_the_table(engine, table):
    rows = {row.engine or name: row for name, row in table.items()}
    shared = [field for field in fields(engine) if field.name in rows]
    assert len(shared) >= 10
    for field in shared:
        default = rows[field.name].default
        if engine is RBMSettings and field.name in USUAL:  # what an estimator makes of "auto"
            assert default == "auto"
            default = USUAL[field.name].value
        assert field.default == (() if field.name == "components" else default), field.name


def outside(kind):
    """Return values that a kind of setting refuses."""
    if isinstance(kind, Shares):
        return [[0.1, value] for value in outside(kind.bounds)]
    if isinstance(kind, Flag):
        return ["yes", 1, None]
    if isinstance(kind, Choice):
        return ["no such name", 3.5]
    if isinstance(kind, Bounds):
        high = kind.high if kind.open_high else np.nextafter(kind.high, np.inf)
        low = kind.low if kind.open_low else np.nextafter(kind.low, -np.inf)
        others = [1.5, True] if kind.integer else [True]
        return [low, high, np.nan, "word", *others, *(() if kind.none else (None,))]
    return []


@case_by_case(("name", "row"), ROWS)
def test_the_default_is_allowed_and_values_outside_are_refused_by_name(name, row):
    row.kind.checked(name, row.default)
    for value in outside(row.kind):
        with pytest.raises(SettingError) as caught:
            row.kind.checked(name, value)
        assert not isinstance(row.kind, (Bounds, Flag, Shares)) or caught.value.setting == name


@case_by_case("cls", [cls for cls in TABLES if cls is not RBMClassifier])
def test_every_number_of_an_estimator_is_checked_in_fit(cls, monkeypatch):
    def train(*_, **__):
        raise AssertionError("training began")

    for module in ("pretraining", "estimators.base", "estimators.recurrent_rbm"):
        monkeypatch.setattr(f"deepbelief.{module}.pretrain", train)
    X = np.eye(4)
    target = [0, 1, 0, 1] if cls is not DBNRegressor else [0.0, 1.0, 2.0, 3.0]
    names = inspect.signature(cls).parameters
    for name, row in {name: row for table in reversed(TABLES[cls]) for name, row in table.items()}.items():
        for value in outside(row.kind)[:2] if name in names and name != "backend" else ():
            with pytest.raises(SettingError):
                cls(**{name: value}).fit(X, target)


@pytest.mark.parametrize(
    ("command", "tables"), [("pretrain", (MACHINE, PRETRAINING, RECURRENT)), ("finetune", (FINE_TUNING,))]
)
def test_options_come_from_the_tables(command, tables):
    from deepbelief.cli import cli

    options = {option.name: option for option in cli.get_command(None, command).params}
    rows = {name: row for table in reversed(tables) for name, row in table.items() if row.help}
    for name, row in rows.items():
        assert options[name].help.startswith(row.help)
        assert (row.flag or "--" + name.replace("_", "-")) in options[name].opts
        if isinstance(row.kind, Choice):
            assert options[name].type.choice.names() == row.kind.names()
            assert options[name].type.get_metavar(options[name]) == f"[{'|'.join(row.kind.names())}]"
        elif isinstance(row.kind, Bounds):
            assert options[name].type.bounds is row.kind


def test_values_reach_the_engine_as_python_numbers():
    rbm = RBM(learning_rate=np.float32(0.5), batch_size=np.int64(7), weight_decay=1, momentum="auto")
    values = checked_settings(rbm, MACHINE)
    assert [type(values[name]) for name in ("learning_rate", "batch_size", "weight_decay")] == [float, int, float]
    assert values["momentum"] == "auto"


def test_a_parameter_of_ones_own_comes_before_that_of_a_table():
    @documented(MACHINE)
    class Model:
        """Model.

        Parameters
        ----------
        l1 : float, default=0.1
            Mine.

        Attributes
        ----------
        x_ : int
        """

        def __init__(self, momentum=0.5, l1=0.1): ...

    text = Model.__doc__
    assert text.index('momentum : float or "auto", default=0.5') < text.index("l1 : float, default=0.1\n    Mine.")
    assert text.endswith("Attributes\n----------\nx_ : int")


@case_by_case("value", [np.zeros((50, 50)), "x" * 10**6, {"a": list(range(10**4))}, "two\nlines"])
def test_messages_are_one_line_of_bounded_length(value):
    for estimator in (RBM(n_iter=value), RBM(visible=value), DBNClassifier((3,), rbm=RBM(gradient=value))):
        with pytest.raises(SettingError) as caught:
            estimator.fit(np.eye(4), [0, 0, 1, 1])
        text = str(caught.value)
        assert len(text) <= MAX_MESSAGE
        assert "\n" not in text
