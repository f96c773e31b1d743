"""Pictures of kernels and of attention show every number at its place."""

import numpy as np
import pytest

import autodiff as ad
import nn


def test_every_kernel_stands_at_its_place(plt, rng):
    layer = nn.Conv2d(3, 4, (2, 5))
    w = layer.weight.numpy()
    ax = nn.plot.filters(layer, rgb=False)
    picture = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert picture.shape == (4 * 3 - 1, 3 * 6 - 1)
    for i, j in np.ndindex(4, 3):
        np.testing.assert_array_equal(picture[3 * i : 3 * i + 2, 6 * j : 6 * j + 5], w[i, j])
    assert np.isnan(picture[2]).all() and np.isnan(picture[:, 5]).all()
    low, high = ax.images[0].get_clim()
    assert -low == high == pytest.approx(np.abs(w).max())


def test_kernels_over_three_channels_are_pictures_in_colour_in_one_scale(plt):
    layer = nn.Conv2d(3, 5, (2, 4))
    w = layer.weight.numpy().astype(float)
    ax = nn.plot.filters(layer)
    picture = ax.images[0].get_array()
    assert picture.shape == (2 * 3 - 1, 3 * 5 - 1, 4)
    for k in range(5):
        i, j = divmod(k, 3)
        shown = picture[3 * i : 3 * i + 2, 5 * j : 5 * j + 4]
        np.testing.assert_allclose(shown[..., :3], 0.5 + 0.5 * w[k].transpose(1, 2, 0) / np.abs(w).max())
        assert (shown[..., 3] == 1).all()
    assert not picture[2, :, 3].any() and not picture[3:, 10:, 3].any()  # between the kernels, and where there is none
    assert ax.get_title() == f"grey is 0, brightest and darkest ±{np.abs(w).max():.2g}"
    assert len(ax.figure.axes) == 1


def test_three_channels_are_colours_by_default_of_a_plain_two_dimensional_convolution_only(plt):
    def coloured(*arguments, **options):
        return nn.plot.filters(*arguments, **options).images[0].get_array().ndim == 3

    assert coloured(nn.Conv2d(3, 4, 3)) and coloured(np.ones((4, 3, 2, 2))) and coloured(nn.Conv2d(3, 1, 1))
    assert not coloured(nn.Conv2d(3, 4, 3), rgb=False) and not coloured(nn.Conv2d(4, 4, 3))
    assert not coloured(nn.Conv2d(6, 4, 3, groups=2)) and not coloured(nn.ConvTranspose2d(3, 4, 3))
    assert not coloured(nn.Conv1d(3, 4, 5))
    assert coloured(nn.Conv2d(6, 4, 3, groups=2), rgb=True) and coloured(nn.ConvTranspose2d(3, 4, 3), rgb=True)
    assert nn.plot.filters(nn.Conv2d(3, 20, 3), limit=4).get_title().startswith("the first 16 of 20 kernels\n")


def test_weights_that_are_not_finite_are_blank_and_counted_and_do_not_change_the_scale(plt):
    w = np.full((2, 3, 2, 2), 0.5)
    w[0, 1, 0, 0], w[1, 2, 1, 1] = np.nan, np.inf
    ax = nn.plot.filters(w)
    picture = ax.images[0].get_array()
    assert picture[..., 3].sum() == 8 - 2 and set(picture[0, 1, :3]) == {1.0}
    assert ax.get_title().endswith("2 weights are not finite")
    gray = nn.plot.filters(w, rgb=False)
    assert gray.images[0].get_clim() == (-0.5, 0.5) and gray.get_title() == "2 weights are not finite"


def test_kernels_as_long_as_a_thread_can_be_seen(plt):
    ax = nn.plot.filters(nn.Conv1d(1, 2, 400))
    assert ax.get_aspect() == "auto" and nn.plot.filters(nn.Conv2d(2, 2, 3)).get_aspect() == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("w", [np.nan, 1e-310, 1.7e308])
def test_weights_of_any_size_are_drawn(plt, w):
    for shape in ((2, 3, 3, 3), (2, 2, 3, 3)):
        nn.plot.filters(np.full(shape, w)).figure.canvas.draw()
    nn.plot.attention(np.full((2, 3, 3), w))[0].figure.canvas.draw()


def test_kernels_of_one_channel_make_a_square_and_a_linear_layers_rows_are_pictures(plt):
    assert nn.plot.filters(nn.Conv2d(1, 10, 3)).images[0].get_array().shape == (3 * 4 - 1, 4 * 4 - 1)
    linear = nn.Linear(6, 4)
    picture = nn.plot.filters(linear, shape=(2, 3)).images[0].get_array()
    np.testing.assert_array_equal(picture[3:5, :3], linear.weight.numpy()[2].reshape(2, 3))


def test_a_transposed_convolution_has_its_output_channels_in_rows_too(plt):
    layer = nn.ConvTranspose2d(2, 3, 4)
    ax = nn.plot.filters(layer)
    picture = ax.images[0].get_array()
    np.testing.assert_array_equal(picture[10:14, 5:9], layer.weight.numpy()[1, 2])
    assert nn.plot.filters(nn.Conv2d(4, 8, 3, groups=2)).get_xlabel() == "input channel of a group"


def test_only_the_first_channels_of_many_are_shown_and_the_title_says_so(plt):
    ax = nn.plot.filters(nn.Conv2d(20, 40, 3), limit=8)
    assert ax.images[0].get_array().shape == (31, 31)
    assert ax.get_title() == "the first 64 of 800 kernels"


def test_weights_of_nothing_but_zeros_and_one_dimensional_kernels_are_drawn(plt):
    _, mine = plt.subplots()
    assert nn.plot.filters(np.zeros((2, 3, 4, 4)), ax=mine) is mine
    assert nn.plot.filters(nn.Conv1d(6, 4, 9)).images[0].get_array().shape == (2 * 7 - 1, 2 * 10 - 1)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(weight=nn.Tanh()), TypeError, "a layer with a weight, or a weight, an array of numbers"),
        (dict(weight="conv"), TypeError, "not str"),
        (dict(weight=nn.Linear(4, 2)), ValueError, r"say shape=\(height, width\)"),
        (dict(weight=nn.Linear(4, 2), shape=(2, 3)), ValueError, r"needs a weight of shape \(n, 6\), not \(2, 4\)"),
        (dict(weight=np.ones((2, 2, 2, 2, 2))), ValueError, r"\(out, in, height, width\)"),
        (dict(weight=np.ones((0, 2, 3, 3))), ValueError, r"\(0, 2, 3, 3\)"),
        (dict(weight=np.ones((2, 2, 3, 3)), limit=0), ValueError, "limit is at least 1"),
        (
            dict(weight=np.ones((2, 2, 3, 3)), rgb=True),
            ValueError,
            r"rgb=True takes kernels of 3 .* not \(2, 2, 3, 3\)",
        ),
        (dict(weight=np.ones((2, 3, 3)), rgb=True), ValueError, r"not \(2, 3, 3\)"),
        (dict(weight=np.ones((2, 3, 3, 3)), rgb="yes"), TypeError, "rgb is True or False, not 'yes'"),
    ],
)
def test_bad_kernels_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        nn.plot.filters(**arguments)


def test_every_head_has_a_heat_map_in_one_scale(plt, rng):
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = ad.Tensor(rng.normal(size=(1, 5, 8)).astype("float32"))
    _, weights = attention(x, x, x, average_attn_weights=False)
    axes = nn.plot.attention(weights[0], list("abcde"))
    for head, ax in zip(weights[0].numpy(), axes, strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), head)
        assert ax.images[0].get_clim() == (0, pytest.approx(weights.numpy().max()))
        assert [t.get_text() for t in ax.get_xticklabels()] == list("abcde")


def test_queries_and_keys_may_have_names_of_their_own_and_one_head_gives_one_axes(plt):
    _, mine = plt.subplots()
    ax = nn.plot.attention(np.ones((2, 3)) / 3, (["x", "y"], ["$a$", "b_", "c"]), ax=mine)
    assert ax is mine
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x", "y"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["$a$", "b_", "c"]
    ax.figure.canvas.draw()  # a dollar is a dollar, no formula


@pytest.mark.filterwarnings("error")
def test_tokens_of_any_script_and_kind_are_drawn_without_a_warning(plt):
    tokens = ["漢", "字", "a\nb", "\0", "", "$x_", "t" * 100]
    ax = nn.plot.attention(np.full((7, 7), 1 / 7), tokens)
    ax.figure.canvas.draw()
    shown = [text.get_text() for text in ax.get_yticklabels()]
    assert shown[2:6] == [r"a\nb", r"\x00", "''", "$x_"] and len(shown[6]) <= 24
    assert shown[:2] in (["漢", "字"], [r"\u6f22", r"\u5b57"])  # with a font for them, and without


def test_weights_that_are_not_finite_leave_the_others_in_their_scale(plt):
    ax = nn.plot.attention([[np.nan, 0.25], [np.inf, 0.75]])
    assert ax.images[0].get_clim() == (0, 0.75)
    assert ax.figure.axes[1].get_ylabel() == "blank: not finite"


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(weights=np.ones((1, 2, 3, 3))), ValueError, r"write weights\[0\]"),
        (dict(weights=np.ones(3)), ValueError, r"not \(3,\)"),
        (dict(weights=None), TypeError, "attention weights, an array of numbers, not NoneType"),
        (dict(weights=np.ones((3, 3)), tokens=3), TypeError, "tokens is a list of names"),
        (dict(weights=np.ones((3, 3)), tokens=["a"]), ValueError, "1 tokens for 3 queries"),
        (dict(weights=np.ones((2, 3)), tokens=["a", "b"]), ValueError, "2 tokens for 3 keys"),
    ],
)
def test_bad_weights_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        nn.plot.attention(**arguments)
