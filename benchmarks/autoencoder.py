"""MNIST with a short code: mean summed squared error per test image, compared with PCA of the same code size.

    python benchmarks/autoencoder.py [--net deep|wide] [--seeds 0,1,2] [--validate]
    python benchmarks/autoencoder.py --defaults [--net deep|wide] [--seeds 0] [--validate] [--alpha 1e-3]

Settings were chosen with --validate, which trains on the first 50,000 training rows and evaluates the last 10,000; the
final run trains on all 60,000 and evaluates the test rows once. PCA is fitted to the same training rows. Results are
added to autoencoder.json. With --defaults no setting is given except the sizes of `deep`:
`DeepAutoencoder((1000, 500, 250, 30))`, and `DeepAutoencoder()` for `wide`; `--alpha` then compares weight decays, for
the rule of the automatic one.
"""

import argparse
import time

import numpy as np
from common import add, environment, mnist
from sklearn.decomposition import PCA

from deepbelief import RBM, DeepAutoencoder

LAYER = {"learning_rate": 0.1, "schedule": "constant", "batch_size": 100, "n_iter": 20}
CODE = LAYER | {"learning_rate": 0.001}
NETS = {
    "deep": {"sizes": (1000, 500, 250, 30), "code": "linear", "epochs": 60, "alpha": 1e-4},
    "wide": {"sizes": (500, 250), "code": "linear", "epochs": 60, "alpha": 0.0},
    "wide-logistic": {"sizes": (500, 250), "code": "sigmoid", "epochs": 60, "alpha": 0.0},
}
FINETUNE = {"solver": "adam", "learning_rate_init": 0.001, "schedule": "cosine", "batch_size": 100}


def settings_of(net):
    """Return the estimator's settings."""
    top = CODE if net["code"] == "linear" else LAYER
    templates = [RBM(**LAYER)] * (len(net["sizes"]) - 1) + [RBM(**top)]
    return FINETUNE | {"code": net["code"], "rbm": templates, "max_iter": net["epochs"], "alpha": net["alpha"]}


def by_default(name):
    """Return an autoencoder without a setting, apart from the sizes of the deep one."""
    return DeepAutoencoder(NETS[name]["sizes"]) if name == "deep" else DeepAutoencoder()


def by_recipe(name):
    """Return an autoencoder with the settings that were chosen on validation rows."""
    return DeepAutoencoder(NETS[name]["sizes"], **settings_of(NETS[name]))


def run(autoencoder, train, judged):
    """Train once and return the errors and the seconds."""
    began, processor = time.perf_counter(), time.process_time()
    autoencoder.fit(train)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    errors, on_train = autoencoder.reconstruction_error(judged), autoencoder.reconstruction_error(train)
    return {
        "squared_error": float(errors.mean(dtype=np.float64)),
        "squared_error_train": float(on_train.mean(dtype=np.float64)),
        "seconds": seconds,
        "processor_seconds": processor,
        "seconds_pretraining": sum(r["seconds"] for r in autoencoder.history_ if r["phase"] == "pretrain"),
    }


def pca_error(n, train, judged):
    """Return PCA's error on the evaluated rows, and its error when clipped to [0, 1]."""
    pca = PCA(n, random_state=0).fit(train)
    back = pca.inverse_transform(pca.transform(judged))
    return [float(np.square(b - judged).sum(axis=1).mean()) for b in (back, np.clip(back, 0, 1))]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", choices=NETS, default="deep")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--defaults", action="store_true", help="give no setting")
    parser.add_argument("--alpha", type=float, help="with --defaults --validate: weight decay of fine-tuning")
    options = parser.parse_args()
    if options.alpha is not None and not (options.defaults and options.validate):
        parser.error("--alpha needs --defaults and --validate")
    X, _ = mnist()
    train, judged = (X[:50_000], X[50_000:]) if options.validate else (X, mnist("test")[0])
    net, errors = NETS[options.net], []
    title = "-".join(map(str, (784, *net["sizes"]))) + f" {net['code']}" + (" defaults" if options.defaults else "")
    title += "" if options.alpha is None else f" alpha {options.alpha:g}"
    title += " validation" if options.validate else ""
    plain, clipped = pca_error(net["sizes"][-1], train, judged)
    print(f"PCA-{net['sizes'][-1]}: {plain:.4g}, clipped to [0, 1]: {clipped:.4g}", flush=True)
    for seed in map(int, options.seeds.split(",")):
        autoencoder = (by_default if options.defaults else by_recipe)(options.net).set_params(random_state=seed)
        if options.alpha is not None:
            autoencoder.set_params(alpha=options.alpha)
        result = run(autoencoder, train, judged)
        errors.append(result["squared_error"])
        settings = {n: c.value for n, c in autoencoder.resolved_.items()} if options.defaults else net
        told = {"net": settings, "pca": plain, "pca_clipped": clipped, **result, "environment": environment()}
        add("autoencoder", "runs", f"{title} seed {seed}", value=told)
        print(
            f"{title} seed {seed}: squared error {result['squared_error']:.4g} (training rows "
            f"{result['squared_error_train']:.4g}), {result['seconds']:.0f} s, "
            f"{result['processor_seconds']:.0f} s of processor time",
            flush=True,
        )
    print(f"mean {np.mean(errors):.4g}, s.d. {np.std(errors, ddof=min(1, len(errors) - 1)):.2g}")


if __name__ == "__main__":
    main()
