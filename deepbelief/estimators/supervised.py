"""Base class of classifier and regressor: a pretrained stack with a head, fine-tuned on targets."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, is_classifier
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from deepbelief.activations import Activation, activation_of
from deepbelief.backends import Backend, get_backend
from deepbelief.checkpoints import NO_CHECKPOINTS, Checkpointer, checkpointing
from deepbelief.distributed import Partitioned
from deepbelief.errors import DataError, Mention, SettingError
from deepbelief.estimators.base import (
    check_backend,
    check_rows_and_targets,
    on_device,
    rows_to_use,
    visible_type,
    warn_diverged,
    whole_rows,
)
from deepbelief.estimators.constructors import SupervisedParameters, TemplatedEstimator
from deepbelief.estimators.fitted import FittedState
from deepbelief.estimators.heads import Head
from deepbelief.estimators.outcome import check_outcome, sample_index, sample_rows
from deepbelief.estimators.pretraining_options import layer_sizes, n_labeled, templates_of
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.run_fingerprint import describe_run
from deepbelief.estimators.tables import schema_of
from deepbelief.estimators.tuning import (
    FineTunedMixin,
    Problem,
    check_dropout,
    chosen_kind,
    finetune_settings,
    start_of_tuning,
)
from deepbelief.finetuning import FineTuneSettings, TrainingSet, hold_out, outputs
from deepbelief.hyperparameters import SUPERVISED_PRETRAINING, Setting
from deepbelief.network import Layer, Network, layers_from_stack, moderated, redrawn, stack_from_layers
from deepbelief.recipes.resolved import Choices, Resolved, in_effect, is_auto, resolution_lines
from deepbelief.recipes.tuning_rules import (
    RATE_OF_FEW,
    RATE_OF_LINEAR,
    ROWS_OF_FEW,
    Supervision,
    hidden_dropout,
    layer_activation,
    supervised_pretraining,
    tuning_decay,
    tuning_extent,
    tuning_input_dropout,
)
from deepbelief.sources import OF_NETWORKS, RowSource, checked, csr_of, entering, has_missing
from deepbelief.stack import Stack
from deepbelief.training import Reporter, get_reporter
from deepbelief.typing import Array, DeviceArray, RowsLike, TargetsLike, WeightsLike
from deepbelief.units import get_unit


class SupervisedRecipes(SupervisedParameters):
    """Automatic layers, activation and regularisation of an estimator that learns targets."""

    n_unlabeled_: int
    pretrained_stack_: Stack

    def _pretraining_rule(self, source: RowSource, first: RBM) -> Resolved:
        """Return the rule for pretraining layers on these rows."""
        n_rows, modelled = source.shape[0], schema_of(self) is not None or isinstance(source, Partitioned)
        modelled = modelled or has_missing(source)
        bits = modelled or visible_type(self, first, source).unit_interval
        return supervised_pretraining(
            n_rows, n_rows - self.n_unlabeled_, unit_interval=bits, modelled=modelled, templates=self.rbm is not None
        )

    def _suited_templates(self, kind: Resolved, templates: list[RBM], source: RowSource, choices: Choices) -> list[RBM]:
        """Return the templates for layers under this rule of pretraining."""
        if kind.value != "none" or csr_of(source) is not None:
            return templates
        choices["rbm__visible"] = Resolved("gaussian", "layers that are not pretrained learn from standardised columns")
        return [RBM(visible="gaussian"), *templates[1:]]

    def _choose_activation(self, choices: Choices, *, drawn: bool) -> None:
        """Resolve the activation, if all hidden units have the same one."""
        if is_auto(self.activation):
            for weights in self.pretrained_stack_:
                activation_of(weights.hidden_unit)
        names = {get_unit(weights.hidden).activation for weights in self.pretrained_stack_}
        if len(names) == 1 and "activation" not in choices:
            rule = layer_activation(names.pop(), pretrained=not drawn, classes=bool(is_classifier(self)))
            choices.take("activation", self.activation, rule)

    @property
    def _activation_of_layers(self) -> str | Activation:
        """Activation of the hidden layers, with ``"auto"`` resolved."""
        activation: str | Activation = in_effect(self, "activation")
        return activation

    def _recipe(
        self, settings: FineTuneSettings, choices: Choices, train: TrainingSet, *, drawn: bool
    ) -> FineTuneSettings:
        """Return the settings, and resolve automatic ones that depend on labels and layers."""
        stack, n_labelled = self.pretrained_stack_, train.rows.shape[0]
        logistic = all(get_unit(weights.hidden).activation == "sigmoid" for weights in stack)
        facts = Supervision(
            n_labelled, not drawn, stack.sizes[0], min(stack.sizes[1:]), bool(is_classifier(self)), logistic,
            stack.layers[0].visible_unit.unit_interval,
        )  # fmt: skip
        dropout = choices.take("dropout", settings.dropout, hidden_dropout(facts))
        inputs = choices.take("input_dropout", settings.input_dropout, tuning_input_dropout(facts))
        own = dropout if is_auto(settings.dropout) else 0.0
        rule = tuning_decay(n_labelled, pretrained=not drawn, dropout=own)
        decay = choices.take("alpha", settings.alpha, rule)
        few = bool(own) and facts.few
        batch_size = settings.batch_size
        if few:
            batch_size = choices.take("batch_size", batch_size, Resolved(ROWS_OF_FEW, "few labels"))
        rate = settings.rate
        if few and self._activation_of_layers == "sigmoid":
            rate = RATE_OF_FEW
        elif logistic and not drawn and len(stack) > 1 and self._activation_of_layers == "identity":
            rate = RATE_OF_LINEAR
        return replace(
            settings, alpha=decay, dropout=dropout, input_dropout=inputs, extent=tuning_extent(facts, own),
            batch_size=batch_size, rate=rate,
        )  # fmt: skip


class SupervisedEstimator(
    FineTunedMixin, SupervisedRecipes, ClassNamePrefixFeaturesOutMixin, TransformerMixin, TemplatedEstimator
):
    """Fitting, features and outputs of an estimator that learns targets; subclasses define the targets by `_read`."""

    _pretraining_table: ClassVar[Mapping[str, Setting]] = SUPERVISED_PRETRAINING
    n_unlabeled_: int
    _head: Head

    def fit(self, X: RowsLike, y: TargetsLike, sample_weight: WeightsLike = None) -> Self:
        """Pretrain on all rows, then fine-tune on those with targets.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        y : array-like of shape (n_rows,) or (n_rows, n_columns)
            Targets. For a classifier, class labels (several columns are tasks) or a 0/1 matrix (see ``loss``); rows may
            be unlabelled (see ``unlabeled``). For a regressor, numbers; NaN and None are missing targets.
        sample_weight : array-like of shape (n_rows,), optional
            Weights of the rows in fine-tuning.

        Returns
        -------
        DBNClassifier or DBNRegressor
            Itself.

        Raises
        ------
        DataError, SettingError, BackendError, DivergenceError
        """
        bk, reporter = check_backend(self.backend, X), get_reporter(self.verbose)
        with checkpointing(self.checkpoint) as checkpointer:
            problem = self._prepare(X, y, sample_weight, bk, reporter, checkpointer)
            diverged = self._solve(problem, bk, reporter, checkpointer)
        self.stack_ = stack_from_layers(self.pretrained_stack_, self._layers())
        warn_diverged(diverged)
        if not diverged:
            self._judge(problem)
        return self

    def _judge(self, problem: Problem) -> None:
        """Warn if the network has learned nothing."""
        index = sample_index(problem.train.rows.shape[0])
        network = self._as_network(get_backend("numpy"))
        assert problem.train.targets is not None
        targets = problem.train.targets[index]
        weights = None if problem.train.weights is None else problem.train.weights[index]
        if weights is not None and not weights.sum() > 0:
            return
        output = network.forward(np.asarray(problem.train.rows.take(index), network.dtype))
        constant = self._head.constant(targets, weights)
        check_outcome(self, self._head.loss, output, constant, targets, weights)

    def _prepare(
        self,
        X: RowsLike,
        y: TargetsLike,
        sample_weight: WeightsLike,
        bk: Backend,
        reporter: Reporter,
        checkpointer: Checkpointer = NO_CHECKPOINTS,
    ) -> Problem:
        """Check settings and rows, pretrain unless an earlier fit is continued, and return the fine-tuning problem."""
        settings = self._settings()
        again = self.warm_start and hasattr(self, "coefs_")
        source, y = check_rows_and_targets(self, X, y, bk, reset=not again)
        train = self._read(source, y, sample_weight, again)
        if self.n_unlabeled_:
            reporter.note(f"{self.n_unlabeled_} of {source.shape[0]} rows are unlabelled and used in pretraining only")
        self._begin(checkpointer, partial(describe_run, self, source, y, sample_weight), again)
        if again:
            history, choices = self.history_, Choices(getattr(self, "resolved_", {}))
        else:
            labelled = n_labeled(self, source)
            sizes = partial(
                layer_sizes, self.hidden_layer_sizes, source, self._head.n_outputs, n_labeled=labelled,
                preset=self.preset,
            )  # fmt: skip
            start = start_of_tuning(self, source, sizes, partial(templates_of, self.rbm), bk, reporter, checkpointer)
            pretrained = None if start.pretraining is None else start.pretraining()
            self.pretrained_stack_, history, choices = start.after(pretrained, self, source)
        drawn = self.pretrained is None and chosen_kind(self, choices) == "none"
        self.resolved_ = choices
        if not again:
            self._choose_activation(choices, drawn=drawn)
        resumed = checkpointer.found("finetune") is not None  # with layers that have been initialised again
        if drawn and not again and not resumed and self._activation_of_layers != "auto":
            self.pretrained_stack_ = redrawn(self.pretrained_stack_, self._activation_of_layers)
        hidden, head = self._start(again)
        rows = whole_rows(train.rows, self.pretrained_stack_.layers[0], bk)
        train, validation = self._split(replace(train, rows=rows))
        if not again and not drawn:
            hidden = moderated(hidden, self.pretrained_stack_, sample_rows(train.rows))
        settings = self._suited(self._recipe(settings, choices, train, drawn=drawn), len(head[0]))
        for name in ("hidden_layer_sizes", "activation", "alpha", "dropout", "input_dropout"):
            for line in resolution_lines({name: choices[name]} if name in choices else {}):
                reporter.note(line)
        return Problem(
            hidden, head, self._head.loss, train, validation, settings, history, self._seed, choices=choices
        )  # fmt: skip

    def _read(self, source: RowSource, y: Array, sample_weight: WeightsLike, again: bool) -> TrainingSet:
        """Set the head for these targets, and return the rows with targets; ``again`` keeps the existing head."""
        raise NotImplementedError

    def _settings(self) -> FineTuneSettings:
        settings = finetune_settings(self)
        if not isinstance(self.max_iter, str) and self.head_epochs > self.max_iter:
            raise SettingError(
                Mention("head_epochs", self.head_epochs),
                " exceeds ",
                Mention("max_iter", self.max_iter),
                ": the layers below would never learn; ",
                Mention("n_frozen"),
                " keeps them as they are",
            )
        return settings

    def _suited(self, settings: FineTuneSettings, n_top: int) -> FineTuneSettings:
        """Return the settings for a head on this number of units."""
        return settings

    def _check_layers(self, n_layers: int) -> None:
        check_dropout(self.dropout, n_layers)
        if self.n_frozen > n_layers:
            raise SettingError(Mention("n_frozen", self.n_frozen), f" exceeds the number of hidden layers ({n_layers})")

    def _start(self, again: bool) -> tuple[list[Layer], tuple[Array, Array]]:
        """Return the initial hidden layers and head."""
        layers = layers_from_stack(self.pretrained_stack_, self._activation_of_layers)
        if again:
            self._activations = [layer.activation for layer in layers]
            return self._layers(), (self.coefs_[-1], self.intercepts_[-1])
        W, n_outputs = layers[-1].W, self._head.n_outputs
        return layers, (np.zeros((W.shape[1], n_outputs), W.dtype), np.zeros(n_outputs, W.dtype))

    def _set_network(self, state: FittedState, sizes: tuple[int, ...]) -> None:
        super()._set_network(state, sizes)
        self._activations = [
            layer.activation for layer in layers_from_stack(self.pretrained_stack_, self._activation_of_layers)
        ]

    def _split(self, train: TrainingSet) -> tuple[TrainingSet, TrainingSet | None]:
        """Scale the rows for the first layer, and hold some out for early stopping."""
        first = self.pretrained_stack_.layers[0]
        assert train.targets is not None
        targets = train.targets.astype(first.W.dtype) if train.targets.dtype.kind == "f" else train.targets
        parts: tuple[TrainingSet, ...] = (
            replace(train, rows=checked(train.rows, first, OF_NETWORKS), targets=targets),
        )
        if self.early_stopping:
            parts = hold_out(parts[0], self.validation_fraction, self._seed, by_class=self._head.by_class)
        for name, part in zip(("fine-tuning", "early stopping"), parts, strict=False):
            if part.weights is not None and not part.weights.sum() > 0:
                raise DataError(f"the weights of all labelled rows for {name} are 0: give some rows a weight > 0")
        return parts[0], parts[1] if self.early_stopping else None

    def _network(self, X: RowsLike) -> tuple[Network, RowSource, Backend]:
        check_is_fitted(self, "coefs_")
        bk = check_backend(self.backend, X)
        source = rows_to_use(self, X, bk)
        return self._as_network(bk), entering(source, self.pretrained_stack_.layers[0], OF_NETWORKS), bk

    def _outputs(self, X: RowsLike, *, top: bool = False) -> Array:
        """Return the network's outputs for rows, or those of its top hidden layer, on the host."""
        network, source, bk = self._network(X)
        out = np.empty((source.shape[0], self.coefs_[-1].shape[0 if top else 1]), network.dtype)
        for start, stop, _, output in outputs(network, source, top=top):
            out[start:stop] = bk.to_numpy(output)
        return out

    def _where_from(self, result: Array, X: RowsLike) -> DeviceArray:
        """Return the result on the device of the rows; results that are not numbers stay on the host."""
        return on_device(result, X, check_backend(self.backend, X)) if result.dtype.kind in "biuf" else result

    def predict(self, X: RowsLike) -> DeviceArray:
        """Return the predicted class, labels or values of each row.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_columns)
            As y in `fit`; CuPy if X is and these are numbers.
        """
        output = self._outputs(X)
        return self._where_from(self._head.predict(output), X)

    def transform(self, X: RowsLike) -> DeviceArray:
        """Return the top hidden layer's output.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows, n_top)
        """
        return self._where_from(self._outputs(X, top=True), X)

    @property
    def _n_features_out(self) -> int:
        return int(self.coefs_[-1].shape[0])

    def __sklearn_tags__(self) -> Tags:
        """Declare support for sparse input, missing values and several targets, and the preserved dtypes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.pretrained is not None or self.pretraining in ("auto", "rbm")
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.target_tags.multi_output = True
        return tags
