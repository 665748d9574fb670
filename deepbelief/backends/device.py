"""Name of the device of a backend."""

import platform
from pathlib import Path

from deepbelief.backends.interface import Backend


def device_name(bk: Backend) -> str:
    """Return the name of the GPU of a backend whose namespace has CUDA, else of the processor.

    Examples
    --------
    >>> from deepbelief.backends import get_backend
    >>> isinstance(device_name(get_backend("numpy")), str)
    True
    """
    cuda = getattr(bk.xp, "cuda", None)
    if cuda is not None:
        return str(cuda.runtime.getDeviceProperties(cuda.Device().id)["name"].decode())
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
