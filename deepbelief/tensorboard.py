"""Records of training as TensorBoard events (optional extra ``tensorboard``)."""

import os
import secrets
import time
import warnings
from pathlib import Path
from typing import Any

from deepbelief.errors import LogWarning, SettingError
from deepbelief.training import Record, Reporter
from deepbelief.typing import StrDict


class TensorBoard(Reporter):
    """Writes every number that ``history_`` records as a TensorBoard scalar, by epoch.

    Pass it as ``verbose`` of any estimator, alone or in a list. Tags are ``layer1/reconstruction_error``,
    ``finetune/loss`` and so on; each layer and fine-tuning add a file of events to the folder.

    Parameters
    ----------
    folder : str or path

    Raises
    ------
    SettingError
        After the first epoch, if tensorboardX is not installed.

    Warns
    -----
    LogWarning
        Once, if the events cannot be written, for instance on a full disk; training continues.

    Examples
    --------
    >>> from deepbelief import RBM
    >>> RBM(verbose=TensorBoard("runs/first")).fit(X)  # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = folder
        self._writer: Any = None
        self._warned = False

    def __getstate__(self) -> StrDict:
        """Leave the open file behind: copies open their own."""
        return vars(self) | {"_writer": None}

    def _open(self) -> Any:
        """Open a file of events."""
        try:
            from tensorboardX.event_file_writer import EventsWriter
        except ImportError as error:
            raise SettingError("TensorBoard needs tensorboardX: pip install 'deepbelief[tensorboard]'") from error
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Its SummaryWriter hands events to a thread and cannot say when they are written.
        return EventsWriter(str(folder / f"events-{secrets.token_hex(4)}"))

    def record(self, record: Record) -> None:
        """Write the numbers of an epoch."""
        try:
            self._writer = self._writer or self._open()
            self._write(record)
        except OSError as error:
            self._warn(error)

    def _write(self, record: Record) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        stage = f"layer{record['layer']}" if "layer" in record else record["phase"]
        for name, value in record.items():
            if isinstance(value, float):
                summary = scalar(f"{stage}/{name}", value)
                self._writer.write_event(Event(wall_time=time.time(), step=record["epoch"], summary=summary))
        self._writer.flush()

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            reason = error.strerror or error
            warnings.warn(
                f"no events are written to {self.folder}: {reason}; training continues", LogWarning, stacklevel=2
            )
        self._warned = True

    def end(self) -> None:
        """Close the file."""
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
        except OSError as error:
            self._warn(error)
