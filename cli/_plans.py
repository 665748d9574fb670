"""Plans of pretraining: what is trained on which rows, and what there is to report of it."""

import shlex
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

from deepbelief.errors import SettingError, SizingWarning, unknown
from deepbelief.hyperparameters import MACHINE, PRETRAINING
from deepbelief.typing import Estimator, RowsLike, StrDict

from ._annotations import DataSet
from ._errors import option_of
from ._families import with_identity
from ._tables import column_lines, left_out
from ._text import arrows

WORDS = {"255": "divided by 255", "minmax": "the range of each column mapped to [0, 1]"}


def chosen_scale(data: DataSet, scale: str) -> tuple[str, str]:
    """Return the scale setting that training takes for ``--scale``, and what it does to the rows in words.

    Raises
    ------
    SettingError
        If there is no such scale.
    """
    from deepbelief.sources import SCALES, column_statistics, grey_levels, has_missing

    if scale not in SCALES:
        raise SettingError(unknown("scale", scale, SCALES))
    if data.schema is not None:
        if scale in WORDS:
            raise SettingError(f"--scale {scale} is for files of numbers; numbers of a table are binned: leave it out")
        return "none", "as aligned sequences" if data.schema.alphabet else "as a table"
    if scale in WORDS:
        return scale, WORDS[scale]
    statistics = column_statistics(data.rows, missing=has_missing(data.rows))
    reason = grey_levels(data.rows, statistics, data.feature_names) if scale == "auto" else ""
    if reason:
        return "255", f"divided by 255 ({reason})"
    low, high = float(statistics.min.min()), float(statistics.max.max())
    if low >= 0 and high <= 1:
        return "none", "not scaled"
    return "none", f"not scaled to [0, 1] (values from {low:.4g} to {high:.4g})"


Lines = list[tuple[str, str]]


@dataclass(frozen=True)
class PretrainingPlan:
    """A model to pretrain, and its rows.

    Parameters
    ----------
    estimator : DBN or RecurrentRBM
        Not fitted yet.
    data : DataSet
        The rows that it is trained on.
    summary : str
        Data and layers, before the training.
    fit : callable
        Trains the estimator on rows.
    report : callable
        Returns what there is to say of the fitted estimator, as names with texts: of its layers, data, errors, advice.
    next : tuple of str
        The command that comes after, with the model's file between its words.
    sizes : tuple of int
        Of all layers, where their durations can be compared.
    warning : str
        What the user may not expect.
    recorded : dict
        Options in the words by which a resumed run finds everything again.
    of_data, marks : dict
        What the file records of its data, and of itself.
    """

    estimator: Estimator
    data: DataSet
    summary: str
    fit: Callable[[RowsLike], object]
    report: Callable[[], tuple[Lines, Lines]]
    next: tuple[str, str]
    sizes: tuple[int, ...] = ()
    warning: str = ""
    recorded: StrDict = field(default_factory=dict)
    of_data: StrDict = field(default_factory=dict)
    marks: StrDict = field(default_factory=dict)

    def next_command(self, out: str) -> str:
        """Return the command that comes after."""
        before, after = self.next
        return f"deepbelief {before} {shlex.quote(out)} {after}".rstrip()


def plan_stack(options: StrDict, seed: int, data: DataSet, scaling: str) -> PretrainingPlan:
    """Return the plan of a deep belief network.

    Parameters
    ----------
    options : dict
    seed : int
    data : DataSet
    scaling : str
        How rows are scaled, in words.
    """
    held: StrDict = {}
    if options["holdout"] is not None:
        from ._holdout import hold_out

        data, held = hold_out(data, options["holdout"], seed)
    data, weights = with_identity(data, options["identity"])
    dbn = make_dbn(options, seed, data.rows.shape)
    n_rows, sizes = data.rows.shape[0], _sizes(dbn, data)
    left = f", {held['rows']} more held out" if held else ""
    dropped = "" if data.schema is None else left_out(data.schema)

    def fit(rows: RowsLike) -> None:
        from deepbelief.sizing import check_layer_sizes

        with warnings.catch_warnings():
            if options["autoencoder"]:
                check_layer_sizes(sizes[0], sizes[1:], n_samples=n_rows, autoencoder=True)
                warnings.simplefilter("ignore", SizingWarning)  # a code on top is meant to be narrow
            dbn.fit(rows)

    def report() -> tuple[Lines, Lines]:
        from deepbelief.health import Health, layer_findings

        last = {record["layer"]: record["reconstruction_error"] for record in dbn.history_}
        errors = ", ".join(f"{error:.4g} (layer {layer})" for layer, error in sorted(last.items()))
        lines = [
            ("layers", arrows(dbn.stack_.sizes)),
            ("units", arrows([dbn.stack_.layers[0].visible, *(layer.hidden for layer in dbn.stack_)])),
            ("data", f"{data.source_path}, {n_rows} rows{left}, {scaling}"),
            *([] if data.schema is None else column_lines(data.schema)),
            *([("weights", weights)] if weights else []),
            ("error", f"{errors}: squared, summed over units, per row"),
        ]
        advice = Health(layer_findings(dbn.history_)).advice_for(option_of)
        return lines, [("advice" if i == 0 else "", line) for i, line in enumerate(advice)]

    marks: StrDict = {"autoencoder": True} if options["autoencoder"] else {}
    if options["handle_unknown"] is not None:
        marks["handle_unknown"] = options["handle_unknown"]
    return PretrainingPlan(
        dbn, data, f"{n_rows} rows, {data.columns_text}, {scaling}; {arrows(sizes)}", fit, report,
        _next(data, options["autoencoder"]), sizes,
        warning=f"left out of the model: {dropped}; --columns sets the kinds of columns" if dropped else "",
        of_data={"holdout": held} if held else {}, marks=marks,
    )  # fmt: skip


def _next(data: DataSet, autoencoder: bool) -> tuple[str, str]:
    """Return the command that follows, and its options."""
    from deepbelief.estimators.labels import missing_labels

    from ._inputs import has_numbers

    if autoencoder:
        return "finetune", ""
    if data.labels is None or missing_labels(data.labels).all():
        return "encode", ""
    return "finetune", "--regression" if has_numbers(data) else ""


def make_dbn(options: StrDict, seed: int, shape: tuple[int, ...]) -> Estimator:
    """Return the unfitted estimator with the settings that were given, for rows of this shape."""
    from deepbelief import DBN, RBM, suggest_layer_sizes
    from deepbelief.estimators.pretraining_options import code_templates

    given = {name: value for name, value in options.items() if value is not None}
    outer = {name: given[name] for name in (*PRETRAINING, "backend", "memory_limit") if name in given}
    rbm: Estimator = RBM(**{name: given[name] for name in MACHINE if name in given})
    if options["autoencoder"]:
        sizes = outer.get("hidden_layer_sizes", "auto")
        if sizes == "auto":
            sizes = suggest_layer_sizes(shape[1], shape[0], autoencoder=True).hidden_layer_sizes
        outer["hidden_layer_sizes"] = sizes
        rbm = code_templates(rbm, len(sizes), options["code"] or "linear")
    elif options["code"] is not None:
        raise SettingError(f"--code {options['code']} is a setting of autoencoders: add --autoencoder, or leave it out")
    return DBN(rbm=rbm, random_state=seed, **outer)


def _sizes(dbn: Estimator, data: DataSet) -> tuple[int, ...]:
    from deepbelief.estimators.pretraining_options import layer_sizes
    from deepbelief.estimators.tables import is_mixed

    sizes = dbn.hidden_layer_sizes
    chosen = layer_sizes(sizes, data.rows, table=is_mixed(data.schema)) if sizes == "auto" else sizes
    return (data.rows.shape[1], *chosen)
