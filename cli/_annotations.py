"""Types of the library for annotations, which load nothing: ``--help`` and wrong usage do without the library."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepbelief.backends import Backend as Backend
    from deepbelief.checkpoints import CheckpointFile as CheckpointFile
    from deepbelief.cost import Cost as Cost
    from deepbelief.cost import MachineRates as MachineRates
    from deepbelief.datasets import DataSet as DataSet
    from deepbelief.evaluation.outliers import Outliers as Outliers
    from deepbelief.fields import Fields as Fields
    from deepbelief.sources.schema import Schema as Schema
    from deepbelief.sources.table_columns import Column as Column
    from deepbelief.typing import Array as Array
    from deepbelief.typing import DtypeLike as DtypeLike

    from ._inputs import Model as Model
else:
    Array = Backend = CheckpointFile = Column = Cost = DataSet = DtypeLike = Fields = object
    MachineRates = Model = Outliers = Schema = object
