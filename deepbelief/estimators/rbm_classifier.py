"""Classification RBM: a joint model of rows and labels, which classifies rows and samples rows of a class."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from deepbelief.backends import Backend
from deepbelief.errors import DataError, FileFormatError, Mention, SettingError, unknown
from deepbelief.estimators.base import (
    check_backend,
    check_number,
    check_rows_and_targets,
    held_out_share,
    on_device,
    rbm_settings,
    rows_to_use,
    warn_diverged,
)
from deepbelief.estimators.constructors import RunParameters, TemplatedEstimator
from deepbelief.estimators.documented import documented
from deepbelief.estimators.fitted import FittedState
from deepbelief.estimators.generative import drawn
from deepbelief.estimators.labels import class_weights, repeated, share_right
from deepbelief.estimators.outcome import check_outcome, sample_index
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.rbm_state import machine_state, restore_machine
from deepbelief.estimators.resolution import layer_choices
from deepbelief.estimators.row_labels import beside, labelled_part, labelled_weights, log_joint
from deepbelief.estimators.sample_weights import present_rows
from deepbelief.estimators.tables import schema_of, table_settings
from deepbelief.hyperparameters import EXECUTION
from deepbelief.layer import LayerState, RBMSettings
from deepbelief.likelihood.row_likelihood import LogLikelihood, labelled_log_likelihood
from deepbelief.losses import SoftmaxNLL
from deepbelief.pretraining import pretrain
from deepbelief.seeds import run_seed
from deepbelief.sizing import warn_batch_size
from deepbelief.sources import OF_DENSITIES, OF_NETWORKS, SubsetSource, as_source, counted, weights_of
from deepbelief.stack import Stack, Weights
from deepbelief.training import Run, get_reporter, split_rows
from deepbelief.typing import Array, ClassWeight, DeviceArray, RandomState, RowsLike, StrDict, TargetsLike, WeightsLike
from deepbelief.units import get_unit


@documented(EXECUTION)
@dataclass(eq=False, repr=False, kw_only=True)
class RBMClassifier(RunParameters, ClassifierMixin, TemplatedEstimator):
    """Restricted Boltzmann machine for rows and labels together (classification RBM).

    The label is a softmax group of visible units. The RBM is trained as a joint model of rows and labels, so it can
    draw rows from a class; p(y | v) is exact. Gaussian columns are scaled by their standard deviation within classes.

    Parameters
    ----------
    n_components : int, default=256
        Number of hidden units.
    rbm : RBM or None, default=None
        Settings of training; None means ``RBM(averaging=0.5)``: the mean of the weights over the second half of
        training predicts better than the final weights, which vary between seeds. Its ``n_components``, ``backend``,
        ``verbose``, ``warm_start`` and ``random_state`` are ignored here, and ``visible`` is the unit type of the rows.
    class_weight : dict, "balanced" or None, default=None
        Weights of rows by class: a weight of 2 counts as two copies of the row. Rows are repeated in proportion to
        these weights, up to 10 times their number; beyond that, rows of classes with small weights are left out.
        ``"balanced"`` gives all classes the same total weight: use it if some classes have few rows.
    unlabeled : "auto", None or label, default="auto"
        Mark of rows without a label, as in `DBNClassifier`; such rows are left out.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    weights_ : Weights
        Weights of the machine; its last ``n_classes`` visible units are the labels.
    n_unlabeled_ : int
        Number of rows that had no label.
    h_samples_ : ndarray of shape (n_chains, n_components)
        Hidden states of the last negative phase.
    history_ : list of dict
    resolved_ : dict
        Value of each setting of ``rbm`` that was ``"auto"``, and the reason for it, named ``rbm__NAME``.
    n_features_in_ : int

    References
    ----------
    Larochelle and Bengio, "Classification using discriminative restricted Boltzmann machines", ICML 2008.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import RBM, RBMClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = RBMClassifier(100, rbm=RBM(n_iter=30), random_state=0).fit(X[300:] / 16, y[300:])
    >>> clf.score(X[:300] / 16, y[:300]) > 0.9
    True
    >>> clf.sample([3, 7], n_steps=100).shape
    (2, 64)
    """

    n_components: int = field(default=256, kw_only=False)
    rbm: RBM | None = None
    class_weight: ClassWeight = None
    unlabeled: object = "auto"

    weights_: Weights = field(init=False)
    h_samples_: Array = field(init=False)
    history_: list[StrDict] = field(init=False)
    classes_: Array = field(init=False)
    n_unlabeled_: int = field(init=False)
    _state: LayerState = field(init=False)
    _seed: int = field(init=False)
    _draws: int = field(init=False)

    @property
    def _n_labels(self) -> int:
        return len(self.classes_)

    def _get_state(self) -> FittedState:
        state = machine_state(self, classes=self.classes_)
        return replace(state, values={**state.values, "n_unlabeled": self.n_unlabeled_})

    def _set_state(self, state: FittedState) -> None:
        restore_machine(self, state, self._settings())
        self.classes_, self.n_unlabeled_ = state.classes(), state.count("n_unlabeled", 0)
        if getattr(get_unit(self.weights_.visible), "n_labels", 0) != len(self.classes_):
            raise FileFormatError(
                f"{len(self.classes_)} classes, but {self.weights_.visible} visible units in the file"
            )

    def fit(self, X: RowsLike, y: TargetsLike, sample_weight: WeightsLike = None) -> Self:
        """Train on rows and labels.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
            At least two classes; rows may be unlabelled (see ``unlabeled``).
        sample_weight : array-like of shape (n_rows,), optional
            As in `RBM.fit`.

        Returns
        -------
        RBMClassifier
            Itself.

        Raises
        ------
        DataError, SettingError, BackendError, DivergenceError
        """
        bk, reporter = check_backend(self.backend, X), get_reporter(self.verbose)
        X, y, row_weights = present_rows(X, sample_weight, y)
        source, y = check_rows_and_targets(self, X, y, bk, reset=True, weights=row_weights)
        settings = self._settings(source.shape[0])
        source, numbers, classes = labelled_part(source, y, self.unlabeled, reporter)
        self.n_unlabeled_ = len(y) - len(numbers)
        of_source = numbers
        seed = run_seed(self.random_state)
        joined = beside(source, np.eye(len(classes), dtype=np.uint8)[numbers])
        held_out = None
        if share := held_out_share(float(self._template.validation_fraction), settings):
            joined, held_out, kept, _ = split_rows(joined, share, seed, numbers)
            numbers = numbers[kept]
        if self.class_weight is not None:
            index = repeated(class_weights(classes[numbers], self.class_weight), numbers, seed)
            joined, numbers = SubsetSource(joined, index), numbers[index]
        warn_batch_size(settings.batch_size, joined.shape[0], bk.least_batch)
        own = weights_of(joined)
        counts = np.bincount(numbers, None if own is None else counted(own), len(classes))
        shares = (counts + 1) / (counts.sum() + len(classes))
        weights = labelled_weights(source, int(self.n_components), shares, settings, seed, of_source)
        run, start = Run(bk, seed, reporter), Stack((weights,))
        result = pretrain(joined, [int(self.n_components)], [settings], run, held_out=held_out, start=start)
        self.classes_ = classes
        self.weights_ = result.stack.layers[0]
        self._state = result.states[0]
        self.h_samples_ = result.negative_states
        self.history_ = result.history
        self.resolved_ = dict(layer_choices(self, result.stack, result.resolved, self._template.visible))
        self._seed, self._draws = seed, 0
        warn_diverged(result.diverged)
        if not result.diverged:
            index = sample_index(len(numbers))
            output = np.exp(self.predict_log_proba(as_source(joined.take(index)[:, : self._n_data])))
            check_outcome(self, SoftmaxNLL(), output, shares, numbers[index], None)
        return self

    @property
    def _n_data(self) -> int:
        """Number of visible units without those of the labels."""
        return self.weights_.n_visible - len(self.classes_)

    @property
    def _template(self) -> RBM:
        return RBM(averaging=0.5) if self.rbm is None else self.rbm

    def _settings(self, n_rows: int = 0) -> RBMSettings:
        """Return the checked settings."""
        if not isinstance(self._template, RBM):
            raise SettingError(f"rbm must be an RBM or None, got {self.rbm!r}")
        check_number("n_components", self.n_components, low=1, integer=True)
        settings = rbm_settings(self._template)
        if not get_unit(settings.hidden).tractable:
            reason = " has no free energy to classify by: use 'bernoulli'"
            raise SettingError(Mention("hidden", settings.hidden), reason)
        return table_settings(settings, schema_of(self), int(self.n_components), n_rows)

    def _joint(self, X: RowsLike, beyond: float = OF_NETWORKS) -> tuple[Array, Backend]:
        """Return log p(v, y) up to log Z for every class, of shape (n_rows, n_classes)."""
        check_is_fitted(self, "weights_")
        bk = check_backend(self.backend, X)
        return log_joint(self.weights_, rows_to_use(self, X, bk, fill=False), len(self.classes_), bk, beyond), bk

    def predict_log_proba(self, X: RowsLike) -> DeviceArray:
        """Return the exact log p(y | v), with columns as in `predict_proba`.

        Missing values (NaN) are summed out: exactly with at most 12 Bernoulli hidden units, otherwise by a mean-field
        bound for each class.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            CuPy if X is.
        """
        joint, bk = self._joint(X)
        return on_device(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True), X, bk)

    def predict_proba(self, X: RowsLike) -> DeviceArray:
        """Return the exact class probabilities p(y | v); for missing values see `predict_log_proba`.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            CuPy if X is.
        """
        joint, bk = self._joint(X)
        return on_device(np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)), X, bk)

    def predict(self, X: RowsLike) -> Array:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        best = self._joint(X)[0].argmax(axis=1)
        return self.classes_[best]  # type: ignore[no-any-return]

    def score(self, X: RowsLike, y: TargetsLike, sample_weight: WeightsLike = None) -> float:
        """Return the accuracy on the rows with a label.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
            Missing labels are left out, as is the mark of unlabelled rows (see ``unlabeled``) unless it is one of
            ``classes_``.
        sample_weight : array-like of shape (n_rows,), optional

        Returns
        -------
        float

        Raises
        ------
        DataError
            If no row has a label.
        """
        return share_right(y, self.predict(X), self.classes_, self.unlabeled, sample_weight)

    def free_energy(self, X: RowsLike) -> Array:
        """Return F(v) = -log of the sum of exp(-E(v, y, h)) over labels and hidden states, in nats.

        Values of different models are not comparable. For missing values see `predict_log_proba`.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        return -np.logaddexp.reduce(self._joint(X, OF_DENSITIES)[0], axis=1)  # type: ignore[no-any-return]

    def log_likelihood(self, X: RowsLike, *, method: str = "auto", **ais: Any) -> LogLikelihood:
        """Return log p(v), summed over the labels, with the uncertainty of log Z; see `RBM.log_likelihood`.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
            0 and 1 for Bernoulli visible units. Missing values (NaN) are summed out as in `RBM.log_likelihood`.
        method : {"auto", "exact", "ais"}, default="auto"
            Method of computing log Z; ``"auto"`` enumerates if one side of the RBM is small.
        **ais
            Further arguments of `deepbelief.likelihood.ais_log_z`, such as ``n_runs`` and ``betas``.

        Returns
        -------
        LogLikelihood
        """
        check_is_fitted(self, "weights_")
        bk = check_backend(self.backend, X)
        source = rows_to_use(self, X, bk, fill=False)
        return labelled_log_likelihood(self.weights_, source, method=method, backend=bk, **ais)

    def sample(
        self, y: TargetsLike, *, n_steps: int = 1000, method: str = "auto", temperature: float = 1.0,
        clamp: RowsLike = None, missing: bool = False, random_state: RandomState = None,
    ) -> RowsLike:  # fmt: skip
        """Draw one row for each of the given classes by Gibbs sampling with the label clamped.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Classes.
        n_steps : int, default=1000
            Gibbs steps of each chain.
        method : {"auto", "gibbs", "pt", "ptt"}, default="auto"
            As in `RBM.sample`.
        temperature : float, default=1.0
            As in `RBM.sample`.
        clamp : array-like of shape (n_features,) or (n_samples, n_features), mapping or table, optional
            As in `RBM.sample`.
        missing : bool, default=False
            As in `RBM.sample`.
        random_state : int, Generator or None
            None: continue with the model's own stream, so that two calls differ.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Means of the visible units given the last hidden states.

        Raises
        ------
        DataError
            If a class is not one of ``classes_``.
        """
        check_is_fitted(self, "weights_")
        wanted = np.atleast_1d(np.asarray(y))
        for label in wanted.ravel():
            if wanted.ndim != 1 or label not in self.classes_:
                raise DataError(unknown("class", label.item(), map(str, self.classes_)))
        labels = np.eye(len(self.classes_))[np.searchsorted(self.classes_, wanted)]
        return drawn(
            self, Stack((self.weights_,)), self.h_samples_, len(wanted), n_steps=n_steps, method=method,
            temperature=temperature, clamp=clamp, missing=missing, random_state=random_state, labels=labels,
            ladder=self._state.arrays.get("gradient"),
        )  # fmt: skip

    def __sklearn_tags__(self) -> Tags:
        """Declare support for sparse input and missing values."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = True
        return tags
