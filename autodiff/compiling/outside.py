"""What gives something else at each call though nothing that can be compared has changed: clocks, files, entropy.

While a function is traced, calls of these are refused, for a program would have what they gave once. What libraries
ask for their own ends (a record in a log, a line of source for a warning) is let through.
"""

from __future__ import annotations

import builtins
import datetime
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ..leaving import line_of
from .closures import is_users_code
from .tracer import Trace

_CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
_READ = dict[Any, tuple[str, str]]()
"""By function of C: what it reads, and what to write instead."""
_READ |= {
    getattr(time, name): (f"time.{name}() is read", "read the clock outside")
    for name in (*_CLOCKS, *(f"{name}_ns" for name in _CLOCKS), "localtime", "gmtime", "ctime")
    if hasattr(time, name)
}
_READ |= {io.open: ("a file is opened", "read it outside"), builtins.input: ("input() is read", "read it outside")}
_READ |= {os.urandom: ("random numbers are drawn (os.urandom)", "draw outside")}
_NOW = ("now", "utcnow", "today")
_NAMES = {*_NOW, *(function.__name__ for function in _READ)}
_PASSING = (
    "numpy",
    "scipy",
    "pandas",
    "pathlib",
    "gzip",
    "bz2",
    "lzma",
    "zipfile",
    "codecs",
    "secrets",
    "uuid",
    "random",
)
"""Libraries that give the user what they read."""


@contextmanager
def refused_outside(trace: Trace) -> Iterator[None]:
    """While this is open, what this thread reads from outside is refused. Under a profiler nothing is, for there is one
    such look at calls in a thread."""
    if sys.getprofile() is not None:
        yield
        return

    def called(frame: FrameType, event: str, function: Any) -> None:
        if event != "c_call" or function.__name__ not in _NAMES:
            return
        found, kind = _READ.get(function), getattr(function, "__self__", None)
        if function.__name__ in _NOW and isinstance(kind, type) and issubclass(kind, datetime.date):
            found = f"datetime.{function.__name__}() is read", "read the clock outside"
        user = None if found is None else _user_of(frame)
        if found is not None and user is not None:
            what, instead = (
                f"{found[0]}, which would be the same at every call",
                f"{found[1]}, and give it as an argument",
            )
            trace.refuse(what, instead, line_of(user))

    sys.setprofile(called)
    try:
        yield
    finally:
        sys.setprofile(None)


def _user_of(frame: FrameType | None) -> FrameType | None:
    """The user's code that calls it, itself or by a library that gives on what it reads."""
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _PASSING:
        frame = frame.f_back
    if frame is None or not is_users_code(frame.f_code.co_filename):
        return None
    installed = {"site-packages", "dist-packages"} & {*Path(frame.f_code.co_filename).parts}
    return None if installed else frame  # a progress bar, or what a garbage collection calls, times itself
