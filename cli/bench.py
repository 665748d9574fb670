"""``deepbelief bench``: the speed of the backends on this machine."""

import shlex

import click

from deepbelief.errors import BackendError, SettingError

from ._files import check_outputs
from ._options import force_option, option
from ._text import clean, facts


@click.command("bench", short_help="Time this machine's backends on standard shapes.")
@option("--backend", default="all", show_default=True, metavar="NAME", help="numpy, cupy, or all available backends.")
@option(
    "--repeats",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of rounds; medians are reported.",
)
@option("--quick", is_flag=True, help="Use a fifth of the rows and two rounds, as a quick check.")
@option(
    "--out", metavar="FILE", help="Also measure the constants for `pretrain --plan`, and write them to FILE (JSON)."
)
@option("--workers", type=click.IntRange(min=2), metavar="N", help="With --out: also time rounds of N local workers.")
@force_option
def command(backend: str, repeats: int, quick: bool, out: str | None, workers: int | None, force: bool) -> None:
    """Time training, fine-tuning and encoding on standard shapes, relative to their matrix products alone.

    Each time is the median of an epoch. You can paste the table into an issue.

    \b
    Examples:
      deepbelief bench
      deepbelief bench --backend numpy --quick
      deepbelief bench --quick --out machine.json
    """  # noqa: D301
    from deepbelief.backends import BACKENDS, get_backend
    from deepbelief.backends.device import device_name
    from deepbelief.diagnostics.speed import STANDARD, computer, measure, shortened

    if workers is not None and out is None:
        raise SettingError("--workers is for the constants that are kept: add --out FILE, or leave it out")
    check_outputs(out, log=None, force=force, inputs=())
    names = list(BACKENDS) if backend == "all" else [backend]
    usable = {}
    for name in names:
        try:
            usable[name] = get_backend(name)
        except BackendError as error:
            if backend != "all":
                raise
            click.echo(f"{name} is left out: {clean(error)}", err=True)
    about = computer()
    facts(
        [
            ("processor", f"{about['cpu']} ({about['vectors']}), {about['cores']} cores"),
            ("BLAS", about["blas"]),
            ("loops", about["loops"]),
            ("bfloat16", about["bfloat16"]),
            ("versions", ", ".join(f"{k} {about[k]}" for k in ("deepbelief", "python", "numpy", "scipy"))),
        ]
    )
    for name, bk in usable.items():
        device = device_name(bk)
        if device != about["cpu"]:
            click.echo(f"\n{clean(device)}")
        click.echo(f"\n{name:<40}{'floor':>11}{'time':>11}{'of floor':>10}{'rows/s':>12}")
        for title, work in STANDARD.items():
            timing = measure(
                title, bk, repeats=min(2, repeats) if quick else repeats, work=shortened(work) if quick else work
            )
            floor, took = (f"{1000 * value:.1f} ms" for value in (timing.floor, timing.seconds))
            speed = timing.n_rows / timing.seconds
            click.echo(f"{timing.name:<40}{floor:>11}{took:>11}{timing.of_floor:>10.2f}{speed:>12,.0f}")
    if out is not None:
        from deepbelief.cost import measure_rates

        rates = measure_rates(next(iter(usable.values())), repeats=3 if quick else 7, workers=workers or 0)
        rates.save(out, force=force)
        click.echo(f"\nconstants of this machine: {clean(out)}")
        click.echo(f"use them by  deepbelief pretrain DATA --plan --machine {shlex.quote(out)}")
