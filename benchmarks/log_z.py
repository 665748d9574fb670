"""Accuracy of estimates of log Z where the exact value is known.

    python benchmarks/log_z.py [--hidden 20] [--epochs 20] [--repeats 100]

An RBM with 20 hidden units on MNIST, sampled once to binary: 100 runs of annealed importance sampling along the
14,500 inverse temperatures of Salakhutdinov and Murray (2008), reverse annealing from exact samples, and enumeration.
Then the coverage of the interval of 3 standard deviations: repeats on a small machine (12 hidden units
on the 64 pixels of scikit-learn's digits, thresholded at a half), with fewer temperatures.
"""

import argparse
import time
import warnings

import numpy as np
from common import mnist, write
from sklearn.datasets import load_digits

from deepbelief import RBM
from deepbelief.errors import DeepBeliefWarning
from deepbelief.likelihood import ais_log_z, exact_log_z, log_likelihood, reverse_ais_log_z

BINARISED = "each pixel drawn once with its grey level as probability, NumPy's default_rng(seed 0 for training, 1 test)"


def sampled_once(rows, seed):
    """Return binary rows, each pixel drawn once with its grey level as probability."""
    return (np.random.default_rng(seed).random(rows.shape, dtype=np.float32) < rows).astype(np.float32)


def timed(function, *args, **settings):
    """Return a result and its seconds."""
    began = time.perf_counter()
    return function(*args, **settings), time.perf_counter() - began


def large(n_hidden, epochs):
    """Compare both directions of annealing with enumeration on MNIST."""
    train, test = sampled_once(mnist()[0], 0), sampled_once(mnist("test")[0], 1)
    rbm = RBM(n_hidden, gibbs_steps=5, n_iter=epochs, random_state=0).fit(train)
    exact, seconds = timed(exact_log_z, rbm)
    found = {"n_hidden": n_hidden, "epochs": epochs, "binarised": BINARISED, "exact": exact, "exact_seconds": seconds}
    for name, function, n_seeds in (("ais", ais_log_z, 3), ("reverse", reverse_ais_log_z, 1)):
        found[name] = []
        for seed in range(n_seeds):
            estimate, seconds = timed(function, rbm, random_state=seed)
            row = {"log_z": estimate.log_z, "low": estimate.low, "high": estimate.high}
            row |= {"effective_sample_size": estimate.effective_sample_size, "error": estimate.log_z - exact}
            found[name].append(row | {"seconds": seconds})
            print(f"{name:8} seed {seed}  {estimate}  error {estimate.log_z - exact:+.4f}  {seconds:.1f} s", flush=True)
    found["test_log_likelihood"] = log_likelihood(rbm, test, log_z=exact).mean
    print(f"exact    {exact:.4f}, {found['exact_seconds']:.1f} s; test {found['test_log_likelihood']:.2f} nats")
    return found


def small(repeats, n_betas):
    """Count how often the interval of forward annealing holds the exact value."""
    X = (load_digits().data > 7.5).astype(float)
    rbm = RBM(12, gibbs_steps=5, n_iter=60, random_state=0).fit(X)
    exact = exact_log_z(rbm)
    estimates = [ais_log_z(rbm, betas=n_betas, random_state=seed) for seed in range(repeats)]
    held = sum(e.low <= exact <= e.high for e in estimates)
    errors = np.array([e.log_z - exact for e in estimates])
    above = [reverse_ais_log_z(rbm, betas=n_betas, random_state=seed).log_z - exact for seed in range(repeats)]
    print(
        f"{held} of {repeats} intervals hold log Z; mean error {errors.mean():+.4f} (s.d. {errors.std():.4f}), "
        f"reverse {np.mean(above):+.4f}"
    )
    return {
        "n_hidden": 12, "n_visible": 64, "n_runs": 100, "n_betas": n_betas, "repeats": repeats, "held": held,
        "exact": exact, "errors": errors.tolist(), "reverse_errors": above,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--betas", type=int, default=300, help="of the small machine")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DeepBeliefWarning)
    found = {"small": small(options.repeats, options.betas)}
    write("log_z", {"results": found})
    found["mnist"] = large(options.hidden, options.epochs)
    write("log_z", {"results": found})


if __name__ == "__main__":
    main()
