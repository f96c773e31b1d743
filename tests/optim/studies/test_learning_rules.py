"""The perceptron learning algorithm and the Hebbian rule, against the documents, scikit-learn and the gradient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autodiff as ad
from optim import hebbian_learning, perceptron_learning
from tests.documents import ENTRIES

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
GATES = {"or": [0, 1, 1, 1], "and": [0, 0, 0, 1], "nand": [1, 1, 1, 0], "nor": [1, 0, 0, 0], "xor": [0, 1, 1, 0]}


def signs(t):
    return 2 * np.array(t) - 1


# The perceptron


@pytest.mark.parametrize("gate", ["or", "and", "nand", "nor"])
def test_a_perceptron_learns_each_gate_along_the_documented_path(gate):
    entry = ENTRIES["perceptron-learning-algorithm"]
    epochs = entry["expected"][gate]
    trace = perceptron_learning(entry["inputs"]["x"], signs(GATES[gate]), lr=entry["inputs"]["eta"])
    assert trace.errors.tolist() == [e["errors"] for e in epochs]
    assert trace.weights[:, -1].tolist() == [e["w"] for e in epochs]
    assert trace.biases[:, -1].tolist() == [e["w0"] for e in epochs]
    assert trace.converged
    assert trace.predict(X).tolist() == signs(GATES[gate]).tolist()


def test_a_perceptron_never_learns_xor():
    expected = ENTRIES["perceptron-learning-algorithm"]["expected"]["xor_first_4_epochs"]
    trace = perceptron_learning(X, signs(GATES["xor"]), epochs=500)
    assert trace.errors[:4].tolist() == [e["errors"] for e in expected]
    assert trace.weights[:4, -1].tolist() == [e["w"] for e in expected]
    assert not trace.converged
    assert len(trace.errors) == 500 and trace.errors.min() > 0
    xnor = ENTRIES["perceptron-nand-nor-xor"]["expected"]["xnor"]
    assert not perceptron_learning(X, signs(xnor), epochs=500).converged


def test_the_weights_of_the_documents_make_no_error():
    found = [("perceptron-or", None)] + [("perceptron-and", s) for s in (0, 1)]
    for name, which in found:
        inputs, expected = ENTRIES[name]["inputs"], ENTRIES[name]["expected"]
        if which is not None:
            inputs, expected = {**inputs, **inputs["sets"][which]}, expected["sets"][which]
        trace = perceptron_learning(inputs["x"], signs(expected["y"]), weight=inputs["w"], bias=inputs["b"])
        assert trace.errors.tolist() == [0]
        assert trace.weight.tolist() == inputs["w"] and trace.bias == inputs["b"]
        np.testing.assert_allclose(np.array(inputs["x"]) @ trace.weight + trace.bias, expected["a"])
    entry = ENTRIES["perceptron-nand-nor-xor"]
    for gate in ("nand", "nor"):
        parameters = entry["inputs"][gate]
        t = signs(entry["expected"][gate])
        trace = perceptron_learning(entry["inputs"]["x"], t, weight=parameters["w"], bias=parameters["b"])
        assert trace.errors.tolist() == [0]


def test_from_zero_weights_the_strict_rule_learns_nothing():
    trace = perceptron_learning(X, signs(GATES["or"]), strict=True)
    assert trace.errors.tolist() == [0]
    assert not trace.weights.any() and not trace.biases.any()


def test_an_update_is_a_step_of_gradient_descent_on_the_perceptron_loss(rng):
    x, t = rng.normal(size=(30, 4)), np.sign(rng.normal(size=30))
    w0, b0 = rng.normal(size=4), float(rng.normal())
    trace = perceptron_learning(x, t, lr=0.3, epochs=2, weight=w0, bias=b0)
    w, b = w0, b0
    for epoch in range(2):
        for i in range(30):
            dw, db = ad.grad(lambda w, b: ad.relu(-t[i] * (x[i] @ w + b)), argnums=(0, 1))(w, b)
            w, b = w - 0.3 * dw, b - 0.3 * db
            np.testing.assert_allclose(trace.weights[epoch, i], w, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(trace.biases[epoch, i], b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fit_bias", [True, False])
@pytest.mark.parametrize("epochs", [1, 3, 10])
def test_the_weights_are_those_of_scikit_learns_perceptron(rng, epochs, fit_bias):
    linear = pytest.importorskip("sklearn.linear_model")
    x, t = rng.normal(size=(50, 3)), np.sign(rng.normal(size=50))
    theirs = linear.Perceptron(
        eta0=0.5, max_iter=epochs, tol=None, shuffle=False, penalty=None, fit_intercept=fit_bias
    ).fit(x, t)
    ours = perceptron_learning(x, t, lr=0.5, epochs=epochs, fit_bias=fit_bias)
    np.testing.assert_allclose(ours.weight, theirs.coef_[0], rtol=1e-10)
    np.testing.assert_allclose(ours.bias, theirs.intercept_[0], rtol=1e-10)
    assert ours.predict(x).tolist() == theirs.predict(x).tolist()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.sampled_from([0.01, 1.0, 7.0]))
def test_separable_classes_take_at_most_as_many_errors_as_novikoffs_bound(seed, features, lr):
    rng = np.random.default_rng(seed)
    true = rng.normal(size=features + 1)
    x = np.column_stack([rng.normal(size=(40, features)), np.ones(40)])
    margin = x @ true / np.linalg.norm(true)
    x, t, margin = x[abs(margin) > 0.1], np.sign(margin[abs(margin) > 0.1]), abs(margin[abs(margin) > 0.1])
    if not len(x):
        return
    bound = (np.linalg.norm(x, axis=1).max() / margin.min()) ** 2
    trace = perceptron_learning(x[:, :-1], t, lr=lr, epochs=int(bound) + 2, rng=rng)
    assert trace.converged
    assert trace.errors.sum() <= bound


def test_a_generator_draws_the_order_of_the_samples():
    trace = perceptron_learning(X, signs(GATES["and"]), rng=np.random.default_rng(3))
    again = perceptron_learning(X, signs(GATES["and"]), rng=np.random.default_rng(3))
    assert trace.weights.tolist() == again.weights.tolist()
    assert trace.weights.tolist() != perceptron_learning(X, signs(GATES["and"])).weights.tolist()
    assert trace.converged


# The Hebbian rule


@pytest.mark.parametrize("fires_at_zero", [False, True])
def test_the_hebbian_rule_learns_or_along_the_documented_path(fires_at_zero):
    entry = ENTRIES["hebb-or-trace"]
    key = next(k for k in entry["expected"] if (">= 0" in k) == fires_at_zero)
    inputs = entry["inputs"]
    trace = hebbian_learning(
        inputs["x"], inputs["t"], lr=inputs["eta"], epochs=inputs["epochs"], weight=inputs["w0"],
        fires_at_zero=fires_at_zero,
    )  # fmt: skip
    assert trace.errors.tolist() == [e["errors"] for e in entry["expected"][key]]
    expected = [e["w_after_each_sample"] for e in entry["expected"][key]]
    np.testing.assert_allclose(trace.weights, expected, rtol=1e-12)
    if not fires_at_zero:
        assert trace.predict(inputs["x"]).tolist() == inputs["t"]


@pytest.mark.parametrize("name", list(ENTRIES["hebb-variants"]["expected"]))
def test_the_hebbian_rule_does_on_other_gates_what_is_documented(name):
    entry = ENTRIES["hebb-variants"]
    expected, coded = entry["expected"][name], "+-1" in name
    t = np.array(GATES[name.split()[0].lower()])
    with_bias = "with bias" in name
    trace = hebbian_learning(
        signs(X) if coded else X, signs(t) if coded else t, lr=entry["inputs"]["eta"], epochs=5, fit_bias=with_bias
    )
    epochs = len(trace.errors)
    assert trace.errors.tolist() == expected["errors_per_epoch"][:epochs]
    after = np.array(expected["w_after_each_epoch"])
    ours = np.column_stack([trace.biases[:, -1], trace.weights[:, -1]]) if with_bias else trace.weights[:, -1]
    np.testing.assert_allclose(ours, after[:epochs], rtol=1e-12, atol=1e-15)
    assert trace.converged == (expected["errors_per_epoch"][-1] == 0)
    if epochs < 5:  # it stops where nothing changes any more
        assert not any(expected["errors_per_epoch"][epochs:])
        np.testing.assert_allclose(after[epochs:], after[[epochs - 1] * (5 - epochs)])
    assert (trace.predict(signs(X) if coded else X) == (signs(t) if coded else t)).all() == trace.converged


# Bad input


@pytest.mark.parametrize("rule", [perceptron_learning, hebbian_learning])
@pytest.mark.parametrize(
    "change, message",
    [
        (dict(t=[0, 1, 2, 1]), "0, 1, 2"),
        (dict(t=[1, 1, 1]), r"\(4, 2\) and \(3,\)"),
        (dict(x=X[0]), r"\(samples, features\)"),
        (dict(x=np.empty((0, 2)), t=[]), "not empty"),
        (dict(x=np.full((4, 2), np.inf)), "not finite"),
        (dict(lr=0), "more than 0"),
        (dict(lr=-1.0), "lr"),
        (dict(lr=np.nan), "lr"),
        (dict(epochs=0), "epochs"),
        (dict(epochs=1.5), "epochs"),
        (dict(weight=[1.0]), "2 finite numbers"),
        (dict(bias=np.inf), "bias"),
    ],
)
def test_bad_input_is_refused_by_name(rule, change, message):
    arguments = {"x": X, "t": signs(GATES["or"])} | change
    x, t = arguments.pop("x"), arguments.pop("t")
    with pytest.raises(ValueError, match=message) as error:
        rule(x, t, **arguments)
    assert str(error.value).startswith(rule.__name__)


def test_wrong_kinds_are_refused_by_name():
    with pytest.raises(ValueError, match=r"2 \* t - 1"):
        perceptron_learning(X, GATES["or"])
    with pytest.raises(TypeError, match="rng"):
        hebbian_learning(X, GATES["or"], rng=0)
    with pytest.raises(TypeError, match="numbers"):
        hebbian_learning([["a", "b"]], [1])
    with pytest.raises(ValueError, match=r"\(\.\.\., 2\), not \(3,\)"):
        hebbian_learning(X, GATES["or"]).predict([1, 2, 3])


def test_the_signed_distance_is_that_of_the_nearest_point_of_the_line():
    trace = perceptron_learning(X, signs(GATES["and"]))
    w, b = trace.weight, trace.bias
    for x, distance in zip(X, trace.distance(X)):
        nearest = x - distance * w / np.linalg.norm(w)
        assert abs(nearest @ w + b) < 1e-12
        assert (distance > 0) == (trace.predict(x) == 1)
        along = np.linspace(-9, 9, 20001)[:, None] * np.array([-w[1], w[0]]) / np.linalg.norm(w) + nearest
        assert abs(np.linalg.norm(along - x, axis=1).min() - abs(distance)) < 1e-12
    nothing = perceptron_learning(X, signs(GATES["and"]), strict=True)
    assert np.isnan(nothing.distance(X)).all()
    with pytest.raises(ValueError, match=r"distance: takes inputs of shape \(..., 2\), not \(3,\)"):
        trace.distance([1.0, 2.0, 3.0])


def test_the_figure_has_the_samples_and_the_line_of_each_epoch():
    plt = pytest.importorskip("matplotlib.pyplot")
    trace = perceptron_learning(X, signs(GATES["and"]))
    ax = trace.plot()
    points, lines = ax.get_lines()[:2], ax.get_lines()[2:]
    assert [len(line.get_xdata()) for line in points] == [3, 1]
    assert len(lines) == len(trace.errors) == 9
    (x0, y0), (x1, y1) = lines[-1].get_xy1(), lines[-1].get_xy2()
    assert max(abs(trace.distance([[x0, y0], [x1, y1]]))) < 1e-12
    plt.close(ax.figure)
    trace = perceptron_learning(np.c_[X, X[:, :1]], signs(GATES["and"]))
    ax = trace.plot()
    assert ax.get_lines()[0].get_ydata().tolist() == trace.errors.tolist()
    plt.close(ax.figure)
