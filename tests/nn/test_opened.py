"""Layers of all kinds and options, opened down to plain operations: the values and gradients stay."""

import numpy as np
import pytest

import autodiff as ad
import nn
import nn.functional as F
from autodiff import Tensor
from autodiff.primitive import REGISTRY
from autodiff.seeing.expansion import expanded
from autodiff.seeing.graph import graph, results_behind

CAUSAL = ~np.tri(3, 4, dtype=bool)
ADDED = np.random.default_rng(5).normal(size=(4, 3, 4))  # N · H, L, S
PADDING = np.array([[False, False, True, False], [True, False, False, False]])


def attention(**given):
    options = {k: v for k, v in given.items() if k in ("bias", "add_bias_kv", "add_zero_attn", "dropout", "kdim")}

    def build(rng):
        layer = nn.MultiheadAttention(4, 2, batch_first=True, dtype="float64", rng=rng, **options)
        call = {k: v for k, v in given.items() if k not in options}
        key = rng.normal(size=(2, 4, options.get("kdim", 4)))
        value = rng.normal(size=(2, 4, 4))

        def run(x):
            output, weights = layer(x, key, value, **call)
            return output if weights is None else (output * 2).sum() + (weights * weights).sum()

        return layer, run, (2, 3, 4)

    return build


def layer(make, *shape, train=True):
    def build(rng):
        module = make(rng).double()
        return module.train(train), module, shape

    return build


CASES = {
    "attention": attention(),
    "attention without weights": attention(need_weights=False),
    "attention of each head": attention(average_attn_weights=False),
    "attention, causal": attention(is_causal=True),
    "attention, boolean mask": attention(attn_mask=CAUSAL),
    "attention, float mask": attention(attn_mask=ADDED),
    "attention, padding": attention(key_padding_mask=PADDING, attn_mask=CAUSAL),
    "attention, dropout": attention(dropout=0.4),
    "attention, all options": attention(bias=False, add_bias_kv=True, add_zero_attn=True, kdim=5),
    "transformer layer": layer(lambda rng: nn.TransformerEncoderLayer(4, 2, 8, 0.2, rng=rng, batch_first=True), 2, 3, 4),
    "batch norm": layer(lambda rng: nn.BatchNorm1d(4), 5, 4),
    "batch norm of images": layer(lambda rng: nn.BatchNorm2d(2), 3, 2, 2, 3),
    "batch norm, evaluated": layer(lambda rng: nn.BatchNorm2d(2), 3, 2, 2, 3, train=False),
    "batch norm without weights": layer(lambda rng: nn.BatchNorm1d(4, affine=False), 5, 4),
    "layer norm": layer(lambda rng: nn.LayerNorm((2, 3)), 4, 2, 3),
    "layer norm without bias": layer(lambda rng: nn.LayerNorm(3, bias=False), 4, 3),
    "layer norm without weights": layer(lambda rng: nn.LayerNorm(3, elementwise_affine=False), 4, 3),
    "group norm": layer(lambda rng: nn.GroupNorm(2, 4), 2, 4, 3),
    "rms norm": layer(lambda rng: nn.RMSNorm(3), 4, 3),
    "convolution": layer(lambda rng: nn.Conv2d(2, 3, 3, rng=rng), 2, 2, 5, 4),
    "convolution, all options": layer(
        lambda rng: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2, rng=rng), 2, 4, 5, 4
    ),
    "convolution without bias": layer(lambda rng: nn.Conv1d(2, 3, 2, bias=False, padding="same", rng=rng), 2, 2, 5),
    "convolution, one pixel": layer(lambda rng: nn.Conv2d(1, 2, 3, rng=rng), 1, 1, 3, 3),
    "transposed convolution": layer(
        lambda rng: nn.ConvTranspose2d(
            4, 6, (3, 2), stride=(2, 3), padding=(1, 2), output_padding=(1, 0), dilation=(1, 2), groups=2, rng=rng
        ), 2, 4, 3, 4
    ),
    "transposed convolution without bias": layer(lambda rng: nn.ConvTranspose1d(2, 3, 2, bias=False, rng=rng), 2, 2, 5),
    "max pooling": layer(lambda rng: nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(3, 2, 1, ceil_mode=True)), 2, 1, 6, 5),
    "average pooling": layer(
        lambda rng: nn.Sequential(nn.Conv2d(1, 1, 1), nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)), 2, 1, 6, 5
    ),
    "average pooling to a size": layer(lambda rng: nn.Sequential(nn.Conv1d(2, 2, 1), nn.AdaptiveAvgPool1d(5)), 2, 2, 7),
    "more activations": layer(
        lambda rng: nn.Sequential(nn.ELU(0.7), nn.SELU(), nn.CELU(0.5), nn.Softsign(), nn.Hardswish()), 3, 4
    ),
    "dropout": layer(lambda rng: nn.Dropout(0.4), 4, 5),
    "linear without bias": layer(lambda rng: nn.Linear(3, 2, bias=False, rng=rng), 2, 4, 3),
    "activations": layer(
        lambda rng: nn.Sequential(nn.SiLU(), nn.GELU(), nn.GELU("tanh"), nn.Mish(), nn.Softplus(2.0, 3.0), nn.GLU()), 3, 4
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_opened_layer_has_the_layers_value_and_gradients(case):
    rng = np.random.default_rng(0)
    nn.manual_seed(0)
    module, run, shape = CASES[case](rng)
    for p in module.parameters():  # away from weights of 1 and biases of 0
        p.data = p.data + rng.normal(scale=0.3, size=p.shape)
    x = Tensor(rng.normal(size=shape), requires_grad=True)
    y = run(x)
    loss = (y * rng.normal(size=y.shape)).sum()
    state = {k: v.numpy().copy() for k, v in module.state_dict().items()}
    inside = expanded("test", loss, results_behind(loss, "test"), True)
    assert not any(REGISTRY[node.op].expansion for node in results_behind(inside, "test"))
    assert all((v.numpy() == state[k]).all() for k, v in module.state_dict().items())  # running averages too
    leaves = [x, *module.parameters()]
    for a, b in zip(ad.gradients(inside, leaves, allow_unused=True), ad.gradients(loss, leaves, allow_unused=True)):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a.data, b.data, rtol=1e-9, atol=1e-11)


def test_the_losses_open_with_the_same_gradients():
    rng = np.random.default_rng(0)
    x, t = Tensor(rng.normal(size=(4, 3)), requires_grad=True), rng.uniform(0.1, 0.9, (4, 3))
    q = Tensor(rng.dirichlet(np.ones(3), 4), requires_grad=True)
    sharp = np.eye(3)[[0, 2, 1, 1]]
    low = Tensor(np.where(sharp == 1, 2.0, -np.inf), requires_grad=True)
    losses = [
        F.cross_entropy(x, np.array([0, 2, 1, 1])), F.cross_entropy(x, q), F.cross_entropy(x, sharp),
        F.cross_entropy(low, sharp), F.cross_entropy(x, np.array([0, 2, 1, 1]), label_smoothing=0.1),
        F.binary_cross_entropy_with_logits(x, t), F.binary_cross_entropy(ad.sigmoid(x), t),
    ]  # fmt: skip
    for loss in losses:
        inside = expanded("test", loss, results_behind(loss, "test"), True)
        for leaf in (x, q, low):
            (a,), (b,) = (ad.gradients(y, leaf, allow_unused=True) for y in (inside, loss))
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-12)


def test_an_opened_convolution_shows_the_patch_of_one_pixel_and_a_node_for_the_others():
    convolution = nn.Conv2d(1, 1, 2, padding=1, rng=np.random.default_rng(0))
    x = Tensor(np.random.default_rng(0).normal(size=(1, 1, 3, 3)).astype("float32"), requires_grad=True)
    y = convolution(x)
    source = graph(y, names=convolution, expand="convolution").source
    for text in ("padding", "output pixel 0, 0", "… the other 15 pixels, each likewise"):
        assert text in source
    assert source.count("class=module") == 1
    inside = expanded("test", y, results_behind(y, "test"), True)
    patch = next(n for n in results_behind(inside, "test") if n.op == "getitem")
    np.testing.assert_array_equal(patch.numpy().ravel(), np.pad(x.numpy()[0, 0], 1)[:2, :2].ravel())


def test_opened_attention_shows_scores_scale_mask_softmax_and_values():
    module = nn.MultiheadAttention(4, 2, batch_first=True, rng=np.random.default_rng(0))
    x = Tensor(np.ones((1, 3, 4), "float32"), requires_grad=True)
    source = graph(module(x, x, x, is_causal=True)[0].sum(), expand="attention").source
    for text in ("masked_attention_weights", "scores Q Kᵀ", "scale", "mask", "softmax", "attention_values"):
        assert text in source


def test_running_averages_that_were_updated_since_do_not_move_an_opened_batch_norm():
    norm = nn.BatchNorm1d(2).double()
    x = Tensor(np.random.default_rng(0).normal(size=(4, 2)), requires_grad=True)
    norm.eval()
    y = norm(x).sum()
    norm.train()
    norm(x * 3 + 1)
    inside = expanded("test", y, results_behind(y, "test"), True)
    np.testing.assert_allclose(ad.gradients(inside, x)[0].data, ad.gradients(y, x)[0].data, rtol=1e-12)


def test_attention_opens_into_its_heads_of_which_the_middle_ones_are_one_node():
    rng = np.random.default_rng(0)
    module = nn.MultiheadAttention(12, 6, batch_first=True, rng=rng, dtype="float64")
    x = Tensor(rng.normal(size=(2, 3, 12)), requires_grad=True)
    output, _ = module(x, x, x, is_causal=True, need_weights=False)
    loss = (output * rng.normal(size=output.shape)).sum()
    source = graph(loss, expand="attention", max_nodes=2000).source
    for label, times in {
        "head 1": 2, "head 2": 2, "head 6": 2, "heads 3 … 5": 2, "heads joined": 2, "scores Q Kᵀ": 3, "scale": 3,
        "mask": 3, "softmax": 3, "weighted sums of V": 3,
    }.items():  # fmt: skip
        assert sum(f'label="{label}"' in line or f">{label}<" in line or f"label={label} " in line
                   for line in source.splitlines()) >= times, label  # fmt: skip
    inside = expanded("test", loss, results_behind(loss, "test"), "attention")
    assert [node.op for node in results_behind(inside, "test")].count("softmax") == 6
    for a, b in zip(ad.gradients(inside, [x, *module.parameters()]), ad.gradients(loss, [x, *module.parameters()])):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-12)


def test_an_opened_transposed_convolution_shows_what_reaches_one_pixel():
    layer = nn.ConvTranspose2d(1, 1, 2, stride=2, rng=np.random.default_rng(0))
    y = layer(Tensor(np.ones((1, 1, 2, 2), "float32"), requires_grad=True))
    source = graph(y, expand=True).source
    for text in ("zeros between the pixels and around", "output pixel 0, 0", "… the other 15 pixels, each likewise"):
        assert text in source


def test_ties_of_an_opened_max_pooling_go_to_the_first_maximum():
    x = Tensor(np.zeros((1, 1, 4, 4)), requires_grad=True)
    y = nn.MaxPool2d(2, padding=1)(x).sum()
    inside = expanded("test", y, results_behind(y, "test"), True)
    np.testing.assert_array_equal(ad.gradients(inside, x)[0].data, ad.gradients(y, x)[0].data)


@pytest.mark.parametrize("x", [[2.0, 2.0, 2.0], [1e200, -1e200, 0.0], [1e-200, 0.0, 0.0]])
def test_lengths_whose_squares_are_0_or_beyond_the_range_stay_closed(x):
    x = Tensor(x, requires_grad=True)
    for y in (x.std(), np.linalg.norm(x - x.numpy()[0]), np.linalg.norm(x)):
        inside = expanded("test", y, results_behind(y, "test"), True)
        np.testing.assert_allclose(ad.gradients(inside, x)[0].data, ad.gradients(y, x)[0].data, rtol=1e-14)
