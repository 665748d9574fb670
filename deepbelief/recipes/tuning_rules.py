"""Rules for the settings of fine-tuning."""

from deepbelief.recipes.resolved import Resolved

UPDATES = 6_000
EPOCHS = (20, 100)


def tuning_epochs(n_rows: int, batch_size: int) -> Resolved:
    """Return the epochs of fine-tuning.

    Examples
    --------
    >>> tuning_epochs(60_000, 100).value
    20
    """
    low, high = EPOCHS
    n_epochs = round(UPDATES / -(-n_rows // batch_size))
    return Resolved(
        min(max(n_epochs, low), high),
        f"about {UPDATES:,} updates of {batch_size} rows, between {low} and {high} epochs",
    )


def tuning_rate(of_layers: float, of_solver: float | None, velocity: float) -> Resolved:
    """Return the learning rate that fine-tuning starts from.

    Parameters
    ----------
    of_layers : float
        Rate of the slowest activation or of the loss.
    of_solver : float or None
        The solver's own rate, which comes first.
    velocity : float
        Momentum: a velocity at momentum m adds up 1 / (1 - m) gradients. Beyond 0.9 the rate falls as that number
        grows, so that the same gradients move the weights as far.

    Examples
    --------
    >>> tuning_rate(0.3, None, 0.95).value
    0.15
    """
    if of_solver is not None:
        return Resolved(of_solver, "the rate of the solver")
    factor = min(1.0, (1 - velocity) / (1 - 0.9))
    reason = "the rate of the slowest layer" + ("" if factor == 1 else f", less for a momentum of {velocity:g}")
    return Resolved(of_layers * factor, reason)
