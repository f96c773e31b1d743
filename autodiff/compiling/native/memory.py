"""Which bytes of a program's scratch memory each value has, from its first unit to its last."""

from __future__ import annotations

from collections.abc import Sequence

ALIGNED = 64


def planned(spans: Sequence[tuple[int, int, int]]) -> tuple[list[int], int]:
    """Offsets of values that need so many bytes from one time to another, both included; and the bytes of all.

    >>> planned([(100, 0, 1), (50, 1, 2), (60, 2, 3)])
    ([0, 128, 0], 192)
    """
    offsets = [0] * len(spans)
    used: list[tuple[int, int, int]] = []  # offset, end, last time
    top = 0
    for i in sorted(range(len(spans)), key=lambda i: (spans[i][1], -spans[i][0])):
        size, first, last = spans[i]
        used = sorted(x for x in used if x[2] >= first)
        start = 0
        for offset, end, _ in used:
            if offset - start >= size:
                break
            start = max(start, end)
        end = start + -(-size // ALIGNED) * ALIGNED
        offsets[i] = start
        used.append((start, end, last))
        top = max(top, end)
    return offsets, top
