"""Imputers and synthesisers of tables that `tables.py` compares, each a function of a pandas table."""

import importlib.util

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

from deepbelief import RBM, DeepAutoencoder

TREES = 40
ROUNDS = 6  # maximum number of rounds of the forest imputer


def is_number(column):
    """Return whether a column holds numbers that are not truth values."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


class Coding:
    """Numbers in standard deviations, categories as columns of 0 and 1, and back; NaN where a cell is missing."""

    def __init__(self, frame, leave_one_out=False):
        self.frame, self.first = frame, int(leave_one_out)
        self.scale, self.categories = {}, {}
        for name, column in frame.items():
            if is_number(column):
                self.scale[name] = (column.mean(), column.std() or 1.0)
            else:
                self.categories[name] = sorted(column.dropna().unique(), key=str)

    def encode(self, frame):
        parts = []
        for name, column in frame.items():
            if name in self.scale:
                mean, deviation = self.scale[name]
                parts.append(((column.astype(float) - mean) / deviation).to_numpy()[:, None])
            else:
                ones = np.array([[float(v == c) for c in self.categories[name][self.first :]] for v in column])
                ones = ones.reshape(len(column), -1)
                ones[column.isna().to_numpy()] = np.nan
                parts.append(ones)
        return np.hstack(parts)

    def fill(self, frame, rows):
        """Return the table with its missing cells taken from rows of the coding."""
        filled, start = frame.copy(), 0
        for name, column in frame.items():
            missing = column.isna().to_numpy()
            if name in self.scale:
                mean, deviation = self.scale[name]
                found = rows[:, start] * deviation + mean
                start += 1
            else:
                kinds = self.categories[name]
                part = rows[:, start : start + len(kinds) - self.first]
                start += part.shape[1]
                if self.first:
                    part = np.column_stack([1 - part.sum(axis=1), part])
                found = np.array(kinds, dtype=object)[part.argmax(axis=1)]
            if missing.any():
                values = column.to_numpy(dtype=float if name in self.scale else object, copy=True)
                values[missing] = found[missing]
                filled[name] = values
        return filled


def by_mean(frame, seed):
    """Fill in with the mean, or the most frequent category."""
    filled = frame.copy()
    for name, column in frame.items():
        if column.isna().any():
            filled[name] = column.fillna(column.mean() if is_number(column) else column.mode()[0])
    return filled


def by_neighbours(frame, seed):
    """Fill in with `KNNImputer`."""
    coding = Coding(frame)
    return coding.fill(frame, KNNImputer(keep_empty_features=True).fit_transform(coding.encode(frame)))


def by_regressions(frame, seed):
    """Fill in with `IterativeImputer`; one category of each column is left out."""
    coding = Coding(frame, leave_one_out=True)
    imputer = IterativeImputer(random_state=seed, keep_empty_features=True)
    return coding.fill(frame, imputer.fit_transform(coding.encode(frame)))


def by_forests(frame, seed):
    """Impute as MissForest does: a forest for each column, in rounds, until the changes grow.

    Each split sees as many columns as the square root of their number, as MissForest has it.
    """
    known = by_mean(frame, seed)
    order = sorted((name for name in frame if frame[name].isna().any()), key=lambda name: frame[name].isna().sum())
    before = float("inf")
    for _ in range(ROUNDS):
        new, moved, changed = known.copy(), [], []
        for name in order:
            missing = frame[name].isna().to_numpy()
            rest = new.drop(columns=name)
            X = Coding(rest).encode(rest)
            if is_number(frame[name]):
                forest = RandomForestRegressor(TREES, max_features="sqrt", random_state=seed)
                found = forest.fit(X[~missing], frame[name][~missing].astype(float)).predict(X[missing])
                moved.append(np.square(found - new[name][missing]).sum() / (np.square(found).sum() + 1e-12))
                values = new[name].to_numpy(dtype=float, copy=True)
            else:
                forest = RandomForestClassifier(TREES, max_features="sqrt", random_state=seed)
                codes, kinds = pd.factorize(frame[name][~missing])
                found = np.array(kinds, dtype=object)[forest.fit(X[~missing], codes).predict(X[missing])]
                changed.append(np.mean([a != b for a, b in zip(found, new[name][missing], strict=True)]))
                values = new[name].to_numpy(dtype=object, copy=True)
            values[missing] = found
            new[name] = values
        now = float(np.sum(moved)) / max(1, len(moved)) + float(np.sum(changed)) / max(1, len(changed))
        if now >= before:
            break
        known, before = new, now
    return known


def by_rbm(frame, seed):
    """Fill in with an `RBM`."""
    return RBM(random_state=seed).fit(frame).impute(frame, random_state=seed)


def by_autoencoder(frame, seed):
    """Fill in with a `DeepAutoencoder` that learns to reconstruct values that it does not see."""
    return DeepAutoencoder(input_dropout=0.3, random_state=seed).fit(frame).impute(frame)


IMPUTERS = {
    "forests": by_forests,
    "mean or mode": by_mean,
    "KNNImputer": by_neighbours,
    "IterativeImputer": by_regressions,
    "RBM": by_rbm,
    "DeepAutoencoder": by_autoencoder,
}


def encoded(frame, reference):
    """Return rows for forests and distances: missing numbers are the mean, missing categories a category."""
    reference = reference.copy()
    frame = frame.copy()
    for name in reference:
        if not is_number(reference[name]):
            for each in (reference, frame):
                each[name] = each[name].astype(object).where(each[name].notna(), "missing").astype(str)
    coding = Coding(reference)
    return np.nan_to_num(coding.encode(frame[list(reference)]))


def associations(frame):
    """Return the strength of the association of each pair of columns, from 0 to 1."""
    names, found = list(frame), []
    for i, a in enumerate(names):
        for b in names[:i]:
            both = frame[[a, b]].dropna()
            found.append(_association(both[a], both[b]) if len(both) > 2 else 0.0)
    return np.array(found)


def _association(a, b):
    if is_number(a) and is_number(b):
        a, b = a.rank().to_numpy(), b.rank().to_numpy()
        return abs(float(np.corrcoef(a, b)[0, 1])) if a.std() and b.std() else 0.0
    if is_number(a) or is_number(b):
        number, kind = (a, b) if is_number(a) else (b, a)
        number, (codes, kinds) = number.rank().to_numpy(), pd.factorize(kind)
        means = np.array([number[codes == k].mean() for k in range(len(kinds))])
        return float(means[codes].std() / number.std()) if number.std() else 0.0
    counts = pd.crosstab(a, b).to_numpy().astype(float)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    smaller = min(counts.shape) - 1
    return float(np.sqrt((np.square(counts - expected) / expected).sum() / counts.sum() / smaller)) if smaller else 0.0


def rows_of_rbm(frame, n, seed):
    """Draw from an `RBM`."""
    return RBM(random_state=seed).fit(frame).sample(n, missing=True, random_state=seed)


def rows_of_matched_rbm(frame, n, seed):
    """Draw from an `RBM` at a temperature of 0.9, with the pairwise moments of the training rows.

    These are not samples of the model.
    """
    how = {"temperature": 0.9, "match": frame}
    return RBM(random_state=seed).fit(frame).sample(n, missing=True, random_state=seed, **how)


def rows_of_columns(frame, n, seed):
    """Draw each column on its own."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: frame[name].to_numpy()[rng.integers(len(frame), size=n)] for name in frame})


def rows_of_copula(frame, n, seed):
    """Draw from a Gaussian copula of the ranks: categories are intervals, and missing is a separate value."""
    from scipy.stats import norm

    rng = np.random.default_rng(seed)
    scores, back = [], {}
    for name, column in frame.items():
        codes = column.to_numpy(dtype=float) if is_number(column) else pd.factorize(column)[0].astype(float)
        missing = column.isna().to_numpy()
        codes = np.where(missing, np.inf, codes)  # the last interval
        order = np.lexsort((rng.random(len(codes)), codes))
        ranks = np.empty(len(codes))
        ranks[order] = (np.arange(len(codes)) + 0.5) / len(codes)
        scores.append(norm.ppf(ranks))
        back[name] = column.to_numpy()[order]
    correlation = np.corrcoef(np.array(scores))
    values, vectors = np.linalg.eigh(correlation)
    drawn = rng.normal(size=(n, len(values))) @ (vectors * np.sqrt(np.maximum(values, 0))).T
    places = np.minimum((norm.cdf(drawn) * len(frame)).astype(int), len(frame) - 1)
    return pd.DataFrame({name: back[name][places[:, j]] for j, name in enumerate(frame)})


def rows_of_sdv(name):
    """Return the function that draws from a synthesiser of SDV 2 with its defaults."""

    def draw(frame, n, seed):
        import sdv.single_table
        from sdv.metadata import Metadata

        np.random.seed(seed)  # noqa: NPY002  # SDV draws from the global generator
        metadata = Metadata.detect_from_dataframes({"table": frame}, infer_keys=None)
        model = getattr(sdv.single_table, name)(metadata)
        model.fit({"table": frame})
        drawn = model.sample(n)
        return drawn["table"] if isinstance(drawn, dict) else drawn

    return draw


SYNTHESISERS = {
    "RBM": rows_of_rbm,
    "RBM, temperature 0.9, match": rows_of_matched_rbm,
    "independent columns": rows_of_columns,
    "Gaussian copula": rows_of_copula,
}
if (found := importlib.util.find_spec("sdv")) is not None and found.origin is not None:  # None: a folder of that name
    SYNTHESISERS |= {f"SDV {name}": rows_of_sdv(f"{name}Synthesizer") for name in ("GaussianCopula", "CTGAN")}
