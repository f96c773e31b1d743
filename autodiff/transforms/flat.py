"""A list of tensors seen as one real vector, as solvers and line searches want them; a complex entry is two numbers of
it, its real and its imaginary part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..devices import place_of, put
from ..tensor import Tensor, plain, writable

Array = np.ndarray[Any, Any]


def listed(where: str, params: Any) -> list[Tensor]:
    """Tensors in a list.

    Raises:
        TypeError: for anything but an iterable of Tensors; `where` begins the message.

    >>> listed("f", iter([Tensor(1.0)]))
    [Tensor(1.)]
    """
    if isinstance(params, (Tensor, Mapping, str)) or not isinstance(params, Iterable):
        raise TypeError(f"{where}: takes a list of Tensors, such as model.parameters(), not {type(params).__name__}")
    found = list(params)
    for p in found:
        if not isinstance(p, Tensor):
            raise TypeError(f"{where}: takes Tensors, such as model.parameters(), and got a {type(p).__name__}")
    return found


def view_as_real(array: Array) -> Array:
    """The same memory as real numbers, that of shape (...) as shape (..., 2); real arrays as they are.

    >>> view_as_real(np.array([1 + 2j, 3j])).tolist()
    [[1.0, 2.0], [0.0, 3.0]]
    """
    return array[..., None].view(array.real.dtype) if array.dtype.kind == "c" else array


def flatten(values: Sequence[Any], like: Sequence[Tensor] | None = None) -> Array:
    """The entries of Tensors or arrays in one vector (a copy, in the processor's memory), in order; a None among them
    stands for the zeros of the tensor of `like` in its place.

    >>> flatten([np.eye(2), Tensor([5.0])]).tolist()
    [1.0, 0.0, 0.0, 1.0, 5.0]
    """
    arrays = []
    for i, v in enumerate(values):
        if v is None and like is not None:
            v = np.zeros(like[i].size, like[i].dtype)
        array = put(v._ndarray if isinstance(v, Tensor) else v, None)
        arrays.append(np.ravel(view_as_real(array) if np.iscomplexobj(array) else array))
    return np.concatenate(arrays) if arrays else np.empty(0)


def split(vector: Array, like: Sequence[Any]) -> list[Array]:
    """Views of a vector in the shapes of `like`, and where these are.

    Raises:
        ValueError: if the vector has another number of entries.

    >>> [part.tolist() for part in split(np.arange(5.0), [np.eye(2), np.ones(1)])]
    [[[0.0, 1.0], [2.0, 3.0]], [4.0]]
    """
    sizes = [2 * x.size if x.dtype.kind == "c" else x.size for x in like]
    size = sum(sizes)
    if np.shape(vector) != (size,):
        raise ValueError(f"split: the parameters have {size} entries, the vector has shape {np.shape(vector)}")
    parts, start = [], 0
    for x, n in zip(like, sizes):
        part = vector[start : start + n]
        if x.dtype.kind == "c":
            part = np.ascontiguousarray(part).view(np.result_type(part.dtype, np.complex64))
        parts.append(put(part.reshape(x.shape), place_of(plain(x))))
        start += n
    return parts


def assign(params: Sequence[Tensor], vector: Array) -> None:
    """Write a vector into the parameters, in place.

    Raises:
        ValueError: if the vector has another number of entries.

    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> assign([w], np.array([3.0, 4.0]))
    >>> w
    Tensor([3., 4.], requires_grad=True)
    """
    for p, part in zip(params, split(vector, params)):
        w = writable(p)
        w[...] = part
        p.data = w  # assigning tells the engine that graphs recorded before no longer fit
