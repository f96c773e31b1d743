"""Sums over the ranks of an mpi4py communicator, and what they must agree on.

A communicator is known by its methods alone, so that nothing here imports mpi4py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np

from .tensor import Array, plain


class Disagreement(ValueError):
    """The ranks of a communicator disagree; raised on all of them."""


def require_communicator(comm: Any, where: str) -> None:
    """Raise TypeError for anything but a communicator of one group (or None)."""
    if comm is None:
        return
    if isinstance(comm, type) or not {"rank", "size", "Allreduce", "allgather"} <= set(dir(comm)):
        raise TypeError(f"{where}: comm= takes a communicator of mpi4py, such as MPI.COMM_WORLD, not {comm!r}")
    if not comm:
        raise TypeError(f"{where}: this communicator is MPI.COMM_NULL: it was freed, or Split left this rank out of it")
    if getattr(comm, "is_inter", False):
        raise TypeError(f"{where}: comm= takes a communicator of one group of ranks, not one between two, {comm!r}")


def sum_over_ranks(array: Any, comm: Any) -> Array:
    """The elementwise sum of the ranks' arrays, of the same shape and dtype on all of them (half precision is added up
    in single); the same bits on all ranks."""
    a = np.asarray(array)
    a = np.ascontiguousarray(a, np.float32 if a.dtype.char == "e" else a.dtype).reshape(a.shape)
    total = np.empty_like(a)
    comm.Allreduce(a, total)
    return total


def require_same(values: Mapping[str, Any], comm: Any, where: str, advice: str = "") -> None:
    """Raise `Disagreement` on all ranks if one of these values, by what they are called, is not the same on all, by
    what ``repr`` says of it."""
    found = comm.allgather({name: " ".join(_ADDRESS.sub("", repr(value)).split()) for name, value in values.items()})
    for name in dict.fromkeys(name for one in found for name in one):
        given = [one.get(name, "missing") for one in found]
        other = next((rank for rank, value in enumerate(given) if value != given[0]), None)
        if other is not None:
            first, second = _apart(given[0], given[other])
            raise Disagreement(
                f"{where}: the ranks disagree: {name} is {first} on rank 0 and {second} on rank {other}"
                f"{f'; {advice}' if advice else ''}"
            )


_ADDRESS = re.compile(" at 0x[0-9a-fA-F]+")
_SHOWN, _BEFORE = 200, 50  # characters


def _apart(one: str, other: str) -> list[str]:
    """Both texts; of long ones the piece where they differ."""
    same = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), 0)
    start = max(0, same - _BEFORE) if max(len(one), len(other)) > _SHOWN else 0
    return ["…" * bool(start) + text[start : start + _SHOWN] for text in (one, other)]


def fingerprint(array: Any) -> int:
    """A checksum of an array's values, to the last bit."""
    a = np.ascontiguousarray(plain(array))
    if a.dtype.char in "gG" and np.finfo(a.dtype).nmant == 63:  # in ten bytes; those between them are anything
        a = a.reshape(-1).view(np.uint8).reshape(-1, np.dtype(np.longdouble).itemsize)[:, :10]
    return crc32(a.tobytes())
