"""The Fisher information matrix as an operator, in its three forms."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..averaging import count_of, counted
from ..devices import as_numpy, place_of, put
from ..tensor import Array, Tensor, plain, variable
from .operators import CurvatureOperator, Recorded, add
from .per_example import sums_of_squares
from .recorded import Parts, Pullback, Pushforward, evaluated, scalar

KINDS, LIKELIHOODS = ("exact", "mc", "empirical"), ("softmax", "gaussian")


class Fisher(CurvatureOperator):
    """The Fisher matrix F = E[∇log p ∇log pᵀ] of a network whose output z holds the parameters of a distribution for
    each sample, averaged over the samples: with Jₙ the Jacobian of sample n's output,

        exact:      F = 1/N Σₙ Jₙᵀ (diag pₙ − pₙpₙᵀ) Jₙ (softmax),  1/N Σₙ Jₙᵀ Jₙ (Gaussian)
        mc:         F = 1/(N S) Σₙₛ Jₙᵀ rₙₛ rₙₛᵀ Jₙ,  rₙₛ = ∂(−log p(tₙₛ | zₙ))/∂zₙ, targets tₙₛ drawn from the model
        empirical:  F = 1/N Σₙ Jₙᵀ rₙ rₙᵀ Jₙ with the targets of the data, rₙ = N ∂loss/∂zₙ

    N of the empirical one is what the loss's mean divides by: ignored targets do not count, and a class weight is part
    of rₙ. The exact one equals the Gauss–Newton matrix of the mean cross-entropy, or of ½‖z − t‖² averaged over
    samples.

    Args:
        output: a recorded Tensor or a function, as for `GaussNewton`. Softmax: logits, the classes along the last axis,
            every other index a sample. Gaussian (means, unit variance): the first axis counts samples.
        loss: the loss the samples are scaled like, a function of the output that returns the mean (or sum, see
            `reduction`) over samples of −log p. Only ``kind="empirical"`` evaluates it, as ``loss(output, targets)``,
            ``loss(output)`` without targets, or ``loss(output, *batch)`` with `batches`; None takes the likelihood's.
        params, batches, damping: as for `Hessian`.
        count: N of the empirical kind, where it is not the number of samples, because the loss ignores some targets or
            weights them: a function of the arguments that the loss gets after the output. By default the loss's own
            method `count`, if it has one, as those of nn have.
        kind: "exact", "mc" or "empirical".
        likelihood: "softmax" or "gaussian".
        targets: for the empirical kind, class indices (softmax) or an array in the output's shape (Gaussian); with
            `batches` a function ``targets(*batch)``.
        samples: for the mc kind, targets drawn for each sample. They are drawn once: the operator is one matrix.
        rng: a `numpy.random.Generator`, a seed or None.
        reduction: "mean" or "sum" over samples.
        comm: as for `Hessian`; without `batches` too, the mean is over the samples of all ranks. Of the mc kind each
            rank draws the targets of its own samples, from the seed and its rank: the same `rng` on as many ranks with
            the same batches draws the same.

    Raises:
        TypeError, ValueError, RuntimeError: as `GaussNewton`; also for an unknown kind or likelihood, missing targets,
            fewer than two classes.

    Source: Martens, "New insights and perspectives on the natural gradient method", 2020; Kunstner et al.,
    "Limitations of the empirical Fisher approximation", 2019.

    >>> import autodiff as ad
    >>> z = ad.Tensor([[0.0, 0.0]], requires_grad=True)
    >>> Fisher(z * 1.0, None, z).to_dense()
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """

    settings = (*CurvatureOperator.settings, "kind", "likelihood", "samples")

    def __init__(
        self,
        output: Tensor | Callable[..., Any],
        loss: Callable[..., Any] | None,
        params: Tensor | Iterable[Tensor],
        *,
        kind: str = "exact",
        likelihood: str = "softmax",
        targets: Any = None,
        samples: int = 1,
        rng: np.random.Generator | int | None = None,
        batches: Iterable[Any] | None = None,
        reduction: str = "mean",
        damping: float = 0.0,
        count: Callable[..., Any] | None = None,
        comm: Any = None,
    ) -> None:
        name = type(self).__name__
        if kind not in KINDS or likelihood not in LIKELIHOODS:
            raise ValueError(
                f"{name}: kind must be one of {', '.join(KINDS)} and likelihood one of {', '.join(LIKELIHOODS)}, "
                f"not {kind!r} and {likelihood!r}"
            )
        if loss is not None and (isinstance(loss, Tensor) or not callable(loss)):
            raise TypeError(f"{name}: loss must be a function of the output or None, not {type(loss).__name__}")
        if kind == "empirical" and loss is None and targets is None:
            raise ValueError(f"{name}: the empirical kind needs targets, or a loss that knows them")
        if batches is not None and targets is not None and not callable(targets):
            raise TypeError(f"{name}: with batches=, targets must be a function of a batch, targets(*batch)")
        if isinstance(samples, bool) or not isinstance(samples, (int, np.integer)) or samples < 1:
            raise ValueError(f"{name}: samples must be a whole number from 1, not {samples!r}")
        self.kind, self.likelihood, self.samples = kind, likelihood, int(samples)
        self._output, self._loss, self._targets = output, loss, targets
        self._seed = int(np.random.default_rng(rng).integers(2**63))
        super().__init__({"output": output}, params, batches, reduction, damping, count or count_of(loss), comm)

    @property
    def value(self) -> float:
        """Not defined: the Fisher matrix belongs to a model, not to a loss."""
        raise AttributeError("Fisher: has no value; evaluate the loss")

    @property
    def gradient(self) -> Array:
        """Not defined: the Fisher matrix belongs to a model, not to a loss."""
        raise AttributeError("Fisher: has no gradient; differentiate the loss")

    def _counted(self, batch: tuple[Any, ...]) -> float:
        return self._samples(batch)  # more is known with the output

    def _recorded(self, batch: tuple[Any, ...], position: int, count: float) -> Recorded:
        output = evaluated("Fisher", "output", self._output, batch)
        z = as_numpy(output)
        flat = z.reshape(-1, z.shape[-1] if z.ndim else 1) if self.likelihood == "softmax" else _rows(z)
        if self.likelihood == "softmax" and flat.shape[1] < 2:
            raise ValueError(
                f"{self.name}: the output has shape {z.shape}, and softmax needs two classes along its last axis (the "
                f"probability of one is 1, whatever the output is); for regression write likelihood='gaussian'"
            )
        residuals, count = None, float(len(flat))
        if self.kind == "mc":
            residuals = self._drawn(z, flat, position)
        elif self.kind == "empirical":
            residuals, count = self._given(output, flat, batch)
        scale = 1.0 if self.reduction == "sum" else 1 / count if count else 0.0
        return _FisherAt(output, flat, self.likelihood, residuals, count, scale, self.params)

    def _drawn(self, z: Array, flat: Array, position: int) -> Array:
        """∂(−log p(t | z))/∂z of every draw and sample, shape (draws, samples, outputs of a sample)."""
        rank = 0 if self.comm is None else self.comm.rank
        draws = np.random.default_rng([self._seed, position, rank])  # the same targets in every product
        if self.likelihood == "gaussian":
            return draws.standard_normal((self.samples, *flat.shape)).astype(z.dtype)
        p = _softmax(flat)
        below = p.cumsum(axis=-1)[:, :-1]  # the last class takes what rounding leaves
        u = draws.random((self.samples, len(flat), 1))
        drawn = (u > below).sum(axis=-1)
        return p - (drawn[..., None] == np.arange(p.shape[-1]))

    def _given(self, z: Tensor, flat: Array, batch: tuple[Any, ...]) -> tuple[Array, float]:
        """The same of the data's targets, one draw; and what the loss's mean divides by."""
        targets = plain(self._targets(*batch) if callable(self._targets) else self._targets)
        if self._loss is None:
            return self._from_targets(z, flat, as_numpy(targets))[None], float(len(flat))
        given = batch if targets is None else (targets,)
        number = counted(self._count, *given) if self.reduction == "mean" else 1.0
        number = float(len(flat)) if number is None else number
        if not number:
            return np.zeros((1, *flat.shape), z.dtype), number
        x = variable(z._ndarray)
        loss = scalar("Fisher", evaluated("Fisher", "loss", self._loss, (x, *given)))
        (d,) = Pullback([loss], [x])([np.ones(loss.shape, loss.dtype)])
        d = np.zeros(z.shape, z.dtype) if d is None else as_numpy(d)
        return d.reshape(1, *flat.shape) * z.dtype.type(number), number

    def _from_targets(self, z: Tensor, flat: Array, t: Array) -> Array:
        if self.likelihood == "gaussian":
            if t.shape != z.shape:
                raise ValueError(f"Fisher: Gaussian targets must have the output's shape {z.shape}, not {t.shape}")
            return flat - t.reshape(flat.shape).astype(z.dtype)
        if (
            t.dtype.kind not in "iu"
            or t.shape != z.shape[:-1]
            or (t.size and not 0 <= t.min() <= t.max() < z.shape[-1])
        ):
            raise ValueError(
                f"Fisher: softmax targets must be class indices 0 … {z.shape[-1] - 1} of shape {z.shape[:-1]}, "
                f"not {t.dtype} of shape {t.shape}{f', {t.min()} … {t.max()}' if t.size else ''}"
            )
        return _softmax(flat) - (t.reshape(-1, 1) == np.arange(z.shape[-1]))


class _FisherAt:
    value = float("nan")
    gradient: Parts = ()

    def __init__(
        self, output: Tensor, z: Array, likelihood: str, residuals: Array | None, count: float, scale: float,
        params: list[Tensor],
    ) -> None:  # fmt: skip
        self.count = count
        self.output, self.params = output, params
        self.roots: Sequence[Tensor] = [output]
        self.residuals, self.scale = residuals, z.dtype.type(scale)
        self.p = _softmax(z) if likelihood == "softmax" and residuals is None else None
        self.shape = z.shape
        self.examples = len(output) if output.ndim > 1 else len(z)
        self.push, self.pull = Pushforward(output, params), Pullback([output], params)

    def restricted(self, params: list[Tensor]) -> Recorded:
        part = copy.copy(self)
        part.params = params
        part.push, part.pull = Pushforward(self.output, params), Pullback([self.output], params)
        return part

    def square_root(self) -> Iterator[Array]:
        """Cotangents of the output, shape (some, *its shape), whose outer products add up, sample by sample, to what F
        has between the Jacobians: a residual of each draw; or the columns of a square root, √p (1 − pᵀ) with softmax,
        for one sample of each example at a time."""
        z, (samples, width), root = self.output, self.shape, np.sqrt(self.scale)
        if self.residuals is not None:
            yield (self.residuals * (root / np.sqrt(self.scale.dtype.type(len(self.residuals))))).reshape(-1, *z.shape)
            return
        examples, one = self.examples, np.eye(width, dtype=root.dtype)[:, None]
        for i in range(samples // max(examples, 1)):
            columns = np.zeros((width, examples, samples // examples, width), root.dtype)
            p = None if self.p is None else self.p.reshape(columns.shape[1:])[:, i]
            columns[:, :, i] = root * (one if p is None else np.sqrt(p.T)[..., None] * (one - p))
            yield columns.reshape(-1, *z.shape)

    def diagonal(self) -> Parts | None:
        """The sum of (Jₙᵀ sₙ)² over the columns s of each sample's square root."""
        rows, samples = len(self.output) if self.output.ndim else 0, self.shape[0]
        found: list[Array | None] = [None] * len(self.params)
        if not samples:
            return found
        if not rows or samples % rows:
            return None
        for s in itertools.chain.from_iterable(self.square_root()):
            parts = [s]
            if self.residuals is not None:  # of all samples of a row, such as the steps of a sequence
                each = np.eye(samples // rows, dtype=s.dtype)[:, None, :, None] * s.reshape(rows, samples // rows, -1)
                parts = list(each.reshape(-1, *s.shape))
            for d in parts:
                add(found, sums_of_squares("Fisher.diagonal", self.output, d, self.params))
        return found

    def product(self, tangents: Parts) -> Parts:
        place, w = place_of(self.output._ndarray), self.push(tangents).reshape(self.shape)
        if self.residuals is not None:
            r = put(self.residuals, place)
            w = np.einsum("snk,sn->nk", r, np.einsum("snk,nk->sn", r, w)) / w.dtype.type(len(r))
        elif self.p is not None:
            p = put(self.p, place)
            w = p * (w - (p * w).sum(axis=-1, keepdims=True))
        w = (self.scale * w).astype(self.output.dtype, copy=False)
        return self.pull([w.reshape(self.output.shape)])


def _rows(z: Array) -> Array:
    """One row for each sample."""
    return z.reshape(z.shape[0], z[0].size if len(z) else 0) if z.ndim > 1 else z.reshape(-1, 1)


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
