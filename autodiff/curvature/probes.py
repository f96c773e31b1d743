"""Trace and diagonal from products with random vectors, with their standard errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ..tensor import Array
from .eigen import symmetric
from .presentation import presented


class Estimate(NamedTuple):
    """What random probes say: a value, and its standard error (one standard deviation; infinite from one probe)."""

    value: Any
    error: Any

    def __repr__(self) -> str:
        return presented(self, value=self.value, error=self.error)


def trace(
    op: Any, method: str = "hutchinson", num_probes: int = 100, rng: np.random.Generator | int | None = None
) -> Estimate:
    """The trace of a symmetric operator, from `num_probes` products.

    "hutchinson" averages zᵀHz over vectors z of random signs: unbiased, of variance 2(‖H‖² − Σ Hᵢᵢ²) / num_probes.
    "hutch++" spends a third of the products on finding the space in which H is largest, a third on the trace there,
    which is exact, and probes only what is left: better by far where few eigenvalues dominate.

    Args:
        op: a symmetric operator or matrix.
        method: "hutchinson" or "hutch++".
        num_probes: products in all; 3 at least for "hutch++".
        rng: a `numpy.random.Generator`, a seed or None.

    Returns:
        an `Estimate` with `.value` and `.error`, numbers.

    Raises:
        ValueError: an unknown method, too few probes, or op is not square.
        numpy.linalg.LinAlgError: the curvature is not finite.

    Source: Hutchinson 1990; Meyer, Musco, Musco and Woodruff, "Hutch++: optimal stochastic trace estimation", 2021.

    >>> trace(np.diag([1.0, 2.0, 3.0]), num_probes=10)
    Estimate(value=6.0, error=0.0)
    """
    operator, rng = symmetric("trace", op), np.random.default_rng(rng)
    if method not in ("hutchinson", "hutch++"):
        raise ValueError(f"trace: method must be 'hutchinson' or 'hutch++', not {method!r}")
    _require_probes("trace", num_probes, 1 if method == "hutchinson" else 3)
    if method == "hutchinson":
        found = [np.einsum("nk,nk->k", Z, Y) for Z, Y in _probed(operator, num_probes, rng)]
        return _mean_and_error(np.concatenate(found))
    n = operator.shape[0]
    sketched = min(num_probes // 3, n)
    Z = _signs(rng, n, sketched)
    Q, _ = np.linalg.qr(_products(operator, Z))
    known = float(np.einsum("nk,nk->", Q, _products(operator, Q)))
    if sketched == n:
        return Estimate(known, 0.0)
    rest = []
    for k in _blocks(n, num_probes - 2 * sketched):
        Z = _signs(rng, n, k)
        Z -= Q @ (Q.T @ Z)
        rest.append(np.einsum("nk,nk->k", Z, _products(operator, Z)))
    value, error = _mean_and_error(np.concatenate(rest))
    return Estimate(known + value, error)


def diagonal(op: Any, num_probes: int = 100, rng: np.random.Generator | int | None = None) -> Estimate:
    """The diagonal of a symmetric operator, from products with vectors z of random signs: the average of z ⊙ Hz.

    Args:
        op: a symmetric operator or matrix of size n.
        num_probes: products in all. From n on the n unit vectors are used, and the diagonal is exact.
        rng: a `numpy.random.Generator`, a seed or None.

    Returns:
        an `Estimate` with `.value` and `.error`, arrays of shape (n,).

    Raises:
        ValueError: no probes, or op is not square.
        numpy.linalg.LinAlgError: the curvature is not finite.

    Source: Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a matrix", 2007.

    >>> diagonal(np.array([[2.0, 1.0], [1.0, 3.0]]), num_probes=2).value
    array([2., 3.])
    """
    operator, rng = symmetric("diagonal", op), np.random.default_rng(rng)
    _require_probes("diagonal", num_probes, 1)
    n = operator.shape[0]
    if num_probes >= n:
        value = np.empty(n)
        for start, stop in _ranges(n, n):
            columns = operator.matmat(np.eye(n, stop - start, -start, dtype=operator.dtype))
            value[start:stop] = columns[np.arange(start, stop), np.arange(stop - start)]
        return Estimate(value, np.zeros(n))
    total, squares, count = np.zeros(n), np.zeros(n), 0
    for Z, Y in _probed(operator, num_probes, rng):  # Welford's update, a column at a time
        for column in (Z * Y).T:
            count += 1
            off = column - total
            total += off / count
            squares += off * (column - total)
    error = np.sqrt(squares / (count - 1) / count) if count > 1 else np.full(n, np.inf)
    return Estimate(total, error)


def _require_probes(where: str, count: Any, least: int) -> None:
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < least:
        raise ValueError(f"{where}: num_probes must be a whole number from {least}, not {count!r}")


def _probed(operator: LinearOperator, count: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Blocks of probes and the products with them."""
    for k in _blocks(operator.shape[0], count):
        Z = _signs(rng, operator.shape[0], k)
        yield Z, _products(operator, Z)


def _products(operator: LinearOperator, Z: Array) -> Array:
    return operator.matmat(Z.astype(operator.dtype, copy=False)).astype(float, copy=False)


def _signs(rng: np.random.Generator, n: int, k: int) -> Array:
    return rng.integers(0, 2, (n, k)) * 2.0 - 1.0


def _ranges(n: int, count: int) -> Iterator[tuple[int, int]]:
    """`count` columns in pieces of at most 128 MB."""
    step = max(1, 2**24 // max(n, 1))
    for start in range(0, count, step):
        yield start, min(start + step, count)


def _blocks(n: int, count: int) -> Iterator[int]:
    return (stop - start for start, stop in _ranges(n, count))


def _mean_and_error(values: Array) -> Estimate:
    m = len(values)
    return Estimate(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(m) if m > 1 else math.inf)
