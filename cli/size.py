"""``deepbelief size``: suggested layer sizes."""

import click


@click.command("size", short_help="Suggest layer sizes for a number of columns.")
@click.argument("n_features", type=int)
@click.option("--rows", type=int, default=None, help="Number of rows, labelled or not.")
@click.option("--classes", type=int, default=None, help="Number of classes.")
@click.option("--labeled", type=int, default=None, help="Number of rows that have a label; all if not given.")
@click.option("--autoencoder", is_flag=True, help="For an autoencoder: the top layer is a code.")
def command(n_features: int, rows: int | None, classes: int | None, labeled: int | None, autoencoder: bool) -> None:
    """Suggest layer sizes for N_FEATURES inputs, with the reason for each number.

    \b
    Example:
      deepbelief size 784 --rows 60000 --classes 10
    """  # noqa: D301
    from deepbelief.sizing import suggest_layer_sizes

    click.echo(str(suggest_layer_sizes(n_features, rows, classes, n_labeled=labeled, autoencoder=autoencoder)))
