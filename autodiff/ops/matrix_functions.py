"""Functions of symmetric matrices through their eigenvalues, right where eigenvalues repeat: part of `ad.linalg`.

Order: derivatives of the scalar function, divided differences, the operations. The derivatives of A ↦ V f(λ) Vᵀ are
made of divided differences of f at the eigenvalues (Daleckii and Krein), which do not tear where eigenvalues meet.
"""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..backward import gradients
from ..mode import mode
from ..primitive import Sample, declare, describe, polymorphic
from ..tensor import Tensor, wrap
from .guards import times
from .linalg import as_floating, as_matrices, require_symmetric
from .samples import draw

__all__ = ["funm_sym", "spectral_sum"]

Scalar = Callable[[Tensor], Any]  # a function of numbers, applied to each element of a tensor with one axis

_POINTS_AT_ONCE = 1 << 20


# The scalar function


def _applied(f: Scalar, x: Tensor) -> Tensor:
    y = f(x)
    if not isinstance(y, Tensor):
        raise TypeError(
            f"the function of a matrix: f was given a Tensor and returned {type(y).__name__}, so that it has no "
            f"derivative; write f with operators and NumPy functions of its argument"
        )
    if y.shape != x.shape:
        raise ValueError(
            f"the function of a matrix: f was given eigenvalues of shape {x.shape} and returned {describe(y)}; it is a "
            f"function of one number, applied to each of them"
        )
    return y


def _values(f: Scalar, points: Any) -> Any:
    """f at an array of one axis."""
    y = _applied(f, wrap(points))
    if y.requires_grad:
        raise TypeError(
            "the function of a matrix: f reads a Tensor that requires a gradient beside its argument, and would lose "
            "it; move it into the matrix (funm_sym(t * a, np.exp)), or pass it detached (t.detach())"
        )
    return y._ndarray


def _derivative(f: Scalar, points: Any, order: int) -> Any:
    """The derivative of f of that order at an array of one axis, by the engine itself."""
    token = mode.set(True)  # nobody watches: what is infinite at a point between eigenvalues is judged here
    try:
        x = wrap(points)
        x._requires_grad = True
        y = _applied(f, x)
        for left in reversed(range(order)):
            if not y.requires_grad:
                return np.zeros_like(points)
            ones = np.ones(points.shape)
            (d,) = gradients(y, x, ones, create_graph=left > 0, allow_unused=True)
            if d is None:
                return np.zeros_like(points)
            y = d
        return y._ndarray
    finally:
        mode.reset(token)


def _check_elementwise(f: Scalar, points: Any) -> None:
    """The pullback of weights is the weights times the slopes only if each value depends on its own eigenvalue."""
    token = mode.set(True)
    try:
        x = wrap(points)
        x._requires_grad = True
        y = _applied(f, x)
        if not y.requires_grad:
            return
        weights = 1 + np.arange(points.size) / max(points.size, 1)
        (slopes,), (weighted,) = (gradients(y, x, w, allow_unused=True) for w in (np.ones(points.shape), weights))
    finally:
        mode.reset(token)
    if slopes is not None:
        a, b = weights * slopes._ndarray, weighted._ndarray
        both = np.isfinite(a) & np.isfinite(b)
        if not np.allclose(a[both], b[both], rtol=1e-6, atol=1e-9 * np.max(np.abs(a[both]), initial=0)):
            raise ValueError(
                "the function of a matrix: f mixes the eigenvalues with each other (as softmax does, or x / x.sum()); "
                "it is a function of one number, applied to each of them"
            )


# Divided differences


@lru_cache(maxsize=32)
def _simplex_rule(order: int, m: int) -> tuple[Any, Any]:
    """Weights, and the steps along the differences of neighbouring points, of the rule with m Gauss–Legendre nodes an
    axis for f[x₀, …, xₖ] = ∫ … ∫ Πⱼ tⱼ^(k−j) f⁽ᵏ⁾(x₀ + Σⱼ t₁ … tⱼ (xⱼ − xⱼ₋₁)) dt (Hermite and Genocchi)."""
    nodes, weights = np.polynomial.legendre.leggauss(m)
    t = np.stack([g.ravel() for g in np.meshgrid(*[(nodes + 1) / 2] * order, indexing="ij")])
    w = np.prod([g.ravel() for g in np.meshgrid(*[weights / 2] * order, indexing="ij")], axis=0)
    powers = order - 1 - np.arange(order)
    return w * np.prod(t ** powers[:, None], axis=0), np.cumprod(t, axis=0)


def _means(f: Scalar, points: Any, order: int, k: int) -> tuple[Any, Any, Any]:
    """f⁽ᵒʳᵈᵉʳ⁾[x₀, …, xₖ] for rows of points by two quadrature rules, and the largest f⁽ᵒʳᵈᵉʳ⁺ᵏ⁾ they met."""
    coarse, fine, largest = (np.empty(len(points)) for _ in range(3))
    rules = [_simplex_rule(k, m) for m in (5, 7)]
    size = max(1, _POINTS_AT_ONCE // sum(len(w) for w, _ in rules))
    for i in range(0, len(points), size):
        x = points[i : i + size]
        at = [x[:, :1] + np.diff(x) @ steps for _, steps in rules]
        found = _derivative(f, np.concatenate([a.ravel() for a in at]), order + k)
        split = at[0].size
        first, second = found[:split].reshape(at[0].shape), found[split:].reshape(at[1].shape)
        coarse[i : i + size], fine[i : i + size] = first @ rules[0][0], second @ rules[1][0]
        largest[i : i + size] = np.abs(second).max(axis=1)
    return coarse, fine, largest


def _next_differences(f: Scalar, x: Any, rows: Any, low: Any, high: Any, order: int, k: int) -> Any:
    """f[x₀, …, xₖ] from f[x₀, …, xₖ₋₁] (low) and f[x₁, …, xₖ] (high), for ascending points x[rows].

    Points apart have the difference quotient. It cancels for near ones, whose differences are means of the k-th
    derivative instead: where two quadrature rules agree to rounding, or better than the quotient is known, and do not
    contradict the quotient as far as that can be trusted (a step between two points may hide from every rule).
    """
    points = x[:, rows]
    spread = points[..., -1] - points[..., 0]
    slopes = _derivative(f, x.ravel(), order + k).reshape(x.shape) / math.factorial(k)
    first, last = slopes[:, rows[:, 0]], slopes[:, rows[:, -1]]
    same = spread == 0
    y = np.where(same, first, (high - low) / np.where(same, 1, spread))
    height = np.maximum(np.abs(low), np.abs(high))
    steepness = np.maximum(np.abs(first), np.abs(last))
    near = ~same & ((np.abs(high - low) <= height / 2) | (np.abs(last - first) <= steepness / 2))
    if near.any():
        coarse, fine, largest = _means(f, points[near], order, k)
        largest /= math.factorial(k)
        eps = np.finfo(float).eps
        size = np.maximum(np.abs(points[near]).max(axis=-1), 1)
        lost = eps * np.maximum(height[near], size * largest) / spread[near]
        agreed = np.abs(fine - coarse) <= 64 * eps * largest + lost
        agreed &= np.abs(fine - y[near]) <= 1e-3 * largest + 1e3 * lost
        y[near] = np.where(agreed, fine, y[near])
    return y


def _divided_differences(f: Scalar, x: Any, order: int, k: int) -> Any:
    """All f⁽ᵒʳᵈᵉʳ⁾[xᵢ₀, …, xᵢₖ], shape (..., n, …, n), for ascending x (..., n)."""
    n = x.shape[-1]
    flat = x.reshape(math.prod(x.shape[:-1]), n)
    table = (_derivative if order else lambda f, x, order: _values(f, x))(f, flat.ravel(), order).reshape(flat.shape)
    place = np.arange(n)
    for j in range(1, k + 1):
        rows = np.array(list(itertools.combinations_with_replacement(range(n), j + 1)), int).reshape(-1, j + 1)
        low, high = (table[:, place[tuple(part.T)]] for part in (rows[:, :-1], rows[:, 1:]))
        table = _next_differences(f, flat, rows, low, high, order, j)
        place = np.zeros((n,) * (j + 1), int)
        place[tuple(rows.T)] = np.arange(len(rows))
    every = np.sort(np.indices((n,) * (k + 1)).reshape(k + 1, -1), axis=0)
    return table[:, place[tuple(every)]].reshape(*x.shape[:-1], *(n,) * (k + 1))


# The operations


def _symmetric(a: Any) -> Any:
    return (a + a.swapaxes(-1, -2)) / 2


def _function(a: Any, *directions: Any, f: Scalar, order: int = 0) -> Any:
    """f⁽ᵒʳᵈᵉʳ⁾(A), or its derivative along all the directions: in the eigenbasis, Σ f[λ₀, …, λₖ] (E₁)₀₁ … (Eₖ)ₖ₋₁ₖ over
    the indices within and the orders of the directions."""
    k = len(directions)
    w, v = np.linalg.eigh(_symmetric(a).astype(np.float64))
    vt = v.swapaxes(-1, -2)
    if order + k:
        _check_elementwise(f, w.ravel())
    with np.errstate(all="ignore"):
        table = _divided_differences(f, w, order, k)
        if not k:
            return ((v * table[..., None, :]) @ vt).astype(a.dtype)
        seen = [vt @ _symmetric(e).astype(np.float64) @ v for e in directions]
        still = np.any([~e.any(axis=(-2, -1)) for e in seen], axis=0)  # a branch not taken: 0 · ∞ is 0
        table = np.where(still.reshape(still.shape + (1,) * (k + 1)), 0, table)
        letters = string.ascii_letters[: k + 1]
        terms = ",".join(["..." + letters, *["..." + a + b for a, b in itertools.pairwise(letters)]])
        inside = sum(
            np.einsum(f"{terms}->...{letters[0]}{letters[-1]}", table, *es) for es in itertools.permutations(seen)
        )
        return (v @ inside @ vt).astype(a.dtype)


def _function_rule(i: int, g: Any, y: Any, a: Any, *directions: Any, f: Scalar, order: int = 0) -> Any:
    """g is one more direction; for a direction's own cotangent it takes that direction's place. (All are derivatives of
    one and the same sum over the eigenvalues, and so symmetric in the directions and g.)"""
    return _function_of(a, *(d for j, d in enumerate(directions, 1) if j != i), g, f=f, order=order)


def _near_and_apart(rng: np.random.Generator) -> list[Any]:
    """Positive definite matrices: with separate eigenvalues, with repeated and nearly repeated ones, and stacks."""
    basis = np.linalg.qr(draw(rng, (3, 3)))[0]
    return [
        *[(basis * w) @ basis.T for w in ([1.0, 2.0, 3.5], [2.0, 2.0, 3.0], [1.0, 1.0 + 1e-9, 1.0 + 1e-5])],
        np.eye(2), np.stack([np.eye(2), np.array([[2.0, 0.5], [0.5, 1.0]])]), np.ones((1, 1)), np.zeros((0, 2, 2)),
    ]  # fmt: skip


_funm_sym = declare(
    "funm_sym", _function, each=_function_rule, jvps="elementwise",
    formula="V f(λ) Vᵀ with {0} = V diag(λ) Vᵀ", derivatives=["V (f[λᵢ, λⱼ] ∘ Vᵀ · V) Vᵀ"],
    opaque="what is done depends on the gaps between eigenvalues", stacks="leading",
    samples=lambda rng: [Sample((a,), {"f": f}) for f in (np.log, np.square) for a in _near_and_apart(rng)]
    + [Sample((a, draw(rng, a.shape)), {"f": np.exp, "order": 1}, smooth=2) for a in _near_and_apart(rng)[:3]],
)  # fmt: skip
_function_of: Any = polymorphic(_funm_sym)


def _sum_forward(a: Any, f: Scalar) -> Any:
    w = np.linalg.eigvalsh(_symmetric(a).astype(np.float64))
    return _values(f, w.ravel()).reshape(w.shape).sum(axis=-1).astype(a.dtype)


def _sum_rule(g: Any, y: Any, a: Any, f: Scalar) -> Any:
    return times(g[..., None, None], _function_of(a, f=f, order=1))


_spectral_sum = declare(
    "spectral_sum", _sum_forward, [_sum_rule],
    jvps=[lambda t, y, a, f: times(t, _function_of(a, f=f, order=1)).sum(axis=(-2, -1))],
    formula="Σᵢ f(λᵢ), eigenvalues λ of {0}", derivatives=["f′({0})"], opaque="a function of Tensors", stacks="leading",
    samples=lambda rng: [Sample((a,), {"f": f}) for f in (np.log, np.square) for a in _near_and_apart(rng)],
)  # fmt: skip


def _checked(a: Any, f: Any, name: str) -> Any:
    a = as_matrices(as_floating(a, name), name, square=True)
    if not callable(f):
        raise TypeError(f"{name}: f is a function of the eigenvalues, such as np.exp, not {f!r:.80}")
    require_symmetric(a, name)
    return a


def funm_sym(a: Any, f: Scalar) -> Tensor:
    """The function f of symmetric matrices, V f(λ) Vᵀ for a = V diag(λ) Vᵀ, with every derivative, also where
    eigenvalues repeat.

    Args:
        a: symmetric matrices (..., n, n), float32 or float64 (others become float64).
        f: a function of one number, written with operators and NumPy functions: it is called with Tensors of one axis
            and any length, and returns a Tensor of that shape. The engine differentiates it.

    Returns:
        Matrices (..., n, n) of the dtype of `a`. The derivative along E is V (f[λᵢ, λⱼ] ∘ Vᵀ E V) Vᵀ with the divided
        differences f[λᵢ, λⱼ] = (f(λᵢ) − f(λⱼ))/(λᵢ − λⱼ), f′(λᵢ) where they are equal; further ones have divided
        differences of further order. The gradient is symmetric. The k-th derivative takes about n^(k + 1) numbers.

    Raises:
        LinAlgError: a matrix is not square, or the iteration does not converge.
        ValueError: a matrix is not symmetric, f returns another shape, or mixes the eigenvalues with each other (seen
            in a derivative).
        TypeError: f is no function, leaves the graph, or reads another Tensor that requires a gradient.

    Source: Daleckii and Krein, "Integration and differentiation of functions of Hermitian operators", 1965; Higham,
    "Functions of matrices", 2008, section 3.2.

    >>> a = Tensor([[0.0, 1.0], [1.0, 0.0]], requires_grad=True)
    >>> funm_sym(a, np.exp)
    Tensor([[1.54308063, 1.17520119],
            [1.17520119, 1.54308063]], op='funm_sym')
    """
    return _funm_sym(_checked(a, f, "funm_sym"), f=f)


def spectral_sum(a: Any, f: Scalar) -> Tensor:
    """Σ f(λᵢ) over the eigenvalues of symmetric matrices, the trace of ``funm_sym(a, f)``, with every derivative, also
    where eigenvalues repeat.

    Args:
        a: symmetric matrices (..., n, n), float32 or float64 (others become float64).
        f: a function of one number, as for `funm_sym`.

    Returns:
        Sums (...), of the dtype of `a`. The gradient is f′(a).

    Raises:
        As `funm_sym`.

    >>> a = Tensor([[2.0, 0.0], [0.0, 2.0]], requires_grad=True)
    >>> spectral_sum(a, np.log).backward()  # the logarithm of the determinant
    >>> a.grad
    Tensor([[0.5, 0. ],
            [0. , 0.5]])
    """
    return _spectral_sum(_checked(a, f, "spectral_sum"), f=f)
