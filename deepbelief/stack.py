"""Host values: what pretraining returns, what estimators keep and what files hold.

Nothing here depends on a backend: every array is a NumPy array.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace

import numpy as np

from deepbelief.errors import DataError, FileFormatError
from deepbelief.fields import Fields, restoring
from deepbelief.typing import Array, DeviceArray, FloatArray, StrMapping
from deepbelief.units import Unit, get_unit, smaller_side

State = StrMapping
"""Nested mappings and lists of arrays and plain values."""


@dataclass(frozen=True, eq=False)
class Weights:
    """One layer: the parameters of a restricted Boltzmann machine.

    Parameters
    ----------
    W : ndarray of shape (n_visible, n_hidden)
    vbias : ndarray of shape (n_visible,)
    hbias : ndarray of shape (n_hidden,)
    visible, hidden : str
        Unit types as `deepbelief.units.get_unit` reads them (``"bernoulli"``, ``"gaussian"``,
        ``"softmax:3,3,2"``, ``"spin"``, ``"rectified"``, ``"relu"``).
    mean, scale : ndarray of shape (n_visible,) or None
        Rows enter this layer as ``(v - mean) / scale``; None: as they are.
    visible_mean : ndarray of shape (n_visible,) or None
        Column means of the rows it was trained on (smoothed for Bernoulli units), after scaling.
    hidden_parameters : ndarray of shape (n_parameters, n_hidden) or None
        What hidden units learn beside their biases, a row for each name in the ``parameters`` of their type.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Weights
    >>> weights = Weights(np.zeros((3, 2)), np.zeros(3), np.zeros(2), "bernoulli", "bernoulli")
    >>> weights.n_visible, weights.n_hidden
    (3, 2)
    """

    W: FloatArray
    vbias: FloatArray
    hbias: FloatArray
    visible: str = "bernoulli"
    hidden: str = "bernoulli"
    mean: FloatArray | None = None
    scale: FloatArray | None = None
    visible_mean: FloatArray | None = None
    hidden_parameters: FloatArray | None = None

    def __post_init__(self) -> None:
        """Check that the shapes agree."""
        if self.W.ndim != 2:
            raise DataError(f"W must have 2 dimensions, got shape {self.W.shape}")
        expected = {"vbias": self.n_visible, "hbias": self.n_hidden}
        expected |= dict.fromkeys(("mean", "scale", "visible_mean"), self.n_visible)
        for name, size in expected.items():
            array = getattr(self, name)
            if array is not None and array.shape != (size,):
                raise DataError(f"{name} must have shape ({size},) beside W of shape {self.W.shape}, got {array.shape}")
        if self.hidden_parameters is not None:
            shape = (len(self.hidden_unit.parameters), self.n_hidden)
            if self.hidden_parameters.shape != shape:
                raise DataError(f"hidden_parameters must have shape {shape}, got {self.hidden_parameters.shape}")
        if (self.mean is None) != (self.scale is None):
            raise DataError("mean and scale go together: give both or neither")

    @property
    def n_visible(self) -> int:
        """Number of visible units."""
        return int(self.W.shape[0])

    @property
    def n_hidden(self) -> int:
        """Number of hidden units."""
        return int(self.W.shape[1])

    def enter(self, rows: DeviceArray) -> DeviceArray:
        """Return rows in the units of the data as they enter the machine: ``(rows - mean) / scale``.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_visible)

        Returns
        -------
        ndarray of shape (n_rows, n_visible)
        """
        return rows if self.mean is None or self.scale is None else (rows - self.mean) / self.scale

    def leave(self, rows: DeviceArray) -> DeviceArray:
        """Return rows of the machine in the units of the data: ``rows * scale + mean``.

        Parameters
        ----------
        rows : ndarray of shape (n_rows, n_visible)

        Returns
        -------
        ndarray of shape (n_rows, n_visible)
        """
        return rows if self.mean is None or self.scale is None else rows * self.scale + self.mean

    def after(self, mean: Array | None, scale: Array | None) -> "Weights":
        """Return the layer that takes rows which ``(v - mean) / scale`` brings to this one.

        Parameters
        ----------
        mean, scale : ndarray of shape (n_visible,) or None
            Rows enter as ``(v - mean) / scale``; None: as they are.

        Returns
        -------
        Weights
        """
        dtype, n = self.W.dtype, self.n_visible
        mean, scale = (np.broadcast_to(np.asarray(each, np.float64), n) for each in (mean, scale))
        if self.mean is not None and self.scale is not None:
            mean, scale = mean + scale * self.mean, scale * self.scale
        return replace(self, mean=mean.astype(dtype), scale=scale.astype(dtype))

    def folded(self) -> tuple[FloatArray, FloatArray]:
        """Return W and hidden biases that take rows in the units of the data.

        Returns
        -------
        tuple of ndarray
            Matrix and hidden biases.
        """
        if self.mean is None or self.scale is None:
            return self.W, self.hbias
        W = self.W / self.scale[:, None]
        return W, self.hbias - self.mean @ W

    def folded_down(self) -> tuple[FloatArray, FloatArray]:
        """Return the transposed W and visible biases that give rows in the units of the data, from linear units.

        Returns
        -------
        tuple of ndarray
            Matrix and visible biases.
        """
        W = np.ascontiguousarray(self.W.T)
        if self.mean is None or self.scale is None:
            return W, self.vbias
        return W * self.scale, self.vbias * self.scale + self.mean

    @property
    def visible_unit(self) -> Unit:
        """Type of the visible units."""
        return get_unit(self.visible)

    @property
    def hidden_unit(self) -> Unit:
        """Type of the hidden units."""
        return get_unit(self.hidden)

    @property
    def log_volume(self) -> float:
        """Log density in the machine's units minus that in the units of the data; 0 for probabilities."""
        if self.scale is None or self.visible_unit.discrete:
            return 0.0
        return float(np.log(self.scale.astype(np.float64)).sum())

    @property
    def is_quadratic(self) -> bool:
        """Whether the energy is quadratic in both sides: it has a minimum only while W is small."""
        return self.visible_unit.quadratic and self.hidden_unit.quadratic

    @property
    def has_likelihood(self) -> bool:
        """Whether rows have a likelihood: both sides have an energy that can be summed over one of them."""
        return self.visible_unit.tractable and self.hidden_unit.tractable and not self.is_quadratic

    @property
    def has_pseudo_likelihood(self) -> bool:
        """Whether rows have a pseudo-likelihood."""
        return self.visible_unit.has_pseudo_likelihood and self.hidden_unit.enumerable

    def smaller_side(self, limit: int) -> tuple[str, int] | None:
        """Return the side with fewer enumerable units, and their number; None if it exceeds the limit.

        Parameters
        ----------
        limit : int
            Largest number of units that is enumerated.

        Returns
        -------
        tuple of (str, int), or None
        """
        return smaller_side(self.visible_unit, self.hidden_unit, (self.n_visible, self.n_hidden), limit)

    def arrays(self) -> dict[str, FloatArray]:
        """Return the arrays that are present, by name.

        Returns
        -------
        dict of str to ndarray
        """
        return {f.name: a for f in fields(self) if isinstance(a := getattr(self, f.name), np.ndarray)}


@dataclass(frozen=True, eq=False)
class Stack:
    """Layers from the data upwards; what ``DBN.stack_`` is and what a model file holds.

    Parameters
    ----------
    layers : tuple of Weights
    tuned : bool
        True once fine-tuning has moved the weights: the layers are then those of a network and no
        longer of a deep belief network.
    metadata : mapping
        Plain values (str, int, float, bool, lists of them) that travel with the stack.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import DBN, Stack
    >>> stack = DBN((3, 2), random_state=0).fit(np.eye(8)).stack_
    >>> print(stack.sizes, len(Stack(stack.layers[:1])))
    (8, 3, 2) 1
    """

    layers: tuple[Weights, ...]
    tuned: bool = False
    metadata: StrMapping = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that each layer fits on the one below."""
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise DataError("a stack needs at least one layer")
        for i, (below, above) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if below.n_hidden != above.n_visible:
                raise DataError(
                    f"layer {i + 1} has {below.n_hidden} hidden units, layer {i + 2} expects {above.n_visible} inputs"
                )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths from the input to the top, for instance (784, 500, 250)."""
        return (self.layers[0].n_visible, *(w.n_hidden for w in self.layers))

    def __iter__(self) -> Iterator[Weights]:
        """Iterate over the layers from the data upwards."""
        return iter(self.layers)

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.layers)

    def __repr__(self) -> str:
        """Show the sizes rather than the arrays."""
        tuned = ", tuned" if self.tuned else ""
        return f"Stack({' -> '.join(map(str, self.sizes))}{tuned})"

    def after(self, mean: Array | None, scale: Array | None) -> "Stack":
        """Return the stack that takes rows which ``(v - mean) / scale`` brings to this one.

        Parameters
        ----------
        mean, scale : ndarray of shape (n_visible,) or None
            Rows enter as ``(v - mean) / scale``; None: as they are.

        Returns
        -------
        Stack
        """
        return replace(self, layers=(self.layers[0].after(mean, scale), *self.layers[1:]))


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A run between two of its updates.

    Parameters
    ----------
    state : mapping
        Everything that the next update reads: nested mappings and lists of arrays and plain values.
    settings, data : mapping
        Plain values that identify a run; a resumed run must have the same.
    seed : int
        Of the whole run.
    machine : mapping
        Plain values: the versions and the processor that the numbers come from.
    metadata : mapping
        Plain values of the user, for instance the command.
    finished : bool
        True once nothing was left to do.
    """

    state: State
    settings: StrMapping
    data: StrMapping
    seed: int
    machine: StrMapping = field(default_factory=dict)
    metadata: StrMapping = field(default_factory=dict)
    finished: bool = False


def stack_state(stack: Stack) -> State:
    """Return a stack as nested plain values and arrays."""
    layers = [{f.name: getattr(weights, f.name) for f in fields(weights)} for weights in stack]
    return {"layers": layers, "tuned": stack.tuned, "metadata": dict(stack.metadata)}


def stack_from_state(state: State) -> Stack:
    """Return the stack that `stack_state` took apart; FileFormatError if the state is not one."""
    state = Fields.of(state)
    layers = tuple(weights_from_state(layer) for layer in state.several("layers"))
    with restoring(state.where):
        return Stack(layers, state.flag("tuned"), dict(state.fields("metadata")))


def weights_from_state(state: State) -> Weights:
    """Return the layer with these fields; FileFormatError if they are not those of a layer."""
    state = Fields.of(state)
    names = {f.name for f in fields(Weights)}
    state = Fields({"hidden_parameters": None, **state}, state.where)  # checkpoints of earlier versions lack it
    if set(state) != names:
        raise FileFormatError(f"{state.where} must have {', '.join(sorted(names))}, got {', '.join(sorted(state))}")
    for name in ("visible", "hidden"):
        state.text(name)
    arrays = {name: state[name] for name in names - {"visible", "hidden"}}
    present = [name for name, array in arrays.items() if array is not None or name in ("W", "vbias", "hbias")]
    for name in present:
        state.array(name)
    with restoring(state.where):
        weights = Weights(**state)
        check_units(weights.visible, weights.n_visible, visible=True)
        check_units(weights.hidden, weights.n_hidden, visible=False)
    check_scale(weights, state.where)
    if min(weights.W.shape) < 1:
        raise FileFormatError(f"{state.where}.W must have units, got shape {weights.W.shape}")
    return weights


def check_scale(weights: Weights, where: str) -> None:
    """Refuse a layer from a file that would divide rows by zero."""
    if weights.scale is not None and not (weights.scale > 0).all():
        raise FileFormatError(f"{where}.scale must be > 0, got {weights.scale.min():.3g}")


def check_units(spec: str, count: int, *, visible: bool) -> None:
    """Refuse an unknown unit type, and groups that are not all the units of a layer."""
    unit = get_unit(spec)
    if getattr(unit, "n_labels", 0) >= count:
        raise DataError(f"{count} units cannot have {unit.spec} labels")
    groups = getattr(unit, "groups", ())
    if groups and sum(groups) != count:
        raise DataError(f"it has {count} units, but groups of {sum(groups)}")
    if visible:
        unit.check_visible(count)
