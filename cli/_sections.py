"""Sections of a model report: text, figures, and names with values."""

import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from deepbelief import __version__
from deepbelief.errors import SettingError
from deepbelief.estimators.pretraining_options import kind_of_pretraining
from deepbelief.estimators.views import pretrained_layers
from deepbelief.plotting import (
    QUANTITIES,
    plot_hidden_probabilities,
    plot_learning_curves,
    plot_receptive_fields,
    plot_reconstructions,
    plot_rows,
    plot_samples,
    plot_weight_histogram,
    to_png,
)
from deepbelief.plotting.axes import image_shape
from deepbelief.sources import SubsetSource
from deepbelief.typing import Array, StrMapping

from ._annotations import DataSet, Model
from ._families import family_figures
from ._mixing import mixing
from ._page import Picture, Section
from ._quality import TITLE, automatic, measured, section, with_automatic, worst_rows
from ._tables import column_lines
from ._text import arrows, clean, size_of

RECONSTRUCTED, CASES, SAMPLES, STEPS, FIELDS = 10, 100, 16, 100, 64
INK, DARK_INK = "#1b1b1f", "#ececf0"  # as the page's letters
MOST_FACTS = 150
LONGEST = 300
CURVES = (
    ("reconstruction_error",),
    ("free_energy_gap",),
    ("loss", "validation_loss"),
    ("validation_score",),
    ("validation_log_likelihood",),
)
TUNED_ONLY = "Not possible: the file holds only fine-tuned layers, which cannot be decoded."
KINDS = {
    "RBM": "restricted Boltzmann machine",
    "RBMClassifier": "restricted Boltzmann machine of rows and their classes",
    "DBN": "deep belief network",
    "DBNClassifier": "deep belief network classifier",
    "DBNRegressor": "deep belief network regressor",
    "DeepAutoencoder": "deep autoencoder",
    "RecurrentRBM": "recurrent restricted Boltzmann machine of sequences",
    "Stack": "stack of layers",
}


class Report:
    """A model, perhaps with rows to look at, and the sections on it.

    Parameters
    ----------
    model : Model
    content : mapping
        What `deepbelief.hdf5.describe` says of its file.
    data : DataSet or None
    missing : str
        Why there are no data.
    shape : (height, width), "auto" or None
        Of the image that a row is.
    """

    def __init__(
        self,
        model: Model,
        content: StrMapping,
        data: DataSet | None,
        missing: str,
        shape: tuple[int, int] | str | None,
    ) -> None:
        self.model, self.content, self.data, self.missing, self.shape = model, content, data, missing, shape
        self.estimator, self.stack = model.estimator, model.stack
        # Rows of a file bring no names with them: scikit-learn would warn of each use of a model that has some.
        names = getattr(self.estimator, "feature_names_in_", None)
        if names is not None:
            del self.estimator.feature_names_in_
        self.names = names if names is not None or data is None else data.feature_names

    def lead(self) -> str:
        """Return what the model is in a sentence."""
        kind = KINDS.get(self.model.kind, self.model.kind)
        tuned = ", fine-tuned" if self.stack.tuned else ""
        return f"A {kind}{tuned}: {arrows(self._sizes())}, {self.n_parameters():,} parameters."

    def sections(self) -> list[Section]:
        """Return all of it."""
        return [
            self.overview(),
            self.quality(),
            self.receptive_fields(),
            self.reconstructions(),
            self.samples(),
            *self.family(),
            *self.mixing(),
            self.learning_curves(),
            self.weights(),
            self.hidden_probabilities(),
            self.settings(),
            self.environment(),
        ]

    def _classes(self) -> list[Any]:
        """Return the classes of each head."""
        classes = getattr(self.estimator, "classes_", [])
        return classes if isinstance(classes, list) else [classes]

    def _sizes(self) -> list[int]:
        with_head = hasattr(self.estimator, "predict") and hasattr(self.estimator, "intercepts_")
        return [*self.stack.sizes, *([len(self.estimator.intercepts_[-1])] if with_head else [])]

    def n_parameters(self) -> int:
        """Return the number of parameters."""
        if hasattr(self.estimator, "coefs_"):
            return sum(a.size for a in (*self.estimator.coefs_, *self.estimator.intercepts_))
        return sum(a.size for weights in self.stack for a in (weights.W, weights.vbias, weights.hbias))

    def overview(self) -> Section:
        """Tell kind, sizes and file."""
        first = self.stack.layers[0]
        facts: list[tuple[str, object]] = [
            ("file", f"{self.model.path}, {size_of(self.content['bytes'])}"),
            ("kind", self.model.kind + (", fine-tuned" if self.stack.tuned else "")),
            ("layers", arrows(self._sizes())),
            ("units", f"{_short(first.visible)} visible; {', '.join(_short(w.hidden) for w in self.stack)} hidden"),
            ("parameters", f"{self.n_parameters():,} ({first.W.dtype.name})"),
            ("epochs", self.content["epochs"]),
        ]
        if self.model.schema is not None:
            facts += [(name, _short(text)) for name, text in column_lines(self.model.schema)]
        facts += [("classes", _short(", ".join(map(str, classes)))) for classes in self._classes()]
        if self.data is None:
            facts.append(("rows shown", f"none: {self.missing}"))
        else:
            facts.append(("rows shown", f"from {self.data.source_path}, {self.data.rows.shape[0]:,} rows"))
        return Section("The model", facts=facts)

    def quality(self) -> Section:
        """Measure the model, and draw the rows that it is worst at."""
        if self.data is None:
            return Section(TITLE, [f"Not measured: {self.missing}"])
        found, pictures = measured(self.model, self.data), []
        worst = np.zeros(0, np.intp) if isinstance(found, str) else worst_rows(self.data, found)
        if len(worst):
            rows = SubsetSource(self.data.rows, worst).take(slice(None))
            if image_shape(self.shape, rows.shape[1]) is not None:
                ax = plot_rows(rows, n_columns=5, shape=self.shape)
                ax.set_title("Worst rows")
                pictures.append(picture(ax))
        return section(self.model, self.data, found, pictures)

    def receptive_fields(self) -> Section:
        """Draw what the units of each layer look at."""
        notes = ["Receptive fields: the weights from the inputs to each unit."]
        if len(self.stack) > 1:
            notes.append("Layers above the first are projected through the product of the weights below.")
        if self.stack.tuned:
            notes.append("These are the fine-tuned weights.")
        pictures = [
            picture(
                plot_receptive_fields(self.estimator, layer=i, n=FIELDS, shape=self.shape, feature_names=self.names)
            )
            for i in range(len(self.stack))
        ]
        return Section("Receptive fields", notes, pictures)

    def reconstructions(self) -> Section:
        """Draw rows above their reconstructions."""
        title = "Reconstructions"
        if self.data is None:
            return Section(title, [f"Not drawn: {self.missing}"])
        both_ways = hasattr(self.estimator, "inverse_transform")
        if not (both_ways or self._generates()):
            return Section(title, [TUNED_ONLY])
        rows, index = _spread(self.data, RECONSTRUCTED)
        notes = [f"Rows of {self.data.source_path}, encoded by all layers and decoded again."]
        notes += [] if both_ways else self._stand_in()
        if self.data.labels is not None:
            shown = ", ".join(_short(label, 40) for label in self.data.labels[index])
            notes.append(f"Their labels, in this order: {shown}.")
        ax = plot_reconstructions(self.estimator, rows, n=RECONSTRUCTED, shape=self.shape, feature_names=self.names)
        return Section(title, notes, [picture(ax)])

    def samples(self) -> Section:
        """Draw samples from the model."""
        if not self._generates():
            return Section("Samples", [TUNED_ONLY])
        kind = kind_of_pretraining(self.estimator, pretrained_layers(self.estimator).layers[0].visible_unit)
        if kind != "rbm":
            return Section(
                "Samples", [f"There are none: pretraining={kind!r} gives no model of the data to sample from."]
            )
        notes = ["Samples from the model: Gibbs sampling in its top machine, then means down through the layers."]
        start = None if self.data is None else _spread(self.data, SAMPLES)[0]
        if hasattr(self.estimator, "sample") and self._classes():
            notes = ["Samples from the model by Gibbs sampling, with each class clamped in turn."]
        elif self.data is not None:
            notes.append(f"Each chain starts from a different row of {self.data.source_path}, evenly spaced.")
        ax = plot_samples(
            self.estimator, n=SAMPLES, n_steps=STEPS, random_state=0, shape=self.shape, feature_names=self.names,
            start=start,
        )  # fmt: skip
        return Section("Samples", [*notes, *self._stand_in()], [picture(ax)])

    def family(self) -> list[Section]:
        """Compare samples with aligned sequences, where the rows are some."""
        schema = self.model.schema
        if schema is None or not schema.alphabet or self.data is None or not self._generates():
            return []
        notes, figures = family_figures(self.estimator, schema, self.data)
        return [Section("Sites", notes, [picture(ax) for ax in figures])]

    def mixing(self) -> list[Section]:
        """Compare chains with the rows by sampling time, where the model is one machine with a likelihood."""
        notes, figures = ([], []) if self.data is None else mixing(self.model, self.data)
        return [Section("Mixing of chains", notes, [picture(ax) for ax in figures])] if notes else []

    def _generates(self) -> bool:
        """Return whether there are layers that are a model of the data."""
        try:
            pretrained_layers(self.estimator)
        except SettingError:
            return False
        return True

    def _stand_in(self) -> list[str]:
        if self.stack.tuned:
            return ["Sampled from the pretrained layers in the file, because fine-tuned layers cannot be decoded."]
        return []

    def learning_curves(self) -> Section:
        """Draw what the history says."""
        title, history = "Learning curves", self.content["history"]
        pictures = list(_drawn(plot_learning_curves, history, CURVES))
        if not pictures:
            return Section(title, ["The file records no epochs."])
        notes = []
        recorded = {name for record in history for name, value in record.items() if value is not None}
        if not any(QUANTITIES[name].held_out for name in recorded & set(QUANTITIES)):
            notes.append("No rows were held out in training, so they have no curve.")
        if self.stack.tuned and "reconstruction_error" not in recorded:
            notes.append("The file records fine-tuning only; the pretrained model's file has its curves.")
        return Section(title, notes, pictures)

    def weights(self) -> Section:
        """Draw how large weights and updates are."""
        pictures, missing = [], ""
        for i in range(len(self.stack)):
            for of in ("weights", "updates"):
                try:
                    pictures.append(picture(plot_weight_histogram(self.estimator, layer=i, of=of)))
                except SettingError as error:
                    missing = f"Updates are not shown: {error}."
        return Section("Weights and their updates", [missing] if missing else [], pictures)

    def hidden_probabilities(self) -> Section:
        """Draw what hidden units say of cases."""
        title = "Hidden probabilities"
        if self.data is None:
            return Section(title, [f"Not drawn: {self.missing}"])
        rows, _ = _spread(self.data, CASES)
        notes = [
            "A row for each row of the data, a column for each unit. A column of one grey is an uninformative unit."
        ]
        axes = (plot_hidden_probabilities(self.estimator, rows, layer=i) for i in range(len(self.stack)))
        return Section(title, notes, [picture(ax) for ax in axes])

    def settings(self) -> Section:
        """List the settings of the model."""
        facts = with_automatic(flat(self.content["params"]), automatic(self.model, self.content["history"]))
        return Section("Settings", [] if facts else ["The file records no settings."], facts=facts)

    def environment(self) -> Section:
        """List what the file says of its making, and what drew the page."""
        drawn = {"deepbelief": __version__, "python": platform.python_version(), "numpy": np.__version__}
        drawn["matplotlib"] = importlib.metadata.version("matplotlib")
        recorded = {**self.content["stack_metadata"], **self.content["metadata"]}
        facts = [
            *flat(recorded),
            ("file written by", _versions(self.content["versions"])),
            ("page drawn by", _versions(drawn)),
        ]
        notes = [] if recorded else ["The file has no record of its data."]
        return Section("Data and environment", notes, facts=facts)


def _spread(data: DataSet, n: int) -> tuple[SubsetSource, Array]:
    """Return rows evenly spread over the data, and their numbers."""
    n_rows = data.rows.shape[0]
    index = np.unique(np.linspace(0, n_rows - 1, min(n, n_rows)).round().astype(np.intp))
    return SubsetSource(data.rows, index), index


def _drawn(plot: Callable[..., Any], history: Any, groups: Sequence[tuple[str, ...]]) -> Iterator[Picture]:
    """Draw the groups of which something was recorded."""
    for quantities in groups:
        try:
            ax = plot(history, quantities=quantities)
        except SettingError:
            continue
        yield picture(ax)


def picture(ax: Any) -> Picture:
    """Return a figure for both kinds of page; its title becomes the caption."""
    caption = ax.get_title()
    ax.set_title("")
    light = to_png(ax, ink=INK)
    return Picture(caption, light, to_png(ax, ink=DARK_INK) if ax.axison else light)


def flat(values: StrMapping) -> list[tuple[str, object]]:
    """Return nested values as names with short texts; those of a template's settings by ``rbm.NAME``."""
    facts = list(_flat("", values))
    more = len(facts) - MOST_FACTS
    return facts[:MOST_FACTS] + ([("...", f"and {more} more: see deepbelief info")] if more > 0 else [])


def _flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        inner = value["params"] if set(value) == {"kind", "params"} and isinstance(value["params"], Mapping) else value
        for key, part in inner.items():
            yield from _flat(f"{name}.{key}" if name else str(key), part)
    elif isinstance(value, (list, tuple)) and any(isinstance(part, Mapping) for part in value):
        for i, part in enumerate(value, 1):
            yield from _flat(f"{name} {i}", part)
    else:
        yield _short(name), "none" if value is None else _short(value)


def _versions(versions: StrMapping) -> str:
    return ", ".join(f"{_short(name)} {_short(version)}" for name, version in versions.items())


def _short(value: object, length: int = LONGEST) -> str:
    """Return a value as a text of bounded length."""
    text = clean(f"{value:.6g}" if isinstance(value, float) else value)
    return text if len(text) <= length else text[: length - 3] + "..."
