"""How docstrings become pages. Needs Sphinx, which comes with ``.[docs]``."""

import pytest

pytestmark = pytest.mark.slow  # these run in .ci/run once the site's packages are there
pytest.importorskip("sphinx", reason="Sphinx is not installed")

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
