"""What people wait for, each beside the matrix products that it cannot do without: the rows of ``speed.py all``."""

import tempfile
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from recurrent_speed import SIZES, frames
from softmax_speed import BATCH, N_GROUPS, N_HIDDEN, N_STATES
from softmax_speed import rows as grouped_rows

from deepbelief import RBM, DeepAutoencoder, RecurrentRBM, learning_rate_sweep
from deepbelief.datasets import open as open_data
from deepbelief.diagnostics.speed import Work, rows_for
from deepbelief.likelihood import ais_log_z

N_ROWS = 5000
V, H = 784, 500
RUNS, BETAS, CHAINS, STEPS = 100, 400, 1000, 20


def multiplied(counts):
    """Return a function that makes products of these shapes, each as often as given, and does nothing else.

    A shape is (m, k, n), the name of the factor that is transposed ("", "left" or "right"), and a number of times.
    """
    rng, made = np.random.default_rng(0), []
    for (m, k, n), turned, times in counts:
        left, right = (rng.random(shape, np.float32) for shape in ((m, k), (k, n)))
        left = np.ascontiguousarray(left.T).T if turned == "left" else left
        right = np.ascontiguousarray(right.T).T if turned == "right" else right
        made.append((left, right, np.empty((m, n), np.float32), times))
    rounds = max(times for *_, times in made)

    def run():
        for i in range(rounds):
            for left, right, out, times in made:
                if i * times // rounds < (i + 1) * times // rounds:
                    np.matmul(left, right, out=out)

    return run


def gibbs(rows, v, h, steps):
    """Return the products of Gibbs steps."""
    return [((rows, v, h), "", steps), ((rows, h, v), "right", steps)]


def cd(v, h, batch, updates):
    """Return the products of updates by CD-1."""
    return [((batch, v, h), "", 2 * updates), ((batch, h, v), "right", updates), ((v, 2 * batch, h), "left", updates)]


def network(sizes, batch, updates):
    """Return the products of updates by backpropagation."""
    pairs = list(pairwise(sizes))
    found = [((batch, a, b), "", updates) for a, b in pairs]
    found += [((batch, b, a), "right", updates) for a, b in pairs[1:]]
    return found + [((a, batch, b), "left", updates) for a, b in pairs]


def recurrent(n):
    """Return the products of an epoch of a recurrent machine on n frames, in windows."""
    v, h, u, t = (SIZES[name] for name in ("n_visible", "n_hidden", "n_recurrent", "truncation"))
    windows, chain = n // t, SIZES["gibbs_steps"]
    once = [((t, v, h), "", chain + 1), ((t, h, v), "right", chain), ((t, v, u), "", 1), ((t, u, v), "", 1)]
    once += [((t, u, h), "", 1), ((v, 2 * t, h), "left", 1), ((u, t, v), "left", 1), ((u, t, h), "left", 1)]
    once += [((t, v, u), "right", 1), ((t, h, u), "right", 1), ((v, t, u), "left", 1), ((u, t, u), "left", 1)]
    once += [((1, u, u), "", t), ((1, u, u), "right", t)]
    return [(shape, turned, times * windows) for shape, turned, times in once]


def from_disk(X, epochs, folder):
    """Return a fit of rows that are read from a file in windows."""
    path = Path(folder) / "rows.npy"
    np.save(path, X)
    rbm = RBM(H, batch_size=100, learning_rate=0.001, n_iter=epochs, random_state=0, memory_limit=X.nbytes // 8)
    return lambda: rbm.fit(open_data(str(path)).rows)


def workloads(epochs, folder):
    """Yield name, what is timed, its products, and the number of turns of both."""
    X, _ = rows_for(Work("cd", (V, H), 100, N_ROWS))
    bits, updates = (X > 0.5).astype(np.float32), N_ROWS // 100
    settings = {"gradient": "cd", "batch_size": 100, "learning_rate": 0.001, "n_iter": epochs, "random_state": 0}
    whole, gappy = (rows[:N_ROWS] for rows in grouped_rows())
    softmax = RBM(
        N_HIDDEN, visible="softmax:" + ",".join([str(N_STATES)] * N_GROUPS), **{**settings, "batch_size": BATCH}
    )
    groups = cd(N_GROUPS * N_STATES, N_HIDDEN, BATCH, N_ROWS // BATCH)
    yield "softmax groups, 60 x 21 x 200", partial(softmax.fit, whole), groups, epochs
    yield "the same, 30 % missing", partial(softmax.fit, gappy), groups, epochs
    yield "CD-1 784 x 500 from a file, 8 windows", from_disk(bits, epochs, folder), cd(V, H, 100, updates), epochs
    sizes = (V, H, 250, 30, 250, H, V)
    net = DeepAutoencoder(sizes[1:4], pretraining="none", batch_size=100, max_iter=epochs, random_state=0)
    yield "autoencoder 784-500-250-30", partial(net.fit, X), network(sizes, 100, updates), epochs
    rbm = RBM(H, **{**settings, "n_iter": 1}).fit(bits)
    annealed = gibbs(RUNS, V, H, BETAS) + gibbs(RUNS // 2, V, H, BETAS // 4)
    yield "AIS, 100 runs x 400 betas", partial(ais_log_z, rbm, n_runs=RUNS, betas=BETAS), annealed, 1
    drawn = partial(rbm.sample, CHAINS, n_steps=STEPS, method="gibbs", random_state=0)
    yield "sample, 1,000 rows x 20 steps", drawn, gibbs(CHAINS, V, H, STEPS), 1
    holes = np.where(np.random.default_rng(0).random((CHAINS, V)) < 0.3, np.float32(np.nan), bits[:CHAINS])
    filled = partial(rbm.impute, holes, n_steps=STEPS - 5, burn_in=5, random_state=0)
    yield "impute, 1,000 rows x 20 steps", filled, gibbs(CHAINS, V, H, STEPS), 1
    rates = {"rates": (0.01, 0.001, 0.0001), "n_jobs": 1}
    sweep = partial(learning_rate_sweep, RBM(H, **settings), bits, **rates)
    yield "sweep of 3 rates", sweep, cd(V, H, 100, 3 * epochs * (9 * updates // 10)), 1
    model = RecurrentRBM(
        SIZES["n_hidden"], SIZES["n_recurrent"], truncation=SIZES["truncation"], gibbs_steps=SIZES["gibbs_steps"],
        batch_size=1, n_iter=1, pretrain_frames=0, random_state=0,
    )  # fmt: skip
    roll = frames(5000)
    yield "RecurrentRBM, 5,000 frames", partial(model.fit, roll), recurrent(len(roll)), 1


def each(epochs):
    """Yield name, what is timed, its products as a function, and turns; files are removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        for name, function, counts, turns in workloads(epochs, folder):
            yield name, function, multiplied(counts), turns
