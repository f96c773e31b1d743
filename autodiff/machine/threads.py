"""Loops in ranges, one for each processor: a few threads that wait for them, in which Python is not needed."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any

MOST = 16
"""Threads."""


@functools.cache
def count() -> int:
    """How many threads run a loop: processors of this process, fewer if OMP_NUM_THREADS says so."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wish = os.environ.get("OMP_NUM_THREADS", "")
    return max(min(here, MOST, int(wish) if wish.isdecimal() else MOST), 1)


@functools.cache
def _pool() -> Any:
    from concurrent.futures import ThreadPoolExecutor  # 10 ms at import

    return ThreadPoolExecutor(MOST, "autodiff")


def ranges(extent: int, parts: int) -> list[tuple[int, int, int]]:
    """Start, end and number of each of so many parts of a loop, fewer where it is short.

    >>> ranges(10, 3)
    [(0, 3, 0), (3, 6, 1), (6, 10, 2)]
    """
    parts = min(parts, extent)
    return [(extent * i // parts, extent * (i + 1) // parts, i) for i in range(parts)]


def together(call: Callable[..., Any], arguments: tuple[Any, ...], bounds: Sequence[tuple[int, ...]]) -> None:
    """Call ``call(*arguments, *bound)`` for each range of a loop, on all processors."""
    shares = ranges(len(bounds), count())

    def run(share: tuple[int, int, int]) -> None:
        for bound in bounds[share[0] : share[1]]:
            call(*arguments, *bound)

    others = [_pool().submit(copy_context().run, run, share) for share in shares[1:]]  # NumPy's errstate goes along
    for share in shares[:1]:
        run(share)
    for other in others:
        other.result()


def _forget() -> None:
    _pool.cache_clear()  # a child process has no threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
