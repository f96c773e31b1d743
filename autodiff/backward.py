"""The reverse pass: vector-Jacobian products in reverse topological order, once for every order of derivative.

`reverse` is the one loop. `backward` leaves its results in `.grad`, `gradients` returns them.

Complex numbers z = x + i y. Users see the gradient of a real loss L as ∂L/∂x + i ∂L/∂y, for ``z -= lr * z.grad`` to
descend: in `.grad`, from `gradients` and every transform, and in hooks; the cotangents that they give mean the same.
Inside, the cotangent g of z is the conjugate of that, for which dL = Re(g dz): then the rule of a holomorphic function
is that of real numbers, ``g * f′(x)``, and a real input takes the real part of what its rule gives (`of_dtype`). The
two meet where cotangents enter (`_first_cotangent`), where gradients leave (`as_owned`) and around hooks. A tangent is
dz itself, inside and outside.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from functools import lru_cache
from threading import Lock
from typing import Any, cast

import numpy as np

from .mode import differentiating, mode, no_grad
from .tensor import Array, Tensor, as_array, clock, is_foreign, number_of, settled, wrap
from .untaken import Meetings, Undecided, answer, answered

_accumulating = Lock()
if hasattr(os, "register_at_fork"):  # or a child forked while another thread holds it would wait for ever
    os.register_at_fork(
        before=_accumulating.acquire, after_in_parent=_accumulating.release, after_in_child=_accumulating.release
    )

passes: deque[tuple[int, int, int]] = deque(maxlen=64)
"""Of the latest reverse passes that were recorded (`create_graph`), the clock before and after, and the order of the
derivatives: pictures draw what each made as a layer of its own."""


def _order(numbers: Sequence[int]) -> int:
    """The order of the derivatives that a pass through the nodes with these numbers (ascending) gives."""
    order = 1
    for began, ended, of in tuple(passes):  # in no order, where threads run
        first = bisect_left(numbers, began)
        if first < len(numbers) and numbers[first] < ended:
            order = max(order, of + 1)
    return order


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum a cotangent over the axes along which its operand of this shape was broadcast (the transpose of
    broadcasting). Works on arrays and Tensors."""
    if g.shape == shape:
        return g
    extra = g.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1)
    g = _summed(g, axes) if axes else g
    return g if g.shape == shape else g.reshape(shape)


def _summed(g: Any, axes: Any) -> Any:
    """A sum, in half precision added up in single, where NumPy adds up in half."""
    if g.dtype.char == "e" and not isinstance(g, Tensor):
        return g.sum(axis=axes, dtype=np.float32).astype(g.dtype)
    return g.sum(axis=axes)


def of_dtype(g: Any, dtype: Any) -> Any:
    """A tangent or cotangent in the dtype of what it belongs to; that of a real number, which moves along the real axis
    alone, is the real part. Works on arrays and Tensors."""
    if g.dtype.kind == "c" and dtype.kind != "c":
        g = g.real
    return g if g.dtype == dtype else g.astype(dtype)


def reachable(roots: Iterable[Tensor]) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """The results and the leaves that require a gradient and from which a root was computed, by number."""
    nodes: dict[int, Tensor] = {}
    leaves: dict[int, Tensor] = {}
    for root in roots:
        if root._requires_grad is not True and root._primitive is None and root._requires_grad:
            settled(root)
        (leaves if root._primitive is None else nodes)[root._number] = root
    stack = list(nodes.values())
    while stack:
        node = stack.pop()
        inputs = node._inputs
        if not inputs:
            raise RuntimeError(
                f"backward: the graph of this {node._primitive.name} is gone, because backward(retain_graph=False) "
                f"went through it before or its .data were assigned; record it again"
            )
        for x in inputs:
            if not isinstance(x, Tensor):
                continue
            flag = x._requires_grad
            if flag:
                number = x._number
                if x._primitive is None:
                    if flag is not True:
                        number = settled(x)  # if it was written since it was used, `reverse` will say so
                    if number > node._number and getattr(node._ndarray, "base", None) is not None:
                        raise _written(node, x)  # a view of it has other values now, whoever reads it
                    leaves[number] = x
                elif number not in nodes:
                    nodes[number] = x
                    stack.append(x)
            elif flag is not False:
                settled(x)
    return nodes, leaves


def _written(node: Tensor, x: Tensor) -> RuntimeError:
    return RuntimeError(
        f"backward: an input of this {node._primitive.name} (shape {x.shape}) was written or assigned after it was "
        f"used, so the recorded graph no longer fits its values; take the gradient before the update, or write into a "
        f"copy (t.copy())"
    )


def leading_to(wanted: dict[int, Tensor], nodes: dict[int, Tensor]) -> dict[int, Tensor]:
    """The wanted tensors and those of the nodes through which one of them is reached."""
    needed = dict(wanted)
    for number in sorted(nodes):
        node = nodes[number]
        if any(isinstance(x, Tensor) and x._number in needed for x in node._inputs):
            needed[number] = node
    return needed


def reverse(
    cotangents: dict[int, Any],
    nodes: dict[int, Tensor],
    wanted: dict[int, Tensor],
    create_graph: bool,
    needed: dict[int, Tensor] | None = None,
    free: bool = False,
    retain: bool = False,
    changes: dict[int, Array] | bool | None = None,
) -> dict[int, Any]:
    """Walk the nodes from young to old, push each cotangent through the rules of the operation that made the tensor,
    and return the cotangents of the `wanted`, by number. `needed`, if given, are the only tensors whose cotangents are
    computed. For cotangents that come from another pass, `changes` says which entries may change (see untaken.py), True
    where that is not known.

    With `create_graph` the cotangents and everything the rules see are Tensors, and the rules record what they do.
    """
    if (
        changes is None and answer.get() is not None
    ):  # taken inside a rule of another pass, whose answer is not for this
        with answered(None):
            return reverse(cotangents, nodes, wanted, create_graph, needed, free, retain)
    watch = mode.get()
    watch = None if isinstance(watch, bool) else watch
    seeds = dict(cotangents)
    meetings: Meetings | None = None  # for a second look, where an infinite slope meets a zero
    last = _last_needed(nodes) if free else 0
    passed: list[Tensor] = []
    began = clock() if create_graph else 0
    order = _order(sorted(nodes)) if create_graph else 0
    results: dict[int, Any] = {}
    summed: set[int] = set()  # cotangents that are sums made here: these, and only these, may be written
    kept: list[tuple[Tensor, Any]] = []
    due = _complete_after(nodes, wanted) if any([leaf._hooks for leaf in wanted.values()]) else None
    for number in sorted(nodes, reverse=True):
        g = cotangents.pop(number, None)
        if g is None:
            continue
        node = nodes[number]
        y = node if create_graph else node._ndarray
        if g.dtype is not y.dtype and g.dtype != y.dtype:
            g = of_dtype(g, y.dtype)
        if node._hooks:
            g = _run_hooks(node, g, create_graph, kept if retain else None)
            if "guard" in node._hooks and not isinstance(watch, _Guard):
                meetings = meetings or Meetings(seeds, nodes, changes)
                watch = _Guard(watch, meetings)
            if "shared" in node._hooks:  # by the examples of a batch
                watch = node._params["level"].watch(watch)  # type: ignore[index]
        if number in wanted:
            results[number] = g
        record = node._primitive
        inputs = node._inputs
        params = node._params
        arrays: Any
        if create_graph:
            arrays = inputs
        elif len(inputs) == 1:  # the short cuts save a list comprehension, a tenth of a small graph's time
            arrays = (inputs[0]._ndarray,)
        elif len(inputs) == 2:
            a, b = inputs
            arrays = (a._ndarray if isinstance(a, Tensor) else a, b._ndarray if isinstance(b, Tensor) else b)
        else:
            arrays = [x._ndarray if isinstance(x, Tensor) else x for x in inputs]
        rules = record.vjps
        if not rules:
            try:
                rules, arrays = record.pullbacks(len(inputs), g, y, arrays, params)
            except Undecided:
                meetings = meetings or Meetings(seeds, nodes, changes)
                with answered(meetings.changing(node)):
                    rules, arrays = record.pullbacks(len(inputs), g, y, arrays, params)
        for x, rule in zip(inputs, rules):
            if not isinstance(x, Tensor):
                continue
            n = x._number
            # A linear operation has the same slopes whatever the values; but a view of them shows the new ones.
            if n > number and (record.jvps != "linear" or node._ndarray.base is not None):
                raise _written(node, x)
            if not x._requires_grad or (needed is not None and n not in needed):
                continue
            try:
                d = rule(g, y, *arrays) if params is None else rule(g, y, *arrays, **params)
            except Undecided:
                meetings = meetings or Meetings(seeds, nodes, changes)
                with answered(meetings.changing(node)):
                    d = rule(g, y, *arrays, **(params or {}))
            if watch is not None:
                d = watch.pulled(d, g, node, x)
            if d.shape != x._ndarray.shape:
                d = fitted(d, x, node)
            old = cotangents.get(n)
            if old is None:
                cotangents[n] = d
            elif create_graph:
                cotangents[n] = old + d
            elif n in summed and type(old) is type(d) and (old.dtype is d.dtype or d.dtype.kind != "c"):
                old += d
                cotangents[n] = old
            else:
                cotangents[n] = old + d
                summed.add(n)
        if due is not None and number in due:
            for n in due[number]:
                g = cotangents.pop(n, None)
                if g is not None:
                    results[n] = _run_hooks(wanted[n], of_dtype(g, wanted[n]._ndarray.dtype), create_graph, None)
        if free:
            passed.append(node)
            if number <= last:
                for done in passed:
                    done._inputs, done._params = (), None
                    del nodes[done._number]
                passed.clear()
    for n in wanted:
        g = cotangents.get(n)
        if g is not None:
            leaf = wanted[n]
            if leaf._hooks:
                g = _run_hooks(leaf, of_dtype(g, leaf._ndarray.dtype), create_graph, None)
            results[n] = g
    for done in passed:
        done._inputs, done._params = (), None
    if create_graph:
        passes.append((began, clock(), order))
    for node, g in kept:
        node._grad = g if node._grad is None else node._grad + g
    return results


def _complete_after(nodes: dict[int, Tensor], wanted: dict[int, Tensor]) -> dict[int, list[int]]:
    """The leaves with hooks, by the number of the oldest node that takes them, which gives their last cotangent: a hook
    can send a gradient away while others are computed."""
    due: dict[int, list[int]] = {}
    seen: set[int] = set()
    for number in sorted(nodes):
        for x in nodes[number]._inputs:
            if isinstance(x, Tensor) and x._hooks and x._primitive is None:
                n = x._number
                if n in wanted and n not in seen:
                    seen.add(n)
                    due.setdefault(number, []).append(n)
    return due


def _summed_rows(d: Any) -> Any:
    """The sum over the first axis; of a small matrix by BLAS, in a third of the time of a reduction."""
    if d.ndim != 2 or d.size > 16384 or d.dtype.char not in "fd":
        return _summed(d, 0)
    if type(d) is not np.ndarray:
        own = getattr(type(d), "summed_rows", None)
        if own is not None:
            return own(d)
        return np.dot(np.ones_like(d, shape=d.shape[:1]), d) if is_foreign(d) and d.size else _summed(d, 0)
    return np.dot(_ones(d.shape[0], d.dtype.char), d)


@lru_cache(maxsize=64)
def _ones(n: int, kind: str) -> Array:
    return np.ones(n, kind)


def fitted(d: Any, x: Tensor, node: Tensor) -> Any:
    """A rule's result of another shape than its input: undo elementwise broadcasting, or say what is wrong."""
    shape, full = x._ndarray.shape, d.shape
    if full == node._ndarray.shape:
        if full[1:] == shape:  # a bias
            return _summed_rows(d)
        for n, m in zip(shape[::-1], full[::-1]) if len(shape) <= len(full) else ((2, 1),):
            if n != m and n != 1:
                break
        else:
            return unbroadcast(d, shape)
    i = [z is x for z in node._inputs].index(True)
    raise ValueError(
        f"{node._primitive.name}: the rule for input {i} returned shape {d.shape}; "
        f"it must have that input's shape {shape} (or the output's shape {node.shape}, if that is broadcast from it)"
    )


def _last_needed(nodes: dict[int, Tensor]) -> int:
    """The number of the last node of a pass whose slope may be infinite: until it is passed, what lies above it must
    not be freed, because a meeting of infinity and zero is settled by a look at that (see untaken.py). A `where` that
    hides what is not finite is on its guard to the end."""
    last = 1 << 62
    for number, node in nodes.items():
        if node._hooks and "guard" in node._hooks:
            return -1
        singular = node._primitive.singular
        if singular is not False and number < last and (singular is True or singular(*node._inputs)):
            last = number
    return last


class _Guard:
    """On duty in a reverse pass below a `where` that hides infinite or NaN values: where the cotangent of an
    elementwise operation is 0 because its branch was not taken, so is the one it passes on, and not 0 · ∞."""

    def __init__(self, watch: Any, meetings: Meetings) -> None:
        self.watch, self.meetings = watch, meetings

    def pulled(self, d: Any, g: Any, node: Tensor, x: Tensor) -> Any:
        a, b = (v._ndarray if isinstance(v, Tensor) else v for v in (d, g))
        if a.shape == b.shape:
            off = np.isnan(a) & (b == 0)
            if is_foreign(off) or off.any():
                d = np.where(off & ~self.meetings.changing(node), 0, d)
        return d if self.watch is None else self.watch.pulled(d, g, node, x)


def _run_hooks(node: Tensor, g: Any, create_graph: bool, kept: list[tuple[Tensor, Any]] | None) -> Any:
    hooks = node._hooks
    assert hooks is not None
    g = g.conj() if node._ndarray.dtype.kind == "c" else g
    for hook in list(hooks.values()):
        if hook is None:  # a mark
            continue
        reads = getattr(hook, "only_reads", False)  # a copy of the gradient would cost as much as what it does
        given = g if create_graph else wrap(g if reads else as_array(g, copy=True))
        with differentiating() if create_graph else no_grad():
            new = hook(given)
        if new is None:
            continue
        if not isinstance(new, Tensor):
            raise TypeError(f"a gradient hook must return a Tensor or None, not {type(new).__name__}")
        if new.shape != node.shape:
            raise ValueError(f"a gradient hook returned shape {new.shape} for a tensor of shape {node.shape}")
        if new.dtype != node.dtype:
            new = of_dtype(new, node.dtype)
        g = new if create_graph else new._ndarray
    if kept is not None and "retain_grad" in hooks:
        kept.append((node, g if create_graph else wrap(as_array(g, copy=True))))
    return g.conj() if node._ndarray.dtype.kind == "c" else g


def _first_cotangent(y: Tensor, g: Any, where: str, create_graph: bool) -> Any:
    """The cotangent an output starts with: what was given, checked, or 1 for an output of one element."""
    if g is None:
        if y._ndarray.size != 1:
            raise ValueError(
                f"{where}: the output has shape {y.shape}, so its gradient is not one number; reduce it "
                f"(y.sum(), y.mean()) or give the cotangent to start from, an array of that shape"
            )
        data = y._ndarray
        if data.dtype.kind == "c":
            raise ValueError(
                f"{where}: the output is complex, and only a real number has a gradient; reduce it to one "
                f"(abs(y) ** 2, y.real), or give the cotangent to start from"
            )
        if type(data) is not np.ndarray and is_foreign(data):
            ones = np.ones_like(data)
        else:
            ones = np.ones(data.shape, data.dtype) if data.ndim else data.dtype.type(1)
        return wrap(ones) if create_graph else ones
    tensor = g if isinstance(g, Tensor) else wrap(as_array(g, copy=False))
    if tensor.shape != y.shape:
        raise ValueError(f"{where}: the given gradient has shape {tensor.shape}, the output has shape {y.shape}")
    if tensor.dtype != y.dtype:
        strict = isinstance(g, (Tensor, np.ndarray, np.generic)) or tensor.dtype.kind == "c"
        if strict and not np.can_cast(tensor.dtype, y.dtype, "safe"):
            raise TypeError(
                f"{where}: the given gradient has dtype {tensor.dtype}, the output {y.dtype}; "
                f"pass gradient.astype({y.dtype})"
            )
        tensor = tensor.astype(y.dtype)
    if is_foreign(y._ndarray) and not is_foreign(tensor._ndarray) and not tensor._requires_grad:
        tensor = wrap(np.full_like(y._ndarray, tensor._ndarray))  # of the same type
    if tensor.dtype.kind == "c":
        tensor = cast(Any, tensor).conj()
    return tensor if create_graph else tensor._ndarray


def as_owned(results: dict[int, Any], targets: dict[int, Tensor], shared: Sequence[Any]) -> dict[int, Tensor]:
    """Gradients as users see them, from cotangents: Tensors that own their memory and have their target's dtype,
    copying only what lives elsewhere: a view, or an array that is also another result or the given cotangent."""
    seen = {id(s._ndarray if isinstance(s, Tensor) else s) for s in shared}
    owned: dict[int, Tensor] = {}
    for n, g in results.items():
        dtype = targets[n]._ndarray.dtype
        if dtype.kind == "c":
            g = g.conj()
        if isinstance(g, Tensor):
            if g._ndarray.dtype != dtype:
                g = of_dtype(g, dtype)
            if g._requires_grad:
                owned[n] = g
                continue
            g = g._ndarray
        if g.dtype is not dtype and g.dtype != dtype:
            g = of_dtype(g, dtype)
        if isinstance(g, np.generic):
            g = np.asarray(g)
        elif g.base is not None or id(g) in seen:
            g = g.copy()
        seen.add(id(g))
        owned[n] = wrap(g)
    return owned


def backward(output: Tensor, gradient: Any = None, *, create_graph: bool = False, retain_graph: bool = True) -> None:
    """See `Tensor.backward`."""
    if not output._requires_grad:
        raise RuntimeError(
            "backward: this tensor does not require a gradient: it was computed from constants or under no_grad(); "
            "create an input with requires_grad=True"
        )
    g = _first_cotangent(output, gradient, "backward", create_graph)
    nodes, leaves = reachable([output])
    with differentiating() if create_graph else _as_is:
        seed = {output._number: g}
        results = reverse(seed, nodes, leaves, create_graph, free=not retain_graph, retain=True)
        owned = as_owned(results, leaves, [g])
        with _accumulating:
            for n, new in owned.items():
                x = leaves[n]
                if x._grad is None:
                    x._grad = new
                elif create_graph:
                    x._grad = x._grad + new
                else:
                    x._grad = wrap(x._grad._ndarray + new._ndarray)


class _AsIs:
    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...


_as_is = _AsIs()


def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """The gradients of a recorded computation, without touching any ``.grad``.

    Args:
        outputs: a Tensor, or a sequence of Tensors whose gradients are summed.
        inputs: the Tensor or Tensors to differentiate by, leaves or results in the outputs' graph.
        grad_outputs: the cotangent of each output (its shape), in the form of `outputs`; 1 for outputs of one element.
        create_graph: record the derivative's own graph, so that it can be differentiated again.
        retain_graph: False frees the part of the graph that was walked, as `backward` does; None, like True, keeps it
            (in PyTorch it keeps it with `create_graph` alone).
        allow_unused: give None for an input that the outputs do not depend on, in place of an error.

    Returns:
        A tuple with a Tensor (shape and dtype of the input) for each input.

    Raises:
        ValueError: an output is not a scalar and has no cotangent, or a cotangent's shape is wrong.
        RuntimeError: no output requires a gradient, an input is unused, or the graph was freed or changed.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (g,) = gradients((x**3).sum(), x, create_graph=True)
    >>> gradients(g, x, grad_outputs=[1.0, 0.0])
    (Tensor([6., 0.]),)
    """
    ys = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    xs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if not ys or not xs:
        raise ValueError("gradients: needs at least one output and one input")
    seeds = _seeds(outputs, ys, grad_outputs)
    wanted: dict[int, Tensor] = {}
    for x in xs:
        if not isinstance(x, Tensor):
            raise TypeError(f"gradients: inputs must be Tensors, not {type(x).__name__}")
        if not x._requires_grad:
            raise RuntimeError(
                f"gradients: an input (shape {x.shape}) does not require a gradient; "
                f"create it with requires_grad=True before the computation"
            )
        wanted[number_of(x)] = x
    cotangents: dict[int, Any] = {}
    roots = []
    for y, seed in zip(ys, seeds):
        if not isinstance(y, Tensor):
            raise TypeError(f"gradients: outputs must be Tensors, not {type(y).__name__}")
        g = _first_cotangent(y, seed, "gradients", create_graph)
        if y._requires_grad:
            roots.append(y)
            n = y._number
            cotangents[n] = cotangents[n] + g if n in cotangents else g
    if not roots and not allow_unused:
        raise RuntimeError(
            "gradients: no output requires a gradient: they were computed from constants or under no_grad()"
        )
    shared = [*cotangents.values()]
    nodes, leaves = reachable(roots)
    # Where there is a leaf that nobody asked for, leave out what only leads there.
    needed = None if leaves.keys() <= wanted.keys() else leading_to(wanted, nodes)
    with differentiating() if create_graph else _as_is:
        free = retain_graph is False
        owned = as_owned(reverse(cotangents, nodes, wanted, create_graph, needed, free), wanted, shared)
    if len(owned) == len(xs):
        return tuple([owned[n] for n in wanted])  # of a list: a tuple of an iterator swells CPython's free lists
    if len(owned) < len(wanted) and not allow_unused:
        i, x = next((i, x) for i, x in enumerate(xs) if x._number not in owned)
        raise RuntimeError(
            f"gradients: the outputs do not depend on input {i} (shape {x.shape}"
            + (f", name {x.name!r}" if x.name else "")
            + "); pass allow_unused=True to get None for it"
        )
    return tuple([owned.get(x._number) for x in xs])


def _seeds(outputs: Any, ys: tuple[Any, ...], grad_outputs: Any) -> tuple[Any, ...]:
    """`grad_outputs` as one cotangent (or None) for each output."""
    if grad_outputs is None:
        return (None,) * len(ys)
    if isinstance(outputs, Tensor):
        alone = isinstance(grad_outputs, (tuple, list)) and len(grad_outputs) == 1
        wrapped = alone and np.ndim(getattr(grad_outputs[0], "_ndarray", grad_outputs[0])) == outputs.ndim
        return tuple(grad_outputs) if wrapped else (grad_outputs,)
    seeds = tuple(grad_outputs) if not isinstance(grad_outputs, Tensor) else (grad_outputs,)
    if len(seeds) != len(ys):
        raise ValueError(f"gradients: {len(ys)} outputs but {len(seeds)} grad_outputs")
    return seeds
