"""Progress of a run: its phases, the time left, and the errors of an epoch."""

import itertools
import time
from collections.abc import Sequence

from deepbelief.training import Record

from ._text import arrows

TITLES = {"recurrent": "sequences,", "pretrain recurrent": "next frames,"}


class Pace:
    """Progress of a run and the time left; a layer costs as much as it has weights.

    The relative duration of the phases of a model of sequences is unknown: each is reported by itself.
    """

    def __init__(self, sizes: Sequence[int] = ()) -> None:
        self._costs = [a * b for a, b in itertools.pairwise(sizes)]
        self._began = time.perf_counter()
        self._origin: float | None = None  # the share of the run that an earlier process has done

    def begin(self, what: Record) -> None:
        """Begin a phase."""
        self.what = what
        self._first: int | None = what["first_epoch"] + 1 if "first_epoch" in what else None
        self._before, self._share = 0.0, 1.0
        if what["phase"] == "pretrain":
            n_layers = what["n_layers"]
            costs = self._costs if len(self._costs) == n_layers else [1] * n_layers
            total = sum(costs) * what["n_passes"]
            self._before = ((what["pass"] - 1) * sum(costs) + sum(costs[: what["layer"] - 1])) / total
            self._share = costs[what["layer"] - 1] / total
        else:
            self._began, self._origin = time.perf_counter(), None

    def at(self, epoch: int) -> tuple[int, int]:
        """Return the number of an epoch within its phase, from 1, and how many there are."""
        if self._first is None:
            self._first = epoch
        n_epochs = self.what["n_epochs"]
        if self.what["phase"] != "pretrain":  # continues counting where an earlier run stopped
            n_epochs -= self._first - 1
        return epoch - self._first + 1, n_epochs

    def left(self, epoch: int, part: float = 1.0) -> float:
        """Return the seconds that the run will still take, once this part of an epoch is done."""
        number, n_epochs = self.at(epoch)
        done = self._before + self._share * (number - 1 + part) / n_epochs
        if self._origin is None:
            self._origin = self._before + self._share * (number - 1) / n_epochs
        return (time.perf_counter() - self._began) * (1 - done) / (done - self._origin)

    def title(self) -> str:
        """Return what the phase is called."""
        what = self.what
        if what["phase"] != "pretrain":
            return f"{TITLES.get(what['phase'], 'fine-tuning')} {arrows(what['sizes'])}"
        number = f"pass {what['pass']}/{what['n_passes']}, " if what["n_passes"] > 1 else ""
        return f"{number}layer {what['layer']}/{what['n_layers']}, {arrows(what['sizes'])}"


def scores(record: Record) -> str:
    """Return the errors of an epoch."""
    names = {
        "reconstruction_error": "error",
        "free_energy_gap": "gap",
        "loss": "loss",
        "validation_loss": "held-out loss",
        "rmse": "rmse",
        "validation_rmse": "held-out rmse",
    }
    parts = [f"{name} {record[key]:.4g}" for key, name in names.items() if record.get(key) is not None]
    if record.get("validation_score") is not None:
        parts.append(f"held-out error {100 * (1 - record['validation_score']):.2f} %")
    return ", ".join(parts)
