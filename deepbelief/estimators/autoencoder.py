"""Deep autoencoder: a pretrained stack, unrolled and fine-tuned to reconstruct its input."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from deepbelief.backends import Backend, get_backend
from deepbelief.checkpoints import NO_CHECKPOINTS, Checkpointer, checkpointing
from deepbelief.errors import DataError, Mention, Message, SettingError
from deepbelief.estimators.base import check_backend, check_rows, on_device, visible_type, warn_diverged
from deepbelief.estimators.constructors import TemplatedEstimator
from deepbelief.estimators.documented import documented
from deepbelief.estimators.fitted import FittedState
from deepbelief.estimators.heads import Reconstruction
from deepbelief.estimators.outcome import check_against_pca, check_outcome, sample_rows
from deepbelief.estimators.pretraining_options import (
    check_code,
    code_templates,
    kind_of_pretraining,
    layer_sizes,
    real_values,
)
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.reconstruction import CodesMixin, ReconstructionErrorMixin, ReconstructionImputationMixin
from deepbelief.estimators.run_fingerprint import describe_run
from deepbelief.estimators.sample_weights import mean_of, present_rows
from deepbelief.estimators.tables import decoded
from deepbelief.estimators.targets import reconstruction_loss
from deepbelief.estimators.tuning import (
    FineTunedMixin,
    Problem,
    autoencoder_settings,
    check_dropout,
    finetune_settings,
    rows_to_reconstruct,
    start_of_tuning,
)
from deepbelief.finetuning import FineTuneSettings, hold_out, outputs
from deepbelief.hyperparameters import AUTOENCODER_PRETRAINING, EXECUTION, FINE_TUNING, Setting
from deepbelief.losses import SquaredError, get_loss, reconstruction_losses
from deepbelief.network import Network, stack_from_layers, unroll
from deepbelief.optimizers import Optimizer
from deepbelief.recipes.pretraining_rules import autoencoder_pretraining
from deepbelief.recipes.resolved import Choices, Resolved
from deepbelief.sources import OF_NETWORKS, RowSource, as_source, entering, has_missing
from deepbelief.training import Reporter, get_reporter
from deepbelief.typing import Array, DeviceArray, RowsLike, TargetsLike, WeightsLike
from deepbelief.units import get_unit


@documented(FINE_TUNING, AUTOENCODER_PRETRAINING, EXECUTION)
@dataclass(eq=False, repr=False, kw_only=True)
class DeepAutoencoder(
    ReconstructionErrorMixin, FineTunedMixin, ReconstructionImputationMixin, CodesMixin,
    TemplatedEstimator,
):  # fmt: skip
    """Deep autoencoder, pretrained layer by layer, unrolled into encoder and decoder, and fine-tuned as a whole.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Numbers of units of the encoder's layers, ending with the code. With 784 columns, (500, 250) gives
        784-500-250-500-784.
    rbm : RBM, list of RBM or None, default=None
        Settings of pretraining, as in `DBN`; the top layer's ``hidden`` follows from ``code``.
    solver : {"sgd", "adagrad", "rmsprop", "adam"} or Optimizer, default="adam"
        Adam is insensitive to the scale of the data and the number of columns.
    learning_rate_init : float or "auto", default="auto"
        ``"auto"``: 0.003 for Adam, 0.001 for RMSProp, 0.01 for AdaGrad; for SGD 0.03 with a linear code and 0.3
        with a sigmoid code, and less if the momentum exceeds 0.9.
    dropout : float or list of float or "auto", default="auto"
        Share of units dropped in each update, in the hidden layers below the code and their mirror images: one number
        for all of these layers, or one for each. Units of the code are never dropped. ``"auto"``: 0.
    input_dropout : float or "auto", default="auto"
        Share of the inputs dropped in each update; the targets are the complete rows. ``"auto"``: 0.
    early_stopping : bool, default=False
        Hold out a share of the rows, stop when their loss has not fallen for ``n_iter_no_change`` epochs, and keep
        the best weights.
    warm_start : bool, default=False
        `fit` continues from the fine-tuned weights instead of pretraining again.

    Attributes
    ----------
    stack_ : Stack
        The fine-tuned encoder; ``stack_.tuned`` is True.
    pretrained_stack_ : Stack
        The layers before fine-tuning.
    coefs_, intercepts_ : list of ndarray
        Weights and biases of each layer, the encoder first.
    input_mean_, input_scale_ : ndarray of shape (n_features,)
        Rows enter the first layer as ``(X - input_mean_) / input_scale_``, which the weights leave out.
        Outputs are mapped back by the inverse.
    history_ : list of dict
    resolved_ : dict
        Value of each setting that was ``"auto"``, and the reason for it; settings of the template are named
        ``rbm__NAME``.
    loss_curve_ : list of float
        Mean training loss of each fine-tuning epoch.
    n_iter_ : int
        Fine-tuning epochs done.
    n_features_in_ : int

    References
    ----------
    Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 313, 2006.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import DeepAutoencoder
    >>> X = load_digits().data / 16
    >>> autoencoder = DeepAutoencoder((50, 12), max_iter=10, random_state=0).fit(X)
    >>> codes = autoencoder.transform(X)
    >>> codes.shape
    (1797, 12)
    >>> autoencoder.inverse_transform(codes).shape
    (1797, 64)
    >>> float(autoencoder.reconstruction_error(X).mean()) < 4  # the columns' variances sum to 4.7
    True
    """

    solver: str | Optimizer = "adam"
    code: str = "linear"
    tied: bool = False

    _head: Reconstruction = field(init=False)
    _pretraining_table: ClassVar[Mapping[str, Setting]] = AUTOENCODER_PRETRAINING

    def fit(self, X: RowsLike, y: TargetsLike = None, sample_weight: WeightsLike = None) -> Self:
        """Pretrain the stack, unroll it and fine-tune all layers.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        y : ignored
        sample_weight : array-like of shape (n_rows,), optional
            Weights of the rows: a weight of 2 counts as two copies of the row, a weight of 0 as none. Only ratios
            matter: the gradient of each row is multiplied by its weight and divided by the mean weight.

        Returns
        -------
        DeepAutoencoder
            Itself.

        Raises
        ------
        DataError, SettingError, BackendError, DivergenceError
        """
        bk, reporter = check_backend(self.backend, X), get_reporter(self.verbose)
        with checkpointing(self.checkpoint) as checkpointer:
            problem = self._prepare(X, None, sample_weight, bk, reporter, checkpointer)
            diverged = self._solve(problem, bk, reporter, checkpointer)
        self.stack_ = stack_from_layers(self.pretrained_stack_, self._layers()[: len(self.pretrained_stack_)])
        warn_diverged(diverged)
        if not diverged:
            self._judge(problem)
        return self

    def _judge(self, problem: Problem) -> None:
        """Warn if the reconstructions are hardly better than column means, or worse than those of PCA."""
        network, rows = self._as_network(get_backend("numpy")), sample_rows(problem.train.rows)
        rows = np.asarray(rows, network.dtype)
        output = network.forward(rows)
        told = check_outcome(self, SquaredError(), output, self._head.constant(rows, None), rows, None)
        if not told and not problem.settings.input_dropout:  # PCA sees all inputs
            first, whole = self._head.first, problem.train.targets is None  # denoising needs whole rows
            denoises = kind_of_pretraining(self, first.visible_unit) == "denoising"
            advice = Message(Mention("pretraining", "denoising"), ", ") if whole and not denoises else Message()
            check_against_pca(self, output, rows, first, self.stack_.sizes[-1], advice)

    def _prepare(
        self,
        X: RowsLike,
        y: None,
        sample_weight: WeightsLike,
        bk: Backend,
        reporter: Reporter,
        checkpointer: Checkpointer = NO_CHECKPOINTS,
    ) -> Problem:
        """Check settings and rows, pretrain unless an earlier fit is continued, and return the fine-tuning problem."""
        settings = self._settings()
        again = self.warm_start and hasattr(self, "coefs_")
        X, _, weights = present_rows(X, sample_weight)
        source = check_rows(self, X, bk, reset=not again, min_rows=2, weights=weights)
        self._begin(checkpointer, partial(describe_run, self, source), again)
        if again:
            hidden, head, history = self._layers(), (self.coefs_[-1], self.intercepts_[-1]), self.history_
            choices = Choices({n: c for n, c in getattr(self, "resolved_", {}).items() if n == "pretraining"})
        else:
            sizes = partial(layer_sizes, self.hidden_layer_sizes, source, autoencoder=True)
            templates = partial(self._templates, source=source)
            start = start_of_tuning(self, source, sizes, templates, bk, reporter, checkpointer)
            pretrained = None if start.pretraining is None else start.pretraining()
            self.pretrained_stack_, history, choices = start.after(pretrained, self, source)
            hidden, head = unroll(self.pretrained_stack_)
        self._begin_head()
        self._check_tied(any(weights.mean is not None for weights in self.pretrained_stack_.layers[1:]))
        train, loss = rows_to_reconstruct(source, self.pretrained_stack_.layers[0], self._head.loss, bk)
        validation = None
        if self.early_stopping:
            train, validation = hold_out(train, self.validation_fraction, self._seed, by_class=False)
        settings = autoencoder_settings(settings, choices, self.pretrained_stack_.sizes)
        return Problem(hidden, head, loss, train, validation, settings, history, self._seed, self.tied, choices)

    def _settings(self) -> FineTuneSettings:
        check_code(self.code)
        names = ("auto", *reconstruction_losses())
        if not isinstance(self.loss, str) or self.loss not in names:
            get_loss(self.loss)  # accepts an instance, refuses an unknown name
            if isinstance(self.loss, str):
                raise SettingError(f"loss must be {', '.join(names[:-1])} or {names[-1]}, got {self.loss!r}")
        return finetune_settings(self)

    def _check_layers(self, n_layers: int) -> None:
        check_dropout(self.dropout, n_layers - 1)

    def _pretraining_rule(self, source: RowSource, first: RBM) -> Resolved:
        real = real_values(visible_type(self, first, source))
        return autoencoder_pretraining(missing=has_missing(source), real=real, templates=self.rbm is not None)

    def _suited_templates(self, kind: Resolved, templates: list[RBM], source: RowSource, choices: Choices) -> list[RBM]:
        """Return the templates for layers under this rule of pretraining."""
        return templates

    def _templates(self, n_layers: int, source: RowSource) -> list[RBM]:
        """Return the settings of each layer; refuse before pretraining what could not be fine-tuned afterwards."""
        templates = code_templates(self.rbm, n_layers, self.code)
        self._check_tied(any(get_unit(template.hidden).scaled_above for template in templates[:-1]))
        reconstruction_loss(self.loss, visible_type(self, templates[0], source))
        return templates

    def _begin_head(self) -> None:
        """Set the head, with loss and outputs that suit the data of the stack."""
        first = self.pretrained_stack_.layers[0]
        self._head = Reconstruction(first, reconstruction_loss(self.loss, first.visible_unit))

    def _check_tied(self, any_scaled: bool) -> None:
        if self.tied and any_scaled:
            reason = " needs outputs that are not rescaled: rectified units are scaled for the layer above; use "
            raise SettingError(Mention("tied", True), reason, Mention("tied", False), " or Bernoulli units")

    def _set_state(self, state: FittedState) -> None:
        sizes = state.stack.sizes
        self._set_network(state, (*sizes, *sizes[-2::-1]))
        self._activations = [layer.activation for layer in unroll(self.pretrained_stack_)[0]]
        self._begin_head()
        self._check_tied(any(weights.mean is not None for weights in self.pretrained_stack_.layers[1:]))

    def inverse_transform(self, X: RowsLike) -> DeviceArray:
        """Return the reconstructions of codes.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_code)

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            In the units of the data; CuPy if X is.
        """
        return decoded(self, self._decode(X))

    def _decode(self, X: RowsLike) -> RowsLike:
        """Return the visible units for codes."""
        check_is_fitted(self, "coefs_")
        bk = check_backend(self.backend, X)
        codes = check_array(bk.to_numpy(X) if bk.owns(X) else X, dtype=[np.float64, np.float32])
        if codes.shape[1] != self.stack_.sizes[-1]:
            raise DataError(f"codes have {codes.shape[1]} columns, the code layer has {self.stack_.sizes[-1]} units")
        decoder = self._layers()[len(self.stack_) :]
        network = Network(decoder, self.coefs_[-1], self.intercepts_[-1], self._head.loss, bk, fixed=True)
        out = np.empty((len(codes), self.stack_.sizes[0]), network.dtype)
        for start, stop, _, output in outputs(network, as_source(codes)):
            out[start:stop] = self._head.predict(bk.to_numpy(output))
        return on_device(out, X, bk)

    def _reconstructions(self, source: RowSource, bk: Backend) -> Iterator[tuple[int, int, Array, Array]]:
        """Iterate over (start, stop, rows, reconstructions), both in the units of the data."""
        network, leave = self._as_network(bk), self._head.predict
        for start, stop, rows, output in outputs(network, entering(source, self._head.first, OF_NETWORKS)):
            yield start, stop, leave(bk.to_numpy(rows)), leave(bk.to_numpy(output))

    def score(self, X: RowsLike, y: TargetsLike = None, sample_weight: WeightsLike = None) -> float:
        """Return the negative mean of `reconstruction_error`; larger is better.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        y : ignored
        sample_weight : array-like of shape (n_rows,), optional

        Returns
        -------
        float
        """
        return -mean_of(self.reconstruction_error(X), sample_weight)
