"""Where values leave the graph and come back in as a leaf: detached, as a copy of that, or as a result's array."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..tensor import Tensor, origin_of


def cuts_between(values: Iterable[Any]) -> list[tuple[Tensor, Any]]:
    """The pairs of a result and a younger leaf, a Tensor or an array, that holds its values, or a part of them, without
    its history.

    That is known of what shares the result's memory (``h.detach()``, ``h.numpy()``, and views of them), and of copies
    that are made of Tensors (``h.detach().copy()``, ``Tensor(h.detach())``, ``h.copy()`` under `no_grad`), until
    somebody writes them. It cannot be known of what NumPy or Python copied (``Tensor(h.numpy())``, ``h.item()``,
    ``copy.deepcopy``), nor of what was computed from detached values (``h.detach() * 2``, ``.astype``): that is no
    result's value. And a result that the output does not depend on is not in the picture: of the straight-through
    estimator, ``x + (q - x).detach()``, the difference.

    >>> h = Tensor([1.0, 2.0], requires_grad=True) * 3
    >>> leaves = [h.detach(), h.numpy(), h.detach().copy(), Tensor([3.0, 6.0])]
    >>> [any(leaf is x for _, leaf in cuts_between([h, *leaves])) for x in leaves]
    [True, True, True, False]
    """
    values = list(values)
    results = [x for x in values if isinstance(x, Tensor) and x._primitive is not None]
    leaves: list[tuple[Any, Any, float]] = [
        (x, x._ndarray, x._number) for x in values if isinstance(x, Tensor) and x._primitive is None
    ]
    # (An array that may be written is no result's: that is read-only, unless it is one that a leaf and its views have.)
    leaves += [(x, x, math.inf) for x in values if isinstance(x, np.ndarray) and not x.flags.writeable]
    owners = {id(_owner(array)) for _, array, _ in leaves}
    holders: dict[int, list[Tensor]] = {}
    for x in results:
        if (owner := id(_owner(x._ndarray))) in owners:
            holders.setdefault(owner, []).append(x)
    numbered = {x._number: x for x in results}
    found = []
    for leaf, array, number in leaves:
        same = [
            x for x in holders.get(id(_owner(array)), ())
            if x._number < number and (x._ndarray is array or np.may_share_memory(x._ndarray, array))
        ]  # fmt: skip
        if same:  # of several views of one array, the very one, or the last
            found.append((max(same, key=lambda x: (x._ndarray is array, x._number)), leaf))
        elif isinstance(leaf, Tensor) and (n := origin_of(leaf)) in numbered:
            found.append((numbered[n], leaf))
    return found


def _owner(array: Any) -> Any:
    """The array whose memory this one shows."""
    while isinstance(base := getattr(array, "base", None), np.ndarray):
        array = base
    return array
