"""Sampling and imputation with a restricted Boltzmann machine."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from deepbelief.backends import Backend
from deepbelief.components.multi_prediction import PARTS, MultiPrediction
from deepbelief.errors import DataError, Mention, SettingError, unknown
from deepbelief.estimators.base import check_backend, check_number, check_rows, first_layer, next_stream, on_device
from deepbelief.estimators.fitted import FittedState
from deepbelief.estimators.tables import clamped, completed, decoded, encoded, in_order, is_mixed, schema_of
from deepbelief.layer import LayerState
from deepbelief.machine import Machine
from deepbelief.reweighting import matched_rows
from deepbelief.sampling import check_generative, fill_in, sample
from deepbelief.sources import OF_DENSITIES, check_groups, entered, entering, is_source
from deepbelief.sources.schema import Schema
from deepbelief.stack import Stack, Weights
from deepbelief.training import BLOCK_ROWS
from deepbelief.typing import Array, DtypeLike, Estimator, RandomState, RowsLike, StrDict

IMPUTATIONS = ("auto", "gibbs", "mean_field")
MIN_MATCHED = 2  # rows whose moments samples match


class GenerativeMixin:
    """Sampling and imputation, for an estimator with ``weights_`` and ``h_samples_``."""

    weights_: Weights
    h_samples_: Array
    _state: LayerState
    backend: str | Backend

    def sample(
        self, n_samples: int = 1, *, n_steps: int = 1000, method: str = "auto", temperature: float = 1.0,
        clamp: RowsLike = None, missing: bool = False, match: RowsLike = None, random_state: RandomState = None,
    ) -> RowsLike:  # fmt: skip
        """Draw rows from the model, by plain Gibbs sampling or along a ladder of machines.

        Parameters
        ----------
        n_samples : int, default=1
        n_steps : int, default=1000
            Gibbs steps, starting from hidden states of the last negative phase; for a ladder, the maximum number of
            sweeps.
        method : {"auto", "gibbs", "pt", "ptt"}, default="auto"
            ``"gibbs"`` runs plain chains, which seldom move between distant modes. ``"pt"`` and ``"ptt"`` exchange
            states along a ladder of machines, the first of which has no connections. With ``"pt"``, these are the model
            at temperatures chosen by the acceptance rate of exchanges; with ``"ptt"``, they are the checkpoints of
            training with ``gradient="ptt"``. ``"auto"`` is ``"ptt"`` after such training, else ``"gibbs"``.
        temperature : float, default=1.0
            Divisor of the energy: below 1, rows are more typical; above 1, they are more varied. Bernoulli and softmax
            units only.
        clamp : array-like of shape (n_features,) or (n_samples, n_features), mapping or table, optional
            Clamped values, in the units of the data; NaN leaves a value free. For models of tables and of named
            columns, a mapping of columns to values, or a table; all other columns are free.
        missing : bool, default=False
            For models of tables only: also draw which values are missing, as in the training rows. Columns in
            which less than 5 % of the values, or fewer than 10, are missing there stay complete.
        match : table, optional
            For models of tables of mixed columns only: rows, usually the training rows, whose means and pairwise
            moments the samples match. Such samples are not samples of the model. 10,000 rows of the model, drawn by
            plain Gibbs sampling, get factors exp(lambda . f(v)), and the samples are drawn from them by these factors.
            f(v) contains features of each column and their products for each pair of columns, and lambda maximises the
            likelihood of the rows under a standard normal prior. Not with ``clamp``, or a ladder of machines.
        random_state : int, Generator or None
            None: continue with the model's own stream, so that two calls differ.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Means of the visible units given the last hidden states; clamped values are unchanged. A model fitted on a
            table of mixed columns returns a table of complete rows, with the columns and dtypes of the table in `fit`.

        Raises
        ------
        DataError, SettingError

        Examples
        --------
        >>> import numpy as np
        >>> from deepbelief import RBM
        >>> X = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0]], 50, axis=0)
        >>> rbm = RBM(4, random_state=0).fit(X)
        >>> rbm.sample(3, clamp=[1, np.nan, np.nan, np.nan], random_state=0).round().tolist()
        [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]
        """
        check_is_fitted(self, "weights_")
        check_number("n_samples", n_samples, low=1, integer=True)
        return drawn(
            self, Stack((self.weights_,)), self.h_samples_, n_samples, n_steps=n_steps, method=method,
            temperature=temperature, clamp=clamp, missing=missing, match=match, random_state=random_state,
            ladder=self._state.arrays.get("gradient"),
        )  # fmt: skip

    def gibbs(self, v: RowsLike, random_state: RandomState = None) -> RowsLike:
        """Return the rows after one Gibbs step, which draws hidden states given v, then visible states given these.

        Parameters
        ----------
        v : array-like of shape (n_rows, n_features)
        random_state : int, Generator or None
            None: continue with the model's own stream, so that two calls differ.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            Booleans if the visible units are Bernoulli units without scaling.
        """
        source, bk = self._rows_of(v)  # type: ignore[attr-defined]
        machine, rng = Machine(self.weights_, bk), bk.rng(next_stream(self, "gibbs", random_state))
        states = bk.asarray(entering(source, self.weights_, OF_DENSITIES).take(slice(None)), dtype=machine.dtype)
        h = machine.sample_hidden(states, rng, bk.xp.empty((len(states), machine.W.shape[1]), machine.dtype))
        out = self.weights_.leave(bk.to_numpy(machine.sample_visible(h, rng, bk.xp.empty_like(states))))
        if self.weights_.visible_unit.enumerable and self.weights_.mean is None:
            out = out.astype(bool)
        return decoded(self, on_device(out, v, bk))


class ImputationMixin:
    """Imputation, for a fitted estimator whose first layer models its rows."""

    backend: str | Backend

    def _imputing(self) -> Mapping[str, Array]:
        """Return the weights trained for imputation, by name; empty if there are none."""
        raise NotImplementedError

    def impute(
        self, X: RowsLike, *, method: str = "auto", n_steps: int = 100, burn_in: int = 20, n_draws: int | None = None,
        random_state: RandomState = None,
    ) -> RowsLike:  # fmt: skip
        """Replace the missing values of rows by their means given the rest of the row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features) or table
            NaN marks missing values; in a table, so do the missing values of its library.
        method : {"auto", "gibbs", "mean_field"}, default="auto"
            ``"gibbs"`` runs a chain for each row with the observed values clamped, and averages E[v | h] over it.
            ``"mean_field"`` iterates the means of both sides; this is deterministic and faster, but less accurate if
            several completions fit a row. A model of a table of mixed columns uses the weights trained for this
            purpose, see `deepbelief.components.MultiPrediction`. ``"auto"`` is ``"mean_field"`` if there are such
            weights and ``n_draws`` is not given, else ``"gibbs"``.
        n_steps : int, default=100
            Number of Gibbs steps that are averaged, or maximum number of mean-field iterations.
        burn_in : int, default=20
            Number of Gibbs steps before averaging.
        n_draws : int, optional
            Number of draws of the missing values to return instead of their mean, for multiple imputation
            (Rubin 1987). Requires ``method="gibbs"``.
        random_state : int, Generator or None
            None: continue with the model's own stream, so that two calls differ.

        Returns
        -------
        ndarray of shape (n_rows, n_features), or table as X is, or a list of them
            Complete rows; observed values are unchanged. In a table, a missing category is replaced by the most
            probable one and a missing number by its mean, which is rounded only in columns of integers. With
            ``n_draws``, a list with one array or table per draw.

        Raises
        ------
        DataError
            If a row has no observed value, or a softmax group is only partly observed.
        SettingError

        Examples
        --------
        >>> import numpy as np
        >>> from deepbelief import RBM
        >>> X = np.repeat([[0, 0, 1, 1], [1, 1, 0, 0]], 50, axis=0)
        >>> rbm = RBM(4, random_state=0).fit(X)
        >>> rbm.impute([[1, np.nan, 0, np.nan]], random_state=0).round().tolist()
        [[1.0, 1.0, 0.0, 0.0]]
        """
        check_is_fitted(self)
        weights = first_layer(self)
        check_generative(Stack((weights,)), getattr(self, "pretraining", "rbm"))
        if method not in IMPUTATIONS:
            raise SettingError(unknown("method", method, IMPUTATIONS))
        check_number("n_steps", n_steps, low=1, integer=True)
        check_number("burn_in", burn_in, low=0, integer=True)
        if n_draws is not None:
            check_number("n_draws", n_draws, low=1, integer=True)
            if method == "mean_field":
                raise SettingError(
                    Mention("n_draws"),
                    " needs ",
                    Mention("method", "gibbs"),
                    f", got {method!r}: a mean field is one state",
                    setting="n_draws",
                    value=n_draws,
                )
        predicting = self._imputing()
        if method == "auto":
            method = "mean_field" if predicting and n_draws is None else "gibbs"
        if method == "mean_field" and predicting:
            W, vbias, hbias = (predicting[name] for name in PARTS)
            weights = replace(weights, W=W, vbias=vbias, hbias=hbias, hidden="bernoulli")
        bk = check_backend(self.backend, X)
        units = encoded(self, X, reset=False)
        rows = rows_with_gaps(self, X, bk) if units is None else units
        seed = next_stream(self, "impute", random_state) if method == "gibbs" else None
        steps = {"n_steps": int(n_steps), "burn_in": int(burn_in)}
        if n_draws is None:
            found = _filled(weights, rows, bk, seed, steps)
            return on_device(found, X, bk) if units is None else completed(self, X, found)
        draws = []
        for each in seed.spawn(int(n_draws)):  # type: ignore[union-attr]
            found = _filled(weights, rows, bk, each, {**steps, "draw": True})
            own = np.random.default_rng(each.spawn(1)[0])
            draws.append(on_device(found, X, bk) if units is None else completed(self, X, found, own))
        return draws


def predicting_arrays(state: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """Return the weights for imputation in the state of a layer, by name; empty if there are none."""
    arrays = state.get(MultiPrediction.name, {})
    return {name: arrays[name] for name in PARTS if name in arrays}


def predicting_from_file(state: FittedState) -> dict[str, Array]:
    """Return the weights for imputation in a file; empty if there are none."""
    first, name = state.stack.layers[0], "predicting.W"
    if name not in state.arrays:
        return {}
    W = state.shaped(name, (first.n_visible, None), first.W.dtype)
    biases = zip(PARTS[1:], W.shape, strict=True)
    return {"W": W} | {part: state.shaped(f"predicting.{part}", (n,), W.dtype) for part, n in biases}


def _filled(weights: Weights, rows: Array, bk: Backend, seed: np.random.SeedSequence | None, how: StrDict) -> Array:
    """Fill in the missing values of rows, block by block."""
    found, rng = rows.copy(), None if seed is None else bk.rng(seed)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = found[start : start + BLOCK_ROWS]
        missing = np.isnan(block)
        inside = np.array(weights.enter(block))
        weights.visible_unit.clip(inside)
        block[missing] = weights.leave(fill_in(weights, inside, bk, rng, **how))[missing]
    return found


def drawn(
    model: Estimator, stack: Stack, states: Array, n_samples: int, *, n_steps: int, method: str, temperature: float,
    clamp: RowsLike, missing: bool, random_state: RandomState, match: RowsLike = None, labels: Array | None = None,
    ladder: Mapping[str, Array] | None = None,
) -> RowsLike:  # fmt: skip
    """Draw rows from the layers of a fitted estimator, for its method ``sample``.

    Parameters
    ----------
    model : fitted estimator
    stack : Stack
    states : ndarray of shape (n_rows, n_top)
        Hidden states to start from, used in turn.
    n_samples : int
    n_steps, method, temperature, clamp, missing, random_state, match
        As in `RBM.sample`.
    labels : ndarray of shape (n_samples, n_labels), optional
        Labels that follow the columns of each row in the first layer; they are clamped, and not returned.
    ladder : dict of ndarray, optional
        As in `deepbelief.sampling.sample`.

    Returns
    -------
    ndarray of shape (n_samples, n_features) or table
    """
    check_number("n_steps", n_steps, low=1, integer=True)
    check_number("temperature", temperature, low=0, open_low=True)
    bk, weights, schema = check_backend(model.backend, None), stack.layers[0], schema_of(model)
    if match is not None:
        given, schema = _rows_to_match(model, stack, match, bk, clamp=clamp, method=method)
        seed = next_stream(model, "sample", random_state)
        decoding, choice = seed.spawn(2)
        rows = matched_rows(
            weights, states, given, schema, n_samples, int(n_steps), bk, bk.rng(seed), temperature=float(temperature),
            random=np.random.default_rng(choice),
        )  # fmt: skip
        return decoded(model, rows, decoding, gaps=missing)
    values, n_labels = None, 0 if labels is None else labels.shape[1]
    if clamp is not None and len(stack) > 1:
        raise SettingError(Mention("clamp"), f" is for models with one hidden layer, got {len(stack)}")
    if clamp is not None and schema is not None:
        clamp, values = clamped(schema, clamp, n_samples)
        clamp = clamp[0] if len(clamp) == 1 else clamp
    elif clamp is not None:
        clamp = in_order(model, clamp, n_samples)
    held = None if clamp is None else _clamped(clamp, n_samples, weights.n_visible - n_labels, weights.W.dtype)
    if labels is not None:
        free = np.full((n_samples, weights.n_visible - n_labels), np.nan, weights.W.dtype)
        held = np.concatenate([free if held is None else held, labels.astype(weights.W.dtype)], axis=1)
    if held is not None:
        check_groups(held, weights.visible_unit, "clamp")
    seed = next_stream(model, "sample", random_state)
    rows = sample(
        stack, np.resize(states, (n_samples, stack.sizes[-1])), int(n_steps), bk, bk.rng(seed), method=method,
        temperature=float(temperature), clamp=None if held is None else entered(held, weights), ladder=ladder,
    )  # fmt: skip
    rows = rows if held is None else np.where(np.isnan(held), rows, held).astype(rows.dtype)
    return decoded(model, rows[:, : stack.sizes[0] - n_labels], seed.spawn(1)[0], gaps=missing, clamp=values)


def _rows_to_match(
    model: Estimator, stack: Stack, match: RowsLike, bk: Backend, *, clamp: RowsLike, method: str
) -> tuple[Array, Schema]:  # fmt: skip
    """Return the rows of visible units whose moments samples match, and the schema of their table."""
    schema = schema_of(model)
    if schema is None or not is_mixed(schema):
        raise SettingError(Mention("match"), " is for models of tables of mixed columns")
    if len(stack) > 1:
        raise SettingError(Mention("match"), f" is for models with one hidden layer, got {len(stack)}")
    if clamp is not None:
        raise SettingError("give either ", Mention("clamp"), " or ", Mention("match"), ", not both")
    if method not in ("auto", "gibbs"):
        raise SettingError(
            Mention("match"), " needs plain Gibbs sampling, got ", Mention("method", method), ": use 'gibbs'"
        )
    source = check_rows(model, match, bk, reset=False)
    if source.shape[0] < MIN_MATCHED:
        raise DataError(
            Mention("match"), f" must have at least {MIN_MATCHED} rows, got {source.shape[0]}. Match the training "
            "rows, or another table with the same columns.", setting="match",
        )  # fmt: skip
    return np.asarray(source.take(slice(0, source.shape[0])), dtype=stack.layers[0].W.dtype), schema


def _clamped(clamp: RowsLike, n_samples: int, n_columns: int, dtype: DtypeLike) -> Array:
    """Return the clamped values of each sample."""
    try:
        held = np.asarray(clamp, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise DataError(f"clamp must be numbers: {error}") from error
    if held.shape not in {(n_columns,), (n_samples, n_columns)} or np.isinf(held).any():
        raise DataError(
            f"clamp must be {n_columns} numbers, or {n_samples} rows of them, NaN where a value is free; got "
            f"{'infinite values' if np.isinf(held).any() else f'shape {held.shape}'}"
        )
    return np.broadcast_to(held, (n_samples, n_columns))


def rows_with_gaps(estimator: Estimator, X: RowsLike, bk: Backend) -> Array:
    """Return X as an array that may contain NaN; refuse rows that cannot be imputed."""
    if is_source(X):
        X = X.take(slice(0, X.shape[0]))
    if bk.owns(X) and not isinstance(X, np.ndarray):
        X = bk.to_numpy(X)
    rows: Array = validate_data(
        estimator, X, reset=False, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan"
    )
    empty = np.flatnonzero(np.isnan(rows).all(axis=1))
    if len(empty):
        raise DataError(f"row {empty[0]} has no observed value to impute from: leave it out")
    check_groups(rows, first_layer(estimator).visible_unit)
    entered(rows, first_layer(estimator), OF_DENSITIES)
    return rows
