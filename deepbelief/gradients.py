"""What moves a layer's weights: estimates of the gradient of -log p(v), and that of a denoising autoencoder.

For a restricted Boltzmann machine the gradient is the mean of dE/dparams over the data (positive phase) less its
mean over the model (negative phase). The positive phase is exact; the estimators differ in where the negative phase
comes from. A denoising autoencoder has the same parameters, and its gradient is exact for the noise that was drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from deepbelief.activations import get_activation
from deepbelief.backends import Backend, Product, Rng, SparseRows
from deepbelief.errors import SettingError, unknown
from deepbelief.losses import CrossEntropy, Loss, SquaredError, get_loss
from deepbelief.machine import Machine, Workspace

DeviceArray = Any
Gradient = tuple[DeviceArray | Product, DeviceArray, DeviceArray]


class PhaseBuffers:
    """Room for one minibatch and its negative phase, side by side so that one product gives the gradient.

    The first ``n_positive`` rows of ``v`` and ``h`` are the positive phase, the others the negative one.
    """

    def __init__(self, bk: Backend, machine: Machine) -> None:
        self._bk = bk
        self._machine = machine
        self.space = Workspace(bk, machine.dtype)
        self.room: Gradient = tuple(bk.xp.empty_like(p) for p in machine.params)
        self.activity: DeviceArray = None  # set to an array to be told the hidden units' means over the minibatch
        self.sparse: SparseRows | None = None  # the minibatch in sparse form too, where products with it are faster
        self._row_weights: dict[tuple[int, int, float], DeviceArray] = {}

    def visible(self, rows: int) -> DeviceArray:
        """Return room for ``rows`` visible states."""
        return self.space("v", rows, self._machine.W.shape[0])

    def positive(self, n_rows: int) -> DeviceArray | SparseRows:
        """Return the minibatch, as a product with ``W`` takes it."""
        return self.visible(n_rows) if self.sparse is None else self.sparse

    def hidden(self, rows: int) -> DeviceArray:
        """Return room for ``rows`` hidden states."""
        return self.space("h", rows, self._machine.W.shape[1])

    def gradient(self, n_positive: int, n_negative: int, batch_size: int) -> Gradient:
        """Return positive less negative statistics.

        A minibatch divides by ``batch_size``, a short last one too, so that every row weighs the same in an
        epoch; each phase is averaged over its own number of rows, so that the number of chains is free.
        """
        key = (n_positive, n_negative, float(batch_size))
        if key not in self._row_weights:
            share = n_positive / batch_size
            xp = self._bk.xp
            weight = xp.empty((n_positive + n_negative, 1), self._machine.dtype)
            weight[:n_positive] = 1 / batch_size
            weight[n_positive:] = -share / n_negative
            self._row_weights[key] = weight
        n = n_positive + n_negative
        if self.activity is not None:
            self._bk.xp.mean(self.hidden(n)[:n_positive], axis=0, out=self.activity)
        W, *biases = self._machine.statistics(self.visible(n), self.hidden(n), self._row_weights[key], self.room)
        if self.sparse is not None:
            split = n_positive
            W = replace(W, left=W.left[split:], right=W.right[split:], plus=(self.sparse, W.right[:split]))
        return W, *biases


class GradientEstimator(Protocol):
    """What an estimator provides; a new one is one class and one entry in `GRADIENTS`."""

    @property
    def gibbs_steps(self) -> int:
        """Number of Gibbs steps for each update."""

    @property
    def schedule(self) -> str:
        """Learning-rate schedule where none is asked for."""

    @property
    def momentum(self) -> float | str:
        """Momentum where none is asked for; ``"auto"`` is that of the schedule."""

    @property
    def is_model(self) -> bool:
        """Whether it trains a model of the data, which can be sampled from."""

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> DeviceArray | None:
        """Return the Markov chains that persist between updates, or None."""

    def __call__(
        self,
        machine: Machine,
        buffers: PhaseBuffers,
        n_rows: int,
        batch_size: int,
        chains: DeviceArray | None,
        rng: Rng,
    ) -> Gradient:
        """Return the gradient for the minibatch in the first ``n_rows`` rows of the visible buffer."""


@dataclass(frozen=True)
class CD:
    """Contrastive divergence: the chains start at the data (Hinton 2002).

    Parameters
    ----------
    gibbs_steps : int
        Number k of Gibbs steps.
    sample_visible : bool
        Draw the last visible states; False takes their means, which is less noisy (Hinton 2010,
        section 3.2) but does not approach the exact gradient as k grows.
    """

    gibbs_steps: int = 1
    sample_visible: bool = False
    schedule: str = "constant"
    momentum: float | str = "auto"
    is_model: bool = True

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> None:
        """Return None: nothing persists."""
        return

    def __call__(
        self,
        machine: Machine,
        buffers: PhaseBuffers,
        n_rows: int,
        batch_size: int,
        chains: DeviceArray | None,
        rng: Rng,
    ) -> Gradient:
        """Return the gradient after ``gibbs_steps`` steps from the data."""
        v, h = buffers.visible(2 * n_rows), buffers.hidden(2 * n_rows)
        v_neg, h_pos, h_neg = v[n_rows:], h[:n_rows], h[n_rows:]
        states = buffers.space("h_states", n_rows, h.shape[1])
        machine.sample_hidden(buffers.positive(n_rows), rng, states, mean=h_pos)
        for _ in range(self.gibbs_steps - 1):
            machine.sample_visible(states, rng, v_neg, mean=buffers.space("v_mean", n_rows, v.shape[1]))
            machine.sample_hidden(v_neg, rng, states, mean=h_neg)
        if self.sample_visible:
            machine.sample_visible(states, rng, v_neg, mean=buffers.space("v_mean", n_rows, v.shape[1]))
        else:
            machine.mean_visible(states, out=v_neg)
        machine.mean_hidden(v_neg, out=h_neg)
        return buffers.gradient(n_rows, n_rows, batch_size)


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
        machine.mean_hidden(buffers.positive(n_rows), out=h[:n_rows])
        for _ in range(self.gibbs_steps):
            machine.sample_visible(chains, rng, v_neg, mean=buffers.space("v_mean", len(chains), v.shape[1]))
            machine.sample_hidden(v_neg, rng, chains, mean=h_neg)
        if not self.gibbs_steps:
            machine.mean_visible(chains, out=v_neg)
            h_neg[...] = chains
        return buffers.gradient(n_rows, len(chains), batch_size)


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
    """Set a share of the values to 0 or 1, each as often."""
    u = rng.uniform(space("uniform", *v.shape))
    out[...] = bk.xp.where(u < level, u < level / 2, v)


CORRUPTIONS = {"masking": _mask, "gaussian": _add_noise, "salt_and_pepper": _salt_and_pepper}
"""Kinds of corruption by name: a new one is one function and one entry."""


@dataclass(frozen=True)
class Denoising:
    """Denoising autoencoder with tied weights: rows are corrupted, encoded, decoded and compared with clean ones.

    Vincent, Larochelle, Lajoie, Bengio and Manzagol, "Stacked denoising autoencoders", JMLR 11, 2010.

    Parameters
    ----------
    corruption : {"masking", "gaussian", "salt_and_pepper"}
    level : float
        The share of values that are masked, or set to 0 or 1; for Gaussian noise its standard deviation.
    loss : {"auto", "cross_entropy", "squared_error"} or Loss
        ``"auto"``: cross-entropy for Bernoulli visible units, squared error for Gaussian ones.
    """

    corruption: str = "masking"
    level: float = 0.25
    loss: str | Loss = "auto"
    gibbs_steps: int = 1  # there are none; estimators are made with a number
    schedule: str = "constant"
    momentum: float | str = "auto"
    is_model: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.corruption not in CORRUPTIONS:
            raise SettingError(unknown("corruption", self.corruption, CORRUPTIONS))
        if not 0 <= self.level < (float("inf") if self.corruption == "gaussian" else 1):
            raise SettingError(f"level must be at least 0, and below 1 for {self.corruption}, got {self.level!r}")
        if self.loss != "auto":
            get_loss(self.loss)

    def start(self, machine: Machine, n_chains: int, rng: Rng) -> None:
        """Return None: nothing persists."""
        return

    def _loss_of(self, machine: Machine) -> Loss:
        bernoulli = machine.visible.spec == "bernoulli"
        if not isinstance(self.loss, str):
            return self.loss
        if machine.visible.spec not in ("bernoulli", "gaussian"):
            raise SettingError(f"denoising needs Bernoulli or Gaussian visible units, got {machine.visible.spec}")
        if not bernoulli and (self.loss == "cross_entropy" or self.corruption == "salt_and_pepper"):
            given = "loss='cross_entropy'" if self.loss == "cross_entropy" else "corruption='salt_and_pepper'"
            raise SettingError(f"{given} is for data in [0, 1]; real values take squared_error, masking or gaussian")
        if bernoulli and self.loss != "squared_error":
            return CrossEntropy()
        return SquaredError("sigmoid" if bernoulli else "identity")

    def __call__(
        self,
        machine: Machine,
        buffers: PhaseBuffers,
        n_rows: int,
        batch_size: int,
        chains: DeviceArray | None,
        rng: Rng,
    ) -> Gradient:
        """Return the gradient of the reconstruction loss; both uses of W go into one product."""
        bk, space = machine.bk, buffers.space
        v, h = buffers.visible(2 * n_rows), buffers.hidden(2 * n_rows)
        (clean, corrupted), (code, code_delta) = (v[:n_rows], v[n_rows:]), (h[:n_rows], h[n_rows:])
        CORRUPTIONS[self.corruption](bk, clean, self.level, rng, space, corrupted)
        machine.mean_hidden(corrupted, out=code)
        output = machine.mean_visible(code, out=space("output", *clean.shape))
        delta = self._loss_of(machine).gradient(bk, output, clean, space("delta", *clean.shape))
        delta /= batch_size
        clean[...] = delta  # W meets the codes on its way down and the corrupted rows on its way up
        above = bk.xp.matmul(delta, machine.W, out=space("above", *code.shape))
        code_delta[...] = get_activation(machine.hidden.activation).backward(
            bk, above, code, space("slope", *code.shape)
        )
        if buffers.activity is not None:
            bk.xp.mean(code, axis=0, out=buffers.activity)
        bk.xp.sum(delta, axis=0, out=buffers.room[1])
        bk.xp.sum(code_delta, axis=0, out=buffers.room[2])
        return Product(v, h, buffers.room[0]), buffers.room[1], buffers.room[2]


GRADIENTS: Mapping[str, type[GradientEstimator]] = {"cd": CD, "pcd": PCD}
"""Gradient estimators by name: a new one is one class and one entry."""


def get_gradient(gradient: str | GradientEstimator, gibbs_steps: int) -> GradientEstimator:
    """Return the estimator of this name; an instance is returned as it is.

    Examples
    --------
    >>> get_gradient("pcd", 5).gibbs_steps
    5
    """
    if not isinstance(gradient, str):
        if not hasattr(gradient, "gibbs_steps"):
            raise SettingError(f"gradient must be one of {', '.join(GRADIENTS)} or an instance, got {gradient!r}")
        return gradient
    if gradient not in GRADIENTS:
        raise SettingError(unknown("gradient", gradient, GRADIENTS))
    return GRADIENTS[gradient](gibbs_steps=gibbs_steps)  # type: ignore[call-arg]
