"""Results of an evaluation: frozen values that print well and convert to plain dictionaries."""

from dataclasses import dataclass

import numpy as np

from deepbelief.errors import printable
from deepbelief.evaluation.measures import wilson_interval
from deepbelief.sizing import arrows
from deepbelief.typing import Array, StrDict

Fact = tuple[str, str]

MAX_MATRIX_CLASSES = 20  # a larger confusion matrix is reported by its most frequent confusions
MAX_CONFUSIONS = 10
MAX_LABEL_LENGTH = 20  # characters of a class in a table


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Base of all results.

    Attributes
    ----------
    row_errors : ndarray of shape (n_rows,)
        Error of each row, in the order of the data: negative log-probability of the true class, squared error or
        negative log-likelihood, whichever the result is about. NaN for a row that was left out.
    """

    row_errors: Array

    def worst(self, n: int) -> Array:
        """Return the positions of the `n` rows with the largest errors, the worst first."""
        judged = np.flatnonzero(~np.isnan(self.row_errors))
        return judged[np.argsort(-self.row_errors[judged], kind="stable")[:n]]

    @property
    def size(self) -> str:
        """Size of the evaluated data in words."""
        return f"{len(self.row_errors)} rows"

    def facts(self) -> list[Fact]:
        """Return names and values formatted for reading."""
        raise NotImplementedError

    def table(self) -> str:
        """Return what does not fit in a line, such as a confusion matrix; empty if there is none."""
        return ""

    def to_dict(self) -> StrDict:
        """Return the result as plain values."""
        raise NotImplementedError

    def __str__(self) -> str:
        """Return facts in two columns, then the table."""
        rows = [("data", self.size), *self.facts()]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value}" for name, value in rows]
        return "\n".join(lines) + (f"\n\n{self.table()}" if self.table() else "")


@dataclass(frozen=True, eq=False)
class Classification(Evaluation):
    """Classification error with its interval, and the confusion matrix.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    confusion : ndarray of shape (n_classes, n_classes)
        ``confusion[i, j]`` rows of class i were predicted as class j.
    nll : float
        Mean negative log-probability of the true class, in nats.
    n_unlabeled : int
        Rows without a label, which were left out.
    predicted : ndarray of shape (n_rows,)
        Predicted class of each row.
    """

    classes: Array
    confusion: Array
    nll: float
    n_unlabeled: int
    predicted: Array

    @property
    def n_rows(self) -> int:
        """Number of rows that were judged."""
        return int(self.confusion.sum())

    @property
    def n_wrong(self) -> int:
        """Number of rows predicted as another class."""
        return self.n_rows - int(np.trace(self.confusion))

    @property
    def error(self) -> float:
        """Share of wrong rows."""
        return self.n_wrong / self.n_rows

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson score interval of the error."""
        return wilson_interval(self.n_wrong, self.n_rows)

    @property
    def size(self) -> str:
        """Size of the evaluated data in words."""
        return f"{self.n_rows} rows"

    def facts(self) -> list[Fact]:
        """Return names and values formatted for reading."""
        low, high = self.interval
        unlabeled = f"; {self.n_unlabeled} unlabelled rows left out" if self.n_unlabeled else ""
        of = f"{self.n_wrong} of {self.n_rows}{unlabeled}"
        return [
            ("error", f"{100 * self.error:.2f} % ({of}), 95 % interval {100 * low:.2f} to {100 * high:.2f} %"),
            ("nll", f"{self.nll:.4g} nats per row"),
        ]

    def table(self) -> str:
        """Return the confusion matrix, or the most frequent confusions of many classes."""
        names = [printable(c)[:MAX_LABEL_LENGTH] for c in self.classes.tolist()]
        if len(names) > MAX_MATRIX_CLASSES:
            wrong = self.confusion - np.diag(np.diag(self.confusion))
            order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_CONFUSIONS]
            pairs = [divmod(int(k), len(names)) for k in order if wrong.flat[k]]
            return "\n".join(
                [
                    "Most frequent confusions",
                    *(f"  {wrong[i, j]:>6}  {names[i]} predicted as {names[j]}" for i, j in pairs),
                ]
            )
        rows = zip(names, self.confusion.tolist(), strict=True)
        cells = [["", *names], *([name, *(str(n or ".") for n in row)] for name, row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        lines = ("  " + "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells)
        return "\n".join(["Confusion: true classes down, predicted across", *lines])

    def to_dict(self) -> StrDict:
        """Return the result as plain values."""
        return {
            "rows": self.n_rows,
            "unlabeled": self.n_unlabeled,
            "wrong": self.n_wrong,
            "error": self.error,
            "error_interval": list(self.interval),
            "nll": self.nll,
            "classes": self.classes.tolist(),
            "confusion": self.confusion.tolist(),
        }


@dataclass(frozen=True, eq=False)
class Regression(Evaluation):
    """Root mean squared error in the units of the targets, and R2.

    Attributes
    ----------
    rmse : float
        Root of the mean squared error, in the unit of the targets.
    r2 : float or None
        None where all targets are the same.
    n_unlabeled : int
        Rows without a target, which were left out.
    """

    rmse: float
    r2: float | None
    n_unlabeled: int = 0

    @property
    def size(self) -> str:
        """Size of the evaluated data in words."""
        left_out = f"; {self.n_unlabeled} rows without a target left out" if self.n_unlabeled else ""
        return f"{len(self.row_errors) - self.n_unlabeled} rows{left_out}"

    def facts(self) -> list[Fact]:
        """Return names and values formatted for reading."""
        r2 = "none: all labels are the same" if self.r2 is None else f"{self.r2:.4f}"
        return [("rmse", f"{self.rmse:.5g}"), ("R2", r2)]

    def to_dict(self) -> StrDict:
        """Return the result as plain values."""
        n_rows = len(self.row_errors) - self.n_unlabeled
        return {"rows": n_rows, "unlabeled": self.n_unlabeled, "rmse": self.rmse, "r2": self.r2}


@dataclass(frozen=True, eq=False)
class Columns(Evaluation):
    """Results of several target columns, by the number of the column.

    Attributes
    ----------
    columns : tuple of Classification or Regression
        The result of each column of the targets.
    """

    columns: tuple[Evaluation, ...]

    def facts(self) -> list[Fact]:
        """Return names and values formatted for reading."""
        return [(f"{name} {k}", value) for k, each in enumerate(self.columns) for name, value in each.facts()]

    def table(self) -> str:
        """Return the tables of all columns."""
        parts = [f"Column {k}. {each.table()}" for k, each in enumerate(self.columns) if each.table()]
        return "\n\n".join(parts)

    def to_dict(self) -> StrDict:
        """Return the result as plain values."""
        return {"columns": [each.to_dict() for each in self.columns]}


@dataclass(frozen=True, eq=False)
class Reconstruction(Evaluation):
    """Errors of a stack's reconstructions through 1, 2 ... layers.

    Attributes
    ----------
    sizes : tuple of int
        Units of each layer.
    errors : tuple of float
        Mean squared error per row, summed over inputs, for each depth; Gaussian inputs are in standard deviations.
    pseudo_log_likelihood : float or None
        Mean over `pseudo_rows` rows, in nats, of the first layer; None where its units have none.
    pseudo_rows : int or None
        Number of rows behind the pseudo-log-likelihood.
    """

    sizes: tuple[int, ...]
    errors: tuple[float, ...]
    pseudo_log_likelihood: float | None
    pseudo_rows: int | None

    def facts(self) -> list[Fact]:
        """Return names and values formatted for reading."""
        rows = []
        for depth, error in enumerate(self.errors, 1):
            way = arrows(self.sizes[: depth + 1])
            rows.append(("reconstruction" if depth == 1 else "", f"{error:.4g} squared error per row through {way}"))
        if self.pseudo_log_likelihood is not None:
            value = f"{self.pseudo_log_likelihood:.5g} nats per row, first layer, {self.pseudo_rows} rows"
            rows.append(("pseudo-likelihood", value))
        return rows

    def to_dict(self) -> StrDict:
        """Return the result as plain values."""
        return {
            "rows": len(self.row_errors),
            "sizes": list(self.sizes),
            "reconstruction_errors": list(self.errors),
            "pseudo_log_likelihood": self.pseudo_log_likelihood,
            "pseudo_log_likelihood_rows": self.pseudo_rows,
        }


@dataclass(frozen=True, eq=False)
class Codes(Evaluation):
    """Errors of an autoencoder beside those of PCA with as many components, and the size of its codes.

    Attributes
    ----------
    sizes : tuple of int
        Of the encoder.
    squared_error, cross_entropy : float
        Mean per row; the cross-entropy is None where outputs are not probabilities.
    pca_squared_error : float or None
        Of PCA fitted to the same rows; None if there are too many columns.
    bits : int or None
        Each unit of the codes was rounded to ``2**bits`` values for `rounded_error`.
    rounded_error : float or None
        Squared error per row with rounded codes.
    row_bytes, code_bytes : int
        Size of a row as it is stored, and of its code.
    """

    sizes: tuple[int, ...]
    squared_error: float
    cross_entropy: float | None
    pca_squared_error: float | None
    bits: int | None
    rounded_error: float | None
    row_bytes: int
    code_bytes: int

    @property
    def compression(self) -> float:
        """Size of a row as a multiple of the size of its code."""
        return self.row_bytes / self.code_bytes

    def facts(self) -> list[Fact]:
        """Return names and values formatted for reading."""
        rows = [
            ("layers", arrows((*self.sizes, *self.sizes[-2::-1]))),
            ("squared error", f"{self.squared_error:.5g} per row"),
        ]
        if self.pca_squared_error is not None:
            components = f"{self.sizes[-1]} components fitted to the same rows"
            rows.append(("PCA", f"{self.pca_squared_error:.5g} per row, {components}"))
        if self.rounded_error is not None:
            loss = self.rounded_error - self.squared_error
            rows.append(("rounded", f"{self.rounded_error:.5g} with codes of {self.bits} bits: {loss:+.3g}"))
        if self.cross_entropy is not None:
            rows.append(("cross-entropy", f"{self.cross_entropy:.5g} nats per row"))
        return [*rows, ("bytes", f"{self.code_bytes} for a row of {self.row_bytes}: {self.compression:.3g} to 1")]

    def to_dict(self) -> StrDict:
        """Return the result as plain values."""
        rounded = {} if self.bits is None else {"bits": self.bits, "rounded_error": self.rounded_error}
        return {
            "rows": len(self.row_errors),
            "sizes": list(self.sizes),
            "squared_error": self.squared_error,
            "cross_entropy": self.cross_entropy,
            "pca_squared_error": self.pca_squared_error,
            **rounded,
            "row_bytes": self.row_bytes,
            "code_bytes": self.code_bytes,
            "compression": self.compression,
        }
