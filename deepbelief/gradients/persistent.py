"""Gradient estimators with persistent Markov chains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepbelief.backends import Rng
from deepbelief.bounds import check_number
from deepbelief.gradients.gradient_estimator import Arrays, Gradient, PhaseBuffers
from deepbelief.machine import Machine
from deepbelief.schedules import steps_at
from deepbelief.typing import DeviceArray

FAST = ("fast_W", "fast_vbias", "fast_hbias")


def first_chains(machine: Machine, n_chains: int, rng: Rng) -> DeviceArray:
    """Return hidden states drawn from the machine's hidden biases, as if W were 0."""
    xp = machine.bk.xp
    x = xp.zeros((n_chains, machine.W.shape[1]), machine.dtype)
    return machine.hidden.sample(machine.bk, x, machine.hbias, rng, xp.empty_like(x))


def gibbs(
    machine: Machine, buffers: PhaseBuffers, chains: DeviceArray, steps: int, rng: Rng, v: DeviceArray, h: DeviceArray
) -> None:
    """Move chains, hidden states, in place; ``v`` becomes their last visible states and ``h`` is E[h | v]."""
    for _ in range(steps):
        machine.sample_visible(chains, rng, v, mean=buffers.space("v_mean", len(chains), v.shape[1]))
        machine.sample_hidden(v, rng, chains, mean=h)
    if not steps:
        machine.mean_visible(chains, out=v)
        h[...] = chains


class _GibbsChains:
    """Chains that are moved by Gibbs steps."""

    def equilibrate(
        self, machine: Machine, buffers: PhaseBuffers, state: Mapping[str, DeviceArray], steps: int, rng: Rng
    ) -> None:
        """Move the chains by Gibbs steps without a gradient."""
        chains = state["chains"]
        gibbs(machine, buffers, chains, steps, rng, buffers.visible(len(chains)), buffers.hidden(len(chains)))


@dataclass(frozen=True)
class PCD(_GibbsChains):
    """Persistent contrastive divergence: the chains persist from update to update (Tieleman 2008).

    Parameters
    ----------
    gibbs_steps : int or tuple of two int
        Number k of Gibbs steps for each update.
    """

    gibbs_steps: int | tuple[int, int] = 1
    schedule: str = "linear"
    momentum: float | str = 0.0  # the chains must keep up with the weights: with a momentum of 0.9 hidden units die
    is_model: bool = True

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> Arrays:
        """Return hidden states drawn from the machine's hidden biases, as if W were 0."""
        return {"chains": first_chains(machine, n_chains, rng)}

    def __call__(
        self, machine: Machine, buffers: PhaseBuffers, n_rows: int, batch_size: int, state: Mapping[str, DeviceArray],
        rng: Rng,
    ) -> Gradient:  # fmt: skip
        """Return the gradient after ``gibbs_steps`` steps of the chains, hidden states that move in place."""
        chains = state["chains"]
        n = n_rows + len(chains)
        v, h = buffers.visible(n), buffers.hidden(n)
        machine.mean_hidden(buffers.positive(n_rows), out=h[:n_rows])
        gibbs(machine, buffers, chains, steps_at(self.gibbs_steps), rng, v[n_rows:], h[n_rows:])
        return buffers.gradient(n_rows, len(chains), batch_size)


@dataclass(frozen=True)
class FPCD(_GibbsChains):
    """Persistent contrastive divergence with fast weights, which drive the chains away from their current states.

    The chains move with the sum of the parameters and fast ones, which learn at a separate rate and decay:
    Tieleman and Hinton, "Using fast weights to improve persistent contrastive divergence", ICML 2009.

    Parameters
    ----------
    gibbs_steps : int or tuple of two int
        Number k of Gibbs steps for each update.
    fast_rate : float
        Learning rate of the fast parameters.
    fast_decay : float
        Factor by which the fast parameters shrink after each update.
    """

    gibbs_steps: int | tuple[int, int] = 1
    fast_rate: float = 0.05
    fast_decay: float = 0.95
    schedule: str = "linear"
    momentum: float | str = 0.0
    is_model: bool = True

    def __post_init__(self) -> None:
        """Check the settings."""
        check_number("fast_rate", self.fast_rate, low=0)
        check_number("fast_decay", self.fast_decay, low=0, high=1, open_high=True)

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> Arrays:
        """Return hidden states drawn from the machine's hidden biases, as if W were 0, and fast parameters of 0."""
        fast = (machine.bk.xp.zeros_like(p) for p in machine.params)
        return {"chains": first_chains(machine, n_chains, rng)} | dict(zip(FAST, fast, strict=True))

    def __call__(
        self, machine: Machine, buffers: PhaseBuffers, n_rows: int, batch_size: int, state: Mapping[str, DeviceArray],
        rng: Rng,
    ) -> Gradient:  # fmt: skip
        """Return the gradient after ``gibbs_steps`` steps of the chains, and let the fast parameters learn from it."""
        chains = state["chains"]
        xp = machine.bk.xp
        n = n_rows + len(chains)
        v, h = buffers.visible(n), buffers.hidden(n)
        machine.mean_hidden(buffers.positive(n_rows), out=h[:n_rows])
        fast = [state[name] for name in FAST]
        driven = buffers.constant("driven", machine.copy)
        self._drive(driven, machine, buffers, fast)
        gibbs(driven, buffers, chains, steps_at(self.gibbs_steps), rng, v[n_rows:], h[n_rows:])
        grads = buffers.gradient(n_rows, len(chains), batch_size)
        kept = buffers.constant("kept", lambda: [xp.empty_like(machine.vbias), xp.empty_like(machine.hbias)])
        for room, grad in zip(kept, grads[1:], strict=True):
            room[...] = grad  # a step uses its gradient up
        # The summed parameters are scratch space here: the next call computes them again.
        for p, velocity, grad in zip(driven.params, fast, (grads[0], *kept), strict=True):
            machine.bk.momentum_step(p, velocity, grad, self.fast_rate, self.fast_decay, 0.0, False)
        return grads

    def _drive(self, driven: Machine, machine: Machine, buffers: PhaseBuffers, fast: Sequence[DeviceArray]) -> None:
        """Write the sum of the parameters and the fast ones; biases of centred units become plain ones."""
        xp = machine.bk.xp
        for p, slow, added in zip(driven.params, machine.params, fast, strict=True):
            xp.add(slow, added, out=p)
        if buffers.offsets is not None:
            visible, hidden = buffers.offsets
            driven.vbias -= fast[0] @ hidden
            driven.hbias -= visible @ fast[0]
