"""Ranges of a loop run on several threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from autodiff.machine import threads


def test_all_ranges_run_once_each_and_no_range_is_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "count", lambda: 3)
    for parts in range(6):
        seen: list[tuple[int, int, int]] = []
        threads.together(lambda word, *bound: seen.append(bound), ("word",), threads.ranges(10, parts))
        assert sorted(seen) == threads.ranges(10, parts)


def test_other_threads_have_the_callers_error_state_and_their_errors_are_the_callers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "count", lambda: 2)
    names = set()

    def divide(lo: int, hi: int, part: int) -> None:
        names.add(threading.current_thread().name)
        np.float64(1.0) / np.float64(0.0 if part else 1.0)

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        threads.together(divide, (), threads.ranges(2, 2))
    assert len(names) == 2
