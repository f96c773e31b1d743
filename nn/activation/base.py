"""What the activations share."""

from __future__ import annotations

from typing import Any

from ..module.module import Module


def number_like(x: Any, value: float) -> Any:
    """A number in x's dtype: multiplied with a mask it stays there."""
    return x.dtype.type(value)


class Activation(Module):
    """Base of the activations: a function of the input and of the options that `_options` names."""

    _options: tuple[str, ...] = ()

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._options)


class Inplace(Activation):
    """Base of those that accept `inplace`, for PyTorch's sake: it changes nothing."""

    def __init__(self, inplace: bool = False) -> None:
        pass
