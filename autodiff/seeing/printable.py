"""Any text as one visible line."""

from __future__ import annotations


def printable(text: str, limit: int = 48) -> str:
    """Text as one visible line: control characters and newlines as escapes, never empty, shortened in the middle."""
    if not text.isprintable():
        text = "".join(
            c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text
        )
    if not text.strip():
        text = f"'{text}'"
    return text if len(text) <= limit else f"{text[: limit // 2 - 1]}…{text[-(limit // 2 - 1) :]}"
