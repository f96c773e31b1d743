"""The user's own names for what a program computes.

While a function is traced, the variables of the user's lines are looked at after each line, and the nodes that they
show are called as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ..leaving import is_users_file
from ..tensor import Tensor
from .program import Node
from .tracer import Tracer


@contextmanager
def named_variables(after: Callable[[FrameType, int], None] = lambda frame, number: None) -> Iterator[None]:
    """Name the nodes of traced arrays by the variables to which they are assigned. Under a debugger, or where tests
    measure which lines run, nothing is named, for there is one such look at lines in a thread.

    Args:
        after: called after each of the user's lines, and before it calls another function of the user's, with its
            frame and number.
    """
    if sys.gettrace() is not None:
        yield
        return

    def entered(frame: FrameType, event: str, _: Any) -> Any:
        """Lines are looked at in the user's files alone."""
        if event != "call" or not _is_users(frame):
            return None
        caller = frame.f_back
        while caller is not None and not _is_users(caller):
            caller = caller.f_back
        if caller is not None:
            after(caller, caller.f_lineno)  # which has computed the arguments
        return _Lines(frame, after)

    sys.settrace(entered)
    try:
        yield
    finally:
        sys.settrace(None)


def _is_users(frame: FrameType) -> bool:
    if not is_users_file(frame.f_code.co_filename):
        return False
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    return package not in ("autodiff", "nn", "optim")  # what a dataclass writes for itself has no file


class _Lines:
    """What a frame's variables showed after the line before, and which that was."""

    def __init__(self, frame: FrameType, after: Callable[[FrameType, int], None]) -> None:
        self.before: dict[str, Any] = dict(frame.f_locals)  # arguments have the names that the caller knows
        self.after, self.number = after, 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if event in ("line", "return"):
            if self.number:
                self.after(frame, self.number)
            self.number = frame.f_lineno
            for name, value in frame.f_locals.items():
                if self.before.get(name, self) is not value:
                    self.before[name] = value
                    if type(value) is Tensor:
                        value = value._ndarray
                    if type(value) is Tracer and isinstance(value.node, Node) and not value.node.name:
                        value.node.name = name
        return self
