"""Processor seconds of calls beside one another, which others' work lengthens least."""

import time

from threadpoolctl import threadpool_limits


def least_times(*calls, rounds=30, enough=lambda *times: False):
    """The least processor seconds that each of the calls took on one thread (a second one that waits takes them too),
    one after the other in every round; no further round is run once these are enough."""
    best = [float("inf")] * len(calls)
    with threadpool_limits(1, "blas"):
        for _ in range(rounds):
            for i, call in enumerate(calls):
                began = time.process_time_ns()
                call()
                best[i] = min(best[i], (time.process_time_ns() - began) / 1e9)
            if enough(*best):
                break
    return best
