"""Losses paired with their outputs: the sum over outputs, the mean over rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from deepbelief.backends import Backend

DeviceArray = Any


class Loss(Protocol):
    """What a loss provides; a new one is one class and one entry in `LOSSES`."""

    def predict(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace the head's input ``x`` (without bias) by its output."""

    def values(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Return the loss of each row, shape (n_rows,)."""

    def gradient(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Replace the output by the gradient of the rows' losses with respect to the head's input."""


@dataclass(frozen=True)
class SoftmaxNLL:
    """Softmax outputs and the negative log-likelihood of the right class; targets are class numbers."""

    def predict(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by class probabilities."""
        x += bias
        x -= x.max(axis=1, keepdims=True)
        bk.xp.exp(x, out=x)
        x /= x.sum(axis=1, keepdims=True)
        return x

    def values(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Return -log of the probability of the right class."""
        xp = bk.xp
        right = output[xp.arange(len(output)), target]
        return -xp.log(xp.maximum(right, xp.finfo(output.dtype).tiny))

    def gradient(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Subtract 1 from the probability of the right class."""
        output[bk.xp.arange(len(output)), target] -= 1
        return output


LOSSES: Mapping[str, type[Loss]] = {"softmax_nll": SoftmaxNLL}
"""Losses by name: a new one is one class and one entry."""
