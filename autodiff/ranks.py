"""Sums over the ranks of an mpi4py communicator, and what they must agree on.

A communicator is known by its methods alone, so that nothing here imports mpi4py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np

from .tensor import Array, plain


class Disagreement(ValueError):
    """The ranks of a communicator disagree; raised on all of them."""


def require_communicator(comm: Any, where: str, optional: bool = True) -> None:
    """Raise TypeError for anything but a communicator (or None, if it is optional)."""
    none = comm is None and optional
    if not none and not all(hasattr(comm, name) for name in ("rank", "size", "Allreduce", "allgather")):
        raise TypeError(f"{where}: comm= takes a communicator of mpi4py, such as MPI.COMM_WORLD, not {comm!r:.80}")


def sum_over_ranks(array: Any, comm: Any) -> Array:
    """The elementwise sum of the ranks' arrays, of the same shape and dtype on all of them (half precision is added up
    in single); the same bits on all ranks."""
    a = np.asarray(array)
    a = np.ascontiguousarray(a, np.float32 if a.dtype.char == "e" else a.dtype).reshape(a.shape)
    total = np.empty_like(a)
    comm.Allreduce(a, total)
    return total


def require_same(values: Mapping[str, Any], comm: Any, where: str, advice: str = "") -> None:
    """Raise `Disagreement` on all ranks if one of these values, by what they are called, is not the same on all."""
    found = comm.allgather({name: repr(value) for name, value in values.items()})
    for name in dict.fromkeys(name for one in found for name in one):
        given = [one.get(name, "missing") for one in found]
        other = next((rank for rank, value in enumerate(given) if value != given[0]), None)
        if other is not None:
            raise Disagreement(
                f"{where}: the ranks disagree: {name} is {given[0][:200]} on rank 0 and {given[other][:200]} on rank "
                f"{other}{f'; {advice}' if advice else ''}"
            )


def fingerprint(array: Any) -> int:
    """A checksum of an array's bytes."""
    return crc32(np.ascontiguousarray(plain(array)).tobytes())
