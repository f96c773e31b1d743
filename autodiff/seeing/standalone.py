"""A page that is one file: its script and style known by their hashes, written whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from ..persistence.files import replace_file


def digest(text: str) -> str:
    """What a content security policy calls a script or a style: nothing else will run, whatever got into the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(script: str, style: str) -> str:
    """The content security policy of a page with this script and this style, that loads nothing."""
    return f"default-src 'none'; base-uri 'none'; script-src {digest(script)}; style-src {digest(style)}"


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
