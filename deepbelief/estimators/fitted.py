"""Fitted state of an estimator as plain values for a file, and checks of values from a file."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deepbelief.errors import FileFormatError
from deepbelief.stack import Stack, Weights
from deepbelief.typing import Array, DtypeLike, Estimator, StrMapping


def agrees(array: Array, shape: tuple[int | None, ...], dtype: DtypeLike) -> bool:
    """Return whether an array has this dtype and shape; None stands for any positive size."""
    same = array.dtype == dtype and array.ndim == len(shape)
    return same and all(n == s or (s is None and n > 0) for n, s in zip(array.shape, shape, strict=True))


def after_fit(estimator: Estimator, held: str, name: str) -> Any:
    """Return an attribute of a fitted estimator, for its property of this name."""
    if not hasattr(estimator, held):
        raise AttributeError(f"{name} is only available after fit")
    return getattr(estimator, held)


@dataclass(frozen=True, eq=False)
class FittedState:
    """Layers, arrays, plain values and parts of a fitted estimator, by their names in a file."""

    layers: Stack | None
    arrays: Mapping[str, Array]
    values: StrMapping
    pretrained: Stack | None = None
    parts: StrMapping = field(default_factory=dict)  # fitted estimators

    @property
    def stack(self) -> Stack:
        """The layers, which must exist."""
        if self.layers is None:
            raise FileFormatError("the file holds no layers")
        return self.layers

    def part(self, name: str, kind: type, n_features: int) -> Estimator:
        """Return a part, which must be of the given class and take rows of this width."""
        part = self.parts[name]
        if type(part) is not kind or getattr(part, "n_features_in_", None) != n_features:
            raise FileFormatError(f"the file's {name} must be of kind {kind.__name__} and take {n_features} features")
        return part

    def single(self, kind: str) -> Weights:
        """Return the weights of the only layer."""
        if len(self.stack) != 1:
            raise FileFormatError(f"{kind} has one layer, the file holds {len(self.stack)}")
        return self.stack.layers[0]

    def count(self, name: str, default: int | None = None) -> int:
        """Return a count, which must be an integer of at least 0."""
        value = self.values[name] if default is None else self.values.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise FileFormatError(f"the file's {name} must be an integer >= 0, got {value!r}")
        return value

    def shaped(self, name: str, shape: tuple[int | None, ...], dtype: DtypeLike) -> Array:
        """Return an array, or refuse its shape or dtype; None stands for any positive number of rows."""
        array = self.arrays[name]
        if not agrees(array, shape, dtype):
            raise FileFormatError(
                f"the file holds an array of {array.dtype} {array.shape} where {np.dtype(dtype)} {shape} belongs"
            )
        if array.dtype.kind == "i" and (array < 0).any():
            raise FileFormatError("the file holds a negative count")
        return array

    def classes(self, name: str = "classes") -> Array:
        """Return the classes of a task, or refuse them."""
        classes = self.arrays[name]
        if classes.ndim != 1 or len(classes) < 2 or not np.array_equal(np.unique(classes), classes):
            raise FileFormatError("the file's classes must be at least two, sorted, and each there once")
        return classes

    def network(self, sizes: tuple[int, ...]) -> tuple[list[Array], list[Array]]:
        """Return weights and biases of the layers of a fine-tuned network of these widths."""
        if self.pretrained is None or self.pretrained.sizes != self.stack.sizes:
            raise FileFormatError("the file's pretrained and fine-tuned stacks do not agree")
        shapes, dtype = list(itertools.pairwise(sizes)), self.stack.layers[-1].W.dtype
        coefs = [self.shaped(f"coef_{i}", shape, dtype) for i, shape in enumerate(shapes)]
        return coefs, [self.shaped(f"intercept_{i}", (shape[1],), dtype) for i, shape in enumerate(shapes)]
