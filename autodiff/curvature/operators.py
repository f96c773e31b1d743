"""Hessian, Jacobian and Gauss–Newton matrix as operators that SciPy accepts: products with vectors, never the matrix.

Order: what all share (parameters as one vector, the point at which an operator stands), the Jacobian, sums over
batches, the Hessian, the Gauss–Newton matrix.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, Self, cast

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ..averaging import count_of, counted
from ..backward import gradients, reachable
from ..mode import is_grad_enabled, mode
from ..ranks import described, fingerprint, require_communicator, require_same, sum_over_ranks
from ..tensor import Array, Tensor, as_array, is_foreign, number_of, plain, variable
from ..transforms import flat, tree
from ..transforms.forward import ForwardOverReverse, Unsupported
from .per_example import sums_of_squares
from .recorded import (
    Many,
    Parts,
    Pullback,
    Pushforward,
    Together,
    checked_parameters,
    evaluated,
    in_memory,
    recorded_or_function,
    scalar,
)

# Parameters as one vector


class ParameterOperator(LinearOperator):  # type: ignore[misc]  # SciPy has no types
    """What all operators share: vectors over the flattened parameters, and the point at which the operator stands.

    An operator is one fixed matrix, that of the parameters' values when it was made. If a parameter is changed
    afterwards, products raise RuntimeError; `refresh` moves the operator to the new values.
    """

    def __init__(self, params: Tensor | Iterable[Tensor]) -> None:
        self.name = type(self).__name__
        self._over([params] if isinstance(params, Tensor) else params)
        self._take_point()
        super().__init__(self._dtype_of_matrix(), self._shape_of_matrix())

    def _over(self, params: Iterable[Tensor]) -> None:
        self.params = checked_parameters(self.name, params)
        self.size = sum(p.size for p in self.params)
        """How many entries all parameters have together."""
        ends = np.cumsum([p.size for p in self.params]).tolist()
        self.slices = [slice(end - p.size, end) for p, end in zip(self.params, ends)]
        self._together = Together()

    def _dtype_of_matrix(self) -> Any:
        return np.result_type(np.float32, *(p.dtype for p in self.params))

    def _shape_of_matrix(self) -> tuple[int, int]:
        return self.size, self.size

    # The point

    def _take_point(self) -> None:
        self._point = [number_of(p) for p in self.params]

    def _require_point(self) -> None:
        """Never a mixture of two points."""
        for i, (p, number) in enumerate(zip(self.params, self._point)):
            if number_of(p) != number:
                raise RuntimeError(
                    f"{self.name}: params[{i}] (shape {p.shape}) was changed after this operator was made; "
                    f"make a new one at the new values, or move this one there with .refresh()"
                )

    # Vectors

    def split(self, vector: Any) -> list[Array]:
        """Views of a vector over the parameters (`size` entries) in the parameters' shapes."""
        return flat.split(in_memory(self._constant("split", vector)), self.params)

    def flatten(self, values: Sequence[Any]) -> Array:
        """One vector of arrays or Tensors in the parameters' shapes (None stands for zeros).

        Raises:
            ValueError: for another number of arrays, or another shape.
        """
        values = list(values)
        if len(values) != len(self.params):
            raise ValueError(f"{self.name}.flatten: {len(values)} arrays for {len(self.params)} parameters")
        for i, (v, p) in enumerate(zip(values, self.params)):
            if v is not None and np.shape(plain(v)) != p.shape:
                raise ValueError(f"{self.name}.flatten: array {i} has shape {np.shape(plain(v))}, not {p.shape}")
        return flat.flatten(values, self.params).astype(self.dtype, copy=False)

    def matvec(self, x: Any) -> Array:
        """The product with one vector.

        Raises:
            ValueError: if the vector has another length.
            TypeError: if it is not real.
            RuntimeError: if a parameter was changed after the operator was made.
        """
        x = self._fitting("matvec", x, self.shape[1], 1)
        y: Array = self._matvec(x.reshape(-1))
        return y if x.ndim == 1 else y.reshape(-1, 1)

    def rmatvec(self, x: Any) -> Array:
        """The product of the transposed operator with one vector."""
        x = self._fitting("rmatvec", x, self.shape[0], 1)
        y: Array = self._rmatvec(x.reshape(-1))
        return y if x.ndim == 1 else y.reshape(-1, 1)

    def matmat(self, X: Any) -> Array:
        """The products with the columns of a matrix; every graph is recorded once for all of them."""
        return self._matmat(self._fitting("matmat", X, self.shape[1], 2))

    def rmatmat(self, X: Any) -> Array:
        """The products of the transposed operator with the columns of a matrix."""
        return self._rmatmat(self._fitting("rmatmat", X, self.shape[0], 2))

    def dot(self, x: Any) -> Any:
        """The product with a vector or with the columns of a matrix, as SciPy has it, which makes NumPy's arrays of
        all others."""
        if isinstance(x, Tensor) and not x._requires_grad:
            x = x._ndarray
        if type(x) is np.ndarray or is_foreign(x):
            return self.matmat(x) if x.ndim == 2 and x.shape[1] != 1 else self.matvec(x)
        return super().dot(x)

    def _constant(self, method: str, x: Any) -> Any:
        """A vector that no derivative is taken by; raises for a tensor that requires a gradient."""
        if isinstance(x, Tensor) and x._requires_grad and is_grad_enabled():
            raise TypeError(
                f"{self.name}.{method}: the vector (shape {x.shape}) requires a gradient, which would be lost; write "
                f"t.detach(), or ad.hvp(f, w, t), which has derivatives by t"
            )
        return x

    def _fitting(self, method: str, x: Any, length: int, ndim: int) -> Array:
        x = in_memory(self._constant(method, x))
        column = ndim == 1 and x.shape == (length, 1)
        if (x.ndim != ndim or x.shape[0] != length) and not column:
            wanted = f"({length},)" if ndim == 1 else f"({length}, any)"
            raise ValueError(
                f"{self.name}.{method}: needs shape {wanted} for an operator of shape {self.shape}, not {x.shape}"
            )
        if x.dtype.kind not in "fiub":
            raise TypeError(f"{self.name}.{method}: needs real numbers, not {x.dtype}")
        return x.astype(self.dtype, copy=False)

    def to_dense(self) -> Array:
        """The matrix itself, where it is small: one product for each column (or row, where these are fewer)."""
        m, n = self.shape
        return self.matmat(np.eye(n, dtype=self.dtype)) if n <= m else self.rmatmat(np.eye(m, dtype=self.dtype)).T

    def _tangents(self, rows: Array) -> Many:
        return [rows[:, s].reshape(-1, *p.shape).astype(p.dtype, copy=False) for s, p in zip(self.slices, self.params)]

    def _joined(self, parts: Parts, piece: slice = slice(0, 1), weight: float = 1.0) -> Array:
        """The parts by parameter of these vectors, as rows over all parameters; a copy."""
        rows, count = [], piece.stop - piece.start
        for p, part in zip(self.params, parts):
            row = np.zeros((count, p.size), p.dtype) if part is None else in_memory(part).reshape(count, -1)
            rows.append(row if weight == 1 else row * row.dtype.type(weight))
        return np.concatenate(rows, axis=1).astype(self.dtype, copy=False)

    # Programs

    def _require_untraced(self) -> None:
        watch = mode.get()
        if not isinstance(watch, bool) and hasattr(watch, "relying"):
            watch.trace.refuse(
                f"the function moves a {self.name} by refresh(), which a program would do at no later call",
                "refresh it outside, or make it inside the function",
            )

    def _recording(self) -> tuple[Sequence[Tensor], Any]:
        """What the products' graphs were recorded up to, and what else decides about products, to be compared."""
        raise NotImplementedError

    def _computed(self, product: Callable[[Array], Array], V: Array) -> Array:
        """A product with rows. In a program that is traced, what was recorded before is constants, as long as it is
        what products are computed from."""
        watch = mode.get()
        if isinstance(watch, bool) or not hasattr(watch, "relying"):
            return product(V)
        roots, _ = self._recording()
        if not roots:
            watch.trace.refuse(
                f"a {self.name} with batches= or comm= records anew in every product",
                "compile products with an operator of one batch",
            )
        if all(y._number > watch.start for y in roots):
            return product(V)
        alone = self._together.alone
        with watch.relying():
            nodes, _ = reachable([y for y in roots if y._requires_grad])
            found = [*self.params, *(x for y in nodes.values() for x in (y, *y._inputs) if isinstance(x, Tensor))]
            seen = {id(x): x for x in found}.values()
            looked_at = [x for x in seen if any(hook is not None for hook in (x._hooks or {}).values())]
            if not {id(x) for x in looked_at} <= {id(x) for x in watch.closure.tensors.values()}:
                watch.trace.refuse(
                    f"a {self.name} was recorded from results with hooks, which a program would not ask at later calls",
                    "record it without them",
                )

            def state() -> Any:
                return self._recording()[1], [number_of(x) for x in seen], [[*x._hooks] for x in seen if x._hooks]

            before = state()
            watch.closure.rely(self, f"what a {self.name} was recorded from", lambda: state() == before)
            try:
                return product(V)
            finally:
                self._together.alone = alone  # a tracer may fail where an array does not


def _rows(X: Array) -> Array:
    """The columns as rows, contiguous; copied in pieces that stay in the cache, in a half to a quarter of the time."""
    if X.flags.f_contiguous or is_foreign(X):
        return X.T
    rows = np.empty(X.shape[::-1], X.dtype)
    for start in range(0, len(X), 4096):
        rows[:, start : start + 4096] = X[start : start + 4096].T
    return rows


def _stacked(blocks: Iterable[tuple[slice, Array]], V: Array, width: int, dtype: Any) -> Array:
    """Blocks of rows, as many as V has, in one array; only one of them is there at a time beside it."""
    if is_foreign(V):
        return np.concatenate([rows for _, rows in blocks]).astype(dtype, copy=False)
    found = None
    for piece, rows in blocks:
        if len(rows) == len(V):
            return rows.astype(dtype, copy=False)
        if found is None:
            found = np.empty((len(V), width), dtype)
        found[piece] = rows
    return np.empty((0, width), dtype) if found is None else found


# The Jacobian


class Jacobian(ParameterOperator):
    """The derivative of all outputs by all parameters, shape (output.size, number of parameters).

    J v is `matvec` (the change of the flattened output along v), Jᵀ u is `rmatvec`; both walk graphs that are recorded
    once, J v at about the cost of a forward pass.

    Args:
        output: a recorded Tensor of any shape, or a function of no arguments that returns one.
        params: a parameter or several.

    Raises:
        TypeError, ValueError, RuntimeError: output or params are not what they should be.

    >>> import autodiff as ad
    >>> w = ad.Tensor([1.0, 2.0], requires_grad=True)
    >>> J = Jacobian(w**2, w)
    >>> J.to_dense()
    array([[2., 0.],
           [0., 4.]])
    >>> J.rmatvec([1.0, 1.0])
    array([2., 4.])
    """

    def __init__(self, output: Tensor | Callable[[], Any], params: Tensor | Iterable[Tensor]) -> None:
        self._source = recorded_or_function("Jacobian", "output", output)
        self._output = evaluated("Jacobian", "output", output, ())
        super().__init__(params)
        self._connect()

    def _shape_of_matrix(self) -> tuple[int, int]:
        return self._output.size, self.size

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output before it is flattened."""
        return self._output.shape

    def _connect(self) -> None:
        self._push, self._pull = Pushforward(self._output, self.params), Pullback([self._output], self.params)
        self._require_point()

    def refresh(self) -> None:
        """Record the output anew at the parameters' present values."""
        if isinstance(self._source, Tensor):
            raise RuntimeError("Jacobian.refresh: was made of a recorded Tensor; pass a function to record anew")
        self._require_untraced()
        self._take_point()
        output = evaluated("Jacobian", "output", self._source, ())
        if output.size != self.shape[0]:
            raise ValueError(f"Jacobian.refresh: output has shape {output.shape}, it had {self._output.shape}")
        self._output = output
        self._connect()

    def _recording(self) -> tuple[Sequence[Tensor], Any]:
        return [self._output], self._pull

    def _matmat(self, X: Array) -> Array:
        return self._computed(self._pushed, _rows(X)).T

    def _rmatmat(self, X: Array) -> Array:
        return self._computed(self._pulled, _rows(X)).T

    def _pushed(self, V: Array) -> Array:
        self._require_point()
        found = self._together([self._output], lambda v: [self._push(v)], self._tangents(V), self.params)
        blocks = ((piece, cast(Array, y).reshape(-1, self.shape[0]).copy()) for piece, (y,) in found)
        return _stacked(blocks, V, self.shape[0], self.dtype)

    def _pulled(self, U: Array) -> Array:
        self._require_point()
        cotangents = U.reshape(-1, *self._output.shape).astype(self._output.dtype, copy=False)
        found = self._together([self._output], self._pull, [cotangents])
        return _stacked(((piece, self._joined(parts, piece)) for piece, parts in found), U, self.size, self.dtype)

    def _matvec(self, x: Array) -> Array:
        return self._matmat(x.reshape(-1, 1))[:, 0]

    def _rmatvec(self, x: Array) -> Array:
        return self._rmatmat(x.reshape(-1, 1))[:, 0]


# Sums over batches


class Recorded(Protocol):
    """One recorded graph of a curvature operator: what it was recorded up to, what its mean divides by, the loss, its
    gradient, and products of the curvature with vectors, these in the parameters' shapes."""

    roots: Sequence[Tensor]
    count: float
    gradient: Parts

    @property
    def value(self) -> float:
        """Of the loss."""

    @property
    def product(self) -> Callable[[Parts], Parts]:
        """The curvature times a vector."""

    def restricted(self, params: list[Tensor]) -> Recorded:
        """The same for some of the parameters."""

    def diagonal(self) -> Parts | None:
        """The curvature's diagonal, where there is a way to it that is shorter than a product for each entry."""


class CurvatureOperator(ParameterOperator):
    """What the symmetric operators share: damping, and the sum or mean over batches.

    A subclass records one graph in `_recorded(batch, position, count)`, that of the batch that comes at this position
    and counts so much in the mean.
    """

    settings: tuple[str, ...] = ("reduction", "damping")
    """Attributes in which the ranks have to agree."""

    def __init__(
        self,
        functions: dict[str, Tensor | Callable[..., Any]],
        params: Tensor | Iterable[Tensor],
        batches: Iterable[Any] | None,
        reduction: str,
        damping: float,
        count: Callable[..., Any] | None = None,
        comm: Any = None,
    ) -> None:
        name = type(self).__name__
        require_communicator(comm, name)
        self.comm = comm
        if count is not None and not callable(count):
            raise TypeError(f"{name}: count must be a function of a batch, not {type(count).__name__}")
        self._count = count
        for what, given in functions.items():
            recorded_or_function(name, what, given)
            if batches is not None and isinstance(given, Tensor):
                raise TypeError(f"{name}: with batches= the {what} must be a function of a batch, not a Tensor")
        if reduction not in ("mean", "sum"):
            raise ValueError(f"{name}: reduction must be 'mean' or 'sum', not {reduction!r}")
        if batches is not None and not isinstance(batches, Iterable):
            raise TypeError(f"{name}: batches must be an iterable of batches, not {type(batches).__name__}")
        # What can be run through only once (a generator, zip) would leave nothing for the second product: keep it all.
        self.batches = list(batches) if isinstance(batches, Iterator) else batches
        self.reduction = reduction
        self.damping = damping
        self._frozen = any(isinstance(given, Tensor) for given in functions.values())
        super().__init__(params)
        self._at: Recorded | None = None
        self._summary: tuple[float, Array] | None = None
        self._connect()

    @property
    def damping(self) -> float:
        """The multiple of the identity that is added; may be set."""
        return self._damping

    @damping.setter
    def damping(self, value: float) -> None:
        if not isinstance(value, (int, float, np.integer, np.floating)) or not np.isfinite(value):
            raise ValueError(f"{type(self).__name__}: damping must be a finite number, not {value!r}")
        self._damping = float(value)

    def _take_point(self) -> None:
        super()._take_point()
        if self.comm is not None:
            own = {"the operator": self.name, "whether there are batches": self.batches is not None}
            own |= {name: getattr(self, name) for name in self.settings}
            require_same(own | described(self.params), self.comm, self.name)

    def _connect(self) -> None:
        if self.batches is None:
            self._at = self._recorded((), 0, 1.0)
            self._require_point()
            if self.reduction == "mean" and not self._at.count and self.comm is None:
                raise ValueError(f"{self.name}: the output holds no sample that counts, and their mean is not defined")

    def refresh(self) -> None:
        """Move to the parameters' present values, recording anew.

        Raises:
            RuntimeError: if the operator was made of a recorded Tensor.
        """
        if self._frozen:
            raise RuntimeError(f"{self.name}.refresh: was made of a recorded Tensor; pass a function to record anew")
        self._require_untraced()
        self._take_point()
        self._summary = None
        self._connect()

    def _recorded(self, batch: tuple[Any, ...], position: int, count: float) -> Recorded:
        raise NotImplementedError

    def _counted(self, batch: tuple[Any, ...]) -> float:
        """What the mean of a batch divides by: as the loss says, else its samples."""
        number = counted(self._count, *batch)
        return self._samples(batch) if number is None else number

    def _samples(self, batch: tuple[Any, ...]) -> float:
        """How many samples a batch has: the first length of its first array."""
        leaves, _ = tree.flatten(batch)
        shape = getattr(leaves[0], "shape", ()) if leaves else ()
        if not shape:
            raise TypeError(
                f"{self.name}: a batch must begin with an array of samples, whose first length is its weight in the "
                f"mean (or pass reduction='sum')"
            )
        return float(shape[0])

    def _recordings(self) -> Iterator[tuple[float, Recorded]]:
        """Each recorded graph with its weight; who drops one before asking for the next has one alive at a time."""
        self._require_point()
        if self._at is not None:
            yield (1.0 if self.comm is None or self.reduction == "sum" else self._at.count), self._at
            return
        empty = True
        assert self.batches is not None
        for position, batch in enumerate(self.batches):
            given = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
            count = self._counted(given) if self.reduction == "mean" else 1.0
            if count == 0:
                continue
            at = self._recorded(given, position, count)
            empty = empty and not at.count
            yield (at.count if self.reduction == "mean" else 1.0), at
            del at
            self._require_point()
        if empty and self.comm is None:
            raise ValueError(f"{self.name}: batches holds no samples that count")

    def _collected(self, array: Array, total: float) -> tuple[Array, float]:
        """A sum over the batches, and of their weights, with those of the other ranks."""
        if self.comm is not None:
            array, total = sum_over_ranks(array, self.comm), float(sum_over_ranks(total, self.comm))
            self._require_some(total)
        return array, total

    def _require_some(self, total: float) -> None:
        if not total:
            raise ValueError(f"{self.name}: there are no samples that count, on any rank")

    @property
    def value(self) -> float:
        """The loss at this point (with batches= one pass over them, once)."""
        return self._totals()[0]

    @property
    def gradient(self) -> Array:
        """The gradient of the loss at this point, flattened; a copy."""
        return self._totals()[1].copy()

    def _totals(self) -> tuple[float, Array]:
        if self._summary is None:
            value, gradient, total = 0.0, np.zeros(self.size, self.dtype), 0.0
            for weight, at in self._recordings():
                total += weight
                value += weight * at.value
                gradient += self._joined(at.gradient, weight=weight)[0]
                del at
            gradient, total = self._collected(gradient, total)
            value = value if self.comm is None else float(sum_over_ranks(value, self.comm))
            divisor = total if self.reduction == "mean" else 1.0
            self._summary = value / divisor, gradient / self.dtype.type(divisor)
        return self._summary

    def _recording(self) -> tuple[Sequence[Tensor], Any]:
        at = self._at if self.comm is None else None
        return ([] if at is None else at.roots), (at, self._damping)

    def _products(self, V: Array) -> Array:
        """The products with the rows of V, as rows."""
        Y, total = None, 0.0
        if self.comm is not None:
            values = {"the checksum of the vectors": fingerprint(V), "damping": self._damping}
            require_same(values, self.comm, self.name, "draw random ones from the same seed on all")
        for weight, at in self._recordings():
            found = self._together(at.roots, at.product, self._tangents(V), self.params)
            blocks = ((piece, self._joined(parts, piece, weight)) for piece, parts in found)
            one = _stacked(blocks, V, self.size, self.dtype)
            Y = one if Y is None else np.add(Y, one, out=Y)
            total += weight
            del at, found, blocks  # or the next graph would be recorded while this one is alive
        Y, total = self._collected(np.zeros(V.shape, self.dtype) if Y is None else Y, total)
        if self.reduction == "mean" and total != 1:
            Y /= self.dtype.type(total)
        if self._damping:
            Y += self.dtype.type(self._damping) * V
        return Y

    def diagonal(self) -> Array:
        """The exact diagonal of the matrix, shape (size,).

        Of `GaussNewton`, where the loss takes each row of the output for itself, and of `Fisher` it is the sum of the
        squares of the examples' gradients along the factors of the loss's curvature by the output: a pass for each
        output of an example (of the mc and empirical Fisher for each draw). Else it takes a product for each parameter;
        `diagonal` and `xdiag` of this package estimate it from fewer.

        Raises:
            RuntimeError: a parameter was changed after the operator was made.
        """
        found, total, short = np.zeros(self.size, self.dtype), 0.0, True
        for weight, at in self._recordings():
            total += weight
            parts = at.diagonal()
            del at
            if parts is None:
                short = False
                break
            found += self._joined(parts, weight=weight)[0]
        if not (short if self.comm is None else all(self.comm.allgather(short))):  # a rank may have no batch
            return exact_diagonal(self).astype(self.dtype, copy=False)
        found, total = self._collected(found, total)
        if self.reduction == "mean" and total != 1:
            found /= self.dtype.type(total)
        return found + self.dtype.type(self._damping)

    def block(self, params: Tensor | Iterable[Tensor]) -> Self:
        """The diagonal block of some of the parameters, an operator as this one: those of the layers of a model are
        ``[op.block(layer.parameters()) for layer in model]``. It shares what was recorded.

        Args:
            params: of the operator's parameters one or several; their order is that of the block.

        Raises:
            ValueError: for others.
        """
        part = copy.copy(self)
        part._over([params] if isinstance(params, Tensor) else params)
        points = dict(zip(map(id, self.params), self._point))
        for i, p in enumerate(part.params):
            if id(p) not in points:
                raise ValueError(f"{self.name}.block: params[{i}] (shape {p.shape}) is none of the operator's")
        part._point = [points[id(p)] for p in part.params]
        part._summary = None
        if self._at is not None:
            self._require_point()
            part._at = self._at.restricted(part.params)
        LinearOperator.__init__(part, part._dtype_of_matrix(), part._shape_of_matrix())
        return part

    def _matvec(self, x: Array) -> Array:
        return self._computed(self._products, x.reshape(1, -1))[0]

    def _matmat(self, X: Array) -> Array:
        return self._computed(self._products, _rows(X)).T

    _rmatvec, _rmatmat = _matvec, _matmat

    def _adjoint(self) -> CurvatureOperator:
        return self

    _transpose = _adjoint


def columns(operator: LinearOperator) -> Iterator[tuple[Array, Array]]:
    """The matrix of a square operator, at most 128 MB at a time: the places of some columns, and these."""
    n = operator.shape[0]
    step = max(1, 2**24 // max(n, 1))
    for start in range(0, n, step):
        unit = np.eye(n, min(step, n - start), -start, dtype=operator.dtype)
        yield np.arange(start, start + unit.shape[1]), operator.matmat(unit)


def exact_diagonal(operator: LinearOperator) -> Array:
    """The diagonal of a square operator, in double precision, by a product for each entry."""
    return np.concatenate([Y[at, np.arange(len(at))] for at, Y in columns(operator)]).astype(float)


# The Hessian


class Hessian(CurvatureOperator):
    """The second derivatives of a loss by the parameters, as an operator: H v = ∇(∇f · v), v held fixed.

    Without `batches` the loss and its gradient are recorded once, and a product is one reverse pass through that graph.
    With `batches` each product records one batch after the other and frees it, so that a data set never has to fit in
    one graph; the batches have to be the same each time for the operator to be one matrix. Without them,
    ``compile(H.matvec)`` is a program of the product, with what was recorded as its constants, as long as that stands.

    Args:
        loss: a recorded Tensor of one element, or a function of no arguments (with `batches`: of a batch's parts,
            ``loss(*batch)``; with `at`: of that) that returns one.
        params: a parameter or several; all others are constants.
        at: in the place of params, the point at which a plain function is taken: a tuple of arrays, which are its
            arguments, or an array (or a list or dict of them), its one argument. ``H(x)`` is then the Hessian at
            another point x, also given as a flat vector, as SciPy's minimisers want it: ``minimize(…, hess=H)`` for
            "Newton-CG" and "trust-constr", ``hessp=lambda x, p: H(x) @ p`` for "trust-ncg" and "trust-krylov".
        batches: an iterable of batches, each a tuple or list of arguments (or one argument). What can be iterated only
            once, a generator or a zip, is kept as a list.
        reduction: "mean" if the loss is a mean over samples: batches are then weighted by their lengths (of the first
            array), or by `count`; "sum" adds them up.
        damping: a multiple of the identity that is added.
        count: what the mean of a batch divides by, where that is not its length, because the loss ignores some targets
            or weights them: a function ``count(*batch)``, such as ``lambda x, t: criterion.count(t)``. By default the
            loss's own method `count`, if it has one.
        comm: a communicator of mpi4py: sums and means are over the batches of all ranks, each of which has its own (in
            any number), and products, value, gradient and diagonal are the same on all. Without `batches`, each rank's
            loss counts alike. Vectors and parameters have to be the same on all ranks, which is checked
            (`autodiff.ranks.Disagreement`), so that random ones need the same seed.

    A parameter that does not influence the loss, or only linearly, has exact zeros as its rows and columns. NaN and
    infinity in the derivatives pass through to the products.

    Raises:
        TypeError, ValueError: loss, params or batches are not what they should be.
        RuntimeError: the Tensor was not recorded; or, by a product, a parameter was changed in the meantime.

    Source: Pearlmutter, "Fast exact multiplication by the Hessian", 1994.

    >>> import autodiff as ad
    >>> w = ad.Tensor([1.0, 3.0], requires_grad=True)
    >>> H = Hessian(w[0] ** 2 * w[1], w)
    >>> H @ [1.0, 0.0]
    array([6., 2.])
    >>> H.to_dense()
    array([[6., 2.],
           [2., 0.]])
    >>> from scipy.sparse.linalg import eigsh
    >>> eigsh(Hessian(lambda x: (x**4).sum(), at=np.arange(4.0)), 1)[0].round(9)
    array([108.])
    """

    def __init__(
        self,
        loss: Tensor | Callable[..., Any],
        params: Tensor | Iterable[Tensor] | None = None,
        *,
        at: Any = None,
        batches: Iterable[Any] | None = None,
        reduction: str = "mean",
        damping: float = 0.0,
        count: Callable[..., Any] | None = None,
        comm: Any = None,
    ) -> None:
        self._function, self._where = loss, at
        if (at is None) == (params is None):
            raise TypeError("Hessian: needs params, the Tensors of a loss, or at=, the point of a plain function")
        if at is not None:
            if isinstance(loss, Tensor) or batches is not None:
                raise TypeError("Hessian: at= goes with a function of the point, neither a Tensor nor batches=")
            loss, params = _at("Hessian", loss, at)
        self._loss = loss
        super().__init__({"loss": loss}, cast(Any, params), batches, reduction, damping, count or count_of(loss), comm)

    def __call__(self, x: Any) -> Any:
        """Of an operator made with `at`, the Hessian at another point, in the form of that or flat; of any other the
        product with a vector, as SciPy has it.

        Raises:
            ValueError: for a point of another form.
        """
        if self._where is None:
            return super().__call__(x)
        _, form = tree.flatten(self._where)
        if isinstance(x, (np.ndarray, Tensor)) and x.shape == (self.size,):
            point = form.build(self.split(x))
        else:
            point = form.build(self.split(self.flatten(form.leaves_of(x, "Hessian"))))
        return Hessian(self._function, at=point, damping=self.damping)

    def _recorded(self, batch: tuple[Any, ...], position: int, count: float) -> Recorded:
        return _HessianAt(scalar("Hessian", evaluated("Hessian", "loss", self._loss, batch)), self.params, count)


def _at(where: str, f: Callable[..., Any], point: Any) -> tuple[Callable[[], Any], list[Tensor]]:
    """A function of no arguments, and the Tensors that stand for the point's arrays in it."""
    recorded_or_function(where, "loss", f)
    leaves, form = tree.flatten(point)
    arrays = [as_array(x, copy=False) for x in leaves]
    for x in arrays:
        if x.dtype.kind not in "fiub":
            raise TypeError(f"{where}: at= must hold arrays of real numbers, not {x.dtype}")
    params = [Tensor(x.astype(x.dtype if x.dtype.kind == "f" else float), requires_grad=True) for x in arrays]
    given = form.build(params)
    arguments = given if isinstance(given, tuple) else (given,)
    return lambda: f(*arguments), params


class _HessianAt:
    def __init__(self, loss: Tensor, params: list[Tensor], count: float) -> None:
        self.count, self.loss, self.params = count, loss, params
        self.roots: Sequence[Tensor] = [loss]
        self.gradient: Parts
        self.twice: Pullback | None = None
        try:
            if any(not p.is_leaf for p in params):
                raise Unsupported
            self.over = ForwardOverReverse([loss], params)
            self.gradient = self.over.gradient()
        except Unsupported:  # results as parameters, hooks or checkpoints
            self._record()

    @property
    def value(self) -> float:
        return self.loss.item()

    def restricted(self, params: list[Tensor]) -> Recorded:
        return _HessianAt(self.loss, params, self.count)

    def diagonal(self) -> Parts | None:
        return None

    def _record(self) -> Pullback:
        """The gradient is recorded, and differentiated."""
        slopes: Sequence[Tensor | None] = [None] * len(self.params)
        if self.loss._requires_grad:
            slopes = gradients(self.loss, self.params, create_graph=True, allow_unused=True)
        self.gradient = [None if g is None else g._ndarray for g in slopes]
        self.twice = Pullback(slopes, self.params)
        return self.twice

    def product(self, tangents: Parts) -> Parts:
        if self.twice is None:
            try:
                return self.over(tangents)
            except Unsupported:
                pass
        return (self.twice or self._record())(tangents)


# The Gauss–Newton matrix


class GaussNewton(CurvatureOperator):
    """The generalised Gauss–Newton matrix G = Jᵀ H J of a loss of an output, J the output's Jacobian by the parameters
    and H the loss's Hessian by the output.

    Positive semi-definite where the loss is convex in the output, and equal to the Hessian where the output is linear
    in the parameters.

    Args:
        output: a recorded Tensor of any shape, or a function of no arguments (with `batches`: ``output(*batch)``).
        loss: a function of the output that returns a Tensor of one element; with `batches`, ``loss(output, *batch)``.
            It is differentiated by its first argument only.
        params, batches, reduction, damping, count, comm: as for `Hessian`.

    Raises:
        TypeError, ValueError, RuntimeError: as `Hessian`.

    Source: Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", 2002.

    >>> import autodiff as ad
    >>> w = ad.Tensor([1.0, 2.0], requires_grad=True)
    >>> G = GaussNewton(lambda: w**2, lambda z: (0.5 * z**2).sum(), w)
    >>> G.to_dense()
    array([[ 4.,  0.],
           [ 0., 16.]])
    """

    def __init__(
        self,
        output: Tensor | Callable[..., Any],
        loss: Callable[..., Any],
        params: Tensor | Iterable[Tensor],
        *,
        batches: Iterable[Any] | None = None,
        reduction: str = "mean",
        damping: float = 0.0,
        count: Callable[..., Any] | None = None,
        comm: Any = None,
    ) -> None:
        if isinstance(loss, Tensor) or not callable(loss):
            raise TypeError(f"GaussNewton: loss must be a function of the output, not {type(loss).__name__}")
        self._output, self._loss = output, loss
        super().__init__({"output": output}, params, batches, reduction, damping, count or count_of(loss), comm)

    def _recorded(self, batch: tuple[Any, ...], position: int, count: float) -> Recorded:
        output = evaluated("GaussNewton", "output", self._output, batch)
        z = variable(output._ndarray)
        loss = scalar("GaussNewton", evaluated("GaussNewton", "loss", self._loss, (z, *batch)))
        return _GaussNewtonAt(output, _HessianAt(loss, [z], count), self.params)


class _GaussNewtonAt:
    def __init__(self, output: Tensor, outer: _HessianAt, params: list[Tensor]) -> None:
        self.output, self.outer, self.params = output, outer, params
        self.roots: Sequence[Tensor] = [output, *outer.roots]
        self.push, self.pull = Pushforward(output, params), Pullback([output], params)
        self.count, self.value = outer.count, outer.value
        self.gradient: Parts = self.pull(outer.gradient)

    def product(self, tangents: Parts) -> Parts:
        return self.pull(self.outer.product([self.push(tangents)]))

    def restricted(self, params: list[Tensor]) -> Recorded:
        return _GaussNewtonAt(self.output, self.outer, params)

    def diagonal(self) -> Parts | None:
        """Σₙₖ λₙₖ (Jₙᵀ qₙₖ)², with λ and q the eigenpairs of the loss's Hessian by the row n of the output."""
        H = self._blocks()
        if H is None:
            return None
        values, vectors = np.linalg.eigh((H + H.swapaxes(1, 2)) / 2)
        found: list[Array | None] = [None] * len(self.params)
        for k in range(values.shape[1]):
            if values[:, k].any():
                d = vectors[:, :, k].reshape(self.output.shape)
                add(found, sums_of_squares("GaussNewton.diagonal", self.output, d, self.params, values[:, k]))
        return found

    def _blocks(self) -> Array | None:
        """The loss's Hessian by each row of the output, shape (rows, outputs of a row, the same): the products with all
        rows' unit vectors at once. None if it is not theirs alone: with all rows at random, a product of the blocks is
        one of the Hessian only where there is nothing else (or by a chance of probability 0)."""
        z = self.output
        if not z.ndim or not z.size:
            return None
        N, M = len(z), z.size // len(z)
        draws = np.random.default_rng(0)
        V = np.zeros((M + 1, N, M), z.dtype)
        V[np.arange(M), :, np.arange(M)] = signs = draws.choice([-1.0, 1.0], N)
        V[M] = draws.standard_normal((N, M))
        Y = np.zeros_like(V)
        for piece, (part,) in Together()(self.outer.roots, self.outer.product, [V.reshape(M + 1, *z.shape)]):
            if part is not None:
                Y[piece] = part.reshape(-1, N, M)
        H: Array = (Y[:M] * signs[:, None]).swapaxes(0, 1)
        off = np.abs(np.einsum("nkm,nk->nm", H, V[M]) - Y[M])
        return H if (off <= 10 * M * np.finfo(z.dtype).eps * np.abs(H).max(initial=0.0)).all() else None


def add(total: list[Array | None], parts: Parts) -> None:
    """Add to sums, in which None stands for zeros."""
    for j, part in enumerate(parts):
        old = total[j]
        if part is not None:
            total[j] = part if old is None else old + part
