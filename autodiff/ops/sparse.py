"""Products of SciPy's sparse matrices, which are constant, with dense tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import Sample, as_tensor, declare, describe, polymorphic
from ..tensor import Tensor
from .samples import draw

__all__ = ["sparse_matmul"]


def _forward(x: Any, A: Any) -> Any:
    return A @ x


def _sample_matrix(rng: np.random.Generator) -> Any:
    from scipy.sparse import csr_array

    return csr_array(draw(rng, (3, 4)) * (np.arange(12).reshape(3, 4) % 3 > 0))


_sparse = declare(
    "sparse_matmul", _forward, [lambda g, y, x, A: _sparse_of(g, A=A.T)],
    jvps="linear", formula="A · {0}", derivatives=["Aᵀ"], opaque="SciPy's sparse matrices",
    samples=lambda rng: [Sample((draw(rng, s),), {"A": _sample_matrix(rng)}) for s in [(4,), (4, 2), (4, 1), (4, 0)]],
)  # fmt: skip
_sparse_of: Any = polymorphic(_sparse)


def _operand(x: Any) -> tuple[Any, bool]:
    """A sparse matrix that multiplies at once, or a tensor; and whether it is sparse."""
    from scipy.sparse import issparse

    if not issparse(x):
        return as_tensor(x, "sparse_matmul"), False
    if x.ndim != 2:
        raise ValueError(f"sparse_matmul: the sparse operand has shape {x.shape}; it must be a matrix (m, n)")
    if x.dtype.kind not in "fiub":
        raise TypeError(f"sparse_matmul: a sparse matrix of dtype {x.dtype} is refused; its numbers must be real")
    return x if x.format in ("csr", "csc", "coo", "bsr", "dia") else x.tocsr(), True


def sparse_matmul(a: Any, b: Any) -> Tensor:
    """The product of a sparse matrix and a dense tensor, in either order; `A @ t` and `t @ A`.

    Args:
        a: a matrix (m, n) of `scipy.sparse`, of any format, matrix or array, of real numbers; it is a constant and is
            not copied. Or, where `b` is sparse, a dense vector (m,) or matrix (k, m).
        b: a dense vector (n,) or matrix (n, k), a Tensor or array. Or, where `a` is dense, a sparse matrix (m, n).

    Returns:
        A dense Tensor (m,) or (m, k), or (n,) or (k, n); of the dtype that SciPy gives. The derivative by the dense
        operand is the product with Aᵀ.

    Raises:
        TypeError: no operand is sparse (write ``a @ b``), both are, or the numbers are not real.
        ValueError: the shapes do not fit.

    >>> from scipy.sparse import csr_array
    >>> A = csr_array([[0.0, 2.0], [3.0, 0.0]])
    >>> t = Tensor([1.0, 10.0], requires_grad=True)
    >>> sparse_matmul(A, t)
    Tensor([20.,  3.], op='sparse_matmul')
    >>> sparse_matmul(t, A)
    Tensor([30.,  2.], op='sparse_matmul')
    """
    (left, left_sparse), (right, right_sparse) = _operand(a), _operand(b)
    if left_sparse and right_sparse:
        raise TypeError(
            f"sparse_matmul: both operands are sparse, of shapes {left.shape} and {right.shape}; one must be a dense "
            f"Tensor or array (the product of two constants is A @ B)"
        )
    if not left_sparse and not right_sparse:
        raise TypeError(
            f"sparse_matmul: no operand is a matrix of scipy.sparse ({describe(left)} and {describe(right)}); of dense "
            f"ones the product is a @ b"
        )
    dense, matrix = (right, left) if left_sparse else (left, right)
    n = matrix.shape[1 if left_sparse else 0]
    if dense.ndim not in (1, 2) or dense.shape[0 if left_sparse else -1] != n:
        fits = f"({n},) or ({n}, k)" if left_sparse else f"({n},) or (k, {n})"
        raise ValueError(
            f"sparse_matmul: shapes {left.shape} and {right.shape} do not fit; the dense one must be {fits}"
        )
    if left_sparse:
        return _sparse(dense, A=matrix)
    return _sparse(dense.T, A=matrix.T).T if dense.ndim == 2 else _sparse(dense, A=matrix.T)
