"""The health of an RBM's training: the checks of Hinton's guide (2010), from what the training loop sees anyway."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepbelief.backends import Backend, get_backend
from deepbelief.errors import DataError, SettingError
from deepbelief.machine import Layers
from deepbelief.sources import as_source
from deepbelief.stack import Stack

DeviceArray = Any
Record = Mapping[str, Any]

NEVER, ALWAYS = 0.05, 0.95  # a unit below, or above, for every row says nothing about any of them
LARGEST_SHARE = 0.1  # of the hidden units that may be so
RATIO = (1e-4, 1.5e-2)  # an update is about a thousandth of the weights (section 7)
SETTLED = (0.1, 0.7)  # the part of a run in which that is judged: weights start tiny, rates may end there
LARGEST_RISE = 1.5  # of the reconstruction error from one epoch to the next
SMALLEST_GAP = 2.0  # nats; a gap below is no sign of anything
ROWS = 10_000  # looked at


@dataclass(frozen=True)
class Finding:
    """One check of one layer: what was looked at, what was found, and what to do about it if anything."""

    layer: int
    check: str
    found: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is nothing to do."""
        return not self.advice


@dataclass(frozen=True)
class Health:
    """What `rbm_health` found; prints as one line for each check."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no check has advice to give."""
        return all(finding.ok for finding in self.findings)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do, one line each."""
        return tuple(f"layer {f.layer}: {f.check}: {f.found}; {f.advice}" for f in self.findings if not f.ok)

    def __str__(self) -> str:
        """Return one line for each check."""
        return "\n".join(
            f"layer {f.layer}  {f.check:<22} {f.found}" + (f"  -> {f.advice}" if f.advice else "")
            for f in self.findings
        )


def update_ratio(bk: Backend, velocity: DeviceArray, W: DeviceArray) -> DeviceArray:
    """Return the mean size of the last update over that of the weights, on the device."""
    xp = bk.xp
    return xp.abs(velocity).sum() / xp.abs(W).sum()


def idle_shares(bk: Backend, h: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
    """Return the shares of units that are on, and that are off, for no row, on the device.

    Parameters
    ----------
    bk : Backend
    h : array of shape (n_rows, n_hidden)
        Probabilities.
    """
    return (h.max(axis=0) < NEVER).mean(), (h.min(axis=0) > ALWAYS).mean()


def findings(history: Sequence[Record], layer: int = 1) -> tuple[Finding, ...]:
    """Return what the records of one layer's epochs say.

    Parameters
    ----------
    history : sequence of dict
        Of one layer, as in ``history_``.
    layer : int
        Its number, to be told.
    """
    checks = (_ratio, _idle, _rise, _gap)
    return tuple(Finding(layer, *found) for check in checks if (found := check(history)) is not None)


def layer_findings(history: Sequence[Record]) -> tuple[Finding, ...]:
    """Return what a history says of each layer that was pretrained."""
    numbers = sorted({record["layer"] for record in history if record.get("layer")})
    return tuple(f for n in numbers for f in findings([r for r in history if r.get("layer") == n], n))


def _values(history: Sequence[Record], name: str) -> list[float]:
    return [r[name] for r in history if r.get(name) is not None and math.isfinite(r[name])]


def _ratio(history: Sequence[Record]) -> tuple[str, ...] | None:
    """Judge the size of updates (section 7), in the middle of the run."""
    n = max((record["epoch"] for record in history), default=0)
    ratios = _values([r for r in history if SETTLED[0] * n < r["epoch"] <= SETTLED[1] * n], "update_ratio")
    if not ratios:
        return None
    ratio = float(np.median(ratios))
    found = "update-to-weight ratio", f"{ratio:.1e}"
    if ratio > RATIO[1]:
        return *found, "updates are large for the weights (about 1e-3 is usual): lower the learning rate"
    if ratio < RATIO[0]:
        return *found, "updates are small for the weights (about 1e-3 is usual): raise the learning rate"
    return found


def _idle(history: Sequence[Record]) -> tuple[str, ...] | None:
    """Judge units that are the same for all rows (section 15)."""
    if not history or history[-1].get("never_on") is None:
        return None
    return _idle_found(history[-1]["never_on"], history[-1]["always_on"])


def _idle_found(never: float, always: float) -> tuple[str, ...]:
    found = "units always off, on", f"{100 * never:.0f} %, {100 * always:.0f} %"
    if never > LARGEST_SHARE:
        return *found, "dead units: lower the learning rate, ask for a sparsity_target, or take fewer hidden units"
    if always > LARGEST_SHARE:
        return *found, "saturated units: lower the learning rate, raise weight_decay, or ask for a sparsity_target"
    return found


def _rise(history: Sequence[Record]) -> tuple[str, ...] | None:
    """Look for a sudden rise of the reconstruction error: the way in which a run begins to diverge."""
    errors = _values(history, "reconstruction_error")
    if len(errors) < 2:
        return None
    rises = [after / before if before > 0 else 1.0 for before, after in itertools.pairwise(errors)]
    worst = int(np.argmax(rises))
    if rises[worst] <= LARGEST_RISE:
        return "reconstruction error", f"{errors[0]:.4g} to {errors[-1]:.4g}"
    found = f"rose {rises[worst]:.1f} times in epoch {history[worst + 1]['epoch']}"
    return "reconstruction error", found, "a sudden rise: lower the learning rate or the momentum"


def _gap(history: Sequence[Record]) -> tuple[str, ...] | None:
    """Look for a growing gap of free energies between held-out and training rows (section 6)."""
    gaps = _values(history, "free_energy_gap")
    if not gaps:
        return None
    middle, last = gaps[len(gaps) // 2], gaps[-1]
    found = "free-energy gap", f"{last:.3g} nats"
    if last > SMALLEST_GAP and last > 2 * max(middle, 0.0):
        return *found, "it grows: the model overfits; stop earlier, raise weight_decay, or take fewer hidden units"
    return found


def rbm_health(rbm: Any, X: Any) -> Health:
    """Check an RBM, or each layer of a DBN, by Hinton's guide.

    Dead and saturated units are looked for in ``X``; the size of updates, sudden rises of the reconstruction error
    and the free-energy gap (where rows were held out) in the history of training.

    Parameters
    ----------
    rbm : fitted RBM or DBN
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        Rows in the units of the training rows; of more than 10,000 the first are looked at.

    Returns
    -------
    Health
        ``ok``, ``findings`` and ``advice``; prints as a table.

    Raises
    ------
    SettingError
        If the model is no fitted RBM or DBN.
    DataError
        If the rows are not those of the model.

    References
    ----------
    Hinton, "A practical guide to training restricted Boltzmann machines", 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> X = (np.random.default_rng(0).random((200, 6)) < 0.5).astype(float)
    >>> print(rbm_health(RBM(4, n_iter=10, random_state=0).fit(X), X).findings[1].check)
    units always off, on
    """
    layers = getattr(getattr(rbm, "stack_", None), "layers", None) or (getattr(rbm, "weights_", None),)
    if layers[0] is None or getattr(getattr(rbm, "stack_", None), "tuned", False):
        raise SettingError(f"rbm_health checks a fitted RBM or DBN, got {type(rbm).__name__}")
    source = as_source(X)
    if source.shape[1] != layers[0].n_visible:
        raise DataError(f"X has {source.shape[1]} features, the model has {layers[0].n_visible}")
    rows = source.take(slice(0, min(ROWS, source.shape[0]))).astype(layers[0].W.dtype)
    bk, found = get_backend("numpy"), []
    means = Layers(Stack(tuple(layers)), bk).up(layers[0].enter(rows))  # type: ignore[arg-type]
    for number, (weights, rows) in enumerate(zip(layers, means, strict=True), 1):
        records = [{**r, "never_on": None} for r in rbm.history_ if r.get("layer", 1) == number]
        own = list(findings(records, number))
        if weights.hidden_unit.unit_interval:
            own.insert(1, Finding(number, *_idle_found(*(float(share) for share in idle_shares(bk, rows)))))
        found += own
    return Health(tuple(found))
