"""Formulas stay true when they are simplified, and are mathematics for a browser whatever stands in them."""

import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autodiff as ad
from autodiff.primitive import REGISTRY, filled
from autodiff.seeing.formulas import Formula, name_mathml, read, superscript

RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
MATHML = {"math", "mi", "mn", "mo", "mtext", "mrow", "mfrac", "msup", "msub", "msqrt", "mroot", "mspace"}


def value(text, **names):
    """What Python says a formula is."""
    text = re.sub(r"[⁻⁰¹²³⁴-⁹]+", lambda found: f"**({found[0].translate(RAISED)})", text)
    text = re.sub(r"√(\w+)", r"sqrt(\1)", text.replace("·", "*").replace("^", "**").replace("−", "-"))
    return eval(text, {"sqrt": math.sqrt}, names)  # a text of this file's own making


def inside(mathml):
    return ElementTree.fromstring(f"<math>{mathml.replace('&#x2061;', '')}</math>")


@given(st.sampled_from([-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0]), st.floats(0.25, 4.0))
def test_a_power_and_its_derivative_keep_their_values_when_the_exponent_is_a_number(p, x):
    record = REGISTRY["power"]
    numbers = (("1", p),)
    formula = str(Formula(record.formula, ("x", f"({p:g})"), numbers=numbers))
    slope = str(Formula(record.derivatives[0], ("x", f"({p:g})"), numbers=numbers))
    assert value(formula, x=x) == pytest.approx(x**p, rel=1e-12)
    assert value(slope, x=x) == pytest.approx(p * x ** (p - 1), rel=1e-5)  # numbers in formulas have six digits
    assert "^ (" not in slope or not p.is_integer()


@given(st.sampled_from(["add", "subtract", "multiply", "divide"]), st.sampled_from([-2.5, -1.0, 0.0, 1.0, 3.0]))
def test_arithmetic_with_a_number_keeps_its_value(name, number):
    record = REGISTRY[name]
    operation = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}[name]
    for places, numbers in ((("x", f"({number:g})"), ("1", number)), ((f"({number:g})", "x"), ("0", number))):
        expected = f"{places[0]}{operation}{places[1]}"
        if name == "divide" and number == 0 and numbers[0] == "1":
            continue
        shown = str(Formula(record.formula, places, numbers=(numbers,)))
        assert value(shown, x=1.75) == pytest.approx(eval(expected, {"x": 1.75}))


def test_the_formulas_that_people_read_are_the_short_ones():
    power = REGISTRY["power"].derivatives[0]
    shown = [str(Formula(power, ("v2", "n"), numbers=(("1", p),))) for p in (2.0, 3.0, 1.0, -1.0)]
    assert shown == ["2 · v2", "3 · v2²", "1", "−v2⁻²"]
    assert str(Formula("{0} ^ {1}", ("∂L/∂a", "2"), numbers=(("1", 2.0),))) == "(∂L/∂a)²"
    assert [superscript(n) for n in (2, -10)] == ["²", "⁻¹⁰"]
    assert str(Formula("{0} ^ ({1} + 1)", ("x", "2"), numbers=(("1", 2.0),))) == "x³"


def test_a_mean_says_how_many_it_is_of_and_nothing_of_one():
    x = ad.Tensor([1.0, 2.0, 4.0, 5.0], requires_grad=True, name="x")
    local = lambda y: next(row.expression for row in ad.explain(y).rows if row.phase == "local")
    assert local(x.mean()) == "1 / 4" and local(x[:1].mean()) == "1"
    assert local(x.var()) == "2 (x − mean x) / 4" and local(x.var(ddof=1)) == "2 (x − mean x) / 3"


def test_a_formula_of_the_user_keeps_its_own_letters():
    root = ad.primitive(
        lambda a: a**2, name="own", vjps=[lambda g, y, a: g * 2 * a], formula="{0} of n", derivatives=["n"]
    )
    x = ad.Tensor([1.0, 2.0], requires_grad=True, name="x")
    expressions = [row.expression for row in ad.explain(root(x).sum()).rows]
    assert "x of n" in expressions and "n" in expressions


@pytest.mark.parametrize("record", REGISTRY.values(), ids=lambda record: record.name)
def test_every_formula_of_the_records_is_well_formed_mathematics_that_names_what_it_reads(record):
    for template in filter(None, (record.formula, *record.derivatives)):
        names = {"0": "αα", "1": "ββ", "2": "γγ", "3": "δδ", "y": "ωω"}
        formula = Formula(template, ("αα", "ββ", "γγ", "δδ"), "ωω")
        tree = inside(formula.mathml())
        assert {part.tag for part in tree.iter()} <= MATHML
        said = "".join(tree.itertext())
        assert {place for place, name in names.items() if name in said} == formula.reads()
        assert str(formula) == filled(template, formula.inputs, formula.output)


def test_most_formulas_are_read_and_not_only_copied():
    templates = [record.formula for record in REGISTRY.values() if record.formula and "∂" not in record.formula]
    assert sum(read(t) is not None for t in templates) > 0.5 * len(templates)
    assert inside(Formula("1 / (2 · {y})", (), "y").mathml()).find(".//mfrac") is not None
    assert inside(Formula("{0} ^ {1}", ("x", "2"), numbers=(("1", 2.0),)).mathml()).find(".//msup") is not None


@given(st.text(max_size=30))
def test_any_name_is_shown_as_text(name):
    tree = inside(name_mathml(name))
    assert {part.tag for part in tree.iter()} <= MATHML
    if name.isprintable() and "∂" not in name:
        assert "".join(tree.itertext()) == name


@given(st.text(alphabet="{}01y()+−·/^² √|log exp", max_size=25))
def test_any_template_is_read_or_left_as_it_is(template):
    formula = Formula(template, ("a", "b"), numbers=(("1", 2.0),))
    assert {part.tag for part in inside(formula.mathml()).iter()} <= MATHML and isinstance(str(formula), str)


def test_deep_nesting_is_left_as_it_is():
    deep = "(" * 5000 + "{0}" + ")" * 5000
    assert str(Formula(deep, ("x",))).count("(") == 5000 and "mtext" in Formula(deep, ("x",)).mathml()


def test_a_partial_derivative_is_a_fraction_at_any_depth():
    tree = inside(name_mathml("∂s/∂(∂L/∂w)"))
    assert len(tree.findall(".//mfrac")) == 2 and "".join(tree.itertext()) == "∂s∂(∂L∂w)"
    assert np.all([inside(name_mathml(name)).find("mfrac") is None for name in ("∂", "∂L", "∂(a/∂b", "a/∂b")])
