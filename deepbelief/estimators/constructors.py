"""Constructor parameters of estimators in groups, each declared once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sklearn.base import BaseEstimator

from deepbelief import documentation
from deepbelief.activations import Activation
from deepbelief.backends import Backend
from deepbelief.checkpoints import CheckpointFile
from deepbelief.components import Component
from deepbelief.errors import SettingError
from deepbelief.gradients import GradientEstimator
from deepbelief.losses import Loss
from deepbelief.optimizers import Optimizer
from deepbelief.recurrent.cells import Cell
from deepbelief.schedules import Schedule
from deepbelief.stack import Stack
from deepbelief.training import Reporter
from deepbelief.typing import Estimator, RandomState
from deepbelief.units import Unit


@dataclass(eq=False, repr=False, kw_only=True)
class RunParameters:
    """Parameters of a run, which say nothing about the model: as the first base of a class they come last."""

    backend: str | Backend = "numpy"
    verbose: int | Reporter | Sequence[Reporter] = 0
    random_state: RandomState = None


@dataclass(eq=False, repr=False, kw_only=True)
class ResumableParameters(RunParameters):
    """Parameters of a run that checkpoints can resume."""

    checkpoint: str | Path | CheckpointFile | None = None


@dataclass(eq=False, repr=False, kw_only=True)
class MachineParameters:
    """Parameters of a restricted Boltzmann machine."""

    n_components: int = field(default=256, kw_only=False)
    visible: str | Unit = "auto"
    scale: str = "none"
    hidden: str | Unit = "bernoulli"
    gradient: str | GradientEstimator = "auto"
    gibbs_steps: int | tuple[int, int] | str = "auto"
    n_chains: int | str = "auto"
    centered: bool | str = "auto"
    binarize: str | None = None
    columns: Mapping[str, str] | None = None
    handle_unknown: str = "error"
    learning_rate: float | str = "auto"
    schedule: str | Schedule = "auto"
    momentum: float | str = "auto"
    nesterovs_momentum: bool = False
    weight_decay: float | str = "auto"
    l1: float = 0.0
    sparsity_target: float | None = None
    sparsity_cost: float = 0.3
    learn_variance: bool = False
    averaging: float | str = "auto"
    solver: str | Optimizer = "auto"
    components: Sequence[str | Component] | None = None
    batch_size: int | str = "auto"
    n_iter: int | str = "auto"
    early_stopping: bool = False
    n_iter_no_change: int = 10
    validation_fraction: float = 0.0
    warm_start: bool = False
    memory_limit: int | str | None = None


@dataclass(eq=False, repr=False, kw_only=True)
class StackParameters:
    """Parameters of a pretrained stack."""

    hidden_layer_sizes: Sequence[int] | str = field(default="auto", kw_only=False)
    rbm: Estimator = None
    pretraining: str = "auto"
    corruption: str = "masking"
    corruption_level: float = 0.25
    n_passes: int = 1
    preset: str = "standard"
    memory_limit: int | str | None = None


@dataclass(eq=False, repr=False, kw_only=True)
class FineTuningParameters(StackParameters):
    """Parameters of a network that a stack becomes."""

    pretrained: Stack | str | Path | Estimator | None = None
    loss: str | Loss = "auto"
    solver: str | Optimizer = "sgd"
    learning_rate_init: float | str = "auto"
    schedule: str | Schedule = "linear"
    momentum: float | str = 0.9
    nesterovs_momentum: bool = True
    alpha: float | str = "auto"
    l1: float = 0.0
    max_norm: float | None = None
    dropout: float | Sequence[float] | str = "auto"
    input_dropout: float | str = "auto"
    batch_size: int | str = "auto"
    max_iter: int | str = "auto"
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    tol: float = 1e-4
    warm_start: bool = False


@dataclass(eq=False, repr=False, kw_only=True)
class SupervisedParameters(FineTuningParameters):
    """Parameters of a network with a head for targets."""

    activation: str | Activation = "auto"
    pretrained_lr_factor: float = 1.0
    head_epochs: int = 0
    n_frozen: int = 0


@dataclass(eq=False, repr=False, kw_only=True)
class SequenceParameters:
    """Parameters of a model of sequences."""

    n_components: int = field(default=150, kw_only=False)
    n_recurrent: int = field(default=100, kw_only=False)
    preset: str = "standard"
    visible: str | Unit = "auto"
    scale: str = "none"
    cell: str | Cell = "tanh"
    truncation: int = 100
    gradient: str | GradientEstimator = "cd"
    gibbs_steps: int = 10
    solver: str | Optimizer = "adam"
    learning_rate: float | str = "auto"
    schedule: str | Schedule = "constant"
    momentum: float = 0.9
    weight_decay: float | str = "auto"
    max_grad_norm: float | None = 1.0
    batch_size: int | str = "auto"
    n_iter: int | str = "auto"
    early_stopping: bool | str = "auto"
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    pretrain_frames: int | str = "auto"
    pretrain_recurrent: int = 0
    warm_start: bool = False


class DocumentationLinkMixin:
    """Mixin of public estimators, placed to the left of `BaseEstimator`.

    scikit-learn reads these attributes. There is no link if the package metadata name no documentation site.
    """

    _doc_link_module = "deepbelief"

    @property
    def _doc_link_template(self) -> str:
        return documentation.page("api/generated/deepbelief.{estimator_name}")

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"estimator_name": type(self).__name__}


class TemplatedEstimator(DocumentationLinkMixin, BaseEstimator):
    """Base of estimators with a template ``rbm``, which must exist before its parameters are set."""

    def set_params(self, **params: object) -> Self:
        """Set parameters of this estimator, and of its template as ``rbm__NAME``.

        Parameters
        ----------
        **params
            Values by name.

        Returns
        -------
        estimator
            Itself.

        Raises
        ------
        SettingError
            If ``rbm`` is None or a list, which have no parameters.
        """
        rbm = params.get("rbm", getattr(self, "rbm", None))
        nested = next((name for name in params if name.startswith("rbm__")), None)
        if nested is not None and not hasattr(rbm, "set_params"):
            is_list = isinstance(rbm, (list, tuple))
            fix = "Give one RBM for all layers, or whole lists as rbm" if is_list else "Pass rbm=RBM() to the estimator"
            raise SettingError(f"`{nested}` needs one RBM as `rbm`, got {'a list' if is_list else repr(rbm)}. {fix}.")
        return super().set_params(**params)  # type: ignore[no-any-return]
