"""The data of a page: they are the explanation's numbers and formulas, each once, and small."""

import base64
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import autodiff as ad
import nn
from autodiff.seeing import playback, standalone
from autodiff.seeing.formulas import name_mathml
from autodiff.seeing.rows import roles
from autodiff.seeing.stage import staged


def a_net(hidden=1):
    layers = [layer for _ in range(hidden - 1) for layer in (nn.Linear(4, 4, dtype=float), nn.Tanh())]
    model = nn.Sequential(nn.Linear(2, 4, dtype=float), nn.Tanh(), *layers, nn.Linear(4, 1, dtype=float))
    loss = (model(ad.Tensor([[1.0, 2.0], [0.5, -1.0]])) ** 2).mean()
    return ad.explain(loss, names=model, hvp=[np.ones(p.shape) for p in model.parameters()])


def played(explanation):
    """For each step its facts, and the tables."""
    kinds = roles(explanation.rows)
    data = json.loads(json.dumps(playback.playback(explanation.rows, kinds, staged(explanation, kinds))))
    facts = {name: [texts[i] for i in places] for name, (texts, places) in data["steps"].items()}
    return [dict(zip(facts, step)) for step in zip(*facts.values(), strict=True)], data


def rebuilt(parts, place):
    """A formula of the table, as the page's script makes it."""
    name, *inside = parts[place]
    if name == "mspace":
        return ElementTree.Element(name, {"width": inside[0]})
    element = ElementTree.Element(name)
    for each in inside:
        if isinstance(each, str):
            element.text = each
        else:
            element.append(rebuilt(parts, each))
    return element


def test_every_formula_is_made_of_the_table_of_parts_as_it_was():
    explanation = a_net()
    steps, data = played(explanation)
    for row, step in zip(explanation.rows, steps, strict=True):
        if row.formula is None:
            assert step["rule"] == ""
            continue
        theirs = f"<mrow>{name_mathml(row.quantity)}<mo>=</mo>{row.formula.mathml()}</mrow>"
        ours = ElementTree.tostring(rebuilt(data["parts"], int(step["rule"])), "unicode")
        assert ElementTree.canonicalize(ours) == ElementTree.canonicalize(theirs)
    assert len(set(map(json.dumps, data["parts"]))) == len(data["parts"])


def test_all_digits_and_answers_are_those_of_the_numbers():
    explanation = a_net()
    steps, data = played(explanation)
    assert len(set(data["numbers"])) == len(data["numbers"])
    seen = 0
    for row, step in zip(explanation.rows, steps, strict=True):
        number = lambda m: data["numbers"][int(m[0])]
        if step["full"]:
            np.testing.assert_array_equal(np.array(json.loads(re.sub(r"\d+", number, step["full"]))), row.number)
        if step["ask"]:
            index, _, value = step["ask"].partition("|")
            entry = row.number[tuple(json.loads(index or "[]"))]
            assert float(re.sub(r"\d+", number, value)) == entry
            seen += 1
    assert seen > 40


@pytest.mark.parametrize("shape", [(5, 4), (40, 70), (1, 33), (20,), (64, 64)])
def test_a_heat_map_has_the_mean_of_each_block_and_marks_those_that_are_no_numbers(shape):
    rng = np.random.default_rng(0)
    array = rng.normal(size=shape)
    flat = array.reshape(-1)
    flat[[0, 7]], flat[3], flat[-1] = np.nan, np.inf, -np.inf
    (step,), _ = played(ad.explain(ad.Tensor(array)))
    *said, pixels = step["heat"].split(" ")
    height, width, down, across = map(int, said[:4])
    low, high = map(float, said[4:6])
    assert said[6:] == ["2", "1", "1"]
    levels = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width).astype(int)
    matrix = np.atleast_2d(array)
    means = np.array(
        [[matrix[i * down : (i + 1) * down, j * across : (j + 1) * across].mean() for j in range(width)] for i in range(height)]
    )  # fmt: skip
    finite = np.isfinite(means)
    assert finite.any() and (low, high) == pytest.approx((means[finite].min(), means[finite].max()), rel=1e-3)
    np.testing.assert_allclose(
        low + levels[finite] / playback.LEVELS * (high - low), means[finite], atol=(high - low) / 400
    )
    assert (levels[finite] <= playback.LEVELS).all()
    odd = levels - playback.LEVELS
    np.testing.assert_array_equal(odd == 1, np.isnan(means))
    np.testing.assert_array_equal(odd == 2, np.isposinf(means))
    np.testing.assert_array_equal(odd == 3, np.isneginf(means))


def test_complex_numbers_play_back_with_heat_maps_of_their_sizes():
    z = ad.Tensor(np.arange(20.0).reshape(4, 5) * (1 + 1j), requires_grad=True, name="z")
    steps, _ = played(ad.explain((abs(z * 1j) ** 2).sum()))
    (sizes,), _ = played(ad.explain(ad.Tensor(abs(z.data))))
    assert steps[0]["heat"] == sizes["heat"] != ""
    w = ad.Tensor(1.5 - 2j, requires_grad=True, name="w")
    table = ad.explain((w * (2 + 1j)).real, variables=False)
    steps, _ = played(table)
    shown = {row.quantity: step["lines"] for row, step in zip(table.rows, steps)}
    assert shown["∂L/∂w"] == "∂ 2+1j" and shown["grad w"] == "grad 2-1j" and shown["∂L/∂L"] == "grad 1"
    put = {row.quantity: (row.value, step["put"]) for row, step in zip(table.rows, steps)}
    assert put["v1"] == ("5-2.5j", "(1.5-2j) · (2+1j)") and put["grad w"] == ("2-1j", "(2+1j)*")


def test_a_heat_map_of_the_largest_numbers_does_not_overflow():
    array = np.full((64, 64), 1.7e308)
    array[:, ::4] = array[:, 1::4] = -1.7e308
    array[:2, :2] = 0.0
    (step,), _ = played(ad.explain(ad.Tensor(array)))
    *said, pixels = step["heat"].split(" ")
    assert said[4:] == ["-1.7e+308", "1.7e+308", "0", "0", "0"]
    levels = np.frombuffer(base64.b64decode(pixels), np.uint8)
    assert levels[:2].tolist() == [playback.LEVELS // 2, playback.LEVELS] and levels[2] == 0
    for number in (np.nan, np.inf):
        (step,), _ = played(ad.explain(ad.Tensor(np.full((5, 5), number))))
        assert step["heat"].split(" ")[4:6] == ["nan", "nan"]


def test_the_page_of_a_hessian_vector_product_is_small():
    assert len(a_net(4).to_html().encode()) < 300_000
    rng = np.random.default_rng(0)
    model = nn.LSTM(2, 3, dtype=float, rng=rng)
    loss = (model(ad.Tensor(rng.normal(size=(4, 1, 2))))[0] ** 2).sum()
    params = list(model.parameters())
    explanation = ad.explain(loss, wrt=params, names=model, expand=True, hvp=[np.ones(p.shape) for p in params])
    assert len(explanation.rows) > 500 and len(explanation.to_html().encode()) < 1050 * len(explanation.rows)


def test_nothing_in_the_data_can_end_the_element_that_it_is_in():
    page = standalone.standalone("viewer", {"a": "</script><!--&<script>"}, title="t", legend="", kinds="")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert not set("<>&") & set(data) and json.loads(data) == {"a": "</script><!--&<script>"}
