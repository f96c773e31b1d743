"""What a function prints while it is traced: it is held until it is known whether the function runs once more."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_DEBUGGERS = frozenset({"pdb", "bdb", "cmd", "code"})
"""Modules that talk with the user by what they print."""


class Printed:
    """What this thread has written, in its order, and to which stream."""

    def __init__(self) -> None:
        self._parts: list[tuple[Any, str]] = []
        self._thread = threading.get_ident()
        self._open = True

    def add(self, stream: Any, text: str) -> None:
        """Hold a text for a stream; a debugger's, another thread's and what comes later go through."""
        debugged = str(sys._getframe(2).f_globals.get("__name__")).partition(".")[0] in _DEBUGGERS
        if debugged:
            self.release()
        if debugged or not self._open or threading.get_ident() != self._thread:
            stream.write(text)
        else:
            self._parts.append((stream, text))

    def forget(self) -> None:
        """Drop it: the function runs once more, and prints it again."""
        self._parts.clear()

    def release(self) -> None:
        """Write it to where it belongs."""
        parts, self._parts = self._parts, []
        for stream, text in parts:
            stream.write(text)

    def close(self) -> None:
        """Write it, and hold nothing more."""
        self._open = False
        self.release()


class _Held:
    """A stream that holds what is written to it, and is otherwise what it stands for."""

    def __init__(self, stream: Any, printed: Printed) -> None:
        self._stream, self._printed = stream, printed

    def write(self, text: str) -> int:
        self._printed.add(self._stream, text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self._printed.add(self._stream, line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def held_output() -> Iterator[Printed]:
    """While this is open, what is printed waits; at the end it is written, unless it was forgotten.

    >>> with held_output() as printed:
    ...     print("once")
    ...     printed.forget()
    ...     print("once more")
    once more
    """
    printed = Printed()
    streams = sys.stdout, sys.stderr
    held = tuple([stream and _Held(stream, printed) for stream in streams])  # None where there is no console
    sys.stdout, sys.stderr = held
    try:
        yield printed
    finally:
        if sys.stdout is held[0]:
            sys.stdout = streams[0]
        if sys.stderr is held[1]:
            sys.stderr = streams[1]
        printed.close()
