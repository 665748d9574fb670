"""Deep belief network as a scikit-learn transformer, and the parameters shared by all estimators with a stack."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from deepbelief.checkpoints import checkpointing
from deepbelief.estimators.base import (
    check_backend,
    check_number,
    check_rows,
    rows_to_use,
    warn_diverged,
)
from deepbelief.estimators.constructors import ResumableParameters, StackParameters, TemplatedEstimator
from deepbelief.estimators.documented import documented
from deepbelief.estimators.fitted import FittedState
from deepbelief.estimators.generative import ImputationMixin, drawn, predicting_arrays, predicting_from_file
from deepbelief.estimators.pretraining_options import (
    check_templates,
    layer_sizes,
    pretraining_choices,
    stack_pretraining,
    templates_of,
)
from deepbelief.estimators.reconstruction import CodesMixin, LayerReconstructionMixin
from deepbelief.estimators.run_fingerprint import describe_run
from deepbelief.estimators.sample_weights import present_rows
from deepbelief.estimators.tables import is_mixed, schema_of
from deepbelief.hyperparameters import EXECUTION, PRETRAINING
from deepbelief.layer import RBMSettings
from deepbelief.likelihood import LogLikelihood, has_bound, log_likelihood, unnormalised
from deepbelief.sampling import check_generative
from deepbelief.stack import Stack
from deepbelief.training import get_reporter
from deepbelief.typing import Array, Estimator, RandomState, RowsLike, TargetsLike, WeightsLike
from deepbelief.units import get_unit


def _has_likelihood(dbn: Estimator) -> bool:
    """Return whether a network has a likelihood, or will have one after `fit`."""
    if dbn.pretraining != "rbm":
        return False
    if hasattr(dbn, "stack_"):
        return has_bound(dbn.stack_)
    templates = dbn.rbm if isinstance(dbn.rbm, (list, tuple)) else [dbn.rbm]
    return all(template is None or get_unit(template.hidden).tractable for template in templates)


@documented(PRETRAINING, EXECUTION)
@dataclass(eq=False, repr=False, kw_only=True)
class DBN(
    ResumableParameters, StackParameters, LayerReconstructionMixin, ImputationMixin, CodesMixin,
    TemplatedEstimator,
):  # fmt: skip
    """Deep belief network: a stack of restricted Boltzmann machines, pretrained layer by layer.

    Parameters
    ----------
    rbm : RBM, list of RBM or None, default=None
        Settings of the layers: one template for all layers, or one for each; None means ``RBM()``. Its
        ``n_components``, ``backend``, ``verbose``, ``warm_start`` and ``random_state`` are ignored here, and
        ``visible`` applies to the first layer only, as do ``binarize`` and ``learn_variance`` of a single template.
        The ``validation_fraction`` of the first template applies to the whole stack.

    Attributes
    ----------
    stack_ : Stack
    resolved_ : dict
        Value of each setting that was ``"auto"``, and the reason for it; settings of the template are named
        ``rbm__NAME``.
    history_ : list of dict
        Per pass, layer and epoch: reconstruction error, free-energy gap, learning rate, seconds.
    n_features_in_ : int

    References
    ----------
    Hinton, Osindero and Teh, "A fast learning algorithm for deep belief nets", Neural Computation 18, 2006.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import DBN, RBM
    >>> X = load_digits().data / 16
    >>> dbn = DBN((32, 16), rbm=RBM(n_iter=1), random_state=0).fit(X)
    >>> dbn.transform(X).shape
    (1797, 16)
    """

    pretraining: str = "rbm"

    def fit(self, X: RowsLike, y: TargetsLike = None, sample_weight: WeightsLike = None) -> Self:
        """Pretrain the stack.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        y : ignored
        sample_weight : array-like of shape (n_rows,), optional
            Weights of the rows: a weight of 2 counts as two copies of the row, a weight of 0 as none. Only ratios
            matter: the gradient of each row is multiplied by its weight and divided by the mean weight.

        Returns
        -------
        DBN
            Itself.

        Raises
        ------
        DataError, SettingError, BackendError, DivergenceError
        """
        bk = check_backend(self.backend, X)
        X, _, weights = present_rows(X, sample_weight)
        source = check_rows(self, X, bk, reset=True, min_rows=2, weights=weights)
        table = is_mixed(schema_of(self))
        sizes = layer_sizes(self.hidden_layer_sizes, source, table=table)
        with checkpointing(self.checkpoint) as checkpointer:
            seed = checkpointer.begin(self.random_state, partial(describe_run, self, source))
            pretraining = stack_pretraining(
                self,
                source,
                sizes,
                self.rbm,
                bk=bk,
                seed=seed,
                reporter=get_reporter(self.verbose),
                checkpointer=checkpointer,
                imputes=True,
            )
            result = pretraining()
            warn_diverged(result.diverged)
        self.stack_ = result.stack
        self.history_ = result.history
        templates = templates_of(self.rbm, len(sizes))
        self.resolved_ = dict(pretraining_choices(self, source, result, templates, table=table))
        self._h_states = result.negative_states
        self._predicting = predicting_arrays(result.states[0].arrays)
        self._seed, self._draws = seed, 0
        return self

    def _settings(self) -> list[RBMSettings]:
        return check_templates(self)

    def _get_state(self) -> FittedState:
        more = {f"predicting.{name}": array for name, array in self._predicting.items()}
        return FittedState(self.stack_, {"h_states": self._h_states, **more}, {"draws": self._draws})

    def _set_state(self, state: FittedState) -> None:
        self.stack_, top = state.stack, state.stack.layers[-1].W
        self._h_states = state.shaped("h_states", (None, top.shape[1]), top.dtype)
        self._draws = state.count("draws")
        self._predicting = predicting_from_file(state)

    def _imputing(self) -> Mapping[str, Array]:
        return self._predicting

    def _generative_stack(self) -> Stack:
        return self.stack_

    def sample(
        self, n_samples: int = 1, *, n_steps: int = 1000, method: str = "auto", temperature: float = 1.0,
        clamp: RowsLike = None, missing: bool = False, match: RowsLike = None, random_state: RandomState = None,
    ) -> RowsLike:  # fmt: skip
        """Draw rows from the model by Gibbs sampling in the top RBM and a downward pass through the means.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows to draw.
        n_steps : int, default=1000
            Gibbs steps, starting from hidden states of the last negative phase; for a ladder, the maximum number of
            sweeps.
        method : {"auto", "gibbs", "pt", "ptt"}, default="auto"
            As in `RBM.sample`; ``"pt"`` and ``"ptt"`` use a ladder of temperatures of the top machine, and ``"auto"``
            is ``"gibbs"``.
        temperature : float, default=1.0
            Divisor of the top machine's energy: below 1, rows are more typical; above 1, they are more varied.
        clamp : array-like of shape (n_features,) or (n_samples, n_features), mapping or table, optional
            As in `RBM.sample`; for a network with one hidden layer only.
        missing : bool, default=False
            For models of tables only, as in `RBM.sample`.
        match : table, optional
            As in `RBM.sample`; for a network with one hidden layer only.
        random_state : int, Generator or None
            None: continue with the model's own stream, so that two calls differ.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Means of the visible units given the states above. A network fitted on a table of mixed columns returns a
            table.
        """
        check_is_fitted(self, "stack_")
        check_number("n_samples", n_samples, low=1, integer=True)
        check_generative(self.stack_, self.pretraining)
        return drawn(
            self, self.stack_, self._h_states, n_samples, n_steps=n_steps, method=method, temperature=temperature,
            clamp=clamp, missing=missing, match=match, random_state=random_state,
        )  # fmt: skip

    @available_if(_has_likelihood)  # type: ignore[untyped-decorator]
    def score_samples(self, X: RowsLike) -> Array:
        """Return a lower bound on the log-likelihood of each row, in nats, up to the log Z of the top machine.

        With one layer it is exact: -F(v). The values are comparable only between rows of the same model;
        `log_likelihood` subtracts log Z.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

        Returns
        -------
        ndarray of shape (n_rows,), float64
        """
        check_is_fitted(self, "stack_")
        bk = check_backend(self.backend, X)
        return unnormalised(self.stack_, rows_to_use(self, X, bk, fill=False), backend=bk).mean(axis=1)  # type: ignore[no-any-return]

    @available_if(_has_likelihood)  # type: ignore[untyped-decorator]
    def log_likelihood(self, X: RowsLike, *, method: str = "auto", **ais: Any) -> LogLikelihood:
        """Return a lower bound on the log-likelihood of the rows, with the errors of log Z and of its random draws.

        With one layer it is the log-likelihood itself.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
            0 and 1 for Bernoulli visible units.
        method : {"auto", "exact", "ais", "ptt"}, default="auto"
            Method of computing log Z of the top machine; ``"auto"`` enumerates if one side has at most 25 Bernoulli
            units.
        **ais
            Passed to `deepbelief.likelihood.log_likelihood`, with the ``backend`` of this estimator.

        Returns
        -------
        LogLikelihood

        Raises
        ------
        DataError, SettingError
        """
        check_is_fitted(self, "stack_")
        bk = check_backend(self.backend, X)
        source = rows_to_use(self, X, bk, fill=False)
        return log_likelihood(self.stack_, source, method=method, **({"backend": bk} | ais))
