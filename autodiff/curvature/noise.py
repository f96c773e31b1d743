"""How much the gradient of a batch scatters around the gradient of all data."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..transforms import flat
from .objective import Objective
from .per_example import by_output, per_example_norms
from .recorded import Pullback


class GradientNoise(NamedTuple):
    """What `gradient_noise` returns.

    Attributes:
        trace: tr Σ, of the covariance of one example's gradient; a batch of B has that divided by B.
        squared_norm: ‖g‖², of the gradient without noise; unbiased, so that it may be negative where noise hides it.
        groups: of how many examples or batches these come.
    """

    trace: float
    squared_norm: float
    groups: int

    @property
    def scale(self) -> float:
        """tr Σ / ‖g‖²: up to about this batch size, a batch twice as large is worth a step twice as large. Infinite
        where ‖g‖² is not told from 0, NaN where there is neither gradient nor noise."""
        if self.squared_norm > 0:
            return self.trace / self.squared_norm
        return math.inf if self.trace > 0 else math.nan


def gradient_noise(
    model: Any, loss: Callable[..., Any], data: Any, *, groups: str = "examples", batch_size: int | None = 512,
    comm: Any = None,
) -> GradientNoise:  # fmt: skip
    """The gradient noise of a model: tr Σ of the covariance of the examples' gradients, and its scale, tr Σ / ‖g‖².

    With k groups of the data, group i of cᵢ examples and mean gradient gᵢ, C = Σ cᵢ and ḡ = Σ cᵢ gᵢ / C,

        tr Σ = (Σᵢ cᵢ ‖gᵢ‖² − C ‖ḡ‖²) / (k − 1),    ‖g‖² = ‖ḡ‖² − tr Σ / C

    Both are unbiased, if the data are independent samples. With two sizes of batch they are the paper's
    (its appendix A). Nowhere are the gradients of all examples kept.

    Args:
        model, loss, data: as `optim.fit` takes them; the loss is a mean. The model is in evaluation mode meanwhile.
        groups: "examples", from the norms of the examples' gradients, or "batches", from the gradients of batches,
            which suits models whose examples have to do with each other, and costs less where these are wide.
        batch_size: samples in a batch of arrays or a data set; with "batches" it is the size of the groups.
        comm: a communicator of mpi4py: each rank has data of its own, and what is found is of all of them, the same on
            all ranks.

    Returns:
        a `GradientNoise` with `.trace`, `.squared_norm` and `.scale`. An example counts as in the mean loss: ignored
        targets do not, class weights are weights.

    Raises:
        ValueError: for fewer than two groups, an unknown kind of them, or data that are not as they should be.
        numpy.linalg.LinAlgError: if the gradients are not finite.

    Source: McCandlish, Kaplan, Amodei et al., "An empirical model of large-batch training", 2018.

    >>> model = nn.Linear(1, 1, bias=False, dtype=np.float64)
    >>> _ = nn.init.zeros_(model.weight)
    >>> data = np.ones((4, 1)), -np.array([[1.0], [2.0], [3.0], [6.0]])
    >>> gradient_noise(model, lambda z, y: 0.5 * ((z - y) ** 2).mean(), data)  # gradients 1, 2, 3, 6
    GradientNoise(trace=4.66..., squared_norm=7.83..., groups=4)
    """
    if groups not in ("examples", "batches"):
        raise ValueError(f"gradient_noise: groups must be 'examples' or 'batches', not {groups!r}")
    objective = Objective("gradient_noise", model, loss, data, batch_size, comm)
    counts, squares = [np.zeros(0)], [np.zeros(0)]
    mean = np.zeros_like(flat.flatten(objective.params))
    with objective.held():
        for x, y in objective:
            n = objective.weight(x, y)
            z = objective.recorded(x)
            loss_at = partial(_at, loss, y)
            pulled = Pullback([z], objective.params)([by_output("gradient_noise", z, loss_at)])
            gradient = flat.flatten(pulled, objective.params)
            mean = mean + n * gradient
            if groups == "batches":
                counts.append(np.array([n]))
                squares.append(np.array([gradient @ gradient]))
                continue
            counts.append(objective.weights(y, len(z)))
            norms = per_example_norms(z, loss_at, objective.params)
            squares.append((n * norms / np.where(counts[-1] > 0, counts[-1], np.inf)) ** 2)
    c, q = np.concatenate(counts), np.concatenate(squares)
    c, q = c[c > 0], q[c > 0]
    mean = objective.summed(mean)
    squared, total, number = objective.summed(np.array([c @ q, c.sum(), len(c)])).tolist()
    if number < 2:
        raise ValueError(
            f"gradient_noise: needs two {groups} that count, to see how they differ; data has {int(number)}"
            + (" (a smaller batch_size= makes more)" if groups == "batches" else "")
        )
    square = float(mean @ mean) / total**2
    trace = max(0.0, (squared - total * square) / (number - 1))
    if not math.isfinite(trace):
        raise np.linalg.LinAlgError("gradient_noise: gradients have NaN or infinite entries at these parameters")
    return GradientNoise(trace, square - trace / total, int(number))


def _at(loss: Callable[..., Any], y: Any, z: Any) -> Any:
    return loss(z, y)
