"""Exchanges of states between the chains of a model and samples of another one."""

from types import ModuleType

import numpy as np

from deepbelief.backends import Rng
from deepbelief.typing import Array, DeviceArray

N_TURNS = 2  # updates within which every chain is offered samples once
N_OFFERS = 4  # samples of the last checkpoint that each chain is offered in an exchange
TAIL = 0.05  # share of the chains that exchange least; the best of these must reach MIN_TAIL
MIN_TAIL = 0.03  # probability of an exchange; below it a mode is forming that the last checkpoint lacks
MAX_RANGE = 600.0  # largest difference of free energies that is resolved, in nats


def turn(n_chains: int, exchange: int) -> slice:
    """Return the chains that are offered samples at an exchange, by its number."""
    stop = min((exchange % N_TURNS + 1) * -(-n_chains // N_TURNS), n_chains)
    return slice(stop - -(-n_chains // N_TURNS), stop)


def acceptances(low: Array, high: Array) -> tuple[float, float]:
    """Return the mean probability of an exchange over all pairs, and that of the best chain among the worst 5 %.

    ``low`` and ``high`` are F_b - F_a at states of the machine a and of b. The probability that y of b is exchanged is
    the mean over x of min(1, exp(high(y) - low(x))).
    """
    n = len(low)
    both = np.concatenate([low, high], dtype=float)
    both -= both[:n].min()
    np.minimum(both, MAX_RANGE, out=both)
    if not np.isfinite(both).all():
        return 0.0, 0.0
    lows, highs = both[:n], both[n:]
    lows.sort()
    above = np.zeros(n + 1)
    above[:n] = np.exp(-lows)[::-1].cumsum()[::-1]
    places = lows.searchsorted(highs, side="right")
    each = np.exp(highs) * above[places]
    each += places
    each /= n
    each.sort()
    return float(each.mean()), float(each[int(TAIL * len(each))])


def offer(xp: ModuleType, low: DeviceArray, high: DeviceArray, rng: Rng, u: DeviceArray) -> DeviceArray:
    """Offer each chain some samples one after another; return the index of the last that it accepts, -1 for none.

    Each is accepted with the probability of `deepbelief.ladder.exchange_probability`.

    Parameters
    ----------
    xp : module
    low, high : device array of shape (n_chains,)
        F_model - F_other at the samples of the other model, and at the chains.
    rng : Rng
    u : device array of shape (n_offers, n_chains)
        Scratch space.

    Returns
    -------
    device array of shape (n_chains,)
    """
    n = len(low)
    log_u = xp.log(xp.maximum(rng.uniform(u), xp.finfo(u.dtype).tiny))
    twice, places = xp.concatenate([low, low]), xp.arange(2 * n) % n
    taken, now = xp.zeros(n, places.dtype) - 1, high
    for k in range(min(len(u), n)):
        offered = twice[k : k + n]
        accepted = log_u[k] + offered < now
        now = xp.where(accepted, offered, now)
        taken = xp.where(accepted, places[k : k + n], taken)
    return taken
