"""Matrices of Kronecker-factored blocks: products with vectors, and every function of their eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..tensor import Array, Tensor
from .operators import ParameterOperator


@dataclass(frozen=True)
class Block:
    """Blocks B ⊗ A on the diagonal of a matrix over the vector of all parameters: V ↦ B V A of a weight V.

    Attributes:
        places: of the entries of V in the vector, shape (groups, out, in).
        left: B, shape (groups, out, out).
        right: A, shape (groups, in, in).
        values: eigenvalues in the place of the products of those of B and A, shape (groups, out, in), or None.
    """

    places: Array
    left: Array
    right: Array
    values: Array | None = None

    @cached_property
    def eigen(self) -> tuple[Array, Array, Array, Array]:
        """Eigenvalues and eigenvectors of B, and of A; negative ones are rounding, and 0."""
        if not (np.isfinite(self.left).all() and np.isfinite(self.right).all()):
            raise np.linalg.LinAlgError(
                "KFAC: a factor is not finite, so it has no eigenvalues; are the output and its derivatives finite at "
                "these parameters?"
            )
        (b, U), (a, V) = np.linalg.eigh(self.left), np.linalg.eigh(self.right)
        return b.clip(min=0), U, a.clip(min=0), V

    @property
    def spectrum(self) -> Array:
        """All eigenvalues, shape (groups, out, in)."""
        b, _, a, _ = self.eigen
        return b[:, :, None] * a[:, None] if self.values is None else self.values

    def mapped(self, values: Array) -> Block:
        """The same eigenvectors with other eigenvalues."""
        block = replace(self, values=values)
        block.__dict__["eigen"] = self.eigen
        return block

    def product(self, v: Array) -> Array:
        """The products with weights, shape (..., groups, out, in)."""
        if self.values is None:
            return self.left @ v @ self.right
        _, U, _, V = self.eigen
        y: Array = U @ ((U.swapaxes(1, 2) @ v @ V) * self.values) @ V.swapaxes(1, 2)
        return y

    def diagonal(self) -> Array:
        """The diagonal, shape (groups, out, in)."""
        if self.values is None:
            return np.einsum("goo,gii->goi", self.left, self.right)
        _, U, _, V = self.eigen
        found: Array = U**2 @ self.values @ (V**2).swapaxes(1, 2)
        return found


class Kronecker(ParameterOperator):
    """A symmetric operator over the parameters whose matrix has Kronecker products as blocks on its diagonal.

    Attributes:
        blocks: each a `Block`; together they hold every entry once.
    """

    blocks: Sequence[Block]
    _damping: float = 0.0

    def __init__(self, params: Tensor | Iterable[Tensor], blocks: Sequence[Block]) -> None:
        super().__init__(params)
        self.blocks = blocks

    def _matmat(self, X: Array) -> Array:
        Y = np.empty_like(X)
        for block in self.blocks:
            y = block.product(np.moveaxis(X[block.places], -1, 0))
            Y[block.places] = np.moveaxis(y, 0, -1)
        return Y + self.dtype.type(self._damping) * X if self._damping else Y

    def _matvec(self, x: Array) -> Array:
        return self._matmat(x[:, None])[:, 0]

    _rmatvec, _rmatmat = _matvec, _matmat

    def _adjoint(self) -> Kronecker:
        return self

    _transpose = _adjoint

    def block(self, params: Tensor | Iterable[Tensor]) -> Kronecker:
        """The diagonal block of some of the parameters: those of a layer, as ``K.block(layer.parameters())``.

        Raises:
            ValueError: for other parameters, and for such as share a block with one that is not among them, as a weight
                and its bias do.
        """
        slices = dict(zip(map(id, self.params), self.slices))
        part = Kronecker([params] if isinstance(params, Tensor) else params, ())
        part._damping = self._damping
        where = np.full(self.size, -1)
        for i, (p, s) in enumerate(zip(part.params, part.slices)):
            if id(p) not in slices:
                raise ValueError(f"{self.name}.block: params[{i}] (shape {p.shape}) is none of the operator's")
            where[slices[id(p)]] = np.arange(s.start, s.stop)
        found = []
        for block in self.blocks:
            places = where[block.places]
            if (places >= 0).all():
                found.append(replace(block, places=places))
            elif (places >= 0).any():
                raise ValueError(f"{self.name}.block: the parameters cut a layer in two; take all that belong to it")
        part.blocks = found
        return part

    def mapped(self, function: Callable[[Array], Array]) -> Kronecker:
        """The operator with the same eigenvectors, and a function of each eigenvalue (damping included).

        Raises:
            numpy.linalg.LinAlgError: the operator is not finite.
        """
        shift = self.dtype.type(self._damping)
        return Kronecker(self.params, [block.mapped(function(block.spectrum + shift)) for block in self.blocks])

    def inverse(self, damping: float | None = None, heuristic: bool = False) -> Kronecker:
        """The inverse (K + λI)⁻¹, or with `heuristic` that of the factors damped each by itself,

            (B + √λ/π I)⁻¹ ⊗ (A + π √λ I)⁻¹,   π² = (tr A / in) / (tr B / out)

        which is no less damped, as λ I is only a part of what the product adds. (A block without an A is damped as it
        is.)

        Args:
            damping: λ; by default the operator's own.

        Raises:
            numpy.linalg.LinAlgError: without damping, a matrix that is singular within rounding.
            TypeError, ValueError: a damping that is no finite number of at least 0.

        Source: Martens & Grosse 2015, sections 6.1 and 6.3.
        """
        shift = self._damping if damping is None else damping
        if not isinstance(shift, (int, float, np.integer, np.floating)) or not 0 <= shift < math.inf:
            raise ValueError(f"{self.name}.inverse: damping must be a finite number of at least 0, not {shift!r}")
        found = []
        for block in self.blocks:
            values = block.spectrum
            if not shift and values.size and not values.min() > self.size * np.finfo(self.dtype).eps * values.max():
                raise np.linalg.LinAlgError(
                    f"{self.name}.inverse: singular (the eigenvalues of a block run from {values.min():.6g} to "
                    f"{values.max():.6g}), so it has no inverse; pass damping="
                )
            if heuristic and block.values is None and not _one(block.right):
                values = _factored(block, math.sqrt(shift))
            else:
                values = values + self.dtype.type(shift)
            found.append(block.mapped(1 / values))
        return Kronecker(self.params, found)

    def square_root(self) -> Kronecker:
        """The symmetric S with S S = K + λI, such as draws of normal vectors with this covariance want.

        Raises:
            numpy.linalg.LinAlgError: an eigenvalue is negative, by a negative damping.
        """
        self._require_none_below_zero("square_root")
        return self.mapped(np.sqrt)

    def eigenvalues(self) -> Array:
        """All of them, damping included, in rising order."""
        return np.sort(self._all()) + self.dtype.type(self._damping)

    def logdet(self) -> float:
        """The logarithm of the determinant, damping included; −∞ of a matrix that is singular within rounding.

        Raises:
            numpy.linalg.LinAlgError: an eigenvalue is negative, by a negative damping.
        """
        values = self._require_none_below_zero("logdet")
        if not self._damping and values[0] <= self.size * np.finfo(self.dtype).eps * values[-1]:
            return -math.inf
        return float(np.log(values).sum(dtype=float))

    def trace(self) -> float:
        """The sum of the diagonal, damping included."""
        return float(self.diagonal().sum(dtype=float))

    def frobenius_norm(self) -> float:
        """The root of the sum of all entries' squares, damping included."""
        return float(np.linalg.norm(self.eigenvalues().astype(float)))

    def diagonal(self) -> Array:
        """The diagonal, damping included, shape (number of parameters,)."""
        found = np.empty(self.size, self.dtype)
        for block in self.blocks:
            found[block.places] = block.diagonal()
        return found + self.dtype.type(self._damping)

    def _require_none_below_zero(self, method: str) -> Array:
        """The eigenvalues."""
        values = self.eigenvalues()
        if values.min(initial=0) < 0:
            raise np.linalg.LinAlgError(
                f"{self.name}.{method}: with damping {self._damping:.6g} the least eigenvalue is {values[0]:.6g}, and "
                f"it must not be negative"
            )
        return values

    def _all(self) -> Array:
        return np.concatenate([block.spectrum.reshape(-1) for block in self.blocks])


def _one(factor: Array) -> bool:
    return bool(factor.shape[-1] == 1 and (factor == 1).all())


def _factored(block: Block, root: float) -> Array:
    """The eigenvalues of the factors, each damped, and multiplied."""
    b, _, a, _ = block.eigen
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(a.mean(axis=1) / b.mean(axis=1))
    ratio = np.where((ratio > 0) & np.isfinite(ratio), ratio, 1).astype(a.dtype)[:, None]
    found: Array = (b + root / ratio)[:, :, None] * (a + root * ratio)[:, None]
    return found
