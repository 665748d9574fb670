"""Timing by wall clock and processor clock, and ratios of the times."""

import statistics
import time

KINDS = ("median_s", "best_s", "thread_s")


def clocked(function, turns):
    """Return a function that calls `function`, which makes some turns, and returns wall and thread seconds per turn."""

    def call():
        began = time.perf_counter(), time.thread_time()
        function()
        return [((time.perf_counter() - began[0]) / turns, (time.thread_time() - began[1]) / turns)]

    return call


def summary(times):
    """Return median and minimum of wall seconds, and the minimum of thread seconds, which other load disturbs least.

    With more than one BLAS thread, thread seconds leave out the other threads.
    """
    wall, thread = zip(*times, strict=True)
    return {"median_s": statistics.median(wall), "best_s": min(wall), "thread_s": min(thread)}


def ratios(rows, of):
    """Return each row's three times as multiples of another row's."""
    return {name: {kind: row[kind] / rows[of][kind] for kind in KINDS} for name, row in rows.items()}
