"""A recorded graph once more, with traced arrays in its leaves: passes over it are then written down call by call.

A function that is traced runs again; of a graph only the operations are known, and these run here, each by its record.
What an operation of a user's reads besides its inputs is not seen, so that it is called whole, and depends on all.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..ops.elementwise import where
from ..primitive import REGISTRY, Primitive, general
from ..tensor import Tensor, wrap
from . import lowering as lowering
from .tracer import Trace, TraceError, Tracer, call


def replayed(
    trace: Trace,
    results: Sequence[Tensor],
    leaves: Mapping[int, Any],
    arrays: Mapping[int, Any],
    copies: Mapping[int, int],
) -> dict[int, Tensor]:
    """The tensors of a graph again, by number, with the numbers, names and flags of the first.

    Args:
        trace: what the calls are written into.
        results: all results of the graph, oldest first.
        leaves: traced arrays for leaves, by number; others stay as they are.
        arrays: traced arrays for arrays among the inputs, by id.
        copies: of leaves that hold the values of a result, detached, the number of that.

    Raises:
        TraceError: for what cannot be computed again.
        Uncommon: the values are no example of what is common.
    """
    made: dict[int, Tensor] = {}
    given = [*leaves.values(), *arrays.values()]

    def again(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return arrays.get(id(x), x)
        if x._number not in made:
            origin = copies.get(x._number)
            data = leaves.get(x._number, x._ndarray) if origin is None else made[origin]._ndarray
            made[x._number] = _alike(wrap(data), x)
        return made[x._number]

    for node in results:
        if any(hook is not None for hook in (node._hooks or {}).values()):
            raise TraceError("a gradient hook is a function of yours, which is not recorded")
        made[node._number] = _alike(_result(trace, node, tuple(map(again, node._inputs)), given), node)
    for x in made.values():
        if x._primitive is None and any(hook is not None for hook in (x._hooks or {}).values()):
            raise TraceError("a gradient hook is a function of yours, which is not recorded")
    return made


def _alike(new: Tensor, x: Tensor) -> Tensor:
    new._number, new._requires_grad, new._line, new._name = x._number, bool(x._requires_grad), x._line, x._name
    new._hooks = x._hooks if new._hooks is None else new._hooks
    return new


def _result(trace: Trace, node: Tensor, inputs: tuple[Any, ...], given: Sequence[Any]) -> Tensor:
    record, params = node._primitive, {key: _own(value) for key, value in (node._params or {}).items()}
    if record is REGISTRY["where"]:  # it marks itself where it hides what is no number
        return where(*inputs)
    if REGISTRY.get(record.name) is not record:
        record = _whole(trace, node, given)
    return general(record)(*inputs, **params)


def _own(value: Any) -> Any:
    """An option; of what an operation notes for its backward pass a copy, which it fills anew."""
    return copy.copy(value) if getattr(value, "internal", False) is True and not isinstance(value, tuple) else value


def _whole(trace: Trace, node: Tensor, given: Sequence[Any]) -> Primitive:
    """The operation that made a result, as one call of all that the trace is given."""
    record, n = node._primitive, len(node._inputs)

    def called(function: Any, *args: Any, **params: Any) -> Any:
        if any(isinstance(x, Tensor) for x in args):
            raise TraceError(f"{record.name} is an operation that is run again for its second derivative")
        plain = [x.current().value if isinstance(x, Tracer) else x for x in args]
        value = np.asarray(function(*plain, **params))
        everything = (*args, *given)
        return call(trace, lambda *all_: function(*all_[: len(args)], **params), everything, {}, value, "", record.name)

    def pulled(i: int, g: Any, y: Any, *inputs: Any, **params: Any) -> Any:
        rules, arrays = record.pullbacks(n, g, y, inputs, params)
        rule: Any = rules[i]
        return rule(g, y, *arrays, **params)

    return Primitive(
        record.name,
        partial(called, lambda *_, **__: np.asarray(node._ndarray)),
        each=lambda i, g, y, *inputs, **params: called(partial(pulled, i), g, y, *inputs, **params),
        formula=record.formula,
        derivatives=record.derivatives,
    )
