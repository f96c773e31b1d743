"""Batches of arrays that belong together, or of a data set's samples, gone through as often as one likes, in order or
shuffled, and changed on their way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .device_arrays import ARRAYS, device_array
from .devices import as_numpy, put
from .flags import flagged
from .tensor import Tensor, is_foreign, plain, wrap

Rows = Any
"""An array, a Tensor, or a tuple of them; or `Samples`."""


@flagged
def batches(
    X: Rows,
    y: Rows = None,
    batch_size: int | None = 32,
    shuffle: bool = False,
    rng: np.random.Generator | int | None = None,
    drop_last: bool = False,
) -> Batches:
    """Cut arrays into batches along their first axis.

    Args:
        X: an array or Tensor of N samples, or a tuple of them; anything else is made an array. Or a data set: an object
            with ``__len__`` and ``__getitem__`` and without ``__iter__``, whose items are samples, each a pair (x, y)
            (or x alone) of arrays or numbers; they are taken one by one and stacked.
        y: likewise, the targets; without them the batches are those of X alone.
        batch_size: samples in a batch; None for all in one.
        shuffle: draw a new order (``rng.permutation(N)``) each time the batches are gone through.
        rng: the generator to draw from, or a seed; a fresh one by default.
        drop_last: leave the last batch out if it is smaller.

    Returns:
        An object that can be iterated over again and again and has a length, the number of batches. It gives pairs of
        batches of X and y, arrays for arrays, Tensors for Tensors, tuples for tuples. In order, batches of arrays are
        views; shuffled, they are copies.

    Raises:
        ValueError: for no samples, for X and y of different lengths, or a batch size less than 1.
        TypeError: for a number in place of an array, or a wrong `rng`.

    >>> data = batches(np.arange(5), np.arange(5) ** 2, batch_size=2)
    >>> len(data)
    3
    >>> for x, y in data:
    ...     print(x, y)
    [0 1] [0 1]
    [2 3] [4 9]
    [4] [16]
    """
    return Batches(X, y, batch_size, shuffle, rng, drop_last)


class Batches:
    """What `batches` returns.

    Args:
        X, y, batch_size, shuffle, rng, drop_last: see there.
    """

    def __init__(
        self,
        X: Rows,
        y: Rows = None,
        batch_size: int | None = 32,
        shuffle: bool = False,
        rng: np.random.Generator | int | None = None,
        drop_last: bool = False,
    ) -> None:
        self.rng = drawing(rng, "batches")
        if y is None and is_data_set(X):
            X = Samples(X, "batches: X")
        self.X = X if isinstance(X, Samples) else rows(X, "batches: X")
        self.y = None if y is None else rows(y, "batches: y")
        self.samples = common_length({"X": self.X} if y is None else {"X": self.X, "y": self.y}, "batches")
        self.batch_size = checked_size(batch_size, self.samples, "batches")
        self.shuffle, self.drop_last = bool(shuffle), bool(drop_last)
        self.rank, self.ranks = 0, 1

    def part(self, rank: int, ranks: int) -> Batches:
        """The same batches, and of each only the rows of this rank; drawn from the same generator."""
        part = copy.copy(self)
        part.rank, part.ranks = rank, ranks
        return part

    def __len__(self) -> int:
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        order = self.rng.permutation(self.samples) if self.shuffle else None
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            n = min(self.batch_size, self.samples - start)
            chosen: Any = slice(start + n * self.rank // self.ranks, start + n * (self.rank + 1) // self.ranks)
            if order is not None:
                chosen = order[chosen]
            x = _taken(self.X, chosen)
            yield x if self.y is None else (x, _taken(self.y, chosen))

    def __repr__(self) -> str:
        how = ", shuffled" if self.shuffle else ""
        return f"Batches({len(self)} of {self.batch_size} from {self.samples} samples{how})"


class Samples:
    """The samples of a data set, taken one by one.

    Args:
        data: an object with a length and items.
        where: begins the messages of errors.
    """

    def __init__(self, data: Any, where: str) -> None:
        self.data, self.where = data, where

    def __len__(self) -> int:
        return len(self.data)

    def taken(self, chosen: Any) -> Any:
        """Those at a slice or an array of positions, stacked.

        Raises:
            ValueError: for samples of different shapes, or of different numbers of parts. TypeError: for dicts.
        """
        places = range(len(self))[chosen] if isinstance(chosen, slice) else chosen.tolist()
        if not len(places):  # of a batch with fewer samples than ranks
            return _taken(self.taken(slice(0, 1)), slice(0, 0))
        items = [self.data[i] for i in places]
        return self._stacked([tuple(item) if isinstance(item, list) else item for item in items])

    def _stacked(self, items: list[Any]) -> Any:
        if isinstance(items[0], tuple):
            if len({len(item) if isinstance(item, tuple) else 0 for item in items}) > 1:
                raise ValueError(f"{self.where}: the samples of a data set have as many parts, one and all")
            return tuple(self._stacked(list(parts)) for parts in zip(*items))
        if isinstance(items[0], Mapping):
            raise TypeError(
                f"{self.where}: the samples of a data set are tuples (x, y), not {type(items[0]).__name__}; make them "
                f"so in its __getitem__"
            )
        arrays = [_array(item) for item in items]
        if len(shapes := {a.shape for a in arrays}) > 1:
            raise ValueError(f"{self.where}: samples of shapes {sorted(shapes)} cannot be stacked to a batch")
        return np.stack(arrays)


class Changed:
    """Batches, each as a function of x and y returns it, whenever they are gone through.

    Args:
        batches: of pairs (x, y).
        change: called with them; returns such a pair.
        where: begins the messages of errors.
    """

    def __init__(self, batches: Any, change: Callable[[Any, Any], Any], where: str) -> None:
        self.batches, self.change, self.where = batches, change, where

    def part(self, rank: int, ranks: int) -> Changed:
        """The same, of a part of each batch."""
        return Changed(self.batches.part(rank, ranks), self.change, self.where)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            yield self.change(*pair(batch, self.where))


# For who takes data


def drawing(rng: Any, where: str) -> np.random.Generator:
    """The generator to draw from: the one given, that of a seed, or a fresh one.

    Raises:
        TypeError: for anything else.
    """
    seed = rng is None or (isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and rng >= 0)
    if not (seed or isinstance(rng, np.random.Generator)):
        raise TypeError(
            f"{where}: rng= takes a numpy.random.Generator such as np.random.default_rng(0), or a seed, not {rng!r}"
        )
    return np.random.default_rng(rng)


def is_data_set(data: Any) -> bool:
    """Whether this is an object with a length and items that nobody goes through, and no array."""
    has, without = ("__len__", "__getitem__"), ("__iter__", "__array__")
    return all(hasattr(data, name) for name in has) and not any(hasattr(data, name) for name in without)


def as_batches(
    data: Any, batch_size: Any, rng: np.random.Generator | None, dtype: Any, where: str, beside: Any = None
) -> Any:  # fmt: skip
    """(X, y), or a data set, as batches of Tensors, in a new order in each epoch if there is a generator; batches as
    they are.

    Floating-point arrays are cast to `dtype`, if there is one, and put where
    `beside` is (see `devices.put`); `where` begins the messages of errors.

    Raises:
        TypeError: for anything else.
        ValueError: for X and y of different lengths, and for NaN or infinity in them, naming array and row.
    """
    if is_data_set(data):
        checked_size(batch_size, common_length({"data": (samples := Samples(data, where))}, where), where)
        batches = Batches(samples, None, batch_size, shuffle=rng is not None, rng=rng)
        return Changed(batches, lambda x, y: as_constants(x, y, dtype, where, beside), where)
    if not isinstance(data, tuple):
        if isinstance(data, (np.ndarray, Tensor, Mapping, str)) or not hasattr(data, "__iter__"):
            raise TypeError(
                f"{where} takes a tuple (X, y), batches (x, y), or a data set (with a length and items (x, y)), not "
                f"{type(data).__name__}"
            )
        return data
    if len(data) != 2:
        raise ValueError(f"{where} takes a tuple (X, y), not one of {len(data)}; give batches as a list")
    X, y = (rows(value, f"{where}: {part}") for part, value in zip("Xy", data))
    checked_size(batch_size, common_length({"X": X, "y": y}, where), where.partition(":")[0])
    X = _constants(X, dtype, f"{where}: X", True, beside)
    y = _constants(y, dtype, f"{where}: y", True, beside)
    return Batches(X, y, batch_size, shuffle=rng is not None, rng=rng)


def augmented(
    augment: Callable[..., Any], rng: np.random.Generator, dtype: Any, where: str, beside: Any = None
) -> Callable[..., Any]:
    """``augment(x, y, rng)`` as a change of batches: it is given arrays for Tensors, and Tensors are made of what it
    returns, as of the arrays of all samples."""

    def change(x: Any, y: Any) -> Any:
        result = augment(_arrays(x), _arrays(y), rng)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"{where} must return a pair (x, y), not {type(result).__name__}")
        return as_constants(*result, dtype, where, beside)

    return change


def as_constants(x: Any, y: Any, dtype: Any, where: str, beside: Any = None) -> tuple[Any, Any]:
    """The arrays of one batch as constant Tensors; floating-point ones are cast."""
    return _constants(x, dtype, f"{where}: x", beside=beside), _constants(y, dtype, f"{where}: y", beside=beside)


def _arrays(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_arrays, value))
    return plain(value) if isinstance(value, Tensor) else value


def _constants(value: Rows, dtype: Any, name: str, finite: bool = False, beside: Any = None) -> Rows:
    """Constant Tensors of the arrays, without copying; those of floats cast, complex ones to as many digits. They go to
    where `beside` is, if that is on a device."""
    if isinstance(value, tuple):
        return tuple(_constants(item, dtype, f"{name}[{i}]", finite, beside) for i, item in enumerate(value))
    if isinstance(value, (list, Mapping)):  # of a batch that somebody else made
        return value
    array = _array(value)
    kind = array.dtype.kind
    if kind not in "fciub":
        hint = "; number the classes 0, 1, 2 …" if kind in "OUS" and ": y" in name else ""
        raise TypeError(f"{name} must hold numbers, not {array.dtype}{hint}")
    if kind in "fc" and dtype is not None:
        real = np.zeros(0, dtype).real.dtype
        with np.errstate(over="ignore"):  # which is said below, with the row
            array = array.astype(real if kind == "f" else np.result_type(real, np.complex64), copy=False)
    fault = not_finite(array, name) if finite else None
    if fault is not None:
        raise ValueError(
            f"{fault}{'' if not_finite(value, name) else f' when it is cast to {array.dtype}'}; leave such samples out "
            f"or fill the gaps (a model or a loss that is made for them takes batches, optim.batches(X, y))"
        )
    return wrap(array if beside is None else put(array, beside))


def _array(value: Any) -> Any:
    if isinstance(value, Tensor):
        return plain(value)
    return device_array(value) if is_foreign(value) else np.asarray(value)


def dtype_of(model: Any) -> Any:
    """The dtype of a model's parameters; None if there are several, or none."""
    dtypes = {p.dtype for p in model.parameters()}
    return dtypes.pop() if len(dtypes) == 1 else None


def not_finite(value: Any, name: str) -> str | None:
    """In words, which array and which row of it is the first with NaN or infinity; None if there is none.

    Args:
        value: an array, a Tensor, or a tuple, a list or a dict of them; anything else has none.
        name: what it is called.
    """
    if isinstance(value, (tuple, list, Mapping)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        return next(filter(None, (not_finite(item, f"{name}[{key!r}]") for key, item in items)), None)
    array = plain(value) if isinstance(value, Tensor) else device_array(value)
    if not isinstance(array, ARRAYS) or array.dtype.kind not in "fc":
        return None
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):  # one pass; a sum may overflow, but none hides NaN or infinity
            return None
    array = as_numpy(array)
    bad = ~np.isfinite(np.atleast_1d(array))
    rows = bad.reshape(len(bad), -1).any(axis=1)
    if not rows.any():
        return None
    row, more = int(rows.argmax()), int(rows.sum()) - 1
    found = np.atleast_1d(array)[row][bad[row]].flat[0] if bad.ndim > 1 else array.flat[row]
    others = f" (and in {more} other row{'s' * (more > 1)})" if more else ""
    return f"{name} has {found} in row {row}{others}"


def pair(batch: Any, where: str, beside: Any = None) -> tuple[Any, Any]:
    """A batch (x, y); its arrays go to where `beside` is, if that is on a device.

    Raises:
        TypeError: for anything but a pair, or sparse matrices.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise TypeError(
            f"{where}: each batch must be a pair (x, y), not {type(batch).__name__} (arrays of all samples are given "
            f"as a tuple, (X, y))"
        )
    x, y = batch
    _require_dense(x, where, "x")
    _require_dense(y, where, "y")
    return (x, y) if beside is None else (_moved(x, beside), _moved(y, beside))


def _moved(value: Any, beside: Any) -> Any:
    """What a batch holds, the arrays in it as constant Tensors where `beside` is. A Tensor that requires a gradient
    stays where it is, for it would be detached; an operation that meets it there names both places."""
    if isinstance(value, Mapping):
        return {key: _moved(item, beside) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_moved(item, beside) for item in value)
    if isinstance(value, Tensor) and value.requires_grad:
        return value
    numbers = isinstance(value, Tensor) or getattr(getattr(value, "dtype", None), "kind", "O") in "fciub"
    return wrap(put(_array(value), beside)) if numbers else value


def _require_dense(value: Any, where: str, name: str) -> None:
    if not isinstance(value, (Tensor, np.ndarray)) and hasattr(value, "toarray"):  # NumPy would wrap it as one object
        raise TypeError(f"{where}: {name} is a sparse matrix; give {name}.toarray()")


def length(x: Any, y: Any, where: str) -> int:
    """The number of samples in a batch."""
    for value in (x, y):
        if isinstance(value, Mapping):
            value = tuple(value.values())
        for first in leaves(value)[:1]:
            if (isinstance(first, Tensor) or isinstance(first, ARRAYS)) and first.ndim:
                return len(first)
    return common_length({"x": rows(x, f"{where}: x"), "y": rows(y, f"{where}: y")}, where)


def rows(value: Any, name: str) -> Rows:
    """`value` as an array, a Tensor or a tuple of them, each with a first axis."""
    if isinstance(value, tuple):
        if not value:
            raise ValueError(f"{name} is an empty tuple")
        return tuple(rows(item, f"{name}[{i}]") for i, item in enumerate(value))
    if is_foreign(value):
        value = wrap(device_array(value))
    if not isinstance(value, (Tensor, np.ndarray)):
        _require_dense(value, *name.rsplit(": ", 1))
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name} cannot be made an array: {error}") from None
    if not value.ndim:
        raise TypeError(f"{name} must be an array with samples along its first axis, not one value, {value!r}")
    return value


def leaves(value: Rows) -> list[Any]:
    """The arrays of nested tuples."""
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, tuple) else [value]


def common_length(named: dict[str, Rows], where: str) -> int:
    """The number of samples that all arrays have."""
    lengths = {name: [len(leaf) for leaf in leaves(value)] for name, value in named.items()}
    found = {n for ns in lengths.values() for n in ns}
    if len(found) > 1:
        text = " and ".join(f"{name} {', '.join(map(str, ns))}" for name, ns in lengths.items())
        raise ValueError(f"{where}: data of different lengths: {text}")
    (n,) = found
    if not n:
        raise ValueError(f"{where}: there are no samples, the length of {' and '.join(named)} is 0")
    return n


def checked_size(batch_size: Any, samples: int, where: str) -> int:
    """The size of a batch, at most all samples."""
    if batch_size is None:
        return samples
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        raise TypeError(f"{where}: batch_size must be an integer, or None for all samples, not {batch_size!r}")
    if batch_size < 1:
        raise ValueError(f"{where}: batch_size must be at least 1, not {batch_size}")
    return int(batch_size)


def _taken(value: Rows, chosen: Any) -> Any:
    if isinstance(value, Tensor):
        return value[chosen] if value.requires_grad else wrap(_taken(plain(value), chosen))
    if isinstance(value, tuple):
        return tuple([_taken(item, chosen) for item in value])
    if isinstance(value, Samples):
        return value.taken(chosen)
    return value[chosen] if isinstance(chosen, slice) else value.take(chosen, axis=0)
