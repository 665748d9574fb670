"""Settings from a file: TOML or JSON, with the names of the options."""

import json
import tomllib
from pathlib import Path
from typing import Any

import click

from deepbelief.errors import SettingError, unknown
from deepbelief.typing import StrDict

from ._types import Layers


def _load(ctx: click.Context, param: click.Parameter, path: str | None) -> str | None:
    """Make the file's values the defaults of the options."""
    if path is not None:
        ctx.default_map = {**(ctx.default_map or {}), **read_config(path, ctx.command)}
    return path


MAX_CONFIG = 2**20  # bytes

config_option = click.option(
    "--config", metavar="FILE", default=None, is_eager=True, callback=_load,
    help="Read options from a TOML or JSON file; the command line overrides it.",
)  # fmt: skip


def read_config(path: str, command: click.Command) -> StrDict:
    """Return the settings in a file by parameter name.

    Raises
    ------
    SettingError
        If the file cannot be parsed, or a key or value is not what the command takes.
    """
    parameters = {_key(p): p for p in command.params if p.name not in ("config", "help")}
    values = _parse(path)
    settings = {}
    for key, value in values.items():
        name = key.replace("_", "-")
        if name not in parameters:
            raise SettingError(f"{path}: ", unknown("key", key, parameters))
        if parameters[name].name in settings:
            raise SettingError(f"{path}: {name} occurs twice, with - and with _")
        settings[str(parameters[name].name)] = _checked(f"{path}: {key}", parameters[name], value)
    return settings


def _key(parameter: click.Parameter) -> str:
    """Return the name of an option without its dashes, or of an argument."""
    return max(parameter.opts, key=len).lstrip("-").replace("_", "-")


def _parse(path: str) -> StrDict:
    from deepbelief.sources.gzipped import check_regular

    with check_regular(Path(path)).open("rb") as file:
        raw = file.read(MAX_CONFIG + 1)
    if len(raw) > MAX_CONFIG:
        raise SettingError(f"{path}: a file of options must have at most {MAX_CONFIG} bytes")
    try:
        values = json.loads(raw) if Path(path).suffix.lower() == ".json" else tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # both parsers' errors are ValueErrors
        raise SettingError(
            f"{path}: not valid {'JSON' if path.lower().endswith('.json') else 'TOML'}: {error}"
        ) from error
    if not isinstance(values, dict):
        raise SettingError(f"{path}: must hold option names and values, not a {type(values).__name__}")
    return values


def _checked(where: str, parameter: click.Parameter, value: object) -> Any:
    """Return a value that click's types may check further: they take 1.5 for 1 and True for 1."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        if not isinstance(value, bool):
            raise SettingError(f"{where} must be true or false, got {value!r}")
        return value
    if isinstance(value, list) and isinstance(parameter.type, Layers):
        if not all(type(size) is int for size in value):
            raise SettingError(f"{where} must be a list of integers, got {value!r}")
        return value
    if type(value) not in (str, int, float):
        raise SettingError(f"{where} must be a text or a number, got {value!r}")
    return str(value)
