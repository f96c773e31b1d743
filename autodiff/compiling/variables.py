"""The user's own names for what a program computes.

While a function is traced, the variables of the user's lines are looked at after each line, and the nodes that they
show are called as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ..leaving import is_users_file
from ..tensor import Tensor
from .program import Node
from .tracer import Tracer


@contextmanager
def named_variables() -> Iterator[None]:
    """Name the nodes of traced arrays by the variables to which they are assigned. Under a debugger, or where tests
    measure which lines run, nothing is named, for there is one such look at lines in a thread."""
    if sys.gettrace() is not None:
        yield
        return
    sys.settrace(_entered)
    try:
        yield
    finally:
        sys.settrace(None)


def _entered(frame: FrameType, event: str, _: Any) -> Any:
    """Lines are looked at in the user's files alone."""
    return _Lines(frame) if event == "call" and is_users_file(frame.f_code.co_filename) else None


class _Lines:
    """What a frame's variables showed after the line before."""

    def __init__(self, frame: FrameType) -> None:
        self.before: dict[str, Any] = dict(frame.f_locals)  # arguments have the names that the caller knows

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if event in ("line", "return"):
            for name, value in frame.f_locals.items():
                if self.before.get(name, self) is not value:
                    self.before[name] = value
                    if type(value) is Tensor:
                        value = value._ndarray
                    if type(value) is Tracer and isinstance(value.node, Node) and not value.node.name:
                        value.node.name = name
        return self
