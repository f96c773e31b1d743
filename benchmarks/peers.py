"""The sides: this engine, its peers and hand-written NumPy, each saying once how a gradient and an HVP are taken.

A loss is written once, ``loss(xp, params, constants)``: operators, methods, and the functions that `xp` has, ``tanh``,
``relu``, ``ndtr``, ``repeated`` and those of an array namespace ``np``; sides that lack one take no part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import numpy as np

Arrays = list[np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Problem:
    """A scalar loss, where it is differentiated, and its derivatives written by hand."""

    loss: Callable[..., Any]
    params: Arrays
    constants: Arrays = field(default_factory=list)
    vectors: Arrays = field(default_factory=list)
    """What the Hessian is multiplied by."""
    gradient_by_hand: Callable[..., Arrays] | None = None
    hvp_by_hand: Callable[..., Arrays] | None = None
    value_and_gradient_by_hand: Callable[..., Arrays] | None = None
    """The loss, then its gradient."""


class Unsupported(Exception):
    """Why a side does not take part in a workload."""


class Peer:
    """One side. `gradient` and `hvp` return a function of no arguments that computes the derivative by all params."""

    name: str
    package: str
    threads: tuple[int, ...] = (1, 2)
    compiles = False
    """Whether it makes a program first, which of a million operations takes too long."""

    def tape(self, problem: Problem) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        """Record the loss, and differentiate what was recorded: the two halves of `gradient`."""
        raise Unsupported("records nothing")

    def gradient(self, problem: Problem) -> Callable[[], Any]:
        forward, backward = self.tape(problem)
        return lambda: backward(forward())

    def value_and_gradient(self, problem: Problem) -> Callable[[], Any]:
        """The loss and its gradient, in a list."""
        forward, backward = self.tape(problem)

        def run() -> Any:
            loss = forward()
            return [self.number(loss), *backward(loss)]

        return run

    def number(self, loss: Any) -> Any:
        """What `tape` recorded as an array."""
        return loss

    def repeated(self, step: Callable[[Any], Any], state: Any, count: int) -> Any:
        """A state after so many steps."""
        for _ in range(count):
            state = step(state)
        return state

    def hvp(self, problem: Problem) -> Callable[[], Any]:
        raise Unsupported("no second derivatives")

    def arrays(self, result: Any) -> Arrays:
        """A result as arrays, for the comparison of sides."""
        return [np.asarray(r) for r in result]

    def version(self) -> str:
        return metadata.version(self.package)


class Eager(Peer):
    """A side that records as it computes."""

    tensor: Callable[..., Any]
    grad: Callable[..., Any]

    def variables(self, problem: Problem) -> tuple[Any, Any, Any]:
        """Parameters, constants and vectors as its tensors."""
        return (
            [self.tensor(p, requires_grad=True) for p in problem.params],
            [self.tensor(c) for c in problem.constants],
            [self.tensor(v) for v in problem.vectors],
        )

    def tape(self, problem: Problem) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        params, constants, _ = self.variables(problem)
        grad = self.grad
        return lambda: problem.loss(self, params, constants), lambda loss: grad(loss, params)


class Ours(Eager):
    name = "ours"

    def __init__(self) -> None:
        import autodiff

        self.ad, self.np, self.tanh, self.relu = autodiff, np, autodiff.tanh, autodiff.relu
        self.tensor, self.grad, self.ndtr = autodiff.Tensor, autodiff.gradients, autodiff.special.ndtr

    def hvp(self, problem: Problem) -> Callable[[], Any]:
        _, constants, _ = self.variables(problem)
        params, vectors, hvp = tuple(problem.params), tuple(problem.vectors), self.ad.hvp

        def loss(*given: Any) -> Any:
            return problem.loss(self, given, constants)

        return lambda: hvp(loss, params, vectors)

    def number(self, loss: Any) -> Any:
        return loss.data

    def version(self) -> str:
        return "this checkout"


class Compiled(Ours):
    """This engine's derivative as a program of NumPy calls."""

    name, backend = "compiled", "numpy"
    compiles = True

    def tape(self, problem: Problem) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        raise Unsupported("records nothing")

    def loss(self, problem: Problem) -> Callable[..., Any]:
        """The loss as a user writes it: a function that closes over the functions that it calls."""
        scan = self.ad.scan

        def repeated(step: Callable[[Any], Any], state: Any, count: int) -> Any:
            return scan(lambda state, _: (step(state), None), state, length=count)[0]

        functions: Any = {"tanh": self.tanh, "relu": self.relu, "ndtr": self.ndtr, "repeated": repeated}
        loss, xp = problem.loss, SimpleNamespace(np=np, **functions)
        return lambda params, constants: loss(xp, params, constants)

    def gradient(self, problem: Problem) -> Callable[[], Any]:
        slope = self.ad.compile(self.ad.grad(self.loss(problem)), backend=self.backend)
        return lambda: slope(problem.params, problem.constants)

    def value_and_gradient(self, problem: Problem) -> Callable[[], Any]:
        both = self.ad.compile(self.ad.value_and_grad(self.loss(problem)), backend=self.backend)

        def run() -> Any:
            value, slopes = both(problem.params, problem.constants)
            return [value, *slopes]

        return run

    def hvp(self, problem: Problem) -> Callable[[], Any]:
        loss, hvp = self.loss(problem), self.ad.hvp

        def product(params: Any, constants: Any, vectors: Any) -> Any:
            return hvp(lambda *given: loss(given, constants), tuple(params), tuple(vectors))

        run = self.ad.compile(product, backend=self.backend)
        return lambda: run(problem.params, problem.constants, problem.vectors)


class Native(Compiled):
    """The same program as machine code."""

    name = backend = "native"
    package = "llvmlite"

    def __init__(self) -> None:
        import llvmlite

        super().__init__()
        self.llvmlite = llvmlite.__version__

    def version(self) -> str:
        return f"this checkout, llvmlite {self.llvmlite}"


class Torch(Eager):
    name = package = "torch"

    def __init__(self) -> None:
        import torch

        self.torch, self.np, self.tanh, self.relu = torch, torch, torch.tanh, torch.relu
        self.tensor, self.grad, self.ndtr = torch.tensor, torch.autograd.grad, torch.special.ndtr

    def hvp(self, problem: Problem) -> Callable[[], Any]:
        params, constants, vectors = self.variables(problem)
        grad = self.grad

        def run() -> Any:
            first = grad(problem.loss(self, params, constants), params, create_graph=True)
            return grad(first, params, vectors)

        return run

    def number(self, loss: Any) -> Any:
        return loss.detach()


class TorchCompiled(Torch):
    """PyTorch's own compiler, which needs one for C++."""

    name = "torch.compile"
    compiles = True

    def tape(self, problem: Problem) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        params, constants, _ = self.variables(problem)
        grad, loss = self.grad, self.torch.compile(lambda ps, cs: problem.loss(self, ps, cs))
        return lambda: loss(params, constants), lambda value: grad(value, params)

    def hvp(self, problem: Problem) -> Callable[[], Any]:
        raise Unsupported("it differentiates once")


class Autograd(Peer):
    name = package = "autograd"

    def __init__(self) -> None:
        import autograd
        import autograd.numpy as anp
        from autograd.scipy.stats import norm

        self.autograd, self.np, self.tanh, self.relu = autograd, anp, anp.tanh, partial(anp.maximum, 0.0)
        self.ndtr = norm.cdf

    def tape(self, problem: Problem) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        record = self.autograd.make_vjp(lambda params: problem.loss(self, params, problem.constants))
        one = problem.params[0].dtype.type(1)
        return lambda: record(problem.params)[0], lambda vjp: vjp(one)

    def hvp(self, problem: Problem) -> Callable[[], Any]:
        first = self.autograd.make_vjp(self.autograd.grad(lambda ps: problem.loss(self, ps, problem.constants)))
        return lambda: first(problem.params)[0](problem.vectors)

    def value_and_gradient(self, problem: Problem) -> Callable[[], Any]:
        both = self.autograd.value_and_grad(lambda ps: problem.loss(self, ps, problem.constants))

        def run() -> Any:
            value, slopes = both(problem.params)
            return [value, *slopes]

        return run


class MyGrad(Peer):
    name = package = "mygrad"

    def __init__(self) -> None:
        import mygrad
        from mygrad.nnet.activations import relu

        mygrad.turn_memory_guarding_off()  # its documentation's advice where speed counts
        self.mygrad, self.np, self.tanh, self.relu = mygrad, mygrad, mygrad.tanh, relu

    def tape(self, problem: Problem) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
        params = [self.mygrad.tensor(p) for p in problem.params]

        def backward(loss: Any) -> Any:
            loss.backward()
            return [p.grad for p in params]

        return lambda: problem.loss(self, params, problem.constants), backward


class Jax(Peer):
    name = package = "jax"
    compiles = True
    threads = (2,)  # its pool is made once and cannot be resized

    def __init__(self) -> None:
        import jax

        self.jax, self.np, self.tanh, self.relu = jax, jax.numpy, jax.numpy.tanh, jax.nn.relu
        self.ndtr = jax.scipy.special.ndtr

    def repeated(self, step: Callable[[Any], Any], state: Any, count: int) -> Any:
        return self.jax.lax.scan(lambda state, _: (step(state), None), state, length=count)[0]

    def compiled(self, function: Callable[..., Any], *arguments: Sequence[Any]) -> Callable[[], Any]:
        jitted = self.jax.jit(function)
        placed = [[self.jax.numpy.asarray(a) for a in group] for group in arguments]
        ready = self.jax.block_until_ready
        return lambda: ready(jitted(*placed))

    def gradient(self, problem: Problem) -> Callable[[], Any]:
        return self.compiled(
            self.jax.grad(lambda ps, cs: problem.loss(self, ps, cs)), problem.params, problem.constants
        )

    def value_and_gradient(self, problem: Problem) -> Callable[[], Any]:
        def both(ps: Any, cs: Any) -> Any:
            value, slopes = self.jax.value_and_grad(lambda p: problem.loss(self, p, cs))(ps)
            return [value, *slopes]

        return self.compiled(both, problem.params, problem.constants)

    def hvp(self, problem: Problem) -> Callable[[], Any]:
        first = self.jax.grad(lambda ps, cs: problem.loss(self, ps, cs))

        def double_backward(ps: Any, cs: Any, vs: Any) -> Any:
            return self.jax.vjp(lambda p: first(p, cs), ps)[1](vs)[0]

        return self.compiled(double_backward, problem.params, problem.constants, problem.vectors)


class NumPy(Peer):
    name = package = "numpy"

    def gradient(self, problem: Problem) -> Callable[[], Any]:
        if problem.gradient_by_hand is None:
            raise Unsupported("not written by hand")
        return partial(problem.gradient_by_hand, problem.params, problem.constants)

    def value_and_gradient(self, problem: Problem) -> Callable[[], Any]:
        if problem.value_and_gradient_by_hand is None:
            raise Unsupported("not written by hand")
        return partial(problem.value_and_gradient_by_hand, problem.params, problem.constants)

    def hvp(self, problem: Problem) -> Callable[[], Any]:
        if problem.hvp_by_hand is None:
            raise Unsupported("not written by hand")
        return partial(problem.hvp_by_hand, problem.params, problem.constants, problem.vectors)


ALL: tuple[type[Peer], ...] = (Ours, Compiled, Native, Torch, TorchCompiled, Autograd, MyGrad, Jax, NumPy)


def load(names: Sequence[str]) -> tuple[dict[str, Peer], dict[str, str]]:
    """The named sides that are installed, and why the others are missing."""
    found: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for peer in ALL:
        if peer.name not in names:
            continue
        try:
            found[peer.name] = peer()
        except ModuleNotFoundError as error:
            if peer is Ours:
                raise
            root = (error.name or "").partition(".")[0]
            missing[peer.name] = "not installed" if root == peer.package else f"cannot be imported: {error}"
    return found, missing
