"""Interface of gradient estimators, and the buffers of the positive and the negative phase."""

from collections.abc import Callable, Hashable, Mapping
from typing import Protocol

from deepbelief.backends import Backend, Product, Rng, SparseRows
from deepbelief.machine import Machine, Workspace
from deepbelief.typing import DeviceArray, StrDict

Arrays = dict[str, DeviceArray]
Gradient = tuple[DeviceArray | Product, DeviceArray, DeviceArray]


class PhaseBuffers:
    """Buffers of a minibatch and its negative phase, stored contiguously so that one product gives the gradient.

    The first ``n_positive`` rows of ``v`` and ``h`` are the positive phase, the rows after them the negative phase.

    Parameters
    ----------
    bk : Backend
    machine : Machine
        Gives the shapes.

    Attributes
    ----------
    space : Workspace
        Named scratch arrays.
    grad_buffers : tuple of arrays
        One array for each parameter, in which the gradient is returned.
    observers : list of callables
        Called with the hidden means of the positive phase, before they enter the gradient.
    offsets : tuple of arrays of shape (n_visible,) and (n_hidden,), or None
        Subtracted from visible and hidden units in the product. The gradient is then with respect to W and the biases
        of centred units. None: units are not centred.
    sparse : SparseRows or None
        The minibatch in sparse form too, where products with it are faster.
    weights : array of shape (n_rows,) or None
        Weights of the rows of the minibatch, 1 on average over the training rows; None: all are 1.
    """

    def __init__(self, bk: Backend, machine: Machine) -> None:
        self._bk = bk
        self._machine = machine
        self.space = Workspace(bk, machine.dtype)
        self.grad_buffers: Gradient = tuple(bk.xp.empty_like(p) for p in machine.params)
        self.observers: list[Callable[[DeviceArray], None]] = []
        self.offsets: tuple[DeviceArray, DeviceArray] | None = None
        self.sparse: SparseRows | None = None
        self.weights: DeviceArray | None = None
        self._weight: DeviceArray = None
        self._first = self._end = 0  # beyond all positive rows, and beyond all negative ones
        self._constants: dict[Hashable, DeviceArray] = {}

    def visible(self, rows: int) -> DeviceArray:
        """Return the buffer of ``rows`` visible states."""
        return self.space("v", rows, self._machine.W.shape[0])

    def positive(self, n_rows: int) -> DeviceArray | SparseRows:
        """Return the minibatch in the form that a product with ``W`` takes."""
        return self.visible(n_rows) if self.sparse is None else self.sparse

    def hidden(self, rows: int) -> DeviceArray:
        """Return the buffer of ``rows`` hidden states."""
        return self.space("h", rows, self._machine.W.shape[1])

    def constant(self, key: Hashable, make: Callable[[], DeviceArray]) -> DeviceArray:
        """Return the array of this key, which ``make`` creates at the first request."""
        if key not in self._constants:
            self._constants[key] = make()
        return self._constants[key]

    def gradient(
        self, n_positive: int, n_negative: int, batch_size: int, p: DeviceArray | None = None, *, paired: bool = False
    ) -> Gradient:  # fmt: skip
        """Return positive minus negative statistics.

        A minibatch divides by ``batch_size``, a short last one too, so that every row weighs the same in an
        epoch; each phase is averaged over its own number of rows, so that the number of chains is free.

        Parameters
        ----------
        n_positive, n_negative, batch_size : int
        p : array of shape (n_negative,), optional
            Probabilities of the negative rows; without them all rows have equal weight.
        paired : bool
            Whether each negative row comes from the positive row at the same position, and has the same weight.
        """
        n, xp = n_positive + n_negative, self._bk.xp
        v, h = self.visible(n), self.hidden(n)
        weight = self.constant(
            ("row weights", n_positive, n_negative, float(batch_size)),
            lambda: self._row_weights(n_positive, n_negative, batch_size),
        )
        if p is None:
            self._first, self._end = max(self._first, n_positive), max(self._end, n)
        else:
            xp.multiply(p, -n_positive / batch_size, out=weight[n_positive:, 0])
        if self.weights is not None:
            weight = self._weighted(weight, n_positive, paired=paired)
        self._weight = weight
        self.observe(h[:n_positive])
        product, *biases = self._machine.statistics(v, h, weight, self.grad_buffers, self.offsets)
        if self.sparse is not None and self.sparse.pays_transposed and self.offsets is None:
            plus = self.sparse, product.right[:n_positive]
            product = Product(product.left[n_positive:], product.right[n_positive:], product.out, plus)
        return product, *biases

    def rows_of_gradient(self) -> tuple[DeviceArray, DeviceArray]:
        """Return the visible states of both phases of the last gradient, and their weights of shape (n_rows, 1).

        The offsets of centred units are subtracted from the states.
        """
        return self.visible(len(self._weight)), self._weight

    def observe(self, h: DeviceArray) -> None:
        """Show the hidden means of the minibatch to the observers."""
        for observer in self.observers:
            observer(h)

    def _row_weights(self, n_positive: int, n_negative: int, batch_size: int) -> DeviceArray:
        weight = self._bk.xp.empty((n_positive + n_negative, 1), self._machine.dtype)
        weight[:n_positive] = 1 / batch_size
        weight[n_positive:] = -n_positive / batch_size / n_negative
        return weight

    def _weighted(self, weight: DeviceArray, n_positive: int, *, paired: bool) -> DeviceArray:
        """Return the factors of positive and negative rows with the weights of the minibatch in them."""
        found = self.space("weighted rows", *weight.shape)
        found[...] = weight
        found[:n_positive, 0] *= self.weights
        if paired:
            found[n_positive:, 0] *= self.weights
        else:
            found[n_positive:] *= self.weights.mean()  # type: ignore[union-attr]
        return found

    def mean(self, h: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Write the weighted mean over the rows of the minibatch into ``out``."""
        if self.weights is None:
            return self._bk.xp.mean(h, axis=0, out=out)
        return self._bk.xp.matmul(self.weights / self.weights.sum(), h, out=out)

    def negative(self, *, entered: bool = False) -> DeviceArray | None:
        """Return visible states of the last negative phases; None if no gradient had negative rows of equal weight.

        With ``entered``, the offsets of centred units are subtracted from the states.
        """
        if not self._end:
            return None
        v = self.visible(self._end)[self._first :]
        return v if entered or self.offsets is None else v + self.offsets[0]

    def restore_negative(self, v: DeviceArray, n_positive: int) -> None:
        """Restore states that `negative` returned as ``entered``, beyond a minibatch of ``n_positive`` rows."""
        self._first, self._end = n_positive, n_positive + len(v)
        self.visible(self._end)[n_positive:] = v


class GradientEstimator(Protocol):
    """Interface of gradient estimators; a new estimator is one class and one entry in `GRADIENTS`.

    An estimator is a frozen value. Arrays that persist between updates, such as Markov chains, are its state: `start`
    makes it, each call may change it in place, and checkpoints and model files keep it.

    An attribute ``centered`` that is true makes ``centered="auto"`` centre the units; it may be absent.
    """

    @property
    def gibbs_steps(self) -> int | tuple[int, int]:
        """Number of Gibbs steps of each update, or in the first and in the last epoch."""

    @property
    def schedule(self) -> str:
        """Learning-rate schedule of ``schedule="auto"``."""

    @property
    def momentum(self) -> float | str:
        """Momentum of ``momentum="auto"``; ``"auto"`` follows `deepbelief.schedules.momentum_at`."""

    @property
    def is_model(self) -> bool:
        """Whether the layer is trained as a model of the data, which can be sampled from."""

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> Arrays:
        """Return the state before the first update, by name; an empty dict if nothing persists.

        The array named ``"chains"``, if there is one, holds hidden states of Markov chains of which the first
        ``n_chains`` rows are samples of the model.
        """

    def __call__(
        self, machine: Machine, buffers: PhaseBuffers, n_rows: int, batch_size: int, state: Mapping[str, DeviceArray],
        rng: Rng,
    ) -> Gradient:  # fmt: skip
        """Return the gradient for the minibatch in the first ``n_rows`` rows of the visible buffer.

        Without an array named ``"chains"``, sampling from the model begins at the negative rows, of any number, that
        `PhaseBuffers.gradient` was given without ``p``, and where there are none at training rows.
        """


class Persistent(Protocol):
    """Additional interface of estimators with persistent chains."""

    def equilibrate(
        self, machine: Machine, buffers: PhaseBuffers, state: Mapping[str, DeviceArray], steps: int, rng: Rng
    ) -> None:
        """Move the chains in place by Gibbs steps, without a gradient; the buffers are scratch space."""


class Controlled(Protocol):
    """Additional interface of estimators that check each update."""

    growing: tuple[str, ...]  # arrays of the state whose number of rows the run decides

    def control(self, state: Mapping[str, DeviceArray], rate: float) -> tuple[float, bool]:
        """Return the factor of this update's rate, and whether to clear the optimizer's memory before it."""

    def report(self, machine: Machine, state: Mapping[str, DeviceArray]) -> StrDict:
        """Return entries of an epoch's record."""
