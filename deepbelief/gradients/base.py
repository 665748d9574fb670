"""What gradient estimators share: their protocol, and the room in which a minibatch meets its negative phase."""

from collections.abc import Callable
from typing import Any, Protocol

from deepbelief.backends import Backend, Product, Rng, SparseRows
from deepbelief.machine import Machine, Workspace

DeviceArray = Any
Gradient = tuple[DeviceArray | Product, DeviceArray, DeviceArray]

OFFSET_RATE = 0.01  # of the running mean of the hidden units (Melchior, Fischer and Wiskott 2016)


class PhaseBuffers:
    """Room for one minibatch and its negative phase, side by side so that one product gives the gradient.

    The first ``n_positive`` rows of ``v`` and ``h`` are the positive phase, those that follow the negative one.

    Attributes
    ----------
    activity : array of shape (n_hidden,) or None
        Set to an array to be told the hidden units' means over the minibatch.
    offsets : tuple of arrays of shape (n_visible,) and (n_hidden,), or None
        What units are centred by: the data's mean, and the running mean of the hidden units, which moves with each
        minibatch. None: nothing is centred. The gradient is then that of W and of the biases of centred units.
    fast : list of arrays or None
        What an estimator adds to the parameters in the negative phase, where it does.
    sparse : SparseRows or None
        The minibatch in sparse form too, where products with it are faster.
    """

    def __init__(self, bk: Backend, machine: Machine) -> None:
        self._bk = bk
        self._machine = machine
        self.space = Workspace(bk, machine.dtype)
        self.room: Gradient = tuple(bk.xp.empty_like(p) for p in machine.params)
        self.activity: DeviceArray = None
        self.offsets: tuple[DeviceArray, DeviceArray] | None = None
        self.fast: list[DeviceArray] | None = None
        self.sparse: SparseRows | None = None
        self._constants: dict[Any, DeviceArray] = {}

    def visible(self, rows: int) -> DeviceArray:
        """Return room for ``rows`` visible states."""
        return self.space("v", rows, self._machine.W.shape[0])

    def positive(self, n_rows: int) -> DeviceArray | SparseRows:
        """Return the minibatch, as a product with ``W`` takes it."""
        return self.visible(n_rows) if self.sparse is None else self.sparse

    def hidden(self, rows: int) -> DeviceArray:
        """Return room for ``rows`` hidden states."""
        return self.space("h", rows, self._machine.W.shape[1])

    def constant(self, key: Any, make: Callable[[], DeviceArray]) -> DeviceArray:
        """Return the array that ``make`` made when it was first asked for under this key."""
        if key not in self._constants:
            self._constants[key] = make()
        return self._constants[key]

    def gradient(self, n_positive: int, n_negative: int, batch_size: int, p: DeviceArray | None = None) -> Gradient:
        """Return positive less negative statistics.

        A minibatch divides by ``batch_size``, a short last one too, so that every row weighs the same in an
        epoch; each phase is averaged over its own number of rows, so that the number of chains is free.

        Parameters
        ----------
        n_positive, n_negative, batch_size : int
        p : array of shape (n_negative,), optional
            Probabilities of the negative rows; without them all count alike.
        """
        n, xp = n_positive + n_negative, self._bk.xp
        v, h = self.visible(n), self.hidden(n)
        weight = self.constant(
            ("row weights", n_positive, n_negative, float(batch_size)),
            lambda: self._row_weights(n_positive, n_negative, batch_size),
        )
        if p is not None:
            xp.multiply(p, -n_positive / batch_size, out=weight[n_positive:, 0])
        if self.activity is not None:
            xp.mean(h[:n_positive], axis=0, out=self.activity)
        if self.offsets is not None:
            mean = xp.mean(h[:n_positive], axis=0, out=self.space("hidden mean", 1, h.shape[1])[0])
            mean *= OFFSET_RATE
            offset = self.offsets[1]
            offset *= 1 - OFFSET_RATE
            offset += mean
        product, *biases = self._machine.statistics(v, h, weight, self.room, self.offsets)
        if self.sparse is not None and self.sparse.pays_transposed and self.offsets is None:
            plus = self.sparse, product.right[:n_positive]
            product = Product(product.left[n_positive:], product.right[n_positive:], product.out, plus)
        return product, *biases

    def _row_weights(self, n_positive: int, n_negative: int, batch_size: int) -> DeviceArray:
        weight = self._bk.xp.empty((n_positive + n_negative, 1), self._machine.dtype)
        weight[:n_positive] = 1 / batch_size
        weight[n_positive:] = -n_positive / batch_size / n_negative
        return weight

    def negative(self, n: int) -> DeviceArray:
        """Return the visible states of a negative phase as large as the positive one, after its gradient."""
        v = self.visible(2 * n)[n:]
        return v if self.offsets is None else v + self.offsets[0]


class GradientEstimator(Protocol):
    """What an estimator provides; a new one is one class and one entry in `GRADIENTS`."""

    @property
    def gibbs_steps(self) -> int | tuple[int, int]:
        """Number of Gibbs steps for each update, or that of the first and of the last epoch."""

    @property
    def schedule(self) -> str:
        """Learning-rate schedule where none is asked for."""

    @property
    def momentum(self) -> float | str:
        """Momentum where none is asked for; ``"auto"`` is that of the schedule."""

    @property
    def is_model(self) -> bool:
        """Whether it trains a model of the data, which can be sampled from."""

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> DeviceArray | None:
        """Return hidden states of the Markov chains that persist between updates (the model's come first), or None."""

    def __call__(
        self,
        machine: Machine,
        buffers: PhaseBuffers,
        n_rows: int,
        batch_size: int,
        chains: DeviceArray | None,
        rng: Rng,
    ) -> Gradient:
        """Return the gradient for the minibatch in the first ``n_rows`` rows of the visible buffer."""


class Persistent(Protocol):
    """What an estimator whose chains persist provides beside that."""

    def settle(self, machine: Machine, buffers: PhaseBuffers, chains: DeviceArray, steps: int, rng: Rng) -> None:
        """Move the chains, in place, by Gibbs steps that nothing learns from; the buffers are scratch space."""
