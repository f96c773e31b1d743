"""Curvature and gradient noise while a model trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ..data import drawing
from ..devices import as_numpy
from ..figures import axes_for, drawable, legend, line_style, note
from ..ranks import same_generator
from ..tensor import Array
from .eigen import eigenpairs
from .noise import gradient_noise
from .objective import Objective
from .operators import Hessian
from .probes import require_probes, trace

COLUMNS = ("batch", "sharpness", "trace", "noise", "limit", "preconditioned")

TOL = 1e-4
"""Relative accuracy of the eigenvalues."""


class Track:
    """What `track` returns: a callback of `optim.fit`, and what it has seen, a number for each measurement.

    Attributes:
        batch: after how many batches of the training.
        sharpness: λmax of the Hessian H of the mean loss.
        trace: of H, estimated.
        noise: the gradient noise scale; NaN if it is not measured.
        limit: the sharpness from which on the optimiser is unstable on a quadratic: 2/η for gradient descent with
            learning rate η. NaN for an optimiser of which none is known.
        preconditioned: what `limit` is compared with: for SGD the sharpness, for Adam and AdamW λmax of P^(−½) H P^(−½)
            with P = (1 − β₁ᵗ)(√v̂ + ε) after t steps.
    """

    def __init__(
        self, model: Any, loss: Callable[..., Any], data: Any, every: int, noise: bool, num_probes: int,
        batch_size: int | None, rng: np.random.Generator | int | None, comm: Any,
    ) -> None:  # fmt: skip
        if isinstance(every, bool) or not isinstance(every, (int, np.integer)) or every < 1:
            raise ValueError(f"track: every must be a number of batches from 1, not {every!r}")
        require_probes("track", num_probes, 1)
        self.objective = Objective("track", model, loss, data, batch_size, comm)
        self.every, self.measures_noise, self.num_probes, self.batch_size = int(every), noise, num_probes, batch_size
        self.rng = same_generator(drawing(rng, "track"), comm)
        self.batches = 0
        self.batch: list[float] = []
        self.sharpness: list[float] = []
        self.trace: list[float] = []
        self.noise: list[float] = []
        self.limit: list[float] = []
        self.preconditioned: list[float] = []
        self._vectors: dict[str, Array] = {}

    def on_batch_end(self, state: Any) -> None:
        """Called by `optim.fit`."""
        self.batches += 1
        if self.batches % self.every == 0:
            self.measure(state.optimizer)

    def measure(self, optimizer: Any) -> None:
        """Measure at the model's present weights, in a loop of your own; `optimizer` trains them."""
        trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not any(id(p) in trained for p in self.objective.params):
            raise ValueError(
                "track: the optimiser trains none of the parameters of the model that is measured; give track the "
                "model of this training"
            )
        limit, scale = limits(optimizer, self.objective.params)
        with self.objective.held():
            H = self.objective.hessian()
            sharpness = self._largest("sharpness", H)
            total = float(trace(H, num_probes=self.num_probes, rng=self.rng).value)
            preconditioned = sharpness if scale is None else self._largest("preconditioned", _scaled(H, scale))
            noise = math.nan
            if self.measures_noise:
                noise = gradient_noise(
                    self.objective.model, self.objective.loss, self.objective.batches, batch_size=self.batch_size,
                    comm=self.objective.comm,
                ).scale  # fmt: skip
        found = (self.batches, sharpness, total, noise, limit, preconditioned if limit == limit else math.nan)
        for name, number in zip(COLUMNS, found):
            getattr(self, name).append(number)

    def _largest(self, name: str, op: Any) -> float:
        (value,), vectors = eigenpairs(op, 1, tol=TOL, rng=self.rng, start=self._vectors.get(name))
        self._vectors[name] = vectors[:, 0].astype(float)
        return float(value)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        columns = {name: list(getattr(self, name)) for name in COLUMNS}
        return {"batches": self.batches, "columns": columns, "vectors": dict(self._vectors)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.batches = int(state["batches"])
        self._vectors = {name: np.array(vector, float) for name, vector in state["vectors"].items()}
        for name in COLUMNS:
            setattr(self, name, list(state["columns"][name]))

    def __repr__(self) -> str:
        last = f", the last sharpness {self.sharpness[-1]:.4g}" if self.batch else ""
        return f"Track({len(self.batch)} measurements in {self.batches} batches{last})"

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the edge of stability: the sharpness over the batches, and the limit of the optimiser; preconditioned as
        it sees it, where it is one that preconditions. Where no limit is known, words say so.

        Args:
            ax: matplotlib axes; new ones by default.

        Returns:
            the axes.

        Raises:
            ImportError: without matplotlib.
        """
        ax = axes_for("Track.plot", ax, (7, 4))
        known, apart = np.isfinite(self.limit).any(), self.preconditioned != self.sharpness
        lines = {"sharpness λmax": self.sharpness}
        if known and apart:
            lines["λmax of the preconditioned Hessian"] = self.preconditioned
        if known:
            lines["limit of stability"] = self.limit
        for i, (label, values) in enumerate(lines.items()):
            ax.plot(self.batch, drawable(values), label=label, **line_style(i))
        if not known:
            note(ax, "no limit of stability is known for this optimiser" if self.batch else "nothing was measured")
        ax.set(xlabel="batch", ylabel="curvature", yscale="log" if known and apart else "linear")
        legend(ax)
        return ax


def track(
    model: Any, loss: Callable[..., Any], data: Any, every: int = 1, *, noise: bool = True, num_probes: int = 10,
    batch_size: int | None = 512, rng: np.random.Generator | int | None = None, comm: Any = None,
) -> Track:  # fmt: skip
    """A callback for `optim.fit` that measures curvature during training: sharpness, trace and gradient noise.

    Full-batch gradient descent raises the sharpness up to 2/η, the *edge of stability*, and stays there.

    Args:
        model, loss: those that are trained. The model is measured in evaluation mode, and left as it was; the training
            goes on as if nothing had been measured.
        data: as `optim.fit` takes it, what the curvature is measured on (the training data, or a part of them).
        every: measure after so many batches.
        noise: whether to measure the gradient noise too, which costs about two gradients.
        num_probes: products for the trace.
        batch_size: samples in a batch of arrays or a data set, for the measurement.
        rng: draws the probes: a `numpy.random.Generator`, a seed or None.
        comm: a communicator of mpi4py: each rank has data of its own, and what is found is of all of them, the same on
            all ranks; for a `fit` with the same.

    Returns:
        a `Track`, to be given as ``callbacks=[...]``; a checkpoint keeps what it has seen. Weight decay and a penalty
        are no part of the loss that it measures.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
        numpy.linalg.LinAlgError: in the training, if the curvature is not finite.

    Source: Cohen, Kaur, Li, Kolter and Talwalkar, "Gradient descent on neural networks typically occurs at the edge of
    stability", 2021; Cohen, Ghorbani, Krishnan et al., "Adaptive gradient methods at the edge of stability", 2022.

    >>> model = nn.Linear(2, 1, bias=False, dtype=np.float64)
    >>> data = np.diag([1.0, 3.0]), np.ones((2, 1))
    >>> seen = track(model, nn.MSELoss(), data, noise=False)
    >>> sgd = optim.SGD(model.parameters(), lr=0.1)
    >>> history = optim.fit(model, nn.MSELoss(), data, optimizer=sgd, epochs=2, callbacks=[seen])
    >>> [round(λ, 6) for λ in seen.sharpness], seen.limit
    ([9.0, 9.0], [20.0, 20.0])
    """
    return Track(model, loss, data, every, noise, num_probes, batch_size, rng, comm)


def limits(optimizer: Any, params: list[Any]) -> tuple[float, Array | None]:
    """The sharpness at which an optimiser becomes unstable (NaN where that is not known), and for one that
    preconditions the diagonal of P, shape (number of parameters,)."""
    kind, group = type(optimizer).__name__, optimizer.param_groups[0]
    if len(optimizer.param_groups) > 1 or not float(group.get("lr", 0)) > 0:
        return math.nan, None
    η = float(group["lr"])
    if kind == "SGD":
        μ = float(group["momentum"])
        if not μ:
            return 2 / η, None
        if group["nesterov"]:
            return 2 * (1 + μ) / (η * (1 + 2 * μ)), None
        return 2 * (1 + μ) / (η * (1 - (μ if group["averaged"] else float(group["dampening"])))), None
    if kind not in ("Adam", "AdamW") or any("exp_avg_sq" not in optimizer.state.get(p, {}) for p in params):
        return math.nan, None
    β1, β2 = (float(β) for β in group["betas"])
    parts = []
    for p in params:
        state = optimizer.state[p]
        first, second = (1 - β ** state["step"] if group["bias_correction"] else 1.0 for β in (β1, β2))
        v = as_numpy(state.get("max_exp_avg_sq", state["exp_avg_sq"])).ravel().astype(float) / second
        ε = float(group["eps"])
        parts.append(first * (np.sqrt(v + ε) if group["eps_inside_sqrt"] else np.sqrt(v) + ε))
    return 2 * (1 + β1) / ((1 - β1) * η), np.concatenate(parts)


def _scaled(H: Hessian, P: Array) -> LinearOperator:
    """P^(−½) H P^(−½)."""
    root = (1 / np.sqrt(P)).astype(H.dtype)
    return LinearOperator(
        H.shape,
        matvec=lambda v: root * H.matvec(root * v.ravel()),
        matmat=lambda V: root[:, None] * H.matmat(root[:, None] * V),
        dtype=H.dtype,
    )
