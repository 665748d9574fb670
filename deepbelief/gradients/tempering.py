"""Parallel tempering: chains at several temperatures, which exchange their states."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deepbelief.backends import Rng
from deepbelief.bounds import check_number
from deepbelief.errors import Mention, SettingError
from deepbelief.gradients.gradient_estimator import Arrays, Gradient, PhaseBuffers
from deepbelief.gradients.persistent import first_chains
from deepbelief.machine import Machine
from deepbelief.schedules import steps_at
from deepbelief.typing import DeviceArray


@dataclass(frozen=True)
class PT:
    """Persistent chains at several inverse temperatures; neighbouring temperatures exchange states.

    At inverse temperature beta the machine has weights beta W, hidden biases beta c, and visible biases between those
    of the model and those that fit only the column means of the data: at 0 its states are independent, at 1 it is the
    model. Chains at low beta move freely between modes, and exchanges pass their states on to the model. Desjardins,
    Courville, Bengio, Vincent and Delalleau, "Tempered Markov chain Monte Carlo for training of restricted Boltzmann
    machines", AISTATS 2010; Cho, Raiko and Ilin, IJCNN 2010.

    Parameters
    ----------
    gibbs_steps : int or tuple of two int
        Number k of Gibbs steps for each update, each followed by exchanges between all neighbours.
    n_temperatures : int
        Number of inverse temperatures, evenly spaced from 1 to 0; each has as many chains as the model.
    """

    gibbs_steps: int | tuple[int, int] = 1
    n_temperatures: int = 10
    schedule: str = "linear"
    momentum: float | str = 0.0
    is_model: bool = True

    def __post_init__(self) -> None:
        """Check the settings."""
        check_number("n_temperatures", self.n_temperatures, low=2, integer=True)

    @property
    def betas(self) -> list[float]:
        """Inverse temperatures, from the model's to that of independent units."""
        return np.linspace(1.0, 0.0, self.n_temperatures).tolist()  # type: ignore[no-any-return]

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> Arrays:
        """Return hidden states for all temperatures, the model's first, drawn from the hidden biases."""
        if not machine.hidden.enumerable:
            raise SettingError(
                Mention("gradient", "pt"), f" needs Bernoulli hidden units, got {machine.hidden.spec}: use 'pcd'"
            )
        machine.base_vbias  # noqa: B018  # brought to the device before the first update
        return {"chains": first_chains(machine, n_chains * self.n_temperatures, rng)}

    def __call__(
        self, machine: Machine, buffers: PhaseBuffers, n_rows: int, batch_size: int, state: Mapping[str, DeviceArray],
        rng: Rng,
    ) -> Gradient:  # fmt: skip
        """Return the gradient after ``gibbs_steps`` steps and exchanges of the chains, which move in place."""
        chains = state["chains"]
        n, n_chains = n_rows + len(chains), len(chains) // self.n_temperatures
        v, h = buffers.visible(n), buffers.hidden(n)
        machine.mean_hidden(buffers.positive(n_rows), out=h[:n_rows])
        for _ in range(steps_at(self.gibbs_steps)):
            difference = self._step(machine, buffers, chains, v[n_rows:], rng)
            self._exchange(machine, buffers, chains, v[n_rows:], difference, rng)
        last = slice(n_rows, n_rows + n_chains)
        machine.mean_hidden(v[last], out=h[last])
        return buffers.gradient(n_rows, n_chains, batch_size)

    def equilibrate(
        self, machine: Machine, buffers: PhaseBuffers, state: Mapping[str, DeviceArray], steps: int, rng: Rng
    ) -> None:
        """Move the chains by Gibbs steps without a gradient."""
        chains = state["chains"]
        for _ in range(steps):
            self._step(machine, buffers, chains, buffers.visible(len(chains)), rng)

    def _step(
        self, machine: Machine, buffers: PhaseBuffers, chains: DeviceArray, v: DeviceArray, rng: Rng
    ) -> DeviceArray:
        """Take one Gibbs step at each temperature, and return the model's energy minus that at beta = 0."""
        bk, xp, space = machine.bk, machine.bk.xp, buffers.space
        n = len(chains) // self.n_temperatures
        x = bk.matmul(chains, machine.W.T, space("v_mean", *v.shape))
        bias = space("v_bias", 1, v.shape[1])[0]
        for i, beta in enumerate(self.betas):
            block = slice(i * n, (i + 1) * n)
            x[block] *= beta
            xp.subtract(machine.vbias, machine.base_vbias, out=bias)
            bias *= beta
            bias += machine.base_vbias
            machine.visible.sample(bk, x[block], bias, rng, v[block])
        field = bk.matmul(v, machine.W, space("h_field", *chains.shape))
        field += machine.hbias
        x, bias = space("h_states", *chains.shape), buffers.constant("no bias", lambda: xp.zeros_like(machine.hbias))
        for i, beta in enumerate(self.betas):
            block = slice(i * n, (i + 1) * n)
            xp.multiply(field[block], beta, out=x[block])
            machine.hidden.sample(machine.bk, x[block], bias, rng, chains[block])
        field *= chains
        own = machine.visible.energy(machine.bk, v, machine.vbias)
        own -= machine.visible.energy(machine.bk, v, machine.base_vbias)
        own -= field.sum(axis=1)
        return own

    def _exchange(
        self, machine: Machine, buffers: PhaseBuffers, chains: DeviceArray, v: DeviceArray, difference: DeviceArray,
        rng: Rng,
    ) -> None:  # fmt: skip
        """Offer each pair of neighbouring temperatures, even ones and then odd ones, to exchange their states."""
        xp, betas = machine.bk.xp, self.betas
        n = len(chains) // self.n_temperatures
        u = rng.uniform(buffers.space("exchange", self.n_temperatures, n))
        log_u = xp.log(xp.maximum(u, xp.finfo(machine.dtype).tiny))
        difference = difference.reshape(-1, 1)
        for i in (*range(0, self.n_temperatures - 1, 2), *range(1, self.n_temperatures - 1, 2)):
            a, b = slice(i * n, (i + 1) * n), slice((i + 1) * n, (i + 2) * n)
            odds = log_odds(betas[i], betas[i + 1], difference[a], difference[b])
            accepted = (log_u[i].reshape(-1, 1) < odds).astype(machine.dtype)
            for states, name in ((chains, "h_moved"), (v, "v_moved"), (difference, "moved")):
                moved = xp.subtract(states[b], states[a], out=buffers.space(name, n, states.shape[1]))
                moved *= accepted
                states[a] += moved
                states[b] -= moved


def log_odds(beta_a: float, beta_b: float, difference_a: DeviceArray, difference_b: DeviceArray) -> DeviceArray:
    """Return the log of p_a(b) p_b(a) / (p_a(a) p_b(b)), the odds of an exchange.

    ``difference`` is a state's energy in the model minus that at beta = 0: log p_beta is -E_0 - beta * difference.
    """
    return (beta_a - beta_b) * (difference_a - difference_b)
