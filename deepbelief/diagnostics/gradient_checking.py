"""`gradient_check`: comparison of the gradient with finite differences."""

import copy
import warnings
from typing import Any

import numpy as np
from sklearn.utils import get_tags

from deepbelief.backends import Backend
from deepbelief.diagnostics.differences import GradientCheck, compare
from deepbelief.diagnostics.objectives import NetworkObjective, machine_objectives
from deepbelief.errors import ClassesError, DataError, SettingError, SizingWarning
from deepbelief.estimators.base import check_backend, check_number
from deepbelief.estimators.dbn import DBN
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.tuning import FineTunedMixin, prepare
from deepbelief.seeds import host_rng, run_seed
from deepbelief.sources import is_source
from deepbelief.training import Reporter
from deepbelief.typing import Estimator, RandomState, RowsLike, TargetsLike


def gradient_check(
    model: Estimator,
    X: RowsLike,
    y: TargetsLike = None,
    *,
    n_elements: int = 100,
    backend: str | Backend | None = None,
    random_state: RandomState = 0,
) -> GradientCheck:
    """Compare the gradient that training follows with central finite differences, in float64.

    For a network it is the gradient of the mean loss plus the penalties, ``alpha / 2 * sum(W**2) + l1 * sum(abs(W))``,
    taken from an update of the engine; dropout drops the same units in every evaluation. For an `RBM`, and each layer
    of a `DBN`, it is the gradient of the mean free energy of the rows minus that of rows sampled from the machine,
    computed by `Machine.statistics`. This checks a unit type's mean and energy against its log-partition.

    The model is not changed. A fitted model is checked at its weights. A copy of an unfitted model is checked where
    `fit` would start fine-tuning (after pretraining) or, for machines, pretraining. A head whose weights are all 0, as
    at the start of a classifier, propagates no gradient: the copy gets small random weights.

    At most 30 of the rows, drawn at random, are used. Elements near a kink of the objective (of ReLU, hard tanh, L1 at
    0, or your own activation) are skipped and counted: there the central differences at h and h / 2 disagree, or the
    second differences do not have the ratio 4 to 1. This does not depend on the gradient under test.

    Parameters
    ----------
    model : DBNClassifier, DeepAutoencoder, DBN or RBM
        Your own units, activations and losses can be given as instances.
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
    y : array-like of shape (n_rows,), optional
        For models that need it; a fitted classifier needs rows of every class.
    n_elements : int, default=100
        Number of elements of each parameter array to check; they are drawn at random from a larger array.
    backend : {"numpy", "cupy"}, Backend or None, default=None
        None: the model's own.
    random_state : int, Generator or RandomState, default=0
        Draws rows, elements and dropout masks.

    Returns
    -------
    GradientCheck
        ``ok``, ``max_relative_error``, ``wrong`` and ``rows``, one for each parameter array; it prints as a table.

    Raises
    ------
    SettingError
        If the model is none of these, or has units without a free energy.
    DataError
        If the rows cannot be used.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import DBNClassifier, gradient_check
    >>> X, y = load_digits(return_X_y=True)
    >>> model = DBNClassifier((12,), activation="tanh", alpha=0.1, pretraining="none", random_state=0)
    >>> gradient_check(model, X[:50] / 16, y[:50]).ok
    True
    """
    check_number("n_elements", n_elements, low=1, integer=True)
    check_model(model, y, "gradient_check", machines=True)
    seed = run_seed(random_state)
    rng = host_rng(seed, "gradient check")
    own = private_copy(model, backend)
    bk = check_backend(own.backend, X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SizingWarning)  # no warnings about sizes here
        if isinstance(own, (RBM, DBN)):
            objectives: list[Any] = list(machine_objectives(own, _exact(X), bk, seed, rng))
        else:
            objectives = [_network_objective(own, _exact(X), y, bk, seed, rng)]
    for objective in objectives:
        if not np.isfinite(objective.terms()).all():
            raise DataError("the objective is not finite at these weights: train with a smaller learning rate")
    checks = [compare(objective, bk, int(n_elements), rng) for objective in objectives]
    return GradientCheck(tuple(row for check in checks for row in check.rows))


def _network_objective(
    own: Estimator, X: RowsLike, y: TargetsLike, bk: Backend, seed: int, rng: np.random.Generator
) -> NetworkObjective:
    own.warm_start = hasattr(own, "coefs_")  # a fitted model is checked as it is
    try:
        problem = prepare(own, X, y, bk, Reporter())
    except ClassesError as error:
        raise DataError(
            f"the model is fitted to classes {error.expected}, y has {error.given}: give rows of every class"
        ) from error
    return NetworkObjective(problem, bk, seed, rng)


def check_model(model: Estimator, y: TargetsLike, what: str, *, machines: bool) -> None:
    """Refuse models that a diagnostic cannot check, and missing targets."""
    name = type(model).__name__ if not isinstance(model, type) else f"the class {model.__name__}"
    is_machine = isinstance(model, (RBM, DBN))
    if not (is_machine or isinstance(model, FineTunedMixin)):
        raise SettingError(
            f"{what} takes {'an RBM, a DBN or ' if machines else ''}an estimator that is fine-tuned, such as "
            f"DBNClassifier() or DeepAutoencoder(), got {name}"
        )
    if is_machine and not machines:
        raise SettingError(
            f"{what} takes an estimator that is fine-tuned, such as DBNClassifier() or DeepAutoencoder(): {name} has "
            "no loss that could fall to 0"
        )
    if y is None and get_tags(model).target_tags.required:
        raise DataError(f"{what} of {name} needs y, the targets of the rows")


def private_copy(model: Estimator, backend: str | Backend | None = None) -> Estimator:
    """Return an estimator that shares arrays with the model and can be changed without changing the model."""
    own = copy.copy(model)
    own.random_state = copy.deepcopy(model.random_state)  # drawing from a generator changes its state
    own.verbose = 0
    if backend is not None:
        own.backend = backend
    return own


def _exact(X: RowsLike) -> RowsLike:
    """Return rows in float64, so that derived arrays are too; other inputs are left to the checks of rows."""
    if is_source(X):
        return X
    try:
        return X.astype(np.float64) if hasattr(X, "astype") else np.asarray(X, np.float64)
    except (TypeError, ValueError):
        return X
