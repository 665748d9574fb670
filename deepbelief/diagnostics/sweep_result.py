"""Results of a sweep over learning rates."""

from collections.abc import Callable
from dataclasses import dataclass

from deepbelief.errors import Mention, Message


@dataclass(frozen=True)
class SweepRow:
    """One learning rate of a sweep.

    Attributes
    ----------
    rate : float
        Learning rate.
    verdict : {"good", "too slow", "too high", "diverged"}
        While the sweep runs also ``"waiting"`` or ``"running"``.
    score : float
        Of the held-out rows, larger is better; not a number where there was no good epoch. While a machine
        trains it is the last one that was computed.
    epochs : int
        Epochs done.
    n_epochs : int
        Epochs of a whole run.
    seconds : float
        Duration of the run.
    stopped : bool
        Whether it was stopped after the trial, as hopeless.
    """

    rate: float
    verdict: str
    score: float
    epochs: int
    n_epochs: int
    seconds: float
    stopped: bool = False


@dataclass(frozen=True, repr=False)
class LearningRateSweep:
    """Result of `learning_rate_sweep`; it prints as a table.

    Attributes
    ----------
    best_rate : float or None
        None where no rate is good.
    rows : tuple of SweepRow
        From the largest rate to the smallest.
    setting : str
        What the rate is called: ``"learning_rate"`` or, of fine-tuning, ``"learning_rate_init"``.
    metric : str
        What the scores are.
    message : Message
        What to do next.
    """

    best_rate: float | None
    rows: tuple[SweepRow, ...]
    setting: str
    metric: str
    message: Message

    @property
    def advice(self) -> str:
        """Advice on what to do next."""
        return str(self.message)

    def advice_for(self, name_of: Callable[[Mention], str]) -> str:
        """Return what to do next, with settings as `name_of` writes them."""
        return self.message.spelled(name_of)

    def __repr__(self) -> str:
        """Return the table and the advice."""
        lines = [f"{'rate':>10}  {'verdict':<10}{'score':>12}{'epochs':>10}{'seconds':>9}"]
        for row in self.rows:
            mark = "  <- best" if row.rate == self.best_rate else "  stopped early" if row.stopped else ""
            epochs = f"{row.epochs}/{row.n_epochs}"
            lines.append(f"{row.rate:>10.4g}  {row.verdict:<10}{row.score:>12.5g}{epochs:>10}{row.seconds:>9.1f}{mark}")
        return "\n".join([*lines, f"score: {self.metric}, larger is better", self.advice])
