"""Graphs that are recorded once and walked many times: a transposed Jacobian, from two of them a Jacobian, and any of
these for many vectors at once; and what operators are made of, checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ..backward import gradients, leading_to, reachable, reverse
from ..batching.batch import Batch, quiet, spread_in
from ..batching.examples import batched
from ..device_arrays import device_array
from ..devices import place_of, put
from ..mode import differentiating, mode
from ..tensor import Array, Tensor, is_foreign, variable
from ..transforms import forward
from ..transforms.functional import ROOM

Parts = Sequence["Array | None"]
"""An array for each parameter (or output); None stands for zeros."""


class Pullback:
    """v ↦ Jᵀ v, with J the Jacobian of recorded outputs by recorded inputs. Which nodes lead from the outputs to the
    inputs is found out once; a product is then one reverse pass over arrays.

    An output of None or without history has zero derivatives. Vectors in the processor's memory go where the graph is.
    """

    def __init__(self, outputs: Sequence[Tensor | None], inputs: Sequence[Tensor]) -> None:
        self.outputs = [y if y is not None and y._requires_grad else None for y in outputs]
        self.numbers = [x._number for x in inputs]
        self.wanted = dict(zip(self.numbers, inputs))
        self.nodes, leaves = reachable([y for y in self.outputs if y is not None])
        self.needed = None if leaves.keys() <= self.wanted.keys() else leading_to(self.wanted, self.nodes)
        self.looked_at = any([x._hooks for found in (self.nodes, leaves) for x in found.values()])

    def __call__(self, cotangents: Parts) -> list[Array | None]:
        """The cotangents of the inputs; None where they are zero. They may share memory: never write into them."""
        if not all([node._inputs for node in self.nodes.values()]):
            raise RuntimeError(
                "curvature: the recorded graph is gone, because backward(retain_graph=False) went through it or the "
                ".data of one of its results were assigned; make the operator anew"
            )
        if self.looked_at and any([isinstance(g, Batch) for g in cotangents]):
            raise forward.Unsupported  # hooks hear one cotangent after the other
        seeds: dict[int, Any] = {}
        for y, g in zip(self.outputs, cotangents):
            if y is not None and g is not None:  # two outputs may be one tensor: ∂(a + b)² by a and by b
                n = y._number
                g = _beside(g, y)
                seeds[n] = seeds[n] + g if n in seeds else g
        found = reverse(seeds, self.nodes, self.wanted, False, self.needed)
        return [found.get(n) for n in self.numbers]


class Pushforward:
    """v ↦ J v, in forward mode. Where the graph bars its way (hooks, for one): the pullback of the pullback, which is
    linear in its cotangent u, so that its derivative by u is J; that is recorded when the first product is asked for.
    (It starts from u = 1, not from 0, where rules may leave out a branch.)
    """

    def __init__(self, output: Tensor, inputs: Sequence[Tensor]) -> None:
        self.output, self.inputs = output, inputs
        self.twice: Pullback | None = None
        self.push: forward.Pushforward | None = None
        with suppress(forward.Unsupported):
            self.push = forward.Pushforward([output], inputs)

    def __call__(self, tangents: Parts) -> Array:
        """J v, in the output's shape."""
        if self.push is not None:
            try:
                (pushed,) = self.push(tangents)
            except forward.Unsupported:
                self.push = None
                return self(tangents)
            return np.zeros_like(self.output._ndarray) if pushed is None else pushed
        if self.twice is None:
            u = variable(np.ones_like(self.output._ndarray))
            pulled: Sequence[Tensor | None] = [None] * len(self.inputs)
            if self.output._requires_grad:
                pulled = gradients(self.output, self.inputs, u, create_graph=True, allow_unused=True)
            self.twice = Pullback(pulled, [u])
        (pushed,) = self.twice(tangents)
        return np.zeros_like(self.output._ndarray) if pushed is None else pushed


def in_memory(value: Any) -> Any:
    """A tensor or an array in the processor's memory; what a trace has in place of an array stays that."""
    array = put(device_array(getattr(value, "_ndarray", value)), None)
    return array if is_foreign(array) else np.asarray(array)


def _beside(vector: Any, tensor: Tensor) -> Any:
    """A vector, or a batch of them, where a tensor is."""
    return vector if isinstance(vector, Batch) else put(vector, place_of(tensor._ndarray))


FEW = 3
"""Fewer vectors are taken one by one."""

Many = Sequence[Array]
"""Of several vectors: for each parameter (or output) an array with the vectors along its first axis."""


class Together:
    """Products of recorded linear maps with many vectors: with as many at once as there is room for, hidden in batches;
    one by one where hooks look at them, where values are watched, and from when a rule has failed on a batch."""

    def __init__(self) -> None:
        self.alone = False
        self._measured: tuple[list[int], int] = [], 1  # of which roots, by number, so that no graph is kept alive

    def __call__(
        self, roots: Sequence[Tensor], product: Callable[[Parts], Parts], many: Many
    ) -> Iterator[tuple[slice, Parts]]:
        """The products piece by piece: of which vectors, and their parts as `Many`, None where they are zero, in the
        processor's memory. `roots` is what the product's graph was recorded up to."""
        count, start = len(many[0]), 0
        many = [_beside(part, roots[0]) for part in many]
        room = self._room(roots) if count >= FEW else 1
        while start < count:
            piece = slice(start, min(start + room, count))
            found = self._at_once(product, [part[piece] for part in many]) if room > 1 else None
            if found is None:
                room, piece = 1, slice(start, start + 1)
                one = product([part[start] for part in many])
                found = [None if y is None else in_memory(y)[None] for y in one]
            yield piece, found
            start = piece.stop

    def _room(self, roots: Sequence[Tensor]) -> int:
        if self.alone or not isinstance(mode.get(), bool):
            return 1
        numbers = [y._number for y in roots]
        if numbers != self._measured[0]:
            nodes, leaves = reachable([y for y in roots if y._requires_grad])
            largest = max([x.size for found in (nodes, leaves) for x in found.values()], default=1)
            self._measured = numbers, max(ROOM // max(largest, 1), 1)
        return self._measured[1]

    def _at_once(self, product: Callable[[Parts], Parts], many: Many) -> Parts | None:
        with batched(len(many[0])) as level:
            token = quiet.set(True)
            try:
                found = product([Batch(level, part) for part in many])
            except Exception:  # a rule fails on a batch in ways of its own; a true error comes again, for one vector
                self.alone = True
                return None
            finally:
                quiet.reset(token)
            return [None if y is None else in_memory(spread_in(y, level)) for y in found]


def checked_parameters(where: str, params: Iterable[Tensor]) -> list[Tensor]:
    """The parameters, after checking that curvature can be taken by them."""
    if not isinstance(params, Iterable):
        raise TypeError(f"{where}: params takes Tensors, such as model.parameters(), not {type(params).__name__}")
    found = list(params)
    seen: dict[int, int] = {}
    for i, p in enumerate(found):
        if not isinstance(p, Tensor):
            raise TypeError(f"{where}: params must be Tensors, but params[{i}] is {type(p).__name__}")
        if not p.requires_grad:
            raise ValueError(
                f"{where}: params[{i}] (shape {p.shape}) does not require a gradient; "
                f"create it with requires_grad=True before the computation"
            )
        if p.dtype.kind == "c":
            raise TypeError(
                f"{where}: params[{i}] (shape {p.shape}) is complex, and curvature is that of real parameters; "
                f"take its real and its imaginary part, z = x + 1j * y"
            )
        if seen.setdefault(p._number, i) != i:
            raise ValueError(f"{where}: params[{i}] is params[{seen[p._number]}] again")
    if not found:
        raise ValueError(f"{where}: needs at least one parameter")
    return found


def recorded_or_function(where: str, what: str, given: Any) -> Any:
    """A recorded Tensor or a function, after checking that it is one of them."""
    if isinstance(given, Tensor):
        if not given.requires_grad:
            raise RuntimeError(
                f"{where}: {what} does not require a gradient: it was computed from constants or under no_grad(), "
                f"so its derivatives are unknown"
            )
    elif not callable(given):
        raise TypeError(f"{where}: {what} must be a recorded Tensor or a function, not {type(given).__name__}")
    return given


def evaluated(where: str, what: str, function: Tensor | Callable[..., Any], arguments: Sequence[Any]) -> Tensor:
    """The Tensor itself, or the one that the function returns, recording."""
    with differentiating():
        try:
            y = function if isinstance(function, Tensor) else function(*arguments)
        except TypeError:
            _require_taken(where, what, function, len(arguments))
            raise
    if not isinstance(y, Tensor):
        raise TypeError(
            f"{where}: {what} must return a Tensor that it computed from the parameters, not {type(y).__name__}; "
            f"float(), .item() and .numpy() inside it cut the derivative off"
        )
    if y.dtype.kind == "c":
        raise TypeError(
            f"{where}: {what} is complex ({y.dtype}), and curvature is that of real numbers; take abs(y) ** 2"
        )
    return y


_WRITTEN = {
    ("output", 0): "lambda: model(x)", ("loss", 0): "lambda: loss(model(x), y)", ("loss", 1): "lambda z: loss(z, y)",
}  # fmt: skip


def _require_taken(where: str, what: str, function: Any, count: int) -> None:
    """Raise if a function, or a module, cannot be called with so many arguments."""
    try:
        inspect.signature(getattr(function, "forward", function)).bind(*[None] * count)
    except ValueError:  # a function of another language, which does not say
        return
    except TypeError as error:
        written = _WRITTEN.get((what, count))
        raise TypeError(
            f"{where}: {what} is called with {count or 'no'} argument{'s' * (count != 1)}, and "
            f"{type(function).__name__} cannot be: {error}" + f"; write {what}={written}" * bool(written)
        ) from None


def scalar(where: str, y: Tensor) -> Tensor:
    """The loss, after checking that it is one number."""
    if y.size != 1:
        raise ValueError(f"{where}: the loss has shape {y.shape}; it must be one number, reduce it (.sum(), .mean())")
    return y
