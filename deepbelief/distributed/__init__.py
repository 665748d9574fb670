"""Pretraining on a cluster of Dask workers, in rounds: each trains on its own rows, then parameters are averaged.

All workers run the same `deepbelief.pretraining.pretrain` that one alone would. Where it has a question for all -
column statistics, the mean of the parameters, whether an epoch diverged - the coordinator in this process merges the
questions of all workers, and sends back the answer. Rows, hidden representations and chains stay where they
are; parameters come to this process and go back past the scheduler.

A Dask scheduler runs code for whoever reaches its port: open it to nobody but yourself, or use ``tls://``.

References
----------
McDonald, Hall and Mann, "Distributed training strategies for the structured perceptron", NAACL 2010 (iterative
parameter mixing).
"""

from deepbelief.distributed.clusters import connected, local_cluster
from deepbelief.distributed.partitions import FileRows, Partitioned, is_dask
from deepbelief.distributed.worker_averaging import RATE_RULES, Averaging

__all__ = ["RATE_RULES", "Averaging", "FileRows", "Partitioned", "connected", "is_dask", "local_cluster"]
