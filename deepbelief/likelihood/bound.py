"""The lower bound on the log-likelihood of a deep belief network (Salakhutdinov and Murray 2008)."""

import itertools

import numpy as np

from deepbelief.backends import Backend, get_backend
from deepbelief.completion import completed
from deepbelief.errors import SettingError
from deepbelief.likelihood.exact import double_machine, hidden_log_p
from deepbelief.likelihood.marginal import marginal_log_p
from deepbelief.machine import Machine
from deepbelief.seeds import host_rng
from deepbelief.stack import Stack
from deepbelief.typing import DeviceArray, Float64Array

N_VECTORS = 20


def has_bound(stack: Stack) -> bool:
    """Return whether the layers have a likelihood, or a lower bound on it."""
    below, top = stack.layers[:-1], stack.layers[-1]
    return not stack.tuned and top.has_likelihood and all(weights.hidden_unit.enumerable for weights in below)


def check_bound(stack: Stack) -> None:
    """Refuse layers that have no likelihood.

    Raises
    ------
    SettingError
    """
    if stack.tuned:
        raise SettingError(
            "a fine-tuned stack is no longer a deep belief network and has no likelihood: use the pretrained one"
        )
    if not has_bound(stack):
        units = " -> ".join((stack.layers[0].visible, *(weights.hidden for weights in stack)))
        raise SettingError(
            f"the likelihood of a stack needs Bernoulli hidden units, and a top layer that has a likelihood; got "
            f"{units}"
        )


def bound_samples(
    stack: Stack, v: Float64Array, *, n_vectors: int = N_VECTORS, backend: str | Backend = "numpy"
) -> Float64Array:  # fmt: skip
    """Return draws whose mean is a lower bound on log p(v) + log Z, where Z belongs to the top machine.

    Let q be the upward conditionals. Then log p(v) is at least E_q[log p(v | h) - F(h) - log q(h | v)] - log Z. Within
    one machine log p(v | h) - log q(h | v) = -F(v) - log p*(h), so that each layer replaces its own distribution of its
    hidden states by that of the layer above. Hidden states are drawn with the same uniform numbers for all rows: the
    result is deterministic, and where q is exact each draw is exact. Missing values (NaN) are summed out as in
    `marginal_log_p`.

    Parameters
    ----------
    stack : Stack
    v : ndarray of shape (n_rows, n_visible), float64
        As rows are in the first machine.
    n_vectors : int, default=20
        Draws of each layer's states.
    backend : {"numpy", "cupy"} or Backend

    Returns
    -------
    ndarray of shape (n_rows, n_vectors), float64
        One column for a single machine, whose value is exact.
    """
    bk = get_backend(backend)
    machines = [double_machine(weights, bk) for weights in stack]
    rows = bk.asarray(v)
    if len(machines) == 1:
        base = marginal_log_p(machines[0], rows)
        return np.asarray(bk.to_numpy(base))[:, None]
    base = marginal_log_p(machines[0], rows, exact=False)
    means = machines[0].mean_hidden(completed(machines[0], rows))
    draws = [base + _above(machines, means, s) for s in range(n_vectors)]
    return np.stack([np.asarray(bk.to_numpy(draw)) for draw in draws], axis=1)


def _above(machines: list[Machine], means: DeviceArray, number: int) -> DeviceArray:
    """Return the terms that the layers above the first add to one draw."""
    bk, total, h = machines[0].bk, 0.0, None
    for layer, (below, above) in enumerate(itertools.pairwise(machines)):
        means = means if h is None else below.mean_hidden(h)
        uniform = bk.asarray(host_rng(0, layer, number, "lower bound").random(means.shape[1]))
        h = bk.xp.less(uniform, means).astype(np.float64)
        total = total - hidden_log_p(below, h) - above.free_energy(h)
    return total
