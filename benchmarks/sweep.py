"""A sweep over three learning rates against one run, on digits28, interleaved, with one BLAS thread on two cores.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 taskset -c 0,1 python benchmarks/sweep.py [--repeats 5] [--components 500]

Both are whole calls: `RBM.fit` with every setting at its default, and `learning_rate_sweep` over 0.1, 0.001 and 1e-6
with two runs at a time. The ratio is that of the medians; the recommendation of each sweep is written beside it.
"""

import argparse
import statistics
import time

from common import write

from deepbelief import RBM, learning_rate_sweep
from deepbelief.datasets import open as open_data

RATES = (1e-1, 1e-3, 1e-6)


def timed(function):
    """Return what a function returns, and the seconds it took."""
    began = time.perf_counter()
    result = function()
    return result, time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--components", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=None, help="fewer epochs, to see that it works")
    options = parser.parse_args()
    rows = open_data("digits28").rows
    settings = {} if options.epochs is None else {"n_iter": options.epochs}
    one, sweep, sweeps = [], [], []
    for seed in range(options.repeats + 1):
        model = RBM(options.components, random_state=seed, **settings)
        _, seconds = timed(lambda model=model: model.fit(rows))
        one.append(seconds)
        result, seconds = timed(
            lambda model=model, seed=seed: learning_rate_sweep(model, rows, rates=RATES, n_jobs=2, random_state=seed)
        )
        sweep.append(seconds)
        sweeps.append(result)
        print(f"seed {seed}: one run {one[-1]:.2f} s, sweep {sweep[-1]:.2f} s, best {result.best_rate}")
    one, sweep, sweeps = one[1:], sweep[1:], sweeps[1:]  # the first round warms up
    run, whole = statistics.median(one), statistics.median(sweep)
    print(sweeps[-1])
    print(f"one run {run:.2f} s, sweep {whole:.2f} s: {whole / run:.2f} times (medians)")
    results = {
        "settings": vars(options) | {"rates": RATES, "n_jobs": 2},
        "one_run_s": one,
        "sweep_s": sweep,
        "ratio_of_medians": whole / run,
        "best_rates": [result.best_rate for result in sweeps],
        "rows": [{k: v for k, v in vars(row).items() if v == v} for row in sweeps[-1].rows],
    }
    write("sweep", {"results": results})


if __name__ == "__main__":
    main()
