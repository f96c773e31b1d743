"""The picture that `graph` returns: a `graphviz.Digraph` that draws itself, follows the reader's theme, and can write
itself as a page."""

from __future__ import annotations

import hashlib
import html
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import graphviz

from ..persistence.files import open_file
from . import layout
from .hierarchy import Hierarchy
from .palette import theme
from .standalone import Page, save, target_of
from .viewer import page_of

TITLE = "computation graph"
"""The tooltip of every graph, by which its DOT source is known again."""

HEIGHT = 600
"""Pixels of the frame in a notebook."""

EXPLORED = 40
"""A notebook shows a picture of more nodes, or of groups that can be opened, as the page."""

shown_before: Counter[str] = Counter()
"""How often pictures were shown in this process, by their prefix: each time the ids are others."""


class Graph(graphviz.Digraph):  # type: ignore[misc]  # the library has no types
    """A `graphviz.Digraph` that draws itself without a system Graphviz: in a notebook, `render`, `pipe`, `save`."""

    filename: str
    directory: str
    hierarchy: Hierarchy
    """What the page of this picture shows."""
    legend: bool = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.boxes: list[tuple[float, float, str]] = []
        """What is drawn as one node: a number before the first result in it, the number of the last, and its name."""
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
        data = layout.layout(self.source, ":".join(filter(None, (kind, renderer, formatter))), engine)
        if kind == "svg" and not renderer and not formatter:
            data = _themed(data.decode(), self._prefix()).encode()
        return data if encoding is None else data.decode(encoding)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> Page:
        """The page of this picture: move and zoom, open modules and repeats, search, and see each tensor's numbers; one
        file that needs nothing else, written to `path` if one is given.

        Returns:
            The page's HTML, a string that a notebook shows as the page.

        Raises:
            TypeError, ValueError, OSError: for what is no path of a file, and one that cannot be written.
            LayoutError: as `pipe`.
        """
        page = Page(page_of(self.hierarchy, self.graph_attr["rankdir"], self.legend), "Graph", HEIGHT)
        if path is not None:
            save(page, path)
        return page

    def _prefix(self) -> str:
        return f"g{hashlib.sha256(self.source.encode('utf-8', 'replace')).hexdigest()[:8]}"

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
            OSError: for a path that cannot be written, as one in a folder that is not there.
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
        target_of("render", target, f"graph.{format or self.format}")
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
        target.write_bytes(data)
        if view or quiet_view:
            self._view(str(target), format=(format or self.format).lower(), quiet=quiet_view)
        return str(target)

    def __repr__(self) -> str:
        visible = (line for line in self.body if not re.match(r"\s*\w+( -> \w+)+ \[style=invis\]", line))
        statements = [line.split("[")[0].strip() for line in visible if "[" in line or " -> " in line]
        edges = sum(" -> " in statement for statement in statements)
        nodes = len(statements) - edges - sum(s.startswith("subgraph ") or s == "graph" for s in statements)
        return f"<Graph: {nodes} node{'s' * (nodes != 1)}, {edges} edge{'s' * (edges != 1)}>"

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None, **_: Any
    ) -> dict[str, Any]:
        try:
            shown: dict[str, Any] = super()._repr_mimebundle_(include, exclude, **_)
        except layout.LayoutError as error:
            page = f"<p>{html.escape(str(error))}</p><pre>{html.escape(self.source)}</pre>"
            return {"text/plain": f"{error}\n\n{self.source}", "text/html": page}
        if (svg := shown.get("image/svg+xml")) is not None:
            prefix = self._prefix()
            shown_before[prefix] += 1
            if (n := shown_before[prefix]) > 1:
                svg = _renamed(svg, prefix, f"{prefix}-{n}")
            shown["image/svg+xml"] = _fitting(svg)
            if include is None and "text/html" not in set(exclude or ()):
                shown["text/html"] = self._framed(svg) if self._is_to_be_explored() else _inline(svg)
        return shown

    def _repr_html_(self) -> str:
        return str(self._repr_mimebundle_()["text/html"])

    def _is_to_be_explored(self) -> bool:
        return len(self.hierarchy.groups) > 1 or len(self.hierarchy.nodes) > EXPLORED

    def _framed(self, svg: str) -> str:
        """The page in a frame of its own; where frames are not shown, the picture that lies behind it is."""
        page = html.escape(self.to_html())
        name = f"{self._prefix()}-{shown_before[self._prefix()]}-frame"
        schemes = "".join(
            f"{mark} #{name}{{color-scheme:{scheme}}}"
            for mark, scheme in (
                ('[data-jp-theme-light="true"]', "light"),
                ('[data-jp-theme-light="false"]', "dark"),
                (".vscode-light", "light"),
                (".vscode-dark", "dark"),
            )
        )
        return (
            f'<style>{schemes}</style><div style="position:relative;min-height:{HEIGHT}px;max-height:{HEIGHT}px;'
            f'overflow:auto"><div aria-hidden="true">{_fitting(svg[svg.index("<svg ") :])}</div>'
            f'<iframe id="{name}" srcdoc="{page}" sandbox="allow-scripts" title="Graph" loading="lazy" '
            'style="position:absolute;inset:0;width:100%;height:100%;border:1px solid #8888;border-radius:6px;'
            'box-sizing:border-box"></iframe></div>'
        )

    def _repr_svg_(self) -> str | None:
        try:
            return _fitting(self.pipe("svg", encoding="utf-8"))
        except layout.LayoutError:
            return None


def _is_ours(source: str) -> bool:
    """Whether a DOT source may be written to this path: there is none, or one that a graph has written."""
    try:
        with open_file(source) as file:
            return re.match(rb'digraph {\s+graph \[[^\n]*tooltip="' + TITLE.encode(), file.read(2000)) is not None
    except FileNotFoundError:
        return True


def _themed(svg: str, prefix: str) -> str:
    """An SVG that follows the reader's theme, its ids told from those of other pictures in the same page."""
    svg = re.sub(r' id="([^"]*)"', rf' id="{prefix}-\1"', svg)
    svg = svg.replace("<svg ", f'<svg id="{prefix}" ', 1)
    return re.sub(r'(<g [^>]*class="graph"[^>]*>)', rf"\1\n<style>{theme(prefix, svg)}</style>", svg, count=1)


def _renamed(svg: str, prefix: str, other: str) -> str:
    return svg.replace(f'id="{prefix}', f'id="{other}').replace(f"#{prefix}", f"#{other}")


def _fitting(svg: str, style: str = "max-width:100%;height:auto") -> str:
    """An SVG that is made smaller where the page is narrower, not cut off."""
    return svg.replace("<svg ", f'<svg style="{style}" ', 1)


def _inline(svg: str) -> str:
    """A picture as a part of a page, where its tooltips work, which they do not in an SVG that a notebook shows as an
    image. It is made smaller where the page is narrower, down to a third; below that it can be scrolled."""
    natural = re.search(r'<svg [^>]*?width="([\d.]+)pt"', svg)
    narrowest = f";min-width:{float(natural[1]) / 3:.0f}pt" if natural else ""
    picture = _fitting(svg[svg.index("<svg ") :], f"max-width:100%;height:auto{narrowest}")
    return f'<div style="overflow-x:auto">{picture}</div>'
