"""Trace, diagonal and Frobenius norm from products with random vectors, with their standard errors.

Order: estimates from each vector alone (and Hutch++), then those in which every vector is probe and basis in turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.sparse.linalg import LinearOperator

from ..ranks import checksums, same_generator
from ..tensor import Array
from .eigen import deflated, symmetric
from .operators import columns, exact_diagonal
from .presentation import presented


class Estimate(NamedTuple):
    """What random probes say: a value, and its standard error (one standard deviation; infinite from one probe)."""

    value: Any
    error: Any

    def __repr__(self) -> str:
        return presented(self, value=self.value, error=self.error)


def trace(
    op: Any, method: str = "hutchinson", num_probes: int = 100, rng: np.random.Generator | int | None = None, *,
    deflate: Any = None, comm: Any = None,
) -> Estimate:  # fmt: skip
    """The trace of a symmetric operator, from `num_probes` products.

    "hutchinson" averages zᵀHz over vectors z of random signs: unbiased, of variance 2(‖H‖² − Σ Hᵢᵢ²) / num_probes.
    "hutch++" spends a third of the products on finding the space in which H is largest, a third on the trace there,
    which is exact, and probes only what is left: better by far where few eigenvalues dominate.

    Args:
        op: a symmetric operator or matrix.
        method: "hutchinson" or "hutch++".
        num_probes: products in all; 3 at least for "hutch++".
        rng: a `numpy.random.Generator`, a seed or None.
        deflate: eigenpairs that are known, (values, vectors) as `eigenpairs` gives them: they count exactly, and only
            what is left is probed. Two more products test them.
        comm: a communicator of mpi4py, on all of whose ranks op is the same, of all data: each makes its part of the
            products with several vectors, and one more that tests op. The result is that of one process with the `rng`
            of rank 0, to rounding, the same on all. (Where each rank has its own data, op has the communicator.)

    Returns:
        an `Estimate` with `.value` and `.error`, numbers.

    Raises:
        ValueError: an unknown method, too few probes, op is not square, or `deflate` holds no eigenpairs of it; ranks
            that have other operators, or one that sums over ranks itself.
        numpy.linalg.LinAlgError: the curvature is not finite.

    Source: Hutchinson 1990; Meyer, Musco, Musco and Woodruff, "Hutch++: optimal stochastic trace estimation", 2021.

    >>> trace(np.diag([1.0, 2.0, 3.0]), num_probes=10)
    Estimate(value=6.0, error=0.0)
    """
    same = {"method": method, "num_probes": num_probes, "deflate": checksums(deflate)}
    operator, rng = symmetric("trace", op, comm, **same), same_generator(rng, comm)
    if method not in ("hutchinson", "hutch++"):
        raise ValueError(f"trace: method must be 'hutchinson' or 'hutch++', not {method!r}")
    require_probes("trace", num_probes, 1 if method == "hutchinson" else 3)
    operator, values, _ = deflated("trace", operator, deflate)
    apart = float(values.sum())
    if method == "hutchinson":
        found = [_dots(Z, Y) for Z, Y in _probed(operator, num_probes, rng)]
        value, error = _mean_and_error(np.concatenate(found))
        return Estimate(apart + value, error)
    n = operator.shape[0]
    sketched = min(num_probes // 3, n)
    Z = _signs(rng, n, sketched)
    Q, _ = np.linalg.qr(_products(operator, Z))
    known = apart + float(np.einsum("nk,nk->", Q, _products(operator, Q)))
    if sketched == n:
        return Estimate(known, 0.0)
    rest = []
    for k in _blocks(n, num_probes - 2 * sketched):
        Z = _signs(rng, n, k)
        Z -= Q @ (Q.T @ Z)
        rest.append(np.einsum("nk,nk->k", Z, _products(operator, Z)))
    value, error = _mean_and_error(np.concatenate(rest))
    return Estimate(known + value, error)


def diagonal(
    op: Any, num_probes: int = 100, rng: np.random.Generator | int | None = None, *, comm: Any = None
) -> Estimate:
    """The diagonal of a symmetric operator, from products with vectors z of random signs: the average of z ⊙ Hz.

    Args:
        op: a symmetric operator or matrix of size n.
        num_probes: products in all. From n on the n unit vectors are used, and the diagonal is exact.
        rng: a `numpy.random.Generator`, a seed or None.
        comm: as for `trace`.

    Returns:
        an `Estimate` with `.value` and `.error`, arrays of shape (n,).

    Raises:
        ValueError: no probes, or op is not square.
        numpy.linalg.LinAlgError: the curvature is not finite.

    Source: Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a matrix", 2007.

    >>> diagonal(np.array([[2.0, 1.0], [1.0, 3.0]]), num_probes=2).value
    array([2., 3.])
    """
    operator, rng = symmetric("diagonal", op, comm, num_probes=num_probes), same_generator(rng, comm)
    require_probes("diagonal", num_probes, 1)
    n = operator.shape[0]
    if num_probes >= n:
        return Estimate(exact_diagonal(operator), np.zeros(n))
    total, squares, count = np.zeros(n), np.zeros(n), 0
    for Z, Y in _probed(operator, num_probes, rng):  # Welford's update, a column at a time
        for column in (Z * Y).T:
            count += 1
            off = column - total
            total += off / count
            squares += off * (column - total)
    error = np.sqrt(squares / (count - 1) / count) if count > 1 else np.full(n, np.inf)
    return Estimate(total, error)


def norm(op: Any, num_probes: int = 100, rng: np.random.Generator | int | None = None, *, comm: Any = None) -> Estimate:
    """The Frobenius norm of a symmetric operator, ‖H‖ = (Σ Hᵢⱼ²)^½, from products with vectors z of random signs:
    ‖H‖² is the mean of ‖Hz‖².

    Args:
        op: a symmetric operator or matrix of size n.
        num_probes: products in all. From n on the n unit vectors are used, and the norm is exact.
        rng: a `numpy.random.Generator`, a seed or None.
        comm: as for `trace`.

    Returns:
        an `Estimate` with `.value` and `.error`, numbers; the error is that of the mean of squares over 2 ‖H‖.

    Raises:
        ValueError: no probes, or op is not square.
        numpy.linalg.LinAlgError: the curvature is not finite.

    Source: Hutchinson, "A stochastic estimator of the trace of the influence matrix", 1990, for HᵀH.

    >>> norm(np.array([[3.0, 0.0], [0.0, 4.0]]), num_probes=2)
    Estimate(value=5.0, error=0.0)
    """
    operator, rng = symmetric("norm", op, comm, num_probes=num_probes), same_generator(rng, comm)
    require_probes("norm", num_probes, 1)
    if num_probes >= operator.shape[0]:
        return Estimate(math.sqrt(sum(float(np.vdot(Y, Y)) for _, Y in columns(operator))), 0.0)
    squares = [_dots(Y, Y) for _, Y in _probed(operator, num_probes, rng)]
    value, error = _mean_and_error(np.concatenate(squares))
    root = math.sqrt(value)
    return Estimate(root, error / (2 * root) if root else 0.0)


# Every vector in turn is the probe, and the others the basis of what is taken exactly


def xtrace(
    op: Any, num_probes: int = 100, rng: np.random.Generator | int | None = None, *, comm: Any = None
) -> Estimate:
    """The trace of a symmetric operator by XTrace: like Hutch++, but each of k = num_probes / 2 random vectors ωᵢ
    probes what the products with the others, whose orthonormal basis is Qᵢ, leave:

        tr(QᵢᵀHQᵢ) + ωᵢᵀ(I − QᵢQᵢᵀ)H(I − QᵢQᵢᵀ)ωᵢ (n − k + 1) / ‖(I − QᵢQᵢᵀ)ωᵢ‖²,  averaged over i

    Args:
        op: a symmetric operator or matrix of size n.
        num_probes: products in all, 4 at least; from n on the n unit vectors are used, and the trace is exact.
        rng: a `numpy.random.Generator`, a seed or None.
        comm: as for `trace`.

    Returns:
        an `Estimate` with `.value` and `.error`, numbers. Where the operator's rank is below k, the value is exact. The
        error takes the k terms for independent; as they are not quite, it is up to a quarter too small.

    Raises:
        ValueError: too few probes, or op is not square.
        numpy.linalg.LinAlgError: the curvature is not finite.

    Source: Epperly, Tropp and Webber, "XTrace: making the most of every sample in stochastic trace estimation", 2024.

    >>> round(xtrace(np.diag([1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), num_probes=8, rng=0).value, 9)
    6.0
    """
    operator, rng = symmetric("xtrace", op, comm, num_probes=num_probes), same_generator(rng, comm)
    require_probes("xtrace", num_probes, 4)
    n, k = operator.shape[0], num_probes // 2
    if num_probes >= n:
        return Estimate(float(exact_diagonal(operator).sum()), 0.0)
    Z = rng.standard_normal((n, k))  # in all directions alike, so that lengths left are known on average
    Z *= math.sqrt(n) / np.linalg.norm(Z, axis=0)
    Q, R, S = _left_out(operator, Z)
    H = Q.T @ _products(operator, Q)
    if S is None:
        return Estimate(float(np.trace(H)), 0.0)
    W = Q.T @ Z
    U = W - S * _dots(S, W)
    left = _dots(W - 2 * U, R) + _dots(U, H @ U)
    scale = (n - k + 1) / (n - _dots(U, U))
    return _mean_and_error(np.trace(H) - _dots(S, H @ S) + left * scale)


def xdiag(
    op: Any, num_probes: int = 100, rng: np.random.Generator | int | None = None, *, comm: Any = None
) -> Estimate:
    """The diagonal of a symmetric operator by XDiag: exact for what the products with all but one of k = num_probes / 2
    vectors ωᵢ of random signs span, with orthonormal basis Qᵢ, and probed by that one for what is left:

        diag(QᵢQᵢᵀH) + ωᵢ ⊙ (I − QᵢQᵢᵀ)Hωᵢ,  averaged over i

    Args, Returns, Raises: as `xtrace`; `.value` and `.error` are arrays of shape (n,).

    Source: Epperly, Tropp and Webber, "XTrace: making the most of every sample in stochastic trace estimation", 2024.

    >>> xdiag(np.diag([1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]), num_probes=8, rng=0).value.round(9)[:4]
    array([1., 2., 3., 0.])
    """
    operator, rng = symmetric("xdiag", op, comm, num_probes=num_probes), same_generator(rng, comm)
    require_probes("xdiag", num_probes, 4)
    n, k = operator.shape[0], num_probes // 2
    if num_probes >= n:
        return Estimate(exact_diagonal(operator), np.zeros(n))
    Z = _signs(rng, n, k)
    Q, R, S = _left_out(operator, Z)
    P = _products(operator, Q)
    whole = np.einsum("nk,nk->n", Q, P)
    if S is None:
        return Estimate(whole, np.zeros(n))
    QS = Q @ S
    each = QS * (Z * _dots(S, R) - P @ S)
    return Estimate(whole + each.mean(axis=1), each.std(axis=1, ddof=1) / math.sqrt(k))


def _left_out(operator: LinearOperator, Z: Array) -> tuple[Array, Array, Array | None]:
    """Q and R of the products with Z, and S: in the basis Q, sᵢ is the direction that the products without the i-th do
    not span, a column of R⁻ᵀ of length 1. None where they are dependent: Q is then the range of the operator."""
    n, k = Z.shape
    Q, R = np.linalg.qr(_products(operator, Z))
    size = np.abs(np.diag(R))
    if size.min() <= math.sqrt(n) * np.finfo(operator.dtype).eps * size.max():
        return Q, R, None
    S = solve_triangular(R, np.eye(k), trans="T")
    return Q, R, S / np.linalg.norm(S, axis=0)


def _dots(A: Array, B: Array) -> Array:
    found: Array = np.einsum("nk,nk->k", A, B)
    return found


def require_probes(where: str, count: Any, least: int) -> None:
    """ValueError for anything but a whole number from the least."""
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


def _blocks(n: int, count: int) -> Iterator[int]:
    """`count` columns in pieces of at most 128 MB."""
    step = max(1, 2**24 // max(n, 1))
    return (min(step, count - start) for start in range(0, count, step))


def _mean_and_error(values: Array) -> Estimate:
    m = len(values)
    return Estimate(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(m) if m > 1 else math.inf)
