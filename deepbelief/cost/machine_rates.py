"""Times of single operations on a machine, from which costs are predicted."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from deepbelief.cost.operations import Work
from deepbelief.errors import DataError, Mention
from deepbelief.hdf5 import replacing
from deepbelief.typing import StrDict

MAX_RATE = 1e18  # of all constants: seconds, bytes, or bytes per second


@dataclass(frozen=True)
class MachineRates:
    """Constants of a machine, as `deepbelief.cost.measure_rates` measures them; all times are in seconds.

    Parameters
    ----------
    flop : float
        Time of a floating-point operation of a matrix product.
    product_value : float
        Time of a product for each value of its three matrices.
    amounts : mapping of str to float
        Time of other work for each value, byte or call, by kind, see `deepbelief.cost.operations`.
    base_bytes : int
        Resident bytes of a process that has trained a small machine.
    memory : int
        Bytes of memory of the machine.
    cores : int
        Number of processors that this process may use.
    round_seconds : float or None
        Time of one question of a round of averaging, for each worker, beside its bytes; None: not measured.
    network_bytes : float or None
        Bytes per second by which parameters reach the coordinator, are merged and sent back; None: not measured.
    worker_bytes : int or None
        Resident bytes of a worker process that has trained a small machine; None: not measured.
    clock : str
        Clock by which the times were measured.
    about : mapping
        Processor, versions, and the BLAS with its number of threads.
    """

    flop: float
    product_value: float
    amounts: Mapping[str, float]
    base_bytes: int
    memory: int
    cores: int
    round_seconds: float | None = None
    network_bytes: float | None = None
    worker_bytes: int | None = None
    clock: str = "perf_counter"
    about: Mapping[str, object] = field(default_factory=dict)

    def seconds(self, work: Work) -> float:
        """Return the time of an amount of work; kinds that were not measured take that of their first kind.

        Examples
        --------
        >>> rates = MachineRates(1e-10, 0.0, {"mean:bernoulli": 1e-9}, 0, 0, 1)
        >>> round(rates.seconds(Work().product(10, 10, 10).add("mean:bernoulli", 100)), 9)
        3e-07
        """
        total = 0.0
        for (m, k, n), times in work.products.items():
            total += times * (self.flop * 2 * m * k * n + self.product_value * (m * k + k * n + m * n))
        return total + sum(self.rate(kind) * amount for kind, amount in work.amounts.items())

    def rate(self, kind: str) -> float:
        """Return the time of a kind of work; of unit types that were not measured, that of Bernoulli units."""
        if kind in self.amounts:
            return self.amounts[kind]
        return self.amounts.get(f"{kind.partition(':')[0]}:bernoulli", 0.0)

    def to_dict(self) -> StrDict:
        """Return plain values."""
        return asdict(self)

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the constants to a JSON file.

        Raises
        ------
        DataError
            If the file exists, without ``force``.
        """
        if Path(path).exists() and not force:
            raise DataError(f"{path} exists. Pass ", Mention("force", True), " to replace it.")
        with replacing(str(path)) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "MachineRates":
        """Read the constants from a JSON file.

        Raises
        ------
        DataError
            If it is not such a file.
        """
        advice = "Write one by `deepbelief bench --out FILE`."
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path} cannot be read as the constants of a machine. {advice}") from error
        required = {"flop", "product_value", "amounts", "base_bytes", "memory", "cores"}
        names = {each.name for each in fields(cls)}
        if not (isinstance(values, dict) and required <= values.keys() <= names and _is_machine(cls(**values))):
            raise DataError(f"{path} must hold the constants of a machine. {advice}")
        return cls(**values)


def _is_machine(rates: MachineRates) -> bool:
    """Return whether values that were read from a file have the types and ranges of the constants of a machine."""
    if not (isinstance(rates.amounts, dict) and isinstance(rates.about, dict) and isinstance(rates.clock, str)):
        return False
    times = [rates.flop, rates.product_value, *rates.amounts.values()]
    whole = [rates.base_bytes, rates.memory, rates.cores, *((rates.worker_bytes,) if rates.worker_bytes else ())]
    network = [value for value in (rates.round_seconds, rates.network_bytes) if value is not None]
    return (
        all(type(value) in (int, float) and 0 <= value <= MAX_RATE for value in (*times, *network))
        and all(type(value) is int and 0 < value <= MAX_RATE for value in whole)
        and rates.network_bytes != 0
    )
