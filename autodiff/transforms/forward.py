"""Forward mode: tangents pushed through a recorded graph, from its leaves to its outputs.

Order: the tangent of one operation's output, by kind of operation; of a whole graph; and forward over reverse, which
carries tangents through the reverse pass as well and so gives Hessian–vector products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np

from ..backward import fitted, leading_to, of_dtype, reachable, reverse
from ..batching.batch import laid_out
from ..mode import differentiating, mode
from ..ops.guards import axes_of, common, raw
from ..ops.shape import spread
from ..primitive import Primitive, general
from ..tensor import Array, Tensor, clock, is_foreign, settled, variable, wrap
from ..untaken import Undecided

Parts = Sequence["Array | None"]
"""An array for each leaf (or output); None stands for zeros."""

# One operation: ts are the tangents of its inputs (None: it does not move), y its output; all arrays, or all Tensors


def _elementwise(record: Primitive, ts: Sequence[Any], y: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """A symmetric Jacobian: what pulls a cotangent back pushes a tangent forward."""
    total = None
    for t, rule in zip(ts, record.vjps or record.rules(len(ts))):
        if t is not None and rule is not None:
            d = rule(t, y, *inputs, **params)
            total = d if total is None else total + d
    return total


def _linear(record: Primitive, ts: Sequence[Any], y: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """f(t₁, t₂, …)"""
    forward = general(record) if isinstance(y, Tensor) else record.forward
    if len(ts) == 1:
        return forward(ts[0], **params)
    return forward(*[_zeros(x) if t is None else t for t, x in zip(ts, inputs)], **params)


def _multilinear(record: Primitive, ts: Sequence[Any], y: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """f(t₁, x₂, …) + f(x₁, t₂, …) + …"""
    forward = general(record) if isinstance(y, Tensor) else record.forward
    if len(ts) == 2:
        a, b = inputs
        s, t = ts
        total = None if s is None else forward(s, b, **params)
        if t is not None:
            d = forward(a, t, **params)
            if total is None:
                return d
            return _sum(total, d)
        return total
    total = None
    for i, t in enumerate(ts):
        if t is not None:
            d = forward(*inputs[:i], t, *inputs[i + 1 :], **params)
            total = d if total is None else _sum(total, d)
    return total


def _sum(total: Any, d: Any) -> Any:
    """In place where that is possible: an array has no room for what is of another type."""
    if type(total) is not type(d):
        return total + d
    total += d
    return total


def _reduction(record: Primitive, ts: Sequence[Any], y: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """Σ ∂y/∂x · t over the axes that are reduced. (The pullback of 1 holds every ∂y/∂x in its own place.)"""
    ones: Any = np.ones_like(raw(y))
    ones = wrap(ones) if isinstance(y, Tensor) else ones
    axis = params.get("axis")
    total = None
    for t, x, rule in zip(ts, inputs, record.vjps):
        if t is not None and rule is not None:
            moved = rule(ones, y, *inputs, **params) * t
            d = moved.sum(axis=None if axis is None else axes_of(axis, x.ndim), keepdims=params.get("keepdims", False))
            total = d if total is None else total + d
    return total


def _ruled(record: Primitive, ts: Sequence[Any], y: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """Its own rules."""
    total = None
    for t, rule in zip(ts, cast(Any, record.jvps)):
        if t is not None:
            if rule is None:
                return _transposed(record, ts, y, inputs, params)
            d = rule(t, y, *inputs, **params)
            total = d if total is None else total + d
    return total


def _joint(record: Primitive, ts: Sequence[Any], y: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """Its own rule for all inputs together."""
    return cast(Any, record.jvps)(ts, y, *inputs, **params)


def _transposed(record: Primitive, ts: Sequence[Any], y: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """The pullback is linear in its cotangent u, u ↦ uᵀJ, and the derivative of that map is J: two reverse passes
    through this one operation. (They start from u = 1, not from 0, where rules may leave out a branch.)"""
    recorded = isinstance(y, Tensor)
    start = clock()
    u = variable(np.ones_like(raw(y)))
    seen = inputs if recorded else [_constant(x) for x in inputs]
    nodes: dict[int, Tensor] = {}
    cotangents: dict[int, Any] = {}
    wanted = {u._number: u}
    with differentiating():
        out = y if recorded else wrap(y)
        for t, rule in zip(ts, record.vjps or record.rules(len(ts))):
            if t is None or rule is None:
                continue
            p = rule(u, out, *seen, **params)
            if p is None:
                raise TypeError(
                    f"{record.name}: has no derivative by an input that moves; pass that one detached (t.detach())"
                )
            if p._requires_grad:
                t = t if t.shape == p.shape else spread(t, p.shape)
                t = of_dtype(t, p.dtype)
                n = p._number
                cotangents[n] = cotangents[n] + t if n in cotangents else t
                nodes.update(_made_since(start, p))
        needed = leading_to(wanted, nodes)
        return reverse(cotangents, nodes, wanted, recorded, needed, changes=True).get(u._number)


_BY_KIND: dict[str, Callable[..., Any]] = {
    "elementwise": _elementwise,
    "piecewise": _elementwise,
    "linear": _linear,
    "multilinear": _multilinear,
    "reduction": _reduction,
}


def _zeros(x: Any) -> Any:
    return np.zeros_like(raw(x)) if hasattr(x, "shape") else 0.0


def _constant(x: Any) -> Any:
    return wrap(x) if isinstance(x, (np.ndarray, np.generic)) or is_foreign(x) else x


def _made_since(start: int, root: Tensor) -> dict[int, Tensor]:
    """The nodes younger than `start` from which a result was computed, by number."""
    nodes: dict[int, Tensor] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if node._primitive is not None and node._number > start and node._number not in nodes:
            nodes[node._number] = node
            stack += [x for x in node._inputs if isinstance(x, Tensor) and x._requires_grad]
    return nodes


# A whole graph


_NO_PARAMS: dict[str, Any] = {}


def push(
    nodes: Iterable[Tensor],
    tangents: dict[int, Any],
    create_graph: bool = False,
    drops: dict[int, list[int]] | None = None,
) -> None:
    """Add to `tangents` (by number, at first those of leaves) those of the nodes, which come from old to young. What
    has none does not move. `drops` says by node which tangents are not needed any more after it.

    With `create_graph` the tangents are Tensors, and the rules record what they do.
    """
    get = tangents.get
    for node in nodes:
        number = node._number
        if number in tangents:
            continue
        inputs = node._inputs
        ts: Any
        arrays: Any
        if len(inputs) == 1:  # the short cuts save two list comprehensions
            (x,) = inputs
            youngest = x._number
            ts = (get(youngest),)
            arrays = inputs if create_graph else (x._ndarray,)
        elif len(inputs) == 2:
            a, b = inputs
            m, n = a._number if isinstance(a, Tensor) else -1, b._number if isinstance(b, Tensor) else -1
            youngest = m if m > n else n
            ts = (get(m), get(n))
            arrays = inputs if create_graph else (a if m < 0 else a._ndarray, b if n < 0 else b._ndarray)
        else:
            if not inputs:
                raise RuntimeError(f"forward mode: the graph of this {node._primitive.name} is gone; record it again")
            youngest = max([x._number for x in inputs if isinstance(x, Tensor)])
            ts = [get(x._number) if isinstance(x, Tensor) else None for x in inputs]
            arrays = inputs if create_graph else [x._ndarray if isinstance(x, Tensor) else x for x in inputs]
        record = node._primitive
        if youngest > number:
            raise _changed(record, next(x for x in inputs if isinstance(x, Tensor) and x._number == youngest))
        for t in ts:
            if t is not None:
                break
        else:
            continue
        y = node if create_graph else node._ndarray
        kind = record.jvps
        tangent = _BY_KIND[kind] if type(kind) is str else _joint if callable(kind) else _ruled if kind else _transposed
        d = tangent(record, ts, y, arrays, node._params or _NO_PARAMS)
        if d is not None:
            if d.shape != y.shape:
                d = _spread_over(d, node)
            if d.dtype is not y.dtype and d.dtype != y.dtype:
                d = of_dtype(d, y.dtype)
            tangents[number] = d
        if drops is not None and number in drops:
            for n in drops[number]:
                tangents.pop(n, None)


def _spread_over(d: Any, node: Tensor) -> Any:
    """The tangent of an input that was broadcast."""
    if d.ndim <= node.ndim and all(n in (1, m) for n, m in zip(d.shape[::-1], node.shape[::-1])):
        return spread(d, node.shape)
    raise ValueError(
        f"{node._primitive.name}: its forward rule returned shape {d.shape}; it must have the output's shape "
        f"{node.shape} (or one that broadcasts to it)"
    )


def _changed(record: Primitive, x: Tensor) -> RuntimeError:
    return RuntimeError(
        f"forward mode: an input of this {record.name} (shape {x.shape}) was written or assigned after it was used, so "
        f"the recorded graph no longer fits its values; take the derivative before the update"
    )


class Unsupported(Exception):
    """The graph holds something that only the reverse pass knows: hooks, values that are watched, or an infinite slope
    that meets a zero (see untaken.py)."""


def _refuse_watched(tensors: Iterable[Tensor]) -> None:
    watch = mode.get()
    looked_at = not isinstance(watch, bool) and not getattr(watch, "passive", False)
    if looked_at or any([x._hooks for x in tensors]):
        raise Unsupported


class Pushforward:
    """v ↦ J v, with J the Jacobian of recorded outputs by recorded leaves: about the cost of the forward pass.

    Args:
        outputs: Tensors; one of None or without history has a derivative of zero.
        leaves: the Tensors that move, made by no operation (or counted so: what they were made of stays where it is).

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> Pushforward([x * x], [x])([np.array([1.0, 0.0])])
    [array([2., 0.])]
    """

    def __init__(self, outputs: Sequence[Tensor | None], leaves: Sequence[Tensor]) -> None:
        self.outputs = [y if y is not None and y._requires_grad else None for y in outputs]
        self.numbers = [x._number for x in leaves]
        nodes, _ = reachable([y for y in self.outputs if y is not None])
        needed = leading_to(dict.fromkeys(self.numbers, _ANY), nodes)
        self.nodes = [nodes[n] for n in sorted(nodes) if n in needed]
        _refuse_watched([*self.nodes, *leaves])

    def __call__(self, tangents: Sequence[Any], create_graph: bool = False) -> list[Any]:
        """The tangents of the outputs, None where they are zero. They may share memory: never write into them.

        Raises:
            Unsupported: one of them is not finite, so that 0 · ∞ may have come by.
        """
        moved = {n: t for n, t in zip(self.numbers, tangents) if t is not None}
        try:
            push(self.nodes, moved, create_graph)
        except Undecided:
            raise Unsupported from None
        return _finite([None if y is None else moved.get(y._number) for y in self.outputs])


_ANY = wrap(np.zeros(()))


def _finite(results: list[Any]) -> list[Any]:
    for d in results:
        a = laid_out(d._ndarray if isinstance(d, Tensor) else d)
        if a is not None and not common(np.vdot(a, a) < math.inf) and not common(np.isfinite(a).all()):
            raise Unsupported
    return results


# Forward over reverse

_KEEPS, _PRODUCT, _CURVED = 0, 1, 2


class _Traced:
    """A rule at one place, recorded as a function of its cotangent g, of y and of the inputs that move (`inputs`: their
    numbers, there and here). A user's rule may also read older tensors, `others`, that it closed over."""

    __slots__ = ("g", "inputs", "nodes", "others", "result", "value", "y")

    def __init__(self, rule: Callable[..., Any], g: Any, node: Tensor, i: int, moving: Sequence[int]) -> None:
        start = clock()
        self.g, self.y = variable(g), variable(node._ndarray)
        self.inputs: list[tuple[int, int]] = []
        seen = []
        for x, n in zip(node._inputs, moving):
            if n >= 0:
                own = variable(x._ndarray)
                self.inputs.append((n, own._number))
                seen.append(own)
            else:
                seen.append(wrap(x._ndarray) if isinstance(x, Tensor) else _constant(x))
        d = rule(self.g, self.y, *seen, **node._params or {})
        if d.shape != node._inputs[i].shape:
            d = fitted(d, node._inputs[i], node)
        nodes = _made_since(start, d)
        self.nodes = [nodes[n] for n in sorted(nodes)]
        self.result = d._number
        used = [x for z in self.nodes for x in z._inputs if isinstance(x, Tensor)]
        self.others = {x._number: x for x in used if x._number < start}
        self.value = d._ndarray

    def __call__(self, h: Any, number: int, moved: dict[int, Any]) -> Any:
        """The tangent of the result, given those of g (h), of y (`number`) and of the inputs."""
        if h is not None:
            moved[self.g._number] = h
        t = moved.get(number)
        if t is not None:
            moved[self.y._number] = t
        for n, own in self.inputs:
            t = moved.get(n)
            if t is not None:
                moved[own] = t
        push(self.nodes, moved)
        return moved.get(self.result)


class ForwardOverReverse:
    """v ↦ ∂/∂x (Jᵀ u) · v with u held fixed, J the Jacobian of recorded outputs by recorded leaves x: the Hessian times
    a vector, where the output is one number and u is 1.

    Tangents go through the recorded forward pass, and then, beside the cotangents, through the reverse pass
    (Pearlmutter's R operator). A rule that is linear in what moves is applied to the tangents as it is; any other is
    recorded at its place and pushed through. The cotangents are computed once, so that a further product costs two
    passes. Nothing here can be differentiated again.

    Args:
        outputs: Tensors; one of None or without history counts as constant.
        leaves: the Tensors that move, made by no operation.
        cotangents: u, an array for each output; by default 1.
        reached: the nodes and leaves that the outputs were computed from, if the caller has them.

    Raises:
        Unsupported: there are hooks on the way, values are watched (`detect_anomaly`), a function is run again
            (`checkpoint`), a rule closes over a result that the outputs were not computed from, or an infinite slope
            meets a zero.
        RuntimeError: a tensor was changed after it was recorded (here or by a product).

    Source: Pearlmutter, "Fast exact multiplication by the Hessian", 1994.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> ForwardOverReverse([(x**3).sum()], [x])([np.array([1.0, 1.0])])
    [array([ 6., 12.])]
    """

    def __init__(
        self,
        outputs: Sequence[Tensor | None],
        leaves: Sequence[Tensor],
        cotangents: Parts = (),
        reached: tuple[dict[int, Tensor], dict[int, Tensor]] | None = None,
    ) -> None:
        self.leaves, self.numbers = leaves, [x._number for x in leaves]
        nodes, found = reached or reachable([y for y in outputs if y is not None and y._requires_grad])
        wanted = dict(zip(self.numbers, leaves))
        needed = None
        if not found.keys() <= wanted.keys():
            needed = leading_to(wanted, nodes)
            nodes = {n: node for n, node in nodes.items() if n in needed}
        self.nodes = [nodes[n] for n in sorted(nodes)]
        _refuse_watched([*self.nodes, *leaves])
        gs: dict[int, Any] = {}
        for k, y in enumerate(outputs):
            if y is not None and y._requires_grad:
                u = cotangents[k] if cotangents else np.ones_like(raw(y))
                if u is not None:
                    gs[y._number] = gs[y._number] + u if y._number in gs else u
        self._ends = {n: g for n, g in gs.items() if n in wanted}
        try:
            with differentiating():  # rules are recorded there
                self._steps, self._drops, self._held = self._reverse(nodes, needed, gs)
        except Undecided:
            raise Unsupported from None

    def _reverse(self, nodes: dict[int, Tensor], needed: dict[int, Tensor] | None, gs: dict[int, Any]) -> Any:
        """The reverse pass as far as the leaves' doors, and for each node what a product has to do there; by node,
        whose tangents it is the last to use in the forward pass; and whose are held to the end. Nodes whose tangents
        nothing needs, the loss itself for one, are left out of `self.nodes`."""
        steps = []
        seen: list[tuple[Tensor, int, Primitive]] = []
        forward: list[Tensor] = []
        last: dict[int, int] = {}
        used: set[int] = set()
        held: set[int] = set()
        for node in reversed(self.nodes):
            number = node._number
            g = gs.pop(number, None)
            record, inputs, params, y = node._primitive, node._inputs, node._params or _NO_PARAMS, node._ndarray
            moving = [
                x._number if isinstance(x, Tensor) and x._requires_grad and (not needed or x._number in needed) else -1
                for x in inputs
            ]
            for x in inputs:
                if isinstance(x, Tensor):
                    if x._number > number:
                        raise _changed(record, x)
                    seen.append((x, x._number, record))
            if g is None:
                if number in last:
                    forward.append(node)
                    for n in moving:
                        last.setdefault(n, number)
                continue
            if record.joint is not None and (record.jvps == () or callable(record.jvps)):
                raise Unsupported
            if g.dtype is not y.dtype and g.dtype != y.dtype:
                g = of_dtype(g, y.dtype)
            way = _WAYS.get(record.jvps, _CURVED)
            if way is _CURVED:
                used.add(number)
                used.update(moving)
            arrays = tuple([x._ndarray if isinstance(x, Tensor) else x for x in inputs])
            parts = []
            for i, (n, rule) in enumerate(zip(moving, record.vjps or record.rules(len(inputs)))):
                if n < 0 or rule is None:
                    continue
                x = inputs[i]
                others: list[tuple[int, int]] = []
                if way is _PRODUCT:
                    others = [(j, k) for j, k in enumerate(moving) if j != i and k >= 0]
                    used.update([k for _, k in others])
                elif way is _CURVED:
                    rule = traced = _Traced(rule, g, node, i, moving)
                    held.update(traced.others)
                    if any([z._requires_grad and z._inputs and k not in nodes for k, z in traced.others.items()]):
                        raise Unsupported  # it may move, but no tangent comes by
                if n in nodes:
                    d = traced.value if way is _CURVED else rule(g, y, *arrays, **params)
                    if d.shape != x._ndarray.shape:
                        d = fitted(d, x, node)
                    gs[n] = gs[n] + d if n in gs else d
                parts.append((x, rule, others))
            steps.append((node, number, y, g, arrays, params, way, parts))
            if number in last or number in used or held:
                forward.append(node)
                for n in moving:
                    last.setdefault(n, number)
        self.nodes, self._seen = forward[::-1], seen
        drops: dict[int, list[int]] = {}
        for n, number in last.items():
            if n >= 0 and n not in used and n not in held:
                drops.setdefault(number, []).append(n)
        return steps, drops, held

    def __call__(self, tangents: Parts) -> list[Any]:
        """The product, an array for each leaf, None where it is zero. They may share memory: never write into them.

        Raises:
            Unsupported: one of them is not finite, so that 0 · ∞ may have come by.
        """
        for x, number, record in self._seen:
            if x._number != number or (type(x._requires_grad) is int and settled(x) != number):
                raise _changed(record, x)
        try:
            return _finite(self._product(tangents))
        except Undecided:
            raise Unsupported from None

    def _product(self, tangents: Parts) -> list[Any]:
        moved = {n: t for n, t in zip(self.numbers, tangents) if t is not None}
        push(self.nodes, moved, drops=self._drops)
        hs: dict[int, Any] = {}  # the tangents of the cotangents
        summed: set[int] = set()  # those that are sums made here: these, and only these, may be written
        for node, number, y, g, arrays, params, way, parts in self._steps:
            h = hs.pop(number, None)
            if h is not None and h.dtype is not y.dtype and h.dtype != y.dtype:
                h = of_dtype(h, y.dtype)
            for x, rule, others in parts:
                n = x._number
                own = False
                if way is _CURVED:
                    d = rule(h, number, moved)
                else:
                    d = None if h is None else rule(h, y, *arrays, **params)
                    for j, other in others:
                        t = moved.get(other)
                        if t is not None:
                            if len(arrays) > 2:
                                e = rule(g, y, *arrays[:j], t, *arrays[j + 1 :], **params)
                            else:
                                e = rule(g, y, arrays[0], t, **params) if j else rule(g, y, t, arrays[1], **params)
                            if d is None:
                                d = e
                            elif (own or (d is not h and d.base is None)) and d.dtype == e.dtype and type(d) is type(e):
                                d += e
                                own = True
                            else:
                                d, own = d + e, True
                if d is None:
                    continue
                if d.shape != x._ndarray.shape:
                    d, own = fitted(d, x, node), False
                old = hs.get(n)
                if old is None:
                    hs[n] = d
                    if own:
                        summed.add(n)
                elif type(old) is not type(d):
                    hs[n] = old + d
                    summed.add(n)
                elif n in summed and (old.dtype is d.dtype or d.dtype.kind != "c"):
                    old += d
                    hs[n] = old
                elif own and (old.dtype is d.dtype or old.dtype.kind != "c"):
                    d += old
                    hs[n] = d
                    summed.add(n)
                else:
                    hs[n] = old + d
                    summed.add(n)
            if number not in self._held:
                moved.pop(number, None)
        return [hs.get(n) for n in self.numbers]

    def gradient(self) -> list[Any]:
        """Jᵀ u, an array for each leaf, None where it is zero. They may share memory: never write into them."""
        found: dict[int, Any] = dict(self._ends)
        leaves = {x._number for x in self.leaves}
        for node, _, y, g, arrays, params, way, parts in self._steps:
            for x, rule, _ in parts:
                n = x._number
                if n in leaves:
                    d = rule.value if way is _CURVED else rule(g, y, *arrays, **params)
                    d = d if d.shape == x._ndarray.shape else fitted(d, x, node)
                    found[n] = found[n] + d if n in found else d
        return [found.get(n) for n in self.numbers]


_WAYS: dict[Any, int] = {"piecewise": _KEEPS, "linear": _KEEPS, "multilinear": _PRODUCT}
