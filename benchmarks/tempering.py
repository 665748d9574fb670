"""Plain and tempered chains on rows with distant modes, compared by exact divergences.

    python benchmarks/tempering.py [--only clusters ghz bars] [--gradients cd pcd ptt] [--seeds 3]

*Two clusters*: 10,000 rows of 40 bits, 30 % near one centre and 70 % near another 36 bits away, with 2 % of the bits
flipped. *GHZ*: half of the rows all 0 and half all 1, n = 4, 8, 12. *Bars*: the 30 patterns of Bars-and-Stripes 4 x 4.
Each gradient estimator makes the same updates at the same rate. log Z is enumerated. The Kullback-Leibler divergence is
that of the model from the distribution behind the rows; the weight is the model's probability of the first mode, not
the share of chains there. Results are written to `tempering.json`.
"""

import argparse
import time
import warnings

import numpy as np
from common import add
from likelihood import bars_and_stripes

from deepbelief import RBM
from deepbelief.errors import DeepBeliefWarning
from deepbelief.likelihood import exact_log_z, log_likelihood

GRADIENTS = ("cd", "pcd", "ptt")
N_BITS, N_APART, FLIPS, SHARE = 40, 36, 0.02, 0.3
N_ROWS, N_TEST = 10_000, 20_000
SETTINGS = {
    "clusters": {
        "n_components": 10, "learning_rate": 0.1, "n_iter": 100, "batch_size": 100, "n_chains": 200,
        "weight_decay": 0.0,
    },
    "ghz": {"learning_rate": 1.0, "n_iter": 8000, "batch_size": 40, "n_chains": 100, "weight_decay": 0.0},
    "bars": {
        "n_components": 16, "learning_rate": 6.0, "n_iter": 10_000, "batch_size": 30, "n_chains": 2000,
        "averaging": 0.3, "centered": True, "weight_decay": 0.0,
    },
}  # fmt: skip


def centres(seed):
    """Return two centres that lie 36 bits apart."""
    first = np.random.default_rng(1000 + seed).integers(0, 2, N_BITS).astype(np.float32)
    second = first.copy()
    second[:N_APART] = 1 - second[:N_APART]
    return first, second


def clusters(seed, n):
    """Return ``n`` rows of the two clusters, exactly 30 % of them near the first centre, and their log-densities."""
    rng, (first, second) = np.random.default_rng([seed, n]), centres(seed)
    n_first = round(SHARE * n)
    rows = np.where(np.arange(n)[:, None] < n_first, first, second)
    rows = np.where(rng.random(rows.shape) < FLIPS, 1 - rows, rows).astype(np.float32)
    near = [(rows != centre).sum(axis=1) * np.log(FLIPS / (1 - FLIPS)) for centre in (first, second)]
    log_p = np.logaddexp(np.log(SHARE) + near[0], np.log(1 - SHARE) + near[1]) + N_BITS * np.log(1 - FLIPS)
    return rows, log_p


def weight_of_first(weights, seed):
    """Return the model's probability that a row is nearer to the first centre, by enumerating the hidden states."""
    W, vbias, hbias = (np.asarray(a, np.float64) for a in (weights.W, weights.vbias, weights.hbias))
    first, _ = centres(seed)
    n = W.shape[1]
    H = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(float)
    x = H @ W.T + vbias
    log_p = H @ hbias + np.logaddexp(0, x).sum(axis=1) - exact_log_z(weights)
    p = 1 / (1 + np.exp(-x[:, :N_APART]))
    agree = np.where(first[:N_APART] == 1, p, 1 - p)
    counts = np.zeros((len(H), N_APART + 1))  # distribution of the number of bits that agree with the first centre
    counts[:, 0] = 1
    for i in range(N_APART):
        moved = np.zeros_like(counts)
        moved[:, 1:] = counts[:, :-1] * agree[:, i : i + 1]
        counts = counts * (1 - agree[:, i : i + 1]) + moved
    half = N_APART // 2
    nearer = counts[:, half + 1 :].sum(axis=1) + counts[:, half] / 2
    return float((np.exp(log_p) * nearer).sum())


def fit(rows, gradient, seed, **settings):
    """Return the fitted RBM, and the entries of its last record and its processor seconds as a dict."""
    began = time.process_time()
    rbm = RBM(settings.pop("n_components"), gradient=gradient, random_state=seed, **settings).fit(rows)
    last, seconds = rbm.history_[-1], time.process_time() - began
    names = ("n_rungs", "rejections", "unmet", "sweeps", "rate_factor", "log_z")
    return rbm, {"seconds": seconds} | {name: last[name] for name in names if name in last}


def run_clusters(gradient, seed):
    rows, _ = clusters(seed, N_ROWS)
    rbm, result = fit(rows, gradient, seed, **SETTINGS["clusters"])
    test, log_p = clusters(seed, N_TEST)
    result["divergence"] = float((log_p - log_likelihood(rbm, test, method="exact").rows).mean())
    result["weight"] = weight_of_first(rbm.weights_, seed)
    result["exact_log_z"] = float(exact_log_z(rbm))
    yield "two clusters", result


def run_ghz(gradient, seed):
    for n in (4, 8, 12):
        rows = np.repeat(np.array([[0.0] * n, [1.0] * n], np.float32), 20, axis=0)
        rbm, result = fit(rows, gradient, seed, n_components=max(2, n // 2), **SETTINGS["ghz"])
        log_p = log_likelihood(rbm, rows[[0, -1]], method="exact").rows
        result |= {"divergence": float(-np.log(2) - log_p.mean()), "weight": float(np.exp(log_p[0]))}
        yield f"GHZ {n}", result | {"exact_log_z": float(exact_log_z(rbm))}


def run_bars(gradient, seed):
    rows = bars_and_stripes()
    rbm, result = fit(rows, gradient, seed, **SETTINGS["bars"])
    mean = log_likelihood(rbm, rows, method="exact").mean
    yield (
        "Bars-and-Stripes 4x4",
        result | {"divergence": float(-np.log(30) - mean), "below_the_bound": float(30 * (-np.log(30) - mean))},
    )


RUNS = {"clusters": run_clusters, "ghz": run_ghz, "bars": run_bars}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--gradients", nargs="+", choices=GRADIENTS, default=GRADIENTS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DeepBeliefWarning)
    for name in options.only:
        for gradient in options.gradients:
            for seed in range(options.seeds):
                for row, result in RUNS[name](gradient, seed):
                    shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}
                    print(f"{row:22}{gradient:5} seed {seed}  {shown}", flush=True)
                    if not options.dry:
                        add("tempering", row, f"{gradient}, seed {seed}", value=result | SETTINGS[name])


if __name__ == "__main__":
    main()
