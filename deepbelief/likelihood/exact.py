"""The partition function by enumeration of the smaller side."""

import itertools
import math
from collections.abc import Iterator

import numpy as np

from deepbelief.backends import Backend, get_backend
from deepbelief.errors import SettingError
from deepbelief.machine import Machine
from deepbelief.seeds import host_rng, run_seed
from deepbelief.stack import Weights
from deepbelief.typing import DeviceArray, Estimator, Float64Array, RandomState
from deepbelief.units import Unit, get_unit, states_of

MAX_EXACT_UNITS = 25  # Bernoulli units; other discrete units may have as many states as these
BLOCK_BYTES = 2**20  # inputs of the other side for the states handled at a time, so that they stay in cache


def weights_of(model: Estimator) -> Weights:
    """Return the weights of a fitted RBM, or the given weights; refuse those without a likelihood.

    Raises
    ------
    SettingError
        If it is not an RBM, its units have no energy, or a weight is not finite.
    """
    weights = getattr(model, "weights_", model)
    if not isinstance(weights, Weights):
        raise SettingError(f"a likelihood needs a fitted RBM or its weights, got {type(model).__name__}")
    for unit in (weights.visible, weights.hidden):
        if not get_unit(unit).tractable:
            raise SettingError(f"{unit} units have no energy and no likelihood: use the reconstruction error instead")
    if weights.is_quadratic:
        raise SettingError(
            "the likelihood of a machine with Gaussian units on both sides is not supported: use Bernoulli hidden units"
        )
    for name in ("W", "vbias", "hbias"):
        if not np.isfinite(getattr(weights, name)).all():
            raise SettingError(f"{name} has values that are not finite: the model has diverged")
    return weights


def double_machine(weights: Weights, backend: str | Backend = "numpy") -> Machine:
    """Return the machine in float64."""
    return Machine(weights, get_backend(backend), np.float64)


def exact_log_z(model: Estimator, *, backend: str | Backend = "numpy") -> float:
    """Return log Z, the log of the sum of exp(-E) over all states.

    The side with fewer units is enumerated, in blocks of bounded memory; Gaussian units are integrated out.

    Parameters
    ----------
    model : fitted RBM or Weights
        At most 25 Bernoulli units on one side, or discrete visible units with at most 2**25 states.
    backend : {"numpy", "cupy"} or Backend

    Returns
    -------
    float
        In nats. With Gaussian visible units it refers to the rows as they enter the machine (standardised).

    Raises
    ------
    SettingError
        If both sides are too large (use `ais_log_z`), or the units have no likelihood.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Weights
    >>> round(exact_log_z(Weights(np.zeros((3, 2)), np.zeros(3), np.zeros(2))), 4)  # 5 ln 2
    3.4657
    """
    weights = weights_of(model)
    total = -np.inf
    for _, log_p in _blocks(weights, get_backend(backend)):
        total = np.logaddexp(total, np.logaddexp.reduce(log_p))
    return float(total)


def enumerable(weights: Weights) -> bool:
    """Return whether one side is small enough for `exact_log_z`."""
    return _smaller_side(weights) is not None


def exact_samples(model: Estimator, n_samples: int, random_state: RandomState = 0) -> Float64Array:
    """Draw independent visible states from a machine that can be enumerated.

    Parameters
    ----------
    model : fitted RBM or Weights
    n_samples : int
        Number of rows to draw.
    random_state : int, Generator, RandomState or None

    Returns
    -------
    ndarray of shape (n_samples, n_visible), float64
        As they enter the machine (Gaussian units: standardised).

    Raises
    ------
    SettingError
        As `exact_log_z`.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import Weights
    >>> exact_samples(Weights(np.zeros((3, 2)), np.full(3, 40.0), np.zeros(2)), 2).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    weights = weights_of(model)
    machine, seed = double_machine(weights), run_seed(random_state)
    rng = host_rng(seed, "exact samples")
    side, choices = _smaller(weights)
    found, total = np.empty((n_samples, sum(c.shape[1] for c in choices))), -np.inf
    for states, log_p in _blocks(weights, machine.bk):  # one pass: blocks replace samples by their share
        block = np.logaddexp.reduce(log_p)
        total = np.logaddexp(total, block)
        places = np.flatnonzero(rng.random(n_samples) < np.exp(block - total))
        if places.size:
            found[places] = states[rng.choice(len(states), places.size, p=np.exp(log_p - block))]
    if side == "visible":
        return found
    stream = machine.bk.rng(np.random.SeedSequence([seed, 1]))
    return np.asarray(machine.sample_visible(found, stream, np.empty((n_samples, weights.n_visible))))


def _choices(unit: Unit, n_columns: int) -> list[Float64Array] | None:
    """Return the states of each unit that occupies these columns; None where there are too many."""
    sizes = unit.group_sizes(n_columns)
    if not unit.discrete or len(sizes) > MAX_EXACT_UNITS:
        return None
    choices = [np.eye(size) for size in sizes]
    low, high = states_of(unit, n_columns)
    starts = np.cumsum([0, *sizes])
    for i in np.flatnonzero(np.array(sizes) == 1):
        column = starts[i]
        off = np.concatenate([low[column, None] if k == i else group[0] for k, group in enumerate(choices)])
        if unit.foreign(off[None]) is None:  # a softmax unit of one column is always on
            choices[i] = np.array([[low[column]], [high[column]]])
    return choices


def _smaller_side(weights: Weights) -> tuple[str, list[Float64Array]] | None:
    """Return the side with fewer states, and the states of each of its units; None if both have too many."""
    sides = {"hidden": (weights.hidden_unit, weights.n_hidden), "visible": (weights.visible_unit, weights.n_visible)}
    found = None
    fewest = float(MAX_EXACT_UNITS)
    for side, (unit, n) in sides.items():
        choices = _choices(unit, n)
        size = math.inf if choices is None else sum(math.log2(len(c)) for c in choices)
        if size <= fewest:
            found, fewest = (side, choices or []), size
    return found


def _smaller(weights: Weights) -> tuple[str, list[Float64Array]]:
    side = _smaller_side(weights)
    if side is None:
        raise SettingError(
            f"{weights.n_visible} visible and {weights.n_hidden} hidden units: one side needs at most "
            f"{MAX_EXACT_UNITS} Bernoulli units to be enumerated; estimate log Z with ais_log_z"
        )
    return side


def _table(choices: list[Float64Array]) -> Float64Array:
    """Return every combination of the states of these units; the state of the first unit changes fastest."""
    table = np.zeros((1, 0))
    for states in choices:
        table = np.hstack([np.tile(table, (len(states), 1)), np.repeat(states, len(table), axis=0)])
    return table


def _blocks(weights: Weights, bk: Backend) -> Iterator[tuple[Float64Array, Float64Array]]:
    """Iterate over blocks of the smaller side's states and the log of their unnormalised probabilities."""
    side, choices = _smaller(weights)
    machine = double_machine(weights, bk)
    wide = weights.n_visible if side == "hidden" else weights.n_hidden
    counts = np.cumprod([1.0, *map(len, choices)])
    n_low = int(np.searchsorted(counts, BLOCK_BYTES / (8 * wide), side="right")) - 1
    low, high = choices[: max(0, n_low)], choices[max(0, n_low) :]
    table = _table(low)
    states = np.zeros((len(table), sum(c.shape[1] for c in choices)))
    states[:, : table.shape[1]] = table
    for combination in itertools.product(*reversed(high)):
        states[:, table.shape[1] :] = np.concatenate([*reversed(combination), np.zeros(0)])
        known = bk.asarray(states)
        log_p = -machine.free_energy(known) if side == "visible" else hidden_log_p(machine, known)
        yield states, np.asarray(bk.to_numpy(log_p))


def hidden_log_p(machine: Machine, h: DeviceArray) -> DeviceArray:
    """Return the log of the sum, or integral, of exp(-E) over the visible states."""
    return h @ machine.hbias + machine.visible.log_integral(machine.bk, h @ machine.W.T, machine.vbias)
