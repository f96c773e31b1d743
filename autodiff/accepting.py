"""Options of PyTorch that can only ask for what is so anyway: constructors take, check and drop them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def accepting(constructor: Callable[..., None], options: Mapping[str, Callable[[str, Any], None]]) -> Any:
    """A class's ``__init__`` that takes further keyword arguments.

    Args:
        constructor: the ``__init__``, which does not see them.
        options: by name, a function of what to call the option and its value, which raises if that asks for more.
    """

    @functools.wraps(constructor)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in options.keys() & kwargs.keys():
            options[name](f"{type(self).__name__}: {name}", kwargs.pop(name))
        constructor(self, *args, **kwargs)

    signature = inspect.signature(constructor)
    kind = inspect.Parameter.KEYWORD_ONLY
    further = [inspect.Parameter(name, kind, default=None, annotation="None") for name in options]
    before = list(signature.parameters.values())
    last = [before.pop()] if before[-1].kind is inspect.Parameter.VAR_KEYWORD else []
    __init__.__signature__ = signature.replace(parameters=[*before, *further, *last])  # type: ignore[attr-defined]
    return __init__
