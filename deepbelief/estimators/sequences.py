"""Sequences as rows with lengths or lists of arrays: checks, scores and samples."""

import warnings
from typing import Any

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from deepbelief.backends import Backend
from deepbelief.errors import DataError
from deepbelief.estimators.base import check_backend, check_names, check_number, check_rows, next_stream, on_device
from deepbelief.recurrent.frame_likelihood import FrameLogLikelihood, frame_log_likelihood
from deepbelief.recurrent.generation import expected_frames, sample_sequence
from deepbelief.recurrent.model import RecurrentWeights
from deepbelief.recurrent.trainer import states_before
from deepbelief.recurrent.windows import check_lengths
from deepbelief.seeds import stream
from deepbelief.sources import OF_DENSITIES, RowSource, blocks, entering, is_source
from deepbelief.sources.frames import is_table
from deepbelief.training import Rows
from deepbelief.typing import Array, DeviceArray, Estimator, LengthsLike, RandomState, RowsLike, TableLike, TargetsLike


def lengths_or_targets(X: RowsLike, y: TargetsLike, lengths: LengthsLike) -> LengthsLike:
    """Return the lengths, which may have been passed as ``y``, as in ``fit(X, lengths)``.

    Targets, which are ignored, have one entry per row; lengths of at least 2 have fewer entries.
    """
    if lengths is not None or y is None or is_list_of_arrays(X):
        return lengths
    given = np.asarray(y)
    n_rows = X.shape[0] if getattr(X, "shape", ()) else len(np.atleast_1d(np.asarray(X, dtype=object)))
    return given if given.ndim == 1 and len(given) != n_rows else None


def is_list_of_arrays(X: RowsLike) -> bool:
    """Return whether ``X`` is a list with one array per sequence."""
    return isinstance(X, (list, tuple)) and len(X) > 0 and all(np.ndim(each) == 2 for each in X)


def as_sequences(
    estimator: Estimator, X: RowsLike, lengths: LengthsLike, bk: Backend, *, reset: bool, shortest: int = 1
) -> tuple[RowSource, Array]:
    """Return the frames of all sequences as one source, and their lengths.

    Raises
    ------
    DataError
        If lengths do not sum to the number of rows, a sequence is too short, or a value is not finite; the message
        names sequence and frame.
    """
    tables: list[TableLike] = []
    if is_list_of_arrays(X):
        if lengths is not None:
            raise DataError("X is a list of arrays, one for each sequence: leave lengths out")
        lengths = [len(each) for each in X]
        check_lengths(lengths, sum(lengths), shortest=shortest)
        widths = sorted({each.shape[1] if hasattr(each, "shape") else len(each[0]) for each in X})
        if len(widths) > 1:
            raise DataError(f"sequences have from {widths[0]} to {widths[-1]} features: all must have the same")
        tables, X = [each for each in X if is_table(each)], np.concatenate([np.asarray(each) for each in X])
    try:
        source = _checked(estimator, X, tables, bk, reset=reset, min_rows=shortest)
    except ValueError as error:
        _name_place(_table(X), lengths, error)
        raise
    lengths = check_lengths(lengths, source.shape[0], shortest=shortest)
    if is_source(X):
        start = 0
        for block in blocks(source):
            if not np.isfinite(block).all():
                _refuse(block, start, lengths)
            start += len(block)
    return source, lengths


def _checked(
    estimator: Estimator, X: RowsLike, tables: list[TableLike], bk: Backend, *, reset: bool, min_rows: int
) -> RowSource:
    """Return X as a source, like `check_rows`, after comparing the column names of concatenated tables."""
    with warnings.catch_warnings():
        if tables:
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        source = check_rows(estimator, X, bk, reset=reset, min_rows=min_rows)
    for names in [list(table.columns) for table in tables]:
        fitted = getattr(estimator, "feature_names_in_", None)
        if not all(isinstance(name, str) for name in names):
            continue
        if fitted is not None:
            check_names(fitted, names, type(estimator).__name__)
        elif reset:
            estimator.feature_names_in_ = np.array(names, dtype=object)
    return source


def _table(X: RowsLike) -> Array | None:
    """Return rows as an array if they are dense rows of numbers, else None."""
    if np.iscomplexobj(X):
        return None
    try:
        return np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _name_place(X: Array | None, lengths: LengthsLike, error: ValueError) -> None:
    """Raise DataError with sequence and frame, if they can be determined."""
    if X is None or X.ndim != 2 or np.isfinite(X).all():
        return
    try:
        known = check_lengths(lengths, len(X))
    except DataError:
        return
    _refuse(X, 0, known, error)


def _refuse(rows: Array, start: int, lengths: Array, error: ValueError | None = None) -> None:
    """Raise DataError naming the first value that is not finite."""
    row, column = np.argwhere(~np.isfinite(rows))[0]
    ends = np.cumsum(lengths)
    sequence = int(np.searchsorted(ends, start + row, side="right"))
    frame = start + row - (ends[sequence] - lengths[sequence])
    raise DataError(
        f"sequence {sequence}, frame {frame}, column {column} (all counted from 0) is {rows[row, column]}: NaN and inf "
        "are not allowed; fill it in, or cut the sequence there"
    ) from error


class SequenceModelMixin(TransformerMixin):
    """Scores and samples of sequences, for an estimator with ``machine_``."""

    machine_: RecurrentWeights
    backend: str | Backend
    _seed: int
    _draws: int

    def _states(self, X: RowsLike, lengths: LengthsLike) -> tuple[Backend, Rows, Array, Array]:
        """Return the backend, the frames, and the states before and after each frame."""
        check_is_fitted(self, "machine_")
        bk = check_backend(self.backend, X)
        source, lengths = as_sequences(self, X, lengths, bk, reset=False)
        rows = Rows(entering(source, self.machine_.frame, OF_DENSITIES), bk, self.machine_.frame.W.dtype)
        return bk, rows, *states_before(self.machine_, rows, lengths, bk)

    def transform(self, X: RowsLike, lengths: LengthsLike = None) -> DeviceArray:
        """Return the recurrent state after each frame, which summarises the sequence so far.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_frames, n_features), or list of arrays
        lengths : array-like of int, optional
            None: one sequence.

        Returns
        -------
        ndarray of shape (n_frames, n_recurrent)
            CuPy if X is.
        """
        bk, _, _, after = self._states(X, lengths)
        return on_device(after, X, bk)

    def predict_next(
        self, X: RowsLike, lengths: LengthsLike = None, *, n_chains: int = 10, betas: int = 100, gibbs_steps: int = 50
    ) -> DeviceArray:
        """Return the expectation of the frame that follows each frame; for Bernoulli units these are probabilities.

        With at most 12 hidden units it is exact, otherwise a weighted mean over annealed Gibbs chains. Repeated calls
        return the same numbers.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_frames, n_features), or list of arrays
        lengths : array-like of int, optional
            None: one sequence.
        n_chains, betas, gibbs_steps : int
            Number of chains for each frame, their inverse temperatures, and the number of steps at the end.

        Returns
        -------
        ndarray of shape (n_frames, n_features)
            In the units of the data. Row t depends on frames up to t and predicts frame t + 1. CuPy if X is.
        """
        check_number("n_chains", n_chains, low=1, integer=True)
        check_number("betas", betas, low=1, integer=True)
        check_number("gibbs_steps", gibbs_steps, low=1, integer=True)
        bk, _, _, after = self._states(X, lengths)
        rng = bk.rng(stream(self._seed, "predict next"))
        frames = expected_frames(self.machine_, after, bk, rng, n_chains=n_chains, betas=betas, gibbs_steps=gibbs_steps)
        return on_device(self.machine_.frame.leave(frames), X, bk)

    def log_likelihood(
        self, X: RowsLike, lengths: LengthsLike = None, *, method: str = "auto", **ais: Any
    ) -> FrameLogLikelihood:
        """Return the log-likelihood of each frame given the preceding frames, with the uncertainty of log Z.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_frames, n_features), or list of arrays
            0 and 1 for Bernoulli units.
        lengths : array-like of int, optional
            None: one sequence.
        method : {"auto", "exact", "ais"}, default="auto"
            Method of computing log Z of each frame's machine: enumeration (up to 12 hidden units) or annealed
            importance sampling; ``"auto"`` enumerates if possible.
        **ais
            ``n_runs`` for each frame (10) and ``betas`` (300 equal steps, or the inverse temperatures).

        Returns
        -------
        FrameLogLikelihood
            ``mean``, ``low``, ``high`` in nats per frame, the ``frames`` and the ``method``.

        Raises
        ------
        DataError, SettingError
        """
        bk, rows, before, _ = self._states(X, lengths)
        rng = bk.rng(stream(self._seed, "annealing"))
        return frame_log_likelihood(self.machine_, rows, before, bk, rng, method=method, **ais)

    def score_samples(self, X: RowsLike, lengths: LengthsLike = None, **settings: Any) -> Array:
        """Return the log-likelihood of each frame, in nats, see `log_likelihood`.

        Parameters
        ----------
        X, lengths
            As for `log_likelihood`.
        **settings
            ``method``, ``n_runs``, ``betas``.

        Returns
        -------
        ndarray of shape (n_frames,)
        """
        return self.log_likelihood(X, lengths, **settings).frames

    def sample(
        self, n_steps: int = 100, *, prefix: RowsLike = None, gibbs_steps: int = 50, random_state: RandomState = None
    ) -> Array:
        """Sample a sequence, or continue one.

        Parameters
        ----------
        n_steps : int, default=100
            Frames.
        prefix : array-like of shape (n_frames, n_features), optional
            Preceding frames, which are not returned.
        gibbs_steps : int, default=50
            Gibbs steps for each frame, starting from the previous frame.
        random_state : int, Generator or None
            None: continue with the model's own stream, so that two calls differ.

        Returns
        -------
        ndarray of shape (n_steps, n_features)
            The sampled frames, in the units of the data.
        """
        check_is_fitted(self, "machine_")
        check_number("n_steps", n_steps, low=1, integer=True)
        check_number("gibbs_steps", gibbs_steps, low=1, integer=True)
        bk = check_backend(self.backend, prefix)
        state = self.machine_.u0 if prefix is None else self._states(prefix, None)[3][-1]
        rng = bk.rng(next_stream(self, "sample", random_state))
        frames = sample_sequence(self.machine_, n_steps, state, bk, rng, gibbs_steps=gibbs_steps)
        return np.asarray(self.machine_.frame.leave(frames))
