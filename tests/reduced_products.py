"""A stand-in for a library of bfloat16 products, which computes by the meaning of the arguments."""

import ctypes

import numpy as np

from deepbelief.backends import bfloat16

CHAR, INT, LONG, REAL, POINTER = ctypes.c_char, ctypes.c_int, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
DNNL = ctypes.CFUNCTYPE(INT, CHAR, CHAR, *[LONG] * 3, REAL, POINTER, LONG, POINTER, LONG, REAL, POINTER, LONG)
CBLAS = ctypes.CFUNCTYPE(None, *[INT] * 6, REAL, POINTER, INT, POINTER, INT, REAL, POINTER, INT)
COUNT, LIMIT = ctypes.CFUNCTYPE(INT), ctypes.CFUNCTYPE(None, INT)


def widened(words):
    """Return bfloat16 numbers as float32."""
    return (words.astype(np.uint32) << 16).view(np.float32)


def matrix(pointer, rows, columns, width, kind):
    """Return the first columns of a matrix with rows of this width."""
    values = (kind * ((rows - 1) * width + columns)).from_address(pointer)
    return np.lib.stride_tricks.as_strided(
        np.frombuffer(values, kind), (rows, columns), (width * ctypes.sizeof(kind), ctypes.sizeof(kind)), writeable=True
    )


def multiply(a_turned, b_turned, m, n, k, alpha, a, a_width, b, b_width, beta, c, c_width):
    left = matrix(a, k, m, a_width, ctypes.c_uint16).T if a_turned else matrix(a, m, k, a_width, ctypes.c_uint16)
    right = matrix(b, n, k, b_width, ctypes.c_uint16).T if b_turned else matrix(b, k, n, b_width, ctypes.c_uint16)
    out = matrix(c, m, n, c_width, ctypes.c_float)
    # No BLAS here: this may run within one of its tasks.
    product = np.einsum("ik,kj->ij", widened(left), widened(right))
    out[...] = alpha * product + (beta * out if beta else 0)


def stand_in(name, log=None):
    """Return products by a stand-in for a library; the log receives how it limits threads, and its products."""
    log = [] if log is None else log

    def dnnl(ta, tb, m, n, k, *rest):
        log.append((m, k, n))
        multiply(ta == b"T", tb == b"T", m, n, k, *rest)
        return 0

    def cblas(order, ta, tb, m, n, k, *rest):
        assert order == 101
        log.append((m, k, n))
        multiply(ta == 112, tb == 112, m, n, k, *rest)

    routine = {"dnnl": DNNL(dnnl)} if name == "oneDNN" else {"cblas": CBLAS(cblas)}
    routine = bfloat16.Routine(**routine, count=COUNT(lambda: 7), limit=LIMIT(log.append))
    return bfloat16.Bfloat16Products(name, routine)
