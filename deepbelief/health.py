"""The health of an RBM's training: the checks of Hinton's guide (2010), from what the training loop sees anyway."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deepbelief.backends import Backend, get_backend
from deepbelief.errors import DataError, Mention, Message, SettingError
from deepbelief.machine import Layers
from deepbelief.sources import as_source
from deepbelief.stack import Stack
from deepbelief.typing import DeviceArray, Estimator, Float64Array, RowsLike, StrMapping

Record = StrMapping
Found = tuple[str, str, *tuple[str | Mention, ...]]  # name of a check, what it found, and parts of the advice

NEVER, ALWAYS = 0.05, 0.95  # a unit below, or above, for every row says nothing about any of them
LARGEST_SHARE = 0.1  # of the hidden units that may be so
RATIO = (1e-4, 1.5e-2)  # an update is about a thousandth of the weights (section 7)
SETTLED = (0.1, 0.7)  # the part of a run in which that is judged: weights start tiny, rates may end there
LARGEST_RISE = 1.25  # of the reconstruction error at a run's end over its least
LEAST_ERROR = 1e-2  # of the first epoch's error; what lies below is rounding of a perfect fit
IMPROVING = 0.9  # of the error in the middle of a run; one that ends below still learns
WINDOW = 0.1  # of the epochs, over which errors are averaged
LEAST_DEVIATION = 0.05  # mean deviation of hidden probabilities over rows; a regularised model sees little of less
SMALLEST_GAP = 2.0  # nats; a gap below is not significant
ROWS = 10_000  # maximum number of rows to check
PART = 2**18  # weights whose sizes are summed at a time

NO_ADVICE = Message()


@dataclass(frozen=True)
class Finding:
    """One check of one layer: its name, the finding, and advice if there is any."""

    layer: int
    check: str
    found: str
    message: Message = NO_ADVICE

    @property
    def advice(self) -> str:
        """Advice on what to do, empty where there is nothing."""
        return str(self.message)

    @property
    def ok(self) -> bool:
        """Whether there is nothing to do."""
        return not self.message


@dataclass(frozen=True)
class Health:
    """Result of `rbm_health`; prints as one line for each check."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no check has advice to give."""
        return all(finding.ok for finding in self.findings)

    @property
    def advice(self) -> tuple[str, ...]:
        """Advice, one line each."""
        return self.advice_for(str)

    def advice_for(self, name_of: Callable[[Mention], str]) -> tuple[str, ...]:
        """Return the advice with settings as `name_of` writes them."""
        told = [(f, f.message.spelled(name_of)) for f in self.findings if not f.ok]
        return tuple(f"layer {f.layer}: {f.check}: {f.found}; {advice}" for f, advice in told)

    def __str__(self) -> str:
        """Return one line for each check."""
        return "\n".join(
            f"layer {f.layer}  {f.check:<22} {f.found}" + (f"  -> {f.advice}" if f.advice else "")
            for f in self.findings
        )


def _finding(layer: int, check: str, found: str, *advice: str | Mention) -> Finding:
    return Finding(layer, check, found, Message(*advice))


def update_ratio(bk: Backend, velocity: DeviceArray, W: DeviceArray) -> DeviceArray:
    """Return the mean size of the last update over that of the weights, on the device."""
    return _total_size(bk, velocity) / _total_size(bk, W)


def _total_size(bk: Backend, x: DeviceArray) -> DeviceArray:
    """Return the sum of absolute values, taken of some rows at a time: an array of all of them is slow to allocate."""
    n_rows = max(1, PART // x.shape[1])
    return sum(bk.xp.abs(x[i : i + n_rows]).sum() for i in range(0, len(x), n_rows))


def idle_shares(bk: Backend, h: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
    """Return the shares of units that are on, and that are off, for no row, on the device.

    Parameters
    ----------
    bk : Backend
    h : array of shape (n_rows, n_hidden)
        Probabilities.
    """
    return (h.max(axis=0) < NEVER).mean(), (h.min(axis=0) > ALWAYS).mean()


def deviation(bk: Backend, h: DeviceArray) -> DeviceArray:
    """Return the standard deviation of each unit over the rows, averaged over units, on the device."""
    xp = bk.xp
    return xp.sqrt(xp.square(h - h.mean(axis=0)).mean(axis=0)).mean()


def findings(history: Sequence[Record], layer: int = 1) -> tuple[Finding, ...]:
    """Return what the records of one layer's epochs say.

    Parameters
    ----------
    history : sequence of dict
        Of one layer, as in ``history_``.
    layer : int
        Number of the layer, in messages.
    """
    checks = (_ratio, _idle, variation, _rise, _gap)
    return tuple(_finding(layer, *found) for check in checks if (found := check(history)) is not None)


def layer_findings(history: Sequence[Record]) -> tuple[Finding, ...]:
    """Return what a history says of each layer that was pretrained."""
    numbers = sorted({record["layer"] for record in history if record.get("layer")})
    return tuple(f for n in numbers for f in findings([r for r in history if r.get("layer") == n], n))


def _values(history: Sequence[Record], name: str) -> list[float]:
    return [r[name] for r in history if r.get(name) is not None and math.isfinite(r[name])]


def _ratio(history: Sequence[Record]) -> Found | None:
    """Judge the size of updates (section 7), in the middle of the run.

    Small minibatches and many hidden units make updates large without harm: they are too large only where the error
    no longer falls.
    """
    n = max((record["epoch"] for record in history), default=0)
    ratios = _values([r for r in history if SETTLED[0] * n < r["epoch"] <= SETTLED[1] * n], "update_ratio")
    if not ratios:
        return None
    ratio = float(np.median(ratios))
    found = "update-to-weight ratio", f"{ratio:.1e}"
    if ratio > RATIO[1] and not _improves(history):
        return *found, "updates are large for the weights, and the error no longer falls: lower the learning rate"
    if ratio < RATIO[0]:
        return *found, "updates are small for the weights (about 1e-3 is usual): raise the learning rate"
    return found


def _idle(history: Sequence[Record]) -> Found | None:
    """Judge units that are the same for all rows (section 15)."""
    if not history or history[-1].get("never_on") is None:
        return None
    return _idle_found(history[-1]["never_on"], history[-1]["always_on"])


def _idle_found(never: float, always: float) -> Found:
    found = "units always off, on", f"{100 * never:.0f} %, {100 * always:.0f} %"
    if never > LARGEST_SHARE:
        return (
            *found,
            "dead units: lower the learning rate, set a ",
            Mention("sparsity_target"),
            ", or use fewer hidden units",
        )
    if always > LARGEST_SHARE:
        decay, target = Mention("weight_decay"), Mention("sparsity_target")
        return *found, "saturated units: lower the learning rate, raise ", decay, ", or set a ", target
    return found


def variation(history: Sequence[Record]) -> Found | None:
    """Judge how much units vary over rows, if they are not off or on for all of them."""
    if not history or history[-1].get("deviation") is None:
        return None
    last = history[-1]
    return None if max(last["never_on"], last["always_on"]) > LARGEST_SHARE else _variation_found(last["deviation"])


def _variation_found(deviation: float) -> Found:
    found = "deviation of units", f"{deviation:.2g}"
    if deviation < LEAST_DEVIATION:
        return (
            *found,
            "units hardly vary: train longer, use fewer hidden units, standardise the features for the next model, or "
            "set ",
            Mention("learn_variance", True),
            " with Gaussian visible units",
        )
    return found


def _smoothed(errors: Sequence[float]) -> Float64Array:
    """Return the running mean of the errors over a tenth of the epochs."""
    width = max(1, round(WINDOW * len(errors)))
    return np.convolve(errors, np.full(width, 1 / width), mode="valid")


def _improves(history: Sequence[Record]) -> bool:
    """Return whether the reconstruction error still falls in the second half of a run."""
    errors = _values(history, "reconstruction_error")
    if not errors:
        return False
    smoothed = _smoothed(errors)
    return bool(smoothed[-1] < IMPROVING * smoothed[len(smoothed) // 2])


def _rise(history: Sequence[Record]) -> Found | None:
    """Look for a reconstruction error that has risen and stays there: the way in which a run begins to diverge.

    Rises within a run that it recovers from are the noise of large minibatch updates, and do no harm.
    """
    errors = _values(history, "reconstruction_error")
    if len(errors) < 2:
        return None
    smoothed = _smoothed(errors)
    least = int(np.argmin(smoothed))
    if smoothed[-1] <= max(LARGEST_RISE * smoothed[least], LEAST_ERROR * errors[0]):
        return "reconstruction error", f"{errors[0]:.4g} to {errors[-1]:.4g}"
    epoch = history[least + len(errors) - len(smoothed)]["epoch"]
    found = f"{errors[0]:.4g} to {smoothed[-1]:.4g}, after {smoothed[least]:.4g} in epoch {epoch}"
    return "reconstruction error", found, "it rose and stays high: lower the learning rate or the momentum"


def _gap(history: Sequence[Record]) -> Found | None:
    """Look for a growing gap of free energies between held-out and training rows (section 6)."""
    gaps = _values(history, "free_energy_gap")
    if not gaps:
        return None
    middle, last = gaps[len(gaps) // 2], gaps[-1]
    found = "free-energy gap", f"{last:.3g} nats"
    if last > SMALLEST_GAP and last > 2 * max(middle, 0.0):
        decay = Mention("weight_decay")
        return *found, "it grows: the model overfits; stop earlier, raise ", decay, ", or use fewer hidden units"
    return found


def rbm_health(rbm: Estimator, X: RowsLike) -> Health:
    """Check an RBM, or each layer of a DBN, by Hinton's guide.

    Dead and saturated units, and units that hardly vary, are looked for in ``X``; the size of updates, a
    reconstruction error that rises, and the free-energy gap (where rows were held out) in the history of training.

    Parameters
    ----------
    rbm : fitted RBM or DBN
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        Rows in the units of the training rows; at most the first 10,000 are used.

    Returns
    -------
    Health
        ``ok``, ``findings`` and ``advice``; prints as a table.

    Raises
    ------
    SettingError
        If the model is not a fitted RBM or DBN.
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
        records = [{**r, "never_on": None, "deviation": None} for r in rbm.history_ if r.get("layer", 1) == number]
        own = list(findings(records, number))
        if weights.hidden_unit.unit_interval:
            shares = [float(share) for share in idle_shares(bk, rows)]
            seen = {"never_on": shares[0], "always_on": shares[1], "deviation": float(deviation(bk, rows))}
            own[1:1] = [_finding(number, *f) for check in (_idle, variation) if (f := check([seen])) is not None]
        found += own
    return Health(tuple(found))
