"""Losses paired with their outputs: the sum over outputs, the mean over rows."""

from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from math import sqrt
from typing import ClassVar, Protocol

from deepbelief.activations import get_activation
from deepbelief.backends import Backend
from deepbelief.errors import SettingError, check_members, unknown
from deepbelief.typing import DeviceArray


class Loss(Protocol):
    """Interface of a loss; to add one, write a class and add an entry to `LOSSES`.

    ``targets`` says what its outputs are compared with: ``"classes"``, ``"labels"`` (0 or 1, or shares between) or
    ``"values"``.
    """

    @property
    def targets(self) -> str:
        """Return what the outputs are compared with."""

    def predict(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace the head's input ``x`` (without bias) by its output."""

    def values(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Return the loss of each row, shape (n_rows,)."""

    def score(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray | None:
        """Return how good each row's output is, 0 to 1, shape (n_rows,); None where the loss itself says it."""

    def gradient(self, bk: Backend, output: DeviceArray, target: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Return the gradient of the rows' losses with respect to the head's input, in ``out`` or in ``output``."""

    def measures(self, loss: float) -> dict[str, float]:
        """Return a mean loss in familiar measures, by name, for the history."""


class _Loss:
    """Base of losses that are their own score and measure."""

    def score(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray | None:
        """Return None: the loss says it."""
        return None

    def measures(self, loss: float) -> dict[str, float]:
        """Return nothing: nats are what they are."""
        return {}


@dataclass(frozen=True)
class SoftmaxNLL(_Loss):
    """Softmax outputs and the negative log-likelihood of the right class; targets are class numbers."""

    targets: ClassVar[str] = "classes"

    def predict(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by class probabilities."""
        return bk.softmax(x, bias, (x.shape[1],))

    def values(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Return -log of the probability of the right class."""
        xp = bk.xp
        right = output[xp.arange(len(output)), target]
        return -xp.log(xp.maximum(right, xp.finfo(output.dtype).tiny))

    def score(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Return 1 where the most probable class is the right one, else 0."""
        return (output.argmax(axis=1) == target).astype(output.dtype)

    def gradient(self, bk: Backend, output: DeviceArray, target: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Subtract 1 from the probability of the right class."""
        output[bk.xp.arange(len(output)), target] -= 1
        return output


@dataclass(frozen=True)
class TaskSoftmaxNLL(_Loss):
    """One softmax for each task and the sum of their negative log-likelihoods.

    Targets are class numbers of shape (n_rows, n_tasks); -1: that row has no label for that task, which then adds
    neither loss nor gradient.

    Parameters
    ----------
    sizes : tuple of int
        Classes of each task: its columns of the head lie beside those of the task before.
    weights : tuple of float or None
        What each task's loss counts; None: 1.
    """

    sizes: tuple[int, ...]
    weights: tuple[float, ...] | None = None
    targets: ClassVar[str] = "classes"

    def columns(self) -> list[slice]:
        """Return the columns of each task."""
        return [slice(*ends) for ends in pairwise(accumulate(self.sizes, initial=0))]

    def _weights(self) -> tuple[float, ...]:
        return (1.0,) * len(self.sizes) if self.weights is None else self.weights

    def predict(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by each task's class probabilities."""
        for columns in self.columns():
            _SOFTMAX.predict(bk, x[:, columns], bias[columns])
        return x

    def values(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Return the weighted sum of the tasks' losses."""
        total = bk.xp.zeros(len(output), output.dtype)
        for k, (columns, weight) in enumerate(zip(self.columns(), self._weights(), strict=True)):
            right = bk.xp.maximum(target[:, k], 0)
            loss = _SOFTMAX.values(bk, output[:, columns], right)
            loss *= target[:, k] >= 0
            loss *= weight
            total += loss
        return total

    def score(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Return the share of a row's labels that are the most probable classes of their tasks."""
        right = bk.xp.zeros(len(output), output.dtype)
        for k, columns in enumerate(self.columns()):
            right += output[:, columns].argmax(axis=1) == target[:, k]
        right /= bk.xp.maximum((target >= 0).sum(axis=1), 1)
        return right

    def gradient(self, bk: Backend, output: DeviceArray, target: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Subtract 1 from the probability of each right class; 0 for tasks without a label."""
        for k, (columns, weight) in enumerate(zip(self.columns(), self._weights(), strict=True)):
            part = _SOFTMAX.gradient(bk, output[:, columns], bk.xp.maximum(target[:, k], 0), out)
            part *= (target[:, k] >= 0)[:, None]
            part *= weight
        return output


_SOFTMAX = SoftmaxNLL()


@dataclass(frozen=True)
class MissingTargets(_Loss):
    """A loss in which missing targets, which are NaN, add neither loss nor gradient.

    Parameters
    ----------
    loss : Loss
        Of labels or values, and 0 where output and target are both 0.
    """

    loss: Loss

    @property
    def targets(self) -> str:
        """Return those of the loss."""
        return self.loss.targets

    def predict(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the outputs of the loss."""
        return self.loss.predict(bk, x, bias)

    def values(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Return the loss of each row's present targets."""
        missing = target != target
        return self.loss.values(bk, bk.xp.where(missing, 0, output), bk.xp.where(missing, 0, target))

    def gradient(self, bk: Backend, output: DeviceArray, target: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Return the gradient of the loss, 0 where the target is missing."""
        return self.loss.gradient(bk, output, bk.xp.where(target != target, output, target), out)

    def measures(self, loss: float) -> dict[str, float]:
        """Return those of the loss."""
        return self.loss.measures(loss)


@dataclass(frozen=True)
class CrossEntropy(_Loss):
    """Logistic outputs and -t log y - (1 - t) log(1 - y), summed over outputs; targets lie in [0, 1]."""

    targets: ClassVar[str] = "labels"

    def predict(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by probabilities."""
        return bk.sigmoid(x, bias)

    def values(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Return the cross-entropy of each row, in nats."""
        xp = bk.xp
        tiny = xp.finfo(output.dtype).tiny
        one = xp.log(xp.maximum(output, tiny))
        zero = xp.log(xp.maximum(1 - output, tiny))
        return -(target * (one - zero) + zero).sum(axis=1)

    def gradient(self, bk: Backend, output: DeviceArray, target: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Return y - t."""
        return bk.xp.subtract(output, target, out=out)


_made = cache(get_activation)


@dataclass(frozen=True)
class SquaredError(_Loss):
    """Squared error, summed over outputs.

    Parameters
    ----------
    output : str
        Name of the activation that makes the outputs: identity for real values, sigmoid for values in [0, 1].
    rmse_unit : float or None
        The history records this times the root of the mean loss as ``rmse``; None: no such number.
    """

    output: str = "identity"
    rmse_unit: float | None = None
    targets: ClassVar[str] = "values"

    def predict(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the outputs."""
        return _made(self.output).forward(bk, x, bias)

    def values(self, bk: Backend, output: DeviceArray, target: DeviceArray) -> DeviceArray:
        """Return the squared error of each row."""
        return bk.xp.square(output - target).sum(axis=1)

    def gradient(self, bk: Backend, output: DeviceArray, target: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Return 2 (y - t) times the slope of the outputs' activation."""
        error = output - target
        error *= 2
        return _made(self.output).backward(bk, error, output, out)

    def measures(self, loss: float) -> dict[str, float]:
        """Return the root of the mean squared error."""
        return {} if self.rmse_unit is None else {"rmse": self.rmse_unit * sqrt(loss)}


LOSSES: dict[str, type[Loss]] = {
    "softmax_nll": SoftmaxNLL,
    "cross_entropy": CrossEntropy,
    "squared_error": SquaredError,
}
"""Losses by name; to add one, write a class and add an entry (`TaskSoftmaxNLL` has none: it needs its sizes)."""


def reconstruction_losses() -> list[str]:
    """Return the names of the losses that can compare an autoencoder's outputs with its inputs.

    Examples
    --------
    >>> reconstruction_losses()
    ['cross_entropy', 'squared_error']
    """
    return [name for name, kind in LOSSES.items() if getattr(kind, "targets", None) != "classes"]


def get_loss(loss: str | Loss) -> Loss:
    """Return the loss of this name; an instance is returned as it is.

    Parameters
    ----------
    loss : str or Loss
        Name in the registry, or an instance, which is returned as it is.

    Returns
    -------
    Loss

    Raises
    ------
    SettingError
        If there is no such name.

    Examples
    --------
    >>> get_loss("squared_error")
    SquaredError(output='identity', rmse_unit=None)
    """
    if not isinstance(loss, str):
        check_members("loss", loss, Loss, LOSSES)
        return loss
    if loss not in LOSSES:
        raise SettingError(unknown("loss", loss, LOSSES))
    return LOSSES[loss]()
