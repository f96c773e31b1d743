"""Where values leave the graph and come back in as a leaf (`detach`), known by the memory that both hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..tensor import Tensor


def cuts_between(tensors: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The pairs of a result and a younger leaf that holds its values, or a part of them, without its history.

    >>> h = Tensor([1.0, 2.0], requires_grad=True) * 3
    >>> [(result is h, leaf.op) for result, leaf in cuts_between([h, h.detach(), Tensor([3.0, 6.0])])]
    [(True, None)]
    """
    tensors = list(tensors)
    owners = {id(_owner(x._ndarray)) for x in tensors if x._primitive is None}
    results: dict[int, list[Tensor]] = {}
    for x in tensors:
        if x._primitive is not None and (owner := id(_owner(x._ndarray))) in owners:
            results.setdefault(owner, []).append(x)
    found = []
    for leaf in tensors:
        if leaf._primitive is None:
            same = [
                x for x in results.get(id(_owner(leaf._ndarray)), ())
                if x._number < leaf._number
                and (x._ndarray is leaf._ndarray or np.may_share_memory(x._ndarray, leaf._ndarray))
            ]  # fmt: skip
            if same:  # of several views of one array, the very one, or the last
                found.append((max(same, key=lambda x: (x._ndarray is leaf._ndarray, x._number)), leaf))
    return found


def _owner(array: Any) -> Any:
    """The array whose memory this one shows."""
    while isinstance(base := getattr(array, "base", None), np.ndarray):
        array = base
    return array
