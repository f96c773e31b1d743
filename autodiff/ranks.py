"""Sums over the ranks of an mpi4py communicator, what they must agree on, and work divided among them.

A communicator is known by its methods alone, so that nothing here imports mpi4py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from .devices import as_numpy
from .tensor import Array, Tensor

T = TypeVar("T")


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
    return crc32(np.ascontiguousarray(as_numpy(array)).tobytes())


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
