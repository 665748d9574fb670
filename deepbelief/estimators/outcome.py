"""Checks of the result of a fit: constant outputs, losses at chance level, and rows in other units than the stack's."""

import warnings

import numpy as np

from deepbelief.backends import get_backend
from deepbelief.errors import DataWarning, Mention, Message, TrainingWarning, user_level
from deepbelief.health import variation
from deepbelief.likelihood import unnormalised
from deepbelief.losses import Loss
from deepbelief.recipes.resolved import in_effect
from deepbelief.sources import ColumnStatistics, RowSource, as_source
from deepbelief.stack import Stack, Weights
from deepbelief.typing import Array, Estimator
from deepbelief.units import states_of

MAX_SAMPLE = 1000  # maximum number of rows to check
MIN_GAIN = 0.02  # share of the loss of constant outputs by which a model must improve on it
MIN_EPOCHS = 10  # fine-tuning epochs below which a run is treated as a trial
MIN_RANGE = 1e-3  # of outputs that depend on the row, as a share of the largest
MAX_PCA_COLUMNS = 500  # an eigenvalue problem of this size takes a tenth of a second
MAX_PCA_RATIO = 1.5  # of the squared error of an autoencoder to that of PCA
SMALL_ERROR = 0.01  # share of the variance; PCA of rows with few distinct values is exact, unlike any network
MAX_RATIO = 10.0  # largest ratio of standard deviations or means of columns in the same units
MAX_MEAN = 0.5  # nats; larger than the error of log Z along a ladder
MAX_SHIFT = 5.0  # largest difference between means of columns in the same units, in standard deviations


def sample_index(n_rows: int) -> Array:
    """Return the numbers of evenly spaced rows."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, MAX_SAMPLE)).round().astype(np.intp))


def sample_rows(rows: RowSource) -> Array:
    """Return evenly spaced rows."""
    return rows.take(sample_index(rows.shape[0]))


def check_outcome(
    estimator: Estimator, loss: Loss, output: Array, constant: Array, target: Array, weights: Array | None
) -> bool:
    """Warn of outputs that are hardly better than constant ones, and return whether this is so.

    Parameters
    ----------
    estimator : estimator
        It has done its epochs.
    loss : Loss
    output : ndarray of shape (n_rows, n_outputs)
        Outputs of the fitted model for training rows.
    constant : ndarray of shape (n_outputs,)
        The best outputs that do not depend on the row.
    target : ndarray
        As the loss takes them.
    weights : ndarray of shape (n_rows,), optional
    """
    if _epochs(estimator) < MIN_EPOCHS:
        return False
    base = np.tile(np.asarray(constant, output.dtype), (len(output), 1))
    with np.errstate(all="ignore"):
        own, other = (
            float(np.average(loss.values(get_backend("numpy"), each, target), weights=weights))
            for each in (output, base)
        )
    if not (other > 0 and own > (1 - MIN_GAIN) * other):
        return False
    found = f"the loss of training rows, {own:.4g}, is not below that of constant outputs, {other:.4g}"
    if float(np.ptp(output, axis=0).max()) <= MIN_RANGE * float(np.abs(output).max()):
        found = "its outputs are the same for all rows"
    _warn(f"{type(estimator).__name__} has learned nothing from these rows: {found}. ", _advice(estimator))
    return True


def _epochs(estimator: Estimator) -> int:
    return int(getattr(estimator, "n_iter_", len(estimator.history_)))


def _advice(estimator: Estimator) -> Message:
    """Return advice for a model that has learned nothing."""
    dropped = any(np.any(in_effect(estimator, name)) for name in ("dropout", "input_dropout"))
    ways: list[str | Mention] = ["less dropout, "] if dropped else []
    if hasattr(estimator, "activation"):
        ways += ["a larger ", Mention("max_iter"), ", ", Mention("activation", "tanh"), ", ", Mention("solver", "adam")]
    else:
        ways += ["more epochs, a larger learning rate"]
    return Message("Try ", *ways, ", or check that the targets depend on the columns.")


def check_variation(rbm: Estimator) -> None:
    """Warn of features that hardly vary, from which a regularised model learns little.

    Parameters
    ----------
    rbm : RBM
        It has done its epochs.
    """
    found = variation(rbm.history_) if len(rbm.history_) >= MIN_EPOCHS else None
    if found is not None and len(found) > 2:
        told = f"features have a standard deviation of {found[1]} over the rows: "
        _warn(told, *found[2:], symptom="flat-features")


def check_ladder(estimator: Estimator, source: RowSource) -> None:
    """Warn of a trajectory-tempering ladder that may have lost a mode.

    This is the case if its chains did not meet after a checkpoint, or its log Z gives discrete rows a mean probability
    above 1.

    Parameters
    ----------
    estimator : estimator with ``weights_``
        It has done its epochs.
    source : RowSource
        The training rows.
    """
    last = estimator.history_[-1] if estimator.history_ else {}
    if "unmet" not in last:
        return
    advice = Message(
        "Lower the learning rate, or raise ", Mention("n_chains"), " or PTT(max_sweeps=); compare with ladder_log_z"
    )
    if last["unmet"]:
        _warn(
            f"the chains of {last['unmet']} checkpoints of ",
            Mention("gradient", "ptt"),
            " had not met within `max_sweeps` sweeps: modes may have wrong weights. ",
            advice,
            symptom="unmet-ladder",
        )
    weights, rows = estimator.weights_, sample_rows(source)
    if not weights.visible_unit.discrete:
        return
    low, high = states_of(weights.visible_unit, rows.shape[1])
    if not ((rows == low) | (rows == high)).all():
        return
    mean = float(unnormalised(Stack((weights,)), as_source(rows)).mean()) - last["log_z"]
    if mean > MAX_MEAN:
        _warn(
            f"the training rows have a mean log-likelihood of {mean:.2f} by the ladder of ",
            Mention("gradient", "ptt"),
            ", a probability above 1: it has lost a mode. ",
            advice,
            symptom="unmet-ladder",
        )


def check_against_pca(
    autoencoder: Estimator, output: Array, rows: Array, first: Weights, n_code: int, advice: Message
) -> None:
    """Warn of reconstructions that are much worse than those of PCA with the same code size.

    They must be worse both in the units of the data and in those of the network, where all columns have equal weight:
    errors in the data's units depend mostly on the largest columns, but the network is trained on standardised ones.

    Parameters
    ----------
    autoencoder : estimator
        It has done its epochs.
    output, rows : ndarray of shape (n_rows, n_features)
        Reconstructions and rows in the units of the network.
    first : Weights
        Weights of the first layer.
    n_code : int
    advice : Message
        What to try first.
    """
    if _epochs(autoencoder) < MIN_EPOCHS or rows.shape[1] > MAX_PCA_COLUMNS or len(rows) < 2 * rows.shape[1]:
        return
    if not _times_pca(output, rows, n_code)[0] > MAX_PCA_RATIO:
        return
    ratio, own = _times_pca(first.leave(output), first.leave(rows), n_code)
    if ratio > MAX_PCA_RATIO:
        _warn(
            f"the squared error of reconstructions, {own:.4g} per row, is {ratio:.2g} times that of PCA with "
            f"{n_code} components. Try ",
            advice,
            "rbm=RBM(hidden='rectified', n_iter=20), fewer layers or a larger ",
            Mention("max_iter"),
            "; scale the columns first if those with large values dominate.",
            symptom="worse-than-pca",
        )


def _times_pca(output: Array, rows: Array, n_code: int) -> tuple[float, float]:
    """Return the ratio of the squared error per row to that of PCA, or 0 if the error is small; and the error."""
    centred = np.asarray(rows - rows.mean(axis=0), np.float64)
    variances = np.maximum(np.linalg.eigvalsh(centred.T @ centred / len(rows)), 0)
    least = float(variances[:-n_code].sum())
    own = float(np.square(output - rows, dtype=np.float64).sum(axis=1).mean())
    return own / least if least > 0 and own > SMALL_ERROR * variances.sum() else 0.0, own


def _warn(*parts: object, symptom: str = "learned-nothing") -> None:
    warnings.warn(TrainingWarning(*parts, symptom=symptom), stacklevel=user_level())


def check_units(first: Weights, statistics: ColumnStatistics) -> None:
    """Warn of rows in other units than the training rows of a stack."""
    by_means = first.visible_unit.unit_interval
    if by_means and first.mean is not None and first.scale is not None:
        statistics = statistics.scaled(first.mean, first.scale)
    mean, deviation = statistics.mean, np.sqrt(statistics.var)
    if not by_means and first.mean is not None and first.scale is not None:
        alive = deviation > 0
        if not alive.any():
            return
        ratio = float(np.median(deviation[alive] / first.scale[alive]))
        shift = float(np.median(np.abs(mean - first.mean) / first.scale))
        told = f"standard deviations are {ratio:.3g} times and means {shift:.3g} standard deviations away from those"
    else:
        of_stack = float(first.visible_mean.mean()) if first.visible_mean is not None else 0.0
        if not of_stack > 0:
            return
        ratio, shift = float(np.abs(mean).mean()) / of_stack, 0.0
        told = f"their mean is {ratio:.3g} times that"
    if 1 / MAX_RATIO <= ratio <= MAX_RATIO and shift <= MAX_SHIFT:
        return
    message = (
        f"the rows have other units than those of the pretrained stack: {told} of its training rows. "
        "Scale the rows in the same way, or pretrain on these rows"
    )
    warnings.warn(DataWarning(message, symptom="other-units"), stacklevel=user_level())
