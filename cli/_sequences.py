"""Commands on models of sequences: `RecurrentRBM`."""

from functools import partial
from typing import Any

import click

from deepbelief.errors import DataError, SettingError
from deepbelief.hyperparameters import MACHINE, PRETRAINING, RECURRENT
from deepbelief.typing import StrDict

from ._annotations import Array, DataSet, Model
from ._files import absolute
from ._options import option, option_name, section, setting_options, together
from ._plans import Lines, PretrainingPlan

lengths_option = option(
    "--lengths",
    metavar="NAME|FILE",
    help="For sequences: the number of frames of each, or the offsets at which they begin and end; a key or a file.",
)
sequences_option = option(
    "--sequences", metavar="FIRST:LAST", help="Use only these sequences, counted from 0; LAST is excluded."
)
sequence_options = together(lengths_option, sequences_option)
recurrent_options = section(
    "Sequences, with --recurrent",
    click.option(
        "--recurrent", is_flag=True, help="Train a model of sequences; --layers is then a single number (default 150)."
    ),
    sequence_options,
    setting_options({name: setting for name, setting in RECURRENT.items() if name not in {**MACHINE, **PRETRAINING}}),
)

OF_SEQUENCES = {"lengths", "sequences"}
OF_STACKS = {"autoencoder", "code", "limit", "memory_limit", "holdout", "identity"}
ADVICE = {"limit": "choose whole sequences with --sequences FIRST:LAST"}


def check_options(options: StrDict) -> None:
    """Refuse options of the other kind of model.

    Raises
    ------
    SettingError
        If there are any.
    """
    recurrent = options["recurrent"]
    of_stacks = {**MACHINE, **PRETRAINING}.keys() - RECURRENT.keys() - {"hidden_layer_sizes"}
    names = of_stacks | OF_STACKS if recurrent else RECURRENT.keys() - {**MACHINE, **PRETRAINING}.keys() | OF_SEQUENCES
    for name, value in options.items():
        if name in names and value is not None and value is not False:
            advice = ADVICE.get(name, "leave it out") if recurrent else "add --recurrent, or leave it out"
            given, kind = option_name(name), "not for" if recurrent else "for"
            raise SettingError(f"{given} is {kind} models of sequences: {advice}")


def plan_sequences(options: StrDict, seed: int, data: DataSet, scaling: str) -> PretrainingPlan:
    """Return the plan of a model of sequences; ``scaling`` says how frames are scaled."""
    data, lengths = select(data, options["lengths"], options["sequences"])
    model = make_model(options, seed)
    recorded = {"lengths": absolute(options["lengths"]), "sequences": options["sequences"]}
    n_frames, n_features = data.rows.shape
    layers = f"{n_features} -> {model.n_components}, {model.n_recurrent} recurrent units ({model.cell})"

    def report() -> tuple[Lines, Lines]:
        last = model.history_[-1]
        lines = [
            ("frames", f"{n_features} -> {model.n_components}, {model.machine_.frame.visible}"),
            ("states", f"{model.n_recurrent} {model.machine_.cell} units, truncation {model.truncation}"),
            ("data", f"{data.source_path}, {len(lengths)} sequences, {n_frames} frames"),
            ("error", f"{last['reconstruction_error']:.4g}: squared, summed over units, per frame"),
            ("gradient", f"norm {last['gradient_norm']:.3g}, at most {last['largest_gradient_norm']:.3g}"),
        ]
        return lines, []

    return PretrainingPlan(
        model, data, f"{len(lengths)} sequences, {n_frames} frames, {scaling}; {layers}",
        partial(model.fit, lengths=lengths), report, ("sample", "--n 200"), recorded=recorded,
        of_data={name: value for name, value in recorded.items() if value is not None},
    )  # fmt: skip


def make_model(options: StrDict, seed: int) -> Any:
    """Return the unfitted estimator with the settings that were given."""
    from deepbelief import RecurrentRBM

    given = {name: options[name] for name in RECURRENT if options.get(name) is not None}
    sizes = options["hidden_layer_sizes"]
    if sizes is not None and (sizes == "auto" or len(sizes) != 1):
        raise SettingError("a model of sequences has one layer of hidden units: give --layers one number, such as 150")
    if sizes is not None:
        given["n_components"] = sizes[0]
    return RecurrentRBM(**given, backend=options["backend"], random_state=seed)


def read_lengths(name: str | None, data: DataSet) -> Array | None:
    """Return the lengths of the sequences in a data set.

    Parameters
    ----------
    name : str or None
        A key of the data's own file, or a file (``FILE:PART`` in one of several arrays), of lengths or of offsets: as
        lengths are at least 1, numbers that begin with 0 are offsets. None: all rows are one sequence.
    data : DataSet

    Raises
    ------
    DataError
        If there is no such thing, or it does not fit the rows.
    """
    import numpy as np

    from deepbelief.recurrent.windows import check_lengths
    from deepbelief.sources.files import read_vector

    n_rows = data.rows.shape[0]
    if name is None:
        return None
    numbers = read_vector(name, data.source_path)
    if numbers.dtype.kind != "i":
        raise DataError(f"{name}: lengths are integers, got {numbers.dtype}")
    if len(numbers) > 1 and numbers[0] == 0:
        if numbers[-1] != n_rows:
            raise DataError(f"{name}: offsets end at {numbers[-1]}, but there are {n_rows} rows: they must be equal")
        numbers = np.diff(numbers)
    try:
        return check_lengths(numbers, n_rows)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def select(data: DataSet, name: str | None, sequences: str | None) -> tuple[Any, Array]:
    """Return the data of the sequences that were asked for, and their lengths."""
    from dataclasses import replace

    import numpy as np

    from deepbelief.sources import SubsetSource

    lengths = read_lengths(name, data)
    if lengths is None:
        if sequences is not None:
            raise SettingError(f"--sequences {sequences} needs --lengths, the lengths of the sequences")
        return data, np.array([data.rows.shape[0]])
    if sequences is None:
        return data, lengths
    first, last = _range(sequences, len(lengths))
    ends = np.concatenate([[0], np.cumsum(lengths)])
    rows = SubsetSource(data.rows, np.arange(ends[first], ends[last]))
    return replace(data, rows=rows, labels=None), lengths[first:last]


def _range(sequences: str, n: int) -> tuple[int, int]:
    """Return first and last of ``FIRST:LAST``, either of which may be left out."""
    left, colon, right = sequences.partition(":")
    try:
        first, last = int(left or 0), int(right or n)
    except ValueError:
        first, last = -1, -1
    if not colon or not 0 <= first < last <= n:
        raise SettingError(
            f"--sequences must be FIRST:LAST with 0 <= FIRST < LAST <= {n}, the number of sequences, got {sequences!r}"
        )
    return first, last


def check_sequences_wanted(model: Model, lengths: str | None, sequences: str | None) -> None:
    """Refuse the options of sequences for a model of another kind."""
    if not model.is_sequences and (lengths or sequences):
        raise SettingError(f"--lengths and --sequences are for models of sequences; {model.path} is a {model.kind}")


def select_recorded(model: Model, data: DataSet, own: bool, chosen: tuple[str | None, str | None]) -> tuple[Any, Any]:
    """Return the data of the sequences to evaluate, and their lengths.

    Parameters
    ----------
    model : Model
    data : DataSet
    own : bool
        Whether these are the recorded data, of which the recorded sequences were trained on.
    chosen : (lengths, sequences)
        As typed; None: as recorded.
    """
    lengths, sequences = chosen
    lengths = lengths or model.recorded("lengths", str)
    return select(data, lengths, sequences or (model.recorded("sequences", str) if own else None))
