"""The step table shows the numbers of the documents' worked examples, and those of the engine, in every format."""

import csv
import gc
import io
import math
import re
import shutil
import subprocess
import time
import weakref
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
from autodiff import Tensor
from autodiff.ops.samples import Sample
from autodiff.primitive import REGISTRY, Primitive, general
from autodiff.seeing.explain import PHASES
from autodiff.seeing.explain import explain as explain_with_variables
from autodiff.seeing.formats import _latex, cells
from autodiff.seeing.rows import roles
from autodiff.seeing.rules import is_elementwise
from tests.documents import ENTRIES

explain = partial(explain_with_variables, variables=False)  # tests/autodiff/seeing/test_names.py has those

REAL = r"-?(?:\d+\.?\d*(?:e[-+]?\d+)?|inf|nan)"


def entry(name):
    return ENTRIES[name]["inputs"], ENTRIES[name]["expected"]


def variable(value, name=None):
    return Tensor(np.asarray(value, float), requires_grad=True, name=name)


def at(table, quantity):
    """The last row of that quantity (a cotangent after its parts)."""
    return [row for row in table.rows if row.quantity == quantity][-1]


def shows(table, expected):
    """Each quantity has the expected number, and shows it with six correct digits."""
    for quantity, value in expected.items():
        row, value = at(table, quantity), np.asarray(value, float)
        np.testing.assert_allclose(np.ravel(row.number), value.ravel(), rtol=1e-10, atol=1e-15, err_msg=quantity)
        shown = [float(text) for text in re.findall(REAL, row.value)]
        assert shown == [float(f"{v:.6g}") for v in value.ravel()], quantity


# The documents' tables

ACTIVATIONS = {"relu": ad.relu, "tanh": np.tanh, "sigmoid": ad.sigmoid, "linear": lambda z: z}


def layers(i, activations):
    """A scalar network of these inputs: the table's tensors by name."""
    t = {"x": variable(i["x"], "x"), "y": Tensor(float(i["y"]), name="y")}
    a = t["x"]
    for k, name in enumerate(activations, 1):
        w, b = t[f"w{k}"], t[f"b{k}"] = variable(i[f"w{k}"]), variable(i[f"b{k}"])
        t[f"z{k}"] = w * a + b
        a = t[f"a{k}"] = ACTIVATIONS[name](t[f"z{k}"])
        if name == "linear":
            del t[f"z{k}"]
    t["ŷ"] = t.pop(f"a{len(activations)}")
    t["L"] = 0.5 * (t["ŷ"] - t["y"]) ** 2
    return t


def parameters(t):
    return [t[name] for name in t if re.fullmatch(r"[wb]\d", name)]


def test_table_2_1_of_the_single_neuron() -> None:
    i, e = entry("single-neuron-table-2-1")
    x, w, b, y = (variable(i[n], n) for n in "xwby")
    z = w * x + b
    out = ad.sigmoid(z)
    table = explain(0.5 * (y - out) ** 2, names={"z": z, "ŷ": out}, wrt=[w, b, x])
    shows(table, {"z": e["z"], "ŷ": e["yhat"], "L": e["loss"], "∂L/∂ŷ": e["dloss_dyhat"], "∂ŷ/∂z": e["dyhat_dz"],
                  "∂L/∂z": e["dloss_dz"], "∂L/∂w": e["dloss_dw"], "∂L/∂b": e["dloss_db"], "∂L/∂x": e["dloss_dx"]})  # fmt: skip


def test_tables_2_2_and_2_3_of_the_two_layer_network() -> None:
    i, e = entry("two-layer-sigmoid-tables-2-2-2-3")
    t = layers(i, i["activations"])
    table = explain(t["L"], names=t, wrt=parameters(t), hvp=e["u"])
    shows(table, {"z1": e["z1"], "a1": e["a1"], "z2": e["z2"], "ŷ": e["yhat"], "L": e["loss"],
                  "∂L/∂ŷ": e["dloss_dyhat"], "∂ŷ/∂z2": e["dyhat_dz2"], "∂L/∂z2": e["dloss_dz2"],
                  "∂L/∂w2": e["dloss_dw2"], "∂L/∂b2": e["dloss_db2"], "∂L/∂a1": e["dloss_da1"],
                  "∂a1/∂z1": e["da1_dz1"], "∂L/∂z1": e["dloss_dz1"], "∂L/∂w1": e["dloss_dw1"],
                  "∂L/∂b1": e["dloss_db1"], "∂v2/∂w2": e["dz2_dw2"], "∂v2/∂a1": e["dz2_da1"], "∂v1/∂w1": e["dz1_dw1"]})  # fmt: skip
    shows(table, {f"(H·u)[{n}]": v for n, v in zip(e["parameter_order"], e["hvp_u"])})
    assert table.delta(t["x"]) == pytest.approx(e["dloss_dx"], rel=1e-12)


def test_tables_2_4_to_2_7_and_3_2_of_the_three_layer_network() -> None:
    i, e = entry("three-layer-scalar-backward")
    _, f = entry("three-layer-scalar-forward")
    step, u = entry("three-layer-scalar-gd-update"), entry("three-layer-scalar-second-order")
    t = layers(i, i["activations"])
    table = explain(t["L"], names=t, wrt=parameters(t), update=("sgd", step[0]["eta"]), hvp=u[0]["u"])
    names = u[0]["parameter_order"]
    assert [table.names[w._number] for w in table.wrt] == names
    shows(table, {"z1": f["z1"], "a1": f["a1"], "z2": f["z2"], "a2": f["a2"], "z3": f["z3"], "ŷ": f["yhat"],
                  "L": f["loss"], "∂L/∂ŷ": e["dloss_dyhat"], "∂ŷ/∂z3": e["sigmoid_prime_z3"],
                  "∂a2/∂z2": e["tanh_prime_z2"], "∂a1/∂z1": e["relu_prime_z1"], "∂L/∂z3": e["delta3"],
                  "∂L/∂a2": e["dloss_da2"], "∂L/∂z2": e["delta2"], "∂L/∂a1": e["dloss_da1"], "∂L/∂z1": e["delta1"]})  # fmt: skip
    shows(table, {f"∂L/∂{n}": e[f"dloss_d{n}"] for n in names} | {f"{n}⁺": step[1][n] for n in names})
    shows(table, {f"(H·u)[{n}]": v for n, v in zip(names, u[1]["hvp_u"])})
    shows(table, {"s": np.dot(u[0]["u"], u[1]["gradient"])})
    # What tables 2.4 to 2.7 and 3.2 print
    for quantity, printed in {
        "a2": "0.800499", "z3": "1.300998", "ŷ": "0.786003", "L": "0.022897", "∂L/∂ŷ": "-0.213997",
        "∂ŷ/∂z3": "0.168202", "∂L/∂z3": "-0.035995", "∂v3/∂w3": "0.800499", "∂L/∂w3": "-0.028814", "∂z3/∂b3": "1.000000",
        "∂L/∂b3": "-0.035995", "∂v3/∂a2": "2.000000", "∂L/∂a2": "-0.071990", "∂a2/∂z2": "0.359201",
        "∂L/∂z2": "-0.025859", "∂L/∂w2": "-0.051718", "∂L/∂b2": "-0.025859", "∂v2/∂a1": "0.500000",
        "∂L/∂a1": "-0.012929", "∂a1/∂z1": "1.000000", "∂L/∂z1": "-0.012929", "∂L/∂w1": "-0.025859",
        "∂L/∂b1": "-0.012929", "w1⁺": "1.502586", "b1⁺": "-0.998707", "w2⁺": "0.505172", "b2⁺": "0.102586",
        "w3⁺": "2.002881", "b3⁺": "-0.296401",
    }.items():  # fmt: skip
        assert f"{at(table, quantity).number:.6f}" == printed, quantity


def test_the_layer_jacobians_of_table_3_2_are_products_of_local_jacobians() -> None:
    i, e = entry("three-layer-scalar-backward")
    t = layers(i, i["activations"])
    table = explain(t["L"], names=t)
    for k, name in ((3, "ŷ"), (2, "a2"), (1, "a1")):
        (outer,), (inner, _) = table.jacobian(name), table.jacobian(f"z{k}")
        _, weight = table.jacobian(t[f"z{k}"].inputs[0])
        assert outer * inner * weight == pytest.approx(e[f"J{k}"], rel=1e-12)


def test_the_second_backward_pass_of_the_linear_network() -> None:
    i, e = entry("linear-three-layer-hvp")
    t = layers(i, i["activations"])
    table = explain(t["L"], names=t, wrt=parameters(t), hvp=i["u"])
    shows(table, {"a1": e["a1"], "a2": e["a2"], "ŷ": e["yhat"], "L": e["loss"], "∂L/∂ŷ": e["residual"], "s": e["s"]})
    for n, g, h in zip(i["parameter_order"], e["gradient"], e["hvp_u"]):
        shows(table, {f"∂L/∂{n}": g, f"(H·u)[{n}]": h})


def test_the_hessian_vector_product_of_a_quadratic() -> None:
    i, e = entry("scalar-hvp-quadratic")
    w1, w2 = (variable(v, n) for v, n in zip(i["w_for_gradient"], ("w1", "w2")))
    table = explain(w1**2 + 3 * w1 * w2 + 2 * w2**2, hvp=i["u"])
    shows(table, {"∂L/∂w1": e["gradient_at_w"][0], "∂L/∂w2": e["gradient_at_w"][1], "s": e["s_at_w"]})
    shows(table, {"(H·u)[w1]": e["hvp_u"][0], "(H·u)[w2]": e["hvp_u"][1]})


def test_a_value_used_twice_gets_a_sum_of_contributions() -> None:
    i, e = entry("chain-rule-accumulation")
    x = variable(i["x"], "x")
    v3 = x**2
    v5, v6 = 2 * v3, v3 + 1
    f = v5 * v6
    table = explain(f, names={"v3": v3, "v5": v5, "v6": v6, "f": f}, hvp=[1.0])
    shows(table, {"v3": e["v3"], "v5": e["v5"], "v6": e["v6"], "f": e["f"], "∂f/∂v5": e["df_dv5"],
                  "∂f/∂v6": e["df_dv6"], "∂f/∂v3 via v6": e["contribution_through_v6"],
                  "∂f/∂v3 via v5": e["contribution_through_v5"], "∂f/∂v3": e["df_dv3"], "∂v3/∂x": e["dv3_dx"],
                  "∂f/∂x": e["df_dx"], "(H·u)[x]": e["d2f_dx2"]})  # fmt: skip
    total = at(table, "∂f/∂v3")
    assert total.expression == "∂f/∂v3 via v6 + ∂f/∂v3 via v5"
    assert total.sources == (at(table, "∂f/∂v3 via v6").step, at(table, "∂f/∂v3 via v5").step)


def v7(x1, x2):
    v3 = np.exp(x2)
    v4, v5 = x1 * v3, x1 * x2
    v6 = np.cos(v5)
    return {"v3": v3, "v4": v4, "v5": v5, "v6": v6, "v7": v4 + v6}


@pytest.mark.parametrize("case", entry("v7-forward-backward")[1]["at"], ids=lambda case: str(case["x"]))
def test_the_graph_of_v7(case) -> None:
    x1, x2 = variable(case["x"][0], "v1"), variable(case["x"][1], "v2")
    t = v7(x1, x2)
    table = explain(t["v7"], names=t, hvp=case["u"], wrt=[x1, x2])
    shows(table, {n: case[n] for n in t} | {f"∂v7/∂v{k}": case[f"dv{k}"] for k in range(1, 7)})
    shows(table, {"(H·u)[v1]": case["hvp_u"][0], "(H·u)[v2]": case["hvp_u"][1]})


LOSSES = {
    "identity": lambda v, t: v + 0.0, "half_squared": lambda v, t: 0.5 * (v - t) ** 2,
    "absolute": lambda v, t: abs(v - t), "log_squared": lambda v, t: np.log(1 + (v - t) ** 2),
}  # fmt: skip


@pytest.mark.parametrize("case", entry("v7-four-losses")[1]["cases"], ids=lambda c: f"{c['loss']}-{c['target']}")
def test_the_first_signal_of_v7_comes_from_the_loss(case) -> None:
    point = entry("v7-four-losses")[0]["x"]
    x1, x2 = variable(point[0], "x1"), variable(point[1], "x2")
    t = v7(x1, x2)
    loss = LOSSES[case["loss"]](t["v7"], case["target"])
    table = explain(loss, names=t | {"loss": loss})
    shows(table, {"loss": case["value"], "∂loss/∂x1": case["gradient"][0], "∂loss/∂x2": case["gradient"][1]})
    assert table.delta("v7") == pytest.approx(case["dv7"], rel=1e-12)


@pytest.mark.parametrize("name", ["v7-gd-direct", "v7-gd-to-zero", "v7-gd-to-one"])
def test_the_first_descent_step_on_v7(name) -> None:
    i, e = entry(name)
    x1, x2 = variable(i["x0"][0], "x1"), variable(i["x0"][1], "x2")
    target = {"v7": None, "0.5*(v7-0)^2": 0, "0.5*(v7-1)^2": 1}[i["loss"]]
    y = v7(x1, x2)["v7"]
    table = explain(y if target is None else 0.5 * (y - target) ** 2, update=("sgd", i["lr"]))
    shows(table, {"x1⁺": e["iterates"][1]["x"][0], "x2⁺": e["iterates"][1]["x"][1]})


def test_example_9_first_and_second_order() -> None:
    i, e = entry("backprop-example-9")
    second, f = entry("backprop-example-9-second-order")
    w1, b1, w2, b2 = (variable(i[n], n) for n in second["parameter_order"])
    a1 = w1 * i["x"] + b1
    h = ad.sigmoid(a1)
    y = w2 * h + b2
    loss = 0.5 * (i["t"] - y) ** 2
    table = explain(loss, names={"a1": a1, "h": h, "y": y, "E": loss}, update=("sgd", i["eta"]), hvp=second["u"],
                    wrt=[w1, b1, w2, b2])  # fmt: skip
    shows(
        table, {n: e[n] for n in ("a1", "h", "y", "E")} | {f"∂E/∂{n}": e[f"dE_d{n}"] for n in ("w1", "b1", "w2", "b2")}
    )
    shows(table, {"∂E/∂y": e["delta2"], "∂h/∂a1": e["sigmoid_prime"], "∂E/∂a1": e["delta1"]})
    shows(table, {f"{n}⁺": v for n, v in e["after_one_step"].items()})
    shows(table, {f"(H·u)[{n}]": v for n, v in zip(second["parameter_order"], f["hvp_u"])})


def matrix_network():
    i = ENTRIES["matrix-three-layer-gradients"]["inputs"]
    t = {"x": variable(i["x"])}
    a = t["x"]
    for k, activation in enumerate(i["activations"], 1):
        W, b = t[f"W{k}"], t[f"b{k}"] = variable(i[f"W{k}"]), variable(i[f"b{k}"])
        t[f"z{k}"] = W @ a + b
        a = t[f"a{k}"] = ACTIVATIONS[activation](t[f"z{k}"])
    t["ŷ"] = t.pop("a3")
    return t, (0.5 * (t["ŷ"] - i["y"]) ** 2).sum()


def test_the_matrix_network_of_section_3_5() -> None:
    t, loss = matrix_network()
    table = explain(loss, names=t)
    _, f = entry("matrix-three-layer-forward")
    _, j = entry("matrix-three-layer-jacobians")
    _, g = entry("matrix-three-layer-gradients")
    shows(table, {n: f[n] for n in ("z1", "a1", "z2", "a2", "z3")} | {"ŷ": f["yhat"], "L": f["loss"]})
    shows(table, {"∂L/∂ŷ": j["dloss_dyhat"], "∂ŷ/∂z3": j["sigmoid_prime_z3"], "∂a2/∂z2": j["tanh_prime_z2"],
                  "∂a1/∂z1": j["relu_prime_z1"]})  # fmt: skip
    shows(
        table,
        {f"∂L/∂{n}": g[f"dloss_d{n}"] for n in ("z3", "a2", "z2", "a1", "z1", "x", "W3", "b3", "W2", "b2", "W1", "b1")},
    )
    inputs = {1: "x", 2: "a1", 3: "a2"}
    chain = np.eye(1)
    for k, activated in ((3, "ŷ"), (2, "a2"), (1, "a1")):
        product = t[f"z{k}"].inputs[0]
        layer = table.jacobian(activated)[0] @ table.jacobian(t[f"z{k}"])[0] @ table.jacobian(product)[1]
        np.testing.assert_allclose(np.squeeze(layer), j[f"J{k}"], rtol=1e-10)
        chain = chain @ layer
        weight = at(table, f"∂L/∂W{k}")
        assert weight.expression == f"∂L/∂{table.names[product._number]} ⊗ {inputs[k]}"
    np.testing.assert_allclose(chain[0], j["full_jacobian_dyhat_dx"], rtol=1e-10)


def test_the_second_backward_pass_of_the_matrix_network() -> None:
    i, e = entry("matrix-three-layer-second-order")
    t, loss = matrix_network()
    names = [n for n in t if n[0] in "Wb"]
    table = explain(loss, names=t, wrt=[t[n] for n in names], hvp=[np.ones(t[n].shape) for n in names])
    got = np.concatenate([at(table, f"(H·u)[{n}]").number.ravel() for n in names])
    np.testing.assert_allclose(got, e["hvp_parameters_u"], rtol=1e-9, atol=1e-15)
    table = explain(loss, names=t, wrt=t["x"], hvp=i["ux"])
    np.testing.assert_allclose(table.rows[-1].number, e["hvp_x_ux"], rtol=1e-9)


# The table in itself

BINARY = [np.add, np.subtract, np.multiply, lambda a, b: a / (b * b + 1), np.maximum, np.hypot]
UNARY = [np.tanh, np.sin, ad.sigmoid, np.square, lambda a: np.exp(-a * a), lambda a: 2 - a]


@st.composite
def computations(draw):
    """A random scalar computation in which values are used again and again."""
    leaves = [variable(draw(st.floats(-2, 2))) for _ in range(draw(st.integers(1, 3)))]
    values = list(leaves)
    for _ in range(draw(st.integers(1, 10))):
        a, b = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        f = draw(st.sampled_from(BINARY + UNARY))
        values.append(f(a, b) if f in BINARY else f(a))
    return leaves, sum(values[1:], values[0]) + values[-1]


@settings(deadline=None, max_examples=60)
@given(computations(), st.data())
def test_every_row_follows_from_the_rows_it_names_and_ends_in_the_engines_derivatives(computation, data) -> None:
    leaves, y = computation
    u = [data.draw(st.floats(-1, 1)) or 0.5 for _ in leaves]  # times 0, what has no second derivative may be 0 or NaN
    table = explain(y, hvp=u, wrt=leaves, update=("sgd", 0.1))
    assert [row.step for row in table.rows] == list(range(1, len(table.rows) + 1))
    for row in table.rows:
        assert row.phase in PHASES and all(0 < k < row.step for k in row.sources)
        numbers = [table.rows[k - 1].number for k in row.sources]
        if row.phase in ("backward", "gradient", "second") and " · " in row.expression and len(numbers) == 2:
            if row.quantity.startswith(("∂L/", "∂s/")) and row.expression.startswith(("∂L/", "∂s/")):
                np.testing.assert_allclose(row.number, numbers[0] * numbers[1], rtol=1e-12, atol=1e-300)
        elif " via " in row.expression and not row.quantity.endswith(" (again)"):
            np.testing.assert_allclose(row.number, sum(numbers), rtol=1e-12, atol=1e-300)
    gradients = ad.gradients(y, leaves, create_graph=True)
    for x, g in zip(leaves, gradients):
        assert at(table, f"∂L/∂{table.names[x._number]}").number == g.item()
    s = sum(g * v for g, v in zip(gradients, u))
    second = ad.gradients(s, leaves, allow_unused=True) if s.requires_grad else [None] * len(leaves)
    for row, h in zip(table.rows[-len(leaves) :], second):
        np.testing.assert_allclose(row.number, 0.0 if h is None else h.item(), rtol=1e-9, atol=1e-12)
    assert all(x.grad is None for x in leaves)


def test_the_table_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    a, b, c = rng.normal(size=(4, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)
    ours = [variable(v, n) for v, n in zip((a, b, c), "ABc")]
    theirs = [torch.tensor(v, requires_grad=True) for v in (a, b, c)]
    y = (np.tanh(ours[0] @ ours[1] + ours[2]) ** 2).mean()
    f = lambda A, B, c: (torch.tanh(A @ B + c) ** 2).mean()
    u = [rng.normal(size=v.shape) for v in (a, b, c)]
    table = explain(y, hvp=u)
    expected = torch.autograd.grad(f(*theirs), theirs)
    _, products = torch.autograd.functional.hvp(f, tuple(theirs), tuple(map(torch.tensor, u)))
    for n, g, h in zip("ABc", expected, products):
        np.testing.assert_allclose(at(table, f"∂L/∂{n}").number, g.numpy(), rtol=1e-10)
        np.testing.assert_allclose(at(table, f"(H·u)[{n}]").number, h.numpy(), rtol=1e-9)


def differentiable(sample: Sample) -> bool:
    return sample.wrap is None and sample.function is None and sample.smooth > 0


@pytest.mark.parametrize("record", REGISTRY.values(), ids=lambda record: record.name)
def test_jacobians_of_every_operation_are_those_of_central_differences(record: Primitive) -> None:
    samples = [s for s in record.samples(np.random.default_rng(0)) if differentiable(s)]
    for sample in samples[:3]:
        at_all = [variable(x) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in sample.inputs]
        raw = [x.data if isinstance(x, Tensor) else x for x in at_all]
        y = general(record)(*at_all, **sample.params)
        if not isinstance(y, Tensor) or y.is_leaf or y.size * max(np.size(x) for x in raw) > 400:
            continue
        if any(map(np.iscomplexobj, (y._ndarray, *raw))):
            continue  # below
        jacobians = explain(y.sum(), names={"y": y}).jacobian("y")
        assert len(jacobians) == len(raw)
        for k, (x, J) in enumerate(zip(at_all, jacobians)):
            if not isinstance(x, Tensor) or J is None:
                continue
            assert J.shape == y.shape + x.shape
            numeric = np.empty((y.size, x.size))
            for n in range(x.size):
                ends = []
                for h in (1e-6, -1e-6):
                    moved = [np.array(v) if isinstance(v, np.ndarray) else v for v in raw]
                    moved[k].reshape(-1)[n] += h
                    ends.append(np.ravel(record.forward(*moved, **sample.params)))
                numeric[:, n] = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(J.reshape(numeric.shape), numeric, rtol=2e-5, atol=2e-6, err_msg=record.name)


def test_jacobian_covers_constants_and_gives_none_where_there_is_no_derivative() -> None:
    f = ad.primitive(lambda a, n: a * n, vjps=[lambda g, y, a, n: g * n, None], name="scaled")
    x = variable([1.0, 2.0], "x")
    y = f(x, np.array([3.0, 4.0]))
    first, second = explain(y.sum(), names={"y": y}).jacobian(y)
    assert (first == np.diag([3.0, 4.0])).all() and second is None
    z = x * np.array([5.0, 6.0])
    assert [J.tolist() for J in explain(z.sum(), names={"z": z}).jacobian(z)] == [[[5, 0], [0, 6]], [[1, 0], [0, 2]]]
    assert explain((x * 3.0).sum(), names={"z": x}).jacobian("v1")[1].tolist() == [1.0, 2.0]


def test_delta_is_the_gradient_by_any_tensor_even_one_outside_wrt() -> None:
    x, w = variable([1.0, 2.0], "x"), variable([3.0, 4.0], "w")
    h = x * w
    table = explain((h**2).sum(), wrt=x, names={"h": h})
    assert not [row for row in table.rows if row.quantity == "∂L/∂w"]
    for t, g in zip((x, w, h), ad.gradients(table.output, [x, w, h])):
        assert (table.delta(t) == g.data).all()
    assert table.delta("h").tolist() == [6.0, 16.0] and table.delta(table.output) == 1.0
    table.delta(x)[:] = 0
    assert table.delta(x).tolist() == [18.0, 64.0]


def test_what_is_neither_a_tensor_nor_a_name_gets_one_clear_error_and_never_another_tensor() -> None:
    w = variable(0.5, "w")
    table = explain((w * Tensor(2.0) - 1.0) ** 2)
    for find in (table.delta, table.jacobian):
        for wrong in (*range(-1, 12), 5.0, True, None, np.ones(2), np.int64(5), w.data, [w]):
            with pytest.raises(TypeError, match=f"takes a Tensor or its name, not {type(wrong).__name__}"):
                find(wrong)
    with pytest.raises(TypeError, match=r"step 5 is \.rows\[4\]"):
        table.delta(5)


def test_everything_that_is_differentiated_stands_in_the_table_as_what_it_is_a_function_of() -> None:
    w, b, M = variable(0.5, "w"), variable(-0.25, "b"), variable([[0.5, -1.0], [0.25, 0.75]], "M")
    a = ad.sigmoid(w * 1.5 + b)
    for y, x in (
        ((a - 1.0) ** 2, [w, b]),
        (np.exp(np.sin(w) * w) / b, [w, b]),
        ((np.tanh(M @ np.array([1.0, 2.0])) ** 2).sum() + w**3, [M, w]),
    ):
        table = explain(y, wrt=x, hvp=[np.ones(t.shape) for t in x])
        values = {id(row.tensor) for row in table.rows if row.phase in ("forward", "slope") and row.sources}
        for row, kind in zip(table.rows, roles(table.rows)):
            assert kind != "local" or id(row.tensor) in values or row.tensor.op == "add", row.quantity
        again = [row for row in table.rows if row.quantity.endswith(" (again)")]
        assert again
        for row in again:  # the same number as in the first pass, which is the first source
            first = table.rows[row.sources[0] - 1]
            assert f"{first.quantity} (again)" == row.quantity and first.phase in ("backward", "gradient")
            np.testing.assert_array_equal(first.number, row.number)


def test_a_leaf_gives_one_row() -> None:
    for leaf in (Tensor(2.5), variable(2.5), Tensor([1, 2], name="n"), variable(np.zeros((0, 3)))):
        (row,) = explain(leaf).rows
        assert row.phase == "input" and row.tensor is leaf and row.sources == ()
    assert str(explain(variable(2.5, "x"))).splitlines()[-1].split() == ["1", "x", "input", "2.5"]


def test_gradients_that_are_there_stay_as_they_are() -> None:
    x = variable([1.0, 2.0])
    (x * x).sum().backward()
    before = x.grad
    y = x**3
    y.retain_grad()
    explain(y.sum(), hvp=[np.ones(2)], update=("sgd", 1.0))
    assert x.grad is before and before.data.tolist() == [2.0, 4.0] and y.grad is None
    assert x.data.tolist() == [1.0, 2.0]


def test_the_numbers_are_a_snapshot() -> None:
    w = variable([1.0, 2.0], "w")
    table = explain((w * w).sum(), update=("sgd", 0.5))
    w.data -= 5
    assert at(table, "w").number.tolist() == [1.0, 2.0] and at(table, "w⁺").number.tolist() == [0.0, 0.0]


def test_hooks_act_as_in_the_backward_pass_and_are_shown() -> None:
    x = variable(3.0, "x")
    h = x * 2
    x.register_hook(lambda g: g + 1)
    h.register_hook(lambda g: 10 * g)
    table = explain(h * h, names={"h": h})
    assert at(table, "∂L/∂h before hooks").number == 12 and at(table, "∂L/∂h").number == 120
    assert at(table, "∂L/∂x").number == 241 == ad.gradients(h * h, x)[0].item()
    (g,) = ad.gradients(h * h, x, create_graph=True)
    assert explain(h * h, hvp=[1.0]).rows[-1].number == ad.gradients(g, x)[0].item()


def test_a_broadcast_operand_gets_a_sum() -> None:
    b, x = variable([1.0, 2.0], "b"), variable(np.ones((3, 2)), "x")
    table = explain(((x + b) * 2).sum())
    assert at(table, "∂L/∂b").expression.startswith("Σ ∂L/∂") and at(table, "∂L/∂b").number.tolist() == [6.0, 6.0]
    assert not at(table, "∂L/∂x").expression.startswith("Σ")


def test_large_values_are_summarised_and_large_jacobians_are_not_computed() -> None:
    W, x = variable(np.arange(600.0).reshape(20, 30), "W"), variable(np.ones(30), "x")
    table = explain((W @ x).sum())
    assert at(table, "W").value == "20×30: 0 … 599, mean 299.5"
    row = next(row for row in table.rows if row.quantity.endswith("/∂W") and row.phase == "local")
    assert row.number is None and row.value == "(20 by 20×30, too large to show)"
    assert at(table, "∂L/∂W").number.shape == (20, 30)


def test_a_graph_of_a_thousand_operations_takes_under_two_seconds() -> None:
    x = variable(np.linspace(0, 1, 16))
    y = x
    for _ in range(500):
        y = y * x + x
    start = time.process_time()
    table = explain(y.sum())
    str(table), table.to_markdown(), table.to_latex(), table.to_csv(), table._repr_html_()
    assert time.process_time() - start < 2
    assert "steps not shown" in table._repr_html_() and len(table) > 4000


def test_everything_is_freed_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        x = variable([1.0, 2.0])
        y = np.tanh(x).sum()
        table = explain(y, hvp=[[1.0, 1.0]])
        there = weakref.ref(y), weakref.ref(table.rows[-1].tensor), weakref.ref(table)
        del x, y, table
        assert [r() for r in there] == [None] * 3
    finally:
        gc.enable()


def test_graphs_of_every_kind_are_explained() -> None:
    x = variable([0.5, 1.5], "x")
    (g,) = ad.gradients((x**3).sum(), x, create_graph=True)
    table = explain((g * g).sum())
    np.testing.assert_allclose(at(table, "∂L/∂x").number, 36 * x.data**3)  # g = 3 x²
    table = explain(ad.checkpoint(lambda t: np.exp(t) * t, x).sum(), hvp=[[1.0, 0.0]])
    np.testing.assert_allclose(at(table, "∂L/∂x").number, np.exp(x.data) * (1 + x.data))
    np.testing.assert_allclose(table.rows[-1].number, [np.exp(0.5) * 2.5, 0], rtol=1e-12)
    with ad.no_grad():
        assert explain(table.output, hvp=[[1.0, 0.0]]).rows[-1].value == table.rows[-1].value
    with ad.detect_anomaly(), pytest.raises(ad.AnomalyError, match="backward of sqrt"):
        explain(np.sqrt(x * 0).sum())
    with np.errstate(divide="ignore"):
        guarded = np.where(x > 1, np.log(np.where(x > 1, x - 0.5, 0.0)), 0.0).sum()
    assert at(explain(guarded), "∂L/∂x").number.tolist() == [0.0, 1.0]
    half = Tensor([1.0, 2.0], requires_grad=True, dtype=np.float32, name="h")
    assert at(explain((half * np.array([2.0, 3.0])).sum()), "∂L/∂h").number.dtype == np.float32
    assert at(explain((half * 0.1).sum(), update=("sgd", 0.1)), "h⁺").number.dtype == np.float32


def test_nan_infinity_and_no_elements_are_shown() -> None:
    x, y = variable([np.nan, np.inf, -np.inf, -0.0], "x"), variable(np.zeros((0, 3)), "y")
    table = explain(x.sum() * 2.0 + y.sum(), digits=3)
    assert at(table, "x").value == "[nan, inf, -inf, 0]" and at(table, "y").value == "[] (0×3)"
    assert at(table, "∂L/∂y").number.shape == (0, 3) and at(table, "L").value == "nan"
    assert explain(x.sum(), hvp=[np.ones(4)]).rows[-1].number.tolist() == [0.0] * 4
    assert "does not depend on x" in explain(x.sum(), hvp=[np.ones(4)]).rows[-1].expression


def test_expressions_use_the_users_names_and_the_formulas_of_the_records() -> None:
    x, M = variable([1.0, 2.0, 3.0], "x"), variable(np.eye(3), "M")
    cube = ad.primitive(lambda a: a**3, name="cube", vjps=[lambda g, y, a: g * 3 * a * a])
    odd = ad.primitive(
        lambda a: a + 1, name="odd", vjps=[lambda g, y, a: g], formula="{0} in\n{set}", derivatives=["{1}"]
    )
    result = odd(cube(np.concatenate([M @ x, x[1:], x[np.array([0, 2])]]) ** -2)).reshape(7, 1).mean(axis=0).sum()
    table = explain(result)
    assert [row.expression for row in table.rows if row.phase == "forward"] == [
        "M @ x", "x[1:]", "x[[0, 2]]", "[v1, v2, v3] (axis=0)", "v4⁻²", "cube(v5)", r"v6 in\n{set}",
        "reshape(v7) (shape=(7, 1))", "mean v8 (axis=0)", "Σ v9",
    ]  # fmt: skip
    expressions = {row.quantity: row.expression for row in table.rows if row.phase == "local"}
    assert (
        expressions["∂v1/∂M"] == "I ⊗ xᵀ" and expressions["∂v1/∂x"] == "M" and expressions["∂v6/∂v5"] == "rule of cube"
    )
    assert expressions["∂v2/∂x"] == "1 at [1:], else 0" and expressions["∂v7/∂v6"] == "{1}"


def test_names_come_from_the_user_then_the_tensor_then_a_counter() -> None:
    import nn

    model = nn.Sequential(nn.Linear(2, 2, dtype=float), nn.Tanh())
    x = Tensor([1.0, 2.0], name="x")
    table = explain(model(x).sum(), names={"net": model, "first": model[0].weight})
    assert {"first", "net.0.bias", "x", "L"} <= set(table.names.values())
    assert "layer0.weight" in explain(model(x).sum(), names=model).names.values()  # 0.weight reads as a number
    a, b = variable(1.0, "w"), variable(2.0, "w")
    c = a * b
    table = explain(c + 1.0, names={"v1": c})
    assert [row.quantity for row in table.rows][:4] == ["w", "w #2", "v1", "L"]
    taken = variable(1.0, "L")
    assert explain(taken * taken).rows[1].quantity == "v1"


HOSTILE = ["", "\n", '"', "'", "<b>&amp;", "a|b", "{0}", "{y}", "{1}", "$x_1^2$", "\\", "=1+1", "`", "](http://x)", "☃",
           "</table><script>alert(1)</script>", "x\x00\x1b[31m", "a" * 500, "\ud800", "漢字 é"]  # fmt: skip


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.cells = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data):
        if self.cells and self.lasttag == "td" and data != "\n":
            self.cells[-1] += data


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_break_no_format_and_inject_nothing(name) -> None:
    x, w = variable([1.0, 2.0], name), variable([3.0, 4.0])
    h = x * w
    table = explain((h - h * h).sum(), names={name: h, name + "w": w}, hvp=[np.ones(2)] * 2, update=("sgd", 0.1))
    texts = [(str(r.step), r.quantity, r.expression, r.value, ", ".join(map(str, r.sources))) for r in table.rows]
    assert all(cell.isprintable() and cell.strip() for row in texts for cell in row[:4])
    headings = len(list(table._sections()))
    assert len(str(table).splitlines()) == len(texts) + 1 + headings
    for found, row in zip(list(csv.reader(io.StringIO(table.to_csv())))[1:], texts, strict=True):
        assert all(a == b or (a == f"'{b}" and b[0] in "=+-@") for a, b in zip(found, row, strict=True))
    page = Cells()
    page.feed(table._repr_html_())
    assert page.tags == {"table", "thead", "tbody", "tr", "th", "td"}
    assert page.cells == [cell for row in texts for cell in row]
    for line in table.to_markdown().splitlines():
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 6 and not re.search(r"[<>`\[]", re.sub(r"\\.", "", line))
    for line in table.to_latex().splitlines()[4:-2]:
        plain = re.sub(r"\\\\$|\\[a-z]+|\\.", "", line)
        assert plain.count("{") == plain.count("}") and plain.count("$") % 2 == 0 and not set("%#~") & set(plain)
        assert line.count(" & ") == 4 or line.startswith(r"\multicolumn")


def test_no_cell_of_the_csv_is_a_formula_and_numbers_stay_numbers() -> None:
    names = ['=HYPERLINK("x")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-1.5", "-inf"]
    for name in names:
        x = variable(-1.5, name)
        table = explain(x * -1e-9 + 2.0)
        lines = list(csv.reader(io.StringIO(table.to_csv())))
        assert [line[3] for line in lines[1:] if line[1] == "∂L/∂L"] == ["1"]
        values = [line[3] for line in lines[1:]]
        assert values[0] == "-1.5" and float(values[0]) == -1.5
        quantity = lines[1][1]
        assert quantity == name if name in ("-1.5", "-inf") else quantity.lstrip("'")[0] in "=+-@\\"
        for cell in (cell for line in lines for cell in line):
            assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r") or math.isfinite(float(cell)) or cell == "-inf", (
                cell
            )


NAMES = [
    *HOSTILE,
    "θ₁",
    "ŷ",
    "x̂",
    "θ̂",
    "λ_max",
    "w¹²₃₄",
    "½(ŷ − y)²",
    "ϵ",
    "Å",
    "ế",
    "𝑥",
    "한",
    "a,,b",
    "\u0301x",
    "ﬁ",
    "--",
    "ß",
    "x ^ 2",
    "😀",
]


def test_what_the_table_writes_itself_is_latex_of_ascii_and_so_are_greek_and_accented_names() -> None:
    t = {
        "θ₁": variable(-2.0),
        "ŵ": variable([1.0, -3e-5]),
        "λ̄": variable(1.0),
        "½": variable(0.5),
        "Ångström": variable(4.0),
    }
    y = sum((np.tanh(v * v).sum() for v in t.values()), 0.0) ** 2
    text = explain(
        y, names=t, hvp=[np.ones(v.shape) for v in t.values()], update=("sgd", 0.1), wrt=t.values()
    ).to_latex()
    assert text.isascii() and r"$\theta {}_{1}$ & input & $-$2 & " in text and r"$\bar{\lambda }$" in text
    assert r"\^{w}" in text and r"\frac{1}{2}" in text and r"\r{A}ngstr\"{o}m" in text and "{[}1, $-$3e{-}05{]}" in text
    assert re.search(r"v\d+\$\{\}\^\{2\}\$ & ", text)
    for record in REGISTRY.values():
        for formula in (record.formula or "", *record.derivatives):
            assert _latex(formula).isascii(), formula


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex is installed: the LaTeX was not compiled")
def test_plain_pdflatex_compiles_every_table(tmp_path) -> None:
    tables = []
    for name in NAMES:
        x, w = variable([1.0, 2.0], name), variable([3.0, -4.0])
        h = x * w
        tables.append(explain((h - h * h).sum(), names={name: h, name + "w": w}, hvp=[np.ones(2)] * 2).to_latex())
    formulas = [t for record in REGISTRY.values() for t in (record.name, record.formula or "", *record.derivatives)]
    body = "\n\n".join([*tables, *map(_latex, formulas)])
    size = r"\usepackage[paperwidth=900mm,paperheight=3000mm,margin=10mm]{geometry}"
    (tmp_path / "t.tex").write_text(
        rf"\documentclass{{article}}{size}\begin{{document}}" + body + r"\end{document}", "utf-8"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60)
    assert result.returncode == 0, result.stdout.decode(errors="replace")[-2000:]
    log = (tmp_path / "t.log").read_text("latin-1")
    assert "Missing character" not in log and "LaTeX Error" not in log


def test_a_markdown_reader_finds_every_cell_as_it_was() -> None:
    mistune = pytest.importorskip("mistune", reason="mistune is not installed: the Markdown was not read")
    read = mistune.create_markdown(escape=False, plugins=["table", "strikethrough"])
    for name in NAMES:
        x, w = variable([1.0, 2.0], name), variable([3.0, -4.0])
        table = explain((x * w).sum(), names={name + "w": w})
        page = Cells()
        page.feed(read(table.to_markdown()))
        assert page.tags == {"table", "thead", "tbody", "tr", "th", "td"}
        assert [c.strip() for c in page.cells] == [c.strip() for row in table.rows for c in cells(row)]


def test_matrix_operations_show_their_products_as_matrices() -> None:
    import nn

    rng = np.random.default_rng(0)
    layer, X, A = nn.Linear(3, 2, dtype=float), variable(rng.normal(size=(4, 3)), "X"), variable(np.ones((2, 3)), "A")
    h = layer(X)
    table = explain((h**2).sum() + (A.T @ A).sum(), names={"": layer, "h": h, "Aᵀ": A})
    for quantity, expression, value in [
        ("∂L/∂X", "∂L/∂h @ weight", 2 * h.data @ layer.weight.data),
        ("∂L/∂weight", "(∂L/∂h)ᵀ @ X", 2 * h.data.T @ X.data),
        ("∂L/∂bias", "Σ ∂L/∂h", 2 * h.data.sum(axis=0)),
    ]:
        row = at(table, quantity)
        assert row.expression == expression
        np.testing.assert_allclose(row.number, value, rtol=1e-12)
    assert [r.expression for r in table.rows if " via " in r.quantity and r.expression.startswith("(")] == ["(∂L/∂v3)ᵀ"]
    table = explain((A @ A.T @ A).sum(), hvp=[np.ones((2, 3))])
    for row in table.rows:  # "(g)ᵀ @ a" and "a @ (g)ᵀ" are what they say
        if row.phase == "second" and " @ " in row.expression and len(row.sources) == 3:
            g, _, other = (table.rows[k - 1].number for k in row.sources)
            left, right = row.expression.split(" @ ")
            first = left.strip("()ᵀ") == table.rows[row.sources[0] - 1].quantity.strip("()")
            a, b = (g, other) if first else (other, g)
            np.testing.assert_allclose(
                row.number, (a.T if left.endswith("ᵀ") else a) @ (b.T if right.endswith("ᵀ") else b)
            )


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_array_computations_have_the_engines_gradients_and_their_contributions_sum_up(data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    shapes = [(2, 3), (3,), (1, 3), (2, 1), ()]
    leaves = [variable(rng.normal(size=data.draw(st.sampled_from(shapes)))) for _ in range(3)]
    y = leaves[0]
    for k in range(data.draw(st.integers(1, 5))):
        other = leaves[data.draw(st.integers(0, 2))]
        y = data.draw(st.sampled_from([
            lambda: y + other, lambda: y * other, lambda: np.tanh(y) - y.mean(), lambda: np.maximum(y, other),
            lambda: y.reshape(-1)[::-1] @ y.reshape(-1) * other, lambda: y.T.sum(axis=0) * 0.5,
        ]) if y.ndim else st.sampled_from([lambda: y + other, lambda: y * other, lambda: np.sin(y)]))()  # fmt: skip
    y = (y * leaves[0]).sum()
    used = [x for x in leaves if any(x is t for node, _, _ in ad.walk(y) for t in node.inputs)]
    table = explain(y, wrt=used, hvp=[np.ones(x.shape) for x in used], update=("sgd", 0.5))
    for x, g in zip(used, ad.gradients(y, used)):
        name = table.names[x._number]
        np.testing.assert_allclose(at(table, f"∂L/∂{name}").number, g.data, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(at(table, f"{name}⁺").number, x.data - 0.5 * g.data, rtol=1e-12, atol=1e-14)
        assert at(table, f"(H·u)[{name}]").number.shape == x.shape
    for row in table.rows:
        if " + " in row.expression and row.phase in ("backward", "gradient", "second"):
            np.testing.assert_allclose(
                row.number, sum(table.rows[k - 1].number for k in row.sources), rtol=1e-9, atol=1e-12
            )


def test_bad_arguments_are_refused_with_a_message_that_names_them() -> None:
    import nn

    x, other = variable([1.0, 2.0], "x"), variable(1.0, "stranger")
    y = (x * Tensor([1.0, 1.0], name="c")).sum()
    constant = y.inputs[0].inputs[1]
    for error, words, arguments in [
        (ValueError, "shape (2,)", {"output": x * 2}),
        (TypeError, "Tensor, not int", {"output": 3}),
        (ValueError, "names['q']", {"names": {"q": other}}),
        (TypeError, "strings, not 1", {"names": {1: x}}),
        (TypeError, "not int for 'n'", {"names": {"n": 3}}),
        (TypeError, "not list", {"names": [x]}),
        (ValueError, "'stranger'", {"wrt": [x, other]}),
        (ValueError, "'c', does not require", {"wrt": constant}),
        (ValueError, "wrt is empty", {"wrt": []}),
        (TypeError, "not str", {"wrt": "x"}),
        (TypeError, "not float", {"wrt": 1.0}),
        (ValueError, '"sgd", not \'adam\'', {"update": ("adam", 0.1)}),
        (TypeError, "pair", {"update": 0.1}),
        (ValueError, "nan", {"update": ("sgd", np.nan)}),
        (ValueError, "'fast'", {"update": ("sgd", "fast")}),
        (ValueError, "not 2", {"hvp": [np.ones(2), np.ones(2)]}),
        (ValueError, "x needs shape (2,), not (3,)", {"hvp": [np.ones(3)]}),
        (TypeError, "hvp for x: dtype", {"hvp": [np.array(["a", "b"])]}),
        (TypeError, "not dict", {"hvp": {"x": [1.0, 2.0]}}),
        (ValueError, "names, Linear, has no parameter", {"names": nn.Linear(1, 1)}),
        (ValueError, "names['m'], Linear, has no parameter", {"names": {"m": nn.Linear(1, 1)}}),
        (ValueError, "update needs a leaf", {"wrt": y.inputs[0], "update": ("sgd", 0.1)}),
        (ValueError, "digits", {"digits": 0}),
        (ValueError, "digits", {"digits": 2.5}),
        (ValueError, "leaf", {"output": variable(1.0), "hvp": [1.0]}),
    ]:  # fmt: skip
        with pytest.raises(error, match=re.escape(words)):
            explain(**{"output": y} | arguments)
    table = explain(y)
    for method in (table.jacobian, table.delta):
        with pytest.raises(ValueError, match="'nobody' is not in"):
            method("nobody")
        with pytest.raises(ValueError, match="shape \\(\\) is not in"):
            method(other)
        with pytest.raises(TypeError, match="not int"):
            method(3)
    with pytest.raises(ValueError, match="'x' is a leaf"):
        table.jacobian(x)
    with pytest.raises(ValueError, match="'c' does not require"):
        table.delta("c")
    with pytest.raises(ValueError, match="does not depend on '∂L/∂x'"):
        explain((x**3).sum(), hvp=[1.0, 1.0]).delta("∂L/∂x")


def test_vectors_of_a_single_tensor_may_be_given_bare() -> None:
    for shape in ((), (1,), (2,), (2, 3)):
        x = variable(np.full(shape, 2.0))
        u = np.ones(shape)
        for vectors in (u, [u], u.tolist(), Tensor(u), (u.tolist(),)):
            assert (explain((x**3).sum(), hvp=vectors).rows[-1].number == 12 * u).all()
    a, b = variable(np.ones(2)), variable(1.0)
    assert explain((a * a).sum() + b * b, hvp=[[1, 2], 3]).rows[-1].number == 6.0


def test_a_freed_or_changed_graph_is_a_runtime_error() -> None:
    x = variable([1.0, 2.0])
    y = (x * x).sum()
    table = explain(y)
    y.backward(retain_graph=False)
    for call in (lambda: explain(y), lambda: table.delta(x), lambda: table.jacobian("v2")):
        with pytest.raises(RuntimeError, match="gone"):
            call()
    y = (x * x).sum()
    x.data = [3.0, 4.0]
    with pytest.raises(RuntimeError, match="written or assigned after"):
        explain(y)


def test_rows_are_aligned_in_a_terminal() -> None:
    x = variable(2.0, "漢é")
    lines = str(explain(x * x)).splitlines()
    width = lambda s: len(s) + s.count("漢")
    starts = {width(line[: line.index("input")]) for line in lines if " input " in line}
    assert starts == {lines[0].index("expression")}
    assert repr(explain(x * x)) == f"<Explanation of L in {len(explain(x * x))} steps; print() shows the table>"


def test_a_jacobian_that_is_not_written_out_tells_its_range_and_no_mean() -> None:
    x = variable(np.linspace(-1, 1, 5), "x")
    table = explain((ad.softmax(x) * np.arange(5.0)).sum())
    local = next(row for row in table.rows if row.quantity.endswith("/∂x"))
    assert re.fullmatch(r"5×5: -[\d.]+ … [\d.]+", local.value) and local.number.shape == (5, 5)
    import nn

    layer = nn.Linear(3, 2)
    values = [row.value for row in explain(layer(np.ones((5, 3), "float32")).sum()).rows if row.phase == "local"]
    assert sum("too large to show" in value for value in values) == 2 and not any("mean" in value for value in values)


def test_zero_has_no_sign_where_numbers_stand_for_names() -> None:
    w = variable(0.0, "w")
    page = str(explain(ad.sigmoid(w * 2.0) ** 2).to_html())
    assert r"\u03c3(0)" in page and r"\u22120)" not in page  # σ(0) and −0), as the page's data have them


# Complex numbers


@pytest.mark.parametrize("record", [r for r in REGISTRY.values() if r.complex is True], ids=lambda record: record.name)
def test_products_of_complex_tables_are_the_engines_cotangents(record: Primitive) -> None:
    samples = [s for s in record.samples(np.random.default_rng(0)) if differentiable(s)]
    samples = [s for s in samples if any(np.iscomplexobj(x) for x in s.inputs) and sum(map(np.size, s.inputs)) < 60]
    for sample in samples[:3]:
        given = [
            Tensor(x, requires_grad=True) if isinstance(x, np.ndarray) and x.dtype.kind in "fc" else x
            for x in sample.inputs
        ]
        variables = [x for x in given if isinstance(x, Tensor)]
        y = general(record)(*given, **sample.params)
        if not isinstance(y, Tensor) or y.is_leaf:
            continue
        loss = (abs(y * (1.3 - 0.7j) + 0.2) ** 2).sum()
        table = explain(loss, wrt=variables, names={f"a{i}": x for i, x in enumerate(variables)} | {"y": y})
        for i, (x, right) in enumerate(zip(variables, ad.gradients(loss, variables, allow_unused=True))):
            if right is None:
                continue
            name = f"grad a{i}" if x.dtype.kind == "c" else f"∂L/∂a{i}"
            np.testing.assert_allclose(at(table, name).number, right.numpy(), rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(table.delta(x), right.numpy(), rtol=1e-10, atol=1e-12)
        for local, product in zip(table.rows, table.rows[1:]):  # where the table says that it multiplies, it does
            if not is_elementwise(record) or local.tensor is not y or local.phase != "local" or local.number is None:
                continue
            g = table.rows[product.sources[0] - 1].number
            found = g * local.number
            found = np.conj(found) if str(product.expression).endswith(")*") else found
            found = found.real if str(product.expression).startswith("Re(") else found
            if found.shape == product.number.shape:
                np.testing.assert_allclose(found, product.number, rtol=1e-10, atol=1e-12)


def test_a_complex_table_says_where_it_conjugates_and_descends_by_the_gradient():
    torch = pytest.importorskip("torch")
    z = Tensor([1.5 - 2j, 1j], requires_grad=True, name="z")
    w = Tensor([0.5, 2.0], requires_grad=True, name="w")
    y = (abs(np.conj(z) * w * (2 + 1j) + z) ** 2).sum()
    table = explain(y, update=("sgd", 0.1))
    text = str(table)
    for line in ("∂v1/∂z*", "(∂L/∂v1 · ∂v1/∂z*)*", "Re(∂L/∂v2 · ∂v2/∂w)", "v2 · (2+1j)", "z − 0.1 · grad z"):
        assert line in text
    theirs = torch.tensor(z.data, requires_grad=True)
    (abs(theirs.conj() * torch.tensor(w.data) * (2 + 1j) + theirs) ** 2).sum().backward()
    np.testing.assert_allclose(at(table, "grad z").number, theirs.grad.numpy(), rtol=1e-12)
    np.testing.assert_allclose(at(table, "z⁺").number, z.data - 0.1 * theirs.grad.numpy(), rtol=1e-12)
    with pytest.raises(TypeError, match="conj is not holomorphic in its complex input 0"):
        table.jacobian("v1")
    np.testing.assert_array_equal(table.jacobian("v2")[0], np.diag(w.data))
    turned = ad.primitive(
        lambda z: 1j * np.conj(z),
        name="turned",
        vjps=[lambda g, y, z: np.conj(1j * g)],
        complex=True,
        derivatives=["i ·*"],
    )
    np.testing.assert_array_equal(at(explain(turned(z).real.sum()), "∂v1/∂z*").number, 1j * np.eye(2))
    x = np.sign(z).real.sum()
    assert at(explain(x), "∂v1/∂z").value == "(of z and z*, no one number)"
