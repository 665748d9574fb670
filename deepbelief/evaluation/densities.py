"""Results for density models: log-likelihoods of rows and of the frames of sequences."""

from dataclasses import dataclass

from deepbelief.evaluation.results import Evaluation, Fact
from deepbelief.likelihood import AISEstimate, LadderEstimate, LogLikelihood
from deepbelief.recurrent.frame_likelihood import FrameLogLikelihood
from deepbelief.sizing import arrows
from deepbelief.typing import StrDict


@dataclass(frozen=True, eq=False)
class Sequences(Evaluation):
    """Log-likelihood per frame of a model of sequences, and the accuracy of its predictions of the next frame.

    Attributes
    ----------
    n_sequences : int
        Number of sequences.
    likelihood : FrameLogLikelihood
        Log-likelihoods of the frames.
    accuracy : float or None
        TP / (TP + FP + FN), each in expectation; None if frames are not binary or no sequence has two frames.
    """

    n_sequences: int
    likelihood: FrameLogLikelihood
    accuracy: float | None

    @property
    def size(self) -> str:
        """Size of the evaluated data in words."""
        return f"{self.n_sequences} sequences, {len(self.row_errors)} frames"

    def facts(self) -> list[Fact]:
        """Return names and values formatted for reading."""
        found = self.likelihood
        rows = [
            ("log-likelihood", f"{found.mean:.4f} nats per frame ({found.low:.4f} to {found.high:.4f})"),
            ("log Z", found.method),
        ]
        if self.accuracy is not None:
            rows.append(("accuracy", f"{100 * self.accuracy:.2f} % expected for the next frame, TP / (TP + FP + FN)"))
        return rows

    def to_dict(self) -> StrDict:
        """Return the result as plain values."""
        found = self.likelihood
        accuracy = {} if self.accuracy is None else {"accuracy": self.accuracy}
        return {
            "sequences": self.n_sequences,
            "frames": len(self.row_errors),
            "log_likelihood": found.mean,
            "log_likelihood_interval": [found.low, found.high],
            "method": found.method,
            **accuracy,
        }


@dataclass(frozen=True, eq=False)
class Density(Evaluation):
    """Log-likelihood of rows under a machine, or a lower bound on it under a stack, with the method for log Z.

    Attributes
    ----------
    sizes : tuple of int
        Units of each layer.
    likelihood : LogLikelihood
        Log-likelihoods of the rows.
    binarize : {"threshold", "sample"} or None
        How grey levels were turned into 0 and 1.
    seed : int
        Seed of the draws.
    """

    sizes: tuple[int, ...]
    likelihood: LogLikelihood
    binarize: str | None
    seed: int

    def facts(self) -> list[Fact]:
        """Return names and values formatted for reading."""
        found, log_z = self.likelihood, self.likelihood.log_z
        bound = "at least " if found.is_bound else ""
        interval = f", {found.low:.3f} to {found.high:.3f} at 3 s.d.: quote {found.low:.2f}"
        interval = "" if found.low == found.high else interval
        rows = [
            ("layers", arrows(self.sizes)),
            ("log-likelihood", f"{bound}{found.mean:.3f} nats per row{interval}"),
            ("standard error", f"{found.standard_error:.3f}, of these rows as a sample of more"),
        ]
        if isinstance(log_z, AISEstimate):
            how = f"{log_z.low:.3f} to {log_z.high:.3f}, by annealed importance sampling"
            worth = f"{log_z.effective_sample_size:.1f} of {len(log_z.log_weights)} runs"
            rows += [("log Z", f"{log_z.log_z:.3f}, {how}"), ("effective", worth)]
        elif isinstance(log_z, LadderEstimate):
            how = f"{log_z.low:.3f} to {log_z.high:.3f}, along a ladder of {len(log_z.betas)} machines"
            rows.append(("log Z", f"{log_z.log_z:.3f}, {how}"))
        else:
            rows.append(("log Z", f"{log_z:.4f}, by enumeration"))
        names = {
            None: "no: values are 0 and 1, or real",
            "threshold": "1 from a half on",
            "sample": f"drawn once, seed {self.seed}",
        }
        return [*rows, ("binarised", names[self.binarize])]

    def to_dict(self) -> StrDict:
        """Return the result as plain values."""
        found = self.likelihood
        annealed = found.log_z if isinstance(found.log_z, AISEstimate) else None
        estimate = None if isinstance(found.log_z, float) else found.log_z
        return {
            "rows": len(self.row_errors),
            "sizes": list(self.sizes),
            "log_likelihood": found.mean,
            "log_likelihood_interval": [found.low, found.high],
            "log_likelihood_standard_error": found.standard_error,
            "lower_bound": found.is_bound,
            "binarize": self.binarize,
            "seed": self.seed,
            "method": found.method,
            "log_z": found.log_z if estimate is None else estimate.log_z,
            "log_z_interval": None if estimate is None else [estimate.low, estimate.high],
            "effective_sample_size": None if annealed is None else annealed.effective_sample_size,
            "runs": None if annealed is None else len(annealed.log_weights),
        }
