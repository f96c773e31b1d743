"""An array that hides its first axis, the examples of a batch.

A `Batch` looks like the array of one example: its shape, its axes and its indices are those of one, and what NumPy's
functions do with it they do for all at once. Forward functions, rules and whole reverse passes run on it as they run
on arrays. What NumPy's functions become is in functions.py. Order: errors, levels, alignment, the array, operators.
"""

from __future__ import annotations

import operator
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, NoReturn

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..leaving import user_level
from ..opaque import Opaque
from ..ops.guards import common
from ..ops.indexing import taken_by_others
from ..standing_in import METHODS, give_operators
from ..tensor import Tensor, is_foreign

quiet: ContextVar[bool] = ContextVar("autodiff_vmap_quiet", default=False)
"""Whether nobody who called `vmap` is there to be warned. (Python's own filters belong to all threads.)"""


class BatchError(TypeError):
    """Raised where a function does with a batch what it could do with one example alone."""


class PerformanceWarning(UserWarning):
    """`ad.vmap` runs an operation example by example, because it knows no way to run it for all at once."""


class Level:
    """One running `vmap`: its batches have so many examples, and lie inside those of the running ones around it.

    `watch` is put on duty in reverse passes that come from outside, see backward.py.
    """

    __slots__ = ("_watch", "depth", "size")

    def __init__(self, size: int, depth: int, watch: Callable[[Any, Level], Any]) -> None:
        self.size, self.depth, self._watch = size, depth, watch

    def watch(self, watch: Any) -> Any:
        """What looks at a reverse pass from outside, after another that does."""
        return self._watch(watch, self)

    def __repr__(self) -> str:
        return f"<{self.size} examples>"


def level_of(values: Iterable[Any]) -> Any:
    """The innermost level of the batches among values and in the tuples, lists and slices among them, None without."""
    found: Any = None
    for x in values:
        kind = type(x)
        if kind is Batch:
            level = x.level
        elif kind is tuple or kind is list:
            level = level_of(x)
        elif kind is slice:
            level = level_of((x.start, x.stop, x.step))
        else:
            continue
        if level is found or level is None:
            continue
        if found is None or level.depth > found.depth:
            found = level
        elif level.depth == found.depth:
            raise BatchError(
                "ad.vmap: a tensor of an ad.vmap that has ended is used in another one; return it from the function "
                "that was mapped, and give it to the other as an argument"
            )
    return found


def within(x: Any, level: Level) -> bool:
    """Whether a value differs between the examples of a level."""
    return isinstance(x, Batch) and x.level is level


def value_in(x: Any, level: Level, ndim: int | None = None) -> Any:
    """All examples of a value in one array, with axes of length 1 so that an example has `ndim` axes; a value that is
    the same for all, as it is."""
    if not within(x, level):
        return x
    value = x.value
    if ndim is not None and value.ndim - 1 < ndim:
        value = value.reshape((level.size,) + (1,) * (ndim + 1 - value.ndim) + value.shape[1:])
    return value


def spread_in(x: Any, level: Level) -> Any:
    """All examples of a value in one array, also of one that is the same for all."""
    if within(x, level):
        return x.value
    x = x if hasattr(x, "shape") else np.asarray(x)
    return np.broadcast_to(x, (level.size, *x.shape))


def laid_out(x: Any) -> Any:
    """All examples in one array, of every level, for who looks at the numbers; another value as it is."""
    while isinstance(x, Batch):
        x = x.value
    return x


def refilled(like: Any, array: Any) -> Any:
    """An array with as many elements as all examples have together as a batch like another, the way back from
    `laid_out`."""
    return Batch(like.level, refilled(like.value, array)) if isinstance(like, Batch) else array.reshape(like.shape)


def made(level: Level, value: Any, base: Batch | None = None) -> Any:
    """The batch of a result, or a tuple of them."""
    if isinstance(value, (tuple, list)):
        items = [made(level, v, base) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if value is None:
        return None
    return Batch(level, value, base)


def ndim_of(x: Any) -> int:
    """The axes of an example; `np.ndim` is a function that goes by the protocol, and takes longer."""
    return x.value.ndim - 1 if type(x) is Batch else x.ndim if hasattr(x, "ndim") else np.ndim(x)


FUNCTIONS: dict[Any, Callable[..., Any]] = {}
"""By function of NumPy's: what it is on batches of a level; filled in functions.py."""

OPAQUE: dict[str, Callable[..., Any]] = {}
"""The same by the name of a function that is taken whole."""


def _stacked(level: Level, function: Opaque, args: Any, kwargs: Any) -> Any:
    """A function that takes many examples as it takes one."""
    if function.stacks == "leading":
        axes = max(map(ndim_of, args))
        values = [
            value_in(Batch(level, spread_in(x, level)), level, axes) if within(x, level) or np.ndim(x) else x
            for x in args
        ]
        return made(level, function(*values, **kwargs))
    rows_of: tuple[int, ...] = function.stacks or ()  # type: ignore[assignment]
    many = [i for i, x in enumerate(args) if within(x, level)]
    if not set(many) <= set(rows_of) or len(args) <= max(rows_of, default=len(args)):
        return NotImplemented
    values = list(args)
    for i in rows_of:
        x = spread_in(args[i], level)
        rows = x.shape[1]
        values[i] = x.reshape((level.size * rows, *x.shape[2:]))
    result = function(*values, **kwargs)
    results = result if isinstance(result, tuple) else (result,)
    found = [Batch(level, y.reshape((level.size, rows, *y.shape[1:]))) for y in results]
    return tuple(found) if isinstance(result, tuple) else found[0]


def one_by_one(level: Level, function: Callable[..., Any], name: str, args: Any, kwargs: Any) -> Any:
    """A function run for each example, for want of anything better."""
    if not quiet.get():
        warnings.warn(
            f"ad.vmap: {name} is run {level.size} times, once for each example; it has no form for all at once",
            PerformanceWarning,
            stacklevel=user_level(),
        )
    return of_each(level, lambda i, *args, **kwargs: function(*args, **kwargs), name, args, kwargs)


def of_each(level: Level, function: Callable[..., Any], name: str, args: Any, kwargs: Any) -> Any:
    """The results of a function of an example's number, its arguments and its options."""
    if not level.size:
        raise BatchError(f"ad.vmap: {name} cannot be run for a batch of no examples")
    found = [
        function(i, *example(args, level, i), **{k: example(v, level, i) for k, v in kwargs.items()})
        for i in range(level.size)
    ]
    first = found[0]
    if isinstance(first, (tuple, list)):
        parts = [np.stack([np.asarray(x) if np.isscalar(x) else x for x in column]) for column in zip(*found)]
        return made(level, type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts))
    if first is None:
        return None
    return made(level, np.stack([np.asarray(x) if np.isscalar(x) else x for x in found]))


def example(x: Any, level: Level, i: int) -> Any:
    """What an example has of a value."""
    if within(x, level):
        return x.value[i]
    if type(x) in (tuple, list):
        return type(x)(example(v, level, i) for v in x)
    if isinstance(x, slice):
        return slice(*(example(v, level, i) for v in (x.start, x.stop, x.step)))
    return x


class Batch:
    """An array that looks like that of a single example; what NumPy's functions do with it they do for all examples.

    Args:
        level: the `vmap` that it belongs to.
        value: an array of shape (examples, …), also one of another type, such as a batch of the `vmap` around this one.
        base: the batch whose memory it shows.
    """

    __slots__ = ("base", "level", "value")
    __hash__ = object.__hash__

    def __init__(self, level: Level, value: Any, base: Batch | None = None) -> None:
        self.level, self.value = level, value
        self.base: Batch | None = None if base is None else base if base.base is None else base.base

    # What NumPy asks

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        if out is None and not options and method == "__call__" and ufunc.signature is None:
            result = _simple(ufunc, *inputs)
            if result is not None:
                return result
        for x in inputs:
            if isinstance(x, Tensor):
                return NotImplemented
        level = level_of((*inputs, *(out or ()), *options.values()))
        options = {key: value for key, value in options.items() if value is not None or key == "axis"}
        if method == "at":
            self._at(level, ufunc, *inputs)
            return None
        if method == "reduce":
            result = self._reduced(level, ufunc, inputs, options)
        elif method == "accumulate":
            x, axis = inputs[0], (inputs[1:] or (options.pop("axis", 0),))[0]
            result = ufunc.accumulate(x.value, axis=normalize_axis_index(axis, x.ndim) + 1, **options)
        elif method == "outer":
            a, b = inputs
            shape = (*a.shape, *(1,) * ndim_of(b)) if hasattr(a, "shape") else ()
            return ufunc(a.reshape(shape) if shape else a, b, **options)
        elif method == "__call__":
            result = self._called(level, ufunc, inputs, options)
        else:
            return one_by_one(level, getattr(ufunc, method), f"np.{ufunc.__name__}.{method}", inputs, options)
        if out is None:
            return made(level, result)
        results = result if isinstance(result, tuple) else (result,)
        where = options.get("where", True)
        for target, value in zip(out, results):
            if target is not None:
                _write(level, target, value, ufunc.__name__, where)
        return out[0] if len(out) == 1 else out

    def _called(self, level: Level, ufunc: Any, inputs: Any, options: dict[str, Any]) -> Any:
        if ufunc.signature is not None:
            return _core(level, ufunc, inputs, options)
        where = options.pop("where", True)
        if where is not True:
            raise BatchError(f"ad.vmap: np.{ufunc.__name__}: where= of a batch; write np.where(mask, np.f(x), other)")
        n = max(map(ndim_of, inputs))
        return ufunc(*(value_in(x, level, n) for x in inputs), **options)

    def _reduced(self, level: Level, ufunc: Any, inputs: Any, options: dict[str, Any]) -> Any:
        x, *axis = inputs
        given = axis[0] if axis else options.pop("axis", 0)
        options.pop("axis", None)
        n = x.ndim
        if given is None:
            axes = tuple(range(1, n + 1))
        elif n == 0 and not isinstance(given, tuple):
            axes = ()
        else:
            axes = tuple([i + 1 for i in normalize_axis_tuple(given, n)])
        where = options.pop("where", True)
        if where is not True:
            options["where"] = value_in(where, level, n)
        if within(options.get("initial"), level):
            raise BatchError(f"ad.vmap: np.{ufunc.__name__}.reduce: initial= differs between examples")
        return ufunc.reduce(spread_in(x, level), axis=axes, **options)

    def _at(self, level: Level, ufunc: Any, target: Any, index: Any, *values: Any) -> None:
        if not within(target, level):
            raise BatchError(
                f"ad.vmap: np.{ufunc.__name__}.at writes examples into an array that they share; make it in the "
                f"function by np.zeros_like(x)"
            )
        place = Place(target, index, level)
        ufunc.at(target.value, place.index, *(place.fitted(v, level) for v in values))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        for t in types:
            if issubclass(t, Tensor):
                return NotImplemented
        level = level_of((*args, *kwargs.values()) if kwargs else args)
        level = self.level if level is None else level  # of ``like=`` alone
        if isinstance(function, Opaque):
            form = OPAQUE.get(function.__name__)
            result = _stacked(level, function, args, kwargs) if form is None else form(level, *args, **kwargs)
            if result is not NotImplemented:
                return result
            return one_by_one(level, function, function.__name__, args, kwargs)
        form = FUNCTIONS.get(function)
        if form is not None and not kwargs:
            result = form(level, *args)
            if result is not NotImplemented:
                return result
        kwargs = {key: value for key, value in kwargs.items() if value is not None or key in ("axis", "axes")}
        name = f"np.{getattr(function, '__name__', function)}"
        if form is None:
            return one_by_one(level, function, name, args, kwargs)
        out = kwargs.pop("out", None)
        result = form(level, *args, **kwargs)
        if result is NotImplemented:
            result = one_by_one(level, function, name, args, kwargs)
        if out is None:
            return result
        _write(level, out, spread_in(result, level), name, True)
        return out

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        self._refuse(
            "a batch would become one NumPy array",
            "leave it to NumPy's functions and operators, and make what it picks from a Tensor: ad.Tensor(a)[i]",
        )

    @staticmethod
    def _refuse(what: str, instead: str) -> NoReturn:
        raise BatchError(f"ad.vmap: {what}; {instead}")

    def summed_rows(self) -> Any:
        """Of each matrix the sum of its rows, by BLAS, in a seventh of the time of a reduction."""
        y = self.value
        if type(y) is not np.ndarray or not y.size:
            return self.sum(axis=0)
        return Batch(self.level, np.matmul(np.ones(y.shape[1], y.dtype), y))

    # Shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        shape: tuple[int, ...] = self.value.shape[1:]
        return shape

    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim - 1)
    itemsize = property(lambda self: self.value.itemsize)
    strides = property(lambda self: self.value.strides[1:])
    flags = property(lambda self: self.value.flags)
    real: Any = property(lambda self: np.real(self) if self.dtype.kind == "c" else self)
    imag: Any = property(lambda self: np.imag(self))
    T = property(lambda self: Batch(self.level, self.value.transpose(0, *range(self.ndim, 0, -1)), self))
    mT = property(lambda self: self.swapaxes(-1, -2))

    @property
    def size(self) -> int:
        """Of one example."""
        n = 1
        for length in self.value.shape[1:]:
            n *= length
        return n

    nbytes = property(lambda self: self.size * self.itemsize)

    def reshape(self, *shape: Any, order: Any = "C") -> Batch:
        """As NumPy's."""
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], (int, np.integer)) else shape
        wanted = _known_shape(tuple(map(operator.index, wanted)), self.shape)
        if order not in ("C", "A"):
            if order != "F":
                raise ValueError(f"order must be one of 'C', 'F' or 'A' (got {order!r})")
            return self.transpose().reshape(wanted[::-1]).transpose()
        return Batch(self.level, self.value.reshape((self.level.size, *wanted)), self)

    def ravel(self, order: Any = "C") -> Batch:
        """As NumPy's; the order of memory is that of an example."""
        return self.reshape(-1, order="F" if order == "F" else "C")

    def flatten(self, order: Any = "C") -> Batch:
        """As NumPy's."""
        return self.ravel(order).copy()

    def squeeze(self, axis: Any = None) -> Batch:
        """As NumPy's."""
        n = self.ndim
        if axis is None:
            axes = tuple(i + 1 for i, length in enumerate(self.shape) if length == 1)
        else:
            axes = tuple(i + 1 for i in normalize_axis_tuple(axis, n))
        return Batch(self.level, self.value.squeeze(axes), self)

    def transpose(self, *axes: Any) -> Batch:
        """As NumPy's."""
        given = axes[0] if len(axes) == 1 and not isinstance(axes[0], (int, np.integer)) else axes
        n = self.ndim
        order = tuple(range(n))[::-1] if not given else normalize_axis_tuple(given, n)
        if len(order) != n:
            raise ValueError("axes don't match array")
        return Batch(self.level, self.value.transpose((0, *(i + 1 for i in order))), self)

    def swapaxes(self, a: int, b: int) -> Batch:
        """As NumPy's."""
        a, b = normalize_axis_index(a, self.ndim), normalize_axis_index(b, self.ndim)
        return Batch(self.level, self.value.swapaxes(a + 1, b + 1), self)

    def astype(
        self, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True
    ) -> Batch:
        """As NumPy's."""
        dtype = np.dtype(dtype)
        if dtype == self.dtype and not copy:
            return self
        return Batch(self.level, self.value.astype(dtype, casting=casting))

    def copy(self, order: Any = "C") -> Batch:
        """As NumPy's."""
        return Batch(self.level, self.value.copy())

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Batch:
        return self.copy()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self._refuse("a batch would be written to a file", "return it from the function, and save that")

    def view(self, dtype: Any = None, *_: Any) -> Batch:
        """The same values, or their bytes as those of another dtype."""
        other = dtype is not None and not (isinstance(dtype, type) and issubclass(dtype, np.ndarray))
        return Batch(self.level, self.value.view(dtype) if other else self.value, self)

    def __getitem__(self, index: Any) -> Any:
        return get(self, index, level_of((self, index)))

    def __setitem__(self, index: Any, value: Any) -> None:
        level = level_of((self, index, value))
        if level is not self.level:
            raise BatchError(
                "ad.vmap: examples are written into an array that they share; make it in the function by "
                "np.zeros_like(x)"
            )
        array = laid_out(self)
        if isinstance(array, np.ndarray) and not array.flags.writeable:
            raise BatchError("ad.vmap: x[i] = v writes into what the function was given; write x = x.copy() first")
        place = Place(self, index, level)
        self.value[place.index] = place.fitted(value, level)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        n: int = self.value.shape[1]
        return n

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    # Values

    def __bool__(self) -> bool:
        if sys._getframe(1).f_code is common.__code__:  # the other branch is right for all
            value = self.value
            while isinstance(value, Batch):
                value = value.value
            return common(value.all())
        self._refuse(
            "a branch depends on values that differ between examples",
            "write np.where(condition, a, b), or call the function for each example",
        )

    def _number(self, *_: Any) -> NoReturn:
        self._refuse(
            "a value that differs between examples is used as a Python number",
            "compute with the array (no float(), int(), .item(), range())",
        )

    __float__ = __int__ = __index__ = __complex__ = item = tolist = _number

    def nonzero(self) -> NoReturn:
        """Refused."""
        self._refuse("nonzero() has another shape for each example", "use np.where(mask, a, b)")

    def __repr__(self) -> str:
        return f"<{self.level.size} examples of {self.dtype}{list(self.shape)}>"

    def __getattr__(self, name: str) -> Any:
        function = METHODS.get(name)
        if function is not None:
            return lambda *args, **kwargs: function(self, *args, **kwargs)
        if hasattr(np.ndarray, name) and not name.startswith("__"):
            self._refuse(f".{name} of a batch", "write it with NumPy's functions and operators")
        raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")


def _known_shape(wanted: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which −1 stands for what is left."""
    if -1 not in wanted:
        return wanted
    known, total = 1, 1
    for n in wanted:
        known *= n if n != -1 else 1
    for n in shape:
        total *= n
    if wanted.count(-1) > 1 or (total % known if known else True):
        raise ValueError(f"cannot reshape array of size {total} into shape {wanted}")
    return tuple(total // known if n == -1 else n for n in wanted)


def _write(level: Level, target: Any, value: Any, name: str, where: Any) -> None:
    if not within(target, level):
        raise BatchError(
            f"ad.vmap: {name}: examples are written into an array that they share; make a new array, a = a + b"
        )
    if not np.can_cast(value.dtype, target.dtype, "same_kind"):
        raise BatchError(f"ad.vmap: {name}: {value.dtype} is not written into {target.dtype}; write a = a + b")
    if where is not True:
        value = np.where(value_in(where, level, target.ndim), value, target.value)
    if value.ndim < target.value.ndim:
        value = value.reshape((level.size,) + (1,) * (target.value.ndim - value.ndim) + value.shape[1:])
    target.value[...] = value


def _simple(ufunc: Any, a: Any, b: Any = None, *more: Any) -> Any:
    """A ufunc of a batch, or of two things of which one is a batch and the other that of the same level, an array or a
    number; None for all others."""
    if more:
        return None
    if b is None:
        return made(a.level, ufunc(a.value))
    if type(a) is Batch:
        level, x = a.level, a.value
        if type(b) is Batch:
            if b.level is not level:
                return None
            y = b.value
            if x.ndim != y.ndim:
                n = max(x.ndim, y.ndim) - 1
                x, y = value_in(a, level, n), value_in(b, level, n)
        elif _shared(b):
            y = b
            if x.ndim <= np.ndim(b):
                x = value_in(a, level, y.ndim)
        else:
            return None
    elif type(b) is Batch and _shared(a):
        level, x, y = b.level, a, b.value
        if y.ndim <= np.ndim(a):
            y = value_in(b, level, x.ndim)
    else:
        return None
    return made(level, ufunc(x, y))


def _shared(x: Any) -> bool:
    return type(x) is np.ndarray or isinstance(x, (int, float, complex, np.generic))


def _core(level: Level, ufunc: Any, inputs: Any, options: dict[str, Any]) -> Any:
    """A ufunc of whole vectors and matrices, as np.matmul: what comes before these is broadcast."""
    if any(key in options for key in ("axis", "axes")):
        return one_by_one(level, ufunc, f"np.{ufunc.__name__}", inputs, options).value
    if ufunc is np.matmul:
        return _product(level, *inputs, **options)
    cores = [part.count(",") + bool(part) for part in ufunc.signature.split("->")[0][1:-1].split("),(")]
    loops = [ndim_of(x) - core for x, core in zip(inputs, cores)]
    return ufunc(*(value_in(x, level, max(loops) + core) for x, core in zip(inputs, cores)), **options)


def _product(level: Level, a: Any, b: Any, **options: Any) -> Any:
    """All examples of ``a @ b``."""
    n, m = ndim_of(a), ndim_of(b)
    if not n or not m:
        raise ValueError("matmul: Input operand does not have enough dimensions")
    return product_of(level, a, b, n, m, **options)


def product_of(level: Level, a: Any, b: Any, n: int, m: int, **options: Any) -> Any:
    """The same of so many axes, one at least: where the examples share a matrix, one product for all of them."""
    many_a, many_b = within(a, level), within(b, level)
    x, y = a.value if many_a else a, b.value if many_b else b
    if n == m == 2 and (many_b or not x.size):
        outer = many_a and many_b and x.shape[-1] == y.shape[-2] == 1 and x.dtype == y.dtype and not options
        return x * y if outer else np.matmul(x, y, **options)  # in a third of the time
    if many_a and not many_b and m <= 2:
        if n == 2 and x.size and m == 2 and x.flags.c_contiguous:
            return np.matmul(x.reshape((-1, x.shape[-1])), y, **options).reshape((*x.shape[:-1], y.shape[-1]))
        return np.matmul(x, y, **options)
    if many_b and not many_a and n <= 2:
        if m == 1:  # A y for each y is y Aᵀ for all
            return np.matmul(y, x if n == 1 else x.swapaxes(-1, -2), **options)
        if n == 1:
            return np.matmul(x, y, **options)
    if n == 1 and m == 2 and many_a and many_b:
        return np.matmul(x[:, None], y, **options)[:, 0]
    if m == 1:
        y = y[..., None] if many_b else y[:, None]
    if n == 1:
        x = x[..., None, :] if many_a else x[None, :]
    axes = max(n, m, 2)
    x = x.reshape((level.size, *(1,) * (axes + 1 - x.ndim), *x.shape[1:])) if many_a else x
    y = y.reshape((level.size, *(1,) * (axes + 1 - y.ndim), *y.shape[1:])) if many_b else y
    result = np.matmul(x, y, **options)
    if n == 1:
        result = result[..., 0, :]
    return result[..., 0] if m == 1 else result


# Indices


def get(x: Any, index: Any, level: Level) -> Any:
    """``x[index]`` for each example, where one or both differ between them."""
    place = Place(x, index, level)
    if place.shared_front and not within(x, level):
        return get(Batch(level, spread_in(x, level)), index, level)
    result = Batch(level, picked(x.value if within(x, level) else x, place.index), x if place.basic else None)
    if place.moved:
        order = list(range(result.value.ndim))
        del order[1 : 1 + place.moved]
        order[1 + place.front : 1 + place.front] = range(1, 1 + place.moved)
        result.value = result.value.transpose(order)
    return result


def picked(array: Any, index: tuple[Any, ...]) -> Any:
    """``array[index]``, where positions may be of another array type, such as the batches of a level further out."""
    foreign = isinstance(array, np.ndarray) and any(map(is_foreign, index))
    return taken_by_others(array, index) if foreign else array[index]


class Place:
    """An index of one example as that of all examples.

    Where positions meet, NumPy puts their axes in the place of the first, or in front if a slice stands between them.
    Where every example has its own, they come right behind the examples, and are `moved` behind the `front` axes.
    """

    def __init__(self, x: Any, index: Any, level: Level) -> None:
        parts = _expanded(index, x.ndim, level)
        where = [k for k, i in enumerate(parts) if i is not None and not isinstance(i, slice)]
        self.basic = not any(hasattr(parts[k], "shape") and np.ndim(parts[k]) for k in where if not _many(parts[k]))
        self.basic = self.basic and not any(_many(parts[k]) for k in where)
        together = bool(where) and where == list(range(where[0], where[-1] + 1))
        many = any(within(parts[k], level) for k in where)
        shape = np.broadcast_shapes(*(parts[k].shape for k in where if hasattr(parts[k], "shape")))
        axes = 0 if self.basic else len(shape)
        self.ndim = len(parts) - len(where) + axes
        self.front, self.moved = (where[0], axes) if together and many else (0, 0)
        self.shared_front = bool(self.front)
        if not self.front:
            self.moved = 0
        if many or not (self.basic or together):
            self.index = self._own(x, parts, where, level, axes)
        else:
            self.index = (slice(None), *parts)

    def _own(self, x: Any, parts: list[Any], where: list[int], level: Level, axes: int) -> tuple[Any, ...]:
        """Each example's own positions."""
        own = [value_in(i, level, axes) if k in where else i for k, i in enumerate(parts)]
        return (np.arange(level.size).reshape((level.size,) + (1,) * axes), *own) if within(x, level) else tuple(own)

    def fitted(self, value: Any, level: Level) -> Any:
        """What is written there, with its axes as the index of all examples has them."""
        many = within(value, level)
        value = value.value if many else value if hasattr(value, "shape") else np.asarray(value)
        missing = self.ndim - (value.ndim - many)
        if missing > 0 and (many or self.moved):
            value = value.reshape((level.size,) * many + (1,) * missing + value.shape[many:])
        if not self.moved:
            return value
        order = list(range(value.ndim))
        block = order[many + self.front : many + self.front + self.moved]
        del order[many + self.front : many + self.front + self.moved]
        order[many:many] = block
        return value.transpose(order)


def _many(i: Any) -> bool:
    return isinstance(i, Batch)


def _expanded(index: Any, ndim: int, level: Level) -> list[Any]:
    """An index with a part for every axis: no Ellipsis, positions in place of masks."""
    found: list[Any] = []
    for part in index if type(index) is tuple else (index,):
        i = np.asarray(part) if isinstance(part, (list, bool)) else part
        if getattr(getattr(i, "dtype", None), "kind", "") == "b":
            if _many(i):
                raise BatchError(
                    "ad.vmap: a mask as an index gives another shape for each example; use np.where(mask, a, b)"
                )
            if not i.ndim:
                raise BatchError(f"ad.vmap: one truth value as an index, x[{i}], adds an axis; write x[None]")
            found += np.nonzero(i)
        else:
            found.append(i)
    rest = [slice(None)] * (ndim - sum(i is not None and i is not Ellipsis for i in found))
    dots = [k for k, i in enumerate(found) if i is Ellipsis]
    if dots:
        found[dots[0] : dots[0] + 1] = rest
    else:
        found += rest
    return found


# Operators


def _power(x: Any, exponent: Any) -> Any:
    """``x ** p``, for which NumPy's arrays have short cuts where p is a number."""
    if type(exponent) in (int, float):
        return Batch(x.level, x.value**exponent)
    return np.power(x, exponent)


def _in_place(ufunc: Any) -> Callable[..., Any]:
    def apply(self: Batch, other: Any) -> Any:
        if isinstance(other, Batch) and other.level.depth > self.level.depth:
            return ufunc(self, other)  # another name for it then shows other values than this one
        x, y = self.value, other.value if isinstance(other, Batch) and other.level is self.level else None
        if y is not None and x.shape == y.shape and x.dtype == y.dtype and x.dtype.kind in "fc" and type(x) is type(y):
            ufunc(x, y, out=x)
        else:
            _write(self.level, self, ufunc(self, other).value, ufunc.__name__, True)
        return self

    return apply


def _called(ufunc: Any, a: Any, b: Any) -> Any:
    found = _simple(ufunc, a, b) if ufunc.signature is None else None
    return ufunc(a, b) if found is None else found


give_operators(Batch, _power, _in_place, _called)
