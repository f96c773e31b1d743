"""Graphs that are recorded once and walked many times: a transposed Jacobian, and from two of them a Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ..backward import gradients, leading_to, reachable, reverse
from ..mode import differentiating
from ..tensor import Array, Tensor, variable
from ..transforms import forward

Parts = Sequence["Array | None"]
"""An array for each parameter (or output); None stands for zeros."""


class Pullback:
    """v ↦ Jᵀ v, with J the Jacobian of recorded outputs by recorded inputs. Which nodes lead from the outputs to the
    inputs is found out once; a product is then one reverse pass over arrays.

    An output of None or without history has zero derivatives.
    """

    def __init__(self, outputs: Sequence[Tensor | None], inputs: Sequence[Tensor]) -> None:
        self.outputs = [y if y is not None and y._requires_grad else None for y in outputs]
        self.numbers = [x._number for x in inputs]
        self.wanted = dict(zip(self.numbers, inputs))
        self.nodes, leaves = reachable([y for y in self.outputs if y is not None])
        self.needed = None if leaves.keys() <= self.wanted.keys() else leading_to(self.wanted, self.nodes)

    def __call__(self, cotangents: Parts) -> list[Array | None]:
        """The cotangents of the inputs; None where they are zero. They may share memory: never write into them."""
        if not all([node._inputs for node in self.nodes.values()]):
            raise RuntimeError(
                "curvature: the recorded graph is gone, because backward(retain_graph=False) went through it or the "
                ".data of one of its results were assigned; make the operator anew"
            )
        seeds: dict[int, Any] = {}
        for y, g in zip(self.outputs, cotangents):
            if y is not None and g is not None:  # two outputs may be one tensor: ∂(a + b)² by a and by b
                n = y._number
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
            return np.zeros(self.output.shape, self.output.dtype) if pushed is None else pushed
        if self.twice is None:
            u = variable(np.ones(self.output.shape, self.output.dtype))
            pulled: Sequence[Tensor | None] = [None] * len(self.inputs)
            if self.output._requires_grad:
                pulled = gradients(self.output, self.inputs, u, create_graph=True, allow_unused=True)
            self.twice = Pullback(pulled, [u])
        (pushed,) = self.twice(tangents)
        return np.zeros(self.output.shape, self.output.dtype) if pushed is None else pushed


def evaluated(where: str, what: str, function: Tensor | Callable[..., Any], arguments: Sequence[Any]) -> Tensor:
    """The Tensor itself, or the one that the function returns, recording."""
    with differentiating():
        y = function if isinstance(function, Tensor) else function(*arguments)
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


def scalar(where: str, y: Tensor) -> Tensor:
    """The loss, after checking that it is one number."""
    if y.size != 1:
        raise ValueError(f"{where}: the loss has shape {y.shape}; it must be one number, reduce it (.sum(), .mean())")
    return y
