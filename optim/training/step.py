"""What a training does with one batch: a step of the optimiser, and the measuring of a loss; as it is or compiled."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor
from autodiff.clipping import clip_grad_norm_
from autodiff.ops.guards import common
from autodiff.tensor import plain

from ..optimizer import Optimizer
from ..second_order.lbfgs import LBFGS


class NotFinite(ArithmeticError):
    """The loss of a batch, or a gradient of it, is NaN or infinite; the weights are those before the step.

    Attributes:
        loss: as the loss function returned it.
    """

    def __init__(self, loss: Tensor) -> None:
        super().__init__("the loss or a gradient is not finite")
        self.loss = loss


def backend_of(compile: Any) -> str | None:
    """The back end that `fit`'s option stands for, None for none.

    Raises:
        ValueError: for another option.
    """
    if compile is False or compile in ("numpy", "native"):
        return compile or None
    if compile is not True:
        raise ValueError(f"fit: compile is True, False, 'numpy' or 'native', not {compile!r}")
    return "native" if importlib.util.find_spec("llvmlite") is not None else "numpy"


class Step:
    """``step(x, y)``, a step of the training, and ``step.measure(x, y)``; each returns the loss and the model's output.

    Args:
        model, loss, optimizer, clip_norm: as for `fit`.
        params: what the optimizer trains.
        backend: None, "numpy" or "native".
    """

    def __init__(
        self, model: Any, loss: Callable[[Any, Any], Tensor], optimizer: Optimizer, params: list[Tensor],
        clip_norm: float | None, backend: str | None,
    ) -> None:  # fmt: skip
        def measure(x: Any, y: Any) -> tuple[Tensor, Any]:
            output = model(*x) if type(x) is tuple else model(x)
            return loss(output, y), output

        def differentiate(x: Any, y: Any, checked: bool) -> tuple[Tensor, Any]:
            for p in params:
                p.zero_grad()
            value, output = measure(x, y)
            require_one_number(value, "fit")
            if checked and not _finite([value]):
                raise NotFinite(value)
            value.backward(retain_graph=False)
            if checked and not _finite([p.grad for p in params if p.grad is not None]):
                raise NotFinite(value)
            if clip_norm is not None:
                clip_grad_norm_(params, clip_norm)
            return value, output

        def step(x: Any, y: Any) -> tuple[Tensor, Any]:
            found = differentiate(x, y, True)
            optimizer.step()
            return found

        def search(x: Any, y: Any) -> tuple[Tensor, Any]:
            found: list[tuple[Tensor, Any]] = []

            def closure() -> Tensor:  # called more than once, also at points that are too far
                found.append(self._differentiate(x, y, not found))
                return found[-1][0]

            optimizer.step(closure)
            return found[0]

        def outside(x: Any, y: Any) -> tuple[Tensor, Any]:
            found = self._differentiate(x, y, True)
            optimizer.step()
            return found

        self._programs: dict[str, Any] = {}
        self.why = ""
        """Why the optimiser's step is no part of a program."""
        self.measure, self._differentiate, self._step = measure, differentiate, step
        if isinstance(optimizer, LBFGS):
            self._step = search
        if backend is not None:
            for p in params:  # as at all later calls, so that the first needs no program of its own
                if p.grad is None and p.requires_grad:
                    p.grad = Tensor(np.zeros(p.shape, p.dtype))
            trained = model if hasattr(model, "named_parameters") else list(model.parameters())

            def program(function: Any, optimizer: Optimizer | None = None) -> Any:
                made = ad.compile(
                    function, params=trained, optimizer=optimizer, backend=backend, on_unsupported="eager"
                )
                self._programs[function.__name__] = made
                return made

            try:
                self._step = program(step, optimizer)
            except TypeError as error:  # it has no rule for one parameter: the gradient alone is compiled
                self.why = str(error).removeprefix("ad.compile: optimizer= takes ").partition(". Compile")[0]
                self._differentiate = program(differentiate)
                self._step = search if isinstance(optimizer, LBFGS) else outside
            self.measure = program(measure)

    def __call__(self, x: Any, y: Any) -> tuple[Tensor, Any]:
        """Train on a batch.

        Raises:
            NotFinite: the optimiser has made no step.
        """
        return self._step(x, y)

    @property
    def reasons(self) -> list[str]:
        """Why parts of the training run as they are though they were to be compiled."""
        return [why for program in self._programs.values() for why in program.reasons]

    def explain(self) -> str:
        """What was compiled, and what runs as it is and why; '' where nothing was to be compiled."""
        texts = [f"the optimiser's step runs as it is: it takes {self.why}"] if self.why else []
        return "\n".join([*(program.explain() for program in self._programs.values()), *texts])


def require_one_number(value: Any, where: str) -> None:
    """Raise unless a loss returned one number."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{where}: the loss must return a Tensor, not {type(value).__name__}")
    if value.size != 1:
        raise ValueError(f"{where}: the loss must return one number (reduction='mean'), not shape {value.shape}")


def _finite(values: list[Tensor]) -> bool:
    """Whether all are; by one pass without temporaries, after which an overflow only costs a closer look."""
    arrays = [plain(value) for value in values]
    return common(np.isfinite(sum([np.vdot(a, a) for a in arrays]))) or all(np.isfinite(a).all() for a in arrays)
