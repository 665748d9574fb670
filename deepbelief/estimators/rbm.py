"""Restricted Boltzmann machine as a scikit-learn transformer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from deepbelief.backends import Backend
from deepbelief.bounds import check_number
from deepbelief.checkpoints import NO_CHECKPOINTS, Checkpointer, checkpointing
from deepbelief.checkpoints.checkpointer import Describe
from deepbelief.errors import Mention, SettingError
from deepbelief.estimators.base import (
    Pretraining,
    check_backend,
    check_rows,
    on_device,
    pretraining_on,
    rbm_settings,
    warn_diverged,
)
from deepbelief.estimators.constructors import DocumentationLinkMixin, MachineParameters, ResumableParameters
from deepbelief.estimators.density_settings import density_settings
from deepbelief.estimators.documented import documented
from deepbelief.estimators.fitted import FittedState
from deepbelief.estimators.generative import GenerativeMixin, ImputationMixin, predicting_arrays
from deepbelief.estimators.outcome import check_ladder, check_variation
from deepbelief.estimators.rbm_state import constant_columns, machine_state, restore_machine, scale_new_columns
from deepbelief.estimators.resolution import layer_choices
from deepbelief.estimators.run_fingerprint import describe_run
from deepbelief.estimators.sample_weights import present_rows
from deepbelief.estimators.scores import ScoredMixin
from deepbelief.estimators.tables import schema_of, table_settings
from deepbelief.gradients import get_gradient
from deepbelief.hyperparameters import EXECUTION, MACHINE
from deepbelief.layer import LayerState, LayerTrainer, RBMSettings, initial_weights
from deepbelief.pretraining import FirstRows, transform
from deepbelief.row_windows import memory_bytes
from deepbelief.sizing import warn_batch_size
from deepbelief.sources import OF_DENSITIES, OF_NETWORKS, RowSource, checked
from deepbelief.stack import Stack, Weights
from deepbelief.training import Rows, Run, get_reporter
from deepbelief.typing import Array, DeviceArray, RowsLike, StrDict, TargetsLike, WeightsLike
from deepbelief.units import named_unit


class WeightsMixin:
    """``components_``, ``intercept_hidden_`` and ``intercept_visible_`` of an estimator with ``weights_``."""

    weights_: Weights

    @property
    def components_(self) -> Array:
        """Weights, of shape (n_components, n_features)."""
        return self._fitted("components_").W.T

    @components_.setter
    def components_(self, value: Array) -> None:
        self.weights_ = replace(self._fitted("components_"), W=np.ascontiguousarray(value.T))

    @property
    def intercept_hidden_(self) -> Array:
        """Hidden biases, of shape (n_components,)."""
        return self._fitted("intercept_hidden_").hbias

    @intercept_hidden_.setter
    def intercept_hidden_(self, value: Array) -> None:
        self.weights_ = replace(self._fitted("intercept_hidden_"), hbias=value)

    @property
    def intercept_visible_(self) -> Array:
        """Visible biases, of shape (n_features,)."""
        return self._fitted("intercept_visible_").vbias

    @intercept_visible_.setter
    def intercept_visible_(self, value: Array) -> None:
        self.weights_ = replace(self._fitted("intercept_visible_"), vbias=value)

    def _fitted(self, name: str) -> Weights:
        if not hasattr(self, "weights_"):
            raise AttributeError(f"{name} is only available after fit")
        return self.weights_


@documented(MACHINE, EXECUTION)
@dataclass(eq=False, repr=False)
class RBM(
    ResumableParameters,
    MachineParameters,
    WeightsMixin,
    ScoredMixin,
    GenerativeMixin,
    ImputationMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    DocumentationLinkMixin,
    BaseEstimator,
):
    """Restricted Boltzmann machine, a drop-in for `sklearn.neural_network.BernoulliRBM`.

    Parameters
    ----------
    n_components : int, default=256
        Number of hidden units.
    warm_start : bool, default=False
        `fit` continues from the weights, velocities and chains of the last `fit`.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
    intercept_hidden_ : ndarray of shape (n_components,)
    intercept_visible_ : ndarray of shape (n_features,)
    h_samples_ : ndarray of shape (n_chains, n_components)
        Hidden states of the last negative phase.
    weights_ : Weights
    history_ : list of dict
    resolved_ : dict
        Value of each setting that was ``"auto"``, and the reason for it. `partial_fit` does not set it.
    schema_ : Schema
        Kinds of the columns of a table; only after a fit on a table of mixed columns.
    n_features_in_ : int
    n_iter_ : int
        Epochs done.

    Notes
    -----
    A pandas or polars DataFrame, a pyarrow Table or a mapping of columns may contain numbers, booleans, categories and
    missing values. Each column then becomes a group of softmax units: a category has one unit per value, a number one
    unit for each of at most 20 bins of its range, with smoothed weights. Columns with a single value, columns with
    more than 100 categories, and text columns that identify rows are left out, with a `DataWarning`. A column has two
    more units, for "present" and "missing", if 5 % to 95 % of its values are missing, at least 10 of them, and this
    depends on other columns. `sample`, `impute`, `inverse_transform` and `gibbs` then return tables.

    For such a table the automatic settings are ``gradient="pcd"`` with 128 chains, ``gibbs_steps=5``,
    ``centered=True``, ``solver="adam"`` with a rate of 0.005 for up to 256 hidden units and less for more,
    ``weight_decay=3e-4``, ``averaging=0.25``, minibatches of 128 rows, and about 2,000 updates. Weights for imputation
    are trained along with the machine: `deepbelief.components.MultiPrediction`.

    An array with one-hot groups (``visible="softmax:3,2"``, ``"groups"`` and the like) is trained as a density too,
    if none of ``gradient``, ``solver`` and ``learning_rate`` is given: the same settings, but with 500 chains,
    ``gibbs_steps=1`` and about 6,000 updates. 20 hidden units on `mushrooms` reach -9.5 nats per test row
    with these settings, and -10.4 by PCD at a rate of 0.3 without Adam (``benchmarks/binary_sets.py``). With
    ``visible="groups"`` this also holds for 0/1 columns without groups.

    A table that contains only numbers without missing values, or only booleans, is treated as an array with column
    names.

    References
    ----------
    Hinton, "A practical guide to training restricted Boltzmann machines", UTML TR 2010-003.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RBM
    >>> X = np.array([[0, 0, 1, 1], [1, 1, 0, 0]] * 20)
    >>> rbm = RBM(n_components=2, random_state=0).fit(X)
    >>> rbm.transform(X[:2]).shape
    (2, 2)
    """

    history_: list[StrDict] = field(init=False)
    _seed: int = field(init=False)

    def fit(self, X: RowsLike, y: TargetsLike = None, sample_weight: WeightsLike = None) -> Self:
        """Train on rows.

        NaN in an array is a missing value: the model maximises the likelihood of the observed values, on the
        assumption that values are missing at random. The hidden states of all rows are kept in memory. Rows from files,
        sparse rows and rows to which ``binarize`` applies must be complete.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        y : ignored
        sample_weight : array-like of shape (n_rows,), optional
            Weights of the rows: a weight of 2 counts as two copies of the row, a weight of 0 as none. Only ratios
            matter: the gradient of each row is multiplied by its weight and divided by the mean weight.

        Returns
        -------
        RBM
            Itself.

        Raises
        ------
        DataError, SettingError, BackendError, DivergenceError
        """
        self._fit(X, sample_weight)
        check_variation(self)
        return self

    def _fit(self, X: RowsLike, sample_weight: WeightsLike) -> None:
        """Train on rows for their density, without the warning about features that hardly vary."""
        bk = check_backend(self.backend, X)
        X, _, weights = present_rows(X, sample_weight)
        again = bool(self.warm_start) and hasattr(self, "weights_")
        source = check_rows(self, X, bk, reset=not again, min_rows=2, weights=weights)
        settings = self._settings(source.shape[0])
        if again and self.n_components != self.weights_.n_hidden:
            raise SettingError(
                f"warm_start continues with {self.weights_.n_hidden} hidden units, got ",
                Mention("n_components", self.n_components),
            )
        warn_batch_size(settings.batch_size, source.shape[0], bk.least_batch)
        with checkpointing(self.checkpoint) as checkpointer:
            result = self._pretraining(source, settings, bk, checkpointer, again)()
        self.weights_, self._state = result.stack.layers[0], result.states[0]
        self.h_samples_ = result.negative_states
        self.history_ = (self.history_ if again else []) + result.history
        self.resolved_ = dict(layer_choices(self, result.stack, result.resolved, self.visible, prefix=""))
        warn_diverged(result.diverged)
        check_ladder(self, source)

    def _settings(self, n_rows: int = 0) -> RBMSettings:
        """Return the checked settings."""
        settings = rbm_settings(self)
        check_number("n_components", self.n_components, low=1, integer=True)
        n_hidden, schema = int(self.n_components), schema_of(self)
        if schema is None:
            return density_settings(settings, n_hidden, n_rows)
        return table_settings(settings, schema, n_hidden, n_rows, imputes=True)

    def _get_state(self) -> FittedState:
        return machine_state(self)

    def _set_state(self, state: FittedState) -> None:
        restore_machine(self, state, self._settings())

    def _imputing(self) -> Mapping[str, Array]:
        return predicting_arrays(self._state.arrays)

    def _pretraining(
        self, source: RowSource, settings: RBMSettings, bk: Backend, checkpointer: Checkpointer, again: bool
    ) -> Pretraining:
        start = [*self.weights_.arrays().values(), np.array(self._state.epochs)] if again else []
        seed = self._seed_of_run(again, checkpointer, partial(describe_run, self, source, start=start))
        run = Run(bk, seed, get_reporter(self.verbose), checkpointer, memory_limit=memory_bytes(self.memory_limit))
        return pretraining_on(
            source, [int(self.n_components)], [settings], float(self.validation_fraction), run,
            start=Stack((self.weights_,)) if again else None, states=[self._state] if again else None,
        )  # fmt: skip

    def partial_fit(self, X: RowsLike, y: TargetsLike = None) -> Self:
        """Train for one pass over these rows, in order and in minibatches; the first call also initialises the weights.

        With ``momentum="auto"`` CD uses 0.5 for the first 500 updates and 0.9 afterwards. The learning rate is
        constant and weights are not averaged. The first batch also determines the type of the visible units and the
        mean and scale of each column; if a column is constant in it, its mean and scale come from the first batch in
        which it varies.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        y : ignored

        Returns
        -------
        RBM
            Itself.
        """
        bk = check_backend(self.backend, X)
        again = hasattr(self, "weights_")
        source = check_rows(self, X, bk, reset=not again)
        settings = self._settings()
        if not again:
            self._seed_of_run(again=False)
            self._state = LayerState()
        if again:
            waiting = getattr(self, "_unscaled", None)
            self.weights_, self._unscaled = scale_new_columns(self.weights_, waiting, source, settings)
        first = FirstRows.of(
            source, None, settings, self._seed, self.weights_ if again else None, epoch=(self._state.epochs,)
        )
        if not again:
            visible = settings.visible if isinstance(settings.visible, str) else named_unit(settings.visible)
            unit, mean, scale, visible_mean = first.visible(visible, settings)
            self.weights_ = initial_weights(
                int(self.n_components), unit, named_unit(self.hidden), mean, scale, visible_mean,
                seed=self._seed, layer=0, sparsity_target=self.sparsity_target,
            )  # fmt: skip
            self.history_ = []
            self._unscaled = None if mean is None else constant_columns(source)
        beyond = OF_NETWORKS if settings.scale == "minmax" else OF_DENSITIES
        rows = first.drawn if first.entered else checked(source, self.weights_, beyond)
        self._train_once(rows, replace(settings, binarize=None, averaging=0.0, missing=first.missing), bk)
        return self

    def _train_once(self, entering: RowSource, settings: RBMSettings, bk: Backend) -> None:
        momentum = settings.momentum
        if momentum == "auto" and get_gradient(settings.gradient, 1).momentum == "auto":
            momentum = 0.5 if self._state.updates < 500 else 0.9
        batch_size = 10 if settings.batch_size == "auto" else settings.batch_size
        settings = replace(
            settings, visible=self.weights_.visible, momentum=momentum, schedule="constant", batch_size=batch_size
        ).resolve(entering.shape[0], self.weights_.n_visible, self.weights_.n_hidden, self.weights_.visible_mean)
        epoch, run = self._state.epochs, Run(bk, self._seed, get_reporter(self.verbose))
        trainer = LayerTrainer(self.weights_, settings, run, layer=0, horizon=epoch + 1, state=self._state)
        rows = Rows(entering, bk, trainer.machine.dtype, memory_bytes(self.memory_limit))
        labels: StrDict = {"phase": "partial_fit"}
        labels |= {} if self.binarize is None else {"binarize": self.binarize}
        self.history_ += trainer.train(rows, None, range(epoch, epoch + 1), shuffle=False, **labels)
        self.weights_ = trainer.machine.weights()
        self._state = trainer.export_state()
        self.h_samples_ = trainer.negative_states(self._seed)
        warn_diverged(trainer.diverged)

    def _seed_of_run(
        self,
        again: bool,
        checkpointer: Checkpointer = NO_CHECKPOINTS,
        describe: Describe = lambda: ({}, {}),
    ) -> int:
        seed = checkpointer.begin(self._seed if again else self.random_state, describe)
        if not again:
            self._seed, self._draws = seed, 0
        return self._seed

    @property
    def n_iter_(self) -> int:
        """Epochs done."""
        self._fitted("n_iter_")
        return self._state.epochs

    def transform(self, X: RowsLike) -> DeviceArray:
        """Return the hidden means P(h=1|v), of shape (n_rows, n_components).

        Missing values (NaN) are first replaced by mean-field estimates, iterated from the base rates of the columns.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_components)
            CuPy if X is.
        """
        source, bk = self._rows_of(X)
        return on_device(transform(Stack((self.weights_,)), source, bk), X, bk)

    @property
    def _n_features_out(self) -> int:
        return self.weights_.n_hidden

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` or `partial_fit` has run."""
        return hasattr(self, "weights_")

    def __sklearn_tags__(self) -> object:
        """Declare support for sparse input, and the preserved dtypes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
