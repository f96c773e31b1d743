"""Pooling: PyTorch's numbers to second order for every option, ties, errors."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import autodiff as ad
import nn
import nn.functional as F
from tests.against_torch import agrees_with_torch, same_layer


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def both(kind, *args, **options):
    """Our module and PyTorch's."""
    torch = pytest.importorskip("torch")
    return getattr(nn, kind)(*args, **options), getattr(torch.nn, kind)(*args, **options)


# Pooling against PyTorch


MAX = [
    dict(kernel_size=2), dict(kernel_size=3, stride=2, padding=1), dict(kernel_size=3, stride=1), dict(kernel_size=2, stride=3),
    dict(kernel_size=3, dilation=2, padding=1), dict(kernel_size=3, stride=2, ceil_mode=True), dict(kernel_size=1),
    dict(kernel_size=2, stride=2, padding=1, ceil_mode=True), dict(kernel_size=4, stride=3, padding=2, ceil_mode=True),
]  # fmt: skip
AVG = [
    dict(kernel_size=2), dict(kernel_size=3, stride=2, padding=1), dict(kernel_size=3, stride=1), dict(kernel_size=2, stride=3),
    dict(kernel_size=3, stride=2, padding=1, count_include_pad=False), dict(kernel_size=1), dict(kernel_size=3, stride=2, ceil_mode=True),
    dict(kernel_size=4, stride=3, padding=2, ceil_mode=True), dict(kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
]  # fmt: skip
CASES = [("MaxPool1d", o) for o in MAX] + [("AvgPool1d", o) for o in AVG]
CASES += [("MaxPool2d", o) for o in MAX] + [("AvgPool2d", o) for o in AVG] + [
    ("MaxPool2d", dict(kernel_size=(3, 2), stride=(1, 2), padding=(0, 1), dilation=(2, 1), ceil_mode=True)),
    ("AvgPool2d", dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 0))),
    ("AvgPool2d", dict(kernel_size=2, divisor_override=3)),
    ("AvgPool2d", dict(kernel_size=3, stride=2, padding=1, ceil_mode=True, divisor_override=-2)),
    ("MaxPool2d", dict(kernel_size=(7, 8))),
]  # fmt: skip
KINDS = ("Avg", "Max")
CASES += [(f"Adaptive{k}Pool{n}d", dict(output_size=m)) for k in KINDS for n in (1, 2) for m in (1, 2, 3, 4, 7, 11)]
CASES += [(f"Adaptive{k}Pool2d", dict(output_size=m)) for k in KINDS for m in [(None, 3), (7, None), (1, 4), (9, 1)]]
CASES += [
    (f"{k}Pool3d", o)
    for k in KINDS
    for o in (dict(kernel_size=2), dict(kernel_size=(2, 3, 1), stride=(1, 2, 2), padding=(1, 0, 0), ceil_mode=True))
]
CASES += [
    ("AvgPool3d", dict(kernel_size=3, padding=1, count_include_pad=False)),
    ("MaxPool3d", dict(kernel_size=2, dilation=(1, 2, 1))),
]
CASES += [(f"Adaptive{k}Pool3d", dict(output_size=m)) for k in KINDS for m in (1, 2, (None, 3, 2))]


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
@pytest.mark.parametrize("batch", [(3,), ()])
def test_pooling_equals_pytorch_s_to_second_order(kind, options, batch):
    lengths = {"1d": (9,), "2d": (7, 8), "3d": (3, 5, 4)}[kind[-2:]]
    same_layer(*both(kind, **options), values(*batch, 2, *lengths))


@st.composite
def windows(draw):
    """An input's shape and windows, over one or two axes, of which at least one fits."""
    n = draw(st.integers(1, 2))

    def some(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    lengths, kernel = some(1, 7), some(1, 4)
    how = dict(kernel_size=kernel, stride=some(1, 4), padding=tuple(draw(st.integers(0, k // 2)) for k in kernel))
    how["ceil_mode"] = draw(st.booleans())
    return (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *lengths), how, some(1, 2)


def fits(shape, how, dilation):
    places = zip(shape[2:], how["kernel_size"], how["padding"], dilation)
    return all(m + 2 * p > d * (k - 1) for m, k, p, d in places)


@given(windows())
@settings(deadline=None, max_examples=80)
def test_any_windows_have_pytorch_s_maxima_to_second_order(case):
    torch = pytest.importorskip("torch")
    shape, how, dilation = case
    assume(fits(shape, how, dilation))
    name = f"max_pool{len(shape) - 2}d"
    ours, theirs = getattr(F, name), getattr(torch.nn.functional, name)
    x, how = values(*shape), how | {"dilation": dilation}
    assume(np.isfinite(theirs(torch.tensor(x), **how).numpy()).all())  # a window in the padding alone
    agrees_with_torch(lambda a: ours(a**2, **how), lambda a: theirs(a**2, **how), x)


@given(windows(), st.booleans(), st.sampled_from([None, 1, 3, -2]))
@settings(deadline=None, max_examples=80)
def test_any_windows_have_pytorch_s_means_to_second_order(case, include, divisor):
    torch = pytest.importorskip("torch")
    shape, how, _ = case
    assume(fits(shape, how, (1, 1)))
    name, how = f"avg_pool{len(shape) - 2}d", how | {"count_include_pad": include}
    if len(shape) == 4:
        how["divisor_override"] = divisor
    ours, theirs = getattr(F, name), getattr(torch.nn.functional, name)
    agrees_with_torch(lambda a: ours(a**2, **how), lambda a: theirs(a**2, **how), values(*shape))


@given(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.tuples(st.integers(1, 9), st.integers(1, 9)))
@settings(deadline=None, max_examples=50)
def test_any_parts_have_pytorch_s_means_to_second_order(lengths, size):
    torch = pytest.importorskip("torch")
    ours, theirs = F.adaptive_avg_pool2d, torch.nn.functional.adaptive_avg_pool2d
    agrees_with_torch(lambda a: ours(a**2, size), lambda a: theirs(a**2, size), values(2, 1, *lengths))


@pytest.mark.parametrize("size", [(2, 3), (4, 5), (9, 1), (3, 4), (12, 8)])
def test_the_first_of_equal_maxima_of_a_part_receives_the_gradient_as_in_pytorch(size):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(0, 2, (4, 2, 9, 8)).astype(float)
    agrees_with_torch(
        lambda a: F.adaptive_max_pool2d(a, size), lambda a: torch.nn.functional.adaptive_max_pool2d(a, size), x, second=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 2), (4, 3, 2, 1)]
)
def test_the_first_of_equal_maxima_receives_the_gradient_as_in_pytorch(kernel, stride, padding, dilation):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(0, 3, (4, 2, 9, 8)).astype(float)
    agrees_with_torch(
        lambda a: F.max_pool2d(a, kernel, stride, padding, dilation),
        lambda a: torch.nn.functional.max_pool2d(a, kernel, stride, padding, dilation), x, second=False,
    )  # fmt: skip


# Without PyTorch


def test_the_gradient_of_a_tie_goes_to_the_first_maximum_row_by_row():
    x = ad.Tensor(np.ones((1, 2, 4)), requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [[[1, 0, 1, 0], [0, 0, 0, 0]]])


def test_pooling_is_the_maximum_and_the_mean_of_blocks():
    x = values(2, 3, 6, 8)
    blocks = x.reshape(2, 3, 3, 2, 2, 4)
    np.testing.assert_array_equal(F.max_pool2d(x, (2, 4)).data, blocks.max((3, 5)))
    np.testing.assert_allclose(F.avg_pool2d(x, (2, 4)).data, blocks.mean((3, 5)), atol=1e-14)
    np.testing.assert_allclose(F.adaptive_avg_pool2d(x, 1).data, x.mean((2, 3), keepdims=True), atol=1e-14)
    assert F.adaptive_avg_pool2d(x, (0, 2)).shape == (2, 3, 0, 2)


def test_the_memory_order_of_the_input_changes_nothing():
    x = values(4, 3, 6, 7)
    other = np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    for pool in (
        lambda t: F.max_pool2d(t, 3, 2, 1),
        lambda t: F.avg_pool2d(t, 3, 2, 1),
        lambda t: F.upsample(t, scale_factor=2),
    ):
        a, b = (ad.Tensor(v, requires_grad=True) for v in (x, other))
        b.data = other
        ya, yb = pool(a), pool(b)
        np.testing.assert_array_equal(ya.data, yb.data)
        w = values(*ya.shape, seed=1)
        (ya * w).sum().backward()
        (yb * w).sum().backward()
        np.testing.assert_array_equal(a.grad.data, b.grad.data)


def test_infinite_values_and_cotangents_reach_their_own_windows_only():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    x[0, 0, 0, 0] = np.inf
    t = ad.Tensor(x, requires_grad=True)
    y = F.max_pool2d(t, 2)
    np.testing.assert_array_equal(y.data[0, 0], [[np.inf, 7], [13, 15]])
    y.backward(np.array([[[[1.0, np.inf], [1.0, 1.0]]]]))
    expected = np.zeros((4, 4))
    expected[[0, 3, 3], [0, 1, 3]] = 1
    expected[1, 3] = np.inf
    np.testing.assert_array_equal(t.grad.data[0, 0], expected)
    np.testing.assert_array_equal(F.adaptive_avg_pool2d(x[0], 3).data[0, 0], [np.inf, 3.5, 4.5])
    assert np.isnan(F.max_pool2d(np.where(x == 5, np.nan, x), 2).data).sum() == 1


MODULES = [
    nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(3), nn.Upsample(scale_factor=2), nn.Upsample(size=(5, 7)),
    nn.ZeroPad2d(1), nn.ZeroPad2d((-1, 1, 0, 2)),
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES, ids=repr)
def test_an_empty_batch_passes_through_and_float32_stays_float32(module):
    for batch in 0, 2:
        x = ad.Tensor(np.ones((batch, 2, 4, 6), "float32"), requires_grad=True)
        y = module(x)
        assert y.dtype == np.float32
        assert y.shape == (batch, *module(np.ones((1, 2, 4, 6))).shape[1:])
        (y * y).sum().backward()
        assert x.grad.dtype == np.float32
        assert x.grad.shape == x.shape
        assert x.grad.data.any() == (batch > 0)


@pytest.mark.parametrize("module", MODULES, ids=repr)
def test_the_result_is_never_the_input_itself_and_the_input_is_not_written(module):
    x = values(2, 2, 4, 6)
    t, before = ad.Tensor(x, requires_grad=True), x.copy()
    module(t).sum().backward()
    np.testing.assert_array_equal(t.data, before)
    with ad.no_grad():
        assert module(t).is_leaf


@pytest.mark.parametrize(("kind", "args", "options"), [
    ("MaxPool2d", (2,), {}), ("MaxPool2d", ((2, 3), 1, 1), dict(ceil_mode=True)), ("AdaptiveAvgPool2d", ((None, 2),), {}),
    ("Upsample", (), dict(scale_factor=2)), ("Upsample", ((3, 4),), {}), ("ZeroPad2d", (1,), {}), ("MaxPool1d", (3,), dict(dilation=2)),
])  # fmt: skip
def test_the_representation_shows_what_pytorch_s_shows(kind, args, options):
    ours, reference = both(kind, *args, **options)
    assert repr(ours).startswith(repr(reference)[:-1])


# Bad input


X = np.ones((2, 3, 6, 6), "float32")


@pytest.mark.parametrize(("error", "message", "call"), [
    (ValueError, r"MaxPool2d: got input of shape \(6, 6\), expects \(N, C, H, W\) or \(C, H, W\)", lambda: nn.MaxPool2d(2)(X[0, 0])),
    (ValueError, r"AvgPool1d: got input of shape \(2, 3, 6, 6\), expects \(N, C, L\) or \(C, L\)", lambda: nn.AvgPool1d(2)(X)),
    (ValueError, r"AdaptiveAvgPool2d: got input of shape \(6, 6\)", lambda: nn.AdaptiveAvgPool2d(2)(X[0, 0])),
    (TypeError, r"MaxPool2d: got input of .*int64.*expects floating-point", lambda: nn.MaxPool2d(2)(X.astype(int))),
    (ValueError, r"MaxPool2d: padding is at most half of kernel_size=\(3, 3\), not \(2, 2\)", lambda: nn.MaxPool2d(3, padding=2)),
    (ValueError, r"MaxPool1d: padding is at most half of kernel_size=\(3,\)", lambda: nn.MaxPool1d(3, padding=2, dilation=2)),
    (ValueError, r"AvgPool2d: padding is at most half", lambda: nn.AvgPool2d((4, 1), padding=1)),
    (ValueError, r"MaxPool2d: kernel_size is at least 1, not 0", lambda: nn.MaxPool2d(0)),
    (ValueError, r"MaxPool2d: kernel_size is one integer or 2", lambda: nn.MaxPool2d((1, 2, 3))),
    (TypeError, r"MaxPool2d: kernel_size is an integer", lambda: nn.MaxPool2d(2.0)),
    (ValueError, r"AvgPool2d: stride is at least 1", lambda: nn.AvgPool2d(2, 0)),
    (ValueError, r"MaxPool1d: dilation is at least 1", lambda: nn.MaxPool1d(2, dilation=0)),
    (ValueError, r"MaxPool2d: return_indices=True is not supported", lambda: nn.MaxPool2d(2, return_indices=True)),
    (ValueError, r"max_pool2d: return_indices=True is not supported", lambda: F.max_pool2d(X, 2, return_indices=True)),
    (ValueError, r"MaxPool2d: got input of spatial shape \(6, 6\), in which.*no window of kernel_size=\(7, 7\)", lambda: nn.MaxPool2d(7)(X)),
    (ValueError, r"AvgPool2d: divisor_override is not 0", lambda: nn.AvgPool2d(2, divisor_override=0)(X)),
    (TypeError, r"AvgPool2d: divisor_override is an integer or None, not 2.5", lambda: nn.AvgPool2d(2, divisor_override=2.5)(X)),
    (ValueError, r"AdaptiveAvgPool2d: output_size is one integer or 2", lambda: nn.AdaptiveAvgPool2d((1, 2, 3))),
    (ValueError, r"AdaptiveAvgPool1d: output_size is at least 0", lambda: nn.AdaptiveAvgPool1d(-1)),
    (ValueError, r"AdaptiveAvgPool2d: got input of shape \(2, 3, 0, 6\), expects spatial axes that are not empty", lambda: nn.AdaptiveAvgPool2d(2)(X[:, :, :0])),
])  # fmt: skip
def test_an_error_names_the_layer_what_it_got_and_what_it_expects(error, message, call):
    with pytest.raises(error, match=message):
        call()
