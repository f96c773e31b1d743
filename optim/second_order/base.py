"""What Newton, NewtonCG, HessianFree, NaturalGradient and KFAC share: one group, closures that return a loss, trials.

They differ from first-order optimisers in that `step` differentiates the recorded loss itself, so that the closure need
not (and should not) call backward, and in that all parameters make one step together.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from autodiff import Tensor, enable_grad
from autodiff.backward import gradients
from autodiff.ranks import sum_over_ranks
from autodiff.transforms.flat import assign, flatten, split

from ..array import Array
from ..optimizer import Optimizer


class SecondOrder(Optimizer):
    """Base of the optimisers that use curvature.

    Steps over a loss that was recorded by `closure`; it is called again at trial points, with the same meaning: within
    a step it must be one function of the parameters (one batch, no fresh dropout), or the comparison of losses means
    nothing. From step to step it may change as it likes; nothing is kept of a graph.
    """

    takes_complex = False
    pair = False
    """Whether the closure returns (output, loss)."""

    comm: Any = None
    """A communicator of mpi4py, if the loss is the sum of what closures return on the ranks, each times its share."""

    share: float = 1.0
    """How much this rank's closure counts in that sum: its part of all samples, for a mean over them."""

    preconditioner: Callable[[float], Any] | None = None
    """A function of the damping that returns a guess of the damped curvature's inverse at the present parameters: a
    positive definite operator (SciPy's, or of `autodiff.curvature`), or a function of a vector."""

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        preconditioner = defaults.pop("preconditioner", None)
        if preconditioner is not None and (not callable(preconditioner) or hasattr(preconditioner, "matvec")):
            raise TypeError(
                f"{type(self).__name__}: preconditioner must be a function of the damping that returns an operator, "
                f"such as lambda damping: K.inverse(damping) for a KFAC K, not {type(preconditioner).__name__}"
            )
        self.preconditioner = preconditioner
        self.memory: dict[str, Any] = {}
        super().__init__(params, defaults)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Refused after the first: all parameters make one step together."""
        if self.param_groups:
            name = type(self).__name__
            raise ValueError(f"{name}: takes one parameter group, since all parameters make one step together")
        super().add_param_group(group)

    # The closure

    def recorded(self, closure: Callable[[], Any] | None) -> tuple[Any, Tensor]:
        """The output (None without one) and the loss at the present point, recorded and checked."""
        name = f"{type(self).__name__}.step"
        if not callable(closure):
            wanted = "the pair (output, loss)" if self.pair else "the loss"
            raise TypeError(f"{name}: needs a closure that computes and returns {wanted}, not {closure!r}")
        for i, p in enumerate(self._all()):
            if not p.requires_grad:
                raise ValueError(
                    f"{name}: parameter {i} (shape {p.shape}) requires no gradient; give the optimiser those that do, "
                    f"[p for p in model.parameters() if p.requires_grad]"
                )
        self.stepped = True
        self._require_apart()
        output, loss = self._called(closure)
        if not loss.requires_grad:
            raise RuntimeError(
                f"{name}: the loss that the closure returned was not recorded: it was computed from constants, from "
                f".data or .numpy(), or under no_grad()"
            )
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"{name}: the loss is {loss.item()} at the present parameters")
        return output, loss

    def opened(self, closure: Callable[[], Any] | None) -> tuple[Any, Tensor, Array, Array]:
        """How steps begin that take the curvature from the output: the output and the loss at the present point,
        recorded; that point; and the gradient there, of weight decay too, as one vector."""
        output, loss = self.recorded(closure)
        params = self._all()
        x, slopes = point(params), gradients(loss, params, allow_unused=True)
        decay = x.dtype.type(self.param_groups[0]["weight_decay"])
        return output, loss, x, self.finite_gradient(self.total(flatten(slopes, params)) + decay * x)

    def height(self, loss: Tensor, x: Array) -> tuple[float, float]:
        """The whole loss at x, of which this is the recorded one, and its rounding error."""
        value = self.total(loss.item())
        return value + self.added(x), rounding(loss, value)

    def gauss_newton(self, output: Any, loss: Tensor) -> Callable[[Array], Array]:
        """v ↦ G v of the whole loss, of which this is recorded."""
        product = gauss_newton(output, loss, self._all(), type(self).__name__)
        return lambda v: np.asarray(self.total(product(v)))

    def total(self, part: Any) -> Any:
        """A number or an array, of the whole loss."""
        if self.comm is None:
            return part
        whole = sum_over_ranks(part, self.comm)
        return float(whole) if isinstance(part, float) else whole

    def _called(self, closure: Callable[[], Any]) -> tuple[Any, Tensor]:
        name = f"{type(self).__name__}.step"
        with enable_grad():  # at trial points too: closures written for LBFGS call backward
            result = closure()
        output: Any = None
        if self.pair:
            if not isinstance(result, (tuple, list)) or len(result) != 2 or not isinstance(result[0], Tensor):
                raise TypeError(
                    f"{name}: the closure must return (output, loss), the model's output and the loss computed from "
                    f"it, both Tensors, not {_described(result)}"
                )
            output, result = result
        if not isinstance(result, Tensor):
            raise TypeError(f"{name}: the closure must return the loss as a Tensor, not {_described(result)}")
        if result.size != 1:
            raise ValueError(f"{name}: the loss has shape {result.shape}; it must be one number (.sum(), .mean())")
        return output, result if self.comm is None else self.share * result

    def finite_gradient(self, g: Array) -> Array:
        """The gradient, after checking it."""
        if not np.isfinite(g).all():
            raise FloatingPointError(
                f"{type(self).__name__}.step: the gradient has {int((~np.isfinite(g)).sum())} entries of {g.size} that "
                f"are NaN or infinite; the parameters are as before"
            )
        return g

    def preconditioner_at(self, damping: float) -> Callable[[Array], Array] | None:
        """r ↦ M r at the present point, as `preconditioner` makes it there; None without one."""
        if self.preconditioner is None:
            return None
        made = self.preconditioner(damping)
        product = made if callable(made) and not hasattr(made, "matvec") else getattr(made, "matvec", None)
        if product is None:
            raise TypeError(
                f"{type(self).__name__}.step: preconditioner(damping) must return an operator or a function of a "
                f"vector, not {type(made).__name__}"
            )

        def inverse(r: Array) -> Array:
            z = np.asarray(product(r))
            if z.shape != r.shape or not np.isfinite(z).all():
                raise ValueError(
                    f"{type(self).__name__}.step: the preconditioner made of a vector of shape {r.shape} one of shape "
                    f"{z.shape}{'' if z.shape != r.shape else ' that is not finite'}"
                )
            return z.astype(r.dtype, copy=False)

        return inverse

    # Trials

    def trial(self, closure: Callable[[], Any], x: Array) -> float:
        """The loss with other parameters, which stay; inf where it is not finite."""
        assign(self._all(), x)
        f = self.added(x) + self.total(self._called(closure)[1].item())
        return f if math.isfinite(f) else math.inf

    def added(self, x: Array) -> float:
        """What the optimiser itself adds to the loss: ½ λ ‖x‖² with weight decay λ."""
        decay = self.param_groups[0].get("weight_decay", 0.0)
        return 0.5 * float(decay) * float(x @ x) if decay else 0.0

    def guarded(self, x: Array) -> _Guarded:
        """A context that puts the parameters back to x if an exception leaves it."""
        return _Guarded(self._all(), x)

    def backtrack(
        self, closure: Callable[[], Any], x: Array, d: Array, f: float, slope: float, noise: float,
        t: float = 1.0, shrink: float = 0.5, c: float = 1e-4, most: int = 60,
    ) -> tuple[float, float]:  # fmt: skip
        """Go from x along d, the first of t, shrink t, … with f(x + t d) ≤ f + c t slope; returns (t, f there).

        If none is found the parameters are put back to x, and t is 0. `noise` is the rounding error of f.
        """
        for _ in range(most):
            value = self.trial(closure, x + t * d)
            if value <= f + c * t * slope + noise:
                return t, value
            t *= shrink
        assign(self._all(), x)
        return 0.0, f

    # State

    def state_dict(self) -> dict[str, Any]:
        """A snapshot: the hyper-parameters with the present radius or damping, and what is kept between steps."""
        return {**super().state_dict(), "state": copy.deepcopy(self.memory)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a snapshot that `state_dict` took for parameters of the same number and shapes.

        Raises:
            TypeError: if that is no such dict.
            ValueError: for other counts or shapes; the optimiser is then unchanged.
        """
        whole = isinstance(state_dict, Mapping) and "state" in state_dict
        memory = dict(state_dict["state"]) if whole else {}
        size = sum(p.size for p in self._all())
        for key, value in memory.items():
            if isinstance(value, np.ndarray) and value.shape[-1:] != (size,):
                raise ValueError(
                    f"{type(self).__name__}.load_state_dict: the parameters have {size} entries, the snapshot's "
                    f"{key} has shape {value.shape}"
                )
        super().load_state_dict({**state_dict, "state": {}} if whole else state_dict)
        self.memory = copy.deepcopy(memory)


class _Guarded:
    def __init__(self, params: list[Tensor], x: Array) -> None:
        self.params, self.x = params, x

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is not None:
            assign(self.params, self.x)


def point(params: list[Tensor]) -> Array:
    """The parameters as one vector."""
    return flatten(params)


def rounding(loss: Tensor, f: float) -> float:
    """How much of a difference of two losses of this size may be rounding."""
    return 10 * float(np.finfo(loss.dtype).eps) * abs(f)


def gauss_newton(output: Tensor, loss: Tensor, params: list[Tensor], name: str) -> Callable[[Array], Array]:
    """v ↦ Jᵀ H J v of a recorded pair: H is the Hessian of the loss by the output, from the graph between them."""
    from autodiff.curvature.recorded import Pullback, Pushforward  # needs SciPy

    slope = gradients(loss, output, create_graph=True, allow_unused=True)[0] if output.requires_grad else None
    if slope is None:
        raise ValueError(
            f"{name}.step: the loss was not computed from the output (shape {output.shape}) that the closure "
            f"returned with it, or that does not depend on the parameters; return the very Tensor that the loss takes"
        )
    push, outer, pull = Pushforward(output, params), Pullback([slope], [output]), Pullback([output], params)

    def product(v: Array) -> Array:
        tangents = [part.astype(p.dtype, copy=False) for part, p in zip(split(v, params), params)]
        (bent,) = outer([push(tangents)])
        return np.zeros_like(v) if bent is None else flatten(pull([bent]), params).astype(v.dtype, copy=False)

    return product


def _described(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {', '.join(type(v).__name__ for v in value) or 'nothing'}"
    return f"{type(value).__name__}"
