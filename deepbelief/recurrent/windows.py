"""Sequences cut into windows, and the order in which an epoch visits them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from deepbelief.errors import DataError
from deepbelief.typing import Array


def check_lengths(lengths: ArrayLike | None, n_rows: int, *, shortest: int = 1) -> Array:
    """Return the lengths of the sequences that the rows consist of; None: all rows are one sequence.

    Raises
    ------
    DataError
        If they do not sum to the number of rows, or a sequence is too short; the message names it.
    """
    found = np.asarray([n_rows] if lengths is None else lengths)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "iu":
        raise DataError(
            f"lengths must be integers, one for each sequence, got {found.dtype} of shape {found.shape}; for instance "
            "lengths=[len(a), len(b)] for the rows of a followed by those of b"
        )
    found = found.astype(np.intp)
    short = np.flatnonzero(found < shortest)
    if short.size:
        kind = "is empty" if found[short[0]] == 0 else f"has {found[short[0]]} frame(s)"
        raise DataError(
            f"sequence {short[0]} (from 0) {kind}, at least {shortest} {'is' if shortest == 1 else 'are'} needed: "
            "leave it out, or join it to another"
        )
    if found.sum() != n_rows:
        raise DataError(
            f"lengths sum to {found.sum()} over {len(found)} sequence(s), but there are {n_rows} rows: they must "
            "be equal"
        )
    return found


@dataclass(frozen=True, eq=False)
class WindowPlan:
    """Plan of an epoch: minibatches of windows, which are in order within each sequence.

    The frames of a minibatch are packed by step: first the frames of the first step of all windows, then those of the
    second step, and so on. Windows are sorted by length, so that the windows that still run at a step come first.

    Attributes
    ----------
    frames : ndarray of shape (n_frames,)
        Row numbers in the order of their visits.
    frame_bounds : ndarray of shape (n_updates + 1,)
        Position in ``frames`` at which the frames of each minibatch begin.
    lanes : ndarray of shape (n_windows,)
        Sequence of each window.
    lane_bounds : ndarray of shape (n_updates + 1,)
    first : ndarray of bool, shape (n_windows,)
        Whether a window is the first of its sequence.
    steps : list of list of int
        For each minibatch, the number of windows that run at each step.
    """

    frames: Array
    frame_bounds: Array
    lanes: Array
    lane_bounds: Array
    first: Array
    steps: list[list[int]]


def count_updates(lengths: Array, truncation: int, batch_size: int) -> int:
    """Return the number of minibatches in an epoch, at least the number of windows of the longest sequence."""
    windows = -(-lengths // truncation)
    return int(max(-(-windows.sum() // batch_size), windows.max()))


def make_plan(lengths: Array, truncation: int, batch_size: int, order: Sequence[int] | Array) -> WindowPlan:
    """Arrange the windows of the sequences, in this order, in minibatches of at most ``batch_size`` windows.

    All windows are laid end to end over the lanes, each of which is as long as the epoch. A sequence that continues in
    the next lane is never in two lanes at once (McNaughton's rule), and its windows are visited in order.

    Examples
    --------
    >>> plan = make_plan(np.array([5, 2, 3]), 2, 2, [0, 1, 2])
    >>> plan.lanes.tolist(), plan.steps
    ([0, 1, 0, 2, 0, 2], [[2, 2], [2, 2], [2]])
    """
    n_updates = count_updates(lengths, truncation, batch_size)
    order = np.asarray(order)
    per_sequence = -(-lengths[order] // truncation)
    rank = np.repeat(np.arange(len(order)), per_sequence)
    time = np.arange(len(rank)) % n_updates
    by_time = np.lexsort((time, rank))
    rank, time = rank[by_time], time[by_time]
    number = np.arange(len(rank)) - np.repeat(np.cumsum(per_sequence) - per_sequence, per_sequence)
    sequence = order[rank]
    start = (np.cumsum(lengths) - lengths)[sequence] + number * truncation
    length = np.minimum(lengths[sequence] - number * truncation, truncation)
    visit = np.lexsort((-length, time))
    start, length, sequence, number = start[visit], length[visit], sequence[visit], number[visit]
    lane_bounds = np.searchsorted(time[visit], np.arange(n_updates + 1))
    frames, steps = [], []
    for low, high in itertools.pairwise(lane_bounds):
        step = np.arange(length[low])[:, None]
        runs = step < length[low:high]
        frames.append((start[low:high] + step)[runs])
        steps.append(runs.sum(axis=1).tolist())
    frame_bounds = np.concatenate([[0], np.cumsum([len(f) for f in frames])])
    return WindowPlan(np.concatenate(frames), frame_bounds, sequence, lane_bounds, number == 0, steps)
