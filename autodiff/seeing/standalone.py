"""A page that is one file: its script and style known by their hashes, written whole or not at all.

standalone.html is the frame of all pages. Its data are JSON in it, where nothing is markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from ..persistence.files import replace_file


def digest(text: str) -> str:
    """What a content security policy calls a script or a style: nothing else will run, whatever got into the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def standalone(name: str, data: Any, style: str = "", more: str = "", **texts: Any) -> str:
    """The text of a page that loads nothing and runs nothing but its own script.

    Args:
        name: of the files in this folder that are its body (.html), look (.css) and script (.js).
        data: what the script reads in the element ``data``.
        style: a style sheet in addition.
        more: a script in addition.
        texts: for the places of the body, as HTML; ``title`` also for the frame.
    """
    assets = resources.files(__package__)
    body, look, script = (assets.joinpath(name + end).read_text("utf-8") for end in (".html", ".css", ".js"))
    style, script = look + style, script + more
    return Template(assets.joinpath("standalone.html").read_text("utf-8")).substitute(
        policy=f"default-src 'none'; base-uri 'none'; script-src {digest(script)}; style-src {digest(style)}",
        title=texts["title"],
        style=style,
        body=Template(body).substitute(texts).rstrip(),
        data=_harmless(data),
        script=script,
    )


def _harmless(data: Any) -> str:
    """Data as JSON in which nothing can end the element that it is in."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class Page(str):
    """The text of a page. In a notebook it shows itself in a frame of its own."""

    heading: str
    """What the frame is called."""
    height: int
    """Of the frame, in pixels."""

    def __new__(cls, text: str, heading: str, height: int) -> Page:
        page = super().__new__(cls, text)
        page.heading, page.height = heading, height
        return page

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{html.escape(str(self))}" sandbox="allow-scripts" title="{self.heading}" '
            f'width="100%" height="{self.height}" '
            'style="border: 1px solid #8888; border-radius: 6px; box-sizing: border-box"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<page of {len(self):,} characters; write it with to_html(path)>"


def target_of(where: str, path: Any, example: str) -> Path:
    """The path of a file to be written, checked: it may lie only in a folder that is there.

    Args:
        where: the function that was called.
        path: what it was given.
        example: the name of such a file.

    Raises:
        TypeError, ValueError: for what is no path.
        OSError: for a folder, and a path in one that does not exist.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{where}: takes the path of a file to be written, as {example!r}, not {path!r}")
    text = os.fsdecode(path)
    if not text:
        raise ValueError(f"{where}: takes the path of a file to be written, as {example!r}, not an empty one")
    target = Path(text)
    if target.is_dir():
        raise IsADirectoryError(f"{where}: {text} is a folder; write {str(target / example)!r}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{where}: there is no folder {target.parent} for {target.name}; make it first")
    return target


def save(page: str, path: str | os.PathLike[str]) -> None:
    """Write a page: whole, or not at all.

    Raises:
        TypeError, ValueError, OSError: as `target_of`, and for a path that cannot be written.
    """
    target = Path(os.path.realpath(target_of("to_html", path, "page.html")))
    if target.exists() and not target.is_file():
        target.write_text(page, "utf-8")  # a device or a pipe is written to, not replaced
    else:
        replace_file(target, lambda file: file.write(page.encode()))
