"""Gradient of a denoising autoencoder."""

from collections.abc import Mapping
from dataclasses import dataclass

from deepbelief.activations import get_activation
from deepbelief.backends import Backend, Product, Rng
from deepbelief.errors import Mention, Message, SettingError, unknown
from deepbelief.gradients.gradient_estimator import Arrays, Gradient, PhaseBuffers
from deepbelief.losses import Loss, SquaredError, get_loss
from deepbelief.machine import Machine, Workspace
from deepbelief.typing import DeviceArray


def _mask(bk: Backend, v: DeviceArray, level: float, rng: Rng, space: Workspace, out: DeviceArray) -> None:
    """Set a share of the values to 0."""
    keep = space("keep", *v.shape)
    keep.fill(1 - level)
    rng.bernoulli(keep, out)
    out *= v


def _add_noise(bk: Backend, v: DeviceArray, level: float, rng: Rng, space: Workspace, out: DeviceArray) -> None:
    """Add normal noise of this standard deviation."""
    rng.normal(out)
    out *= level
    out += v


def _salt_and_pepper(bk: Backend, v: DeviceArray, level: float, rng: Rng, space: Workspace, out: DeviceArray) -> None:
    """Set a share of the values to 0 or 1 with equal probability."""
    u = rng.uniform(space("uniform", *v.shape))
    out[...] = bk.xp.where(u < level, u < level / 2, v)


CORRUPTIONS = {"masking": _mask, "gaussian": _add_noise, "salt_and_pepper": _salt_and_pepper}
"""Kinds of corruption by name; to add one, write a function and add an entry."""


@dataclass(frozen=True)
class Denoising:
    """Denoising autoencoder with tied weights: rows are corrupted, encoded, decoded and compared with clean ones.

    Vincent, Larochelle, Lajoie, Bengio and Manzagol, "Stacked denoising autoencoders", JMLR 11, 2010.

    Parameters
    ----------
    corruption : {"masking", "gaussian", "salt_and_pepper"}
        Kind of noise.
    level : float
        Share of the values that are masked, or set to 0 or 1. For Gaussian noise, its standard deviation.
    loss : {"auto", "cross_entropy", "squared_error"} or Loss
        ``"auto"``: cross-entropy for Bernoulli visible units, squared error for Gaussian ones.
    """

    corruption: str = "masking"
    level: float = 0.25
    loss: str | Loss = "auto"
    gibbs_steps: int = 1  # unused; every estimator is constructed with a number of Gibbs steps
    schedule: str = "constant"
    momentum: float | str = "auto"
    is_model: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.corruption not in CORRUPTIONS:
            raise SettingError(unknown("corruption", self.corruption, CORRUPTIONS))
        if not 0 <= self.level < (float("inf") if CORRUPTIONS[self.corruption] is _add_noise else 1):
            allowed = Message("a number >= 0 and < 1 for ", Mention("corruption", self.corruption))
            if CORRUPTIONS[self.corruption] is _add_noise:
                allowed = Message("a finite number >= 0")
            message = Message(Mention("level"), " must be ", allowed, f", got {self.level:g}")
            raise SettingError(message, setting="level", value=self.level)
        if self.loss != "auto":
            get_loss(self.loss)

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> Arrays:
        """Return an empty state."""
        return {}

    def _loss_of(self, machine: Machine) -> Loss:
        if not isinstance(self.loss, str):
            return self.loss
        visible = machine.visible
        if not visible.reconstruction_loss:
            raise SettingError(f"denoising needs Bernoulli or Gaussian visible units, got {visible.spec}")
        if not visible.unit_interval and (self.loss == "cross_entropy" or self.corruption == "salt_and_pepper"):
            if self.loss == "cross_entropy":
                given, remedy = Mention("loss", self.loss), Message(Mention("loss", "squared_error"))
            else:
                given, remedy = Mention("corruption", self.corruption), Message("'masking' or 'gaussian'")
            raise SettingError(given, " is for data in [0, 1], and these are real values: use ", remedy)
        name = visible.reconstruction_loss if self.loss == "auto" else self.loss
        return SquaredError(visible.activation) if name == "squared_error" else get_loss(name)

    def __call__(
        self, machine: Machine, buffers: PhaseBuffers, n_rows: int, batch_size: int, state: Mapping[str, DeviceArray],
        rng: Rng,
    ) -> Gradient:  # fmt: skip
        """Return the gradient of the reconstruction loss; one product covers both uses of W."""
        bk, space = machine.bk, buffers.space
        v, h = buffers.visible(2 * n_rows), buffers.hidden(2 * n_rows)
        (clean, corrupted), (code, code_delta) = (v[:n_rows], v[n_rows:]), (h[:n_rows], h[n_rows:])
        CORRUPTIONS[self.corruption](bk, clean, self.level, rng, space, corrupted)
        machine.mean_hidden(corrupted, out=code)
        output = machine.mean_visible(code, out=space("output", *clean.shape))
        delta = self._loss_of(machine).gradient(bk, output, clean, space("delta", *clean.shape))
        delta /= batch_size
        if buffers.weights is not None:
            delta *= buffers.weights.reshape(-1, 1)
        clean[...] = delta  # W multiplies the corrupted rows on the way up and the codes on the way down
        above = bk.matmul(delta, machine.W, space("above", *code.shape))
        code_delta[...] = get_activation(machine.hidden.activation).backward(
            bk, above, code, space("slope", *code.shape)
        )
        buffers.observe(code)
        bk.xp.sum(delta, axis=0, out=buffers.grad_buffers[1])
        bk.xp.sum(code_delta, axis=0, out=buffers.grad_buffers[2])
        return Product(v, h, buffers.grad_buffers[0]), buffers.grad_buffers[1], buffers.grad_buffers[2]
