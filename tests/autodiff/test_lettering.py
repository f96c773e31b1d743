"""Names in figures are one visible line, no formula, in a font that has their letters."""

import numpy as np
import pytest

from autodiff.lettering import families, legible, shown_name

pytest.importorskip("matplotlib")

HOSTILE = ["$x_1$", "_hid", "<b>", "a\\b", "$", "\\frac{1}{2}", "", " ", "^_^", "%d", "a\nb", "\0", "\ud800", "漢字",
           r"a\$b", "$a_$_", "\u200d", "v" * 200]  # fmt: skip


@pytest.fixture
def font(tmp_path):
    """An installed font that has two letters, which the fonts that come with matplotlib lack."""
    builders, pens = pytest.importorskip("fontTools.fontBuilder"), pytest.importorskip("fontTools.pens.ttGlyphPen")
    from matplotlib import font_manager

    pen = pens.TTGlyphPen(None)
    for i, point in enumerate([(0, 0), (0, 700), (700, 700), (700, 0)]):
        pen.lineTo(point) if i else pen.moveTo(point)
    pen.closePath()
    names = [".notdef", "one", "two"]
    builder = builders.FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord("漢"): "one", ord("字"): "two"})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Two Letters", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800)
    builder.setupPost()
    builder.save(tmp_path / "two.ttf")
    manager = font_manager.fontManager
    before = list(manager.ttflist)
    manager.addfont(tmp_path / "two.ttf")
    yield "Two Letters"
    manager.ttflist[:] = before
    manager._findfont_cached.cache_clear()


@pytest.mark.filterwarnings("error")
def test_letters_that_the_users_font_lacks_are_drawn_in_an_installed_one_that_has_them(plt, font):
    own = list(plt.rcParams["font.family"])
    found = families(["abc", "漢字"])
    assert found[: len(own)] == own and len(found) == len(own) + 1 and families(["abc é ∂"]) == own
    assert legible("漢字") == "漢字"
    figure, ax = plt.subplots()
    ax.set_title("漢字 = 2", family=found)
    figure.canvas.draw()


def test_letters_that_no_font_has_are_escapes():
    assert legible("a\U00010f00b") == r"a\U00010f00b"
    assert families(["\U00010f00"]) == families([])


def test_no_name_is_empty_or_long_or_of_two_lines():
    for name in HOSTILE:
        shown = legible(name, 20)
        assert shown.strip() and len(shown) <= 20 and shown.isprintable()
    assert legible("v" * 30 + "w" * 30, 20) == "v" * 9 + "…" + "w" * 9


@pytest.mark.filterwarnings("error")
def test_every_name_is_a_label_and_a_title_that_shows_it(plt):
    figure, ax = plt.subplots()
    for i, name in enumerate(HOSTILE):
        ax.plot([1, 2], label=shown_name(name))
        ax.text(0, i, shown_name(name), family=families([name]))
    ax.legend()
    figure.canvas.draw()
    assert len(ax.get_legend().get_texts()) == len(HOSTILE)


def test_a_dollar_is_drawn_as_a_dollar(plt):
    """As matplotlib draws the same text when told that it is no formula."""
    for name in ("$a_1$", "a$b", r"a\$b"):
        pictures = []
        for text, options in ((shown_name(name), {}), (name, {"parse_math": False})):
            figure = plt.figure(figsize=(2, 1))
            figure.text(0.1, 0.5, text, **options)
            figure.canvas.draw()
            pictures.append(np.asarray(figure.canvas.buffer_rgba()))
        np.testing.assert_array_equal(*pictures)
