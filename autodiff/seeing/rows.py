"""What a row of a step table is, and the phases it can belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..tensor import Tensor
from .formulas import Formula

PHASES = {
    "input": "Forward pass", "forward": "Forward pass",
    "local": "Backward pass", "backward": "Backward pass", "gradient": "Backward pass",
    "update": "Update", "slope": "Slope along u", "second": "Second backward pass",
}  # fmt: skip
"""Every phase a row can belong to, and the heading it stands under."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One step of the table: what is computed, from what, and the number."""

    step: int
    quantity: str
    expression: str
    value: str
    """`number` as text, with the table's digits."""
    sources: tuple[int, ...]
    """Steps from which the factors come; of a product in a backward pass, first the cotangent, then the local
    derivative."""
    phase: str
    """One of `PHASES`."""
    tensor: Tensor | None
    """The tensor whose node this belongs to: the result of the operation for a local derivative ∂y/∂x, the tensor
    differentiated by for a cotangent; None for an array that took part as a constant."""
    number: Any
    """The array itself; None for a Jacobian that is not computed because it is large."""
    formula: Formula | None = None
    """The expression with its names apart; None for a word."""
