"""The Tensor: an array that is also a node of the graph that computed it.

A Tensor keeps its array, its gradient, the primitive that made it and what it was made from. References point from
results to inputs only, so a graph is freed by reference counting as soon as its last output goes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from itertools import count
from sys import getrefcount
from typing import Any, cast

import numpy as np

from . import protocols
from .device_arrays import DeviceArray, device_array
from .leaving import refuse
from .methods import ArrayMethods
from .mode import derivative_is_taken, is_grad_enabled

clock = count().__next__
"""One counter for all threads. A result is always younger (has a larger number) than its inputs; assigning `.data`
makes a tensor young again, which is how `backward` sees that recorded data were replaced."""

Array = Any

HANDED_OUT, SHARED = 2, 0
"""In place of True and False in `_requires_grad`: the array was handed out (`Tensor.data`) or is another tensor's too,
so somebody may write it unseen; `settled` finds out. (``True | SHARED`` and ``True | HANDED_OUT`` are neither True nor
False, so that one look at several tensors finds the mark of each.)"""


class Tensor(ArrayMethods["Tensor"]):
    """An n-dimensional array that remembers how it was computed.

    Args:
        data: anything ``np.array`` takes: numbers, nested lists, arrays, or a constant Tensor; copied.
        requires_grad: whether operations on it are recorded and `backward` leaves the gradient in ``.grad``.
        dtype: a NumPy dtype of numbers; by default NumPy's choice (Python floats give float64, 1j complex128).
        name: shown in pictures and tables.

    Raises:
        TypeError: for object or string data, ``requires_grad=True`` on integers or booleans, or a Tensor that
            requires a gradient, whose derivative would end here (write ``t.detach()``, or ``t + 0`` for a copy).

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4.])
    """

    __slots__ = (
        "__weakref__",
        "_grad",
        "_hooks",
        "_inputs",
        "_line",
        "_name",
        "_ndarray",
        "_number",
        "_params",
        "_primitive",
        "_requires_grad",
    )  # fmt: skip

    _ndarray: Array
    _grad: Tensor | None
    _requires_grad: bool | int  # or HANDED_OUT, SHARED
    _name: str | None
    _primitive: Any  # the Primitive that made it, None for a leaf
    _inputs: tuple[Any, ...]  # what it was made from: Tensors, arrays, Python numbers; () for a leaf or a freed node
    _params: (
        dict[str, Any] | None
    )  # the primitive's keyword arguments; of a leaf: whether it is a transform's variable, the digest of an array that
    # was handed out, the tensor whose memory it shares, and the result whose values it was given
    _number: int
    _hooks: dict[Any, Any] | None  # of the reverse pass: users' functions, and the marks retain_grad, guard, shared
    _line: str | None  # the user's line, where recorded

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None, name: str | None = None) -> None:
        if isinstance(data, Tensor) and data._requires_grad:
            refuse(data, "new tensor")
        self._ndarray = as_array(data, dtype, copy=True)
        self._grad = self._primitive = self._params = self._hooks = self._line = None
        self._inputs = ()
        self._number = clock()
        self._requires_grad = False
        self.name = name
        if isinstance(data, Tensor) and dtype is None:
            values_of(data, self)
        if requires_grad is not False:
            if not isinstance(requires_grad, (bool, np.bool_)):
                raise TypeError(
                    f"Tensor: takes the data and requires_grad=True or False, not {requires_grad!r}; for a tensor of a "
                    f"given shape write ad.zeros(shape)"
                )
            self.requires_grad = requires_grad

    # What it holds

    @property
    def data(self) -> np.ndarray[Any, Any]:
        """The array, without copying. On a leaf it may be written (``p.data -= step``); on a result it is read-only,
        because backward needs the values that were computed. Assigning it to a result cuts the result's history.
        Where the array of a leaf or a constant is written after it was used (``p.data[0] = 1``, also through a kept
        alias, ``a = p.data; a[0] = 1``), backward through what was recorded before is an error."""
        if self._primitive is None:
            data = self._array()
            owner = self if self._params is None else self._params.get("of", self)
            if type(owner._requires_grad) is bool and _is_writable(data):
                owner._note("digest", digest(owner._ndarray))
                owner._requires_grad = HANDED_OUT if owner._requires_grad else SHARED
            return data
        view = self._ndarray[...]
        if isinstance(view, np.ndarray):
            view.flags.writeable = False
        return view

    @data.setter
    def data(self, value: Any) -> None:
        if isinstance(value, Tensor):
            array = value.data if value._primitive is None else value._ndarray.copy()  # a result's stays as it is
        else:
            array = as_array(value, None, copy=False)
        if self._requires_grad and array.dtype.kind not in "fc":
            raise TypeError(
                f"Tensor.data: a tensor that requires a gradient needs floating-point data, not {array.dtype}; "
                f"assign array.astype({self._ndarray.dtype}) or set requires_grad = False first"
            )
        if self._primitive is None and (array is not self._ndarray or self._params):
            notes = dict(self._params or {})
            owner = notes.pop("of", None)
            notes.pop("origin", None)
            if owner is not None and array is self._ndarray:
                owner._number = clock()
            else:
                self._requires_grad = HANDED_OUT if self._requires_grad else SHARED  # whoever has it may write it
                # Nothing to compare with: what was recorded before is old already.
                self._params = {**notes, "digest": None}
        self._ndarray = array
        self._number = clock()
        if self._primitive is not None:
            self._inputs = ()  # its history does not lead to these values: backward through it is an error

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient, a Tensor of this shape and dtype, or None. Filled by `backward`."""
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            value = value if isinstance(value, Tensor) else Tensor(value, dtype=self.dtype)
            if value.shape != self.shape or value.dtype != self.dtype:
                raise ValueError(
                    f"Tensor.grad: needs shape {self.shape} and dtype {self.dtype}, "
                    f"not shape {value.shape} and dtype {value.dtype}"
                )
        self._grad = value

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded. May be set on a leaf."""
        return bool(self._requires_grad)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"Tensor: requires_grad is True or False, not {value!r}")
        if self._primitive is not None:
            if bool(value) is bool(self._requires_grad):
                return
            raise RuntimeError("Tensor.requires_grad: this tensor is a result; use detach() to cut it from its graph")
        if value and self._ndarray.dtype.kind not in "fc":
            raise TypeError(
                f"Tensor: only floating-point tensors (real or complex) can require a gradient, not "
                f"{self._ndarray.dtype}; write 3.0 instead of 3, or pass dtype=float"
            )
        marked = type(self._requires_grad) is int
        self._requires_grad = (HANDED_OUT if value else SHARED) if marked else bool(value)

    @property
    def name(self) -> str | None:
        """What it is called in pictures and tables: a string, or None.

        Raises:
            TypeError: for anything else.
        """
        return self._name

    @name.setter
    def name(self, value: str | None) -> None:
        if value is not None and not isinstance(value, str):
            raise TypeError(f"Tensor: .name takes a string or None, not {value!r}")
        self._name = value

    @property
    def op(self) -> str | None:
        """Name of the operation that made this tensor, None for a leaf."""
        return None if self._primitive is None else self._primitive.name

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors this one was made from, in the operation's order; arrays and numbers appear as constants."""
        return tuple(x if isinstance(x, Tensor) else Tensor(x) for x in self._inputs)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self._primitive is None

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self._ndarray.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._ndarray.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._ndarray.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype."""
        return self._ndarray.dtype

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._ndarray.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._ndarray.nbytes

    def item(self, *index: Any) -> Any:
        """The value of a tensor of one element (or of the element at `index`) as a Python number."""
        if not index and self._ndarray.size != 1:
            raise ValueError(f"Tensor.item(): needs a tensor of one element, not shape {self.shape}; pass an index")
        return self._ndarray.item(*index)

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self._ndarray.tolist()

    def numpy(self) -> np.ndarray[Any, Any]:
        """The array itself, sharing memory; read-only if this tensor is a result.

        Raises:
            TypeError: for a tensor on a device (write ``t.cpu().numpy()``).
        """
        data: Any = self.data
        return data.__array__() if type(data) is DeviceArray else data  # which says what to write

    def detach(self) -> Tensor:
        """A constant with the same array (sharing memory), without history; read-only where this tensor requires a
        gradient. Where the memory is written after the constant was used, `backward` sees it."""
        view = np.asarray(self._ndarray)[...] if isinstance(self._ndarray, np.generic) else self._ndarray[...]
        if self._requires_grad and isinstance(view, np.ndarray):
            view.flags.writeable = False
        return values_of(self, shared(view, self))

    # Gradients (backward itself is in methods.py)

    def zero_grad(self) -> None:
        """Forget the gradient: sets ``.grad`` to None, and with it the graph it may hold."""
        self._grad = None

    def register_hook(self, function: Callable[[Tensor], Tensor | None]) -> HookHandle:
        """Call ``function(gradient)`` whenever this tensor's gradient is computed; what it returns (if not None)
        replaces the gradient. On a leaf it is called once, after all contributions are summed.

        >>> x = Tensor(3.0, requires_grad=True)
        >>> handle = x.register_hook(lambda g: 2 * g)
        >>> (x * x).backward()
        >>> x.grad
        Tensor(12.)
        >>> handle.remove()
        """
        if not self._requires_grad:
            raise RuntimeError("Tensor.register_hook: this tensor does not require a gradient, none will be computed")
        if not callable(function):
            raise TypeError(f"Tensor.register_hook: needs a function of the gradient, not {function!r:.80}")
        if self._hooks is None:
            self._hooks = {}
        handle = HookHandle(self._hooks)
        self._hooks[handle.key] = function
        return handle

    def retain_grad(self) -> None:
        """Have `backward` leave the gradient of this result in ``.grad``, as it does for leaves."""
        if not self._requires_grad:
            raise RuntimeError("Tensor.retain_grad: this tensor does not require a gradient")
        if self._primitive is not None:
            if self._hooks is None:
                self._hooks = {}
            self._hooks["retain_grad"] = None

    # How Python and NumPy see it

    __hash__ = object.__hash__

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        operation = None if kwargs or method != "__call__" else protocols.UFUNCS.get(ufunc)
        if operation is not None:
            return operation(*inputs)
        if "out" in kwargs and _only_values(inputs, kwargs["out"]):  # array += constant tensor
            return getattr(ufunc, method)(*[plain(x) for x in inputs], **kwargs)
        return protocols.array_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return protocols.array_function(function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self._requires_grad:
            refuse(self, "array")
        array = self._ndarray
        if dtype is not None and np.dtype(dtype) != array.dtype:
            if copy is False:
                raise ValueError(f"Tensor: a copy is needed to convert {array.dtype} to {np.dtype(dtype)}")
            return np.asarray(array.astype(dtype))
        return np.array(array, copy=True) if copy or is_foreign(array) else self.data

    def __len__(self) -> int:
        if self._ndarray.ndim == 0:
            raise TypeError("len() of a 0-d Tensor")
        return self._ndarray.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self._ndarray.ndim == 0:
            raise TypeError("iteration over a 0-d Tensor; use t.item() for its value")
        return (self[i] for i in range(self._ndarray.shape[0]))

    def _scalar(self, kind: str) -> Any:
        if self._ndarray.size != 1:
            raise TypeError(
                f"{kind}() of a Tensor needs one element, not shape {self.shape}; "
                f"reduce it first (t.sum(), t.mean(), t.any(), t.all()) or use t.tolist()"
            )
        return self._ndarray.item()

    def __bool__(self) -> bool:
        if is_foreign(self._ndarray):
            return bool(self._ndarray)
        return bool(self._scalar("bool"))

    def __float__(self) -> float:
        if self._requires_grad:
            refuse(self, "float")
        return float(self._scalar("float"))

    def __int__(self) -> int:
        if self._requires_grad:
            refuse(self, "int")
        return int(self._scalar("int"))

    def __trunc__(self) -> int:
        if self._requires_grad:
            refuse(self, "int")
        return int(self._scalar("int"))

    def __index__(self) -> int:
        if self._ndarray.ndim or self._ndarray.dtype.kind not in "iu":
            raise TypeError(f"only a 0-d integer Tensor can be an index, not shape {self.shape} and {self.dtype}")
        return int(self._ndarray)

    def __complex__(self) -> complex:
        if self._requires_grad:
            refuse(self, "complex")
        return complex(self._scalar("complex"))

    def __contains__(self, value: Any) -> bool:
        return bool((self._ndarray == (value._ndarray if isinstance(value, Tensor) else value)).any())

    def __setitem__(self, index: Any, value: Any) -> None:
        live = isinstance(value, Tensor) and value._requires_grad and is_grad_enabled()
        if live or (self._requires_grad and not self.is_written_in_place()):
            why = "writes into a recorded array and would make gradients wrong"
            if not self._requires_grad:
                why = "writes the numbers of v, which requires a gradient, into a constant, and would lose it"
            raise TypeError(
                f"t[i] = v {why}; write t = t.at[i].set(v) (or .at[i].add(v), .at[i].multiply(v)), a new Tensor with "
                f"gradients to both"
            )
        array = self._array()
        if not _is_writable(array):
            raise TypeError("t[i] = v: this tensor shares its memory with a recorded one; write t = t.copy() first")
        values = value._ndarray if isinstance(value, Tensor) else value
        try:
            array[plain(index)] = values
        except (TypeError, ValueError) as error:
            if not is_foreign(values) or is_foreign(array):
                raise
            raise TypeError(
                f"t[i] = v: an array of NumPy's has no room for v, {values!r}; write t = t.at[i].set(v), or make t by "
                f"np.zeros_like(x, shape=...) of an x of that kind"
            ) from error
        self._written()

    def _array(self) -> Array:
        """The array of a leaf or a constant, for whoever writes it."""
        if not isinstance(self._ndarray, np.ndarray) and not self._ndarray.ndim:  # a scalar, which nobody could write
            self._ndarray = self._ndarray[...]
        return self._ndarray

    def _written(self) -> None:
        """Note that the array was written: it is young again, and so is the tensor whose memory it shares."""
        self._number = clock()
        if self._params is not None and "of" in self._params:
            self._params["of"]._number = clock()

    def is_written_in_place(self) -> bool:
        """Whether ``t -= v`` and ``t[i] = v`` write into this tensor: a leaf of the user's that requires a gradient,
        under `no_grad`. (A transform's variable looks like a leaf, and is none of the user's.)"""
        return bool(self._requires_grad) and self._primitive is None and not is_grad_enabled() and not self.is_variable

    @property
    def is_variable(self) -> bool:
        """Whether a transform made this tensor, as a variable of the function that it differentiates."""
        return self._primitive is None and self._params is not None and "variable" in self._params

    def _note(self, key: str, value: Any) -> None:
        self._params = {**(self._params or {}), key: value}

    def __format__(self, spec: str) -> str:
        return format(self._ndarray.item(), spec) if spec and self._ndarray.size == 1 else format(repr(self), spec)

    def __repr__(self) -> str:
        there = type(self._ndarray) is DeviceArray
        if is_foreign(self._ndarray) and not there:
            text = repr(self._ndarray)
        else:
            values = self._ndarray.get() if there else np.asarray(self._ndarray)
            text = np.array2string(values, separator=", ", prefix="Tensor(")
        parts = [text if self._ndarray.size else f"{text}, shape={self.shape}"]
        if self._ndarray.dtype not in (np.float64, np.complex128, np.int64, np.bool_):
            parts.append(f"dtype={self._ndarray.dtype}")
        if there:
            parts.append(f"device={self._ndarray.device}")
        if self.name is not None:
            parts.append(f"name={self.name!r}")
        if self._primitive is not None:
            parts.append(f"op={self._primitive.name!r}")
        elif self._requires_grad:
            parts.append("requires_grad=True")
        return f"{type(self).__name__ if self._primitive is None else 'Tensor'}({', '.join(parts)})"

    # Copying and pickling in memory: leaves only, a graph belongs to the process that recorded it

    def __reduce__(self) -> Any:
        if self._primitive is not None:
            raise RuntimeError(
                "only leaf tensors can be copied or pickled, a graph belongs to the program that recorded it; write "
                "t.copy() for a copy with gradient, t.detach() or t.numpy() for the values alone, as in "
                "plt.plot(t.numpy())"
            )
        if self._requires_grad and derivative_is_taken():
            raise TypeError(
                "a copy of a tensor would leave the graph where a derivative of it is taken; write t.copy(), which has "
                "a gradient, or t.detach()"
            )
        grad = None if self._grad is None else self._grad.detach()
        state = (self._ndarray, grad, bool(self._requires_grad), self.name)
        return _blank, (type(self),), state

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._ndarray, self._grad, self._requires_grad, self.name = state


class HookHandle:
    """What `register_hook` returns; ``remove()`` takes the hook away; `key` is its place among the hooks."""

    def __init__(self, hooks: dict[Any, Any]) -> None:
        self._hooks, self.key = hooks, clock()

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self.key, None)


def _blank(cls: type[Tensor]) -> Tensor:
    tensor = cls.__new__(cls)
    tensor._grad = tensor._primitive = tensor._params = tensor._hooks = tensor._line = tensor._name = None
    tensor._inputs = ()
    tensor._number = clock()
    tensor._requires_grad = False
    return tensor


def wrap(array: Array) -> Tensor:
    """A constant around an array that is already fit to be one, without copying."""
    tensor = _new(Tensor)
    tensor._ndarray = array
    tensor._requires_grad = False
    tensor._inputs = ()
    tensor._number = clock()
    tensor._primitive = tensor._params = tensor._grad = tensor._hooks = tensor._line = tensor._name = None
    return tensor


_new = object.__new__


def variable(array: Array) -> Tensor:
    """A leaf that requires a gradient, made by a transform in place of an argument."""
    x = wrap(array)
    x._requires_grad = True
    x._params = _VARIABLE
    return x


_VARIABLE: dict[str, Any] = {"variable": True}


def shared(view: Array, x: Tensor) -> Tensor:
    """A constant around a view of the array of `x`: a write into either is seen at both."""
    constant, owner = wrap(view), owner_of(x)
    if owner._primitive is None:
        constant._params = {"of": owner}
        constant._requires_grad = SHARED
        if number_of(owner) > constant._number:  # found written just now, before this view was there
            constant._number = clock()
    elif isinstance(view, np.ndarray):
        view.flags.writeable = False  # of a result
    return constant


def values_of(x: Tensor, constant: Tensor) -> Tensor:
    """The constant, which was given the values of x; if x is a result, or was given those of one, that is noted."""
    if x._primitive is None and x._params is None:
        return constant
    n = x._number if x._primitive is not None else origin_of(x)
    if n is not None:
        origin = {"origin": (n, constant._number)}
        constant._params = origin if constant._params is None else constant._params | origin
    return constant


def origin_of(x: Tensor) -> int | None:
    """The number of the result whose values a leaf was given and has still, detached; None where none is known."""
    n, number = (None, 0) if x._params is None else x._params.get("origin", (None, 0))
    return n if n is not None and number_of(x) == number else None


def owner_of(x: Tensor) -> Tensor:
    """The tensor whose array holds the values of this one, if it is a view; itself otherwise."""
    while x._primitive is not None:
        base = getattr(x._ndarray, "base", None)
        source = None if base is None else holder(base, x._inputs)
        if source is None:
            return x
        x = source
    owner: Tensor = (x._params or {}).get("of", x)
    return owner


def holder(base: Any, inputs: tuple[Any, ...]) -> Tensor | None:
    """Which of the inputs of an operation has the memory that belongs to `base`, None where it is none of theirs."""
    for x in inputs:
        if isinstance(x, Tensor) and (x._ndarray is base or getattr(x._ndarray, "base", None) is base):
            return x
    return None


def settled(x: Tensor) -> int:
    """The number of a marked tensor, after looking whether its array was written since: then it is young again, and
    what was recorded before does not fit it any more. When nobody else has the array any more, the mark goes."""
    if x._params is not None and "of" in x._params:
        if number_of(x._params["of"]) > x._number:
            x._number = clock()
        return x._number
    handed_out = _references(x) > _ALONE
    data, notes = x._ndarray, dict(x._params or {})
    if is_foreign(data):  # it has no checksum to compare, and may stand in for one that has
        return x._number
    before = notes.pop("digest", None)
    handed_out = handed_out or getattr(data, "base", None) is not None
    if handed_out or before is not None:
        now = digest(data)
        if before is not None and now != before:
            x._number = clock()
        if handed_out:
            x._params = {**notes, "digest": now}
            return x._number
    x._params = notes or None
    x._requires_grad = bool(x._requires_grad)
    return x._number


def number_of(x: Tensor) -> int:
    """The number of a tensor, after looking whether its array, where others have it, was written."""
    return settled(x) if type(x._requires_grad) is int else x._number


def _references(leaf: Tensor) -> int:
    return getrefcount(leaf._ndarray)


_ALONE = _references(wrap(np.zeros(1)))
"""The count of an array that a leaf alone has (it depends on how Python counts while it calls)."""


def writable(leaf: Tensor) -> Array:
    """The array of a leaf for somebody who writes it and then assigns ``leaf.data = array``, which says that it was
    written; a copy, where the array itself is read-only."""
    data = leaf._ndarray
    if isinstance(data, np.generic):
        return np.asarray(data)
    return data if _is_writable(data) else data.copy()


def _is_writable(array: Array) -> bool:
    return not isinstance(array, np.ndarray) or array.flags.writeable


def _only_values(inputs: tuple[Any, ...], out: Any) -> bool:
    """Whether these are values alone, to be written into arrays: no tensor among them carries a derivative."""
    recording = is_grad_enabled()
    live = any(isinstance(x, Tensor) and x._requires_grad and recording for x in inputs)
    return not live and all(isinstance(target, np.ndarray) for target in out)


def digest(array: Array) -> Any:
    """What changes when the array does (but for one change in four billion): a checksum; of a large array those of the
    sums of its rows and columns, eight times as fast. (Rows of an odd length: in an even one, changes of the topmost
    bit, the sign, would cancel each other.)"""
    if not isinstance(array, np.ndarray):
        return None
    if array.nbytes < 8192:
        return zlib.crc32(cast(Any, np.ascontiguousarray(array)))
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    whole = flat.size - flat.size % (8 * 61)
    words = flat[:whole].view(np.uint64).reshape(-1, 61)
    return *(zlib.crc32(words.sum(axis)) for axis in (0, 1)), zlib.crc32(cast(Any, flat[whole:]))


def plain(value: Any) -> Any:
    """The value with every Tensor replaced by its array, also inside tuples, lists and slices (an index, say)."""
    if isinstance(value, Tensor):
        return value._ndarray
    if type(value) in (tuple, list):
        return type(value)(plain(v) for v in value)
    if isinstance(value, slice):
        return slice(*(int(v) if isinstance(v, Tensor) else v for v in (value.start, value.stop, value.step)))
    return value


def as_plain_array(array: Any, name: str) -> Any:
    """A subclass of ndarray as the plain array it holds.

    Raises:
        TypeError: for a masked array, whose mask would be lost, and `numpy.matrix`, whose ``*`` means another product.
    """
    if hasattr(array, "filled"):
        raise TypeError(
            f"{name}: a masked array is refused, its mask would be lost; write a.filled(value), or "
            f"np.where(a.mask, value, a.data)"
        )
    if isinstance(array, np.matrix):
        raise TypeError(f"{name}: numpy.matrix is refused, its * is another product; write np.asarray(m)")
    return np.asarray(array)


def is_foreign(value: Any) -> bool:
    """Whether this is an array of another type than NumPy's that speaks NumPy's two protocols (CuPy's, say): it is kept
    as it is, and what runs on it is what its type makes of NumPy's functions."""
    kind = type(value)
    return (
        kind not in NATIVE
        and getattr(kind, "__array_function__", None) is not None
        and getattr(kind, "__array_ufunc__", None) is not None
        and not isinstance(value, (np.ndarray, np.generic, Tensor))
    )


NATIVE = frozenset({
    Tensor, np.ndarray, np.float64, np.float32, float, int, bool, tuple, list, slice, str, type(None),
})  # fmt: skip
"""Types of usual values, none of which is a foreign array."""


def as_array(data: Any, dtype: Any = None, *, copy: bool) -> Array:
    """The array of `data`; the one place that wraps raw data and decides which dtypes a Tensor can have."""
    if isinstance(data, Tensor):
        data = data._ndarray
    if is_foreign(data):
        array = device_array(data.copy() if copy else data)
        array = array if dtype is None else array.astype(dtype)
    else:
        if isinstance(data, np.ndarray) and type(data) is not np.ndarray:
            data = as_plain_array(data, "Tensor")
        try:
            array = np.array(data, dtype=dtype, copy=True if copy else None)
        except ValueError as error:
            raise ValueError(f"Tensor: cannot make an array of {type(data).__name__}: {ragged(error)}") from None
    if isinstance(array, np.generic):
        array = np.asarray(array)
    if array.dtype.kind not in "fciub":
        raise TypeError(f"Tensor: dtype {array.dtype} is refused, {no_numbers(array)}")
    return array


def ragged(error: ValueError) -> str:
    """What NumPy says of lists that make no array, in plain words where their lengths differ."""
    if "inhomogeneous" not in str(error):
        return str(error)
    return "its lists have different lengths or depths; make them equal (pad the short ones), or keep them apart"


def no_numbers(array: Array) -> str:
    """Why an array is no array of numbers, and what to write instead."""
    if array.dtype.kind == "O" and array.size:
        first = array.flat[0]
        if hasattr(first, "tocsr"):
            return "a sparse matrix is no array; write ad.sparse_matmul(A, t), or A.toarray()"
        if all(isinstance(x, (int, float)) for x in array.flat):
            return "integers are held in 64 bits at most; write a larger one as a float"
        if all(hasattr(x, "__float__") for x in array.flat):
            return f"{type(first).__name__} is no number of NumPy's; write np.array(values, dtype=float)"
    return "a Tensor holds numbers (real or complex, integers or booleans)"
