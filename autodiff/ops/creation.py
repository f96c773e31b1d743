"""Creation: new tensors from shapes, numbers and other tensors' shapes, with NumPy's names and signatures.

All of them take ``requires_grad=`` and ``name=``. NumPy's functions of a Tensor (``np.zeros_like(t)``,
``np.linspace(t, u)``) are these. Order: from nested lists, from a shape, from another tensor, ranges.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..device_arrays import device_array
from ..primitive import as_tensor, holds_tensors
from ..protocols import implements, optioned
from ..tensor import Tensor, as_array, is_foreign, plain, wrap
from .elementwise import astype, copy, exp, log, power
from .guards import checked_axis, common, raw
from .shape import broadcast_to, moveaxis, reshape, stack

__all__ = [
    "arange",
    "array",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "geomspace",
    "identity",
    "linspace",
    "logspace",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]  # fmt: skip


def _made(array: Any, requires_grad: bool = False, name: str | None = None) -> Tensor:
    """A tensor around an array that was made for it."""
    tensor = wrap(as_array(array, copy=False))
    if name is not None:
        if not isinstance(name, str):
            raise TypeError(f"Tensor: name= takes a string, not {name!r}")
        tensor.name = name
    if requires_grad:
        tensor.requires_grad = True
    return tensor


def _given(value: Any) -> Any:
    """A value that may be a Tensor with gradient; a list that holds Tensors becomes one."""
    return array(value) if isinstance(value, (list, tuple)) and holds_tensors(value) else value


def _beside(like: Any) -> Any:
    """An array as NumPy's ``like=`` takes it."""
    return device_array(plain(like)) if like is not None and is_foreign(plain(like)) else None


def _operates(*values: Any) -> bool:
    """Whether operations make the result: of Tensors with gradient, and of arrays that are not NumPy's, as a batch."""
    return any(is_foreign(plain(v)) or (isinstance(v, Tensor) and v.requires_grad) for v in values)


def _result(y: Tensor, what: str, requires_grad: bool, name: str | None) -> Tensor:
    """The result of a creation function that operations made."""
    if requires_grad and y.requires_grad:
        raise TypeError(f"{what}: an entry requires a gradient, so the result does; leave requires_grad= out")
    y.requires_grad = y.requires_grad or requires_grad
    if name is not None:
        y.name = name
    return y


def _named(what: str, make: Any, *args: Any, **options: Any) -> Any:
    """What NumPy makes of plain arguments; its errors with the function's name in front."""
    try:
        return make(*[plain(a) for a in args], **{k: plain(v) for k, v in options.items()})
    except (ValueError, TypeError, ArithmeticError, np.exceptions.AxisError) as error:
        shown = ", ".join([*map(repr, args), *(f"{k}={v!r}" for k, v in options.items() if v is not None)])
        kind = type(error) if type(error) in (TypeError, np.exceptions.AxisError) else ValueError
        hint = ""
        if what in ("zeros", "ones", "empty") and type(options["dtype"]) is int:
            hint = f"; a shape of several lengths is a tuple, {what}(({args[0]}, {options['dtype']}))"
        raise kind(f"{what}({shown}): {error}{hint}") from None


# From nested lists


@optioned
def array(object: Any, dtype: Any = None, *, requires_grad: bool = False, name: str | None = None) -> Tensor:
    """A tensor built from nested lists, as `numpy.array`, whose entries may be Tensors, with gradients to each.

    Args:
        object: nested lists and tuples of Tensors, arrays and numbers, all of one shape; or a Tensor, array or number.
        dtype: a NumPy real dtype; by default NumPy's choice, and where there are Tensors that to which the entries are
            promoted (Python's numbers are weak, as in operations).
        requires_grad: whether operations on it are recorded; only where no entry requires a gradient itself.
        name: shown in pictures and tables.

    Raises:
        ValueError: lists of different lengths or entries of different shapes, naming the two places.
        TypeError: an entry that is no real number, or ``requires_grad=True`` where an entry requires a gradient.

    >>> t = Tensor(0.5, requires_grad=True)
    >>> rotation = array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])
    >>> (rotation @ [1.0, 0.0]).sum().backward()
    >>> bool(np.isclose(t.grad.item(), np.cos(0.5) - np.sin(0.5)))
    True
    """
    entries: list[Any] = []
    _collect(object, entries)
    if dtype is None and any(isinstance(x, Tensor) or is_foreign(x) for x in entries):
        dtype = _promoted(entries)
    if not _operates(*entries):
        found = plain(object)
        _same_shapes(found, "")
        return _made(as_array(found, dtype, copy=True), requires_grad, name)
    y = as_tensor(_joined(object, np.dtype(dtype), ""), "array")
    return _result(copy(y) if y is object else y, "array", requires_grad, name)


def _collect(item: Any, entries: list[Any]) -> None:
    """Append the entries of nested lists in order."""
    if isinstance(item, (list, tuple)):
        for x in item:
            _collect(x, entries)
    else:
        entries.append(item)


def _same_shapes(item: Any, place: str) -> tuple[int, ...]:
    """The shape of nested lists of plain values."""
    if not isinstance(item, (list, tuple)):
        return np.shape(item)
    return (len(item), *_checked([_same_shapes(x, f"{place}[{i}]") for i, x in enumerate(item)], place))


def _joined(item: Any, dtype: Any, place: str) -> Any:
    """The tensor, or the plain array, of nested lists."""
    if isinstance(item, Tensor):
        return item if item.dtype == dtype else astype(item, dtype)
    if not isinstance(item, (list, tuple)):
        return as_array(item, dtype, copy=False)
    parts = [_joined(x, dtype, f"{place}[{i}]") for i, x in enumerate(item)]
    _checked([x.shape for x in parts], place)
    return np.array(parts, dtype) if all(type(x) is np.ndarray for x in parts) else stack(parts)


def _checked(shapes: list[tuple[int, ...]], place: str) -> tuple[int, ...]:
    """The one shape of the entries of a list."""
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(
                f"array: the entries of a list must have one shape, but {place}[0] has shape {shapes[0]} and "
                f"{place}[{i}] has shape {shape}"
            )
    return shapes[0] if shapes else ()


def _promoted(entries: list[Any]) -> np.dtype[Any]:
    values = [plain(x) for x in entries]
    weak = {type(x): x for x in values if type(x) in (bool, int, float)}
    strong = {as_array(x, copy=False).dtype for x in values if type(x) not in (bool, int, float)}
    return np.result_type(*strong, *weak.values())


# From a shape


@optioned
def zeros(
    shape: Any, dtype: Any = float, *, requires_grad: bool = False, name: str | None = None, like: Any = None
) -> Tensor:  # fmt: skip
    """A tensor of zeros.

    Args:
        shape: an integer or a tuple of them.
        dtype: a NumPy real dtype; float64 by default.
        requires_grad: whether operations on it are recorded.
        name: shown in pictures and tables.
        like: a tensor or an array on whose device it is made.

    Raises:
        ValueError: a negative length. TypeError: a dtype that is not real, or one that cannot carry a gradient.

    >>> zeros(2, requires_grad=True)
    Tensor([0., 0.], requires_grad=True)
    """
    return _made(_named("zeros", np.zeros, shape, dtype=dtype, like=_beside(like)), requires_grad, name)


@optioned
def ones(
    shape: Any, dtype: Any = float, *, requires_grad: bool = False, name: str | None = None, like: Any = None
) -> Tensor:  # fmt: skip
    """A tensor of ones; the arguments are those of `zeros`."""
    return _made(_named("ones", np.ones, shape, dtype=dtype, like=_beside(like)), requires_grad, name)


@optioned
def empty(
    shape: Any, dtype: Any = float, *, requires_grad: bool = False, name: str | None = None, like: Any = None
) -> Tensor:  # fmt: skip
    """A tensor of whatever the memory held; the arguments are those of `zeros`."""
    return _made(_named("empty", np.empty, shape, dtype=dtype, like=_beside(like)), requires_grad, name)


@optioned
def full(
    shape: Any, fill_value: Any, dtype: Any = None, *, requires_grad: bool = False, name: str | None = None,
    like: Any = None,
) -> Tensor:  # fmt: skip
    """A tensor filled with a value (or with one that broadcasts to the shape), which may be a Tensor with gradient.

    >>> full((2, 2), 3.0)
    Tensor([[3., 3.],
            [3., 3.]])
    """
    fill_value = _given(fill_value)
    if _operates(fill_value):
        y = broadcast_to(fill_value if dtype is None else astype(fill_value, dtype), shape)
        return _result(copy(y) if y is fill_value else y, "full", requires_grad, name)
    return _made(_named("full", np.full, shape, fill_value, dtype=dtype, like=_beside(like)), requires_grad, name)


@optioned
def eye(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: Any = float,
    *,
    requires_grad: bool = False,
    name: str | None = None,
) -> Tensor:
    """A matrix of N rows and M columns (N by default) with ones on its k-th diagonal, zeros elsewhere.

    >>> eye(2)
    Tensor([[1., 0.],
            [0., 1.]])
    """
    return _made(_named("eye", np.eye, N, M, k=k, dtype=dtype), requires_grad, name)


@optioned
def identity(n: int, dtype: Any = float, *, requires_grad: bool = False, name: str | None = None) -> Tensor:
    """The n × n identity matrix."""
    return _made(_named("identity", np.identity, n, dtype=dtype), requires_grad, name)


# From another tensor: its shape and dtype


@implements(np.zeros_like)
def zeros_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None,
    *, requires_grad: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """A constant of zeros with the shape and dtype of `a`, unless others are given.

    >>> zeros_like(Tensor([1.0, 2.0]))
    Tensor([0., 0.])
    """
    return _made(_named("zeros_like", np.zeros_like, a, dtype, order, subok, shape), requires_grad, name)


@implements(np.ones_like)
def ones_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None,
    *, requires_grad: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """A constant of ones with the shape and dtype of `a`, unless others are given."""
    return _made(_named("ones_like", np.ones_like, a, dtype, order, subok, shape), requires_grad, name)


@implements(np.empty_like)
def empty_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None,
    *, requires_grad: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """A constant of whatever the memory held, with the shape and dtype of `a`, unless others are given."""
    return _made(_named("empty_like", np.empty_like, a, dtype, order, subok, shape), requires_grad, name)


@implements(np.full_like)
def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None,
    *, requires_grad: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """A tensor filled with a value, which may be a Tensor with gradient, with the shape and dtype of `a`."""
    fill_value = _given(fill_value)
    if _operates(fill_value):
        like = np.empty_like(plain(a), dtype=dtype, shape=shape)
        return full(like.shape, fill_value, like.dtype, requires_grad=requires_grad, name=name)
    return _made(_named("full_like", np.full_like, a, fill_value, dtype, order, subok, shape), requires_grad, name)


# Ranges


@optioned
def arange(
    start: Any,
    stop: Any = None,
    step: Any = 1,
    dtype: Any = None,
    *,
    requires_grad: bool = False,
    name: str | None = None,
) -> Tensor:
    """Evenly spaced numbers from `start` (0 if `stop` is left out) up to, without, `stop`, as `numpy.arange`.

    Raises:
        TypeError: an end is a Tensor that requires a gradient, on which the length depends (see `linspace`).

    >>> arange(3.0)
    Tensor([0., 1., 2.])
    """
    if any(isinstance(v, Tensor) and v.requires_grad for v in (start, stop, step)):
        raise TypeError("arange: its length depends on the ends, so it has no derivative by them; use ad.linspace")
    start, stop = (0, start) if stop is None else (start, stop)
    return _made(_named("arange", np.arange, start, stop, step, dtype=dtype), requires_grad, name)


@implements(np.linspace)
def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
    axis: int = 0, *, requires_grad: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """`num` evenly spaced numbers from `start` to `stop`, as `numpy.linspace`; differentiable by both ends.

    Args:
        start: a number, or an array of them for many ranges at once; may be a Tensor with gradient, as `stop`.
        stop: the last number, unless `endpoint` is False.
        num: how many.
        endpoint: whether `stop` is one of them.
        retstep: return the distance as well.
        dtype: the result's dtype.
        axis: where, in the result, a range runs.

    >>> b = Tensor(1.0, requires_grad=True)
    >>> linspace(0.0, b, 3).sum().backward()
    >>> b.grad
    Tensor(1.5)
    """
    start, stop = _given(start), _given(stop)
    if not _operates(start, stop):
        values, distance = _named(
            "linspace", np.linspace, start, stop, num, endpoint=endpoint, retstep=True, dtype=dtype, axis=axis
        )
        y = _made(values, requires_grad, name)
        return (y, _made(distance)) if retstep else y
    parts = num - 1 if endpoint else num
    if num < 0:
        raise ValueError(f"linspace: the number of points must not be negative, not {num}")
    start, stop = (v if isinstance(v, (Tensor, int, float)) else wrap(np.asarray(v)) for v in (start, stop))
    width = stop - start
    weight = astype(reshape(np.arange(num) / (parts or 1), (num,) + (1,) * width.ndim), width.dtype)
    y = start * (1 - weight) + stop * weight
    if width.ndim:
        y = moveaxis(y, 0, checked_axis("linspace", axis, y.shape))
    y = _result(y if dtype is None else astype(y, dtype), "linspace", requires_grad, name)
    return (y, width / parts if parts > 0 else width * np.nan) if retstep else y


@implements(np.logspace)
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0,
    *, requires_grad: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """Powers of `base` whose exponents are evenly spaced, as `numpy.logspace`; differentiable by ends and base."""
    start, stop, base = _given(start), _given(stop), _given(base)
    if _operates(start, stop, base):
        y: Tensor = power(base, linspace(start, stop, num, endpoint, axis=axis))
        return _result(y if dtype is None else astype(y, dtype), "logspace", requires_grad, name)
    values = _named("logspace", np.logspace, start, stop, num, endpoint=endpoint, base=base, dtype=dtype, axis=axis)
    return _made(values, requires_grad, name)


@implements(np.geomspace)
def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0,
    *, requires_grad: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """`num` numbers with a constant ratio from `start` to `stop`, as `numpy.geomspace`; differentiable by both ends.

    Raises:
        ValueError: ends that are 0, or of different signs. TypeError: complex ends that require a gradient.

    >>> b = Tensor(8.0, requires_grad=True)
    >>> geomspace(2.0, b, 3).sum().backward()
    >>> b.grad
    Tensor(1.25)
    """
    start, stop = _given(start), _given(stop)
    if _operates(start, stop):
        start, stop = as_tensor(start, "geomspace"), as_tensor(stop, "geomspace")
        if "c" in (start.dtype.kind, stop.dtype.kind):
            raise TypeError(
                "geomspace: complex ends have no derivative here; write ad.exp(ad.linspace(ad.log(a), ad.log(b), num))"
            )
        sign = np.sign(raw(start))
        if not common(((sign != 0) & (sign == np.sign(raw(stop)))).all()):
            raise ValueError(f"geomspace: from {raw(start)} to {raw(stop)} there is no constant ratio; one sign, no 0")
        y: Tensor = exp(linspace(log(start * sign), log(stop * sign), num, endpoint)) * sign
        y = y if axis == 0 else moveaxis(y, 0, checked_axis("geomspace", axis, y.shape))
        return _result(y if dtype is None else astype(y, dtype), "geomspace", requires_grad, name)
    values = _named("geomspace", np.geomspace, start, stop, num, endpoint=endpoint, dtype=dtype, axis=axis)
    return _made(values, requires_grad, name)
