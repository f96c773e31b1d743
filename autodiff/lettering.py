"""Names in figures: any text as one visible line, in fonts that have its letters.

matplotlib draws what stands between dollars as a formula, leaves names that begin with an underscore out of a legend,
and draws a box, with a warning, for a letter that its font lacks.
"""

from __future__ import annotations

from collections.abc import Iterable

_fonts: dict[tuple[str, int], tuple[str, str] | None] = {}
"""Family and file of an installed font that has a letter; by the letter, and how many fonts were installed then."""

_OF_FORMULAS = ("cm", "STIXNon", "STIXSize")  # matplotlib's own, with symbols at the places of letters


def legible(name: str, limit: int = 40) -> str:
    """A name as one visible line of at most so many letters: control characters, and letters that no installed font
    has, as escapes; never empty; shortened in the middle. Dollars stay: for texts that are told `parse_math=False`.

    >>> legible("a\\tb"), legible("")
    ('a\\\\tb', "''")
    """
    _search(name)
    drawn = "".join(c if _can_be_drawn(c) else c.encode("unicode_escape", "surrogatepass").decode() for c in name)
    shown = drawn if drawn.strip() else f"'{drawn}'"
    return shown if len(shown) <= limit else f"{shown[: limit // 2 - 1]}…{shown[-(limit // 2 - 1) :]}"


def shown_name(name: str, limit: int = 40) -> str:
    """A legible name as a label or a title: a dollar is a dollar, and an underscore may come first.

    >>> shown_name("cost in $"), shown_name("_hidden")
    ('cost in \\\\$', ' _hidden')
    """
    shown = legible(name, limit).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def families(texts: Iterable[str]) -> list[str]:
    """The font families to draw texts with: the user's, and then such as have the letters these lack."""
    from matplotlib import rcParams

    letters = "".join(sorted(set("".join(texts))))
    _search(letters)
    found, files = list(rcParams["font.family"]), _own_files()
    for letter in letters:
        font = None if any(_has(file, letter) for file in files) else _fonts.get(_key(letter))
        if font is not None:
            found.append(font[0])
            files.append(font[1])
    return found


def _can_be_drawn(letter: str) -> bool:
    if not letter.isprintable():
        return False
    return any(_has(file, letter) for file in _own_files()) or _fonts.get(_key(letter)) is not None


def _search(text: str) -> None:
    """Look through the installed fonts once for all letters that the user's lack."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    own = _own_files()
    lacking = {c for c in text if c.isprintable() and not any(_has(file, c) for file in own) and _key(c) not in _fonts}
    if not lacking:
        return
    fonts = [font for font in fontManager.ttflist if not font.name.startswith(_OF_FORMULAS)]
    for font in sorted(fonts, key=lambda font: (font.style != "normal", font.weight != 400, font.name)):
        # A font of last resort has a box for everything, for what is no character as well.
        if not any(_has(font.fname, c) for c in lacking) or _has(font.fname, "\U0010ffff"):
            continue
        file = str(findfont(FontProperties(family=[font.name])))
        for c in [c for c in lacking if _has(file, c)]:
            _fonts[_key(c)] = font.name, file
            lacking.remove(c)
        if not lacking:
            return
    _fonts.update((_key(c), None) for c in lacking)


def _key(letter: str) -> tuple[str, int]:
    from matplotlib.font_manager import fontManager

    return letter, len(fontManager.ttflist)


def _own_files() -> list[str]:
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont

    return [str(findfont(FontProperties(family=[family]))) for family in rcParams["font.family"]]


def _has(file: str, letter: str) -> bool:
    from matplotlib.font_manager import get_font

    try:
        return bool(get_font(file).get_char_index(ord(letter)))
    except (OSError, RuntimeError):  # a file that is gone, or of a kind that matplotlib cannot read
        return False
