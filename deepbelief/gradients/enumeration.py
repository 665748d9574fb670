"""Exact gradient of machines that are small enough to enumerate the states of one side."""

from collections.abc import Mapping
from dataclasses import dataclass

from deepbelief.backends import Rng
from deepbelief.errors import Mention, SettingError
from deepbelief.gradients.gradient_estimator import Arrays, Gradient, PhaseBuffers
from deepbelief.gradients.persistent import first_chains, gibbs
from deepbelief.machine import Machine
from deepbelief.schedules import steps_at
from deepbelief.typing import DeviceArray
from deepbelief.units import smaller_side

MAX_GRADIENT_UNITS = 16


@dataclass(frozen=True)
class Exact:
    """Exact gradient: the negative phase enumerates every state of the smaller side.

    For machines with at most 16 Bernoulli units on one side, as a reference for the estimators.

    Parameters
    ----------
    gibbs_steps : int or tuple of two int
        Gibbs steps of the chains. The gradient does not use the chains; they are kept as samples of the model.
    """

    gibbs_steps: int | tuple[int, int] = 1
    schedule: str = "constant"
    momentum: float | str = "auto"
    is_model: bool = True

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> Arrays:
        """Refuse machines that are too large, and return hidden states drawn from the hidden biases."""
        _side(machine)
        return {"chains": first_chains(machine, n_chains, rng)}

    def __call__(
        self, machine: Machine, buffers: PhaseBuffers, n_rows: int, batch_size: int, state: Mapping[str, DeviceArray],
        rng: Rng,
    ) -> Gradient:  # fmt: skip
        """Return the gradient."""
        xp, bk = machine.bk.xp, machine.bk
        side, n_units = _side(machine)
        states = buffers.constant("states", lambda: _states(machine, n_units))
        chains = state["chains"]
        n = n_rows + max(len(states), len(chains))
        v, h = buffers.visible(n), buffers.hidden(n)
        last = slice(n_rows, n_rows + len(chains))
        gibbs(machine, buffers, chains, steps_at(self.gibbs_steps), rng, v[last], h[last])
        machine.mean_hidden(buffers.positive(n_rows), out=h[:n_rows])
        v_neg, h_neg = v[n_rows : n_rows + len(states)], h[n_rows : n_rows + len(states)]
        if side == "visible":
            v_neg[...] = states
            log_p = -machine.free_energy(v_neg)
            machine.mean_hidden(v_neg, out=h_neg)
        else:
            h_neg[...] = states
            field = xp.matmul(h_neg, machine.W.T, out=v_neg)
            log_p = h_neg @ machine.hbias + machine.visible.log_integral(bk, field, machine.vbias)
            machine.visible.mean(bk, field, machine.vbias)
        p = xp.exp(log_p - log_p.max())
        p /= p.sum()
        return buffers.gradient(n_rows, len(states), batch_size, p)


def _side(machine: Machine) -> tuple[str, int]:
    """Return the side with fewer units that can be enumerated, and their number."""
    n_visible, n_hidden = machine.W.shape
    if not (machine.visible.tractable and machine.hidden.tractable):
        raise SettingError(Mention("gradient", "exact"), " needs units with an energy: rectified ones have none")
    side = smaller_side(machine.visible, machine.hidden, (n_visible, n_hidden), MAX_GRADIENT_UNITS)
    if side is None:
        raise SettingError(
            Mention("gradient", "exact"),
            f" needs at most {MAX_GRADIENT_UNITS} Bernoulli units on one side, got {n_visible} visible and ",
            f"{n_hidden} hidden units: use 'pt' or 'pcd'",
        )
    return side


def _states(machine: Machine, n_units: int) -> DeviceArray:
    """Return all bit vectors of a length, created on the device."""
    xp = machine.bk.xp
    numbers = xp.arange(2**n_units)
    states = xp.empty((2**n_units, n_units), machine.dtype)
    for i in range(n_units):
        states[:, i] = numbers // 2**i % 2
    return states
