"""Quantities as text: durations and numbers of bytes."""


def duration(seconds: float) -> str:
    """Return a duration in the units that suit it.

    Examples
    --------
    >>> duration(0.4), duration(12), duration(200), duration(7500), duration(200_000)
    ('0.4 s', '12 s', '3 min 20 s', '2 h 05 min', '2.3 days')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{seconds / 86400:.1f} days"


def size_of(n_bytes: float) -> str:
    """Return a number of bytes in the unit that suits it.

    Examples
    --------
    >>> size_of(200), size_of(2.2e6), size_of(5e9)
    ('0.2 kB', '2.2 MB', '5.0 GB')
    """
    for unit, amount in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= 0.1 * amount if unit == "MB" else n_bytes >= amount:
            return f"{n_bytes / amount:.1f} {unit}"
    return f"{n_bytes / 1e3:.1f} kB"
