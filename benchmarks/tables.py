"""Tables of mixed columns: filling in missing values, and drawing synthetic rows.

    python benchmarks/tables.py impute FOLDER [--seeds 5] [--first 0] [--only NAME ...] [--arms ARM ...]
    python benchmarks/tables.py synthesise FOLDER [--seeds 3] [--first 0] [--only NAME ...] [--arms ARM ...]
        [--split families|rows]

FOLDER holds CSV files with text, numbers, booleans and missing values. Text columns with more than 100 different values
are left out. All models have their defaults, and one arm draws with `match` and a temperature; `table_baselines.py` has
the other imputers and synthesisers.

``impute``: cells are removed and filled in, and the model sees nothing but the rows with holes. A share of 10 or 30 %
is removed completely at random, or by the value of another column: each column is paired with another one, and a cell
is removed with a probability of twice the share times the rank of the row in that column. Errors are the root mean
square of the removed numbers, in standard deviations of their columns, and the share of removed categories that are
wrong, (wrong + 0.5) / (removed + 1). Both are compared as ratios to the errors of a forest imputer on the same cells,
and ratios are averaged by geometric means, since heavy tails make some errors large.

``synthesise``: a model is fitted to 70 % of the rows and draws as many. A forest is trained on real rows and on
synthetic ones, and tested on the other rows: ROC-AUC of categories and R2 of numbers. Families of rows stay on one
side of the split, and of each fold of the cross-validation below: planets of one star, passengers with one fare. Split
at random, a forest that is trained on real rows predicts columns of a test row from its relatives (the number of
planets with an R2 of 0.44, instead of one below 0), as no model does that does not copy rows. `table_families.py`
finds the columns that tell families by one test for all tables: rows with equal values agree in at least 0.1 more of
the other columns than rows with neighbouring values do. ``--split rows`` splits at random, as this benchmark did
before. The mean share of the RBM is 0.86 with that split, and 0.90 with families on one side. No target is chosen by
hand: each column is one that a forest predicts from the others in three-fold cross-validation on the training rows,
with R2 or 2 AUC - 1 of at least 0.3. The share of a table is the sum of these scores over the sum of those of training
on real rows, none counted below 0. The scores of each column are kept, so that shares for other targets can be read
from them. The association error is the mean absolute difference of pairwise associations (correlation of ranks,
correlation ratio, Cramer's V) to those of the test rows, as a multiple of that of the training rows. The privacy share
is the share of synthetic rows that are nearer to a training row than to a test row, of equal numbers of each.

Arms that `tables.json` has results of, for a table and a seed, are left out.
"""

import argparse
import json
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from common import HERE, add, environment
from table_baselines import IMPUTERS, SYNTHESISERS, associations, encoded
from table_families import families, in_families

MAX_CATEGORIES = 100
TREES = 100  # of a forest that judges synthetic rows
SHARES = (0.1, 0.3)
MECHANISMS = ("at random", "by another column")
# Targets of this benchmark before it had a rule, which are told beside it.
EARLIER = {
    "titanic": ("survived",), "penguins": ("species",), "mpg": ("mpg",), "tips": ("tip", "time"),
    "planets": ("year", "method"),
}  # fmt: skip
PREDICTABLE = 0.3  # the least R2, or 2 AUC - 1, of a column that is a target
FOLDS = 3
DUPLICATES = {"titanic": ("alive",)}  # columns that determine another one
BY_ROWS = "synthesise, rows split at random"  # key of the results of this split


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


def todo(arms, *keys):
    """Return the arms that the results do not have under these keys."""
    path = HERE / "tables.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    for key in keys:
        found = found.get(key, {})
    return [arm for arm in arms if arm not in found]


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
            for arm in todo(arms, "impute", name, f"{share:.0%} {mechanism}", f"seed {seed}"):
                filled, seconds = timed(IMPUTERS[arm], holes, seed)
                row = errors(frame, filled, gone) | {"seconds": seconds}
                out(name, f"{share:.0%} {mechanism}", f"seed {seed}", arm, value=row)


def scaled_rows(frame, reference):
    """Return numbers in standard deviations and categories as 0 and 1, for distances."""
    return encoded(frame, reference)


def is_category(column):
    """Tell whether a column as a target is predicted as a class: two numbers are two classes."""
    return not is_number(column) or column.nunique() <= 2


def score(target, train, test, seed):
    """Return the ROC-AUC or R2 of a forest that is trained on some rows and tested on others."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.metrics import r2_score, roc_auc_score

    classes = is_category(pd.concat([train[target], test[target]]))
    train, test = (each[each[target].notna()] for each in (train, test))
    if len(train) < 2:
        return 0.5 if classes else 0.0
    X, Z = (encoded(each.drop(columns=target), test.drop(columns=target)) for each in (train, test))
    if not classes:
        model = RandomForestRegressor(TREES, random_state=seed).fit(X, train[target].astype(float))
        return float(r2_score(test[target].astype(float), model.predict(Z)))
    y, truth = (as_classes(each[target]) for each in (train, test))
    if len(set(truth)) < 2:
        return 0.5
    model = RandomForestClassifier(TREES, random_state=seed).fit(X, y)
    found = model.predict_proba(Z)
    scores = []
    for label in np.unique(truth):
        column = found[:, list(model.classes_).index(label)] if label in model.classes_ else np.zeros(len(Z))
        scores.append(roc_auc_score(truth == label, column))
    return float(np.mean(scores))


def as_classes(column):
    """Return a column's values as texts, whatever the dtype that missing values gave it."""
    return np.array([str(float(v)) if isinstance(v, (int, float, np.number)) else str(v) for v in column])


def folds(family, seed):
    """Iterate over the rows to train on and those to test on, with each family on one side."""
    from sklearn.model_selection import KFold

    for parts in KFold(FOLDS, shuffle=True, random_state=seed).split(np.arange(family.max() + 1)):
        yield tuple(np.flatnonzero(np.isin(family, part)) for part in parts)


def targets(train, family, seed):
    """Return the scores of the columns that the rule makes targets, by cross-validation on the training rows."""
    found = {}
    for name in train:
        if train[name].nunique() < 2:
            continue
        value = float(np.mean([score(name, train.iloc[a], train.iloc[b], seed) for a, b in folds(family, seed)]))
        if (2 * value - 1 if is_category(train[name]) else value) >= PREDICTABLE:
            found[name] = value
    return found


def nearer(synthetic, train, test, seed):
    """Return the share of synthetic rows that are nearer to a training row than to a test row; ties count a half."""
    from sklearn.neighbors import NearestNeighbors

    some = train.sample(len(test), random_state=seed)
    rows = scaled_rows(synthetic, train)
    ours, theirs = (
        NearestNeighbors(n_neighbors=1).fit(scaled_rows(each, train)).kneighbors(rows)[0][:, 0] for each in (some, test)
    )
    return float(np.mean((ours < theirs) + 0.5 * (np.abs(ours - theirs) < 1e-9)))


def parted(frame, seed, *, by_rows=False):
    """Return training rows, test rows and the families of the training rows, numbered in order."""
    family = np.arange(len(frame)) if by_rows else families(frame)
    order = in_families(np.random.default_rng(seed).permutation(len(frame)), family)
    cut = round(0.7 * len(frame))
    while cut < len(order) and family[order[cut]] == family[order[cut - 1]]:
        cut += 1
    train, test = (frame.iloc[rows].reset_index(drop=True) for rows in (order[:cut], order[cut:]))
    return train, test, pd.factorize(family[order[:cut]])[0]


def synthesise(name, frame, seed, arms, out, *, by_rows=False):
    """Sample synthetic rows of one table by all arms, and evaluate them."""
    arms = todo(arms, BY_ROWS if by_rows else "synthesise", name, f"seed {seed}")
    if not arms:
        return
    frame = frame.drop(columns=list(DUPLICATES.get(name, ())))
    train, test, family = parted(frame, seed, by_rows=by_rows)
    truth, chosen = associations(test), targets(train, family, seed)
    also = [column for column in EARLIER.get(name, ()) if column not in chosen]
    real = {column: score(column, train, test, seed) for column in [*chosen, *also]}
    usual = float(np.abs(associations(train) - truth).mean())
    for arm in arms:
        made, seconds = timed(SYNTHESISERS[arm], train, len(train), seed)
        found = {column: score(column, made, test, seed) for column in real}
        total = sum(max(found[column], 0.0) for column in chosen)
        row = {
            "share": total / sum(max(real[column], 0.0) for column in chosen),
            "columns": {
                column: {"score": found[column], "of_real": real[column], "cross_validated": chosen.get(column)}
                for column in real
            },
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
    parser.add_argument("--split", choices=["families", "rows"], default="families")
    parser.add_argument("--out", type=Path, help="write there instead of to tables.json")
    options = parser.parse_args()
    results, run, known = options.what, impute, IMPUTERS
    if options.what == "synthesise":
        results = BY_ROWS if options.split == "rows" else results
        run, known = partial(synthesise, by_rows=options.split == "rows"), SYNTHESISERS
    arms = [arm for arm in known if options.arms is None or arm in options.arms]
    kept = {}

    def out(*keys, value):
        shown = ", ".join(f"{k} {v:.3f}" for k, v in value.items() if isinstance(v, float))
        print(f"{' '.join(keys)}: {shown}", flush=True)
        if options.out is None:
            add("tables", results, *keys, value=value)
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
    if options.out is None:
        add("tables", "environments", results, value=environment())


if __name__ == "__main__":
    main()
