"""Monitoring of a layer's training: errors and signs of divergence on rows that stay the same."""

from dataclasses import replace

import numpy as np

from deepbelief.completion import completed
from deepbelief.components import Parts
from deepbelief.health import deviation, idle_shares, update_ratio
from deepbelief.likelihood import pseudo_log_likelihood
from deepbelief.machine import Machine, Workspace
from deepbelief.seeds import host_rng, stream
from deepbelief.stack import Weights
from deepbelief.streaming import Rows
from deepbelief.training import Record
from deepbelief.typing import Array, DeviceArray

MAX_ROWS = 1000  # that are monitored
MAX_JUDGES = 300  # held-out rows that score a machine
MAX_SCORED_BITS = 100  # columns in the score; each costs a pass over the weights
MEAN_FIELD_STEPS = 3  # by which missing values of monitored rows are estimated
MAX_HIDDEN_INPUT = 1e4  # beyond this a run has diverged


def n_monitored(n_rows: int) -> int:
    """Return the number of rows that are monitored: a hundredth of an epoch's work."""
    return min(MAX_ROWS, max(100, n_rows // 100), n_rows)


class Monitor:
    """Judges fixed rows after each epoch of a layer.

    Parameters
    ----------
    machine : Machine
    parts : Parts
        Components of its training, which may change how rows enter.
    rows : Rows
        Training rows.
    held_out : Rows or None
    seed, layer : int
        Name of the random streams that choose the rows.
    is_judged : bool
        Whether held-out rows score the machine.
    is_model : bool
        Whether the layer is trained as a model of its data.
    """

    def __init__(
        self, machine: Machine, parts: Parts, rows: Rows, held_out: Rows | None, *, seed: int, layer: int,
        is_judged: bool = False, is_model: bool = True,
    ) -> None:  # fmt: skip
        self.machine, self._parts, self._bk = machine, parts, machine.bk
        self._space = Workspace(machine.bk, machine.dtype)
        self._key, self.is_model = (seed, layer), is_model
        self._missing = "missing" in parts.state
        n = len(rows)
        size = n_monitored(n)
        self.rows = self._fixed(rows, size, "monitor")
        # By their own means, or by those that the layer was started with, whichever is further: the rows of a
        # `partial_fit` may be alike. A handful of rows says nothing.
        known, xp = machine.visible_mean, self._bk.xp
        self._gaps = xp.isnan(self.rows) if self._missing else None
        filled = self.rows if self._gaps is None else xp.where(self._gaps, known, self.rows)
        centres = [filled.mean(axis=0)] + ([] if known is None else [known])
        distances = [self._observed(xp.square(filled - centre)).sum(axis=1).mean() for centre in centres]
        far = max(float(self._bk.to_numpy(distance)) for distance in distances)
        self._baseline = far if size >= 10 else float("inf")
        self._held_out = self._compared = None
        judges = None if held_out is None else held_out.some(np.arange(min(MAX_JUDGES, len(held_out))))
        self._judges = judges if is_judged else None
        if held_out is not None and machine.hidden.tractable:
            size = min(MAX_ROWS, len(held_out), n)
            self._held_out = held_out.some(np.arange(size))
            self._compared = self._fixed(rows, size, "compared")

    def _fixed(self, rows: Rows, size: int, name: str) -> DeviceArray:
        """Return fixed rows; rows that training draws in each epoch are drawn once."""
        found = rows.drawn(size, host_rng(*self._key, name))
        if self._parts.has("draw"):
            self._parts.call("draw", found, self._bk.rng(stream(*self._key, name, "binarize")))
        return found

    def _entered(self, rows: DeviceArray) -> DeviceArray:
        """Return rows as they enter the machine, with an estimate of their missing values."""
        rows = self._parts.entered(rows)
        return completed(self.machine, rows, MEAN_FIELD_STEPS) if self._missing else rows

    def _observed(self, values: DeviceArray) -> DeviceArray:
        """Return values of the monitored rows, 0 where they are missing."""
        return values if self._gaps is None else self._bk.xp.where(self._gaps, 0.0, values)

    def look(self, velocity: DeviceArray | None) -> tuple[float, Record]:
        """Return the largest hidden input of the monitored rows, and their entries of an epoch's record.

        Those are the summed squared error per row, the size of the last update where its velocity is given, and the
        shares of hidden units that are alike for all rows and how much units vary (of Bernoulli units only).
        """
        xp, machine = self._bk.xp, self.machine
        rows = self._entered(self.rows)
        x = self._bk.matmul(rows, machine.W, self._space("x", len(rows), machine.W.shape[1]))
        found = {"largest": xp.abs(x + machine.hbias).max()}
        h = machine.hidden.mean(self._bk, x, machine.hbias)
        rest = machine.mean_visible(h, self._space("v", *rows.shape))
        rest -= rows
        self._parts.call("leave", rest)
        rest = self._observed(rest)
        found["reconstruction_error"] = error = xp.square(rest).sum(axis=1).mean()
        if velocity is not None:
            found["update_ratio"] = update_ratio(self._bk, velocity, machine.W)
        if machine.hidden.unit_interval:
            found["never_on"], found["always_on"] = idle_shares(self._bk, h)
            found["deviation"] = deviation(self._bk, h)
        # One transfer for all of them.
        stacked = self._bk.to_numpy(xp.stack([each.astype(error.dtype) for each in found.values()]))
        numbers = dict(zip(found, map(float, stacked), strict=True))
        largest = numbers.pop("largest")
        names = ("reconstruction_error", "update_ratio", "never_on", "always_on", "deviation")
        return largest, dict.fromkeys(names) | numbers | {"free_energy_gap": self._free_energy_gap()}

    def score(self, weights: Weights) -> float | None:
        """Return the mean score of held-out rows, larger is better; None where there are none.

        It is the pseudo-log-likelihood, or where there is none the negative reconstruction error.
        """
        if self._judges is None:
            return None
        v = self._entered(self._judges)
        if not weights.has_pseudo_likelihood or not self.is_model:
            error = self._bk.xp.square(self.machine.mean_visible(self.machine.mean_hidden(v)) - v).sum(axis=1)
            return -float(self._bk.to_numpy(error.mean()))
        plain = replace(weights, mean=None, scale=None)  # the rows have entered
        n_bits = min(MAX_SCORED_BITS, weights.n_visible) if weights.visible_unit.enumerable else None
        return float(pseudo_log_likelihood(plain, self._bk.to_numpy(v), n_bits=n_bits).mean())

    def _free_energy_gap(self) -> float | None:
        if self._held_out is None:
            return None
        held_out, compared = (self.machine.free_energy(self._entered(v)) for v in (self._held_out, self._compared))
        return float(self._bk.to_numpy(held_out.mean() - compared.mean()))

    def divergence(self, weights: Weights, error: float, largest: float, *, is_model: bool) -> str:
        """Return the reason why the run has diverged; an empty string if it has not."""
        if not all(map(_is_finite, (weights.W, weights.vbias, weights.hbias))) or not np.isfinite(error):
            return "weights are no longer finite"
        if largest > MAX_HIDDEN_INPUT:
            return f"hidden inputs reached {largest:.3g}"
        # Denoising layers start from larger weights and need longer to settle.
        if is_model and error > 2 * self._baseline + 0.01 * weights.n_visible:
            return f"rows are reconstructed worse ({error:.4g}) than by their column means ({self._baseline:.4g})"
        if is_model and weights.is_quadratic and np.linalg.norm(weights.W, 2) >= 1:
            return "Gaussian-Gaussian weights reached spectral norm 1, where the energy has no minimum"
        return ""


def _is_finite(x: Array) -> bool:
    """Return whether all values are finite: nearly always their sum says so, without an array of answers."""
    return bool(np.isfinite(x.sum()) or np.isfinite(x).all())
