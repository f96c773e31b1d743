"""Layout by Graphviz, without a system Graphviz: by the library that pygraphviz's wheels carry.

The library runs in a process of its own, so that a crash in it never takes down the user's kernel; a `dot` program is
used where only that is there.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence

TIMEOUT = 120
"""Seconds after which a layout is given up."""

INSTALL = (
    "Pictures need a layout program, and there is none: `pip install 'pygraphviz>=2'` (no system package is needed) "
    "or install Graphviz (https://graphviz.org/download)."
)

# Nothing is freed before the bytes are out: freeing is where some versions of the library crash.
_CHILD = """
import os, sys
import pygraphviz
from pygraphviz import graphviz as library
kind, engine = (argument.encode() for argument in sys.argv[1:])
context = library.gvContextWithBuiltins()
kept = []
for source in sys.stdin.buffer.read().decode().split("\\0"):
    picture = pygraphviz.AGraph(string=source)
    if library.gvLayout(context, picture.handle, engine):
        sys.exit(f"no layout engine {engine.decode()!r}")
    rendered = library.gvRenderData(context, picture.handle, kind)
    if not isinstance(rendered, (list, tuple)) or not rendered[1]:
        sys.exit(f"this library cannot draw the format {kind.decode()!r}")
    kept.append((picture, rendered))
    sys.stdout.buffer.write(rendered[1])
sys.stdout.flush()
os._exit(0)
"""


class LayoutError(RuntimeError):
    """No layout program is installed, or it failed; the message says which and what to do."""


def layout(sources: str | Sequence[str], format: str = "svg", engine: str = "dot") -> bytes:
    """The picture of DOT source, as the bytes of a file in this format; of several sources, one after the other.

    Raises:
        LayoutError: without a layout program, or if it fails or takes too long.
    """
    sources = [sources] if isinstance(sources, str) else sources
    commands = []
    if sys.executable and importlib.util.find_spec("pygraphviz") is not None:
        # -P: a file in the working directory must not be taken for a library
        commands += [[sys.executable, "-P", "-c", _CHILD, format, engine]] * 2  # a second time if it crashes
    program = shutil.which(engine)
    if program is not None:
        commands.append([program, f"-T{format}"])
    if not commands:
        raise LayoutError(INSTALL)
    for command in commands:
        text = ("\0" if command[0] == sys.executable else "\n").join(sources)
        try:
            result = subprocess.run(
                command, input=text.encode("utf-8", "replace"), capture_output=True, timeout=TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            raise LayoutError(
                f"the layout of this graph took longer than {TIMEOUT} s; draw less of it, with a smaller max_nodes"
            ) from None
        if result.returncode == 0 and result.stdout:
            return result.stdout
        if result.returncode > 0 and command[0] == sys.executable and program is None:
            break  # it said what is wrong; another time would not help
    reason = result.stderr.decode(errors="replace").strip().splitlines()
    ended = f"it crashed with signal {-result.returncode}" if result.returncode < 0 else "it failed"
    raise LayoutError(f"layout with Graphviz: {ended}" + (f": {reason[-1]}" if reason else ""))
