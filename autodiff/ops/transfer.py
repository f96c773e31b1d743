"""From one device to another: an operation whose derivative is the way back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..devices import is_beside, place_of, put
from ..primitive import declare, internal
from ..tensor import Tensor
from .guards import raw
from .samples import unary

__all__: list[str] = []

_transfer = declare(
    "transfer", lambda x, beside: put(x, beside), [lambda g, y, x, beside: transfer(g, place_of(raw(x)))],
    jvps=(lambda t, y, x, beside: transfer(t, beside),), complex=True, formula="{0}", derivatives=["1"], public=False,
    samples=lambda rng: [replace(sample, params={"beside": None}) for sample in unary()(rng)],
    doc="The same values on another device.",
)  # fmt: skip


@internal
def transfer(x: Any, beside: Any) -> Any:
    """An array or a tensor where another array is, or (None) in the processor's memory; itself if it is there."""
    if is_beside(raw(x), beside):
        return x
    return _transfer(x, beside=beside) if isinstance(x, Tensor) else put(x, beside)
