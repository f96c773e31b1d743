"""Tensors are called alike everywhere, by the names the program gave them."""

import gc
import html
import re
import weakref

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
import nn
from autodiff.seeing.graph import graph
from autodiff.seeing.names import LIMIT, Names, names_behind, parameter_name, variables

outside = ad.Tensor(2.0, requires_grad=True)


def by_node(picture):
    """The first line of each tensor of a picture, by its node."""
    found = re.findall(r"\t(t\w+) \[label=<(.*?)> class", picture.source)
    return {node: html.unescape(re.sub("<[^>]*>", "", label.split("<BR/>")[0])) for node, label in found}


def titles(picture):
    return set(by_node(picture).values())


def test_results_are_called_as_the_variables_that_hold_them_in_table_picture_and_page():
    w = ad.Tensor(0.5, requires_grad=True)
    h = np.tanh(w * 3.0)
    loss = h * h
    table = ad.explain(loss)
    assert [row.quantity for row in table.rows[:4]] == ["w", "v1", "h", "loss"]
    assert titles(graph(loss)) >= {"w", "v1", "h", "loss"}
    page = table.to_html()
    assert all(f">{name}</text>" in page for name in ("w", "v1", "h", "loss"))


def test_the_names_of_variables_can_be_switched_off():
    w = ad.Tensor(0.5, requires_grad=True)
    loss = np.tanh(w * 3.0)
    assert {row.quantity for row in ad.explain(loss, variables=False).rows[:3]} == {"v1", "v2", "L"}
    assert "loss" not in graph(loss, variables=False).source and "loss" in graph(loss).source


def test_a_module_in_a_variable_is_known_without_being_named_in_picture_page_and_table():
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    first, p = model[0], model[2].bias  # a part of it, and what a loop has left
    loss = model(ad.Tensor(np.ones((4, 2), "f"))).sum()
    picture = graph(loss)
    assert "model.0 · Linear" in graph(loss, compact=False).source and "first" not in picture.source
    assert ">model.0<" in picture.source and ">model.2<" in picture.source
    assert "model.0" in picture.to_html() and "model.2.bias" in picture.to_html()
    assert {"model.0.weight", "model.2.bias"} <= set(ad.explain(loss).names.values()) and p is not first
    for names, name in (({"net": model}, "net.2.bias"), (model, "layer2.bias")):
        assert name in graph(loss, names=names, compact=False).source
        assert "model." not in graph(loss, names=names, compact=False).source
        assert name in set(ad.explain(loss, names=names).names.values())
    off = graph(loss, variables=False, compact=False).source
    assert "model" not in off and "Linear" not in off
    assert not any("." in name for name in ad.explain(loss, variables=False).names.values())


def test_a_carried_name_counts_more_than_a_place_in_a_module_and_a_variable_that_cannot_answer_is_passed_over():
    class Broken:
        def named_parameters(self):
            raise RuntimeError("not today")

    class Foreign:
        def named_parameters(self):
            return [("weight", 3.0)]

    broken, foreign, other = Broken(), Foreign(), nn.Linear(2, 2)
    layer = nn.Linear(2, 1)
    layer.bias.name = "offset"
    loss = layer(ad.Tensor(np.ones((1, 2), "f"))).sum()
    names = set(ad.explain(loss).names.values())
    assert {"offset", "layer.weight", "loss"} <= names and {broken, foreign, other}
    assert "other" not in graph(loss).source and "layer" in graph(loss, compact=False).source


def test_a_name_given_or_carried_counts_more_than_a_variable():
    a, b = ad.Tensor(1.0, requires_grad=True, name="mine"), ad.Tensor(2.0, requires_grad=True)
    out = a * b
    assert set(ad.explain(out, names={"out": b}).names.values()) == {"mine", "out", "L"}


def test_local_variables_count_more_than_global_ones_and_private_ones_nothing():
    _hidden = ad.Tensor(3.0, requires_grad=True)
    inside = outside
    total = inside * _hidden
    assert set(ad.explain(total).names.values()) == {"inside", "v1", "total"}

    def scope():
        return ad.explain(total)

    assert set(scope().names.values()) == {"outside", "v1", "total"}  # a variable of the function around it, too


def test_asking_for_names_keeps_nothing_alive():
    gc.disable()
    try:
        x = ad.Tensor([1.0, 2.0], requires_grad=True)
        y = np.tanh(x).sum()
        ad.explain(y), graph(y)
        there = weakref.ref(x), weakref.ref(y)
        del x, y
        assert [r() for r in there] == [None, None]
    finally:
        gc.enable()


def test_names_are_read_where_anything_may_be_a_variable():
    class Odd:
        def __getattribute__(self, name):
            raise RuntimeError(name)

    odd, held = Odd(), ad.Tensor(1.0)
    import sys

    assert variables(sys._getframe())[held._number] == "held" and odd is not None


def test_no_name_of_a_parameter_reads_as_a_number():
    assert parameter_name("", "0.weight") == "layer0.weight" and parameter_name("net", "0.weight") == "net.0.weight"
    model = nn.Sequential(nn.Linear(2, 1, dtype=float), nn.Tanh())
    y = model(ad.Tensor([1.0, 2.0], name="x")).sum()
    table = ad.explain(y, names=model)
    assert not any(re.match(r"\d+\.\D", name) for name in table.names.values())
    assert "layer0.weight" in titles(graph(y, names=model, compact=False)) and "layer0.weight" in table.names.values()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=12), st.booleans())
def test_picture_and_table_number_the_same_tensors_alike(steps, constant):
    values = [ad.Tensor(1.5, requires_grad=True), ad.Tensor([1.0, 2.0], requires_grad=True)]
    for i, j in steps:
        values.append(values[i % len(values)] * values[j % len(values)] + (np.array([0.5, 2.0]) if constant else 0.5))
    total = values[-1].sum()
    table = ad.explain(total, variables=False)
    arrays = {row.quantity for row in table.rows if row.tensor is None}
    assert titles(graph(total, variables=False, compact=False)) >= set(table.names.values()) | arrays
    drawn = by_node(graph(total, variables=False, compact=False))
    assert {number: drawn[f"t{number}"] for number in table.names} == table.names


def test_of_a_huge_graph_only_what_has_a_name_is_named():
    y = ad.Tensor(1.0, requires_grad=True, name="x")
    results = []
    for _ in range(LIMIT):
        y = y + 1.0
        results.append(y)
    assert set(names_behind(y, results, {}, {})[0].values()) == {"L"}


def test_a_name_is_given_once():
    names = Names()
    a, b = ad.Tensor(1.0), ad.Tensor(2.0)
    assert [names.give(a, "w"), names.give(b, "w"), names.fresh("v")] == ["w", "w #2", "v1"]


def test_names_that_look_alike_are_told_apart():
    a, b, c, d, e = (ad.Tensor(float(i), requires_grad=True) for i in range(5))
    names = {"p": a, "p ": b, "\u0440": c, "\u00e9": d, "e\u0301": e}  # a blank, Cyrillic er, é composed and not
    shown = list(ad.explain(a * b * c * d * e, names=names).names.values())
    assert shown[:2] == ["p", "'p '"] and {"\u0440 #2", "\u00e9", "e\u0301 #2"} <= set(shown)


def test_greek_letters_keep_their_names_where_nothing_looks_like_them():
    a, b = ad.Tensor(1.0, requires_grad=True), ad.Tensor(2.0, requires_grad=True)
    assert {"ρ", "ο"} <= set(ad.explain(a * b, names={"ρ": a, "ο": b}).names.values())
