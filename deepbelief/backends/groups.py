"""Softmax over groups of adjacent columns and sums of softplus, as array operations in the namespace of any backend."""

from collections.abc import Callable
from types import ModuleType

import numpy as np

from deepbelief.typing import DeviceArray

MAX_FACTORS = 32  # columns in one product, so that it stays well within the range of single precision

Layouts = dict[tuple[int, ...], DeviceArray]


class Groups:
    """Groups of columns as rows of one array, padded to the largest group; groups of equal size need no padding.

    Parameters
    ----------
    xp : module
        Namespace of the arrays.
    asarray : callable
        Copies a NumPy array to the device.
    """

    def __init__(self, xp: ModuleType, asarray: Callable[..., DeviceArray]) -> None:
        self._xp, self._asarray = xp, asarray
        self._places: Layouts = {}

    def padded(self, x: DeviceArray, sizes: tuple[int, ...], fill: float) -> DeviceArray:
        """Return an array of shape (n_rows, n_groups, largest group), with smaller groups padded by ``fill``."""
        shape = len(x), len(sizes), max(sizes)
        if min(sizes) == shape[2]:
            return x.reshape(*shape)
        out = self._xp.empty((len(x), shape[1] * shape[2]), x.dtype)
        out[...] = fill
        out[:, self._places_of(sizes)] = x
        return out.reshape(*shape)

    def back(self, padded: DeviceArray, sizes: tuple[int, ...]) -> DeviceArray:
        """Remove the padding and return the columns."""
        flat = padded.reshape(len(padded), len(sizes) * max(sizes))
        return flat if min(sizes) == max(sizes) else flat[:, self._places_of(sizes)]

    def _places_of(self, sizes: tuple[int, ...]) -> DeviceArray:
        if sizes not in self._places:
            largest = max(sizes)
            places = np.concatenate([i * largest + np.arange(size) for i, size in enumerate(sizes)])
            self._places[sizes] = self._asarray(places)
        return self._places[sizes]

    def softmax(self, x: DeviceArray, bias: DeviceArray, sizes: tuple[int, ...]) -> DeviceArray:
        """Replace ``x`` by the softmax of ``x + bias`` within each group."""
        x += bias
        some = self.padded(x, sizes, -float("inf"))
        some -= some.max(axis=2, keepdims=True)
        self._xp.exp(some, out=some)
        some /= some.sum(axis=2, keepdims=True)
        if min(sizes) < max(sizes):
            x[...] = self.back(some, sizes)
        return x

    def log_partition(self, x: DeviceArray, sizes: tuple[int, ...] | None = None) -> DeviceArray:
        """Return the log of the sum of exponentials of each group, summed over groups; see `Backend.log_partition`."""
        if sizes is None:
            return self._softplus_sums(x)
        some = self.padded(x, sizes, -float("inf"))
        top = some.max(axis=2, keepdims=True)
        total = self._xp.exp(some - top).sum(axis=2)
        return (self._xp.log(total) + top[:, :, 0]).sum(axis=1)

    def one_hot(self, p: DeviceArray, u: DeviceArray, sizes: tuple[int, ...], out: DeviceArray) -> DeviceArray:
        """Write 1 for the first column of each group whose cumulative ``p`` reaches (1 - u) times its sum, else 0."""
        xp, n_groups = self._xp, len(sizes)
        sums = xp.cumsum(self.padded(p, sizes, 0.0), axis=2)
        reached = (1 - u).reshape(len(p), n_groups, 1) * sums[:, :, -1:]
        chosen = (sums < reached).sum(axis=2).reshape(len(p), n_groups, 1)
        out[...] = self.back((xp.arange(max(sizes)) == chosen).astype(out.dtype), sizes)
        return out

    def _softplus_sums(self, x: DeviceArray) -> DeviceArray:
        """Return the sum of the softplus function over each row.

        The logarithm is taken of products of columns, which lie in [1, 2**32], because NumPy's logarithm is the slowest
        step.
        """
        xp = self._xp
        small = xp.abs(x)
        xp.negative(small, out=small)
        xp.exp(small, out=small)
        small += 1
        n = small.shape[1]
        while n > 1 and n > small.shape[1] / MAX_FACTORS:
            half = n // 2
            small[:, :half] *= small[:, n - half : n]
            n -= half
        return xp.log(small[:, :n]).sum(axis=1) + xp.maximum(x, 0).sum(axis=1)
