"""A device made of host memory: it finds on any machine what would break on a GPU.

Its arrays refuse what CuPy's refuse - host arrays in arithmetic and as indices, silent conversion to NumPy -
and its namespace holds only a written list of names and keywords, each checked against CuPy's own
signatures (13.4 and 14.2). What CUDA kernels read as raw memory must be contiguous and of one dtype here too.
Every crossing between host and device is noted, so that a test can say: none in here.
"""

import operator
from contextlib import contextmanager
from functools import partial

import numpy as np
import scipy.special

from deepbelief.backends import Product
from deepbelief.backends.groups import Groups
from deepbelief.backends.numpy_backend import NumpyBackend, NumpyRng

CROSSINGS = []  # a word for every copy between host and device and for every wait


@contextmanager
def no_crossings():
    """Fail on any copy between host and device, and on any wait for a value."""
    before = len(CROSSINGS)
    yield
    assert CROSSINGS[before:] == []


def raw(x):
    """Return what NumPy may work on, after refusing what a GPU refuses."""
    if isinstance(x, DeviceArray):
        return x._raw
    if isinstance(x, np.ndarray | list):
        raise TypeError(f"{type(x).__name__} of the host used on the device: this fails on a GPU")
    if isinstance(x, tuple):
        return tuple(raw(e) for e in x)
    return x


def device(x):
    return DeviceArray(np.asarray(x))


def _unwritten(array):
    """Fill with what shows when it is read before it is written."""
    if array.dtype.kind == "f":
        array.fill(np.nan)
    return device(array)


class DeviceArray:
    """An array that only its own namespace, operators and methods can touch."""

    __slots__ = ("_raw",)
    __array_ufunc__ = None  # NumPy's operators then leave the work, and the refusal, to ours
    __hash__ = None

    def __init__(self, array):
        self._raw = array

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion of a device array to NumPy: this fails on a GPU")

    def __array_function__(self, function, *args):
        raise TypeError(f"numpy.{function.__name__} of a device array: use the backend's xp")

    def __repr__(self):
        return f"device{self._raw!r}"

    def __len__(self):
        return len(self._raw)

    def __getitem__(self, key):
        return device(self._raw[raw(key)])

    def __setitem__(self, key, value):
        self._raw[raw(key)] = raw(value)

    @property
    def __cuda_array_interface__(self):
        return {"version": 3, "shape": self.shape, "typestr": self.dtype.str, "data": (1, False)}

    @property
    def T(self):
        return device(self._raw.T)

    shape = property(lambda self: self._raw.shape)
    dtype = property(lambda self: self._raw.dtype)
    ndim = property(lambda self: self._raw.ndim)
    size = property(lambda self: self._raw.size)
    nbytes = property(lambda self: self._raw.nbytes)

    def astype(self, dtype, copy=True):
        same = not copy and self.dtype == dtype
        return self if same else device(self._raw.astype(dtype, copy=copy))

    def copy(self):
        return device(self._raw.copy())

    def fill(self, value):
        self._raw.fill(raw(value))

    def reshape(self, *shape):
        return device(self._raw.reshape(*shape))

    def ravel(self):
        return device(self._raw.ravel())


def _binary(name):
    function = getattr(operator, name)

    def forward(self, other):
        return device(function(self._raw, raw(other)))

    def reflected(self, other):
        return device(function(raw(other), self._raw))

    def in_place(self, other):
        getattr(operator, f"i{name}")(self._raw, raw(other))
        return self

    setattr(DeviceArray, f"__{name}__", forward)
    setattr(DeviceArray, f"__r{name}__", reflected)
    if name != "matmul":
        setattr(DeviceArray, f"__i{name}__", in_place)


def _comparison(name):
    function = getattr(operator, name)
    setattr(DeviceArray, f"__{name}__", lambda self, other: device(function(self._raw, raw(other))))


def _unary(name):
    function = getattr(operator, name)
    setattr(DeviceArray, f"__{name}__", lambda self: device(function(self._raw)))


def _reduction(name):
    def method(self, axis=None, dtype=None, out=None, keepdims=False):
        extra = {} if dtype is None else {"dtype": dtype}
        result = getattr(self._raw, name)(axis=axis, out=raw(out), keepdims=keepdims, **extra)
        return device(result) if out is None else out

    setattr(DeviceArray, name, method)


def _wait(name, word):
    function = getattr(operator, name, None) or getattr(np.ndarray, name)

    def method(self):
        CROSSINGS.append(word)
        return function(self._raw)

    setattr(DeviceArray, name, method)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "pow", "mod", "matmul"):
    _binary(_name)
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _comparison(_name)
for _name in ("neg", "pos", "abs", "invert"):
    _unary(_name)
for _name in ("sum", "mean", "max", "min", "prod", "all", "any", "argmax", "argmin", "var", "std"):
    _reduction(_name)
for _name in ("__float__", "__int__", "__bool__", "__index__", "item", "tolist"):
    _wait(_name, f"{_name} of a device array")


def _ufunc(name, n_in):
    function = getattr(np, name)

    def call(*inputs, out=None, dtype=None):
        assert len(inputs) == n_in, f"xp.{name} takes {n_in} arrays; give the others by keyword"
        result = function(*map(raw, inputs), out=raw(out), dtype=dtype)
        return device(result) if out is None else out

    return call


class Namespace:
    """What of CuPy's namespace may be used. Look a name up in CuPy's reference before you add it."""

    ndarray = DeviceArray
    float32, float64, int32, int64, intp, bool_ = np.float32, np.float64, np.int32, np.int64, np.intp, np.bool_
    inf, nan, pi, newaxis = np.inf, np.nan, np.pi, None
    finfo = staticmethod(np.finfo)

    def __getattr__(self, name):
        raise AttributeError(f"xp.{name} is not on the list of names that CuPy is known to have (tests/fake_device.py)")

    def empty(self, shape, dtype=float):
        return _unwritten(np.empty(shape, dtype))

    def eye(self, N, dtype=float):
        return device(np.eye(N, dtype=dtype))

    def zeros(self, shape, dtype=float):
        return device(np.zeros(shape, dtype))

    def ones(self, shape, dtype=float):
        return device(np.ones(shape, dtype))

    def empty_like(self, prototype, dtype=None):
        return _unwritten(np.empty_like(raw(prototype), dtype))

    def zeros_like(self, a, dtype=None):
        return device(np.zeros_like(raw(a), dtype))

    def full_like(self, a, fill_value, dtype=None):
        return device(np.full_like(raw(a), raw(fill_value), dtype))

    def arange(self, start, stop=None, step=1, dtype=None):
        return device(np.arange(start, stop, step, dtype) if stop is not None else np.arange(start, dtype=dtype))

    def take(self, a, indices, axis=None, out=None):
        result = np.take(raw(a), raw(indices), axis=axis, out=raw(out))
        return device(result) if out is None else out

    def stack(self, tup, axis=0, out=None, *, dtype=None):
        result = np.stack([_need(t) for t in tup], axis=axis, out=raw(out), dtype=dtype)
        return device(result) if out is None else out

    def concatenate(self, tup, axis=0, out=None, *, dtype=None):
        result = np.concatenate([_need(t) for t in tup], axis=axis, out=raw(out), dtype=dtype)
        return device(result) if out is None else out

    def where(self, condition, x, y):
        return device(np.where(raw(condition), raw(x), raw(y)))

    def sum(self, a, axis=None, dtype=None, out=None, keepdims=False):
        return _need_device(a).sum(axis, dtype, out, keepdims)

    def mean(self, a, axis=None, dtype=None, out=None, keepdims=False):
        return _need_device(a).mean(axis, dtype, out, keepdims)

    def copyto(self, dst, src, casting="same_kind", where=None):
        np.copyto(_need(dst), _need(src), casting=casting, where=True if where is None else _need(where))

    def cumsum(self, a, axis=None, dtype=None, out=None):
        result = np.cumsum(_need(a), axis=axis, dtype=dtype, out=raw(out))
        return device(result) if out is None else out

    def matmul(self, x1, x2, out=None):
        result = np.matmul(_need(x1), _need(x2), out=raw(out))
        return device(result) if out is None else out


UNARY = ["abs", "sqrt", "square", "exp", "expm1", "log", "log1p", "tanh", "sign", "negative", "reciprocal"]
for _name in [*UNARY, "isfinite", "isnan", "floor"]:
    setattr(Namespace, _name, staticmethod(_ufunc(_name, 1)))
for _name in ["add", "subtract", "multiply", "divide", "maximum", "minimum", "logaddexp", "less", "greater", "power"]:
    setattr(Namespace, _name, staticmethod(_ufunc(_name, 2)))


class Special:
    """What of cupyx.scipy.special may be used."""

    def __getattr__(self, name):
        raise AttributeError(f"special.{name} is not on the list of names that CuPy is known to have")


def _special(function):
    return staticmethod(lambda x: device(function(_need(x))))


for _name in ["erfcx", "ndtr", "ndtri"]:
    setattr(Special, _name, _special(getattr(scipy.special, _name)))


def _need_device(x):
    if not isinstance(x, DeviceArray):
        raise TypeError(f"{type(x).__name__} where a device array is needed: this fails on a GPU")
    return x


def _need(x):
    return _need_device(x)._raw


def _kernel(*arrays, same=True):
    """Return the memory of arrays as a CUDA kernel sees it: contiguous, all of one dtype."""
    for a in map(_need, arrays):
        assert a.flags.c_contiguous, "a kernel reads contiguous memory"
        assert not same or a.dtype == _need(arrays[0]).dtype, "a kernel takes arrays of one dtype"
    return tuple(map(_need, arrays))


class FakeRng:
    """NumPy's streams, written to the device."""

    def __init__(self, seed):
        self._host = NumpyRng(seed)

    def bernoulli(self, p, out):
        assert p is not out
        host_p, host_out = _kernel(p, out)
        self._host.bernoulli(host_p, host_out)
        return out

    def uniform(self, out):
        self._host.uniform(*_kernel(out))
        return out

    def normal(self, out):
        self._host.normal(*_kernel(out))
        return out

    def state(self):
        return self._host.state()

    def set_state(self, state):
        self._host.set_state(state)


class FakeSparse:
    """A sparse table whose rows are ordered by device arrays."""

    def __init__(self, host):
        self._host = host
        self.pays = host.pays

    def shuffled(self, order):
        return FakeSparse(self._host.shuffled(_need(order)))

    def part(self, start, stop):
        return FakeRows(self._host.part(start, stop))


class FakeRows:
    """Sparse rows that only device arrays meet."""

    def __init__(self, host):
        self._host = host
        self.shape = host.shape
        self.pays_transposed = host.pays_transposed

    def __len__(self):
        return len(self._host)

    def dense(self, out):
        self._host.dense(*_kernel(out))
        return out

    def times(self, W, out=None):
        if out is None:
            return device(self._host.times(*_kernel(W)))
        self._host.times(*_kernel(W, out))
        return out

    def add_transposed(self, h, out, factor=1):
        self._host.add_transposed(*_kernel(h, out), factor)


class FakeDevice:
    """The backend: NumPy's operations on the raw memory."""

    name = "fake-device"
    least_batch = 16
    concurrent = False

    def __init__(self):
        self.xp, self.special = Namespace(), Special()
        self._host = NumpyBackend()
        self._groups = Groups(self.xp, self.asarray)

    def asarray(self, x, dtype=None):
        if isinstance(x, DeviceArray):
            return device(np.ascontiguousarray(x._raw, dtype=dtype))
        CROSSINGS.append("host to device")
        return device(np.array(x, dtype=dtype, order="C"))

    def to_numpy(self, x):
        if isinstance(x, DeviceArray):
            CROSSINGS.append("device to host")
            return x._raw.copy()
        return np.asarray(x)

    def owns(self, x):
        return isinstance(x, DeviceArray)

    def sparse(self, matrix):
        CROSSINGS.append("host to device")
        return FakeSparse(self._host.sparse(matrix))

    def matmul(self, rows, W, out=None):
        if isinstance(rows, FakeRows):
            return rows.times(W, out)
        return self.xp.matmul(rows, W, out=out)

    def rng(self, seed):
        return FakeRng(seed)

    def take(self, rows, index, out):
        self._host.take(_need(rows), _need(index), *_kernel(out))
        return out

    def sigmoid(self, x, bias=None):
        host = _kernel(x) if bias is None else _kernel(x, bias)
        self._host.sigmoid(*host)
        return x

    def sigmoid_sample(self, x, bias, rng, out):
        self._host.sigmoid_sample(*_kernel(x, bias), rng._host, *_kernel(out))
        return out

    def softmax(self, x, bias, sizes):
        return self._groups.softmax(x, bias, sizes)

    def log_partition(self, x, sizes=None, rescaling=None):
        if rescaling is not None:
            return rescaling.apply(x, partial(self._groups.log_partition, sizes=sizes))
        return self._groups.log_partition(x, sizes)

    def one_hot_sample(self, p, rng, sizes, out):
        u = rng.uniform(self.xp.empty((len(p), len(sizes)), p.dtype))
        return self._groups.one_hot(p, u, sizes, out)

    def sigmoid_backward(self, grad, y, out):
        assert out is not grad
        assert out is not y
        self._host.sigmoid_backward(*_kernel(grad, y, out))
        return out

    def weigh(self, x, weight, out):
        self._host.weigh(*_kernel(x, weight, out))
        return out

    def log_odds(self, x, v, W, out):
        W = W.astype(x.dtype, copy=False)
        self._host.log_odds(*_kernel(x, v, W, out))
        return out

    def momentum_step(self, w, velocity, grad, rate, momentum, decay, nesterov):
        for number in (rate, momentum, decay):
            assert isinstance(number, int | float), "a number from the device would make the host wait"
        if isinstance(grad, Product):
            plus = None if grad.plus is None else (grad.plus[0]._host, *_kernel(grad.plus[1]))
            host = *_kernel(w, velocity), Product(*_kernel(grad.left, grad.right, grad.out), plus)
        else:
            host = _kernel(w, velocity, grad)
        self._host.momentum_step(*host, rate, momentum, decay, nesterov)

    def adam_step(self, w, mean, square, grad, rate, betas, epsilon, decay):
        for number in (rate, *betas, epsilon, decay):
            assert isinstance(number, int | float), "a number from the device would make the host wait"
        grad = grad.array(self) if isinstance(grad, Product) else grad
        self._host.adam_step(*_kernel(w, mean, square, grad), rate, betas, epsilon, decay)

    def memory(self):
        return self._host.memory()

    def synchronize(self):
        CROSSINGS.append("synchronize")
