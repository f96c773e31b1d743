"""Times that can be compared: all sides in one process, in turn, warm, each with its better number of threads.

A block is a number of calls timed together. In each repeat every side has one block (for each number of threads), in an
order that is shuffled anew, after a pause in which the threads of the side before go to sleep.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

import numpy as np

from .peers import Peer, Unsupported
from .workloads import Run, Workload


@dataclass(frozen=True)
class Schedule:
    """Seconds for the pause before a block, for its warm-up (one call at least) and for the block (likewise); a side
    whose blocks take longer than `patience` has one only (not this engine and torch, which targets compare)."""

    pause: float
    warm: float
    block: float
    patience: float


USUAL = Schedule(pause=0.04, warm=0.015, block=0.05, patience=12.0)  # OpenBLAS spins for 26 ms after its last work
QUICK = Schedule(pause=0.0, warm=0.0, block=0.001, patience=1.0)

TOLERANCE = 1e-3
"""Relative error (of Euclidean norms) in float32: rounding, and a few relu units so near their kink that it decides."""


class Disagreement(Exception):
    """A side does not compute what the others compute."""


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let every library that can be told use `n` threads."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else 0
    limits = None
    try:
        if torch is not None:
            torch.set_num_threads(n)
        if _controller() is not None:
            limits = _controller().limit(limits=n, user_api="blas")
        yield
    finally:
        if torch is not None:
            torch.set_num_threads(before)
        if limits is not None:
            limits.restore_original_limits()


_found: list[Any] = []


def _controller() -> Any:
    """threadpoolctl's hold on the libraries loaded by now, or None where it is not installed."""
    if not _found:
        try:
            from threadpoolctl import ThreadpoolController
        except ModuleNotFoundError:
            _found.append(None)
        else:
            _found.append(ThreadpoolController())
    return _found[0]


def thread_control() -> bool:
    """Whether NumPy's number of threads can be set."""
    return _controller() is not None


def verify(workload: Workload, runs: dict[str, Run]) -> dict[str, float]:
    """Each side's relative distance from the truth; raises `Disagreement` where one is too far."""
    errors = {}
    expected = workload.truth() if workload.truth is not None else runs["ours"].result()
    for side, run in runs.items():
        found = run.result()
        if [f.shape for f in found] != [e.shape for e in expected]:
            raise Disagreement(f"{side} gives shapes {[f.shape for f in found]}, not {[e.shape for e in expected]}")
        if side == "ours" and any(f.dtype != np.float32 for f in found):
            raise Disagreement(f"ours gives {[str(f.dtype) for f in found]}, not float32")
        off = max(np.linalg.norm(f - e) / (np.linalg.norm(e) or 1.0) for f, e in zip(found, expected))
        if not off <= TOLERANCE:
            raise Disagreement(f"{side} differs from the truth by {off:.1e} (relative), more than {TOLERANCE:.0e}")
        errors[side] = float(off)
    return errors


def block(run: Run, schedule: Schedule) -> dict[str, float]:
    """Warm up, then time a block; the seconds of a call, by phase."""
    clock = time.perf_counter
    warm = run.warm or run.call
    end = clock() + schedule.warm
    while True:
        start = clock()
        warm()
        now = clock()
        if now >= end:
            break
    call = run.call
    if run.phases:
        return call()  # type: ignore[no-any-return]
    calls = range(max(1, round(schedule.block / (now - start))))
    start = clock()
    for _ in calls:
        call()
    return {"call": (clock() - start) / len(calls)}


def compare(
    workload: Workload, peers: dict[str, Peer], repeats: int, schedule: Schedule, no_gc: bool = False
) -> dict[str, Any]:
    """All that is measured of a workload, as plain data: times in seconds for each side, and the other figures."""
    runs: dict[str, Run] = {}
    absent: dict[str, str] = {}
    first: dict[str, float] = {}
    for name, peer in peers.items():
        start = time.perf_counter()
        try:
            runs[name] = workload.run(peer)
        except Unsupported as reason:
            absent[name] = str(reason)
        if peer.compiles:
            first[name] = time.perf_counter() - start
    errors = verify(workload, runs)
    repeats = min(repeats, workload.repeats or repeats)
    blocks = []
    for name in runs:
        settings = [n for n in peers[name].threads if n in workload.threads] or [peers[name].threads[0]]
        if name not in ("torch", "jax") and not thread_control():
            settings = settings[-1:]
        blocks += [(name, n) for n in settings]
    samples: dict[tuple[str, int], list[dict[str, float]]] = {key: [] for key in blocks}
    slow: set[tuple[str, int]] = set()
    shuffle = random.Random(0).shuffle
    enabled = gc.isenabled()
    gc.collect()
    try:
        if no_gc:
            gc.disable()
        for _ in range(repeats):
            shuffle(blocks)
            for key in blocks:
                if key in slow:
                    continue
                start = time.perf_counter()
                with threads(key[1]):
                    time.sleep(schedule.pause)
                    samples[key].append(block(runs[key[0]], schedule))
                if key[0] not in ("ours", "torch") and time.perf_counter() - start > schedule.patience:
                    slow.add(key)
    finally:
        if enabled:
            gc.enable()
    measured = {name: _side({n: s for (side, n), s in samples.items() if side == name}) for name in runs}
    for name, error in errors.items():
        measured[name]["relative error"] = error
        if name in first:
            measured[name]["first call"] = first[name]
    figures = workload.figures(peers["ours"]) if workload.figures is not None else {}
    return {"sides": measured, "absent": absent, "figures": figures, "schedule": asdict(schedule)}


def _side(by_threads: dict[int, list[dict[str, float]]]) -> dict[str, Any]:
    """A side's figures at its better number of threads, and the medians at each."""
    totals = {n: [sum(t for p, t in s.items() if p != "free") for s in samples] for n, samples in by_threads.items()}
    best = min(totals, key=lambda n: median(totals[n]))
    seconds = totals[best]
    low, _, high = quantiles(seconds, n=4) if len(seconds) > 1 else (seconds[0],) * 3
    phases = {p: median(s[p] for s in by_threads[best]) for p in by_threads[best][0]}
    return {
        "median": median(seconds),
        "quartiles": [low, high],
        "threads": best,
        "medians by threads": {str(n): median(t) for n, t in totals.items()},
        "seconds": seconds,
        **({"phases": phases} if len(phases) > 1 else {}),
    }
