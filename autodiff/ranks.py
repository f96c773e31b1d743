"""Sums over the ranks of an mpi4py communicator, what they must agree on, and work divided among them.

A communicator is known by its methods alone, so that nothing here imports mpi4py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from .devices import as_numpy
from .tensor import Array, Tensor

T = TypeVar("T")


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
    a = np.ascontiguousarray(as_numpy(array))
    if a.dtype.char in "gG" and np.finfo(a.dtype).nmant == 63:  # in ten bytes; those between them are anything
        a = a.reshape(-1).view(np.uint8).reshape(-1, np.dtype(np.longdouble).itemsize)[:, :10]
    return crc32(a.tobytes())


def checksums(arrays: Sequence[Any] | None) -> list[int] | None:
    """Of each array."""
    return None if arrays is None else [fingerprint(array) for array in arrays]


def described(params: Sequence[Tensor]) -> dict[str, Any]:
    """Parameters as `require_same` compares them, to the last bit."""
    return {
        f"params[{i}] (shape, dtype, checksum)": (p.shape, str(p.dtype), fingerprint(p)) for i, p in enumerate(params)
    }


# What all could do is divided


def part(count: int, comm: Any) -> slice:
    """This rank's places among so many; no more than one more than another's."""
    return slice(count * comm.rank // comm.size, count * (comm.rank + 1) // comm.size)


def divided(work: Callable[[slice], T], count: int, comm: Any) -> list[T]:
    """What the ranks found that have some of so many things, each for its part; what one of them raised, all raise."""
    own = part(count, comm)
    found: list[T] = []
    failure: Exception | None = None
    try:
        found = [work(own)] if own.start < own.stop else []
    except Exception as error:  # or the others would wait for ever
        failure = error
    everywhere = comm.allgather((found, failure))
    if failures := [failure for _, failure in everywhere if failure is not None]:
        raise failures[0]
    return [one for found, _ in everywhere for one in found]


def same_generator(rng: np.random.Generator | int | None, comm: Any) -> np.random.Generator:
    """A generator as `numpy.random.default_rng` has it; with a communicator in the state of rank 0's."""
    generator = np.random.default_rng(rng)
    if comm is not None:
        generator.bit_generator.state = comm.bcast(generator.bit_generator.state)
    return generator
