"""gradcheck and gradgradcheck find wrong derivatives, say where they are, and accept right ones."""

import numpy as np
import pytest

import autodiff as ad
from autodiff import GradientCheckError, Tensor, gradcheck, gradgradcheck

x3 = np.array([0.5, -1.2, 2.0])


def with_rule(rule, forward=lambda x: x**3, name="cube"):
    return ad.primitive(forward, name=name, vjps=[rule])


right = with_rule(lambda g, y, x: g * 3 * x**2)


# What is right passes


@pytest.mark.parametrize(
    "f, inputs",
    [
        (right, x3),
        (right, Tensor(x3, requires_grad=True)),
        (np.sin, 0.5),
        (np.sin, [np.float64(0.5)]),
        (lambda a, b: a @ b, (np.ones((2, 3)), np.arange(3.0))),
        (lambda a, b: a * b, [Tensor(x3), 2.0]),
        (lambda p, k, s: p["w"][0] * p["b"] ** k, ({"w": [x3], "b": np.array(1.5)}, 3, "text")),
        (lambda x: {"a": x * x, "b": (x.sum(), x.argmax())}, x3),
        (lambda x: x[:0], x3),
        (lambda x: x.sum(), np.zeros((0, 2))),
        (lambda x: x * 1e6, x3 * 1e-3),
        (lambda x: np.log(x), np.array([1e3, 1e5])),
        (lambda x: np.exp(x), np.array([10.0, -10.0])),
    ],
)
def test_right_derivatives_pass_first_and_second_order(f, inputs):
    assert gradcheck(f, inputs) is True
    assert gradgradcheck(f, inputs, rtol=1e-4) is True


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_right_derivatives_of_coarse_inputs_pass(dtype):
    f = lambda x: np.tanh(x) * x**2
    assert gradcheck(f, x3.astype(dtype))
    if dtype is np.float32:
        assert gradgradcheck(f, x3.astype(dtype))
        assert gradcheck(lambda x: x.astype(np.float32) * 2, x3.astype(dtype))


def test_a_function_that_uses_transforms_inside_passes():
    assert gradcheck(lambda x: ad.grad(lambda z: (z**3).sum())(x), x3)
    assert gradgradcheck(lambda x: ad.hvp(lambda z: (z**4).sum(), x, np.ones(3)), x3, rtol=1e-4)


def test_checking_leaves_inputs_and_gradients_untouched():
    t = Tensor(x3, requires_grad=True)
    w = Tensor(2.0, requires_grad=True)
    assert gradgradcheck(lambda x: x**2 * w, t)
    assert t.grad is None and w.grad is None and t.numpy().tolist() == x3.tolist()


# What is wrong is found


@pytest.mark.parametrize(
    "rule, analytic, numeric",
    [
        (lambda g, y, x: -g * 3 * x**2, "-12", "12"),  # sign
        (lambda g, y, x: g * x**2, "4", "12"),  # a missing factor
        (lambda g, y, x: 3 * x**2, None, None),  # the cotangent forgotten: right only where it is 1
        (lambda g, y, x: g * 0, "0", "12"),
        (lambda g, y, x: g * np.nan, "nan", "12"),
        (lambda g, y, x: g * 3 * x**2 + 1e-3, None, None),
    ],
)
def test_a_wrong_rule_is_found_with_input_element_and_both_values(rule, analytic, numeric):
    f = with_rule(rule)
    with pytest.raises(GradientCheckError, match="gradcheck of cube") as caught:
        gradcheck(f, x3)
    text = str(caught.value)
    assert "input 0" in text and "analytic" in text and "numeric" in text
    if analytic:
        assert f"analytic {analytic}" in text
        if analytic != "nan":
            assert f"numeric {numeric}" in text and "at index (2,)" in text


def test_a_rule_wrong_in_one_element_of_one_input_is_found_there():
    def wrong(g, y, a, b):
        d = g * a
        return d * np.where(np.arange(6).reshape(2, 3) == 4, 1.01, 1.0)

    f = ad.primitive(np.multiply, name="product", vjps=[lambda g, y, a, b: g * b, wrong])
    a, b = np.full((2, 3), 2.0), np.ones((2, 3))
    with pytest.raises(GradientCheckError, match=r"1 of 72 .* output at index \(1, 1\) by input 1 at index \(1, 1\)"):
        gradcheck(f, (a, b))
    with pytest.raises(GradientCheckError, match=r"by input 0\['p'\]\[1\] at index \(1, 1\): analytic 2.02"):
        gradcheck(lambda d: f(d["p"][0], d["p"][1]), {"p": [a, b]})


def test_with_several_outputs_the_wrong_one_is_named():
    f = with_rule(lambda g, y, x: -g * 3 * x**2)
    with pytest.raises(GradientCheckError, match=r"output 1 at index \(2,\) by input 0 at index \(2,\)"):
        gradcheck(lambda x: (x * 2, f(x)), x3)


def test_a_rule_that_stops_at_first_order_passes_gradcheck_and_fails_gradgradcheck():
    detaches = with_rule(lambda g, y, x: g * 3 * (x.detach() if isinstance(x, Tensor) else x) ** 2)
    assert gradcheck(detaches, x3)
    with pytest.raises(GradientCheckError, match=r"gradgradcheck of the gradient of cube.*input 0 at index"):
        gradgradcheck(detaches, x3)
    of_arrays = with_rule(lambda g, y, x: np.asarray(g) * 3 * np.asarray(x) ** 2)
    assert gradcheck(of_arrays, x3)
    with pytest.raises((GradientCheckError, TypeError)):
        gradgradcheck(of_arrays, x3)


def test_a_linear_rule_that_detaches_the_cotangent_fails_gradgradcheck():
    double = with_rule(lambda g, y, x: 2 * (g.detach() if isinstance(g, Tensor) else g), lambda x: 2 * x, "double")
    assert gradcheck(double, x3)
    with pytest.raises(GradientCheckError, match="by the cotangent of output 0"):
        gradgradcheck(double, x3)


def test_one_wrong_element_among_many_is_found_by_halving():
    n = 5000
    scale = np.ones(n)
    scale[4321] = 1.5
    f = with_rule(lambda g, y, x: g * 2 * x * scale, lambda x: x**2, "square")
    x = np.random.default_rng(0).uniform(0.5, 1.0, n)
    assert gradcheck(lambda x: (x**2).sum(), x)
    with pytest.raises(GradientCheckError, match=r"by input 0 at index \(4321,\)"):
        gradcheck(lambda x: f(x).sum(), x)
    with pytest.raises(GradientCheckError, match=r"combination of all outputs by input 0 at index \(4321,\)"):
        gradcheck(f, x)


def test_many_outputs_are_checked_in_combinations():
    x = np.random.default_rng(0).uniform(0.5, 1.0, 300)
    assert gradcheck(np.exp, x) and gradgradcheck(np.exp, x, rtol=1e-4)
    wrong = with_rule(lambda g, y, x: g * y * np.where(np.arange(300) == 7, 0.999, 1.0), np.exp, "exp")
    with pytest.raises(GradientCheckError, match=r"a combination of all outputs by input 0 at index \(7,\)"):
        gradcheck(wrong, x)


def test_tolerances_and_step_can_be_given():
    slightly = with_rule(lambda g, y, x: g * 3.003 * x**2)
    with pytest.raises(GradientCheckError):
        gradcheck(slightly, x3)
    assert gradcheck(slightly, x3, rtol=1e-2)
    assert gradcheck(slightly, x3, atol=1.0)
    with pytest.raises(GradientCheckError, match="smaller eps"), np.errstate(all="ignore"):
        gradcheck(np.log, np.array([1e-7]))
    assert gradcheck(np.log, np.array([1e-7]), eps=1e-12, rtol=1e-3)


# What cannot be checked is refused


@pytest.mark.parametrize(
    "f, inputs, error, match",
    [
        (np.sin, np.array([1.0, np.nan]), ValueError, r"input 0 contains nan at index \(1,\)"),
        (lambda a, b: a, (x3, [x3, Tensor([[np.inf]])]), ValueError, r"input 1\[1\] contains inf at index \(0, 0\)"),
        (np.sin, np.arange(3), ValueError, "no floating-point input"),
        (np.sin, [], ValueError, "no floating-point input"),
        (lambda x: x.numpy(), x3, TypeError, "must return a Tensor.*ndarray"),
        (lambda x: 3.0, x3, TypeError, "must return a Tensor"),
        (lambda x: None, x3, TypeError, "must return a Tensor"),
        (lambda x: x.argmax(), x3, TypeError, "no floating-point Tensor"),
        (5, x3, TypeError, "needs a function"),
    ],
)
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_bad_input_is_refused_with_a_reason(check, f, inputs, error, match):
    with pytest.raises(error, match=match):
        check(f, inputs)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_a_random_function_is_refused_as_random(check):
    rng = np.random.default_rng(0)
    with pytest.raises(GradientCheckError, match="random"):
        check(lambda x: x * rng.uniform(), x3)


def test_an_output_that_is_not_finite_is_refused():
    with pytest.raises(GradientCheckError, match="not finite"), np.errstate(all="ignore"):
        gradcheck(np.log, np.array([0.0]))


# Magnitudes, and forward mode


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("at", [1e-6, 1e-3, 1.0, 1e3, 1e6, -1e6, 1e9])
@pytest.mark.parametrize(
    "f, slope",
    [
        (lambda x: x**3, lambda x: 3 * x**2),
        (lambda x: 1e-9 * x**2, lambda x: 2e-9 * x),
        (lambda x: 1 / x, lambda x: -1 / x**2),
        (lambda x: 5e8 * x, lambda x: 5e8 + 0 * x),
        (lambda x: np.sqrt(x * x + 1.0), lambda x: x / np.sqrt(x * x + 1.0)),
    ],
)
def test_one_percent_is_found_at_every_magnitude_where_double_precision_shows_it(f, slope, at, dtype):
    x = np.array([at, 2 * at], dtype)
    scaled = np.abs(slope(x) * np.maximum(1, np.abs(x))).min()
    right, wrong = (with_rule(lambda g, y, x, c=c: g * slope(x) * c, f, "power") for c in (1.0, 1.01))
    eps = 1e-9 if at < 1 else None  # 1 / x bends too much for the default
    assert gradcheck(right, x, eps=eps)
    visible = 1e-2 * scaled > (1e-9 if dtype is np.float64 and eps is None else 1e-3) * (1 + np.abs(f(x)).max())
    if visible or (dtype is np.float64 and at >= 1e3):
        with pytest.raises(GradientCheckError, match="derivatives are wrong"):
            gradcheck(wrong, x, eps=eps)


def test_a_value_that_cancels_is_no_false_alarm():
    for at in (0.0, 1.0, 1e3):
        assert gradcheck(lambda x: np.sin(x) ** 2 + np.cos(x) ** 2 - 1, np.array([at, at + 0.5]))
    assert gradcheck(lambda x: (x + 1e4) - 1e4, np.array([0.5]))
    assert gradcheck(lambda x: (x - x.mean()).sum(), np.array([0.1, 0.7, 1e4]))
    assert gradcheck(lambda x: x * 0.0, np.array([0.5, 3.0]))


def test_a_kink_in_one_element_hides_no_other_that_is_wrong():
    wrong = with_rule(lambda g, y, x: g * np.where(x > 0, 1.001, 0.0), lambda x: np.maximum(x, 0), "ramp")
    with pytest.raises(GradientCheckError, match=r"2 of 4 derivatives are wrong"):
        gradcheck(wrong, np.array([0.0, 1.0]))


def with_forward(jvp, vjp=lambda g, y, x: g * 3 * x**2):
    return ad.primitive(lambda x: x**3, name="cube", vjps=[vjp], jvps=[jvp])


def test_a_forward_rule_that_is_not_that_of_the_reverse_pass_is_found_with_both_values():
    assert gradcheck(with_forward(lambda t, y, x: t * 3 * x**2), x3)
    for jvp in (
        lambda t, y, x: t * 2 * x**2,
        lambda t, y, x: t * 3.03 * x**2,
        lambda t, y, x: t * 3 * x**2 * np.where(np.arange(3) == 2, 1.01, 1.0),
        lambda t, y, x: 3 * x**2,
    ):
        with pytest.raises(GradientCheckError, match=r"gradcheck of cube: .*reverse .*, forward .*"):
            gradcheck(with_forward(jvp), np.array([0.5, -1.2, 2.0]))
    of_a_word = ad.primitive(lambda x: x**3, name="cube", vjps=[lambda g, y, x: g * 3 * x**2], jvps="linear")
    with pytest.raises(GradientCheckError, match=r"reverse .*forward"):
        gradcheck(of_a_word, x3)


def test_one_wrong_forward_element_among_many_is_found_by_halving():
    wrong = with_forward(lambda t, y, x: t * 3 * x**2 * np.where(np.arange(3000) == 1234, 1.5, 1.0))
    with pytest.raises(GradientCheckError, match=r"by input 0 at index \(1234,\): reverse .*, forward "):
        gradcheck(lambda x: wrong(x).sum(), np.random.default_rng(0).uniform(0.5, 1.0, 3000))


def test_gradgradcheck_checks_forward_mode_of_the_gradient_too():
    stops = with_forward(lambda t, y, x: t * 3 * (x.detach() if isinstance(x, Tensor) else x) ** 2)
    assert gradcheck(stops, x3) and gradgradcheck(stops, x3)  # the gradient is not made of forward rules
