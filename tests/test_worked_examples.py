"""The worked examples of the source documents that need only the engine: networks, losses, activations, optimisation
by hand, recurrences, all recomputed to 1e-10.

Each function below computes an entry of data/worked_examples.json from its inputs and returns what it covers in the
form of the entry's `expected`; every number it is compared with is read from there. Keys that it leaves out are named
in `without`, with the reason, so that nothing is dropped silently.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import autodiff as ad
from autodiff import Tensor
from tests.documents import ENTRIES

EXAMPLES = {}


def example(entry, without=None):
    """Register a function as the computation of an entry; `without` maps keys of `expected` it omits to the reason."""

    def register(function):
        EXAMPLES[entry] = (function, without or {})
        return function

    return register


# Comparing


def number(x):
    """A leaf of `expected`: null means left open and is not compared, 'inf' and 'nan' are strings there."""
    return np.nan if x is None else float(x)


numbers = np.vectorize(number, otypes=[float])
is_open = np.vectorize(lambda x: x is None, otypes=[bool])


def compare(got, expected, path, rtol, atol, without, omitted):
    """Compare in the form of `got`; add to `omitted` the keys of `expected` that it lacks."""
    if isinstance(got, dict):
        assert isinstance(expected, dict), path
        assert set(got) <= set(expected), f"{path}: {set(got) - set(expected)} is not expected"
        left = set(expected) - set(got)
        assert left <= set(without), f"{path}: {left - set(without)} is neither computed nor named in `without`"
        omitted |= left
        for key, value in got.items():
            compare(value, expected[key], f"{path}.{key}", rtol, atol, without, omitted)
    elif isinstance(got, (list, tuple)):
        assert len(got) == len(expected), path
        for k, (g, e) in enumerate(zip(got, expected)):
            compare(g, e, f"{path}[{k}]", rtol, atol, without, omitted)
    else:
        got = got.detach() if isinstance(got, ad.Tensor) else got
        ours, theirs = np.asarray(got, float), np.array(expected, dtype=object)
        assert ours.shape == theirs.shape, f"{path}: shape {ours.shape}, expected {theirs.shape}"
        ours = np.where(is_open(theirs), np.nan, ours) if theirs.size else ours
        theirs = numbers(theirs) if theirs.size else ours
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, err_msg=path)


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_worked_example_is_reproduced(entry):
    if entry not in EXAMPLES:  # it needs a layer or an optimiser: the test file of that has it
        others = [p for p in Path(__file__).parent.rglob("test_*.py") if p.name != Path(__file__).name]
        assert any(f'"{entry}"' in p.read_text() for p in others)
        return
    function, without = EXAMPLES[entry]
    data, omitted = ENTRIES[entry], set()
    with np.errstate(all="ignore"):
        got = function(data["inputs"])
    compare(got, data["expected"], entry, data.get("rtol", 1e-10), 1e-12, without, omitted)
    assert got and omitted == set(without), f"`without` names what is computed: {set(without) - omitted}"


def test_there_are_many():
    assert len(ENTRIES) >= 90
    leaves = sum(np.size(np.array(list(walk(e["expected"])), dtype=object)) for e in ENTRIES.values())
    assert leaves > 3000


def walk(tree):
    if isinstance(tree, (dict, list)):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from walk(value)
    else:
        yield tree


# What many examples share


def a(x):
    return np.array(x, dtype=float)


def recorded(*values):
    return [Tensor(a(v), requires_grad=True) for v in values]


def grads(y, inputs, **options):
    return [g.data for g in ad.gradients(y, inputs, **options)]


def half_squared(y, t):
    return 0.5 * ((y - t) ** 2).sum()


def derivatives(f, x, count=3):
    """f, f', f'' … elementwise at the points x."""
    found = []
    for _ in range(count):
        found.append(f(Tensor(x)))
        f = ad.elementwise_grad(f)
    return found


def descend(f, x, lr, steps):
    """The points of gradient descent on f, the start included; parameters are written in place, as users do."""
    p = Tensor(a(x), requires_grad=True)
    points = [p.data.copy()]
    for _ in range(steps):
        p.zero_grad()
        f(p).backward()
        p.data -= lr * p.grad.data
        points.append(p.data.copy())
    return points


def second_order(f, x, u, **names):
    """Hessian, its product with u and with the gradient, and what else the entries list."""
    g = ad.grad(f)(x)
    squared = lambda z: (ad.grad(f)(z) ** 2).sum()
    return {
        "gradient": g,
        "hessian": ad.hessian(f)(x),
        "eigenvalues": np.linalg.eigvalsh(ad.hessian(f)(x)),
        "hvp_u": ad.hvp(f, x, a(u)),
        "uHu": a(u) @ ad.hvp(f, x, a(u)),
        "hvp_gradient": ad.hvp(f, x, g),
        "squared_gradient_norm": squared(Tensor(x)).item(),
        "grad_of_squared_gradient_norm": ad.grad(squared)(x),
    }


def some(results, *names, **renamed):
    """The named results, and those under another name."""
    return {n: results[n] for n in names} | {new: results[n] for new, n in renamed.items()}


# Perceptrons and small networks


@example("xor-table", without={"correct_by_best_single_line_of_4": "a search over lines"})
def _(i):
    x, step, relu = a(i["x"]), i["step_net"], i["relu_net"]
    hidden = np.heaviside(Tensor(x) @ a(step["W1"]).T + a(step["b1"]), 0.0)
    return {
        "y": np.logical_xor(Tensor(x[:, 0]), x[:, 1]),
        "step_hidden": hidden,
        "step_output": np.heaviside(hidden @ a(step["w2"]) + step["b2"], 0.0),
        "relu_output": ad.relu(Tensor(x) @ a(relu["W1"]).T + a(relu["b1"])) @ a(relu["w2"]) + relu["b2"],
    }


@example("perceptron-or")
def _(i):
    z = Tensor(a(i["x"])) @ a(i["w"]) + i["b"]
    return {"a": z, "y": np.heaviside(z, 0.0)}


@example("perceptron-and")
def _(i):
    zs = [Tensor(a(i["x"])) @ a(s["w"]) + s["b"] for s in i["sets"]]
    return {"sets": [{"a": z, "y": np.heaviside(z, 0.0)} for z in zs]}


@example("perceptron-nand-nor-xor")
def _(i):
    x = Tensor(a(i["x"]))
    first, second = x[:, 0] > 0, x[:, 1] > 0
    gate = lambda s: np.heaviside(x @ a(s["w"]) + s["b"], 0.0)
    return {"nand": gate(i["nand"]), "nor": gate(i["nor"]), "xor": first ^ second, "xnor": ~(first ^ second)}


@example("bias-shift")
def _(i):
    w = Tensor(a(i["w"]))
    return {
        "x2_intercept": -i["b"] / w[1],
        "distance_from_origin": np.abs(i["b"]) / np.linalg.norm(w),
        "signed_distance_of_origin": i["b"] / np.linalg.norm(w),
    }


@example("perceptron-loss-gradient")
def _(i):
    w, w0 = recorded(i["w"], i["w0"])
    z = a(i["x"]) @ w + w0
    wrong = z.data * a(i["t"]) < 0
    loss = -np.where(wrong, z * a(i["t"]), 0.0).sum()
    dw, dw0 = grads(loss, [w, w0])
    return {"a": z, "misclassified": np.flatnonzero(wrong), "D": loss, "dD_dw": dw, "dD_dw0": dw0}


@example("backprop-in-by-out-layout")
def _(i):
    x, w01, b1, w12, b2 = recorded(i["x"], i["W01_in_by_out"], i["b1"], i["W12_in_by_out"], i["b2"])
    z1 = x @ w01 + b1
    h1 = ad.sigmoid(z1)
    z2 = h1 @ w12 + b2
    yhat = ad.sigmoid(z2)
    loss = half_squared(yhat, i["y"])
    names = ["delta2", "delta1", "dW12_in_by_out", "db2", "dW01_in_by_out", "db1", "dx"]
    return {"z1": z1, "h1": h1, "z2": z2, "yhat": yhat, "loss": loss} | dict(
        zip(names, grads(loss, [z2, z1, w12, b2, w01, b1, x]))
    )


@example("linear-collapse")
def _(i):
    product = Tensor(a(i["W2"])) @ a(i["W1"])
    return {"product": product, "y": product @ a(i["x"])}


@example("linear-layer-gradients")
def _(i):
    w, v, b = recorded(i["W"], i["a"], i["b"])
    z = w @ v + b
    dw, dv, db = grads(z, [w, v, b], grad_outputs=a(i["delta"]))
    return {"z": z, "dW": dw, "db": db, "da": dv, "outer_a_delta": np.outer(v, a(i["delta"])), "dot_a_a": np.dot(v, v)}


@example("input-affine-invariance")
def _(i):
    w, w0, x = Tensor(a(i["W"])), Tensor(a(i["w0"])), Tensor(a(i["x"]))
    new = {"x_new": i["a"] * x + i["b"], "W_new": w / i["a"], "w0_new": w0 - w.sum(axis=1) * i["b"] / i["a"]}
    z = w @ x + w0
    np.testing.assert_allclose((new["W_new"] @ new["x_new"] + new["w0_new"]).data, z.data)
    return new | {"z": z}


@example("hidden-rescaling-symmetry")
def _(i):
    w1, w2, c, x = i["W1"], i["W2"], i["c"], Tensor(a(i["x"]))
    functions = {
        "relu": ad.relu,
        "leaky_relu_0.01": lambda z: np.where(z > 0, z, 0.01 * z),
        "linear": lambda z: z,
        "tanh": np.tanh,
        "sigmoid": ad.sigmoid,
    }
    penalty = lambda u, v, l1=1.0, l2=1.0: i["lambda"] / 2 * (l1 * u**2 + l2 * v**2)
    b, xb = i["hidden_bias_case"]["b"], i["hidden_bias_case"]["x"]
    # the scale of the least penalty is where its derivative in the logarithm of c² vanishes
    at = Tensor(np.log(w2 / w1), requires_grad=True)
    scaled = penalty(w1 * np.exp(at / 2), w2 * np.exp(-at / 2))
    assert abs(grads(scaled, [at])[0]) < 1e-12
    return {
        "output_original": {n: w2 * f(w1 * x) for n, f in functions.items()},
        "output_rescaled": {n: w2 / c * f(c * w1 * x) for n, f in functions.items()},
        "penalty_original": penalty(w1, w2),
        "penalty_rescaled": penalty(c * w1, w2 / c),
        "penalty_rescaled_with_layerwise_lambda_quarter_and_4": penalty(c * w1, w2 / c, 0.25, 4),
        "c_squared_of_least_penalty": np.exp(at),
        "least_penalty": scaled,
        "relu_with_hidden_bias": {
            "original": w2 * ad.relu(Tensor(float(w1 * xb + b))),
            "weights_rescaled_only": w2 / c * ad.relu(Tensor(float(c * w1 * xb + b))),
            "weights_and_bias_rescaled": w2 / c * ad.relu(Tensor(float(c * w1 * xb + c * b))),
        },
    }


# One- and two-layer scalar networks, by hand and to second order


@example("chain-rule-squared-affine")
def _(i):
    y, dy, d2y = derivatives(lambda x: (2 * x + 3) ** 2, a(i["x"]))
    return {"y": y, "dy": dy, "d2y": d2y}


@example("chain-rule-accumulation")
def _(i):
    (x,) = recorded(i["x"])
    v3 = x**2
    v5, v6 = 2 * v3, v3 + 1
    f = v5 * v6
    dv5, dv6, dv3, dx = ad.gradients(f, [v5, v6, v3, x], create_graph=True)
    return {
        "v3": v3, "v5": v5, "v6": v6, "f": f, "df_dv5": dv5, "df_dv6": dv6,
        "contribution_through_v6": dv6 * grads(v6, [v3])[0],
        "contribution_through_v5": dv5 * grads(v5, [v3])[0],
        "df_dv3": dv3, "dv3_dx": grads(v3, [x])[0], "df_dx": dx, "d2f_dx2": grads(dx, [x])[0],
    }  # fmt: skip


BACKPROP_9 = ["w1", "b1", "w2", "b2"]


def example_9(i):
    def loss(p, x=i["x"], t=i["t"]):
        z = p[0] * x + p[1]
        h = ad.sigmoid(z)
        y = p[2] * h + p[3]
        return 0.5 * (t - y) ** 2, z, h, y

    return loss, a([i[n] for n in BACKPROP_9])


@example("backprop-example-9")
def _(i):
    loss, start = example_9(i)
    (p,) = recorded(start)
    x, t = recorded(i["x"], i["t"])
    e, z, h, y = loss(p, x, t)
    dp, dx, dt, delta1, delta2 = grads(e, [p, x, t, z, y])
    points = descend(lambda q: loss(q)[0], start, i["eta"], 100)
    kept = [1, 2, 10, 50, 100]
    return {
        "a1": z, "h": h, "y": y, "E": e, "delta2": delta2, "sigmoid_prime": grads(h, [z])[0], "delta1": delta1,
        "dE_dw1": dp[0], "dE_db1": dp[1], "dE_dw2": dp[2], "dE_db2": dp[3], "dE_dx": dx, "dE_dt": dt,
        "after_one_step": dict(zip(BACKPROP_9, points[1])),
        "history": [{"step": k, "w1_b1_w2_b2": points[k], "E": loss(Tensor(points[k]))[0]} for k in kept],
        "E_without_half": 2 * e,
    }  # fmt: skip


@example("backprop-example-9-second-order")
def _(i):
    loss, p = example_9(i)
    f = lambda q: loss(q)[0]
    names = [
        "hessian",
        "eigenvalues",
        "hvp_u",
        "hvp_gradient",
        "squared_gradient_norm",
        "grad_of_squared_gradient_norm",
    ]
    return some(second_order(f, p, i["u"]), *names) | {
        "d2E_dx2": ad.hessian(lambda x: loss(p, x)[0])(float(i["x"])),
    }


@example("single-neuron-table-2-1")
def _(i):
    x, w, b = recorded(i["x"], i["w"], i["b"])
    z = w * x + b
    yhat = ad.sigmoid(z)
    loss = half_squared(yhat, i["y"])
    dy, dz, dw, db, dx = grads(loss, [yhat, z, w, b, x])
    f = lambda p, v: half_squared(ad.sigmoid(p[0] * v + p[1]), i["y"])
    p = a([i["w"], i["b"]])
    return {
        "z": z, "yhat": yhat, "loss": loss, "dloss_dyhat": dy, "dyhat_dz": grads(yhat, [z])[0], "dloss_dz": dz,
        "dloss_dw": dw, "dloss_db": db, "dloss_dx": dx, "hessian_w_b": ad.hessian(lambda q: f(q, i["x"]))(p),
        "d2loss_dx2": ad.hessian(lambda v: f(p, v))(float(i["x"])),
    }  # fmt: skip


def scalar_chain(functions):
    """The loss of a scalar network with parameters (w1, b1, w2, b2, …) and one activation for each layer."""

    def loss(p, x, y):
        for k, f in enumerate(functions):
            x = f(p[2 * k] * x + p[2 * k + 1])
        return 0.5 * (x - y) ** 2

    return loss


def traced_chain(functions, p, x, y):
    """z and a of every layer, the output and the loss, with derivatives of the loss by every one of them."""
    zs, hs = [], [x]
    for k, f in enumerate(functions):
        zs.append(p[2 * k] * hs[-1] + p[2 * k + 1])
        hs.append(f(zs[-1]))
    return zs, hs, 0.5 * (hs[-1] - y) ** 2


@example("two-layer-sigmoid-tables-2-2-2-3", without={
    "b2_implied_by_printed_digits": "an inference from printed digits", "parameter_order": "words"})  # fmt: skip
def _(i):
    names = ["w1", "b1", "w2", "b2"]
    p = recorded(*(i[n] for n in names))
    (x,) = recorded(i["x"])
    zs, hs, loss = traced_chain([ad.sigmoid] * 2, p, x, i["y"])
    dy, dz2, dw2, db2, da1, dz1, dw1, db1, dx = grads(loss, [hs[2], zs[1], p[2], p[3], hs[1], zs[0], p[0], p[1], x])
    f = lambda q: scalar_chain([ad.sigmoid] * 2)(q, i["x"], i["y"])
    return {
        "z1": zs[0], "a1": hs[1], "z2": zs[1], "yhat": hs[2], "loss": loss, "dloss_dyhat": dy,
        "dyhat_dz2": grads(hs[2], [zs[1]])[0], "dloss_dz2": dz2, "dz2_dw2": grads(zs[1], [p[2]])[0], "dloss_dw2": dw2,
        "dloss_db2": db2, "dz2_da1": grads(zs[1], [hs[1]])[0], "dloss_da1": da1, "da1_dz1": grads(hs[1], [zs[0]])[0],
        "dloss_dz1": dz1, "dz1_dw1": grads(zs[0], [p[0]])[0], "dloss_dw1": dw1, "dloss_db1": db1, "dloss_dx": dx,
    } | some(second_order(f, a([i[n] for n in names]), np.ones(4)), "hessian", "hvp_u") | {"u": np.ones(4)}  # fmt: skip


THREE = ["w1", "b1", "w2", "b2", "w3", "b3"]
RELU_TANH_SIGMOID = [ad.relu, np.tanh, ad.sigmoid]


def three_layers(i):
    p = recorded(*(i[n] for n in THREE))
    (x,) = recorded(i["x"])
    return (p, x, *traced_chain(RELU_TANH_SIGMOID, p, x, i["y"]))


@example("three-layer-scalar-forward")
def _(i):
    _, _, zs, hs, loss = three_layers(i)
    return {"z1": zs[0], "a1": hs[1], "z2": zs[1], "a2": hs[2], "z3": zs[2], "yhat": hs[3], "loss": loss}


@example("three-layer-scalar-backward")
def _(i):
    p, x, zs, hs, loss = three_layers(i)
    local = [grads(h, [z])[0] for h, z in zip(hs[1:], zs)]
    jacobians = [grads(hs[k + 1], [hs[k]])[0] for k in range(3)]
    d = grads(loss, [hs[3], zs[2], p[4], p[5], hs[2], zs[1], p[2], p[3], hs[1], zs[0], p[0], p[1], x])
    names = ["dloss_dyhat", "delta3", "dloss_dw3", "dloss_db3", "dloss_da2", "delta2", "dloss_dw2", "dloss_db2",
             "dloss_da1", "delta1", "dloss_dw1", "dloss_db1", "dloss_dx"]  # fmt: skip
    return dict(zip(names, d)) | {
        "relu_prime_z1": local[0], "tanh_prime_z2": local[1], "sigmoid_prime_z3": local[2],
        "J1": jacobians[0], "J2": jacobians[1], "J3": jacobians[2],
    }  # fmt: skip


@example("three-layer-scalar-gd-update")
def _(i):
    p, x, _, _, loss = three_layers(i)
    loss.backward()
    for t in p:
        t.data -= i["eta"] * t.grad.data
    _, hs, after = traced_chain(RELU_TANH_SIGMOID, p, x, i["y"])
    return dict(zip(THREE, p)) | {"yhat_after": hs[3], "loss_before": loss, "loss_after": after}


@example("three-layer-scalar-second-order")
def _(i):
    p = a([i[n] for n in THREE])
    f = scalar_chain(RELU_TANH_SIGMOID)
    names = ["gradient", "hessian", "eigenvalues", "hvp_u", "uHu", "hvp_gradient", "grad_of_squared_gradient_norm"]
    return some(second_order(lambda q: f(q, i["x"], i["y"]), p, i["u"]), *names) | {
        "d2loss_dx2": ad.hessian(lambda x: f(p, x, i["y"]))(float(i["x"])),
    }


@example("linear-three-layer-hvp")
def _(i):
    p, u, identity = a([i[n] for n in THREE]), a(i["u"]), lambda z: z
    model = lambda q: q[4] * (q[2] * (q[0] * i["x"] + q[1]) + q[3]) + q[5]
    loss = lambda y: 0.5 * (y - i["y"]) ** 2
    f = lambda q: scalar_chain([identity] * 3)(q, i["x"], i["y"])
    results = second_order(f, p, u)
    zs, hs, value = traced_chain([identity] * 3, recorded(*p), Tensor(float(i["x"])), i["y"])
    gauss_newton = ad.gauss_newton_vp(model, loss, p, u)
    names = ["gradient", "hessian", "eigenvalues", "hvp_u", "uHu", "hvp_gradient", "grad_of_squared_gradient_norm"]
    return some(results, *names) | {
        "a1": hs[1], "a2": hs[2], "yhat": hs[3], "residual": hs[3] - i["y"], "loss": value,
        "dyhat_dtheta": ad.grad(model)(p), "s": results["gradient"] @ u, "hessian_of_yhat": ad.hessian(model)(p),
        "gauss_newton_hvp_u": gauss_newton, "residual_part_u": results["hvp_u"] - gauss_newton,
    }  # fmt: skip


# The matrix network


MATRIX = ["W1", "b1", "W2", "b2", "W3", "b3"]


def matrix_network(p, x, y):
    zs, hs = [], [x]
    for k, f in enumerate(RELU_TANH_SIGMOID):
        zs.append(p[2 * k] @ hs[-1] + p[2 * k + 1])
        hs.append(f(zs[-1]))
    return zs, hs, half_squared(hs[-1], y)


def traced_matrix(i):
    p = recorded(*(i[n] for n in MATRIX))
    (x,) = recorded(i["x"])
    return (p, x, *matrix_network(p, x, i["y"]))


@example("matrix-three-layer-forward")
def _(i):
    _, _, zs, hs, loss = traced_matrix(i)
    return {"z1": zs[0], "a1": hs[1], "z2": zs[1], "a2": hs[2], "z3": zs[2][0], "yhat": hs[3][0], "loss": loss}


@example("matrix-three-layer-jacobians")
def _(i):
    p = [a(i[n]) for n in MATRIX]
    _, x, zs, hs, loss = traced_matrix(i)
    local = [grads(h.sum(), [z])[0] for h, z in zip(hs[1:], zs)]
    layer = lambda k: lambda v: RELU_TANH_SIGMOID[k](Tensor(p[2 * k]) @ v + p[2 * k + 1])
    jacobians = [ad.jacobian(layer(k))(hs[k].data) for k in range(3)]
    return {
        "dloss_dyhat": grads(loss, [hs[3]])[0][0], "sigmoid_prime_z3": local[2][0], "tanh_prime_z2": local[1],
        "relu_prime_z1": local[0], "J1": jacobians[0], "J2": jacobians[1], "J3": jacobians[2][0],
        "full_jacobian_dyhat_dx": ad.jacobian(lambda v: matrix_network(p, v, i["y"])[1][-1])(x.data)[0],
    }  # fmt: skip


@example("matrix-three-layer-gradients")
def _(i):
    p, x, zs, hs, loss = traced_matrix(i)
    loss.backward()
    dz3, da2, dz2, da1, dz1 = grads(loss, [zs[2], hs[2], zs[1], hs[1], zs[0]])
    return {
        "dloss_dz3": dz3[0], "dloss_da2": da2, "dloss_dz2": dz2, "dloss_da1": da1, "dloss_dz1": dz1, "dloss_dx": x.grad,
    } | {f"dloss_d{n}": t.grad for n, t in zip(MATRIX, p)}  # fmt: skip


def unflattened(v, shapes):
    ends = np.cumsum([int(np.prod(s)) for s in shapes])
    return [v[e - int(np.prod(s)) : e].reshape(s) for e, s in zip(ends, shapes)]


@example("matrix-three-layer-second-order")
def _(i):
    parts = [a(i[n]) for n in MATRIX]
    shapes, p = [t.shape for t in parts], np.concatenate([t.ravel() for t in parts])
    f = lambda q: matrix_network(unflattened(q, shapes), a(i["x"]), i["y"])[2]
    model = lambda q: matrix_network(unflattened(q, shapes), a(i["x"]), i["y"])[1][-1]
    fx = lambda x: matrix_network(parts, x, i["y"])[2]
    results = second_order(f, p, i["u"])
    return some(results, "uHu", "hvp_gradient", hessian_parameters="hessian", hvp_parameters_u="hvp_u",
                eigenvalues_parameters="eigenvalues") | {
        "hessian_x": ad.hessian(fx)(a(i["x"])), "hvp_x_ux": ad.hvp(fx, a(i["x"]), a(i["ux"])),
        "trace": np.trace(results["hessian"]), "dyhat_dparameters": ad.jacobian(model)(p)[0],
        "gauss_newton_hvp_u": ad.gauss_newton_vp(model, lambda y: half_squared(y, i["y"]), p, a(i["u"])),
    }  # fmt: skip


@example("lp-penalty-on-network")
def _(i):
    data = ENTRIES["matrix-three-layer-gradients"]["inputs"]
    p, _, _, _, loss = traced_matrix(data)
    weights = p[::2]
    cubes = sum((np.abs(w) ** i["p"]).sum() for w in weights)
    penalty = i["lambda"] / i["p"] * cubes
    plain, total = grads(penalty, weights), grads(loss + penalty, weights)
    bias = ad.gradients(penalty, p[1], allow_unused=True)[0]
    assert bias is None
    return {"sum_abs_cubed": cubes, "penalty": penalty, "bias_penalty_gradients": np.zeros(2)} | {
        f"{kind}dW{k + 1}": g[k] for kind, g in (("", plain), ("total_", total)) for k in range(3)
    }


# The graph v7 = x1 exp(x2) + cos(x1 x2)


def v7(x):
    return x[0] * np.exp(x[1]) + np.cos(x[0] * x[1])


@example("v7-forward-backward")
def _(i):
    rows = []
    for point in i["points"]:
        (x,) = recorded(point)
        x1, x2 = x[0], x[1]
        v3 = np.exp(x2)
        v4, v5 = x1 * v3, x1 * x2
        v6 = np.cos(v5)
        y = v4 + v6
        names = ["dv4", "dv6", "dv5", "dv3", "dv1", "dv2"]
        u = [1.0, -1.0]
        rows.append(
            {"x": point, "v3": v3, "v4": v4, "v5": v5, "v6": v6, "v7": y, "u": u, "hvp_u": ad.hvp(v7, a(point), a(u)),
             "hessian": ad.hessian(v7)(a(point))} | dict(zip(names, grads(y, [v4, v6, v5, v3, x1, x2])))
        )  # fmt: skip
    return {"at": rows}


V7_LOSSES = {
    "identity": lambda v, t: v,
    "half_squared": lambda v, t: 0.5 * (v - t) ** 2,
    "absolute": lambda v, t: np.abs(v - t),
    "log_squared": lambda v, t: np.log(1 + (v - t) ** 2),
}


@example("v7-four-losses", without={"loss": "a name", "target": "an input"})
def _(i):
    cases = []
    for loss, target in [("identity", None)] + [(n, t) for t in (1, 0) for n in list(V7_LOSSES)[1:]]:
        (x,) = recorded(i["x"])
        f = lambda z, loss=loss, target=target: V7_LOSSES[loss](v7(z), target)
        v = v7(x)
        cases.append({
            "value": f(x), "dv7": grads(V7_LOSSES[loss](v, target), [v])[0], "gradient": ad.grad(f)(x.data),
            "hessian": ad.hessian(f)(x.data),
        })  # fmt: skip
    return {"cases": cases}


def v7_run(i, loss):
    points = descend(loss, i["x0"], i["lr"], i["steps"])
    values = [v7(Tensor(p)).item() for p in (points[0], points[-1])]
    found = lambda steps: [{"step": k, "x": points[k], "v7": v7(Tensor(points[k]))} for k in steps]
    return {"final": points[-1], "v7_start": values[0], "v7_final": values[1]}, found, points


@example("v7-gd-direct")
def _(i):
    run, found, _ = v7_run(i, v7)
    return run | {"iterates": found(range(11))}


@example("v7-gd-to-zero")
def _(i):
    loss = lambda x: 0.5 * v7(x) ** 2
    run, found, points = v7_run(i, loss)
    return run | {"iterates": found([0, 1, 10, 100, 1000, 2000, 5000]), "loss_final": loss(Tensor(points[-1]))}


@example("v7-gd-to-one", without={"v7_at_printed_point": "that point is not among the inputs"})
def _(i):
    loss = lambda x: 0.5 * (v7(x) - 1) ** 2
    run, found, points = v7_run(i, loss)
    return run | {"iterates": found([0, 1, 10, 100, 1000, 2000, 5000]), "loss_final": loss(Tensor(points[-1]))}


@example("second-order-taylor-v7")
def _(i):
    x, d = a(i["x"]), a(i["delta"])
    y, slope = ad.jvp(v7, x, d)
    return {
        "exact": v7(Tensor(x + d)),
        "first_order": y + slope,
        "second_order": y + slope + 0.5 * d @ ad.hvp(v7, x, d),
    }


@example("exercise-1-gradient-check", without={"central_difference": "rounding exceeds truncation for the small eps"})
def _(i):
    x = a(i["x"])
    exact, rows = ad.grad(v7)(x), []
    for eps, row in zip(i["eps"], ENTRIES["exercise-1-gradient-check"]["expected"]["rows"]):
        # the given differences were made without rounding: what is left between them and the derivative is truncation
        rows.append({"eps": eps, "truncation_error": a(row["central_difference"]) - exact})
        steps = np.eye(2) * eps
        ours = [(v7(Tensor(x + e)) - v7(Tensor(x - e))).item() / (2 * eps) for e in steps]
        np.testing.assert_allclose(ours, row["central_difference"], atol=1e-15 / eps)
    return {"exact_gradient": exact, "rows": rows}


# Activations and losses


def curves(i, functions):
    return {n: dict(zip(["f", "df", "d2f"], derivatives(f, a(i["x"])))) for n, f in functions.items()}


SELU = (1.0507009873554805, 1.6732632423543772)


@example("activation-values")
def _(i):
    half = np.sqrt(0.5)
    return curves(i, {
        "sigmoid": ad.sigmoid, "tanh": np.tanh, "relu": ad.relu,
        "leaky_relu_0.01": lambda x: np.where(x > 0, x, 0.01 * x),
        "gelu_exact": lambda x: x * 0.5 * ad.special.erfc(-x * half),
        "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    })  # fmt: skip


@example("activation-values-relu-family", without={
    "pytorch_second_derivative_at_0": "here that of the branch x <= 0, which is alpha"})  # fmt: skip
def _(i):
    scale, alpha = i["selu_lambda"], i["selu_alpha"]
    elu = lambda k: lambda x: np.where(x > 0, x, k * np.expm1(np.where(x > 0, 0.0, x)))
    functions = {
        "prelu_0.25": lambda x: np.where(x > 0, x, 0.25 * x), "elu_1": elu(1.0), "elu_0.5": elu(0.5),
        "selu": lambda x: scale * elu(alpha)(x), "softplus": ad.softplus,
    }  # fmt: skip
    x, slope = a(i["x"]), Tensor(np.full(len(i["x"]), 0.25), requires_grad=True)
    return curves(i, functions) | {
        "prelu_derivative_in_a": grads(np.where(x > 0, x, slope * x).sum(), [slope])[0],
        "selu_negative_limit": scale * elu(alpha)(Tensor(-1e4)),
    }


@example("sigmoid-tanh-saturation")
def _(i):
    slope = lambda f: derivatives(f, a(i["x"]), 2)[1]
    return {
        "sigmoid_prime": slope(ad.sigmoid),
        "tanh_prime": slope(np.tanh),
        "tanh_1_from_sigmoid_2": 2 * ad.sigmoid(Tensor(2.0)) - 1,
    }


@example("step-function-at-zero")
def _(i):
    x = Tensor(a(i["a"]))
    return {
        "strict": x > 0,
        "non_strict": x >= 0,
        "numpy_heaviside_with_0": np.heaviside(x, 0.0),
        "numpy_heaviside_with_1": np.heaviside(x, 1.0),
        "numpy_sign": np.sign(x),
    }


@example("subgradient-conventions", without={
    "interval_between_one_sided_derivatives": "mathematics, not a derivative", "seed_choice": "words",
    "abs(x)^0.5": "sign(0) · ∞: NaN in PyTorch, 0 here, where the gradient of |x| at 0 ends the chain"})  # fmt: skip
def _(i):
    scale, alpha = SELU
    elu = lambda k: lambda x: np.where(x > 0, x, k * np.expm1(np.where(x > 0, 0.0, x)))
    functions = {
        "abs": np.abs,
        "relu": ad.relu,
        "leaky_relu (slope 0.01)": lambda x: np.where(x > 0, x, 0.01 * x),
        "prelu (a 0.25)": lambda x: np.where(x > 0, x, 0.25 * x),
        "elu (alpha 1)": elu(1.0),
        "elu (alpha 0.5)": elu(0.5),
        "selu": lambda x: scale * elu(alpha)(x),
        "hardtanh": lambda x: np.where(np.abs(x) < 1, x, np.sign(x)),
        "clamp to [-1, 1]": lambda x: np.clip(x, -1, 1),
        "relu6": lambda x: np.where(x < 6, ad.relu(x), 6.0),
        "maximum(x, 0) with a tensor zero": lambda x: np.maximum(x, Tensor(0.0)),
        "abs(x)^1.5": lambda x: np.abs(x) ** 1.5,
        "sign": np.sign,
        "max over [1, 1, 0]": np.max,
        "amax over [1, 1, 0]": np.amax,
        "max along an axis over [1, 1, 0]": lambda x: x[np.argmax(x)],
        "2-norm at the origin": np.linalg.norm,
        "sqrt": np.sqrt,
    }
    found = {c["function"]: np.atleast_1d(ad.grad(functions[c["function"]])(a(c["at"]))) for c in i["cases"]
             if c["function"] in functions}  # fmt: skip
    return {"pytorch_gradient": found}


@example("error-measures")
def _(i):
    y, t = recorded(i["yhat"], i["y"])
    cost = 0.5 * (y - t) ** 2
    return {
        "absolute_error": np.abs(y - t), "cost": cost, "derivative": grads(cost.sum(), [y])[0],
        "vector_loss_half_squared_norm": half_squared(y, t), "pytorch_mse_mean": ((y - t) ** 2).mean(),
        "cross_entropy_onehot_first": -np.log(y[0]),
    }  # fmt: skip


@example("mse-mae-sse")
def _(i):
    y, t = Tensor(a(i["y"]), requires_grad=True), a(i["t"])
    d = y - t
    mse, mae, sse = (d**2).mean(), np.abs(d).mean(), (d**2).sum()
    return {
        "difference": d, "squared": d**2, "mse": mse, "mae": mae, "sse": sse,
        "dmse_dy": grads(mse, [y])[0], "dmae_dy": grads(mae, [y])[0], "dsse_dy": grads(sse, [y])[0],
        "hessian_mse": ad.hessian(lambda v: ((v - t) ** 2).mean())(y.data),
    }  # fmt: skip


@example("binary-cross-entropy-example-6")
def _(i):
    t, (p,) = a(i["t"]), recorded(i["p"])
    likelihood = t * np.log(p) + (1 - t) * np.log(1 - p)
    (z,) = recorded(np.log(p.data / (1 - p.data)))
    per_sample = lambda v: ad.softplus(v) - t * v
    return {
        "log_likelihoods": likelihood, "loss_mean": -likelihood.mean(), "loss_sum": -likelihood.sum(), "logits": z,
        "dloss_dlogit_mean": grads(per_sample(z).mean(), [z])[0],
        "dloss_dlogit_per_sample": grads(per_sample(z).sum(), [z])[0],
        "dloss_dp_mean": grads(-likelihood.mean(), [p])[0],
        "d2loss_dlogit2_mean": np.diag(ad.hessian(lambda v: per_sample(v).mean())(z.data)),
    }  # fmt: skip


@example("softmax-example-7")
def _(i):
    (z,) = recorded(i["a"])
    losses = [ad.cross_entropy(z, k) for k in range(3)]
    f = lambda v: ad.cross_entropy(v, 0)
    return {
        "exp": np.exp(z), "sum": np.exp(z).sum(), "softmax": ad.softmax(z), "cce_by_class": losses,
        "gradient_by_class": [grads(loss, [z])[0] for loss in losses], "hessian": ad.hessian(f)(z.data),
        "softmax_jacobian": ad.jacobian(ad.softmax)(z.data), "hvp_along_1_-1_0": ad.hvp(f, z.data, a([1, -1, 0])),
    }  # fmt: skip


@example("digit-probability-vector")
def _(i):
    p = Tensor(a(i["p"]))
    return {"sum": p.sum(), "cce": -np.log(p[i["true_class"]])}


@example("two-class-softmax-equals-sigmoid")
def _(i):
    (z,) = recorded(i["a"])
    losses = [ad.cross_entropy(np.stack([z, 0.0 * z]), k) for k in range(2)]
    np.testing.assert_allclose(losses[0].data, ad.softplus(-z).data)
    return {"loss_class_0": losses[0], "loss_class_1": losses[1], "dloss_da_class_0": grads(losses[0], [z])[0]}


@example("softmax-stability")
def _(i):
    z = Tensor(a(i["z"]))
    return {"softmax": ad.softmax(z), "log_softmax": ad.log_softmax(z), "logsumexp": ad.logsumexp(z)}


@example("regression-losses")
def _(i):
    (y,) = recorded(i["prediction"])
    t = a(i["target"])
    d = y - t
    mse, mae = (d**2).mean(), np.abs(d).mean()
    by_delta = {}
    for delta in (1.0, 0.5, 0.4):
        huber = np.where(np.abs(d) <= delta, 0.5 * d**2, delta * (np.abs(d) - 0.5 * delta)).mean()
        by_delta[str(delta)] = {"huber": huber, "dhuber": grads(huber, [y])[0], "smooth_l1_with_beta": huber / delta}
    return {
        "mse": mse, "dmse": grads(mse, [y])[0], "mae": mae, "dmae": grads(mae, [y])[0],
        "half_squared_sum": half_squared(y, t), "by_delta": by_delta,
    }  # fmt: skip


@example("cross-entropy-from-logits")
def _(i):
    (z,) = recorded(i["logits"])
    t = np.array(i["targets"])
    loss = ad.cross_entropy(z, t)
    hessian = ad.hessian(lambda v: ad.cross_entropy(v, t))(z.data)
    return {
        "p": ad.softmax(z), "loss": loss, "per_sample": ad.cross_entropy(z, t, reduction="none"),
        "dlogits": grads(loss, [z])[0], "hessian_blocks": [hessian[k, :, k, :] for k in range(3)],
    }  # fmt: skip


@example("bce-with-logits")
def _(i):
    (z,) = recorded(i["logits"])
    t = a(i["targets"])
    loss = lambda v: np.where(t == 1, ad.softplus(-v), ad.softplus(v))
    return {
        "per_element": loss(z), "mean": loss(z).mean(), "dlogits": grads(loss(z).mean(), [z])[0],
        "d2logits_diagonal": np.diag(ad.hessian(lambda v: loss(v).mean())(z.data)),
    }  # fmt: skip


@example("focal-loss", without={"p_t": "an input", "gamma": "an input"})
def _(i):
    rows = []
    for row in ENTRIES["focal-loss"]["expected"]["rows"]:
        (p,) = recorded(row["p_t"])
        loss = -i["alpha"] * (1 - p) ** row["gamma"] * np.log(p)
        rows.append({"loss": loss, "dloss_dp": grads(loss, [p])[0]})
    return {"rows": rows}


@example("dice-and-iou-loss")
def _(i):
    (p,) = recorded(i["prediction"])
    t = a(i["target"])
    both = lambda v: (v * t).sum()
    dice = lambda v: 1 - 2 * both(v) / (v.sum() + t.sum())
    iou = lambda v: 1 - both(v) / (v.sum() + t.sum() - both(v))
    hard = (p > i["threshold"]).astype(float)
    return {
        "dice_loss": dice(p), "ddice": grads(dice(p), [p])[0], "iou_loss": iou(p), "diou": grads(iou(p), [p])[0],
        "hard_dice": 1 - dice(hard), "hard_iou": 1 - iou(hard),
    }  # fmt: skip


@example("kl-divergence", without={"batchmean_divides_by": "words"})
def _(i):
    p, q = recorded(i["P"], i["Q"])
    forward = (p * np.log(p / q)).sum()
    return {"kl_P_Q": forward, "kl_Q_P": (q * np.log(q / p)).sum(), "dkl_P_Q_dQ": grads(forward, [q])[0]}


# Normalisation, attention, convolution


@example("batch-norm-example-4")
def _(i):
    z = Tensor(a(i["z"]))
    hat = lambda eps: (z - z.mean()) / np.sqrt(z.var() + eps)
    run, biased, unbiased = a(i["running_start"]), [], []
    for _ in range(i["updates"]):
        run = (1 - i["alpha"]) * run + i["alpha"] * a([z.mean(), z.var()])
        biased.append(run)
    variance = i["running_start"][1]
    for _ in range(i["updates"]):
        variance = (1 - i["alpha"]) * variance + i["alpha"] * z.var(ddof=1).item()
        unbiased.append(variance)
    return {
        "zhat_eps_0": hat(0.0), "zhat_eps_1e-5": hat(1e-5), "variance_of_zhat_eps_1e-5": hat(1e-5).var(),
        "gamma_that_restores_eps_0": z.std(), "gamma_that_restores_eps_1e-5": np.sqrt(z.var() + 1e-5),
        "beta_that_restores": z.mean(), "running_mean_variance_biased (notes)": biased,
        "running_variance_unbiased (PyTorch)": unbiased,
    }  # fmt: skip


def normalisation(i, axis):
    z, gamma, beta = recorded(i["z"], i["gamma"], i["beta"])
    c, u = a(i["C"]), a(i["u_on_z"])

    def forward(v):
        hat = (v - v.mean(axis=axis, keepdims=True)) / np.sqrt(v.var(axis=axis, keepdims=True) + i["eps"])
        out = gamma * hat + beta
        return hat, out, 0.5 * (c * out**2).sum()

    hat, out, loss = forward(z)
    dz, dgamma, dbeta = grads(loss, [z, gamma, beta])
    hvp = ad.hvp(lambda v: forward(v)[2], z.data, u)
    return {
        "mean": z.mean(axis=axis), "variance_biased": z.var(axis=axis), "zhat": hat, "out": out, "loss": loss,
        "dz": dz, "dgamma": dgamma, "dbeta": dbeta, "hvp_of_L_in_z_along_u": hvp,
    }  # fmt: skip


@example("batch-norm-forward-backward")
def _(i):
    return normalisation(i, 0)


@example("layer-norm-forward-backward")
def _(i):
    return normalisation(i, 1)


@example("scaled-dot-product-attention")
def _(i):
    q, k, v = inputs = recorded(i["Q"], i["K"], i["V"])

    def forward(q, k, v):
        weights = ad.softmax(q @ k.T / np.sqrt(q.shape[1]))
        return weights, weights @ v

    weights, out = forward(q, k, v)
    f = lambda *p: (a(i["C"]) * forward(*p)[1]).sum()
    loss = f(q, k, v)
    arrays = tuple(t.data for t in inputs)
    hvps = ad.hvp(f, arrays, tuple(np.ones(t.shape) for t in arrays))
    return {"weights": weights, "out": out, "loss": loss} | {
        f"{kind}{n}": g for kind, gs in (("d", grads(loss, inputs)), ("hvp_", hvps)) for n, g in zip("QKV", gs)
    }


@example("convolution-translation-equivariance")
def _(i):
    x, kernel = recorded(i["x"], i["kernel"])
    shift, taps, n = i["shift"], len(i["kernel"]), len(i["x"])
    window = np.arange(n)[:, None] + np.arange(taps)[None, :]
    circular = lambda v: np.concatenate([v[-1:], v, v[:1]])[window] @ kernel
    zeros = lambda v: np.pad(v, 1)[window] @ kernel
    loss = 0.5 * (zeros(x) ** 2).sum()
    dx, dkernel = grads(loss, [x, kernel])
    return {
        "circular": circular(x), "circular_of_shifted": circular(np.roll(x, shift)), "zero_padded": zeros(x),
        "zero_padded_of_shifted": zeros(np.roll(x, shift)), "shifted_zero_padded": np.roll(zeros(x), shift),
        "global_sum_pool_circular": circular(x).sum(), "half_squared_norm_zero_padded_dx": dx,
        "half_squared_norm_zero_padded_dkernel": dkernel,
    }  # fmt: skip


@example("dense-layer-manual-backprop")
def _(i):
    names = ["W1_in_by_out", "b1", "W2_in_by_out", "b2"]
    p = recorded(*(i[n] for n in names))
    (x,) = recorded(i["X"])
    target = a(i["Y_onehot"])

    def forward(w1, b1, w2, b2, x=x):
        z1 = x @ w1 + b1
        a1 = ad.relu(z1)
        z2 = a1 @ w2 + b2
        return z1, a1, z2, ad.cross_entropy(z2, target)

    z1, a1, z2, loss = forward(*p)
    dw1, db1, dw2, db2, dx = grads(loss, [*p, x])
    of_sum = grads(2 * loss, [z2, a1, z1, x])
    arrays = tuple(t.data for t in p)
    hvps = ad.hvp(lambda *q: forward(*q, x=x.data)[3], arrays, tuple(np.ones(t.shape) for t in arrays))
    return {
        "Z1": z1, "A1": a1, "Z2": z2, "A2": ad.softmax(z2), "loss_mean_cross_entropy": loss, "dW1": dw1, "db1": db1,
        "dW2": dw2, "db2": db2, "dX_of_mean_loss": dx, "mean_dW1": dw1.mean(), "mean_dW2": dw2.mean(),
        "dZ2_unscaled": of_sum[0], "dA1_unscaled": of_sum[1], "dZ1_unscaled": of_sum[2], "dX_unscaled": of_sum[3],
    } | {f"hvp_{n}": h for n, h in zip(["W1", "b1", "W2", "b2"], hvps)}  # fmt: skip


# Recurrent networks and probabilistic models


@example("rnn-bptt-scalar")
def _(i):
    names = ["w_x", "w_h", "b", "h0"]
    start = a([i[n] for n in names])

    def states(p, copies=None):
        hs = [p[3]]
        for t, x in enumerate(i["x"]):
            w_h = p[1] if copies is None else copies[t]
            hs.append(np.tanh(p[0] * x + w_h * hs[-1] + p[2]))
        return hs, [0.5 * (h - y) ** 2 for h, y in zip(hs[1:], i["targets"])]

    (p,) = recorded(start)
    hs, losses = states(p)
    f = lambda q: sum(states(q)[1])
    dp = grads(f(p), [p])[0]
    copies = recorded(*[i["w_h"]] * 3)  # a weight of its own for each step
    _, separate = states(p, copies)
    parts = [[0.0 if g is None else g.item() for g in ad.gradients(e, copies, allow_unused=True)] for e in separate]
    return {
        "h": hs[1:], "E_t": losses, "E": sum(losses), "dE_dw_x": dp[0], "dE_dw_h": dp[1], "dE_db": dp[2], "dE_dh0": dp[3],
        "dh_t_dh_t-1": [grads(h, [before])[0] for before, h in pairwise(hs)],
        "dE_t_dw_h_at_step_s": parts, "sum_over_t_of_same_step_terms_only": sum(parts[t][t] for t in range(3)),
        "hvp_u": ad.hvp(f, start, np.ones(4)),
    }  # fmt: skip


@example("rnn-bptt-matrix-truncated")
def _(i):
    names = ["W_x", "W_h", "b", "h0"]
    x, steps = a(i["x"]), len(i["x"])

    def states(p, last):
        """The states; the one before the last steps is detached, so that gradients stop there."""
        hs = [p[3]]
        for t in range(steps):
            h = hs[-1].detach() if t == steps - last and t > 0 else hs[-1]
            hs.append(np.tanh(p[0] @ x[t] + p[1] @ h + p[2]))
        return hs

    truncated, p = {}, recorded(*(i[n] for n in names))
    for last in range(1, steps + 1):
        loss = half_squared(states(p, last)[-1], a(i["target"]))
        found = ad.gradients(loss, p, allow_unused=True)
        truncated[str(last)] = {f"d{n}": g for n, g in zip(names, found) if g is not None}
    hs = states(p, steps)
    w_x, w_h, b, _ = (t.data for t in p)
    step = lambda t: lambda h: np.tanh(w_x @ x[t] + Tensor(w_h) @ h + b)
    jacobians = [ad.jacobian(step(t))(hs[t].data) for t in range(steps)]

    def rest(h):
        for t in range(1, steps):
            h = step(t)(h)
        return h

    return {
        "h": hs[1:], "loss": half_squared(hs[-1], a(i["target"])), "gradients_by_truncation_length": truncated,
        "step_jacobians": jacobians, "jacobian_h4_h1": ad.jacobian(rest)(hs[1].data),
        "spectral_norms": [np.linalg.norm(Tensor(j), 2) for j in jacobians],
    }  # fmt: skip


@example("lstm-scalar-trace")
def _(i):
    w = a([i["weights_h_x_bias"][gate] for gate in "fico"])
    start = np.concatenate([w.ravel(), [i["h0"], i["C0"]]])

    def run(p, c1=None):
        h, c, steps = p[12], p[13], []
        for t, x in enumerate(i["x"]):
            z = [p[3 * k] * h + p[3 * k + 1] * x + p[3 * k + 2] for k in range(4)]
            f, n, g, o = ad.sigmoid(z[0]), ad.sigmoid(z[1]), np.tanh(z[2]), ad.sigmoid(z[3])
            c = f * c + n * g
            if t == 0 and c1 is not None:
                c = c1(c)
            h = o * np.tanh(c)
            steps.append({"f": f, "i": n, "candidate": g, "o": o, "C": c, "h": h})
        return steps

    (p,) = recorded(start)
    kept = []
    steps = run(p, lambda c: kept.append(c + 0.0) or kept[0])
    last = lambda q: run(q)[-1]["h"]
    return {
        "steps": steps, "dh2": ad.grad(last)(start), "hvp_u": ad.hvp(last, start, np.ones(14)),
        "dC2_dC1_total": grads(steps[1]["C"], [kept[0]])[0], "dC2_dC1_direct_path_only": steps[1]["f"],
    }  # fmt: skip


@example("gru-scalar-conventions")
def _(i):
    w = a([i["weights_h_x_bias"][gate] for gate in "zrn"]).ravel()

    def run(p, pytorch):
        h, steps = i["h0"], []
        for x in i["x"]:
            z, r = (ad.sigmoid(p[k] * h + p[k + 1] * x + p[k + 2]) for k in (0, 3))
            n = np.tanh(r * (p[6] * h) + p[7] * x + p[8])
            h = (1 - z) * n + z * h if pytorch else (1 - z) * h + z * n
            steps.append({"z": z, "r": r, "candidate": n, "h": h})
        return steps

    derivative = lambda pytorch: ad.grad(lambda p: run(p, pytorch)[-1]["h"])(w)
    return {
        "notes": run(Tensor(w), False), "pytorch": run(Tensor(w), True),
        "dh2_notes_order_z_r_n": derivative(False), "dh2_pytorch_order_z_r_n": derivative(True),
    }  # fmt: skip


@example("gru-reset-placement")
def _(i):
    w, r, h = Tensor(a(i["W"])), a(i["r"]), a(i["h"])
    return {"before (notes)": w @ (r * h), "after (PyTorch)": r * (w @ h)}


@example("non-normal-matrix-powers")
def _(i):
    w = Tensor(a(i["W"]))
    return {
        "spectral_radius": np.abs(w.diagonal()).max(),  # triangular: its eigenvalues are on the diagonal
        "norm_of_power": [np.linalg.norm(np.linalg.matrix_power(w, k), 2) for k in i["k"]],
    }


@example("jacobian-norm-counterexamples")
def _(i):
    A, B = Tensor(a(i["A"])), Tensor(a(i["B"]))
    return {
        "norm_A": np.linalg.norm(A, 2), "norm_B": np.linalg.norm(B, 2), "norm_AB": np.linalg.norm(A @ B, 2),
        "norm_AB_to_10": np.linalg.norm(np.linalg.matrix_power(A @ B, 10), 2),
        "product_of_shrinking_factors": np.prod(1 - 1 / Tensor(np.arange(2.0, 101.0)) ** 2),
    }  # fmt: skip


@example("sigmoid-chain-gradients")
def _(i):
    def slope(case, depth):
        def f(x):
            for _ in range(depth):
                x = ad.sigmoid(case["w"] * x + case["b"])
            return x

        return ad.grad(f)(float(case["a0"]))

    return {
        "gradient": [[slope(case, depth) for depth in i["depths"]] for case in i["cases"]],
        "bound_quarter_power": [0.25 ** Tensor(float(depth)) for depth in i["depths"]],
    }


@example("exploding-gradient-factor")
def _(i):
    (x,) = recorded(1.0)
    y = x
    for _ in range(i["layers"]):
        y = i["factor"] * y
    return {"growth": grads(y, [x])[0], "gradient_after": grads(y, [x], grad_outputs=i["gradient"])[0]}


@example("markov-chain-weather", without={"eigenvalues": "of a matrix that is not symmetric"})
def _(i):
    A, pi = Tensor(a(i["A"])), Tensor(a(i["pi"]))
    stationary = np.linalg.solve((A - np.eye(3)).T.at[0].set(np.ones(3)), a([1, 0, 0]))
    return {"after_1": pi @ A, "after_2": pi @ np.linalg.matrix_power(A, 2), "stationary": stationary}


@example("hmm-weather-activities")
def _(i):
    pi, A, B = (a(i[n]) for n in ("pi", "A", "B"))

    def forward(log_pi, log_a, log_b, sequence):
        alphas = [log_pi + log_b[:, sequence[0]]]
        for o in sequence[1:]:
            alphas.append(ad.logsumexp(alphas[-1][:, None] + log_a, axis=0) + log_b[:, o])
        return alphas, ad.logsumexp(alphas[-1])

    rows = []
    for sequence in i["sequences"]:
        logs = recorded(np.log(pi), np.log(A), np.log(B))
        alphas, log_likelihood = forward(*logs, sequence)
        first, transitions, emissions = grads(log_likelihood, logs)  # expected counts are these derivatives
        deltas, back = [Tensor(pi * B[:, sequence[0]])], []
        for o in sequence[1:]:
            scores = deltas[-1][:, None] * A
            back.append(np.argmax(scores, axis=0))
            deltas.append(np.max(scores, axis=0) * B[:, o])
        path = [int(np.argmax(deltas[-1]))]
        for pointer in back[::-1]:
            path.insert(0, int(pointer[path[0]]))
        rows.append({
            "delta": deltas, "psi_from_second_step": back, "path": path, "path_probability": deltas[-1].max(),
            "alpha": [np.exp(v) for v in alphas], "likelihood": np.exp(log_likelihood),
            "log_likelihood": log_likelihood, "expected_transitions": transitions, "expected_emissions": emissions,
            "posterior_first_state": first,
        })  # fmt: skip
    stationary = np.linalg.solve((Tensor(A) - np.eye(3)).T.at[0].set(np.ones(3)), a([1, 0, 0]))
    return {"by_sequence": rows, "stationary": stationary}


@example("gaussian-mle")
def _(i):
    x, (mu,) = a(i["x"]), recorded(i["mu"])
    f = lambda m: (-0.5 * ((x - m) / i["sigma"]) ** 2 - np.log(i["sigma"] * np.sqrt(2 * np.pi))).sum()
    slope, curvature = ad.grad(f)(float(i["mu"])), ad.hessian(f)(float(i["mu"]))
    newton = i["mu"] - slope / curvature  # one step reaches the maximum of a parabola
    return {"mle": newton, "log_likelihood_at_mu": f(mu), "d_dmu_at_mu": slope, "d2_dmu2": curvature}


# Gradient descent and other methods by hand


@example("learning-rate-runs-on-w-squared")
def _(i):
    runs = []
    for alpha in i["alphas"]:
        w = a(descend(lambda v: v**2, i["w0"], alpha, i["steps"]))
        runs.append({"alpha": alpha, "factor": w[1] / w[0], "w": w, "loss": Tensor(w) ** 2})
    return {"runs": runs}


@example("gradient-descent-table-8-1")
def _(i):
    f = lambda p: (p**2).sum()
    points = descend(f, i["start"], i["alpha"], i["steps"])
    slopes = a([ad.grad(f)(p) for p in points])
    return {
        "x": a(points)[:, 0], "y": a(points)[:, 1], "L": [f(Tensor(p)) for p in points], "dL_dx": slopes[:, 0],
        "dL_dy": slopes[:, 1], "factor": points[1][0] / points[0][0],
    }  # fmt: skip


@example("newton-raphson")
def _(i):
    def newton(f, x):
        return x - np.linalg.solve(ad.hessian(f)(x), ad.grad(f)(x))

    f = lambda p: p[0] ** 4 + p[0] * p[1] + (1 + p[1]) ** 2
    points = [a(i["start"])]
    for _ in range(i["iterations"]):
        points.append(newton(f, points[-1]))
    return {
        "bowl_after_one_step": newton(lambda p: (p**2).sum(), a(i["bowl_start"])), "iterates": points,
        "gradient_norms": [np.linalg.norm(ad.grad(f)(p)) for p in points], "hessian_at_start": ad.hessian(f)(points[0]),
    }  # fmt: skip


@example("quadratic-error-surface")
def _(i):
    f = lambda w: (w[0] - 2) ** 2 + 2 * (w[1] + 1) ** 2
    start = a(i["start"])
    hessian, gradient = ad.hessian(f)(start), ad.grad(f)(start)
    return {
        "gradient_at_start": gradient, "hessian": hessian, "minimum": start - np.linalg.solve(hessian, gradient),
        "E_at_start": f(Tensor(start)), "stable_eta_limit": 2 / np.linalg.eigvalsh(hessian).max(),
        "iterates": {str(eta): descend(f, start, eta, i["steps"]) for eta in i["etas"]},
    }  # fmt: skip


@example("wavy-error-surface", without={
    "number_of_critical_points_by_amplitude": "a search", "least_hessian_eigenvalue_on_a_grid": "a search"})  # fmt: skip
def _(i):
    f = lambda w: (w[0] - 1) ** 2 + (w[1] + 0.5) ** 2 + 0.6 * np.sin(3 * w[0]) * np.sin(3 * w[1])
    rows = []
    for w in i["points"]:
        h = ad.hessian(f)(a(w))
        rows.append({"w": w, "E": f(Tensor(a(w))), "gradient": ad.grad(f)(a(w)), "hessian": h,
                     "eigenvalues": np.linalg.eigvalsh(h)})  # fmt: skip
    w = a([0.6, -0.5])
    for _ in range(20):
        w = w - np.linalg.solve(ad.hessian(f)(w), ad.grad(f)(w))
    return {
        "at": rows, "only_critical_point": w, "E_there": f(Tensor(w)),
        "hessian_eigenvalues_there": np.linalg.eigvalsh(ad.hessian(f)(w)),
    }  # fmt: skip


@example("scalar-hvp-quadratic")
def _(i):
    f = lambda w: w[0] ** 2 + 3 * w[0] * w[1] + 2 * w[1] ** 2
    w, u = a(i["w_for_gradient"]), a(i["u"])
    h = ad.hessian(f)(w)
    return {
        "hessian": h, "hvp_u": ad.hvp(f, w, u), "gradient_at_w": ad.grad(f)(w), "s_at_w": ad.jvp(f, w, u)[1],
        "eigenvalues": np.linalg.eigvalsh(h), "determinant": np.linalg.det(Tensor(h)),
    }  # fmt: skip


def conjugate_gradients(product, b, steps):
    """Iterates, curvatures and step lengths of conjugate gradients on A p = b from 0, A given by its products."""
    p, r = np.zeros_like(b), b
    d, rows = r, []
    for _ in range(steps):
        ad_ = product(d)
        curvature = d @ ad_
        alpha = r @ r / curvature
        p, before = p + alpha * d, r @ r
        r = r - alpha * ad_
        d = r + (r @ r / before) * d
        rows.append({"curvature_dHd": curvature, "alpha": alpha, "p": p})
    return rows


@example("newton-cg-on-indefinite-quadratic")
def _(i):
    f = lambda w: w[0] ** 2 + 3 * w[0] * w[1] + 2 * w[1] ** 2
    w = a(i["w"])
    g = ad.grad(f)(w)
    rows = conjugate_gradients(lambda d: ad.hvp(f, w, d), -g, 2)
    stops = next(k for k, row in enumerate(rows, 1) if row["curvature_dHd"] < 0)
    return {
        "gradient": g, "exact_newton_direction": -np.linalg.solve(ad.hessian(f)(w), g), "cg_iterations": rows,
        "stops_at_iteration_if_negative_curvature_is_checked": stops,
    }  # fmt: skip


@example("conjugate-gradient-2x2")
def _(i):
    A, b = a(i["A"]), a(i["b"])
    f = lambda x: 0.5 * x @ (A @ x) - b @ x
    rows = conjugate_gradients(lambda d: ad.hvp(f, np.zeros(2), d), -ad.grad(f)(np.zeros(2)), 2)
    return {"iterates": [np.zeros(2), *(row["p"] for row in rows)], "solution": np.linalg.solve(Tensor(A), b)}


@example("quadratic-eigenbasis")
def _(i):
    h, centre = a(i["H"]), a(i["w_star"])
    f = lambda w: i["E_star"] + 0.5 * (w - centre) @ (h @ (w - centre))
    values, vectors = np.linalg.eigh(Tensor(ad.hessian(f)(a(i["w"]))))
    vectors = vectors * np.sign(vectors[0])  # first component positive
    w1 = descend(f, i["w"], i["eta"], 1)[1]
    classes = {n: np.linalg.eigvalsh(ad.hessian(lambda w, m=a(m): 0.5 * w @ (m @ w))(np.zeros(len(m))))
               for n, m in i["classify"].items()}  # fmt: skip
    return {
        "eigenvalues": values, "eigenvectors_columns": vectors, "alpha": vectors.T @ (a(i["w"]) - centre),
        "E": f(Tensor(a(i["w"]))), "w_after_one_step": w1, "alpha_after_one_step": vectors.T @ (w1 - centre),
        "axis_lengths_proportional_to": 1 / np.sqrt(values), "classification_eigenvalues": classes,
    }  # fmt: skip


@example("gd-one-dimensional-quadratic")
def _(i):
    f = lambda w: 0.5 * i["lambda"] * w**2
    limit = 2 / ad.hessian(f)(1.0)
    runs = [{"eta": eta, "factor": 1 - eta * ad.hessian(f)(1.0), "w": a(descend(f, i["w0"], eta, i["steps"])),
             "converges": eta < limit} for eta in i["etas"]]  # fmt: skip
    return {"eta_limit": limit, "runs": runs}


@example("gd-narrow-valley")
def _(i):
    scale = a(i["lambda"])
    f = lambda w: 0.5 * (scale * w**2).sum()
    points = descend(f, i["w0"], i["eta"], 100)
    values = np.linalg.eigvalsh(ad.hessian(f)(np.ones(2)))
    return {
        "eta_limit": 2 / values.max(), "factors": 1 - i["eta"] * np.diag(ad.hessian(f)(np.ones(2))),
        "iterates": {str(k): points[k] for k in (1, 2, 3, 10, 100)}, "condition_number": values.max() / values.min(),
        "best_fixed_eta": 2 / values.sum(), "best_rate": (values[1] - values[0]) / values.sum(),
    }  # fmt: skip


@example("gd-on-x-squared")
def _(i):
    x = a(descend(lambda v: v**2, i["x0"], i["lr"], i["steps"]))
    return {"x": x, "f": Tensor(x) ** 2}


@example("gd-on-elliptic-bowl")
def _(i):
    f = lambda p: p[0] ** 2 + 2 * p[1] ** 2
    points = descend(f, i["start"], i["lr"], i["steps"])
    return {"xy": points, "f": [f(Tensor(p)) for p in points]}


@example("learning-rate-demo", without={"status_by_the_documents_rule": "a word"})
def _(i):
    rows = []
    for lr in i["lrs"]:
        x = descend(lambda v: v**2, i["x0"], lr, i["steps"])
        rows.append({"lr": lr, "factor": x[1] / x[0], "final_x": x[-1], "final_loss": x[-1] ** 2})
    return {"rows": rows}


def with_momentum(f, x, lr, steps, mu=0.9, averaged=False, nesterov=False, ahead=False):
    """PyTorch's momentum and its variants; `ahead` evaluates the gradient at the point the velocity leads to."""
    x, v, points = a(x), np.zeros(len(x)), []
    for _ in range(steps):
        g = ad.grad(f)(x - lr * mu * v if ahead else x)
        v = mu * v + (1 - mu if averaged else 1) * g
        x = x - lr * (g + mu * v if nesterov else v)
        points.append(x)
    return points


@example("sgd-versus-averaged-momentum")
def _(i):
    f = lambda p: p[0] ** 2 + 10 * p[1] ** 2
    loss = lambda points: f(Tensor(points[-1])).item()
    sgd = descend(f, i["start"], i["lr"], i["steps"])[1:]
    ema = with_momentum(f, i["start"], i["lr"], i["steps"], averaged=True)
    classical = with_momentum(f, i["start"], i["lr"], i["steps"])
    larger = with_momentum(f, i["start"], 10 * i["lr"], i["steps"], averaged=True)
    return {
        "final_loss": {"sgd": loss(sgd), "ema_momentum_0.9": loss(ema)},
        "final_point": {"sgd": sgd[-1], "ema_momentum_0.9": ema[-1]},
        "iterates_1_to_3": {"sgd": sgd[:3], "ema_momentum_0.9": ema[:3]},
        "pytorch_momentum_0.9_final_point": classical[-1], "pytorch_momentum_0.9_final_loss": loss(classical),
        "averaged_momentum_with_lr_0.5_final_point": larger[-1], "ratio_of_losses": loss(ema) / loss(sgd),
    }  # fmt: skip


@example("exercise-3-momentum-variants")
def _(i):
    f = lambda p: p[0] ** 2 + 100 * p[1] ** 2
    c = i["chosen"]
    run = lambda **options: with_momentum(f, c["start"], c["lr"], c["steps"], c["mu"], **options)
    gd, classical, nesterov = descend(f, c["start"], c["lr"], c["steps"])[1:], run(), run(nesterov=True)
    runs = {"gd": gd, "momentum_0.9": classical, "nesterov_0.9": nesterov, "averaged_momentum_0.9": run(averaged=True),
            "nesterov_lookahead_form_0.9": run(ahead=True)}  # fmt: skip
    return {
        "final_point": {n: points[-1] for n, points in runs.items()},
        "final_loss": {n: f(Tensor(points[-1])) for n, points in runs.items()},
        "points_after_1_2_3_steps": {n: points[:3] for n, points in list(runs.items())[:3]},
    }


@example("sum-versus-mean-gradient", without={
    "std_of_minibatch_mean_with_replacement": "a law", "std_of_minibatch_sum_with_replacement": "a law",
    "noise_reduction_for_100_times_the_batch": "a law"})  # fmt: skip
def _(i):
    c = a(i["c"])
    loss = lambda w, c: 0.5 * (w - c) ** 2
    full = lambda c, reduce: ad.grad(lambda w: reduce(loss(w, c)))(float(i["w"]))
    each = ad.jacobian(lambda w: loss(w, c))(float(i["w"]))
    batch = c[i["minibatch"]]
    return {
        "per_sample": each, "full_sum": full(c, np.sum), "full_mean": full(c, np.mean),
        "expectation_of_single_sample_gradient": np.mean(each), "minibatch_sum": full(batch, np.sum),
        "minibatch_mean": full(batch, np.mean), "per_sample_std_population": np.std(each),
    }  # fmt: skip


# Least squares and penalties


@example("map-equals-weight-decay")
def _(i):
    X, y, noise, prior = a(i["X"]), a(i["y"]), i["noise_variance"], i["prior_variance"]
    sse = lambda w: ((X @ w - y) ** 2).sum()
    posterior = lambda w: sse(w) / (2 * noise) + (w**2).sum() / (2 * prior)
    zero = np.zeros(2)
    w = -np.linalg.solve(ad.hessian(posterior)(zero), ad.grad(posterior)(zero))
    # the decay γ that makes the gradient of each scaling of the data loss vanish at w: ∇loss + γ w = 0
    gamma = lambda loss: -ad.grad(loss)(w)[0] / w[0]
    return {
        "w": w, "gamma_for_negative_log_likelihood_sum": gamma(lambda v: sse(v) / (2 * noise)),
        "gamma_for_half_sum_of_squares": gamma(lambda v: sse(v) / 2),
        "gamma_for_half_mean_of_squares": gamma(lambda v: sse(v) / 2 / len(y)),
        "gamma_for_mean_of_squares_mse": gamma(lambda v: sse(v) / len(y)),
    }  # fmt: skip


@example("ridge-closed-form")
def _(i):
    A, b = Tensor(a(i["A"])), a(i["b"])
    s = np.linalg.svd(A, full_matrices=False)[1]
    solutions = []
    for lam in i["lambdas"]:
        x = np.linalg.solve(A.T @ A + lam * np.eye(2), A.T @ b)
        objective = lambda v, lam=lam: ((A @ v - b) ** 2).sum() + lam * (v**2).sum()
        np.testing.assert_allclose(ad.grad(objective)(x.data), 0, atol=1e-10)
        solutions.append({
            "lambda": lam, "x": x, "filter_factors_sigma2_over_sigma2_plus_lambda": s**2 / (s**2 + lam),
            "residual_norm": np.linalg.norm(A @ x - b), "norm_x": np.linalg.norm(x),
        })  # fmt: skip
    return {
        "AtA": A.T @ A, "Atb": A.T @ b, "singular_values": s, "solutions": solutions,
        "map_lambda_for_sigma_0.5_tau_2": 0.5**2 / 2**2,
        "hessian_for_lambda_1": ad.hessian(lambda v: ((A @ v - b) ** 2).sum() + (v**2).sum())(np.zeros(2)),
    }  # fmt: skip


@example("ridge-with-mean-loss")
def _(i):
    X, y = a(i["X"]), a(i["y"])
    n, rows = len(y), []
    for lam in i["lambdas"]:
        f = lambda w, lam=lam: ((X @ w - y) ** 2).sum() / (2 * n) + lam / 2 * (w**2).sum()
        zero = np.zeros(2)
        w = -np.linalg.solve(ad.hessian(f)(zero), ad.grad(f)(zero))
        other = np.linalg.solve(X.T @ X + lam * np.eye(2), X.T @ y)
        rows.append({
            "lambda": lam, "minimiser": w, "objective": f(Tensor(w)), "solution_of_the_seed_formula": other,
            "gradient_of_objective_there": ad.grad(f)(other), "objective_there": f(Tensor(other)),
        })  # fmt: skip
    return {"rows": rows}


@example("minimum-norm-interpolator")
def _(i):
    A, b = a(i["A"]), a(i["b"])
    x = descend(lambda v: 0.5 * ((A @ v - b) ** 2).sum(), i["x0"], 0.1, 2000)[-1]
    np.testing.assert_allclose((np.linalg.pinv(Tensor(A)) @ b).data, x, rtol=1e-10)
    return {"x": x, "norm": np.linalg.norm(Tensor(x))}


@example("early-stopping-spectral-filter")
def _(i):
    A, b = a(i["A"]), a(i["b"])
    half = lambda v: 0.5 * ((A @ v - b) ** 2).sum()
    points = descend(half, np.zeros(2), i["eta"], 1000)
    return {
        "x_after_k": {str(k): points[k] for k in (1, 10, 100, 1000)},
        "least_squares_limit": np.linalg.solve(Tensor(A.T @ A), A.T @ b),
        "k_10_for_objective_without_half": descend(lambda v: 2 * half(v), np.zeros(2), i["eta"], 10)[-1],
    }


@example("lp-penalty-gradients", without={
    "p": "an input", "pytorch_second_derivative_at_zero_from_abs_then_pow": "PyTorch's, by another formula"})  # fmt: skip
def _(i):
    rows, w = [], a(i["w"])
    for p in i["p"]:
        # |w|^p through w² where p is even: composing |w| with a power has no second derivative at 0
        power = (lambda v, p=p: (v**2) ** int(p / 2)) if p % 2 == 0 else (lambda v, p=p: np.abs(v) ** p)
        f = lambda v, power=power, p=p: i["lambda"] / p * power(v).sum()
        rows.append({"penalty": f(Tensor(w)), "gradient": ad.grad(f)(w), "hessian_diagonal": np.diag(ad.hessian(f)(w))})
    return {"rows": rows}


@example("weight-decay-shrinkage")
def _(i):
    points = descend(lambda w: i["lambda"] / 2 * (w**2).sum(), i["w0"], i["eta"], 100)
    return {"factor": points[1][0] / points[0][0], "w": {str(k): points[k] for k in (1, 10, 100)}}


@example("l1-subgradient-versus-proximal")
def _(i):
    w = descend(lambda v: i["lambda"] * np.abs(v), i["w0"], i["eta"], i["steps"])
    soft = [Tensor(float(i["w0"]))]
    for _ in range(i["steps"]):
        soft.append(np.sign(soft[-1]) * ad.relu(np.abs(soft[-1]) - i["eta"] * i["lambda"]))
    return {"subgradient": w, "soft_threshold": soft}


@example("regularised-quadratic-minimum")
def _(i):
    curvatures, minimum = a(i["curvatures"]), a(i["minimum"])

    def minimiser(penalty):
        f = lambda w: 0.5 * (curvatures * (w - minimum) ** 2).sum() + penalty * (w**2).sum()
        zero = np.zeros(2)
        return -np.linalg.solve(ad.hessian(f)(zero), ad.grad(f)(zero)), np.diag(ad.hessian(f)(zero))

    rows = [{"lambda": lam, "minimiser_half_lambda": minimiser(lam / 2)[0], "shrink_factors": minimiser(lam / 2)[0] / minimum,
             "minimiser_with_lambda_without_half": minimiser(lam)[0]} for lam in i["lambdas"]]  # fmt: skip
    return {"rows": rows, "effective_curvature_at_lambda_1": minimiser(0.5)[1]}


@example("rbf-values")
def _(i):
    x, s = a(i["x"]), i["s"]
    fs = [lambda v, c=a(c): np.exp(-((v - c) ** 2).sum() / s**2) for c in i["centres"]]
    return {
        "phi": [f(Tensor(x)) for f in fs],
        "gradient": [ad.grad(f)(x) for f in fs],
        "hessian": [ad.hessian(f)(x) for f in fs],
    }


# Clipping and training


@example("gradient-clipping-by-norm")
def _(i):
    g = Tensor(a(i["g"]))
    norm = np.linalg.norm(g)
    return {"norm": norm, "clipped": [g * np.minimum(1.0, tau / norm) for tau in i["tau"]]}


@example("exercise-6-gradient-clipping")
def _(i):
    gs = [Tensor(a(g)) for g in i["gradients"]]
    norm = np.linalg.norm(np.concatenate(gs))
    scaled = lambda limit, eps: [g * np.minimum(1.0, limit / (norm + eps)) for g in gs]
    small, large = i["max_norm"]
    return {
        "total_norm": norm, "by_value": [np.clip(g, -i["clip_value"], i["clip_value"]) for g in gs],
        "by_norm_5_exact": scaled(small, 0.0), "by_norm_5_pytorch": scaled(small, 1e-6),
        "by_norm_20": scaled(large, 1e-6),
    }  # fmt: skip


@example("exercise-7-xor-2-4-1")
def _(i):
    names = ["W1_in_by_out", "b1", "W2_in_by_out", "b2"]
    w1, b1, w2, b2 = p = recorded(*(i[n] for n in names))
    x, y, chosen = a(i["x"]), a(i["y"]), i["chosen"]
    first, history = None, []
    for step in range(chosen["steps"] + 1):
        z = (np.tanh(x @ w1 + b1) @ w2 + b2)[:, 0]
        loss = (ad.softplus(z) - y * z).mean()
        if step in (0, 1, 100, 1000, 2000):
            history.append({"step": step, "loss": loss, "p": ad.sigmoid(z)})
        for t in p:
            t.zero_grad()
        loss.backward()
        first = first or [t.grad.data.copy() for t in p]
        for t in p:
            t.data -= chosen["lr"] * t.grad.data
    return {"history": history} | {f"first_step_d{n}": g for n, g in zip(["W1", "b1", "W2", "b2"], first)}


@example("simple-network-training")
def _(i):
    stream = np.random.RandomState(42)
    x, labels = stream.randn(i["n"], i["features"]), stream.randint(0, i["classes"], i["n"])
    np.testing.assert_allclose(x[:3], i["first_three_rows_of_X"])
    np.testing.assert_array_equal(labels, i["labels"])
    sizes = i["layers"]
    weights = [Tensor(stream.randn(n, m) * np.sqrt(2 / n), requires_grad=True) for n, m in pairwise(sizes)]
    biases = [Tensor(np.zeros(m), requires_grad=True) for m in sizes[1:]]
    np.testing.assert_allclose(weights[2].data, i["W3_initial"])

    def logits(v):
        for k, (w, b) in enumerate(zip(weights, biases)):
            v = v @ w + b
            v = v if k == 2 else ad.relu(v)
        return v

    def report(part):
        z = logits(x[part])
        p = np.clip(ad.softmax(z), 1e-15, 1 - 1e-15)
        return -np.log(p[np.arange(len(labels[part])), labels[part]]).mean().item(), np.mean(
            z.data.argmax(axis=1) == labels[part]
        )

    train, rest = slice(0, i["train"]), slice(i["train"], None)
    first, rows = None, []
    for epoch in range(1, i["epochs"] + 1):
        order = stream.permutation(i["train"])
        for start in range(0, i["train"], i["batch_size"]):
            batch = order[start : start + i["batch_size"]]
            loss = ad.cross_entropy(logits(x[batch]), labels[batch])
            loss.backward()
            first = first or (batch, [p.grad.data for p in weights], [p.grad.data for p in biases])
            for p in weights + biases:
                p.data -= i["lr"] * p.grad.data
                p.zero_grad()
        with ad.no_grad():
            (tl, ta), (vl, va) = report(train), report(rest)
        rows.append({"epoch": epoch, "train_loss": tl, "val_loss": vl, "train_acc": ta, "val_acc": va})
    batch, dw, db = first
    return {
        "first_batch_indices": batch, "final_train_loss": tl, "final_val_loss": vl, "final_train_acc": ta,
        "final_val_acc": va, "every_20_epochs": [rows[0]] + rows[19::20],
        "train_loss_per_epoch": [r["train_loss"] for r in rows], "val_loss_per_epoch": [r["val_loss"] for r in rows],
        "validation_class_counts": np.bincount(labels[rest]),
    } | {f"first_batch_d{n}{k + 1}": g for n, gs in (("W", dw), ("b", db)) for k, g in enumerate(gs)}  # fmt: skip
