"""How SciPy's ufuncs are declared: looked up by name at their first call, so that importing the engine imports no
SciPy, computed in single precision where the inputs are in half, and with words for inputs without a derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any

from ..primitive import declare as declare_record
from ..primitive import internal
from ..protocols import SCIPY_UFUNCS
from .precision import in_single

__all__: list[str] = []


@internal
def scipy_ufunc(name: str) -> Callable[..., Any]:
    """The function of that name in `scipy.special`, looked up at its first call."""
    function: Any = None

    def forward(*arrays: Any) -> Any:
        nonlocal function
        if function is None:
            import scipy.special

            function = getattr(scipy.special, name)
        return function(*arrays)

    return forward


@internal
def declare(
    name: str, forward: Any, vjps: Sequence[Any], *, fixed: Mapping[int, str] | None = None, scipy: str | None = None,
    **options: Any,
) -> Any:  # fmt: skip
    """Declare an elementwise function, as `primitive.declare`.

    Args:
        fixed: what the inputs are called by which there is no derivative; those have None in place of a rule.
        scipy: the name in `scipy.special` of the ufunc that is this function on Tensors.
    """
    single = partial(in_single, together=True)
    rules = [rule and single(rule) for rule in vjps]
    apply = declare_record(name, single(forward), rules, jvps="elementwise", **options)
    if fixed:
        apply = _named(apply, name, fixed)
    if scipy is not None:
        SCIPY_UFUNCS[scipy] = apply
    return apply


def _named(apply: Any, name: str, fixed: Mapping[int, str]) -> Any:
    """The operation, which says by name which input has no derivative."""

    @wraps(apply)
    def checked(*inputs: Any, **params: Any) -> Any:
        for i, what in fixed.items():
            if i < len(inputs) and getattr(inputs[i], "_requires_grad", False):
                raise TypeError(
                    f"{name}: has no derivative by {what} (input {i}), which requires a gradient; "
                    f"pass it detached (t.detach())"
                )
        return apply(*inputs, **params)

    return checked
