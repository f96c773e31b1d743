"""A page that is one file: its script and style known by their hashes, written whole or not at all.

standalone.html is the frame of all pages. Its data are JSON in it, where nothing is markup.
"""

from __future__ import annotations

import base64
import hashlib
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


def standalone(name: str, data: Any, style: str = "", **texts: Any) -> str:
    """The text of a page that loads nothing and runs nothing but its own script.

    Args:
        name: of the files in this folder that are its body (.html), look (.css) and script (.js).
        data: what the script reads in the element ``data``.
        style: a style sheet in addition.
        texts: for the places of the body, as HTML; ``title`` also for the frame.
    """
    assets = resources.files(__package__)
    body, look, script = (assets.joinpath(name + end).read_text("utf-8") for end in (".html", ".css", ".js"))
    style = look + style
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


def save(page: str, path: str | os.PathLike[str]) -> None:
    """Write a page: whole, or not at all.

    Raises:
        OSError: for a path that cannot be written.
    """
    target = Path(os.path.realpath(os.fspath(path)))
    if target.exists() and not target.is_file():
        target.write_text(page, "utf-8")  # a device or a pipe is written to, not replaced; a directory is refused
    else:
        replace_file(target, lambda file: file.write(page.encode()))
