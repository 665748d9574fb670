"""A stand-in for products of bfloat16 numbers by the processor, which computes by their definition."""

import numpy as np

from deepbelief.backends import bfloat16


def rounded(x):
    """Return float32 numbers rounded to bfloat16, to the nearest, ties to even."""
    words = np.ascontiguousarray(x).view(np.uint32).astype(np.uint64)
    return ((words + 0x7FFF + (words >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def stand_in(name="stand-in"):
    """Return products of rounded factors by NumPy."""

    def multiply(left, right, factor, out, keep):
        product = np.float32(factor) * (rounded(left) @ rounded(right))
        out[...] = product + keep * out if keep else product

    def step(left, right, w, velocity, rate, momentum, decay, nesterov):
        move = np.float32(rate) * (rounded(left.T) @ rounded(right)) + np.float32(decay) * w
        velocity *= np.float32(momentum)
        velocity -= move
        w += np.float32(momentum) * velocity - move if nesterov else velocity

    return bfloat16.Bfloat16Products(name, multiply, step)
