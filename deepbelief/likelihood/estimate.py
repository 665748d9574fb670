"""Estimates of log Z with an interval."""

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, eq=False)
class LogZEstimate:
    """Base of the estimates of log Z.

    Attributes
    ----------
    log_z : float
        In nats.
    low, high : float
        Ends of an interval of 3 standard errors on either side.
    agrees : bool
        False if sampling from another start found a larger value; the interval then covers both.
    """

    method: ClassVar[str] = ""
    log_z: float
    low: float
    high: float
    agrees: bool = field(default=True, kw_only=True)

    @property
    def interval(self) -> str:
        """The estimate and its interval, as messages show them."""
        return f"log Z = {self.log_z:.3f} ({self.low:.3f} to {self.high:.3f} at 3 s.d."
