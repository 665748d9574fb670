"""Training on CSR rows compared with the same dense rows, interleaved, at several shares of zeros and on 20 newsgroups.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/sparse.py [--repeats 5] [--epochs 2] [--quick]

Each time is a whole `fit` divided by its epochs. The result of each pair is the ratio of sparse to dense: of the
medians, of the minima, and of the minimum processor time of the thread (which other load disturbs least; with more than
one BLAS thread it leaves out the other threads). `DEEPBELIEF_DATA` names the folder with `20newsgroups/`; those rows
are left out if it is missing. Counts are taken as presence of a word.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import scipy.sparse
from clocks import clocked, ratios, summary
from common import write

from deepbelief import RBM, DBNClassifier
from deepbelief.diagnostics.speed import interleaved

SHAPES = {
    "784 x 500, batch 100": (784, 500, 100, 5000),
    "2000 x 500, batch 100": (2000, 500, 100, 3000),
    "2000 x 500, batch 10": (2000, 500, 10, 1000),
}
ZEROS = (0.995, 0.98, 0.95, 0.92, 0.9)


def made(n_visible, rows, zeros):
    """Return random 0/1 rows with a share of zeros."""
    rng = np.random.default_rng(0)
    return scipy.sparse.csr_array((rng.random((rows, n_visible)) >= zeros).astype(np.float32))


def newsgroups():
    """Yield name, rows and labels of 20 newsgroups, if available."""
    folder = Path(os.environ.get("DEEPBELIEF_DATA", "."), "20newsgroups")
    if not folder.is_dir():
        return
    small = np.load(folder / "20news_w100.npz")
    yield "20 newsgroups, 100 words", scipy.sparse.csr_array(small["X"].astype(np.float32)), small["group"]
    large = np.load(folder / "20news_2000_testhalf.npz")
    parts = np.ones(len(large["indices"]), np.float32), large["indices"].astype(np.int32), large["indptr"]
    rows = scipy.sparse.csr_array(parts, shape=(len(large["group"]), len(large["vocab"])))
    yield "20 newsgroups, 2000 words", rows, large["group"]


def compare(title, matrix, fit, epochs, repeats):
    """Time a fit on both forms of the rows and print the ratio."""
    dense = matrix.toarray()
    things = {"dense": clocked(lambda: fit(dense), epochs), "csr": clocked(lambda: fit(matrix), epochs)}
    times = interleaved(things, repeats)
    rows = {name: summary(values) for name, values in times.items()}
    ratio = ratios(rows, "dense")["csr"]
    zeros = 1 - matrix.nnz / np.prod(matrix.shape)
    shown = "  ".join(f"{ratio[kind]:.2f} ({kind[:-2]})" for kind in ratio)
    print(f"{title:42} {zeros:6.1%} zeros   csr / dense  {shown}", flush=True)
    return {"zeros": zeros, **rows, "ratio": ratio}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one shape, two repeats; nothing is written")
    options = parser.parse_args()
    repeats, results = 2 if options.quick else options.repeats, {}

    def rbm(n_hidden, batch):
        settings = {"batch_size": batch, "n_iter": options.epochs, "learning_rate": 0.05, "random_state": 0}
        return lambda X: RBM(n_hidden, **settings).fit(X)

    def classifier(y):
        settings = {"pretraining": "none", "batch_size": 100, "max_iter": options.epochs, "random_state": 0}
        return lambda X: DBNClassifier((500, 250), activation="sigmoid", **settings).fit(X, y)

    def keep(title, matrix, fit):
        results[title] = compare(title, matrix, fit, options.epochs, repeats)
        if not options.quick:
            write("sparse", {"settings": vars(options), "results": results})

    for title, (n_visible, n_hidden, batch, rows) in list(SHAPES.items())[: 1 if options.quick else None]:
        for zeros in ZEROS:
            keep(f"CD-1 {title}, {zeros:.1%}", made(n_visible, rows, zeros), rbm(n_hidden, batch))
    for title, matrix, y in newsgroups():
        if options.quick:
            break
        keep(f"CD-1 {title}", matrix, rbm(500, 100))
        keep(f"fine-tuning {title}", matrix, classifier(y))


if __name__ == "__main__":
    main()
