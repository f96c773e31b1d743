"""Extreme eigenvalues of a symmetric operator, and the numbers that follow from them.

Every function takes an operator of this package, any SciPy LinearOperator, or a matrix; symmetry is taken for granted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator, eigsh

from ..ranks import Disagreement, divided, require_communicator, require_same
from ..tensor import Array, plain
from .kronecker import Kronecker
from .operators import CurvatureOperator, ParameterOperator
from .presentation import presented

SMALL = 32
"""Up to this size eigenpairs come from the matrix itself: as many products as Lanczos would take."""

DENSE = 1000
"""Up to this size whole spectra, and least eigenvalues, come from the matrix itself."""


class Eigenpairs(NamedTuple):
    """Eigenvalues and their unit eigenvectors, the columns of `vectors`."""

    values: Array
    vectors: Array

    def __repr__(self) -> str:
        return presented(self, values=self.values, vectors=self.vectors)


def symmetric(where: str, op: Any, comm: Any = None, **settings: Any) -> LinearOperator:
    """The operator in a form whose products are checked to be finite; with a communicator those with several vectors
    are divided among the ranks, who have to have the same operator and settings.

    Raises:
        TypeError, ValueError: if it is no square operator or matrix, or not the same on all ranks.
    """
    try:
        operator = aslinearoperator(op)
    except TypeError:
        raise TypeError(f"{where}: needs an operator or a matrix, not {type(op).__name__}") from None
    if operator.shape[0] != operator.shape[1]:
        raise ValueError(f"{where}: needs a symmetric operator, not one of shape {operator.shape}")
    if not operator.shape[0]:
        raise ValueError(f"{where}: needs one parameter at least, the operator has shape (0, 0)")
    if operator.dtype is not None and operator.dtype.kind == "c":
        raise TypeError(f"{where}: needs a real symmetric operator, not one of {operator.dtype}")
    dtype = _dtype(operator)

    def finite(product: Array) -> Array:
        if not np.isfinite(product).all():
            raise np.linalg.LinAlgError(
                f"{where}: the operator's product with a finite vector has NaN or infinite entries, so it has "
                f"neither a spectrum nor an inverse; are the loss and its derivatives finite at these parameters?"
            )
        return product

    def checked(matmat: Callable[[Array], Array]) -> LinearOperator:
        return LinearOperator(
            operator.shape,
            matvec=lambda v: finite(operator.matvec(v)),
            matmat=lambda V: finite(matmat(V)),
            dtype=dtype,
        )

    if comm is None:
        return checked(operator.matmat)
    require_same_operator(where, op, comm, **settings)
    return checked(lambda V: np.hstack(divided(lambda own: operator.matmat(V[:, own]), V.shape[1], comm)))


def require_same_operator(where: str, op: Any, comm: Any, **settings: Any) -> None:
    """Raise on all ranks unless each has the same operator by itself, as one product with a random vector tells, and
    the same settings."""
    require_communicator(comm, where)
    if isinstance(op, CurvatureOperator) and op.comm is not None and not isinstance(op, Kronecker):
        raise ValueError(
            f"{where}: comm= divides products with several vectors among ranks that have all data each, and this "
            f"{op.name} has a comm= itself: all ranks take part in each of its products; leave comm= out here"
        )
    operator = aslinearoperator(op)
    dtype = _dtype(operator)
    require_same({"the operator (shape, dtype)": (operator.shape, str(dtype))} | settings, comm, where)
    v, w = np.random.default_rng(0).standard_normal((2, operator.shape[0]))
    y = operator.matvec(v.astype(dtype)).astype(float)
    found = np.array(comm.allgather((float(w @ y), float(np.linalg.norm(w) * np.linalg.norm(y)))))
    off = np.abs(found[:, 0] - found[0, 0]) > np.finfo(dtype).eps ** 0.5 * found[:, 1].max()
    if off.any():
        raise Disagreement(
            f"{where}: the ranks disagree: a product of the operator differs on rank 0 and rank {off.argmax()}; comm= "
            f"here is for one operator of all data on all ranks (comm= of the operator itself, for a part on each)"
        )


def dense(operator: LinearOperator) -> Array:
    """The symmetric matrix of a small operator, in at least double precision, free of the rounding's asymmetry."""
    matrix = operator.matmat(np.eye(operator.shape[0], dtype=operator.dtype)).astype(float)
    return (matrix + matrix.T) / 2


def deflated(where: str, operator: LinearOperator, known: Any) -> tuple[LinearOperator, Array, Array]:
    """What is left of a symmetric operator A when known eigenpairs are taken out, P A P with P = I − VVᵀ; their
    eigenvalues, shape (k,), and V, shape (n, k). Without `known` A itself, and k = 0.

    Raises:
        ValueError: they have other shapes, V is not orthonormal, or they are no eigenpairs of A: by a product with one
            combination of them, which is off by more than a thousandth of the largest.
    """
    n = operator.shape[0]
    if known is None:
        return operator, np.zeros(0), np.zeros((n, 0))
    values, V = (np.asarray(part, float) for part in known)
    if values.ndim != 1 or V.shape != (n, len(values)):
        raise ValueError(
            f"{where}: deflate needs k eigenvalues and their eigenvectors as columns, shapes (k,) and ({n}, k), "
            f"as eigenpairs gives them, not {values.shape} and {V.shape}"
        )
    if not np.allclose(V.T @ V, np.eye(len(values)), rtol=0, atol=1e-3):
        raise ValueError(f"{where}: the eigenvectors to deflate are not orthonormal")
    V, _ = np.linalg.qr(V)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (2, n))
    probes = np.stack([V @ signs[0, : len(values)], signs[1]], axis=1)
    products = operator.matmat(probes.astype(operator.dtype))
    off = np.abs(products[:, 0] - V @ (values * signs[0, : len(values)])).max()
    if not off <= 1e-3 * max(np.abs(values).max(initial=0.0), float(np.abs(products[:, 1]).max())):
        raise ValueError(f"{where}: what deflate gives are no eigenpairs of the operator")

    def product(X: Array) -> Array:
        X = X - V @ (V.T @ X)
        Y = operator.matmat(X.astype(operator.dtype, copy=False))
        return (Y - V @ (V.T @ Y)).astype(operator.dtype, copy=False)

    rest = LinearOperator(
        operator.shape, matvec=lambda x: product(x.reshape(n, 1))[:, 0], matmat=product, dtype=operator.dtype
    )
    return rest, values, V


def eigenpairs(
    op: Any, k: int, which: str = "LA", *, tol: float = 0.0, maxiter: int | None = None,
    rng: np.random.Generator | int | None = None, start: Array | None = None,
) -> Eigenpairs:  # fmt: skip
    """The k largest or smallest eigenvalues and their eigenvectors, by SciPy's Lanczos method (ARPACK).

    Args:
        op: a symmetric operator or matrix of size n.
        k: how many, 1 to n.
        which: "LA", the largest, given in falling order; "SA", the smallest, in rising order; "LM", those of largest
            magnitude, in falling order of it.
        tol: relative accuracy of the eigenvalues; 0 is as good as the dtype allows.
        maxiter: how often Lanczos may restart; 10 n by default.
        rng: draws the first vector: a `numpy.random.Generator`, a seed or None.
        start: a first vector that is near the eigenvectors (of the operator a little earlier, say), shape (n,). Lanczos
            then works with few vectors, a third of the products.

    Returns:
        a named tuple ``(values, vectors)``, shapes (k,) and (n, k).

    Raises:
        ValueError: k or `which` out of range, or op is not square.
        numpy.linalg.LinAlgError: the curvature is not finite.
        scipy.sparse.linalg.ArpackNoConvergence: not converged after `maxiter` restarts.

    >>> eigenpairs(np.diag([3.0, -5.0, 1.0]), 2).values
    array([3., 1.])
    """
    operator = symmetric("eigenpairs", op)
    n = operator.shape[0]
    if which not in ("LA", "SA", "LM"):
        raise ValueError(f"eigenpairs: which must be 'LA', 'SA' or 'LM', not {which!r}")
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= n:
        raise ValueError(f"eigenpairs: k must be a whole number from 1 to {n} (the operator's size), not {k!r}")
    few = None if start is None else min(2 * k + 4, n)
    if start is None:
        start = np.random.default_rng(rng).standard_normal(n)
    elif np.shape(start) != (n,) or not np.isfinite(start).all() or not np.any(start):
        raise ValueError(f"eigenpairs: start must be a finite vector of shape ({n},) and not zero")
    start = np.asarray(start).astype(operator.dtype)
    if n <= SMALL or k >= n - 1:
        values, vectors = np.linalg.eigh(dense(operator))
    else:
        values, vectors = _by_lanczos(operator, k, which, start, tol, maxiter, few)
    rank = {"LA": -values, "SA": values, "LM": -np.abs(values)}[which]
    chosen = np.argsort(rank, kind="stable")[:k]
    return Eigenpairs(values[chosen], vectors[:, chosen])


def _by_lanczos(
    operator: LinearOperator, k: int, which: str, start: Array, tol: float, maxiter: int | None, few: int | None
) -> tuple[Array, Array]:
    """ARPACK on the operator as it likes it: of about unit size, because below 1e-11 it takes values for zero; and
    shifted, because it begins with a product, which in a singular matrix takes the kernel out of the start vector."""
    scale = float(np.abs(operator.matvec(start)).max()) / float(np.abs(start).max())
    if scale == 0:  # the zero matrix
        return np.zeros(k), np.eye(len(start), k)
    shift = 0.0 if which == "LM" else 1 / 64
    shifted = LinearOperator(
        operator.shape, matvec=lambda v: operator.matvec(v) / scale + shift * v, dtype=operator.dtype
    )
    values, vectors = eigsh(shifted, k, which=which, v0=start, tol=tol, maxiter=maxiter, ncv=few)
    return (values - shift) * scale, vectors


def sharpness(op: Any, *, tol: float = 0.0, rng: np.random.Generator | int | None = None) -> float:
    """The largest eigenvalue, λmax.

    >>> sharpness(np.diag([3.0, -5.0, 1.0]))
    3.0
    """
    return float(eigenpairs(op, 1, tol=tol, rng=rng).values[0])


def max_stable_lr(
    op: Any, *, momentum: float = 0.0, tol: float = 0.0, rng: np.random.Generator | int | None = None
) -> float:
    """The learning rate 2/λmax from which on gradient descent diverges on the quadratic with this curvature.

    With (classical) momentum μ it is 2(1 + μ)/λmax. Infinite where λmax is 0.

    Raises:
        numpy.linalg.LinAlgError: if λmax is negative: on a function that curves down everywhere every rate diverges.

    >>> max_stable_lr(np.diag([100.0, 1.0]))
    0.02
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"max_stable_lr: momentum must be in [0, 1), not {momentum!r}")
    top = sharpness(op, tol=tol, rng=rng)
    if top < 0:
        raise np.linalg.LinAlgError(
            f"max_stable_lr: the largest eigenvalue is {top:.6g}: the curvature is negative definite, "
            f"and gradient descent diverges with every learning rate"
        )
    return 2 * (1 + momentum) / top if top else float("inf")


def condition_number(op: Any, *, tol: float = 0.0, rng: np.random.Generator | int | None = None) -> float:
    """λmax / λmin of a positive definite operator; infinite where λmin is 0 within rounding.

    Up to 1000 rows from the matrix itself, else by Lanczos, whose convergence at λmin is slow if the number is large.

    Raises:
        numpy.linalg.LinAlgError: if an eigenvalue is negative (add damping, or use the Gauss–Newton matrix), or the
            curvature is not finite.

    >>> condition_number(np.diag([100.0, 1.0]))
    100.0
    """
    low, high = extremes("condition_number", op, tol, rng)
    n = np.shape(op)[0]
    rounding = n * np.finfo(getattr(op, "dtype", None) if _floating(op) else float).eps * max(abs(low), abs(high))
    if low < -rounding:
        raise np.linalg.LinAlgError(
            f"condition_number: needs a positive definite operator, but its eigenvalues run from {low:.6g} to "
            f"{high:.6g}; add damping, or use the Gauss–Newton matrix"
        )
    return high / low if low > rounding else float("inf")


def _floating(op: Any) -> bool:
    dtype = getattr(op, "dtype", None)
    return dtype is not None and dtype.kind == "f"


def _dtype(operator: LinearOperator) -> Any:
    return operator.dtype if _floating(operator) else np.dtype(float)


def extremes(where: str, op: Any, tol: float, rng: np.random.Generator | int | None) -> tuple[float, float]:
    """The least and the largest eigenvalue."""
    operator = symmetric(where, op)
    if operator.shape[0] <= DENSE:
        values = np.linalg.eigvalsh(dense(operator))
        return float(values[0]), float(values[-1])
    rng = np.random.default_rng(rng)
    low, high = (eigenpairs(operator, 1, which, tol=tol, rng=rng).values[0] for which in ("SA", "LA"))
    return float(low), float(high)


def curvature_along(op: Any, u: Any) -> float:
    """The curvature along a direction, uᵀHu / uᵀu.

    Args:
        op: a symmetric operator or matrix.
        u: a vector, or for an operator of this package a list of arrays in the parameters' shapes.

    Raises:
        ValueError: if u is zero or has another size. NaN passes through.

    >>> curvature_along(np.diag([100.0, 1.0]), [1.0, 1.0])
    50.5
    """
    u = vector_of("curvature_along", op, u)
    square = float(u @ u)
    if square == 0:
        raise ValueError("curvature_along: the direction is zero")
    return float(u @ (aslinearoperator(op) @ u)) / square


def vector_of(where: str, op: Any, u: Any) -> Array:
    """A direction as a flat array: itself, or the flattened list of arrays."""
    if isinstance(op, ParameterOperator) and isinstance(u, Sequence) and any(np.ndim(plain(x)) for x in u):
        return op.flatten(u)
    v: Array = np.asarray(plain(u) if not isinstance(u, (list, tuple)) else [plain(x) for x in u], dtype=float)
    if v.shape != (np.shape(op)[0],):
        raise ValueError(f"{where}: a vector needs shape ({np.shape(op)[0]},), not {v.shape}")
    return v
