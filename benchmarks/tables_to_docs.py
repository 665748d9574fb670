"""Write the documentation's page of measured results from the JSON beside this script.

``python tables_to_docs.py`` writes ``docs/reference/measured.md``; ``--check`` exits with 1 if it is out of date.
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "reference" / "measured.md"
TEST_ROWS = 10_000  # of MNIST
USUAL_RUNS = 5  # of a set in defaults.json
BY_HAND = (  # columns that synthetic rows of tables were judged by before there was a rule
    {"titanic": "survived", "penguins": "species", "mpg": "mpg", "tips": "tip", "planets": "year"},
    {"titanic": "survived", "penguins": "species", "mpg": "mpg", "tips": "time", "planets": "method"},
)
SCORES = ("roc_auc", "average_precision")


def read(name: str) -> Any:
    """Return the results of one script."""
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


def machine(environment: dict[str, Any]) -> str:
    """Return the machine that a result comes from, in words."""
    parts = [str(environment[key]) for key in ("cpu", "vectors") if environment.get(key)]
    return f"{', '.join(parts)}, {environment['cores']} core{'s' if environment['cores'] != 1 else ''}"


def spread(values: Iterable[float], digits: int, unit: str = "") -> str:
    """Return the mean of some runs, and their standard deviation where there are several."""
    values = list(values)
    mean = f"{statistics.mean(values):.{digits}f}{unit}"
    if len(values) < 2:
        return f"{mean} (one seed)"
    return f"{mean} (s.d. {statistics.stdev(values):.{digits}f}, {len(values)} seeds)"


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def by_seed(runs: dict[str, Any]) -> dict[str, list[Any]]:
    """Return runs named 'NAME seed N' or 'NAME, seed N' by their names."""
    found: dict[str, list[Any]] = defaultdict(list)
    for name, run in runs.items():
        found[name.rpartition("seed ")[0].rstrip(" ,")].append(run)
    return found


def percent(errors: Iterable[float]) -> str:
    """Return an error rate over MNIST's test rows."""
    return spread([100 * n / TEST_ROWS for n in errors], 2, " %")


def mnist() -> str:
    """Test errors with all labels."""
    arms = {"pretrained": "pretrained", "none": "without pretraining", "mlp": "`MLPClassifier`"}
    rows = []
    for name, runs in by_seed(read("mnist")["runs"]).items():
        net, arm = name.rsplit(" ", 1) if name.rsplit(" ", 1)[-1] in arms else (name, "pretrained")
        rows.append([net, arms[arm], percent(run["test_errors"] for run in runs)])
    return table(["network", "", "test error"], rows)


def few_labels() -> str:
    """Test errors with few labels, mean over class-balanced draws."""
    rows = []
    for recipe, found in read("few_labels")["recipes"].items():
        for labels, arms in sorted(found["test_error_of_each_draw"].items(), key=lambda item: int(item[0])):
            for arm, errors in arms.items():
                each = [100 * e for e in errors]
                error = statistics.stdev(each) / len(each) ** 0.5
                rows.append(
                    [labels, recipe, arm, f"{statistics.mean(each):.2f} % (s.e. {error:.2f}, {len(each)} draws)"]
                )
    return table(["labels", "recipe", "", "test error"], sorted(rows, key=lambda row: (int(row[0]), row[1])))


def pretraining() -> str:
    """The same fine-tuning after three kinds of pretraining."""
    rows = [
        [name, percent(run["all"]["errors"] for run in runs), percent(run["few"]["errors"] for run in runs)]
        for name, runs in by_seed(read("pretraining")["runs"]).items()
    ]
    return table(["pretraining of 784-500-500-500-10", "50,000 labels", "1,000 labels"], rows)


def autoencoder() -> str:
    """Squared errors of reconstructions."""
    rows = []
    for name, runs in by_seed(read("autoencoder")["runs"]).items():
        best = spread([run["squared_error"] for run in runs], 3)
        rows.append([name, best, f"{runs[0]['pca']:.3f}", f"{runs[0]['pca_clipped']:.3f}"])
    return table(["network and code", "squared error per test image", "PCA", "PCA clipped to [0, 1]"], rows)


def likelihood() -> str:
    """Log-likelihoods of machines with a known or estimated log Z."""
    found = read("likelihood")
    bars = [[name, f"{runs[0]['below_the_bound']:.2f}"] for name, runs in by_seed(found["bars-and-stripes"]).items()]
    small = [
        [name, spread([run["test"] for run in runs], 2)]
        for name, runs in by_seed(found["16 hidden, thresholded"]).items()
    ]
    large = [
        [words, f"{run['learning_rate']:g}", str(run["n_iter"]), f"{run.get('l1', 0):g}"]
        + [f"{run[key]:.2f}" for key in ("test", "test_pessimistic")]
        for arm, words in (("sample", "sampled once"), ("resample", "sampled in each epoch"))
        for run in found[f"500 hidden, {arm}"].values()
    ]
    gradients = [
        [name, spread(run["test"], 1), f"{statistics.mean(run['seconds']):.1f}"]
        for name, run in found["gradients, 16 hidden, 10,000 rows"].items()
    ]
    return (
        "Bars-and-Stripes 4 x 4: exact log-likelihood summed over the patterns, in nats below its bound of -102.04.\n\n"
        + table(["gradient", "nats below the bound"], bars)
        + "\n\nMNIST binarised at a threshold, 16 hidden units: exact log-likelihood in nats per test row.\n\n"
        + table(["training", "log-likelihood"], small)
        + "\n\nGradients (`python likelihood.py gradients`): the same machine on 10,000 rows, 40 epochs, plain units "
        "unless centred.\n\n"
        + table(["gradient", "log-likelihood", "processor seconds"], gradients)
        + "\n\nMNIST binarised by sampling, 500 hidden units: nats per test row, by annealing; the low end "
        "is that of three standard deviations of Z.\n\n"
        + table(["training rows", "rate", "epochs", "L1", "log-likelihood", "low end"], large)
    )


def tempering() -> str:
    """Exact divergences and weights of modes that lie far apart."""
    rows = []
    for name, found in read("tempering").items():
        for gradient, runs in by_seed(dict(sorted(found.items()))).items() if name != "environment" else ():
            divergences = ", ".join(f"{run['divergence']:.3f}" for run in runs)
            weights = ", ".join(f"{run['weight']:.2f}" for run in runs if "weight" in run)
            rows.append([name, gradient, divergences, weights])
    return (
        "Exact Kullback-Leibler divergence of the model from the distribution of the rows, in nats, and the model's "
        "probability of the first of two modes: 0.3 for two clusters, 0.5 for GHZ (half of the rows all 0, half all "
        "1). One number per seed.\n\n" + table(["rows", "gradient", "divergence", "weight"], rows)
    )


ARMS = {"pcd": "RBM, pcd", "ptt": "RBM, ptt", "recipe": "RBM, recipe", "made": "MADE"}


def chosen_runs(found: dict[str, Any], arm: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the chosen setting of an arm, and the runs that have it."""
    own = found.get(arm, {"runs": []})
    chosen = own.get("chosen", own["runs"][0]["setting"] if own["runs"] else {})
    return chosen, [run for run in own["runs"] if run["setting"] == chosen]


def arm_cell(found: dict[str, Any], arm: str) -> str:
    """Return the result of an arm on one set, and the settings that validation rows chose."""
    chosen, runs = chosen_runs(found, arm)
    if not runs:
        return "not measured"
    words = f"{chosen['n_hidden']} hidden"
    words += f", {chosen['updates']:,} updates" if arm == "recipe" else ""
    words += f", {chosen['orders']} order{'s' * (chosen['orders'] > 1)}" if arm == "made" else ""
    return f"{spread([run['test'] for run in runs], 2)}; {words}"


def ahead_of_made(sets: dict[str, Any]) -> str:
    """Return on which sets the RBM that validation rows prefer has a higher mean than MADE, and on which it has not."""
    words: dict[bool, list[str]] = {True: [], False: []}
    for name, found in sets.items():
        arms = [arm for arm in ARMS if chosen_runs(found, arm)[1]]
        if "made" not in arms or len(arms) == 1:
            continue
        runs = {arm: chosen_runs(found, arm)[1] for arm in arms}
        best = max((arm for arm in arms if arm != "made"), key=lambda arm: mean_of(runs[arm], "valid"))
        gain = mean_of(runs[best], "test") - mean_of(runs["made"], "test")
        words[gain > 0].append(f"{name} by {abs(gain):.2f}")
    parts = [f"{which} MADE on {', '.join(words[key])}" for key, which in ((True, "ahead of"), (False, "behind"))
             if words[key]]  # fmt: skip
    return f" The RBM that validation rows prefer is {', and '.join(parts)} nats per row." if parts else ""


def mean_of(runs: list[dict[str, Any]], key: str) -> float:
    """Return the mean of one number over runs."""
    return statistics.mean(run[key] for run in runs)


def binary_sets() -> str:
    """Held-out log-likelihoods of binary sets."""
    results = read("binary_sets")
    sets = {name: found for name, found in results.items() if name != "environment" and any(a in found for a in ARMS)}
    rows = []
    for name, found in sets.items():
        base = found["baselines"]
        simple = [f"{value:.2f}" for value in (base["columns"], base["groups"], base["mixture"]["test"])]
        rows.append([name, *simple, *(arm_cell(found, arm) for arm in ARMS)])
    note = (
        "Nats per test row. Columns that exclude each other are softmax groups. log Z is exact up to 25 hidden units "
        "and for nltcs; else the values are at the low end of the interval of annealing. The recipe is that of "
        "`deepbelief.recipes.DENSITY` with the updates that are given. By default, an RBM of one-hot groups has this "
        'recipe with about 6,000 updates, and so has one of other 0/1 columns with `visible="groups"`. moviereview '
        'has a weight decay of 0.01 in place of 0.0003. Use `gradient="ptt"` where modes are far apart, and the recipe '
        'or `"pcd"` elsewhere. MADE (`python made.py`) is a masked autoencoder of the bits, written in PyTorch, whose '
        f"hidden units and orders validation rows chose; its likelihood is exact.{ahead_of_made(sets)}\n\n"
    )
    return note + table(["set", "columns", "groups", "mixture", *ARMS.values()], rows)


def pair(shares: Iterable[float]) -> str:
    """Return two shares in one cell."""
    return ", ".join(f"{share:.2f}" for share in shares)


SPLIT = ("train", "valid")


def rna() -> str:
    """Samples of an RNA family."""
    parts, shown = [], {"100", "400", "1500", "5000", "15000"}
    for name, found in read("rna").items():
        if name == "environment":
            continue
        if "samples" in found:
            rows = [[words, *(f"{found[key][part]:.3f}" for part in ("train", "valid")),
                     ", ".join(f"{share:.2f}" for share in found[key]["nearest"])]
                    for words, key in ((name, "samples"), ("training sequences", "drawn"))]  # fmt: skip
            parts.append(
                f"{found['chains']:,} chains of a Potts model trained by {name}. The last column has the shares of "
                "validation sequences, and of samples, whose nearest neighbour is of the same kind. All correlations "
                "rise with the number of samples: compare with as many training sequences.\n\n"
                + table(["samples", "with training sequences", "with validation sequences", "nearest"], rows)
            )
            continue
        steps, words = [step for step in found["gibbs"] if step in shown], ("training", "validation")
        runs = [(step, found["gibbs"][step]) for step in steps]
        runs += [(f"{step}, tempered", run) for step, run in found.get("pt", {}).items()]
        rows = [
            [step, *(f"{run[part]:.3f}" for part in SPLIT), *(pair(run["aats"][part]) for part in SPLIT)]
            for step, run in runs
        ]
        drawn = [f"{found['drawn'][part]:.3f}" for part in SPLIT]
        rows.append(["training sequences", *drawn, "", pair(found["aats_ceiling"])])
        parts.append(
            f"RF00379, {name}, {found['chains']:,} samples: Pearson's r of the connected correlations of two sites, "
            "and AATS, the shares of sequences and of samples whose nearest neighbour is of the same kind. Similar "
            "sequences count as about one in AATS.\n\n"
            + table(
                ["Gibbs steps", *(f"{what}, {part} sequences" for what in ("r", "AATS") for part in words)],
                rows,
            )
        )
    return "\n\n".join(parts)


def imputation() -> str:
    """Missing pixels."""
    found = read("imputation")
    rows = [
        [name, f"{result['squared_error']:.2f} (s.e. {result['standard_error']:.2f})"]
        for name, result in found["results"].items()
    ]
    return table([f"MNIST, {100 * found['missing']:.0f} % of the pixels missing", "squared error per row"], rows)


def outliers() -> str:
    """Outliers among digits."""
    rows = [[name, f"{result['roc_auc']:.3f}"] for name, result in read("outliers")["results"].items()]
    return table(["score", "ROC-AUC, mean of 10 classes"], rows)


def outlier_tables() -> str:
    """Outliers in raw tables."""
    parts = []
    for protocol, words in (("same", "scored on the training rows"), ("split", "trained on 70 %, scored on 30 %")):
        sets = read("outlier_tables").get(protocol, {})
        found: dict[str, list[Any]] = defaultdict(list)
        for seeds in sets.values():
            for detector in next(iter(seeds.values())):
                found[detector].append([run[detector] for run in seeds.values() if detector in run])
        rows = [
            [f"`{name}`" if "(" in name else name]
            + [f"{statistics.mean(statistics.mean(r[key] for r in runs) for runs in each):.3f}" for key in SCORES]
            for name, each in found.items()
            if len(each) == len(sets)
        ]
        if rows:
            seeds = min(map(len, sets.values()))
            title = f"{len(sets)} sets, {words}, {seeds} seed{'s' * (seeds > 1)} where there is one"
            parts.append(table([title, "mean ROC-AUC", "mean average precision"], rows))
    return "\n\n".join(parts)


def geometric(values: Iterable[float]) -> str:
    """Return the geometric mean of some ratios."""
    return f"{statistics.geometric_mean(values):.2f}"


def share_of_target(runs: dict[str, list[Any]], targets: dict[str, str]) -> dict[str, float]:
    """Return the share of one column of each table, at most 1."""
    found = {}
    for name, each in runs.items():
        scores = [run["columns"][targets[name]] for run in each]
        shares = [max(score["score"], 0.0) / score["of_real"] for score in scores]
        found[name] = min(1.0, statistics.mean(shares))
    return found


def synthetic_rows(sets: dict[str, Any], how: str, where: str) -> str:
    """Return the table of synthetic rows for one way of splitting the rows."""
    arms = list(dict.fromkeys(arm for seeds in sets.values() for found in seeds.values() for arm in found))
    arms.sort(key=lambda arm: not arm.startswith("RBM"))
    n_seeds = min(len(seeds) for seeds in sets.values())
    rows = []
    for arm in arms:
        each = {name: [seed[arm] for seed in seeds.values() if arm in seed] for name, seeds in sets.items()}
        if not all(each.values()):
            continue
        means = {
            key: {name: statistics.mean(run[key] for run in runs) for name, runs in each.items()}
            for key in ("share", "association", "nearer", "seconds")
        }
        shares = means["share"]
        listed = ", ".join(f"{share:.2f}" for share in shares.values())
        rows.append(
            [arm, f"{statistics.mean(shares.values()):.2f} ({listed})"]
            + [f"{statistics.mean(share_of_target(each, chosen).values()):.2f}" for chosen in BY_HAND]
            + [f"{statistics.mean(means[key].values()):.2f}" for key in ("association", "nearer")]
            + [f"{statistics.mean(means['seconds'].values()):.1f}"]
        )
    return (
        f"Synthetic rows; {how}; number of seeds: {n_seeds}; {where}. "
        "The share is the sum of the scores of forests trained on "
        "synthetic rows, one for each column, divided by that of forests trained on real rows. Columns count that "
        "the training rows predict with an R2, or 2 AUC - 1, of at least 0.3 in cross-validation. The brackets "
        f"list {', '.join(sets)}. The next two numbers are the mean shares for one column of each table, "
        "chosen by hand: survived, species, mpg, and tip and year, which real rows predict badly, or time "
        "and method.\n\n"
        + table(
            [
                "model", "share", "with tip and year", "with time and method", "association error",
                "share nearer to training rows", "seconds",
            ],
            rows,
        )
    )  # fmt: skip


def tables() -> str:
    """Imputation and synthetic rows of tables of mixed columns."""
    found, parts = read("tables"), []
    runs = [
        (name, each)
        for name, cases in found.get("impute", {}).items()
        for seeds in cases.values()
        for each in seeds.values()
    ]
    if runs:
        names, n_seeds = (
            sorted({name for name, _ in runs}),
            {len(s) for c in found["impute"].values() for s in c.values()},
        )
        kinds = ("numbers", "categories")
        rows = []
        for arm in runs[0][1]:
            of_arm = [(name, {k: each[arm][k] / each["forests"][k] for k in kinds}) for name, each in runs]
            seconds = statistics.mean(each[arm]["seconds"] for _, each in runs)
            rows.append(
                [f"`{arm}`" if arm != "forests" else arm, *(geometric(r[k] for _, r in of_arm) for k in kinds)]
                + [", ".join(geometric(r[k] for n, r in of_arm if n == name) for k in kinds) for name in names]
                + [f"{seconds:.1f}"]
            )
        parts.append(
            "Imputation of cells that were removed (10 and 30 %, at random or depending on another column); "
            f"number of seeds: {min(n_seeds)}; {machine(found['environments']['impute'])}. Values are geometric "
            "means of the ratio to the errors of a forest imputer. The column of each table lists numbers, then "
            "categories.\n\n" + table(["imputer", *kinds, *names, "seconds"], rows)
        )
    for key, how in (
        (
            "synthesise",
            "rows of one family, such as planets of one star, stay on one side of the split and of each fold",
        ),
        (
            "synthesise, rows split at random",
            "rows are split at random, so that test rows have relatives among the others",
        ),
    ):
        if sets := found.get(key, {}):
            parts.append(synthetic_rows(sets, how, machine(found["environments"][key])))
    return "\n\n".join(parts)


def pianorolls() -> str:
    """Polyphonic music."""
    rows = [
        [name, spread([run["log_likelihood"] for run in runs], 2), f"{min(run['low'] for run in runs):.2f}"]
        for name, runs in by_seed(read("pianorolls")["runs"]).items()
    ]
    return table(["set", "nats per test frame", "lower end of the AIS intervals"], rows)


def speed() -> str:
    """Time of an epoch beside its matrix products alone, on each processor."""
    parts = ["The floor is the time of the matrix products alone."]
    for processor, found in read("speed")["processors"].items():
        rows = []
        for shape, arms in found["results"].items():
            for arm, times in arms.items():
                others = [
                    f"{value['median_s']:.2f} {key.replace('_', ' ')}" for key, value in times.items() if "of_" in key
                ]
                rows.append([shape, arm, f"{1000 * times['median_s']:.1f} ms", "; ".join(others)])
        parts += [f"{processor}:", table(["case", "", "median", "ratio of medians"], rows)]
    return "\n\n".join(parts)


def softmax_speed() -> str:
    """Time of an epoch on softmax groups."""
    found = read("softmax_speed")["results"]
    rows = [
        [name, f"{1000 * row['thread_s']:.0f} ms", f"{row['of_floor']['thread_s']:.2f}"] for name, row in found.items()
    ]
    return (
        "60 groups of 21 states, 200 hidden units, 10,000 rows, CD-1. The floor is the time of the matrix products "
        "alone; least processor time of the thread.\n\n" + table(["", "an epoch", "multiple of the floor"], rows)
    )


def pipelines() -> str:
    """Single rows and searches, beside scikit-learn's estimators."""
    found = read("pipelines")
    rows = [
        [processor, name, f"{row['us']:.0f} us", f"{row['ratio']:.2f}"]
        for processor, calls in found["row"].items()
        for name, row in calls.items()
    ]
    for processor, jobs in found["search"].items():
        row = jobs["two jobs"]
        ratio = row["of_one_job"]["median_s"]
        rows.append([processor, "two jobs of a search, of one job alone", f"{row['median_s']:.2f} s", f"{ratio:.2f}"])
    return "One row at a time, medians, 784 x 500.\n\n" + table(["", "", "time", "ratio"], rows)


def peers() -> str:
    """An epoch beside other packages."""
    shapes = read("peers")["results"]
    names = dict.fromkeys(name for results in shapes.values() for name in results)
    rows = [
        [name, *(f"{r[name]['of_ours']['median_s']:.2f}" if name in r else "" for r in shapes.values())]
        for name in names
    ]
    return "Times as multiples of deepbelief's by the same gradient and precision.\n\n" + table(["", *shapes], rows)


def presets() -> str:
    """Error and cost of each preset."""
    rows = [
        [f"`{name}`", percent(TEST_ROWS * run["test_error"] for run in runs), f"{runs[0]['processor_seconds']:.0f} s"]
        for name, runs in by_seed(read("presets")["runs"]).items()
    ]
    what = "`DBNClassifier(preset=...)` on MNIST with all labels; no other setting is given.\n\n"
    return what + table(["preset", "test error", "processor time"], rows)


def defaults() -> str:
    """Estimators without a setting."""
    results = read("defaults")["results"]
    arms = list(next(iter(results.values())))
    rows = [
        [name, *(with_error(found[arm]["test_error"]) if arm in found else "" for arm in arms)]
        for name, found in results.items()
    ]
    note = "Test error in %; for regression 100 (1 - R2). Means over splits, with standard errors.\n\n"
    return note + table(["data", *arms], rows)


def with_error(errors: list[float]) -> str:
    """Return the mean of errors in %, its standard error, and how many there are if fewer than `USUAL_RUNS`."""
    mean = f"{100 * statistics.mean(errors):.2f}"
    if len(errors) == 1:
        return f"{mean} (one seed)"
    counted = f", {len(errors)} seeds" if len(errors) < USUAL_RUNS else ""
    return f"{mean} ({100 * statistics.stdev(errors) / len(errors) ** 0.5:.2f}{counted})"


def targets() -> str:
    """Regression."""
    rows = [
        [data, f"`{arm}`", f"{statistics.mean(values['r2']):.3f}"]
        for data, arms in read("targets")["regression"].items()
        for arm, values in arms.items()
    ]
    return table(["data", "", "R2, mean of 10 splits"], rows)


def memory() -> str:
    """Peak memory of training."""
    rows = [[name, f"{result['of_data']:.2f}"] for name, result in read("memory")["results"].items()]
    return table(["`fit` on 60,000 x 784 rows", "peak as a multiple of the rows in float32"], rows)


SECTIONS = {
    "mnist": "MNIST, all labels",
    "pretraining": "Does pretraining help?",
    "few_labels": "MNIST, few labels",
    "autoencoder": "Autoencoders on MNIST",
    "likelihood": "Likelihoods",
    "tempering": "Distant modes",
    "binary_sets": "Binary sets",
    "rna": "Samples of an RNA family",
    "imputation": "Missing values",
    "outliers": "Outliers",
    "outlier_tables": "Outliers in tables",
    "tables": "Tables of mixed columns",
    "pianorolls": "Polyphonic music",
    "defaults": "Default settings",
    "presets": "Presets",
    "targets": "Regression",
    "speed": "Speed",
    "softmax_speed": "Speed on softmax groups",
    "pipelines": "Single rows and searches",
    "peers": "Speed compared with other packages",
    "memory": "Memory",
}
INTRODUCTION = """# Measured results

All numbers come from the JSON files that the scripts in `benchmarks/` write. `benchmarks/README.md` describes the
protocols and the settings that were tried. Means are over seeds; s.d. is their standard deviation and s.e. the standard
error of the mean. `python benchmarks/tables_to_docs.py` generates this page.
"""


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    for name, title in SECTIONS.items():
        if not (HERE / f"{name}.json").is_file():
            continue
        results = read(name)
        environment = None if "environments" in results else results.get("environment")  # of the last run
        where = f" {machine(environment)}." if environment else ""
        parts.append(f"## {title}\n\n`python {name}.py`.{where}\n\n{globals()[name]()}\n")
    return "\n".join(parts)


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the page is out of date")
    text = page()
    if parser.parse_args().check:
        return int(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
