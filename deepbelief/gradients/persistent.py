"""Gradient estimators whose chains go on from update to update."""

from dataclasses import dataclass

from deepbelief.backends import Rng
from deepbelief.gradients.base import DeviceArray, Gradient, PhaseBuffers
from deepbelief.machine import Machine


@dataclass(frozen=True)
class PCD:
    """Persistent contrastive divergence: the chains go on from update to update (Tieleman 2008).

    Parameters
    ----------
    gibbs_steps : int
        Number k of Gibbs steps for each update.
    """

    gibbs_steps: int = 1
    schedule: str = "linear"
    momentum: float | str = 0.0  # the chains must keep up with the weights: at 0.9 hidden units die
    is_model: bool = True

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> DeviceArray:
        """Return hidden states drawn from the machine's hidden biases, as if W were 0."""
        xp = machine.bk.xp
        x = xp.zeros((n_chains, machine.W.shape[1]), machine.dtype)
        return machine.hidden.sample(machine.bk, x, machine.hbias, rng, xp.empty_like(x))

    def __call__(
        self,
        machine: Machine,
        buffers: PhaseBuffers,
        n_rows: int,
        batch_size: int,
        chains: DeviceArray | None,
        rng: Rng,
    ) -> Gradient:
        """Return the gradient after ``gibbs_steps`` steps of the chains, hidden states that move in place."""
        assert chains is not None
        n = n_rows + len(chains)
        v, h = buffers.visible(n), buffers.hidden(n)
        v_neg, h_neg = v[n_rows:], h[n_rows:]
        machine.mean_hidden(v[:n_rows], out=h[:n_rows])
        for _ in range(self.gibbs_steps):
            machine.sample_visible(chains, rng, v_neg, mean=buffers.space("v_mean", len(chains), v.shape[1]))
            machine.sample_hidden(v_neg, rng, chains, mean=h_neg)
        if not self.gibbs_steps:
            machine.mean_visible(chains, out=v_neg)
            h_neg[...] = chains
        return buffers.gradient(n_rows, len(chains), batch_size)
