"""Automatic settings of classifiers and regressors, resolved by the rules of `deepbelief.recipes`."""

from dataclasses import replace

from sklearn.base import is_classifier

from deepbelief.activations import Activation
from deepbelief.distributed import Partitioned
from deepbelief.estimators.base import visible_type
from deepbelief.estimators.constructors import SupervisedParameters
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.tables import schema_of
from deepbelief.finetuning import FineTuneSettings, TrainingSet
from deepbelief.recipes import (
    RATE_OF_FEW,
    RATE_OF_LINEAR,
    ROWS_OF_FEW,
    Choices,
    Resolved,
    Supervision,
    hidden_dropout,
    in_effect,
    is_auto,
    layer_activation,
    supervised_pretraining,
    tuning_decay,
    tuning_extent,
    tuning_input_dropout,
)
from deepbelief.sources import RowSource, csr_of, has_missing
from deepbelief.stack import Stack
from deepbelief.units import get_unit


class SupervisedRecipes(SupervisedParameters):
    """Choices of layers, activation and regularisation for an estimator that learns targets."""

    n_unlabeled_: int
    pretrained_stack_: Stack

    def _pretraining_rule(self, source: RowSource, first: RBM) -> Resolved:
        """Return how layers are to be pretrained on these rows."""
        n_rows, modelled = source.shape[0], schema_of(self) is not None or isinstance(source, Partitioned)
        modelled = modelled or has_missing(source)
        bits = modelled or visible_type(self, first, source).unit_interval
        return supervised_pretraining(
            n_rows, n_rows - self.n_unlabeled_, unit_interval=bits, modelled=modelled, templates=self.rbm is not None
        )

    def _suited_templates(self, kind: Resolved, templates: list[RBM], source: RowSource, choices: Choices) -> list[RBM]:
        """Return the templates for layers that a rule wants to be pretrained in this way."""
        if kind.value != "none" or csr_of(source) is not None:
            return templates
        choices["rbm__visible"] = Resolved("gaussian", "layers that are not pretrained learn from standardised columns")
        return [RBM(visible="gaussian"), *templates[1:]]

    def _choose_activation(self, choices: Choices, *, drawn: bool) -> None:
        """Resolve the activation, where all hidden units have the same."""
        names = {get_unit(weights.hidden).activation for weights in self.pretrained_stack_}
        if len(names) == 1 and "activation" not in choices:
            rule = layer_activation(names.pop(), pretrained=not drawn, classes=bool(is_classifier(self)))
            choices.take("activation", self.activation, rule)

    @property
    def _activation_of_layers(self) -> str | Activation:
        """The activation of the hidden layers, resolved where it was ``"auto"``."""
        activation: str | Activation = in_effect(self, "activation")
        return activation

    def _recipe(
        self, settings: FineTuneSettings, choices: Choices, train: TrainingSet, *, drawn: bool
    ) -> FineTuneSettings:
        """Return the settings with those resolved that depend on labels and layers."""
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
