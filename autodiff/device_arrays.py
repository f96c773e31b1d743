"""Arrays that live on a device, such as CuPy's on a GPU, as arrays of all NumPy's functions.

An array type on a device speaks NumPy's two protocols and has ``get()``, which copies to the processor's memory; but it
knows only a part of NumPy: not ``np.add.reduce``, nor ``max(initial=)``, nor SciPy, nor what is `Opaque`. A
`DeviceArray` holds one and does the rest: with other functions of the device where that matters for speed, else on the
processor, there and back. Order: the class, what stands for what, the way over the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib import import_module
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

SPECIAL = {"cupy": "cupyx.scipy.special"}
"""Where a package of arrays keeps what `scipy.special` has."""

RANDOM = {"cupy": "cupy.random"}
"""Where it keeps generators of random numbers."""

STATIC = ("take", "take_along_axis", "searchsorted", "repeat", "roll", "pad")
"""Functions whose later arguments are positions and widths, which may be NumPy's."""

CREATION = ("arange", "array", "asarray", "empty", "eye", "full", "identity", "ones", "tri", "zeros")

_NUMBERS = (bool, int, float, complex, np.generic)


class DeviceArray(NDArrayOperatorsMixin):
    """An array on a device; together with an array of NumPy's of more than one element it is refused.

    Args:
        array: CuPy's, or another that speaks the two protocols and has ``get()``.
        base: the DeviceArray whose memory it shares.
    """

    __slots__ = ("__weakref__", "array", "base")

    def __init__(self, array: Any, base: DeviceArray | None = None) -> None:
        self.array, self.base = array, base

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)
    itemsize = property(lambda self: self.array.dtype.itemsize)
    nbytes = property(lambda self: self.array.nbytes)
    strides = property(lambda self: self.array.strides)
    flags = property(lambda self: self.array.flags)
    device = property(lambda self: self.array.device)
    T = property(lambda self: self._made(self.array.T))
    mT = property(lambda self: self._made(self.array.swapaxes(-1, -2)))
    real = property(lambda self: self._made(self.array.real))
    imag = property(lambda self: self._made(self.array.imag))
    __cuda_array_interface__ = property(lambda self: self.array.__cuda_array_interface__)

    def get(self) -> np.ndarray[Any, Any]:
        """A copy in the processor's memory."""
        return np.asarray(self.array.get())

    def item(self, *index: Any) -> Any:
        """A value as a Python number."""
        return self.array[index[0] if len(index) == 1 else index].item() if index else self.array.item()

    def tolist(self) -> Any:
        """The values as nested lists."""
        return self.get().tolist()

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            f"an array of shape {self.shape} on {self.device} does not become one of NumPy's by itself; write "
            f"tensor.cpu(), or array.get()"
        )

    def __bool__(self) -> bool:
        return bool(self.array)

    def __float__(self) -> float:
        return float(self.array)

    def __int__(self) -> int:
        return int(self.array)

    def __complex__(self) -> complex:
        return complex(self.array)

    def __index__(self) -> int:
        return self.get().__index__()

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        return self._made(self.array[_within(_bare(index), self.shape)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.array[_within(_bare(index), self.shape)] = self._given(value, "array[i] = v")

    def __repr__(self) -> str:
        return f"DeviceArray({self.get()!r}, on {self.device})"

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        positions = (1,) if method == "at" else ()
        for i, x in enumerate(inputs):
            if i not in positions and not isinstance(x, (DeviceArray, type(self.array), np.ndarray, *_NUMBERS)):
                return NotImplemented
        name = ufunc.__name__
        values = [
            _within(_bare(x), inputs[0].shape) if i in positions else self._given(x, name) for i, x in enumerate(inputs)
        ]
        if out is not None:
            if not all(isinstance(target, DeviceArray) for target in out):
                raise TypeError(f"{name}: out= is an array of NumPy's, the values are on {self.device}")
            options["out"] = tuple(target.array for target in out)
        function = whole = getattr(ufunc, method)
        if method != "__call__":
            function = INSTEAD.get((ufunc, method), function)
        elif ufunc in INSTEAD:
            function = INSTEAD[ufunc]
        elif getattr(np, name, None) is not ufunc:
            function = _special(self.array, name) or function
        found = _run(function, whole, values, {k: _bare(v) for k, v in options.items()}, self.array)
        return (out[0] if len(out) == 1 else out) if out is not None else self._made(found)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        whole = getattr(function, "function", None)
        if whole is not None:  # opaque
            if function.is_written:
                return function.written(*args, **options)
            return self._made(_on_host(whole, _bare(args), _bare(options), self.array))
        if not all(issubclass(kind, (DeviceArray, type(self.array), np.ndarray)) for kind in types):
            return NotImplemented
        name = function.__name__
        if name in CREATION:
            given = tuple(self._uploaded(x) for x in _bare(args)) if name in ("array", "asarray") else _bare(args)
            return self._made(function(*given, **_bare(options), like=self.array))
        if name in STATIC:
            given = (self._given(args[0], name), *map(self._uploaded if "take" in name else _listed, _bare(args[1:])))
        else:
            given = tuple(self._given(x, name) for x in args)
        given_options = {k: self._given(v, name) for k, v in options.items()}
        out = options.get("out")
        if name in ("take", "take_along_axis"):
            axis = options.get("axis", given[2] if len(given) > 2 else None)
            flat = (given[0].size,) if axis is None else given[0].shape
            _within((*[slice(None)] * (axis % len(flat) if axis is not None else 0), given[1]), flat)
        with _raising(self.array) if function.__module__ == "numpy.linalg" else nullcontext():
            found = _run(INSTEAD.get(function, function), function, given, given_options, self.array)
        return out if out is not None else self._made(found)

    def _given(self, x: Any, name: str) -> Any:
        """An argument as the device's functions take it."""
        if type(x) in (tuple, list):
            return type(x)(self._given(v, name) for v in x)
        if isinstance(x, np.ndarray):
            if x.size > 1:
                raise TypeError(
                    f"{name}: an array of shape {self.shape} on {self.device} and one of NumPy's of shape {x.shape}, "
                    f"in the processor's memory, do not mix; write tensor.to(other) first"
                )
            return x[()] if x.ndim == 0 else self._uploaded(x)
        return _bare(x)

    def _uploaded(self, x: Any) -> Any:
        return np.asarray(x, like=self.array) if isinstance(x, np.ndarray) else x

    def _made(self, found: Any) -> Any:
        """What a function of the device returned."""
        if isinstance(found, type(self.array)):
            own = getattr(found, "base", None)
            shares = own is not None and (own is self.array or own is getattr(self.array, "base", None))
            return DeviceArray(found, (self if self.base is None else self.base) if shares else None)
        if isinstance(found, (tuple, list)):
            made = [self._made(x) for x in found]
            return type(found)(*made) if hasattr(found, "_fields") else type(found)(made)
        if isinstance(found, (np.ndarray, np.generic)):
            return DeviceArray(np.asarray(found, like=self.array))
        return found


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np, name, None)

    def method(self: DeviceArray, *args: Any, **options: Any) -> Any:
        if name in (*REDUCED, "take"):  # whose options the device may not know, or which do not look at positions
            return self.__array_function__(function, (DeviceArray,), (self, *args), options)
        given = [_bare(a) if name in STATIC else self._given(a, name) for a in args]
        return self._made(getattr(self.array, name)(*given, **_bare(options)))

    method.__name__ = name
    return method


REDUCED = ("all", "any", "max", "mean", "min", "prod", "std", "sum", "var")
for _name in (
    *REDUCED, "argmax", "argmin", "argsort", "astype", "clip", "conj", "copy", "cumprod", "cumsum", "diagonal", "dot",
    "flatten", "nonzero", "ravel", "repeat", "reshape", "round", "squeeze", "swapaxes", "take", "trace", "transpose",
    "view",
):  # fmt: skip
    setattr(DeviceArray, _name, _method(_name))


def device_array(x: Any) -> Any:
    """An array of a type that copies to the processor by ``get()``, as a `DeviceArray`; anything else as it is."""
    kind = type(x)
    speaks = hasattr(kind, "get") and hasattr(kind, "__array_function__")
    return DeviceArray(x) if speaks and kind is not DeviceArray else x


ARRAYS: tuple[type[Any], ...] = (np.ndarray, DeviceArray)
"""Types of arrays that hold their numbers."""


# What stands for what the device has not


def _of_some(function: Any, combine: Any) -> Callable[..., Any]:
    """A reduction with NumPy's options: a first value, and a mask's, which others must not decide."""

    def reduced(x: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False, **more: Any) -> Any:
        initial = more.pop("initial", None)
        options = {k: v for k, v in (("dtype", dtype), ("out", out)) if v is not None} | {
            k: v for k, v in more.items() if not (k == "where" and v is True)
        }
        if initial is None or options.get("where") is not None:
            options |= {} if initial is None else {"initial": initial}
            return function(x, axis=axis, keepdims=keepdims, **options)
        if x.size == 0:  # where a maximum of nothing would be an error
            shape = np.sum(np.empty(x.shape, bool), axis=axis, keepdims=keepdims).shape
            return np.full_like(x, initial, shape=shape)
        return combine(function(x, axis=axis, keepdims=keepdims, **options), initial)

    return reduced


def _by_name(reduced: Callable[..., Any]) -> Callable[..., Any]:
    def named(a: Any, axis: Any = None, **options: Any) -> Any:
        return reduced(a, axis, **options)

    return named


def _scattered(x: Any, index: Any, values: Any) -> None:
    x.scatter_add(index, values)


def _vecdot(a: Any, b: Any) -> Any:
    return (a.conj() * b).sum(axis=-1)


_sum, _prod = _of_some(np.sum, np.add), _of_some(np.prod, np.multiply)
_max, _min = _of_some(np.max, np.maximum), _of_some(np.min, np.minimum)
INSTEAD: dict[Any, Callable[..., Any]] = {
    (np.add, "reduce"): _sum, (np.multiply, "reduce"): _prod, (np.maximum, "reduce"): _max,
    (np.minimum, "reduce"): _min, (np.add, "accumulate"): np.cumsum, (np.multiply, "accumulate"): np.cumprod,
    (np.add, "at"): _scattered, np.max: _by_name(_max), np.amax: _by_name(_max), np.min: _by_name(_min),
    np.amin: _by_name(_min), np.vecdot: _vecdot,
}  # fmt: skip


def _special(array: Any, name: str) -> Any:
    """SciPy's special function of that name in the package of an array."""
    home = _home(SPECIAL, array)
    return None if home is None else getattr(home, name, None)


def _home(homes: dict[str, str], array: Any) -> Any:
    found = homes.get(type(array).__module__.partition(".")[0])
    return None if found is None else import_module(found)


def random_numbers(rng: np.random.Generator, method: str, shape: tuple[int, ...], beside: Any, **options: Any) -> Any:
    """What a generator's method (such as "standard_normal") draws, where `beside` is; None for the processor's memory.

    On a device its own generator draws, Philox, begun anew with a number that rng draws. So rng's state is all that
    there is to keep, and the numbers are the same on all devices of a kind, but others than the processor's. A device
    whose generators have no such method is given those.
    """
    home: Any = None if beside is None else _home(RANDOM, beside.array)
    if home is None or not hasattr(home.Generator, method):
        numbers = getattr(rng, method)(size=shape, **options)
        return numbers if beside is None else np.asarray(numbers, like=beside)
    with on(beside):
        own = home.Generator(home.Philox4x3210(int(rng.integers(2**63))))
        return DeviceArray(getattr(own, method)(size=shape, **options))


def on(array: DeviceArray) -> Any:
    """A context in which arrays are made on the device of this one."""
    return array.device if hasattr(array.device, "__enter__") else nullcontext()


def _raising(array: Any) -> Any:
    """A context in which a matrix that has no inverse, or no Cholesky factor, is an error, as in NumPy."""
    if type(array).__module__.partition(".")[0] == "cupy":
        return import_module("cupyx").errstate(linalg="raise")
    return nullcontext()


def _within(index: Any, shape: tuple[int, ...]) -> Any:
    """The index, whose positions are looked at: CuPy takes those that are out of range modulo the length."""
    parts = index if type(index) is tuple else (index,)
    taken = [i.ndim if i.dtype.kind == "b" else 1 for i in parts if hasattr(i, "dtype")]
    taken += [1 for i in parts if i is not None and i is not Ellipsis and not hasattr(i, "dtype")]
    axis = 0
    for i in parts:
        if i is None:
            continue
        if i is Ellipsis:
            axis += len(shape) - sum(taken)
        elif not hasattr(i, "dtype"):
            axis += 1
        elif i.dtype.kind == "b":
            axis += i.ndim
        else:
            n = shape[axis] if axis < len(shape) else 0
            if i.size and axis < len(shape) and (int(i.min()) < -n or int(i.max()) >= n):
                far = int(i.max()) if int(i.max()) >= n else int(i.min())
                raise IndexError(f"index {far} is out of bounds for axis {axis} with size {n}")
            axis += 1
    return index


# On the processor, there and back


def _run(own: Any, whole: Any, args: Any, options: Any, like: Any) -> Any:
    try:
        return own(*args, **options)
    except (TypeError, AttributeError, NotImplementedError):
        return _on_host(whole, args, options, like)


def _on_host(function: Any, args: Any, options: Any, like: Any) -> Any:
    """What a function gives on the processor. What it writes into (``out=``, the first argument of ``ufunc.at``) it
    writes on the device."""
    kind, targets = type(like), []

    def moved(x: Any) -> Any:
        if isinstance(x, kind):
            targets.append((x, x.get()))
            return targets[-1][1]
        return type(x)(map(moved, x)) if type(x) in (tuple, list) else x

    found = function(*moved(tuple(args)), **{k: moved(v) for k, v in options.items()})
    written = found is None or "out" in options
    for there, here in targets if written else ():
        there[...] = np.asarray(here, like=like)
    return _back(found, like)


def _back(found: Any, like: Any) -> Any:
    if isinstance(found, (tuple, list)):
        made = [_back(x, like) for x in found]
        return type(found)(*made) if hasattr(found, "_fields") else type(found)(made)
    return np.asarray(found, like=like) if isinstance(found, (np.ndarray, np.generic)) else found


def _bare(x: Any) -> Any:
    """With the device's own arrays in place of those around them."""
    if type(x) is DeviceArray:
        return x.array
    if type(x) in (tuple, list):
        return type(x)(_bare(v) for v in x)
    return {k: _bare(v) for k, v in x.items()} if type(x) is dict else x


def _listed(x: Any) -> Any:
    return x.tolist() if isinstance(x, np.ndarray) else x
