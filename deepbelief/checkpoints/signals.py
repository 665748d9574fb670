"""Ctrl-C and SIGTERM, recorded at once and handled between two updates."""

import signal
import threading
from types import FrameType
from typing import Any, Self

USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Signals:
    """Record of the first of these signals; a second one acts at once. Handlers of other code stay in place."""

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers, in the main thread only: other threads cannot."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: usual for number, usual in USUAL.items() if signal.getsignal(number) == usual}
            for number in self._before:
                signal.signal(number, self._hear)
        return self

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self.__exit__()

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        while self._before:
            signal.signal(*self._before.popitem())
