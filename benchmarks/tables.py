"""Tables of mixed columns: filling in missing values, and drawing synthetic rows.

    python benchmarks/tables.py impute FOLDER [--seeds 5] [--first 0] [--only NAME ...] [--arms ARM ...]
    python benchmarks/tables.py synthesise FOLDER [--seeds 3] [--first 0] [--only NAME ...] [--arms ARM ...]

FOLDER holds CSV files with text, numbers, booleans and missing values. Text columns with more than 100 different values
are left out. All models have their defaults; `table_baselines.py` has the other imputers and synthesisers.

``impute``: cells are removed and filled in, and the model sees nothing but the rows with holes. A share of 10 or 30 %
is removed completely at random, or by the value of another column: each column is paired with another one, and a cell
is removed with a probability of twice the share times the rank of the row in that column. Errors are the root mean
square of the removed numbers, in standard deviations of their columns, and the share of removed categories that are
wrong, (wrong + 0.5) / (removed + 1). Both are compared as ratios to the errors of a forest imputer on the same cells,
and ratios are averaged by geometric means, since heavy tails make some errors large.

``synthesise``: a model is fitted to 70 % of the rows and draws as many. A forest is trained on real rows and on
synthetic ones, and tested on the other rows: ROC-AUC of categories and R2 of numbers, as a share of training on real
rows, for one column of each table that real rows predict well. The association error is the mean absolute difference
of pairwise associations (correlation of ranks, correlation ratio, Cramer's V) to those of the test rows, as a
multiple of that of the training rows. The privacy share is the share of synthetic rows that are nearer to a training
row than to a test row, of equal numbers of each.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from common import add
from table_baselines import IMPUTERS, SYNTHESISERS, associations, encoded

MAX_CATEGORIES = 100
SHARES = (0.1, 0.3)
MECHANISMS = ("at random", "by another column")
# Targets that a forest predicts well from real rows, because a share of a score near 0 means nothing. Trained
# on real rows it has an R2 of 0.1 to 0.26 for the tip, and of 0.42 to 0.48 for the year a planet was found in.
TARGETS = {"titanic": "survived", "penguins": "species", "mpg": "mpg", "tips": "time", "planets": "method"}
DUPLICATES = {"titanic": ("alive",)}  # columns that determine the target


def table(path):
    """Return a table without text columns that identify rows."""
    frame = pd.read_csv(path)
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    return frame.drop(columns=[name for name in texts if frame[name].nunique() > MAX_CATEGORIES])


def is_number(column):
    """Return whether a column holds numbers that are not truth values."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def removed(frame, share, mechanism, seed):
    """Return which known cells to remove; at least two different values of each column stay."""
    rng = np.random.default_rng([seed, SHARES.index(share), MECHANISMS.index(mechanism)])
    names, chance = list(frame), np.full(frame.shape, share)
    if mechanism == "by another column":
        for j in range(len(names)):
            driver = frame[names[rng.choice([k for k in range(len(names)) if k != j])]]
            codes = driver if is_number(driver) else pd.Series(pd.factorize(driver, use_na_sentinel=True)[0])
            chance[:, j] = 2 * share * codes.rank(pct=True, method="average").fillna(0.5)
    return (rng.random(frame.shape) < chance) & frame.notna().to_numpy()


def with_holes(frame, gone):
    """Return the table without these cells; truth values become objects, since they cannot be missing otherwise."""
    holes = frame.copy()
    for j, name in enumerate(frame):
        if gone[:, j].any():
            column = frame[name].astype(float if is_number(frame[name]) else object)
            holes[name] = column.mask(gone[:, j], np.nan if is_number(frame[name]) else None)
    return holes


def errors(frame, filled, gone):
    """Return the standardised root mean square of numbers and the error rate of categories."""
    squared, wrong, each = [], [], {}
    for j, name in enumerate(frame):
        rows = gone[:, j]
        truth, found = frame[name][rows], filled[name][rows]
        if not rows.any():
            continue
        if is_number(frame[name]):
            scaled = (found.astype(float) - truth.astype(float)) / frame[name].std()
            squared += list(np.square(scaled))
            each[name] = float(np.sqrt(np.mean(np.square(scaled))))
        else:
            misses = [a != b for a, b in zip(found, truth, strict=True)]
            wrong += misses
            each[name] = float(np.mean(misses))
    row = {"numbers": float(np.sqrt(np.mean(squared))), "columns": each}
    if wrong:
        row["categories"] = (sum(wrong) + 0.5) / (len(wrong) + 1)
    return row


def timed(function, *arguments):
    """Return the result of a function, and its processor seconds."""
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = function(*arguments)
    return found, time.process_time() - began


def impute(name, frame, seed, arms, out):
    """Fill in one table by all arms, for each share and mechanism."""
    for mechanism in MECHANISMS:
        for share in SHARES:
            gone = removed(frame, share, mechanism, seed)
            holes = with_holes(frame, gone)
            for arm in arms:
                filled, seconds = timed(IMPUTERS[arm], holes, seed)
                row = errors(frame, filled, gone) | {"seconds": seconds}
                out(name, f"{share:.0%} {mechanism}", f"seed {seed}", arm, value=row)


def scaled_rows(frame, reference):
    """Return numbers in standard deviations and categories as 0 and 1, for distances."""
    return encoded(frame, reference)


def score(target, train, test, seed):
    """Return the ROC-AUC or R2 of a forest that is trained on some rows and tested on others."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.metrics import r2_score, roc_auc_score

    train, test = (each[each[target].notna()] for each in (train, test))
    X, Z = (encoded(each.drop(columns=target), test.drop(columns=target)) for each in (train, test))
    if target != "survived" and is_number(test[target]):
        model = RandomForestRegressor(200, random_state=seed).fit(X, train[target].astype(float))
        return r2_score(test[target].astype(float), model.predict(Z))
    y, truth = (each[target].astype(str).to_numpy() for each in (train, test))
    model = RandomForestClassifier(200, random_state=seed).fit(X, y)
    found = model.predict_proba(Z)
    scores = []
    for label in np.unique(truth):
        column = found[:, list(model.classes_).index(label)] if label in model.classes_ else np.zeros(len(Z))
        scores.append(roc_auc_score(truth == label, column))
    return float(np.mean(scores))


def nearer(synthetic, train, test, seed):
    """Return the share of synthetic rows that are nearer to a training row than to a test row; ties count a half."""
    from sklearn.neighbors import NearestNeighbors

    some = train.sample(len(test), random_state=seed)
    rows = scaled_rows(synthetic, train)
    ours, theirs = (
        NearestNeighbors(n_neighbors=1).fit(scaled_rows(each, train)).kneighbors(rows)[0][:, 0] for each in (some, test)
    )
    return float(np.mean((ours < theirs) + 0.5 * (np.abs(ours - theirs) < 1e-9)))


def synthesise(name, frame, seed, arms, out):
    """Sample synthetic rows of one table by all arms, and evaluate them."""
    frame = frame.drop(columns=list(DUPLICATES.get(name, ())))
    target = TARGETS[name]
    order = np.random.default_rng(seed).permutation(len(frame))
    cut = round(0.7 * len(frame))
    train, test = (frame.iloc[rows].reset_index(drop=True) for rows in (order[:cut], order[cut:]))
    real, truth = score(target, train, test, seed), associations(test)
    usual = float(np.abs(associations(train) - truth).mean())
    for arm in arms:
        made, seconds = timed(SYNTHESISERS[arm], train, len(train), seed)
        found = score(target, made, test, seed)
        row = {
            "score": found,
            "of_real": real,
            "share": max(found, 0.0) / real,
            "association": float(np.abs(associations(made) - truth).mean()) / usual,
            "nearer": nearer(made, train, test, seed),
            "seconds": seconds,
        }
        out(name, f"seed {seed}", arm, value=row)


def main():
    """Run the chosen benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["impute", "synthesise"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--arms", nargs="*", default=None)
    parser.add_argument("--out", type=Path, help="write there instead of to tables.json")
    options = parser.parse_args()
    run, known = (impute, IMPUTERS) if options.what == "impute" else (synthesise, SYNTHESISERS)
    arms = [arm for arm in known if options.arms is None or arm in options.arms]
    kept = {}

    def out(*keys, value):
        shown = ", ".join(f"{k} {v:.3f}" for k, v in value.items() if isinstance(v, float))
        print(f"{' '.join(keys)}: {shown}", flush=True)
        if options.out is None:
            add("tables", options.what, *keys, value=value)
            return
        inner = kept
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = value
        options.out.write_text(json.dumps(kept))

    paths = [path for path in sorted(options.folder.glob("*.csv")) if not options.only or path.stem in options.only]
    for seed in range(options.first, options.first + options.seeds):
        for path in paths:
            run(path.stem, table(path), seed, arms, out)


if __name__ == "__main__":
    main()
