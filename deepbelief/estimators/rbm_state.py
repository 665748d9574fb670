"""Training state of RBMs in model files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from deepbelief.backends import get_backend
from deepbelief.errors import FileFormatError
from deepbelief.estimators.fitted import FittedState, agrees
from deepbelief.layer import LayerState, LayerTrainer, RBMSettings, choose_visible
from deepbelief.sources import RowSource, column_statistics, has_missing
from deepbelief.stack import Stack, Weights
from deepbelief.training import Run
from deepbelief.typing import Array, DtypeLike, Estimator, StrMapping

Shape = tuple[int | None, ...]

PARAMETERS = ("W", "vbias", "hbias")
# Names in files of the first releases, each with its current owner and name.
FORMER = {
    "chains": ("gradient", "chains"), "activity": ("sparsity", "activity"), "offset": ("centring", "offset"),
    "log_variance": ("variance", "log_variance"),
    **{f"velocity_{i}": ("optimizer", f"{i}") for i in range(3)},
    **{f"fast_{i}": ("gradient", f"fast_{name}") for i, name in enumerate(PARAMETERS)},
    **{f"average_{i}": ("averaging", name) for i, name in enumerate(PARAMETERS)},
}  # fmt: skip


def _key(owner: str, name: str) -> str:
    return f"state.{owner}.{name}"


def state_from_file(
    arrays: Mapping[str, Array], attributes: StrMapping, weights: Weights, settings: RBMSettings
) -> LayerState:
    """Return the state in a file, after comparison with the initial state of training.

    Raises
    ------
    FileFormatError
        If an array has another shape or dtype.
    KeyError
        If one is missing.
    """
    names = attributes.get("state")
    found = _former_state(arrays, attributes) if names is None else _state(arrays, names)
    for owner, own in _expected(weights, settings).items():
        for name, (shape, dtype) in own.items():
            kept = found.get(owner, {}).get(name)
            if kept is not None and not agrees(kept, shape, dtype):
                raise FileFormatError(
                    f"the file's {owner} state has {name} of {kept.dtype} {kept.shape} where {dtype} {shape} belongs"
                )
            if kept is not None and np.issubdtype(dtype, np.integer) and (kept < 0).any():
                raise FileFormatError(f"the file's {owner} state has a negative number in {name}")
    return LayerState(found, attributes["epochs"], attributes["updates"])


def machine_state(estimator: Estimator, **more: Array) -> FittedState:
    """Return the fitted state of an estimator with one machine; ``more`` are further arrays."""
    state: LayerState = estimator._state
    names = {owner: list(own) for owner, own in state.arrays.items()}
    arrays = {_key(owner, name): array for owner, own in state.arrays.items() for name, array in own.items()}
    values = {"epochs": state.epochs, "updates": state.updates, "state": names, "draws": estimator._draws}
    return FittedState(Stack((estimator.weights_,)), arrays | {"h_samples": estimator.h_samples_} | more, values)


def restore_machine(estimator: Estimator, state: FittedState, settings: RBMSettings) -> None:
    """Restore the fitted state of an estimator with one machine."""
    weights = estimator.weights_ = state.single("an RBM")
    for name in ("epochs", "updates", *(("averaged",) if "averaged" in state.values else ())):
        state.count(name)
    estimator._state = state_from_file(state.arrays, state.values, weights, settings)
    estimator.h_samples_ = state.shaped("h_samples", (None, weights.n_hidden), weights.W.dtype)
    estimator._draws = state.count("draws")


def _state(arrays: Mapping[str, Array], names: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Array]]:
    """Return the arrays with these names, by owner."""
    if not isinstance(names, dict) or not all(isinstance(own, list) for own in names.values()):
        raise FileFormatError(f"the file's state must list the names of its arrays, got {names!r:.60}")
    return {owner: {str(name): arrays[_key(owner, name)] for name in own} for owner, own in names.items()}


def _former_state(arrays: Mapping[str, Array], attributes: StrMapping) -> dict[str, dict[str, Array]]:
    """Return the state in a file of the first releases."""
    found: dict[str, dict[str, Array]] = {"optimizer": {str(i): arrays[f"velocity_{i}"] for i in range(3)}}
    for key, (owner, name) in FORMER.items():
        if key in arrays:
            found.setdefault(owner, {})[name] = arrays[key]
    if "averaging" in found:
        found["averaging"]["n"] = np.array([attributes["averaged"]], np.int64)
    if "variance" in found:
        found["variance"] |= {
            "last_good": found["variance"]["log_variance"].copy(), "merged": np.zeros(1, np.int64)
        }  # fmt: skip
    return found


def _expected(weights: Weights, settings: RBMSettings) -> dict[str, dict[str, tuple[Shape, DtypeLike]]]:
    """Return the shape and dtype of each array of an initial state; None stands for a size that depends on the run.

    These are sizes that grow with the chains, and row numbers of arrays that the gradient lists as ``growing``.
    """
    shapes = []
    for n_chains in (1, 2):
        resolved = replace(settings, visible=weights.visible, n_chains=n_chains).resolve(
            100, weights.n_visible, weights.n_hidden, weights.visible_mean
        )
        trainer = LayerTrainer(weights, resolved, Run(get_backend("numpy"), 0), layer=0, horizon=1)
        shapes.append(trainer.learner.arrays)
    expected: dict[str, dict[str, tuple[Shape, DtypeLike]]] = {
        owner: {name: (_common(array.shape, shapes[1][owner][name].shape), array.dtype) for name, array in own.items()}
        for owner, own in shapes[0].items()
    }
    gradient = expected["gradient"]
    for name in getattr(resolved.gradient, "growing", ()):
        shape, dtype = gradient[name]
        gradient[name] = (None, *shape[1:]), dtype
    return expected


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> Shape:
    return tuple(m if m == n else None for m, n in zip(a, b, strict=True))


def constant_columns(source: RowSource) -> Array:
    """Return a mask of the constant columns."""
    return column_statistics(source, missing=has_missing(source)).constant(source.dtype)


def scale_new_columns(
    weights: Weights, waiting: Array | None, source: RowSource, settings: RBMSettings
) -> tuple[Weights, Array | None]:
    """Scale columns that were constant, and therefore 0, until now by the first batch in which they vary.

    Parameters
    ----------
    weights : Weights
    waiting : ndarray of bool of shape (n_visible,) or None
        Mask of the columns that have been constant; None: there are none.
    source : RowSource
        The batch.
    settings : RBMSettings

    Returns
    -------
    weights : Weights
    waiting : ndarray or None
        Mask of the columns that are still constant.
    """
    if waiting is None or not waiting.any():
        return weights, waiting
    found = waiting & ~constant_columns(source)
    if not found.any():
        return weights, waiting
    _, mean, scale, _ = choose_visible(weights.visible, source, scale=settings.scale, missing=has_missing(source))
    new, old = np.array([mean, scale], weights.W.dtype), np.array([weights.mean, weights.scale], weights.W.dtype)
    mean, scale = np.where(found, new, old)
    return replace(weights, mean=mean, scale=scale), waiting & ~found
