"""Parallel trajectory tempering: chains exchange states with earlier checkpoints of the same training run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from deepbelief.backends import Backend, Product, Rng
from deepbelief.bounds import COUNT, Bounds, check_fields
from deepbelief.errors import DataError, Mention, SettingError
from deepbelief.gradients.exchanges import MIN_TAIL, N_OFFERS, acceptances, offer, turn
from deepbelief.gradients.gradient_estimator import Arrays, Gradient, PhaseBuffers
from deepbelief.gradients.persistent import first_chains, gibbs
from deepbelief.ladder import Ladder, difference, log_partition_of
from deepbelief.machine import Machine
from deepbelief.schedules import steps_at
from deepbelief.typing import DeviceArray, StrDict

PARAMETERS = ("W", "vbias", "hbias")
MIN_BLOCKS = 10  # samples of the last checkpoint in the reservoir for each chain of the model
MIN_RESERVOIR = 4000  # samples in the reservoir
MIN_SWEEPS = 20  # of a thermalisation
LENGTHENING = 9  # sweeps in which the reservoir is filled, divided by those of the thermalisation
MIN_UPDATES = 50  # between two checkpoints; the chains cannot follow a model that moves faster
RECOVERY = 100  # updates since a checkpoint after which the learning rate is doubled
INITIAL_STD = 0.01  # of connections
MAX_ATTEMPTS = 3  # attempts at a checkpoint that are abandoned because its chains have not met
MAX_MEASURED = 32  # chains on which the length of a step is measured
SHARE = Bounds(0, 1, open_high=True)
FIELDS = {
    "freeze": SHARE, "reject": SHARE, "max_sweeps": Bounds(MIN_SWEEPS, integer=True),
    "max_step": Bounds(0, open_low=True), "exchange_every": COUNT,
}  # fmt: skip
"""Bounds of the settings of `PTT`."""
# Places in the state's array of numbers.
ACCEPTANCE, FACTOR, CLEARED, ERROR, LENGTH = range(5)
# Places in its array of counts.
UPDATES, REJECTIONS, SWEEPS, UNMET, SINCE, ATTEMPTS = range(6)
N_NUMBERS, N_COUNTS = 5, 6  # places in each of them


@dataclass(frozen=True)
class PTT:
    """Persistent chains that exchange states with a ladder of frozen checkpoints of the same run.

    The first rung is the machine without connections, whose states are drawn independently and whose log Z is known. At
    every update one half of the model's chains, alternately, is offered samples of the last checkpoint from a
    reservoir, as Metropolis proposals that leave the model's distribution unchanged. When the mean probability of an
    exchange falls below ``freeze``, or that of one chain in twenty is nearly 0 because a new mode is forming, the model
    becomes the next checkpoint. The chains of all rungs then exchange states until those of the last rung have come
    from the first rung, and refill the reservoir. Rungs whose neighbours exchange enough states without them are
    removed.

    The learning rate is lowered where a step would change the energies of the chains by more than ``max_step``. Updates
    are undone back to the last checkpoint, the optimizer's memory is cleared and the rate halved if fewer than
    ``reject`` of the exchanges are accepted, if the next checkpoint is due within 50 updates, or if its chains do not
    meet within ``max_sweeps``; the rate doubles back after every 100 updates. A run that continues from a trained model
    starts with a checkpoint of that model. Units are centred by default. Bereux, Decelle, Furtlehner and Seoane,
    arXiv:2607.27077, 2026.

    ``history_`` reports ``n_rungs``, ``acceptance``, ``rejections``, ``rate_factor``, ``sweeps`` (of all
    thermalisations), ``unmet`` (checkpoints whose chains had not met after three attempts) and ``log_z``. Do not trust
    ``log_z`` or the weights of modes if ``unmet`` is above 0: the chains may then have lost a mode. Try a lower
    learning rate, more chains or more sweeps, and compare with `deepbelief.likelihood.ladder_log_z`.

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
    max_step : float
        Largest standard deviation, over the chains, of the change of their energy by one update, in nats.
    exchange_every : int
        Number of updates between two exchanges. With 1, 2 and 4 an update of 784 x 500 units takes 1.5, 1.3 and 1.2
        times that of ``"pcd"``. With more than 1 the weights of modes that form quickly are less accurate.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> X = np.repeat([[0] * 8, [1] * 8], 20, axis=0)
    >>> rbm = RBM(2, gradient="ptt", n_iter=50, random_state=0).fit(X)
    >>> rbm.history_[-1]["n_rungs"] >= 1
    True
    """

    gibbs_steps: int | tuple[int, int] = 1
    freeze: float = 0.3
    reject: float = 0.1
    max_sweeps: int = 1000
    max_step: float = 0.3
    exchange_every: int = 1
    schedule: str = "linear"
    momentum: float | str = 0.0  # near a transition momentum carries the model too far
    is_model: bool = True

    # Connections of units that are not centred change the weights of modes, whose noise then limits all steps.
    centered: ClassVar[bool] = True
    growing: ClassVar[tuple[str, ...]] = (
        "ladder_W", "ladder_vbias", "ladder_hbias", "ladder_v", "ladder_log_z", "reservoir", "reservoir_energy",
    )  # fmt: skip
    """Arrays of the state whose number of rows the run decides."""

    def __post_init__(self) -> None:
        """Check the settings."""
        check_fields(self, FIELDS)
        if not self.reject < self.freeze:
            raise SettingError(f"reject must be below freeze, got {self.reject!r} and {self.freeze!r}")

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> Arrays:
        """Return a ladder of one rung, the machine without connections, and samples of it."""
        quadratic = machine.visible.quadratic and machine.hidden.quadratic
        if quadratic or not (machine.visible.tractable and machine.hidden.tractable):
            units = Mention("visible", machine.visible.spec), " and ", Mention("hidden", machine.hidden.spec)
            raise SettingError(
                Mention("gradient", "ptt"), " needs units with a free energy, got ", *units, ": use 'pcd'"
            )
        if machine.hidden.parameters:
            others = f"{machine.hidden.spec} units have further parameters: use 'pcd'"
            raise SettingError(Mention("gradient", "ptt"), " keeps W and biases of its checkpoints, and ", others)
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
            "numbers": np.array([1.0, 1.0, 0.0, 0.0, 0.0]),
            "counts": np.zeros(N_COUNTS, np.int64),
        }

    def __call__(
        self, machine: Machine, buffers: PhaseBuffers, n_rows: int, batch_size: int, state: Mapping[str, DeviceArray],
        rng: Rng,
    ) -> Gradient:  # fmt: skip
        """Return the gradient after ``gibbs_steps`` steps and an exchange of the chains, which move in place."""
        state = cast(Arrays, state)
        _check_state(state)
        chains, steps = state["chains"], steps_at(self.gibbs_steps)
        n = n_rows + len(chains)
        v, h = buffers.visible(n), buffers.hidden(n)
        if steps > 1:
            gibbs(machine, buffers, chains, steps - 1, rng, v[n_rows:], h[n_rows:])
        machine.sample_visible(chains, rng, v[n_rows:], mean=buffers.space("v_mean", len(chains), v.shape[1]))
        h = self._exchange(machine, buffers, state, n_rows, rng)[:n]
        machine.hidden.mean(machine.bk, h[:n_rows], machine.hbias)
        machine.hidden.sample(machine.bk, h[n_rows:], machine.hbias, rng, chains)
        grads = buffers.gradient(n_rows, len(chains), batch_size)
        state["numbers"][LENGTH] = step_length(machine.bk, grads, n_rows, len(chains) * batch_size / n_rows)
        return grads

    def equilibrate(
        self, machine: Machine, buffers: PhaseBuffers, state: Mapping[str, DeviceArray], steps: int, rng: Rng
    ) -> None:
        """Move the chains by Gibbs steps without a gradient."""
        chains = state["chains"]
        gibbs(machine, buffers, chains, steps, rng, buffers.visible(len(chains)), buffers.hidden(len(chains)))

    def control(self, state: Mapping[str, DeviceArray], rate: float) -> tuple[float, bool]:
        """Return the factor of the learning rate, and whether this update follows one that was undone."""
        numbers = state["numbers"]
        factor = float(numbers[FACTOR])
        length = rate * factor * float(numbers[LENGTH])
        return factor * self.max_step / max(length, self.max_step), bool(numbers[CLEARED])

    def report(self, machine: Machine, state: Mapping[str, DeviceArray]) -> StrDict:
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

    def _exchange(self, machine: Machine, buffers: PhaseBuffers, state: Arrays, n_rows: int, rng: Rng) -> DeviceArray:
        """Offer each chain samples of the last checkpoint; freeze the model, or return, where few are accepted.

        The minibatch and the visible states of the chains lie in the buffer. Returns the input of the hidden units,
        without their biases, for both.
        """
        bk, numbers, counts = machine.bk, state["numbers"], state["counts"]
        numbers[CLEARED] = 0
        counts[SINCE] += 1
        if counts[SINCE] % RECOVERY == 0:
            numbers[FACTOR] = min(1.0, 2 * numbers[FACTOR])
        counts[UPDATES] += 1
        n = n_rows + len(state["chains"])
        if counts[UPDATES] % self.exchange_every and counts[SINCE] > 1:
            return _inputs(machine, buffers, n_rows, n)
        now = turn(len(state["chains"]), int(counts[UPDATES]) // self.exchange_every)
        block, some = self._block(state, now.stop - now.start), slice(n_rows + now.start, n_rows + now.stop)
        # The samples follow the chains in the buffer, so that one product serves them, the chains and the minibatch.
        v = buffers.visible(n + now.stop - now.start)
        v[n:] = state["reservoir"][block]
        x = _inputs(machine, buffers, n_rows, len(v))
        low = machine.free_energy_of(v[n:], x[n:]) - state["reservoir_energy"][block]
        high = machine.free_energy_of(v[some], x[some]) - self._energy_below(machine, buffers, state, v[some])
        numbers[ACCEPTANCE], tail = acceptances(bk.to_numpy(low), bk.to_numpy(high))
        if numbers[ACCEPTANCE] >= self.freeze and tail >= MIN_TAIL:
            # The reservoir keeps its samples: they are proposals, and stay samples of the checkpoint.
            taken = bk.to_numpy(offer(bk.xp, low, high, rng, buffers.space("exchange", N_OFFERS, len(low))))
            rows = np.flatnonzero(taken >= 0)
            rows, taken = bk.asarray(rows), bk.asarray(taken[rows])
            for states in (v, x):
                states[some][rows] = bk.xp.take(states[n:], taken, axis=0)
            return x
        given = counts[UPDATES] == 1  # no update has been made that could be undone: the model is kept
        if given:
            counts[ATTEMPTS] = MAX_ATTEMPTS
        hasty = numbers[ACCEPTANCE] < self.reject or counts[SINCE] < MIN_UPDATES
        if (hasty and not given) or not self._freeze(machine, state, v[n_rows:n], rng):
            self._return(machine, state, v[n_rows:n], rng)
        counts[SINCE] = 0
        return _inputs(machine, buffers, n_rows, n)

    def _energy_below(self, machine: Machine, buffers: PhaseBuffers, state: Arrays, v: DeviceArray) -> DeviceArray:
        """Return the free energy of visible states under the last checkpoint."""
        below, x = _rung(machine, state, -1), buffers.space("below", len(v), len(machine.hbias))
        return below.free_energy_of(v, machine.bk.matmul(v, below.W, x))

    def _block(self, state: Arrays, n: int) -> slice:
        """Return the next rows of the reservoir; a chain is offered different ones in the next round."""
        places = max(1, len(state["reservoir"]) - n + 1)
        start = int(state["counts"][UPDATES]) * (n + 1) % places
        return slice(start, start + n)

    def _return(self, machine: Machine, state: Arrays, v: DeviceArray, rng: Rng) -> None:
        """Undo all updates since the last checkpoint, and halve the rate."""
        for name, param in zip(PARAMETERS, machine.params, strict=True):
            param[...] = state[f"ladder_{name}"][-1]
        if len(state["ladder_log_z"]) == 1:
            # Without connections all hidden units would learn the same: they start from small random ones again.
            rng.normal(machine.W)
            machine.W *= INITIAL_STD
        v[...] = state["reservoir"][self._block(state, len(v))]
        numbers = state["numbers"]
        numbers[FACTOR], numbers[CLEARED] = numbers[FACTOR] / 2, 1
        state["counts"][REJECTIONS] += 1

    def _freeze(self, machine: Machine, state: Arrays, v: DeviceArray, rng: Rng) -> bool:
        """Make the model the last rung, thermalise the ladder and refill the reservoir, unless its chains do not meet.

        The chains of the new rung start from the reservoir, resampled by their odds.
        """
        xp, n = machine.bk.xp, len(v)
        numbers, counts = state["numbers"], state["counts"]
        drawn, below = _drawn(machine, state, n, rng), rungs(machine, state)
        kept = state["ladder_v"].reshape(len(below), n, v.shape[1])
        while len(below) > 2 and self._meets(below[-2], machine, kept[-2], drawn):
            below, kept = below[:-1], kept[:-1]
        ladder = Ladder([*below, machine], xp.concatenate([kept, drawn[None]]))
        sweeps, met = ladder.thermalise(rng, MIN_SWEEPS, int(self.max_sweeps))
        if not met and counts[ATTEMPTS] < MAX_ATTEMPTS:
            counts[ATTEMPTS] += 1
            counts[SWEEPS] += ladder.n_sweeps
            return False
        n_blocks = _n_blocks(n)
        thin = -(-LENGTHENING * sweeps // n_blocks)
        ladder.record()
        reservoir = xp.empty((n_blocks * n, v.shape[1]), machine.dtype)
        for i in range(n_blocks):
            for _ in range(thin):
                ladder.sweep(rng)
            reservoir[i * n : (i + 1) * n] = ladder.v[-1]
        found = ladder.log_ratios()
        v[...] = ladder.v[-1]
        for name, param in zip(PARAMETERS, machine.params, strict=True):
            state[f"ladder_{name}"] = xp.concatenate([state[f"ladder_{name}"][: len(below)], param[None]])
        state["ladder_v"] = ladder.v.reshape(-1, v.shape[1])
        state["ladder_log_z"] = found.log_z
        state["reservoir"], state["reservoir_energy"] = reservoir, machine.free_energy(reservoir)
        numbers[ERROR] = min(found.error, float(np.finfo(np.float64).max))
        counts[SWEEPS] += ladder.n_sweeps
        counts[UNMET] += not met
        counts[ATTEMPTS] = 0
        return True

    def _meets(self, a: Machine, b: Machine, v_a: DeviceArray, v_b: DeviceArray) -> bool:
        """Return whether two machines exchange enough states to remove the rungs between them."""
        mean, tail = acceptances(*(a.bk.to_numpy(difference(a, b, v)) for v in (v_a, v_b)))
        return mean >= self.freeze and tail >= MIN_TAIL


def _inputs(machine: Machine, buffers: PhaseBuffers, n_rows: int, n: int) -> DeviceArray:
    """Return the inputs of hidden units, without biases, of the minibatch and the rows after it, ``n`` in all."""
    bk, x = machine.bk, buffers.hidden(n)
    first = 0 if buffers.sparse is None else n_rows
    if first:
        bk.matmul(buffers.positive(n_rows), machine.W, x[:first])
    bk.matmul(buffers.visible(n)[first:], machine.W, x[first:])
    return x


def step_length(bk: Backend, grads: Gradient, n_positive: int, factor: float) -> float:
    """Return the standard deviation, over some chains, of the change of their energy by a step of rate 1.

    It is the length of the step in the metric of Fisher's information. ``factor`` undoes the weights of the negative
    phase in the product.
    """
    product = cast(Product, grads[0])
    # The positive rows come first, unless the product holds them in sparse form.
    first = n_positive if product.plus is None else 0
    some = slice(first, first + MAX_MEASURED)
    v, h = product.left[some], product.right[some] * factor
    pairs = (bk.xp.empty((len(v), len(product.left)), v.dtype) for _ in range(2))
    similar = [bk.matmul(*each) for each in zip((v, h), (product.left.T, product.right.T), pairs, strict=True)]
    change = (similar[0] * similar[1]).sum(axis=1) + v @ grads[1] + h @ grads[2]
    if product.plus is not None:
        rows, right = product.plus
        change += (rows.times(v.T.copy()).T * (h @ right.T)).sum(axis=1)
    length = float(bk.to_numpy(change.std()))
    return length if math.isfinite(length) else float(np.finfo(np.float64).max)


def _drawn(machine: Machine, state: Arrays, n: int, rng: Rng) -> DeviceArray:
    """Return samples of the last checkpoint, drawn from the reservoir by their odds under the model."""
    bk, reservoir = machine.bk, state["reservoir"]
    log_odds = bk.to_numpy(state["reservoir_energy"] - machine.free_energy(reservoir)).astype(float)
    odds = np.cumsum(np.exp(log_odds - log_odds.max()))
    first = float(bk.to_numpy(rng.uniform(bk.xp.empty((1, 1), machine.dtype)))[0, 0])
    places = np.searchsorted(odds, (np.arange(n) + first) / n * odds[-1])
    return bk.xp.take(reservoir, bk.asarray(np.minimum(places, len(odds) - 1)), axis=0)


def _check_state(state: Arrays) -> None:
    """Refuse arrays whose numbers of rows disagree, for example of an altered file."""
    n_rungs, n_chains = len(state["ladder_log_z"]), len(state["chains"])
    agree = all(len(state[f"ladder_{name}"]) == n_rungs for name in PARAMETERS)
    agree = agree and len(state["ladder_v"]) == n_rungs * n_chains
    agree = agree and n_chains <= len(state["reservoir"]) == len(state["reservoir_energy"])
    if not (agree and len(state["numbers"]) == N_NUMBERS and len(state["counts"]) == N_COUNTS):
        shapes = ", ".join(f"{name} {tuple(array.shape)}" for name, array in state.items())
        raise DataError(
            "the state of ", Mention("gradient", "ptt"), f" must be that of one ladder, got {shapes}: start a new run"
        )


def _n_blocks(n_chains: int) -> int:
    """Return the number of samples in the reservoir for each chain."""
    return max(MIN_BLOCKS, -(-MIN_RESERVOIR // n_chains))


def _with(machine: Machine, W: DeviceArray, vbias: DeviceArray, hbias: DeviceArray) -> Machine:
    """Return a machine with these parameters, which are not copied."""
    other = machine.with_biases(vbias, hbias)
    other.W = W
    return other


def _rung(machine: Machine, state: Mapping[str, DeviceArray], i: int) -> Machine:
    """Return a machine of the ladder; its parameters are not copied."""
    return _with(machine, *(state[f"ladder_{name}"][i] for name in PARAMETERS))


def rungs(machine: Machine, state: Mapping[str, DeviceArray]) -> list[Machine]:
    """Return the machines of the ladder in a state of `PTT`, from the one without connections to the last."""
    return [_rung(machine, state, i) for i in range(len(state["ladder_log_z"]))]
