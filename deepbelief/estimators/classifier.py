"""The deep belief network classifier: a pretrained stack with a softmax head, fine-tuned."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from deepbelief.activations import Activation, get_activation
from deepbelief.backends import Backend
from deepbelief.errors import DataError, SettingError
from deepbelief.estimators.base import (
    check_backend,
    check_number,
    check_rows,
    check_rows_and_labels,
    on_device,
    warn_diverged,
)
from deepbelief.estimators.dbn import DBN, layer_sizes, templates_of
from deepbelief.estimators.labels import labelled_rows, row_weights
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.tuning import (
    FineTunedMixin,
    Problem,
    check_dropout,
    finetune_settings,
    stack_to_tune,
    tuned_layers,
)
from deepbelief.finetuning import FineTuneSettings, Labelled, hold_out, outputs
from deepbelief.losses import SoftmaxNLL
from deepbelief.network import Layer, Network, layers_from_stack, stack_from_layers
from deepbelief.optimizers import Optimizer
from deepbelief.pretraining import scaled
from deepbelief.schedules import Schedule
from deepbelief.seeds import run_seed
from deepbelief.sources import RowSource, SubsetSource
from deepbelief.stack import Stack
from deepbelief.training import Reporter, get_reporter

Array = np.ndarray[Any, np.dtype[Any]]


class DBNClassifier(FineTunedMixin, ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator):
    """Deep belief network with a softmax head: pretrained without labels, fine-tuned with them.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        As in `DBN`.
    rbm : RBM, list of RBM or None, default=None
        Settings of pretraining, as in `DBN`.
    pretrained : Stack, str, Path, DBN or None, default=None
        A stack to start from instead of pretraining: ``dbn.stack_``, a model file, or a fitted `DBN`
        (which `sklearn.base.clone` unfits: pass ``dbn.stack_`` to searches and cross-validation).
    pretraining : {"rbm", "denoising", "none"}, default="rbm"
    corruption : {"masking", "gaussian", "salt_and_pepper"}, default="masking"
    corruption_level : float, default=0.25
        How the layers are pretrained, as in `DBN`.
    n_passes : int, default=1
        Pretraining passes, as in `DBN`.
    activation : {"auto", "sigmoid", "tanh", "hard_tanh", "softsign", "relu", "identity"} or Activation, default="auto"
        ``"auto"`` follows the hidden units. ``"tanh"`` takes a Bernoulli stack over exactly; any other uses
        its weights as a start.
    solver : {"sgd", "adagrad", "rmsprop", "adam"} or Optimizer, default="sgd"
    learning_rate_init : float or "auto", default="auto"
        Learning rate of fine-tuning at its start; ``"auto"``: 0.3 for sigmoid layers, 0.1 for tanh, 0.03 else;
        0.01 for AdaGrad, 0.001 for RMSProp, 0.003 for Adam. A momentum beyond 0.9 lowers it: a velocity adds up
        1 / (1 - momentum) gradients.
    pretrained_lr_factor : float, default=1.0
        The layers below the head learn at this multiple of the rate; 0 freezes them. With few labels a small
        factor keeps what pretraining has found.
    schedule : {"linear", "constant", "cosine"} or callable, default="linear"
        How the learning rate of fine-tuning moves.
    momentum : float, default=0.9
    nesterovs_momentum : bool, default=True
    alpha : float, default=3e-5
        L2 factor of the weights: (alpha / 2) ||W||**2 is added to the mean loss. (`MLPClassifier` divides its
        alpha by the batch size.)
    l1 : float, default=0.0
        L1 factor of the weights: l1 sum |W| is added to the mean loss.
    max_norm : float or None, default=None
        The norm of the weights into each unit is kept within this.
    dropout : float or list of float, default=0.0
        The share of each hidden layer's units that is dropped in each update, one for all layers or one for each.
        What is kept counts 1 / (1 - dropout) as much, so that a pretrained stack is used as it is.
    input_dropout : float, default=0.0
        The share of the inputs that is dropped.
    batch_size : int or "auto", default="auto"
        ``"auto"``: a fiftieth of the labelled rows, between 10 and 100.
    max_iter : int or "auto", default="auto"
        Epochs of fine-tuning; ``"auto"``: about 6,000 updates, between 20 and 100 epochs.
    early_stopping : bool, default=False
        Hold out a share of the labelled rows, stop when their accuracy has not risen for
        ``n_iter_no_change`` epochs, and keep the best weights.
    validation_fraction : float, default=0.1
    n_iter_no_change : int, default=10
    tol : float, default=1e-4
    class_weight : dict, "balanced" or None, default=None
    unlabeled : "auto", None or label, default="auto"
        What marks rows without a label. ``"auto"``: -1, where at least two other labels are present.
    warm_start : bool, default=False
        `fit` goes on from the fine-tuned weights instead of pretraining anew.
    backend : {"numpy", "cupy"} or Backend, default="numpy"
    verbose : int, Reporter or list of Reporter, default=0
        A number above 0 prints each epoch; reporters are told of it, and may ask to stop.
    random_state : int, Generator, RandomState or None, default=None

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    stack_ : Stack
        The fine-tuned layers; ``stack_.tuned`` is True.
    pretrained_stack_ : Stack
        The layers as pretraining left them.
    coefs_, intercepts_ : list of ndarray
        Weights and biases of each layer, the head's last.
    history_ : list of dict
    loss_curve_ : list of float
        Mean training loss of each fine-tuning epoch.
    n_iter_ : int
        Fine-tuning epochs done.
    n_unlabeled_ : int
        Rows that had no label.
    n_features_in_ : int

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import DBNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = DBNClassifier((64, 64), max_iter=5, random_state=0).fit(X / 16, y)
    >>> clf.score(X / 16, y) > 0.9
    True
    """

    classes_: Array
    pretrained_stack_: Stack
    history_: list[dict[str, Any]]

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] | str = "auto",
        *,
        rbm: RBM | Sequence[RBM] | None = None,
        pretrained: Stack | str | Path | DBN | None = None,
        pretraining: str = "rbm",
        corruption: str = "masking",
        corruption_level: float = 0.25,
        n_passes: int = 1,
        activation: str | Activation = "auto",
        solver: str | Optimizer = "sgd",
        learning_rate_init: float | str = "auto",
        pretrained_lr_factor: float = 1.0,
        head_epochs: int = 0,
        n_frozen: int = 0,
        schedule: str | Schedule = "linear",
        momentum: float | str = 0.9,
        nesterovs_momentum: bool = True,
        alpha: float = 3e-5,
        l1: float = 0.0,
        max_norm: float | None = None,
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        batch_size: int | str = "auto",
        max_iter: int | str = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        class_weight: Any = None,
        unlabeled: Any = "auto",
        warm_start: bool = False,
        backend: str | Backend = "numpy",
        verbose: int | Reporter | Sequence[Reporter] = 0,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.rbm = rbm
        self.pretrained = pretrained
        self.pretraining = pretraining
        self.corruption = corruption
        self.corruption_level = corruption_level
        self.n_passes = n_passes
        self.activation = activation
        self.solver = solver
        self.learning_rate_init = learning_rate_init
        self.pretrained_lr_factor = pretrained_lr_factor
        self.head_epochs = head_epochs
        self.n_frozen = n_frozen
        self.schedule = schedule
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.alpha = alpha
        self.l1 = l1
        self.max_norm = max_norm
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.class_weight = class_weight
        self.unlabeled = unlabeled
        self.warm_start = warm_start
        self.backend = backend
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Pretrain on all rows, then fine-tune on the labelled ones.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
            Class labels; rows may be unlabelled (see ``unlabeled``).
        sample_weight : array-like of shape (n_rows,), optional
            Weights of the rows in fine-tuning.

        Returns
        -------
        DBNClassifier
            Itself.

        Raises
        ------
        DataError, SettingError, BackendError, DivergenceError
        """
        bk, reporter = check_backend(self.backend, X), get_reporter(self.verbose)
        problem = self._prepare(X, y, sample_weight, bk, reporter)
        diverged = self._solve(problem, bk, reporter)
        self.stack_ = stack_from_layers(self.pretrained_stack_, self._layers())
        warn_diverged(diverged)
        return self

    def _prepare(self, X: Any, y: Any, sample_weight: Any, bk: Backend, reporter: Reporter) -> Problem:
        """Check everything, pretrain if there is nothing to go on with, and return what is to be fine-tuned."""
        settings = self._settings()
        again = self.warm_start and hasattr(self, "coefs_")
        source, y = check_rows_and_labels(self, X, y, bk, reset=not again)
        train = self._labelled(source, column_or_1d(y, warn=True), sample_weight, again)
        if again:
            history = self.history_
        else:
            self._seed, self._epochs = run_seed(self.random_state), 0
            sizes = partial(layer_sizes, self.hidden_layer_sizes, source, len(self.classes_))
            self.pretrained_stack_, history = stack_to_tune(
                self, source, sizes, partial(templates_of, self.rbm), bk, reporter
            )
        hidden, head = self._start(again)
        return Problem(hidden, head, SoftmaxNLL(), *self._split(train), settings, history)

    def _settings(self) -> FineTuneSettings:
        if not isinstance(self.activation, str) or self.activation != "auto":
            get_activation(self.activation)
        check_number("pretrained_lr_factor", self.pretrained_lr_factor, low=0)
        check_number("head_epochs", self.head_epochs, low=0, integer=True)
        check_number("n_frozen", self.n_frozen, low=0, integer=True)
        return finetune_settings(
            self, pretrained_lr_factor=self.pretrained_lr_factor, head_epochs=self.head_epochs, n_frozen=self.n_frozen
        )

    def _check_layers(self, n_layers: int) -> None:
        check_dropout(self.dropout, n_layers)
        if self.n_frozen > n_layers:
            raise SettingError(f"n_frozen={self.n_frozen} layers shall stay as they are, there are {n_layers}")

    def _labelled(self, source: RowSource, y: Array, sample_weight: Any, again: bool) -> Labelled:
        """Return the labelled rows with class numbers and weights."""
        check_classification_targets(y)
        known = labelled_rows(y, self.unlabeled)
        if not known.any():
            raise DataError("every row is unlabelled: fine-tuning needs labels; use DBN to pretrain only")
        classes, targets = np.unique(y[known], return_inverse=True)
        if len(classes) < 2:
            raise DataError(f"DBNClassifier needs at least 2 classes, got 1 class: {classes[0]!r}")
        if again and not np.array_equal(classes, self.classes_):
            raise DataError(f"warm_start goes on with classes {self.classes_.tolist()}, y has {classes.tolist()}")
        self.classes_, self.n_unlabeled_ = classes, int((~known).sum())
        weights = row_weights(y, known, sample_weight, self.class_weight)
        rows = source if known.all() else SubsetSource(source, np.flatnonzero(known))
        return Labelled(rows, targets.astype(np.intp), weights)

    def _start(self, again: bool) -> tuple[list[Layer], tuple[Array, Array]]:
        """Return the hidden layers and the head to start from."""
        if again:
            return self._layers(), (self.coefs_[-1], self.intercepts_[-1])
        layers = layers_from_stack(self.pretrained_stack_, self.activation)
        W, n_classes = layers[-1].W, len(self.classes_)
        return layers, (np.zeros((W.shape[1], n_classes), W.dtype), np.zeros(n_classes, W.dtype))

    def _layers(self) -> list[Layer]:
        """Return the hidden layers as fine-tuned."""
        activations = [layer.activation for layer in layers_from_stack(self.pretrained_stack_, self.activation)]
        return tuned_layers(self.coefs_, self.intercepts_, activations)

    def _split(self, train: Labelled) -> tuple[Labelled, Labelled | None]:
        """Scale the rows as the first layer wants them, and hold some out for early stopping."""
        rows = scaled(train.rows, self.pretrained_stack_.layers[0])
        parts: tuple[Labelled, ...] = (Labelled(rows, train.targets, train.weights),)
        if self.early_stopping:
            parts = hold_out(parts[0], self.validation_fraction, self._seed, by_class=True)
        for name, part in zip(("fine-tuning", "early stopping"), parts, strict=False):
            if part.weights is not None and not part.weights.sum() > 0:
                raise DataError(f"the weights of all labelled rows for {name} are 0: give some rows a weight > 0")
        return parts[0], parts[1] if self.early_stopping else None

    def _network(self, X: Any) -> tuple[Network, RowSource, Backend]:
        check_is_fitted(self, "coefs_")
        bk = check_backend(self.backend, X)
        source = check_rows(self, X, bk, reset=False)
        network = Network(self._layers(), self.coefs_[-1], self.intercepts_[-1], SoftmaxNLL(), bk)
        return network, scaled(source, self.pretrained_stack_.layers[0]), bk

    def predict_proba(self, X: Any) -> Any:
        """Return class probabilities.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Columns as in ``classes_``; CuPy if X is.
        """
        network, source, bk = self._network(X)
        out = np.empty((source.shape[0], len(self.classes_)), network.dtype)
        for start, stop, _, output in outputs(network, source):
            out[start:stop] = bk.to_numpy(output)
        return on_device(out, X, bk)

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of class probabilities.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
        """
        probabilities = self.predict_proba(X)
        bk = check_backend(self.backend, X)
        xp = bk.xp if bk.owns(probabilities) else np
        return xp.log(xp.maximum(probabilities, xp.finfo(probabilities.dtype).tiny))

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        probabilities = self.predict_proba(X)
        bk = check_backend(self.backend, X)
        labels = self.classes_[bk.to_numpy(probabilities).argmax(axis=1)]
        return on_device(labels, X, bk) if labels.dtype.kind in "biuf" else labels  # type: ignore[no-any-return]

    def transform(self, X: Any) -> Any:
        """Return the top hidden layer's output.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_top)
        """
        network, source, bk = self._network(X)
        out = np.empty((source.shape[0], self.coefs_[-1].shape[0]), network.dtype)
        for start, stop, _, output in outputs(network, source, top=True):
            out[start:stop] = bk.to_numpy(output)
        return on_device(out, X, bk)

    @property
    def _n_features_out(self) -> int:
        return int(self.coefs_[-1].shape[0])

    def __sklearn_tags__(self) -> Any:
        """Declare sparse input and kept dtypes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
