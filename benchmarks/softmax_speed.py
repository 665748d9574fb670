"""Epochs on softmax groups, complete and with missing groups, compared with the matrix products alone, interleaved.

    python benchmarks/softmax_speed.py [--repeats 7] [--epochs 5]

60 groups of 21 states, 200 hidden units, 10,000 rows, CD-1 in minibatches of 100. 30 % of the groups are missing where
rows have gaps. Each time is a whole `fit` divided by its epochs; the floor is as in `speed.py`.
"""

import argparse
from functools import partial

import numpy as np
from clocks import clocked, ratios, summary
from common import write

from deepbelief import RBM
from deepbelief.backends import get_backend
from deepbelief.diagnostics.speed import Work, floor, interleaved

N_GROUPS, N_STATES, N_HIDDEN, N_ROWS, BATCH = 60, 21, 200, 10_000, 100
MISSING = 0.3


def rows():
    """Return rows whose groups depend on each other, and the same with missing groups, as float32."""
    rng = np.random.default_rng(0)
    kind = rng.integers(N_STATES, size=(N_ROWS, 1))
    states = np.where(rng.random((N_ROWS, N_GROUPS)) < 0.5, kind, rng.integers(N_STATES, size=(N_ROWS, N_GROUPS)))
    whole = np.eye(N_STATES, dtype=np.float32)[states]
    gappy = np.where(rng.random((N_ROWS, N_GROUPS, 1)) < MISSING, np.float32(np.nan), whole)
    return whole.reshape(N_ROWS, -1), gappy.reshape(N_ROWS, -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    whole, gappy = rows()
    visible = "softmax:" + ",".join([str(N_STATES)] * N_GROUPS)
    settings = {"gradient": "cd", "batch_size": BATCH, "n_iter": options.epochs}  # not the recipe for densities
    rbm = RBM(N_HIDDEN, visible=visible, random_state=0, **settings)
    work = Work("cd", (N_GROUPS * N_STATES, N_HIDDEN), BATCH, N_ROWS)
    things = {
        "floor": clocked(floor(work, get_backend("numpy")), 1),
        "whole rows": clocked(partial(rbm.fit, whole), options.epochs),
        "30 % of the groups missing": clocked(partial(rbm.fit, gappy), options.epochs),
    }
    results = {name: summary(times) for name, times in interleaved(things, options.repeats).items()}
    of_floor, of_whole = ratios(results, "floor"), ratios(results, "whole rows")
    for name, row in results.items():
        row |= {"of_floor": of_floor[name], "of_whole_rows": of_whole[name]}
        print(f"{name:28}{row['thread_s']:8.4f} s, {row['of_floor']['thread_s']:.2f} of the floor", flush=True)
    write("softmax_speed", {"settings": vars(options), "results": results})


if __name__ == "__main__":
    main()
