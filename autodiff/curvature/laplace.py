"""The posterior of a model's weights as a Gaussian around those of a training: uncertainty of predictions, evidence.

Order: the curvature as eigenvalues in a basis, the posterior, how it is made, what it is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from ..backward import reachable
from ..data import as_constants, batches, drawing, dtype_of, not_finite
from ..data import rows as samples_of
from ..devices import as_numpy, place_of, put
from ..mode import no_grad
from ..tensor import Array, Tensor, number_of, plain
from ..transforms import flat
from .eigen import dense, symmetric
from .fisher import LIKELIHOODS, Fisher
from .kfac import KFAC
from .objective import Objective
from .per_example import per_example_gradients

STRUCTURES = ("diag", "kron", "full", "last_layer")

ROOM = 1 << 24
"""So many numbers of the Jacobians of several examples are kept at once."""


class Basis(NamedTuple):
    """A positive semi-definite matrix U diag(values) Uᵀ, with rows of vectors going into the basis (v ↦ vU) and out."""

    values: Array
    into: Callable[[Array], Array]
    out: Callable[[Array], Array]


class GaussianPrediction(NamedTuple):
    """Of the outputs for n inputs: `mean`, shape (n, outputs), and `covariance`, shape (n, outputs, outputs)."""

    mean: Array
    covariance: Array


class Laplace:
    """What `laplace` returns: the weights have a Gaussian posterior of mean θ (those the model has) and precision
    H/σ² + δ I.

    Attributes:
        params: the parameters it is about.
        prior_precision, sigma_noise: δ and σ.
    """

    def __init__(
        self, objective: Objective, params: list[Tensor], likelihood: str, structure: str, basis: Basis,
        log_likelihood: float, observations: int,
    ) -> None:  # fmt: skip
        self.params, self.likelihood, self.structure = params, likelihood, structure
        self.prior_precision, self.sigma_noise = 1.0, 1.0
        self._objective, self._basis = objective, basis
        self._log_likelihood, self._observations = log_likelihood, observations
        self._mean = flat.flatten(params).astype(float)
        self._square = float(self._mean @ self._mean)
        self._point = [number_of(p) for p in objective.params]

    def __repr__(self) -> str:
        noise = f", sigma_noise={self.sigma_noise:.6g}" if self.likelihood == "gaussian" else ""
        return (
            f"Laplace({self.structure}, {len(self._mean)} parameters, prior_precision={self.prior_precision:.6g}"
            f"{noise}, log_marginal_likelihood={self.log_marginal_likelihood():.6g})"
        )

    def log_marginal_likelihood(self, prior_precision: float | None = None, sigma_noise: float | None = None) -> float:
        """The evidence for the model, with P = H/σ² + δ I over d parameters

            log p(data) ≈ log p(data | θ) − ½ δ ‖θ‖² + ½ d log δ − ½ log det P

        Args:
            prior_precision, sigma_noise: other δ and σ than its own.
        """
        δ, σ = (
            own if given is None else positive("Laplace.log_marginal_likelihood", name, given)
            for name, given, own in (
                ("prior_precision", prior_precision, self.prior_precision),
                ("sigma_noise", sigma_noise, self.sigma_noise),
            )
        )
        fit = self._log_likelihood / σ**2
        if self.likelihood == "gaussian":
            fit -= self._observations * math.log(math.sqrt(2 * math.pi) * σ)
        determinant = np.log1p(self._basis.values / (σ**2 * δ)).sum()  # of P / δ
        return float(fit - 0.5 * (δ * self._square + determinant))

    def covariance(self) -> Array:
        """Of the posterior, where it is small: shape (d, d)."""
        return self._basis.out(self._basis.into(np.eye(len(self._mean))) / self._precision())

    def sample(self, n: int, rng: np.random.Generator | int | None = None) -> list[Array]:
        """Weights drawn from the posterior: for each of `params` an array of shape (n, *its shape)."""
        whole_number("Laplace.sample", "n", n, 0)
        draws = drawing(rng, "Laplace.sample").standard_normal((n, len(self._mean)))
        found = self._mean + self._basis.out(draws / np.sqrt(self._precision()))
        ends = np.cumsum([p.size for p in self.params])[:-1]
        return [
            part.reshape(n, *p.shape).astype(p.dtype) for part, p in zip(np.split(found, ends, axis=1), self.params)
        ]

    def predict(
        self, x: Any, method: str = "probit", *, samples: int = 100, rng: np.random.Generator | int | None = None
    ) -> Any:
        """Predictions with the uncertainty of the weights, by the model linearised around θ: its outputs z have the
        covariance C = J P⁻¹ Jᵀ, with J their Jacobian.

        Args:
            x: inputs, an array or a tuple of them, as in the data.
            method: for the softmax likelihood "probit", softmax(z / √(1 + π/8 diag C)), or "mc", the mean softmax of
                draws from the Gaussian of z.
            samples: how many draws for each input.
            rng: draws them: a `numpy.random.Generator`, a seed or None.

        Returns:
            softmax: probabilities, shape (n, classes). gaussian: a `GaussianPrediction` ``(mean, covariance)`` of the
            function without noise; a new target's covariance is larger by σ² I.

        Raises:
            ValueError: an unknown method, or inputs that are not finite.
            RuntimeError: if the weights were changed in the meantime.
        """
        where = "Laplace.predict"
        if method not in ("probit", "mc"):
            raise ValueError(f"{where}: method must be 'probit' or 'mc', not {method!r}")
        whole_number(where, "samples", samples, 1)
        if [number_of(p) for p in self._objective.params] != self._point:
            raise RuntimeError(f"{where}: the weights were changed after this posterior was made; make a new one")
        if fault := not_finite(x, f"{where}: x"):
            raise ValueError(fault)
        rng = drawing(rng, where)
        given, _ = as_constants(
            samples_of(x, f"{where}: x"), (), dtype_of(self._objective.model), where, self._objective.place
        )
        found = []
        with self._objective.held():
            outputs = self._means(next(iter(batches(given, batch_size=1)))).shape[1]
            for part in batches(given, batch_size=max(1, ROOM // (len(self._mean) * outputs))):
                mean, covariance = self._linearised(part)
                found.append(
                    (mean, covariance) if self.likelihood == "gaussian" else
                    (_probit(mean, covariance) if method == "probit" else _averaged(mean, covariance, samples, rng),)
                )  # fmt: skip
        whole = [np.concatenate(parts) for parts in zip(*found)]
        return GaussianPrediction(*whole) if self.likelihood == "gaussian" else whole[0]

    def _precision(self) -> Array:
        return self._basis.values / self.sigma_noise**2 + self.prior_precision

    def _means(self, x: Any) -> Array:
        with no_grad():
            return outputs_of("Laplace.predict", self._objective.output(x), self.likelihood)

    def _linearised(self, x: Any) -> tuple[Array, Array]:
        z = self._objective.recorded(x)
        mean = outputs_of("Laplace.predict", z, self.likelihood)
        J = np.empty((*mean.shape, len(self._mean)))
        for k in range(mean.shape[1]):
            unit = np.zeros(mean.shape, z.dtype)
            unit[:, k] = 1
            J[:, k] = pulled(z, unit, self.params)
        rows = self._basis.into(J.reshape(-1, len(self._mean))) / np.sqrt(self._precision())
        rows = rows.reshape(J.shape)
        return mean, rows @ rows.swapaxes(1, 2)

    def _fitted(self, prior_precision: float | None, sigma_noise: float | None) -> None:
        """Take these δ and σ, and for a None that which makes the evidence largest (for θ as it is): where its
        derivative is zero, which is at one place only."""
        h, square, loss, n = self._basis.values, self._square, -2 * self._log_likelihood, self._observations
        if sigma_noise is None and prior_precision is None:  # for λ = δσ², σ² = (loss + λ‖θ‖²) / n
            λ = _root(lambda λ: (h / (h + λ)).sum() - n * λ * square / (loss + λ * square))
            variance = (loss + λ * square) / n
            self.prior_precision, self.sigma_noise = λ / variance, math.sqrt(variance)
        elif sigma_noise is None:
            δ = self.prior_precision = positive("laplace", "prior_precision", prior_precision)
            self.sigma_noise = math.sqrt(_root(lambda v: loss / v + (h / (h + δ * v)).sum() - n))
        else:
            self.sigma_noise = positive("laplace", "sigma_noise", sigma_noise)
            if prior_precision is None:
                h = h / self.sigma_noise**2
                self.prior_precision = _root(lambda δ: (h / (h + δ)).sum() - δ * square)
            else:
                self.prior_precision = positive("laplace", "prior_precision", prior_precision)


def laplace(
    model: Any, data: Any, likelihood: str = "softmax", structure: str = "full", *, sigma_noise: float | None = 1.0,
    prior_precision: float | None = 1.0, batch_size: int | None = 512, comm: Any = None,
) -> Laplace:  # fmt: skip
    """Laplace's approximation to the posterior of a trained model's weights θ: under a Gaussian prior of mean 0 and
    precision δ, a Gaussian around θ whose precision is the log posterior's curvature, with the Gauss–Newton matrix H of
    the negative log-likelihood.

    It is exact for a linear model with Gaussian noise whose weights are at the maximum of the posterior; for others, θ
    has to be near one (train with weight decay δ/N for a mean loss over N samples).

    Args:
        model: trained; it is in evaluation mode meanwhile.
        data: what it was trained with, as `optim.fit` takes it. Targets are class indices (softmax) or arrays in the
            output's shape (Gaussian).
        likelihood: "softmax", the outputs are logits of shape (n, classes); or "gaussian", they are means, shape
            (n, outputs) or (n,), of targets with noise of standard deviation σ.
        structure: of H. "full", the whole matrix; "diag", its diagonal; "kron", `KFAC`, a Kronecker product for each
            layer; "last_layer", the whole matrix of the parameters of the module that is used last on the way to the
            output, the others taken as certain.
        sigma_noise: σ; None for the one of largest marginal likelihood. Softmax has none.
        prior_precision: δ; None for the one of largest marginal likelihood, as for all weights together.
        batch_size: samples in a batch of arrays or a data set.
        comm: a communicator of mpi4py: each rank has data of its own, and what is found is of all of them, the same on
            all ranks; each predicts for itself.

    Returns:
        a `Laplace` with `.predict(x)`, `.sample(n)` and `.log_marginal_likelihood()`.

    Raises:
        ValueError: an unknown likelihood or structure, a σ or δ that is not positive, classes out of range, outputs or
            targets of another shape, no data; or, if δ or σ is asked for, a marginal likelihood without maximum.
        numpy.linalg.LinAlgError: the curvature is not finite.

    Source: MacKay, "A practical Bayesian framework for backpropagation networks", 1992; Immer, Korzepa and Bauer,
    "Improving predictions of Bayesian neural nets via local linearization", 2021; Daxberger, Kristiadi, Immer et al.,
    "Laplace redux", 2021.

    >>> line = nn.Linear(1, 1, bias=False, dtype=np.float64)
    >>> _ = nn.init.constant_(line.weight, 2.0)
    >>> posterior = laplace(line, (np.ones((3, 1)), np.full((3, 1), 8 / 3)), "gaussian")  # θ = Σxy / (Σx² + δ)
    >>> posterior.covariance()
    array([[0.25]])
    >>> posterior.predict(np.array([[2.0]])).covariance
    array([[[1.]]])
    """
    where = "laplace"
    if not isinstance(likelihood, str):
        raise TypeError(
            f"{where}: takes (model, data, likelihood), the likelihood a name, not {type(likelihood).__name__}"
        )
    if likelihood not in LIKELIHOODS or structure not in STRUCTURES:
        raise ValueError(
            f"{where}: likelihood must be one of {', '.join(LIKELIHOODS)} and structure one of "
            f"{', '.join(STRUCTURES)}, not {likelihood!r} and {structure!r}"
        )
    if likelihood == "softmax" and sigma_noise != 1:
        raise ValueError(f"{where}: sigma_noise is for the gaussian likelihood, not for softmax")
    terms = _class_terms if likelihood == "softmax" else _square_terms
    objective = Objective(where, model, terms, data, batch_size, comm)
    with objective.held():
        params = objective.params if structure != "last_layer" else _last_layer(objective)
        with no_grad():
            found = [objective.at(x, y) for x, y in objective]
        options: dict[str, Any] = {"likelihood": likelihood, "batches": objective, "reduction": "sum", "comm": comm}
        if structure == "kron":
            basis = _kronecker(KFAC(objective.output, None, params, **options))
        elif structure == "diag":
            values = Fisher(objective.output, None, params, **options).diagonal().astype(float)
            basis = Basis(values, np.asarray, np.asarray)
        else:
            fisher = Fisher(objective.output, None, params, **options)
            values, vectors = np.linalg.eigh(dense(symmetric(where, fisher)))
            values[values < 10 * np.finfo(fisher.dtype).eps * values.max(initial=0)] = 0  # rounding
            basis = Basis(values, lambda rows: rows @ vectors, lambda rows: rows @ vectors.T)
    log_likelihood, observations = objective.summed(np.array([(0.0, 0), *found]).sum(axis=0))
    if not (math.isfinite(log_likelihood) and np.isfinite(basis.values).all()):
        raise np.linalg.LinAlgError(f"{where}: the likelihood or its curvature is not finite at these weights")
    posterior = Laplace(objective, params, likelihood, structure, basis, float(log_likelihood), int(observations))
    posterior._fitted(prior_precision, sigma_noise)
    return posterior


# What it is made of


def positive(where: str, name: str, value: Any) -> float:
    """A finite number above 0; ValueError for anything else."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not (number and 0 < value < math.inf):
        raise ValueError(f"{where}: {name} must be a positive number, not {value!r}")
    return float(value)


def whole_number(where: str, name: str, value: Any, least: int) -> None:
    """ValueError for anything but a whole number from the least."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{where}: {name} must be a whole number from {least}, not {value!r}")


def outputs_of(where: str, z: Any, likelihood: str) -> Array:
    """The outputs in double precision, a row for each sample."""
    values = as_numpy(z)
    if values.ndim == 1 and likelihood == "gaussian":
        values = values[:, None]
    if values.ndim != 2 or (likelihood == "softmax" and values.shape[1] < 2):
        wanted = "(n, classes), logits of two classes at least" if likelihood == "softmax" else "(n, outputs) or (n,)"
        raise ValueError(f"{where}: the model's outputs must have shape {wanted}, not {np.shape(plain(z))}")
    return values.astype(float)


def pulled(z: Tensor, weights: Array, params: list[Tensor]) -> Array:
    """The gradients of weights · z for each example, flattened, shape (examples, parameters)."""
    weights = put(weights.reshape(z.shape), place_of(plain(z)))
    parts = per_example_gradients(z, lambda z: (z * weights).sum(), params)
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def _class_terms(z: Any, y: Any) -> tuple[float, int]:
    """Σ log p, and of how many samples."""
    logits, t = outputs_of("laplace", z, "softmax"), as_numpy(y)
    classes = logits.shape[1]
    if t.dtype.kind not in "iu" or t.shape != logits.shape[:1] or not ((t >= 0) & (t < classes)).all():
        seen = f", {t.min()} … {t.max()}" if t.size and t.dtype.kind in "iuf" else ""
        raise ValueError(
            f"laplace: softmax targets must be class indices 0 … {classes - 1} of shape {logits.shape[:1]}, not "
            f"{t.dtype} of shape {t.shape}{seen}"
        )
    return float(log_softmax(logits, axis=1)[np.arange(len(t)), t].sum()), len(t)


def _square_terms(z: Any, y: Any) -> tuple[float, int]:
    """−½ ‖z − y‖², and of how many numbers."""
    means, t = outputs_of("laplace", z, "gaussian"), as_numpy(y)
    if t.shape != np.shape(plain(z)) or t.dtype.kind not in "fiub":
        raise ValueError(
            f"laplace: Gaussian targets must be real numbers of the output's shape {np.shape(plain(z))}, not "
            f"{t.dtype} of shape {t.shape}"
        )
    off = means - t.reshape(means.shape)
    return -0.5 * float(np.vdot(off, off)), t.size


def _last_layer(objective: Objective) -> list[Tensor]:
    """The parameters of the module that owns the one which the recorded graph reads last."""
    model = objective.model
    if not hasattr(model, "named_parameters"):
        raise TypeError("laplace: structure='last_layer' needs a model with named_parameters(), as modules have it")
    named = [(name.rpartition(".")[0], p) for name, p in model.named_parameters() if p.requires_grad]
    owners = {p._number: owner for owner, p in named}
    last: list[str] = []
    for x, _ in objective:
        nodes, _ = reachable([objective.recorded(x)])
        read = [x._number for number in sorted(nodes) for x in nodes[number]._inputs if isinstance(x, Tensor)]
        last = [owners[number] for number in read if number in owners][-1:]
        break
    if objective.comm is not None:  # of which some may have no data
        last = next(filter(None, objective.comm.allgather(last)), [])
    return [p for owner, p in named if [owner] == last]


def _kronecker(K: KFAC) -> Basis:
    """The eigenvalues of all blocks, in the places of the weights, and U and V of each."""

    def turned(rows: Array, back: bool) -> Array:
        found = np.empty(rows.shape)
        for block in K.blocks:
            _, U, _, V = block.eigen
            w = rows[:, block.places]
            found[:, block.places] = U @ w @ V.swapaxes(1, 2) if back else U.swapaxes(1, 2) @ w @ V
        return found

    values = np.empty(K.size)
    for block in K.blocks:
        values[block.places] = block.spectrum
    return Basis(values, lambda rows: turned(rows, False), lambda rows: turned(rows, True))


def _probit(mean: Array, covariance: Array) -> Array:
    variance = np.einsum("nkk->nk", covariance)
    return np.asarray(softmax(mean / np.sqrt(1 + math.pi / 8 * variance), axis=1))


def _averaged(mean: Array, covariance: Array, samples: int, rng: np.random.Generator) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
    draws = rng.standard_normal((samples, *mean.shape))
    return np.asarray(softmax(mean + np.einsum("nkj,snj->snk", root, draws), axis=2).mean(axis=0))


def _root(f: Callable[[float], float]) -> float:
    """Where a function of a positive number is zero that falls from at least 1, or from 0, where it is nowhere zero."""
    low, high = -1.0, 1.0
    while f(math.exp(low)) <= 0.5 and low > -300:
        low *= 2
    while f(math.exp(high)) >= 0 and high < 300:
        high *= 2
    if not f(math.exp(low)) > 0.5 or not f(math.exp(high)) < 0:
        raise ValueError(
            "laplace: the marginal likelihood has no maximum (weights or curvature are all zero, or the fit is "
            "perfect); give prior_precision= and sigma_noise="
        )
    return math.exp(brentq(lambda s: f(math.exp(s)), low, high, xtol=1e-13))
