"""A plain function as a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .module import Module


class Lambda(Module):
    """A function of Tensors as a module without parameters; `Sequential` and `MLP` make one of a function themselves.

    Args:
        function: called with what the module is called with. (A model that is pickled needs one with a name of its own,
            at the top level of a module.)

    Raises:
        TypeError: for what is no function: a class of modules among them, of which an instance is meant.

    >>> import nn
    >>> nn.Sequential(nn.Linear(2, 3), np.sin, lambda x: x[..., :1])
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True) · 9 parameters
      (1): Lambda(sin)
      (2): Lambda(<lambda>)
    ) · 9 parameters
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function) or isinstance(function, (type, Module)):
            raise TypeError(f"Lambda: takes a function, not {function!r:.80}")
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the function gives."""
        return self.function(*args, **kwargs)

    def extra_repr(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


def as_module(value: Any) -> Any:
    """A plain function as a `Lambda`, everything else as it is."""
    return Lambda(value) if callable(value) and not isinstance(value, (type, Module)) else value
