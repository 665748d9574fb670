"""Backends: the switch between NumPy (CPU) and CuPy (GPU).

A backend is an array namespace ``xp`` plus the few operations that the namespace does not offer, or that must be fused
to be fast. The NumPy version of each operation is its definition, and one conformance test compares every backend with
it. No module outside this folder imports CuPy or checks which backend is in use.
"""

from collections.abc import Callable

from deepbelief.backends.interface import Backend, Product, Rescaling, Rng, Sparse, SparseRows
from deepbelief.errors import BackendError, check_members, unknown

__all__ = [
    "BACKENDS",
    "PRECISIONS",
    "Backend",
    "Product",
    "Rescaling",
    "Rng",
    "Sparse",
    "SparseRows",
    "get_backend",
    "is_backend_name",
]


def _numpy(precision: str) -> Backend:
    from deepbelief.backends import bfloat16
    from deepbelief.backends.numpy_backend import NumpyBackend

    products = bfloat16.fast() if precision == "bfloat16" else None
    if isinstance(products, str):
        bfloat16.warn_of_float32(products)
        products = None
    return NumpyBackend(products)


def _cupy(precision: str) -> Backend:
    from deepbelief.backends.cupy_backend import CupyBackend

    if precision == "bfloat16":
        from deepbelief.backends.bfloat16 import warn_of_float32

        warn_of_float32("the cupy backend has none (CUPY_TF32=1 in the environment lets it use tensor cores)")
    return CupyBackend()


BACKENDS: dict[str, Callable[[str], Backend]] = {"numpy": _numpy, "cupy": _cupy}
"""Backends by name; each factory takes a precision. To add one, write a file and add an entry."""

PRECISIONS = ("float32", "bfloat16")


def is_backend_name(name: object) -> bool:
    """Return whether the name is that of a backend, with or without a precision.

    Examples
    --------
    >>> is_backend_name("numpy:bfloat16"), is_backend_name("torch")
    (True, False)
    """
    backend, precision = _parts(name) if isinstance(name, str) else ("", "")
    return backend in BACKENDS and precision in PRECISIONS


def _parts(name: str) -> tuple[str, str]:
    """Split a name into backend and precision."""
    backend, colon, precision = name.partition(":")
    return backend, precision if colon else PRECISIONS[0]


def get_backend(backend: str | Backend = "numpy", precision: str | None = None) -> Backend:
    """Return the backend with this name; an instance is returned unchanged.

    Parameters
    ----------
    backend : {"numpy", "cupy"} or Backend
        ``"numpy"`` runs everywhere; ``"cupy"`` needs CuPy and a CUDA device. ``"numpy:bfloat16"`` combines both
        arguments, for the ``backend`` setting of estimators and commands.
    precision : {"float32", "bfloat16"}, optional
        Precision to which the factors of float32 matrix products are rounded. Weights, statistics and sums stay
        float32. If bfloat16 is unavailable or not faster, a warning says so and products are computed in float32.

    Returns
    -------
    Backend

    Raises
    ------
    BackendError
        If the name is unknown, CuPy is not installed, or there is no device. It never falls back silently to another
        backend.

    Warns
    -----
    PrecisionWarning
        If products are computed in float32 instead.

    Examples
    --------
    >>> get_backend("numpy").name
    'numpy'
    """
    if not isinstance(backend, str):
        check_members("backend", backend, Backend, BACKENDS, BackendError)
        return backend
    name, named = _parts(backend)
    if name not in BACKENDS:
        raise BackendError(unknown("backend", name, BACKENDS))
    precision = named if precision is None else precision
    if precision not in PRECISIONS:
        raise BackendError(unknown("precision", precision, PRECISIONS))
    return BACKENDS[name](precision)
