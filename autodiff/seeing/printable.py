"""Any text as one visible line, and which texts look alike."""

from __future__ import annotations

import re
import unicodedata


def visible(text: str, kept: str = "") -> str:
    """Text with invisible and broken characters as escapes, but for those that are kept.

    >>> visible("a\\nb", kept="\\n"), visible("a\\nb")
    ('a\\nb', 'a\\\\nb')
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in kept else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text
    )


def printable(text: str, limit: int = 48) -> str:
    """Text as one visible line: control characters and newlines as escapes, never empty, shortened in the middle."""
    text = visible(text)
    if not text.strip():
        text = f"'{text}'"
    return text if len(text) <= limit else f"{text[: limit // 2 - 1]}…{text[-(limit // 2 - 1) :]}"


def shortened(name: str, limit: int = 32) -> str:
    """A name as one visible line; of a long path, the end.

    >>> shortened("net.encoder.layers.3.attention.in_proj_weight")
    '…3.attention.in_proj_weight'
    """
    text = printable(name, max(len(name) * 10, 4))
    while len(text) > limit and "." in text.removeprefix("…"):
        text = f"…{text.partition('.')[2]}"
    return printable(text, limit)


# Letters of Greek and Cyrillic that most fonts draw as Latin ones (Unicode Technical Standard 39, "Confusables").
_ALIKE = str.maketrans(
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοАВЕЅІЈКМНОРСТХаеорсухѕіјԛԝ‐‑‒–—−∕⁄∶ꞌ’‘ʼ",
    "ABEZHIKMNOPTYXoABESIJKMHOPCTXaeopcyxsijqw------//:''''",
)
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f]")


def appearance(text: str) -> str:
    """What a reader sees of a text: texts that look alike have the same.

    >>> appearance("р  1") == appearance("p 1")
    True
    """
    return " ".join(_UNSEEN.sub("", unicodedata.normalize("NFC", text)).translate(_ALIKE).split())
