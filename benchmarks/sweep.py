"""A sweep over three learning rates compared with one run, on digits28, interleaved, one BLAS thread on two cores.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 taskset -c 0,1 python benchmarks/sweep.py [--repeats 5] [--components 500]

Both are whole calls: `RBM.fit` with every setting at its default, and `learning_rate_sweep` over 0.1, 0.001 and 1e-6
with two runs at a time. The ratios, of wall clock and of processor time, are those of the medians; processor time does
not depend on other load. A recommendation is right if a machine trained by itself at that rate has the highest exact
pseudo-log-likelihood of the rows that the sweep held out; this is not part of the times.
"""

import argparse
import statistics
import time

from common import write

from deepbelief import RBM, learning_rate_sweep
from deepbelief.datasets import open as open_data
from deepbelief.training import split_rows

RATES = (1e-1, 1e-3, 1e-6)


def timed(function):
    """Return the result of a function, with its wall and processor seconds."""
    began = time.perf_counter(), time.process_time()
    result = function()
    return result, (time.perf_counter() - began[0], time.process_time() - began[1])


def exact_scores(rows, components, seed, settings):
    """Return the exact pseudo-log-likelihood of the held-out rows after a run by itself at each rate."""
    train, held, _, _ = split_rows(rows, 0.1, seed)
    train, held = train.take(slice(None)), held.take(slice(None))
    models = {rate: RBM(components, learning_rate=rate, random_state=seed, **settings) for rate in RATES}
    return {rate: float(model.fit(train).score(held)) for rate, model in models.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--components", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=None, help="fewer epochs, to see that it works")
    options = parser.parse_args()
    rows = open_data("digits28").rows
    settings = {} if options.epochs is None else {"n_iter": options.epochs}
    one, sweep, sweeps, exact = [], [], [], []
    for seed in range(options.repeats + 1):
        model = RBM(options.components, random_state=seed, **settings)
        _, seconds = timed(lambda model=model: model.fit(rows))
        one.append(seconds)
        result, seconds = timed(
            lambda model=model, seed=seed: learning_rate_sweep(model, rows, rates=RATES, n_jobs=2, random_state=seed)
        )
        sweep.append(seconds)
        sweeps.append(result)
        exact.append(exact_scores(rows, options.components, seed, settings))
        best = max(exact[-1], key=exact[-1].get)
        print(f"seed {seed}: one run {one[-1]}, sweep {sweep[-1]}, says {result.best_rate}, best {best}", flush=True)
    print(sweeps[-1])
    pairs = {"wall": 0, "processor": 1}
    # The first round warms up.
    ratios = {k: statistics.median(s[i] for s in sweep[1:]) / statistics.median(s[i] for s in one[1:])
              for k, i in pairs.items()}  # fmt: skip
    print(", ".join(f"{name}: {ratio:.2f} times one run" for name, ratio in ratios.items()))
    results = {
        "settings": vars(options) | {"rates": RATES, "n_jobs": 2},
        "one_run_s": one,
        "sweep_s": sweep,
        "ratio_of_medians": ratios,
        "best_rates": [result.best_rate for result in sweeps],
        "exact_scores": exact,
        "rows": [{k: v for k, v in vars(row).items() if v == v} for row in sweeps[-1].rows],
    }
    write("sweep", {"results": results})


if __name__ == "__main__":
    main()
