"""Plain values as strict JSON and back, including NaN, infinity and keys that are not strings."""

import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np

from deepbelief.errors import DataError, FileFormatError
from deepbelief.hdf5.model_file import MAX_JSON
from deepbelief.typing import StrDict

MAX_DEPTH = 64
NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def dumps(value: object, where: str) -> bytes:
    """Return plain values as JSON text.

    Raises
    ------
    DataError
        If a value is not plain, is nested too deeply or is too long.
    """
    try:
        text = json.dumps(_encode(value, where, 0), allow_nan=False).encode("ascii")
    except (ValueError, OverflowError, RecursionError) as error:  # for instance an integer of 5000 digits
        raise error if isinstance(error, DataError) else DataError(f"{where} cannot be stored: {error}") from error
    if len(text) > MAX_JSON:
        raise DataError(f"{where} is {len(text)} bytes as JSON, at most {MAX_JSON} are allowed: store it as an array")
    return text


def loads(text: bytes, where: str) -> object:
    """Return the plain values of a JSON text.

    Raises
    ------
    FileFormatError
        If `dumps` could not have written the text.
    """
    try:
        return _decode(json.loads(text.decode("utf-8"), parse_constant=_no_constant), where, 0)
    except RecursionError:
        raise FileFormatError(f"{where} is nested more than {MAX_DEPTH} deep") from None
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{where} is not valid JSON") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _encode(value: object, where: str, depth: int) -> object:
    """Return a value that JSON can represent."""
    if depth > MAX_DEPTH:
        raise DataError(f"{where.split('.')[0]} is nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        return str.__str__(value)  # the text itself, also of a subclass or an enumeration
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else {"$float": str(number)}
    if isinstance(value, np.ndarray):
        return _encode(value.tolist(), where, depth)
    if isinstance(value, (list, tuple)):
        return [_encode(item, where, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return _encode_mapping(value, where, depth)
    raise DataError(
        f"{where} is a {type(value).__name__}, which a file cannot hold: "
        "use None, bool, int, float, str, and lists and dicts of them"
    )


def _encode_mapping(value: Mapping[Any, object], where: str, depth: int) -> StrDict:
    if all(isinstance(key, str) for key in value):
        return {
            ("$" if key.startswith("$") else "") + str.__str__(key): _encode(item, f"{where}.{key}", depth + 1)
            for key, item in value.items()
        }
    pairs = [[_encode(key, where, depth + 2), _encode(item, where, depth + 2)] for key, item in value.items()]
    if any(isinstance(key, list) for key, _ in pairs):
        raise DataError(f"{where} has a key that is not None, bool, int, float or str")
    return {"$map": pairs}


def _decode(value: object, where: str, depth: int) -> object:
    """Undo `_encode`."""
    if depth > MAX_DEPTH:
        raise FileFormatError(f"{where} is nested more than {MAX_DEPTH} deep")
    if isinstance(value, list):
        return [_decode(item, where, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$float"} and value["$float"] in NON_FINITE:
        return NON_FINITE[value["$float"]]
    if value.keys() == {"$map"} and isinstance(value["$map"], list):
        return {_decode(key, where, depth + 2): _decode(item, where, depth + 2) for key, item in value["$map"]}
    if any(key.startswith("$") and not key.startswith("$$") for key in value):
        raise FileFormatError(f"{where} has a key that starts with a single $")
    return {key.removeprefix("$"): _decode(item, where, depth + 1) for key, item in value.items()}
