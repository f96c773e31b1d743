"""A small table is aligned, says what it leaves out, and gives its numbers in full."""

from autodiff.seeing.table import Table

ROWS = [{"name": f"<{i}>\n", "x": i / 3, "y": None} for i in range(5)]


def test_text_is_aligned_left_numbers_right_and_what_lacks_is_a_dash():
    table = Table(ROWS[:2], {"name": None, "x": "{:.3f}".format, "y": "{:g}".format})
    assert repr(table).splitlines() == [
        "name       x  y",
        "─────  ─────  ─",
        r"<0>\n  0.000  –",
        r"<1>\n  0.333  –",
    ]
    assert table.rows[1]["x"] == 1 / 3 and len(table) == 2


def test_rows_that_are_not_shown_are_counted():
    table = Table(ROWS, {"name": None, "x": str}, most=3)
    assert repr(table).splitlines()[-1] == "… 2 more rows; .rows has all"
    assert "2 more rows" in table._repr_html_()


def test_names_cannot_write_html():
    assert "<0>" not in Table(ROWS, {"name": None})._repr_html_()
    assert "&lt;0&gt;" in Table(ROWS, {"name": None})._repr_html_()


def test_a_table_without_rows_has_its_heads():
    assert repr(Table([], {"name": None})).splitlines() == ["name", "────"]
