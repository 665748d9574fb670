"""Uniform access to layers, reconstructions, samples and hidden values of fitted models.

Functions look for attributes of a model (``inverse_transform``, ``pretrained_stack_`` ...), so that they support new
models.
"""

import numpy as np
from scipy import sparse

from deepbelief.backends import Backend, get_backend
from deepbelief.errors import DataError, Mention, SettingError
from deepbelief.estimators.base import check_number, whole_rows
from deepbelief.estimators.pretraining_options import kind_of_pretraining
from deepbelief.estimators.tables import decoded, encoded, schema_of
from deepbelief.network import layers_from_stack
from deepbelief.optimizers import get_optimizer
from deepbelief.pretraining import transform
from deepbelief.recipes.resolved import in_effect
from deepbelief.sampling import check_generative, first_states, rows_below, sample
from deepbelief.seeds import run_seed, stream
from deepbelief.sources import OF_NETWORKS, RowSource, SubsetSource, as_source, check_sparse, entering, is_source
from deepbelief.stack import Stack
from deepbelief.typing import Array, Estimator, RandomState, RowsLike


def layers_of(model: Estimator) -> Stack:
    """Return the current layers of a fitted model, which are the fine-tuned ones if it has any.

    Raises
    ------
    SettingError
        If it is not fitted, or is not a model.
    """
    if isinstance(model, Stack):
        return model
    if isinstance(getattr(model, "stack_", None), Stack):
        return model.stack_  # type: ignore[no-any-return]
    if hasattr(model, "weights_"):
        return Stack((model.weights_,))
    name = type(model).__name__
    if hasattr(model, "get_params"):
        raise SettingError(f"this {name} is not fitted, or has no layers: call fit first")
    raise SettingError(f"a fitted RBM, DBN, DBNClassifier or a Stack is needed, got {name}")


def pretrained_layers(model: Estimator) -> Stack:
    """Return the layers before fine-tuning, which can be decoded.

    Raises
    ------
    SettingError
        If the model has only fine-tuned layers.
    """
    kept = getattr(model, "pretrained_stack_", None)
    stack = layers_of(model) if kept is None else kept
    check_generative(stack)
    return stack


def rows_of(model: Estimator, X: RowsLike) -> RowSource:
    """Return rows as a source; rows of a table become visible units of the model.

    Parameters
    ----------
    model : fitted estimator or Stack
    X : DataFrame, Table, array-like, CSR matrix or RowSource
        For a model of a table, a table or a source of rows of its visible units.
    """
    if is_source(X):
        return X
    return as_source(X if schema_of(model) is None else encoded(model, X, reset=False))


def whole_rows_of(model: Estimator, X: RowsLike) -> RowSource:
    """Return rows like `rows_of`, with missing values filled in by the mean field of the model's first layer."""
    kept = getattr(model, "pretrained_stack_", None)
    stack = layers_of(model) if kept is None else kept
    rows, bk = rows_of(model, X), _backend(model)
    if n_inputs(stack) != stack.sizes[0]:
        return model._rows(rows, bk)  # type: ignore[no-any-return]
    return whole_rows(rows, stack.layers[0], bk)


def decode(model: Estimator, codes: Array) -> Array:
    """Return the rows of visible units for a model's codes, in the units of the data."""
    return np.asarray(model._decode(codes) if schema_of(model) is not None else model.inverse_transform(codes))


def reconstruct(model: Estimator, X: RowsLike) -> Array:
    """Reconstruct rows up and down the layers, by the model's own methods if it has both directions.

    Parameters
    ----------
    model : fitted estimator or Stack
        For a classifier, its layers before fine-tuning are used.
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)

    Returns
    -------
    ndarray of shape (n_rows, n_features)
        In the units of the data; for a table, rows of visible units.
    """
    if schema_of(model) is not None:
        X = rows_of(model, X)
    if hasattr(model, "inverse_transform"):
        return decode(model, model.transform(X))
    stack, bk = pretrained_layers(model), _backend(model)
    if schema_of(model) is not None:
        X = whole_rows_of(model, X)
    codes = bk.asarray(transform(stack, _source(with_labels(model, X), stack), bk))
    return bk.to_numpy(rows_below(stack, codes, bk))[:, : n_inputs(stack)]


def n_inputs(stack: Stack) -> int:
    """Return the number of visible units of a row, without those of its label."""
    return stack.sizes[0] - getattr(stack.layers[0].visible_unit, "n_labels", 0)


def with_labels(model: Estimator, X: RowsLike) -> RowsLike:
    """Return rows followed by p(y | v) if the model has label units, else unchanged."""
    stack = layers_of(model)
    if n_inputs(stack) == stack.sizes[0] or isinstance(model, Stack):
        return X
    return np.hstack([as_array(X), model.predict_proba(X)])


def sample_rows(
    model: Estimator,
    n_samples: int,
    *,
    n_steps: int = 1000,
    method: str = "auto",
    temperature: float = 1.0,
    random_state: RandomState = None,
    backend: str | None = None,
    start: RowsLike = None,
    clamp: RowsLike = None,
    missing: bool = False,
    match: RowsLike = None,
) -> Array:
    """Draw rows from a model, or from its layers before fine-tuning.

    Chains start from the rows of `start`, or else from hidden states stored in training, or else from states drawn by
    `first_states`.

    Parameters
    ----------
    model : fitted estimator or Stack
    n_samples : int
    n_steps : int, default=1000
        Gibbs steps in the top machine, or maximum number of sweeps over a ladder of machines.
    method : {"auto", "gibbs", "pt", "ptt"}, default="auto"
        Sampling method of the top machine, see `RBM.sample`.
    temperature : float, default=1.0
        Divisor of the top machine's energy.
    random_state : int, Generator or None
    backend : str, optional
        Backend for a `Stack`, which has none.
    start : array-like, CSR matrix or RowSource of shape (n_rows, n_features), optional
        Rows that are used in turn; ignored by a model that draws its classes in turn.
    clamp : array-like, mapping or table, optional
        As in `RBM.sample`; for models that have it.
    missing : bool, default=False
        For models of tables only: also draw which values are missing, as in the training rows.
    match : table or RowSource, optional
        As in `RBM.sample`; for models that have it.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        In the units of the data; a table for a model of a table.

    Raises
    ------
    SettingError
        If the model has only fine-tuned layers.
    """
    check_number("n_samples", n_samples, low=1, integer=True)
    if hasattr(model, "sample") and (start is None or hasattr(model, "classes_")):
        # A model with classes draws rows of each class in turn.
        asked = np.resize(model.classes_, n_samples) if hasattr(model, "classes_") else n_samples
        how = {"n_steps": n_steps, "method": method, "temperature": temperature, "random_state": random_state}
        how |= {"clamp": clamp} if clamp is not None else {}
        how |= {"match": match} if match is not None else {}
        return model.sample(asked, **how, **({"missing": True} if missing else {}))  # type: ignore[no-any-return]
    for name, given in {"clamp": clamp, "match": match}.items():
        if given is not None:
            kind = type(model).__name__
            raise SettingError(Mention(name), f" is for models that sample rows themselves, got {kind}")
    check_number("n_steps", n_steps, low=1, integer=True)
    check_number("temperature", temperature, low=0, open_low=True)
    stack, bk = pretrained_layers(model), _backend(model, backend)
    check_generative(stack, kind_of_pretraining(model, stack.layers[0].visible_unit))
    seed = stream(run_seed(random_state), "sample")
    rng = bk.rng(seed)
    if start is not None:
        start = whole_rows(start, stack.layers[0], bk) if is_source(start) else start
        states = np.resize(transform(stack, _source(start, stack), bk), (n_samples, stack.sizes[-1]))
    elif hasattr(model, "h_samples_"):
        states = np.resize(model.h_samples_, (n_samples, stack.sizes[-1]))
    else:
        states = first_states(stack.layers[-1], n_samples, bk, rng)
    rows = sample(stack, states, n_steps, bk, rng, temperature=float(temperature), method=method)
    return decoded(model, rows, seed.spawn(1)[0], gaps=missing)  # type: ignore[no-any-return]


def hidden_values(model: Estimator, X: RowsLike, layer: int) -> Array:
    """Return the outputs of a layer's units for each row; for Bernoulli or logistic units these are probabilities.

    Parameters
    ----------
    model : fitted estimator or Stack
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
    layer : int
        0 for the first.

    Returns
    -------
    ndarray of shape (n_rows, n_hidden)
    """
    stack = layers_of(model)
    if schema_of(model) is not None:
        X = whole_rows_of(model, X)
    if layer == len(stack) - 1 and hasattr(model, "transform"):
        return np.asarray(model.transform(X))
    values = entering(_source(with_labels(model, X), stack), stack.layers[0], OF_NETWORKS).take(slice(None))
    bk = get_backend("numpy")
    for part in layers_from_stack(stack, getattr(model, "activation", "auto"))[: layer + 1]:
        values = part.activation.forward(bk, values @ part.W, part.bias)
    return values


def updates_of(model: Estimator, layer: int) -> tuple[Array, str]:
    """Return the changes of a layer's weights that a model stores, and the name of their kind.

    Returns
    -------
    W : ndarray of shape (n_visible, n_hidden)
    kind : {"last update", "fine-tuning"}
        The last update of an `RBM`, including momentum, or the difference between fine-tuned and pretrained weights.

    Raises
    ------
    SettingError
        If it keeps neither.
    """
    kept: dict[str, dict[str, Array]] = getattr(getattr(model, "_state", None), "arrays", {})
    moments = list(kept.get("optimizer", {}).values())
    solver = in_effect(model, "solver")
    velocity = getattr(get_optimizer("sgd" if solver is None else solver, nesterov=False), "velocity", None)
    if moments and velocity is not None:
        return np.asarray(velocity(moments)), "last update"
    before, after = getattr(model, "pretrained_stack_", None), layers_of(model)
    if before is None:
        raise SettingError(
            f"a {type(model).__name__} keeps no updates; an RBM keeps its last one, a fine-tuned classifier the "
            "difference from the pretrained weights"
        )
    # Converted to feed-forward layers, both include the scaling between layers.
    old, new = (layers_from_stack(stack)[layer].W for stack in (before, after))
    return new - old, "fine-tuning"


def first_rows(X: RowsLike, n_rows: int) -> RowsLike:
    """Return the first rows of a table of any kind, on the host, as a table of the same kind."""
    if is_source(X):
        return SubsetSource(X, np.arange(min(n_rows, X.shape[0])))
    if hasattr(X, "__cuda_array_interface__"):
        X = X.get()
    if sparse.issparse(X):
        check_sparse(X)
        return X.tocsr()[:n_rows]
    return X.iloc[:n_rows] if hasattr(X, "iloc") else X[:n_rows]


def as_array(X: RowsLike) -> Array:
    """Return a table as a dense array of floating numbers."""
    return (X if is_source(X) else as_source(X)).take(slice(None))


def _backend(model: Estimator, otherwise: str | None = None) -> Backend:
    return get_backend(getattr(model, "backend", otherwise or "numpy"))


def _source(X: RowsLike, stack: Stack) -> RowSource:
    source = X if is_source(X) else as_source(X)
    if source.shape[1] != stack.sizes[0]:
        raise DataError(f"X has {source.shape[1]} features, the model expects {stack.sizes[0]}")
    return source
