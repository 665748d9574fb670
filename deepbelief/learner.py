"""One machine in training: its gradient, optimizer and components, with their state."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.components import Parts, TrainingStep
from deepbelief.errors import SettingError
from deepbelief.gradients import GradientEstimator, Persistent, PhaseBuffers
from deepbelief.machine import Machine
from deepbelief.optimizers import Optimizer
from deepbelief.schedules import factor_at, momentum_at, steps_at
from deepbelief.seeds import stream
from deepbelief.settings import RBMSettings
from deepbelief.stack import Weights
from deepbelief.training import Run
from deepbelief.typing import Array, DeviceArray, StrDict


@dataclass
class LayerState:
    """State of a layer between two updates, beside its weights, as host values.

    Parameters
    ----------
    arrays : dict of dict of ndarray
        State of the optimizer, of the gradient and of each component, by their names: ``"optimizer"``, ``"gradient"``
        and `Component.name`.
    epochs, updates : int
        Number of epochs and of updates done.
    """

    arrays: dict[str, dict[str, Array]] = field(default_factory=dict)
    epochs: int = 0
    updates: int = 0


class Learner:
    """Updates one machine.

    Parameters
    ----------
    weights : Weights
    settings : RBMSettings
        Resolved against the rows.
    run : Run
    layer : int
        Counted from 0; a part of the names of random streams.
    state : LayerState
        Arrays to begin with, and the number of epochs done.

    Attributes
    ----------
    machine : Machine
    phases : PhaseBuffers
    parts : Parts
        The components.
    now : TrainingStep
        The current update.
    arrays : dict of dict of arrays
        State of optimizer, gradient and components, on the device.
    """

    def __init__(self, weights: Weights, settings: RBMSettings, run: Run, *, layer: int, state: LayerState) -> None:
        self.run, self.settings, self._layer = run, settings, layer
        self.machine = Machine(weights, run.bk)
        self.phases = PhaseBuffers(run.bk, self.machine)
        self.now = TrainingStep(self.machine, self.phases, int(settings.batch_size), seed=run.seed, layer=layer)
        self.parts = Parts(settings.all_components, self.now)
        self.estimator: GradientEstimator = settings.gradient  # type: ignore[assignment]
        self.optimizer: Optimizer = settings.solver  # type: ignore[assignment]
        self._moments = self.optimizer.start(run.bk, self.machine.params)
        moments = {str(i): moment for i, moment in enumerate(self._moments)}
        chains = self._fresh_chains(state.epochs, "chains")
        self.arrays = {"optimizer": moments, "gradient": chains, **self.parts.state}
        check_state(run.bk, self.arrays)
        fill_state(run.bk, self.arrays, state.arrays)

    def _fresh_chains(self, epoch: int, purpose: str) -> dict[str, DeviceArray]:
        """Return the gradient's state before its first update."""
        rng = self.run.bk.rng(stream(self.run.seed, self._layer, epoch, purpose))
        return self.estimator.start(self.machine, int(self.settings.n_chains), rng)

    @property
    def chains(self) -> DeviceArray | None:
        """Hidden states of the Markov chains that persist; None if none do."""
        return self.arrays["gradient"].get("chains")

    @property
    def velocity(self) -> DeviceArray | None:
        """The last change of W; None if the optimizer does not keep it."""
        velocity = getattr(self.optimizer, "velocity", None)
        return None if velocity is None else velocity(self._moments)

    def begin_epoch(self, epoch: int, horizon: int) -> None:
        """Set the momentum and the number of Gibbs steps of an epoch."""
        self.now.momentum = momentum_at(self.settings.momentum, epoch, horizon)
        gradient = cast(Any, self.settings.gradient)
        if isinstance(gradient.gibbs_steps, tuple):
            self.estimator = replace(gradient, gibbs_steps=steps_at(gradient.gibbs_steps, epoch, horizon))

    def minibatch(self, n: int) -> DeviceArray:
        """Return the buffer of ``n`` rows, with memory for the negative phase behind it."""
        n_negative = n if self.chains is None else len(self.chains)
        return self.phases.visible(n + n_negative)[:n]

    def update(self, n: int, position: float, rng: Rng) -> None:
        """Make one update with the first ``n`` rows of the visible buffer."""
        settings, now, params = self.settings, self.now, self.machine.params
        now.n_rows, now.position, now.rng = n, position, rng
        now.rate = float(settings.learning_rate) * factor_at(settings.schedule, position)  # type: ignore[arg-type]
        self.parts.call("before_gradient")
        grads = self.estimator(self.machine, self.phases, n, now.batch_size, self.arrays["gradient"], rng)
        self._control()
        grads = self.parts.adjusted(grads)
        rates, decays = (now.rate,) * 3, (settings.weight_decay, 0.0, 0.0)
        self.optimizer.step(self.run.bk, params, grads, self._moments, rates, now.momentum, decays)
        self.parts.call("after_step")

    def _control(self) -> None:
        """Let an estimator that judges updates lower the rate of this one."""
        control = getattr(self.estimator, "control", None)
        if control is None:
            return
        factor, cleared = control(self.arrays["gradient"], self.now.rate)
        self.now.rate *= factor
        if cleared:
            self._clear_moments()

    def _clear_moments(self) -> None:
        for moment in self._moments:
            moment[...] = 0

    def report(self) -> StrDict:
        """Return the estimator's entries of an epoch's record."""
        report = getattr(self.estimator, "report", None)
        return {} if report is None else report(self.machine, self.arrays["gradient"])

    def synchronise(self, rng: Rng) -> None:
        """Take the mean over all workers of parameters and shared state; chains stay, and follow the parameters."""
        communicator = self.run.communicator
        moments = self._moments if communicator.velocities else ()
        self._take_means([*self.machine.params, *moments, *self.parts.shared()])
        if self.chains is not None and communicator.settling:
            estimator = cast(Persistent, self.estimator)
            estimator.equilibrate(self.machine, self.phases, self.arrays["gradient"], communicator.settling, rng)

    def _take_means(self, shared: Iterable[DeviceArray]) -> None:
        bk = self.run.bk
        shared = [array for array in shared if bk.owns(array) and array.dtype == self.machine.dtype]
        means = self.run.communicator.mean([bk.to_numpy(array) for array in shared])
        for array, mean in zip(shared, means, strict=True):
            array[...] = bk.asarray(mean)

    def finish(self) -> None:
        """Let components change the weights at the end of the run."""
        if self.parts.has("finish"):
            self.parts.call("finish")
            self._take_means(self.machine.params)

    def reset(self, good: Weights, epoch: int) -> None:
        """Return to these weights, with a state that has not diverged."""
        for param, kept in zip(self.machine.params, (good.W, good.vbias, good.hbias), strict=True):
            param[...] = self.run.bk.asarray(kept)
        if good.hidden_parameters is not None:
            self.machine.hidden_parameters[...] = self.run.bk.asarray(good.hidden_parameters)
        self._clear_moments()
        self.parts.call("reset")
        self.arrays["gradient"] = self._fresh_chains(epoch, "fresh chains")


def check_state(bk: Backend, arrays: Mapping[str, Mapping[str, DeviceArray]]) -> None:
    """Refuse state that files and checkpoints cannot hold.

    Raises
    ------
    SettingError
        If a value is not an array.
    """
    for owner, own in arrays.items():
        for name, value in own.items():
            if not (isinstance(value, np.ndarray) or bk.owns(value)):
                raise SettingError(
                    f"the state {name!r} of {owner!r} must be an array, such as xp.zeros(1), which updates change in "
                    f"place; got {value!r}"
                )


def host_state(bk: Backend, arrays: Mapping[str, Mapping[str, DeviceArray]]) -> dict[str, dict[str, Array]]:
    """Return copies of nested device arrays as host values."""
    return {
        owner: {name: np.array(bk.to_numpy(array) if bk.owns(array) else array) for name, array in own.items()}
        for owner, own in arrays.items()
    }


def fill_state(
    bk: Backend, started: Mapping[str, dict[str, DeviceArray]], kept: Mapping[str, Mapping[str, Array]]
) -> None:
    """Restore kept arrays into a state that has just been started.

    The state of an owner is restored if it has the same names and shapes, or if it is made only when training begins.
    The gradient's arrays may have another number of rows, such as the chains of an earlier run with another batch size.
    """
    for owner, own in started.items():
        found = kept.get(owner, {})
        if not own:
            own |= {
                name: array if array.dtype.kind == "i" else bk.asarray(array.copy()) for name, array in found.items()
            }
        elif owner == "gradient":
            found = {name: a for name, a in found.items() if name in own and a.shape[1:] == own[name].shape[1:]}
        elif {name: a.shape for name, a in found.items()} != {name: a.shape for name, a in own.items()}:
            continue
        for name, array in found.items():
            if array.shape == own[name].shape:
                own[name][...] = bk.asarray(array) if bk.owns(own[name]) else array
            else:
                own[name] = bk.asarray(array.copy()) if bk.owns(own[name]) else array.copy()
