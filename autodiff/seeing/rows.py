"""What a row of a step table is, the phases it can belong to, and the roles it can have in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..tensor import Tensor
from .formulas import Formula

PHASES = {
    "input": "Forward pass", "forward": "Forward pass",
    "local": "Backward pass", "backward": "Backward pass", "gradient": "Backward pass",
    "update": "Update", "slope": "Slope along u", "second": "Second backward pass",
}  # fmt: skip
"""Every phase a row can belong to, and the heading it stands under."""


AGAIN = " (again)"
"""Behind a cotangent of the first backward pass, where the slope along u tells what it is a function of."""


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
    style: str = "plain"
    """How `value` is written: "plain", "range" (of a Jacobian), or "distinct" from what the first source has."""


class Step(Protocol):
    """What roles are told by."""

    @property
    def step(self) -> int: ...
    @property
    def phase(self) -> str: ...
    @property
    def sources(self) -> Sequence[int]: ...
    @property
    def tensor(self) -> Tensor | None: ...


VALUES = ("input", "forward", "slope")
BACKWARD = ("local", "backward", "gradient", "second")


def roles(rows: Sequence[Step]) -> list[str]:
    """What each step is: a given value, a computed one, a local derivative, the product that always follows it at
    once (with another tensor), a sum of contributions, any other cotangent, or an update."""
    found: list[str] = []
    for row, following in zip(rows, [*rows[1:], None]):
        if found and found[-1] == "local":
            role = "product"
        elif row.phase == "local" or (
            row.phase == "second"
            and following is not None
            and tuple(following.sources[1:2]) == (row.step,)
            and following.tensor is not row.tensor
        ):
            role = "local"
        elif row.phase == "update":
            role = "update"
        elif row.phase in BACKWARD:
            role = "sum" if len(row.sources) > 1 else "cotangent"
        else:
            role = "value" if row.sources else "given"
        found.append(role)
    return found
