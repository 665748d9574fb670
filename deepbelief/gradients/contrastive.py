"""Gradient estimators whose chains start at the data."""

from collections.abc import Mapping
from dataclasses import dataclass

from deepbelief.backends import Rng
from deepbelief.gradients.gradient_estimator import Arrays, Gradient, PhaseBuffers
from deepbelief.machine import Machine
from deepbelief.schedules import steps_at
from deepbelief.typing import DeviceArray


@dataclass(frozen=True)
class CD:
    """Contrastive divergence: the chains start at the data (Hinton 2002).

    Parameters
    ----------
    gibbs_steps : int or tuple of two int
        Number k of Gibbs steps.
    sample_visible : bool
        Whether to draw the last visible states. False uses their means, which is less noisy (Hinton 2010, section 3.2)
        but does not approach the exact gradient as k grows.
    """

    gibbs_steps: int | tuple[int, int] = 1
    sample_visible: bool = False
    schedule: str = "constant"
    momentum: float | str = "auto"
    is_model: bool = True

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> Arrays:
        """Return an empty state."""
        return {}

    def __call__(
        self, machine: Machine, buffers: PhaseBuffers, n_rows: int, batch_size: int, state: Mapping[str, DeviceArray],
        rng: Rng,
    ) -> Gradient:  # fmt: skip
        """Return the gradient after ``gibbs_steps`` steps from the data."""
        v, h = buffers.visible(2 * n_rows), buffers.hidden(2 * n_rows)
        v_neg, h_pos, h_neg = v[n_rows:], h[:n_rows], h[n_rows:]
        states = buffers.space("h_states", n_rows, h.shape[1])
        machine.sample_hidden(buffers.positive(n_rows), rng, states, mean=h_pos)
        for _ in range(steps_at(self.gibbs_steps) - 1):
            machine.sample_visible(states, rng, v_neg, mean=buffers.space("v_mean", n_rows, v.shape[1]))
            machine.sample_hidden(v_neg, rng, states, mean=h_neg)
        if self.sample_visible:
            machine.sample_visible(states, rng, v_neg, mean=buffers.space("v_mean", n_rows, v.shape[1]))
        else:
            machine.mean_visible(states, out=v_neg)
        machine.mean_hidden(v_neg, out=h_neg)
        return buffers.gradient(n_rows, n_rows, batch_size, paired=True)


@dataclass(frozen=True)
class MFCD:
    """Mean-field contrastive divergence: means are propagated from the data, and no states are sampled.

    Welling and Hinton, "A new learning algorithm for mean field Boltzmann machines", ICANN 2002. It has no noise, but
    does not approach the exact gradient as k grows.

    Parameters
    ----------
    gibbs_steps : int or tuple of two int
        Number k of mean-field steps.
    """

    gibbs_steps: int | tuple[int, int] = 1
    schedule: str = "constant"
    momentum: float | str = "auto"
    is_model: bool = True

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> Arrays:
        """Return an empty state."""
        return {}

    def __call__(
        self, machine: Machine, buffers: PhaseBuffers, n_rows: int, batch_size: int, state: Mapping[str, DeviceArray],
        rng: Rng,
    ) -> Gradient:  # fmt: skip
        """Return the gradient after ``gibbs_steps`` mean-field steps from the data."""
        v, h = buffers.visible(2 * n_rows), buffers.hidden(2 * n_rows)
        v_neg, h_pos, h_neg = v[n_rows:], h[:n_rows], h[n_rows:]
        machine.mean_hidden(buffers.positive(n_rows), out=h_pos)
        for step in range(steps_at(self.gibbs_steps)):
            machine.mean_visible(h_neg if step else h_pos, out=v_neg)
            machine.mean_hidden(v_neg, out=h_neg)
        return buffers.gradient(n_rows, n_rows, batch_size, paired=True)
