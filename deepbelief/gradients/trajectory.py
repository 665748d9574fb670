"""Parallel trajectory tempering: chains exchange states with earlier checkpoints of the same training run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from deepbelief.backends import Rng
from deepbelief.errors import DataError, SettingError
from deepbelief.gradients.gradient_estimator import Arrays, Gradient, PhaseBuffers
from deepbelief.gradients.persistent import first_chains, gibbs
from deepbelief.ladder import Ladder, accept, difference, exchange_probability, log_partition_of, mean_acceptance
from deepbelief.machine import Machine
from deepbelief.schedules import steps_at
from deepbelief.typing import DeviceArray

PARAMETERS = ("W", "vbias", "hbias")
MIN_BLOCKS = 10  # samples of the last checkpoint in the reservoir for each chain of the model
MIN_RESERVOIR = 2000  # samples in the reservoir
MIN_SWEEPS = 20  # of a thermalisation
# Places in the state's array of numbers.
ACCEPTANCE, FACTOR, CLEARED, ERROR = range(4)
# Places in its array of counts.
UPDATES, REJECTIONS, SWEEPS, UNMET = range(4)
N_VALUES = 4  # places in each of them


@dataclass(frozen=True)
class PTT:
    """Persistent chains that exchange states with a ladder of frozen checkpoints of the same run.

    The first rung is the machine without connections, whose states are drawn independently and whose log Z is known.
    At every update each chain of the model is offered a sample of the last checkpoint from a reservoir, as a Metropolis
    proposal that leaves the model's distribution unchanged. When fewer than ``freeze`` of them are accepted, the model
    becomes the next checkpoint: the chains of all rungs exchange states until those of the last one have come from the
    first one, and refill the reservoir. An update after which fewer than ``reject`` are accepted is undone: the model
    returns to the last checkpoint, the learning rate is halved and the optimizer's memory cleared; each later
    checkpoint doubles the rate back.
    Bereux, Decelle, Furtlehner and Seoane, arXiv:2607.27077, 2026.

    Between two checkpoints an update costs about twice as much as with ``"pcd"``. ``history_`` reports
    ``n_rungs``, ``acceptance``, ``rejections``, ``rate_factor``, ``sweeps`` (of all thermalisations), ``unmet``
    (thermalisations that ended at ``max_sweeps``) and ``log_z``.

    Do not trust ``log_z`` or the weights of modes if ``unmet`` is above 0: the chains may then have lost a mode. Try a
    lower learning rate or more sweeps, and compare with `deepbelief.likelihood.ladder_log_z`.

    Parameters
    ----------
    gibbs_steps : int or tuple of two int
        Number k of Gibbs steps for each update.
    freeze : float
        Mean acceptance below which the model becomes a checkpoint.
    reject : float
        Mean acceptance below which an update is undone.
    max_sweeps : int
        Largest number of sweeps over the ladder before the reservoir is refilled.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> X = np.repeat([[0] * 8, [1] * 8], 20, axis=0)
    >>> rbm = RBM(2, gradient="ptt", n_iter=20, random_state=0).fit(X)
    >>> rbm.history_[-1]["n_rungs"] >= 1
    True
    """

    gibbs_steps: int | tuple[int, int] = 1
    freeze: float = 0.3
    reject: float = 0.1
    max_sweeps: int = 1000
    schedule: str = "linear"
    momentum: float | str = 0.0  # near a transition momentum carries the model too far
    is_model: bool = True

    growing: ClassVar[tuple[str, ...]] = (
        "ladder_W", "ladder_vbias", "ladder_hbias", "ladder_v", "ladder_log_z", "reservoir", "reservoir_energy",
    )  # fmt: skip
    """Arrays of the state whose number of rows the run decides."""

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0 <= self.reject < self.freeze < 1:
            raise SettingError(
                f"reject and freeze must be in [0, 1), reject below freeze, got {self.reject!r} and {self.freeze!r}"
            )
        n: Any = self.max_sweeps
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < MIN_SWEEPS:
            raise SettingError(f"max_sweeps must be an integer of at least {MIN_SWEEPS}, got {n!r}")

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> Arrays:
        """Return a ladder of one rung, the machine without connections, and samples of it."""
        quadratic = machine.visible.quadratic and machine.hidden.quadratic
        if quadratic or not (machine.visible.tractable and machine.hidden.tractable):
            raise SettingError(
                f"gradient='ptt' needs units with a free energy, got visible={machine.visible.spec!r} and "
                f"hidden={machine.hidden.spec!r}: use 'pcd'"
            )
        xp = machine.bk.xp
        first = _with(machine, xp.zeros_like(machine.W), machine.base_vbias.copy(), machine.hbias.copy())
        reservoir = xp.zeros((_n_blocks(n_chains) * n_chains, machine.W.shape[0]), machine.dtype)
        machine.visible.sample(machine.bk, xp.zeros_like(reservoir), first.vbias, rng, reservoir)
        return {
            "chains": first_chains(machine, n_chains, rng),
            **{f"ladder_{name}": getattr(first, name)[None].copy() for name in PARAMETERS},
            "ladder_v": reservoir[:n_chains].copy(),
            "ladder_log_z": np.array([log_partition_of(first)]),
            "reservoir": reservoir,
            "reservoir_energy": first.free_energy(reservoir),
            "numbers": np.array([1.0, 1.0, 0.0, 0.0]),
            "counts": np.zeros(N_VALUES, np.int64),
        }

    def __call__(
        self, machine: Machine, buffers: PhaseBuffers, n_rows: int, batch_size: int, state: Mapping[str, DeviceArray],
        rng: Rng,
    ) -> Gradient:  # fmt: skip
        """Return the gradient after ``gibbs_steps`` steps and an exchange of the chains, which move in place."""
        state = cast(Arrays, state)
        _check_state(state)
        chains = state["chains"]
        n = n_rows + len(chains)
        v, h = buffers.visible(n), buffers.hidden(n)
        v_neg, h_neg = v[n_rows:], h[n_rows:]
        gibbs(machine, buffers, chains, steps_at(self.gibbs_steps) - 1, rng, v_neg, h_neg)
        machine.sample_visible(chains, rng, v_neg, mean=buffers.space("v_mean", len(chains), v.shape[1]))
        self._exchange(machine, buffers, state, v_neg, rng)
        machine.sample_hidden(v_neg, rng, chains, mean=h_neg)
        machine.mean_hidden(buffers.positive(n_rows), out=h[:n_rows])
        return buffers.gradient(n_rows, len(chains), batch_size)

    def equilibrate(
        self, machine: Machine, buffers: PhaseBuffers, state: Mapping[str, DeviceArray], steps: int, rng: Rng
    ) -> None:
        """Move the chains by Gibbs steps without a gradient."""
        chains = state["chains"]
        gibbs(machine, buffers, chains, steps, rng, buffers.visible(len(chains)), buffers.hidden(len(chains)))

    def control(self, state: Mapping[str, DeviceArray]) -> tuple[float, bool]:
        """Return the factor of the learning rate, and whether this update follows one that was undone."""
        return float(state["numbers"][FACTOR]), bool(state["numbers"][CLEARED])

    def report(self, machine: Machine, state: Mapping[str, DeviceArray]) -> dict[str, Any]:
        """Return the ladder's entries of an epoch's record."""
        numbers, counts = state["numbers"], state["counts"]
        return {
            "n_rungs": len(state["ladder_log_z"]), "acceptance": float(numbers[ACCEPTANCE]),
            "rejections": int(counts[REJECTIONS]), "rate_factor": float(numbers[FACTOR]),
            "sweeps": int(counts[SWEEPS]), "unmet": int(counts[UNMET]), "log_z": self.log_z(machine, state),
        }  # fmt: skip

    def log_z(self, machine: Machine, state: Mapping[str, DeviceArray]) -> float:
        """Return log Z of the model: that of the last checkpoint, and the mean odds of its samples."""
        differences = machine.bk.to_numpy(machine.free_energy(state["reservoir"]) - state["reservoir_energy"])
        low = -differences.astype(float)
        return float(state["ladder_log_z"][-1] + np.logaddexp.reduce(low) - math.log(len(low)))

    def _exchange(self, machine: Machine, buffers: PhaseBuffers, state: Arrays, v: DeviceArray, rng: Rng) -> None:
        """Let each chain meet a sample of the last checkpoint; freeze the model, or return, where few are accepted."""
        bk, xp, numbers, n = machine.bk, machine.bk.xp, state["numbers"], len(v)
        numbers[CLEARED] = 0
        block = self._block(state, n)
        last = rungs(machine, state)[-1]
        y = state["reservoir"][block]
        low = machine.free_energy(y) - state["reservoir_energy"][block]
        high = difference(last, machine, v)
        numbers[ACCEPTANCE] = float(bk.to_numpy(exchange_probability(xp, low, high).mean()))
        if not numbers[ACCEPTANCE] >= self.freeze:
            acceptance = mean_acceptance(*(bk.to_numpy(each).astype(float) for each in (low, high)))
            numbers[ACCEPTANCE] = acceptance if math.isfinite(acceptance) else 0.0
        if numbers[ACCEPTANCE] < self.reject:
            self._return(machine, state, v, y)
        elif numbers[ACCEPTANCE] < self.freeze:
            self._freeze(machine, state, v, rng)
        else:
            # The reservoir keeps its samples: they are proposals, and stay samples of the checkpoint.
            accepted = accept(xp, low, high, rng, buffers.space("exchange", n, 1))
            v[...] = xp.where(accepted, y, v)

    def _block(self, state: Arrays, n: int) -> slice:
        """Return the next rows of the reservoir; a chain meets others than before when the turn comes round."""
        state["counts"][UPDATES] += 1
        places = max(1, len(state["reservoir"]) - n + 1)
        start = int(state["counts"][UPDATES]) * (n + 1) % places
        return slice(start, start + n)

    def _return(self, machine: Machine, state: Arrays, v: DeviceArray, samples: DeviceArray) -> None:
        """Undo all updates since the last checkpoint, and halve the rate."""
        for name, param in zip(PARAMETERS, machine.params, strict=True):
            param[...] = state[f"ladder_{name}"][-1]
        v[...] = samples
        numbers = state["numbers"]
        numbers[FACTOR], numbers[CLEARED] = numbers[FACTOR] / 2, 1
        state["counts"][REJECTIONS] += 1

    def _freeze(self, machine: Machine, state: Arrays, v: DeviceArray, rng: Rng) -> None:
        """Make the model the last rung, thermalise the ladder and refill the reservoir."""
        xp, n = machine.bk.xp, len(v)
        for name, param in zip(PARAMETERS, machine.params, strict=True):
            state[f"ladder_{name}"] = xp.concatenate([state[f"ladder_{name}"], param[None]])
        machines = rungs(machine, state)
        states = xp.concatenate([state["ladder_v"], v])
        ladder = Ladder(machines, states.reshape(len(machines), n, v.shape[1]))
        sweeps, met = ladder.thermalise(rng, MIN_SWEEPS, int(self.max_sweeps))
        n_blocks = _n_blocks(n)
        thin = -(-sweeps // n_blocks)
        ladder.record()
        reservoir = xp.empty((n_blocks * n, v.shape[1]), machine.dtype)
        for i in range(n_blocks):
            for _ in range(thin):
                ladder.sweep(rng)
            reservoir[i * n : (i + 1) * n] = ladder.v[-1]
        found = ladder.log_ratios()
        v[...] = ladder.v[-1]
        state["ladder_v"], state["ladder_log_z"] = states, found.log_z
        state["reservoir"], state["reservoir_energy"] = reservoir, machine.free_energy(reservoir)
        numbers, counts = state["numbers"], state["counts"]
        numbers[FACTOR] = min(1.0, 2 * numbers[FACTOR])
        numbers[ERROR] = min(found.error, float(np.finfo(np.float64).max))
        counts[SWEEPS] += ladder.n_sweeps
        counts[UNMET] += not met


def _check_state(state: Arrays) -> None:
    """Refuse arrays whose numbers of rows disagree, as those of an altered file may."""
    n_rungs, n_chains = len(state["ladder_log_z"]), len(state["chains"])
    agree = all(len(state[f"ladder_{name}"]) == n_rungs for name in PARAMETERS)
    agree = agree and len(state["ladder_v"]) == n_rungs * n_chains
    agree = agree and n_chains <= len(state["reservoir"]) == len(state["reservoir_energy"])
    if not (agree and len(state["numbers"]) == len(state["counts"]) == N_VALUES):
        shapes = ", ".join(f"{name} {tuple(array.shape)}" for name, array in state.items())
        raise DataError(f"the state of gradient='ptt' must be that of one ladder, got {shapes}: start a new run")


def _n_blocks(n_chains: int) -> int:
    """Return the number of samples in the reservoir for each chain."""
    return max(MIN_BLOCKS, -(-MIN_RESERVOIR // n_chains))


def _with(machine: Machine, W: DeviceArray, vbias: DeviceArray, hbias: DeviceArray) -> Machine:
    """Return a machine with these parameters, which are not copied."""
    other = machine.with_biases(vbias, hbias)
    other.W = W
    return other


def rungs(machine: Machine, state: Mapping[str, DeviceArray]) -> list[Machine]:
    """Return the machines of the ladder in a state of `PTT`, from the one without connections to the last."""
    arrays = [state[f"ladder_{name}"] for name in PARAMETERS]
    return [_with(machine, *(array[i] for array in arrays)) for i in range(len(arrays[0]))]
