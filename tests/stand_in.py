"""An array type that is not NumPy's and speaks its two protocols alone: it stands for tracers, batches and GPU arrays.

It holds an array and does with it what it is asked through ``__array_ufunc__`` and ``__array_function__`` or by a
method; nothing converts it to a NumPy array, and together with one of more than one element it refuses to work.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager

import numpy as np

from autodiff.device_arrays import device_array
from autodiff.devices import as_numpy
from autodiff.opaque import Opaque
from autodiff.ops.guards import common
from autodiff.tensor import Tensor, plain


class Refused(TypeError):
    """What a stand-in will not do."""


class Log:
    """What happened to all stand-ins: conversions that were refused, branches decided, calls taken whole, copies to the
    processor."""

    conversions, decisions, calls, copies = 0, 0, [], 0
    numbers_decide = False


log = Log()


@contextmanager
def watching(numbers_decide=False):
    """A fresh log; whether bool() of a single number, a learning rate say, is allowed everywhere."""
    log.conversions, log.decisions, log.calls, log.copies, log.numbers_decide = 0, 0, [], 0, numbers_decide
    yield log
    log.numbers_decide = False


def _held(x, name):
    if isinstance(x, StandIn):
        return x.value
    if type(x) in (tuple, list):
        return type(x)(_held(v, name) for v in x)
    if isinstance(x, slice):
        return slice(*(_held(v, name) for v in (x.start, x.stop, x.step)))
    if isinstance(x, np.ndarray) and x.size > 1:
        raise Refused(f"{name}: a StandIn and a numpy.ndarray of shape {x.shape} do not mix")
    return x


def _index(i):
    """An index may be NumPy's."""
    if type(i) is tuple:
        return tuple(_index(part) for part in i)
    return i if isinstance(i, np.ndarray) else _held(i, "getitem")


def _all(values):
    for x in values:
        if isinstance(x, StandIn):
            yield x
        elif type(x) in (tuple, list):
            yield from _all(x)


STATIC = ("take", "take_along_axis", "searchsorted", "repeat", "roll", "pad")
"""Functions whose positions may be NumPy's."""


CREATION = ("arange", "array", "asarray", "eye", "ones", "tri", "zeros")
"""Functions that make one of NumPy's arrays."""


class StandIn:
    """See the top of this file."""

    __slots__ = ("base", "value")
    __hash__ = object.__hash__

    def __init__(self, value, base=None):
        self.value, self.base = np.asarray(value), base

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        name = ufunc.__name__
        if any(isinstance(x, Tensor) for x in inputs):
            return NotImplemented
        values = [_held(x, name) for x in inputs]
        options = {k: _held(v, name) for k, v in options.items()}
        if out is not None:
            if not all(isinstance(target, StandIn) for target in out):
                raise Refused(f"{name}: a StandIn is not written into a {type(out[0]).__name__}")
            options["out"] = tuple(target.value for target in out)
        result = getattr(ufunc, method)(*values, **options)
        return (out[0] if len(out) == 1 else out) if out is not None else _made(result, inputs)

    def __array_function__(self, function, types, args, options):
        if isinstance(function, Opaque):
            log.calls.append(function.__name__)
            assert not any(True for _ in _all(options.values())), "a StandIn is given by position"
            args = _bare(args)
            return _made(function.function(*args, **options), (), type(self))
        if any(issubclass(kind, Tensor) for kind in types):
            return NotImplemented
        name = function.__name__
        if name in CREATION:
            return _made(function(*args, **options), (), type(self))
        given = _held(args[:1], name) + args[1:] if name in STATIC else _held(args, name)
        given = tuple(_bare(x) for x in given) if name in STATIC else given
        out = options.get("out")
        result = function(*given, **{k: _held(v, name) for k, v in options.items()})
        return out if isinstance(out, StandIn) else _made(result, args, type(self))

    # What would make a NumPy array or a Python number of it

    def __array__(self, *args, **options):
        log.conversions += 1
        raise Refused("a StandIn is not converted to a numpy.ndarray")

    def _number(self):
        log.conversions += 1
        raise Refused("a StandIn is not converted to a Python number")

    __float__ = __int__ = __index__ = item = tolist = _number

    def __bool__(self):
        if sys._getframe(1).f_code is not common.__code__ and not (log.numbers_decide and self.ndim == 0):
            log.conversions += 1
            raise Refused("a StandIn decides no branch, but in `common`")
        log.decisions += 1
        return bool(self.value)

    # What an array is asked

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    itemsize = property(lambda self: self.value.itemsize)
    nbytes = property(lambda self: self.value.nbytes)
    strides = property(lambda self: self.value.strides)
    flags = property(lambda self: self.value.flags)
    T = property(lambda self: _made(self.value.T, (self,)))
    mT = property(lambda self: _made(self.value.mT, (self,)))
    real = property(lambda self: _made(self.value.real, (self,)))
    imag = property(lambda self: _made(self.value.imag, (self,)))

    def __len__(self):
        return len(self.value)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        return _made(self.value[_index(index)], (self,))

    def __setitem__(self, index, v):
        self.value[_index(index)] = _held(v, "setitem")

    def __repr__(self):
        return f"StandIn({self.value!r})"


def _bare(x):
    if type(x) in (tuple, list):
        return type(x)(_bare(v) for v in x)
    return x.value if isinstance(x, StandIn) else x


def _made(result, inputs, kind=None):
    kind = kind or next((type(x) for x in _all(inputs)), StandIn)
    if type(result) in (tuple, list) or hasattr(result, "_fields"):
        made = [_made(r, inputs, kind) for r in result]
        return type(result)(*made) if hasattr(result, "_fields") else type(result)(made)
    if not isinstance(result, (np.ndarray, np.generic)):
        return result
    owner = next((x for x in _all(inputs) if np.may_share_memory(x.value, result)), None)
    return kind(result, None if owner is None else owner if owner.base is None else owner.base)


def _method(name):
    def method(self, *args, **options):
        args, options = _held(args, name), {k: _held(v, name) for k, v in options.items()}
        return _made(getattr(self.value, name)(*args, **options), (self,))

    method.__name__ = name
    return method


METHODS = (
    "all any argmax argmin argsort astype clip conj copy cumprod cumsum dot flatten max mean min nonzero prod ravel repeat "
    "reshape round squeeze std sum swapaxes take transpose var view diagonal trace"
)
for _name in METHODS.split():
    setattr(StandIn, _name, _method(_name))

BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power, "mod": np.remainder,
    "floordiv": np.floor_divide, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "lshift": np.left_shift, "rshift": np.right_shift,
}  # fmt: skip
COMPARISONS = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal
}  # fmt: skip


def _known(other):
    return not hasattr(other, "_ndarray")  # a Tensor's own operators go first


def _operators(name, ufunc):
    def forward(self, other):
        return ufunc(self, other) if _known(other) else NotImplemented

    def reflected(self, other):
        return ufunc(other, self) if _known(other) else NotImplemented

    def in_place(self, other):
        return ufunc(self, other, out=(self,))

    setattr(StandIn, f"__{name}__", forward)
    if ufunc not in COMPARISONS.values():
        setattr(StandIn, f"__r{name}__", reflected)
        setattr(StandIn, f"__i{name}__", in_place)


for _name, _ufunc in {**BINARY, **COMPARISONS}.items():
    _operators(_name, _ufunc)
for _name, _ufunc in {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}.items():
    setattr(StandIn, f"__{_name}__", lambda self, ufunc=_ufunc: ufunc(self))
StandIn.__hash__ = object.__hash__


NOT_IN_CUPY = frozenset(
    "block broadcast_shapes geomspace insert nanpercentile nanquantile polyder polyint unstack matvec vecdot vecmat "
    "spacing multi_dot svdvals".split()
)
"""NumPy's functions that CuPy 14 has not, among those that the project calls."""

CREATED_BY_HOST = ("array", "asarray")


class Device(StandIn):
    """A stand-in for CuPy's arrays, which live on a GPU: it does what they do and no more.

    NumPy's arrays are refused everywhere but as positions, a ufunc has no method (``np.add.reduce``), no function of
    SciPy is known, what is `Opaque` is not, and only ``get()`` copies to the processor, which is counted.
    """

    __slots__ = ()
    __hash__ = None
    device = "<device 0>"

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        name = ufunc.__name__
        if method != "__call__" or getattr(np, name, None) is not ufunc or name in NOT_IN_CUPY:
            return NotImplemented
        for x in (*inputs, *(out or ())):
            if isinstance(x, np.ndarray):
                if name in COMPARED and x.ndim == 0:
                    continue
                raise TypeError(f"Unsupported type {type(x)}")
            if not isinstance(x, (Device, bool, int, float, complex, np.generic)):
                return NotImplemented
        return super().__array_ufunc__(ufunc, method, *inputs, out=out, **options)

    def __array_function__(self, function, types, args, options):
        module = getattr(function, "__module__", None) or ""
        if module.partition(".")[0] != "numpy" or function.__name__ in NOT_IN_CUPY:
            return NotImplemented
        if any(not issubclass(kind, (Device, np.ndarray)) for kind in types):
            return NotImplemented
        for name in REFUSED.get(function.__name__, ()):
            if name in options:
                raise TypeError(f"{function.__name__}() got an unexpected keyword argument '{name}'")
        if function.__name__ in CREATED_BY_HOST:
            return _made(function(*_bare(args), **options), (), type(self))
        if function.__name__ not in STATIC and any(_arrays(args)):
            raise TypeError(f"{function.__name__}: Unsupported type {np.ndarray}")
        return super().__array_function__(function, types, args, options)

    def get(self):
        log.copies += 1
        return self.value.copy()

    def __getitem__(self, index):
        return _made(self.value[_modulo(_index(index), self.shape)], (self,))

    def __setitem__(self, index, v):
        self.value[_modulo(_index(index), self.shape)] = _held(v, "setitem")

    def scatter_add(self, index, values):
        np.add.at(self.value, _modulo(_index(index), self.shape), _held(values, "scatter_add"))

    def _scalar(self, kind):
        log.decisions += 1
        return kind(self.value)

    __float__ = lambda self: self._scalar(float)
    __int__ = lambda self: self._scalar(int)
    __complex__ = lambda self: self._scalar(complex)
    __bool__ = lambda self: self._scalar(bool)
    item = lambda self: self._scalar(lambda value: value.item())

    def tolist(self):
        return self.get().tolist()

    def __index__(self):
        raise TypeError("'Device' object cannot be interpreted as an integer")

    def __repr__(self):
        return f"Device({self.value!r})"


class Philox4x3210:
    """A device's bits from a seed."""

    def __init__(self, seed):
        self.own = np.random.Philox(seed)


class Generator:
    """A generator that draws arrays on the device."""

    def __init__(self, bits):
        self.own = np.random.Generator(bits.own)

    def random(self, size, dtype=float):
        return Device(self.own.random(size, dtype))

    def standard_normal(self, size, dtype=float):
        return Device(self.own.standard_normal(size, dtype))


def _modulo(index, shape):
    """Positions that are out of range are taken modulo the length, where CuPy does so."""
    parts = index if type(index) is tuple else (index,)
    if any(i is None or i is Ellipsis or (isinstance(i, np.ndarray) and i.dtype.kind == "b") for i in parts):
        return index
    wrapped = tuple([i % n if isinstance(i, np.ndarray) and n else i for i, n in zip(parts, shape)])
    return wrapped if type(index) is tuple else wrapped[0] if wrapped else index


COMPARED = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
REDUCED = (
    "sum",
    "prod",
    "mean",
    "var",
    "std",
    "max",
    "min",
    "amax",
    "amin",
    "all",
    "any",
    "nansum",
    "nanprod",
    "nanmax",
)
REFUSED = {name: ("where", "initial", "correction", "mean") for name in REDUCED}
"""NumPy's options that CuPy's functions of the same name have not."""


def _arrays(values):
    for x in values:
        if type(x) in (tuple, list):
            yield from _arrays(x)
        elif isinstance(x, np.ndarray):
            yield True


def there(dtype=float):
    """A tensor on the device, beside which others are put."""
    return Tensor(Device(np.zeros(1, dtype)))


def on_host(value):
    """What a function gave, nested as it may be, as arrays of NumPy's, and the types of arrays that were in it."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        parts = [on_host(v) for v in value if v is not None]
        return [a for part, _ in parts for a in part], {kind for _, kinds in parts for kind in kinds}
    array = device_array(plain(value))
    return [as_numpy(array)], {type(array)}


def same_on_a_device(function, *, rtol=1e-9, atol=1e-12):
    """Run a function of a kind of arrays on NumPy's and on a device's; the results are the same. Returns the types of
    arrays of the second, and how many were copied to the processor on the way there."""
    expected, _ = on_host(function(np.array))
    with watching() as seen:
        result = function(Device)
        copies = seen.copies
    found, kinds = on_host(result)
    assert seen.conversions == 0 and len(found) == len(expected) > 0
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    return kinds, copies
