"""Gibbs sampling from a stack, with clamped visible units, and imputation."""

import warnings
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deepbelief.backends import Backend, Rng
from deepbelief.completion import Held, base_rates, completed, mean_field
from deepbelief.errors import DeepBeliefWarning, Mention, SettingError, unknown, user_level
from deepbelief.gradients.trajectory import rungs
from deepbelief.ladder import Ladder, annealed_ladder, extended
from deepbelief.machine import Layers, Machine
from deepbelief.sources import ComputedSource, RowSource, check_groups
from deepbelief.stack import Stack, Weights
from deepbelief.typing import Array, DeviceArray

METHODS = ("auto", "gibbs", "pt", "ptt")
MIN_SWEEPS = 20  # rungs of a ladder


def rows_below(stack: Stack, h: DeviceArray, bk: Backend) -> DeviceArray:
    """Return the rows of top-layer states, in the units of the data: the means are computed layer by layer.

    Parameters
    ----------
    stack : Stack
    h : device array of shape (n_rows, n_top)
    bk : Backend

    Returns
    -------
    device array of shape (n_rows, n_features)
    """
    layers = Layers(stack, bk)
    return layers.machines[0].leave(layers.down(h))


def first_states(weights: Weights, n_chains: int, bk: Backend, rng: Rng) -> Array:
    """Draw initial hidden states of new chains.

    They are drawn given independent visible units with the column means of the training rows or, if these are unknown,
    the means that follow from the visible biases.

    Parameters
    ----------
    weights : Weights
    n_chains : int
    bk : Backend
    rng : Rng

    Returns
    -------
    ndarray of shape (n_chains, n_hidden)
    """
    machine, xp = Machine(weights, bk), bk.xp
    bias = weights.vbias if weights.visible_mean is None else machine.visible.initial_bias(weights.visible_mean)
    v = xp.zeros((n_chains, weights.n_visible), machine.dtype)
    machine.visible.sample(bk, xp.zeros_like(v), bk.asarray(bias, dtype=machine.dtype), rng, v)
    h = xp.zeros((n_chains, weights.n_hidden), machine.dtype)
    return bk.to_numpy(machine.sample_hidden(v, rng, h))


def sample(
    stack: Stack, states: Array, n_steps: int, bk: Backend, rng: Rng, *, temperature: float = 1.0,
    clamp: Array | None = None, method: str = "auto", ladder: Mapping[str, Array] | None = None,
) -> Array:  # fmt: skip
    """Run Gibbs chains, or chains of a ladder of machines, in the top machine, and return their final rows.

    Parameters
    ----------
    stack : Stack
    states : ndarray of shape (n_samples, n_top)
        Hidden states of the top machine to start from.
    n_steps : int
    bk : Backend
    rng : Rng
    temperature : float, default=1.0
        Divisor of the top machine's energy: rows are more typical below 1 and more varied above 1.
    clamp : ndarray of shape (n_samples, n_visible), optional
        Visible states to clamp, for a single machine; NaN means free.
    method : {"auto", "gibbs", "pt", "ptt"}, default="auto"
        ``"gibbs"`` runs plain chains. ``"pt"`` anneals a ladder from the machine without connections. ``"ptt"`` uses
        the checkpoints of training with ``gradient="ptt"``, or anneals if there are none. ``"auto"`` is ``"ptt"`` if
        there are checkpoints, otherwise ``"gibbs"``.
    ladder : dict of ndarray, optional
        State of the gradient of a machine that was trained with ``gradient="ptt"``.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Means of the visible units given the states above, in the units of the data.

    Raises
    ------
    SettingError
        If the stack is fine-tuned, or its units have no energy to divide.
    """
    check_generative(stack)
    top = Machine(at_temperature(stack.layers[-1], temperature), bk)
    held = None if clamp is None else Held(bk.asarray(clamp, dtype=top.dtype), bk, top.dtype)
    if method not in METHODS:
        raise SettingError(unknown("method", method, METHODS))
    known = ladder is not None and "ladder_W" in ladder
    if method == "gibbs" or (method == "auto" and not known):
        h = run_chains(top, bk.asarray(states, dtype=top.dtype).copy(), n_steps, rng, held)
    else:
        h = _tempered(top, len(states), n_steps, rng, held, ladder if known and method != "pt" else None)
    if len(stack) == 1 and temperature != 1:
        stack = replace(stack, layers=(top.weights(),))
    return bk.to_numpy(rows_below(stack, h, bk))


def run_chains(top: Machine, h: DeviceArray, n_steps: int, rng: Rng, held: Held | None = None) -> DeviceArray:
    """Move hidden states by Gibbs steps, in place, and return them.

    Parameters
    ----------
    top : Machine
    h : device array of shape (n_chains, n_hidden)
    n_steps : int
    rng : Rng
    held : Held, optional
        Clamped visible states.

    Returns
    -------
    device array of shape (n_chains, n_hidden)
    """
    v = top.bk.xp.empty((len(h), top.W.shape[0]), top.dtype)
    for _ in range(n_steps):
        top.sample_visible(h, rng, v)
        if held is not None:
            held.hold(v)
        top.sample_hidden(v, rng, h)
    return h


def _tempered(
    top: Machine, n: int, n_sweeps: int, rng: Rng, held: Held | None, kept: Mapping[str, Array] | None
) -> DeviceArray:
    """Return hidden states of the last rung of a ladder, after its states have come from the first rung."""
    bk, xp = top.bk, top.bk.xp
    if not (top.visible.tractable and top.hidden.tractable) or (top.visible.quadratic and top.hidden.quadratic):
        methods = Mention("method", "pt"), " and ", Mention("method", "ptt")
        units = Mention("visible", top.visible.spec), " and ", Mention("hidden", top.hidden.spec)
        raise SettingError(*methods, " need units with a free energy, got ", *units, ": use 'gibbs'")
    if kept is None:
        ladder, _ = annealed_ladder(top, top.base_vbias, n, rng, held)
    else:
        machines = rungs(top, {name: bk.asarray(kept[name]) for name in kept if name.startswith("ladder_")})
        v = np.asarray(kept["ladder_v"]).reshape(len(machines), -1, top.W.shape[0])
        v = bk.asarray(np.take(v, np.arange(n) % v.shape[1], axis=1).astype(top.dtype))
        for states in v if held is not None else ():
            held.hold(states)  # type: ignore[union-attr]
        ladder, _ = extended(Ladder(machines, v, held), top, rng)
    _, met = ladder.thermalise(rng, min(MIN_SWEEPS, n_sweeps), n_sweeps)
    if not met:
        warning = DeepBeliefWarning(
            f"{1 - ladder.share():.0%} of the samples did not come from the first of {len(ladder.machines)} machines "
            f"after {n_sweeps} sweeps: modes may have wrong weights. Raise ",
            Mention("n_steps"),
            ".",
            symptom="unmet-ladder",
        )
        warnings.warn(warning, stacklevel=user_level())
    return top.sample_hidden(ladder.v[-1], rng, xp.empty((n, top.W.shape[1]), top.dtype))


def at_temperature(weights: Weights, temperature: float) -> Weights:
    """Return a machine with the energy of the given one, divided by the temperature.

    Raises
    ------
    SettingError
        If its units have no energy, or if the division would change their variance.
    """
    if temperature == 1:
        return weights
    if not (weights.visible_unit.discrete and weights.hidden_unit.discrete):
        given, needed = (
            Mention("temperature", temperature, "g"),
            " needs Bernoulli or softmax units on both sides, got ",
        )
        units = Mention("visible", weights.visible), ", ", Mention("hidden", weights.hidden)
        raise SettingError(given, needed, *units, ": use ", Mention("temperature", 1))
    parts = {name: getattr(weights, name) / weights.W.dtype.type(temperature) for name in ("W", "vbias", "hbias")}
    return replace(weights, **parts)


def filled_source(source: RowSource, weights: Weights, bk: Backend) -> RowSource:
    """Return rows in the units of the data with their missing values filled in by the mean field of a layer."""
    machine = Machine(weights, bk)

    def filled(rows: Array) -> Array:
        check_groups(rows, weights.visible_unit)
        gaps = np.isnan(rows)
        if not gaps.any():
            return rows
        inside = completed(machine, bk.asarray(weights.enter(rows), dtype=machine.dtype))
        return np.where(gaps, weights.leave(bk.to_numpy(inside)), rows).astype(rows.dtype)

    return ComputedSource(source, filled, source.shape[1], source.dtype)


def fill_in(
    weights: Weights, known: Array, bk: Backend, rng: Rng | None, *, n_steps: int = 100, burn_in: int = 20,
    draw: bool = False,
) -> Array:  # fmt: skip
    """Return rows in which what is missing is its mean given the rest.

    With a stream, Gibbs chains run with what is known held, one for each row, and E[v | h] is averaged over them.
    Without, the means of both sides are iterated to a fixed point (mean field), or for ``n_steps`` steps.

    Parameters
    ----------
    weights : Weights
    known : ndarray of shape (n_rows, n_visible)
        As rows are in the machine; NaN: missing.
    bk : Backend
    rng : Rng or None
    n_steps : int, default=100
    burn_in : int, default=20
        Steps before the average.
    draw : bool, default=False
        Return the last states of the chains instead.

    Returns
    -------
    ndarray of shape (n_rows, n_visible)
    """
    machine, xp = Machine(weights, bk), bk.xp
    rows = bk.asarray(known, dtype=machine.dtype)
    if rng is None:
        return bk.to_numpy(mean_field(machine, rows, n_steps))
    held = Held(rows, bk, machine.dtype)
    v = held.hold(base_rates(machine, len(known)))
    mean, h = xp.empty_like(v), xp.empty((len(known), weights.n_hidden), machine.dtype)
    total = xp.zeros_like(v)
    for step in range(burn_in + n_steps):
        machine.sample_hidden(v, rng, h)
        machine.sample_visible(h, rng, v, mean=mean)
        held.hold(v)
        if step >= burn_in:
            total += mean
    if draw:
        return bk.to_numpy(v)
    total /= n_steps
    return bk.to_numpy(held.hold(total))


def check_generative(stack: Stack, pretraining: str = "rbm") -> None:
    """Refuse layers that are not a deep belief network: fine-tuned ones, or pretrained as something else."""
    if stack.tuned:
        raise SettingError("a fine-tuned stack is no longer a deep belief network: sample from the pretrained one")
    if pretraining != "rbm":
        raise SettingError(
            Mention("pretraining", pretraining), " gives no model to sample from: use ", Mention("pretraining", "rbm")
        )
