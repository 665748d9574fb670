"""`learning_rate_sweep`: comparison of learning rates on held-out rows."""

import contextlib
import math
import numbers
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples
from threadpoolctl import threadpool_info, threadpool_limits

from deepbelief.diagnostics.gradient_checking import check_model, private_copy
from deepbelief.diagnostics.sweep_result import LearningRateSweep, SweepRow
from deepbelief.diagnostics.trials import SweepPlan, Trial, finetuning_plan, pretraining_plan
from deepbelief.errors import DataError, Mention, Message, SettingError, invalid
from deepbelief.estimators.base import check_backend, check_number
from deepbelief.estimators.dbn import DBN
from deepbelief.estimators.rbm import RBM
from deepbelief.seeds import run_seed
from deepbelief.training import Record, Reporter
from deepbelief.typing import Array, Estimator, RandomState, RowsLike, TargetsLike

LEAST_ROWS = 10
TRIAL = 0.1  # share of the epochs after which hopeless rates are stopped
FAR = 0.01  # share of the leading rate that these are below
HOPELESS = 0.1  # share of the leading rate's gain in the trial that these are below
STARTED = 0.001  # share of the score or loss at the start that the leading rate must have gained by then
GOOD = 0.9  # share of the best rate's gain, at the end, from which a rate is good
MOVED = 0.01  # share of the score or loss at the start that even the best rate must gain


def learning_rate_sweep(
    model: Estimator,
    X: RowsLike,
    y: TargetsLike = None,
    *,
    rates: Sequence[float] = (1e-1, 1e-3, 1e-6),
    refine: int = 0,
    n_jobs: int | None = None,
    random_state: RandomState = 0,
    callback: Callable[[tuple[SweepRow, ...]], None] | None = None,
) -> LearningRateSweep:
    """Train at several learning rates in parallel, and report which diverge, which are too slow and which is best.

    All runs start from the same weights and see the same minibatches. They are compared on held-out rows
    (``validation_fraction`` of the model, or a tenth): machines by pseudo-log-likelihood if it exists, otherwise by the
    squared error of the reconstruction; classifiers by accuracy, other networks by the loss.

    After a tenth of the epochs, rates of at most a hundredth of the leading rate that have gained less than a tenth as
    much are stopped, with the verdict ``"too slow"``: by the end they would not reach the current score of the leading
    rate. The others run to the end. A rate is ``"good"`` if it gains at least nine tenths of the gain of the best rate,
    in pseudo-log-likelihood, squared error or loss; otherwise it is ``"too slow"`` or, above the best rate, ``"too
    high"``. The verdict is ``"diverged"`` if training diverged or ended clearly worse than it started. The rate with
    the best score is recommended. If the scores of several machines do not differ significantly on the held-out rows
    (the mean difference, row by row, is within its standard error: Breiman et al. 1984), the largest of their rates is
    recommended, because it learns faster.

    For a `DBN` only the first layer is trained: the inputs of the layers above depend on the rate, so that their scores
    cannot be compared. Estimators that are fine-tuned are pretrained once, and the rate is that of fine-tuning. The
    model is not changed.

    Parameters
    ----------
    model : RBM, DBN, DBNClassifier or DeepAutoencoder
        Unfitted; its other settings are used in every run.
    X : array-like, CSR matrix or RowSource of shape (n_rows, n_features)
        At least 10 rows.
    y : array-like of shape (n_rows,), optional
        For models that need it.
    rates : sequence of float, default=(1e-1, 1e-3, 1e-6)
        Different numbers above 0.
    refine : int, default=0
        Number of further rates to try afterwards, between the best one and its neighbours, evenly spaced in log space.
    n_jobs : int or None, default=None
        Number of concurrent runs. None means the number in scikit-learn's `parallel_config` if it is above one,
        otherwise one for each core. They are threads, unless `parallel_config` names another backend; each has its
        share of the cores for BLAS. On a GPU runs go one after another.
    random_state : int, Generator or RandomState, default=0
        Seed of all runs.
    callback : callable, optional
        Called with the current rows of the table whenever they change: after each epoch if runs are threads, otherwise
        after the trial and at the end.

    Returns
    -------
    LearningRateSweep
        ``best_rate``, ``rows`` (from the largest rate to the smallest), ``advice``; it prints as a table.

    Raises
    ------
    SettingError, DataError
        If rates or rows are invalid; nothing is trained then.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from deepbelief import RBM, learning_rate_sweep
    >>> sweep = learning_rate_sweep(RBM(30, n_iter=20), load_digits().data / 16)
    >>> sweep.best_rate, [row.verdict for row in sweep.rows]
    (0.1, ['good', 'too slow', 'too slow'])
    """
    checked = check_rates(rates)
    check_number("refine", refine, low=0, integer=True)
    if n_jobs is not None and (not isinstance(n_jobs, numbers.Integral) or isinstance(n_jobs, bool) or n_jobs == 0):
        raise invalid("n_jobs", "an integer other than 0", n_jobs)
    check_model(model, y, "learning_rate_sweep", machines=True)
    if _num_samples(X) < LEAST_ROWS:
        raise DataError(f"a sweep needs at least {LEAST_ROWS} rows, to hold some out, got {_num_samples(X)}: add rows")
    seed = run_seed(random_state)
    own = private_copy(model)
    own.random_state, own.warm_start = seed, False
    bk = check_backend(own.backend, X)
    plan = pretraining_plan(own, X, bk, seed) if isinstance(own, (RBM, DBN)) else finetuning_plan(own, X, y, bk)
    sweep = _Sweep(plan, _jobs(n_jobs) if bk.concurrent else 1, callback)
    sweep.run(checked)
    if refine and sweep.best() is not None:
        sweep.run(between(checked, sweep.best().rate, int(refine)))  # type: ignore[union-attr]
    return sweep.result()


def check_rates(rates: Sequence[float] | Array) -> list[float]:
    """Return the rates as floats, or refuse them."""
    allowed = Message(Mention("rates"), " must be different numbers above 0, such as 0.1 and 0.001")
    if isinstance(rates, str) or not hasattr(rates, "__iter__"):
        raise SettingError(allowed, f", got {rates!r}", setting="rates", value=rates)
    given = list(rates)
    if not given:
        raise SettingError(allowed, ", got none", setting="rates", value=rates)
    for rate in given:
        number = isinstance(rate, numbers.Real) and not isinstance(rate, (bool, np.bool_))
        if not number or not 0 < float(rate) < math.inf:
            shown = f"{float(rate):g}" if number else repr(rate)
            raise SettingError(allowed, f", got {shown}", setting="rates", value=rate)
        if given.count(rate) > 1:
            raise SettingError(allowed, f", got {float(rate):g} {given.count(rate)} times", setting="rates", value=rate)
    return [float(rate) for rate in given]


def between(rates: Sequence[float], best: float, n: int) -> list[float]:
    """Return n rates between the best one and its neighbours, evenly in log space on either side.

    Examples
    --------
    >>> [float(f"{rate:.3g}") for rate in between([1, 1e-2, 1e-4], 1e-2, 2)]
    [0.1, 0.001]
    >>> [float(f"{rate:.3g}") for rate in between([1, 1e-3], 1, 2)]
    [0.1, 0.01]
    """
    ordered = sorted(rates)
    i = ordered.index(best)
    sides = [ordered[j] for j in (i + 1, i - 1) if 0 <= j < len(ordered)]
    if not sides:
        return []
    shares = [n - n // 2, n // 2] if len(sides) == 2 else [n]
    found = [np.geomspace(best, side, share + 2)[1:-1] for side, share in zip(sides, shares, strict=True)]
    return [float(rate) for part in found for rate in part]


def _jobs(n_jobs: int | None) -> int:
    """Return the number of concurrent runs."""
    if n_jobs is not None:
        return int(joblib.effective_n_jobs(n_jobs))
    told = int(joblib.effective_n_jobs(None))
    return told if told > 1 else int(joblib.cpu_count())


@contextlib.contextmanager
def _blas_threads(n_jobs: int) -> Iterator[None]:
    """Divide the BLAS threads among the runs; the total does not grow."""
    now = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    share = max(1, joblib.cpu_count() // n_jobs)
    if n_jobs == 1 or not now or max(now) <= share:
        yield
        return
    with threadpool_limits(limits=share, user_api="blas"):
        yield


class _Stopped(Exception):
    """Raised to stop a run on another thread after the sweep has ended."""


class _Watch(Reporter):
    """Reporter that passes each epoch of a run to the sweep."""

    def __init__(self, sweep: "_Sweep", rate: float) -> None:
        self._sweep, self._rate = sweep, rate

    def update(self, epoch: int, done: int, total: int) -> None:
        """Stop the run if the sweep has ended."""
        if self._sweep.over:
            raise _Stopped

    def record(self, record: Record) -> None:
        """Pass on an epoch."""
        self._sweep.tell(self._rate, record)


def _advance(run: Trial, stop: int) -> Trial:
    """Continue a run; for workers."""
    return run.advance(stop)


class _Sweep:
    """Runs at several rates, and their results so far."""

    def __init__(self, plan: SweepPlan, n_jobs: int, callback: Callable[[tuple[SweepRow, ...]], None] | None) -> None:
        self._plan, self._n_jobs, self._callback = plan, n_jobs, callback
        self._runs: dict[float, Trial] = {}
        self._shown: dict[float, SweepRow] = {}
        self._stopped: set[float] = set()
        self._leader = (0.0, 0.0)  # largest gain in the trial, and the rate of that run
        self._lock = threading.Lock()
        self.over = False

    def run(self, rates: Sequence[float]) -> None:
        """Try these rates, and train at those that are not hopeless."""
        runs = {rate: self._plan.make(rate) for rate in rates}
        self._runs |= runs
        for rate, run in runs.items():
            self._shown[rate] = SweepRow(rate, "waiting", run.score, 0, run.n_epochs, 0.0)
        self._tell()
        n_epochs = next((run.n_epochs for run in runs.values()), 0)
        trial = math.ceil(TRIAL * n_epochs)
        if len(self._runs) > 1 and trial < n_epochs:
            self._advance(rates, trial)
            self._stop_hopeless([self._runs[rate] for rate in rates if not self._runs[rate].diverged])
        self._advance([rate for rate in rates if rate not in self._stopped], n_epochs)

    def _stop_hopeless(self, alive: Sequence[Trial]) -> None:
        """Stop the runs that would not reach the leader's current score, after a tenth of the epochs.

        A lower score alone is not enough: learning starts slowly, and a run at half the rate is at first far behind.
        """
        self._leader = max([self._leader, *((run.gain, run.rate) for run in alive)])
        gain, rate = self._leader
        for run in alive:
            moved = gain > STARTED * abs(run.start)  # otherwise there is no evidence yet
            if moved and run.gain < HOPELESS * gain and run.rate <= FAR * rate:
                self._stopped.add(run.rate)

    def _advance(self, rates: Sequence[float], stop: int) -> None:
        """Continue the runs at these rates, in parallel."""
        waiting = [run for rate in rates if not ((run := self._runs[rate]).diverged or run.finished)]
        backend, _ = get_active_backend(prefer="threads")
        shared = self._n_jobs == 1 or getattr(backend, "supports_sharedmem", False)
        for run in waiting:
            run.reporter = _Watch(self, run.rate) if shared else Reporter()
        try:
            with _blas_threads(self._n_jobs):
                done = Parallel(n_jobs=self._n_jobs, prefer="threads")(delayed(_advance)(run, stop) for run in waiting)
        except BaseException:
            self.over = True
            raise
        self._runs |= {run.rate: run for run in done}
        for run in done:
            state = "diverged" if run.diverged else "running"
            self._shown[run.rate] = self._row(run, state)
        self._tell()

    def tell(self, rate: float, record: Record) -> None:
        """Take the record of an epoch, from whichever thread."""
        score = self._shown[rate].score
        for key, sign in (("validation_score", 1), ("validation_loss", -1)):
            if record.get(key) is not None:
                score = sign * record[key]
                break
        with self._lock:
            row = self._shown[rate]
            seconds = row.seconds + record["seconds"] if "seconds" in record else row.seconds
            self._shown[rate] = replace(row, verdict="running", score=score, epochs=record["epoch"], seconds=seconds)
            self._tell()

    def _tell(self) -> None:
        if self._callback is not None:
            self._callback(tuple(sorted(self._shown.values(), key=lambda row: -row.rate)))

    def _row(self, run: Trial, verdict: str) -> SweepRow:
        score = math.nan if run.diverged and not run.gain else run.score
        return SweepRow(run.rate, verdict, score, run.epochs, run.n_epochs, run.seconds, run.rate in self._stopped)

    def best(self) -> Trial | None:
        """Return the best run, if any has improved; among runs that are not worse, the one at the largest rate."""
        whole = [run for rate, run in self._runs.items() if rate not in self._stopped and not run.diverged]
        top = max(whole, key=lambda run: run.quality, default=None)
        if top is None or top.gain <= MOVED * abs(top.start):
            return None
        return max((run for run in whole if run.is_no_worse(top)), key=lambda run: run.rate)

    def _verdict(self, run: Trial, best: Trial | None) -> str:
        if run.diverged or run.gain < -MOVED * abs(run.start):
            return "diverged"
        if run is best:
            return "good"
        if best is None or run.rate in self._stopped:
            return "too slow"
        if run.gain >= GOOD * best.gain:
            return "good"
        return "too slow" if run.rate < best.rate else "too high"

    def result(self) -> LearningRateSweep:
        """Return the results."""
        best = self.best()
        ordered = sorted(self._runs.values(), key=lambda run: -run.rate)
        rows = tuple(self._row(run, self._verdict(run, best)) for run in ordered)
        self._shown = {row.rate: row for row in rows}
        self._tell()
        advice = _advice(rows, None if best is None else best.rate, self._plan)
        return LearningRateSweep(
            None if best is None else best.rate, rows, self._plan.setting, self._plan.metric, advice
        )


def _advice(rows: Sequence[SweepRow], best: float | None, plan: SweepPlan) -> Message:
    """Return the recommended next step."""
    top, bottom = rows[0], rows[-1]
    if best is None:
        if bottom.verdict == "diverged":
            return Message(f"No rate works well: try smaller ones, such as {bottom.rate / 10:.3g}.")
        if top.verdict == "too slow":
            larger = f"{top.rate * 10:.3g}; or the rows have little structure."
            return Message(f"No rate works well: try larger ones, such as {larger}")
        slow = next(row for row in rows if row.verdict != "diverged")
        return Message(f"No rate works well: try rates between those that diverged and {slow.rate:.3g}.")
    where = f" for {plan.where}" if plan.where else ""
    text = Message("Use ", Mention(plan.setting, best, ".4g"), f"{where}. ")
    if len(rows) > 1 and best == top.rate and rows[1].verdict != "good":
        return Message(text, f"It is the largest rate tried: {best * 3:.3g} may be better.")
    if len(rows) > 1 and best == bottom.rate:
        return Message(text, f"It is the smallest rate tried: {best / 3:.3g} may be better.")
    return Message(text, Mention("refine", 4), " tries more rates around it.")
