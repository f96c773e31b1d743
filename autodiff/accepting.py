"""Options of PyTorch that constructors take and check, and that then change nothing, or what was made."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def accepting(constructor: Callable[..., None], options: Mapping[str, Callable[[str, Any], Any]]) -> Any:
    """A class's ``__init__`` that takes further keyword arguments.

    Args:
        constructor: the ``__init__``, which does not see them.
        options: by name, a function of what to call the option and its value, which raises if that asks for what cannot
            be; what it returns, if not None, is called with the object when it is made.
    """

    @functools.wraps(constructor)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        named = options.keys() & kwargs.keys()
        changes = [options[name](f"{type(self).__name__}: {name}", kwargs.pop(name)) for name in named]
        constructor(self, *args, **kwargs)
        for change in filter(None, changes):
            change(self)

    signature = inspect.signature(constructor)
    kind = inspect.Parameter.KEYWORD_ONLY
    further = [inspect.Parameter(name, kind, default=None, annotation="None") for name in options]
    before = list(signature.parameters.values())
    last = [before.pop()] if before[-1].kind is inspect.Parameter.VAR_KEYWORD else []
    __init__.__signature__ = signature.replace(parameters=[*before, *further, *last])  # type: ignore[attr-defined]
    return __init__
