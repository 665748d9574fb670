"""Epochs of training compared with scikit-learn, PyTorch and the matrix products alone, interleaved in one run.

    python benchmarks/speed.py [--repeats 7] [--epochs 10] [--only NAME] [--quick]
    python benchmarks/speed.py all [--repeats 7] [--epochs 5] [--only NAME] [--quick]

Each time is a whole `fit` divided by its epochs, checks and monitoring included. The floor is the time of the necessary
matrix products, on arrays of the same shapes, written to preallocated arrays (`deepbelief.diagnostics.speed`).
Fine-tuning is compared at equal batches, solver (SGD with Nesterov's momentum), activation and dtype, with the rows in
memory. Without PyTorch its arm is left out. With more than one BLAS thread, the seconds of the calling thread leave out
the other threads.

``all`` times what else people wait for, each compared with its own matrix products: see workloads.py.
"""

import argparse
import importlib.util
import warnings

from clocks import clocked, ratios, summary
from common import add, environment
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import BernoulliRBM, MLPClassifier

from deepbelief import RBM
from deepbelief.backends import get_backend
from deepbelief.diagnostics.speed import Work, floor, interleaved, ours, rows_for
from deepbelief.gradients import Denoising

RBMS = {
    "784x500, batch 100": Work("cd", (784, 500), 100, 10_000),
    "784x500, batch 32": Work("cd", (784, 500), 32, 6400),
    "784x500, batch 10": Work("cd", (784, 500), 10, 2000),
    "1024x4096, batch 256": Work("cd", (1024, 4096), 256, 10_240),
}
NETS = {"fine-tuning 784-500-250-10, batch 100": Work("finetune", (784, 500, 250, 10), 100, 10_000)}
RATE, MOMENTUM, ALPHA = 0.1, 0.9, 3e-5


def rbms(work, epochs):
    """Return CD-1 and PCD-1 and their competitors."""
    bk, X = get_backend("numpy"), rows_for(work)[0]
    pcd = Work("pcd", work.sizes, work.batch_size, work.n_rows)
    settings = {"n_components": work.sizes[1], "batch_size": work.batch_size, "n_iter": epochs, "random_state": 0}
    things = {
        "floor": clocked(floor(work, bk), 1),
        "deepbelief CD-1": clocked(ours(work, bk, epochs), epochs),
        "deepbelief PCD-1": clocked(ours(pcd, bk, epochs), epochs),
        "BernoulliRBM PCD-1": clocked(lambda: BernoulliRBM(**settings, learning_rate=0.05).fit(X), epochs),
    }
    if work == RBMS["784x500, batch 100"]:  # both of the same products
        adam, noisy = RBM(**settings, learning_rate=1e-4, solver="adam"), RBM(**settings, gradient=Denoising())
        things["deepbelief CD-1, Adam"] = clocked(lambda: adam.fit(X), epochs)
        things["deepbelief denoising"] = clocked(lambda: noisy.fit(X), epochs)
    return things


def nets(work, epochs):
    """Return backpropagation and its competitors."""
    X, y = rows_for(work)
    mlp = MLPClassifier(
        work.sizes[1:-1], activation="logistic", solver="sgd", learning_rate_init=RATE, momentum=MOMENTUM, alpha=ALPHA,
        batch_size=work.batch_size, max_iter=epochs, n_iter_no_change=epochs + 1, random_state=0,
    )  # fmt: skip

    def sklearn():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mlp.fit(X, y)

    things = {
        "floor": clocked(floor(work, get_backend("numpy")), 1),
        "deepbelief": clocked(ours(work, "numpy", epochs), epochs),
        "MLPClassifier": clocked(sklearn, epochs),
    }
    if importlib.util.find_spec("torch"):
        things["PyTorch"] = clocked(torch_fit(work, X, y, epochs), epochs)
    return things


def torch_fit(work, X, y, epochs):
    """Return the same training in PyTorch, written as its tutorials do, with the rows as tensors in memory."""
    import torch

    rows, labels = torch.from_numpy(X), torch.from_numpy(y)
    loss = torch.nn.CrossEntropyLoss()

    def fit():
        torch.manual_seed(0)
        layers = []
        for n_in, n_out in zip(work.sizes, work.sizes[1:], strict=False):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.Sigmoid()]
        net = torch.nn.Sequential(*layers[:-1])
        optimizer = torch.optim.SGD(net.parameters(), RATE, momentum=MOMENTUM, nesterov=True, weight_decay=ALPHA)
        for _ in range(epochs):
            for index in torch.randperm(len(rows)).split(work.batch_size):
                optimizer.zero_grad()
                loss(net(rows[index]), labels[index]).backward()
                optimizer.step()

    return fit


def versions():
    """Return the version of PyTorch and its threads, if it is installed."""
    if not importlib.util.find_spec("torch"):
        return {"torch": None}
    import torch

    return {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}


def show(title, work, rows, against):
    """Print a table of the times as multiples of the floor and of another row's."""
    print(f"{title}, {work.n_rows} rows{'':6}median s, best s, thread s, as they are / of floor / of {against}")
    of_floor, of_other = ratios(rows, "floor"), ratios(rows, against)
    for name, row in rows.items():
        cells = (f"{row[k]:8.4f}{of_floor[name][k]:7.2f}{of_other[name][k]:6.2f}" for k in row)
        print(f"{name:20}" + "  |".join(cells), flush=True)


def everything(options):
    """Time the workloads, and print and store the multiples of their products."""
    from workloads import each

    repeats, epochs = (1, 1) if options.quick else (options.repeats, options.epochs)
    machine = environment()
    key = f"{machine['cpu']}, {machine['vectors']}"
    for name, function, floor_of_it, turns in each(epochs):
        if options.only not in name:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(), floor_of_it()
            times = interleaved({"floor": clocked(floor_of_it, 1), "time": clocked(function, turns)}, repeats)
        rows = {arm: summary(values) for arm, values in times.items()}
        of_floor = ratios(rows, "floor")["time"]
        print(f"{name:40}{rows['time']['median_s']:8.4f} s {of_floor['median_s']:6.2f} of its products", flush=True)
        if not options.quick:
            value = {"floor": rows["floor"], "time": rows["time"], "of_floor": of_floor, "repeats": repeats}
            add("speed", "processors", key, "all", name, value=value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["epochs", "all"], default="epochs")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=10, help="of each fit")
    parser.add_argument("--only", default="", help="only the rows whose names contain this")
    parser.add_argument("--quick", action="store_true", help="one repeat of two epochs; nothing is written")
    options = parser.parse_args()
    if options.what == "all":
        everything(options)
        return
    repeats, epochs = (1, 2) if options.quick else (options.repeats, options.epochs)
    for title, work in (RBMS | NETS).items():
        if options.only not in title:
            continue
        things, against = (rbms, "BernoulliRBM PCD-1") if title in RBMS else (nets, "MLPClassifier")
        times = interleaved(things(work, epochs), repeats)
        rows = {name: summary(values) for name, values in times.items()}
        show(title, work, rows, against)
        of_floor, of_other = ratios(rows, "floor"), ratios(rows, against)
        found = {n: row | {"of_floor": of_floor[n], f"of_{against}": of_other[n]} for n, row in rows.items()}
        if not options.quick:
            machine = environment()
            key, settings = f"{machine['cpu']}, {machine['vectors']}", {"repeats": repeats, "epochs": epochs}
            add("speed", "processors", key, "environment", value=machine | versions())
            add("speed", "processors", key, "settings", title, value=settings)
            add("speed", "processors", key, "results", title, value=found)


if __name__ == "__main__":
    main()
