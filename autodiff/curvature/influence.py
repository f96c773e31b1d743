"""What the loss of a test example owes to each training example."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ..figures import axes_for, drawable, legend, line_style, note_unseen
from ..ranks import fingerprint, require_same
from ..tensor import Array
from .eigen import dense, symmetric
from .fisher import LIKELIHOODS, Fisher
from .inverse import Inverse
from .kfac import KFAC
from .objective import Objective
from .operators import GaussNewton, Jacobian
from .per_example import by_output, per_example_gradients
from .presentation import presented

METHODS = ("cg", "exact", "kfac")

ROOM = 1 << 24
"""So many numbers of the gradients of test examples are kept at once."""


@dataclass(frozen=True)
class Influence:
    """What `influence` returns.

    Attributes:
        scores: shape (tests, training examples). By first order, a weight ε more on training example n changes the loss
            of test t by ε scores[t, n]; leaving n out of N, by −scores[t, n] / N.
    """

    scores: Array

    def helpful(self, k: int = 10, test: int | None = None) -> Array:
        """The training examples that lower the loss most, the best first: indices, shape (k,).

        Args:
            k: how many, at most.
            test: of one test example; by default of all together.
        """
        return self._ranked(test)[: _count(k)]

    def harmful(self, k: int = 10, test: int | None = None) -> Array:
        """Those that raise it most, the worst first."""
        return self._ranked(test)[::-1][: _count(k)]

    def _ranked(self, test: int | None) -> Array:
        return np.argsort(self._of(test), kind="stable")

    def _of(self, test: int | None) -> Array:
        chosen: Array = self.scores.sum(axis=0) if test is None else self.scores[test]
        return chosen

    def __repr__(self) -> str:
        return presented(self, scores=self.scores)

    def plot(self, test: int | None = None, *, ax: Any = None) -> Any:
        """Draw the scores of all training examples, from the most helpful to the most harmful.

        Args:
            test: of one test example; by default the sums over all.
            ax: matplotlib axes; new ones by default.

        Returns:
            the axes.

        Raises:
            ImportError: without matplotlib.
        """
        ax = axes_for("Influence.plot", ax, (7, 4))
        values = np.sort(drawable(self._of(test)))
        note_unseen(ax, values)
        place = np.arange(len(values))
        for i, (label, some) in enumerate({"helpful": values < 0, "harmful": values > 0}.items()):
            ax.bar(place[some], values[some], width=1.0, color=line_style(i)["color"], label=label)
        ax.axhline(0, color="0.5", linewidth=0.8)
        of = "all tests" if test is None else f"test {test}"
        ax.set(xlabel="training examples, ranked", ylabel="score", title=f"Influence on {of}")
        legend(ax)
        return ax


def influence(
    model: Any, loss: Callable[..., Any], train: Any, test: Any, *, damping: float, method: str = "cg",
    batch_size: int | None = 512, tol: float | None = None, comm: Any = None,
) -> Influence:  # fmt: skip
    """The influence of training examples n on test examples t,

        scores[t, n] = −∇ℓ_tᵀ (G + λI)⁻¹ ∇ℓ_n

    with the Gauss–Newton matrix G of the mean training loss. Negative is helpful: with more of that example the loss of
    the test would be lower. One linear system is solved for each test; the gradients of training examples are not
    formed, only their products with the solutions, forward through the network.

    Args:
        model: trained; it is in evaluation mode meanwhile.
        loss: a mean over a batch, as `optim.fit` takes it. An example has the weight that it has in the mean.
        train, test: data as `optim.fit` takes them, in an order that stays.
        damping: λ, at least 0. Of a loss with the penalty ½λ‖w‖², G + λI is the whole curvature, if λ is that.
        method: "cg", conjugate gradients by products with G; "exact", the matrix itself, where it is small; or "kfac",
            with `KFAC` in the place of G, an approximation that costs a pass, for a mean cross-entropy or mean squares.
        batch_size: samples in a batch of arrays or a data set.
        tol: relative residual of "cg"; √ε of the parameters' dtype by default.
        comm: a communicator of mpi4py: each rank has training examples of its own, and all have the same tests. The
            scores are of all training examples, those of rank 0 first, and the same on all ranks.

    Returns:
        an `Influence` with `.scores`, `.helpful(k)`, `.harmful(k)` and `.plot()`.

    Raises:
        ValueError: a damping that is negative, an unknown method, data that are shuffled or otherwise wrong.
        numpy.linalg.LinAlgError: G + λI is singular or not finite, or "cg" has not converged.

    Source: Koh & Liang, "Understanding black-box predictions via influence functions", 2017.

    >>> line = nn.Linear(1, 1, bias=False, dtype=np.float64)
    >>> _ = nn.init.constant_(line.weight, 1.0)
    >>> train, test = (np.ones((2, 1)), np.array([[3.0], [-1.0]])), (np.ones((1, 1)), np.array([[2.0]]))
    >>> found = influence(line, lambda z, y: 0.5 * ((z - y) ** 2).mean(), train, test, damping=0.0)
    >>> found.scores
    array([[-2.,  2.]])
    >>> found.helpful(1)
    array([0])
    """
    where = "influence"
    if method not in METHODS:
        raise ValueError(f"{where}: method must be one of {', '.join(METHODS)}, not {method!r}")
    number = isinstance(damping, (int, float, np.integer, np.floating)) and not isinstance(damping, bool)
    if not (number and 0 <= damping < np.inf):
        raise ValueError(f"{where}: damping must be a finite number of at least 0, not {damping!r}")
    trained = Objective(f"{where}: train", model, loss, train, batch_size, comm)
    params = trained.params
    size = sum(p.size for p in params)
    few = max(1, ROOM // size)
    tested = Objective(f"{where}: test", model, loss, test, few if batch_size is None else min(batch_size, few))
    for objective in (trained, tested):
        if getattr(objective.batches, "shuffle", False):
            raise ValueError(f"{objective.where} is shuffled, so that its examples have no places; give it in order")
    next(iter(tested))
    if comm is not None and not all(weights := comm.allgather(sum([n for *_, n in trained.all()]))):
        raise ValueError(f"{trained.where} holds no samples that count on rank {weights.index(0)}; give each rank some")
    with trained.held():
        operator = trained.gauss_newton()
        if method == "cg":
            solved = Inverse(operator, damping, tol=tol).matmat
        else:
            solved = (_exact if method == "exact" else _by_kfac)(trained, operator, float(damping))
        scores = []
        for x, y, n in tested.all():
            z = tested.recorded(x)
            if not n:
                scores.append(np.zeros((len(z), 0)))
                continue
            gradients = per_example_gradients(z, lambda z, y=y: loss(z, y), params)
            rows = np.concatenate([part.reshape(len(z), -1) for part in gradients], axis=1) * n
            if comm is not None:
                require_same({"the checksum of the tests' gradients": fingerprint(rows)}, comm, where)
            scores.append(-_products(trained, solved(rows.T)).T)
    width = max(part.shape[1] for part in scores)
    return Influence(np.concatenate([np.broadcast_to(0.0, (len(s), width)) if not s.size else s for s in scores]))


def _products(objective: Objective, directions: Array) -> Array:
    """∇ℓ_n · v for all training examples and directions v, the columns: (∂ℓ_n/∂z) · (J v)."""
    found = []
    for x, y, n in objective.all():
        z = objective.recorded(x)
        if not n:
            found.append(np.zeros((len(z), directions.shape[1])))
            continue
        d = by_output(objective.where, z, lambda z, y=y: objective.loss(z, y)) * n
        pushed = Jacobian(z, objective.params).matmat(directions).reshape(len(z), -1, directions.shape[1])
        found.append(np.einsum("nk,nkt->nt", d.reshape(len(z), -1), pushed))
    scores = np.concatenate(found)
    return scores if objective.comm is None else np.concatenate(objective.comm.allgather(scores))


def _exact(objective: Objective, operator: GaussNewton, damping: float) -> Callable[[Array], Array]:
    matrix = dense(symmetric("influence", operator))
    matrix[np.diag_indices_from(matrix)] += damping
    try:
        factor = cho_factor(matrix)
        if np.diag(factor[0]).min() ** 2 <= len(matrix) * np.finfo(operator.dtype).eps * np.abs(matrix).max():
            raise np.linalg.LinAlgError
    except np.linalg.LinAlgError:
        raise np.linalg.LinAlgError(
            f"influence: G + λI is singular for damping {damping:g} (parameters that do not matter, or fewer examples "
            f"than parameters); give a larger damping"
        ) from None
    return lambda right: cho_solve(factor, right)


def _by_kfac(objective: Objective, operator: GaussNewton, damping: float) -> Callable[[Array], Array]:
    """With the Fisher matrix of the likelihood of which G is a multiple: by two random vectors, both say which."""
    V = np.random.default_rng(0).standard_normal((operator.size, 2)).astype(operator.dtype)
    curvatures = np.einsum("nk,nk->k", V, operator.matmat(V))
    for likelihood in LIKELIHOODS:
        options: dict[str, Any] = {"likelihood": likelihood, "batches": objective, "comm": objective.comm}
        fisher = Fisher(objective.output, None, objective.params, **options)
        with np.errstate(all="ignore"), suppress(ValueError):  # of one output there is no softmax
            one, other = curvatures / np.einsum("nk,nk->k", V, fisher.matmat(V))
            if 0 < one < np.inf and abs(one - other) <= 1e-3 * one:
                break
    else:
        raise ValueError(
            "influence: method='kfac' needs a mean cross-entropy of logits or a mean of squares, without class weights "
            "or ignored targets; the curvature of this loss is another, take method='cg'"
        )
    inverse = KFAC(objective.output, None, objective.params, **options).inverse(damping / one)
    return lambda right: inverse.matmat(right) / one


def _count(k: Any) -> int:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 0:
        raise ValueError(f"Influence: how many must be a whole number from 0, not {k!r}")
    return int(k)
