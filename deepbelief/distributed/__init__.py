"""Pretraining on a Dask cluster, in rounds: each worker trains on its own rows, then parameters are averaged.

Every worker runs `deepbelief.pretraining.pretrain`, as a single process would. For values that depend on all rows
(column statistics, the mean of the parameters, whether an epoch diverged), the coordinator in this process merges the
messages of all workers and sends the result to each. Rows, hidden representations and chains stay on the workers;
parameters travel directly between the workers and this process, not through the scheduler.

A Dask scheduler runs code for anyone who can reach its port: restrict access to the port, or use ``tls://``.

References
----------
McDonald, Hall and Mann, "Distributed training strategies for the structured perceptron", NAACL 2010 (iterative
parameter mixing).
"""

from deepbelief.distributed.clusters import connected, local_cluster
from deepbelief.distributed.partitions import FileRows, Partitioned, is_dask
from deepbelief.distributed.worker_averaging import RATE_RULES, Averaging

__all__ = ["RATE_RULES", "Averaging", "FileRows", "Partitioned", "connected", "is_dask", "local_cluster"]
