"""Interface of components: optional parts of the training of a restricted Boltzmann machine."""

import difflib
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from deepbelief.backends import Product, Rng
from deepbelief.errors import SettingError
from deepbelief.gradients import Arrays, GradientEstimator, PhaseBuffers
from deepbelief.machine import Machine
from deepbelief.seeds import host_rng
from deepbelief.typing import DeviceArray, LayerSettings
from deepbelief.units import Unit

Gradients = list[DeviceArray | Product]


class TrainingStep:
    """The machine in training and its current update, as components see them.

    Attributes
    ----------
    machine : Machine
        The machine that is trained.
    phases : PhaseBuffers
        ``phases.visible(n_rows)`` is the minibatch until the gradient has been computed; ``phases.space`` gives
        scratch arrays, which keep their memory from update to update.
    n_rows, batch_size : int
        Rows in this minibatch and in a full one.
    rate, momentum : float
        Learning rate and momentum in this update.
    position : float
        Share of the whole run that is done, from 0 to 1.
    rows : device array of int
        Indices of the rows in this minibatch; set if a component is named ``"missing"``.
    total : int
        Number of training rows.
    rng : Rng
        Stream of the updates of this epoch.
    seed, layer : int
        Seed of the run and number of the layer, from which `host_rng` makes its streams.
    """

    rows: DeviceArray
    rng: Rng

    def __init__(
        self, machine: Machine, phases: PhaseBuffers, batch_size: int, *, seed: int = 0, layer: int = 0
    ) -> None:
        self.machine = machine
        self.phases = phases
        self.batch_size = batch_size
        self.seed = seed
        self.layer = layer
        self.n_rows = 0
        self.total = 0
        self.rate = 0.0
        self.momentum = 0.0
        self.position = 0.0

    def host_rng(self, purpose: str) -> np.random.Generator:
        """Return the layer's stream for a purpose on the host: initial arrays are the same on every backend."""
        return host_rng(self.seed, self.layer, purpose)


class Component:
    """Base of components; a new component is one class and one entry in `COMPONENTS`.

    A component is a frozen value: its fields are settings. The arrays that it keeps between updates are its state, a
    dict that `start` creates and that every other hook may change in place. Checkpoints, model files and clusters
    handle that state by its names, so that a component needs no further code. Each hook does nothing unless a component
    defines it, and only defined hooks cost time.

    Components act in ascending `order`; components of equal order act in the order in which they were given.

    Attributes
    ----------
    name : str
        Key of the state; unique among the components of a layer.
    order : int
        0, or above 0 for components that must act after all changes of the gradient and the weights.
    needs_model : bool
        True if the component applies only to gradients of a model of the data, not to denoising autoencoders.
    weight_gradient : bool
        True if `adjust` reads or changes the gradient of W, which is then an array; this costs a pass over W.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> from deepbelief.components import Component
    >>> @dataclass(frozen=True)
    ... class Clip(Component):
    ...     largest: float = 0.1
    ...     name = "clip"
    ...
    ...     def adjust(self, step, state, grads):
    ...         xp = step.machine.bk.xp
    ...         for grad in grads[1:]:
    ...             xp.clip(grad, -self.largest, self.largest, out=grad)
    >>> RBM(4, components=[Clip()], n_iter=1, random_state=0).fit(np.eye(8)).n_iter_
    1
    """

    name: ClassVar[str] = ""
    order: ClassVar[int] = 0
    needs_model: ClassVar[bool] = False
    weight_gradient: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Refuse a method whose name is close to that of a hook."""
        hooks = [name for name in vars(Component) if not name.startswith("_")]
        for name in vars(cls):
            near = difflib.get_close_matches(name, hooks, 1, cutoff=0.8)
            if near and name not in hooks and not name.startswith("_") and callable(vars(cls)[name]):
                raise SettingError(
                    f"{cls.__name__}.{name} is not a hook of components: did you mean {near[0]!r}? Begin the names of "
                    "other methods with an underscore"
                )

    @classmethod
    def of(cls, settings: LayerSettings) -> Self | None:
        """Return the component that a layer's settings ask for; None if they do not."""
        return None

    def check(self, visible: Unit, hidden: Unit, gradient: GradientEstimator) -> None:
        """Raise SettingError if the component cannot be used with these unit types and this gradient."""

    def start(self, step: TrainingStep) -> Arrays:
        """Return the state before the first update: device arrays, or NumPy arrays of counters."""
        return {}

    def begin(self, step: TrainingStep, state: Arrays) -> None:
        """Begin training on rows that the scale of the machine's weights maps to units."""

    def draw(self, step: TrainingStep, state: Arrays, rows: DeviceArray, rng: Rng) -> None:
        """Replace the rows of a minibatch by random ones, in place; monitored rows are replaced once."""

    def enter(self, step: TrainingStep, state: Arrays, rows: DeviceArray) -> None:
        """Map rows as they enter the machine, in place."""

    def leave(self, step: TrainingStep, state: Arrays, difference: DeviceArray) -> None:
        """Map differences of entered rows back to the scale of the rows, in place."""

    def observe(self, step: TrainingStep, state: Arrays, h: DeviceArray) -> None:
        """Read the hidden means of the minibatch, which must not be changed."""

    def before_gradient(self, step: TrainingStep, state: Arrays) -> None:
        """Read the minibatch before the gradient is computed, which overwrites its buffer."""

    def adjust(self, step: TrainingStep, state: Arrays, grads: Gradients) -> None:
        """Change or replace the gradients of W, vbias and hbias in the list, before the optimizer uses them.

        The gradient of W may be a `Product` that is not multiplied out, unless `weight_gradient` is set.
        """

    def after_step(self, step: TrainingStep, state: Arrays) -> None:
        """Act after the optimizer has moved the parameters."""

    def end_epoch(self, step: TrainingStep, state: Arrays) -> None:
        """Act after an epoch that has not diverged."""

    def finish(self, step: TrainingStep, state: Arrays) -> None:
        """Act at the end of the run, before its last epoch is judged, or after it was stopped."""

    def end(self, step: TrainingStep, state: Arrays) -> None:
        """End training on these rows."""

    def reset(self, step: TrainingStep, state: Arrays) -> None:
        """Recover from a divergence, after the machine's weights have been reset to the last good epoch."""

    def shared(self, state: Arrays) -> Sequence[str]:
        """Return the names of the arrays that workers of a cluster average."""
        return ()
