"""``deepbelief info``: what is in a model file, or in a checkpoint."""

import shlex
from collections.abc import Mapping

import click

from deepbelief.typing import StrDict, StrMapping

from ._resume import COMMANDS
from ._text import arrows, as_json, clean, facts, size_of
from ._types import check_given

LAST_RECORDS = 5


@click.command("info", short_help="Show the contents of a model file.")
@click.argument("file")
@click.option("--json", "json_", is_flag=True, help="Print the contents as JSON.")
def command(file: str, json_: bool) -> None:
    """Show the contents of a model FILE (layers, settings, history, origin) or the progress of a checkpoint.

    \b
    Examples:
      deepbelief info digits28.h5
      deepbelief info digits28.h5 --json
    """  # noqa: D301
    check_given(file)
    from deepbelief import hdf5
    from deepbelief.fields import Fields

    content = hdf5.describe(file)
    is_checkpoint = content["kind"] == hdf5.CHECKPOINT
    if not is_checkpoint:
        history = [dict(record) for record in hdf5.read(file).history]
    else:
        state = Fields.of(hdf5.read_checkpoint(file).state)
        context, phase = state.fields("context"), state.fields("phase")
        del content["attributes"]["state"]
        history = [*(context.records("history") if "history" in context else ()), *phase.records("records")]
        content["epochs"] = len(history)
        content |= {"stage": state.text("stage"), "updates": phase.integer("updates")}
        content |= {name: context.integer(name) + 1 for name in ("pass", "layer") if name in context}
    if json_:
        click.echo(as_json({**content, "history": history}, indent=2))
        return
    facts(_overview(file, content) + (_where(file, content) if is_checkpoint else []))
    _table("Layers", content["layers"])
    _columns(content["attributes"])
    _pairs("Settings", content["params"])
    _pairs("Metadata", content["metadata"])
    _pairs("Stack metadata", content["stack_metadata"])
    _table(f"History: the last of {len(history)} epochs", history[-LAST_RECORDS:])


def _columns(attributes: StrMapping) -> None:
    """Print the kinds of the columns of a table."""
    if "schema" not in attributes:
        return
    from deepbelief.sources.schema import Schema

    click.echo("\nColumns")
    schema = Schema.from_dict(attributes["schema"])
    for line in [schema] if schema.alphabet else schema.columns:
        click.echo(f"  {clean(line)}")


def _overview(file: str, content: StrMapping) -> list[tuple[str, object]]:
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    rows: list[tuple[str, object]] = [
        ("file", f"{file} ({size_of(content['bytes'])})"),
        ("format", f"{content['format']} version {content['format_version']}"),
        ("kind", content["kind"]),
    ]
    if content["sizes"] is not None:
        tuned = ", fine-tuned" if content["tuned"] else ""
        rows.append(("layers", arrows(content["sizes"]) + tuned))
    for name, part in content["parts"].items():
        sizes = [layer["n_visible"] for layer in part["layers"][:1]] + [layer["n_hidden"] for layer in part["layers"]]
        rows.append((name, f"{part['kind']} {arrows(sizes)}"))
    if str(content["params"].get("backend")).endswith(":bfloat16"):
        from deepbelief.backends import bfloat16

        rows.append(("bfloat16", f"{bfloat16.describe()} (this machine)"))
    rows += [("epochs", content["epochs"]), ("written by", versions)]
    return rows


def _where(file: str, content: StrMapping) -> list[tuple[str, object]]:
    """Return the progress of a checkpoint's run, and how to resume it."""
    values, options = content["attributes"], content["metadata"].get("options")
    options = options if isinstance(options, dict) else {}
    part = f", pass {content['pass']}, layer {content['layer']}" if "pass" in content else ""
    command = content["metadata"].get("command")
    done = "finished" if values["finished"] else f"{content['stage']}{part}, {content['updates']} updates of the epoch"
    how = f"deepbelief {command} --resume {shlex.quote(file)}" if command in COMMANDS else "the same fit, in Python"
    n_sequences = values["data"].get("sequences")
    data = f"{values['data'].get('rows')} rows" + (f", {n_sequences} sequences" if n_sequences else "")
    rows: list[tuple[str, object]] = [("run", done), ("data", data)]
    rows += [("model", options["out"])] if "out" in options else []
    return [*rows, ("seed", values["seed"]), ("next", how)]


def _pairs(title: str, values: StrMapping, indent: str = "  ") -> None:
    """Print names and values, those of mappings indented below."""
    if not values:
        return
    click.echo(f"\n{clean(title)}" if indent == "  " else f"{indent[2:]}{clean(title)}")
    for name, value in values.items():
        if isinstance(value, Mapping):
            _pairs(name, value, indent + "  ")
        else:
            click.echo(f"{indent}{clean(name)}: {'none' if value is None else _short(value)}")


def _table(title: str, rows: list[StrDict]) -> None:
    """Print records as a table."""
    if not rows:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(Text(clean(name)), no_wrap=True)
    for row in rows:
        table.add_row(*(Text(_short(row.get(name))) for name in names))
    console = Console(width=400, color_system=None)
    click.echo(f"\n{clean(title)}")
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        if line.strip():
            click.echo(line.rstrip())


def _short(value: object) -> str:
    """Return a value in at most 120 characters."""
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    text = clean(text)
    return text if len(text) <= 120 else text[:117] + "..."
