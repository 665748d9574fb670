"""Options of stack pretraining: sizes, templates and kind of pretraining of the layers."""

from collections.abc import Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

from sklearn.base import is_classifier

from deepbelief.backends import Backend
from deepbelief.checkpoints import NO_CHECKPOINTS, Checkpointer
from deepbelief.errors import Mention, SettingError, invalid, unknown
from deepbelief.estimators.base import (
    Pretraining,
    check_sizes,
    pretraining_on,
    rbm_settings,
)
from deepbelief.estimators.rbm import RBM
from deepbelief.estimators.resolution import layer_choices, size_choice
from deepbelief.estimators.tables import schema_of, table_settings
from deepbelief.gradients import Denoising
from deepbelief.hyperparameters import PRETRAINING, checked_settings
from deepbelief.layer import RBMSettings
from deepbelief.pretraining import Pretrained
from deepbelief.recipes.presets import STANDARD, kept_from_preset, suggested_layers
from deepbelief.recipes.pretraining_rules import autoencoder_pretraining, table_layers, without_effect
from deepbelief.recipes.resolved import Choices, is_auto
from deepbelief.row_windows import memory_bytes
from deepbelief.sizing import check_layer_sizes, suggest_layer_sizes, warn_batch_size
from deepbelief.sources import RowSource
from deepbelief.training import Reporter, Run
from deepbelief.typing import Estimator
from deepbelief.units import CODES, Unit


def layer_sizes(
    sizes: Sequence[int] | str,
    source: RowSource,
    n_classes: int | None = None,
    *,
    n_labeled: int | None = None,
    autoencoder: bool = False,
    table: bool = False,
    preset: str = STANDARD,
) -> tuple[int, ...]:
    """Return the hidden layer sizes; warn about given sizes that the guidance advises against.

    ``table`` states that the network models a table of mixed columns.
    """
    n_rows, n_features = source.shape
    if isinstance(sizes, str):
        if sizes != "auto":
            raise invalid("hidden_layer_sizes", "positive integers or 'auto'", sizes)
        if table:
            return tuple(table_layers().value)
        advice = suggest_layer_sizes(n_features, n_rows, n_classes, n_labeled=n_labeled, autoencoder=autoencoder)
        return tuple(suggested_layers(advice, n_rows, STANDARD if n_labeled is None else preset).value)
    chosen = check_sizes(sizes)
    check_layer_sizes(n_features, chosen, n_samples=n_rows, autoencoder=autoencoder)
    return chosen


def n_labeled(estimator: Estimator, source: RowSource) -> int | None:
    """Return the number of rows with a class; None if the targets are not classes."""
    return source.shape[0] - int(estimator.n_unlabeled_) if is_classifier(estimator) else None


def templates_of(rbm: RBM | Sequence[RBM] | None, n_layers: int) -> list[RBM]:
    """Return the template of each layer, given one for all layers, a list of them, or None for the defaults."""
    templates: list[Any] = list(rbm) if isinstance(rbm, (list, tuple)) else [RBM() if rbm is None else rbm] * n_layers
    if len(templates) != n_layers:
        raise SettingError(
            f"rbm has {len(templates)} templates for {n_layers} layers: give one per layer, or a single one"
        )
    for template in templates:
        if not isinstance(template, RBM):
            raise SettingError(f"rbm must be an RBM, a list of them, or None, got {template!r}")
    return templates


def check_code(code: str) -> None:
    """Validate `code`."""
    if not isinstance(code, str) or code not in CODES:
        raise SettingError(unknown("code", code, CODES))


def code_templates(rbm: RBM | Sequence[RBM] | None, n_layers: int, code: str) -> list[RBM]:
    """Return the pretraining settings of each layer, with the units of the code in the top layer."""
    check_code(code)
    *below, top = templates_of(rbm, n_layers)
    return [*below, RBM(**{**top.get_params(deep=False), "hidden": CODES[code]})]


def layer_settings(rbm: RBM | Sequence[RBM] | None, n_layers: int) -> list[RBMSettings]:
    """Return the checked settings of each layer; a single template's settings of rows apply to the first layer only."""
    settings = [rbm_settings(template) for template in templates_of(rbm, n_layers)]
    if isinstance(rbm, (list, tuple)):
        return settings
    above = [replace(each, scale="none", binarize=None, learn_variance=False) for each in settings[1:]]
    return [settings[0], *above]


def check_pretraining(estimator: Estimator) -> None:
    """Validate the pretraining settings."""
    checked_settings(estimator, getattr(estimator, "_pretraining_table", PRETRAINING))
    Denoising(estimator.corruption, float(estimator.corruption_level))


def check_templates(estimator: Estimator) -> list[RBMSettings]:
    """Refuse pretraining settings outside their ranges, also in the templates."""
    check_pretraining(estimator)
    return layer_settings(estimator.rbm, len(estimator.rbm) if isinstance(estimator.rbm, (list, tuple)) else 1)


def kind_of_pretraining(model: Estimator, visible: Unit) -> str:
    """Return the kind of pretraining of a model's layers on rows of this type.

    ``"auto"`` is the choice of `fit`, see `deepbelief.recipes`.
    """
    kind = str(getattr(model, "pretraining", "rbm"))
    if kind != "auto":
        return kind
    if "pretraining" in getattr(model, "resolved_", {}):
        return str(model.resolved_["pretraining"].value)
    templates = model.rbm is not None or model.pretrained is not None
    return str(autoencoder_pretraining(missing=False, real=real_values(visible), templates=templates).value)


def real_values(visible: Unit) -> bool:
    """Return whether units represent real values, for which denoising is possible."""
    return bool(visible.reconstruction_loss) and not visible.unit_interval


def with_pretraining(settings: RBMSettings, estimator: Estimator, kind: str) -> RBMSettings:
    """Return a layer's settings for this kind of pretraining, by the estimator's preset."""
    settings = replace(settings, preset=str(getattr(estimator, "preset", STANDARD)))
    if kind == "rbm":
        return settings
    if kind == "denoising" and settings.gradient != "cd":  # not the default, so the user chose it
        raise SettingError(
            Mention("gradient", settings.gradient),
            " is for RBMs, but ",
            Mention("pretraining", "denoising"),
            " has its own gradient: use only one of them",
        )
    denoising = Denoising(estimator.corruption, float(estimator.corruption_level))
    return replace(
        settings, gradient=denoising, centered=False, learn_variance=False,
        components=tuple(each for each in settings.components if not each.needs_model),
        n_iter=0 if kind == "none" else settings.n_iter,
    )  # fmt: skip


def settings_given(estimator: Estimator) -> dict[str, object]:
    """Return the settings that differ from their defaults; those of templates are named ``rbm__NAME``."""
    defaults = signature(type(estimator)).parameters
    values = estimator.get_params(deep=False)
    given = {n: v for n, v in values.items() if n in defaults and repr(v) != repr(defaults[n].default)}
    templates = given.get("rbm")
    for template in templates if isinstance(templates, (list, tuple)) else [templates]:
        if isinstance(template, RBM):
            given |= {f"rbm__{name}": value for name, value in settings_given(template).items()}
    return given


def stack_pretraining(
    estimator: Estimator,
    source: RowSource,
    sizes: Sequence[int],
    rbm: Estimator,
    *,
    bk: Backend,
    seed: int,
    reporter: Reporter,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
    kind: str | None = None,
    imputes: bool = False,
) -> Pretraining:
    """Return the pretraining of a stack by an estimator's settings and these templates, of the given or its own kind.

    With ``imputes``, the first layer of a table of mixed columns also trains weights for imputation.
    """
    check_pretraining(estimator)
    settings = layer_settings(rbm, len(sizes))
    given = [each.n_iter for each in settings if not is_auto(each.n_iter)]
    kind = estimator.pretraining if kind is None else kind
    settings = [with_pretraining(each, estimator, kind) for each in settings]
    settings[0] = table_settings(settings[0], schema_of(estimator), sizes[0], source.shape[0], imputes=imputes)
    own = {"hidden_layer_sizes": estimator.hidden_layer_sizes} if is_classifier(estimator) else {}
    for line in kept_from_preset(estimator.preset, own | ({"rbm__n_iter": given[0]} if given else {})):
        reporter.note(line)
    for line in without_effect(kind, settings_given(estimator)):
        reporter.note(line)
    for batch_size in dict.fromkeys(each.batch_size for each in settings):
        warn_batch_size(batch_size, source.shape[0], bk.least_batch)
    first = rbm[0] if isinstance(rbm, (list, tuple)) else rbm
    fraction = 0.0 if first is None else float(first.validation_fraction)
    return pretraining_on(
        source, sizes, settings, fraction,
        Run(bk, seed, reporter, checkpointer, memory_limit=memory_bytes(estimator.memory_limit)),
        n_passes=int(estimator.n_passes),
    )  # fmt: skip


def pretraining_choices(
    estimator: Estimator,
    source: RowSource,
    result: Pretrained,
    templates: Sequence[RBM],
    *,
    table: bool = False,
) -> Choices:
    """Return the automatic settings of a stack's pretraining."""
    choices = size_choice(
        estimator.hidden_layer_sizes, source.shape[0], result.stack.sizes, n_labeled=n_labeled(estimator, source),
        table=table, preset=estimator.preset,
    )  # fmt: skip
    choices.update(layer_choices(estimator, result.stack, result.resolved, templates[0].visible))
    return choices
