"""Activations against PyTorch, closed forms, finite differences and the documents' numbers."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import autodiff as ad
import nn
import nn.functional as F
from autodiff.primitive import REGISTRY
from tests.against_torch import agrees_with_torch, same_layer
from tests.documents import ENTRIES

# (module, its options, function): all that PyTorch has
TORCH_S = [
    ("ReLU", {}, "relu"),
    ("LeakyReLU", {}, "leaky_relu"),
    ("LeakyReLU", {"negative_slope": 0.2}, "leaky_relu"),
    ("LeakyReLU", {"negative_slope": 1.5}, "leaky_relu"),
    ("LeakyReLU", {"negative_slope": -0.5}, "leaky_relu"),
    ("LeakyReLU", {"negative_slope": 0.0}, "leaky_relu"),
    ("ELU", {}, "elu"),
    ("ELU", {"alpha": 0.5}, "elu"),
    ("SELU", {}, "selu"),
    ("CELU", {}, "celu"),
    ("CELU", {"alpha": 2.5}, "celu"),
    ("GELU", {}, "gelu"),
    ("GELU", {"approximate": "tanh"}, "gelu"),
    ("SiLU", {}, "silu"),
    ("Mish", {}, "mish"),
    ("Sigmoid", {}, "sigmoid"),
    ("LogSigmoid", {}, "logsigmoid"),
    ("Hardsigmoid", {}, "hardsigmoid"),
    ("Tanh", {}, "tanh"),
    ("Hardtanh", {}, "hardtanh"),
    ("Hardtanh", {"min_val": -2.0, "max_val": 0.5}, "hardtanh"),
    ("Softplus", {}, "softplus"),
    ("Softplus", {"beta": 2.0, "threshold": 1.0}, "softplus"),
    ("Softsign", {}, "softsign"),
    ("ReLU6", {}, "relu6"),
    ("Hardswish", {}, "hardswish"),
    ("Hardshrink", {}, "hardshrink"),
    ("Hardshrink", {"lambd": 1.0}, "hardshrink"),
    ("Softshrink", {}, "softshrink"),
    ("Softshrink", {"lambd": 1.0}, "softshrink"),
    ("Softmax", {"dim": -1}, "softmax"),
    ("Softmax", {"dim": 0}, "softmax"),
    ("LogSoftmax", {"dim": -1}, "log_softmax"),
    ("LogSoftmax", {"dim": 0}, "log_softmax"),
    ("Softmin", {"dim": -1}, "softmin"),
    ("GLU", {}, "glu"),
    ("GLU", {"dim": 0}, "glu"),
]
OURS = [
    ("Sine", {"w0": 2.0}, "sine"),
    ("Snake", {"alpha": 0.7}, "snake"),
    ("TriangleWave", {"period": 3.0}, "triangle_wave"),
    ("Step", {}, "step"),
    ("Step", {"value": 0.5}, "step"),
    ("Sign", {}, "sign"),
]
ROUGH = "Hardsigmoid"  # PyTorch's gradient in double precision has a float32 1/6, and no derivative of its own
ELEMENTWISE = [case for case in TORCH_S + OURS if case[0] not in ("Softmax", "LogSoftmax", "Softmin", "GLU")]
WORDS = [f"{name}-{options}" for name, options, _ in TORCH_S]


def named(cases):
    return {"argvalues": cases, "ids": [f"{name}{options or ''}" for name, options, _ in cases]}


def slopes(f, x):
    """Value, first and second derivative of an elementwise function, by double backward."""
    x = ad.Tensor(x, requires_grad=True)
    y = f(x)
    (d,) = ad.gradients(y, x, np.ones_like(y.data), create_graph=True)
    (dd,) = ad.gradients(d, x, np.ones_like(y.data), allow_unused=True) if d.requires_grad else (None,)
    return y.data, d.data, np.zeros_like(y.data) if dd is None else dd.data


# PyTorch's numbers


@pytest.mark.parametrize("name, options, function", **named(TORCH_S))
def test_values_gradients_and_second_derivatives_are_pytorch_s(name, options, function):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for shape in [(4,), (2, 6), (4, 3, 2), (2, 2, 2, 4), (0, 4), (4, 0)]:
        x = 3 * rng.normal(size=shape)
        if "dim" in options and shape[options["dim"]] == 0:
            continue  # softmax over no class is an error here
        if name == ROUGH:
            agrees_with_torch(nn.Hardsigmoid(), torch.nn.Hardsigmoid(), x, rtol=1e-7, second=False)
        else:
            same_layer(getattr(nn, name)(**options), getattr(torch.nn, name)(**options), x)
        f, g = getattr(F, function), getattr(torch.nn.functional, function)
        np.testing.assert_allclose(f(x, **options).data, g(torch.tensor(x), **options).numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name, options, function", **named(TORCH_S[: WORDS.index("Softmax-{'dim': -1}")]))
def test_derivatives_at_kinks_and_far_out_are_pytorch_s(name, options, function):
    torch = pytest.importorskip("torch")
    x = np.array(
        [-1e4, -100.0, -30.0, -6.0, -3.0, -2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0, 10.0, 20.0, 50.0, 1e4]
    )
    value, first, second = slopes(getattr(nn, name)(**options), x)
    t = torch.tensor(x, requires_grad=True)
    y = getattr(torch.nn, name)(**options)(t)
    (d,) = torch.autograd.grad(y.sum(), t, create_graph=True)
    np.testing.assert_allclose(value, y.detach(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(first, d.detach(), rtol=1e-7 if name == ROUGH else 1e-9, atol=1e-14)
    if name == ROUGH or not d.requires_grad:
        return
    dd = torch.autograd.grad(d.sum(), t, materialize_grads=True)[0].numpy()
    known = np.isfinite(dd)  # torch's mish is NaN at 10⁴
    if (
        name == "Softplus"
    ):  # exactly at the threshold PyTorch's gradient is the left one, its second derivative the right
        known &= x * options.get("beta", 1.0) != options.get("threshold", 20.0)
    np.testing.assert_allclose(second[known], dd[known], rtol=1e-8, atol=1e-13)
    assert np.isfinite(second).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 2, 2), (0, 3), (3,)])
def test_prelu_is_pytorch_s_with_one_slope_and_with_one_a_channel(channels, shape):
    torch = pytest.importorskip("torch")
    if channels > 1 and len(shape) < 2:
        return
    x = np.random.default_rng(0).normal(size=shape)
    layer, reference = nn.PReLU(channels, dtype="float64"), torch.nn.PReLU(channels, dtype=torch.float64)
    assert list(layer.state_dict()) == list(reference.state_dict()) and layer.weight.shape == reference.weight.shape
    np.testing.assert_array_equal(layer.weight.data, reference.weight.detach())
    with torch.no_grad():
        reference.weight.copy_(torch.linspace(-0.5, 0.7, channels))
    same_layer(layer, reference, x)


def test_prelu_at_zero_and_of_a_number():
    x, w = ad.Tensor(0.0, requires_grad=True), ad.Tensor([0.3], requires_grad=True)
    y = F.prelu(x, w)
    assert y.shape == ()
    d, e = ad.gradients(y, [x, w], create_graph=True)
    assert d.item() == 0.3 and e.tolist() == [0.0]
    assert ad.gradients(e.sum(), x)[0].item() == 1.0  # ∂²/∂x∂w, as PyTorch
    layer = nn.PReLU(2, init=0.1)
    layer.weight.data += 1
    layer.reset_parameters()
    np.testing.assert_array_equal(layer.weight.data, np.float32([0.1, 0.1]))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 2)])
def test_softmax_without_dim_takes_pytorch_s_axis_with_a_warning_beyond_matrices(shape):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=shape)
    for name in ["softmax", "log_softmax", "softmin"]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            ours = getattr(F, name)(x).data
            assert len(caught) == (len(shape) > 2) and all("dim" in str(w.message) for w in caught)
            theirs = getattr(torch.nn.functional, name)(torch.tensor(x))
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


# Those PyTorch lacks


def test_the_periodic_ones_are_their_formulas():
    x = np.linspace(-7, 7, 301)
    np.testing.assert_allclose(F.sine(x, 3.0).data, np.sin(3 * x))
    assert nn.Sine().w0 == 30.0
    np.testing.assert_allclose(F.snake(x, 2.0).data, x + np.sin(2 * x) ** 2 / 2)
    value, first, second = slopes(lambda t: F.triangle_wave(t, 4.0), x)
    np.testing.assert_allclose(value, 2 / np.pi * np.arcsin(np.sin(2 * np.pi * x / 4)), atol=1e-12)
    smooth = np.abs(np.abs(value) - 1) > 1e-9
    np.testing.assert_allclose(first[smooth], np.sign(np.cos(2 * np.pi * x / 4))[smooth])
    assert not second.any() and not slopes(lambda t: F.triangle_wave(t, 4.0), np.array([1.0, -1.0, 3.0]))[1].any()
    for f in [lambda t: F.sine(t, 2.0), lambda t: F.snake(t, 0.7), F.snake]:
        assert ad.gradcheck(f, x[::10]) and ad.gradgradcheck(f, x[::10])


def test_step_and_sign_have_gradient_zero_and_stay_in_the_graph():
    x = ad.Tensor([-2.0, 0.0, 3.0], requires_grad=True)
    for f, expected in [(nn.Step(), [0, 0, 1]), (nn.Step(1.0), [0, 1, 1]), (nn.Sign(), [-1, 0, 1])]:
        y = f(x)
        assert y.tolist() == expected and y.requires_grad
        assert ad.gradients(y.sum(), x)[0].tolist() == [0, 0, 0]
    conventions = ENTRIES["step-function-at-zero"]
    a = np.array(conventions["inputs"]["a"], float)
    assert F.step(a).tolist() == conventions["expected"]["strict"]
    assert F.step(a, 1.0).tolist() == conventions["expected"]["non_strict"]
    assert F.sign(a).tolist() == conventions["expected"]["numpy_sign"]


# The documents' numbers


@pytest.mark.parametrize(
    "entry, key, module",
    [
        ("activation-values", "sigmoid", nn.Sigmoid()),
        ("activation-values", "tanh", nn.Tanh()),
        ("activation-values", "relu", nn.ReLU()),
        ("activation-values", "leaky_relu_0.01", nn.LeakyReLU()),
        ("activation-values", "gelu_exact", nn.GELU()),
        ("activation-values", "gelu_tanh", nn.GELU("tanh")),
        ("activation-values-relu-family", "prelu_0.25", nn.PReLU(dtype="float64")),
        ("activation-values-relu-family", "elu_1", nn.ELU()),
        ("activation-values-relu-family", "elu_0.5", nn.ELU(0.5)),
        ("activation-values-relu-family", "selu", nn.SELU()),
        ("activation-values-relu-family", "softplus", nn.Softplus()),
    ],
)
def test_the_tables_of_activations_in_the_documents(entry, key, module):
    data = ENTRIES[entry]
    x, expected = np.array(data["inputs"]["x"]), data["expected"][key]
    for found, name in zip(slopes(module, x), ["f", "df", "d2f"]):
        wanted = np.array([np.nan if v is None else v for v in expected[name]])
        known = ~np.isnan(wanted)
        np.testing.assert_allclose(found[known], wanted[known], rtol=1e-10, atol=1e-12)
        at_zero = data["expected"].get("pytorch_second_derivative_at_0", {})
        if key in at_zero and name == "d2f":
            assert found[x == 0] == at_zero[key]


def test_the_slope_of_prelu_learns_from_negative_inputs():
    data = ENTRIES["activation-values-relu-family"]
    x, w = np.array(data["inputs"]["x"]), ad.Tensor([0.25], requires_grad=True)
    found = [ad.gradients(F.prelu([v], w).sum(), w)[0].item() for v in x]
    np.testing.assert_allclose(found, data["expected"]["prelu_derivative_in_a"])
    assert F.selu(-1e4).item() == pytest.approx(data["expected"]["selu_negative_limit"], rel=1e-12)


def test_the_derivatives_at_kinks_that_the_documents_choose():
    chosen = ENTRIES["subgradient-conventions"]["expected"]["pytorch_gradient"]
    for case, f, x in [
        ("relu", F.relu, 0.0), ("leaky_relu (slope 0.01)", F.leaky_relu, 0.0),
        ("prelu (a 0.25)", lambda t: F.prelu(t, [0.25]), 0.0), ("elu (alpha 1)", F.elu, 0.0),
        ("elu (alpha 0.5)", lambda t: F.elu(t, 0.5), 0.0), ("selu", F.selu, 0.0), ("hardtanh", F.hardtanh, 1.0),
        ("relu6", F.relu6, 6.0), ("sign", F.sign, 0.0),
    ]:  # fmt: skip
        assert slopes(f, [x])[1].tolist() == pytest.approx(chosen[case], abs=1e-15), case


# Stability, dtypes, shapes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, options, function", **named(ELEMENTWISE))
def test_far_out_there_is_no_overflow_and_no_nan_to_third_order(name, options, function, dtype):
    x = ad.Tensor(
        np.array([-1e4, -1e3, -88.0, -20.0, -1e-30, 0.0, 1e-30, 20.0, 88.0, 1e3, 1e4], dtype), requires_grad=True
    )
    module = getattr(nn, name)(**options)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        y = module(x)
        for _ in range(3):
            assert np.isfinite(y.data).all() and y.dtype == dtype
            if not y.requires_grad:
                break
            (y,) = ad.gradients(y, x, np.ones(x.shape, dtype), create_graph=True, allow_unused=True)
            if y is None:
                break
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        x = ad.Tensor(x.data.copy(), requires_grad=True)
        module(x).sum().backward()


@pytest.mark.parametrize("name, options, function", **named(TORCH_S + OURS))
def test_float32_stays_float32_and_empty_batches_pass_with_zero_gradients(name, options, function):
    module = getattr(nn, name)(**options)
    for shape in [(4,), (4, 2), (0, 2), (2, 0)]:
        if name in ("GLU", "Softmax", "LogSoftmax", "Softmin") and 0 in shape:
            shape = (0, 2) if options.get("dim", -1) == -1 else (2, 0)
        x = ad.Tensor(np.ones(shape, "float32"), requires_grad=True)
        y = module(x)
        y.sum().backward()
        assert y.dtype == x.grad.dtype == np.float32 and x.grad.shape == shape
        with ad.no_grad():
            assert not module(x).requires_grad


@settings(max_examples=30)
@given(
    x=hnp.arrays(
        np.float64, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4), elements=st.floats(-50, 50)
    ),
    case=st.sampled_from(ELEMENTWISE),
)
def test_elementwise_activations_take_any_shape_and_each_element_alone(x, case):
    name, options, _ = case
    module = getattr(nn, name)(**options)
    y = module(x)
    assert y.shape == x.shape
    alone = np.array([module(np.array(v)).item() for v in x.ravel()]).reshape(x.shape)
    np.testing.assert_allclose(y.data, alone, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("native", ["0", "1"])
def test_gelu_in_float32_is_as_accurate_as_its_dtype(native, monkeypatch):
    monkeypatch.setenv("AUTODIFF_NATIVE", native)
    special = pytest.importorskip("scipy.special")
    x = np.linspace(-12, 12, 100_001)
    exact = x * special.ndtr(x)
    slope = special.ndtr(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    value, first, _ = slopes(F.gelu, x.astype("float32"))
    np.testing.assert_allclose(value, exact, rtol=5e-6, atol=3e-7)
    np.testing.assert_allclose(first, slope, rtol=3e-6, atol=5e-7)
    assert F.gelu(np.float32([-np.inf, 0.0, np.inf])).tolist() == [0.0, 0.0, np.inf]
    wide = x[:60_000].astype("float32").reshape(300, 200)
    for part in [wide, wide.T, wide[::2, ::3], wide[:0]]:  # more than one block, and any strides
        t = ad.Tensor(part, requires_grad=True)
        y = F.gelu(t)
        y.sum().backward()
        np.testing.assert_allclose(y.data, F.gelu(part.astype(float)).data, rtol=5e-6, atol=3e-7)
        u = ad.Tensor(part.astype(float), requires_grad=True)
        F.gelu(u).sum().backward()
        np.testing.assert_allclose(t.grad.data, u.grad.data, rtol=3e-6, atol=5e-7)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_gelu_compiled_in_float32_is_as_accurate_as_its_dtype_in_its_tail_too(backend):
    special = pytest.importorskip("scipy.special")
    x = np.linspace(-9, 12, 10_001).astype("float32")
    x[:2] = np.float32([0.0, 1e-30])
    wide = x.astype(float)
    slope = special.ndtr(wide) + wide * np.exp(-0.5 * wide * wide) / math.sqrt(2 * math.pi)
    both = ad.compile(ad.value_and_grad(lambda x, g: (F.gelu(x) * g).sum()), backend=backend)
    whole = ad.compile(lambda x: F.gelu(x).data, backend=backend)
    g = np.random.default_rng(0).normal(size=x.shape).astype("float32")
    near = np.abs(slope) > 1e-3  # elsewhere its two terms cancel
    for _ in range(2):
        np.testing.assert_allclose(whole(x), wide * special.ndtr(wide), rtol=1e-5)
        found = both(x, g)[1]
        np.testing.assert_allclose(found, g * slope, rtol=1e-5, atol=3e-6)
        np.testing.assert_allclose(found[near], (g * slope)[near], rtol=2e-4)
        left = wide < -2
        np.testing.assert_allclose(found[left], (g * slope)[left], rtol=5e-5)
    extreme = np.float32([-np.inf, np.inf, np.nan, -0.0])
    with np.errstate(all="ignore"):
        assert np.array_equal(whole(extreme), [0.0, np.inf, np.nan, 0.0], equal_nan=True)


def test_the_primitives_are_registered_with_samples_and_formulas():
    names = """leaky_relu prelu elu hardtanh hardswish hardshrink softshrink silu mish gelu gelu_tanh softplus_of_beta
    softsign glu snake triangle_wave""".split()
    assert all(REGISTRY[name].samples and REGISTRY[name].formula and REGISTRY[name].derivatives for name in names)


# Bad input, representation


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: nn.GELU("exact"), ValueError, "GELU: approximate is 'none' or 'tanh', not 'exact'"),
        (lambda: F.gelu([1.0], "sigmoid"), ValueError, "gelu: approximate"),
        (lambda: F.gelu(np.ones(2, int)), TypeError, r"gelu: got input of .*int64.*astype"),
        (lambda: nn.SiLU()(np.ones(2, int)), TypeError, "silu"),
        (lambda: nn.LeakyReLU("a"), TypeError, "LeakyReLU: negative_slope is a number"),
        (lambda: nn.ELU(-1.0), ValueError, "ELU: alpha"),
        (lambda: nn.CELU(0.0), ValueError, "CELU: alpha is greater than 0, not 0"),
        (lambda: nn.Hardtanh(1.0, -1.0), ValueError, "Hardtanh: max_val is greater"),
        (lambda: nn.Softplus(beta=0), ValueError, "Softplus: beta"),
        (lambda: nn.Hardshrink(-1.0), ValueError, "Hardshrink: lambd"),
        (lambda: nn.Snake(0.0), ValueError, "Snake: alpha"),
        (lambda: nn.TriangleWave(-2.0), ValueError, "TriangleWave: period"),
        (lambda: nn.Sine(None), TypeError, "Sine: w0"),
        (lambda: nn.PReLU(0), ValueError, "PReLU: num_parameters"),
        (lambda: nn.PReLU(3)(np.ones((2, 4))), ValueError, r"prelu: weight of shape \(3,\).*\(2, 4\)"),
        (lambda: nn.PReLU(3)(np.ones(3)), ValueError, r"prelu: weight of shape \(3,\)"),
        (lambda: F.prelu(np.ones((2, 4)), np.ones((2, 2))), ValueError, "prelu"),
        (lambda: nn.GLU()(np.ones((2, 3))), ValueError, r"glu: input of shape \(2, 3\).*even"),
        (lambda: nn.GLU(dim=2)(np.ones((2, 4))), ValueError, "no axis 2"),
        (lambda: nn.GLU()(np.array(1.0)), ValueError, "glu"),
        (lambda: nn.Softmax(dim=3)(np.ones((2, 4))), np.exceptions.AxisError, "axis 3"),
        (lambda: nn.Softmax(1.5), TypeError, "Softmax: dim is an integer, not 1.5"),
        (lambda: nn.LogSoftmax("1"), TypeError, "LogSoftmax: dim"),
        (lambda: F.softmin(np.ones((2, 4)), dim=0.0), TypeError, "softmin: dim is an integer"),
        (lambda: nn.GLU(None), TypeError, "GLU: dim is an integer, not None"),
    ],
)  # fmt: skip
def test_bad_options_and_inputs_are_named(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_representations_show_the_options_as_pytorch_s():
    torch = pytest.importorskip("torch")
    for name, options, _ in TORCH_S:
        if name not in ("Hardshrink", "Softshrink"):  # whose option PyTorch shows without its name
            assert repr(getattr(nn, name)(**options)) == repr(getattr(torch.nn, name)(**options))
    assert repr(nn.Sine(2.0)) == "Sine(w0=2.0)" and repr(nn.TriangleWave(1.0)) == "TriangleWave(period=1.0)"
    for name in "ReLU LeakyReLU ELU SELU CELU SiLU Mish Hardsigmoid Hardtanh ReLU6 Hardswish".split():
        getattr(nn, name)(inplace=True)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_a_softmax_in_another_dtype_is_pytorch_s(name):
    torch = pytest.importorskip("torch")
    for x in (np.array([[1, 2, 3]]), np.array([[0.1, 60.0, 3.0]], np.float16), np.array([[1.0, 2.0]], np.float32)):
        ours = getattr(F, name)(x, 1, dtype="float64")
        theirs = getattr(torch.nn.functional, name)(torch.tensor(x), 1, dtype=torch.float64)
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours.data, theirs, rtol=1e-12)
    with pytest.raises(TypeError, match="floating-point"):
        getattr(F, name)(x, 1, dtype=int)


@pytest.mark.parametrize("call", [
    lambda x: F.softmax(x, axis=1), lambda x: F.log_softmax(x, axis=1), lambda x: F.softmin(x, axis=1), lambda x: F.glu(x, axis=1),
    lambda x: F.normalize(x, axis=1), lambda x: F.cosine_similarity(x, x, axis=1), lambda x: nn.Softmax(axis=1), lambda x: nn.GLU(axis=1),
])  # fmt: skip
def test_who_says_axis_is_told_to_say_dim(call):
    with pytest.raises(TypeError, match="got axis=1; nn says dim=1"):
        call(np.ones((2, 2)))
