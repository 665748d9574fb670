"""Times told by two clocks, and what is said of them."""

import statistics
import time

KINDS = ("median_s", "best_s", "thread_s")


def clocked(function, turns):
    """Return a function that gives (wall seconds, processor seconds of its thread) for one of so many turns."""

    def call():
        began = time.perf_counter(), time.thread_time()
        function()
        return [((time.perf_counter() - began[0]) / turns, (time.thread_time() - began[1]) / turns)]

    return call


def summary(times):
    """Return median and best wall seconds, and the least of the thread, which what else runs disturbs least.

    With more than one BLAS thread the last leaves the others out.
    """
    wall, thread = zip(*times, strict=True)
    return {"median_s": statistics.median(wall), "best_s": min(wall), "thread_s": min(thread)}


def ratios(rows, of):
    """Return each row's three times as multiples of another row's."""
    return {name: {kind: row[kind] / rows[of][kind] for kind in KINDS} for name, row in rows.items()}
