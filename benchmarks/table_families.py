"""Families of rows in a table: rows that a random split would put on both sides as near-duplicates of each other.

Planets of one star have the same distance, and passengers with one ticket the same fare. A column tells such families
if rows with the same value agree in more of the other columns than rows with neighbouring values do.
"""

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

MIN_VALUES = 21  # of a number; with fewer, equal values are no sign of a family
EXTRA = 0.1  # least additional share of columns in which rows of a family agree
ERRORS = 5  # and the least multiple of its standard error over the values


def kinship(frame, name):
    """Return by how much more rows with one value of a number agree than rows with neighbouring values.

    Two rows agree in a column if they have the same value there. Each value that several rows have is compared with the
    nearest other value, and counts once.

    Parameters
    ----------
    frame : DataFrame
    name : str
        Column of numbers.

    Returns
    -------
    tuple of float
        Mean over the values of the difference between the shares of other columns in which two rows agree, and its
        standard error. Both are 0 with fewer than two such values.
    """
    column = frame[name]
    codes = np.column_stack([pd.factorize(frame[other])[0] for other in frame if other != name])
    values = np.sort(column.dropna().unique())
    rows = [np.flatnonzero((column == value).to_numpy()) for value in values]
    extra = []
    for i, own in enumerate(rows):
        if len(own) < 2:
            continue
        nearest = min((j for j in (i - 1, i + 1) if 0 <= j < len(values)), key=lambda j: abs(values[j] - values[i]))
        a, b = np.triu_indices(len(own), 1)
        c, d = (each.ravel() for each in np.meshgrid(own, rows[nearest]))
        extra.append(_agreement(codes, own[a], own[b]) - _agreement(codes, c, d))
    found = np.array(extra)[~np.isnan(extra)]
    return (float(found.mean()), float(found.std(ddof=1) / len(found) ** 0.5)) if len(found) > 1 else (0.0, 0.0)


def _agreement(codes, a, b):
    """Return the mean share of columns in which pairs of rows have the same value, among the values that are known."""
    x, y = codes[a], codes[b]
    known = (x >= 0) & (y >= 0)
    shares = [(x == y)[known[:, j], j].mean() for j in range(codes.shape[1]) if known[:, j].any()]
    return np.mean(shares) if shares else np.nan


def telling(frame):
    """Return the columns of numbers that tell families of rows.

    Examples
    --------
    >>> stars = np.repeat(np.arange(40.0), 2)
    >>> list(telling(pd.DataFrame({"distance": stars, "planets": stars % 7, "mass": np.arange(80.0)})))
    ['distance']
    """
    found = {}
    for name, column in frame.items():
        if not pd.api.types.is_numeric_dtype(column) or column.nunique() < MIN_VALUES:
            continue
        extra, error = kinship(frame, name)
        if extra >= EXTRA and extra >= ERRORS * error:
            found[name] = extra
    return found


def families(frame):
    """Return the number of each row's family; rows with the same value of a telling column are in one family."""
    parts, n = [np.empty((0, 2), int)], len(frame)
    for name in telling(frame):
        codes = pd.factorize(frame[name])[0]
        known = np.flatnonzero(codes >= 0)
        parts.append(np.column_stack([known, known[np.unique(codes[known], return_index=True)[1]][codes[known]]]))
    pairs = np.concatenate(parts)
    return connected_components(coo_matrix((np.ones(len(pairs)), pairs.T), shape=(n, n)), directed=False)[1]


def in_families(order, family):
    """Return an order of rows in which families are not interrupted; each is where its first row was.

    Without families the order does not change.
    """
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    first = np.full(family.max() + 1, len(order))
    np.minimum.at(first, family, place)
    return np.lexsort((place, first[family]))
