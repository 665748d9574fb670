"""Typed access to nested values from a file: a wrong value is an error that names the file and the element."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from deepbelief.errors import DataError, FileFormatError, SettingError
from deepbelief.typing import Array, DeviceArray, StrDict

MAX_BITS = 1000  # of an integer that becomes a floating number
RAW_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Fields(StrDict):
    """A mapping of values that were read, each checked when it is asked for.

    Parameters
    ----------
    values : mapping
    where : str
        File and element that the values come from, for messages.

    Examples
    --------
    >>> state = Fields({"updates": 3, "task": {"rate": "fast"}}, "run.h5: state")
    >>> state.integer("updates")
    3
    >>> try:
    ...     state.fields("task").number("rate")
    ... except FileFormatError as error:
    ...     print(error)
    run.h5: state.task.rate must be a number, got 'fast'
    """

    def __init__(self, values: object, where: str) -> None:
        if not isinstance(values, Mapping):
            raise FileFormatError(f"{where} must be an object, got {_short(values)}")
        dict.__init__(self, values)
        self.where = where

    @classmethod
    def of(cls, values: object) -> Self:
        """Return the values as they are if they are checked ones, else as those of a state in memory."""
        return values if isinstance(values, cls) else cls(values, "state")

    def __missing__(self, name: str) -> Any:
        """Refuse to return an element that is not there."""
        raise FileFormatError(f"{self.where} lacks {name}")

    def _refuse(self, name: str, constraint: str) -> FileFormatError:
        return FileFormatError(f"{self.where}.{name} must be {constraint}, got {_short(self[name])}")

    def integer(self, name: str, *, low: int = 0, high: int | None = None) -> int:
        """Return an integer from ``low`` to ``high``."""
        value = self[name]
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < low or (high is not None and value > high):
            limits = f">= {low}" if high is None else f"from {low} to {high}"
            raise self._refuse(name, f"an integer {limits}")
        return int(value)

    def number(self, name: str) -> float:
        """Return a number."""
        value = self[name]
        if not isinstance(value, (int, float, np.number)) or isinstance(value, bool) or _is_huge(value):
            raise self._refuse(name, "a number")
        return float(value)

    def finite(self, name: str) -> float:
        """Return a finite number."""
        number = self.number(name)
        if not math.isfinite(number):
            raise self._refuse(name, "finite")
        return number

    def flag(self, name: str) -> bool:
        """Return True or False."""
        if type(self[name]) is not bool:
            raise self._refuse(name, "true or false")
        return bool(self[name])

    def text(self, name: str, among: Sequence[str] | None = None) -> str:
        """Return a text."""
        value = self[name]
        if not isinstance(value, str) or (among is not None and value not in among):
            raise self._refuse(name, "a text" if among is None else f"one of {', '.join(among)}")
        return value

    def fields(self, name: str) -> "Fields":
        """Return a mapping."""
        return Fields(self[name], f"{self.where}.{name}")

    def items_of(self, name: str, n: int | None = None) -> list[Any]:
        """Return a list, of ``n`` items if that is given."""
        value = self[name]
        if not isinstance(value, (list, tuple)) or (n is not None and len(value) != n):
            raise self._refuse(name, "a list" if n is None else f"a list of {n} items")
        return list(value)

    def several(self, name: str, n: int | None = None) -> "list[Fields]":
        """Return a list of mappings."""
        return [Fields(item, f"{self.where}.{name}.{i}") for i, item in enumerate(self.items_of(name, n))]

    def records(self, name: str) -> list[StrDict]:
        """Return a list of records, as a history has them."""
        return [dict(item) for item in self.several(name)]

    def array(self, name: str, like: Array | None = None) -> Array:
        """Return a floating array, of the shape and dtype of another if that is given."""
        value = self[name]
        if not isinstance(value, np.ndarray):
            raise self._refuse(name, "an array")
        if like is None and value.dtype.kind != "f":
            raise self._refuse(name, "a floating array")
        if like is not None and (value.shape, value.dtype) != (like.shape, like.dtype):
            raise self._refuse(name, f"an array of {like.dtype} {tuple(like.shape)}")
        if value.dtype.kind == "i" and (value < 0).any():
            raise FileFormatError(f"{self.where}.{name} must not be negative: it is a count")
        return value

    def arrays(self, name: str, like: Sequence[DeviceArray]) -> list[Array]:
        """Return a list of arrays with the shapes and dtypes of others, on the host or on a device."""
        found = Fields(
            {str(i): item for i, item in enumerate(self.items_of(name, len(like)))}, f"{self.where}.{name}"
        )  # fmt: skip
        return [found.array(str(i), each) for i, each in enumerate(like)]


@contextmanager
def restoring(where: str) -> Iterator[None]:
    """Turn any error that wrong values cause into a `FileFormatError` that names their place."""
    try:
        yield
    except FileFormatError:
        raise
    except (DataError, SettingError) as error:
        raise FileFormatError(f"{where} cannot be used: {error}") from error
    except RAW_ERRORS as error:
        raise FileFormatError(f"{where} cannot be used: {type(error).__name__} {error}"[:400]) from error


def _is_huge(value: object) -> bool:
    """Return whether this is an integer beyond all floating numbers."""
    return isinstance(value, int) and value.bit_length() > MAX_BITS


def _short(value: object) -> str:
    if isinstance(value, np.ndarray) or _is_huge(value):
        return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else "a huge integer"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
