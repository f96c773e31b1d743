"""Functions that are called before and after a step of an optimiser."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from autodiff.tensor import HookHandle

F = TypeVar("F", bound=Callable[..., Any])

PRE, POST = "pre", "post"


def register(hooks: dict[Any, tuple[str, Any]], kind: str, hook: Any) -> HookHandle:
    """Put a function among the hooks, behind those that are there."""
    if not callable(hook):
        raise TypeError(f"register_step_{kind}_hook: takes a function, not {hook!r}")
    handle = HookHandle(hooks)
    hooks[handle.key] = (kind, hook)
    return handle


def hooked(step: F) -> F:
    """Decorator of an optimiser's ``step``: the optimiser's `step_hooks` are called around it, once, also where a step
    calls that of the class above."""

    @functools.wraps(step)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        hooks = self.step_hooks
        if not hooks:
            return step(self, *args, **kwargs)
        self.step_hooks = None
        args = (self, *args)  # as PyTorch tells it
        try:
            for hook in [hook for kind, hook in hooks.values() if kind == PRE]:
                changed = hook(self, args, kwargs)
                if changed is not None:
                    if not (isinstance(changed, tuple) and len(changed) == 2):
                        raise TypeError(
                            f"{type(self).__name__}.step: a hook returns None or (args, kwargs), not {changed!r}"
                        )
                    args, kwargs = changed
            result = step(*args, **kwargs)
            for hook in [hook for kind, hook in hooks.values() if kind == POST]:
                hook(self, args, kwargs)
        finally:
            self.step_hooks = hooks
        return result

    return run  # type: ignore[return-value]  # of the method's own type, which wraps() does not say
