"""Activations of feed-forward layers.

``forward`` turns the total input into the output, ``backward`` turns the gradient with respect to the
output into that with respect to the input, both on device arrays of shape (n_rows, n_units).
"""

import math
from dataclasses import dataclass
from typing import Protocol

from deepbelief.backends import Backend
from deepbelief.errors import SettingError, check_members, unknown
from deepbelief.typing import DeviceArray
from deepbelief.units.unit import UnitCapabilities


class Activation(Protocol):
    """Interface of an activation; to add one, write a class and add an entry to `ACTIVATIONS`."""

    @property
    def name(self) -> str:
        """Name in settings and files."""

    @property
    def rate(self) -> float:
        """Learning rate of fine-tuning to start from."""

    def initial_limit(self, n_in: int, n_out: int) -> float:
        """Return the limit r of initial weights drawn from U(-r, r)."""

    def forward(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by the activation of ``x + bias``."""

    def backward(self, bk: Backend, grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Return ``grad`` times the derivative at the output ``y``, in ``out`` or in ``grad``."""


class _Glorot:
    """Base of activations whose initial weights preserve the variances of states and gradients."""

    def initial_limit(self, n_in: int, n_out: int) -> float:
        """Return sqrt(6 / (n_in + n_out)) (Glorot and Bengio 2010)."""
        return math.sqrt(6 / (n_in + n_out))


@dataclass(frozen=True)
class Sigmoid(_Glorot):
    """The logistic function."""

    name: str = "sigmoid"
    rate: float = 0.3

    def initial_limit(self, n_in: int, n_out: int) -> float:
        """Return four times that of tanh (Glorot and Bengio 2010)."""
        return 4 * math.sqrt(6 / (n_in + n_out))

    def forward(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by 1 / (1 + exp(-(x + bias)))."""
        return bk.sigmoid(x, bias)

    def backward(self, bk: Backend, grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Multiply by y (1 - y)."""
        return bk.sigmoid_backward(grad, y, out)


@dataclass(frozen=True)
class Tanh(_Glorot):
    """The hyperbolic tangent."""

    name: str = "tanh"
    rate: float = 0.1

    def forward(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by tanh(x + bias)."""
        x += bias
        return bk.xp.tanh(x, out=x)

    def backward(self, bk: Backend, grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Multiply by 1 - y**2."""
        bk.xp.multiply(y, y, out=out)
        bk.xp.subtract(1, out, out=out)
        out *= grad
        return out


@dataclass(frozen=True)
class HardTanh(_Glorot):
    """The identity cut off at -1 and 1."""

    name: str = "hard_tanh"
    rate: float = 0.1

    def forward(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by x + bias, no less than -1 and no more than 1."""
        x += bias
        bk.xp.minimum(x, 1, out=x)
        return bk.xp.maximum(x, -1, out=x)

    def backward(self, bk: Backend, grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Keep the gradient where the unit is within its limits."""
        bk.xp.abs(y, out=out)
        bk.xp.floor(out, out=out)  # 1 at the limits, else 0
        bk.xp.subtract(1, out, out=out)
        out *= grad
        return out


@dataclass(frozen=True)
class Softsign(_Glorot):
    """``x / (1 + |x|)``: tanh with heavier tails (Glorot and Bengio 2010)."""

    name: str = "softsign"
    rate: float = 0.1

    def forward(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by ``z / (1 + |z|)`` with z = x + bias."""
        x += bias
        x /= 1 + bk.xp.abs(x)
        return x

    def backward(self, bk: Backend, grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Multiply by ``(1 - |y|)**2``."""
        bk.xp.abs(y, out=out)
        bk.xp.subtract(1, out, out=out)
        out *= out
        out *= grad
        return out


@dataclass(frozen=True)
class ReLU:
    """The rectified linear function."""

    name: str = "relu"
    rate: float = 0.03

    def initial_limit(self, n_in: int, n_out: int) -> float:
        """Return sqrt(6 / n_in) (He et al. 2015)."""
        return math.sqrt(6 / n_in)

    def forward(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Replace ``x`` by max(0, x + bias)."""
        x += bias
        return bk.xp.maximum(x, 0, out=x)

    def backward(self, bk: Backend, grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Keep the gradient where the unit is on."""
        bk.xp.sign(y, out=out)
        out *= grad
        return out


@dataclass(frozen=True)
class Identity(_Glorot):
    """No change."""

    name: str = "identity"
    rate: float = 0.03

    def forward(self, bk: Backend, x: DeviceArray, bias: DeviceArray) -> DeviceArray:
        """Add the bias."""
        x += bias
        return x

    def backward(self, bk: Backend, grad: DeviceArray, y: DeviceArray, out: DeviceArray) -> DeviceArray:
        """Return the gradient as it is."""
        return grad


ACTIVATIONS: dict[str, type[Activation]] = {
    kind.name: kind for kind in (Sigmoid, Tanh, HardTanh, Softsign, ReLU, Identity)
}
"""Activations by name; to add one, write a class and add an entry."""


def activation_of(unit: UnitCapabilities) -> Activation:
    """Return the activation that computes the means of a unit type in a network.

    Raises
    ------
    SettingError
        If it is not registered.

    Examples
    --------
    >>> from deepbelief.units import Bernoulli
    >>> activation_of(Bernoulli()).name
    'sigmoid'
    """
    if unit.activation not in ACTIVATIONS:
        raise SettingError(
            f"{unit.spec} units have the activation {unit.activation!r}, which a network needs: register a class of "
            "that name in deepbelief.activations.ACTIVATIONS, or train an RBM or a DBN, which do without"
        )
    return ACTIVATIONS[unit.activation]()


def get_activation(activation: str | Activation) -> Activation:
    """Return the activation of this name; an instance is returned as it is.

    Parameters
    ----------
    activation : str or Activation
        Name in the registry, or an instance, which is returned as it is.

    Returns
    -------
    Activation

    Raises
    ------
    SettingError
        If there is no such name.

    Examples
    --------
    >>> get_activation("tanh").name
    'tanh'
    """
    if not isinstance(activation, str):
        check_members("activation", activation, Activation, ACTIVATIONS)
        return activation
    if activation not in ACTIVATIONS:
        raise SettingError(unknown("activation", activation, ACTIVATIONS))
    return ACTIVATIONS[activation]()
