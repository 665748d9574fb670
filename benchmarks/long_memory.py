"""A cue and its repetition 50 frames later: learned with truncation 100, not with truncation 10.

    python benchmarks/long_memory.py [--cell gru|tanh] [--seeds 0,1,2]

Each sequence of 51 frames begins with a marked symbol, A or B. Unmarked symbols, A or B, occur in between (with
probability 0.04 in a frame) and mean nothing; the frame before the last announces that the first symbol is repeated.
The network is pretrained as by `pretrain_recurrent` (cross-entropy of the next frame), then its machines are trained
with it for an epoch. The result is the share of test sequences whose last frame is predicted. With truncation 10 the
state is still carried over the cuts, but it is not trained to keep the symbol. Results go to long_memory.json.
"""

import argparse
import time

import numpy as np
from common import write

from deepbelief import RecurrentRBM

GAP, RATE = 50, 0.04
SETTINGS = {"n_components": 4, "n_recurrent": 16, "learning_rate": 0.01, "batch_size": 20, "gibbs_steps": 1}


def task(n, rng):
    """Return frames of n sequences, their lengths, and the symbols that are to be kept."""
    symbols = rng.integers(0, 2, (n, GAP + 1))
    symbols[:, GAP] = symbols[:, 0]
    there = rng.random((n, GAP + 1)) < RATE
    there[:, [0, GAP]], there[:, GAP - 1] = True, False
    frames = np.zeros((n, GAP + 1, 4), np.float32)
    sequence, step = np.nonzero(there)
    frames[sequence, step, symbols[sequence, step]] = 1
    frames[:, 0, 2] = frames[:, GAP - 1, 3] = 1  # "this one", and "now"
    return frames.reshape(-1, 4), np.full(n, GAP + 1), symbols[:, 0]


def accuracy(model, frames, lengths, symbols):
    """Return the share of sequences whose last frame is predicted."""
    p = model.predict_next(frames, lengths).reshape(len(lengths), GAP + 1, -1)[:, GAP - 1, :2]
    return float((p.argmax(axis=1) == symbols).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", choices=("gru", "tanh"), default="gru")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    runs = []
    for seed in map(int, options.seeds.split(",")):
        rng = np.random.default_rng(seed)
        train, test = task(1000, rng), task(200, rng)
        for truncation in (100, 10):
            began = time.process_time()
            model = RecurrentRBM(
                **SETTINGS, cell=options.cell, truncation=truncation, pretrain_recurrent=options.epochs, n_iter=1,
                random_state=seed,
            ).fit(train[0], lengths=train[1])  # fmt: skip
            found = {
                "seed": seed,
                "truncation": truncation,
                "epochs": options.epochs,
                "accuracy": accuracy(model, *test),
            }
            runs.append(found | {"processor_seconds": time.process_time() - began})
            print(runs[-1], flush=True)
            write("long_memory", {"settings": SETTINGS, "cell": options.cell, "runs": runs})


if __name__ == "__main__":
    main()
