"""A model's mean loss over data: what everything that takes ``(model, loss, data)`` shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from ..averaging import count_of, counted
from ..data import as_batches, batches, dtype_of, length, pair
from ..devices import as_numpy, place_of
from ..generators import generators, random_state, set_random_state
from ..mode import no_grad
from ..ranks import described, require_communicator, require_same, sum_over_ranks
from ..tensor import Array, Tensor, as_array, number_of, plain, writable
from .operators import GaussNewton, Hessian
from .recorded import checked_parameters, evaluated


class Objective:
    """The mean over data of a loss, as a function of a model's parameters; iterated, its batches (x, y) that count.

    Args:
        where: begins the messages of errors.
        model: called with a batch of x (if x is a tuple, with its items); has `parameters()`. Those that require no
            gradient are constants.
        loss: called with the output and a batch of y, the mean over the batch; what it divides by is its method
            `count`, or the number of samples.
        data: as `optim.fit` takes it: (X, y), a data set, or batches (x, y).
        batch_size: samples in a batch of (X, y) or of a data set; None for all.
        comm: a communicator of mpi4py, if means are over the data of all ranks; the iteration is over this rank's.

    Raises:
        TypeError, ValueError: for a model, a loss or data that are something else, and for no samples that count; when
            it is `held`, for a loss that is a sum.
    """

    def __init__(
        self, where: str, model: Any, loss: Callable[..., Any], data: Any, batch_size: int | None, comm: Any = None
    ) -> None:
        require_communicator(comm, where)
        if not callable(model) or isinstance(model, type) or not hasattr(model, "parameters"):
            raise TypeError(f"{where}: the model must be callable and have parameters(), not {model!r:.80}")
        if not callable(loss) or isinstance(loss, (type, Tensor)):
            raise TypeError(f"{where}: loss takes a function of output and target, not {loss!r:.80}")
        if (reduction := getattr(loss, "reduction", "mean")) != "mean":
            raise ValueError(f"{where}: the loss must be a mean; {loss!r} has the reduction {reduction!r}")
        self.where, self.model, self.loss = where, model, loss
        self.params = checked_parameters(where, [p for p in model.parameters() if p.requires_grad])
        self.place = place_of(plain(self.params[0]))
        found = as_batches(data, batch_size, None, dtype_of(model), f"{where}: data", self.place)
        self.batches = list(found) if isinstance(found, Iterator) else found
        self._count = count_of(loss)
        self._mean = hasattr(loss, "reduction")  # known to be one
        self.comm = comm
        if comm is not None:
            require_same({"whether the loss says its reduction": self._mean} | described(self.params), comm, where)

    def all(self) -> Iterator[tuple[Any, Any, float]]:
        """Every batch, and how much it counts."""
        for batch in self.batches:
            x, y = pair(batch, f"{self.where}: data", self.place)
            yield x, y, self.weight(x, y)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        empty = True
        for x, y, n in self.all():
            if n:
                empty = False
                yield x, y
        if empty and self.comm is None:
            raise ValueError(f"{self.where}: data holds no samples that count")

    def weight(self, x: Any, y: Any) -> float:
        """How much a batch counts in the mean."""
        number = counted(self._count, y)
        return float(length(x, y, f"{self.where}: data")) if number is None else number

    def weights(self, y: Any, count: int) -> Array:
        """How much each of so many examples of a batch counts."""
        if self._count is None:
            return np.ones(count)
        numbers = [counted(self._count, one) for one in batches(y, batch_size=1)]
        return np.array([1.0 if number is None else number for number in numbers])

    def output(self, x: Any, *_: Any) -> Any:
        """Of the model, for a batch."""
        return self.model(*x) if type(x) is tuple else self.model(x)

    def at(self, x: Any, y: Any) -> Any:
        """The loss of a batch."""
        return self.loss(self.output(x), y)

    def recorded(self, x: Any) -> Tensor:
        """The output for a batch, recorded, of shape (examples, …)."""
        z = evaluated(self.where, "the model", self.output, (x,))
        if not z.ndim:
            raise ValueError(f"{self.where}: the model's output has shape (); it needs an axis of examples in front")
        if not np.isfinite(z._ndarray).all():
            raise np.linalg.LinAlgError(f"{self.where}: the model's outputs are not all finite at these weights")
        return z

    def value(self) -> float:
        """The mean loss."""
        total, count = 0.0, 0.0
        for x, y in self:
            n = self.weight(x, y)
            total, count = total + n * float(as_numpy(self.at(x, y)).item()), count + n
        total, count = self.summed(np.array([total, count]))
        if not count:
            raise ValueError(f"{self.where}: data holds no samples that count, on any rank")
        return float(total / count)

    def summed(self, array: Array) -> Array:
        """With what the other ranks have."""
        return array if self.comm is None else sum_over_ranks(array, self.comm)

    def _require_mean(self) -> None:
        """Of a batch that is taken twice, a sum is twice as large."""
        if self._mean:
            return
        self._mean = True
        x, y = next(iter(self), (None, None))
        with no_grad(), suppress(Exception):  # a loss may be for these rows alone, and fail in ways of its own
            z, target = plain(self.output(x)), as_array(y, copy=False)
            once, twice = [
                float(self.loss(Tensor(np.repeat(z, n, axis=0)), np.repeat(target, n, axis=0))) for n in (1, 2)
            ]
            self._mean = not 0 < abs(once) < np.inf or abs(twice / once - 2) > 1e-3
        if self.comm is not None:
            self._mean = all(self.comm.allgather(self._mean))
        if not self._mean:
            raise ValueError(
                f"{self.where}: the loss must be a mean over the batch; of a batch taken twice this one is twice as "
                f"large, as a sum is; divide it by the number of samples"
            )

    # Curvature

    def hessian(self) -> Hessian:
        """Of the mean loss; recorded once, if all data are one batch."""
        if (only := self._only()) is not None:
            return Hessian(lambda: self.at(*only), self.params)
        return Hessian(self.at, self.params, batches=self, count=self.weight, comm=self.comm)

    def gauss_newton(self, damping: float = 0.0) -> GaussNewton:
        """Likewise."""
        if (only := self._only()) is not None:
            x, y = only
            return GaussNewton(lambda: self.output(x), lambda z: self.loss(z, y), self.params, damping=damping)
        return GaussNewton(
            self.output, lambda z, x, y: self.loss(z, y), self.params, batches=self, count=self.weight,
            damping=damping, comm=self.comm,
        )  # fmt: skip

    def _only(self) -> tuple[Any, Any] | None:
        if self.comm is not None:
            return None
        first = iter(self)
        only = next(first)
        return only if next(first, None) is None else None

    # The state of the model

    @contextmanager
    def held(self) -> Iterator[None]:
        """The model and the loss in evaluation mode. Afterwards, whatever has happened, the modes, the values of
        parameters and buffers, and the states of the random generators are what they were."""
        owners = [self.model, self.loss]
        modules = [m for o in owners for m in (o.modules() if hasattr(o, "modules") else [o]) if hasattr(m, "training")]
        modes = [m.training for m in modules]
        tensors = [t for o in owners for kind in ("parameters", "buffers") for t in getattr(o, kind, tuple)()]
        values = [(t, t._ndarray, t._ndarray.copy(), number_of(t)) for t in tensors]
        drawing = generators(model=self.model, loss=self.loss)
        drawn = random_state(drawing)
        try:
            for module in modules:
                module.training = False
            self._require_mean()
            yield
        finally:
            set_random_state(drawing, drawn)
            for module, mode in zip(modules, modes):
                module.training = mode
            for t, array, copy, number in values:
                if number_of(t) != number:
                    t.data = array
                    array = writable(t)
                    array[...] = copy
                    t.data = array
