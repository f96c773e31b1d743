"""Linear algebra on matrices, the last two axes of a tensor; all other axes are a batch.

Order: systems and inverses, determinants, Cholesky, eigenvalues, singular values, QR, norms, and what is composed of
them. A function with several results packs them into one array, because an operation of the engine has one output; the
public function slices it again, so that its one rule sees all cotangents together and serves every order.
"""

from __future__ import annotations

import itertools
import math
import operator
from functools import wraps
from typing import Any, NamedTuple, cast

import numpy as np

from ..backward import unbroadcast
from ..primitive import Rule, Sample, as_tensor, declare, internal, polymorphic, without_gradient
from ..protocols import implements, optioned
from ..tensor import Tensor, is_foreign
from . import products
from .guards import checked_axes, common, raw, times
from .precision import in_single
from .products import matmul, tensordot, vecdot
from .samples import draw

__all__ = [
    "EigResult", "EighResult", "QRResult", "SVDResult", "SlogdetResult", "cholesky", "cross", "det", "diagonal", "eig",
    "eigh", "eigvals", "eigvalsh", "inv", "lstsq", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot",
    "outer", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals",
    "tensorinv", "tensorsolve", "trace",
]  # fmt: skip


def _t(x: Any) -> Any:
    return x.swapaxes(-1, -2)


def _conj(x: Any) -> Any:
    return x.conj() if x.dtype.kind == "c" else x


def _h(x: Any) -> Any:
    """The conjugate transpose."""
    return _t(_conj(x))


def _of_gradients(rule: Rule) -> Rule:
    """A rule that is written for gradients as users see them, the conjugates of cotangents, as it is in papers."""

    @wraps(rule)
    def conjugated(g: Any, y: Any, *inputs: Any, **params: Any) -> Any:
        return _conj(rule(_conj(g), y, *inputs, **params))

    return conjugated


@internal
def as_matrices(x: Any, name: str, square: bool = False) -> Any:
    """A tensor of one matrix or a batch of them, or the error that says what was given instead."""
    x = as_tensor(x, name)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        kind = "square matrices (..., n, n)" if square else "matrices (..., m, n)"
        raise np.linalg.LinAlgError(f"{name}: needs {kind}, not shape {x.shape}")
    return x


@internal
def as_floating(x: Any, name: str) -> Any:
    x = as_tensor(x, name)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


@internal
def as_real(x: Any, name: str) -> Any:
    x = as_floating(x, name)
    if x.dtype.kind == "c":
        raise TypeError(f"{name}: is defined for real numbers, not for an input of shape {x.shape} ({x.dtype})")
    return x


def _eye_like(a: Any) -> Any:
    return np.eye(a.shape[-1], dtype=a.dtype, like=raw(a))


def _diagonal(a: Any) -> Any:
    """Where the diagonal of matrices with that many columns is."""
    return np.eye(a.shape[-1], dtype=bool, like=raw(a))


def _square(rng: np.random.Generator, *shape: int) -> Any:
    """A random matrix (or a batch) away from singular ones: the sample most operations here are checked on."""
    return draw(rng, shape) + 3.0 * np.eye(shape[-1]) * (1 + np.arange(shape[-1]) / 2)


def _symmetric(x: Any) -> Any:
    """The symmetric part; of complex matrices the Hermitian one."""
    return (x + _h(x)) / 2


@internal
def require_symmetric(a: Tensor, name: str, why: str = "") -> None:
    """Raise unless matrices are symmetric (complex ones Hermitian), up to half of the digits."""
    values = a._ndarray
    kind, star = ("Hermitian", ".conj()") if values.dtype.kind == "c" else ("symmetric", "")
    size = np.max(np.abs(values), initial=0)
    with np.errstate(invalid="ignore"):
        off = np.max(np.abs(values - _h(values)), initial=0)
    if not common(~(off > size * np.finfo(values.dtype if values.dtype.kind in "fc" else float).eps ** 0.5)):
        raise ValueError(
            f"{name}: a matrix of shape {a.shape} is not {kind}{why}; write its {kind} part, "
            f"(a + a{star}.swapaxes(-1, -2)) / 2, or what its lower triangle stands for, "
            f"np.tril(a) + np.tril(a, -1).mT{star}"
        )


_ONE_TRIANGLE = ", of which one triangle is read and whose gradient is taken to be so too"


def _hermitian(rng: np.random.Generator, *shape: int) -> Any:
    return _symmetric(_square(rng, *shape) + 1j * draw(rng, shape))


def _positive(x: Any) -> Any:
    return x @ _h(x) + _eye_like(x)


# Systems and inverses

inv = declare(
    "inv", np.linalg.inv, [lambda g, y, a: -(_t(y) @ g @ _t(y))], arity=1, numpy=np.linalg.inv,
    complex=True, formula="{0}⁻¹", derivatives=["−{y}ᵀ · {y}ᵀ"],
    samples=lambda rng: [Sample((_square(rng, *s),)) for s in [(3, 3), (2, 2, 2), (1, 1), (0, 2, 2)]],
    doc="The inverse of square matrices (..., n, n), as `numpy.linalg.inv`. Raises LinAlgError where there is none.",
)  # fmt: skip


def _solved(g: Any, a: Any, b: Any) -> Any:
    """a⁻ᵀ g, the cotangent of b before its broadcasting is undone."""
    return np.linalg.solve(_t(a), g[..., None])[..., 0] if b.ndim == 1 else np.linalg.solve(_t(a), g)


def _solve_left(g: Any, y: Any, a: Any, b: Any) -> Any:
    d = _solved(g, a, b)
    return unbroadcast(-(d[..., :, None] * y[..., None, :] if b.ndim == 1 else d @ _t(y)), a.shape)


_solve = declare(
    "solve", np.linalg.solve, [_solve_left, lambda g, y, a, b: unbroadcast(_solved(g, a, b), b.shape)],
    arity=2, complex=True, formula="{0}⁻¹ {1}", derivatives=["−{0}⁻ᵀ · {y}ᵀ", "{0}⁻ᵀ"],
    samples=lambda rng: [Sample((_square(rng, *s), draw(rng, t))) for s, t in [
        ((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 2, 2), (2,)), ((2, 2, 2), (2, 1)), ((2, 2), (3, 2, 2)), ((2, 2), (2, 0)),
        ((0, 2, 2), (2,))]],
)  # fmt: skip


def _check_system(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    a, b = as_matrices(a, name, square=True), as_tensor(b, name)
    met = f"{name}: matrices of shape {a.shape} and right-hand sides of shape {b.shape} do not fit"
    if b.ndim == 0 or b.shape[-2 if b.ndim > 1 else 0] != a.shape[-1]:
        n = a.shape[-1]
        raise ValueError(f"{met}; the right-hand side is one vector ({n},) or matrices (..., {n}, k)")
    if b.ndim > 2 and a.ndim > 2:
        try:
            np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        except ValueError:
            raise ValueError(f"{met}: their batch axes cannot be broadcast against each other") from None
    return a, b


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Tensor:
    """The solution x of a x = b, as `numpy.linalg.solve`.

    Args:
        a: square matrices (..., n, n).
        b: one vector (n,), or matrices (..., n, k); batch axes are broadcast.

    Raises:
        LinAlgError: a matrix is singular or not square.
        ValueError: the shapes do not fit.

    >>> solve([[2.0, 0.0], [0.0, 4.0]], [1.0, 1.0])
    Tensor([0.5 , 0.25])
    """
    return _solve(*_check_system("solve", a, b))


def _triangular_forward(a: Any, b: Any, trans: int = 0, lower: bool = False, unit_diagonal: bool = False) -> Any:
    from scipy.linalg.lapack import dtrtrs, strtrs

    matrices = b[:, None] if b.ndim == 1 else b
    batch = np.broadcast_shapes(a.shape[:-2], matrices.shape[:-2])
    many = np.broadcast_to(a, batch + a.shape[-2:])
    matrices = np.broadcast_to(matrices, batch + matrices.shape[-2:])
    x = np.empty(matrices.shape, np.result_type(a, b, np.float32 if a.dtype.kind == "f" else np.float64))
    solver = strtrs if x.dtype == np.float32 else dtrtrs
    for i in np.ndindex(*batch if x.size else (0,)):
        # The transpose of an array in C's order is in Fortran's, and needs no copy.
        x[i], info = solver(many[i].T, matrices[i], lower=not lower, trans=1 - trans, unitdiag=unit_diagonal)
        if info:
            raise np.linalg.LinAlgError(f"solve_triangular: a matrix is singular, its diagonal element {info - 1} is 0")
    return x[..., 0] if b.ndim == 1 else x


def _triangular_left(
    g: Any, y: Any, a: Any, b: Any, trans: int = 0, lower: bool = False, unit_diagonal: bool = False
) -> Any:
    """−d yᵀ (−y dᵀ where aᵀ was solved), in the triangle that was read."""
    d = _triangular_solved(g, a, b, trans, lower, unit_diagonal)
    d, y = (d[..., None], y[..., None]) if b.ndim == 1 else (d, y)
    full = y @ _t(d) if trans else d @ _t(y)
    n = a.shape[-1]
    triangle = np.tri(n, k=-1 if unit_diagonal else 0, dtype=a.dtype, like=raw(a))
    return unbroadcast(-full * (triangle if lower else triangle.T), a.shape)


def _triangular_solved(g: Any, a: Any, b: Any, trans: int, lower: bool, unit_diagonal: bool) -> Any:
    columns = g[..., None] if b.ndim == 1 else g
    d = _triangular_of(a, columns, trans=1 - trans, lower=lower, unit_diagonal=unit_diagonal)
    return d[..., 0] if b.ndim == 1 else d


_triangular = declare(
    "solve_triangular", in_single(_triangular_forward, together=True),
    [_triangular_left, lambda g, y, a, b, trans=0, lower=False, unit_diagonal=False: unbroadcast(
        _triangular_solved(g, a, b, trans, lower, unit_diagonal), b.shape)],
    formula="{0}⁻¹ {1}", derivatives=["−{0}⁻ᵀ · {y}ᵀ, in the triangle", "{0}⁻ᵀ"], opaque="LAPACK, matrix by matrix",
    samples=lambda rng: [Sample((_square(rng, *s), draw(rng, t)), dict.fromkeys(names.split(), 1)) for s, t, names in [
        ((3, 3), (3,), ""), ((3, 3), (3, 2), "lower"), ((3, 3), (3,), "trans lower"), ((2, 2, 2), (2,), "trans"),
        ((2, 2), (3, 2, 2), "unit_diagonal"), ((2, 2), (2, 0), "")]],
)  # fmt: skip
_triangular_of: Any = polymorphic(_triangular)


@optioned
def solve_triangular(
    a: Any, b: Any, trans: int | str = 0, lower: bool = False, unit_diagonal: bool = False,
    overwrite_b: bool = False, check_finite: bool = True,
) -> Tensor:  # fmt: skip
    """The solution of a x = b for triangular `a`, as `scipy.linalg.solve_triangular`, also in batches.

    Args:
        a: square matrices (..., n, n), of which only the upper triangle is read (the lower where `lower`).
        b: one vector (n,), or matrices (..., n, k).
        trans: 0 or "N" solves with a; 1, 2, "T" or "C" with its transpose.
        unit_diagonal: take the diagonal as ones, without reading it.
        overwrite_b, check_finite: accepted for SciPy's sake; `b` is never written.

    Raises:
        LinAlgError: a matrix is singular or not square.
        ValueError: the shapes do not fit, NaN or infinity (where `check_finite`), or an unknown `trans`.

    >>> solve_triangular([[2.0, 0.0], [1.0, 1.0]], [2.0, 3.0], lower=True)
    Tensor([1., 2.])
    """
    a, b = _check_system("solve_triangular", a, b)
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise ValueError(f'solve_triangular: trans={trans!r}; it is 0 or "N", 1 or "T", 2 or "C"')
    for x in (a, b):
        if check_finite and not common(np.isfinite(x._ndarray).all()):
            raise ValueError(f"solve_triangular: an input of shape {x.shape} holds NaN or infinity")
    options = {"trans": int(trans not in (0, "N")), "lower": bool(lower), "unit_diagonal": bool(unit_diagonal)}
    return _triangular(a, b, **{k: v for k, v in options.items() if v})


# Determinants


def _others(s: Any) -> Any:
    """For each element along the last axis, the product of all the others."""
    return np.multiply.reduce(np.where(_diagonal(s), 1, s[..., None, :]), axis=-1)


def _cofactors(a: Any, *directions: Any) -> Any:
    """The gradient of det at any matrix, singular ones included, or of one of its directional derivatives.

    With a = u diag(s) vᵀ it is ± u diag(∏ of the other s) vᵀ. det is linear in every entry, which in that basis gives
    its second derivatives too; the coefficient of t₁ … tₖ in the cofactors of a + Σ tᵢ directionᵢ, a polynomial, gives
    the higher ones by a discrete Fourier transform over the roots of unity.
    """
    n, k = a.shape[-1], len(directions)
    if k >= max(n, 2):
        return np.zeros_like(a)
    if k >= 2:
        size, *sizes = [np.max(np.abs(x), initial=0) or 1.0 for x in (a, *directions)]
        scales = [size / s for s in sizes]
        points = np.exp(2j * np.pi * np.arange(max(n, 2)) / max(n, 2))
        total = np.zeros(a.shape, complex)
        for ts in itertools.product(points, repeat=k):
            moved = a + sum(t * scale * d for t, scale, d in zip(ts, scales, directions))
            total += _cofactors(moved) / np.prod(ts)
        total = total if a.dtype.kind == "c" else total.real
        return (total / (len(points) ** k * np.prod(scales))).astype(a.dtype)
    u, s, vt = np.linalg.svd(a)
    parity = (np.linalg.det(u) * np.linalg.det(vt))[..., None, None]
    u, vt = u.conj(), vt.conj()
    if not directions:
        return parity * ((u * _others(s)[..., None, :]) @ vt)
    seen = _t(u) @ directions[0] @ _t(vt)
    pairs = np.zeros_like(seen)  # ∏ of all s but two
    for i in range(n):
        rest = np.array(s)
        rest[..., i] = 1
        pairs[..., i, :] = _others(rest)
    pairs *= 1 - np.eye(n, dtype=a.dtype)
    diagonal = (pairs @ np.diagonal(seen, axis1=-2, axis2=-1)[..., None]) * np.eye(n, dtype=a.dtype)
    return parity * (u @ (diagonal - pairs * _t(seen)) @ vt)


def _cofactor_rule(i: int, g: Any, y: Any, a: Any, *directions: Any) -> Any:
    """g is one more direction; for a direction's own cotangent it takes that direction's place."""
    return _cofactor_of(a, *(d for j, d in enumerate(directions, 1) if j != i), g)


_cofactor = declare(
    "cofactor", _cofactors, each=_cofactor_rule, complex=True,
    formula="cofactors of {0}", derivatives=["second derivatives of det {0}"], opaque="scales are taken from values",
    stacks="leading",
    samples=lambda rng: [Sample((_square(rng, *s),)) for s in [(3, 3), (2, 2, 2), (1, 1)]]
    + [Sample((draw(rng, (3, 2)) @ draw(rng, (2, 3)),)), Sample((draw(rng, (3, 3)), draw(rng, (3, 3))), smooth=2)],
    doc="The gradient of the determinant by every entry, at singular matrices too.",
)  # fmt: skip
_cofactor_of: Any = polymorphic(_cofactor)


def _safe_inverse(a: Any) -> Any:
    """The inverse, or None where a matrix is so near a singular one that products with it lose half the digits."""
    try:
        inverse = np.linalg.inv(a)
    except np.linalg.LinAlgError:
        return None
    condition = np.abs(a).sum(axis=(-2, -1)) * np.abs(inverse).sum(axis=(-2, -1))
    return inverse if common(~(condition > np.finfo(inverse.dtype).eps ** -0.5).any()) else None


def _det_rule(g: Any, y: Any, a: Any) -> Any:
    inverse = _safe_inverse(raw(a))
    if inverse is None:
        return g[..., None, None] * _cofactor_of(a)
    return (g * y)[..., None, None] * _t(np.linalg.inv(a) if isinstance(a, Tensor) else inverse)


det = declare(
    "det", np.linalg.det, [_det_rule], arity=1, numpy=np.linalg.det,
    complex=True, formula="det {0}", derivatives=["{y} {0}⁻ᵀ"],
    samples=lambda rng: [Sample((_square(rng, *s),)) for s in [(3, 3), (2, 2, 2), (1, 1), (0, 2, 2)]]
    + [Sample((draw(rng, (3, 2)) @ draw(rng, (2, 3)),)), Sample((np.outer([1.0, 2.0, -1.0], [0.5, 1.0, 3.0]),)),
       Sample((np.zeros((2, 2)),))],
    doc="The determinant of square matrices (..., n, n), as `numpy.linalg.det`; its derivatives hold at singular ones.",
)  # fmt: skip


def _slogdet_rule(g: Any, y: Any, a: Any) -> Any:
    """Of w = log det a: log |det a| moves by Re dw, its sign s by i s Im dw; and dw = Σ a⁻ᵀ da."""
    g = g[..., 1] if y.dtype.kind != "c" else g[..., 1].real + (g[..., 0] * y[..., 0]).imag * 1j
    g = g[..., None, None]
    singular = (raw(y)[..., 0] == 0)[..., None, None]
    if common(~singular.any()):
        return g * _t(np.linalg.inv(a))
    inverse = _t(np.linalg.inv(np.where(singular, _eye_like(a), a)))
    return times(g, np.where(singular, np.nan, inverse))


_slogdet = declare(
    "slogdet", lambda a: np.stack([*np.linalg.slogdet(a)], axis=-1), [_slogdet_rule], arity=1,
    complex=True, formula="sign, log |det {0}|", derivatives=["0, {0}⁻ᵀ"],
    samples=lambda rng: [Sample((_square(rng, *s),)) for s in [(3, 3), (2, 2, 2), (1, 1), (0, 2, 2)]],
)  # fmt: skip


class SlogdetResult(NamedTuple):
    """Sign and logarithm of the absolute value of a determinant."""

    sign: Tensor
    logabsdet: Tensor


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> SlogdetResult:
    """Sign and log |det a| of square matrices (..., n, n), as `numpy.linalg.slogdet`; no overflow for large ones.

    The sign of a complex determinant is a number of size 1, with a derivative. At a singular matrix the logarithm is −∞
    and has no derivative: its gradient is NaN there. (That of `det` is exact.)

    >>> slogdet([[0.0, 2.0], [3.0, 0.0]]).sign
    Tensor(-1.)
    """
    y = _slogdet(as_matrices(a, "slogdet", square=True))
    return SlogdetResult(y[..., 0], y[..., 1].real)


# Cholesky


@_of_gradients
def _cholesky_rule(g: Any, y: Any, a: Any, upper: bool = False) -> Any:
    """L⁻ᴴ Φ(Lᴴ g) L⁻¹ made symmetric, Φ being the lower triangle with half the diagonal (Murray 2016, equation 10)."""
    factor, g = (_h(y), _h(g)) if upper else (y, g)
    half = np.tri(a.shape[-1], dtype=a.dtype, like=raw(a)) - _eye_like(a) / 2
    left = np.linalg.solve(_h(factor), (_h(factor) @ g) * half)
    return _symmetric(np.linalg.solve(_h(factor), _h(left)))


_cholesky = declare(
    "cholesky", np.linalg.cholesky, [_cholesky_rule], complex=True,
    formula="L with L Lᵀ = {0}", derivatives=["{y}⁻ᵀ Φ({y}ᵀ ·) {y}⁻¹"],
    samples=lambda rng: [Sample((draw(rng, s),), p, wrap=lambda x: (_positive(x),)) for s, p in [
        ((3, 3), {}), ((3, 3), {"upper": True}), ((2, 2, 2), {}), ((1, 1), {}), ((0, 2, 2), {})]],
)  # fmt: skip


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Tensor:
    """The triangular factor of symmetric (or Hermitian) positive definite matrices, as `numpy.linalg.cholesky`.

    Args:
        a: symmetric or Hermitian matrices (..., n, n): one triangle is read, and the gradient is as the matrix.
        upper: give U with Uᴴ U = a in place of L with L Lᴴ = a.

    Raises:
        LinAlgError: a matrix is not positive definite, or not square.
        ValueError: a matrix that requires a gradient is not symmetric.

    >>> cholesky([[4.0, 2.0], [2.0, 5.0]])
    Tensor([[2., 0.],
            [1., 2.]])
    """
    a = as_matrices(a, "cholesky", square=True)
    if a.requires_grad:
        require_symmetric(a, "cholesky", _ONE_TRIANGLE)
    return _cholesky(a, upper=True) if upper else _cholesky(a)


# Eigenvalues of symmetric matrices, and singular values
#
# The values are an operation of their own beside the vectors, so that a function of the values alone never meets a term
# with 1/gap: which of the two a function uses is then seen from the graph, and not guessed from zeros in a cotangent.


def _closed(gaps: Any, values: Any) -> Any:
    """Where a gap between values is nothing but rounding: 1/gap would have less than two digits."""
    sizes = np.abs(raw(values))
    top = np.max(sizes, axis=-1, initial=0)[..., None, None]
    return np.abs(raw(gaps)) <= top * (32 * sizes.shape[-1] * np.finfo(sizes.dtype).eps)


def _inverse(gaps: Any, closed: Any, unused: Any = np.False_) -> Any:
    """1/gap, NaN where there is none, and 0 where it is unused."""
    off = closed | unused
    none = np.where(closed & ~unused, np.nan, 0).astype(gaps.dtype)
    return np.where(off, none, 1 / np.where(off, 1, gaps))


def _slopes(rise: Any, gaps: Any, closed: Any) -> Any:
    """rise/gap. Without a gap it is 0 where nothing rises, as for weights that are constant, and else NaN."""
    known = np.where(closed & (raw(rise) != 0), np.nan, 0).astype(rise.dtype)
    return rise * np.where(closed, known, 1 / np.where(closed, 1, gaps))  # a factor: its NaN stays in every derivative


def _between(s: Any) -> Any:
    """sⱼ − sᵢ, and where that is only rounding."""
    gaps = s[..., None, :] - s[..., :, None]
    return gaps, _closed(gaps, s)


@internal
def unless(lost: Any, g: Any) -> Any:
    """g, and NaN where it is lost."""
    if common(~lost.any()):
        return g
    return g * np.where(lost, np.nan, 1).astype(g.dtype)  # a factor: so are its derivatives


@internal
def repeated(s: Any) -> Any:
    """Whether each of some values lies, up to rounding, beside another."""
    return _between(raw(s))[1].sum(axis=-1) > 1


def _eigh_forward(a: Any, invariant: bool = False) -> Any:
    w, v = np.linalg.eigh(a)
    return np.concatenate([w[..., None, :], v], axis=-2)


def _check_phase(name: str, turned: Any, size: Any) -> None:
    """Raise unless the gradient by vectors is 0 along their phases, which are arbitrary: `turned` is the derivative by
    each phase. (Operations that use vectors in a way that is `invariant` do not ask, for their gradient may be nothing
    but rounding.)"""
    off = np.abs(raw(turned)) > 1e-6 * np.max(np.abs(raw(size)), initial=0)
    if not common(~off.any()):
        raise ValueError(
            f"{name}: has no derivative here: the function depends on the phases of the vectors, which are arbitrary; "
            f"use what does not, such as their projectors v v* or the sizes of their components, abs(v)"
        )


@_of_gradients
def _eigh_rule(g: Any, y: Any, a: Any, invariant: bool = False) -> Any:
    """V (diag(ḡw) + (Vᴴ ḡV) / (wⱼ − wᵢ)) Vᴴ made symmetric (Giles 2008, section 3.1)."""
    w, v = y[..., 0, :].real, y[..., 1:, :]
    gaps, closed = _between(w)
    seen = _h(v) @ g[..., 1:, :]
    if seen.dtype.kind == "c" and not invariant:
        _check_phase("eigh", np.diagonal(raw(seen), axis1=-2, axis2=-1).imag, seen)
    inside = seen * _inverse(gaps, closed, _diagonal(a)) + g[..., 0, None, :].real * _eye_like(a)
    return _symmetric(v @ inside @ _h(v))


def _eigh_moved(t: Any, y: Any, a: Any, invariant: bool = False) -> Any:
    """dw = diag(Vᴴ dA V), dV = V (Vᴴ dA V / (wⱼ − wᵢ))."""
    w, v = y[..., 0, :].real, y[..., 1:, :]
    gaps, closed = _between(w)
    inside = _h(v) @ _symmetric(t) @ v
    turned = v @ (inside * _inverse(gaps, closed, _diagonal(a)))
    return np.concatenate([np.diagonal(inside, axis1=-2, axis2=-1)[..., None, :], turned], axis=-2)


def _eigh_of_each(x: Any) -> Any:
    """What does not depend on the phases of the eigenvectors."""
    y = _eigh_of(_symmetric(x))
    return np.abs(y) ** 2 + (y[..., :1, :] * y[..., 1:2, :] * y[..., 2:3, :].conj()).real


_eigh = declare(
    "eigh", _eigh_forward, [_eigh_rule], jvps=[_eigh_moved], complex=True,
    formula="w, V with {0} V = V diag(w)", derivatives=["V (diag ḡw + Vᴴ ḡV / (wⱼ − wᵢ)) Vᴴ"],
    samples=lambda rng: [*(Sample((_square(rng, *s),), wrap=lambda x: (_symmetric(x),)) for s in [
        (3, 3), (2, 2, 2), (1, 1), (0, 2, 2)]), *(Sample((_hermitian(rng, *s),), function=_eigh_of_each)
        for s in [(3, 3), (2, 2, 2)])],
)  # fmt: skip
_eigh_of: Any = polymorphic(_eigh)


def _projectors_forward(a: Any, g: Any) -> Any:
    v = np.linalg.eigh(a)[1]
    return (v * g[..., None, :]) @ _h(v)


def _projectors_moved(h: Any, y: Any, a: Any, g: Any) -> Any:
    """V ((gⱼ − gᵢ)/(wⱼ − wᵢ) ∘ Vᴴ h V) Vᴴ with h made symmetric: this Jacobian is its own transpose."""
    found = _eigh_of(a, invariant=True)
    w, v = found[..., 0, :].real, found[..., 1:, :]
    gaps, closed = _between(w)
    return v @ (_slopes(g[..., None, :] - g[..., :, None], gaps, closed) * (_h(v) @ _symmetric(h) @ v)) @ _h(v)


def _seen_by_eigenvectors(h: Any, a: Any) -> Any:
    """vᵢᴴ h vᵢ, of which the real part counts"""
    v = _eigh_of(a, invariant=True)[..., 1:, :]
    return (_conj(v) * (h @ v)).sum(axis=-2)


def _eigenvalues_repeat(a: Any) -> Any:
    return repeated(np.linalg.eigvalsh(raw(a)))


_projectors = declare(
    "projectors", _projectors_forward,
    [_of_gradients(_projectors_moved),
     lambda h, y, a, g: unless(_eigenvalues_repeat(a), _seen_by_eigenvectors(_conj(h), a))],
    # Weights that move as repeated eigenvalues do part them in a way that neither rule can know: NaN.
    jvps=[_projectors_moved, lambda t, y, a, g: _projectors_of(a, unless(_eigenvalues_repeat(a), t))],
    complex=True, formula="Σᵢ {1}ᵢ vᵢ vᵢᴴ, eigenvectors v of {0}",
    derivatives=["V (({1}ⱼ − {1}ᵢ)/(wⱼ − wᵢ) ∘ Vᴴ · V) Vᴴ", "vᵢᴴ · vᵢ"],
    samples=lambda rng: [
        Sample((x, draw(rng, x.shape[:-1])), wrap=lambda x, g: (_symmetric(x), g))
        for x in [*(_square(rng, *s) for s in [(3, 3), (2, 2, 2), (1, 1), (0, 2, 2)]), _hermitian(rng, 3, 3)]],
)  # fmt: skip
_projectors_of: Any = polymorphic(_projectors)

_eigvalsh = declare(
    "eigvalsh", np.linalg.eigvalsh, [lambda g, y, a: _conj(_projectors_of(a, g))], arity=1,
    jvps=[lambda t, y, a: _seen_by_eigenvectors(_symmetric(t), a)], complex=True,
    formula="w with {0} V = V diag(w)", derivatives=["V diag(·) Vᴴ"],
    samples=lambda rng: [Sample((_square(rng, *s),), wrap=lambda x: (_symmetric(x),)) for s in [
        (3, 3), (2, 2, 2), (1, 1), (0, 2, 2)]],
)  # fmt: skip


# Eigenvalues of other matrices: complex numbers, of which the public functions take the real part where all are real


def _eig_forward(a: Any, invariant: bool = False) -> Any:
    w, v = np.linalg.eig(a)
    return np.concatenate([w[..., None, :], v], axis=-2, dtype=np.result_type(a, np.complex64))


def _unit_part(v: Any, moved: Any) -> Any:
    """Of the way eigenvectors move, the part along themselves that keeps their length 1."""
    return (_conj(v) * moved).sum(axis=-2, keepdims=True).real


@_of_gradients
def _eig_rule(g: Any, y: Any, a: Any, invariant: bool = False) -> Any:
    """V⁻ᴴ (diag ḡw + (Vᴴ ḡV − Vᴴ V Re diag Vᴴ ḡV) / (wⱼ − wᵢ)*) Vᴴ (Boeddeker et al. 2017)."""
    w, v = y[..., 0, :], y[..., 1:, :]
    gaps, closed = _between(w)
    seen = _h(v) @ g[..., 1:, :]
    if seen.dtype.kind == "c" and not invariant:
        _check_phase("eig", np.diagonal(raw(seen), axis1=-2, axis2=-1).imag, seen)
    seen = seen - (_h(v) @ v) * _unit_part(v, g[..., 1:, :])
    inside = seen * _inverse(_conj(gaps), closed, _diagonal(a)) + g[..., 0, None, :] * _eye_like(seen)
    return np.linalg.solve(_h(v), inside @ _h(v))


def _eig_moved(t: Any, y: Any, a: Any, invariant: bool = False) -> Any:
    """dw = diag V⁻¹ dA V, dV = V (V⁻¹ dA V / (wⱼ − wᵢ)), less what changes a length."""
    w, v = y[..., 0, :], y[..., 1:, :]
    gaps, closed = _between(w)
    inside = np.linalg.solve(v, t @ v)
    turned = v @ (inside * _inverse(gaps, closed, _diagonal(a)))
    moved = turned - v * _unit_part(v, turned)
    return np.concatenate([np.diagonal(inside, axis1=-2, axis2=-1)[..., None, :], moved], axis=-2)


def _eig_of_each(a: Any) -> Any:
    """What does not depend on the phases of the eigenvectors."""
    y = _eig_of(a)
    return np.abs(y) ** 2 + np.abs(y[..., 1:2, :] + 2 * y[..., 2:3, :]) ** 2


_eig = declare(
    "eig", _eig_forward, [_eig_rule], jvps=[_eig_moved], complex=True,
    opaque="real or complex, as the eigenvalues are", formula="w, V with {0} V = V diag(w)",
    derivatives=["V⁻ᴴ (diag ḡw + …) Vᴴ"],
    samples=lambda rng: [Sample((x,), function=_eig_of_each) for x in _general_matrices(rng)],
)  # fmt: skip
_eig_of: Any = polymorphic(_eig)


def _eigvals_rule(g: Any, y: Any, a: Any) -> Any:
    """V⁻ᵀ diag(·) Vᵀ, and NaN where eigenvalues repeat."""
    v = _eig_of(a, invariant=True)[..., 1:, :]
    return np.linalg.solve(_t(v), unless(repeated(y), g)[..., :, None] * _t(v))


_eigvals = declare(
    "eigvals", lambda a: _eig_forward(a)[..., 0, :], [_eigvals_rule], arity=1, complex=True,
    opaque="real or complex, as the eigenvalues are",
    jvps=[lambda t, y, a: unless(repeated(y), _eig_moved(t, _eig_of(a, invariant=True), a)[..., 0, :])],
    formula="w with {0} V = V diag(w)", derivatives=["V⁻ᵀ diag(·) Vᵀ"],
    samples=lambda rng: [Sample((x,)) for x in _general_matrices(rng)],
)  # fmt: skip


def _general_matrices(rng: np.random.Generator) -> list[Any]:
    """With real eigenvalues, with pairs of complex ones, stacked, and complex."""
    turn = np.array([[0.0, 1.5], [-1.0, 0.4]])
    return [
        _square(rng, 3, 3), draw(rng, (2, 2)) / 4 + turn, _square(rng, 2, 2, 2),
        _square(rng, 3, 3) + 1j * draw(rng, (3, 3)),
    ]  # fmt: skip


class EigResult(NamedTuple):
    """Eigenvalues, in no order, and eigenvectors of length 1 as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


@implements(np.linalg.eig)
def eig(a: Any) -> EigResult:
    """Eigenvalues and eigenvectors of square matrices, as `numpy.linalg.eig`.

    Args:
        a: square matrices (..., n, n), real or complex.

    Returns:
        eigenvalues (..., n) and eigenvectors (..., n, n) as columns of length 1; complex, unless `a` is real and all
        eigenvalues are. Where eigenvalues repeat (up to rounding) their derivatives and those of their vectors are NaN.

    Raises:
        LinAlgError: a matrix is not square, the iteration does not converge, or (in the derivative) there are less
            eigenvectors than columns.
        ValueError: in the derivative, what depends on the phases of complex eigenvectors, which are arbitrary.

    >>> eig([[0.0, 1.0], [-1.0, 0.0]]).eigenvalues
    Tensor([0.+1.j, 0.-1.j])
    """
    a = as_matrices(as_floating(a, "eig"), "eig", square=True)
    w, v = _eigvals(a), _eig(a)[..., 1:, :]
    return EigResult(w.real, v.real) if _all_real(a, w) else EigResult(w, v)


@implements(np.linalg.eigvals)
def eigvals(a: Any) -> Tensor:
    """The eigenvalues of square matrices, as `numpy.linalg.eigvals`; see `eig`.

    >>> eigvals([[2.0, 1.0], [0.0, 3.0]])
    Tensor([2., 3.])
    """
    a = as_matrices(as_floating(a, "eigvals"), "eigvals", square=True)
    w: Any = _eigvals(a)
    return w.real if _all_real(a, w) else w


def _all_real(a: Tensor, w: Tensor) -> bool:
    """Whether NumPy gives the eigenvalues as real numbers."""
    return a.dtype.kind != "c" and common((w._ndarray.imag == 0).all())


class EighResult(NamedTuple):
    """Eigenvalues in ascending order, and eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


def _as_symmetric(a: Any, UPLO: str, name: str) -> Any:
    """Matrices of whose symmetric form the lower triangle is to be read."""
    a = as_matrices(a, name, square=True)
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise ValueError(f'{name}: UPLO={UPLO!r}; it is "L" or "U", the triangle that is read')
    if a.requires_grad:
        require_symmetric(a, name, _ONE_TRIANGLE)
    return a if UPLO.upper() == "L" else _h(a)


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> EighResult:
    """Eigenvalues and eigenvectors of symmetric or Hermitian matrices, as `numpy.linalg.eigh`.

    Args:
        a: symmetric or Hermitian matrices (..., n, n): one triangle is read, and the gradient is as the matrix.
        UPLO: the triangle that is read, "L" or "U".

    Returns:
        eigenvalues (..., n), ascending, and eigenvectors (..., n, n) as columns.

        Where eigenvalues repeat (up to rounding), their eigenvectors are an arbitrary basis: every derivative of what
        uses the eigenvectors of such a matrix is NaN. The eigenvalues alone have the first derivative V diag(·) Vᵀ,
        exact for functions that do not change when repeated ones are exchanged (one of them alone has a kink, and gets
        v vᴴ with the v that was found). Its further derivative is exact for sums with constant weights, the same for
        repeated ones (the trace; the largest, where that is a single one), and else NaN. Nearly repeated ones lose
        digits as 1/gap grows. For functions of the matrix and sums over its eigenvalues, `funm_sym` and `spectral_sum`
        have every derivative, however small the gap.

    Raises:
        LinAlgError: a matrix is not square, or the iteration does not converge.
        ValueError: another `UPLO`, or a matrix that requires a gradient is not symmetric (Hermitian); in the
            derivative, what depends on the phases of complex eigenvectors, which are arbitrary.

    >>> eigh([[2.0, 1.0], [1.0, 2.0]]).eigenvalues
    Tensor([1., 3.])
    """
    a = _as_symmetric(a, UPLO, "eigh")
    return EighResult(_eigvalsh(a), _eigh(a)[..., 1:, :])


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, ascending, as `numpy.linalg.eigvalsh`.

    Args:
        a: symmetric matrices (..., n, n): one triangle is read, and the gradient is symmetric.
        UPLO: the triangle that is read, "L" or "U".

    Returns:
        Eigenvalues (..., n). Where they repeat, the first derivative is right for functions that do not change when
        repeated ones are exchanged; the second is right or NaN (see `eigh`). Σ f(wᵢ) has every derivative as
        ``spectral_sum(a, f)``.

    Raises:
        LinAlgError: a matrix is not square, or the iteration does not converge.
        ValueError: another `UPLO`, or a matrix that requires a gradient is not symmetric.

    >>> eigvalsh([[2.0, 1.0], [1.0, 2.0]])
    Tensor([1., 3.])
    """
    return _eigvalsh(_as_symmetric(a, UPLO, "eigvalsh"))


# Singular values


def _svd_forward(a: Any, invariant: bool = False) -> Any:
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    return np.concatenate([u, s[..., None, :], _h(vt)], axis=-2)


def _parts_of_svd(y: Any, m: int) -> tuple[Any, Any, Any]:
    return y[..., :m, :], y[..., m, :].real, y[..., m + 1 :, :]


@_of_gradients
def _svd_rule(g: Any, y: Any, a: Any, invariant: bool = False) -> Any:
    """U [skew(Uᴴ ḡU)/E · S + S · skew(Vᴴ ḡV)/E + diag ḡs] Vᴴ with E = sⱼ² − sᵢ² and skew(x) = x − xᴴ (and, of complex
    matrices, its diagonal), and the parts of ḡU and ḡV outside the ranges of U and V (Townsend 2016)."""
    m, n = a.shape[-2:]
    u, s, v = _parts_of_svd(y, m)
    gu, gv = g[..., :m, :], g[..., m + 1 :, :]
    row, column = s[..., None, :], s[..., :, None]
    gaps, closed = _between(s)
    inverse = _inverse(gaps * (row + column), closed, _diagonal(s))
    left, right = _h(u) @ gu, _h(v) @ gv
    inside = (left - _h(left)) * inverse * row + column * ((right - _h(right)) * inverse)
    inside = inside + g[..., m, None, :].real * _eye_like(s)
    if inside.dtype.kind == "c":
        turned = [np.diagonal(x, axis1=-2, axis2=-1).imag for x in (left, right)]
        if not invariant:
            _check_phase("svd", turned[0] + turned[1], np.abs(raw(left)) + np.abs(raw(right)))
        phases = (turned[0] - turned[1]) * _inverse(s, _closed(s[..., None, :], s)[..., 0, :]) / 2
        inside = inside + phases[..., None, :] * 1j * _eye_like(s)
    d = u @ inside @ _h(v)
    if m != n:
        inverse = _inverse(row, _closed(row, s))
        if m > n:
            d = d + ((gu - u @ left) * inverse) @ _h(v)
        else:
            d = d + (u * inverse) @ _h(gv - v @ right)
    return d


def _svd_moved(t: Any, y: Any, a: Any, invariant: bool = False) -> Any:
    """With dP = Uᴴ dA V: ds = Re diag dP, dU = U ((dP S + S dPᴴ)/E) + (1 − U Uᴴ) dA V S⁻¹, and dV likewise with dPᴴ;
    the diagonal of dP that is left, i Im, is half of either."""
    u, s, v = _parts_of_svd(y, a.shape[-2])
    row, column = s[..., None, :], s[..., :, None]
    gaps, closed = _between(s)
    inverse = _inverse(gaps * (row + column), closed, _diagonal(s))
    inside = _h(u) @ t @ v
    turned = [(inside * row + column * _h(inside)) * inverse, (column * inside + _h(inside) * row) * inverse]
    one_over, moved = _inverse(row, _closed(row, s)), np.diagonal(inside, axis1=-2, axis2=-1)[..., None, :]
    if inside.dtype.kind == "c":
        phases = moved.imag * one_over * 0.5j * _eye_like(s)
        turned = [turned[0] + phases, turned[1] - phases]
    du, dv = u @ turned[0], v @ turned[1]
    if a.shape[-2] > a.shape[-1]:
        du = du + (t @ v - u @ inside) * one_over
    elif a.shape[-2] < a.shape[-1]:
        dv = dv + (_h(t) @ u - v @ _h(inside)) * one_over
    return np.concatenate([du, moved.real, dv], axis=-2)


def _svd_of_each(a: Any) -> Any:
    """What does not depend on the phases of the singular vectors."""
    u, s, v = _parts_of_svd(_svd_of(a), a.shape[-2])
    return (u * (1 + s**2)[..., None, :]) @ _h(v) + np.abs(u[..., :1, :]).sum(axis=-1, keepdims=True)


def _matrices(rng: np.random.Generator) -> list[Any]:
    """Square matrices, tall and wide ones, with separate singular values; and none."""
    return [
        *[_square(rng, *s) for s in [(3, 3), (2, 2, 2), (1, 1)]],
        _square(rng, 4, 4)[:, :2], _square(rng, 4, 4)[:2], draw(rng, (0, 2, 3)),
    ]  # fmt: skip


_svd = declare(
    "svd", _svd_forward, [_svd_rule], jvps=[_svd_moved], complex=True,
    formula="U, s, V with U diag(s) Vᴴ = {0}", derivatives=["U (diag ḡs + …) Vᴴ"],
    samples=lambda rng: [*(Sample((a,)) for a in _matrices(rng)),
                         *(Sample((a + 1j * draw(rng, a.shape),), function=_svd_of_each) for a in _matrices(rng)[:5])],
)  # fmt: skip
_svd_of: Any = polymorphic(_svd)


def _svdvals_forward(a: Any) -> Any:
    return np.linalg.svd(a, compute_uv=False)


def _factors(a: Any) -> tuple[Any, Any, Any]:
    return _parts_of_svd(_svd_of(a, invariant=True), a.shape[-2])


def _dyads_forward(a: Any, g: Any) -> Any:
    u, _, vt = np.linalg.svd(a, full_matrices=False)
    return (u * g[..., None, :]) @ vt


def _dyads_moved(h: Any, y: Any, a: Any, g: Any) -> Any:
    """U (Q⁻ ∘ sym + Q⁺ ∘ skew) Vᴴ with sym and skew the parts of Uᴴ h V and Q± = (gⱼ ± gᵢ)/(sⱼ ± sᵢ), and g/s times
    the part of h outside the ranges of U and V: this Jacobian is its own transpose."""
    u, s, v = _factors(a)
    gaps, closed = _between(s)
    inside = _h(u) @ h @ v
    sums = s[..., None, :] + s[..., :, None]
    even = _slopes(g[..., None, :] - g[..., :, None], gaps, closed) * _symmetric(inside)
    odd = _slopes(g[..., None, :] + g[..., :, None], sums, _closed(sums, s)) * (inside - _h(inside)) / 2
    d = u @ (even + odd) @ _h(v)
    if a.shape[-2] != a.shape[-1]:
        row = s[..., None, :]
        slopes = _slopes(g[..., None, :], row, _closed(row, s))
        if a.shape[-2] > a.shape[-1]:
            d = d + ((h @ v - u @ inside) * slopes) @ _h(v)
        else:
            d = d + (u * slopes) @ (_h(u) @ h - inside @ _h(v))
    return d


def _seen_by_singular_vectors(h: Any, a: Any) -> Any:
    """uᵢᴴ h vᵢ, of which the real part counts"""
    u, _, v = _factors(a)
    return (_conj(u) * (h @ v)).sum(axis=-2)


def _singular_values_repeat(a: Any) -> Any:
    """Where they do; beside the further rows or columns of a matrix that is not square, 0 is repeated."""
    s = _svdvals_forward(raw(a))
    lost = repeated(s)
    return lost if a.shape[-2] == a.shape[-1] else lost | _closed(s[..., None, :], s)[..., 0, :]


_dyads = declare(
    "dyads", _dyads_forward,
    [_of_gradients(_dyads_moved),
     lambda h, y, a, g: unless(_singular_values_repeat(a), _seen_by_singular_vectors(_conj(h), a))],
    complex=True, jvps=[_dyads_moved, lambda t, y, a, g: _dyads_of(a, unless(_singular_values_repeat(a), t))],
    formula="Σᵢ {1}ᵢ uᵢ vᵢᴴ, singular vectors u, v of {0}",
    derivatives=["U (({1}ⱼ ∓ {1}ᵢ)/(sⱼ ∓ sᵢ) ∘ Uᴴ · V) Vᴴ + …", "uᵢᴴ · vᵢ"],
    samples=lambda rng: [Sample((a, draw(rng, (*a.shape[:-2], min(a.shape[-2:])))))
                         for a in [*_matrices(rng), *(a + 1j * draw(rng, a.shape) for a in _matrices(rng)[:5])]],
)  # fmt: skip
_dyads_of: Any = polymorphic(_dyads)


_svdvals = declare(
    "svdvals", _svdvals_forward, [lambda g, y, a: _conj(_dyads_of(a, g))], arity=1,
    jvps=[lambda t, y, a: _seen_by_singular_vectors(t, a)], complex=True,
    formula="s with U diag(s) Vᴴ = {0}", derivatives=["U diag(·) Vᴴ"],
    samples=lambda rng: [Sample((a,)) for a in _matrices(rng)],
)  # fmt: skip


class SVDResult(NamedTuple):
    """Left singular vectors as columns, singular values in descending order, right singular vectors as rows."""

    U: Tensor
    S: Tensor
    Vh: Tensor


@implements(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """The singular value decomposition a = U diag(S) Vh, as `numpy.linalg.svd`.

    Args:
        a: matrices (..., m, n); k is the smaller of m and n.
        full_matrices: must be False for matrices that are not square, unless only the values are asked for: the
            columns beyond the k-th are an arbitrary basis, and have no derivative.
        compute_uv: whether to give U and Vh; otherwise S alone.
        hermitian: the matrices are symmetric; the general algorithm is used all the same.

    Returns:
        U (..., m, k), S (..., k) descending, Vh (..., k, n).

        Where singular values repeat (up to rounding), or are 0 beside further rows or columns, their vectors are an
        arbitrary basis: every derivative of what uses U or Vh of such a matrix is NaN. The values alone have the first
        derivative U diag(·) Vᵀ, exact for functions that do not change when repeated ones are exchanged, or when one
        that is 0 changes its sign (else there is a kink, and u vᵀ with the vectors that were found). Its further
        derivative is exact for sums with constant weights, the same for repeated ones and 0 for those that are 0, and
        else exact or NaN. Σ φ(Sᵢ²) has every derivative as
        ``spectral_sum(a.T @ a, φ)``, and U diag(S φ(S²)) Vh as ``a @ funm_sym(a.T @ a, φ)``.

    Raises:
        ValueError: ``full_matrices=True`` for matrices that are not square, `hermitian` for others than symmetric ones;
            in the derivative, what depends on the phases of complex singular vectors, which are arbitrary.
        LinAlgError: less than two axes, or the iteration does not converge.

    >>> svd([[3.0, 0.0], [0.0, -2.0]]).S
    Tensor([3., 2.])
    """
    a = as_matrices(a, "svd", square=hermitian)
    if hermitian:
        require_symmetric(a, "svd", ", but hermitian=True")
    m, n = a.shape[-2:]
    if not compute_uv:
        return _svdvals(a)
    if full_matrices and m != n:
        raise ValueError(
            f"svd: shape {a.shape} is not square; pass full_matrices=False (the vectors beyond the first {min(m, n)} "
            f"are an arbitrary basis without a derivative), or compute_uv=False for the singular values alone"
        )
    y = _svd(a)
    return SVDResult(y[..., :m, :], _svdvals(a), _h(y[..., m + 1 :, :]))


@implements(np.linalg.svdvals)
def svdvals(x: Any, /) -> Tensor:
    """The singular values of matrices, descending, as `numpy.linalg.svdvals`.

    Args:
        x: matrices (..., m, n); k is the smaller of m and n.

    Returns:
        Singular values (..., k). Where they repeat, the first derivative is right for functions that do not change
        when repeated ones are exchanged; the second is right or NaN (see `svd`). Σ φ(sᵢ²) has every derivative as
        ``spectral_sum(x.T @ x, φ)``.

    Raises:
        LinAlgError: less than two axes, or the iteration does not converge.

    >>> svdvals([[3.0, 0.0], [0.0, -2.0]])
    Tensor([3., 2.])
    """
    return svd(x, compute_uv=False)


# QR


def _qr_forward(a: Any) -> Any:
    q, r = np.linalg.qr(a)
    return np.concatenate([_t(q), r], axis=-1)


def _tall_qr_rule(gq: Any, gr: Any, q: Any, r: Any) -> Any:
    """(ḡQ + Q S) R⁻ᴴ, S being R ḡRᴴ − ḡQᴴ Q with its lower triangle mirrored, and the diagonal real as that of R
    (Walter and Lehmann 2018)."""
    inside = r @ _h(gr) - _h(gq) @ q
    lower = np.tri(r.shape[-1], dtype=r.dtype, like=raw(r)) - _eye_like(r)
    inside = inside * lower + _h(inside * lower) + inside.real * _eye_like(r)
    try:
        return _h(np.linalg.solve(r, _h(gq + q @ inside)))
    except np.linalg.LinAlgError:
        raise np.linalg.LinAlgError(
            f"qr: has no derivative here: a matrix of the shape {q.shape[:-1] + r.shape[-1:]} does not have full rank"
        ) from None


@_of_gradients
def _qr_rule(g: Any, y: Any, a: Any) -> Any:
    """Of a wide matrix, [X Y] = Q [U V], the square part X = Q U is decomposed and Y = Q V follows."""
    m, n = a.shape[-2:]
    q, r, gq, gr = _t(y[..., :m]), y[..., m:], _t(g[..., :m]), g[..., m:]
    if m >= n:
        return _tall_qr_rule(gq, gr, q, r)
    rest, g_rest = a[..., m:], gr[..., m:]
    square = _tall_qr_rule(gq + rest @ _h(g_rest), gr[..., :m], q, r[..., :m])
    return np.concatenate([square, q @ g_rest], axis=-1)


_qr = declare(
    "qr", _qr_forward, [_qr_rule], arity=1, complex=True,
    formula="Qᵀ, R with Q R = {0}", derivatives=["(ḡQ + Q S) R⁻ᴴ"],
    samples=lambda rng: [Sample((_square(rng, *s),)) for s in [(3, 3), (2, 2, 2), (1, 1)]]
    + [Sample((_square(rng, 4, 4)[:, :2],)), Sample((_square(rng, 4, 4)[:2],)), Sample((draw(rng, (0, 3, 2)),))],
)  # fmt: skip


class QRResult(NamedTuple):
    """Orthonormal columns and an upper triangle."""

    Q: Tensor
    R: Tensor


@implements(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """The decomposition a = Q R, as `numpy.linalg.qr`.

    Args:
        a: matrices (..., m, n); k is the smaller of m and n. The derivative needs the first k columns independent.
        mode: "reduced" gives Q (..., m, k) and R (..., k, n); "r" gives R alone; "complete" is possible for m ≤ n,
            where it is the same as "reduced".

    Raises:
        ValueError: another mode, or "complete" for m > n, whose further columns are an arbitrary basis.
        LinAlgError: less than two axes; in the derivative, a matrix without full rank.

    >>> q, r = qr([[3.0, 1.0], [4.0, 2.0]])
    >>> abs(r[0, 0])
    Tensor(5.)
    """
    a = as_matrices(a, "qr")
    m, n = a.shape[-2:]
    if mode not in ("reduced", "r", "complete"):
        raise ValueError(f'qr: mode={mode!r} is not supported on Tensors; use "reduced", "r" or "complete"')
    if mode == "complete" and m > n:
        raise ValueError(
            f'qr: mode="complete" for shape {a.shape}: the columns of Q beyond the first {n} are an arbitrary basis '
            f'without a derivative; use mode="reduced"'
        )
    y = _qr(a)
    return y[..., m:] if mode == "r" else QRResult(_t(y[..., :m]), y[..., m:])


# The pseudo-inverse, and what is composed


@_of_gradients
def _pinv_rule(g: Any, y: Any, a: Any, rcond: Any = None, hermitian: bool = False) -> Any:
    """−Pᴴ g Pᴴ + (1 − A P) gᴴ P Pᴴ + Pᴴ P gᴴ (1 − P A), where the rank stays as it is (Golub and Pereyra 1973)."""
    p, q, h = y, _h(y), _h(g)
    left, right = h @ p @ q, q @ p @ h
    return left - a @ (p @ left) + right - (right @ p) @ a - q @ g @ q


_pinv = declare(
    "pinv", np.linalg.pinv, [_pinv_rule],
    complex=True, formula="{0}⁺",
    derivatives=["−{y}ᴴ · {y}ᴴ + (1 − {0} {y}) ·ᴴ {y} {y}ᴴ + {y}ᴴ {y} ·ᴴ (1 − {y} {0})"],
    samples=lambda rng: [Sample((_square(rng, *s),)) for s in [(3, 3), (2, 2, 2)]]
    + [Sample((_square(rng, 4, 4)[:, :2],)), Sample((_square(rng, 4, 4)[:2],)), Sample((draw(rng, (0, 2, 3)),)),
       Sample((draw(rng, (3, 1)), draw(rng, (1, 2))), {"rcond": 1e-5}, wrap=lambda x, y: (x @ y,))],
)  # fmt: skip


@implements(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Tensor:
    """The Moore–Penrose pseudo-inverse of matrices (..., m, n), as `numpy.linalg.pinv`.

    Singular values up to `rcond` (or `rtol`) times the largest count as 0. The derivative is the one at constant rank.
    """
    a = as_matrices(a, "pinv", square=hermitian)
    if hermitian:
        require_symmetric(a, "pinv", ", but hermitian=True")
    if rcond is not None and isinstance(rtol, (int, float, np.ndarray)):
        raise ValueError(f"pinv: give rcond ({rcond!r}) or rtol ({rtol!r}), not both")
    limit = rcond if rcond is not None else rtol if isinstance(rtol, (int, float, np.number, np.ndarray)) else None
    options: dict[str, Any] = {} if limit is None else {"rcond": limit}
    return _pinv(a, **options, **({"hermitian": True} if hermitian else {}))


@implements(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: float | None = None) -> tuple[Tensor, Tensor, int, Tensor]:
    """The least-squares solution of a x = b, as `numpy.linalg.lstsq`.

    Args:
        a: a matrix (m, n).
        b: a vector (m,) or a matrix (m, k).
        rcond: singular values up to this times the largest count as 0; by default the precision times max(m, n).

    Returns:
        The solution (n,) or (n, k) of least norm, the sums of squared residuals (empty where the rank is less than n
        or m ≤ n), the rank, and the singular values.

    Raises:
        LinAlgError: `a` is no matrix, or the numbers of rows differ.
    """
    a, b = as_matrices(as_floating(a, "lstsq"), "lstsq"), as_floating(b, "lstsq")
    m, n = a.shape[-2:]
    if a.ndim != 2 or b.ndim not in (1, 2) or b.shape[0] != m:
        raise np.linalg.LinAlgError(f"lstsq: shapes {a.shape} and {b.shape}; needs a matrix (m, n) and (m,) or (m, k)")
    limit = np.finfo(a.dtype).eps * max(m, n) if rcond is None else rcond
    s = svdvals(a)
    x = pinv(a, rcond=limit) @ b
    rank = (s._ndarray > limit * np.max(s._ndarray, initial=0)).sum()
    unique = m > n and (common(rank == n) or bool(rank == n))
    errors = b - a @ x
    squares = (errors * _conj(errors)).real.sum(axis=0).reshape(-1)
    return x, squares if unique else squares[:0], rank if is_foreign(rank) else int(rank), s


matrix_rank = without_gradient("matrix_rank", np.linalg.matrix_rank, np.linalg.matrix_rank)


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Tensor:
    """x with ``tensordot(a, x, x.ndim) = b``, as `numpy.linalg.tensorsolve`.

    Args:
        a: a Tensor of shape b.shape + x.shape, with as many elements in the one as in the other.
        b: a Tensor.
        axes: of a, moved to the end first.

    Raises:
        LinAlgError: a is not square in this sense, or has no inverse.
    """
    a, b = as_tensor(a, "tensorsolve"), as_tensor(b, "tensorsolve")
    if axes is not None:
        moved = checked_axes("tensorsolve", axes, a.shape)
        a = a.transpose(tuple([i for i in range(a.ndim) if i not in moved] + list(moved)))
    shape = a.shape[b.ndim :]
    n = math.prod(shape)
    if b.ndim > a.ndim or n * n != a.size or n != b.size:
        raise np.linalg.LinAlgError(
            f"tensorsolve: shapes {a.shape} and {b.shape} do not fit: a takes the shape of b and then that of the "
            f"result, with as many elements"
        )
    return solve(a.reshape(n, n), b.reshape(n)).reshape(shape)


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Tensor:
    """The inverse of a as the map ``x ↦ tensordot(a, x, a.ndim - ind)``, as `numpy.linalg.tensorinv`: of shape
    a.shape[ind:] + a.shape[:ind], which have equally many elements.

    >>> tensorinv(np.diag([2.0, 4.0]).reshape(2, 2, 1), ind=1).shape
    (2, 1, 2)
    """
    a, ind = as_tensor(a, "tensorinv"), operator.index(ind)
    if ind <= 0:
        raise ValueError(f"tensorinv: ind is the number of axes of the result's last part, positive, not {ind}")
    n = math.prod(a.shape[ind:])
    if n * n != a.size:
        raise np.linalg.LinAlgError(
            f"tensorinv(shape {a.shape}, ind={ind}): the first {ind} axes and the others take equally many elements"
        )
    return inv(a.reshape(n, n)).reshape(a.shape[ind:] + a.shape[:ind])


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Tensor:
    """Square matrices to an integer power, as `numpy.linalg.matrix_power`; of the inverse where n is negative.

    >>> matrix_power([[1.0, 1.0], [0.0, 1.0]], 5)
    Tensor([[1., 5.],
            [0., 1.]])
    """
    a = as_matrices(a, "matrix_power", square=True)
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"matrix_power: the exponent must be an integer, not {n!r}") from None
    if n == 0:
        return np.where(False, a, _eye_like(a))
    base = inv(a) if n < 0 else a
    n, result = abs(n), cast(Any, None)
    while True:
        if n & 1:
            result = base if result is None else result @ base
        n >>= 1
        if not n:
            return result
        base = base @ base


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any) -> Tensor:
    """The product of several matrices in the order that costs least, as `numpy.linalg.multi_dot`.

    Args:
        arrays: at least two matrices; the first and the last may be vectors (a row and a column).

    Raises:
        ValueError: less than two, a rank other than that, or lengths that do not fit.
    """
    chain = [as_tensor(a, "multi_dot") for a in arrays]
    shapes = [a.shape for a in chain]
    met = f"multi_dot: shapes {', '.join(map(str, shapes))}"
    n = len(chain)
    if n < 2:
        raise ValueError(f"{met}: needs at least two matrices")
    if any(a.ndim != 2 and not (a.ndim == 1 and i in (0, n - 1)) for i, a in enumerate(chain)):
        raise ValueError(f"{met}: each must be a matrix; the first and the last may be a vector")
    lengths = [1 if len(shapes[0]) == 1 else shapes[0][0], *(s[0] for s in shapes[1:])]
    lengths.append(1 if len(shapes[-1]) == 1 else shapes[-1][1])
    for i in range(n - 1):
        if shapes[i][-1] != lengths[i + 1]:
            raise ValueError(f"{met}: matrix {i} has {shapes[i][-1]} columns, matrix {i + 1} has {lengths[i + 1]} rows")
    # cost[i, j]: the least number of multiplications for matrices i … j; split[i, j]: where the last product is.
    cost = {(i, i): 0 for i in range(n)}
    split: dict[tuple[int, int], int] = {}
    for span in range(1, n):
        for i in range(n - span):
            j = i + span
            options = [
                (cost[i, k] + cost[k + 1, j] + lengths[i] * lengths[k + 1] * lengths[j + 1], k) for k in range(i, j)
            ]
            cost[i, j], split[i, j] = min(options)

    return _chained(chain, split, 0, n - 1)


def _chained(chain: list[Any], split: dict[tuple[int, int], int], i: int, j: int) -> Any:
    if i == j:
        return chain[i]
    k = split[i, j]
    return matmul(_chained(chain, split, i, k), _chained(chain, split, k + 1, j))


@implements(np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Tensor:
    """The last two axes exchanged."""
    return _t(as_matrices(x, "matrix_transpose"))


@implements(np.linalg.trace)
def trace(x: Any, /, *, offset: int = 0) -> Tensor:
    """The sum of a diagonal of matrices (..., m, n), as `numpy.linalg.trace`."""
    return diagonal(x, offset=offset).sum(-1)


@implements(np.linalg.diagonal)
def diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    """A diagonal of matrices (..., m, n), as `numpy.linalg.diagonal`."""
    return as_matrices(x, "diagonal").diagonal(offset, -2, -1)


@implements(np.linalg.outer)
def outer(x1: Any, x2: Any, /) -> Tensor:
    """All products of an element of one vector and one of another, as `numpy.linalg.outer`."""
    a, b = as_tensor(x1, "outer"), as_tensor(x2, "outer")
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"outer: needs two vectors, not shapes {a.shape} and {b.shape} (np.outer flattens them)")
    return products.outer(a, b)


@implements(np.linalg.cross)
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The cross product of vectors of 3 components along an axis, as `numpy.linalg.cross`."""
    a, b = as_tensor(x1, "cross"), as_tensor(x2, "cross")
    if 3 != a.shape[checked_axes("cross", axis, a.shape)[0]] or 3 != b.shape[checked_axes("cross", axis, b.shape)[0]]:
        raise ValueError(f"cross: shapes {a.shape} and {b.shape}; vectors along axis {axis} need 3 components")
    return products.cross(a, b, axis=axis)


implements(np.linalg.matmul)(matmul)
implements(np.linalg.tensordot)(tensordot)
implements(np.linalg.vecdot)(vecdot)
