"""What a training does with one batch: a step of the optimiser, and the measuring of a loss; as it is or compiled."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np

import autodiff as ad
from autodiff import Tensor, no_grad
from autodiff.clipping import clip_grad_norm_, clip_grad_value_
from autodiff.generators import differ, random_state, set_random_state
from autodiff.ops.guards import common
from autodiff.tensor import plain

from ..optimizer import Optimizer
from ..parallel import Averaging
from ..second_order.base import SecondOrder
from ..second_order.lbfgs import LBFGS
from ..second_order.natural_gradient import NaturalGradient

Found = tuple[Tensor, Any, dict[str, Tensor]]
"""The loss of a batch, the model's output, and other numbers of the step, by the name of their column."""


class NotFinite(ArithmeticError):
    """The loss of a batch, or a gradient of it, is NaN or infinite; the weights are those before the step.

    Attributes:
        found: what the step had found up to there.
    """

    def __init__(self, found: Found) -> None:
        super().__init__("the loss or a gradient is not finite")
        self.found = found


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


def require_applicable(optimizer: Optimizer, **options: Any) -> None:
    """Raise ValueError for options (None where not given) that this optimiser makes no sense of."""
    given = next((name for name, value in options.items() if value is not None), None)
    if given is not None and isinstance(optimizer, (LBFGS, SecondOrder)):
        advice = "give a larger batch_size" if given == "accumulate" else "leave it out"
        raise ValueError(
            f"fit: {given}= is not for {type(optimizer).__name__}, whose step follows from the loss and its own "
            f"derivatives, taken as often as it needs; {advice}"
        )


class Step:
    """``step(x, y)``, a step of the training, and ``step.measure(x, y)``, the loss and the model's output.

    Args:
        model, loss, optimizer, clip_norm, clip_value, penalty: as for `fit`.
        params: what the optimizer trains.
        accumulate: of how many batches a step of the optimiser is.
        generators: gives the random generators that draw, by place.
        backend: None, "numpy" or "native".
        averaging: of the gradients over ranks, if there are several.
    """

    def __init__(
        self, model: Any, loss: Callable[[Any, Any], Tensor], optimizer: Optimizer, params: list[Tensor], *,
        clip_norm: float | None, clip_value: float | None, penalty: Callable[[Any], Tensor] | None, accumulate: int,
        generators: Callable[[], Mapping[str, Any]], backend: str | None, averaging: Averaging | None = None,
    ) -> None:  # fmt: skip
        def measure(x: Any, y: Any) -> tuple[Tensor, Any]:
            output = model(*x) if type(x) is tuple else model(x)
            return loss(output, y), output

        def objective(x: Any, y: Any) -> tuple[Tensor, Found]:
            value, output = measure(x, y)
            require_one_number(value, "fit")
            if penalty is None:
                return value, (value, output, {})
            added = penalty(model)
            require_one_number(added, "fit", "penalty")
            return value + added, (value, output, {"penalty": added})

        def differentiate(x: Any, y: Any, checked: bool) -> Found:
            for p in params:
                p.zero_grad()
            total, found = objective(x, y)
            if checked and not _finite([total]):
                raise NotFinite(found)
            with sending():
                total.backward(retain_graph=False)
            if checked and not _finite([p.grad for p in params if p.grad is not None]):
                raise NotFinite(found)
            return found

        def part(x: Any, y: Any, weight: float, checked: bool = True) -> Found:
            if weight:
                return self._differentiate(x, y, checked)
            for p in params:  # other ranks have samples of this batch
                p.zero_grad()
            with no_grad():
                return Tensor(0.0), None, {} if penalty is None else {"penalty": penalty(model)}

        def averaged() -> None:
            if averaging is not None:
                averaging()
                averaging.clear()

        def go() -> dict[str, Tensor]:
            averaged()
            if clip_value is not None:
                clip_grad_value_(params, clip_value)
            norm = {} if clip_norm is None else {"grad_norm": clip_grad_norm_(params, clip_norm)}
            optimizer.step()
            return norm

        def step(x: Any, y: Any) -> Found:
            value, output, numbers = differentiate(x, y, True)
            return value, output, numbers | go()

        def outside(x: Any, y: Any, weight: float, count: float | None) -> Found:
            value, output, numbers = part(x, y, weight)
            return value, output, numbers | go()

        def gather(x: Any, y: Any, weight: float, count: float | None) -> Found:
            value, output, numbers = part(x, y, weight)
            self._weight += weight
            for i, p in enumerate(params) if weight else ():
                mean, g = self._means.get(i), None if p.grad is None else plain(p.grad)
                if mean is not None:
                    mean += (weight / self._weight) * ((0 if g is None else g) - mean)
                elif g is not None:
                    self._means[i] = (weight / self._weight) * g
            self.pending += 1
            return value, output, numbers | (self.finish() if self.pending == accumulate else {})

        def search(x: Any, y: Any, weight: float, count: float | None) -> Found:
            found: list[Found] = []
            draw = generators()
            before, drew = random_state(draw), False

            def closure() -> Any:  # called more than once, also at points that are too far: with the same draws
                nonlocal drew
                if drew or (len(found) == 1 and differ(before, random_state(draw))):
                    drew = True
                    set_random_state(draw, before)
                if isinstance(optimizer, SecondOrder):
                    total, new = objective(x, y)
                    found.append(new)
                    return (new[1], total) if optimizer.pair else total
                new = part(x, y, weight, not found)
                found.append(new)
                value = new[0] + new[2]["penalty"] if new[2] else new[0]
                if averaging is None:
                    return value
                averaging()
                return Tensor(np.asarray(averaging.mean(value.item()), value.dtype))

            if averaging is not None and isinstance(optimizer, SecondOrder):
                optimizer.comm, optimizer.share = averaging.comm, averaging.share
            try:
                optimizer.step(*([closure, count] if isinstance(optimizer, NaturalGradient) else [closure]))
            except FloatingPointError as error:
                if not found:
                    raise
                raise NotFinite(found[0]) from error
            finally:
                if isinstance(optimizer, SecondOrder):
                    optimizer.comm, optimizer.share = None, 1.0
            if averaging is not None:
                averaging.clear()
            return found[0]

        overlaps = averaging is not None and backend is None and accumulate == 1
        sending: Any = averaging.overlapped if averaging is not None and overlaps else nullcontext
        self._programs: dict[str, Any] = {}
        self.why = ""
        """Why the optimiser's step is no part of a program."""
        self.reached = backend is not None or isinstance(optimizer, SecondOrder)
        """Whether a parameter had a gradient yet, as far as can be told (programs write them all)."""
        self.pending = 0
        """Batches whose gradients wait for a step of the optimiser."""
        self._means: dict[int, Any] = {}
        self._weight, self._params, self._go, self._averaging = 0.0, params, go, averaging
        self.measure, self._differentiate = measure, differentiate
        self._step: Callable[..., Found] = outside
        if isinstance(optimizer, (LBFGS, SecondOrder)):
            self._step = search
        elif accumulate > 1:
            self._step = gather
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

            if isinstance(optimizer, SecondOrder):
                self.why = f"{type(optimizer).__name__} takes products with curvature from recorded graphs"
            elif accumulate > 1 or averaging is not None:
                of = f"of {accumulate} batches" if accumulate > 1 else "over the ranks"
                self.why = f"it takes the mean of the gradients {of}"
                self._differentiate = program(differentiate)
            else:
                try:
                    whole = program(step, optimizer)
                    self._step = lambda x, y, weight, count: whole(x, y)
                except TypeError as error:  # it has no rule for one parameter: the gradient alone is compiled
                    text = str(error).removeprefix("ad.compile: optimizer= takes ").partition(". Compile")[0]
                    self.why = f"it takes {text}"
                    self._differentiate = program(differentiate)
            self.measure = program(measure)

    def __call__(self, x: Any, y: Any, weight: float, count: float | None) -> Found:
        """Train on a batch.

        Args:
            x, y: the batch.
            weight: how much its mean counts among those that are accumulated; 0 for none of the samples, which other
                ranks have.
            count: what the loss says about it, see `counted`.

        Raises:
            NotFinite: the optimiser has made no step.
        """
        found = self._step(x, y, weight, count)
        self.reached = self.reached or any(p.grad is not None for p in self._params)
        return found

    def weigh(self, weight: float, total: float) -> None:
        """The next batch counts so much here, and so much on all ranks together."""
        if self._averaging is not None:
            self._averaging.weigh(weight, total)

    def finish(self) -> dict[str, Tensor]:
        """Step with the mean of the gradients that are pending; returns the numbers of the step."""
        for i, p in enumerate(self._params):
            p.grad = Tensor(self._means[i]) if i in self._means else None
        self._means, self._weight, self.pending = {}, 0.0, 0
        return self._go()

    @property
    def reasons(self) -> list[str]:
        """Why parts of the training run as they are though they were to be compiled."""
        return [why for program in self._programs.values() for why in program.reasons]

    def explain(self) -> str:
        """What was compiled, and what runs as it is and why; '' where nothing was to be compiled."""
        texts = [f"the optimiser's step runs as it is: {self.why}"] if self.why else []
        return "\n".join([*(program.explain() for program in self._programs.values()), *texts])


def require_one_number(value: Any, where: str, what: str = "loss") -> None:
    """Raise unless a loss (or what else) returned one number."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{where}: the {what} must return a Tensor, not {type(value).__name__}")
    if value.size != 1:
        raise ValueError(f"{where}: the {what} must return one number (reduction='mean'), not shape {value.shape}")


def _finite(values: list[Tensor]) -> bool:
    """Whether all are; by one pass without temporaries, after which an overflow only costs a closer look."""
    arrays = [plain(value) for value in values]
    return common(np.isfinite(sum([np.vdot(a, a) for a in arrays]))) or all(np.isfinite(a).all() for a in arrays)
