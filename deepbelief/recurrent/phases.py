"""Gradients of the frames' machines, from the positive and the negative phase of each frame with its biases."""

from dataclasses import dataclass

from deepbelief.backends import Product, Rng
from deepbelief.errors import Mention, SettingError
from deepbelief.gradients import GRADIENTS, Arrays, Gradient, GradientEstimator, PhaseBuffers, get_gradient
from deepbelief.machine import Machine
from deepbelief.typing import DeviceArray


class FrameBuffers(PhaseBuffers):
    """Buffers for the frames of a minibatch and their negative phase; biases have a gradient for each frame."""

    def gradient(
        self, n_positive: int, n_negative: int, batch_size: int, p: DeviceArray | None = None, *, paired: bool = True
    ) -> Gradient:  # fmt: skip
        """Return the gradient of W as a product, and the gradients of each frame's biases.

        Row i of the negative phase is the chain of row i of the positive phase, and all rows have the same weight, so
        there is no ``p``.
        """
        xp, n = self._bk.xp, n_positive
        v, h = self.visible(2 * n), self.hidden(2 * n)
        dv = xp.subtract(v[n:], v[:n], out=self.space("dv", n, v.shape[1]))
        dh = xp.subtract(h[n:], h[:n], out=self.space("dh", n, h.shape[1]))
        for difference in (dv, dh):
            difference /= batch_size
        h[:n] /= -batch_size
        h[n:] /= batch_size
        return Product(v, h, self.grad_buffers[0]), dv, dh


@dataclass(frozen=True)
class NextFrame:
    """Prediction of each frame by the visible biases alone, that is, by the recurrent network without its machines.

    The gradient is that of the cross-entropy (Gaussian units: half the squared error) of a recurrent network, which
    can pretrain the recurrent weights; W and the hidden biases do not change.
    """

    gibbs_steps: int = 1  # not used, but every estimator has a number of steps
    schedule: str = "constant"
    momentum: float | str = "auto"
    is_model: bool = False

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> Arrays:
        """Return an empty state."""
        return {}

    def __call__(
        self, machine: Machine, buffers: PhaseBuffers, n_rows: int, batch_size: int, state: object, rng: Rng
    ) -> Gradient:
        """Return the gradient of the visible biases; the other gradients are 0."""
        v, bk = buffers.visible(2 * n_rows), machine.bk
        v[n_rows:] = 0
        predicted = machine.visible.mean(bk, v[n_rows:], machine.vbias)
        dv = bk.xp.subtract(predicted, v[:n_rows], out=buffers.space("dv", n_rows, v.shape[1]))
        dv /= batch_size
        dh = buffers.space("dh", n_rows, machine.W.shape[1])
        dh.fill(0)
        dW = buffers.grad_buffers[0]
        dW.fill(0)  # type: ignore[union-attr]
        return dW, dv, dh


FRAME_GRADIENTS = ("cd", "mfcd")
"""Gradients that support separate biases for each frame."""


def frame_gradient(gradient: str | GradientEstimator, gibbs_steps: int = 1) -> GradientEstimator:
    """Return the estimator with this name, if it supports separate biases for each frame.

    Raises
    ------
    SettingError
        If it has a single negative phase for all rows, or does not train a model.
    """
    estimator = get_gradient(gradient, gibbs_steps)
    if type(estimator) in set(GRADIENTS.values()) - {GRADIENTS[name] for name in FRAME_GRADIENTS}:
        raise SettingError(
            Mention("gradient", gradient),
            " has one negative phase for all rows, but each frame has its own machine: use 'cd' with more ",
            Mention("gibbs_steps"),
            ", or 'mfcd'",
        )
    if not estimator.is_model:
        raise SettingError(Mention("gradient", gradient), " does not train a model of frames: use 'cd'")
    return estimator
