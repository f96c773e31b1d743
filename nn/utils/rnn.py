"""Sequences of different lengths, padded to one length or packed without padding, with PyTorch's names and results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import autodiff as ad
from autodiff import Tensor

from ..arguments import as_tensor, count, held


class PackedSequence(NamedTuple):
    """Sequences of different lengths without padding, as `RNN`, `LSTM` and `GRU` take them and give them back.

    Attributes:
        data: the first step of all sequences, the longest first, then the second step of all that have one, …;
            shape (total of the lengths, ...).
        batch_sizes: how many sequences have a step t, shape (T,).
        sorted_indices: which sequence each one is in the order that was given, or None if that order is the same.
        unsorted_indices: where each of those given is.
    """

    data: Tensor
    batch_sizes: np.ndarray[Any, Any]
    sorted_indices: np.ndarray[Any, Any] | None = None
    unsorted_indices: np.ndarray[Any, Any] | None = None

    @property
    def lengths(self) -> np.ndarray[Any, Any]:
        """The lengths of the sequences in the order that was given, shape (N,)."""
        found = (self.batch_sizes > np.arange(self.batch_sizes[0])[:, None]).sum(axis=1)
        return found if self.unsorted_indices is None else found[self.unsorted_indices]

    def places(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Step and sequence, in the order that was given, of each row of `data`."""
        steps = np.repeat(np.arange(len(self.batch_sizes)), self.batch_sizes)
        own = np.concatenate([np.arange(n) for n in self.batch_sizes])
        return steps, own if self.sorted_indices is None else self.sorted_indices[own]


def pad_sequence(
    sequences: Sequence[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences of different lengths as one array, filled up with a value.

    Args:
        sequences: N of shape (length, ...).
        batch_first: whether the result is (N, T, ...) and not (T, N, ...), T being the greatest length.
        padding_value: what the rest is.
        padding_side: where it is, "right" (the end) or "left".

    Raises:
        TypeError, ValueError: for no sequences and such of different trailing shapes.

    >>> pad_sequence([[1.0, 2.0, 3.0], [4.0]], batch_first=True)
    Tensor([[1., 2., 3.],
            [4., 0., 0.]])
    """
    listed = _listed("pad_sequence", sequences)
    if padding_side not in ("left", "right"):
        raise ValueError(f"pad_sequence: padding_side is 'left' or 'right', not {padding_side!r}")
    longest, rows = max(map(len, listed)), []
    for x in listed:
        filling = held("pad_sequence", "padding_value", padding_value, x.dtype, "each sequence")
        rest = ad.full((longest - len(x), *x.shape[1:]), filling, dtype=x.dtype)
        rows.append(ad.concatenate([x, rest] if padding_side == "right" else [rest, x]) if len(rest) else x)
    return ad.stack(rows, axis=0 if batch_first else 1)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded array: the inverse of `pad_sequence`.

    Raises:
        TypeError, ValueError: for lengths that are not N integers within 1 … T.

    >>> unpad_sequence([[1.0, 4.0], [2.0, 0.0]], [2, 1])
    [Tensor([1., 2.]), Tensor([4.])]
    """
    x = _batch_first(padded_sequences, batch_first)
    return [row[:n] for row, n in zip(x, _lengths("unpad_sequence", lengths, x))]


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A padded array without its padding.

    Args:
        input: shape (T, N, ...), or (N, T, ...) with `batch_first`.
        lengths: N integers within 1 … T.
        enforce_sorted: whether the lengths must be given in falling order; with False they are sorted here.

    Raises:
        TypeError, ValueError: for lengths that do not fit.

    >>> pack_padded_sequence([[1.0, 4.0], [2.0, 0.0]], [2, 1])
    PackedSequence(data=Tensor([1., 4., 2.]), batch_sizes=array([2, 1]), sorted_indices=None, unsorted_indices=None)
    """
    x = _batch_first(input, batch_first)
    sizes = _lengths("pack_padded_sequence", lengths, x)
    order = None
    if not enforce_sorted:
        order = np.argsort(-sizes, kind="stable")
    elif (np.diff(sizes) > 0).any():
        raise ValueError(
            f"pack_padded_sequence: lengths must fall, but are {sizes.tolist()}; write enforce_sorted=False, or sort "
            f"the sequences"
        )
    batch_sizes = (sizes > np.arange(sizes.max())[:, None]).sum(axis=1)
    packed = PackedSequence(x, batch_sizes, order, None if order is None else np.argsort(order))
    steps, rows = packed.places()
    return packed._replace(data=x[rows, steps])


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, np.ndarray[Any, Any]]:
    """The padded array and the lengths of a packed sequence: the inverse of `pack_padded_sequence`.

    Args:
        sequence: what is packed.
        batch_first: whether the result is (N, T, ...) and not (T, N, ...).
        padding_value: what the rest is.
        total_length: T, by default the greatest length.

    Raises:
        TypeError, ValueError: for anything but a packed sequence, and a total that is too short.
    """
    if not isinstance(sequence, PackedSequence):
        raise TypeError(f"pad_packed_sequence: takes a PackedSequence, not {type(sequence).__name__}")
    data, sizes = sequence.data, sequence.batch_sizes
    total = len(sizes) if total_length is None else count("pad_packed_sequence", "total_length", total_length)
    if total < len(sizes):
        raise ValueError(f"pad_packed_sequence: total_length={total} is less than the greatest length, {len(sizes)}")
    filling = held("pad_packed_sequence", "padding_value", padding_value, data.dtype, "the data")
    padded = ad.full((total, sizes[0], *data.shape[1:]), filling, dtype=data.dtype)
    padded = padded.at[sequence.places()].set(data)
    return (padded.swapaxes(0, 1) if batch_first else padded), sequence.lengths


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """N sequences of shape (length, ...), packed.

    Raises:
        TypeError, ValueError: for no sequences, such of different trailing shapes, and lengths that do not fall (unless
            ``enforce_sorted=False``).
    """
    listed = _listed("pack_sequence", sequences)
    return pack_padded_sequence(pad_sequence(listed), [len(x) for x in listed], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed one: the inverse of `pack_sequence`."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences))


def _batch_first(x: Any, already: bool) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"padded sequences have shape ({'N, T' if already else 'T, N'}, ...), not {x.shape}")
    return x if already else x.swapaxes(0, 1)


def _lengths(where: str, lengths: Any, x: Tensor) -> np.ndarray[Any, Any]:
    found = as_tensor(lengths).numpy()
    n, steps = x.shape[:2]
    if found.dtype.kind not in "iu" or found.shape != (n,) or n == 0 or not (1 <= found.min() and found.max() <= steps):
        raise ValueError(f"{where}: lengths are {n} integers within 1 … {steps}, not {found.tolist()!r}")
    return found.astype(np.intp)


def _listed(where: str, sequences: Any) -> list[Tensor]:
    listed = [as_tensor(x) for x in sequences]
    if not listed or any(x.ndim == 0 or x.shape[1:] != listed[0].shape[1:] for x in listed):
        raise ValueError(f"{where}: takes sequences of shape (length, ...), not {[x.shape for x in listed]}")
    return listed
