"""A model of cost: seconds, and bytes of memory, disk and network of a run, before it is started.

Formulas count the operations and arrays of a run; the constants of a machine, measured in some seconds, give their
times. A simulation of averaging extends that to many workers. All results are predictions.
"""

from deepbelief.cost.calibration import measure_rates, round_bytes
from deepbelief.cost.footprint import DataSize
from deepbelief.cost.machine_rates import MachineRates
from deepbelief.cost.prediction import Cost, predict_cost
from deepbelief.cost.simulation import (
    Link,
    SimulatedRun,
    Simulation,
    Workers,
    exchange_seconds,
    simulate_averaging,
)
from deepbelief.distributed.clusters import resident_bytes

__all__ = [
    "Cost",
    "DataSize",
    "Link",
    "MachineRates",
    "SimulatedRun",
    "Simulation",
    "Workers",
    "exchange_seconds",
    "measure_rates",
    "predict_cost",
    "resident_bytes",
    "round_bytes",
    "simulate_averaging",
]
