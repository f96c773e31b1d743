"""The quiz: forty questions, each with a page that answers it. That the anchors exist, `test_structure` holds."""

import re

import pytest

from .test_structure import DOCS, anchors, prose

QUESTIONS = re.split(r"^\*\*\d+\.\*\* ", (DOCS / "quiz.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


def test_there_are_forty_questions_numbered_in_order():
    numbers = re.findall(r"^\*\*(\d+)\.\*\* ", (DOCS / "quiz.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(n) for n in numbers] == list(range(1, 41))


@pytest.mark.parametrize("number", range(1, len(QUESTIONS) + 1))
def test_a_question_names_the_section_that_answers_it_and_folds_its_answer_away(number):
    question, shown, folded = re.match(
        r"(.*?)\n\nRead: (.*?)\n\n<details><summary>Answer</summary>\n\n(.*?)\n\n</details>",
        QUESTIONS[number - 1],
        re.DOTALL,
    ).groups()
    assert "?" in question and len(folded) > 20
    addresses = re.findall(r"\]\(([^)]+)\)", shown)
    assert addresses and all("#" in address for address in addresses)


def test_the_anchors_of_a_notebook_are_the_headings_of_its_text():
    notebook = DOCS.parent / "notebooks" / "04_forward_and_reverse.ipynb"
    assert "the-cheap-gradient" in anchors(notebook) and "nothing-of-the-kind" not in anchors(notebook)
    assert "import " not in prose(notebook)
