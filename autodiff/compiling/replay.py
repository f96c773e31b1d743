"""A recorded graph once more, with traced arrays in its leaves: passes over it are then written down call by call.

A function that is traced runs again; of a graph only the operations are known, and these run here, each by its record.
What an operation of a user's reads besides its inputs is not seen, so that it is called whole, and depends on all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..batching.batch import Batch, laid_out
from ..batching.examples import entering, leaving
from ..ops.elementwise import where
from ..primitive import REGISTRY, Primitive, general
from ..tensor import Tensor, wrap
from ..untaken import Undecided
from . import lowering as lowering
from .program import Node
from .tracer import Trace, TraceError, Tracer, Uncommon, call


def replayed(
    trace: Trace,
    results: Sequence[Tensor],
    leaves: Mapping[int, Any],
    arrays: dict[int, Any],
    copies: Mapping[int, int],
) -> dict[int, Tensor]:
    """The tensors of a graph again, by number, with the numbers, names and flags of the first.

    Args:
        trace: what the calls are written into.
        results: all results of the graph, oldest first.
        leaves: traced arrays for leaves, by number; others are constants.
        arrays: traced arrays for arrays among the inputs, by id; the others are added, as constants.
        copies: of leaves that hold the values of a result, detached, the number of that.

    Raises:
        TraceError: for what cannot be computed again.
        Uncommon: the values are no example of what is common.
    """
    made: dict[int, Tensor] = {}
    given = [*leaves.values(), *arrays.values()]

    def again(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return arrays.setdefault(id(x), trace.constant(x)) if isinstance(x, np.ndarray) and x.ndim else x
        if x._number not in made:
            origin = copies.get(x._number)
            data = leaves.get(x._number) if origin is None else made[origin]._ndarray
            made[x._number] = _alike(wrap(_inside(x._ndarray, trace.constant) if data is None else data), x)
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
    record: Any = node._primitive
    params = {key: _own(value) for key, value in (node._params or {}).items()}
    if record is REGISTRY["where"]:  # it marks itself where it hides what is no number
        return where(*inputs)
    if record in (entering, leaving):
        return general(record)(*inputs, **(node._params or {}))
    own = REGISTRY.get(record.name) is record
    if own and all(map(_is_plain, params.values())):
        try:
            made: Tensor = general(record)(*inputs, **params)
        except Exception:
            if trace.failure is None or isinstance(trace.failure, Uncommon):
                raise trace.failure or TraceError(f"{record.name} does not run on what is traced") from None
            trace.failure, made = None, wrap(node._ndarray)  # what no program can follow is repeated whole
        if (_depends(made) or not any(map(_depends, inputs))) and _rules_run(node):
            return made
    if any(isinstance(x._ndarray, Batch) for x in (node, *node._inputs) if isinstance(x, Tensor)):
        raise TraceError(f"{record.name} cannot be followed, and runs for all examples of a vmap")
    return general(_whole(trace, node, given))(*inputs, **(node._params or {}))


def _rules_run(node: Tensor) -> bool:
    """Whether the rules of an operation run on traced arrays, tried apart."""
    record, params, trace = node._primitive, node._params or {}, Trace(rare=True)
    arrays = [x._ndarray if isinstance(x, Tensor) else x for x in node._inputs]
    arrays = [_inside(a, trace.input) if isinstance(a, (np.ndarray, np.generic, Batch)) else a for a in arrays]
    y, g = _inside(node._ndarray, trace.input), _inside(np.ones_like(node._ndarray), trace.input)
    try:
        rules, given = record.pullbacks(len(arrays), g, y, arrays, params)
        for x, rule in zip(node._inputs, rules):
            if isinstance(x, Tensor) and x._requires_grad and rule is not None:
                rule(g, y, *given, **params)
    except Undecided:
        return True
    except Exception:
        return False
    return True


def _inside(array: Any, made: Callable[[Any], Any]) -> Any:
    """What is made of an array, in a batch of the examples of it."""
    return Batch(array.level, _inside(array.value, made)) if isinstance(array, Batch) else made(array)


def _depends(x: Any) -> bool:
    """Whether a value is computed from what is traced."""
    array = laid_out(x._ndarray if isinstance(x, Tensor) else x)
    return isinstance(array, Tracer) and isinstance(array.node, Node)


def _own(value: Any) -> Any:
    """An option. What an operation noted in its forward pass is left out, or copied to be filled anew."""
    if getattr(value, "internal", False) is not True:
        return value
    return None if isinstance(value, tuple) else copy.copy(value)


def _is_plain(value: Any) -> bool:
    """Whether an option is made of numbers, arrays, words and the like, in which nothing of a run is hidden."""
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    kinds = (bool, int, float, str, np.ndarray, np.generic, np.dtype, slice, range, type, type(None), type(...))
    return isinstance(value, kinds) or getattr(value, "internal", False) is True


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
