"""Records of training as TensorBoard events (optional extra ``tensorboard``)."""

import os
from typing import Any

from deepbelief.errors import SettingError
from deepbelief.training import Record, Reporter


class TensorBoard(Reporter):
    """Writes every number that ``history_`` records as a TensorBoard scalar, by epoch.

    Pass it as ``verbose`` of any estimator, alone or in a list. Tags are ``layer1/reconstruction_error``,
    ``finetune/loss`` and so on; each fit adds a file of events to the folder.

    Parameters
    ----------
    folder : str or path

    Raises
    ------
    SettingError
        When training starts, if tensorboardX is not installed.

    Examples
    --------
    >>> from deepbelief import RBM
    >>> RBM(verbose=TensorBoard("runs/first")).fit(X)  # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = folder
        self._writer: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind: copies open their own."""
        return self.__dict__ | {"_writer": None}

    def begin(self, what: Record) -> None:
        """Open a file of events before the first phase."""
        if self._writer is not None:
            return
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise SettingError("TensorBoard needs tensorboardX: pip install 'deepbelief[tensorboard]'") from error
        self._writer = SummaryWriter(os.fspath(self.folder))

    def record(self, record: Record) -> None:
        """Write the numbers of an epoch."""
        stage = f"layer{record['layer']}" if "layer" in record else record["phase"]
        for name, value in record.items():
            if isinstance(value, float):
                self._writer.add_scalar(f"{stage}/{name}", value, record["epoch"])
        self._writer.flush()
