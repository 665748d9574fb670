"""Timing of several things in turn, so that what else a machine does slows all of them alike."""

import statistics
import time


def interleaved(things, repeats):
    """Return the times of one turn of each thing, with a first round to warm up.

    Parameters
    ----------
    things : dict
        Name: (function of no arguments, the number of turns that a call makes).
    repeats : int

    Returns
    -------
    dict
        Name: list of (wall seconds, seconds of the calling thread on a processor).
    """
    times = {name: [] for name in things}
    for _ in range(repeats + 1):
        for name, (function, count) in things.items():
            began = time.perf_counter(), time.thread_time()
            function()
            times[name].append(((time.perf_counter() - began[0]) / count, (time.thread_time() - began[1]) / count))
    return {name: values[1:] for name, values in times.items()}


def summary(times):
    """Return median and best wall seconds, and the least seconds of the thread."""
    wall, thread = zip(*times, strict=True)
    return {"median_s": statistics.median(wall), "best_s": min(wall), "thread_s": min(thread)}


KINDS = ("median_s", "best_s", "thread_s")


def ratios(rows, of):
    """Return each row's three times as multiples of another row's."""
    return {name: {kind: row[kind] / rows[of][kind] for kind in KINDS} for name, row in rows.items()}
