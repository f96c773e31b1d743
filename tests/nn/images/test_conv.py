"""Convolution and its transpose: PyTorch's numbers to second order for every option, the translation property, errors."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.signal import correlate

import autodiff as ad
import nn
import nn.functional as F
import nn.images.conv
from tests.against_torch import agrees_with_torch, same_layer
from tests.documents import ENTRIES


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def both(kind, *args, **options):
    """Our layer and PyTorch's, in double precision."""
    torch = pytest.importorskip("torch")
    reference = getattr(torch.nn, kind)(*args, **options, dtype=torch.float64)
    return getattr(nn, kind)(*args, **options, dtype="float64"), reference


# Against PyTorch


ONE_AXIS = [
    dict(kernel_size=3), dict(kernel_size=3, bias=False), dict(kernel_size=1), dict(kernel_size=1, stride=2),
    dict(kernel_size=3, stride=2, padding=1), dict(kernel_size=2, padding=3, dilation=2),
    dict(kernel_size=3, groups=2), dict(kernel_size=4, padding="same"), dict(kernel_size=3, padding="same", dilation=2),
    dict(kernel_size=3, padding="valid", groups=2, stride=3), dict(kernel_size=9),
    dict(kernel_size=3, padding=2, padding_mode="reflect"), dict(kernel_size=4, padding="same", padding_mode="circular"),
    dict(kernel_size=3, padding=3, padding_mode="replicate", stride=2), dict(kernel_size=3, padding=9, padding_mode="circular"),
]  # fmt: skip


@pytest.mark.parametrize("options", ONE_AXIS, ids=str)
@pytest.mark.parametrize("shape", [(3, 4, 9), (4, 9)])
def test_conv1d_equals_pytorch_s_to_second_order(options, shape):
    same_layer(*both("Conv1d", 4, 6, **options), values(*shape))


TWO_AXES = [
    dict(kernel_size=3), dict(kernel_size=(1, 3), bias=False), dict(kernel_size=(2, 3), stride=(2, 1), padding=(1, 0)),
    dict(kernel_size=1), dict(kernel_size=1, padding=1, stride=2), dict(kernel_size=2, stride=2), dict(kernel_size=(6, 7)),
    dict(kernel_size=3, padding=2, dilation=(1, 2)), dict(kernel_size=3, groups=2), dict(kernel_size=3, groups=4),
    dict(kernel_size=(2, 3), padding="same"), dict(kernel_size=(3, 2), padding="same", dilation=(1, 2), groups=2),
    dict(kernel_size=3, padding=1, padding_mode="reflect"), dict(kernel_size=3, padding=(0, 2), padding_mode="replicate"),
    dict(kernel_size=3, padding=(2, 1), padding_mode="circular", stride=2), dict(kernel_size=2, stride=3),
]  # fmt: skip


@pytest.mark.parametrize("options", TWO_AXES, ids=str)
@pytest.mark.parametrize("shape", [(2, 4, 6, 7), (4, 6, 7)])
def test_conv2d_equals_pytorch_s_to_second_order(options, shape):
    same_layer(*both("Conv2d", 4, 8, **options), values(*shape))


THREE_AXES = [
    dict(kernel_size=2), dict(kernel_size=(1, 3, 2), stride=(2, 1, 2), padding=(1, 0, 1), bias=False),
    dict(kernel_size=3, padding="same", dilation=(1, 2, 1), groups=2), dict(kernel_size=3, padding=1, groups=4),
    dict(kernel_size=2, padding=(0, 1, 2), padding_mode="circular"),
]  # fmt: skip


@pytest.mark.parametrize("options", THREE_AXES, ids=str)
@pytest.mark.parametrize("shape", [(2, 4, 3, 5, 4), (4, 3, 5, 4)])
def test_conv3d_equals_pytorch_s_to_second_order(options, shape):
    same_layer(*both("Conv3d", 4, 4, **options), values(*shape))


TRANSPOSED = [
    dict(kernel_size=3), dict(kernel_size=2, stride=2, bias=False), dict(kernel_size=1), dict(kernel_size=3, stride=2, padding=1),
    dict(kernel_size=3, stride=2, padding=1, output_padding=1), dict(kernel_size=2, stride=3), dict(kernel_size=3, groups=2),
    dict(kernel_size=3, dilation=2, output_padding=1), dict(kernel_size=2, stride=3, dilation=2, groups=2, output_padding=2),
]  # fmt: skip


@pytest.mark.parametrize("options", TRANSPOSED, ids=str)
@pytest.mark.parametrize(("kind", "shape"), [
    ("ConvTranspose1d", (3, 4, 5)), ("ConvTranspose1d", (4, 5)), ("ConvTranspose2d", (2, 4, 3, 4)),
    ("ConvTranspose2d", (4, 3, 4)), ("ConvTranspose3d", (2, 4, 2, 3, 2)),
])  # fmt: skip
def test_transposed_convolution_equals_pytorch_s_to_second_order(kind, shape, options):
    same_layer(*both(kind, 4, 6, **options), values(*shape))


def test_options_of_transposed_convolution_may_differ_by_axis():
    layer = both("ConvTranspose2d", 2, 4, (3, 2), (2, 3), (1, 0), (1, 2), 2, False, (2, 1))
    same_layer(*layer, values(2, 2, 3, 4))


@pytest.mark.parametrize("size", [(5, 7), (6, 8), [6, 7], (2, 3, 6, 8), 6])
def test_output_size_chooses_the_length_of_a_transposed_convolution_as_pytorch_s(size):
    torch = pytest.importorskip("torch")
    ours, reference = both("ConvTranspose2d", 2, 3, 3, stride=2, padding=1)
    ours.load_state_dict({k: v.detach().numpy() for k, v in reference.state_dict().items()})
    x = values(2, 2, 3, 4) if size != 6 else values(2, 2, 3, 3)
    theirs = reference(torch.tensor(x), output_size=[6, 6] if size == 6 else size)
    np.testing.assert_allclose(ours(x, output_size=size).data, theirs.detach().numpy(), atol=1e-12)
    one = theirs.shape[1:]
    assert ours(x[0], output_size=one).shape == one


@st.composite
def geometries(draw):
    """A convolution that fits its input: shapes and options over one or two axes."""
    n, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3))

    def some(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    lengths, kernel, dilation, padding = some(1, 6), some(1, 3), some(1, 3), some(0, 3)
    assume(all(m + 2 * p > d * (k - 1) for m, k, d, p in zip(lengths, kernel, dilation, padding)))
    each_in, each_out, batch = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    how = dict(stride=some(1, 3), padding=padding, dilation=dilation, groups=groups)
    return (batch, groups * each_in, *lengths), (groups * each_out, each_in, *kernel), how


@given(geometries(), st.booleans())
@settings(deadline=None, max_examples=80)
def test_any_geometry_gives_pytorch_s_convolution_to_second_order(geometry, bias):
    torch = pytest.importorskip("torch")
    shape, weight, how = geometry
    name = f"conv{len(shape) - 2}d"
    arrays = [values(*shape), values(*weight, seed=1)] + [values(weight[0], seed=2)] * bias
    ours, theirs = getattr(F, name), getattr(torch.nn.functional, name)
    agrees_with_torch(lambda *a: ours(*a, **how), lambda *a: theirs(*a, **how), *arrays)


@given(geometries(), st.data())
@settings(deadline=None, max_examples=80)
def test_any_geometry_gives_pytorch_s_transposed_convolution_to_second_order(geometry, data):
    torch = pytest.importorskip("torch")
    shape, weight, how = geometry
    n = len(shape) - 2
    more = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(how["stride"], how["dilation"]))
    rest = zip(shape[2:], how["stride"], how["padding"], how["dilation"], weight[2:], more)
    assume(all((m - 1) * s - 2 * p + d * (k - 1) + o + 1 > 0 for m, s, p, d, k, o in rest))
    x = values(shape[0], weight[0], *shape[2:])
    arrays = [x, values(*weight, seed=1), values(weight[1] * how["groups"], seed=2)]
    ours, theirs = getattr(F, f"conv_transpose{n}d"), getattr(torch.nn.functional, f"conv_transpose{n}d")
    how = how | {"output_padding": more}
    agrees_with_torch(lambda *a: ours(*a, **how), lambda *a: theirs(*a, **how), *arrays)


@pytest.mark.parametrize("block", [1, 200, 3000])
def test_results_do_not_depend_on_how_many_rows_are_done_at_a_time(block, monkeypatch):
    monkeypatch.setattr(nn.images.conv, "_BLOCK", block)
    monkeypatch.setattr(nn.images.conv, "_BLOCK_BACK", block)
    same_layer(*both("Conv2d", 2, 4, 3, stride=(2, 1), padding=1, dilation=(1, 2), groups=2), values(3, 2, 11, 8))
    same_layer(*both("ConvTranspose2d", 2, 4, 3, stride=(2, 1), padding=1, groups=2), values(3, 2, 5, 4))


def test_a_chain_of_layers_whose_memory_order_is_their_own_equals_pytorch_s_to_second_order():
    torch = pytest.importorskip("torch")

    def net(library, **options):
        return library.Sequential(
            library.Conv2d(1, 3, 3, padding=1, **options), library.Tanh(), library.AvgPool2d(2),
            library.ConvTranspose2d(3, 2, 2, stride=2, **options), library.Softplus(), library.MaxPool2d(3, 2, 1),
            library.Conv2d(2, 2, 2, padding="same", padding_mode="reflect", **options), library.Flatten(),
            library.Linear(2 * 4 * 3, 3, **options),
        )  # fmt: skip

    same_layer(net(nn, dtype="float64"), net(torch.nn, dtype=torch.float64), values(3, 1, 8, 6))


# Without PyTorch


def test_a_convolution_is_scipy_s_correlation():
    x, w, b = values(1, 1, 7, 8), values(1, 1, 3, 2, seed=1), np.array([0.5])
    expected = correlate(x[0, 0], w[0, 0], "valid") + 0.5
    np.testing.assert_allclose(F.conv2d(x, w, b).data[0, 0], expected, atol=1e-12)
    np.testing.assert_allclose(
        F.conv1d(x[0, :, 0], w[:, :, 0], b).data[0], correlate(x[0, 0, 0], w[0, 0, 0], "valid") + 0.5
    )


def test_the_worked_example_of_translation_is_reproduced_by_the_layer():
    entry = ENTRIES["convolution-translation-equivariance"]
    given, expected = entry["inputs"], entry["expected"]
    x, kernel = np.array(given["x"]), np.array(given["kernel"])

    def layer(mode):
        made = nn.Conv1d(1, 1, 3, padding=given["centre_tap"], bias=False, padding_mode=mode, dtype="float64")
        made.load_state_dict({"weight": kernel.reshape(1, 1, 3)})
        return made

    shifted = np.roll(x, given["shift"])
    circular, zeros = layer("circular"), layer("zeros")
    np.testing.assert_allclose(circular(x[None]).data[0], expected["circular"], rtol=1e-10)
    np.testing.assert_allclose(circular(shifted[None]).data[0], expected["circular_of_shifted"], rtol=1e-10)
    np.testing.assert_allclose(zeros(x[None]).data[0], expected["zero_padded"], rtol=1e-10)
    np.testing.assert_allclose(zeros(shifted[None]).data[0], expected["zero_padded_of_shifted"], rtol=1e-10)
    assert circular(x[None]).sum().item() == pytest.approx(expected["global_sum_pool_circular"], rel=1e-10)
    t = ad.Tensor(x[None], requires_grad=True)
    (0.5 * (zeros(t) ** 2).sum()).backward()
    np.testing.assert_allclose(t.grad.data[0], expected["half_squared_norm_zero_padded_dx"], rtol=1e-10)
    dkernel = zeros.weight.grad.data.ravel()
    np.testing.assert_allclose(dkernel, expected["half_squared_norm_zero_padded_dkernel"], rtol=1e-10)


@given(
    st.integers(1, 4),
    st.tuples(st.integers(4, 7), st.integers(4, 7)),
    st.tuples(st.integers(-7, 7), st.integers(-7, 7)),
)
@settings(deadline=None, max_examples=50)
def test_convolution_with_circular_padding_commutes_with_translation_and_its_mean_does_not_see_it(
    kernel, lengths, shift
):
    layer = nn.Conv2d(
        2, 3, kernel, padding="same", padding_mode="circular", dtype="float64", rng=np.random.default_rng(0)
    )
    x = values(2, 2, *lengths)
    moved, y = layer(np.roll(x, shift, (2, 3))), layer(x)
    np.testing.assert_allclose(moved.data, np.roll(y.data, shift, (2, 3)), atol=1e-12)
    pooled = nn.AdaptiveAvgPool2d(1)
    np.testing.assert_allclose(pooled(moved).data, pooled(y).data, atol=1e-12)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_agree_with_numpy_s_pad(mode):
    x, names = values(1, 2, 5, 4), {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    layer = nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode=mode, dtype="float64")
    around = np.pad(x, ((0, 0), (0, 0), (2, 2), (1, 1)), mode=names[mode])
    np.testing.assert_allclose(layer(x).data, F.conv2d(around, layer.weight, layer.bias).data, atol=1e-12)


def test_convolution_and_its_transpose_are_adjoint():
    w, how = values(4, 3, 3, 2), dict(stride=(2, 1), padding=(1, 0), dilation=(1, 2))
    x, y = values(2, 3, 7, 6), values(2, 4, 4, 4, seed=3)
    forward, back = F.conv2d(x, w, **how), F.conv_transpose2d(y, w, **how)
    assert back.shape == x.shape
    assert (forward * y).sum().item() == pytest.approx((back * x).sum().item())


@pytest.mark.parametrize("make", [
    lambda **o: nn.Conv1d(2, 3, 3, **o), lambda **o: nn.Conv2d(2, 3, 2, padding=1, **o),
    lambda **o: nn.ConvTranspose1d(2, 3, 3, stride=2, **o), lambda **o: nn.ConvTranspose2d(2, 3, 2, **o),
    lambda **o: nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular", groups=2, **o),
])  # fmt: skip
def test_an_empty_batch_passes_through_with_zero_gradients_and_float32_stays_float32(make):
    layer = make()
    lengths = (5,) if layer.weight.ndim == 3 else (5, 6)
    for batch in 0, 2:
        layer.zero_grad()
        x = ad.Tensor(np.ones((batch, 2, *lengths), "float32"), requires_grad=True)
        y = layer(x)
        assert y.dtype == np.float32
        assert y.shape[0] == batch
        assert y.shape[1:] == layer(np.ones((1, 2, *lengths), "float32")).shape[1:]
        (y * y).sum().backward()
        assert x.grad.shape == x.shape
        for p in (x, *layer.parameters()):
            assert p.grad.dtype == np.float32
            assert p.grad.data.any() == (batch > 0)
    assert layer(np.ones((1, 2, *lengths))).dtype == np.float64


def test_under_no_grad_nothing_is_recorded_and_the_values_are_the_same():
    layer, x = nn.Conv2d(1, 2, 3), np.ones((2, 1, 5, 5), "float32")
    with ad.no_grad():
        y = layer(x)
    assert y.is_leaf
    np.testing.assert_array_equal(y.data, layer(x).data)


@pytest.mark.parametrize(("kind", "args"), [
    ("Conv1d", (8, 4, 5)), ("Conv2d", (4, 6, (3, 5), 1, 0, 1, 2)), ("ConvTranspose1d", (6, 8, 5)),
    ("ConvTranspose2d", (4, 6, 3, 1, 0, 0, 2)),
])  # fmt: skip
def test_initial_values_have_pytorch_s_bounds_and_come_from_the_generator(kind, args):
    torch = pytest.importorskip("torch")
    reference = getattr(torch.nn, kind)(*args)
    layer = getattr(nn, kind)(*args, rng=np.random.default_rng(0))
    again = getattr(nn, kind)(*args, rng=np.random.default_rng(0))
    bound = 1 / np.sqrt(np.prod(reference.weight.shape[1:]))
    assert layer.weight.shape == tuple(reference.weight.shape)
    assert reference.weight.abs().max() <= bound
    assert reference.weight.abs().max() > 0.9 * bound
    assert 0.9 * bound < np.abs(layer.weight.data).max() <= bound
    assert 0 < np.abs(layer.bias.data).max() <= bound
    np.testing.assert_array_equal(layer.weight.data, again.weight.data)
    np.testing.assert_array_equal(layer.bias.data, again.bias.data)
    assert layer.weight.dtype == np.float32


def test_the_representation_shows_what_pytorch_s_shows():
    torch = pytest.importorskip("torch")
    for kind, args, options in [
        ("Conv2d", (4, 4, 3), dict(padding="same", dilation=2, padding_mode="reflect")), ("Conv1d", (4, 4, 3, 2, 1), {}),
        ("ConvTranspose2d", (4, 4, 3, 2, 1, 1, 2, False, 2), {}), ("Conv1d", (2, 4, 1), dict(bias=False, groups=2)),
    ]:  # fmt: skip
        ours = repr(getattr(nn, kind)(*args, **options)).split(" · ")[0]
        assert ours == repr(getattr(torch.nn, kind)(*args, **options))


def test_multiply_adds_count_every_product_of_the_formula():
    assert (
        nn.summary(nn.Conv2d(4, 6, 3, groups=2), np.zeros((2, 4, 5, 6), "float32")).multiply_adds
        == 2 * 6 * 3 * 4 * 2 * 9
    )
    assert nn.summary(nn.ConvTranspose1d(4, 6, 3, 2), np.zeros((2, 4, 5), "float32")).multiply_adds == 2 * 4 * 5 * 6 * 3


# Speed and memory


def test_memory_of_columns_is_bounded_however_large_the_input():
    """A forward and backward pass keeps blocks of columns, nine times the input in all, never at once."""
    import tracemalloc

    layer = nn.Conv2d(8, 8, 3, padding=1)
    x = ad.Tensor(np.ones((16, 8, 64, 64), "float32"), requires_grad=True)
    layer(x).sum().backward()
    x.zero_grad()
    tracemalloc.start()
    try:
        layer(x).sum().backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * x.data.nbytes + 4 * nn.images.conv._BLOCK_BACK


@pytest.mark.slow
def test_lenet_learns_the_digits():
    from sklearn.datasets import load_digits

    import optim

    digits, rng = load_digits(), np.random.default_rng(0)
    order = rng.permutation(len(digits.target))
    images, target = (digits.images[order, None] / 16).astype("float32"), digits.target[order]
    x, t, x_test, t_test = images[:1400], target[:1400], images[1400:], target[1400:]
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1, rng=rng),
        nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 32, rng=rng), nn.ReLU(), nn.Linear(32, 10, rng=rng),
    )  # fmt: skip
    optimizer = optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(10):
        for rows in np.array_split(rng.permutation(len(x)), 20):
            optimizer.zero_grad()
            F.cross_entropy(net(x[rows]), t[rows]).backward()
            optimizer.step()
    with ad.no_grad():
        accuracy = (net(x_test).data.argmax(1) == t_test).mean()
    assert accuracy > 0.95


# Bad input


X1, X2 = np.ones((2, 4, 9), "float32"), np.ones((2, 4, 9, 9), "float32")


@pytest.mark.parametrize(("error", "message", "call"), [
    (ValueError, r"Conv1d\(4, 2, kernel_size=\(3,\)\): got input of shape \(2, 3, 9\), expects \(N, 4, L\)", lambda: nn.Conv1d(4, 2, 3)(X1[:, :3])),
    (ValueError, r"Conv2d\(.*got input of shape \(2, 4, 9\), expects \(N, 4, H, W\) or \(4, H, W\)", lambda: nn.Conv2d(4, 2, 3)(X1)),
    (ValueError, r"Conv2d\(.*got input of shape \(4,\)", lambda: nn.Conv2d(4, 2, 3)(X1[0, :, 0])),
    (ValueError, r"Conv2d\(.*spatial shape \(9, 9\), which with padding .* smaller than the kernel \(12, 3\)", lambda: nn.Conv2d(4, 2, (12, 3), padding=1)(X2)),
    (ValueError, r"Conv1d\(.*smaller than the kernel \(4,\), dilation \(3,\)", lambda: nn.Conv1d(4, 2, 4, dilation=3)(X1)),
    (TypeError, r"Conv1d\(.*int64.*expects floating-point values; write x.astype\('float32'\)", lambda: nn.Conv1d(4, 2, 3)(X1.astype(int))),
    (TypeError, r"conv1d: got weight of shape \(2, 4, 3\) \(int64\), expects floating-point values; write weight.astype\('float32'\)", lambda: F.conv1d(X1, np.ones((2, 4, 3), int))),
    (TypeError, "conv_transpose2d: got weight of .*int64", lambda: F.conv_transpose2d(X2, np.ones((4, 2, 3, 3), int))),
    (ValueError, "Conv2d: in_channels=4 is a multiple of groups=3", lambda: nn.Conv2d(4, 6, 3, groups=3)),
    (ValueError, "Conv2d: out_channels=6 is a multiple of groups=4", lambda: nn.Conv2d(4, 6, 3, groups=4)),
    (ValueError, "Conv2d: groups is at least 1", lambda: nn.Conv2d(4, 6, 3, groups=0)),
    (ValueError, "Conv2d: padding is 'valid' or 'same', not 'full'", lambda: nn.Conv2d(4, 6, 3, padding="full")),
    (ValueError, "Conv2d: padding='same' needs stride 1", lambda: nn.Conv2d(4, 6, 3, padding="same", stride=2)),
    (ValueError, "Conv2d: padding is at least 0", lambda: nn.Conv2d(4, 6, 3, padding=-1)),
    (ValueError, "Conv2d: padding_mode is 'zeros', 'reflect', 'replicate' or 'circular', not 'mirror'", lambda: nn.Conv2d(4, 6, 3, padding_mode="mirror")),
    (ValueError, "ConvTranspose2d: padding_mode is 'zeros', not 'reflect'", lambda: nn.ConvTranspose2d(4, 6, 3, padding_mode="reflect")),
    (ValueError, r"Conv2d: kernel_size is one integer or 2, not \(3, 3, 3\)", lambda: nn.Conv2d(4, 6, (3, 3, 3))),
    (ValueError, "Conv2d: kernel_size is at least 1", lambda: nn.Conv2d(4, 6, 0)),
    (TypeError, "Conv2d: kernel_size is an integer", lambda: nn.Conv2d(4, 6, 2.5)),
    (ValueError, "Conv1d: stride is at least 1", lambda: nn.Conv1d(4, 6, 3, stride=0)),
    (ValueError, "Conv1d: dilation is at least 1", lambda: nn.Conv1d(4, 6, 3, dilation=0)),
    (ValueError, "Conv1d: in_channels is at least 1", lambda: nn.Conv1d(0, 6, 3)),
    (TypeError, "ConvTranspose1d: padding is an integer", lambda: nn.ConvTranspose1d(4, 6, 3, padding="same")),
    (ValueError, r"ConvTranspose1d\(.*output_padding \(1,\) is less than stride \(1,\) or dilation", lambda: nn.ConvTranspose1d(4, 6, 3, output_padding=1)(X1)),
    (ValueError, r"ConvTranspose1d\(.*output_size is within \(19,\) … \(20,\), not \(21,\)", lambda: nn.ConvTranspose1d(4, 6, 3, stride=2)(X1, 21)),
    (ValueError, r"ConvTranspose1d\(.*padding \(6,\) leaves nothing", lambda: nn.ConvTranspose1d(4, 6, 3, padding=6)(X1)),
    (ValueError, r"ConvTranspose2d\(.*got input of shape \(2, 5\)", lambda: nn.ConvTranspose2d(4, 6, 3)(np.ones((2, 5)))),
    (ValueError, r"Conv1d\(4, 6, kernel_size=\(3,\)\): with mode 'reflect' a width is less than the length", lambda: nn.Conv1d(4, 6, 3, padding=9, padding_mode="reflect")(X1)),
    (ValueError, r"Conv1d\(4, 6, kernel_size=\(3,\)\): with mode 'circular' a width is at most the length", lambda: nn.Conv1d(4, 6, 3, padding=10, padding_mode="circular")(X1)),
    (ValueError, r"conv1d: got weight of shape \(2, 4\), expects \(out, in / groups, \*kernel\)", lambda: F.conv1d(X1, np.ones((2, 4)))),
    (ValueError, r"conv1d: got weight of shape \(3, 2, 3\), whose first length groups=2 does not divide", lambda: F.conv1d(X1, np.ones((3, 2, 3)), groups=2)),
    (ValueError, r"conv2d: got bias of shape \(3,\), expects \(2,\)", lambda: F.conv2d(X2, np.ones((2, 4, 3, 3)), np.ones(3))),
    (ValueError, r"conv_transpose1d: got bias of shape \(4,\), expects \(6,\)", lambda: F.conv_transpose1d(X1, np.ones((4, 6, 3)), np.ones(4))),
    (ValueError, r"conv2d: got input of shape \(2, 4, 9, 9\), expects \(N, 3, H, W\)", lambda: F.conv2d(X2, np.ones((2, 3, 3, 3)))),
])  # fmt: skip
def test_an_error_names_the_layer_what_it_got_and_what_it_expects(error, message, call):
    with pytest.raises(error, match=message):
        call()
