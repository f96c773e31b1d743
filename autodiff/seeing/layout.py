"""Pictures without a system Graphviz: `graphviz.Digraph` laid out by the library that pygraphviz's wheels carry.

The library runs in a process of its own, so that a crash in it never takes down the user's kernel; a `dot` program is
used where only that is there.
"""

from __future__ import annotations

import html
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import graphviz

from ..persistence.files import open_file

TIMEOUT = 120
"""Seconds after which a layout is given up."""

TITLE = "computation graph"
"""The tooltip of every graph, by which its DOT source is known again."""

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
picture = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
context = library.gvContextWithBuiltins()
if library.gvLayout(context, picture.handle, engine):
    sys.exit(f"no layout engine {engine.decode()!r}")
rendered = library.gvRenderData(context, picture.handle, kind)
if not isinstance(rendered, (list, tuple)) or not rendered[1]:
    sys.exit(f"this library cannot draw the format {kind.decode()!r}")
sys.stdout.buffer.write(rendered[1])
sys.stdout.flush()
os._exit(0)
"""


class LayoutError(RuntimeError):
    """No layout program is installed, or it failed; the message says which and what to do."""


def layout(source: str, format: str = "svg", engine: str = "dot") -> bytes:
    """The picture of DOT source, as the bytes of a file in this format.

    Raises:
        LayoutError: without a layout program, or if it fails or takes too long.
    """
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
        try:
            result = subprocess.run(
                command, input=source.encode("utf-8", "replace"), capture_output=True, timeout=TIMEOUT, check=False
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


class Graph(graphviz.Digraph):  # type: ignore[misc]  # the library has no types
    """A `graphviz.Digraph` that draws itself without a system Graphviz: in a notebook, `render`, `pipe`, `save`."""

    filename: str
    directory: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("format", "svg")
        super().__init__(*args, **kwargs)

    def pipe(
        self,
        format: str | None = None,
        renderer: str | None = None,
        formatter: str | None = None,
        neato_no_op: Any = None,
        quiet: bool = False,
        *,
        engine: str | None = None,
        encoding: str | None = None,
    ) -> Any:
        """The picture as bytes, or as text in an `encoding`.

        Raises:
            ValueError: for a format or engine that Graphviz does not have.
            LayoutError: without a layout program, or if it fails.
        """
        kind, engine = (format or self.format).lower(), engine or self.engine
        if kind not in graphviz.FORMATS:
            raise ValueError(f"unknown format {format!r}; formats are {', '.join(sorted(graphviz.FORMATS))}")
        if engine not in graphviz.ENGINES:
            raise ValueError(f"unknown engine {engine!r}; engines are {', '.join(sorted(graphviz.ENGINES))}")
        if neato_no_op:
            raise ValueError("neato_no_op is not supported: the nodes have no positions yet")
        data = layout(self.source, ":".join(filter(None, (kind, renderer, formatter))), engine)
        return data if encoding is None else data.decode(encoding)

    def render(
        self,
        filename: Any = None,
        directory: Any = None,
        view: bool = False,
        cleanup: bool = False,
        format: str | None = None,
        renderer: str | None = None,
        formatter: str | None = None,
        neato_no_op: Any = None,
        quiet: bool = False,
        quiet_view: bool = False,
        *,
        outfile: Any = None,
        engine: str | None = None,
        raise_if_result_exists: bool = False,
        overwrite_source: bool = False,
    ) -> str:
        """Save the DOT source to `filename` and the picture to ``filename.format`` or to `outfile` (whose suffix
        then is the format); returns the picture's path. With `cleanup` only the picture is written.

        Raises:
            FileExistsError: if the source would replace a file that is no such source.
            OSError: for a path that cannot be written.
            ValueError, LayoutError: as `pipe`.
        """
        if outfile is not None:
            target = Path(self.directory if directory is None else directory, outfile)
            format = format or target.suffix[1:] or None
            filename = target.with_suffix(".gv").name if filename is None else filename
            directory = target.parent if directory is None else directory
        data = self.pipe(format, renderer, formatter, neato_no_op, engine=engine)
        for name, given in {"filename": filename, "directory": directory}.items():
            if given is not None:
                setattr(self, name, os.fspath(given))
        source = self.filepath
        if outfile is None:
            suffix = ".".join(filter(None, (formatter, renderer, (format or self.format).lower())))
            target = Path(f"{source}.{suffix}")
        if raise_if_result_exists and target.exists():
            raise FileExistsError(f"render: {target} exists already")
        if not overwrite_source and target.absolute() == Path(source).absolute():
            raise ValueError(f"render: {target} would overwrite the DOT source; give them different names")
        if not cleanup:
            if not _is_ours(source):
                raise FileExistsError(
                    f"render: {source} exists, and is no DOT source of a graph; give another filename, or "
                    f"cleanup=True, with which only the picture is written"
                )
            self.save()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        if view or quiet_view:
            self._view(str(target), format=(format or self.format).lower(), quiet=quiet_view)
        return str(target)

    def __repr__(self) -> str:
        statements = [line.split("[")[0].strip() for line in self.body if "[" in line or " -> " in line]
        edges = sum(" -> " in statement for statement in statements)
        nodes = len(statements) - edges - sum(s.startswith("subgraph ") or s == "graph" for s in statements)
        return f"<Graph: {nodes} node{'s' * (nodes != 1)}, {edges} edge{'s' * (edges != 1)}>"

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None, **_: Any
    ) -> dict[str, Any]:
        try:
            shown: dict[str, Any] = super()._repr_mimebundle_(include, exclude, **_)
        except LayoutError as error:
            page = f"<p>{html.escape(str(error))}</p><pre>{html.escape(self.source)}</pre>"
            return {"text/plain": f"{error}\n\n{self.source}", "text/html": page}
        if (svg := shown.get("image/svg+xml")) is not None:
            shown["image/svg+xml"] = _fitting(svg)
            if include is None and "text/html" not in set(exclude or ()):
                shown["text/html"] = _inline(svg)
        return shown

    def _repr_svg_(self) -> str | None:
        try:
            return _fitting(self.pipe("svg", encoding="utf-8"))
        except LayoutError:
            return None


def _is_ours(source: str) -> bool:
    """Whether a DOT source may be written to this path: there is none, or one that a graph has written."""
    try:
        with open_file(source) as file:
            return re.match(rb'digraph {\s+graph \[[^\n]*tooltip="' + TITLE.encode(), file.read(2000)) is not None
    except FileNotFoundError:
        return True


def _fitting(svg: str, style: str = "max-width:100%;height:auto") -> str:
    """An SVG that is made smaller where the page is narrower, not cut off."""
    return svg.replace("<svg ", f'<svg style="{style}" ', 1)


def _inline(svg: str) -> str:
    """A picture as a part of a page, where its tooltips work, which they do not in an SVG that a notebook shows as an
    image. It is made smaller where the page is narrower, down to a third; below that it can be scrolled."""
    natural = re.search(r'<svg width="([\d.]+)pt"', svg)
    narrowest = f";min-width:{float(natural[1]) / 3:.0f}pt" if natural else ""
    picture = _fitting(svg[svg.index("<svg ") :], f"max-width:100%;height:auto{narrowest}")
    return f'<div style="overflow-x:auto">{picture}</div>'
