"""How docstrings become pages. Needs Sphinx, which comes with ``.[docs]``."""

import pytest

pytestmark = pytest.mark.slow  # these run in .ci/run once the site's packages are there
pytest.importorskip("sphinx", reason="Sphinx is not installed")

from sphinx.ext.napoleon import GoogleDocstring  # noqa: E402

from docs import pages  # noqa: E402


def lines(text):
    return pages.restructured(text.split("\n"))


def test_names_in_backticks_are_code_and_signs_are_themselves():
    assert lines("`Adam` of *args, clip_grad_norm_ and |x|") == [
        r"``Adam`` of \*args, clip_grad_norm\_ and \|x\|"
    ]  # fmt: skip
    assert lines("as ``np.exp(*x)`` is") == ["as ``np.exp(*x)`` is"]


def test_formulas_and_examples_stay_as_they_are():
    text = ["The step::", "", "    w ← w * g_", "", "`w` after it.", ">>> 2 ** 3", "8"]
    assert pages.restructured(text) == [*text[:4], "``w`` after it.", "", ">>> 2 ** 3", "8"]


def test_a_table_of_markdown_is_a_table():
    found = lines("| figure | of |\n| --- | --- |\n| `f` | a *b* |")
    assert found[0] == ".. list-table::"
    assert found[-4:] == ["   * - figure", "     - of", "   * - ``f``", r"     - a \*b\*"]


def test_names_that_share_a_description_are_told_apart():
    assert lines("Args:\n    hidden, activation,\n    loss: as for `NetClassifier`.")[1:] == [
        "    hidden, activation, loss: as for ``NetClassifier``."
    ]


def test_a_page_of_the_reference_describes_every_name_of_its_module():
    page = pages.reference_page("nn.penalty")
    assert page.splitlines()[0] == "Penalties on weights: nn.penalty"
    for name in ("l1", "l2", "lp"):
        assert f".. autofunction:: nn.penalty.{name}\n" in page
    assert "   :inherited-members: Module, object" in pages.reference_page("nn")


@pytest.mark.parametrize("what", ["data", "attribute", "property", "function"])
def test_what_stands_before_a_colon_in_the_first_line_is_kept(what):
    text = ["Counts of n draws: `f(x)`.", "", "Shapes: x (n,)."]
    pages.read_docstring(None, what, "f", None, None, text)
    text[:] = GoogleDocstring(text, what=what, name="f").lines()
    pages.end_fields(None, what, "f", None, None, text)
    assert text == ["Counts of n draws: ``f(x)``.", "", "Shapes: x (n,)."]


def test_a_page_says_which_imports_its_examples_take_and_what_its_borrowed_names_do():
    assert "The examples take ``from autodiff.signal import *``.\n" in pages.reference_page("autodiff.signal")
    page = pages.reference_page("nn")
    assert "- ``nn.manual_seed`` is :py:obj:`autodiff.random.manual_seed`: Start the default generator anew" in page
    assert "from nn import *" in page and ".diagonal" not in page
