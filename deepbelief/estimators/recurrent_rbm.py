"""Recurrent restricted Boltzmann machine as a scikit-learn estimator for sequences."""

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin
from sklearn.utils import Tags

from deepbelief.backends import get_backend
from deepbelief.checkpoints import CheckpointFile, ResumePoint, checkpointing
from deepbelief.errors import FileFormatError, Mention, SettingError
from deepbelief.estimators.base import FLAGS, check_backend, check_schedule, warn_diverged
from deepbelief.estimators.constructors import DocumentationLinkMixin, ResumableParameters, SequenceParameters
from deepbelief.estimators.documented import documented
from deepbelief.estimators.fitted import FittedState, after_fit
from deepbelief.estimators.resolution import visible_choice
from deepbelief.estimators.run_fingerprint import describe_run
from deepbelief.estimators.sequences import SequenceModelMixin, as_sequences, lengths_or_targets
from deepbelief.gradients import CD
from deepbelief.hyperparameters import EXECUTION, RECURRENT, checked_settings, engine_settings
from deepbelief.layer import RBMSettings, choose_visible, initial_weights
from deepbelief.optimizers import get_optimizer
from deepbelief.pretraining import pretrain
from deepbelief.recipes.presets import kept_from_preset
from deepbelief.recipes.pretraining_rules import rows_in_minibatch
from deepbelief.recipes.resolved import Choices, is_auto, resolution_lines
from deepbelief.recipes.sequence_rules import frame_epochs, stopping_of_sequences
from deepbelief.recurrent.cells import get_cell
from deepbelief.recurrent.frame_likelihood import Judge, Sequences
from deepbelief.recurrent.model import NAMES, RecurrentWeights, initial_recurrent, recurrent_from_state, recurrent_state
from deepbelief.recurrent.phases import NextFrame
from deepbelief.recurrent.trainer import RecurrentSettings, RecurrentState, RecurrentTrainer
from deepbelief.sources import RowSource, checked, column_statistics
from deepbelief.stack import Stack, State, Weights
from deepbelief.training import Record, Rows, Run, get_reporter
from deepbelief.typing import Array, DeviceArray, LengthsLike, RowsLike, StrDict, TargetsLike
from deepbelief.units import get_unit, named_unit


@documented(RECURRENT, EXECUTION)
@dataclass(eq=False, repr=False)
class RecurrentRBM(
    ResumableParameters, SequenceParameters, SequenceModelMixin, ClassNamePrefixFeaturesOutMixin,
    DocumentationLinkMixin, BaseEstimator,
):  # fmt: skip
    """RNN-RBM, a model of sequences with a restricted Boltzmann machine at each step that depends on a recurrent state.

    ``X`` contains the frames of all sequences, one sequence after another, and ``lengths`` their numbers of frames;
    without ``lengths`` all rows are one sequence. ``X`` may also be a list with one array per sequence.

    Parameters
    ----------
    warm_start : bool, default=False
        `fit` continues from the weights and velocities of the last `fit`.
    checkpoint : str, Path, CheckpointFile or None, default=None
        File in which `fit` stores its state during pretraining and training, every five minutes or as given by a
        `CheckpointFile`. After a crash or Ctrl-C, the same `fit` resumes from it and ends with the same weights as an
        uninterrupted run. Different settings, rows or sequence lengths are refused.

    Attributes
    ----------
    machine_ : RecurrentWeights
        All parameters: ``machine_.frame.W``, ``machine_.Wuu``, ``machine_.u0`` ...
    components_ : ndarray of shape (n_components, n_features)
    history_ : list of dict
        Reconstruction error and gradient norms by epoch.
    resolved_ : dict
        Value of each setting that was ``"auto"``, and the reason for it.
    n_features_in_ : int
    n_iter_ : int
        Epochs done.

    References
    ----------
    Boulanger-Lewandowski, Bengio and Vincent, "Modeling temporal dependencies in high-dimensional sequences:
    application to polyphonic music generation and transcription", ICML 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from deepbelief import RecurrentRBM
    >>> X = np.tile(np.eye(4), (30, 1))  # 0, 1, 2, 3, 0, 1 ...
    >>> rnn = RecurrentRBM(8, 10, n_iter=100, learning_rate=0.01, random_state=0).fit(X, lengths=[40, 40, 40])
    >>> rnn.predict_next(X[:3]).argmax(axis=1).tolist()
    [1, 2, 3]
    """

    history_: list[StrDict] = field(init=False)
    _state: RecurrentState = field(init=False)

    def _settings(self) -> RecurrentSettings:
        """Return the checked settings for the engine."""
        values = checked_settings(self, RECURRENT, FLAGS)
        if self.visible != "auto":
            named_unit(self.visible)
        check_schedule(self, "which this model does not have")
        if self.gradient == "cd":
            values["gradient"] = CD(values["gibbs_steps"], sample_visible=True)
        settings: RecurrentSettings = engine_settings(RecurrentSettings, RECURRENT, values)
        return settings

    def fit(self, X: RowsLike, y: TargetsLike = None, *, lengths: LengthsLike = None) -> Self:
        """Train on sequences.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_frames, n_features), or list of arrays
        y : ignored
            Except that ``fit(X, lengths)`` also works: an array without one entry per frame is treated as lengths.
        lengths : array-like of int, optional
            Number of frames of each sequence, at least 2; the sum is the number of rows. None: one sequence.

        Returns
        -------
        RecurrentRBM
            Itself.

        Raises
        ------
        DataError, SettingError, BackendError, DivergenceError
        """
        again = bool(self.warm_start) and hasattr(self, "machine_")
        return self._fit(X, y, lengths, self._settings(), again, checkpoint=self.checkpoint)

    def partial_fit(self, X: RowsLike, y: TargetsLike = None, *, lengths: LengthsLike = None) -> Self:
        """Train for one pass over these sequences, in order; the first call also initialises the weights.

        Parameters
        ----------
        X, y, lengths
            As for `fit`.

        Returns
        -------
        RecurrentRBM
            Itself.
        """
        settings = replace(self._settings(), n_iter=1, schedule="constant")
        return self._fit(X, y, lengths, settings, hasattr(self, "machine_"), shuffle=False)

    def _fit(
        self,
        X: RowsLike,
        y: TargetsLike,
        lengths: LengthsLike,
        settings: RecurrentSettings,
        again: bool,
        *,
        checkpoint: str | Path | CheckpointFile | None = None,
        shuffle: bool = True,
    ) -> Self:
        """Train from the start, or with ``again`` from the end of the last `fit`, and store the result."""
        lengths = lengths_or_targets(X, y, lengths)
        bk = check_backend(self.backend, X)
        source, lengths = as_sequences(self, X, lengths, bk, reset=not again, shortest=2)
        reporter, start = get_reporter(self.verbose), []
        if again:
            self._check_sizes()
            there = self.machine_.frame.arrays() | self.machine_.arrays()
            start = [*there.values(), np.array(self._state.epochs)]
        with checkpointing(checkpoint) as checkpointer:
            describe = partial(describe_run, self, source, lengths=lengths, start=start)
            seed = checkpointer.begin(self._seed if again else self.random_state, describe)
            run, settings = self._recipe(
                source, lengths, Run(bk, seed, reporter, checkpointer), settings, once=not shuffle
            )
            machine, history = (self.machine_, []) if again else self._start(run, settings)
            run.choices.update(visible_choice(self, machine.frame, self.visible))
            state = self._state if again else RecurrentState()
            machine, state = run.train("recurrent", settings, machine, state, history, shuffle=shuffle, judged=True)
        self.machine_, self._state = machine, state
        self.history_ = (self.history_ if again else []) + history
        self.resolved_ = dict(run.choices)
        if not again:
            self._seed, self._draws = seed, 0
        return self

    def _recipe(
        self, source: RowSource, lengths: Array, run: Run, settings: RecurrentSettings, *, once: bool
    ) -> tuple["SequenceRun", RecurrentSettings]:
        """Return the training sequences, and the function that resolves settings which depend on all sequences."""
        choices, n_frames = Choices(), int(lengths.sum())
        batch_size = int(rows_in_minibatch(n_frames).value)
        frames = choices.take("pretrain_frames", self.pretrain_frames, frame_epochs(n_frames, batch_size))
        stopped = not once and self.early_stopping
        if not once and is_auto(self.early_stopping):
            rule = stopping_of_sequences(
                len(lengths), n_frames, likelihood=has_frame_likelihood(source), epochs_given=not is_auto(self.n_iter)
            )
            stopped = choices.take("early_stopping", self.early_stopping, rule)
        if stopped and len(lengths) < 2:
            reason = f" holds sequences out: it needs at least 2, got {len(lengths)}"
            raise SettingError(Mention("early_stopping", True), reason)
        for line in (*resolution_lines(choices), *kept_from_preset(self.preset, {"n_iter": self.n_iter})):
            run.reporter.note(line)
        parts, judge = Sequences(source, lengths), None
        if stopped:
            parts, held_out = parts.split(float(self.validation_fraction), run.seed)
            judge = Judge(held_out, run)
        settings = replace(settings, stopped=bool(stopped))
        return SequenceRun(parts.source, parts.lengths, run, int(frames), judge, choices), settings

    def _check_sizes(self) -> None:
        there = self.machine_.frame.n_hidden, self.machine_.n_recurrent, self.machine_.cell
        if there != (self.n_components, self.n_recurrent, get_cell(self.cell).name):
            units, states, cell = map(Mention, ("n_components", "n_recurrent", "cell"), there)
            advice = "; these cannot change: set warm_start=False, or clone the estimator"
            raise SettingError("training continues with ", units, ", ", states, " and ", cell, advice)

    def _start(self, run: "SequenceRun", settings: RecurrentSettings) -> tuple[RecurrentWeights, list[Record]]:
        """Return the initial weights, after pretraining if requested, and its history."""
        if (found := run.run.checkpointer.found("recurrent")) is not None:
            return self._taken_up(found, run.source)
        if (found := run.run.checkpointer.found("pretrain recurrent")) is not None:
            machine, history = self._taken_up(found, run.source)
        else:
            frame, history = self._frame(run)
            machine = initial_recurrent(frame, int(self.n_recurrent), get_cell(self.cell).name, run.run.seed)
        if self.pretrain_recurrent:
            alone = replace(settings, gradient=NextFrame(), n_iter=int(self.pretrain_recurrent))
            trained, _ = run.train("pretrain recurrent", alone, machine, RecurrentState(), history)
            machine = replace(trained, frame=machine.frame)
        return machine, history

    def _taken_up(self, found: ResumePoint, source: RowSource) -> tuple[RecurrentWeights, list[Record]]:
        """Return the machine and the history at the start of a checkpoint's phase."""
        machine = recurrent_from_state(found.context.fields("machine"))
        there = machine.frame.n_visible, machine.frame.n_hidden, machine.n_recurrent, machine.cell
        ours = source.shape[1], self.n_components, self.n_recurrent, get_cell(self.cell).name
        if there != ours:
            raise FileFormatError(f"{found.context.where}.machine must have sizes and cell {ours}, got {there}")
        return machine, found.context.records("history")

    def _frame(self, run: "SequenceRun") -> tuple[Weights, list[Record]]:
        """Return the weights of the frames' machine, pretrained on single frames if requested, and the history."""
        if run.pretrain_frames:
            rbm = RBMSettings(
                visible=self.visible, scale=self.scale, gradient=CD(int(self.gibbs_steps), sample_visible=True),
                n_iter=run.pretrain_frames,
            )  # fmt: skip
            found = pretrain(
                run.source, [int(self.n_components)], [rbm], run.run
            )  # fmt: skip
            warn_diverged(found.diverged)
            return found.stack.layers[0], found.history
        visible = self.visible if isinstance(self.visible, str) else named_unit(self.visible)
        unit, mean, scale, visible_mean = choose_visible(visible, run.source, scale=self.scale)
        weights = initial_weights(
            int(self.n_components), unit, get_unit("bernoulli"), mean, scale, visible_mean, seed=run.run.seed, layer=0
        )
        return weights, []

    def _get_state(self) -> FittedState:
        machine, kept = self.machine_, self._state
        arrays = machine.arrays() | {f"optimizer_{i}": array for i, array in enumerate(kept.optimizer)}
        values = {"epochs": kept.epochs, "updates": kept.updates, "draws": self._draws, "cell": machine.cell}
        return FittedState(Stack((machine.frame,)), arrays, values)

    def _set_state(self, state: FittedState) -> None:
        frame, cell = state.single("a RecurrentRBM"), str(state.values["cell"])
        get_cell(cell)  # refuses an unknown name
        own = {name: state.arrays[name] for name in NAMES}
        for name, array in own.items():
            if array.dtype != frame.W.dtype:
                raise FileFormatError(f"the file's {name} is of {array.dtype}, its layer of {frame.W.dtype}")
        self.machine_ = RecurrentWeights(frame, **own, cell=cell)
        params = [frame.W, frame.vbias, frame.hbias, *own.values()]
        solver = get_optimizer(self.solver)
        started = solver.start(get_backend("numpy"), params) if "optimizer_0" in state.arrays else []
        kept = [state.shaped(f"optimizer_{i}", a.shape, a.dtype) for i, a in enumerate(started)]
        self._state = RecurrentState(kept, state.count("epochs"), state.count("updates"))
        self._draws = state.count("draws")

    @property
    def components_(self) -> Array:
        """Weights of the frames' machine, of shape (n_components, n_features)."""
        return np.asarray(after_fit(self, "machine_", "components_").frame.W.T)

    @property
    def n_iter_(self) -> int:
        """Number of epochs, without pretraining."""
        after_fit(self, "machine_", "n_iter_")
        return self._state.epochs

    def fit_transform(self, X: RowsLike, y: TargetsLike = None, *, lengths: LengthsLike = None) -> DeviceArray:
        """Train, and return the result of `transform` for the same sequences.

        Parameters
        ----------
        X : array-like, CSR matrix or RowSource of shape (n_frames, n_features), or list of arrays
        y : ignored
        lengths : array-like of int, optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_frames, n_recurrent)
        """
        lengths = lengths_or_targets(X, y, lengths)
        return self.fit(X, lengths=lengths).transform(X, lengths)

    @property
    def _n_features_out(self) -> int:
        return self.machine_.n_recurrent

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether `fit` or `partial_fit` has run."""
        return hasattr(self, "machine_")

    def __sklearn_tags__(self) -> Tags:
        """Declare support for sparse input, and the preserved dtypes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@dataclass(frozen=True, eq=False)
class SequenceRun:
    """Values shared by all phases of a fit."""

    source: RowSource
    lengths: Array
    run: Run
    pretrain_frames: int
    judge: Judge | None
    choices: Choices  # automatic settings so far

    def train(
        self, phase: str, settings: RecurrentSettings, machine: RecurrentWeights, state: RecurrentState,
        history: list[Record], *, shuffle: bool = True, judged: bool = False,
    ) -> tuple[RecurrentWeights, RecurrentState]:  # fmt: skip
        """Train a machine in a phase with this name, and add the phase to the history.

        Returns the machine, and the state that its next update needs in addition.
        """
        settings = settings.resolve(self.lengths)
        for line in resolution_lines({n: c for n, c in settings.resolved.items() if self.choices.get(n) != c}):
            self.run.reporter.note(line)
        self.choices.update(settings.resolved)
        first, last = state.epochs, state.epochs + int(settings.n_iter)
        judge = self.judge if judged else None
        trainer = RecurrentTrainer(machine, settings, self.lengths, self.run, horizon=last, state=state, judge=judge)
        rows = Rows(checked(self.source, machine.frame), self.run.bk, trainer.model.dtype)
        self.run.checkpointer.enter(phase, partial(_context, machine, history))
        extent = {"n_epochs": last, "sizes": machine.frame.W.shape, "first_epoch": first}
        self.run.reporter.begin({"phase": phase, **extent})
        history += trainer.train(rows, range(first, last), shuffle=shuffle, phase=phase)
        warn_diverged(trainer.diverged)
        return trainer.result()


def has_frame_likelihood(source: RowSource) -> bool:
    """Return whether frames have a likelihood, as 0/1 values and values outside [0, 1] do, but grey levels do not."""
    statistics = column_statistics(source)
    if not get_unit("bernoulli").admits(statistics.min, statistics.max):
        return True
    bits = statistics.two_valued(source.dtype) | statistics.constant(source.dtype)
    ends = np.concatenate([statistics.min, statistics.max])
    return bool(bits.all() and np.isin(ends, (0, 1)).all())


def _context(machine: RecurrentWeights, history: list[Record]) -> State:
    """Return the values needed to resume a phase, in addition to the state of its trainer."""
    return {"machine": recurrent_state(machine), "history": list(history)}
