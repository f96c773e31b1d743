"""Several results of one operation as one array, end to end, and parts of it again, on arrays and on Tensors.

A trace knows of what it joined: a part is then what was given, and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..primitive import Primitive, general
from ..tensor import Tensor, plain
from .program import Node
from .tracer import Trace, Tracer


class Packing:
    """The places of arrays of these shapes and dtypes in one.

    >>> packing = Packing(Trace(), [np.zeros((2, 2)), np.zeros(3)])
    >>> packing.joined([np.ones((2, 2)), None])
    array([1., 1., 1., 1., 0., 0., 0.])
    >>> packing.part(np.arange(7.0), 1)
    array([4., 5., 6.])
    """

    def __init__(self, trace: Trace, like: Sequence[Any]) -> None:
        self.trace = trace
        self.shapes = [x.shape for x in like]
        self.dtypes = [x.dtype for x in like]
        self.dtype = np.result_type(*self.dtypes)
        ends = np.cumsum([0, *(int(np.prod(shape)) for shape in self.shapes)]).tolist()
        self.slices = [slice(a, b) for a, b in pairwise(ends)]
        self.alone = len(self.shapes) == 1

    def joined(self, parts: Sequence[Any]) -> Any:
        """All parts in one array; None stands for zeros. Of a single part it is that."""
        if self.alone:
            return self._zeros(0) if parts[0] is None else parts[0]
        if any(isinstance(x, Tensor) for x in parts):
            total: Any = None
            for k, x in enumerate(parts):
                if x is not None:
                    placed = _placed(x, packing=self, k=k)
                    total = placed if total is None else total + placed
            return total
        flat = [self._zeros(k) if x is None else x for k, x in enumerate(parts)]
        whole = np.concatenate([x.astype(self.dtype, copy=False).reshape(-1) for x in flat])
        if isinstance(whole, Tracer) and isinstance(whole.node, Node):
            self.trace.joined[whole.node] = [
                Tracer(self.trace, x.node, x.value) if isinstance(x, Tracer) else x for x in parts
            ]
        return whole

    def part(self, whole: Any, k: int) -> Any:
        """One of the parts."""
        if self.alone:
            return whole
        if isinstance(whole, Tensor):
            return _part(whole, packing=self, k=k)
        found = self._known(whole, k) if isinstance(whole, Tracer) else NotImplemented
        if found is NotImplemented:
            found = whole[self.slices[k]].reshape(self.shapes[k])
        elif found is None:
            return self._zeros(k)
        return found.astype(self.dtypes[k], copy=False)

    def _zeros(self, k: int) -> Any:
        return np.zeros(self.shapes[k], self.dtypes[k])

    def _known(self, whole: Tracer, k: int) -> Any:
        """The part, None where it is zero, NotImplemented where nothing is known of it; of sums too."""
        return self._of(whole.current().node, k)

    def _of(self, node: Any, k: int) -> Any:
        if isinstance(node, Node) and node in self.trace.joined:
            return self.trace.joined[node][k]
        if not isinstance(node, Node) or node.op != "add":
            return NotImplemented
        a, b = (self._of(x, k) for x in node.inputs)
        if a is NotImplemented or b is NotImplemented:
            return NotImplemented
        return b if a is None else a if b is None else a + b


def _one(k: int, x: Any, packing: Packing) -> Any:
    return packing.joined([x if i == k else None for i in range(len(packing.shapes))])


_PART = Primitive(
    "part", lambda x, packing, k: packing.part(x, k), (lambda g, y, x, packing, k: _spread(g, packing, k),),
    jvps="linear",
)  # fmt: skip
_PLACED = Primitive(
    "placed", lambda x, packing, k: _one(k, x, packing), (lambda g, y, x, packing, k: packing.part(g, k),),
    jvps="linear",
)  # fmt: skip
_part, _placed = general(_PART), general(_PLACED)


def _spread(g: Any, packing: Packing, k: int) -> Any:
    return _placed(g, packing=packing, k=k) if isinstance(g, Tensor) else _one(k, plain(g), packing)
