"""Tables of settings: name, default, range or choices, and what docstrings and the command line say, each once.

Constructors spell the names of the settings; the checks, the parameters of their docstrings, the options of the
command line and what these refuse are made from the tables.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from deepbelief.hyperparameters.kinds import NEVER, Choice, Flag, Kind, Setting, Shares
from deepbelief.hyperparameters.machines import MACHINE
from deepbelief.hyperparameters.networks import FINE_TUNING
from deepbelief.hyperparameters.recurrence import RECURRENT
from deepbelief.hyperparameters.stacks import AUTOENCODER_PRETRAINING, EXECUTION, PRETRAINING, SUPERVISED_PRETRAINING
from deepbelief.typing import StrDict, StrMapping

__all__ = [
    "AUTOENCODER_PRETRAINING",
    "EXECUTION",
    "FINE_TUNING",
    "MACHINE",
    "NEVER",
    "PRETRAINING",
    "RECURRENT",
    "SUPERVISED_PRETRAINING",
    "Choice",
    "Flag",
    "Kind",
    "Setting",
    "Shares",
    "checked_settings",
    "engine_settings",
]


def checked_settings(owner: object, *tables: Mapping[str, Setting]) -> StrDict:
    """Return the settings of these tables that an object has, as the engine takes them.

    Raises
    ------
    SettingError
        If one is outside its range or choices.
    """
    rows = {name: setting for table in tables for name, setting in table.items() if hasattr(owner, name)}
    return {name: setting.kind.checked(name, getattr(owner, name)) for name, setting in rows.items()}


def engine_settings(kind: type, table: Mapping[str, Setting], values: StrMapping, **own: object) -> Any:
    """Return the engine's dataclass of settings with those of a table that have a field in it.

    Parameters
    ----------
    kind : type
        The dataclass.
    table : mapping of Setting
    values : mapping
        As `checked_settings` returns them.
    **own
        Further fields, which come before those of the table.
    """
    there = {field.name for field in fields(kind)}
    named = {setting.engine or name: values[name] for name, setting in table.items() if name in values}
    return kind(**{name: value for name, value in named.items() if name in there} | own)
