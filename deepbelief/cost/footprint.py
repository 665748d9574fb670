"""Bytes of a run in memory and on disk."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from deepbelief.communicator import SINGLE_PROCESS
from deepbelief.gradients import FPCD, PCD, PT, GradientEstimator
from deepbelief.layer import choose_visible
from deepbelief.optimizers import SGD, Optimizer
from deepbelief.sources import ArraySource, RowSource, SubsetSource, as_source, csr_of, is_source, underlying
from deepbelief.typing import RowsLike

N_SAMPLED = 1000  # rows by which the type of the visible units is chosen


@dataclass(frozen=True)
class DataSize:
    """Description of the rows of a run, which need not exist.

    Parameters
    ----------
    n_rows, n_features : int
        Number of rows and columns.
    density : float or None
        Share of the values that are stored, of sparse rows; None: rows are dense.
    on_disk : bool
        Whether rows are read from a file that the system can read in part.
    itemsize : int
        Bytes of a value where the rows lie.
    visible : str
        Unit type of the visible units where a model leaves it to the rows.

    Examples
    --------
    >>> DataSize(60_000, 784).n_bytes
    188160000
    """

    n_rows: int
    n_features: int
    density: float | None = None
    on_disk: bool = False
    itemsize: int = 4
    visible: str = "bernoulli"

    @property
    def n_bytes(self) -> int:
        """Bytes of the rows where they lie."""
        if self.density is None:
            return self.n_rows * self.n_features * self.itemsize
        return int(self.density * self.n_rows * self.n_features) * (self.itemsize + 4) + 4 * self.n_rows

    @classmethod
    def of(cls, rows: RowsLike, scale: str = "none") -> "DataSize":
        """Return the description of rows; the type of the visible units is that of the first 1,000."""
        source: RowSource = rows if is_source(rows) else as_source(rows)
        n, v = source.shape
        matrix, below = csr_of(source), underlying(source)
        if matrix is not None:
            density = matrix.nnz / (n * v)
            return cls(n, v, density, itemsize=matrix.dtype.itemsize)
        in_memory = isinstance(below, ArraySource) and below.is_in_memory
        itemsize = below.array.dtype.itemsize if isinstance(below, ArraySource) else source.dtype.itemsize
        few = SubsetSource(source, np.arange(min(n, N_SAMPLED)))
        unit = choose_visible("auto", few, SINGLE_PROCESS, scale, missing=True)[0]
        return cls(n, v, on_disk=not in_memory, itemsize=itemsize, visible=unit.spec)


FILE_BYTES = 14_000  # of a model file beside its arrays and history
EPOCH_BYTES = 420  # of an epoch's record
CHECKPOINT_BYTES = 60_000  # of a checkpoint beside its arrays


@dataclass(frozen=True)
class LayerSize:
    """Sizes of one layer in training.

    Parameters
    ----------
    n_visible, n_hidden, n_rows, n_negative, n_monitored : int
        Units, rows in a minibatch and in its negative phase, and monitored rows.
    n_moments : int
        Arrays of the optimizer for each parameter.
    samples_visible : bool
        Whether visible states are drawn, beside their means.
    n_chains : int
        Markov chains that persist.
    itemsize : int
    scratch : int
        Bytes that the backend's products take for copies of their factors.
    """

    n_visible: int
    n_hidden: int
    n_rows: int
    n_negative: int
    n_monitored: int
    n_moments: int = 1
    samples_visible: bool = False
    n_chains: int = 0
    itemsize: int = 4
    scratch: int = 0

    @property
    def weights(self) -> int:
        """Bytes of W and the biases."""
        return self.itemsize * (self.n_visible * self.n_hidden + self.n_visible + self.n_hidden)

    @property
    def buffers(self) -> int:
        """Bytes of the states of a minibatch and its negative phase, and of the scratch memory of their products."""
        n = self.n_rows + self.n_negative
        means = self.n_negative * self.n_visible if self.samples_visible else 0
        states = n * (self.n_visible + self.n_hidden) + self.n_negative * self.n_hidden + means
        return self.itemsize * states + self.scratch

    @property
    def trained(self) -> int:
        """Bytes that stay once the layer has been trained: weights and copies, moments, buffers, monitored rows."""
        monitored = self.itemsize * self.n_monitored * self.n_visible
        # The parameters, those that the run began with, as the rows entered, and those of the last good epoch.
        copies = 4 + self.n_moments + self.adaptive
        chains = self.itemsize * self.n_chains * self.n_hidden
        return copies * self.weights + self.buffers + monitored + chains

    @property
    def adaptive(self) -> bool:
        """Whether the optimizer needs the gradient as an array, not as a product."""
        return self.n_moments > 1

    @property
    def judging(self) -> int:
        """Bytes that the judgement at the end of an epoch takes for a moment."""
        states = self.itemsize * self.n_monitored * (2 * self.n_visible + 2 * self.n_hidden)
        return max(states, 2 * self.weights)


def machines(layers: Sequence[LayerSize]) -> int:
    """Return the bytes of the layers of a stack of which the last one is in training, or gives its result.

    Examples
    --------
    >>> machines([LayerSize(784, 500, 100, 100, 600)]) // 2**20
    17
    """
    trained, last = sum(layer.trained for layer in layers), layers[-1]
    result = sum((1 + layer.n_moments) * layer.weights for layer in layers)
    states = 2 * last.itemsize * last.n_chains * last.n_hidden
    return trained + max(last.weights + last.judging, result + states)


def kept(layers: Iterable[LayerSize]) -> int:
    """Return the bytes of the stack that fine-tuning starts from, and of the layers of the network made from it."""
    return sum(2 * layer.weights for layer in layers)


def network(sizes: Sequence[int], batch_size: int, n_moments: int, itemsize: int = 4) -> int:
    """Return the bytes of the fine-tuning of a network: parameters, gradients, moments, two copies and states.

    The copies are the parameters of the last good epoch and of the one that has just ended.
    """
    parameters = sum(below * above + above for below, above in pairwise(sizes))
    states = batch_size * sum(3 * n for n in sizes)
    return itemsize * ((4 + n_moments) * parameters + states)


def persistent_rows(gradient: object, n_chains: int) -> int:
    """Return the number of Markov chains that persist, at all temperatures; 0 if none do.

    Examples
    --------
    >>> persistent_rows(PT(n_temperatures=5), 100)
    500
    """
    return n_chains * int(getattr(gradient, "n_temperatures", 1)) if type(gradient) in PERSISTENT else 0


PERSISTENT: frozenset[type[GradientEstimator]] = frozenset({PCD, FPCD, PT})
"""Estimators with Markov chains that persist."""

MOMENTS: Mapping[type[Optimizer], int] = {SGD: 1}
"""Arrays of an optimizer for each parameter, by class; all others keep two."""


def moments(solver: object) -> int:
    """Return the number of arrays that an optimizer keeps for each parameter.

    Examples
    --------
    >>> from deepbelief.optimizers import Adam
    >>> moments(SGD()), moments(Adam())
    (1, 2)
    """
    kinds = {kind.__name__: n for kind, n in MOMENTS.items()}
    return kinds.get(type(solver).__name__, 2)


def model_file(layers: Sequence[LayerSize], n_epochs: int, *, moments: bool = False) -> int:
    """Return the bytes of the file of a stack: weights and biases, column means, and hidden states of the top layer.

    With ``moments`` those of the optimizer too, from which an `RBM` can continue.
    """
    arrays = sum(layer.n_moments * layer.weights for layer in layers) if moments else 0
    arrays += sum(layer.weights + layer.itemsize * layer.n_visible for layer in layers)
    top = layers[-1]
    states = top.itemsize * top.n_negative * top.n_hidden
    return int(arrays + states + FILE_BYTES + EPOCH_BYTES * n_epochs)


def checkpoints(layers: Sequence[LayerSize]) -> int:
    """Return the bytes of a checkpoint and the one before it.

    Each has weights, the last good ones and moments of every layer, and the hidden states of its persistent chains, or
    the visible states of the last negative phase.
    """
    arrays = 0
    for layer in layers:
        states = layer.n_chains * layer.n_hidden if layer.n_chains else layer.n_negative * layer.n_visible
        arrays += layer.itemsize * states
        arrays += (2 + layer.n_moments) * layer.weights
    return 2 * (arrays + CHECKPOINT_BYTES)
