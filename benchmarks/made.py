"""Masked autoencoders for distribution estimation (MADE) on the small binary sets, beside the RBMs of binary_sets.py.

    pip install torch==2.13.0
    python benchmarks/made.py [--sets mushrooms dna ...] [--seeds 3]

Germain, Gregor, Murray and Larochelle, "MADE", ICML 2015: one hidden layer of rectified units, direct connections from
inputs to outputs, Adam at 1e-3, minibatches of 100 rows. With several orders of the columns, each minibatch has the
next order, and the density is the mean of those of all orders. Validation rows choose the number of hidden units, that
of orders, and the best state of a run; each seed is judged on the test rows, once. The likelihood is exact. Results are
written to `binary_sets.json` as "made"; runs that are there are not repeated.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from binary_sets import SETTINGS as SETS
from binary_sets import run_settings, splits

RATE = 1e-3
BATCH = 100
UPDATES = 12_000
EVERY = 250  # updates between two looks at the validation rows
PATIENCE = 12  # looks without a better one


@dataclass(frozen=True)
class Setting:
    """Settings that validation rows choose from."""

    n_hidden: int
    orders: int


SETTINGS = [Setting(100, 1), Setting(500, 1), Setting(500, 16)]


class MADE(torch.nn.Module):
    """One hidden layer whose masks let each output depend on the columns before it in an order."""

    def __init__(self, n_columns, n_hidden, orders, rng):
        super().__init__()
        self.first = torch.nn.Linear(n_columns, n_hidden)
        self.last = torch.nn.Linear(n_hidden, n_columns)
        self.direct = torch.nn.Linear(n_columns, n_columns, bias=False)
        torch.nn.init.zeros_(self.direct.weight)
        self.masks = [self._masks(n_columns, n_hidden, k, rng) for k in range(orders)]

    @staticmethod
    def _masks(n_columns, n_hidden, k, rng):
        place = np.arange(n_columns) if k == 0 else rng.permutation(n_columns)
        seen = rng.integers(0, max(1, n_columns - 1), n_hidden)  # last place that a hidden unit depends on
        pairs = (seen[:, None] >= place, place[:, None] > seen, place[:, None] > place)
        return [torch.from_numpy(pair.astype(np.float32)) for pair in pairs]

    def log_p(self, rows, k):
        """Return the log-probability of each row in the order ``k``."""
        into, out, past = self.masks[k]
        linear = torch.nn.functional.linear
        hidden = torch.relu(linear(rows, self.first.weight * into, self.first.bias))
        x = linear(hidden, self.last.weight * out, self.last.bias) + linear(rows, self.direct.weight * past)
        return -torch.nn.functional.binary_cross_entropy_with_logits(x, rows, reduction="none").sum(1)

    @torch.no_grad()
    def score(self, rows):
        """Return the log-probability of each row under the mean of all orders."""
        each = torch.stack([self.log_p(rows, k) for k in range(len(self.masks))])
        return (torch.logsumexp(each, 0) - np.log(len(each))).double()


def train(parts, setting, seed):
    """Train one model and return its result on validation and test rows."""
    began = time.process_time()
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    rows, valid, test = (torch.from_numpy(part) for part in parts)
    model = MADE(rows.shape[1], setting.n_hidden, setting.orders, rng)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    best, kept, at, order = -np.inf, None, 0, []
    for update in range(1, UPDATES + 1):
        if len(order) < BATCH:
            order = rng.permutation(len(rows))
        batch, order = order[:BATCH], order[BATCH:]
        optimizer.zero_grad()
        (-model.log_p(rows[torch.from_numpy(batch)], update % setting.orders).mean()).backward()
        optimizer.step()
        if update % EVERY == 0:
            score = float(model.score(valid).mean())
            if score > best:
                best, at = score, update
                kept = {name: value.clone() for name, value in model.state_dict().items()}
            elif update - at >= PATIENCE * EVERY:
                break
    model.load_state_dict(kept)
    found = model.score(test).numpy()
    error = float(found.std(ddof=1) / len(found) ** 0.5)
    return {
        "valid": best, "test": float(found.mean()), "seed": seed, "updates": at, "standard_error_over_rows": error,
        "seconds": time.process_time() - began,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.sets:
        parts = splits(name)
        run_settings(
            name, "made", SETTINGS, lambda setting, seed, parts=parts: train(parts, setting, seed), options.seeds
        )


if __name__ == "__main__":
    main()
