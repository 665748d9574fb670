"""``deepbelief evaluate``: how good a model is on data."""

from typing import Any

import click

from ._likelihood import likelihood_options
from ._options import backend_option, data_options
from ._sequences import evaluate_sequences, sequence_options, shown
from ._text import arrows, as_json, clean, facts

MOST_CLASSES = 20  # a wider confusion matrix is told by its largest entries


@click.command("evaluate", short_help="Measure a model's error on data.")
@click.argument("model")
@click.argument("data", required=False)
@data_options
@sequence_options
@backend_option
@click.option("--bits", type=click.IntRange(1, 16), default=None, help="Round an autoencoder's codes to so many bits.")
@likelihood_options
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def command(
    model: str, data: str | None, backend: str, bits: int | None, json_: bool, lengths: str | None,
    sequences: str | None, likelihood: bool, **others: Any,
) -> None:  # fmt: skip
    """Measure MODEL on DATA (by default the test split of what it was trained on, if there is one).

    A classifier: error with its 95 % interval (Wilson), negative log-likelihood per row in nats, confusion matrix.
    A regressor: RMSE in the unit of the labels, and R2.
    An autoencoder: squared error and cross-entropy per row, beside PCA of the same code size fitted to the same rows,
    and the bytes of codes and rows. A model of sequences: log-likelihood per frame given those before it, and the
    expected accuracy of the next frame. Other models: squared error of the reconstruction through 1, 2 ... layers, and
    the pseudo-log-likelihood of the first layer.

    --likelihood: the log-likelihood of the rows instead, for one layer; for several a lower bound on it. log Z of the
    top machine comes by enumeration where one of its sides has at most 25 units, else by annealed importance sampling.

    \b
    Examples:
      deepbelief evaluate digits28-tuned.h5
      deepbelief evaluate table-tuned.h5 new.csv --labels species --json
      deepbelief evaluate mnist.h5 mnist:test --likelihood --binarize sample
      deepbelief evaluate songs.h5 more-songs.npz:roll --lengths offsets
    """  # noqa: D301
    from deepbelief.backends import get_backend
    from deepbelief.errors import SettingError

    from . import _likelihood
    from ._inputs import data_for, read_model

    get_backend(backend)
    loaded = read_model(model, sequences=True)
    asked = {name: others.pop(name) for name in ("method", "runs", "betas", "binarize", "seed")}
    _likelihood.check_options(loaded, likelihood, asked)
    labelled = loaded.is_classifier or loaded.is_regressor
    if labelled and loaded.n_targets > 1:
        raise SettingError(f"{model} predicts {loaded.n_targets} columns, evaluate compares one: use score in Python")
    opened, _ = data_for(loaded, data, **others, need_labels=labelled, numbers=loaded.is_regressor, held_out=True)
    if not loaded.is_sequences and (lengths or sequences):
        raise SettingError(f"--lengths and --sequences are for models of sequences; {model} is a {loaded.kind}")
    if bits is not None and not loaded.is_autoencoder:
        raise SettingError(f"--bits rounds the codes of an autoencoder; {model} is a {loaded.kind}: leave it out")
    if likelihood:
        scores = _likelihood.scores(loaded, opened, backend, asked)
    elif loaded.is_sequences:
        chosen = {"data": data, "lengths": lengths, "sequences": sequences, "backend": backend}
        scores = evaluate_sequences(loaded, opened, chosen)
    elif loaded.is_autoencoder:
        scores = _autoencoder(loaded, opened, backend, bits)
    else:
        judge = _classifier if loaded.is_classifier else _regressor if loaded.is_regressor else _machines
        scores = judge(loaded, opened, backend)
    if json_:
        click.echo(as_json(scores, indent=2))
        return
    facts(shown(scores) if loaded.is_sequences else _shown(scores))
    if loaded.is_classifier:
        _confusion(scores["classes"], scores["confusion"])


def _classifier(model: Any, data: Any, backend: str) -> dict[str, Any]:
    from ._scores import classify, wilson

    result = classify(model.estimator.set_params(backend=backend), data.rows, data.labels)
    low, high = wilson(result.n_wrong, result.n_rows)
    return {
        "model": model.path,
        "data": data.source_path,
        "rows": result.n_rows,
        "unlabeled": result.n_unlabeled,
        "wrong": result.n_wrong,
        "error": result.n_wrong / result.n_rows,
        "error_interval": [low, high],
        "nll": result.nll,
        "classes": result.classes,
        "confusion": result.confusion.tolist(),
    }


def _regressor(model: Any, data: Any, backend: str) -> dict[str, Any]:
    from ._scores import regress

    rmse, r2 = regress(model.estimator.set_params(backend=backend), data.rows, data.labels)
    return {"model": model.path, "data": data.source_path, "rows": len(data.labels), "rmse": rmse, "r2": r2}


def _autoencoder(model: Any, data: Any, backend: str, bits: int | None) -> dict[str, Any]:
    from ._codes import pca_error, reconstruction_scores, rounded_error, stored_bytes

    autoencoder, rows = model.estimator.set_params(backend=backend), data.rows
    squared, cross = reconstruction_scores(autoencoder, rows)
    n_code = model.stack.sizes[-1]
    code_bytes = n_code * autoencoder.coefs_[0].dtype.itemsize
    rounded = {}
    if bits is not None:
        rounded = {"bits": bits, "rounded_error": rounded_error(autoencoder, rows, bits)}
        code_bytes = -(-n_code * bits // 8)
    row_bytes = stored_bytes(rows)
    return {
        "model": model.path,
        "data": data.source_path,
        "rows": rows.shape[0],
        "sizes": list(model.stack.sizes),
        "scaling": model.scaling.kind,
        "squared_error": squared,
        "cross_entropy": cross,
        "pca_squared_error": pca_error(rows, n_code),
        **rounded,
        "row_bytes": row_bytes,
        "code_bytes": code_bytes,
        "compression": row_bytes / code_bytes,
    }


def _machines(model: Any, data: Any, backend: str) -> dict[str, Any]:
    from deepbelief.errors import SettingError

    from ._scores import first_layer_likelihood, reconstruction_errors

    if model.stack.tuned:
        raise SettingError(
            f"{model.path} holds fine-tuned layers without a head: they no longer reconstruct their input"
        )
    likelihood = first_layer_likelihood(model.stack, data.rows)
    return {
        "model": model.path,
        "data": data.source_path,
        "rows": data.rows.shape[0],
        "sizes": list(model.stack.sizes),
        "reconstruction_errors": reconstruction_errors(model.stack, data.rows, backend),
        "pseudo_log_likelihood": None if likelihood is None else likelihood[0],
        "pseudo_log_likelihood_rows": None if likelihood is None else likelihood[1],
    }


def _shown(scores: dict[str, Any]) -> list[tuple[str, object]]:
    """Return the scores as people read them."""
    rows: list[tuple[str, object]] = [("model", scores["model"]), ("data", f"{scores['data']}, {scores['rows']} rows")]
    if "log_likelihood" in scores:
        from ._likelihood import shown

        return rows + shown(scores)
    if "error" in scores:
        low, high = scores["error_interval"]
        interval = f"95 % interval {100 * low:.2f} to {100 * high:.2f} %"
        unlabeled = f"; {scores['unlabeled']} unlabelled rows left out" if scores["unlabeled"] else ""
        of = f"{scores['wrong']} of {scores['rows']}{unlabeled}"
        rows.append(("error", f"{100 * scores['error']:.2f} % ({of}), {interval}"))
        rows.append(("nll", f"{scores['nll']:.4g} nats per row"))
        return rows
    if "rmse" in scores:
        r2 = "none: all labels are the same" if scores["r2"] is None else f"{scores['r2']:.4f}"
        return [*rows, ("rmse", f"{scores['rmse']:.5g}"), ("R2", r2)]
    if "squared_error" in scores:
        return rows + _shown_codes(scores)
    for depth, error in enumerate(scores["reconstruction_errors"], 1):
        name = "reconstruction" if depth == 1 else ""
        rows.append((name, f"{error:.4g} squared error per row through {arrows(scores['sizes'][: depth + 1])}"))
    if scores["pseudo_log_likelihood"] is not None:
        value, n = scores["pseudo_log_likelihood"], scores["pseudo_log_likelihood_rows"]
        rows.append(("pseudo-likelihood", f"{value:.5g} nats per row, first layer, {n} rows"))
    return rows


def _shown_codes(scores: dict[str, Any]) -> list[tuple[str, object]]:
    """Return an autoencoder's scores as people read them."""
    units = "" if scores["scaling"] == "none" else f" (rows scaled by {scores['scaling']})"
    rows: list[tuple[str, object]] = [
        ("layers", arrows((*scores["sizes"], *scores["sizes"][-2::-1]))),
        ("squared error", f"{scores['squared_error']:.5g} per row{units}"),
    ]
    n_code = scores["sizes"][-1]
    if scores["pca_squared_error"] is not None:
        error = f"{scores['pca_squared_error']:.5g} per row, {n_code} components fitted to these very rows"
        rows.append(("PCA", error))
    if "bits" in scores:
        loss = scores["rounded_error"] - scores["squared_error"]
        rows.append(("rounded", f"{scores['rounded_error']:.5g} with codes of {scores['bits']} bits: {loss:+.3g}"))
    if scores["cross_entropy"] is not None:
        rows.append(("cross-entropy", f"{scores['cross_entropy']:.5g} nats per row"))
    size = f"{scores['code_bytes']} for a row of {scores['row_bytes']}: {scores['compression']:.3g} to 1"
    rows.append(("bytes", size))
    return rows


def _confusion(classes: list[Any], confusion: list[list[int]]) -> None:
    """Print the confusion matrix: true classes down, predicted ones across."""
    names = [clean(c)[:20] for c in classes]
    if len(classes) > MOST_CLASSES:
        entries = ((n, i, j) for i, row in enumerate(confusion) for j, n in enumerate(row) if i != j and n)
        click.echo("\nMost frequent confusions")
        for n, i, j in sorted(entries, key=lambda entry: -entry[0])[:10]:
            click.echo(f"  {n:>6}  {names[i]} taken for {names[j]}")
        return
    click.echo("\nConfusion: true classes down, predicted across")
    cells = [["", *names], *([name, *(str(n or ".") for n in row)] for name, row in zip(names, confusion, strict=True))]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        click.echo("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
